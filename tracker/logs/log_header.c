/* Headers of tables: names of columns, in one row or two, divided by blanks, drawn lines or commas. */
#include "tracker/logs/log_table.h"

bool log_add_column(struct log_parse *p, struct table *t, const struct cell *cell, struct str above) {
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
  if (s.p[s.n - 1] == ']' && str_find(s, '[') != SIZE_MAX && str_find(s, '[') > 0) /* "t[m:s]", "loss [dB]" */
    s.n = str_find(s, '[');
  for (size_t i = 0; i < s.n; i++) {
    letter |= isalpha((unsigned char)s.p[i]) || (unsigned char)s.p[i] >= 0x80;
    blanks += s.p[i] == ' ';
    if (strchr("=!?{}[]\"", s.p[i]) || (s.p[i] == ':' && s.p[0] != '(' && str_find(s, '@') > i)) /* mAP@.5:.95 */
      return false;
  }
  bool sentence = s.p[s.n - 1] == '.' && (blanks || s.n > 5); /* "Prec." is none */
  return letter && blanks < 4 && cell->kind == CELL_TEXT && !sentence;
}

/* "average loss   since last   examples": how far it is, when nothing else says it. */
static void take_count_as_place(struct table *t) {
  for (size_t i = 1; i < t->count; i++)
    if (str_eq_nocase(column_name(t, i), STR("examples")) || str_eq_nocase(column_name(t, i), STR("samples")))
      t->columns[i].kind = LOG_KEY_STEP;
}

/* "n_gen", "n_iter", "ntree": what the first column of a table counts. */
static bool counts_rounds(struct str name) {
  if (name.n < 3 || name.p[0] != 'n')
    return false;
  bool joined = name.p[1] == '_' || name.p[1] == ' ';
  return is_place_kind(log_key_classify(str_slice(name, 1 + joined, name.n)).kind);
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

/* "ntree   OOB   1   2   3": at the end the numbers of classes. */
static bool ends_in_classes(const struct cell *cells, size_t n) {
  size_t from = n;
  while (from && cells[from - 1].kind == CELL_NUMBER)
    from--;
  if (n - from < 2 || from < 2 || !counts_rounds(cells[0].text))
    return false;
  for (size_t i = from; i < n; i++)
    if (!cells[i].integer || cells[i].value != (double)(i - from + 1))
      return false;
  return true;
}

/* Makes a header of cells that are all names, when they look like a table of metrics. */
static bool make_header(struct log_parse *p, enum table_by by, const struct cell *cells, size_t n, const struct cell *above,
                        size_t above_n) {
  struct table t = {.by = (uint8_t)by};
  unsigned places = 0, metrics = 0, sections = 0, known = 0;
  bool counted = count_up(cells, n), classes = ends_in_classes(cells, n);
  for (size_t i = 0; i < n; i++) {
    if (!is_header_cell(&cells[i]) && !(classes && cells[i].kind == CELL_NUMBER))
      return false;
    if (!log_add_column(p, &t, &cells[i], above_n == n ? above[i].text : STR("")))
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
  size_t n = log_split_blanks(line, from, 1, cells);
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
  size_t n = log_split_blanks(line, from, 1, cells);
  size_t above_n = n >= 3 && p->kept.above_n ? log_split_blanks(str_n(p->kept.above, p->kept.above_n), 0, 1, above) : 0;
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

/* "Tree |   MSE  %Var(y) |   MSE  %Var(y) |": the drawn lines divide groups of columns. */
static bool holds_gaps(const struct cell *cells, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (str_find_str(cells[i].text, STR("  ")) != SIZE_MAX)
      return true;
  return false;
}

bool log_find_header(struct log_parse *p, struct str line, size_t from, bool pipes) {
  struct cell cells[CELLS_MAX];
  size_t n;
  struct cell words[CELLS_MAX];
  if (pipes && (n = log_split_pipes(line, from, cells)) >= 2 && !holds_gaps(cells, n)) {
    size_t above_n = p->kept.above_n ? log_split_pipes(str_n(p->kept.above, p->kept.above_n), 0, words) : 0;
    if (above_n == n && make_header(p, BY_PIPES, cells, n, words, above_n))
      return true;
    if (make_header(p, BY_PIPES, cells, n, NULL, 0))
      return true;
  }
  if (str_find(line, ',') != SIZE_MAX)
    return (n = log_split_at(line, from, ',', cells)) >= 2 && make_header(p, BY_COMMAS, cells, n, NULL, 0);
  if (str_find(line, ';') != SIZE_MAX && (n = log_split_at(line, from, ';', cells)) >= 2 &&
      make_header(p, BY_SEMICOLONS, cells, n, NULL, 0))
    return true;
  if (two_row_header(p, line, from))
    return true;
  if (line.p[from] == '#' && word_header(p, line, from)) /* "# Epoch batch    loss" */
    return true;
  n = log_split_blanks(line, from, 2, cells);
  if (holds_two_places(p, cells, n))
    n = log_split_blanks(line, from, 1, cells);
  if (n >= 2 && make_header(p, BY_BLANKS, cells, n, NULL, 0))
    return true;
  return word_header(p, line, from);
}

/* "Test metric    DataLoader 0    DataLoader 1", "  Fold 1  Fold 2  Mean": names only, and some count up. */
bool log_numbered_header(struct log_parse *p, struct str line, size_t from, bool pipes) {
  struct cell cells[CELLS_MAX];
  size_t n = pipes ? log_split_pipes(line, from, cells) : log_split_blanks(line, from, 2, cells);
  return (count_up(cells, n) || ends_in_classes(cells, n)) && make_header(p, pipes ? BY_PIPES : BY_BLANKS, cells, n, NULL, 0);
}

/* "| Arch | AP | AP .75 | AP (M) | AR |": most cells are names only, so the others are, too. */
bool log_drawn_header(struct log_parse *p, struct str line, size_t from) {
  struct cell cells[CELLS_MAX];
  size_t i = p->first + (p->tokens[p->first].type != LOG_T_WORD);
  for (; i < p->tokens_n && p->tokens[i].type != LOG_T_BREAK && !token_is(p, i, '|'); i++)
    if (token_is_number(p, i)) /* "| epoch 1 | loss 0.5 |", quickly */
      return false;
  size_t n = log_split_pipes(line, from, cells), plain = 0;
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
