#include "sweeper/engine/engine.h"

#include "base/mem.h"
#include "sweeper/engine/engine_rows.h"

/* ---- the sweep's own state ---- */

static const char *const why_texts[] = {
    [WHY_NONE] = "",
    [WHY_DRAINED] = "a person wants no new trials",
    [WHY_STOPPED] = "a person stopped it",
    [WHY_TARGET] = "a trial has reached the target",
    [WHY_TIME] = "max_time is used up",
    [WHY_SLOT_TIME] = "max_slot_time is used up",
    [WHY_GAVE_UP] = "its first trials have all failed",
    [WHY_FAILURES] = "max_failures trials have failed",
    [WHY_ALL_MADE] = "run_cap trials were made",
    [WHY_EXHAUSTED] = "every point of the space was tried",
    [WHY_ALL_FAILED] = "all its trials have failed",
    [WHY_RETRIED] = "a trial was tried again after its end",
    [WHY_STOPPED_RETRIED] = "a person stopped it, and a trial was tried again after that",
    [WHY_IN_TRASH] = "its experiment was put into the trash",
};

const char *engine_why_text(enum engine_why why) {
  return why_texts[why];
}

static bool sweep_step(struct engine *e, int event, enum engine_why why) {
  const struct fsm_edge *edge = fsm_step(&sweep_fsm, e->sweep.state, event);
  if (!edge)
    return false;
  e->sweep.state = (uint8_t)edge->to;
  e->sweep.why = (uint8_t)why;
  e->sweep.version++;
  return true;
}

static bool sweep_over(const struct engine *e) {
  return fsm_is_final(&sweep_fsm, e->sweep.state);
}

static bool is_retried(const struct engine *e) {
  return e->sweep.why == WHY_RETRIED || e->sweep.why == WHY_STOPPED_RETRIED;
}

/* It is not over in the sense that all was done. */
static bool was_stopped(const struct engine *e) {
  return e->sweep.why == WHY_STOPPED || e->sweep.why == WHY_STOPPED_RETRIED;
}

/* No trial of it starts any more. */
static bool winds_up(const struct engine *e) {
  return e->sweep.state == SWEEP_DRAINING && !is_retried(e);
}

static bool gave_up(const struct engine *e) {
  return e->sweep.why == WHY_GAVE_UP || e->sweep.why == WHY_FAILURES || e->sweep.why == WHY_ALL_FAILED;
}

/* ---- slot time, elapsed time ---- */

static void pass_time(struct engine *e, int64_t now) {
  int64_t passed = now - e->now;
  if (passed <= 0)
    return;
  e->now = now;
  if (sweep_over(e))
    return;
  e->sweep.elapsed_ms += passed;
  e->sweep.slot_ms += passed * e->holding * MAX_OF(e->conf.slots, 1u);
}

/* ---- making and loading ---- */

struct engine_conf engine_conf_of_file(const struct sweep_spec *spec) {
  return (struct engine_conf){
      .run_cap = spec->run_cap,
      .max_parallel = (uint32_t)spec->max_parallel,
      .max_time_ms = spec->max_time,
      .max_slot_ms = spec->max_slot_time,
      .max_failures = spec->max_failures,
      .give_up_after = spec->give_up_after,
      .retries_max = spec->retries.max,
      .retries_on = spec->retries.on,
      .lease_ms = ENGINE_LEASE_MS,
      .lost_after_ms = spec->executor == EXECUTOR_LOCAL ? 0 : ENGINE_LOST_AFTER_MS,
      .stop_grace_ms = spec->stop_grace,
      .slots = (uint32_t)spec->resources.slots,
      .asks = !spec->has_command,
      .needs_value = spec->has_metric,
  };
}

bool engine_new(const struct engine_conf *conf, const struct engine_sweep *row, int64_t now, struct engine **ret, struct err *err) {
  struct engine *e = mem_zalloc(sizeof *e);
  if (!e)
    return err_no_memory(err);
  e->conf = *conf;
  e->now = now;
  e->first_live = NO_TRIAL;
  e->trials = (struct shelf)SHELF_INIT(struct trial);
  if (row) {
    e->sweep = *row;
    e->sweep_durable = row->version;
  } else {
    e->sweep = (struct engine_sweep){.version = 1, .state = SWEEP_RUNNING};
  }
  *ret = e;
  return true;
}

