#include "sampler/curve.h"

#include <float.h>
#include <math.h>

int curve_cell(double progress) {
  return (int)floor(3 * log2(progress));
}

void curve_hear(struct curve *curve, double progress, double value) {
  float at = (float)progress;
  if (!(at > 0) || !isfinite(at) || !isfinite(value))
    return;
  while (curve->count && curve->at[curve->count - 1] >= at)
    curve->count--;
  if (curve->count && curve_cell(curve->at[curve->count - 1]) == curve_cell(at))
    return;
  if (curve->count == CURVE_POINTS) {
    memmove(curve->at, curve->at + 1, (CURVE_POINTS - 1) * sizeof *curve->at);
    memmove(curve->value, curve->value + 1, (CURVE_POINTS - 1) * sizeof *curve->value);
    curve->count--;
  }
  curve->at[curve->count] = at;
  curve->value[curve->count++] = (float)fmin(fmax(value, -FLT_MAX), FLT_MAX);
}
