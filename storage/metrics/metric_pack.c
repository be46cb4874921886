#include "storage/metrics/metric_inside.h"

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

static bool put_parts(struct metric_write *write, const struct metric_rows *rows) {
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

struct metric_write *metric_pack(struct metric_store *store, struct id run, int32_t attempt, const struct metric_rows *rows,
                                 struct buf keys, struct err *err) {
  struct metric_write *write = mem_zalloc(sizeof *write);
  if (!write) {
    buf_release(&keys);
    err_no_memory(err);
    return NULL;
  }
  write->store = store;
  write->turn = metric_mark_begin(store);
  write->run = run;
  write->attempt = attempt;
  write->points = (int64_t)rows->points.n;
  write->bytes = BUF_INIT(256 * MIB);
  write->keys = keys;
  if (put_parts(write, rows) && sum_up(write, rows))
    return write;
  metric_write_free(write);
  err_no_memory(err);
  return NULL;
}
