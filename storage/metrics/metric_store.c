#include "base/log.h"
#include "storage/metrics/metric_inside.h"

enum { GROUP_ROWS = 1024, TIMEOUT_MS = 30000 };

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

/* ---- life ---- */

/* Some of what is there may be known of already, and some of what is known be sealed by now. */
static size_t count_with(const struct live_run *run, size_t known, size_t there) {
  return run->is_sealing ? known + there : MAX_OF(known, there);
}

static void on_fresh(void *ctx, const struct pg_reply *reply) {
  struct metric_store *store = ctx;
  struct err err;
  store->asks_fresh = false;
  if (!pg_ok(reply, &err)) { /* asked again by the timer */
    metric_live_fail_waiters(store, &err);
    metric_op_end(store);
    return;
  }
  store->is_starting = false;
  for (size_t i = 0; i < pg_rows(reply); i++) {
    struct id id = pg_uuid(reply, i, 0);
    metric_live_behind(store, id);
    struct live_run *run = live_run_get(store, id);
    if (run) {
      size_t points = count_with(run, run->fresh_points, (size_t)pg_int(reply, i, 2));
      store->stats.unsealed_points += points - run->fresh_points;
      run->fresh_rows = count_with(run, run->fresh_rows, (size_t)pg_int(reply, i, 1));
      run->fresh_points = points;
      metric_seal_queue(store, run);
    }
  }
  metric_live_flush(store);
  metric_op_end(store);
}

bool metric_ask_fresh(struct metric_store *store, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  store->is_starting = true;
  pg_args_init(&args, STMT_METRIC_FRESH);
  if (!metric_run(store, &args, 3600 * 1000, on_fresh, store, err))
    return false;
  store->asks_fresh = true;
  metric_op_begin(store);
  return true;
}

static void on_flush_timer(void *ctx) {
  struct metric_store *store = ctx;
  struct err ignored;
  if (store->is_starting && !store->asks_fresh && !store->stopping && !metric_ask_fresh(store, &ignored))
    log_debug("storage", NULL, "unsealed points cannot be asked for yet: %s", ignored.text);
  metric_live_flush(store);
  loop_timer_start(store->flush_timer, store->conf.flush_ms);
}

static void on_seal_timer(void *ctx) {
  struct metric_store *store = ctx;
  metric_seal_tick(store);
  metric_mark_tick(store);
  loop_timer_start(store->seal_timer, 1000);
}

static void put_writes(struct pg_args *args, const struct list *writes);
static void on_sent(void *ctx, struct pg_gather_item *item, const struct pg_reply *reply, size_t row, const struct err *failed);

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
  struct pg_gather_conf gather = {.stmt = STMT_METRIC_TAIL_ADD,
                                  .rows_max = GROUP_ROWS,
                                  .bytes_max = 4 * MIB,
                                  .enough = 24 * KIB,
                                  .timeout_ms = TIMEOUT_MS,
                                  .put = put_writes,
                                  .done = on_sent};
  map_init(&store->runs, SIZE_MAX / 2);
  store->flush_timer = loop_timer_new(loop, on_flush_timer, store);
  store->seal_timer = loop_timer_new(loop, on_seal_timer, store);
  bool ok = (store->flush_timer && store->seal_timer) || err_no_memory(err);
  if (!ok || !pg_gather_init(&store->gather, loop, pg, &gather, err) || !metric_ask_fresh(store, err)) {
    metric_store_free(store);
    return NULL;
  }
  loop_timer_start(store->flush_timer, store->conf.flush_ms);
  loop_timer_start(store->seal_timer, 1000);
  return store;
}

