#include "cli/help.h"

#include "base/file.h"
#include "cli/term.h"

enum { INDENT = 2, LEFT_MIN = 12, LEFT_MAX = 30, HELP_COLUMNS = 96, PAGE_MAX = 1024 * 1024 };

static const char *const exit_meanings[][2] = {
#define X(code, number, meaning) {#number, meaning},
    EXIT_CODES(X)
#undef X
};

static const struct {
  const char *name, *meaning;
} environment[] = {
    {"WINNOW_URL", "address of the service: http://HOST:PORT, https://HOST, unix:/PATH"},
    {"WINNOW_TOKEN", "the token to send"},
    {"WINNOW_DATA", "the default directory of the service on this machine"},
    {"WINNOW_CA_FILE", "certificates to trust for https"},
    {"NO_COLOR", "when set, no colours"},
};

/* ---- text ---- */

static void title(struct buf *out, const char *text, bool colours) {
  if (colours)
    style_begin(out, STYLE_BOLD);
  buf_puts(out, text);
  if (colours)
    style_end(out, STYLE_BOLD);
  buf_putc(out, '\n');
}

static void pad_to(struct buf *out, size_t used, size_t column) {
  for (; used < column; used++)
    buf_putc(out, ' ');
}

/* Words of `text` from `column` on, broken before HELP_COLUMNS. */
static void wrap(struct buf *out, struct str text, size_t column) {
  size_t used = column;
  struct str rest = text, word;
  bool first = true;
  while (str_split(&rest, ' ', &word)) {
    if (!word.n)
      continue;
    size_t width = text_width(word);
    if (!first && used + 1 + width > HELP_COLUMNS) {
      buf_putc(out, '\n');
      pad_to(out, 0, column);
      used = column;
      first = true;
    }
    if (!first) {
      buf_putc(out, ' ');
      used++;
    }
    buf_add_str(out, word);
    used += width;
    first = false;
  }
  buf_putc(out, '\n');
}

static void two_columns(struct buf *out, const char *left, const char *right, size_t column) {
  pad_to(out, 0, INDENT);
  buf_puts(out, left);
  size_t used = INDENT + text_width(str_of(left));
  if (used + 2 > column) {
    buf_putc(out, '\n');
    used = 0;
  }
  pad_to(out, used, column);
  wrap(out, str_of(right), column);
}

static void flag_left(const struct flag_row *row, struct buf *out) {
  if (row->letter)
    buf_printf(out, "-%c, ", row->letter);
  else
    buf_puts(out, "    ");
  buf_printf(out, "--%s", row->name);
  if (row->type == FLAG_CHOICE) {
    for (size_t i = 0; row->choices[i]; i++)
      buf_printf(out, "%s%s", i ? "|" : " ", row->choices[i]);
  } else if (row->type != FLAG_BOOL) {
    buf_printf(out, " %s", row->value_name ? row->value_name : "VALUE");
  }
}

static void flag_right(const struct flag_row *row, struct buf *out) {
  buf_puts(out, row->help);
  if (row->repeatable)
    buf_puts(out, " (may be repeated)");
  if (row->default_text && row->type != FLAG_BOOL)
    buf_printf(out, " (default %s)", row->default_text);
}

static void flags_text(const struct flag_row *rows, size_t count, struct buf *out) {
  for (size_t i = 0; i < count; i++) {
    AUTO_BUF struct buf left = BUF_INIT(KIB), right = BUF_INIT(4 * KIB);
    flag_left(&rows[i], &left);
    flag_right(&rows[i], &right);
    two_columns(out, buf_text(&left), buf_text(&right), LEFT_MAX);
  }
}

void help_usage(const struct verb *verb, struct buf *out) {
  buf_printf(out, "winnow %s", verb->noun);
  if (verb->name)
    buf_printf(out, " %s", verb->name);
  size_t count = verb_word_count(verb);
  if (verb->flag_count)
    buf_puts(out, " [flags]");
  for (size_t i = 0; i < count; i++) {
    const struct word_row *word = &verb->words[i];
    bool command = verb->kind & VERB_COMMAND && i + 1 == count;
    buf_printf(out, " %s%s%s%s%s", command ? "-- " : "", word->optional ? "[" : "", word->name, word->many ? "…" : "",
               word->optional ? "]" : "");
  }
}

