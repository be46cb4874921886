#include "base/json.h"

#include <math.h>

#include "base/json_pull.h"

/* ---- writing ---- */

void jw_init(struct json_writer *w, struct buf *out) {
  *w = (struct json_writer){.out = out};
}

static void before_value(struct json_writer *w) {
  if (w->after_key) {
    w->after_key = false;
    return;
  }
  if (w->has_item[w->depth])
    buf_putc(w->out, ',');
  w->has_item[w->depth] = true;
}

static void open_level(struct json_writer *w, char bracket) {
  before_value(w);
  buf_putc(w->out, bracket);
  if (w->depth + 1 >= JSON_WRITER_DEPTH) {
    w->out->fail = ERR_INTERNAL;
    return;
  }
  w->has_item[++w->depth] = false;
}

static void close_level(struct json_writer *w, char bracket) {
  if (w->depth > 0)
    w->depth--;
  buf_putc(w->out, bracket);
}

void jw_object(struct json_writer *w) {
  open_level(w, '{');
}

void jw_object_end(struct json_writer *w) {
  close_level(w, '}');
}

void jw_array(struct json_writer *w) {
  open_level(w, '[');
}

void jw_array_end(struct json_writer *w) {
  close_level(w, ']');
}

void jw_key_str(struct json_writer *w, struct str key) {
  before_value(w);
  json_quote(w->out, key);
  buf_putc(w->out, ':');
  w->after_key = true;
}

void jw_str(struct json_writer *w, struct str value) {
  if (!value.p) {
    jw_null(w);
    return;
  }
  before_value(w);
  json_quote(w->out, value);
}

void jw_text(struct json_writer *w, const char *value) {
  jw_str(w, str_of(value));
}

void jw_i64(struct json_writer *w, int64_t value) {
  before_value(w);
  buf_add_i64(w->out, value);
}

void jw_f64(struct json_writer *w, double value) {
  bool quoted = !isfinite(value);
  before_value(w);
  if (quoted)
    buf_putc(w->out, '"');
  buf_add_f64(w->out, value);
  if (quoted)
    buf_putc(w->out, '"');
}

void jw_bool(struct json_writer *w, bool value) {
  before_value(w);
  buf_puts(w->out, value ? "true" : "false");
}

void jw_null(struct json_writer *w) {
  before_value(w);
  buf_puts(w->out, "null");
}

void jw_raw(struct json_writer *w, struct str json) {
  before_value(w);
  buf_add_str(w->out, json);
}

void jw_json(struct json_writer *w, const json_t *value) {
  switch (value ? json_typeof(value) : JSON_NULL) {
  case JSON_OBJECT: {
    jw_object(w);
    const char *key;
    json_t *item;
    /* jansson's iterators want a mutable object, but change nothing */
    json_t *object = (json_t *)(uintptr_t)value;
    json_object_foreach(object, key, item) {
      jw_key(w, key);
      jw_json(w, item);
    }
    jw_object_end(w);
    break;
  }
  case JSON_ARRAY: {
    jw_array(w);
    size_t i;
    json_t *item;
    json_array_foreach(value, i, item) jw_json(w, item);
    jw_array_end(w);
    break;
  }
  case JSON_STRING:
    jw_str(w, json_str(value));
    break;
  case JSON_INTEGER:
    jw_i64(w, json_integer_value(value));
    break;
  case JSON_REAL:
    jw_f64(w, json_real_value(value));
    break;
  case JSON_TRUE:
  case JSON_FALSE:
    jw_bool(w, json_is_true(value));
    break;
  case JSON_NULL:
    jw_null(w);
    break;
  }
}

void jw_put_str(struct json_writer *w, const char *key, struct str value) {
  jw_key(w, key);
  jw_str(w, value);
}

void jw_put_text(struct json_writer *w, const char *key, const char *value) {
  jw_key(w, key);
  jw_text(w, value);
}

void jw_put_i64(struct json_writer *w, const char *key, int64_t value) {
  jw_key(w, key);
  jw_i64(w, value);
}

