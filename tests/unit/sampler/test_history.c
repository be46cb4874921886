#include <math.h>

#include "tests/support/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tests/support/spaces.h"

static const char *const line = "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}}}";

static struct history *make_history(const struct space *space, enum goal goal) {
  struct history *history;
  struct err err;
  assert_true(history_new(space, goal, &history, &err));
  return history;
}

static void tell(struct history *history, uint32_t number, enum trial_state state, double value, double step) {
  struct err err;
  assert_true(history_tell(history, number, &(struct outcome){state, value, step}, &err));
}

static void test_life_of_a_trial(void **state) {
  (void)state;
  struct space *space = make_space(line);
  struct history *history = make_history(space, GOAL_MAXIMIZE);
  struct err err;
  size_t index;
  double a = 0.25, b = 0.5;
  assert_false(history_has(history, &a));
  assert_true(history_add(history, 7, &a, &index, &err));
  assert_int_equal(index, 0);
  assert_int_equal(history_find(history, 7), 0);
  assert_int_equal(history_find(history, 6), SIZE_MAX);
  assert_true(history_has(history, &a) && !history_has(history, &b));
  assert_false(history_add(history, 7, &b, NULL, &err));
  assert_int_equal(err.code, ERR_EXISTS);
  assert_int_equal(history_pending(history), 1);
  assert_false(history_tell(history, 8, &(struct outcome){TRIAL_FINISHED, 1, 0}, &err));
  assert_int_equal(err.code, ERR_NOT_FOUND);
  assert_false(history_tell(history, 7, &(struct outcome){TRIAL_PENDING, 1, 0}, &err));
  tell(history, 7, TRIAL_FINISHED, 0.9, 0);
  assert_false(history_tell(history, 7, &(struct outcome){TRIAL_FINISHED, 1, 0}, &err));
  assert_int_equal(err.code, ERR_WRONG_STATE);
  assert_int_equal(history_pending(history), 0);
  assert_true(history_value(history, 0) == -0.9); /* less is better inside */
  assert_int_equal(history_best(history), 0);
  assert_true(history_add_told(history, HISTORY_NO_NUMBER, &b, &(struct outcome){TRIAL_FINISHED, 0.95, 0}, &err));
  assert_int_equal(history_best(history), 1);
  assert_int_equal(history_tells(history), 2);
  assert_int_equal(history_events(history), 4);
  assert_false(history_add(history, (uint32_t)HISTORY_MAX, &a, NULL, &err));
  history_free(history);
  space_free(space);
}

/* Traps 6, 17: what is no number is never the best, whatever its sign and the goal; nor is the last of a trial that was taken back. */
static void test_bad_values_are_never_best(void **state) {
  (void)state;
  struct space *space = make_space(line);
  for (int goal = 0; goal < 2; goal++) {
    struct history *history = make_history(space, goal ? GOAL_MAXIMIZE : GOAL_MINIMIZE);
    static const double bad[] = {NAN, INFINITY, -INFINITY};
    struct err err;
    double x = 0;
    for (uint32_t n = 0; n < 3; n++) {
      assert_true(history_add(history, n, &x, NULL, &err));
      tell(history, n, TRIAL_FINISHED, bad[n], 0);
      assert_true(isnan(history_value(history, n)));
    }
    assert_int_equal(history_best(history), SIZE_MAX);
    assert_int_equal(history_learnable(history), 0);
    assert_true(history_add(history, 3, &x, NULL, &err));
    tell(history, 3, TRIAL_FINISHED, -0.0, 0);
    assert_int_equal(history_best(history), 3);
    assert_false(signbit(history_value(history, 3)));
    history_free(history);
  }
  space_free(space);
}

