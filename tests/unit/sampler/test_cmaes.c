/* What CMA-ES draws, beyond the formulas of its updates. */
#include <math.h>

#include "tests/support/test.h"

#include "base/rng.h"
#include "sampler/cmaes.h"
#include "tests/support/spaces.h"

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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ends_are_no_heaps),
      cmocka_unit_test(choices_are_mostly_the_best),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
