/* Tables: a header of names, then rows of numbers, divided by blanks, by drawn lines or by commas. Other lines may stand between the
 * rows. Also boxes of two columns, "| name | number |", which are collected until they end, since the step may come last. */
#include "tracker/logs/log_state.h"

enum { CELLS_MAX = COLUMNS_MAX + 4, LABEL_MAX = 48 };

enum cell_kind { CELL_TEXT, CELL_NUMBER, CELL_OPAQUE };

struct cell {
  struct str text;
  uint32_t at, end;
  enum cell_kind kind;
  double value;
  bool percent, integer;
};

/* ---- cells ---- */

static size_t scan_pipe(struct str s) {
  if (s.n && s.p[0] == '|')
    return 1;
  if (s.n < 3 || (unsigned char)s.p[0] != 0xe2)
    return 0;
  unsigned second = (unsigned char)s.p[1], third = (unsigned char)s.p[2];
  return (second == 0x94 && (third == 0x82 || third == 0x83)) || (second == 0x95 && third == 0x91) ? 3 : 0;
}

static inline bool is_trailer(char c) {
  return c == ':' || c == ',' || c == ';' || c == '*';
}

/* nan and inf begin with letters too. */
static inline bool may_be_number(char c) {
  char small = (char)(c | 0x20);
  return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || small == 'n' || small == 'i';
}

