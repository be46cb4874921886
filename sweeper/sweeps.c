/* All sweeps that live: what changed goes to the database, a transaction at a time, and what came of it goes back to the engines. */
#include "sweeper/live.h"

#include <signal.h>

#include "base/log.h"
#include "base/mem.h"
#include "storage/metrics/metric_store.h"
#include "sweeper/jobs/code_store.h"
#include "sweeper/jobs/exec_local.h"
#include "sweeper/jobs/jobs.h"

static struct str id_key(const struct id *id) {
  return str_n((const char *)id->bytes, sizeof id->bytes);
}

/* ---- who waits ---- */

static bool is_met(const struct live_waiter *waiter) {
  const struct live_sweep *live = waiter->sweep;
  return live->written >= waiter->version && live->reports_durable >= waiter->reports && deeds_are_durable(live->all, waiter->deeds) &&
         (!waiter->trial || engine_trial_durable(live->engine, waiter->trial->number));
}

static void settle(struct sweeps *s, const struct err *failed) {
  LIST_EACH(&s->sweeps, node)
  live_settle_asks(LIST_ENTRY(node, struct live_sweep, node), failed);
  LIST_EACH(&s->waiters, node) {
    struct live_waiter *waiter = LIST_ENTRY(node, struct live_waiter, node);
    if (!failed && !is_met(waiter))
      continue;
    list_remove(&waiter->node);
    waiter->done(waiter->ctx, failed && !is_met(waiter) ? failed : NULL);
    mem_free(waiter);
  }
}

bool sweeps_wait(struct live_sweep *live, struct live_trial *trial, sweeps_done_fn *done, void *ctx, struct err *err) {
  struct sweeps *s = live->all;
  if (s->waiters.count >= LIVE_WAITING_MAX || s->stopping)
    return err_set(err, s->stopping ? ERR_UNAVAILABLE : ERR_OVERLOADED, s->stopping ? "the service is stopping" : "too many requests wait");
  struct live_waiter *waiter = mem_zalloc(sizeof *waiter);
  if (!waiter)
    return err_no_memory(err);
  *waiter = (struct live_waiter){.sweep = live,
                                 .trial = trial,
                                 .version = engine_sweep(live->engine).version,
                                 .reports = live->reports,
                                 .deeds = live->deeds,
                                 .done = done,
                                 .ctx = ctx};
  list_push_back(&s->waiters, &waiter->node);
  sweeps_kick(s);
  return true;
}

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
    jobs_release(trial);
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
    jobs_enqueue(trial);
    break;
  case TODO_DEQUEUE:
  case TODO_RELEASE:
    jobs_release(trial);
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
  } while (jobs_place(s));
}

bool sweeps_is_busy(const struct live_sweep *live) {
  bool busy = !live->over_told || live->thinking || live->asks.count || live->reports_durable < live->reports;
  for (struct list_node *w = live->all->waiters.first; w && !busy; w = w->next)
    busy = LIST_ENTRY(w, struct live_waiter, node)->sweep == live;
  return busy;
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

void sweeps_tell(const struct sweeps *s, const struct sweeps_change *change) {
  if (s->conf.on_change && !s->stopping)
    s->conf.on_change(s->conf.change_ctx, change);
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
    jobs_release(&live->seat);
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
  settle(s, failed);
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
    settle(s, NULL);
    return;
  }
  s->in_flight = true;
  s->wait_used = false;
  if (!send_rows(s, &err))
    finish_batch(s, &err);
  else
    sweeps_kick(s);
}

void sweeps_kick(struct sweeps *s) {
  loop_defer(s->conf.loop, &s->pump, pump, s);
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
  jobs_tick(s);
  register_tick(s);
  collect_now_and_then(s);
  sweeps_kick(s);
}

/* ---- making, finding ---- */

bool sweeps_ready(const struct sweeps *s, struct err *err) {
  return (s && s->ready && !s->stopping) || err_set(err, ERR_UNAVAILABLE, "sweeps are not there yet");
}

struct live_sweep *sweeps_find(const struct sweeps *s, struct id sweep) {
  return map_get(&s->by_id, id_key(&sweep));
}

void sweeps_missed(struct sweeps *s, struct id run) {
  struct live_trial *trial = sweeps_trial(s, run);
  if (trial)
    live_note_missed(trial);
}

struct live_trial *sweeps_trial(const struct sweeps *s, struct id run) {
  struct id *id = id_map_get(&s->by_run, run);
  struct live_trial *trial = id ? CONTAINER_OF(id, struct live_trial, run) : NULL;
  return trial && !trial->sweep->damage ? trial : NULL;
}

bool sweeps_runs(const struct sweeps *s, struct id run, int32_t attempt) {
  const struct live_trial *trial = sweeps_trial(s, run);
  const struct engine_trial *row = trial ? engine_trial(trial->sweep->engine, trial->number) : NULL;
  return row && row->attempt == (uint32_t)attempt && !row->dead;
}

