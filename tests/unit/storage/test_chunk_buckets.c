/* Buckets put together from cells and points are the same as going over all points, for any series, range, axis and scale. */
#include "base/mem.h"
#include "base/rng.h"
#include "storage/metrics/chunk_buckets.h"
#include "storage/metrics/chunk_code.h"
#include "storage/metrics/chunk_fold.h"
#include "tests/support/test.h"

static struct column_coder *coder;

static int setup(void **state UNUSED) {
  coder = column_coder_new();
  return coder ? 0 : -1;
}

static int teardown(void **state UNUSED) {
  column_coder_free(coder);
  return 0;
}

static int64_t draw_x(struct rng *rng, unsigned kind, int64_t last) {
  switch (kind) {
  case 0:
    return last + 1;
  case 1:
    return last + (int64_t)rng_below(rng, 100);
  case 2:
    return (int64_t)rng_below(rng, 50) - 25;
  case 3:
    return (int64_t)rng_u64(rng);
  case 4:
    return last + (rng_below(rng, 100) ? 1 : 1000000);
  default:
    return 1700000000000 + last % 7 * 1000 + (int64_t)rng_below(rng, 3000);
  }
}

static double draw_value(struct rng *rng) {
  static const double odd[] = {NAN, INFINITY, -INFINITY, 0.0, -0.0, 1e9};
  return rng_below(rng, 30) ? rng_normal(rng) : odd[rng_below(rng, ARRAY_LEN(odd))];
}

static void draw_series(struct rng *rng, size_t n, struct points *ret) {
  unsigned steps = (unsigned)rng_below(rng, 6), times = (unsigned)rng_below(rng, 6);
  struct point point = {0, 0, 0, NAN};
  for (size_t i = 0; i < n; i++) {
    point = (struct point){draw_x(rng, steps, point.step), draw_x(rng, times, point.time), draw_value(rng), NAN};
    assert_true(points_add(ret, point));
  }
  assert_true(points_normalise(ret));
}

static bool same_value(double a, double b) {
  return value_bits(value_canonical(a)) == value_bits(value_canonical(b));
}

/* The plainest form of the definition: the points of a bucket, sorted by x and then by their order. */
static struct bucket brute(const struct points *points, enum axis axis, int64_t low, int64_t high) {
  struct bucket bucket = {.min = NAN, .max = NAN};
  for (size_t i = 0; i < points->n; i++) {
    int64_t x = axis_x(axis, points, i);
    double value = points->value[i];
    if (x < low || x > high)
      continue;
    if (bucket.count == 0 || x < bucket.first_x) {
      bucket.first_x = x;
      bucket.first = value;
    }
    if (bucket.count == 0 || x >= bucket.last_x) {
      bucket.last_x = x;
      bucket.last = value;
    }
    bucket.count++;
    if (isnan(value)) {
      bucket.nans++;
      continue;
    }
    if (isnan(bucket.min) || value_cmp(value, bucket.min) < 0)
      bucket.min = value;
    if (isnan(bucket.max) || value_cmp(value, bucket.max) > 0)
      bucket.max = value;
  }
  return bucket;
}

static void assert_same_bucket(const struct bucket *a, const struct bucket *b) {
  assert_int_equal(a->count, b->count);
  if (!a->count)
    return;
  assert_int_equal(a->nans, b->nans);
  assert_int_equal(a->first_x, b->first_x);
  assert_int_equal(a->last_x, b->last_x);
  assert_true(same_value(a->first, b->first));
  assert_true(same_value(a->last, b->last));
  assert_true(same_value(a->min, b->min));
  assert_true(same_value(a->max, b->max));
}

static int64_t bucket_end(const struct grid *grid, size_t i) {
  return i + 1 < grid->n ? grid->start[i + 1] - 1 : grid->to;
}

static void assert_grid(const struct grid *grid, enum scale scale, int64_t from, int64_t to, int64_t origin, size_t want) {
  assert_true(grid->n <= want);
  for (size_t i = 1; i < grid->n; i++)
    assert_true(grid->start[i] > grid->start[i - 1]);
  if (scale == SCALE_LINEAR)
    assert_int_equal(grid->n > 0, from <= to);
  else
    assert_int_equal(grid->n > 0, from <= to && to > origin);
  if (grid->n) {
    int64_t lowest = scale == SCALE_LOG && from <= origin ? origin + 1 : from;
    assert_int_equal(grid->start[0], lowest);
    assert_int_equal(grid->to, to);
    assert_true(grid->start[grid->n - 1] <= to);
  }
}

/* Chunks of random sizes, as the store adds them: cells where they fit, else points. Returns how many chunks were read point by point. */
static size_t add_in_chunks(struct rng *rng, const struct grid *grid, const struct points *points, struct bucket *buckets) {
  size_t raw = 0;
  for (size_t at = 0; at < points->n;) {
    size_t n = 1 + (size_t)rng_below(rng, points->n - at);
    AUTO_POINTS struct points chunk = {0};
    assert_true(points_add_range(&chunk, points, at, n));
    struct cells built, cells;
    AUTO_BUF struct buf bytes = BUF_INIT(MIB);
    struct err err;
    cells_build(&chunk, grid->axis, CELLS_MAX, &built);
    cells_put(coder, &built, &bytes);
    assert_true(cells_get(coder, buf_str(&bytes), &cells, &err));
    if (!grid_add_cells(grid, &cells, buckets)) {
      grid_add_points(grid, &chunk, 0, n, buckets);
      raw++;
    }
    at += n;
  }
  return raw;
}

