#include "tracker/logs/found_write.h"

#include "base/mem.h"

static void put_event(const struct log_store_conf *parts, struct id run, struct pg_batch *batch) {
  struct pg_args *args = pg_batch_add(batch, STMT_RUN_METRICS_FULL);
  char text[160];
  snprintf(text, sizeof text, "a run may have at most %d metrics: points of others, in output and metric files, are left out",
           METRIC_KEYS_MAX);
  pg_put_uuid(args, run);
  pg_put_int(args, clock_wall_ms(loop_clock(parts->loop)));
  pg_put_text(args, str_of(text));
}

/* The rows have the points that were found, one by one. */
static bool leave_out(struct found_points *found, struct metric_rows *rows, const bool *stays, struct err *err) {
  size_t count = 0;
  for (size_t i = 0; i < found->count; i++)
    if (stays[rows->series[i]])
      found->items[count++] = found->items[i];
  found->count = count;
  metric_rows_release(rows);
  metric_rows_init(rows);
  return found_points_rows(found, 0, count, rows, err);
}

static bool make_rows(const struct log_store_conf *parts, struct id run, struct found_points *found, struct metric_rows *ret,
                      struct pg_batch *batch, struct err *err) {
  metric_rows_init(ret);
  if (!found_points_rows(found, 0, found->count, ret, err))
    return false;
  AUTO_FREE bool *stays = mem_array(ret->key_count, sizeof *stays);
  if (!stays)
    return err_no_memory(err);
  if (metric_fit(parts->metrics, run, ret, stays) > 0) {
    put_event(parts, run, batch);
    if (!leave_out(found, ret, stays, err))
      return false;
  }
  ret->fits = true;
  return true;
}

bool found_write_put(struct log_store *store, struct id run, int32_t attempt, struct found_points *found, struct found_write *ret,
                     struct pg_batch *batch, struct err *err) {
  const struct log_store_conf *parts = log_store_parts(store);
  if (!make_rows(parts, run, found, &ret->rows, batch, err))
    return false;
  if (!ret->rows.points.n)
    return true;
  ret->write = metric_write_new(parts->metrics, run, attempt, &ret->rows, err);
  if (!ret->write)
    return false;
  ret->at = batch->count;
  metric_write_put(ret->write, batch);
  return true;
}

bool found_write_done(struct found_write *found, const struct pg_reply *reply, struct err *err) {
  struct metric_write *write = found->write;
  bool ok = reply && pg_ok(reply, err);
  struct err why;
  found->write = NULL;
  if (!write || metric_write_done(write, ok ? pg_nth(reply, found->at) : reply, &why))
    return ok;
  if (ok)
    *err = why;
  return false;
}
