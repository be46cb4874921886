/* All sweeps, as a whole: the transaction that stores them, what is read at a start, and what makes one. Of one that lives and its trials
 * see live/sweep.h, of its jobs jobs/companion_calls.h.
 *
 * All that changed in a turn of the loop, whichever sweep it belongs to, goes to the database as one transaction; the next one begins when
 * it is answered. So one trip to the disk carries many trials. What a caller was promised is told when it is durable: sweeps_wait().
 *
 * Everything on the loop. Callbacks come once, never before their starter has returned. */
#ifndef WINNOW_SWEEPER_SWEEPS_H
#define WINNOW_SWEEPER_SWEEPS_H

#include "sweeper/file/sweep_file.h"
#include "sweeper/live/sweep.h"

/* Texts are borrowed. */
MUST_CHECK struct sweeps *sweeps_new(const struct sweeps_conf *conf, struct err *err);
/* Reads the unfinished sweeps; `epoch` is this service's, checked with every write. Nothing can be asked before `done` was called. */
void sweeps_load(struct sweeps *sweeps, int64_t epoch, sweeps_done_fn *done, void *ctx);
/* Answers everything that waits; jobs go on. To be called when the service begins to stop. */
void sweeps_stop(struct sweeps *sweeps);
/* Before that, when jobs are to end too: nothing is started any more, what runs is stopped, and `done` is called once, later, when all of
 * it is over and stored, or has had its time. Sweeps go on with other trials at the next start. */
void sweeps_end_jobs(struct sweeps *sweeps, struct str actor, void (*done)(void *ctx), void *ctx);
/* After the pool is gone. Accepts NULL. */
void sweeps_free(struct sweeps *sweeps);

/* ---- submitting ---- */

/* What this service cannot do yet with the file is refused; what it does differently is added to the file's warnings. */
MUST_CHECK bool sweeps_check(struct sweeps *sweeps, struct sweep_file *file, struct str directory, struct err *err);
/* Is what its jobs run on there, on this machine? A missing program is a warning, for it may come with the environment. */
MUST_CHECK bool sweeps_check_place(struct sweep_file *file, struct str directory, struct err *err);
/* What a submission would be, as JSON text: the normal form, the number of cells, the first points, the first command. The file is read
 * before this returns. */
typedef void sweeps_text_fn(void *ctx, struct str json, const struct err *err);
MUST_CHECK bool sweeps_preview(struct sweeps *sweeps, const struct sweep_file *file, sweeps_text_fn *done, void *ctx, struct err *err);
struct sweeps_new {
  struct str source;    /* the file as it was sent */
  struct str directory; /* what relative paths in it are beneath; may be empty */
  struct str actor;     /* who submits it */
  /* Of a single run, see below. */
  bool single;
  struct id run;
  int64_t experiment_id;            /* below 0: the file's experiment, by its name */
  struct str command, params, tags; /* JSON */
};

/* Takes the file on success; copies the rest. `done` gets the sweep, or an error. A directory of this machine that is to be copied is
 * copied now, on a thread. */
typedef void sweeps_made_fn(void *ctx, struct live_sweep *sweep, const struct err *err);
MUST_CHECK bool sweeps_create(struct sweeps *sweeps, struct sweep_file *file, const struct sweeps_new *what, sweeps_made_fn *done,
                              void *ctx, struct err *err);

/* ---- single runs ----
 * A command that is launched by itself is, inside, a sweep of one trial without parameters: the same rows, engine and queue. It has the
 * run's id, sweeps_find() does not find it, and its run belongs to no sweep. */

/* The keys of a sweep file that speak of a job, and no others. */
MUST_CHECK bool sweeps_single_check(const json_t *body, struct err *err);

/* Another attempt of a trial or a single run whose sweep is over, however long ago. ERR_NOT_FOUND: it was no job of this service. `done`
 * when that is durable. */
MUST_CHECK bool sweeps_retry(struct sweeps *sweeps, struct id run, struct str actor, sweeps_done_fn *done, void *ctx, struct err *err);

/* ---- looking, forgetting ---- */

/* Which parameters matter, as JSON text: of a sweep in memory or not. Computed beside the loop, once for each number of results; of many
 * trials every second, third ... counts. */
MUST_CHECK bool sweeps_importance(struct sweeps *sweeps, struct id sweep, sweeps_text_fn *done, void *ctx, struct err *err);
/* It was deleted: it is found no more, damaged or not; what still runs of one that was damaged is ended. */
void sweeps_hide(struct sweeps *sweeps, struct id sweep, struct str actor);

/* Removes the snapshots that no unfinished sweep names and nobody has asked for in `unused_ms` (at least CODE_GRACE_MS), or with `dry_run`
 * only says which; how many. Done now and then with CODE_KEPT_MS. `found` may be NULL. */
size_t sweeps_collect_code(struct sweeps *sweeps, int64_t unused_ms, bool dry_run, void (*found)(void *ctx, const char *sha256), void *ctx);

struct sweeps_load_figures {
  size_t sweeps, trials, waiting, running;
};
struct sweeps_load_figures sweeps_figures(const struct sweeps *sweeps);

#endif
