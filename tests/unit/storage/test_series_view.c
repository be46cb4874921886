/* Chunks and unsealed points of several attempts, read in every way, against the plain definition over all points. */
#include "base/mem.h"
#include "base/rng.h"
#include "storage/metrics/series_view.h"
#include "tests/support/test.h"

enum { ATTEMPTS = 3, CHUNKS_MAX = 64 };

static struct column_coder *coder;

static int setup(void **state UNUSED) {
  coder = column_coder_new();
  return coder ? 0 : -1;
}

static int teardown(void **state UNUSED) {
  column_coder_free(coder);
  return 0;
}

/* A stored series, and what it must look like. */
struct world {
  struct chunk_info chunks[CHUNKS_MAX];
  struct buf data[CHUNKS_MAX], cells[CHUNKS_MAX][2];
  size_t chunk_count;
  struct tail_points tails[ATTEMPTS];
  struct points all[ATTEMPTS]; /* of attempt i + 1, normal */
};

static void seal(struct world *world, const struct points *points, int32_t attempt) {
  size_t i = world->chunk_count++;
  assert_true(i < CHUNKS_MAX);
  chunk_info_make(points, attempt, &world->chunks[i]);
  world->chunks[i].id = (int64_t)i;
  world->data[i] = BUF_INIT(MIB);
  chunk_put(coder, points, &world->data[i]);
  for (int axis = AXIS_STEP; axis <= AXIS_TIME; axis++) {
    struct cells cells;
    world->cells[i][axis] = BUF_INIT(MIB);
    cells_build(points, (enum axis)axis, CELLS_MAX, &cells);
    cells_put(coder, &cells, &world->cells[i][axis]);
  }
  world->chunks[i].by_step = buf_str(&world->cells[i][0]);
  world->chunks[i].by_time = buf_str(&world->cells[i][1]);
}

static double draw_value(struct rng *rng) {
  return rng_below(rng, 10) ? (double)rng_below(rng, 5) : NAN;
}

static void draw_attempt(struct world *world, struct rng *rng, int32_t attempt) {
  struct points *all = &world->all[attempt - 1];
  size_t n = (size_t)rng_below(rng, 80);
  int64_t from = (int64_t)rng_below(rng, 100) - 20, wide = 1 + (int64_t)rng_below(rng, 100);
  for (size_t i = 0; i < n; i++)
    assert_true(
        points_add(all, (struct point){from + (int64_t)rng_below(rng, (uint64_t)wide), (int64_t)rng_below(rng, 50), draw_value(rng), NAN}));
  assert_true(points_normalise(all));
  /* Some points are not sealed, and some of the sealed were delivered again. */
  AUTO_POINTS struct points sealed = {0};
  struct points *tail = &world->tails[attempt - 1].points;
  world->tails[attempt - 1].attempt = attempt;
  uint64_t unsealed = rng_below(rng, 3) ? 10 : 0;
  for (size_t i = 0; i < all->n; i++) {
    bool in_tail = rng_below(rng, 100) < unsealed, again = rng_below(rng, 100) < unsealed / 2;
    if (in_tail || again)
      assert_true(points_add_range(tail, all, i, 1));
    if (!in_tail)
      assert_true(points_add_range(&sealed, all, i, 1));
  }
  for (size_t at = 0; at < sealed.n;) {
    size_t size = 1 + (size_t)rng_below(rng, 30);
    size = MIN_OF(size, sealed.n - at);
    AUTO_POINTS struct points chunk = {0};
    assert_true(points_add_range(&chunk, &sealed, at, size));
    seal(world, &chunk, attempt);
    at += size;
  }
}

static void draw_world(struct world *world, struct rng *rng) {
  memset(world, 0, sizeof *world);
  for (int32_t attempt = 1; attempt <= ATTEMPTS; attempt++)
    if (attempt == 1 || rng_below(rng, 2))
      draw_attempt(world, rng, attempt);
    else
      world->tails[attempt - 1].attempt = attempt;
  for (size_t i = world->chunk_count; i > 1; i--) { /* the order of rows means nothing */
    size_t j = (size_t)rng_below(rng, i);
    struct chunk_info swap = world->chunks[i - 1];
    world->chunks[i - 1] = world->chunks[j];
    world->chunks[j] = swap;
  }
}

static void release_world(struct world *world) {
  for (size_t i = 0; i < world->chunk_count; i++) {
    buf_release(&world->data[i]);
    buf_release(&world->cells[i][0]);
    buf_release(&world->cells[i][1]);
  }
  for (size_t i = 0; i < ATTEMPTS; i++) {
    points_release(&world->tails[i].points);
    points_release(&world->all[i]);
  }
}

static bool is_visible(const struct world *world, size_t attempt, size_t i) {
  for (size_t later = attempt + 1; later < ATTEMPTS; later++)
    if (world->all[later].n && world->all[later].step[0] <= world->all[attempt].step[i])
      return false;
  return true;
}

static void expected_points(const struct world *world, int32_t attempt, struct points *ret) {
  for (size_t a = 0; a < ATTEMPTS; a++)
    for (size_t i = 0; i < world->all[a].n; i++)
      if (attempt ? attempt == (int32_t)a + 1 : is_visible(world, a, i))
        assert_true(points_add_range(ret, &world->all[a], i, 1));
}

static struct str data_of(const struct world *world, const struct series_part *part) {
  return part->chunk ? buf_str(&world->data[part->chunk->id]) : STR_NONE;
}

