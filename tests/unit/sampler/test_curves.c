/* Trials that were stopped early, in the eyes of a Gaussian process: what they reported on their way, and what becomes of it. */
#include <float.h>
#include <math.h>

#include "tests/support/test.h"

#include "base/mem.h"
#include "sampler/gp_rows.h"
#include "tests/support/spaces.h"

static const char *const line = "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}}}";

/* ---- a curve ---- */

static void check_curve(const struct curve *curve, unsigned count, const double *at, const double *value) {
  assert_int_equal(curve->count, count);
  for (unsigned k = 0; k < count; k++)
    assert_true((double)curve->at[k] == at[k] && (double)curve->value[k] == value[k]);
}

static void test_a_curve_is_coarse(void **state) {
  (void)state;
  struct curve curve = {.count = 0};
  for (int epoch = 1; epoch <= 16; epoch++)
    curve_hear(&curve, epoch, 100 - epoch);
  check_curve(&curve, 10, (double[]){1, 2, 3, 4, 6, 7, 8, 11, 13, 16}, (double[]){99, 98, 97, 96, 94, 93, 92, 89, 87, 84});
  curve_hear(&curve, 17, 0); /* in the cell of 16 */
  assert_int_equal(curve.count, 10);
  curve_hear(&curve, 6, 5); /* an attempt that resumed there */
  check_curve(&curve, 5, (double[]){1, 2, 3, 4, 6}, (double[]){99, 98, 97, 96, 5});
}

static void test_a_curve_is_bounded(void **state) {
  (void)state;
  struct curve curve = {.count = 0};
  for (double step = 1; step < 1e9; step *= 2)
    curve_hear(&curve, step, -step);
  assert_int_equal(curve.count, CURVE_POINTS);
  assert_true(curve.at[CURVE_POINTS - 1] == 0x1p29f && curve.at[0] == 0x1p14f && curve.value[0] == -0x1p14f);
}

static void test_nonsense_is_passed_over(void **state) {
  (void)state;
  struct curve curve = {.count = 0};
  curve_hear(&curve, 0, 1), curve_hear(&curve, -3, 1), curve_hear(&curve, NAN, 1), curve_hear(&curve, INFINITY, 1),
      curve_hear(&curve, 1e300, 1);
  curve_hear(&curve, 2, NAN), curve_hear(&curve, 2, -INFINITY);
  assert_int_equal(curve.count, 0);
  curve_hear(&curve, 2, 1e300);
  assert_true(curve.count == 1 && curve.value[0] == FLT_MAX);
}

/* ---- a history with curves ---- */

struct study {
  struct space *space;
  struct history *history;
  struct curve curves[400];
  uint32_t count;
};

static void begin(struct study *s, enum goal goal) {
  struct err err;
  *s = (struct study){.space = make_space(line)};
  assert_true(history_new(s->space, goal, &s->history, &err));
}

static void end(struct study *s) {
  history_free(s->history), space_free(s->space);
}

/* It reported `at_one` after one epoch and `at_four` after four, where there is one, and ended so. */
static void run(struct study *s, double x, enum trial_state how, double at_one, double at_four, double value) {
  struct err err;
  uint32_t n = s->count++;
  struct curve *curve = &s->curves[n];
  assert_true(history_add(s->history, n, &x, NULL, &err));
  curve_hear(curve, 1, at_one), curve_hear(curve, 4, at_four);
  assert_true(history_add_curve(s->history, n, curve, &err));
  assert_true(history_tell(s->history, n, &(struct outcome){how, value, isnan(at_four) ? 1 : 4}, &err));
}

static void check_row(const struct gp_rows *rows, size_t i, double x, double value, double stage) {
  assert_non_null(rows->stages);
  assert_true(i < rows->count && rows->points[i] == x);
  assert_float_equal(rows->values[i], value, 1e-6);
  assert_float_equal(rows->stages[i], stage, 1e-9);
}

static void test_who_may_have_a_curve(void **state) {
  (void)state;
  struct study s;
  struct err err;
  begin(&s, GOAL_MINIMIZE);
  run(&s, 0.5, TRIAL_FINISHED, 3, 2, 1);
  assert_ptr_equal(history_curve(s.history, 0), &s.curves[0]);
  assert_null(history_curve(s.history, 1));
  assert_false(history_add_curve(s.history, 0, &s.curves[0], &err));
  assert_int_equal(err.code, ERR_WRONG_STATE);
  assert_false(history_add_curve(s.history, 7, &s.curves[7], &err));
  assert_int_equal(err.code, ERR_NOT_FOUND);
  end(&s);
}

/* ---- rows ---- */

