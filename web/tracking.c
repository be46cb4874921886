#include "web/tracking.h"

#include "sweeper/sweeps.h"

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
