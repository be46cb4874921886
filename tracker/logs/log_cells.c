/* Lines cut into cells, and what each cell is. */
#include "tracker/logs/log_table.h"

size_t log_scan_pipe(struct str s) {
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

static void set_cell(struct str line, size_t from, size_t to, struct cell *ret) {
  while (from < to && is_blank(line.p[from]))
    from++;
  while (to > from && is_blank(line.p[to - 1]))
    to--;
  *ret = (struct cell){.text = str_n(line.p + from, to - from), .at = (uint32_t)from, .end = (uint32_t)to};
  weigh(ret);
}

/* Cells between drawn lines; the empty ones outside are left out. 0 when there is no drawn line, or too many. */
size_t log_split_pipes(struct str line, size_t from, struct cell *cells) {
  size_t n = 0, start = from;
  bool any = false;
  for (size_t i = from; i <= line.n;) {
    size_t pipe = i == line.n || line.p[i] == '|' ? 1 : (unsigned char)line.p[i] == 0xe2 ? log_scan_pipe(str_slice(line, i, line.n)) : 0;
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

size_t log_split_at(struct str line, size_t from, char divider, struct cell *cells) {
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

/* A drawn line that stands alone, between columns of a table that blanks divide. */
static bool is_lone_pipe(struct str line, size_t i) {
  return line.p[i] == '|' && (!i || line.p[i - 1] == ' ') && (i + 1 == line.n || line.p[i + 1] == ' ');
}

/* `gap` blanks or a TAB divide. */
size_t log_split_blanks(struct str line, size_t from, size_t gap, struct cell *cells) {
  size_t n = 0, i = from;
  while (i < line.n) {
    while (i < line.n && (line.p[i] == ' ' || line.p[i] == '\t' || is_lone_pipe(line, i)))
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
void log_take_widths(struct table *table, struct str line) {
  struct cell groups[CELLS_MAX];
  size_t n = log_split_blanks(line, 0, 1, groups);
  if (table->by != BY_BLANKS || n != table->count)
    return;
  for (size_t i = 0; i < n; i++) {
    table->columns[i].at = groups[i].at;
    table->columns[i].end = groups[i].end;
  }
}
