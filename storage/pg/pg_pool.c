/* The pool: a queue with a ceiling, dealt to connections in pipeline mode at the end of the turn. */
#include "storage/pg/pq.h"

#include "storage/pg/pg_inside.h"

#include "base/log.h"
#include "base/mem.h"

enum {
  TICK_MS = 100, /* how often deadlines are looked at */
  SAME_CRASH_MS = 300,
  TRIES_MAX = 4, /* of a statement that the server asked to repeat, or whose connection died */
  BACKOFF_MIN_MS = 100,
  BACKOFF_MAX_MS = 2000,
  WARM = 4,     /* connections opened before they are needed */
  SLOW_MS = 50, /* behind a statement that runs longer than this nothing is put while another connection is free */
};

struct pg_pool_conf pg_pool_conf_default(void) {
  return (struct pg_pool_conf){
      .connections = 32, /* commits are grouped by the server across connections, so many make durable writes fast */
      .depth = 64,
      .sessions = 6,
      .queue_max = 20000,
      .queue_bytes_max = 256 * MIB,
      .timeout_ms = 30000,
      .away_ms = 5000, /* a private Postgres that died is back sooner */
      .first_ms = 5000,
      .rng = rng_seeded(1),
  };
}

/* ---- callbacks ---- */

void pg_pool_enter(struct pg_pool *pool) {
  pool->callbacks++;
}

void pg_pool_leave(struct pg_pool *pool) {
  pool->callbacks--;
}

void pg_pool_count(struct pg_pool *pool, enum pg_outcome outcome) {
  uint64_t *const counters[] = {
      [PG_DONE] = &pool->stats.done,           [PG_REJECTED] = &pool->stats.rejected, [PG_RETRYABLE] = &pool->stats.rejected,
      [PG_CANCELLED] = &pool->stats.cancelled, [PG_UNKNOWN] = &pool->stats.unknown,
  };
  ++*counters[outcome];
}

static bool is_idle(const struct pg_pool *pool) {
  return !pool->queue.count && !pool->finished.count && !pool->stats.in_flight && !pool->jobs_waiting.count && !pool->jobs_running.count;
}

static void on_drained(void *ctx) {
  struct pg_pool *pool = ctx;
  loop_fn *fn = pool->on_drained;
  if (!fn || !is_idle(pool))
    return;
  pool->on_drained = NULL;
  fn(pool->on_drained_ctx);
}

void pg_pool_check_drained(struct pg_pool *pool) {
  if (pool->draining && !pool->stopped && is_idle(pool))
    loop_defer(pool->loop, &pool->drained, on_drained, pool);
}

static void deliver(void *ctx) {
  struct pg_pool *pool = ctx;
  pg_pool_enter(pool);
  for (struct list_node *node; (node = list_pop_front(&pool->finished));) {
    struct pg_op *op = LIST_ENTRY(node, struct pg_op, node);
    pg_pool_count(pool, op->outcome);
    if (op->failure.err.code == ERR_NO_SPACE)
      pool->stats.no_space_ms = loop_now_ms(pool->loop);
    pg_op_finish(op);
  }
  pg_pool_leave(pool);
  pg_pool_check_drained(pool);
}

void pg_pool_finish_op(struct pg_pool *pool, struct pg_op *op) {
  if (op->maybe_done && (op->outcome == PG_CANCELLED || op->outcome == PG_RETRYABLE)) {
    op->outcome = PG_UNKNOWN;
    pg_unknown_err(&op->failure.err);
  }
  list_push_back(&pool->finished, &op->node);
  loop_defer(pool->loop, &pool->deliver, deliver, pool);
}

void pg_tell_failure(struct pg_pool *pool, pg_done_fn *done, void *ctx, enum pg_outcome outcome, const struct pg_failure *failure) {
  struct pg_reply reply = {.outcome = outcome, .failure = failure};
  pg_pool_count(pool, outcome);
  pg_pool_enter(pool);
  done(ctx, &reply);
  pg_pool_leave(pool);
}

/* ---- the queue ---- */

bool pg_pool_admits(struct pg_pool *pool, size_t bytes, struct err *err) {
  if (pool->stopped || (pool->draining && !pool->callbacks))
    return err_set(err, ERR_UNAVAILABLE, "the service is stopping");
  if (pool->queue.count + pool->jobs_waiting.count >= pool->conf.queue_max)
    return err_set(err, ERR_OVERLOADED, "%zu statements are waiting for the database already", pool->conf.queue_max);
  if (bytes > pool->conf.queue_bytes_max - MIN_OF(pool->stats.waiting_bytes, pool->conf.queue_bytes_max))
    return err_set(err, ERR_OVERLOADED, "statements of %zu bytes are waiting for the database already", pool->stats.waiting_bytes);
  return true;
}