static void examples_text(const struct verb *verb, bool colours, struct buf *out) {
  for (size_t i = 0; i < VERB_MAX_EXAMPLES && verb->examples[i].command; i++) {
    buf_puts(out, "  # ");
    buf_puts(out, verb->examples[i].meaning);
    buf_puts(out, "\n  ");
    if (colours)
      style_begin(out, STYLE_BUSY);
    buf_puts(out, verb->examples[i].command);
    if (colours)
      style_end(out, STYLE_BUSY);
    buf_puts(out, "\n");
  }
}

void help_verb(const struct verb_table *table, const struct verb *verb, bool colours, struct buf *out) {
  wrap(out, str_of(verb->summary), 0);
  buf_putc(out, '\n');
  title(out, "Examples", colours);
  examples_text(verb, colours, out);
  buf_putc(out, '\n');
  title(out, "Usage", colours);
  buf_puts(out, "  ");
  help_usage(verb, out);
  buf_puts(out, "\n\n");
  for (struct str rest = str_of(verb->help), line; str_split(&rest, '\n', &line);)
    wrap(out, line, 0);
  if (verb->aliases && verb->aliases[0])
    buf_printf(out, "\nAlso: %s\n", verb->aliases);
  if (verb->flag_count) {
    buf_putc(out, '\n');
    title(out, "Flags", colours);
    flags_text(verb->flags, verb->flag_count, out);
  }
  buf_putc(out, '\n');
  title(out, "Flags of every command", colours);
  flags_text(table->globals, table->global_count, out);
}

static void verb_line(const struct verb *verb, size_t column, struct buf *out) {
  AUTO_BUF struct buf left = BUF_INIT(4 * KIB);
  if (verb->name) {
    buf_puts(&left, verb->name);
    for (size_t i = 0, n = verb_word_count(verb); i < n; i++)
      buf_printf(&left, verb->words[i].optional ? " [%s]" : " %s", verb->words[i].name);
  } else {
    buf_puts(&left, "(alone)");
  }
  two_columns(out, buf_text(&left), verb->summary, column);
}

void help_noun(const struct verb_table *table, const struct noun *noun, bool colours, struct buf *out) {
  const struct verb *verb;
  wrap(out, str_of(noun->summary), 0);
  buf_putc(out, '\n');
  title(out, "Examples", colours);
  for (size_t at = 0, shown = 0; shown < 4 && (verb = verb_next(table, noun, &at));) {
    if (verb->kind & VERB_HIDDEN || !verb->examples[0].command)
      continue;
    buf_printf(out, "  # %s\n  %s\n", verb->examples[0].meaning, verb->examples[0].command);
    shown++;
  }
  buf_putc(out, '\n');
  title(out, "Verbs", colours);
  for (size_t at = 0; (verb = verb_next(table, noun, &at));)
    if (!(verb->kind & VERB_HIDDEN))
      verb_line(verb, LEFT_MAX, out);
  buf_printf(out, "\nwinnow %s VERB --help says more.\n", noun->name);
}

static void noun_lines(const struct verb_table *table, struct buf *out) {
  for (size_t i = 0; i < table->noun_count; i++) {
    if (!noun_is_hidden(table, &table->nouns[i]))
      two_columns(out, table->nouns[i].name, table->nouns[i].summary, LEFT_MIN + INDENT + 2);
  }
}

