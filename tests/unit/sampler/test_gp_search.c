/* What a Gaussian process proposes: the point of most expected improvement, however few candidates it is looked for from. */
#include <math.h>

#include "tests/support/test.h"

#include "base/mem.h"
#include "sampler/dist.h"
#include "sampler/gp_search.h"

#include "tests/data/sampler/reference.h"
#include "tests/support/spaces.h"

static struct history *make_history(const struct space *space) {
  struct history *history;
  struct err err;
  assert_true(history_new(space, GOAL_MINIMIZE, &history, &err));
  return history;
}

static void add(struct history *history, const double *point, double value) {
  struct err err;
  uint32_t number = (uint32_t)history_count(history);
  if (isnan(value))
    assert_true(history_add(history, number, point, NULL, &err));
  else
    assert_true(history_add_told(history, number, point, &(struct outcome){TRIAL_FINISHED, value, 0}, &err));
}

/* The best point of a search for trial n with these hyperparameters (NULL: its own). */
static void find(const struct history *history, unsigned candidates, uint64_t n, const struct gp_params *params, double *ret_point) {
  struct gp_search_settings settings = {.prior = gp_search_defaults.prior, .candidates = candidates};
  struct gp_search *search;
  struct err err;
  assert_true(gp_search_new(history, GP_ROWS_NOW, &settings, 1, n, &search, &err));
  if (params)
    gp_search_reuse(search, params);
  assert_true(gp_search_run(search, &err) && gp_search_found(search) > 0);
  memcpy(ret_point, gp_search_point(search, 0), space_count(history_space(history)) * sizeof *ret_point);
  gp_search_free(search);
}

/* Trap 2: what has no factor gets more and more on its diagonal, until it has one; what never has one is told. */
static void a_factor_is_found(void **state UNUSED) {
  static struct gp_params params = {.signal = 1, .weight = {1}};
  double x[40], y[40], mean, variance, at = 0.5;
  struct gp *gp;
  struct err err;
  for (int i = 0; i < 40; i++)
    x[i] = 1e-9 * i, y[i] = sin(i);
  struct gp_data data = {.features = 1, .rows = 40, .is_choice = (bool[]){false}, .x = x, .y = y};
  assert_true(gp_new(&data, &gp, &err));
  params.noise = 0;
  assert_true(gp_use(gp, &params, &err));
  assert_true(gp_predict(gp, 1, &at, NULL, NULL, &mean, &variance, &err) && isfinite(mean) && variance > 0 && variance <= 1);
  params.noise = -0.005; /* takes more than the first step */
  assert_true(gp_use(gp, &params, &err));
  params.noise = -0.5;
  assert_false(gp_use(gp, &params, &err));
  assert_int_equal(err.code, ERR_INVALID);
  gp_free(gp);
}

static void finds_the_most_improvement(void **state UNUSED) {
  static const unsigned candidates[] = {32, 256, 2048};
  static struct gp_params params = {.signal = 1.4, .noise = 0.01, .weight = {12}};
  struct space *space = make_space("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}}}");
  for (size_t pending = 0; pending < ARRAY_LEN(ref_search_found); pending++) {
    struct history *history = make_history(space);
    for (size_t i = 0; i < ARRAY_LEN(ref_search_x); i++)
      add(history, &ref_search_x[i], ref_search_y[i]);
    for (size_t i = 0; i < pending; i++)
      add(history, &ref_search_pending[i], NAN);
    for (size_t c = 0; c < ARRAY_LEN(candidates); c++)
      for (uint64_t n = 1; n < 7; n++) {
        double found;
        find(history, candidates[c], n, &params, &found);
        if (fabs(found - ref_search_found[pending]) > 1e-5)
          fail_msg("%zu pending, %u candidates: %.9g instead of %.9g", pending, candidates[c], found, ref_search_found[pending]);
      }
    history_free(history);
  }
  space_free(space);
}

/* Auto hands every fifth number to TPE while a Gaussian process is at work. */
static void every_fifth_is_tpes(void **state UNUSED) {
  struct space *space = make_space("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}}}");
  struct history *history = make_history(space);
  for (uint32_t n = 0; n < 12; n++)
    add(history, &(double){n / 12.0}, fabs(n / 12.0 - 0.4));
  struct sampler *sampler = make_sampler(history, SAMPLER_AUTO, 1);
  for (uint32_t n = 12; n < 32; n++) {
    struct suggestion suggestion;
    struct err err;
    double point;
    assert_true(sampler_suggest(sampler, n, &point, &suggestion, &err));
    assert_int_equal(suggestion.by, n % 5 == 4 ? SAMPLER_TPE : SAMPLER_GP);
  }
  sampler_free(sampler), history_free(history), space_free(space);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_factor_is_found),
      cmocka_unit_test(finds_the_most_improvement),
      cmocka_unit_test(every_fifth_is_tpes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
