/* What is told of a whole series: how often it was reported, first, last ("latest", as MLflow defines it: the greatest by step, time,
 * value, NaN counting as 0), least and greatest value with the earliest step that has it. The parts of a fold do not depend on the order in
 * which points are added; all but the counts do not depend on repeats either. */
#ifndef WINNOW_STORAGE_CHUNK_FOLD_H
#define WINNOW_STORAGE_CHUNK_FOLD_H

#include "storage/metrics/chunk_points.h"

struct fold {
  int64_t count, nans;      /* 0: nothing else is defined */
  struct point first, last; /* by point_cmp(); epochs are not kept */
  double min, max;          /* of the values that are numbers; NaN when none is */
  int64_t min_step, max_step;
};

void fold_add(struct fold *fold, struct point point);
void fold_add_points(struct fold *fold, const struct points *points, size_t from, size_t to);
void fold_merge(struct fold *fold, const struct fold *other);

#endif
