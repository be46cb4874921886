#include "web/tracking.h"

#include "base/log.h"
#include "sweeper/sweeps.h"

/* Rules look at the newest; who sends more at once sends history. */
enum { HEARD_AT_ONCE_MAX = 10000 };

struct str tracking_actor(const struct http_req *req) {
  const struct access_principal *who = web_principal(req);
  return who ? str_of(who->name) : STR("anonymous");
}

int tracking_pass(const struct http_req *req, struct id run) {
  const struct access_principal *who = web_principal(req);
  if (!who || access_has(who, SCOPE_WRITE))
    return -1;
  return who->kind == ACCESS_RUN && id_eq(who->run_id, run) ? who->run_attempt : 0;
}

void tracking_hear(const struct http_req *req, struct id run, const struct metric_rows *rows) {
  const struct sweeps *sweeps = web_app(req)->sweeps;
  struct live_trial *trial = sweeps ? sweeps_trial(sweeps, run) : NULL;
  int pass = trial ? tracking_pass(req, run) : 0;
  struct err err;
  if (!trial || (pass == 0 && live_has_command(live_trial_sweep(trial))))
    return;
  for (size_t i = rows->points.n > HEARD_AT_ONCE_MAX ? rows->points.n - HEARD_AT_ONCE_MAX : 0; i < rows->points.n; i++) {
    struct point point = points_at(&rows->points, i);
    struct live_report report = {.key = rows->keys[rows->series[i]], .value = point.value, .epoch = point.epoch, .step = point.step};
    if (live_hear(trial, MAX_OF(pass, 0), &report, 1, &err))
      continue;
    if (err.code != ERR_FENCED)
      log_warn("sweep", NULL, "a report of a trial was not taken in: %s", err.text);
    return;
  }
}

enum tracking_refusal tracking_refusal(const struct pg_reply *reply) {
  static const struct {
    const char *state;
    enum tracking_refusal refusal;
  } refusals[] = {
      {"WN404", TRACKING_NO_RUN},    {"WN410", TRACKING_DELETED}, {"WN409", TRACKING_CONFLICT},
      {"WN403", TRACKING_FORBIDDEN}, {"WN412", TRACKING_FENCED},
  };
  if (pg_outcome(reply) == PG_DONE)
    return TRACKING_OK;
  for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
    if (strcmp(pg_sqlstate(reply), refusals[i].state) == 0)
      return refusals[i].refusal;
  return TRACKING_ERROR;
}
