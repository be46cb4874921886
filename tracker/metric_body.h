/* The bodies of the hot writes, read straight into columns: MLflow's log-batch and our own /runs/{id}/metrics. Pure.
 *
 * Only what clients usually send is read here. Anything else (another type, a number as text, a null, an unknown key where those are
 * errors, something missing, bad JSON) makes the reader give up: the caller then reads the body as a tree, which accepts what is unusual
 * and says what is wrong. What is read here would have been read the same there. */
#ifndef WINNOW_TRACKER_METRIC_BODY_H
#define WINNOW_TRACKER_METRIC_BODY_H

#include "base/json_pull.h"
#include "storage/metrics/metric_rows.h"

struct text_pair {
  struct str key, value;
};

/* Text is borrowed from the body or lies in the arena. */
struct log_batch_body {
  struct str run_id; /* STR_NONE when absent; else run_id, or run_uuid */
  struct metric_rows rows;
  struct text_pair *params, *tags; /* in the arena */
  size_t param_count, tag_count;
};

enum { LOG_BATCH_METRICS = 1000, LOG_BATCH_PAIRS = 100 };

/* False: read it as a tree. The caller releases ret->rows in any case. Keys and values are not checked beyond what is said above: values
 * are numbers or "NaN", "Infinity", "-Infinity"; timestamps are whole numbers >= 0, steps whole numbers, 0 when absent. */
MUST_CHECK bool log_batch_read(struct str body, struct arena *arena, struct log_batch_body *ret);

/* Where the reader gave up: behind so many bytes, in the point after those that were read, or beside the points. */
struct points_stop {
  size_t at;
  bool is_beside;
};

/* {"points": [{"key", "value", "step", "time", "epoch"}]}: key, value and step must be there, time is `now` when absent or null. False:
 * `ret` holds the points before the place where it gave up. */
MUST_CHECK bool points_body_read(struct str body, struct arena *arena, int64_t now, struct metric_rows *ret, struct points_stop *ret_stop);

/* "NaN", "Infinity", "-Infinity" */
bool special_value(struct str text, double *ret);

#endif
