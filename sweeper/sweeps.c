/* All sweeps that live: what changed goes to the database, a transaction at a time, and what came of it goes back to the engines. */
#include "sweeper/sweeps.h"

#include <signal.h>

#include "base/log.h"
#include "base/mem.h"
#include "storage/metrics/metric_store.h"
#include "sweeper/jobs/jobs.h"
#include "sweeper/machine/code_store.h"
#include "sweeper/machine/exec_local.h"
#include "sweeper/register.h"
#include "sweeper/sweep_reparse.h"
#include "sweeper/sweeps_inside.h"

/* ---- the pump ---- */

static void push_write(struct sweeps *s, const struct live_write *write) {
  if (s->write_count == s->write_cap) {
    size_t cap = MAX_OF(s->write_cap * 2, (size_t)256);
    struct live_write *bigger = mem_resize(s->writes, cap, sizeof *bigger);
    if (bigger) {
      s->writes = bigger;
      s->write_cap = cap;
    }
  }
  bool room = s->write_count < s->write_cap && (write->trial || write->todo.kind == TODO_WRITE_SWEEP);
  s->deeds_wait |= !room;
  if (room) {
    s->writes[s->write_count++] = *write;
    s->own_count += sweep_rows_is_own(write);
  } else if (write->todo.kind == TODO_WRITE_SWEEP)
    engine_sweep_written(write->sweep->engine, write->todo.sweep.version, false);
  else
    engine_trial_written(write->sweep->engine, write->todo.trial.number, write->todo.trial.version, false);
}

/* As its companion says, which may tell long after. */
static int64_t end_of(const struct live_trial *trial) {
  int64_t said = live_course(trial)->attempt_ended;
  return said ? said : live_wall(trial->sweep->all);
}

/* What the row's new state means besides being stored. An attempt that is over gives its slots back here and not when that is durable: who
 * gets them is written in the same transaction, or a later one, so the store never shows two attempts on a slot. */
static void follow_row(struct live_trial *trial, const struct engine_trial *row) {
  int64_t wall = live_wall(trial->sweep->all);
  deeds_follow(trial, row);
  if (row->state == RUN_RUNNING && !trial->started)
    trial->started = wall;
  if (engine_row_is_over(row) && !trial->ended)
    trial->ended = MAX_OF(end_of(trial), MAX_OF(trial->started, trial->created)); /* the clock may have been set back */
  if (row->dead && row->attempt)
    queue_remove(trial);
  live_note_end(trial, row);
}

static void take_todo(struct live_sweep *live, const struct engine_todo *todo) {
  struct live_trial *trial = todo->kind == TODO_WRITE_SWEEP ? NULL : live_trial_at(live, todo->trial.number);
  struct live_write write = {.sweep = live, .trial = trial, .todo = *todo};
  switch (todo->kind) {
  case TODO_WRITE_SWEEP:
    if (fsm_is_final(&sweep_fsm, todo->sweep.state) && !live->ended)
      live->ended = MAX_OF(live_wall(live->all), live->created);
    push_write(live->all, &write);
    break;
  case TODO_WRITE_TRIAL:
    if (trial)
      follow_row(trial, &todo->trial);
    push_write(live->all, &write);
    break;
  case TODO_ENQUEUE:
    queue_add(trial);
    break;
  case TODO_DEQUEUE:
  case TODO_RELEASE:
    queue_remove(trial);
    break;
  case TODO_START:
    if (!live->conf.asks)
      jobs_start(trial, todo->trial.attempt);
    else
      engine_started(live->engine, trial->number, todo->trial.attempt, live_now(live->all));
    break;
  case TODO_END:
    jobs_end(trial);
    break;
  case TODO_NONE:
    break;
  }
}

static void drain(struct live_sweep *live) {
  const struct sweeps *s = live->all;
  struct engine_todo todo;
  while (sweep_rows_has_room(s) && (todo = engine_next(live->engine)).kind != TODO_NONE)
    take_todo(live, &todo);
}

