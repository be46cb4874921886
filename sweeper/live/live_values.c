/* What a trial reports: its value, and the stop rules' fold over the stitched view of its attempts.
 *
 * An attempt supersedes the earlier ones from its own first step on, key by key: who resumes keeps the head, who begins anew replaces all.
 * The rules only go forward, so at an attempt's first report they forget the trial and hear again what still holds; so does its value. */
#include "base/log.h"
#include "base/mem.h"
#include "sweeper/live/live.h"

enum { RECENT_MAX = 1000, SAID_MAX = 100000 };

/* A report of a trial that may yet have another attempt. */
struct live_said {
  struct str key; /* as the file spells it */
  uint32_t attempt;
  int64_t step;
  double value, epoch;
};

/* The goal's name or alias, as the file spells it; STR_NONE: it is not the goal. */
static struct str goal_key(const struct live_sweep *live, struct str key) {
  const struct sweep_metric *metric = &live->file->spec.metric;
  if (live->file->spec.has_metric && str_eq(key, metric->name))
    return metric->name;
  for (size_t i = 0; live->file->spec.has_metric && i < metric->aliases.count; i++)
    if (str_eq(key, metric->aliases.items[i]))
      return metric->aliases.items[i];
  return STR_NONE;
}

bool live_is_goal(const struct live_sweep *live, struct str key) {
  return goal_key(live, key).p != NULL;
}

/* The key as the file spells it, which lives as long as the sweep; STR_NONE when nobody looks at it. */
static struct str watched_key(const struct live_sweep *live, struct str key) {
  const struct spec_objects *rules = &live->file->spec.early_terminate;
  struct str goal = goal_key(live, key);
  if (goal.p)
    return goal;
  for (size_t i = 0; i < rules->count; i++) {
    const struct stop_conf *conf = &((const struct stop_conf *)rules->items)[i];
    if (conf->metric.p && str_eq(key, conf->metric))
      return conf->metric;
    if (conf->step_metric.p && str_eq(key, conf->step_metric))
      return conf->step_metric;
  }
  return STR_NONE;
}

static void add_key(struct spec_texts *keys, struct str key) {
  bool known = !key.p;
  for (size_t i = 0; i < keys->count && !known; i++)
    known = str_eq(keys->items[i], key);
  if (!known)
    keys->items[keys->count++] = key;
}

bool live_watched(const struct live_sweep *live, struct arena *arena, struct spec_texts *ret, struct err *err) {
  const struct sweep_metric *metric = &live->file->spec.metric;
  const struct spec_objects *rules = &live->file->spec.early_terminate;
  const struct stop_conf *confs = rules->items;
  *ret = (struct spec_texts){.items = ARENA_NEW_ARRAY(arena, struct str, 2 * rules->count + metric->aliases.count + 1)};
  if (!ret->items)
    return err_no_memory(err);
  for (size_t i = 0; i < rules->count; i++)
    add_key(ret, confs[i].step_metric);
  for (size_t i = 0; i < rules->count; i++)
    add_key(ret, confs[i].metric);
  for (size_t i = 0; i < metric->aliases.count && live->file->spec.has_metric; i++)
    add_key(ret, metric->aliases.items[i]);
  add_key(ret, live->file->spec.has_metric ? metric->name : STR_NONE);
  return true;
}

void live_note_missed(struct live_trial *trial) {
  const struct sweep_spec *spec = &trial->sweep->file->spec;
  const struct stop_conf *rules = spec->early_terminate.items;
  bool any = spec->has_metric;
  for (size_t i = 0; i < spec->early_terminate.count && !any; i++)
    any = rules[i].metric.p != NULL;
  if (trial->course)
    trial->course->missed += any;
}

bool live_watches(const struct live_sweep *live, struct str key) {
  return watched_key(live, key).p != NULL;
}

