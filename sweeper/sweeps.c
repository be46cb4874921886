/* All sweeps that live: what changed goes to the database, a transaction at a time, and what came of it goes back to the engines. */
#include "sweeper/live.h"

#include "base/log.h"
#include "base/mem.h"
#include "sweeper/command.h"

enum { BATCH_ROWS_MAX = 20000, NORMAL_MAX = 4 * 1024 * 1024, SUMMARY_MAX = 8 * 1024 * 1024 };

static struct str id_key(const struct id *id) {
  return str_n((const char *)id->bytes, sizeof id->bytes);
}

/* ---- the rows of a transaction ---- */

static bool is_over(const struct engine_trial *row) {
  return fsm_is_final(&run_fsm, row->state) && (row->state != RUN_LOST || row->dead);
}

static void put_opt_text(struct pg_args *args, const char *text) {
  if (text)
    pg_put_text(args, str_of(text));
  else
    pg_put_null(args);
}

static void put_opt_int(struct pg_args *args, bool has, int64_t value) {
  if (has)
    pg_put_int(args, value);
  else
    pg_put_null(args);
}

static void put_opt_float(struct pg_args *args, bool has, double value) {
  if (has)
    pg_put_float8(args, value);
  else
    pg_put_null(args);
}

static void flat_params(const json_t *params, const char *prefix, const struct live_sweep *live, json_t *out) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)params, key, value) {
    AUTO_BUF struct buf name = BUF_INIT(4 * KIB), text = BUF_INIT(64 * KIB);
    buf_printf(&name, "%s%s%s", prefix, prefix[0] ? "." : "", key);
    if (json_is_object(value)) {
      flat_params(value, buf_text(&name), live, out);
      continue;
    }
    command_value(value, live->file->spec.args_style, &text);
    json_object_set_new(out, buf_text(&name), json_stringn(buf_text(&text), text.n));
  }
}

static void put_json(struct pg_args *args, const json_t *json) {
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  struct json_writer w;
  jw_init(&w, &text);
  jw_json(&w, json);
  if (text.fail)
    args->fail = text.fail;
  pg_put_jsonb(args, buf_str(&text));
}

static void put_params(struct pg_args *args, const struct live_write *write) {
  AUTO_JSON json_t *typed = live_params(write->trial), *flat = json_object();
  if (typed && flat)
    flat_params(typed, "", write->sweep, flat);
  put_json(args, flat);
}

static void put_point(struct pg_args *args, const struct live_write *write) {
  AUTO_JSON json_t *typed = live_params(write->trial);
  put_json(args, typed);
}

static void put_asked(struct pg_args *args, const struct live_write *write) {
  char text[80];
  snprintf(text, sizeof text, "{\"tells\":%u,\"pending\":%u}", write->trial->tells, write->trial->pending);
  pg_put_jsonb(args, str_of(text));
}

static void put_name(struct pg_args *args, const struct live_write *write) {
  char text[SWEEP_NAME_MAX + 24];
  snprintf(text, sizeof text, "%.*s-%u", SWEEP_NAME_MAX, write->sweep->name, write->trial->number);
  pg_put_text(args, str_of(text));
}

typedef void put_fn(struct pg_args *args, const struct live_write *write);

static void put_run(struct pg_args *args, const struct live_write *write) {
  pg_put_uuid(args, write->trial->run);
}
static void put_experiment(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->sweep->experiment_id);
}
static void put_sweep(struct pg_args *args, const struct live_write *write) {
  pg_put_uuid(args, write->sweep->id);
}
static void put_number(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->trial->number);
}
static void put_created(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->trial->created);
}
static void put_executor(struct pg_args *args, const struct live_write *write) {
  put_opt_text(args, write->sweep->conf.asks ? NULL : "local");
}
static void put_version(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, (int64_t)write->todo.trial.version);
}
static void put_state(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->todo.trial.state);
}
static void put_attempt(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->todo.trial.attempt);
}
static void put_cause(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->todo.trial.cause);
}
static void put_retries(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->todo.trial.retries);
}
static void put_dead(struct pg_args *args, const struct live_write *write) {
  pg_put_bool(args, write->todo.trial.dead);
}
static void put_value(struct pg_args *args, const struct live_write *write) {
  put_opt_float(args, write->todo.trial.has_value, write->trial->value);
}
static void put_value_step(struct pg_args *args, const struct live_write *write) {
  put_opt_int(args, write->todo.trial.has_value, write->trial->value_step);
}
static void put_best(struct pg_args *args, const struct live_write *write) {
  put_opt_float(args, write->todo.trial.has_value && !isnan(write->trial->best), write->trial->best);
}
static void put_started(struct pg_args *args, const struct live_write *write) {
  pg_put_int(args, write->trial->started);
}
static void put_ended(struct pg_args *args, const struct live_write *write) {
  put_opt_int(args, write->trial->ended > 0, write->trial->ended);
}
static void put_told(struct pg_args *args, const struct live_write *write) {
  put_opt_int(args, write->trial->told >= 0, write->trial->told);
}
static void put_slots(struct pg_args *args, const struct live_write *write) {
  put_opt_int(args, !write->sweep->conf.asks && write->todo.trial.attempt > 0, write->sweep->conf.slots);
}
static void put_reason(struct pg_args *args, const struct live_write *write) {
  put_opt_text(args, live_reason(write->trial, &write->todo.trial));
}
static void put_stop(struct pg_args *args, const struct live_write *write) {
  pg_put_jsonb(args, write->todo.trial.cause == CAUSE_VERDICT ? str_of(write->trial->stop) : STR_NONE);
}
static void put_exit_code(struct pg_args *args, const struct live_write *write) {
  put_opt_int(args, write->trial->has_exit && !write->trial->by_signal, write->trial->exit);
}
static void put_signal(struct pg_args *args, const struct live_write *write) {
  put_opt_int(args, write->trial->has_exit && write->trial->by_signal, write->trial->exit);
}
static void put_worker(struct pg_args *args, const struct live_write *write) {
  put_opt_text(args, write->trial->worker);
}

