/* What is stored of a run's metrics, in the order of its coming. */
#ifndef WINNOW_SWEEPER_STORED_H
#define WINNOW_SWEEPER_STORED_H

#include "base/id.h"
#include "storage/metrics/metric_store.h"
#include "sweeper/spec/spec_table.h"

enum { STORED_POINTS_MAX = 1 << 20 };

struct stored_point {
  struct point point;
  struct str key;
};

/* Points by time, step and the place of their key; valid during the call. */
typedef void stored_fn(void *ctx, const struct stored_point *points, size_t count, const struct err *err);
/* All points of these keys. `attempt` 0: the stitched view. Keys are copied. ERR_TOO_LARGE: there are more than STORED_POINTS_MAX. */
MUST_CHECK bool stored_read(struct metric_store *store, struct id run, int32_t attempt, const struct spec_texts *keys, stored_fn *done,
                            void *ctx, struct err *err);

#endif