int64_t pg_pool_deadline(const struct pg_pool *pool, int64_t timeout_ms) {
  int64_t deadline;
  if (timeout_ms <= 0)
    timeout_ms = pool->conf.timeout_ms;
  return __builtin_add_overflow(loop_now_ms(pool->loop), timeout_ms, &deadline) ? INT64_MAX : deadline;
}

bool pg_pool_is_late(const struct pg_pool *pool, int64_t since_ms, int64_t deadline_ms) {
  int64_t now = loop_now_ms(pool->loop), patience = pool->was_up ? pool->conf.away_ms : pool->conf.first_ms;
  return deadline_ms <= now || (!pool->stats.connections_up && now - MAX_OF(since_ms, pool->away_since_ms) >= patience);
}

static void deal(void *ctx);

static void enqueue(struct pg_pool *pool, struct pg_op *op, bool first) {
  if (first)
    list_push_front(&pool->queue, &op->node);
  else
    list_push_back(&pool->queue, &op->node);
  pool->stats.waiting_bytes += op->bytes;
  loop_defer(pool->loop, &pool->deal, deal, pool);
  pg_pool_tick_on(pool);
}

static void dequeue(struct pg_pool *pool, struct pg_op *op) {
  list_remove(&op->node);
  pool->stats.waiting_bytes -= op->bytes;
}

static bool submit(struct pg_pool *pool, struct pg_op *op, int64_t timeout_ms, struct err *err) {
  if (!op)
    return false;
  if (!pg_pool_admits(pool, op->bytes, err)) {
    pg_op_free(op);
    return false;
  }
  op->since_ms = loop_now_ms(pool->loop);
  op->deadline_ms = pg_pool_deadline(pool, timeout_ms);
  enqueue(pool, op, false);
  return true;
}

bool pg_run(struct pg_pool *pool, struct pg_args *args, int64_t timeout_ms, pg_done_fn *done, void *ctx, struct err *err) {
  return submit(pool, pg_op_new(args, done, ctx, err), timeout_ms, err);
}

bool pg_run_batch(struct pg_pool *pool, struct pg_batch *batch, int64_t timeout_ms, pg_done_fn *done, void *ctx, struct err *err) {
  return submit(pool, pg_op_new_batch(batch, done, ctx, err), timeout_ms, err);
}

/* ---- dealing ---- */

/* The connection with the least to do. One whose first statement has been running for long counts as full of work. */
static struct pg_slot *choose(struct pg_pool *pool) {
  struct pg_slot *best = NULL;
  size_t best_load = pool->conf.depth;
  int64_t now = loop_now_ms(pool->loop);
  for (unsigned i = 0; i < pool->conf.connections; i++) {
    struct pg_slot *slot = &pool->slots[i];
    size_t load = slot->link.flight.count;
    if (slot->link.state != LINK_UP || load >= pool->conf.depth)
      continue;
    if (load && now - slot->link.head_since_ms > SLOW_MS)
      load = pool->conf.depth - 1;
    if (!best || load < best_load) {
      best = slot;
      best_load = load;
    }
  }
  return best;
}

/* All connections have work: one more is opened, if there may be one. */
static void connect_one(struct pg_pool *pool) {
  if (loop_now_ms(pool->loop) < pool->grow_after_ms)
    return;
  for (unsigned i = 0; i < pool->conf.connections; i++)
    if (pool->slots[i].link.state == LINK_DOWN && !loop_timer_is_on(pool->slots[i].retry)) {
      loop_timer_start(pool->slots[i].retry, 0);
      return;
    }
}

/* Without its sync it cannot have happened. One that never can be sent must not take down one connection after the other. */
static void send_failed(struct pg_pool *pool, struct pg_op *op) {
  if (++op->tries < TRIES_MAX) {
    enqueue(pool, op, true);
    return;
  }
  struct err err;
  err_set(&err, ERR_UNAVAILABLE, "the statement could not be sent to the database");
  pg_op_fail(op, PG_RETRYABLE, &err);
  pg_pool_finish_op(pool, op);
}

/* If other connections have died with this one, the next turn sees it: no statement is to find that out one by one. */
static void rest_a_turn(struct pg_pool *pool) {
  pool->rests = true;
  loop_timer_start(pool->tick, 0);
}

