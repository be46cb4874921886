/* What jobs print and write, as reports: the files a companion watches, points on their way to the rules. */
#include "base/log.h"
#include "base/mem.h"
#include "sweeper/jobs/companion_calls.h"
#include "sweeper/jobs/jobs.h"
#include "sweeper/live/live.h"
#include "tracker/logs/file_store.h"

/* ---- the goal metric that does not come ---- */

enum { GOAL_PATIENCE_MS = 60000, WARNING_MAX = 1024 };

static void ignore_reply(void *ctx UNUSED, const struct pg_reply *reply UNUSED) {}

void jobs_tell_artifacts(const struct live_trial *trial, struct str why) {
  struct live_sweep *live = trial->sweep;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct err err;
  why = str_slice(why, 0, 500);
  sweep_rows_put_event(&batch, live->all, "run.artifacts", live->name, trial->run,
                       str_is_utf8(why) ? why : STR("some files were not stored"));
  log_warn("sweep", NULL, "%s: artifacts of trial %u: %.*s", live->name, trial->number, STR_ARG(why));
  if (!pg_run_batch(live->all->conf.pg, &batch, 0, ignore_reply, NULL, &err))
    log_warn("sweep", NULL, "%s: that is not noted: %s", live->name, err.text);
}

/* Warnings are changed beside the rows of the engine: a write that is lost is made good by the next. */
static void store_warnings(struct live_sweep *live, struct str news) {
  struct sweeps *s = live->all;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct err err;
  sweep_rows_enter(&batch, s);
  struct pg_args *args = pg_batch_add(&batch, STMT_SWEEP_WARN);
  pg_put_uuid(args, live->id);
  sweep_rows_put_warnings(args, live);
  if (news.n)
    sweep_rows_put_event(&batch, s, "sweep.warning", live->name, live->id, news);
  if (!pg_run_batch(s->conf.pg, &batch, 0, ignore_reply, NULL, &err))
    log_warn("sweep", NULL, "%s: a warning is not stored: %s", live->name, err.text);
}

static void add_warning(struct live_sweep *live, const char *text) {
  struct err ignored;
  if (!live_warn(live, text, &ignored))
    return;
  log_warn("sweep", NULL, "%s: %s", live->name, text);
  store_warnings(live, str_of(text));
}

void jobs_miss_artifacts(const struct live_trial *trial, struct str glob) {
  AUTO_BUF struct buf text = BUF_INIT(WARNING_MAX);
  buf_printf(&text, "artifacts: no file matches \"%.*s\" when the command has ended", STR_ARG(str_slice(glob, 0, 300)));
  jobs_tell_artifacts(trial, buf_str(&text));
  if (!live_has_warning(trial->sweep, buf_text(&text)))
    add_warning(trial->sweep, buf_text(&text));
}

static void warn_of_files(const struct live_trial *trial, const char *what, struct str glob, const char *how) {
  AUTO_BUF struct buf text = BUF_INIT(WARNING_MAX);
  buf_printf(&text, "metrics_from: %s \"%.*s\"%s", what, STR_ARG(str_slice(glob, 0, 300)), how);
  if (str_is_utf8(buf_str(&text)) && !live_has_warning(trial->sweep, buf_text(&text)))
    add_warning(trial->sweep, buf_text(&text));
}

void jobs_miss_files(const struct live_trial *trial, struct str glob) {
  warn_of_files(trial, "the command has written no file that matches", glob, "");
}

void jobs_lose_files(const struct live_trial *trial, struct str glob) {
  warn_of_files(trial, "files were moved away faster than they could be read, so rows are missing of what matches", glob, "");
}

void jobs_miss_metrics(const struct live_trial *trial, uint32_t attempt) {
  const struct live_course *course = trial->course;
  if (course->files.attempt != attempt)
    return;
  for (size_t i = 0; i < metric_sources_count(trial->sweep->sources); i++) {
    const struct metric_source *source = metric_sources_at(trial->sweep->sources, i);
    if (!source->file || !(course->files.mute & ~course->files.heard & UINT64_C(1) << i))
      continue;
    char how[60];
    snprintf(how, sizeof how, source->pattern ? ": its pattern matches nothing there" : ", read as %s", source_format_name(source->format));
    warn_of_files(trial, "no metric was found in", str_of(source->file), how);
  }
}

/* It came after all. */
static void withdraw_warning(struct live_sweep *live) {
  live_withdraw_warning(live, live->goal_watch.warning);
  store_warnings(live, STR(""));
}