void jw_put_f64(struct json_writer *w, const char *key, double value) {
  jw_key(w, key);
  jw_f64(w, value);
}

void jw_put_bool(struct json_writer *w, const char *key, bool value) {
  jw_key(w, key);
  jw_bool(w, value);
}

void jw_put_null(struct json_writer *w, const char *key) {
  jw_key(w, key);
  jw_null(w);
}

void jw_put_i64_if(struct json_writer *w, const char *key, bool has, int64_t value) {
  jw_key(w, key);
  has ? jw_i64(w, value) : jw_null(w);
}

void jw_put_f64_if(struct json_writer *w, const char *key, bool has, double value) {
  jw_key(w, key);
  has ? jw_f64(w, value) : jw_null(w);
}

static bool needs_escape(unsigned char c) {
  return c < 0x20 || c == '"' || c == '\\' || c == 0x7f;
}

static void escape(struct buf *out, unsigned char c) {
  switch (c) {
  case '"':
    buf_puts(out, "\\\"");
    break;
  case '\\':
    buf_puts(out, "\\\\");
    break;
  case '\n':
    buf_puts(out, "\\n");
    break;
  case '\r':
    buf_puts(out, "\\r");
    break;
  case '\t':
    buf_puts(out, "\\t");
    break;
  default:
    buf_printf(out, "\\u%04x", c);
  }
}

/* The length of the well-formed multi-byte character at s, or 0. */
static size_t wide_char(struct str s) {
  unsigned char lead = (unsigned char)s.p[0];
  size_t n = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  return lead >= 0xC0 && n <= s.n && str_is_utf8(str_n(s.p, n)) ? n : 0;
}

/* Of eight bytes at once: what needs an escape, and what is no ASCII, sets the highest bit of its byte, and nothing else does alone. */
static bool eight_are_plain(const char *p) {
  static const uint64_t ones = UINT64_C(0x0101010101010101);
  uint64_t x;
  memcpy(&x, p, sizeof x);
  uint64_t quote = x ^ ones * '"', slash = x ^ ones * '\\';
  uint64_t marks = x | (x + ones) | (x - ones * 0x20) | (quote - ones) | (slash - ones);
  return !(marks & ones * 0x80);
}

/* Where what stands for itself between quotes ends, from i on. */
static size_t plain_end(struct str text, size_t i) {
  for (size_t n; i < text.n; i += n) {
    unsigned char c = (unsigned char)text.p[i];
    n = i + 8 <= text.n && eight_are_plain(text.p + i) ? 8 : c >= 0x80 ? wide_char(str_slice(text, i, text.n)) : !needs_escape(c);
    if (!n)
      break;
  }
  return i;
}

static void add_escaped(struct buf *out, struct str text) {
  for (size_t i = 0;; i++) {
    size_t end = plain_end(text, i);
    buf_add(out, text.p + i, end - i);
    i = end;
    if (i == text.n)
      return;
    if ((unsigned char)text.p[i] < 0x80)
      escape(out, (unsigned char)text.p[i]);
    else
      buf_puts(out, "\xEF\xBF\xBD");
  }
}

void json_quote(struct buf *out, struct str text) {
  char *at = plain_end(text, 0) == text.n ? buf_room(out, text.n + 2) : NULL;
  if (!at) {
    buf_putc(out, '"');
    add_escaped(out, text);
    buf_putc(out, '"');
    return;
  }
  at[0] = '"';
  if (text.n)
    memcpy(at + 1, text.p, text.n);
  at[text.n + 1] = '"';
  buf_grew(out, text.n + 2);
}

/* ---- reading ---- */

enum { DEPTH_MAX = 64 };

void json_cleanup(json_t **json) {
  json_decref(*json);
  *json = NULL;
}

/* Past the end of the string whose opening quote is before `i`. */
static size_t string_end(struct str text, size_t i) {
  for (const char *quote; i < text.n && (quote = memchr(text.p + i, '"', text.n - i));) {
    const char *escape = quote;
    while (escape > text.p + i && escape[-1] == '\\')
      escape--;
    i = (size_t)(quote - text.p) + 1;
    if ((quote - escape) % 2 == 0)
      return i;
  }
  return text.n;
}

