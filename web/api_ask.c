/* /api/v1: ask and tell, reports. */
#include <math.h>

#include "base/json.h"
#include "storage/metric_store.h"
#include "storage/pg.h"
#include "tracker/names.h"
#include "web/http_reply.h"
#include "web/sweep_op.h"
#include "web/tables.h"
#include "web/tracking.h"

enum { TELL_MAX = 10000, REPORT_KEYS_MAX = 1000, LEASE_MAX_S = 30 * 86400 };

/* ---- ask, tell ---- */

static void on_asked(void *ctx, const struct live_answer *answer, const struct err *err) {
  struct sweep_op *op = ctx;
  if (err) {
    sweep_op_fail(op, err);
    return;
  }
  struct buf body = BUF_INIT(SWEEP_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "trials");
  jw_array(&w);
  for (size_t i = 0; i < answer->count; i++)
    live_put_trial(answer->trials[i], &w);
  jw_array_end(&w);
  jw_put_bool(&w, "finished", answer->finished);
  jw_object_end(&w);
  sweep_op_reply(op, 200, &body);
}

static void on_late_ask(void *ctx, const struct pg_reply *row) {
  struct sweep_op *op = ctx;
  struct err err;
  const struct live_answer none = {.finished = true};
  if (!pg_ok(row, &err) || (!pg_rows(row) && !sweep_op_none(op->id, &err)))
    sweep_op_fail(op, &err);
  else
    on_asked(op, &none, NULL);
}

struct ask_body {
  int64_t count;
  struct str worker;
  int64_t lease;
};

static bool ask(struct sweep_op *op, struct err *err) {
  struct ask_body body = {.count = 1, .lease = 86400};
  static const struct json_field fields[] = {
      {"count", JSON_F_I64, offsetof(struct ask_body, count), .min = 1, .max = LIVE_ASK_MAX},
      {"worker", JSON_F_STR, offsetof(struct ask_body, worker), .nullable = true, .min = 0, .max = LIVE_WORKER_MAX},
      {"lease", JSON_F_I64, offsetof(struct ask_body, lease), .nullable = true, .min = 1, .max = LEASE_MAX_S},
  };
  if (http_req_body(op->req).n && (!sweep_op_read_body(op, err) || !json_decode(op->json, fields, ARRAY_LEN(fields), "", &body, err)))
    return false;
  if (!op->sweep)
    return sweep_op_query(op, STMT_SWEEP_GET, on_late_ask, err);
  return sweep_op_may_steer(op->req, live_has_command(op->sweep), err) &&
         live_ask(op->sweep, (size_t)body.count, body.worker, body.lease * 1000, on_asked, op, err);
}

static void post_ask(struct http_req *req) {
  struct err err;
  struct sweep_op *op = sweep_op_new(req);
  if (!op)
    return;
  bool ok = sweep_op_read_id(op, "sweep", &err);
  op->sweep = ok ? sweeps_find(web_app(req)->sweeps, op->id) : NULL;
  if (!ok || !ask(op, &err))
    sweep_op_fail(op, &err);
}

struct tell_body {
  struct str run_id, state;
  const json_t *params;
  double value;
  bool has_value;
};

static bool tell_one(struct sweep_op *op, const json_t *item, size_t index, struct err *err) {
  struct tell_body body = {.state = STR("FINISHED")};
  static const struct json_field fields[] = {
      {"run_id", JSON_F_STR, offsetof(struct tell_body, run_id), .nullable = true, .min = 32, .max = 36},
      {"state", JSON_F_STR, offsetof(struct tell_body, state), .nullable = true, .min = 1, .max = 20},
      {"params", JSON_F_OBJECT, offsetof(struct tell_body, params), .nullable = true},
      {"value", JSON_F_F64, offsetof(struct tell_body, value), .nullable = true, .present_at = offsetof(struct tell_body, has_value)},
  };
  char path[32];
  struct id run;
  struct live_tell tell = {.state = RUN_FINISHED};
  snprintf(path, sizeof path, "trials[%zu]", index);
  if (!json_decode(item, fields, ARRAY_LEN(fields), path, &body, err))
    return false;
  if (!run_state_parse(body.state, &tell.state) || (tell.state != RUN_FINISHED && tell.state != RUN_FAILED && tell.state != RUN_STOPPED))
    return err_set(err, ERR_INVALID, "\"%s.state\" must be FINISHED, FAILED or STOPPED", path);
  tell.has_value = body.has_value && !json_is_null(json_object_get(item, "value"));
  tell.value = body.value;
  if (!body.run_id.p == !body.params)
    return err_set(err, ERR_INVALID, "\"%s\" needs either a \"run_id\" or \"params\"", path);
  if (body.params)
    return live_add(op->sweep, body.params, &tell, &op->trials[index], err);
  if (!id_parse(body.run_id, &run))
    return err_set(err, ERR_INVALID, "\"%s.run_id\" must have 32 hex digits", path);
  op->trials[index] = sweeps_trial(web_app(op->req)->sweeps, run);
  if (!op->trials[index] || live_trial_sweep(op->trials[index]) != op->sweep)
    return err_set(err, ERR_NOT_FOUND, "\"%s\": there is no such trial in this sweep", path);
  return live_tell(op->trials[index], &tell, err);
}

