/* Postgres, without waiting. A pool of connections in pipeline mode carries statements named in sql/queries (see stmt_info.h);
 * a few dedicated connections ("sessions") carry what needs one for itself: a stream of rows.
 *
 *     AUTO_PG_ARGS struct pg_args args;
 *     pg_args_init(&args, STMT_RUN_CREATE);
 *     pg_put_uuid(&args, id);
 *     pg_put_jsonb(&args, params);
 *     if (!pg_run(pool, &args, 0, on_created, op, err))
 *       return false;
 *
 * Promises:
 *   - Every callback is called exactly once, on the loop, never before its starter has returned, also at shutdown.
 *     When a starter fails it is never called.
 *   - A result, and all text in it, is valid only during the callback.
 *   - Statements may be issued while the database is away: they wait in the queue, but not for long (`away_ms`).
 *   - Everything has a ceiling; at the ceiling a starter fails with ERR_OVERLOADED.
 *   - A serialization failure or a deadlock is tried again a few times before it is told (PG_RETRYABLE).
 *   - Statements issued separately run in any order, on any connection. Order them by waiting, or by a batch. */
#ifndef WINNOW_STORAGE_PG_H
#define WINNOW_STORAGE_PG_H

#include "base/buf.h"
#include "base/id.h"
#include "base/loop.h"
#include "base/rng.h"
#include "storage/pg/stmt_info.h"

struct pg_pool;
struct pq_api;

/* ---- arguments ---- */

/* The arguments of one statement, put in the order of its parameters. Mistakes (a wrong type, one too few, no memory) are sticky and told
 * by the starter, as ERR_INTERNAL or ERR_NO_MEMORY. */
struct pg_args {
  enum stmt stmt;
  enum err_code fail;
  unsigned count;
  uint32_t items, items_at; /* of the array that is open */
  bool in_array, array_has_null;
  struct buf bytes;
  struct {
    uint32_t at;
    int32_t size; /* -1: null */
  } params[STMT_PARAMS_MAX];
};

void pg_args_init(struct pg_args *args, enum stmt stmt);
void pg_args_release(struct pg_args *args); /* harmless after a starter has taken them */
#define AUTO_PG_ARGS CLEANUP(pg_args_release)

void pg_put_null(struct pg_args *args);
void pg_put_bool(struct pg_args *args, bool value);
void pg_put_int(struct pg_args *args, int64_t value); /* int2, int4 or int8, as declared; out of its range is a mistake */
void pg_put_float8(struct pg_args *args, double value);
void pg_put_text(struct pg_args *args, struct str value);  /* UTF-8 without NUL (else ERR_INVALID); p == NULL is null */
void pg_put_bytea(struct pg_args *args, struct str value); /* p == NULL is null */
void pg_put_uuid(struct pg_args *args, struct id value);
void pg_put_jsonb(struct pg_args *args, struct str json); /* p == NULL is null */
void pg_put_time(struct pg_args *args, int64_t wall_ms);  /* timestamptz; INT64_MAX and INT64_MIN are the infinities */
/* Null where there is none. */
void pg_put_int_if(struct pg_args *args, bool has, int64_t value);
void pg_put_float8_if(struct pg_args *args, bool has, double value);
/* An array: what is put between the two are its items, nulls among them. */
void pg_begin_array(struct pg_args *args);
void pg_end_array(struct pg_args *args);
/* Whole arrays without nulls. */
void pg_put_int8s(struct pg_args *args, const int64_t *values, size_t count);
void pg_put_float8s(struct pg_args *args, const double *values, size_t count);

/* ---- outcomes and results ---- */

enum pg_outcome {
  PG_DONE,      /* it happened, and is durable */
  PG_REJECTED,  /* the server refused it; it did not happen and would not the next time */
  PG_RETRYABLE, /* it did not happen; the same may well succeed now */
  PG_CANCELLED, /* it did not happen: its deadline passed, or the pool was stopped */
  PG_UNKNOWN,   /* it was sent and the connection died: read again, or repeat what is safe to repeat */
};

