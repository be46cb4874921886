/* MLflow's protocol: uploads in parts. Each part is a file of the store; in the end they are joined into the one that was meant. */
#include <openssl/sha.h>

#include "tracker/names.h"
#include "web/idempotency.h"
#include "web/mlflow/mlflow_files.h"
#include "web/mlflow/mlflow_tables.h"

enum { PARTS_MAX = 10000, SECRET_LEN = 32, MARK_LEN = 16 };

/* The parts of an upload lie in the store under a name that nobody else knows, hidden from lists and paths of clients. */
#define PARTS_DIRECTORY ".winnow-uploads"

static void fail(struct http_req *req, const struct err *err) {
  http_reply_error(req, err);
}

/* ---- what is asked ---- */

struct mpu_args {
  struct str client_file, upload_id;
  int64_t parts;
  const json_t *part_list;
};

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
  if (!web_app(req)->artifacts)
    return err_set(err, ERR_UNAVAILABLE, "artifacts are not served here");
  if (!files_target(req, &directory, err))
    return false;
  if (!name.n)
    return err_set(err, ERR_INVALID, "Invalid path");
  struct str path = files_join(req, directory, name);
  return path.p ? artifact_path_check(path, ret, err) : err_no_memory(err);
}

/* ---- ids ---- */

/* "SECRET-COUNT-MARK": an upload's id tells how many parts it has and, by a digest, where they are to go, so that nothing else needs to be
 * remembered of it. Its directory has the id for a name: no other id leads to one. */
static bool mark_of(struct str target, char out[MARK_LEN + 1]) {
  uint8_t digest[SHA256_DIGEST_LENGTH];
  if (!SHA256((const unsigned char *)target.p, target.n, digest))
    return false;
  hex_encode(digest, MARK_LEN / 2, out);
  return true;
}

static const char *make_id(struct http_req *req, int64_t parts, struct str target) {
  uint8_t secret[SECRET_LEN / 2];
  char hex[SECRET_LEN + 1], mark[MARK_LEN + 1];
  rng_secret(secret, sizeof secret);
  hex_encode(secret, sizeof secret, hex);
  return mark_of(target, mark) ? arena_printf(http_req_arena(req), "%s-%lld-%s", hex, (long long)parts, mark) : NULL;
}

static bool no_upload(struct err *err) {
  return err_set(err, ERR_NOT_FOUND, "there is no such upload");
}

static bool read_id(struct str id, int64_t *ret_parts, struct str *ret_mark, struct err *err) {
  uint8_t bytes[SECRET_LEN / 2];
  struct str rest = id, secret, count;
  if (str_split(&rest, '-', &secret) && hex_decode(secret, bytes, sizeof bytes) && str_split(&rest, '-', &count) &&
      str_to_i64(count, ret_parts) && *ret_parts >= 1 && *ret_parts <= PARTS_MAX && hex_decode(rest, bytes, MARK_LEN / 2)) {
    *ret_mark = rest;
    return true;
  }
  return no_upload(err);
}

/* ---- create ---- */

struct create_op {
  struct http_req *req;
  const char *id;
  struct str directory;
  int64_t parts;
};

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

