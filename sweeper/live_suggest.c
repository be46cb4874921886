/* Where the trials of one sweep come from: the sampler's points, thought of ahead on another thread where thinking takes long.
 *
 * Trial n is a function of the space, the seed, n, the results that were known and the trials that were pending. A point that was thought
 * of ahead is for a number: while no other trial has taken that number nothing was added, so only results can have arrived since. It is
 * used while none has, or as many as `sampler.staleness` allows; what it was made from is kept with the trial. */
#include "base/log.h"
#include "base/mem.h"
#include "sweeper/live.h"

/* ---- a point becomes a trial ---- */

bool live_create_at(struct live_sweep *live, const double *point, const struct live_made *made, struct live_trial **ret, struct err *err) {
  uint32_t number;
  struct sweeps *s = live->all;
  uint32_t at_tells = (uint32_t)history_tells(live->history);
  if (!engine_create(live->engine, &number, err))
    return false;
  struct id run = live->single ? live->id : id_new(s->conf.clock, &s->conf.rng);
  struct live_trial *trial = live_trial_new(live, number, run, err);
  if (!trial || !history_add(live->history, number, point, NULL, err)) {
    struct err ignored; /* the trial exists for the engine: it ends at once, killed */
    if (!engine_kill(live->engine, number, live_now(s), &ignored))
      log_error("sweep", NULL, "%s: %s", live->name, ignored.text);
    return false;
  }
  trial->made = *made;
  trial->at_tells = at_tells;
  live->width = MAX_OF(live->width, (uint32_t)history_pending(live->history));
  if (ret)
    *ret = trial;
  return true;
}

struct live_made live_made_by_hand(const struct live_sweep *live) {
  return (struct live_made){
      .by = LIVE_BY_HAND, .tells = (uint32_t)history_tells(live->history), .pending = (uint32_t)history_pending(live->history)};
}

static void be_in_trouble(struct live_sweep *live, const struct err *err) {
  if (strcmp(live->trouble, err->text) != 0)
    log_warn("sweep", NULL, "%s: no new trial can be made: %s", live->name, err->text);
  snprintf(live->trouble, sizeof live->trouble, "%s", err->text);
}

static bool take_suggestion(struct live_sweep *live, const struct live_point *found) {
  struct err err;
  if (found->suggestion.kind == SUGGESTION_NONE_LEFT) {
    engine_exhausted(live->engine);
    return false;
  }
  if (live_create_at(live, found->point, &found->made, NULL, &err)) {
    live->trouble[0] = 0;
    return true;
  }
  be_in_trouble(live, &err);
  return false;
}

/* ---- thinking ---- */

static uint32_t next_number(const struct live_sweep *live) {
  return engine_counts(live->engine).made;
}

/* How many results may have arrived since a point was thought of. One worker waits for what it has told: so it gets the same points from
 * the same results. */
static uint32_t staleness(const struct live_sweep *live) {
  const struct sweep_sampler_spec *spec = &live->file->spec.sampler;
  if (spec->has_staleness)
    return (uint32_t)spec->staleness;
  return live->width > 1 ? live->width : 0;
}

static struct live_made made_now(const struct live_sweep *live) {
  return (struct live_made){.tells = (uint32_t)history_tells(live->history),
                            .pending = (uint32_t)history_pending(live->history),
                            .gone = (uint32_t)history_gone(live->history)};
}

/* Would it be the next trial's? Results that free a point are never passed over: another point might be the better one. */
static bool is_usable(const struct live_sweep *live, const struct live_made *made, uint32_t number) {
  return number == next_number(live) && made->gone == history_gone(live->history) &&
         history_tells(live->history) - made->tells <= staleness(live);
}

static bool finish_job(struct live_sweep *live, struct sampler_job *job, const struct live_made *made, struct live_point *ret) {
  struct err err;
  if (!sampler_finish(live->sampler, job, ret->point, &ret->suggestion, &err)) {
    be_in_trouble(live, &err);
    return false;
  }
  ret->made = *made;
  ret->made.by = (int8_t)ret->suggestion.by;
  /* What another method made in its place was made from all that is known now. */
  return ret->suggestion.by == SAMPLER_GP || made->tells == history_tells(live->history);
}

