#include "storage/metrics/series_view.h"

#include "base/mem.h"

void chunk_info_make(const struct points *points, int32_t attempt, struct chunk_info *ret) {
  *ret = (struct chunk_info){.attempt = attempt, .low_time = points->time[0], .high_time = points->time[0]};
  fold_add_points(&ret->fold, points, 0, points->n);
  for (size_t i = 1; i < points->n; i++) {
    ret->low_time = MIN_OF(ret->low_time, points->time[i]);
    ret->high_time = MAX_OF(ret->high_time, points->time[i]);
  }
}

/* ---- the view ---- */

static int by_place(const void *a, const void *b) {
  const struct chunk_info *x = *(const struct chunk_info *const *)a, *y = *(const struct chunk_info *const *)b;
  if (x->attempt != y->attempt)
    return x->attempt < y->attempt ? -1 : 1;
  return point_cmp(x->fold.first, y->fold.first);
}

static int by_attempt(const void *a, const void *b) {
  int32_t x = ((const struct tail_points *)a)->attempt, y = ((const struct tail_points *)b)->attempt;
  return (x > y) - (x < y);
}

static void add_part(struct series_view *view, const struct chunk_info *chunk, const struct points *tail, size_t from, size_t to,
                     int32_t attempt) {
  if (chunk || from < to)
    view->parts[view->count++] = (struct series_part){chunk, tail, from, to, false, 0, attempt};
}

/* One attempt: its chunks in order, and its tail dealt between and into them. */
static void add_attempt(struct series_view *view, const struct chunk_info *const *chunks, size_t chunk_count, const struct points *tail,
                        int32_t attempt) {
  size_t at = 0;
  for (size_t c = 0; c < chunk_count; c++) {
    size_t before = at;
    while (at < tail->n && point_cmp(points_at(tail, at), chunks[c]->fold.first) < 0)
      at++;
    add_part(view, NULL, tail, before, at, attempt);
    size_t inside = at;
    while (at < tail->n && point_cmp(points_at(tail, at), chunks[c]->fold.last) <= 0)
      at++;
    add_part(view, chunks[c], tail, inside, at, attempt);
  }
  add_part(view, NULL, tail, at, tail->n, attempt);
}

static int64_t first_step(const struct series_part *part) {
  return part->chunk ? part->chunk->fold.first.step : part->tail->step[part->from];
}

static int64_t last_step(const struct series_part *part) {
  return part->chunk ? part->chunk->fold.last.step : part->tail->step[part->to - 1];
}

/* Drops what later attempts supersede and marks the parts that they cut. Parts are in the order of attempts. */
static void stitch(struct series_view *view) {
  bool is_cut = false;
  int64_t cut = 0, next_cut = 0;
  bool has_next = false;
  for (size_t i = view->count; i-- > 0;) {
    struct series_part *part = &view->parts[i];
    if (i + 1 < view->count && part->attempt != view->parts[i + 1].attempt && has_next) {
      cut = is_cut ? MIN_OF(cut, next_cut) : next_cut;
      is_cut = true;
    }
    next_cut = first_step(part); /* when its attempt ends, that of the attempt's first part */
    has_next = true;
    part->is_cut = is_cut && last_step(part) >= cut;
    part->cut = cut;
  }
  size_t kept = 0;
  for (size_t i = 0; i < view->count; i++)
    if (!view->parts[i].is_cut || first_step(&view->parts[i]) < view->parts[i].cut)
      view->parts[kept++] = view->parts[i];
  view->count = kept;
}

bool series_view_make(const struct chunk_info *chunks, size_t chunk_count, struct tail_points *tails, size_t tail_count, int32_t attempt,
                      struct series_view *ret, struct err *err) {
  struct series_view view = {0};
  size_t points = 0;
  for (size_t i = 0; i < tail_count; i++)
    points += tails[i].points.n;
  AUTO_FREE const struct chunk_info **order = mem_array(chunk_count, sizeof *order);
  view.parts = mem_array(chunk_count + MIN_OF(points, chunk_count + tail_count), sizeof *view.parts);
  view.tails = mem_array(tail_count, sizeof *view.tails);
  if (!order || !view.parts || !view.tails) {
    series_view_release(&view);
    return err_no_memory(err);
  }
  view.tail_count = tail_count;
  for (size_t i = 0; i < tail_count; i++) {
    view.tails[i] = tails[i];
    tails[i].points = (struct points){0};
  }
  for (size_t i = 0; i < tail_count; i++)
    if (!points_normalise(&view.tails[i].points)) {
      series_view_release(&view);
      return err_no_memory(err);
    }
  for (size_t i = 0; i < chunk_count; i++)
    order[i] = &chunks[i];
  qsort(order, chunk_count, sizeof(struct chunk_info *), by_place);
  if (tail_count)
    qsort(view.tails, tail_count, sizeof *view.tails, by_attempt);
  static const struct points none;
  for (size_t c = 0, t = 0; c < chunk_count || t < tail_count;) {
    bool has_chunk = c < chunk_count && (t == tail_count || order[c]->attempt <= view.tails[t].attempt);
    int32_t now = has_chunk ? order[c]->attempt : view.tails[t].attempt;
    size_t until = c;
    while (until < chunk_count && order[until]->attempt == now)
      until++;
    bool has_tail = t < tail_count && view.tails[t].attempt == now;
    if (attempt <= 0 || attempt == now)
      add_attempt(&view, order + c, until - c, has_tail ? &view.tails[t].points : &none, now);
    c = until;
    t += has_tail;
  }
  if (attempt == 0)
    stitch(&view);
  *ret = view;
  return true;
}

