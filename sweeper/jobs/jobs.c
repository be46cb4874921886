/* Trials as jobs on this machine: how they start, what their companions say, how they end. */
#include "sweeper/jobs/jobs.h"
#include "sweeper/jobs/companion_calls.h"
#include "sweeper/live/live.h"
#include "sweeper/machine/exec_local.h"
#include "sweeper/machine/system_series.h"

#include <fcntl.h>
#include <signal.h>

#include "base/log.h"
#include "base/mem.h"
#include "storage/metrics/metric_store.h"

enum {
  EXIT_LINES_MAX = 256,
  FINISHERS_MAX = 3,
  START_AGAIN_MIN_MS = 1000,
  START_AGAIN_MAX_MS = 30000,
  REFUSALS_GROWN = 5, /* then the time between them grows no more */
  REFUSALS_PATIENT = 25
};

/* ---- starting ---- */

static void set_reason(struct live_trial *trial, const char *text) {
  if (!trial->course)
    return;
  mem_free(trial->course->reason);
  trial->course->reason = mem_strdup(text);
}

/* Twice as long each time, until something of the sweep is started. Others go on: what is too much for this one may be little for them. */
static void hold_starts(struct live_sweep *live, const struct err *why) {
  unsigned before = live->starts_held.refusals;
  if (queue_starts_held(live))
    return;
  live->starts_held.refusals++;
  live->starts_held.until =
      live_now(live->all) + MIN_OF((int64_t)START_AGAIN_MIN_MS << MIN_OF(before, (unsigned)REFUSALS_GROWN), (int64_t)START_AGAIN_MAX_MS);
  snprintf(live->starts_held.why, sizeof live->starts_held.why, "%s", why->text);
  queue_set_group(live);
}

static void let_start(struct live_sweep *live) {
  if (!live->starts_held.until || live_now(live->all) < live->starts_held.until)
    return;
  live->starts_held.until = 0;
  queue_set_group(live);
}

/* What passes is waited for, ten minutes of nothing but refusals; while something of the sweep runs it may be that which takes the space.
 */
static enum engine_refusal weigh(struct live_sweep *live, const struct err *err) {
  if (err->code != ERR_NO_SPACE && !err_is_shortage(err))
    return REFUSAL_COUNTS;
  hold_starts(live, err);
  bool runs = engine_counts(live->engine).by_state[RUN_RUNNING], stays = !runs && live->starts_held.refusals >= REFUSALS_PATIENT;
  if (runs || stays)
    live->starts_held.refusals = MIN_OF(live->starts_held.refusals, (unsigned)REFUSALS_GROWN);
  return stays ? REFUSAL_STAYS : REFUSAL_PASSES;
}

static void refused(struct live_trial *trial, uint32_t attempt, const struct err *err) {
  struct live_sweep *live = trial->sweep;
  struct err ignored; /* what is left is emptied when its number comes again, and removed with the run */
  log_warn("sweep", NULL, "%s: trial %u was not started: %s", live->name, trial->number, err->text);
  set_reason(trial, err->text);
  (void)!exec_local_tidy(live->all->executor, trial->run, (int32_t)attempt, &ignored);
  engine_refused(live->engine, trial->number, attempt, weigh(live, err), live_now(live->all));
  sweeps_kick(live->all);
}

void jobs_made(struct live_trial *trial, uint32_t attempt, const struct err *failed) {
  const struct engine_trial *row = engine_trial(trial->sweep->engine, trial->number);
  struct err err;
  bool ok = !failed;
  if (failed)
    err = *failed;
  if (ok && (row->attempt != attempt || row->state != RUN_STARTING)) /* it was stopped meanwhile: nothing is to be started */
    ok = err_set(&err, ERR_CANCELLED, "it was stopped before it started");
  if (!ok || !job_launch(trial, attempt, &err))
    refused(trial, attempt, &err);
  else
    trial->sweep->starts_held.refusals = 0;
}