static void on_made(void *ctx, const struct err *err) {
  const struct create_op *op = ctx;
  if (err) {
    fail(op->req, err);
    return;
  }
  struct buf body = BUF_INIT(16 * MIB);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_put_text(&w, "upload_id", op->id);
  jw_key(&w, "credentials");
  jw_array(&w);
  for (int64_t i = 1; i <= op->parts; i++) {
    jw_object(&w);
    put_part_url(&w, op->req, op->id, i);
    jw_put_i64(&w, "part_number", i);
    jw_key(&w, "headers");
    jw_object(&w);
    jw_object_end(&w);
    jw_object_end(&w);
  }
  jw_array_end(&w);
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

static void on_may_begin(void *ctx, const struct err *refused) {
  struct create_op *op = ctx;
  struct err err;
  if (refused)
    fail(op->req, refused);
  else if (!artifact_make_directory(web_app(op->req)->artifacts, op->directory, on_made, op, &err))
    fail(op->req, &err);
}

static bool create(struct http_req *req, const struct mpu_args *in, struct err *err) {
  struct str target;
  if (!target_of(req, in->client_file, &target, err))
    return false;
  if (in->parts < 1 || in->parts > PARTS_MAX || !http_req_host(req)->host.p)
    return err_set(err, ERR_INVALID, "Invalid value %lld for parameter 'num_parts' supplied. It must be between 1 and %d",
                   (long long)in->parts, PARTS_MAX);
  struct create_op *op = ARENA_NEW(http_req_arena(req), struct create_op);
  const char *id = make_id(req, in->parts, target);
  const char *directory = id ? arena_printf(http_req_arena(req), PARTS_DIRECTORY "/%s", id) : NULL;
  if (!op || !directory)
    return err_no_memory(err);
  *op = (struct create_op){req, id, str_of(directory), in->parts};
  files_guard(req, target, FILES_WRITE, on_may_begin, op);
  return true;
}

static void create_parts(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      {"path", MLFLOW_STR, true, offsetof(struct mpu_args, client_file), 0},
      {"num_parts", MLFLOW_INT, false, offsetof(struct mpu_args, parts), 0},
  };
  struct mpu_args in = {.parts = 1};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  if (mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree) && !create(req, &in, &err))
    fail(req, &err);
}

/* ---- a part ---- */

static void on_part(struct http_req *req, const struct artifact_stored *stored) {
  char etag[2 * sizeof stored->file.sha256 + 1];
  hex_encode(stored->file.sha256, sizeof stored->file.sha256, etag);
  http_reply_header(req, "ETag", str_of(etag));
  mlflow_reply_done(req);
}

/* Whoever has the URL may: the id is the secret that `create` gave out. */
static bool part_begin(struct http_req *req, struct err *err) {
  struct str id = http_req_value(req, "upload"), mark;
  int64_t parts, n;
  if (!read_id(id, &parts, &mark, err))
    return false;
  if (!str_to_i64(http_req_value(req, "number"), &n) || n < 1 || n > parts)
    return err_set(err, ERR_NOT_FOUND, "the upload has the parts 1 to %lld", (long long)parts);
  const char *path = arena_printf(http_req_arena(req), PARTS_DIRECTORY "/%.*s/%lld", STR_ARG(id), (long long)n);
  if (!path)
    return err_no_memory(err);
  if (!files_put_prepare(req, on_part, err))
    return false;
  files_put_into(req, str_of(path));
  return true;
}

static const struct route_stream part_stream = {part_begin, files_put_data, files_put_end, files_put_abort};

/* ---- the end of an upload ---- */

struct part {
  struct str etag, path;
  bool is_named, is_stored;
};

/* Texts lie in the request's arena. */
struct end_op {
  struct http_req *req;
  struct str target, directory;
  struct part *parts; /* by number, 1 to count */
  size_t count;
  void (*go_on)(void *op); /* sends the answer that was kept */
  void *go_on_ctx;
};

static void on_gone(void *ctx, const struct err *err) {
  const struct end_op *op = ctx;
  if (err)
    fail(op->req, err);
  else
    mlflow_reply_done(op->req);
}

static void on_note_gone(void *ctx, const struct pg_reply *reply UNUSED) {
  const struct end_op *op = ctx;
  op->go_on(op->go_on_ctx);
}

/* The file is there. Parts left behind stay noted as what is to be removed. */
static void on_parts_gone(void *ctx, const struct err *err) {
  struct end_op *op = ctx;
  AUTO_PG_ARGS struct pg_args args;
  struct err ignored;
  pg_args_init(&args, STMT_DOOMED_GONE);
  pg_put_text(&args, op->directory);
  if (err || !pg_run(web_app(op->req)->pg, &args, 0, on_note_gone, op, &ignored))
    op->go_on(op->go_on_ctx);
}

