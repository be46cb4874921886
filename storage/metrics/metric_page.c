#include "storage/metrics/metric_inside.h"

enum {
  TRIES = 8,       /* a chunk that is replaced while it is being read: begin again, so often */
  WALKS_MAX = 16,  /* that keep points at hand; a page alone is not counted */
  TURN_PAGES = 64, /* of one walk, when others wait for their turn */
};

/* Parts are taken in the order of their lowest place, a window at a time, until the page is full and no part to come can have a point
 * before its end. Series whose times do not go back are read once; others as far as their parts overlap. What was read beyond the page's
 * end is where a walk goes on. */
struct metric_walk {
  struct work work;
  struct loop_defer instead, begin;
  struct list_node waiting; /* for its turn */
  struct metric_store *store;
  struct metric_load *load; /* NULL while it rests */
  bool has_turn;
  unsigned pages; /* of this turn */
  char *key;
  struct metric_page_ask ask; /* `after` moves on, so that a walk can begin again when chunks are replaced */
  unsigned tries;
  bool is_loaded;
  const struct series_part **parts; /* in the order of their lowest x */
  size_t part_count, taken, window;
  struct points points;
  size_t given; /* so many of them */
  metric_render_fn *render;
  const void *render_ctx;
  struct buf text;
  struct err err;
  metric_page_fn *page; /* of a single page */
  metric_walk_fn *done;
  void *ctx;
};

/* Chunks read at once: as many as the page may need, within limits. A walk wants the next ones, too: it asks the database less often. */
enum { WINDOW_MAX = 16, WINDOW_SPARE = 2, WINDOW_OF_WALK = 4 };

static enum axis page_axis(const struct metric_walk *walk) {
  return walk->ask.order == METRIC_BY_TIME ? AXIS_TIME : AXIS_STEP;
}

static int page_cmp(const struct metric_walk *walk, struct point a, struct point b) {
  return walk->ask.order == METRIC_BY_TIME ? point_cmp_history(a, b) : point_cmp(a, b);
}

/* What the page goes by first. */
static const int64_t *page_xs(const struct metric_walk *walk) {
  return page_axis(walk) == AXIS_TIME ? walk->points.time : walk->points.step;
}

/* What comes next. */
static struct points page_points(const struct metric_walk *walk) {
  return points_slice(&walk->points, walk->given, MIN_OF(walk->points.n - walk->given, walk->ask.limit));
}

static void page_ended(struct metric_walk *walk, const struct err *failed) {
  struct err err;
  if (failed)
    err = *failed;
  struct points points = failed ? (struct points){0} : page_points(walk);
  bool more = !failed && walk->points.n - walk->given > points.n;
  walk->given += points.n;
  if (more) {
    walk->ask.has_after = true;
    walk->ask.after = points_at(&points, points.n - 1);
  }
  metric_coder_give(walk->store, walk->load->coder);
  walk->load->coder = NULL;
  if (!walk->page) {
    walk->done(walk->ctx, buf_str(&walk->text), more, failed ? &err : NULL);
    return;
  }
  walk->page(walk->ctx, &points, more, failed ? &err : NULL);
  metric_walk_free(walk);
}

static int64_t low_x(const struct series_part *part, enum axis axis) {
  int64_t low, high;
  part_range(part, axis, &low, &high);
  return low;
}

static int by_low_time(const void *a, const void *b) {
  int64_t x = low_x(*(const struct series_part *const *)a, AXIS_TIME), y = low_x(*(const struct series_part *const *)b, AXIS_TIME);
  return (x > y) - (x < y);
}

static int by_low_step(const void *a, const void *b) {
  int64_t x = low_x(*(const struct series_part *const *)a, AXIS_STEP), y = low_x(*(const struct series_part *const *)b, AXIS_STEP);
  return (x > y) - (x < y);
}

static int cmp_places(const void *a, const void *b, void *ctx) {
  const struct metric_walk *walk = ctx;
  return page_cmp(walk, points_at(&walk->points, *(const uint32_t *)a), points_at(&walk->points, *(const uint32_t *)b));
}

