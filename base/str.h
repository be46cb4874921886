/* Borrowed text: a pointer and a length, not owned, not necessarily ended by NUL. Number parsing that consumes everything
 * or fails. */
#ifndef WINNOW_BASE_STR_H
#define WINNOW_BASE_STR_H

#include "base/base.h"

struct str {
  const char *p;
  size_t n;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NONE ((struct str){NULL, 0})
/* For printf: "%.*s", STR_ARG(s) */
#define STR_ARG(s) (int)MIN_OF((s).n, (size_t)INT32_MAX), ((s).p ? (s).p : "")

/* The smallest of them are here, so that a literal's length is known when they are compiled. */

/* NULL gives STR_NONE */
static inline struct str str_of(const char *text) {
  return (struct str){text, text ? strlen(text) : 0};
}

static inline struct str str_n(const char *text, size_t n) {
  return (struct str){text, n};
}

static inline bool str_eq(struct str a, struct str b) {
  return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_is(struct str a, const char *text) {
  return str_eq(a, str_of(text));
}

static inline bool str_starts(struct str s, struct str prefix) {
  return s.n >= prefix.n && str_eq(str_n(s.p, prefix.n), prefix);
}

static inline bool str_ends(struct str s, struct str suffix) {
  return s.n >= suffix.n && str_eq(str_n(s.p + (s.n - suffix.n), suffix.n), suffix);
}

/* Is the path `top`, or does it lie below it? Below "" lies everything. */
static inline bool str_is_at_or_below(struct str path, struct str top) {
  return top.n == 0 || (str_starts(path, top) && (path.n == top.n || path.p[top.n] == '/'));
}

/* Clamped to what there is. */
static inline struct str str_slice(struct str s, size_t from, size_t to) {
  to = MIN_OF(to, s.n);
  from = MIN_OF(from, to);
  return s.p ? str_n(s.p + from, to - from) : s;
}

/* The position, or SIZE_MAX. */
static inline size_t str_find(struct str s, char c) {
  const char *at = s.n ? (const char *)memchr(s.p, c, s.n) : NULL;
  return at ? (size_t)(at - s.p) : SIZE_MAX;
}

bool str_eq_nocase(struct str a, struct str b); /* ASCII */
bool str_starts_nocase(struct str s, struct str prefix);
int str_cmp(struct str a, struct str b); /* by bytes */
size_t str_find_str(struct str s, struct str needle);
struct str str_trim(struct str s); /* ASCII space, tab, CR, LF at both ends */
/* Takes the part before `sep` off the front of *rest. False when *rest is at its end (p == NULL). The last part is returned when
 * no separator is left, and the call after it returns false. */
bool str_split(struct str *rest, char sep, struct str *ret_part);

/* What follows the last `sep`; all of it when there is none. */
struct str str_last(struct str s, char sep);

/* Decimal, optional sign; no spaces, nothing after. False on overflow. */
MUST_CHECK bool str_to_i64(struct str s, int64_t *ret);
MUST_CHECK bool str_to_u64(struct str s, uint64_t *ret);
/* What strtod() takes in the C locale, also "inf", "nan"; nothing before or after. Overflow gives an infinity. At most 400 bytes. */
MUST_CHECK bool str_to_f64(struct str s, double *ret);
/* true false yes no on off 1 0 */
MUST_CHECK bool str_to_bool(struct str s, bool *ret);
/* "90s" "30m" "2h" "1d" "250ms" "1.5h"; a bare number is seconds. Milliseconds. Not negative. */
MUST_CHECK bool str_to_duration_ms(struct str s, int64_t *ret);
/* "2GB" (10^9), "2GiB" (2^30), K M G T, bare bytes. */
MUST_CHECK bool str_to_size(struct str s, uint64_t *ret);

/* digits * 10^exponent as the nearest double, where that can be told quickly and surely; else false. */
bool str_scale_ten(uint64_t digits, int exponent, double *ret);

/* The value of a hex digit in either case; -1 when it is none. */
int hex_digit(char c);

/* Is it well-formed UTF-8 (no overlong forms, no surrogates)? NUL is a character. */
bool str_is_utf8(struct str s);
/* The shortest decimal text that reads back as the same double, as Python's repr shows it ("1.0", "0.1", "1e-05"). `out` has room for 32
 * bytes. NaN, inf and -inf are "NaN", "Infinity", "-Infinity". Returns the length. */
size_t str_from_f64(double value, char out[32]);
/* Decimal digits, without a NUL. */
size_t str_from_u64(uint64_t value, char out[20]);
size_t str_from_i64(int64_t value, char out[21]);

/* Did-you-mean: the candidate nearest to `word` (Damerau-Levenshtein, ASCII case ignored), or NULL when none is near enough (a third of the
 * length, at least 1). `at(ctx, i)` gives the i-th of `count` candidates; NULL entries are skipped. */
const char *str_nearest(struct str word, size_t count, const char *(*at)(const void *ctx, size_t i), const void *ctx);
/* The same over an array of C strings. */
const char *str_nearest_of(struct str word, const char *const *candidates, size_t count);

#endif
