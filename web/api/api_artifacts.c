/* /api/v1: artifacts of runs. */
#include "tracker/names.h"
#include "web/api/api_files.h"
#include "web/api/api_runs.h"
#include "web/mlflow/mlflow_files.h"
#include "web/tables.h"
#include "web/tracking.h"

#define UPLOAD_MAX ((uint64_t)1 << 42)

enum file_use { USE_LIST, USE_GET, USE_DELETE, USE_ZIP };

struct file_op {
  struct http_req *req;
  struct id run;
  struct str path; /* below the run's artifacts */
  struct str full; /* below the store's directory */
  enum file_use use;
};

static void fail(struct file_op *op, const struct err *err) {
  http_reply_error(op->req, err);
}

/* ---- lists, as models have them too ---- */

struct list_op {
  struct http_req *req;
  struct str directory, prefix, cursor;
  int64_t limit;
  char **names; /* of the page */
  bool *is_dir;
  int64_t *sizes;
  size_t count;
  bool more;
};

static size_t find_row(const struct pg_reply *rows, struct str path) {
  size_t low = 0, high = pg_rows(rows);
  while (low < high) { /* they are ordered by path, byte by byte */
    size_t mid = low + (high - low) / 2;
    int order = str_cmp(pg_text(rows, mid, 0), path);
    if (order == 0)
      return mid;
    if (order < 0)
      low = mid + 1;
    else
      high = mid;
  }
  return SIZE_MAX;
}

static void put_entry(struct json_writer *w, const struct list_op *op, size_t i, const struct pg_reply *rows) {
  AUTO_BUF struct buf full = BUF_INIT(64 * KIB), shown = BUF_INIT(64 * KIB);
  buf_printf(&full, "%.*s/%s", STR_ARG(op->directory), op->names[i]);
  buf_printf(&shown, "%.*s%s%s", STR_ARG(op->prefix), op->prefix.n ? "/" : "", op->names[i]);
  size_t row = op->is_dir[i] ? SIZE_MAX : find_row(rows, buf_str(&full));
  char sha256[65];
  if (row != SIZE_MAX)
    hex_encode(pg_bytea(rows, row, 2).p, 32, sha256);
  jw_object(w);
  jw_put_str(w, "path", buf_str(&shown));
  jw_put_bool(w, "is_dir", op->is_dir[i]);
  api_put_i64(w, "size", op->is_dir[i] ? INT64_MIN : op->sizes[i]);
  jw_put_text(w, "sha256", row == SIZE_MAX ? NULL : sha256);
  api_put_i64(w, "created", row == SIZE_MAX ? INT64_MIN : pg_int(rows, row, 3));
  jw_object_end(w);
}

static void on_rows(void *ctx, const struct pg_reply *reply) {
  struct list_op *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    http_reply_error(op->req, &err);
    return;
  }
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "items");
  jw_array(&w);
  for (size_t i = 0; i < op->count; i++)
    put_entry(&w, op, i, reply);
  jw_array_end(&w);
  jw_put_text(&w, "next", op->more ? op->names[op->count - 1] : NULL);
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

static bool keep_page(struct list_op *op, const struct artifact_entry *entries, size_t count, struct err *err) {
  struct arena *arena = http_req_arena(op->req);
  size_t from = 0;
  while (op->cursor.n && from < count && str_cmp(str_of(entries[from].name), op->cursor) <= 0)
    from++;
  op->count = MIN_OF(count - from, (size_t)op->limit);
  op->more = count - from > op->count;
  op->names = ARENA_NEW_ARRAY(arena, char *, op->count + 1);
  op->is_dir = ARENA_NEW_ARRAY(arena, bool, op->count + 1);
  op->sizes = ARENA_NEW_ARRAY(arena, int64_t, op->count + 1);
  if (!op->names || !op->is_dir || !op->sizes)
    return err_no_memory(err);
  for (size_t i = 0; i < op->count; i++) {
    op->names[i] = arena_strdup(arena, str_of(entries[from + i].name));
    op->is_dir[i] = entries[from + i].is_dir;
    op->sizes[i] = entries[from + i].size;
    if (!op->names[i])
      return err_no_memory(err);
  }
  return true;
}

