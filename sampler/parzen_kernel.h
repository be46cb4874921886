/* The inner loops of the Parzen estimator, over arrays of floats; compiled for several instruction sets. */
#ifndef WINNOW_SAMPLER_PARZEN_KERNEL_H
#define WINNOW_SAMPLER_PARZEN_KERNEL_H

#include "base/base.h"

/* acc -= ((u - mu) * inverse_width)^2 / 2 */
void kernel_add_gauss(float *acc, const float *mu, const float *inverse_width, float u, size_t n);
/* acc += row[cell] */
void kernel_add_table(float *acc, const uint8_t *cell, const float *row, size_t n);
/* n > 0 */
float kernel_max(const float *acc, size_t n);
/* The sum of weight * exp(acc - top); acc <= top. */
float kernel_sum_exp(const float *acc, const float *weight, float top, size_t n);

#endif
