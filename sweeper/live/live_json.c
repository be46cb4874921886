/* Sweeps and trials as the API shows them. */
#include "sweeper/live/live.h"

const char *sweep_state_text(int state) {
  return state >= 0 && state < SWEEP_STATE_COUNT ? sweep_fsm.states[state] : "UNKNOWN";
}

int sweep_state_of(struct str name) {
  return fsm_parse(&sweep_fsm, name);
}

static void put_id(struct json_writer *w, const char *key, struct id id) {
  char hex[ID_HEX_LEN + 1];
  id_format(id, hex);
  jw_put_text(w, key, hex);
}

static void put_time(struct json_writer *w, const char *key, int64_t ms) {
  jw_put_i64_if(w, key, ms > 0, ms);
}

static void put_metric(const struct live_sweep *live, struct json_writer *w) {
  const struct sweep_spec *spec = &live->file->spec;
  jw_key(w, "metric");
  if (!spec->has_metric) {
    jw_null(w);
    return;
  }
  jw_object(w);
  jw_put_str(w, "name", spec->metric.name);
  jw_put_text(w, "goal", spec->metric.goal == GOAL_MAXIMIZE ? "maximize" : "minimize");
  jw_put_f64_if(w, "target", spec->metric.has_target, spec->metric.target);
  jw_object_end(w);
}

static void put_sampler(const struct live_sweep *live, struct json_writer *w) {
  static const char *const methods[] = {"grid", "random", "bayes"};
  const struct sweep_spec *spec = &live->file->spec;
  AUTO_BUF struct buf why = BUF_INIT(4 * KIB);
  enum sampler_type chosen = sampler_chosen(live->sampler, &why);
  jw_put_text(w, "method", methods[spec->method]);
  jw_key(w, "sampler");
  jw_object(w);
  jw_put_text(w, "type", sampler_type_name((enum sampler_type)spec->sampler.type));
  jw_put_i64(w, "seed", live->seed);
  jw_put_i64(w, "space_version", live->space_version);
  jw_put_i64(w, "prior_results", (int64_t)live->prior_count);
  jw_put_text(w, "chosen", sampler_type_name(chosen));
  jw_put_text(w, "why", buf_text(&why));
  jw_object_end(w);
}

static void put_progress(const struct live_sweep *live, struct json_writer *w) {
  struct engine_counts counts = engine_counts(live->engine);
  const uint32_t *by = counts.by_state;
  jw_key(w, "progress");
  jw_object(w);
  jw_put_i64(w, "trials", counts.made);
  jw_put_i64(w, "queued", by[RUN_QUEUED]);
  jw_put_i64(w, "running", by[RUN_STARTING] + by[RUN_RUNNING] + by[RUN_STOPPING]);
  jw_put_i64(w, "finished", by[RUN_FINISHED]);
  jw_put_i64(w, "failed", by[RUN_FAILED]);
  jw_put_i64(w, "stopped", by[RUN_STOPPED]);
  jw_put_i64(w, "killed", by[RUN_KILLED]);
  jw_put_i64(w, "lost", by[RUN_LOST]);
  jw_object_end(w);
}

static void put_best(const struct live_sweep *live, struct json_writer *w) {
  jw_key(w, "best");
  if (!live->best) {
    jw_null(w);
    return;
  }
  AUTO_JSON json_t *params = live_params(live->best);
  jw_object(w);
  put_id(w, "run_id", live->best->run);
  jw_put_i64(w, "number", live->best->number);
  jw_put_f64(w, "value", live->best->value);
  jw_put_i64(w, "step", live->best->value_step);
  jw_key(w, "params");
  jw_json(w, params);
  jw_object_end(w);
}

/* When the trials that are left will be done if they take as long as those before. */
static int64_t eta_of(const struct live_sweep *live, const struct engine_sweep *row) {
  struct engine_counts counts = engine_counts(live->engine);
  uint32_t ended = counts.made - counts.live;
  if (!live->run_cap || !ended || live_is_over(live) || row->elapsed_ms <= 0 || (int64_t)ended >= live->run_cap)
    return 0;
  return live_wall(live->all) + (int64_t)((double)row->elapsed_ms * (double)(live->run_cap - ended) / ended);
}

/* Had they gone on, the stopped ones would have taken as long as those that finished, on average. */
static double saved_s(const struct live_sweep *live) {
  if (!live->finished.count)
    return 0;
  double mean = (double)live->finished.ms / live->finished.count, saved = mean * live->stopped.count - (double)live->stopped.ms;
  return saved > 0 ? saved * MAX_OF(live->conf.slots, 1u) / 1000 : 0;
}

static void put_times(const struct live_sweep *live, const struct engine_sweep *row, struct json_writer *w) {
  jw_key(w, "slot_seconds");
  jw_object(w);
  jw_put_f64(w, "used", (double)row->slot_ms / 1000);
  jw_put_f64_if(w, "saved", live->finished.count > 0, saved_s(live));
  jw_object_end(w);
  put_time(w, "created", live->created);
  put_time(w, "started", live->created);
  put_time(w, "ended", live->ended);
  put_time(w, "eta", eta_of(live, row));
}

/* run_cap was lowered since, or results of other trials were told. Nothing is taken back. */
static bool has_too_many(const struct live_sweep *live, const struct engine_sweep *row) {
  return live->run_cap && engine_counts(live->engine).made > live->run_cap && (row->why == WHY_ALL_MADE || row->state == SWEEP_RUNNING);
}

