#include "web/mlflow/mlflow_files.h"

#include "tracker/names.h"
#include "web/http/body_sink.h"
#include "web/http/http_range.h"
#include "web/job_token.h"
#include "web/reach.h"
#include "web/tracking.h"

static struct artifact_store *store_of(struct http_req *req) {
  return web_app(req)->artifacts;
}

struct str files_join(struct http_req *req, struct str base, struct str below) {
  if (!below.n)
    return base;
  const char *text = arena_printf(http_req_arena(req), "%.*s%s%.*s", STR_ARG(base), base.n ? "/" : "", STR_ARG(below));
  return str_of(text);
}

bool files_target(struct http_req *req, struct str *ret, struct err *err) {
  if (http_req_param_count(req))
    return err_set(err, ERR_INVALID, "Invalid path: a \"?\" in it must be sent as %%3F");
  return artifact_path_check(http_req_value(req, "path"), ret, err);
}

bool files_listed(struct http_req *req, const char *parameter, struct str *ret, struct err *err) {
  AUTO_BUF struct buf tidy = BUF_INIT(64 * KIB);
  struct str path = http_req_param(req, parameter);
  path_tidy(path.p ? path : STR(""), &tidy);
  if (!buf_ok(&tidy, err))
    return false;
  const char *kept = arena_strdup(http_req_arena(req), buf_str(&tidy));
  return kept ? artifact_path_check(str_n(kept, tidy.n), ret, err) : err_no_memory(err);
}

/* ---- reading ---- */

void files_reply(struct http_req *req, struct str path) {
  struct stat st;
  struct err err;
  int fd = artifact_open(store_of(req), path, &st, &err);
  if (fd < 0) {
    http_reply_error(req, &err);
    return;
  }
  struct str name = str_last(path, '/');
  char *download = arena_strdup(http_req_arena(req), name);
  char etag[ARTIFACT_ETAG_MAX];
  artifact_etag(&st, etag);
  struct http_file file = {
      .fd = fd, .content_type = artifact_content_type(name), .etag = etag, .download_name = download ? download : "artifact"};
  http_reply_file(req, &file);
}

struct list_op {
  struct http_req *req;
  struct str prefix, root_uri;
};

static void on_listed(void *ctx, const struct artifact_entry *entries, size_t count, const struct err *err) {
  struct list_op *op = ctx;
  if (err) {
    http_reply_error(op->req, err);
    return;
  }
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  if (op->root_uri.p)
    jw_put_str(&w, "root_uri", op->root_uri);
  if (count) {
    jw_key(&w, "files");
    jw_array(&w);
    for (size_t i = 0; i < count; i++) {
      AUTO_BUF struct buf path = BUF_INIT(64 * KIB);
      buf_printf(&path, "%.*s%s%s", STR_ARG(op->prefix), op->prefix.n ? "/" : "", entries[i].name);
      jw_object(&w);
      jw_put_str(&w, "path", buf_str(&path));
      jw_put_bool(&w, "is_dir", entries[i].is_dir);
      if (entries[i].size)
        jw_put_i64(&w, "file_size", entries[i].size);
      jw_object_end(&w);
    }
    jw_array_end(&w);
  }
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

void files_reply_list(struct http_req *req, struct str path, struct str prefix, struct str root_uri) {
  struct list_op *op = HTTP_REQ_NEW(req, struct list_op);
  struct err err;
  if (!op)
    return;
  *op = (struct list_op){req, prefix, root_uri};
  if (!artifact_list(store_of(req), path, false, on_listed, op, &err))
    http_reply_error(req, &err);
}

/* ---- who may write ---- */

enum { NAMED_MAX = 16 }; /* ids that a path may name */

struct guard {
  struct http_req *req;
  struct str path;
  enum files_use use;
  struct id ids[NAMED_MAX];
  size_t count;
  files_guard_fn *then;
  void *ctx;
};

static void guard_end(struct guard *guard, const struct err *err) {
  guard->then(guard->ctx, err);
}

/* Of "<location>/<run id>/artifacts" and "<location>/models/m-<id>/artifacts": all up to the id is its own. */
static bool is_of(const struct guard *guard, struct str uri) {
  AUTO_BUF struct buf base = BUF_INIT(64 * KIB);
  struct str place;
  struct err ignored;
  if (!artifact_path_of_uri(store_of(guard->req), uri, &base) || !artifact_path_check(buf_str(&base), &place, &ignored))
    return false;
  if (str_ends(place, STR("/artifacts")))
    place.n -= strlen("/artifacts");
  return place.n && str_is_at_or_below(guard->path, place);
}

static bool not_yours(struct err *err) {
  return err_set(err, ERR_FORBIDDEN,
                 "a job's token is for the files of its own run and the runs below it: others need a token with the scope \"write\"");
}

static bool may_change_owned(int pass, int64_t attempt, struct err *err) {
  if (pass == 0)
    return tracking_not_yours(err);
  return pass < 0 || pass == attempt || tracking_superseded(err);
}

static bool may_change(struct guard *guard, const struct pg_reply *reply, size_t row, struct err *err) {
  bool is_owned = pg_bool(reply, row, 2), is_below = pg_bool(reply, row, 4), is_over = pg_bool(reply, row, 5);
  int pass = tracking_pass(guard->req, pg_uuid(reply, row, 0));
  if (is_owned)
    return may_change_owned(pass, pg_int(reply, row, 3), err);
  if (web_principal(guard->req)->is_open)
    return true;
  return is_below ? !is_over || tracking_superseded(err) : not_yours(err);
}

static void on_holds_owned(void *ctx, const struct pg_reply *reply) {
  struct guard *guard = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err);
  if (ok && pg_bool(reply, 0, 0)) {
    err_set(&err, ERR_FORBIDDEN, "files of several runs lie there");
    err_hint(&err, "a token with the scope `write` may remove them all");
    ok = false;
  }
  guard_end(guard, ok ? NULL : &err);
}

