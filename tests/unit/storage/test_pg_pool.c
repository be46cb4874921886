/* The pool against a scripted server: every way to fail, at will. */
#include "storage/pg/pq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "tests/support/pg_cluster.h"
#include "tests/support/pq_script.h"
#include "tests/support/test_stmts.h"

static struct fake_clock clock_now;
static struct loop *loop;
static struct pg_pool *pool;

static void start(unsigned connections) {
  struct err err;
  struct pg_pool_conf conf = pg_pool_conf_default();
  conf.connections = connections;
  conf.pq = &pq_scripted;
  pool = pg_pool_new(loop, &conf, &err);
  assert_non_null(pool);
  assert_true(pg_pool_start(pool, "host=/nowhere", &err));
}

static int open_loop(void **state) {
  (void)state;
  struct err err;
  test_stmts_use();
  script_reset();
  fake_clock_init(&clock_now, 1700000000000);
  loop = loop_new(&clock_now.clock, &err);
  assert_non_null(loop);
  return 0;
}

static int close_loop(void **state) {
  (void)state;
  pg_pool_free(pool);
  pool = NULL;
  loop_free(loop);
  assert_int_equal(script_connections(), 0);
  return 0;
}

static void issue(int stmt, int64_t timeout_ms, struct seen *seen) {
  struct err err;
  struct pg_args args;
  *seen = (struct seen){.done = false};
  pg_args_init(&args, (enum stmt)stmt);
  if (stmt_info((enum stmt)stmt)->param_count) {
    pg_put_int(&args, 1);
    pg_put_text(&args, STR("x"));
  }
  assert_true(pg_run(pool, &args, timeout_ms, seen_done, seen, &err));
  assert_false(seen->done);
}

static void wait_for(struct seen *seen) {
  loop_until(loop, &seen->done, 10000);
  assert_int_equal(seen->count, 1);
}

static void test_answers(void **state) {
  (void)state;
  struct seen seen[20];
  start(3);
  for (int i = 0; i < 20; i++)
    issue(i % 2 ? T_COUNT : T_INSERT, 0, &seen[i]);
  for (int i = 0; i < 20; i++) {
    wait_for(&seen[i]);
    assert_int_equal(seen[i].outcome, PG_DONE);
    assert_int_equal(seen[i].rows, i % 2);
  }
  assert_int_equal(script_done("t_insert"), 10);
  assert_true(script_prepared() <= 6);
}

static void test_lost_before_sending(void **state) {
  (void)state;
  struct seen seen;
  script_rule("t_insert", SCRIPT_UNSENDABLE, NULL, 2);
  start(2);
  issue(T_INSERT, 0, &seen);
  wait_for(&seen);
  assert_int_equal(seen.outcome, PG_DONE); /* it cannot have happened, so it was sent again */
  assert_int_equal(script_done("t_insert"), 1);
}

static void test_lost_after_sending(void **state) {
  (void)state;
  struct seen plain, safe;
  script_rule("t_insert", SCRIPT_DIE_AFTER, NULL, 1);
  script_rule("t_insert_safe", SCRIPT_DIE_AFTER, NULL, 1);
  start(1);
  issue(T_INSERT, 0, &plain);
  wait_for(&plain);
  assert_int_equal(plain.outcome, PG_UNKNOWN);
  assert_int_equal(plain.err.code, ERR_UNKNOWN_OUTCOME);
  assert_int_equal(script_done("t_insert"), 1); /* as it happens */
  issue(T_INSERT_SAFE, 0, &safe);
  wait_for(&safe);
  assert_int_equal(safe.outcome, PG_DONE);
  assert_int_equal(script_done("t_insert_safe"), 2);
  assert_int_equal(pg_pool_stats(pool).reconnects, 2);
}

static void test_never_sendable(void **state) {
  (void)state;
  struct seen seen;
  script_rule("t_insert", SCRIPT_UNSENDABLE, NULL, 1000);
  start(2);
  issue(T_INSERT, 0, &seen);
  wait_for(&seen);
  assert_int_equal(seen.outcome, PG_RETRYABLE);
  assert_int_equal(script_done("t_insert"), 0);
}