static void test_without_stops_there_are_no_stages(void **state) {
  (void)state;
  struct study s;
  struct err err;
  struct gp_rows rows;
  begin(&s, GOAL_MINIMIZE);
  run(&s, 0.25, TRIAL_FINISHED, 9, 5, 1);
  run(&s, 0.5, TRIAL_FAILED, 9, NAN, NAN);
  assert_true(gp_rows_take(s.history, 2, &rows, &err));
  assert_true(rows.count == 2 && !rows.stages && rows.values[0] == 1 && isnan(rows.values[1]));
  gp_rows_release(&rows);
  end(&s);
}

/* From the first epoch to the fourth those that got there gained 4, 2, 2, 2, from there to the end 3 and 1: 2 and 1 are in the middle. */
static void test_a_stopped_value_becomes_what_others_made_of_theirs(void **state) {
  (void)state;
  for (int goal = GOAL_MINIMIZE; goal <= GOAL_MAXIMIZE; goal++) {
    struct study s;
    struct err err;
    struct gp_rows rows;
    double sign = goal == GOAL_MINIMIZE ? 1 : -1;
    begin(&s, (enum goal)goal);
    run(&s, 0.1, TRIAL_FINISHED, sign * 9, sign * 7, sign * 6);
    run(&s, 0.2, TRIAL_FINISHED, sign * 8, sign * 4, sign * 1);
    run(&s, 0.3, TRIAL_STOPPED, sign * 10, NAN, sign * 10);
    run(&s, 0.4, TRIAL_STOPPED, sign * 9, sign * 7, sign * 7);
    run(&s, 0.5, TRIAL_STOPPED, sign * 9, sign * 7, sign * 8); /* it became worse within the cell */
    assert_true(history_add(s.history, 5, &(double){0.6}, NULL, &err));
    assert_true(gp_rows_take(s.history, 5, &rows, &err));
    double four = 6.0 / 7; /* cells 0, 6, and the end at 7 */
    check_row(&rows, 0, 0.1, 6, 1);
    check_row(&rows, 1, 0.2, 1, 1);
    check_row(&rows, 2, 0.3, 10 - 2 - 1, 0);
    check_row(&rows, 3, 0.4, 7 - 1, four);
    check_row(&rows, 4, 0.5, 8 - 1, four);
    /* what they passed, the newest first */
    check_row(&rows, 5, 0.5, 9 - 2 - 1, 0);
    check_row(&rows, 6, 0.4, 9 - 2 - 1, 0);
    check_row(&rows, 7, 0.2, 8 - 2 - 1, 0);
    check_row(&rows, 8, 0.2, 4 - 1, four);
    check_row(&rows, 9, 0.1, 9 - 2 - 1, 0);
    check_row(&rows, 10, 0.1, 7 - 1, four);
    assert_int_equal(rows.count, 11);
    assert_int_equal(rows.pending, 1);
    assert_true(rows.points[11] == 0.6);
    gp_rows_release(&rows);
    end(&s);
  }
}

/* Nothing is known of its course, or it ended without a value: as before, no better than half of the finished ones, or as the worst. */
static void test_stopped_without_a_course(void **state) {
  (void)state;
  struct study s;
  struct err err;
  struct gp_rows rows;
  begin(&s, GOAL_MINIMIZE);
  for (int k = 0; k < 5; k++)
    run(&s, 0.1 * k, TRIAL_FINISHED, 9, 7, k);
  run(&s, 0.7, TRIAL_STOPPED, NAN, NAN, -5);
  run(&s, 0.8, TRIAL_STOPPED, 1, NAN, NAN);
  run(&s, 0.9, TRIAL_STOPPED, 10, NAN, 10);
  assert_true(gp_rows_take(s.history, 8, &rows, &err));
  check_row(&rows, 5, 0.7, 2, 1);
  check_row(&rows, 6, 0.8, 4, 1);
  assert_true(rows.stages[7] == 0);
  gp_rows_release(&rows);
  end(&s);
}

static void test_rows_are_bounded(void **state) {
  (void)state;
  struct study s;
  struct err err;
  struct gp_rows rows;
  begin(&s, GOAL_MINIMIZE);
  for (int k = 0; k < 260; k++)
    run(&s, k / 260.0, k % 2 ? TRIAL_FINISHED : TRIAL_STOPPED, 9, 5, k % 2 ? 1 : 5);
  assert_true(gp_rows_take(s.history, 260, &rows, &err));
  assert_int_equal(rows.count,
                   300); /* of 130 finished ones that passed where others were stopped, the newest 40 show what they had there */
  check_row(&rows, 260, 259 / 260.0, 5 - 4, rows.stages[0]);
  check_row(&rows, 299, 181 / 260.0, 5 - 4, rows.stages[0]);
  gp_rows_release(&rows);
  end(&s);
}

