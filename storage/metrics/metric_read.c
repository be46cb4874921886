#include "storage/metrics/metric_inside.h"

/* A chunk that is replaced while it is being read: begin again, so often. */
enum { TRIES = 8 };

/* ---- summaries ---- */

struct summaries {
  struct metric_store *store;
  struct metric_load *load;
  unsigned tries;
  metric_summaries_fn *done;
  void *ctx;
};

static void summaries_loaded(void *ctx, struct metric_load *load, const struct err *err);

static void summaries_ended(struct summaries *op, const struct metric_summary *list, size_t count, const struct err *err) {
  op->done(op->ctx, list, count, err);
  metric_load_free(op->load);
  mem_free(op);
}

/* The fold of a view whose mixed parts have been fetched. */
static bool fold_view(const struct metric_load *load, const struct series_view *view, struct fold *ret, struct err *err) {
  bool ok = true;
  for (size_t i = 0; ok && i < view->count; i++)
    ok = metric_load_fold(load, &view->parts[i], ret, err);
  return ok;
}

static void summaries_fetched(void *ctx, struct metric_load *load, const struct err *failed) {
  struct summaries *op = ctx;
  struct err err;
  if (failed && failed->code == ERR_CONFLICT && op->tries++ < TRIES) {
    if (!metric_load_run(load, summaries_loaded, op, &err))
      summaries_ended(op, NULL, 0, &err);
    return;
  }
  AUTO_FREE struct metric_summary *list = mem_array(load->series_count, sizeof *list);
  size_t count = 0;
  bool ok = !failed && (list || err_no_memory(&err));
  if (failed)
    err = *failed;
  for (size_t i = 0; ok && i < load->series_count; i++) {
    const struct stored_series *series = &load->series[i];
    if (series->view.count == 0)
      continue;
    list[count] =
        (struct metric_summary){.run = series->run, .key = series->key, .attempt = series->view.parts[series->view.count - 1].attempt};
    ok = fold_view(load, &series->view, &list[count++].fold, &err);
  }
  summaries_ended(op, list, count, ok ? NULL : &err);
}

static void summaries_loaded(void *ctx, struct metric_load *load, const struct err *failed) {
  struct summaries *op = ctx;
  struct err err;
  if (failed)
    summaries_ended(op, NULL, 0, failed);
  else if (!metric_load_want_mixed(load, &err) || !metric_load_fetch(load, summaries_fetched, op, &err))
    summaries_ended(op, NULL, 0, &err);
}

bool metric_summaries(struct metric_store *store, const struct id *runs, size_t run_count, metric_summaries_fn *done, void *ctx,
                      struct err *err) {
  struct summaries *op = mem_zalloc(sizeof *op);
  struct metric_load *load = metric_load_new(store, runs, run_count, NULL, 0, 0);
  if (!op || !load) {
    mem_free(op);
    metric_load_free(load);
    return err_no_memory(err);
  }
  *op = (struct summaries){.store = store, .load = load, .done = done, .ctx = ctx};
  if (metric_load_run(load, summaries_loaded, op, err))
    return true;
  mem_free(op);
  metric_load_free(load);
  return false;
}

/* ---- charts ---- */

struct chart_series {
  const struct stored_series *stored;
  struct grid grid; /* shared by all but on the relative axis */
  struct bucket *buckets;
  struct metric_series result;
};

/* Two rounds at most: cells first, then the points of the chunks where an edge falls inside a cell. */
struct chart {
  struct work work;
  struct loop_defer instead;
  struct metric_store *store;
  struct metric_load *load;
  struct metric_series_ask ask; /* its runs and keys are those of `load` */
  unsigned tries;
  struct chart_series *series;
  size_t count;
  struct metric_series *results;
  struct err err;
  metric_series_fn *done;
  void *ctx;
};

static enum axis chart_axis(const struct chart *chart) {
  return chart->ask.x == METRIC_X_STEP ? AXIS_STEP : AXIS_TIME;
}

static void drop_chart_series(struct chart *chart) {
  for (size_t i = 0; i < chart->count; i++) {
    grid_release(&chart->series[i].grid);
    mem_free(chart->series[i].buckets);
  }
  mem_free(chart->series);
  mem_free(chart->results);
  chart->series = NULL;
  chart->results = NULL;
  chart->count = 0;
}

