#include "sampler/history.h"

#include <math.h>

#include "base/mem.h"
#include "base/shelf.h"

struct result {
  double value; /* turned so that less is better; NaN: none; of a pending trial: what it has so far */
  double step;
};

struct history {
  const struct space *space;
  enum goal goal;
  enum supposed supposed;
  size_t width; /* doubles in a point */
  /* by place */
  struct shelf points, results, states;
  struct shelf curves; /* pointers; up to the last trial that has one */
  size_t count;
  struct shelf events; /* place * 2 + 1 when it is a result */
  size_t event_count;
  size_t told_count;
  struct shelf by_number; /* place + 1 */
  uint32_t *pending;      /* places, ascending */
  size_t pending_count, pending_cap;
  uint32_t *table; /* open addressing by the point's hash: place + 1 */
  size_t table_size;
  size_t best, worst, latest, learnable, gone;
};

bool history_new(const struct space *space, enum goal goal, struct history **ret, struct err *err) {
  struct history *history = mem_zalloc(sizeof *history);
  if (!history)
    return err_no_memory(err);
  history->space = space;
  history->goal = goal;
  history->width = space_count(space);
  history->points.size = MAX_OF(history->width, (size_t)1) * sizeof(double);
  history->results.size = sizeof(struct result);
  history->curves.size = sizeof(const struct curve *);
  history->states.size = sizeof(uint8_t);
  history->events.size = history->by_number.size = sizeof(uint32_t);
  history->best = history->worst = history->latest = SIZE_MAX;
  *ret = history;
  return true;
}

void history_free(struct history *history) {
  if (!history)
    return;
  shelf_release(&history->points), shelf_release(&history->results), shelf_release(&history->states);
  shelf_release(&history->curves);
  shelf_release(&history->events), shelf_release(&history->by_number);
  mem_free(history->pending);
  mem_free(history->table);
  mem_free(history);
}

void history_suppose(struct history *history, enum supposed supposed) {
  history->supposed = supposed;
}

static double *point_at(const struct history *history, size_t index) {
  return shelf_at(&history->points, index);
}

static struct result *result_at(const struct history *history, size_t index) {
  return shelf_at(&history->results, index);
}

static uint8_t *state_at(const struct history *history, size_t index) {
  return shelf_at(&history->states, index);
}

static void add_event(struct history *history, size_t index, bool told) {
  *(uint32_t *)shelf_at(&history->events, history->event_count++) = (uint32_t)index * 2 + told;
}

/* ---- the table of points ---- */

static void table_put(const struct history *history, uint32_t *table, size_t size, size_t index) {
  size_t at = space_hash(history->space, point_at(history, index)) & (size - 1);
  while (table[at])
    at = (at + 1) & (size - 1);
  table[at] = (uint32_t)index + 1;
}

static bool table_reserve(struct history *history) {
  if ((history->count + 1) * 2 <= history->table_size)
    return true;
  size_t size = history->table_size ? history->table_size * 2 : 256;
  uint32_t *table = mem_array(size, sizeof *table);
  if (!table)
    return false;
  for (size_t i = 0; i < history->count; i++)
    if (*state_at(history, i) != TRIAL_GONE)
      table_put(history, table, size, i);
  mem_free(history->table);
  history->table = table;
  history->table_size = size;
  return true;
}

bool history_has(const struct history *history, const double *point) {
  if (!history->table_size)
    return false;
  for (size_t at = space_hash(history->space, point) & (history->table_size - 1); history->table[at];
       at = (at + 1) & (history->table_size - 1)) {
    size_t index = history->table[at] - 1;
    if (*state_at(history, index) != TRIAL_GONE && space_same(history->space, point_at(history, index), point))
      return true;
  }
  return false;
}

/* ---- adding ---- */

/* Everything that can fail, so that a failure changes nothing. */
static bool reserve(struct history *history, uint32_t number) {
  if (history->pending_count == history->pending_cap) {
    size_t cap = history->pending_cap * 2 + 64;
    uint32_t *pending = mem_resize(history->pending, cap, sizeof *pending);
    if (!pending)
      return false;
    history->pending = pending;
    history->pending_cap = cap;
  }
  return shelf_reserve(&history->points, history->count + 1) && shelf_reserve(&history->results, history->count + 1) &&
         shelf_reserve(&history->states, history->count + 1) && shelf_reserve(&history->events, 2 * history->count + 2) &&
         table_reserve(history) && (number == HISTORY_NO_NUMBER || shelf_reserve(&history->by_number, (size_t)number + 1));
}

