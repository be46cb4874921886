/* The pool against a real server. */
#include "storage/pg/pq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <signal.h>

#include "base/mem.h"
#include "storage/pg/pq_api.h"
#include "tests/support/pg_cluster.h"
#include "tests/support/test_stmts.h"

static struct pg_cluster cluster;
static struct pg_pool *pool;

static int start_all(void **state) {
  (void)state;
  test_stmts_use();
  pg_cluster_start(&cluster, NULL);
  pg_cluster_sql(&cluster, test_stmts_schema);
  return 0;
}

static int stop_all(void **state) {
  (void)state;
  pg_cluster_stop(&cluster);
  return 0;
}

static int open_pool(void **state) {
  (void)state;
  pg_cluster_sql(&cluster, "truncate probe, probe_child");
  pool = pg_cluster_pool(&cluster, NULL);
  while (pg_pool_stats(pool).connections_up < 4)
    loop_for(cluster.loop, 1);
  return 0;
}

static int close_pool(void **state) {
  (void)state;
  pg_pool_free(pool);
  loop_for(cluster.loop, 1);
  return 0;
}

static void run(int stmt, int64_t id, const char *name, int64_t timeout_ms, struct seen *seen) {
  struct err err;
  struct pg_args args;
  *seen = (struct seen){.done = false};
  pg_args_init(&args, (enum stmt)stmt);
  if (stmt_info((enum stmt)stmt)->param_count > 0)
    pg_put_int(&args, id);
  if (stmt_info((enum stmt)stmt)->param_count > 1)
    pg_put_text(&args, str_of(name));
  assert_true(pg_run(pool, &args, timeout_ms, seen_done, seen, &err));
  assert_false(seen->done);
}

static void sleep_for(double seconds, int64_t timeout_ms, struct seen *seen) {
  struct err err;
  struct pg_args args;
  *seen = (struct seen){.done = false};
  pg_args_init(&args, (enum stmt)T_SLEEP);
  pg_put_float8(&args, seconds);
  assert_true(pg_run(pool, &args, timeout_ms, seen_done, seen, &err));
}

static void wait_for(struct seen *seen) {
  loop_until(cluster.loop, &seen->done, 30000);
}

static void test_done_and_rejected(void **state) {
  (void)state;
  struct seen first, again, missing;
  run(T_INSERT, 1, "one", 0, &first);
  wait_for(&first);
  assert_int_equal(first.outcome, PG_DONE);
  run(T_INSERT, 1, "one", 0, &again);
  run(T_NO_TABLE, 0, NULL, 0, &missing);
  wait_for(&again);
  wait_for(&missing);
  assert_int_equal(again.outcome, PG_REJECTED);
  assert_int_equal(again.err.code, ERR_EXISTS);
  assert_string_equal(again.sqlstate, "23505");
  assert_int_equal(missing.outcome, PG_REJECTED);
  assert_int_equal(missing.err.code, ERR_INTERNAL);
  /* The connection that refused goes on. */
  for (int i = 0; i < 30; i++) {
    run(T_NO_TABLE, 0, NULL, 0, &missing);
    run(T_COUNT, 0, NULL, 0, &first);
    wait_for(&missing);
    wait_for(&first);
    assert_int_equal(missing.outcome, PG_REJECTED);
    assert_int_equal(first.outcome, PG_DONE);
  }
}

static void test_shape_is_checked(void **state) {
  (void)state;
  struct seen seen;
  run(T_MISDECLARED, 0, NULL, 0, &seen);
  wait_for(&seen);
  assert_int_equal(seen.outcome, PG_REJECTED);
  assert_non_null(strstr(seen.err.text, "declared int8"));
}

struct echo {
  bool done;
  bool checked;
};

static void check_echo(void *ctx, const struct pg_reply *reply) {
  struct echo *echo = ctx;
  echo->done = true;
  assert_int_equal(pg_outcome(reply), PG_DONE);
  assert_int_equal(pg_rows(reply), 1);
  assert_true(pg_bool(reply, 0, 0));
  assert_int_equal(pg_int(reply, 0, 1), INT16_MIN);
  assert_int_equal(pg_int(reply, 0, 2), INT32_MAX);
  assert_int_equal(pg_int(reply, 0, 3), INT64_MIN);
  double value = pg_float8(reply, 0, 4);
  uint64_t bits;
  memcpy(&bits, &value, 8);
  assert_int_equal(bits, UINT64_C(0x8000000000000000)); /* -0.0 */
  assert_true(str_is(pg_text(reply, 0, 5), "żółw\n"));
  assert_true(str_eq(pg_bytea(reply, 0, 6), str_n("\0\377", 2)));
  assert_int_equal(pg_uuid(reply, 0, 7).bytes[15], 9);
  assert_true(str_is(pg_jsonb(reply, 0, 8), "{\"a\": [1, null]}"));
  assert_int_equal(pg_time(reply, 0, 9), 1);
  echo->checked = true;
}

