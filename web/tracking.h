/* What the handlers of runs share, whatever their protocol: who may write one, and what the database's refusals mean. */
#ifndef WINNOW_WEB_TRACKING_H
#define WINNOW_WEB_TRACKING_H

#include "storage/pg.h"
#include "web/app.h"

/* Who asks, for events. */
struct str tracking_actor(const struct http_req *req);
/* Asked by every write to a run, so it is also a sign of life: it renews the lease of a trial that a worker asked for.
 * What run_write() takes: -1 may write every run, 0 those without an executor, else those and this attempt of the run. */
int tracking_pass(const struct http_req *req, struct id run);

enum tracking_refusal {
  TRACKING_OK,
  TRACKING_NO_RUN,
  TRACKING_DELETED,
  TRACKING_CONFLICT, /* a param has another value */
  TRACKING_FORBIDDEN,
  TRACKING_FENCED,
  TRACKING_ERROR, /* something else: pg_err() */
};
enum tracking_refusal tracking_refusal(const struct pg_reply *reply);

static inline int64_t tracking_now(const struct http_req *req) {
  return clock_wall_ms(web_app(req)->clock);
}

#endif
