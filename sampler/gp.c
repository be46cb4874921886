#include "sampler/gp.h"

#include <cblas.h>
#include <math.h>

#include "base/mem.h"
#include "sampler/blas.h"
#include "sampler/gp_kernel.h"
#include "sampler/minimize.h"

/* LAPACK, which comes with the BLAS. Lower triangles, column by column. */
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
void dtrtri_(const char *uplo, const char *diag, const int *n, double *a, const int *lda, int *info);
void dlauum_(const char *uplo, const int *n, double *a, const int *lda, int *info);

enum { PREDICT_BATCH = 256, PREDICT_BLOCK = 64, ROOT_BASE = 32 };
#define NOISE_MIN 1e-6
#define LOG_2PI 1.83787706640934548356

struct gp {
  size_t features, rows; /* measured */
  size_t all;            /* measured and pending */
  bool *is_choice;
  double *columns; /* feature by feature, `all` values each */
  double *y, *repeats;
  struct gp_params params;
  double *root;    /* the inverse of the Cholesky factor of all rows; the measured ones come first, so that it begins with theirs */
  double *inverse; /* of the covariance of all rows */
  double *alpha;   /* inverse of the measured rows' covariance times y */
  double extra;    /* what the diagonal was raised by, beyond the noise */
  double *line, *work;
};

/* ---- making ---- */

bool gp_new(const struct gp_data *data, struct gp **ret, struct err *err) {
  size_t features = data->features, rows = data->rows, all = rows + data->pending;
  if (features == 0 || features > GP_FEATURES_MAX || rows == 0 || all > 20000)
    return err_set(err, ERR_INVALID, "a Gaussian process needs 1 to %d features and at most 20000 rows", (int)GP_FEATURES_MAX);
  struct gp *gp = mem_zalloc(sizeof *gp);
  if (!gp)
    return err_no_memory(err);
  gp->features = features;
  gp->rows = rows;
  gp->all = all;
  gp->is_choice = mem_array(features, sizeof *gp->is_choice);
  gp->columns = mem_array(features * all, sizeof *gp->columns);
  gp->y = mem_array(rows, sizeof *gp->y);
  gp->repeats = mem_array(rows, sizeof *gp->repeats);
  gp->alpha = mem_array(rows, sizeof *gp->alpha);
  gp->root = mem_array(all * all, sizeof *gp->root);
  gp->inverse = mem_array(all * all, sizeof *gp->inverse);
  gp->line = mem_array(all, 4 * sizeof *gp->line);
  gp->work = mem_array(minimize_work(features + 2) + 4 * (features + 2), sizeof *gp->work);
  if (!gp->is_choice || !gp->columns || !gp->y || !gp->repeats || !gp->alpha || !gp->root || !gp->inverse || !gp->line || !gp->work) {
    gp_free(gp);
    return err_no_memory(err);
  }
  memcpy(gp->is_choice, data->is_choice, features * sizeof *gp->is_choice);
  memcpy(gp->y, data->y, rows * sizeof *gp->y);
  for (size_t i = 0; i < rows; i++)
    gp->repeats[i] = data->repeats ? data->repeats[i] : 1;
  for (size_t i = 0; i < all; i++)
    for (size_t f = 0; f < features; f++)
      gp->columns[f * all + i] = data->x[i * features + f];
  *ret = gp;
  return true;
}

void gp_free(struct gp *gp) {
  if (!gp)
    return;
  mem_free(gp->is_choice), mem_free(gp->columns), mem_free(gp->y), mem_free(gp->repeats), mem_free(gp->alpha);
  mem_free(gp->work), mem_free(gp->root), mem_free(gp->inverse), mem_free(gp->line);
  mem_free(gp);
}

const struct gp_params *gp_params(const struct gp *gp) {
  return &gp->params;
}

/* ---- covariance ---- */

/* Squared distances of a row to rows from..n of the columns. */
static void distances(const struct gp *gp, const double *weight, const double *x, size_t stride, size_t from, size_t n, double *r2) {
  memset(r2, 0, (n - from) * sizeof *r2);
  for (size_t f = 0; f < gp->features; f++) {
    const double *column = gp->columns + f * gp->all + from;
    if (gp->is_choice[f])
      kernel_add_mismatch(r2, column, x[f * stride], weight[f], n - from);
    else
      kernel_add_distance(r2, column, x[f * stride], weight[f], n - from);
  }
}

