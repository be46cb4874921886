#include "storage/metrics/metric_inside.h"

enum { GROUP_ROWS = 1024, TIMEOUT_MS = 30000 };

struct metric_write *metric_write_new(struct metric_store *store, struct id run, int32_t attempt, const struct metric_rows *rows,
                                      struct err *err) {
  if (store->stopping) {
    err_set(err, ERR_UNAVAILABLE, "the service is stopping");
    return NULL;
  }
  struct buf keys = BUF_INIT(256 * MIB);
  if (metric_takes(store, run, rows, &keys, err))
    return metric_pack(store, run, attempt, rows, keys, err);
  buf_release(&keys);
  return NULL;
}

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
  struct live_run *run = metric_live_stored(store, write);
  if (run)
    metric_seal_consider(store, run);
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

bool metric_writes_init(struct metric_store *store, struct err *err) {
  struct pg_gather_conf conf = {.stmt = STMT_METRIC_TAIL_ADD,
                                .rows_max = GROUP_ROWS,
                                .bytes_max = 4 * MIB,
                                .enough = 24 * KIB,
                                .timeout_ms = TIMEOUT_MS,
                                .put = put_writes,
                                .done = on_sent};
  return pg_gather_init(&store->gather, store->loop, store->pg, &conf, err);
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
