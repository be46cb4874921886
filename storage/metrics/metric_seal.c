#include "base/log.h"
#include "storage/metrics/metric_inside.h"

enum {
  SEALS_MAX = 2,
  LEAVE_MAX = 256,      /* runs whose only batch is left as it is, at a time */
  SEAL_POINTS = 262144, /* at a time */
  SERIES_MIN = 256,     /* fewer points make no chunk of their own, */
  REST_MAX = 65536,     /* as long as no more than this stay out of chunks */
  RETRY_MS = 5000,
  TIMEOUT_MS = 60000,
};

/* What becomes chunks together: a chunk with the unsealed points inside it, and unsealed points that follow it. */
struct unit {
  const struct stored_series *series;
  const struct series_part *chunk; /* NULL: none */
  const struct series_part *loose; /* NULL: none */
  bool is_damaged;                 /* its chunk cannot be read: stays as it is, and the points in the tail */
  bool is_unchanged;               /* everything in the tail was in the chunk already */
};

struct sealed_chunk {
  int32_t key_id;
  const struct stored_series *series;
  struct chunk_info info;
  struct {
    size_t at, n;
  } pieces[5]; /* by enum piece_kind; n 0: none */
};

struct seal {
  struct work work;
  struct loop_defer instead;
  struct metric_store *store;
  struct id run;
  struct metric_load *load;
  size_t fresh_rows, fresh_points; /* that were known of when it began */
  int64_t begun_ms;
  struct unit *units;
  size_t unit_count;
  struct series_part const **rest; /* parts that stay in the tail */
  const struct stored_series **rest_series;
  size_t rest_count;

  struct sealed_chunk *chunks;
  size_t chunk_count, chunk_cap;
  struct buf bytes;
  struct buf settled;
  struct settled_row {
    int32_t attempt, points;
    size_t at, n;
  } * settled_rows;
  size_t settled_count;
  struct err err;
};

/* All that was known of when it began has been sealed, or was counted twice and never there; unless there was too much for one time. */
static void subtract_sealed(const struct seal *seal, struct live_run *run) {
  size_t rows = seal->fresh_rows, points = seal->fresh_points;
  if (seal->load->is_cut) {
    rows = points = 0;
    for (size_t i = 0; i < seal->load->row_count; i++)
      if (seal->load->rows[i].fresh) {
        rows++;
        points += (size_t)seal->load->rows[i].points;
      }
    rows = MIN_OF(rows, run->fresh_rows - 1); /* there are more, whatever was counted */
  }
  points = MIN_OF(points, run->fresh_points);
  run->fresh_rows -= MIN_OF(rows, run->fresh_rows);
  run->fresh_points -= points;
  seal->store->stats.unsealed_points -= MIN_OF(points, seal->store->stats.unsealed_points);
}

static void seal_ended(struct seal *seal, const struct err *failed) {
  struct metric_store *store = seal->store;
  struct err copy, *err = NULL; /* it may lie in the seal */
  if (failed) {
    copy = *failed;
    err = &copy;
  }
  struct live_run *run = live_run_find(store, seal->run);
  store->seals--;
  if (run) {
    run->is_sealing = false;
    run->is_damaged = err && err->code == ERR_IO;
    if (!err)
      subtract_sealed(seal, run);
    if (!err && !seal->load->is_cut)
      run->first_fresh_ms = seal->begun_ms;
    run->retry_ms = err ? loop_now_ms(store->loop) + RETRY_MS : 0;
    if (run->fresh_rows) {
      live_run_queue(store, run);
      metric_seal_consider(store, run);
    }
    live_run_rested(store, run);
  }
  if (err) {
    char id[ID_HEX_LEN + 1];
    id_format(seal->run, id);
    log_warn("storage", NULL, "the points of the run %s cannot be sealed now: %s", id, err->text);
  } else {
    store->stats.seals++;
    store->stats.chunks += seal->chunk_count;
  }
  metric_load_free(seal->load);
  mem_free(seal->units);
  mem_free(seal->rest);
  mem_free(seal->rest_series);
  mem_free(seal->chunks);
  mem_free(seal->settled_rows);
  buf_release(&seal->bytes);
  buf_release(&seal->settled);
  mem_free(seal);
  metric_seal_progress(store, err);
  metric_op_end(store);
}

