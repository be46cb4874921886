/* Attempts of trials that have several: what the earlier ones came to. */
#include "base/mem.h"
#include "sweeper/live/live.h"

/* Without memory it is left out: it only tells. */
static struct live_past *find_or_add(struct live_trial *trial, uint32_t attempt) {
  struct live_past *past = trial->course->past;
  while (past && past->attempt != attempt)
    past = past->next;
  if (past || !(past = mem_zalloc(sizeof *past)))
    return past;
  past->attempt = attempt;
  past->next = trial->course->past;
  trial->course->past = past;
  return past;
}

static bool is_final(unsigned state) {
  return state == RUN_FINISHED || state == RUN_FAILED || state == RUN_STOPPED || state == RUN_KILLED;
}

void live_keep_attempt(struct live_trial *trial) {
  const struct engine_trial *row = engine_trial(trial->sweep->engine, trial->number);
  uint32_t attempt = row->attempt;
  if (!attempt || attempt == trial->course->kept_attempt)
    return;
  trial->course->kept_attempt = attempt;
  struct live_past *past = find_or_add(trial, attempt);
  if (!past)
    return;
  /* A retry has made it wait again: then how it ended tells what it was. */
  past->state = is_final(row->state) ? row->state : trial->course->has_exit ? RUN_FAILED : RUN_LOST;
  past->has_exit = trial->course->has_exit;
  past->by_signal = trial->course->by_signal;
  past->exit = trial->course->exit;
  past->began = trial->course->attempt_began ? trial->course->attempt_began : attempt == 1 ? trial->started : 0;
  past->ended = trial->course->attempt_ended ? trial->course->attempt_ended : trial->ended ? trial->ended : live_wall(trial->sweep->all);
  past->ended = MAX_OF(past->ended, past->began); /* the clock may have been set back */
  past->flying = false;
  if (trial->course->reason)
    snprintf(past->reason, sizeof past->reason, "%s", trial->course->reason);
  else if (trial->course->has_exit)
    snprintf(past->reason, sizeof past->reason, trial->course->by_signal ? "ended by signal %d" : "exit code %d", (int)trial->course->exit);
}

void live_keep_first_end(struct live_trial *trial, const struct engine_trial *before) {
  if (trial->told < 0 || trial->course->knows_first_end)
    return;
  trial->course->first_end =
      (struct live_first_end){.state = before->state, .value = trial->value, .step = trial->value_step, .reports = trial->sweep->reports};
  trial->course->keeps_first_end = trial->course->knows_first_end = true;
}

void live_begin_attempt(struct live_trial *trial) {
  const struct engine_trial *row = engine_trial(trial->sweep->engine, trial->number);
  trial->course->has_exit = false;
  trial->course->finishers = 0;
  trial->course->attempt_began = live_wall(trial->sweep->all);
  trial->course->attempt_ended = 0;
  if (row->attempt < 2)
    return;
  struct live_past *past = find_or_add(trial, row->attempt);
  if (!past)
    return;
  past->state = row->state;
  past->began = trial->course->attempt_began;
  past->flying = false;
}

void live_past_written(struct live_trial *trial, bool ok) {
  if (!trial->course)
    return;
  trial->course->keeps_first_end &= !(ok && trial->course->first_end_flying);
  trial->course->first_end_flying = false;
  for (struct live_past **at = &trial->course->past; *at;) {
    struct live_past *past = *at;
    if (!past->flying || !ok) {
      past->flying = false;
      at = &past->next;
      continue;
    }
    *at = past->next;
    mem_free(past);
  }
}
