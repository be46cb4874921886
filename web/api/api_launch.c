/* /api/v1: runs as jobs: launched by themselves, stopped, tried again. */
#include "base/mem.h"
#include "sweeper/jobs/companion_calls.h"
#include "tracker/names.h"
#include "web/api/api_runs.h"
#include "web/api/api_sweeps.h"
#include "web/api/sweep_op.h"
#include "web/http/http_reply.h"
#include "web/idempotency.h"
#include "web/tables.h"
#include "web/tracking.h"

enum { JOB_MAX = 4 * 1024 * 1024 };

/* ---- the answer ---- */

static void on_run(void *ctx, const struct pg_reply *reply) {
  struct sweep_op *op = ctx;
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct err err;
  if (api_write_run(reply, op->id, &body, &err))
    sweep_op_reply(op, op->status, &body);
  else
    sweep_op_fail(op, &err);
}

static void on_done(void *ctx, const struct err *failed) {
  struct sweep_op *op = ctx;
  struct err err;
  if (failed)
    sweep_op_fail(op, failed);
  else if (!sweep_op_query(op, STMT_RUN_GET, on_run, &err))
    sweep_op_fail(op, &err);
}

static void on_made(void *ctx, struct live_sweep *sweep UNUSED, const struct err *failed) {
  on_done(ctx, failed);
}

/* ---- launch ---- */

/* What is said of the run, and of where it comes from; the rest of the body is the job. */
struct launch_body {
  struct str experiment_id, directory, code;
  const json_t *params, *tags, *environment;
};

struct launch {
  struct sweep_op *op;
  json_t *about; /* what was taken out of the body */
  struct launch_body in;
  struct sweeps_new what;
  struct buf job, tags, command; /* JSON */
};

static void launch_release(struct launch *launch) {
  json_decref(launch->about);
  buf_release(&launch->job);
  buf_release(&launch->tags);
  buf_release(&launch->command);
}

/* Parts the body in two. */
static bool part_body(struct launch *launch, struct err *err) {
  static const struct json_field fields[] = {
      {"experiment_id", JSON_F_STR, offsetof(struct launch_body, experiment_id), .nullable = true},
      {"directory", JSON_F_STR, offsetof(struct launch_body, directory), .nullable = true},
      {"code", JSON_F_STR, offsetof(struct launch_body, code), .nullable = true},
      {"params", JSON_F_OBJECT, offsetof(struct launch_body, params), .nullable = true},
      {"tags", JSON_F_OBJECT, offsetof(struct launch_body, tags), .nullable = true},
      {"environment", JSON_F_OBJECT, offsetof(struct launch_body, environment), .nullable = true},
  };
  json_t *body = launch->op->json;
  launch->about = json_object();
  for (size_t i = 0; launch->about && i < ARRAY_LEN(fields); i++) {
    json_t *value = json_object_get(body, fields[i].name);
    if (value && json_object_set(launch->about, fields[i].name, value) != 0)
      return err_no_memory(err);
    json_object_del(body, fields[i].name);
  }
  if (!launch->about)
    return err_no_memory(err);
  return json_decode(launch->about, fields, ARRAY_LEN(fields), "", &launch->in, err) && sweeps_single_check(body, err);
}

static void write_json(struct buf *out, const json_t *json) {
  struct json_writer w;
  jw_init(&w, out);
  jw_json(&w, json);
}

/* The job with its name, and the columns of its run. */
static bool describe(struct launch *launch, struct err *err) {
  struct http_req *req = launch->op->req;
  const struct str *removed;
  size_t removed_count;
  char made[48];
  json_t *body = launch->op->json;
  random_name(&web_app(req)->rng, made);
  if (!json_str(json_object_get(body, "name")).n && json_object_set_new(body, "name", json_string(made)) != 0)
    return err_no_memory(err);
  launch->what.experiment_id = json_object_get(body, "experiment") ? -1 : 0; /* 0: Default */
  if (launch->in.experiment_id.n && !str_to_i64(launch->in.experiment_id, &launch->what.experiment_id))
    return err_set(err, ERR_NOT_FOUND, "there is no experiment \"%.*s\"", STR_ARG(str_slice(launch->in.experiment_id, 0, 64)));
  struct str experiment = json_str(json_object_get(body, "experiment"));
  if (experiment.n && !experiment_name_check(experiment, err))
    return false;
  write_json(&launch->job, body);
  write_json(&launch->command, json_object_get(body, "command"));
  if (!buf_ok(&launch->job, err) || !buf_ok(&launch->command, err) || !tracking_words_fit(json_object_size(launch->in.tags), "tags", err) ||
      !api_tags(req, launch->in.tags, RUN_TAG_VALUE_MAX, &launch->tags, &removed, &removed_count, err) ||
      !api_pack_params(req, launch->in.params, &launch->what.params, err))
    return false;
  launch->what.source = buf_str(&launch->job);
  launch->what.directory = launch->in.directory;
  launch->what.command = buf_str(&launch->command);
  launch->what.tags = buf_str(&launch->tags);
  return true;
}

static bool make_run(struct launch *launch, struct err *err) {
  struct sweep_op *op = launch->op;
  struct sweeps *sweeps = web_app(op->req)->sweeps;
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct spec_problems errors;
  struct sweep_file *file;
  struct str directory = launch->in.directory;
  if (directory.n && (directory.p[0] != '/' || directory.n > 4000))
    return err_set(err, ERR_INVALID, "\"directory\" must be an absolute path");
  if (!sweep_file_read_job(launch->what.source, &arena, &file, &errors, err))
    return false;
  bool ok = api_add_submission(file, launch->in.code, launch->in.environment, err) && sweeps_check(sweeps, file, directory, err) &&
            sweeps_create(sweeps, file, &launch->what, on_made, op, err);
  if (!ok)
    sweep_file_free(file);
  return ok;
}

