/* Makes runs. Those that many clients ask for at once share a statement, so that they share its commit. */
#ifndef WINNOW_TRACKER_RUN_CREATOR_H
#define WINNOW_TRACKER_RUN_CREATOR_H

#include "storage/pg/pg_gather.h"

struct run_creator;

/* `pool` outlives it. */
MUST_CHECK struct run_creator *run_creator_new(struct loop *loop, struct pg_pool *pool, struct err *err);
/* After the pool has been closed. What still waits is told off. Accepts NULL. */
void run_creator_free(struct run_creator *creator);

/* `err`: NULL when it was made. ERR_NOT_FOUND: there is no such experiment; ERR_WRONG_STATE: it
 * is deleted. */
typedef void run_created_fn(void *ctx, struct str artifact_uri, const struct err *err);

/* A run to be made: the caller's, with its texts, until `done` has been called. */
struct run_new {
  struct pg_gather_item item; /* private */
  struct id id;
  int64_t experiment_id, start_time, created;
  struct str name, user_id, tags, params; /* the last two packed */
  run_created_fn *done;
  void *ctx;
};
void run_creator_add(struct run_creator *creator, struct run_new *run);

#endif
