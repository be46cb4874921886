/* Runs that are launched by themselves: what may be said of them, and another attempt of one that is over. */
#include "base/mem.h"
#include "sweeper/live.h"

bool sweeps_single_check(const json_t *body, struct err *err) {
  static const char *const keys[] = {"name",     "notes",        "command",       "resources",  "retries",   "stop_grace",
                                     "workdir",  "workdir_mode", "workdir_max",   "links",      "env",       "inherit_env",
                                     "tty",      "log_max",      "log_spool_max", "log_policy", "artifacts", "metrics_from",
                                     "executor", "priority",     "experiment"};
  const json_t *command = json_object_get(body, "command");
  for (void *at = json_object_iter((json_t *)(uintptr_t)body); at; at = json_object_iter_next((json_t *)(uintptr_t)body, at)) {
    const char *key = json_object_iter_key(at);
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
      known |= strcmp(key, keys[i]) == 0;
    if (known)
      continue;
    const char *near = str_nearest_of(str_of(key), keys, ARRAY_LEN(keys));
    err_set(err, ERR_INVALID, "unknown key \"%.60s\" of a run", key);
    return near ? err_hint(err, "did you mean \"%s\"?", near) : false;
  }
  return (json_is_array(command) && json_array_size(command)) ||
         err_set(err, ERR_INVALID, "\"command\" must be a list, one item an argument");
}

bool live_is_single(const struct live_sweep *live) {
  return live->single;
}

/* ---- another attempt ---- */

struct reviving {
  struct sweeps *all;
  struct id run;
  sweeps_done_fn *done;
  void *ctx;
};

static void revived(struct reviving *reviving, const struct err *err) {
  reviving->done(reviving->ctx, err);
  mem_free(reviving);
}

static void on_durable(void *ctx, const struct err *err) {
  revived(ctx, err);
}

static void on_loaded(void *ctx, const struct err *failed) {
  struct reviving *reviving = ctx;
  struct live_trial *trial = sweeps_trial(reviving->all, reviving->run);
  struct err err;
  if (failed) {
    revived(reviving, failed);
    return;
  }
  bool ok = trial || err_set(&err, ERR_NOT_FOUND, "the run is gone");
  if (!ok || !live_retry(trial, &err) || !sweeps_wait(trial->sweep, trial, on_durable, reviving, &err))
    revived(reviving, &err);
}

static void on_reopened(void *ctx, const struct pg_reply *reply) {
  struct reviving *reviving = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err) && (pg_rows(pg_nth(reply, 1)) || err_set(&err, ERR_NOT_FOUND, "the run was not launched here")) &&
            sweeps_ready(reviving->all, &err);
  if (!ok || !sweep_load_one(reviving->all, reviving->run, on_loaded, reviving, &err))
    revived(reviving, &err);
}

/* What is over and still in memory makes room. */
static bool forget(struct live_trial *trial, struct err *err) {
  if (!trial)
    return true;
  if (!trial->sweep->single)
    return err_set(err, ERR_NOT_FOUND, "the run is no launched one");
  if (!live_is_over(trial->sweep) || sweeps_is_busy(trial->sweep))
    return err_set(err, ERR_UNAVAILABLE, "the end of the run is being stored");
  sweeps_unlist(trial->sweep);
  return true;
}

bool sweeps_single_retry(struct sweeps *s, struct id run, sweeps_done_fn *done, void *ctx, struct err *err) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct reviving *reviving = mem_zalloc(sizeof *reviving);
  if (!reviving)
    return err_no_memory(err);
  *reviving = (struct reviving){s, run, done, ctx};
  pg_put_int(pg_batch_add(&batch, STMT_ENGINE_EPOCH), s->epoch);
  pg_put_uuid(pg_batch_add(&batch, STMT_SINGLE_REOPEN), run);
  if (forget(sweeps_trial(s, run), err) && pg_run_batch(s->conf.pg, &batch, 0, on_reopened, reviving, err))
    return true;
  mem_free(reviving);
  return false;
}
