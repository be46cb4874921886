/* /api/v1: ask and tell, reports. */
#include <math.h>

#include "base/json.h"
#include "storage/metrics/metric_store.h"
#include "storage/pg/pg.h"
#include "tracker/names.h"
#include "web/api/sweep_op.h"
#include "web/http/http_reply.h"
#include "web/problem.h"
#include "web/tables.h"
#include "web/tracking.h"

enum { TELL_MAX = 10000, REPORT_KEYS_MAX = 1000, LEASE_MAX_S = 30 * 86400 };
enum { REPORT_BODY_MAX = 4 * 1024 * 1024 }; /* so many of the longest keys, each character escaped */

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
  const struct damaged_sweep *damaged = sweeps_damaged(web_app(op->req)->sweeps, op->id);
  if (!pg_ok(row, &err) || (!pg_rows(row) && !sweep_op_none(op->id, &err)) || (damaged && !damaged_refuse(damaged, &err)))
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
  int64_t attempt;
};

/* One trial of a tell, understood. */
struct tell_item {
  struct live_trial *trial; /* NULL: a new one with these params */
  const json_t *params;
  struct live_tell tell;
  size_t index;
};

static bool find_told(const struct sweep_op *op, struct str run_id, const char *path, struct live_trial **ret, struct err *err) {
  struct id run;
  if (!id_parse(run_id, &run))
    return err_set(err, ERR_INVALID, "\"%s.run_id\" must have 32 hex digits", path);
  *ret = sweeps_trial(web_app(op->req)->sweeps, run);
  return (*ret && live_trial_sweep(*ret) == op->sweep) || err_set(err, ERR_NOT_FOUND, "there is no such trial in this sweep");
}

/* Nothing is changed. */
static bool read_tell(const struct sweep_op *op, const json_t *item, const char *path, struct tell_item *ret, struct err *err) {
  struct tell_body body = {.state = STR("FINISHED")};
  static const struct json_field fields[] = {
      {"run_id", JSON_F_STR, offsetof(struct tell_body, run_id), .nullable = true, .min = 32, .max = 36},
      {"state", JSON_F_STR, offsetof(struct tell_body, state), .nullable = true, .min = 1, .max = 20},
      {"params", JSON_F_OBJECT, offsetof(struct tell_body, params), .nullable = true},
      {"value", JSON_F_F64, offsetof(struct tell_body, value), .nullable = true, .present_at = offsetof(struct tell_body, has_value)},
      {"attempt", JSON_F_I64, offsetof(struct tell_body, attempt), .nullable = true, .min = 1, .max = INT32_MAX},
  };
  if (!json_decode(item, fields, ARRAY_LEN(fields), path, &body, err))
    return false;
  struct live_tell *tell = &ret->tell;
  if (!run_state_parse(body.state, &tell->state) ||
      (tell->state != RUN_FINISHED && tell->state != RUN_FAILED && tell->state != RUN_STOPPED))
    return err_set(err, ERR_INVALID, "\"%s.state\" must be FINISHED, FAILED or STOPPED", path);
  tell->has_value = body.has_value && !json_is_null(json_object_get(item, "value"));
  tell->value = body.value;
  tell->attempt = body.attempt;
  ret->params = body.params;
  if (!body.run_id.p == !body.params)
    return err_set(err, ERR_INVALID, "\"%s\" needs either a \"run_id\" or \"params\"", path);
  if (body.params)
    return live_add_check(op->sweep, body.params, tell, err);
  return find_told(op, body.run_id, path, &ret->trial, err) && live_tell_check(ret->trial, tell, err);
}

static int by_trial(const void *a, const void *b) {
  const struct tell_item *x = *(const struct tell_item *const *)a, *y = *(const struct tell_item *const *)b;
  if (x->trial != y->trial)
    return x->trial < y->trial ? -1 : 1;
  return x->index < y->index ? -1 : 1;
}

/* Every mistake is listed; the first one is the answer's. */
static void note_problem(const struct sweep_op *op, size_t index, const struct err *problem, size_t *count, struct err *first) {
  char path[32];
  snprintf(path, sizeof path, "trials[%zu]", index);
  problem_add(op->req, path, 0, 0, problem->text, problem->hint);
  if ((*count)++)
    return;
  *first = *problem;
  if (!strstr(first->text, path))
    err_prefix(first, "\"%s\"", path);
}

static void find_twice(const struct sweep_op *op, struct tell_item *items, size_t *problems, struct err *first) {
  struct err err;
  struct tell_item **sorted = ARENA_NEW_ARRAY(http_req_arena(op->req), struct tell_item *, op->count);
  if (!sorted) {
    err_no_memory(&err);
    note_problem(op, 0, &err, problems, first);
    return;
  }
  for (size_t i = 0; i < op->count; i++)
    sorted[i] = &items[i];
  qsort(sorted, op->count, sizeof(struct tell_item *), by_trial);
  for (size_t i = 1; i < op->count; i++) {
    if (!sorted[i]->trial || sorted[i]->trial != sorted[i - 1]->trial)
      continue;
    err_set(&err, ERR_INVALID, "the trial of \"trials[%zu]\" is told twice in one request", sorted[i - 1]->index);
    note_problem(op, sorted[i]->index, &err, problems, first);
  }
}

static struct tell_item *read_tells(const struct sweep_op *op, const json_t *trials, struct err *err) {
  struct tell_item *items = ARENA_NEW_ARRAY(http_req_arena(op->req), struct tell_item, op->count);
  size_t problems = 0;
  if (!items) {
    err_no_memory(err);
    return NULL;
  }
  for (size_t i = 0; i < op->count; i++) {
    char path[32];
    struct err problem;
    snprintf(path, sizeof path, "trials[%zu]", i);
    items[i].index = i;
    if (!read_tell(op, json_array_get(trials, i), path, &items[i], &problem))
      note_problem(op, i, &problem, &problems, err);
  }
  find_twice(op, items, &problems, err);
  if (problems && op->count > 1 && !err->hint[0])
    err_hint(err, "nothing was changed: %zu of the %zu trials cannot be told", problems, op->count);
  return problems ? NULL : items;
}

