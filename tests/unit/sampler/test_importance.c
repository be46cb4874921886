#include <math.h>

#include "tests/support/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "sampler/importance.h"
#include "tests/support/spaces.h"

static const char *const four =
    "{\"parameters\": {\"noise\": {\"min\": 0.0, \"max\": 1.0}, \"strong\": {\"min\": 0.0, \"max\": 1.0}, \"weak\": {\"min\": 0.0, \"max\": 1.0}, "
    "\"kind\": {\"values\": [\"a\", \"b\", \"c\"]}, \"fixed\": {\"value\": 3}}}";

static double additive(const double *x, struct rng *rng) {
  return 10 * pow(x[1] - 0.3, 2) + pow(x[2] - 0.6, 2) + (x[3] == 1 ? 0 : 0.3) + 0.01 * rng_f64(rng);
}
static double only_noise(const double *x UNUSED, struct rng *rng) {
  return rng_f64(rng);
}
static double product(const double *x, struct rng *rng UNUSED) {
  return (x[0] - 0.5) * (x[2] - 0.5); /* neither matters alone */
}

static struct importance_report compute(size_t trials, double (*value)(const double *, struct rng *), enum goal goal) {
  struct space *space = make_space(four);
  struct history *history;
  struct err err;
  assert_true(history_new(space, goal, &history, &err));
  struct rng rng = rng_seeded(5);
  for (uint32_t n = 0; n < trials; n++) {
    double point[5];
    for (size_t i = 0; i < 5; i++)
      point[i] = space_value(space, i, rng_f64(&rng));
    double v = value(point, &rng);
    struct outcome outcome = {n % 20 == 19 ? TRIAL_FAILED : TRIAL_FINISHED, goal == GOAL_MAXIMIZE ? -v : v, 0};
    assert_true(history_add_told(history, n, point, &outcome, &err));
  }
  struct importance_report report, again;
  assert_true(importance_compute(history, 1, &report, &err));
  assert_true(importance_compute(history, 1, &again, &err)); /* the same twice */
  assert_int_equal(report.count, again.count);
  for (size_t i = 0; i < report.count; i++)
    assert_memory_equal(&report.params[i], &again.params[i], sizeof report.params[i]);
  importance_release(&again);
  history_free(history), space_free(space);
  return report;
}

static void test_ranks_what_matters(void **state) {
  (void)state;
  for (int goal = 0; goal < 2; goal++) {
    struct importance_report report = compute(1000, additive, goal ? GOAL_MAXIMIZE : GOAL_MINIMIZE);
    assert_int_equal(report.count, 4);
    assert_int_equal(report.trials, 950);
    assert_int_equal(report.params[0].param, 1);
    assert_int_equal(report.params[1].param, 3);
    assert_int_equal(report.params[2].param, 2);
    assert_true(report.params[3].share < 0.03);
    double sum = 0;
    for (size_t i = 0; i < 4; i++) {
      sum += report.params[i].share;
      assert_true(report.params[i].low <= report.params[i].share + 0.05 && report.params[i].share <= report.params[i].high + 0.05);
      assert_int_equal(report.params[i].trials, 950);
    }
    assert_true(fabs(sum - 1) < 1e-9);
    assert_false(report.low_confidence);
    importance_release(&report);
  }
}

/* Nine of ten were stopped, for the parameter that matters: among the few that finished it can matter no more. */
static void test_stopped_ones_count(void **state) {
  (void)state;
  struct space *space = make_space("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}}");
  struct history *history;
  struct importance_report report;
  struct err err;
  struct rng rng = rng_seeded(1);
  assert_true(history_new(space, GOAL_MINIMIZE, &history, &err));
  for (uint32_t n = 0; n < 1000; n++) {
    double point[2] = {rng_f64(&rng), rng_f64(&rng)};
    bool stopped = point[0] > 0.1;
    struct outcome outcome = {stopped ? TRIAL_STOPPED : TRIAL_FINISHED, rng_f64(&rng), stopped ? floor(20 * (1 - point[0])) : 0};
    assert_true(history_add_told(history, n, point, &outcome, &err));
  }
  assert_true(importance_compute(history, 1, &report, &err));
  assert_int_equal(report.trials, 1000);
  assert_int_equal(report.params[0].param, 0);
  assert_true(report.params[0].share > 0.9);
  assert_false(report.low_confidence);
  importance_release(&report);
  history_free(history), space_free(space);
}