static void test_types(void **state) {
  (void)state;
  struct err err;
  struct pg_args args;
  struct echo echo = {.done = false};
  pg_args_init(&args, (enum stmt)T_ECHO);
  pg_put_bool(&args, true);
  pg_put_int(&args, INT16_MIN);
  pg_put_int(&args, INT32_MAX);
  pg_put_int(&args, INT64_MIN);
  pg_put_float8(&args, -0.0);
  pg_put_text(&args, STR("żółw\n"));
  pg_put_bytea(&args, str_n("\0\377", 2));
  pg_put_uuid(&args, (struct id){.bytes = {[15] = 9}});
  pg_put_jsonb(&args, STR("{\"a\":[1,null]}"));
  pg_put_time(&args, 1);
  assert_true(pg_run(pool, &args, 0, check_echo, &echo, &err));
  loop_until(cluster.loop, &echo.done, 60000);
  assert_true(echo.checked);
}

static void check_nulls(void *ctx, const struct pg_reply *reply) {
  struct echo *echo = ctx;
  echo->done = true;
  assert_int_equal(pg_outcome(reply), PG_DONE);
  for (size_t i = 0; i < 10; i++)
    assert_true(pg_is_null(reply, 0, i));
  assert_true(isnan(pg_float8(reply, 0, 4)));
  assert_null(pg_text(reply, 0, 5).p);
  assert_null(pg_jsonb(reply, 0, 8).p);
  assert_int_equal(pg_time(reply, 0, 9), INT64_MIN);
  echo->checked = true;
}

static void test_nulls(void **state) {
  (void)state;
  struct err err;
  struct pg_args args;
  struct echo echo = {.done = false};
  pg_args_init(&args, (enum stmt)T_ECHO);
  for (int i = 0; i < 10; i++)
    pg_put_null(&args);
  assert_true(pg_run(pool, &args, 0, check_nulls, &echo, &err));
  loop_until(cluster.loop, &echo.done, 60000);
  assert_true(echo.checked);
}

static void check_arrays(void *ctx, const struct pg_reply *reply) {
  struct echo *echo = ctx;
  echo->done = true;
  assert_int_equal(pg_outcome(reply), PG_DONE);
  struct pg_array ints = pg_array(reply, 0, 0), empty = pg_array(reply, 0, 1), floats = pg_array(reply, 0, 2),
                  texts = pg_array(reply, 0, 3);
  struct pg_array bytes = pg_array(reply, 0, 4), ids = pg_array(reply, 0, 5);
  assert_true(pg_array_next(&ints) && pg_item_int(&ints) == -7);
  assert_true(pg_array_next(&ints) && pg_item_is_null(&ints));
  assert_false(pg_array_next(&ints));
  assert_false(pg_array_next(&empty));
  assert_true(pg_array_next(&floats) && isnan(pg_item_float8(&floats)));
  assert_true(pg_array_next(&floats) && pg_item_float8(&floats) == 5e-324);
  assert_true(pg_array_next(&texts) && str_is(pg_item_text(&texts), "a,b\"{}"));
  assert_true(pg_array_next(&texts) && str_is(pg_item_text(&texts), ""));
  assert_true(pg_array_next(&bytes) && pg_item_is_null(&bytes));
  assert_true(pg_array_next(&ids) && pg_item_uuid(&ids).bytes[0] == 1);
  echo->checked = true;
}