static put_fn *const create_columns[] = {put_run,  put_experiment, put_sweep,  put_number, put_created,
                                         put_name, put_executor,   put_params, put_point,  put_asked};
static put_fn *const update_columns[] = {put_run,    put_version,    put_state,     put_attempt, put_cause, put_retries, put_dead,
                                         put_value,  put_value_step, put_best,      put_started, put_ended, put_told,    put_slots,
                                         put_reason, put_stop,       put_exit_code, put_signal,  put_worker};

static void put_columns(struct pg_args *args, const struct sweeps *s, put_fn *const *columns, size_t count, bool created_only) {
  for (size_t c = 0; c < count; c++) {
    pg_begin_array(args);
    for (size_t i = 0; i < s->write_count; i++)
      if (s->writes[i].trial && (!created_only || s->writes[i].todo.creation))
        columns[c](args, &s->writes[i]);
    pg_end_array(args);
  }
}

static void put_reports(struct pg_args *args, const struct sweeps *s) {
  for (unsigned column = 0; column < 8; column++) {
    pg_begin_array(args);
    for (size_t i = 0; i < s->reports_flying; i++) {
      const struct pending_report *r = &s->reports[i];
      switch (column) {
      case 0:
        pg_put_uuid(args, r->sweep->id);
        break;
      case 1:
        pg_put_int(args, r->n);
        break;
      case 2:
        pg_put_int(args, r->trial);
        break;
      case 3:
        pg_put_int(args, r->attempt);
        break;
      case 4:
        pg_put_text(args, str_of(r->key));
        break;
      case 5:
        pg_put_float8(args, r->value);
        break;
      case 6:
        pg_put_int(args, r->step);
        break;
      default:
        put_opt_float(args, !isnan(r->epoch), r->epoch);
        break;
      }
    }
    pg_end_array(args);
  }
}

static void put_warnings(struct pg_args *args, const struct live_sweep *live) {
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  struct json_writer w;
  jw_init(&w, &text);
  jw_array(&w);
  for (size_t i = 0; i < live->warning_count; i++)
    jw_text(&w, live->warnings[i]);
  jw_array_end(&w);
  pg_put_jsonb(args, buf_str(&text));
}

static void put_sweep_create(struct pg_args *args, const struct live_sweep *live) {
  pg_put_uuid(args, live->id);
  pg_put_int(args, live->experiment_id);
  pg_put_int(args, live->created);
  pg_put_int(args, live->seed);
  pg_put_text(args, str_of(live->name));
  pg_put_text(args, str_of(live->directory));
  pg_put_text(args, str_of(live->source));
  pg_put_text(args, str_of(live->normal));
  put_warnings(args, live);
}

static void put_sweep_update(struct pg_args *args, const struct live_sweep *live, const struct engine_sweep *row) {
  AUTO_BUF struct buf text = BUF_INIT(SUMMARY_MAX);
  struct json_writer w;
  pg_put_uuid(args, live->id);
  pg_put_int(args, (int64_t)row->version);
  pg_put_int(args, row->state);
  pg_put_int(args, row->why);
  pg_put_bool(args, row->exhausted);
  pg_put_int(args, row->elapsed_ms);
  pg_put_int(args, row->slot_ms);
  put_opt_int(args, live->ended > 0, live->ended);
  if (!live->ended) {
    pg_put_null(args);
    return;
  }
  jw_init(&w, &text);
  live_put_sweep(live, &w);
  pg_put_jsonb(args, buf_str(&text));
}

/* ---- who waits ---- */

static bool is_met(const struct live_waiter *waiter) {
  const struct live_sweep *live = waiter->sweep;
  return live->written >= waiter->version && live->reports_durable >= waiter->reports &&
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
  *waiter = (struct live_waiter){
      .sweep = live, .trial = trial, .version = engine_sweep(live->engine).version, .reports = live->reports, .done = done, .ctx = ctx};
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
  if (room)
    s->writes[s->write_count++] = *write;
  else if (write->todo.kind == TODO_WRITE_SWEEP)
    engine_sweep_written(write->sweep->engine, write->todo.sweep.version, false);
  else
    engine_trial_written(write->sweep->engine, write->todo.trial.number, write->todo.trial.version, false);
}

/* What the row's new state means besides being stored. */
static void follow_row(struct live_trial *trial, const struct engine_trial *row) {
  int64_t wall = live_wall(trial->sweep->all);
  if (row->state == RUN_RUNNING && !trial->started)
    trial->started = wall;
  if (is_over(row) && !trial->ended)
    trial->ended = wall;
  live_note_end(trial, row);
}

