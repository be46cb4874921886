#include "storage/metrics/metric_inside.h"

enum { TIMEOUT_MS = 60000 };
/* Columns of metric_stored */
enum { STORED_RUN, STORED_KEY, STORED_ID = 3, STORED_ATTEMPT, STORED_POINTS, STORED_BYTES = 19, STORED_FRESH };

struct metric_load *metric_load_new(struct metric_store *store, const struct id *runs, size_t run_count, const struct str *keys,
                                    size_t key_count, int32_t attempt) {
  struct metric_load *load = mem_zalloc(sizeof *load);
  if (!load)
    return NULL;
  load->store = store;
  load->arena = ARENA_INIT(256 * MIB);
  load->attempt = attempt;
  load->run_count = run_count;
  load->key_count = key_count;
  map_init(&load->index, SIZE_MAX / 2);
  load->coder = metric_coder_take(store);
  load->runs = ARENA_NEW_ARRAY(&load->arena, struct id, run_count);
  bool ok = load->coder && load->runs;
  if (ok && run_count)
    memcpy(load->runs, runs, run_count * sizeof *runs);
  if (ok && keys) {
    load->keys = ARENA_NEW_ARRAY(&load->arena, struct str, key_count);
    ok = load->keys != NULL;
    for (size_t i = 0; ok && i < key_count; i++) {
      char *text = arena_strdup(&load->arena, keys[i]);
      load->keys[i] = str_n(text, keys[i].n);
      ok = text != NULL;
    }
  }
  if (!ok) {
    metric_load_free(load);
    return NULL;
  }
  return load;
}

void metric_load_drop_pieces(struct metric_load *load) {
  for (size_t i = 0; i < load->piece_count; i++)
    mem_free(load->pieces[i].bytes);
  load->piece_count = load->pieces_fetched = 0;
}

static void drop_series(struct metric_load *load) {
  for (size_t i = 0; i < load->series_count; i++) {
    struct stored_series *series = &load->series[i];
    series_view_release(&series->view);
    for (size_t t = 0; t < series->tail_count; t++)
      points_release(&series->tails[t].points);
    mem_free(series->tails);
    mem_free(series->chunks);
  }
  load->series_count = 0;
  load->row_count = 0;
  load->is_cut = false;
  load->tail_points = 0;
  map_release(&load->index);
  map_init(&load->index, SIZE_MAX / 2);
}

void metric_load_free(struct metric_load *load) {
  if (!load)
    return;
  metric_load_drop_pieces(load);
  drop_series(load);
  mem_free(load->series);
  mem_free(load->rows);
  mem_free(load->pieces);
  map_release(&load->index);
  metric_coder_give(load->store, load->coder);
  arena_release(&load->arena);
  mem_free(load);
}

static bool grow(void *pointer, size_t *cap, size_t n, size_t size) {
  if (n < *cap)
    return true;
  void *old;
  memcpy(&old, pointer, sizeof old);
  size_t more = *cap ? *cap * 2 : 16;
  void *new = mem_resize(old, more, size);
  if (!new)
    return false;
  memcpy(pointer, &new, sizeof new);
  *cap = more;
  return true;
}

/* ---- series ---- */

/* The series of a run and key; made when it is new. NULL without memory. */
static struct stored_series *series_of(struct metric_load *load, struct id run, struct str key) {
  char name[sizeof run + SERIES_KEY_MAX];
  if (key.n > SERIES_KEY_MAX)
    return NULL;
  memcpy(name, &run, sizeof run);
  memcpy(name + sizeof run, key.p, key.n);
  struct str full = str_n(name, sizeof run + key.n);
  uintptr_t place = (uintptr_t)map_get(&load->index, full); /* from 1 on */
  if (place)
    return &load->series[place - 1];
  char *text = arena_strdup(&load->arena, key);
  if (!text || !grow(&load->series, &load->series_cap, load->series_count, sizeof *load->series) ||
      !map_put(&load->index, full, (void *)(load->series_count + 1), NULL))
    return NULL;
  struct stored_series *series = &load->series[load->series_count++];
  *series = (struct stored_series){.run = run, .key = str_n(text, key.n)};
  return series;
}