/* Sent, lost, and its time ran out while it waited to be sent again: it may have happened. */
static void test_lost_and_late(void **state) {
  (void)state;
  struct seen seen;
  script_rule("t_insert_safe", SCRIPT_DIE_AFTER, NULL, 1);
  start(1);
  issue(T_INSERT_SAFE, 5000, &seen);
  while (pg_pool_stats(pool).reconnects == 0)
    loop_for(loop, 1);
  script_refuse(1000);
  if (!seen.done)
    fake_clock_advance_ms(&clock_now, 6000);
  wait_for(&seen);
  assert_int_equal(seen.outcome, PG_UNKNOWN);
  assert_int_equal(script_done("t_insert_safe"), 1);
}

/* What was answered before the connection died stays answered; what came after is sent again or unknown. */
static void test_lost_in_the_middle(void **state) {
  (void)state;
  struct seen first, second, third, fourth;
  script_rule("t_serialize", SCRIPT_DIE_BEFORE, NULL, 1);
  start(1);
  issue(T_INSERT, 0, &first);
  issue(T_SERIALIZE, 0, &second);
  issue(T_INSERT, 0, &third);
  issue(T_COUNT, 0, &fourth);
  wait_for(&first);
  wait_for(&second);
  wait_for(&third);
  wait_for(&fourth);
  assert_int_equal(first.outcome, PG_DONE);
  assert_int_equal(second.outcome, PG_UNKNOWN);
  assert_int_equal(third.outcome, PG_UNKNOWN);
  assert_int_equal(fourth.outcome, PG_DONE);
}

static void test_error_in_a_batch(void **state) {
  (void)state;
  struct err err;
  struct seen batch_seen = {.done = false}, after;
  script_rule("t_serialize", SCRIPT_FAIL, "23505", 1);
  start(1);
  struct pg_batch batch = PG_BATCH_INIT;
  for (int i = 0; i < 3; i++) {
    struct pg_args *args = pg_batch_add(&batch, (enum stmt)(i == 1 ? T_SERIALIZE : T_INSERT));
    if (i != 1) {
      pg_put_int(args, 1);
      pg_put_text(args, STR("x"));
    }
  }
  assert_true(pg_run_batch(pool, &batch, 0, seen_done, &batch_seen, &err));
  issue(T_COUNT, 0, &after);
  wait_for(&batch_seen);
  wait_for(&after);
  assert_int_equal(batch_seen.outcome, PG_REJECTED);
  assert_int_equal(batch_seen.err.code, ERR_EXISTS);
  assert_string_equal(batch_seen.sqlstate, "23505");
  assert_int_equal(after.outcome, PG_DONE);
  assert_int_equal(script_done("t_insert"), 0);
}

static void test_a_prepare_that_was_skipped(void **state) {
  (void)state;
  struct err err;
  struct seen batch_seen = {.done = false}, after;
  script_rule("t_count", SCRIPT_FAIL, "22012", 1);
  start(1);
  struct pg_batch batch = PG_BATCH_INIT;
  pg_batch_add(&batch, (enum stmt)T_COUNT);
  pg_batch_add(&batch, (enum stmt)T_SERIALIZE); /* its prepare is skipped with the rest of the segment */
  assert_true(pg_run_batch(pool, &batch, 0, seen_done, &batch_seen, &err));
  issue(T_SERIALIZE, 0, &after); /* sent in the belief that it is prepared */
  wait_for(&batch_seen);
  wait_for(&after);
  assert_int_equal(batch_seen.outcome, PG_REJECTED);
  assert_int_equal(after.outcome, PG_DONE);
}

