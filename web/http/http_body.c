/* The bodies of requests: decoding, gathering, handing over to a sink. */
#include <sys/socket.h>

#include "web/http/http_intern.h"

enum { PULLS_A_TURN = 16 };

enum feed {
  FEED_MORE,     /* all bytes used up, more needed */
  FEED_COMPLETE, /* the body is complete */
  FEED_PAUSED,   /* the sink wants no more for now */
  FEED_ENDED,    /* the request is not ours any more: answered or failed */
};

bool body_is_complete(const struct http_req *req) {
  return req->is_chunked ? req->chunks_done : req->received == req->length;
}

bool body_is_allowed(const struct http_req *req, uint64_t size, struct err *err) {
  const struct route *route = req->route;
  if (size <= route->max_body)
    return true;
  if (route->body == BODY_NONE)
    return err_set(err, ERR_INVALID, "this request takes no body");
  return err_set(err, ERR_TOO_LARGE, "the body is larger than %llu bytes", (unsigned long long)route->max_body);
}

/* The server ends an upload: the client gets the error, the sink its abort. */
static enum feed fail(struct http_conn *conn, const struct err *err) {
  conn_fail(conn, err);
  return FEED_ENDED;
}

/* One piece of the decoded body. */
static enum feed take_piece(struct http_conn *conn, struct str piece) {
  struct http_req *req = conn->req;
  struct err err;
  req->received += piece.n;
  if (!body_is_allowed(req, req->received, &err))
    return fail(conn, &err);
  if (req->route->body != BODY_STREAM) {
    buf_add_str(&req->body, piece);
    return buf_ok(&req->body, &err) ? FEED_MORE : fail(conn, &err);
  }
  if (!req->route->stream->data(req, piece, &err)) {
    req->sink_open = false;
    req->with_handler = false;
    return fail(conn, &err);
  }
  if (conn->req != req || conn->state != CONN_BODY)
    return FEED_ENDED;
  return req->is_paused ? FEED_PAUSED : FEED_MORE;
}

/* Gives pieces of raw bytes to take_piece(); *ret_used of them are done with. */
static enum feed feed(struct http_conn *conn, struct str bytes, size_t *ret_used) {
  struct http_req *req = conn->req;
  *ret_used = 0;
  while (!body_is_complete(req)) {
    struct str rest = str_slice(bytes, *ret_used, bytes.n), piece = STR_NONE;
    size_t used = 0;
    struct err err;
    if (!rest.n)
      return FEED_MORE;
    if (!req->is_chunked) {
      piece = str_slice(rest, 0, (size_t)MIN_OF((uint64_t)rest.n, req->length - req->received));
      used = piece.n;
    } else {
      switch (http_chunk_decode(&req->chunk, rest, &used, &piece, &err)) {
      case HTTP_CHUNK_BAD:
        return fail(conn, &err);
      case HTTP_CHUNK_DONE:
        req->chunks_done = true;
        break;
      default:
        break;
      }
    }
    *ret_used += used;
    req->bytes_in += used;
    enum feed result = piece.n ? take_piece(conn, piece) : FEED_MORE;
    if (result != FEED_MORE)
      return result;
  }
  return FEED_COMPLETE;
}

/* The bytes that libevent has read already. */
static enum feed feed_from_input(struct http_conn *conn) {
  struct evbuffer *input = bufferevent_get_input(conn->bev);
  struct evbuffer_iovec piece;
  enum feed result = FEED_MORE;
  while (result == FEED_MORE && evbuffer_peek(input, -1, NULL, &piece, 1) > 0 && piece.iov_len) {
    size_t used;
    result = feed(conn, str_n(piece.iov_base, MIN_OF(piece.iov_len, (size_t)PIECE_MAX)), &used);
    evbuffer_drain(input, used);
  }
  return result;
}

