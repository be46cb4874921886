#include "cli/args.h"

#include "base/buf.h"
#include "cli/help.h"

struct parser {
  struct args *args;
  const char *const *argv;
  size_t argc, at;
  struct err *err;
};

static const struct flag_row *find_in(const struct flag_row *rows, size_t count, struct str name, char letter) {
  for (size_t i = 0; i < count; i++)
    if (letter ? rows[i].letter == letter : str_is(name, rows[i].name))
      return &rows[i];
  return NULL;
}

static const struct flag_row *find_flag(const struct args *args, struct str name, char letter) {
  const struct flag_row *row = NULL;
  if (args->verb)
    row = find_in(args->verb->flags, args->verb->flag_count, name, letter);
  return row ? row : find_in(args->table->globals, args->table->global_count, name, letter);
}

/* A flag right after a noun that is also a command by itself means that command: `winnow queue -w`. */
static const struct flag_row *find_flag_or_settle(struct args *args, struct str name, char letter) {
  const struct flag_row *row = find_flag(args, name, letter);
  if (row || args->verb || !args->noun)
    return row;
  args->verb = verb_find(args->table, args->noun, STR_NONE);
  return find_flag(args, name, letter);
}

static bool check_choice(const struct flag_row *row, const char *value, struct err *err) {
  size_t count = 0;
  AUTO_BUF struct buf known = BUF_INIT(1024);
  for (; row->choices[count]; count++) {
    if (strcmp(row->choices[count], value) == 0)
      return true;
    buf_printf(&known, "%s%s", count ? ", " : "", row->choices[count]);
  }
  const char *near = str_nearest_of(str_of(value), row->choices, count);
  err_set(err, ERR_INVALID, "--%s does not know '%s'", row->name, value);
  return near ? err_hint(err, "did you mean '%s'? known are: %s", near, buf_text(&known))
              : err_hint(err, "known are: %s", buf_text(&known));
}

static bool check_value(const struct flag_row *row, const char *value, struct err *err) {
  struct str text = str_of(value);
  int64_t whole;
  uint64_t size;
  double number;
  bool truth;
  switch (row->type) {
  case FLAG_BOOL:
    return str_to_bool(text, &truth) || err_set(err, ERR_INVALID, "--%s is a switch: true or false, not '%s'", row->name, value);
  case FLAG_INT:
    return (str_to_i64(text, &whole) && whole >= 0) ||
           err_set(err, ERR_INVALID, "--%s needs a whole number of 0 or more, not '%s'", row->name, value);
  case FLAG_SIGNED:
    return str_to_i64(text, &whole) || err_set(err, ERR_INVALID, "--%s needs a whole number, not '%s'", row->name, value);
  case FLAG_NUMBER:
    return str_to_f64(text, &number) || err_set(err, ERR_INVALID, "--%s needs a number, not '%s'", row->name, value);
  case FLAG_DURATION:
    if (str_to_duration_ms(text, &whole))
      return true;
    err_set(err, ERR_INVALID, "--%s needs a duration, not '%s'", row->name, value);
    return err_hint(err, "write 90s, 30m, 2h or 1d");
  case FLAG_SIZE:
    if (str_to_size(text, &size))
      return true;
    err_set(err, ERR_INVALID, "--%s needs a size, not '%s'", row->name, value);
    return err_hint(err, "write 500MB, 2GB or 64MiB");
  case FLAG_CHOICE:
    return check_choice(row, value, err);
  case FLAG_TEXT:
    break;
  }
  return true;
}

static bool keep(struct parser *p, const struct flag_row *row, const char *value) {
  if (!check_value(row, value, p->err))
    return false;
  p->args->flags[p->args->flag_count++] = (struct flag_value){row, value};
  if (strcmp(row->name, "help") == 0) {
    bool wanted;
    p->args->wants_help = str_to_bool(str_of(value), &wanted) && wanted;
  }
  return true;
}

static bool next_value(struct parser *p, const struct flag_row *row, const char **ret) {
  if (p->at >= p->argc) {
    err_set(p->err, ERR_INVALID, "--%s needs a value", row->name);
    return err_hint(p->err, "write --%s %s", row->name, row->value_name ? row->value_name : "VALUE");
  }
  *ret = p->argv[p->at++];
  return true;
}

