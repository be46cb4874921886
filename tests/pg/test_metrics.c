/* The metric store on a real Postgres: ten thousand random operations against a reference in memory. */
#include <libpq-fe.h>

#include "tests/support/metric_scene.h"
#include "tests/support/test.h"

static void against_the_model(void **state UNUSED) {
  struct metric_store_conf conf = scene_eager();
  const char *wanted = getenv("WINNOW_TEST_OPERATIONS");
  int64_t operations = 700;
  if (wanted)
    assert_true(str_to_i64(str_of(wanted), &operations));
  for (int64_t i = 0; i < operations; i++) {
    size_t r = (size_t)rng_below(&scene.rng, RUNS);
    uint64_t what = rng_below(&scene.rng, 1000);
    if (what < 600) { /* one write, or the same one twice at once, waited for */
      struct answer first, second;
      struct metric_rows rows;
      scene_draw_rows(r, &rows);
      bool twice = rng_below(&scene.rng, 10) == 0;
      scene_append(r, rng_below(&scene.rng, 2) ? scene.attempts[r] : 0, &rows, &first);
      if (twice)
        scene_append(r, 0, &rows, &second);
      scene_wait(&first);
      assert_true(first.ok);
      if (twice)
        scene_wait(&second);
      scene_note(r, &rows);
      metric_rows_release(&rows);
    } else if (what < 990) {
      scene_check_something(r);
    } else if (what < 993) {
      scene_next_attempt(r);
    } else if (what < 997) {
      scene_seal_all();
    } else {
      scene_close_store();
      scene_open_store(&conf);
    }
  }
  for (size_t r = 0; r < RUNS; r++) {
    for (size_t k = 0; k < KEYS; k++)
      scene_check_pages(r, k, 0);
    scene_check_summaries(r);
    scene_check_run_row(r);
  }
  scene_seal_all();
  for (size_t r = 0; r < RUNS; r++)
    for (size_t k = 0; k < KEYS; k++)
      scene_check_pages(r, k, 0);
  struct got_fsck got = scene_fsck();
  assert_int_equal(got.damages, 0);
  assert_true(got.report.chunks > 0);
}

static void refusals(void **state UNUSED) {
  AUTO_METRIC_ROWS struct metric_rows rows;
  metric_rows_init(&rows);
  struct err err;
  struct answer answer;
  assert_false(metric_append(scene.store, scene.run_ids[0], 0, &rows, scene_on_answer, &answer, &err));
  assert_true(metric_rows_add(&rows, STR("a"), (struct point){1, 1, 1, NAN}));
  struct id known = scene.run_ids[0];
  scene.run_ids[0] = id_new(&clock_system, &scene.rng);
  scene_append(0, 0, &rows, &answer);
  scene_wait(&answer);
  assert_int_equal(answer.err.code, ERR_NOT_FOUND);
  scene.run_ids[0] = known;
  scene_append(0, 2, &rows, &answer);
  scene_wait(&answer);
  assert_int_equal(answer.err.code, ERR_FENCED);
  pg_cluster_sql(&scene.cluster, "update winnow.run set executor = 'local'");
  scene_append(0, METRIC_UNOWNED, &rows, &answer);
  scene_wait(&answer);
  assert_int_equal(answer.err.code, ERR_FORBIDDEN);
  pg_cluster_sql(&scene.cluster, "update winnow.run set deleted_at = 1");
  scene_append(0, 0, &rows, &answer);
  scene_wait(&answer);
  assert_int_equal(answer.err.code, ERR_WRONG_STATE);
  assert_int_equal(pg_cluster_int(&scene.cluster, "select count(*) from winnow.metric_tail"), 0);
}

