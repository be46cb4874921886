/* Where the trials of one sweep come from: the sampler's points, thought of ahead on another thread where thinking takes long.
 *
 * Trial n is a function of the space, the seed, n, the results that were known and the trials that were pending. A point that was thought
 * of ahead is for a number: while no other trial has taken that number nothing was added, so only results can have arrived since. It is
 * used while none has, or as many as `sampler.staleness` allows; what it was made from is kept with the trial. */
#include "base/log.h"
#include "base/mem.h"
#include "sweeper/live/live.h"

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

static struct live_trial *take_suggestion(struct live_sweep *live, const struct live_point *found) {
  struct live_trial *trial;
  struct err err;
  if (found->suggestion.kind == SUGGESTION_NONE_LEFT) {
    engine_exhausted(live->engine);
    return NULL;
  }
  if (live_create_at(live, found->point, &found->made, &trial, &err)) {
    live->trouble[0] = 0;
    return trial;
  }
  be_in_trouble(live, &err);
  return NULL;
}

/* ---- points ahead ---- */

static uint32_t next_number(const struct live_sweep *live) {
  return engine_next_number(live->engine);
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
                            .reports = live_supposes_latest(live) ? (uint32_t)MIN_OF(live->reports, (int64_t)UINT32_MAX) : 0};
}

/* Results that free a point are never passed over: another point might be the better one. */
static bool is_fresh(const struct live_sweep *live, const struct live_made *made, uint32_t gone) {
  struct live_made now = made_now(live);
  uint32_t allowed = staleness(live);
  return gone == history_gone(live->history) && now.tells - made->tells <= allowed && (allowed || now.reports == made->reports);
}

static void drop_ahead(struct live_sweep *live) {
  live->ahead.count = 0;
  if (live->thought_behind)
    live->thought_gone = UINT32_MAX; /* what it supposed does not come to pass: never fresh again */
}

/* Are there points for the next trials? What cannot be used any more goes, with all that comes after it. */
static bool has_ahead(struct live_sweep *live) {
  if (live->ahead.count && (live->ahead.first != next_number(live) || !is_fresh(live, &live->ahead.made[0], live->ahead.gone[0])))
    drop_ahead(live);
  return live->ahead.count;
}

static bool reserve_ahead(struct live_sweep *live) {
  if (!live->ahead.points)
    live->ahead.points = mem_array(LIVE_AHEAD_MAX * space_count(live->space), sizeof *live->ahead.points);
  return live->ahead.points;
}

static void push_ahead(struct live_sweep *live, const struct live_point *found) {
  size_t width = space_count(live->space);
  if (!live->ahead.count)
    live->ahead.first = next_number(live);
  memcpy(live->ahead.points + live->ahead.count * width, found->point, width * sizeof *found->point);
  live->ahead.suggestions[live->ahead.count] = found->suggestion;
  live->ahead.gone[live->ahead.count] = found->gone;
  live->ahead.made[live->ahead.count++] = found->made;
}

static void shift_ahead(struct live_sweep *live, struct live_point *ret) {
  size_t width = space_count(live->space), left = --live->ahead.count;
  *ret = (struct live_point){.suggestion = live->ahead.suggestions[0], .made = live->ahead.made[0], .gone = live->ahead.gone[0]};
  memcpy(ret->point, live->ahead.points, width * sizeof *ret->point);
  memmove(live->ahead.points, live->ahead.points + width, left * width * sizeof *ret->point);
  memmove(live->ahead.suggestions, live->ahead.suggestions + 1, left * sizeof *live->ahead.suggestions);
  memmove(live->ahead.made, live->ahead.made + 1, left * sizeof *live->ahead.made);
  memmove(live->ahead.gone, live->ahead.gone + 1, left * sizeof *live->ahead.gone);
  live->ahead.first++;
}

/* ---- thinking ---- */

/* Nothing has come of it, and would not a second time: all is as it was. */
static void note_in_vain(struct live_sweep *live, uint32_t number, bool behind) {
  live->in_vain.is = true;
  live->in_vain.behind = behind;
  live->in_vain.number = number;
  live->in_vain.tells = (uint32_t)history_tells(live->history);
}

/* What was in vain behind others may succeed when it is the next. */
static bool is_in_vain(const struct live_sweep *live, uint32_t number, bool behind) {
  return live->in_vain.is && (behind || !live->in_vain.behind) && live->in_vain.number == number &&
         live->in_vain.tells == history_tells(live->history);
}

static bool finish_job(struct live_sweep *live, struct sampler_job *job, const struct live_made *made, uint32_t number, bool behind,
                       struct live_point *ret) {
  struct err err;
  if (!sampler_finish(live->sampler, job, ret->point, &ret->suggestion, &err)) {
    be_in_trouble(live, &err);
    note_in_vain(live, number, behind);
    return false;
  }
  ret->made = *made;
  ret->gone = (uint32_t)history_gone(live->history);
  ret->made.by = (int8_t)ret->suggestion.by;
  if (ret->suggestion.by == SAMPLER_GP)
    return true;
  /* What another method made in its place was made from all that is known now, and from nothing that is yet to come. */
  ret->made.reports = made_now(live).reports;
  if (behind)
    note_in_vain(live, number, true);
  return !behind && made->tells == history_tells(live->history);
}

static void run_thought(struct work *work) {
  struct live_sweep *live = CONTAINER_OF(work, struct live_sweep, work);
  sampler_job_run(live->thought);
}