/* ---- storing what was made ---- */

static void on_stored(void *ctx, const struct pg_reply *reply) {
  struct err err;
  seal_ended(ctx, pg_ok(reply, &err) ? NULL : &err);
}

static bool is_replaced(const struct unit *unit) {
  return unit->chunk && !unit->is_damaged && !unit->is_unchanged;
}

static void put_taken(struct seal *seal, struct pg_batch *batch) {
  struct pg_args *args = pg_batch_add(batch, STMT_METRIC_TAIL_TAKE);
  pg_put_uuid(args, seal->run);
  pg_begin_array(args);
  for (size_t i = 0; i < seal->load->row_count; i++)
    pg_put_int(args, seal->load->rows[i].id);
  pg_end_array(args);
  args = pg_batch_add(batch, STMT_METRIC_CHUNK_TAKE);
  pg_put_uuid(args, seal->run);
  pg_begin_array(args);
  for (size_t i = 0; i < seal->unit_count; i++)
    if (is_replaced(&seal->units[i]))
      pg_put_int(args, seal->units[i].series->key_id);
  pg_end_array(args);
  pg_begin_array(args);
  for (size_t i = 0; i < seal->unit_count; i++)
    if (is_replaced(&seal->units[i]))
      pg_put_int(args, seal->units[i].chunk->chunk->id);
  pg_end_array(args);
}

/* The columns of metric_chunk that are whole numbers, in their order. */
static int64_t whole_column(const struct sealed_chunk *chunk, size_t column) {
  const struct fold *fold = &chunk->info.fold;
  const int64_t columns[] = {chunk->key_id,        chunk->info.attempt,   fold->count,     fold->nans,
                             fold->first.step,     fold->first.time,      fold->last.step, fold->last.time,
                             chunk->info.low_time, chunk->info.high_time, fold->min_step,  fold->max_step};
  return columns[column];
}

static double double_column(const struct sealed_chunk *chunk, size_t column) {
  const struct fold *fold = &chunk->info.fold;
  const double columns[] = {fold->first.value, fold->last.value, fold->min, fold->max};
  return columns[column];
}

static void put_chunks(struct seal *seal, struct pg_batch *batch) {
  static const enum piece_kind pieces[] = {PIECE_STEP_COARSE, PIECE_TIME_COARSE, PIECE_STEP_FINE, PIECE_TIME_FINE, PIECE_POINTS};
  struct pg_args *args = pg_batch_add(batch, STMT_METRIC_CHUNK_ADD);
  pg_put_uuid(args, seal->run);
  for (size_t column = 0; column < 12; column++) {
    pg_begin_array(args);
    for (size_t i = 0; i < seal->chunk_count; i++)
      pg_put_int(args, whole_column(&seal->chunks[i], column));
    pg_end_array(args);
  }
  for (size_t column = 0; column < 4; column++) {
    pg_begin_array(args);
    for (size_t i = 0; i < seal->chunk_count; i++)
      pg_put_float8(args, double_column(&seal->chunks[i], column));
    pg_end_array(args);
  }
  for (size_t p = 0; p < ARRAY_LEN(pieces); p++) {
    pg_begin_array(args);
    for (size_t i = 0; i < seal->chunk_count; i++) {
      size_t at = seal->chunks[i].pieces[pieces[p]].at, n = seal->chunks[i].pieces[pieces[p]].n;
      pg_put_bytea(args, n ? str_n(seal->bytes.p + at, n) : STR_NONE);
    }
    pg_end_array(args);
  }
}

