/* The metric store on a real Postgres, when things go wrong: bits flip, the store is given up, the server dies. */
#include <libpq-fe.h>
#include <signal.h>

#include "tests/support/metric_scene.h"
#include "tests/support/test.h"

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
  scene_write_regular(0, 20000);
  scene_seal_all();
  assert_int_equal(scene_fsck().damages, 0);
  pg_cluster_sql(&scene.cluster,
                 "update winnow.metric_chunk set data = set_bit(data, 1001, 1 - get_bit(data, 1001)) where first_step = 8192");
  struct got_fsck got = scene_fsck();
  assert_int_equal(got.damages, 1);
  assert_int_equal(got.first_step, 8192);
  assert_int_equal(got.last_step, 12287);
  struct got_damage chart = {.done = false};
  struct str key = STR("loss");
  struct err err;
  struct metric_series_ask ask = {.runs = &scene.run_ids[0], .run_count = 1, .keys = &key, .key_count = 1, .buckets = GRID_MAX};
  assert_true(metric_series_read(scene.store, &ask, on_damaged_chart, &chart, &err));
  loop_until(scene.cluster.loop, &chart.done, 60000);
  assert_int_equal(chart.damaged, 1);
  assert_int_equal(chart.from, 8192);
  assert_int_equal(chart.to, 12287);
  assert_int_equal(chart.points, 20000 - 4096);
  struct got_page page = {.done = false};
  struct metric_page_ask part = {.run = scene.run_ids[0], .key = key, .from = 0, .to = 8191, .limit = 10000};
  assert_true(metric_page(scene.store, &part, scene_on_page, &page, &err));
  loop_until(scene.cluster.loop, &page.done, 60000);
  assert_true(page.ok);
  assert_int_equal(page.points.n, 8192);
  points_release(&page.points);
}

/* A process that ended without a word: what it had acknowledged is in run.metrics once the next one has settled, asked at once. */
static void after_a_crash(void **state UNUSED) {
  scene_close_store();
  struct metric_store_conf conf = scene_eager();
  conf.flush_ms = 3600 * 1000;
  for (int round = 0; round < 3; round++) {
    scene_open_store(&conf);
    for (size_t r = 0; r < RUNS; r++) {
      struct metric_rows rows;
      struct answer answer;
      scene_draw_rows(r, &rows);
      scene_append(r, 0, &rows, &answer);
      scene_wait(&answer);
      assert_true(answer.ok);
      scene_note(r, &rows);
      metric_rows_release(&rows);
    }
    loop_for(scene.cluster.loop, 500); /* sealing comes to its end */
    pg_pool_free(scene.pool);
    loop_for(scene.cluster.loop, 1);
    metric_store_free(scene.store);
    struct metric_store_conf next = scene_eager();
    scene_open_store(&next);
    for (size_t r = 0; r < RUNS; r++)
      scene_check_run_row(r);
    scene_close_store();
  }
  scene_open_store(&conf);
}

static void on_any_page(void *ctx, const struct points *points UNUSED, bool more UNUSED, const struct err *err UNUSED) {
  ++*(int *)ctx;
}

static void on_any(void *ctx, const struct err *err UNUSED) {
  ++*(int *)ctx;
}

/* Given up in the middle of everything: each callback comes once nevertheless. Moments differ from round to round. */
static void given_up(void **state UNUSED) {
  scene_write_regular(0, 20000);
  scene_close_store();
  for (int round = 0; round < 12; round++) {
    struct metric_store_conf conf = scene_eager();
    scene_open_store(&conf);
    int answers = 0, asked = 0;
    struct err err;
    struct metric_page_ask ask = {.run = scene.run_ids[0], .key = STR("loss"), .from = 0, .to = 20000, .limit = 20000};
    for (int i = 0; i < 4; i++) {
      struct metric_rows rows;
      scene_draw_rows(1, &rows);
      asked += metric_append(scene.store, scene.run_ids[1], 0, &rows, on_any, &answers, &err);
      asked += metric_page(scene.store, &ask, on_any_page, &answers, &err);
      asked += metric_settle(scene.store, NULL, on_any, &answers, &err);
      asked += metric_seal_all(scene.store, on_any, &answers, &err);
      metric_rows_release(&rows);
      for (int turn = 0; turn < round * 2; turn++)
        loop_turn(scene.cluster.loop, turn % 2);
    }
    pg_pool_free(scene.pool);
    metric_store_free(scene.store);
    for (int patience = 0; patience < 600 && answers < asked; patience++)
      loop_for(scene.cluster.loop, 100);
    loop_for(scene.cluster.loop, 100); /* a second answer would come about now */
    assert_int_equal(answers, asked);
  }
  struct metric_store_conf conf = scene_eager();
  scene_open_store(&conf);
}