void jobs_start(struct live_trial *trial, uint32_t attempt) {
  struct err err;
  if (trial->course->adopted == attempt)
    return;
  if (!jobs_make(trial, attempt, &err))
    refused(trial, attempt, &err);
}

/* ---- verdicts ---- */

static void answer_poll(struct live_trial *trial, enum companion_says says) {
  companion_fn *done = live_course(trial)->poll_done;
  if (!done)
    return;
  trial->course->poll_done = NULL;
  done(trial->course->poll_ctx, says);
}

void jobs_end(struct live_trial *trial) {
  answer_poll(trial, COMPANION_STOP);
}

static enum companion_says says_of(enum engine_answer answer) {
  return answer == ANSWER_GO_ON ? COMPANION_GO_ON : answer == ANSWER_STOP ? COMPANION_STOP : COMPANION_FENCED;
}

enum companion_says companion_alive(struct live_trial *trial, int32_t attempt) {
  struct live_sweep *live = trial->sweep;
  enum engine_answer answer = engine_heard(live->engine, trial->number, (uint32_t)attempt, NULL, live_now(live->all));
  sweeps_kick(live->all);
  return says_of(answer);
}

void companion_poll(struct live_trial *trial, int32_t attempt, int64_t wait_ms, companion_fn *done, void *ctx) {
  enum companion_says says = companion_alive(trial, attempt);
  answer_poll(trial, COMPANION_LATER);
  if (says != COMPANION_GO_ON || trial->sweep->all->stopping || wait_ms <= 0) {
    done(ctx, says);
    return;
  }
  trial->course->poll_done = done;
  trial->course->poll_ctx = ctx;
  trial->course->poll_until = live_now(trial->sweep->all) + wait_ms;
}

void companion_poll_drop(struct live_trial *trial, const void *ctx) {
  if (trial->course && trial->course->poll_ctx == ctx)
    trial->course->poll_done = NULL;
}

/* The companion of an earlier service. */
static void watch(struct live_trial *trial) {
  struct err err;
  bool is_first = !trial->course->unwatched;
  trial->course->unwatched = !exec_local_adopt(trial->sweep->all->executor, trial->run, (int32_t)trial->course->adopted, &err);
  if (trial->course->unwatched && is_first)
    log_error("sweep", NULL, "%s: trial %u cannot be watched yet: %s", trial->sweep->name, trial->number, err.text);
}

void jobs_tick(struct sweeps *s) {
  LIST_EACH(&s->sweeps, node) {
    struct live_sweep *live = LIST_ENTRY(node, struct live_sweep, node);
    jobs_miss_goal(live);
    let_start(live);
    for (size_t i = 0; i < live->trial_count && !live->conf.asks; i++) {
      struct live_trial *trial = live_trial_at(live, i);
      if (trial && live_course(trial)->poll_done && (s->stopping || trial->course->poll_until <= live_now(s)))
        answer_poll(trial, COMPANION_GO_ON);
      if (trial && live_course(trial)->unwatched)
        watch(trial);
    }
  }
  jobs_inherit_tick(s);
  resting_tick(s);
}

/* ---- with the service ---- */

int64_t jobs_stop_all(struct sweeps *s, struct str actor) {
  int64_t grace = 0;
  schedule_node_set(s->schedule, s->node, NODE_DOWN);
  LIST_EACH(&s->sweeps, node) {
    struct live_sweep *live = LIST_ENTRY(node, struct live_sweep, node);
    for (size_t i = 0; i < live->trial_count && !live->conf.asks; i++) {
      struct live_trial *trial = live_trial_at(live, i);
      struct err err;
      if (!trial || !live_course(trial)->in_schedule || schedule_is_waiting(s->schedule, trial->course->job))
        continue;
      grace = MAX_OF(grace, live->file->spec.stop_grace);
      if (!live_kill(trial, actor, &err))
        log_warn("sweep", NULL, "%s: trial %u was not stopped: %s", live->name, trial->number, err.text);
    }
  }
  return MAX_OF(grace, resting_end_all(s, actor));
}

