/* A streamed answer whose bytes are made on the work pool, a piece at a time: read, compressed, hashed. The next piece is made when the
 * client has taken the one before. */
#ifndef WINNOW_WEB_STREAM_PUMP_H
#define WINNOW_WEB_STREAM_PUMP_H

#include "base/work.h"
#include "web/http/http_reply.h"

/* On a thread. Adds to `out`, about PUMP_PIECE bytes; *ret_more false: that was all. False: *err says why. */
typedef bool pump_fill_fn(void *ctx, struct buf *out, bool *ret_more, struct err *err);
/* On the loop, once for each go: all has been written (err NULL), or it broke off (ERR_CANCELLED: the client has left). The answer is still
 * to be ended, or the pump to be set going again. */
typedef void pump_over_fn(void *ctx, const struct err *err);

enum { PUMP_PIECE = 256 * 1024 };

struct stream_pump {
  struct http_req *req;
  struct work_pool *work;
  void *ctx;
  pump_fill_fn *fill;
  pump_over_fn *over;
  struct work item;
  struct buf out;
  struct err err;
  bool more, working;
};

/* Begins the answer. */
void pump_begin(struct stream_pump *pump, struct http_req *req, struct work_pool *work, const char *content_type, void *ctx);
/* Never calls `over` before it has returned. */
MUST_CHECK bool pump_go(struct stream_pump *pump, pump_fill_fn *fill, pump_over_fn *over, struct err *err);
/* Between goes. */
void pump_release(struct stream_pump *pump);

#endif