static void in_a_transaction_of_the_callers(void **state UNUSED) {
  AUTO_METRIC_ROWS struct metric_rows rows;
  metric_rows_init(&rows);
  assert_true(metric_rows_add(&rows, STR("loss"), (struct point){1, 1, 0.5, NAN}));
  struct err err;
  for (int good = 0; good < 2; good++) {
    struct metric_write *write = metric_write_new(scene.store, scene.run_ids[0], 0, &rows, &err);
    assert_non_null(write);
    AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
    struct pg_args *args = pg_batch_add(&batch, STMT_RUN_WRITE);
    pg_put_uuid(args, good ? scene.run_ids[0] : id_new(&clock_system, &scene.rng));
    pg_put_jsonb(args, STR("{\"p\": \"1\"}"));
    pg_put_jsonb(args, STR("{}"));
    pg_put_int(args, -1);
    metric_write_put(write, &batch);
    struct seen seen = {.done = false};
    assert_true(pg_run_batch(scene.pool, &batch, 0, seen_done, &seen, &err));
    loop_until(scene.cluster.loop, &seen.done, 60000);
    assert_int_equal(seen.outcome == PG_DONE, good);
    /* The reply is gone by now; a caller tells from within its callback. Here the store finds out by itself. */
    assert_false(metric_write_done(write, NULL, &err));
    assert_int_equal(pg_cluster_int(&scene.cluster, "select count(*) from winnow.metric_tail"), good);
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
      assert_true(metric_rows_add(&rows, str_of(scene_keys[(i + p) % KEYS]), (struct point){(int64_t)(i * 20 + p), (int64_t)i, 1, NAN}));
    scene_append(r, 0, &rows, &answers[i]);
    scene_note(r, &rows);
    metric_rows_release(&rows);
    if (i % 50 == 49)
      loop_turn(scene.cluster.loop, false);
  }
  for (size_t i = 0; i < WRITES; i++) {
    scene_wait(&answers[i]);
    assert_true(answers[i].ok);
  }
  assert_true(metric_store_stats(scene.store).groups < WRITES / 4);
  for (size_t r = 0; r < RUNS; r++) {
    scene_check_run_row(r);
    for (size_t k = 0; k < KEYS; k++)
      scene_check_pages(r, k, 0);
  }
}

/* A run with a few short series is one row; a long one is chunks of full size and nothing else. */
static void sealed_forms(void **state UNUSED) {
  struct metric_rows rows;
  struct answer answer;
  for (size_t i = 0; i < 30; i++) {
    metric_rows_init(&rows);
    for (size_t k = 0; k < KEYS; k++)
      assert_true(metric_rows_add(&rows, str_of(scene_keys[k]), (struct point){(int64_t)i, (int64_t)i, 0.5, NAN}));
    scene_append(1, 0, &rows, &answer);
    scene_wait(&answer);
    scene_note(1, &rows);
    metric_rows_release(&rows);
  }
  scene_write_regular(0, 8192 * 2);
  scene_seal_all();
  assert_int_equal(pg_cluster_int(&scene.cluster, "select count(*) from winnow.metric_tail"), 1);
  assert_int_equal(pg_cluster_int(&scene.cluster, "select count(*) from winnow.metric_tail where not fresh and points = 90"), 1);
  assert_int_equal(pg_cluster_int(&scene.cluster, "select count(*) from winnow.metric_chunk"), 4);
  assert_int_equal(pg_cluster_int(&scene.cluster, "select count(*) from winnow.metric_chunk where points = 4096"), 4);
  scene_check_pages(0, 0, 0);
  scene_check_summaries(1);
}

static int64_t mark(void) {
  return pg_cluster_int(&scene.cluster, "select id from winnow.metric_mark");
}

static int64_t last_row(void) {
  return pg_cluster_int(&scene.cluster, "select coalesce(max(id), 0) from winnow.metric_tail where fresh");
}

static void append_some(size_t r) {
  struct metric_rows rows;
  struct answer answer;
  metric_rows_init(&rows);
  assert_true(metric_rows_add(&rows, STR("loss"), (struct point){1, 1, 0.5, NAN}));
  scene_append(r, 0, &rows, &answer);
  scene_wait(&answer);
  assert_true(answer.ok);
  metric_rows_release(&rows);
}

static void wait_for_mark(int64_t at) {
  for (int i = 0; i < 600 && mark() < at; i++)
    loop_for(scene.cluster.loop, 100);
  assert_true(mark() >= at);
}

/* What cannot be read keeps the mark back for nobody: it is told by fsck. */
static void the_mark_passes_damage(void **state UNUSED) {
  char hex[ID_HEX_LEN + 1], sql[300];
  id_format(scene.run_ids[0], hex);
  snprintf(sql, sizeof sql,
           "insert into winnow.metric_tail (run, id, attempt, points, data) values ('%s', nextval('winnow.metric_tail_id'), 1, 1, 'x')",
           hex);
  pg_cluster_sql(&scene.cluster, sql);
  append_some(0);
  wait_for_mark(last_row());
  assert_int_equal(pg_cluster_int(&scene.cluster, "select count(*) from winnow.metric_tail where fresh"), 2);
}

