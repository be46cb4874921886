#include "storage/metrics/metric_inside.h"

enum { TIMEOUT_MS = 30000 };

unsigned metric_mark_begin(struct metric_store *store) {
  store->mark.under_way[store->mark.turn]++;
  return store->mark.turn;
}

void metric_mark_end(struct metric_store *store, unsigned turn) {
  store->mark.under_way[turn]--;
}

void metric_mark_saw(struct metric_store *store, int64_t id) {
  store->mark.seen = MAX_OF(store->mark.seen, id);
}

void metric_mark_doubt(struct metric_store *store) {
  store->mark.next = 0;
  store->mark.in_doubt = true;
  store->mark.doubt_ms = loop_now_ms(store->loop) + store->conf.doubt_ms;
}

/* Does a write that was there when the next mark was seen still wait for its flush or seal? */
static bool is_waited_for(const struct metric_store *store) {
  int64_t since = store->mark.since_ms;
  size_t i = 0;
  struct str id;
  void *value;
  while (map_next(&store->runs, &i, &id, &value)) {
    const struct live_run *run = value;
    bool is_behind = run->is_dirty || run->is_writing || run->is_loading;
    if ((run->fresh_rows && !run->is_damaged && run->first_fresh_ms <= since) || (is_behind && run->dirty_ms <= since))
      return true;
  }
  return false;
}

static void on_moved(void *ctx, const struct pg_reply *reply) {
  struct metric_store *store = ctx;
  struct err ignored; /* it moves again */
  store->mark.is_moving = false;
  if (pg_ok(reply, &ignored))
    store->mark.at = MAX_OF(store->mark.at, store->mark.next);
  store->mark.next = 0;
  metric_op_end(store);
}

static void move(struct metric_store *store) {
  AUTO_PG_ARGS struct pg_args args;
  struct err ignored;
  pg_args_init(&args, STMT_METRIC_MARK_MOVE);
  pg_put_int(&args, store->mark.next);
  if (!metric_run(store, &args, TIMEOUT_MS, on_moved, store, &ignored))
    return;
  store->mark.is_moving = true;
  metric_op_begin(store);
}

/* Ids grow, so when all writes that had begun when an id was seen are known of, every row up to it is. From then on the mark waits for what
 * is known. */
void metric_mark_tick(struct metric_store *store) {
  struct metric_mark *mark = &store->mark;
  unsigned other = 1 - mark->turn;
  int64_t now = loop_now_ms(store->loop);
  if (store->is_unsure || store->stopping || mark->is_moving || mark->under_way[other] || (mark->in_doubt && now < mark->doubt_ms))
    return;
  if (mark->in_doubt) { /* its time is over */
    mark->in_doubt = false;
    store->is_unsure = true;
  } else if (!mark->next && mark->seen > mark->at) {
    mark->next = mark->seen;
    mark->turn = other;
    mark->all_known = false;
  } else if (mark->next && !mark->all_known) {
    mark->since_ms = now;
    mark->all_known = true;
  } else if (mark->next && !is_waited_for(store)) {
    move(store);
  }
}