static bool unknown_flag(struct parser *p, struct str name) {
  const struct verb *verb = p->args->verb;
  err_set(p->err, ERR_INVALID, "unknown flag --%.*s", STR_ARG(str_slice(name, 0, 60)));
  const char *near = flag_nearest(p->args->table, verb, name);
  if (near)
    return err_hint(p->err, "did you mean --%s?", near);
  if (!verb && !p->args->noun)
    return err_hint(p->err, "flags of a verb stand after it; see winnow --help");
  if (!verb)
    return err_hint(p->err, "see winnow %s --help", p->args->noun->name);
  return err_hint(p->err, "see winnow %s%s%s --help", verb->noun, verb->name ? " " : "", verb->name ? verb->name : "");
}

static bool long_flag(struct parser *p, const char *arg) {
  struct str name = str_of(arg + 2);
  const char *value = NULL;
  size_t equals = str_find(name, '=');
  if (equals != SIZE_MAX) {
    value = name.p + equals + 1;
    name = str_slice(name, 0, equals);
  }
  const struct flag_row *row = find_flag_or_settle(p->args, name, 0);
  if (!row)
    return unknown_flag(p, name);
  if (!value && row->type == FLAG_BOOL)
    value = "true";
  if (!value && !next_value(p, row, &value))
    return false;
  return keep(p, row, value);
}

/* -o json, -ojson, and switches in a row: -fy */
static bool short_flags(struct parser *p, const char *arg) {
  for (const char *letter = arg + 1; *letter; letter++) {
    const struct flag_row *row = find_flag_or_settle(p->args, STR_NONE, *letter);
    if (!row) {
      bool printable = *letter > ' ' && *letter < 127;
      err_set(p->err, ERR_INVALID, "unknown flag -%c in '%.60s'", printable ? *letter : '?', arg);
      return err_hint(p->err, "see --help; a word that begins with a hyphen goes after --");
    }
    if (row->type == FLAG_BOOL) {
      if (!keep(p, row, "true"))
        return false;
      continue;
    }
    const char *value = letter[1] == '=' ? letter + 2 : letter + 1;
    if (!letter[1] && !next_value(p, row, &value))
      return false;
    return keep(p, row, value);
  }
  return true;
}

static bool unknown_noun(struct parser *p, struct str word) {
  err_set(p->err, ERR_INVALID, "there is no command '%.*s'", STR_ARG(str_slice(word, 0, 60)));
  const char *near = noun_nearest(p->args->table, word);
  return near ? err_hint(p->err, "did you mean winnow %s?", near) : err_hint(p->err, "winnow --help lists them");
}

static bool unknown_verb(struct parser *p, struct str word) {
  const struct noun *noun = p->args->noun;
  err_set(p->err, ERR_INVALID, "winnow %s has no verb '%.*s'", noun->name, STR_ARG(str_slice(word, 0, 60)));
  const char *near = verb_nearest(p->args->table, noun, word);
  return near ? err_hint(p->err, "did you mean winnow %s %s?", noun->name, near)
              : err_hint(p->err, "winnow %s --help lists them", noun->name);
}

static bool take_word(struct parser *p, const char *word) {
  struct args *args = p->args;
  if (!args->noun) {
    args->noun = noun_find(args->table, str_of(word));
    if (!args->noun)
      return unknown_noun(p, str_of(word));
    const struct verb *alone = verb_find(args->table, args->noun, STR_NONE);
    size_t at = 0, verbs = 0;
    while (verb_next(args->table, args->noun, &at))
      verbs++;
    if (alone && verbs == 1)
      args->verb = alone;
    return true;
  }
  if (!args->verb) {
    args->verb = verb_find(args->table, args->noun, str_of(word));
    if (args->verb)
      return true;
    const struct verb *alone = verb_find(args->table, args->noun, STR_NONE);
    if (!alone || !verb_word_count(alone))
      return unknown_verb(p, str_of(word));
    args->verb = alone;
  }
  args->words[args->word_count++] = word;
  return true;
}

/* Is the rest to be taken as it stands? */
static bool command_begins(const struct args *args) {
  if (!args->verb)
    return false;
  return args->verb->kind & VERB_RAW || (args->verb->kind & VERB_COMMAND && args->word_count);
}

static void take_rest(struct parser *p) {
  while (p->at < p->argc)
    p->args->words[p->args->word_count++] = p->argv[p->at++];
}