static void chart_ended(struct chart *chart, size_t count, const struct err *err) {
  chart->done(chart->ctx, chart->results, count, err);
  drop_chart_series(chart);
  metric_load_free(chart->load);
  mem_free(chart);
}

/* The x range of what is visible. False when there is none. */
static bool view_range(const struct series_view *view, enum axis axis, int64_t *low, int64_t *high) {
  for (size_t i = 0; i < view->count; i++) {
    int64_t from, to;
    part_range(&view->parts[i], axis, &from, &to);
    *low = i ? MIN_OF(*low, from) : from;
    *high = i ? MAX_OF(*high, to) : to;
  }
  return view->count > 0;
}

/* 0 of the relative axis: the run's first point among these series. A run's series are neighbours; `first` is one without any before it. */
static int64_t run_origin(const struct metric_load *load, size_t first) {
  int64_t origin = INT64_MAX, low, high;
  for (size_t i = first; i < load->series_count && id_eq(load->series[i].run, load->series[first].run); i++)
    if (view_range(&load->series[i].view, AXIS_TIME, &low, &high))
      origin = MIN_OF(origin, low);
  return origin;
}

static int64_t plus(int64_t a, int64_t b) {
  int64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? (b < 0 ? INT64_MIN : INT64_MAX) : sum;
}

static int64_t minus(int64_t a, int64_t b) {
  int64_t difference;
  return __builtin_sub_overflow(a, b, &difference) ? (b < 0 ? INT64_MAX : INT64_MIN) : difference;
}

/* Range and grids. On the relative axis the range is relative, and each run has a grid of its own. */
static bool lay_out(struct chart *chart, struct err *err) {
  struct metric_load *load = chart->load;
  bool relative = chart->ask.x == METRIC_X_RELATIVE;
  int64_t low = INT64_MAX, high = INT64_MIN, origin = 0;
  chart->series = mem_array(load->series_count, sizeof *chart->series);
  chart->results = mem_array(load->series_count, sizeof *chart->results);
  if (!chart->series || !chart->results)
    return err_no_memory(err);
  for (size_t i = 0; i < load->series_count; i++) {
    const struct stored_series *stored = &load->series[i];
    int64_t from, to;
    if (relative && (i == 0 || !id_eq(stored->run, load->series[i - 1].run)))
      origin = run_origin(load, i);
    if (!view_range(&stored->view, chart_axis(chart), &from, &to))
      continue;
    chart->series[chart->count++] =
        (struct chart_series){.stored = stored, .result = {.run = stored->run, .key = stored->key, .origin = origin}};
    low = MIN_OF(low, minus(from, origin));
    high = MAX_OF(high, minus(to, origin));
  }
  low = chart->ask.has_from ? chart->ask.from : low;
  high = chart->ask.has_to ? chart->ask.to : high;
  for (size_t i = 0; i < chart->count; i++) {
    struct chart_series *series = &chart->series[i];
    origin = series->result.origin;
    if (!grid_make(chart_axis(chart), chart->ask.scale, plus(low, origin), plus(high, origin), origin, chart->ask.buckets, &series->grid,
                   err))
      return false;
    series->buckets = mem_array(series->grid.n, sizeof *series->buckets);
    if (!series->buckets)
      return err_no_memory(err);
  }
  return true;
}

static bool crosses_edge(const struct grid *grid, int64_t low, int64_t high) {
  ptrdiff_t at = grid_find(grid, low, 0);
  return at < 0 || at != grid_find(grid, high, at);
}

/* Which cells of a chunk have edges wherever the grid has: the coarse ones when they are no wider than the buckets there, which the round
 * numbers of both then guarantee; else the fine ones; points when those are too wide as well. */
static enum piece_kind piece_for(const struct grid *grid, const struct chunk_info *chunk, int64_t low, int64_t high) {
  bool by_step = grid->axis == AXIS_STEP;
  if (chunk->fold.count < CELLS_FROM)
    return PIECE_POINTS;
  ptrdiff_t at = grid_find(grid, low, 0);
  size_t bucket = at < 0 ? 0 : (size_t)at;
  uint64_t start = (uint64_t)grid->start[bucket];
  uint64_t end = bucket + 1 < grid->n ? (uint64_t)grid->start[bucket + 1] : (uint64_t)grid->to + 1;
  if (bucket == 0 && grid->n > 1) { /* the first bucket may be cut short by the range */
    start = (uint64_t)grid->start[1];
    end = grid->n > 2 ? (uint64_t)grid->start[2] : (uint64_t)grid->to + 1;
  }
  uint64_t width = end - start;
  if ((uint64_t)1 << cells_shift(low, high, CELLS_COARSE) <= width)
    return by_step ? PIECE_STEP_COARSE : PIECE_TIME_COARSE;
  if ((uint64_t)1 << cells_shift(low, high, CELLS_MAX) <= width)
    return by_step ? PIECE_STEP_FINE : PIECE_TIME_FINE;
  return PIECE_POINTS;
}

