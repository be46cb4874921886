/* What results teach: bad ones, stopped ones, equal ones, one far off the others, those of another sweep; and what a model that fails
 * leaves. */
#include <math.h>

#include "tests/support/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "sampler/gp_rows.h"
#include "sampler/gp_search.h"
#include "sampler/tpe.h"
#include "tests/support/study.h"

/* Traps 6 and 20, and 2.4: NaN, infinities of both signs, failures and stops are learnt from and never break anything. */
static void test_bad_results(void **state) {
  (void)state;
  for (size_t i = 0; i < STUDY_LEARNERS; i++) {
    struct study s = study_begin(study_floats, study_learners[i], 5, GOAL_MINIMIZE);
    double point[3];
    size_t low = 0;
    for (uint32_t n = 0; n < 60; n++) {
      study_ask(&s, n, point);
      static const double bad[] = {NAN, INFINITY, -INFINITY};
      if (point[0] > 0.5) /* this half fails, in every way there is */
        study_tell(&s, n, n % 2 ? TRIAL_FAILED : TRIAL_FINISHED, bad[n % 3]);
      else if (n % 5 == 4)
        study_tell(&s, n, TRIAL_STOPPED, n % 2 ? NAN : 5 + point[0]);
      else
        study_tell(&s, n, n % 11 == 7 ? TRIAL_GONE : TRIAL_FINISHED, study_bowl(s.space, point));
      low += n >= 30 && point[0] <= 0.5;
    }
    assert_true(low >= 20); /* of 30: chance would have half */
    study_end(&s);
  }
  for (size_t i = 0; i < STUDY_LEARNERS; i++) /* nothing ever works */
    for (int kind = 0; kind < 3; kind++) {
      struct study s = study_begin(study_mixed, study_learners[i], 6, GOAL_MINIMIZE);
      double point[SPACE_PARAMS_MAX];
      for (uint32_t n = 0; n < 30; n++) {
        study_ask(&s, n, point);
        study_tell(&s, n, kind == 0 ? TRIAL_FAILED : kind == 1 ? TRIAL_STOPPED : TRIAL_FINISHED, kind == 2 ? 0.1 : NAN);
      }
      study_end(&s);
    }
}

/* Of those that were trained to the end the best tenth is good, however many were stopped: else all that is left of many would be. */
static void test_stopped_dilute_nothing(void **state) {
  (void)state;
  struct study s = study_begin("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}}", SAMPLER_TPE,
                               8, GOAL_MINIMIZE);
  struct err err;
  uint32_t n = 0, near_best = 0;
  for (; n < 400; n++) {
    bool finished = n % 10 == 0, good = n % 100 == 0;
    double u = (double)(n * 7 % 400) / 400, v = (double)(n * 11 % 400) / 400;
    double point[] = {good ? 0.2 + 0.02 * u : 0.4 + 0.6 * u, good ? 0.8 + 0.02 * v : 0.7 * v};
    struct outcome outcome = {finished ? TRIAL_FINISHED : TRIAL_STOPPED, finished ? (good ? 0.1 : 0.2 + 0.1 * u) : 0.9, 3};
    assert_true(history_add_told(s.history, n, point, &outcome, &err));
  }
  for (; n < 440; n++) {
    double point[2];
    study_ask(&s, n, point);
    near_best += point[0] < 0.35 && point[1] > 0.65;
  }
  assert_true(near_best >= 20); /* of 40; chance would have 5 */
  study_end(&s);
}