static void test_serialization_failures(void **state) {
  (void)state;
  struct seen seen;
  script_rule("t_insert", SCRIPT_FAIL, "40001", 2);
  start(1);
  issue(T_INSERT, 0, &seen);
  wait_for(&seen);
  assert_int_equal(seen.outcome, PG_DONE);
  script_rule("t_insert", SCRIPT_FAIL, "40P01", 100);
  issue(T_INSERT, 0, &seen);
  wait_for(&seen);
  assert_int_equal(seen.outcome, PG_RETRYABLE);
  assert_int_equal(script_done("t_insert"), 1);
}

static void test_silence(void **state) {
  (void)state;
  struct seen first, second, third;
  script_rule("t_insert", SCRIPT_SILENT, NULL, 1);
  start(1);
  issue(T_INSERT, 1000, &first);
  issue(T_INSERT, 60000, &second);
  for (int i = 0; i < 20; i++)
    loop_for(loop, 1);
  fake_clock_advance_ms(&clock_now, 1500); /* late, but the server may still cancel it */
  loop_for(loop, 150);
  assert_false(first.done);
  fake_clock_advance_ms(&clock_now, 2000);
  wait_for(&first);
  wait_for(&second);
  assert_int_equal(first.outcome, PG_UNKNOWN);
  assert_int_equal(second.outcome, PG_UNKNOWN);
  issue(T_INSERT, 0, &third);
  wait_for(&third);
  assert_int_equal(third.outcome, PG_DONE);
}

static void test_database_is_away(void **state) {
  (void)state;
  struct seen late, patient;
  script_refuse(3);
  start(2);
  issue(T_INSERT, 1000, &late);
  loop_for(loop, 10);
  fake_clock_advance_ms(&clock_now, 1001);
  wait_for(&late);
  assert_int_equal(late.outcome, PG_CANCELLED);
  assert_int_equal(late.err.code, ERR_UNAVAILABLE);
  issue(T_INSERT, 60000, &patient);
  wait_for(&patient);
  assert_int_equal(patient.outcome, PG_DONE);
  assert_int_equal(script_done("t_insert"), 1);
}

/* Whatever its own time, a statement does not wait for long; and the wait counts from when the database went. */
static void test_database_stays_away(void **state) {
  (void)state;
  struct seen early, late;
  start(1);
  issue(T_INSERT, 0, &early);
  wait_for(&early);
  assert_int_equal(early.outcome, PG_DONE);
  fake_clock_advance_ms(&clock_now, 60000);
  script_refuse(1000);
  script_rule("t_insert", SCRIPT_DIE_BEFORE, NULL, 1);
  issue(T_INSERT, 0, &early); /* meets the end of the connection */
  wait_for(&early);
  issue(T_INSERT, 60000, &early);
  for (int i = 0; i < 4; i++) {
    fake_clock_advance_ms(&clock_now, 1000);
    loop_for(loop, 150);
  }
  assert_false(early.done);
  issue(T_INSERT, 60000, &late);
  fake_clock_advance_ms(&clock_now, 1500);
  wait_for(&early);
  assert_int_equal(early.outcome, PG_CANCELLED);
  assert_int_equal(early.err.code, ERR_UNAVAILABLE);
  loop_for(loop, 150);
  assert_false(late.done);
  fake_clock_advance_ms(&clock_now, 4000);
  wait_for(&late);
  assert_int_equal(late.outcome, PG_CANCELLED);
}

/* A server that has not been up yet is waited for as long as the pool was told, once it has been, no longer than for any other. */
static void test_first_connection(void **state) {
  (void)state;
  struct err err;
  struct seen first, later;
  struct pg_pool_conf conf = pg_pool_conf_default();
  conf.connections = 1;
  conf.first_ms = 20000;
  conf.pq = &pq_scripted;
  pool = pg_pool_new(loop, &conf, &err);
  assert_non_null(pool);
  issue(T_INSERT, 0, &first);
  for (int i = 0; i < 15; i++) {
    fake_clock_advance_ms(&clock_now, 1000);
    loop_for(loop, 10);
  }
  assert_false(first.done);
  assert_true(pg_pool_start(pool, "host=/nowhere", &err));
  wait_for(&first);
  assert_int_equal(first.outcome, PG_DONE);
  script_refuse(1000);
  script_rule("t_insert", SCRIPT_DIE_BEFORE, NULL, 1);
  issue(T_INSERT, 0, &first); /* meets the end of the connection */
  wait_for(&first);
  issue(T_INSERT, 60000, &later);
  for (int i = 0; i < 6; i++) {
    fake_clock_advance_ms(&clock_now, 1000);
    loop_for(loop, 150);
  }
  wait_for(&later);
  assert_int_equal(later.err.code, ERR_UNAVAILABLE);
}

