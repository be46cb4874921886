/* Short-lived children that may run as another user, waited for: for work on a thread, or before the loop. */
#ifndef WINNOW_STORAGE_SUBPROC_H
#define WINNOW_STORAGE_SUBPROC_H

#include <sys/types.h>

#include "base/buf.h"

/* Whom a child runs as. `drop` false: as we are. */
struct run_as {
  bool drop;
  uid_t uid;
  gid_t gid;
  char name[64];
  const char *dir; /* NULL, or what SUBPROC_DIR is in the child */
};

/* The path of run_as.dir for who cannot go there by its own, as it lies below a directory of somebody else's. */
#define SUBPROC_DIR "/proc/self/fd/3"

/* Started by root: `name`, or when NULL the first of winnow, postgres, nobody that exists. Otherwise as we are (a `name` that is not
 * ours is an error). */
MUST_CHECK bool run_as_find(const char *name, struct run_as *ret, struct err *err);
/* In a child, before exec: leaves nothing open but the standard three and who->dir, and gives up root. False when it cannot (errno). */
MUST_CHECK bool run_as_enter(const struct run_as *who);

/* Set by another thread: what runs is ended (TERM, then KILL), and its call fails with ERR_UNAVAILABLE. */
struct subproc_stop {
  _Atomic bool asked;
};

/* Runs argv[0] (a path) with `environment` and adds what it prints (both streams) to `out` until that is full. Kills it after `limit_ms`,
 * or when `stop` (NULL: never) says so. False when it could not be run, or did not exit with 0: then err has its last words. */
MUST_CHECK bool subproc_run(const struct run_as *who, const char *const *argv, const char *const *environment, int64_t limit_ms,
                            const struct subproc_stop *stop, struct buf *out, struct err *err);
/* Calls fn in a child that runs as `who`; its answer and error come back. It shares nothing else. */
MUST_CHECK bool subproc_call(const struct run_as *who, bool (*fn)(void *arg, struct err *err), void *arg, const struct subproc_stop *stop,
                             struct err *err);

/* As subproc_run(), with two descriptors of the caller's: reads `in` (-1: nothing), writes to `out` (-1: as above into the error's text;
 * else only what it says on the other stream does). `pid` is 0 before and after. */
struct subproc_io {
  int in, out;
  _Atomic pid_t pid;
};
MUST_CHECK bool subproc_pipe(const struct run_as *who, const char *const *argv, const char *const *environment, struct subproc_io *io,
                             struct err *err);
/* From another thread: ends it if it runs. */
void subproc_end(struct subproc_io *io);

#endif
