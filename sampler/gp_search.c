#include "sampler/gp_search.h"

#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "sampler/draw.h"
#include "sampler/gp_fails.h"
#include "sampler/minimize.h"
#include "sampler/normal.h"
#include "sampler/trust.h"
#include "sampler/warp.h"

const struct gp_search_settings gp_search_defaults = {.prior = GP_PRIOR_MIXED, .candidates = 2048};

enum {
  FOUND_MAX = 16,
  PARENTS = 5,   /* best results around which candidates are drawn as well */
  CHILDREN = 64, /* such candidates for each */
  HEAT = 256,    /* candidates that race together */
  FEWER_AFAR = 64,
  LOCAL_SEARCHES = 10,
  LISTED_CELLS = 16 /* discrete parameters with at most so many values are searched by trying them all */
};
#define PURPOSE_GP 0x69u
#define GAP 1000
#define TIE 1e-9  /* scores nearer than this are equal */
#define NEAR 1e-7 /* points nearer than this in every coordinate are the same to the model */

struct feature {
  size_t param; /* SIZE_MAX: whether a group is in use; or the stage, which no point has: points are scored at the end of the training */
  unsigned group;
  bool is_choice, is_stage;
  bool is_listed; /* searched by trying values */
  size_t cells;
};

struct gp_search {
  const struct space *space;
  struct gp_search_settings settings;
  uint64_t seed, n;
  size_t width; /* parameters */
  struct feature *features;
  size_t feature_count;
  size_t rows, pending, failed;
  double *points, *values, *stages; /* as in struct gp_rows; of points those come last that failed, once there is a model */
  struct trust trust;               /* where candidates are drawn */
  struct gp_params *params, *fails_params;
  bool has_params, has_fails_params;
  double *found;
  double found_score[FOUND_MAX];
  size_t found_count;
  /* while running */
  struct gp *gp;
  struct gp_fails *fails; /* NULL: none failed */
  double best;            /* the least expected value at a row or a pending trial */
  double *x;              /* features of rows, pending and failed */
};

/* ---- taking the copy ---- */

static bool init_features(struct gp_search *s) {
  size_t most = s->width + space_groups(s->space) + 1;
  s->features = mem_array(most, sizeof *s->features);
  if (!s->features)
    return false;
  for (size_t i = 0; i < s->width; i++) {
    const struct param *param = space_param(s->space, i);
    if (param->kind == PARAM_CONSTANT)
      continue;
    bool is_choice = param->kind == PARAM_CHOICE && !param->ordered;
    s->features[s->feature_count++] = (struct feature){.param = i,
                                                       .group = param->group,
                                                       .is_choice = is_choice,
                                                       .is_listed = is_choice || (param->cells && param->cells <= LISTED_CELLS),
                                                       .cells = param->cells};
  }
  for (unsigned g = 1; g < space_groups(s->space); g++)
    s->features[s->feature_count++] = (struct feature){.param = SIZE_MAX, .group = g, .is_choice = true};
  return s->feature_count > 0;
}

/* Where rows are of several stages, the stage is one more feature. */
static bool take_rows(struct gp_search *s, const struct history *history, size_t results) {
  struct gp_rows taken;
  struct err err;
  if (!gp_rows_take(history, results, &taken, &err))
    return false;
  s->rows = taken.count, s->pending = taken.pending;
  s->points = taken.points, s->values = taken.values, s->stages = taken.stages;
  if (s->stages)
    s->features[s->feature_count++] = (struct feature){.param = SIZE_MAX, .is_stage = true};
  return true;
}

bool gp_search_new(const struct history *history, size_t results, const struct gp_search_settings *settings, uint64_t seed, uint64_t n,
                   struct gp_search **ret, struct err *err) {
  struct gp_search *s = mem_zalloc(sizeof *s);
  if (!s)
    return err_no_memory(err);
  s->space = history_space(history);
  s->settings = *settings;
  s->seed = seed;
  s->n = n;
  s->width = space_count(s->space);
  s->params = mem_alloc(sizeof *s->params);
  s->fails_params = mem_alloc(sizeof *s->fails_params);
  s->found = mem_array((size_t)FOUND_MAX * s->width, sizeof *s->found);
  bool ok = s->params && s->fails_params && s->found && init_features(s) && take_rows(s, history, results);
  if (!ok) {
    bool empty = s->features && s->feature_count == 0;
    gp_search_free(s);
    return empty ? err_set(err, ERR_NOT_FOUND, "there is nothing to search") : err_no_memory(err);
  }
  size_t usable = 0;
  for (size_t i = 0; i < s->rows; i++)
    usable += !isnan(s->values[i]);
  if (usable < 2) {
    gp_search_free(s);
    return err_set(err, ERR_NOT_FOUND, "a model needs at least two results");
  }
  s->trust = trust_of(history, s->feature_count - (s->stages != NULL));
  *ret = s;
  return true;
}

