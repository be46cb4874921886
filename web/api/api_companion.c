/* /api/v1/companion: what winnow-exec says of the attempt it runs, and learns; see sweeper/companion/main.c. Bodies and answers are plain
 * text. 409 ends the job, so nothing but a superseded attempt is answered with it. */
#include "storage/metrics/metric_store.h"
#include "sweeper/jobs/companion_calls.h"
#include "sweeper/machine/system_series.h"
#include "sweeper/sweeps.h"
#include "tracker/logs/file_store.h"
#include "web/api/api_events.h"
#include "web/app.h"
#include "web/http/http_reply.h"
#include "web/tables.h"

enum { WAIT_MAX_S = 60, SMALL_BODY = 64 * 1024 };

struct companion_op {
  struct http_req *req;
  struct live_trial *trial;
  int32_t attempt;
  enum companion_says says;
};

static void reply_code(struct http_req *req, enum err_code code, const char *text) {
  struct err err;
  err_set(&err, code, "%s", text);
  http_reply_error(req, &err);
}

/* The trial, when the caller holds the token of this attempt or may write everything; else the request is answered. */
static struct companion_op *open_op(struct http_req *req) {
  struct err err;
  struct id run;
  int64_t attempt;
  struct companion_op *op = HTTP_REQ_NEW(req, struct companion_op);
  struct sweeps *sweeps = web_app(req)->sweeps;
  if (!op)
    return NULL;
  bool ok = sweeps_ready(sweeps, &err);
  if (ok && !(id_parse(http_req_value(req, "run"), &run) && str_to_i64(http_req_value(req, "attempt"), &attempt) && attempt > 0 &&
              attempt <= INT32_MAX))
    ok = err_set(&err, ERR_NOT_FOUND, "there is no such attempt");
  if (ok && !access_may_write_run(web_principal(req), run, (int32_t)attempt))
    ok = err_set(&err, ERR_FORBIDDEN, "this is not the token of the attempt");
  if (ok) {
    *op = (struct companion_op){.req = req, .trial = sweeps_trial(sweeps, run), .attempt = (int32_t)attempt};
    ok = op->trial || (sweeps_may_rest(sweeps, run) ? err_set(&err, ERR_UNAVAILABLE, "its sweep is damaged, and rests until that is mended")
                                                    : err_set(&err, ERR_FENCED, "nothing waits for this attempt any more"));
  }
  if (ok)
    return op;
  http_reply_error(req, &err);
  return NULL;
}

static void reply_says(struct http_req *req, enum companion_says says) {
  switch (says) {
  case COMPANION_GO_ON:
    http_reply_text(req, 200, "continue\n");
    break;
  case COMPANION_STOP:
    http_reply_text(req, 200, "stop\n");
    break;
  case COMPANION_FENCED:
    reply_code(req, ERR_FENCED, "another attempt has taken over");
    break;
  case COMPANION_LATER:
    reply_code(req, ERR_UNAVAILABLE, "say it again");
    break;
  }
}

static void on_samples_stored(void *ctx, const struct err *err) {
  const struct companion_op *op = ctx;
  if (err && err->code != ERR_FENCED && err->code != ERR_NOT_FOUND && err->code != ERR_WRONG_STATE)
    reply_code(op->req, ERR_UNAVAILABLE, err->text);
  else
    reply_says(op->req, op->says); /* a run that is being deleted keeps no samples */
}

/* A sign of life, and what the job has used since the last one. The sign counts whatever becomes of the rest. */
static void post_heartbeat(struct http_req *req) {
  struct companion_op *op = open_op(req);
  struct metric_store *store = web_app(req)->metrics;
  AUTO_METRIC_ROWS struct metric_rows rows;
  struct id run;
  struct err err;
  metric_rows_init(&rows);
  if (!op)
    return;
  op->says = companion_alive(op->trial, op->attempt);
  bool ok = system_series_read(http_req_body(req), &rows, &err);
  rows.fits = true; /* the few of every run */
  if (ok && (!rows.points.n || op->says == COMPANION_FENCED || !store)) {
    reply_says(req, op->says);
    return;
  }
  ok = ok && (id_parse(http_req_value(req, "run"), &run) || err_set(&err, ERR_NOT_FOUND, "there is no such run")) &&
       metric_append(store, run, op->attempt, &rows, on_samples_stored, op, &err);
  if (!ok)
    http_reply_error(req, &err);
}

static void on_output(void *ctx, int64_t next, const struct err *err) {
  const struct companion_op *op = ctx;
  char text[32];
  if (err && err->code != ERR_RANGE) {
    bool is_final = err->code == ERR_FENCED || err->code == ERR_TOO_LARGE; /* all else may be otherwise the next time */
    reply_code(op->req, is_final ? err->code : ERR_UNAVAILABLE, err->text);
    return;
  }
  snprintf(text, sizeof text, "%lld\n", (long long)next);
  struct id run;
  if (!err && id_parse(http_req_value(op->req, "run"), &run))
    events_tell_output(web_app(op->req), run, op->attempt, http_req_param(op->req, "stream"), next);
  http_reply_text(op->req, 200, text);
}

/* Left out it is 0. */
static bool read_count(const struct http_req *req, const char *name, int64_t *ret) {
  struct str text = http_req_param(req, name);
  *ret = 0;
  return !text.p || (str_to_i64(text, ret) && *ret >= 0);
}

