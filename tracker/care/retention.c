#include "tracker/care/retention.h"

#include "base/log.h"
#include "base/mem.h"

enum { FIRST_MS = 5000, ROUND_MS = 10 * 60 * 1000 };

struct retention {
  struct care_conf conf;
  int64_t keep_ms;
  struct loop_timer *timer;
  struct care *purge; /* of the round under way */
  uint64_t found;
  bool started, stopped;
};

static void on_found(void *ctx, const struct care_finding *finding) {
  struct retention *retention = ctx;
  retention->found++;
  if (finding->text)
    log_warn("tracker", NULL, "%s %s: %s", finding->kind, finding->subject, finding->text);
  else
    log_debug("tracker", NULL, "deleted for good: %s %s", finding->kind, finding->subject);
}

static void end_round(struct retention *retention, const struct err *err) {
  if (err && err->code != ERR_UNAVAILABLE && err->code != ERR_CANCELLED)
    log_warn("tracker", NULL, "the trash could not be emptied: %s", err->text);
  if (retention->found)
    log_info("tracker", NULL, "%llu things whose time in the trash was over are deleted for good", (unsigned long long)retention->found);
  care_free(retention->purge);
  retention->purge = NULL;
  if (!retention->stopped)
    loop_timer_start(retention->timer, ROUND_MS);
}

static void on_step(void *ctx, bool more, const struct err *err) {
  struct retention *retention = ctx;
  if (more && !retention->stopped)
    care_step(retention->purge, on_step, retention);
  else
    end_round(retention, err);
}

static void begin_round(void *ctx) {
  struct retention *retention = ctx;
  struct err err;
  int64_t now = clock_wall_ms(loop_clock(retention->conf.loop));
  struct care_purge_ask ask = {.before_ms = retention->keep_ms ? now - retention->keep_ms : INT64_MIN};
  retention->found = 0;
  retention->purge = care_purge(&retention->conf, &ask, on_found, retention, &err);
  if (retention->purge)
    care_step(retention->purge, on_step, retention);
  else
    end_round(retention, &err);
}

struct retention *retention_new(const struct care_conf *conf, int64_t keep_ms, struct err *err) {
  struct retention *retention = mem_zalloc(sizeof *retention);
  if (retention) {
    retention->conf = *conf;
    retention->keep_ms = keep_ms;
    retention->timer = loop_timer_new(conf->loop, begin_round, retention);
    if (retention->timer)
      return retention;
  }
  mem_free(retention);
  err_no_memory(err);
  return NULL;
}

void retention_start(struct retention *retention) {
  if (retention->started)
    return;
  retention->started = true;
  loop_timer_start(retention->timer, FIRST_MS);
}

void retention_stop(struct retention *retention) {
  if (!retention)
    return;
  retention->stopped = true;
  loop_timer_stop(retention->timer);
}

void retention_free(struct retention *retention) {
  if (!retention)
    return;
  care_free(retention->purge);
  loop_timer_free(retention->timer);
  mem_free(retention);
}