static void deal(void *ctx) {
  struct pg_pool *pool = ctx;
  if (pool->stopped || pool->rests)
    return;
  while (pool->queue.first) {
    struct pg_slot *slot = choose(pool);
    if (pool->stats.connections_up && (!slot || slot->link.flight.count))
      connect_one(pool);
    if (!slot)
      break;
    struct pg_op *op = LIST_ENTRY(pool->queue.first, struct pg_op, node);
    dequeue(pool, op);
    if (pg_link_send(&slot->link, op)) {
      pool->stats.in_flight++;
    } else {
      send_failed(pool, op);
      pg_link_fail(&slot->link, ERR_UNAVAILABLE, "a statement could not be sent to the database");
      rest_a_turn(pool);
      break;
    }
  }
  for (unsigned i = 0; i < pool->conf.connections; i++)
    if (pool->slots[i].link.state == LINK_UP && pool->slots[i].link.out_pending)
      pg_link_flush(&pool->slots[i].link);
}

/* ---- what the connections say ---- */

static bool may_try_again(const struct pg_pool *pool, const struct pg_op *op) {
  return op->tries < TRIES_MAX && loop_now_ms(pool->loop) < op->deadline_ms && !pool->stopped;
}

static void try_again(struct pg_pool *pool, struct pg_op *op, bool first) {
  pg_op_rewind(op);
  pool->stats.retried++;
  enqueue(pool, op, first);
}

static void on_slot_op(void *ctx, struct pg_link *link UNUSED, struct pg_op *op) {
  struct pg_pool *pool = ((struct pg_slot *)ctx)->pool;
  pool->stats.in_flight--;
  if (op->outcome == PG_RETRYABLE && pg_sqlstate_is_transient(op->failure.sqlstate) && may_try_again(pool, op))
    try_again(pool, op, false);
  else
    pg_pool_finish_op(pool, op);
  if (pool->queue.first)
    loop_defer(pool->loop, &pool->deal, deal, pool);
}

/* What was in flight when the connection died: refused before it is refused; the repeatable is sent again; of the rest nobody knows. */
static void settle_flight(struct pg_pool *pool, struct pg_link *link) {
  /* When the server crashes its connections die one after the other, and what was sent again on the next one dies with that: one try. */
  bool same_crash = pool->crash_ms && loop_now_ms(pool->loop) - pool->crash_ms < SAME_CRASH_MS;
  if (!same_crash)
    pool->crash_ms = loop_now_ms(pool->loop);
  while (link->flight.last) { /* from the end, so that what goes back to the queue's front keeps its order */
    struct pg_op *op = LIST_ENTRY(link->flight.last, struct pg_op, node);
    list_remove(&op->node);
    if (same_crash && op->tries)
      op->tries--;
    pool->stats.in_flight--;
    bool unsettled = op->outcome == PG_DONE || op->outcome == PG_UNKNOWN;
    op->maybe_done = op->maybe_done || unsettled;
    if (unsettled && op->repeatable && may_try_again(pool, op)) {
      try_again(pool, op, true);
      continue;
    }
    if (unsettled) {
      op->outcome = PG_UNKNOWN;
      pg_unknown_err(&op->failure.err);
    }
    pg_pool_finish_op(pool, op);
  }
}

static void tell_state(struct pg_pool *pool, bool up) {
  if (pool->told && pool->told_up == up)
    return;
  pool->told = true;
  pool->told_up = up;
  if (pool->stopped)
    return;
  if (up)
    log_info("storage", NULL, "the database is up");
  else
    log_warn("storage", NULL, "the database is away: %s", pool->away.text);
  static const struct err none;
  if (pool->on_state)
    pool->on_state(pool->on_state_ctx, up, up ? &none : &pool->away);
}

static void connect_slot(void *ctx);

static void connect_first(struct pg_pool *pool) {
  for (unsigned i = 0; i < MIN_OF(pool->conf.connections, (unsigned)WARM); i++)
    if (pool->slots[i].link.state == LINK_DOWN && !loop_timer_is_on(pool->slots[i].retry))
      connect_slot(&pool->slots[i]);
}

static void on_slot_up(void *ctx, struct pg_link *link UNUSED) {
  struct pg_slot *slot = ctx;
  struct pg_pool *pool = slot->pool;
  slot->failures = 0;
  pool->was_up = true;
  if (pool->stats.connections_up++ == 0) {
    connect_first(pool);
    tell_state(pool, true);
    pg_sessions_pump(pool);
  }
  if (pool->queue.first)
    loop_defer(pool->loop, &pool->deal, deal, pool);
}