static void test_without_memory(void **state) {
  (void)state;
  struct study s;
  struct err err;
  struct gp_rows rows;
  begin(&s, GOAL_MINIMIZE);
  run(&s, 0.1, TRIAL_FINISHED, 9, 7, 6);
  run(&s, 0.2, TRIAL_STOPPED, 9, NAN, 9);
  unsigned failures = 0;
  for (bool ok = false; !ok; failures += !ok) {
    mem_fail_at(failures + 1, false);
    ok = gp_rows_take(s.history, 2, &rows, &err);
    mem_fail_at(0, false);
    assert_true(ok || (err.code == ERR_NO_MEMORY && !rows.points && !rows.values && !rows.stages));
  }
  assert_true(failures >= 6 && rows.count == 3);
  gp_rows_release(&rows);
  for (double x = 0.3; s.count < 16; x += 0.01)
    run(&s, x, TRIAL_FINISHED, 9, 7, 6);
  assert_true(history_add(s.history, 16, &(double){0.9}, NULL, &err));
  mem_fail_at(1, false); /* the curves' first block holds sixteen */
  assert_false(history_add_curve(s.history, 16, &s.curves[16], &err));
  mem_fail_at(0, false);
  assert_true(err.code == ERR_NO_MEMORY && !history_curve(s.history, 16));
  assert_true(history_tell(s.history, 16, &(struct outcome){TRIAL_FINISHED, 1, 4}, &err));
  end(&s);
}

/* ---- suggestions ---- */

static double ask(struct study *s, struct sampler *sampler) {
  struct suggestion suggestion;
  struct err err;
  double x;
  if (!sampler_suggest(sampler, s->count, &x, &suggestion, &err))
    fail_msg("%s", err.text);
  assert_int_equal(suggestion.by, SAMPLER_GP);
  return x;
}

/* Half of the space was only ever seen early, and its values would be far worse than all that finished, did one not know that everybody
 * gains five from there. */
static void test_a_model_sees_beyond_a_stop(void **state) {
  (void)state;
  struct study s;
  begin(&s, GOAL_MINIMIZE);
  for (int k = 0; k < 24; k++) {
    double x = (k * 7 % 24 + 0.5) / 24, loss = fabs(x - 0.2);
    run(&s, x, x < 0.5 ? TRIAL_STOPPED : TRIAL_FINISHED, loss + 5, x < 0.5 ? NAN : loss + 1, x < 0.5 ? loss + 5 : loss);
  }
  struct sampler *sampler = make_sampler(s.history, SAMPLER_GP, 3), *again = make_sampler(s.history, SAMPLER_GP, 3);
  unsigned near = 0;
  for (int k = 0; k < 8; k++) {
    double x = ask(&s, sampler);
    assert_true(x == ask(&s, again));
    near += fabs(x - 0.2) < 0.1;
    run(&s, x, TRIAL_FINISHED, fabs(x - 0.2) + 5, fabs(x - 0.2) + 1, fabs(x - 0.2));
  }
  assert_true(near >= 6);
  sampler_free(sampler), sampler_free(again);
  end(&s);
}

/* From 128 results on a fit serves some: here one from before the first stop, which knows no stages. */
static void test_a_fit_from_before_the_first_stop(void **state) {
  (void)state;
  struct study s;
  begin(&s, GOAL_MINIMIZE);
  for (int k = 0; k < 129; k++) {
    double x = (k * 50 % 129 + 0.5) / 129, loss = (x - 0.3) * (x - 0.3);
    run(&s, x, k == 128 ? TRIAL_STOPPED : TRIAL_FINISHED, loss + 5, k == 128 ? NAN : loss + 1, k == 128 ? loss + 5 : loss);
  }
  struct sampler *sampler = make_sampler(s.history, SAMPLER_GP, 3);
  double first = ask(&s, sampler), second = ask(&s, sampler); /* the second reuses what the first learned */
  assert_true(first == second);
  assert_true(fabs(first - 0.3) < 0.1);
  sampler_free(sampler);
  end(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_curve_is_coarse),
      cmocka_unit_test(test_a_curve_is_bounded),
      cmocka_unit_test(test_nonsense_is_passed_over),
      cmocka_unit_test(test_who_may_have_a_curve),
      cmocka_unit_test(test_without_stops_there_are_no_stages),
      cmocka_unit_test(test_a_stopped_value_becomes_what_others_made_of_theirs),
      cmocka_unit_test(test_stopped_without_a_course),
      cmocka_unit_test(test_rows_are_bounded),
      cmocka_unit_test(test_without_memory),
      cmocka_unit_test(test_a_model_sees_beyond_a_stop),
      cmocka_unit_test(test_a_fit_from_before_the_first_stop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
