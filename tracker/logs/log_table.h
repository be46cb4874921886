/* Inside of the recogniser of tables: cells, headers, rows, boxes. Nobody else includes it. */
#ifndef WINNOW_TRACKER_LOG_TABLE_H
#define WINNOW_TRACKER_LOG_TABLE_H

#include "tracker/logs/log_state.h"

enum { CELLS_MAX = COLUMNS_MAX + 4, LABEL_MAX = 48, LABEL_WORDS_MAX = 5 };

enum cell_kind { CELL_TEXT, CELL_NUMBER, CELL_OPAQUE };

struct cell {
  struct str text;
  uint32_t at, end;
  enum cell_kind kind;
  double value;
  bool percent, integer;
};

static inline struct str column_name(const struct table *table, size_t i) {
  return str_n(table->text + table->columns[i].name_at, table->columns[i].name_n);
}

static inline bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

/* log_cells.c */
/* What a drawn line between columns takes, in bytes; 0 when s.p does not start with one. */
size_t log_scan_pipe(struct str s);
/* The cells of the line from `from` on, at most CELLS_MAX: between drawn lines, the empty ones outside left out; between dividers; between
 * `gap` blanks or a TAB. 0 when there are too many, or nothing divides. */
size_t log_split_pipes(struct str line, size_t from, struct cell *cells);
size_t log_split_at(struct str line, size_t from, char divider, struct cell *cells);
size_t log_split_blanks(struct str line, size_t from, size_t gap, struct cell *cells);
/* "---  ------  ----" under the header says how wide its columns are. */
void log_take_widths(struct table *table, struct str line);

/* log_header.c */
/* Adds a column named by the cell, behind the name in the row above. False when there is no room. */
bool log_add_column(struct log_parse *p, struct table *t, const struct cell *cell, struct str above);
/* Is the line, which has no numbers, a header? It becomes the candidate. */
bool log_find_header(struct log_parse *p, struct str line, size_t from, bool pipes);
/* The same of a line of names and whole numbers, and of one with drawn lines and any numbers. */
bool log_numbered_header(struct log_parse *p, struct str line, size_t from, bool pipes);
bool log_drawn_header(struct log_parse *p, struct str line, size_t from);

#endif
