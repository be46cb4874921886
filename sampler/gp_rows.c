#include "sampler/gp_rows.h"

#include <math.h>

#include "base/mem.h"

enum {
  KEEP_BEST = 400,
  KEEP_NEWEST = 300,
  WINDOW = 20000,   /* older trials are not looked at, but for the best */
  STAGE_ROWS = 300, /* further rows of a trial at earlier stages, newest trials first, up to so many rows in all */
  CELLS_MAX = 1000, /* more than a float has thirds of octaves */
  CELL_END = 10000  /* stands for the end of a training among the cells of its curve */
};

/* ---- which trials ---- */

bool gp_rows_wanted(const struct history *history, size_t trial) {
  enum trial_state state = history_state(history, trial);
  return state == TRIAL_FINISHED || state == TRIAL_STOPPED || state == TRIAL_FAILED;
}

static int before(const void *a, const void *b, void *ctx) {
  const uint32_t *x = a, *y = b;
  return history_before(ctx, *x, *y) ? -1 : history_before(ctx, *y, *x);
}

static int by_age(const void *a, const void *b) {
  const uint32_t *x = a, *y = b;
  return (*x > *y) - (*x < *y);
}

static int by_value(const void *a, const void *b) {
  const double *x = a, *y = b;
  return (*x > *y) - (*x < *y);
}

/* The trials whose results are not among the first so many, in order of age; NULL: no memory. */
static uint32_t *late_trials(const struct history *history, size_t results, size_t *ret_count) {
  size_t count = history_tells(history) - MIN_OF(results, history_tells(history)), n = 0;
  uint32_t *late = mem_array(MAX_OF(count, (size_t)1), sizeof *late);
  for (size_t k = history_events(history); late && n < count && k > 0; k--) {
    bool told;
    size_t trial = history_event(history, k - 1, &told);
    if (told)
      late[n++] = (uint32_t)trial;
  }
  if (late)
    qsort(late, n, sizeof *late, by_age);
  *ret_count = n;
  return late;
}

/* The trials with results but for the late ones; of too many the best, the newest and some of every rank. In order of age. `trials` has
 * room for WINDOW + 1. */
static size_t pick_trials(const struct history *history, const uint32_t *late, size_t late_count, uint32_t *trials) {
  size_t n = 0, total = history_count(history), first = total > WINDOW ? total - WINDOW : 0, best = history_best(history);
  for (size_t i = best < first ? best : first; i < total; i = i < first ? first : i + 1) {
    uint32_t trial = (uint32_t)i;
    if (gp_rows_wanted(history, i) && !(late_count && bsearch(&trial, late, late_count, sizeof *late, by_age)))
      trials[n++] = trial;
  }
  if (n <= GP_ROWS_MAX)
    return n;
  uint32_t newest_from = trials[n - KEEP_NEWEST];
  qsort_r(trials, n, sizeof *trials, before, (void *)(uintptr_t)history);
  size_t kept = 0, spread = GP_ROWS_MAX - KEEP_BEST - KEEP_NEWEST, others = n - KEEP_BEST, step = others / spread + 1;
  for (size_t k = 0; k < n; k++)
    if (k < KEEP_BEST || trials[k] >= newest_from || (k - KEEP_BEST) % step == 0)
      trials[kept++] = trials[k];
  qsort(trials, kept, sizeof *trials, by_age);
  return kept;
}

/* A stopped trial would hardly have become better than half of the finished ones: its value counts, but not as better than their median. */
static void lift_stopped(const struct history *history, const uint32_t *trials, size_t n, double *values, double *sorted) {
  size_t finished = 0;
  for (size_t i = 0; i < n; i++)
    if (history_state(history, trials[i]) == TRIAL_FINISHED && !isnan(values[i]))
      sorted[finished++] = values[i];
  qsort(sorted, finished, sizeof *sorted, by_value);
  for (size_t i = 0; finished && i < n; i++)
    if (history_state(history, trials[i]) == TRIAL_STOPPED)
      values[i] = isnan(values[i]) ? sorted[finished - 1] : fmax(values[i], sorted[finished / 2]);
}

/* ---- stages ---- */

/* The cells that curves have values in, in order, the end last: by how much a value in one differs from that in the end; and where trials
 * were stopped. */
struct stages {
  const struct history *history;
  const uint32_t *trials;
  size_t trial_count;
  int *cells;
  double *gains;
  bool *stopped_in;
  size_t count, first; /* first: where the earliest trial was stopped */
};