static bool is_sorted(const struct metric_walk *walk) {
  const struct points *points = &walk->points;
  const int64_t *xs = page_xs(walk);
  for (size_t i = walk->given + 1; i < points->n; i++)
    if (xs[i - 1] >= xs[i] && page_cmp(walk, points_at(points, i - 1), points_at(points, i)) > 0)
      return false;
  return true;
}

/* Sorts what was not given yet. */
static bool sort_page(struct metric_walk *walk) {
  struct points *points = &walk->points;
  size_t from = walk->given, n = points->n - from;
  if (is_sorted(walk))
    return true;
  AUTO_FREE uint32_t *index = mem_array(n, sizeof *index);
  AUTO_POINTS struct points to = {0};
  if (!index || !points_reserve(&to, n))
    return false;
  for (size_t i = 0; i < n; i++)
    index[i] = (uint32_t)(from + i);
  qsort_r(index, n, sizeof *index, cmp_places, walk);
  for (size_t i = 0; i < n; i++)
    if (!points_add(&to, points_at(points, index[i])))
      return false;
  struct points swap = *points;
  *points = to;
  to = swap;
  walk->given = 0;
  return true;
}

/* Makes the room of what was given free. */
static void drop_given(struct metric_walk *walk) {
  struct points *points = &walk->points;
  size_t from = walk->given, n = points->n - from;
  walk->given = 0;
  points->n = n;
  if (!from || !n)
    return;
  memmove(points->step, points->step + from, n * sizeof *points->step);
  memmove(points->time, points->time + from, n * sizeof *points->time);
  memmove(points->value, points->value + from, n * sizeof *points->value);
  memmove(points->epoch, points->epoch + from, n * sizeof *points->epoch);
}

/* Is it of the steps asked for, and was it not given with an earlier page? */
static bool is_asked(const struct metric_walk *walk, const int64_t *xs, size_t i) {
  int64_t step = walk->points.step[i];
  if (step < walk->ask.from || step > walk->ask.to)
    return false;
  if (!walk->ask.has_after)
    return true;
  int64_t after = page_axis(walk) == AXIS_TIME ? walk->ask.after.time : walk->ask.after.step;
  return xs[i] > after || page_cmp(walk, points_at(&walk->points, i), walk->ask.after) > 0;
}

/* Drops what lies outside of the question, from `from` on. */
static void filter_page(struct metric_walk *walk, size_t from) {
  struct points *points = &walk->points;
  const int64_t *xs = page_xs(walk);
  size_t kept = from;
  while (kept < points->n && is_asked(walk, xs, kept))
    kept++;
  for (size_t i = kept; i < points->n; i++) {
    if (!is_asked(walk, xs, i))
      continue;
    struct point point = points_at(points, i);
    points->step[kept] = point.step;
    points->time[kept] = point.time;
    points->value[kept] = point.value;
    points->epoch[kept++] = point.epoch;
  }
  points->n = kept;
}

/* Is the page full, and does no part to come reach before its end? */
static bool is_complete(const struct metric_walk *walk) {
  if (walk->taken == walk->part_count)
    return true;
  if (walk->points.n - walk->given <= walk->ask.limit)
    return false;
  struct point last = points_at(&walk->points, walk->given + walk->ask.limit);
  return low_x(walk->parts[walk->taken], page_axis(walk)) > (page_axis(walk) == AXIS_TIME ? last.time : last.step);
}

/* Points that were there already are in order. */
static bool take_window(struct metric_walk *walk) {
  if (!walk->window)
    return true;
  drop_given(walk);
  for (size_t i = 0; i < walk->window; i++) {
    const struct series_part *part = walk->parts[walk->taken + i];
    struct str data = part->chunk ? metric_load_piece(walk->load, part->chunk, PIECE_POINTS) : STR_NONE;
    size_t before = walk->points.n;
    if (!part_points(part, walk->load->coder, data, &walk->points, &walk->err))
      return false;
    filter_page(walk, before);
  }
  walk->taken += walk->window;
  walk->window = 0;
  return sort_page(walk) || err_no_memory(&walk->err);
}

