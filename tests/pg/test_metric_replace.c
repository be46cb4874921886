/* Points of a run replaced by others, with readers and writers about. */
#include <libpq-fe.h>

#include "storage/metrics/metric_replace.h"
#include "tests/support/metric_scene.h"
#include "tests/support/test.h"

static bool is_first_key(const void *ctx UNUSED, struct str key) {
  return str_is(key, scene_keys[0]);
}

static bool is_odd(const void *ctx UNUSED, struct str key UNUSED, int32_t attempt UNUSED, struct point point) {
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
    size_t r = (size_t)rng_below(&scene.rng, RUNS);
    for (int i = 0; i < 12; i++) {
      struct answer answer;
      struct metric_rows rows;
      scene_draw_rows(r, &rows);
      scene_append(r, 0, &rows, &answer);
      scene_wait(&answer);
      scene_note(r, &rows);
      metric_rows_release(&rows);
      if (i == 6)
        scene_seal_all();
    }
    struct metric_rows rows;
    scene_draw_rows(r, &rows);
    const struct metric_rows *in[] = {&rows};
    struct metric_replacement what = {
        .run = scene.run_ids[r], .touches = is_first_key, .stays = is_odd, .rows = in, .attempts = &scene.attempts[r], .row_count = 1};
    struct answer answer = {.done = false}, sealed = {.done = true};
    struct err err;
    if (round % 3 == 0) {
      sealed.done = false;
      assert_true(metric_seal_all(scene.store, scene_on_answer, &sealed, &err));
    }
    assert_true(metric_replace(scene.store, &what, scene_on_answer, &answer, &err));
    assert_false(answer.done);
    scene_wait(&answer);
    if (!answer.ok)
      fail_msg("%s", answer.err.text);
    for (size_t a = 0; a < ATTEMPTS; a++)
      drop_even(&scene.model[r][0][a]);
    scene_note(r, &rows);
    metric_rows_release(&rows);
    scene_wait(&sealed);
    if (round % 7 == 6)
      scene_next_attempt(r);
    for (size_t k = 0; k < KEYS; k++) {
      scene_check_pages(r, k, 0);
      scene_check_chart(r, k);
    }
    scene_check_summaries(r);
    scene_check_run_row(r);
  }
  scene_seal_all();
  for (size_t r = 0; r < RUNS; r++)
    scene_check_pages(r, 0, 0);
  assert_int_equal(scene_fsck().damages, 0);
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
  assert_true(metric_settle(scene.store, &watcher->run, on_watched, watcher, &err));
}

static bool is_none(const void *ctx UNUSED, struct str key UNUSED, int32_t attempt UNUSED, struct point point UNUSED) {
  return false;
}

static struct watcher watcher;

static void replaced_while_watched(void **state UNUSED) {
  watcher = (struct watcher){.run = scene.run_ids[0], .again = loop_timer_new(scene.cluster.loop, watch_on, &watcher)};
  watch_on(&watcher);
  for (int round = 0; round < 40; round++) {
    for (int i = 0; i < 8; i++) {
      struct answer answer;
      struct metric_rows rows;
      scene_draw_rows(0, &rows);
      scene_append(0, 0, &rows, &answer);
      scene_wait(&answer);
      scene_note(0, &rows);
      metric_rows_release(&rows);
    }
    struct metric_replacement what = {.run = scene.run_ids[0], .touches = is_first_key, .stays = round % 2 ? is_none : is_odd};
    struct answer answer = {.done = false}, sealed = {.done = false};
    struct err err;
    assert_true(metric_replace(scene.store, &what, scene_on_answer, &answer, &err));
    loop_for(scene.cluster.loop, (int)rng_below(&scene.rng, 12));
    assert_true(metric_seal_all(scene.store, scene_on_answer, &sealed, &err)); /* may come between its reading and its writing */
    scene_wait(&answer);
    if (!answer.ok)
      fail_msg("%s", answer.err.text);
    for (size_t a = 0; a < ATTEMPTS; a++)
      if (round % 2)
        scene.model[0][0][a].n = 0;
      else
        drop_even(&scene.model[0][0][a]);
    scene_wait(&sealed);
    scene_check_run_row(0);
    scene_check_pages(0, 0, 0);
  }
}

/* Also after a failure, which is told then. */
static int tear_down_watched(void **state) {
  watcher.stop = true;
  loop_until(scene.cluster.loop, &watcher.stopped, 30000);
  loop_timer_free(watcher.again);
  return scene_tear_down(state);
}

static void replaced_by_nothing(void **state UNUSED) {
  struct answer answer = {.done = false};
  struct err err;
  struct metric_replacement what = {.run = scene.run_ids[0], .touches = is_first_key, .stays = is_odd};
  assert_true(metric_replace(scene.store, &what, scene_on_answer, &answer, &err));
  scene_wait(&answer);
  assert_true(answer.ok);
  scene_check_run_row(0);
}

static void open_unsealing_store(void) {
  struct metric_store_conf conf = scene_eager();
  scene_close_store();
  conf.seal_idle_ms = conf.seal_age_ms = 3600 * 1000;
  scene_open_store(&conf);
  while (pg_pool_stats(scene.pool).connections_up < 3) /* what comes after a statement that waits is not to stand behind it */
    loop_for(scene.cluster.loop, 10);
}

