/* Transactions with decisions in between: a session that stays in pipeline mode. */
#include "storage/pg/pq.h"

#include "storage/pg/pg_inside.h"

#include "base/mem.h"

enum tx_phase {
  TX_WAITING, /* for a session */
  TX_BEGINNING,
  TX_OPEN,
  TX_ENDING, /* commit or rollback was sent */
  TX_DEAD,   /* its session is gone; the user still holds it */
};

struct pg_tx {
  struct pg_job job;
  struct loop *loop; /* outlives the pool */
  enum tx_phase phase;
  pg_tx_ready_fn *ready;
  void *ctx;
  struct pg_op *edge; /* the begin, commit or rollback in flight */
  bool committing;
  bool failed; /* a statement of it was refused */
  enum pg_outcome outcome;
  struct pg_failure failure; /* the first */
  pg_done_fn *end_done;      /* of a dead one */
  void *end_ctx;
  struct loop_defer end;
};

static struct pg_tx *tx_of(struct pg_job *job) {
  return CONTAINER_OF(job, struct pg_tx, job);
}

static struct pg_link *link_of(struct pg_tx *tx) {
  return &tx->job.session->link;
}

static void note(struct pg_tx *tx, enum pg_outcome outcome, const struct pg_failure *failure) {
  if (tx->failed)
    return;
  tx->failed = true;
  tx->outcome = outcome;
  tx->failure = *failure;
}

/* One of begin, commit, rollback. NULL without memory, or when the connection broke. */
static struct pg_op *send_edge(struct pg_tx *tx, enum stmt stmt, pg_done_fn *done, void *ctx) {
  struct err err;
  struct pg_args args;
  pg_args_init(&args, stmt);
  struct pg_op *op = pg_op_new(&args, done, ctx, &err);
  if (!op)
    return NULL;
  /* The timeout set beside the begin lasts for the transaction; a commit is not to be cut short by another. */
  op->deadline_ms = stmt == STMT_TX_BEGIN ? tx->job.deadline_ms : INT64_MAX;
  if (!pg_link_send(link_of(tx), op)) {
    pg_op_free(op);
    return NULL;
  }
  pg_sessions_pump_later(tx->job.pool);
  return op;
}

static void on_start(struct pg_job *job) {
  struct pg_tx *tx = tx_of(job);
  tx->phase = TX_BEGINNING;
  tx->edge = send_edge(tx, STMT_TX_BEGIN, NULL, NULL);
  if (!tx->edge)
    pg_link_fail(link_of(tx), ERR_UNAVAILABLE, "a transaction could not be begun");
}

static void tell_ready(struct pg_tx *tx, enum pg_outcome outcome, const struct pg_failure *failure) {
  struct pg_reply reply = {.outcome = outcome, .failure = failure};
  struct pg_pool *pool = tx->job.pool;
  pg_pool_enter(pool);
  tx->ready(tx->ctx, outcome == PG_DONE ? tx : NULL, &reply);
  pg_pool_leave(pool);
}

static void tx_free(struct pg_tx *tx) {
  if (tx->job.pool)
    pg_job_forget(&tx->job);
  mem_free(tx);
}

static void on_begun(struct pg_tx *tx, struct pg_op *op) {
  tx->edge = NULL;
  if (op->outcome == PG_DONE) {
    pg_op_free(op);
    tx->phase = TX_OPEN;
    tell_ready(tx, PG_DONE, NULL);
    return;
  }
  tell_ready(tx, op->outcome, &op->failure);
  pg_op_free(op);
  tx_free(tx);
}

/* The commit of a failed transaction is answered by ROLLBACK. */
static void on_ended(struct pg_tx *tx, struct pg_op *op) {
  tx->edge = NULL;
  bool clean = op->outcome == PG_DONE;
  if (clean && tx->committing && strcmp(PQcmdStatus(op->parts[0].rows), "COMMIT") != 0) {
    op->outcome = tx->failed ? tx->outcome : PG_RETRYABLE;
    if (tx->failed)
      op->failure = tx->failure;
    else
      err_set(&op->failure.err, ERR_UNAVAILABLE, "the database rolled the transaction back");
  }
  pg_pool_finish_op(tx->job.pool, op);
  pg_job_release_session(&tx->job, clean);
  tx_free(tx);
}