static void collect(struct sweeps *s) {
  do {
    LIST_EACH(&s->sweeps, node) {
      struct live_sweep *live = LIST_ENTRY(node, struct live_sweep, node);
      drain(live); /* what became durable waits for an ask, or for a slot, from here on */
      live_advance(live);
      drain(live);
    }
  } while (queue_place(s));
}

static void forget_old(struct sweeps *s) {
  size_t over = 0;
  LIST_EACH(&s->sweeps, node)
  over += LIST_ENTRY(node, struct live_sweep, node)->over_told;
  LIST_EACH(&s->sweeps, node) {
    struct live_sweep *live = LIST_ENTRY(node, struct live_sweep, node);
    if (over <= LIVE_OVER_KEPT)
      return;
    if (sweeps_is_busy(live))
      continue;
    over--;
    sweeps_unlist(live);
  }
}

static void tell_trial(struct live_trial *trial, const struct engine_trial *row) {
  if (trial->shown == row->state)
    return;
  struct sweeps_change change = {.kind = SWEEPS_TRIAL,
                                 .sweep = trial->sweep->id,
                                 .run = trial->run,
                                 .trial = trial,
                                 .from = trial->shown < RUN_STATE_COUNT ? run_state_name(trial->shown) : NULL,
                                 .to = run_state_name(row->state),
                                 .reason = live_reason(trial, row)};
  change.actor = deeds_actor(trial->sweep->all, trial->run, change.to);
  trial->shown = row->state;
  sweeps_tell(trial->sweep->all, &change);
}

static void tell_sweep(struct live_sweep *live, const struct engine_sweep *row) {
  if (live->shown == row->state)
    return;
  struct sweeps_change change = {.kind = SWEEPS_SWEEP,
                                 .sweep = live->id,
                                 .from = live->shown < 0 ? NULL : sweep_state_text(live->shown),
                                 .to = sweep_state_text(row->state),
                                 .reason = row->why ? engine_why_text((enum engine_why)row->why) : NULL};
  change.actor = deeds_actor(live->all, live->id, change.to);
  live->shown = row->state;
  sweeps_tell(live->all, &change);
}

/* The row has the command of the attempt; those that follow need not bring it again. */
static void drop_command(struct live_trial *trial, const struct engine_trial *stored) {
  const struct engine_trial *now = engine_trial(trial->sweep->engine, trial->number);
  bool is_sent = stored->state == RUN_RUNNING && now && now->attempt == stored->attempt;
  if (!is_sent || !trial->course)
    return;
  mem_free(trial->course->command);
  trial->course->command = NULL;
}

static void note_written(const struct live_write *write, bool ok) {
  struct live_sweep *live = write->sweep;
  if (write->trial) {
    if (ok && !write->todo.creation)
      drop_command(write->trial, &write->todo.trial);
    engine_trial_written(live->engine, write->trial->number, write->todo.trial.version, ok);
    live_past_written(write->trial, ok);
    if (ok)
      tell_trial(write->trial, &write->todo.trial);
    if (ok && write->todo.creation)
      live_about_release(&live->about);
    if (ok && live->best == write->trial && live_counts(write->todo.trial.state) &&
        live->file->spec.register_model.when == REGISTER_EACH_BEST)
      register_consider(live->all, live->id);
    live_course_close(write->trial);
    return;
  }
  engine_sweep_written(live->engine, write->todo.sweep.version, ok);
  if (ok)
    tell_sweep(live, &write->todo.sweep);
  if (!ok)
    return;
  live->written = MAX_OF(live->written, write->todo.sweep.version);
  if (!live->stored) {
    mem_free(live->source);
    live->source = NULL;
  }
  live->stored = true;
  if (fsm_is_final(&sweep_fsm, write->todo.sweep.state) && !live->over_told) {
    live->over_told = true;
    queue_remove(&live->seat);
    if (live->has_group)
      schedule_group_remove(live->all->schedule, live->group);
    live->has_group = false;
    if (!live->single)
      log_info("sweep", NULL, "%s: %s", live->name, sweep_state_text(write->todo.sweep.state));
    if (live->file->spec.register_model.given)
      register_consider(live->all, live->id);
  }
}