static void put_settled(struct seal *seal, struct pg_batch *batch) {
  for (size_t i = 0; i < seal->settled_count; i++) {
    struct pg_args *args = pg_batch_add(batch, STMT_METRIC_TAIL_SETTLE);
    pg_put_uuid(args, seal->run);
    pg_put_int(args, seal->settled_rows[i].attempt);
    pg_put_int(args, seal->settled_rows[i].points);
    pg_put_bytea(args, str_n(seal->settled.p + seal->settled_rows[i].at, seal->settled_rows[i].n));
  }
}

static void store_chunks(struct seal *seal) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct err err;
  put_taken(seal, &batch);
  if (seal->chunk_count)
    put_chunks(seal, &batch);
  put_settled(seal, &batch);
  if (!metric_run_batch(seal->store, &batch, TIMEOUT_MS, on_stored, seal, &err))
    seal_ended(seal, &err);
}

/* The chunks are sorted by key: the first that has this one, or would stand behind it. */
static size_t find_key(const struct seal *seal, struct str key) {
  size_t low = 0, high = seal->chunk_count;
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    if (str_cmp(seal->chunks[mid].series->key, key) < 0)
      low = mid + 1;
    else
      high = mid;
  }
  return low;
}

static void on_keys(void *ctx, const struct pg_reply *reply) {
  struct seal *seal = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    seal_ended(seal, &err);
    return;
  }
  for (size_t i = 0; i < pg_rows(reply); i++) {
    struct str name = pg_text(reply, i, 0);
    for (size_t c = find_key(seal, name); c < seal->chunk_count && str_eq(seal->chunks[c].series->key, name); c++)
      seal->chunks[c].key_id = (int32_t)pg_int(reply, i, 1);
  }
  for (size_t c = 0; c < seal->chunk_count; c++)
    if (!seal->chunks[c].key_id) {
      err_set(&err, ERR_INTERNAL, "a metric key has no number");
      seal_ended(seal, &err);
      return;
    }
  store_chunks(seal);
}

/* Keys that have no chunk yet have no number. Series are sorted by key, so equal ones are neighbours. */
static void intern_keys(struct seal *seal) {
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  size_t count = 0;
  struct str last = STR_NONE;
  pg_args_init(&args, STMT_METRIC_KEY_INTERN);
  pg_begin_array(&args);
  for (size_t c = 0; c < seal->chunk_count; c++) {
    struct str key = seal->chunks[c].series->key;
    seal->chunks[c].key_id = seal->chunks[c].series->key_id;
    if (seal->chunks[c].key_id || (count && str_eq(key, last)))
      continue;
    pg_put_text(&args, key);
    last = key;
    count++;
  }
  pg_end_array(&args);
  if (!count)
    store_chunks(seal);
  else if (!metric_run(seal->store, &args, TIMEOUT_MS, on_keys, seal, &err))
    seal_ended(seal, &err);
}

/* ---- making chunks (on a thread) ---- */

static void put_cells(struct seal *seal, struct column_coder *coder, const struct points *points, enum axis axis, size_t max,
                      struct sealed_chunk *chunk, enum piece_kind kind) {
  struct cells cells;
  cells_build(points, axis, max, &cells);
  chunk->pieces[kind].at = seal->bytes.n;
  cells_put(coder, &cells, &seal->bytes);
  chunk->pieces[kind].n = seal->bytes.n - chunk->pieces[kind].at;
}

static bool add_chunk(struct seal *seal, struct column_coder *coder, const struct unit *unit, int32_t attempt,
                      const struct points *points) {
  if (seal->chunk_count == seal->chunk_cap) {
    size_t cap = seal->chunk_cap ? seal->chunk_cap * 2 : 16;
    struct sealed_chunk *chunks = mem_resize(seal->chunks, cap, sizeof *chunks);
    if (!chunks)
      return false;
    seal->chunks = chunks;
    seal->chunk_cap = cap;
  }
  struct sealed_chunk *chunk = &seal->chunks[seal->chunk_count++];
  *chunk = (struct sealed_chunk){.series = unit->series};
  chunk_info_make(points, attempt, &chunk->info);
  chunk->pieces[PIECE_POINTS].at = seal->bytes.n;
  chunk_put(coder, points, &seal->bytes);
  chunk->pieces[PIECE_POINTS].n = seal->bytes.n - chunk->pieces[PIECE_POINTS].at;
  if (points->n >= CELLS_FROM) {
    put_cells(seal, coder, points, AXIS_STEP, CELLS_COARSE, chunk, PIECE_STEP_COARSE);
    put_cells(seal, coder, points, AXIS_TIME, CELLS_COARSE, chunk, PIECE_TIME_COARSE);
    put_cells(seal, coder, points, AXIS_STEP, CELLS_MAX, chunk, PIECE_STEP_FINE);
    put_cells(seal, coder, points, AXIS_TIME, CELLS_MAX, chunk, PIECE_TIME_FINE);
  }
  return !seal->bytes.fail;
}

