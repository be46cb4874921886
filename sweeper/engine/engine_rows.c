#include "sweeper/engine/engine_rows.h"

#include "base/mem.h"

static bool ring_reserve(struct ring *ring, uint32_t members) {
  if (members <= ring->cap)
    return true;
  uint32_t cap = MAX_OF(ring->cap * 2, MAX_OF(members, 16u));
  uint32_t *items = mem_array(cap, sizeof *items);
  if (!items)
    return false;
  for (uint32_t i = 0; i < ring->count; i++)
    items[i] = ring->items[(ring->first + i) % ring->cap];
  mem_free(ring->items);
  *ring = (struct ring){items, 0, ring->count, cap};
  return true;
}

void ring_add(struct ring *ring, uint32_t number) {
  ring->items[(ring->first + ring->count++) % ring->cap] = number;
}

uint32_t ring_take(struct ring *ring) {
  uint32_t number = ring->items[ring->first];
  ring->first = (ring->first + 1) % ring->cap;
  ring->count--;
  return number;
}

struct trial *trial_at(const struct engine *e, uint32_t number) {
  return shelf_at(&e->trials, number);
}

struct trial *trial_find(const struct engine *e, uint32_t number) {
  struct trial *t = number < e->count ? trial_at(e, number) : NULL;
  return t && t->row.version ? t : NULL;
}

void trial_make_ready(struct engine *e, struct trial *t) {
  if (t->course->ready)
    return;
  t->course->ready = true;
  ring_add(&e->ready, t->row.number);
}

static void set_live(struct engine *e, struct trial *t, bool live) {
  uint32_t number = t->row.number;
  if (t->course->live == live)
    return;
  t->course->live = live;
  if (live) {
    t->course->prev = NO_TRIAL;
    t->course->next = e->first_live;
    if (t->course->next != NO_TRIAL)
      trial_at(e, t->course->next)->course->prev = number;
    e->first_live = number;
    e->live++;
    return;
  }
  if (t->course->prev != NO_TRIAL)
    trial_at(e, t->course->prev)->course->next = t->course->next;
  else
    e->first_live = t->course->next;
  if (t->course->next != NO_TRIAL)
    trial_at(e, t->course->next)->course->prev = t->course->prev;
  e->live--;
}

static bool counts_as_failed(const struct engine_trial *row) {
  return row->state == RUN_FAILED || (row->state == RUN_LOST && row->dead);
}

static bool counts_as_succeeded(const struct engine_trial *row) {
  return row->state == RUN_FINISHED || row->state == RUN_STOPPED;
}

static void count_row(struct engine *e, const struct engine_trial *row, uint32_t by) {
  e->by_state[row->state] += by;
  e->failed += counts_as_failed(row) ? by : 0;
  e->succeeded += counts_as_succeeded(row) ? by : 0;
}

bool trial_is_written(const struct trial *t) {
  return !t->course || t->course->durable == t->row.version;
}

bool trial_open(struct engine *e, struct trial *t) {
  if (t->course)
    return true;
  if (!ring_reserve(&e->ready, e->courses + 1) || !ring_reserve(&e->waiting, e->courses + 1) ||
      !(t->course = mem_zalloc(sizeof *t->course)))
    return false;
  t->course->prev = t->course->next = NO_TRIAL;
  t->course->durable = t->row.version;
  t->course->durable_state = t->row.state;
  t->course->durable_attempt = t->row.attempt;
  t->course->durable_dead = t->row.dead;
  e->courses++;
  return true;
}

void trial_close(struct engine *e, struct trial *t) {
  const struct course *c = t->course;
  if (c->live || !trial_is_written(t) || c->writing || c->ready || c->retry || c->in_ring || c->dequeue || c->holds)
    return;
  mem_free(t->course);
  t->course = NULL;
  e->courses--;
}

void trial_change(struct engine *e, struct trial *t, struct engine_trial row) {
  if (trial_is_written(t))
    e->unwritten++;
  count_row(e, &t->row, UINT32_MAX); /* minus one */
  row.version = t->row.version + 1;
  t->row = row;
  count_row(e, &t->row, 1);
  set_live(e, t, !engine_row_is_over(&t->row));
  trial_make_ready(e, t);
}

bool trial_step(struct engine *e, struct trial *t, int event, enum engine_cause cause) {
  const struct fsm_edge *edge = fsm_step(&run_fsm, t->row.state, event);
  if (!edge)
    return false;
  struct engine_trial row = t->row;
  row.state = (uint8_t)edge->to;
  row.cause = (uint8_t)cause;
  if (edge->to == RUN_QUEUED) {
    row.dead = true;
    t->course->enqueued = false;
  }
  if (event == RUN_EV_PLACED || event == RUN_EV_ASKED) {
    row.attempt++;
    row.dead = false;
    t->course->started = t->course->ended = false;
  }
  trial_change(e, t, row);
  return true;
}

void trial_mark_dead(struct engine *e, struct trial *t) {
  if (t->row.dead)
    return;
  struct engine_trial row = t->row;
  row.dead = true;
  trial_change(e, t, row);
}

void trial_hold(struct engine *e, struct trial *t, bool holds) {
  if (t->course->holds == holds)
    return;
  t->course->holds = holds;
  e->holding += holds ? 1 : UINT32_MAX;
}

struct trial *trial_add(struct engine *e, const struct engine_trial *row, bool stored, struct err *err) {
  if (row->number >= ENGINE_TRIALS_MAX) {
    err_set(err, ERR_LIMIT, "a sweep has at most %d trials", ENGINE_TRIALS_MAX);
    return NULL;
  }
  struct trial *t = shelf_reserve(&e->trials, (size_t)row->number + 1) ? trial_at(e, row->number) : NULL;
  if (t)
    t->row = *row;
  if (!t || ((!stored || !engine_row_is_over(row)) && !trial_open(e, t))) {
    if (t)
      t->row = (struct engine_trial){0};
    err_no_memory(err);
    return NULL;
  }
  e->count = MAX_OF(e->count, row->number + 1);
  e->existing++;
  count_row(e, row, 1);
  if (!engine_row_is_over(row))
    set_live(e, t, true);
  if (stored)
    return t;
  t->course->durable = 0;
  t->course->durable_state = RUN_STATE_COUNT; /* not there */
  e->unwritten++;
  trial_make_ready(e, t);
  return t;
}
