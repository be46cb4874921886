/* What a person did is an event once, however often its statement is sent. */
#include "tests/support/pg_cluster.h"
#include "tests/support/test.h"

static struct pg_cluster cluster;
static struct pg_pool *pool;

static int start_all(void **state) {
  (void)state;
  struct pg_pool_conf conf = pg_pool_conf_default();
  pg_cluster_start(&cluster, NULL);
  pool = pg_cluster_pool(&cluster, &conf);
  return 0;
}

static int stop_all(void **state) {
  (void)state;
  pg_pool_free(pool);
  pg_cluster_stop(&cluster);
  return 0;
}

/* Was there a row? */
static bool edit(struct id sweep, int64_t now, const char *edits, const char *is) {
  AUTO_PG_ARGS struct pg_args args;
  struct seen seen = {.done = false};
  struct err err;
  pg_args_init(&args, STMT_SWEEP_EDIT);
  pg_put_uuid(&args, sweep);
  pg_put_jsonb(&args, str_of(edits));
  pg_put_int(&args, now);
  pg_put_text(&args, STR("uid 1"));
  pg_put_text(&args, STR("run_cap none"));
  pg_put_text(&args, str_of(is));
  assert_true(pg_run(pool, &args, 0, seen_done, &seen, &err));
  loop_until(cluster.loop, &seen.done, 30000);
  assert_int_equal(seen.outcome, PG_DONE);
  return seen.rows == 1;
}

static void test_edits(void **state) {
  (void)state;
  struct id sweep;
  assert_true(id_parse(STR("0123456789abcdef0123456789abcdef"), &sweep));
  pg_cluster_sql(&cluster, "insert into sweep (id, experiment_id, created, version, seed, name, directory, source, spec, warnings) "
                           "values ('0123456789abcdef0123456789abcdef', 0, 0, 0, 0, 's', '', '', '{}', '[]')");
  pg_cluster_sql(&cluster, "insert into run (id, experiment_id, start_time, created, state, kind, name, user_id) "
                           "values ('0123456789abcdef0123456789abcdef', 0, 0, 0, 2, 1, 's', '')");
  for (int sent = 0; sent < 2; sent++)
    assert_true(edit(sweep, 1000, "{\"run_cap\": 7}", "run_cap 7"));
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from event where kind = 'sweep.edited'"), 1);
  assert_true(edit(sweep, 1000, "{\"run_cap\": 8}", "run_cap 8"));
  assert_true(edit(sweep, 1001, "{\"run_cap\": 7}", "run_cap 7"));
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from event where kind = 'sweep.edited'"), 3);
  assert_int_equal(pg_cluster_int(&cluster, "select (edits ->> 'run_cap')::int8 from sweep"), 7);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_edits)};
  return cmocka_run_group_tests(tests, start_all, stop_all);
}