static void take_todo(struct live_sweep *live, const struct engine_todo *todo) {
  struct live_trial *trial = todo->kind == TODO_WRITE_SWEEP         ? NULL
                             : todo->trial.number < live->trial_cap ? live->trials[todo->trial.number]
                                                                    : NULL;
  struct live_write write = {.sweep = live, .trial = trial, .todo = *todo};
  switch (todo->kind) {
  case TODO_WRITE_SWEEP:
    if (fsm_is_final(&sweep_fsm, todo->sweep.state) && !live->ended)
      live->ended = live_wall(live->all);
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
  while (s->write_count < BATCH_ROWS_MAX && (todo = engine_next(live->engine)).kind != TODO_NONE)
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

static void on_written(void *ctx, const struct pg_reply *reply);

static bool send(struct sweeps *s, struct err *err) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  bool creates = false, updates = false;
  pg_put_int(pg_batch_add(&batch, STMT_ENGINE_EPOCH), s->epoch);
  for (size_t i = 0; i < s->write_count; i++) {
    const struct live_write *write = &s->writes[i];
    creates |= write->todo.creation && write->trial;
    updates |= write->trial != NULL;
    if (write->trial)
      continue;
    if (!write->sweep->stored)
      put_sweep_create(pg_batch_add(&batch, STMT_SWEEP_CREATE), write->sweep);
    put_sweep_update(pg_batch_add(&batch, STMT_SWEEP_UPDATE), write->sweep, &write->todo.sweep);
  }
  if (creates)
    put_columns(pg_batch_add(&batch, STMT_TRIALS_CREATE), s, create_columns, ARRAY_LEN(create_columns), true);
  if (updates)
    put_columns(pg_batch_add(&batch, STMT_TRIALS_UPDATE), s, update_columns, ARRAY_LEN(update_columns), false);
  if (s->reports_flying)
    put_reports(pg_batch_add(&batch, STMT_REPORTS_ADD), s);
  return pg_run_batch(s->conf.pg, &batch, 0, on_written, s, err);
}

static void forget_old(struct sweeps *s) {
  size_t over = 0;
  LIST_EACH(&s->sweeps, node)
  over += LIST_ENTRY(node, struct live_sweep, node)->over_told;
  LIST_EACH(&s->sweeps, node) {
    struct live_sweep *live = LIST_ENTRY(node, struct live_sweep, node);
    if (over <= LIVE_OVER_KEPT)
      return;
    bool busy = !live->over_told || live->thinking || live->asks.count || live->reports_durable < live->reports;
    for (struct list_node *w = s->waiters.first; w && !busy; w = w->next)
      busy = LIST_ENTRY(w, struct live_waiter, node)->sweep == live;
    if (busy)
      continue;
    over--;
    list_remove(&live->node);
    map_remove(&s->by_id, id_key(&live->id));
    live_free(live);
  }
}

static void note_written(const struct live_write *write, bool ok) {
  struct live_sweep *live = write->sweep;
  if (write->trial) {
    engine_trial_written(live->engine, write->trial->number, write->todo.trial.version, ok);
    return;
  }
  engine_sweep_written(live->engine, write->todo.sweep.version, ok);
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
    if (live->has_group)
      schedule_group_remove(live->all->schedule, live->group);
    live->has_group = false;
    log_info("sweep", NULL, "%s: %s", live->name, sweep_state_text(write->todo.sweep.state));
  }
}

