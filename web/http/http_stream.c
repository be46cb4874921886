/* Answers written piece by piece. */
#include "web/http/http_intern.h"

void http_stream_begin(struct http_req *req, int status, const char *content_type, http_drained_fn *drained, void *ctx) {
  if (req->answered)
    abort();
  req->drained = drained;
  req->drained_ctx = ctx;
  req->sink_open = false;
  if (!req->conn)
    return;
  struct http_conn *conn = req->conn;
  struct reply reply = {.status = status, .content_type = content_type, .is_chunked = true};
  req->stream_chunked = req->minor > 0;
  reply_send(req, &reply, STR(""), NULL);
  conn_enter(conn, CONN_STREAM);
  conn_advance_later(conn); /* a paused body is not paused any more: a client that leaves must be seen */
}

/* The connection is of no use any more; the handler is told later. */
static enum http_stream_state cut(struct http_conn *conn) {
  conn->is_broken = true;
  conn_close(conn);
  return STREAM_GONE;
}

enum http_stream_state http_stream_write(struct http_req *req, struct str bytes) {
  struct http_conn *conn = req->conn;
  if (!conn)
    return STREAM_GONE;
  size_t ceiling = conn->server->limits.stream_buffer;
  if (req->stream_waits && conn_unsent(conn) >= 2 * ceiling)
    return cut(conn);
  if (bytes.n && !reply_is_bare(req, req->status)) {
    char size[20];
    struct iovec pieces[] = {
        {size, req->stream_chunked ? http_chunk_head(bytes.n, size) : 0},
        {(void *)(uintptr_t)bytes.p, bytes.n},
        {(void *)(uintptr_t) "\r\n", req->stream_chunked ? 2 : 0},
    };
    req->bytes_out += bytes.n;
    conn_send(conn, pieces, 3, NULL);
  }
  if (conn->is_broken)
    return cut(conn);
  if (conn_unsent(conn) <= ceiling)
    return STREAM_GO;
  req->stream_waits = true;
  return STREAM_WAIT;
}

void stream_on_drained(struct http_conn *conn) {
  struct http_req *req = conn->req;
  if (!req->stream_waits)
    return;
  req->stream_waits = false;
  if (req->drained)
    req->drained(req->drained_ctx);
}

void http_stream_end(struct http_req *req) {
  if (!reply_begin(req))
    return;
  struct http_conn *conn = req->conn;
  if (req->stream_chunked && !reply_is_bare(req, req->status)) {
    struct iovec last = {(void *)(uintptr_t) "0\r\n\r\n", 5};
    conn_send(conn, &last, 1, NULL);
  }
  req_finish(req);
  conn_answered(conn);
}

void http_stream_abort(struct http_req *req) {
  http_reply_drop(req);
}
