/* Another attempt of a job that is over, with its sweep, perhaps long ago: the sweep is read again, and drains until the attempt has ended.
 */
#include "base/mem.h"
#include "sweeper/sweeps_inside.h"

struct retrying {
  struct sweeps *all;
  struct id run, sweep;
  char *actor;
  bool waited; /* for the end of its sweep to be stored */
  sweeps_done_fn *done;
  void *ctx;
};

static void retried(void *ctx, const struct err *err) {
  struct retrying *retrying = ctx;
  retrying->done(retrying->ctx, err);
  mem_free(retrying->actor);
  mem_free(retrying);
}

static bool try_again(struct retrying *retrying, struct live_trial *trial, struct err *err) {
  importance_forget(retrying->all, retrying->sweep); /* also what held of it when it was over */
  return live_retry(trial, str_of(retrying->actor), err) && sweeps_wait(trial->sweep, trial, retried, retrying, err);
}

static void on_loaded(void *ctx, const struct err *failed) {
  struct retrying *retrying = ctx;
  struct live_trial *trial = failed ? NULL : sweeps_trial(retrying->all, retrying->run);
  struct err err;
  if (!trial) {
    err_set(&err, ERR_NOT_FOUND, "the run is gone");
    retried(retrying, failed ? failed : &err);
  } else if (!try_again(retrying, trial, &err)) {
    if (live_is_over(trial->sweep))
      sweeps_unlist(trial->sweep);
    retried(retrying, &err);
  }
}

static bool take_up(struct retrying *retrying, struct err *err);

static void on_stored(void *ctx, const struct err *failed) {
  struct retrying *retrying = ctx;
  struct err err;
  if (failed || !take_up(retrying, &err))
    retried(retrying, failed ? failed : &err);
}

/* It may have come back to life meanwhile; if not, what is in memory makes room. */
static bool take_up(struct retrying *retrying, struct err *err) {
  struct live_trial *trial = sweeps_trial(retrying->all, retrying->run);
  const struct damaged_sweep *damaged = sweeps_damaged(retrying->all, retrying->sweep);
  if (damaged)
    return damaged_refuse(damaged, err);
  if (trial && !live_is_over(trial->sweep))
    return try_again(retrying, trial, err);
  if (trial && sweeps_is_busy(trial->sweep) && retrying->waited)
    return err_set(err, ERR_UNAVAILABLE, "the end of the run's sweep is being stored");
  if (trial && sweeps_is_busy(trial->sweep)) {
    retrying->waited = true;
    return sweeps_wait(trial->sweep, NULL, on_stored, retrying, err);
  }
  if (trial)
    sweeps_unlist(trial->sweep);
  return sweep_load_one(retrying->all, retrying->sweep, on_loaded, retrying, err);
}

static void on_sweep(void *ctx, const struct pg_reply *reply) {
  struct retrying *retrying = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err) && (pg_rows(reply) || err_set(&err, ERR_NOT_FOUND, "no job of this service made the run")) &&
            sweeps_ready(retrying->all, &err);
  if (ok)
    retrying->sweep = pg_uuid(reply, 0, 0);
  if (!ok || !take_up(retrying, &err))
    retried(retrying, &err);
}

bool sweeps_retry(struct sweeps *s, struct id run, struct str actor, sweeps_done_fn *done, void *ctx, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  struct retrying *retrying = mem_zalloc(sizeof *retrying);
  pg_args_init(&args, STMT_SWEEP_OF_JOB);
  if (!retrying)
    return err_no_memory(err);
  *retrying = (struct retrying){.all = s, .run = run, .actor = mem_strndup(actor.p, actor.n), .done = done, .ctx = ctx};
  pg_put_uuid(&args, run);
  bool ok = retrying->actor || err_no_memory(err);
  if (ok && pg_run(s->conf.pg, &args, 0, on_sweep, retrying, err))
    return true;
  mem_free(retrying->actor);
  mem_free(retrying);
  return false;
}
