/* Methods that learn: they come to better points than chance, on numbers that are conditional, many or at an end. */
#include <math.h>

#include "tests/support/test.h"

#include "base/rng.h"
#include "sampler/gp_rows.h"
#include "sampler/gp_search.h"
#include "sampler/tpe.h"
#include "tests/support/study.h"

static double best_after(const char *whole, enum sampler_type type, uint64_t seed, uint32_t trials, enum goal goal) {
  struct study s = study_begin(whole, type, seed, goal);
  double point[SPACE_PARAMS_MAX], best = INFINITY;
  for (uint32_t n = 0; n < trials; n++) {
    study_ask(&s, n, point);
    double value = study_bowl(s.space, point);
    best = fmin(best, value);
    study_tell(&s, n, TRIAL_FINISHED, goal == GOAL_MAXIMIZE ? -value : value);
  }
  study_end(&s);
  return best;
}

static double median_best(const char *whole, enum sampler_type type, uint32_t trials, enum goal goal) {
  double a = best_after(whole, type, 1, trials, goal), b = best_after(whole, type, 2, trials, goal),
         c = best_after(whole, type, 3, trials, goal);
  return fmax(fmin(a, b), fmin(fmax(a, b), c));
}

static void test_learners_learn(void **state) {
  (void)state;
  double chance = median_best(study_floats, SAMPLER_RANDOM, 60, GOAL_MINIMIZE),
         mixed_chance = median_best(study_mixed, SAMPLER_RANDOM, 60, GOAL_MINIMIZE);
  for (size_t i = 0; i < STUDY_LEARNERS; i++) {
    assert_true(median_best(study_floats, study_learners[i], 60, GOAL_MINIMIZE) < 0.5 * chance);
    assert_true(median_best(study_floats, study_learners[i], 60, GOAL_MAXIMIZE) < 0.5 * chance);
    if (study_learners[i] != SAMPLER_CMAES)
      assert_true(median_best(study_mixed, study_learners[i], 60, GOAL_MINIMIZE) < mixed_chance);
  }
  assert_true(median_best(study_floats, SAMPLER_GP, 40, GOAL_MINIMIZE) < 1e-5);
}

/* What a number decides is in use on one side of it, and every point is whole: also where a search comes from the other side. */
static void test_conditions_on_numbers(void **state) {
  (void)state;
  static const char *const space =
      "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}, \"z\": {\"min\": 0.0, \"max\": 1.0}},"
      "\"conditions\": [{\"if\": \"x > 0.5\", \"then\": [\"y\"]}, {\"if\": \"y < 0.3\", \"then\": [\"z\"]}]}";
  for (enum sampler_type type = SAMPLER_AUTO; type < SAMPLER_GRID; type++)
    for (uint64_t seed = 0; seed < 10; seed++) {
      struct study s = study_begin(space, type, seed, GOAL_MINIMIZE);
      double point[3];
      for (uint32_t n = 0; n < 40; n++) {
        study_ask(&s, n, point);
        study_tell(&s, n, TRIAL_FINISHED, fabs(point[0] - 0.5) + (isnan(point[1]) ? 0.1 : fabs(point[1] - 0.3)));
      }
      study_end(&s);
    }
}

static void test_many_dimensions(void **state) {
  (void)state;
  AUTO_BUF struct buf whole = BUF_INIT(MIB);
  buf_puts(&whole, "{\"parameters\": {\"p0\": {\"min\": 0.0, \"max\": 1.0}");
  for (int i = 1; i < 60; i++)
    buf_printf(&whole, ", \"p%d\": {\"min\": 0.0, \"max\": 1.0}", i);
  buf_puts(&whole, "}}");
  double chance = best_after(buf_text(&whole), SAMPLER_RANDOM, 1, 50, GOAL_MINIMIZE);
  for (size_t i = 0; i < STUDY_LEARNERS; i++)
    assert_true(best_after(buf_text(&whole), study_learners[i], 1, 50, GOAL_MINIMIZE) < chance);
}

