#include "cli/completion.h"

enum { COMPLETE_MAX = 4 * 1024 * 1024 };

static const char bash_script[] = "# winnow completion for bash: eval \"$(winnow completion bash)\"\n"
                                  "_winnow() {\n"
                                  "  local cur=${COMP_WORDS[COMP_CWORD]} line\n"
                                  "  [[ $cur == '=' ]] && cur=\n"
                                  "  COMPREPLY=()\n"
                                  "  while IFS= read -r line; do\n"
                                  "    if [[ $line == :files ]]; then\n"
                                  "      compopt -o filenames 2>/dev/null\n"
                                  "      while IFS= read -r line; do COMPREPLY+=(\"$line\"); done < <(compgen -f -- \"$cur\")\n"
                                  "    else\n"
                                  "      line=${line%%$'\\t'*}\n"
                                  "      COMPREPLY+=(\"$(printf '%q' \"$line\")\")\n"
                                  "    fi\n"
                                  "  done < <(\"${COMP_WORDS[0]}\" __complete -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
                                  "}\n"
                                  "complete -o bashdefault -F _winnow winnow\n";

static const char zsh_script[] = "#compdef winnow\n"
                                 "# winnow completion for zsh: eval \"$(winnow completion zsh)\"\n"
                                 "_winnow() {\n"
                                 "  local line\n"
                                 "  local -a found\n"
                                 "  for line in ${(f)\"$(\"${words[1]}\" __complete -- \"${(@)words[2,$CURRENT]}\" 2>/dev/null)\"}; do\n"
                                 "    if [[ $line == :files ]]; then\n"
                                 "      _files\n"
                                 "    else\n"
                                 "      found+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\")\n"
                                 "    fi\n"
                                 "  done\n"
                                 "  (( $#found )) && _describe winnow found\n"
                                 "}\n"
                                 "if [[ ${funcstack[1]} == _winnow ]]; then\n"
                                 "  _winnow \"$@\"\n"
                                 "else\n"
                                 "  (( $+functions[compdef] )) && compdef _winnow winnow\n"
                                 "fi\n";

static const char fish_script[] = "# winnow completion for fish: winnow completion fish | source\n"
                                  "function __winnow_complete\n"
                                  "  set -l words (commandline -opc) (commandline -ct)\n"
                                  "  for line in ($words[1] __complete -- $words[2..-1] 2>/dev/null)\n"
                                  "    if test \"$line\" = :files\n"
                                  "      __fish_complete_path (commandline -ct)\n"
                                  "    else\n"
                                  "      echo $line\n"
                                  "    end\n"
                                  "  end\n"
                                  "end\n"
                                  "complete -c winnow -f -a '(__winnow_complete)'\n";

const char *const completion_shells[] = {"bash", "zsh", "fish", NULL};
static const char *const scripts[] = {bash_script, zsh_script, fish_script};

const char *completion_script(struct str shell) {
  for (size_t i = 0; completion_shells[i]; i++)
    if (str_is(shell, completion_shells[i]))
      return scripts[i];
  return NULL;
}

struct completer {
  const struct verb_table *table;
  const struct noun *noun;
  const struct verb *verb;
  size_t words;                 /* positional ones so far */
  const struct flag_row *wants; /* the flag whose value comes next */
  bool only_words;              /* after -- */
  struct str prefix;
  completion_ids *ids;
  void *ctx;
  struct buf *out;
};

static void offer(struct completer *c, const char *before, const char *word, const char *what) {
  AUTO_BUF struct buf full = BUF_INIT(4 * KIB);
  buf_printf(&full, "%s%s", before, word);
  if (str_starts(buf_str(&full), c->prefix))
    buf_printf(c->out, "%s\t%s\n", buf_text(&full), what);
}

static const struct flag_row *flag_named(const struct completer *c, struct str name, char letter) {
  const struct flag_row *sets[] = {c->verb ? c->verb->flags : NULL, c->table->globals};
  const size_t counts[] = {c->verb ? c->verb->flag_count : 0, c->table->global_count};
  for (size_t s = 0; s < ARRAY_LEN(sets); s++)
    for (size_t i = 0; i < counts[s]; i++)
      if (letter ? sets[s][i].letter == letter : str_is(name, sets[s][i].name))
        return &sets[s][i];
  return NULL;
}

static void step_word(struct completer *c, struct str word) {
  if (!c->noun) {
    c->noun = noun_find(c->table, word);
    return;
  }
  if (!c->verb) {
    c->verb = verb_find(c->table, c->noun, word);
    if (c->verb)
      return;
    c->verb = verb_find(c->table, c->noun, STR_NONE);
  }
  c->words++;
}