/* What no run has. */
static void guard_unowned(struct guard *guard) {
  struct err err;
  if (!web_principal(guard->req)->is_open) {
    not_yours(&err);
    guard_end(guard, &err);
    return;
  }
  if (guard->use == FILES_WRITE) {
    guard_end(guard, NULL);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_ARTIFACT_HOLDS_OWNED);
  pg_put_text(&args, guard->path);
  if (!pg_run(web_app(guard->req)->pg, &args, 0, on_holds_owned, guard, &err))
    guard_end(guard, &err);
}

static void on_owners(void *ctx, const struct pg_reply *reply) {
  struct guard *guard = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err), any = false;
  for (size_t row = 0; ok && row < pg_rows(reply); row++)
    if (is_of(guard, pg_text(reply, row, 1))) {
      any = true;
      ok = may_change(guard, reply, row, &err);
    }
  if (ok && !any)
    guard_unowned(guard);
  else
    guard_end(guard, ok ? NULL : &err);
}

static bool ask_owners(struct guard *guard, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_ARTIFACT_OWNERS);
  for (int kind = 0; kind < 2; kind++) { /* runs; logged models */
    pg_begin_array(&args);
    for (size_t i = 0; i < guard->count; i++)
      pg_put_uuid(&args, guard->ids[i]);
    pg_end_array(&args);
  }
  const struct access_principal *who = web_principal(guard->req);
  if (who->kind == ACCESS_RUN)
    pg_put_uuid(&args, who->run_id);
  else
    pg_put_null(&args);
  pg_put_int(&args, who->run_attempt);
  return pg_run(web_app(guard->req)->pg, &args, 0, on_owners, guard, err);
}

/* What versions of the registry keep: written by us alone. */
static bool is_kept(struct str path) {
  return str_is_at_or_below(path, STR("registry"));
}

void files_guard(struct http_req *req, struct str path, enum files_use use, files_guard_fn *then, void *ctx) {
  struct err err;
  const struct access_principal *who = web_principal(req);
  if (is_kept(path)) {
    err_set(&err, ERR_FORBIDDEN, "what lies there is kept for versions of the registry, and never changed in place");
    then(ctx, &err);
    return;
  }
  if (!who || access_has(who, SCOPE_WRITE)) {
    then(ctx, NULL);
    return;
  }
  struct guard *guard = ARENA_NEW(http_req_arena(req), struct guard);
  if (!guard) {
    err_no_memory(&err);
    then(ctx, &err);
    return;
  }
  *guard = (struct guard){.req = req, .path = path, .use = use, .then = then, .ctx = ctx};
  if (!reach_ids_of_path(path, guard->ids, NAMED_MAX, &guard->count)) {
    err_set(&err, ERR_INVALID, "the path names too many runs");
    then(ctx, &err);
    return;
  }
  if (!guard->count)
    guard_unowned(guard);
  else if (!ask_owners(guard, &err))
    then(ctx, &err);
}

/* ---- uploads ---- */

enum { SHA256S_MAX = 16 }; /* of one If-Match */

struct put_op {
  struct http_req *req;
  struct artifact_upload *upload;
  struct body_sink sink;
  files_stored_fn *answer;
  struct str path, if_match, if_none_match;
  uint8_t sha256[SHA256S_MAX][32]; /* that If-Match names beside ETags */
  size_t sha256_count;
  bool waiting; /* where it goes, or whether the caller may, is not known yet: the body waits, and an answer is still to come */
  bool gone;
};

