/* Names: the words before a number, as one name. */
#include "tracker/logs/log_state.h"

enum { NAME_WORDS_MAX = 10 };

const uint8_t log_marks[128] = {
    ['"'] = MARK_INSIDE | MARK_QUOTE | MARK_LEADS,
    ['\''] = MARK_INSIDE | MARK_QUOTE | MARK_LEADS,
    ['`'] = MARK_INSIDE | MARK_QUOTE,
    ['#'] = MARK_INSIDE | MARK_TRAILING,
    ['%'] = MARK_INSIDE,
    ['/'] = MARK_INSIDE,
    ['@'] = MARK_INSIDE,
    ['$'] = MARK_INSIDE | MARK_LEADS,
    ['+'] = MARK_INSIDE,
    ['&'] = MARK_INSIDE,
    ['^'] = MARK_INSIDE,
    ['\\'] = MARK_INSIDE,
    ['.'] = MARK_TRAILING,
    ['-'] = MARK_TRAILING | MARK_STARTS,
    ['*'] = MARK_TRAILING,
    ['>'] = MARK_TRAILING | MARK_LEADS,
    ['='] = MARK_LEADS,
    [':'] = MARK_LEADS | MARK_STARTS,
    ['~'] = MARK_LEADS,
    [','] = MARK_ENDS | MARK_STARTS,
    [';'] = MARK_ENDS | MARK_STARTS,
    ['|'] = MARK_ENDS | MARK_STARTS,
    ['('] = MARK_ENDS,
    [')'] = MARK_ENDS,
    ['['] = MARK_ENDS,
    [']'] = MARK_ENDS,
};

/* "Saving dict for global step 200: accuracy = ..." is what an evaluation says. */
static bool says_evaluation(const struct log_parse *p, size_t from, size_t to) {
  return to - from >= 2 && str_eq_nocase(token_text(p, from), STR("saving")) && str_eq_nocase(token_text(p, from + 1), STR("dict"));
}

bool log_is_label(struct log_parse *p, struct str word) {
  for (size_t i = 0; i < word.n; i++)
    if (isdigit((unsigned char)word.p[i]))
      return false;
  return word.n > 0 && log_classify(p, word).kind == LOG_KEY_UNKNOWN && !log_flags(p, word) && !log_is_container(word);
}

void log_leave_words(struct log_parse *p, size_t from, size_t to) {
  size_t words = 0;
  for (size_t i = from; i < to; i++) {
    if (p->tokens[i].type != LOG_T_WORD || p->tokens[i].flags & LOG_T_USED)
      continue;
    words++;
    if (token_is_section(p, i))
      p->line_section = token_text(p, i);
  }
  if (words >= 2 && says_evaluation(p, from, to))
    p->line_section = STR("eval");
}

static bool is_part_of_name(const struct log_parse *p, size_t i) {
  const struct log_token *t = &p->tokens[i];
  return !(t->flags & LOG_T_USED) && !(t->type == LOG_T_MARK && mark_is(t->mark, MARK_QUOTE));
}

static bool starts_name(const struct log_parse *p, size_t i) {
  const struct log_token *t = &p->tokens[i];
  if (t->flags & LOG_T_USED)
    return false;
  if (t->type == LOG_T_MARK)
    return t->mark == '|' && i + 1 < p->tokens_n && !(p->tokens[i + 1].flags & LOG_T_SPACE);
  if (t->type != LOG_T_WORD)
    return false;
  bool limit = token_is_word(p, i + 1) && token_word(p, i + 1) & LOG_WORD_LIMIT; /* "Current minimum" */
  return !(token_word(p, i) & LOG_WORD_FILLER) || limit;
}

/* Too long a run of words is a sentence: its name starts at the first word that means something. */
static size_t shorten(const struct log_parse *p, size_t from, size_t to) {
  size_t words = 0;
  for (size_t i = from; i < to; i++)
    words += p->tokens[i].type == LOG_T_WORD;
  if (words <= NAME_WORDS_MAX)
    return from;
  for (size_t i = from; i < to; i++)
    if (p->tokens[i].type == LOG_T_WORD && (token_word(p, i) & (LOG_WORD_METRIC | LOG_WORD_SECTION)))
      return i;
  return to;
}

/* "loss for minibatches 0-99": which of them is no part of the name. "mAP 50-95" is. */
static struct str without_range(struct str name) {
  static const char *const counted[] = {"minibatches", "batches", "iterations", "iters", "steps", "epochs", "frames", "samples"};
  size_t n = name.n;
  while (n && isdigit((unsigned char)name.p[n - 1]))
    n--;
  if (n == name.n || !n || name.p[n - 1] != '-')
    return name;
  size_t first = --n;
  while (n && isdigit((unsigned char)name.p[n - 1]))
    n--;
  if (n == first || !n || name.p[n - 1] != ' ')
    return name;
  struct str words = str_slice(name, 0, n - 1);
  for (size_t i = 0; i < ARRAY_LEN(counted); i++)
    if (str_ends(words, str_of(counted[i])))
      return words;
  return name;
}

struct str log_make_name(struct log_parse *p, size_t from, size_t to) {
  while (from < to && !starts_name(p, from))
    from++;
  from = shorten(p, from, to);
  while (to > from &&
         (!is_part_of_name(p, to - 1) || (p->tokens[to - 1].type == LOG_T_MARK && mark_is(p->tokens[to - 1].mark, MARK_TRAILING)) ||
          (p->tokens[to - 1].type == LOG_T_WORD && token_word(p, to - 1) & LOG_WORD_FILLER)))
    to--;
  bool path = from > p->first && token_is(p, from - 1, '/') && !(p->tokens[from].flags & LOG_T_SPACE);
  if (from == to || path)
    return STR("");
  bool as_it_stands = is_part_of_name(p, from);
  for (size_t i = from + 1; as_it_stands && i < to; i++) {
    size_t gap = p->tokens[i].at - p->tokens[i - 1].unit_end;
    as_it_stands = is_part_of_name(p, i) && (gap == 0 || (gap == 1 && p->text.p[p->tokens[i].at - 1] == ' '));
  }
  if (as_it_stands) {
    struct str name = str_n(p->text.p + p->tokens[from].at, p->tokens[to - 1].unit_end - p->tokens[from].at);
    return name.n <= LOG_NAME_MAX ? without_range(name) : STR("");
  }
  size_t room = p->tokens[to - 1].unit_end - p->tokens[from].at + 1;
  if (room > 4 * LOG_NAME_MAX)
    return STR("");
  char *name = log_scratch(p, room);
  size_t n = 0;
  bool blank = false; /* also before a quote that is left out */
  for (size_t i = from; name && i < to; i++) {
    const struct log_token *t = &p->tokens[i];
    blank |= (t->flags & LOG_T_SPACE) != 0;
    if (!is_part_of_name(p, i))
      continue;
    if (n && blank)
      name[n++] = ' ';
    blank = false;
    memcpy(name + n, p->text.p + t->at, t->unit_end - t->at);
    n += t->unit_end - t->at;
  }
  return n <= LOG_NAME_MAX ? without_range(str_n(name, n)) : STR("");
}
