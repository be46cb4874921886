/* The metric store on a real Postgres: ten thousand random operations against a reference in memory, and what must hold when things go
 * wrong. */
#include <libpq-fe.h>
#include <signal.h>

#include "base/mem.h"
#include "storage/metrics/metric_replace.h"
#include "storage/metrics/metric_store.h"
#include "tests/support/pg_cluster.h"
#include "tests/support/test.h"

enum { RUNS = 4, KEYS = 3, ATTEMPTS = 3 };

static struct pg_cluster cluster;
static struct pg_pool *pool;
static struct metric_store *store;
static struct rng rng;

/* What must be stored: by run, key, attempt. Normal. */
static struct points model[RUNS][KEYS][ATTEMPTS];
static int32_t attempts[RUNS];
static struct id run_ids[RUNS];
static const char *const key_names[KEYS] = {"loss", "val/größe", "z"};

/* ---- the frame ---- */

static struct metric_store_conf eager(void) {
  struct metric_store_conf conf = metric_store_conf_default();
  conf.flush_ms = 20;
  conf.seal_idle_ms = 50;
  conf.seal_age_ms = 200;
  conf.seal_points = 600;
  conf.seal_rows = 8;
  return conf;
}

static void open_store(const struct metric_store_conf *conf) {
  struct err err;
  pool = pg_cluster_pool(&cluster, NULL);
  store = metric_store_new(cluster.loop, pool, cluster.work, conf, &err);
  assert_non_null(store);
}

static void set_true(void *ctx) {
  *(bool *)ctx = true;
}

static void close_store(void) {
  bool stopped = false;
  metric_store_stop(store, set_true, &stopped);
  loop_until(cluster.loop, &stopped, 30000);
  metric_store_free(store);
  pg_pool_free(pool);
  loop_for(cluster.loop, 1);
}

static int start_all(void **state UNUSED) {
  pg_cluster_start(&cluster, NULL);
  pg_cluster_sql(&cluster, "insert into winnow.experiment (id, name, artifact_location, created, updated) values (7, 'test', 'x', 0, 0)");
  return 0;
}

static int stop_all(void **state UNUSED) {
  pg_cluster_stop(&cluster);
  return 0;
}

static void make_run(struct id id) {
  char hex[ID_HEX_LEN + 1], sql[300];
  id_format(id, hex);
  snprintf(sql, sizeof sql, "insert into winnow.run (id, experiment_id, created, state, name) values ('%s', 7, 0, 2, 'r')", hex);
  pg_cluster_sql(&cluster, sql);
}

static int set_up(void **state UNUSED) {
  pg_cluster_sql(&cluster, "truncate winnow.run, winnow.run_unindexed, winnow.metric_tail, winnow.metric_chunk, winnow.metric_key cascade");
  rng = rng_seeded(4711);
  for (size_t r = 0; r < RUNS; r++) {
    run_ids[r] = id_new(&clock_system, &rng);
    attempts[r] = 1;
    make_run(run_ids[r]);
  }
  struct metric_store_conf conf = eager();
  open_store(&conf);
  return 0;
}

static int tear_down(void **state UNUSED) {
  close_store();
  for (size_t r = 0; r < RUNS; r++)
    for (size_t k = 0; k < KEYS; k++)
      for (size_t a = 0; a < ATTEMPTS; a++)
        points_release(&model[r][k][a]);
  return 0;
}

/* ---- calls that wait ---- */

struct answer {
  bool done;
  bool ok;
  struct err err;
};

static void on_answer(void *ctx, const struct err *err) {
  struct answer *answer = ctx;
  assert_false(answer->done);
  answer->done = true;
  answer->ok = !err;
  if (err)
    answer->err = *err;
}

static void wait_for(struct answer *answer) {
  loop_until(cluster.loop, &answer->done, 30000);
}

static void append(size_t r, int32_t attempt, const struct metric_rows *rows, struct answer *answer) {
  struct err err;
  *answer = (struct answer){.done = false};
  assert_true(metric_append(store, run_ids[r], attempt, rows, on_answer, answer, &err));
  assert_false(answer->done);
}

static void settle(const struct id *run) {
  struct answer answer = {.done = false};
  struct err err;
  assert_true(metric_settle(store, run, on_answer, &answer, &err));
  assert_false(answer.done);
  wait_for(&answer);
  assert_true(answer.ok);
}

static void seal_all(void) {
  struct answer answer = {.done = false};
  struct err err;
  assert_true(metric_seal_all(store, on_answer, &answer, &err));
  wait_for(&answer);
  assert_true(answer.ok);
}

/* ---- the model ---- */

static void note(size_t r, const struct metric_rows *rows) {
  for (size_t i = 0; i < rows->points.n; i++)
    for (size_t k = 0; k < KEYS; k++)
      if (str_is(rows->keys[rows->series[i]], key_names[k]))
        assert_true(points_add(&model[r][k][attempts[r] - 1], points_at(&rows->points, i)));
  for (size_t k = 0; k < KEYS; k++)
    assert_true(points_normalise(&model[r][k][attempts[r] - 1]));
}