static void append_one(size_t r, int64_t step) {
  AUTO_METRIC_ROWS struct metric_rows rows;
  struct answer answer;
  metric_rows_init(&rows);
  assert_true(metric_rows_add(&rows, STR("loss"), (struct point){step, step, 0.5, NAN}));
  scene_append(r, 0, &rows, &answer);
  scene_wait(&answer);
  assert_true(answer.ok);
}

static void begin_settle(size_t r, struct answer *answer) {
  struct err err;
  *answer = (struct answer){.done = false};
  assert_true(metric_settle(scene.store, &scene.run_ids[r], scene_on_answer, answer, &err));
}

/* While the values of one run are read, a late point comes to another: those of before are there all the same when that is told. */
static void a_late_point_while_others_are_read(void **state UNUSED) {
  struct metric_store_conf conf = scene_eager();
  struct answer settled;
  scene_close_store();
  conf.flush_ms = conf.seal_idle_ms = conf.seal_age_ms = 3600 * 1000;
  scene_open_store(&conf);
  append_one(0, 10);
  begin_settle(0, &settled);
  scene_wait(&settled);
  append_one(0, 20);
  append_one(1, 1);
  PGconn *other = PQconnectdb(scene.cluster.conninfo);
  PQclear(PQexec(other, "begin"));
  PGresult *locked = PQexec(other, "lock table winnow.metric_chunk in access exclusive mode");
  assert_int_equal(PQresultStatus(locked), PGRES_COMMAND_OK);
  PQclear(locked);
  begin_settle(0, &settled);
  append_one(0, 5);
  assert_false(settled.done);
  PQfinish(other);
  scene_wait(&settled);
  assert_true(settled.ok);
  assert_int_equal(pg_cluster_int(&scene.cluster, "select max(split_part(metrics ->> 'loss', ' ', 2)::int) from winnow.run"), 20);
}