static void warn_of_goal(const struct live_trial *trial, const char *when) {
  struct live_sweep *live = trial->sweep;
  struct str goal = live->file->spec.metric.name;
  AUTO_BUF struct buf text = BUF_INIT(WARNING_MAX);
  if (live->goal_watch.seen || live->goal_watch.warning)
    return;
  buf_printf(&text, "the goal metric \"%.*s\" has not been seen in trial %u after %s", STR_ARG(str_slice(goal, 0, 200)), trial->number,
             when);
  goal_watch_explain(&live->goal_watch, goal, &text);
  buf_puts(&text, "; name it in metric.name or metric.aliases, or read it with metrics_from");
  live->goal_watch.warning = mem_strdup(buf_text(&text));
  if (live->goal_watch.warning)
    add_warning(live, live->goal_watch.warning);
}

static void note_goal_seen(struct live_sweep *live) {
  if (live->goal_watch.seen)
    return;
  if (live->goal_watch.warning)
    withdraw_warning(live);
  goal_watch_release(&live->goal_watch);
  live->goal_watch.seen = true;
}

/* True when this point shows that the trial's first epoch is over. */
static bool begins_another_epoch(struct live_trial *trial, double epoch) {
  if (isnan(epoch))
    return false;
  if (!trial->course->has_epochs) {
    trial->course->has_epochs = true;
    trial->course->first_epoch = floor(epoch);
  }
  return floor(epoch) > trial->course->first_epoch;
}

static void watch_for_goal(struct live_trial *trial, const struct found_point *points, size_t count) {
  struct live_sweep *live = trial->sweep;
  bool epoch_over = false;
  if (!live->file->spec.has_metric || live->goal_watch.seen)
    return;
  for (size_t i = 0; i < count; i++) {
    if (live_is_goal(live, points[i].key)) {
      note_goal_seen(live);
      return;
    }
    goal_watch_name(&live->goal_watch, points[i].key);
    epoch_over |= begins_another_epoch(trial, points[i].epoch);
  }
  if (epoch_over)
    warn_of_goal(trial, "its first epoch");
}

void jobs_miss_goal(struct live_sweep *live) {
  bool waits = live->file->spec.has_metric && !live->conf.asks && !live->goal_watch.seen && !live->goal_watch.warning;
  for (size_t i = 0; waits && i < live->trial_count; i++) {
    const struct live_trial *trial = live_trial_at(live, i);
    const struct engine_trial *row = trial && trial->course ? engine_trial(live->engine, trial->number) : NULL;
    if (row && row->state == RUN_RUNNING && !trial->course->running_since)
      trial->course->running_since = live_now(live->all);
    if (row && row->state == RUN_RUNNING && live_now(live->all) - trial->course->running_since > GOAL_PATIENCE_MS) {
      if (row->has_value)
        note_goal_seen(live);
      else
        warn_of_goal(trial, "a minute");
      return;
    }
  }
}

void jobs_explain_no_metric(struct live_trial *trial) {
  struct live_sweep *live = trial->sweep;
  struct str goal = live->file->spec.metric.name;
  AUTO_BUF struct buf text = BUF_INIT(WARNING_MAX);
  buf_printf(&text, "no_metric: it ended well, but the goal metric \"%.*s\" was never seen", STR_ARG(str_slice(goal, 0, 200)));
  goal_watch_explain(&live->goal_watch, goal, &text);
  char *reason = trial->course ? mem_strdup(buf_text(&text)) : NULL;
  if (!reason)
    return;
  mem_free(trial->course->reason);
  trial->course->reason = reason;
}

/* ---- points and files ---- */

/* What a line said, though its steps may differ: each key may count its own. */
static void hear_record(struct live_trial *trial, uint32_t source, const struct found_point *points, size_t count) {
  struct err err;
  for (size_t i = 0; i < 2 * count; i++) {
    const struct found_point *point = &points[i % count];
    struct live_report report = {.key = point->key, .value = point->value, .epoch = point->epoch, .step = point->step};
    if (live_counts_by(trial->sweep, point->key) == (i < count) &&
        !live_hear(trial, (int32_t)trial->course->log_attempt, source, &report, 1, &err) && err.code != ERR_FENCED)
      log_warn("sweep", NULL, "%s: a report of trial %u was not taken in: %s", trial->sweep->name, trial->number, err.text);
  }
}

void jobs_on_points(void *ctx, uint32_t source, const struct found_point *points, size_t count) {
  struct live_trial *trial = ctx;
  sweeps_tell(trial->sweep->all, &(struct sweeps_change){.kind = SWEEPS_POINTS, .run = trial->run});
  if (!trial->course)
    return; /* it is over */
  watch_for_goal(trial, points, count);
  for (size_t i = 0, end; i < count; i = end) {
    end = i + 1;
    while (end < count && points[end].record == points[i].record)
      end++;
    hear_record(trial, source, points + i, end - i);
  }
}

