/* Points that were found in what a job printed or wrote, as part of the transaction that stores the piece. */
#ifndef WINNOW_TRACKER_FOUND_WRITE_H
#define WINNOW_TRACKER_FOUND_WRITE_H

#include "storage/metrics/metric_store.h"
#include "storage/pg/pg.h"
#include "tracker/logs/log_store.h"

/* What was found in a piece, on its way into the store with it. */
struct found_write {
  struct metric_rows rows;
  struct metric_write *write; /* NULL: there is nothing to store */
  size_t at;                  /* of its statement in the batch */
};
/* Adds the points to the batch. What a run may not have is left out of what was found, which is told once, as an event of the run: for that
 * neither the job ends nor its output stays untaken. */
MUST_CHECK bool found_write_put(struct log_store *store, struct id run, int32_t attempt, struct found_points *found,
                                struct found_write *ret, struct pg_batch *batch, struct err *err);
/* What came of it, told once where it was added; `reply` of the batch, or NULL where it was not run. False: not stored. */
MUST_CHECK bool found_write_done(struct found_write *found, const struct pg_reply *reply, struct err *err);

#endif
