#define WINNOW_ALLOW_NUMBERS /* strtod() on a copy of any length, as jansson does */
#include "base/json_pull.h"

#include <limits.h>
#include <math.h>

#include "base/mem.h"

/* From this many keys on an object finds repeats through a map. */
enum { MANY_KEYS = 16 };

void json_pull_init(struct json_pull *pull, struct str text, struct arena *arena) {
  memset(pull, 0, sizeof *pull);
  pull->at = text.p ? text.p : "";
  pull->end = pull->at + text.n;
  pull->arena = arena;
}

void json_pull_release(struct json_pull *pull) {
  for (unsigned i = 0; i < pull->depth; i++)
    if (pull->frames[i].has_map)
      map_release(&pull->frames[i].map);
  pull->depth = 0;
  mem_free(pull->keys);
  pull->keys = NULL;
}

static enum json_token fail(struct json_pull *pull) {
  pull->want = JSON_PULL_FAILED;
  return JSON_T_ERROR;
}

static inline bool skip_space(struct json_pull *pull) {
  while (pull->at < pull->end && (*pull->at == ' ' || *pull->at == '\n' || *pull->at == '\r' || *pull->at == '\t'))
    pull->at++;
  return pull->at < pull->end;
}

/* ---- strings ---- */

/* Bytes that end the plain part of a string: the quote, the backslash, control characters. */
static inline bool is_special(unsigned char c) {
  return c < 0x20 || c == '"' || c == '\\';
}

static bool hex4(const char *p, const char *end, uint32_t *ret) {
  if (end - p < 4)
    return false;
  uint32_t value = 0;
  for (int i = 0; i < 4; i++) {
    int digit = hex_digit(p[i]);
    if (digit < 0)
      return false;
    value = value << 4 | (uint32_t)digit;
  }
  *ret = value;
  return true;
}