static void wait_for_next(struct sweep_op *op);

static void on_told(void *ctx, const struct err *err) {
  struct sweep_op *op = ctx;
  if (err)
    sweep_op_fail(op, err);
  else
    wait_for_next(op);
}

/* Until each of them is durable: as a rule the first wait is the only one that waits. */
static void wait_for_next(struct sweep_op *op) {
  struct err err;
  if (op->offset < (int64_t)op->count) {
    struct live_trial *trial = op->trials[op->offset++];
    if (!sweeps_wait(op->sweep, trial, on_told, op, &err))
      sweep_op_fail(op, &err);
    return;
  }
  struct live_answer answer = {.trials = op->trials, .count = op->count, .finished = live_is_over(op->sweep)};
  on_asked(op, &answer, NULL);
}

static bool tell_all(struct sweep_op *op, struct err *err) {
  const json_t *trials = NULL;
  static const struct json_field fields[] = {{"trials", JSON_F_ARRAY, 0, .required = true, .min = 1, .max = TELL_MAX}};
  if (!sweep_op_read_body(op, err) || !json_decode(op->json, fields, ARRAY_LEN(fields), "", &trials, err))
    return false;
  op->count = json_array_size(trials);
  op->trials = ARENA_NEW_ARRAY(http_req_arena(op->req), struct live_trial *, op->count);
  if (!op->trials)
    return err_no_memory(err);
  for (size_t i = 0; i < op->count; i++)
    if (!tell_one(op, json_array_get(trials, i), i, err))
      return false;
  return true;
}

static void post_tell(struct http_req *req) {
  struct err err;
  struct sweep_op *op = sweep_op_live(req);
  if (!op)
    return;
  if (tell_all(op, &err))
    wait_for_next(op);
  else
    sweep_op_fail(op, &err);
}

/* ---- reports ---- */

static void reply_verdict(struct sweep_op *op) {
  struct buf body = BUF_INIT(64 * KIB);
  struct json_writer w;
  jw_init(&w, &body);
  if (op->trial) {
    live_put_verdict(op->trial, &w);
  } else {
    jw_object(&w);
    jw_put_text(&w, "verdict", "continue");
    jw_object_end(&w);
  }
  sweep_op_reply(op, 200, &body);
}

static void on_report_durable(void *ctx, const struct err *err) {
  struct sweep_op *op = ctx;
  if (err)
    sweep_op_fail(op, err);
  else
    reply_verdict(op);
}

static void on_points_stored(void *ctx, const struct err *err) {
  struct sweep_op *op = ctx;
  struct err failed;
  if (err)
    sweep_op_fail(op, err);
  else if (!op->trial)
    reply_verdict(op);
  else if (!sweeps_wait(op->sweep, op->trial, on_report_durable, op, &failed))
    sweep_op_fail(op, &failed);
}

struct report_body {
  int64_t step;
  double epoch;
  const json_t *metrics;
};

static bool read_report(struct sweep_op *op, struct report_body *body, struct metric_rows *rows, struct live_report *reports, size_t *count,
                        struct err *err) {
  const char *key;
  json_t *value;
  int64_t now = tracking_now(op->req);
  json_object_foreach((json_t *)(uintptr_t)body->metrics, key, value) {
    static const char *const specials[] = {"NaN", "Infinity", "-Infinity"};
    double number = json_is_number(value) ? json_number_value(value) : NAN;
    bool ok = json_is_number(value);
    for (size_t i = 0; i < ARRAY_LEN(specials) && !ok; i++)
      if (str_is(json_str(value), specials[i])) {
        number = i == 0 ? NAN : i == 1 ? INFINITY : -INFINITY;
        ok = true;
      }
    if (!ok)
      return err_set(err, ERR_INVALID, "\"metrics.%.100s\" must be a number", key);
    if (*count == REPORT_KEYS_MAX)
      return err_set(err, ERR_TOO_LARGE, "a report has at most %d metrics", REPORT_KEYS_MAX);
    if (!key_check(str_of(key), "metrics", err) || !text_fits(str_of(key), KEY_MAX, "metrics", err))
      return false;
    if (!metric_rows_add(rows, str_of(key), (struct point){body->step, now, number, body->epoch}))
      return err_no_memory(err);
    reports[(*count)++] = (struct live_report){.key = str_of(key), .value = number, .epoch = body->epoch, .step = body->step};
  }
  return *count > 0 || err_set(err, ERR_INVALID, "\"metrics\" is empty");
}

