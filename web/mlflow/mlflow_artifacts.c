/* MLflow's protocol: the proxied store of artifacts, and what names a run's or a model's files. */
#include "tracker/names.h"
#include "web/mlflow/mlflow_files.h"
#include "web/mlflow/mlflow_tables.h"
#include "web/tracking.h"

enum { SMALL_UPLOAD_MAX = 10 * 1024 * 1024 };

static void fail(struct http_req *req, const struct err *err) {
  http_reply_error(req, err);
}

static bool served(struct http_req *req, struct err *err) {
  return web_app(req)->artifacts || err_set(err, ERR_UNAVAILABLE, "artifacts are not served here");
}

/* ---- the proxied store ---- */

static void list_directory(struct http_req *req) {
  struct str path;
  struct err err;
  if (served(req, &err) && files_listed(req, "path", &path, &err))
    files_reply_list(req, path, STR_NONE, STR_NONE);
  else
    fail(req, &err);
}

static void get_file(struct http_req *req) {
  struct str path;
  struct err err;
  if (served(req, &err) && artifact_path_check(http_req_value(req, "path"), &path, &err))
    files_reply(req, path);
  else
    fail(req, &err);
}

static void on_put(struct http_req *req, const struct artifact_stored *stored) {
  http_reply_header(req, "ETag", str_of(stored->etag));
  mlflow_reply_done(req);
}

static bool put_begin(struct http_req *req, struct err *err) {
  struct str path;
  if (!files_target(req, &path, err) || !files_put_prepare(req, on_put, err))
    return false;
  files_put_go(req, path);
  return true;
}

static const struct route_stream put_stream = {put_begin, files_put_data, files_put_end, files_put_abort};

struct delete_op {
  struct http_req *req;
  struct str path;
};

static void on_deleted(void *ctx, const struct err *err) {
  struct delete_op *op = ctx;
  if (err)
    fail(op->req, err);
  else
    mlflow_reply_done(op->req);
}

static void on_may_delete(void *ctx, const struct err *err) {
  struct delete_op *op = ctx;
  struct err why;
  if (err)
    fail(op->req, err);
  else if (!artifact_delete(web_app(op->req)->artifacts, op->path, on_deleted, op, &why))
    fail(op->req, &why);
}

static void delete_file(struct http_req *req) {
  struct str path;
  struct err err;
  if (!served(req, &err) || !files_target(req, &path, &err)) {
    fail(req, &err);
    return;
  }
  struct delete_op *op = ARENA_NEW(http_req_arena(req), struct delete_op);
  if (!op) {
    err_no_memory(&err);
    fail(req, &err);
    return;
  }
  *op = (struct delete_op){req, path};
  files_guard(req, path, FILES_REMOVE, on_may_delete, op);
}

const struct route mlflow_artifact_routes[] = {
    MLFLOW_GET("/artifacts", REACH_FILES, list_directory, "List a directory"),
    MLFLOW_GET("/artifacts/{path...}", REACH_FILES, get_file, "A file"),
    MLFLOW_UPLOAD("/artifacts/{path...}", POLICY_TRACK, REACH_ANY, &put_stream, "Store a file"),
    {.method = HTTP_DELETE,
     .path = "/artifacts/{path...}",
     .policy = POLICY_CURATE,
     .reach = REACH_ANY,
     .body = BODY_BUFFER,
     .max_body = MLFLOW_BODY_MAX,
     .handler = delete_file,
     .summary = "Remove a file or a directory"},
};
const size_t mlflow_artifact_route_count = ARRAY_LEN(mlflow_artifact_routes);

/* ---- files of a run ---- */

enum file_use { USE_LIST, USE_GET, USE_PUT };

struct file_op {
  struct http_req *req;
  struct id run;
  struct str path; /* below the run's artifacts */
  enum file_use use;
  struct str target; /* in the store, of what is stored */
};

static void on_uploaded(void *ctx, const struct artifact_stored *stored UNUSED, const struct err *err) {
  struct file_op *op = ctx;
  struct buf body = BUF_INIT(16);
  if (err)
    fail(op->req, err);
  else
    http_reply_body(op->req, 200, "text/plain", &body);
}

static void store_body(void *ctx, const struct err *refused) {
  struct file_op *op = ctx;
  struct artifact_upload *upload;
  struct err err;
  if (refused)
    fail(op->req, refused);
  else if (!artifact_upload_new(web_app(op->req)->artifacts, op->target, &upload, &err) ||
           !artifact_upload_finish(upload, http_req_body(op->req), on_uploaded, op, &err))
    fail(op->req, &err);
}

