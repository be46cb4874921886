/* What the pool, the listener and the holder of the lock do when the server, or a part of it, dies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>

#include "storage/active.h"
#include "tests/support/pg_cluster.h"
#include "tests/support/test_stmts.h"

static struct pg_cluster cluster;
static struct pg_pool *pool;

static int start_all(void **state) {
  (void)state;
  test_stmts_use();
  pg_cluster_start(&cluster, "max_connections = 50");
  pg_cluster_sql(&cluster, test_stmts_schema);
  return 0;
}

static int stop_all(void **state) {
  (void)state;
  pg_cluster_stop(&cluster);
  return 0;
}

static void open_up(const struct pg_pool_conf *conf) {
  pg_cluster_sql(&cluster, "truncate probe, probe_child");
  pool = pg_cluster_pool(&cluster, conf);
  while (!pg_pool_is_up(pool))
    loop_for(cluster.loop, 1);
}

static void close_down(void) {
  pg_pool_free(pool);
  loop_for(cluster.loop, 1);
}

static void issue(int stmt, int64_t id, int64_t timeout_ms, struct seen *seen) {
  struct err err;
  struct pg_args args;
  *seen = (struct seen){.done = false};
  pg_args_init(&args, (enum stmt)stmt);
  if (stmt == T_SLEEP)
    pg_put_float8(&args, (double)id);
  else if (stmt_info((enum stmt)stmt)->param_count) {
    pg_put_int(&args, id);
    pg_put_text(&args, STR("x"));
  }
  assert_true(pg_run(pool, &args, timeout_ms, seen_done, seen, &err));
}

static void wait_for(struct seen *seen) {
  loop_until(cluster.loop, &seen->done, 150000);
}

static void wait_until_up(void) {
  for (int i = 0; i < 3000 && !(cluster.up && pg_pool_is_up(pool)); i++)
    loop_for(cluster.loop, 10);
  assert_true(pg_pool_is_up(pool));
}

static void test_backend_is_terminated(void **state) {
  (void)state;
  open_up(NULL);
  struct seen sleeping, after;
  issue(T_SLEEP, 20, 0, &sleeping);
  while (!pg_cluster_int(&cluster, "select count(pg_terminate_backend(pid)) from pg_stat_activity where query like '%pg_sleep%' "
                                   "and state = 'active' and pid <> pg_backend_pid()"))
    loop_for(cluster.loop, 10);
  wait_for(&sleeping);
  assert_int_equal(sleeping.outcome, PG_UNKNOWN);
  assert_int_equal(sleeping.err.code, ERR_UNKNOWN_OUTCOME);
  issue(T_COUNT, 0, 0, &after);
  wait_for(&after);
  assert_int_equal(after.outcome, PG_DONE);
  close_down();
}

/* All connections die within one turn of the loop. The first statement on each is taken and lost; the next cannot be sent on any of
 * them, and is not to blame for that. */
enum { CONNECTIONS = 4 };

static void send_on_the_dead(void *ctx) {
  struct seen *seen = ctx;
  pg_cluster_sql(&cluster, "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'winnow'");
  for (int i = 0; i < CONNECTIONS; i++)
    issue(T_INSERT, i, 0, &seen[i]);
  issue(T_INSERT_SAFE, CONNECTIONS, 0, &seen[CONNECTIONS]);
}

static void test_all_are_dead_and_nobody_knows(void **state) {
  (void)state;
  struct seen seen[CONNECTIONS + 1] = {{.done = false}};
  struct pg_pool_conf conf = pg_pool_conf_default();
  conf.connections = CONNECTIONS;
  open_up(&conf);
  for (int i = 0; i < 3000 && pg_pool_stats(pool).connections_up < CONNECTIONS; i++)
    loop_for(cluster.loop, 1);
  struct loop_timer *timer = loop_timer_new(cluster.loop, send_on_the_dead, seen);
  assert_non_null(timer);
  loop_timer_start(timer, 1);
  for (int i = 0; i <= CONNECTIONS; i++)
    wait_for(&seen[i]);
  loop_timer_free(timer);
  for (int i = 0; i < CONNECTIONS; i++)
    assert_int_equal(seen[i].outcome, PG_UNKNOWN);
  assert_int_equal(seen[CONNECTIONS].outcome, PG_DONE);
  close_down();
}

/* A backend killed by SIGKILL makes the server restart all of them: what is repeatable is answered all the same, nothing acknowledged is
 * lost, and nothing happens twice. */