void help_program(const struct verb_table *table, bool colours, struct buf *out) {
  wrap(out, STR("winnow runs sweeps of training jobs, tracks their metrics and stops the losers early."), 0);
  buf_putc(out, '\n');
  title(out, "Examples", colours);
  buf_puts(out, "  # start a service if none answers, submit a sweep and follow it\n  winnow up sweep.yaml\n"
                "  # the sweeps, newest first\n  winnow sweep ls\n"
                "  # what the best trial of the newest sweep prints\n  winnow logs @best -f\n\n");
  title(out, "Commands", colours);
  noun_lines(table, out);
  buf_putc(out, '\n');
  title(out, "Flags of every command", colours);
  flags_text(table->globals, table->global_count, out);
  buf_putc(out, '\n');
  title(out, "Environment", colours);
  for (size_t i = 0; i < ARRAY_LEN(environment); i++)
    two_columns(out, environment[i].name, environment[i].meaning, LEFT_MIN + INDENT + 6);
  buf_putc(out, '\n');
  title(out, "Exit status", colours);
  for (size_t i = 0; i < ARRAY_LEN(exit_meanings); i++)
    two_columns(out, exit_meanings[i][0], exit_meanings[i][1], INDENT + 5);
  buf_puts(out, "\nIds may be shortened to a unique beginning; @latest, @best, SWEEP/best and SWEEP/12 stand for runs.\n"
                "winnow COMMAND --help says more.\n");
}

/* ---- manual pages ---- */

/* Text that troff prints as it stands. */
static void troff(struct buf *out, struct str text) {
  bool line_start = !out->n || out->p[out->n - 1] == '\n';
  for (size_t i = 0; i < text.n; i++) {
    char c = text.p[i];
    if (line_start && (c == '.' || c == '\''))
      buf_puts(out, "\\&");
    line_start = c == '\n';
    if (c == '\\')
      buf_puts(out, "\\e");
    else if (c == '-')
      buf_puts(out, "\\-");
    else if (c == '|')
      buf_puts(out, "|\\:"); /* a list of choices may go over two lines */
    else if ((unsigned char)c == 0xE2 && i + 2 < text.n && memcmp(text.p + i, "…", 3) == 0) {
      buf_puts(out, "...");
      i += 2;
    } else
      buf_putc(out, c);
  }
}

static void troff_line(struct buf *out, const char *macro, const char *text) {
  buf_printf(out, "%s\n", macro);
  troff(out, str_of(text));
  buf_putc(out, '\n');
}

static void man_flags(const struct flag_row *rows, size_t count, struct buf *out) {
  for (size_t i = 0; i < count; i++) {
    AUTO_BUF struct buf left = BUF_INIT(KIB), right = BUF_INIT(4 * KIB);
    flag_left(&rows[i], &left);
    flag_right(&rows[i], &right);
    buf_puts(out, ".TP\n");
    troff(out, str_trim(buf_str(&left)));
    buf_putc(out, '\n');
    troff(out, buf_str(&right));
    buf_putc(out, '\n');
  }
}

static void man_head(const char *name, const char *summary, struct buf *out) {
  AUTO_BUF struct buf upper = BUF_INIT(KIB);
  for (const char *at = name; *at; at++)
    buf_putc(&upper, *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at);
  buf_puts(out, ".TH \"");
  troff(out, buf_str(&upper));
  buf_puts(out, "\" \"1\" \"\" \"winnow " WINNOW_VERSION "\" \"Winnow\"\n.nh\n.ad l\n.SH NAME\n");
  troff(out, str_of(name));
  buf_puts(out, " \\- ");
  troff(out, str_of(summary));
  buf_putc(out, '\n');
}

static void man_exit_status(struct buf *out) {
  buf_puts(out, ".SH EXIT STATUS\n");
  for (size_t i = 0; i < ARRAY_LEN(exit_meanings); i++) {
    buf_printf(out, ".TP\n%s\n", exit_meanings[i][0]);
    troff(out, str_of(exit_meanings[i][1]));
    buf_putc(out, '\n');
  }
}

static void man_environment(struct buf *out) {
  buf_puts(out, ".SH ENVIRONMENT\n");
  for (size_t i = 0; i < ARRAY_LEN(environment); i++) {
    troff_line(out, ".TP", environment[i].name);
    troff(out, str_of(environment[i].meaning));
    buf_putc(out, '\n');
  }
}