/* The lower triangle of the first n rows' covariance; slopes with respect to the squared distance where asked for. */
static void fill_covariance(struct gp *gp, const struct gp_params *params, size_t n, double *ret, double *ret_slope) {
  double *unused = gp->line;
  for (size_t j = 0; j < n; j++) {
    double *column = ret + j * n + j;
    distances(gp, params->weight, gp->columns + j, gp->all, j, n, column);
    kernel_matern(column, n - j, params->signal, ret_slope ? ret_slope + j * n + j : unused);
    column[0] += params->noise / (j < gp->rows ? gp->repeats[j] : 1);
  }
}

/* A covariance becomes the inverse of its Cholesky factor, in its place. By halves: products of large pieces are what a processor does
 * fastest. False when it has no factor. */
static bool take_root(double *a, int n, int stride) {
  int half = n / 16 * 8, rest = n - half, info;
  if (n <= ROOT_BASE) {
    dpotrf_("L", &n, a, &stride, &info);
    if (info == 0)
      dtrtri_("L", "N", &n, a, &stride, &info);
    return info == 0;
  }
  double *below = a + half, *corner = below + (size_t)half * (size_t)stride;
  if (!take_root(a, half, stride))
    return false;
  cblas_dtrmm(CblasColMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, rest, half, 1, a, stride, below, stride);
  cblas_dsyrk(CblasColMajor, CblasLower, CblasNoTrans, rest, half, -1, below, stride, 1, corner, stride);
  if (!take_root(corner, rest, stride))
    return false;
  cblas_dtrmm(CblasColMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, rest, half, -1, a, stride, below, stride);
  cblas_dtrmm(CblasColMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, rest, half, 1, corner, stride, below, stride);
  return true;
}

static bool find_root(struct gp *gp, size_t n) {
  blas_enter();
  bool ok = take_root(gp->root, (int)n, (int)n);
  blas_leave();
  return ok;
}

/* Fills and finds the root; when that fails, again with more and more on the diagonal. */
static bool find_root_of_all(struct gp *gp) {
  const struct gp_params *params = &gp->params;
  size_t n = gp->all;
  gp->extra = 0;
  for (;;) {
    fill_covariance(gp, params, n, gp->root, NULL);
    for (size_t i = 0; i < n && gp->extra > 0; i++)
      gp->root[i * n + i] += gp->extra;
    if (find_root(gp, n))
      return true;
    gp->extra = gp->extra > 0 ? gp->extra * 10 : 1e-8 * (params->signal + params->noise);
    if (!(gp->extra <= 1e-2 * (params->signal + params->noise)))
      return false;
  }
}

/* Sets alpha; half of y' alpha. */
static double solve(struct gp *gp, size_t stride) {
  int rows = (int)gp->rows, size = (int)stride;
  memcpy(gp->alpha, gp->y, gp->rows * sizeof *gp->y);
  blas_enter();
  cblas_dtrmv(CblasColMajor, CblasLower, CblasNoTrans, CblasNonUnit, rows, gp->root, size, gp->alpha, 1);
  double half = 0.5 * cblas_ddot(rows, gp->alpha, 1, gp->alpha, 1);
  cblas_dtrmv(CblasColMajor, CblasLower, CblasTrans, CblasNonUnit, rows, gp->root, size, gp->alpha, 1);
  blas_leave();
  return half;
}

/* The lower triangle of a root times itself, in its place. */
static void square(double *root, size_t n) {
  int size = (int)n, info;
  blas_enter();
  dlauum_("L", &size, root, &size, &info);
  blas_leave();
}

static double half_log_determinant(const double *root, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    sum -= log(root[i * n + i]);
  return sum;
}

/* ---- fitting ---- */

/* Negative logarithm of the prior, and its slope, in a parameter's logarithm. Densities are of the parameter itself. */
static double scaled_length_prior(double log_weight, double features, double *ret_slope) {
  double center = M_SQRT2 + 0.5 * log(features), z = (-0.5 * log_weight - center) / 3; /* variance 3 */
  *ret_slope = -0.5 * z;
  return 1.5 * z * z;
}

static double plain_length_prior(double log_weight, double *ret_slope) {
  double weight = exp(log_weight);
  *ret_slope = -0.1 / weight + 0.1 * weight;
  return 0.1 / weight + 0.1 * weight;
}