struct pg_reply;
typedef void pg_done_fn(void *ctx, const struct pg_reply *reply);

enum pg_outcome pg_outcome(const struct pg_reply *reply);
/* What to tell when the outcome is not PG_DONE (then code is ERR_NONE). 23505 is ERR_EXISTS, 53100 ERR_NO_SPACE, ... */
const struct err *pg_err(const struct pg_reply *reply);
/* True when PG_DONE; else copies the error. */
MUST_CHECK bool pg_ok(const struct pg_reply *reply, struct err *err);
/* "23505" when the server rejected it, else "". */
const char *pg_sqlstate(const struct pg_reply *reply);
size_t pg_rows(const struct pg_reply *reply);
/* Of a batch: the result of its i-th statement; only when PG_DONE. */
const struct pg_reply *pg_nth(const struct pg_reply *reply, size_t i);

/* Columns. The shape was checked when the result came; reading a column as another type than declared ends the program.
 * A null reads as false, 0, NAN, STR_NONE, the zero id, INT64_MIN. */
bool pg_is_null(const struct pg_reply *reply, size_t row, size_t column);
bool pg_bool(const struct pg_reply *reply, size_t row, size_t column);
int64_t pg_int(const struct pg_reply *reply, size_t row, size_t column); /* int2, int4, int8 */
double pg_float8(const struct pg_reply *reply, size_t row, size_t column);
struct str pg_text(const struct pg_reply *reply, size_t row, size_t column); /* NUL-ended as well */
struct str pg_bytea(const struct pg_reply *reply, size_t row, size_t column);
struct str pg_jsonb(const struct pg_reply *reply, size_t row, size_t column);
struct id pg_uuid(const struct pg_reply *reply, size_t row, size_t column);
int64_t pg_time(const struct pg_reply *reply, size_t row, size_t column); /* timestamptz, ms; the infinities as in pg_put_time() */

/* An array column, one item after the other: while (pg_array_next(&a)) ... pg_item_text(&a) ... */
struct pg_array {
  enum pg_type type; /* of the items */
  size_t left;
  const char *p, *end;
  const char *item; /* the current one; NULL is null */
  size_t item_size;
};
struct pg_array pg_array(const struct pg_reply *reply, size_t row, size_t column); /* a null is an empty array */
bool pg_array_next(struct pg_array *array);
bool pg_item_is_null(const struct pg_array *array);
int64_t pg_item_int(const struct pg_array *array);
double pg_item_float8(const struct pg_array *array);
struct str pg_item_text(const struct pg_array *array); /* text, bytea, jsonb; not NUL-ended */
struct id pg_item_uuid(const struct pg_array *array);

/* ---- single statements and batches ---- */

/* Takes the arguments in any case. timeout_ms counts from now, waiting included; 0 is the pool's default. The server's statement_timeout
 * follows it, and a server that does not answer at all loses the connection shortly after (PG_UNKNOWN). */
MUST_CHECK bool pg_run(struct pg_pool *pool, struct pg_args *args, int64_t timeout_ms, pg_done_fn *done, void *ctx, struct err *err);

/* Statements that happen together or not at all: one transaction, one round trip. */
struct pg_batch {
  struct pg_args *items;
  size_t count, cap;
  enum err_code fail;
  struct pg_args spare; /* takes what is put after a failure */
};
enum { PG_BATCH_MAX = 4096 };
#define PG_BATCH_INIT ((struct pg_batch){.count = 0})
void pg_batch_release(struct pg_batch *batch);
#define AUTO_PG_BATCH CLEANUP(pg_batch_release)
/* Never NULL, ready to be put into; valid until the next call. At most PG_BATCH_MAX; failures are sticky and told by pg_run_batch(). */
struct pg_args *pg_batch_add(struct pg_batch *batch, enum stmt stmt);
/* Takes the statements in any case. An empty batch is ERR_INTERNAL. Read the results with pg_nth(). */
MUST_CHECK bool pg_run_batch(struct pg_pool *pool, struct pg_batch *batch, int64_t timeout_ms, pg_done_fn *done, void *ctx,
                             struct err *err);