/* While the database is away only the first connection tries; the others follow once it is up, and the rest when they are needed. */
static void retry_later(struct pg_slot *slot) {
  struct pg_pool *pool = slot->pool;
  if (pool->stopped || (pool->stats.connections_up == 0 && slot != &pool->slots[0]) || slot - pool->slots >= WARM)
    return;
  int64_t delay = MIN_OF((int64_t)BACKOFF_MIN_MS << MIN_OF(slot->failures, 10u), (int64_t)BACKOFF_MAX_MS);
  slot->failures++;
  loop_timer_start(slot->retry, delay / 2 + (int64_t)rng_below(&pool->conf.rng, (uint64_t)delay / 2 + 1));
}

static void on_slot_down(void *ctx, struct pg_link *link, const struct err *reason) {
  struct pg_slot *slot = ctx;
  struct pg_pool *pool = slot->pool;
  unsigned up = 0;
  for (unsigned i = 0; i < pool->conf.connections; i++)
    up += pool->slots[i].link.state == LINK_UP;
  bool was_up = up < pool->stats.connections_up;
  pool->stats.connections_up = up;
  pool->stats.reconnects += was_up;
  if (!was_up)
    pool->grow_after_ms = loop_now_ms(pool->loop) + BACKOFF_MAX_MS; /* too many connections, perhaps */
  pool->away = *reason;
  if (was_up && up == 0)
    pool->away_since_ms = loop_now_ms(pool->loop);
  settle_flight(pool, link);
  if (up == 0)
    tell_state(pool, false);
  retry_later(slot);
  if (up == 0 && pool->slots[0].link.state == LINK_DOWN && !loop_timer_is_on(pool->slots[0].retry))
    retry_later(&pool->slots[0]);
}

static const struct link_events slot_events = {.on_up = on_slot_up, .on_down = on_slot_down, .on_op = on_slot_op};

static void connect_slot(void *ctx) {
  struct pg_slot *slot = ctx;
  struct err err;
  if (slot->pool->stopped || slot->link.state != LINK_DOWN)
    return;
  if (!pg_link_connect(&slot->link, &slot->pool->target, slot->pool->conf.timeout_ms, &err))
    on_slot_down(slot, &slot->link, &err);
}

/* ---- deadlines ---- */

void pg_pool_tick_on(struct pg_pool *pool) {
  if (!loop_timer_is_on(pool->tick))
    loop_timer_start(pool->tick, TICK_MS);
}

static void expire(struct pg_pool *pool, struct pg_op *op) {
  dequeue(pool, op);
  struct err err;
  if (pool->stats.connections_up)
    err_set(&err, ERR_DEADLINE, "the database had no time for the statement");
  else
    err_set(&err, ERR_UNAVAILABLE, "the database is away: %s",
            pool->started && pool->away.text[0] ? pool->away.text : "it is being started");
  pg_op_fail(op, PG_CANCELLED, &err);
  pg_pool_finish_op(pool, op);
}

static void on_tick(void *ctx) {
  struct pg_pool *pool = ctx;
  int64_t now = loop_now_ms(pool->loop);
  pool->rests = false;
  LIST_EACH(&pool->queue, node) {
    struct pg_op *op = LIST_ENTRY(node, struct pg_op, node);
    if (pg_pool_is_late(pool, op->since_ms, op->deadline_ms))
      expire(pool, op);
  }
  for (unsigned i = 0; i < pool->conf.connections; i++)
    if (pg_link_is_stuck(&pool->slots[i].link, now))
      pg_link_fail(&pool->slots[i].link, ERR_UNAVAILABLE, "the database does not answer");
  pg_sessions_tick(pool);
  if (pool->queue.first)
    loop_defer(pool->loop, &pool->deal, deal, pool);
  if (!is_idle(pool))
    pg_pool_tick_on(pool);
}

/* ---- life ---- */

static void pool_release(struct pg_pool *pool) {
  for (unsigned i = 0; pool->slots && i < pool->conf.connections; i++) {
    pg_link_release(&pool->slots[i].link);
    loop_timer_free(pool->slots[i].retry);
  }
  mem_free(pool->slots);
  loop_timer_free(pool->tick);
  pg_target_release(&pool->target);
  pg_target_release(&pool->session_target);
  mem_free(pool);
}

