#include "storage/metrics/metric_replace.h"

#include "storage/metrics/metric_inside.h"

enum { TRIES = 5, TIMEOUT_MS = 120000, TAIL_BYTES_MAX = 256 * 1024 * 1024 };

/* A row of the tail to be written. */
struct new_row {
  int32_t attempt, points;
  size_t at, n;
};

struct replace {
  struct work work;
  struct loop_defer instead;
  struct metric_store *store;
  struct metric_replacement what;
  struct metric_load *load;
  unsigned tries, turn; /* `turn` of the mark */
  struct map keys;      /* of the run, when it is done; borrowed */
  struct buf bytes;
  struct new_row *rows;
  size_t row_count, row_cap;
  struct pg_batch batch; /* made on the thread: what it copies may be large */
  struct err err;
  metric_done_fn *done;
  void *ctx;
};

static bool begin(struct replace *r, struct err *err);

static void end(struct replace *r, const struct err *err) {
  struct metric_store *store = r->store;
  metric_mark_end(store, r->turn);
  map_release(&r->keys);
  metric_load_free(r->load);
  buf_release(&r->bytes);
  pg_batch_release(&r->batch);
  mem_free(r->rows);
  r->done(r->ctx, err);
  mem_free(r);
  metric_op_end(store);
}

static void fail_or_retry(struct replace *r, const struct err *why) {
  struct err err = *why;
  if (err.code == ERR_CONFLICT && ++r->tries < TRIES && begin(r, &err))
    return;
  end(r, &err);
}

/* ---- storing ---- */

static bool is_touched(const struct replace *r, const struct stored_series *series) {
  return r->what.touches(r->what.ctx, series->key);
}

static void on_stored(void *ctx, const struct pg_reply *reply) {
  struct replace *r = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    /* What did not happen has changed nothing. To derive the run anew now would be to read what the next try removes, and to write it
     * after that. */
    if (pg_outcome(reply) == PG_UNKNOWN)
      metric_live_unknown(r->store, r->what.run);
    if (strcmp(pg_sqlstate(reply), "WN420") == 0)
      err.code = ERR_CONFLICT; /* sealed meanwhile */
    else if (strcmp(pg_sqlstate(reply), "WN421") == 0)
      err.code = ERR_PRECONDITION;
    fail_or_retry(r, &err);
    return;
  }
  struct live_run *run = live_run_get(r->store, r->what.run);
  if (run) {
    size_t points = 0;
    run->is_replaced = true;
    for (size_t i = 0; i < r->row_count; i++)
      points += (size_t)r->rows[i].points;
    run->last_write_ms = loop_now_ms(r->store->loop);
    if (run->fresh_rows == 0)
      run->first_fresh_ms = run->last_write_ms;
    run->fresh_rows += r->row_count; /* besides what came meanwhile; what was taken is counted until the run is sealed */
    run->fresh_points += points;
    r->store->stats.unsealed_points += points;
    live_run_queue(r->store, run);
  }
  metric_live_behind(r->store, r->what.run);
  end(r, NULL);
}

static void store_all(struct replace *r) {
  struct err err;
  pg_put_uuid(pg_batch_add(&r->batch, STMT_METRIC_RUN_RESET), r->what.run);
  if (r->what.also)
    r->what.also(r->what.ctx, &r->batch);
  if (!metric_run_batch(r->store, &r->batch, TIMEOUT_MS, on_stored, r, &err))
    end(r, &err);
}

/* ---- what stays, and what comes in (on a thread) ---- */

static void put_taken(struct replace *r) {
  struct pg_args *args = pg_batch_add(&r->batch, STMT_METRIC_TAIL_TAKE);
  const struct metric_load *load = r->load;
  pg_put_uuid(args, r->what.run);
  pg_begin_array(args);
  for (size_t i = 0; i < load->row_count; i++)
    pg_put_int(args, load->rows[i].id);
  pg_end_array(args);
  args = pg_batch_add(&r->batch, STMT_METRIC_CHUNK_TAKE);
  pg_put_uuid(args, r->what.run);
  for (int column = 0; column < 2; column++) {
    pg_begin_array(args);
    for (size_t i = 0; i < load->series_count; i++)
      for (size_t k = 0; k < load->series[i].chunk_count && is_touched(r, &load->series[i]); k++)
        pg_put_int(args, column ? load->series[i].chunks[k].id : load->series[i].key_id);
    pg_end_array(args);
  }
}

