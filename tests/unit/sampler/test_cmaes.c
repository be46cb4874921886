/* What CMA-ES draws and where it comes to, beyond the formulas of its updates. */
#include <math.h>

#include "tests/support/test.h"

#include "base/rng.h"
#include "sampler/cmaes.h"
#include "sampler/draw.h"
#include "tests/support/study.h"

enum { KNOWN = 60, ASKED = 1000 };

struct search {
  struct space *space;
  struct history *history;
  struct cmaes *cmaes;
};

/* Started from sixty results, of which those are good that are near x = 0.02; k is as `choices` says. */
static struct search begin(const char *whole, double (*choice)(uint32_t n)) {
  struct search s = {.space = make_space(whole)};
  struct rng rng = rng_seeded(2);
  struct err err;
  assert_true(history_new(s.space, GOAL_MINIMIZE, &s.history, &err) && cmaes_new(s.history, 1, KNOWN, &s.cmaes, &err));
  for (uint32_t n = 0; n < KNOWN; n++) {
    double point[] = {rng_f64(&rng) * (n < 6 ? 0.05 : 1), rng_f64(&rng), choice(n)};
    struct outcome outcome = {TRIAL_FINISHED, n < 6 ? (double)n : 10 + (double)n, 0};
    assert_true(history_add_told(s.history, n, point, &outcome, &err));
  }
  return s;
}

static void end(struct search *s) {
  cmaes_free(s->cmaes), history_free(s->history), space_free(s->space);
}

static double no_choice(uint32_t n UNUSED) {
  return 0;
}
static double third_is_best(uint32_t n) {
  return n == 0 ? 2 : n % 4;
}

/* What falls outside of the range is drawn again, so that a search near an end does not heap up on it. */
static void ends_are_no_heaps(void **state UNUSED) {
  struct search s = begin(
      "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}, \"k\": {\"value\": 1}}}", no_choice);
  double point[3];
  struct err err;
  size_t near_end = 0;
  for (uint64_t n = KNOWN; n < KNOWN + ASKED; n++) {
    assert_true(cmaes_suggest(s.cmaes, n, point, &err));
    assert_true(point[0] > 0 && point[0] < 1 && point[1] > 0 && point[1] < 1);
    near_end += point[0] < 0.05;
  }
  assert_true(near_end > ASKED / 10);
  end(&s);
}

/* A choice without order is that of the best trial seven times of ten, and else any. */
static void choices_are_mostly_the_best(void **state UNUSED) {
  struct search s = begin(
      "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}, \"k\": {\"values\": [\"a\", \"b\", \"c\", \"d\"]}}}",
      third_is_best);
  double point[3], counts[4] = {0};
  struct err err;
  for (uint64_t n = KNOWN; n < KNOWN + ASKED; n++) {
    assert_true(cmaes_suggest(s.cmaes, n, point, &err));
    counts[(size_t)point[2]]++;
  }
  for (size_t k = 0; k < 4; k++)
    assert_true(fabs(counts[k] / ASKED - (k == 2 ? 0.775 : 0.075)) < 0.06); /* four deviations and more */
  end(&s);
}

/* CMA-ES on an ill-conditioned bowl comes down by orders of magnitude, and starts again once it has converged. */
static void test_cmaes_converges_and_restarts(void **state) {
  (void)state;
  struct space *space = make_space(
      "{\"parameters\": {\"a\": {\"min\": -1.0, \"max\": 1.0}, \"b\": {\"min\": -1.0, \"max\": 1.0}, \"c\": {\"min\": -1.0, \"max\": 1.0}, \"k\": {\"min\": 0, \"max\": 9}}}");
  struct history *history;
  struct cmaes *cmaes;
  struct err err;
  assert_true(history_new(space, GOAL_MINIMIZE, &history, &err));
  assert_true(cmaes_new(history, 1, 5, &cmaes, &err));
  struct rng rng = rng_seeded(3);
  double point[4];
  uint32_t n = 0;
  for (; n < 6000 && cmaes_look(cmaes).restarts < 1; n++) {
    if (n < 5)
      for (size_t d = 0; d < 4; d++)
        point[d] = space_value(space, d, rng_f64(&rng));
    else if (!cmaes_suggest(cmaes, n, point, &err))
      fail_msg("%s", err.text);
    double value = pow(point[0] - 0.3, 2) + 100 * pow(point[1] + 0.2 - point[0], 2) + 1e4 * pow(point[2], 2) + pow(point[3] - 7, 2);
    assert_true(history_add_told(history, n, point, &(struct outcome){TRIAL_FINISHED, value, 0}, &err));
  }
  const double *best = history_point(history, history_best(history));
  assert_true(best[3] == 7);
  assert_true(history_value(history, history_best(history)) < 1e-10);
  assert_int_equal(cmaes_look(cmaes).restarts, 1);
  assert_int_equal(cmaes_look(cmaes).lambda, 2 * cmaes_default_lambda(4));
  cmaes_free(cmaes), history_free(history), space_free(space);
}

