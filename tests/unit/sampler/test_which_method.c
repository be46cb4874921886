/* Which method makes a point: the start-up, points that are fixed first, what auto goes by, and who looks at curves. */
#include <math.h>

#include "tests/support/test.h"

#include "base/rng.h"
#include "tests/support/study.h"

/* Trap 25: the middle first, then points spread over every half and quarter; no coordinate at an end. */
static void test_startup(void **state) {
  (void)state;
  struct study s = study_begin(study_floats, SAMPLER_AUTO, 12, GOAL_MINIMIZE);
  double point[3];
  unsigned quarters = 0;
  for (uint32_t n = 0; n < 9; n++) {
    struct suggestion suggestion = study_ask(&s, n, point);
    assert_int_equal(suggestion.by, SAMPLER_SOBOL);
    for (size_t d = 0; d < 3; d++) {
      double u = space_u(s.space, d, point[d]);
      assert_true(n == 0 ? fabs(u - 0.5) < 1e-9 : u > 0 && u < 1);
    }
    quarters |= 1u << (unsigned)(space_u(s.space, 0, point[0]) * 4);
    study_tell(&s, n, TRIAL_FINISHED, study_bowl(s.space, point));
  }
  assert_int_equal(quarters, 15);
  study_end(&s);
}

/* With many workers a model begins at half as many results, once all of the start-up is handed out; one worker waits for all of them. */
static void test_startup_with_workers(void **state) {
  (void)state;
  for (size_t i = 0; i < STUDY_LEARNERS; i++) {
    struct study s = study_begin(study_floats, study_learners[i], 12, GOAL_MINIMIZE);
    double point[3];
    uint32_t n = 0;
    for (; n < 12; n++) /* none has ended */
      assert_int_equal(study_ask(&s, n, point).by, SAMPLER_SOBOL);
    for (uint32_t told = 0; told < 5; told++, n++) {
      study_tell(&s, told, TRIAL_FINISHED, study_bowl(s.space, history_point(s.history, told)));
      enum sampler_type by = study_ask(&s, n, point).by;
      assert_int_equal(by == SAMPLER_SOBOL, told < 4 || study_learners[i] == SAMPLER_CMAES);
      assert_int_not_equal(by, SAMPLER_RANDOM);
    }
    study_end(&s);
    s = study_begin(study_floats, study_learners[i], 12, GOAL_MINIMIZE);
    for (n = 0; n < 11; n++) {
      assert_int_equal(study_ask(&s, n, point).by == SAMPLER_SOBOL, n < 10);
      study_tell(&s, n, TRIAL_FINISHED, study_bowl(s.space, point));
    }
    study_end(&s);
  }
}

static void test_fixed_first(void **state) {
  (void)state;
  struct study s = study_begin(study_mixed, SAMPLER_AUTO, 1, GOAL_MINIMIZE);
  AUTO_JSON json_t *fixed = read_json("[{\"lr\": 0.01, \"layers\": 3, \"opt\": \"adam\", \"wide\": 64}, {\"lr\": 0.5}]");
  AUTO_JSON json_t *wrong = read_json("[{\"lr\": 7}]"), *forbidden = read_json("[{\"layers\": 8, \"wide\": 4096}]");
  struct err err;
  double point[SPACE_PARAMS_MAX];
  assert_false(sampler_fix_first(s.sampler, wrong, &err));
  assert_string_equal(err.text, "fixed_first[0]: \"params.lr\" must be from 1e-05 to 1.0");
  assert_false(sampler_fix_first(s.sampler, forbidden, &err));
  assert_true(sampler_fix_first(s.sampler, fixed, &err));
  study_ask(&s, 0, point);
  assert_string_equal(point_text(s.space, point), "{\"layers\":3,\"lr\":0.01,\"opt\":\"adam\",\"wide\":64}");
  study_ask(&s, 1, point);
  assert_true(point[space_find(s.space, STR("lr"))] == 0.5);
  study_ask(&s, 2, point);
  study_end(&s);
}

/* Points that somebody else made trials of, in between or before, take no fixed point's turn; one that had a trial is passed over, and one
 * whose trial was killed is not tried again. */