static void finish_batch(struct sweeps *s, const struct err *failed) {
  s->in_flight = false;
  for (size_t i = 0; i < s->write_count; i++)
    note_written(&s->writes[i], !failed);
  s->write_count = 0;
  if (!failed && s->reports_flying) {
    for (size_t i = 0; i < s->reports_flying; i++) {
      s->reports[i].sweep->reports_durable = s->reports[i].n + 1;
      mem_free(s->reports[i].key);
    }
    s->report_count -= s->reports_flying;
    memmove(s->reports, s->reports + s->reports_flying, s->report_count * sizeof *s->reports);
  }
  s->reports_flying = 0;
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

static void pump(void *ctx) {
  struct sweeps *s = ctx;
  struct err err;
  if (s->in_flight || !s->ready || s->stopping)
    return;
  collect(s);
  s->reports_flying = MIN_OF(s->report_count, (size_t)BATCH_ROWS_MAX);
  if (!s->write_count && !s->reports_flying) {
    settle(s, NULL);
    return;
  }
  s->in_flight = true;
  if (!send(s, &err))
    finish_batch(s, &err);
}

void sweeps_kick(struct sweeps *s) {
  loop_defer(s->conf.loop, &s->pump, pump, s);
}

static void on_tick(void *ctx) {
  struct sweeps *s = ctx;
  loop_timer_start(s->tick, LIVE_TICK_MS);
  if (!s->ready || s->stopping)
    return;
  LIST_EACH(&s->sweeps, node)
  engine_tick(LIST_ENTRY(node, struct live_sweep, node)->engine, live_now(s));
  jobs_tick(s);
  sweeps_kick(s);
}

/* ---- making, finding ---- */

bool sweeps_ready(const struct sweeps *s, struct err *err) {
  return (s && s->ready && !s->stopping) || err_set(err, ERR_UNAVAILABLE, "sweeps are not there yet");
}

struct live_sweep *sweeps_find(const struct sweeps *s, struct id sweep) {
  return map_get(&s->by_id, id_key(&sweep));
}

void sweeps_hide(struct sweeps *s, struct id sweep) {
  map_remove(&s->by_id, id_key(&sweep));
}

struct live_trial *sweeps_trial(const struct sweeps *s, struct id run) {
  return map_get(&s->by_run, id_key(&run));
}

struct sweeps *sweeps_new(const struct sweeps_conf *conf, struct err *err) {
  struct sweeps *s = mem_zalloc(sizeof *s);
  if (!s) {
    err_no_memory(err);
    return NULL;
  }
  s->conf = *conf;
  map_init(&s->by_id, LIVE_SWEEPS_MAX);
  map_init(&s->by_run, ENGINE_TRIALS_MAX);
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
  loop_defer_cancel(&s->pump);
  loop_timer_free(s->tick);
  for (struct list_node *node; (node = list_pop_front(&s->sweeps));)
    live_free(LIST_ENTRY(node, struct live_sweep, node));
  jobs_free(s);
  reports_release(s);
  mem_free(s->writes);
  map_release(&s->by_id);
  map_release(&s->by_run);
  mem_free(s);
}

struct sweeps_load_figures sweeps_figures(const struct sweeps *s) {
  struct sweeps_load_figures figures = {.sweeps = s->sweeps.count, .trials = s->by_run.count, .waiting = schedule_waiting(s->schedule)};
  figures.running = exec_local_count(s->executor);
  return figures;
}

static bool list_sweep(struct sweeps *s, struct live_sweep *live, struct err *err) {
  if (!map_put(&s->by_id, id_key(&live->id), live, NULL))
    return err_set(err, ERR_LIMIT, "there are too many sweeps at once");
  if (!live->conf.asks) {
    if (!schedule_group_add(s->schedule, &live->group, err)) {
      map_remove(&s->by_id, id_key(&live->id));
      return false;
    }
    live->has_group = true;
    schedule_group_set(s->schedule, live->group, live->conf.max_parallel, engine_sweep(live->engine).state == SWEEP_PAUSED);
  }
  list_push_back(&s->sweeps, &live->node);
  return true;
}

/* ---- submitting ---- */

static bool refuse(const char *key, const char *why, struct err *err) {
  return err_set(err, ERR_UNSUPPORTED, "\"%s\" is not supported yet: %s", key, why);
}

static void warn(struct sweep_file *file, const char *path, const char *text) {
  spec_problem_add(&file->warnings, NULL, path, NULL, "%s: %s", path, text);
}

/* What is read, and not heeded yet. */
static void warn_of_the_unheeded(struct sweep_file *file) {
  const struct sweep_spec *spec = &file->spec;
  const struct {
    bool given;
    const char *path, *text;
  } rows[] = {
      {spec->on_nan != 0, "on_nan", "not heeded yet: a trial whose value is NaN counts as the worst"},
      {spec->metric.impute != 0, "metric.impute", "not heeded yet: a failed trial counts as the worst"},
      {spec->metric.impute_while_running != 0, "metric.impute_while_running",
       "not heeded yet: the sampler has its own way with running trials"},
      {spec->sampler.has_staleness, "sampler.staleness", "not heeded yet: suggestions are made when they are asked for"},
      {spec->log_max != GIB, "log_max", "not heeded yet: all output is kept"},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++)
    if (rows[i].given)
      warn(file, rows[i].path, rows[i].text);
}

bool sweeps_check(struct sweeps *s, struct sweep_file *file, struct str directory, struct err *err) {
  const struct sweep_spec *spec = &file->spec;
  warn_of_the_unheeded(file);
  if (spec->executor != EXECUTOR_LOCAL)
    return refuse("executor", "jobs run on this machine only", err);
  if (spec->register_model.given)
    return refuse("register", "register the best model by hand when the sweep is over", err);
  if (spec->artifacts.count)
    return refuse("artifacts", "let the command store them, with the MLflow client or over HTTP", err);
  if (spec->prior && spec->prior->kind != YN_NULL && spec->prior->count)
    return refuse("prior", "a sweep begins without earlier results", err);
  if (spec->metrics_from.count)
    return refuse("metrics_from", "metrics are read by the built-in patterns from both streams", err);
  if (spec->tty)
    return refuse("tty", "commands write into files", err);
  if (!spec->has_command)
    return true;
  if ((uint32_t)spec->resources.slots > s->conf.slots)
    return err_set(err, ERR_INVALID, "a trial wants %lld slots, and there are %u", (long long)spec->resources.slots, s->conf.slots);
  if (spec->workdir.n && spec->workdir.p[0] != '/' && !directory.n && !str_is(spec->workdir, ".")) {
    err_set(err, ERR_INVALID, "\"workdir\" is not absolute, and it is not known where it begins");
    return err_hint(err, "give an absolute path, or submit with winnow sweep create");
  }
  if (spec->workdir_mode == 0 && (directory.n || (spec->workdir.n && spec->workdir.p[0] == '/')))
    warn(file, "workdir_mode", "trials run in the directory itself, not in a copy: do not edit it while the sweep runs");
  if (spec->links.count)
    warn(file, "links", "not needed while trials run in the directory itself");
  return true;
}

static bool put_points(const struct live_sweep *live, struct json_writer *w, json_t **ret_first, struct err *err) {
  double point[SPACE_PARAMS_MAX];
  for (uint32_t n = 0; n < LIVE_PREVIEW_POINTS; n++) {
    struct suggestion suggestion;
    if (!sampler_suggest(live->sampler, n, point, &suggestion, err))
      return false;
    if (suggestion.kind == SUGGESTION_NONE_LEFT)
      return true;
    AUTO_JSON json_t *params = space_point_to_json(live->space, point);
    if (!params || !history_add(live->history, n, point, NULL, err))
      return params ? false : err_no_memory(err);
    jw_json(w, params);
    if (n == 0)
      *ret_first = json_incref(params);
  }
  return true;
}

static void put_command(const struct sweep_file *file, const json_t *params, struct json_writer *w) {
  AUTO_ARENA struct arena arena = ARENA_INIT(4 * MIB);
  struct spec_texts argv;
  struct err ignored; /* no command, or it cannot be built from this point: then there is none to show */
  jw_key(w, "command");
  if (!file->spec.has_command || !params || !jobs_command(file, params, &arena, &argv, &ignored)) {
    jw_null(w);
    return;
  }
  jw_array(w);
  for (size_t i = 0; i < argv.count; i++)
    jw_str(w, argv.items[i]);
  jw_array_end(w);
}

static void put_ladder(const struct sweep_file *file, struct json_writer *w) {
  double rungs[64];
  jw_key(w, "rungs");
  jw_array(w);
  for (size_t i = 0; i < file->spec.early_terminate.count; i++) {
    size_t n = stop_ladder(&((const struct stop_conf *)file->spec.early_terminate.items)[i], 0, rungs, ARRAY_LEN(rungs));
    for (size_t k = 0; k < n; k++)
      jw_f64(w, rungs[k]);
  }
  jw_array_end(w);
}

static struct sweep_file *read_again(const struct sweep_file *file, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(NORMAL_MAX);
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct spec_problems errors;
  struct sweep_file *copy;
  return sweep_file_normal_form(file, &text, err) && sweep_file_read(buf_str(&text), "", &arena, &copy, &errors, err) ? copy : NULL;
}

static int64_t seed_of(struct sweeps *s, const struct sweep_file *file) {
  return file->spec.sampler.has_seed ? file->spec.sampler.seed : (int64_t)(rng_u64(&s->conf.rng) >> 33);
}

bool sweeps_preview(struct sweeps *s, const struct sweep_file *file, struct json_writer *w, struct err *err) {
  AUTO_BUF struct buf normal = BUF_INIT(NORMAL_MAX);
  AUTO_JSON json_t *first = NULL;
  struct live_sweep *live;
  struct sweep_file *copy = sweep_file_normal_form(file, &normal, err) ? read_again(file, err) : NULL;
  if (!copy || !live_new(s, copy, (struct id){{0}}, seed_of(s, file), NULL, &live, err))
    return false;
  jw_object(w);
  jw_key(w, "spec");
  jw_raw(w, buf_str(&normal));
  jw_put_i64(w, "cells", (int64_t)sampler_cells(live->sampler));
  put_ladder(file, w);
  jw_key(w, "points");
  jw_array(w);
  bool ok = put_points(live, w, &first, err);
  jw_array_end(w);
  put_command(file, first, w);
  jw_key(w, "warnings");
  jw_array(w);
  for (size_t i = 0; i < MIN_OF(file->warnings.count, (size_t)SPEC_PROBLEMS_MAX); i++)
    jw_text(w, file->warnings.items[i].message);
  jw_array_end(w);
  jw_object_end(w);
  live_free(live);
  return ok;
}

struct making {
  struct sweeps *all;
  struct live_sweep *live;
  sweeps_made_fn *done;
  void *ctx;
};

static void made(void *ctx, const struct err *err) {
  struct making *making = ctx;
  making->done(making->ctx, err ? NULL : making->live, err);
  mem_free(making);
}

static void not_made(struct making *making, const struct err *err) {
  making->done(making->ctx, NULL, err);
  live_free(making->live);
  mem_free(making);
}

static void on_experiment(void *ctx, const struct pg_reply *reply) {
  struct making *making = ctx;
  struct sweeps *s = making->all;
  struct live_sweep *live = making->live;
  struct err err;
  if (!pg_ok(reply, &err) || !sweeps_ready(s, &err)) {
    not_made(making, &err);
    return;
  }
  if (!pg_rows(reply) || pg_bool(reply, 0, 1)) {
    err_set(&err, ERR_WRONG_STATE, "the experiment of that name is deleted");
    err_hint(&err, "restore it, or name another one");
    not_made(making, &err);
    return;
  }
  live->experiment_id = pg_int(reply, 0, 0);
  if (!list_sweep(s, live, &err)) {
    not_made(making, &err);
    return;
  }
  if (!sweeps_wait(live, NULL, made, making, &err)) { /* it is there all the same, and will be stored */
    making->done(making->ctx, NULL, &err);
    mem_free(making);
  }
  sweeps_kick(s);
}

static bool ask_experiment(struct making *making, struct err *err) {
  const struct live_sweep *live = making->live;
  const struct sweep_spec *spec = &live->file->spec;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_SWEEP_EXPERIMENT);
  pg_put_text(&args, spec->experiment.n ? spec->experiment : str_of(live->name));
  pg_put_text(&args, str_of(making->all->conf.artifact_root));
  pg_put_int(&args, live->created);
  return pg_run(making->all->conf.pg, &args, 0, on_experiment, making, err);
}

