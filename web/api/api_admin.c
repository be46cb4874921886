/* /api/v1/admin: checks, cleaning, deletion for good, figures. Long work answers with JSON lines as it goes: {"item"} for what is found or
 * done, {"progress"} about once a second, {"summary"} at the end, or {"error"}. It goes on only while somebody listens. */
#include "storage/metrics/metric_store.h"
#include "storage/pg/pg.h"
#include "sweeper/sweeps.h"
#include "tracker/artifacts/artifact_store.h"
#include "tracker/care/care.h"
#include "tracker/version_keep.h"
#include "web/api/api_files.h"
#include "web/api/api_runs.h"
#include "web/app.h"
#include "web/http/http_reply.h"
#include "web/tables.h"
#include "web/tracking.h"

#include <sys/statvfs.h>

enum { PROGRESS_MS = 1000, LINES_MAX = 4 * 1024 * 1024, PURGE_RUNS_MAX = 1000, STATS_MS = 120000, GRACE_MS = 60 * 60 * 1000 };

/* ---- long work ---- */

/* In the request's arena. */
struct admin_job {
  struct http_req *req;
  struct care *care;
  struct buf out; /* lines of the step */
  int64_t said_ms;
  bool working; /* a step is under way */
};

static void put_finding(void *ctx, const struct care_finding *finding) {
  struct admin_job *job = ctx;
  struct json_writer w;
  jw_init(&w, &job->out);
  jw_object(&w);
  jw_key(&w, "item");
  jw_object(&w);
  jw_put_text(&w, "kind", finding->kind);
  jw_put_text(&w, "subject", finding->subject);
  jw_key(&w, "size");
  if (finding->size < 0)
    jw_null(&w);
  else
    jw_i64(&w, finding->size);
  jw_put_text(&w, "text", finding->text);
  jw_object_end(&w);
  jw_object_end(&w);
  buf_putc(&job->out, '\n');
}

static void put_summary(struct admin_job *job, const char *key) {
  struct json_writer w;
  jw_init(&w, &job->out);
  jw_object(&w);
  jw_key(&w, key);
  jw_object(&w);
  care_put_summary(job->care, &w);
  jw_object_end(&w);
  jw_object_end(&w);
  buf_putc(&job->out, '\n');
  job->said_ms = loop_now_ms(web_app(job->req)->loop);
}

static void put_error(struct admin_job *job, const struct err *err) {
  struct json_writer w;
  jw_init(&w, &job->out);
  jw_object(&w);
  jw_key(&w, "error");
  jw_object(&w);
  jw_put_text(&w, "code", err_info(err->code)->name);
  jw_put_text(&w, "detail", err->text);
  jw_put_text(&w, "hint", err->hint[0] ? err->hint : NULL);
  jw_object_end(&w);
  jw_object_end(&w);
  buf_putc(&job->out, '\n');
}

static void job_end(struct admin_job *job, bool complete) {
  struct http_req *req = job->req;
  http_req_on_gone(req, NULL, NULL);
  web_app(req)->admin_busy = false;
  version_settle_again(web_app(req)->versions); /* there may be room now */
  care_free(job->care);
  buf_release(&job->out);
  if (complete)
    http_stream_end(req);
  else
    http_stream_abort(req);
}

static void job_go(void *ctx);

/* Who left while a slow reader was waited for; else the next line tells. */
static void on_gone(void *ctx) {
  struct admin_job *job = ctx;
  if (!job->working)
    job_end(job, false);
}

static void on_step(void *ctx, bool more, const struct err *err) {
  struct admin_job *job = ctx;
  job->working = false;
  bool due = loop_now_ms(web_app(job->req)->loop) - job->said_ms >= PROGRESS_MS;
  if (err)
    put_error(job, err);
  else if (!more || due)
    put_summary(job, more ? "progress" : "summary");
  enum http_stream_state state =
      job->out.fail || http_req_is_gone(job->req) ? STREAM_GONE : http_stream_write(job->req, buf_str(&job->out));
  buf_reset(&job->out);
  if (state == STREAM_GONE || err || !more)
    job_end(job, state != STREAM_GONE);
  else if (state == STREAM_GO)
    job_go(job);
}