static void run_page(struct work *work) {
  struct metric_walk *walk = CONTAINER_OF(work, struct metric_walk, work);
  if (!take_window(walk) || !walk->render || !is_complete(walk))
    return;
  struct points points = page_points(walk);
  walk->render(walk->render_ctx, &points, &walk->text);
}

static void page_fetched(void *ctx, struct metric_load *load, const struct err *failed);
static void page_computed(struct work *work, bool cancelled);

static void compute(struct metric_walk *walk) {
  walk->work = (struct work){.run = run_page, .done = page_computed};
  metric_compute(walk->store, &walk->work, &walk->instead);
}

static bool next_window(struct metric_walk *walk, struct err *err) {
  size_t spare = walk->page ? WINDOW_SPARE : WINDOW_OF_WALK;
  walk->window = MIN_OF((size_t)WINDOW_MAX, walk->ask.limit / CHUNK_POINTS + spare);
  walk->window = MIN_OF(walk->window, walk->part_count - walk->taken);
  metric_load_drop_pieces(walk->load);
  for (size_t i = 0; i < walk->window; i++) {
    const struct series_part *part = walk->parts[walk->taken + i];
    if (part->chunk && !metric_load_want(walk->load, &walk->load->series[0], part->chunk, PIECE_POINTS))
      return err_no_memory(err);
  }
  return metric_load_fetch(walk->load, page_fetched, walk, err);
}

static void page_computed(struct work *work, bool cancelled) {
  struct metric_walk *walk = CONTAINER_OF(work, struct metric_walk, work);
  struct metric_store *store = walk->store;
  struct err err;
  if (cancelled)
    err_set(&walk->err, ERR_CANCELLED, "the service is stopping");
  if (walk->err.code)
    page_ended(walk, &walk->err);
  else if (is_complete(walk))
    page_ended(walk, buf_ok(&walk->text, &err) ? NULL : &err);
  else if (!next_window(walk, &err))
    page_ended(walk, &err);
  metric_op_end(store);
}

/* Parts that lie before the page, or outside of the steps asked for, are not read. */
static bool is_touched(const struct metric_walk *walk, const struct series_part *part) {
  if (!part_touches(part, AXIS_STEP, walk->ask.from, walk->ask.to))
    return false;
  int64_t after = walk->ask.order == METRIC_BY_TIME ? walk->ask.after.time : walk->ask.after.step;
  return !walk->ask.has_after || part_touches(part, page_axis(walk), after, INT64_MAX);
}

static void page_loaded(void *ctx, struct metric_load *load, const struct err *failed) {
  struct metric_walk *walk = ctx;
  struct err err;
  if (failed || load->series_count == 0) {
    page_ended(walk, failed);
    return;
  }
  const struct series_view *view = &load->series[0].view;
  mem_free(walk->parts);
  walk->parts = mem_array(view->count, sizeof(struct series_part *));
  if (!walk->parts) {
    err_no_memory(&err);
    page_ended(walk, &err);
    return;
  }
  walk->is_loaded = true;
  walk->part_count = walk->taken = walk->given = walk->points.n = 0;
  for (size_t i = 0; i < view->count; i++)
    if (is_touched(walk, &view->parts[i]))
      walk->parts[walk->part_count++] = &view->parts[i];
  qsort(walk->parts, walk->part_count, sizeof(struct series_part *), page_axis(walk) == AXIS_TIME ? by_low_time : by_low_step);
  if (walk->part_count == 0)
    page_ended(walk, NULL);
  else if (!next_window(walk, &err))
    page_ended(walk, &err);
}

static void page_fetched(void *ctx, struct metric_load *load, const struct err *failed) {
  struct metric_walk *walk = ctx;
  struct err err;
  if (failed && failed->code == ERR_CONFLICT && walk->tries++ < TRIES) {
    if (!metric_load_run(load, page_loaded, walk, &err))
      page_ended(walk, &err);
  } else if (failed) {
    page_ended(walk, failed);
  } else {
    compute(walk);
  }
}

