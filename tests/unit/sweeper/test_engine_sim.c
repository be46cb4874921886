/* Deterministic simulation of the engine with the scheduler: fake clock, fake executor, fake store, and faults from one seed. Writes are
 * delayed, fail, or end without an answer and may or may not have happened; companions fall silent, processes die, nodes refuse, the
 * service crashes and loads what is stored. After every step the promises are checked:
 *
 *   no slot is used twice; a trial has never two live processes; a process starts only when the stored row says so, and is ended only when
 *   the stored row says so; numbers have no gaps in the end and the cap is never passed; every sweep and every run comes to an end; a trial
 *   of the sampler's is made when its slots are there, so none is ever stored as waiting for its first attempt, none is made after the cap
 *   was lowered, and none is made while a person's trial waits.
 *
 * WINNOW_SIM_STEPS and WINNOW_SIM_SEED choose more steps and another seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "sweeper/engine/engine.h"
#include "sweeper/machine/schedule.h"

enum { TRIALS = 80, ATTEMPTS = 2000, NODES = 4, SLOTS = 4, WRITES = 400 };

static const unsigned node_slots[NODES] = {1, 2, 2, 4};

struct place {
  uint32_t node;
  unsigned count;
  uint16_t slots[SLOTS];
};

/* What the store holds. */
struct stored {
  bool exists;
  struct engine_trial row;
  struct place place;
};

struct write {
  bool used, trial, applied, creation;
  uint64_t transaction;        /* of new rows: they are stored together or not at all */
  bool answers_ok;             /* else the engine hears of a failure */
  int64_t apply_at, answer_at; /* apply_at INT64_MAX: never */
  struct stored row;
  struct engine_sweep sweep;
};

/* One attempt's process. Its directory outlives it: a second start of the same attempt starts nothing. */
struct process {
  uint32_t number, attempt;
  struct place place;
  bool alive, companion, exit_known, ok, told;
  int64_t silent_until, dies_at;
};

struct sim {
  struct rng rng;
  int64_t now;
  bool calm; /* no more faults */
  struct engine_conf conf;
  int64_t cap_ever;
  struct engine *engine;
  struct schedule *schedule;
  uint32_t group;
  uint32_t seat;               /* the job that waits in place of the next trial, or UINT32_MAX */
  uint32_t job_of[TRIALS + 8]; /* the scheduler's job, or UINT32_MAX */
  bool by_hand[TRIALS + 8];
  struct place place_of[TRIALS + 8];
  struct stored rows[TRIALS + 8];
  bool sweep_stored;
  struct engine_sweep sweep_row;
  struct write writes[WRITES];
  struct write batch; /* the fate that new rows share */
  bool batch_open;
  struct process processes[ATTEMPTS];
  uint32_t process_count;
  uint64_t started, crashes, accepted;
};

static bool chance(struct sim *s, unsigned percent_of_percent) {
  return !s->calm && rng_below(&s->rng, 10000) < percent_of_percent;
}

static void must(const struct sim *s, bool holds, const char *what) {
  if (!holds)
    fail_msg("%s (at %lld, %u processes, %llu crashes)", what, (long long)s->now, s->process_count, (unsigned long long)s->crashes);
}

/* ---- the executor ---- */

static struct process *process_of(struct sim *s, uint32_t number, uint32_t attempt) {
  for (uint32_t i = 0; i < s->process_count; i++)
    if (s->processes[i].number == number && s->processes[i].attempt == attempt)
      return &s->processes[i];
  return NULL;
}

static bool overlaps(const struct place *a, const struct place *b) {
  for (unsigned i = 0; a->node == b->node && i < a->count; i++)
    for (unsigned k = 0; k < b->count; k++)
      if (a->slots[i] == b->slots[k])
        return true;
  return false;
}

