/* Points of one series and one attempt, as columns, and the order they are kept in.
 *
 * The order is (step, time, value), values as MLflow compares them: NaN counts as 0 (and stands before -0.0, which stands before 0.0). Two
 * points equal in step, time and every bit of the value are the same delivery and are kept once; the epoch is no part of that. NaNs are
 * made one NaN when points are added. */
#ifndef WINNOW_STORAGE_CHUNK_POINTS_H
#define WINNOW_STORAGE_CHUNK_POINTS_H

#include <math.h>

#include "base/base.h"

struct point {
  int64_t step;
  int64_t time; /* ms */
  double value;
  double epoch; /* NaN: none */
};

struct points {
  size_t n, cap;
  int64_t *step, *time;
  double *value, *epoch;
};

/* Zero-initialised is empty. */
void points_release(struct points *points);
#define AUTO_POINTS CLEANUP(points_release)
/* Room for `cap` points in all. False without memory: nothing is changed. */
MUST_CHECK bool points_reserve(struct points *points, size_t cap);
MUST_CHECK bool points_add(struct points *points, struct point point);
/* Appends from[at .. at + n). */
MUST_CHECK bool points_add_range(struct points *points, const struct points *from, size_t at, size_t n);
static inline struct point points_at(const struct points *points, size_t i) {
  return (struct point){points->step[i], points->time[i], points->value[i], points->epoch[i]};
}
/* The columns' [at .. at + n): borrowed, and not to be added to. */
static inline struct points points_slice(const struct points *points, size_t at, size_t n) {
  return (struct points){n, 0, points->step + at, points->time + at, points->value + at, points->epoch + at};
}

/* -1, 0, 1 */
int value_cmp(double a, double b);
int point_cmp(struct point a, struct point b);         /* step, time, value: "latest" is the greatest */
int point_cmp_history(struct point a, struct point b); /* time, step, value: MLflow's history */
/* Sorts by point_cmp() and drops repeats; the first of equals stays. */
MUST_CHECK bool points_normalise(struct points *points);
bool points_are_normal(const struct points *points);

/* Of numbers; -0.0 is less than 0.0 here, so that the least and greatest of several do not depend on their order. */
static inline bool value_less(double a, double b) {
  return a < b || (a == b && signbit(a) && !signbit(b));
}

static inline double value_canonical(double value) {
  return isnan(value) ? (double)NAN : value;
}
static inline uint64_t value_bits(double value) {
  uint64_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

#endif
