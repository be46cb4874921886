/* What the files http_*.c share and nobody else includes. The pieces: http_server.c owns listeners and connections, http_conn.c is the
 * machine of one connection, http_body.c reads bodies, http_req.c is the request's life, http_reply.c, http_file.c and http_stream.c
 * answer, http_ahead.c sees to it that a file is in memory when it is sent. */
#ifndef WINNOW_WEB_HTTP_INTERN_H
#define WINNOW_WEB_HTTP_INTERN_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <sys/uio.h>

#include "base/list.h"
#include "base/loop.h"
#include "web/http/http_chunk.h"
#include "web/http/http_gzip.h"
#include "web/http/http_head.h"
#include "web/http/http_reply.h"
#include "web/http/http_server.h"
#include "web/router.h"

enum {
  INPUT_HIGH_WATER = 64 * 1024, /* bytes that wait to be read by us, at most */
  PIECE_MAX = 64 * 1024,        /* of a body, handed over at once */
  OUTPUT_GO_ON = 16 * 1024,     /* the next pipelined request is begun when no more than this waits to be sent */
  REQUESTS_A_TURN = 32,         /* of one connection, then the others have their turn */
  EXTRA_HEADERS_MAX = 8 * 1024,
  REPLY_HEAD_MAX = 16 * 1024,
  SPARE_REQUESTS = 64,
};

/* ---- connection ---- */

#define CONN_STATES(X)                                                                      \
  X(CONN_HANDSHAKE, "handshake") /* TLS */                                                  \
  X(CONN_IDLE, "idle")           /* between two requests, nothing received */               \
  X(CONN_HEAD, "head")           /* the head is not complete */                             \
  X(CONN_BODY, "body")           /* the body is not complete, and wanted */                 \
  X(CONN_HANDLER, "handler")     /* the answer is due */                                    \
  X(CONN_FILE, "file")           /* a file is being sent */                                 \
  X(CONN_STREAM, "stream")       /* a handler writes the answer piece by piece */           \
  X(CONN_FLUSH, "flush")         /* the answer is complete, but has not gone out */         \
  X(CONN_DISCARD, "discard")     /* the rest of an unwanted body is thrown away */          \
  X(CONN_LINGER, "linger")       /* we are done; the client gets time to read the answer */ \
  X(CONN_CLOSED, "closed")       /* released at the end of the turn */

enum conn_state {
#define X(state, name) state,
  CONN_STATES(X)
#undef X
      CONN_STATE_COUNT
};

struct http_conn {
  struct list_node node; /* in server->idle (CONN_IDLE) or server->busy (all others) */
  struct http_server *server;
  struct bufferevent *bev;
  struct ssl_st *ssl;   /* NULL: plain */
  struct http_req *req; /* the one in progress; NULL in idle, head, flush, discard, linger */
  struct loop_defer advance, release;
  int64_t since_ms;    /* when the state was entered */
  int64_t progress_ms; /* when bytes last moved: of the body in, of the answer out */
  uint64_t queued;     /* bytes ever put into the output buffer */
  uint64_t sent_mark;  /* how many of them had gone out at progress_ms */
  uint64_t discard_left;
  size_t scanned; /* of the head */
  size_t requests;
  int fd;
  enum conn_state state;
  bool is_reading;  /* libevent reads for us */
  bool is_eof;      /* the client sends no more */
  bool is_broken;   /* a write failed */
  bool in_advance;  /* conn_advance() is on the stack */
  bool close_after; /* when the answer has gone out */
  bool must_linger; /* then give the client time: it may still be sending */
  struct http_peer peer;
};

/* Takes the descriptor (closed on failure). `tls` may be NULL. */
struct http_conn *conn_new(struct http_server *server, int fd, struct tls *tls, const struct http_peer *peer);
void conn_enter(struct http_conn *conn, enum conn_state state);
/* Goes as far as the received bytes allow. */
void conn_advance(struct http_conn *conn);
/* The same, at the end of the turn. */
void conn_advance_later(struct http_conn *conn);
/* Cuts the connection. Its request, if a handler has it, is told later. */
void conn_close(struct http_conn *conn);
void conn_release(struct http_conn *conn);
/* In idle or head: no request will come or be taken any more; what was answered still goes out. */
void conn_end_of_requests(struct http_conn *conn);
/* Called from the server's tick: closes what is past its time. */
void conn_check_time(struct http_conn *conn, int64_t now_ms);
/* Sends what the socket takes, queues the rest. `owned`, if not NULL, is freed with mem_free() in any case; one of the pieces lies in it.
 */
void conn_send(struct http_conn *conn, const struct iovec *pieces, int count, void *owned);
size_t conn_unsent(const struct http_conn *conn);
/* All of the answer is in the output buffer; the request has been finished. */
void conn_answered(struct http_conn *conn);
int64_t conn_now_ms(const struct http_conn *conn);
/* Answers *err from the server itself and lets the connection end. */
void conn_fail(struct http_conn *conn, const struct err *err);

/* ---- body (http_body.c) ---- */