/* Did they come with the chunk? */
static bool has_cells(const struct chunk_info *chunk, enum piece_kind kind) {
  return (kind == PIECE_STEP_COARSE && chunk->by_step.n) || (kind == PIECE_TIME_COARSE && chunk->by_time.n);
}

/* Asks for the cells, or at once for the points, of the chunks that their whole summary does not answer for. */
static bool want_pieces(struct chart *chart, struct err *err) {
  for (size_t i = 0; i < chart->count; i++) {
    const struct chart_series *series = &chart->series[i];
    const struct series_view *view = &series->stored->view;
    for (size_t p = 0; p < view->count; p++) {
      const struct series_part *part = &view->parts[p];
      int64_t low, high;
      if (!part->chunk || series->grid.n == 0)
        continue;
      part_range(part, chart_axis(chart), &low, &high);
      if (high < series->grid.start[0] || low > series->grid.to)
        continue;
      bool mixed = part_is_mixed(part);
      if (!mixed && chart_axis(chart) == AXIS_STEP && !crosses_edge(&series->grid, low, high))
        continue;
      enum piece_kind kind = mixed ? PIECE_POINTS : piece_for(&series->grid, part->chunk, low, high);
      if (!has_cells(part->chunk, kind) && !metric_load_want(chart->load, series->stored, part->chunk, kind))
        return err_no_memory(err);
    }
  }
  return true;
}

/* The chunk with the cells that were fetched for it. */
static struct series_part with_cells(const struct chart *chart, const struct series_part *part, struct chunk_info *chunk) {
  struct series_part copy = *part;
  if (!part->chunk)
    return copy;
  *chunk = *part->chunk;
  for (int kind = PIECE_STEP_COARSE; kind <= PIECE_TIME_FINE; kind++) {
    struct str bytes = metric_load_piece(chart->load, part->chunk, (enum piece_kind)kind);
    if (bytes.n)
      *(kind == PIECE_STEP_COARSE || kind == PIECE_STEP_FINE ? &chunk->by_step : &chunk->by_time) = bytes;
  }
  copy.chunk = chunk;
  return copy;
}

static void note_damage(struct metric_series *result, const struct chunk_info *chunk) {
  int64_t from = chunk->fold.first.step, to = chunk->fold.last.step;
  result->damaged_from = result->damaged ? MIN_OF(result->damaged_from, from) : from;
  result->damaged_to = result->damaged ? MAX_OF(result->damaged_to, to) : to;
  result->damaged++;
}

/* False without memory. A damaged chunk is noted and left out. *ret_missing counts chunks whose points are needed and not there. */
static bool fill_series(struct chart *chart, struct chart_series *series, size_t *ret_missing) {
  struct column_coder *coder = chart->load->coder;
  const struct series_view *view = &series->stored->view;
  struct err err;
  for (size_t p = 0; p < view->count; p++) {
    struct chunk_info chunk;
    struct series_part part = with_cells(chart, &view->parts[p], &chunk);
    struct str data = part.chunk ? metric_load_piece(chart->load, part.chunk, PIECE_POINTS) : STR_NONE;
    enum part_answer answer = data.n ? PART_NEEDS_POINTS : part_buckets(&part, coder, &series->grid, series->buckets, &err);
    if (answer == PART_DONE)
      continue;
    if (answer == PART_NEEDS_POINTS && !data.n) {
      (*ret_missing)++;
      if (!metric_load_want(chart->load, series->stored, view->parts[p].chunk, PIECE_POINTS))
        return false;
      continue;
    }
    AUTO_POINTS struct points points = {0};
    if (answer == PART_NEEDS_POINTS && part_points(&part, coder, data, &points, &err))
      grid_add_points(&series->grid, &points, 0, points.n, series->buckets);
    else if (err.code == ERR_NO_MEMORY)
      return false;
    else
      note_damage(&series->result, part.chunk);
  }
  return true;
}