static void finish_batch(struct sweeps *s, const struct err *failed) {
  s->in_flight = false;
  for (size_t i = 0; i < s->write_count; i++)
    note_written(&s->writes[i], !failed);
  s->write_count = s->own_count = 0;
  if (!failed && s->reports_flying) {
    for (size_t i = 0; i < s->reports_flying; i++) {
      s->reports[i].sweep->reports_durable = s->reports[i].n + 1;
      mem_free(s->reports[i].key);
    }
    s->report_count -= s->reports_flying;
    memmove(s->reports, s->reports + s->reports_flying, s->report_count * sizeof *s->reports);
  }
  s->reports_flying = 0;
  deeds_sent(s, !failed);
  sweeps_settle(s, failed);
  forget_old(s);
}

static void on_written(void *ctx, const struct pg_reply *reply) {
  struct sweeps *s = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err);
  if (!ok)
    log_warn("sweep", NULL, "what sweeps decided was not stored, and will be tried again: %s", err.text);
  finish_batch(s, ok ? NULL : &err);
  if (ok && !s->stopping)
    sweeps_kick(s);
}

/* ---- ends come after points ---- */

/* A transaction that says that runs are over whose last points are not in run.metrics yet: those go first. The end of a job has waited for
 * them before (jobs.c); this is for what a worker tells, and for points that came in between. */
struct live_held {
  struct sweeps *all; /* NULL: they are gone */
  struct pg_batch batch;
  size_t waits; /* for so many runs, and while it looks which */
  bool given_up;
};

static void send_held(struct live_held *held) {
  struct sweeps *s = held->all;
  struct err err;
  err_set(&err, ERR_CANCELLED, "the service is stopping");
  if (s)
    s->held = NULL;
  if (s && (held->given_up || !pg_run_batch(s->conf.pg, &held->batch, 0, on_written, s, &err)))
    finish_batch(s, &err);
  pg_batch_release(&held->batch);
  mem_free(held);
}

/* That points cannot be brought up to date keeps no run from ending: who reads it is told of that. */
static void on_points_settled(void *ctx, const struct err *failed) {
  struct live_held *held = ctx;
  held->given_up |= failed && failed->code == ERR_CANCELLED;
  if (--held->waits == 0)
    send_held(held);
}

static bool ends_before_points(const struct sweeps *s, const struct live_write *write) {
  return write->trial && engine_row_is_over(&write->todo.trial) && !live_course(write->trial)->points_given_up &&
         metric_is_behind(s->conf.metrics, write->trial->run);
}

static bool send_rows(struct sweeps *s, struct err *err) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct err ignored;
  size_t first = 0;
  sweep_rows_put(s, &batch);
  while (first < s->write_count && !ends_before_points(s, &s->writes[first]))
    first++;
  if (first == s->write_count)
    return pg_run_batch(s->conf.pg, &batch, 0, on_written, s, err);
  struct live_held *held = mem_zalloc(sizeof *held);
  if (!held)
    return err_no_memory(err);
  *held = (struct live_held){.all = s, .batch = batch, .waits = 1};
  batch = PG_BATCH_INIT;
  s->held = held;
  for (size_t i = first; i < s->write_count; i++)
    held->waits += ends_before_points(s, &s->writes[i]) &&
                   metric_settle_end(s->conf.metrics, s->writes[i].trial->run, on_points_settled, held, &ignored);
  on_points_settled(held, NULL);
  return true;
}

/* While a transaction is on its way, the points of the next one are made. */
static void use_the_wait(struct sweeps *s) {
  LIST_EACH(&s->sweeps, node) {
    struct live_sweep *live = LIST_ENTRY(node, struct live_sweep, node);
    if (live->asks.count)
      live_advance(live);
  }
  for (size_t i = 0; i < s->write_count && !s->wait_used; i++)
    if (i == 0 || s->writes[i].sweep != s->writes[i - 1].sweep)
      live_think_meanwhile(s->writes[i].sweep);
  s->wait_used = true;
}

