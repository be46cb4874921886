#include "sampler/parzen_kernel.h"

#include "sampler/each_cpu.h"

/* Sixteen kernels at a time; a narrower processor makes several steps of it. */
typedef float lanes __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t int_lanes __attribute__((vector_size(64), aligned(4), may_alias));
enum { LANES = 16 };

FOR_EACH_CPU void kernel_exponents(float *restrict acc, size_t stride, const float *restrict base, const float *const *mu,
                                   const float *const *inverse_width, const float *restrict u, size_t axes, size_t n) {
  size_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    lanes a, b, c, d;
    a = b = c = d = *(const lanes *)(base + i);
    for (size_t k = 0; k < axes; k++) { /* a kernel is loaded once for four points */
      lanes m = *(const lanes *)(mu[k] + i), w = *(const lanes *)(inverse_width[k] + i);
      const float *at = u + KERNEL_POINTS * k;
      lanes ta = (at[0] - m) * w, tb = (at[1] - m) * w, tc = (at[2] - m) * w, td = (at[3] - m) * w;
      a -= ta * ta, b -= tb * tb, c -= tc * tc, d -= td * td;
    }
    *(lanes *)(acc + i) = a;
    *(lanes *)(acc + stride + i) = b;
    *(lanes *)(acc + 2 * stride + i) = c;
    *(lanes *)(acc + 3 * stride + i) = d;
  }
  for (; i < n; i++)
    for (size_t p = 0; p < KERNEL_POINTS; p++) {
      float sum = base[i];
      for (size_t k = 0; k < axes; k++) {
        float t = (u[KERNEL_POINTS * k + p] - mu[k][i]) * inverse_width[k][i];
        sum -= t * t;
      }
      acc[p * stride + i] = sum;
    }
}

FOR_EACH_CPU void kernel_add_table(float *restrict acc, const uint8_t *restrict cell, const float *restrict row, size_t n) {
  for (size_t i = 0; i < n; i++)
    acc[i] += row[cell[i]];
}

FOR_EACH_CPU float kernel_max(const float *acc, size_t n) {
  lanes tops = (lanes){0} + acc[0];
  size_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    lanes each = *(const lanes *)(acc + i);
    int_lanes more = each > tops;
    tops = (lanes)(((int_lanes)each & more) | ((int_lanes)tops & ~more));
  }
  float top = tops[0];
  for (size_t k = 1; k < LANES; k++)
    top = tops[k] > top ? tops[k] : top;
  for (; i < n; i++)
    top = acc[i] > top ? acc[i] : top;
  return top;
}

/* exp(x) for x <= 0, to 2e-7: 2^k from the exponent's bits, times a polynomial on [-ln2/2, ln2/2]. Below KERNEL_EXP_MIN it is 0. In place,
 * so that no vector is handed over between functions that may be made for different processors. */
static inline __attribute__((always_inline)) void fast_exp(lanes *value) {
  lanes x = *value;
  int_lanes seen = x >= KERNEL_EXP_MIN;
  const lanes lowest = (lanes){0} + KERNEL_EXP_MIN;
  lanes clamped = (lanes)(((int_lanes)x & seen) | ((int_lanes)lowest & ~seen));
  lanes k = clamped * 1.44269504f;
  int_lanes whole = __builtin_convertvector(k - 0.5f, int_lanes); /* k <= 0: to the nearest */
  lanes n = __builtin_convertvector(whole, lanes);
  lanes r = clamped - n * 0.693359375f + n * 2.12194440e-4f;
  lanes p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  lanes power = (lanes)((whole + 127) << 23);
  *value = (lanes)((int_lanes)(p * power) & seen);
}

FOR_EACH_CPU float kernel_sum_exp(const float *restrict acc, const float *restrict weight, float top, size_t n) {
  lanes sums = {0};
  size_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    lanes each = *(const lanes *)(acc + i) - top;
    fast_exp(&each);
    sums += *(const lanes *)(weight + i) * each;
  }
  float sum = 0;
  for (size_t k = 0; k < LANES; k++)
    sum += sums[k];
  if (i == n)
    return sum;
  lanes rest = (lanes){0} + top;
  memcpy(&rest, acc + i, (n - i) * sizeof *acc);
  rest -= top;
  fast_exp(&rest);
  for (size_t k = 0; k < n - i; k++)
    sum += weight[i + k] * rest[k];
  return sum;
}
