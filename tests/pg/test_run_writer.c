/* Writes of params and tags that meet at one run: each has the outcome that it would have had alone, in the order they came. */
#include <libpq-fe.h>

#include "base/mem.h"
#include "tests/support/metric_scene.h"
#include "tests/support/test.h"
#include "tracker/run_writer.h"

enum { WRITES = 16 };

struct write {
  struct run_words words;
  char params[100], tags[100];
  bool added; /* run_writer_add() has returned */
  int answers;
  bool ok;
  char refusal[6];
  struct err err;
};

static struct write writes[WRITES];
static size_t answered;
static bool all_answered;
static struct run_writer *writer;

static void open_writer(void) {
  struct err err;
  writer = run_writer_new(scene.cluster.loop, scene.pool, &err);
  assert_non_null(writer);
}

static int set_up(void **state) {
  scene_set_up(state);
  open_writer();
  return 0;
}

static int tear_down(void **state) {
  scene_tear_down(state);
  run_writer_free(writer);
  return 0;
}

static void on_written(void *ctx, const char *refusal, const struct err *err) {
  struct write *write = ctx;
  assert_true(write->added);
  write->answers++;
  write->ok = !err;
  snprintf(write->refusal, sizeof write->refusal, "%s", refusal);
  if (err)
    write->err = *err;
  all_answered = ++answered == WRITES;
}

static void new_writes(void) {
  memset(writes, 0, sizeof writes);
  answered = 0;
  all_answered = false;
  for (size_t i = 0; i < WRITES; i++) {
    snprintf(writes[i].params, sizeof writes[i].params, "{}");
    snprintf(writes[i].tags, sizeof writes[i].tags, "{\"t%zu\": \"v\"}", i);
    writes[i].words.pass = -1;
  }
}

static void add(struct write *write, size_t r) {
  struct err err;
  write->words.run = scene.run_ids[r];
  write->words.params = str_of(write->params);
  write->words.tags = str_of(write->tags);
  write->words.done = on_written;
  write->words.ctx = write;
  assert_true(run_writer_add(writer, &write->words, &err));
  write->added = true;
}

static void add_all(size_t r) {
  for (size_t i = 0; i < WRITES; i++)
    add(&writes[i], r);
}

static void wait_for_all(void) {
  loop_until(scene.cluster.loop, &all_answered, 30000);
  for (size_t i = 0; i < WRITES; i++)
    assert_int_equal(writes[i].answers, 1);
}

static void expect_refusals(const char *sqlstate) {
  for (size_t i = 0; i < WRITES; i++) {
    assert_false(writes[i].ok);
    assert_string_equal(writes[i].refusal, sqlstate);
  }
}

static size_t shared(void) {
  size_t count = 0;
  for (size_t i = 0; i < WRITES; i++)
    count += !writes[i].words.is_alone;
  return count;
}

/* ---- each as if alone ---- */

static const char *one_of(const char *const *texts, size_t count) {
  return texts[rng_below(&scene.rng, count)];
}

static void draw(struct write *write) {
  static const char *const keys[] = {"a", "b", "c", "d", "e"}, *const values[] = {"1", "1.0", "2", "true", "True", "x", ""};
  static const char *const tag_keys[] = {"a", "b", "mlflow.runName"};
  static const int passes[] = {-1, -1, -1, 0, 1, 2};
  const char *value = rng_below(&scene.rng, 40) ? one_of(values, ARRAY_LEN(values)) : "\\u0000"; /* which the database cannot take */
  if (rng_below(&scene.rng, 3))
    snprintf(write->params, sizeof write->params, "{\"%s\": \"%s\"}", one_of(keys, ARRAY_LEN(keys)), value);
  if (rng_below(&scene.rng, 3))
    snprintf(write->tags, sizeof write->tags, "{\"%s\": \"%s\"}", one_of(tag_keys, ARRAY_LEN(tag_keys)), one_of(values, ARRAY_LEN(values)));
  else
    snprintf(write->tags, sizeof write->tags, "{}");
  write->words.pass = passes[rng_below(&scene.rng, ARRAY_LEN(passes))];
}

static void write_alone(size_t r, const struct write *write, struct seen *seen) {
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  *seen = (struct seen){.done = false};
  pg_args_init(&args, STMT_RUN_WRITE);
  pg_put_uuid(&args, scene.run_ids[r]);
  pg_put_jsonb(&args, str_of(write->params));
  pg_put_jsonb(&args, str_of(write->tags));
  pg_put_int(&args, write->words.pass);
  assert_true(pg_run(scene.pool, &args, 0, seen_done, seen, &err));
  loop_until(scene.cluster.loop, &seen->done, 30000);
}