void engine_free(struct engine *e) {
  if (!e)
    return;
  for (uint32_t i = 0; i < e->count; i++)
    mem_free(trial_at(e, i)->course);
  shelf_release(&e->trials);
  mem_free(e->ready.items);
  mem_free(e->waiting.items);
  mem_free(e);
}

static int64_t lease_of(const struct engine *e, const struct trial *t) {
  return t->row.lease_ms ? t->row.lease_ms : e->conf.lease_ms;
}

bool engine_load(struct engine *e, const struct engine_trial *row, struct err *err) {
  if (!row->version || row->state >= RUN_STATE_COUNT || trial_find(e, row->number))
    return err_set(err, ERR_INVALID, "the row of trial %u is wrong or stands there twice", row->number);
  return trial_add(e, row, true, err) != NULL;
}

void engine_load_slot_ms(struct engine *e, int64_t slot_ms) {
  e->sweep.slot_ms = MAX_OF(e->sweep.slot_ms, slot_ms);
}

static void wait_for_ask(struct engine *e, struct trial *t) {
  if (!t->course->in_ring)
    ring_add(&e->waiting, t->row.number);
  t->course->in_ring = true;
}

void engine_loaded(struct engine *e, int64_t now) {
  e->now = now;
  for (uint32_t i = 0; i < e->count; i++) {
    struct trial *t = trial_at(e, i);
    if (!t->course || !t->course->live)
      continue;
    t->course->lease_until = now + lease_of(e, t);
    trial_hold(e, t, !e->conf.asks && !t->row.dead && t->row.state != RUN_QUEUED);
    trial_make_ready(e, t);
    if (e->conf.asks && t->row.state == RUN_LOST) /* its lease had ended before */
      wait_for_ask(e, t);
  }
}

/* ---- what is to be done ---- */

/* Numbers below the highest without a trial: after a crash there may be gaps. */
static uint32_t missing(const struct engine *e) {
  return e->count - e->existing;
}

/* Whether nothing more will come, and why. */
static enum engine_why all_made(const struct engine *e) {
  if (e->conf.run_cap && e->existing >= (uint64_t)e->conf.run_cap)
    return WHY_ALL_MADE;
  return e->sweep.exhausted ? WHY_EXHAUSTED : WHY_NONE;
}

static void check_done(struct engine *e) {
  if (sweep_over(e) || e->live || e->holding || e->unwritten || e->sweep_durable != e->sweep.version)
    return;
  bool all_failed = e->failed && !e->succeeded;
  if (e->sweep.state == SWEEP_DRAINING && e->sweep.why == WHY_RETRIED && all_failed)
    sweep_step(e, SWEEP_EV_DONE_FAILED, WHY_ALL_FAILED);
  else if (e->sweep.state == SWEEP_DRAINING)
    sweep_step(e,
               was_stopped(e) ? SWEEP_EV_DONE_STOPPED
               : gave_up(e)   ? SWEEP_EV_DONE_FAILED
                              : SWEEP_EV_DONE,
               (enum engine_why)e->sweep.why);
  else if (e->sweep.state == SWEEP_RUNNING && all_made(e) != WHY_NONE && !missing(e)) {
    if (all_failed)
      sweep_step(e, SWEEP_EV_GIVE_UP, WHY_ALL_FAILED);
    else
      sweep_step(e, SWEEP_EV_DONE, all_made(e));
  }
}

static struct engine_todo todo(enum engine_todo_kind kind, const struct trial *t) {
  return (struct engine_todo){.kind = kind, .trial = t->row};
}

/* A sweep that makes no new trials starts no waiting ones; one that was stopped ends the running ones. */
static void follow_sweep(struct engine *e, struct trial *t) {
  bool waits = t->row.state == RUN_QUEUED;
  bool runs = t->row.state == RUN_STARTING || t->row.state == RUN_RUNNING || (t->row.state == RUN_LOST && !t->row.dead);
  if (!e->swept || !winds_up(e) || !(waits || (runs && e->sweep.why == WHY_STOPPED)))
    return;
  t->course->dequeue |= waits && t->course->enqueued && !e->conf.asks;
  trial_step(e, t, RUN_EV_KILL, CAUSE_SWEEP);
}

/* New rows go in batches, one after the other: a later number is never stored without an earlier one. */
static bool may_create(const struct engine *e) {
  return e->batch_open || (!e->creating && !e->batch_failed);
}