/* The unit of values says nothing, also where they have come so near to the best that the search begins anew. */
static void test_cmaes_knows_no_unit(void **state) {
  (void)state;
  static const double units[] = {1, 0x1p-60, 0x1p-900, 0x1p60, 0x1p900};
  static double points[ARRAY_LEN(units)][1500][3];
  for (size_t i = 0; i < ARRAY_LEN(units); i++) {
    struct study s = study_begin(study_floats, SAMPLER_RANDOM, 1, GOAL_MINIMIZE);
    struct cmaes *cmaes;
    struct err err;
    assert_true(cmaes_new(s.history, 1, 20, &cmaes, &err));
    for (uint32_t n = 0; n < 1500; n++) {
      double *point = points[i][n];
      if (n < 20)
        draw_point(s.space, 1, n, 0, NULL, point);
      else
        assert_true(cmaes_suggest(cmaes, n, point, &err));
      assert_true(history_add_told(s.history, n, point, &(struct outcome){TRIAL_FINISHED, units[i] * study_bowl(s.space, point), 0}, &err));
    }
    assert_true(cmaes_look(cmaes).restarts > 0);
    assert_memory_equal(points[i], points[0], sizeof points[0]);
    cmaes_free(cmaes);
    study_end(&s);
  }
}

/* However narrow the search has become, the whole numbers beside the mean's keep a share of 1/(d lambda) each (Hamano 2022). */
static void test_cmaes_keeps_a_margin(void **state) {
  (void)state;
  enum { DRAWN = 1200 };
  struct study s = study_begin("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"i\": {\"min\": 0, \"max\": 9}}}", SAMPLER_RANDOM,
                               1, GOAL_MINIMIZE);
  struct rng rng = rng_seeded(2);
  struct cmaes *cmaes;
  struct err err;
  double point[2];
  uint32_t n = 0, counts[10] = {0};
  assert_true(cmaes_new(s.history, 1, 60, &cmaes, &err));
  for (; n < 60 + 15 * cmaes_default_lambda(2); n++) {
    double x = 0.3 + (n < 60 ? 0.5 : 0.001) * (rng_f64(&rng) - 0.5);
    struct outcome outcome = {TRIAL_FINISHED, fabs(x - 0.3), 0};
    assert_true(history_add_told(s.history, n, (double[]){x, 4}, &outcome, &err));
  }
  assert_true(cmaes_follow(cmaes, &err));
  struct cmaes_view view = cmaes_look(cmaes);
  assert_int_equal(view.restarts, 0);
  assert_true(view.sigma * sqrt(view.covariance[3]) < 0.02); /* of cells 0.1 wide: by itself it would hardly ever leave the mean's */
  for (uint32_t k = 0; k < DRAWN; k++) {
    assert_true(cmaes_suggest(cmaes, n + k, point, &err));
    counts[(size_t)point[1]]++;
  }
  double share = 1.0 / (2 * (double)view.lambda), low = 0.7 * share * DRAWN, high = 1.3 * share * DRAWN;
  if (!(counts[3] > low && counts[3] < high && counts[5] > low && counts[5] < high && counts[3] + counts[4] + counts[5] == DRAWN))
    fail_msg("%u %u %u of %d", counts[3], counts[4], counts[5], DRAWN);
  cmaes_free(cmaes);
  study_end(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ends_are_no_heaps),
      cmocka_unit_test(choices_are_mostly_the_best),
      cmocka_unit_test(test_cmaes_converges_and_restarts),
      cmocka_unit_test(test_cmaes_knows_no_unit),
      cmocka_unit_test(test_cmaes_keeps_a_margin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