/* A write that stays as it is is written once, and no process looks at it again; one that is not in run.metrics yet is looked at. */
static void the_mark_follows(void **state UNUSED) {
  append_some(0);
  wait_for_mark(last_row());
  assert_int_equal(pg_cluster_int(&scene.cluster, "select count(*) from winnow.metric_tail where fresh and ctid = '(0,1)'"), 1);
  assert_int_equal(pg_cluster_int(&scene.cluster, "select count(*) from winnow.run where metrics ? 'loss'"), 1);
  scene_close_store();
  struct metric_store_conf conf = scene_eager();
  conf.flush_ms = 3600 * 1000;
  conf.seal_idle_ms = 3600 * 1000;
  scene_open_store(&conf);
  append_some(1);
  loop_for(scene.cluster.loop, 3000);
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

enum { REST_MS = 2500 };

/* A write whose transaction takes long has a lower id than one that is at rest by then: the mark waits for it, and then until it is at
 * rest, too. */
static void the_mark_waits_for_who_began_before(void **state UNUSED) {
  AUTO_METRIC_ROWS struct metric_rows rows;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct metric_store_conf conf = scene_eager();
  struct err err;
  scene_close_store();
  conf.seal_idle_ms = conf.seal_age_ms = REST_MS;
  scene_open_store(&conf);
  metric_rows_init(&rows);
  assert_true(metric_rows_add(&rows, STR("loss"), (struct point){1, 1, 0.5, NAN}));
  struct told told = {.write = metric_write_new(scene.store, scene.run_ids[1], 0, &rows, &err)};
  assert_non_null(told.write);
  metric_write_put(told.write, &batch);
  struct pg_args *args = pg_batch_add(&batch, STMT_RUN_WRITE);
  pg_put_uuid(args, scene.run_ids[1]);
  pg_put_jsonb(args, STR("{\"p\": \"1\"}"));
  pg_put_jsonb(args, STR("{}"));
  pg_put_int(args, -1);
  PGconn *other = scene_lock_run(1);
  while (pg_pool_stats(scene.pool).connections_up < 2) /* else what comes after the batch waits behind it */
    loop_for(scene.cluster.loop, 10);
  assert_true(pg_run_batch(scene.pool, &batch, 600000, tell_write, &told, &err));
  while (!pg_cluster_int(&scene.cluster, "select count(*) from pg_locks where not granted"))
    loop_for(scene.cluster.loop, 10);
  append_some(0);
  loop_for(scene.cluster.loop, 6000);
  assert_false(told.done);
  assert_true(mark() < last_row());
  int64_t since = clock_mono_ms(&clock_system);
  PQfinish(other);
  loop_until(scene.cluster.loop, &told.done, 60000);
  assert_true(told.ok);
  for (bool rests = false; !rests;) { /* not before it has been at rest for so long, however long it takes to look */
    loop_for(scene.cluster.loop, 100);
    bool is_behind = mark() < last_row();
    rests = clock_mono_ms(&clock_system) - since >= REST_MS;
    assert_true(is_behind || rests);
  }
  wait_for_mark(last_row());
  assert_int_equal(pg_cluster_int(&scene.cluster, "select count(*) from winnow.run where metrics ? 'loss'"), 2);
}

/* A process that was killed may have left a write under way, which becomes durable after the next one has looked: the mark waits until
 * there can be none, and what came is looked at. */
static void the_mark_waits_for_who_was_killed(void **state UNUSED) {
  char hex[ID_HEX_LEN + 1], sql[400];
  append_some(1);
  scene_seal_all();
  scene_close_store();
  pg_cluster_sql(&scene.cluster, "update winnow.run set metrics = '{}'"); /* as it was when the write was sent */
  PGconn *killed = PQconnectdb(scene.cluster.conninfo);
  id_format(scene.run_ids[1], hex);
  snprintf(sql, sizeof sql,
           "begin; insert into winnow.metric_tail (run, id, attempt, points, data) "
           "select run, nextval('winnow.metric_tail_id'), attempt, points, data from winnow.metric_tail where run = '%s'; "
           "delete from winnow.metric_tail where run = '%s' and id <> (select max(id) from winnow.metric_tail)",
           hex, hex);
  PQclear(PQexec(killed, sql));
  struct metric_store_conf conf = scene_eager();
  conf.doubt_ms = 12000;
  scene_open_store(&conf);
  append_some(0);
  loop_for(scene.cluster.loop, 2000);
  PGresult *done = PQexec(killed, "commit");
  assert_int_equal(PQresultStatus(done), PGRES_COMMAND_OK);
  PQclear(done);
  PQfinish(killed);
  wait_for_mark(last_row());
  assert_int_equal(pg_cluster_int(&scene.cluster, "select count(*) from winnow.run where metrics ? 'loss'"), 2);
}

/* More points than are sealed at a time: the mark waits for all of them. */
static void the_mark_waits_for_the_rest(void **state UNUSED) {
  struct metric_rows rows;
  struct answer answer;
  struct metric_store_conf conf = scene_eager();
  scene_close_store();
  conf.seal_points = conf.seal_rows = SIZE_MAX;
  conf.seal_idle_ms = conf.seal_age_ms = 6000; /* after the mark has seen them */
  scene_open_store(&conf);
  metric_rows_init(&rows);
  for (int64_t i = 0; i < 18 * METRIC_BATCH_POINTS; i++)
    assert_true(metric_rows_add(&rows, STR("loss"), (struct point){i, i, 0.5, NAN}));
  scene_append(0, 0, &rows, &answer);
  scene_wait(&answer);
  metric_rows_release(&rows);
  int64_t last = last_row();
  PGconn *other = PQconnectdb(scene.cluster.conninfo);
  PQclear(PQexec(other, "begin; select from winnow.metric_tail where id = (select max(id) from winnow.metric_tail) for update"));
  for (int i = 0; i < 300 && !pg_cluster_int(&scene.cluster, "select count(*) from winnow.metric_chunk"); i++)
    loop_for(scene.cluster.loop, 100);
  loop_for(scene.cluster.loop, 3000);
  int64_t before = mark();
  PQfinish(other);
  assert_true(before < last);
  wait_for_mark(last);
  assert_int_equal(pg_cluster_int(&scene.cluster, "select count(*) from winnow.metric_tail where fresh"), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(refusals, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(in_a_transaction_of_the_callers, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(many_writers, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(sealed_forms, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(a_late_point_while_others_are_read, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(the_mark_follows, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(the_mark_passes_damage, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(the_mark_waits_for_who_began_before, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(the_mark_waits_for_who_was_killed, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(the_mark_waits_for_the_rest, scene_set_up, scene_tear_down),
      cmocka_unit_test_setup_teardown(against_the_model, scene_set_up, scene_tear_down),
  };
  return cmocka_run_group_tests(tests, scene_start, scene_stop);
}