bool jobs_are_over(const struct sweeps *s) {
  return schedule_node_info(s->schedule, s->node).used == 0 && exec_local_count(s->executor) == resting_staying(s);
}

/* ---- output ---- */

bool jobs_open_log(struct live_trial *trial, uint32_t attempt, struct err *err) {
  if (trial->course->log && trial->course->log_attempt == attempt)
    return true;
  log_writer_close(trial->course->log);
  const struct log_writer_options options = {.sources = trial->sweep->sources, .log_max = (int64_t)trial->sweep->file->spec.log_max};
  trial->course->log = log_writer_new(trial->sweep->all->conf.logs, trial->run, (int32_t)attempt, &options, jobs_on_points, trial, err);
  trial->course->log_attempt = attempt;
  return trial->course->log != NULL;
}

/* ---- the end ---- */

/* On its way; its trial may be gone when it arrives. */
struct ending {
  struct sweeps *all;
  struct id run;
  uint32_t attempt;
  bool ok, lost;
  companion_fn *done; /* NULL: nobody waits */
  void *ctx;
};

static void end_told(void *ctx, const struct err *err) {
  struct ending *ending = ctx;
  struct live_trial *trial = sweeps_trial(ending->all, ending->run);
  if (ending->done && trial && trial->course)
    trial->course->is_ending = false;
  if (ending->done)
    ending->done(ending->ctx, err ? COMPANION_LATER : COMPANION_GO_ON);
  mem_free(ending);
}

/* NULL: it has gone meanwhile, and who waits is told. */
static struct live_trial *trial_of(struct ending *ending) {
  struct err err;
  struct live_trial *trial = sweeps_trial(ending->all, ending->run);
  if (!trial) {
    err_set(&err, ERR_CANCELLED, "the trial is over and gone");
    end_told(ending, &err);
  }
  return trial;
}

static void over(struct ending *ending, struct live_trial *trial) {
  struct live_sweep *live = trial->sweep;
  struct err err;
  if (ending->ok && live->conf.needs_value && !engine_trial(live->engine, trial->number)->has_value)
    jobs_explain_no_metric(trial);
  else if (ending->ok && live_fails_of_nan(trial)) {
    set_reason(trial, live_nan_text);
    ending->ok = false;
  }
  if (ending->lost)
    engine_dead(live->engine, trial->number, ending->attempt, live_now(live->all));
  else
    engine_exited(live->engine, trial->number, ending->attempt, ending->ok, live_now(live->all));
  sweeps_kick(live->all);
  if (!sweeps_wait(live, trial, end_told, ending, &err))
    end_told(ending, &err);
}

/* That points cannot be brought up to date keeps no run from ending: who reads it is told of that. */
static void on_points_settled(void *ctx, const struct err *failed) {
  struct ending *ending = ctx;
  struct live_trial *trial = trial_of(ending);
  if (!trial)
    return;
  if (trial->course)
    trial->course->points_given_up = failed && failed->code == ERR_DEADLINE;
  if (failed && failed->code == ERR_CANCELLED)
    end_told(ending, failed);
  else
    over(ending, trial);
}

/* The last values of a run go before its end. They are waited for here, and not when the end is written: what else is written then need not
 * wait with it. */
static void settle_points(struct ending *ending, struct live_trial *trial) {
  struct metric_store *metrics = ending->all->conf.metrics;
  struct err failed;
  if (!metric_is_behind(metrics, ending->run) || !metric_settle_end(metrics, ending->run, on_points_settled, ending, &failed))
    over(ending, trial);
}