/* The good ones are the best tenth, rounded up, at most 25: the choices of others are hardly proposed, and each of theirs is. */
static void test_how_many_are_good(void **state) {
  (void)state;
  static const struct {
    uint32_t results, good, hardly;
  } rows[] = {{60, 6, 15}, {61, 7, 15}, {90, 9, 15}, {91, 10, 15}, {250, 25, 0}, {400, 25, 0}};
  AUTO_BUF struct buf whole = BUF_INIT(16 * KIB);
  buf_puts(&whole, "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"c\": {\"values\": [\"0\"");
  for (int i = 1; i < 60; i++)
    buf_printf(&whole, ", \"%d\"", i);
  buf_puts(&whole, "]}}}");
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct study s = study_begin(buf_text(&whole), SAMPLER_TPE, 1, GOAL_MINIMIZE);
    struct tpe *tpe;
    struct err err;
    unsigned proposed[60] = {0};
    uint32_t n = 0;
    for (; n < rows[i].results; n++) { /* the worst first, the 50 best with a choice of their own */
      uint32_t rank = rows[i].results - 1 - n;
      double point[2] = {(double)(n * 13 % rows[i].results) / rows[i].results, rank < 50 ? rank : 50 + rank % 10};
      assert_true(history_add_told(s.history, n, point, &(struct outcome){TRIAL_FINISHED, rank, 0}, &err));
    }
    assert_true(tpe_new(s.history, &tpe_defaults, &tpe, &err));
    for (; n < rows[i].results + 1000; n++) {
      double point[2];
      assert_true(tpe_suggest(tpe, 1, n, point, &err));
      proposed[(size_t)point[1]]++;
    }
    for (uint32_t c = 0; c < 60; c++)
      if ((proposed[c] > rows[i].hardly) != (c < rows[i].good))
        fail_msg("of %u results number %u is proposed %u times", (unsigned)rows[i].results, (unsigned)c + 1, proposed[c]);
    tpe_free(tpe);
    study_end(&s);
  }
}

/* Trap 5: one value of 1e30 does not flatten the rest. */
static void test_outlier(void **state) {
  (void)state;
  struct study s = study_begin(study_floats, SAMPLER_GP, 8, GOAL_MINIMIZE);
  double point[3], best = INFINITY;
  for (uint32_t n = 0; n < 45; n++) {
    study_ask(&s, n, point);
    best = fmin(best, study_bowl(s.space, point));
    study_tell(&s, n, TRIAL_FINISHED, n == 3 ? 1e30 : n == 5 ? 1e300 : study_bowl(s.space, point));
  }
  assert_true(best < 1e-4);
  study_end(&s);
}

/* Trap 3: what was measured several times at one point counts by its mean, whichever came last. */
static void test_equal_points_count_by_their_mean(void **state) {
  (void)state;
  static const double values[2][3] = {{-2, 1, 1.3}, {1.3, 1, -2}};
  double found[2];
  for (size_t way = 0; way < 2; way++) {
    struct study s = study_begin("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}}}", SAMPLER_GP, 1, GOAL_MINIMIZE);
    struct gp_search *search;
    struct err err;
    uint32_t n = 0;
    for (; n < 10; n++) {
      double x = n / 10.0;
      assert_true(history_add_told(s.history, n, &x, &(struct outcome){TRIAL_FINISHED, fabs(x - 0.7), 0}, &err));
    }
    for (size_t k = 0; k < 3; k++, n++)
      assert_true(history_add_told(s.history, n, &(double){0.25}, &(struct outcome){TRIAL_FINISHED, values[way][k], 0}, &err));
    assert_true(gp_search_new(s.history, SIZE_MAX, &gp_search_defaults, 1, n, &search, &err) && gp_search_run(search, &err));
    assert_int_equal(gp_search_rows(search), 11);
    found[way] = *gp_search_point(search, 0);
    gp_search_free(search);
    study_end(&s);
  }
  assert_true(fabs(found[0] - found[1]) < 1e-4);
}

/* Earlier trials count from the start. */
static void test_warm_start(void **state) {
  (void)state;
  for (size_t i = 0; i < STUDY_LEARNERS; i++) {
    struct study s = study_begin(study_floats, study_learners[i], 1, GOAL_MINIMIZE);
    struct rng rng = rng_seeded(2);
    struct err err;
    double point[3];
    for (int n = 0; n < 60; n++) {
      for (size_t d = 0; d < 3; d++)
        point[d] = space_value(s.space, d, rng_f64(&rng));
      struct outcome outcome = {TRIAL_FINISHED, study_bowl(s.space, point), 0};
      assert_true(history_add_told(s.history, HISTORY_NO_NUMBER, point, &outcome, &err));
    }
    double sum = 0;
    for (uint32_t n = 0; n < 10; n++) {
      struct suggestion suggestion = study_ask(&s, n, point);
      assert_true(suggestion.by != SAMPLER_SOBOL && suggestion.by != SAMPLER_RANDOM);
      sum += study_bowl(s.space, point) / 10;
      study_tell(&s, n, TRIAL_FINISHED, study_bowl(s.space, point));
    }
    assert_true(sum < 0.25); /* chance: about 0.4 */
    study_end(&s);
  }
}

