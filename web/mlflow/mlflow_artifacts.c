/* MLflow's protocol: the proxied store of artifacts, its multipart uploads, and what names a run's or a model's files. */
#include "tracker/names.h"
#include "web/mlflow/mlflow_files.h"
#include "web/mlflow/mlflow_tables.h"
#include "web/tracking.h"

enum { PARTS_MAX = 10000, SMALL_UPLOAD_MAX = 10 * 1024 * 1024 };
#define UPLOAD_MAX ((uint64_t)1 << 42)

static void fail(struct http_req *req, const struct err *err) {
  http_reply_error(req, err);
}

/* The path of the route, checked; false when answered. */
static bool path_of(struct http_req *req, struct str *ret) {
  struct err err;
  if (!web_app(req)->artifacts)
    err_set(&err, ERR_UNAVAILABLE, "artifacts are not served here");
  else if (artifact_path_check(http_req_value(req, "path"), ret, &err))
    return true;
  fail(req, &err);
  return false;
}

/* ---- the proxied store ---- */

static void list_directory(struct http_req *req) {
  struct str path = http_req_param(req, "path");
  struct err err;
  if (!web_app(req)->artifacts)
    err_set(&err, ERR_UNAVAILABLE, "artifacts are not served here");
  else if (artifact_path_check(path.p ? path : STR(""), &path, &err)) {
    files_reply_list(req, path, STR_NONE, STR_NONE);
    return;
  }
  fail(req, &err);
}

static void get_file(struct http_req *req) {
  struct str path;
  if (path_of(req, &path))
    files_reply(req, path);
}

static void on_put(struct http_req *req, const struct artifact_file *file UNUSED) {
  mlflow_reply_done(req);
}

static bool put_begin(struct http_req *req, struct err *err) {
  struct str path;
  if (!artifact_path_check(http_req_value(req, "path"), &path, err) || !files_put_prepare(req, on_put, err))
    return false;
  files_put_go(req, path, true);
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
  if (!path_of(req, &path))
    return;
  struct delete_op *op = ARENA_NEW(http_req_arena(req), struct delete_op);
  if (!op) {
    err_no_memory(&err);
    fail(req, &err);
    return;
  }
  *op = (struct delete_op){req, path};
  files_guard(req, path, on_may_delete, op);
}

/* ---- multipart ---- */

/* The parts of an upload lie in the store under a name that nobody else knows, hidden from lists and paths of clients. */
#define PARTS_DIRECTORY ".winnow-uploads"

struct mpu_args {
  struct str path, upload_id;
  int64_t parts;
  const json_t *part_list;
};

static bool upload_id_ok(struct str id) {
  struct id parsed;
  return id.n == ID_HEX_LEN && id_parse(id, &parsed);
}

static void put_part_url(struct json_writer *w, struct http_req *req, const char *id, int64_t number) {
  const struct http_authority *host = http_req_host(req);
  AUTO_BUF struct buf url = BUF_INIT(4 * KIB);
  buf_printf(&url, "%s://%s%.*s%s", http_req_is_tls(req) ? "https" : "http", host->is_v6 ? "[" : "", STR_ARG(host->host),
             host->is_v6 ? "]" : "");
  if (host->port)
    buf_printf(&url, ":%u", host->port);
  buf_printf(&url, "/api/2.0/mlflow-artifacts/mpu/part/%s/%lld", id, (long long)number);
  jw_put_str(w, "url", buf_str(&url));
}

/* What the client calls the file: the last part of a path on its machine, which may be one with drive letters. */
static struct str base_name(struct str path) {
  bool has_drive = path.n > 1 && isalpha((unsigned char)path.p[0]) && path.p[1] == ':';
  size_t from = path.n;
  while (from && path.p[from - 1] != '/' && !(has_drive && path.p[from - 1] == '\\'))
    from--;
  return str_slice(path, from, path.n);
}

/* The address names a directory, the body the client's own file: it is stored in the one under the name of the other. */
static bool target_of(struct http_req *req, struct str client_file, struct str *ret, struct err *err) {
  struct str directory, name = base_name(client_file);
  if (!artifact_path_check(http_req_value(req, "path"), &directory, err))
    return false;
  if (!name.n)
    return err_set(err, ERR_INVALID, "Invalid path");
  struct str path = files_join(req, directory, name);
  return path.p ? artifact_path_check(path, ret, err) : err_no_memory(err);
}

