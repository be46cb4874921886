/* The region that a Gaussian process of many features searches. */
#include <math.h>

#include "tests/support/test.h"

#include "base/rng.h"
#include "sampler/dist.h"
#include "sampler/gp_search.h"
#include "sampler/trust.h"

#include "tests/data/sampler/reference.h"
#include "tests/support/spaces.h"

static struct history *make_history(const struct space *space) {
  struct history *history;
  struct err err;
  assert_true(history_new(space, GOAL_MINIMIZE, &history, &err));
  return history;
}

static void add(struct history *history, enum trial_state state, double value) {
  struct err err;
  double point = 0.5;
  struct outcome outcome = {state, value, 3};
  assert_true(history_add_told(history, (uint32_t)history_count(history), &point, &outcome, &err));
}

/* The results of reference.py. */
static void add_result(struct history *history, size_t k) {
  size_t block = k / 100, place = k % 100;
  double value = block % 3 == 0 ? -(double)k : block % 3 == 1 ? 1e3 : -(double)(100 * (block - 2) + 99) * (1 + 3e-4 * (double)place);
  if (k % 19 == 3)
    add(history, TRIAL_GONE, NAN);
  else if (k % 13 == 4)
    add(history, TRIAL_STOPPED, -1e9);
  else if (k % 17 == 8)
    add(history, TRIAL_FAILED, NAN);
  else
    add(history, TRIAL_FINISHED, value);
}

static void test_share_follows_gains_and_failures(void **state UNUSED) {
  struct space *space = make_space("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}}}");
  for (size_t row = 0; row < ARRAY_LEN(ref_trust);) {
    struct history *history = make_history(space);
    unsigned features = ref_trust[row].features;
    double share = 0;
    for (size_t results = 0; results <= 900; results++) {
      if (row < ARRAY_LEN(ref_trust) && ref_trust[row].features == features && ref_trust[row].results == results)
        share = ref_trust[row++].share;
      struct trust trust = trust_of(history, features);
      if (!(trust.share == share && trust.moving == 20.0 / features))
        fail_msg("after %zu results %g instead of %g", results, trust.share, share);
      if (results < 900)
        add_result(history, results);
    }
    history_free(history);
  }
  space_free(space);
}

/* Up to twenty features everything is searched, whatever happened. */
static void test_few_features_need_no_region(void **state UNUSED) {
  struct space *space = make_space("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}}}");
  struct history *history = make_history(space);
  for (size_t k = 0; k < 300; k++)
    add_result(history, k);
  for (size_t features = 1; features <= 20; features++)
    assert_true(trust_of(history, features).share == 0 && trust_of(history, features).moving == 1);
  assert_true(trust_of(history, 21).share > 0);
  history_free(history), space_free(space);
}

/* The first value there is at all is a gain. */
static void test_gains_after_failures_alone(void **state UNUSED) {
  struct space *space = make_space("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}}}");
  struct history *history = make_history(space);
  for (int k = 0; k < 12; k++)
    add(history, TRIAL_FAILED, NAN);
  for (int k = 0; k < 3; k++) {
    assert_true(trust_of(history, 40).share == 0.8);
    add(history, TRIAL_FINISHED, -k);
  }
  assert_true(trust_of(history, 40).share == 1.6);
  history_free(history), space_free(space);
}

enum { NUMBERS = 40, POINTS = 4000 };