static void on_listed(void *ctx, const struct artifact_entry *entries, size_t count, const struct err *err) {
  struct list_op *op = ctx;
  struct err why;
  if (err || !keep_page(op, entries, count, &why)) {
    http_reply_error(op->req, err ? err : &why);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_ARTIFACT_BELOW);
  pg_put_text(&args, op->directory);
  if (!pg_run(web_app(op->req)->pg, &args, 0, on_rows, op, &why))
    http_reply_error(op->req, &why);
}

bool api_list_files(struct http_req *req, struct str directory, struct str prefix, struct err *err) {
  struct list_op *op = ARENA_NEW(http_req_arena(req), struct list_op);
  if (!op)
    return err_no_memory(err);
  *op = (struct list_op){.req = req, .directory = directory, .prefix = prefix};
  return api_page(req, &op->limit, &op->cursor, err) && artifact_list(web_app(req)->artifacts, directory, false, on_listed, op, err);
}

/* ---- files of a run ---- */

/* The run of the reply. What lies in the trash may be read, and stays as it is. */
static bool read_run(const struct pg_reply *reply, struct id run, bool to_change, struct run_row *ret, struct err *err) {
  if (!pg_ok(reply, err) || (pg_rows(reply) == 0 && !api_no_run(err, run)))
    return false;
  run_row_read(reply, 0, ret);
  return !to_change || ret->deleted_at == INT64_MIN || api_run_in_trash(err);
}

bool api_place(struct http_req *req, struct str uri, struct str below, struct str *ret, struct err *err) {
  AUTO_BUF struct buf base = BUF_INIT(64 * KIB);
  struct str root;
  struct artifact_store *store = web_app(req)->artifacts;
  if (!store)
    return err_set(err, ERR_UNAVAILABLE, "artifacts are not served here");
  if (!artifact_path_of_uri(store, uri, &base))
    return err_set(err, ERR_INVALID, "these artifacts are at %.*s, not in this service", STR_ARG(str_slice(uri, 0, 200)));
  if (!artifact_path_check(buf_str(&base), &root, err))
    return false;
  const char *kept = arena_strdup(http_req_arena(req), root);
  *ret = kept ? files_join(req, str_n(kept, root.n), below) : STR_NONE;
  return ret->p || err_no_memory(err);
}

static void on_deleted(void *ctx, const struct err *err) {
  struct file_op *op = ctx;
  if (err)
    fail(op, err);
  else
    http_reply_empty(op->req, 204);
}

static void on_may_delete(void *ctx, const struct err *err) {
  struct file_op *op = ctx;
  struct err why;
  if (err)
    fail(op, err);
  else if (!artifact_delete(web_app(op->req)->artifacts, op->full, on_deleted, op, &why))
    fail(op, &why);
}

static void get_one(struct file_op *op) {
  struct str directory, name;
  if (api_zip_asked(op->req, op->full, op->path, &directory, &name))
    api_reply_zip(op->req, directory, name);
  else
    files_reply(op->req, op->full);
}

static void on_run(void *ctx, const struct pg_reply *reply) {
  struct file_op *op = ctx;
  struct run_row row;
  char hex[ID_HEX_LEN + 1];
  struct err err;
  if (!read_run(reply, op->run, op->use == USE_DELETE, &row, &err) || !api_place(op->req, row.artifact_uri, op->path, &op->full, &err)) {
    fail(op, &err);
    return;
  }
  switch (op->use) {
  case USE_LIST:
    if (!api_list_files(op->req, op->full, op->path, &err))
      fail(op, &err);
    break;
  case USE_GET:
    get_one(op);
    break;
  case USE_ZIP:
    id_format(op->run, hex);
    api_reply_zip(op->req, op->full, str_of(hex));
    break;
  case USE_DELETE:
    files_guard(op->req, op->full, FILES_REMOVE, on_may_delete, op);
    break;
  }
}

static void use_file(struct http_req *req, struct str path, enum file_use use) {
  struct file_op *op = HTTP_REQ_NEW(req, struct file_op);
  struct err err;
  if (!op)
    return;
  *op = (struct file_op){.req = req, .use = use};
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUN_GET);
  if (api_run_id(req, &op->run, &err) && artifact_below_check(path.p ? path : STR(""), &op->path, &err)) {
    pg_put_uuid(&args, op->run);
    if (pg_run(web_app(req)->pg, &args, 0, on_run, op, &err))
      return;
  }
  fail(op, &err);
}

static void list_artifacts(struct http_req *req) {
  use_file(req, http_req_param(req, "path"), USE_LIST);
}