struct sweeps *sweeps_new(const struct sweeps_conf *conf, struct err *err) {
  struct sweeps *s = mem_zalloc(sizeof *s);
  if (!s) {
    err_no_memory(err);
    return NULL;
  }
  s->conf = *conf;
  map_init(&s->by_id, LIVE_SWEEPS_MAX);
  id_map_init(&s->by_run, ENGINE_TRIALS_MAX);
  id_map_init(&s->deeds_by_run, LIVE_BATCH_DEEDS_MAX);
  s->tick = loop_timer_new(conf->loop, on_tick, s);
  if (!s->tick)
    err_no_memory(err);
  if (!s->tick || !jobs_new(s, err)) {
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
  settle(s, &err);
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
  register_release(&s->registrar);
  reports_release(s);
  deeds_release(s);
  mem_free(s->writes);
  map_release(&s->by_id);
  id_map_release(&s->by_run);
  mem_free(s);
}

struct sweeps_load_figures sweeps_figures(const struct sweeps *s) {
  struct sweeps_load_figures figures = {.sweeps = s->sweeps.count, .trials = s->by_run.count, .waiting = schedule_waiting(s->schedule)};
  figures.running = exec_local_count(s->executor);
  return figures;
}

bool sweeps_list(struct sweeps *s, struct live_sweep *live, struct err *err) {
  if (s->sweeps.count >= LIVE_SWEEPS_MAX || (!live->single && !map_put(&s->by_id, id_key(&live->id), live, NULL)))
    return err_set(err, ERR_LIMIT, "there are too many sweeps and launched runs at once");
  if (!live->conf.asks) {
    if (!schedule_group_add(s->schedule, &live->group, err)) {
      map_remove(&s->by_id, id_key(&live->id));
      return false;
    }
    live->has_group = true;
    jobs_set_group(live);
  }
  list_push_back(&s->sweeps, &live->node);
  return true;
}

void sweeps_take_out(struct live_sweep *live) {
  list_remove(&live->node);
  if (!live->single)
    map_remove(&live->all->by_id, id_key(&live->id));
}

void sweeps_drop(struct live_sweep *live) {
  struct schedule *schedule = live->all->schedule;
  bool has_group = live->has_group;
  uint32_t group = live->group;
  live_free(live); /* first: only a group without jobs can be removed */
  if (has_group)
    schedule_group_remove(schedule, group);
}

void sweeps_unlist(struct live_sweep *live) {
  sweeps_take_out(live);
  sweeps_drop(live);
}

/* ---- edits ---- */

struct editing {
  struct sweeps *all;
  struct id sweep;
  json_t *edits;
  sweeps_done_fn *done;
  void *ctx;
};

/* An edit could not bring it back: it would be told to be done, and come to nothing. */
static bool may_edit(const struct live_sweep *live, struct err *err) {
  if (!live || live_is_over(live))
    return err_set(err, ERR_WRONG_STATE, "the sweep is %s", live ? sweep_state_text(engine_sweep(live->engine).state) : "over");
  return true;
}

static void on_edited(void *ctx, const struct pg_reply *reply) {
  struct editing *editing = ctx;
  struct err err;
  struct live_sweep *live = sweeps_find(editing->all, editing->sweep);
  bool ok = pg_ok(reply, &err) && may_edit(live, &err) && (pg_rows(reply) || err_set(&err, ERR_NOT_FOUND, "there is no such sweep"));
  if (ok)
    live_apply_edits(live, editing->edits);
  editing->done(editing->ctx, ok ? NULL : &err);
  json_decref(editing->edits);
  mem_free(editing);
}

static int64_t limit_now(const struct live_sweep *live, const char *key) {
  const struct {
    const char *key;
    int64_t value;
  } limits[] = {{"run_cap", live->run_cap},
                {"max_parallel", live->max_parallel},
                {"priority", live->priority},
                {"max_time", live->conf.max_time_ms / 1000}};
  for (size_t i = 0; i < ARRAY_LEN(limits); i++)
    if (strcmp(limits[i].key, key) == 0)
      return limits[i].value;
  return 0;
}

static void put_limit(struct buf *out, const char *key, int64_t value) {
  if (value || strcmp(key, "priority") == 0)
    buf_printf(out, " %lld", (long long)value);
  else
    buf_puts(out, " none");
}

/* What it was and will be, for the event: "run_cap 40, max_time none". Notes are named alone. */
static void describe_edits(const struct live_sweep *live, const json_t *edits, struct buf *was, struct buf *is) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)edits, key, value) {
    buf_printf(was, "%s%s", was->n ? ", " : "", key);
    buf_printf(is, "%s%s", is->n ? ", " : "", key);
    if (strcmp(key, "notes") == 0)
      continue;
    put_limit(was, key, limit_now(live, key));
    if (json_is_string(value))
      buf_printf(is, " %.40s", json_string_value(value));
    else
      put_limit(is, key, json_integer_value(value));
  }
}

bool live_edit(struct live_sweep *live, const json_t *edits, struct str actor, sweeps_done_fn *done, void *ctx, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  AUTO_BUF struct buf was = BUF_INIT(KIB), is = BUF_INIT(KIB);
  pg_args_init(&args, STMT_SWEEP_EDIT);
  if (!may_edit(live, err))
    return false;
  struct editing *editing = mem_zalloc(sizeof *editing);
  if (!editing)
    return err_no_memory(err);
  *editing = (struct editing){live->all, live->id, json_deep_copy(edits), done, ctx};
  describe_edits(live, edits, &was, &is);
  pg_put_uuid(&args, live->id);
  sweep_rows_put_json(&args, edits);
  pg_put_int(&args, live_wall(live->all));
  pg_put_text(&args, actor);
  pg_put_text(&args, buf_str(&was));
  pg_put_text(&args, buf_str(&is));
  if (editing->edits && pg_run(live->all->conf.pg, &args, 0, on_edited, editing, err))
    return true;
  if (!editing->edits)
    err_no_memory(err);
  json_decref(editing->edits);
  mem_free(editing);
  return false;
}
