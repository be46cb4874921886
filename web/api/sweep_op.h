/* What the handlers of sweeps, trials, ask and tell share: a request under way, its sweep or trial, and the ways in which it is answered.
 * Each request is answered once, by sweep_op_fail(), sweep_op_reply() or one of the callbacks here. */
#ifndef WINNOW_WEB_SWEEP_OP_H
#define WINNOW_WEB_SWEEP_OP_H

#include "base/json.h"
#include "storage/pg/pg.h"
#include "sweeper/sweeps.h"
#include "web/heavy.h"
#include "web/http/http_req.h"

enum { SWEEP_BODY_MAX = 8 * 1024 * 1024, SWEEP_REPLY_MAX = 256 * 1024 * 1024, SWEEP_LIST_MAX = 1000 };

struct sweep_op {
  struct http_req *req;
  struct id id;
  struct live_sweep *sweep;
  struct live_trial *trial;
  struct live_trial **trials;
  size_t count;
  int64_t limit, offset;
  int status;   /* of the answer, where it is not fixed */
  json_t *json; /* freed when answered */
  bool maximize;
  struct heavy_turn turn; /* of one that looks at many trials */
};

/* Lives in the request's arena; NULL: the request is answered. */
struct sweep_op *sweep_op_new(struct http_req *req);
void sweep_op_fail(struct sweep_op *op, const struct err *err);
/* Takes the body. */
void sweep_op_reply(struct sweep_op *op, int status, struct buf *body);

/* The id of the path; sweeps must be there. `what` it is of, for the error. */
MUST_CHECK bool sweep_op_read_id(struct sweep_op *op, const char *what, struct err *err);
/* The body, an object, as op->json. */
MUST_CHECK bool sweep_op_read_body(struct sweep_op *op, struct err *err);
/* ?limit= */
MUST_CHECK bool sweep_op_read_limit(struct sweep_op *op, struct err *err);
/* Who steers a sweep that runs commands needs to be allowed to start processes. */
MUST_CHECK bool sweep_op_may_steer(const struct http_req *req, bool has_command, struct err *err);
/* The sweep of the path, when it lives and the caller may steer it; NULL: the request is, or will be, answered. */
struct sweep_op *sweep_op_live(struct http_req *req);
/* The same; when it does not live, `not_live` answers, with what STMT_SWEEP_GET said. */
struct sweep_op *sweep_op_live_or(struct http_req *req, pg_done_fn *not_live);

/* A statement whose one parameter is op->id. */
MUST_CHECK bool sweep_op_query(struct sweep_op *op, enum stmt stmt, pg_done_fn *done, struct err *err);
/* The error that there is no such sweep; false. */
bool sweep_op_none(struct id id, struct err *err);

/* Callbacks that answer. Of STMT_SWEEP_GET, for a sweep that is not in memory: it is over or damaged, or there is none. */
void sweep_op_not_live(void *ctx, const struct pg_reply *row);
/* 201, with op->trial. */
void sweep_op_trial_made(void *ctx, const struct err *err);

#endif
