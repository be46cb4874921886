/* Points of a run replaced by others, in one transaction with whatever the caller adds to it: for what is read anew from stored logs. */
#ifndef WINNOW_STORAGE_METRIC_REPLACE_H
#define WINNOW_STORAGE_METRIC_REPLACE_H

#include "storage/metrics/metric_store.h"

enum { METRIC_REPLACE_POINTS_MAX = 4 << 20 };

/* Does the point stay? Called on a thread of the pool, for points of the series that touches() names. */
struct metric_replacement {
  struct id run;
  bool (*touches)(const void *ctx, struct str key);
  bool (*stays)(const void *ctx, struct str key, int32_t attempt, struct point point);
  /* Adds statements to the transaction, which may raise WN421 when what the points were derived from has changed: then all of it would
   * have to be derived again, and ERR_PRECONDITION says so. May be NULL. */
  void (*also)(const void *ctx, struct pg_batch *batch);
  const void *ctx;
  /* What comes in, by attempt; borrowed until the end. */
  const struct metric_rows *const *rows;
  const int32_t *attempts;
  size_t row_count;
};

/* Nobody else writes the run meanwhile. What conflicts with the sealing in the background is tried again by itself; ERR_TOO_LARGE beyond
 * METRIC_REPLACE_POINTS_MAX points, or where the run would have more than METRIC_KEYS_MAX metrics, and more than before. `done` as for
 * metric_append(). */
MUST_CHECK bool metric_replace(struct metric_store *store, const struct metric_replacement *what, metric_done_fn *done, void *ctx,
                               struct err *err);

#endif