static void exec_start(struct sim *s, const struct engine_trial *row) {
  uint32_t n = row->number;
  must(s, s->rows[n].exists && s->rows[n].row.state == RUN_STARTING && s->rows[n].row.attempt == row->attempt,
       "a start without a stored row that says so");
  if (process_of(s, n, row->attempt))
    return;
  if (chance(s, 300)) {
    engine_refused(s->engine, n, row->attempt, chance(s, 500) ? REFUSAL_PASSES : REFUSAL_COUNTS, s->now);
    return;
  }
  must(s, s->process_count < ATTEMPTS, "too many attempts");
  for (uint32_t i = 0; i < s->process_count; i++) {
    const struct process *other = &s->processes[i];
    must(s, !(other->alive && other->number == n), "two attempts of one trial alive");
    must(s, !(other->alive && overlaps(&other->place, &s->rows[n].place)), "a slot used twice");
  }
  bool stillborn = chance(s, 100);
  s->processes[s->process_count++] = (struct process){
      .number = n, .attempt = row->attempt, .place = s->rows[n].place, .alive = !stillborn, .companion = !stillborn, .dies_at = INT64_MAX};
  s->started++;
}

static void exec_end(struct sim *s, const struct engine_trial *row) {
  must(s, s->rows[row->number].row.state == RUN_STOPPING, "an end without a stored row that says so");
  struct process *p = process_of(s, row->number, row->attempt);
  if (p && p->alive)
    p->dies_at = MIN_OF(p->dies_at, s->now + (int64_t)rng_below(&s->rng, 10000));
}

static void die(struct process *p, bool ok, bool leaves_word) {
  p->alive = false;
  p->exit_known = leaves_word;
  p->ok = ok;
}

static void answered(struct sim *s, struct process *p, enum engine_answer answer) {
  must(s, answer != ANSWER_STOP || s->rows[p->number].row.state == RUN_STOPPING, "a verdict that is not stored");
  if (answer == ANSWER_FENCED)
    die(p, false, false);
  else if (answer == ANSWER_STOP)
    p->dies_at = MIN_OF(p->dies_at, s->now + (int64_t)rng_below(&s->rng, 10000));
}

/* The companion speaks. */
static void speak(struct sim *s, struct process *p) {
  if (!p->companion || s->now < p->silent_until)
    return;
  if (!p->alive) {
    if (p->exit_known && !p->told) {
      enum engine_answer answer = engine_exited(s->engine, p->number, p->attempt, p->ok, s->now);
      const struct engine_trial *row = engine_trial(s->engine, p->number);
      s->accepted += answer == ANSWER_GO_ON && p->ok && row->state == RUN_FINISHED;
      p->told = engine_trial_durable(s->engine, p->number); /* repeats itself until it is acknowledged */
    }
    return;
  }
  uint64_t what = rng_below(&s->rng, 100);
  struct engine_report report = {.has_value = what < 60, .target = chance(s, 5), .stop = what < 4};
  answered(s, p,
           what < 70 ? engine_heard(s->engine, p->number, p->attempt, &report, s->now)
                     : engine_heard(s->engine, p->number, p->attempt, NULL, s->now));
}

static void live_on(struct sim *s, struct process *p) {
  if (p->alive && s->now >= p->dies_at)
    die(p, false, true);
  if (!p->alive)
    return;
  uint64_t fate = rng_below(&s->rng, 1000);
  if (fate < (s->calm ? 200 : 15))
    die(p, true, true);
  else if (fate < 20 && !s->calm)
    die(p, false, true);
  else if (chance(s, 20))
    p->silent_until = s->now + (int64_t)rng_below(&s->rng, 120000);
  if (chance(s, 20)) { /* the companion is killed, and the rest of the group with it */
    p->companion = false;
    die(p, false, false);
  }
}

