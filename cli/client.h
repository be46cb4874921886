/* An HTTP client for one service: blocking, one connection kept alive, over TCP, TLS or a Unix socket. Every call can be broken off by
 * Ctrl-C. libcurl is brought up by the first call. */
#ifndef WINNOW_CLI_CLIENT_H
#define WINNOW_CLI_CLIENT_H

#include "base/clock.h"
#include "base/json.h"
#include "base/rng.h"
#include "cli/endpoint.h"
#include "cli/sse.h"

struct client;

struct client_config {
  const struct endpoint *endpoint; /* outlives the client */
  const struct clock *clock;
  struct rng rng;                                                /* for idempotency keys and jitter */
  int interrupt_fd;                                              /* becomes readable when the person pressed Ctrl-C; -1: none */
  int64_t timeout_ms;                                            /* for a whole answer that is no stream; 0: a minute */
  unsigned tries;                                                /* for what may be repeated; 0: four */
  void (*on_retry)(void *ctx, int64_t wait_ms, const char *why); /* may be NULL */
  void *retry_ctx;
};

/* Never fails; the first call may. */
MUST_CHECK struct client *client_new(const struct client_config *config, struct err *err);
void client_free(struct client *client); /* accepts NULL */

/* Bytes of an answer, as they come; false (with `err`) breaks off. */
typedef bool client_sink(void *ctx, struct str bytes, struct err *err);
/* Called about ten times a second while bytes move, and when nothing comes; false breaks off. `total` is -1 when unknown. It may make
 * calls with the same client (streams have a connection of their own). */
typedef bool client_tick(void *ctx, int64_t moved, int64_t total, struct err *err);

struct client_request {
  const char *method;
  const char *path; /* with its query, escaped; see path_format() */
  struct str body;
  const char *content_type; /* NULL: JSON, when there is a body */
  int body_fd;              /* when `body` has no p: body_size bytes from here; -1: none */
  int64_t body_size;
  const char *accept; /* NULL: JSON */
  const char *header; /* one more, "Name: value"; NULL: none */
  bool creates;       /* an Idempotency-Key is sent and the request may be repeated */
  client_sink *sink;  /* the body of a 2xx answer goes here; NULL: into the reply */
  client_tick *tick;  /* may be NULL */
  void *ctx;          /* of both */
  bool stream;        /* no end is expected: no timeout but on silence */
  int64_t silence_ms; /* for a stream: how long nothing may come; 0: 90 s */
};

struct client_reply {
  long status;
  struct buf body;
  char content_type[128];
  char request_id[96];
  char sha256[72];     /* of the whole content, when the service says it (X-Content-SHA256, or an ETag "sha256:…") */
  int64_t log_offset;  /* Winnow-Log-Offset: where the first byte of this answer lies; -1: not said */
  int64_t log_next;    /* Winnow-Log-Next: where the next one begins; -1: not said */
  int64_t log_size;    /* Winnow-Log-Size: where all of it ends; -1: not said */
  int64_t log_attempt; /* Winnow-Log-Attempt: whose output it is; -1: not said */
  int64_t date_ms;     /* Date; -1: not said */
  int64_t length;      /* Content-Length; -1: not said */
};

void client_reply_init(struct client_reply *reply);
void client_reply_release(struct client_reply *reply);
#define AUTO_REPLY CLEANUP(client_reply_release)

/* False when no 2xx answer came: `err` has the code, the sentence and the hint of the problem+json; ERR_UNAVAILABLE when nobody
 * answered, ERR_CANCELLED after Ctrl-C. GET, HEAD, PUT and DELETE, and what `creates`, are tried again when that makes sense. `reply`
 * (initialised by the caller) then still holds status and request id. */
MUST_CHECK bool client_call(struct client *client, const struct client_request *request, struct client_reply *reply, struct err *err);

/* A JSON answer; *ret may be NULL after 204. `body` NULL: none. The caller owns *ret. */
MUST_CHECK bool client_json(struct client *client, const char *method, const char *path, const json_t *body, bool creates, json_t **ret,
                            struct err *err);

/* Follows an event stream for ever: reconnects with Last-Event-ID and patience, until `fn` returns false (true is returned), the tick
 * breaks off, or the service refuses. */
MUST_CHECK bool client_events(struct client *client, const char *path, sse_fn *fn, client_tick *tick, void *ctx, struct err *err);

/* The id of the last request that failed; "" when none did. */
const char *client_request_id(const struct client *client);
/* What else was wrong with it, beside what its error says: [{"text", "hint"}, ...]; NULL when there is nothing. */
const json_t *client_problems(const struct client *client);
/* Sleeps, but not through Ctrl-C (false). */
MUST_CHECK bool client_sleep(struct client *client, int64_t ms, struct err *err);
bool client_interrupted(const struct client *client);

/* "{}" stands for the next text, percent-escaped as one segment or query value, "{/}" for one whose slashes stay. Fails at the buffer's
 * ceiling only. Pure. */
void path_format(struct buf *out, const char *format, ...);
void path_vformat(struct buf *out, const char *format, va_list args);
void path_escape(struct buf *out, struct str text, bool keep_slashes);
/* Adds `name=value` with '?' or '&'. A NULL value adds nothing. */
void path_query(struct buf *path, const char *name, const char *value);

/* The error that an answer tells: from problem+json, else from the status. *ret_rest is as client_problems() promises, and the caller's.
 * Pure. */
void problem_to_err(long status, struct str body, struct err *ret, json_t **ret_rest);
/* Seconds (or an HTTP date) as milliseconds from `now_ms`; -1 when it is neither. Pure. */
int64_t retry_after_ms(struct str value, int64_t now_ms);

#endif