static void test_fixed_points_lose_no_turn(void **state) {
  (void)state;
  static const char *const line = "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}}}";
  AUTO_JSON json_t *fixed = read_json("[{\"x\": 0.1}, {\"x\": 0.2}, {\"x\": 0.3}, {\"x\": 0.4}]");
  for (size_t i = 0; i < STUDY_LEARNERS; i++) {
    struct study s = study_begin(line, study_learners[i], 1, GOAL_MINIMIZE);
    struct err err;
    double point, told = 0.9, second = 0.2;
    assert_true(sampler_fix_first(s.sampler, fixed, &err));
    assert_true(history_add_told(s.history, 0, &told, &(struct outcome){TRIAL_FINISHED, 1, 0}, &err));
    assert_false(sampler_sees_beyond(s.sampler, 1));
    study_ask(&s, 1, &point);
    assert_true(point == 0.1);
    study_tell(&s, 1, TRIAL_GONE, NAN);
    assert_true(history_add(s.history, 2, &second, NULL, &err));
    sampler_free(s.sampler); /* a restart */
    s.sampler = make_sampler(s.history, study_learners[i], 1);
    assert_true(sampler_fix_first(s.sampler, fixed, &err));
    study_ask(&s, 3, &point);
    assert_true(point == 0.3);
    study_ask(&s, 4, &point);
    assert_true(point == 0.4);
    assert_string_not_equal(study_ask(&s, 5, &point).why, "fixed by the user");
    study_end(&s);
  }
}

static void test_auto_says_why(void **state) {
  (void)state;
  static const struct {
    const char *space;
    uint32_t results;
    enum sampler_type want;
  } rows[] = {
      {"{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}}", 5, SAMPLER_SOBOL},
      {"{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}}", 50, SAMPLER_GP},
      {"{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}}", 300, SAMPLER_CMAES},
      {"{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"values\": [\"a\", \"b\"]}}}", 300, SAMPLER_TPE},
      {"{\"parameters\": {\"m\": {\"values\": [\"a\", \"b\"]}, \"x\": {\"min\": 0.0, \"max\": 1.0}}, \"conditions\": [{\"if\": {\"m\": \"a\"}, \"then\": [\"x\"]}]}",
       50, SAMPLER_GP},
      {"{\"parameters\": {\"m\": {\"values\": [\"a\", \"b\"]}, \"x\": {\"min\": 0.0, \"max\": 1.0}}, \"conditions\": [{\"if\": {\"m\": \"a\"}, \"then\": [\"x\"]}]}",
       300, SAMPLER_TPE},
      {"{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}}", 250, SAMPLER_GP},
      {"{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}}", 251, SAMPLER_CMAES},
      {"{\"parameters\": {\"m\": {\"min\": 0, \"max\": 3}, \"x\": {\"min\": 0.0, \"max\": 1.0}}, \"conditions\": [{\"if\": \"m > 1\", \"then\": [\"x\"]}]}",
       300, SAMPLER_TPE},
      {"{\"parameters\": {\"m\": {\"values\": [\"a\", \"b\"]}, \"n\": {\"values\": [\"u\", \"v\", \"w\"]}, \"k\": {\"values\": [\"u\", \"v\", \"w\"]}}}",
       12, SAMPLER_GP},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct study s = study_begin(rows[i].space, SAMPLER_AUTO, 1, GOAL_MINIMIZE);
    struct rng rng = rng_seeded(i);
    struct err err;
    double point[3];
    for (uint32_t n = 0; n < rows[i].results; n++) {
      for (size_t d = 0; d < space_count(s.space); d++)
        point[d] = space_value(s.space, d, rng_f64(&rng));
      space_settle(s.space, point);
      assert_true(history_add_told(s.history, n, point, &(struct outcome){TRIAL_FINISHED, rng_f64(&rng), 0}, &err));
    }
    AUTO_BUF struct buf why = BUF_INIT(KIB);
    assert_int_equal(sampler_chosen(s.sampler, &why), rows[i].want);
    assert_true(why.n > 10);
    study_end(&s);
  }
}

/* A Gaussian process looks at the newest trials, whatever their numbers; the others look at no curve. */
static void test_curves_that_are_looked_at(void **state UNUSED) {
  for (enum sampler_type type = SAMPLER_AUTO; type < SAMPLER_GRID; type++) {
    struct study s = study_begin(study_floats, type, 1, GOAL_MINIMIZE);
    assert_int_equal(sampler_sees_curve(s.sampler, 0), type == SAMPLER_AUTO || type == SAMPLER_GP);
    assert_int_equal(sampler_sees_curve(s.sampler, 1000000), type == SAMPLER_GP);
    study_end(&s);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_startup),       cmocka_unit_test(test_startup_with_workers),
      cmocka_unit_test(test_fixed_first),   cmocka_unit_test(test_fixed_points_lose_no_turn),
      cmocka_unit_test(test_auto_says_why), cmocka_unit_test(test_curves_that_are_looked_at),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