static void test_arrays(void **state) {
  (void)state;
  struct err err;
  struct pg_args args;
  struct echo echo = {.done = false};
  pg_args_init(&args, (enum stmt)T_ECHO_ARRAYS);
  pg_begin_array(&args);
  pg_put_int(&args, -7);
  pg_put_null(&args);
  pg_end_array(&args);
  pg_put_int8s(&args, NULL, 0);
  pg_put_float8s(&args, (const double[]){NAN, 5e-324}, 2);
  pg_begin_array(&args);
  pg_put_text(&args, STR("a,b\"{}"));
  pg_put_text(&args, STR(""));
  pg_end_array(&args);
  pg_begin_array(&args);
  pg_put_bytea(&args, STR_NONE);
  pg_end_array(&args);
  pg_begin_array(&args);
  pg_put_uuid(&args, (struct id){.bytes = {1}});
  pg_end_array(&args);
  assert_true(pg_run(pool, &args, 0, check_arrays, &echo, &err));
  loop_until(cluster.loop, &echo.done, 60000);
  assert_true(echo.checked);
}

static void test_mistakes_are_told_at_once(void **state) {
  (void)state;
  struct err err;
  struct pg_args args;
  struct seen seen = {.done = false};
  pg_args_init(&args, (enum stmt)T_INSERT);
  pg_put_text(&args, STR("not a number"));
  assert_false(pg_run(pool, &args, 0, seen_done, &seen, &err));
  assert_int_equal(err.code, ERR_INTERNAL);
  pg_args_init(&args, (enum stmt)T_INSERT);
  pg_put_int(&args, 1);
  assert_false(pg_run(pool, &args, 0, seen_done, &seen, &err));
  assert_non_null(strstr(err.text, "takes 2 arguments, got 1"));
  pg_args_init(&args, (enum stmt)T_INSERT);
  pg_put_int(&args, 1);
  pg_put_text(&args, str_n("a\0b", 3));
  assert_false(pg_run(pool, &args, 0, seen_done, &seen, &err));
  assert_int_equal(err.code, ERR_INVALID);
  assert_false(seen.done);
}

static void test_batch_is_atomic(void **state) {
  (void)state;
  struct err err;
  struct seen seen = {.done = false};
  struct pg_batch batch = PG_BATCH_INIT;
  static const int ids[] = {10, 11, 10, 12};
  for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
    struct pg_args *args = pg_batch_add(&batch, (enum stmt)T_INSERT);
    pg_put_int(args, ids[i]);
    pg_put_text(args, STR("x"));
  }
  assert_true(pg_run_batch(pool, &batch, 0, seen_done, &seen, &err));
  wait_for(&seen);
  assert_int_equal(seen.outcome, PG_REJECTED);
  assert_int_equal(seen.err.code, ERR_EXISTS);
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from probe"), 0);
}

static void check_batch(void *ctx, const struct pg_reply *reply) {
  struct echo *echo = ctx;
  echo->done = true;
  assert_int_equal(pg_outcome(reply), PG_DONE);
  assert_int_equal(pg_int(pg_nth(reply, 1), 0, 0), 1);
  assert_int_equal(pg_int(pg_nth(reply, 3), 0, 0), 2);
  echo->checked = true;
}

static void test_batch_sees_itself(void **state) {
  (void)state;
  struct err err;
  struct echo echo = {.done = false};
  struct pg_batch batch = PG_BATCH_INIT;
  for (int i = 0; i < 2; i++) {
    struct pg_args *args = pg_batch_add(&batch, (enum stmt)T_INSERT);
    pg_put_int(args, i);
    pg_put_text(args, STR("x"));
    pg_batch_add(&batch, (enum stmt)T_COUNT);
  }
  assert_true(pg_run_batch(pool, &batch, 0, check_batch, &echo, &err));
  loop_until(cluster.loop, &echo.done, 60000);
  assert_true(echo.checked);
}

/* A commit that fails comes after all results. */
static void test_commit_that_fails(void **state) {
  (void)state;
  struct seen seen, after;
  run(T_DEFERRED, 4711, NULL, 0, &seen);
  run(T_COUNT, 0, NULL, 0, &after);
  wait_for(&seen);
  wait_for(&after);
  assert_int_equal(seen.outcome, PG_REJECTED);
  assert_int_equal(seen.err.code, ERR_CONFLICT);
  assert_string_equal(seen.sqlstate, "23503");
  assert_int_equal(after.outcome, PG_DONE);
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from probe_child"), 0);
}

static void test_serialization_failure_is_tried_again(void **state) {
  (void)state;
  struct seen seen;
  pg_cluster_sql(&cluster, "alter sequence attempts restart with 1");
  run(T_SERIALIZE, 0, NULL, 0, &seen);
  wait_for(&seen);
  assert_int_equal(seen.outcome, PG_DONE);
  assert_int_equal(pg_pool_stats(pool).retried, 2);
}