void metric_op_begin(struct metric_store *store) {
  store->operations++;
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

static void release(void *ctx);

void metric_op_end(struct metric_store *store) {
  store->operations--;
  if (!store->pg && store->operations == 0)
    loop_defer(store->loop, &store->stop_check, release, store);
  else if (store->stopped && store->operations == 0)
    loop_defer(store->loop, &store->stop_check, check_stop, store);
}

void metric_store_stop(struct metric_store *store, loop_fn *done, void *ctx) {
  store->stopping = true;
  store->stopped = done;
  store->stopped_ctx = ctx;
  loop_timer_stop(store->seal_timer);
  loop_defer(store->loop, &store->stop_check, check_stop, store);
}

static void release(void *ctx) {
  struct metric_store *store = ctx;
  loop_defer_cancel(&store->flush);
  loop_defer_cancel(&store->seal_now);
  loop_defer_cancel(&store->stop_check);
  metric_live_release(store);
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
  loop_defer_cancel(&store->stop_check);
  store->flush_timer = store->seal_timer = NULL;
  store->stopping = true;
  store->stopped = NULL;
  store->pg = NULL;
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

bool metric_run(struct metric_store *store, struct pg_args *args, int64_t timeout_ms, pg_done_fn *done, void *ctx, struct err *err) {
  if (store->pg)
    return pg_run(store->pg, args, timeout_ms, done, ctx, err);
  pg_args_release(args);
  return err_set(err, ERR_CANCELLED, "the service is stopping");
}

bool metric_run_batch(struct metric_store *store, struct pg_batch *batch, int64_t timeout_ms, pg_done_fn *done, void *ctx,
                      struct err *err) {
  if (store->pg)
    return pg_run_batch(store->pg, batch, timeout_ms, done, ctx, err);
  pg_batch_release(batch);
  return err_set(err, ERR_CANCELLED, "the service is stopping");
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

struct column_coder *metric_coder_take(struct metric_store *store) {
  return store->coder_count ? store->coders[--store->coder_count] : column_coder_new();
}

void metric_coder_give(struct metric_store *store, struct column_coder *coder) {
  if (coder && store->coder_count < CODERS_MAX)
    store->coders[store->coder_count++] = coder;
  else
    column_coder_free(coder);
}

static void compute_here(void *ctx) {
  struct work *work = ctx;
  work->run(work);
  work->done(work, false);
}

void metric_compute(struct metric_store *store, struct work *work, struct loop_defer *instead) {
  struct err err;
  metric_op_begin(store);
  if (!store->work || !work_submit(store->work, work, &err))
    loop_defer(store->loop, instead, compute_here, work);
}

/* ---- packing ---- */

void metric_write_free(struct metric_write *write) {
  if (!write)
    return;
  metric_mark_end(write->store, write->turn);
  buf_release(&write->bytes);
  buf_release(&write->keys);
  mem_free(write->parts);
  mem_free(write->deltas);
  mem_free(write->key_text);
  mem_free(write);
}

static bool pack(struct metric_write *write, const struct metric_rows *rows) {
  size_t n = rows->points.n;
  write->part_count = (n + METRIC_BATCH_POINTS - 1) / METRIC_BATCH_POINTS;
  write->parts = mem_array(write->part_count, sizeof *write->parts);
  struct column_coder *coder = metric_coder_take(write->store);
  for (size_t i = 0; coder && write->parts && i < write->part_count; i++) {
    size_t from = i * METRIC_BATCH_POINTS, count = MIN_OF(n - from, (size_t)METRIC_BATCH_POINTS);
    struct metric_part *part = &write->parts[i];
    part->at = write->bytes.n;
    part->points = (int32_t)count;
    metric_rows_put(rows, from, count, coder, &write->bytes);
    part->n = write->bytes.n - part->at;
  }
  bool ok = coder && write->parts && !write->bytes.fail;
  metric_coder_give(write->store, coder);
  return ok;
}

static bool sum_up(struct metric_write *write, const struct metric_rows *rows) {
  size_t text = 0;
  for (size_t i = 0; i < rows->key_count; i++)
    text += rows->keys[i].n;
  write->deltas = mem_array(rows->key_count, sizeof *write->deltas);
  write->key_text = mem_alloc(text);
  if (!write->deltas || !write->key_text)
    return false;
  write->delta_count = rows->key_count;
  char *to = write->key_text;
  for (size_t i = 0; i < rows->key_count; i++) {
    memcpy(to, rows->keys[i].p, rows->keys[i].n);
    write->deltas[i] = (struct metric_delta){.key = str_n(to, rows->keys[i].n), .in_order = true};
    to += rows->keys[i].n;
  }
  for (size_t i = 0; i < rows->points.n; i++) {
    struct metric_delta *delta = &write->deltas[rows->series[i]];
    struct point point = points_at(&rows->points, i);
    if (delta->fold.count && point_cmp(point, delta->fold.last) <= 0)
      delta->in_order = false;
    fold_add(&delta->fold, point);
  }
  return true;
}

struct metric_write *metric_write_new(struct metric_store *store, struct id run, int32_t attempt, const struct metric_rows *rows,
                                      struct err *err) {
  if (store->stopping) {
    err_set(err, ERR_UNAVAILABLE, "the service is stopping");
    return NULL;
  }
  struct metric_write *write = mem_zalloc(sizeof *write);
  if (!write) {
    err_no_memory(err);
    return NULL;
  }
  write->store = store;
  write->turn = metric_mark_begin(store);
  write->run = run;
  write->attempt = attempt;
  write->points = (int64_t)rows->points.n;
  write->bytes = BUF_INIT(256 * MIB);
  write->keys = BUF_INIT(256 * MIB);
  bool ok = metric_live_takes(store, run, rows, &write->keys, err) && ((pack(write, rows) && sum_up(write, rows)) || err_no_memory(err));
  if (ok)
    return write;
  metric_write_free(write);
  return NULL;
}

/* ---- writing ---- */

static struct str keys_of(const struct metric_write *write) {
  return write->keys.n ? buf_str(&write->keys) : STR_NONE;
}

static void put_writes(struct pg_args *args, const struct list *writes) {
  pg_begin_array(args);
  LIST_EACH(writes, node) {
    const struct metric_write *write = LIST_ENTRY(node, struct metric_write, item.node);
    for (size_t i = 0; i < write->part_count; i++)
      pg_put_uuid(args, write->run);
  }
  pg_end_array(args);
  pg_begin_array(args);
  LIST_EACH(writes, node) {
    const struct metric_write *write = LIST_ENTRY(node, struct metric_write, item.node);
    for (size_t i = 0; i < write->part_count; i++)
      pg_put_int(args, write->attempt);
  }
  pg_end_array(args);
  pg_begin_array(args);
  LIST_EACH(writes, node) {
    const struct metric_write *write = LIST_ENTRY(node, struct metric_write, item.node);
    for (size_t i = 0; i < write->part_count; i++)
      pg_put_int(args, write->parts[i].points);
  }
  pg_end_array(args);
  pg_begin_array(args);
  LIST_EACH(writes, node) {
    const struct metric_write *write = LIST_ENTRY(node, struct metric_write, item.node);
    for (size_t i = 0; i < write->part_count; i++)
      pg_put_bytea(args, str_n(write->bytes.p + write->parts[i].at, write->parts[i].n));
  }
  pg_end_array(args);
  pg_begin_array(args);
  LIST_EACH(writes, node) {
    const struct metric_write *write = LIST_ENTRY(node, struct metric_write, item.node);
    for (size_t i = 0; i < write->part_count; i++)
      pg_put_jsonb(args, keys_of(write));
  }
  pg_end_array(args);
  pg_put_int(args, (int64_t)LIST_ENTRY(writes->first, struct metric_write, item.node)->store->conf.keys_max);
}

enum { STORED, NO_SUCH_RUN, RUN_DELETED, TAKEN_OVER, HAS_EXECUTOR, NOT_TRIED, TOO_MANY };

static bool refused(const struct metric_write *write, int64_t status, struct err *err) {
  char id[ID_HEX_LEN + 1];
  id_format(write->run, id);
  if (status == NO_SUCH_RUN)
    return err_set(err, ERR_NOT_FOUND, "there is no run %s", id);
  if (status == RUN_DELETED)
    return err_set(err, ERR_WRONG_STATE, "the run %s is deleted", id);
  if (status == TOO_MANY)
    return metric_too_many(write->store, write->run, err);
  if (status == HAS_EXECUTOR)
    return err_set(err, ERR_FORBIDDEN, "the run %s belongs to its executor", id);
  return err_set(err, ERR_FENCED, "attempt %d of the run %s has been superseded", write->attempt, id);
}

/* Frees the write. Its rows in the reply begin at `row`. */
static bool conclude(struct metric_write *write, const struct pg_reply *reply, size_t row, struct err *err) {
  struct metric_store *store = write->store;
  if (!pg_ok(reply, err)) {
    if (pg_outcome(reply) == PG_UNKNOWN)
      metric_live_unknown(store, write->run);
    metric_write_free(write);
    return false;
  }
  for (size_t i = 0; i < write->part_count; i++) {
    write->parts[i].id = pg_int(reply, row + i, 0);
    write->attempt = (int32_t)pg_int(reply, row + i, 1);
    int64_t status = pg_int(reply, row + i, 2);
    if (status != STORED) {
      refused(write, status, err);
      metric_write_free(write);
      return false;
    }
    metric_mark_saw(store, write->parts[i].id);
  }
  store->stats.writes++;
  store->stats.points += (uint64_t)write->points;
  metric_live_stored(store, write);
  return true;
}

void metric_write_put(struct metric_write *write, struct pg_batch *batch) {
  struct pg_args *args = pg_batch_add(batch, STMT_METRIC_TAIL_ADD);
  struct list alone = {0};
  list_push_back(&alone, &write->item.node);
  put_writes(args, &alone);
  list_remove(&write->item.node);
}

struct metric_batch metric_write_batch(const struct metric_write *write) {
  return (struct metric_batch){.attempt = write->attempt,
                               .points = (int32_t)write->points,
                               .data = buf_str(&write->bytes),
                               .keys = keys_of(write),
                               .keys_max = (int64_t)write->store->conf.keys_max};
}

bool metric_write_done(struct metric_write *write, const struct pg_reply *reply, struct err *err) {
  return metric_write_done_at(write, reply, 0, err);
}

bool metric_write_done_at(struct metric_write *write, const struct pg_reply *reply, size_t row, struct err *err) {
  if (reply)
    return conclude(write, reply, row, err);
  metric_write_free(write);
  return err_set(err, ERR_CANCELLED, "the write was not tried");
}

static void on_sent(void *ctx UNUSED, struct pg_gather_item *item, const struct pg_reply *reply, size_t row, const struct err *failed) {
  struct metric_write *write = CONTAINER_OF(item, struct metric_write, item);
  struct metric_store *store = write->store;
  metric_done_fn *done = write->done;
  void *done_ctx = write->ctx;
  struct err err;
  bool ok = false;
  if (reply) {
    ok = conclude(write, reply, row, &err);
  } else {
    err = *failed;
    metric_write_free(write);
  }
  done(done_ctx, ok ? NULL : &err);
  metric_op_end(store);
}

bool metric_append(struct metric_store *store, struct id run, int32_t attempt, const struct metric_rows *rows, metric_done_fn *done,
                   void *ctx, struct err *err) {
  if (rows->points.n == 0)
    return err_set(err, ERR_INVALID, "there are no points to store");
  if (store->gather.waiting_bytes > store->conf.queue_bytes_max)
    return err_set(err, ERR_OVERLOADED, "%zu writes of metrics are waiting already", store->gather.queue.count);
  struct metric_write *write = metric_write_new(store, run, attempt, rows, err);
  if (!write)
    return false;
  write->done = done;
  write->ctx = ctx;
  metric_op_begin(store);
  write->item.rows = write->part_count;
  write->item.bytes = write->bytes.n + write->keys.n;
  pg_gather_add(&store->gather, &write->item);
  return true;
}