static void get_artifact(struct http_req *req) {
  use_file(req, http_req_value(req, "path"), USE_GET);
}

static void get_zip(struct http_req *req) {
  use_file(req, STR(""), USE_ZIP);
}

static void delete_artifact(struct http_req *req) {
  use_file(req, http_req_value(req, "path"), USE_DELETE);
}

/* ---- uploads: where the run's artifacts are is asked before the body is read ---- */

struct put_op {
  struct http_req *req;
  struct id run;
  struct str path;
};

static void on_put(struct http_req *req, const struct artifact_stored *stored) {
  char sha256[65];
  struct str path = http_req_value(req, "path");
  struct buf body = BUF_INIT(64 * KIB);
  struct json_writer w;
  hex_encode(stored->file.sha256, sizeof stored->file.sha256, sha256);
  jw_init(&w, &body);
  jw_object(&w);
  jw_put_str(&w, "path", path);
  jw_put_i64(&w, "size", stored->file.size);
  jw_put_text(&w, "sha256", sha256);
  jw_object_end(&w);
  http_reply_header(req, "ETag", str_of(stored->etag));
  http_reply_json(req, 201, &body);
}

static void on_place(void *ctx, const struct pg_reply *reply) {
  struct put_op *op = ctx;
  struct run_row row;
  struct str full;
  struct err err;
  if (read_run(reply, op->run, true, &row, &err) && api_place(op->req, row.artifact_uri, op->path, &full, &err))
    files_put_go(op->req, full);
  else
    files_put_fail(op->req, &err);
}

static bool put_begin(struct http_req *req, struct err *err) {
  struct put_op *op = ARENA_NEW(http_req_arena(req), struct put_op);
  if (!op)
    return err_no_memory(err);
  op->req = req;
  if (!api_run_id(req, &op->run, err) || !artifact_below_check(http_req_value(req, "path"), &op->path, err) ||
      !files_put_prepare(req, on_put, err))
    return false;
  AUTO_PG_ARGS struct pg_args args;
  struct err why;
  pg_args_init(&args, STMT_RUN_GET);
  pg_put_uuid(&args, op->run);
  if (!pg_run(web_app(req)->pg, &args, 0, on_place, op, &why))
    files_put_fail(req, &why);
  return true;
}

static const struct route_stream put_stream = {put_begin, files_put_data, files_put_end, files_put_abort};

const struct route api_artifact_routes[] = {
    {.method = HTTP_GET,
     .path = "/runs/{id}/artifacts",
     .policy = POLICY_READ,
     .reach = REACH_NAMED,
     .handler = list_artifacts,
     .response_schema = "file_list",
     .summary = "List a directory of a run",
     .query = "path:string,limit:integer,cursor:string"},
    {.method = HTTP_GET,
     .path = "/runs/{id}/artifacts/{path...}",
     .policy = POLICY_READ,
     .reach = REACH_NAMED,
     .handler = get_artifact,
     .response_type = "application/octet-stream",
     .summary = "A file of a run",
     .doc = "DIRECTORY.zip gives all files below a directory as an archive, when no file has that name."},
    {.method = HTTP_GET,
     .path = "/runs/{id}/artifacts.zip",
     .policy = POLICY_READ,
     .reach = REACH_NAMED,
     .handler = get_zip,
     .response_type = "application/zip",
     .summary = "All artifacts of a run as a zip archive"},
    {.method = HTTP_PUT,
     .path = "/runs/{id}/artifacts/{path...}",
     .policy = POLICY_TRACK,
     .reach = REACH_ANY,
     .body = BODY_STREAM,
     .max_body = UPLOAD_MAX,
     .stream = &put_stream,
     .response_schema = "file_stored",
     .summary = "Store a file of a run",
     .doc =
         "It takes the place of one that is there. With the header `If-None-Match: *` that is refused with 412; with `If-Match`, unless it "
         "names the one that is there: by the ETag of its download, which the answer has too, or by its SHA-256 in quotes."},
    {.method = HTTP_DELETE,
     .path = "/runs/{id}/artifacts/{path...}",
     .policy = POLICY_CURATE,
     .reach = REACH_ANY,
     .handler = delete_artifact,
     .summary = "Remove a file or a directory of a run",
     .doc = "What a run in the trash holds stays until the run is restored or purged."},
};
const size_t api_artifact_route_count = ARRAY_LEN(api_artifact_routes);
