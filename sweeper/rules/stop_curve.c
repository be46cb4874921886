/* Rules that compare a trial with the curves of others at the same iteration. */
#include <math.h>

#include "base/mem.h"
#include "sweeper/rules/stop_rule.h"

/* ---- evaluation points ----
 *
 * Point i stands at iteration i * interval. The first STOP_POINTS have a slot each; beyond, level j covers i up to STOP_POINTS * 2^j and
 * only multiples of 2^j have one. */

enum { LEVELS = 40, SLOTS_MAX = STOP_POINTS + LEVELS * STOP_POINTS / 2, ENTRIES_MAX = 1000000 };

static uint64_t point_of_slot(uint32_t slot) {
  if (slot < STOP_POINTS)
    return slot + 1;
  uint32_t level = (slot - STOP_POINTS) / (STOP_POINTS / 2) + 1, k = (slot - STOP_POINTS) % (STOP_POINTS / 2);
  return ((uint64_t)STOP_POINTS << (level - 1)) + ((uint64_t)(k + 1) << level);
}

/* How many slots stand at or before point i. */
static uint32_t slots_up_to(double point) {
  if (!(point >= 1))
    return 0;
  if (point <= STOP_POINTS)
    return (uint32_t)point;
  uint32_t level = 1;
  while (level < LEVELS && point > (double)((uint64_t)STOP_POINTS << level))
    level++;
  double k = floor((point - (double)((uint64_t)STOP_POINTS << (level - 1))) / (double)((uint64_t)1 << level));
  return STOP_POINTS + (level - 1) * (STOP_POINTS / 2) + (uint32_t)MIN_OF(k, (double)STOP_POINTS / 2);
}

/* ---- cells: the values of the newest trials at a slot ---- */

struct entry {
  double loss;
  uint32_t trial;
};

struct cell {
  struct ranks losses;
  struct entry *ring; /* oldest first, from `first` on */
  uint32_t first, count, cap;
};

/* Where a live trial stands in which cell. */
struct trail {
  struct {
    uint32_t slot;
    double loss;
  } * items;
  size_t count, cap;
};

struct curve {
  struct stop_rule rule;
  struct cell *cells;
  uint32_t cell_count;
  size_t entries;
  struct trail *trails; /* by trial */
  size_t trail_count;
  double *lows;      /* bandit: a Fenwick tree of the least loss up to a slot */
  struct ranks best; /* percentile: every trial's best, for keep_best */
};

static struct curve *of(struct stop_rule *rule) {
  return CONTAINER_OF(rule, struct curve, rule);
}

static double first_iteration(const struct stop_conf *c) {
  bool hyperdrive = c->type == STOP_BANDIT || c->type == STOP_MEDIAN_STOPPING || c->type == STOP_TRUNCATION;
  return hyperdrive ? (double)c->delay_evaluation : c->min_iter;
}

static double iteration_of_slot(const struct stop_conf *c, uint32_t slot) {
  return (double)point_of_slot(slot) * (double)c->evaluation_interval;
}

static struct cell *cell_at(struct curve *curve, uint32_t slot) {
  if (slot >= curve->cell_count) {
    uint32_t count = MIN_OF(MAX_OF(curve->cell_count * 2, slot + 16), (uint32_t)SLOTS_MAX);
    struct cell *bigger = mem_resize(curve->cells, count, sizeof *bigger);
    if (!bigger)
      return NULL;
    for (uint32_t i = curve->cell_count; i < count; i++) {
      bigger[i] = (struct cell){0};
      ranks_init(&bigger[i].losses, STOP_WINDOW);
    }
    curve->cells = bigger;
    curve->cell_count = count;
  }
  return &curve->cells[slot];
}

static void evict_oldest(struct curve *curve, struct cell *cell) {
  const struct entry *oldest = &cell->ring[cell->first];
  ranks_remove(&cell->losses, oldest->loss, oldest->trial);
  cell->first = (cell->first + 1) % cell->cap;
  cell->count--;
  curve->entries--;
}