/* 40 numbers, a choice, an ordered choice, a constant, and a number that is in use where the choice is "b". */
static struct space *many(void) {
  AUTO_BUF struct buf whole = BUF_INIT(16 * KIB);
  buf_puts(&whole, "{\"parameters\": {");
  for (int i = 0; i < NUMBERS; i++)
    buf_printf(&whole, "\"p%d\": {\"min\": 0.0, \"max\": 1.0}, ", i);
  buf_puts(
      &whole,
      "\"k\": {\"values\": [\"a\", \"b\", \"c\", \"d\"]}, \"o\": {\"values\": [1, 2, 4, 8, 16, 32, 64, 128]}, \"one\": {\"value\": 7}, "
      "\"only\": {\"min\": 0.0, \"max\": 1.0}}, \"conditions\": [{\"if\": {\"k\": \"b\"}, \"then\": [\"only\"]}]}");
  return make_space(buf_text(&whole));
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The largest distance of the values' distribution from an even one on [low, high] with what lies beyond 0 and 1 put there. */
static double distance_from_even(double *values, size_t n, double low, double high) {
  double worst = 0;
  qsort(values, n, sizeof *values, by_value);
  for (size_t i = 0; i < n; i++) {
    if (values[i] <= 0 || values[i] >= 1)
      continue;
    double wanted = (values[i] - low) / (high - low);
    worst = fmax(worst, fmax(fabs((double)i / (double)n - wanted), fabs((double)(i + 1) / (double)n - wanted)));
  }
  return worst;
}

static void test_points_of_a_region(void **state UNUSED) {
  struct space *space = many();
  size_t k = space_find(space, STR("k")), o = space_find(space, STR("o")), only = space_find(space, STR("only"));
  static const double shares[] = {0.1, 0.8, 1.6};
  double center[NUMBERS + 4], point[NUMBERS + 4];
  for (size_t i = 0; i < NUMBERS; i++)
    center[i] = (double)(i % 4) / 4 + 0.05;
  center[k] = 2, center[o] = 3, center[space_find(space, STR("one"))] = 0, center[only] = NAN;
  for (size_t s = 0; s < ARRAY_LEN(shares); s++) {
    struct trust trust = {.share = shares[s], .moving = 0.5};
    struct rng rng = rng_seeded(s);
    static double moved[4][NUMBERS / 4 * POINTS];
    size_t counts[4] = {0}, choices[4] = {0}, all = 0;
    for (size_t n = 0; n < POINTS; n++) {
      trust_point(space, &trust, center, 17, n, &rng, point);
      for (size_t i = 0; i < NUMBERS; i++)
        if (point[i] != center[i])
          moved[i % 4][counts[i % 4]++] = point[i], all++;
      choices[(size_t)point[k]]++;
      assert_true(isnan(point[only]) == (point[k] != 1));
      if (shares[s] == 0.1)
        assert_true(fabs(point[o] - center[o]) <= 1); /* eight alike: a twentieth to each side reaches the next at most */
    }
    assert_true(fabs((double)all / (NUMBERS * POINTS) - 0.5) < 0.01);
    for (size_t c = 0; c < 4; c++) { /* of a choice half stays, the rest goes anywhere */
      assert_true(fabs((double)choices[c] / POINTS - (c == 2 ? 0.625 : 0.125)) < 0.03);
      double at = (double)c / 4 + 0.05;
      assert_true(distance_from_even(moved[c], counts[c], at - shares[s] / 2, at + shares[s] / 2) < 0.02);
    }
  }
  struct trust everything = {.moving = 1};
  struct rng rng = rng_seeded(9);
  static double values[POINTS];
  for (size_t n = 0; n < POINTS; n++) {
    trust_point(space, &everything, center, 17, n, &rng, point);
    values[n] = point[1];
  }
  assert_true(distance_from_even(values, POINTS, 0, 1) < 0.01);
  space_free(space);
}

/* A model that expects the same everywhere, and knows least about what is far away, takes what it is offered furthest out. Of twelve
 * results, and of so many trials under way, all near zero. */
static struct gp_search *search_flat(const struct space *space, uint32_t pending, uint32_t number) {
  static struct gp_params flat = {.signal = 1, .noise = 1};
  size_t features = space_count(space);
  struct history *history = make_history(space);
  struct gp_search *search;
  struct err err;
  double point[40];
  for (size_t f = 0; f < GP_FEATURES_MAX; f++)
    flat.weight[f] = 1e-9;
  for (uint32_t n = 0; n < 12 + pending; n++) {
    for (size_t i = 0; i < features; i++)
      point[i] = i ? 0.05 : 0.05 + 0.001 * n;
    assert_true(n < 12 ? history_add_told(history, n, point, &(struct outcome){TRIAL_FINISHED, n, 0}, &err)
                       : history_add(history, n, point, NULL, &err));
  }
  assert_true(gp_search_new(history, GP_ROWS_NOW, &gp_search_defaults, 1, number, &search, &err));
  gp_search_reuse(search, &flat);
  assert_true(gp_search_run(search, &err) && gp_search_found(search) > 5);
  history_free(history);
  return search;
}

static struct space *make_floats(unsigned count) {
  AUTO_BUF struct buf whole = BUF_INIT(4 * KIB);
  for (unsigned i = 0; i < count; i++)
    buf_printf(&whole, "%s\"p%u\": {\"min\": 0.0, \"max\": 1.0}", i ? ", " : "{\"parameters\": {", i);
  buf_puts(&whole, "}}");
  return make_space(buf_text(&whole));
}

/* What is furthest out has some of the best point's coordinates, where there is a region, and none, where there is not. */
static void test_searches_stay_in_the_region(void **state UNUSED) {
  for (unsigned features = 20; features <= 40; features += 20) {
    struct space *space = make_floats(features);
    struct gp_search *search = search_flat(space, 0, 12);
    for (size_t k = 0; k < gp_search_found(search); k++) {
      unsigned kept = 0;
      for (unsigned i = 0; i < features; i++)
        kept += fabs(gp_search_point(search, k)[i] - 0.05) < 1e-9;
      assert_int_equal(kept > 0, features > 20);
    }
    gp_search_free(search), space_free(space);
  }
}

/* How far out it goes, over twenty trials, every other from `first` on. */
static double distance_gone(uint32_t pending, uint32_t first) {
  struct space *space = make_floats(10);
  double sum = 0;
  for (uint32_t n = first; n < first + 40; n += 2) {
    struct gp_search *search = search_flat(space, pending, n);
    for (size_t i = 0; i < 10; i++)
      sum += gp_search_point(search, 0)[i] / (20 * 10);
    gp_search_free(search);
  }
  space_free(space);
  return sum;
}

/* Beside others that are under way every other suggestion is looked for close to the best results: of fewer points the furthest is less
 * far out. */
static void test_every_other_stays_close(void **state UNUSED) {
  assert_true(fabs(distance_gone(0, 21) - distance_gone(0, 20)) < 0.03);
  assert_true(distance_gone(7, 21) - distance_gone(7, 20) > 0.08);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_share_follows_gains_and_failures), cmocka_unit_test(test_few_features_need_no_region),
      cmocka_unit_test(test_gains_after_failures_alone),       cmocka_unit_test(test_points_of_a_region),
      cmocka_unit_test(test_searches_stay_in_the_region),      cmocka_unit_test(test_every_other_stays_close),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