/* "winnow-sweep-create" */
static void man_name(const struct verb *verb, struct buf *out) {
  buf_printf(out, "winnow-%s", verb->noun);
  if (verb->name)
    buf_printf(out, "-%s", verb->name);
}

void man_verb(const struct verb_table *table, const struct verb *verb, struct buf *out) {
  AUTO_BUF struct buf name = BUF_INIT(KIB), usage = BUF_INIT(4 * KIB);
  man_name(verb, &name);
  help_usage(verb, &usage);
  man_head(buf_text(&name), verb->summary, out);
  troff_line(out, ".SH SYNOPSIS", buf_text(&usage));
  buf_puts(out, ".SH EXAMPLES\n");
  for (size_t i = 0; i < VERB_MAX_EXAMPLES && verb->examples[i].command; i++) {
    troff_line(out, ".PP", verb->examples[i].meaning);
    buf_puts(out, ".RS 4\n.nf\n");
    troff(out, str_of(verb->examples[i].command));
    buf_puts(out, "\n.fi\n.RE\n");
  }
  buf_puts(out, ".SH DESCRIPTION\n");
  for (struct str rest = str_of(verb->help), line; str_split(&rest, '\n', &line);) {
    if (line.n)
      troff(out, line);
    buf_puts(out, line.n ? "\n" : ".PP\n");
  }
  if (verb->flag_count)
    buf_puts(out, ".SH OPTIONS\n");
  man_flags(verb->flags, verb->flag_count, out);
  buf_puts(out, ".SH OPTIONS OF EVERY COMMAND\n");
  man_flags(table->globals, table->global_count, out);
  man_exit_status(out);
  buf_puts(out, ".SH SEE ALSO\n.BR winnow (1)\n");
}

static void man_program(const struct verb_table *table, struct buf *out) {
  man_head("winnow", "sweeps of training jobs, their metrics, and an early end for the losers", out);
  buf_puts(out, ".SH SYNOPSIS\nwinnow [flags] COMMAND [VERB] [arguments]\n.SH COMMANDS\n");
  const struct verb *verb;
  for (size_t at = 0; (verb = verb_next(table, NULL, &at));) {
    if (verb->kind & VERB_HIDDEN)
      continue;
    AUTO_BUF struct buf name = BUF_INIT(KIB);
    man_name(verb, &name);
    buf_puts(out, ".TP\n.BR ");
    troff(out, buf_str(&name));
    buf_puts(out, " (1)\n");
    troff(out, str_of(verb->summary));
    buf_putc(out, '\n');
  }
  buf_puts(out, ".SH OPTIONS\n");
  man_flags(table->globals, table->global_count, out);
  buf_puts(out, ".SH WHERE THE SERVICE IS\nLooked for in this order: \\-\\-url, WINNOW_URL, a file .winnow here or in a directory above "
                "(lines url = and token\\-file =),\nthe socket of the default directory, 127.0.0.1:7070.\n");
  man_environment(out);
  man_exit_status(out);
}

static bool write_page(const char *directory, const char *name, const struct buf *page, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(8 * KIB);
  buf_printf(&path, "%s/%s.1", directory, name);
  return buf_ok(page, err) && buf_ok(&path, err) && file_replace(buf_text(&path), buf_str(page), 0644, err);
}

bool man_write_all(const struct verb_table *table, const char *directory, size_t *ret_count, struct err *err) {
  AUTO_BUF struct buf page = BUF_INIT(PAGE_MAX);
  if (!dir_make(directory, 0755, err))
    return false;
  man_program(table, &page);
  if (!write_page(directory, "winnow", &page, err))
    return false;
  size_t count = 1;
  const struct verb *verb;
  for (size_t at = 0; (verb = verb_next(table, NULL, &at));) {
    if (verb->kind & VERB_HIDDEN)
      continue;
    AUTO_BUF struct buf name = BUF_INIT(KIB);
    buf_reset(&page);
    man_name(verb, &name);
    man_verb(table, verb, &page);
    if (!write_page(directory, buf_text(&name), &page, err))
      return false;
    count++;
  }
  *ret_count = count;
  return true;
}
