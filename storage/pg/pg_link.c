#include "storage/pg/pq.h"

#include "storage/pg/pg_link.h"

#include "base/log.h"

/* A connect may take this long, its TLS and authentication included. */
#define CONNECT_MS 10000
/* The server cancels by its statement_timeout; when even that answer has not come this long after, the connection is given up. */
#define GRACE_MS 2000
/* Below this difference a statement's time is left to the session's statement_timeout. */
#define TIMEOUT_SLACK_MS 1000

static void on_io(void *ctx, int fd, unsigned ready);

static void set_prepared(struct pg_link *link, enum stmt stmt, bool on) {
  uint64_t bit = UINT64_C(1) << ((unsigned)stmt % 64);
  if (on)
    link->prepared[(unsigned)stmt / 64] |= bit;
  else
    link->prepared[(unsigned)stmt / 64] &= ~bit;
}

static bool is_prepared(const struct pg_link *link, enum stmt stmt) {
  return link->prepared[(unsigned)stmt / 64] >> ((unsigned)stmt % 64) & 1;
}

/* ---- life ---- */

static void on_connect_timer(void *ctx) {
  pg_link_fail(ctx, ERR_UNAVAILABLE, "the database did not accept the connection in time");
}

bool pg_link_init(struct pg_link *link, struct loop *loop, const struct pq_api *pq, const struct link_events *events, void *ctx,
                  struct err *err) {
  *link = (struct pg_link){.loop = loop, .pq = pq ? pq : &pq_libpq, .events = events, .ctx = ctx};
  link->timer = loop_timer_new(loop, on_connect_timer, link);
  return link->timer || err_no_memory(err);
}

void pg_link_release(struct pg_link *link) {
  pg_link_close(link);
  loop_timer_free(link->timer);
  link->timer = NULL;
}

void pg_link_close(struct pg_link *link) {
  if (link->timer)
    loop_timer_stop(link->timer);
  loop_io_free(link->io);
  link->io = NULL;
  if (link->pg)
    link->pq->finish(link->pg);
  link->pg = NULL;
  link->state = LINK_DOWN;
  link->raw = link->out_pending = false;
  link->at = 0;
  link->past_prepare = false;
  memset(link->prepared, 0, sizeof link->prepared);
}

static void fail_with(struct pg_link *link, const struct err *reason) {
  struct err kept = *reason;
  pg_link_close(link);
  link->events->on_down(link->ctx, link, &kept);
}

void pg_link_fail(struct pg_link *link, enum err_code code, const char *what) {
  struct err err;
  err_set(&err, code, "%s", what);
  fail_with(link, &err);
}

/* libpq's own words about what happened to the connection, one line. */
static void fail_from_libpq(struct pg_link *link, const char *what) {
  struct str why = str_trim(str_of(link->pg ? link->pq->error_message(link->pg) : ""));
  size_t line = str_find(why, '\n');
  why = str_slice(why, 0, line == SIZE_MAX ? why.n : line);
  struct err err;
  err_set(&err, ERR_UNAVAILABLE, "%s%s%.*s", what, why.n ? ": " : "", STR_ARG(why));
  fail_with(link, &err);
}

static void on_notice(void *ctx UNUSED, const char *message) {
  struct str text = str_trim(str_of(message));
  log_debug("storage", NULL, "the database says: %.*s", STR_ARG(text));
}

/* ---- connecting ---- */

/* libpq may change its socket between steps (next address, TLS refused): the watch is made anew. */
static bool watch(struct pg_link *link, unsigned what) {
  int fd = link->pq->socket(link->pg);
  loop_io_free(link->io);
  link->io = fd < 0 ? NULL : loop_io_new(link->loop, fd, what, on_io, link);
  return link->io;
}

bool pg_link_connect(struct pg_link *link, const struct pg_target *target, int64_t statement_timeout_ms, struct err *err) {
  link->target = target;
  link->statement_timeout_ms = statement_timeout_ms;
  link->pg = link->pq->connect_start(target->keywords, target->values, 0);
  if (!link->pg)
    return err_no_memory(err);
  link->pq->set_notice(link->pg, on_notice, NULL);
  if (link->pq->status(link->pg) == CONNECTION_BAD || !watch(link, LOOP_WRITE)) {
    struct str why = str_trim(str_of(link->pq->error_message(link->pg)));
    err_set(err, ERR_UNAVAILABLE, "cannot connect to the database: %.*s", STR_ARG(why));
    pg_link_close(link);
    return false;
  }
  link->state = LINK_CONNECTING;
  loop_timer_start(link->timer, CONNECT_MS);
  return true;
}