static void test_order(void **state) {
  (void)state;
  struct space *space = make_space(line);
  struct history *history = make_history(space, GOAL_MINIMIZE);
  struct err err;
  static const struct outcome worse_and_worse[] = {
      {TRIAL_FINISHED, -5, 0},       {TRIAL_FINISHED, 2, 0},   {TRIAL_FINISHED, 2, 0}, /* equal: by place */
      {TRIAL_STOPPED, 9, 20},        {TRIAL_STOPPED, 1, 10},   {TRIAL_STOPPED, 3, 10},
      {TRIAL_STOPPED, INFINITY, 10}, {TRIAL_STOPPED, -100, 5}, {TRIAL_STOPPED, NAN, 30}, /* never reported a number: no step either */
      {TRIAL_FINISHED, NAN, 0},      {TRIAL_FAILED, 0, 0},
  };
  double x = 0;
  for (uint32_t n = 0; n < ARRAY_LEN(worse_and_worse); n++) {
    assert_true(history_add(history, n, &x, NULL, &err));
    tell(history, n, worse_and_worse[n].state, worse_and_worse[n].value, worse_and_worse[n].step);
  }
  for (size_t a = 0; a < ARRAY_LEN(worse_and_worse); a++)
    for (size_t b = 0; b < ARRAY_LEN(worse_and_worse); b++)
      assert_int_equal(history_before(history, a, b), a < b);
  history_free(history);
  space_free(space);
}

static void test_gone_trials_give_their_point_back(void **state) {
  (void)state;
  struct space *space = make_space(line);
  struct history *history = make_history(space, GOAL_MINIMIZE);
  struct err err;
  double x = 0.5;
  assert_true(history_add(history, 0, &x, NULL, &err));
  tell(history, 0, TRIAL_GONE, NAN, 0);
  assert_false(history_has(history, &x));
  assert_int_equal(history_gone(history), 1);
  assert_true(history_add(history, 1, &x, NULL, &err));
  assert_true(history_has(history, &x));
  history_free(history);
  space_free(space);
}

static void test_many(void **state) {
  (void)state;
  struct space *space = make_space(line);
  struct history *history = make_history(space, GOAL_MINIMIZE);
  struct err err;
  for (uint32_t n = 0; n < 50000; n++) {
    double x = n / 50000.0;
    assert_true(history_add(history, n, &x, NULL, &err));
    if (n >= 10)
      tell(history, n - 10, TRIAL_FINISHED, fabs((n - 10) / 50000.0 - 0.3), 0);
  }
  assert_int_equal(history_pending(history), 10);
  assert_int_equal(history_pending_at(history, 0), 49990);
  assert_int_equal(history_best(history), 15000);
  double x = 0.3;
  assert_true(history_has(history, &x));
  history_free(history);
  space_free(space);
}

/* A failure changes nothing: the same call succeeds later. */
static void test_allocation_failures(void **state) {
  (void)state;
  struct space *space = make_space(line);
  struct history *history = make_history(space, GOAL_MINIMIZE);
  struct err err;
  struct rng rng = rng_seeded(3);
  for (uint32_t n = 0; n < 3000; n++) {
    double x = n / 3000.0;
    mem_fail_at(1 + rng_below(&rng, 3), false);
    bool ok = history_add(history, n, &x, NULL, &err);
    mem_fail_at(0, false);
    if (!ok) {
      assert_int_equal(err.code, ERR_NO_MEMORY);
      assert_int_equal(history_count(history), n);
      assert_false(history_has(history, &x));
      assert_true(history_add(history, n, &x, NULL, &err));
    }
    mem_fail_at(1, true); /* a result needs no memory */
    bool told = history_tell(history, n, &(struct outcome){TRIAL_FINISHED, x, 0}, &err);
    mem_fail_at(0, false);
    assert_true(told);
  }
  history_free(history);
  space_free(space);
}

static void test_latest(void **state) {
  (void)state;
  struct space *space = make_space(line);
  struct history *history = make_history(space, GOAL_MINIMIZE);
  struct err err;
  for (uint32_t n = 0; n < 5; n++)
    assert_true(history_add(history, n, &(double){n / 8.0}, NULL, &err));
  assert_int_equal(history_latest(history), SIZE_MAX);
  tell(history, 3, TRIAL_FINISHED, 1, 0);
  tell(history, 1, TRIAL_FINISHED, 9, 0);
  assert_int_equal(history_latest(history), 1); /* not the best, not the highest number */
  tell(history, 0, TRIAL_FINISHED, NAN, 0);
  tell(history, 2, TRIAL_FAILED, 0, 0);
  tell(history, 4, TRIAL_STOPPED, 5, 3);
  assert_int_equal(history_latest(history), 1);
  history_free(history), space_free(space);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_life_of_a_trial),
      cmocka_unit_test(test_bad_values_are_never_best),
      cmocka_unit_test(test_order),
      cmocka_unit_test(test_latest),
      cmocka_unit_test(test_gone_trials_give_their_point_back),
      cmocka_unit_test(test_many),
      cmocka_unit_test(test_allocation_failures),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
