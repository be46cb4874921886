#include <math.h>

#include "base/mem.h"
#include "sweeper/rules/stop_rule.h"

struct stop_set {
  struct arena arena;
  struct stop_goal goal;
  struct stop_rule *rules[STOP_RULES_MAX];
  size_t count;
};

static const struct {
  const char *name;
  struct stop_rule *(*make)(const struct stop_conf *conf, struct err *err);
} kinds[STOP_TYPE_COUNT] = {
    [STOP_NONE] = {"none", NULL},
    [STOP_ASHA] = {"asha", stop_ladder_new},
    [STOP_HYPERBAND] = {"hyperband", stop_ladder_new},
    [STOP_WANDB_HYPERBAND] = {"wandb_hyperband", stop_ladder_new},
    [STOP_MEDIAN] = {"median", stop_curve_new},
    [STOP_PERCENTILE] = {"percentile", stop_curve_new},
    [STOP_PATIENCE] = {"patience", stop_limit_new},
    [STOP_THRESHOLD] = {"threshold", stop_limit_new},
    [STOP_BANDIT] = {"bandit", stop_curve_new},
    [STOP_MEDIAN_STOPPING] = {"median_stopping", stop_curve_new},
    [STOP_TRUNCATION] = {"truncation_selection", stop_curve_new},
};

/* ---- making ---- */

static bool copy_text(struct arena *arena, struct str *text) {
  if (!text->p)
    return true;
  char *copy = arena_strdup(arena, *text);
  *text = copy ? str_n(copy, text->n) : STR_NONE;
  return copy != NULL;
}

static bool copy_goal(struct stop_set *set, const struct stop_goal *goal) {
  set->goal = *goal;
  set->goal.aliases.items = ARENA_NEW_ARRAY(&set->arena, struct str, goal->aliases.count + 1);
  if (!set->goal.aliases.items || !copy_text(&set->arena, &set->goal.metric))
    return false;
  for (size_t i = 0; i < goal->aliases.count; i++) {
    set->goal.aliases.items[i] = goal->aliases.items[i];
    if (!copy_text(&set->arena, &set->goal.aliases.items[i]))
      return false;
  }
  return true;
}

static bool is_goal(const struct stop_set *set, struct str key) {
  if (str_eq(key, set->goal.metric))
    return true;
  for (size_t i = 0; i < set->goal.aliases.count; i++)
    if (str_eq(key, set->goal.aliases.items[i]))
      return true;
  return false;
}

static bool add_rule(struct stop_set *set, const struct stop_conf *conf, struct err *err) {
  struct stop_conf own = *conf;
  if (!own.step_metric.p)
    own.step_metric = STR("auto");
  if (is_goal(set, own.metric))
    own.metric = STR_NONE; /* it is heard under every name that it has */
  if (!copy_text(&set->arena, &own.metric) || !copy_text(&set->arena, &own.step_metric))
    return err_no_memory(err);
  struct stop_rule *rule = kinds[conf->type].make(&own, err);
  if (!rule)
    return false;
  rule->conf = own;
  rule->maximize = set->goal.maximize && !own.metric.p; /* other metrics are minimised */
  rule->unit = str_is(own.step_metric, "auto") ? NULL : own.step_metric.p;
  set->rules[set->count++] = rule;
  return true;
}

bool stop_set_new(const struct stop_conf *confs, size_t count, const struct stop_goal *goal, struct stop_set **ret, struct err *err) {
  if (count > STOP_RULES_MAX)
    return err_set(err, ERR_INVALID, "more than %d rules", STOP_RULES_MAX);
  struct stop_set *set = mem_zalloc(sizeof *set);
  if (!set)
    return err_no_memory(err);
  arena_init(&set->arena, MIB);
  bool ok = copy_goal(set, goal) || err_no_memory(err);
  for (size_t i = 0; ok && i < count; i++)
    ok = confs[i].type == STOP_NONE || add_rule(set, &confs[i], err);
  if (!ok) {
    stop_set_free(set);
    return false;
  }
  *ret = set;
  return true;
}