/* A server that is known not to answer: what was sent is given up, and what may be repeated has waited long enough. */
static void test_hang_up(void **state) {
  (void)state;
  struct seen sent, waits, next;
  struct err silent;
  err_set(&silent, ERR_UNAVAILABLE, "the database does not answer");
  script_rule("t_insert", SCRIPT_SILENT, NULL, 1);
  start(1);
  issue(T_INSERT, 0, &sent);
  issue(T_COUNT, 0, &waits);
  for (int i = 0; i < 20; i++)
    loop_for(loop, 1);
  assert_false(sent.done || waits.done);
  fake_clock_advance_ms(&clock_now, 5000);
  loop_for(loop, 1);
  script_refuse(3);
  pg_pool_hang_up(pool, &silent);
  assert_false(pg_pool_is_up(pool));
  wait_for(&sent);
  wait_for(&waits);
  assert_int_equal(sent.outcome, PG_UNKNOWN);
  assert_true(waits.outcome == PG_UNKNOWN || waits.outcome == PG_CANCELLED);
  issue(T_COUNT, 0, &next);
  wait_for(&next);
  assert_int_equal(next.outcome, PG_DONE);
}

struct states {
  int ups, downs;
  bool down;
};

static void on_state(void *ctx, bool up, const struct err *reason) {
  struct states *states = ctx;
  states->ups += up;
  states->downs += !up;
  states->down = !up;
  assert_int_equal(reason->code, up ? ERR_NONE : ERR_UNAVAILABLE);
}

static void test_state_is_told(void **state) {
  (void)state;
  struct states states = {.ups = 0};
  struct seen seen;
  script_rule("t_insert", SCRIPT_DIE_BEFORE, NULL, 1);
  start(1);
  pg_pool_on_state(pool, on_state, &states);
  issue(T_INSERT, 0, &seen);
  wait_for(&seen);
  assert_int_equal(states.ups, 1);
  assert_int_equal(states.downs, 1);
  issue(T_INSERT, 0, &seen);
  wait_for(&seen);
  assert_int_equal(states.ups, 2);
  assert_true(pg_pool_is_up(pool));
}

static void test_shutdown(void **state) {
  (void)state;
  enum { N = 200 };
  static struct seen seen[N];
  script_rule("t_insert", SCRIPT_SILENT, NULL, 1);
  start(1);
  for (int i = 0; i < N; i++)
    issue(T_INSERT, 0, &seen[i]);
  for (int i = 0; i < 10; i++)
    loop_for(loop, 1);
  pg_pool_free(pool);
  pool = NULL;
  int unknown = 0, cancelled = 0;
  for (int i = 0; i < N; i++) {
    assert_int_equal(seen[i].count, 1);
    unknown += seen[i].outcome == PG_UNKNOWN;
    cancelled += seen[i].outcome == PG_CANCELLED;
  }
  assert_int_equal(unknown, 64); /* the depth */
  assert_int_equal(cancelled, N - 64);
}

/* A callback that issues the next: the chain is not cut by a drain. */
struct chain {
  int left;
  struct seen last;
};

static void on_link(void *ctx, const struct pg_reply *reply) {
  struct chain *chain = ctx;
  struct err err;
  struct pg_args args;
  assert_int_equal(pg_outcome(reply), PG_DONE);
  if (--chain->left == 0) {
    seen_done(&chain->last, reply);
    return;
  }
  pg_args_init(&args, (enum stmt)T_COUNT);
  assert_true(pg_run(pool, &args, 0, on_link, chain, &err));
}