/* Each is in use where the other is not. */
static void test_no_pair_of_what_is_never_together(void **state) {
  (void)state;
  struct space *space = make_space(
      "{\"parameters\": {\"m\": {\"values\": [\"a\", \"b\"]}, \"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}},"
      "\"conditions\": [{\"if\": {\"m\": \"a\"}, \"then\": [\"x\"]}, {\"if\": {\"m\": \"b\"}, \"then\": [\"y\"]}]}");
  for (uint64_t seed = 0; seed < 20; seed++) {
    struct history *history;
    struct importance_report report;
    struct err err;
    struct rng rng = rng_seeded(seed);
    assert_true(history_new(space, GOAL_MINIMIZE, &history, &err));
    for (uint32_t n = 0; n < 100; n++) {
      double point[3] = {(double)(n % 2), n % 2 ? NAN : rng_f64(&rng), n % 2 ? rng_f64(&rng) : NAN};
      struct outcome outcome = {TRIAL_FINISHED, rng_f64(&rng), 0};
      assert_true(history_add_told(history, n, point, &outcome, &err));
    }
    assert_true(importance_compute(history, 1, &report, &err));
    for (size_t i = 0; i < report.pair_count; i++)
      assert_int_equal(report.pairs[i].a, 0);
    importance_release(&report);
    history_free(history);
  }
  space_free(space);
}

static void test_admits_that_it_does_not_know(void **state) {
  (void)state;
  struct importance_report report = compute(20, additive, GOAL_MINIMIZE);
  assert_true(report.low_confidence && report.reason[0]);
  importance_release(&report);
  report = compute(30, additive, GOAL_MINIMIZE); /* one of which failed */
  assert_string_equal(report.reason, "fewer than 30 trials with a result");
  importance_release(&report);
  report = compute(300, only_noise, GOAL_MINIMIZE);
  assert_true(report.low_confidence);
  importance_release(&report);
  report = compute(0, only_noise, GOAL_MINIMIZE);
  assert_true(report.low_confidence && report.trials == 0);
  importance_release(&report);
}

/* Which of equal trials came first says nothing, also where what is asked for changes with time. */
static void test_equal_values_say_nothing(void **state) {
  (void)state;
  for (int differ = 0; differ < 2; differ++) { /* all are equal; six of ten are, on a plateau of the second parameter */
    struct space *space = make_space("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}}");
    struct history *history;
    struct importance_report report;
    struct err err;
    struct rng rng = rng_seeded(4);
    assert_true(history_new(space, GOAL_MAXIMIZE, &history, &err));
    for (uint32_t n = 0; n < 600; n++) {
      double point[] = {rng_f64(&rng) * (n < 60 ? 1 : 0.2), rng_f64(&rng)};
      double value = differ && point[1] < 0.4 ? 0.5 : 1;
      assert_true(history_add_told(history, n, point, &(struct outcome){TRIAL_FINISHED, value, 0}, &err));
    }
    assert_true(importance_compute(history, 1, &report, &err));
    assert_int_equal(report.low_confidence, !differ);
    for (size_t i = 0; i < report.count; i++)
      if (report.params[i].param == 0)
        assert_true(report.params[i].share < 0.05);
    importance_release(&report);
    history_free(history), space_free(space);
  }
}

/* Of ten thousand trials all are looked at. */
static void test_many_trials(void **state) {
  (void)state;
  static const size_t counts[][2] = {{9999, 9999}, {10000, 10000}, {10001, 5001}, {20000, 10000}};
  struct space *space = make_space("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}}}");
  struct history *history;
  struct err err;
  uint32_t n = 0;
  assert_true(history_new(space, GOAL_MINIMIZE, &history, &err));
  for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
    struct importance_report report;
    for (; n < counts[i][0]; n++)
      assert_true(history_add_told(history, n, &(double){n / 20000.0}, &(struct outcome){TRIAL_FINISHED, n, 0}, &err));
    assert_true(importance_compute(history, 1, &report, &err));
    assert_int_equal(report.trials, counts[i][1]);
    importance_release(&report);
  }
  history_free(history), space_free(space);
}