static void same_as_brute_force(void **state UNUSED) {
  struct rng rng = rng_seeded(20261121);
  for (int round = 0; round < 10000; round++) {
    AUTO_POINTS struct points points = {0};
    draw_series(&rng, 1 + (size_t)rng_below(&rng, round % 20 ? 60 : 1500), &points);
    enum axis axis = rng_below(&rng, 2) ? AXIS_STEP : AXIS_TIME;
    enum scale scale = rng_below(&rng, 2) ? SCALE_LINEAR : SCALE_LOG;
    size_t a = (size_t)rng_below(&rng, points.n), b = (size_t)rng_below(&rng, points.n);
    int64_t from = axis_x(axis, &points, a), to = axis_x(axis, &points, b);
    int64_t origin = rng_below(&rng, 2) ? 0 : from - (int64_t)rng_below(&rng, 100);
    if (rng_below(&rng, 4) == 0) {
      from = INT64_MIN;
      to = INT64_MAX;
      origin = 0;
    }
    size_t want = 1 + (size_t)rng_below(&rng, rng_below(&rng, 2) ? 10 : 1000);
    struct grid grid;
    struct err err;
    assert_true(grid_make(axis, scale, from, to, origin, want, &grid, &err));
    assert_grid(&grid, scale, from, to, origin, want);
    AUTO_FREE struct bucket *buckets = mem_array(want, sizeof *buckets);
    add_in_chunks(&rng, &grid, &points, buckets);
    for (size_t i = 0; i < grid.n; i++) {
      struct bucket expected = brute(&points, axis, grid.start[i], bucket_end(&grid, i));
      assert_same_bucket(&buckets[i], &expected);
    }
    grid_release(&grid);
  }
}

/* A long regular series in full view is made of cells alone: only then does the cost not grow with its points. */
static void regular_series_needs_no_points(void **state UNUSED) {
  enum { CHUNKS = 64 };
  struct rng rng = rng_seeded(5);
  for (int axis = AXIS_STEP; axis <= AXIS_TIME; axis++) {
    int64_t low = axis == AXIS_STEP ? 0 : 1700000000000;
    int64_t high = axis == AXIS_STEP ? (int64_t)CHUNKS * CHUNK_POINTS - 1 : low + (int64_t)CHUNKS * CHUNK_POINTS * 100;
    struct grid grid;
    struct err err;
    assert_true(grid_make((enum axis)axis, SCALE_LINEAR, low, high, 0, 1000, &grid, &err));
    assert_true(grid.n > 500);
    AUTO_FREE struct bucket *buckets = mem_array(grid.n, sizeof *buckets);
    size_t raw = 0, spikes = 0;
    for (int64_t c = 0; c < CHUNKS; c++) {
      AUTO_POINTS struct points chunk = {0};
      for (int64_t i = c * CHUNK_POINTS; i < (c + 1) * CHUNK_POINTS; i++) {
        bool spike = rng_below(&rng, 20000) == 0;
        spikes += spike;
        assert_true(points_add(&chunk, (struct point){i, 1700000000000 + i * 100 + (int64_t)rng_below(&rng, 90), spike ? 1e6 : 1, NAN}));
      }
      struct cells cells;
      cells_build(&chunk, (enum axis)axis, CELLS_MAX, &cells);
      raw += !grid_add_cells(&grid, &cells, buckets);
    }
    assert_true(spikes > 0);
    int64_t total = 0;
    size_t seen = 0;
    for (size_t i = 0; i < grid.n; i++) {
      total += buckets[i].count;
      seen += buckets[i].max == 1e6;
    }
    assert_int_equal(total, CHUNKS * CHUNK_POINTS);
    assert_true(seen > 0 && seen <= spikes);
    assert_int_equal(raw, 0);
    grid_release(&grid);
  }
}

static void too_many_buckets(void **state UNUSED) {
  struct grid grid;
  struct err err;
  assert_false(grid_make(AXIS_STEP, SCALE_LINEAR, 0, 1, 0, 0, &grid, &err));
  assert_false(grid_make(AXIS_STEP, SCALE_LINEAR, 0, 1, 0, GRID_MAX + 1, &grid, &err));
}

static void folds(void **state UNUSED) {
  struct rng rng = rng_seeded(8);
  for (int round = 0; round < 500; round++) {
    AUTO_POINTS struct points points = {0};
    size_t n = 1 + (size_t)rng_below(&rng, 50);
    for (size_t i = 0; i < n; i++)
      assert_true(
          points_add(&points, (struct point){(int64_t)rng_below(&rng, 10) - 5, (int64_t)rng_below(&rng, 3), draw_value(&rng), NAN}));
    struct fold shuffled = {0}, left = {0}, right = {0};
    fold_add_points(&shuffled, &points, 0, n);
    assert_true(points_normalise(&points));
    size_t half = points.n / 2;
    fold_add_points(&right, &points, half, points.n);
    fold_add_points(&left, &points, 0, half);
    fold_merge(&right, &left);
    assert_int_equal(right.count, points.n);
    assert_int_equal(point_cmp(right.first, points_at(&points, 0)), 0);
    assert_int_equal(point_cmp(right.last, points_at(&points, points.n - 1)), 0);
    assert_int_equal(point_cmp(shuffled.last, right.last), 0);
    assert_true(value_bits(shuffled.min) == value_bits(right.min) || (isnan(shuffled.min) && isnan(right.min)));
    if (!isnan(right.min)) {
      assert_int_equal(shuffled.min_step, right.min_step);
      assert_int_equal(shuffled.max_step, right.max_step);
      for (size_t i = 0; i < points.n; i++)
        assert_false(points.value[i] < right.min || (points.value[i] == right.min && points.step[i] < right.min_step));
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_as_brute_force),
      cmocka_unit_test(regular_series_needs_no_points),
      cmocka_unit_test(too_many_buckets),
      cmocka_unit_test(folds),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