static void run_chart(struct work *work) {
  struct chart *chart = CONTAINER_OF(work, struct chart, work);
  size_t missing = 0;
  bool ok = true;
  for (size_t i = 0; ok && i < chart->count; i++)
    ok = fill_series(chart, &chart->series[i], &missing);
  if (!ok)
    err_no_memory(&chart->err);
  else if (missing)
    err_set(&chart->err, ERR_PRECONDITION, "%zu chunks have to be read", missing);
}

/* Only buckets with points are handed out. */
static size_t finish_chart(struct chart *chart) {
  size_t count = 0;
  for (size_t i = 0; i < chart->count; i++) {
    struct chart_series *series = &chart->series[i];
    size_t n = 0;
    for (size_t b = 0; b < series->grid.n; b++)
      if (series->buckets[b].count) {
        series->result.points += series->buckets[b].count;
        series->buckets[n++] = series->buckets[b];
      }
    series->result.buckets = series->buckets;
    series->result.bucket_count = n;
    chart->results[count++] = series->result;
  }
  return count;
}

static void chart_fetched(void *ctx, struct metric_load *load, const struct err *failed);

static void chart_computed(struct work *work, bool cancelled) {
  struct chart *chart = CONTAINER_OF(work, struct chart, work);
  struct metric_store *store = chart->store;
  struct err err;
  if (cancelled) {
    err_set(&err, ERR_CANCELLED, "the service is stopping");
    chart_ended(chart, 0, &err);
  } else if (chart->err.code == ERR_PRECONDITION) { /* the second round, from the start, with the points that were missing */
    chart->err.code = ERR_NONE;
    for (size_t i = 0; i < chart->count; i++) {
      memset(chart->series[i].buckets, 0, chart->series[i].grid.n * sizeof *chart->series[i].buckets);
      chart->series[i].result.damaged = 0;
    }
    if (!metric_load_fetch(chart->load, chart_fetched, chart, &err))
      chart_ended(chart, 0, &err);
  } else if (chart->err.code) {
    chart_ended(chart, 0, &chart->err);
  } else {
    chart_ended(chart, finish_chart(chart), NULL);
  }
  metric_op_end(store);
}

static void chart_loaded(void *ctx, struct metric_load *load, const struct err *failed) {
  struct chart *chart = ctx;
  struct err err;
  if (failed)
    chart_ended(chart, 0, failed);
  else if (!lay_out(chart, &err) || !want_pieces(chart, &err) || !metric_load_fetch(load, chart_fetched, chart, &err))
    chart_ended(chart, 0, &err);
}

static void chart_fetched(void *ctx, struct metric_load *load, const struct err *failed) {
  struct chart *chart = ctx;
  struct err err;
  if (failed && failed->code == ERR_CONFLICT && chart->tries++ < TRIES) {
    drop_chart_series(chart);
    if (!metric_load_run(load, chart_loaded, chart, &err))
      chart_ended(chart, 0, &err);
  } else if (failed) {
    chart_ended(chart, 0, failed);
  } else {
    chart->work = (struct work){.run = run_chart, .done = chart_computed};
    metric_compute(chart->store, &chart->work, &chart->instead);
  }
}

bool metric_series_read(struct metric_store *store, const struct metric_series_ask *ask, metric_series_fn *done, void *ctx,
                        struct err *err) {
  if (ask->buckets < 1 || ask->buckets > GRID_MAX)
    return err_set(err, ERR_INVALID, "the number of buckets must be from 1 to %d", GRID_MAX);
  struct chart *chart = mem_zalloc(sizeof *chart);
  struct metric_load *load = metric_load_new(store, ask->runs, ask->run_count, ask->keys, ask->key_count, ask->attempt);
  if (!chart || !load) {
    mem_free(chart);
    metric_load_free(load);
    return err_no_memory(err);
  }
  *chart = (struct chart){.store = store, .load = load, .ask = *ask, .done = done, .ctx = ctx};
  if (!ask->has_from && !ask->has_to) /* all of a long series needs no more than these, so a second question is spared */
    load->with = ask->x == METRIC_X_STEP ? PIECE_STEP_COARSE : PIECE_TIME_COARSE;
  if (metric_load_run(load, chart_loaded, chart, err))
    return true;
  mem_free(chart);
  metric_load_free(load);
  return false;
}
