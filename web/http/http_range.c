#include "web/http/http_range.h"

#include "web/http/http_head.h"

/* Digits only. */
static bool parse_digits(struct str text, uint64_t *ret) {
  return text.n && text.p[0] >= '0' && text.p[0] <= '9' && str_to_u64(text, ret);
}

enum http_range_result http_range_parse(struct str value, uint64_t size, struct http_range *ret) {
  const struct str unit = STR("bytes=");
  if (value.n <= unit.n || !str_eq_nocase(str_slice(value, 0, unit.n), unit))
    return HTTP_RANGE_WHOLE;
  struct str spec = str_trim(str_slice(value, unit.n, value.n));
  size_t hyphen = str_find(spec, '-');
  if (hyphen == SIZE_MAX || str_find(spec, ',') != SIZE_MAX)
    return HTTP_RANGE_WHOLE;
  struct str first = str_slice(spec, 0, hyphen), last = str_slice(spec, hyphen + 1, spec.n);
  uint64_t from, to;
  if (!first.n) { /* the last so many bytes */
    uint64_t count;
    if (!parse_digits(last, &count))
      return HTTP_RANGE_WHOLE;
    if (!count || !size)
      return HTTP_RANGE_NONE;
    *ret = (struct http_range){size - MIN_OF(count, size), size - 1};
    return HTTP_RANGE_PART;
  }
  if (!parse_digits(first, &from) || (last.n && !parse_digits(last, &to)))
    return HTTP_RANGE_WHOLE;
  if (!last.n)
    to = UINT64_MAX;
  if (to < from)
    return HTTP_RANGE_WHOLE;
  if (from >= size)
    return HTTP_RANGE_NONE;
  *ret = (struct http_range){from, MIN_OF(to, size - 1)};
  return HTTP_RANGE_PART;
}

static bool is_weak(struct str etag) {
  return str_starts(etag, STR("W/"));
}

static struct str opaque_part(struct str etag) {
  return is_weak(etag) ? str_slice(etag, 2, etag.n) : etag;
}

/* A tag may contain commas. */
bool http_etag_take(struct str *list, struct str *ret) {
  size_t start = 0;
  while (start < list->n && (list->p[start] == ' ' || list->p[start] == '\t' || list->p[start] == ','))
    start++;
  struct str rest = str_slice(*list, start, list->n);
  size_t open = is_weak(rest) ? 2 : 0;
  if (open >= rest.n || rest.p[open] != '"')
    return false;
  size_t close = str_find(str_slice(rest, open + 1, rest.n), '"');
  if (close == SIZE_MAX)
    return false;
  size_t end = open + 1 + close + 1;
  *ret = str_slice(rest, 0, end);
  *list = str_slice(rest, end, rest.n);
  return true;
}

bool http_etag_in(struct str list, struct str etag, bool weak) {
  list = str_trim(list);
  if (str_is(list, "*"))
    return true;
  struct str one;
  while (http_etag_take(&list, &one)) {
    bool comparable = weak || (!is_weak(one) && !is_weak(etag));
    if (comparable && str_eq(opaque_part(one), opaque_part(etag)))
      return true;
  }
  return false;
}

static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void http_date_format(int64_t seconds, char out[32]) {
  time_t when = (time_t)seconds;
  struct tm tm;
  if (!gmtime_r(&when, &tm) || tm.tm_year > 8099 || tm.tm_year < -900) {
    when = 0;
    gmtime_r(&when, &tm);
  }
  snprintf(out, 32, "%s, %02d %s %04d %02d:%02d:%02d GMT", day_names[tm.tm_wday], tm.tm_mday, month_names[tm.tm_mon], tm.tm_year + 1900,
           tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static bool two_digits(struct str text, size_t at, int max, int *ret) {
  uint64_t number;
  if (!parse_digits(str_slice(text, at, at + 2), &number) || number > (uint64_t)max)
    return false;
  *ret = (int)number;
  return true;
}

bool http_date_parse(struct str text, int64_t *ret_seconds) {
  struct tm tm = {0};
  uint64_t year;
  if (text.n != 29 || !parse_digits(str_slice(text, 12, 16), &year) || !two_digits(text, 5, 31, &tm.tm_mday) ||
      !two_digits(text, 17, 23, &tm.tm_hour) || !two_digits(text, 20, 59, &tm.tm_min) || !two_digits(text, 23, 60, &tm.tm_sec))
    return false;
  tm.tm_year = (int)year - 1900;
  tm.tm_mon = -1;
  for (int i = 0; i < 12; i++)
    if (str_is(str_slice(text, 8, 11), month_names[i]))
      tm.tm_mon = i;
  if (tm.tm_mon < 0 || tm.tm_mday < 1)
    return false;
  int64_t seconds = timegm(&tm);
  /* The spelling must be ours: a wrong weekday, a 31st of April or a blank out of place is no date. */
  char again[32];
  http_date_format(seconds, again);
  if (!str_is(text, again))
    return false;
  *ret_seconds = seconds;
  return true;
}

/* "0", "0.", "0.0" to "0.000" */
static bool is_zero_quality(struct str q) {
  if (!q.n || q.p[0] != '0')
    return false;
  for (size_t i = 1; i < q.n; i++)
    if (q.p[i] != (i == 1 ? '.' : '0'))
      return false;
  return true;
}

bool http_accepts_gzip(struct str accept_encoding) {
  bool star = false, star_seen = false;
  struct str element;
  while (http_list_next(&accept_encoding, &element)) {
    struct str rest = element, coding, parameter;
    if (!str_split(&rest, ';', &coding))
      continue;
    bool accepted = true;
    while (str_split(&rest, ';', &parameter)) {
      parameter = str_trim(parameter);
      if (parameter.n >= 2 && (parameter.p[0] == 'q' || parameter.p[0] == 'Q') && parameter.p[1] == '=')
        accepted = !is_zero_quality(str_slice(parameter, 2, parameter.n));
    }
    coding = str_trim(coding);
    if (str_eq_nocase(coding, STR("gzip")) || str_eq_nocase(coding, STR("x-gzip")))
      return accepted;
    if (str_is(coding, "*") && !star_seen) {
      star = accepted;
      star_seen = true;
    }
  }
  return star;
}
