/* The HTTP server: listeners, limits, drain. One loop, one thread. */
#ifndef WINNOW_WEB_HTTP_SERVER_H
#define WINNOW_WEB_HTTP_SERVER_H

#include "base/loop.h"
#include "base/work.h"
#include "web/http/http_req.h"
#include "web/route.h"

struct http_server;
struct tls;

/* Times are milliseconds. 0 takes the default, named beside it. */
struct http_limits {
  size_t connections;     /* 20,000 */
  int64_t handshake_ms;   /* 10 s */
  int64_t head_ms;        /* 10 s for a whole head, from its first byte (from the connection, for the first) */
  int64_t idle_ms;        /* 75 s between two requests */
  int64_t body_idle_ms;   /* 30 s without a byte of the body */
  int64_t body_rate;      /* 500 bytes a second on average, looked at after body_idle_ms */
  int64_t write_stall_ms; /* 30 s without the client taking a byte */
  int64_t linger_ms;      /* 2 s: how long a connection that is closed after an error stays to let the answer arrive */
  size_t requests;        /* 100,000 on one connection, then it is closed */
  size_t arena;           /* 16 MiB of a request's arena */
  size_t stream_buffer;   /* 64 KiB of a stream that wait to be sent */
  size_t discard;         /* 256 KiB of a body that is read and thrown away to keep the connection after an early answer */
};

/* Called once for every request whose head was understood, before any of its body is read. It sees method, path, headers, peer, Host;
 * `route` is NULL when no row matches (404, 405, OPTIONS): then only Host and the like are to be judged. False: *err is answered, with the
 * headers set by http_reply_header(). */
typedef bool http_gate_fn(void *ctx, struct http_req *req, const struct route *route, struct err *err);

/* A request has been answered. */
struct http_observation {
  const struct route *route; /* NULL when none matched */
  const char *pattern;       /* "" when none matched */
  enum http_method method;
  int status; /* 499: the client left before its answer */
  int64_t duration_us;
  uint64_t bytes_in, bytes_out; /* head and body */
};
typedef void http_observe_fn(void *ctx, const struct http_observation *observation);

/* Calls the handler of a request whose body is all there, now or later. */
typedef void http_handle_fn(void *ctx, struct http_req *req);

struct http_server_config {
  const struct route_mount *mounts; /* borrowed, like all they point to */
  size_t mount_count;
  void *service;      /* what http_req_service() returns */
  http_gate_fn *gate; /* NULL: everybody may do everything, for tests */
  void *gate_ctx;
  http_handle_fn *handle; /* NULL: the row's handler is called at once */
  void *handle_ctx;
  http_observe_fn *observe; /* may be NULL */
  void *observe_ctx;
  struct work_pool *disk; /* where files are read that are not in memory; NULL: on the loop */
  bool access_log;        /* one line a request, gathered; log_flush() belongs into an end-of-turn hook (http_server_flush_log_hook()) */
  struct http_limits limits;
};

/* Has the process ignore SIGPIPE. Fails on a table that makes no sense: a row without policy, two rows for one method and path, a pattern
 * that cannot be read. */
MUST_CHECK struct http_server *http_server_new(struct loop *loop, const struct http_server_config *config, struct err *err);
/* Closes everything at once. Requests not yet answered stay their handlers' until they answer. Accepts NULL. */
void http_server_free(struct http_server *server);

/* Several listeners at once. `host` is an address or "localhost" or "*", port 0 lets the kernel choose; *ret_port (may be NULL) gets
 * what it became. `tls` (borrowed, may be NULL) makes it HTTPS. */
MUST_CHECK bool http_server_listen_tcp(struct http_server *server, const char *host, uint16_t port, struct tls *tls, uint16_t *ret_port,
                                       struct err *err);
/* The socket is made with mode 0600 from its first moment; one that is left behind by a dead process is replaced, one in use is an error.
 * It is removed when the server stops listening. */
MUST_CHECK bool http_server_listen_unix(struct http_server *server, const char *path, struct err *err);

/* Streams that do not end by themselves (server-sent events) are to be ended by those who write them.
 * Stops listening, lets requests in flight finish (their answers say "Connection: close"), closes idle connections; when none is left or
 * after `deadline_ms` all are closed and `done` is called, once and later. */
void http_server_drain(struct http_server *server, int64_t deadline_ms, loop_fn *done, void *ctx);

struct http_server_stats {
  size_t connections, idle, requests_in_flight;
  uint64_t accepted, shed, requests;
  bool accepting;
};
void http_server_stats(const struct http_server *server, struct http_server_stats *ret);

/* For loop_add_hook(loop, http_server_flush_log_hook, NULL). */
void http_server_flush_log_hook(void *unused);

#endif