/* Metrics that came in place of the goal, for the explanation: after a start it is not known which. */
static void on_stored_names(void *ctx, const struct metric_summary *summaries, size_t count, const struct err *err) {
  struct ending *ending = ctx;
  struct live_trial *trial = trial_of(ending);
  for (size_t i = 0; i < count && !err && trial; i++)
    if (!str_starts(summaries[i].key, STR(SYSTEM_SERIES_PREFIX))) /* nobody means ours */
      goal_watch_name(&trial->sweep->goal_watch, summaries[i].key);
  if (trial)
    settle_points(ending, trial);
}

static void all_heard(struct ending *ending, struct live_trial *trial, const struct err *err) {
  struct err failed;
  if (err && ending->done) {
    end_told(ending, err);
    return;
  }
  bool explains = ending->ok && trial->sweep->conf.needs_value && !engine_trial(trial->sweep->engine, trial->number)->has_value;
  if (!explains || !metric_summaries(ending->all->conf.metrics, &trial->run, 1, on_stored_names, ending, &failed))
    settle_points(ending, trial);
}

static void on_all_heard(void *ctx, const struct err *err) {
  struct ending *ending = ctx;
  struct live_trial *trial = trial_of(ending);
  if (trial)
    all_heard(ending, trial, err);
}

static void log_complete(struct ending *ending, struct live_trial *trial, const struct err *err) {
  struct err failed;
  if (err)
    live_note_missed(trial);
  if (err && ending->done) { /* the companion says it again */
    end_told(ending, err);
    return;
  }
  if (live_course(trial)->log && trial->course->log_attempt == ending->attempt) {
    log_writer_close(trial->course->log);
    trial->course->log = NULL;
  }
  bool missed = live_course(trial)->missed > 0;
  if (!missed || !live_catch_up(trial, on_all_heard, ending, &failed))
    all_heard(ending, trial, missed ? &failed : NULL);
}

static void on_log_complete(void *ctx, int64_t next UNUSED, const struct err *err) {
  struct ending *ending = ctx;
  struct live_trial *trial = trial_of(ending);
  if (trial)
    log_complete(ending, trial, err);
}

/* The companion's clock may have jumped meanwhile. */
static void note_start(struct live_trial *trial, int64_t begun) {
  if (!trial->started)
    trial->started = MAX_OF(MIN_OF(begun, live_wall(trial->sweep->all)), trial->created);
}

struct exit_text {
  bool ok;       /* exit code 0 */
  bool lost;     /* nobody saw the end */
  bool silent;   /* nothing was printed */
  int64_t ended; /* 0: it does not say */
};

/* "memory_limit": 412.3 MB of 100MB. A job that the kernel ended may never have been seen above its limit. */
static void explain_limit(const struct live_trial *trial, struct str limit, int64_t rss_peak, char *out, size_t room) {
  const struct sweep_spec *spec = &trial->sweep->file->spec;
  if (str_is(limit, "signal")) {
    snprintf(out, room, "its companion was told to end it, by a signal");
    return;
  }
  bool is_memory = str_is(limit, "memory_limit") && spec->resources.has_memory;
  char allowed[32] = "", used[48] = "";
  if (is_memory)
    spec_format_size(spec->resources.memory, allowed);
  else if (str_is(limit, "time_limit") && spec->resources.has_time)
    spec_format_duration(spec->resources.time, allowed);
  if (is_memory && rss_peak > (int64_t)spec->resources.memory)
    snprintf(used, sizeof used, ": it used %.1f MB", (double)rss_peak / 1e6);
  snprintf(out, room, "ended for its %.*s%s%s%s", STR_ARG(str_slice(limit, 0, 40)), allowed[0] ? " of " : "", allowed, used);
}

static const char lost_reason[] = "its companion died, and nobody knows how the command ended";
static const char removed_reason[] = "its directory was removed while it ran";