bool sweeps_create(struct sweeps *s, struct sweep_file *file, struct str source, struct str directory, sweeps_made_fn *done, void *ctx,
                   struct err *err) {
  AUTO_BUF struct buf normal = BUF_INIT(NORMAL_MAX);
  struct sweep_file *copy = NULL;
  struct live_sweep *live;
  struct making *making = mem_zalloc(sizeof *making);
  if (!making)
    return err_no_memory(err);
  bool ok = sweep_file_normal_form(file, &normal, err) && (copy = read_again(file, err)) != NULL &&
            live_new(s, copy, id_new(s->conf.clock, &s->conf.rng), seed_of(s, file), NULL, &live, err);
  if (!ok) {
    mem_free(making);
    return false;
  }
  /* The warnings are those of the file as it was sent. */
  for (size_t i = 0; i < live->warning_count; i++)
    mem_free(live->warnings[i]);
  live->warning_count = 0;
  mem_free(live->warnings);
  live->warnings = mem_array(MAX_OF(file->warnings.count, (size_t)1), sizeof *live->warnings);
  for (size_t i = 0; live->warnings && i < MIN_OF(file->warnings.count, (size_t)SPEC_PROBLEMS_MAX); i++)
    if ((live->warnings[live->warning_count] = mem_strdup(file->warnings.items[i].message)))
      live->warning_count++;
  live->created = live_wall(s);
  live->source = mem_strndup(source.p, source.n);
  live->directory = mem_strndup(directory.n ? directory.p : "", directory.n);
  live->normal = mem_strdup(buf_text(&normal));
  *making = (struct making){s, live, done, ctx};
  if (!live->source || !live->directory || !live->normal || !live->warnings ? !err_no_memory(err) : ask_experiment(making, err)) {
    if (live->source && live->directory && live->normal && live->warnings) {
      sweep_file_free(file);
      return true;
    }
  }
  live_free(live);
  mem_free(making);
  return false;
}

