#include "sampler/cmaes.h"

#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "sampler/blas.h"
#include "sampler/normal.h"

void dsyev_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w, double *work, const int *lwork,
            int *info);

enum { LAMBDA_MAX = 1024, RESAMPLE = 100, RECENT = 64 };
#define PURPOSE_CMAES 0xc3aeu
#define SIGMA_START (1.0 / 6)
#define SIGMA_RESTART 0.25

struct cmaes {
  const struct history *history;
  const struct space *space;
  uint64_t seed;
  size_t start_after, seen, learnable;
  bool started;
  size_t *params; /* searched */
  size_t d;
  struct cmaes_constants k;
  double *mean, *path_c, *path_sigma;
  double *covariance, *axes, *lengths; /* axes: eigenvectors by column; lengths: roots of the eigenvalues */
  double sigma, sigma_start;
  size_t generation, restarts;
  uint32_t *waiting; /* trials of this generation */
  size_t waiting_count;
  double recent[RECENT]; /* best values of the last generations */
  double reach;          /* from the best value to the middle one when the search began: the unit of values */
  double *scratch;       /* d * (LAMBDA_MAX + 4) */
  double *eigen_work;
  int eigen_size;
};

/* ---- constants ---- */

size_t cmaes_default_lambda(size_t d) {
  return 4 + (size_t)floor(3 * log((double)d));
}

void cmaes_constants(size_t dims, size_t lambda, struct cmaes_constants *k) {
  double d = (double)dims, sum = 0, squares = 0, negative = 0, negative_squares = 0;
  lambda = MIN_OF(lambda, (size_t)LAMBDA_MAX);
  *k = (struct cmaes_constants){.lambda = lambda, .mu = lambda / 2};
  for (size_t i = 0; i < lambda; i++) {
    double w = k->weights[i] = log(((double)lambda + 1) / 2) - log((double)i + 1);
    if (i < k->mu)
      sum += w, squares += w * w;
    else
      negative += w, negative_squares += w * w;
  }
  k->mu_eff = sum * sum / squares;
  double mu_eff_negative = negative_squares > 0 ? negative * negative / negative_squares : 0;
  k->c_1 = 2 / ((d + 1.3) * (d + 1.3) + k->mu_eff);
  k->c_mu = fmin(1 - k->c_1 - 1e-8, 2 * (k->mu_eff - 2 + 1 / k->mu_eff) / ((d + 2) * (d + 2) + k->mu_eff));
  double least = fmin(fmin(1 + k->c_1 / k->c_mu, 1 + 2 * mu_eff_negative / (k->mu_eff + 2)), (1 - k->c_1 - k->c_mu) / (d * k->c_mu));
  for (size_t i = 0; i < lambda; i++)
    k->weights[i] *= i < k->mu ? 1 / sum : negative < 0 ? least / -negative : 0;
  k->c_sigma = (k->mu_eff + 2) / (d + k->mu_eff + 5);
  k->d_sigma = 1 + 2 * fmax(0, sqrt((k->mu_eff - 1) / (d + 1)) - 1) + k->c_sigma;
  k->c_c = (4 + k->mu_eff / d) / (d + 4 + 2 * k->mu_eff / d);
  k->chi = sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d * d));
}

/* ---- making ---- */

static bool is_searched(const struct param *param) {
  return param->kind == PARAM_NUMBER || (param->kind == PARAM_CHOICE && param->ordered);
}

