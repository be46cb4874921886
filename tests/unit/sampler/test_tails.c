/* Distributions with tails: the coordinate in which models see them, and how far out they look. */
#include <math.h>

#include "tests/support/test.h"

#include "sampler/dist.h"

#include "tests/support/spaces.h"

static struct dist make(struct dist_spec spec) {
  struct dist dist;
  struct err err;
  assert_true(dist_init(&spec, &dist, &err));
  return dist;
}

static const struct dist_spec uniform[] = {
    {.shape = DIST_UNIFORM, .min = -3, .max = 5},
    {.shape = DIST_UNIFORM, .min = 0, .max = 7, .step = 1, .integer = true},
    {.shape = DIST_LOG_UNIFORM, .min = 1e-9, .max = 10},
    {.shape = DIST_LOG_UNIFORM, .min = 1, .max = 512, .step = 1, .integer = true},
};

static const struct dist_spec tailed[] = {
    {.shape = DIST_NORMAL, .min = -INFINITY, .max = INFINITY, .mu = 3, .sigma = 0.1},
    {.shape = DIST_NORMAL, .min = -1, .max = 2, .mu = 0, .sigma = 1},
    {.shape = DIST_NORMAL, .min = 4, .max = 6, .mu = 0, .sigma = 1},
    {.shape = DIST_NORMAL, .min = -INFINITY, .max = INFINITY, .mu = 100, .sigma = 30, .quantum = 10},
    {.shape = DIST_LOG_NORMAL, .min = 0, .max = INFINITY, .mu = -7, .sigma = 2},
    {.shape = DIST_LOG_NORMAL, .min = 0, .max = INFINITY, .mu = 1, .sigma = 1, .quantum = 1},
    {.shape = DIST_BETA, .min = 0, .max = 1, .alpha = 0.5, .beta = 0.5},
    {.shape = DIST_BETA, .min = 0, .max = 1, .alpha = 2, .beta = 30},
};

static void test_uniform_is_u(void **state UNUSED) {
  for (size_t i = 0; i < ARRAY_LEN(uniform); i++) {
    struct dist dist = make(uniform[i]);
    double low, high;
    dist_reach(&dist, &low, &high);
    assert_true(low == 0 && high == 1);
    for (double u = -0.5; u <= 1.5; u += 0.0625) {
      double value = dist_value(&dist, u);
      assert_true(dist_along(&dist, value) == dist_u(&dist, value));
      assert_true(dist_u_along(&dist, u) == fmin(fmax(u, 0), 1));
    }
  }
}

static void test_along_grows_with_the_value(void **state UNUSED) {
  for (size_t i = 0; i < ARRAY_LEN(tailed); i++) {
    struct dist dist = make(tailed[i]);
    double low, high, before = -INFINITY;
    dist_reach(&dist, &low, &high);
    assert_true(low >= -0.65 && low <= 0.1 && high >= 0.9 && high <= 1.65);
    assert_true(dist_u_along(&dist, -INFINITY) == dist_u_along(&dist, low) && dist_u_along(&dist, INFINITY) == dist_u_along(&dist, high));
    for (double u = 0x1p-10; u < 1; u += 0x1p-10) {
      double value = dist_value(&dist, u), along = dist_along(&dist, value);
      assert_true(isfinite(along) && along >= before);
      assert_true(dist.cells || (along > before && (along < 0.1) == (u < 0.1) && (along > 0.9) == (u > 0.9)));
      if (along > low && along < high)
        assert_true(fabs(dist_u_along(&dist, along) - dist_u(&dist, value)) < 1e-7);
      before = along;
    }
  }
}

/* One deviation is as far in the middle as in the tail. */
static void test_normal_is_even(void **state UNUSED) {
  struct dist dist = make(tailed[0]);
  double each = dist_along(&dist, 3.1) - dist_along(&dist, 3);
  assert_true(fabs(dist_along(&dist, 3) - 0.5) < 1e-9 && each > 0.3 && each < 0.32);
  assert_true(fabs(dist_along(&dist, 3.5) - dist_along(&dist, 3.4) - each) < 1e-9);
}

/* Asks and tells; the least (x - 3)^2 + (y + 3)^2 + z^2, and how far out it went. */
static double search(enum sampler_type type, uint32_t trials, double *ret_furthest) {
  struct space *space = make_space("{\"parameters\": {\"x\": {\"distribution\": \"normal\", \"mu\": 0, \"sigma\": 1},"
                                   "\"y\": {\"distribution\": \"normal\", \"mu\": 0, \"sigma\": 1},"
                                   "\"z\": {\"distribution\": \"normal\", \"mu\": 0, \"sigma\": 1}}}");
  struct history *history;
  struct suggestion suggestion;
  struct err err;
  double point[3], best = INFINITY;
  *ret_furthest = 0;
  assert_true(history_new(space, GOAL_MINIMIZE, &history, &err));
  struct sampler *sampler = make_sampler(history, type, 5);
  for (uint32_t n = 0; n < trials; n++) {
    assert_true(sampler_suggest(sampler, n, point, &suggestion, &err));
    for (size_t i = 0; i < 3; i++)
      *ret_furthest = fmax(*ret_furthest, fabs(point[i]));
    double value = (point[0] - 3) * (point[0] - 3) + (point[1] + 3) * (point[1] + 3) + point[2] * point[2];
    assert_true(history_add_told(history, n, point, &(struct outcome){TRIAL_FINISHED, value, 0}, &err));
    best = fmin(best, value);
  }
  sampler_free(sampler), history_free(history), space_free(space);
  return best;
}

/* A bound of u is seven deviations out; no model may take it for a bound of the space. */
static void test_models_stay_where_values_are(void **state UNUSED) {
  double furthest;
  assert_true(search(SAMPLER_AUTO, 40, &furthest) < 0.05 && furthest < 5);
  assert_true(search(SAMPLER_GP, 40, &furthest) < 0.05 && furthest < 5);
  assert_true(search(SAMPLER_CMAES, 400, &furthest) < 0.05 && furthest < 5);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_uniform_is_u),
      cmocka_unit_test(test_along_grows_with_the_value),
      cmocka_unit_test(test_normal_is_even),
      cmocka_unit_test(test_models_stay_where_values_are),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