static void on_drained(void *ctx) {
  *(bool *)ctx = true;
}

static void test_drain_lets_stories_end(void **state) {
  (void)state;
  struct err err;
  struct chain chain = {.left = 10};
  struct pg_args args;
  bool drained = false;
  start(2);
  pg_args_init(&args, (enum stmt)T_COUNT);
  assert_true(pg_run(pool, &args, 0, on_link, &chain, &err));
  pg_pool_drain(pool, on_drained, &drained);
  pg_args_init(&args, (enum stmt)T_COUNT);
  assert_false(pg_run(pool, &args, 0, seen_done, &chain.last, &err));
  loop_until(loop, &drained, 5000);
  assert_int_equal(chain.left, 0);
  assert_int_equal(chain.last.count, 1);
}

static void test_ceiling(void **state) {
  (void)state;
  struct err err;
  struct pg_pool_conf conf = pg_pool_conf_default();
  conf.queue_bytes_max = 20000;
  conf.pq = &pq_scripted;
  pool = pg_pool_new(loop, &conf, &err);
  assert_non_null(pool);
  struct seen seen = {.done = false};
  char big[30000];
  memset(big, 'x', sizeof big);
  struct pg_args args;
  pg_args_init(&args, (enum stmt)T_INSERT);
  pg_put_int(&args, 1);
  pg_put_text(&args, str_n(big, sizeof big));
  assert_false(pg_run(pool, &args, 0, seen_done, &seen, &err));
  assert_int_equal(err.code, ERR_OVERLOADED);
  conf.connections = 0;
  assert_null(pg_pool_new(loop, &conf, &err));
}

/* Whatever allocation fails: told at once, or an outcome; never both, never neither, and the next statement works. */
static void test_no_memory(void **state) {
  (void)state;
  start(1);
  int refused = 0, answered = 0;
  struct seen seen;
  issue(T_COUNT, 0, &seen);
  wait_for(&seen);
  for (unsigned long n = 1; n <= 12; n++) {
    struct err err;
    struct pg_batch batch = PG_BATCH_INIT;
    seen = (struct seen){.done = false};
    mem_fail_at(n, false);
    for (int i = 0; i < 6; i++) {
      struct pg_args *args = pg_batch_add(&batch, (enum stmt)T_INSERT);
      pg_put_int(args, i);
      pg_put_text(args, STR("some text"));
    }
    bool taken = pg_run_batch(pool, &batch, 0, seen_done, &seen, &err);
    mem_fail_at(0, false);
    if (!taken) {
      assert_int_equal(err.code, ERR_NO_MEMORY);
      assert_false(seen.done);
      refused++;
      continue;
    }
    wait_for(&seen);
    answered += seen.outcome == PG_DONE;
  }
  assert_true(refused > 5);
  assert_true(answered > 0);
  assert_int_equal(script_done("t_insert"), answered * 6);
  issue(T_INSERT, 0, &seen);
  wait_for(&seen);
  assert_int_equal(seen.outcome, PG_DONE);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_loop, close_loop)

int main(void) {
  log_setup(LOG_ERROR, LOG_TEXT, 2);
  const struct CMUnitTest tests[] = {
      CASE(test_answers),
      CASE(test_lost_before_sending),
      CASE(test_lost_after_sending),
      CASE(test_never_sendable),
      CASE(test_lost_and_late),
      CASE(test_lost_in_the_middle),
      CASE(test_error_in_a_batch),
      CASE(test_a_prepare_that_was_skipped),
      CASE(test_serialization_failures),
      CASE(test_silence),
      CASE(test_database_is_away),
      CASE(test_database_stays_away),
      CASE(test_first_connection),
      CASE(test_hang_up),
      CASE(test_state_is_told),
      CASE(test_shutdown),
      CASE(test_drain_lets_stories_end),
      CASE(test_ceiling),
      CASE(test_no_memory),
  };
  cmocka_set_test_filter(getenv("WINNOW_TEST_ONLY"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
