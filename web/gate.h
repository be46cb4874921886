/* The gate of the HTTP server: shows a request to access_decide() and notes who asks. */
#ifndef WINNOW_WEB_GATE_H
#define WINNOW_WEB_GATE_H

#include "web/http/http_server.h"

/* An http_gate_fn; ctx is the struct web_app. */
bool web_gate(void *ctx, struct http_req *req, const struct route *route, struct err *err);

#endif