static void put_rows(struct replace *r) {
  struct pg_args *args = pg_batch_add(&r->batch, STMT_METRIC_TAIL_PUT);
  pg_put_uuid(args, r->what.run);
  pg_begin_array(args);
  for (size_t i = 0; i < r->row_count; i++)
    pg_put_int(args, r->rows[i].attempt);
  pg_end_array(args);
  pg_begin_array(args);
  for (size_t i = 0; i < r->row_count; i++)
    pg_put_int(args, r->rows[i].points);
  pg_end_array(args);
  pg_begin_array(args);
  for (size_t i = 0; i < r->row_count; i++)
    pg_put_bytea(args, str_n(r->bytes.p + r->rows[i].at, r->rows[i].n));
  pg_end_array(args);
}

static bool add_row(struct replace *r, int32_t attempt, size_t points, size_t at) {
  if (r->row_count == r->row_cap) {
    size_t cap = r->row_cap ? r->row_cap * 2 : 16;
    struct new_row *rows = mem_resize(r->rows, cap, sizeof *rows);
    if (!rows)
      return false;
    r->rows = rows;
    r->row_cap = cap;
  }
  r->rows[r->row_count++] = (struct new_row){attempt, (int32_t)points, at, r->bytes.n - at};
  return !r->bytes.fail;
}

/* A key that the run will have. */
static bool count_key(struct replace *r, struct str key) {
  return map_get(&r->keys, key) || map_put(&r->keys, key, r, NULL);
}

static bool put_points(struct replace *r, struct str key, int32_t attempt, const struct points *points) {
  if (points->n && !count_key(r, key))
    return false;
  for (size_t from = 0; from < points->n; from += METRIC_BATCH_POINTS) {
    size_t n = MIN_OF(points->n - from, (size_t)METRIC_BATCH_POINTS), at = r->bytes.n;
    const struct series_points one = {key, points_slice(points, from, n)};
    batch_put(r->load->coder, &one, 1, &r->bytes);
    if (!add_row(r, attempt, n, at))
      return false;
  }
  return true;
}

static bool keep_part(struct replace *r, const struct stored_series *series, const struct series_part *part) {
  AUTO_POINTS struct points all = {0}, kept = {0};
  if (!part_points(part, r->load->coder, part->chunk ? metric_load_piece(r->load, part->chunk, PIECE_POINTS) : STR_NONE, &all, &r->err))
    return false;
  for (size_t i = 0; i < all.n; i++)
    if (r->what.stays(r->what.ctx, series->key, part->attempt, points_at(&all, i)) && !points_add(&kept, points_at(&all, i)))
      return err_no_memory(&r->err);
  return put_points(r, series->key, part->attempt, &kept) || err_no_memory(&r->err);
}

/* Chunks of other series stay where they are; what of them is in the tail is written again. */
static bool keep_tail(struct replace *r, const struct stored_series *series, const struct series_part *part) {
  if (!count_key(r, series->key))
    return err_no_memory(&r->err);
  if (part->from == part->to)
    return true;
  const struct points slice = points_slice(part->tail, part->from, part->to - part->from);
  return put_points(r, series->key, part->attempt, &slice) || err_no_memory(&r->err);
}

static bool bring_in(struct replace *r, const struct metric_rows *rows, int32_t attempt) {
  for (size_t i = 0; i < rows->key_count; i++)
    if (!count_key(r, rows->keys[i]))
      return err_no_memory(&r->err);
  for (size_t from = 0; from < rows->points.n; from += METRIC_BATCH_POINTS) {
    size_t n = MIN_OF(rows->points.n - from, (size_t)METRIC_BATCH_POINTS), at = r->bytes.n;
    metric_rows_put(rows, from, n, r->load->coder, &r->bytes);
    if (!add_row(r, attempt, n, at))
      return err_no_memory(&r->err);
  }
  return true;
}