struct metric_walk *metric_walk_new(struct metric_store *store, const struct metric_page_ask *ask, metric_render_fn *render,
                                    const void *render_ctx, struct err *err) {
  if (ask->limit < 1 || ask->limit > METRIC_PAGE_MAX) {
    err_set(err, ERR_INVALID, "a page has from 1 to %d points", METRIC_PAGE_MAX);
    return NULL;
  }
  struct metric_walk *walk = mem_zalloc(sizeof *walk);
  char *key = mem_strndup(ask->key.p, ask->key.n);
  if (!walk || !key) {
    mem_free(walk);
    mem_free(key);
    err_no_memory(err);
    return NULL;
  }
  *walk = (struct metric_walk){
      .store = store, .key = key, .ask = *ask, .render = render, .render_ctx = render_ctx, .text = BUF_INIT(256 * MIB)};
  walk->ask.key.p = key;
  return walk;
}

static bool start_page(struct metric_walk *walk, struct err *err) {
  if (!walk->load)
    walk->load = metric_load_new(walk->store, &walk->ask.run, 1, &walk->ask.key, 1, walk->ask.attempt);
  if (walk->load && !walk->load->coder)
    walk->load->coder = metric_coder_take(walk->store);
  if (!walk->load || !walk->load->coder)
    return err_no_memory(err);
  buf_reset(&walk->text);
  if (!walk->is_loaded)
    return metric_load_run(walk->load, page_loaded, walk, err);
  if (!is_complete(walk))
    return next_window(walk, err);
  compute(walk);
  return true;
}

/* ---- turns ---- */

static void begin_turn(void *ctx) {
  struct metric_walk *walk = ctx;
  struct metric_store *store = walk->store;
  struct err err;
  if (!start_page(walk, &err))
    walk->done(walk->ctx, STR_NONE, false, &err);
  metric_op_end(store);
}

static void take_turn(struct metric_walk *walk) {
  walk->has_turn = true;
  walk->pages = 0;
  walk->store->walks++;
}

static void end_turn(struct metric_walk *walk) {
  if (!walk->has_turn)
    return;
  struct metric_store *store = walk->store;
  walk->has_turn = false;
  store->walks--;
  struct list_node *node = list_pop_front(&store->walks_waiting);
  if (!node)
    return;
  struct metric_walk *next = LIST_ENTRY(node, struct metric_walk, waiting);
  take_turn(next);
  loop_defer(store->loop, &next->begin, begin_turn, next);
}

void metric_walk_rest(struct metric_walk *walk) {
  points_release(&walk->points);
  buf_release(&walk->text);
  mem_free(walk->parts);
  metric_load_free(walk->load);
  walk->parts = NULL;
  walk->load = NULL;
  walk->is_loaded = false;
  end_turn(walk);
}

void metric_walk_free(struct metric_walk *walk) {
  if (!walk)
    return;
  metric_walk_rest(walk);
  mem_free(walk->key);
  mem_free(walk);
}

bool metric_walk_next(struct metric_walk *walk, metric_walk_fn *done, void *ctx, struct err *err) {
  struct metric_store *store = walk->store;
  walk->done = done;
  walk->ctx = ctx;
  if (walk->has_turn && walk->pages++ >= TURN_PAGES && store->walks_waiting.count)
    metric_walk_rest(walk);
  if (!walk->has_turn && store->walks >= WALKS_MAX) {
    metric_op_begin(store);
    list_push_back(&store->walks_waiting, &walk->waiting);
    return true;
  }
  if (!walk->has_turn)
    take_turn(walk);
  return start_page(walk, err);
}

bool metric_page(struct metric_store *store, const struct metric_page_ask *ask, metric_page_fn *done, void *ctx, struct err *err) {
  struct metric_walk *walk = metric_walk_new(store, ask, NULL, NULL, err);
  if (!walk)
    return false;
  walk->page = done;
  walk->ctx = ctx;
  if (start_page(walk, err))
    return true;
  metric_walk_free(walk);
  return false;
}
