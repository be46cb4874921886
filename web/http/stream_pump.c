#include "web/http/stream_pump.h"

enum { OUT_MAX = 16 * 1024 * 1024 };

static void next_piece(void *ctx);

/* Who left while nothing was being made is noticed here; else when the piece is written. */
static void on_gone(void *ctx) {
  struct stream_pump *pump = ctx;
  if (pump->working || !pump->over)
    return;
  err_set(&pump->err, ERR_CANCELLED, "the client has left");
  pump->over(pump->ctx, &pump->err);
}

void pump_begin(struct stream_pump *pump, struct http_req *req, struct work_pool *work, const char *content_type, void *ctx) {
  *pump = (struct stream_pump){.req = req, .work = work, .ctx = ctx, .out = BUF_INIT(OUT_MAX)};
  http_req_on_gone(req, on_gone, pump);
  http_stream_begin(req, 200, content_type, next_piece, pump);
}

void pump_release(struct stream_pump *pump) {
  if (pump->req)
    http_req_on_gone(pump->req, NULL, NULL);
  buf_release(&pump->out);
}

static void run(struct work *work) {
  struct stream_pump *pump = CONTAINER_OF(work, struct stream_pump, item);
  pump->err.code = ERR_NONE;
  if (!pump->fill(pump->ctx, &pump->out, &pump->more, &pump->err) && pump->err.code == ERR_NONE)
    err_set(&pump->err, ERR_INTERNAL, "a piece could not be made");
}

static void made(struct work *work, bool cancelled) {
  struct stream_pump *pump = CONTAINER_OF(work, struct stream_pump, item);
  pump->working = false;
  if (cancelled)
    err_set(&pump->err, ERR_UNAVAILABLE, "the service is stopping");
  if (pump->err.code != ERR_NONE) {
    pump->over(pump->ctx, &pump->err);
    return;
  }
  enum http_stream_state state = http_stream_write(pump->req, buf_str(&pump->out));
  buf_reset(&pump->out);
  if (state == STREAM_GONE) {
    err_set(&pump->err, ERR_CANCELLED, "the client has left");
    pump->over(pump->ctx, &pump->err);
  } else if (state == STREAM_GO) {
    next_piece(pump);
  }
}

static bool submit(struct stream_pump *pump, struct err *err) {
  pump->item = (struct work){.run = run, .done = made};
  pump->working = work_submit(pump->work, &pump->item, err);
  return pump->working;
}

/* Also when the client has taken the last piece. */
static void next_piece(void *ctx) {
  struct stream_pump *pump = ctx;
  if (!pump->more)
    pump->over(pump->ctx, NULL);
  else if (!submit(pump, &pump->err))
    pump->over(pump->ctx, &pump->err);
}

bool pump_go(struct stream_pump *pump, pump_fill_fn *fill, pump_over_fn *over, struct err *err) {
  pump->fill = fill;
  pump->over = over;
  pump->more = true;
  return submit(pump, err);
}
