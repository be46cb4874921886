/* One sweep that lives: its trials, what they report, and where its points come from. */
#include "sweeper/live/live.h"

#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "sweeper/file/command.h"
#include "sweeper/file/sweep_sources.h"

/* ---- making ---- */

static uint32_t checksum_of(const json_t *json) {
  AUTO_BUF struct buf text = BUF_INIT(16 * MIB);
  struct json_writer w;
  jw_init(&w, &text);
  jw_json(&w, json);
  return crc32c(0, buf_text(&text), text.n);
}

static bool make_space(struct live_sweep *live, struct err *err) {
  AUTO_JSON json_t *json = NULL;
  const struct sweep_spec *spec = &live->file->spec;
  if (!sweep_file_space(live->file, &json, err) ||
      !space_new(json_object_get(json, "parameters"), json_object_get(json, "conditions"), json_object_get(json, "constraints"),
                 &live->space, err) ||
      !history_new(live->space, (enum goal)spec->metric.goal, &live->history, err))
    return false;
  history_suppose(live->history, (enum supposed)spec->metric.impute_while_running);
  live->space_version = checksum_of(json);
  const struct sweep_sampler_spec *said = &spec->sampler;
  struct sampler_settings settings = {.type = (enum sampler_type)said->type,
                                      .seed = (uint64_t)live->seed,
                                      .startup = said->has_n_startup ? (unsigned)MAX_OF(said->n_startup, (int64_t)1)
                                                                     : 0, /* of nothing no model is made */
                                      .candidates = (unsigned)said->n_candidates};
  if (!sampler_new(live->history, &settings, &live->sampler, err))
    return false;
  if (!spec->fixed_first || spec->fixed_first->kind == YN_NULL)
    return true;
  AUTO_JSON json_t *first = NULL;
  return ynode_to_json(spec->fixed_first, &first, err) && sampler_fix_first(live->sampler, first, err);
}

static bool make_parts(struct live_sweep *live, const struct engine_sweep *row, struct err *err) {
  const struct sweep_spec *spec = &live->file->spec;
  struct stop_goal goal = sweep_file_goal(live->file);
  live->conf = engine_conf_of_file(spec);
  if (live->conf.asks)
    live->conf.lease_ms = LIVE_ASK_LEASE_MS;
  live->run_cap = spec->run_cap;
  live->max_parallel = spec->max_parallel;
  live->priority = spec->priority;
  live->name = mem_strndup(spec->name.p ? spec->name.p : "sweep", spec->name.p ? spec->name.n : 5);
  live->notes = spec->notes.p ? mem_strndup(spec->notes.p, spec->notes.n) : mem_strdup("");
  if (!live->name || !live->notes)
    return err_no_memory(err);
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  struct spec_texts wanted;
  return live_take_file_warnings(live, live->file, err) && make_space(live, err) && sweep_sources_wanted(spec, &arena, &wanted, err) &&
         sweep_sources_make(&spec->metrics_from, &wanted, &live->sources, err) &&
         stop_set_new(spec->early_terminate.items, spec->early_terminate.count, &goal, &live->rules, err) &&
         engine_new(&live->conf, row, live_now(live->all), &live->engine, err);
}

bool live_new(struct sweeps *s, struct sweep_file *file, struct id id, int64_t seed, const struct engine_sweep *row,
              struct live_sweep **ret, struct err *err) {
  struct live_sweep *live = mem_zalloc(sizeof *live);
  if (!live) {
    sweep_file_free(file);
    return err_no_memory(err);
  }
  *live = (struct live_sweep){.all = s,
                              .id = id,
                              .seed = seed,
                              .file = file,
                              .best_value = NAN,
                              .shown = -1,
                              .trials = SHELF_INIT(struct live_trial),
                              .curves = SHELF_INIT(struct curve)};
  live->seat.sweep = live;
  if (!make_parts(live, row, err)) {
    live_free(live);
    return false;
  }
  *ret = live;
  return true;
}

static void course_free(struct live_trial *trial) {
  if (!trial->course)
    return;
  queue_remove(trial);
  log_writer_close(trial->course->log);
  live_forget_said(trial);
  heard_release(&trial->course->heard);
  mem_free(trial->course->worker);
  mem_free(trial->course->reason);
  mem_free(trial->course->stop);
  mem_free(trial->course->command);
  for (struct live_past *past = trial->course->past, *next; past; past = next) {
    next = past->next;
    mem_free(past);
  }
  mem_free(trial->course);
  trial->course = NULL;
}

