#include "tests/support/http_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"

char http_fixture_byte(uint64_t at) {
  return (char)('a' + (at * 7 + at / 1021) % 26);
}

static struct http_fixture *fixture_of(struct http_req *req) {
  return http_req_service(req);
}

/* ---- plain ---- */

static void on_hello(struct http_req *req) {
  struct buf body = BUF_INIT(256);
  buf_puts(&body, "{\"hello\":\"world\"}");
  http_reply_json(req, 200, &body);
}

/* Shows what the handler sees. */
static void on_show(struct http_req *req) {
  struct buf body = BUF_INIT(4096);
  struct str name = http_req_value(req, "name"), host = http_req_host(req)->host, value;
  buf_printf(&body, "method=%s pattern=%s name=%.*s host=%.*s peer=%d", http_method_name(http_req_method(req)), http_req_pattern(req),
             STR_ARG(name), STR_ARG(host), (int)http_req_peer(req)->kind);
  for (size_t i = 0; http_req_param_next(req, "q", &i, &value);)
    buf_printf(&body, " q=%.*s", STR_ARG(value));
  for (size_t i = 0; http_req_header_next(req, "X-A", &i, &value);)
    buf_printf(&body, " a=%.*s", STR_ARG(value));
  buf_printf(&body, " tls=%d uid=%u", http_req_is_tls(req), (unsigned)http_req_peer(req)->uid);
  http_reply_body(req, 200, "text/plain", &body);
}

static void on_echo(struct http_req *req) {
  struct buf body = BUF_INIT(FIXTURE_BUFFER_MAX);
  buf_add_str(&body, http_req_body(req));
  http_reply_body(req, 201, "application/octet-stream", &body);
}

static void on_big(struct http_req *req) {
  uint64_t n;
  if (!str_to_u64(http_req_param(req, "n"), &n))
    n = 1;
  struct buf body = BUF_INIT(64 << 20);
  for (uint64_t i = 0; i < n; i++)
    buf_putc(&body, http_fixture_byte(i));
  http_reply_json(req, 200, &body);
}

static void on_injection(struct http_req *req) {
  bool taken = http_reply_header(req, "X-Name", STR("a\r\nSet-Cookie: b")) || http_reply_header(req, "X Name", STR("a")) ||
               http_reply_header(req, "X-Name", str_n("a\0b", 3));
  http_reply_text(req, 200, taken ? "taken" : "refused");
}

static void on_redirect(struct http_req *req) {
  http_reply_redirect(req, 303, STR("/hello"));
}

static void on_asset(struct http_req *req) {
  static const struct http_asset asset = {
      .content_type = "text/html; charset=utf-8", .plain = {"<p>plain", 8}, .gzip = {"GZIPPED", 7}, .etag = "\"v1\""};
  http_reply_header(req, "Content-Security-Policy", STR("default-src 'self'"));
  http_reply_asset(req, &asset);
}

static void on_file(struct http_req *req) {
  struct http_fixture *f = fixture_of(req);
  struct http_file file = {.fd = open(f->file, O_RDONLY | O_CLOEXEC), .content_type = "text/plain", .etag = "\"f1\""};
  file.download_name = http_req_param(req, "name").p ? "na\"me \xc3\xa9\r\n.txt" : NULL;
  if (file.fd < 0) {
    struct err err;
    err_errno(&err, errno, "the file");
    http_reply_error(req, &err);
    return;
  }
  http_reply_file(req, &file);
}

static void on_busy(struct http_req *req) {
  struct err err;
  err_set(&err, ERR_OVERLOADED, "too much to do");
  http_reply_header(req, "Retry-After", STR("7"));
  http_reply_error(req, &err);
}

static void on_fail(struct http_req *req) {
  struct buf body = BUF_INIT(2);
  buf_puts(&body, "too long");
  http_reply_json(req, 200, &body);
}

/* ---- later ---- */

static void forget_later(struct http_fixture *f, size_t i) {
  memmove(&f->later[i], &f->later[i + 1], (--f->later_count - i) * sizeof f->later[0]);
}

static void count_gone(void *ctx) {
  ((struct http_fixture *)ctx)->gone++;
}

static void keep_for_later(struct http_req *req) {
  struct http_fixture *f = fixture_of(req);
  if (f->later_count == FIXTURE_LATER_MAX) {
    http_reply_drop(req);
    return;
  }
  f->later[f->later_count++] = req;
  http_req_on_gone(req, count_gone, f);
}

void http_fixture_answer_later(struct http_fixture *f, const char *text) {
  struct http_req *req = f->later[0];
  forget_later(f, 0);
  http_reply_text(req, 200, text);
}

/* ---- streams out ---- */