/* `name value` lines. */
static struct exit_text read_exit(struct live_trial *trial, uint32_t attempt, struct str text) {
  struct exit_text ret = {.ended = 0};
  struct str line;
  int64_t number, rss_peak = 0, printed[LOG_STREAMS] = {-1, -1};
  struct str limit = STR_NONE;
  char reason[400] = "";
  for (int i = 0; i < EXIT_LINES_MAX && text.p && str_split(&text, '\n', &line); i++) {
    size_t space = str_find(line, ' ');
    struct str name = str_slice(line, 0, space), value = space == SIZE_MAX ? STR("") : str_slice(line, space + 1, line.n);
    bool is_code = str_is(name, "exit_code"), is_signal = str_is(name, "signal");
    if ((is_code || is_signal) && str_to_i64(value, &number) && number >= 0 && number < 1024) {
      trial->course->has_exit = true;
      trial->course->by_signal = is_signal;
      trial->course->exit = (int32_t)number;
      ret.ok = is_code && number == 0;
      if (!ret.ok)
        snprintf(reason, sizeof reason, is_code ? "exit code %d" : "ended by signal %d", (int)number);
    } else if (str_is(name, "lost")) {
      ret.lost = true;
      snprintf(reason, sizeof reason, "%s", lost_reason);
    } else if (str_is(name, "start_error")) {
      snprintf(reason, sizeof reason, "%.*s", STR_ARG(str_slice(value, 0, 380)));
    } else if (str_is(name, "artifacts_failed")) {
      jobs_tell_artifacts(trial, value);
    } else if (str_is(name, "artifacts_missed") && ret.ok) {
      jobs_miss_artifacts(trial, value);
    } else if (str_is(name, "files_missed") && ret.ok) {
      jobs_miss_files(trial, value);
    } else if (str_is(name, "files_lost")) {
      jobs_lose_files(trial, value);
    } else if (str_is(name, "ended_by") && !str_is(value, "stop") && !str_is(value, "fenced")) {
      limit = value;
      ret.ok = false;
    } else if (str_is(name, "rss_peak") && str_to_i64(value, &number)) {
      rss_peak = number;
    } else if (str_is(name, "oom")) {
      size_t n = strlen(reason);
      snprintf(reason + n, sizeof reason - n,
               str_is(value, "job") ? ": the kernel ended it for want of memory" : ", while the kernel ended processes for want of memory");
    } else if (str_is(name, "begun_ms") && str_to_i64(value, &number)) {
      note_start(trial, number);
    } else if (str_is(name, "ended_ms") && str_to_i64(value, &number)) {
      ret.ended = number;
    } else if (str_is(name, "stdout") || str_is(name, "stderr")) {
      if (!str_to_i64(value, &printed[str_is(name, "stderr")]))
        return ret;
    }
  }
  if (limit.n)
    explain_limit(trial, limit, rss_peak, reason, sizeof reason);
  if (reason[0] && !exec_local_has_directory(trial->sweep->all->executor, trial->run, (int32_t)attempt))
    snprintf(reason + strlen(reason), sizeof reason - strlen(reason), "; %s", removed_reason);
  if (reason[0] && !trial->course->stop)
    set_reason(trial, reason);
  if (ret.ok)
    jobs_miss_metrics(trial, attempt);
  ret.silent = printed[LOG_STDOUT] == 0 && printed[LOG_STDERR] == 0;
  return ret;
}

static void end_attempt(struct live_trial *trial, uint32_t attempt, struct str text, companion_fn *done, void *ctx) {
  struct err err;
  struct ending *ending = mem_zalloc(sizeof *ending);
  if (!ending) {
    if (done)
      done(ctx, COMPANION_LATER);
    return;
  }
  *ending = (struct ending){.all = trial->sweep->all, .run = trial->run, .attempt = attempt, .done = done, .ctx = ctx};
  trial->course->is_ending |= done != NULL;
  trial->course->points_given_up = false;
  struct exit_text said = read_exit(trial, attempt, text);
  int64_t now = live_wall(trial->sweep->all);
  trial->course->attempt_ended = MAX_OF(said.ended > 0 ? MIN_OF(said.ended, now) : now, trial->course->attempt_began); /* clocks jump */
  ending->ok = said.ok;
  ending->lost = said.lost;
  /* A first attempt without output has no streams to complete; a later one's empty streams hide those of the one before. */
  if (said.silent && attempt == 1 && !trial->course->log)
    log_complete(ending, trial, NULL);
  else if (!jobs_open_log(trial, attempt, &err) || !log_writer_finish(trial->course->log, on_log_complete, ending, &err)) {
    if (done)
      end_told(ending, &err);
    else
      over(ending, trial);
  }
}

