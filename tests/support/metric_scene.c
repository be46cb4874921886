#include <libpq-fe.h>

#include "tests/support/metric_scene.h"

#include "base/mem.h"
#include "tests/support/test.h"

struct metric_scene scene;
const char *const scene_keys[KEYS] = {"loss", "val/größe", "z"};

/* ---- the frame ---- */

struct metric_store_conf scene_eager(void) {
  struct metric_store_conf conf = metric_store_conf_default();
  conf.flush_ms = 20;
  conf.seal_idle_ms = 50;
  conf.seal_age_ms = 200;
  conf.seal_points = 600;
  conf.seal_rows = 8;
  conf.doubt_ms = 1000;
  return conf;
}

void scene_open_store(const struct metric_store_conf *conf) {
  struct err err;
  scene.pool = pg_cluster_pool(&scene.cluster, NULL);
  scene.store = metric_store_new(scene.cluster.loop, scene.pool, scene.cluster.work, conf, &err);
  assert_non_null(scene.store);
}

static void set_true(void *ctx) {
  *(bool *)ctx = true;
}

void scene_close_store(void) {
  bool stopped = false;
  metric_store_stop(scene.store, set_true, &stopped);
  loop_until(scene.cluster.loop, &stopped, 30000);
  metric_store_free(scene.store);
  pg_pool_free(scene.pool);
  loop_for(scene.cluster.loop, 1);
}

int scene_start(void **state UNUSED) {
  pg_cluster_start(&scene.cluster, NULL);
  pg_cluster_sql(&scene.cluster,
                 "insert into winnow.experiment (id, name, artifact_location, created, updated) values (7, 'test', 'x', 0, 0)");
  return 0;
}

int scene_stop(void **state UNUSED) {
  pg_cluster_stop(&scene.cluster);
  return 0;
}

static void make_run(struct id id) {
  char hex[ID_HEX_LEN + 1], sql[300];
  id_format(id, hex);
  snprintf(sql, sizeof sql, "insert into winnow.run (id, experiment_id, created, state, name) values ('%s', 7, 0, 2, 'r')", hex);
  pg_cluster_sql(&scene.cluster, sql);
}

int scene_set_up(void **state UNUSED) {
  pg_cluster_sql(&scene.cluster,
                 "truncate winnow.run, winnow.run_unindexed, winnow.metric_tail, winnow.metric_chunk, winnow.metric_key cascade");
  scene.rng = rng_seeded(4711);
  for (size_t r = 0; r < RUNS; r++) {
    scene.run_ids[r] = id_new(&clock_system, &scene.rng);
    scene.attempts[r] = 1;
    make_run(scene.run_ids[r]);
  }
  struct metric_store_conf conf = scene_eager();
  scene_open_store(&conf);
  return 0;
}

int scene_tear_down(void **state UNUSED) {
  scene_close_store();
  for (size_t r = 0; r < RUNS; r++)
    for (size_t k = 0; k < KEYS; k++)
      for (size_t a = 0; a < ATTEMPTS; a++)
        points_release(&scene.model[r][k][a]);
  return 0;
}

void scene_next_attempt(size_t r) {
  char hex[ID_HEX_LEN + 1], sql[200];
  if (scene.attempts[r] == ATTEMPTS)
    return;
  scene.attempts[r]++;
  id_format(scene.run_ids[r], hex);
  snprintf(sql, sizeof sql, "update winnow.run set attempt = %d where id = '%s'", scene.attempts[r], hex);
  pg_cluster_sql(&scene.cluster, sql);
}

PGconn *scene_lock_run(size_t r) {
  char hex[ID_HEX_LEN + 1], sql[200];
  id_format(scene.run_ids[r], hex);
  snprintf(sql, sizeof sql, "begin; select from winnow.run where id = '%s' for update", hex);
  PGconn *other = PQconnectdb(scene.cluster.conninfo);
  PGresult *locked = PQexec(other, sql);
  assert_int_equal(PQntuples(locked), 1);
  PQclear(locked);
  return other;
}

/* ---- calls that wait ---- */

void scene_on_answer(void *ctx, const struct err *err) {
  struct answer *answer = ctx;
  assert_false(answer->done);
  answer->done = true;
  answer->ok = !err;
  if (err)
    answer->err = *err;
}

void scene_wait(struct answer *answer) {
  loop_until(scene.cluster.loop, &answer->done, 30000);
}

void scene_append(size_t r, int32_t attempt, const struct metric_rows *rows, struct answer *answer) {
  struct err err;
  *answer = (struct answer){.done = false};
  assert_true(metric_append(scene.store, scene.run_ids[r], attempt, rows, scene_on_answer, answer, &err));
  assert_false(answer->done);
}

