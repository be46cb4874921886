/* The machine of one connection. Events of libevent and answers of handlers end in conn_advance(), which goes from state to state for as
 * long as there are bytes to work on. */
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/mem.h"
#include "web/http/http_intern.h"
#include "web/http/tls.h"

enum { MAX_SINGLE_WRITE = 256 * 1024 };

/* ---- states ---- */

static const char *const state_names[] = {
#define X(state, name) name,
    CONN_STATES(X)
#undef X
};

#define TO(state) (1u << (state))

/* What follows the end of an answer. */
#define AFTER_ANSWER (TO(CONN_IDLE) | TO(CONN_FLUSH) | TO(CONN_DISCARD) | TO(CONN_LINGER))

/* Which states may follow; every state may be followed by CONN_CLOSED. */
static const unsigned edges[CONN_STATE_COUNT] = {
    [CONN_HANDSHAKE] = TO(CONN_HEAD),
    [CONN_IDLE] = AFTER_ANSWER | TO(CONN_HEAD) | TO(CONN_BODY) | TO(CONN_HANDLER),
    [CONN_HEAD] = AFTER_ANSWER | TO(CONN_BODY) | TO(CONN_HANDLER),
    [CONN_BODY] = AFTER_ANSWER | TO(CONN_HANDLER) | TO(CONN_FILE) | TO(CONN_STREAM),
    [CONN_HANDLER] = AFTER_ANSWER | TO(CONN_FILE) | TO(CONN_STREAM),
    [CONN_FILE] = AFTER_ANSWER,
    [CONN_STREAM] = AFTER_ANSWER,
    [CONN_FLUSH] = AFTER_ANSWER,
    [CONN_DISCARD] = TO(CONN_IDLE),
};

int64_t conn_now_ms(const struct http_conn *conn) {
  return clock_mono_ms(loop_clock(conn->server->loop));
}

void conn_enter(struct http_conn *conn, enum conn_state state) {
  log_debug("web", NULL, "%s: %s -> %s", conn->peer.text, state_names[conn->state], state_names[state]);
  if (state != CONN_CLOSED && !(edges[conn->state] & TO(state)))
    abort(); /* the machine is wrong: better stop than serve one client another's answer */
  struct http_server *server = conn->server;
  struct list *list = state == CONN_IDLE ? &server->idle : &server->busy;
  if (conn->node.list != list) {
    list_remove(&conn->node);
    list_push_back(list, &conn->node);
  }
  conn->state = state;
  conn->since_ms = conn->progress_ms = conn_now_ms(conn);
  conn->sent_mark = conn->queued - conn_unsent(conn);
}

static void advance_deferred(void *ctx) {
  conn_advance(ctx);
}

void conn_advance_later(struct http_conn *conn) {
  if (conn->state != CONN_CLOSED)
    loop_defer(conn->server->loop, &conn->advance, advance_deferred, conn);
}

/* ---- the end ---- */

static void release_deferred(void *ctx) {
  conn_release(ctx);
}

void conn_release(struct http_conn *conn) {
  struct http_server *server = conn->server;
  loop_defer_cancel(&conn->advance);
  loop_defer_cancel(&conn->release);
  list_remove(&conn->node);
  bufferevent_free(conn->bev);
  SSL_free(conn->ssl);
  close(conn->fd);
  mem_free(conn);
  server_on_conn_released(server);
}

/* TLS tells the end of the stream apart from a connection that broke. */
static void say_goodbye(struct http_conn *conn) {
  if (!conn->ssl || conn->is_broken || conn->state == CONN_HANDSHAKE)
    return;
  SSL_shutdown(conn->ssl);
  ERR_clear_error();
}

void conn_close(struct http_conn *conn) {
  if (conn->state == CONN_CLOSED)
    return;
  say_goodbye(conn);
  conn_enter(conn, CONN_CLOSED);
  bufferevent_setcb(conn->bev, NULL, NULL, NULL, NULL);
  bufferevent_disable(conn->bev, EV_READ | EV_WRITE);
  if (conn->req)
    req_detach(conn->req, NULL);
  loop_defer_cancel(&conn->advance);
  loop_defer(conn->server->loop, &conn->release, release_deferred, conn);
}