static bool cell_add(struct curve *curve, uint32_t slot, uint32_t trial, double loss, struct err *err) {
  struct cell *cell = cell_at(curve, slot);
  if (!cell)
    return err_no_memory(err);
  if (cell->count == STOP_WINDOW || (curve->entries >= ENTRIES_MAX && cell->count))
    evict_oldest(curve, cell);
  else if (curve->entries >= ENTRIES_MAX)
    return true; /* full everywhere else: this point stays without a comparison */
  if (cell->count == cell->cap) {
    uint32_t cap = MIN_OF(MAX_OF(cell->cap * 2, 8u), (uint32_t)STOP_WINDOW);
    struct entry *ring = mem_array(cap, sizeof *ring);
    if (!ring)
      return err_no_memory(err);
    for (uint32_t i = 0; i < cell->count; i++)
      ring[i] = cell->ring[(cell->first + i) % cell->cap];
    mem_free(cell->ring);
    cell->ring = ring;
    cell->first = 0;
    cell->cap = cap;
  }
  if (!ranks_add(&cell->losses, loss, trial))
    return err_no_memory(err);
  cell->ring[(cell->first + cell->count++) % cell->cap] = (struct entry){loss, trial};
  curve->entries++;
  return true;
}

static void cell_remove(struct curve *curve, uint32_t slot, uint32_t trial, double loss) {
  struct cell *cell = &curve->cells[slot];
  uint32_t i = 0;
  while (i < cell->count && cell->ring[(cell->first + i) % cell->cap].trial != trial)
    i++;
  if (i == cell->count)
    return; /* evicted since */
  for (; i + 1 < cell->count; i++)
    cell->ring[(cell->first + i) % cell->cap] = cell->ring[(cell->first + i + 1) % cell->cap];
  ranks_remove(&cell->losses, loss, trial);
  cell->count--;
  curve->entries--;
}

static bool trail_add(struct curve *curve, uint32_t trial, uint32_t slot, double loss, struct err *err) {
  if (trial >= curve->trail_count) {
    size_t count = MAX_OF(curve->trail_count * 2, MAX_OF((size_t)trial + 1, (size_t)64));
    struct trail *bigger = mem_resize(curve->trails, count, sizeof *bigger);
    if (!bigger)
      return err_no_memory(err);
    memset(bigger + curve->trail_count, 0, (count - curve->trail_count) * sizeof *bigger);
    curve->trails = bigger;
    curve->trail_count = count;
  }
  struct trail *trail = &curve->trails[trial];
  if (trail->count == trail->cap) {
    size_t cap = MAX_OF(trail->cap * 2, (size_t)8);
    void *bigger = mem_resize(trail->items, cap, sizeof *trail->items);
    if (!bigger)
      return err_no_memory(err);
    trail->items = bigger;
    trail->cap = cap;
  }
  trail->items[trail->count].slot = slot;
  trail->items[trail->count++].loss = loss;
  return true;
}

static void trail_drop(struct curve *curve, uint32_t trial, bool out_of_cells) {
  if (trial >= curve->trail_count)
    return;
  struct trail *trail = &curve->trails[trial];
  for (size_t i = 0; out_of_cells && i < trail->count; i++)
    cell_remove(curve, trail->items[i].slot, trial, trail->items[i].loss);
  mem_free(trail->items);
  *trail = (struct trail){0};
}

/* What this report leaves at a slot that it reached. */
static double value_at(const struct curve *curve, const struct stop_seen *seen, uint32_t slot) {
  const struct stop_trial *state = seen->state;
  double mean = state->sum / state->reports;
  switch (curve->rule.conf.type) {
  case STOP_MEDIAN: { /* between two reports the running average goes straight */
    double at = iteration_of_slot(&curve->rule.conf, slot), span = seen->iteration - seen->previous;
    if (seen->previous <= 0 || !(span > 0))
      return mean;
    return seen->previous_mean + (mean - seen->previous_mean) * ((at - seen->previous) / span);
  }
  case STOP_MEDIAN_STOPPING:
    return mean;
  case STOP_PERCENTILE:
    return seen->loss;
  default:
    return state->best;
  }
}