bool jobs_metric_files(const struct live_sweep *live, struct arena *arena, struct job_file *job, struct err *err) {
  size_t count = metric_sources_count(live->sources);
  job->files = ARENA_NEW_ARRAY(arena, char *, count + 1);
  if (!job->files)
    return err_no_memory(err);
  for (size_t i = 0; i < count; i++) {
    const struct metric_source *source = metric_sources_at(live->sources, i);
    if (!source->file)
      continue;
    job->files[job->file_count] =
        arena_printf(arena, "%zu %s %s %s", i, source_format_name(source->format), source->at_end ? "end" : "always", source->file);
    if (!job->files[job->file_count++])
      return err_no_memory(err);
  }
  return true;
}

/* ---- pieces ---- */

/* A piece on its way; its trial may be gone when it is stored. */
struct taking {
  struct sweeps *all;
  struct id run;
  uint32_t attempt;
  size_t source; /* of a file */
  companion_output_fn *done;
  void *ctx;
};

static void on_file_points(void *ctx, uint32_t source, const struct found_point *points, size_t count) {
  const struct taking *taking = ctx;
  struct live_trial *trial = sweeps_trial(taking->all, taking->run);
  if (trial)
    jobs_on_points(trial, source, points, count);
}

/* An error may be that of a write that was done all the same. */
static void on_taken(void *ctx, int64_t next, const struct err *err) {
  struct taking *taking = ctx;
  struct live_trial *trial = err && err->code != ERR_RANGE ? sweeps_trial(taking->all, taking->run) : NULL;
  if (trial)
    live_note_missed(trial);
  taking->done(taking->ctx, next, err);
  mem_free(taking);
}

static void on_file_taken(void *ctx, int64_t next, bool has_given, const struct err *err) {
  struct taking *taking = ctx;
  struct live_trial *trial = err ? NULL : sweeps_trial(taking->all, taking->run);
  if (trial && trial->course && (has_given || next != 0)) { /* of an empty one nothing is known */
    typeof(&trial->course->files) files = &trial->course->files;
    if (files->attempt != taking->attempt)
      *files = (typeof(*files)){.attempt = taking->attempt};
    *(has_given ? &files->heard : &files->mute) |= UINT64_C(1) << taking->source;
  }
  on_taken(taking, next, err);
}

static void on_caught_up(void *ctx UNUSED, const struct err *err) {
  if (err)
    log_warn("sweep", NULL, "what is stored of a trial was not read: %s", err->text);
}

/* Ready for a piece of the attempt? Then *ret is to be given to the store, or freed. */
static bool take(struct live_trial *trial, int32_t attempt, companion_output_fn *done, void *ctx, struct taking **ret, struct err *err) {
  if (companion_alive(trial, attempt) == COMPANION_FENCED)
    return err_set(err, ERR_FENCED, "the attempt is over");
  if (trial->course->missed)
    return live_catch_up(trial, on_caught_up, NULL, err) && err_set(err, ERR_UNAVAILABLE, "what is stored of it is being read");
  if (!jobs_open_log(trial, (uint32_t)attempt, err))
    return false;
  *ret = mem_zalloc(sizeof **ret);
  if (!*ret)
    return err_no_memory(err);
  **ret = (struct taking){.all = trial->sweep->all, .run = trial->run, .attempt = (uint32_t)attempt, .done = done, .ctx = ctx};
  return true;
}

bool companion_output(struct live_trial *trial, int32_t attempt, struct str stream, const struct log_piece *piece,
                      companion_output_fn *done, void *ctx, struct err *err) {
  enum log_stream_name name;
  struct taking *taking;
  if (!log_stream_parse(stream, &name))
    return err_set(err, ERR_INVALID, "\"stream\" must be stdout or stderr");
  if (!take(trial, attempt, done, ctx, &taking, err))
    return false;
  if (log_writer_write(trial->course->log, name, piece, on_taken, taking, err))
    return true;
  mem_free(taking);
  return false;
}

bool companion_file(struct live_trial *trial, int32_t attempt, const struct companion_file *file, companion_output_fn *done, void *ctx,
                    struct err *err) {
  struct sweeps *s = trial->sweep->all;
  struct taking *taking;
  if (!take(trial, attempt, done, ctx, &taking, err))
    return false;
  struct file_store_piece piece = {.run = trial->run,
                                   .attempt = attempt,
                                   .sources = trial->sweep->sources,
                                   .source = file->source,
                                   .path = file->path,
                                   .age_ms = file->age_ms,
                                   .piece = {.generation = file->generation,
                                             .offset = file->offset,
                                             .is_snapshot = file->is_snapshot,
                                             .is_last = file->is_last,
                                             .bytes = file->bytes}};
  taking->source = file->source;
  if (file_store_piece(s->conf.logs, &piece, on_file_points, taking, on_file_taken, taking, err))
    return true;
  mem_free(taking);
  return false;
}