static bool check_words(const struct args *args, struct err *err) {
  const struct verb *verb = args->verb;
  if (verb->kind & VERB_RAW)
    return true;
  size_t rows = verb_word_count(verb), needed = 0;
  while (needed < rows && !verb->words[needed].optional)
    needed++;
  const char *space = verb->name ? " " : "", *name = verb->name ? verb->name : "";
  if (args->word_count < needed) {
    err_set(err, ERR_INVALID, "%s is missing", verb->words[args->word_count].name);
    return verb->examples[0].command ? err_hint(err, "for example: %s", verb->examples[0].command)
                                     : err_hint(err, "see winnow %s%s%s --help", verb->noun, space, name);
  }
  bool many = rows && verb->words[rows - 1].many;
  if (args->word_count > rows && !many) {
    AUTO_BUF struct buf usage = BUF_INIT(4 * KIB);
    help_usage(verb, &usage);
    err_set(err, ERR_INVALID, "'%.60s' is one word too many", args->words[rows]);
    return err_hint(err, "write %.120s; see winnow %s%s%s --help", buf_text(&usage), verb->noun, space, name);
  }
  return true;
}

static bool parse_all(struct parser *p) {
  bool only_words = false;
  while (p->at < p->argc) {
    const char *arg = p->argv[p->at];
    if (command_begins(p->args)) {
      bool help = !p->args->word_count && (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0);
      p->args->wants_help |= help;
      take_rest(p);
      return true;
    }
    p->at++;
    bool ok = true;
    if (only_words || arg[0] != '-' || !arg[1])
      ok = take_word(p, arg);
    else if (arg[1] != '-')
      ok = short_flags(p, arg);
    else if (arg[2])
      ok = long_flag(p, arg);
    else
      only_words = true;
    if (!ok)
      return false;
    if (only_words && p->args->verb && p->args->verb->kind & VERB_COMMAND) {
      take_rest(p);
      return true;
    }
  }
  return true;
}

/* Every argument gives at most as many flags as it has letters. */
static size_t flag_ceiling(int argc, const char *const *argv) {
  size_t n = 1;
  for (int i = 0; i < argc; i++)
    n += argv[i][0] == '-' && argv[i][1] != '-' ? strlen(argv[i]) : 1;
  return n;
}

bool args_parse(const struct verb_table *table, int argc, const char *const *argv, struct arena *arena, struct args *ret, struct err *err) {
  struct args args = {.table = table};
  args.flags = ARENA_NEW_ARRAY(arena, struct flag_value, flag_ceiling(argc, argv));
  args.words = ARENA_NEW_ARRAY(arena, const char *, (size_t)argc + 1);
  if (!args.flags || !args.words)
    return err_set(err, ERR_TOO_LARGE, "the command line is too long");
  struct parser parser = {.args = &args, .argv = argv, .argc = (size_t)argc, .err = err};
  if (!parse_all(&parser))
    return false;
  if (args.noun && !args.verb && !args.wants_help)
    args.verb = verb_find(table, args.noun, STR_NONE);
  if (args.verb && !args.wants_help && !check_words(&args, err))
    return false;
  *ret = args;
  return true;
}

static const struct flag_row *row_of(const struct args *args, const char *name) {
  const struct flag_row *row = find_flag(args, str_of(name), 0);
  if (!row) {
    fprintf(stderr, "winnow: no row for --%s\n", name);
    abort();
  }
  return row;
}

static const char *last_value(const struct args *args, const struct flag_row *row) {
  for (size_t i = args->flag_count; i > 0; i--)
    if (args->flags[i - 1].flag == row)
      return args->flags[i - 1].text;
  return NULL;
}

const char *args_text(const struct args *args, const char *name) {
  const struct flag_row *row = row_of(args, name);
  const char *value = last_value(args, row);
  return value ? value : row->default_text;
}

bool args_given(const struct args *args, const char *name) {
  return last_value(args, row_of(args, name)) != NULL;
}

bool args_bool(const struct args *args, const char *name) {
  bool value = false;
  const char *text = args_text(args, name);
  return text && str_to_bool(str_of(text), &value) && value;
}

int64_t args_i64(const struct args *args, const char *name, int64_t otherwise) {
  int64_t value;
  const char *text = args_text(args, name);
  return text && str_to_i64(str_of(text), &value) ? value : otherwise;
}

int64_t args_duration(const struct args *args, const char *name, int64_t otherwise) {
  int64_t value;
  const char *text = args_text(args, name);
  return text && str_to_duration_ms(str_of(text), &value) ? value : otherwise;
}

const char *args_each(const struct args *args, const char *name, size_t *cursor) {
  const struct flag_row *row = row_of(args, name);
  while (*cursor < args->flag_count) {
    const struct flag_value *value = &args->flags[(*cursor)++];
    if (value->flag == row)
      return value->text;
  }
  return NULL;
}

const char *args_word(const struct args *args, size_t at) {
  return at < args->word_count ? args->words[at] : NULL;
}
