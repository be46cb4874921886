#include "storage/pg/pq.h"

#include "storage/active.h"

#include "base/log.h"
#include "base/mem.h"
#include "storage/pg/pg_link.h"

enum { ASK_AGAIN_MS = 250, BACKOFF_MAX_MS = 2000, QUESTION_MS = 10000, PULSE_MS = 1000 };

struct active {
  struct loop *loop;
  struct pg_target target;
  struct pg_link link;
  struct loop_timer *timer; /* connect or ask again, the next beat of the pulse; while a question is out: its end */
  struct rng rng;
  char *data_dir;
  enum active_state state;
  int64_t epoch;
  int64_t give_up_ms; /* a holder met at the start has until then */
  unsigned failures;
  bool met; /* the lock was seen in another's hands */
  bool told_of_wait;
  active_fn *on_change;
  void *ctx;
};

static const char *state_name(enum active_state state) {
  static const char *const names[] = {
      [ACTIVE_SEEKING] = "seeking", [ACTIVE_HELD] = "held", [ACTIVE_UNSURE] = "unsure", [ACTIVE_SILENT] = "silent", [ACTIVE_LOST] = "lost"};
  return names[state];
}

/* The one place where the state changes. */
static void enter(struct active *active, enum active_state state, const struct err *reason) {
  static const struct err none;
  if (active->state == state)
    return;
  log_info("storage", NULL, "the service's hold on the database: %s -> %s", state_name(active->state), state_name(state));
  active->state = state;
  active->on_change(active->ctx, state, reason ? reason : &none);
}

static void again_later(struct active *active) {
  if (active->state == ACTIVE_LOST)
    return;
  int64_t delay = MIN_OF((int64_t)ASK_AGAIN_MS << MIN_OF(active->failures, 8u), (int64_t)BACKOFF_MAX_MS);
  loop_timer_start(active->timer, delay / 2 + (int64_t)rng_below(&active->rng, (uint64_t)delay / 2 + 1));
}

/* Answered in on_op. */
static void ask(struct active *active, struct pg_args *args) {
  struct err err;
  struct pg_op *op = pg_op_new(args, NULL, NULL, &err);
  if (op)
    op->deadline_ms = INT64_MAX;
  if (!op || !pg_link_send(&active->link, op)) {
    pg_op_free(op);
    pg_link_fail(&active->link, ERR_UNAVAILABLE, "a statement could not be sent to the database");
    return;
  }
  loop_timer_start(active->timer, active->state == ACTIVE_HELD ? ACTIVE_ANSWER_MS : QUESTION_MS);
  pg_link_flush(&active->link);
}

static void ask_simple(struct active *active, enum stmt stmt) {
  struct pg_args args;
  pg_args_init(&args, stmt);
  ask(active, &args);
}

/* ---- the questions, in order ---- */

static void on_lock(struct active *active, const struct pg_reply *reply) {
  if (pg_rows(reply) == 1 && pg_bool(reply, 0, 0)) {
    active->met = false;
    ask_simple(active, STMT_ACTIVE_NEWEST);
    return;
  }
  active->met = true;
  if (active->epoch == 0 && loop_now_ms(active->loop) < active->give_up_ms)
    again_later(active);
  else
    ask_simple(active, STMT_ACTIVE_NEWEST); /* for its name */
}

static void lose(struct active *active, const struct pg_reply *newest) {
  struct err err;
  if (pg_rows(newest)) {
    struct str host = pg_text(newest, 0, 1), dir = pg_text(newest, 0, 3), started = pg_text(newest, 0, 4);
    err_set(&err, ERR_CONFLICT, "another winnow serves this database: process %lld on %.*s, directory %.*s, since %.*s",
            (long long)pg_int(newest, 0, 2), STR_ARG(host), STR_ARG(dir), STR_ARG(started));
  } else
    err_set(&err, ERR_CONFLICT, "another winnow is taking over this database");
  err_hint(&err, "stop that one first, or give this one a database of its own (--db)");
  pg_link_close(&active->link);
  enter(active, ACTIVE_LOST, &err);
}

static void hold(struct active *active) {
  loop_timer_start(active->timer, PULSE_MS);
  enter(active, ACTIVE_HELD, NULL);
}

static void begin_epoch(struct active *active) {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  struct pg_args args;
  pg_args_init(&args, STMT_ACTIVE_BEGIN);
  pg_put_text(&args, str_of(host));
  pg_put_int(&args, getpid());
  pg_put_text(&args, str_of(active->data_dir));
  ask(active, &args);
}

static void on_newest(struct active *active, const struct pg_reply *reply) {
  int64_t newest = pg_rows(reply) ? pg_int(reply, 0, 0) : 0;
  if (active->met && active->epoch && newest == active->epoch)
    again_later(active); /* our own connection that died: the server has not noticed yet */
  else if (active->met || (active->epoch && newest != active->epoch))
    lose(active, reply);
  else if (active->epoch)
    hold(active);
  else
    begin_epoch(active);
}