/* In CONN_BODY: reads on. False: nothing more to do now. */
bool body_advance(struct http_conn *conn);
/* In CONN_DISCARD. */
bool body_discard(struct http_conn *conn);
/* Enters CONN_BODY, or calls the handler when there is none to read. The gate has agreed. */
void body_begin(struct http_conn *conn);
bool body_is_complete(const struct http_req *req);
/* Does the row take a body of that size? */
MUST_CHECK bool body_is_allowed(const struct http_req *req, uint64_t size, struct err *err);

/* ---- request ---- */

struct http_req {
  struct list_node node; /* in server->requests or server->spare */
  struct loop *loop;
  struct http_server *server; /* NULL once the server is gone */
  void *service;
  struct http_conn *conn;  /* NULL once the connection is gone or has been given another end */
  struct loop_defer defer; /* of on_gone and abort */

  const struct route_family *family;
  const struct route *route;
  const struct route_place *place;
  struct str values[ROUTER_VALUES_MAX];
  enum http_method method;
  struct str path, query;
  struct http_authority host;
  const struct http_field *fields;
  size_t field_count;
  struct http_param *params;
  size_t param_count;
  struct http_peer peer;
  bool is_tls, keep_alive, expects_continue, is_chunked;
  uint8_t minor;
  char id[65];

  uint64_t length, received; /* of the body */
  struct http_chunk chunk;
  struct buf body;
  bool chunks_done, is_paused;
  bool sink_open;    /* begin agreed; neither end nor abort nor an answer has come */
  bool with_handler; /* a handler has it and will answer */
  bool answered, is_gone;
  const struct err *abort_err;

  struct arena arena;
  void *principal, *state, *problems;
  http_gone_fn *gone;
  void *gone_ctx;
  http_drained_fn *drained;
  void *drained_ctx;
  bool stream_waits, stream_chunked;
  http_tap_fn *tap; /* gets the answer */
  void *tap_ctx;

  struct buf headers; /* extra ones of the answer, in wire form */
  bool has_cache_control, has_csp, has_retry_after;
  int file_fd;
  struct evbuffer_file_segment *segment; /* owns the descriptor once it is there */
  int segment_fd;                        /* the segment's */
  uint64_t segment_from, file_at, file_left;
  uint64_t file_known; /* up to here it is in memory, or was a moment ago */
  struct file_ahead *ahead;

  int64_t started_us;
  uint64_t bytes_in, bytes_out;
  int status;
};

struct http_req *req_new(struct http_server *server, struct http_conn *conn);
/* Logs, observes, frees. The connection lets go of it. */
void req_finish(struct http_req *req);
/* The connection is lost, or answers by itself: a handler that has the request is told later, else it ends here. */
void req_detach(struct http_req *req, const struct err *why);
/* The client sends no more: tells the handler later. */
void req_tell_gone(struct http_req *req);
MUST_CHECK bool req_parse_params(struct http_req *req, struct err *err);

/* ---- answer ---- */

struct reply {
  int status;
  const char *content_type; /* NULL: none */
  const char *coding;       /* Content-Encoding; NULL: none */
  bool vary;                /* on Accept-Encoding */
  bool is_chunked;          /* length is not known */
  uint64_t length;
};
/* Decides about the connection's end, writes the head into the server's scratch buffer. False without memory. */
MUST_CHECK bool reply_head(struct http_req *req, const struct reply *reply, struct str *ret_head);
/* Head and body at once, without finishing the request. `owned` as in conn_send(). */
void reply_send(struct http_req *req, const struct reply *reply, struct str body, void *owned);
/* Has the answer no body whatever the handler says? */
bool reply_is_bare(const struct http_req *req, int status);
/* Ends the program on a second answer. False: the client is gone, and the request has been finished. */
MUST_CHECK bool reply_begin(struct http_req *req);
/* Writes the error in the form of its family and sends it, without finishing the request. */
void reply_send_error(struct http_req *req, const struct err *err);

/* Adds the next piece of the file; when it is all out, finishes. */
void file_pump(struct http_conn *conn);
/* Is the next piece of the file in memory? Else it is read on a thread, and file_pump() called then. */
bool ahead_is_ready(struct http_req *req, int fd);
/* The request ends. */
void ahead_forget(struct http_req *req);
/* The output has drained. */
void stream_on_drained(struct http_conn *conn);

/* ---- server ---- */

struct http_server {
  struct loop *loop;
  struct http_server_config config;
  struct http_limits limits; /* with the defaults filled in */
  struct router *router;
  struct list listeners;
  struct list idle, busy;      /* connections; idle ones with the oldest first */
  struct list requests, spare; /* requests in use, and a few to use again */
  struct loop_timer *tick, *accept_timer, *drain_timer;
  int64_t tick_ms;
  int spare_fd;
  bool accept_paused, draining;
  uint64_t pauses, pauses_shed; /* of the trouble with accepting that goes on; who was told off before it */
  int64_t pauses_from_ms, pauses_last_ms;
  loop_fn *drained;
  void *drained_ctx;
  struct loop_defer drained_defer;
  struct http_gzip *gzip; /* made when first needed */
  struct buf head;        /* scratch for the head of an answer */
  char *piece;            /* scratch for bytes of a body: PIECE_MAX */
  int64_t date_s;
  char date[32];
  uint32_t id_salt;
  uint64_t id_next;
  uint64_t accepted, shed, request_count;
};

void server_on_conn_released(struct http_server *server);
void server_on_req_finished(struct http_server *server);

#endif
