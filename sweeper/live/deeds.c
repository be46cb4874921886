/* What people did, and what seldom happens by itself, as events: stored in the transaction that stores what it changed. */
#include "base/log.h"
#include "base/mem.h"
#include "sweeper/live/live.h"

enum { DEEDS_MAX = LIVE_WAITING_MAX };

struct kept_deed {
  struct list_node node;
  struct deed what;
  char *actor, *reason; /* actor "": nobody */
  int64_t time;
  const struct kept_deed *earlier; /* on its way, of the same run */
};

/* Of those on their way; NULL: none. */
static const struct kept_deed *last_of(const struct sweeps *s, struct id run) {
  struct id *found = id_map_get(&s->deeds_by_run, run);
  return found ? CONTAINER_OF(found, struct kept_deed, what.run) : NULL;
}

static void kept_free(struct kept_deed *kept) {
  mem_free(kept->actor);
  mem_free(kept->reason);
  mem_free(kept);
}

static void forget_first(struct sweeps *s) {
  kept_free(LIST_ENTRY(list_pop_front(&s->deeds), struct kept_deed, node));
}

uint64_t deeds_note(struct sweeps *s, const struct deed *what) {
  struct kept_deed *kept = s->deeds.count < DEEDS_MAX ? mem_zalloc(sizeof *kept) : NULL;
  struct str actor = what->actor.p ? what->actor : STR("");
  if (kept)
    *kept = (struct kept_deed){.what = *what,
                               .actor = mem_strndup(actor.p, actor.n),
                               .reason = what->reason ? mem_strdup(what->reason) : NULL,
                               .time = live_wall(s)};
  if (!kept || !kept->actor || !kept->reason != !what->reason) {
    log_warn("sweep", NULL, "there is no room to keep what %.*s did", STR_ARG(what->actor.p ? what->actor : STR("the service")));
    if (kept)
      kept_free(kept);
    return 0;
  }
  list_push_back(&s->deeds, &kept->node);
  sweeps_kick(s);
  return ++s->deeds_noted;
}

bool deeds_are_durable(const struct sweeps *s, uint64_t until) {
  return s->deeds_noted - s->deeds.count >= until;
}

/* A trial that never waits, is not stopped and not lost has none: when it began and how it ended is on its row. */
static bool is_worth_a_row(const struct live_trial *trial, const struct engine_trial *row) {
  switch (row->state) {
  case RUN_STARTING: /* when another attempt does is on the attempt */
    return trial->noted == RUN_QUEUED && row->attempt == 1;
  case RUN_RUNNING:
    return trial->noted == RUN_LOST || (trial->noted != RUN_STOPPING && row->attempt > 1);
  case RUN_STOPPING:
    return true;
  case RUN_LOST: /* else that is its end */
    return !row->dead;
  default:
    return false;
  }
}

void deeds_follow(struct live_trial *trial, const struct engine_trial *row) {
  const struct live_sweep *live = trial->sweep;
  struct deed what = {.kind = "run.state", .run = trial->run, .to = run_state_name(row->state), .reason = live_reason(trial, row)};
  if (row->state == trial->noted)
    return;
  if (trial->noted < RUN_STATE_COUNT)
    what.from = run_state_name(trial->noted);
  if (row->state == RUN_RUNNING && trial->noted == RUN_LOST)
    what.reason = live->conf.asks ? "a worker has it again" : "its companion is back";
  if (row->state == RUN_STOPPING && row->cause == CAUSE_SWEEP)
    what.actor = str_of(live->stopped_by);
  if (is_worth_a_row(trial, row))
    deeds_note(live->all, &what);
  trial->noted = row->state;
}

bool deeds_are_due(const struct sweeps *s) {
  return s->deeds.count && !s->deeds_wait;
}

void deeds_send(struct sweeps *s, struct pg_batch *batch) {
  char subject[ID_HEX_LEN + 1];
  for (struct list_node *node = deeds_are_due(s) ? s->deeds.first : NULL; node && s->deeds_flying < LIVE_BATCH_DEEDS_MAX;
       node = node->next) {
    struct kept_deed *kept = LIST_ENTRY(node, struct kept_deed, node);
    struct pg_args *args = pg_batch_add(batch, STMT_DEED_ADD);
    id_format(kept->what.run, subject);
    pg_put_int(args, kept->time);
    pg_put_text(args, str_of(kept->what.kind));
    pg_put_text(args, str_of(kept->actor));
    pg_put_text(args, str_of(subject));
    pg_put_uuid(args, kept->what.run);
    pg_put_text(args, str_of(kept->what.from));
    pg_put_text(args, str_of(kept->what.to));
    pg_put_text(args, str_of(kept->reason));
    s->deeds_flying++;
    kept->earlier = last_of(s, kept->what.run);
    if (!id_map_put(&s->deeds_by_run, &kept->what.run))
      log_debug("sweep", NULL, "there is no memory to tell listeners what %s did", kept->actor);
  }
}

const char *deeds_actor(const struct sweeps *s, struct id run, const char *to) {
  for (const struct kept_deed *kept = last_of(s, run); kept; kept = kept->earlier)
    if (str_is(str_of(kept->what.to), to))
      return kept->actor[0] ? kept->actor : NULL;
  return NULL;
}

void deeds_sent(struct sweeps *s, bool ok) {
  id_map_release(&s->deeds_by_run);
  for (; ok && s->deeds_flying; s->deeds_flying--)
    forget_first(s);
  s->deeds_flying = 0;
  s->deeds_wait |= !ok;
}

void deeds_release(struct sweeps *s) {
  id_map_release(&s->deeds_by_run);
  while (s->deeds.count)
    forget_first(s);
}