static void as_if_alone(void **state UNUSED) {
  size_t refused = 0, together = 0;
  for (int round = 0; round < 30; round++) {
    pg_cluster_sql(&scene.cluster, round % 10 < 5 ? "update winnow.run set executor = null" : "update winnow.run set executor = 'local'");
    if (round % 10 == 0)
      pg_cluster_sql(&scene.cluster, "update winnow.run set params = '{}', tags = '{}'");
    new_writes();
    for (size_t i = 0; i < WRITES; i++)
      draw(&writes[i]);
    add_all(0);
    wait_for_all();
    together += shared();
    for (size_t i = 0; i < WRITES; i++) {
      struct seen seen;
      write_alone(1, &writes[i], &seen);
      assert_int_equal(writes[i].ok, seen.outcome == PG_DONE);
      assert_string_equal(writes[i].refusal, seen.sqlstate);
      refused += !writes[i].ok;
    }
    assert_int_equal(pg_cluster_int(&scene.cluster, "select count(distinct (name, params, tags)) from winnow.run where params <> '{}'"), 1);
  }
  assert_true(refused > 30);
  assert_true(together > 150);
}

static void one_that_cannot_be_taken_takes_no_other_with_it(void **state UNUSED) {
  new_writes();
  snprintf(writes[5].tags, sizeof writes[5].tags, "{\"t\": \"\\u0000\"}");
  add_all(0);
  wait_for_all();
  for (size_t i = 0; i < WRITES; i++)
    assert_int_equal(writes[i].ok, i != 5);
  assert_int_equal(writes[5].err.code, ERR_INVALID);
  assert_int_equal(pg_cluster_int(&scene.cluster, "select count(*) from winnow.run, jsonb_object_keys(tags)"), WRITES - 1);
}

/* ---- points that come with them ---- */

static int32_t attempt_of(int pass) {
  return pass < 0 ? METRIC_CURRENT : pass == 0 ? METRIC_UNOWNED : pass;
}

static void draw_points(struct write *write, struct metric_rows *rows) {
  struct err err;
  scene_draw_rows(0, rows);
  write->words.metrics = metric_write_new(scene.store, scene.run_ids[0], attempt_of(write->words.pass), rows, &err);
  assert_non_null(write->words.metrics);
}

/* Who may write nothing may write no points; and who may not write points has changed no tag. */
static void points_are_stored_with_the_rest_or_not_at_all(void **state UNUSED) {
  const struct metric_store_conf conf = scene_eager();
  size_t refused = 0, stored = 0, together = 0;
  run_writer_free(writer);
  scene_close_store();
  scene_open_store(&conf);
  open_writer();
  for (int round = 0; round < 30; round++) {
    struct metric_rows rows[WRITES];
    pg_cluster_sql(&scene.cluster, round % 10 < 5 ? "update winnow.run set executor = null" : "update winnow.run set executor = 'local'");
    new_writes();
    for (size_t i = 0; i < WRITES; i++) {
      draw(&writes[i]);
      snprintf(writes[i].tags, sizeof writes[i].tags, "{\"%d.%zu\": \"%s\"}", round, i, rng_below(&scene.rng, 40) ? "v" : "\\u0000");
      metric_rows_init(&rows[i]);
      if (rng_below(&scene.rng, 4))
        draw_points(&writes[i], &rows[i]);
    }
    add_all(0);
    wait_for_all();
    together += shared();
    for (size_t i = 0; i < WRITES; i++) {
      char sql[100];
      snprintf(sql, sizeof sql, "select count(*) from winnow.run where tags ? '%d.%zu'", round, i);
      assert_int_equal(pg_cluster_int(&scene.cluster, sql), writes[i].ok);
      if (writes[i].ok)
        scene_note(0, &rows[i]);
      stored += writes[i].ok && rows[i].points.n;
      refused += !writes[i].ok && rows[i].points.n;
      metric_rows_release(&rows[i]);
    }
  }
  for (size_t k = 0; k < KEYS; k++)
    scene_check_pages(0, k, 0);
  scene_check_run_row(0);
  assert_true(stored > 50);
  assert_true(refused > 50);
  assert_true(together > 300);
}

/* ---- tags that are removed ---- */

static void tags_are_set_and_removed_in_their_order(void **state UNUSED) {
  static const char *const tags[] = {"{\"a\": null}",
                                     "{\"b\": \"1\", \"c\": \"1\"}",
                                     "{\"b\": null, \"mlflow.runName\": \"x\"}",
                                     "{\"a\": \"2\"}",
                                     "{\"mlflow.runName\": null, \"d\": null}",
                                     "{\"d\": \"4\"}"};
  pg_cluster_sql(&scene.cluster, "update winnow.run set name = 'before', tags = '{\"a\": \"0\", \"d\": \"0\", \"e\": \"0\"}'");
  new_writes();
  for (size_t i = 0; i < WRITES; i++) {
    writes[i].words.removes = true;
    snprintf(writes[i].tags, sizeof writes[i].tags, "%s", i < ARRAY_LEN(tags) ? tags[i] : "{\"e\": null}");
  }
  add_all(0);
  wait_for_all();
  for (size_t i = 0; i < WRITES; i++)
    assert_true(writes[i].ok);
  assert_int_equal(
      pg_cluster_int(&scene.cluster,
                     "select count(*) from winnow.run where name = '' and tags = '{\"a\": \"2\", \"c\": \"1\", \"d\": \"4\"}'"),
      1);
}