/* What the service finds out by looking: processes that are gone without a word. */
static void look_around(struct sim *s) {
  for (uint32_t n = 0; n < TRIALS + 8; n++) {
    const struct engine_trial *row = engine_trial(s->engine, n);
    if (!row || row->dead ||
        !(row->state == RUN_LOST || row->state == RUN_STOPPING || row->state == RUN_RUNNING || row->state == RUN_STARTING))
      continue;
    const struct process *p = process_of(s, n, row->attempt);
    if (!p && (row->state == RUN_LOST || (row->state == RUN_STOPPING && engine_trial_durable(s->engine, n))))
      engine_dead(s->engine, n, row->attempt, s->now);
    else if (p && !p->alive && !p->exit_known && (row->state == RUN_LOST || !p->companion))
      engine_dead(s->engine, n, row->attempt, s->now);
    else if (p && !p->alive && p->exit_known && row->state == RUN_LOST && !chance(s, 5000))
      engine_exited(s->engine, n, row->attempt, p->ok, s->now);
    else if (p && !p->alive && row->state == RUN_STOPPING)
      engine_dead(s->engine, n, row->attempt, s->now);
  }
}

/* ---- the store ---- */

static void apply(struct sim *s, struct write *w) {
  if (w->applied)
    return;
  w->applied = true;
  if (w->trial) {
    struct stored *to = &s->rows[w->row.row.number];
    if (!to->exists || to->row.version < w->row.row.version)
      *to = w->row;
  } else if (!s->sweep_stored || s->sweep_row.version < w->sweep.version) {
    s->sweep_row = w->sweep;
    s->sweep_stored = true;
  }
}

static void issue(struct sim *s, const struct engine_todo *todo) {
  struct write *w = s->writes;
  const struct engine_trial *row = &todo->trial;
  must(s, todo->kind != TODO_WRITE_TRIAL || row->attempt || s->by_hand[row->number], "a trial of the sampler's that waits for no slot");
  while (w->used)
    must(s, ++w < s->writes + WRITES, "too many writes at once");
  int64_t slow = chance(s, 2500) ? 6000 : 50;
  int64_t first = s->now + (int64_t)rng_below(&s->rng, s->calm ? 5 : (uint64_t)slow), second = first + (int64_t)rng_below(&s->rng, 20);
  bool lost = chance(s, 300), unknown = chance(s, 700);
  *w = (struct write){.used = true, .trial = todo->kind == TODO_WRITE_TRIAL, .sweep = todo->sweep, .answers_ok = !lost && !unknown};
  w->apply_at = lost ? INT64_MAX : first;
  w->answer_at = second;
  if (unknown && rng_below(&s->rng, 2))
    w->apply_at = rng_below(&s->rng, 2) ? second + (int64_t)rng_below(&s->rng, 5000) : INT64_MAX; /* later than its answer, or never */
  w->creation = todo->creation;
  if (w->creation && s->batch_open) {
    w->answers_ok = s->batch.answers_ok;
    w->apply_at = s->batch.apply_at;
    w->answer_at = s->batch.answer_at;
    w->transaction = s->batch.transaction;
  } else if (w->creation) {
    w->transaction = s->batch.transaction + 1;
    s->batch = *w;
    s->batch_open = true;
  }
  if (w->trial)
    w->row = (struct stored){true, todo->trial, s->place_of[todo->trial.number]};
}

static void store_works(struct sim *s) {
  for (struct write *w = s->writes; w < s->writes + WRITES; w++) {
    if (!w->used)
      continue;
    if (s->now >= w->apply_at)
      apply(s, w);
    if (w->answer_at != INT64_MAX && s->now >= w->answer_at) {
      must(s, !w->answers_ok || w->applied, "the simulation answers before it has written");
      if (w->trial)
        engine_trial_written(s->engine, w->row.row.number, w->row.row.version, w->answers_ok);
      else
        engine_sweep_written(s->engine, w->sweep.version, w->answers_ok);
      w->answer_at = INT64_MAX;
    }
    if (w->answer_at == INT64_MAX && (w->applied || w->apply_at == INT64_MAX))
      w->used = false;
  }
}

/* ---- the service ---- */

