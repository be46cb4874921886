/* Points that a reader found in a piece of output or of a file, with the texts of their keys, until they are stored. */
#ifndef WINNOW_TRACKER_FOUND_POINTS_H
#define WINNOW_TRACKER_FOUND_POINTS_H

#include "base/arena.h"
#include "base/map.h"
#include "storage/metrics/metric_rows.h"
#include "tracker/logs/log_metrics.h"

struct found_point {
  struct str key;
  double value, epoch; /* epoch NAN: not said */
  int64_t step, time;
  uint32_t record; /* points of one line or row have the same */
};

enum { FOUND_KEYS_MAX = 64 * 1024 * 1024, FOUND_NAMES_MAX = 1 << 20, FOUND_POINTS_MAX = 4 << 20 };

struct found_points {
  struct arena keys; /* each once */
  struct map named;
  struct found_point *items;
  size_t count, cap;
  uint32_t records;
  uint64_t line; /* of the last point */
  int64_t time;  /* of points that say none */
};

#define FOUND_POINTS_INIT ((struct found_points){.keys = ARENA_INIT(FOUND_KEYS_MAX), .named = {.max = FOUND_NAMES_MAX}})
/* Empty again. */
void found_points_release(struct found_points *found);

/* A log_metrics_sink. ERR_TOO_LARGE beyond FOUND_POINTS_MAX points. */
bool found_points_take(void *found, const struct log_point *points, size_t count, struct err *err);
/* `count` of them, from `from` on. */
MUST_CHECK bool found_points_rows(const struct found_points *found, size_t from, size_t count, struct metric_rows *rows, struct err *err);

/* How many points, and all of them in a number: by that a later reading is known to give the same ones. In no order; that of two lists put
 * together is the sum of both counts, and of both numbers by xor. */
struct found_sum {
  int64_t count;
  uint64_t mixed;
};
struct found_sum found_points_sum(const struct found_points *found);

#endif
