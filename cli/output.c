#include "cli/output.h"

#include <ctype.h>
#include <signal.h>

#include "base/file.h"
#include "base/mem.h"

enum { RENDER_MAX = 256 * 1024 * 1024, SHORT_ID = 12 };

const char *const output_formats[] = {"table", "wide", "json", "jsonl", "csv", "yaml", "name", NULL};

bool output_for_people(const struct output *output) {
  return output->format == OUTPUT_TABLE || output->format == OUTPUT_WIDE;
}

/* ---- values ---- */

/* The longest key that is there leads: keys have dots too. */
static const json_t *value_at(const json_t *object, struct str path) {
  const json_t *found = json_object_getn(object, path.p, path.n);
  if (!json_is_object(object))
    return NULL;
  for (size_t dot = path.n; !found && dot-- > 0;)
    if (path.p[dot] == '.')
      found = value_at(json_object_getn(object, path.p, dot), str_slice(path, dot + 1, path.n));
  return found;
}

const json_t *json_at_path(const json_t *object, const char *path) {
  const json_t *found = value_at(object, str_of(path));
  return json_is_null(found) ? NULL : found;
}

static bool number_of(const json_t *value, double *ret) {
  if (json_is_number(value)) {
    *ret = json_number_value(value);
    return true;
  }
  return json_is_string(value) && str_to_f64(json_str(value), ret);
}

static void scalar_text(const json_t *value, struct buf *out) {
  if (json_is_string(value))
    buf_add_str(out, json_str(value));
  else if (json_is_real(value))
    encode_number(out, json_real_value(value));
  else if (value && !json_is_null(value))
    encode_json(out, value, 0);
}

static void object_text(const json_t *value, struct buf *out) {
  const char *key, *between = "";
  json_t *item;
  json_object_foreach((json_t *)(uintptr_t)value, key, item) {
    buf_printf(out, "%s%s=", between, key);
    scalar_text(item, out);
    between = " ";
  }
}

static void list_text(const json_t *value, const char *between, struct buf *out) {
  if (json_is_object(value))
    object_text(value, out);
  for (size_t i = 0; i < json_array_size(value); i++) {
    const json_t *item = json_array_get(value, i);
    buf_puts(out, i ? between : "");
    if (json_is_object(item))
      object_text(item, out);
    else
      scalar_text(item, out);
  }
}

/* As a shell would read it. */
static void word_text(struct str word, struct buf *out) {
  bool plain = word.n > 0;
  for (size_t i = 0; i < word.n; i++)
    plain = plain && (isalnum((unsigned char)word.p[i]) || (word.p[i] && strchr("_@%+=:,./-", word.p[i])));
  if (plain) {
    buf_add_str(out, word);
    return;
  }
  buf_putc(out, '\'');
  for (size_t i = 0; i < word.n; i++)
    if (word.p[i] == '\'')
      buf_puts(out, "'\\''");
    else
      buf_putc(out, word.p[i]);
  buf_putc(out, '\'');
}

static void command_text(const json_t *value, struct buf *out) {
  for (size_t i = 0; i < json_array_size(value); i++) {
    buf_puts(out, i ? " " : "");
    word_text(json_str(json_array_get(value, i)), out);
  }
}

static void span_text(const struct column *column, const json_t *item, int64_t now_ms, struct buf *out) {
  const json_t *from = json_at_path(item, column->path), *until = json_at_path(item, column->until);
  int64_t end = json_is_integer(until) ? json_integer_value(until) : now_ms, span;
  if (json_is_integer(from) && !__builtin_sub_overflow(end, json_integer_value(from), &span))
    encode_duration(out, MAX_OF(span, 0));
}

