/* Running trials that count as a value: which, and that a model takes it for their result. */
#include <math.h>

#include "tests/support/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "sampler/gp_rows.h"
#include "sampler/tpe.h"
#include "tests/support/spaces.h"

enum { MOST = 5 };
static const char *const line = "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}}}";
static const char *const mixed =
    "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"n\": {\"min\": 1, \"max\": 90}, \"kind\": {\"values\": [\"a\", \"b\", \"c\"]},"
    "\"y\": {\"min\": 1e-3, \"max\": 1.0, \"log\": true}}, \"conditions\": [{\"if\": {\"kind\": \"a\"}, \"then\": [\"y\"]}]}";

static struct history *make_history(const struct space *space, enum goal goal, enum supposed supposed) {
  struct history *history;
  struct err err;
  assert_true(history_new(space, goal, &history, &err));
  history_suppose(history, supposed);
  return history;
}

static void add(struct history *history, uint32_t n, const double *point) {
  struct err err;
  assert_true(history_add(history, n, point, NULL, &err));
}

static void tell(struct history *history, uint32_t n, enum trial_state state, double value) {
  struct err err;
  assert_true(history_tell(history, n, &(struct outcome){state, value, 3}, &err));
}

/* ---- which value ---- */

/* 0 to 2 finished, 3 was stopped, 4 failed; 5 and 6 run, and 5 has reported. */
static struct history *make_known(const struct space *space, enum supposed supposed) {
  struct history *history = make_history(space, GOAL_MAXIMIZE, supposed);
  for (uint32_t n = 0; n < 7; n++)
    add(history, n, &(double){n / 8.0});
  static const double values[] = {2, 9, 4};
  for (uint32_t n = 0; n < 3; n++)
    tell(history, n, TRIAL_FINISHED, values[n]);
  tell(history, 3, TRIAL_STOPPED, 1);
  tell(history, 4, TRIAL_FAILED, 0);
  history_hear(history, 5, 3);
  history_hear(history, 0, 100);
  history_hear(history, 77, 100);
  return history;
}

static void assert_same(double got, double wanted) {
  assert_true(got == wanted || (isnan(got) && isnan(wanted)));
}

static void which_value(void **state) {
  (void)state;
  struct space *space = make_space(line);
  static const double of_reporting[] = {NAN, -2, -9, -3}, of_silent[] = {NAN, -2, -9, NAN};
  for (int how = SUPPOSE_NOTHING; how <= SUPPOSE_LATEST; how++) {
    struct history *history = make_known(space, (enum supposed)how);
    assert_same(history_supposed(history, 5), of_reporting[how]);
    assert_same(history_supposed(history, 6), of_silent[how]);
    for (size_t i = 0; i < 5; i++)
      assert_true(isnan(history_supposed(history, i)));
    assert_true(isnan(history_value(history, 5)) && history_value(history, 0) == -2);
    history_free(history);
  }
  space_free(space);
}

static void it_goes_with_the_result(void **state) {
  (void)state;
  struct space *space = make_space(line);
  struct history *history = make_known(space, SUPPOSE_LATEST);
  history_hear(history, 5, 7);
  assert_true(history_supposed(history, 5) == -7);
  history_hear(history, 5, NAN); /* another attempt, which has not reported */
  assert_true(isnan(history_supposed(history, 5)));
  history_hear(history, 5, INFINITY);
  assert_true(isnan(history_supposed(history, 5)));
  history_hear(history, 5, 7);
  history_hear(history, 6, 8);
  tell(history, 5, TRIAL_FAILED, 7);
  tell(history, 6, TRIAL_FINISHED, NAN);
  for (size_t i = 5; i < 7; i++)
    assert_true(isnan(history_value(history, i)) && isnan(history_supposed(history, i)));
  history_free(history), space_free(space);
}

static void nothing_has_ended_yet(void **state) {
  (void)state;
  struct space *space = make_space(line);
  for (int how = SUPPOSE_WORST; how <= SUPPOSE_LATEST; how++) {
    struct history *history = make_history(space, GOAL_MINIMIZE, (enum supposed)how);
    add(history, 0, &(double){0.5});
    assert_true(isnan(history_supposed(history, 0)));
    history_free(history);
  }
  space_free(space);
}

/* ---- rows of a Gaussian process ---- */

