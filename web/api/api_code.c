/* /api/v1: snapshots of working directories. */
#include "base/json.h"
#include "sweeper/machine/code_store.h"
#include "web/app.h"
#include "web/http/body_sink.h"
#include "web/tables.h"

#define ARCHIVE_MAX ((uint64_t)16 << 30)

struct put_op {
  struct http_req *req;
  struct code_upload *upload;
  struct body_sink sink;
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

static void on_stored(void *ctx, const char *sha256, const struct err *err) {
  struct put_op *op = ctx;
  sink_release(&op->sink);
  if (err)
    http_reply_error(op->req, err);
  else
    reply_code(op->req, 201, sha256);
}

/* On a thread. */
static bool write_piece(void *ctx, struct str bytes, struct err *err) {
  const struct put_op *op = ctx;
  return code_upload_write(op->upload, bytes, err);
}

static void on_written(void *ctx, struct str rest, const struct err *err) {
  struct put_op *op = ctx;
  struct err why;
  if (err)
    code_upload_abort(op->upload);
  else if (code_upload_finish(op->upload, rest, on_stored, op, &why))
    return;
  on_stored(op, NULL, err ? err : &why);
}

static bool put_begin(struct http_req *req, struct err *err) {
  struct put_op *op = ARENA_NEW(http_req_arena(req), struct put_op);
  char sha256[DIGEST_HEX + 1];
  if (!op)
    return err_no_memory(err);
  op->req = req;
  sink_begin(&op->sink, req, web_app(req)->disk_work, write_piece, on_written, op);
  http_req_set_state(req, op);
  return read_digest(req, sha256, err) && code_upload_new(web_app(req)->code, sha256, &op->upload, err);
}

static bool put_data(struct http_req *req, struct str bytes, struct err *err UNUSED) {
  struct put_op *op = http_req_state(req);
  sink_take(&op->sink, bytes);
  return true;
}

static void put_end(struct http_req *req) {
  struct put_op *op = http_req_state(req);
  sink_end(&op->sink);
}

static void put_abort(struct http_req *req, const struct err *err) {
  struct put_op *op = http_req_state(req);
  sink_abort(&op->sink, err);
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