/* Where the best result is at an end of the range, and nothing else matters, what is near it promises the most, and is taken. */
static void test_gp_goes_on_at_an_end(void **state) {
  (void)state;
  static const char *const spaces[] = {
      "{\"parameters\": {\"x\": {\"min\": 0, \"max\": 9007199254740991}, \"unused\": {\"min\": 0.0, \"max\": 1.0}}}",
      "{\"parameters\": {\"x\": {\"min\": 1, \"max\": 1000000000000000, \"log\": true}}}",
      "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0, \"step\": 0.25}, \"y\": {\"min\": 0.0, \"max\": 1.0, \"step\": 0.25}, \"unused\": {\"min\": 1, "
      "\"max\": 3}}}",
  };
  for (size_t i = 0; i < ARRAY_LEN(spaces); i++) {
    struct study s = study_begin(spaces[i], SAMPLER_GP, 3, GOAL_MINIMIZE);
    double point[3];
    for (uint32_t n = 0; n < 40; n++) {
      struct suggestion suggestion = study_ask(&s, n, point);
      assert_int_equal(suggestion.by, n < 10 ? SAMPLER_SOBOL : SAMPLER_GP);
      study_tell(&s, n, TRIAL_FINISHED, space_u(s.space, 0, point[0]));
    }
    assert_true(space_u(s.space, 0, history_point(s.history, history_best(s.history))[0]) < 0.11);
    study_end(&s);
  }
}

/* Pending trials push suggestions apart. */
static void test_pending_points_differ(void **state) {
  (void)state;
  for (size_t i = 0; i < STUDY_LEARNERS; i++) {
    struct study s = study_begin(study_floats, study_learners[i], 4, GOAL_MINIMIZE);
    double point[20][3];
    uint32_t n = 0;
    for (; n < 20; n++) {
      study_ask(&s, n, point[0]);
      study_tell(&s, n, TRIAL_FINISHED, study_bowl(s.space, point[0]));
    }
    for (size_t k = 0; k < 20; k++) {
      study_ask(&s, n++, point[k]);
      for (size_t j = 0; j < k; j++) {
        double far = 0;
        for (size_t d = 0; d < 3; d++)
          far = fmax(far, fabs(space_u(s.space, d, point[k][d]) - space_u(s.space, d, point[j][d])));
        assert_true(far > 1e-6);
      }
    }
    study_end(&s);
  }
}

/* Beyond ten thousand kernels the model is thinned out, at the same event whoever follows it. */
static void test_tpe_with_many_results(void **state) {
  (void)state;
  struct study s = study_begin(study_floats, SAMPLER_TPE, 1, GOAL_MINIMIZE);
  struct rng rng = rng_seeded(1);
  struct err err;
  double point[3], other[3];
  struct tpe *late;
  for (uint32_t n = 0; n < 23000; n++) {
    for (size_t d = 0; d < 3; d++)
      point[d] = space_value(s.space, d, rng_f64(&rng));
    assert_true(history_add_told(s.history, n, point,
                                 &(struct outcome){n % 50 ? TRIAL_FINISHED : TRIAL_FAILED, study_bowl(s.space, point), 0}, &err));
    struct suggestion suggestion;
    if (n % 997 == 0)
      assert_true(sampler_suggest(s.sampler, n + 1, point, &suggestion, &err));
  }
  struct suggestion suggestion;
  assert_true(sampler_suggest(s.sampler, 23000, point, &suggestion, &err));
  assert_int_equal(suggestion.by, SAMPLER_TPE);
  struct tpe_settings settings = tpe_defaults;
  assert_true(tpe_new(s.history, &settings, &late, &err));
  assert_true(tpe_suggest(late, 1, 23000, other, &err));
  assert_true(space_same(s.space, point, other));
  assert_true(study_bowl(s.space, point) < 0.1);
  tpe_free(late);
  study_end(&s);
}

static void test_gp_with_many_results(void **state) {
  (void)state;
  struct study s = study_begin(study_floats, SAMPLER_GP, 1, GOAL_MINIMIZE);
  struct rng rng = rng_seeded(1);
  struct err err;
  double point[3];
  for (uint32_t n = 0; n < 1200; n++) {
    for (size_t d = 0; d < 3; d++)
      point[d] = space_value(s.space, d, rng_f64(&rng));
    assert_true(history_add_told(s.history, n, point, &(struct outcome){TRIAL_FINISHED, study_bowl(s.space, point), 0}, &err));
  }
  struct gp_search *search;
  struct gp_search_settings settings = gp_search_defaults;
  assert_true(gp_search_new(s.history, SIZE_MAX, &settings, 1, 1200, &search, &err));
  assert_true(gp_search_rows(search) <= GP_ROWS_MAX && gp_search_rows(search) > 700);
  gp_search_free(search);
  study_end(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_learners_learn),        cmocka_unit_test(test_conditions_on_numbers),
      cmocka_unit_test(test_many_dimensions),       cmocka_unit_test(test_gp_goes_on_at_an_end),
      cmocka_unit_test(test_pending_points_differ), cmocka_unit_test(test_tpe_with_many_results),
      cmocka_unit_test(test_gp_with_many_results),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
