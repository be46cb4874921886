#define WINNOW_ALLOW_NUMBERS /* this is the wrapper */
#include "base/str.h"

#include <float.h>
#include <math.h>

static char lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool str_eq_nocase(struct str a, struct str b) {
  if (a.n != b.n)
    return false;
  for (size_t i = 0; i < a.n; i++)
    if (lower(a.p[i]) != lower(b.p[i]))
      return false;
  return true;
}

bool str_starts_nocase(struct str s, struct str prefix) {
  return s.n >= prefix.n && str_eq_nocase(str_n(s.p, prefix.n), prefix);
}

int str_cmp(struct str a, struct str b) {
  size_t n = MIN_OF(a.n, b.n);
  int order = n ? memcmp(a.p, b.p, n) : 0;
  return order ? order : (a.n > b.n) - (a.n < b.n);
}

size_t str_find_str(struct str s, struct str needle) {
  if (needle.n == 0)
    return 0;
  const char *at = s.n >= needle.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
  return at ? (size_t)(at - s.p) : SIZE_MAX;
}

static bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str s) {
  while (s.n && is_space(s.p[0])) {
    s.p++;
    s.n--;
  }
  while (s.n && is_space(s.p[s.n - 1]))
    s.n--;
  return s;
}

bool str_split(struct str *rest, char sep, struct str *ret_part) {
  if (!rest->p)
    return false;
  size_t at = str_find(*rest, sep);
  if (at == SIZE_MAX) {
    *ret_part = *rest;
    *rest = STR_NONE;
  } else {
    *ret_part = str_n(rest->p, at);
    *rest = str_n(rest->p + at + 1, rest->n - at - 1);
  }
  return true;
}

struct str str_last(struct str s, char sep) {
  size_t from = s.n;
  while (from && s.p[from - 1] != sep)
    from--;
  return str_slice(s, from, s.n);
}

bool str_to_u64(struct str s, uint64_t *ret) {
  if (s.n && s.p[0] == '+')
    s = str_slice(s, 1, s.n);
  if (s.n == 0)
    return false;
  uint64_t value = 0;
  for (size_t i = 0; i < s.n; i++) {
    if (s.p[i] < '0' || s.p[i] > '9')
      return false;
    if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(s.p[i] - '0'), &value))
      return false;
  }
  *ret = value;
  return true;
}

bool str_to_i64(struct str s, int64_t *ret) {
  bool negative = s.n && s.p[0] == '-';
  if (negative) {
    s = str_slice(s, 1, s.n);
    if (s.n && s.p[0] == '+')
      return false;
  }
  uint64_t magnitude;
  if (!str_to_u64(s, &magnitude) || magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0))
    return false;
  *ret = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
  return true;
}

bool str_to_f64(struct str s, double *ret) {
  char text[401];
  if (s.n == 0 || s.n >= sizeof text || isspace((unsigned char)s.p[0]) || memchr(s.p, 0, s.n))
    return false;
  if (memchr(s.p, 'x', s.n) || memchr(s.p, 'X', s.n) || memchr(s.p, '(', s.n)) /* strtod reads 0x1p3 and nan(1) */
    return false;
  memcpy(text, s.p, s.n);
  text[s.n] = 0;
  char *end;
  double value = strtod(text, &end);
  if (end != text + s.n)
    return false;
  *ret = value;
  return true;
}

bool str_to_bool(struct str s, bool *ret) {
  static const char *const yes[] = {"true", "yes", "on", "1"};
  static const char *const no[] = {"false", "no", "off", "0"};
  for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
    if (str_eq_nocase(s, str_of(yes[i])))
      return *ret = true, true;
    if (str_eq_nocase(s, str_of(no[i])))
      return *ret = false, true;
  }
  return false;
}

struct unit {
  const char *name;
  double factor;
};

/* A number that is not negative, and one of the units (nothing: the first one). */
static bool with_unit(struct str s, const struct unit *units, size_t count, double limit, double *ret) {
  size_t digits = 0;
  while (digits < s.n && ((s.p[digits] >= '0' && s.p[digits] <= '9') || s.p[digits] == '.'))
    digits++;
  double number;
  if (digits == 0 || !str_to_f64(str_slice(s, 0, digits), &number))
    return false;
  struct str name = str_trim(str_slice(s, digits, s.n));
  for (size_t i = 0; i < count; i++)
    if (str_eq_nocase(name, str_of(units[i].name))) {
      double value = number * units[i].factor;
      if (!(value <= limit))
        return false;
      *ret = value;
      return true;
    }
  return false;
}

bool str_to_duration_ms(struct str s, int64_t *ret) {
  static const struct unit units[] = {{"", 1e3},    {"s", 1e3},   {"sec", 1e3},  {"ms", 1},        {"m", 6e4},
                                      {"min", 6e4}, {"h", 3.6e6}, {"d", 8.64e7}, {"w", 7 * 8.64e7}};
  double value;
  if (!with_unit(s, units, ARRAY_LEN(units), 9e15, &value))
    return false;
  *ret = (int64_t)round(value);
  return true;
}

