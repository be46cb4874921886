/* Idempotency-Key: a POST that creates, sent again with the same key, is done once. The first answer is kept for a day and given again; the
 * same key with another request is refused, and so is one that comes while the first is under way. Only what was created is kept: after an
 * error the key is free again. Keys are each caller's own, for each path. A request whose body names what it makes (CREATES_NAMED) needs no
 * header: one that comes while the first is under way is told to ask again. */
#ifndef WINNOW_WEB_IDEMPOTENCY_H
#define WINNOW_WEB_IDEMPOTENCY_H

#include "base/id.h"
#include "web/http/http_req.h"

/* An http_handle_fn: calls the row's handler, or gives the answer there is. */
void idempotency_handle(void *ctx, struct http_req *req);
/* The id of what this request makes: from its key, else a new one. */
struct id idempotency_id(struct http_req *req);

#endif