static void settle(const struct id *run) {
  struct answer answer = {.done = false};
  struct err err;
  assert_true(metric_settle(scene.store, run, scene_on_answer, &answer, &err));
  assert_false(answer.done);
  scene_wait(&answer);
  assert_true(answer.ok);
}

void scene_seal_all(void) {
  struct answer answer = {.done = false};
  struct err err;
  assert_true(metric_seal_all(scene.store, scene_on_answer, &answer, &err));
  scene_wait(&answer);
  assert_true(answer.ok);
}

/* ---- the model ---- */

void scene_note(size_t r, const struct metric_rows *rows) {
  for (size_t i = 0; i < rows->points.n; i++)
    for (size_t k = 0; k < KEYS; k++)
      if (str_is(rows->keys[rows->series[i]], scene_keys[k]))
        assert_true(points_add(&scene.model[r][k][scene.attempts[r] - 1], points_at(&rows->points, i)));
  for (size_t k = 0; k < KEYS; k++)
    assert_true(points_normalise(&scene.model[r][k][scene.attempts[r] - 1]));
}

static void expected(size_t r, size_t k, int32_t attempt, struct points *ret) {
  for (int32_t a = 0; a < ATTEMPTS; a++)
    for (size_t i = 0; i < scene.model[r][k][a].n; i++) {
      bool visible = attempt ? attempt == a + 1 : true;
      for (int32_t later = a + 1; !attempt && later < ATTEMPTS; later++)
        visible = visible && !(scene.model[r][k][later].n && scene.model[r][k][later].step[0] <= scene.model[r][k][a].step[i]);
      if (visible)
        assert_true(points_add_range(ret, &scene.model[r][k][a], i, 1));
    }
}

static const double hard_values[] = {NAN, INFINITY, -INFINITY, -0.0, 0.0, 5e-324, 1.7976931348623157e308};

void scene_draw_rows(size_t r, struct metric_rows *rows) {
  metric_rows_init(rows);
  size_t n = 1 + (size_t)rng_below(&scene.rng, rng_below(&scene.rng, 20) ? 40 : 900);
  size_t k = (size_t)rng_below(&scene.rng, KEYS);
  const struct points *known = &scene.model[r][k][scene.attempts[r] - 1];
  int64_t step = known->n ? known->step[known->n - 1] : (int64_t)rng_below(&scene.rng, 100) - 50;
  uint64_t mode = rng_below(&scene.rng, 10);
  if (mode == 0) /* late */
    step -= (int64_t)rng_below(&scene.rng, 500);
  for (size_t i = 0; i < n; i++) {
    if (mode == 1)
      k = (size_t)rng_below(&scene.rng, KEYS);
    if (mode == 2)
      step = (int64_t)rng_u64(&scene.rng);
    else if (mode != 3) /* 3: the same step, other times */
      step += (int64_t)rng_below(&scene.rng, 3);
    double value = rng_below(&scene.rng, 15) ? rng_normal(&scene.rng) : hard_values[rng_below(&scene.rng, ARRAY_LEN(hard_values))];
    struct point point = {step, (int64_t)rng_below(&scene.rng, 3) + (int64_t)i, value, rng_below(&scene.rng, 2) ? NAN : 3};
    if (mode == 4 && known->n && rng_below(&scene.rng, 2)) /* delivered before */
      point = points_at(known, (size_t)rng_below(&scene.rng, known->n));
    assert_true(metric_rows_add(rows, str_of(scene_keys[k]), point));
  }
}

/* ---- comparing ---- */

void scene_on_page(void *ctx, const struct points *points, bool more, const struct err *err) {
  struct got_page *got = ctx;
  got->done = true;
  got->ok = !err;
  got->more = more;
  if (err)
    got->err = *err;
  assert_true(points_add_range(&got->points, points, 0, points->n));
}

static int by_history(const void *a, const void *b) {
  return point_cmp_history(*(const struct point *)a, *(const struct point *)b);
}

