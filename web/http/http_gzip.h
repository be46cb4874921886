/* Compression of answers: one reusable deflate state. */
#ifndef WINNOW_WEB_HTTP_GZIP_H
#define WINNOW_WEB_HTTP_GZIP_H

#include "base/buf.h"

struct http_gzip;

MUST_CHECK struct http_gzip *http_gzip_new(void); /* NULL without memory */
void http_gzip_free(struct http_gzip *gzip);      /* accepts NULL */

/* Adds the gzip form of `in` to `out`. False when it does not fit into the buffer's ceiling (it may not be worth it) or without memory. */
MUST_CHECK bool http_gzip_pack(struct http_gzip *gzip, struct str in, struct buf *out);

#endif
