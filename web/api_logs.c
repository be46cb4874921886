/* /api/v1/runs/{id}/logs/{stream}: what a run printed. */
#include "storage/pg.h"
#include "tracker/log_store.h"
#include "web/app.h"
#include "web/http_reply.h"
#include "web/tables.h"

enum { LOG_REPLY_MAX = 8 * 1024 * 1024, TAIL_LINES_MAX = 100000 };

struct log_op {
  struct http_req *req;
  struct id run;
  enum log_stream_name stream;
  int32_t attempt;
  int64_t from, limit, tail, end; /* tail -1: none */
};

static bool read_number(const struct http_req *req, const char *name, int64_t fallback, int64_t max, int64_t *ret, struct err *err) {
  struct str text = http_req_param(req, name);
  *ret = fallback;
  return !text.p || (str_to_i64(text, ret) && *ret >= 0 && *ret <= max) ||
         err_set(err, ERR_INVALID, "\"%s\" must be a whole number up to %lld", name, (long long)max);
}

/* Where the last `lines` lines begin. */
static size_t tail_at(struct str bytes, int64_t lines) {
  size_t at = bytes.n;
  if (at && bytes.p[at - 1] == '\n')
    at--;
  while (at > 0 && !(bytes.p[at - 1] == '\n' && --lines <= 0))
    at--;
  return lines > 0 && at == 0 ? 0 : at;
}

static void on_bytes(void *ctx, const struct log_bytes *bytes, const struct err *err) {
  struct log_op *op = ctx;
  char offset[24], next[24];
  if (err) {
    http_reply_error(op->req, err);
    return;
  }
  size_t skip = op->tail > 0 ? tail_at(bytes->bytes, op->tail) : op->tail == 0 ? bytes->bytes.n : 0;
  struct buf body = BUF_INIT(LOG_REPLY_MAX + KIB);
  buf_add_str(&body, str_slice(bytes->bytes, skip, bytes->bytes.n));
  snprintf(offset, sizeof offset, "%lld", (long long)(bytes->from + (int64_t)skip));
  snprintf(next, sizeof next, "%lld", (long long)bytes->next);
  http_reply_header(op->req, "Winnow-Log-Offset", str_of(offset));
  http_reply_header(op->req, "Winnow-Log-Next", str_of(next));
  http_reply_body(op->req, 200, "text/plain; charset=utf-8", &body);
}

static void reply_nothing(struct log_op *op) {
  struct log_bytes none = {.from = op->from, .next = op->from, .bytes = STR("")};
  on_bytes(op, &none, NULL);
}

static bool read_stream(struct log_op *op, const struct pg_reply *rows, struct err *err) {
  bool found = false;
  for (size_t i = 0; i < pg_rows(rows) && !found; i++) {
    found = pg_int(rows, i, 1) == (int64_t)op->stream;
    if (found) {
      op->attempt = (int32_t)pg_int(rows, i, 0);
      op->end = pg_int(rows, i, 2);
    }
  }
  if (!found) {
    reply_nothing(op);
    return true;
  }
  if (op->tail >= 0)
    op->from = MAX_OF(op->end - op->limit, (int64_t)0);
  return log_store_read(web_app(op->req)->logs, op->run, op->attempt, op->stream, op->from, op->end, (size_t)op->limit, on_bytes, op, err);
}

static void on_streams(void *ctx, const struct pg_reply *rows) {
  struct log_op *op = ctx;
  struct err err;
  if (!pg_ok(rows, &err) || !read_stream(op, rows, &err))
    http_reply_error(op->req, &err);
}

static void on_attempt(void *ctx, const struct pg_reply *rows) {
  struct log_op *op = ctx;
  struct err err;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_LOG_STREAM_INFO);
  bool ok = pg_ok(rows, &err) && (pg_rows(rows) || err_set(&err, ERR_NOT_FOUND, "there is no such run"));
  if (ok) {
    pg_put_uuid(&args, op->run);
    pg_put_int(&args, op->attempt);
    ok = pg_run(web_app(op->req)->pg, &args, 0, on_streams, op, &err);
  }
  if (!ok)
    http_reply_error(op->req, &err);
}

static bool start(struct log_op *op, struct err *err) {
  struct http_req *req = op->req;
  int64_t attempt;
  struct str follow = http_req_param(req, "follow");
  bool follows = false;
  if (!id_parse(http_req_value(req, "id"), &op->run) || !log_stream_parse(http_req_value(req, "stream"), &op->stream))
    return err_set(err, ERR_NOT_FOUND, "there is no such run, or no such stream: they are stdout and stderr");
  if (!web_app(req)->logs)
    return err_set(err, ERR_UNAVAILABLE, "logs cannot be read now");
  if (http_req_param(req, "grep").p)
    return err_set(err, ERR_UNSUPPORTED, "\"grep\" is not there yet") || err_hint(err, "pipe the log into grep");
  if (follow.p && !str_to_bool(follow, &follows))
    return err_set(err, ERR_INVALID, "\"follow\" must be true or false");
  if (!read_number(req, "from", 0, INT64_MAX, &op->from, err) ||
      !read_number(req, "limit", LOG_REPLY_MAX, LOG_REPLY_MAX, &op->limit, err) ||
      !read_number(req, "attempt", 0, INT32_MAX, &attempt, err) || !read_number(req, "tail", -1, TAIL_LINES_MAX, &op->tail, err))
    return false;
  op->attempt = (int32_t)attempt;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUN_ATTEMPT);
  pg_put_uuid(&args, op->run);
  return pg_run(web_app(req)->pg, &args, 0, on_attempt, op, err);
}

static void get_log(struct http_req *req) {
  struct err err;
  struct log_op *op = ARENA_NEW(http_req_arena(req), struct log_op);
  if (op)
    op->req = req;
  if (op ? !start(op, &err) : !err_no_memory(&err))
    http_reply_error(req, &err);
}

const struct route log_routes[] = {
    {.method = HTTP_GET,
     .path = "/runs/{id}/logs/{stream}",
     .policy = POLICY_READ,
     .handler = get_log,
     .summary = "What a run printed",
     .doc = "Bytes from an offset, or the last lines. `Winnow-Log-Offset` says where they begin, `Winnow-Log-Next` where to go on. With "
            "`follow` the answer holds what is there now: ask again from `Winnow-Log-Next`.",
     .query = "from:integer,limit:integer,tail:integer,attempt:integer,follow:boolean"},
};
const size_t log_route_count = ARRAY_LEN(log_routes);