static bool add(struct history *history, uint32_t number, const double *point, size_t *ret_index, struct err *err) {
  if (history->count == HISTORY_MAX)
    return err_set(err, ERR_LIMIT, "a sweep has at most %zu trials", HISTORY_MAX);
  if (number != HISTORY_NO_NUMBER && number >= HISTORY_MAX)
    return err_set(err, ERR_INVALID, "trial numbers are below %zu", HISTORY_MAX);
  if (history_find(history, number) != SIZE_MAX)
    return err_set(err, ERR_EXISTS, "trial %u is there already", (unsigned)number);
  if (!reserve(history, number))
    return err_no_memory(err);
  size_t index = history->count++;
  memcpy(point_at(history, index), point, history->width * sizeof *point);
  *result_at(history, index) = (struct result){.value = NAN, .step = -INFINITY};
  *state_at(history, index) = TRIAL_PENDING;
  table_put(history, history->table, history->table_size, index);
  if (number != HISTORY_NO_NUMBER)
    *(uint32_t *)shelf_at(&history->by_number, number) = (uint32_t)index + 1;
  history->pending[history->pending_count++] = (uint32_t)index;
  add_event(history, index, false);
  *ret_index = index;
  return true;
}

/* Turned so that less is better, without -0; NaN when it is of no use. */
static double usable(const struct history *history, double value) {
  if (!isfinite(value))
    return NAN;
  return history->goal == GOAL_MAXIMIZE ? 0.0 - value : value + 0.0;
}

/* A finished trial with a value may be the best of all, or the worst. */
static void rank(struct history *history, size_t index) {
  double value = result_at(history, index)->value;
  history->latest = index;
  if (history->best == SIZE_MAX || value < result_at(history, history->best)->value)
    history->best = index;
  if (history->worst == SIZE_MAX || value > result_at(history, history->worst)->value)
    history->worst = index;
}

static void settle(struct history *history, size_t index, const struct outcome *outcome) {
  struct result *trial = result_at(history, index);
  *state_at(history, index) = (uint8_t)outcome->state;
  trial->value = NAN;
  if (outcome->state == TRIAL_FINISHED || outcome->state == TRIAL_STOPPED) {
    trial->value = usable(history, outcome->value);
    if (outcome->state == TRIAL_STOPPED && !isnan(outcome->value) && !isnan(outcome->step))
      trial->step = outcome->step;
  }
  add_event(history, index, true);
  history->told_count++;
  history->gone += outcome->state == TRIAL_GONE;
  history->learnable += history_is_learnable(history, index);
  if (outcome->state == TRIAL_FINISHED && !isnan(trial->value))
    rank(history, index);
  size_t at = history->pending_count;
  while (at > 0 && history->pending[at - 1] != index)
    at--;
  memmove(history->pending + at - 1, history->pending + at, (history->pending_count - at) * sizeof *history->pending);
  history->pending_count--;
}

bool history_add(struct history *history, uint32_t number, const double *point, size_t *ret_index, struct err *err) {
  size_t index;
  if (!add(history, number, point, &index, err))
    return false;
  if (ret_index)
    *ret_index = index;
  return true;
}

static bool check_outcome(const struct outcome *outcome, struct err *err) {
  if (outcome->state > TRIAL_PENDING && outcome->state <= TRIAL_GONE)
    return true;
  return err_set(err, ERR_INVALID, "a result has a final state");
}

static bool find_pending(const struct history *history, uint32_t number, size_t *ret_index, struct err *err) {
  *ret_index = history_find(history, number);
  if (*ret_index == SIZE_MAX)
    return err_set(err, ERR_NOT_FOUND, "there is no trial %u", (unsigned)number);
  if (*state_at(history, *ret_index) != TRIAL_PENDING)
    return err_set(err, ERR_WRONG_STATE, "trial %u has its result already", (unsigned)number);
  return true;
}

bool history_add_curve(struct history *history, uint32_t number, const struct curve *curve, struct err *err) {
  size_t index;
  if (!find_pending(history, number, &index, err))
    return false;
  if (!shelf_reserve(&history->curves, index + 1))
    return err_no_memory(err);
  *(const struct curve **)shelf_at(&history->curves, index) = curve;
  return true;
}

void history_hear(struct history *history, uint32_t number, double value) {
  size_t index = history_find(history, number);
  if (index != SIZE_MAX && *state_at(history, index) == TRIAL_PENDING)
    result_at(history, index)->value = usable(history, value);
}