static bool seal_unit(struct seal *seal, struct column_coder *coder, struct unit *unit) {
  AUTO_POINTS struct points points = {0};
  struct err err;
  if (unit->chunk && !part_points(unit->chunk, coder, metric_load_piece(seal->load, unit->chunk->chunk, PIECE_POINTS), &points, &err)) {
    unit->is_damaged = err.code == ERR_IO;
    return unit->is_damaged;
  }
  if (unit->loose && !part_points(unit->loose, coder, STR_NONE, &points, &err))
    return false;
  if (unit->chunk && points.n == (size_t)unit->chunk->chunk->fold.count) {
    unit->is_unchanged = true;
    return true;
  }
  int32_t attempt = unit->chunk ? unit->chunk->attempt : unit->loose->attempt;
  for (size_t from = 0; from < points.n; from += CHUNK_POINTS) {
    size_t n = MIN_OF(points.n - from, (size_t)CHUNK_POINTS);
    const struct points slice = points_slice(&points, from, n);
    if (!add_chunk(seal, coder, unit, attempt, &slice))
      return false;
  }
  return true;
}

/* Collects what stays in the tail, attempt by attempt. */
struct settling {
  struct seal *seal;
  struct series_points *series;
  size_t count;
  int64_t points;
  int32_t attempt;
};

static void settle_part(struct settling *to, const struct stored_series *series, const struct series_part *part) {
  if (!part || part->attempt != to->attempt || part->from == part->to)
    return;
  to->series[to->count++] = (struct series_points){series->key, points_slice(part->tail, part->from, part->to - part->from)};
  to->points += (int64_t)(part->to - part->from);
}

static bool settle_attempt(struct seal *seal, struct column_coder *coder, int32_t attempt) {
  struct settling to = {.seal = seal, .attempt = attempt};
  to.series = mem_array(seal->rest_count + 2 * seal->unit_count, sizeof *to.series);
  if (!to.series)
    return false;
  for (size_t i = 0; i < seal->rest_count; i++)
    settle_part(&to, seal->rest_series[i], seal->rest[i]);
  for (size_t i = 0; i < seal->unit_count; i++)
    if (seal->units[i].is_damaged) {
      settle_part(&to, seal->units[i].series, seal->units[i].chunk);
      settle_part(&to, seal->units[i].series, seal->units[i].loose);
    }
  if (to.count) {
    struct settled_row row = {attempt, (int32_t)to.points, seal->settled.n, 0};
    batch_put(coder, to.series, to.count, &seal->settled);
    row.n = seal->settled.n - row.at;
    seal->settled_rows[seal->settled_count++] = row;
  }
  mem_free(to.series);
  return !seal->settled.fail;
}

static bool settle_rest(struct seal *seal, struct column_coder *coder) {
  /* At most an attempt for each row of the tail. */
  seal->settled_rows = mem_array(seal->load->row_count, sizeof *seal->settled_rows);
  if (!seal->settled_rows)
    return false;
  for (size_t i = 0; i < seal->load->row_count; i++) {
    int32_t attempt = seal->load->rows[i].attempt;
    bool is_new = true;
    for (size_t k = 0; k < i && is_new; k++)
      is_new = seal->load->rows[k].attempt != attempt;
    if (is_new && !settle_attempt(seal, coder, attempt))
      return false;
  }
  return true;
}

