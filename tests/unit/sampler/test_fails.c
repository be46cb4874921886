/* What failed trials teach a Gaussian process: where trials fail, and nothing of values. */
#include <math.h>

#include "tests/support/test.h"

#include "base/rng.h"
#include "sampler/gp_fails.h"

#include "tests/support/spaces.h"

enum { WIDTH = 4, ROWS = 30, FAILED = 12 };

struct study {
  struct space *space;
  struct history *history;
  struct sampler *sampler;
  double best;
  double stand_in; /* what is told for a failure; NaN: that it was one */
  unsigned failures;
};

static void begin(struct study *s, enum sampler_type type, uint64_t seed) {
  struct err err;
  *s = (struct study){.best = INFINITY, .stand_in = NAN};
  s->space = make_space("{\"parameters\": {\"a\": {\"min\": 0.0, \"max\": 1.0}, \"b\": {\"min\": 0.0, \"max\": 1.0},"
                        "\"c\": {\"min\": 0.0, \"max\": 1.0}, \"d\": {\"min\": 0.0, \"max\": 1.0}}}");
  assert_true(history_new(s->space, GOAL_MINIMIZE, &s->history, &err));
  s->sampler = make_sampler(s->history, type, seed);
}

static void end(struct study *s) {
  sampler_free(s->sampler), history_free(s->history), space_free(s->space);
}

static double bowl(const double *point) {
  static const double at[WIDTH] = {0.3, 0.8, 0.6, 0.15};
  double sum = 0;
  for (size_t i = 0; i < WIDTH; i++)
    sum += (point[i] - at[i]) * (point[i] - at[i]);
  return sum;
}

typedef bool fails_fn(const double *point, uint32_t n);

static bool by_chance(const double *point UNUSED, uint32_t n) {
  return rng_mix(n) % 10 < 3;
}
static bool right_half(const double *point, uint32_t n UNUSED) {
  return point[0] > 0.5;
}
static bool beside_best(const double *point, uint32_t n UNUSED) {
  return point[0] < 0.35; /* the best that does not fail: 0.0025 */
}

static void go_on(struct study *s, uint32_t trials, fails_fn *fails) {
  struct suggestion suggestion;
  struct err err;
  double point[WIDTH];
  for (uint32_t n = (uint32_t)history_count(s->history), last = n + trials; n < last; n++) {
    assert_true(sampler_suggest(s->sampler, n, point, &suggestion, &err));
    bool failed = fails(point, n);
    /* a value that is none is as good as a failure */
    struct outcome outcome = {failed && n % 2 ? TRIAL_FAILED : TRIAL_FINISHED, failed ? NAN : bowl(point), 0};
    if (failed && !isnan(s->stand_in))
      outcome = (struct outcome){TRIAL_FINISHED, s->stand_in, 0};
    assert_true(history_add_told(s->history, n, point, &outcome, &err));
    s->failures += failed;
    if (!failed)
      s->best = fmin(s->best, bowl(point));
  }
}

/* Three of ten fail wherever they are: that keeps nobody from the best place. */
static void test_chance_is_no_place(void **state UNUSED) {
  for (uint64_t seed = 1; seed <= 3; seed++) {
    struct study s;
    begin(&s, SAMPLER_AUTO, seed);
    go_on(&s, 60, by_chance);
    assert_true(s.best < 1e-3);
    end(&s);
  }
}

/* A huge value that stands for a failure is one. */
static void test_a_stand_in_is_no_value(void **state UNUSED) {
  static const double stand_ins[] = {1e30, 1e4, 1.7e308};
  for (size_t i = 0; i < ARRAY_LEN(stand_ins); i++) {
    struct study s;
    begin(&s, SAMPLER_AUTO, 1 + i);
    s.stand_in = stand_ins[i];
    go_on(&s, 60, by_chance);
    assert_true(s.best < 1e-3);
    end(&s);
  }
}

/* Half of the space fails: it is left alone soon, while nothing there is worth it. */
static void test_a_region_is_left_alone(void **state UNUSED) {
  struct study s;
  begin(&s, SAMPLER_AUTO, 1);
  go_on(&s, 20, right_half);
  s.failures = 0;
  go_on(&s, 40, right_half);
  assert_true(s.failures <= 12 && s.best < 1e-3);
  end(&s);
}

static void test_an_edge_is_reached(void **state UNUSED) {
  struct study s;
  begin(&s, SAMPLER_GP, 1);
  go_on(&s, 60, beside_best);
  assert_true(s.best < 0.0035);
  end(&s);
}

static bool nine_of_ten(const double *point UNUSED, uint32_t n) {
  return n % 10 != 2;
}

/* Who waits for ten values where nine of ten trials fail, spreads a hundred evenly. */
static void test_failures_count_as_a_start(void **state UNUSED) {
  static const enum sampler_type types[] = {SAMPLER_AUTO, SAMPLER_TPE, SAMPLER_GP};
  for (size_t i = 0; i < ARRAY_LEN(types); i++) {
    struct suggestion suggestion;
    struct study s;
    struct err err;
    double point[WIDTH];
    begin(&s, types[i], 1);
    go_on(&s, 22, nine_of_ten);
    assert_true(sampler_suggest(s.sampler, 22, point, &suggestion, &err) && suggestion.by == SAMPLER_SOBOL);
    go_on(&s, 1, nine_of_ten);
    assert_true(sampler_suggest(s.sampler, 23, point, &suggestion, &err) && suggestion.by != SAMPLER_SOBOL);
    end(&s);
  }
}