/* ---- edits ---- */

struct editing {
  struct sweeps *all;
  struct id sweep;
  json_t *edits;
  sweeps_done_fn *done;
  void *ctx;
};

static void on_edited(void *ctx, const struct pg_reply *reply) {
  struct editing *editing = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err) && (pg_rows(reply) || err_set(&err, ERR_NOT_FOUND, "there is no such sweep"));
  struct live_sweep *live = sweeps_find(editing->all, editing->sweep);
  if (ok && live)
    live_apply_edits(live, editing->edits);
  editing->done(editing->ctx, ok ? NULL : &err);
  json_decref(editing->edits);
  mem_free(editing);
}

bool live_edit(struct live_sweep *live, const json_t *edits, sweeps_done_fn *done, void *ctx, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  struct editing *editing = mem_zalloc(sizeof *editing);
  pg_args_init(&args, STMT_SWEEP_EDIT);
  if (!editing)
    return err_no_memory(err);
  *editing = (struct editing){live->all, live->id, json_deep_copy(edits), done, ctx};
  pg_put_uuid(&args, live->id);
  put_json(&args, edits);
  if (editing->edits && pg_run(live->all->conf.pg, &args, 0, on_edited, editing, err))
    return true;
  if (!editing->edits)
    err_no_memory(err);
  json_decref(editing->edits);
  mem_free(editing);
  return false;
}

/* ---- loading ---- */

struct sweeps_loading {
  struct sweeps *all;
  sweeps_done_fn *done;
  void *ctx;
  struct list_node *at; /* the sweep being read */
  double *points;       /* space_count() of each trial */
  size_t point_rows;
};

static struct live_sweep *loading_sweep(const struct sweeps_loading *loading) {
  return LIST_ENTRY(loading->at, struct live_sweep, node);
}

static void forget_all(struct sweeps *s) {
  for (struct list_node *node; (node = list_pop_front(&s->sweeps));) {
    struct live_sweep *live = LIST_ENTRY(node, struct live_sweep, node);
    map_remove(&s->by_id, id_key(&live->id));
    if (live->has_group)
      schedule_group_remove(s->schedule, live->group);
    live_free(live);
  }
}

static void adopt_jobs(struct live_sweep *live) {
  for (size_t i = 0; i < live->trial_count; i++)
    if (live->trials[i])
      jobs_adopt(live->trials[i], engine_trial(live->engine, (uint32_t)i));
}

static void end_loading(struct sweeps_loading *loading, const struct err *err) {
  struct sweeps *s = loading->all;
  s->ready = !err;
  s->loading = NULL;
  if (err) {
    forget_all(s); /* to be loaded again */
  } else {
    LIST_EACH(&s->sweeps, node)
    adopt_jobs(LIST_ENTRY(node, struct live_sweep, node));
    loop_timer_start(s->tick, LIVE_TICK_MS);
    sweeps_kick(s);
  }
  loading->done(loading->ctx, err);
  mem_free(loading->points);
  mem_free(loading);
}