static char *put_utf8(char *out, uint32_t c) {
  if (c < 0x80) {
    *out++ = (char)c;
  } else if (c < 0x800) {
    *out++ = (char)(0xC0 | c >> 6);
    *out++ = (char)(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    *out++ = (char)(0xE0 | c >> 12);
    *out++ = (char)(0x80 | (c >> 6 & 0x3F));
    *out++ = (char)(0x80 | (c & 0x3F));
  } else {
    *out++ = (char)(0xF0 | c >> 18);
    *out++ = (char)(0x80 | (c >> 12 & 0x3F));
    *out++ = (char)(0x80 | (c >> 6 & 0x3F));
    *out++ = (char)(0x80 | (c & 0x3F));
  }
  return out;
}

/* \uXXXX at *p (past the u), surrogate pairs as one. No NUL, no half of a pair. */
static bool unicode_escape(const char **p, const char *end, uint32_t *ret) {
  uint32_t c, low;
  if (!hex4(*p, end, &c) || c == 0 || (c >= 0xDC00 && c <= 0xDFFF))
    return false;
  *p += 4;
  if (c >= 0xD800 && c <= 0xDBFF) {
    if (end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u' || !hex4(*p + 2, end, &low) || low < 0xDC00 || low > 0xDFFF)
      return false;
    *p += 6;
    c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
  }
  *ret = c;
  return true;
}

/* The rest of a string that has an escape at `at`; from `start`. */
static bool escaped_string(struct json_pull *pull, const char *start, const char *at) {
  const char *close = at;
  while (close < pull->end && *close != '"')
    close += *close == '\\' ? 2 : 1;
  if (close >= pull->end)
    return false;
  char *text = arena_alloc(pull->arena, (size_t)(close - start) + 1); /* an escape is never shorter than what it stands for */
  if (!text)
    return false;
  memcpy(text, start, (size_t)(at - start));
  char *out = text + (at - start);
  while (*at != '"') {
    if ((unsigned char)*at < 0x20)
      return false;
    if (*at != '\\') {
      *out++ = *at++;
      continue;
    }
    static const char simple[UCHAR_MAX + 1] = {
        ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
    char c = at[1];
    at += 2;
    uint32_t unicode;
    if (simple[(unsigned char)c])
      *out++ = simple[(unsigned char)c];
    else if (c == 'u' && unicode_escape(&at, close, &unicode))
      out = put_utf8(out, unicode);
    else
      return false;
  }
  pull->text = str_n(text, (size_t)(out - text));
  pull->at = at + 1;
  return true;
}

/* `at` is past the opening quote. */
static bool read_string(struct json_pull *pull) {
  const char *start = pull->at, *at = start;
  unsigned char high = 0;
  while (at < pull->end && !is_special((unsigned char)*at))
    high |= (unsigned char)*at++;
  if (at == pull->end)
    return false;
  if (*at == '"') {
    pull->text = str_n(start, (size_t)(at - start));
    pull->at = at + 1;
    return !(high & 0x80) || str_is_utf8(pull->text);
  }
  return *at == '\\' && escaped_string(pull, start, at) && str_is_utf8(pull->text);
}

/* ---- numbers ---- */

static bool by_strtod(struct json_pull *pull, struct str text, double *ret) {
  char local[64], *copy = local;
  if (text.n >= sizeof local && !(copy = arena_alloc(pull->arena, text.n + 1)))
    return false;
  memcpy(copy, text.p, text.n);
  copy[text.n] = 0;
  *ret = strtod(copy, NULL);
  return !isinf(*ret);
}

static inline bool is_digit(const char *at, const char *end) {
  return at < end && *at >= '0' && *at <= '9';
}

static enum json_token read_number(struct json_pull *pull) {
  const char *start = pull->at, *at = start, *end = pull->end;
  bool negative = *at == '-', is_real = false, fits = true;
  at += negative;
  if (!is_digit(at, end) || (*at == '0' && is_digit(at + 1, end)))
    return fail(pull);
  uint64_t digits = 0;
  int exponent = 0, count = 0;
  for (; is_digit(at, end); at++, count += count || digits)
    digits = digits * 10 + (uint64_t)(*at - '0');
  if (at < end && *at == '.') {
    is_real = true;
    const char *point = ++at;
    for (; is_digit(at, end); at++, count += count || digits)
      digits = digits * 10 + (uint64_t)(*at - '0');
    if (at == point)
      return fail(pull);
    fits = at - point <= 1000;
    exponent = fits ? -(int)(at - point) : 0;
  }
  if (at < end && (*at == 'e' || *at == 'E')) {
    is_real = true;
    at++;
    bool minus = at < end && *at == '-';
    at += at < end && (*at == '-' || *at == '+');
    if (!is_digit(at, end))
      return fail(pull);
    int written = 0;
    for (; is_digit(at, end); at++)
      if (written < 10000)
        written = written * 10 + (*at - '0');
    exponent += minus ? -written : written;
  }
  pull->at = at;
  pull->text = str_n(start, (size_t)(at - start));
  fits = fits && count <= 19; /* else `digits` has wrapped, maybe */
  if (!is_real && fits && digits <= (uint64_t)INT64_MAX + negative) {
    pull->whole = negative ? (int64_t)(0 - digits) : (int64_t)digits;
    return JSON_T_INT;
  }
  double value;
  if (fits && str_scale_ten(digits, exponent, &value))
    pull->real = negative ? -value : value;
  else if (!by_strtod(pull, pull->text, &pull->real))
    return fail(pull);
  bool is_member = pull->depth && pull->frames[pull->depth - 1].is_object;
  return pull->keeps_wide && !is_real && is_member ? JSON_T_STR : JSON_T_REAL;
}

/* ---- structure ---- */

static bool add_to_map(struct map *map, struct str key) {
  void *old = NULL;
  return map_put(map, key, map, &old) && !old;
}

/* False when the innermost object has it already, or without memory. */
static bool note_key(struct json_pull *pull, struct str key) {
  unsigned top = pull->depth - 1;
  struct map *map = &pull->frames[top].map;
  if (pull->frames[top].has_map)
    return add_to_map(map, key);
  size_t from = pull->frames[top].keys_from;
  for (size_t i = from; i < pull->key_count; i++)
    if (str_eq(pull->keys[i], key))
      return false;
  if (pull->key_count - from == MANY_KEYS) {
    map_init(map, SIZE_MAX / 2);
    pull->frames[top].has_map = true;
    for (size_t i = from; i < pull->key_count; i++)
      if (!add_to_map(map, pull->keys[i]))
        return false;
    return add_to_map(map, key);
  }
  if (pull->key_count == pull->key_cap) {
    size_t cap = pull->key_cap ? pull->key_cap * 2 : 32;
    struct str *keys = mem_resize(pull->keys, cap, sizeof *keys);
    if (!keys)
      return false;
    pull->keys = keys;
    pull->key_cap = cap;
  }
  pull->keys[pull->key_count++] = key;
  return true;
}

static enum json_token open_frame(struct json_pull *pull, bool is_object) {
  if (pull->depth == JSON_PULL_DEPTH)
    return fail(pull);
  unsigned top = pull->depth++;
  pull->frames[top].is_object = is_object;
  pull->frames[top].has_map = false;
  pull->frames[top].keys_from = pull->key_count;
  pull->want = JSON_PULL_FIRST;
  return is_object ? JSON_T_OBJECT : JSON_T_ARRAY;
}

static enum json_token close_frame(struct json_pull *pull) {
  unsigned top = --pull->depth;
  bool is_object = pull->frames[top].is_object;
  pull->key_count = pull->frames[top].keys_from;
  if (pull->frames[top].has_map)
    map_release(&pull->frames[top].map);
  pull->want = pull->depth ? JSON_PULL_AFTER : JSON_PULL_DONE;
  return is_object ? JSON_T_OBJECT_END : JSON_T_ARRAY_END;
}

static enum json_token word(struct json_pull *pull, const char *text, size_t n, enum json_token token) {
  if ((size_t)(pull->end - pull->at) < n || memcmp(pull->at, text, n) != 0)
    return fail(pull);
  pull->at += n;
  return token;
}

static enum json_token read_value(struct json_pull *pull) {
  char c = *pull->at;
  if (c == '{' || c == '[') {
    pull->at++;
    return open_frame(pull, c == '{');
  }
  pull->want = pull->depth ? JSON_PULL_AFTER : JSON_PULL_DONE;
  switch (c) {
  case '"':
    pull->at++;
    return read_string(pull) ? JSON_T_STR : fail(pull);
  case 't':
    return word(pull, "true", 4, JSON_T_TRUE);
  case 'f':
    return word(pull, "false", 5, JSON_T_FALSE);
  case 'n':
    return word(pull, "null", 4, JSON_T_NULL);
  default:
    return c == '-' || (c >= '0' && c <= '9') ? read_number(pull) : fail(pull);
  }
}

/* `at` is at the key's quote. */
static enum json_token read_key(struct json_pull *pull) {
  if (*pull->at != '"')
    return fail(pull);
  pull->at++;
  if (!read_string(pull) || !note_key(pull, pull->text) || !skip_space(pull) || *pull->at != ':')
    return fail(pull);
  pull->at++;
  pull->want = JSON_PULL_VALUE;
  return JSON_T_KEY;
}

enum json_token json_pull_next(struct json_pull *pull) {
  if (pull->want == JSON_PULL_FAILED)
    return JSON_T_ERROR;
  bool more = skip_space(pull);
  if (pull->want == JSON_PULL_DONE)
    return more ? fail(pull) : JSON_T_END;
  if (!more)
    return fail(pull);
  if (pull->want == JSON_PULL_VALUE)
    return read_value(pull);
  bool is_object = pull->frames[pull->depth - 1].is_object;
  if (*pull->at == (is_object ? '}' : ']')) {
    pull->at++;
    return close_frame(pull);
  }
  if (pull->want == JSON_PULL_AFTER) {
    if (*pull->at != ',')
      return fail(pull);
    pull->at++;
    if (!skip_space(pull))
      return fail(pull);
  }
  return is_object ? read_key(pull) : read_value(pull);
}

bool json_pull_skip(struct json_pull *pull, enum json_token token) {
  unsigned depth = 0;
  for (;; token = json_pull_next(pull)) {
    switch (token) {
    case JSON_T_ERROR:
    case JSON_T_END:
      return false;
    case JSON_T_OBJECT:
    case JSON_T_ARRAY:
      depth++;
      break;
    case JSON_T_OBJECT_END:
    case JSON_T_ARRAY_END:
      depth--;
      break;
    default:
      break;
    }
    if (depth == 0 && token != JSON_T_KEY)
      return true;
  }
}
