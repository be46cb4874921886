/* The sweeps in memory as a list: who is there, who is told of what changed, and who waits until it is stored. */
#include "base/mem.h"
#include "sweeper/live/live.h"

/* ---- finding ---- */

static struct str id_key(const struct id *id) {
  return str_n((const char *)id->bytes, sizeof id->bytes);
}

bool sweeps_ready(const struct sweeps *s, struct err *err) {
  return (s && s->ready && !s->stopping) || err_set(err, ERR_UNAVAILABLE, "sweeps are not there yet");
}

struct live_sweep *sweeps_find(const struct sweeps *s, struct id sweep) {
  return map_get(&s->by_id, id_key(&sweep));
}

void sweeps_missed(struct sweeps *s, struct id run) {
  struct live_trial *trial = sweeps_trial(s, run);
  if (trial)
    live_note_missed(trial);
}

struct live_trial *sweeps_trial(const struct sweeps *s, struct id run) {
  struct id *id = id_map_get(&s->by_run, run);
  struct live_trial *trial = id ? CONTAINER_OF(id, struct live_trial, run) : NULL;
  return trial && !trial->sweep->damage ? trial : NULL;
}

bool sweeps_runs(const struct sweeps *s, struct id run, int32_t attempt) {
  const struct live_trial *trial = sweeps_trial(s, run);
  const struct engine_trial *row = trial ? engine_trial(trial->sweep->engine, trial->number) : NULL;
  return row && row->attempt == (uint32_t)attempt && !row->dead;
}

/* ---- coming and going ---- */

bool sweeps_list(struct sweeps *s, struct live_sweep *live, struct err *err) {
  if (s->sweeps.count >= LIVE_SWEEPS_MAX || (!live->single && !map_put(&s->by_id, id_key(&live->id), live, NULL)))
    return err_set(err, ERR_LIMIT, "there are too many sweeps and launched runs at once");
  if (!live->conf.asks) {
    if (!schedule_group_add(s->schedule, &live->group, err)) {
      map_remove(&s->by_id, id_key(&live->id));
      return false;
    }
    live->has_group = true;
    queue_set_group(live);
  }
  list_push_back(&s->sweeps, &live->node);
  return true;
}

void sweeps_take_out(struct live_sweep *live) {
  list_remove(&live->node);
  if (!live->single)
    map_remove(&live->all->by_id, id_key(&live->id));
}

void sweeps_drop(struct live_sweep *live) {
  struct schedule *schedule = live->all->schedule;
  bool has_group = live->has_group;
  uint32_t group = live->group;
  live_free(live); /* first: only a group without jobs can be removed */
  if (has_group)
    schedule_group_remove(schedule, group);
}

void sweeps_unlist(struct live_sweep *live) {
  sweeps_take_out(live);
  sweeps_drop(live);
}

void sweeps_forget_id(struct sweeps *s, struct id sweep) {
  map_remove(&s->by_id, id_key(&sweep));
}

bool sweeps_is_busy(const struct live_sweep *live) {
  bool busy = !live->over_told || live->thinking || live->asks.count || live->reports_durable < live->reports;
  for (struct list_node *w = live->all->waiters.first; w && !busy; w = w->next)
    busy = LIST_ENTRY(w, struct live_waiter, node)->sweep == live;
  return busy;
}

/* ---- what changed ---- */

void sweeps_tell(const struct sweeps *s, const struct sweeps_change *change) {
  if (s->conf.on_change && !s->stopping)
    s->conf.on_change(s->conf.change_ctx, change);
}

void sweeps_kick(struct sweeps *s) {
  loop_defer(s->conf.loop, &s->pump, s->write_changes, s);
}

/* ---- who waits ---- */

static bool is_met(const struct live_waiter *waiter) {
  const struct live_sweep *live = waiter->sweep;
  return live->written >= waiter->version && live->reports_durable >= waiter->reports && deeds_are_durable(live->all, waiter->deeds) &&
         (!waiter->trial || engine_trial_durable(live->engine, waiter->trial->number));
}

void sweeps_settle(struct sweeps *s, const struct err *failed) {
  LIST_EACH(&s->sweeps, node)
  live_settle_asks(LIST_ENTRY(node, struct live_sweep, node), failed);
  LIST_EACH(&s->waiters, node) {
    struct live_waiter *waiter = LIST_ENTRY(node, struct live_waiter, node);
    if (!failed && !is_met(waiter))
      continue;
    list_remove(&waiter->node);
    waiter->done(waiter->ctx, failed && !is_met(waiter) ? failed : NULL);
    mem_free(waiter);
  }
}

bool sweeps_wait(struct live_sweep *live, struct live_trial *trial, sweeps_done_fn *done, void *ctx, struct err *err) {
  struct sweeps *s = live->all;
  if (s->waiters.count >= LIVE_WAITING_MAX || s->stopping)
    return err_set(err, s->stopping ? ERR_UNAVAILABLE : ERR_OVERLOADED, s->stopping ? "the service is stopping" : "too many requests wait");
  struct live_waiter *waiter = mem_zalloc(sizeof *waiter);
  if (!waiter)
    return err_no_memory(err);
  *waiter = (struct live_waiter){.sweep = live,
                                 .trial = trial,
                                 .version = engine_sweep(live->engine).version,
                                 .reports = live->reports,
                                 .deeds = live->deeds,
                                 .done = done,
                                 .ctx = ctx};
  list_push_back(&s->waiters, &waiter->node);
  sweeps_kick(s);
  return true;
}
