/* The local executor: starts companions on this machine, notices when one is gone, and finds those of an earlier service again. It decides
 * nothing.
 *
 * An attempt has a directory of its own, DIR/jobs/<run id>/<attempt>: job (what to run), stdout and stderr (the spool), exit (how it
 * ended), companion.lock (held while the companion lives), companion.log. DIR/jobs/<run id>/checkpoint is kept across attempts. */
#ifndef WINNOW_SWEEPER_EXEC_LOCAL_H
#define WINNOW_SWEEPER_EXEC_LOCAL_H

#include "base/loop.h"
#include "sweeper/job_file.h"

struct exec_local;

/* The companion of an attempt is gone. `exit_text` is its exit file (`name value` lines), STR_NONE when it left none: then whatever it left
 * running has been killed, and how the command ended is not known. */
typedef void exec_gone_fn(void *ctx, struct id run, int32_t attempt, struct str exit_text);

struct exec_local_conf {
  const char *data_dir;
  const char *companion; /* path of winnow-exec */
};

/* Texts are borrowed. */
MUST_CHECK struct exec_local *exec_local_new(struct loop *loop, const struct exec_local_conf *conf, exec_gone_fn *on_gone, void *ctx,
                                             struct err *err);
/* Companions go on; nobody is told any more. Accepts NULL. */
void exec_local_free(struct exec_local *executor);

/* Paths of an attempt, for its environment; not made by this. `what` is "", "checkpoint" (of the run) or "work". Failure is the buffer's.
 */
void exec_local_path(const struct exec_local *executor, struct id run, int32_t attempt, const char *what, struct buf *out);

/* Makes the directories (emptying one that is left over from a start that never came to be), writes the job file and starts the companion.
 * `job->dir` and `job->endpoint_file` are filled in here. After success `on_gone` comes exactly once, later. */
MUST_CHECK bool exec_local_start(struct exec_local *executor, struct job_file *job, struct err *err);
/* An attempt that an earlier service started: watched again, or told gone, later, when it is. */
MUST_CHECK bool exec_local_adopt(struct exec_local *executor, struct id run, int32_t attempt, struct err *err);
/* Companions that live. */
size_t exec_local_count(const struct exec_local *executor);
/* Asks the companion to end its job, with TERM, grace and KILL: for a companion that does not listen to the service. */
void exec_local_signal(struct exec_local *executor, struct id run, int32_t attempt, int signal_number);
/* After the attempt is closed: its files, but not a checkpoint. */
MUST_CHECK bool exec_local_tidy(struct exec_local *executor, struct id run, int32_t attempt, struct err *err);

#endif