static void test_backends_are_killed(void **state) {
  (void)state;
  open_up(NULL);
  enum { N = 400 };
  static struct seen plain[N], safe[N], reads[N];
  for (int round = 0; round < 3; round++) {
    pg_cluster_sql(&cluster, "truncate probe, probe_child");
    for (int i = 0; i < N; i++) {
      issue(T_INSERT, i, 120000, &plain[i]);
      issue(T_INSERT_SAFE, N + i, 120000, &safe[i]);
      issue(T_COUNT, 0, 120000, &reads[i]);
    }
    loop_for(cluster.loop, 5 + 10 * round);
    uint64_t all_died = pg_pool_stats(pool).reconnects + pg_pool_stats(pool).connections_up;
    int64_t pid = pg_cluster_int(&cluster, "select pid from pg_stat_activity where application_name = 'winnow' limit 1");
    kill((pid_t)pid, SIGKILL);
    int done = 0, unknown = 0;
    for (int i = 0; i < N; i++) {
      wait_for(&plain[i]);
      wait_for(&safe[i]);
      wait_for(&reads[i]);
      assert_int_equal(safe[i].outcome, PG_DONE);
      assert_int_equal(reads[i].outcome, PG_DONE);
      assert_true(plain[i].outcome == PG_DONE || plain[i].outcome == PG_UNKNOWN);
      done += plain[i].outcome == PG_DONE;
      unknown += plain[i].outcome == PG_UNKNOWN;
      assert_int_equal(plain[i].count, 1);
    }
    print_message("%d done, %d unknown\n", done, unknown);
    /* The crash of this round is over before the next begins, also when it came after the last answer. */
    for (int i = 0; i < 3000 && pg_pool_stats(pool).reconnects < all_died; i++)
      loop_for(cluster.loop, 10);
    wait_until_up();
    int64_t there = pg_cluster_int(&cluster, "select count(*) from probe where id < 400");
    assert_true(there >= done && there <= done + unknown);
    assert_int_equal(pg_cluster_int(&cluster, "select count(*) from probe where id >= 400"), N);
  }
  close_down();
}

static void test_postmaster_is_killed(void **state) {
  (void)state;
  open_up(NULL);
  struct seen before, during, waiting;
  issue(T_INSERT, 1, 0, &before);
  wait_for(&before);
  assert_int_equal(before.outcome, PG_DONE);
  issue(T_SLEEP, 5, 0, &during);
  loop_for(cluster.loop, 50);
  kill(pg_private_pid(cluster.server), SIGKILL);
  int64_t since = clock_mono_ms(&clock_system);
  loop_for(cluster.loop, 50);
  issue(T_COUNT, 0, 120000, &waiting); /* waits for the server to be back */
  wait_for(&during);
  assert_int_equal(during.outcome, PG_UNKNOWN);
  wait_for(&waiting);
  print_message("back after %lld ms\n", (long long)(clock_mono_ms(&clock_system) - since));
  assert_int_equal(waiting.outcome, PG_DONE);
  wait_until_up();
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from probe"), 1);
  close_down();
}

/* A server that is there and says nothing. */
static void test_server_is_stopped(void **state) {
  (void)state;
  struct pg_pool_conf conf = pg_pool_conf_default();
  conf.connections = CONNECTIONS;
  open_up(&conf);
  struct seen write, late;
  while (pg_pool_stats(pool).connections_up < CONNECTIONS) /* one that comes later would not be stopped */
    loop_for(cluster.loop, 1);
  int64_t before = clock_mono_ms(&clock_system);
  int64_t backends[64];
  size_t count = 0;
  /* Stopping the postmaster alone would leave its backends answering. */
  for (int i = 0; i < 64; i++) {
    char sql[160];
    snprintf(sql, sizeof sql,
             "select coalesce((select pid from pg_stat_activity where application_name = 'winnow' order by pid offset %d limit 1), 0)", i);
    backends[count] = pg_cluster_int(&cluster, sql);
    if (!backends[count])
      break;
    count++;
  }
  assert_true(count > 0);
  for (size_t i = 0; i < count; i++)
    kill((pid_t)backends[i], SIGSTOP);
  kill(pg_private_pid(cluster.server), SIGSTOP);
  issue(T_INSERT, 1, 500, &write);
  issue(T_INSERT, 2, 500, &late);
  wait_for(&write);
  wait_for(&late);
  int64_t took = clock_mono_ms(&clock_system) - before;
  kill(pg_private_pid(cluster.server), SIGCONT);
  for (size_t i = 0; i < count; i++)
    kill((pid_t)backends[i], SIGCONT);
  assert_int_equal(write.outcome, PG_UNKNOWN);
  assert_true(took < 20000); /* long before a deadline that nobody set */
  struct seen again;
  issue(T_COUNT, 0, 0, &again);
  wait_for(&again);
  assert_int_equal(again.outcome, PG_DONE);
  close_down();
}

/* More connections than the server gives: the pool does with fewer. */
static void test_out_of_connections(void **state) {
  (void)state;
  struct pg_pool_conf conf = pg_pool_conf_default();
  conf.connections = 60;
  open_up(&conf);
  enum { N = 2000 };
  static struct seen seen[N];
  for (int i = 0; i < N; i++)
    issue(T_INSERT, i, 0, &seen[i]);
  for (int i = 0; i < N; i++) {
    wait_for(&seen[i]);
    assert_int_equal(seen[i].outcome, PG_DONE);
  }
  assert_true(pg_pool_stats(pool).connections_up <= 50);
  close_down();
}

