#include "base/log.h"
#include "storage/metrics/metric_inside.h"

struct metric_store_conf metric_store_conf_default(void) {
  return (struct metric_store_conf){
      .queue_bytes_max = 32 * MIB,
      .flush_ms = 200,
      .seal_idle_ms = 10000,
      .seal_age_ms = 60000,
      .seal_points = 32768,
      .seal_rows = 1024,
      .live_series_max = 4 * METRIC_KEYS_MAX,
      .keys_max = METRIC_KEYS_MAX,
      .doubt_ms = 180000,
  };
}

/* ---- what is not known: what an earlier process left, or a doubt is about ---- */

/* Some of what is there may be known of already, and some of what is known be sealed by now. */
static size_t count_with(const struct live_run *run, size_t known, size_t there) {
  return run->is_sealing ? known + there : MAX_OF(known, there);
}

static void on_fresh(void *ctx, const struct pg_reply *reply) {
  struct metric_store *store = ctx;
  struct err err;
  store->is_asking = false;
  if (!pg_ok(reply, &err)) { /* asked again by the timer */
    metric_live_fail_waiters(store, &err);
    metric_op_end(store);
    return;
  }
  store->is_unsure = false;
  for (size_t i = 0; i < pg_rows(reply); i++) {
    struct id id = pg_uuid(reply, i, 0);
    metric_live_behind(store, id);
    struct live_run *run = live_run_get(store, id);
    if (run) {
      size_t points = count_with(run, run->fresh_points, (size_t)pg_int(reply, i, 2));
      store->stats.unsealed_points += points - run->fresh_points;
      run->fresh_rows = count_with(run, run->fresh_rows, (size_t)pg_int(reply, i, 1));
      run->fresh_points = points;
      live_run_queue(store, run);
    }
  }
  metric_live_flush(store);
  metric_op_end(store);
}

static bool ask_fresh(struct metric_store *store, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  store->is_unsure = true;
  pg_args_init(&args, STMT_METRIC_FRESH);
  if (!metric_run(store, &args, 3600 * 1000, on_fresh, store, err))
    return false;
  store->is_asking = true;
  metric_op_begin(store);
  return true;
}

/* When it cannot be asked for now, a timer tries again. */
static void ask_if_unsure(struct metric_store *store) {
  struct err ignored;
  if (store->is_unsure && !store->is_asking && !store->stopping && !ask_fresh(store, &ignored))
    log_debug("storage", NULL, "unsealed points cannot be asked for yet: %s", ignored.text);
}

static void on_flush_timer(void *ctx) {
  struct metric_store *store = ctx;
  ask_if_unsure(store);
  metric_live_flush(store);
  loop_timer_start(store->flush_timer, store->conf.flush_ms);
}

static void on_seal_timer(void *ctx) {
  struct metric_store *store = ctx;
  metric_seal_tick(store);
  metric_mark_tick(store);
  ask_if_unsure(store);
  loop_timer_start(store->seal_timer, 1000);
}

/* ---- life ---- */

struct metric_store *metric_store_new(struct loop *loop, struct pg_pool *pg, struct work_pool *work, const struct metric_store_conf *conf,
                                      struct err *err) {
  struct metric_store *store = mem_zalloc(sizeof *store);
  if (!store) {
    err_no_memory(err);
    return NULL;
  }
  store->loop = loop;
  store->pg = pg;
  store->work = work;
  store->conf = *conf;
  metric_mark_doubt(store); /* an earlier process may have a write under way */
  map_init(&store->runs, SIZE_MAX / 2);
  store->flush_timer = loop_timer_new(loop, on_flush_timer, store);
  store->seal_timer = loop_timer_new(loop, on_seal_timer, store);
  bool ok = (store->flush_timer && store->seal_timer) || err_no_memory(err);
  if (!ok || !metric_writes_init(store, err) || !ask_fresh(store, err)) {
    metric_store_free(store);
    return NULL;
  }
  loop_timer_start(store->flush_timer, store->conf.flush_ms);
  loop_timer_start(store->seal_timer, 1000);
  return store;
}

/* One last flush, once nothing else is under way. When that fails the unsealed rows tell the next process. */
static void check_stop(void *ctx) {
  struct metric_store *store = ctx;
  if (!store->stopped || store->operations)
    return;
  if (store->dirty.first && loop_timer_is_on(store->flush_timer)) {
    loop_timer_stop(store->flush_timer);
    metric_live_flush(store);
    if (store->operations)
      return;
  }
  loop_timer_stop(store->flush_timer);
  loop_fn *stopped = store->stopped;
  store->stopped = NULL;
  stopped(store->stopped_ctx);
}

void metric_store_stop(struct metric_store *store, loop_fn *done, void *ctx) {
  store->stopping = true;
  store->stopped = done;
  store->stopped_ctx = ctx;
  store->at_rest = check_stop;
  loop_timer_stop(store->seal_timer);
  if (store->is_unsure && !store->is_asking) { /* and nobody asks any more */
    struct err err;
    err_set(&err, ERR_CANCELLED, "the service is stopping");
    metric_live_fail_waiters(store, &err);
  }
  loop_defer(store->loop, &store->rest, check_stop, store);
}

static void release(void *ctx) {
  struct metric_store *store = ctx;
  loop_defer_cancel(&store->flush);
  loop_defer_cancel(&store->seal_now);
  loop_defer_cancel(&store->rest);
  live_runs_release(store);
  map_release(&store->runs);
  pg_gather_release(&store->gather);
  while (store->coder_count)
    column_coder_free(store->coders[--store->coder_count]);
  mem_free(store);
}

/* What is still being computed, or waits for the end of the turn, holds the store until it is answered; nothing new reaches the database.
 */
void metric_store_free(struct metric_store *store) {
  if (!store)
    return;
  loop_timer_free(store->flush_timer);
  loop_timer_free(store->seal_timer);
  loop_defer_cancel(&store->rest);
  store->flush_timer = store->seal_timer = NULL;
  store->stopping = true;
  store->stopped = NULL;
  store->pg = NULL;
  store->at_rest = release;
  if (store->operations == 0) {
    release(store);
    return;
  }
  struct err err;
  err_set(&err, ERR_CANCELLED, "the service is stopping");
  metric_op_begin(store);
  pg_gather_stop(&store->gather, &err);
  metric_live_fail_waiters(store, &err);
  metric_seal_progress(store, &err);
  metric_op_end(store);
}

struct metric_store_stats metric_store_stats(const struct metric_store *store) {
  struct metric_store_stats stats = store->stats;
  stats.waiting = store->gather.queue.count;
  stats.waiting_bytes = store->gather.waiting_bytes;
  stats.groups = store->gather.groups;
  stats.groups_in_flight = store->gather.in_flight;
  stats.live_runs = store->runs.count;
  return stats;
}
