#include "sampler/history.h"

#include <math.h>

#include "base/mem.h"

enum { CHUNK = 1024 }; /* points in a block, so that growing copies none */

struct trial {
  double value; /* turned so that less is better; NaN: none */
  double step;
  uint8_t state;
};

struct history {
  const struct space *space;
  enum goal goal;
  size_t width; /* doubles in a point */
  double **chunks;
  size_t chunk_cap;
  struct trial *trials;
  size_t count, cap;
  uint32_t *events; /* place * 2 + 1 when it is a result */
  size_t event_count, event_cap;
  size_t told_count;
  uint32_t *by_number; /* place + 1 */
  size_t number_cap;
  uint32_t *pending; /* places, ascending */
  size_t pending_count, pending_cap;
  uint32_t *table; /* open addressing by the point's hash: place + 1 */
  size_t table_size;
  size_t best, latest, learnable, gone;
};

bool history_new(const struct space *space, enum goal goal, struct history **ret, struct err *err) {
  struct history *history = mem_zalloc(sizeof *history);
  if (!history)
    return err_no_memory(err);
  history->space = space;
  history->goal = goal;
  history->width = space_count(space);
  history->best = history->latest = SIZE_MAX;
  *ret = history;
  return true;
}

void history_free(struct history *history) {
  if (!history)
    return;
  for (size_t i = 0; i * CHUNK < history->count; i++)
    mem_free(history->chunks[i]);
  mem_free(history->chunks);
  mem_free(history->trials);
  mem_free(history->events);
  mem_free(history->by_number);
  mem_free(history->pending);
  mem_free(history->table);
  mem_free(history);
}

/* Makes room for one more element; zeroes what is new. */
static bool grow(void *pointer_to_array, size_t *cap, size_t needed, size_t size) {
  if (needed <= *cap)
    return true;
  size_t more = MAX_OF(needed, *cap + *cap / 2 + 64);
  void *old;
  memcpy(&old, pointer_to_array, sizeof old);
  char *grown = mem_resize(old, more, size);
  if (!grown)
    return false;
  memset(grown + *cap * size, 0, (more - *cap) * size);
  memcpy(pointer_to_array, &grown, sizeof grown);
  *cap = more;
  return true;
}

static double *point_at(const struct history *history, size_t index) {
  return history->chunks[index / CHUNK] + (index % CHUNK) * history->width;
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
    if (history->trials[i].state != TRIAL_GONE)
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
    if (history->trials[index].state != TRIAL_GONE && space_same(history->space, point_at(history, index), point))
      return true;
  }
  return false;
}

/* ---- adding ---- */

/* Everything that can fail, so that a failure changes nothing. */
static bool reserve(struct history *history, uint32_t number) {
  size_t chunk = history->count / CHUNK;
  if (!grow(&history->trials, &history->cap, history->count + 1, sizeof *history->trials) ||
      !grow(&history->events, &history->event_cap, 2 * history->count + 2, sizeof *history->events) ||
      !grow(&history->pending, &history->pending_cap, history->pending_count + 1, sizeof *history->pending) ||
      !grow(&history->chunks, &history->chunk_cap, chunk + 1, sizeof *history->chunks) || !table_reserve(history))
    return false;
  if (number != HISTORY_NO_NUMBER && !grow(&history->by_number, &history->number_cap, (size_t)number + 1, sizeof *history->by_number))
    return false;
  if (history->count % CHUNK == 0) {
    history->chunks[chunk] = mem_array(CHUNK * history->width, sizeof(double));
    if (!history->chunks[chunk])
      return false;
  }
  return true;
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
  history->trials[index] = (struct trial){.value = NAN, .step = -INFINITY, .state = TRIAL_PENDING};
  table_put(history, history->table, history->table_size, index);
  if (number != HISTORY_NO_NUMBER)
    history->by_number[number] = (uint32_t)index + 1;
  history->pending[history->pending_count++] = (uint32_t)index;
  history->events[history->event_count++] = (uint32_t)index * 2;
  *ret_index = index;
  return true;
}

static void settle(struct history *history, size_t index, const struct outcome *outcome) {
  struct trial *trial = &history->trials[index];
  trial->state = (uint8_t)outcome->state;
  if (outcome->state == TRIAL_FINISHED || outcome->state == TRIAL_STOPPED) {
    if (isfinite(outcome->value))
      trial->value = history->goal == GOAL_MAXIMIZE ? 0.0 - outcome->value : outcome->value + 0.0; /* no -0 */
    if (outcome->state == TRIAL_STOPPED && !isnan(outcome->value) && !isnan(outcome->step))
      trial->step = outcome->step;
  }
  history->events[history->event_count++] = (uint32_t)index * 2 + 1;
  history->told_count++;
  history->gone += outcome->state == TRIAL_GONE;
  history->learnable += outcome->state == TRIAL_STOPPED || (outcome->state == TRIAL_FINISHED && !isnan(trial->value));
  if (outcome->state == TRIAL_FINISHED && !isnan(trial->value))
    history->latest = index;
  if (outcome->state == TRIAL_FINISHED && !isnan(trial->value) &&
      (history->best == SIZE_MAX || trial->value < history->trials[history->best].value))
    history->best = index;
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

bool history_tell(struct history *history, uint32_t number, const struct outcome *outcome, struct err *err) {
  size_t index = history_find(history, number);
  if (!check_outcome(outcome, err))
    return false;
  if (index == SIZE_MAX)
    return err_set(err, ERR_NOT_FOUND, "there is no trial %u", (unsigned)number);
  if (history->trials[index].state != TRIAL_PENDING)
    return err_set(err, ERR_WRONG_STATE, "trial %u has its result already", (unsigned)number);
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
size_t history_count(const struct history *history) {
  return history->count;
}
const double *history_point(const struct history *history, size_t index) {
  return point_at(history, index);
}
enum trial_state history_state(const struct history *history, size_t index) {
  return (enum trial_state)history->trials[index].state;
}
double history_value(const struct history *history, size_t index) {
  return history->trials[index].value;
}
double history_step(const struct history *history, size_t index) {
  return history->trials[index].step;
}
size_t history_find(const struct history *history, uint32_t number) {
  return number < history->number_cap && history->by_number[number] ? history->by_number[number] - 1 : SIZE_MAX;
}
size_t history_tells(const struct history *history) {
  return history->told_count;
}
size_t history_events(const struct history *history) {
  return history->event_count;
}
size_t history_event(const struct history *history, size_t k, bool *ret_told) {
  *ret_told = history->events[k] & 1;
  return history->events[k] >> 1;
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

static int class_of(const struct trial *trial) {
  if (trial->state == TRIAL_FINISHED)
    return isnan(trial->value) ? 3 : 0;
  if (trial->state == TRIAL_STOPPED)
    return trial->step == -INFINITY ? 2 : 1;
  return 3;
}

bool history_before(const struct history *history, size_t a, size_t b) {
  const struct trial *x = &history->trials[a], *y = &history->trials[b];
  int cx = class_of(x), cy = class_of(y);
  if (cx != cy)
    return cx < cy;
  if (cx == 1 && x->step != y->step)
    return x->step > y->step;
  if (cx <= 1 && isnan(x->value) != isnan(y->value))
    return isnan(y->value);
  if (cx <= 1 && !isnan(x->value) && x->value != y->value)
    return x->value < y->value;
  return a < b;
}