bool cmaes_new(const struct history *history, uint64_t seed, size_t start_after, struct cmaes **ret, struct err *err) {
  const struct space *space = history_space(history);
  size_t d = 0;
  for (size_t i = 0; i < space_count(space); i++)
    d += is_searched(space_param(space, i));
  if (d == 0 || d > CMAES_DIMS_MAX)
    return err_set(err, ERR_UNSUPPORTED, "CMA-ES needs 1 to %d numbers or ordered choices", (int)CMAES_DIMS_MAX);
  struct cmaes *c = mem_zalloc(sizeof *c);
  if (!c)
    return err_no_memory(err);
  c->history = history;
  c->space = space;
  c->seed = seed;
  c->start_after = MAX_OF(start_after, (size_t)2);
  c->params = mem_array(d, sizeof *c->params);
  c->mean = mem_array(d, sizeof *c->mean);
  c->path_c = mem_array(d, sizeof *c->path_c);
  c->path_sigma = mem_array(d, sizeof *c->path_sigma);
  c->lengths = mem_array(d, sizeof *c->lengths);
  c->covariance = mem_array(d * d, sizeof *c->covariance);
  c->axes = mem_array(d * d, sizeof *c->axes);
  c->waiting = mem_array(LAMBDA_MAX, sizeof *c->waiting);
  c->scratch = mem_array(d * 8, sizeof *c->scratch);
  c->eigen_size = (int)(4 * d + 64);
  c->eigen_work = mem_array((size_t)c->eigen_size, sizeof *c->eigen_work);
  if (!c->params || !c->mean || !c->path_c || !c->path_sigma || !c->lengths || !c->covariance || !c->axes || !c->waiting || !c->scratch ||
      !c->eigen_work) {
    cmaes_free(c);
    return err_no_memory(err);
  }
  for (size_t i = 0; i < space_count(space); i++)
    if (is_searched(space_param(space, i)))
      c->params[c->d++] = i;
  cmaes_constants(d, cmaes_default_lambda(d), &c->k);
  *ret = c;
  return true;
}

void cmaes_free(struct cmaes *c) {
  if (!c)
    return;
  mem_free(c->params), mem_free(c->mean), mem_free(c->path_c), mem_free(c->path_sigma), mem_free(c->lengths), mem_free(c->covariance);
  mem_free(c->axes), mem_free(c->waiting), mem_free(c->scratch), mem_free(c->eigen_work);
  mem_free(c);
}

struct cmaes_view cmaes_look(const struct cmaes *c) {
  return (struct cmaes_view){c->d, c->generation, c->restarts, c->k.lambda, c->sigma, c->mean, c->covariance};
}

/* ---- the distribution ---- */

/* Coordinates of a trial; a parameter not in use says nothing, so it sits at the mean. */
static void coordinates(const struct cmaes *c, size_t trial, double *ret_u) {
  const double *point = history_point(c->history, trial);
  for (size_t j = 0; j < c->d; j++) {
    double value = point[c->params[j]];
    ret_u[j] = isnan(value) ? c->mean[j] : space_u(c->space, c->params[j], value);
  }
}

/* Axes and lengths of the covariance. False when it has lost its shape. */
static bool decompose(struct cmaes *c) {
  int n = (int)c->d, info;
  memcpy(c->axes, c->covariance, c->d * c->d * sizeof *c->axes);
  blas_enter();
  dsyev_("V", "L", &n, c->axes, &n, c->lengths, c->eigen_work, &c->eigen_size, &info);
  blas_leave();
  if (info != 0)
    return false;
  double longest = c->lengths[c->d - 1], shortest = c->lengths[0];
  if (!(shortest > 0) || !(longest < 1e14 * shortest) || !isfinite(longest))
    return false;
  for (size_t j = 0; j < c->d; j++)
    c->lengths[j] = sqrt(c->lengths[j]);
  return true;
}

static void reset_shape(struct cmaes *c) {
  memset(c->covariance, 0, c->d * c->d * sizeof *c->covariance);
  for (size_t j = 0; j < c->d; j++) {
    c->covariance[j * c->d + j] = 1;
    c->path_c[j] = c->path_sigma[j] = 0;
  }
  c->generation = 0;
  c->waiting_count = 0;
}

static int by_history(const void *a, const void *b, void *ctx) {
  const uint32_t *x = a, *y = b;
  return history_before(ctx, *x, *y) ? -1 : history_before(ctx, *y, *x);
}

