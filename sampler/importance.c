#include "sampler/importance.h"

#include <math.h>

#include "base/mem.h"
#include "base/rng.h"

enum {
  BINS = 50,
  PAIR_BINS = 10,
  RESAMPLES = 200,
  CHANCES = 40,       /* random subsets that show what chance makes */
  TRIALS_MAX = 10000, /* every second, third ... of more */
  PAIR_PARAMS_MAX = 20,
  TRIALS_FEW = 30,
  BEST_FEW = 5,
};
#define BEST_SHARE 0.1

/* One parameter, its values put into bins. */
struct column {
  size_t param;
  unsigned bins;
  bool smooth;             /* neighbours are alike */
  uint8_t *bin;            /* by trial, best first; NOT_USED */
  double chance;           /* what the measure comes to by chance, ... */
  double chance_resampled; /* ... and where trials are drawn with replacement */
  size_t trials;
};
enum { NOT_USED = 255 };

struct work {
  const struct history *history;
  const struct space *space;
  uint32_t *order; /* trials, best first */
  size_t n, best;
  struct column *columns;
  size_t column_count;
  uint16_t *weight;   /* by trial: how often it counts among all, */
  float *best_weight; /* and among the best */
};

/* ---- the measure ---- */

/* Spreads counts over neighbouring bins with Scott's width, and adds a little to all, so that no bin is empty. Sums to 1. */
static void density(const struct column *column, const double *counts, double *ret) {
  unsigned m = column->bins;
  double total = 0, mean = 0, squares = 0, sum = 0;
  for (unsigned b = 0; b < m; b++)
    total += counts[b], mean += counts[b] * b;
  for (unsigned b = 0; b < m && total > 0; b++)
    squares += counts[b] * (b - mean / total) * (b - mean / total);
  double width = total > 0 ? fmax(1.06 * sqrt(squares / total) * pow(total, -0.2), 0.5) : 1;
  for (unsigned b = 0; b < m; b++)
    ret[b] = 1.0 / m; /* the prior weighs as one trial */
  for (unsigned from = 0; from < m; from++) {
    if (counts[from] == 0)
      continue;
    double kernel[BINS > 64 ? BINS : 64], whole = 0;
    for (unsigned b = 0; b < m; b++) {
      double t = ((double)b - from) / width;
      kernel[b] = column->smooth ? exp(-0.5 * t * t) : b == from;
      whole += kernel[b];
    }
    for (unsigned b = 0; b < m; b++)
      ret[b] += counts[from] * kernel[b] / whole;
  }
  for (unsigned b = 0; b < m; b++)
    sum += ret[b];
  for (unsigned b = 0; b < m; b++)
    ret[b] /= sum;
}

/* Pearson's divergence of the weighted best from all. */
static double divergence(const struct work *w, const struct column *column) {
  double all[64] = {0}, best[64] = {0}, p[64], q[64], sum = 0;
  for (size_t i = 0; i < w->n; i++)
    if (column->bin[i] != NOT_USED) {
      all[column->bin[i]] += w->weight[i];
      best[column->bin[i]] += w->best_weight[i];
    }
  density(column, all, q);
  density(column, best, p);
  for (unsigned b = 0; b < column->bins; b++)
    sum += (p[b] / q[b] - 1) * (p[b] / q[b] - 1) * q[b];
  return sum;
}

