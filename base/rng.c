#include "base/rng.h"

#include <math.h>
#include <sys/random.h>

struct rng rng_seeded(uint64_t seed) {
  struct rng rng;
  for (size_t i = 0; i < 4; i++) {
    seed += 0x9e3779b97f4a7c15u;
    rng.s[i] = rng_mix(seed);
  }
  return rng;
}

struct rng rng_for(uint64_t seed, uint64_t purpose, uint64_t n) {
  uint64_t x = rng_mix(seed + 0x9e3779b97f4a7c15u);
  x = rng_mix(x ^ rng_mix(purpose + 0xd1b54a32d192ed03u));
  x = rng_mix(x ^ rng_mix(n + 0x8cb92ba72f3d8dd7u));
  return rng_seeded(x);
}

void rng_secret(void *bytes, size_t n) {
  char *p = bytes;
  while (n) {
    ssize_t got = getrandom(p, n, 0);
    if (got < 0) {
      if (errno == EINTR)
        continue;
      abort(); /* a kernel without getrandom(): no secret is better than a guessable one */
    }
    p += got;
    n -= (size_t)got;
  }
}

struct rng rng_from_system(void) {
  struct rng rng;
  rng_secret(&rng, sizeof rng);
  return rng;
}

static uint64_t rotate(uint64_t x, unsigned k) {
  return (x << k) | (x >> (64 - k));
}

uint64_t rng_u64(struct rng *rng) {
  uint64_t *s = rng->s;
  uint64_t result = rotate(s[0] + s[3], 23) + s[0];
  uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate(s[3], 45);
  return result;
}

double rng_f64(struct rng *rng) {
  return (double)(rng_u64(rng) >> 11) * 0x1p-53;
}

uint64_t rng_below(struct rng *rng, uint64_t n) {
  /* Multiply and reject: the high half of x * n is uniform once the low half is not in the short first interval. */
  unsigned __int128 product = (unsigned __int128)rng_u64(rng) * n;
  uint64_t low = (uint64_t)product;
  if (low < n) {
    uint64_t threshold = (0 - n) % n;
    while (low < threshold) {
      product = (unsigned __int128)rng_u64(rng) * n;
      low = (uint64_t)product;
    }
  }
  return (uint64_t)(product >> 64);
}

/* Acklam's rational approximation of the normal quantile, one Halley step: full double precision away from the far tails. */
static double normal_quantile(double p) {
  static const double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                             1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  static const double b[] = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01,
                             -1.328068155288572e+01};
  static const double c[] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                             -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  static const double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00};
  double x;
  if (p < 0.02425 || p > 1 - 0.02425) {
    double q = sqrt(-2 * log(p < 0.5 ? p : 1 - p));
    x = (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) / ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
    if (p > 0.5)
      x = -x;
  } else {
    double q = p - 0.5, r = q * q;
    x = (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
        (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
  }
  double e = 0.5 * erfc(-x / 1.4142135623730951) - p;
  double u = e * 2.5066282746310002 * exp(x * x / 2);
  return x - u / (1 + x * u / 2);
}

double rng_normal(struct rng *rng) {
  double p;
  do
    p = rng_f64(rng);
  while (p <= 0);
  return normal_quantile(p);
}