static void drop_job(struct sim *s, uint32_t n) {
  must(s, s->job_of[n] != UINT32_MAX, "a job that the scheduler does not have");
  schedule_job_remove(s->schedule, s->job_of[n]);
  s->job_of[n] = UINT32_MAX;
}

static void act(struct sim *s, const struct engine_todo *todo) {
  uint32_t n = todo->trial.number;
  struct err err = {0};
  if (todo->kind == TODO_END && todo->trial.cause == CAUSE_SWEEP) /* a stop is not taken back, as draining may be */
    must(s, s->sweep_stored && s->sweep_row.state != SWEEP_RUNNING, "a trial is ended for a sweep whose stop is not stored");
  switch (todo->kind) {
  case TODO_WRITE_SWEEP:
  case TODO_WRITE_TRIAL:
    issue(s, todo);
    break;
  case TODO_ENQUEUE: {
    struct schedule_want want = {.group = s->group, .slots = s->conf.slots, .since = s->now};
    must(s, s->job_of[n] == UINT32_MAX, "queued twice");
    must(s, schedule_job_add(s->schedule, &want, (void *)(uintptr_t)(n + 1), &s->job_of[n], &err), "no room in the queue");
    break;
  }
  case TODO_DEQUEUE:
    drop_job(s, n);
    break;
  case TODO_START:
    exec_start(s, &todo->trial);
    break;
  case TODO_END:
    exec_end(s, &todo->trial);
    break;
  case TODO_RELEASE:
    for (uint32_t i = 0; i < s->process_count; i++)
      must(s, !(s->processes[i].number == n && s->processes[i].alive), "slots given back while the process lives");
    drop_job(s, n);
    break;
  case TODO_NONE:
    break;
  }
}

/* The sweep waits for slots in place of its next trial, unless a person's trial waits. */
static void seek(struct sim *s) {
  struct schedule_want want = {.group = s->group, .slots = s->conf.slots, .since = s->now};
  struct err err;
  bool wants = engine_wants(s->engine, 9) && !engine_counts(s->engine).by_state[RUN_QUEUED];
  if (wants && s->seat == UINT32_MAX) {
    must(s, schedule_job_add(s->schedule, &want, s, &s->seat, &err), "no room in the queue");
  } else if (!wants && s->seat != UINT32_MAX) {
    schedule_job_remove(s->schedule, s->seat);
    s->seat = UINT32_MAX;
  }
}

/* Its slots are there: now the trial is made. */
static uint32_t take_seat(struct sim *s) {
  uint32_t n;
  struct err err;
  must(s, !engine_counts(s->engine).by_state[RUN_QUEUED], "a trial is made while a person's waits");
  must(s, engine_create(s->engine, &n, &err), "a trial that was wanted cannot be made");
  must(s, n < s->conf.run_cap, "a trial beyond the cap as it is now");
  s->by_hand[n] = false;
  s->job_of[n] = s->seat;
  schedule_job_give(s->schedule, s->seat, (void *)(uintptr_t)(n + 1));
  s->seat = UINT32_MAX;
  return n;
}

static void work(struct sim *s) {
  struct engine_todo todo;
  struct schedule_placement p;
  struct engine_sweep sweep = engine_sweep(s->engine);
  schedule_group_set(s->schedule, s->group, s->conf.max_parallel,
                     sweep.state == SWEEP_PAUSED ||
                         (sweep.state == SWEEP_DRAINING && sweep.why != WHY_RETRIED && sweep.why != WHY_STOPPED_RETRIED));
  for (bool again = true; again;) {
    again = false;
    s->batch_open = false;
    while ((todo = engine_next(s->engine)).kind != TODO_NONE)
      act(s, &todo);
    seek(s);
    while (schedule_next(s->schedule, &p)) {
      uint32_t n = p.owner == s ? take_seat(s) : (uint32_t)(uintptr_t)p.owner - 1;
      again = true;
      if (!engine_placed(s->engine, n, s->now)) {
        drop_job(s, n);
        continue;
      }
      s->place_of[n] = (struct place){.node = p.node, .count = p.count};
      memcpy(s->place_of[n].slots, p.slots, p.count * sizeof *p.slots);
      seek(s);
    }
  }
}