void companion_exited(struct live_trial *trial, int32_t attempt, struct str text, companion_fn *done, void *ctx) {
  const struct engine_trial *row = engine_trial(trial->sweep->engine, trial->number);
  if ((uint32_t)attempt == row->attempt && row->dead && engine_trial_durable(trial->sweep->engine, trial->number)) {
    done(ctx, COMPANION_GO_ON); /* said again: its answer was lost */
    return;
  }
  if (companion_alive(trial, attempt) == COMPANION_FENCED) {
    done(ctx, row->dead && (uint32_t)attempt == row->attempt ? COMPANION_LATER : COMPANION_FENCED);
    return;
  }
  if (trial->course->is_ending) { /* said again before there was an answer */
    done(ctx, COMPANION_LATER);
    return;
  }
  end_attempt(trial, (uint32_t)attempt, text, done, ctx);
}

/* What it left is brought home by another companion, then its end is told. False: nobody can. */
static bool bring_home(struct live_trial *trial, int32_t attempt, bool lost) {
  struct sweeps *s = trial->sweep->all;
  struct err err;
  if (trial->course->finishers >= FINISHERS_MAX || !exec_local_finish(s->executor, trial->run, attempt, &err))
    return false;
  trial->course->finishers++;
  log_warn("sweep", NULL, "%s: the companion of trial %u died when its job %s; another one brings home what is left", trial->sweep->name,
           trial->number, lost ? "was not over" : "was over");
  return true;
}

struct leaving {
  struct exec_local *executor;
  struct id run;
  int32_t attempt;
};

void jobs_tidy(struct exec_local *executor, struct id run, int32_t attempt) {
  struct err err;
  if (!exec_local_tidy(executor, run, attempt, &err))
    log_warn("sweep", NULL, "%s", err.text);
}

static void on_left(void *ctx, const struct err *err) {
  struct leaving *leaving = ctx;
  if (!err) /* of what could not be stored the directory stays until the run is removed */
    jobs_tidy(leaving->executor, leaving->run, leaving->attempt);
  mem_free(leaving);
}

/* Not before it is stored that the attempt is over: whoever starts next takes one without a directory for one that never began. */
static void tidy_when_stored(struct live_trial *trial, int32_t attempt) {
  struct err err;
  struct leaving *leaving = mem_zalloc(sizeof *leaving);
  if (!leaving)
    return;
  *leaving = (struct leaving){trial->sweep->all->executor, trial->run, attempt};
  if (live_is_durable(trial))
    on_left(leaving, NULL);
  else if (!sweeps_wait(trial->sweep, trial, on_left, leaving, &err))
    on_left(leaving, &err);
}