static void run_replace(struct work *work) {
  struct replace *r = CONTAINER_OF(work, struct replace, work);
  bool ok = true;
  for (size_t i = 0; ok && i < r->load->series_count; i++) {
    const struct stored_series *series = &r->load->series[i];
    bool touched = is_touched(r, series);
    for (size_t k = 0; ok && k < series->view.count; k++)
      ok = touched ? keep_part(r, series, &series->view.parts[k]) : keep_tail(r, series, &series->view.parts[k]);
  }
  for (size_t i = 0; ok && i < r->what.row_count; i++)
    ok = bring_in(r, r->what.rows[i], r->what.attempts[i]);
  if (ok && r->keys.count > MAX_OF(r->store->conf.keys_max, r->load->series_count))
    ok = metric_too_many(r->store, r->what.run, &r->err);
  if (!ok)
    return;
  put_taken(r);
  if (r->row_count)
    put_rows(r);
  buf_release(&r->bytes);
}

static void on_replaced(struct work *work, bool cancelled) {
  struct replace *r = CONTAINER_OF(work, struct replace, work);
  struct metric_store *store = r->store;
  if (cancelled)
    err_set(&r->err, ERR_CANCELLED, "the service is stopping");
  if (r->err.code)
    end(r, &r->err);
  else
    store_all(r);
  metric_op_end(store);
}

/* ---- reading what is there ---- */

static void on_pieces(void *ctx, struct metric_load *load UNUSED, const struct err *err) {
  struct replace *r = ctx;
  if (err) {
    fail_or_retry(r, err);
    return;
  }
  r->work = (struct work){.run = run_replace, .done = on_replaced};
  metric_compute(r->store, &r->work, &r->instead);
}

static void on_loaded(void *ctx, struct metric_load *load, const struct err *failed) {
  struct replace *r = ctx;
  struct err err;
  bool ok = !failed;
  size_t points = 0;
  if (failed)
    err = *failed;
  if (ok && load->is_cut)
    ok = err_set(&err, ERR_TOO_LARGE, "the run has too many points for this");
  for (size_t i = 0; ok && i < load->series_count; i++)
    for (size_t k = 0; ok && k < load->series[i].chunk_count && is_touched(r, &load->series[i]); k++) {
      points += (size_t)load->series[i].chunks[k].fold.count;
      ok = points <= METRIC_REPLACE_POINTS_MAX || err_set(&err, ERR_TOO_LARGE, "the run has too many points for this");
      ok = ok && (metric_load_want(load, &load->series[i], &load->series[i].chunks[k], PIECE_POINTS) || err_no_memory(&err));
    }
  if (!ok || !metric_load_fetch(load, on_pieces, r, &err))
    fail_or_retry(r, &err);
}

static bool begin(struct replace *r, struct err *err) {
  map_release(&r->keys);
  map_init(&r->keys, SIZE_MAX / 2);
  metric_load_free(r->load);
  r->row_count = 0;
  r->err.code = ERR_NONE;
  r->load = metric_load_new(r->store, &r->what.run, 1, NULL, 0, EACH_ATTEMPT);
  if (!r->load)
    return err_no_memory(err);
  r->load->is_strict = true;
  r->load->points_max = METRIC_REPLACE_POINTS_MAX;
  return metric_load_run(r->load, on_loaded, r, err);
}

/* First run.metrics catches up, so that nothing older is on its way there when it is reset. */
static void on_settled(void *ctx, const struct err *failed) {
  struct replace *r = ctx;
  struct err err;
  if (failed || !begin(r, &err))
    end(r, failed ? failed : &err);
}

bool metric_replace(struct metric_store *store, const struct metric_replacement *what, metric_done_fn *done, void *ctx, struct err *err) {
  struct replace *r = mem_zalloc(sizeof *r);
  if (!r)
    return err_no_memory(err);
  *r = (struct replace){.store = store, .what = *what, .bytes = BUF_INIT(TAIL_BYTES_MAX), .done = done, .ctx = ctx};
  if (metric_settle(store, &what->run, on_settled, r, err)) {
    r->turn = metric_mark_begin(store);
    metric_op_begin(store);
    return true;
  }
  mem_free(r);
  return false;
}