void series_view_release(struct series_view *view) {
  for (size_t i = 0; i < view->tail_count; i++)
    points_release(&view->tails[i].points);
  mem_free(view->tails);
  mem_free(view->parts);
  *view = (struct series_view){0};
}

/* ---- parts ---- */

bool part_is_mixed(const struct series_part *part) {
  return part->chunk && (part->from < part->to || part->is_cut);
}

static size_t visible_end(const struct series_part *part, const struct points *points, size_t from, size_t to) {
  if (part->is_cut)
    while (to > from && points->step[to - 1] >= part->cut)
      to--;
  return to;
}

bool part_points(const struct series_part *part, struct column_coder *coder, struct str data, struct points *points, struct err *err) {
  if (!part->chunk) {
    size_t to = visible_end(part, part->tail, part->from, part->to);
    return points_add_range(points, part->tail, part->from, to - part->from) || err_no_memory(err);
  }
  AUTO_POINTS struct points all = {0};
  if (!chunk_get(coder, data, &all, err))
    return false;
  if (part->from < part->to) {
    if (!points_add_range(&all, part->tail, part->from, part->to - part->from) || !points_normalise(&all))
      return err_no_memory(err);
  }
  return points_add_range(points, &all, 0, visible_end(part, &all, 0, all.n)) || err_no_memory(err);
}

bool part_fold(const struct series_part *part, struct fold *fold, struct err *err) {
  if (part_is_mixed(part))
    return err_set(err, ERR_INTERNAL, "the fold of a chunk was asked for without its points");
  if (part->chunk)
    fold_merge(fold, &part->chunk->fold);
  else
    fold_add_points(fold, part->tail, part->from, visible_end(part, part->tail, part->from, part->to));
  return true;
}

void part_range(const struct series_part *part, enum axis axis, int64_t *ret_low, int64_t *ret_high) {
  if (axis == AXIS_STEP) {
    *ret_low = first_step(part);
    *ret_high = last_step(part);
    return;
  }
  *ret_low = part->chunk ? part->chunk->low_time : part->tail->time[part->from];
  *ret_high = part->chunk ? part->chunk->high_time : part->tail->time[part->from];
  for (size_t i = part->from; i < part->to; i++) {
    *ret_low = MIN_OF(*ret_low, part->tail->time[i]);
    *ret_high = MAX_OF(*ret_high, part->tail->time[i]);
  }
}

bool part_touches(const struct series_part *part, enum axis axis, int64_t low, int64_t high) {
  int64_t from, to;
  part_range(part, axis, &from, &to);
  return from <= high && to >= low;
}

/* All of a chunk as one bucket, on the axis of steps. */
static struct bucket whole_bucket(const struct chunk_info *chunk) {
  const struct fold *fold = &chunk->fold;
  return (struct bucket){fold->first.step,  fold->last.step,  fold->count, fold->nans,
                         fold->first.value, fold->last.value, fold->min,   fold->max};
}

enum part_answer part_buckets(const struct series_part *part, struct column_coder *coder, const struct grid *grid, struct bucket *buckets,
                              struct err *err) {
  if (grid->n == 0 || !part_touches(part, grid->axis, grid->start[0], grid->to))
    return PART_DONE;
  if (!part->chunk) {
    grid_add_points(grid, part->tail, part->from, visible_end(part, part->tail, part->from, part->to), buckets);
    return PART_DONE;
  }
  if (part_is_mixed(part))
    return PART_NEEDS_POINTS;
  if (grid->axis == AXIS_STEP) {
    struct bucket whole = whole_bucket(part->chunk);
    if (grid_add_bucket(grid, whole.first_x, whole.last_x, &whole, buckets))
      return PART_DONE;
  }
  struct str bytes = grid->axis == AXIS_STEP ? part->chunk->by_step : part->chunk->by_time;
  if (!bytes.n)
    return PART_NEEDS_POINTS;
  struct cells cells;
  if (!cells_get(coder, bytes, &cells, err))
    return PART_FAILED;
  return grid_add_cells(grid, &cells, buckets) ? PART_DONE : PART_NEEDS_POINTS;
}