void column_text(const struct column *column, const json_t *item, int64_t now_ms, struct buf *out) {
  const json_t *value = json_at_path(item, column->path);
  double number;
  if (!value)
    return;
  switch (column->kind) {
  case COLUMN_NUMBER:
    if (number_of(value, &number))
      encode_number(out, number);
    else
      scalar_text(value, out);
    return;
  case COLUMN_AGE:
    if (json_is_integer(value))
      encode_age(out, json_integer_value(value), now_ms);
    return;
  case COLUMN_SPAN:
    span_text(column, item, now_ms, out);
    return;
  case COLUMN_DURATION:
    if (number_of(value, &number) && number > -9e15 && number < 9e15)
      encode_duration(out, (int64_t)(number * 1000));
    return;
  case COLUMN_SIZE:
    if (number_of(value, &number))
      encode_size(out, number);
    return;
  case COLUMN_YES:
    buf_puts(out, json_is_true(value) ? "yes" : "");
    return;
  case COLUMN_LIST:
  case COLUMN_ITEMS:
    list_text(value, ", ", out);
    return;
  case COLUMN_COMMAND:
    command_text(value, out);
    return;
  case COLUMN_TEXT:
  case COLUMN_ID:
  case COLUMN_STATE:
  case COLUMN_COUNT:
    break;
  }
  scalar_text(value, out);
}

/* ---- for people ---- */

static bool is_right(enum column_kind kind) {
  return kind == COLUMN_COUNT || kind == COLUMN_NUMBER || kind == COLUMN_SIZE;
}

static enum table_yield yield_of(enum column_kind kind) {
  bool is_text = kind == COLUMN_TEXT || kind == COLUMN_LIST || kind == COLUMN_ITEMS || kind == COLUMN_COMMAND;
  return is_text ? YIELD_FIRST : kind == COLUMN_ID ? YIELD_NEVER : YIELD_LAST;
}

static bool is_shown(const struct output *output, const struct column *column) {
  return !column->wide || output->format != OUTPUT_TABLE;
}