/* NULL when it has reported nothing. */
static const struct curve *curve_of(const struct stages *stages, size_t i) {
  const struct curve *curve = history_curve(stages->history, stages->trials[i]);
  return curve && curve->count ? curve : NULL;
}

static double turned(const struct history *history, float value) {
  return history_goal(history) == GOAL_MAXIMIZE ? -(double)value : value;
}

/* Was it stopped, with a curve that says how far it had come? One that ended without a value is no better for what it had before. */
static bool is_partial(const struct stages *stages, size_t i) {
  return history_state(stages->history, stages->trials[i]) == TRIAL_STOPPED && curve_of(stages, i) &&
         !isnan(history_value(stages->history, stages->trials[i]));
}

static double value_in(const struct stages *stages, size_t i, int cell) {
  const struct curve *curve = curve_of(stages, i);
  bool finished = history_state(stages->history, stages->trials[i]) == TRIAL_FINISHED;
  if (cell == CELL_END)
    return finished ? history_value(stages->history, stages->trials[i]) : NAN;
  for (unsigned k = 0; curve && k < curve->count; k++)
    if (curve_cell(curve->at[k]) == cell)
      return turned(stages->history, curve->value[k]);
  return NAN;
}

static size_t place_of(const struct stages *stages, int cell) {
  size_t at = 0;
  while (at < stages->count && stages->cells[at] < cell)
    at++;
  return at;
}

static void add_cell(struct stages *stages, int cell) {
  size_t at = place_of(stages, cell);
  if (at < stages->count && stages->cells[at] == cell)
    return;
  memmove(stages->cells + at + 1, stages->cells + at, (stages->count - at) * sizeof *stages->cells);
  stages->cells[at] = cell;
  stages->count++;
}

/* What becomes of a value from one cell to the next: the median over the trials that have both. */
static double gain_between(const struct stages *stages, int from, int to, double *scratch) {
  size_t n = 0;
  for (size_t i = 0; i < stages->trial_count; i++) {
    double gain = value_in(stages, i, to) - value_in(stages, i, from);
    if (isfinite(gain))
      scratch[n++] = gain;
  }
  qsort(scratch, n, sizeof *scratch, by_value);
  return n ? scratch[n / 2] : 0;
}

static void stages_release(struct stages *stages) {
  mem_free(stages->cells), mem_free(stages->gains), mem_free(stages->stopped_in);
}

static bool stages_init(struct stages *stages, const struct history *history, const uint32_t *trials, size_t n, double *scratch) {
  *stages = (struct stages){.history = history, .trials = trials, .trial_count = n};
  stages->cells = mem_array(CELLS_MAX, sizeof *stages->cells);
  stages->gains = mem_array(CELLS_MAX, sizeof *stages->gains);
  stages->stopped_in = mem_array(CELLS_MAX, sizeof *stages->stopped_in);
  if (!stages->cells || !stages->gains || !stages->stopped_in)
    return false;
  add_cell(stages, CELL_END);
  for (size_t i = 0; i < n; i++)
    for (unsigned k = 0; curve_of(stages, i) && k < curve_of(stages, i)->count; k++)
      add_cell(stages, curve_cell(curve_of(stages, i)->at[k]));
  for (size_t c = stages->count - 1; c-- > 0;)
    stages->gains[c] = stages->gains[c + 1] + gain_between(stages, stages->cells[c], stages->cells[c + 1], scratch);
  stages->first = stages->count - 1;
  for (size_t i = 0; i < n; i++)
    if (is_partial(stages, i)) {
      size_t at = place_of(stages, curve_cell(curve_of(stages, i)->at[curve_of(stages, i)->count - 1]));
      stages->stopped_in[at] = true;
      stages->first = MIN_OF(stages->first, at);
    }
  return true;
}

static bool any_partial(const struct stages *stages) {
  return stages->first + 1 < stages->count;
}

/* Cells are thirds of octaves, so this grows with the logarithm of the progress. */
static double stage_at(const struct stages *stages, size_t place) {
  if (place + 1 == stages->count)
    return 1;
  int first = stages->cells[stages->first], end = stages->cells[stages->count - 2] + 1;
  return (double)(stages->cells[place] - first) / (double)(end - first);
}

/* ---- rows ---- */

static void put_row(struct gp_rows *rows, const struct history *history, uint32_t trial, double value, double stage) {
  size_t width = space_count(history_space(history));
  memcpy(rows->points + rows->count * width, history_point(history, trial), width * sizeof *rows->points);
  if (rows->stages)
    rows->stages[rows->count] = stage;
  rows->values[rows->count++] = value;
}

