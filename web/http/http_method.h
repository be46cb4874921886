/* The methods we know. Any other is answered 501 before routing. */
#ifndef WINNOW_WEB_HTTP_METHOD_H
#define WINNOW_WEB_HTTP_METHOD_H

#include "base/str.h"

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OPTIONS, HTTP_METHOD_COUNT };

const char *http_method_name(enum http_method method);
/* Case counts. */
MUST_CHECK bool http_method_parse(struct str text, enum http_method *ret);

#endif