/* What the run's place is known to be; `uri` lives during the call. */
static void use_file(struct file_op *op, struct str uri) {
  AUTO_BUF struct buf base = BUF_INIT(64 * KIB);
  struct err err;
  struct str root = STR_NONE, path = STR_NONE, kept_uri = str_of(arena_strdup(http_req_arena(op->req), uri));
  bool ours = artifact_path_of_uri(web_app(op->req)->artifacts, uri, &base) && artifact_path_check(buf_str(&base), &root, &err);
  if (ours) {
    root = str_of(arena_strdup(http_req_arena(op->req), root));
    path = root.p ? files_join(op->req, root, op->path) : STR_NONE;
  }
  if (ours && (!path.p || !kept_uri.p)) {
    err_no_memory(&err);
    fail(op->req, &err);
    return;
  }
  switch (op->use) {
  case USE_LIST:
    /* a place that only clients can reach is shown as empty */
    files_reply_list(op->req, ours ? path : STR(".winnow-elsewhere"), op->path, kept_uri);
    return;
  case USE_GET:
    if (ours)
      files_reply(op->req, path);
    break;
  case USE_PUT:
    op->target = path;
    if (ours)
      files_guard(op->req, path, FILES_WRITE, store_body, op);
    break;
  }
  if (!ours) {
    err_set(&err, ERR_INVALID, "the artifacts of this run are not stored here");
    fail(op->req, &err);
  }
}

static void on_run(void *ctx, const struct pg_reply *reply) {
  struct file_op *op = ctx;
  struct err err;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0) {
    mlflow_no_run(&err, op->run);
    fail(op->req, &err);
    return;
  }
  struct run_row row;
  run_row_read(reply, 0, &row);
  use_file(op, row.artifact_uri);
}

static void begin_use(struct http_req *req, enum file_use use, struct id run, struct str path) {
  struct err err;
  struct file_op *op = ARENA_NEW(http_req_arena(req), struct file_op);
  if (!op) {
    err_no_memory(&err);
    fail(req, &err);
    return;
  }
  *op = (struct file_op){.req = req, .run = run, .path = path, .use = use};
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUN_GET);
  pg_put_uuid(&args, run);
  if (!pg_run(web_app(req)->pg, &args, 0, on_run, op, &err))
    fail(req, &err);
}

static bool read_run(struct http_req *req, struct id *ret, struct err *err) {
  return mlflow_run_id(http_req_param(req, "run_id"), http_req_param(req, "run_uuid"), ret, err);
}

static void list_artifacts(struct http_req *req) {
  struct id run;
  struct str path;
  struct err err;
  if (read_run(req, &run, &err) && files_listed(req, "path", &path, &err))
    begin_use(req, USE_LIST, run, path);
  else
    fail(req, &err);
}

static void get_artifact(struct http_req *req) {
  struct id run;
  struct str path = http_req_param(req, "path");
  struct err err;
  if (read_run(req, &run, &err) && artifact_path_check(path.p ? path : STR(""), &path, &err))
    begin_use(req, USE_GET, run, path);
  else
    fail(req, &err);
}

static bool small_body_ok(const struct http_req *req, struct err *err) {
  if (http_req_body_length(req) > SMALL_UPLOAD_MAX && http_req_body(req).n > SMALL_UPLOAD_MAX)
    return err_set(err, ERR_INVALID, "Artifact size is too large. Max size is 10MB.");
  return http_req_body(req).n || err_set(err, ERR_INVALID, "Request must specify data.");
}

static void upload_artifact(struct http_req *req) {
  struct id run;
  struct str path = http_req_param(req, "path"), id = http_req_param(req, "run_uuid");
  struct err err;
  if (!id.n)
    err_set(&err, ERR_INVALID, "Request must specify run_uuid.");
  else if (!path.n)
    err_set(&err, ERR_INVALID, "Request must specify path.");
  else if (artifact_path_check(path, &path, &err) && small_body_ok(req, &err) && mlflow_run_id(id, STR_NONE, &run, &err)) {
    begin_use(req, USE_PUT, run, path);
    return;
  }
  fail(req, &err);
}

const struct route mlflow_file_routes[] = {
    MLFLOW_GET("/artifacts/list", REACH_NAMED, list_artifacts, "List the artifacts of a run"),
    {.method = HTTP_POST,
     .path = "/upload-artifact",
     .policy = POLICY_TRACK,
     .reach = REACH_ANY,
     .body = BODY_BUFFER,
     .max_body = 4 * SMALL_UPLOAD_MAX,
     .handler = upload_artifact,
     .summary = "Store a small file"},
};
const size_t mlflow_file_route_count = ARRAY_LEN(mlflow_file_routes);

/* ---- outside the protocol's prefix ---- */

/* The version whose protocol this is. */
#define MLFLOW_VERSION "3.6.0"

static void get_version(struct http_req *req) {
  http_reply_text(req, 200, MLFLOW_VERSION);
}

static void server_info(struct http_req *req) {
  struct buf body = BUF_INIT(KIB);
  buf_puts(&body, "{\"store_type\":\"SqlStore\",\"workspaces_enabled\":false}");
  http_reply_json(req, 200, &body);
}

const struct route mlflow_root_routes[] = {
    {.method = HTTP_GET,
     .path = "/version",
     .policy = POLICY_PUBLIC,
     .handler = get_version,
     .summary = "The version of MLflow's protocol"},
    MLFLOW_GET("/get-artifact", REACH_NAMED, get_artifact, "A file of a run"),
};
const size_t mlflow_root_route_count = ARRAY_LEN(mlflow_root_routes);

const struct route mlflow_info_routes[] = {MLFLOW_GET("/server-info", REACH_ANY, server_info, "What this server is")};
const size_t mlflow_info_route_count = ARRAY_LEN(mlflow_info_routes);