static void run_seal(struct work *work) {
  struct seal *seal = CONTAINER_OF(work, struct seal, work);
  struct column_coder *coder = seal->load->coder;
  bool ok = true;
  for (size_t i = 0; ok && i < seal->unit_count; i++)
    ok = seal_unit(seal, coder, &seal->units[i]);
  if (!ok || !settle_rest(seal, coder))
    err_no_memory(&seal->err);
}

static void on_settled(void *ctx, const struct err *err) {
  if (err)
    seal_ended(ctx, err);
  else
    intern_keys(ctx);
}

static void on_sealed(struct work *work, bool cancelled) {
  struct seal *seal = CONTAINER_OF(work, struct seal, work);
  struct metric_store *store = seal->store;
  if (cancelled)
    err_set(&seal->err, ERR_CANCELLED, "the service is stopping");
  /* Rows that are not sealed tell the next process which runs run.metrics may be behind on: so first it catches up. */
  if (seal->err.code || !metric_settle(store, &seal->run, on_settled, seal, &seal->err))
    seal_ended(seal, &seal->err);
  metric_op_end(store);
}

/* ---- deciding what is sealed ---- */

static bool is_partial(const struct series_part *part, int32_t attempt) {
  return part && part->chunk && part->attempt == attempt && part->chunk->fold.count < CHUNK_POINTS;
}

/* With `min` points and more a series gets a chunk of its own. Returns how many points stay in the tail. */
static size_t plan_series(struct seal *seal, const struct stored_series *series, size_t min) {
  size_t rest = 0;
  const struct series_view *view = &series->view;
  for (size_t i = 0; i < view->count; i++) {
    const struct series_part *part = &view->parts[i], *next = i + 1 < view->count ? &view->parts[i + 1] : NULL;
    size_t own = part->to - part->from;
    if (!part->chunk) { /* not taken along by the chunk before it */
      if (own >= min) {
        seal->units[seal->unit_count++] = (struct unit){.series = series, .loose = part};
      } else {
        seal->rest[seal->rest_count] = part;
        seal->rest_series[seal->rest_count++] = series;
        rest += own;
      }
      continue;
    }
    /* A chunk that is not full takes along what follows it, if that is worth writing it again. */
    size_t follows = next && !next->chunk && next->attempt == part->attempt ? next->to - next->from : 0;
    bool along = follows && is_partial(part, next->attempt) && (own || follows >= min || follows * 4 >= (size_t)part->chunk->fold.count);
    if (!own && !along)
      continue;
    seal->units[seal->unit_count++] = (struct unit){.series = series, .chunk = part, .loose = along ? next : NULL};
    i += along;
  }
  return rest;
}

static bool plan(struct seal *seal, struct err *err) {
  size_t parts = 0;
  for (size_t i = 0; i < seal->load->series_count; i++)
    parts += seal->load->series[i].view.count;
  seal->units = mem_array(parts, sizeof *seal->units);
  seal->rest = mem_array(parts, sizeof(struct series_part *));
  seal->rest_series = mem_array(parts, sizeof(struct stored_series *));
  if (!seal->units || !seal->rest || !seal->rest_series)
    return err_no_memory(err);
  for (size_t min = SERIES_MIN; min > 0; min /= 16) {
    size_t rest = 0;
    seal->unit_count = seal->rest_count = 0;
    for (size_t i = 0; i < seal->load->series_count; i++)
      rest += plan_series(seal, &seal->load->series[i], min);
    if (rest <= REST_MAX)
      break;
  }
  for (size_t i = 0; i < seal->unit_count; i++)
    if (seal->units[i].chunk && !metric_load_want(seal->load, seal->units[i].series, seal->units[i].chunk->chunk, PIECE_POINTS))
      return err_no_memory(err);
  return true;
}

static void on_pieces(void *ctx, struct metric_load *load UNUSED, const struct err *err) {
  struct seal *seal = ctx;
  if (err) {
    seal_ended(seal, err);
    return;
  }
  seal->work = (struct work){.run = run_seal, .done = on_sealed};
  metric_compute(seal->store, &seal->work, &seal->instead);
}