/* `text`: for what is made of several. */
static const char *reason_of(const struct live_sweep *live, const struct engine_sweep *row, struct buf *text) {
  if (live->damage)
    return live->damage;
  if (has_too_many(live, row)) {
    buf_printf(text, "%u trials are there, and run_cap is %lld%s", engine_counts(live->engine).made, (long long)live->run_cap,
               live_is_over(live) ? "" : ": no more are made, those that run or wait go on");
    return buf_text(text);
  }
  if (row->why == WHY_EXHAUSTED && !engine_counts(live->engine).made)
    return "no point of the space satisfies the constraints";
  if (row->why != WHY_NONE)
    return engine_why_text((enum engine_why)row->why);
  if (live->trouble[0])
    return live->trouble;
  return row->state == SWEEP_RUNNING && queue_sweep_waits(live, text) ? buf_text(text) : NULL;
}

void live_put_sweep(const struct live_sweep *live, struct json_writer *w) {
  struct engine_sweep row = engine_sweep(live->engine);
  AUTO_BUF struct buf reason = BUF_INIT(8 * KIB);
  char experiment[24];
  snprintf(experiment, sizeof experiment, "%lld", (long long)live->experiment_id);
  jw_object(w);
  put_id(w, "id", live->id);
  jw_put_text(w, "name", live->name);
  jw_put_text(w, "experiment_id", experiment);
  jw_put_text(w, "state", sweep_state_text(row.state));
  jw_put_text(w, "state_reason", reason_of(live, &row, &reason));
  put_metric(live, w);
  put_sampler(live, w);
  jw_put_i64_if(w, "run_cap", live->run_cap != 0, live->run_cap);
  jw_put_i64_if(w, "max_parallel", live->max_parallel != 0, live->max_parallel);
  jw_put_i64(w, "priority", live->priority);
  jw_put_text(w, "notes", live->notes);
  put_progress(live, w);
  put_best(live, w);
  put_times(live, &row, w);
  jw_key(w, "spec");
  if (live->normal)
    jw_raw(w, str_of(live->normal));
  else
    jw_null(w);
  jw_key(w, "registered");
  jw_raw(w, live->registered ? str_of(live->registered) : STR("[]"));
  jw_key(w, "warnings");
  jw_array(w);
  live_put_warnings(live, w);
  if (live->damage)
    jw_text(w, live->damage);
  jw_array_end(w);
  jw_object_end(w);
}

static void put_last(const struct live_trial *trial, const struct engine_trial *row, struct json_writer *w) {
  jw_key(w, "last");
  if (!row->has_value) {
    jw_null(w);
    return;
  }
  jw_object(w);
  jw_put_i64(w, "step", trial->last_step);
  jw_put_f64(w, "value", trial->last);
  jw_object_end(w);
}

void live_put_made(struct json_writer *w, const int64_t made[LIVE_MADE_COUNT]) {
  static const char *const keys[LIVE_MADE_COUNT] = {"by", "results", "pending", "added_at", "told_at", "reports"};
  int64_t by = made[0];
  jw_key(w, "made");
  jw_object(w);
  jw_put_text(w, keys[0], by >= 0 && by < SAMPLER_TYPES ? sampler_type_name((enum sampler_type)by) : NULL);
  for (size_t i = 1; i < LIVE_MADE_COUNT; i++)
    jw_put_i64_if(w, keys[i], made[i] >= 0, made[i]);
  jw_object_end(w);
}

static const char *reason_of_trial(const struct live_trial *trial, const struct engine_trial *row, struct buf *text) {
  return row->state == RUN_QUEUED && live_wait_reason(trial, text) ? buf_text(text) : live_reason(trial, row);
}

void live_put_trial(const struct live_trial *trial, struct json_writer *w) {
  const struct live_sweep *live = trial->sweep;
  const struct engine_trial *row = engine_trial(live->engine, trial->number);
  AUTO_JSON json_t *params = live_params(trial);
  AUTO_BUF struct buf reason = BUF_INIT(8 * KIB);
  jw_object(w);
  put_id(w, "run_id", trial->run);
  if (live->single) {
    jw_put_null(w, "number");
    jw_put_null(w, "sweep_id");
  } else {
    jw_put_i64(w, "number", trial->number);
    put_id(w, "sweep_id", live->id);
  }
  jw_put_text(w, "state", run_state_name(row->state));
  jw_put_text(w, "state_reason", reason_of_trial(trial, row, &reason));
  jw_put_i64(w, "attempt", row->attempt);
  jw_key(w, "params");
  jw_json(w, params);
  jw_put_f64_if(w, "value", row->has_value, trial->value);
  jw_put_i64_if(w, "value_step", row->has_value, trial->value_step);
  jw_put_f64_if(w, "best_value", !isnan(trial->best), trial->best);
  put_last(trial, row, w);
  jw_key(w, "stop");
  const char *stop = live_course(trial)->stop;
  if (stop && row->cause == CAUSE_VERDICT)
    jw_raw(w, str_of(stop));
  else
    jw_null(w);
  jw_put_text(w, "node", live_node(live, row));
  jw_put_i64_if(w, "slots", !live->conf.asks && row->attempt > 0, live->conf.slots);
  live_put_made(w, (const int64_t[LIVE_MADE_COUNT]){trial->made.by, trial->made.tells, trial->made.pending, trial->at_tells, trial->told,
                                                    live_supposes_latest(live) ? (int64_t)trial->made.reports : -1});
  put_time(w, "created", trial->created);
  put_time(w, "started", trial->started);
  put_time(w, "ended", trial->ended);
  jw_object_end(w);
}

size_t live_put_rungs(const struct live_sweep *live, size_t from, size_t limit, struct json_writer *w) {
  if (live->rules)
    return stop_report(live->rules, from, limit, w);
  jw_array(w);
  jw_array_end(w);
  return 0;
}