static void new_schedule(struct sim *s) {
  struct err err = {0};
  uint32_t node;
  schedule_free(s->schedule);
  must(s, schedule_new(&s->schedule, &err), "memory");
  for (unsigned i = 0; i < NODES; i++)
    must(s, schedule_node_add(s->schedule, node_slots[i], &node, &err), "memory");
  must(s, schedule_group_add(s->schedule, &s->group, &err), "memory");
  for (size_t i = 0; i < ARRAY_LEN(s->job_of); i++)
    s->job_of[i] = UINT32_MAX;
  s->seat = UINT32_MAX;
}

static void adopt(struct sim *s, const struct stored *row) {
  struct schedule_want want = {.group = s->group, .slots = row->place.count, .since = s->now};
  uint32_t n = row->row.number;
  struct err err = {0};
  s->place_of[n] = row->place;
  bool has_slots = !row->row.dead && row->row.state != RUN_QUEUED;
  if (has_slots)
    must(s, schedule_job_adopt(s->schedule, &want, (void *)(uintptr_t)(n + 1), row->place.node, row->place.slots, &s->job_of[n], &err),
         "two stored rows claim one slot");
}

static void start_service(struct sim *s) {
  struct err err = {0};
  new_schedule(s);
  must(s, engine_new(&s->conf, s->sweep_stored ? &s->sweep_row : NULL, s->now, &s->engine, &err), "memory");
  for (size_t n = 0; n < ARRAY_LEN(s->rows); n++) {
    if (!s->rows[n].exists)
      continue;
    must(s, s->sweep_stored, "trials of a sweep that is not stored");
    must(s, engine_load(s->engine, &s->rows[n].row, &err), "a row cannot be loaded");
    adopt(s, &s->rows[n]);
  }
  engine_loaded(s->engine, s->now);
}

static void crash(struct sim *s) {
  s->crashes++;
  uint64_t luck = rng_u64(&s->rng);
  for (struct write *w = s->writes; w < s->writes + WRITES; w++) {
    /* the store accepts nothing of an older service after a newer one has begun */
    bool applies = w->creation ? rng_mix(luck ^ w->transaction) & 1 : rng_below(&s->rng, 2);
    if (w->used && w->apply_at != INT64_MAX && applies)
      apply(s, w);
    w->used = false;
  }
  engine_free(s->engine);
  start_service(s);
}

static void people(struct sim *s) {
  struct err err;
  if (fsm_is_final(&sweep_fsm, engine_sweep(s->engine).state))
    return;
  uint32_t n = (uint32_t)rng_below(&s->rng, TRIALS);
  switch (rng_below(&s->rng, 14)) {
  case 0:
    (void)!engine_pause(s->engine, &err);
    break;
  case 1:
  case 2:
  case 3:
    (void)!engine_resume(s->engine, s->now, &err);
    break;
  case 4:
    if (rng_below(&s->rng, 20) == 0)
      (void)!engine_stop(s->engine, &err);
    break;
  case 5:
    if (rng_below(&s->rng, 20) == 0)
      (void)!engine_drain(s->engine, &err);
    break;
  case 6:
  case 7:
    (void)!engine_kill(s->engine, n, s->now, &err);
    break;
  case 8:
  case 9:
    (void)!engine_retry(s->engine, n, &err);
    break;
  case 10:
  case 11:
    if (engine_wants(s->engine, 9) && engine_create(s->engine, &n, &err))
      s->by_hand[n] = true;
    break;
  default:
    s->conf.run_cap = 1 + (int64_t)rng_below(&s->rng, TRIALS);
    s->conf.max_parallel = (uint32_t)rng_below(&s->rng, 8);
    s->conf.max_time_ms = rng_below(&s->rng, 3) ? 0 : (int64_t)rng_below(&s->rng, 3600000) + 1;
    s->cap_ever = MAX_OF(s->cap_ever, s->conf.run_cap);
    engine_edit(s->engine, &s->conf, s->now);
  }
}