static void enter_up(struct pg_link *link) {
  loop_timer_stop(link->timer);
  if (link->pq->set_nonblocking(link->pg, 1) != 0 || !link->pq->enter_pipeline(link->pg) || !watch(link, LOOP_READ)) {
    fail_from_libpq(link, "the connection to the database could not be set up");
    return;
  }
  link->reading = true;
  link->state = LINK_UP;
  link->events->on_up(link->ctx, link);
}

static void go_on_connecting(struct pg_link *link) {
  unsigned what = 0;
  switch (link->pq->connect_poll(link->pg)) {
  case PGRES_POLLING_READING:
    what = LOOP_READ;
    break;
  case PGRES_POLLING_WRITING:
    what = LOOP_WRITE;
    break;
  case PGRES_POLLING_OK:
    enter_up(link);
    return;
  default:
    fail_from_libpq(link, "cannot connect to the database");
    return;
  }
  if (!watch(link, what))
    pg_link_fail(link, ERR_NO_MEMORY, "out of memory");
}

/* ---- sending ---- */

static bool send_part(struct pg_link *link, const struct pg_args *args, struct pg_reply *part) {
  const struct stmt_info *info = stmt_info(args->stmt);
  struct pg_wire_args wire;
  pg_args_to_wire(args, &wire);
  part->prepares = !is_prepared(link, args->stmt);
  if (part->prepares) {
    if (!link->pq->send_prepare(link->pg, info->name, info->sql, (int)args->count, wire.types))
      return false;
    set_prepared(link, args->stmt, true);
  }
  return link->pq->send_prepared(link->pg, info->name, (int)args->count, wire.values, wire.lengths, wire.formats, 1);
}

static bool send_timeout(struct pg_link *link, struct pg_op *op) {
  int64_t left = MAX_OF(op->deadline_ms - loop_now_ms(link->loop), (int64_t)1);
  int64_t difference = left - link->statement_timeout_ms;
  bool differs = !link->statement_timeout_ms || difference > TIMEOUT_SLACK_MS || difference < -TIMEOUT_SLACK_MS;
  op->sets_timeout = differs && op->deadline_ms != INT64_MAX;
  if (!op->sets_timeout)
    return true;
  char text[32];
  snprintf(text, sizeof text, "%lldms", (long long)MIN_OF(left, (int64_t)INT32_MAX));
  struct pg_args args;
  pg_args_init(&args, STMT_SET_TIMEOUT);
  pg_put_text(&args, str_of(text));
  bool ok = args.fail == ERR_NONE && send_part(link, &args, &op->timeout_part);
  pg_args_release(&args);
  return ok;
}

bool pg_link_send(struct pg_link *link, struct pg_op *op) {
  bool ok = send_timeout(link, op);
  for (size_t i = 0; ok && i < op->count; i++)
    ok = send_part(link, &op->stmts[i], &op->parts[i]);
  if (!ok || !link->pq->sync(link->pg))
    return false;
  op->sent_ms = loop_now_ms(link->loop);
  op->tries++;
  if (!link->flight.count)
    link->head_since_ms = op->sent_ms;
  list_push_back(&link->flight, &op->node);
  link->out_pending = true;
  return true;
}

static void update_watch(struct pg_link *link) {
  if (link->io)
    loop_io_set(link->io, (link->reading ? LOOP_READ : 0u) | (link->out_pending ? LOOP_WRITE : 0u));
}

void pg_link_flush(struct pg_link *link) {
  if (link->state != LINK_UP)
    return;
  int left = link->pq->flush(link->pg);
  if (left < 0) {
    fail_from_libpq(link, "the connection to the database was lost");
    return;
  }
  link->out_pending = left == 1;
  update_watch(link);
}

/* ---- receiving ---- */

static void note_failure(struct pg_link *link, struct pg_op *op, const PGresult *result) {
  if (op->outcome == PG_DONE)
    op->outcome = pg_failure_from_result(link->pq, result, &op->failure);
}