/* The answer is kept: who asks again gets it. Before that they find the parts. */
static void remove_parts(void *ctx, void (*go_on)(void *op), void *go_on_ctx) {
  struct end_op *op = ctx;
  struct err err;
  op->go_on = go_on;
  op->go_on_ctx = go_on_ctx;
  if (!artifact_delete(web_app(op->req)->artifacts, op->directory, on_parts_gone, op, &err))
    on_parts_gone(op, &err);
}

static void on_joined(void *ctx, const struct artifact_stored *stored UNUSED, const struct err *err) {
  struct end_op *op = ctx;
  struct err why;
  if (err && err->code == ERR_NOT_FOUND)
    fail(op->req, (no_upload(&why), &why)); /* aborted meanwhile */
  else if (err)
    fail(op->req, err);
  else {
    idempotency_then(op->req, op->directory, remove_parts, op);
    mlflow_reply_done(op->req);
  }
}

static bool join(struct end_op *op, struct err *err) {
  struct str *paths = ARENA_NEW_ARRAY(http_req_arena(op->req), struct str, op->count);
  if (!paths)
    return err_no_memory(err);
  for (size_t i = 0; i < op->count; i++)
    paths[i] = op->parts[i].path;
  return artifact_join(web_app(op->req)->artifacts, paths, op->count, op->target, on_joined, op, err);
}

/* Is it the digest that storing the part has answered? Others put quotes around it. */
static bool is_etag(struct str etag, struct str sha256) {
  char hex[2 * SHA256_DIGEST_LENGTH + 1];
  if (etag.n > 1 && etag.p[0] == '"' && str_ends(etag, STR("\"")))
    etag = str_slice(etag, 1, etag.n - 1);
  hex_encode(sha256.p, MIN_OF(sha256.n, SHA256_DIGEST_LENGTH), hex);
  return str_eq_nocase(etag, str_of(hex));
}

/* A row of a file in the upload's directory. */
static bool check_stored(struct end_op *op, const struct pg_reply *rows, size_t row, struct err *err) {
  struct str path = pg_text(rows, row, 0);
  int64_t number;
  if (!str_to_i64(str_slice(path, op->directory.n + 1, path.n), &number) || number < 1 || number > (int64_t)op->count)
    return true;
  struct part *part = &op->parts[number - 1];
  part->is_stored = true;
  return is_etag(part->etag, pg_bytea(rows, row, 2)) ||
         err_set(err, ERR_INVALID, "the 'etag' of part %lld is not that of the part that was stored", (long long)number);
}

static bool check_all_stored(struct end_op *op, const struct pg_reply *rows, struct err *err) {
  for (size_t row = 0; row < pg_rows(rows); row++)
    if (!check_stored(op, rows, row, err))
      return false;
  for (size_t i = 0; i < op->count; i++)
    if (!op->parts[i].is_stored)
      return err_set(err, ERR_INVALID, "part %zu has not been stored", i + 1);
  return true;
}

static void on_stored_parts(void *ctx, const struct pg_reply *reply) {
  struct end_op *op = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err) && (pg_rows(reply) || no_upload(&err));
  if (!ok || !check_all_stored(op, reply, &err) || !join(op, &err))
    fail(op->req, &err);
}