static void one_step(struct sim *s) {
  s->now += (int64_t)rng_below(&s->rng, 2000);
  store_works(s);
  if (s->process_count) {
    for (int i = 0; i < 3; i++) {
      struct process *p = &s->processes[rng_below(&s->rng, s->process_count)];
      live_on(s, p);
      speak(s, p);
    }
    for (uint32_t i = 0; i < s->process_count; i++) /* heartbeats of those that can */
      if (s->processes[i].alive || (s->processes[i].exit_known && !s->processes[i].told))
        if (rng_below(&s->rng, 4) == 0)
          speak(s, &s->processes[i]);
  }
  if (rng_below(&s->rng, 3) == 0)
    engine_tick(s->engine, s->now);
  if (rng_below(&s->rng, 10) == 0)
    look_around(s);
  if (chance(s, 60))
    people(s);
  if (chance(s, engine_counts(s->engine).made < 12 ? 500 : 40)) /* often while the first trials are being made */
    crash(s);
  work(s);
}

static void check(const struct sim *s) {
  uint32_t stored = 0;
  for (size_t n = 0; n < ARRAY_LEN(s->rows); n++) {
    must(s, !s->rows[n].exists || n == stored, "a gap in the stored numbers");
    stored += s->rows[n].exists;
  }
  must(s, stored <= s->cap_ever, "more trials than the cap");
  must(s, engine_counts(s->engine).made <= s->cap_ever, "more trials than the cap");
  for (uint32_t i = 0; i < s->process_count; i++) {
    const struct process *p = &s->processes[i];
    const struct stored *row = &s->rows[p->number];
    if (!p->alive)
      continue;
    must(s, row->exists && row->row.attempt == p->attempt, "a live process that is not the stored attempt");
    for (uint32_t k = 0; k < i; k++)
      must(s, !(s->processes[k].alive && (s->processes[k].number == p->number || overlaps(&s->processes[k].place, &p->place))),
           "two live processes on one slot, or of one trial");
  }
}

/* All is over: what the store says at the end. */
static void check_end(struct sim *s) {
  uint32_t stored = 0, finished = 0;
  for (uint32_t n = 0; n < ARRAY_LEN(s->rows); n++) {
    if (!s->rows[n].exists)
      continue;
    const struct engine_trial *row = &s->rows[n].row;
    must(s, n == stored, "a gap in the numbers");
    stored++;
    must(s, fsm_is_final(&run_fsm, row->state) && row->dead, "a trial that has not ended");
    must(s, memcmp(row, engine_trial(s->engine, n), sizeof *row) == 0, "the store and the engine disagree");
    finished += row->state == RUN_FINISHED;
    const struct process *p = process_of(s, n, row->attempt);
    must(s, row->state != RUN_FINISHED || (p && p->exit_known && p->ok), "a trial finished without an attempt that ended well");
  }
  for (uint32_t i = 0; i < s->process_count; i++)
    must(s, !s->processes[i].alive, "a process outlives its sweep");
  for (uint32_t n = 0; n < NODES; n++)
    must(s, schedule_node_info(s->schedule, n).used == 0, "slots in use after the end");
  must(s, schedule_waiting(s->schedule) == 0, "a job waits after the end");
  must(s, s->sweep_row.state == engine_sweep(s->engine).state, "the stored sweep has not ended");
  if (s->sweep_row.why == WHY_ALL_MADE)
    must(s, stored >= s->conf.run_cap, "fewer trials than the cap");
  must(s, finished <= s->started, "more results than attempts");
}