static void expected(size_t r, size_t k, int32_t attempt, struct points *ret) {
  for (int32_t a = 0; a < ATTEMPTS; a++)
    for (size_t i = 0; i < model[r][k][a].n; i++) {
      bool visible = attempt ? attempt == a + 1 : true;
      for (int32_t later = a + 1; !attempt && later < ATTEMPTS; later++)
        visible = visible && !(model[r][k][later].n && model[r][k][later].step[0] <= model[r][k][a].step[i]);
      if (visible)
        assert_true(points_add_range(ret, &model[r][k][a], i, 1));
    }
}

static const double hard_values[] = {NAN, INFINITY, -INFINITY, -0.0, 0.0, 5e-324, 1.7976931348623157e308};

static void draw_rows(size_t r, struct metric_rows *rows) {
  metric_rows_init(rows);
  size_t n = 1 + (size_t)rng_below(&rng, rng_below(&rng, 20) ? 40 : 900);
  size_t k = (size_t)rng_below(&rng, KEYS);
  const struct points *known = &model[r][k][attempts[r] - 1];
  int64_t step = known->n ? known->step[known->n - 1] : (int64_t)rng_below(&rng, 100) - 50;
  uint64_t mode = rng_below(&rng, 10);
  if (mode == 0) /* late */
    step -= (int64_t)rng_below(&rng, 500);
  for (size_t i = 0; i < n; i++) {
    if (mode == 1)
      k = (size_t)rng_below(&rng, KEYS);
    if (mode == 2)
      step = (int64_t)rng_u64(&rng);
    else if (mode != 3) /* 3: the same step, other times */
      step += (int64_t)rng_below(&rng, 3);
    double value = rng_below(&rng, 15) ? rng_normal(&rng) : hard_values[rng_below(&rng, ARRAY_LEN(hard_values))];
    struct point point = {step, (int64_t)rng_below(&rng, 3) + (int64_t)i, value, rng_below(&rng, 2) ? NAN : 3};
    if (mode == 4 && known->n && rng_below(&rng, 2)) /* delivered before */
      point = points_at(known, (size_t)rng_below(&rng, known->n));
    assert_true(metric_rows_add(rows, str_of(key_names[k]), point));
  }
}

/* ---- comparing ---- */

struct got_page {
  bool done, more, ok;
  struct points points;
  struct err err;
};