void gp_search_free(struct gp_search *s) {
  if (!s)
    return;
  gp_free(s->gp), gp_fails_free(s->fails);
  mem_free(s->features), mem_free(s->fails_params), mem_free(s->points), mem_free(s->values), mem_free(s->stages), mem_free(s->params),
      mem_free(s->found), mem_free(s->x);
  mem_free(s);
}

size_t gp_search_rows(const struct gp_search *s) {
  return s->rows;
}
size_t gp_search_found(const struct gp_search *s) {
  return s->found_count;
}
const double *gp_search_point(const struct gp_search *s, size_t k) {
  return s->found + k * s->width;
}
const struct gp_params *gp_search_params(const struct gp_search *s) {
  return s->params;
}
const struct gp_params *gp_search_fails_params(const struct gp_search *s) {
  return s->has_fails_params ? s->fails_params : NULL;
}
bool gp_search_add_pending(struct gp_search *s, const double *points, size_t count, struct err *err) {
  double *more = mem_resize(s->points, (s->rows + s->pending + count) * s->width, sizeof *more);
  if (!more)
    return err_no_memory(err);
  memcpy(more + (s->rows + s->pending) * s->width, points, count * s->width * sizeof *points);
  s->points = more;
  s->pending += count;
  return true;
}
/* What was fitted before any trial was stopped has no weight for stages. */
static void take_params(const struct gp_search *s, const struct gp_params *params, struct gp_params *ret) {
  *ret = *params;
  if (s->stages && !(params->weight[s->feature_count - 1] > 0))
    ret->weight[s->feature_count - 1] = 1;
}

void gp_search_reuse(struct gp_search *s, const struct gp_params *params) {
  take_params(s, params, s->params);
  s->has_params = true;
}
void gp_search_reuse_fails(struct gp_search *s, const struct gp_params *params) {
  take_params(s, params, s->fails_params);
  s->has_fails_params = true;
}

/* ---- points and features ---- */

static double feature_of(const struct gp_search *s, const struct feature *feature, const double *point) {
  if (feature->is_stage)
    return 1;
  if (feature->param == SIZE_MAX) {
    for (size_t i = 0; i < s->width; i++)
      if (space_param(s->space, i)->group == feature->group)
        return !isnan(point[i]);
    return 0;
  }
  double value = point[feature->param];
  if (isnan(value))
    return feature->is_choice ? -1 : 0.5;
  return feature->is_choice ? value : space_along(s->space, feature->param, value);
}

static void encode(const struct gp_search *s, const double *point, double *ret_x) {
  for (size_t f = 0; f < s->feature_count; f++)
    ret_x[f] = feature_of(s, &s->features[f], point);
}

static double log_improvement(const struct gp_search *s, double mean, double variance) {
  double deviation = sqrt(variance);
  return log(deviation) + normal_log_ei((s->best - mean) / deviation, NULL);
}

/* NaN when there is no memory. */
static double score_point(struct gp_search *s, const double *point, double *x) {
  double mean, variance;
  struct err err;
  encode(s, point, x);
  if (!gp_predict(s->gp, 1, x, NULL, NULL, &mean, &variance, &err))
    return NAN;
  double score = log_improvement(s, mean, variance);
  return !s->fails || gp_fails_weigh(s->fails, 1, x, &score, &err) ? score : NAN;
}

static bool is_near(const struct gp_search *s, const double *a, const double *b) {
  for (size_t f = 0; f < s->feature_count; f++)
    if (fabs(a[f] - b[f]) > NEAR)
      return false;
  return true;
}

static bool is_known(const struct gp_search *s, const double *x) {
  for (size_t i = 0; i < s->rows + s->pending + s->failed; i++)
    if (is_near(s, s->x + i * s->feature_count, x))
      return true;
  return false;
}

