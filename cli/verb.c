#include "cli/verb.h"

enum { MAX_CANDIDATES = 256 };

bool word_matches(struct str word, const char *name, const char *aliases) {
  if (!name)
    return word.p == NULL;
  if (!word.p)
    return false;
  if (str_is(word, name))
    return true;
  struct str rest = str_of(aliases), alias;
  while (str_split(&rest, ' ', &alias))
    if (alias.n && str_eq(word, alias))
      return true;
  return false;
}

const struct noun *noun_find(const struct verb_table *table, struct str word) {
  for (size_t i = 0; i < table->noun_count; i++)
    if (word.p && word_matches(word, table->nouns[i].name, table->nouns[i].aliases))
      return &table->nouns[i];
  return NULL;
}

const struct verb *verb_next(const struct verb_table *table, const struct noun *noun, size_t *at) {
  size_t first = 0;
  for (size_t set = 0; set < table->set_count; first += table->sets[set++]->count) {
    while (*at < first + table->sets[set]->count) {
      const struct verb *verb = &table->sets[set]->verbs[*at - first];
      ++*at;
      if (!noun || strcmp(verb->noun, noun->name) == 0)
        return verb;
    }
  }
  return NULL;
}

const struct verb *verb_find(const struct verb_table *table, const struct noun *noun, struct str word) {
  const struct verb *verb;
  for (size_t at = 0; (verb = verb_next(table, noun, &at));)
    if (word_matches(word, verb->name, verb->aliases))
      return verb;
  return NULL;
}

size_t verb_word_count(const struct verb *verb) {
  size_t n = 0;
  while (n < VERB_MAX_WORDS && verb->words[n].name)
    n++;
  return n;
}

bool noun_is_hidden(const struct verb_table *table, const struct noun *noun) {
  const struct verb *verb;
  for (size_t at = 0; (verb = verb_next(table, noun, &at));)
    if (!(verb->kind & VERB_HIDDEN))
      return false;
  return true;
}

const char *noun_nearest(const struct verb_table *table, struct str word) {
  const char *names[MAX_CANDIDATES];
  size_t n = 0;
  for (size_t i = 0; i < table->noun_count && n < MAX_CANDIDATES; i++)
    if (!noun_is_hidden(table, &table->nouns[i]))
      names[n++] = table->nouns[i].name;
  return str_nearest_of(word, names, n);
}

const char *verb_nearest(const struct verb_table *table, const struct noun *noun, struct str word) {
  const char *names[MAX_CANDIDATES];
  size_t n = 0;
  const struct verb *verb;
  for (size_t at = 0; n < MAX_CANDIDATES && (verb = verb_next(table, noun, &at));)
    if (verb->name && !(verb->kind & VERB_HIDDEN))
      names[n++] = verb->name;
  return str_nearest_of(word, names, n);
}

const char *flag_nearest(const struct verb_table *table, const struct verb *verb, struct str word) {
  const char *names[MAX_CANDIDATES];
  size_t n = 0;
  for (size_t i = 0; verb && i < verb->flag_count && n < MAX_CANDIDATES; i++)
    names[n++] = verb->flags[i].name;
  for (size_t i = 0; i < table->global_count && n < MAX_CANDIDATES; i++)
    names[n++] = table->globals[i].name;
  return str_nearest_of(word, names, n);
}
