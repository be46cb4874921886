#include "base/conf.h"

#include "base/buf.h"
#include "base/file.h"

enum { FILE_MAX_BYTES = 1024 * 1024, NAME_MAX_BYTES = 64 };

static char fold(char c) {
  return c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

const struct conf_row *conf_find(const struct conf_row *rows, size_t count, struct str name) {
  for (size_t i = 0; i < count; i++) {
    if (strlen(rows[i].name) != name.n)
      continue;
    size_t j = 0;
    while (j < name.n && fold(name.p[j]) == rows[i].name[j])
      j++;
    if (j == name.n)
      return &rows[i];
  }
  return NULL;
}

static const char *row_name(const void *ctx, size_t i) {
  return ((const struct conf_row *)ctx)[i].name;
}

static bool bounded(const struct conf_row *row) {
  return row->min != 0 || row->max != 0;
}

static bool in_bounds(const struct conf_row *row, int64_t value) {
  return !bounded(row) || (value >= row->min && value <= row->max);
}

static void print_number(const struct conf_row *row, int64_t value, struct buf *out) {
  if (row->type == CONF_DURATION) {
    if (value % 86400000 == 0 && value)
      buf_printf(out, "%lldd", (long long)(value / 86400000));
    else if (value % 3600000 == 0 && value)
      buf_printf(out, "%lldh", (long long)(value / 3600000));
    else if (value % 60000 == 0 && value)
      buf_printf(out, "%lldm", (long long)(value / 60000));
    else if (value % 1000 == 0)
      buf_printf(out, "%llds", (long long)(value / 1000));
    else
      buf_printf(out, "%lldms", (long long)value);
  } else if (row->type == CONF_SIZE) {
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (unit + 1 < ARRAY_LEN(units) && value && value % 1024 == 0) {
      value /= 1024;
      unit++;
    }
    buf_printf(out, "%lld%s", (long long)value, units[unit]);
  } else {
    buf_add_i64(out, value);
  }
}

static bool bounds_error(const struct conf_row *row, const char *where, struct err *err) {
  AUTO_BUF struct buf bounds = BUF_INIT(200);
  print_number(row, row->min, &bounds);
  buf_puts(&bounds, " to ");
  print_number(row, row->max, &bounds);
  return err_set(err, ERR_INVALID, "%s: %s must be from %s", where, row->name, buf_text(&bounds));
}

static bool set_row(const struct conf_row *row, void *settings, struct arena *arena, const char *where, struct str value, struct err *err) {
  void *field = (char *)settings + row->offset;
  int64_t number;
  switch (row->type) {
  case CONF_BOOL:
    return str_to_bool(value, field) ||
           err_set(err, ERR_INVALID, "%s: %s must be true or false, not \"%.*s\"", where, row->name, STR_ARG(value));
  case CONF_INT:
    if (!str_to_i64(value, &number))
      return err_set(err, ERR_INVALID, "%s: %s must be a whole number, not \"%.*s\"", where, row->name, STR_ARG(value));
    if (!in_bounds(row, number))
      return bounds_error(row, where, err);
    *(int64_t *)field = number;
    return true;
  case CONF_DURATION:
    if (!str_to_duration_ms(value, &number))
      return err_set(err, ERR_INVALID, "%s: %s must be a duration such as 90s, 30m, 2h or 1d, not \"%.*s\"", where, row->name,
                     STR_ARG(value));
    if (!in_bounds(row, number))
      return bounds_error(row, where, err);
    *(int64_t *)field = number;
    return true;
  case CONF_SIZE: {
    uint64_t size;
    if (!str_to_size(value, &size) || size > INT64_MAX)
      return err_set(err, ERR_INVALID, "%s: %s must be a size such as 64KiB, 2GB or 1GiB, not \"%.*s\"", where, row->name, STR_ARG(value));
    if (!in_bounds(row, (int64_t)size))
      return bounds_error(row, where, err);
    *(uint64_t *)field = size;
    return true;
  }
  case CONF_TEXT: {
    char *copy = arena_strdup(arena, value);
    if (!copy)
      return err_no_memory(err);
    *(const char **)field = copy;
    return true;
  }
  case CONF_CHOICE: {
    size_t count = 0;
    for (; row->choices[count]; count++)
      if (str_is(value, row->choices[count])) {
        *(int *)field = (int)count;
        return true;
      }
    AUTO_BUF struct buf all = BUF_INIT(400);
    for (size_t i = 0; i < count; i++)
      buf_printf(&all, "%s%s", i ? ", " : "", row->choices[i]);
    return err_set(err, ERR_INVALID, "%s: %s must be one of %s, not \"%.*s\"", where, row->name, buf_text(&all), STR_ARG(value));
  }
  }
  return err_set(err, ERR_INTERNAL, "%s: unknown kind of setting", row->name);
}

bool conf_defaults(const struct conf_row *rows, size_t count, void *settings, struct arena *arena, struct err *err) {
  for (size_t i = 0; i < count; i++) {
    if (!rows[i].default_text) {
      *(const char **)(void *)((char *)settings + rows[i].offset) = NULL;
      continue;
    }
    if (!set_row(&rows[i], settings, arena, "default", str_of(rows[i].default_text), err))
      return false;
  }
  return true;
}

bool conf_set(const struct conf_row *rows, size_t count, void *settings, struct arena *arena, const char *where, struct str name,
              struct str value, struct err *err) {
  const struct conf_row *row = conf_find(rows, count, name);
  if (row)
    return set_row(row, settings, arena, where, value, err);
  err_set(err, ERR_INVALID, "%s: unknown setting \"%.*s\"", where, STR_ARG(str_slice(name, 0, 100)));
  const char *near = str_nearest(name, count, row_name, rows);
  if (near)
    return err_hint(err, "did you mean %s? `winnow help settings` lists all", near);
  return err_hint(err, "`winnow help settings` lists all");
}

bool conf_read_text(const struct conf_row *rows, size_t count, void *settings, struct arena *arena, const char *path, struct str text,
                    struct err *err) {
  struct str line;
  for (unsigned number = 1; str_split(&text, '\n', &line); number++) {
    line = str_trim(line);
    if (line.n == 0 || line.p[0] == '#')
      continue;
    char where[512];
    snprintf(where, sizeof where, "%s:%u", path, number);
    size_t equals = str_find(line, '=');
    if (equals == SIZE_MAX)
      return err_set(err, ERR_INVALID, "%s: a line is `name = value`, not \"%.*s\"", where, STR_ARG(str_slice(line, 0, 100)));
    struct str name = str_trim(str_slice(line, 0, equals));
    struct str value = str_trim(str_slice(line, equals + 1, line.n));
    if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"') {
      value = str_slice(value, 1, value.n - 1);
    } else {
      size_t comment = str_find_str(value, STR(" #"));
      if (comment != SIZE_MAX)
        value = str_trim(str_slice(value, 0, comment));
    }
    if (!conf_set(rows, count, settings, arena, where, name, value, err))
      return false;
  }
  return true;
}

