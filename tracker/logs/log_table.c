/* Tables: a header of names, then rows of numbers, divided by blanks, by drawn lines or by commas. Other lines may stand between the
 * rows. */
#include "tracker/logs/log_table.h"

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

/* "2;val;0.52;0.81" under "epoch;split;loss;accuracy": which part of the data the row is about. */
static bool names_section(const struct cell *cell) {
  return cell->kind == CELL_TEXT && log_is_section(cell->text);
}

static bool numeric_row(struct log_parse *p, const struct table *t, const struct cell *cells, size_t n) {
  size_t numbers = 0, texts = 0;
  for (size_t i = 0; i < n; i++) {
    numbers += cells[i].kind == CELL_NUMBER;
    texts += cells[i].kind == CELL_TEXT && !names_section(&cells[i]);
  }
  if (cells[0].kind == CELL_TEXT || !numbers)
    return false;
  if (n == t->count) {
    if (texts && (numbers < 2 || t->by == BY_BLANKS))
      return false;
    for (size_t i = 0; i < n; i++)
      p->line_section = names_section(&cells[i]) ? cells[i].text : p->line_section;
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
  static const char *const names[] = {"support", "count", "counts", "samples", "instances", "examples", "images"};
  for (size_t i = 0; i < t->count; i++)
    for (size_t k = 0; k < ARRAY_LEN(names); k++)
      if (str_eq_nocase(column_name(t, i), str_of(names[k])))
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

static bool repeats_first(const struct table *t) {
  for (size_t i = 2; i < t->count; i++)
    if (str_eq(column_name(t, i), column_name(t, 0)))
      return true;
  return false;
}

/* "| person | 30.1 | bicycle | 12.3 |" under "| category | AP | category | AP |": several names in a row. */
static bool grouped_row(struct log_parse *p, const struct table *t, const struct cell *cells, size_t n) {
  struct str label = STR("");
  size_t numbers = 0;
  for (size_t i = 0; i < n; i++) {
    bool names = str_eq(column_name(t, i), column_name(t, 0));
    label = names && cells[i].kind == CELL_TEXT && cells[i].text.n <= LABEL_MAX ? cells[i].text : names ? STR("") : label;
    numbers += cells[i].kind == CELL_NUMBER;
    if (!names && label.n)
      add_cell(p, t, i, &cells[i], label, false);
  }
  return numbers > 0;
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
  if (!words || !values || words > LABEL_WORDS_MAX || (t->by != BY_BLANKS && words != 1) || is_place_kind(t->columns[0].kind))
    return false;
  if (t->by == BY_PIPES && n == t->count && repeats_first(t))
    return grouped_row(p, t, cells, n);
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
  size_t n = t->by == BY_BLANKS ? log_split_blanks(line, from, 2, cells) : 0;
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

/* "0   CatBoost   0.84   accuracy   0.12": a row of a data frame with its index, and texts among the numbers; the first one names it. */
static bool indexed_row(struct log_parse *p, const struct table *t, const struct cell *cells, size_t n) {
  if (t->by != BY_BLANKS || n != (size_t)t->count + 1 || cells[0].kind != CELL_NUMBER || !cells[0].integer || cells[1].kind != CELL_TEXT ||
      cells[1].text.n > LABEL_MAX || !t->label_first || has_place_column(t))
    return false;
  size_t numbers = 0;
  for (size_t i = 2; i < n; i++)
    numbers += cells[i].kind == CELL_NUMBER;
  for (size_t i = 2; i < n && numbers >= 2; i++)
    add_cell(p, t, i - 1, &cells[i], cells[1].text, false);
  return numbers >= 2;
}

static bool try_row(struct log_parse *p, struct table *t, struct str line, size_t from) {
  struct cell cells[CELLS_MAX];
  size_t n = 0;
  if (!may_be_row(t, line, from))
    return false;
  if (t->by == BY_PIPES)
    n = log_split_pipes(line, from, cells);
  else if (t->by == BY_COMMAS)
    n = log_split_at(line, from, ',', cells);
  else if (t->by == BY_SEMICOLONS)
    n = log_split_at(line, from, ';', cells);
  else if (t->by == BY_BLANKS)
    n = log_split_blanks(line, from, 1, cells);
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
  return labelled_row(p, t, line, cells, n) || indexed_row(p, t, cells, n) || (index_like && numeric_row(p, t, cells, n));
}

static size_t count_words(struct str name) {
  size_t words = 1;
  for (size_t i = 0; i < name.n; i++)
    words += name.p[i] == ' ';
  return words;
}

/* Which columns have a number for each of their words? Those that so many cells stand under. Returns how many columns that makes. */
static size_t find_split(const struct table *t, const struct cell *cells, size_t n, bool *ret_split) {
  size_t next = 0, columns = 0;
  for (size_t i = 0; i < t->count; i++) {
    size_t words = count_words(column_name(t, i)), under = 0;
    while (under < words && next + under < n && cells[next + under].at < t->columns[i].end)
      under++;
    ret_split[i] = words > 1 && under == words;
    columns += ret_split[i] ? words : 1;
    next += ret_split[i] ? words : 1;
  }
  return columns;
}

/* "gamma cost      error dispersion": a row with a number for each word tells that single blanks divide the names; in
 * "Iterat #Fevals   function value" only those of the first. */
static bool split_names(struct log_parse *p, const struct table *t, struct str line, size_t from, struct table *ret) {
  struct cell cells[CELLS_MAX];
  bool split[COLUMNS_MAX];
  size_t words = 0, numbers = 0;
  if (t->by != BY_BLANKS || !memchr(t->text, ' ', t->text_n))
    return false;
  for (size_t i = 0; i < t->count; i++)
    words += count_words(column_name(t, i));
  size_t n = log_split_blanks(line, from, 1, cells);
  for (size_t i = 0; i < n; i++)
    numbers += cells[i].kind == CELL_NUMBER;
  if (n <= t->count || words > COLUMNS_MAX || numbers < 2)
    return false;
  if (n == words || n == words + 1)
    memset(split, true, sizeof split);
  else if (numbers + 1 < n || find_split(t, cells, n, split) != n)
    return false;
  *ret = (struct table){.by = BY_BLANKS};
  for (size_t i = 0; i < t->count; i++) {
    struct str name = column_name(t, i), rest = name, word;
    while (str_split(&rest, split[i] ? ' ' : 0, &word)) {
      uint32_t at = t->columns[i].at + (uint32_t)(word.p - name.p);
      struct cell cell = {.text = word, .at = at, .end = split[i] ? at + (uint32_t)word.n : t->columns[i].end};
      if (!word.n || !log_add_column(p, ret, &cell, STR("")))
        return false;
    }
  }
  ret->label_first = !is_place_kind(ret->columns[0].kind) && ret->columns[0].kind != LOG_KEY_METRIC;
  return true;
}

/* Is the line, from `from` on, a row of the table? */
static bool is_row_of(struct log_parse *p, struct table *t, struct str line, size_t from) {
  if (!t->by)
    return false;
  if (try_row(p, t, line, from))
    return true;
  p->raw_n = 0;
  p->own = PLACE_NONE;
  return false;
}

/* The first row under what may be a header makes it the table. */
static bool opens_table(struct log_parse *p, struct str line, size_t from) {
  struct table *header = &p->kept.candidate, next;
  if (header->by && split_names(p, header, line, from, &next))
    *header = next;
  if (!is_row_of(p, header, line, from))
    return false;
  header->seen_row = true;
  p->kept.table = *header;
  header->by = BY_NONE;
  return true;
}

/* "copypaste: AP,AP50,AP75": where the list begins. */
static size_t behind_label(const struct log_parse *p, size_t from) {
  size_t i = p->first;
  bool label = token_is_word(p, i) && token_is(p, i + 1, ':') && i + 2 < p->tokens_n && p->tokens[i + 2].flags & LOG_T_SPACE;
  return label && token_is(p, i + 3, ',') ? p->tokens[i + 2].at : from;
}

/* What looks like a logger's prefix may be the first column. The last header is asked before the table above it. */
static bool find_row(struct log_parse *p, struct str line, size_t from) {
  size_t list = behind_label(p, from), other = list == from && p->first ? 0 : list;
  struct table *t = &p->kept.table;
  return opens_table(p, line, list) || (other != list && opens_table(p, line, other)) || is_row_of(p, t, line, list) ||
         (other != list && is_row_of(p, t, line, other));
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
    return log_scan_pipe(str_slice(line, from, line.n)) > 0;
  size_t end = from + log_scan_number(str_slice(line, from, line.n), &number);
  return end == line.n || is_blank(line.p[end]) || line.p[end] == '|' || (line.p[end] == ',' && p->kept.table.by == BY_COMMAS);
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
      log_take_widths(&p->kept.candidate, p->text);
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
    pipes |= (t->type == LOG_T_MARK && t->mark == '|') || (t->type == LOG_T_BREAK && log_scan_pipe(str_slice(line, t->at, line.n)));
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
  if (numbers && words && p->has.only_names && log_numbered_header(p, line, from, pipes))
    return true;
  if (numbers && words && heads && pipes && log_drawn_header(p, line, from))
    return true;
  if (numbers || !words)
    return false;
  bool header = (heads || !p->above_is_prose) && log_find_header(p, line, behind_label(p, from), pipes);
  remember_words(p, line);
  p->above_is_prose = !heads;
  return header;
}