static void job_go(void *ctx) {
  struct admin_job *job = ctx;
  struct err err;
  if (!web_app(job->req)->status.draining) {
    job->working = true;
    care_step(job->care, on_step, job);
    return;
  }
  err_set(&err, ERR_UNAVAILABLE, "the service is stopping");
  on_step(job, false, &err);
}

static struct care_conf conf_of(struct http_req *req) {
  const struct web_app *app = web_app(req);
  return (struct care_conf){.loop = app->loop,
                            .pg = app->pg,
                            .work = app->admin_work,
                            .metrics = app->metrics,
                            .artifacts = app->artifacts,
                            .data_dir = app->status.data_dir};
}

static struct admin_job *job_new(struct http_req *req, struct err *err) {
  struct admin_job *job = ARENA_NEW(http_req_arena(req), struct admin_job);
  if (!job) {
    err_no_memory(err);
    return NULL;
  }
  job->req = req;
  job->out = BUF_INIT(LINES_MAX);
  return job;
}

/* With `care`, or the reason why there is none. */
static void job_start(struct http_req *req, struct admin_job *job, const struct err *err) {
  struct err busy;
  if (job && job->care && web_app(req)->admin_busy) {
    care_free(job->care);
    job->care = NULL;
    err_set(&busy, ERR_WRONG_STATE, "a check, a cleaning or a purge is under way already");
    err_hint(&busy, "wait for its end, or interrupt it");
    err = &busy;
  }
  if (!job || !job->care) {
    http_reply_error(req, err);
    return;
  }
  web_app(req)->admin_busy = true;
  job->said_ms = loop_now_ms(web_app(req)->loop);
  http_req_on_gone(req, on_gone, job);
  http_stream_begin(req, 200, "application/x-ndjson", job_go, job);
  job_go(job);
}

static void post_fsck(struct http_req *req) {
  struct err err;
  struct care_conf conf = conf_of(req);
  bool deep = false;
  struct admin_job *job = http_req_flag(req, "deep", &deep, &err) ? job_new(req, &err) : NULL;
  if (job)
    job->care = care_fsck(&conf, deep, put_finding, job, &err);
  job_start(req, job, &err);
}

static bool read_age(struct http_req *req, const char *name, int64_t *ret, struct err *err) {
  struct str text = http_req_param(req, name);
  return !text.p || str_to_duration_ms(text, ret) || err_set(err, ERR_INVALID, "\"%s\" must be a duration such as 90s, 30m, 2h, 1d", name);
}

static void put_code(void *ctx, const char *sha256) {
  put_finding(ctx, &(struct care_finding){.kind = "code", .subject = sha256, .text = "a snapshot that nothing uses", .size = -1});
}

static void post_gc(struct http_req *req) {
  struct err err;
  struct care_conf conf = conf_of(req);
  bool dry_run = false;
  int64_t grace = GRACE_MS;
  struct admin_job *job =
      http_req_flag(req, "dry_run", &dry_run, &err) && read_age(req, "older_than", &grace, &err) ? job_new(req, &err) : NULL;
  if (job)
    job->care = care_gc(&conf, dry_run, grace, put_finding, job, &err);
  if (job && job->care && !web_app(req)->admin_busy && web_app(req)->sweeps)
    sweeps_collect_code(web_app(req)->sweeps, grace, dry_run, put_code, job);
  job_start(req, job, &err);
}

struct purge_body {
  const json_t *runs;
  int64_t older_than;
  bool dry_run, has_age;
};