/* Numbers, fractions ("1/3" is 1), times and marks, or text. */
static void weigh(struct cell *cell) {
  struct str s = cell->text;
  while (s.n && is_trailer(s.p[s.n - 1]))
    s.n--;
  while (s.n && s.p[0] == '*')
    s.p++, s.n--;
  struct log_number number, of;
  size_t n = s.n && may_be_number(s.p[0]) ? log_scan_number(s, &number) : 0;
  cell->kind = CELL_TEXT;
  cell->percent = false;
  if (!s.n || (!isalnum((unsigned char)s.p[0]) && s.n <= 4 && !n)) {
    cell->kind = CELL_OPAQUE; /* nothing, "-", "+", a tick */
  } else if (n && (n == s.n || (n + 1 == s.n && s.p[n] == '%'))) {
    cell->kind = CELL_NUMBER;
    cell->value = number.value;
    cell->percent = n < s.n;
    cell->integer = number.integer;
  } else if (n && s.p[n] == '/' && log_scan_number(str_slice(s, n + 1, s.n), &of) == s.n - n - 1) {
    cell->kind = CELL_NUMBER;
    cell->value = number.value;
    cell->integer = true;
  } else if (n && isdigit((unsigned char)s.p[0]) && s.n <= 24) {
    cell->kind = CELL_OPAQUE; /* 0:12, 3.4s, 2.25G */
  } else if ((s.p[0] | 0x20) == 'n' && (str_is(s, "None") || str_is(s, "n/a") || str_is(s, "N/A") || str_is(s, "null"))) {
    cell->kind = CELL_OPAQUE;
  }
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

static void set_cell(struct str line, size_t from, size_t to, struct cell *ret) {
  while (from < to && is_blank(line.p[from]))
    from++;
  while (to > from && is_blank(line.p[to - 1]))
    to--;
  *ret = (struct cell){.text = str_n(line.p + from, to - from), .at = (uint32_t)from, .end = (uint32_t)to};
  weigh(ret);
}

/* Cells between drawn lines; the empty ones outside are left out. 0 when there is no drawn line, or too many. */
static size_t split_pipes(struct str line, size_t from, struct cell *cells) {
  size_t n = 0, start = from;
  bool any = false;
  for (size_t i = from; i <= line.n;) {
    size_t pipe = i == line.n || line.p[i] == '|' ? 1 : (unsigned char)line.p[i] == 0xe2 ? scan_pipe(str_slice(line, i, line.n)) : 0;
    if (!pipe) {
      i++;
      continue;
    }
    any |= i < line.n;
    if (n == CELLS_MAX)
      return 0;
    set_cell(line, start, i, &cells[n]);
    bool outside = !cells[n].text.n && (start == from || i == line.n);
    n += !outside;
    i += pipe;
    start = i;
  }
  return any ? n : 0;
}

static size_t split_at(struct str line, size_t from, char divider, struct cell *cells) {
  size_t n = 0, start = from;
  for (size_t i = from; i <= line.n; i++)
    if (i == line.n || line.p[i] == divider) {
      if (n == CELLS_MAX)
        return 0;
      set_cell(line, start, i, &cells[n++]);
      start = i + 1;
    }
  return n > 1 ? n : 0;
}

/* `gap` blanks or a TAB divide. */
static size_t split_blanks(struct str line, size_t from, size_t gap, struct cell *cells) {
  size_t n = 0, i = from;
  while (i < line.n) {
    while (i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'))
      i++;
    size_t start = i, blanks = 0;
    bool tab = false;
    while (i < line.n && blanks < gap && !tab) {
      blanks = line.p[i] == ' ' ? blanks + 1 : 0;
      tab = line.p[i] == '\t';
      i++;
    }
    if (i == start)
      break;
    if (n == CELLS_MAX)
      return 0;
    set_cell(line, start, i, &cells[n]);
    n += cells[n].text.n > 0;
  }
  return n;
}

/* ---- rules ---- */

bool log_is_rule(struct str line) {
  static const bool drawn[128] = {
      ['-'] = true, ['='] = true, ['+'] = true, ['_'] = true, ['*'] = true, ['~'] = true, ['#'] = true, ['|'] = true, [':'] = true};
  size_t marks = 0;
  for (size_t i = 0; i < line.n;) {
    unsigned char c = (unsigned char)line.p[i];
    size_t drawing = c < 0x80 ? drawn[c] : log_scan_drawing(str_slice(line, i, line.n));
    if (!drawing && !is_blank(line.p[i]))
      return false;
    size_t end = drawing > 1 ? i + drawing : log_run_end(line, i);
    marks += drawing > 1 ? 1 : drawing ? end - i : 0;
    i = end;
  }
  return marks >= 3;
}

/* "---  ------  ----" under the header says how wide its columns are. */
static void take_widths(struct table *table, struct str line) {
  struct cell groups[CELLS_MAX];
  size_t n = split_blanks(line, 0, 1, groups);
  if (table->by != BY_BLANKS || n != table->count)
    return;
  for (size_t i = 0; i < n; i++) {
    table->columns[i].at = groups[i].at;
    table->columns[i].end = groups[i].end;
  }
}

/* ---- headers ---- */

static struct str column_name(const struct table *table, size_t i) {
  return str_n(table->text + table->columns[i].name_at, table->columns[i].name_n);
}

static bool is_place_kind(unsigned kind) {
  return kind == LOG_KEY_EPOCH || kind == LOG_KEY_STEP || kind == LOG_KEY_BATCH;
}

static bool add_column(struct log_parse *p, struct table *t, const struct cell *cell, struct str above) {
  struct str name = cell->text;
  if (!name.n) { /* only the row above has a name here */
    name = above;
    above = STR("");
  }
  if (str_find(name, '(') == SIZE_MAX && str_ends(name, STR(")"))) /* "Box(P  R  mAP50-95)" */
    name.n--;
  size_t n = name.n + (above.n ? above.n + 1 : 0);
  if (t->count == COLUMNS_MAX || t->text_n + n > COLUMN_TEXT_MAX)
    return false;
  char *text = t->text + t->text_n;
  if (above.n) {
    memcpy(text, above.p, above.n);
    text[above.n] = ' ';
  }
  memcpy(text + n - name.n, name.p, name.n);
  t->columns[t->count++] = (struct column){
      .at = cell->at, .end = cell->end, .name_at = t->text_n, .name_n = (uint16_t)n, .kind = (uint8_t)log_classify(p, str_n(text, n)).kind};
  t->text_n = (uint16_t)(t->text_n + n);
  return true;
}

static bool is_header_cell(const struct cell *cell) {
  struct str s = cell->text;
  if (str_is(s, "#") || str_is(s, "...")) /* columns that are left out */
    return true;
  if (!s.n || s.n > 40)
    return s.n == 0;
  bool letter = false;
  size_t blanks = 0;
  for (size_t i = 0; i < s.n; i++) {
    letter |= isalpha((unsigned char)s.p[i]) || (unsigned char)s.p[i] >= 0x80;
    blanks += s.p[i] == ' ';
    if (strchr("=!?{}[]\"", s.p[i]) || (s.p[i] == ':' && s.p[0] != '(' && str_find(s, '@') > i)) /* mAP@.5:.95 */
      return false;
  }
  return letter && blanks < 4 && cell->kind == CELL_TEXT && s.p[s.n - 1] != '.';
}

/* "average loss   since last   examples": how far it is, when nothing else says it. */
static void take_count_as_place(struct table *t) {
  for (size_t i = 1; i < t->count; i++)
    if (str_eq_nocase(column_name(t, i), STR("examples")) || str_eq_nocase(column_name(t, i), STR("samples")))
      t->columns[i].kind = LOG_KEY_STEP;
}

/* "n_gen", "n_iter": what the first column of a table counts. */
static bool counts_rounds(struct str name) {
  if (name.n < 3 || (strncmp(name.p, "n_", 2) != 0 && strncmp(name.p, "n ", 2) != 0))
    return false;
  return is_place_kind(log_key_classify(str_slice(name, 2, name.n)).kind);
}

/* "DataLoader 0": the word before the number. Empty when the cell is nothing of that kind. */
static struct str counted_name(const struct cell *cell, double *ret_number) {
  size_t blank = cell->text.n;
  while (blank && cell->text.p[blank - 1] != ' ')
    blank--;
  struct log_number number;
  struct str tail = str_slice(cell->text, blank, cell->text.n);
  if (blank < 2 || log_scan_number(tail, &number) != tail.n || !number.integer)
    return STR("");
  *ret_number = number.value;
  return str_slice(cell->text, 0, blank - 1);
}

/* Do names side by side count up: "Fold 1", "Fold 2"? */
static bool count_up(const struct cell *cells, size_t n) {
  double first, second;
  for (size_t i = 0; i + 1 < n && n >= 3; i++) {
    struct str name = counted_name(&cells[i], &first);
    if (name.n && str_eq(name, counted_name(&cells[i + 1], &second)) && second == first + 1)
      return true;
  }
  return false;
}

/* Makes a header of cells that are all names, when they look like a table of metrics. */
static bool make_header(struct log_parse *p, enum table_by by, const struct cell *cells, size_t n, const struct cell *above,
                        size_t above_n) {
  struct table t = {.by = (uint8_t)by};
  unsigned places = 0, metrics = 0, sections = 0, known = 0;
  bool counted = count_up(cells, n);
  for (size_t i = 0; i < n; i++) {
    if (!is_header_cell(&cells[i]))
      return false;
    if (!add_column(p, &t, &cells[i], above_n == n ? above[i].text : STR("")))
      return false;
    if (counted && counted_name(&cells[i], &(double){0}).n)
      t.columns[i].kind = LOG_KEY_UNKNOWN;
    unsigned kind = t.columns[i].kind;
    places += is_place_kind(kind);
    metrics += kind == LOG_KEY_METRIC;
    sections += kind == LOG_KEY_SECTION;
    known += kind != LOG_KEY_UNKNOWN;
  }
  if (!places && counts_rounds(column_name(&t, 0))) { /* a setting elsewhere */
    t.columns[0].kind = LOG_KEY_STEP;
    places++;
  }
  if (n < 2 || (!places && !metrics && !counted && !(by == BY_PIPES && sections >= 2)))
    return false;
  if (places == 0 && metrics == 1 && n > 4 && known < 2) /* a sentence with one such word */
    return false;
  if (!places)
    take_count_as_place(&t);
  if (!metrics && n >= 3 && is_place_kind(t.columns[0].kind) && t.columns[1].kind == LOG_KEY_SETTING) /* "iter | target | x | y" */
    t.columns[1].kind = LOG_KEY_METRIC;
  t.label_first = !is_place_kind(t.columns[0].kind) && t.columns[0].kind != LOG_KEY_METRIC;
  p->kept.candidate = t;
  return true;
}

/* A header whose names may be a single blank apart: all words, the first a place or two of them metrics. */
static bool word_header(struct log_parse *p, struct str line, size_t from) {
  struct cell cells[CELLS_MAX];
  size_t n = split_blanks(line, from, 1, cells);
  bool comment = n > 2 && str_is(cells[0].text, "#") && is_place_kind(log_classify(p, cells[1].text).kind); /* "# epoch loss" */
  if (n < 2 || n > 12 || !is_place_kind(log_classify(p, cells[comment].text).kind))
    return false;
  return make_header(p, BY_BLANKS, cells + comment, n - comment, NULL, 0);
}

static bool lie_over(const struct cell *above, const struct cell *below, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (above[i].at >= below[i].end || below[i].at >= above[i].end)
      return false;
  return true;
}

/* Names of two words, one over the other; the lower one may be missing. */
static bool two_row_header(struct log_parse *p, struct str line, size_t from) {
  struct cell cells[CELLS_MAX], above[CELLS_MAX], below[CELLS_MAX];
  size_t n = split_blanks(line, from, 1, cells);
  size_t above_n = n >= 3 && p->kept.above_n ? split_blanks(str_n(p->kept.above, p->kept.above_n), 0, 1, above) : 0;
  if (above_n < 4)
    return false;
  for (size_t i = 0; i < above_n; i++)
    if (str_ends(above[i].text, STR(":")))
      return false;
  if (above_n == n)
    return lie_over(above, cells, n) && make_header(p, BY_BLANKS, cells, n, above, above_n);
  if (n > above_n)
    return false;
  size_t next = 0;
  for (size_t i = 0; i < above_n; i++) {
    bool under = next < n && lie_over(&above[i], &cells[next], 1);
    below[i] = under ? cells[next++] : (struct cell){.text = STR(""), .at = above[i].at, .end = above[i].end};
  }
  return next == n && make_header(p, BY_BLANKS, below, above_n, above, above_n);
}

/* "Time Epoch Iteration    Loss": one blank divides columns where an epoch and a step would share a name. */
static bool holds_two_places(const struct log_parse *p, const struct cell *cells, size_t n) {
  size_t cell = 0;
  bool epoch = false, step = false;
  for (size_t i = p->first; i < p->tokens_n; i++) {
    while (cell < n && p->tokens[i].at >= cells[cell].end) {
      cell++;
      epoch = step = false;
    }
    enum log_key_kind kind = token_is_word(p, i) ? token_key(p, i).kind : LOG_KEY_UNKNOWN;
    epoch |= kind == LOG_KEY_EPOCH;
    step |= kind == LOG_KEY_STEP || kind == LOG_KEY_BATCH;
    if (epoch && step)
      return true;
  }
  return false;
}

static bool find_header(struct log_parse *p, struct str line, size_t from, bool pipes) {
  struct cell cells[CELLS_MAX];
  size_t n;
  struct cell words[CELLS_MAX];
  if (pipes && (n = split_pipes(line, from, cells)) >= 2) {
    size_t above_n = p->kept.above_n ? split_pipes(str_n(p->kept.above, p->kept.above_n), 0, words) : 0;
    if (above_n == n && make_header(p, BY_PIPES, cells, n, words, above_n))
      return true;
    if (make_header(p, BY_PIPES, cells, n, NULL, 0))
      return true;
  }
  if (str_find(line, ',') != SIZE_MAX)
    return (n = split_at(line, from, ',', cells)) >= 2 && make_header(p, BY_COMMAS, cells, n, NULL, 0);
  if (str_find(line, ';') != SIZE_MAX && (n = split_at(line, from, ';', cells)) >= 2 && make_header(p, BY_SEMICOLONS, cells, n, NULL, 0))
    return true;
  if (two_row_header(p, line, from))
    return true;
  if (line.p[from] == '#' && word_header(p, line, from)) /* "# Epoch batch    loss" */
    return true;
  n = split_blanks(line, from, 2, cells);
  if (holds_two_places(p, cells, n))
    n = split_blanks(line, from, 1, cells);
  if (n >= 2 && make_header(p, BY_BLANKS, cells, n, NULL, 0))
    return true;
  return word_header(p, line, from);
}

/* "Test metric    DataLoader 0    DataLoader 1", "  Fold 1  Fold 2  Mean": names only, and some count up. */
static bool numbered_header(struct log_parse *p, struct str line, size_t from, bool pipes) {
  struct cell cells[CELLS_MAX];
  size_t n = pipes ? split_pipes(line, from, cells) : split_blanks(line, from, 2, cells);
  return count_up(cells, n) && make_header(p, pipes ? BY_PIPES : BY_BLANKS, cells, n, NULL, 0);
}

/* "| Arch | AP | AP .75 | AP (M) | AR |": most cells are names only, so the others are, too. */
static bool drawn_header(struct log_parse *p, struct str line, size_t from) {
  struct cell cells[CELLS_MAX];
  size_t i = p->first + (p->tokens[p->first].type != LOG_T_WORD);
  for (; i < p->tokens_n && p->tokens[i].type != LOG_T_BREAK && !token_is(p, i, '|'); i++)
    if (token_is_number(p, i)) /* "| epoch 1 | loss 0.5 |", quickly */
      return false;
  size_t n = split_pipes(line, from, cells), plain = 0;
  bool heads = false;
  for (i = 0; i < n; i++) {
    struct str rest = cells[i].text, word;
    struct log_number number;
    bool measures = false;
    while (str_split(&rest, ' ', &word))
      measures |= word.n && log_scan_number(word, &number);
    enum log_key_kind kind = measures ? LOG_KEY_UNKNOWN : log_classify(p, cells[i].text).kind;
    plain += !measures && cells[i].kind == CELL_TEXT;
    heads |= kind == LOG_KEY_METRIC || is_place_kind(kind);
  }
  return heads && plain >= 3 && plain > n / 2 && make_header(p, BY_PIPES, cells, n, NULL, 0);
}

/* ---- rows ---- */

/* The column that lies over the cell, from `after` on; COLUMNS_MAX when there is none. */
static size_t column_over(const struct table *t, const struct cell *cell, size_t after) {
  size_t best = COLUMNS_MAX;
  uint32_t best_distance = UINT32_MAX;
  for (size_t i = after; i < t->count; i++) {
    const struct column *c = &t->columns[i];
    if (cell->at < c->end && c->at < cell->end)
      return i;
    uint32_t distance = cell->at >= c->end ? cell->at - c->end : c->at - cell->end;
    if (distance < best_distance) {
      best_distance = distance;
      best = i;
    }
  }
  return best_distance <= 4 ? best : COLUMNS_MAX;
}

static void add_cell(struct log_parse *p, const struct table *t, size_t column, const struct cell *cell, struct str label,
                     bool only_value) {
  unsigned kind = t->columns[column].kind;
  if (cell->kind != CELL_NUMBER)
    return;
  struct str name = column_name(t, column);
  if (is_place_kind(kind) && cell->value >= 0) {
    double *place = kind == LOG_KEY_EPOCH ? &p->own.epoch : kind == LOG_KEY_STEP ? &p->own.step : &p->own.batch;
    if (isnan(*place))
      *place = cell->value;
    return;
  }
  struct raw *raw;
  if (label.n && only_value) {
    raw = log_add_raw(p, label, cell->value);
  } else if (label.n) {
    bool label_is_metric = log_classify(p, label).kind == LOG_KEY_METRIC;
    struct str first = label_is_metric ? name : label, second = label_is_metric ? label : name;
    char *text = log_scratch(p, first.n + second.n + 1);
    if (!text)
      return;
    memcpy(text, first.p, first.n);
    text[first.n] = ' ';
    memcpy(text + first.n + 1, second.p, second.n);
    raw = log_add_raw(p, str_n(text, first.n + second.n + 1), cell->value);
    if (raw && kind != LOG_KEY_METRIC && kind != LOG_KEY_UNKNOWN && kind != LOG_KEY_SECTION)
      raw->kind = (enum log_key_kind)kind;
    else if (raw && (kind == LOG_KEY_METRIC || label_is_metric))
      raw->kind = LOG_KEY_METRIC;
  } else {
    char *copy = log_scratch(p, name.n); /* the table may change before the points are made */
    if (!copy)
      return;
    memcpy(copy, name.p, name.n);
    raw = log_add_raw(p, str_n(copy, name.n), cell->value);
  }
  if (raw) {
    if (kind == LOG_KEY_METRIC)
      raw->kind = LOG_KEY_METRIC;
    raw->percent = cell->percent;
    raw->integer = false; /* a column of numbers measures, whole ones too */
  }
}

static unsigned value_columns(const struct table *t, size_t from) {
  unsigned n = 0;
  for (size_t i = from; i < t->count; i++)
    n += t->columns[i].kind == LOG_KEY_METRIC || t->columns[i].kind == LOG_KEY_UNKNOWN || t->columns[i].kind == LOG_KEY_SECTION;
  return n;
}

static bool has_place_column(const struct table *t) {
  for (size_t i = 0; i < t->count; i++)
    if (is_place_kind(t->columns[i].kind))
      return true;
  return false;
}

/* Cells under their columns by where they stand. False when two would share one. */
static bool row_by_offset(struct log_parse *p, const struct table *t, const struct cell *cells, size_t n, struct str label) {
  size_t columns[CELLS_MAX], next = 0;
  bool place = false;
  for (size_t i = 0; i < n; i++) {
    columns[i] = column_over(t, &cells[i], next);
    if (columns[i] == COLUMNS_MAX)
      return false;
    place |= is_place_kind(t->columns[columns[i]].kind);
    next = columns[i] + 1;
  }
  if (!label.n && has_place_column(t) && !place)
    return false;
  for (size_t i = 0; i < n; i++)
    add_cell(p, t, columns[i], &cells[i], label, false);
  return true;
}

/* "epoch,metric,value" with rows "1,train_loss,0.5": the name is a cell. */
static bool named_row(struct log_parse *p, const struct table *t, const struct cell *cells, size_t n) {
  static const char *const names[] = {"metric", "name", "key", "tag", "variable", "measure"};
  size_t name = SIZE_MAX, value = SIZE_MAX, texts = 0;
  if (n != t->count || n < 3)
    return false;
  for (size_t i = 0; i < n; i++)
    texts += cells[i].kind == CELL_TEXT;
  for (size_t i = 0; texts && i < t->count; i++) {
    for (size_t k = 0; k < ARRAY_LEN(names); k++)
      name = str_eq_nocase(column_name(t, i), str_of(names[k])) ? i : name;
    value = str_eq_nocase(column_name(t, i), STR("value")) ? i : value;
  }
  if (name == SIZE_MAX || value == SIZE_MAX || cells[name].kind != CELL_TEXT || cells[value].kind != CELL_NUMBER)
    return false;
  for (size_t i = 0; i < n; i++)
    if (is_place_kind(t->columns[i].kind))
      add_cell(p, t, i, &cells[i], STR(""), false);
  add_cell(p, t, value, &cells[value], cells[name].text, true);
  return true;
}

static bool numeric_row(struct log_parse *p, const struct table *t, const struct cell *cells, size_t n) {
  size_t numbers = 0, texts = 0;
  for (size_t i = 0; i < n; i++) {
    numbers += cells[i].kind == CELL_NUMBER;
    texts += cells[i].kind == CELL_TEXT;
  }
  if (cells[0].kind == CELL_TEXT || !numbers)
    return false;
  if (n == t->count) {
    if (texts && (numbers < 2 || t->by == BY_BLANKS))
      return false;
    for (size_t i = 0; i < n; i++)
      add_cell(p, t, i, &cells[i], STR(""), false);
    return true;
  }
  if (t->by != BY_BLANKS || texts || n < 2)
    return false;
  if (n == (size_t)t->count + 1 && cells[0].integer && cells[0].end <= t->columns[0].at) { /* the index of a data frame */
    for (size_t i = 1; i < n; i++)
      add_cell(p, t, i - 1, &cells[i], STR(""), false);
    return true;
  }
  return n < t->count && row_by_offset(p, t, cells, n, STR(""));
}

/* A report of classes has a column of counts; the numbers before the rows of a data frame are no names. */
static bool counts_support(const struct table *t) {
  for (size_t i = 0; i < t->count; i++)
    if (t->columns[i].kind == LOG_KEY_SETTING)
      return true;
  return false;
}

/* "| trial_1 | RUNNING | host:80 | 12 | 0.5 |": its name, how it is, then numbers. */
static bool status_row(struct log_parse *p, const struct table *t, const struct cell *cells, size_t words, size_t n) {
  size_t numbers = 0;
  for (size_t i = words; i < n; i++)
    numbers += cells[i].kind == CELL_NUMBER;
  for (size_t i = words; i < n && numbers && cells[0].text.n <= LABEL_MAX; i++)
    add_cell(p, t, i, &cells[i], cells[0].text, false);
  return numbers && cells[0].text.n <= LABEL_MAX;
}

/* "macro avg   0.97   0.97": a name, then numbers. */
static bool labelled_row(struct log_parse *p, const struct table *t, struct str line, const struct cell *cells, size_t n) {
  size_t words = 0;
  while (words < n && cells[words].kind == CELL_TEXT)
    words++;
  bool index = words == 0 && t->by == BY_BLANKS && n == (size_t)t->count + 1 && cells[0].integer && counts_support(t);
  words += index; /* the classes of a report are numbers too */
  if (t->by == BY_PIPES && words && n == t->count && has_place_column(t) && !is_place_kind(t->columns[0].kind))
    return status_row(p, t, cells, words, n);
  size_t values = n - words;
  if (!words || !values || words > 3 || (t->by != BY_BLANKS && words != 1) || is_place_kind(t->columns[0].kind))
    return false;
  size_t numbers = 0;
  for (size_t i = words; i < n; i++) {
    numbers += cells[i].kind == CELL_NUMBER;
    if (cells[i].kind == CELL_TEXT && t->by == BY_BLANKS)
      return false;
  }
  struct str label = str_n(line.p + cells[0].at, cells[words - 1].end - cells[0].at);
  if (!numbers || label.n > LABEL_MAX || strchr(":=", label.p[label.n - 1]))
    return false;
  size_t first = t->by != BY_BLANKS                         ? (n == t->count ? 1 : SIZE_MAX)
                 : values == t->count                       ? 0
                 : values + 1 == t->count && t->label_first ? 1
                                                            : SIZE_MAX;
  if (t->by == BY_PIPES && n == (size_t)t->count + 1)
    first = 0;
  if (first == SIZE_MAX)
    return t->by == BY_BLANKS && values < t->count && row_by_offset(p, t, cells + words, values, label);
  bool only = value_columns(t, first) == 1;
  for (size_t i = 0; i < values; i++)
    add_cell(p, t, first + i, &cells[words + i], label, only);
  return true;
}

/* Cells with a blank inside: "2021-11-21 16:00:00   0.012 sec   1   0.47". */
static bool wide_row(struct log_parse *p, const struct table *t, struct str line, size_t from) {
  struct cell cells[CELLS_MAX];
  size_t n = t->by == BY_BLANKS ? split_blanks(line, from, 2, cells) : 0;
  return n == t->count && n >= 2 && cells[0].kind != CELL_TEXT && numeric_row(p, t, cells, n);
}

/* A quick look before the line is cut into cells. */
static bool may_be_row(const struct table *t, struct str line, size_t from) {
  if (t->by == BY_COMMAS || t->by == BY_SEMICOLONS)
    return str_find(line, t->by == BY_COMMAS ? ',' : ';') != SIZE_MAX;
  if (t->by != BY_BLANKS || !has_place_column(t))
    return true;
  while (from < line.n && is_blank(line.p[from]))
    from++;
  return from < line.n && (isdigit((unsigned char)line.p[from]) || (line.p[from] && strchr("+-.*nN", line.p[from])));
}

static bool try_row(struct log_parse *p, struct table *t, struct str line, size_t from) {
  struct cell cells[CELLS_MAX];
  size_t n = 0;
  if (!may_be_row(t, line, from))
    return false;
  if (t->by == BY_PIPES)
    n = split_pipes(line, from, cells);
  else if (t->by == BY_COMMAS)
    n = split_at(line, from, ',', cells);
  else if (t->by == BY_SEMICOLONS)
    n = split_at(line, from, ';', cells);
  else if (t->by == BY_BLANKS)
    n = split_blanks(line, from, 1, cells);
  if (n == (size_t)t->count + 1 && t->by == BY_BLANKS && cells[n - 1].kind == CELL_TEXT && cells[n - 1].text.n == 1)
    n--; /* "0.45  2048  9 h": a mark at the end of a row */
  if (n < 2)
    return false;
  for (size_t i = 0; i < n; i++)
    if (str_is(cells[i].text, "=") || str_is(cells[i].text, ":"))
      return false;
  if (named_row(p, t, cells, n))
    return true;
  bool index_like = t->by == BY_BLANKS && n == (size_t)t->count + 1 && value_columns(t, 0) && !has_place_column(t);
  if (!index_like && numeric_row(p, t, cells, n))
    return true;
  if (n != t->count && wide_row(p, t, line, from))
    return true;
  p->raw_n = 0;
  p->own = PLACE_NONE;
  return labelled_row(p, t, line, cells, n) || (index_like && numeric_row(p, t, cells, n));
}

static bool find_row_from(struct log_parse *p, struct str line, size_t from) {
  if (p->kept.candidate.by && try_row(p, &p->kept.candidate, line, from)) {
    p->kept.candidate.seen_row = true;
    p->kept.table = p->kept.candidate;
    p->kept.candidate.by = BY_NONE;
    return true;
  }
  p->raw_n = 0;
  p->own = PLACE_NONE;
  if (p->kept.table.by && try_row(p, &p->kept.table, line, from))
    return true;
  p->raw_n = 0;
  p->own = PLACE_NONE;
  return false;
}

/* What looks like a logger's prefix may be the first column. */
static bool find_row(struct log_parse *p, struct str line, size_t from) {
  return find_row_from(p, line, from) || (p->first && find_row_from(p, line, 0));
}

/* ---- boxes ---- */

bool log_box_row(struct str line, struct str *ret_name, struct str *ret_value) {
  struct cell cells[CELLS_MAX];
  size_t start = 0;
  while (start < line.n && line.p[start] == ' ')
    start++;
  if (!scan_pipe(str_slice(line, start, line.n)))
    return false;
  size_t n = split_pipes(line, start, cells);
  if (n < 1 || n > 2 || cells[0].kind != CELL_TEXT)
    return false;
  *ret_name = cells[0].text;
  *ret_value = n == 2 ? cells[1].text : STR("");
  return n == 2 ? cells[1].kind != CELL_TEXT : str_ends(cells[0].text, STR("/"));
}

static void box_line(struct log_parse *p, struct str line, char *group, size_t *group_n) {
  struct str name, value;
  struct log_number number;
  if (!log_box_row(line, &name, &value))
    return;
  if (!value.n) {
    *group_n = MIN_OF(name.n, (size_t)LABEL_MAX);
    memcpy(group, name.p, *group_n);
    return;
  }
  if (!log_number_whole(value, &number))
    return;
  enum log_key_kind kind = log_classify(p, name).kind;
  if (kind == LOG_KEY_EPOCH)
    p->own.epoch = number.value;
  else if (kind == LOG_KEY_STEP && !(p->own.step >= number.value)) /* iterations, n_updates, total_timesteps: the finest */
    p->own.step = number.value;
  if (is_place_kind(kind))
    return;
  char *text = log_scratch(p, *group_n + name.n);
  if (!text)
    return;
  memcpy(text, group, *group_n);
  memcpy(text + *group_n, name.p, name.n);
  struct raw *raw = log_add_raw(p, str_n(text, *group_n + name.n), number.value);
  if (raw && kind != LOG_KEY_UNKNOWN)
    raw->kind = kind;
}

void log_settle_box(struct log_parse *p) {
  struct str rest = str_n(p->kept.block.text, p->kept.block.n), line;
  char group[LABEL_MAX];
  size_t group_n = 0;
  p->raw_n = 0;
  p->own = PLACE_NONE;
  p->number = p->kept.block.first_line;
  while (str_split(&rest, '\n', &line)) {
    box_line(p, line, group, &group_n);
    p->number++;
  }
  p->kept.block.kind = BLOCK_NONE;
  p->kept.block.n = 0;
  log_settle(p, STYLE_BOX);
}

/* ---- the line ---- */

/* Where a progress bar begins that follows the cells: "640: 100%|####| 4/4". */
static size_t before_bar(const struct log_parse *p) {
  for (size_t i = p->first + 1; p->has.percent && i + 1 < p->tokens_n; i++)
    if (p->tokens[i].type == LOG_T_NUMBER && p->tokens[i].flags & LOG_T_PERCENT && token_is(p, i - 1, ':') &&
        (token_is(p, i + 1, '|') || p->tokens[i + 1].type == LOG_T_BREAK))
      return p->tokens[i - 1].at;
  return p->text.n;
}

static void remember_words(struct log_parse *p, struct str line) {
  p->kept.above_n = 0;
  if (line.n > sizeof p->kept.above)
    return;
  memcpy(p->kept.above, line.p, line.n);
  p->kept.above_n = (uint16_t)line.n;
}

/* A row with words between: "10  images/sec: 28.3 +/- 0.0 (jitter = 0.1)  9.433" under "Step  Img/sec  total_loss". Its last number
 * belongs to the last column. */
static void last_column(struct log_parse *p, const struct table *t) {
  size_t last = p->tokens_n - 1;
  if (t->by != BY_BLANKS || t->count < 2 || !is_place_kind(t->columns[0].kind) || t->columns[t->count - 1].kind != LOG_KEY_METRIC)
    return;
  if (!token_is_int(p, p->first) || last < p->first + 4 || !token_is_number(p, last) || p->tokens[last].flags & LOG_T_UNIT ||
      !(token_is(p, last - 1, ')') || token_is_number(p, last - 1)))
    return;
  struct cell cell = {.kind = CELL_NUMBER, .value = p->tokens[last].value};
  add_cell(p, t, t->count - 1u, &cell, STR(""), false);
}

bool log_may_be_row(const struct log_parse *p, size_t *ret_from) {
  struct str line = p->text;
  struct log_number number;
  size_t from = 0;
  if (!p->kept.candidate.by && !p->kept.table.by)
    return false;
  while (from < line.n && is_blank(line.p[from]))
    from++;
  *ret_from = from;
  if (from == line.n || memchr(line.p, ':', line.n) || memchr(line.p, '/', line.n)) /* a logger's prefix, a bar */
    return false;
  if (!isdigit((unsigned char)line.p[from]))
    return scan_pipe(str_slice(line, from, line.n)) > 0;
  size_t end = from + log_scan_number(str_slice(line, from, line.n), &number);
  return end == line.n || is_blank(line.p[end]) || line.p[end] == '|';
}

bool log_find_row(struct log_parse *p, size_t from) {
  size_t scratch = p->scratch_n;
  p->tokens_n = p->first = 0;
  if (!find_row(p, p->text, from)) {
    p->scratch_n = scratch;
    return false;
  }
  p->kept.above_n = 0;
  p->above_is_prose = true;
  p->kept.pending_n = 0;
  log_settle(p, STYLE_TABLE);
  return true;
}

/* The line before, for the next one: no row of a header. */
static void see_numbers(struct log_parse *p) {
  p->kept.above_n = 0;
  p->above_is_prose = true;
}

/* Numbers, but no table so far, and nothing drawn between what might be names of columns. */
static bool cannot_be_table(const struct log_parse *p) {
  return p->has.numbers > p->first && !p->has.percent && !p->has.lines && !p->has.only_names && !p->kept.candidate.by && !p->kept.table.by;
}

bool log_find_table(struct log_parse *p) {
  if (log_is_rule(p->first ? str_slice(p->text, p->tokens[p->first].at, p->text.n) : p->text)) {
    if (p->kept.candidate.by)
      take_widths(&p->kept.candidate, p->text);
    return true;
  }
  if (cannot_be_table(p)) {
    see_numbers(p);
    return false;
  }
  struct str line = str_slice(p->text, 0, before_bar(p));
  size_t from = p->tokens[p->first].at;
  bool numbers = false, pipes = false, words = false, heads = false;
  for (size_t i = p->first; i < p->tokens_n && p->tokens[i].at < line.n; i++) {
    const struct log_token *t = &p->tokens[i];
    numbers |= t->type == LOG_T_NUMBER;
    words |= t->type == LOG_T_WORD;
    heads |= t->type == LOG_T_WORD ? token_key(p, i).heads : t->type == LOG_T_MARK && (t->mark == '#' || t->mark == '@');
    pipes |= (t->type == LOG_T_MARK && t->mark == '|') || (t->type == LOG_T_BREAK && scan_pipe(str_slice(line, t->at, line.n)));
  }
  if (numbers)
    see_numbers(p);
  bool table = p->kept.candidate.by || p->kept.table.by;
  if (numbers && table && find_row(p, line, from)) {
    log_settle(p, STYLE_TABLE);
    return true;
  }
  if (numbers && words)
    last_column(p, p->kept.candidate.by ? &p->kept.candidate : &p->kept.table);
  if (numbers && words && p->has.only_names && numbered_header(p, line, from, pipes))
    return true;
  if (numbers && words && heads && pipes && drawn_header(p, line, from))
    return true;
  if (numbers || !words)
    return false;
  bool header = (heads || !p->above_is_prose) && find_header(p, line, from, pipes);
  remember_words(p, line);
  p->above_is_prose = !heads;
  return header;
}