static double pair_divergence(const struct work *w, const struct column *a, const struct column *b) {
  double all[PAIR_BINS * PAIR_BINS] = {0}, best[PAIR_BINS * PAIR_BINS] = {0}, all_sum = 0, best_sum = 0, sum = 0;
  for (size_t i = 0; i < w->n; i++) {
    if (a->bin[i] == NOT_USED || b->bin[i] == NOT_USED)
      continue;
    size_t cell = (size_t)(a->bin[i] * PAIR_BINS / a->bins) * PAIR_BINS + (size_t)(b->bin[i] * PAIR_BINS / b->bins);
    all[cell] += w->weight[i], all_sum += w->weight[i];
    best[cell] += w->best_weight[i], best_sum += w->best_weight[i];
  }
  if (best_sum == 0)
    return 0;
  double cells = PAIR_BINS * PAIR_BINS;
  for (size_t c = 0; c < PAIR_BINS * PAIR_BINS; c++) {
    double q = (all[c] + 1 / cells) / (all_sum + 1), p = (best[c] + 1 / cells) / (best_sum + 1);
    sum += (p / q - 1) * (p / q - 1) * q;
  }
  return sum;
}

/* ---- taking trials ---- */

static int by_quality(const void *a, const void *b, void *ctx) {
  const uint32_t *x = a, *y = b;
  return history_before(ctx, *x, *y) ? -1 : history_before(ctx, *y, *x);
}

static bool take_trials(struct work *w, struct err *err) {
  size_t total = history_count(w->history), stride = MAX_OF((total + TRIALS_MAX - 1) / TRIALS_MAX, (size_t)1);
  w->order = mem_array(total / stride + 1, sizeof *w->order);
  if (!w->order)
    return err_no_memory(err);
  for (size_t i = 0; i < total; i += stride)
    if (history_is_learnable(w->history, i))
      w->order[w->n++] = (uint32_t)i;
  qsort_r(w->order, w->n, sizeof *w->order, by_quality, (void *)(uintptr_t)w->history);
  size_t tenth = (size_t)ceil(BEST_SHARE * (double)w->n);
  w->best = MIN_OF(MAX_OF(tenth, MIN_OF((size_t)10, w->n / 3)), w->n);
  w->weight = mem_array(w->n, sizeof *w->weight);
  w->best_weight = mem_array(w->n, sizeof *w->best_weight);
  return (w->weight && w->best_weight) || err_no_memory(err);
}

static bool fill_column(struct work *w, size_t param, struct column *column, struct err *err) {
  const struct param *p = space_param(w->space, param);
  bool few = p->cells && p->cells <= 64;
  *column = (struct column){.param = param, .bins = few ? (unsigned)p->cells : BINS, .smooth = p->kind == PARAM_NUMBER || p->ordered};
  column->bin = mem_alloc(w->n);
  if (!column->bin)
    return err_no_memory(err);
  for (size_t i = 0; i < w->n; i++) {
    double value = history_point(w->history, w->order[i])[param];
    column->bin[i] = NOT_USED;
    if (isnan(value))
      continue;
    double at = few ? (double)space_cell(w->space, param, value) : floor(space_u(w->space, param, value) * BINS);
    column->bin[i] = (uint8_t)fmin(fmax(at, 0), column->bins - 1);
    column->trials++;
  }
  return true;
}

static bool take_columns(struct work *w, struct err *err) {
  w->columns = mem_array(space_count(w->space), sizeof *w->columns);
  if (!w->columns)
    return err_no_memory(err);
  for (size_t i = 0; i < space_count(w->space); i++) {
    if (space_param(w->space, i)->kind == PARAM_CONSTANT)
      continue;
    w->column_count++;
    if (!fill_column(w, i, &w->columns[w->column_count - 1], err))
      return false;
  }
  return true;
}

/* ---- weights ---- */

/* The best of the weighed trials. Equal ones share the places that are left for them: which came first says nothing. */
static void weigh_best(struct work *w) {
  double left = (double)w->best;
  for (size_t i = 0, end; i < w->n; i = end) {
    double weight = 0;
    for (end = i; end < w->n && history_equal(w->history, w->order[i], w->order[end]); end++)
      weight += w->weight[end];
    double share = weight > left ? left / weight : 1;
    for (size_t k = i; k < end; k++)
      w->best_weight[k] = (float)(share * w->weight[k]);
    left = fmax(left - weight, 0);
  }
}

