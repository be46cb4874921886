/* /api/v1: the files of a model's version. */
#include "web/api/api_models.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "tracker/artifacts/artifact_store.h"
#include "tracker/names.h"
#include "web/api/api_files.h"
#include "web/api/api_runs.h"
#include "web/mlflow/mlflow_files.h"
#include "web/tables.h"
#include "web/tracking.h"

enum file_use { USE_LIST, USE_READ, USE_ZIP, USE_VERIFY };

/* Texts live as long as the request. */
struct files_op {
  struct http_req *req;
  struct str name, path;
  int64_t version;
  enum file_use use;
  struct str digest; /* to verify: the one that was noted */
};

static void on_verified(void *ctx, const struct artifact_tree *tree, const struct err *err) {
  struct files_op *op = ctx;
  char digest[65] = "", wanted[65] = "";
  struct buf body = BUF_INIT(4 * KIB);
  struct json_writer w;
  if (tree)
    hex_encode(tree->digest, sizeof tree->digest, digest);
  hex_encode(op->digest.p, op->digest.n, wanted);
  bool ok = tree && strcmp(digest, wanted) == 0;
  jw_init(&w, &body);
  jw_object(&w);
  jw_put_bool(&w, "ok", ok);
  jw_put_text(&w, "digest", wanted);
  jw_put_text(&w, "found", digest[0] ? digest : NULL);
  jw_put_text(&w, "reason", ok ? NULL : err ? err->text : "the files are not those that were registered");
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

/* The file that a version is, if it is one and no directory. */
static bool is_one_file(struct files_op *op, struct str place, struct stat *ret) {
  struct err ignored;
  AUTO_FD int fd = artifact_open(web_app(op->req)->artifacts, place, ret, &ignored);
  return fd >= 0;
}

/* A list of one. Texts live as long as the request. */
struct one_op {
  struct http_req *req;
  struct str name;
  int64_t size;
};

static void on_one_row(void *ctx, const struct pg_reply *reply) {
  const struct one_op *op = ctx;
  struct err err;
  char sha256[65];
  if (!pg_ok(reply, &err)) {
    http_reply_error(op->req, &err);
    return;
  }
  bool known = pg_rows(reply) > 0;
  if (known)
    hex_encode(pg_bytea(reply, 0, 2).p, 32, sha256);
  struct buf body = BUF_INIT(64 * KIB);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "items");
  jw_array(&w);
  if (op->name.n) {
    jw_object(&w);
    jw_put_str(&w, "path", op->name);
    jw_put_bool(&w, "is_dir", false);
    jw_put_i64(&w, "size", op->size);
    jw_put_text(&w, "sha256", known ? sha256 : NULL);
    api_put_i64(&w, "created", known ? pg_int(reply, 0, 3) : INT64_MIN);
    jw_object_end(&w);
  }
  jw_array_end(&w);
  jw_put_null(&w, "next");
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

static bool list_one_file(struct files_op *op, struct str place, struct str name, int64_t size, struct err *err) {
  struct one_op *one = ARENA_NEW(http_req_arena(op->req), struct one_op);
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_ARTIFACT_BELOW);
  pg_put_text(&args, place);
  if (!one)
    return err_no_memory(err);
  *one = (struct one_op){.req = op->req, .size = size};
  if (!op->path.n && !api_keep(op->req, name, &one->name, err))
    return false;
  return pg_run(web_app(op->req)->pg, &args, 0, on_one_row, one, err);
}

/* Such a version looks like a directory that holds the file under the name it had. */
static bool reply_one_file(struct files_op *op, struct str place, struct str name, const struct stat *st, struct err *err) {
  if (op->use == USE_LIST)
    return list_one_file(op, place, name, st->st_size, err);
  if (!str_eq(op->path, name))
    return err_set(err, ERR_NOT_FOUND, "this version is one file, \"%.*s\"", STR_ARG(str_slice(name, 0, 200)));
  files_reply(op->req, place);
  return true;
}

/* Files are those that were kept; of a version without a copy, those of its source. */
static bool place_of(struct files_op *op, const struct version_row *row, struct str *ret, struct err *err) {
  return row->kept_path.p ? api_keep(op->req, row->kept_path, ret, err) : api_place(op->req, row->storage_location, STR(""), ret, err);
}