static void rows_of_those_that_count(void **state) {
  (void)state;
  struct space *space = make_space(line);
  static const struct {
    enum supposed how;
    size_t rows;
    double value; /* of trial 5 */
  } cases[] = {{SUPPOSE_NOTHING, 5, 0}, {SUPPOSE_WORST, 7, -2}, {SUPPOSE_BEST, 7, -9}, {SUPPOSE_LATEST, 6, -3}};
  for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
    struct history *history = make_known(space, cases[c].how);
    struct gp_rows rows;
    struct err err;
    assert_true(gp_rows_take(history, GP_ROWS_NOW, &rows, &err));
    assert_int_equal(rows.count, cases[c].rows);
    assert_int_equal(rows.pending, 7 - cases[c].rows);
    for (size_t i = 0; i < 7; i++)
      assert_true(rows.points[i] == (double)i / 8);
    if (rows.count > 5)
      assert_true(rows.values[5] == cases[c].value);
    gp_rows_release(&rows);
    assert_true(gp_rows_take(history, history_tells(history), &rows, &err)); /* results alone */
    assert_true(rows.count == 5 && rows.pending == 2);
    gp_rows_release(&rows);
    history_free(history);
  }
  space_free(space);
}

/* Where stages are told apart, it is a value of the end. */
static void rows_with_stages(void **state) {
  (void)state;
  struct space *space = make_space(line);
  struct history *history = make_history(space, GOAL_MINIMIZE, SUPPOSE_LATEST);
  struct curve curves[3] = {{.count = 0}};
  struct gp_rows rows;
  struct err err;
  for (uint32_t n = 0; n < 3; n++) {
    add(history, n, &(double){n / 8.0});
    curve_hear(&curves[n], 1, 5 + n);
    assert_true(history_add_curve(history, n, &curves[n], &err));
  }
  tell(history, 0, TRIAL_FINISHED, 2);
  tell(history, 1, TRIAL_STOPPED, 6);
  history_hear(history, 2, 7);
  assert_true(gp_rows_take(history, GP_ROWS_NOW, &rows, &err));
  assert_non_null(rows.stages);
  size_t last = rows.count - 1;
  assert_true(rows.points[last] == 0.25 && rows.values[last] == 7 && rows.stages[last] == 1 && !rows.pending);
  gp_rows_release(&rows);
  history_free(history), space_free(space);
}

/* ---- what a model makes of it ---- */

static void draw(const struct space *space, struct rng *rng, double *point) {
  for (size_t i = 0; i < space_count(space); i++)
    point[i] = space_value(space, i, rng_f64(rng));
  space_settle(space, point);
}

/* With running trials that count as a value TPE is where it is with these results, as far as they change nothing about how many are good;
 * and once they have other results, it is where it is when it never saw the values. */
static void tpe_takes_it_for_a_result(void **state) {
  (void)state;
  struct space *space = make_space(mixed);
  for (int how = SUPPOSE_WORST; how <= SUPPOSE_LATEST; how++) {
    struct tpe_settings settings = tpe_defaults;
    settings.good_max = how == SUPPOSE_LATEST ? 1 : 25;
    struct history *histories[2] = {make_history(space, GOAL_MINIMIZE, (enum supposed)how),
                                    make_history(space, GOAL_MINIMIZE, SUPPOSE_NOTHING)};
    struct tpe *tpes[2], *fresh;
    struct rng rng = rng_seeded(7);
    struct err err;
    double point[MOST], other[MOST], running[40][MOST];
    for (int side = 0; side < 2; side++)
      assert_true(tpe_new(histories[side], &settings, &tpes[side], &err));
    for (uint32_t n = 0; n < 30; n++) {
      draw(space, &rng, point);
      double value = rng_f64(&rng);
      for (int side = 0; side < 2; side++) {
        add(histories[side], n, point);
        tell(histories[side], n, n % 7 ? TRIAL_FINISHED : TRIAL_STOPPED, value);
      }
    }
    for (uint32_t n = 30; n < 70; n++) {
      draw(space, &rng, running[n - 30]);
      add(histories[0], n, running[n - 30]);
      history_hear(histories[0], n, 1.2 * rng_f64(&rng) - 0.1); /* some are the best of all */
      if (n % 8 == 0)
        assert_true(tpe_suggest(tpes[0], 1, n, point, &err));
    }
    for (uint32_t n = 30; n < 70; n++)
      add(histories[1], n, running[n - 30]);
    for (uint32_t n = 30; n < 70; n++)
      tell(histories[1], n, TRIAL_FINISHED, history_supposed(histories[0], n));
    for (uint64_t n = 100; n < 120; n++) {
      assert_true(tpe_suggest(tpes[0], 1, n, point, &err) && tpe_suggest(tpes[1], 1, n, other, &err));
      assert_true(space_same(space, point, other));
    }
    for (uint32_t n = 30; n < 70; n++)
      tell(histories[0], n, TRIAL_FINISHED, rng_f64(&rng));
    assert_true(tpe_new(histories[0], &settings, &fresh, &err));
    for (uint64_t n = 120; n < 140; n++) {
      assert_true(tpe_suggest(tpes[0], 1, n, point, &err) && tpe_suggest(fresh, 1, n, other, &err));
      assert_true(space_same(space, point, other));
    }
    for (int side = 0; side < 2; side++)
      tpe_free(tpes[side]), history_free(histories[side]);
    tpe_free(fresh);
  }
  space_free(space);
}

