/* What an earlier service has left in the directory. */
#include "base/log.h"
#include "base/mem.h"
#include "sweeper/jobs/jobs.h"
#include "sweeper/live/live.h"
#include "sweeper/machine/exec_local.h"

enum { AGAIN_MS = 5000 };

static bool runs_for_a_live_sweep(const struct sweeps *s, const struct exec_attempt *found) {
  const struct live_trial *trial = sweeps_trial(s, found->run);
  const struct engine_trial *row = trial ? engine_trial(trial->sweep->engine, trial->number) : NULL;
  return row && row->attempt == (uint32_t)found->number && !row->dead;
}

static void look_later(struct sweeps *s, const struct err *err) {
  if (s->inherit_at == INT64_MAX)
    log_warn("sweep", NULL, "not all that an earlier service left can be looked after yet: %s", err->text);
  s->inherit_at = live_now(s) + AGAIN_MS;
}

/* Its companion lives, or has left what runs. */
static void watch(struct sweeps *s, const struct exec_attempt *found) {
  bool may_rest = !sweeps_trial(s, found->run) && sweeps_may_rest(s, found->run), ok = true;
  struct err err;
  if (may_rest)
    ok = resting_take(s, found, &err);
  else if (found->holder != EXEC_DEAD)
    ok = exec_local_adopt(s->executor, found->run, found->number, &err); /* so that its directory goes with it */
  if (!ok)
    look_later(s, &err);
}

/* A directory whose companion has died before it was told that its end is stored; or in which none has left a lock, which is so as well
 * when a service was killed while it tidied. */
struct untold {
  struct sweeps *all;
  struct id run;
  int32_t attempt;
};

static void on_asked(void *ctx, const struct pg_reply *reply) {
  struct untold *untold = ctx;
  struct sweeps *s = untold->all;
  struct err err;
  if (!s->stopping && !pg_ok(reply, &err))
    look_later(s, &err);
  else if (!s->stopping && pg_rows(reply) && pg_bool(reply, 0, 0)) /* else it is kept until somebody wants it */
    jobs_tidy(s->executor, untold->run, untold->attempt);
  mem_free(untold);
}

static bool ask(struct sweeps *s, const struct exec_attempt *found, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  struct untold *untold = mem_zalloc(sizeof *untold);
  if (!untold)
    return err_no_memory(err);
  *untold = (struct untold){s, found->run, found->number};
  pg_args_init(&args, STMT_ATTEMPT_IS_OVER);
  pg_put_uuid(&args, found->run);
  pg_put_int(&args, found->number);
  if (pg_run(s->conf.pg, &args, 0, on_asked, untold, err))
    return true;
  mem_free(untold);
  return false;
}

static void on_found(void *ctx, const struct exec_attempt *found) {
  struct sweeps *s = ctx;
  struct err err;
  bool is_dead = found->holder == EXEC_DEAD, never_was = found->holder == EXEC_NEVER;
  if (exec_local_watches(s->executor, found->run, found->number) || runs_for_a_live_sweep(s, found))
    return;
  if (is_dead && exec_local_is_told(s->executor, found->run, found->number))
    jobs_tidy(s->executor, found->run, found->number);
  else if (!never_was && (!is_dead || !exec_local_job_is_over(s->executor, found->run, found->number)))
    watch(s, found);
  else if (!ask(s, found, &err))
    look_later(s, &err);
}

bool jobs_inherit(struct sweeps *s, struct err *err) {
  s->inherit_at = INT64_MAX;
  return exec_local_each(s->executor, on_found, s, err);
}

void jobs_inherit_tick(struct sweeps *s) {
  struct err err;
  if (live_now(s) >= s->inherit_at && !jobs_inherit(s, &err))
    s->inherit_at = live_now(s) + AGAIN_MS;
}