static void on_loaded(void *ctx, struct metric_load *load, const struct err *failed) {
  struct seal *seal = ctx;
  struct err err;
  if (failed)
    seal_ended(seal, failed);
  else if (load->row_count == 0)
    seal_ended(seal, NULL);
  else if (!plan(seal, &err) || !metric_load_fetch(load, on_pieces, seal, &err))
    seal_ended(seal, &err);
}

static bool start_seal(struct metric_store *store, struct live_run *run, struct err *err) {
  struct seal *seal = mem_zalloc(sizeof *seal);
  if (!seal)
    return err_no_memory(err);
  seal->store = store;
  seal->run = run->id;
  seal->bytes = BUF_INIT(256 * MIB);
  seal->settled = BUF_INIT(256 * MIB);
  seal->load = metric_load_new(store, &run->id, 1, NULL, 0, EACH_ATTEMPT);
  if (!seal->load) {
    mem_free(seal);
    return err_no_memory(err);
  }
  seal->load->points_max = SEAL_POINTS;
  seal->load->is_strict = true;
  if (!metric_load_tail(seal->load, on_loaded, seal, err)) {
    metric_load_free(seal->load);
    mem_free(seal);
    return false;
  }
  run->is_sealing = true;
  list_remove(&run->unsealed_node);
  seal->fresh_rows = run->fresh_rows;
  seal->fresh_points = run->fresh_points;
  seal->begun_ms = loop_now_ms(store->loop);
  store->seals++;
  metric_op_begin(store);
  return true;
}

/* ---- when ---- */

static bool is_due(const struct metric_store *store, const struct live_run *run, int64_t now) {
  const struct metric_store_conf *conf = &store->conf;
  if (run->fresh_rows == 0 || run->is_sealing || (now < run->retry_ms && !store->seal_waiters.first))
    return false;
  return store->seal_waiters.first || run->fresh_points >= conf->seal_points || run->fresh_rows >= conf->seal_rows ||
         now - run->last_write_ms >= conf->seal_idle_ms || now - run->first_fresh_ms >= conf->seal_age_ms;
}

/* ---- runs of one batch ---- */

/* Most runs of a sweep report a few values, in one or two writes. One batch alone is as good as what sealing would make of it, so it stays
 * as it is; whether it is alone is asked for many runs in one statement. */
struct leaving {
  struct metric_store *store;
  struct {
    struct id id;
    size_t points;
  } runs[LEAVE_MAX];
  size_t count;
};

static bool may_leave(const struct metric_store *store, const struct live_run *run, int64_t now) {
  return run->fresh_rows == 1 && run->fresh_points < SERIES_MIN && !run->is_mixed && !run->is_dirty && !run->is_writing &&
         !run->is_loading && is_due(store, run, now);
}

static bool is_left(const struct pg_reply *reply, struct id run) {
  for (size_t i = 0; i < pg_rows(reply); i++)
    if (id_eq(pg_uuid(reply, i, 0), run))
      return true;
  return false;
}

static void run_left(struct metric_store *store, struct live_run *run, size_t points) {
  points = MIN_OF(points, run->fresh_points);
  run->fresh_rows -= run->fresh_rows > 0;
  run->fresh_points -= points;
  store->stats.unsealed_points -= MIN_OF(points, store->stats.unsealed_points);
}

static void on_left(void *ctx, const struct pg_reply *reply) {
  struct leaving *leaving = ctx;
  struct metric_store *store = leaving->store;
  struct err err;
  bool ok = pg_ok(reply, &err);
  store->seals--;
  for (size_t i = 0; i < leaving->count; i++) {
    struct live_run *run = live_run_find(store, leaving->runs[i].id);
    if (!run)
      continue;
    run->is_sealing = false;
    run->is_mixed = !ok || !is_left(reply, run->id);
    if (!run->is_mixed)
      run_left(store, run, leaving->runs[i].points);
    if (run->fresh_rows)
      list_push_front(&store->unsealed, &run->unsealed_node);
    live_run_rested(store, run);
  }
  mem_free(leaving);
  metric_seal_progress(store, ok ? NULL : &err);
  metric_op_end(store);
}