static void step(struct completer *c, struct str word) {
  if (c->wants) {
    if (!str_is(word, "=")) /* bash takes --flag=value apart */
      c->wants = NULL;
    return;
  }
  if (c->only_words || word.n < 2 || word.p[0] != '-') {
    step_word(c, word);
    return;
  }
  if (str_is(word, "--")) {
    c->only_words = true;
    return;
  }
  if (str_find(word, '=') != SIZE_MAX)
    return;
  bool is_long = word.p[1] == '-';
  const struct flag_row *row = is_long ? flag_named(c, str_slice(word, 2, word.n), 0) : flag_named(c, STR_NONE, word.p[word.n - 1]);
  if (row && row->type != FLAG_BOOL && (is_long || word.n == 2))
    c->wants = row;
}

static void offer_ids(struct completer *c, enum word_kind kind, const char *before) {
  AUTO_BUF struct buf lines = BUF_INIT(COMPLETE_MAX);
  if (kind == WORD_RUN) {
    offer(c, before, "@latest", "the newest run");
    offer(c, before, "@best", "the best of the newest sweep");
  } else if (kind == WORD_SWEEP) {
    offer(c, before, "@latest", "the newest sweep");
  }
  if (c->ids)
    c->ids(c->ctx, kind, &lines);
  struct str rest = buf_str(&lines), line;
  while (lines.n && str_split(&rest, '\n', &line)) {
    size_t tab = str_find(line, '\t');
    if (tab == SIZE_MAX)
      continue;
    AUTO_BUF struct buf id = BUF_INIT(4 * KIB), what = BUF_INIT(4 * KIB);
    buf_add_str(&id, str_slice(line, 0, tab));
    buf_add_str(&what, str_slice(line, tab + 1, line.n));
    offer(c, before, buf_text(&id), buf_text(&what));
  }
}

static void offer_nouns(struct completer *c, const char *before) {
  for (size_t i = 0; i < c->table->noun_count; i++)
    if (!noun_is_hidden(c->table, &c->table->nouns[i]))
      offer(c, before, c->table->nouns[i].name, c->table->nouns[i].summary);
}

static void offer_kind(struct completer *c, enum word_kind kind, const char *before) {
  if (kind == WORD_FILE) {
    buf_puts(c->out, ":files\n");
  } else if (kind == WORD_SHELL) {
    for (size_t i = 0; completion_shells[i]; i++)
      offer(c, before, completion_shells[i], "shell");
  } else if (kind == WORD_NOUN) {
    offer_nouns(c, before);
  } else if (kind != WORD_TEXT) {
    offer_ids(c, kind, before);
  }
}

static void offer_value(struct completer *c, const struct flag_row *row, const char *before) {
  for (size_t i = 0; row->type == FLAG_CHOICE && row->choices[i]; i++)
    offer(c, before, row->choices[i], row->help);
  offer_kind(c, row->completes, before);
}

static void offer_flags(struct completer *c) {
  size_t equals = str_find(c->prefix, '=');
  if (equals != SIZE_MAX && equals > 2) {
    const struct flag_row *row = flag_named(c, str_slice(c->prefix, 2, equals), 0);
    AUTO_BUF struct buf before = BUF_INIT(KIB);
    buf_add_str(&before, str_slice(c->prefix, 0, equals + 1));
    if (row && !before.fail)
      offer_value(c, row, buf_text(&before));
    return;
  }
  for (size_t i = 0; c->verb && i < c->verb->flag_count; i++)
    offer(c, "--", c->verb->flags[i].name, c->verb->flags[i].help);
  for (size_t i = 0; i < c->table->global_count; i++)
    offer(c, "--", c->table->globals[i].name, c->table->globals[i].help);
}

static void offer_words(struct completer *c) {
  const struct verb *verb = c->verb;
  if (!verb) {
    const struct verb *each;
    for (size_t at = 0; (each = verb_next(c->table, c->noun, &at));)
      if (each->name && !(each->kind & VERB_HIDDEN))
        offer(c, "", each->name, each->summary);
    verb = verb_find(c->table, c->noun, STR_NONE);
  }
  size_t rows = verb ? verb_word_count(verb) : 0;
  if (!rows || (c->words >= rows && !verb->words[rows - 1].many))
    return;
  offer_kind(c, verb->words[MIN_OF(c->words, rows - 1)].kind, "");
}

void complete_words(const struct verb_table *table, const char *const *words, size_t count, completion_ids *ids, void *ctx,
                    struct buf *out) {
  struct completer c = {.table = table, .ids = ids, .ctx = ctx, .out = out, .prefix = STR("")};
  for (size_t i = 0; i + 1 < count; i++)
    step(&c, str_of(words[i]));
  if (count)
    c.prefix = str_of(words[count - 1]);
  if (c.wants) {
    if (str_is(c.prefix, "="))
      c.prefix = STR("");
    offer_value(&c, c.wants, "");
  } else if (!c.only_words && c.prefix.n && c.prefix.p[0] == '-') {
    offer_flags(&c);
  } else if (!c.noun) {
    offer_nouns(&c, "");
  } else {
    offer_words(&c);
  }
}