/* ---- one active service ---- */

struct hold {
  enum active_state state;
  bool held, unsure, silent, lost;
  struct err reason;
};

static void on_active(void *ctx, enum active_state state, const struct err *reason) {
  struct hold *hold = ctx;
  hold->state = state;
  hold->held = state == ACTIVE_HELD;
  hold->unsure = hold->unsure || state == ACTIVE_UNSURE;
  hold->silent = hold->silent || state == ACTIVE_SILENT;
  hold->lost = state == ACTIVE_LOST;
  hold->reason = *reason;
}

static struct active *seek(const char *dir, int64_t wait_ms, struct hold *hold) {
  struct err err;
  *hold = (struct hold){.held = false};
  struct active_conf conf = {.conninfo = cluster.conninfo, .data_dir = dir, .wait_ms = wait_ms, .rng = rng_seeded(1)};
  struct active *active = active_new(cluster.loop, &conf, on_active, hold, &err);
  assert_non_null(active);
  return active;
}

static void test_one_active_service(void **state) {
  (void)state;
  struct hold first, second, third;
  struct active *a = seek("/data/a", 0, &first);
  loop_until(cluster.loop, &first.held, 60000);
  assert_true(active_epoch(a) > 0);
  struct active *b = seek("/data/b", 300, &second);
  loop_until(cluster.loop, &second.lost, 60000);
  assert_int_equal(second.reason.code, ERR_CONFLICT);
  assert_non_null(strstr(second.reason.text, "directory /data/a"));
  active_free(b);
  /* Its connection dies, nobody comes in between: the same epoch goes on. */
  int64_t epoch = active_epoch(a);
  pg_cluster_sql(&cluster, "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted");
  loop_until(cluster.loop, &first.unsure, 60000);
  loop_until(cluster.loop, &first.held, 60000);
  assert_int_equal(active_epoch(a), epoch);
  /* Another waits for the first to go, and gets a later epoch. */
  b = seek("/data/c", 10000, &third);
  loop_for(cluster.loop, 300);
  assert_false(third.held || third.lost);
  active_free(a);
  loop_until(cluster.loop, &third.held, 60000);
  assert_true(active_epoch(b) > epoch);
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from service_epoch where ended is not null"), 1);
  active_free(b);
}

/* Its process is stopped: the silence is noticed, and told once; when it goes on, the same epoch does. */
static void test_silence_is_noticed(void **state) {
  (void)state;
  struct hold hold;
  struct active *active = seek("/data/a", 5000, &hold);
  loop_until(cluster.loop, &hold.held, 60000);
  int64_t epoch = active_epoch(active);
  pid_t holder = (pid_t)pg_cluster_int(&cluster, "select pid from pg_locks where locktype = 'advisory' and granted");
  loop_for(cluster.loop, 2500); /* beats that are answered change nothing */
  assert_true(hold.held);
  kill(holder, SIGSTOP);
  loop_until(cluster.loop, &hold.silent, ACTIVE_ANSWER_MS + 20000);
  kill(holder, SIGCONT);
  assert_int_equal(hold.reason.code, ERR_UNAVAILABLE);
  assert_false(hold.unsure);
  loop_until(cluster.loop, &hold.held, 60000);
  assert_int_equal(active_epoch(active), epoch);
  active_free(active);
}

/* A third comes in while the connection is away: the first has lost. */
static void test_epoch_is_fenced(void **state) {
  (void)state;
  struct hold hold;
  struct active *active = seek("/data/a", 5000, &hold);
  loop_until(cluster.loop, &hold.held, 60000);
  pg_cluster_sql(&cluster, "insert into service_epoch (host, pid, data_dir) values ('elsewhere', 7, '/data/z')");
  pg_cluster_sql(&cluster, "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted");
  loop_until(cluster.loop, &hold.lost, 60000);
  assert_non_null(strstr(hold.reason.text, "process 7 on elsewhere"));
  active_free(active);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_active_service),
      cmocka_unit_test(test_silence_is_noticed),
      cmocka_unit_test(test_epoch_is_fenced),
      cmocka_unit_test(test_backend_is_terminated),
      cmocka_unit_test(test_all_are_dead_and_nobody_knows),
      cmocka_unit_test(test_backends_are_killed),
      cmocka_unit_test(test_postmaster_is_killed),
      cmocka_unit_test(test_server_is_stopped),
      cmocka_unit_test(test_out_of_connections),
  };
  const char *only = getenv("WINNOW_TEST_ONLY");
  cmocka_set_test_filter(only);
  return cmocka_run_group_tests(tests, start_all, stop_all);
}