static bool launch_new(struct sweep_op *op, struct err *err) {
  struct launch launch = {.op = op, .job = BUF_INIT(JOB_MAX), .tags = BUF_INIT(16 * MIB), .command = BUF_INIT(JOB_MAX)};
  launch.what = (struct sweeps_new){.single = true, .run = op->id, .actor = tracking_actor(op->req)};
  bool ok = part_body(&launch, err) && describe(&launch, err) && make_run(&launch, err);
  launch_release(&launch);
  return ok;
}

/* Was it launched before, under the same key? */
static void on_known(void *ctx, const struct pg_reply *reply) {
  struct sweep_op *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err))
    sweep_op_fail(op, &err);
  else if (pg_rows(reply))
    on_run(op, reply);
  else if (!sweeps_ready(web_app(op->req)->sweeps, &err) || !launch_new(op, &err))
    sweep_op_fail(op, &err);
}

void api_launch(struct http_req *req, json_t *body) {
  struct err err;
  struct sweep_op *op = sweep_op_new(req);
  if (!op) {
    json_decref(body);
    return;
  }
  op->json = body;
  op->id = idempotency_id(req);
  op->status = 201;
  bool ok = sweeps_ready(web_app(req)->sweeps, &err) && sweep_op_may_steer(req, true, &err) &&
            (http_req_header(req, "Idempotency-Key").n ? sweep_op_query(op, STMT_RUN_GET, on_known, &err) : launch_new(op, &err));
  if (!ok)
    sweep_op_fail(op, &err);
}

/* ---- stop and retry, of trials too ---- */

static bool no_job(struct err *err) {
  err_set(err, ERR_WRONG_STATE, "the run is no job of this service, or one whose sweep is over");
  return err_hint(err, "what only logs here is stopped and started where it runs; MLflow's client ends a run with set_terminated()");
}

static bool never_a_job(struct err *err) {
  err_set(err, ERR_WRONG_STATE, "the run was not started by this service");
  return err_hint(err, "what only logs here is started again where it runs");
}

static void on_retried(void *ctx, const struct err *failed) {
  struct err err;
  bool is_none = failed && failed->code == ERR_NOT_FOUND;
  if (is_none)
    never_a_job(&err);
  on_done(ctx, is_none ? &err : failed);
}

static bool retry(struct sweep_op *op, struct err *err) {
  bool revive = !op->trial || live_is_over(op->sweep);
  if (revive) /* from the database, which tells only of what an executor ran */
    return sweep_op_may_steer(op->req, true, err) &&
           sweeps_retry(web_app(op->req)->sweeps, op->id, tracking_actor(op->req), on_retried, op, err);
  return sweep_op_may_steer(op->req, live_has_command(op->sweep), err) && live_retry(op->trial, tracking_actor(op->req), err) &&
         sweeps_wait(op->sweep, op->trial, on_done, op, err);
}

/* Of a damaged sweep: its job can be ended, and its row stays as it is. */
static bool stop_resting(struct sweep_op *op, struct err *err) {
  struct sweeps *sweeps = web_app(op->req)->sweeps;
  if (!sweep_op_may_steer(op->req, true, err))
    return false;
  if (!sweeps_end_resting_run(sweeps, op->id, tracking_actor(op->req)))
    return err_set(err, ERR_WRONG_STATE, "its sweep is damaged, and rests until that is mended; no job of it runs");
  on_done(op, NULL);
  return true;
}

static bool stop(struct sweep_op *op, struct err *err) {
  if (!op->trial && sweeps_may_rest(web_app(op->req)->sweeps, op->id))
    return stop_resting(op, err);
  if (!op->trial)
    return no_job(err);
  return sweep_op_may_steer(op->req, live_has_command(op->sweep), err) && live_kill(op->trial, tracking_actor(op->req), err) &&
         sweeps_wait(op->sweep, op->trial, on_done, op, err);
}

static void steer(struct http_req *req, bool (*how)(struct sweep_op *op, struct err *err)) {
  struct err err;
  struct sweep_op *op = sweep_op_new(req);
  if (!op)
    return;
  op->status = 200;
  bool ok = sweep_op_read_id(op, "run", &err);
  op->trial = ok ? sweeps_trial(web_app(req)->sweeps, op->id) : NULL;
  op->sweep = op->trial ? live_trial_sweep(op->trial) : NULL;
  if (!ok || !how(op, &err))
    sweep_op_fail(op, &err);
}

static void post_stop(struct http_req *req) {
  steer(req, stop);
}

static void post_retry(struct http_req *req) {
  steer(req, retry);
}

#define ROUTE_ACT(path_, handler_, summary_)                                                                                \
  {                                                                                                                         \
    .method = HTTP_POST, .path = path_, .policy = POLICY_TRACK, .body = BODY_BUFFER, .max_body = 4096, .handler = handler_, \
    .summary = summary_, .response_schema = "run"                                                                           \
  }

const struct route job_routes[] = {
    ROUTE_ACT("/runs/{id}/stop", post_stop, "Stop a trial or a launched run"),
    ROUTE_ACT("/runs/{id}/retry", post_retry, "Give a trial or a launched run another attempt"),
};
const size_t job_route_count = ARRAY_LEN(job_routes);
