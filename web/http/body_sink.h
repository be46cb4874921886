/* A streamed body whose bytes are used on the work pool, a piece at a time: written, hashed. While one piece is being used the next is
 * gathered; when that is full too the body waits, so that a sink never holds more than 2 * SINK_MAX bytes. What is left in the end, all of
 * a short body, is for the owner to use along with what ends its work.
 *
 * On the loop, but for `use`. The parts of a route's stream hand over: `data` to sink_take(), `end` to sink_end(), `abort` to sink_abort().
 */
#ifndef WINNOW_WEB_BODY_SINK_H
#define WINNOW_WEB_BODY_SINK_H

#include "base/work.h"
#include "web/http/http_reply.h"

/* On a thread, one piece after the other. Uses up all of the bytes; false: *err says why. */
typedef bool sink_use_fn(void *ctx, struct str bytes, struct err *err);
/* Once, when nothing is being used any more; may be called by whoever hands over. `err` NULL: the body is complete, and all but `rest` has
 * been used, which lives until sink_release(). Else a piece could not be used or the body broke off. The request is still to be answered.
 */
typedef void sink_over_fn(void *ctx, struct str rest, const struct err *err);

enum { SINK_PIECE = 192 * 1024, SINK_MAX = SINK_PIECE + 64 * 1024 };

/* Lives until `over` was called, as does what `ctx` points to. */
struct body_sink {
  struct http_req *req;
  struct work_pool *work;
  void *ctx;
  sink_use_fn *use;
  sink_over_fn *over;
  struct work item;
  struct buf piece, next; /* being used; being gathered */
  struct err use_err;     /* of the piece */
  struct err err;         /* how it ended; ERR_NONE: well, or not yet */
  bool working, ended;
};

void sink_begin(struct body_sink *sink, struct http_req *req, struct work_pool *work, sink_use_fn *use, sink_over_fn *over, void *ctx);
/* After `over`, or instead of handing anything over. Accepts a zeroed one. */
void sink_release(struct body_sink *sink);

void sink_take(struct body_sink *sink, struct str bytes);
void sink_end(struct body_sink *sink);
void sink_abort(struct body_sink *sink, const struct err *err);

#endif