const struct live_course *live_course(const struct live_trial *trial) {
  static const struct live_course none;
  return trial->course ? trial->course : &none;
}

bool live_course_open(struct live_trial *trial, struct err *err) {
  if (!trial->course)
    trial->course = mem_zalloc(sizeof *trial->course);
  return trial->course || err_no_memory(err);
}

void live_course_close(struct live_trial *trial) {
  struct live_course *c = trial->course;
  const struct engine_trial *row = engine_trial(trial->sweep->engine, trial->number);
  if (!c || !row || !engine_row_is_over(row) || !engine_trial_durable(trial->sweep->engine, trial->number))
    return;
  mem_free(c->command);
  c->command = NULL;
  bool told = !c->reason && !c->stop && !c->past && !c->keeps_first_end, idle = !c->in_schedule && !c->log && !c->poll_done && !c->making;
  if (told && idle && (row->state == RUN_FINISHED || !c->said))
    course_free(trial);
}

void live_about_release(struct live_about *about) {
  mem_free(about->command);
  mem_free(about->params);
  mem_free(about->tags);
  *about = (struct live_about){0};
}

void live_free(struct live_sweep *live) {
  if (!live)
    return;
  if (live->thought)
    sampler_job_drop(live->thought);
  for (size_t i = 0; i < live->trial_count; i++) {
    struct live_trial *trial = live_trial_at(live, i);
    if (!trial)
      continue;
    id_map_remove(&live->all->by_run, trial->run);
    course_free(trial);
  }
  course_free(&live->seat);
  shelf_release(&live->trials), shelf_release(&live->curves);
  sampler_free(live->sampler);
  history_free(live->history);
  space_free(live->space);
  stop_set_free(live->rules);
  engine_free(live->engine);
  sweep_file_free(live->file);
  metric_sources_unref(live->sources);
  goal_watch_release(&live->goal_watch);
  mem_free(live->registered);
  live_forget_warnings(live);
  mem_free(live->name);
  mem_free(live->directory);
  mem_free(live->source);
  mem_free(live->normal);
  mem_free(live->notes);
  mem_free(live->stopped_by);
  mem_free(live->by);
  live_about_release(&live->about);
  mem_free(live->ahead.points);
  mem_free(live->prior);
  mem_free(live);
}

struct live_trial *live_trial_new(struct live_sweep *live, uint32_t number, struct id run, struct err *err) {
  if (!shelf_reserve(&live->trials, (size_t)number + 1)) {
    err_no_memory(err);
    return NULL;
  }
  struct live_trial *trial = shelf_at(&live->trials, number);
  *trial = (struct live_trial){.run = run,
                               .number = number,
                               .value = NAN,
                               .best = NAN,
                               .last = NAN,
                               .told = -1,
                               .created = live_wall(live->all),
                               .shown = RUN_STATE_COUNT,
                               .noted = RUN_STATE_COUNT};
  if (!live_course_open(trial, err))
    return NULL;
  if (!id_map_put(&live->all->by_run, &trial->run)) {
    mem_free(trial->course);
    err_no_memory(err);
    return NULL;
  }
  trial->sweep = live;
  live->trial_count = MAX_OF(live->trial_count, (size_t)number + 1);
  return trial;
}

struct live_trial *live_trial_at(const struct live_sweep *live, size_t number) {
  struct live_trial *trial = number < live->trial_count ? shelf_at(&live->trials, number) : NULL;
  return trial && trial->sweep ? trial : NULL;
}

json_t *live_params(const struct live_trial *trial) {
  if (trial->sweep->single)
    return json_object();
  size_t at = history_find(trial->sweep->history, trial->number);
  return at == SIZE_MAX ? json_object() : space_point_to_json(trial->sweep->space, history_point(trial->sweep->history, at));
}

/* ---- ends ---- */

/* What a trial that came to nothing counts as in the sampler's eyes, where the file says so; as a rule the sampler knows what to make of
 * it. Of what is known now, so that the same results lead to the same. */