static struct points *tail_of(struct stored_series *series, int32_t attempt) {
  for (size_t i = 0; i < series->tail_count; i++)
    if (series->tails[i].attempt == attempt)
      return &series->tails[i].points;
  struct tail_points *tails = mem_resize(series->tails, series->tail_count + 1, sizeof *tails);
  if (!tails)
    return NULL;
  series->tails = tails;
  tails[series->tail_count] = (struct tail_points){.attempt = attempt};
  return &tails[series->tail_count++].points;
}

static bool is_wanted(const struct metric_load *load, struct str key) {
  for (size_t i = 0; i < load->key_count; i++)
    if (str_eq(load->keys[i], key))
      return true;
  return !load->keys;
}

/* ---- rows of the tail ---- */

struct row_read {
  struct metric_load *load;
  struct stored_row row;
};

static bool add_tail(void *ctx, struct str key, const struct points *points) {
  struct row_read *read = ctx;
  if (!is_wanted(read->load, key))
    return true;
  struct stored_series *series = series_of(read->load, read->row.run, key);
  struct points *tail = series ? tail_of(series, read->row.attempt) : NULL;
  return tail && points_add_range(tail, points, 0, points->n);
}

/* Unless there is no room for it. */
static bool take_row(struct metric_load *load, const struct stored_row *row, struct str batch, struct err *err) {
  struct row_read read = {load, *row};
  if (load->points_max && load->row_count && load->tail_points + (size_t)row->points > load->points_max) {
    load->is_cut = true;
    return true;
  }
  load->tail_points += (size_t)row->points;
  if (!grow(&load->rows, &load->row_cap, load->row_count, sizeof *load->rows))
    return err_no_memory(err);
  load->rows[load->row_count++] = *row;
  struct err damage;
  if (batch_get(load->coder, batch, add_tail, &read, &damage))
    return true;
  if (damage.code == ERR_NO_MEMORY)
    return err_no_memory(err);
  if (!load->is_strict)
    return true;
  char id[ID_HEX_LEN + 1];
  id_format(row->run, id);
  return err_set(err, damage.code, "unsealed points of the run %s (row %lld): %s", id, (long long)row->id, damage.text);
}

static bool take_rows(struct metric_load *load, const struct pg_reply *reply, struct err *err) {
  bool ok = true;
  for (size_t i = 0; ok && !load->is_cut && i < pg_rows(reply); i++) {
    const struct stored_row row = {pg_uuid(reply, i, 0), pg_int(reply, i, 1), (int32_t)pg_int(reply, i, 2), (int32_t)pg_int(reply, i, 3),
                                   pg_bool(reply, i, 4)};
    ok = take_row(load, &row, pg_bytea(reply, i, 5), err);
  }
  return ok;
}

/* ---- chunks ---- */

void metric_chunk_row(const struct pg_reply *reply, size_t row, struct chunk_info *ret) {
  *ret = (struct chunk_info){.id = pg_int(reply, row, 3), .attempt = (int32_t)pg_int(reply, row, 4)};
  ret->fold = (struct fold){
      .count = pg_int(reply, row, 5),
      .nans = pg_int(reply, row, 6),
      .first = {pg_int(reply, row, 7), pg_int(reply, row, 8), pg_float8(reply, row, 15), NAN},
      .last = {pg_int(reply, row, 9), pg_int(reply, row, 10), pg_float8(reply, row, 16), NAN},
      .min = pg_float8(reply, row, 17),
      .max = pg_float8(reply, row, 18),
      .min_step = pg_int(reply, row, 13),
      .max_step = pg_int(reply, row, 14),
  };
  ret->low_time = pg_int(reply, row, 11);
  ret->high_time = pg_int(reply, row, 12);
}

