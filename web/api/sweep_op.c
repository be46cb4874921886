/* What the handlers of sweeps, trials, ask and tell share: a request under way. */
#include "web/api/sweep_op.h"

#include "storage/pg/pg.h"
#include "web/http/http_reply.h"
#include "web/tracking.h"

enum { LIST_DEFAULT = 100 };

static void sweep_op_end(struct sweep_op *op) {
  json_decref(op->json);
  op->json = NULL;
}

void sweep_op_fail(struct sweep_op *op, const struct err *err) {
  sweep_op_end(op);
  http_reply_error(op->req, err);
}

struct sweep_op *sweep_op_new(struct http_req *req) {
  struct sweep_op *op = HTTP_REQ_NEW(req, struct sweep_op);
  if (op)
    op->req = req;
  return op;
}

void sweep_op_reply(struct sweep_op *op, int status, struct buf *body) {
  sweep_op_end(op);
  http_reply_json(op->req, status, body);
}

bool sweep_op_none(struct id id, struct err *err) {
  char hex[ID_HEX_LEN + 1];
  id_format(id, hex);
  err_set(err, ERR_NOT_FOUND, "there is no sweep %s", hex);
  return err_hint(err, "`winnow sweep ls` lists them");
}

bool sweep_op_read_id(struct sweep_op *op, const char *what, struct err *err) {
  struct str text = http_req_value(op->req, "id");
  return (id_parse(text, &op->id) || err_set(err, ERR_NOT_FOUND, "there is no %s \"%.*s\"", what, STR_ARG(str_slice(text, 0, 64)))) &&
         sweeps_ready(web_app(op->req)->sweeps, err);
}

bool sweep_op_may_steer(const struct http_req *req, bool has_command, struct err *err) {
  if (!has_command || access_has(web_principal(req), SCOPE_SUBMIT))
    return true;
  bool nobody = web_principal(req)->kind == ACCESS_NOBODY;
  err_set(err, nobody ? ERR_UNAUTHENTICATED : ERR_FORBIDDEN, "a sweep with a command starts processes: that needs the scope submit");
  return err_hint(err, "use the service's Unix socket, or a token from `winnow token create --scope submit`");
}

void sweep_op_not_live(void *ctx, const struct pg_reply *row) {
  struct sweep_op *op = ctx;
  struct err err;
  const struct damaged_sweep *damaged = sweeps_damaged(web_app(op->req)->sweeps, op->id);
  if (pg_ok(row, &err)) {
    if (pg_rows(row) && damaged)
      damaged_refuse(damaged, &err);
    else if (pg_rows(row))
      err_set(&err, ERR_WRONG_STATE, "the sweep is %s", sweep_state_text((int)pg_int(row, 0, 0)));
    else
      sweep_op_none(op->id, &err);
  }
  sweep_op_fail(op, &err);
}

bool sweep_op_query(struct sweep_op *op, enum stmt stmt, pg_done_fn *done, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, stmt);
  pg_put_uuid(&args, op->id);
  return pg_run(web_app(op->req)->pg, &args, 0, done, op, err);
}

struct sweep_op *sweep_op_live_or(struct http_req *req, pg_done_fn *not_live) {
  struct err err;
  struct sweep_op *op = sweep_op_new(req);
  if (!op)
    return NULL;
  bool ok = sweep_op_read_id(op, "sweep", &err);
  if (ok) {
    op->sweep = sweeps_find(web_app(req)->sweeps, op->id);
    if (!op->sweep) {
      if (sweep_op_query(op, STMT_SWEEP_GET, not_live, &err))
        return NULL;
      ok = false;
    }
  }
  if (ok && sweep_op_may_steer(req, live_has_command(op->sweep), &err))
    return op;
  sweep_op_fail(op, &err);
  return NULL;
}

struct sweep_op *sweep_op_live(struct http_req *req) {
  return sweep_op_live_or(req, sweep_op_not_live);
}

bool sweep_op_read_body(struct sweep_op *op, struct err *err) {
  return json_read_body(http_req_body(op->req), &op->json, err) &&
         (json_is_object(op->json) || err_set(err, ERR_INVALID, "an object was expected"));
}

bool sweep_op_read_limit(struct sweep_op *op, struct err *err) {
  struct str limit = http_req_param(op->req, "limit");
  op->limit = LIST_DEFAULT;
  return !limit.p || (str_to_i64(limit, &op->limit) && op->limit >= 1 && op->limit <= SWEEP_LIST_MAX) ||
         err_set(err, ERR_INVALID, "\"limit\" must be from 1 to %d", SWEEP_LIST_MAX);
}

void sweep_op_trial_made(void *ctx, const struct err *err) {
  struct sweep_op *op = ctx;
  if (err) {
    sweep_op_fail(op, err);
    return;
  }
  struct buf body = BUF_INIT(SWEEP_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  live_put_trial(op->trial, &w);
  sweep_op_reply(op, 201, &body);
}
