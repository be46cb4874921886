/* What keeps searches quick: what writers left for later (the index of last metrics, the pending list of params and tags) is done every few
 * seconds. */
#ifndef WINNOW_TRACKER_TRACKING_CARE_H
#define WINNOW_TRACKER_TRACKING_CARE_H

#include "base/loop.h"

struct tracking_care;
struct pg_pool;

/* Begins its rounds. Output of runs that ended longer than `log_retention_ms` ago is deleted; 0: never. */
MUST_CHECK struct tracking_care *tracking_care_new(struct loop *loop, struct pg_pool *pg, int64_t log_retention_ms, struct err *err);
/* Begins no further round. */
void tracking_care_stop(struct tracking_care *care);
/* After the pool has been freed. Accepts NULL. */
void tracking_care_free(struct tracking_care *care);

#endif