/* Takes the report down at every slot it reached since the one before. *ret_slot is the last of them that the rule judges, or SLOTS_MAX. */
static bool record(struct curve *curve, const struct stop_seen *seen, uint32_t *ret_slot, struct err *err) {
  const struct stop_conf *c = &curve->rule.conf;
  double interval = (double)c->evaluation_interval, from = first_iteration(c);
  uint32_t to = slots_up_to(seen->iteration / interval);
  *ret_slot = SLOTS_MAX;
  for (uint32_t slot = slots_up_to(seen->previous / interval); slot < to; slot++) {
    if (iteration_of_slot(c, slot) < from)
      continue;
    *ret_slot = slot;
    if (c->type == STOP_BANDIT)
      continue;
    double loss = value_at(curve, seen, slot);
    if (!trail_add(curve, seen->trial, slot, loss, err))
      return false;
    if (c->type != STOP_MEDIAN && !cell_add(curve, slot, seen->trial, loss, err))
      return false;
  }
  return true;
}

/* ---- quantiles; NaN is left out ---- */

static double quantile(const struct ranks *ranks, double share) {
  uint32_t n = ranks_below(ranks, NAN);
  if (!n)
    return NAN;
  double at = share * (double)(n - 1);
  uint32_t low = (uint32_t)floor(at);
  double a = ranks_at(ranks, low), b = low + 1 < n ? ranks_at(ranks, low + 1) : a;
  return a == b ? a : a + (b - a) * (at - low);
}

/* ---- the rules ---- */

static void judge_median(struct curve *curve, const struct cell *cell, const struct stop_seen *seen, struct stop_verdict *ret) {
  bool vizier = curve->rule.conf.type == STOP_MEDIAN;
  uint32_t n = ranks_count(&cell->losses);
  double limit = quantile(&cell->losses, 0.5), best = seen->state->best;
  if (n < (vizier ? (uint32_t)curve->rule.conf.min_trials : 2) || isnan(limit) || ranks_compare(best, limit) <= 0)
    return;
  char value[32], bound[32];
  stop_say(&curve->rule, seen, ret, best, limit,
           "at %s %.6g its best value %s is worse than %s, the median of the running averages of %u %s", curve->rule.unit, seen->iteration,
           stop_number(stop_sign(&curve->rule, best), value), stop_number(stop_sign(&curve->rule, limit), bound), n,
           vizier ? "completed trials" : "trials");
}

static void judge_truncation(struct curve *curve, const struct cell *cell, const struct stop_seen *seen, struct stop_verdict *ret) {
  uint32_t n = ranks_count(&cell->losses);
  uint32_t cut = (uint32_t)((uint64_t)curve->rule.conf.truncation_percentage * n / 100);
  double best = seen->state->best;
  uint32_t no_better = n - ranks_below(&cell->losses, best); /* itself and its ties included */
  if (n < 2 || !cut || no_better > cut)
    return;
  char value[32];
  double limit = ranks_at(&cell->losses, n - cut - 1); /* the worst that is left alone */
  stop_say(&curve->rule, seen, ret, best, limit, "at %s %.6g its best value %s is among the worst %u of %u trials (%lld %%)",
           curve->rule.unit, seen->iteration, stop_number(stop_sign(&curve->rule, best), value), cut, n,
           (long long)curve->rule.conf.truncation_percentage);
}

static bool among_best(const struct curve *curve, const struct stop_seen *seen) {
  return curve->rule.conf.keep_best > 0 && (int64_t)ranks_below(&curve->best, seen->state->best) < curve->rule.conf.keep_best;
}