/* The answer is out, and the connection ends: at once, or after the client had time to read what we said while it was still sending. */
static void end(struct http_conn *conn) {
  if (!conn->must_linger || conn->is_eof) {
    conn_close(conn);
    return;
  }
  say_goodbye(conn);
  conn_enter(conn, CONN_LINGER);
  shutdown(conn->fd, SHUT_WR);
}

/* ---- output ---- */

size_t conn_unsent(const struct http_conn *conn) {
  return evbuffer_get_length(bufferevent_get_output(conn->bev));
}

static void free_owned(const void *data UNUSED, size_t n UNUSED, void *owned) {
  mem_free(owned);
}

/* Drops the first `sent` bytes of the pieces. */
static void skip_sent(struct iovec *pieces, int count, size_t sent) {
  for (int i = 0; i < count && sent; i++) {
    size_t n = MIN_OF(sent, pieces[i].iov_len);
    pieces[i].iov_base = (char *)pieces[i].iov_base + n;
    pieces[i].iov_len -= n;
    sent -= n;
  }
}

/* Into the output buffer: a long last piece that is owned goes by reference, all else is copied. True when `owned` was taken. */
static bool queue(struct http_conn *conn, const struct iovec *pieces, int count, void *owned) {
  struct evbuffer *output = bufferevent_get_output(conn->bev);
  for (int i = 0; i < count; i++) {
    const struct iovec *piece = &pieces[i];
    bool by_reference = owned && i == count - 1 && piece->iov_len > OUTPUT_GO_ON;
    int failed = 0;
    if (by_reference)
      failed = evbuffer_add_reference(output, piece->iov_base, piece->iov_len, free_owned, owned);
    else if (piece->iov_len)
      failed = evbuffer_add(output, piece->iov_base, piece->iov_len);
    if (failed) {
      conn->is_broken = true;
      return false;
    }
    conn->queued += piece->iov_len;
    if (by_reference)
      return true;
  }
  return false;
}

void conn_send(struct http_conn *conn, const struct iovec *given, int count, void *owned) {
  struct iovec pieces[4];
  size_t total = 0;
  count = MIN_OF(count, (int)ARRAY_LEN(pieces));
  for (int i = 0; i < count; i++) {
    pieces[i] = given[i];
    total += given[i].iov_len;
  }
  /* Most answers fit into the socket's buffer: then libevent need not watch for writability at all. */
  if (!conn->ssl && !conn->is_broken && total && !conn_unsent(conn)) {
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
    ssize_t sent = sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR)
      conn->is_broken = true;
    if (sent > 0) {
      skip_sent(pieces, count, (size_t)sent);
      total -= (size_t)sent;
    }
  }
  if (conn->is_broken || !total || !queue(conn, pieces, count, owned))
    mem_free(owned);
}

/* ---- answers ---- */

static void go_on_after_answer(struct http_conn *conn) {
  size_t unsent = conn_unsent(conn);
  if (unsent > OUTPUT_GO_ON || (unsent && conn->close_after))
    conn_enter(conn, CONN_FLUSH);
  else if (conn->close_after)
    end(conn);
  else
    conn_enter(conn, conn->discard_left ? CONN_DISCARD : CONN_IDLE);
}

void conn_answered(struct http_conn *conn) {
  if (conn->is_broken)
    conn_close(conn);
  if (conn->state == CONN_CLOSED)
    return;
  go_on_after_answer(conn);
  if (conn->state != CONN_CLOSED && !conn->in_advance)
    conn_advance_later(conn);
}

void conn_fail(struct http_conn *conn, const struct err *err) {
  struct http_req *req = conn->req;
  req->keep_alive = false;
  conn->must_linger = true;
  reply_send_error(req, err);
  req_detach(req, err);
  conn_answered(conn);
}

/* ---- heads ---- */

static void copy_head(struct http_req *req, const struct http_head *head, const struct http_field *fields) {
  req->method = head->method;
  req->minor = head->minor;
  req->path = head->path;
  req->query = head->query;
  req->host = head->host;
  req->length = head->length;
  req->is_chunked = head->is_chunked;
  req->keep_alive = head->keep_alive;
  req->expects_continue = head->expects_continue;
  req->fields = fields;
  req->field_count = head->field_count;
}