/* The cells that came with a chunk. They live as long as the load. */
static bool take_cells(struct metric_load *load, struct str cells, struct chunk_info *ret) {
  if (!cells.n)
    return true;
  char *copy = arena_strdup(&load->arena, cells);
  *(load->with == PIECE_STEP_COARSE ? &ret->by_step : &ret->by_time) = str_n(copy, cells.n);
  return copy != NULL;
}

static bool take_chunk(struct metric_load *load, const struct pg_reply *reply, size_t row, struct err *err) {
  struct stored_series *series = series_of(load, pg_uuid(reply, row, STORED_RUN), pg_text(reply, row, STORED_KEY));
  if (!series || !grow(&series->chunks, &series->chunk_cap, series->chunk_count, sizeof *series->chunks))
    return err_no_memory(err);
  series->key_id = (int32_t)pg_int(reply, row, 2);
  struct chunk_info *chunk = &series->chunks[series->chunk_count++];
  metric_chunk_row(reply, row, chunk);
  return !load->with || take_cells(load, pg_bytea(reply, row, STORED_BYTES), chunk) || err_no_memory(err);
}

static bool take_chunks(struct metric_load *load, const struct pg_reply *reply, struct err *err) {
  bool ok = true;
  for (size_t i = 0; ok && i < pg_rows(reply); i++)
    ok = take_chunk(load, reply, i, err);
  return ok;
}

/* ---- both ---- */

struct found_row {
  struct stored_row row;
  struct str batch;
};

static int by_run_and_id(const void *a, const void *b) {
  const struct found_row *x = a, *y = b;
  int order = memcmp(&x->row.run, &y->row.run, sizeof x->row.run);
  return order ? order : (x->row.id > y->row.id) - (x->row.id < y->row.id);
}

/* What is not sealed as it came. */
static bool take_stored(struct metric_load *load, const struct pg_reply *reply, struct err *err) {
  size_t count = 0;
  AUTO_FREE struct found_row *found = mem_array(pg_rows(reply) + 1, sizeof *found);
  bool ok = found || err_no_memory(err);
  for (size_t i = 0; ok && i < pg_rows(reply); i++)
    if (!pg_is_null(reply, i, STORED_KEY))
      ok = take_chunk(load, reply, i, err);
    else
      found[count++] =
          (struct found_row){.row = {pg_uuid(reply, i, STORED_RUN), pg_int(reply, i, STORED_ID), (int32_t)pg_int(reply, i, STORED_ATTEMPT),
                                     (int32_t)pg_int(reply, i, STORED_POINTS), pg_bool(reply, i, STORED_FRESH)},
                             .batch = pg_bytea(reply, i, STORED_BYTES)};
  if (ok && count)
    qsort(found, count, sizeof *found, by_run_and_id);
  for (size_t i = 0; ok && !load->is_cut && i < count; i++)
    ok = take_row(load, &found[i].row, found[i].batch, err);
  return ok;
}

static int by_run_and_key(const void *a, const void *b) {
  const struct stored_series *x = a, *y = b;
  int order = memcmp(&x->run, &y->run, sizeof x->run);
  return order ? order : str_cmp(x->key, y->key);
}

static bool make_views(struct metric_load *load, struct err *err) {
  if (load->series_count)
    qsort(load->series, load->series_count, sizeof *load->series, by_run_and_key);
  for (size_t i = 0; i < load->series_count; i++) {
    struct stored_series *series = &load->series[i];
    if (!series_view_make(series->chunks, series->chunk_count, series->tails, series->tail_count, load->attempt, &series->view, err))
      return false;
  }
  return true;
}

static void load_ended(struct metric_load *load, bool ok, const struct err *err) {
  struct metric_store *store = load->store;
  load->done(load->ctx, load, ok ? NULL : err);
  metric_op_end(store);
}

static void forget_all(struct metric_load *load) {
  metric_load_drop_pieces(load);
  drop_series(load);
}

static void on_stored(void *ctx, const struct pg_reply *reply) {
  struct metric_load *load = ctx;
  struct err err;
  forget_all(load);
  bool ok = pg_ok(reply, &err) && take_stored(load, reply, &err) && make_views(load, &err);
  load_ended(load, ok, &err);
}