bool live_counts_by(const struct live_sweep *live, struct str key) {
  const struct spec_objects *rules = &live->file->spec.early_terminate;
  for (size_t i = 0; i < rules->count; i++)
    if (str_eq(key, ((const struct stop_conf *)rules->items)[i].step_metric))
      return true;
  return false;
}

/* Can a value be the best? What is better than every number is no result, as NaN is none. */
static bool is_worth(const struct live_sweep *live, double value) {
  return !isnan(value) && value != (live->file->spec.metric.goal == GOAL_MAXIMIZE ? INFINITY : -INFINITY);
}

static bool is_better(const struct live_sweep *live, double a, double b) {
  if (!is_worth(live, a) || !is_worth(live, b))
    return is_worth(live, a);
  return live->file->spec.metric.goal == GOAL_MAXIMIZE ? a > b : a < b;
}

/* The mean of the last k, which are kept for trials that go on. */
static double mean_of_last(struct live_trial *trial, double value) {
  int64_t k = MIN_OF(MAX_OF(trial->sweep->file->spec.metric.last_k, (int64_t)1), (int64_t)RECENT_MAX);
  double sum = 0;
  uint32_t n;
  if (!trial->course->recent)
    trial->course->recent = mem_array((size_t)k, sizeof *trial->course->recent);
  if (!trial->course->recent)
    return value;
  trial->course->recent[trial->course->recent_count++ % (uint32_t)k] = value;
  n = MIN_OF(trial->course->recent_count, (uint32_t)k);
  for (uint32_t i = 0; i < n; i++)
    sum += trial->course->recent[i];
  return sum / n;
}

void live_set_value(struct live_trial *trial, double value, int64_t step) {
  int use = trial->sweep->file->spec.metric.use;
  bool better = is_better(trial->sweep, value, trial->best);
  if (better)
    trial->best = value;
  trial->last = value;
  trial->last_step = step;
  if (use == USE_MEAN_LAST_K)
    value = mean_of_last(trial, value);
  if (use == USE_BEST && !better)
    return;
  trial->value = value;
  trial->value_step = step;
}

struct live_value live_value(const struct live_trial *trial) {
  return (struct live_value){
      .value = trial->value, .best = trial->best, .last = trial->last, .step = trial->value_step, .last_step = trial->last_step};
}

void live_each_value(const struct live_sweep *live, live_value_fn *each, void *ctx) {
  for (uint32_t number = UINT32_MAX; engine_next_live(live->engine, &number);) {
    const struct live_trial *trial = live_trial_at(live, number);
    if (!trial || !engine_trial(live->engine, number)->has_value)
      continue;
    struct live_value value = live_value(trial);
    each(ctx, trial->run, &value);
  }
}

void live_keep_best(struct live_trial *trial, const struct engine_trial *row) {
  struct live_sweep *live = trial->sweep;
  if (!live_counts(row->state) || !row->has_value || !is_worth(live, trial->value))
    return;
  bool worse = live->best && is_better(live, live->best_value, trial->value);
  if (!live->best || is_better(live, trial->value, live->best_value) || (!worse && trial->number < live->best->number)) {
    live->best = trial;
    live->best_value = trial->value;
  }
}

void live_find_best(struct live_sweep *live) {
  live->best = NULL;
  live->best_value = NAN;
  for (size_t i = 0; i < live->trial_count; i++)
    if (live_trial_at(live, i))
      live_keep_best(live_trial_at(live, i), engine_trial(live->engine, (uint32_t)i));
}

/* A value of the goal metric, unless the file says that NaN is none. */
static bool is_value(const struct live_sweep *live, struct str key, double value) {
  return live_is_goal(live, key) && !(isnan(value) && live->file->spec.on_nan == NAN_IGNORE);
}

