#include "tracker/packed.h"

#include "base/json.h"

static bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t skip_blanks(struct str text, size_t at) {
  while (at < text.n && is_blank(text.p[at]))
    at++;
  return at;
}

/* Past the closing quote of the string that begins at `at`, or 0. */
static size_t string_end(struct str text, size_t at) {
  for (size_t i = at + 1; i < text.n; i++) {
    if (text.p[i] == '\\')
      i++;
    else if (text.p[i] == '"')
      return i + 1;
  }
  return 0;
}

/* Past any value, or 0. */
static size_t value_end(struct str text, size_t at) {
  size_t depth = 0;
  for (size_t i = at; i < text.n; i++) {
    char c = text.p[i];
    if (c == '"') {
      i = string_end(text, i);
      if (i == 0)
        return 0;
      i--;
    } else if (c == '{' || c == '[') {
      depth++;
    } else if (c == '}' || c == ']') {
      if (depth == 0)
        return i;
      depth--;
    } else if (c == ',' && depth == 0) {
      return i;
    }
  }
  return 0;
}

/* Where the next element begins; false at the end. */
static bool to_next(struct str text, size_t *at, char open) {
  size_t i = *at;
  if (i == 0) {
    i = skip_blanks(text, 0);
    if (i >= text.n || text.p[i] != open)
      return false;
    i = skip_blanks(text, i + 1);
    if (i >= text.n || text.p[i] == '}' || text.p[i] == ']')
      return false;
  } else {
    if (i >= text.n || text.p[i] != ',')
      return false;
    i = skip_blanks(text, i + 1);
  }
  *at = i;
  return true;
}

static struct str trimmed(struct str text, size_t from, size_t to) {
  return str_trim(str_slice(text, from, to));
}

bool packed_next(struct str object, size_t *cursor, struct str *ret_key, struct str *ret_value) {
  size_t at = *cursor;
  if (!to_next(object, &at, '{') || at >= object.n || object.p[at] != '"')
    return false;
  size_t key_end = string_end(object, at);
  size_t colon = key_end ? skip_blanks(object, key_end) : 0;
  if (!key_end || colon >= object.n || object.p[colon] != ':')
    return false;
  size_t from = skip_blanks(object, colon + 1);
  size_t to = value_end(object, from);
  if (to <= from)
    return false;
  *ret_key = str_slice(object, at, key_end);
  *ret_value = trimmed(object, from, to);
  *cursor = to;
  return true;
}

bool packed_item(struct str array, size_t *cursor, struct str *ret_item) {
  size_t at = *cursor;
  if (!to_next(array, &at, '['))
    return false;
  size_t to = value_end(array, at);
  if (to <= at)
    return false;
  *ret_item = trimmed(array, at, to);
  *cursor = to;
  return true;
}

/* A number as JSON has it. */
static struct str json_number(struct str text) {
  static const struct str others[][2] = {
      {{"NaN", 3}, {"\"NaN\"", 5}}, {{"Infinity", 8}, {"\"Infinity\"", 10}}, {{"-Infinity", 9}, {"\"-Infinity\"", 11}}};
  for (size_t i = 0; i < ARRAY_LEN(others); i++)
    if (str_eq(text, others[i][0]))
      return others[i][1];
  return text;
}

static size_t text_items(struct str quoted, struct str ret_items[METRIC_ITEMS]) {
  struct str rest = str_slice(quoted, 1, quoted.n - 1), item;
  size_t n = 0;
  while (n < METRIC_ITEMS && str_split(&rest, ' ', &item))
    ret_items[n++] = json_number(item);
  return n;
}

static size_t array_items(struct str array, struct str ret_items[METRIC_ITEMS]) {
  size_t cursor = 0, n = 0;
  while (n < METRIC_ITEMS && packed_item(array, &cursor, &ret_items[n]))
    n++;
  return n;
}

bool packed_metric(struct str packed, struct str ret_items[METRIC_ITEMS]) {
  bool is_text = packed.n >= 2 && packed.p[0] == '"';
  size_t n = is_text ? text_items(packed, ret_items) : array_items(packed, ret_items);
  if (n <= METRIC_TIME)
    return false;
  if (n < METRIC_ITEMS) {
    ret_items[METRIC_MIN] = ret_items[METRIC_MAX] = ret_items[METRIC_LAST];
    ret_items[METRIC_COUNT] = STR("1");
  }
  return true;
}

bool packed_number(struct str packed, enum packed_metric item, double *ret) {
  struct str items[METRIC_ITEMS];
  AUTO_BUF struct buf text = BUF_INIT(KIB);
  if (!packed_metric(packed, items))
    return false;
  packed_unquote(items[item], &text);
  return str_to_f64(buf_str(&text), ret);
}

struct str packed_get(struct str object, const char *key) {
  struct str name, value;
  size_t n = strlen(key);
  for (size_t cursor = 0; packed_next(object, &cursor, &name, &value);)
    if (name.n == n + 2 && memcmp(name.p + 1, key, n) == 0)
      return value;
  return STR_NONE;
}

static void put_char(struct buf *out, uint32_t c) {
  if (c < 0x80) {
    buf_putc(out, (char)c);
  } else if (c < 0x800) {
    buf_putc(out, (char)(0xC0 | c >> 6));
    buf_putc(out, (char)(0x80 | (c & 0x3F)));
  } else {
    buf_putc(out, (char)(0xE0 | c >> 12));
    buf_putc(out, (char)(0x80 | (c >> 6 & 0x3F)));
    buf_putc(out, (char)(0x80 | (c & 0x3F)));
  }
}

void packed_unquote(struct str quoted, struct buf *out) {
  struct str text = quoted.n >= 2 && quoted.p[0] == '"' ? str_slice(quoted, 1, quoted.n - 1) : quoted;
  for (size_t i = 0; i < text.n; i++) {
    if (text.p[i] != '\\' || i + 1 >= text.n) {
      buf_putc(out, text.p[i]);
      continue;
    }
    static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    char c = text.p[++i];
    const char *at = c ? strchr(plain, c) : NULL;
    if (at) {
      buf_putc(out, meant[at - plain]);
    } else if (c == 'u' && i + 4 < text.n) { /* Postgres escapes control characters only, so no surrogates */
      uint32_t point = 0;
      for (int k = 1; k <= 4; k++)
        point = point << 4 | (uint32_t)MAX_OF(hex_digit(text.p[i + (size_t)k]), 0);
      put_char(out, point);
      i += 4;
    }
  }
}

bool packed_is_empty(struct str object) {
  struct str key, value;
  size_t cursor = 0;
  return !packed_next(object, &cursor, &key, &value);
}

void packed_begin(struct packed_writer *w, struct buf *out) {
  *w = (struct packed_writer){.out = out};
  buf_putc(out, '{');
}

void packed_put(struct packed_writer *w, struct str key, struct str value) {
  if (w->any)
    buf_putc(w->out, ',');
  w->any = true;
  json_quote(w->out, key);
  buf_putc(w->out, ':');
  json_quote(w->out, value);
}

void packed_end(struct packed_writer *w) {
  buf_putc(w->out, '}');
}
