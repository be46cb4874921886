#include "cli/table.h"

#include "base/mem.h"

enum { GAP = 2, NARROWEST = 4 };

void table_init(struct table *table, struct arena *arena) {
  *table = (struct table){.arena = arena};
}

void table_release(struct table *table) {
  mem_free(table->cells);
  table->cells = NULL;
}

void table_column(struct table *table, const char *title, bool right, enum table_yield yield) {
  if (table->column_count == TABLE_MAX_COLUMNS) {
    table->failed = true;
    return;
  }
  table->columns[table->column_count++] = (struct table_column){title, right, yield};
}

static bool room_for_cell(struct table *table) {
  if (table->cell_count < table->cell_cap)
    return true;
  size_t cap = table->cell_cap ? table->cell_cap * 2 : 256;
  struct table_cell *cells = NULL;
  if (table->column_count && table->cell_count / table->column_count < TABLE_MAX_ROWS)
    cells = mem_resize(table->cells, cap, sizeof *cells);
  if (!cells) {
    table->failed = true;
    return false;
  }
  table->cells = cells;
  table->cell_cap = cap;
  return true;
}

void table_cell(struct table *table, struct str text, enum term_style style) {
  AUTO_BUF struct buf clean = BUF_INIT(64 * KIB);
  text_escape(&clean, str_slice(text, 0, 8 * KIB));
  if (table->failed || !room_for_cell(table))
    return;
  char *copy = arena_strdup(table->arena, buf_str(&clean));
  if (!copy || clean.fail) {
    table->failed = true;
    return;
  }
  table->cells[table->cell_count++] = (struct table_cell){str_n(copy, clean.n), style};
}

static void measure(const struct table *table, bool titles, size_t *widths) {
  for (size_t c = 0; c < table->column_count; c++)
    widths[c] = titles ? text_width(str_of(table->columns[c].title)) : 0;
  for (size_t i = 0; i < table->cell_count; i++) {
    size_t *width = &widths[i % table->column_count];
    *width = MAX_OF(*width, text_width(table->cells[i].text));
  }
}

/* The widest columns give way first, none below the narrowest. */
static void fit(const struct table *table, size_t columns, size_t *widths) {
  size_t total = 0;
  for (size_t c = 0; c < table->column_count; c++)
    total += widths[c] + (c ? GAP : 0);
  for (enum table_yield yield = YIELD_FIRST; yield < YIELD_NEVER; yield++) {
    while (total > columns) {
      size_t widest = SIZE_MAX;
      for (size_t c = 0; c < table->column_count; c++)
        if (table->columns[c].yield <= yield && widths[c] > NARROWEST && (widest == SIZE_MAX || widths[c] > widths[widest]))
          widest = c;
      if (widest == SIZE_MAX)
        break;
      widths[widest]--;
      total--;
    }
  }
}

static void pad(struct buf *out, size_t n) {
  for (size_t i = 0; i < n; i++)
    buf_putc(out, ' ');
}

static void print_cell(const struct table *table, size_t column, struct table_cell cell, size_t width, bool colours, struct buf *out) {
  bool last = column + 1 == table->column_count;
  struct str shown = cell.text;
  bool cut = text_width(shown) > width;
  if (cut)
    shown = text_fit(shown, width ? width - 1 : 0);
  size_t blank = width - MIN_OF(width, text_width(shown) + cut);
  if (table->columns[column].right)
    pad(out, blank);
  if (!shown.n)
    cell.style = STYLE_NONE;
  if (colours)
    style_begin(out, cell.style);
  buf_add_str(out, shown);
  if (cut)
    buf_puts(out, "…");
  if (colours)
    style_end(out, cell.style);
  if (!table->columns[column].right && !last)
    pad(out, blank);
  if (!last)
    pad(out, GAP);
}

static void end_line(struct buf *out) {
  while (out->n && out->p[out->n - 1] == ' ')
    buf_cut(out, out->n - 1);
  buf_putc(out, '\n');
}

bool table_print(const struct table *table, size_t columns, bool colours, bool titles, struct buf *out, struct err *err) {
  if (table->failed)
    return err_set(err, ERR_TOO_LARGE, "the table is too large to be laid out") || err_hint(err, "use --limit, or -o jsonl");
  size_t widths[TABLE_MAX_COLUMNS] = {0};
  measure(table, titles, widths);
  if (columns)
    fit(table, columns, widths);
  for (size_t c = 0; titles && c < table->column_count; c++)
    print_cell(table, c, (struct table_cell){str_of(table->columns[c].title), STYLE_HEAD}, widths[c], colours, out);
  if (titles && table->column_count)
    end_line(out);
  for (size_t i = 0; i < table->cell_count; i++) {
    size_t column = i % table->column_count;
    print_cell(table, column, table->cells[i], widths[column], colours, out);
    if (column + 1 == table->column_count)
      end_line(out);
  }
  return true;
}
