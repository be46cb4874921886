/* Searches whole blocks of output, many bytes at a time, for what a line needs before it is worth looking at. */
#ifndef WINNOW_TRACKER_LOG_SEARCH_H
#define WINNOW_TRACKER_LOG_SEARCH_H

#include "base/str.h"

/* A text of printable ASCII, and where in it its two rarest characters stand. */
struct log_literal {
  struct str text; /* borrowed; empty: none */
  size_t rarest, second;
};

/* The longest run of printable ASCII in `text`; a blank alone is none. */
struct log_literal log_literal_of(struct str text);
static inline char log_literal_rarest(const struct log_literal *literal) {
  return literal->text.n ? literal->text.p[literal->rarest] : 0;
}
/* Where the text stands next; `end` when it does not. */
const char *log_find_literal(const struct log_literal *literal, const char *p, const char *end);
/* The next control character by which a terminal would show something else than the bytes of the line; `end` when there is none. */
const char *log_find_control(const char *p, const char *end);

#endif
