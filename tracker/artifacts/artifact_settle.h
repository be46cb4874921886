/* Uploads that replace a file announce it in the database, take its place, then have their row written. What a service that died in between
 * has left is put right once when the next one starts: the row of a file is that of the bytes that lie there. */
#ifndef WINNOW_TRACKER_ARTIFACT_SETTLE_H
#define WINNOW_TRACKER_ARTIFACT_SETTLE_H

#include "base/loop.h"
#include "base/work.h"

struct artifact_settle;
struct artifact_store;
struct pg_pool;

/* Borrows all of it. */
MUST_CHECK struct artifact_settle *artifact_settle_new(const struct clock *clock, struct pg_pool *pg, struct work_pool *work,
                                                       struct artifact_store *store, struct err *err);
/* Begins, in the background; the database is there. Again: does nothing. */
void artifact_settle_start(struct artifact_settle *settle);
/* Begins no further step. Accepts NULL. */
void artifact_settle_stop(struct artifact_settle *settle);
/* After the pools have been closed. Accepts NULL. */
void artifact_settle_free(struct artifact_settle *settle);

#endif