static void impute(const struct live_sweep *live, struct outcome *outcome) {
  const struct history *history = live->history;
  bool nothing = outcome->state == TRIAL_FAILED || outcome->state == TRIAL_GONE;
  int how = live->file->spec.metric.impute;
  size_t at = how == IMPUTE_BEST ? history_best(history) : how == IMPUTE_LATEST ? history_latest(history) : SIZE_MAX;
  if (!nothing || at == SIZE_MAX)
    return;
  double value = history_value(history, at);
  *outcome = (struct outcome){.state = TRIAL_FINISHED, .value = history_goal(history) == GOAL_MAXIMIZE ? 0.0 - value : value};
}

void live_note_time(const struct live_trial *trial, const struct engine_trial *row, int sign) {
  struct live_sweep *live = trial->sweep;
  int64_t took = trial->ended - trial->started;
  if (!trial->started || took < 0)
    return;
  if (row->state == RUN_FINISHED) {
    live->finished.ms += sign * took;
    live->finished.count += (uint32_t)sign;
  } else if (row->state == RUN_STOPPED) {
    live->stopped.ms += sign * took;
    live->stopped.count += (uint32_t)sign;
  }
}

void live_tell_sampler(struct live_trial *trial, const struct live_first_end *end) {
  struct live_sweep *live = trial->sweep;
  struct err err;
  struct outcome outcome = {.state = TRIAL_GONE, .value = end->value, .step = (double)end->step};
  if (end->state == RUN_FINISHED)
    outcome.state = TRIAL_FINISHED;
  else if (end->state == RUN_STOPPED)
    outcome.state = TRIAL_STOPPED;
  else if (end->state == RUN_FAILED)
    outcome.state = TRIAL_FAILED;
  impute(live, &outcome);
  trial->told = (int32_t)history_tells(live->history);
  bool shown = live_show_curve(trial, &err); /* without memory it still learns how it ended */
  if (!history_tell(live->history, trial->number, &outcome, &err) || !shown)
    log_warn("sweep", NULL, "%s: the sampler does not know all of trial %u: %s", live->name, trial->number, err.text);
}

void live_note_end(struct live_trial *trial, const struct engine_trial *row) {
  struct live_sweep *live = trial->sweep;
  struct err err;
  if (!engine_row_is_over(row))
    return;
  live->barren = false;
  live->ends++;
  if (trial->told < 0)
    live_tell_sampler(trial, &(struct live_first_end){.state = row->state, .value = trial->value, .step = trial->value_step});
  if (live->rules && !stop_ended(live->rules, trial->number, row->state == RUN_FINISHED, &err))
    log_warn("sweep", NULL, "%s: %s", live->name, err.text);
  live_keep_best(trial, row);
  live_note_time(trial, row, 1);
  if (trial->course)
    heard_release(&trial->course->heard);
  if (row->state == RUN_FINISHED && live->all->ready)
    live_forget_said(trial); /* there will be no other attempt */
}

const char live_nan_text[] = "the goal metric ended as NaN, and on_nan is fail";

const char *live_cause_text(unsigned cause) {
  static const char *const texts[] = {
      [CAUSE_NONE] = NULL,
      [CAUSE_VERDICT] = "stopped early",
      [CAUSE_KILLED] = "killed by a person",
      [CAUSE_SWEEP] = "ended with its sweep",
      [CAUSE_EXIT] = "the command failed",
      [CAUSE_NO_METRIC] = "no_metric: it ended well, but the goal metric was never seen",
      [CAUSE_START] = "it could not be started",
      [CAUSE_LOST] = "nobody has heard of it any more",
  };
  return cause < ARRAY_LEN(texts) ? texts[cause] : NULL;
}

const char *live_usual_reason(const struct live_trial *trial, const struct engine_trial *row) {
  const struct live_sweep *live = trial->sweep;
  if (row->cause != CAUSE_EXIT || !live->conf.asks)
    return live_cause_text(row->cause);
  bool is_nan = live->file->spec.on_nan == NAN_FAIL && row->has_value && isnan(trial->value);
  return is_nan ? live_nan_text : "its worker said so";
}

const char *live_node(const struct live_sweep *live, const struct engine_trial *row) {
  return live->conf.asks || row->attempt == 0 ? NULL : live->all->node_name;
}