/* What was read too much goes where libevent would have put it. */
static bool give_back(struct http_conn *conn, struct str bytes) {
  struct evbuffer *input = bufferevent_get_input(conn->bev);
  evbuffer_unfreeze(input, 0);
  bool ok = evbuffer_add(input, bytes.p, bytes.n) == 0;
  evbuffer_freeze(input, 0);
  return ok;
}

/* Plain sockets: large bodies are read straight into the scratch piece, as libevent reads 4 KiB at a time. */
static enum feed feed_from_socket(struct http_conn *conn) {
  struct http_server *server = conn->server;
  enum feed result = FEED_MORE;
  for (int pulls = 0; result == FEED_MORE && pulls < PULLS_A_TURN; pulls++) {
    struct http_req *req = conn->req;
    size_t want = PIECE_MAX;
    if (!req->is_chunked)
      want = (size_t)MIN_OF((uint64_t)want, req->length - req->received);
    ssize_t n = recv(conn->fd, server->piece, want, MSG_DONTWAIT);
    if (n <= 0)
      break; /* nothing there, or an end or error that libevent will meet too */
    size_t used;
    result = feed(conn, str_n(server->piece, (size_t)n), &used);
    if (used < (size_t)n && conn->state != CONN_CLOSED && !give_back(conn, str_n(server->piece + used, (size_t)n - used))) {
      conn_close(conn);
      return FEED_ENDED;
    }
    if ((size_t)n < want)
      break;
  }
  return result;
}

static void complete(struct http_conn *conn) {
  struct http_req *req = conn->req;
  conn_enter(conn, CONN_HANDLER);
  req->with_handler = true;
  if (conn->is_eof)
    req_tell_gone(req);
  if (req->route->body == BODY_STREAM) {
    req->sink_open = false;
    req->route->stream->end(req);
  } else if (conn->server->config.handle) {
    conn->server->config.handle(conn->server->config.handle_ctx, req);
  } else {
    req->route->handler(req);
  }
}

static void say_continue(struct http_conn *conn) {
  static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
  struct iovec piece = {(void *)(uintptr_t)text, sizeof text - 1};
  conn->req->expects_continue = false;
  conn->req->bytes_out += piece.iov_len;
  conn_send(conn, &piece, 1, NULL);
}

bool body_advance(struct http_conn *conn) {
  struct http_req *req = conn->req;
  if (req->is_paused)
    return false;
  uint64_t before = req->bytes_in;
  enum feed result = feed_from_input(conn);
  if (result == FEED_MORE && !body_is_complete(req) && !conn->ssl && !conn->is_eof)
    result = feed_from_socket(conn);
  if (result == FEED_ENDED)
    return conn->state != CONN_CLOSED;
  if (req->bytes_in != before)
    conn->progress_ms = conn_now_ms(conn);
  if (body_is_complete(req) && !req->is_paused) {
    complete(conn);
    return true;
  }
  if (result == FEED_MORE && req->expects_continue)
    say_continue(conn);
  return false;
}

void body_begin(struct http_conn *conn) {
  struct http_req *req = conn->req;
  if (req->route->body != BODY_STREAM) {
    buf_init(&req->body, (size_t)MIN_OF(req->route->max_body, (uint64_t)SIZE_MAX / 4));
    if (body_is_complete(req))
      complete(conn);
    else
      conn_enter(conn, CONN_BODY);
    return;
  }
  conn_enter(conn, CONN_BODY);
  struct err err;
  req->sink_open = true;
  req->with_handler = true;
  if (!req->route->stream->begin(req, &err)) {
    req->sink_open = false;
    req->with_handler = false;
    conn_fail(conn, &err);
  }
}

bool body_discard(struct http_conn *conn) {
  struct evbuffer *input = bufferevent_get_input(conn->bev);
  size_t n = (size_t)MIN_OF((uint64_t)evbuffer_get_length(input), conn->discard_left);
  if (n) {
    evbuffer_drain(input, n);
    conn->discard_left -= n;
    conn->progress_ms = conn_now_ms(conn);
  }
  if (conn->discard_left)
    return false;
  conn_enter(conn, CONN_IDLE);
  return true;
}
