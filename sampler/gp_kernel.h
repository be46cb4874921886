/* The inner loops of the Gaussian process over columns of doubles. */
#ifndef WINNOW_SAMPLER_GP_KERNEL_H
#define WINNOW_SAMPLER_GP_KERNEL_H

#include "base/base.h"

/* r2 += weight * (column - x)^2 */
void kernel_add_distance(double *r2, const double *column, double x, double weight, size_t n);
/* r2 += weight where column is not x */
void kernel_add_mismatch(double *r2, const double *column, double x, double weight, size_t n);
/* Matern 5/2 of squared distances, in their place, and its slope with respect to them. */
void kernel_matern(double *r2, size_t n, double scale, double *ret_slope);
/* sum of a * (column - x)^2, and of a where column is not x */
double kernel_sum_distance(const double *a, const double *column, double x, size_t n);
double kernel_sum_mismatch(const double *a, const double *column, double x, size_t n);
/* sum of a * (x - column) */
double kernel_sum_difference(const double *a, const double *column, double x, size_t n);

#endif
