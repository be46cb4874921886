#include "sampler/gp_fails.h"

#include <math.h>

#include "base/mem.h"
#include "sampler/normal.h"

/* A failure costs more than a result that is no gain: the probability of a value counts so many times. */
#define CAUTION 4

struct gp_fails {
  struct gp *gp;
  size_t features;
  double half; /* between having a value and having none, as the model is fitted: mean 0, deviation 1 */
};

/* The rows with a value, then those without. */
static bool make_model(struct gp_fails *fails, const struct gp_data *valued, size_t failed, double *x, struct err *err) {
  size_t width = valued->features, rows = valued->rows + failed;
  double *y = x + rows * width, *repeats = y + rows, trials = (double)failed;
  memcpy(x, valued->x, valued->rows * width * sizeof *x);
  memcpy(x + valued->rows * width, valued->x + (valued->rows + valued->pending) * width, failed * width * sizeof *x);
  for (size_t i = 0; i < rows; i++) {
    repeats[i] = i < valued->rows && valued->repeats ? valued->repeats[i] : 1;
    trials += i < valued->rows ? repeats[i] : 0;
  }
  double share = (double)failed / trials, deviation = sqrt(share * (1 - share));
  for (size_t i = 0; i < rows; i++)
    y[i] = ((i < valued->rows ? 0 : 1) - share) / deviation;
  fails->half = (0.5 - share) / deviation;
  struct gp_data data = {.features = width, .rows = rows, .is_choice = valued->is_choice, .x = x, .y = y, .repeats = repeats};
  return gp_new(&data, &fails->gp, err);
}

bool gp_fails_new(const struct gp_data *valued, size_t failed, struct gp_fails **ret, struct err *err) {
  struct gp_fails *fails = mem_zalloc(sizeof *fails);
  double *x = mem_array((valued->rows + failed) * (valued->features + 2), sizeof *x);
  bool ok = (fails && x) || err_no_memory(err);
  if (ok) {
    fails->features = valued->features;
    ok = make_model(fails, valued, failed, x, err);
  }
  mem_free(x);
  if (!ok) {
    gp_fails_free(fails);
    return false;
  }
  *ret = fails;
  return true;
}

void gp_fails_free(struct gp_fails *fails) {
  if (!fails)
    return;
  gp_free(fails->gp);
  mem_free(fails);
}

bool gp_fails_fit(struct gp_fails *fails, enum gp_prior prior, unsigned starts, unsigned iterations, struct err *err) {
  return gp_fit(fails->gp, prior, starts, iterations, err);
}

bool gp_fails_use(struct gp_fails *fails, const struct gp_params *params, struct err *err) {
  return gp_use(fails->gp, params, err);
}

const struct gp_params *gp_fails_params(const struct gp_fails *fails) {
  return gp_params(fails->gp);
}

/* The logarithm of how likely what is measured lies nearer to a value, and its slopes in mean and variance. The noise counts: where
 * failures are a matter of chance, it is nearly all there is. */
static double log_value(const struct gp_fails *fails, double mean, double variance, double *ret_of_mean, double *ret_of_variance) {
  double whole = variance + gp_params(fails->gp)->noise, deviation = sqrt(whole), z = (fails->half - mean) / deviation;
  double mass = normal_log_mass(-INFINITY, z), slope = exp(normal_log_pdf(z) - mass);
  *ret_of_mean = CAUTION * -slope / deviation;
  *ret_of_variance = CAUTION * -slope * z / (2 * whole);
  return CAUTION * mass;
}

bool gp_fails_weigh(struct gp_fails *fails, size_t rows, const double *x, double *scores, struct err *err) {
  size_t width = fails->features, count = 0;
  double *wanted = mem_array(rows * (width + 2), sizeof *wanted), *mean = wanted + rows * width, *variance = mean + rows, unused[2];
  if (!wanted)
    return err_no_memory(err);
  for (size_t i = 0; i < rows; i++)
    if (!isnan(scores[i]))
      memcpy(wanted + count++ * width, x + i * width, width * sizeof *x);
  bool ok = gp_predict(fails->gp, count, wanted, NULL, NULL, mean, variance, err);
  for (size_t i = 0, k = 0; ok && i < rows; i++)
    if (!isnan(scores[i])) {
      scores[i] += log_value(fails, mean[k], variance[k], &unused[0], &unused[1]);
      k++;
    }
  mem_free(wanted);
  return ok;
}

double gp_fails_slope(struct gp_fails *fails, const double *x, double *ret_slope, double *scratch) {
  double mean, variance, of_mean, of_variance;
  gp_predict_slope(fails->gp, x, &mean, &variance, ret_slope, scratch);
  double score = log_value(fails, mean, variance, &of_mean, &of_variance);
  for (size_t f = 0; f < fails->features; f++)
    ret_slope[f] = of_mean * ret_slope[f] + of_variance * scratch[f];
  return score;
}