static bool start_leaving(struct metric_store *store, struct leaving *leaving, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_METRIC_TAIL_ALONE);
  pg_begin_array(&args);
  for (size_t i = 0; i < leaving->count; i++)
    pg_put_uuid(&args, leaving->runs[i].id);
  pg_end_array(&args);
  return metric_run(store, &args, TIMEOUT_MS, on_left, leaving, err);
}

/* Among the runs that have waited longest. */
static void leave_alone(struct metric_store *store, int64_t now) {
  struct leaving *leaving = store->stopping || store->seals >= SEALS_MAX ? NULL : mem_zalloc(sizeof *leaving);
  struct live_run *left[LEAVE_MAX];
  struct err err;
  size_t seen = 0;
  if (!leaving)
    return;
  leaving->store = store;
  LIST_EACH(&store->unsealed, node) {
    struct live_run *run = LIST_ENTRY(node, struct live_run, unsealed_node);
    if (leaving->count == LEAVE_MAX || seen++ == 2 * LEAVE_MAX)
      break;
    if (!may_leave(store, run, now))
      continue;
    left[leaving->count] = run;
    leaving->runs[leaving->count].id = run->id;
    leaving->runs[leaving->count++].points = run->fresh_points;
  }
  size_t count = leaving->count;
  if (!count || !start_leaving(store, leaving, &err)) { /* then they are sealed */
    mem_free(leaving);
    return;
  }
  for (size_t i = 0; i < count; i++) {
    left[i]->is_sealing = true;
    list_remove(&left[i]->unsealed_node);
  }
  store->seals++;
  metric_op_begin(store);
}

void metric_seal_consider(struct metric_store *store, struct live_run *run) {
  struct err err;
  if (store->stopping || store->seals >= SEALS_MAX || !is_due(store, run, loop_now_ms(store->loop)))
    return;
  if (!start_seal(store, run, &err))
    run->retry_ms = loop_now_ms(store->loop) + RETRY_MS;
}

/* Those that were written less than the idle time ago are taken care of with their next write, or later. */
void metric_seal_tick(struct metric_store *store) {
  int64_t now = loop_now_ms(store->loop), idle_since = now - store->conf.seal_idle_ms;
  leave_alone(store, now);
  LIST_EACH(&store->unsealed, node) {
    struct live_run *run = LIST_ENTRY(node, struct live_run, unsealed_node);
    if (store->seals >= SEALS_MAX || (run->queued_ms > idle_since && !store->seal_waiters.first))
      return;
    metric_seal_consider(store, run);
  }
}

struct waiter {
  struct list_node node;
  metric_done_fn *done;
  void *ctx;
};

/* A seal has ended, or somebody waits. */
void metric_seal_progress(struct metric_store *store, const struct err *err) {
  if (!err)
    metric_seal_tick(store);
  if (!err && (store->unsealed.first || store->seals) && !store->stopping)
    return;
  for (struct list_node *node; (node = list_pop_front(&store->seal_waiters));) {
    struct waiter *waiter = LIST_ENTRY(node, struct waiter, node);
    waiter->done(waiter->ctx, err);
    mem_free(waiter);
    metric_op_end(store);
  }
}

static void on_seal_all(void *ctx) {
  metric_seal_progress(ctx, NULL);
}

bool metric_seal_all(struct metric_store *store, metric_done_fn *done, void *ctx, struct err *err) {
  if (!store->pg)
    return err_set(err, ERR_CANCELLED, "the service is stopping");
  struct waiter *waiter = mem_zalloc(sizeof *waiter);
  if (!waiter)
    return err_no_memory(err);
  *waiter = (struct waiter){.done = done, .ctx = ctx};
  list_push_back(&store->seal_waiters, &waiter->node);
  metric_op_begin(store);
  loop_defer(store->loop, &store->seal_now, on_seal_all, store);
  return true;
}