static void pump(void *ctx) {
  struct sweeps *s = ctx;
  struct err err;
  if (!s->ready || s->stopping)
    return;
  if (s->in_flight) {
    use_the_wait(s);
    return;
  }
  collect(s);
  s->reports_flying = MIN_OF(s->report_count, (size_t)LIVE_BATCH_MAX);
  if (!s->write_count && !s->reports_flying && !deeds_are_due(s)) {
    sweeps_settle(s, NULL);
    return;
  }
  s->in_flight = true;
  s->wait_used = false;
  if (!send_rows(s, &err))
    finish_batch(s, &err);
  else
    sweeps_kick(s);
}

/* ---- snapshots ---- */

static bool is_code_named(void *ctx, const char *sha256) {
  const struct sweeps *s = ctx;
  char named[DIGEST_HEX + 1];
  LIST_EACH(&s->sweeps, node) {
    const struct live_sweep *live = LIST_ENTRY(node, struct live_sweep, node);
    if (!live->over_told && code_digest_read(live->file->spec.workdir, named) && strcmp(named, sha256) == 0)
      return true;
  }
  return damaged_names_code(s, sha256);
}

size_t sweeps_collect_code(struct sweeps *s, int64_t unused_ms, bool dry_run, void (*found)(void *ctx, const char *sha256), void *ctx) {
  struct code_collect how = {.named = is_code_named,
                             .named_ctx = s,
                             .found = found,
                             .found_ctx = ctx,
                             .unused_ms = MAX_OF(unused_ms, (int64_t)CODE_GRACE_MS),
                             .dry_run = dry_run};
  return s->conf.code && s->ready ? code_store_collect(s->conf.code, &how) : 0;
}

static void collect_now_and_then(struct sweeps *s) {
  int64_t now = live_now(s);
  if (s->collected && now - s->collected < LIVE_COLLECT_MS)
    return;
  s->collected = MAX_OF(now, (int64_t)1);
  size_t count = sweeps_collect_code(s, CODE_KEPT_MS, false, NULL, NULL);
  if (count)
    log_info("sweep", NULL, "%zu snapshots that nothing uses any more were removed", count);
}

/* ---- ending jobs with the service ---- */

static void tell_jobs_ended(struct sweeps *s) {
  void (*done)(void *) = s->jobs_ended;
  s->jobs_ended = NULL;
  if (done)
    done(s->jobs_ended_ctx);
}

/* Who was not told, while the database is away say, is told by a signal, and has its grace; who does not listen then, being stopped itself
 * perhaps, is killed. Each once; what it leaves is looked after as ever. */
static bool end_harder(struct sweeps *s) {
  bool kills = s->end_asked;
  if (!s->ready || s->stopping || s->end_killed)
    return false;
  s->end_asked = true;
  s->end_killed = kills;
  size_t count = exec_local_signal_running(s->executor, kills ? SIGKILL : SIGTERM);
  if (!count)
    return false;
  log_warn("sweep", NULL, "%zu jobs have not ended in their time: they are %s", count, kills ? "killed" : "told by a signal");
  s->end_until = live_now(s) + (kills ? 0 : s->end_grace) + LIVE_END_ROOM_MS;
  return true;
}

/* Their ends are stored by the same transactions that free their slots. */
static void look_for_ended(struct sweeps *s) {
  if (!s->jobs_ended)
    return;
  bool over = jobs_are_over(s), late = !over && live_now(s) >= s->end_until;
  if (late && end_harder(s))
    return;
  if (late)
    log_warn("sweep", NULL, "some jobs have not ended in their time; they are left to the next start");
  if (late || over)
    tell_jobs_ended(s);
}

void sweeps_end_jobs(struct sweeps *s, struct str actor, void (*done)(void *ctx), void *ctx) {
  s->jobs_ended = done;
  s->jobs_ended_ctx = ctx;
  s->end_until = INT64_MIN;
  if (s->ready && !s->stopping) {
    s->end_grace = jobs_stop_all(s, actor);
    s->end_until = live_now(s) + s->end_grace + LIVE_END_ROOM_MS;
  }
  loop_timer_start(s->tick, 0);
}