void stop_set_free(struct stop_set *set) {
  if (!set)
    return;
  for (size_t i = 0; i < set->count; i++) {
    mem_free(set->rules[i]->trials);
    set->rules[i]->ops->free(set->rules[i]);
  }
  arena_release(&set->arena);
  mem_free(set);
}

/* ---- words ---- */

const char *stop_number(double value, char buf[32]) {
  if (isnan(value))
    return "NaN";
  snprintf(buf, 32, "%.6g", value);
  return buf;
}

void stop_say(const struct stop_rule *rule, const struct stop_seen *seen, struct stop_verdict *ret, double loss, double limit,
              const char *format, ...) {
  char left[32], right[32];
  ret->stop = true;
  ret->value = stop_sign(rule, loss);
  ret->limit = stop_sign(rule, limit);
  snprintf(ret->comparison, sizeof ret->comparison, "%s %s %s", stop_number(ret->value, left), rule->maximize ? "<" : ">",
           stop_number(ret->limit, right));
  va_list args;
  va_start(args, format);
  vsnprintf(ret->reason, sizeof ret->reason, format, args);
  va_end(args);
  ret->iteration = seen->iteration;
  ret->step = seen->step;
}

/* ---- feeding ---- */

static struct stop_trial *trial_state(struct stop_rule *rule, uint32_t trial) {
  if (trial >= STOP_TRIALS_MAX)
    return NULL;
  if (trial >= rule->trial_cap) {
    size_t cap = MAX_OF(rule->trial_cap * 2, MAX_OF((size_t)trial + 1, (size_t)64));
    struct stop_trial *bigger = mem_resize(rule->trials, cap, sizeof *bigger);
    if (!bigger)
      return NULL;
    memset(bigger + rule->trial_cap, 0, (cap - rule->trial_cap) * sizeof *bigger);
    rule->trials = bigger;
    rule->trial_cap = cap;
  }
  rule->trial_count = MAX_OF(rule->trial_count, (size_t)trial + 1);
  return &rule->trials[trial];
}

/* Epochs are said after all, and what came without one was measured before the training: it is no iteration. */
static void count_by_epochs(struct stop_rule *rule) {
  rule->unit = "epoch";
  rule->is_guess = false;
  for (size_t i = 0; i < rule->trial_count; i++) {
    struct stop_trial *state = &rule->trials[i];
    if (rule->ops->forget)
      rule->ops->forget(rule, (uint32_t)i);
    *state = (struct stop_trial){.ended = state->ended, .stopped = state->stopped};
  }
}

/* An "auto" rule counts epochs where the metric carries one. */
static void choose_unit(struct stop_rule *rule, const struct stop_point *point) {
  bool has_epoch = !isnan(point->epoch);
  if (!rule->unit) {
    rule->unit = has_epoch ? "epoch" : "report";
    rule->is_guess = !has_epoch;
  } else if (rule->is_guess && has_epoch && rule->longest <= 1) {
    count_by_epochs(rule);
  }
}

/* False: this report has no iteration, so most rules do not see it. */
static bool iteration_of(struct stop_rule *rule, const struct stop_trial *state, const struct stop_point *point, double *ret) {
  choose_unit(rule, point);
  double iteration = strcmp(rule->unit, "report") == 0  ? (double)state->reports + 1
                     : strcmp(rule->unit, "epoch") == 0 ? point->epoch
                     : strcmp(rule->unit, "step") == 0  ? (double)point->step
                                                        : state->key_iteration;
  *ret = iteration;
  return isfinite(iteration) && iteration > 0;
}

static void update(struct stop_rule *rule, struct stop_trial *state, double iteration, double loss) {
  bool first = state->reports == 0;
  if (first || isnan(state->best) || loss < state->best)
    state->best = loss;
  bool improved = !isnan(loss) && (first || isnan(state->anchor) || loss < state->anchor - rule->conf.min_delta);
  if (first || improved) {
    state->anchor = loss;
    state->best_iteration = iteration;
  }
  state->sum += loss;
  state->reports++;
  rule->longest = MAX_OF(rule->longest, state->reports);
  state->iteration = MAX_OF(state->iteration, iteration);
}