bool str_to_size(struct str s, uint64_t *ret) {
  static const struct unit units[] = {{"", 1},
                                      {"B", 1},
                                      {"KB", 1e3},
                                      {"MB", 1e6},
                                      {"GB", 1e9},
                                      {"TB", 1e12},
                                      {"K", 1024},
                                      {"KiB", 1024},
                                      {"M", 1024.0 * 1024},
                                      {"MiB", 1024.0 * 1024},
                                      {"G", 1024.0 * 1024 * 1024},
                                      {"GiB", 1024.0 * 1024 * 1024},
                                      {"T", 1024.0 * 1024 * 1024 * 1024},
                                      {"TiB", 1024.0 * 1024 * 1024 * 1024}};
  uint64_t whole;
  if (str_to_u64(s, &whole))
    return *ret = whole, true;
  double value;
  if (!with_unit(s, units, ARRAY_LEN(units), 9e15, &value))
    return false;
  *ret = (uint64_t)round(value);
  return true;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Length of the well-formed character at s[0..n), or 0. */
static size_t utf8_char(const unsigned char *s, size_t n) {
  unsigned char c = s[0];
  if (c < 0x80)
    return 1;
  if (c < 0xC2 || c > 0xF4)
    return 0;
  size_t len = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
  if (n < len)
    return 0;
  for (size_t i = 1; i < len; i++)
    if ((s[i] & 0xC0) != 0x80)
      return 0;
  if ((c == 0xE0 && s[1] < 0xA0) || (c == 0xED && s[1] > 0x9F) || (c == 0xF0 && s[1] < 0x90) || (c == 0xF4 && s[1] > 0x8F))
    return 0;
  return len;
}

bool str_is_utf8(struct str s) {
  const unsigned char *p = (const unsigned char *)s.p;
  for (size_t i = 0; i < s.n;) {
    size_t len = utf8_char(p + i, s.n - i);
    if (!len)
      return false;
    i += len;
  }
  return true;
}

/* ---- text to doubles, quickly ----
 *
 * A long double of 64 bits holds any whole number below 2^64 and any power of ten up to 10^27 exactly, so a product or quotient of the two
 * is rounded once, with 11 bits to spare over a double. What the spare bits leave open is left to the C library. */

#if LDBL_MANT_DIG == 64
enum { EXACT_TENS = 27 };
static const long double tens[EXACT_TENS + 1] = {1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,
                                                 1e10L, 1e11L, 1e12L, 1e13L, 1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L,
                                                 1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};

bool str_scale_ten(uint64_t digits, int exponent, double *ret) {
  if (exponent < -EXACT_TENS || exponent > EXACT_TENS)
    return false;
  long double wide = exponent < 0 ? (long double)digits / tens[-exponent] : (long double)digits * tens[exponent];
  uint64_t mantissa;
  memcpy(&mantissa, &wide, sizeof mantissa);
  if ((mantissa & 0x7FF) == 0x400) /* the middle between two doubles, or rounded to it */
    return false;
  *ret = (double)wide;
  return true;
}

#else
bool str_scale_ten(uint64_t digits UNUSED, int exponent UNUSED, double *ret UNUSED) {
  return false;
}
#endif

/* Optimal string alignment distance over at most NEAREST_MAX bytes. */
enum { NEAREST_MAX = 64 };

static size_t distance(struct str a, struct str b) {
  size_t rows[3][NEAREST_MAX + 1];
  size_t *two_ago = rows[0], *previous = rows[1], *current = rows[2];
  for (size_t j = 0; j <= b.n; j++)
    previous[j] = j;
  for (size_t i = 1; i <= a.n; i++) {
    current[0] = i;
    for (size_t j = 1; j <= b.n; j++) {
      char ca = lower(a.p[i - 1]), cb = lower(b.p[j - 1]);
      size_t best = previous[j - 1] + (ca != cb);
      best = MIN_OF(best, previous[j] + 1);
      best = MIN_OF(best, current[j - 1] + 1);
      if (i > 1 && j > 1 && ca == lower(b.p[j - 2]) && lower(a.p[i - 2]) == cb)
        best = MIN_OF(best, two_ago[j - 2] + 1);
      current[j] = best;
    }
    size_t *spare = two_ago;
    two_ago = previous;
    previous = current;
    current = spare;
  }
  return previous[b.n];
}

const char *str_nearest(struct str word, size_t count, const char *(*at)(const void *ctx, size_t i), const void *ctx) {
  const char *best = NULL;
  size_t best_distance = SIZE_MAX;
  if (word.n == 0 || word.n > NEAREST_MAX)
    return NULL;
  for (size_t i = 0; i < count; i++) {
    struct str candidate = str_of(at(ctx, i));
    if (!candidate.p || candidate.n > NEAREST_MAX)
      continue;
    size_t allowed = MAX_OF((size_t)1, MAX_OF(word.n, candidate.n) / 3);
    size_t d = distance(word, candidate);
    if (d <= allowed && d < best_distance) {
      best_distance = d;
      best = candidate.p;
    }
  }
  return best;
}

static const char *at_index(const void *ctx, size_t i) {
  return ((const char *const *)ctx)[i];
}

const char *str_nearest_of(struct str word, const char *const *candidates, size_t count) {
  return str_nearest(word, count, at_index, candidates);
}
