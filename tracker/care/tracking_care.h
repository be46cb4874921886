/* What keeps searches quick and a fresh database usable: the experiment Default is made at the start, and what writers left for later (the
 * index of last metrics, the pending list of params and tags) is done every few seconds. */
#ifndef WINNOW_TRACKER_TRACKING_CARE_H
#define WINNOW_TRACKER_TRACKING_CARE_H

#include "base/loop.h"

struct tracking_care;
struct pg_pool;

/* NULL: the experiment is there. */
typedef void tracking_ready_fn(void *ctx, const struct err *err);

/* Makes the experiment Default below `artifact_root`, calls `ready` once, later, and goes on with its rounds. Output of runs that ended
 * longer than `log_retention_ms` ago is deleted; 0: never. */
MUST_CHECK struct tracking_care *tracking_care_new(struct loop *loop, struct pg_pool *pg, const char *artifact_root,
                                                   int64_t log_retention_ms, tracking_ready_fn *ready, void *ctx, struct err *err);
/* Begins no further round. */
void tracking_care_stop(struct tracking_care *care);
/* After the pool has been freed. Accepts NULL. */
void tracking_care_free(struct tracking_care *care);

#endif