void scene_check_pages(size_t r, size_t k, int32_t attempt) {
  AUTO_POINTS struct points right = {0}, all = {0};
  expected(r, k, attempt, &right);
  struct metric_page_ask ask = {.run = scene.run_ids[r],
                                .key = str_of(scene_keys[k]),
                                .order = rng_below(&scene.rng, 2) ? METRIC_BY_TIME : METRIC_BY_STEP,
                                .attempt = attempt,
                                .from = INT64_MIN,
                                .to = INT64_MAX,
                                .limit = 1 + (size_t)rng_below(&scene.rng, 2000)};
  for (bool more = true; more;) {
    struct got_page got = {.done = false};
    struct err err;
    assert_true(metric_page(scene.store, &ask, scene_on_page, &got, &err));
    loop_until(scene.cluster.loop, &got.done, 30000);
    assert_true(got.ok);
    assert_true(got.points.n <= ask.limit);
    assert_true(!got.more || got.points.n == ask.limit);
    assert_true(points_add_range(&all, &got.points, 0, got.points.n));
    more = got.more;
    if (more) {
      ask.has_after = true;
      ask.after = points_at(&got.points, got.points.n - 1);
    }
    points_release(&got.points);
  }
  assert_int_equal(all.n, right.n);
  AUTO_FREE struct point *sorted = mem_array(right.n, sizeof *sorted);
  for (size_t i = 0; i < right.n; i++)
    sorted[i] = points_at(&right, i);
  if (ask.order == METRIC_BY_TIME && right.n)
    qsort(sorted, right.n, sizeof *sorted, by_history);
  for (size_t i = 0; i < all.n; i++) {
    assert_int_equal(all.step[i], sorted[i].step);
    assert_int_equal(all.time[i], sorted[i].time);
    assert_true(value_bits(all.value[i]) == value_bits(sorted[i].value));
  }
}

struct got_chart {
  bool done;
  struct grid grid;
  const struct points *right;
};

static void on_chart(void *ctx, const struct metric_series *series, size_t count, const struct err *err) {
  struct got_chart *got = ctx;
  got->done = true;
  assert_null(err);
  assert_int_equal(count, got->right->n ? 1 : 0);
  if (!count)
    return;
  struct bucket *right = mem_array(got->grid.n, sizeof *right);
  assert_non_null(right);
  grid_add_points(&got->grid, got->right, 0, got->right->n, right);
  size_t at = 0;
  for (size_t i = 0; i < got->grid.n; i++) {
    if (!right[i].count)
      continue;
    assert_true(at < series->bucket_count);
    const struct bucket *bucket = &series->buckets[at++];
    assert_int_equal(bucket->count, right[i].count);
    assert_int_equal(bucket->first_x, right[i].first_x);
    assert_int_equal(bucket->last_x, right[i].last_x);
    assert_int_equal(bucket->nans, right[i].nans);
    assert_int_equal(value_cmp(bucket->first, right[i].first), 0);
    assert_int_equal(value_cmp(bucket->last, right[i].last), 0);
    assert_int_equal(value_cmp(bucket->min, right[i].min), 0);
    assert_int_equal(value_cmp(bucket->max, right[i].max), 0);
  }
  assert_int_equal(at, series->bucket_count);
  assert_int_equal(series->damaged, 0);
  mem_free(right);
}

void scene_check_chart(size_t r, size_t k) {
  AUTO_POINTS struct points right = {0};
  expected(r, k, 0, &right);
  bool by_time = rng_below(&scene.rng, 2);
  int64_t low = (int64_t)rng_below(&scene.rng, 200) - 100;
  struct str key = str_of(scene_keys[k]);
  struct metric_series_ask ask = {.runs = &scene.run_ids[r],
                                  .run_count = 1,
                                  .keys = &key,
                                  .key_count = 1,
                                  .x = by_time ? METRIC_X_TIME : METRIC_X_STEP,
                                  .scale = rng_below(&scene.rng, 3) ? SCALE_LINEAR : SCALE_LOG,
                                  .has_from = true,
                                  .has_to = true,
                                  .from = low,
                                  .to = low + (int64_t)rng_below(&scene.rng, 3000),
                                  .buckets = 1 + (size_t)rng_below(&scene.rng, 300)};
  if (rng_below(&scene.rng, 4) == 0) {
    ask.from = INT64_MIN;
    ask.to = INT64_MAX;
  }
  struct got_chart got = {.right = &right};
  struct err err;
  assert_true(grid_make(by_time ? AXIS_TIME : AXIS_STEP, ask.scale, ask.from, ask.to, 0, ask.buckets, &got.grid, &err));
  assert_true(metric_series_read(scene.store, &ask, on_chart, &got, &err));
  loop_until(scene.cluster.loop, &got.done, 30000);
  grid_release(&got.grid);
}

struct got_summaries {
  bool done;
  size_t run;
};