static void on_gone(void *ctx, struct id run, int32_t attempt, struct str exit_text) {
  struct sweeps *s = ctx;
  struct live_trial *trial = sweeps_trial(s, run);
  AUTO_BUF struct buf lost = BUF_INIT(KIB);
  struct err err;
  if (s->stopping || resting_is_gone(s, run, attempt)) /* whoever starts next finds it as it is */
    return;
  const struct engine_trial *row = trial ? engine_trial(trial->sweep->engine, trial->number) : NULL;
  bool current = row && row->attempt == (uint32_t)attempt && !row->dead;
  bool removed = current && row->state != RUN_STARTING && !exec_local_has_directory(s->executor, run, attempt);
  if (current && row->state == RUN_STARTING && !exec_local_was_started(s->executor, run, attempt)) {
    err_set(&err, ERR_IO, "its companion could not begin; the service's log tells why");
    refused(trial, (uint32_t)attempt, &err);
    return;
  }
  if (current && !exit_text.p && exec_local_note_lost(s->executor, run, attempt, &lost, &err))
    exit_text = buf_str(&lost);
  if (current && exit_text.p) {
    if (!bring_home(trial, attempt, lost.n > 0))
      end_attempt(trial, (uint32_t)attempt, exit_text, NULL, NULL);
  } else if (current) {
    set_reason(trial, removed ? removed_reason : lost_reason);
    engine_dead(trial->sweep->engine, trial->number, (uint32_t)attempt, live_now(s));
    sweeps_kick(s);
  } else if (exec_local_is_told(s->executor, run, attempt)) {
    jobs_tidy(s->executor, run, attempt);
  } else if (trial) {
    tidy_when_stored(trial, attempt);
  }
}

/* ---- after a start ---- */

static bool find_slots(const struct sweeps *s, unsigned wanted, uint16_t *slots) {
  unsigned found = 0;
  uint32_t job;
  for (unsigned i = 0; i < s->conf.slots && found < wanted; i++)
    if (!schedule_slot_job(s->schedule, s->node, i, &job))
      slots[found++] = (uint16_t)i;
  return found == wanted;
}

static bool holds(const struct live_trial *trial, const struct engine_trial *row) {
  return !trial->sweep->conf.asks && !row->dead && row->state != RUN_QUEUED;
}

bool jobs_hold(struct sweeps *s, struct live_trial *trial, int32_t attempt, const struct schedule_want *want, uint32_t *ret_job) {
  uint16_t slots[SCHEDULE_SLOTS_MAX];
  struct err err;
  return (job_gpus_noted(s, trial->run, attempt, slots) == want->slots || find_slots(s, want->slots, slots)) &&
         schedule_job_adopt(s->schedule, want, trial, s->node, slots, ret_job, &err);
}

void jobs_adopt(struct live_trial *trial, const struct engine_trial *row) {
  struct sweeps *s = trial->sweep->all;
  if (!holds(trial, row))
    return;
  struct schedule_want want = queue_want(trial);
  trial->course->in_schedule = jobs_hold(s, trial, (int32_t)row->attempt, &want, &trial->course->job);
  if (row->state == RUN_STARTING && !exec_local_was_started(s->executor, trial->run, (int32_t)row->attempt))
    return;                         /* the engine starts it */
  if (row->state == RUN_STARTING) { /* the service died before it could store what it had started */
    AUTO_JSON json_t *params = live_params(trial);
    if (params)
      job_keep_command(trial, row->attempt, params);
  }
  trial->course->adopted = row->attempt;
  watch(trial);
}

bool jobs_new(struct sweeps *s, struct err *err) {
  s->conf.slots = MIN_OF(MAX_OF(s->conf.slots, 1u), (unsigned)SCHEDULE_SLOTS_MAX);
  if (gethostname(s->node_name, sizeof s->node_name - 1) != 0 || !s->node_name[0])
    snprintf(s->node_name, sizeof s->node_name, "local");
  struct exec_local_conf conf = {.data_dir = s->conf.data_dir, .companion = s->conf.companion, .work = s->conf.work};
  s->executor = exec_local_new(s->conf.loop, &conf, on_gone, s, err);
  return s->executor && schedule_new(&s->schedule, err) && schedule_node_add(s->schedule, s->conf.slots, &s->node, err) &&
         gpu_series_new(s, err);
}

void jobs_free(struct sweeps *s) {
  gpu_series_free(s->gpu_series);
  exec_local_free(s->executor);
  if (s->schedule)
    schedule_free(s->schedule);
  mem_free(s->node_reason);
}