static struct engine_todo write_todo(struct engine *e, struct trial *t) {
  struct engine_todo next = todo(TODO_WRITE_TRIAL, t);
  t->course->writing = t->row.version;
  t->course->writing_state = t->row.state;
  t->course->writing_attempt = t->row.attempt;
  t->course->writing_dead = t->row.dead;
  if (!t->course->durable) {
    next.creation = e->batch_open = true;
    e->creating++;
  }
  return next;
}

/* The batch is stored, or goes again: the new rows that had to wait are next. */
static void next_batch(struct engine *e) {
  for (uint32_t n = e->count; n > 0; n--) {
    struct trial *t = trial_find(e, n - 1);
    if (t && (!t->course || t->course->durable))
      return;
    if (t)
      trial_make_ready(e, t);
  }
}

/* A verdict can wait until its worker hears of it; what a person has ended cannot, since the worker may be gone. */
static bool must_end(const struct engine *e, const struct trial *t) {
  return t->row.cause != CAUSE_VERDICT || (e->swept && e->sweep.why == WHY_STOPPED);
}

/* The next thing this trial asks for. */
static struct engine_todo trial_todo(struct engine *e, struct trial *t) {
  follow_sweep(e, t);
  if (t->course->holds && t->row.dead &&
      t->course->durable_dead) { /* not before: after a crash the row must not claim slots that another has */
    trial_hold(e, t, false);
    return todo(TODO_RELEASE, t);
  }
  if (t->course->dequeue) {
    t->course->dequeue = false;
    return todo(TODO_DEQUEUE, t);
  }
  if (!trial_is_written(t) && !t->course->writing && !t->course->retry && (t->course->durable || may_create(e)))
    return write_todo(e, t);
  if (t->course->durable_state != t->row.state || t->course->durable_attempt != t->row.attempt)
    return (struct engine_todo){TODO_NONE};
  if (t->row.state == RUN_QUEUED && !t->course->enqueued) {
    t->course->enqueued = true;
    if (!e->conf.asks)
      return todo(TODO_ENQUEUE, t);
    wait_for_ask(e, t);
  }
  if (t->row.state == RUN_STARTING && !t->course->started && !t->row.dead) {
    t->course->started = true;
    t->course->lease_until = e->now + e->conf.lease_ms; /* the store may have taken long */
    return todo(TODO_START, t);
  }
  if (t->row.state == RUN_STOPPING && !t->course->ended && (!e->conf.asks || must_end(e, t))) {
    t->course->ended = true;
    if (!e->conf.asks)
      return todo(TODO_END, t);
    t->course->lease_until = MIN_OF(t->course->lease_until, e->now + e->conf.stop_grace_ms);
  }
  return (struct engine_todo){TODO_NONE};
}

/* A sweep that was over is stored as going on before its trial is: else nobody would look after that one after a crash. */
static bool reopens(const struct engine *e) {
  return e->sweep.state == SWEEP_DRAINING && is_retried(e) && !e->swept;
}

struct engine_todo engine_next(struct engine *e) {
  for (;;) {
    check_done(e);
    if (e->sweep_durable != e->sweep.version && !e->sweep_writing && !e->sweep_retry) {
      e->sweep_writing = e->sweep.version;
      return (struct engine_todo){.kind = TODO_WRITE_SWEEP, .sweep = e->sweep};
    }
    /* What a sweep's end means for its trials follows when it is durable. */
    if (e->sweep.state == SWEEP_DRAINING && e->sweep_durable == e->sweep.version && !e->swept) {
      e->swept = true;
      for (uint32_t n = e->first_live; n != NO_TRIAL; n = trial_at(e, n)->course->next)
        trial_make_ready(e, trial_at(e, n));
    }
    if (!e->ready.count || reopens(e)) {
      e->batch_open = false;
      return (struct engine_todo){TODO_NONE};
    }
    struct trial *t = trial_at(e, e->ready.items[e->ready.first]);
    struct engine_todo next = trial_todo(e, t);
    if (next.kind != TODO_NONE)
      return next;
    ring_take(&e->ready);
    t->course->ready = false;
    trial_close(e, t);
  }
}

void engine_sweep_written(struct engine *e, uint64_t version, bool ok) {
  if (e->sweep_writing == version)
    e->sweep_writing = 0;
  if (ok)
    e->sweep_durable = MAX_OF(e->sweep_durable, version);
  else
    e->sweep_retry = true;
}