/* The same report from two sources is stored twice, and is one. */
bool live_value_of(const struct sweep_file *file, const struct stored_point *points, size_t count, struct live_value *ret) {
  struct sweep_file read_only = *file;
  struct live_sweep live = {.file = &read_only};
  struct live_course course = {.heard_attempt = 0};
  struct live_trial trial = {.sweep = &live, .course = &course, .value = NAN, .best = NAN, .last = NAN};
  struct heard heard = {.items = NULL};
  bool any = false;
  for (size_t i = 0; i < count; i++) {
    const struct point *point = &points[i].point;
    bool again = heard_before(&heard, (uint32_t)i, points[i].key, point->step, point->value);
    if (again || !is_value(&live, points[i].key, point->value))
      continue;
    live_set_value(&trial, point->value, point->step);
    any = true;
  }
  heard_release(&heard);
  mem_free(course.recent);
  *ret = live_value(&trial);
  return any;
}

bool live_reaches_target(const struct live_sweep *live, double value) {
  const struct sweep_metric *metric = &live->file->spec.metric;
  return metric->has_target && is_worth(live, value) && (metric->goal == GOAL_MAXIMIZE ? value >= metric->target : value <= metric->target);
}

bool live_fails_of_nan(const struct live_trial *trial) {
  const struct sweep_spec *spec = &trial->sweep->file->spec;
  return spec->on_nan == NAN_FAIL && spec->has_metric && engine_trial(trial->sweep->engine, trial->number)->has_value &&
         isnan(trial->value);
}

/* ---- what was said ---- */

void live_forget_said(struct live_trial *trial) {
  if (!trial->course)
    return;
  mem_free(trial->course->said);
  mem_free(trial->course->recent);
  trial->course->said = NULL;
  trial->course->recent = NULL;
  trial->course->said_count = trial->course->said_cap = trial->course->recent_count = 0;
}

/* Beyond the ceiling, and without memory, a later attempt that resumes loses what was not kept. */
static void remember(struct live_trial *trial, struct str key, uint32_t attempt, const struct live_report *report) {
  if (trial->course->said_count == SAID_MAX)
    return;
  if (trial->course->said_count == trial->course->said_cap) {
    uint32_t cap = MAX_OF(trial->course->said_cap * 2, 8u);
    struct live_said *bigger = mem_resize(trial->course->said, cap, sizeof *bigger);
    if (!bigger)
      return;
    trial->course->said = bigger;
    trial->course->said_cap = cap;
  }
  trial->course->said[trial->course->said_count++] =
      (struct live_said){.key = key, .attempt = attempt, .step = report->step, .value = report->value, .epoch = report->epoch};
}

bool live_said(const struct live_trial *trial, uint32_t attempt, uint64_t **ret, size_t *ret_count) {
  uint64_t *hashes = trial->course->said_count < SAID_MAX ? mem_array(trial->course->said_count + 1, sizeof *hashes) : NULL;
  size_t n = 0;
  if (!hashes)
    return false;
  for (uint32_t i = 0; i < trial->course->said_count; i++)
    if (trial->course->said[i].attempt == attempt)
      hashes[n++] = heard_hash(trial->course->said[i].key, trial->course->said[i].step, trial->course->said[i].value);
  qsort(hashes, n, sizeof *hashes, heard_by_hash);
  *ret = hashes;
  *ret_count = n;
  return true;
}

/* Where trials are stopped the sampler needs to know what others had reported by then. What it has learned of a trial changes no more. */
static void note_curve(const struct live_trial *trial, const struct live_said *said) {
  struct live_sweep *live = trial->sweep;
  size_t at = history_find(live->history, trial->number);
  bool told = at != SIZE_MAX && history_state(live->history, at) != TRIAL_PENDING;
  bool is_late = told || trial->course->knows_first_end;
  if (!live->file->spec.early_terminate.count || is_late || !sampler_sees_curve(live->sampler, trial->number))
    return;
  if (shelf_reserve(&live->curves, (size_t)trial->number + 1)) /* without memory it only learns less */
    curve_hear(shelf_at(&live->curves, trial->number), isnan(said->epoch) ? (double)said->step : said->epoch, said->value);
}