static bool slot_init(struct pg_slot *slot, struct pg_pool *pool, struct err *err) {
  slot->pool = pool;
  if (!pg_link_init(&slot->link, pool->loop, pool->conf.pq, &slot_events, slot, err))
    return false;
  slot->retry = loop_timer_new(pool->loop, connect_slot, slot);
  return slot->retry || err_no_memory(err);
}

struct pg_pool *pg_pool_new(struct loop *loop, const struct pg_pool_conf *conf, struct err *err) {
  if (!conf->connections || conf->connections > 1000 || !conf->depth || !conf->sessions) {
    err_set(err, ERR_INVALID, "a pool needs 1 to 1000 connections, at least 1 session and a depth");
    return NULL;
  }
  struct pg_pool *pool = mem_zalloc(sizeof *pool);
  if (!pool) {
    err_no_memory(err);
    return NULL;
  }
  pool->loop = loop;
  pool->conf = *conf;
  pool->away_since_ms = loop_now_ms(loop);
  pool->slots = mem_array(conf->connections, sizeof *pool->slots);
  pool->tick = loop_timer_new(loop, on_tick, pool);
  bool ok = (pool->slots && pool->tick) || err_no_memory(err);
  for (unsigned i = 0; ok && i < conf->connections; i++)
    ok = slot_init(&pool->slots[i], pool, err);
  if (ok)
    return pool;
  pool_release(pool);
  return NULL;
}

void pg_pool_on_state(struct pg_pool *pool, pg_state_fn *fn, void *ctx) {
  pool->on_state = fn;
  pool->on_state_ctx = ctx;
}

bool pg_pool_start(struct pg_pool *pool, const char *conninfo, struct err *err) {
  if (pool->started)
    return err_set(err, ERR_INTERNAL, "the pool has been started already");
  if (!pg_target_init(&pool->target, conninfo, pool->conf.timeout_ms, err) || !pg_target_init(&pool->session_target, conninfo, 0, err))
    return false;
  pool->started = true;
  loop_timer_start(pool->slots[0].retry, 0); /* so that nothing is told from in here */
  return true;
}

bool pg_pool_is_up(const struct pg_pool *pool) {
  return pool->stats.connections_up > 0;
}

void pg_pool_hang_up(struct pg_pool *pool, const struct err *reason) {
  bool was_up = pg_pool_is_up(pool);
  for (unsigned i = 0; i < pool->conf.connections && !pool->stopped; i++)
    if (pool->slots[i].link.state == LINK_UP)
      pg_link_fail(&pool->slots[i].link, reason->code, reason->text);
  pg_sessions_hang_up(pool, reason);
  if (was_up) /* what waits has waited for that */
    pool->away_since_ms = loop_now_ms(pool->loop) - pool->conf.away_ms;
}

struct pg_pool_stats pg_pool_stats(const struct pg_pool *pool) {
  struct pg_pool_stats stats = pool->stats;
  stats.connections_max = pool->conf.connections;
  stats.waiting = pool->queue.count + pool->jobs_waiting.count;
  stats.sessions_busy = (unsigned)pool->jobs_running.count;
  stats.sessions_up = 0;
  LIST_EACH(&pool->sessions, node)
  stats.sessions_up += LIST_ENTRY(node, struct pg_session, node)->link.state == LINK_UP;
  return stats;
}

void pg_pool_drain(struct pg_pool *pool, loop_fn *fn, void *ctx) {
  pool->draining = true;
  pool->on_drained = fn;
  pool->on_drained_ctx = ctx;
  pg_pool_check_drained(pool);
}

void pg_pool_close(struct pg_pool *pool) {
  if (pool->stopped)
    return;
  pool->stopped = true;
  struct err stopping;
  err_set(&stopping, ERR_UNAVAILABLE, "the service is stopping");
  for (unsigned i = 0; i < pool->conf.connections; i++) {
    pg_link_close(&pool->slots[i].link);
    settle_flight(pool, &pool->slots[i].link);
  }
  while (pool->queue.first) {
    struct pg_op *op = LIST_ENTRY(pool->queue.first, struct pg_op, node);
    dequeue(pool, op);
    pg_op_fail(op, PG_CANCELLED, &stopping);
    pg_pool_finish_op(pool, op);
  }
  pg_sessions_stop(pool);
  deliver(pool);
  loop_defer_cancel(&pool->deal);
  loop_defer_cancel(&pool->deliver);
  loop_defer_cancel(&pool->drained);
  loop_timer_stop(pool->tick);
}

void pg_pool_free(struct pg_pool *pool) {
  if (!pool)
    return;
  pg_pool_close(pool);
  pool_release(pool);
}