/* The head is moved into the request's arena and read there. */
static bool parse_head(struct http_conn *conn, size_t n, struct err *err) {
  struct http_req *req = conn->req;
  struct evbuffer *input = bufferevent_get_input(conn->bev);
  struct http_head head;
  char *bytes = arena_alloc(&req->arena, n);
  if (!bytes)
    return err_no_memory(err);
  evbuffer_remove(input, bytes, n);
  req->bytes_in = n;
  if (!http_head_parse(str_n(bytes, n), &head, err)) {
    req->path = head.path;
    req->method = head.method;
    return false;
  }
  struct http_field *fields = ARENA_NEW_ARRAY(&req->arena, struct http_field, head.field_count);
  if (!fields)
    return err_no_memory(err);
  memcpy(fields, head.fields, head.field_count * sizeof *fields);
  copy_head(req, &head, fields);
  return true;
}

/* A request id of the client's choice is kept when it is harmless. */
static void adopt_id(struct http_req *req) {
  struct str id = http_req_header(req, "X-Request-Id");
  if (!id.n || id.n >= sizeof req->id)
    return;
  for (size_t i = 0; i < id.n; i++) {
    char c = id.p[i];
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.'))
      return;
  }
  memcpy(req->id, id.p, id.n);
  req->id[id.n] = 0;
}

/* Finds the row. False: *err is the answer; the headers that belong to it are set. */
static bool find_route(struct http_req *req, struct err *err) {
  struct route_match match;
  if (str_is(req->path, "*"))
    return err_set(err, ERR_NOT_FOUND, "there is nothing at this address");
  if (!router_find(req->server->router, req->path, &req->arena, &match, err))
    return false;
  req->place = match.place;
  memcpy(req->values, match.values, sizeof req->values);
  req->route = match.place->rows[req->method];
  if (req->route)
    return true;
  http_reply_header(req, "Allow", str_of(match.place->allow));
  return err_set(err, ERR_METHOD, "%s takes %s", match.place->pattern, match.place->allow);
}

static bool pass_gate(struct http_req *req, struct err *err) {
  const struct http_server_config *config = &req->server->config;
  return !config->gate || config->gate(config->gate_ctx, req, req->route, err);
}

/* All that can be judged by the head alone. The answer to an error keeps the connection if the body is short enough to be skipped. */
static void begin_request(struct http_conn *conn) {
  struct http_req *req = conn->req;
  struct err err, refusal;
  adopt_id(req);
  bool found = find_route(req, &err);
  if (!pass_gate(req, &refusal)) {
    http_reply_error(req, &refusal);
  } else if (!found && err.code == ERR_METHOD && req->method == HTTP_OPTIONS) {
    http_reply_empty(req, 204);
  } else if (!found || !req_parse_params(req, &err) || !body_is_allowed(req, req->length, &err)) {
    http_reply_error(req, &err);
  } else {
    body_begin(conn);
  }
}

/* Without memory for a request there is still this to say. */
static void refuse_without_memory(struct http_conn *conn) {
  static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
  struct iovec piece = {(void *)(uintptr_t)text, sizeof text - 1};
  conn->close_after = conn->must_linger = true;
  conn_send(conn, &piece, 1, NULL);
  conn_answered(conn);
}

void conn_end_of_requests(struct http_conn *conn) {
  conn->close_after = true;
  go_on_after_answer(conn);
}

/* Looks for the end of the head in the first piece of the input, in all of it when that does not suffice. */
static enum http_head_result scan_head(struct http_conn *conn, struct err *err) {
  struct evbuffer *input = bufferevent_get_input(conn->bev);
  size_t have = MIN_OF(evbuffer_get_length(input), (size_t)HTTP_HEAD_MAX);
  size_t first = MIN_OF(evbuffer_get_contiguous_space(input), have);
  for (size_t n = first;; n = have) {
    const char *bytes = (const char *)evbuffer_pullup(input, (ev_ssize_t)n);
    if (!bytes) {
      err_no_memory(err);
      return HTTP_HEAD_BAD;
    }
    enum http_head_result result = http_head_scan(str_n(bytes, n), &conn->scanned, err);
    if (result != HTTP_HEAD_MORE || n == have)
      return result;
  }
}

