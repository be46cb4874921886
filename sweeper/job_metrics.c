/* What jobs print and write, as reports: the files a companion watches, points on their way to the rules. */
#include "base/log.h"
#include "base/mem.h"
#include "sweeper/live.h"
#include "tracker/file_store.h"

void jobs_on_points(void *ctx, uint32_t source, const struct found_point *points, size_t count) {
  struct live_trial *trial = ctx;
  struct err err;
  for (size_t i = 0; i < count; i++) {
    struct live_report report = {.key = points[i].key, .value = points[i].value, .epoch = points[i].epoch, .step = points[i].step};
    if (!live_watches(trial->sweep, report.key) || heard_before(&trial->heard, source, report.key, report.step, report.value))
      continue;
    if (!live_hear(trial, (int32_t)trial->log_attempt, &report, 1, &err) && err.code != ERR_FENCED)
      log_warn("sweep", NULL, "%s: a report of trial %u was not taken in: %s", trial->sweep->name, trial->number, err.text);
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

/* A piece on its way; its trial may be gone when it is stored. */
struct filing {
  struct sweeps *all;
  struct id run;
  companion_output_fn *done;
  void *ctx;
};

static void on_file_points(void *ctx, uint32_t source, const struct found_point *points, size_t count) {
  const struct filing *filing = ctx;
  struct live_trial *trial = sweeps_trial(filing->all, filing->run);
  if (trial)
    jobs_on_points(trial, source, points, count);
}

static void on_filed(void *ctx, int64_t next, const struct err *err) {
  struct filing *filing = ctx;
  filing->done(filing->ctx, next, err);
  mem_free(filing);
}

bool companion_file(struct live_trial *trial, int32_t attempt, const struct companion_file *file, companion_output_fn *done, void *ctx,
                    struct err *err) {
  struct sweeps *s = trial->sweep->all;
  if (companion_alive(trial, attempt) == COMPANION_FENCED)
    return err_set(err, ERR_FENCED, "the attempt is over");
  struct filing *filing = jobs_open_log(trial, (uint32_t)attempt, err) ? mem_zalloc(sizeof *filing) : NULL;
  if (!filing)
    return trial->log ? err_no_memory(err) : false;
  *filing = (struct filing){s, trial->run, done, ctx};
  struct file_store_piece piece = {.run = trial->run,
                                   .attempt = attempt,
                                   .sources = trial->sweep->sources,
                                   .source = file->source,
                                   .path = file->path,
                                   .piece = {.generation = file->generation,
                                             .offset = file->offset,
                                             .is_snapshot = file->is_snapshot,
                                             .is_last = file->is_last,
                                             .bytes = file->bytes}};
  if (file_store_piece(s->conf.logs, &piece, on_file_points, filing, on_filed, filing, err))
    return true;
  mem_free(filing);
  return false;
}