/* Each trial once. */
static void weigh_as_is(struct work *w) {
  for (size_t i = 0; i < w->n; i++)
    w->weight[i] = 1;
  weigh_best(w);
}

/* Any trials in place of the best. */
static void weigh_by_chance(struct work *w, struct rng *rng) {
  memset(w->best_weight, 0, w->n * sizeof *w->best_weight);
  for (size_t left = w->best; left;) {
    size_t i = (size_t)rng_below(rng, w->n), weight = MIN_OF((size_t)w->weight[i], left);
    if (w->best_weight[i] > 0)
      continue;
    w->best_weight[i] = (float)weight;
    left -= weight;
  }
}

/* As many trials, drawn with replacement; the best of those. */
static void weigh_resampled(struct work *w, struct rng *rng) {
  memset(w->weight, 0, w->n * sizeof *w->weight);
  for (size_t k = 0; k < w->n; k++)
    w->weight[rng_below(rng, w->n)]++;
  weigh_best(w);
}

/* ---- shares ---- */

static void measure_chance(struct work *w, struct rng *rng) {
  weigh_as_is(w);
  for (unsigned k = 0; k < CHANCES; k++) {
    weigh_by_chance(w, rng);
    for (size_t c = 0; c < w->column_count; c++)
      w->columns[c].chance += divergence(w, &w->columns[c]) / CHANCES;
  }
  for (unsigned k = 0; k < CHANCES; k++) { /* a trial that is drawn several times is so often at one place, which looks like more */
    weigh_resampled(w, rng);
    weigh_by_chance(w, rng);
    for (size_t c = 0; c < w->column_count; c++)
      w->columns[c].chance_resampled += divergence(w, &w->columns[c]) / CHANCES;
  }
}

/* From the current weights. Returns the total before it was made 1. */
static double shares(struct work *w, bool is_resampled, double *ret) {
  double total = 0;
  for (size_t c = 0; c < w->column_count; c++) {
    const struct column *column = &w->columns[c];
    ret[c] = fmax(divergence(w, column) - (is_resampled ? column->chance_resampled : column->chance), 0);
    total += ret[c];
  }
  for (size_t c = 0; c < w->column_count && total > 0; c++)
    ret[c] /= total;
  return total;
}

