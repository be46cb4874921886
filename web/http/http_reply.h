/* Answers. Each of the http_reply_* functions that answers consumes the request: see http_req.h. If the client has left they do nothing
 * but free it. HEAD is taken care of: the same call sends the head alone. All answers carry Date, X-Request-Id and the security headers;
 * Cache-Control is "no-store" and Content-Security-Policy forbids everything unless the handler sets them. */
#ifndef WINNOW_WEB_HTTP_REPLY_H
#define WINNOW_WEB_HTTP_REPLY_H

#include "base/buf.h"
#include "web/http/http_req.h"

/* Before the answer: one more header. `name` is a literal of ours, not one of those the server makes itself (Content-Length,
 * Content-Type, Connection, Date, Transfer-Encoding...). False, and nothing is added, when the value has a control character or there is
 * no room: never let a value of the user's decide a header. */
bool http_reply_header(struct http_req *req, const char *name, struct str value);

/* Before the answer: it is to be saved under this name, any UTF-8. */
void http_reply_download_name(struct http_req *req, const char *name);

/* Before the answer: the answer goes to `fn` instead of the client, once; who has it answers in its stead, now or later. An error comes as
 * `err`; else `body` (NULL: none) may be taken. Not for streams and files. */
typedef void http_tap_fn(void *ctx, int status, const char *content_type, struct buf *body, const struct err *err);
void http_reply_tap(struct http_req *req, http_tap_fn *fn, void *ctx);

/* Takes the bytes of `body` (leaving it empty). A body whose building failed becomes a 500. */
void http_reply_json(struct http_req *req, int status, struct buf *body);
/* The same with any Content-Type. Text and JSON of more than 1 KiB are compressed when the client understands gzip. */
void http_reply_body(struct http_req *req, int status, const char *content_type, struct buf *body);
/* text/plain; copied. */
void http_reply_text(struct http_req *req, int status, const char *text);
/* No body: 204, 304. */
void http_reply_empty(struct http_req *req, int status);
/* Room in the request's arena, zeroed. NULL: there is none, and that has been answered. */
#define HTTP_REQ_NEW(req, type) ((type *)http_req_room((req), sizeof(type)))
MUST_CHECK void *http_req_room(struct http_req *req, size_t size);
/* In the form of the route's family. Retryable errors carry Retry-After, of 1 second unless the handler has set it. */
void http_reply_error(struct http_req *req, const struct err *err);
/* 303, 307 or 308. `location` is a path of ours ("/..."), percent-encoded already. */
void http_reply_redirect(struct http_req *req, int status, struct str location);
/* For a request that is gone or aborted. If the client is still there, its connection is cut. */
void http_reply_drop(struct http_req *req);

/* Bytes that live as long as the program: the page. Answers conditional requests. */
struct http_asset {
  const char *content_type;
  struct str plain;
  struct str gzip;           /* STR_NONE: not compressed */
  const char *etag;          /* with its quotes */
  const char *cache_control; /* NULL: "no-cache" */
};
void http_reply_asset(struct http_req *req, const struct http_asset *asset);

/* A file. Answers Range, If-Range, If-None-Match, If-Modified-Since, If-Match; sent without copying on plain sockets. */
struct http_file {
  int fd; /* taken, also on failure; a regular file */
  const char *content_type;
  const char *etag;          /* with its quotes; NULL: none */
  const char *download_name; /* NULL: shown inline; else Content-Disposition: attachment with this name, any UTF-8 */
  const char *cache_control; /* NULL: "no-cache" */
};
void http_reply_file(struct http_req *req, const struct http_file *file);

/* ---- streams: answers whose length is not known, server-sent events ---- */

/* More may be written: what was written before has gone out. Called only after http_stream_write() said STREAM_WAIT, once for each. */
typedef void http_drained_fn(void *ctx);

enum http_stream_state {
  STREAM_GO,   /* write more, if there is more */
  STREAM_WAIT, /* taken, but wait for `drained` before the next */
  STREAM_GONE, /* nobody listens; end or abort it */
};

/* Sends the head. The request is alive until http_stream_end() or http_stream_abort(). A client that takes nothing for 30 s is cut off,
 * which on_gone (http_req.h) tells. */
void http_stream_begin(struct http_req *req, int status, const char *content_type, http_drained_fn *drained, void *ctx);
/* Copies. An empty write does nothing. STREAM_WAIT is said when more than http_limits.stream_buffer bytes wait to be sent; who writes on
 * nevertheless is cut off at twice that. */
enum http_stream_state http_stream_write(struct http_req *req, struct str bytes);
void http_stream_end(struct http_req *req);
/* The client sees that the answer is not complete. */
void http_stream_abort(struct http_req *req);

#endif