/* The mean and spread of the best tenth of what is known, each smeared out a little (Nomura 2021). */
static bool start_from_best(struct cmaes *c, struct err *err) {
  size_t n = 0, total = history_count(c->history);
  uint32_t *trials = mem_array(total, sizeof *trials);
  if (!trials)
    return err_no_memory(err);
  for (size_t k = 0; k <= c->seen; k++) {
    bool told;
    size_t trial = history_event(c->history, k, &told);
    if (told && history_state(c->history, trial) == TRIAL_FINISHED && !isnan(history_value(c->history, trial)))
      trials[n++] = (uint32_t)trial;
  }
  qsort_r(trials, n, sizeof *trials, by_history, (void *)(uintptr_t)c->history);
  double reach = n ? history_value(c->history, trials[n / 2]) - history_value(c->history, trials[0]) : 0;
  c->reach = isfinite(reach) ? reach : 0;
  size_t top = MAX_OF((n + 9) / 10, MIN_OF(n, (size_t)1));
  double smear = n >= 50 ? 0.1 : SIGMA_START, *u = c->scratch;
  for (size_t j = 0; j < c->d; j++)
    c->mean[j] = 0.5;
  reset_shape(c);
  for (size_t i = 0; i < top; i++) {
    coordinates(c, trials[i], u);
    for (size_t j = 0; j < c->d; j++)
      c->mean[j] += i ? (u[j] - c->mean[j]) / (double)(i + 1) : u[j] - c->mean[j];
  }
  for (size_t j = 0; j < c->d; j++)
    c->covariance[j * c->d + j] = smear * smear;
  for (size_t i = 0; i < top; i++) {
    coordinates(c, trials[i], u);
    for (size_t a = 0; a < c->d; a++)
      for (size_t b = 0; b < c->d; b++)
        c->covariance[a * c->d + b] += (u[a] - c->mean[a]) * (u[b] - c->mean[b]) / (double)top;
  }
  mem_free(trials);
  c->sigma = 1;
  if (decompose(c)) { /* sigma is the geometric mean of the lengths */
    double sum = 0;
    for (size_t j = 0; j < c->d; j++)
      sum += log(c->lengths[j]);
    c->sigma = exp(sum / (double)c->d);
    for (size_t j = 0; j < c->d; j++)
      c->lengths[j] /= c->sigma;
    for (size_t j = 0; j < c->d * c->d; j++)
      c->covariance[j] /= c->sigma * c->sigma;
  }
  c->sigma_start = c->sigma;
  c->started = true;
  return true;
}

static void restart(struct cmaes *c) {
  c->restarts++;
  struct rng rng = rng_for(c->seed, PURPOSE_CMAES + 1, c->restarts);
  for (size_t j = 0; j < c->d; j++)
    c->mean[j] = rng_f64(&rng);
  reset_shape(c);
  c->sigma = c->sigma_start = SIGMA_RESTART;
  cmaes_constants(c->d, MIN_OF(c->k.lambda * 2, (size_t)LAMBDA_MAX), &c->k);
  decompose(c);
}

/* y := B diag(scale) B' y, where scale is 1/length, or returns only the length of B' y / lengths */
static double whiten(const struct cmaes *c, const double *y, double *ret) {
  size_t d = c->d;
  double *rotated = c->scratch + 6 * d, squares = 0;
  for (size_t k = 0; k < d; k++) {
    double sum = 0;
    for (size_t j = 0; j < d; j++)
      sum += c->axes[k * d + j] * y[j];
    rotated[k] = sum / c->lengths[k];
    squares += rotated[k] * rotated[k];
  }
  for (size_t j = 0; ret && j < d; j++) {
    ret[j] = 0;
    for (size_t k = 0; k < d; k++)
      ret[j] += c->axes[k * d + j] * rotated[k];
  }
  return sqrt(squares);
}

/* A trial's step from the mean in units of sigma. Points that did not come from this distribution are drawn in to where they could have
 * (Hansen 2011, injection). */
static double step_of(const struct cmaes *c, size_t trial, const double *mean, double *ret_y) {
  coordinates(c, trial, ret_y);
  for (size_t j = 0; j < c->d; j++)
    ret_y[j] = (ret_y[j] - mean[j]) / c->sigma;
  double length = whiten(c, ret_y, NULL), most = sqrt((double)c->d) + 2 * (double)c->d / ((double)c->d + 2);
  if (length > most) {
    for (size_t j = 0; j < c->d; j++)
      ret_y[j] *= most / length;
    length = most;
  }
  return length;
}

