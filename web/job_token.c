#include "web/job_token.h"

#include "storage/pg/pg.h"
#include "sweeper/sweeps.h"
#include "web/app.h"
#include "web/http/http_reply.h"

#define LIFE_AFTER_END_MS ((int64_t)24 * 60 * 60 * 1000)

struct check {
  struct http_req *req;
  job_token_fn *then;
  void *ctx;
};

static bool is_over(const struct check *check, const struct pg_reply *reply) {
  if (!pg_rows(reply))
    return true;
  return !pg_is_null(reply, 0, 0) && pg_int(reply, 0, 0) + LIFE_AFTER_END_MS <= clock_wall_ms(web_app(check->req)->clock);
}

static void on_ended(void *ctx, const struct pg_reply *reply) {
  const struct check *check = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err);
  if (ok && is_over(check, reply)) {
    http_reply_header(check->req, "WWW-Authenticate", STR("Bearer realm=\"winnow\""));
    err_set(&err, ERR_UNAUTHENTICATED, "the token is not valid any more: the attempt that it was made for ended more than a day ago");
    ok = err_hint(&err, "a job's token is for its job: `winnow token create` makes one for what comes later");
  }
  check->then(check->ctx, ok ? NULL : &err);
}

static bool ask(struct check *check, struct err *err) {
  const struct access_principal *who = web_principal(check->req);
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUN_ATTEMPT_ENDED);
  pg_put_uuid(&args, who->run_id);
  pg_put_int(&args, who->run_attempt);
  return pg_run(web_app(check->req)->pg, &args, 0, on_ended, check, err);
}

static bool may_be_over(const struct http_req *req) {
  const struct access_principal *who = web_principal(req);
  const struct route *route = http_req_route(req);
  const struct sweeps *sweeps = web_app(req)->sweeps;
  return who && who->kind == ACCESS_RUN && route->policy != POLICY_PUBLIC && route->reach != REACH_ATTEMPT &&
         !(sweeps && sweeps_runs(sweeps, who->run_id, who->run_attempt));
}

void job_token_check(struct http_req *req, job_token_fn *then, void *ctx) {
  struct err err;
  if (!may_be_over(req)) {
    then(ctx, NULL);
    return;
  }
  struct check *check = ARENA_NEW(http_req_arena(req), struct check);
  if (!check)
    err_no_memory(&err);
  else
    *check = (struct check){req, then, ctx};
  if (!check || !ask(check, &err))
    then(ctx, &err);
}
