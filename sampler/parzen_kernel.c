#include "sampler/parzen_kernel.h"

/* One version for each kind of processor, chosen when the program starts. Sanitizers and clang get the plain one. */
#if defined(__x86_64__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FOR_EACH_CPU __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define FOR_EACH_CPU
#endif

/* Sixteen kernels at a time; a narrower processor makes several steps of it. */
typedef float lanes __attribute__((vector_size(64), aligned(4), may_alias));
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
  /* Lanes of their own, since the order of comparisons is the compiler's only where it is told so. */
  float lane[16];
  for (size_t k = 0; k < 16; k++)
    lane[k] = acc[0];
  size_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (size_t k = 0; k < 16; k++)
      lane[k] = acc[i + k] > lane[k] ? acc[i + k] : lane[k];
  float top = lane[0];
  for (size_t k = 1; k < 16; k++)
    top = lane[k] > top ? lane[k] : top;
  for (; i < n; i++)
    top = acc[i] > top ? acc[i] : top;
  return top;
}

/* exp(x) for x <= 0, to 2e-7: 2^k from the exponent's bits, times a polynomial on [-ln2/2, ln2/2]. Below -87 it is 0. */
static inline float fast_exp(float x) {
  float clamped = x < -87.0f ? -87.0f : x;
  float k = clamped * 1.44269504f;
  int32_t whole = (int32_t)(k - 0.5f); /* k <= 0: to the nearest */
  float r = clamped - (float)whole * 0.693359375f + (float)whole * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  union {
    uint32_t bits;
    float value;
  } power = {.bits = (uint32_t)(whole + 127) << 23};
  float value = p * power.value;
  return x < -87.0f ? 0.0f : value;
}

FOR_EACH_CPU float kernel_sum_exp(const float *restrict acc, const float *restrict weight, float top, size_t n) {
  float lane[16] = {0};
  size_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (size_t k = 0; k < 16; k++)
      lane[k] += weight[i + k] * fast_exp(acc[i + k] - top);
  float sum = 0;
  for (size_t k = 0; k < 16; k++)
    sum += lane[k];
  for (; i < n; i++)
    sum += weight[i] * fast_exp(acc[i] - top);
  return sum;
}