static int by_text(const void *a, const void *b) {
  return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* How many characters tell the ids of the list apart: at least SHORT_ID. */
static size_t id_length(const json_t *items, const char *path) {
  size_t count = json_array_size(items), length = SHORT_ID;
  AUTO_FREE struct str *ids = mem_array(count, sizeof *ids);
  if (!ids)
    return SIZE_MAX;
  for (size_t i = 0; i < count; i++)
    ids[i] = json_str(json_at_path(json_array_get(items, i), path));
  qsort(ids, count, sizeof *ids, by_text);
  for (size_t i = 0; i + 1 < count; i++) {
    size_t same = 0;
    while (same < ids[i].n && same < ids[i + 1].n && ids[i].p[same] == ids[i + 1].p[same])
      same++;
    if (same < ids[i + 1].n && same + 1 > length) /* equal ids are the same thing twice */
      length = same + 1;
  }
  return length;
}

static enum term_style style_of(const struct column *column, const json_t *item) {
  if (column->kind == COLUMN_STATE)
    return style_of_state(json_str(json_at_path(item, column->path)));
  return column->kind == COLUMN_AGE || column->kind == COLUMN_ID ? STYLE_DIM : STYLE_NONE;
}

static bool list_for_people(struct output *output, const struct view *view, const json_t *items, struct buf *out, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(RENDER_MAX);
  struct table table CLEANUP(table_release);
  table_init(&table, &arena);
  size_t lengths[TABLE_MAX_COLUMNS] = {0};
  for (size_t c = 0; c < view->column_count && c < TABLE_MAX_COLUMNS; c++) {
    const struct column *column = &view->columns[c];
    if (column->kind == COLUMN_ID && output->format == OUTPUT_TABLE)
      lengths[c] = id_length(items, column->path);
    if (is_shown(output, column))
      table_column(&table, column->title, is_right(column->kind), yield_of(column->kind));
  }
  int64_t now = clock_wall_ms(output->clock);
  AUTO_BUF struct buf cell = BUF_INIT(MIB);
  for (size_t i = 0; i < json_array_size(items); i++) {
    const json_t *item = json_array_get(items, i);
    for (size_t c = 0; c < view->column_count && c < TABLE_MAX_COLUMNS; c++) {
      const struct column *column = &view->columns[c];
      if (!is_shown(output, column))
        continue;
      buf_reset(&cell);
      column_text(column, item, now, &cell);
      if (lengths[c] && cell.n > lengths[c])
        buf_cut(&cell, lengths[c]);
      table_cell(&table, buf_str(&cell), style_of(column, item));
    }
  }
  return table_print(&table, output->format == OUTPUT_WIDE ? 0 : output->columns, output->colours, true, out, err);
}

/* As many words as fit, or what fits of one that is longer. */
static struct str take_line(struct str *rest, size_t width) {
  struct str line = text_fit(*rest, width);
  size_t end = line.n;
  while (end && line.n < rest->n && rest->p[end] != ' ')
    end--;
  line.n = end ? end : line.n ? line.n : rest->n;
  *rest = str_trim(str_slice(*rest, line.n, rest->n));
  return line;
}

/* An item begins a line, and is broken between words. */
static void add_items(struct table *table, const struct column *column, const json_t *object, size_t width) {
  const json_t *items = json_at_path(object, column->path);
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  const char *title = column->title;
  for (size_t i = 0; i < json_array_size(items); i++) {
    buf_reset(&text);
    scalar_text(json_array_get(items, i), &text);
    for (struct str rest = buf_str(&text); rest.n; title = "") {
      table_cell(table, str_of(title), STYLE_DIM);
      table_cell(table, take_line(&rest, width), STYLE_NONE);
    }
  }
}

/* What the titles leave of a line; at least half of it. */
static size_t width_beside_titles(const struct output *output, const struct view *view) {
  size_t title = 0, columns = output->columns;
  if (output->format == OUTPUT_WIDE || !columns)
    return SIZE_MAX;
  for (size_t c = 0; c < view->column_count; c++)
    title = MAX_OF(title, text_width(str_of(view->columns[c].title)));
  return columns > 2 * (title + 2) ? columns - title - 2 : MAX_OF(columns / 2, (size_t)1);
}

static bool object_for_people(struct output *output, const struct view *view, const json_t *object, struct buf *out, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(RENDER_MAX);
  struct table table CLEANUP(table_release);
  table_init(&table, &arena);
  table_column(&table, "", false, YIELD_LAST);
  table_column(&table, "", false, YIELD_FIRST);
  int64_t now = clock_wall_ms(output->clock);
  size_t title = 0, id = 0;
  AUTO_BUF struct buf cell = BUF_INIT(MIB);
  for (size_t c = 0; c < view->column_count; c++) {
    const struct column *column = &view->columns[c];
    buf_reset(&cell);
    column_text(column, object, now, &cell);
    if (!cell.n)
      continue;
    title = MAX_OF(title, text_width(str_of(column->title)));
    if (column->kind == COLUMN_ID)
      id = MAX_OF(id, cell.n);
    if (column->kind == COLUMN_ITEMS) {
      add_items(&table, column, object, width_beside_titles(output, view));
      continue;
    }
    table_cell(&table, str_of(column->title), STYLE_DIM);
    table_cell(&table, buf_str(&cell), column->kind == COLUMN_STATE ? style_of(column, object) : STYLE_NONE);
  }
  size_t whole = id ? title + 2 + id : 0; /* of which half says nothing */
  size_t columns = output->format == OUTPUT_WIDE || !output->columns ? 0 : MAX_OF(output->columns, whole);
  return table_print(&table, columns, output->colours, false, out, err);
}

/* ---- for programs ---- */

/* A span is both its ends. */
static void csv_cell(const char *path, const json_t *item, struct buf *out) {
  if (item)
    encode_csv_value(out, json_at_path(item, path));
  else
    encode_csv_text(out, str_of(path));
}

static void csv_row(const struct view *view, const json_t *item, struct buf *out) {
  for (size_t c = 0; c < view->column_count; c++) {
    const struct column *column = &view->columns[c];
    if (c)
      buf_putc(out, ',');
    csv_cell(column->path, item, out);
    if (column->kind == COLUMN_SPAN) {
      buf_putc(out, ',');
      csv_cell(column->until, item, out);
    }
  }
  buf_puts(out, "\n");
}

static void csv_title(struct output *output, const struct view *view, struct buf *out) {
  if (!output->csv_titled)
    csv_row(view, NULL, out);
  output->csv_titled = true;
}

static void name_line(const struct view *view, const json_t *item, struct buf *out) {
  AUTO_BUF struct buf name = BUF_INIT(MIB);
  if (view->of) {
    scalar_text(json_at_path(item, view->of), &name);
    buf_putc(&name, '/');
  }
  scalar_text(json_at_path(item, view->id), &name);
  text_escape(out, buf_str(&name));
  buf_putc(out, '\n');
}

static void each_for_programs(struct output *output, const struct view *view, const json_t *items, struct buf *out) {
  if (output->format == OUTPUT_CSV)
    csv_title(output, view, out);
  for (size_t i = 0; i < json_array_size(items); i++) {
    const json_t *item = json_array_get(items, i);
    if (output->format == OUTPUT_CSV) {
      csv_row(view, item, out);
    } else if (output->format == OUTPUT_NAME) {
      name_line(view, item, out);
    } else {
      encode_json(out, item, 0);
      buf_putc(out, '\n');
    }
  }
}

static void whole_for_programs(struct output *output, const json_t *value, struct buf *out) {
  if (output->format == OUTPUT_YAML) {
    encode_yaml(out, value);
  } else {
    encode_json(out, value, output->format == OUTPUT_JSONL ? 0 : 2);
    buf_putc(out, '\n');
  }
}

bool output_render_list(struct output *output, const struct view *view, const json_t *items, const json_t *next, struct buf *out,
                        struct err *err) {
  if (output_for_people(output))
    return json_array_size(items) ? list_for_people(output, view, items, out, err) : true;
  if (output->format != OUTPUT_JSON && output->format != OUTPUT_YAML) {
    each_for_programs(output, view, items, out);
    return buf_ok(out, err);
  }
  AUTO_JSON json_t *envelope = json_pack("{sOsO?}", "items", items, "next", next ? next : NULL);
  if (envelope && !next)
    json_object_set_new(envelope, "next", json_null());
  if (!envelope)
    return err_no_memory(err);
  whole_for_programs(output, envelope, out);
  return buf_ok(out, err);
}

bool output_render_object(struct output *output, const struct view *view, const json_t *object, struct buf *out, struct err *err) {
  if (output_for_people(output))
    return object_for_people(output, view, object, out, err);
  if (output->format == OUTPUT_CSV) {
    csv_title(output, view, out);
    csv_row(view, object, out);
  } else if (output->format == OUTPUT_NAME) {
    name_line(view, object, out);
  } else {
    whole_for_programs(output, object, out);
  }
  return buf_ok(out, err);
}

/* ---- writing ---- */

NORETURN static void end_by_sigpipe(void) {
  signal(SIGPIPE, SIG_DFL);
  raise(SIGPIPE);
  _exit(141);
}

static bool write_all(struct str bytes, struct err *err) {
  while (bytes.n) {
    ssize_t n = write(STDOUT_FILENO, bytes.p, bytes.n);
    if (n < 0 && errno == EPIPE)
      end_by_sigpipe();
    if (n < 0 && errno != EINTR)
      return err_errno(err, errno, "cannot write the output");
    if (n > 0)
      bytes = str_slice(bytes, (size_t)n, bytes.n);
  }
  return true;
}

bool output_bytes(struct output *output, struct str bytes, struct err *err) {
  struct str before = str_of(output->before);
  output->before = NULL;
  return write_all(before, err) && write_all(bytes, err);
}

bool output_filtered(struct output *output, struct log_filter *filter, struct str bytes, struct err *err) {
  if (!output->is_tty)
    return output_bytes(output, bytes, err);
  AUTO_BUF struct buf shown = BUF_INIT(4 * (size_t)RENDER_MAX);
  log_filter_feed(filter, bytes, &shown);
  return buf_ok(&shown, err) && output_bytes(output, buf_str(&shown), err);
}

static bool write_rendered(struct output *output, const struct buf *text, struct err *err) {
  struct log_filter filter = {0};
  if (!buf_ok(text, err))
    return false;
  return output->format == OUTPUT_CSV ? output_filtered(output, &filter, buf_str(text), err) : output_bytes(output, buf_str(text), err);
}

bool output_list(struct output *output, const struct view *view, const json_t *items, const json_t *next, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(RENDER_MAX);
  if (!output_render_list(output, view, items, next, &text, err))
    return false;
  if (!write_rendered(output, &text, err))
    return false;
  if (output_for_people(output) && json_array_size(items) == 0)
    output_say(output, "%s", view->none);
  bool says_next = output->format == OUTPUT_JSON || output->format == OUTPUT_YAML;
  if (json_is_string(next) && !says_next)
    output_say(output, "there are more: --limit 0 shows all");
  return true;
}

bool output_object(struct output *output, const struct view *view, const json_t *object, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(RENDER_MAX);
  return output_render_object(output, view, object, &text, err) && write_rendered(output, &text, err);
}

bool output_table(struct output *output, const struct table *table, bool titles, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(RENDER_MAX);
  size_t columns = output->format == OUTPUT_WIDE ? 0 : output->columns;
  return table_print(table, columns, output->colours, titles, &text, err) && write_rendered(output, &text, err);
}

/* `path  value` for every scalar below `value`. */
static void flatten(struct table *table, struct buf *path, const json_t *value) {
  size_t length = path->n;
  const char *key;
  json_t *item;
  if (json_is_object(value)) {
    json_object_foreach((json_t *)(uintptr_t)value, key, item) {
      buf_printf(path, "%s%s", length ? "." : "", key);
      flatten(table, path, item);
      buf_cut(path, length);
    }
  } else if (json_is_array(value) && !json_array_size(value)) {
    return;
  } else if (json_is_array(value)) {
    for (size_t i = 0; i < json_array_size(value); i++) {
      buf_printf(path, "%s%zu", length ? "." : "", i);
      flatten(table, path, json_array_get(value, i));
      buf_cut(path, length);
    }
  } else if (!json_is_null(value)) {
    AUTO_BUF struct buf text = BUF_INIT(MIB);
    scalar_text(value, &text);
    table_cell(table, buf_str(path), STYLE_DIM);
    table_cell(table, buf_str(&text), style_of_state(buf_str(&text)));
  }
}

bool output_any(struct output *output, const json_t *value, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(RENDER_MAX);
  if (!output_for_people(output)) {
    whole_for_programs(output, value, &text);
    return write_rendered(output, &text, err);
  }
  AUTO_ARENA struct arena arena = ARENA_INIT(RENDER_MAX);
  struct table table CLEANUP(table_release);
  table_init(&table, &arena);
  table_column(&table, "", false, YIELD_LAST);
  table_column(&table, "", false, YIELD_FIRST);
  AUTO_BUF struct buf path = BUF_INIT(64 * KIB);
  flatten(&table, &path, value);
  return output_table(output, &table, false, err);
}

/* ---- chatter ---- */

static void say_line(const struct output *output, const char *label, enum term_style style, const char *text) {
  AUTO_BUF struct buf line = BUF_INIT(64 * KIB);
  if (label) {
    if (output->error_colours)
      style_begin(&line, style);
    buf_puts(&line, label);
    if (output->error_colours)
      style_end(&line, style);
    buf_puts(&line, ": ");
  }
  text_escape(&line, str_of(text));
  buf_putc(&line, '\n');
  struct err ignored; /* there is nowhere left to say that standard error is closed */
  if (!fd_write_all(STDERR_FILENO, buf_text(&line), line.n, &ignored))
    return;
}

void output_say(const struct output *output, const char *format, ...) {
  if (output->quiet)
    return;
  AUTO_BUF struct buf text = BUF_INIT(16 * KIB);
  va_list args;
  va_start(args, format);
  buf_vprintf(&text, format, args);
  va_end(args);
  say_line(output, NULL, STYLE_NONE, buf_text(&text));
}

void output_error(const struct output *output, const struct err *err, const json_t *more, const char *request_id) {
  const char *pending = err->hint; /* the same help for several errors is said once, after the last of them */
  say_line(output, "error", STYLE_BAD, err->text);
  for (size_t i = 0; i < json_array_size(more); i++) {
    const char *hint = json_string_value(json_object_get(json_array_get(more, i), "hint"));
    if (pending[0] && (!hint || strcmp(hint, pending) != 0))
      say_line(output, "help", STYLE_BUSY, pending);
    pending = hint ? hint : "";
    say_line(output, "error", STYLE_BAD, json_string_value(json_object_get(json_array_get(more, i), "text")));
  }
  if (pending[0])
    say_line(output, "help", STYLE_BUSY, pending);
  if (request_id && request_id[0])
    say_line(output, "request", STYLE_DIM, request_id);
}