static void update_covariance(struct cmaes *c, const double *old_mean, double held) {
  size_t d = c->d;
  const struct cmaes_constants *k = &c->k;
  double *y = c->scratch, sum = 0;
  for (size_t i = 0; i < k->lambda; i++)
    sum += k->weights[i];
  double keep = 1 + (1 - held) * k->c_1 * k->c_c * (2 - k->c_c) - k->c_1 - k->c_mu * sum;
  for (size_t a = 0; a < d; a++)
    for (size_t b = 0; b < d; b++)
      c->covariance[a * d + b] = keep * c->covariance[a * d + b] + k->c_1 * c->path_c[a] * c->path_c[b];
  for (size_t i = 0; i < k->lambda; i++) {
    double length = step_of(c, c->waiting[i], old_mean, y), weight = k->weights[i];
    if (weight < 0) /* so that the matrix stays positive */
      weight *= (double)d / (length * length + 1e-12);
    for (size_t a = 0; a < d; a++)
      for (size_t b = 0; b < d; b++)
        c->covariance[a * d + b] += k->c_mu * weight * y[a] * y[b];
  }
}

static bool has_converged(struct cmaes *c) {
  double best = history_value(c->history, c->waiting[0]);
  c->recent[c->generation % RECENT] = best;
  size_t span = MIN_OF((size_t)RECENT, 10 + (size_t)ceil(30 * (double)c->d / (double)c->k.lambda));
  double low = INFINITY, high = -INFINITY, widest = 0;
  for (size_t g = 0; g < MIN_OF(span, c->generation); g++) {
    double value = c->recent[(c->generation - g) % RECENT];
    low = fmin(low, value), high = fmax(high, value);
  }
  for (size_t j = 0; j < c->d; j++)
    widest = fmax(widest, c->sigma * sqrt(c->covariance[j * c->d + j]));
  double unit = c->reach > 0 ? c->reach : fmax(fabs(low), fabs(high)); /* it began on a plateau */
  return (c->generation >= span && high - low <= 1e-12 * unit) || widest < 1e-9 || c->sigma > 1e4 * c->sigma_start || !isfinite(c->sigma);
}

/* A generation is complete. */
static void update(struct cmaes *c) {
  size_t d = c->d;
  const struct cmaes_constants *k = &c->k;
  double *old_mean = c->scratch + d, *step = c->scratch + 2 * d, *white = c->scratch + 3 * d, *y = c->scratch + 4 * d;
  qsort_r(c->waiting, k->lambda, sizeof *c->waiting, by_history, (void *)(uintptr_t)c->history);
  memcpy(old_mean, c->mean, d * sizeof *old_mean);
  memset(step, 0, d * sizeof *step);
  for (size_t i = 0; i < k->mu; i++) {
    step_of(c, c->waiting[i], old_mean, y);
    for (size_t j = 0; j < d; j++)
      step[j] += k->weights[i] * y[j];
  }
  for (size_t j = 0; j < d; j++)
    c->mean[j] = fmin(fmax(old_mean[j] + c->sigma * step[j], 0), 1);
  whiten(c, step, white);
  c->generation++;
  double squares = 0;
  for (size_t j = 0; j < d; j++) {
    c->path_sigma[j] = (1 - k->c_sigma) * c->path_sigma[j] + sqrt(k->c_sigma * (2 - k->c_sigma) * k->mu_eff) * white[j];
    squares += c->path_sigma[j] * c->path_sigma[j];
  }
  double length = sqrt(squares), aged = 1 - pow(1 - k->c_sigma, 2 * (double)c->generation);
  bool held = length / sqrt(aged) < (1.4 + 2 / ((double)d + 1)) * k->chi; /* the path is not stalled */
  for (size_t j = 0; j < d; j++)
    c->path_c[j] = (1 - k->c_c) * c->path_c[j] + (held ? sqrt(k->c_c * (2 - k->c_c) * k->mu_eff) * step[j] : 0);
  update_covariance(c, old_mean, held);
  c->sigma *= exp(fmin(1, k->c_sigma / k->d_sigma * (length / k->chi - 1)));
  if (has_converged(c) || !decompose(c))
    restart(c);
  c->waiting_count = 0;
}