static bool read_trial(struct sweeps_loading *loading, const struct pg_reply *row, struct err *err) {
  struct live_sweep *live = loading_sweep(loading);
  size_t width = MAX_OF(space_count(live->space), (size_t)1);
  struct engine_trial state = {.number = (uint32_t)pg_int(row, 0, 1),
                               .version = (uint64_t)pg_int(row, 0, 2),
                               .state = (uint8_t)pg_int(row, 0, 3),
                               .attempt = (uint32_t)pg_int(row, 0, 4),
                               .cause = (uint8_t)pg_int(row, 0, 5),
                               .retries = (uint32_t)pg_int(row, 0, 6),
                               .dead = pg_bool(row, 0, 7),
                               .has_value = !pg_is_null(row, 0, 8)};
  AUTO_JSON json_t *point = NULL, *asked = NULL;
  struct live_trial *trial = live_trial_new(live, state.number, pg_uuid(row, 0, 0), err);
  if (!trial || !engine_load(live->engine, &state, err) || !json_read(pg_jsonb(row, 0, 15), &point, err))
    return false;
  trial->value = pg_is_null(row, 0, 8) ? NAN : pg_float8(row, 0, 8);
  trial->value_step = pg_is_null(row, 0, 9) ? 0 : pg_int(row, 0, 9);
  trial->best = pg_is_null(row, 0, 10) ? NAN : pg_float8(row, 0, 10);
  trial->created = pg_int(row, 0, 11);
  trial->started = pg_int(row, 0, 12);
  trial->ended = pg_is_null(row, 0, 13) ? 0 : pg_int(row, 0, 13);
  trial->told = pg_is_null(row, 0, 14) ? -1 : (int32_t)pg_int(row, 0, 14);
  if (pg_jsonb(row, 0, 16).p && json_read(pg_jsonb(row, 0, 16), &asked, err)) {
    trial->tells = (uint32_t)json_integer_value(json_object_get(asked, "tells"));
    trial->pending = (uint32_t)json_integer_value(json_object_get(asked, "pending"));
  }
  struct str stop = pg_jsonb(row, 0, 17), reason = pg_text(row, 0, 18);
  trial->stop = stop.p ? mem_strndup(stop.p, stop.n) : NULL;
  trial->reason = reason.p ? mem_strndup(reason.p, reason.n) : NULL;
  if (state.number >= loading->point_rows) {
    size_t rows = MAX_OF(loading->point_rows * 2, (size_t)state.number + 64);
    double *bigger = mem_resize(loading->points, rows * width, sizeof *bigger);
    if (!bigger)
      return err_no_memory(err);
    loading->points = bigger;
    loading->point_rows = rows;
  }
  return space_point_from_json(live->space, point, false, loading->points + state.number * width, err);
}

static void on_trial_row(void *ctx, const struct pg_reply *row) {
  struct sweeps_loading *loading = ctx;
  struct err err;
  if (!read_trial(loading, row, &err))
    log_error("sweep", NULL, "%s: a trial could not be read: %s", loading_sweep(loading)->name, err.text);
}

static void tell_again(struct live_trial *trial) {
  const struct engine_trial *row = engine_trial(trial->sweep->engine, trial->number);
  int32_t told = trial->told;
  trial->told = -1;
  live_note_end(trial, row);
  if (told >= 0)
    trial->told = told;
}

/* The history as it came about: trials by number, each result before the first trial that knew of it. */
static bool rebuild_history(struct sweeps_loading *loading, struct err *err) {
  struct live_sweep *live = loading_sweep(loading);
  size_t width = MAX_OF(space_count(live->space), (size_t)1), told = 0;
  struct live_trial **order = mem_array(live->trial_count + 1, sizeof(struct live_trial *));
  if (!order)
    return err_no_memory(err);
  for (size_t i = 0; i < live->trial_count; i++)
    if (live->trials[i] && live->trials[i]->told >= 0 && (size_t)live->trials[i]->told < live->trial_count)
      order[live->trials[i]->told] = live->trials[i];
  bool ok = true;
  for (size_t i = 0; i < live->trial_count && ok; i++) {
    if (!live->trials[i])
      continue;
    for (; told < MIN_OF(live->trial_count, (size_t)live->trials[i]->tells); told++)
      if (order[told] && order[told]->number < i)
        tell_again(order[told]);
    ok = history_add(live->history, (uint32_t)i, loading->points + i * width, NULL, err);
  }
  for (; told < live->trial_count && ok; told++)
    if (order[told])
      tell_again(order[told]);
  mem_free(order);
  for (size_t i = 0; i < live->trial_count && ok; i++) {
    if (!live->trials[i])
      continue;
    size_t at = history_find(live->history, (uint32_t)i);
    if (at != SIZE_MAX && history_state(live->history, at) == TRIAL_PENDING) {
      live->trials[i]->told = -1;
      live_note_end(live->trials[i], engine_trial(live->engine, (uint32_t)i));
    }
  }
  return ok;
}

static void on_report_row(void *ctx, const struct pg_reply *row) {
  struct sweeps_loading *loading = ctx;
  struct live_sweep *live = loading_sweep(loading);
  uint32_t number = (uint32_t)pg_int(row, 0, 1);
  live->reports = live->reports_durable = pg_int(row, 0, 0) + 1;
  struct live_trial *trial = number < live->trial_count ? live->trials[number] : NULL;
  if (!trial)
    return;
  double value = trial->value, best = trial->best;
  int64_t step = trial->value_step;
  bool target, goal;
  struct stop_verdict verdict;
  struct live_report report = {.key = pg_text(row, 0, 3),
                               .value = pg_float8(row, 0, 4),
                               .step = pg_int(row, 0, 5),
                               .epoch = pg_is_null(row, 0, 6) ? NAN : pg_float8(row, 0, 6)};
  live_take_report(trial, (uint32_t)pg_int(row, 0, 2), &report, &verdict, &target, &goal);
  if (is_over(engine_trial(live->engine, number))) {
    trial->value = value;
    trial->best = best;
    trial->value_step = step;
  }
}