static double gamma_prior(double log_value, double shape, double rate, double *ret_slope) {
  double value = exp(log_value);
  *ret_slope = -(shape - 1) + rate * value;
  return -(shape - 1) * log_value + rate * value;
}

static double normal_prior(double log_value, double mean, double deviation, double *ret_slope) {
  double z = (log_value - mean) / deviation;
  *ret_slope = z / deviation;
  return 0.5 * z * z;
}

static double add_priors(const struct gp *gp, enum gp_prior prior, const double *log_params, double *gradient) {
  size_t features = gp->features;
  double sum = 0, slope;
  for (size_t f = 0; f < features; f++) {
    sum +=
        prior == GP_PRIOR_SCALED ? scaled_length_prior(log_params[f], (double)features, &slope) : plain_length_prior(log_params[f], &slope);
    gradient[f] += slope;
  }
  sum += prior == GP_PRIOR_SCALED ? normal_prior(log_params[features], 0, 1, &slope) : gamma_prior(log_params[features], 2, 1, &slope);
  gradient[features] += slope;
  sum += prior != GP_PRIOR_PLAIN ? normal_prior(log_params[features + 1], -6, 2, &slope)
                                 : gamma_prior(log_params[features + 1], 1.1, 30, &slope);
  gradient[features + 1] += slope;
  return sum;
}

static void params_of(const double *log_params, size_t features, struct gp_params *ret) {
  for (size_t f = 0; f < features; f++)
    ret->weight[f] = exp(log_params[f]);
  ret->signal = exp(log_params[features]);
  ret->noise = exp(log_params[features + 1]);
}

/* -(1/2) of the trace of (alpha alpha' - inverse) dK, for every parameter's logarithm. The inverse's lower triangle is overwritten. */
static void likelihood_gradient(struct gp *gp, const struct gp_params *params, double *inverse, const double *slope, double *gradient) {
  size_t n = gp->rows, features = gp->features;
  for (size_t f = 0; f < features + 2; f++)
    gradient[f] = 0;
  double noise = 0, fit = 0;
  for (size_t j = 0; j < n; j++) {
    double *column = inverse + j * n;
    double diagonal = gp->alpha[j] * gp->alpha[j] - column[j];
    noise += diagonal / gp->repeats[j];
    /* signal: dK is K without the noise, so that the trace is known without another pass: alpha'K alpha - n, less the noise's part */
    fit += gp->alpha[j] * gp->y[j];
    for (size_t i = j + 1; i < n; i++)
      column[i] = (gp->alpha[i] * gp->alpha[j] - column[i]) * slope[j * n + i];
    for (size_t f = 0; f < features; f++) {
      const double *x = gp->columns + f * gp->all;
      gradient[f] -= gp->is_choice[f] ? kernel_sum_mismatch(column + j + 1, x + j + 1, x[j], n - j - 1)
                                      : kernel_sum_distance(column + j + 1, x + j + 1, x[j], n - j - 1);
    }
  }
  for (size_t f = 0; f < features; f++)
    gradient[f] *= params->weight[f]; /* the triangle counts twice, which the half undoes */
  gradient[features + 1] = -0.5 * noise * params->noise;
  gradient[features] = -0.5 * (fit - (double)n - noise * params->noise);
}

double gp_objective(struct gp *gp, enum gp_prior prior, const double *log_params, double *ret_gradient) {
  size_t n = gp->rows;
  struct gp_params *params = &gp->params;
  double *slope = gp->inverse; /* which is not needed before the fit is over */
  params_of(log_params, gp->features, params);
  fill_covariance(gp, params, n, gp->root, slope);
  if (!find_root(gp, n))
    return NAN;
  double fit = solve(gp, n) + half_log_determinant(gp->root, n);
  square(gp->root, n);
  likelihood_gradient(gp, params, gp->root, slope, ret_gradient);
  return fit + 0.5 * (double)n * LOG_2PI + add_priors(gp, prior, log_params, ret_gradient);
}

struct fit {
  struct gp *gp;
  enum gp_prior prior;
};

static double fit_value(void *ctx, const double *x, double *ret_gradient) {
  struct fit *fit = ctx;
  return gp_objective(fit->gp, fit->prior, x, ret_gradient);
}

