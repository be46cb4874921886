#include "web/tracking.h"

#include "base/log.h"
#include "base/mem.h"
#include "storage/metrics/metric_store.h"
#include "sweeper/sweeps.h"
#include "tracker/names.h"
#include "web/api/api_events.h"
#include "web/http/http_reply.h"

struct str tracking_actor(const struct http_req *req) {
  const struct access_principal *who = web_principal(req);
  return who ? str_of(who->name) : STR("anonymous");
}

int tracking_pass(const struct http_req *req, struct id run) {
  const struct access_principal *who = web_principal(req);
  sweeps_stir(web_app(req)->sweeps, run);
  if (!who || access_has(who, SCOPE_WRITE))
    return -1;
  return who->kind == ACCESS_RUN && id_eq(who->run_id, run) ? who->run_attempt : 0;
}

int32_t tracking_attempt(const struct http_req *req, struct id run) {
  int pass = tracking_pass(req, run);
  return pass < 0 ? METRIC_CURRENT : pass == 0 ? METRIC_UNOWNED : pass;
}

void tracking_put_caller(struct pg_args *args, const struct http_req *req) {
  const struct access_principal *who = web_principal(req);
  bool is_job = who && who->kind == ACCESS_RUN, may_all = !who || access_has(who, SCOPE_WRITE);
  if (is_job)
    pg_put_uuid(args, who->run_id);
  else
    pg_put_null(args);
  pg_put_int(args, may_all ? -1 : is_job ? who->run_attempt : 0);
}

enum tracking_refusal tracking_refusal_named(const char *sqlstate) {
  static const struct {
    const char *state;
    enum tracking_refusal refusal;
  } refusals[] = {
      {"WN404", TRACKING_NO_RUN}, {"WN410", TRACKING_DELETED},      {"WN409", TRACKING_CONFLICT},    {"WN403", TRACKING_FORBIDDEN},
      {"WN412", TRACKING_FENCED}, {"WN430", TRACKING_METRICS_FULL}, {"WN431", TRACKING_PARAMS_FULL}, {"WN432", TRACKING_TAGS_FULL},
  };
  for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
    if (strcmp(sqlstate, refusals[i].state) == 0)
      return refusals[i].refusal;
  return TRACKING_ERROR;
}

enum tracking_refusal tracking_refusal(const struct pg_reply *reply) {
  return pg_outcome(reply) == PG_DONE ? TRACKING_OK : tracking_refusal_named(pg_sqlstate(reply));
}

bool tracking_not_yours(struct err *err) {
  return err_set(err, ERR_FORBIDDEN, "the run belongs to its executor: its token, or one with the scope `write`, is needed");
}

bool tracking_superseded(struct err *err) {
  return err_set(err, ERR_FENCED, "another attempt of this run has taken over");
}

static bool words_full(const char *what, struct err *err) {
  return err_set(err, ERR_TOO_LARGE, "a run may have at most %d %s, and of those 32 MiB", RUN_WORDS_MAX, what);
}

bool tracking_full(enum tracking_refusal refusal, struct err *err) {
  if (refusal == TRACKING_METRICS_FULL)
    return err_set(err, ERR_TOO_LARGE, "a run may have at most %d metrics, and with these it would have more", METRIC_KEYS_MAX);
  return words_full(refusal == TRACKING_PARAMS_FULL ? "params" : "tags", err);
}

bool tracking_words_fit(size_t count, const char *what, struct err *err) {
  return count <= RUN_WORDS_MAX || words_full(what, err);
}

struct run_end {
  struct http_req *req;
  struct pg_batch batch;
  pg_done_fn *done;
  void *ctx;
};

static void run_end_free(struct run_end *end) {
  pg_batch_release(&end->batch);
  mem_free(end);
}

/* That points cannot be brought up to date keeps no run from ending: who reads it is told of that. */
static void on_points_settled(void *ctx, const struct err *failed) {
  struct run_end *end = ctx;
  struct err err;
  if (failed && failed->code == ERR_CANCELLED)
    http_reply_error(end->req, failed);
  else if (!pg_run_batch(web_app(end->req)->pg, &end->batch, 0, end->done, end->ctx, &err))
    http_reply_error(end->req, &err);
  run_end_free(end);
}