static size_t line_at(struct str text, size_t at) {
  size_t line = 1;
  for (size_t i = 0; i < at; i++)
    line += text.p[i] == '\n';
  return line;
}

/* What may be made a tree of: how deep (jansson recurses up to 2,048 levels), and of how many values, as its brackets and commas tell. */
static bool shape_ok(struct str text, size_t items_max, struct err *err) {
  size_t depth = 0, items = 0;
  for (size_t i = 0; i < text.n; i++) {
    char c = text.p[i];
    if (c == '"') {
      i = string_end(text, i + 1) - 1;
      continue;
    }
    bool opens = c == '{' || c == '[';
    if (opens && ++depth > DEPTH_MAX)
      return err_set(err, ERR_INVALID, "JSON is nested deeper than %d levels at line %zu", DEPTH_MAX, line_at(text, i));
    if ((opens || c == ',') && ++items > items_max)
      return err_set(err, ERR_TOO_LARGE, "there are more than %zu values in it", items_max);
    if ((c == '}' || c == ']') && depth)
      depth--;
  }
  return true;
}

/* Past the string or the number that begins at `i`, or one byte further. *ret_whole: it was digits alone. */
static size_t token_end(struct str text, size_t i, bool *ret_whole) {
  *ret_whole = false;
  if (text.p[i] == '"') {
    for (i++; i < text.n && text.p[i] != '"'; i++)
      i += text.p[i] == '\\';
    return MIN_OF(i + 1, text.n);
  }
  size_t digits = i + (text.p[i] == '-'), at = digits;
  while (at < text.n && text.p[at] >= '0' && text.p[at] <= '9')
    at++;
  *ret_whole = at > digits;
  while (at < text.n && at > digits && memchr(".eE+-0123456789", text.p[at], 15)) {
    *ret_whole = false;
    at++;
  }
  return MAX_OF(at, i + 1);
}

/* The same text; whole numbers beyond an int64_t are written as reals. */
static void widen_integers(struct str text, struct buf *out) {
  int64_t number;
  bool whole;
  for (size_t i = 0, end; i < text.n; i = end) {
    end = token_end(text, i, &whole);
    buf_add_str(out, str_slice(text, i, end));
    if (whole && !str_to_i64(str_slice(text, i, end), &number))
      buf_puts(out, ".0");
  }
}

static json_t *load(struct str text, json_error_t *ret_error) {
  return json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, ret_error);
}

static bool tell_load_error(const json_error_t *error, struct err *err) {
  enum json_error_code code = json_error_code(error);
  if (code == json_error_out_of_memory)
    return err_no_memory(err);
  const char *what = code == json_error_null_character ? "a text may not contain the character \\u0000" : error->text;
  err_set(err, ERR_INVALID, "not valid JSON: %s at line %d, column %d", what, error->line, error->column);
  return err_at(err, "", (unsigned)MAX_OF(error->line, 0), (unsigned)MAX_OF(error->column, 0));
}

static bool read_shaped(struct str text, json_t **ret, struct err *err) {
  /* For jansson a NUL after the value is the end of the text, whatever follows. */
  const char *nul = text.n ? memchr(text.p, 0, text.n) : NULL;
  if (nul)
    return err_set(err, ERR_INVALID, "not valid JSON: a NUL at byte %zu", (size_t)(nul - text.p));
  json_error_t error;
  *ret = load(text, &error);
  if (!*ret && json_error_code(&error) == json_error_numeric_overflow) {
    AUTO_BUF struct buf wide = BUF_INIT(4 * text.n); /* ".0" follows at least 19 digits */
    widen_integers(text, &wide);
    if (!buf_ok(&wide, err))
      return false;
    *ret = load(buf_str(&wide), &error);
  }
  return *ret || tell_load_error(&error, err);
}

/* ---- the same, quickly: jansson's own reader takes texts byte by byte ---- */

static json_t *build(struct json_pull *pull, enum json_token token);