bool gp_fit(struct gp *gp, enum gp_prior prior, unsigned starts, unsigned iterations, struct err *err) {
  static const double start_lengths[] = {0.5, 0.2, 1.5}, start_noise[] = {1e-3, 1e-5, 1e-2};
  size_t n = gp->features + 2;
  double *low = gp->work, *high = low + n, *x = high + n, *best = x + n, *scratch = best + n;
  double best_value = INFINITY, spread = prior == GP_PRIOR_SCALED ? sqrt((double)gp->features / 6) : 1;
  for (size_t f = 0; f < n; f++)
    low[f] = -12, high[f] = 12;
  low[n - 2] = log(1e-2), high[n - 2] = log(1e2);
  low[n - 1] = log(NOISE_MIN), high[n - 1] = log(2.0);
  struct fit fit = {gp, prior};
  struct minimize_limits limits = {.iterations = iterations, .gradient = 1e-2, .progress = 1e-5};
  for (unsigned s = 0; s < MIN_OF(starts, (unsigned)ARRAY_LEN(start_lengths)); s++) {
    for (size_t f = 0; f < gp->features; f++)
      x[f] = -2 * log(start_lengths[s] * spread);
    x[n - 2] = 0;
    x[n - 1] = log(start_noise[s]);
    double value = minimize(fit_value, &fit, n, low, high, &limits, x, scratch);
    if (value < best_value) {
      best_value = value;
      memcpy(best, x, n * sizeof *best);
    }
  }
  if (!isfinite(best_value))
    return err_set(err, ERR_INVALID, "the covariance has no factor");
  struct gp_params params;
  params_of(best, gp->features, &params);
  return gp_use(gp, &params, err);
}

bool gp_use(struct gp *gp, const struct gp_params *params, struct err *err) {
  size_t n = gp->all;
  if (params != &gp->params)
    gp->params = *params;
  if (!find_root_of_all(gp))
    return err_set(err, ERR_INVALID, "the covariance has no factor");
  solve(gp, n);
  memcpy(gp->inverse, gp->root, n * n * sizeof *gp->root);
  square(gp->inverse, n);
  return true;
}

/* ---- predicting ---- */

static void covariance_to(struct gp *gp, const double *x, double *ret, double *ret_slope) {
  distances(gp, gp->params.weight, x, 1, 0, gp->all, ret);
  kernel_matern(ret, gp->all, gp->params.signal, ret_slope);
}

/* Some rows of which the variance is being worked out: column k belongs to the row numbered origin[k]. */
struct batch {
  size_t count;
  double *cross;    /* covariances to the model's rows */
  double *variance; /* given those of the model's rows that are worked in */
  double *part;     /* what a block of them takes from it */
  size_t *origin;
};

static void drop_unwanted(struct batch *batch, size_t n, gp_wanted_fn *wanted, void *ctx, const double *mean, double *ret_variance) {
  size_t kept = 0;
  for (size_t k = 0; k < batch->count; k++) {
    size_t row = batch->origin[k];
    ret_variance[row] = NAN;
    if (!wanted(ctx, mean[row], batch->variance[k]))
      continue;
    if (kept < k) {
      memcpy(batch->cross + kept * n, batch->cross + k * n, n * sizeof *batch->cross);
      batch->variance[kept] = batch->variance[k];
      batch->origin[kept] = row;
    }
    kept++;
  }
  batch->count = kept;
}

/* The variance is now given the model's rows before `to` as well: their part of the root times the covariances. */
static void work_in(const struct gp *gp, struct batch *batch, size_t from, size_t to) {
  int n = (int)gp->all, count = (int)batch->count, size = (int)(to - from);
  const double *rows = gp->root + from;
  for (size_t k = 0; k < batch->count; k++)
    memcpy(batch->part + k * PREDICT_BLOCK, batch->cross + k * gp->all + from, (to - from) * sizeof *batch->part);
  blas_enter();
  cblas_dtrmm(CblasColMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, size, count, 1, rows + from * gp->all, n, batch->part,
              PREDICT_BLOCK);
  if (from)
    cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, size, count, (int)from, 1, rows, n, batch->cross, n, 1, batch->part,
                PREDICT_BLOCK);
  blas_leave();
  for (size_t k = 0; k < batch->count; k++)
    batch->variance[k] -= cblas_ddot(size, batch->part + k * PREDICT_BLOCK, 1, batch->part + k * PREDICT_BLOCK, 1);
}

