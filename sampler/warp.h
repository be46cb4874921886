/* What a model of values is fitted to, instead of the values. */
#ifndef WINNOW_SAMPLER_WARP_H
#define WINNOW_SAMPLER_WARP_H

#include "base/err.h"

/* In place; less is better; NaN marks trials without a usable value. The better half keeps its shape; the worse half is replaced by normal
 * quantiles of its ranks, so that no outlier flattens the rest; NaN becomes worse than the worst. Then everything is scaled to mean 0 and
 * deviation 1 (all 0 where all are equal). */
MUST_CHECK bool warp_values(double *values, size_t n, struct err *err);

#endif