/* In CONN_IDLE or CONN_HEAD: begins a request if its head is there. */
static bool read_head(struct http_conn *conn) {
  struct http_server *server = conn->server;
  bool empty = evbuffer_get_length(bufferevent_get_input(conn->bev)) == 0;
  struct err err;
  enum http_head_result result = empty ? HTTP_HEAD_MORE : scan_head(conn, &err);
  if (result == HTTP_HEAD_MORE) {
    if (conn->is_eof)
      conn_end_of_requests(conn);
    else if (conn->state == CONN_IDLE && !empty)
      conn_enter(conn, CONN_HEAD);
    return false;
  }
  conn->req = req_new(server, conn);
  if (!conn->req) {
    refuse_without_memory(conn);
    return true;
  }
  size_t head_length = conn->scanned;
  conn->scanned = 0;
  conn->requests++;
  conn->req->family = router_family(server->router, STR_NONE);
  if (result == HTTP_HEAD_BAD || !parse_head(conn, head_length, &err)) {
    if (conn->req->path.p)
      conn->req->family = router_family(server->router, conn->req->path);
    conn_fail(conn, &err);
    return true;
  }
  conn->req->family = router_family(server->router, conn->req->path);
  begin_request(conn);
  return true;
}

/* ---- going on ---- */

/* One step; false when there is nothing more to do now. */
static bool step(struct http_conn *conn) {
  switch (conn->state) {
  case CONN_IDLE:
  case CONN_HEAD:
    return read_head(conn);
  case CONN_BODY:
    if (body_advance(conn))
      return true;
    if (conn->state == CONN_BODY && conn->is_eof && !conn->req->is_paused)
      conn_close(conn); /* the rest will never come */
    return false;
  case CONN_DISCARD:
    if (!body_discard(conn) && conn->is_eof)
      conn_close(conn);
    return conn->state == CONN_IDLE;
  case CONN_LINGER:
    evbuffer_drain(bufferevent_get_input(conn->bev), evbuffer_get_length(bufferevent_get_input(conn->bev)));
    if (conn->is_eof)
      conn_close(conn);
    return false;
  default:
    return false;
  }
}

/* Reading goes on in all states, so that a client that leaves is seen; it stops while enough waits here, or a sink wants no more. */
static void set_reading(struct http_conn *conn) {
  bool paused = conn->state == CONN_BODY && conn->req->is_paused;
  bool on = !paused && !conn->is_eof && evbuffer_get_length(bufferevent_get_input(conn->bev)) < INPUT_HIGH_WATER;
  if (on == conn->is_reading)
    return;
  conn->is_reading = on;
  if (on)
    bufferevent_enable(conn->bev, EV_READ);
  else
    bufferevent_disable(conn->bev, EV_READ);
}

void conn_advance(struct http_conn *conn) {
  if (conn->in_advance || conn->state == CONN_CLOSED)
    return;
  conn->in_advance = true;
  size_t begun = conn->requests;
  while (step(conn))
    if (conn->requests - begun >= REQUESTS_A_TURN) {
      conn_advance_later(conn);
      break;
    }
  conn->in_advance = false;
  if (conn->state != CONN_CLOSED)
    set_reading(conn);
}

/* ---- events ---- */

static void on_read(struct bufferevent *bev UNUSED, void *ctx) {
  conn_advance(ctx);
}

/* The output buffer is empty. */
static void on_drained(struct bufferevent *bev UNUSED, void *ctx) {
  struct http_conn *conn = ctx;
  conn->progress_ms = conn_now_ms(conn);
  switch (conn->state) {
  case CONN_FILE:
    file_pump(conn);
    break;
  case CONN_STREAM:
    stream_on_drained(conn);
    break;
  case CONN_FLUSH:
    go_on_after_answer(conn);
    conn_advance(conn);
    break;
  default:
    break;
  }
}

/* The client sends no more. What it sent is still worked on, and an answer under way still goes out. */
static void on_eof(struct http_conn *conn) {
  conn->is_eof = true;
  conn_advance(conn);
  switch (conn->state) {
  case CONN_HANDLER:
  case CONN_STREAM:
    req_tell_gone(conn->req);
    break;
  case CONN_HANDSHAKE:
    conn_close(conn);
    break;
  default:
    break;
  }
}

static void on_event(struct bufferevent *bev UNUSED, short what, void *ctx) {
  struct http_conn *conn = ctx;
  if (what & BEV_EVENT_CONNECTED) {
    conn_enter(conn, CONN_HEAD);
    conn_advance(conn);
  } else if ((what & BEV_EVENT_EOF) && (what & BEV_EVENT_READING)) {
    on_eof(conn);
  } else {
    conn->is_broken = true;
    conn_close(conn);
  }
}

/* ---- time ---- */

