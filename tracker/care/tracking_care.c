#include "tracker/care/tracking_care.h"

#include "base/log.h"
#include "base/mem.h"
#include "storage/pg/pg.h"

enum {
  ROUND_MS = 1000,
  INDEX_BATCH = 500,
  CLEAN_AFTER = 4 /* batches */,
  FORGET_EVERY = 60,
  ANSWER_LIFE_MS = 24 * 60 * 60 * 1000,
  ANSWERS_MAX = 200000,
  EXPIRE_RUNS = 200,
};

struct tracking_care {
  struct loop *loop;
  struct pg_pool *pg;
  struct loop_timer *timer;
  int64_t log_retention_ms; /* 0: for ever */
  unsigned round, batches;  /* `batches` of last metrics indexed since words were cleaned */
  bool is_behind;           /* there are more to index */
  bool stopped;
};

static void rest(struct tracking_care *care) {
  if (!care->stopped)
    loop_timer_start(care->timer, ROUND_MS);
}

static bool step(struct tracking_care *care, enum stmt stmt, pg_done_fn *done) {
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, stmt);
  if (stmt == STMT_RUN_INDEX_METRICS)
    pg_put_int(&args, INDEX_BATCH);
  if (stmt == STMT_IDEMPOTENCY_CLEAN) {
    pg_put_int(&args, clock_wall_ms(loop_clock(care->loop)) - ANSWER_LIFE_MS);
    pg_put_int(&args, ANSWERS_MAX);
  }
  if (stmt == STMT_LOG_EXPIRE) {
    pg_put_int(&args, clock_wall_ms(loop_clock(care->loop)) - care->log_retention_ms);
    pg_put_int(&args, EXPIRE_RUNS);
  }
  return pg_run(care->pg, &args, 0, done, care, &err);
}

static void on_rested(void *ctx, const struct pg_reply *reply UNUSED) {
  rest(ctx);
}

/* And output that is older than it is to be kept. */
static void on_forgotten(void *ctx, const struct pg_reply *reply UNUSED) {
  struct tracking_care *care = ctx;
  if (care->stopped || !care->log_retention_ms || !step(care, STMT_LOG_EXPIRE, on_rested))
    rest(care);
}

static void index_some(struct tracking_care *care);

/* Now and then also the answers kept for those who ask again. */
static void on_cleaned(void *ctx, const struct pg_reply *reply UNUSED) {
  struct tracking_care *care = ctx;
  care->batches = 0;
  if (!care->stopped && care->is_behind)
    index_some(care);
  else if (care->stopped || care->round++ % FORGET_EVERY != 1 || !step(care, STMT_IDEMPOTENCY_CLEAN, on_forgotten))
    rest(care);
}

/* Words wait in a list that searches read in full, and whose pages stay: it is emptied before it is long. */
static void on_indexed(void *ctx, const struct pg_reply *reply) {
  struct tracking_care *care = ctx;
  care->is_behind = pg_outcome(reply) == PG_DONE && pg_int(reply, 0, 0) == INDEX_BATCH;
  if (pg_outcome(reply) == PG_REJECTED)
    log_warn("tracker", NULL, "last metrics could not be indexed: %s", pg_err(reply)->text);
  if (care->stopped)
    return;
  if (care->is_behind && ++care->batches < CLEAN_AFTER)
    index_some(care);
  else if (!step(care, STMT_RUN_CLEAN_WORDS, on_cleaned))
    rest(care);
}

static void index_some(struct tracking_care *care) {
  if (!step(care, STMT_RUN_INDEX_METRICS, on_indexed))
    rest(care);
}

static void begin_round(void *ctx) {
  index_some(ctx);
}

struct tracking_care *tracking_care_new(struct loop *loop, struct pg_pool *pg, int64_t log_retention_ms, struct err *err) {
  struct tracking_care *care = mem_zalloc(sizeof *care);
  struct loop_timer *timer = care ? loop_timer_new(loop, begin_round, care) : NULL;
  if (!timer) {
    mem_free(care);
    err_no_memory(err);
    return NULL;
  }
  *care = (struct tracking_care){.loop = loop, .pg = pg, .timer = timer, .log_retention_ms = log_retention_ms};
  rest(care);
  return care;
}

void tracking_care_stop(struct tracking_care *care) {
  if (!care)
    return;
  care->stopped = true;
  loop_timer_stop(care->timer);
}

void tracking_care_free(struct tracking_care *care) {
  if (!care)
    return;
  loop_timer_free(care->timer);
  mem_free(care);
}