static void on_op(struct pg_job *job, struct pg_op *op) {
  struct pg_tx *tx = tx_of(job);
  if (op == tx->edge) {
    if (tx->phase == TX_BEGINNING)
      on_begun(tx, op);
    else
      on_ended(tx, op);
    return;
  }
  if (op->outcome != PG_DONE)
    note(tx, op->outcome, &op->failure);
  pg_pool_finish_op(job->pool, op);
}

/* Uncommitted, so it did not happen. What was in flight has been settled by the session, the commit as unknown. */
static void on_fail(struct pg_job *job, enum pg_outcome outcome, const struct err *reason) {
  struct pg_tx *tx = tx_of(job);
  struct pg_failure failure = {.err = *reason};
  if (outcome == PG_UNKNOWN)
    outcome = job->pool->stopped || loop_now_ms(tx->loop) >= job->deadline_ms ? PG_CANCELLED : PG_RETRYABLE;
  switch (tx->phase) {
  case TX_WAITING:
  case TX_BEGINNING:
    tell_ready(tx, outcome, &failure);
    mem_free(tx);
    break;
  case TX_OPEN:
    note(tx, outcome, &failure);
    tx->phase = TX_DEAD;
    tx->job.pool = NULL;
    break;
  case TX_ENDING:
  case TX_DEAD:
    mem_free(tx);
    break;
  }
}

static const struct pg_job_kind tx_kind = {.start = on_start, .fail = on_fail, .on_op = on_op};

bool pg_tx_begin(struct pg_pool *pool, int64_t timeout_ms, pg_tx_ready_fn *ready, void *ctx, struct err *err) {
  struct pg_tx *tx = mem_zalloc(sizeof *tx);
  if (!tx)
    return err_no_memory(err);
  tx->loop = pool->loop;
  tx->ready = ready;
  tx->ctx = ctx;
  tx->job = (struct pg_job){.kind = &tx_kind, .pool = pool, .deadline_ms = pg_pool_deadline(pool, timeout_ms), .bytes = sizeof *tx};
  if (pg_job_submit(&tx->job, err))
    return true;
  mem_free(tx);
  return false;
}

bool pg_tx_run(struct pg_tx *tx, struct pg_args *args, pg_done_fn *done, void *ctx, struct err *err) {
  struct pg_op *op = pg_op_new(args, done, ctx, err);
  if (!op)
    return false;
  op->held = true;
  op->deadline_ms = INT64_MAX; /* the transaction's timeout holds */
  bool sent = false;
  if (tx->phase != TX_OPEN)
    *err = tx->failure.err;
  else if (link_of(tx)->flight.count >= PG_BATCH_MAX)
    err_set(err, ERR_OVERLOADED, "too many statements of one transaction are in flight");
  else {
    sent = pg_link_send(link_of(tx), op);
    if (!sent) {
      err_set(err, ERR_UNAVAILABLE, "a statement could not be sent to the database");
      pg_link_fail(link_of(tx), ERR_UNAVAILABLE, err->text);
    } else
      pg_sessions_pump_later(tx->job.pool);
  }
  if (!sent)
    pg_op_free(op);
  return sent;
}

static void end_dead(void *ctx) {
  struct pg_tx *tx = ctx;
  struct pg_reply reply = {.outcome = tx->committing ? tx->outcome : PG_DONE, .failure = &tx->failure};
  if (tx->end_done)
    tx->end_done(tx->end_ctx, &reply);
  mem_free(tx);
}

static void end_tx(struct pg_tx *tx, enum stmt stmt, pg_done_fn *done, void *ctx) {
  tx->committing = stmt == STMT_TX_COMMIT;
  if (tx->phase == TX_OPEN) {
    tx->edge = send_edge(tx, stmt, done, ctx);
    if (tx->edge) {
      tx->phase = TX_ENDING;
      return;
    }
    pg_link_fail(link_of(tx), ERR_UNAVAILABLE, "the end of a transaction could not be sent");
  }
  tx->end_done = done;
  tx->end_ctx = ctx;
  loop_defer(tx->loop, &tx->end, end_dead, tx);
}

void pg_tx_commit(struct pg_tx *tx, pg_done_fn *done, void *ctx) {
  end_tx(tx, STMT_TX_COMMIT, done, ctx);
}

void pg_tx_rollback(struct pg_tx *tx, pg_done_fn *done, void *ctx) {
  end_tx(tx, STMT_TX_ROLLBACK, done, ctx);
}