static void on_tick(void *ctx) {
  struct sweeps *s = ctx;
  struct err ignored;
  loop_timer_start(s->tick, s->jobs_ended ? LIVE_TICK_MS / 10 : LIVE_TICK_MS);
  look_for_ended(s);
  if (!s->ready || s->stopping)
    return;
  int64_t now = live_now(s), still = s->ticked ? now - s->ticked - LIVE_TICK_MS : 0;
  s->ticked = now;
  LIST_EACH(&s->sweeps, node) {
    struct live_sweep *live = LIST_ENTRY(node, struct live_sweep, node);
    if (still >= LIVE_STILL_MS)
      engine_stood_still(live->engine, still);
    engine_tick(live->engine, now);
    live->refresh = true;
    live->in_vain.is = live->barren = false;
  }
  s->deeds_wait = false;
  if (s->must_look)
    (void)!sweeps_look_into_trash(s, STR_NONE, NULL, NULL, &ignored);
  jobs_tick(s);
  register_tick(s);
  collect_now_and_then(s);
  sweeps_kick(s);
}

/* ---- making, finding ---- */

struct sweeps *sweeps_new(const struct sweeps_conf *conf, struct err *err) {
  struct sweeps *s = mem_zalloc(sizeof *s);
  if (!s) {
    err_no_memory(err);
    return NULL;
  }
  s->conf = *conf;
  s->write_changes = pump;
  map_init(&s->by_id, LIVE_SWEEPS_MAX);
  id_map_init(&s->by_run, ENGINE_TRIALS_MAX);
  id_map_init(&s->deeds_by_run, LIVE_BATCH_DEEDS_MAX);
  s->tick = loop_timer_new(conf->loop, on_tick, s);
  s->reparse = mem_zalloc(sizeof *s->reparse);
  if (!s->tick || !s->reparse)
    err_no_memory(err);
  if (!s->tick || !s->reparse || !register_new(s, err) || !jobs_new(s, err)) {
    sweeps_free(s);
    return NULL;
  }
  return s;
}

void sweeps_stop(struct sweeps *s) {
  struct err err;
  if (!s || s->stopping)
    return;
  err_set(&err, ERR_UNAVAILABLE, "the service is stopping");
  sweeps_settle(s, &err);
  s->stopping = true;
  jobs_tick(s);
  loop_timer_stop(s->tick);
}

static void reports_release(struct sweeps *s) {
  for (size_t i = 0; i < s->report_count; i++)
    mem_free(s->reports[i].key);
  mem_free(s->reports);
}

void sweeps_free(struct sweeps *s) {
  if (!s)
    return;
  s->stopping = true;
  if (s->held)
    s->held->all = NULL;
  loop_defer_cancel(&s->pump);
  loop_timer_free(s->tick);
  for (struct list_node *node; (node = list_pop_front(&s->sweeps));)
    live_free(LIST_ENTRY(node, struct live_sweep, node));
  damaged_forget_all(s);
  resting_forget_all(s);
  jobs_free(s);
  importance_cache_free(s->importance);
  register_free(s);
  mem_free(s->reparse);
  reports_release(s);
  deeds_release(s);
  mem_free(s->writes);
  map_release(&s->by_id);
  id_map_release(&s->by_run);
  mem_free(s);
}

void sweeps_hide(struct sweeps *s, struct id sweep, struct str actor) {
  sweeps_forget_id(s, sweep);
  damaged_forget(s, sweep);
  resting_let_go(s, sweep, actor);
}

struct sweeps_load_figures sweeps_figures(const struct sweeps *s) {
  struct sweeps_load_figures figures = {.sweeps = s->sweeps.count, .trials = s->by_run.count, .waiting = schedule_waiting(s->schedule)};
  figures.running = exec_local_count(s->executor);
  return figures;
}