static bool start_verifying(struct files_op *op, const struct version_row *row, struct str place, struct err *err) {
  if (row->digest.n != 32)
    return err_set(err, ERR_WRONG_STATE, "this version was registered without a digest: its files are not in this service");
  return api_keep(op->req, row->digest, &op->digest, err) && artifact_digest(web_app(op->req)->artifacts, place, on_verified, op, err);
}

static bool use_place(struct files_op *op, const struct version_row *row, struct str place, struct err *err) {
  struct stat st;
  if (op->use == USE_VERIFY)
    return start_verifying(op, row, place, err);
  struct str directory, name;
  if (is_one_file(op, place, &st)) {
    struct str path = api_version_path(row);
    return reply_one_file(op, place, str_last(path.n ? path : row->storage_location, '/'), &st, err);
  }
  if (op->use == USE_ZIP) {
    name = str_of(arena_printf(http_req_arena(op->req), "%.*s-%lld", STR_ARG(row->name), (long long)row->version));
    api_reply_zip(op->req, place, name.p ? name : STR("files"));
    return true;
  }
  place = files_join(op->req, place, op->path);
  if (!place.p)
    return err_no_memory(err);
  if (op->use == USE_READ && api_zip_asked(op->req, place, op->path, &directory, &name)) {
    api_reply_zip(op->req, directory, name);
    return true;
  }
  if (op->use == USE_LIST)
    return api_list_files(op->req, place, op->path, err);
  files_reply(op->req, place);
  return true;
}

static void on_place(void *ctx, const struct pg_reply *reply) {
  struct files_op *op = ctx;
  struct version_row row;
  struct str place;
  struct err err;
  if (!pg_ok(reply, &err) || (pg_rows(reply) == 0 && !api_no_version(op->name, op->version, &err))) {
    http_reply_error(op->req, &err);
    return;
  }
  version_row_read(reply, 0, &row);
  if (!web_app(op->req)->artifacts)
    err_set(&err, ERR_UNAVAILABLE, "artifacts are not served here");
  else if (place_of(op, &row, &place, &err) && use_place(op, &row, place, &err))
    return;
  http_reply_error(op->req, &err);
}

static void use_files(struct http_req *req, struct str path, enum file_use use) {
  struct files_op *op = HTTP_REQ_NEW(req, struct files_op);
  struct err err;
  if (!op)
    return;
  *op = (struct files_op){.req = req, .name = http_req_value(req, "name"), .use = use};
  if (!api_read_version(req, &op->version, &err) || !artifact_below_check(path.p ? path : STR(""), &op->path, &err)) {
    http_reply_error(op->req, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_GET);
  pg_put_text(&args, op->name);
  pg_put_int(&args, op->version);
  if (!pg_run(web_app(req)->pg, &args, 0, on_place, op, &err))
    http_reply_error(op->req, &err);
}

static void list_files(struct http_req *req) {
  use_files(req, http_req_param(req, "path"), USE_LIST);
}

static void get_file(struct http_req *req) {
  use_files(req, http_req_value(req, "path"), USE_READ);
}

static void get_zip(struct http_req *req) {
  use_files(req, STR(""), USE_ZIP);
}

static void verify(struct http_req *req) {
  use_files(req, STR(""), USE_VERIFY);
}

#define GET_ROW(path_text, handler_fn, text, type, schema, query_text)                                                        \
  {                                                                                                                           \
    .method = HTTP_GET, .path = path_text, .policy = POLICY_READ, .reach = REACH_ANY, .handler = handler_fn, .summary = text, \
    .response_type = type, .response_schema = schema, .query = query_text                                                     \
  }

const struct route api_model_file_routes[] = {
    GET_ROW("/models/{name}/versions/{version}/files", list_files, "List the files of a version", NULL, "file_list",
            "path:string,limit:integer,cursor:string"),
    GET_ROW("/models/{name}/versions/{version}/files/{path...}", get_file, "A file of a version; DIRECTORY.zip is an archive",
            "application/octet-stream", NULL, NULL),
    GET_ROW("/models/{name}/versions/{version}/files.zip", get_zip, "All files of a version as a zip archive", "application/zip", NULL,
            NULL),
    {.method = HTTP_POST,
     .path = "/models/{name}/versions/{version}/verify",
     .policy = POLICY_TRACK,
     .reach = REACH_ANY,
     .body = BODY_BUFFER,
     .max_body = API_BODY_MAX,
     .handler = verify,
     .response_schema = "verified",
     .summary = "Compare the files of a version with its digest"},
};
const size_t api_model_file_route_count = ARRAY_LEN(api_model_file_routes);