/* What is kept of fits does not show: a sampler that begins in the middle says the same. */
static void test_points_do_not_depend_on_what_is_kept(void **state UNUSED) {
  struct study s;
  begin(&s, SAMPLER_GP, 3);
  go_on(&s, 129, by_chance);
  for (uint32_t n = 129; n < 136; n++) {
    struct suggestion suggestion;
    struct err err;
    double point[WIDTH], again[WIDTH];
    struct sampler *other = make_sampler(s.history, SAMPLER_GP, 3);
    assert_true(sampler_suggest(s.sampler, n, point, &suggestion, &err) && sampler_suggest(other, n, again, &suggestion, &err));
    assert_true(space_same(s.space, point, again));
    sampler_free(other);
    go_on(&s, 1, by_chance);
  }
  end(&s);
}

/* The first that fails comes after the fit that is kept. */
static void test_a_first_failure_late(void **state UNUSED) {
  struct study s;
  begin(&s, SAMPLER_GP, 4);
  struct rng rng = rng_for(1, 2, 3);
  struct err err;
  double point[WIDTH], again[WIDTH];
  for (uint32_t n = 0; n < 130; n++) {
    for (size_t i = 0; i < WIDTH; i++)
      point[i] = rng_f64(&rng);
    struct outcome outcome = {n < 128 ? TRIAL_FINISHED : TRIAL_FAILED, bowl(point), 0};
    struct suggestion suggestion;
    if (n == 128)
      assert_true(sampler_suggest(s.sampler, n, again, &suggestion, &err));
    assert_true(history_add_told(s.history, n, point, &outcome, &err));
    if (n >= 127) {
      struct sampler *other = make_sampler(s.history, SAMPLER_GP, 4);
      assert_true(sampler_suggest(s.sampler, n + 1, point, &suggestion, &err) && sampler_suggest(other, n + 1, again, &suggestion, &err));
      assert_true(space_same(s.space, point, again));
      sampler_free(other);
    }
  }
  end(&s);
}

static void test_slope(void **state UNUSED) {
  double x[(ROWS + 2 + FAILED) * WIDTH], repeats[ROWS], slope[WIDTH], other[WIDTH], scratch[WIDTH];
  struct rng rng = rng_for(7, 7, 7);
  struct gp_fails *fails;
  struct err err;
  for (size_t i = 0; i < ARRAY_LEN(x); i++)
    x[i] = rng_f64(&rng);
  for (size_t i = 0; i < ROWS; i++)
    repeats[i] = 1 + (double)(i % 2), x[i * WIDTH] *= 0.6;
  for (size_t i = ROWS + 2; i < ROWS + 2 + FAILED; i++)
    x[i * WIDTH] = 0.5 + 0.5 * x[i * WIDTH];
  struct gp_data data = {
      .features = WIDTH, .rows = ROWS, .pending = 2, .is_choice = (bool[]){false, false, false, false}, .x = x, .repeats = repeats};
  assert_true(gp_fails_new(&data, FAILED, &fails, &err) && gp_fails_fit(fails, GP_PRIOR_MIXED, 2, 40, &err));
  double at[3 * WIDTH] = {0.1, 0.5, 0.5, 0.5, 0.55, 0.2, 0.7, 0.4, 0.95, 0.5, 0.5, 0.5}, scores[3] = {0, 0, 0};
  assert_true(gp_fails_weigh(fails, 3, at, scores, &err));
  assert_true(scores[0] > -1 && scores[1] > -1 && scores[2] < -4);
  for (size_t row = 0; row < 3; row++) {
    double value = gp_fails_slope(fails, at + row * WIDTH, slope, scratch);
    assert_true(fabs(value - scores[row]) < 1e-9);
    for (size_t f = 0; f < WIDTH; f++) {
      double moved[WIDTH], step = 1e-6;
      memcpy(moved, at + row * WIDTH, sizeof moved);
      moved[f] += step;
      double numeric = (gp_fails_slope(fails, moved, other, scratch) - value) / step;
      assert_true(fabs(numeric - slope[f]) < 1e-3 * (1 + fabs(numeric)));
    }
  }
  double none[2] = {NAN, 3};
  assert_true(gp_fails_weigh(fails, 2, at, none, &err) && isnan(none[0]) && none[1] == 3 + scores[1]);
  struct gp_params params = *gp_fails_params(fails);
  assert_true(gp_fails_use(fails, &params, &err));
  gp_fails_free(fails);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_failures_count_as_a_start), cmocka_unit_test(test_chance_is_no_place),
      cmocka_unit_test(test_a_stand_in_is_no_value),    cmocka_unit_test(test_a_region_is_left_alone),
      cmocka_unit_test(test_an_edge_is_reached),        cmocka_unit_test(test_points_do_not_depend_on_what_is_kept),
      cmocka_unit_test(test_a_first_failure_late),      cmocka_unit_test(test_slope),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