const char *live_reason(const struct live_trial *trial, const struct engine_trial *row) {
  if (row->cause == CAUSE_NONE)
    return NULL;
  if (row->cause == CAUSE_SWEEP && !row->attempt)
    return "never ran: its sweep ended before it had started";
  if (row->cause == CAUSE_KILLED && !row->attempt)
    return "never ran: killed by a person before it had started";
  const char *reason = live_course(trial)->reason;
  bool own = row->cause == CAUSE_NO_METRIC ? str_starts(str_of(reason), STR("no_metric"))
                                           : row->cause != CAUSE_KILLED && row->cause != CAUSE_SWEEP;
  return reason && own ? reason : live_usual_reason(trial, row);
}

/* ---- asks ---- */

static size_t lacking(const struct live_sweep *live) {
  size_t n = 0;
  for (struct list_node *node = live->asks.first; node; node = node->next) {
    struct live_ask *ask = LIST_ENTRY(node, struct live_ask, node);
    n += ask->closed ? 0 : ask->count - ask->got;
  }
  return n;
}

static void hand_out(struct live_sweep *live) {
  uint32_t number;
  LIST_EACH(&live->asks, node) {
    struct live_ask *ask = LIST_ENTRY(node, struct live_ask, node);
    while (!ask->closed && ask->got < ask->count && engine_ask(live->engine, ask->lease_ms, live_now(live->all), &number)) {
      struct live_trial *trial = live_trial_at(live, number);
      mem_free(trial->course->worker);
      trial->course->worker = ask->worker ? mem_strdup(ask->worker) : NULL;
      if (!trial->started)
        trial->started = live_wall(live->all);
      ask->attempts[ask->got] = engine_trial(live->engine, number)->attempt;
      ask->trials[ask->got++] = trial;
    }
    ask->closed = ask->closed || ask->got == ask->count;
  }
}

/* There are no more now. Who gets none at all is told so by the next transaction, which stores what that comes of. */
static void close_asks(struct live_sweep *live) {
  LIST_EACH(&live->asks, node) {
    struct live_ask *ask = LIST_ENTRY(node, struct live_ask, node);
    ask->closed = ask->closed || ask->got || !live->all->in_flight;
  }
}

static void serve_asks(struct live_sweep *live) {
  hand_out(live);
  size_t missing = lacking(live);
  bool done = missing > 0;
  struct engine_counts counts = engine_counts(live->engine);
  uint32_t waiting = counts.by_state[RUN_QUEUED];
  if (missing > waiting) {
    uint32_t width = counts.live + (uint32_t)(missing - waiting);
    done = live_make_trials(live, engine_wants(live->engine, width));
    hand_out(live);
  }
  if (done)
    close_asks(live);
}

static void ask_free(struct live_ask *ask) {
  list_remove(&ask->node);
  mem_free(ask->trials);
  mem_free(ask->attempts);
  mem_free(ask->worker);
  mem_free(ask);
}

void live_settle_asks(struct live_sweep *live, const struct err *failed) {
  LIST_EACH(&live->asks, node) {
    struct live_ask *ask = LIST_ENTRY(node, struct live_ask, node);
    bool durable = ask->closed;
    for (size_t i = 0; i < ask->got && durable; i++)
      durable = engine_trial_durable(live->engine, ask->trials[i]->number);
    if (!durable && !failed)
      continue;
    struct engine_counts counts = engine_counts(live->engine);
    struct engine_sweep row = engine_sweep(live->engine);
    bool none_left = !engine_wants(live->engine, UINT32_MAX) && row.state != SWEEP_PAUSED && !counts.live;
    struct live_answer answer = {.trials = ask->trials, .count = ask->got, .finished = none_left || live_is_over(live)};
    for (size_t i = 0; i < ask->got && failed; i++)
      engine_unask(live->engine, ask->trials[i]->number, ask->attempts[i]);
    ask->done(ask->ctx, failed ? NULL : &answer, failed);
    ask_free(ask);
  }
}

