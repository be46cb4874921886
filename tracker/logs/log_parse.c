#include "tracker/logs/log_parse.h"

#include "base/mem.h"
#include "tracker/logs/log_state.h"

struct log_parse *log_parse_new(const struct log_parse_options *options, struct err *err) {
  struct log_parse *p = mem_zalloc(sizeof *p);
  if (!p) {
    err_no_memory(err);
    return NULL;
  }
  if (options)
    p->options = *options;
  p->kept.carried = p->here = PLACE_NONE;
  p->kept.epoch_first = NAN;
  return p;
}

void log_parse_free(struct log_parse *p) {
  mem_free(p);
}

size_t log_parse_series(const struct log_parse *p) {
  return p->kept.series_n;
}

/* ---- headlines ---- */

static void set_section(struct log_parse *p, struct str section, bool strong) {
  p->kept.section_n = (uint8_t)MIN_OF(section.n, (size_t)SECTION_MAX);
  if (section.n)
    memcpy(p->kept.section, section.p, p->kept.section_n);
  p->kept.section_strong = strong;
  p->kept.section_used = false;
}

bool log_says_all(struct str label) {
  struct str word;
  char first = label.n ? (char)(label.p[0] | 0x20) : 0;
  if (first >= 'a' && first <= 'z' && first != 'a' && first != 'o') /* quickly */
    return false;
  return log_subword(&label, &word) && (str_eq_nocase(word, STR("all")) || str_eq_nocase(word, STR("overall")));
}

/* "Reported on validation data" */
static bool is_on(const struct log_parse *p, size_t i) {
  return token_is_word(p, i) && str_eq_nocase(token_text(p, i), STR("on"));
}

/* "Validation", "Evaluating ...", "***** eval metrics *****": the section of the lines that follow. */
static void find_headline(struct log_parse *p) {
  size_t words = 0, at = SIZE_MAX, from = p->first, to = p->tokens_n;
  while (from < to && p->tokens[from].type != LOG_T_WORD)
    from++;
  while (to > from && p->tokens[to - 1].type != LOG_T_WORD)
    to--;
  for (size_t i = from; i < to; i++) {
    const struct log_token *t = &p->tokens[i];
    if (t->type == LOG_T_MARK && strchr("=/\\<{", t->mark))
      return;
    if (t->type == LOG_T_NUMBER && !(t->flags & (LOG_T_INT | LOG_T_USED | LOG_T_UNIT))) /* something is measured */
      return;
    if (token_is(p, i, ':') && at != SIZE_MAX && at + 1 < i) /* "Evaluation method: cv" */
      return;
    if (t->type != LOG_T_WORD || t->flags & LOG_T_USED)
      continue;
    words++;
    if (at == SIZE_MAX && token_is_section(p, i))
      at = words <= 2 || (words == 3 && is_on(p, i - 1)) ? i : SIZE_MAX;
  }
  bool all = words > 0 && words <= 3 && token_is(p, to, ':') && to + 1 == p->tokens_n && log_says_all(token_text(p, from));
  if (all)
    set_section(p, str_n(p->text.p + p->tokens[from].at, p->tokens[to - 1].end - p->tokens[from].at), false);
  if (at == SIZE_MAX || words > 5)
    return;
  bool strong = from - p->first >= 3 && p->tokens_n - to >= 3;
  if (strong) {
    set_section(p, str_n(p->text.p + p->tokens[from].at, p->tokens[to - 1].end - p->tokens[from].at), true);
  } else if (token_word(p, at) & LOG_WORD_TRAIN) {
    p->kept.section_n = 0;
  } else {
    set_section(p, token_text(p, at), false);
  }
}

/* The indented lines under a headline are over: "***** Running Evaluation *****" says from now on what "Evaluation" would. */
static void demote_section(struct log_parse *p) {
  struct str rest = str_n(p->kept.section, p->kept.section_n), word;
  p->kept.section_strong = false;
  while (str_split(&rest, ' ', &word))
    if (log_is_section(word) && !(log_word(word) & LOG_WORD_TRAIN)) {
      memmove(p->kept.section, word.p, word.n);
      p->kept.section_n = (uint8_t)word.n;
      return;
    }
  p->kept.section_n = 0;
}

/* "Early stopping, best iteration is:" : the line after it repeats an earlier one. */
static bool announces_best(struct log_parse *p) {
  if (!token_is(p, p->tokens_n - 1, ':') || p->tokens_n < 3)
    return false;
  bool best = false;
  for (size_t i = p->first; i < p->tokens_n; i++)
    best |= token_is_word(p, i) && str_eq_nocase(token_text(p, i), STR("best"));
  return best && str_find_str(p->text, STR("iteration")) != SIZE_MAX;
}

/* ---- lines ---- */

static void one_line(struct log_parse *p, struct str text, uint64_t number);

/* What a line says of itself beside its place. */
static void forget_line(struct log_parse *p) {
  p->line_section = p->label = STR("");
  p->complete_bar = p->running_bar = p->refused = p->best = false;
}