static void on_may_join(void *ctx, const struct err *err) {
  struct end_op *op = ctx;
  struct err why;
  if (err) {
    fail(op->req, err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_ARTIFACT_BELOW);
  pg_put_text(&args, op->directory);
  if (!pg_run(web_app(op->req)->pg, &args, 0, on_stored_parts, op, &why))
    fail(op->req, &why);
}

static bool read_part(struct end_op *op, const json_t *item, struct err *err) {
  int64_t number = json_integer_value(json_object_get(item, "part_number"));
  if (number < 1 || number > (int64_t)op->count)
    return err_set(err, ERR_INVALID, "Invalid value for parameter 'part_number' supplied. The upload has the parts 1 to %zu", op->count);
  struct part *part = &op->parts[number - 1];
  if (part->is_named)
    return err_set(err, ERR_INVALID, "part %lld is named twice", (long long)number);
  struct str etag = json_str(json_object_get(item, "etag"));
  const char *copy = arena_strdup(http_req_arena(op->req), etag),
             *path = arena_printf(http_req_arena(op->req), "%.*s/%lld", STR_ARG(op->directory), (long long)number);
  *part = (struct part){.etag = str_n(copy, etag.n), .path = str_of(path), .is_named = true};
  return (copy && path) || err_no_memory(err);
}

static bool read_parts(struct end_op *op, const json_t *list, struct err *err) {
  if (json_array_size(list) != op->count)
    return err_set(err, ERR_INVALID, "the upload has %zu parts, and %zu are named", op->count, json_array_size(list));
  op->parts = ARENA_NEW_ARRAY(http_req_arena(op->req), struct part, op->count);
  if (!op->parts)
    return err_no_memory(err);
  for (size_t i = 0; i < op->count; i++)
    if (!read_part(op, json_array_get(list, i), err))
      return false;
  return true;
}

static bool check_target(struct end_op *op, struct str mark, struct err *err) {
  char wanted[MARK_LEN + 1];
  if (!mark_of(op->target, wanted))
    return err_no_memory(err);
  return str_eq_nocase(mark, str_of(wanted)) || err_set(err, ERR_INVALID, "the upload was begun for another path");
}

static bool fill_op(struct end_op *op, const struct mpu_args *in, struct err *err) {
  struct str mark;
  int64_t parts;
  if (!read_id(in->upload_id, &parts, &mark, err) || !target_of(op->req, in->client_file, &op->target, err))
    return false;
  op->count = (size_t)parts;
  op->directory = str_of(arena_printf(http_req_arena(op->req), PARTS_DIRECTORY "/%.*s", STR_ARG(in->upload_id)));
  return op->directory.p ? check_target(op, mark, err) : err_no_memory(err);
}

/* NULL when answered. */
static struct end_op *end_op_new(struct http_req *req, struct mpu_args *in, json_t **tree) {
  static const struct mlflow_field fields[] = {
      {"path", MLFLOW_STR, true, offsetof(struct mpu_args, client_file), 0},
      {"upload_id", MLFLOW_STR, true, offsetof(struct mpu_args, upload_id), 0},
      {"parts", MLFLOW_ARRAY, false, offsetof(struct mpu_args, part_list), 0},
  };
  struct err err;
  if (!mlflow_args(req, fields, ARRAY_LEN(fields), in, tree))
    return NULL;
  struct end_op *op = HTTP_REQ_NEW(req, struct end_op);
  if (!op)
    return NULL;
  op->req = req;
  if (fill_op(op, in, &err))
    return op;
  fail(req, &err);
  return NULL;
}

static void complete_parts(struct http_req *req) {
  struct mpu_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct end_op *op = end_op_new(req, &in, &tree);
  if (!op)
    return;
  if (read_parts(op, in.part_list, &err))
    files_guard(req, op->target, FILES_WRITE, on_may_join, op);
  else
    fail(req, &err);
}

static void abort_parts(struct http_req *req) {
  struct mpu_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct end_op *op = end_op_new(req, &in, &tree);
  if (op && !artifact_delete(web_app(req)->artifacts, op->directory, on_gone, op, &err))
    fail(req, &err);
}

const struct route mlflow_part_routes[] = {
    MLFLOW_WRITE("/mpu/create/{path...}", REACH_ANY, create_parts, "Begin an upload in parts"),
    {.method = HTTP_POST,
     .path = "/mpu/complete/{path...}",
     .policy = POLICY_TRACK,
     .reach = REACH_ANY,
     .body = BODY_BUFFER,
     .max_body = MLFLOW_BODY_MAX,
     .handler = complete_parts,
     .summary = "Join the parts of an upload",
     .creates = CREATES_NAMED},
    MLFLOW_WRITE("/mpu/abort/{path...}", REACH_ANY, abort_parts, "Throw away the parts of an upload"),
    MLFLOW_UPLOAD("/mpu/part/{upload}/{number}", POLICY_PUBLIC, REACH_ANY, &part_stream, "Store one part of an upload"),
};
const size_t mlflow_part_route_count = ARRAY_LEN(mlflow_part_routes);