static void load_next(struct sweeps_loading *loading);

static void on_reports(void *ctx, const struct pg_reply *reply) {
  struct sweeps_loading *loading = ctx;
  struct live_sweep *live = loading_sweep(loading);
  struct err err;
  if (!pg_ok(reply, &err) || !rebuild_history(loading, &err) || !engine_loaded(live->engine, live_now(loading->all), &err)) {
    end_loading(loading, &err);
    return;
  }
  mem_free(loading->points);
  loading->points = NULL;
  loading->point_rows = 0;
  loading->at = loading->at->next;
  load_next(loading);
}

static bool open_stream(struct sweeps_loading *loading, enum stmt stmt, pg_row_fn *on_row, pg_done_fn *done, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, stmt);
  pg_put_uuid(&args, loading_sweep(loading)->id);
  return pg_stream_open(loading->all->conf.pg, &args, 600000, on_row, done, loading, err) != NULL;
}

static void on_trials(void *ctx, const struct pg_reply *reply) {
  struct sweeps_loading *loading = ctx;
  struct err err;
  if (!pg_ok(reply, &err) || !open_stream(loading, STMT_REPORTS_LOAD, on_report_row, on_reports, &err))
    end_loading(loading, &err);
}

static void load_next(struct sweeps_loading *loading) {
  struct err err;
  if (!loading->at)
    end_loading(loading, NULL);
  else if (!open_stream(loading, STMT_TRIALS_LOAD, on_trial_row, on_trials, &err))
    end_loading(loading, &err);
}

static bool read_warnings(struct live_sweep *live, struct str text, struct err *err) {
  AUTO_JSON json_t *list = NULL;
  if (!json_read(text, &list, err))
    return false;
  for (size_t i = 0; i < live->warning_count; i++)
    mem_free(live->warnings[i]);
  mem_free(live->warnings);
  live->warning_count = 0;
  live->warnings = mem_array(json_array_size(list) + 1, sizeof *live->warnings);
  for (size_t i = 0; live->warnings && i < json_array_size(list); i++)
    if ((live->warnings[live->warning_count] = mem_strdup(json_string_value(json_array_get(list, i)))))
      live->warning_count++;
  return live->warnings || err_no_memory(err);
}

static bool read_sweep(struct sweeps *s, const struct pg_reply *reply, size_t row, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct spec_problems errors;
  struct sweep_file *file;
  struct live_sweep *live;
  AUTO_JSON json_t *edits = NULL;
  struct engine_sweep state = {.version = (uint64_t)pg_int(reply, row, 3),
                               .elapsed_ms = pg_int(reply, row, 4),
                               .slot_ms = pg_int(reply, row, 5),
                               .state = (uint8_t)pg_int(reply, row, 7),
                               .why = (uint8_t)pg_int(reply, row, 8),
                               .exhausted = pg_bool(reply, row, 9)};
  struct str directory = pg_text(reply, row, 11), spec = pg_text(reply, row, 12);
  if (!sweep_file_read(spec, "", &arena, &file, &errors, err) ||
      !live_new(s, file, pg_uuid(reply, row, 0), pg_int(reply, row, 6), &state, &live, err))
    return false;
  live->experiment_id = pg_int(reply, row, 1);
  live->created = pg_int(reply, row, 2);
  live->directory = mem_strndup(directory.p, directory.n);
  live->normal = mem_strndup(spec.p, spec.n);
  live->stored = true;
  live->written = state.version;
  bool ok = ((live->directory && live->normal) || err_no_memory(err)) && json_read(pg_jsonb(reply, row, 13), &edits, err) &&
            read_warnings(live, pg_jsonb(reply, row, 14), err) && list_sweep(s, live, err);
  if (ok)
    live_apply_edits(live, edits);
  else
    live_free(live);
  return ok;
}

static void on_sweeps(void *ctx, const struct pg_reply *reply) {
  struct sweeps_loading *loading = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    end_loading(loading, &err);
    return;
  }
  for (size_t row = 0; row < pg_rows(reply); row++)
    if (!read_sweep(loading->all, reply, row, &err))
      log_error("sweep", NULL, "the sweep %.*s rests: %s", STR_ARG(pg_text(reply, row, 10)), err.text);
  loading->at = loading->all->sweeps.first;
  load_next(loading);
}

void sweeps_load(struct sweeps *s, int64_t epoch, sweeps_done_fn *done, void *ctx) {
  struct sweeps_loading *loading = mem_zalloc(sizeof *loading);
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  s->epoch = epoch;
  s->loading = loading;
  pg_args_init(&args, STMT_SWEEP_LIVE);
  if (!loading) {
    err_no_memory(&err);
    done(ctx, &err);
    return;
  }
  *loading = (struct sweeps_loading){.all = s, .done = done, .ctx = ctx};
  if (!pg_run(s->conf.pg, &args, 0, on_sweeps, loading, &err))
    end_loading(loading, &err);
}