/* A row for each trial; a stopped one's as far as it came, and not better than its last value. */
static void put_last(struct gp_rows *rows, const struct stages *stages, const double *values) {
  for (size_t i = 0; i < stages->trial_count; i++) {
    const struct curve *curve = curve_of(stages, i);
    if (!is_partial(stages, i)) {
      put_row(rows, stages->history, stages->trials[i], values[i], 1);
      continue;
    }
    size_t at = place_of(stages, curve_cell(curve->at[curve->count - 1]));
    double value = fmax(turned(stages->history, curve->value[curve->count - 1]), history_value(stages->history, stages->trials[i]));
    put_row(rows, stages->history, stages->trials[i], value + stages->gains[at], stage_at(stages, at));
  }
}

/* What trials had where others were stopped. */
static void put_passed(struct gp_rows *rows, const struct stages *stages, size_t most) {
  for (size_t i = stages->trial_count; i-- > 0;) {
    const struct curve *curve = curve_of(stages, i);
    for (unsigned k = 0; curve && k + is_partial(stages, i) < curve->count; k++) {
      size_t at = place_of(stages, curve_cell(curve->at[k]));
      if (stages->stopped_in[at] && rows->count < most)
        put_row(rows, stages->history, stages->trials[i], turned(stages->history, curve->value[k]) + stages->gains[at],
                stage_at(stages, at));
    }
  }
}

/* The newest so many: first the rows of those that count as a value, then the others. */
static void put_pending(struct gp_rows *rows, const struct history *history, size_t newest, bool suppose) {
  size_t width = space_count(history_space(history)), all = history_pending(history);
  for (size_t i = all - newest; suppose && i < all; i++) {
    size_t trial = history_pending_at(history, i);
    double value = history_supposed(history, trial);
    if (!isnan(value))
      put_row(rows, history, (uint32_t)trial, value, 1);
  }
  for (size_t i = all - newest; i < all; i++) {
    size_t trial = history_pending_at(history, i);
    if (!suppose || isnan(history_supposed(history, trial)))
      memcpy(rows->points + (rows->count + rows->pending++) * width, history_point(history, trial), width * sizeof *rows->points);
  }
}

static bool fill(struct gp_rows *rows, const struct history *history, const uint32_t *trials, size_t n, double *values, double *scratch) {
  struct stages stages;
  bool ok = stages_init(&stages, history, trials, n, scratch);
  if (ok) {
    for (size_t i = 0; i < n; i++)
      values[i] = history_value(history, trials[i]);
    lift_stopped(history, trials, n, values, scratch);
    put_last(rows, &stages, values);
    if (any_partial(&stages)) {
      put_passed(rows, &stages, MAX_OF(n, (size_t)STAGE_ROWS));
    } else {
      mem_free(rows->stages);
      rows->stages = NULL;
    }
  }
  stages_release(&stages);
  return ok;
}

bool gp_rows_take(const struct history *history, size_t results, struct gp_rows *ret, struct err *err) {
  size_t late_count, n = 0, width = space_count(history_space(history));
  uint32_t *trials = mem_array(MIN_OF(history_count(history), (size_t)WINDOW) + 1, sizeof *trials);
  uint32_t *late = late_trials(history, results, &late_count);
  if (trials && late)
    n = pick_trials(history, late, late_count, trials);
  size_t pending = MIN_OF(history_pending(history), (size_t)GP_ROWS_MAX), most = MAX_OF(n, (size_t)STAGE_ROWS) + pending;
  *ret = (struct gp_rows){.count = 0};
  ret->points = mem_array(most * width, sizeof *ret->points);
  ret->values = mem_array(most, sizeof *ret->values);
  ret->stages = mem_array(most, sizeof *ret->stages);
  double *scratch = mem_array(n, 2 * sizeof *scratch);
  bool ok = trials && late && ret->points && ret->values && ret->stages && scratch && fill(ret, history, trials, n, scratch, scratch + n);
  mem_free(trials), mem_free(late), mem_free(scratch);
  if (ok)
    put_pending(ret, history, pending, results == GP_ROWS_NOW);
  else
    gp_rows_release(ret);
  return ok || err_no_memory(err);
}

void gp_rows_release(struct gp_rows *rows) {
  mem_free(rows->points), mem_free(rows->values), mem_free(rows->stages);
  *rows = (struct gp_rows){.count = 0};
}