/* What a service that was killed had begun to store may still become true, as long as its connection waits for a lock or a disk. */
static void on_begin(struct active *active, const struct pg_reply *reply) {
  if (pg_rows(reply) == 1) {
    active->epoch = pg_int(reply, 0, 0);
    hold(active);
    return;
  }
  if (!active->told_of_wait)
    log_info("storage", NULL, "waiting for what the service before this one was storing");
  active->told_of_wait = true;
  again_later(active);
}

static void on_op(void *ctx, struct pg_link *link, struct pg_op *op) {
  struct active *active = ctx;
  loop_timer_stop(active->timer);
  if (op->outcome != PG_DONE) {
    pg_link_fail(link, op->failure.err.code, op->failure.err.text);
    pg_op_free(op);
    return;
  }
  static const struct {
    enum stmt stmt;
    void (*take)(struct active *, const struct pg_reply *);
  } steps[] = {{STMT_ACTIVE_LOCK, on_lock}, {STMT_ACTIVE_NEWEST, on_newest}, {STMT_ACTIVE_BEGIN, on_begin}};
  for (size_t i = 0; i < ARRAY_LEN(steps); i++)
    if (op->stmts[0].stmt == steps[i].stmt)
      steps[i].take(active, &op->parts[0]);
  pg_op_free(op);
}

/* ---- the connection ---- */

static void on_up(void *ctx, struct pg_link *link UNUSED) {
  struct active *active = ctx;
  active->failures = 0;
  ask_simple(active, STMT_ACTIVE_LOCK);
}

static void on_down(void *ctx, struct pg_link *link, const struct err *reason) {
  struct active *active = ctx;
  loop_timer_stop(active->timer);
  for (struct list_node *node; (node = list_pop_front(&link->flight));)
    pg_op_free(LIST_ENTRY(node, struct pg_op, node));
  active->failures++;
  again_later(active);
  if (active->state == ACTIVE_HELD)
    enter(active, ACTIVE_UNSURE, reason);
}

static const struct link_events events = {.on_up = on_up, .on_down = on_down, .on_op = on_op};

/* A question has had no answer. */
static void on_silence(struct active *active) {
  struct err err;
  err_set(&err, ERR_UNAVAILABLE, "the database does not answer");
  if (active->state == ACTIVE_HELD)
    enter(active, ACTIVE_SILENT, &err);
  pg_link_fail(&active->link, err.code, err.text);
}

static void on_timer(void *ctx) {
  struct active *active = ctx;
  struct err err;
  if (active->link.flight.count)
    on_silence(active);
  else if (active->link.state == LINK_UP)
    ask_simple(active, active->state == ACTIVE_HELD ? STMT_ACTIVE_NEWEST : STMT_ACTIVE_LOCK);
  else if (active->link.state == LINK_DOWN && !pg_link_connect(&active->link, &active->target, 0, &err))
    on_down(active, &active->link, &err);
}

struct active *active_new(struct loop *loop, const struct active_conf *conf, active_fn *on_change, void *ctx, struct err *err) {
  struct active *active = mem_zalloc(sizeof *active);
  if (!active) {
    err_no_memory(err);
    return NULL;
  }
  active->loop = loop;
  active->rng = conf->rng;
  active->on_change = on_change;
  active->ctx = ctx;
  active->give_up_ms = loop_now_ms(loop) + conf->wait_ms;
  active->data_dir = mem_strdup(conf->data_dir);
  active->timer = loop_timer_new(loop, on_timer, active);
  if (((active->data_dir && active->timer) || err_no_memory(err)) && pg_target_init(&active->target, conf->conninfo, 0, err) &&
      pg_link_init(&active->link, loop, conf->pq, &events, active, err)) {
    loop_timer_start(active->timer, 0);
    return active;
  }
  active_free(active);
  return NULL;
}

enum active_state active_state(const struct active *active) {
  return active->state;
}

int64_t active_epoch(const struct active *active) {
  return active->epoch;
}

/* Closing the connection lets the lock go; the row is closed by what can still be sent without waiting. */
static void say_goodbye(struct active *active) {
  struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_ACTIVE_END);
  pg_put_int(&args, active->epoch);
  struct pg_op *op = pg_op_new(&args, NULL, NULL, &err);
  if (!op)
    return;
  op->deadline_ms = INT64_MAX;
  if (pg_link_send(&active->link, op)) {
    active->link.pq->flush(active->link.pg);
    list_remove(&op->node);
  }
  pg_op_free(op);
}

void active_free(struct active *active) {
  if (!active)
    return;
  if (active->link.timer) {
    if (active->state == ACTIVE_HELD && active->link.state == LINK_UP)
      say_goodbye(active);
    for (struct list_node *node; (node = list_pop_front(&active->link.flight));)
      pg_op_free(LIST_ENTRY(node, struct pg_op, node));
    pg_link_release(&active->link);
  }
  loop_timer_free(active->timer);
  pg_target_release(&active->target);
  mem_free(active->data_dir);
  mem_free(active);
}