static void create_parts(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      {"path", MLFLOW_STR, true, offsetof(struct mpu_args, path), 0},
      {"num_parts", MLFLOW_INT, false, offsetof(struct mpu_args, parts), 0},
  };
  struct mpu_args in = {.parts = 1};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  char id[ID_HEX_LEN + 1];
  struct str path;
  if (!path_of(req, &path) || !mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree))
    return;
  if (!target_of(req, in.path, &path, &err)) {
    fail(req, &err);
    return;
  }
  if (in.parts < 1 || in.parts > PARTS_MAX || !http_req_host(req)->host.p) {
    err_set(&err, ERR_INVALID, "Invalid value %lld for parameter 'num_parts' supplied. It must be between 1 and %d", (long long)in.parts,
            PARTS_MAX);
    fail(req, &err);
    return;
  }
  uint8_t secret[16];
  rng_secret(secret, sizeof secret);
  hex_encode(secret, sizeof secret, id);
  struct buf body = BUF_INIT(16 * MIB);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_put_text(&w, "upload_id", id);
  jw_key(&w, "credentials");
  jw_array(&w);
  for (int64_t i = 1; i <= in.parts; i++) {
    jw_object(&w);
    put_part_url(&w, req, id, i);
    jw_put_i64(&w, "part_number", i);
    jw_key(&w, "headers");
    jw_object(&w);
    jw_object_end(&w);
    jw_object_end(&w);
  }
  jw_array_end(&w);
  jw_object_end(&w);
  http_reply_json(req, 200, &body);
}

static void on_part(struct http_req *req, const struct artifact_file *file) {
  char etag[2 * sizeof file->sha256 + 1];
  hex_encode(file->sha256, sizeof file->sha256, etag);
  http_reply_header(req, "ETag", str_of(etag));
  mlflow_reply_done(req);
}

/* Whoever has the URL may: its id is the secret that `create` gave out. */
static bool part_begin(struct http_req *req, struct err *err) {
  struct str id = http_req_value(req, "upload"), number = http_req_value(req, "number");
  int64_t n;
  if (!upload_id_ok(id) || !str_to_i64(number, &n) || n < 1 || n > PARTS_MAX)
    return err_set(err, ERR_NOT_FOUND, "there is no such upload");
  const char *path = arena_printf(http_req_arena(req), PARTS_DIRECTORY "/%.*s/%lld", STR_ARG(id), (long long)n);
  if (!path)
    return err_no_memory(err);
  if (!files_put_prepare(req, on_part, err))
    return false;
  files_put_go(req, str_of(path), false);
  return true;
}

static const struct route_stream part_stream = {part_begin, files_put_data, files_put_end, files_put_abort};

struct join_op {
  struct http_req *req;
  struct str path, upload;
  struct str *parts;
  size_t count;
};

static void on_parts_gone(void *ctx, const struct err *err) {
  struct join_op *op = ctx;
  if (err)
    fail(op->req, err);
  else
    mlflow_reply_done(op->req);
}

static void on_joined(void *ctx, const struct artifact_file *file UNUSED, const struct err *err) {
  struct join_op *op = ctx;
  struct err why;
  if (err)
    fail(op->req, err);
  else if (!artifact_delete(web_app(op->req)->artifacts, op->upload, on_parts_gone, op, &why))
    fail(op->req, &why);
}

static void on_may_join(void *ctx, const struct err *err) {
  struct join_op *op = ctx;
  struct err why;
  if (err)
    fail(op->req, err);
  else if (!artifact_join(web_app(op->req)->artifacts, op->parts, op->count, op->path, on_joined, op, &why))
    fail(op->req, &why);
}

