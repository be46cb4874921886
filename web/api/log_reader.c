#include "web/api/log_reader.h"

#include "base/mem.h"
#include "tracker/logs/log_lines.h"
#include "tracker/run_state.h"
#include "web/app.h"
#include "web/http/http_reply.h"

enum { PAGE = 1024 * 1024, OUT_MAX = 64 * 1024 * 1024, LOOK_AGAIN_MS = 1000, READERS_MAX = 256 };

/* A reader waits for exactly one of: rows, a page, the pool, the client, news of the run. */
enum reader_wait { WAIT_WORK, WAIT_CLIENT, WAIT_NEWS };

struct log_reader {
  struct work work;
  struct log_ask *ask;
  struct web_app *app;
  struct log_watch watch;
  struct loop_timer *timer;
  struct loop_defer wake;
  struct log_lines *lines;    /* NULL: bytes as they are */
  struct buf page, out, kept; /* kept: the last lines of a grep with a tail */
  enum reader_wait wait;
  bool news, is_gone, is_last, is_over,
      is_live; /* is_over: the run, or its attempt; is_live: the stored part has been given, the kept lines are out */
  struct err err;
};

static size_t readers; /* at once */

bool log_ask_streams(struct log_ask *ask, pg_done_fn *done, void *ctx, struct err *err) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  pg_put_uuid(pg_batch_add(&batch, STMT_RUN_STATE), ask->run);
  struct pg_args *args = pg_batch_add(&batch, STMT_LOG_STREAM_INFO);
  pg_put_uuid(args, ask->run);
  pg_put_int(args, ask->attempt ? ask->attempt : ask->wanted_attempt);
  return pg_run_batch(web_app(ask->req)->pg, &batch, 0, done, ctx, err);
}

void log_ask_take(struct log_ask *ask, const struct pg_reply *streams) {
  for (size_t i = 0; i < pg_rows(streams); i++)
    if (pg_int(streams, i, 1) == (int64_t)ask->stream) {
      ask->attempt = (int32_t)pg_int(streams, i, 0);
      ask->end = pg_int(streams, i, 2);
      return;
    }
}

static void step(struct log_reader *r);

static void end(struct log_reader *r, bool complete) {
  struct http_req *req = r->ask->req;
  log_store_unwatch(&r->watch);
  loop_timer_free(r->timer);
  loop_defer_cancel(&r->wake);
  log_lines_free(r->lines);
  buf_release(&r->page);
  buf_release(&r->out);
  buf_release(&r->kept);
  mem_free(r);
  readers--;
  http_req_on_gone(req, NULL, NULL);
  if (complete)
    http_stream_end(req);
  else
    http_stream_abort(req);
}

static void on_wake(void *ctx) {
  step(ctx);
}

static void wake(struct log_reader *r) {
  loop_defer(r->app->loop, &r->wake, on_wake, r);
}

static void on_gone(void *ctx) {
  struct log_reader *r = ctx;
  r->is_gone = true;
  if (r->wait != WAIT_WORK)
    end(r, false);
}

static void on_drained(void *ctx) {
  struct log_reader *r = ctx;
  if (r->wait == WAIT_CLIENT)
    wake(r);
}

static void on_news(void *ctx) {
  struct log_reader *r = ctx;
  r->news = true;
  if (r->wait == WAIT_NEWS)
    wake(r);
}

static void on_timer(void *ctx) {
  on_news(ctx);
}

/* ---- sending ---- */

/* What was read goes out, and the next step follows when the client has taken it. */
static void send(struct log_reader *r) {
  bool holds = r->ask->grep && r->ask->tail >= 0 && !r->is_live;
  if (holds) {
    buf_add_str(&r->kept, buf_str(&r->out));
    buf_reset(&r->out);
    if (r->kept.n > LOG_REPLY_MAX) /* only its end counts */
      buf_drop(&r->kept, r->kept.n - LOG_REPLY_MAX / 2);
  }
  enum http_stream_state state = r->out.fail || r->kept.fail ? STREAM_GONE : http_stream_write(r->ask->req, buf_str(&r->out));
  buf_reset(&r->out);
  if (state == STREAM_GONE) {
    end(r, false);
    return;
  }
  r->wait = WAIT_CLIENT;
  if (state == STREAM_GO)
    wake(r);
}

/* The last lines that matched. */
static void let_go(struct log_reader *r) {
  struct str text = buf_str(&r->kept);
  int64_t lines = r->ask->tail;
  size_t at = text.n;
  if (at && lines > 0)
    for (at--; at > 0 && !(text.p[at - 1] == '\n' && --lines <= 0);)
      at--;
  buf_add_str(&r->out, str_slice(text, at, text.n));
  buf_reset(&r->kept);
  r->is_live = true;
}

/* ---- lines, on the pool ---- */