static void check_points(const struct world *world, const struct series_view *view, const struct points *expected) {
  AUTO_POINTS struct points got = {0};
  struct err err;
  for (size_t i = 0; i < view->count; i++) {
    size_t before = got.n;
    assert_true(part_points(&view->parts[i], coder, data_of(world, &view->parts[i]), &got, &err));
    for (int axis = AXIS_STEP; axis <= AXIS_TIME; axis++)
      for (size_t p = before; p < got.n; p++) {
        int64_t x = axis_x((enum axis)axis, &got, p);
        assert_true(part_touches(&view->parts[i], (enum axis)axis, x, x));
      }
  }
  assert_int_equal(got.n, expected->n);
  for (size_t i = 0; i < got.n; i++)
    assert_int_equal(point_cmp(points_at(&got, i), points_at(expected, i)), 0);
}

static void check_fold(const struct world *world, const struct series_view *view, const struct points *expected) {
  struct fold fold = {0}, right = {0};
  struct err err;
  for (size_t i = 0; i < view->count; i++)
    if (part_is_mixed(&view->parts[i])) {
      AUTO_POINTS struct points points = {0};
      assert_true(part_points(&view->parts[i], coder, data_of(world, &view->parts[i]), &points, &err));
      fold_add_points(&fold, &points, 0, points.n);
    } else {
      assert_true(part_fold(&view->parts[i], &fold, &err));
    }
  fold_add_points(&right, expected, 0, expected->n);
  assert_int_equal(fold.count, right.count);
  if (!fold.count)
    return;
  assert_int_equal(fold.nans, right.nans);
  assert_int_equal(point_cmp(fold.first, right.first), 0);
  assert_int_equal(point_cmp(fold.last, right.last), 0);
  assert_true(fold.min == right.min || (isnan(fold.min) && isnan(right.min)));
  assert_true(fold.max == right.max || (isnan(fold.max) && isnan(right.max)));
  if (!isnan(fold.min)) {
    assert_int_equal(fold.min_step, right.min_step);
    assert_int_equal(fold.max_step, right.max_step);
  }
}

static void check_buckets(const struct world *world, const struct series_view *view, const struct points *expected, struct rng *rng) {
  enum axis axis = rng_below(rng, 2) ? AXIS_STEP : AXIS_TIME;
  int64_t from = (int64_t)rng_below(rng, 100) - 30, to = from + (int64_t)rng_below(rng, 150);
  struct grid grid;
  struct err err;
  assert_true(grid_make(axis, rng_below(rng, 2) ? SCALE_LINEAR : SCALE_LOG, from, to, 0, 1 + (size_t)rng_below(rng, 40), &grid, &err));
  struct bucket got[40] = {{0}}, right[40] = {{0}};
  for (size_t i = 0; i < view->count; i++) {
    enum part_answer answer = part_buckets(&view->parts[i], coder, &grid, got, &err);
    assert_int_not_equal(answer, PART_FAILED);
    if (answer == PART_NEEDS_POINTS) {
      AUTO_POINTS struct points points = {0};
      assert_true(part_points(&view->parts[i], coder, data_of(world, &view->parts[i]), &points, &err));
      grid_add_points(&grid, &points, 0, points.n, got);
    }
  }
  grid_add_points(&grid, expected, 0, expected->n, right);
  for (size_t i = 0; i < grid.n; i++) {
    assert_int_equal(got[i].count, right[i].count);
    if (!right[i].count)
      continue;
    assert_int_equal(got[i].nans, right[i].nans);
    assert_int_equal(got[i].first_x, right[i].first_x);
    assert_int_equal(got[i].last_x, right[i].last_x);
    assert_int_equal(value_cmp(got[i].first, right[i].first), 0);
    assert_int_equal(value_cmp(got[i].last, right[i].last), 0);
    assert_int_equal(value_cmp(got[i].min, right[i].min), 0);
    assert_int_equal(value_cmp(got[i].max, right[i].max), 0);
  }
  grid_release(&grid);
}

static void same_as_all_points(void **state UNUSED) {
  struct rng rng = rng_seeded(77);
  for (int round = 0; round < 10000; round++) {
    struct world world;
    draw_world(&world, &rng);
    int32_t attempt = rng_below(&rng, 4) ? 0 : 1 + (int32_t)rng_below(&rng, ATTEMPTS);
    AUTO_POINTS struct points expected = {0};
    expected_points(&world, attempt, &expected);
    AUTO_SERIES_VIEW struct series_view view;
    struct err err;
    assert_true(series_view_make(world.chunks, world.chunk_count, world.tails, ATTEMPTS, attempt, &view, &err));
    check_points(&world, &view, &expected);
    check_fold(&world, &view, &expected);
    for (int i = 0; i < 3; i++)
      check_buckets(&world, &view, &expected, &rng);
    release_world(&world);
  }
}

static void memory_runs_out(void **state UNUSED) {
  for (int round = 0; round < 50; round++)
    for (unsigned long n = 1;; n++) {
      struct rng same = rng_for(78, 0, (uint64_t)round);
      struct world world;
      draw_world(&world, &same);
      struct series_view view;
      struct err err;
      mem_fail_at(n, true);
      bool made = series_view_make(world.chunks, world.chunk_count, world.tails, ATTEMPTS, 0, &view, &err);
      mem_fail_at(0, false);
      if (made)
        series_view_release(&view);
      else
        assert_int_equal(err.code, ERR_NO_MEMORY);
      release_world(&world);
      if (made)
        break;
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_as_all_points),
      cmocka_unit_test(memory_runs_out),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