bool live_ask(struct live_sweep *live, size_t count, struct str worker, int64_t lease_ms, live_ask_fn *done, void *ctx, struct err *err) {
  if (!live->conf.asks) {
    err_set(err, ERR_WRONG_STATE, "the sweep has a command: its trials are run by the service");
    return err_hint(err, "a sweep without a command is for those who run trials themselves");
  }
  if (!count || count > LIVE_ASK_MAX)
    return err_set(err, ERR_INVALID, "\"count\" must be from 1 to %d", LIVE_ASK_MAX);
  if (live->asks.count >= LIVE_WAITING_MAX)
    return err_set(err, ERR_OVERLOADED, "too many workers wait");
  struct live_ask *ask = mem_zalloc(sizeof *ask);
  if (!ask)
    return err_no_memory(err);
  *ask = (struct live_ask){.count = count, .lease_ms = lease_ms, .done = done, .ctx = ctx};
  ask->trials = mem_array(count, sizeof *ask->trials);
  ask->attempts = mem_array(count, sizeof *ask->attempts);
  ask->worker = worker.n ? mem_strndup(worker.p, worker.n) : NULL;
  if (!ask->trials || !ask->attempts || (worker.n && !ask->worker)) {
    ask_free(ask);
    return err_no_memory(err);
  }
  list_push_back(&live->asks, &ask->node);
  sweeps_kick(live->all);
  return true;
}

void live_advance(struct live_sweep *live) {
  sampler_follow(live->sampler);
  if (!live->conf.asks)
    queue_seek(live);
  else if (live_is_over(live))
    close_asks(live);
  else
    serve_asks(live);
  live_think_ahead(live);
}

/* ---- telling and reporting ---- */

int32_t live_attempt(const struct live_trial *trial) {
  return (int32_t)engine_trial(trial->sweep->engine, trial->number)->attempt;
}

bool live_is_durable(const struct live_trial *trial) {
  return engine_trial_durable(trial->sweep->engine, trial->number);
}

static bool fenced(struct err *err) {
  return err_set(err, ERR_FENCED, "the attempt is over, or another one has taken its place");
}

static bool same_value(double a, double b) {
  return (isnan(a) && isnan(b)) || !(a < b || a > b || isnan(a) != isnan(b));
}

void sweeps_stir(struct sweeps *s, struct id run) {
  struct live_trial *trial = s && s->ready && !s->stopping ? sweeps_trial(s, run) : NULL;
  if (!trial || !trial->sweep->conf.asks)
    return;
  engine_heard(trial->sweep->engine, trial->number, (uint32_t)live_attempt(trial), NULL, live_now(s));
  sweeps_kick(s);
}

static bool is_told(const struct engine_trial *row) {
  return fsm_is_final(&run_fsm, row->state) && row->dead && row->state != RUN_LOST;
}

/* What a tell makes of a trial with this value. */
static enum run_state state_with(const struct live_sweep *live, const struct live_tell *tell, bool has_value, double value) {
  bool nan_fails = has_value && isnan(value) && live->file->spec.on_nan == NAN_FAIL;
  return nan_fails && tell->state == RUN_FINISHED ? RUN_FAILED : tell->state;
}

/* What a tell makes of the trial, but for the value it may lack. */
static enum run_state told_state(const struct live_trial *trial, const struct engine_trial *row, const struct live_tell *tell) {
  return state_with(trial->sweep, tell, row->has_value || tell->has_value, tell->has_value ? tell->value : trial->value);
}

/* Is it what the trial has ended with? */
static bool is_same(const struct live_trial *trial, const struct engine_trial *row, const struct live_tell *tell) {
  bool has = row->has_value || tell->has_value, needs = trial->sweep->conf.needs_value;
  double value = tell->has_value ? tell->value : trial->value;
  enum run_state told = told_state(trial, row, tell);
  enum run_state state = told == RUN_FINISHED && needs && !has ? RUN_FAILED : told;
  return (row->state == state || row->state == RUN_STOPPED || row->state == RUN_KILLED) && same_value(value, trial->value);
}

bool live_tell_check(const struct live_trial *trial, const struct live_tell *tell, struct err *err) {
  const struct live_sweep *live = trial->sweep;
  const struct engine_trial *row = engine_trial(live->engine, trial->number);
  if (!live->conf.asks)
    return err_set(err, ERR_WRONG_STATE, "the trial is run by the service, which sees its end by itself");
  if (is_told(row) && is_same(trial, row, tell))
    return true;
  if (is_told(row) && row->state == RUN_KILLED)
    return err_set(err, ERR_CONFLICT, "trial %u takes no result any more: %s", trial->number, live_cause_text(row->cause));
  if (is_told(row))
    return err_set(err, ERR_CONFLICT, "trial %u has ended already, with another result", trial->number);
  if (row->dead || row->state == RUN_QUEUED || (tell->attempt && tell->attempt != row->attempt))
    return fenced(err);
  return true;
}