void engine_trial_written(struct engine *e, uint32_t number, uint32_t version, bool ok) {
  struct trial *t = trial_find(e, number);
  if (!t || !t->course || t->course->writing != version)
    return;
  t->course->writing = 0;
  bool creation = !t->course->durable;
  if (creation) {
    e->creating--;
    e->batch_failed |= !ok;
  }
  if (!ok) {
    t->course->retry = true;
    e->write_again++;
    return;
  }
  t->course->durable = version;
  t->course->durable_state = t->course->writing_state;
  t->course->durable_attempt = t->course->writing_attempt;
  t->course->durable_dead = t->course->writing_dead;
  if (trial_is_written(t))
    e->unwritten--;
  trial_make_ready(e, t);
  if (creation && !e->creating)
    next_batch(e);
}

/* ---- new trials ---- */

/* Of a paused sweep they wait. */
static bool takes_trials(const struct engine *e) {
  return (e->sweep.state == SWEEP_RUNNING || e->sweep.state == SWEEP_PAUSED) && !e->sweep.exhausted && e->sweep_durable > 0;
}

static bool makes_trials(const struct engine *e) {
  return takes_trials(e) && e->sweep.state == SWEEP_RUNNING;
}

static uint64_t room(const struct engine *e) {
  if (!e->conf.run_cap)
    return ENGINE_TRIALS_MAX - e->existing;
  return (uint64_t)e->conf.run_cap > e->existing ? (uint64_t)e->conf.run_cap - e->existing : 0;
}

uint32_t engine_wants(const struct engine *e, uint32_t width) {
  if (e->conf.max_parallel)
    width = MIN_OF(width, e->conf.max_parallel);
  if (!makes_trials(e) || e->live >= width)
    return 0;
  return (uint32_t)MIN_OF((uint64_t)(width - e->live), room(e));
}

bool engine_has_room(const struct engine *e) {
  return makes_trials(e) && room(e) > 0;
}

/* The lowest without a trial. */
uint32_t engine_next_number(struct engine *e) {
  if (!missing(e))
    return e->count;
  while (trial_find(e, e->first_missing))
    e->first_missing++;
  return e->first_missing;
}

static bool refuse_trial(const struct engine *e, struct err *err) {
  const char *why = e->sweep.exhausted ? why_texts[WHY_EXHAUSTED] : why_texts[e->sweep.why];
  return err_set(err, ERR_WRONG_STATE, "the sweep is %s and makes no new trials%s%s", sweep_fsm.states[e->sweep.state], why[0] ? ": " : "",
                 why);
}

bool engine_create(struct engine *e, uint32_t *ret_number, struct err *err) {
  if (!takes_trials(e))
    return refuse_trial(e, err);
  if (!room(e)) { /* it does not pass by itself, so nobody is told to come again */
    err_set(err, ERR_WRONG_STATE, "run_cap is reached: %u trials were made", e->existing);
    return err_hint(err, "raise it: winnow sweep edit SWEEP --run-cap N");
  }
  struct engine_trial row = {.number = engine_next_number(e), .version = 1, .state = RUN_QUEUED, .dead = true};
  struct trial *t = trial_add(e, &row, false, err);
  if (!t)
    return false;
  if (e->conf.asks) { /* its worker need not wait until it is stored: the first row says whose it is */
    t->course->enqueued = true;
    wait_for_ask(e, t);
  }
  *ret_number = row.number;
  return true;
}

bool engine_add(struct engine *e, enum run_state state, bool has_value, uint32_t *ret_number, struct err *err) {
  if (sweep_over(e))
    return err_set(err, ERR_WRONG_STATE, "the sweep is %s", sweep_fsm.states[e->sweep.state]);
  struct engine_trial row = {
      .number = engine_next_number(e), .version = 1, .attempt = 1, .state = (uint8_t)state, .dead = true, .has_value = has_value};
  row.cause = state == RUN_FAILED && e->conf.asks ? CAUSE_EXIT : CAUSE_NONE;
  if (!trial_add(e, &row, false, err))
    return false;
  *ret_number = row.number;
  return true;
}

void engine_reached_target(struct engine *e) {
  if (e->sweep.state == SWEEP_RUNNING || e->sweep.state == SWEEP_PAUSED)
    sweep_step(e, SWEEP_EV_DRAIN, WHY_TARGET);
}

void engine_exhausted(struct engine *e) {
  if (e->sweep.exhausted)
    return;
  e->sweep.exhausted = true;
  e->sweep.version++;
}

/* ---- how attempts end ---- */

