#include "tracker/logs/log_search.h"

typedef unsigned char bytes_at_once __attribute__((vector_size(16)));
typedef uint64_t words_at_once __attribute__((vector_size(16)));

enum { AT_ONCE = sizeof(bytes_at_once) };

static inline bytes_at_once load(const char *p) {
  bytes_at_once bytes;
  memcpy(&bytes, p, sizeof bytes);
  return bytes;
}

static inline bool any(bytes_at_once found) {
  words_at_once words = (words_at_once)found;
  return (words[0] | words[1]) != 0;
}

/* ---- texts ---- */

static bool is_printable(char c) {
  return c >= ' ' && c < 0x7f;
}

/* What lines are full of, the most frequent first; others are rare. */
static size_t rareness(char c) {
  static const char common[] = " 0123456789.eEtaoinsrldcuhpmf:,=-/_[]()|\"'";
  const char *place = memchr(common, c, sizeof common - 1);
  return place ? (size_t)(place - common) : sizeof common;
}

static size_t rarest_but(struct str text, size_t taken) {
  size_t best = taken ? 0 : text.n - 1;
  for (size_t i = 0; i < text.n; i++)
    if (i != taken && (best == taken || rareness(text.p[i]) > rareness(text.p[best])))
      best = i;
  return best;
}

struct log_literal log_literal_of(struct str text) {
  struct str best = {NULL, 0};
  for (size_t i = 0; i < text.n;) {
    size_t from = i;
    while (i < text.n && is_printable(text.p[i]))
      i++;
    if (i - from > best.n)
      best = str_slice(text, from, i);
    i += i == from;
  }
  size_t rarest = best.n ? rarest_but(best, SIZE_MAX) : 0;
  if (!best.n || best.p[rarest] == ' ')
    return (struct log_literal){.text = STR("")};
  return (struct log_literal){best, rarest, rarest_but(best, rarest)};
}

const char *log_find_literal(const struct log_literal *literal, const char *p, const char *end) {
  const char *text = literal->text.p;
  size_t n = literal->text.n, rarest = literal->rarest, second = literal->second;
  const bytes_at_once a = (bytes_at_once){0} + (unsigned char)text[rarest], b = (bytes_at_once){0} + (unsigned char)text[second];
  for (; (size_t)(end - p) >= n - 1 + AT_ONCE; p += AT_ONCE) {
    bytes_at_once found = (bytes_at_once)(load(p + rarest) == a) & (bytes_at_once)(load(p + second) == b);
    for (size_t i = 0; i < AT_ONCE && any(found); i++) {
      if (found[i] && memcmp(p + i, text, n) == 0)
        return p + i;
      found[i] = 0;
    }
  }
  const char *at = memmem(p, (size_t)(end - p), text, n);
  return at ? at : end;
}

/* ---- control characters ---- */

/* A carriage return before a line's end moves nothing. */
static bool is_control(const char *p, const char *end) {
  unsigned char c = (unsigned char)*p;
  return c == 0x7f || (c < 0x20 && c != '\n' && c != '\t' && !(c == '\r' && p + 1 < end && p[1] == '\n'));
}

const char *log_find_control(const char *p, const char *end) {
  for (; end - p >= AT_ONCE; p += AT_ONCE) {
    bytes_at_once bytes = load(p);
    bytes_at_once found =
        ((bytes_at_once)(bytes < 0x20) & (bytes_at_once)(bytes != '\n') & (bytes_at_once)(bytes != '\t')) | (bytes_at_once)(bytes == 0x7f);
    if (!any(found))
      continue;
    for (size_t i = 0; i < AT_ONCE; i++)
      if (is_control(p + i, end))
        return p + i;
  }
  while (p < end && !is_control(p, end))
    p++;
  return p;
}
