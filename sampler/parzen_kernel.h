/* The inner loops of the Parzen estimator, over arrays of floats; compiled for several instruction sets. */
#ifndef WINNOW_SAMPLER_PARZEN_KERNEL_H
#define WINNOW_SAMPLER_PARZEN_KERNEL_H

#include "base/base.h"

/* So many points are compared with the kernels at once. */
enum { KERNEL_POINTS = 4 };

/* acc[p * stride + i] = base[i] - the sum over the axes of ((u[KERNEL_POINTS * axis + p] - mu[axis][i]) * inverse_width[axis][i])^2 */
void kernel_exponents(float *acc, size_t stride, const float *base, const float *const *mu, const float *const *inverse_width,
                      const float *u, size_t axes, size_t n);
/* acc += row[cell] */
void kernel_add_table(float *acc, const uint8_t *cell, const float *row, size_t n);
/* n > 0 */
float kernel_max(const float *acc, size_t n);
/* The sum of weight * exp(acc - top); acc <= top, and what is below top by more than this counts as nothing. */
#define KERNEL_EXP_MIN (-87.0f)
float kernel_sum_exp(const float *acc, const float *weight, float top, size_t n);

#endif