/* One that goes on and has reported its value shows that the command can do it. */
static bool any_reports(const struct engine *e) {
  for (uint32_t n = e->first_live; n != NO_TRIAL; n = trial_at(e, n)->course->next)
    if (trial_at(e, n)->row.has_value)
      return true;
  return false;
}

static void check_failures(struct engine *e) {
  enum engine_why why = WHY_NONE;
  if (e->conf.give_up_after && !e->succeeded && e->failed >= (uint64_t)e->conf.give_up_after && !any_reports(e))
    why = WHY_GAVE_UP;
  if (e->conf.max_failures && e->failed >= (uint64_t)e->conf.max_failures)
    why = WHY_FAILURES;
  if (why != WHY_NONE && !gave_up(e) && e->sweep.why != WHY_STOPPED && !is_retried(e))
    sweep_step(e, SWEEP_EV_GIVE_UP, why);
}

/* A further attempt, if one is allowed. */
static bool try_again(struct engine *e, struct trial *t, unsigned reason) {
  if (!(e->conf.retries_on & reason) || t->row.retries >= (uint64_t)e->conf.retries_max || winds_up(e))
    return false;
  t->row.retries++;
  return trial_step(e, t, RUN_EV_RETRY, CAUSE_NONE);
}

static void end_failed(struct engine *e, struct trial *t, enum engine_cause cause) {
  trial_mark_dead(e, t);
  if (!try_again(e, t, RETRY_FAILED))
    trial_step(e, t, RUN_EV_FAILED, cause);
  check_failures(e);
}

static void end_stopping(struct engine *e, struct trial *t) {
  enum engine_cause cause = (enum engine_cause)t->row.cause;
  trial_mark_dead(e, t);
  trial_step(e, t, cause == CAUSE_VERDICT ? RUN_EV_ENDED_STOPPED : RUN_EV_ENDED_KILLED, cause);
}

static void end_well(struct engine *e, struct trial *t) {
  if (e->conf.needs_value && !t->row.has_value) {
    end_failed(e, t, CAUSE_NO_METRIC);
    return;
  }
  trial_mark_dead(e, t);
  trial_step(e, t, RUN_EV_SUCCEEDED, CAUSE_NONE);
}

static void end_unknown(struct engine *e, struct trial *t) {
  if (t->row.state == RUN_STOPPING) {
    end_stopping(e, t);
    return;
  }
  trial_mark_dead(e, t);
  if (try_again(e, t, RETRY_LOST))
    return;
  if (t->row.state != RUN_LOST)
    trial_step(e, t, RUN_EV_LEASE_OUT, CAUSE_LOST);
  check_failures(e); /* lost for good */
}

/* ---- what executors and companions say ---- */

static bool is_current(const struct trial *t, uint32_t attempt) {
  return t && t->course && t->row.attempt == attempt && !t->row.dead;
}

/* Nobody has heard of it yet. */
static bool is_new(const struct trial *t) {
  return !t->course->durable && !t->course->writing;
}

bool engine_placed(struct engine *e, uint32_t number, int64_t now) {
  struct trial *t = trial_find(e, number);
  pass_time(e, now);
  if (!t || t->row.state != RUN_QUEUED || !(t->course->enqueued || is_new(t)) || winds_up(e))
    return false;
  t->course->enqueued = false;
  trial_step(e, t, RUN_EV_PLACED, CAUSE_NONE);
  trial_hold(e, t, true);
  t->course->lease_until = now + e->conf.lease_ms;
  return true;
}

static enum engine_answer answer(const struct trial *t) {
  return t->row.state == RUN_STOPPING && t->course->durable_state == RUN_STOPPING && t->course->durable_attempt == t->row.attempt
             ? ANSWER_STOP
             : ANSWER_GO_ON;
}

/* A sign of life. */
static void alive(struct engine *e, struct trial *t, int64_t now) {
  if (!e->conf.asks || !t->course->ended)
    t->course->lease_until = now + lease_of(e, t);
  if (t->row.state == RUN_STARTING)
    trial_step(e, t, RUN_EV_STARTED, CAUSE_NONE);
  else if (t->row.state == RUN_LOST)
    trial_step(e, t, RUN_EV_RETURNED, CAUSE_NONE);
}

static void note_value(struct engine *e, struct trial *t) {
  struct engine_trial row = t->row;
  if (row.has_value)
    return;
  row.has_value = true;
  trial_change(e, t, row);
}

enum engine_answer engine_started(struct engine *e, uint32_t number, uint32_t attempt, int64_t now) {
  return engine_heard(e, number, attempt, NULL, now);
}