bool history_tell(struct history *history, uint32_t number, const struct outcome *outcome, struct err *err) {
  size_t index;
  if (!check_outcome(outcome, err) || !find_pending(history, number, &index, err))
    return false;
  settle(history, index, outcome);
  return true;
}

bool history_add_told(struct history *history, uint32_t number, const double *point, const struct outcome *outcome, struct err *err) {
  size_t index;
  if (!check_outcome(outcome, err) || !add(history, number, point, &index, err))
    return false;
  settle(history, index, outcome);
  return true;
}

/* ---- reading ---- */

const struct space *history_space(const struct history *history) {
  return history->space;
}
enum goal history_goal(const struct history *history) {
  return history->goal;
}
enum supposed history_supposes(const struct history *history) {
  return history->supposed;
}
size_t history_count(const struct history *history) {
  return history->count;
}
const double *history_point(const struct history *history, size_t index) {
  return point_at(history, index);
}
enum trial_state history_state(const struct history *history, size_t index) {
  return (enum trial_state) * state_at(history, index);
}
double history_value(const struct history *history, size_t index) {
  return *state_at(history, index) == TRIAL_PENDING ? NAN : result_at(history, index)->value;
}
double history_supposed(const struct history *history, size_t index) {
  size_t like = index;
  if (history->supposed == SUPPOSE_NOTHING || *state_at(history, index) != TRIAL_PENDING)
    return NAN;
  if (history->supposed != SUPPOSE_LATEST)
    like = history->supposed == SUPPOSE_BEST ? history->best : history->worst;
  return like == SIZE_MAX ? NAN : result_at(history, like)->value;
}
const struct curve *history_curve(const struct history *history, size_t index) {
  return index < history->curves.cap ? *(const struct curve *const *)shelf_at(&history->curves, index) : NULL;
}
size_t history_find(const struct history *history, uint32_t number) {
  uint32_t place = number < history->by_number.cap ? *(const uint32_t *)shelf_at(&history->by_number, number) : 0;
  return place ? place - 1 : SIZE_MAX;
}
size_t history_tells(const struct history *history) {
  return history->told_count;
}
size_t history_events(const struct history *history) {
  return history->event_count;
}
size_t history_event(const struct history *history, size_t k, bool *ret_told) {
  uint32_t event = *(const uint32_t *)shelf_at(&history->events, k);
  *ret_told = event & 1;
  return event >> 1;
}
bool history_is_learnable(const struct history *history, size_t index) {
  uint8_t state = *state_at(history, index);
  return state == TRIAL_STOPPED || (state == TRIAL_FINISHED && !isnan(result_at(history, index)->value));
}
size_t history_learnable(const struct history *history) {
  return history->learnable;
}
size_t history_pending(const struct history *history) {
  return history->pending_count;
}
size_t history_pending_at(const struct history *history, size_t k) {
  return history->pending[k];
}
size_t history_gone(const struct history *history) {
  return history->gone;
}
size_t history_best(const struct history *history) {
  return history->best;
}

size_t history_latest(const struct history *history) {
  return history->latest;
}

static int class_of(const struct history *history, size_t index) {
  const struct result *trial = result_at(history, index);
  if (*state_at(history, index) == TRIAL_FINISHED)
    return isnan(trial->value) ? 3 : 0;
  if (*state_at(history, index) == TRIAL_STOPPED)
    return trial->step == -INFINITY ? 2 : 1;
  return 3;
}

/* Below 0: a is better; 0: neither is. */
static int compare(const struct history *history, size_t a, size_t b) {
  const struct result *x = result_at(history, a), *y = result_at(history, b);
  int cx = class_of(history, a), cy = class_of(history, b);
  if (cx != cy)
    return cx - cy;
  if (cx == 1 && x->step != y->step)
    return x->step > y->step ? -1 : 1;
  if (cx <= 1 && isnan(x->value) != isnan(y->value))
    return isnan(y->value) ? -1 : 1;
  if (cx <= 1 && !isnan(x->value) && x->value != y->value)
    return x->value < y->value ? -1 : 1;
  return 0;
}

bool history_before(const struct history *history, size_t a, size_t b) {
  int order = compare(history, a, b);
  return order ? order < 0 : a < b;
}

bool history_equal(const struct history *history, size_t a, size_t b) {
  return compare(history, a, b) == 0;
}