static void on_page(void *ctx, const struct points *points, bool more, const struct err *err) {
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

static void check_pages(size_t r, size_t k, int32_t attempt) {
  AUTO_POINTS struct points right = {0}, all = {0};
  expected(r, k, attempt, &right);
  struct metric_page_ask ask = {.run = run_ids[r],
                                .key = str_of(key_names[k]),
                                .order = rng_below(&rng, 2) ? METRIC_BY_TIME : METRIC_BY_STEP,
                                .attempt = attempt,
                                .from = INT64_MIN,
                                .to = INT64_MAX,
                                .limit = 1 + (size_t)rng_below(&rng, 2000)};
  for (bool more = true; more;) {
    struct got_page got = {.done = false};
    struct err err;
    assert_true(metric_page(store, &ask, on_page, &got, &err));
    loop_until(cluster.loop, &got.done, 30000);
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

static void check_chart(size_t r, size_t k) {
  AUTO_POINTS struct points right = {0};
  expected(r, k, 0, &right);
  bool by_time = rng_below(&rng, 2);
  int64_t low = (int64_t)rng_below(&rng, 200) - 100;
  struct str key = str_of(key_names[k]);
  struct metric_series_ask ask = {.runs = &run_ids[r],
                                  .run_count = 1,
                                  .keys = &key,
                                  .key_count = 1,
                                  .x = by_time ? METRIC_X_TIME : METRIC_X_STEP,
                                  .scale = rng_below(&rng, 3) ? SCALE_LINEAR : SCALE_LOG,
                                  .has_from = true,
                                  .has_to = true,
                                  .from = low,
                                  .to = low + (int64_t)rng_below(&rng, 3000),
                                  .buckets = 1 + (size_t)rng_below(&rng, 300)};
  if (rng_below(&rng, 4) == 0) {
    ask.from = INT64_MIN;
    ask.to = INT64_MAX;
  }
  struct got_chart got = {.right = &right};
  struct err err;
  assert_true(grid_make(by_time ? AXIS_TIME : AXIS_STEP, ask.scale, ask.from, ask.to, 0, ask.buckets, &got.grid, &err));
  assert_true(metric_series_read(store, &ask, on_chart, &got, &err));
  loop_until(cluster.loop, &got.done, 30000);
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
      if (!str_is(list[i].key, key_names[k]))
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

static void check_summaries(size_t r) {
  struct got_summaries got = {.run = r};
  struct err err;
  assert_true(metric_summaries(store, &run_ids[r], 1, on_summaries, &got, &err));
  loop_until(cluster.loop, &got.done, 30000);
}

/* run.metrics after settling: last value, step, time of each key, as Postgres has them, and how many; of a single one that is not stored.
 */
static void check_run_row(size_t r) {
  settle(rng_below(&rng, 2) ? &run_ids[r] : NULL);
  char hex[ID_HEX_LEN + 1], sql[600];
  id_format(run_ids[r], hex);
  for (size_t k = 0; k < KEYS; k++) {
    AUTO_POINTS struct points right = {0};
    struct fold fold = {0};
    expected(r, k, 0, &right);
    fold_add_points(&fold, &right, 0, right.n);
    char value[32];
    str_from_f64(fold.last.value, value);
    if (!fold.count) { /* nothing is left of it, here neither */
      snprintf(sql, sizeof sql, "select (metrics ? '%s')::int::bigint from winnow.run where id = '%s'", key_names[k], hex);
      assert_int_equal(pg_cluster_int(&cluster, sql), 0);
      continue;
    }
    snprintf(sql, sizeof sql,
             "select case when coalesce(nullif(split_part(m, ' ', 6), '')::bigint, 1) = %lld and split_part(m, ' ', 2)::bigint = %lld "
             "and split_part(m, ' ', 3)::bigint = %lld and winnow.metric_last(metrics, '%s') = '%s'::float8 then 1 else 0 end::bigint "
             "from winnow.run cross join lateral (select metrics ->> '%s') x (m) where id = '%s'",
             (long long)fold.count, (long long)fold.last.step, (long long)fold.last.time, key_names[k], value, key_names[k], hex);
    assert_int_equal(pg_cluster_int(&cluster, sql), 1);
  }
}

struct got_fsck {
  bool done, ok, more;
  struct metric_fsck_report report;
  size_t damages;
  int64_t first_step, last_step;
};

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

static struct got_fsck fsck(void) {
  struct got_fsck got = {.more = true};
  struct err err;
  struct metric_fsck *op = metric_fsck_new(store, on_damage, &err);
  assert_non_null(op);
  while (got.more) {
    got.done = false;
    assert_true(metric_fsck_step(op, on_fsck, &got, &err));
    assert_false(got.done);
    loop_until(cluster.loop, &got.done, 60000);
    assert_true(got.ok);
  }
  metric_fsck_free(op);
  return got;
}

static void check_something(size_t r) {
  size_t k = (size_t)rng_below(&rng, KEYS);
  switch (rng_below(&rng, 4)) {
  case 0:
    check_pages(r, k, rng_below(&rng, 3) ? 0 : 1 + (int32_t)rng_below(&rng, ATTEMPTS));
    break;
  case 1:
    check_chart(r, k);
    break;
  case 2:
    check_summaries(r);
    break;
  default:
    check_run_row(r);
  }
}

/* ---- tests ---- */

static void next_attempt(size_t r) {
  char hex[ID_HEX_LEN + 1], sql[200];
  if (attempts[r] == ATTEMPTS)
    return;
  attempts[r]++;
  id_format(run_ids[r], hex);
  snprintf(sql, sizeof sql, "update winnow.run set attempt = %d where id = '%s'", attempts[r], hex);
  pg_cluster_sql(&cluster, sql);
}

static void against_the_model(void **state UNUSED) {
  struct metric_store_conf conf = eager();
  const char *wanted = getenv("WINNOW_TEST_OPERATIONS");
  int64_t operations = 700;
  if (wanted)
    assert_true(str_to_i64(str_of(wanted), &operations));
  for (int64_t i = 0; i < operations; i++) {
    size_t r = (size_t)rng_below(&rng, RUNS);
    uint64_t what = rng_below(&rng, 1000);
    if (what < 600) { /* one write, or the same one twice at once, waited for */
      struct answer first, second;
      struct metric_rows rows;
      draw_rows(r, &rows);
      bool twice = rng_below(&rng, 10) == 0;
      append(r, rng_below(&rng, 2) ? attempts[r] : 0, &rows, &first);
      if (twice)
        append(r, 0, &rows, &second);
      wait_for(&first);
      assert_true(first.ok);
      if (twice)
        wait_for(&second);
      note(r, &rows);
      metric_rows_release(&rows);
    } else if (what < 990) {
      check_something(r);
    } else if (what < 993) {
      next_attempt(r);
    } else if (what < 997) {
      seal_all();
    } else {
      close_store();
      open_store(&conf);
    }
  }
  for (size_t r = 0; r < RUNS; r++) {
    for (size_t k = 0; k < KEYS; k++)
      check_pages(r, k, 0);
    check_summaries(r);
    check_run_row(r);
  }
  seal_all();
  for (size_t r = 0; r < RUNS; r++)
    for (size_t k = 0; k < KEYS; k++)
      check_pages(r, k, 0);
  struct got_fsck got = fsck();
  assert_int_equal(got.damages, 0);
  assert_true(got.report.chunks > 0);
}

static void refusals(void **state UNUSED) {
  AUTO_METRIC_ROWS struct metric_rows rows;
  metric_rows_init(&rows);
  struct err err;
  struct answer answer;
  assert_false(metric_append(store, run_ids[0], 0, &rows, on_answer, &answer, &err));
  assert_true(metric_rows_add(&rows, STR("a"), (struct point){1, 1, 1, NAN}));
  struct id known = run_ids[0];
  run_ids[0] = id_new(&clock_system, &rng);
  append(0, 0, &rows, &answer);
  wait_for(&answer);
  assert_int_equal(answer.err.code, ERR_NOT_FOUND);
  run_ids[0] = known;
  append(0, 2, &rows, &answer);
  wait_for(&answer);
  assert_int_equal(answer.err.code, ERR_FENCED);
  pg_cluster_sql(&cluster, "update winnow.run set executor = 'local'");
  append(0, METRIC_UNOWNED, &rows, &answer);
  wait_for(&answer);
  assert_int_equal(answer.err.code, ERR_FORBIDDEN);
  pg_cluster_sql(&cluster, "update winnow.run set deleted_at = 1");
  append(0, 0, &rows, &answer);
  wait_for(&answer);
  assert_int_equal(answer.err.code, ERR_WRONG_STATE);
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.metric_tail"), 0);
}

static void in_a_transaction_of_the_callers(void **state UNUSED) {
  AUTO_METRIC_ROWS struct metric_rows rows;
  metric_rows_init(&rows);
  assert_true(metric_rows_add(&rows, STR("loss"), (struct point){1, 1, 0.5, NAN}));
  struct err err;
  for (int good = 0; good < 2; good++) {
    struct metric_write *write = metric_write_new(store, run_ids[0], 0, &rows, &err);
    assert_non_null(write);
    AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
    struct pg_args *args = pg_batch_add(&batch, STMT_RUN_WRITE);
    pg_put_uuid(args, good ? run_ids[0] : id_new(&clock_system, &rng));
    pg_put_jsonb(args, STR("{\"p\": \"1\"}"));
    pg_put_jsonb(args, STR("{}"));
    pg_put_int(args, -1);
    metric_write_put(write, &batch);
    struct seen seen = {.done = false};
    assert_true(pg_run_batch(pool, &batch, 0, seen_done, &seen, &err));
    loop_until(cluster.loop, &seen.done, 10000);
    assert_int_equal(seen.outcome == PG_DONE, good);
    /* The reply is gone by now; a caller tells from within its callback. Here the store finds out by itself. */
    assert_false(metric_write_done(write, NULL, &err));
    assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.metric_tail"), good);
  }
}

/* Writers that meet on the same runs with the same keys, in every order, many on their way at once. */
static void many_writers(void **state UNUSED) {
  enum { WRITES = 400 };
  static struct answer answers[WRITES];
  for (size_t i = 0; i < WRITES; i++) {
    struct metric_rows rows;
    metric_rows_init(&rows);
    size_t r = i % RUNS;
    for (size_t p = 0; p < 20; p++)
      assert_true(metric_rows_add(&rows, str_of(key_names[(i + p) % KEYS]), (struct point){(int64_t)(i * 20 + p), (int64_t)i, 1, NAN}));
    append(r, 0, &rows, &answers[i]);
    note(r, &rows);
    metric_rows_release(&rows);
    if (i % 50 == 49)
      loop_turn(cluster.loop, false);
  }
  for (size_t i = 0; i < WRITES; i++) {
    wait_for(&answers[i]);
    assert_true(answers[i].ok);
  }
  assert_true(metric_store_stats(store).groups < WRITES / 4);
  for (size_t r = 0; r < RUNS; r++) {
    check_run_row(r);
    for (size_t k = 0; k < KEYS; k++)
      check_pages(r, k, 0);
  }
}

static void write_regular(size_t r, size_t n) {
  for (size_t at = 0; at < n; at += 10000) {
    struct metric_rows rows;
    struct answer answer;
    metric_rows_init(&rows);
    for (size_t i = at; i < MIN_OF(n, at + 10000); i++)
      assert_true(metric_rows_add(&rows, STR("loss"), (struct point){(int64_t)i, 1700000000000 + (int64_t)i * 10, sin((double)i), NAN}));
    append(r, 0, &rows, &answer);
    wait_for(&answer);
    assert_true(answer.ok);
    note(r, &rows);
    metric_rows_release(&rows);
  }
}

struct got_damage {
  bool done;
  size_t damaged;
  int64_t points, from, to;
};

static void on_damaged_chart(void *ctx, const struct metric_series *series, size_t count, const struct err *err) {
  struct got_damage *got = ctx;
  got->done = true;
  assert_null(err);
  assert_int_equal(count, 1);
  got->damaged = series->damaged;
  got->points = series->points;
  got->from = series->damaged_from;
  got->to = series->damaged_to;
}

/* One bit: that range is told, the rest is served. */
static void a_flipped_bit(void **state UNUSED) {
  write_regular(0, 20000);
  seal_all();
  assert_int_equal(fsck().damages, 0);
  pg_cluster_sql(&cluster, "update winnow.metric_chunk set data = set_bit(data, 1001, 1 - get_bit(data, 1001)) where first_step = 8192");
  struct got_fsck got = fsck();
  assert_int_equal(got.damages, 1);
  assert_int_equal(got.first_step, 8192);
  assert_int_equal(got.last_step, 12287);
  struct got_damage chart = {.done = false};
  struct str key = STR("loss");
  struct err err;
  struct metric_series_ask ask = {.runs = &run_ids[0], .run_count = 1, .keys = &key, .key_count = 1, .buckets = GRID_MAX};
  assert_true(metric_series_read(store, &ask, on_damaged_chart, &chart, &err));
  loop_until(cluster.loop, &chart.done, 10000);
  assert_int_equal(chart.damaged, 1);
  assert_int_equal(chart.from, 8192);
  assert_int_equal(chart.to, 12287);
  assert_int_equal(chart.points, 20000 - 4096);
  struct got_page page = {.done = false};
  struct metric_page_ask part = {.run = run_ids[0], .key = key, .from = 0, .to = 8191, .limit = 10000};
  assert_true(metric_page(store, &part, on_page, &page, &err));
  loop_until(cluster.loop, &page.done, 10000);
  assert_true(page.ok);
  assert_int_equal(page.points.n, 8192);
  points_release(&page.points);
}

/* A run with a few short series is one row; a long one is chunks of full size and nothing else. */
static void sealed_forms(void **state UNUSED) {
  struct metric_rows rows;
  struct answer answer;
  for (size_t i = 0; i < 30; i++) {
    metric_rows_init(&rows);
    for (size_t k = 0; k < KEYS; k++)
      assert_true(metric_rows_add(&rows, str_of(key_names[k]), (struct point){(int64_t)i, (int64_t)i, 0.5, NAN}));
    append(1, 0, &rows, &answer);
    wait_for(&answer);
    note(1, &rows);
    metric_rows_release(&rows);
  }
  write_regular(0, 8192 * 2);
  seal_all();
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.metric_tail"), 1);
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.metric_tail where not fresh and points = 90"), 1);
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.metric_chunk"), 4);
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.metric_chunk where points = 4096"), 4);
  check_pages(0, 0, 0);
  check_summaries(1);
}

static int64_t mark(void) {
  return pg_cluster_int(&cluster, "select id from winnow.metric_mark");
}

static int64_t last_row(void) {
  return pg_cluster_int(&cluster, "select max(id) from winnow.metric_tail");
}

static void append_some(size_t r) {
  struct metric_rows rows;
  struct answer answer;
  metric_rows_init(&rows);
  assert_true(metric_rows_add(&rows, STR("loss"), (struct point){1, 1, 0.5, NAN}));
  append(r, 0, &rows, &answer);
  wait_for(&answer);
  assert_true(answer.ok);
  metric_rows_release(&rows);
}

static void wait_for_mark(void) {
  for (int i = 0; i < 200 && mark() < last_row(); i++)
    loop_for(cluster.loop, 100);
  assert_int_equal(mark(), last_row());
}

/* What cannot be read keeps the mark back for nobody: it is told by fsck. */
static void the_mark_passes_damage(void **state UNUSED) {
  char hex[ID_HEX_LEN + 1], sql[300];
  id_format(run_ids[0], hex);
  snprintf(sql, sizeof sql,
           "insert into winnow.metric_tail (run, id, attempt, points, data) values ('%s', nextval('winnow.metric_tail_id'), 1, 1, 'x')",
           hex);
  pg_cluster_sql(&cluster, sql);
  append_some(0);
  wait_for_mark();
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.metric_tail where fresh"), 2);
}

/* A write that stays as it is is written once, and no process looks at it again; one that is not in run.metrics yet is looked at. */
static void the_mark_follows(void **state UNUSED) {
  append_some(0);
  wait_for_mark();
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.metric_tail where fresh and ctid = '(0,1)'"), 1);
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.run where metrics ? 'loss'"), 1);
  close_store();
  struct metric_store_conf conf = eager();
  conf.flush_ms = 3600 * 1000;
  conf.seal_idle_ms = 3600 * 1000;
  open_store(&conf);
  append_some(1);
  loop_for(cluster.loop, 3000);
  assert_true(mark() < last_row());
}

struct told {
  bool done, ok;
  struct metric_write *write;
};

static void tell_write(void *ctx, const struct pg_reply *reply) {
  struct told *told = ctx;
  struct err err;
  told->done = true;
  told->ok = metric_write_done(told->write, pg_ok(reply, &err) ? pg_nth(reply, 0) : reply, &err);
}

/* A write whose transaction takes long has a lower id than one that is at rest by then: the mark waits for it, and then until it is at
 * rest, too. */
static void the_mark_waits_for_who_began_before(void **state UNUSED) {
  AUTO_METRIC_ROWS struct metric_rows rows;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct metric_store_conf conf = eager();
  char hex[ID_HEX_LEN + 1], lock[120];
  struct err err;
  close_store();
  conf.seal_idle_ms = conf.seal_age_ms = 2500;
  open_store(&conf);
  metric_rows_init(&rows);
  assert_true(metric_rows_add(&rows, STR("loss"), (struct point){1, 1, 0.5, NAN}));
  struct told told = {.write = metric_write_new(store, run_ids[1], 0, &rows, &err)};
  assert_non_null(told.write);
  metric_write_put(told.write, &batch);
  struct pg_args *args = pg_batch_add(&batch, STMT_RUN_WRITE);
  pg_put_uuid(args, run_ids[1]);
  pg_put_jsonb(args, STR("{\"p\": \"1\"}"));
  pg_put_jsonb(args, STR("{}"));
  pg_put_int(args, -1);
  PGconn *other = PQconnectdb(cluster.conninfo);
  id_format(run_ids[1], hex);
  snprintf(lock, sizeof lock, "begin; select from winnow.run where id = '%s' for update", hex);
  PQclear(PQexec(other, lock));
  assert_true(pg_run_batch(pool, &batch, 0, tell_write, &told, &err));
  loop_for(cluster.loop, 200);
  append_some(0);
  loop_for(cluster.loop, 6000);
  assert_false(told.done);
  assert_true(mark() < last_row());
  PQfinish(other);
  loop_until(cluster.loop, &told.done, 10000);
  assert_true(told.ok);
  for (int i = 0; i < 15; i++) { /* before it is sealed */
    loop_for(cluster.loop, 100);
    assert_true(mark() < last_row());
  }
  for (int i = 0; i < 200 && mark() < last_row(); i++)
    loop_for(cluster.loop, 100);
  assert_int_equal(mark(), last_row());
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.run where metrics ? 'loss'"), 2);
}

/* A process that ended without a word: what it had acknowledged is in run.metrics once the next one has settled, asked at once. */
static void after_a_crash(void **state UNUSED) {
  close_store();
  struct metric_store_conf conf = eager();
  conf.flush_ms = 3600 * 1000;
  for (int round = 0; round < 3; round++) {
    open_store(&conf);
    for (size_t r = 0; r < RUNS; r++) {
      struct metric_rows rows;
      struct answer answer;
      draw_rows(r, &rows);
      append(r, 0, &rows, &answer);
      wait_for(&answer);
      assert_true(answer.ok);
      note(r, &rows);
      metric_rows_release(&rows);
    }
    loop_for(cluster.loop, 500); /* sealing comes to its end */
    pg_pool_free(pool);
    loop_for(cluster.loop, 1);
    metric_store_free(store);
    struct metric_store_conf next = eager();
    open_store(&next);
    for (size_t r = 0; r < RUNS; r++)
      check_run_row(r);
    close_store();
  }
  open_store(&conf);
}

static void on_any_page(void *ctx, const struct points *points UNUSED, bool more UNUSED, const struct err *err UNUSED) {
  ++*(int *)ctx;
}

static void on_any(void *ctx, const struct err *err UNUSED) {
  ++*(int *)ctx;
}

/* Given up in the middle of everything: each callback comes once nevertheless. Moments differ from round to round. */
static void given_up(void **state UNUSED) {
  write_regular(0, 20000);
  close_store();
  for (int round = 0; round < 12; round++) {
    struct metric_store_conf conf = eager();
    open_store(&conf);
    int answers = 0, asked = 0;
    struct err err;
    struct metric_page_ask ask = {.run = run_ids[0], .key = STR("loss"), .from = 0, .to = 20000, .limit = 20000};
    for (int i = 0; i < 4; i++) {
      struct metric_rows rows;
      draw_rows(1, &rows);
      asked += metric_append(store, run_ids[1], 0, &rows, on_any, &answers, &err);
      asked += metric_page(store, &ask, on_any_page, &answers, &err);
      asked += metric_settle(store, NULL, on_any, &answers, &err);
      asked += metric_seal_all(store, on_any, &answers, &err);
      metric_rows_release(&rows);
      for (int turn = 0; turn < round * 2; turn++)
        loop_turn(cluster.loop, turn % 2);
    }
    pg_pool_free(pool);
    metric_store_free(store);
    for (int patience = 0; patience < 600 && answers < asked; patience++)
      loop_for(cluster.loop, 100);
    loop_for(cluster.loop, 100); /* a second answer would come about now */
    assert_int_equal(answers, asked);
  }
  struct metric_store_conf conf = eager();
  open_store(&conf);
}

/* ---- when the server dies ---- */

enum { WRITERS = 8 };

/* Writes one batch after the other, each until it is acknowledged, as a client that retries does. */
struct writer {
  size_t r;
  struct metric_rows rows;
  int64_t step;
  bool stop, done;
  unsigned acknowledged, repeated;
  struct loop_timer *again;
};

static void write_on(void *ctx);

static void on_write(void *ctx, const struct err *err) {
  struct writer *writer = ctx;
  if (err) {
    assert_true(err_info(err->code)->retryable);
    writer->repeated++;
    loop_timer_start(writer->again, 20);
    return;
  }
  writer->acknowledged++;
  metric_rows_release(&writer->rows);
  if (writer->stop) {
    writer->done = true;
    return;
  }
  metric_rows_init(&writer->rows);
  for (size_t i = 0; i < 100; i++, writer->step++)
    assert_true(metric_rows_add(&writer->rows, str_of(key_names[i % KEYS]),
                                (struct point){writer->step / KEYS, writer->step, (double)writer->step, NAN}));
  note(writer->r, &writer->rows);
  write_on(writer);
}

static void write_on(void *ctx) {
  struct writer *writer = ctx;
  struct err err;
  if (!metric_append(store, run_ids[writer->r], 0, &writer->rows, on_write, writer, &err)) {
    assert_true(err_info(err.code)->retryable);
    loop_timer_start(writer->again, 20);
  }
}

static void server_dies(void **state UNUSED) {
  static struct writer writers[WRITERS];
  unsigned acknowledged = 0, repeated = 0;
  for (int round = 0; round < 6; round++) {
    for (size_t i = 0; i < WRITERS; i++) {
      struct writer *writer = &writers[i];
      *writer = (struct writer){
          .r = i % RUNS, .step = (int64_t)(i * 1000000 + (size_t)round * 100000), .again = loop_timer_new(cluster.loop, write_on, writer)};
      on_write(writer, NULL);
    }
    loop_for(cluster.loop, 100 + 37 * round);
    if (round % 2)
      kill(pg_private_pid(cluster.server), SIGQUIT); /* as `pg_ctl stop -m immediate` does */
    else
      kill((pid_t)pg_cluster_int(&cluster, "select pid from pg_stat_activity where backend_type = 'client backend' "
                                           "and pid <> pg_backend_pid() limit 1"),
           SIGKILL);
    loop_for(cluster.loop, 300);
    for (size_t i = 0; i < WRITERS; i++)
      writers[i].stop = true;
    for (size_t i = 0; i < WRITERS; i++) {
      loop_until(cluster.loop, &writers[i].done, 30000);
      loop_timer_free(writers[i].again);
      acknowledged += writers[i].acknowledged;
      repeated += writers[i].repeated;
    }
    for (size_t r = 0; r < RUNS; r++)
      for (size_t k = 0; k < KEYS; k++)
        check_pages(r, k, 0);
  }
  assert_true(repeated > 0);
  print_message("%u acknowledged, %u repeated\n", acknowledged, repeated);
  for (size_t r = 0; r < RUNS; r++) {
    check_run_row(r);
    check_summaries(r);
  }
  struct got_fsck got = fsck();
  assert_int_equal(got.damages, 0);
  assert_true(got.report.chunks > 0);
}

/* ---- replacing ---- */

static bool is_first_key(const void *ctx UNUSED, struct str key) {
  return str_is(key, key_names[0]);
}

static bool is_odd(const void *ctx UNUSED, struct str key UNUSED, struct point point) {
  return point.step & 1;
}

static void drop_even(struct points *points) {
  struct points kept = {0};
  for (size_t i = 0; i < points->n; i++)
    if (points->step[i] & 1)
      assert_true(points_add(&kept, points_at(points, i)));
  points_release(points);
  *points = kept;
}

/* Series in the tail and in chunks, of several attempts, with a seal between the reading and the writing now and then. */
static void replaced(void **state UNUSED) {
  for (int round = 0; round < 25; round++) {
    size_t r = (size_t)rng_below(&rng, RUNS);
    for (int i = 0; i < 12; i++) {
      struct answer answer;
      struct metric_rows rows;
      draw_rows(r, &rows);
      append(r, 0, &rows, &answer);
      wait_for(&answer);
      note(r, &rows);
      metric_rows_release(&rows);
      if (i == 6)
        seal_all();
    }
    struct metric_rows rows;
    draw_rows(r, &rows);
    const struct metric_rows *in[] = {&rows};
    struct metric_replacement what = {
        .run = run_ids[r], .touches = is_first_key, .stays = is_odd, .rows = in, .attempts = &attempts[r], .row_count = 1};
    struct answer answer = {.done = false}, sealed = {.done = true};
    struct err err;
    if (round % 3 == 0) {
      sealed.done = false;
      assert_true(metric_seal_all(store, on_answer, &sealed, &err));
    }
    assert_true(metric_replace(store, &what, on_answer, &answer, &err));
    assert_false(answer.done);
    wait_for(&answer);
    if (!answer.ok)
      fail_msg("%s", answer.err.text);
    for (size_t a = 0; a < ATTEMPTS; a++)
      drop_even(&model[r][0][a]);
    note(r, &rows);
    metric_rows_release(&rows);
    wait_for(&sealed);
    if (round % 7 == 6)
      next_attempt(r);
    for (size_t k = 0; k < KEYS; k++) {
      check_pages(r, k, 0);
      check_chart(r, k);
    }
    check_summaries(r);
    check_run_row(r);
  }
  seal_all();
  for (size_t r = 0; r < RUNS; r++)
    check_pages(r, 0, 0);
  assert_int_equal(fsck().damages, 0);
}

/* Who reads all the time, so that run.metrics is brought up to date at any moment. */
struct watcher {
  struct loop_timer *again;
  struct id run;
  bool stop, stopped;
};

static void on_watched(void *ctx, const struct err *err UNUSED) {
  struct watcher *watcher = ctx;
  watcher->stopped = watcher->stop;
  if (!watcher->stop)
    loop_timer_start(watcher->again, 0);
}

static void watch_on(void *ctx) {
  struct watcher *watcher = ctx;
  struct err err;
  assert_true(metric_settle(store, &watcher->run, on_watched, watcher, &err));
}

static bool is_none(const void *ctx UNUSED, struct str key UNUSED, struct point point UNUSED) {
  return false;
}

static void replaced_while_watched(void **state UNUSED) {
  struct watcher watcher = {.run = run_ids[0]};
  watcher.again = loop_timer_new(cluster.loop, watch_on, &watcher);
  watch_on(&watcher);
  for (int round = 0; round < 40; round++) {
    for (int i = 0; i < 8; i++) {
      struct answer answer;
      struct metric_rows rows;
      draw_rows(0, &rows);
      append(0, 0, &rows, &answer);
      wait_for(&answer);
      note(0, &rows);
      metric_rows_release(&rows);
    }
    struct metric_replacement what = {.run = run_ids[0], .touches = is_first_key, .stays = round % 2 ? is_none : is_odd};
    struct answer answer = {.done = false}, sealed = {.done = false};
    struct err err;
    assert_true(metric_replace(store, &what, on_answer, &answer, &err));
    loop_for(cluster.loop, (int)rng_below(&rng, 12));
    assert_true(metric_seal_all(store, on_answer, &sealed, &err)); /* may come between its reading and its writing */
    wait_for(&answer);
    if (!answer.ok)
      fail_msg("%s", answer.err.text);
    for (size_t a = 0; a < ATTEMPTS; a++)
      if (round % 2)
        model[0][0][a].n = 0;
      else
        drop_even(&model[0][0][a]);
    wait_for(&sealed);
    check_run_row(0);
    check_pages(0, 0, 0);
  }
  watcher.stop = true;
  loop_until(cluster.loop, &watcher.stopped, 30000);
  loop_timer_free(watcher.again);
}

static void replaced_by_nothing(void **state UNUSED) {
  struct answer answer = {.done = false};
  struct err err;
  struct metric_replacement what = {.run = run_ids[0], .touches = is_first_key, .stays = is_odd};
  assert_true(metric_replace(store, &what, on_answer, &answer, &err));
  wait_for(&answer);
  assert_true(answer.ok);
  check_run_row(0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(replaced, set_up, tear_down),
      cmocka_unit_test_setup_teardown(replaced_while_watched, set_up, tear_down),
      cmocka_unit_test_setup_teardown(replaced_by_nothing, set_up, tear_down),
      cmocka_unit_test_setup_teardown(refusals, set_up, tear_down),
      cmocka_unit_test_setup_teardown(in_a_transaction_of_the_callers, set_up, tear_down),
      cmocka_unit_test_setup_teardown(many_writers, set_up, tear_down),
      cmocka_unit_test_setup_teardown(sealed_forms, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_flipped_bit, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_mark_follows, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_mark_passes_damage, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_mark_waits_for_who_began_before, set_up, tear_down),
      cmocka_unit_test_setup_teardown(after_a_crash, set_up, tear_down),
      cmocka_unit_test_setup_teardown(given_up, set_up, tear_down),
      cmocka_unit_test_setup_teardown(server_dies, set_up, tear_down),
      cmocka_unit_test_setup_teardown(against_the_model, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, start_all, stop_all);
}