static void put_runs(struct pg_args *args, const struct metric_load *load) {
  pg_begin_array(args);
  for (size_t i = 0; i < load->run_count; i++)
    pg_put_uuid(args, load->runs[i]);
  pg_end_array(args);
}

static void on_near(void *ctx, const struct pg_reply *reply) {
  struct metric_load *load = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err) && take_chunks(load, reply, &err) && make_views(load, &err);
  load_ended(load, ok, &err);
}

static int64_t lowest_step(const struct stored_series *series) {
  int64_t low = INT64_MAX;
  for (size_t t = 0; t < series->tail_count; t++)
    for (size_t i = 0; i < series->tails[t].points.n; i++)
      low = MIN_OF(low, series->tails[t].points.step[i]);
  return low;
}

static bool ask_near(struct metric_load *load, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_METRIC_CHUNKS_NEAR);
  pg_put_uuid(&args, load->runs[0]);
  pg_begin_array(&args);
  for (size_t i = 0; i < load->series_count; i++)
    pg_put_text(&args, load->series[i].key);
  pg_end_array(&args);
  pg_begin_array(&args);
  for (size_t i = 0; i < load->series_count; i++)
    pg_put_int(&args, lowest_step(&load->series[i]));
  pg_end_array(&args);
  return metric_run(load->store, &args, TIMEOUT_MS, on_near, load, err);
}

static void on_tail(void *ctx, const struct pg_reply *reply) {
  struct metric_load *load = ctx;
  struct err err;
  forget_all(load);
  if (!pg_ok(reply, &err) || !take_rows(load, reply, &err) || !ask_near(load, &err))
    load_ended(load, false, &err);
}

bool metric_load_tail(struct metric_load *load, metric_loaded_fn *done, void *ctx, struct err *err) {
  load->done = done;
  load->ctx = ctx;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_METRIC_TAIL_READ);
  put_runs(&args, load);
  if (!metric_run(load->store, &args, TIMEOUT_MS, on_tail, load, err))
    return false;
  metric_op_begin(load->store);
  return true;
}

bool metric_load_run(struct metric_load *load, metric_loaded_fn *done, void *ctx, struct err *err) {
  load->done = done;
  load->ctx = ctx;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, load->keys ? STMT_METRIC_STORED_OF : STMT_METRIC_STORED);
  put_runs(&args, load);
  if (load->keys) {
    pg_begin_array(&args);
    for (size_t i = 0; i < load->key_count; i++)
      pg_put_text(&args, load->keys[i]);
    pg_end_array(&args);
    pg_put_int(&args, load->with);
  }
  if (!metric_run(load->store, &args, TIMEOUT_MS, on_stored, load, err))
    return false;
  metric_op_begin(load->store);
  return true;
}

/* ---- pieces ---- */

bool metric_load_want(struct metric_load *load, const struct stored_series *series, const struct chunk_info *chunk, enum piece_kind kind) {
  if (!grow(&load->pieces, &load->piece_cap, load->piece_count, sizeof *load->pieces))
    return false;
  load->pieces[load->piece_count++] = (struct piece){series, chunk->id, kind, NULL, 0};
  return true;
}

static int by_chunk(const void *a, const void *b) {
  const struct piece *x = a, *y = b;
  if (x->chunk != y->chunk)
    return x->chunk < y->chunk ? -1 : 1;
  return (x->kind > y->kind) - (x->kind < y->kind);
}

static struct piece *find_piece(const struct metric_load *load, int64_t chunk, enum piece_kind kind) {
  struct piece name = {.chunk = chunk, .kind = kind};
  return load->pieces_fetched ? bsearch(&name, load->pieces, load->pieces_fetched, sizeof name, by_chunk) : NULL;
}

struct str metric_load_piece(const struct metric_load *load, const struct chunk_info *chunk, enum piece_kind kind) {
  const struct piece *piece = find_piece(load, chunk->id, kind);
  return piece ? str_n(piece->bytes, piece->n) : STR_NONE;
}

