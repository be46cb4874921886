#include "sampler/gp_kernel.h"

#include <math.h>

#include "sampler/each_cpu.h"

enum { LANES = 8 };

FOR_EACH_CPU void kernel_add_distance(double *restrict r2, const double *restrict column, double x, double weight, size_t n) {
  for (size_t i = 0; i < n; i++) {
    double d = column[i] - x;
    r2[i] += weight * d * d;
  }
}

FOR_EACH_CPU void kernel_add_mismatch(double *restrict r2, const double *restrict column, double x, double weight, size_t n) {
  for (size_t i = 0; i < n; i++)
    r2[i] += column[i] != x ? weight : 0;
}

/* exp(x) for -708 <= x <= 0, to two units in the last place. */
static inline double fast_exp(double x) {
  /* Adding 1.5 * 2^52 leaves the nearest whole number in the low bits. */
  union {
    double value;
    uint64_t bits;
  } shifted = {.value = x * 1.44269504088896340736 + 0x1.8p52}, power;
  double whole = shifted.value - 0x1.8p52;
  double r = (x - whole * 0x1.62e42fefa39efp-1) - whole * 0x1.abc9e3b39803fp-56;
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  power.bits = (shifted.bits + 1023) << 52;
  return p * power.value;
}

FOR_EACH_CPU void kernel_matern(double *restrict r2, size_t n, double scale, double *restrict ret_slope) {
  for (size_t i = 0; i < n; i++) {
    double square = r2[i], root = sqrt(5 * square);
    double decay = root < 700 ? scale * fast_exp(-root) : 0;
    ret_slope[i] = -(5.0 / 6.0) * (1 + root) * decay;
    r2[i] = (1 + root + (5.0 / 3.0) * square) * decay;
  }
}

FOR_EACH_CPU double kernel_sum_distance(const double *restrict a, const double *restrict column, double x, size_t n) {
  double lane[LANES] = {0}, sum = 0;
  size_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (size_t k = 0; k < LANES; k++)
      lane[k] += a[i + k] * (column[i + k] - x) * (column[i + k] - x);
  for (; i < n; i++)
    sum += a[i] * (column[i] - x) * (column[i] - x);
  for (size_t k = 0; k < LANES; k++)
    sum += lane[k];
  return sum;
}

FOR_EACH_CPU double kernel_sum_mismatch(const double *restrict a, const double *restrict column, double x, size_t n) {
  double lane[LANES] = {0}, sum = 0;
  size_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (size_t k = 0; k < LANES; k++)
      lane[k] += column[i + k] != x ? a[i + k] : 0;
  for (; i < n; i++)
    sum += column[i] != x ? a[i] : 0;
  for (size_t k = 0; k < LANES; k++)
    sum += lane[k];
  return sum;
}

FOR_EACH_CPU double kernel_sum_difference(const double *restrict a, const double *restrict column, double x, size_t n) {
  double lane[LANES] = {0}, sum = 0;
  size_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (size_t k = 0; k < LANES; k++)
      lane[k] += a[i + k] * (x - column[i + k]);
  for (; i < n; i++)
    sum += a[i] * (x - column[i]);
  for (size_t k = 0; k < LANES; k++)
    sum += lane[k];
  return sum;
}