static void post_output(struct http_req *req) {
  struct err err;
  struct log_piece piece = {.bytes = http_req_body(req)};
  struct companion_op *op = open_op(req);
  if (!op)
    return;
  bool ok = (http_req_param(req, "offset").p && read_count(req, "offset", &piece.offset) && read_count(req, "skipped", &piece.skipped) &&
             read_count(req, "age", &piece.age_ms)) ||
            err_set(&err, ERR_INVALID, "\"offset\", \"skipped\" and \"age\" must be whole numbers");
  if (ok && companion_output(op->trial, op->attempt, http_req_param(req, "stream"), &piece, on_output, op, &err))
    return;
  if (err.code == ERR_CONFLICT)
    err.code = ERR_UNAVAILABLE; /* an earlier piece is on its way */
  http_reply_error(req, &err);
}

static bool read_file_piece(const struct http_req *req, struct companion_file *ret, struct err *err) {
  int64_t source, generation, snapshot, last;
  const struct {
    const char *name;
    int64_t *at;
  } numbers[] = {{"source", &source}, {"generation", &generation}, {"offset", &ret->offset}, {"snapshot", &snapshot}, {"last", &last}};
  for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
    if (!str_to_i64(http_req_param(req, numbers[i].name), numbers[i].at) || *numbers[i].at < 0)
      return err_set(err, ERR_INVALID, "\"%s\" must be a whole number", numbers[i].name);
  if (!read_count(req, "age", &ret->age_ms))
    return err_set(err, ERR_INVALID, "\"age\" must be a whole number");
  ret->path = http_req_param(req, "path");
  ret->source = (size_t)source;
  ret->generation = (uint64_t)generation;
  ret->is_snapshot = snapshot != 0;
  ret->is_last = last != 0;
  ret->bytes = http_req_body(req);
  return str_is_utf8(ret->path) || err_set(err, ERR_INVALID, "\"path\" is not UTF-8");
}

static void post_file(struct http_req *req) {
  struct err err;
  struct companion_file file;
  struct companion_op *op = open_op(req);
  if (!op || (read_file_piece(req, &file, &err) && companion_file(op->trial, op->attempt, &file, on_output, op, &err)))
    return;
  http_reply_error(req, &err);
}

static void on_poll(void *ctx, enum companion_says says) {
  const struct companion_op *op = ctx;
  http_req_on_gone(op->req, NULL, NULL);
  reply_says(op->req, says == COMPANION_LATER ? COMPANION_GO_ON : says);
}

static void on_poll_gone(void *ctx) {
  const struct companion_op *op = ctx;
  companion_poll_drop(op->trial, op);
  http_reply_drop(op->req);
}

static void get_verdict(struct http_req *req) {
  int64_t wait = 0;
  struct str text = http_req_param(req, "wait");
  struct companion_op *op = open_op(req);
  if (!op)
    return;
  if (text.p && (!str_to_i64(text, &wait) || wait < 0))
    wait = 0;
  http_req_on_gone(req, on_poll_gone, op);
  companion_poll(op->trial, op->attempt, MIN_OF(wait, (int64_t)WAIT_MAX_S) * 1000, on_poll, op);
}

static void on_exited(void *ctx, enum companion_says says) {
  const struct companion_op *op = ctx;
  reply_says(op->req, says);
}

static void post_exited(struct http_req *req) {
  struct companion_op *op = open_op(req);
  if (op)
    companion_exited(op->trial, op->attempt, http_req_body(req), on_exited, op);
}

#define COMPANION_POST(name_, max_, handler_, summary_)                                                                                    \
  {                                                                                                                                        \
    .method = HTTP_POST, .path = "/companion/{run}/{attempt}/" name_, .policy = POLICY_TRACK, .reach = REACH_ATTEMPT, .body = BODY_BUFFER, \
    .max_body = max_, .handler = handler_, .summary = summary_, .request_type = "text/plain", .response_type = "text/plain"                \
  }

const struct route companion_routes[] = {
    COMPANION_POST("heartbeat", SMALL_BODY, post_heartbeat, "It goes on, and what it has used; the verdict"),
    COMPANION_POST("exited", SMALL_BODY, post_exited, "It is over"),
    {.method = HTTP_POST,
     .path = "/companion/{run}/{attempt}/output",
     .policy = POLICY_TRACK,
     .reach = REACH_ATTEMPT,
     .body = BODY_BUFFER,
     .max_body = LOG_PIECE_MAX,
     .handler = post_output,
     .request_type = "application/octet-stream",
     .response_type = "text/plain",
     .summary = "What it printed; answers from where to go on",
     .query = "stream:string,offset:integer,skipped:integer,age:integer"},
    {.method = HTTP_POST,
     .path = "/companion/{run}/{attempt}/file",
     .policy = POLICY_TRACK,
     .reach = REACH_ATTEMPT,
     .body = BODY_BUFFER,
     .max_body = FILE_PIECE_MAX,
     .handler = post_file,
     .request_type = "application/octet-stream",
     .response_type = "text/plain",
     .summary = "A piece of a metric file; answers from where to go on, -1: no more of it",
     .query = "source:integer,path:string,generation:integer,offset:integer,snapshot:integer,last:integer,age:integer"},
    {.method = HTTP_GET,
     .path = "/companion/{run}/{attempt}/verdict",
     .policy = POLICY_TRACK,
     .reach = REACH_ATTEMPT,
     .handler = get_verdict,
     .response_type = "text/plain",
     .summary = "Wait for a verdict",
     .query = "wait:integer"},
};
const size_t companion_route_count = ARRAY_LEN(companion_routes);
