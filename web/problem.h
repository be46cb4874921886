/* Errors of our own API: application/problem+json. */
#ifndef WINNOW_WEB_PROBLEM_H
#define WINNOW_WEB_PROBLEM_H

#include "web/route.h"

/* {"status", "code", "title", "detail", "hint", "errors", "request_id"} */
extern const struct route_family api_family;

enum { PROBLEMS_MAX = 100 };
/* One of several things that are wrong with a request: its answer, when it is an error, lists them as "errors". Line and column 0: there is
 * no place in a text; `hint` is empty when there is nothing to say. More than PROBLEMS_MAX are left out, as are those there is no memory
 * for. */
void problem_add(struct http_req *req, const char *path, unsigned line, unsigned column, const char *message, const char *hint);

#endif