static void begin_line(struct log_parse *p) {
  forget_line(p);
  p->measured = false;
  p->own = PLACE_NONE;
  p->message = STR("");
  p->raw_n = 0;
  p->best = p->kept.best_next;
  p->kept.best_next = false;
  bool indented = p->text.n && (p->text.p[0] == ' ' || p->text.p[0] == '\t');
  if (p->kept.section_strong && !indented && !log_is_rule(p->text))
    demote_section(p);
}

static void plain_line(struct log_parse *p) {
  log_skip_prefix(p);
  if (p->first >= p->tokens_n)
    return;
  if (log_find_table(p)) {
    p->kept.pending_n = 0;
    return;
  }
  log_find_place(p);
  p->pending_new = false;
  log_find_pairs(p);
  if (!p->pending_new)
    p->kept.pending_n = 0;
  size_t found = p->raw_n, before = p->points_n;
  log_settle(p, STYLE_PAIRS);
  if (p->message.n && !p->wrapped && p->points_n == before) {
    p->wrapped = true;
    one_line(p, p->message, p->number);
    p->wrapped = false;
    return;
  }
  if (!found && !p->refused)
    find_headline(p);
  p->kept.best_next = announces_best(p);
}

static void one_line(struct log_parse *p, struct str text, uint64_t number) {
  size_t from;
  p->number = number;
  p->text = text;
  p->here = p->kept.carried;
  bool row = log_may_be_row(p, &from);
  if (row) {
    begin_line(p);
    if (log_find_row(p, from))
      return;
  }
  log_read_tokens(p, text);
  if (!p->tokens_n)
    return;
  if (!row)
    begin_line(p);
  plain_line(p);
}

/* ---- what goes over several lines ---- */

/* "Result for trial_7:": the indented lines under it are one record, which may tell its place behind its values. */
static bool opens_record(struct str text) {
  return text.n && (text.p[0] | 0x20) == 'r' && str_starts_nocase(text, STR("result")) && str_ends(str_trim(text), STR(":"));
}

static bool is_of_record(struct str text) {
  return text.n > 0 && (text.p[0] == ' ' || text.p[0] == '\t') && str_find(text, ':') != SIZE_MAX;
}

/* "  training_iteration: 3" */
static bool tells_place(struct log_parse *p, struct str line) {
  struct log_number number;
  size_t colon = str_find(line, ':');
  if (!is_of_record(line) || !log_number_whole(str_trim(str_slice(line, colon + 1, line.n)), &number) || !number.integer)
    return false;
  enum log_key_kind kind = log_classify(p, str_trim(str_slice(line, 0, colon))).kind;
  return kind == LOG_KEY_EPOCH || kind == LOG_KEY_STEP;
}

static void settle_record(struct log_parse *p) {
  for (int values = 0; values <= 1; values++) {
    struct str rest = str_n(p->kept.block.text, p->kept.block.n), line;
    for (uint64_t number = p->kept.block.first_line; str_split(&rest, '\n', &line); number++)
      if (tells_place(p, line) == !values)
        one_line(p, line, number);
  }
}

static void end_block(struct log_parse *p) {
  enum block_kind kind = (enum block_kind)p->kept.block.kind;
  struct str rest = str_n(p->kept.block.text, p->kept.block.n), line;
  uint64_t number = p->kept.block.first_line;
  p->kept.block.kind = BLOCK_NONE;
  if (kind == BLOCK_BOX) {
    p->tokens_n = p->first = 0;
    forget_line(p);
    log_settle_box(p);
    return;
  }
  if (kind == BLOCK_RECORD) {
    settle_record(p);
    return;
  }
  while (str_split(&rest, '\n', &line)) /* no dict after all */
    one_line(p, line, number++);
}

static void add_to_block(struct log_parse *p, struct str text) {
  struct block *b = &p->kept.block;
  memcpy(b->text + b->n, text.p, text.n);
  b->n += (uint32_t)text.n;
  b->text[b->n++] = '\n';
  b->lines++;
}

static bool fits_block(const struct log_parse *p, struct str text) {
  return p->kept.block.n + text.n + 1 <= BLOCK_MAX && p->kept.block.lines < BLOCK_LINES_MAX;
}

static void begin_block(struct log_parse *p, enum block_kind kind, struct str text, uint64_t number) {
  p->kept.block.kind = (uint8_t)kind;
  p->kept.block.first_line = number;
  p->kept.block.lines = p->kept.block.n = 0;
  add_to_block(p, text);
}

static char first_char(struct str text) {
  text = str_trim(text);
  return text.n ? text.p[0] : 0;
}

/* Does a dict start here that ends on a later line? "{'loss': 0.5," or "Metrics: {" */
static bool opens_dict(struct str text) {
  text = str_trim(text);
  if (!text.n || text.n > BLOCK_MAX / 4)
    return false;
  size_t brace = str_find(text, '{');
  if (brace == SIZE_MAX)
    return false;
  bool ends = brace == text.n - 1 && (brace == 0 || text.p[brace - 1] == ' ' || text.p[brace - 1] == ':');
  bool quoted = brace + 1 < text.n && (text.p[brace + 1] == '"' || text.p[brace + 1] == '\'');
  return (ends || quoted) && log_dict_depth(str_slice(text, brace, text.n)) > 0;
}

