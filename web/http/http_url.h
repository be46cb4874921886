/* Percent-decoding, queries and Host: pure functions. */
#ifndef WINNOW_WEB_HTTP_URL_H
#define WINNOW_WEB_HTTP_URL_H

#include "base/buf.h"
#include "base/str.h"

/* Decodes once into `out`, which has room for in.n bytes (never more than the input). False on a bad escape or a NUL. With
 * `plus_is_space` as in queries. */
MUST_CHECK bool http_url_decode(struct str in, bool plus_is_space, char *out, size_t *ret_n);
/* Adds `text` with everything escaped but letters, digits and -._~ ; '/' stays when `keep_slash`. */
void http_url_encode(struct buf *out, struct str text, bool keep_slash);

/* The next raw pair of a query, neither decoded nor checked. Empty pairs ("a&&b") are skipped. False at the end. */
bool http_query_next(struct str *rest, struct str *ret_name, struct str *ret_value);

/* "host", "host:port", "[v6]:port" */
struct http_authority {
  struct str host; /* brackets taken off; case as sent */
  uint16_t port;   /* 0: none given */
  bool is_v6;
};
/* Letters, digits, "-._~" and sub-delims without userinfo; an address in brackets has hex digits, ':' and '.' only. */
MUST_CHECK bool http_authority_parse(struct str text, struct http_authority *ret);

#endif
