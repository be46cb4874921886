/* Errors of our own API: application/problem+json. */
#ifndef WINNOW_WEB_PROBLEM_H
#define WINNOW_WEB_PROBLEM_H

#include "web/route.h"

/* {"status", "code", "title", "detail", "hint", "errors", "request_id"} */
extern const struct route_family api_family;

#endif
