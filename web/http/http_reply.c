/* Heads of answers, and answers whose bytes are all there. */
#include "web/http/http_reply.h"

#include "base/log.h"
#include "base/mem.h"
#include "web/http/http_intern.h"
#include "web/http/http_range.h"

enum { GZIP_MIN = 1024, GZIP_MAX = 4 * 1024 * 1024, ERROR_BODY_MAX = 16 * 1024 };

#define CSP_DEFAULT "default-src 'none'; frame-ancestors 'none'; sandbox"

static const struct {
  int status;
  const char *phrase;
} phrases[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

static const char *phrase_of(int status) {
  for (size_t i = 0; i < ARRAY_LEN(phrases); i++)
    if (phrases[i].status == status)
      return phrases[i].phrase;
  return "Other";
}

/* ---- the head ---- */

static const char *date_now(struct http_server *server) {
  int64_t seconds = clock_wall_ms(loop_clock(server->loop)) / 1000;
  if (seconds != server->date_s) {
    server->date_s = seconds;
    http_date_format(seconds, server->date);
  }
  return server->date;
}

/* Does the connection live on after this answer? What of the request's body has not been read is skipped when it is short, has a known
 * length and is surely being sent. */
static void decide_end(struct http_req *req) {
  struct http_conn *conn = req->conn;
  const struct http_limits *limits = &conn->server->limits;
  bool more_input = evbuffer_get_length(bufferevent_get_input(conn->bev)) > 0;
  bool client_closes = !req->keep_alive;
  bool keep = req->keep_alive && !conn->server->draining && conn->requests < limits->requests && (!conn->is_eof || more_input);
  conn->discard_left = 0;
  if (!body_is_complete(req)) {
    uint64_t left = req->length - req->received;
    if (req->is_chunked || req->expects_continue || left > limits->discard)
      keep = false;
    else
      conn->discard_left = left;
    client_closes = false;
  }
  conn->close_after = !keep;
  conn->must_linger |= !keep && (!client_closes || more_input);
}

bool reply_is_bare(const struct http_req *req, int status) {
  return req->method == HTTP_HEAD || status == 204 || status == 304;
}

static void add_length(struct buf *head, const struct http_req *req, const struct reply *reply) {
  if (reply->is_chunked) {
    if (req->minor > 0)
      buf_puts(head, "Transfer-Encoding: chunked\r\n");
  } else if (reply->status != 204 && reply->status != 304) {
    buf_puts(head, "Content-Length: ");
    buf_add_u64(head, reply->length);
    buf_puts(head, "\r\n");
  }
}

static void add_security(struct buf *head, const struct http_req *req) {
  buf_puts(head, "X-Content-Type-Options: nosniff\r\n"
                 "X-Frame-Options: DENY\r\n"
                 "Referrer-Policy: no-referrer\r\n"
                 "Cross-Origin-Resource-Policy: same-origin\r\n");
  if (!req->has_csp)
    buf_puts(head, "Content-Security-Policy: " CSP_DEFAULT "\r\n");
  if (!req->has_cache_control)
    buf_puts(head, "Cache-Control: no-store\r\n");
}

static void add_header(struct buf *head, const char *name, const char *value) {
  buf_puts(head, name);
  buf_puts(head, ": ");
  buf_puts(head, value);
  buf_puts(head, "\r\n");
}

bool reply_head(struct http_req *req, const struct reply *reply, struct str *ret_head) {
  struct http_conn *conn = req->conn;
  struct buf *head = &conn->server->head;
  req->status = reply->status;
  if (reply->is_chunked && req->minor == 0)
    req->keep_alive = false; /* the end of the connection is the end of the answer */
  decide_end(req);
  buf_reset(head);
  buf_puts(head, "HTTP/1.1 ");
  buf_add_u64(head, (uint64_t)reply->status);
  buf_putc(head, ' ');
  buf_puts(head, phrase_of(reply->status));
  buf_puts(head, "\r\n");
  add_header(head, "Date", date_now(conn->server));
  if (reply->content_type)
    add_header(head, "Content-Type", reply->content_type);
  if (reply->coding)
    add_header(head, "Content-Encoding", reply->coding);
  if (reply->vary)
    add_header(head, "Vary", "Accept-Encoding");
  add_length(head, req, reply);
  if (conn->close_after)
    add_header(head, "Connection", "close");
  else if (req->minor == 0)
    add_header(head, "Connection", "keep-alive");
  add_header(head, "X-Request-Id", req->id);
  add_security(head, req);
  buf_add_str(head, buf_str(&req->headers));
  buf_puts(head, "\r\n");
  *ret_head = buf_str(head);
  return buf_ok(head, NULL);
}

void reply_send(struct http_req *req, const struct reply *reply, struct str body, void *owned) {
  struct http_conn *conn = req->conn;
  struct str head;
  if (!reply_head(req, reply, &head)) {
    conn->is_broken = true;
    mem_free(owned);
    return;
  }
  if (reply_is_bare(req, reply->status))
    body = STR("");
  struct iovec pieces[] = {{(void *)(uintptr_t)head.p, head.n}, {(void *)(uintptr_t)body.p, body.n}};
  req->bytes_out += head.n + body.n;
  conn_send(conn, pieces, 2, owned);
}

bool http_reply_header(struct http_req *req, const char *name, struct str value) {
  struct str name_text = str_of(name);
  if (!http_is_token(name_text) || !http_is_field_value(value))
    return false;
  size_t before = req->headers.n;
  buf_add_str(&req->headers, name_text);
  buf_puts(&req->headers, ": ");
  buf_add_str(&req->headers, value);
  buf_puts(&req->headers, "\r\n");
  if (!buf_ok(&req->headers, NULL)) {
    buf_cut(&req->headers, before);
    req->headers.fail = ERR_NONE;
    return false;
  }
  req->has_cache_control |= str_eq_nocase(name_text, STR("Cache-Control"));
  req->has_csp |= str_eq_nocase(name_text, STR("Content-Security-Policy"));
  req->has_retry_after |= str_eq_nocase(name_text, STR("Retry-After"));
  return true;
}

/* ---- answers ---- */

bool reply_begin(struct http_req *req) {
  if (req->answered)
    abort(); /* a second answer: the first one's memory may be somebody else's by now */
  if (req->conn)
    return true;
  req_finish(req);
  return false;
}

/* All has been handed to the connection. */
static void done(struct http_req *req) {
  struct http_conn *conn = req->conn;
  req_finish(req);
  conn_answered(conn);
}

static bool is_text(const char *content_type) {
  struct str type = str_of(content_type);
  return str_starts(type, STR("text/")) || str_starts(type, STR("application/json")) || str_starts(type, STR("application/problem+json")) ||
         str_starts(type, STR("image/svg+xml"));
}

/* False: it is sent as it is. */
static bool compress(struct http_req *req, struct str body, struct buf *packed) {
  struct http_server *server = req->server;
  if (!http_accepts_gzip(http_req_header(req, "Accept-Encoding")))
    return false;
  if (!server->gzip)
    server->gzip = http_gzip_new();
  return server->gzip && http_gzip_pack(server->gzip, body, packed);
}

void http_reply_tap(struct http_req *req, http_tap_fn *fn, void *ctx) {
  req->tap = fn;
  req->tap_ctx = ctx;
}

/* True: it went elsewhere. */
static bool tapped(struct http_req *req, int status, const char *content_type, struct buf *body, const struct err *err) {
  http_tap_fn *tap = req->tap;
  req->tap = NULL;
  if (tap)
    tap(req->tap_ctx, status, content_type, body, err);
  return tap;
}

void http_reply_body(struct http_req *req, int status, const char *content_type, struct buf *body) {
  if (tapped(req, status, content_type, body, NULL)) {
    buf_release(body); /* what is left of it */
    return;
  }
  struct err err;
  bool ok = buf_ok(body, &err);
  AUTO_BUF struct buf plain = *body;
  size_t ceiling = body->max;
  *body = BUF_INIT(ceiling);
  if (!reply_begin(req))
    return;
  if (!ok) { /* our fault, not the client's */
    if (err.code != ERR_NO_MEMORY)
      err_set(&err, ERR_INTERNAL, "the answer could not be built");
    http_reply_error(req, &err);
    return;
  }
  struct reply reply = {.status = status, .content_type = content_type};
  AUTO_BUF struct buf packed = BUF_INIT(plain.n);
  if (plain.n > GZIP_MIN && plain.n <= GZIP_MAX && is_text(content_type)) {
    reply.vary = true;
    if (compress(req, buf_str(&plain), &packed))
      reply.coding = "gzip";
  }
  struct buf *sent = reply.coding ? &packed : &plain;
  struct str bytes = str_n(buf_text(sent), sent->n);
  reply.length = bytes.n;
  reply_send(req, &reply, bytes, sent->p);
  *sent = BUF_INIT(0); /* its memory has gone with the answer */
  done(req);
}

void http_reply_json(struct http_req *req, int status, struct buf *body) {
  http_reply_body(req, status, "application/json", body);
}

void http_reply_text(struct http_req *req, int status, const char *text) {
  if (!reply_begin(req))
    return;
  struct str body = str_of(text);
  struct reply reply = {.status = status, .content_type = "text/plain; charset=utf-8", .length = body.n};
  reply_send(req, &reply, body, NULL);
  done(req);
}

void http_reply_empty(struct http_req *req, int status) {
  if (tapped(req, status, NULL, NULL, NULL) || !reply_begin(req))
    return;
  struct reply reply = {.status = status};
  reply_send(req, &reply, STR(""), NULL);
  done(req);
}

static void log_inside(const struct http_req *req, const struct err *err) {
  const struct log_ctx ctx = {.key = "request_id", .value = req->id};
  if (err_is_inside(err))
    log_error("web", &ctx, "%s %s: %s", http_method_name(req->method), http_req_pattern(req), err->text);
}

void reply_send_error(struct http_req *req, const struct err *err) {
  AUTO_BUF struct buf body = BUF_INIT(ERROR_BODY_MAX);
  const char *content_type = "text/plain; charset=utf-8";
  int status = req->family->write_error(req->path.p ? req : NULL, req->id, err, &body, &content_type);
  log_inside(req, err);
  if (!buf_ok(&body, NULL)) { /* then without words */
    content_type = NULL;
    buf_reset(&body);
  }
  if (err_info(err->code)->retryable && !req->has_retry_after)
    http_reply_header(req, "Retry-After", STR("1"));
  struct reply reply = {.status = status, .content_type = content_type, .length = body.n};
  reply_send(req, &reply, str_n(buf_text(&body), body.n), NULL);
}

void http_reply_error(struct http_req *req, const struct err *err) {
  if (tapped(req, 0, NULL, NULL, err) || !reply_begin(req))
    return;
  reply_send_error(req, err);
  done(req);
}

void *http_req_room(struct http_req *req, size_t size) {
  void *room = arena_zalloc(http_req_arena(req), size);
  struct err err;
  if (!room) {
    err_no_memory(&err);
    http_reply_error(req, &err);
  }
  return room;
}

void http_reply_redirect(struct http_req *req, int status, struct str location) {
  http_reply_header(req, "Location", location);
  http_reply_empty(req, status);
}

void http_reply_drop(struct http_req *req) {
  struct err gone = {.code = ERR_CANCELLED};
  if (tapped(req, 0, NULL, NULL, &gone) || !reply_begin(req))
    return;
  struct http_conn *conn = req->conn;
  req_finish(req);
  conn->is_broken = true;
  conn_close(conn);
}

void http_reply_asset(struct http_req *req, const struct http_asset *asset) {
  if (!reply_begin(req))
    return;
  http_reply_header(req, "ETag", str_of(asset->etag));
  if (!req->has_cache_control)
    http_reply_header(req, "Cache-Control", str_of(asset->cache_control ? asset->cache_control : "no-cache"));
  struct str condition = http_req_header(req, "If-None-Match");
  struct reply reply = {.status = 200, .content_type = asset->content_type, .vary = asset->gzip.p != NULL};
  struct str body = asset->plain;
  if (condition.p && http_etag_in(condition, str_of(asset->etag), true)) {
    reply.status = 304;
    reply.content_type = NULL;
    body = STR("");
  } else if (asset->gzip.p && http_accepts_gzip(http_req_header(req, "Accept-Encoding"))) {
    reply.coding = "gzip";
    body = asset->gzip;
  }
  reply.length = body.n;
  reply_send(req, &reply, body, NULL);
  done(req);
}