bool live_show_curve(const struct live_trial *trial, struct err *err) {
  struct live_sweep *live = trial->sweep;
  return trial->number >= live->curves.cap || history_add_curve(live->history, trial->number, shelf_at(&live->curves, trial->number), err);
}

/* Of a whole training, where a parameter says so; 0: not known. */
static double epochs_of(const struct live_trial *trial) {
  struct live_course *c = trial->course;
  if (c->epochs == 0) {
    AUTO_JSON json_t *params = live_params(trial);
    double said = json_number_value(json_object_get(params, "epochs"));
    c->epochs = said > 0 ? said : -1;
  }
  return MAX_OF(c->epochs, 0.0);
}

static void feed(struct live_trial *trial, struct str key, const struct live_said *said, struct stop_verdict *ret) {
  struct live_sweep *live = trial->sweep;
  struct err err;
  struct stop_point point = {.trial = trial->number, .key = key, .value = said->value, .step = said->step, .epoch = said->epoch};
  if (live->rules && !isnan(said->epoch))
    point.epochs = epochs_of(trial);
  if (is_value(live, key, said->value)) {
    live_set_value(trial, said->value, said->step);
    note_curve(trial, said);
  }
  if (!live->rules || stop_feed(live->rules, &point, ret, &err))
    return;
  log_error("sweep", NULL, "%s: early termination is off until the next start: %s", live->name, err.text);
  stop_set_free(live->rules);
  live->rules = NULL;
}

void live_show_value(const struct live_trial *trial) {
  if (live_supposes_latest(trial->sweep))
    history_hear(trial->sweep->history, trial->number, trial->value);
}

/* The attempt whose report of this key was the last; 0: none. */
static uint32_t last_attempt(const struct live_trial *trial, struct str key) {
  for (uint32_t i = trial->course->said_count; i > 0; i--)
    if (str_eq(trial->course->said[i - 1].key, key))
      return trial->course->said[i - 1].attempt;
  return 0;
}

/* Takes out what the attempt supersedes with its first report of this key; true when that was anything. */
static bool supersede(struct live_trial *trial, struct str key, int64_t step) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < trial->course->said_count; i++)
    if (!str_eq(trial->course->said[i].key, key) || trial->course->said[i].step < step)
      trial->course->said[kept++] = trial->course->said[i];
  bool any = kept < trial->course->said_count;
  trial->course->said_count = kept;
  return any;
}

static void hear_again(struct live_trial *trial) {
  struct stop_verdict ignored; /* it was judged by them when they came */
  if (trial->sweep->rules)
    stop_forget(trial->sweep->rules, trial->number);
  trial->value = trial->best = trial->last = NAN;
  trial->value_step = trial->last_step = 0;
  trial->course->recent_count = 0;
  for (uint32_t i = 0; i < trial->course->said_count; i++)
    feed(trial, trial->course->said[i].key, &trial->course->said[i], &ignored);
}

void live_take_report(struct live_trial *trial, uint32_t attempt, const struct live_report *report, struct stop_verdict *ret_verdict,
                      bool *ret_target, bool *ret_goal) {
  struct live_sweep *live = trial->sweep;
  struct str key = watched_key(live, report->key);
  struct live_said said = {.step = report->step, .value = report->value, .epoch = report->epoch};
  *ret_goal = is_value(live, report->key, report->value);
  *ret_target = *ret_goal && live_reaches_target(live, report->value);
  *ret_verdict = (struct stop_verdict){.stop = false};
  bool newer = trial->course->heard_attempt && attempt > trial->course->heard_attempt;
  uint32_t last = key.p ? last_attempt(trial, key) : 0;
  bool other = last && last < attempt;
  if ((other && supersede(trial, key, report->step)) || newer)
    hear_again(trial);
  trial->course->heard_attempt = MAX_OF(trial->course->heard_attempt, attempt);
  remember(trial, key, attempt, report);
  feed(trial, report->key, &said, ret_verdict);
  live_show_value(trial);
}