static void pump_stream(void *ctx) {
  struct http_fixture *f = ctx;
  size_t unwaited = 0;
  while (f->stream_left) {
    char piece[10000];
    size_t n = (size_t)MIN_OF(f->stream_left, (uint64_t)sizeof piece);
    for (size_t i = 0; i < n; i++)
      piece[i] = http_fixture_byte(f->stream_written + i);
    enum http_stream_state state = http_stream_write(f->stream, str_n(piece, n));
    f->stream_left -= n;
    f->stream_written += n;
    unwaited += n;
    f->stream_peak = MAX_OF(f->stream_peak, unwaited);
    if (state != STREAM_GO)
      return; /* on_drained or on_gone goes on */
  }
  struct http_req *req = f->stream;
  f->stream = NULL;
  http_stream_end(req);
}

static void on_stream_gone(void *ctx) {
  struct http_fixture *f = ctx;
  f->gone++;
  struct http_req *req = f->stream;
  f->stream = NULL;
  http_stream_abort(req);
}

static void on_stream(struct http_req *req) {
  struct http_fixture *f = fixture_of(req);
  f->stream = req;
  f->stream_written = 0;
  if (!str_to_u64(http_req_param(req, "n"), &f->stream_left))
    f->stream_left = 0;
  http_req_on_gone(req, on_stream_gone, f);
  http_stream_begin(req, 200, "text/event-stream", pump_stream, f);
  if (!http_req_param(req, "hold").p)
    pump_stream(f);
}

/* Writes on without ever waiting. */
static void on_flood(struct http_req *req) {
  struct http_fixture *f = fixture_of(req);
  f->stream = req;
  http_req_on_gone(req, on_stream_gone, f);
  http_stream_begin(req, 200, "text/plain", NULL, NULL);
  char piece[10000];
  memset(piece, 'x', sizeof piece);
  for (int i = 0; i < 100000; i++)
    if (http_stream_write(req, str_n(piece, sizeof piece)) == STREAM_GONE)
      break;
}

/* ---- streams in ---- */

static void answer_sink(struct http_req *req) {
  struct buf body = BUF_INIT(256);
  buf_printf(&body, "%llu", (unsigned long long)http_req_body_received(req));
  http_reply_body(req, 200, "text/plain", &body);
}

static bool sink_begin(struct http_req *req, struct err *err) {
  struct http_fixture *f = fixture_of(req);
  f->sink_begins++;
  f->sink_bytes = f->sink_sum = 0;
  if (f->sink_refuses)
    return err_set(err, ERR_CONFLICT, "it is written once");
  if (f->sink_pauses_at_begin) {
    f->paused = req;
    http_req_pause_body(req);
  }
  if (f->sink_answers_at_begin)
    http_reply_text(req, 409, "early");
  return true;
}

static bool sink_data(struct http_req *req, struct str bytes, struct err *err) {
  struct http_fixture *f = fixture_of(req);
  assert_true(bytes.n > 0 && bytes.n <= 64 * KIB);
  assert_null(f->paused);
  uint64_t before = f->sink_bytes;
  for (size_t i = 0; i < bytes.n; i++)
    f->sink_sum += (uint8_t)bytes.p[i] * (before + i + 1);
  f->sink_bytes += bytes.n;
  if (f->sink_fails_at && f->sink_bytes >= f->sink_fails_at)
    return err_set(err, ERR_NO_SPACE, "the disk is full");
  if (f->sink_pause_every && before / f->sink_pause_every != f->sink_bytes / f->sink_pause_every) {
    f->paused = req;
    http_req_pause_body(req);
  }
  return true;
}

static void sink_end(struct http_req *req) {
  struct http_fixture *f = fixture_of(req);
  f->sink_ends++;
  if (f->sink_answers_later)
    keep_for_later(req);
  else
    answer_sink(req);
}

static void sink_abort(struct http_req *req, const struct err *err) {
  struct http_fixture *f = fixture_of(req);
  f->sink_aborts++;
  f->abort_code = err->code;
  f->paused = NULL;
  if (f->sink_answers_later)
    keep_for_later(req);
  else
    http_reply_drop(req);
}

/* ---- the table ---- */

static int write_problem(const struct http_req *req UNUSED, const char *request_id, const struct err *err, struct buf *body,
                         const char **ret_content_type) {
  *ret_content_type = "application/problem+json";
  buf_printf(body, "{\"code\":\"%s\",\"detail\":\"%s\",\"request_id\":\"%s\"}", err_info(err->code)->name, err->text, request_id);
  return err_info(err->code)->http_status;
}

static int write_other(const struct http_req *req UNUSED, const char *request_id UNUSED, const struct err *err, struct buf *body,
                       const char **ret_content_type) {
  *ret_content_type = "application/json";
  buf_printf(body, "{\"error_code\":\"%d\"}", (int)err->code);
  return err_info(err->code)->http_status;
}