/* Keeps the best so far, each once, none that a trial has. */
static void offer(struct gp_search *s, const double *point, const double *x, double score) {
  if (isnan(score) || (s->found_count == FOUND_MAX && !(score > s->found_score[FOUND_MAX - 1])) || is_known(s, x))
    return;
  double other[GP_FEATURES_MAX];
  for (size_t k = 0; k < s->found_count; k++) {
    encode(s, s->found + k * s->width, other);
    if (is_near(s, other, x))
      return;
  }
  size_t at = MIN_OF(s->found_count, (size_t)FOUND_MAX - 1);
  for (; at > 0 && s->found_score[at - 1] < score; at--) {
    s->found_score[at] = s->found_score[at - 1];
    memcpy(s->found + at * s->width, s->found + (at - 1) * s->width, s->width * sizeof *s->found);
  }
  s->found_score[at] = score;
  memcpy(s->found + at * s->width, point, s->width * sizeof *s->found);
  s->found_count = MIN_OF(s->found_count + 1, (size_t)FOUND_MAX);
}

/* ---- candidates ---- */

static size_t best_row(const struct gp_search *s) {
  size_t best = 0;
  for (size_t i = 1; i < s->rows; i++)
    if (s->values[i] < s->values[best]) /* warped by now, so none is NaN */
      best = i;
  return best;
}

/* A neighbour of a good point: some coordinates move a little or a lot. */
static void child_point(const struct gp_search *s, const double *parent, struct rng *rng, double *ret_point) {
  double scale = pow(10, -0.5 - 3 * rng_f64(rng)), share = fmax(0.3, 1.5 / (double)s->feature_count);
  memcpy(ret_point, parent, s->width * sizeof *parent);
  for (size_t f = 0; f < s->feature_count; f++) {
    const struct feature *feature = &s->features[f];
    double r = rng_f64(rng), step = rng_normal(rng);
    if (feature->param == SIZE_MAX || isnan(ret_point[feature->param]) || r >= share)
      continue;
    size_t i = feature->param;
    ret_point[i] = feature->is_choice ? space_value(s->space, i, rng_f64(rng)) : draw_beside(s->space, i, ret_point[i], step * scale);
  }
  draw_missing(s->space, rng, ret_point);
}

struct candidates {
  size_t count, cap;
  double *points, *x, *mean, *variance, *score;
};

static void candidates_free(struct candidates *c) {
  mem_free(c->points), mem_free(c->x), mem_free(c->mean), mem_free(c->variance), mem_free(c->score);
}

static void add_candidate(struct gp_search *s, struct candidates *c, const double *point) {
  if (c->count == c->cap || !space_allows(s->space, point))
    return;
  memmove(c->points + c->count * s->width, point, s->width * sizeof *point);
  encode(s, point, c->x + c->count * s->feature_count);
  c->count++;
}

/* What is under way drives suggestions apart: each goes where none of the others is. So every other one looks close to the best results. */
static unsigned candidates_afar(const struct gp_search *s) {
  return s->pending && s->n % 2 == 0 ? s->settings.candidates / FEWER_AFAR : s->settings.candidates;
}

static void make_candidates(struct gp_search *s, struct candidates *c, struct rng *rng) {
  double point[SPACE_PARAMS_MAX];
  unsigned afar = candidates_afar(s);
  uint64_t key = rng_u64(rng);
  const double *center = s->points + best_row(s) * s->width;
  /* Tight constraints reject many: up to eight times as many are tried. */
  for (uint64_t k = 0; k < 8 * (uint64_t)afar && c->count < afar; k++) {
    trust_point(s->space, &s->trust, center, key, k, rng, point);
    add_candidate(s, c, point);
  }
  bool used[2 * GP_ROWS_MAX] = {false};
  for (size_t parent = 0; parent < MIN_OF((size_t)PARENTS, s->rows); parent++) {
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < s->rows; i++)
      if (!used[i] && (best == SIZE_MAX || s->values[i] < s->values[best]))
        best = i;
    used[best] = true;
    for (size_t k = 0; k < CHILDREN; k++) {
      child_point(s, s->points + best * s->width, rng, point);
      add_candidate(s, c, point);
    }
  }
}

