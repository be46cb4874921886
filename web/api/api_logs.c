/* /api/v1/runs/{id}/logs/{stream}: what a run printed. Bytes of a range or the last lines are one answer; what is filtered or followed is a
 * stream (web/api/log_reader.c). */
#include "web/api/log_reader.h"
#include "web/app.h"
#include "web/http/http_reply.h"
#include "web/tables.h"

enum { TAIL_LINES_MAX = 100000, TAIL_FIRST = 64 * 1024, TAIL_GROWS = 16 };

static bool read_number(const struct http_req *req, const char *name, int64_t fallback, int64_t max, int64_t *ret, struct err *err) {
  struct str text = http_req_param(req, name);
  *ret = fallback;
  return !text.p || (str_to_i64(text, ret) && *ret >= 0 && *ret <= max) ||
         err_set(err, ERR_INVALID, "\"%s\" must be a whole number up to %lld", name, (long long)max);
}

/* Where the bytes begin, and where to go on. */
static void put_place(struct log_ask *ask, int64_t offset, int64_t next) {
  char first[24], after[24], size[24], attempt[24];
  snprintf(first, sizeof first, "%lld", (long long)offset);
  snprintf(after, sizeof after, "%lld", (long long)next);
  snprintf(size, sizeof size, "%lld", (long long)ask->end);
  http_reply_header(ask->req, "Winnow-Log-Offset", str_of(first));
  if (next >= 0)
    http_reply_header(ask->req, "Winnow-Log-Next", str_of(after));
  http_reply_header(ask->req, "Winnow-Log-Size", str_of(size));
  snprintf(attempt, sizeof attempt, "%d", (int)ask->attempt);
  if (ask->attempt)
    http_reply_header(ask->req, "Winnow-Log-Attempt", str_of(attempt));
}

static void on_bytes(void *ctx, const struct log_bytes *bytes, const struct err *err) {
  struct log_ask *ask = ctx;
  if (err) {
    http_reply_error(ask->req, err);
    return;
  }
  struct buf body = BUF_INIT(LOG_REPLY_MAX + KIB);
  buf_add_str(&body, bytes->bytes);
  put_place(ask, bytes->from, bytes->next);
  http_reply_body(ask->req, 200, "text/plain; charset=utf-8", &body);
}

/* From where it is known to begin. */
static bool answer(struct log_ask *ask, struct err *err) {
  if (ask->follow || ask->plain || ask->grep) {
    put_place(ask, ask->from, -1);
    return log_reader_start(ask, err);
  }
  if (ask->from >= ask->end || !ask->attempt) {
    const struct log_bytes none = {.from = ask->from, .next = ask->from, .bytes = STR("")};
    on_bytes(ask, &none, NULL);
    return true;
  }
  return log_store_read(web_app(ask->req)->logs, ask->run, ask->attempt, ask->stream, ask->from, ask->end, (size_t)ask->limit, on_bytes,
                        ask, err);
}

/* ---- the last lines: from the end backwards, more each time until there are enough ---- */

static bool read_tail(struct log_ask *ask, struct err *err);

/* Where the last `lines` lines begin; SIZE_MAX when there are fewer. */
static size_t tail_at(struct str bytes, int64_t lines) {
  size_t at = bytes.n;
  if (at && bytes.p[at - 1] == '\n')
    at--;
  for (; at > 0; at--)
    if (bytes.p[at - 1] == '\n' && --lines <= 0)
      return at;
  return SIZE_MAX;
}

/* What is stored ends there: beyond it output was read and not kept. */
static void on_kept_end(void *ctx, const struct pg_reply *reply) {
  struct log_ask *ask = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err);
  int64_t kept = ok && pg_rows(reply) ? pg_int(reply, 0, 0) : 0;
  bool is_cut = kept > ask->first && kept < ask->tail_end;
  ask->tail_end = is_cut ? kept : ask->tail_end;
  ask->from = ask->end;
  if (!ok || !(is_cut ? read_tail(ask, &err) : answer(ask, &err)))
    http_reply_error(ask->req, &err);
}

static bool ask_kept_end(struct log_ask *ask, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_LOG_KEPT_END);
  pg_put_uuid(&args, ask->run);
  pg_put_int(&args, ask->attempt);
  pg_put_int(&args, ask->stream);
  return pg_run(web_app(ask->req)->pg, &args, 0, on_kept_end, ask, err);
}

static void on_tail(void *ctx, const struct log_bytes *bytes, const struct err *failed) {
  struct log_ask *ask = ctx;
  struct err err;
  if (failed) {
    http_reply_error(ask->req, failed);
    return;
  }
  if (!bytes->bytes.n) {
    if (!ask_kept_end(ask, &err))
      http_reply_error(ask->req, &err);
    return;
  }
  size_t at = tail_at(bytes->bytes, ask->tail);
  bool all = bytes->from <= ask->first || ask->tail_window >= LOG_REPLY_MAX;
  if (at == SIZE_MAX && !all) {
    ask->tail_window = MIN_OF(ask->tail_window * TAIL_GROWS, (int64_t)LOG_REPLY_MAX);
    if (!read_tail(ask, &err))
      http_reply_error(ask->req, &err);
    return;
  }
  ask->from = bytes->from + (at == SIZE_MAX ? 0 : (int64_t)at);
  if (!answer(ask, &err))
    http_reply_error(ask->req, &err);
}

