/* What the executor tells the companion that runs one attempt: a small text file of mode 0600 in the attempt's directory.
 * Lines of `key value`, the value with \n, \r, \0 and \\ escaped; `argv`, `env`, `file` and `artifact` come once for each item. Pure;
 * linked by the companion too, so it uses nothing but base's bytes. */
#ifndef WINNOW_SWEEPER_JOB_FILE_H
#define WINNOW_SWEEPER_JOB_FILE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/id.h"

enum spool_policy { SPOOL_CUT, SPOOL_SLOW };

struct job_file {
  struct id run_id;
  struct id sweep_id; /* whose trial it is; a launched run's own id. For a service that can read no more than this file; zero: not said */
  int64_t slots;      /* likewise; 0: not said */
  int64_t attempt;
  const char *endpoint_file; /* where the service writes its addresses; read again when it does not answer */
  const char *token;         /* of this run and attempt */
  const char *dir;           /* of the attempt: spool, exit file, log of the companion */
  const char *cwd;           /* where the command runs */
  int64_t stop_grace_ms;     /* between TERM and KILL */
  int64_t time_limit_ms;     /* 0: none */
  int64_t memory_limit;      /* bytes of the whole job; 0: none */
  int64_t spool_max;         /* bytes of output not taken yet by the service */
  int64_t spool_policy;      /* enum spool_policy */
  int64_t heartbeat_ms;
  int64_t tty; /* 1: both streams go to a pseudo-terminal, and into stdout */
  char **argv; /* NULL-ended */
  size_t argc;
  char **env; /* NULL-ended, the whole environment */
  size_t env_count;
  char **files; /* of metrics, to be watched: `source format always|end glob` */
  size_t file_count;
  char **artifacts; /* globs of files that are kept when it is over */
  size_t artifact_count;
};

/* Stands in companion.lock, behind the companion's process id, once the service has stored how the attempt ended. */
#define COMPANION_TOLD "told\n"

enum { JOB_FILE_MAX = 4 * 1024 * 1024, JOB_ITEMS_MAX = 20000, JOB_FILES_MAX = 1000 };

void job_file_write(const struct job_file *job, struct buf *out);
/* Strings lie in `arena`. Errors name the line. */
MUST_CHECK bool job_file_read(struct str text, struct arena *arena, struct job_file *ret, struct err *err);

#endif