void engine_refused(struct engine *e, uint32_t number, uint32_t attempt, enum engine_refusal refusal, int64_t now) {
  struct trial *t = trial_find(e, number);
  pass_time(e, now);
  if (!is_current(t, attempt))
    return;
  if (t->row.state == RUN_STOPPING) {
    end_stopping(e, t);
  } else if (t->row.state == RUN_STARTING) {
    trial_mark_dead(e, t);
    if (refusal == REFUSAL_STAYS || (refusal == REFUSAL_COUNTS && ++t->row.refusals >= ENGINE_REFUSALS_MAX))
      trial_step(e, t, RUN_EV_FAILED, CAUSE_START);
    else
      trial_step(e, t, RUN_EV_REFUSED, CAUSE_NONE);
    check_failures(e);
  }
}

enum engine_answer engine_heard(struct engine *e, uint32_t number, uint32_t attempt, const struct engine_report *report, int64_t now) {
  struct trial *t = trial_find(e, number);
  pass_time(e, now);
  if (!is_current(t, attempt))
    return ANSWER_FENCED;
  alive(e, t, now);
  if (!report)
    return answer(t);
  if (report->has_value)
    note_value(e, t);
  if (report->stop && t->row.state == RUN_RUNNING)
    trial_step(e, t, RUN_EV_STOP, CAUSE_VERDICT);
  if (report->target)
    engine_reached_target(e);
  return answer(t);
}

enum engine_answer engine_exited(struct engine *e, uint32_t number, uint32_t attempt, bool ok, int64_t now) {
  struct trial *t = trial_find(e, number);
  pass_time(e, now);
  if (!is_current(t, attempt))
    return ANSWER_FENCED;
  if (t->row.state == RUN_STOPPING)
    end_stopping(e, t);
  else if (ok)
    end_well(e, t);
  else
    end_failed(e, t, CAUSE_EXIT);
  return ANSWER_GO_ON;
}

void engine_dead(struct engine *e, uint32_t number, uint32_t attempt, int64_t now) {
  struct trial *t = trial_find(e, number);
  pass_time(e, now);
  if (is_current(t, attempt) && t->row.state != RUN_QUEUED)
    end_unknown(e, t);
}

/* ---- time ---- */

static void lease_over(struct engine *e, struct trial *t, int64_t now) {
  bool runs = (t->row.state == RUN_STARTING && t->course->started) || t->row.state == RUN_RUNNING;
  if (now < t->course->lease_until || !(runs || t->row.state == RUN_LOST || t->row.state == RUN_STOPPING))
    return;
  if (runs)
    trial_step(e, t, RUN_EV_LEASE_OUT, CAUSE_LOST);
  if (e->conf.asks && t->row.state == RUN_STOPPING)
    end_stopping(e, t);
  else if (e->conf.asks && winds_up(e)) /* no other worker will come for it */
    end_unknown(e, t);
  else if (e->conf.asks)
    wait_for_ask(e, t);
  else if (e->conf.lost_after_ms && now - t->course->lease_until >= e->conf.lost_after_ms)
    end_unknown(e, t);
}

static bool is_used_up(int64_t used_ms, int64_t budget_ms) {
  return budget_ms && used_ms >= budget_ms;
}

/* WHY_NONE: there is some left. */
static enum engine_why used_budget(const struct engine *e) {
  return is_used_up(e->sweep.elapsed_ms, e->conf.max_time_ms) ? WHY_TIME
         : is_used_up(e->sweep.slot_ms, e->conf.max_slot_ms)  ? WHY_SLOT_TIME
                                                              : WHY_NONE;
}

static void check_budgets(struct engine *e) {
  enum engine_why why = used_budget(e);
  if (why != WHY_NONE && (e->sweep.state == SWEEP_RUNNING || e->sweep.state == SWEEP_PAUSED))
    sweep_step(e, SWEEP_EV_DRAIN, why);
}

void engine_stood_still(struct engine *e, int64_t ms) {
  for (uint32_t n = e->first_live; n != NO_TRIAL; n = trial_at(e, n)->course->next)
    trial_at(e, n)->course->lease_until += ms;
}