static bool read_tail(struct log_ask *ask, struct err *err) {
  int64_t from = MAX_OF(ask->tail_end - ask->tail_window, ask->first);
  return log_store_read(web_app(ask->req)->logs, ask->run, ask->attempt, ask->stream, from, ask->tail_end, (size_t)ask->tail_window,
                        on_tail, ask, err);
}

/* ---- what there is ---- */

static bool take_streams(struct log_ask *ask, const struct pg_reply *run, const struct pg_reply *streams, struct err *err) {
  if (!pg_rows(run))
    return err_set(err, ERR_NOT_FOUND, "there is no such run");
  log_ask_take(ask, streams);
  ask->first = ask->from;
  if (ask->tail < 0 || ask->grep || !ask->attempt)
    return answer(ask, err);
  if (ask->tail == 0 || ask->first >= ask->end) {
    ask->from = MAX_OF(ask->end, ask->first);
    return answer(ask, err);
  }
  ask->tail_window = MIN_OF((int64_t)TAIL_FIRST, ask->limit);
  ask->tail_end = ask->end;
  return read_tail(ask, err);
}

static void on_streams(void *ctx, const struct pg_reply *reply) {
  struct log_ask *ask = ctx;
  struct err err;
  if (!pg_ok(reply, &err) || !take_streams(ask, pg_nth(reply, 0), pg_nth(reply, 1), &err))
    http_reply_error(ask->req, &err);
}

static bool read_ask(struct log_ask *ask, struct err *err) {
  struct http_req *req = ask->req;
  int64_t attempt;
  struct str grep = http_req_param(req, "grep");
  if (!id_parse(http_req_value(req, "id"), &ask->run) || !log_stream_parse(http_req_value(req, "stream"), &ask->stream))
    return err_set(err, ERR_NOT_FOUND, "there is no such run, or no such stream: they are stdout and stderr");
  if (!web_app(req)->logs)
    return err_set(err, ERR_UNAVAILABLE, "logs cannot be read now");
  if (!http_req_flag(req, "follow", &ask->follow, err) || !http_req_flag(req, "plain", &ask->plain, err) ||
      !read_number(req, "from", 0, INT64_MAX / 2, &ask->from, err) ||
      !read_number(req, "limit", LOG_REPLY_MAX, LOG_REPLY_MAX, &ask->limit, err) ||
      !read_number(req, "attempt", 0, INT32_MAX, &attempt, err) || !read_number(req, "tail", -1, TAIL_LINES_MAX, &ask->tail, err))
    return false;
  ask->wanted_attempt = (int32_t)attempt;
  if (!grep.n)
    return true;
  if (memchr(grep.p, 0, grep.n))
    return err_set(err, ERR_INVALID, "\"grep\" cannot hold the character 0");
  ask->grep = arena_strdup(http_req_arena(req), grep);
  return ask->grep || err_no_memory(err);
}

static void get_log(struct http_req *req) {
  struct err err;
  struct log_ask *ask = HTTP_REQ_NEW(req, struct log_ask);
  if (!ask)
    return;
  ask->req = req;
  if (!read_ask(ask, &err) || !log_ask_streams(ask, on_streams, ask, &err))
    http_reply_error(req, &err);
}

/* ---- deletion ---- */

static void on_deleted(void *ctx, const struct pg_reply *reply) {
  struct log_ask *ask = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err) && (pg_rows(reply) || err_set(&err, ERR_NOT_FOUND, "there is no such run"));
  ok = ok && (pg_bool(reply, 0, 0) || err_set(&err, ERR_WRONG_STATE, "the run goes on"));
  if (ok)
    http_reply_empty(ask->req, 204);
  else
    http_reply_error(ask->req, &err);
}

static void delete_log(struct http_req *req) {
  struct err err;
  struct log_ask *ask = HTTP_REQ_NEW(req, struct log_ask);
  if (!ask)
    return;
  ask->req = req;
  bool ok = id_parse(http_req_value(req, "id"), &ask->run) || err_set(&err, ERR_NOT_FOUND, "there is no such run");
  if (ok) {
    AUTO_PG_ARGS struct pg_args args;
    pg_args_init(&args, STMT_LOG_DELETE);
    pg_put_uuid(&args, ask->run);
    ok = pg_run(web_app(req)->pg, &args, 0, on_deleted, ask, &err);
  }
  if (!ok)
    http_reply_error(req, &err);
}

const struct route log_routes[] = {
    {.method = HTTP_DELETE,
     .path = "/runs/{id}/logs",
     .policy = POLICY_WRITE,
     .handler = delete_log,
     .summary = "Delete what a run printed, for good; its metrics stay"},
    {.method = HTTP_GET,
     .path = "/runs/{id}/logs/{stream}",
     .policy = POLICY_READ,
     .reach = REACH_NAMED,
     .handler = get_log,
     .response_type = "text/plain",
     .summary = "What a run printed",
     .doc =
         "Bytes from an offset, at most `limit`, or the last lines (`tail`), as they were printed. `Winnow-Log-Offset` says where they "
         "begin, `Winnow-Log-Next` where to go on, `Winnow-Log-Size` how much there is, `Winnow-Log-Attempt` whose output it is. `plain` gives lines as a terminal would show them "
         "in the end; `grep`, a regular expression, only those of them that match (with `tail`, the last of these). `follow` goes on as "
         "it is printed and ends with the attempt, or the run.",
     .query = "from:integer,limit:integer,tail:integer,attempt:integer,follow:boolean,plain:boolean,grep:string"},
};
const size_t log_route_count = ARRAY_LEN(log_routes);