static void on_stored(void *ctx, const struct artifact_stored *stored, const struct err *err) {
  struct put_op *op = ctx;
  sink_release(&op->sink);
  if (err)
    http_reply_error(op->req, err);
  else
    op->answer(op->req, stored);
}

/* On a thread. */
static bool write_piece(void *ctx, struct str bytes, struct err *err) {
  const struct put_op *op = ctx;
  return artifact_upload_write(op->upload, bytes, err);
}

static void on_written(void *ctx, struct str rest, const struct err *err) {
  struct put_op *op = ctx;
  struct err why;
  if (err)
    artifact_upload_abort(op->upload);
  else if (artifact_upload_finish(op->upload, rest, on_stored, op, &why))
    return;
  on_stored(op, NULL, err ? err : &why);
}

/* On a thread. */
static bool condition_holds(void *ctx, struct str etag) {
  const struct put_op *op = ctx;
  if (op->if_match.p && !(etag.n && http_etag_in(op->if_match, etag, false)))
    return false;
  return !op->if_none_match.p || !etag.n || !http_etag_in(op->if_none_match, etag, true);
}

/* Lists tell files by their SHA-256: it says as much as an ETag. */
static void read_sha256s(struct put_op *op) {
  struct str list = op->if_match, etag;
  while (op->sha256_count < SHA256S_MAX && http_etag_take(&list, &etag)) {
    uint8_t *digest = op->sha256[op->sha256_count];
    op->sha256_count += etag.n == 66 && hex_decode(str_slice(etag, 1, 65), digest, sizeof op->sha256[0]);
  }
}

bool files_put_prepare(struct http_req *req, files_stored_fn *answer, struct err *err) {
  struct put_op *op = ARENA_NEW(http_req_arena(req), struct put_op);
  if (!op)
    return err_no_memory(err);
  if (!store_of(req))
    return err_set(err, ERR_UNAVAILABLE, "artifacts are not served here");
  if (http_req_header(req, "Content-Range").p)
    return err_set(err, ERR_INVALID, "a file is stored as a whole: Content-Range is not for it");
  *op = (struct put_op){.req = req,
                        .answer = answer,
                        .waiting = true,
                        .if_match = http_req_header(req, "If-Match"),
                        .if_none_match = http_req_header(req, "If-None-Match")};
  if (!op->if_none_match.p)
    read_sha256s(op);
  sink_begin(&op->sink, req, web_app(req)->disk_work, write_piece, on_written, op);
  http_req_set_state(req, op);
  http_req_pause_body(req);
  return true;
}

void files_put_fail(struct http_req *req, const struct err *err) {
  struct put_op *op = http_req_state(req);
  artifact_upload_abort(op->upload);
  if (op->gone)
    http_reply_drop(req);
  else
    http_reply_error(req, err);
}

static void on_guarded(void *ctx, const struct err *err) {
  struct put_op *op = ctx;
  if (err || op->gone) {
    files_put_fail(op->req, err);
    return;
  }
  op->waiting = false;
  http_req_resume_body(op->req);
}

/* False when answered. */
static bool begin_upload(struct http_req *req, struct str path) {
  struct put_op *op = http_req_state(req);
  struct err err = {.code = ERR_CANCELLED};
  if (op->gone || !artifact_upload_new(store_of(req), path, &op->upload, &err)) {
    files_put_fail(req, &err);
    return false;
  }
  const struct artifact_condition condition = {condition_holds, op, (const uint8_t(*)[32])op->sha256, op->sha256_count};
  artifact_upload_only_if(op->upload, &condition);
  return true;
}

static void on_token_checked(void *ctx, const struct err *err) {
  struct put_op *op = ctx;
  if (err || op->gone)
    files_put_fail(op->req, err);
  else
    files_guard(op->req, op->path, FILES_WRITE, on_guarded, op);
}

void files_put_go(struct http_req *req, struct str path) {
  struct put_op *op = http_req_state(req);
  op->path = path;
  if (begin_upload(req, path))
    job_token_check(req, on_token_checked, op);
}

void files_put_into(struct http_req *req, struct str path) {
  struct put_op *op = http_req_state(req);
  if (!begin_upload(req, path))
    return;
  artifact_upload_makes_nothing(op->upload);
  on_guarded(op, NULL);
}

bool files_put_data(struct http_req *req, struct str bytes, struct err *err UNUSED) {
  struct put_op *op = http_req_state(req);
  sink_take(&op->sink, bytes);
  return true;
}

void files_put_end(struct http_req *req) {
  struct put_op *op = http_req_state(req);
  sink_end(&op->sink);
}

void files_put_abort(struct http_req *req, const struct err *err) {
  struct put_op *op = http_req_state(req);
  op->gone = true;
  if (!op->waiting)
    sink_abort(&op->sink, err);
}