static void predict_batch(struct gp *gp, struct batch *batch, const double *x, gp_wanted_fn *wanted, void *ctx, double *ret_mean,
                          double *ret_variance) {
  size_t n = gp->all;
  for (size_t i = 0; i < batch->count; i++) {
    double *cross = batch->cross + i * n;
    covariance_to(gp, x + i * gp->features, cross, gp->line);
    ret_mean[i] = cblas_ddot((int)gp->rows, cross, 1, gp->alpha, 1);
    batch->variance[i] = gp->params.signal;
    batch->origin[i] = i;
  }
  for (size_t from = 0; from < n && batch->count; from += PREDICT_BLOCK) {
    if (wanted)
      drop_unwanted(batch, n, wanted, ctx, ret_mean, ret_variance);
    work_in(gp, batch, from, MIN_OF(from + PREDICT_BLOCK, n));
  }
  for (size_t k = 0; k < batch->count; k++)
    ret_variance[batch->origin[k]] = fmax(batch->variance[k], 1e-12 * gp->params.signal);
}

bool gp_predict(struct gp *gp, size_t rows, const double *x, gp_wanted_fn *wanted, void *ctx, double *ret_mean, double *ret_variance,
                struct err *err) {
  double variance[PREDICT_BATCH];
  size_t origin[PREDICT_BATCH];
  struct batch batch = {.variance = variance, .origin = origin};
  batch.cross = mem_array((gp->all + PREDICT_BLOCK) * MIN_OF((size_t)PREDICT_BATCH, rows), sizeof *batch.cross);
  if (!batch.cross)
    return err_no_memory(err);
  batch.part = batch.cross + gp->all * MIN_OF((size_t)PREDICT_BATCH, rows);
  for (size_t from = 0; from < rows; from += PREDICT_BATCH) {
    batch.count = MIN_OF((size_t)PREDICT_BATCH, rows - from);
    predict_batch(gp, &batch, x + from * gp->features, wanted, ctx, ret_mean + from, ret_variance + from);
  }
  mem_free(batch.cross);
  return true;
}

void gp_expect(struct gp *gp, double *ret_mean) {
  for (size_t i = 0; i < gp->rows; i++) /* the covariance times alpha is y, of which the diagonal's share is no part of the function */
    ret_mean[i] = gp->y[i] - (gp->params.noise / gp->repeats[i] + gp->extra) * gp->alpha[i];
  for (size_t i = gp->rows; i < gp->all; i++) {
    distances(gp, gp->params.weight, gp->columns + i, gp->all, 0, gp->rows, gp->line);
    kernel_matern(gp->line, gp->rows, gp->params.signal, gp->line + gp->all);
    ret_mean[i] = cblas_ddot((int)gp->rows, gp->line, 1, gp->alpha, 1);
  }
}

void gp_predict_slope(struct gp *gp, const double *x, double *ret_mean, double *ret_variance, double *ret_mean_slope,
                      double *ret_variance_slope) {
  size_t n = gp->all;
  int size = (int)n;
  double *covariance = gp->line, *slope = covariance + n, *solved = slope + n, *scaled = solved + n;
  covariance_to(gp, x, covariance, slope);
  *ret_mean = cblas_ddot((int)gp->rows, covariance, 1, gp->alpha, 1);
  blas_enter();
  cblas_dsymv(CblasColMajor, CblasLower, size, 1, gp->inverse, size, covariance, 1, 0, solved, 1);
  blas_leave();
  double variance = gp->params.signal - cblas_ddot(size, covariance, 1, solved, 1);
  bool flat = !(variance > 1e-12 * gp->params.signal);
  *ret_variance = flat ? 1e-12 * gp->params.signal : variance;
  /* d k_i / d x_f = slope_i * 2 w_f (x_f - x_if) */
  for (size_t i = 0; i < n; i++) {
    scaled[i] = i < gp->rows ? gp->alpha[i] * slope[i] : 0;
    solved[i] *= slope[i];
  }
  for (size_t f = 0; f < gp->features; f++) {
    const double *column = gp->columns + f * n;
    double twice = 2 * gp->params.weight[f];
    ret_mean_slope[f] = gp->is_choice[f] ? 0 : twice * kernel_sum_difference(scaled, column, x[f], n);
    ret_variance_slope[f] = gp->is_choice[f] || flat ? 0 : -2 * twice * kernel_sum_difference(solved, column, x[f], n);
  }
}
