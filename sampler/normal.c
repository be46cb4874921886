#include "sampler/normal.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sf_erf.h>
#include <math.h>

#define LOG_SQRT_2PI 0.91893853320467274178
#define SQRT_HALF 0.70710678118654752440
#define SQRT_PI 1.77245385090551602730

double normal_cdf(double x) {
  return 0.5 * erfc(-x * SQRT_HALF);
}

double normal_log_pdf(double x) {
  return -0.5 * x * x - LOG_SQRT_2PI;
}

static double log_cdf(double x) {
  return gsl_sf_log_erfc(-x * SQRT_HALF) - 0.69314718055994530942;
}

double normal_log_mass(double a, double b) {
  if (isnan(a) || isnan(b))
    return NAN;
  if (!(a < b))
    return -INFINITY;
  if (a > 0) { /* the right tail is the left one mirrored */
    double mirrored = -a;
    a = -b;
    b = mirrored;
  }
  if (b > 0)
    return log1p(-normal_cdf(a) - normal_cdf(-b));
  if (a == -INFINITY)
    return log_cdf(b);
  double high = log_cdf(b), low = log_cdf(a);
  return high + log1p(-exp(low - high));
}

double normal_truncated(double a, double b, double u) {
  if (a > 0)
    return -normal_truncated(-b, -a, 1 - u);
  double low = normal_cdf(a), high = normal_cdf(b);
  double x = gsl_cdf_ugaussian_Pinv(low + u * (high - low));
  if (high < 1e-280 || isnan(x)) /* nothing left to divide by: the mass sits at the inner end */
    x = b;
  return fmin(fmax(x, a), b);
}

double normal_erfcx(double x) {
  if (x < 10)
    return exp(x * x) * erfc(x);
  /* Asymptotic series; the fifth term is below 1e-8 of the first at 10, and what is left out below 1e-9. */
  double y = 1 / (2 * x * x);
  return (1 - y * (1 - 3 * y * (1 - 5 * y * (1 - 7 * y * (1 - 9 * y * (1 - 11 * y)))))) / (x * SQRT_PI);
}

double normal_log_ei(double z, double *ret_slope) {
  double value, slope;
  if (z > -5) {
    double ei = exp(normal_log_pdf(z)) + z * normal_cdf(z);
    value = log(ei);
    slope = normal_cdf(z) / ei;
  } else {
    /* phi(z) (1 + z R) with Mills' ratio R = Phi(z) / phi(z). 1 + z R cancels; far out its series is 1/z^2 - 3/z^4 + ... */
    double t = -z, ratio = sqrt(M_PI / 2) * normal_erfcx(t * SQRT_HALF), rest = 1 - t * ratio;
    if (t > 30) {
      double w = 1 / (t * t);
      rest = w * (1 - 3 * w * (1 - 5 * w * (1 - 7 * w)));
    }
    value = normal_log_pdf(z) + log(rest);
    slope = ratio / rest;
  }
  if (ret_slope)
    *ret_slope = slope;
  return value;
}