/* One sweep from submit to end; returns the steps it took. */
static uint64_t one_sweep(uint64_t seed, uint64_t steps_max, uint64_t *ret_digest, uint64_t totals[3]) {
  struct sim *s = mem_zalloc(sizeof *s);
  assert_non_null(s);
  s->rng = rng_seeded(seed);
  s->conf = (struct engine_conf){
      .run_cap = 1 + (int64_t)rng_below(&s->rng, TRIALS),
      .max_parallel = (uint32_t)rng_below(&s->rng, 8),
      .max_failures = rng_below(&s->rng, 3) ? 0 : 1 + (int64_t)rng_below(&s->rng, 30),
      .give_up_after = (int64_t)rng_below(&s->rng, 6),
      .retries_max = (int64_t)rng_below(&s->rng, 4),
      .retries_on = (unsigned)rng_below(&s->rng, 4),
      .lease_ms = 30000,
      .lost_after_ms = 0,
      .slots = 1 + (uint32_t)rng_below(&s->rng, 2),
      .needs_value = rng_below(&s->rng, 2),
  };
  s->cap_ever = s->conf.run_cap;
  start_service(s);
  uint64_t steps = 0, calm_after = 500 + rng_below(&s->rng, 6000), afterwards = rng_below(&s->rng, 3);
  bool over = false;
  for (; !over; steps++) {
    if (steps == calm_after) { /* let it come to its end */
      struct err err;
      s->calm = true;
      for (uint32_t i = 0; i < s->process_count; i++)
        s->processes[i].silent_until = 0;
      (void)!engine_resume(s->engine, s->now, &err);
    }
    one_step(s);
    check(s);
    over = fsm_is_final(&sweep_fsm, engine_sweep(s->engine).state) && s->sweep_stored &&
           s->sweep_row.version == engine_sweep(s->engine).version;
    struct err err;
    uint32_t made = engine_counts(s->engine).made;
    for (uint32_t n = 0; over && afterwards && n < made; n++) /* what had failed is tried again */
      if (engine_retry(s->engine, n, &err)) {
        over = false;
        afterwards--;
      }
    must(s, steps < steps_max, "the sweep does not end");
  }
  /* fenced companions hear that it is over */
  for (int i = 0; i < 200; i++)
    for (uint32_t k = 0; k < s->process_count; k++)
      speak(s, &s->processes[k]);
  check_end(s);
  *ret_digest = rng_mix(*ret_digest ^ rng_u64(&s->rng) ^ (uint64_t)s->now);
  totals[0] += s->started;
  totals[1] += s->crashes;
  totals[2] += engine_counts(s->engine).by_state[RUN_FINISHED];
  schedule_free(s->schedule);
  engine_free(s->engine);
  mem_free(s);
  return steps;
}

static uint64_t from_environment(const char *name, uint64_t fallback) {
  const char *text = getenv(name);
  uint64_t value;
  return text && str_to_u64(str_of(text), &value) ? value : fallback;
}

static void promises_hold_under_faults(void **state) {
  (void)state;
  uint64_t wanted = from_environment("WINNOW_SIM_STEPS", 100000), seed = from_environment("WINNOW_SIM_SEED", 1), steps = 0, digest = 0,
           sweeps = 0;
  uint64_t totals[3] = {0};
  while (steps < wanted) {
    uint64_t before = steps;
    steps += one_sweep(seed, 100000, &digest, totals);
    if (steps == before)
      break;
    seed++;
    sweeps++;
  }
  print_message("%llu steps, %llu sweeps, %llu attempts started, %llu crashes, %llu trials finished, digest %016llx\n",
                (unsigned long long)steps, (unsigned long long)sweeps, (unsigned long long)totals[0], (unsigned long long)totals[1],
                (unsigned long long)totals[2], (unsigned long long)digest);
}

static void the_same_seed_is_the_same_story(void **state) {
  (void)state;
  uint64_t first = 0, second = 0, totals[3] = {0};
  uint64_t steps = one_sweep(42, 100000, &first, totals);
  assert_int_equal(steps, one_sweep(42, 100000, &second, totals));
  assert_int_equal(first, second);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(promises_hold_under_faults), cmocka_unit_test(the_same_seed_is_the_same_story)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