bool metric_load_want_mixed(struct metric_load *load, struct err *err) {
  for (size_t i = 0; i < load->series_count; i++)
    for (size_t p = 0; p < load->series[i].view.count; p++) {
      const struct series_part *part = &load->series[i].view.parts[p];
      if (part_is_mixed(part) && !metric_load_want(load, &load->series[i], part->chunk, PIECE_POINTS))
        return err_no_memory(err);
    }
  return true;
}

bool metric_load_fold(const struct metric_load *load, const struct series_part *part, struct fold *fold, struct err *err) {
  if (!part_is_mixed(part))
    return part_fold(part, fold, err);
  AUTO_POINTS struct points points = {0};
  if (!part_points(part, load->coder, metric_load_piece(load, part->chunk, PIECE_POINTS), &points, err))
    return false;
  fold_add_points(fold, &points, 0, points.n);
  return true;
}

static bool take_pieces(struct metric_load *load, const struct pg_reply *reply, struct err *err) {
  for (size_t i = 0; i < pg_rows(reply); i++) {
    struct piece *piece = find_piece(load, pg_int(reply, i, 0), (enum piece_kind)pg_int(reply, i, 1));
    struct str bytes = pg_bytea(reply, i, 2);
    if (!piece || piece->bytes)
      continue;
    piece->bytes = mem_strndup(bytes.p ? bytes.p : "", bytes.n);
    piece->n = bytes.n;
    if (!piece->bytes)
      return err_no_memory(err);
  }
  for (size_t i = 0; i < load->piece_count; i++)
    if (!load->pieces[i].bytes)
      return err_set(err, ERR_CONFLICT, "a chunk has been replaced meanwhile");
  return true;
}

static void on_pieces(void *ctx, const struct pg_reply *reply) {
  struct metric_load *load = ctx;
  struct metric_store *store = load->store;
  struct err err;
  bool ok = pg_ok(reply, &err) && take_pieces(load, reply, &err);
  load->done(load->ctx, load, ok ? NULL : &err);
  metric_op_end(store);
}

static void put_pieces(struct pg_args *args, const struct metric_load *load) {
  pg_begin_array(args);
  for (size_t i = 0; i < load->piece_count; i++)
    if (!load->pieces[i].bytes)
      pg_put_uuid(args, load->pieces[i].series->run);
  pg_end_array(args);
  pg_begin_array(args);
  for (size_t i = 0; i < load->piece_count; i++)
    if (!load->pieces[i].bytes)
      pg_put_int(args, load->pieces[i].series->key_id);
  pg_end_array(args);
  pg_begin_array(args);
  for (size_t i = 0; i < load->piece_count; i++)
    if (!load->pieces[i].bytes)
      pg_put_int(args, load->pieces[i].chunk);
  pg_end_array(args);
  pg_begin_array(args);
  for (size_t i = 0; i < load->piece_count; i++)
    if (!load->pieces[i].bytes)
      pg_put_int(args, load->pieces[i].kind);
  pg_end_array(args);
}

static void nothing_to_fetch(void *ctx) {
  struct metric_load *load = ctx;
  struct metric_store *store = load->store;
  load->done(load->ctx, load, NULL);
  metric_op_end(store);
}

bool metric_load_fetch(struct metric_load *load, metric_loaded_fn *done, void *ctx, struct err *err) {
  load->done = done;
  load->ctx = ctx;
  if (load->piece_count == 0) {
    loop_defer(load->store->loop, &load->nothing, nothing_to_fetch, load);
    metric_op_begin(load->store);
    return true;
  }
  qsort(load->pieces, load->piece_count, sizeof *load->pieces, by_chunk);
  load->pieces_fetched = load->piece_count;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_METRIC_PIECES);
  put_pieces(&args, load);
  if (!metric_run(load->store, &args, TIMEOUT_MS, on_pieces, load, err))
    return false;
  metric_op_begin(load->store);
  return true;
}