static bool reserve_ahead(struct live_sweep *live) {
  if (!live->ahead.found)
    live->ahead.found = mem_zalloc(sizeof *live->ahead.found);
  return live->ahead.found;
}

static void run_thought(struct work *work) {
  struct live_sweep *live = CONTAINER_OF(work, struct live_sweep, work);
  sampler_job_run(live->thought);
}

static void on_thought(struct work *work, bool cancelled) {
  struct live_sweep *live = CONTAINER_OF(work, struct live_sweep, work);
  struct sampler_job *job = live->thought;
  live->thinking = false;
  live->thought = NULL;
  if (cancelled || live->all->stopping || !is_usable(live, &live->thought_made, live->thought_number)) {
    sampler_job_leave(live->sampler, job);
  } else {
    live->ahead.there = finish_job(live, job, &live->thought_made, live->ahead.found);
    live->ahead.number = live->thought_number;
  }
  sweeps_kick(live->all);
}

/* Starts to think of the next point; *ret_now gets it when that takes no time. False: it was not started, or takes a while. */
static bool think(struct live_sweep *live, struct live_point *ret_now) {
  struct sampler_job *job;
  struct err err;
  struct live_made made = made_now(live);
  uint32_t number = next_number(live);
  if (!sampler_start(live->sampler, number, &job, &err)) {
    be_in_trouble(live, &err);
    return false;
  }
  if (!sampler_job_is_slow(job))
    return finish_job(live, job, &made, ret_now);
  if (!reserve_ahead(live))
    return finish_job(live, job, &made, ret_now);
  live->work = (struct work){.run = run_thought, .done = on_thought};
  live->thought = job;
  live->thought_number = number;
  live->thought_made = made;
  live->thinking = work_submit(live->all->conf.work, &live->work, &err);
  if (live->thinking)
    return false;
  live->thought = NULL; /* the threads have too much to do: here and now, then */
  return finish_job(live, job, &made, ret_now);
}

/* One more; false when there is none, or it takes a while. */
static bool make_one(struct live_sweep *live) {
  struct live_point found;
  if (live->ahead.there) {
    live->ahead.there = false;
    if (is_usable(live, &live->ahead.found->made, live->ahead.number))
      return take_suggestion(live, live->ahead.found);
  }
  return !live->thinking && think(live, &found) && take_suggestion(live, &found);
}

bool live_make_trials(struct live_sweep *live, uint32_t wanted) {
  for (uint32_t i = 0; i < wanted; i++)
    if (!make_one(live))
      return !live->thinking;
  return true;
}

static bool has_ahead(const struct live_sweep *live) {
  return live->ahead.there && is_usable(live, &live->ahead.found->made, live->ahead.number);
}

/* Thinks of the next point, and keeps it when that took no time, so that it is not made again at every turn. */
static void think_of_next(struct live_sweep *live) {
  struct live_point found;
  if (!think(live, &found) || !reserve_ahead(live))
    return;
  *live->ahead.found = found;
  live->ahead.number = next_number(live);
  live->ahead.there = true;
}

void live_think_ahead(struct live_sweep *live) {
  if (live->thinking || live->all->stopping || !sampler_is_slow(live->sampler) || !engine_has_room(live->engine))
    return;
  bool refresh = live->refresh;
  live->refresh = false;
  if (has_ahead(live) && (!refresh || live->ahead.found->made.tells == history_tells(live->history)))
    return; /* who has told asks next, as a rule: a better point would be for a number that is taken by then */
  if (history_pending(live->history) && !staleness(live))
    return; /* the result that is to come would make it useless */
  think_of_next(live);
}

void live_think_meanwhile(struct live_sweep *live) {
  bool asked_for = live->conf.asks && !live->asks.count && !history_pending(live->history) && history_tells(live->history);
  if (asked_for && !sampler_is_slow(live->sampler) && !live->thinking && engine_has_room(live->engine) && !has_ahead(live))
    think_of_next(live);
}