/* Children that did not move away from a good result promise as much as it does, and may leave no place for others. */
static void drop_known(const struct gp_search *s, struct candidates *c) {
  size_t kept = 0, width = s->feature_count;
  for (size_t i = 0; i < c->count; i++) {
    if (is_known(s, c->x + i * width))
      continue;
    memmove(c->points + kept * s->width, c->points + i * s->width, s->width * sizeof *c->points);
    memmove(c->x + kept * width, c->x + i * width, width * sizeof *c->x);
    kept++;
  }
  c->count = kept;
}

/* The best scores so far, best first: what cannot come up to the last of them will not be searched from. */
struct race {
  const struct gp_search *s;
  double best[LOCAL_SEARCHES];
  size_t count;
};

static bool may_win(void *ctx, double mean, double most_variance) {
  const struct race *race = ctx;
  return race->count < LOCAL_SEARCHES ||
         log_improvement(race->s, mean, most_variance) > race->best[race->count - 1] - TIE; /* the more variance, the more improvement */
}

static void note_score(struct race *race, double score) {
  size_t at = race->count, cap = LOCAL_SEARCHES;
  if (at == cap && !(score > race->best[at - 1]))
    return;
  for (at = MIN_OF(at, cap - 1); at > 0 && race->best[at - 1] < score; at--)
    race->best[at] = race->best[at - 1];
  race->best[at] = score;
  race->count = MIN_OF(race->count + 1, cap);
}

/* From the last on, which are close to the best results: they leave little to the others. NaN: not among the best. */
static bool score_candidates(struct gp_search *s, struct candidates *c, struct err *err) {
  struct race race = {.s = s};
  for (size_t to = c->count; to > 0;) {
    size_t from = to - MIN_OF(to, (size_t)HEAT);
    if (!gp_predict(s->gp, to - from, c->x + from * s->feature_count, may_win, &race, c->mean + from, c->variance + from, err))
      return false;
    for (size_t i = from; i < to; i++)
      c->score[i] = isnan(c->variance[i]) ? NAN : log_improvement(s, c->mean[i], c->variance[i]);
    if (s->fails && !gp_fails_weigh(s->fails, to - from, c->x + from * s->feature_count, c->score + from, err))
      return false;
    for (; to > from; to--) {
      if (!isnan(c->score[to - 1]))
        note_score(&race, c->score[to - 1]);
    }
  }
  return true;
}

/* ---- local search ---- */

struct slope_search {
  struct gp_search *s;
  double *x;              /* all features; those searched are overwritten */
  const size_t *searched; /* features */
  size_t count;
  double *mean_slope, *variance_slope;
};

static double negative_score(void *ctx, const double *free_x, double *ret_gradient) {
  struct slope_search *search = ctx;
  double mean, variance, slope;
  for (size_t k = 0; k < search->count; k++)
    search->x[search->searched[k]] = free_x[k];
  gp_predict_slope(search->s->gp, search->x, &mean, &variance, search->mean_slope, search->variance_slope);
  double deviation = sqrt(variance), z = (search->s->best - mean) / deviation;
  double score = log(deviation) + normal_log_ei(z, &slope);
  for (size_t k = 0; k < search->count; k++) {
    size_t f = search->searched[k];
    double d_deviation = search->variance_slope[f] / (2 * deviation);
    double d_z = (-search->mean_slope[f] - z * d_deviation) / deviation;
    ret_gradient[k] = -(d_deviation / deviation + slope * d_z);
  }
  if (search->s->fails) {
    score += gp_fails_slope(search->s->fails, search->x, search->mean_slope, search->variance_slope);
    for (size_t k = 0; k < search->count; k++)
      ret_gradient[k] -= search->mean_slope[search->searched[k]];
  }
  return -score;
}