/* ---- what happens to the run meanwhile ---- */

static void wait_for_lock(void) {
  for (int i = 0; !pg_cluster_int(&scene.cluster, "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"); i++) {
    assert_true(i < 5000);
    loop_for(scene.cluster.loop, 5);
  }
}

static void end_with(PGconn *other, const char *sql) {
  PGresult *result = PQexec(other, sql);
  assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
  PQclear(result);
  PQfinish(other);
}

static void a_run_that_goes_away_in_between(void **state UNUSED) {
  static const struct {
    const char *sql, *refusal;
  } ends[] = {
      {"update winnow.run set deleted_at = 1; commit", "WN410"},
      {"update winnow.run set executor = 'local'; commit", "WN403"},
      {"delete from winnow.run; commit", "WN404"},
  };
  for (size_t e = 0; e < ARRAY_LEN(ends); e++) {
    pg_cluster_sql(&scene.cluster, "update winnow.run set deleted_at = null, executor = null");
    new_writes();
    PGconn *other = scene_lock_run(0);
    for (size_t i = 0; i < WRITES; i++)
      writes[i].words.pass = 0;
    add(&writes[0], 0);
    wait_for_lock();
    for (size_t i = 1; i < WRITES; i++)
      add(&writes[i], 0);
    loop_for(scene.cluster.loop, 5);
    assert_int_equal(answered, 0);
    end_with(other, ends[e].sql);
    wait_for_all();
    expect_refusals(ends[e].refusal);
    assert_int_equal(shared(), WRITES - 1);
  }
}

static void other_runs_do_not_wait(void **state UNUSED) {
  while (pg_pool_stats(scene.pool).connections_up < RUNS) /* else they are sent behind who waits for the lock */
    loop_for(scene.cluster.loop, 5);
  new_writes();
  PGconn *other = scene_lock_run(0);
  add(&writes[0], 0);
  wait_for_lock();
  for (size_t i = 1; i < WRITES; i++)
    add(&writes[i], i % RUNS);
  for (bool others = false; !others;) {
    loop_turn(scene.cluster.loop, true);
    others = answered == WRITES - WRITES / RUNS;
  }
  for (size_t i = 0; i < WRITES; i++)
    assert_int_equal(writes[i].answers, i % RUNS != 0);
  end_with(other, "rollback");
  wait_for_all();
  for (size_t i = 0; i < WRITES; i++)
    assert_true(writes[i].ok);
}

/* ---- the end ---- */

static void who_waits_at_the_end_is_told(void **state UNUSED) {
  struct err err;
  struct pg_pool *pool = pg_cluster_pool(&scene.cluster, NULL);
  run_writer_free(writer);
  writer = run_writer_new(scene.cluster.loop, pool, &err);
  assert_non_null(writer);
  new_writes();
  PGconn *other = scene_lock_run(0);
  add(&writes[0], 0);
  wait_for_lock();
  for (size_t i = 1; i < WRITES; i++)
    add(&writes[i], i % 2);
  pg_pool_free(pool);
  run_writer_free(writer);
  PQfinish(other);
  writer = NULL;
  assert_true(all_answered);
  for (size_t i = 0; i < WRITES; i++) {
    assert_int_equal(writes[i].answers, 1);
    assert_false(writes[i].ok);
  }
}

static void what_waits_has_a_ceiling(void **state UNUSED) {
  enum { BIG = 8 * MIB };
  struct err err;
  char *big = mem_zalloc(BIG + 1);
  assert_non_null(big);
  memset(big, ' ', BIG);
  memcpy(big, "{}", 2);
  new_writes();
  size_t taken = 0;
  bool ok = true;
  PGconn *other = scene_lock_run(0);
  while (ok) {
    struct run_words *words = &writes[taken].words;
    *words = (struct run_words){
        .run = scene.run_ids[0], .params = STR("{}"), .tags = str_n(big, BIG), .pass = -1, .done = on_written, .ctx = &writes[taken]};
    ok = run_writer_add(writer, words, &err);
    writes[taken].added = ok;
    taken += ok;
    assert_true(taken < WRITES);
  }
  assert_int_equal(err.code, ERR_OVERLOADED);
  assert_true(taken * BIG >= 64 * MIB);
  end_with(other, "rollback");
  while (answered < taken)
    loop_turn(scene.cluster.loop, true);
  add(&writes[taken], 0);
  while (answered < taken + 1)
    loop_turn(scene.cluster.loop, true);
  for (size_t i = 0; i <= taken; i++)
    assert_true(writes[i].ok);
  mem_free(big);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(as_if_alone),
      TEST(one_that_cannot_be_taken_takes_no_other_with_it),
      TEST(points_are_stored_with_the_rest_or_not_at_all),
      TEST(tags_are_set_and_removed_in_their_order),
      TEST(a_run_that_goes_away_in_between),
      TEST(other_runs_do_not_wait),
      TEST(who_waits_at_the_end_is_told),
      TEST(what_waits_has_a_ceiling),
  };
  return cmocka_run_group_tests(tests, scene_start, scene_stop);
}
