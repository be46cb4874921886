/* /api/v1/runs/{id}/reparse, /api/v1/sweeps/{id}/reparse: stored output read anew with other patterns. */
#include "storage/pg/pg.h"
#include "sweeper/file/sweep_file.h"
#include "sweeper/file/sweep_sources.h"
#include "sweeper/sweep_reparse.h"
#include "sweeper/sweeps.h"
#include "tracker/logs/reparse.h"
#include "web/app.h"
#include "web/http/http_reply.h"
#include "web/tables.h"

enum { BODY_MAX = 256 * 1024, REPLY_MAX = 64 * 1024 };

struct reparse_op {
  struct http_req *req;
  struct id id;
};

/* What it asks for. */
static struct str asked(struct http_req *req) {
  struct str body = http_req_body(req);
  return body.n ? body : STR("{}");
}

/* The id of the path; the body is right. NULL: the request is answered. */
static struct reparse_op *begin(struct http_req *req, const char *what) {
  struct err err;
  struct metric_sources *sources = NULL;
  struct reparse_op *op = HTTP_REQ_NEW(req, struct reparse_op);
  struct str text = http_req_value(req, "id");
  if (!op)
    return NULL;
  op->req = req;
  bool ok = sweeps_ready(web_app(req)->sweeps, &err) &&
            (id_parse(text, &op->id) || err_set(&err, ERR_NOT_FOUND, "there is no %s \"%.*s\"", what, STR_ARG(str_slice(text, 0, 64))));
  ok = ok && sweep_sources_read(asked(req), NULL, &sources, &err);
  metric_sources_unref(sources);
  if (ok)
    return op;
  http_reply_error(req, &err);
  return NULL;
}

static struct str asker(struct http_req *req) {
  const struct access_principal *who = web_principal(req);
  return who && who->kind != ACCESS_NOBODY ? str_of(who->name) : STR("");
}

static void on_run(void *ctx, const struct reparse_result *result, const struct err *err) {
  struct reparse_op *op = ctx;
  char hex[ID_HEX_LEN + 1];
  if (err) {
    http_reply_error(op->req, err);
    return;
  }
  struct buf body = BUF_INIT(REPLY_MAX);
  struct json_writer w;
  id_format(op->id, hex);
  jw_init(&w, &body);
  jw_object(&w);
  jw_put_text(&w, "run_id", hex);
  jw_put_i64(&w, "bytes", result->bytes);
  jw_put_i64(&w, "points", result->points);
  jw_put_i64(&w, "series", (int64_t)result->series);
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

/* A trial's goal, and what rules look at, is listened for by name, as it was while the trial ran. */
static bool read_run(struct reparse_op *op, const struct pg_reply *reply, struct metric_sources **ret, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct sweep_file *file = NULL;
  struct spec_texts wanted = {.count = 0};
  bool ok = !pg_rows(reply) ||
            (sweep_file_read_stored(pg_text(reply, 0, 0), &arena, &file, err) && sweep_sources_wanted(&file->spec, &arena, &wanted, err));
  ok = ok && sweep_sources_read(asked(op->req), &wanted, ret, err);
  sweep_file_free(file);
  return ok;
}

static void on_sweep_file(void *ctx, const struct pg_reply *reply) {
  struct reparse_op *op = ctx;
  struct metric_sources *sources = NULL;
  struct err err;
  bool ok = pg_ok(reply, &err) && read_run(op, reply, &sources, &err) &&
            reparse_run(web_app(op->req)->logs, op->id, sources, asker(op->req), on_run, op, &err);
  metric_sources_unref(sources);
  if (!ok)
    http_reply_error(op->req, &err);
}

static void post_run(struct http_req *req) {
  struct err err;
  struct reparse_op *op = begin(req, "run");
  if (!op)
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUN_SWEEP_FILE);
  pg_put_uuid(&args, op->id);
  if (!pg_run(web_app(req)->pg, &args, 0, on_sweep_file, op, &err))
    http_reply_error(req, &err);
}

static void reply_progress(struct reparse_op *op, int status) {
  struct err err;
  const struct sweep_reparse *last = sweep_reparse_last(web_app(op->req)->sweeps, op->id);
  if (!last) {
    err_set(&err, ERR_NOT_FOUND, "the output of this sweep has not been read anew lately");
    http_reply_error(op->req, &err);
    return;
  }
  struct buf body = BUF_INIT(REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  sweep_reparse_put(last, &w);
  http_reply_json(op->req, status, &body);
}

static void on_sweep(void *ctx, const struct err *err) {
  struct reparse_op *op = ctx;
  if (err)
    http_reply_error(op->req, err);
  else
    reply_progress(op, 202);
}

static void post_sweep(struct http_req *req) {
  struct err err;
  struct reparse_op *op = begin(req, "sweep");
  if (op && !sweep_reparse_start(web_app(req)->sweeps, op->id, asked(req), asker(req), on_sweep, op, &err))
    http_reply_error(req, &err);
}

static void get_sweep(struct http_req *req) {
  struct err err;
  struct reparse_op *op = HTTP_REQ_NEW(req, struct reparse_op);
  if (!op)
    return;
  op->req = req;
  bool ok = sweeps_ready(web_app(req)->sweeps, &err) &&
            (id_parse(http_req_value(req, "id"), &op->id) || err_set(&err, ERR_NOT_FOUND, "there is no such sweep"));
  if (ok)
    reply_progress(op, 200);
  else
    http_reply_error(req, &err);
}

const struct route reparse_routes[] = {
    {.method = HTTP_POST,
     .path = "/runs/{id}/reparse",
     .policy = POLICY_WRITE,
     .body = BODY_BUFFER,
     .max_body = BODY_MAX,
     .handler = post_run,
     .summary = "Read the stored output of a run that is over with other patterns",
     .request_schema = "reparse",
     .response_schema = "reparse_done",
     .doc = "The body is {\"metrics_from\": […]} as in a sweep file, without files; none means the built-in patterns. The points that came "
            "from output are replaced, in one transaction; what was logged otherwise stays."},
    {.method = HTTP_POST,
     .path = "/sweeps/{id}/reparse",
     .policy = POLICY_WRITE,
     .body = BODY_BUFFER,
     .max_body = BODY_MAX,
     .handler = post_sweep,
     .summary = "The same for all trials of a sweep that have ended, one after the other",
     .request_schema = "reparse",
     .response_schema = "sweep_reparse",
     .doc = "Answers when it has begun. Once the sweep is over the values of its trials are set from what was read."},
    {.method = HTTP_GET,
     .path = "/sweeps/{id}/reparse",
     .policy = POLICY_READ,
     .reach = REACH_NAMED,
     .handler = get_sweep,
     .summary = "How far the last such reading is",
     .response_schema = "sweep_reparse"},
};
const size_t reparse_route_count = ARRAY_LEN(reparse_routes);
