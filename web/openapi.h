/* The description of the API, printed from the route tables. */
#ifndef WINNOW_WEB_OPENAPI_H
#define WINNOW_WEB_OPENAPI_H

#include "base/buf.h"
#include "web/route.h"

/* OpenAPI 3.1 of every mount whose prefix is `only` (NULL: all). */
void openapi_write(const struct route_mount *mounts, size_t count, const char *only, struct buf *out);
/* The same as a page of HTML that asks for nothing outside. */
void openapi_write_html(const struct route_mount *mounts, size_t count, struct buf *out);

#endif