static int by_number(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static int by_share(const void *a, const void *b) {
  const struct importance *x = a, *y = b;
  if (x->share != y->share)
    return x->share > y->share ? -1 : 1;
  return (x->param > y->param) - (x->param < y->param);
}

static bool fill_params(struct work *w, struct rng *rng, struct importance_report *ret, double *ret_total, struct err *err) {
  size_t n = w->column_count;
  double *resampled = mem_array(n * RESAMPLES, sizeof *resampled), *now = mem_array(n * 2, sizeof *now);
  ret->params = mem_array(n, sizeof *ret->params);
  bool ok = resampled && now && ret->params;
  if (ok) {
    measure_chance(w, rng);
    weigh_as_is(w);
    *ret_total = shares(w, false, now);
    for (unsigned k = 0; k < RESAMPLES; k++) {
      weigh_resampled(w, rng);
      shares(w, true, now + n);
      for (size_t c = 0; c < n; c++)
        resampled[c * RESAMPLES + k] = now[n + c];
    }
    for (size_t c = 0; c < n; c++) {
      double *sorted = resampled + c * RESAMPLES;
      qsort(sorted, RESAMPLES, sizeof *sorted, by_number);
      ret->params[c] = (struct importance){w->columns[c].param, now[c], sorted[RESAMPLES / 40], sorted[RESAMPLES - 1 - RESAMPLES / 40],
                                           w->columns[c].trials};
    }
    ret->count = n;
    qsort(ret->params, n, sizeof *ret->params, by_share);
  }
  mem_free(resampled), mem_free(now);
  return ok || err_no_memory(err);
}

static int by_pair_share(const void *a, const void *b) {
  const struct importance_pair *x = a, *y = b;
  if (x->share != y->share)
    return x->share > y->share ? -1 : 1;
  return x->a != y->a ? (x->a > y->a) - (x->a < y->a) : (x->b > y->b) - (x->b < y->b);
}

static double pair_excess(const struct work *w, const struct column *a, const struct column *b) {
  return pair_divergence(w, a, b) - divergence(w, a) - divergence(w, b);
}

/* Of two that no good trial has both nothing can be said. */
static bool meet(const struct work *w, const struct column *a, const struct column *b) {
  for (size_t i = 0; i < w->n; i++)
    if (w->best_weight[i] > 0 && a->bin[i] != NOT_USED && b->bin[i] != NOT_USED)
      return true;
  return false;
}

static bool fill_pairs(struct work *w, struct rng *rng, double total, struct importance_report *ret, struct err *err) {
  size_t n = MIN_OF(w->column_count, (size_t)PAIR_PARAMS_MAX), count = n * (n - (n > 0)) / 2;
  ret->pairs = mem_array(count, sizeof *ret->pairs);
  double *chance = mem_array(count, sizeof *chance);
  if (!ret->pairs || !chance) {
    mem_free(chance);
    return err_no_memory(err);
  }
  weigh_as_is(w);
  for (unsigned k = 0; k < CHANCES / 4; k++) {
    weigh_by_chance(w, rng);
    for (size_t a = 0, at = 0; a < n; a++)
      for (size_t b = a + 1; b < n; b++, at++)
        chance[at] += pair_excess(w, &w->columns[a], &w->columns[b]) / (CHANCES / 4.0);
  }
  weigh_as_is(w);
  for (size_t a = 0, at = 0; a < n; a++)
    for (size_t b = a + 1; b < n; b++, at++) {
      double excess = pair_excess(w, &w->columns[a], &w->columns[b]) - chance[at];
      if (excess > 0 && total > 0 && meet(w, &w->columns[a], &w->columns[b]))
        ret->pairs[ret->pair_count++] = (struct importance_pair){w->columns[a].param, w->columns[b].param, excess / total};
    }
  qsort(ret->pairs, ret->pair_count, sizeof *ret->pairs, by_pair_share);
  mem_free(chance);
  return true;
}

static void judge(struct importance_report *report, double total) {
  static const struct importance none = {0};
  const struct importance *first = report->count ? &report->params[0] : &none;
  report->reason = "";
  if (report->trials < TRIALS_FEW)
    report->reason = "fewer than 30 trials with a result";
  else if (report->best < BEST_FEW)
    report->reason = "too few trials among the best";
  else if (!(total > 0))
    report->reason = "no parameter shows an effect beyond chance";
  else if (first->high - first->low > 0.6)
    report->reason = "the shares change a lot when trials are resampled";
  report->low_confidence = report->reason[0] != 0;
}

bool importance_compute(const struct history *history, uint64_t seed, struct importance_report *ret, struct err *err) {
  struct work w = {.history = history, .space = history_space(history)};
  struct importance_report report = {0};
  struct rng rng = rng_for(seed, 0x1319, 0);
  double total = 0;
  bool ok = take_trials(&w, err) && take_columns(&w, err);
  report.trials = w.n;
  report.best = w.best;
  ok = ok && fill_params(&w, &rng, &report, &total, err) && fill_pairs(&w, &rng, total, &report, err);
  for (size_t c = 0; c < w.column_count; c++)
    mem_free(w.columns[c].bin);
  mem_free(w.columns), mem_free(w.order), mem_free(w.weight), mem_free(w.best_weight);
  if (!ok) {
    importance_release(&report);
    return false;
  }
  judge(&report, total);
  *ret = report;
  return true;
}

void importance_release(struct importance_report *report) {
  mem_free(report->params), mem_free(report->pairs);
  *report = (struct importance_report){0};
}
