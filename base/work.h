/* A small thread pool for what must block or compute: fsync, DNS, compression, fits. The completion runs on the loop. */
#ifndef WINNOW_BASE_WORK_H
#define WINNOW_BASE_WORK_H

#include "base/loop.h"

struct work_pool;

/* A piece of work, owned by the caller until `done` has been called. Zero-initialise. */
struct work {
  void (*run)(struct work *work);                  /* on a thread of the pool: touches nothing but its own data */
  void (*done)(struct work *work, bool cancelled); /* on the loop, exactly once, never before work_submit() has returned */
  struct work *next;                               /* private */
  bool cancelled;                                  /* private */
};

/* At most `queue_max` wait. */
MUST_CHECK struct work_pool *work_pool_new(struct loop *loop, unsigned threads, size_t queue_max, struct err *err);
/* False (ERR_OVERLOADED) when the queue is full, or (ERR_UNAVAILABLE) the pool has been stopped; then `done` is never called. */
MUST_CHECK bool work_submit(struct work_pool *pool, struct work *work, struct err *err);
/* Would so many more be taken now? Else as work_submit(). */
MUST_CHECK bool work_has_room(struct work_pool *pool, size_t count, struct err *err);
/* Waits for what runs, cancels what waits; every `done` is called before it returns. Nothing is taken any more. Accepts NULL. */
void work_pool_stop(struct work_pool *pool);
/* Stops it first. Accepts NULL. */
void work_pool_free(struct work_pool *pool);

#endif
