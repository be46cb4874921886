/* /api/v1: snapshots of working directories. */
#include "base/json.h"
#include "sweeper/jobs/code_store.h"
#include "web/app.h"
#include "web/http/http_reply.h"
#include "web/tables.h"

#define ARCHIVE_MAX ((uint64_t)16 << 30)

struct put_op {
  struct http_req *req;
  struct code_upload *upload;
};

static bool read_digest(struct http_req *req, char ret[DIGEST_HEX + 1], struct err *err) {
  struct str text = http_req_value(req, "sha256");
  if (!web_app(req)->code)
    return err_set(err, ERR_UNAVAILABLE, "snapshots are not there yet");
  return code_digest_read(text, ret) ||
         err_set(err, ERR_INVALID, "\"%.*s\" is no SHA-256 in small hexadecimal digits", STR_ARG(str_slice(text, 0, 80)));
}

static void reply_code(struct http_req *req, int status, const char *sha256) {
  struct buf body = BUF_INIT(4096);
  struct json_writer w;
  char workdir[DIGEST_HEX + 8];
  snprintf(workdir, sizeof workdir, "sha256:%s", sha256);
  jw_init(&w, &body);
  jw_object(&w);
  jw_put_text(&w, "sha256", sha256);
  jw_put_text(&w, "workdir", workdir);
  jw_object_end(&w);
  http_reply_json(req, status, &body);
}

static void get_code(struct http_req *req) {
  struct err err;
  char sha256[DIGEST_HEX + 1];
  if (!read_digest(req, sha256, &err) ||
      (!code_has(web_app(req)->code, sha256) && !err_set(&err, ERR_NOT_FOUND, "there is no snapshot %s", sha256)))
    http_reply_error(req, &err);
  else
    reply_code(req, 200, sha256);
}

/* ---- upload ---- */

static bool put_begin(struct http_req *req, struct err *err) {
  struct put_op *op = ARENA_NEW(http_req_arena(req), struct put_op);
  char sha256[DIGEST_HEX + 1];
  if (!op)
    return err_no_memory(err);
  op->req = req;
  http_req_set_state(req, op);
  return read_digest(req, sha256, err) && code_upload_new(web_app(req)->code, sha256, &op->upload, err);
}

static void drop_upload(struct put_op *op) {
  code_upload_abort(op->upload);
  op->upload = NULL;
}

static bool put_data(struct http_req *req, struct str bytes, struct err *err) {
  struct put_op *op = http_req_state(req);
  if (code_upload_write(op->upload, bytes, err))
    return true;
  drop_upload(op);
  return false;
}

static void on_stored(void *ctx, const char *sha256, const struct err *err) {
  const struct put_op *op = ctx;
  if (err)
    http_reply_error(op->req, err);
  else
    reply_code(op->req, 201, sha256);
}

static void put_end(struct http_req *req) {
  struct put_op *op = http_req_state(req);
  struct code_upload *upload = op->upload;
  struct err err;
  op->upload = NULL;
  if (!code_upload_finish(upload, on_stored, op, &err))
    http_reply_error(req, &err);
}

static void put_abort(struct http_req *req, const struct err *err UNUSED) {
  drop_upload(http_req_state(req));
  http_reply_drop(req);
}

static const struct route_stream put_stream = {put_begin, put_data, put_end, put_abort};

const struct route code_routes[] = {
    {.method = HTTP_PUT,
     .path = "/code/{sha256}",
     .policy = POLICY_SUBMIT,
     .body = BODY_STREAM,
     .max_body = ARCHIVE_MAX,
     .stream = &put_stream,
     .summary = "Store a snapshot of a working directory",
     .doc = "The body is a tar archive of files, directories and symbolic links that stay within, and the path its SHA-256. A sweep whose "
            "`workdir` is `sha256:<digest>` runs each attempt in a copy. Kept while an unfinished sweep names it, and a day after.",
     .response_schema = "code"},
    {.method = HTTP_GET,
     .path = "/code/{sha256}",
     .policy = POLICY_SUBMIT,
     .handler = get_code,
     .summary = "Is the snapshot there?",
     .doc = "404 when it is not. Who asks keeps it for an hour.",
     .response_schema = "code"},
};
const size_t code_route_count = ARRAY_LEN(code_routes);
