/* The local executor: starts companions on this machine, notices when one is gone, and finds those of an earlier service again. It decides
 * nothing.
 *
 * An attempt has a directory of its own, DIR/jobs/<run id>/<attempt>: job (what to run), params.yaml, params.json where it is named, stdout
 * and stderr (the spool), stdout.seen and stderr.seen (when what waited at the end was printed), exit (how it ended), companion.lock,
 * companion.log, work (where the command runs). DIR/jobs/<run id>/checkpoint is kept across attempts.
 *
 * companion.lock is locked by us before there is a companion, which inherits the lock and writes its process id before it starts the
 * command. So whoever looks later knows: locked is alive, free with an id is dead, free without one has never run anything, and may be
 * started without fear of a second one. Behind the id the companion writes that the end is stored, once it has heard so. */
#ifndef WINNOW_SWEEPER_EXEC_LOCAL_H
#define WINNOW_SWEEPER_EXEC_LOCAL_H

#include "base/loop.h"
#include "base/work.h"
#include "sweeper/machine/job_file.h"
#include "sweeper/machine/run_dirs.h"

struct exec_local;

/* The companion of an attempt is gone. `exit_text` is its exit file (`name value` lines), STR_NONE when it left none, or an empty one: then
 * whatever it left running is dead, and how the command ended is not known. */
typedef void exec_gone_fn(void *ctx, struct id run, int32_t attempt, struct str exit_text);

struct exec_local_conf {
  const char *data_dir;
  const char *companion;  /* path of winnow-exec */
  struct work_pool *work; /* for ending and removing what attempts leave; stopped before the executor is freed */
};

/* Texts are borrowed. */
MUST_CHECK struct exec_local *exec_local_new(struct loop *loop, const struct exec_local_conf *conf, exec_gone_fn *on_gone, void *ctx,
                                             struct err *err);
/* Companions go on; nobody is told any more. Accepts NULL. */
void exec_local_free(struct exec_local *executor);

/* Paths of an attempt, for its environment; not made by this. `what` is "", "checkpoint" (of the run) or "work". Failure is the buffer's.
 */
void exec_local_path(const struct exec_local *executor, struct id run, int32_t attempt, const char *what, struct buf *out);

/* As run_dirs_make(). */
MUST_CHECK bool exec_local_make(const struct exec_local *executor, struct id run, int32_t attempt, const struct exec_tree *tree,
                                struct err *err);
/* A file of that name in the attempt's directory, for its command to read; not synced: with the machine goes the job that reads it. */
MUST_CHECK bool exec_local_put(const struct exec_local *executor, struct id run, int32_t attempt, const char *name, struct str text,
                               struct err *err);
/* Writes the job file into the directory that was made, and starts the companion. `job->dir` and `job->endpoint_file` are filled in here.
 * After success `on_gone` comes exactly once, later. */
MUST_CHECK bool exec_local_start(struct exec_local *executor, struct job_file *job, struct err *err);
/* The companion of the attempt is gone, and has left its exit file: another one brings home what is left of output and artifacts, and then
 * tells the end. `on_gone` comes again. */
MUST_CHECK bool exec_local_finish(struct exec_local *executor, struct id run, int32_t attempt, struct err *err);
/* The companion is gone, has left no exit file, and its job is dead: leaves one that says `lost 1`, for exec_local_finish(), since what was
 * printed and not sent is still there. `ret_text` is what it says. */
MUST_CHECK bool exec_local_note_lost(const struct exec_local *executor, struct id run, int32_t attempt, struct buf *ret_text,
                                     struct err *err);
/* Is the attempt's directory there? It is, until it is tidied, unless somebody removes it. */
bool exec_local_has_directory(const struct exec_local *executor, struct id run, int32_t attempt);
/* Was a companion ever started for the attempt, or may one just be starting? If not it can be started (again). */
bool exec_local_was_started(const struct exec_local *executor, struct id run, int32_t attempt);
/* An attempt that an earlier service started: watched again, or told gone, later, when it is. May be repeated. */
MUST_CHECK bool exec_local_adopt(struct exec_local *executor, struct id run, int32_t attempt, struct err *err);
/* Watches none any more, as if nothing had been adopted; they go on. */
void exec_local_forget_all(struct exec_local *executor);
/* Who holds the lock of an attempt. */
enum exec_holder {
  EXEC_NEVER,  /* no companion has ever run, or its lock has been tidied away */
  EXEC_COMING, /* one is just starting, or nobody could look now */
  EXEC_LIVES,
  EXEC_DEAD,
};
struct exec_attempt {
  struct id run;
  int32_t number;
  enum exec_holder holder;
};
typedef void exec_found_fn(void *ctx, const struct exec_attempt *attempt);
/* Every attempt that has a directory here, whoever started it; a run whose directory cannot be read is passed over, with a warning. False:
 * for want of memory or descriptors not all of them could be seen. */
MUST_CHECK bool exec_local_each(const struct exec_local *executor, exec_found_fn *fn, void *ctx, struct err *err);
/* Has its job ended, with everything that it had started? Then its companion may go on, to bring home what is left. */
bool exec_local_job_is_over(const struct exec_local *executor, struct id run, int32_t attempt);
/* Has its companion told how it ended, and the service stored it? Then nothing of its directory is needed any more. */
bool exec_local_is_told(const struct exec_local *executor, struct id run, int32_t attempt);
/* What the attempt was started with; texts lie in `arena`. */
MUST_CHECK bool exec_local_job(const struct exec_local *executor, struct id run, int32_t attempt, struct arena *arena, struct job_file *ret,
                               struct err *err);
bool exec_local_watches(const struct exec_local *executor, struct id run, int32_t attempt);
/* Companions that are watched. */
size_t exec_local_count(const struct exec_local *executor);
/* For a companion that does not listen to the service. SIGTERM: to end its job, with TERM, grace and KILL, or once it has ended, to leave
 * what is to be brought home to another one. SIGKILL: then as ever when one is gone. */
void exec_local_signal(struct exec_local *executor, struct id run, int32_t attempt, int signal_number);
/* The same for the companions whose jobs have not ended, of all that are watched. How many. */
size_t exec_local_signal_running(struct exec_local *executor, int signal_number);
/* After the attempt is closed: its files, but not a checkpoint; in the background. */
MUST_CHECK bool exec_local_tidy(struct exec_local *executor, struct id run, int32_t attempt, struct err *err);

#endif