static json_t *build_object(struct json_pull *pull) {
  AUTO_JSON json_t *object = json_object();
  enum json_token token;
  while (object && (token = json_pull_next(pull)) == JSON_T_KEY) {
    struct str key = pull->text;
    if (json_object_setn_new_nocheck(object, key.p, key.n, build(pull, json_pull_next(pull))) != 0)
      return NULL;
  }
  return object && token == JSON_T_OBJECT_END ? json_incref(object) : NULL;
}

static json_t *build_array(struct json_pull *pull) {
  AUTO_JSON json_t *array = json_array();
  enum json_token token;
  while (array && (token = json_pull_next(pull)) != JSON_T_ARRAY_END)
    if (json_array_append_new(array, build(pull, token)) != 0)
      return NULL;
  return json_incref(array);
}

/* The value that `token` began. NULL: it is none, or there is no memory. */
static json_t *build(struct json_pull *pull, enum json_token token) {
  switch (token) {
  case JSON_T_OBJECT:
    return build_object(pull);
  case JSON_T_ARRAY:
    return build_array(pull);
  case JSON_T_STR:
    return json_stringn_nocheck(pull->text.p, pull->text.n);
  case JSON_T_INT:
    return json_integer(pull->whole);
  case JSON_T_REAL:
    return json_real(pull->real);
  case JSON_T_TRUE:
    return json_true();
  case JSON_T_FALSE:
    return json_false();
  case JSON_T_NULL:
    return json_null();
  default:
    return NULL;
  }
}

static json_t *read_quickly(struct str text, bool keeps_wide) {
  AUTO_ARENA struct arena unescaped = ARENA_INIT(2 * text.n + MIB);
  AUTO_JSON_PULL struct json_pull pull;
  json_pull_init(&pull, text, &unescaped);
  pull.keeps_wide = keeps_wide;
  AUTO_JSON json_t *tree = build(&pull, json_pull_next(&pull));
  return tree && json_pull_next(&pull) == JSON_T_END ? json_incref(tree) : NULL;
}

static bool read_within(struct str text, size_t items_max, bool keeps_wide, json_t **ret, struct err *err) {
  if (!shape_ok(text, items_max, err))
    return false;
  *ret = read_quickly(text, keeps_wide);
  return *ret || read_shaped(text, ret, err);
}

bool json_read(struct str text, json_t **ret, struct err *err) {
  return read_within(text, SIZE_MAX, false, ret, err);
}

bool json_read_body(struct str text, json_t **ret, struct err *err) {
  return read_within(text, JSON_BODY_ITEMS, false, ret, err);
}

bool json_read_body_exactly(struct str text, json_t **ret, struct err *err) {
  return read_within(text, JSON_BODY_ITEMS, true, ret, err);
}

bool json_read_slowly(struct str text, json_t **ret, struct err *err) {
  return shape_ok(text, SIZE_MAX, err) && read_shaped(text, ret, err);
}

struct str json_str(const json_t *string) {
  if (!json_is_string(string))
    return STR_NONE;
  return str_n(json_string_value(string), json_string_length(string));
}

static const char *field_name(const void *ctx, size_t i) {
  return ((const struct json_field *)ctx)[i].name;
}

static const char *const type_words[] = {
    [JSON_F_STR] = "a string",     [JSON_F_I64] = "a whole number", [JSON_F_F64] = "a number",  [JSON_F_BOOL] = "true or false",
    [JSON_F_OBJECT] = "an object", [JSON_F_ARRAY] = "an array",     [JSON_F_ANY] = "any value",
};

static bool within(const struct json_field *field, double value) {
  return (field->min == 0 && field->max == 0) || (value >= (double)field->min && value <= (double)field->max);
}

static bool special_number(struct str s, double *ret) {
  if (str_is(s, "NaN"))
    *ret = NAN;
  else if (str_is(s, "Infinity"))
    *ret = INFINITY;
  else if (str_is(s, "-Infinity"))
    *ret = -INFINITY;
  else
    return false;
  return true;
}

