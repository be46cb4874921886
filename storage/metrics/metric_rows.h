/* The points of one write, of many series, on their way into the store: columns, and the series each point belongs to. */
#ifndef WINNOW_STORAGE_METRIC_ROWS_H
#define WINNOW_STORAGE_METRIC_ROWS_H

#include "base/map.h"
#include "storage/metrics/chunk_code.h"
#include "storage/metrics/chunk_fold.h"

struct metric_rows {
  struct points points;
  uint32_t *series; /* of each point: its place in `keys` */
  struct str *keys; /* borrowed from whoever added them */
  size_t key_count;
  bool fits; /* whether the run may have these keys need not be looked at */
  /* private */
  size_t series_cap, key_cap;
  struct map index;
};

/* Points in one write, and in one stored batch. */
enum { METRIC_ROWS_MAX = 1 << 20, METRIC_BATCH_POINTS = 16384 };

void metric_rows_init(struct metric_rows *rows);
void metric_rows_release(struct metric_rows *rows);
#define AUTO_METRIC_ROWS CLEANUP(metric_rows_release)
/* The key is borrowed until the release. False without memory, beyond METRIC_ROWS_MAX, or for a key of more than SERIES_KEY_MAX bytes. */
MUST_CHECK bool metric_rows_add(struct metric_rows *rows, struct str key, struct point point);
/* Points [from .. from + n) as one batch, n <= METRIC_BATCH_POINTS. Failure is the buffer's. */
void metric_rows_put(const struct metric_rows *rows, size_t from, size_t n, struct column_coder *coder, struct buf *out);
/* What each key's points amount to: `ret` has key_count items. */
void metric_rows_fold(const struct metric_rows *rows, struct fold *ret);

#endif