static void test_disk_full(void **state) {
  (void)state;
  struct seen seen;
  assert_int_equal(pg_pool_stats(pool).no_space_ms, 0);
  run(T_DISK_FULL, 0, NULL, 0, &seen);
  wait_for(&seen);
  assert_int_equal(seen.outcome, PG_REJECTED);
  assert_int_equal(seen.err.code, ERR_NO_SPACE);
  assert_true(pg_pool_stats(pool).no_space_ms > 0);
}

static void test_deadline_of_a_slow_statement(void **state) {
  (void)state;
  struct seen slow, quick;
  bool overtaken = false;
  for (int64_t deadline = 300; !overtaken && deadline < 10000; deadline *= 4) { /* a slow machine may need as long for the quick one */
    sleep_for(600, deadline, &slow);
    run(T_COUNT, 0, NULL, 0, &quick);
    wait_for(&quick);
    overtaken = !slow.done;
    wait_for(&slow); /* long before it would have ended */
    assert_int_equal(slow.outcome, PG_CANCELLED);
    assert_int_equal(slow.err.code, ERR_DEADLINE);
  }
  assert_true(overtaken);
}

static void test_many_at_once(void **state) {
  (void)state;
  enum { N = 3000 };
  static struct seen seen[N];
  for (int i = 0; i < N; i++)
    run(T_INSERT, i, "many", 0, &seen[i]);
  for (int i = 0; i < N; i++) {
    wait_for(&seen[i]);
    assert_int_equal(seen[i].outcome, PG_DONE);
    assert_int_equal(seen[i].count, 1);
  }
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from probe"), N);
}

static void test_queue_has_a_ceiling(void **state) {
  (void)state;
  struct err err;
  struct pg_pool_conf conf = pg_pool_conf_default();
  conf.queue_max = 3;
  struct pg_pool *small = pg_pool_new(cluster.loop, &conf, &err); /* never started: all wait */
  struct seen seen[3] = {{.done = false}};
  for (int i = 0; i < 4; i++) {
    struct pg_args args;
    pg_args_init(&args, (enum stmt)T_COUNT);
    assert_int_equal(pg_run(small, &args, 200, seen_done, &seen[i % 3], &err), i < 3);
  }
  assert_int_equal(err.code, ERR_OVERLOADED);
  wait_for(&seen[0]);
  assert_int_equal(seen[0].outcome, PG_CANCELLED);
  assert_int_equal(seen[0].err.code, ERR_UNAVAILABLE);
  struct pg_args args;
  struct seen last = {.done = false};
  pg_args_init(&args, (enum stmt)T_COUNT);
  assert_true(pg_run(small, &args, 0, seen_done, &last, &err));
  pg_pool_free(small);
  assert_true(last.done);
  assert_int_equal(last.outcome, PG_CANCELLED);
}

static void on_drained(void *ctx) {
  *(bool *)ctx = true;
}

static void test_drain(void **state) {
  (void)state;
  struct err err;
  struct seen slow;
  bool drained = false;
  sleep_for(0.3, 0, &slow);
  pg_pool_drain(pool, on_drained, &drained);
  struct pg_args args;
  pg_args_init(&args, (enum stmt)T_COUNT);
  assert_false(pg_run(pool, &args, 0, seen_done, &slow, &err));
  assert_int_equal(err.code, ERR_UNAVAILABLE);
  loop_until(cluster.loop, &drained, 60000);
  assert_true(slow.done);
  assert_int_equal(slow.outcome, PG_DONE);
}

/* ---- streams ---- */

struct rows {
  struct pg_stream *stream;
  int64_t count, sum, pause_every;
  bool paused, cancel_at_ten;
  struct seen seen;
};

static void on_row(void *ctx, const struct pg_reply *row) {
  struct rows *rows = ctx;
  assert_int_equal(pg_rows(row), 1);
  assert_false(rows->paused);
  rows->count++;
  rows->sum += pg_int(row, 0, 0);
  if (rows->pause_every && rows->count % rows->pause_every == 0) {
    rows->paused = true;
    pg_stream_pause(rows->stream);
  }
  if (rows->cancel_at_ten && rows->count == 10)
    pg_stream_cancel(rows->stream);
}

static void on_stream_done(void *ctx, const struct pg_reply *reply) {
  seen_done(&((struct rows *)ctx)->seen, reply);
}

