/* Thinking ahead changes nothing: a job that is left, a fit that is kept, results taken in early lead to the points that would come
 * without. */
#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "sampler/sampler.h"
#include "tests/support/spaces.h"
#include "tests/support/test.h"

enum { WIDTH = 2 };
static const char *const plane = "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}}";

struct side {
  struct history *history;
  struct sampler *sampler;
};

static struct side make_side(const struct space *space, enum sampler_type type) {
  struct side side;
  struct err err;
  struct sampler_settings settings = {.type = type, .seed = 5};
  assert_true(history_new(space, GOAL_MINIMIZE, &side.history, &err));
  assert_true(sampler_new(side.history, &settings, &side.sampler, &err));
  return side;
}

static void free_side(struct side *side) {
  sampler_free(side->sampler);
  history_free(side->history);
}

static void add(struct side *side, uint32_t n, const double *point, bool told) {
  struct err err;
  double value = (point[0] - 0.3) * (point[0] - 0.3) + point[1];
  assert_true(history_add(side->history, n, point, NULL, &err));
  if (told)
    assert_true(history_tell(side->history, n, &(struct outcome){TRIAL_FINISHED, value, 0}, &err));
}

static void next_is_the_same(struct side *a, struct side *b, uint32_t n, bool told) {
  double p[WIDTH], q[WIDTH];
  struct suggestion s, t;
  struct err err;
  assert_true(sampler_suggest(a->sampler, n, p, &s, &err) && sampler_suggest(b->sampler, n, q, &t, &err));
  assert_int_equal(s.by, t.by);
  assert_memory_equal(p, q, sizeof p);
  add(a, n, p, told);
  add(b, n, p, told);
}

static void fill(struct side *a, struct side *b, uint32_t count) {
  struct rng rng = rng_seeded(2);
  for (uint32_t n = 0; n < count; n++) {
    double point[WIDTH] = {rng_f64(&rng), rng_f64(&rng)};
    add(a, n, point, true);
    add(b, n, point, true);
  }
}

static void a_job_that_is_left(void **state) {
  (void)state;
  struct space *space = make_space(plane);
  struct side a = make_side(space, SAMPLER_GP), b = make_side(space, SAMPLER_GP);
  struct sampler_job *job;
  struct err err;
  assert_false(sampler_is_slow(a.sampler));
  fill(&a, &b, 60);
  assert_true(sampler_is_slow(a.sampler));
  for (uint32_t n = 60; n < 66; n++) {
    assert_true(sampler_start(a.sampler, n + 100, &job, &err)); /* for a number it will not get; its fit serves the next */
    assert_true(sampler_job_is_slow(job));
    sampler_job_run(job);
    sampler_job_leave(a.sampler, job);
    assert_true(sampler_start(a.sampler, n, &job, &err)); /* dropped before it ran */
    sampler_job_leave(a.sampler, job);
    next_is_the_same(&a, &b, n, n % 2);
  }
  free_side(&a), free_side(&b);
  space_free(space);
}

/* A point behind others that are not trials yet is the one that is made when they are. */
static void behind_others(void **state) {
  (void)state;
  struct space *space = make_space(plane);
  struct side a = make_side(space, SAMPLER_GP), b = make_side(space, SAMPLER_GP);
  fill(&a, &b, 70);
  for (uint32_t n = 70; n < 78; n += 4) {
    double ahead[3 * WIDTH], point[WIDTH];
    struct suggestion suggestion;
    struct sampler_job *job;
    struct err err;
    for (uint32_t k = 0; k < 3; k++) {
      assert_true(sampler_sees_beyond(a.sampler, n + k));
      assert_true(sampler_start_beyond(a.sampler, n + k, ahead, k, &job, &err));
      assert_true(sampler_finish(a.sampler, job, ahead + (size_t)k * WIDTH, &suggestion, &err));
    }
    for (uint32_t k = 0; k < 3; k++) {
      assert_true(sampler_suggest(b.sampler, n + k, point, &suggestion, &err));
      assert_memory_equal(point, ahead + (size_t)k * WIDTH, sizeof point);
      add(&a, n + k, point, false);
      add(&b, n + k, point, false);
    }
    next_is_the_same(&a, &b, n + 3, true);
  }
  free_side(&a), free_side(&b);
  space_free(space);
}

/* A fit serves the results that follow; who comes later makes the same fit from the same. */
static void fits_that_are_kept(void **state) {
  (void)state;
  struct space *space = make_space(plane);
  struct side a = make_side(space, SAMPLER_GP), b = make_side(space, SAMPLER_GP);
  fill(&a, &b, 124);
  for (uint32_t n = 124; n < 136; n++) {
    struct sampler_settings settings = {.type = SAMPLER_GP, .seed = 5};
    struct err err;
    sampler_free(b.sampler);
    assert_true(sampler_new(b.history, &settings, &b.sampler, &err));
    next_is_the_same(&a, &b, n, n % 4);
  }
  free_side(&a), free_side(&b);
  space_free(space);
}

static void results_taken_in_early(void **state) {
  (void)state;
  static const enum sampler_type types[] = {SAMPLER_TPE, SAMPLER_AUTO, SAMPLER_CMAES, SAMPLER_RANDOM};
  for (size_t i = 0; i < ARRAY_LEN(types); i++) {
    struct space *space = make_space(plane);
    struct side a = make_side(space, types[i]), b = make_side(space, types[i]);
    fill(&a, &b, 40);
    sampler_follow(a.sampler);
    for (uint32_t n = 40; n < 60; n++) {
      next_is_the_same(&a, &b, n, n % 3);
      sampler_follow(a.sampler);
    }
    free_side(&a), free_side(&b);
    space_free(space);
  }
}

/* After a start all results come at once, and many of them were dropped from the model before. */
static void results_one_by_one_or_at_once(void **state) {
  (void)state;
  struct space *space = make_space(plane);
  struct side one_by_one = make_side(space, SAMPLER_TPE), at_once = make_side(space, SAMPLER_TPE);
  struct rng rng = rng_seeded(3);
  uint32_t n = 0;
  for (; n < 18000; n++) {
    double point[WIDTH] = {rng_f64(&rng), floor(rng_f64(&rng) * 100) / 100};
    add(&one_by_one, n, point, n % 7 > 0);
    add(&at_once, n, point, n % 7 > 0);
    sampler_follow(one_by_one.sampler);
  }
  for (; n < 18020; n++)
    next_is_the_same(&one_by_one, &at_once, n, true);
  free_side(&one_by_one), free_side(&at_once);
  space_free(space);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_job_that_is_left), cmocka_unit_test(behind_others),
                                     cmocka_unit_test(fits_that_are_kept), cmocka_unit_test(results_taken_in_early),
                                     cmocka_unit_test(results_one_by_one_or_at_once)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