bool cmaes_follow(struct cmaes *c, struct err *err) {
  for (; c->seen < history_events(c->history); c->seen++) {
    bool told;
    size_t trial = history_event(c->history, c->seen, &told);
    enum trial_state state = history_state(c->history, trial);
    if (!told || state == TRIAL_GONE)
      continue;
    size_t learnable = c->learnable + (state == TRIAL_STOPPED || (state == TRIAL_FINISHED && !isnan(history_value(c->history, trial))));
    if (!c->started) {
      if (learnable >= c->start_after && !start_from_best(c, err))
        return false;
    } else {
      c->waiting[c->waiting_count++] = (uint32_t)trial;
      if (c->waiting_count == c->k.lambda)
        update(c);
    }
    c->learnable = learnable;
  }
  return true;
}

/* ---- suggesting ---- */

/* Whatever the distribution says, the cells beside the mean's keep a probability of 1/(d lambda) (Hamano 2022). */
static double with_margin(const struct cmaes *c, size_t j, double u, double r) {
  const struct param *param = space_param(c->space, c->params[j]);
  if (!param->cells)
    return u;
  double value = space_value(c->space, c->params[j], c->mean[j]), from, to;
  space_edges(c->space, c->params[j], value, &from, &to);
  double deviation = c->sigma * sqrt(c->covariance[j * c->d + j]), margin = 1 / (double)(c->d * c->k.lambda);
  double below = from > 0 ? normal_cdf((from - c->mean[j]) / deviation) : 1, above = to < 1 ? normal_cdf((c->mean[j] - to) / deviation) : 1;
  if (below < margin && r < margin)
    return from - 1e-9;
  if (above < margin && r > 1 - margin)
    return to + 1e-9;
  return u;
}

static void draw(const struct cmaes *c, struct rng *rng, double *ret_u) {
  size_t d = c->d;
  double *z = c->scratch;
  bool inside = false;
  for (unsigned attempt = 0; attempt < RESAMPLE && !inside; attempt++) {
    for (size_t k = 0; k < d; k++)
      z[k] = rng_normal(rng) * c->lengths[k] * c->sigma;
    inside = true;
    for (size_t j = 0; j < d; j++) {
      ret_u[j] = c->mean[j];
      for (size_t k = 0; k < d; k++)
        ret_u[j] += c->axes[k * d + j] * z[k];
      inside = inside && ret_u[j] >= 0 && ret_u[j] <= 1;
    }
  }
  for (size_t j = 0; j < d; j++)
    ret_u[j] = fmin(fmax(with_margin(c, j, ret_u[j], rng_f64(rng)), 0), 1);
}

/* Choices without order: mostly as in the best trial. */
static void fill_others(const struct cmaes *c, struct rng *rng, double *point) {
  size_t best = history_best(c->history);
  const double *model = best == SIZE_MAX ? NULL : history_point(c->history, best);
  for (size_t i = 0; i < space_count(c->space); i++) {
    if (is_searched(space_param(c->space, i)))
      continue;
    double keep = rng_f64(rng), u = rng_f64(rng);
    point[i] = model && !isnan(model[i]) && keep < 0.7 ? model[i] : space_value(c->space, i, u);
  }
}

bool cmaes_suggest(struct cmaes *c, uint64_t n, double *ret_point, struct err *err) {
  if (!cmaes_follow(c, err))
    return false;
  if (!c->started)
    return err_set(err, ERR_NOT_FOUND, "there are not enough results yet");
  struct rng rng = rng_for(c->seed, PURPOSE_CMAES, n);
  double point[SPACE_PARAMS_MAX], *u = c->scratch + 7 * c->d;
  for (unsigned attempt = 0; attempt < RESAMPLE; attempt++) {
    draw(c, &rng, u);
    for (size_t j = 0; j < c->d; j++)
      point[c->params[j]] = space_value(c->space, c->params[j], u[j]);
    fill_others(c, &rng, point);
    space_settle(c->space, point);
    if (!space_allows(c->space, point) || history_has(c->history, point))
      continue;
    memcpy(ret_point, point, space_count(c->space) * sizeof *point);
    return true;
  }
  return err_set(err, ERR_NOT_FOUND, "no new point came up in %d tries", (int)RESAMPLE);
}