/* Moves the continuous coordinates uphill; stays where the constraints allow. */
static void climb(struct gp_search *s, double *point, double *scratch) {
  size_t searched[GP_FEATURES_MAX], count = 0, width = s->feature_count;
  double *x = scratch, *free_x = x + width, *low = free_x + width, *high = low + width, *slopes = high + width, *moved = slopes + 2 * width;
  encode(s, point, x);
  for (size_t f = 0; f < width; f++) {
    const struct feature *feature = &s->features[f];
    if (feature->is_listed || feature->param == SIZE_MAX || isnan(point[feature->param]))
      continue;
    free_x[count] = x[f];
    space_reach(s->space, feature->param, &low[count], &high[count]);
    low[count] = fmin(low[count], x[f]), high[count] = fmax(high[count], x[f]);
    searched[count++] = f;
  }
  if (!count)
    return;
  struct slope_search search = {s, x, searched, count, slopes, slopes + width};
  struct minimize_limits limits = {.iterations = 40, .gradient = 1e-4, .progress = 1e-7};
  minimize(negative_score, &search, count, low, high, &limits, free_x, moved + s->width);
  for (double share = 1; share > 0.05; share /= 2) {
    memcpy(moved, point, s->width * sizeof *point);
    for (size_t k = 0; k < count; k++) {
      size_t i = s->features[searched[k]].param;
      double from = space_along(s->space, i, point[i]);
      moved[i] = space_value(s->space, i, space_u_along(s->space, i, from + share * (free_x[k] - from)));
    }
    space_settle(s->space, moved);
    bool is_whole = true; /* an `if` on a number may have brought something into use, or out of it */
    for (size_t i = 0; i < s->width; i++)
      is_whole = is_whole && space_in_use(s->space, moved, i) == !isnan(point[i]);
    if (is_whole && space_allows(s->space, moved)) {
      memcpy(point, moved, s->width * sizeof *point);
      return;
    }
  }
}

/* Tries the other values of each discrete parameter in turn: all of a few, the neighbours of many. True when something became better. */
static bool step_cells(struct gp_search *s, double *point, double *score, struct rng *rng, double *x) {
  bool better = false;
  double trial[SPACE_PARAMS_MAX];
  for (size_t f = 0; f < s->feature_count; f++) {
    const struct feature *feature = &s->features[f];
    if (feature->param == SIZE_MAX || !feature->cells || isnan(point[feature->param]))
      continue;
    size_t i = feature->param;
    uint64_t own = space_cell(s->space, i, point[i]), tries = feature->is_listed ? MIN_OF(feature->cells, (size_t)LISTED_CELLS) : 2;
    for (uint64_t k = 0; k < tries; k++) {
      uint64_t cell = k;
      if (!feature->is_listed)
        cell = k ? own + 1 : own - 1;
      else if (feature->cells > LISTED_CELLS)
        cell = rng_below(rng, feature->cells);
      if (cell >= feature->cells || cell == own)
        continue;
      memcpy(trial, point, s->width * sizeof *point);
      trial[i] = space_cell_value(s->space, i, cell);
      draw_missing(s->space, rng, trial);
      if (!space_allows(s->space, trial))
        continue;
      double score_there = score_point(s, trial, x);
      if (score_there > *score) {
        memcpy(point, trial, s->width * sizeof *point);
        *score = score_there;
        better = true;
      }
    }
  }
  return better;
}

static void improve(struct gp_search *s, double *point, double score, struct rng *rng, double *scratch) {
  double *x = scratch;
  for (unsigned round = 0; round < 4; round++) {
    climb(s, point, scratch + s->feature_count);
    score = score_point(s, point, x);
    offer(s, point, x, score);
    if (!step_cells(s, point, &score, rng, x))
      break;
    encode(s, point, x);
    offer(s, point, x, score);
  }
}

static bool search_locally(struct gp_search *s, struct candidates *c, struct rng *rng, struct err *err) {
  double *scratch = mem_array(12 * s->feature_count + 2 * s->width + minimize_work(s->feature_count), sizeof *scratch);
  if (!scratch)
    return err_no_memory(err);
  for (int k = 0; k < LOCAL_SEARCHES; k++) {
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < c->count; i++)
      if (!isnan(c->score[i]) && (best == SIZE_MAX || c->score[i] > c->score[best]))
        best = i;
    if (best == SIZE_MAX)
      break;
    offer(s, c->points + best * s->width, c->x + best * s->feature_count, c->score[best]);
    improve(s, c->points + best * s->width, c->score[best], rng, scratch);
    c->score[best] = NAN;
  }
  mem_free(scratch);
  return true;
}

/* ---- running ---- */

static void encode_row(struct gp_search *s, size_t i) {
  double *x = s->x + i * s->feature_count;
  encode(s, s->points + i * s->width, x);
  if (s->stages)
    x[s->feature_count - 1] = s->stages[i];
}

static int by_value(const void *a, const void *b) {
  const double *x = a, *y = b;
  return (*x > *y) - (*x < *y);
}

/* A value that stands for a failure, 1e30 say, is none: the one beyond a gap so many times as wide as all that is better, which is most. What
 * differs there has something to tell. */