static void write_one(const char *key, int64_t step) {
  struct metric_rows rows;
  struct answer answer;
  metric_rows_init(&rows);
  assert_true(metric_rows_add(&rows, str_of(key), (struct point){step, step, 0.5, NAN}));
  scene_append(0, 0, &rows, &answer);
  scene_wait(&answer);
  assert_true(answer.ok);
  scene_note(0, &rows);
  metric_rows_release(&rows);
}

/* Writes that come while the replacement is on its way are sealed all the same. */
static void written_meanwhile(void **state UNUSED) {
  struct answer replaced = {.done = false};
  struct err err;
  open_unsealing_store();
  PGconn *other = scene_lock_run(0);
  struct metric_replacement what = {.run = scene.run_ids[0], .touches = is_first_key, .stays = is_odd};
  assert_true(metric_replace(scene.store, &what, scene_on_answer, &replaced, &err));
  loop_for(scene.cluster.loop, 500);
  assert_false(replaced.done);
  for (int64_t i = 0; i < 2; i++)
    write_one(scene_keys[0], i);
  PQfinish(other);
  scene_wait(&replaced);
  assert_true(replaced.ok);
  scene_seal_all();
  assert_int_equal(pg_cluster_int(&scene.cluster, "select count(*) from winnow.metric_tail where fresh"), 0);
  scene_check_run_row(0);
  scene_check_pages(0, 0, 0);
}

static void wait_for_blocked(int64_t count) {
  static const char sql[] = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
  for (int i = 0; i < 3000 && pg_cluster_int(&scene.cluster, sql) < count; i++)
    loop_for(scene.cluster.loop, 10);
  assert_int_equal(pg_cluster_int(&scene.cluster, sql), count);
}

/* Last values that are read while the replacement is on its way, and written after it, are of what is not there any more. */
static void derived_meanwhile(void **state UNUSED) {
  struct answer replaced = {.done = false};
  struct err err;
  open_unsealing_store();
  write_one(scene_keys[0], 1);
  write_one(scene_keys[2], 10);
  scene_check_run_row(0);
  PGconn *other = scene_lock_run(0);
  struct metric_replacement what = {.run = scene.run_ids[0], .touches = is_first_key, .stays = is_none};
  assert_true(metric_replace(scene.store, &what, scene_on_answer, &replaced, &err));
  wait_for_blocked(1);         /* the replacement */
  write_one(scene_keys[2], 5); /* late: all of the run is read again */
  wait_for_blocked(2);         /* the last values of before, to be written after it */
  PQfinish(other);
  scene_wait(&replaced);
  assert_true(replaced.ok);
  scene.model[0][0][0].n = 0;
  scene_check_run_row(0);
}

static PGconn *lock_keys(void) {
  PGconn *other = PQconnectdb(scene.cluster.conninfo);
  PGresult *locked = PQexec(other, "begin; lock winnow.metric_key");
  assert_int_equal(PQresultStatus(locked), PGRES_COMMAND_OK);
  PQclear(locked);
  return other;
}

/* The replacement is stored while a reader has begun and waits for the names of keys, which only chunks need: what stays, and goes from the
 * chunks to the tail, is in one of them. */
static void read_meanwhile(void **state UNUSED) {
  enum { POINTS = 4000 };
  static const char is_stored[] = "select count(*) from winnow.metric_tail where fresh";
  struct answer replaced = {.done = false};
  struct got_page got = {.done = false};
  struct err err;
  open_unsealing_store();
  scene_write_regular(0, POINTS);
  scene_seal_all();
  assert_int_equal(pg_cluster_int(&scene.cluster, is_stored), 0);
  PGconn *run = scene_lock_run(0);
  struct metric_replacement what = {.run = scene.run_ids[0], .touches = is_first_key, .stays = is_odd};
  assert_true(metric_replace(scene.store, &what, scene_on_answer, &replaced, &err));
  wait_for_blocked(1); /* the replacement */
  PGconn *keys = lock_keys();
  struct metric_page_ask ask = {.run = scene.run_ids[0], .key = str_of(scene_keys[0]), .from = INT64_MIN, .to = INT64_MAX, .limit = POINTS};
  assert_true(metric_page(scene.store, &ask, scene_on_page, &got, &err));
  wait_for_blocked(2); /* the reader */
  PQfinish(run);
  for (int i = 0; i < 3000 && !pg_cluster_int(&scene.cluster, is_stored); i++)
    loop_for(scene.cluster.loop, 10);
  assert_true(pg_cluster_int(&scene.cluster, is_stored) > 0);
  PQfinish(keys);
  loop_until(scene.cluster.loop, &got.done, 30000);
  scene_wait(&replaced);
  assert_true(replaced.ok && got.ok);
  assert_true(got.points.n == POINTS / 2);
  points_release(&got.points);
  drop_even(&scene.model[0][0][0]);
  scene_check_pages(0, 0, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(replaced, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(replaced_while_watched, scene_set_up, tear_down_watched),
      cmocka_unit_test_setup_teardown(replaced_by_nothing, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(written_meanwhile, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(derived_meanwhile, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(read_meanwhile, scene_set_up, scene_tear_down),
  };
  return cmocka_run_group_tests(tests, scene_start, scene_stop);
}
