#include "web/http/body_sink.h"

void sink_begin(struct body_sink *sink, struct http_req *req, struct work_pool *work, sink_use_fn *use, sink_over_fn *over, void *ctx) {
  *sink = (struct body_sink){.req = req, .work = work, .use = use, .over = over, .ctx = ctx};
  sink->piece = sink->next = BUF_INIT(SINK_MAX);
}

void sink_release(struct body_sink *sink) {
  buf_release(&sink->piece);
  buf_release(&sink->next);
}

/* The last thing done with it. */
static void tell(struct body_sink *sink) {
  bool ok = sink->err.code == ERR_NONE;
  sink->over(sink->ctx, ok ? buf_str(&sink->next) : STR_NONE, ok ? NULL : &sink->err);
}

static void use_piece(struct work *work) {
  struct body_sink *sink = CONTAINER_OF(work, struct body_sink, item);
  if (!sink->use(sink->ctx, buf_str(&sink->piece), &sink->use_err) && sink->use_err.code == ERR_NONE)
    err_set(&sink->use_err, ERR_INTERNAL, "a piece could not be used");
}

static void used(struct work *work, bool cancelled);

/* What was gathered becomes the piece. */
static bool start(struct body_sink *sink, struct err *err) {
  struct buf empty = sink->piece;
  buf_reset(&empty);
  sink->piece = sink->next;
  sink->next = empty;
  sink->use_err.code = ERR_NONE;
  sink->item = (struct work){.run = use_piece, .done = used};
  sink->working = work_submit(sink->work, &sink->item, err);
  return sink->working;
}

static void used(struct work *work, bool cancelled) {
  struct body_sink *sink = CONTAINER_OF(work, struct body_sink, item);
  bool waits = sink->next.n >= SINK_PIECE;
  sink->working = false;
  if (cancelled)
    err_set(&sink->use_err, ERR_UNAVAILABLE, "the service is stopping");
  if (sink->err.code == ERR_NONE && sink->use_err.code != ERR_NONE)
    sink->err = sink->use_err;
  if (sink->ended || sink->err.code != ERR_NONE || (waits && !start(sink, &sink->err)))
    tell(sink);
  else if (waits)
    http_req_resume_body(sink->req);
}

void sink_take(struct body_sink *sink, struct str bytes) {
  buf_add_str(&sink->next, bytes);
  bool ok = buf_ok(&sink->next, &sink->err);
  bool full = sink->next.n >= SINK_PIECE;
  if (ok && full && sink->working)
    http_req_pause_body(sink->req);
  else if (ok && full)
    ok = start(sink, &sink->err);
  if (!ok && !sink->working)
    tell(sink);
}

void sink_end(struct body_sink *sink) {
  sink->ended = true;
  if (!sink->working)
    tell(sink);
}

void sink_abort(struct body_sink *sink, const struct err *err) {
  sink->err = *err;
  sink_end(sink);
}