static void run_lines(struct work *work) {
  struct log_reader *r = CONTAINER_OF(work, struct log_reader, work);
  r->err.code = ERR_NONE;
  bool ok UNUSED = r->is_last ? log_lines_end(r->lines, &r->out, &r->err) : log_lines_feed(r->lines, buf_str(&r->page), &r->out, &r->err);
}

static void on_lines(struct work *work, bool cancelled) {
  struct log_reader *r = CONTAINER_OF(work, struct log_reader, work);
  if (cancelled || r->err.code != ERR_NONE || r->is_gone)
    end(r, false);
  else
    send(r);
}

static void make_lines(struct log_reader *r) {
  struct err err;
  r->work = (struct work){.run = run_lines, .done = on_lines};
  r->wait = WAIT_WORK;
  if (!work_submit(r->app->work, &r->work, &err))
    end(r, false);
}

/* ---- reading ---- */

static void on_page(void *ctx, const struct log_bytes *bytes, const struct err *err) {
  struct log_reader *r = ctx;
  struct log_ask *ask = r->ask;
  if (err || r->is_gone) {
    end(r, false);
    return;
  }
  /* Bytes that are not kept are passed over. */
  ask->from = bytes->bytes.n ? bytes->next : MIN_OF(ask->end, ask->from + PAGE);
  buf_reset(r->lines ? &r->page : &r->out);
  buf_add_str(r->lines ? &r->page : &r->out, bytes->bytes);
  if (r->lines)
    make_lines(r);
  else
    send(r);
}

static void on_looked(void *ctx, const struct pg_reply *reply) {
  struct log_reader *r = ctx;
  struct err err;
  if (!pg_ok(reply, &err) || r->is_gone || !pg_rows(pg_nth(reply, 0))) {
    end(r, false);
    return;
  }
  log_ask_take(r->ask, pg_nth(reply, 1));
  const struct pg_reply *run = pg_nth(reply, 0);
  int64_t followed = r->ask->attempt ? r->ask->attempt : r->ask->wanted_attempt;
  r->is_over = run_state_is_final(pg_int(run, 0, 0)) || (followed && pg_int(run, 0, 1) > followed);
  r->wait = WAIT_CLIENT;
  if (r->ask->from < r->ask->end || r->is_over) {
    step(r);
  } else if (r->news) { /* more came while we looked */
    wake(r);
  } else {
    r->wait = WAIT_NEWS;
    loop_timer_start(r->timer, LOOK_AGAIN_MS);
  }
}

/* Nothing more is stored now. */
static void at_the_end(struct log_reader *r) {
  struct err err;
  if (r->ask->grep && r->ask->tail >= 0 && !r->is_live) {
    if (!r->ask->follow && !r->is_last) { /* a last line without an end counts among them */
      r->is_last = true;
      make_lines(r);
      return;
    }
    let_go(r);
    send(r);
    return;
  }
  if (!r->ask->follow || r->is_over) {
    if (r->is_last || !r->lines) {
      end(r, true);
      return;
    }
    r->is_last = true;
    make_lines(r);
    return;
  }
  r->news = false;
  r->wait = WAIT_WORK;
  if (!log_ask_streams(r->ask, on_looked, r, &err))
    end(r, false);
}

static void step(struct log_reader *r) {
  struct log_ask *ask = r->ask;
  struct err err;
  loop_timer_stop(r->timer);
  if (r->is_gone) {
    end(r, false);
    return;
  }
  if (ask->from >= ask->end || !ask->attempt) {
    at_the_end(r);
    return;
  }
  r->wait = WAIT_WORK;
  if (!log_store_read(r->app->logs, ask->run, ask->attempt, ask->stream, ask->from, ask->end, PAGE, on_page, r, &err))
    end(r, false);
}

bool log_reader_start(struct log_ask *ask, struct err *err) {
  if (readers >= READERS_MAX)
    return err_set(err, ERR_OVERLOADED, "too many logs are being followed or searched");
  struct log_reader *r = mem_zalloc(sizeof *r);
  if (!r)
    return err_no_memory(err);
  *r = (struct log_reader){.ask = ask,
                           .app = web_app(ask->req),
                           .page = BUF_INIT(2 * PAGE),
                           .out = BUF_INIT(OUT_MAX),
                           .kept = BUF_INIT(OUT_MAX),
                           .watch = {.run = ask->run, .fn = on_news, .ctx = r}};
  r->timer = loop_timer_new(r->app->loop, on_timer, r);
  r->lines = ask->grep || ask->plain ? log_lines_new(ask->grep, err) : NULL;
  if (!r->timer || ((ask->grep || ask->plain) && !r->lines)) {
    bool ok = r->timer ? false : err_no_memory(err);
    loop_timer_free(r->timer);
    log_lines_free(r->lines);
    mem_free(r);
    return ok;
  }
  readers++;
  log_store_watch(r->app->logs, &r->watch);
  http_req_on_gone(ask->req, on_gone, r);
  http_stream_begin(ask->req, 200, "text/plain; charset=utf-8", on_drained, r);
  wake(r);
  return true;
}