bool conf_read_file(const struct conf_row *rows, size_t count, void *settings, struct arena *arena, const char *path, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(FILE_MAX_BYTES);
  return file_read(path, &text, err) && conf_read_text(rows, count, settings, arena, path, buf_str(&text), err);
}

bool conf_read_env(const struct conf_row *rows, size_t count, void *settings, struct arena *arena, char *const *environment,
                   struct err *err) {
  for (; *environment; environment++) {
    struct str entry = str_of(*environment);
    if (!str_starts(entry, STR("WINNOW_")))
      continue;
    size_t equals = str_find(entry, '=');
    if (equals == SIZE_MAX || equals > NAME_MAX_BYTES)
      continue;
    const struct conf_row *row = conf_find(rows, count, str_slice(entry, 7, equals));
    char where[NAME_MAX_BYTES + 1];
    snprintf(where, sizeof where, "%.*s", (int)equals, entry.p);
    if (row && !set_row(row, settings, arena, where, str_slice(entry, equals + 1, entry.n), err))
      return false;
  }
  return true;
}

bool conf_is_same(const struct conf_row *row, const void *settings, const void *others) {
  const void *a = (const char *)settings + row->offset, *b = (const char *)others + row->offset;
  switch (row->type) {
  case CONF_BOOL:
    return *(const bool *)a == *(const bool *)b;
  case CONF_CHOICE:
    return *(const int *)a == *(const int *)b;
  case CONF_INT:
  case CONF_DURATION:
  case CONF_SIZE:
    return *(const int64_t *)a == *(const int64_t *)b;
  case CONF_TEXT:
    break;
  }
  struct str one = str_of(*(const char *const *)a), other = str_of(*(const char *const *)b);
  return !one.p == !other.p && str_eq(one, other);
}

void conf_print_value(const struct conf_row *row, const void *settings, struct buf *out) {
  const void *field = (const char *)settings + row->offset;
  if (row->secret) {
    buf_puts(out, "***");
    return;
  }
  switch (row->type) {
  case CONF_BOOL:
    buf_puts(out, *(const bool *)field ? "true" : "false");
    break;
  case CONF_INT:
  case CONF_DURATION:
  case CONF_SIZE:
    print_number(row, *(const int64_t *)field, out);
    break;
  case CONF_TEXT: {
    const char *text = *(const char *const *)field;
    buf_puts(out, text ? text : "");
    break;
  }
  case CONF_CHOICE:
    buf_puts(out, row->choices[*(const int *)field]);
    break;
  }
}

void conf_print_help(const struct conf_row *rows, size_t count, struct buf *out) {
  static const char *const kinds[] = {[CONF_BOOL] = "true|false",   [CONF_INT] = "number", [CONF_SIZE] = "size",
                                      [CONF_DURATION] = "duration", [CONF_TEXT] = "text",  [CONF_CHOICE] = ""};
  for (size_t i = 0; i < count; i++) {
    const struct conf_row *row = &rows[i];
    buf_printf(out, "%s  (", row->name);
    if (row->type == CONF_CHOICE)
      for (size_t c = 0; row->choices[c]; c++)
        buf_printf(out, "%s%s", c ? "|" : "", row->choices[c]);
    else
      buf_puts(out, kinds[row->type]);
    if (bounded(row)) {
      buf_puts(out, ", ");
      print_number(row, row->min, out);
      buf_puts(out, " to ");
      print_number(row, row->max, out);
    }
    if (row->default_text && row->default_text[0])
      buf_printf(out, ", default %s", row->default_text);
    buf_printf(out, "%s)\n    %s\n", row->reload ? ", re-read on SIGHUP" : "", row->help);
  }
}