/* A point that took its time is for the next trial, then it replaces what was there for it and after it; or for the one after those. */
static bool is_wanted(struct live_sweep *live) {
  uint32_t next = next_number(live), ahead = has_ahead(live) ? live->ahead.count : 0;
  return is_fresh(live, &live->thought_made, live->thought_gone) && (live->thought_number == next || live->thought_number == next + ahead);
}

static void on_thought(struct work *work, bool cancelled) {
  struct live_sweep *live = CONTAINER_OF(work, struct live_sweep, work);
  struct sampler_job *job = live->thought;
  struct live_point found;
  struct err ignored; /* the threads have too much to do: here and now, then */
  bool wanted = !cancelled && !live->all->stopping && is_wanted(live);
  if (wanted && !sampler_job_settle(live->sampler, job) && work_submit(live->all->conf.work, work, &ignored))
    return;
  live->thinking = false;
  live->thought = NULL;
  live->barren = false;
  if (!wanted) {
    sampler_job_leave(live->sampler, job);
  } else if (finish_job(live, job, &live->thought_made, live->thought_number, live->thought_behind, &found)) {
    if (live->thought_number == next_number(live))
      drop_ahead(live);
    push_ahead(live, &found);
  }
  sweeps_kick(live->all);
}

/* Starts to think of the point after `ahead` others; *ret_now gets it when that takes no time. False: it was not started, or takes a while.
 */
static bool think(struct live_sweep *live, uint32_t ahead, struct live_point *ret_now) {
  struct sampler_job *job;
  struct err err;
  struct live_made made = made_now(live);
  uint32_t number = next_number(live) + ahead;
  made.pending += ahead;
  if (is_in_vain(live, number, ahead))
    return false;
  if (!sampler_start_beyond(live->sampler, number, live->ahead.points, ahead, &job, &err)) {
    be_in_trouble(live, &err);
    return false;
  }
  if (!sampler_job_is_slow(job))
    sampler_job_run(job);
  if (sampler_job_settle(live->sampler, job) || !reserve_ahead(live))
    return finish_job(live, job, &made, number, ahead, ret_now);
  live->work = (struct work){.run = run_thought, .done = on_thought};
  live->thought = job;
  live->thought_number = number;
  live->thought_made = made;
  live->thought_gone = (uint32_t)history_gone(live->history);
  live->thought_behind = ahead;
  live->thinking = work_submit(live->all->conf.work, &live->work, &err);
  if (live->thinking)
    return false;
  live->thought = NULL; /* the threads have too much to do: here and now, then */
  return finish_job(live, job, &made, number, ahead, ret_now);
}

struct live_trial *live_make_next(struct live_sweep *live) {
  struct live_point found;
  if (has_ahead(live)) {
    shift_ahead(live, &found);
    live->refresh = true;
    struct live_trial *trial = take_suggestion(live, &found);
    if (!trial)
      drop_ahead(live);
    return trial;
  }
  return !live->thinking && think(live, 0, &found) ? take_suggestion(live, &found) : NULL;
}

bool live_make_trials(struct live_sweep *live, uint32_t wanted) {
  for (uint32_t i = 0; i < wanted; i++)
    if (!live_make_next(live))
      return !live->thinking;
  return true;
}

/* Thinks of the point after `ahead` others, and keeps it when that took no time, so that it is not made again at every turn. */
static void think_of(struct live_sweep *live, uint32_t ahead) {
  struct live_point found;
  if (!think(live, ahead, &found) || !reserve_ahead(live))
    return;
  if (!ahead)
    drop_ahead(live);
  push_ahead(live, &found);
}

bool live_has_point(struct live_sweep *live) {
  if (!has_ahead(live) && !live->thinking)
    think_of(live, 0);
  if (!live->ahead.count || live->ahead.suggestions[0].kind != SUGGESTION_NONE_LEFT)
    return !live->thinking || live->ahead.count;
  drop_ahead(live);
  engine_exhausted(live->engine);
  return false;
}

/* Once for each that is taken: who has told asks next, as a rule, and would not wait for it. */
static bool wants_fresher(struct live_sweep *live) {
  bool taken = live->refresh;
  live->refresh = false;
  return taken && live->ahead.made[0].tells != history_tells(live->history);
}

/* While no trial is wanted there is no hurry: should the sweep go on (it was paused, its cap is raised), then with all that is known by
 * then. */
static void drop_outdated(struct live_sweep *live) {
  if (live->ahead.count && live->ahead.made[0].tells != history_tells(live->history))
    drop_ahead(live);
}

void live_think_ahead(struct live_sweep *live) {
  bool has_room = engine_has_room(live->engine);
  if (!has_room)
    drop_outdated(live);
  if (live->thinking || live->all->stopping || !has_room || !sampler_is_slow(live->sampler))
    return;
  uint32_t ahead = has_ahead(live) ? live->ahead.count : 0, next = next_number(live);
  if (!ahead) {
    if (!history_pending(live->history) || staleness(live)) /* else the result that is to come would make it useless */
      think_of(live, 0);
  } else if (wants_fresher(live)) { /* before those behind it, which go with it */
    think_of(live, 0);
  } else if (ahead < MIN_OF(staleness(live), (uint32_t)LIVE_AHEAD_MAX) && sampler_sees_beyond(live->sampler, next + ahead) &&
             !is_in_vain(live, next + ahead, true)) {
    think_of(live, ahead);
  }
}

void live_think_meanwhile(struct live_sweep *live) {
  bool asked_for = live->conf.asks && !live->asks.count && !history_pending(live->history) && history_tells(live->history);
  if (asked_for && !sampler_is_slow(live->sampler) && !live->thinking && engine_has_room(live->engine) && !has_ahead(live))
    (void)live_has_point(live);
}