static void judge_percentile(struct curve *curve, const struct cell *cell, const struct stop_seen *seen, struct stop_verdict *ret) {
  const struct stop_conf *c = &curve->rule.conf;
  struct stop_trial *state = &curve->rule.trials[seen->trial];
  uint32_t n = ranks_count(&cell->losses);
  double limit = quantile(&cell->losses, 1 - c->percentile / 100);
  if (n < (uint32_t)c->min_trials || isnan(limit) || ranks_compare(seen->loss, limit) <= 0) {
    state->below = 0;
    return;
  }
  if (++state->below <= (uint32_t)MIN_OF(c->patience, UINT32_MAX - 1) || among_best(curve, seen))
    return;
  char value[32], bound[32];
  stop_say(&curve->rule, seen, ret, seen->loss, limit,
           "at %s %.6g its value %s is worse than %s, percentile %.6g of the %u trials that got as far", curve->rule.unit, seen->iteration,
           stop_number(seen->value, value), stop_number(stop_sign(&curve->rule, limit), bound), c->percentile, n);
}

static double least_up_to(const double *lows, uint32_t slot) {
  double least = INFINITY;
  for (uint32_t i = slot + 1; i; i -= i & -i)
    least = MIN_OF(least, lows[i]);
  return least;
}

static void lower(double *lows, uint32_t slot, double loss) {
  for (uint32_t i = slot + 1; i <= SLOTS_MAX; i += i & -i)
    lows[i] = MIN_OF(lows[i], loss);
}

static double bandit_limit(const struct stop_rule *rule, double best) {
  const struct stop_conf *c = &rule->conf;
  if (c->has_slack_amount)
    return best + c->slack_amount;
  if (rule->maximize && best < 0) /* a positive value: the documented ratio */
    return best / (1 + c->slack_factor);
  return best + c->slack_factor * fabs(best);
}

static void judge_bandit(struct curve *curve, uint32_t slot, const struct stop_seen *seen, struct stop_verdict *ret) {
  double least = least_up_to(curve->lows, slot), best = seen->state->best;
  double limit = bandit_limit(&curve->rule, least);
  if (isinf(least) || ranks_compare(best, limit) <= 0)
    return;
  char value[32], bound[32], leader[32];
  stop_say(&curve->rule, seen, ret, best, limit, "at %s %.6g its best value %s is worse than %s, the slack allowed from the best, %s",
           curve->rule.unit, seen->iteration, stop_number(stop_sign(&curve->rule, best), value),
           stop_number(stop_sign(&curve->rule, limit), bound), stop_number(stop_sign(&curve->rule, least), leader));
}

/* One entry a trial, moved when its best improves. */
static bool rank_best(struct curve *curve, const struct stop_seen *seen, struct err *err) {
  struct stop_trial *own = &curve->rule.trials[seen->trial];
  bool first = own->reports == 1;
  if (curve->rule.conf.keep_best == 0 || (!first && ranks_compare(own->ranked, own->best) == 0))
    return true;
  if (!first)
    ranks_remove(&curve->best, own->ranked, seen->trial);
  own->ranked = own->best;
  return ranks_add(&curve->best, own->best, seen->trial) || err_no_memory(err);
}

/* The first slot at or after an iteration: from there on its value is known. */
static uint32_t slot_from(const struct stop_conf *c, double iteration) {
  double point = ceil(iteration / (double)c->evaluation_interval);
  uint32_t n = slots_up_to(point);
  uint32_t slot = n && (double)point_of_slot(n - 1) == point ? n - 1 : n;
  return MIN_OF(slot, (uint32_t)SLOTS_MAX - 1);
}

static bool curve_point(struct stop_rule *rule, const struct stop_seen *seen, struct stop_verdict *ret, struct err *err) {
  struct curve *curve = of(rule);
  uint32_t slot;
  if (curve->lows && !isnan(seen->loss))
    lower(curve->lows, slot_from(&rule->conf, seen->iteration), seen->loss);
  if (!rank_best(curve, seen, err) || !record(curve, seen, &slot, err))
    return false;
  if (slot == SLOTS_MAX)
    return true;
  if (rule->conf.type == STOP_BANDIT) {
    judge_bandit(curve, slot, seen, ret);
    return true;
  }
  const struct cell *cell = cell_at(curve, slot);
  if (!cell)
    return err_no_memory(err);
  if (rule->conf.type == STOP_TRUNCATION)
    judge_truncation(curve, cell, seen, ret);
  else if (rule->conf.type == STOP_PERCENTILE)
    judge_percentile(curve, cell, seen, ret);
  else
    judge_median(curve, cell, seen, ret);
  return true;
}

