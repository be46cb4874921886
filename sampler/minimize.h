/* Local minimum of a smooth function inside a box: limited-memory BFGS with projection. */
#ifndef WINNOW_SAMPLER_MINIMIZE_H
#define WINNOW_SAMPLER_MINIMIZE_H

#include "base/base.h"

/* Value and gradient at x. A value that is not finite means "not there". */
typedef double (*minimize_fn)(void *ctx, const double *x, double *ret_gradient);

struct minimize_limits {
  unsigned iterations;
  double gradient; /* stop when no free coordinate's slope is larger */
  double progress; /* stop when an iteration gains less than this share of the value (or of 1) */
};

/* Doubles of scratch memory needed for n coordinates. */
size_t minimize_work(size_t n);
/* Moves x, which lies in the box, downhill. Returns the value there; when it is not finite, x was a bad start and is unchanged. */
double minimize(minimize_fn fn, void *ctx, size_t n, const double *low, const double *high, const struct minimize_limits *limits, double *x,
                double *work);

#endif
