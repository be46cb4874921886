/* A table laid out for a terminal: cells are plain text, columns are as wide as their widest cell, and when the whole is wider than
 * the terminal columns give way with an ellipsis, the widest first: texts, titles above shorter cells, then the others. Numbers stand
 * whole: a part of one is another. A table with titles that is too wide nevertheless has a line for each cell. */
#ifndef WINNOW_CLI_TABLE_H
#define WINNOW_CLI_TABLE_H

#include "base/arena.h"
#include "cli/term.h"

enum { TABLE_MAX_COLUMNS = 48, TABLE_MAX_ROWS = 200000 };

/* Which columns are shortened where the terminal is narrow. Half an id says nothing. */
enum table_yield { YIELD_FIRST, YIELD_LAST, YIELD_NEVER };

struct table_column {
  const char *title;
  bool right; /* numbers */
  enum table_yield yield;
};

struct table_cell {
  struct str text;
  enum term_style style;
};

struct table {
  struct arena *arena; /* of the cells */
  struct table_column columns[TABLE_MAX_COLUMNS];
  size_t column_count;
  struct table_cell *cells;
  size_t cell_count, cell_cap;
  bool failed; /* no memory, or more rows than the ceiling */
};

void table_init(struct table *table, struct arena *arena);
void table_release(struct table *table);
void table_column(struct table *table, const char *title, bool right, enum table_yield yield);
/* Cells come row by row. The text is escaped and copied. */
void table_cell(struct table *table, struct str text, enum term_style style);
/* `columns` 0: no limit. Without `titles` the first line is the first row. False when it failed before. */
MUST_CHECK bool table_print(const struct table *table, size_t columns, bool colours, bool titles, struct buf *out, struct err *err);

#endif
