#include "web/walk_reply.h"

static void release(struct walk_reply *reply) {
  metric_walk_free(reply->walk);
  reply->walk = NULL;
  if (reply->ended)
    reply->ended(reply->ctx);
}

static void end(struct walk_reply *reply, bool complete) {
  http_req_on_gone(reply->req, NULL, NULL);
  release(reply);
  if (complete)
    http_stream_end(reply->req);
  else
    http_stream_abort(reply->req);
}

static void fail(struct walk_reply *reply, const struct err *err) {
  if (reply->begun) {
    end(reply, false);
    return;
  }
  release(reply);
  http_reply_error(reply->req, err);
}

/* Who left while a slow reader was waited for; else the next page tells. */
static void on_gone(void *ctx) {
  struct walk_reply *reply = ctx;
  if (!reply->reading)
    end(reply, false);
}

static void next_page(struct walk_reply *reply);

static void on_drained(void *ctx) {
  next_page(ctx);
}

static void begin(struct walk_reply *reply) {
  reply->begun = true;
  http_req_on_gone(reply->req, on_gone, reply);
  http_stream_begin(reply->req, 200, reply->content_type, on_drained, reply);
  http_stream_write(reply->req, str_of(reply->head));
}

static enum http_stream_state write_points(struct walk_reply *reply, struct str text) {
  bool first = text.n && !reply->any;
  reply->any |= first;
  return http_stream_write(reply->req, first && reply->commas ? str_slice(text, 1, text.n) : text);
}

static void on_page(void *ctx, struct str text, bool more, const struct err *err) {
  struct walk_reply *reply = ctx;
  reply->reading = false;
  if (err) {
    fail(reply, err);
    return;
  }
  if (!reply->begun)
    begin(reply);
  enum http_stream_state state = write_points(reply, text);
  if (!more) {
    metric_walk_free(reply->walk);
    reply->walk = NULL;
  }
  if (state == STREAM_GONE)
    end(reply, false);
  else if (state == STREAM_GO)
    next_page(reply);
  else if (reply->walk)
    metric_walk_rest(reply->walk); /* who reads slowly costs what is on its way, no more */
}

static void next_page(struct walk_reply *reply) {
  struct err err;
  if (!reply->walk && !reply->next(reply->ctx, &reply->walk, &err)) {
    fail(reply, &err);
    return;
  }
  if (!reply->walk) {
    http_stream_write(reply->req, str_of(reply->tail));
    end(reply, true);
    return;
  }
  reply->reading = true;
  if (!metric_walk_next(reply->walk, on_page, reply, &err)) {
    reply->reading = false;
    fail(reply, &err);
  }
}

void walk_reply_start(struct walk_reply *reply) {
  next_page(reply);
}
