/* A Gaussian process: Matern 5/2 with a length for each feature, choices by whether they differ, hyperparameters by maximum a posteriori.
 * Knows nothing of spaces and trials: rows of features in, mean and variance out. One thread at a time. */
#ifndef WINNOW_SAMPLER_GP_H
#define WINNOW_SAMPLER_GP_H

#include "base/err.h"

enum { GP_FEATURES_MAX = 2000 };

/* What is believed about the hyperparameters before any data. */
enum gp_prior {
  GP_PRIOR_SCALED, /* lengths log-normal, growing with the root of the number of features */
  GP_PRIOR_PLAIN,  /* on inverse squared lengths: exp(-0.1/w - 0.1 w); scale Gamma(2, 1); noise Gamma(1.1, 30) */
  GP_PRIOR_MIXED,  /* lengths and scale as plain, noise as scaled: log-normal, with room for much of it */
};

struct gp_params {
  double signal, noise;
  double weight[GP_FEATURES_MAX]; /* inverse squared lengths */
};

struct gp;

/* What was measured, and where something will be: the variance is as if that were known too, with whatever value is expected there. */
struct gp_data {
  size_t features, rows, pending;
  const bool *is_choice; /* a flag for each feature */
  const double *x;       /* the rows, then the pending ones; each as its features */
  const double *y;       /* of the rows; should have mean 0 and deviation 1 */
  const double *repeats; /* of how many equal measurements each row is the mean; NULL: one each */
};

/* Copies all of it. */
MUST_CHECK bool gp_new(const struct gp_data *data, struct gp **ret, struct err *err);
void gp_free(struct gp *gp);

/* Finds the hyperparameters, from `starts` starting points (1 to 3). False (ERR_INVALID) when no factorisation was possible. */
MUST_CHECK bool gp_fit(struct gp *gp, enum gp_prior prior, unsigned starts, unsigned iterations, struct err *err);
const struct gp_params *gp_params(const struct gp *gp);
/* Uses these instead of fitting. */
MUST_CHECK bool gp_use(struct gp *gp, const struct gp_params *params, struct err *err);
/* Negative log posterior and its gradient (features, then signal, then noise) in the logarithms of the parameters. NaN when there is no
 * factor. */
double gp_objective(struct gp *gp, enum gp_prior prior, const double *log_params, double *ret_gradient);

/* Is a row with this mean, whose variance is at most that, worth working out? */
typedef bool gp_wanted_fn(void *ctx, double mean, double most_variance);

/* After gp_fit() or gp_use(). Variance is that of the function, without the noise of a measurement. Rows that `wanted` (NULL: all are)
 * turns away, on the way to their variance, get NaN in its place. */
MUST_CHECK bool gp_predict(struct gp *gp, size_t rows, const double *x, gp_wanted_fn *wanted, void *ctx, double *ret_mean,
                           double *ret_variance, struct err *err);
/* What is expected at each row and each pending one. */
void gp_expect(struct gp *gp, double *ret_mean);
/* One row, with gradients (0 for choices). */
void gp_predict_slope(struct gp *gp, const double *x, double *ret_mean, double *ret_variance, double *ret_mean_slope,
                      double *ret_variance_slope);

#endif
