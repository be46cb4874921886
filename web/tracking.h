/* What the handlers of runs and experiments share, whatever their protocol: who may write one, and what the database's refusals mean. */
#ifndef WINNOW_WEB_TRACKING_H
#define WINNOW_WEB_TRACKING_H

#include "storage/metrics/metric_rows.h"
#include "storage/pg/pg.h"
#include "web/app.h"

/* Who asks, for events. */
struct str tracking_actor(const struct http_req *req);
/* Asked by every write to a run, so it is also a sign of life: it renews the lease of a trial that a worker asked for.
 * What run_write() takes: -1 may write every run, 0 those without an executor, else those and this attempt of the run. */
int tracking_pass(const struct http_req *req, struct id run);
/* The same as what metric_append() takes. */
int32_t tracking_attempt(const struct http_req *req, struct id run);
/* Two arguments: who asks, as logged_model_allow() takes it. */
void tracking_put_caller(struct pg_args *args, const struct http_req *req);

enum tracking_refusal {
  TRACKING_OK,
  TRACKING_NO_RUN,
  TRACKING_DELETED,
  TRACKING_CONFLICT, /* a param has another value */
  TRACKING_FORBIDDEN,
  TRACKING_FENCED,
  TRACKING_METRICS_FULL, /* the run would have more than it may */
  TRACKING_PARAMS_FULL,
  TRACKING_TAGS_FULL,
  TRACKING_ERROR, /* something else: pg_err() */
};
enum tracking_refusal tracking_refusal(const struct pg_reply *reply);
/* The same by its SQLSTATE. */
enum tracking_refusal tracking_refusal_named(const char *sqlstate);
/* The errors of TRACKING_FORBIDDEN and TRACKING_FENCED; false. */
bool tracking_not_yours(struct err *err);
bool tracking_superseded(struct err *err);
/* That of TRACKING_METRICS_FULL, _PARAMS_FULL or _TAGS_FULL; false. */
bool tracking_full(enum tracking_refusal refusal, struct err *err);
/* ERR_TOO_LARGE where a run is to begin with more params or tags than it may have. */
MUST_CHECK bool tracking_words_fit(size_t count, const char *what, struct err *err);

/* As pg_run_batch(), of a batch that says how the run ended: after its points (metric_settle_end()). When it cannot be run after all, the
 * request is answered with why, and `done` is not called. */
MUST_CHECK bool tracking_run_end(struct http_req *req, struct id run, struct pg_batch *batch, pg_done_fn *done, void *ctx, struct err *err);

/* The arguments of STMT_EXPERIMENT_CREATE; name and location have been checked. An empty location is the service's own place for it. */
MUST_CHECK bool tracking_put_experiment(const struct http_req *req, struct str name, struct str location, struct str tags,
                                        struct pg_args *args, struct err *err);
/* The arguments of STMT_RUN_DELETE and STMT_RUN_RESTORE. */
void tracking_put_move(struct pg_args *args, const struct http_req *req, enum stmt stmt, struct id run);
/* What the first has answered, whatever that is: a damaged run that it has given up is forgotten, and its job ended. */
void tracking_deleted(const struct http_req *req, struct id run, const struct pg_reply *reply);

/* Of the points of a write, those that the run's sweep decides by: kept while they are on their way into the store, then heard. So a trial
 * that logs through a client is stopped as one that prints. */
struct metric_rows;
struct live_report;
struct tracking_reports {
  struct id run;
  int32_t attempt;
  struct live_report *items; /* in the request's arena */
  size_t count;
};
/* `attempt` is what metric_append() takes. */
MUST_CHECK bool tracking_reports_keep(struct http_req *req, struct id run, int32_t attempt, const struct metric_rows *rows,
                                      struct tracking_reports *ret, struct err *err);
void tracking_reports_hear(const struct http_req *req, const struct tracking_reports *reports);

static inline int64_t tracking_now(const struct http_req *req) {
  return clock_wall_ms(web_app(req)->clock);
}

#endif