static bool feed_rule(struct stop_rule *rule, const struct stop_point *point, struct stop_verdict *ret, struct err *err) {
  struct stop_trial *state = trial_state(rule, point->trial);
  if (!state)
    return err_no_memory(err);
  struct stop_seen seen = {.trial = point->trial, .state = state, .value = point->value, .step = point->step};
  if ((rule->skip_nan && isnan(point->value)) || state->ended)
    return true;
  if (!iteration_of(rule, state, point, &seen.iteration)) {
    if (!rule->takes_all)
      return true;
    seen.iteration = state->iteration;
  }
  bool by_epochs = point->epochs > 0 && strcmp(rule->unit, "epoch") == 0; /* who goes on beyond them means something else by them */
  seen.is_last = by_epochs && seen.iteration >= point->epochs && seen.iteration < point->epochs + 1;
  seen.loss = stop_sign(rule, point->value);
  seen.previous = state->iteration;
  seen.previous_mean = state->reports ? state->sum / state->reports : seen.loss;
  update(rule, state, seen.iteration, seen.loss);
  if (!rule->ops->point(rule, &seen, ret, err))
    return false;
  if (ret->stop && !state->stopped) {
    state->stopped = true;
    rule->stopped++;
  }
  ret->rule = kinds[rule->conf.type].name;
  ret->unit = rule->unit;
  return true;
}

/* A metric that only counts iterations. */
static bool note_key(struct stop_rule *rule, const struct stop_point *point, struct err *err) {
  if (!rule->unit || !str_is(point->key, rule->unit))
    return true;
  struct stop_trial *state = trial_state(rule, point->trial);
  if (!state)
    return err_no_memory(err);
  state->key_iteration = point->value;
  return true;
}

bool stop_feed(struct stop_set *set, const struct stop_point *point, struct stop_verdict *ret, struct err *err) {
  struct stop_verdict first = {0};
  bool goal = is_goal(set, point->key);
  for (size_t i = 0; i < set->count; i++) {
    struct stop_rule *rule = set->rules[i];
    struct stop_verdict verdict = {0};
    if (!note_key(rule, point, err))
      return false;
    if (rule->conf.metric.p ? !str_eq(rule->conf.metric, point->key) : !goal)
      continue;
    if (!feed_rule(rule, point, &verdict, err))
      return false;
    if (verdict.stop && !first.stop)
      first = verdict;
  }
  *ret = first;
  return true;
}

bool stop_ended(struct stop_set *set, uint32_t trial, bool completed, struct err *err) {
  for (size_t i = 0; i < set->count; i++) {
    struct stop_rule *rule = set->rules[i];
    struct stop_trial *state = trial_state(rule, trial);
    if (!state)
      return err_no_memory(err);
    if (state->ended)
      continue;
    state->ended = true;
    if (rule->ops->ended && !rule->ops->ended(rule, trial, completed, err))
      return false;
  }
  return true;
}

void stop_forget(struct stop_set *set, uint32_t trial) {
  for (size_t i = 0; i < set->count; i++) {
    struct stop_rule *rule = set->rules[i];
    if (trial >= rule->trial_count)
      continue;
    if (rule->ops->forget)
      rule->ops->forget(rule, trial);
    rule->stopped -= rule->trials[trial].stopped; /* it counts again if it is stopped again */
    rule->trials[trial] = (struct stop_trial){0};
  }
}

size_t stop_report(const struct stop_set *set, size_t from, size_t limit, struct json_writer *w) {
  size_t end = MIN_OF(set->count, from + limit);
  jw_array(w);
  for (size_t i = from; i < end; i++) {
    const struct stop_rule *rule = set->rules[i];
    jw_object(w);
    jw_put_text(w, "rule", kinds[rule->conf.type].name);
    jw_put_str(w, "metric", rule->conf.metric.p ? rule->conf.metric : set->goal.metric);
    jw_put_text(w, "step_metric", rule->unit); /* null while an automatic one has seen nothing */
    jw_put_i64(w, "stopped", (int64_t)rule->stopped);
    if (rule->ops->report)
      rule->ops->report(rule, w);
    jw_object_end(w);
  }
  jw_array_end(w);
  return end < set->count ? end : 0;
}