/* Trap 20: a model that can score nothing (its hyperparameters are no numbers, or there is no memory) proposes nothing, and another method
 * is asked, which the suggestion says. */
static void test_a_model_that_cannot_score(void **state) {
  (void)state;
  static struct gp_params broken[2];
  struct study s = study_begin(study_mixed, SAMPLER_GP, 3, GOAL_MINIMIZE);
  double point[SPACE_PARAMS_MAX];
  struct err err;
  uint32_t n = 0;
  for (; n < 20; n++) {
    study_ask(&s, n, point);
    study_tell(&s, n, TRIAL_FINISHED, study_bowl(s.space, point));
  }
  broken[0].signal = NAN, broken[1].signal = 1;
  for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
    struct gp_search *search;
    broken[i].noise = 1e-3;
    for (size_t f = 0; f < GP_FEATURES_MAX; f++)
      broken[i].weight[f] = i ? NAN : 1;
    assert_true(gp_search_new(s.history, GP_ROWS_NOW, &gp_search_defaults, 3, n, &search, &err));
    gp_search_reuse(search, &broken[i]);
    assert_true(!gp_search_run(search, &err) || gp_search_found(search) == 0);
    gp_search_free(search);
  }
  struct sampler_job *job;
  struct suggestion suggestion;
  assert_true(sampler_start(s.sampler, n, &job, &err));
  mem_fail_at(1, true);
  sampler_job_run(job);
  mem_fail_at(0, false);
  assert_true(sampler_finish(s.sampler, job, point, &suggestion, &err));
  assert_int_equal(suggestion.by, SAMPLER_TPE);
  assert_string_equal(suggestion.why, "the Gaussian process found no new point");
  assert_true(space_allows(s.space, point) && !history_has(s.history, point));
  study_end(&s);
}

/* Every allocation fails once: either the call fails and may be repeated, or it did without. */
static void test_allocation_failures(void **state) {
  (void)state;
  for (size_t i = 0; i < STUDY_LEARNERS; i++)
    for (int which = 0; which < 2; which++) {
      struct study s = study_begin(which ? study_mixed : study_floats, study_learners[i], 9, GOAL_MINIMIZE);
      double point[SPACE_PARAMS_MAX];
      for (uint32_t n = 0; n < 14; n++) {
        study_ask(&s, n, point);
        study_tell(&s, n, TRIAL_FINISHED, study_bowl(s.space, point));
      }
      struct sampler_settings settings = {.type = study_learners[i], .seed = 9};
      bool done = false;
      for (unsigned long n = 1; n < 400 && !done; n++) {
        struct sampler *sampler = NULL;
        struct suggestion suggestion;
        struct err err = {0};
        mem_fail_at(n, false);
        bool made = sampler_new(s.history, &settings, &sampler, &err);
        bool ok = made && sampler_suggest(sampler, 14, point, &suggestion, &err);
        done = mem_fail_at(0, false) < n;
        if (!ok)
          assert_int_equal(err.code, ERR_NO_MEMORY);
        if (made) /* still in order */
          assert_true(sampler_suggest(sampler, 14, point, &suggestion, &err));
        sampler_free(sampler);
      }
      assert_true(done);
      study_end(&s);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bad_results),
      cmocka_unit_test(test_stopped_dilute_nothing),
      cmocka_unit_test(test_how_many_are_good),
      cmocka_unit_test(test_outlier),
      cmocka_unit_test(test_equal_points_count_by_their_mean),
      cmocka_unit_test(test_warm_start),
      cmocka_unit_test(test_a_model_that_cannot_score),
      cmocka_unit_test(test_allocation_failures),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