static void open_stream(int stmt, int64_t n, struct rows *rows) {
  struct err err;
  struct pg_args args;
  pg_args_init(&args, (enum stmt)stmt);
  pg_put_int(&args, n);
  rows->stream = pg_stream_open(pool, &args, 20000, on_row, on_stream_done, rows, &err);
  assert_non_null(rows->stream);
}

static void test_stream(void **state) {
  (void)state;
  struct rows rows = {.count = 0};
  open_stream(T_SERIES, 100000, &rows);
  wait_for(&rows.seen);
  assert_int_equal(rows.seen.outcome, PG_DONE);
  assert_int_equal(rows.count, 100000);
  assert_int_equal(rows.sum, INT64_C(100000) * 100001 / 2);
}

static void test_stream_back_pressure(void **state) {
  (void)state;
  struct rows rows = {.pause_every = 20000};
  open_stream(T_SERIES, 100000, &rows);
  int pauses = 0;
  while (!rows.seen.done) {
    loop_for(cluster.loop, 1);
    if (!rows.paused || rows.seen.done)
      continue;
    int64_t count = rows.count;
    loop_for(cluster.loop, 50);
    assert_int_equal(rows.count, count); /* nothing comes while paused */
    pauses++;
    rows.paused = false;
    pg_stream_resume(rows.stream);
  }
  assert_in_range(pauses, 4, 5); /* the end may come together with the last rows */
  assert_int_equal(rows.count, 100000);
}

static void test_stream_cancel(void **state) {
  (void)state;
  struct rows rows = {.cancel_at_ten = true}, next = {.count = 0};
  open_stream(T_SERIES, 10000000, &rows);
  wait_for(&rows.seen);
  assert_int_equal(rows.seen.outcome, PG_CANCELLED);
  assert_int_equal(rows.count, 10);
  open_stream(T_SERIES, 5, &next);
  wait_for(&next.seen);
  assert_int_equal(next.seen.outcome, PG_DONE);
}

/* More streams than sessions: they take turns. */
static void test_streams_share_sessions(void **state) {
  (void)state;
  enum { N = 20 };
  static struct rows rows[N];
  memset(rows, 0, sizeof rows);
  for (int i = 0; i < N; i++)
    open_stream(T_SERIES, 1000, &rows[i]);
  for (int i = 0; i < N; i++) {
    wait_for(&rows[i].seen);
    assert_int_equal(rows[i].seen.outcome, PG_DONE);
    assert_int_equal(rows[i].count, 1000);
  }
  assert_true(pg_pool_stats(pool).sessions_up <= 6);
}

/* Everything in flight gets an outcome. */
static void test_free_with_work_in_flight(void **state) {
  (void)state;
  struct pg_pool *own = pg_cluster_pool(&cluster, NULL), *shared = pool;
  pool = own;
  struct seen first, slow;
  run(T_COUNT, 0, NULL, 0, &first);
  wait_for(&first);
  sleep_for(5, 0, &slow);
  struct rows rows = {.pause_every = 1}, waiting = {.count = 0};
  open_stream(T_SERIES, 10, &rows);
  loop_until(cluster.loop, &rows.paused, 60000);
  open_stream(T_SERIES, 1, &waiting);
  pg_pool_free(own);
  pool = shared;
  assert_int_equal(slow.outcome, PG_UNKNOWN);
  assert_true(slow.done && rows.seen.done && waiting.seen.done);
  assert_int_equal(waiting.seen.outcome, PG_CANCELLED);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_pool, close_pool)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(test_done_and_rejected),
      CASE(test_shape_is_checked),
      CASE(test_types),
      CASE(test_nulls),
      CASE(test_arrays),
      CASE(test_mistakes_are_told_at_once),
      CASE(test_batch_is_atomic),
      CASE(test_batch_sees_itself),
      CASE(test_commit_that_fails),
      CASE(test_serialization_failure_is_tried_again),
      CASE(test_disk_full),
      CASE(test_deadline_of_a_slow_statement),
      CASE(test_many_at_once),
      CASE(test_queue_has_a_ceiling),
      CASE(test_drain),
      CASE(test_stream),
      CASE(test_stream_back_pressure),
      CASE(test_stream_cancel),
      CASE(test_streams_share_sessions),
      CASE(test_free_with_work_in_flight),
  };
  const char *only = getenv("WINNOW_TEST_ONLY");
  cmocka_set_test_filter(only);
  return cmocka_run_group_tests(tests, start_all, stop_all);
}