/* The dict is complete: its pairs, with what stands before it on its first line. */
static void settle_dict(struct log_parse *p) {
  struct str text = str_n(p->kept.block.text, p->kept.block.n);
  size_t brace = str_find(text, '{');
  uint64_t number = p->kept.block.first_line;
  p->kept.block.kind = BLOCK_NONE;
  p->number = number;
  forget_line(p);
  p->own = PLACE_NONE;
  p->raw_n = 0;
  log_read_tokens(p, str_slice(text, 0, brace));
  log_skip_prefix(p);
  log_find_place(p);
  bool skip = false;
  for (size_t i = p->first; i < p->tokens_n; i++) {
    skip |= token_is_word(p, i) && token_key(p, i).kind == LOG_KEY_SETTING;
    if (token_is_word(p, i) && token_is_section(p, i))
      p->line_section = token_text(p, i);
  }
  if (!log_find_dict(p, text, brace, skip)) {
    struct str rest = text, line;
    while (str_split(&rest, '\n', &line))
      one_line(p, line, number++);
    return;
  }
  log_settle(p, STYLE_DICT);
}

/* True when the line belongs to what is being collected. */
static bool block_takes(struct log_parse *p, struct str text) {
  struct block *b = &p->kept.block;
  struct str name, value;
  if (!fits_block(p, text))
    return false;
  if (b->kind == BLOCK_BOX) {
    if (!log_box_row(text, &name, &value))
      return false;
    add_to_block(p, text);
    return true;
  }
  if (b->kind == BLOCK_RECORD) {
    if (!is_of_record(text) || opens_dict(text) || log_box_row(text, &name, &value))
      return false;
    add_to_block(p, text);
    return true;
  }
  char c = first_char(text);
  if (c != '"' && c != '\'' && c != '}' && c != ']' && c != ')' && !(c && strchr("-.0123456789[n", c)))
    return false;
  add_to_block(p, text);
  struct str all = str_n(b->text, b->n);
  if (log_dict_depth(str_slice(all, str_find(all, '{'), all.n)) <= 0)
    settle_dict(p);
  return true;
}

static void take_line(struct log_parse *p, struct str text, uint64_t number) {
  if (p->kept.block.kind != BLOCK_NONE) {
    if (block_takes(p, text))
      return;
    end_block(p);
  }
  struct str name, value;
  if (text.n < BLOCK_MAX / 4 && log_box_row(text, &name, &value))
    begin_block(p, BLOCK_BOX, text, number);
  else if (opens_dict(text))
    begin_block(p, BLOCK_DICT, text, number);
  else if (opens_record(text) && text.n < BLOCK_MAX / 4)
    begin_block(p, BLOCK_RECORD, text, number);
  else
    one_line(p, text, number);
}

size_t log_parse_line(struct log_parse *p, struct str text, uint64_t number, const struct log_point **ret) {
  p->points_n = p->scratch_n = 0;
  take_line(p, text, number);
  *ret = p->points;
  return p->points_n;
}

size_t log_parse_end(struct log_parse *p, const struct log_point **ret) {
  p->points_n = p->scratch_n = 0;
  if (p->kept.block.kind != BLOCK_NONE)
    end_block(p);
  *ret = p->points;
  return p->points_n;
}

size_t log_parse_record(struct log_parse *p, struct str text, uint64_t number, const struct log_point **ret) {
  p->points_n = p->scratch_n = p->raw_n = p->tokens_n = p->first = 0;
  forget_line(p);
  p->kept.carried = p->own = PLACE_NONE;
  p->number = number;
  p->record = true;
  size_t brace = str_find(text, '{');
  if (brace != SIZE_MAX && log_find_dict(p, text, brace, false))
    log_settle(p, STYLE_DICT);
  p->record = false;
  *ret = p->points;
  return p->points_n;
}

/* ---- the summary ---- */

void log_parse_summary(const struct log_parse *p, char *out, size_t room) {
  static const char *const names[STYLE_COUNT] = {"", "table", "dict lines", "boxed table"};
  enum style most = STYLE_PAIRS;
  for (unsigned i = 1; i < STYLE_COUNT; i++)
    if (p->kept.points_by_style[i] > p->kept.points_by_style[most])
      most = (enum style)i;
  const char *plural = p->kept.series_n == 1 ? "" : "s";
  bool styled = p->kept.points_by_style[most] > 0;
  if (!p->kept.series_n || (!styled && p->options.want_aux))
    snprintf(out, room, "nothing yet");
  else if (!styled)
    snprintf(out, room, "by name or pattern, %zu metric%s", p->kept.series_n, plural);
  else if (most == STYLE_PAIRS && p->kept.style_n)
    snprintf(out, room, "%.*s style, %zu metric%s", (int)p->kept.style_n, p->kept.style, p->kept.series_n, plural);
  else
    snprintf(out, room, "%s, %zu metric%s", most == STYLE_PAIRS ? "names with numbers" : names[most], p->kept.series_n, plural);
}