/* However many run, and whatever they reported: as many are good as of those that finished. */
static void latest_makes_no_more_good_ones(void **state) {
  (void)state;
  struct space *space = make_space(mixed);
  struct history *histories[2] = {make_history(space, GOAL_MINIMIZE, SUPPOSE_LATEST), make_history(space, GOAL_MINIMIZE, SUPPOSE_NOTHING)};
  struct rng rng = rng_seeded(8);
  struct tpe *tpes[2];
  struct err err;
  double point[MOST], other[MOST];
  for (int side = 0; side < 2; side++)
    assert_true(tpe_new(histories[side], &tpe_defaults, &tpes[side], &err));
  for (uint32_t n = 0; n < 60; n++) {
    draw(space, &rng, point);
    double value = rng_f64(&rng);
    for (int side = 0; side < 2; side++) {
      add(histories[side], n, point);
      if (n < 20)
        tell(histories[side], n, TRIAL_FINISHED, value);
      else
        history_hear(histories[side], n, 2 + value); /* worse than all that finished */
    }
  }
  for (uint64_t n = 100; n < 120; n++) {
    assert_true(tpe_suggest(tpes[0], 1, n, point, &err) && tpe_suggest(tpes[1], 1, n, other, &err));
    assert_true(space_same(space, point, other));
  }
  for (int side = 0; side < 2; side++)
    tpe_free(tpes[side]), history_free(histories[side]);
  space_free(space);
}

/* A Gaussian process sees it as well, but a fit that is kept for others comes from results alone. */
static void gp_sees_it_but_does_not_keep_it(void **state) {
  (void)state;
  struct space *space = make_space(line);
  double points[4] = {0};
  for (int how = SUPPOSE_NOTHING; how <= SUPPOSE_LATEST; how++) {
    struct history *history = make_history(space, GOAL_MINIMIZE, (enum supposed)how);
    struct sampler *sampler = make_sampler(history, SAMPLER_GP, 3), *fresh;
    struct suggestion suggestion;
    struct err err;
    double point;
    for (uint32_t n = 0; n < 24; n++) {
      double x = n / 24.0 + 0.01;
      add(history, n, &x);
      if (n < 20)
        tell(history, n, TRIAL_FINISHED, (x - 0.3) * (x - 0.3));
    }
    assert_int_equal(sampler_sees_beyond(sampler, 24), how == SUPPOSE_NOTHING || how == SUPPOSE_LATEST);
    assert_true(sampler_suggest(sampler, 24, &point, &suggestion, &err));
    history_hear(history, 23, -5); /* which only `latest` looks at */
    assert_true(sampler_suggest(sampler, 24, &points[how], &suggestion, &err));
    assert_int_equal(suggestion.by, SAMPLER_GP);
    assert_int_equal(points[how] != point, how == SUPPOSE_LATEST);
    fresh = make_sampler(history, SAMPLER_GP, 3);
    assert_true(sampler_suggest(fresh, 24, &point, &suggestion, &err));
    assert_true(points[how] == point);
    sampler_free(sampler), sampler_free(fresh), history_free(history);
  }
  for (int how = SUPPOSE_WORST; how <= SUPPOSE_LATEST; how++)
    assert_true(points[how] != points[SUPPOSE_NOTHING]);
  assert_true(fabs(points[SUPPOSE_LATEST] - (23 / 24.0 + 0.01)) < 0.05); /* where by far the best is said to be */
  space_free(space);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(which_value),
      cmocka_unit_test(it_goes_with_the_result),
      cmocka_unit_test(nothing_has_ended_yet),
      cmocka_unit_test(rows_of_those_that_count),
      cmocka_unit_test(rows_with_stages),
      cmocka_unit_test(tpe_takes_it_for_a_result),
      cmocka_unit_test(latest_makes_no_more_good_ones),
      cmocka_unit_test(gp_sees_it_but_does_not_keep_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