static void set_done(void *ctx) {
  *(bool *)ctx = true;
}

/* What an earlier process left cannot be asked for; who waits for that, and comes after, does not keep the store from stopping. */
static void stops_while_unsure(void **state UNUSED) {
  struct metric_store_conf conf = scene_eager();
  struct answer first = {.done = false}, second = {.done = false};
  struct err err;
  bool stopped = false;
  scene_close_store();
  conf.flush_ms = 3600 * 1000;
  PGconn *other = PQconnectdb(scene.cluster.conninfo);
  PQclear(PQexec(other, "begin"));
  PQclear(PQexec(other, "lock table winnow.metric_tail in access exclusive mode"));
  scene_open_store(&conf);
  assert_true(metric_settle(scene.store, NULL, scene_on_answer, &first, &err));
  for (int patience = 0; patience < 600 && !first.done; patience++) {
    pg_cluster_int(&scene.cluster, "select count(pg_cancel_backend(pid)) from pg_stat_activity where wait_event_type = 'Lock'");
    loop_for(scene.cluster.loop, 100);
  }
  assert_true(first.done);
  assert_false(first.ok);
  bool waits = metric_settle(scene.store, NULL, scene_on_answer, &second, &err);
  metric_store_stop(scene.store, set_done, &stopped);
  struct answer late = {.done = false};
  assert_false(metric_settle(scene.store, NULL, scene_on_answer, &late, &err));
  loop_until(scene.cluster.loop, &stopped, 20000);
  assert_true(stopped);
  assert_int_equal(second.done, waits);
  PQfinish(other);
  metric_store_free(scene.store);
  pg_pool_free(scene.pool);
  loop_for(scene.cluster.loop, 1);
  scene_open_store(&conf);
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
    assert_true(metric_rows_add(&writer->rows, str_of(scene_keys[i % KEYS]),
                                (struct point){writer->step / KEYS, writer->step, (double)writer->step, NAN}));
  scene_note(writer->r, &writer->rows);
  write_on(writer);
}

static void write_on(void *ctx) {
  struct writer *writer = ctx;
  struct err err;
  if (!metric_append(scene.store, scene.run_ids[writer->r], 0, &writer->rows, on_write, writer, &err)) {
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
      *writer = (struct writer){.r = i % RUNS,
                                .step = (int64_t)(i * 1000000 + (size_t)round * 100000),
                                .again = loop_timer_new(scene.cluster.loop, write_on, writer)};
      on_write(writer, NULL);
    }
    loop_for(scene.cluster.loop, 100 + 37 * round);
    if (round % 2)
      kill(pg_private_pid(scene.cluster.server), SIGQUIT); /* as `pg_ctl stop -m immediate` does */
    else
      kill((pid_t)pg_cluster_int(&scene.cluster, "select pid from pg_stat_activity where backend_type = 'client backend' "
                                                 "and pid <> pg_backend_pid() limit 1"),
           SIGKILL);
    loop_for(scene.cluster.loop, 300);
    for (size_t i = 0; i < WRITERS; i++)
      writers[i].stop = true;
    for (size_t i = 0; i < WRITERS; i++) {
      loop_until(scene.cluster.loop, &writers[i].done, 120000);
      loop_timer_free(writers[i].again);
      acknowledged += writers[i].acknowledged;
      repeated += writers[i].repeated;
    }
    for (size_t r = 0; r < RUNS; r++)
      for (size_t k = 0; k < KEYS; k++)
        scene_check_pages(r, k, 0);
  }
  assert_true(repeated > 0);
  print_message("%u acknowledged, %u repeated\n", acknowledged, repeated);
  for (size_t r = 0; r < RUNS; r++) {
    scene_check_run_row(r);
    scene_check_summaries(r);
  }
  struct got_fsck got = scene_fsck();
  assert_int_equal(got.damages, 0);
  assert_true(got.report.chunks > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_flipped_bit, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(after_a_crash, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(given_up, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(stops_while_unsure, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(server_dies, scene_set_up, scene_tear_down),
  };
  return cmocka_run_group_tests(tests, scene_start, scene_stop);
}