static int by_number(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

static bool name_parts(struct join_op *op, const json_t *list, struct err *err) {
  struct arena *arena = http_req_arena(op->req);
  op->count = json_array_size(list);
  if (op->count == 0 || op->count > PARTS_MAX)
    return err_set(err, ERR_INVALID, "an upload has from 1 to %d parts", PARTS_MAX);
  int64_t *numbers = ARENA_NEW_ARRAY(arena, int64_t, op->count);
  op->parts = ARENA_NEW_ARRAY(arena, struct str, op->count);
  if (!numbers || !op->parts)
    return err_no_memory(err);
  for (size_t i = 0; i < op->count; i++) {
    numbers[i] = json_integer_value(json_object_get(json_array_get(list, i), "part_number"));
    if (numbers[i] < 1 || numbers[i] > PARTS_MAX)
      return mlflow_missing(err, "part_number");
  }
  qsort(numbers, op->count, sizeof *numbers, by_number);
  for (size_t i = 0; i < op->count; i++) {
    op->parts[i] = str_of(arena_printf(arena, "%.*s/%lld", STR_ARG(op->upload), (long long)numbers[i]));
    if (!op->parts[i].p)
      return err_no_memory(err);
  }
  return true;
}

/* NULL when answered. */
static struct join_op *new_join(struct http_req *req, struct mpu_args *in, json_t **tree) {
  static const struct mlflow_field fields[] = {
      {"path", MLFLOW_STR, true, offsetof(struct mpu_args, path), 0},
      {"upload_id", MLFLOW_STR, true, offsetof(struct mpu_args, upload_id), 0},
      {"parts", MLFLOW_ARRAY, false, offsetof(struct mpu_args, part_list), 0},
  };
  struct err err;
  struct str path;
  if (!path_of(req, &path) || !mlflow_args(req, fields, ARRAY_LEN(fields), in, tree))
    return NULL;
  struct join_op *op = ARENA_NEW(http_req_arena(req), struct join_op);
  const char *upload = arena_printf(http_req_arena(req), PARTS_DIRECTORY "/%.*s", STR_ARG(in->upload_id));
  if (!op || !upload)
    err_no_memory(&err);
  else if (!upload_id_ok(in->upload_id))
    err_set(&err, ERR_NOT_FOUND, "there is no such upload");
  else if (target_of(req, in->path, &path, &err)) {
    *op = (struct join_op){.req = req, .path = path, .upload = str_of(upload)};
    return op;
  }
  fail(req, &err);
  return NULL;
}

static void complete_parts(struct http_req *req) {
  struct mpu_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct join_op *op = new_join(req, &in, &tree);
  if (!op)
    return;
  if (name_parts(op, in.part_list, &err))
    files_guard(req, op->path, on_may_join, op);
  else
    fail(req, &err);
}

static void abort_parts(struct http_req *req) {
  struct mpu_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct join_op *op = new_join(req, &in, &tree);
  if (op && !artifact_delete(web_app(req)->artifacts, op->upload, on_parts_gone, op, &err))
    fail(req, &err);
}

#define UPLOAD_ROW(path_text, policy_word, stream_ref, text)                                                                         \
  {                                                                                                                                  \
    .method = HTTP_PUT, .path = path_text, .policy = policy_word, .body = BODY_STREAM, .max_body = UPLOAD_MAX, .stream = stream_ref, \
    .summary = text                                                                                                                  \
  }

const struct route mlflow_artifact_routes[] = {
    MLFLOW_GET("/artifacts", list_directory, "List a directory"),
    MLFLOW_GET("/artifacts/{path...}", get_file, "A file"),
    UPLOAD_ROW("/artifacts/{path...}", POLICY_TRACK, &put_stream, "Store a file"),
    {.method = HTTP_DELETE,
     .path = "/artifacts/{path...}",
     .policy = POLICY_CURATE,
     .body = BODY_BUFFER,
     .max_body = MLFLOW_BODY_MAX,
     .handler = delete_file,
     .summary = "Remove a file or a directory"},
    MLFLOW_WRITE("/mpu/create/{path...}", create_parts, "Begin an upload in parts"),
    MLFLOW_WRITE("/mpu/complete/{path...}", complete_parts, "Join the parts of an upload"),
    MLFLOW_WRITE("/mpu/abort/{path...}", abort_parts, "Throw away the parts of an upload"),
    UPLOAD_ROW("/mpu/part/{upload}/{number}", POLICY_PUBLIC, &part_stream, "Store one part of an upload"),
};
const size_t mlflow_artifact_route_count = ARRAY_LEN(mlflow_artifact_routes);

/* ---- files of a run ---- */

enum file_use { USE_LIST, USE_GET, USE_PUT };

struct file_op {
  struct http_req *req;
  struct id run;
  struct str path; /* below the run's artifacts */
  enum file_use use;
};

static void on_uploaded(void *ctx, const struct artifact_file *file UNUSED, const struct err *err) {
  struct file_op *op = ctx;
  struct buf body = BUF_INIT(16);
  if (err)
    fail(op->req, err);
  else
    http_reply_body(op->req, 200, "text/plain", &body);
}

static void store_body(struct file_op *op, struct str path) {
  struct artifact_upload *upload;
  struct err err;
  if (!artifact_upload_new(web_app(op->req)->artifacts, path, &upload, &err) ||
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
    if (ours)
      store_body(op, path);
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
  *op = (struct file_op){req, run, path, use};
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUN_GET);
  pg_put_uuid(&args, run);
  if (!pg_run(web_app(req)->pg, &args, 0, on_run, op, &err))
    fail(req, &err);
}

static bool read_run_and_path(struct http_req *req, struct id *ret_run, struct str *ret_path, struct err *err) {
  struct str path = http_req_param(req, "path");
  return mlflow_run_id(http_req_param(req, "run_id"), http_req_param(req, "run_uuid"), ret_run, err) &&
         artifact_path_check(path.p ? path : STR(""), ret_path, err);
}

static void list_artifacts(struct http_req *req) {
  struct id run;
  struct str path;
  struct err err;
  if (read_run_and_path(req, &run, &path, &err))
    begin_use(req, USE_LIST, run, path);
  else
    fail(req, &err);
}

static void get_artifact(struct http_req *req) {
  struct id run;
  struct str path;
  struct err err;
  if (read_run_and_path(req, &run, &path, &err))
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
    MLFLOW_GET("/artifacts/list", list_artifacts, "List the artifacts of a run"),
    {.method = HTTP_POST,
     .path = "/upload-artifact",
     .policy = POLICY_TRACK,
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
    MLFLOW_GET("/get-artifact", get_artifact, "A file of a run"),
};
const size_t mlflow_root_route_count = ARRAY_LEN(mlflow_root_routes);

const struct route mlflow_info_routes[] = {MLFLOW_GET("/server-info", server_info, "What this server is")};
const size_t mlflow_info_route_count = ARRAY_LEN(mlflow_info_routes);