/* Writes the field; false when the value is of another type. *ret_measure is what min and max bound. */
static bool store(const struct json_field *field, const json_t *value, char *base, double *ret_measure) {
  void *at = base + field->offset;
  *ret_measure = field->min == 0 && field->max == 0 ? 0 : (double)field->min;
  switch (field->type) {
  case JSON_F_STR:
    if (!json_is_string(value))
      return false;
    *(struct str *)at = json_str(value);
    *ret_measure = (double)json_string_length(value);
    return true;
  case JSON_F_I64: {
    int64_t number;
    if (json_is_integer(value)) {
      number = json_integer_value(value);
    } else if (json_is_real(value)) {
      double real = json_real_value(value);
      if (!(fabs(real) < 9007199254740992.0) || real != floor(real))
        return false;
      number = (int64_t)real;
    } else {
      return false;
    }
    *(int64_t *)at = number;
    *ret_measure = (double)number;
    return true;
  }
  case JSON_F_F64: {
    double number;
    if (json_is_number(value))
      number = json_number_value(value);
    else if (!special_number(json_str(value), &number))
      return false;
    *(double *)at = number;
    *ret_measure = number;
    return true;
  }
  case JSON_F_BOOL:
    if (!json_is_boolean(value))
      return false;
    *(bool *)at = json_is_true(value);
    return true;
  case JSON_F_OBJECT:
    if (!json_is_object(value))
      return false;
    *(const json_t **)at = value;
    return true;
  case JSON_F_ARRAY:
    if (!json_is_array(value))
      return false;
    *(const json_t **)at = value;
    *ret_measure = (double)json_array_size(value);
    return true;
  case JSON_F_ANY:
    *(const json_t **)at = value;
    return true;
  }
  return false;
}

/* "path.key", in an error already set. */
static bool at_key(struct err *err, const char *path, const char *key) {
  char place[sizeof err->path];
  snprintf(place, sizeof place, "%s%s%s", path, path[0] && key[0] ? "." : "", key);
  return err_at(err, place, 0, 0);
}

bool json_decode(const json_t *object, const struct json_field *fields, size_t count, const char *path, void *ret_struct, struct err *err) {
  const char *dot = path[0] ? "." : "";
  if (!json_is_object(object))
    return err_set(err, ERR_INVALID, "%s must be an object", path[0] ? path : "the body");
  const char *key;
  json_t *value;
  json_t *walk = (json_t *)(uintptr_t)object; /* jansson's iterators want a mutable object, but change nothing */
  json_object_foreach(walk, key, value) {
    const struct json_field *field = NULL;
    for (size_t i = 0; i < count && !field; i++)
      if (strcmp(fields[i].name, key) == 0)
        field = &fields[i];
    if (!field) {
      err_set(err, ERR_INVALID, "unknown key \"%s%s%.100s\"", path, dot, key);
      at_key(err, path, key);
      const char *near = str_nearest(str_of(key), count, field_name, fields);
      return near ? err_hint(err, "did you mean \"%s\"?", near) : false;
    }
    if (json_is_null(value) && field->nullable)
      continue;
    double measure;
    if (!store(field, value, ret_struct, &measure)) {
      err_set(err, ERR_INVALID, "\"%s%s%s\" must be %s", path, dot, key, type_words[field->type]);
      return at_key(err, path, key);
    }
    if (!within(field, measure)) {
      err_set(err, ERR_INVALID, "\"%s%s%s\" must be %s %lld to %lld", path, dot, key,
              field->type == JSON_F_STR     ? "a text of bytes from"
              : field->type == JSON_F_ARRAY ? "an array of items from"
                                            : "from",
              (long long)field->min, (long long)field->max);
      return at_key(err, path, key);
    }
    if (field->present_at)
      *(bool *)((char *)ret_struct + field->present_at) = true;
  }
  for (size_t i = 0; i < count; i++)
    if (fields[i].required && !json_object_get(object, fields[i].name)) {
      err_set(err, ERR_INVALID, "\"%s%s%s\" is missing", path, dot, fields[i].name);
      return at_key(err, path, fields[i].name);
    }
  return true;
}
