/* Conditions, ranges and the choice of a coding: pure functions over header values. */
#ifndef WINNOW_WEB_HTTP_RANGE_H
#define WINNOW_WEB_HTTP_RANGE_H

#include "base/str.h"

struct http_range {
  uint64_t from, to; /* both inclusive */
};

enum http_range_result {
  HTTP_RANGE_WHOLE, /* no range, several, or none we understand: the whole is answered */
  HTTP_RANGE_PART,
  HTTP_RANGE_NONE, /* not satisfiable: 416 */
};

/* The value of Range against a thing of `size` bytes. A value without p is "no range". */
enum http_range_result http_range_parse(struct str value, uint64_t size, struct http_range *ret);

/* Is `etag` (with its quotes, maybe W/ before them) in the list, or is the list "*"? Weak comparison ignores W/; strong wants none on
 * either side. A malformed list matches nothing. */
bool http_etag_in(struct str list, struct str etag, bool weak);

/* Takes one entity tag, with its quotes, off the front of a list. False: there is none. */
bool http_etag_take(struct str *list, struct str *ret);

/* "Sat, 21 Nov 2026 17:08:38 GMT"; only this form is read. Seconds since 1970. */
void http_date_format(int64_t seconds, char out[32]);
MUST_CHECK bool http_date_parse(struct str text, int64_t *ret_seconds);

/* Accept-Encoding: does the client take gzip (also as x-gzip or *), with a quality above 0? */
bool http_accepts_gzip(struct str accept_encoding);

#endif
