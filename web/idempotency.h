/* Idempotency-Key: a POST that creates, sent again with the same key, is done once. The first answer is kept for a day and given again; the
 * same key with another request is refused, and so is one that comes while the first is under way. Only what was created is kept: after an
 * error the key is free again. Keys are each caller's own, for each path. A request whose body names what it makes (CREATES_NAMED) needs no
 * header: one that comes while the first is under way is told to ask again.
 *
 * What is under way is remembered here, and so is an outcome that the database could not be told of: who asks again gets it. A key that is
 * taken in the database and not known here is of a request whose outcome nobody knows. */
#ifndef WINNOW_WEB_IDEMPOTENCY_H
#define WINNOW_WEB_IDEMPOTENCY_H

#include "base/id.h"
#include "web/http/http_req.h"

struct idempotency;

MUST_CHECK struct idempotency *idempotency_new(struct err *err);
/* No request is under way any more. Accepts NULL. */
void idempotency_free(struct idempotency *keys);

/* An http_handle_fn: calls the row's handler, or gives the answer there is. */
void idempotency_handle(void *ctx, struct http_req *req);
/* The id of what this request makes, for its handler: from its key and the time of its first try, else a new one. */
struct id idempotency_id(struct http_req *req);
/* From a handler of a CREATES_NAMED request, before it answers: `fn` is called once the answer is durable; it is sent when `fn` calls
 * `go_on`, then or later. With the answer it is noted that `doomed`, a path of the artifacts, is to be removed: `fn` does that, and takes the
 * note away; if it does not get to it, the care of what is doomed does. Not called when the answer cannot be kept. `doomed` and `ctx` live
 * as long as the request. */
typedef void idempotency_kept_fn(void *ctx, void (*go_on)(void *op), void *op);
void idempotency_then(struct http_req *req, struct str doomed, idempotency_kept_fn *fn, void *ctx);

#endif