static bool drop_stand_ins(struct gp_search *s) {
  size_t n = 0, first;
  double *sorted = mem_array(s->rows, sizeof *sorted);
  if (!sorted)
    return false;
  for (size_t i = 0; i < s->rows; i++)
    if (!isnan(s->values[i]))
      sorted[n++] = s->values[i];
  qsort(sorted, n, sizeof *sorted, by_value);
  for (first = n / 2 + 1; first < n; first++)
    if (sorted[first] == sorted[n - 1] && sorted[first - 1] > sorted[0] &&
        sorted[first] - sorted[first - 1] > GAP * (sorted[first - 1] - sorted[0]))
      break;
  for (size_t i = 0; i < s->rows && first < n; i++)
    if (s->values[i] >= sorted[first])
      s->values[i] = NAN;
  mem_free(sorted);
  return true;
}

/* What has no value goes behind the pending. */
static bool part_failed(struct gp_search *s) {
  size_t valued = 0;
  for (size_t i = 0; i < s->rows; i++)
    valued += !isnan(s->values[i]);
  s->failed = s->rows - valued;
  if (!s->failed)
    return true;
  double *points = mem_array((s->rows + s->pending) * s->width, sizeof *points), *failed = points + (valued + s->pending) * s->width;
  if (!points)
    return false;
  memcpy(points + valued * s->width, s->points + s->rows * s->width, s->pending * s->width * sizeof *points);
  for (size_t i = 0, k = 0, m = 0; i < s->rows; i++) {
    const double *point = s->points + i * s->width;
    if (isnan(s->values[i])) {
      memcpy(failed + m++ * s->width, point, s->width * sizeof *points);
      continue;
    }
    memcpy(points + k * s->width, point, s->width * sizeof *points);
    if (s->stages)
      s->stages[k] = s->stages[i];
    s->values[k++] = s->values[i];
  }
  mem_free(s->points);
  s->points = points;
  s->rows = valued;
  return true;
}

/* Equal points become one, with the mean of their values. Returns how many are left. */
static size_t merge_rows(struct gp_search *s, double *repeats) {
  size_t kept = 0;
  for (size_t i = 0; i < s->rows; i++) {
    double *x = s->x + i * s->feature_count;
    size_t same = 0;
    while (same < kept && !is_near(s, s->x + same * s->feature_count, x))
      same++;
    if (same < kept) {
      repeats[same]++;
      s->values[same] += (s->values[i] - s->values[same]) / repeats[same];
      continue;
    }
    memmove(s->x + kept * s->feature_count, x, s->feature_count * sizeof *x);
    memmove(s->points + kept * s->width, s->points + i * s->width, s->width * sizeof *s->points);
    s->values[kept] = s->values[i];
    repeats[kept++] = 1;
  }
  return kept;
}

/* A model of the results, and where some failed one of that, without hyperparameters yet. */
static bool make_model(struct gp_search *s, struct err *err) {
  if (!drop_stand_ins(s) || !part_failed(s))
    return err_no_memory(err);
  size_t rows = s->rows, others = s->pending + s->failed, width = s->feature_count;
  s->x = mem_array((rows + others) * width, sizeof *s->x);
  double *repeats = mem_array(rows, sizeof *repeats);
  bool *is_choice = mem_array(width, sizeof *is_choice);
  bool ok = s->x && repeats && is_choice;
  if (!ok)
    err_no_memory(err);
  ok = ok && warp_values(s->values, rows, err);
  for (size_t i = 0; ok && i < rows; i++)
    encode_row(s, i);
  if (ok) {
    size_t kept = merge_rows(s, repeats);
    memmove(s->points + kept * s->width, s->points + rows * s->width, others * s->width * sizeof *s->points);
    s->rows = rows = kept;
    for (size_t i = 0; i < others; i++)
      encode(s, s->points + (rows + i) * s->width, s->x + (rows + i) * width);
    for (size_t f = 0; f < width; f++)
      is_choice[f] = s->features[f].is_choice;
  }
  struct gp_data data = {width, rows, s->pending, is_choice, s->x, s->values, repeats};
  ok = ok && gp_new(&data, &s->gp, err) && (!s->failed || gp_fails_new(&data, s->failed, &s->fails, err));
  mem_free(repeats), mem_free(is_choice);
  return ok;
}