/* A result before the sync belongs to the step of the first operation that has none yet; after its last step it is a failure of the
 * commit itself. */
static void take_result(struct pg_link *link, struct pg_op *op, PGresult *result) {
  ExecStatusType status = PQresultStatus(result);
  bool failed = status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK;
  if (status != PGRES_PIPELINE_ABORTED && failed)
    note_failure(link, op, result);
  if (link->at == 0 && !op->sets_timeout)
    link->at = 1;
  if (link->at > op->count) {
    PQclear(result);
    return;
  }
  struct pg_reply *part = link->at == 0 ? &op->timeout_part : &op->parts[link->at - 1];
  enum stmt stmt = link->at == 0 ? STMT_SET_TIMEOUT : op->stmts[link->at - 1].stmt;
  if (part->prepares && !link->past_prepare) {
    link->past_prepare = true;
    if (failed)
      set_prepared(link, stmt, false);
    PQclear(result);
    return;
  }
  if (failed && strcmp(op->failure.sqlstate, "26000") == 0)
    set_prepared(link, stmt, false);
  if (link->at == 0 || failed)
    PQclear(result);
  else
    part->rows = result;
  link->at++;
  link->past_prepare = false;
}

static void complete(struct pg_link *link, struct pg_op *op) {
  link->at = 0;
  link->past_prepare = false;
  link->head_since_ms = loop_now_ms(link->loop);
  list_remove(&op->node);
  for (size_t i = 0; op->outcome == PG_DONE && i < op->count; i++) {
    struct err err;
    if (op->parts[i].rows && !pg_shape_check(op->parts[i].shape, op->parts[i].rows, &err))
      pg_op_fail(op, PG_REJECTED, &err);
  }
  link->events->on_op(link->ctx, link, op);
}

/* Takes the results that are here. Two NULLs in a row: nothing more for now. */
static void take_results(struct pg_link *link) {
  unsigned nulls = 0;
  while (link->state == LINK_UP && !link->raw && link->flight.first && nulls < 2 && !link->pq->is_busy(link->pg)) {
    PGresult *result = link->pq->get_result(link->pg);
    if (!result) {
      nulls++;
      continue;
    }
    nulls = 0;
    struct pg_op *op = LIST_ENTRY(link->flight.first, struct pg_op, node);
    if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
      PQclear(result);
      complete(link, op);
    } else
      take_result(link, op, result);
  }
}

static void on_io(void *ctx, int fd UNUSED, unsigned ready) {
  struct pg_link *link = ctx;
  if (link->state == LINK_CONNECTING) {
    go_on_connecting(link);
    return;
  }
  bool alive = !(ready & LOOP_READ) || link->pq->consume(link->pg);
  /* In raw mode before its owner goes on, and only then: it waits until all is taken, and would not be told of that later. */
  if (alive && link->raw && link->out_pending)
    pg_link_flush(link);
  if (link->state != LINK_UP)
    return;
  if (link->raw) {
    /* The owner reads what had arrived even when the connection has died since. */
    link->events->on_raw(link->ctx, link);
  } else
    take_results(link);
  if (link->state != LINK_UP)
    return;
  if (!alive || link->pq->status(link->pg) == CONNECTION_BAD)
    fail_from_libpq(link, "the connection to the database was lost");
  else if (link->out_pending && !link->raw) /* also after reading: the server may have waited for us to read */
    pg_link_flush(link);
}

/* ---- raw mode, back-pressure, stuck ---- */

bool pg_link_set_raw(struct pg_link *link, bool raw) {
  if (link->raw == raw)
    return true;
  if (!(raw ? link->pq->exit_pipeline(link->pg) : link->pq->enter_pipeline(link->pg)))
    return false;
  link->raw = raw;
  return true;
}

void pg_link_set_reading(struct pg_link *link, bool reading) {
  link->reading = reading;
  update_watch(link);
}

bool pg_link_is_stuck(const struct pg_link *link, int64_t now_ms) {
  if (link->state != LINK_UP || !link->flight.first)
    return false;
  const struct pg_op *op = LIST_ENTRY(link->flight.first, struct pg_op, node);
  return op->deadline_ms != INT64_MAX && now_ms > MAX_OF(op->deadline_ms, link->head_since_ms) + GRACE_MS;
}
