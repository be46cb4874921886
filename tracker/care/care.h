/* Long work on what is stored, a step at a time: a check, the removal of what nobody names, deletion for good. Whoever drives it begins
 * each step, so that it can be paused, and ended between any two without harm. A step is short on the loop; what blocks runs on the work
 * pool. */
#ifndef WINNOW_TRACKER_CARE_H
#define WINNOW_TRACKER_CARE_H

#include "base/id.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/work.h"

struct care;
struct pg_pool;
struct metric_store;
struct artifact_store;

/* What it needs; all of it outlives the work. */
struct care_conf {
  struct loop *loop;
  struct pg_pool *pg;
  struct work_pool *work;
  struct metric_store *metrics;
  struct artifact_store *artifacts;
  const char *data_dir; /* of the jobs' directories */
};

struct care_finding {
  const char *kind; /* a word: "chunk", "artifact", "orphan", "run" */
  const char *subject;
  const char *text; /* what is wrong with it, or NULL */
  int64_t size;     /* bytes; -1: none */
};
/* During steps; lives during the call. */
typedef void care_finding_fn(void *ctx, const struct care_finding *finding);
/* Once for each step, never before it has returned. `more`: there are further steps. */
typedef void care_step_fn(void *ctx, bool more, const struct err *err);

void care_step(struct care *care, care_step_fn *done, void *ctx);
/* Between steps, or from `done`. Accepts NULL. */
void care_free(struct care *care);
/* What has been done so far, as keys of an object: for progress, and at the end. */
void care_put_summary(struct care *care, struct json_writer *w);

/* Every metric chunk, every artifact, every model version that keeps files. `deep`: contents are read and compared with their SHA-256. */
MUST_CHECK struct care *care_fsck(const struct care_conf *conf, bool deep, care_finding_fn *found, void *ctx, struct err *err);

/* Files that nothing names and what uploads left behind, unless they are younger than grace_ms; rows whose file is gone; what a purge did
 * not get to. `dry_run` only tells. */
MUST_CHECK struct care *care_gc(const struct care_conf *conf, bool dry_run, int64_t grace_ms, care_finding_fn *found, void *ctx,
                                struct err *err);

/* Deletes for good what was put into the trash up to `before_ms` (wall clock): runs with their points, output and files, sweeps, logged
 * models, experiments that are empty then. With `runs` (copied): only these, and nothing else. */
struct care_purge_ask {
  int64_t before_ms;
  const struct id *runs;
  size_t run_count;
  bool dry_run;
};
MUST_CHECK struct care *care_purge(const struct care_conf *conf, const struct care_purge_ask *ask, care_finding_fn *found, void *ctx,
                                   struct err *err);

#endif
