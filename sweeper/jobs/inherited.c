/* What an earlier service has left in the directory. */
#include "base/log.h"
#include "sweeper/jobs/exec_local.h"
#include "sweeper/jobs/jobs.h"
#include "sweeper/live.h"

enum { AGAIN_MS = 5000 };

static bool runs_for_a_live_sweep(const struct sweeps *s, const struct exec_attempt *found) {
  const struct live_trial *trial = sweeps_trial(s, found->run);
  const struct engine_trial *row = trial ? engine_trial(trial->sweep->engine, trial->number) : NULL;
  return row && row->attempt == (uint32_t)found->number && !row->dead;
}

/* Its companion lives, or has left what runs. */
static void watch(struct sweeps *s, const struct exec_attempt *found) {
  bool may_rest = !sweeps_trial(s, found->run) && sweeps_may_rest(s, found->run), ok = true;
  struct err err;
  if (may_rest)
    ok = resting_take(s, found, &err);
  else if (found->holder != EXEC_DEAD)
    ok = exec_local_adopt(s->executor, found->run, found->number, &err); /* so that its directory goes with it */
  if (ok)
    return;
  if (s->inherit_at == INT64_MAX)
    log_warn("sweep", NULL, "not all that an earlier service left can be watched yet: %s", err.text);
  s->inherit_at = live_now(s) + AGAIN_MS;
}

static void on_found(void *ctx, const struct exec_attempt *found) {
  struct sweeps *s = ctx;
  bool is_dead = found->holder == EXEC_DEAD;
  if (found->holder == EXEC_NEVER || exec_local_watches(s->executor, found->run, found->number) || runs_for_a_live_sweep(s, found))
    return;
  if (is_dead && exec_local_is_told(s->executor, found->run, found->number))
    jobs_tidy(s->executor, found->run, found->number);
  else if (!is_dead || !exec_local_job_is_over(s->executor, found->run, found->number)) /* else it is kept until somebody wants it */
    watch(s, found);
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