static const struct route_stream sink = {sink_begin, sink_data, sink_end, sink_abort};
static const struct route_family family = {.name = "api", .write_error = write_problem};
static const struct route_family other = {.name = "other", .write_error = write_other};

#define GET_ROW(p, h) \
  { .method = HTTP_GET, .path = p, .policy = POLICY_PUBLIC, .handler = h }

static const struct route rows[] = {
    GET_ROW("/hello", on_hello),
    {.method = HTTP_DELETE, .path = "/hello", .policy = POLICY_PUBLIC, .handler = on_hello},
    GET_ROW("/show/{name}", on_show),
    {.method = HTTP_POST,
     .path = "/echo",
     .policy = POLICY_PUBLIC,
     .handler = on_echo,
     .body = BODY_BUFFER,
     .max_body = FIXTURE_BUFFER_MAX},
    GET_ROW("/big", on_big),
    GET_ROW("/injection", on_injection),
    GET_ROW("/redirect", on_redirect),
    GET_ROW("/asset", on_asset),
    GET_ROW("/file", on_file),
    GET_ROW("/busy", on_busy),
    GET_ROW("/fail", on_fail),
    GET_ROW("/later", keep_for_later),
    GET_ROW("/stream", on_stream),
    GET_ROW("/flood", on_flood),
    {.method = HTTP_PUT, .path = "/sink", .policy = POLICY_PUBLIC, .body = BODY_STREAM, .max_body = FIXTURE_STREAM_MAX, .stream = &sink},
};
static const struct route other_rows[] = {GET_ROW("/hello", on_hello)};
static const struct route_mount mounts[] = {{"", rows, ARRAY_LEN(rows), &family}, {"/other", other_rows, ARRAY_LEN(other_rows), &other}};

static bool gate(void *ctx, struct http_req *req, const struct route *route, struct err *err) {
  struct http_fixture *f = ctx;
  f->gate_calls++;
  f->gate_unrouted += route == NULL;
  assert_int_equal(http_req_body_received(req), 0);
  if (!http_req_header(req, "X-Deny").p)
    return true;
  http_reply_header(req, "WWW-Authenticate", STR("Bearer"));
  return err_set(err, ERR_UNAUTHENTICATED, "who are you");
}

static void observe(void *ctx, const struct http_observation *observation) {
  struct http_fixture *f = ctx;
  f->observed++;
  f->last_status = observation->status;
  f->last_in = observation->bytes_in;
  f->last_out = observation->bytes_out;
}

/* ---- life ---- */

void http_fixture_write_file(struct http_fixture *f, uint64_t size) {
  int fd = open(f->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  struct err err;
  for (uint64_t at = 0; at < size;) {
    char piece[65536];
    size_t n = (size_t)MIN_OF(size - at, (uint64_t)sizeof piece);
    for (size_t i = 0; i < n; i++)
      piece[i] = http_fixture_byte(at + i);
    assert_true(fd_write_all(fd, piece, n, &err));
    at += n;
  }
  close(fd);
}

bool http_fixture_try_start(struct http_fixture *f, const struct http_limits *limits) {
  struct err err;
  *f = (struct http_fixture){0};
  f->loop = loop_new(&clock_system, &err);
  f->disk = f->loop ? work_pool_new(f->loop, 1, 16, &err) : NULL;
  if (!f->disk) {
    loop_free(f->loop);
    f->loop = NULL;
    return false;
  }
  struct http_server_config config = {.mounts = mounts,
                                      .mount_count = ARRAY_LEN(mounts),
                                      .service = f,
                                      .gate = gate,
                                      .gate_ctx = f,
                                      .observe = observe,
                                      .observe_ctx = f,
                                      .disk = f->disk};
  if (limits)
    config.limits = *limits;
  f->server = http_server_new(f->loop, &config, &err);
  if (f->server && http_server_listen_tcp(f->server, "127.0.0.1", 0, NULL, &f->port, &err))
    return true;
  http_server_free(f->server);
  work_pool_free(f->disk);
  loop_free(f->loop);
  f->server = NULL;
  f->loop = NULL;
  return false;
}

void http_fixture_start(struct http_fixture *f, const struct http_limits *limits) {
  assert_true(http_fixture_try_start(f, limits));
  temp_dir_make(&f->dir);
  snprintf(f->file, sizeof f->file, "%s/file", f->dir.path);
}

void http_fixture_stop(struct http_fixture *f) {
  work_pool_stop(f->disk);
  http_server_free(f->server);
  work_pool_free(f->disk);
  while (f->later_count)
    http_fixture_answer_later(f, "too late");
  loop_free(f->loop);
  if (f->file[0])
    temp_dir_remove(&f->dir);
}