static unsigned starts_for(size_t rows) {
  return rows <= 150 ? 2 : 1;
}

static unsigned iterations_for(size_t rows) {
  return rows <= 300 ? 40 : 25;
}

static void keep_params(const struct gp_search *s, const struct gp_params *params, struct gp_params *ret) {
  *ret = *params;
  if (!s->stages && s->feature_count < GP_FEATURES_MAX)
    ret->weight[s->feature_count] = 0;
}

static bool fit_fails(struct gp_search *s, struct err *err) {
  size_t rows = s->rows + s->failed;
  if (s->has_fails_params)
    return gp_fails_use(s->fails, s->fails_params, err);
  if (!gp_fails_fit(s->fails, s->settings.prior, starts_for(rows), iterations_for(rows), err))
    return false;
  keep_params(s, gp_fails_params(s->fails), s->fails_params);
  s->has_fails_params = true;
  return true;
}

bool gp_search_fit(struct gp_search *s, struct err *err) {
  if (!make_model(s, err) || !gp_fit(s->gp, s->settings.prior, starts_for(s->rows), iterations_for(s->rows), err))
    return false;
  keep_params(s, gp_params(s->gp), s->params);
  return !s->fails || fit_fails(s, err);
}

static bool is_of_end(const struct gp_search *s, size_t row) {
  return !s->stages || s->x[(row + 1) * s->feature_count - 1] == 1;
}

/* What is to be improved on. A trial that was stopped has nothing to show for what it would have come to. */
static double least_expected(const struct gp_search *s, const double *mean) {
  double of_end = INFINITY, of_all = INFINITY;
  for (size_t i = 0; i < s->rows + s->pending; i++) {
    of_all = fmin(of_all, mean[i]);
    if (i >= s->rows || is_of_end(s, i))
      of_end = fmin(of_end, mean[i]);
  }
  return isfinite(of_end) ? of_end : of_all;
}

/* A pending trial is believed to bring what is expected there, so that going to the same place again gains nothing. */
static bool believe_pending(struct gp_search *s, struct err *err) {
  size_t all = s->rows + s->pending, width = s->feature_count;
  double *mean = mem_array(all * (2 + width), sizeof *mean), *at_end = mean + 2 * all;
  if (!mean)
    return err_no_memory(err);
  bool ok = true;
  if (s->stages) {
    memcpy(at_end, s->x, all * width * sizeof *at_end);
    for (size_t i = 0; i < s->rows; i++)
      at_end[(i + 1) * width - 1] = 1;
    ok = gp_predict(s->gp, all, at_end, NULL, NULL, mean, mean + all, err);
  } else {
    gp_expect(s->gp, mean);
  }
  if (ok)
    s->best = least_expected(s, mean);
  mem_free(mean);
  return ok;
}

static bool build_model(struct gp_search *s, struct err *err) {
  bool ok = s->has_params ? make_model(s, err) && gp_use(s->gp, s->params, err) && (!s->fails || fit_fails(s, err)) : gp_search_fit(s, err);
  return ok && believe_pending(s, err);
}

bool gp_search_run(struct gp_search *s, struct err *err) {
  if (!build_model(s, err))
    return false;
  struct rng rng = rng_for(s->seed, PURPOSE_GP, s->n);
  struct candidates c = {.cap = s->settings.candidates + PARENTS * CHILDREN};
  c.points = mem_array(c.cap * s->width, sizeof *c.points);
  c.x = mem_array(c.cap * s->feature_count, sizeof *c.x);
  c.mean = mem_array(c.cap, sizeof *c.mean);
  c.variance = mem_array(c.cap, sizeof *c.variance);
  c.score = mem_array(c.cap, sizeof *c.score);
  bool ok = c.points && c.x && c.mean && c.variance && c.score;
  if (!ok) {
    err_no_memory(err);
  } else {
    make_candidates(s, &c, &rng);
    ok = score_candidates(s, &c, err) && search_locally(s, &c, &rng, err);
    if (ok && !s->found_count) {
      drop_known(s, &c);
      ok = score_candidates(s, &c, err) && search_locally(s, &c, &rng, err);
    }
  }
  candidates_free(&c);
  gp_free(s->gp), gp_fails_free(s->fails); /* here, and not by whoever takes the points: giving so much memory back takes its time */
  s->gp = NULL, s->fails = NULL;
  return ok;
}