/* Only its job, or somebody who may write everything, speaks for a run that an executor runs. */
static int32_t attempt_of(const struct sweep_op *op) {
  int pass = tracking_pass(op->req, op->id);
  return pass < 0 ? METRIC_CURRENT : pass == 0 ? METRIC_UNOWNED : pass;
}

static bool report(struct sweep_op *op, struct err *err) {
  struct report_body body = {.epoch = NAN};
  static const struct json_field fields[] = {
      {"step", JSON_F_I64, offsetof(struct report_body, step), .required = true},
      {"epoch", JSON_F_F64, offsetof(struct report_body, epoch), .nullable = true},
      {"metrics", JSON_F_OBJECT, offsetof(struct report_body, metrics), .required = true},
  };
  struct metric_store *store = web_app(op->req)->metrics;
  size_t count = 0;
  if (!sweep_op_read_id(op, "run", err) || !sweep_op_read_body(op, err) ||
      !json_decode(op->json, fields, ARRAY_LEN(fields), "", &body, err))
    return false;
  struct live_report *reports = ARENA_NEW_ARRAY(http_req_arena(op->req), struct live_report, REPORT_KEYS_MAX);
  if (!reports)
    return err_no_memory(err);
  AUTO_METRIC_ROWS struct metric_rows rows;
  metric_rows_init(&rows);
  if (!read_report(op, &body, &rows, reports, &count, err))
    return false;
  int32_t attempt = attempt_of(op);
  op->trial = sweeps_trial(web_app(op->req)->sweeps, op->id);
  op->sweep = op->trial ? live_trial_sweep(op->trial) : NULL;
  if (op->sweep && live_has_command(op->sweep) && attempt == METRIC_UNOWNED)
    return err_set(err, ERR_FORBIDDEN, "the run belongs to its executor");
  if (op->trial && !live_hear(op->trial, MAX_OF(attempt, 0), reports, count, err))
    return false;
  return metric_append(store, op->id, attempt, &rows, on_points_stored, op, err);
}

static void post_report(struct http_req *req) {
  struct err err;
  struct sweep_op *op = sweep_op_new(req);
  if (op && !report(op, &err))
    sweep_op_fail(op, &err);
}

static void on_run_there(void *ctx, const struct pg_reply *row) {
  struct sweep_op *op = ctx;
  struct err err;
  if (pg_ok(row, &err) && pg_rows(row)) {
    reply_verdict(op);
    return;
  }
  if (pg_outcome(row) == PG_DONE)
    err_set(&err, ERR_NOT_FOUND, "there is no such run");
  sweep_op_fail(op, &err);
}

static void post_heartbeat(struct http_req *req) {
  struct err err;
  struct sweep_op *op = sweep_op_new(req);
  if (!op)
    return;
  bool ok = sweep_op_read_id(op, "run", &err);
  op->trial = ok ? sweeps_trial(web_app(req)->sweeps, op->id) : NULL;
  if (ok && op->trial) {
    if (live_has_command(live_trial_sweep(op->trial)) && attempt_of(op) == METRIC_UNOWNED)
      ok = err_set(&err, ERR_FORBIDDEN, "the run belongs to its executor");
    else
      ok = live_hear(op->trial, MAX_OF(attempt_of(op), 0), NULL, 0, &err);
    if (ok)
      reply_verdict(op);
  } else if (ok) {
    ok = sweep_op_query(op, STMT_RUN_ATTEMPT, on_run_there, &err);
  }
  if (!ok)
    sweep_op_fail(op, &err);
}

#define ROUTE_POST(path_, handler_, policy_, max_, summary_) \
  { .method = HTTP_POST, .path = path_, .policy = policy_, .body = BODY_BUFFER, .max_body = max_, .handler = handler_, .summary = summary_ }

const struct route ask_routes[] = {
    {.method = HTTP_POST,
     .path = "/sweeps/{id}/ask",
     .policy = POLICY_TRACK,
     .body = BODY_BUFFER,
     .max_body = 64 * 1024,
     .handler = post_ask,
     .creates = CREATES,
     .summary = "Take trials to run them yourself"},
    ROUTE_POST("/sweeps/{id}/tell", post_tell, POLICY_TRACK, SWEEP_BODY_MAX, "Say how trials ended, or add finished ones"),
    ROUTE_POST("/runs/{id}/report", post_report, POLICY_TRACK, SWEEP_BODY_MAX, "Report intermediate values, and learn the verdict"),
    ROUTE_POST("/runs/{id}/heartbeat", post_heartbeat, POLICY_TRACK, 64 * 1024, "Say that it goes on, and learn the verdict"),
};
const size_t ask_route_count = ARRAY_LEN(ask_routes);