static bool curve_ended(struct stop_rule *rule, uint32_t trial, bool completed, struct err *err) {
  struct curve *curve = of(rule);
  const struct trail *trail = trial < curve->trail_count ? &curve->trails[trial] : NULL;
  if (rule->conf.type == STOP_MEDIAN && completed)
    for (size_t i = 0; trail && i < trail->count; i++)
      if (!cell_add(curve, trail->items[i].slot, trial, trail->items[i].loss, err))
        return false;
  trail_drop(curve, trial, rule->conf.type == STOP_TRUNCATION && rule->conf.exclude_finished_jobs);
  return true;
}

static void curve_forget(struct stop_rule *rule, uint32_t trial) {
  struct curve *curve = of(rule);
  trail_drop(curve, trial, rule->conf.type != STOP_MEDIAN);
  if (rule->conf.keep_best > 0 && rule->trials[trial].reports)
    ranks_remove(&curve->best, rule->trials[trial].ranked, trial);
}

enum { REPORTED_POINTS_MAX = 200 };

static void curve_report(const struct stop_rule *rule, struct json_writer *w) {
  const struct curve *curve = of((struct stop_rule *)(uintptr_t)rule);
  uint32_t listed = 0;
  jw_key(w, "points");
  jw_array(w);
  for (uint32_t slot = 0; slot < (curve->lows ? (uint32_t)SLOTS_MAX : curve->cell_count) && listed < REPORTED_POINTS_MAX; slot++) {
    uint32_t n = curve->lows ? 0 : ranks_count(&curve->cells[slot].losses);
    double least = curve->lows ? least_up_to(curve->lows, slot) : 0;
    if (curve->lows ? isinf(least) || (slot && least == least_up_to(curve->lows, slot - 1)) : n == 0)
      continue;
    jw_object(w);
    jw_put_f64(w, "at", iteration_of_slot(&rule->conf, slot));
    if (!curve->lows)
      jw_put_i64(w, "trials", n);
    jw_put_f64(w, "best", stop_sign(rule, curve->lows ? least : ranks_at(&curve->cells[slot].losses, 0)));
    if (!curve->lows)
      jw_put_f64(w, "median", stop_sign(rule, quantile(&curve->cells[slot].losses, 0.5)));
    jw_object_end(w);
    listed++;
  }
  jw_array_end(w);
}

static void curve_free(struct stop_rule *rule) {
  struct curve *curve = of(rule);
  for (uint32_t i = 0; i < curve->cell_count; i++) {
    ranks_release(&curve->cells[i].losses);
    mem_free(curve->cells[i].ring);
  }
  for (size_t i = 0; i < curve->trail_count; i++)
    mem_free(curve->trails[i].items);
  mem_free(curve->cells);
  mem_free(curve->trails);
  mem_free(curve->lows);
  ranks_release(&curve->best);
  mem_free(curve);
}

static const struct stop_ops curve_ops = {curve_point, curve_ended, curve_forget, curve_report, curve_free};

struct stop_rule *stop_curve_new(const struct stop_conf *conf, struct err *err) {
  struct curve *curve = mem_zalloc(sizeof *curve);
  double *lows = conf->type == STOP_BANDIT ? mem_array(SLOTS_MAX + 1, sizeof *lows) : NULL;
  if (!curve || (conf->type == STOP_BANDIT && !lows)) {
    mem_free(curve);
    mem_free(lows);
    err_no_memory(err);
    return NULL;
  }
  for (size_t i = 0; lows && i <= SLOTS_MAX; i++)
    lows[i] = INFINITY;
  curve->lows = lows;
  ranks_init(&curve->best, STOP_TRIALS_MAX);
  curve->rule.ops = &curve_ops;
  return &curve->rule;
}
