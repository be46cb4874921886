/* Inside of the pool: what is asked (an operation) and what came back (a reply). Needs storage/pg/pq.h before it. */
#ifndef WINNOW_STORAGE_PG_OP_H
#define WINNOW_STORAGE_PG_OP_H

#include "base/list.h"
#include "storage/pg/pg.h"

struct pg_failure {
  struct err err;
  char sqlstate[6];
};

struct pg_reply {
  enum pg_outcome outcome;
  PGresult *rows; /* NULL when there are none */
  const struct stmt_info *shape;
  const struct pg_failure *failure;
  const struct pg_reply *parts; /* one a statement */
  size_t part_count;
  bool prepares; /* while in flight: a prepare was sent before it */
};

/* One or more statements that happen together: one segment of the pipeline, closed by its own sync. */
struct pg_op {
  struct list_node node;
  struct pg_args *stmts; /* &one, or a batch's */
  struct pg_args one;
  size_t count;
  size_t bytes;
  struct pg_reply *parts; /* count of them; &one_part when there is one */
  struct pg_reply one_part;
  struct pg_reply timeout_part; /* of the set_timeout that goes before it, when its time differs from the connection's */
  bool sets_timeout;
  int64_t since_ms;
  int64_t deadline_ms; /* on the loop's clock */
  int64_t sent_ms;
  unsigned tries;
  bool repeatable;
  bool maybe_done; /* a connection died under it before: from then on nobody can say that it did not happen */
  enum pg_outcome outcome;
  struct pg_failure failure;
  pg_done_fn *done;
  void *ctx;
};

/* Takes the statements of `args` or `batch` in any case; NULL fills *err. */
MUST_CHECK struct pg_op *pg_op_new(struct pg_args *args, pg_done_fn *done, void *ctx, struct err *err);
MUST_CHECK struct pg_op *pg_op_new_batch(struct pg_batch *batch, pg_done_fn *done, void *ctx, struct err *err);
void pg_op_free(struct pg_op *op);
/* Forgets what came back, so that it can be sent once more. */
void pg_op_rewind(struct pg_op *op);
/* Calls `done` and frees it. */
void pg_op_finish(struct pg_op *op);
/* Sets outcome and error unless one is set already. */
void pg_op_fail(struct pg_op *op, enum pg_outcome outcome, const struct err *err);

/* Are the arguments complete and without mistakes? */
MUST_CHECK bool pg_args_check(const struct pg_args *args, struct err *err);
/* As libpq wants them; the arrays have room for STMT_PARAMS_MAX. */
struct pg_wire_args {
  Oid types[STMT_PARAMS_MAX];
  const char *values[STMT_PARAMS_MAX];
  int lengths[STMT_PARAMS_MAX], formats[STMT_PARAMS_MAX];
};
void pg_args_to_wire(const struct pg_args *args, struct pg_wire_args *ret);

/* Does the result have the columns that the statement declares? */
MUST_CHECK bool pg_shape_check(const struct stmt_info *shape, const PGresult *rows, struct err *err);

struct pq_api;
/* From a result that says PGRES_FATAL_ERROR. */
enum pg_outcome pg_failure_from_result(const struct pq_api *pq, const PGresult *result, struct pg_failure *ret);
/* The error of what was sent when its connection died. */
void pg_unknown_err(struct err *err);
/* Is it a failure (serialization, deadlock) after which the same is worth sending again at once? */
bool pg_sqlstate_is_transient(const char *sqlstate);

#endif