bool tracking_run_end(struct http_req *req, struct id run, struct pg_batch *batch, pg_done_fn *done, void *ctx, struct err *err) {
  const struct web_app *app = web_app(req);
  if (!metric_is_behind(app->metrics, run))
    return pg_run_batch(app->pg, batch, 0, done, ctx, err);
  struct run_end *end = mem_zalloc(sizeof *end);
  if (!end)
    return err_no_memory(err);
  *end = (struct run_end){req, *batch, done, ctx};
  *batch = PG_BATCH_INIT;
  if (metric_settle_end(app->metrics, run, on_points_settled, end, err))
    return true;
  run_end_free(end);
  return false;
}

bool tracking_put_experiment(const struct http_req *req, struct str name, struct str location, struct str tags, struct pg_args *args,
                             struct err *err) {
  AUTO_BUF struct buf resolved = BUF_INIT(16 * KIB);
  pg_args_init(args, STMT_EXPERIMENT_CREATE);
  if (location.n && !artifact_location_resolve(location, web_app(req)->directory, &resolved, err))
    return false;
  pg_put_text(args, name);
  pg_put_text(args, location.n ? buf_str(&resolved) : STR_NONE);
  pg_put_text(args, str_of(web_app(req)->artifact_root));
  pg_put_jsonb(args, tags);
  pg_put_int(args, tracking_now(req));
  return true;
}

void tracking_put_move(struct pg_args *args, const struct http_req *req, enum stmt stmt, struct id run) {
  const struct sweeps *sweeps = web_app(req)->sweeps;
  pg_put_uuid(args, run);
  pg_put_int(args, tracking_now(req));
  pg_put_text(args, tracking_actor(req));
  pg_put_int(args, tracking_pass(req, run));
  if (stmt == STMT_RUN_DELETE)
    pg_put_bool(args, sweeps && sweeps_damaged(sweeps, run));
}

void tracking_deleted(const struct http_req *req, struct id run, const struct pg_reply *reply) {
  if (tracking_refusal(reply) == TRACKING_OK && pg_rows(reply) && pg_bool(reply, 0, 1))
    sweeps_hide(web_app(req)->sweeps, run, tracking_actor(req));
}

bool tracking_reports_keep(struct http_req *req, struct id run, int32_t attempt, const struct metric_rows *rows,
                           struct tracking_reports *ret, struct err *err) {
  struct sweeps *sweeps = web_app(req)->sweeps;
  struct err ignored;
  bool loading = sweeps && !sweeps_ready(sweeps, &ignored); /* then it is not known yet who looks at it */
  *ret = (struct tracking_reports){.run = run, .attempt = attempt};
  const struct live_trial *trial = sweeps && !loading ? sweeps_trial(sweeps, run) : NULL;
  if (!trial && !loading)
    return true;
  size_t count = 0;
  bool *watched = ARENA_NEW_ARRAY(http_req_arena(req), bool, rows->key_count + 1);
  if (!watched)
    return err_no_memory(err);
  for (size_t i = 0; i < rows->key_count; i++)
    watched[i] = loading || live_watches(live_trial_sweep(trial), rows->keys[i]);
  for (size_t i = 0; i < rows->points.n; i++)
    count += watched[rows->series[i]];
  ret->items = ARENA_NEW_ARRAY(http_req_arena(req), struct live_report, count + 1);
  if (!ret->items)
    return err_no_memory(err);
  for (size_t i = 0; i < rows->points.n; i++) {
    struct point point = points_at(&rows->points, i);
    struct str key = rows->keys[rows->series[i]];
    char *copy = watched[rows->series[i]] ? arena_strdup(http_req_arena(req), key) : NULL;
    if (!watched[rows->series[i]])
      continue;
    if (!copy)
      return err_no_memory(err);
    ret->items[ret->count++] =
        (struct live_report){.key = str_n(copy, key.n), .value = point.value, .epoch = point.epoch, .step = point.step};
  }
  return true;
}

void tracking_reports_hear(const struct http_req *req, const struct tracking_reports *reports) {
  struct err err;
  struct sweeps *sweeps = web_app(req)->sweeps;
  events_tell_points(web_app(req), reports->run);
  if (!reports->count)
    return;
  bool ready = sweeps_ready(sweeps, &err);
  struct live_trial *trial = ready ? sweeps_trial(sweeps, reports->run) : NULL;
  if (!ready)
    sweeps_missed(sweeps, reports->run);
  else if (trial && !live_hear(trial, MAX_OF(reports->attempt, 0), LIVE_FROM_CLIENT, reports->items, reports->count, &err) &&
           err.code != ERR_FENCED)
    log_warn("web", NULL, "reports of a trial were not taken in: %s", err.text);
}
