/* Items of many callers that share a statement: what comes while one is on its way waits, and goes with the next. So a commit is paid for
 * by many, and under load the statements grow instead of the queue. What has waited for some ms, because the statement before takes long,
 * goes all the same; and so does what is worth a statement of its own. Not so where statements would only wait for one another.
 *
 * The statement takes its items as arrays and answers rows in their order. When it is rejected as a whole, nothing has happened, and each
 * item is tried alone: one that the database cannot take does not take others with it. */
#ifndef WINNOW_STORAGE_PG_GATHER_H
#define WINNOW_STORAGE_PG_GATHER_H

#include "base/list.h"
#include "base/loop.h"
#include "storage/pg/pg.h"

/* Embedded in what the caller wants to send; the caller's until `done` has been called. */
struct pg_gather_item {
  struct list_node node;
  size_t rows; /* of the statement and its answer, at least 1 */
  size_t bytes;
  bool alone; /* private */
};

struct pg_gather_conf {
  enum stmt stmt;
  size_t rows_max, bytes_max; /* of one statement; a single item may be greater */
  size_t enough;              /* bytes that are worth a statement of their own */
  int64_t timeout_ms;
  bool in_turn; /* one statement after the other: `enough` counts for nothing */
  /* They are initialised for `stmt`, and may be anew for another one. */
  void (*put)(struct pg_args *args, const struct list *items);
  /* Once for each item, never before pg_gather_add() has returned. The rows of the item begin at `row`; when the reply is not pg_ok() it is
   * the whole group's. `reply` NULL: the item was never sent, and *err says why. The item may be freed. */
  void (*done)(void *ctx, struct pg_gather_item *item, const struct pg_reply *reply, size_t row, const struct err *err);
  void *ctx;
};

enum { PG_GATHER_MANY = 4 /* statements on their way */ };

/* Private, but for reading the counts. */
struct pg_gather {
  struct loop *loop;
  struct pg_pool *pool; /* NULL: nothing is sent any more */
  struct pg_gather_conf conf;
  struct list queue; /* of items */
  size_t waiting_bytes, in_flight;
  uint64_t groups;
  struct loop_defer send;
  struct loop_timer *patience;
  struct pg_gather_group {
    struct pg_gather *gather;
    struct list items;
    bool busy, is_refused;
    struct loop_defer refused;
    struct err err;
  } flights[PG_GATHER_MANY];
};

MUST_CHECK bool pg_gather_init(struct pg_gather *gather, struct loop *loop, struct pg_pool *pool, const struct pg_gather_conf *conf,
                               struct err *err);
void pg_gather_add(struct pg_gather *gather, struct pg_gather_item *item);
/* Tells what waits that it is not sent; what is on its way is still answered, by the pool, before the memory may go. */
void pg_gather_stop(struct pg_gather *gather, const struct err *err);
/* Nothing is on its way any more. Also of one that was never, or not successfully, initialised, but is zero. */
void pg_gather_release(struct pg_gather *gather);

#endif