/* A parameter is judged by the trials that use it, and two by those that use both. */
static void test_of_conditional_parameters(void **state) {
  (void)state;
  struct space *space = make_space(
      "{\"parameters\": {\"m\": {\"values\": [\"a\", \"b\"]}, \"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}, \"z\": {\"min\": 0.0, \"max\": 1.0}},"
      "\"conditions\": [{\"if\": {\"m\": \"a\"}, \"then\": [\"x\", \"z\"]}, {\"if\": {\"m\": \"b\"}, \"then\": [\"y\"]}]}");
  struct history *history;
  struct importance_report report;
  struct err err;
  struct rng rng = rng_seeded(3);
  bool pair_of_x_and_z = false;
  assert_true(history_new(space, GOAL_MINIMIZE, &history, &err));
  for (uint32_t n = 0; n < 1000; n++) {
    double point[] = {n % 4 == 0, rng_f64(&rng), rng_f64(&rng), rng_f64(&rng)};
    space_settle(space, point);
    double value = point[0] ? 2 + point[2] : (point[1] - 0.5) * (point[3] - 0.5);
    assert_true(history_add_told(history, n, point, &(struct outcome){TRIAL_FINISHED, value, 0}, &err));
  }
  assert_true(importance_compute(history, 1, &report, &err));
  for (size_t i = 0; i < report.count; i++) {
    size_t param = report.params[i].param;
    assert_int_equal(report.params[i].trials, param == 0 ? 1000 : param == 2 ? 250 : 750);
    assert_true(param != 2 || report.params[i].share == 0);
  }
  for (size_t i = 0; i < report.pair_count; i++) {
    const struct importance_pair *pair = &report.pairs[i];
    assert_false(pair->a == 2 || pair->b == 2); /* x and y are never used together, and m is b wherever y is */
    pair_of_x_and_z |= pair->a == 1 && pair->b == 3;
  }
  assert_true(pair_of_x_and_z);
  importance_release(&report);
  history_free(history), space_free(space);
}

static void test_pairs(void **state) {
  (void)state;
  struct importance_report report = compute(3000, product, GOAL_MINIMIZE);
  assert_true(report.pair_count > 0);
  assert_int_equal(report.pairs[0].a, 0);
  assert_int_equal(report.pairs[0].b, 2);
  importance_release(&report);
}

static void test_allocation_failures(void **state) {
  (void)state;
  struct space *space = make_space(four);
  struct history *history;
  struct err err;
  assert_true(history_new(space, GOAL_MINIMIZE, &history, &err));
  for (uint32_t n = 0; n < 40; n++) {
    double point[5] = {n / 40.0, n / 80.0, 0.5, n % 3, 0};
    assert_true(history_add_told(history, n, point, &(struct outcome){TRIAL_FINISHED, n, 0}, &err));
  }
  bool done = false;
  for (unsigned long n = 1; !done; n++) {
    struct importance_report report;
    mem_fail_at(n, false);
    bool ok = importance_compute(history, 1, &report, &err);
    done = mem_fail_at(0, false) < n;
    if (ok)
      importance_release(&report);
    else
      assert_int_equal(err.code, ERR_NO_MEMORY);
  }
  history_free(history), space_free(space);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_ranks_what_matters),
      cmocka_unit_test(test_stopped_ones_count),
      cmocka_unit_test(test_no_pair_of_what_is_never_together),
      cmocka_unit_test(test_admits_that_it_does_not_know),
      cmocka_unit_test(test_pairs),
      cmocka_unit_test(test_equal_values_say_nothing),
      cmocka_unit_test(test_many_trials),
      cmocka_unit_test(test_of_conditional_parameters),
      cmocka_unit_test(test_allocation_failures),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
