/* The directories of runs, DIR/jobs/<run id>: one for each attempt, and "checkpoint", which the attempts share. Blocking; may be called on
 * several threads at a time, also for one run: the next attempt is made while the one before it is removed. Up to 64 that are over are kept
 * for others, DIR/jobs/spare-<number>. */
#ifndef WINNOW_SWEEPER_RUN_DIRS_H
#define WINNOW_SWEEPER_RUN_DIRS_H

#include "base/buf.h"
#include "base/id.h"

struct run_dirs;

/* What the attempt's working directory begins with. */
struct exec_tree {
  const char *code;        /* a tree to copy; NULL: empty */
  const char *origin;      /* of the links */
  const struct str *links; /* paths: symbolic links to the same below origin */
  size_t link_count;
};

/* Makes DIR/jobs. `data_dir` is borrowed. */
MUST_CHECK struct run_dirs *run_dirs_new(const char *data_dir, struct err *err);
/* Accepts NULL. */
void run_dirs_free(struct run_dirs *dirs);
/* `what` lies in the attempt's directory, or is "", that directory itself, or "checkpoint". Failure is the buffer's. */
void run_dirs_path(const struct run_dirs *dirs, struct id run, int32_t attempt, const char *what, struct buf *out);
/* Of the attempt, empty but for "work", and "checkpoint". What is left over from a start that never came to be is removed. `tree` NULL: the
 * command runs elsewhere, and there is no "work". */
MUST_CHECK bool run_dirs_make(struct run_dirs *dirs, struct id run, int32_t attempt, const struct exec_tree *tree, struct err *err);
/* Of the attempt; with the last one goes the run's, but not a checkpoint that holds something. */
MUST_CHECK bool run_dirs_remove(struct run_dirs *dirs, struct id run, int32_t attempt, struct err *err);
/* The run's, if nothing is in it: what is left when a service is killed between the two. */
void run_dirs_remove_empty(struct run_dirs *dirs, struct id run);

#endif