static void on_too_slow(struct http_conn *conn, const char *what) {
  struct err err;
  err_set(&err, ERR_TIMEOUT, "%s", what);
  if (!conn->req) {
    conn->req = req_new(conn->server, conn);
    if (!conn->req) {
      conn_close(conn);
      return;
    }
    conn->req->family = router_family(conn->server->router, STR_NONE);
  }
  conn_fail(conn, &err);
}

static void check_body_time(struct http_conn *conn, int64_t now_ms) {
  const struct http_limits *limits = &conn->server->limits;
  if (conn->req->is_paused) { /* not the client's time */
    conn->since_ms += now_ms - conn->progress_ms;
    conn->progress_ms = now_ms;
  }
  int64_t age = now_ms - conn->since_ms;
  if (now_ms - conn->progress_ms >= limits->body_idle_ms)
    on_too_slow(conn, "the body did not come in time");
  else if (age >= limits->body_idle_ms && (int64_t)(conn->req->bytes_in / ((uint64_t)age / 1000 + 1)) < limits->body_rate)
    on_too_slow(conn, "the body comes too slowly");
}

/* While something waits to be sent, the client must take some of it. */
static void check_output_time(struct http_conn *conn, int64_t now_ms) {
  uint64_t sent = conn->queued - conn_unsent(conn);
  if (sent != conn->sent_mark || !conn_unsent(conn)) {
    conn->sent_mark = sent;
    conn->progress_ms = now_ms;
  } else if (now_ms - conn->progress_ms >= conn->server->limits.write_stall_ms) {
    conn->is_broken = true;
    conn_close(conn);
  }
}

void conn_check_time(struct http_conn *conn, int64_t now_ms) {
  const struct http_limits *limits = &conn->server->limits;
  int64_t age = now_ms - conn->since_ms;
  switch (conn->state) {
  case CONN_HANDSHAKE:
    if (age >= limits->handshake_ms)
      conn_close(conn);
    break;
  case CONN_IDLE:
    if (age >= limits->idle_ms)
      conn_close(conn);
    break;
  case CONN_HEAD:
    if (age < limits->head_ms)
      break;
    if (evbuffer_get_length(bufferevent_get_input(conn->bev)))
      on_too_slow(conn, "the head did not come in time");
    else
      conn_close(conn);
    break;
  case CONN_BODY:
    check_body_time(conn, now_ms);
    break;
  case CONN_DISCARD:
    if (now_ms - conn->progress_ms >= limits->body_idle_ms)
      conn_close(conn);
    break;
  case CONN_LINGER:
    if (age >= limits->linger_ms)
      conn_close(conn);
    break;
  case CONN_FILE:
  case CONN_STREAM:
  case CONN_FLUSH:
    check_output_time(conn, now_ms);
    break;
  default:
    break;
  }
}

/* ---- the beginning ---- */

/* Descriptor and SSL stay ours: versions of libevent differ about who frees them when a TLS bufferevent cannot be made. */
static struct bufferevent *make_bufferevent(struct http_server *server, int fd, SSL *ssl) {
  struct event_base *base = loop_base(server->loop);
  if (!ssl)
    return bufferevent_socket_new(base, fd, 0);
  struct bufferevent *bev = bufferevent_openssl_socket_new(base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING, 0);
  if (bev)
    bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
  return bev;
}

struct http_conn *conn_new(struct http_server *server, int fd, struct tls *tls, const struct http_peer *peer) {
  struct http_conn *conn = mem_zalloc(sizeof *conn);
  SSL *ssl = tls ? tls_accept(tls, fd) : NULL;
  struct bufferevent *bev = conn && (ssl || !tls) ? make_bufferevent(server, fd, ssl) : NULL;
  if (!bev) {
    SSL_free(ssl);
    close(fd);
    mem_free(conn);
    return NULL;
  }
  conn->server = server;
  conn->bev = bev;
  conn->fd = fd;
  conn->ssl = ssl;
  conn->peer = *peer;
  conn->state = tls ? CONN_HANDSHAKE : CONN_HEAD;
  conn->since_ms = conn->progress_ms = conn_now_ms(conn);
  list_push_back(&server->busy, &conn->node);
  bufferevent_setcb(bev, on_read, on_drained, on_event, conn);
  bufferevent_set_max_single_write(bev, MAX_SINGLE_WRITE);
  conn->is_reading = true;
  bufferevent_enable(bev, EV_READ); /* writing it does when there is something to write */
  return conn;
}
