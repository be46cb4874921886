/* The normal distribution where it is hard: far tails, tiny masses, the logarithm of expected improvement. */
#ifndef WINNOW_SAMPLER_NORMAL_H
#define WINNOW_SAMPLER_NORMAL_H

#include "base/base.h"

double normal_cdf(double x);
double normal_log_pdf(double x);
/* ln of the probability between a and b; -inf when a >= b. Right in both tails. */
double normal_log_mass(double a, double b);
/* Standard normal between a and b by its quantile u in [0, 1]. */
double normal_truncated(double a, double b, double u);
/* ln of E[max(Z - (-z), 0)] for standard normal Z: ln(phi(z) + z Phi(z)), for any z. And its derivative. */
double normal_log_ei(double z, double *ret_slope);
/* exp(x^2) erfc(x) for x >= 0. */
double normal_erfcx(double x);

#endif
