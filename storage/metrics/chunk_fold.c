#include "storage/metrics/chunk_fold.h"

static void keep_min(struct fold *fold, double value, int64_t step) {
  if (isnan(value))
    return;
  if (isnan(fold->min) || value_less(value, fold->min) || (!value_less(fold->min, value) && step < fold->min_step)) {
    fold->min = value;
    fold->min_step = step;
  }
}

static void keep_max(struct fold *fold, double value, int64_t step) {
  if (isnan(value))
    return;
  if (isnan(fold->max) || value_less(fold->max, value) || (!value_less(value, fold->max) && step < fold->max_step)) {
    fold->max = value;
    fold->max_step = step;
  }
}

void fold_add(struct fold *fold, struct point point) {
  point.epoch = NAN;
  if (fold->count == 0) {
    *fold = (struct fold){1, isnan(point.value), point, point, point.value, point.value, point.step, point.step};
    return;
  }
  fold->count++;
  fold->nans += isnan(point.value);
  if (point_cmp(point, fold->first) < 0)
    fold->first = point;
  if (point_cmp(point, fold->last) > 0)
    fold->last = point;
  keep_min(fold, point.value, point.step);
  keep_max(fold, point.value, point.step);
}

void fold_add_points(struct fold *fold, const struct points *points, size_t from, size_t to) {
  for (size_t i = from; i < to; i++)
    fold_add(fold, points_at(points, i));
}

void fold_merge(struct fold *fold, const struct fold *other) {
  if (other->count == 0)
    return;
  if (fold->count == 0) {
    *fold = *other;
    return;
  }
  fold->count += other->count;
  fold->nans += other->nans;
  if (point_cmp(other->first, fold->first) < 0)
    fold->first = other->first;
  if (point_cmp(other->last, fold->last) > 0)
    fold->last = other->last;
  keep_min(fold, other->min, other->min_step);
  keep_max(fold, other->max, other->max_step);
}