/* ---- many rows ---- */

/* Rows of a large read as they come, one a call, on a session. After `on_row`s comes one `done`. */
struct pg_stream;
typedef void pg_row_fn(void *ctx, const struct pg_reply *row); /* pg_rows() is 1 */
/* Takes the arguments in any case. NULL on failure. The stream is gone when `done` returns. timeout_ms bounds the whole read. */
MUST_CHECK struct pg_stream *pg_stream_open(struct pg_pool *pool, struct pg_args *args, int64_t timeout_ms, pg_row_fn *on_row,
                                            pg_done_fn *done, void *ctx, struct err *err);
/* Back-pressure: the socket is not read until resumed; no row comes from the moment this returns. */
void pg_stream_pause(struct pg_stream *stream);
void pg_stream_resume(struct pg_stream *stream);
/* Ends it early: no further row; `done` comes with PG_CANCELLED. */
void pg_stream_cancel(struct pg_stream *stream);

/* ---- the pool ---- */

struct pg_pool_conf {
  unsigned connections;    /* in pipeline mode, at most; opened when needed, kept */
  unsigned depth;          /* operations sent and not yet answered, a connection */
  unsigned sessions;       /* dedicated connections at most; opened when needed, kept */
  size_t queue_max;        /* operations that wait, for a connection or a session */
  size_t queue_bytes_max;  /* and their arguments together */
  int64_t timeout_ms;      /* default of a statement */
  int64_t away_ms;         /* no statement waits longer for a database that is away */
  int64_t first_ms;        /* nor for one that has not been up yet */
  struct rng rng;          /* for the jitter of reconnects */
  const struct pq_api *pq; /* NULL: libpq itself */
};
/* Sensible values for everything. */
struct pg_pool_conf pg_pool_conf_default(void);

struct pg_pool_stats {
  unsigned connections_up, connections_max, sessions_up, sessions_busy;
  size_t waiting, waiting_bytes, in_flight;
  uint64_t done, rejected, retried, cancelled, unknown, reconnects;
  int64_t no_space_ms; /* by the clock that does not jump: when the server last refused something for want of space; 0: never */
};

/* Told on the loop when the first connection comes up (up), and when the last one has gone (not up, with the reason). */
typedef void pg_state_fn(void *ctx, bool up, const struct err *reason);

/* The pool takes statements from now on. */
MUST_CHECK struct pg_pool *pg_pool_new(struct loop *loop, const struct pg_pool_conf *conf, struct err *err);
void pg_pool_on_state(struct pg_pool *pool, pg_state_fn *fn, void *ctx);
/* Begins to connect, and goes on trying for ever. `conninfo` is a libpq connection string or URL, copied. Host names in it are looked up
 * here, once, blocking (as libpq would on every connect); give an address or `hostaddr` to avoid it. */
MUST_CHECK bool pg_pool_start(struct pg_pool *pool, const char *conninfo, struct err *err);
bool pg_pool_is_up(const struct pg_pool *pool);
/* The server is known not to answer: gives up all connections and begins anew. What was sent and cannot be sent again is PG_UNKNOWN. */
void pg_pool_hang_up(struct pg_pool *pool, const struct err *reason);
struct pg_pool_stats pg_pool_stats(const struct pg_pool *pool);
/* Takes nothing new (ERR_UNAVAILABLE) but statements issued from callbacks of earlier ones; calls `fn` once everything has been answered.
 * Follow with pg_pool_free(). */
void pg_pool_drain(struct pg_pool *pool, loop_fn *fn, void *ctx);
/* What waits is PG_CANCELLED, what was sent PG_UNKNOWN; all callbacks are called before it returns, so not from a callback. The connections
 * are gone, and who still asks is told ERR_UNAVAILABLE. */
void pg_pool_close(struct pg_pool *pool);
/* Closes it before, if that has not been done. Accepts NULL. */
void pg_pool_free(struct pg_pool *pool);

#endif