void engine_tick(struct engine *e, int64_t now) {
  pass_time(e, now);
  e->sweep_retry = false;
  for (uint32_t n = e->first_live, next; n != NO_TRIAL; n = next) {
    next = trial_at(e, n)->course->next;
    lease_over(e, trial_at(e, n), now);
  }
  for (uint32_t n = 0; e->write_again && n < e->count; n++) {
    struct trial *t = trial_at(e, n);
    if (!t->course || !t->course->retry)
      continue;
    t->course->retry = false;
    e->write_again--;
    trial_make_ready(e, t);
  }
  if (e->batch_failed && !e->creating) {
    e->batch_failed = false;
    next_batch(e);
  }
  check_budgets(e);
}

/* ---- ask and tell ---- */

bool engine_ask(struct engine *e, int64_t lease_ms, int64_t now, uint32_t *ret_number) {
  pass_time(e, now);
  bool hands_out = e->sweep.state == SWEEP_RUNNING || (e->sweep.state == SWEEP_DRAINING && !winds_up(e));
  while (e->conf.asks && hands_out && e->waiting.count) {
    struct trial *t = trial_at(e, ring_take(&e->waiting));
    t->course->in_ring = false;
    if (t->row.state == RUN_LOST && !t->row.dead) { /* the lease of the one before has ended */
      trial_mark_dead(e, t);
      trial_step(e, t, RUN_EV_RETRY, CAUSE_NONE);
    }
    if (t->row.state != RUN_QUEUED) {
      trial_close(e, t);
      continue;
    }
    t->row.lease_ms = (uint32_t)lease_ms;
    trial_step(e, t, RUN_EV_ASKED, CAUSE_NONE);
    t->course->enqueued = false;
    t->course->lease_until = now + lease_ms;
    *ret_number = t->row.number;
    return true;
  }
  return false;
}

void engine_unask(struct engine *e, uint32_t number, uint32_t attempt) {
  struct trial *t = trial_find(e, number);
  if (e->conf.asks && is_current(t, attempt) && t->row.state == RUN_RUNNING)
    t->course->lease_until = e->now;
}

enum engine_told engine_tell(struct engine *e, uint32_t number, uint32_t attempt, enum run_state state, bool has_value, int64_t now) {
  struct trial *t = trial_find(e, number);
  pass_time(e, now);
  if (!t || (attempt && attempt != t->row.attempt))
    return TOLD_FENCED;
  if (t->row.dead || !t->course)
    return engine_row_is_over(&t->row) ? TOLD_AGAIN : TOLD_FENCED;
  if (has_value)
    note_value(e, t);
  if (t->row.state != RUN_STOPPING && state == RUN_STOPPED)
    trial_step(e, t, RUN_EV_STOP, CAUSE_VERDICT);
  if (t->row.state == RUN_STOPPING)
    end_stopping(e, t);
  else if (state == RUN_FINISHED)
    end_well(e, t);
  else
    end_failed(e, t, CAUSE_EXIT);
  return TOLD_OK;
}

/* ---- what people want ---- */

static bool want(struct engine *e, int event, enum engine_why why, int already, struct err *err) {
  if (e->sweep.state == already || sweep_step(e, event, why))
    return true;
  const char *why_now = why_texts[e->sweep.why];
  err_set(err, ERR_WRONG_STATE, "the sweep is %s%s%s: it is too late to %s it", sweep_fsm.states[e->sweep.state], why_now[0] ? ", " : "",
          why_now, sweep_fsm.events[event]);
  return err_hint(err, sweep_over(e) ? "winnow sweep clone begins it anew"
                                     : "its running trials go on to their end; winnow sweep resume makes new ones again");
}

bool engine_pause(struct engine *e, struct err *err) {
  return want(e, SWEEP_EV_PAUSE, WHY_NONE, SWEEP_PAUSED, err);
}

void engine_shelve(struct engine *e) {
  if (!sweep_step(e, SWEEP_EV_PAUSE, WHY_IN_TRASH) && !sweep_over(e))
    e->sweep.version++;
}

bool engine_resume(struct engine *e, int64_t now, struct err *err) {
  pass_time(e, now);
  if (e->sweep.state == SWEEP_DRAINING && (e->sweep.why == WHY_STOPPED || gave_up(e)))
    return err_set(err, ERR_WRONG_STATE, "the sweep is ending: %s", engine_why_text((enum engine_why)e->sweep.why));
  enum engine_why used = sweep_over(e) ? WHY_NONE : used_budget(e);
  if (used != WHY_NONE) {
    err_set(err, ERR_WRONG_STATE, "the sweep cannot go on: %s", engine_why_text(used));
    return err_hint(err, used == WHY_TIME ? "raise it first: winnow sweep edit SWEEP --max-time 2h (0: no limit)"
                                          : "winnow sweep clone begins it anew");
  }
  if (!want(e, SWEEP_EV_RESUME, WHY_NONE, SWEEP_RUNNING, err))
    return false;
  e->swept = false;
  return true;
}