static bool read_purge(struct http_req *req, struct care_purge_ask *ask, struct err *err) {
  static const struct json_field fields[] = {
      {"older_than", JSON_F_I64, offsetof(struct purge_body, older_than), .nullable = true, .min = 0, .max = INT64_MAX / 2,
       .present_at = offsetof(struct purge_body, has_age)},
      {"runs", JSON_F_ARRAY, offsetof(struct purge_body, runs), .nullable = true, .min = 1, .max = PURGE_RUNS_MAX},
      {"dry_run", JSON_F_BOOL, offsetof(struct purge_body, dry_run), .nullable = true},
  };
  struct purge_body in = {0};
  AUTO_JSON json_t *tree = NULL;
  if (!api_body(req, &tree, err) || !json_decode(tree, fields, ARRAY_LEN(fields), "", &in, err))
    return false;
  if (!in.has_age && !in.runs) {
    err_set(err, ERR_INVALID, "neither \"older_than\" nor \"runs\" says what is to go");
    return err_hint(err, "\"older_than\": milliseconds in the trash, 0 for all of it");
  }
  size_t count = json_array_size(in.runs);
  struct id *ids = ARENA_NEW_ARRAY(http_req_arena(req), struct id, count ? count : 1);
  if (!ids)
    return err_no_memory(err);
  for (size_t i = 0; i < count; i++) {
    struct str text = json_str(json_array_get(in.runs, i));
    if (!id_parse(text, &ids[i]))
      return err_set(err, ERR_NOT_FOUND, "there is no run \"%.*s\"", STR_ARG(str_slice(text, 0, 64)));
  }
  *ask = (struct care_purge_ask){tracking_now(req) - in.older_than, ids, count, in.dry_run};
  return true;
}

static void post_purge(struct http_req *req) {
  struct err err;
  struct care_conf conf = conf_of(req);
  struct care_purge_ask ask;
  struct admin_job *job = read_purge(req, &ask, &err) ? job_new(req, &err) : NULL;
  if (job)
    job->care = care_purge(&conf, &ask, put_finding, job, &err);
  job_start(req, job, &err);
}

/* ---- figures ---- */

static void put_tables(struct json_writer *w, const struct pg_reply *reply) {
  jw_key(w, "tables");
  jw_array(w);
  for (size_t i = 0; i < pg_rows(reply); i++) {
    jw_object(w);
    jw_put_str(w, "name", pg_text(reply, i, 0));
    jw_put_i64(w, "rows", pg_int(reply, i, 1));
    jw_put_i64(w, "dead", pg_int(reply, i, 2));
    jw_put_i64(w, "bytes", pg_int(reply, i, 3));
    jw_object_end(w);
  }
  jw_array_end(w);
}

static void put_artifacts(struct json_writer *w, const struct web_app *app, const struct pg_reply *totals) {
  struct statvfs fs;
  bool known = app->artifacts && fstatvfs(artifact_store_root(app->artifacts), &fs) == 0;
  jw_key(w, "artifacts");
  jw_object(w);
  jw_put_text(w, "directory", app->artifacts ? artifact_store_directory(app->artifacts) : NULL);
  jw_put_i64(w, "files", pg_int(totals, 0, 1));
  jw_put_i64(w, "bytes", pg_int(totals, 0, 2));
  api_put_i64(w, "free", known ? (int64_t)(fs.f_bavail * fs.f_frsize) : INT64_MIN);
  jw_object_end(w);
}

static void put_trash(struct json_writer *w, const struct pg_reply *totals) {
  jw_key(w, "trash");
  jw_object(w);
  jw_put_i64(w, "runs", pg_int(totals, 0, 3));
  jw_put_i64(w, "sweeps", pg_int(totals, 0, 4));
  jw_put_i64(w, "experiments", pg_int(totals, 0, 5));
  api_put_i64(w, "oldest", pg_is_null(totals, 0, 6) ? INT64_MIN : pg_int(totals, 0, 6));
  jw_put_i64(w, "to_remove", pg_int(totals, 0, 7));
  jw_object_end(w);
}

static void put_ingest(struct json_writer *w, const struct web_app *app) {
  struct metric_store_stats stats = metric_store_stats(app->metrics);
  jw_key(w, "ingest");
  jw_object(w);
  jw_put_i64(w, "writes", (int64_t)stats.writes);
  jw_put_i64(w, "points", (int64_t)stats.points);
  jw_put_i64(w, "groups", (int64_t)stats.groups);
  jw_put_i64(w, "waiting", (int64_t)stats.waiting);
  jw_put_i64(w, "unsealed_points", (int64_t)stats.unsealed_points);
  jw_put_i64(w, "seals", (int64_t)stats.seals);
  jw_put_i64(w, "chunks", (int64_t)stats.chunks);
  jw_put_i64(w, "live_runs", (int64_t)stats.live_runs);
  jw_object_end(w);
}