bool live_tell(struct live_trial *trial, const struct live_tell *tell, struct err *err) {
  struct live_sweep *live = trial->sweep;
  const struct engine_trial *row = engine_trial(live->engine, trial->number);
  if (!live_tell_check(trial, tell, err))
    return false;
  if (is_told(row))
    return true;
  enum run_state told = told_state(trial, row, tell);
  if (tell->has_value) {
    live_set_value(trial, tell->value, trial->value_step);
    trial->value = tell->value;
  }
  if (tell->has_value && tell->state == RUN_FINISHED) {
    struct engine_report heard = {.has_value = true, .target = live_reaches_target(live, tell->value)};
    engine_heard(live->engine, trial->number, row->attempt, &heard, live_now(live->all));
  }
  if (engine_tell(live->engine, trial->number, 0, told, tell->has_value, live_now(live->all)) == TOLD_FENCED)
    return fenced(err);
  sweeps_kick(live->all);
  return true;
}

bool live_add_check(const struct live_sweep *live, const json_t *params, const struct live_tell *tell, struct err *err) {
  double point[SPACE_PARAMS_MAX];
  if (!live->conf.asks)
    return err_set(err, ERR_WRONG_STATE, "the sweep has a command: its trials are run by the service");
  if (live_is_over(live))
    return err_set(err, ERR_WRONG_STATE, "the sweep is %s", sweep_state_text(engine_sweep(live->engine).state));
  if (tell->state == RUN_FINISHED && !tell->has_value && live->conf.needs_value)
    return err_set(err, ERR_INVALID, "a finished trial needs a \"value\"");
  return live_is_out_of_trash(live, err) && space_point_from_json(live->space, params, SPACE_ALL, point, err);
}

bool live_add(struct live_sweep *live, const json_t *params, const struct live_tell *tell, struct live_trial **ret, struct err *err) {
  double point[SPACE_PARAMS_MAX];
  uint32_t number;
  struct sweeps *s = live->all;
  if (!live_add_check(live, params, tell, err) || !space_point_from_json(live->space, params, SPACE_ALL, point, err) ||
      !engine_add(live->engine, state_with(live, tell, tell->has_value, tell->value), tell->has_value, &number, err))
    return false;
  struct live_made made = live_made_by_hand(live);
  struct live_trial *trial = live_trial_new(live, number, id_new(s->conf.clock, &s->conf.rng), err);
  if (!trial || !history_add(live->history, number, point, NULL, err))
    return false;
  trial->started = trial->created;
  trial->made = made;
  trial->at_tells = made.tells;
  if (tell->has_value)
    live_set_value(trial, tell->value, 0);
  if (tell->has_value && tell->state == RUN_FINISHED && live_reaches_target(live, tell->value))
    engine_reached_target(live->engine);
  *ret = trial;
  sweeps_kick(s);
  return true;
}

static bool keep_report(struct live_trial *trial, uint32_t attempt, uint32_t source, const struct live_report *report, struct err *err) {
  struct live_sweep *live = trial->sweep;
  struct sweeps *s = live->all;
  if (s->report_count == s->report_cap) {
    size_t cap = MAX_OF(s->report_cap * 2, (size_t)256);
    struct pending_report *bigger = mem_resize(s->reports, cap, sizeof *bigger);
    if (!bigger)
      return err_no_memory(err);
    s->reports = bigger;
    s->report_cap = cap;
  }
  char *key = mem_strndup(report->key.p, report->key.n);
  if (!key)
    return err_no_memory(err);
  s->reports[s->report_count++] = (struct pending_report){.sweep = live,
                                                          .n = live->reports++,
                                                          .trial = trial->number,
                                                          .attempt = attempt,
                                                          .source = source,
                                                          .key = key,
                                                          .value = report->value,
                                                          .epoch = report->epoch,
                                                          .step = report->step};
  return true;
}

static void keep_verdict(struct live_trial *trial, const struct stop_verdict *verdict) {
  AUTO_BUF struct buf text = BUF_INIT(4 * KIB);
  struct json_writer w;
  jw_init(&w, &text);
  jw_object(&w);
  jw_put_text(&w, "rule", verdict->rule);
  jw_put_i64(&w, "step", verdict->step);
  jw_put_text(&w, "comparison", verdict->comparison);
  jw_put_text(&w, "reason", verdict->reason);
  jw_object_end(&w);
  mem_free(trial->course->stop);
  mem_free(trial->course->reason);
  trial->course->stop = text.fail ? NULL : mem_strdup(buf_text(&text));
  trial->course->reason = mem_strdup(verdict->reason);
}