static void wait_for_next(struct sweep_op *op);

static void on_told(void *ctx, const struct err *err) {
  struct sweep_op *op = ctx;
  if (err)
    sweep_op_fail(op, err);
  else
    wait_for_next(op);
}

/* Until each of them is durable: as a rule the first wait, which is for the sweep too, is the only one. */
static void wait_for_next(struct sweep_op *op) {
  struct err err;
  while (op->offset > 0 && op->offset < (int64_t)op->count && live_is_durable(op->trials[op->offset]))
    op->offset++;
  if (op->offset < (int64_t)op->count) {
    struct live_trial *trial = op->trials[op->offset++];
    if (!sweeps_wait(op->sweep, trial, on_told, op, &err))
      sweep_op_fail(op, &err);
    return;
  }
  struct live_answer answer = {.trials = op->trials, .count = op->count, .finished = live_is_over(op->sweep)};
  on_asked(op, &answer, NULL);
}

/* All, or none of them. */
static bool tell_all(struct sweep_op *op, struct err *err) {
  const json_t *trials = NULL;
  static const struct json_field fields[] = {{"trials", JSON_F_ARRAY, 0, .required = true, .min = 1, .max = TELL_MAX}};
  if (!sweep_op_read_body(op, err) || !json_decode(op->json, fields, ARRAY_LEN(fields), "", &trials, err))
    return false;
  op->count = json_array_size(trials);
  op->trials = ARENA_NEW_ARRAY(http_req_arena(op->req), struct live_trial *, op->count);
  struct tell_item *items = op->trials ? read_tells(op, trials, err) : NULL;
  if (!items)
    return op->trials ? false : err_no_memory(err);
  for (size_t i = 0; i < op->count; i++) {
    op->trials[i] = items[i].trial;
    if (items[i].trial ? !live_tell(items[i].trial, &items[i].tell, err)
                       : !live_add(op->sweep, items[i].params, &items[i].tell, &op->trials[i], err))
      return false; /* out of memory, or at a ceiling: what came before stands, and telling it again changes nothing */
  }
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
  int32_t attempt = tracking_attempt(op->req, op->id);
  if (!sweeps_ready(web_app(op->req)->sweeps, err))
    return false;
  op->trial = sweeps_trial(web_app(op->req)->sweeps, op->id);
  op->sweep = op->trial ? live_trial_sweep(op->trial) : NULL;
  if (op->sweep && live_has_command(op->sweep) && attempt == METRIC_UNOWNED)
    return err_set(err, ERR_FORBIDDEN, "the run belongs to its executor");
  if (op->trial && !live_hear(op->trial, MAX_OF(attempt, 0), LIVE_FROM_REPORT, reports, count, err))
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
  bool ok = sweeps_ready(web_app(req)->sweeps, &err) && sweep_op_read_id(op, "run", &err);
  op->trial = ok ? sweeps_trial(web_app(req)->sweeps, op->id) : NULL;
  if (ok && op->trial) {
    if (live_has_command(live_trial_sweep(op->trial)) && tracking_attempt(op->req, op->id) == METRIC_UNOWNED)
      ok = err_set(&err, ERR_FORBIDDEN, "the run belongs to its executor");
    else
      ok = live_hear(op->trial, MAX_OF(tracking_attempt(op->req, op->id), 0), LIVE_FROM_REPORT, NULL, 0, &err);
    if (ok)
      reply_verdict(op);
  } else if (ok) {
    ok = sweep_op_query(op, STMT_RUN_ATTEMPT, on_run_there, &err);
  }
  if (!ok)
    sweep_op_fail(op, &err);
}

#define ROUTE_POST(path_, reach_, handler_, max_, request_, response_, summary_)                                        \
  {                                                                                                                     \
    .method = HTTP_POST, .path = path_, .policy = POLICY_TRACK, .reach = reach_, .body = BODY_BUFFER, .max_body = max_, \
    .handler = handler_, .summary = summary_, .request_schema = request_, .response_schema = response_                  \
  }

const struct route ask_routes[] = {
    {.method = HTTP_POST,
     .path = "/sweeps/{id}/ask",
     .policy = POLICY_TRACK,
     .body = BODY_BUFFER,
     .max_body = 64 * 1024,
     .handler = post_ask,
     .creates = CREATES,
     .summary = "Take trials to run them yourself",
     .request_schema = "ask",
     .response_schema = "ask_answer"},
    {.method = HTTP_POST,
     .path = "/sweeps/{id}/tell",
     .policy = POLICY_TRACK,
     .body = BODY_BUFFER,
     .max_body = SWEEP_BODY_MAX,
     .handler = post_tell,
     .creates = CREATES_PARAMS,
     .summary = "Say how trials ended, or add finished ones: all or none",
     .request_schema = "tell",
     .response_schema = "ask_answer"},
    ROUTE_POST("/runs/{id}/report", REACH_NAMED, post_report, REPORT_BODY_MAX, "report", "verdict",
               "Report intermediate values, and learn the verdict"),
    ROUTE_POST("/runs/{id}/heartbeat", REACH_NAMED, post_heartbeat, 64 * 1024, NULL, "verdict",
               "Say that it goes on, and learn the verdict"),
};
const size_t ask_route_count = ARRAY_LEN(ask_routes);