bool engine_drain(struct engine *e, struct err *err) {
  return want(e, SWEEP_EV_DRAIN, WHY_DRAINED, SWEEP_DRAINING, err);
}

bool engine_stop(struct engine *e, struct err *err) {
  if (e->sweep.why == WHY_STOPPED)
    return true;
  if (!want(e, SWEEP_EV_STOP, WHY_STOPPED, SWEEP_STOPPED, err))
    return false;
  e->swept = false; /* what runs is ended too */
  return true;
}

bool engine_kill(struct engine *e, uint32_t number, int64_t now, struct err *err) {
  struct trial *t = trial_find(e, number);
  pass_time(e, now);
  if (!t)
    return err_set(err, ERR_NOT_FOUND, "there is no trial %u", number);
  if (!t->course || !t->course->live || t->row.state == RUN_STOPPING)
    return true; /* over, or being ended */
  t->course->dequeue |= t->row.state == RUN_QUEUED && t->course->enqueued && !e->conf.asks;
  trial_step(e, t, RUN_EV_KILL, CAUSE_KILLED);
  return true;
}

bool engine_retry(struct engine *e, uint32_t number, struct err *err) {
  struct trial *t = trial_find(e, number);
  if (!t)
    return err_set(err, ERR_NOT_FOUND, "there is no trial %u", number);
  if (winds_up(e))
    return err_set(err, ERR_WRONG_STATE, "the sweep is %s", sweep_fsm.states[e->sweep.state]);
  if (!trial_open(e, t))
    return err_no_memory(err);
  if (!t->course->live && trial_step(e, t, RUN_EV_RETRY, CAUSE_NONE)) {
    if (sweep_step(e, SWEEP_EV_RETRY, was_stopped(e) ? WHY_STOPPED_RETRIED : WHY_RETRIED))
      e->swept = false;
    return true;
  }
  trial_close(e, t);
  return err_set(err, ERR_WRONG_STATE, "a trial that is %s cannot be tried again", run_fsm.states[t->row.state]);
}

/* Is the limit that made the sweep drain still reached? */
static bool still_limited(const struct engine *e) {
  switch (e->sweep.why) {
  case WHY_TIME:
    return is_used_up(e->sweep.elapsed_ms, e->conf.max_time_ms);
  case WHY_SLOT_TIME:
    return is_used_up(e->sweep.slot_ms, e->conf.max_slot_ms);
  default:
    return true;
  }
}

void engine_edit(struct engine *e, const struct engine_conf *conf, int64_t now) {
  pass_time(e, now);
  e->conf.run_cap = conf->run_cap;
  e->conf.max_parallel = conf->max_parallel;
  e->conf.max_time_ms = conf->max_time_ms;
  e->conf.max_slot_ms = conf->max_slot_ms;
  e->conf.max_failures = conf->max_failures;
  e->conf.retries_max = conf->retries_max;
  e->conf.retries_on = conf->retries_on;
  if (e->sweep.state == SWEEP_DRAINING && !still_limited(e) && sweep_step(e, SWEEP_EV_RESUME, WHY_NONE))
    e->swept = false;
  check_budgets(e);
}

/* ---- looking ---- */

struct engine_counts engine_counts(const struct engine *e) {
  struct engine_counts counts = {.made = e->existing, .live = e->live, .failed = e->failed, .succeeded = e->succeeded};
  memcpy(counts.by_state, e->by_state, sizeof counts.by_state);
  return counts;
}

const struct engine_trial *engine_trial(const struct engine *e, uint32_t number) {
  const struct trial *t = trial_find(e, number);
  return t ? &t->row : NULL;
}

bool engine_next_live(const struct engine *e, uint32_t *number) {
  *number = *number == NO_TRIAL ? e->first_live : trial_at(e, *number)->course->next;
  return *number != NO_TRIAL;
}

bool engine_trial_durable(const struct engine *e, uint32_t number) {
  const struct trial *t = trial_find(e, number);
  return t && trial_is_written(t);
}

struct engine_sweep engine_sweep(const struct engine *e) {
  return e->sweep;
}

bool engine_row_is_over(const struct engine_trial *row) {
  return fsm_is_final(&run_fsm, row->state) && (row->state != RUN_LOST || row->dead);
}
