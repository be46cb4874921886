#include "cli/table.h"

#include "base/mem.h"

enum { GAP = 2, READABLE = 8, NARROWEST = 4 };

struct layout {
  size_t widths[TABLE_MAX_COLUMNS], gap;
};

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

/* Of which a part is another number. */
static bool is_number(const struct table_column *column, struct str text) {
  double ignored;
  char c = text.n ? text.p[text.p[0] == '-' && text.n > 1] : 0;
  return str_to_f64(text, &ignored) || (column->right && c >= '0' && c <= '9');
}

/* How narrow a column may be, so that its numbers stand whole. */
static void measure_numbers(const struct table *table, size_t *floors) {
  for (size_t c = 0; c < table->column_count; c++)
    floors[c] = NARROWEST;
  for (size_t i = 0; i < table->cell_count; i++) {
    size_t c = i % table->column_count;
    if (is_number(&table->columns[c], table->cells[i].text))
      floors[c] = MAX_OF(floors[c], text_width(table->cells[i].text));
  }
}

static void measure(const struct table *table, bool titles, size_t *widths) {
  for (size_t c = 0; c < table->column_count; c++)
    widths[c] = titles ? text_width(str_of(table->columns[c].title)) : 0;
  for (size_t i = 0; i < table->cell_count; i++) {
    size_t *width = &widths[i % table->column_count];
    *width = MAX_OF(*width, text_width(table->cells[i].text));
  }
}

static size_t total_width(const struct table *table, const struct layout *layout) {
  size_t total = table->column_count ? layout->gap * (table->column_count - 1) : 0;
  for (size_t c = 0; c < table->column_count; c++)
    total += layout->widths[c];
  return total;
}

/* The widest columns that may yield give way, none below its floor. */
static void narrow(const struct table *table, size_t columns, enum table_yield yield, const size_t *floors, struct layout *layout) {
  for (size_t total = total_width(table, layout); total > columns; total--) {
    size_t widest = SIZE_MAX;
    for (size_t c = 0; c < table->column_count; c++)
      if (table->columns[c].yield <= yield && layout->widths[c] > floors[c] &&
          (widest == SIZE_MAX || layout->widths[c] > layout->widths[widest]))
        widest = c;
    if (widest == SIZE_MAX)
      return;
    layout->widths[widest]--;
  }
}

/* First texts as far as they can be read, then titles above shorter cells, then texts, then the gaps, and what is left. False when it is
 * too wide even so. */
static bool fit(const struct table *table, size_t columns, struct layout *layout) {
  size_t readable[TABLE_MAX_COLUMNS] = {0}, cells[TABLE_MAX_COLUMNS], narrowest[TABLE_MAX_COLUMNS];
  const struct layout full = *layout;
  measure(table, false, cells);
  measure_numbers(table, narrowest);
  for (size_t c = 0; c < table->column_count; c++) {
    readable[c] = MAX_OF(narrowest[c], (size_t)READABLE);
    cells[c] = MAX_OF(cells[c], (size_t)NARROWEST);
  }
  for (size_t gap = GAP; gap > 0; gap--) {
    *layout = full;
    layout->gap = gap;
    narrow(table, columns, YIELD_FIRST, readable, layout);
    narrow(table, columns, YIELD_LAST, cells, layout);
    narrow(table, columns, YIELD_FIRST, narrowest, layout);
    if (total_width(table, layout) <= columns)
      return true;
  }
  narrow(table, columns, YIELD_LAST, narrowest, layout);
  return total_width(table, layout) <= columns;
}

static void pad(struct buf *out, size_t n) {
  for (size_t i = 0; i < n; i++)
    buf_putc(out, ' ');
}

static bool of_number(char c) {
  return c && strchr("0123456789.eE+-", c);
}

/* The beginning of `text` without the part of a number ("lr=1.2") that it would end with. */
static struct str before_number(struct str text, struct str beginning) {
  size_t at = beginning.n;
  while (at > 0 && of_number(text.p[at - 1]))
    at--;
  bool is_value = at > 0 && text.p[at - 1] == '=';
  return is_value && of_number(text.p[beginning.n]) ? str_slice(text, 0, at) : beginning;
}

static void print_cell(const struct table *table, const struct layout *layout, size_t column, struct table_cell cell, bool colours,
                       struct buf *out) {
  size_t width = layout->widths[column];
  bool last = column + 1 == table->column_count;
  struct str shown = cell.text;
  bool cut = text_width(shown) > width;
  if (cut)
    shown = before_number(cell.text, text_fit(shown, width ? width - 1 : 0));
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
    pad(out, layout->gap);
}

static void end_line(struct buf *out) {
  while (out->n && out->p[out->n - 1] == ' ')
    buf_cut(out, out->n - 1);
  buf_putc(out, '\n');
}

/* What a line a cell takes where the cell may not be cut. */
static size_t upright_width(const struct table *table) {
  size_t title = 0, cell = 0;
  for (size_t c = 0; c < table->column_count; c++)
    title = MAX_OF(title, text_width(str_of(table->columns[c].title)));
  for (size_t i = 0; i < table->cell_count; i++)
    if (table->columns[i % table->column_count].yield == YIELD_NEVER)
      cell = MAX_OF(cell, text_width(table->cells[i].text));
  return cell ? title + GAP + cell : 0;
}

/* A table that is too wide row by row: a line a cell, behind its title. */
static bool print_upright(const struct table *table, size_t columns, bool colours, struct buf *out, struct err *err) {
  struct table_cell cells[2 * TABLE_MAX_COLUMNS];
  struct table row = {.cells = cells};
  columns = MAX_OF(columns, upright_width(table));
  table_column(&row, "", false, YIELD_LAST);
  table_column(&row, "", false, YIELD_FIRST);
  for (size_t first = 0; first < table->cell_count; first += table->column_count) {
    row.cell_count = 0;
    for (size_t c = 0; c < table->column_count && first + c < table->cell_count; c++) {
      if (!table->cells[first + c].text.n)
        continue;
      cells[row.cell_count++] = (struct table_cell){str_of(table->columns[c].title), STYLE_HEAD};
      cells[row.cell_count++] = table->cells[first + c];
    }
    buf_puts(out, first ? "\n" : "");
    if (!table_print(&row, columns, colours, false, out, err))
      return false;
  }
  return true;
}

bool table_print(const struct table *table, size_t columns, bool colours, bool titles, struct buf *out, struct err *err) {
  if (table->failed)
    return err_set(err, ERR_TOO_LARGE, "the table is too large to be laid out") || err_hint(err, "use --limit, or -o jsonl");
  struct layout layout = {.gap = GAP};
  measure(table, titles, layout.widths);
  if (columns && !fit(table, columns, &layout) && titles)
    return print_upright(table, columns, colours, out, err);
  for (size_t c = 0; titles && c < table->column_count; c++)
    print_cell(table, &layout, c, (struct table_cell){str_of(table->columns[c].title), STYLE_HEAD}, colours, out);
  if (titles && table->column_count)
    end_line(out);
  for (size_t i = 0; i < table->cell_count; i++) {
    size_t column = i % table->column_count;
    print_cell(table, &layout, column, table->cells[i], colours, out);
    if (column + 1 == table->column_count)
      end_line(out);
  }
  return true;
}