static void on_summaries(void *ctx, const struct metric_summary *list, size_t count, const struct err *err) {
  struct got_summaries *got = ctx;
  got->done = true;
  assert_null(err);
  size_t seen = 0;
  for (size_t k = 0; k < KEYS; k++) {
    AUTO_POINTS struct points right = {0};
    struct fold fold = {0};
    expected(got->run, k, 0, &right);
    fold_add_points(&fold, &right, 0, right.n);
    for (size_t i = 0; i < count; i++) {
      if (!str_is(list[i].key, scene_keys[k]))
        continue;
      seen++;
      assert_int_equal(list[i].fold.count, fold.count);
      assert_int_equal(list[i].fold.nans, fold.nans);
      assert_int_equal(point_cmp(list[i].fold.last, fold.last), 0);
      assert_int_equal(point_cmp(list[i].fold.first, fold.first), 0);
      assert_int_equal(value_cmp(list[i].fold.min, fold.min), 0);
      assert_int_equal(value_cmp(list[i].fold.max, fold.max), 0);
    }
  }
  assert_int_equal(seen, count);
}

void scene_check_summaries(size_t r) {
  struct got_summaries got = {.run = r};
  struct err err;
  assert_true(metric_summaries(scene.store, &scene.run_ids[r], 1, on_summaries, &got, &err));
  loop_until(scene.cluster.loop, &got.done, 30000);
}

/* run.metrics after settling: last value, step, time of each key, as Postgres has them, and how many; of a single one that is not stored.
 */
void scene_check_run_row(size_t r) {
  settle(rng_below(&scene.rng, 2) ? &scene.run_ids[r] : NULL);
  char hex[ID_HEX_LEN + 1], sql[600];
  id_format(scene.run_ids[r], hex);
  for (size_t k = 0; k < KEYS; k++) {
    AUTO_POINTS struct points right = {0};
    struct fold fold = {0};
    expected(r, k, 0, &right);
    fold_add_points(&fold, &right, 0, right.n);
    char value[32];
    str_from_f64(fold.last.value, value);
    if (!fold.count) { /* nothing is left of it, here neither */
      snprintf(sql, sizeof sql, "select (metrics ? '%s')::int::bigint from winnow.run where id = '%s'", scene_keys[k], hex);
      assert_int_equal(pg_cluster_int(&scene.cluster, sql), 0);
      continue;
    }
    snprintf(sql, sizeof sql,
             "select case when coalesce(nullif(split_part(m, ' ', 6), '')::bigint, 1) = %lld and split_part(m, ' ', 2)::bigint = %lld "
             "and split_part(m, ' ', 3)::bigint = %lld and winnow.metric_last(metrics, '%s') = '%s'::float8 then 1 else 0 end::bigint "
             "from winnow.run cross join lateral (select metrics ->> '%s') x (m) where id = '%s'",
             (long long)fold.count, (long long)fold.last.step, (long long)fold.last.time, scene_keys[k], value, scene_keys[k], hex);
    assert_int_equal(pg_cluster_int(&scene.cluster, sql), 1);
  }
}

static void on_damage(void *ctx, const struct metric_damage *damage) {
  struct got_fsck *got = ctx;
  got->damages++;
  got->first_step = damage->first_step;
  got->last_step = damage->last_step;
}

static void on_fsck(void *ctx, const struct metric_fsck_report *report, bool more, const struct err *err) {
  struct got_fsck *got = ctx;
  got->done = true;
  got->more = more;
  got->ok = !err;
  got->report = *report;
}

struct got_fsck scene_fsck(void) {
  struct got_fsck got = {.more = true};
  struct err err;
  struct metric_fsck *op = metric_fsck_new(scene.store, on_damage, &err);
  assert_non_null(op);
  while (got.more) {
    got.done = false;
    assert_true(metric_fsck_step(op, on_fsck, &got, &err));
    assert_false(got.done);
    loop_until(scene.cluster.loop, &got.done, 60000);
    assert_true(got.ok);
  }
  metric_fsck_free(op);
  return got;
}

void scene_check_something(size_t r) {
  size_t k = (size_t)rng_below(&scene.rng, KEYS);
  switch (rng_below(&scene.rng, 4)) {
  case 0:
    scene_check_pages(r, k, rng_below(&scene.rng, 3) ? 0 : 1 + (int32_t)rng_below(&scene.rng, ATTEMPTS));
    break;
  case 1:
    scene_check_chart(r, k);
    break;
  case 2:
    scene_check_summaries(r);
    break;
  default:
    scene_check_run_row(r);
  }
}

void scene_write_regular(size_t r, size_t n) {
  for (size_t at = 0; at < n; at += 10000) {
    struct metric_rows rows;
    struct answer answer;
    metric_rows_init(&rows);
    for (size_t i = at; i < MIN_OF(n, at + 10000); i++)
      assert_true(metric_rows_add(&rows, STR("loss"), (struct point){(int64_t)i, 1700000000000 + (int64_t)i * 10, sin((double)i), NAN}));
    scene_append(r, 0, &rows, &answer);
    scene_wait(&answer);
    assert_true(answer.ok);
    scene_note(r, &rows);
    metric_rows_release(&rows);
  }
}
