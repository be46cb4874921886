/* One connection to Postgres. Inside of storage; the pool and the holder of the lock own some. Needs storage/pg/pq.h before
 * it.
 *
 * In pipeline mode it carries operations: pg_link_send() puts one into the pipeline, pg_link_flush() sends what was put, on_op brings it
 * back answered. In raw mode its owner speaks to libpq itself, in on_raw. */
#ifndef WINNOW_STORAGE_PG_LINK_H
#define WINNOW_STORAGE_PG_LINK_H

#include "storage/pg/pg_op.h"
#include "storage/pg/pg_target.h"
#include "storage/pg/pq_api.h"

enum link_state { LINK_DOWN, LINK_CONNECTING, LINK_UP };

struct pg_link;

/* The owner may send and close in these, but not release the link. */
struct link_events {
  void (*on_up)(void *ctx, struct pg_link *link);
  /* It could not connect, or the connection died (also by pg_link_fail()). Operations in flight are in link->flight: the owner takes them.
   */
  void (*on_down)(void *ctx, struct pg_link *link, const struct err *reason);
  /* Answered; it is in no list. */
  void (*on_op)(void *ctx, struct pg_link *link, struct pg_op *op);
  void (*on_raw)(void *ctx, struct pg_link *link); /* something may have arrived, or the output has drained */
};

struct pg_link {
  struct list_node node; /* for the owner */
  struct loop *loop;
  const struct pq_api *pq;
  const struct pg_target *target;
  int64_t statement_timeout_ms; /* what its session has */
  const struct link_events *events;
  void *ctx;
  enum link_state state;
  bool raw;
  bool reading;     /* false: back-pressure */
  bool out_pending; /* libpq holds bytes that the socket did not take */
  PGconn *pg;
  struct loop_io *io;
  struct loop_timer *timer; /* of the connect */
  struct list flight;       /* operations, in the order they were sent */
  size_t at;                /* of the first one: the part whose result comes next; 0 is its set_timeout */
  bool past_prepare;
  int64_t head_since_ms; /* when the first one became the first */
  uint64_t prepared[(STMT_COUNT + STMT_EXTRA_MAX + 63) / 64];
};

MUST_CHECK bool pg_link_init(struct pg_link *link, struct loop *loop, const struct pq_api *pq, const struct link_events *events, void *ctx,
                             struct err *err);
/* Closes without telling. Operations in flight must have been taken. */
void pg_link_release(struct pg_link *link);
/* From DOWN. On failure it stays there. `target` outlives the connection. */
MUST_CHECK bool pg_link_connect(struct pg_link *link, const struct pg_target *target, int64_t statement_timeout_ms, struct err *err);
/* Closes without telling; flight is left to the owner. */
void pg_link_close(struct pg_link *link);
/* Closes and tells on_down. */
void pg_link_fail(struct pg_link *link, enum err_code code, const char *what);

/* UP and not raw. On failure the operation was not sent for good (no sync), is in no list, and the link must be failed. */
MUST_CHECK bool pg_link_send(struct pg_link *link, struct pg_op *op);
/* May fail the link. */
void pg_link_flush(struct pg_link *link);
/* UP, nothing in flight. Leaving raw mode is by closing, or back with pg_link_set_raw(link, false) when the connection is idle. */
MUST_CHECK bool pg_link_set_raw(struct pg_link *link, bool raw);
void pg_link_set_reading(struct pg_link *link, bool reading);
/* Is the first operation in flight past its time by so much that the server must be gone? */
bool pg_link_is_stuck(const struct pg_link *link, int64_t now_ms);

#endif
