#include "storage/pg/pq.h"

#include "storage/pg/pg_listen.h"

#include "base/mem.h"
#include "storage/pg/pg_link.h"

enum { BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 2000, LISTEN_MS = 10000 };

struct pg_listener {
  struct loop *loop;
  struct pg_target target;
  struct pg_link link;
  struct loop_timer *timer; /* to connect again, or the end of waiting for the answer to LISTEN */
  struct loop_defer release;
  struct rng rng;
  struct buf sql; /* "listen a; listen b" */
  unsigned failures;
  bool listening;
  bool freed;
  pg_notify_fn *on_notify;
  pg_missed_fn *on_missed;
  void *ctx;
};

static void listener_release(void *ctx) {
  struct pg_listener *listener = ctx;
  if (listener->link.timer)
    pg_link_release(&listener->link);
  loop_timer_free(listener->timer);
  pg_target_release(&listener->target);
  buf_release(&listener->sql);
  mem_free(listener);
}

static void connect_later(struct pg_listener *listener) {
  int64_t delay = MIN_OF((int64_t)BACKOFF_MIN_MS << MIN_OF(listener->failures, 8u), (int64_t)BACKOFF_MAX_MS);
  listener->failures++;
  loop_timer_start(listener->timer, delay / 2 + (int64_t)rng_below(&listener->rng, (uint64_t)delay / 2 + 1));
}

static void on_down(void *ctx, struct pg_link *link UNUSED, const struct err *reason UNUSED) {
  struct pg_listener *listener = ctx;
  listener->listening = false;
  if (!listener->freed)
    connect_later(listener);
}

static void on_up(void *ctx, struct pg_link *link) {
  struct pg_listener *listener = ctx;
  if (!pg_link_set_raw(link, true) || !link->pq->send_query(link->pg, buf_text(&listener->sql))) {
    pg_link_fail(link, ERR_UNAVAILABLE, "cannot listen");
    return;
  }
  loop_timer_start(listener->timer, LISTEN_MS);
  pg_link_flush(link);
}

static void on_timer(void *ctx) {
  struct pg_listener *listener = ctx;
  struct err err;
  if (listener->link.state == LINK_UP)
    pg_link_fail(&listener->link, ERR_UNAVAILABLE, "the database does not answer");
  else if (listener->link.state == LINK_DOWN && !pg_link_connect(&listener->link, &listener->target, 0, &err))
    connect_later(listener);
}

/* The answers to the LISTENs; the last NULL says that all of them hold. False when one was refused. */
static bool take_answers(struct pg_listener *listener) {
  struct pg_link *link = &listener->link;
  while (!listener->listening && !link->pq->is_busy(link->pg)) {
    PGresult *result = link->pq->get_result(link->pg);
    ExecStatusType status = PQresultStatus(result);
    PQclear(result);
    if (!result) {
      loop_timer_stop(listener->timer);
      listener->listening = true;
      listener->failures = 0;
      listener->on_missed(listener->ctx);
    } else if (status != PGRES_COMMAND_OK)
      return false;
  }
  return true;
}

static void on_raw(void *ctx, struct pg_link *link) {
  struct pg_listener *listener = ctx;
  if (!take_answers(listener)) {
    pg_link_fail(link, ERR_UNAVAILABLE, "the database refused to listen");
    return;
  }
  /* is_busy() is what makes libpq look at its input. */
  while (listener->listening && !listener->freed && link->state == LINK_UP) {
    if (link->pq->is_busy(link->pg))
      return;
    PGnotify *notify = link->pq->notifies(link->pg);
    if (!notify)
      return;
    listener->on_notify(listener->ctx, str_of(notify->relname), str_of(notify->extra));
    PQfreemem(notify);
  }
}

static const struct link_events events = {.on_up = on_up, .on_down = on_down, .on_raw = on_raw};

static bool is_word(const char *text) {
  size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
  return n > 0 && n < 64 && !text[n] && (text[0] < '0' || text[0] > '9');
}

static bool write_sql(struct pg_listener *listener, const char *const *channels, struct err *err) {
  size_t count = 0;
  for (; channels[count]; count++) {
    if (count == PG_CHANNELS_MAX || !is_word(channels[count]))
      return err_set(err, ERR_INTERNAL, "\"%s\" is no channel, or there are too many", channels[count]);
    buf_printf(&listener->sql, "listen %s;", channels[count]); /* LISTEN takes no parameters */
  }
  return buf_ok(&listener->sql, err) && (count || err_set(err, ERR_INTERNAL, "no channel to listen to"));
}

struct pg_listener *pg_listener_new(struct loop *loop, const char *conninfo, const char *const *channels, struct rng rng,
                                    const struct pq_api *pq, pg_notify_fn *on_notify, pg_missed_fn *on_missed, void *ctx, struct err *err) {
  struct pg_listener *listener = mem_zalloc(sizeof *listener);
  if (!listener) {
    err_no_memory(err);
    return NULL;
  }
  *listener = (struct pg_listener){.loop = loop,
                                   .rng = rng,
                                   .sql = BUF_INIT(4 * KIB),
                                   .on_notify = on_notify,
                                   .on_missed = on_missed,
                                   .ctx = ctx,
                                   .timer = loop_timer_new(loop, on_timer, listener)};
  if ((listener->timer || err_no_memory(err)) && write_sql(listener, channels, err) &&
      pg_target_init(&listener->target, conninfo, 0, err) && pg_link_init(&listener->link, loop, pq, &events, listener, err)) {
    loop_timer_start(listener->timer, 0);
    return listener;
  }
  listener_release(listener);
  return NULL;
}

bool pg_listener_is_up(const struct pg_listener *listener) {
  return listener->listening;
}

void pg_listener_free(struct pg_listener *listener) {
  if (!listener || listener->freed)
    return;
  listener->freed = true;
  loop_timer_stop(listener->timer);
  pg_link_close(&listener->link);
  loop_defer(listener->loop, &listener->release, listener_release, listener);
}