static void on_stats(void *ctx, const struct pg_reply *reply) {
  struct http_req *req = ctx;
  const struct web_app *app = web_app(req);
  struct err err;
  if (!pg_ok(reply, &err)) {
    http_reply_error(req, &err);
    return;
  }
  const struct pg_reply *totals = pg_nth(reply, 0);
  struct buf body = BUF_INIT(MIB);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "database");
  jw_object(&w);
  jw_put_text(&w, "kind", app->status.database);
  jw_put_i64(&w, "bytes", pg_int(totals, 0, 0));
  put_tables(&w, pg_nth(reply, 1));
  jw_object_end(&w);
  put_artifacts(&w, app, totals);
  put_trash(&w, totals);
  put_ingest(&w, app);
  jw_object_end(&w);
  http_reply_json(req, 200, &body);
}

static void get_stats(struct http_req *req) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct err err;
  pg_batch_add(&batch, STMT_STATS_TOTALS);
  pg_batch_add(&batch, STMT_STATS_TABLES);
  if (!pg_run_batch(web_app(req)->pg, &batch, STATS_MS, on_stats, req, &err))
    http_reply_error(req, &err);
}

#define LINES \
  "Answers with JSON lines: `item` for each thing, `progress` about once a second, at the end `summary` or `error`. It ends when nobody listens any more. "

const struct route admin_routes[] = {
    {.method = HTTP_GET,
     .path = "/admin/stats",
     .policy = POLICY_ADMIN,
     .handler = get_stats,
     .summary = "Sizes of tables and artifacts, what is in the trash, how ingest goes",
     .doc = "Rows of tables are as Postgres last counted them.",
     .response_schema = "admin_stats"},
    {.method = HTTP_GET,
     .path = "/admin/backup",
     .policy = POLICY_ADMIN,
     .handler = api_reply_backup,
     .response_type = "application/x-tar",
     .summary = "Everything as a tar archive",
     .doc =
         "The database as one snapshot (a dump of pg_dump in pieces, `database/`), all artifacts, and what was sent (`files/`, `end.json`); "
         "without `end.json` it is not complete. `winnow admin restore` makes a service of it. Writing goes on meanwhile."},
    {.method = HTTP_POST,
     .path = "/admin/fsck",
     .policy = POLICY_ADMIN,
     .handler = post_fsck,
     .response_type = "application/x-ndjson",
     .summary = "Prove what is stored",
     .doc = LINES
     "Checksums and summaries of every metric chunk, presence and size of every artifact and of what versions of models keep; with "
     "`deep` their contents are read and compared with their SHA-256. Each item is a damage. Writing goes on meanwhile.",
     .query = "deep:boolean",
     .response_schema = "admin_line"},
    {.method = HTTP_POST,
     .path = "/admin/gc",
     .policy = POLICY_ADMIN,
     .handler = post_gc,
     .response_type = "application/x-ndjson",
     .summary = "Remove files that nothing names",
     .doc = LINES
     "Kinds of items: `orphan` (a file that no row names), `temporary` (left by an upload), `row` (its file is gone), `leftover` (of a "
     "purge). What changed within `older_than` (default 1h) is left alone. With `dry_run` nothing is removed.",
     .query = "dry_run:boolean,older_than:string",
     .response_schema = "admin_line"},
    {.method = HTTP_POST,
     .path = "/admin/purge",
     .policy = POLICY_ADMIN,
     .body = BODY_BUFFER,
     .max_body = 64 * 1024,
     .handler = post_purge,
     .response_type = "application/x-ndjson",
     .summary = "Delete for good what is in the trash",
     .doc = LINES
     "`older_than`: milliseconds it has been there, 0 for all; `runs`: only these, when they are in the trash. Runs go with their "
     "points, output, files and jobs; versions of models keep theirs. A trial goes with its sweep. What is restored meanwhile stays.",
     .request_schema = "admin_purge",
     .response_schema = "admin_line"},
};
const size_t admin_route_count = ARRAY_LEN(admin_routes);