bool live_heard(struct live_trial *trial, uint32_t attempt, uint32_t source, const struct live_report *report) {
  if (trial->course->heard_of != attempt)
    heard_release(&trial->course->heard);
  trial->course->heard_of = attempt;
  return heard_before(&trial->course->heard, source, report->key, report->step, report->value);
}

/* One value through the fold, the rules, the engine. */
static enum engine_answer hear_one(struct live_trial *trial, uint32_t attempt, uint32_t source, const struct live_report *report,
                                   struct err *err) {
  struct live_sweep *live = trial->sweep;
  struct stop_verdict verdict;
  struct engine_report heard = {.has_value = false};
  if (!keep_report(trial, attempt, source, report, err))
    return ANSWER_FENCED;
  live_take_report(trial, attempt, report, &verdict, &heard.target, &heard.has_value);
  const struct engine_trial *row = engine_trial(live->engine, trial->number);
  heard.stop = verdict.stop;
  if (verdict.stop && (row->state == RUN_RUNNING || row->state == RUN_STARTING || row->state == RUN_LOST))
    keep_verdict(trial, &verdict);
  return engine_heard(live->engine, trial->number, attempt, &heard, live_now(live->all));
}

/* Reports of one step. False when the attempt is over. */
static bool hear_together(struct live_trial *trial, uint32_t attempt, uint32_t source, const struct live_report *reports, size_t count,
                          struct err *err) {
  const struct live_sweep *live = trial->sweep;
  for (size_t i = 0; i < 2 * count; i++) {
    const struct live_report *report = &reports[i % count];
    bool its_turn = live_counts_by(live, report->key) == (i < count);
    if (its_turn && live_watches(live, report->key) && !live_heard(trial, attempt, source, report) &&
        hear_one(trial, attempt, source, report, err) == ANSWER_FENCED)
      return err->code != ERR_NONE ? false : fenced(err);
  }
  return true;
}

bool live_hear(struct live_trial *trial, int32_t attempt, uint32_t source, const struct live_report *reports, size_t count,
               struct err *err) {
  struct live_sweep *live = trial->sweep;
  int64_t now = live_now(live->all);
  uint32_t own = (uint32_t)(attempt > 0 ? attempt : live_attempt(trial));
  if (engine_heard(live->engine, trial->number, own, NULL, now) == ANSWER_FENCED)
    return fenced(err);
  err->code = ERR_NONE;
  for (size_t i = 0, end; i < count; i = end) {
    end = i + 1;
    while (end < count && reports[end].step == reports[i].step)
      end++;
    if (!hear_together(trial, own, source, reports + i, end - i, err))
      return false;
  }
  sweeps_kick(live->all);
  return true;
}

void live_put_verdict(const struct live_trial *trial, struct json_writer *w) {
  const struct engine_trial *row = engine_trial(trial->sweep->engine, trial->number);
  bool stop = row->state >= RUN_STOPPING && row->state != RUN_LOST && engine_trial_durable(trial->sweep->engine, trial->number);
  AUTO_JSON json_t *said = NULL;
  struct err ignored; /* it is our own text */
  jw_object(w);
  jw_put_text(w, "verdict", stop ? "stop" : "continue");
  if (stop) {
    const char *text = live_course(trial)->stop;
    if (text && row->cause == CAUSE_VERDICT && !json_read(str_of(text), &said, &ignored))
      said = NULL;
    jw_put_text(w, "rule", said ? json_string_value(json_object_get(said, "rule")) : NULL);
    jw_put_text(w, "reason", live_reason(trial, row));
  }
  jw_object_end(w);
}

struct live_sweep *live_trial_sweep(const struct live_trial *trial) {
  return trial->sweep;
}

size_t live_trial_count(const struct live_sweep *live) {
  return live->trial_count;
}

bool live_has_command(const struct live_sweep *live) {
  return !live->conf.asks;
}

bool live_is_over(const struct live_sweep *live) {
  return fsm_is_final(&sweep_fsm, engine_sweep(live->engine).state);
}
