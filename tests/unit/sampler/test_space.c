#include <math.h>

#include "tests/support/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "sampler/draw.h"
#include "tests/support/spaces.h"

/* Every form of the grammar in one space. */
static const char *const everything =
    "{\"parameters\": {"
    "\"epochs\": {\"value\": 12}, \"list\": {\"value\": [1, {\"a\": null}]},"
    "\"cat\": {\"values\": [1, 1.0, \"1\", true, null]},"
    "\"weighted\": {\"values\": [\"a\", \"b\", \"never\", \"c\"], \"probabilities\": [0.5, 0.3, 0, 0.2]},"
    "\"batch\": {\"values\": [32, 64, 128]}, \"grade\": {\"distribution\": \"ordinal\", \"values\": [\"low\", \"mid\", \"high\"]},"
    "\"int\": {\"min\": -3, \"max\": 4}, \"float\": {\"min\": 0, \"max\": 1.0}, \"forced\": {\"distribution\": \"uniform\", \"min\": 0, \"max\": 1},"
    "\"text\": {\"min\": \"1e-4\", \"max\": \"1e-1\", \"log\": true},"
    "\"tenths\": {\"min\": 0.0, \"max\": 1.0, \"step\": 0.1}, \"evens\": {\"min\": 2, \"max\": 11, \"step\": 2},"
    "\"q\": {\"distribution\": \"q_uniform\", \"min\": 0.05, \"max\": 1.0, \"q\": 0.1}, \"qint\": {\"distribution\": \"q_uniform\", \"min\": 8, \"max\": 64, \"q\": 4},"
    "\"lu\": {\"distribution\": \"log_uniform\", \"min\": -6, \"max\": -1}, \"luv\": {\"distribution\": \"log_uniform_values\", \"min\": 1e-4, \"max\": 0.1},"
    "\"qlu\": {\"distribution\": \"q_log_uniform\", \"min\": 0, \"max\": 5, \"q\": 2}, \"qluv\": {\"distribution\": \"q_log_uniform_values\", \"min\": 1, \"max\": 300},"
    "\"ilu\": {\"distribution\": \"inv_log_uniform\", \"min\": 1, \"max\": 3}, \"iluv\": {\"distribution\": \"inv_log_uniform_values\", \"min\": 0.5, \"max\": 2.0},"
    "\"width\": {\"min\": 1, \"max\": 512, \"log\": true},"
    "\"n\": {\"distribution\": \"normal\", \"mu\": 5, \"sigma\": 2}, \"nt\": {\"mu\": 0.3, \"sigma\": 0.2, \"min\": 0, \"max\": 1},"
    "\"qn\": {\"distribution\": \"q_normal\", \"mu\": 0, \"sigma\": 3, \"q\": 0.5}, \"ln\": {\"distribution\": \"log_normal\", \"mu\": 0, \"sigma\": 1},"
    "\"qln\": {\"distribution\": \"q_log_normal\", \"mu\": 1, \"sigma\": 0.5, \"q\": 1}, \"b\": {\"distribution\": \"beta\", \"a\": 2, \"b\": 5},"
    "\"qb\": {\"distribution\": \"q_beta\", \"a\": 2, \"b\": 2, \"q\": 0.25},"
    "\"pair\": {\"values\": [{\"lr\": 0.1, \"bs\": 32}, {\"lr\": 0.2, \"bs\": 64}]},"
    "\"opt\": {\"parameters\": {\"name\": {\"values\": [\"sgd\", \"adam\"]}, \"momentum\": {\"min\": 0.0, \"max\": 0.99}, \"beta\": {\"parameters\": {\"one\": {\"min\": 0.8, \"max\": 0.999}}}}},"
    "\"model\": {\"choices\": [{\"value\": \"none\"}, {\"parameters\": {\"depth\": {\"min\": 1, \"max\": 9}, \"kind\": {\"value\": \"tree\"}}}, {\"parameters\": {\"kind\": {\"value\": \"net\"}, \"width\": {\"min\": 1, \"max\": 3}}}]}"
    "}, \"conditions\": [{\"if\": {\"opt.name\": \"sgd\"}, \"then\": [\"opt.momentum\"]}, {\"if\": {\"opt.name\": [\"adam\"]}, \"then\": \"opt.beta\"},"
    "{\"if\": \"int > 2 and pair.bs == 64\", \"then\": [\"tenths\"]}],"
    "\"constraints\": [\"batch * int <= 400\", \"opt.momentum < 0.95\", \"`float` + forced <= 1.8\", \"pair.lr < 1\"]}";

static bool is_multiple(double value, double of) {
  return fabs(value / of - rint(value / of)) < 1e-9;
}

/* What must hold of every point, by names. */
static void check_point(const struct space *space, const double *point) {
  AUTO_JSON json_t *p = space_point_to_json(space, point);
  assert_non_null(p);
  json_t *opt = json_object_get(p, "opt"), *pair = json_object_get(p, "pair"), *model = json_object_get(p, "model");
  bool sgd = strcmp(json_string_value(json_object_get(opt, "name")), "sgd") == 0;
  assert_int_equal(json_integer_value(json_object_get(p, "epochs")), 12);
  assert_true((json_object_get(opt, "momentum") != NULL) == sgd);
  assert_true((json_object_get(opt, "beta") != NULL) == !sgd);
  assert_true(!sgd || json_real_value(json_object_get(opt, "momentum")) < 0.95);
  const json_t *whole = json_object_get(p, "int");
  json_int_t n = json_integer_value(whole);
  assert_true(json_is_integer(whole) && n >= -3 && n <= 4);
  assert_true((json_object_get(p, "tenths") != NULL) == (n > 2 && json_integer_value(json_object_get(pair, "bs")) == 64));
  assert_true(json_integer_value(json_object_get(p, "batch")) * n <= 400);
  assert_true(json_is_real(json_object_get(p, "float")) && json_is_real(json_object_get(p, "forced")));
  assert_string_not_equal(json_string_value(json_object_get(p, "weighted")), "never");
  static const struct {
    const char *name;
    double low, high, of;
    bool whole;
  } rows[] = {{"text", 1e-4, 0.1, 0, false},    {"evens", 2, 10, 2, true},    {"q", 0.1, 1, 0.1, false},  {"qint", 8, 64, 4, true},
              {"lu", 0.00247, 0.368, 0, false}, {"luv", 1e-4, 0.1, 0, false}, {"qlu", 2, 148, 2, true},   {"qluv", 1, 300, 1, true},
              {"ilu", 0.0497, 0.368, 0, false}, {"iluv", 0.5, 2, 0, false},   {"width", 1, 512, 1, true}, {"nt", 0, 1, 0, false},
              {"qn", -25, 25, 0.5, false},      {"ln", 0, 2000, 0, false},    {"qln", 0, 200, 1, true},   {"b", 0, 1, 0, false},
              {"qb", 0, 1, 0.25, false},        {"n", -20, 30, 0, false}};
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    const json_t *value = json_object_get(p, rows[i].name);
    double x = json_number_value(value);
    if (!(json_is_integer(value) == rows[i].whole && x >= rows[i].low && x <= rows[i].high &&
          (rows[i].of == 0 || is_multiple(x, rows[i].of))))
      fail_msg("%s = %.17g", rows[i].name, x);
  }
  if (json_is_object(model)) {
    bool tree = strcmp(json_string_value(json_object_get(model, "kind")), "tree") == 0;
    assert_true((json_object_get(model, "depth") != NULL) == tree && (json_object_get(model, "width") != NULL) == !tree);
  } else {
    assert_string_equal(json_string_value(model), "none");
  }
}

/* Bounds, types, conditions and constraints over many draws; every point survives the way to JSON and back. */
static void test_draws_obey(void **state) {
  (void)state;
  struct space *space = make_space(everything);
  double point[SPACE_PARAMS_MAX], again[SPACE_PARAMS_MAX];
  struct err err;
  for (uint64_t n = 0; n < 100000; n++) {
    assert_true(draw_allowed(space, 7, n, 0, NULL, point));
    assert_true(space_allows(space, point));
    if (n % 10)
      continue;
    check_point(space, point);
    AUTO_JSON json_t *json = space_point_to_json(space, point);
    if (!space_point_from_json(space, json, SPACE_ALL, again, &err))
      fail_msg("%s", err.text);
    assert_true(space_same(space, point, again));
    assert_true(space_hash(space, point) == space_hash(space, again));
    for (size_t i = 0; i < space_count(space); i++) {
      double u = space_u(space, i, point[i]);
      if (!isnan(u) && space_param(space, i)->cells)
        assert_true(space_value(space, i, u) == point[i]); /* the middle of a cell is the cell's */
    }
  }
  space_free(space);
}

/* A million draws where all depends on something else: bounds, steps, types, conditions and constraints, each worked out here once more. */
static void test_million_points(void **state) {
  (void)state;
  enum { KIND, N, LR, TENTHS, DEPTH, Q, COUNT };
  struct space *space = make_space(
      "{\"parameters\": {\"kind\": {\"values\": [\"a\", \"b\", \"c\"]}, \"n\": {\"min\": -3, \"max\": 40}, \"lr\": {\"min\": 1e-5, \"max\": 0.5, \"log\": true},"
      "\"tenths\": {\"min\": 0.0, \"max\": 1.0, \"step\": 0.1}, \"inner\": {\"parameters\": {\"depth\": {\"min\": 1, \"max\": 512, \"log\": true},"
      "\"q\": {\"distribution\": \"q_normal\", \"sigma\": 3, \"q\": 0.5}}}},"
      "\"conditions\": [{\"if\": {\"kind\": \"a\"}, \"then\": [\"tenths\"]}, {\"if\": \"n > 10 and kind != 'c'\", \"then\": [\"inner\"]}],"
      "\"constraints\": [\"n * lr <= 2\", \"inner.depth + inner.q < 300\", \"kind != 'b' or n % 2 == 0\"]}");
  double p[COUNT];
  size_t with_inner = 0;
  assert_int_equal(space_count(space), COUNT);
  for (uint64_t n = 0; n < 1000000; n++) {
    assert_true(draw_allowed(space, 3, n, 0, NULL, p));
    bool inner = p[N] > 10 && p[KIND] != 2;
    bool fine =
        (p[KIND] == 0 || p[KIND] == 1 || p[KIND] == 2) && p[N] >= -3 && p[N] <= 40 && p[N] == rint(p[N]) && p[LR] >= 1e-5 && p[LR] <= 0.5;
    fine = fine && (p[KIND] == 0 ? p[TENTHS] == rint(p[TENTHS] * 10) / 10 && p[TENTHS] >= 0 && p[TENTHS] <= 1 : isnan(p[TENTHS]));
    fine = fine &&
           (inner ? p[DEPTH] >= 1 && p[DEPTH] <= 512 && p[DEPTH] == rint(p[DEPTH]) && p[Q] * 2 == rint(p[Q] * 2) && p[DEPTH] + p[Q] < 300
                  : isnan(p[DEPTH]) && isnan(p[Q]));
    fine = fine && p[N] * p[LR] <= 2 && (p[KIND] != 1 || fmod(p[N], 2) == 0);
    if (!fine)
      fail_msg("point %llu: %g %g %g %g %g %g", (unsigned long long)n, p[0], p[1], p[2], p[3], p[4], p[5]);
    with_inner += inner;
  }
  assert_true(with_inner > 300000 && with_inner < 700000);
  space_free(space);
}

/* A million draws of each number alone: inside, on the grid. */
static void test_million_values(void **state) {
  (void)state;
  struct space *space = make_space(everything);
  struct rng rng = rng_seeded(5);
  for (size_t i = 0; i < space_count(space); i++) {
    const struct param *param = space_param(space, i);
    for (int k = 0; param->kind == PARAM_NUMBER && k < 40000; k++) {
      double value = space_value(space, i, k == 0 ? 0 : k == 1 ? 1 : rng_f64(&rng)), fitted;
      assert_true(isfinite(value) && value >= param->dist.lo && value <= param->dist.hi);
      assert_true(dist_fit(&param->dist, value, &fitted) && fitted == value);
    }
  }
  space_free(space);
}

static void test_readable_values(void **state) {
  (void)state;
  struct space *space = make_space(
      "{\"parameters\": {\"t\": {\"min\": 0.0, \"max\": 1.0, \"step\": 0.1}, \"q\": {\"distribution\": \"q_uniform\", \"min\": 0.0, "
      "\"max\": 3.0, \"q\": 0.7}, \"f\": {\"min\": 0.0, \"max\": 1.0}, \"l\": {\"min\": 1e-7, \"max\": 1.0, \"log\": true}, "
      "\"big\": {\"min\": 1e9, \"max\": 1e12}, \"s\": {\"min\": 1.5, \"max\": 2.0, \"step\": 0.15}}}");
  static const char *const tenths[] = {"0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0"};
  static const char *const sevenths[] = {"0.0", "0.7", "1.4", "2.1", "2.8"}, *const steps[] = {"1.5", "1.65", "1.8", "1.95"};
  char text[32];
  for (unsigned k = 0; k < 11; k++) {
    str_from_f64(space_cell_value(space, 0, k), text);
    assert_string_equal(text, tenths[k]);
  }
  assert_int_equal(space_param(space, 1)->cells, 5);
  for (unsigned k = 0; k < 5; k++) {
    str_from_f64(space_cell_value(space, 1, k), text);
    assert_string_equal(text, sevenths[k]);
  }
  struct space *slack = make_space(
      "{\"parameters\": {\"a\": {\"distribution\": \"q_uniform\", \"min\": 2.1, \"max\": 3.3, \"q\": 0.3}}}"); /* 2.1 / 0.3 > 7 */
  assert_true(space_param(slack, 0)->dist.lo == 2.1 && space_param(slack, 0)->dist.hi == 3.3 && space_param(slack, 0)->cells == 5);
  space_free(slack);
  slack = make_space("{\"parameters\": {\"a\": {\"min\": 0.0, \"max\": 0.3, \"step\": 0.1}}}"); /* 0.3 / 0.1 < 3 */
  assert_true(space_param(slack, 0)->dist.hi == 0.3 && space_param(slack, 0)->cells == 4);
  space_free(slack);
  slack = make_space(
      "{\"parameters\": {\"a\": {\"distribution\": \"log_uniform\", \"min\": -6, \"max\": -1}, \"b\": {\"distribution\": \"inv_log_uniform\", "
      "\"min\": 1, \"max\": 3}, \"c\": {\"min\": -1.0, \"max\": 1.0}}}");
  assert_true(space_param(slack, 0)->dist.lo == exp(-6) && space_param(slack, 0)->dist.hi == exp(-1));
  assert_true(space_param(slack, 1)->dist.lo == exp(-3) && space_param(slack, 1)->dist.hi == exp(-1));
  assert_true(space_hash(slack, (double[]){0.1, 0.2, 0.0}) ==
              space_hash(slack, (double[]){0.1, 0.2, -0.0})); /* as they are the same point */
  space_free(slack);
  assert_int_equal(space_param(space, 5)->cells, 4); /* 2.0 is not on the grid: the bound comes down */
  for (unsigned k = 0; k < 4; k++) {
    str_from_f64(space_cell_value(space, 5, k), text);
    assert_string_equal(text, steps[k]);
  }
  struct rng rng = rng_seeded(1);
  for (int n = 0; n < 20000; n++)
    for (size_t i = 2; i < 5; i++) {
      str_from_f64(space_value(space, i, rng_f64(&rng)), text);
      size_t digits = 0;
      bool leading = true;
      for (const char *c = text; *c && *c != 'e'; c++) {
        leading = leading && (*c == '0' || *c == '.');
        digits += !leading && isdigit((unsigned char)*c);
      }
      assert_true(digits <= 13); /* ten of the range's scale, and a bound may stand before them */
    }
  space_free(space);
}

/* Between bounds that lie close together there are as many values as between others. */
static void test_narrow_ranges_have_many_values(void **state) {
  (void)state;
  static const char *const narrow[] = {
      "{\"min\": 1.0, \"max\": 1.000000001, \"log\": true}",
      "{\"min\": 1000000.0, \"max\": 1000000.0001, \"log\": true}",
      "{\"mu\": 0, \"sigma\": 1000000, \"min\": 0, \"max\": 0.001}",
      "{\"mu\": 0, \"sigma\": 1, \"min\": 1e-9, \"max\": 3e-9}",
      "{\"distribution\": \"log_normal\", \"mu\": 0, \"sigma\": 1, \"min\": 1.0, \"max\": 1.000000001}",
  };
  for (size_t i = 0; i < ARRAY_LEN(narrow); i++) {
    AUTO_BUF struct buf whole = BUF_INIT(KIB);
    buf_printf(&whole, "{\"parameters\": {\"a\": %s}}", narrow[i]);
    struct space *space = make_space(buf_text(&whole));
    const struct dist *dist = &space_param(space, 0)->dist;
    double before = -INFINITY;
    for (int k = 0; k <= 1000; k++) {
      double value = space_value(space, 0, k / 1000.0);
      if (!(value > before && value >= dist->lo && value <= dist->hi))
        fail_msg("row %zu: %.17g after %.17g", i, value, before);
      before = value;
    }
    space_free(space);
  }
}

/* The largest distance of an empirical distribution from the even one, of the values' coordinates. */
static double ks_distance(const struct space *space, size_t param, uint64_t seed, size_t n) {
  double *u = mem_array(n, sizeof *u), distance = 0, point[SPACE_PARAMS_MAX];
  assert_non_null(u);
  size_t *counts = mem_array(n + 1, sizeof *counts);
  assert_non_null(counts);
  for (size_t k = 0; k < n; k++) {
    draw_point(space, seed, k, 0, NULL, point);
    double from, to;
    space_edges(space, param, point[param], &from, &to);
    struct rng rng = rng_for(seed, 99, k);
    u[k] = from + (to - from) * rng_f64(&rng); /* spread over the cell, so that discrete ones are even too */
    counts[(size_t)(u[k] * (double)n)]++;
  }
  size_t below = 0;
  for (size_t k = 0; k < n; k++) {
    below += counts[k];
    distance = fmax(distance, fabs((double)below / (double)n - (double)(k + 1) / (double)n));
  }
  mem_free(u), mem_free(counts);
  return distance;
}

static void test_distributions_by_kolmogorov(void **state) {
  (void)state;
  struct space *space = make_space(everything);
  size_t n = 20000;
  for (size_t i = 0; i < space_count(space); i++)
    if (space_param(space, i)->kind != PARAM_CONSTANT && space_param(space, i)->group == 0) {
      double distance = ks_distance(space, i, 3, n);
      if (distance * sqrt((double)n) > 1.95) /* one in a thousand */
        fail_msg("%s: %g", space_param(space, i)->name, distance);
    }
  space_free(space);
}

static void test_ends_of_integers_are_as_likely(void **state) {
  (void)state;
  struct space *space = make_space("{\"parameters\": {\"i\": {\"min\": 0, \"max\": 3}, \"l\": {\"min\": 1, \"max\": 4, \"log\": true}}}");
  double from, to;
  for (unsigned k = 0; k < 4; k++) {
    space_edges(space, 0, k, &from, &to);
    assert_true(fabs(to - from - 0.25) < 1e-12);
  }
  space_edges(space, 1, 1, &from, &to); /* ln over 0.5 .. 4.5 */
  assert_true(fabs(to - log(1.5 / 0.5) / log(4.5 / 0.5)) < 1e-12);
  space_free(space);
}

/* A range from a number to itself, or a deviation of 0, is that number, on the grid where there is one. */
static void test_one_value(void **state) {
  (void)state;
  static const char *const refused[] = {
      "{\"distribution\": \"q_uniform\", \"min\": 5.5, \"max\": 5.5, \"q\": 1}",
      "{\"distribution\": \"q_uniform\", \"min\": 5, \"max\": 5, \"q\": 2}", "{\"mu\": 3, \"sigma\": 0, \"min\": 4, \"max\": 5}",
      "{\"mu\": 3.4, \"sigma\": 0, \"q\": 1, \"min\": 3.2, \"max\": 3.6}", "{\"distribution\": \"log_normal\", \"mu\": 800, \"sigma\": 0}"};
  static const char *const refused_too[] = {"{\"mu\": 1e300, \"sigma\": 1}",
                                            "{\"distribution\": \"log_normal\", \"mu\": -800, \"sigma\": 1}"};
  struct space *space = make_space(
      "{\"parameters\": {\"a\": {\"min\": 0.3, \"max\": 0.3}, \"b\": {\"min\": 7, \"max\": 7}, \"c\": {\"distribution\": \"q_uniform\", \"min\": 0.3, \"max\": 0.3, "
      "\"q\": 0.1}, \"d\": {\"mu\": 3.3, \"sigma\": 0}, \"e\": {\"mu\": 3.6, \"sigma\": 0, \"q\": 1}, \"f\": {\"distribution\": \"log_normal\", \"mu\": 0, "
      "\"sigma\": 0}, \"g\": {\"mu\": 2.76, \"sigma\": 0, \"q\": 0.1, \"min\": 0, \"max\": 4}, \"h\": {\"distribution\": \"q_normal\", \"min\": 6, \"max\": 6, "
      "\"q\": 3}}}");
  double point[8] = {0};
  for (size_t i = 0; i < 8; i++)
    assert_int_equal(space_param(space, i)->kind, PARAM_CONSTANT);
  assert_string_equal(point_text(space, point), "{\"a\":0.3,\"b\":7,\"c\":0.3,\"d\":3.3,\"e\":4,\"f\":1.0,\"g\":2.8,\"h\":6}");
  space_free(space);
  for (size_t i = 0; i < ARRAY_LEN(refused) + ARRAY_LEN(refused_too); i++) {
    AUTO_BUF struct buf whole = BUF_INIT(KIB);
    buf_printf(&whole, "{\"parameters\": {\"a\": %s}}", i < ARRAY_LEN(refused) ? refused[i] : refused_too[i - ARRAY_LEN(refused)]);
    const char *text = space_error(buf_text(&whole));
    if (!str_starts(str_of(text), STR("\"parameters.a\" is not possible: ")))
      fail_msg("row %zu: %s", i, text);
    assert_true(i < ARRAY_LEN(refused) || strstr(text, "all values would be the same number"));
  }
}

/* No step and no multiple lies beyond a bound, however large it is. */
static void test_bounds_hold_for_large_steps(void **state) {
  (void)state;
  static const struct {
    const char *spec;
    double low, high;
    unsigned cells;
  } rows[] = {
      {"{\"min\": 0, \"max\": 99999999999, \"step\": 10000000000}", 0, 9e10, 10},
      {"{\"min\": 0, \"max\": 9007199254740991, \"step\": 1099511627776}", 0, 9006099743113216, 8192},
      {"{\"min\": -9007199254740991, \"max\": 9007199254740991, \"step\": 1099511627776}", -9007199254740991, 9006099743113217, 16384},
      {"{\"min\": 0.0, \"max\": 99999999999.0, \"step\": 10000000000}", 0, 9e10, 10},
      {"{\"min\": 0.0, \"max\": 0.9999999999, \"step\": 0.1}", 0, 0.9, 10},
      {"{\"distribution\": \"q_uniform\", \"min\": 0, \"max\": 5999999999, \"q\": 3000000000}", 0, 3e9, 2},
      {"{\"distribution\": \"q_uniform\", \"min\": 1e-11, \"max\": 1, \"q\": 0.1}", 0.1, 1, 10},
      /* logarithms of 32 and 256, and of 8 and 64, as people write them */
      {"{\"distribution\": \"q_log_uniform\", \"min\": 3.465735903, \"max\": 5.545177444, \"q\": 32}", 32, 256, 8},
      {"{\"distribution\": \"q_log_uniform\", \"min\": 2.079441542, \"max\": 4.158883083, \"q\": 8}", 8, 64, 8},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_BUF struct buf whole = BUF_INIT(KIB);
    buf_printf(&whole, "{\"parameters\": {\"a\": %s}}", rows[i].spec);
    struct space *space = make_space(buf_text(&whole));
    const struct param *param = space_param(space, 0);
    if (!(param->dist.lo == rows[i].low && param->dist.hi == rows[i].high && param->cells == rows[i].cells))
      fail_msg("row %zu: %.17g to %.17g", i, param->dist.lo, param->dist.hi);
    space_free(space);
  }
  double point[1];
  struct err err;
  struct space *space = make_space("{\"parameters\": {\"a\": {\"min\": 0, \"max\": 30000000, \"step\": 10000000}}}");
  AUTO_JSON json_t *beside = read_json("{\"a\": 10000003}");
  assert_false(space_point_from_json(space, beside, SPACE_ALL, point, &err));
  space_free(space);
}

/* Probabilities are shares of their sum. */
static void test_probabilities_need_no_sum(void **state) {
  (void)state;
  struct space *space = make_space("{\"parameters\": {\"a\": {\"values\": [1, 2, 3, 4], \"probabilities\": [70, 0, 20, 10]}}}");
  static const double edges[] = {0, 0.7, 0.9, 1};
  double from, to;
  assert_int_equal(space_param(space, 0)->cells, 3);
  for (size_t k = 0; k < 3; k++) {
    space_edges(space, 0, (double)k, &from, &to);
    assert_true(fabs(from - edges[k]) < 1e-12 && fabs(to - edges[k + 1]) < 1e-12);
    assert_true(space_value(space, 0, (from + to) / 2) == (double)k);
  }
  assert_string_equal(point_text(space, (double[]){1}), "{\"a\":3}");
  space_free(space);
}

/* Any of the conditions that name a parameter brings it into use; all of one condition's own must hold. */
static void test_several_conditions(void **state) {
  (void)state;
  struct space *space = make_space(
      "{\"parameters\": {\"a\": {\"values\": [\"x\", \"y\", \"z\"]}, \"b\": {\"min\": 1, \"max\": 3}, \"c\": {\"min\": 0.0, \"max\": 1.0}},"
      "\"conditions\": [{\"if\": {\"a\": \"x\"}, \"then\": [\"c\"]}, {\"if\": {\"a\": \"y\", \"b\": [2, 3]}, \"then\": [\"c\"]}]}");
  for (int a = 0; a < 3; a++)
    for (int b = 1; b <= 3; b++) {
      double point[] = {a, b, 0.5};
      space_settle(space, point);
      assert_int_equal(!isnan(point[2]), a == 0 || (a == 1 && b > 1));
    }
  space_free(space);
}

static void test_types_of_choices(void **state) {
  (void)state;
  struct space *space = make_space("{\"parameters\": {\"c\": {\"values\": [1, 1.0, \"1\", true, null, [1], {\"a\": 1}]}}}");
  double point[1];
  struct err err;
  static const char *const texts[] = {"{\"c\": 1}",    "{\"c\": 1.0}", "{\"c\": \"1\"}",     "{\"c\": true}",
                                      "{\"c\": null}", "{\"c\": [1]}", "{\"c\": {\"a\": 1}}"};
  for (size_t k = 0; k < ARRAY_LEN(texts); k++) {
    AUTO_JSON json_t *json = read_json(texts[k]);
    assert_true(space_point_from_json(space, json, SPACE_ALL, point, &err));
    assert_true(point[0] == (double)k);
    AUTO_JSON json_t *back = space_point_to_json(space, point);
    assert_true(json_equal(back, json));
  }
  space_free(space);
}

static void test_errors_say_where(void **state) {
  (void)state;
  static const struct {
    const char *space, *text;
  } rows[] = {
      {"{\"parameters\": {}}", "\"parameters\" must be an object with at least one parameter"},
      {"{\"parameters\": {\"lr\": 3}}", "\"parameters.lr\" must be an object such as {\"min\": 0, \"max\": 1}"},
      {"{\"parameters\": {\"lr\": {\"mim\": 3}}}", "unknown key \"parameters.lr.mim\""},
      {"{\"parameters\": {\"lr\": {\"min\": 3}}}", "\"parameters.lr.max\" is missing"},
      {"{\"parameters\": {\"lr\": {\"min\": \"x\", \"max\": 1}}}", "\"parameters.lr.min\" must be a number"},
      {"{\"parameters\": {\"lr\": {\"min\": 1.0, \"max\": 0.5}}}", "\"parameters.lr\" is not possible: \"min\" must be below \"max\""},
      {"{\"parameters\": {\"lr\": {\"min\": 0, \"max\": 5, \"log\": true}}}",
       "\"parameters.lr\" is not possible: \"min\" must be above 0 on a logarithmic scale"},
      {"{\"parameters\": {\"lr\": {\"distribution\": \"loguniform\", \"min\": 0, \"max\": 5}}}",
       "\"parameters.lr.distribution\" is no distribution: \"loguniform\""},
      {"{\"parameters\": {\"lr\": {\"distribution\": \"normal\", \"values\": [1]}}}",
       "\"parameters.lr.values\" does not go with \"normal\""},
      {"{\"parameters\": {\"a\": {\"parameters\": {\"b c\": {\"value\": 1}}}}}",
       "\"parameters.a.parameters.b c\" is no name for a parameter"},
      {"{\"parameters\": {\"a\": {\"values\": []}}}", "\"parameters.a.values\" must be a list that is not empty"},
      {"{\"parameters\": {\"a\": {\"values\": [1, 2, 1]}}}", "\"parameters.a.values[2]\" is the same as value 0"},
      {"{\"parameters\": {\"a\": {\"values\": [1, 2], \"probabilities\": [1]}}}",
       "\"parameters.a.probabilities\" must be a list as long as \"values\""},
      {"{\"parameters\": {\"a\": {\"values\": [1, 2], \"probabilities\": [1, -1]}}}",
       "\"parameters.a.probabilities[1]\" must be a number of at least 0"},
      {"{\"parameters\": {\"a\": {\"distribution\": \"int_uniform\", \"min\": 0.5, \"max\": 3}}}",
       "\"parameters.a\" must have whole numbers for \"min\" and \"max\""},
      {"{\"parameters\": {\"a\": {\"min\": 0, \"max\": 9007199254740992}}}",
       "\"parameters.a\" is not possible: whole numbers, and how many there are, must be below 2^53"},
      {"{\"parameters\": {\"a\": {\"min\": -9007199254740991, \"max\": 9007199254740991}}}",
       "\"parameters.a\" is not possible: whole numbers, and how many there are, must be below 2^53"},
      {"{\"parameters\": {\"a\": {\"min\": 1, \"max\": 9223372036854775807, \"log\": true}}}",
       "\"parameters.a\" is not possible: whole numbers, and how many there are, must be below 2^53"},
      {"{\"parameters\": {\"a\": {\"min\": 9223372036854775800, \"max\": 9223372036854775807}}}",
       "\"parameters.a\" is not possible: whole numbers, and how many there are, must be below 2^53"},
      {"{\"parameters\": {\"a\": {\"min\": 9007199254740993, \"max\": 9007199254740993}}}",
       "\"parameters.a\" is not possible: whole numbers, and how many there are, must be below 2^53"},
      {"{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1, \"step\": -1}}}", "\"parameters.a.step\" must be above 0"},
      {"{\"parameters\": {\"a\": {\"distribution\": \"q_uniform\", \"min\": 0.2, \"max\": 0.3, \"q\": 0.5}}}",
       "\"parameters.a\" is not possible: no multiple of \"q\" lies between \"min\" and \"max\""},
      {"{\"parameters\": {\"a.b\": {\"value\": 1}, \"a\": {\"parameters\": {\"b\": {\"value\": 1}}}}}",
       "\"parameters.a.parameters.b\" has the same name as another parameter"},
      {"{\"parameters\": {\"a\": {\"value\": 1}}, \"conditions\": [{\"if\": {\"b\": 1}, \"then\": [\"a\"]}]}",
       "\"conditions[0].if\" names no parameter: \"b\""},
      {"{\"parameters\": {\"a\": {\"value\": 1}}, \"conditions\": [{\"if\": {\"a\": 1}, \"then\": [\"b\"]}]}",
       "\"conditions[0].then\" names no parameter: \"b\""},
      {"{\"parameters\": {\"a\": {\"value\": 1}}, \"conditions\": [{\"if\": {\"a\": 2}, \"then\": [\"a\"]}]}",
       "\"conditions[0].if\" asks for a value that \"a\" never has: it must be 1"},
      {"{\"parameters\": {\"a\": {\"min\": 0, \"max\": 3}, \"b\": {\"min\": 0, \"max\": 3}}, \"conditions\": [{\"if\": {\"a\": 1}, \"then\": [\"b\"]}, {\"if\": {\"b\": 1}, \"then\": [\"a\"]}]}",
       "\"conditions\" go round in a circle at \"a\""},
      {"{\"parameters\": {\"a\": {\"value\": 1}}, \"constraints\": [\"a < 2\", \"a < c\"]}",
       "\"constraints[1]\" is no constraint: column 5: there is no parameter \"c\""},
      {"{\"parameters\": {\"a\": {\"value\": 1}}, \"constraints\": \"a\"}", "\"constraints\" must be a list of expressions"},
      {"{\"parameters\": {\"a\": {\"choices\": [{\"val\": 1}]}}}",
       "\"parameters.a.choices[0]\" must be an object with either \"value\" or \"parameters\""},
      {"{\"parameters\": {\"a\": {\"distribution\": \"normal\", \"mu\": 0, \"sigma\": 1, \"min\": 50, \"max\": 60}}}",
       "\"parameters.a\" is not possible: \"min\" and \"max\" lie where this distribution has no probability"},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++)
    assert_string_equal(space_error(rows[i].space), rows[i].text);
}

static void test_reading_points(void **state) {
  (void)state;
  struct space *space = make_space(
      "{\"parameters\": {\"lr\": {\"min\": 0.0, \"max\": 1.0}, \"o\": {\"parameters\": {\"k\": {\"values\": [\"a\", \"b\"]}, \"m\": {\"min\": 1, \"max\": 5}}}},"
      "\"conditions\": [{\"if\": {\"o.k\": \"a\"}, \"then\": [\"o.m\"]}]}");
  double point[3];
  struct err err;
  static const struct {
    const char *params;
    enum space_extent extent;
    const char *want; /* the point, or the error */
  } rows[] = {
      {"{\"lr\": 0.5, \"o\": {\"k\": \"a\", \"m\": 2}}", SPACE_ALL, "{\"lr\":0.5,\"o\":{\"k\":\"a\",\"m\":2}}"},
      {"{\"lr\": 0.5, \"o.k\": \"a\", \"o.m\": 2.0}", SPACE_ALL, "{\"lr\":0.5,\"o\":{\"k\":\"a\",\"m\":2}}"},
      {"{\"lr\": 1, \"o\": {\"k\": \"b\", \"m\": 2}}", SPACE_ALL, "{\"lr\":1.0,\"o\":{\"k\":\"b\"}}"},
      {"{\"lr\": 1, \"o\": {\"k\": \"b\", \"m\": 2}}", SPACE_EXACTLY,
       "\"params.o.m\" is not in use at this point, so it would be left out"},
      {"{\"lr\": 1, \"o\": {\"k\": \"b\"}}", SPACE_EXACTLY, "{\"lr\":1.0,\"o\":{\"k\":\"b\"}}"},
      {"{\"lr\": 0.5, \"o\": {\"k\": \"a\"}}", SPACE_ALL, "\"params.o.m\" is missing"},
      {"{\"lr\": 0.5}", SPACE_SOME, "{\"lr\":0.5}"},
      {"{\"lr\": 1.5, \"o\": {\"k\": \"b\"}}", SPACE_ALL, "\"params.lr\" must be from 0.0 to 1.0"},
      {"{\"lr\": 0.5, \"o\": {\"k\": \"a\", \"m\": 2.5}}", SPACE_ALL, "\"params.o.m\" must be one of the steps from 1.0 to 5.0"},
      {"{\"lr\": 0.5, \"o\": {\"k\": \"a\", \"m\": 2.01}}", SPACE_ALL, "\"params.o.m\" must be one of the steps from 1.0 to 5.0"},
      {"{\"lr\": 0.5, \"x\": 1}", SPACE_ALL, "\"params.x\" is no parameter of this space"},
      {"{\"lr\": 0.5, \"o\": {\"k\": \"c\"}}", SPACE_ALL, "\"params.o.k\" must be one of \"a\", \"b\""},
      {"{\"lr\": null}", SPACE_SOME, "\"params.lr\" must be a number"},
      {"[]", SPACE_SOME, "\"params\" must be an object"},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_JSON json_t *json = read_json(rows[i].params);
    if (space_point_from_json(space, json, rows[i].extent, point, &err))
      assert_string_equal(point_text(space, point), rows[i].want);
    else
      assert_string_equal(err.text, rows[i].want);
  }
  space_free(space);
}

/* An alternative that was tried and is not the one leaves nothing behind. */
static void alternatives_are_read_exactly(void **state) {
  (void)state;
  struct space *space = make_space(
      "{\"parameters\": {\"net\": {\"choices\": [{\"parameters\": {\"a\": {\"min\": 1, \"max\": 5}, \"b\": {\"min\": 1, \"max\": 5}}},"
      "{\"parameters\": {\"a\": {\"min\": 1, \"max\": 9}, \"c\": {\"min\": 1, \"max\": 5}}}]}}}");
  AUTO_JSON json_t *json = read_json("{\"net\": {\"a\": 2, \"c\": 3}}");
  double point[8];
  struct err err;
  assert_true(space_point_from_json(space, json, SPACE_EXACTLY, point, &err));
  assert_string_equal(point_text(space, point), "{\"net\":{\"a\":2,\"c\":3}}");
  space_free(space);
}

/* What one has and another has too is that one's, when it lacks nothing there. */
static void the_alternative_that_lacks_nothing_is_read(void **state) {
  (void)state;
  static const struct {
    const char *params;
    enum space_extent extent;
    double opt, m; /* which alternatives */
  } rows[] = {
      {"{\"opt\": {\"lr\": 0.5, \"momentum\": 0.9}, \"m\": \"none\"}", SPACE_ALL, 0, 2},
      {"{\"opt\": {\"lr\": 0.5}, \"m\": {\"d\": {\"x\": 1}}}", SPACE_ALL, 1, 1},
      {"{\"opt\": {\"lr\": 0.5}, \"m\": {\"d\": {\"x\": 1, \"y\": 2}}}", SPACE_EXACTLY, 1, 0},
      {"{\"opt\": {}, \"m\": {}}", SPACE_SOME, 0, 0},
      {"{\"opt\": {\"momentum\": 0.9}}", SPACE_SOME, 0, NAN},
  };
  struct space *space = make_space(
      "{\"parameters\": {\"opt\": {\"choices\": [{\"parameters\": {\"lr\": {\"min\": 0.0, \"max\": 1.0}, \"momentum\": {\"min\": 0.0, \"max\": 1.0}}},"
      "{\"parameters\": {\"lr\": {\"min\": 0.0, \"max\": 1.0}, \"kind\": {\"value\": \"adam\"}}}]},"
      "\"m\": {\"choices\": [{\"parameters\": {\"d\": {\"parameters\": {\"x\": {\"min\": 1, \"max\": 3}, \"y\": {\"min\": 1, \"max\": 3}}}}},"
      "{\"parameters\": {\"d\": {\"choices\": [{\"parameters\": {\"x\": {\"min\": 1, \"max\": 3}}}]}}}, {\"value\": \"none\"}]}}}");
  size_t opt = space_find(space, STR("opt")), m = space_find(space, STR("m"));
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    double point[SPACE_PARAMS_MAX];
    struct err err;
    AUTO_JSON json_t *json = read_json(rows[i].params);
    if (!space_point_from_json(space, json, rows[i].extent, point, &err))
      fail_msg("row %zu: %s", i, err.text);
    assert_true(point[opt] == rows[i].opt && (point[m] == rows[i].m || (isnan(point[m]) && isnan(rows[i].m))));
  }
  space_free(space);
}

static void the_key_that_was_meant_is_told(void **state) {
  (void)state;
  static const char *const rows[][2] = {{"{\"a\": {\"low\": 0, \"max\": 1}}", "did you mean \"min\"?"},
                                        {"{\"a\": {\"min\": 0, \"maxx\": 1}}", "did you mean \"max\"?"},
                                        {"{\"a\": {\"distrib\": \"uniform\"}}", "did you mean \"distribution\"?"},
                                        {"{\"a\": {\"when\": {\"b\": 1}}}", "conditions: [{if:"}};
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct space *space;
    struct err err;
    AUTO_JSON json_t *parameters = read_json(rows[i][0]);
    assert_false(space_new(parameters, NULL, NULL, &space, &err));
    assert_non_null(strstr(err.hint, rows[i][1]));
  }
}

static void the_nearest_name_is_told(void **state) {
  (void)state;
  struct space *space = make_space("{\"parameters\": {\"rate\": {\"min\": 0.0, \"max\": 1.0},"
                                   "\"net\": {\"parameters\": {\"width\": {\"values\": [1, 2]}, \"depth\": {\"values\": [1, 2]}}}}}");
  static const char *const rows[][2] = {{"{\"net\": {\"depht\": 1}}", "did you mean \"depth\"?"},
                                        {"{\"net.depht\": 1}", "did you mean \"net.depth\"?"},
                                        {"{\"raet\": 1}", "did you mean \"rate\"?"}};
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_JSON json_t *json = read_json(rows[i][0]);
    double point[3];
    struct err err;
    assert_false(space_point_from_json(space, json, SPACE_SOME, point, &err));
    assert_string_equal(err.hint, rows[i][1]);
  }
  space_free(space);
}

/* What is read of them is that of the first; none of its names is one that nobody can give. */
static void the_nearest_name_of_an_alternative_is_told(void **state) {
  (void)state;
  struct space *space =
      make_space("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"o\": {\"choices\": ["
                 "{\"parameters\": {\"rate\": {\"min\": 0.0, \"max\": 1.0}}}, {\"parameters\": {\"depth\": {\"values\": [1, 2]}}}]}}}");
  static const char *const rows[][2] = {{"{\"o\": {\"raet\": 1}}", "did you mean \"rate\"?"},
                                        {"{\"o[1].depht\": 1}", ""},
                                        {"{\"o\": {\"depth\": 1}, \"x\": 7}", ""},
                                        {"{\"o\": {\"rate\": 7}}", ""}};
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_JSON json_t *json = read_json(rows[i][0]);
    double point[8];
    struct err err;
    assert_false(space_point_from_json(space, json, SPACE_SOME, point, &err));
    assert_string_equal(err.hint, rows[i][1]);
  }
  space_free(space);
}

/* Nobody looks for names like those that other alternatives do not have: it took seconds. */
static void the_last_of_many_alternatives_is_soon_read(void **state) {
  (void)state;
  enum { MANY = 990 };
  AUTO_BUF struct buf text = BUF_INIT(MIB), last = BUF_INIT(KIB);
  buf_puts(&text, "{\"parameters\": {\"o\": {\"choices\": [");
  for (int i = 0; i < MANY; i++)
    buf_printf(&text, "%s{\"parameters\": {\"a_name_that_is_as_long_as_the_longest_of_them_%d\": {\"min\": 0.0, \"max\": 1.0}}}",
               i ? "," : "", i);
  buf_puts(&text, "]}}}");
  buf_printf(&last, "{\"o\": {\"a_name_that_is_as_long_as_the_longest_of_them_%d\": 0.5}}", MANY - 1);
  struct space *space = make_space(buf_text(&text));
  AUTO_JSON json_t *json = read_json(buf_text(&last));
  double *point = mem_array(space_count(space), sizeof *point);
  struct err err;
  assert_non_null(point);
  clock_t begun = clock();
  assert_true(space_point_from_json(space, json, SPACE_EXACTLY, point, &err));
  assert_true(clock() - begun < CLOCKS_PER_SEC); /* some milliseconds */
  mem_free(point);
  space_free(space);
}

static void only_some_of_many_choices_are_named(void **state) {
  (void)state;
  AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
  buf_puts(&text, "{\"parameters\": {\"a\": {\"values\": [10000");
  for (int i = 10001; i < 10200; i++)
    buf_printf(&text, ",%d", i);
  buf_puts(&text, "]}}}");
  struct space *space = make_space(buf_text(&text));
  AUTO_JSON json_t *json = read_json("{\"a\": 1}");
  double point[1];
  struct err err;
  assert_false(space_point_from_json(space, json, SPACE_ALL, point, &err));
  assert_non_null(strstr(err.text, "\"params.a\" must be one of 10000, 10001, 10002, "));
  assert_non_null(strstr(err.text, ", …"));
  assert_true(strlen(err.text) < 400);
  space_free(space);
}

static void test_sizes(void **state) {
  (void)state;
  struct space *space =
      make_space("{\"parameters\": {\"a\": {\"min\": 1, \"max\": 10}, \"b\": {\"values\": [1, 2, 3]}, \"c\": {\"value\": 5}}}");
  assert_int_equal(space_size(space), 30);
  assert_true(space_param(space, 1)->ordered);
  space_free(space);
  space = make_space("{\"parameters\": {\"a\": {\"min\": 1, \"max\": 10}, \"b\": {\"min\": 0.0, \"max\": 1.0}}}");
  assert_int_equal(space_size(space), 0);
  space_free(space);
  AUTO_BUF struct buf huge = BUF_INIT(MIB);
  buf_puts(&huge, "{\"parameters\": {\"x\": {\"value\": 1}");
  for (int i = 0; i < 20; i++)
    buf_printf(&huge, ", \"p%d\": {\"min\": 0, \"max\": 1000}", i);
  buf_puts(&huge, "}}");
  space = make_space(buf_text(&huge));
  assert_true(space_size(space) == UINT64_MAX);
  space_free(space);
  space = make_space(
      "{\"parameters\": {\"x\": {\"values\": [3, 1, 2]}, \"y\": {\"min\": 0.0, \"max\": 4.0}, \"z\": {\"min\": 3.5, \"max\": 3.5}}}");
  assert_false(space_param(space, 0)->ordered);
  assert_int_equal(space_param(space, 2)->kind, PARAM_CONSTANT);
  assert_false(space_is_numeric(space));
  space_free(space);
}

static void test_groups(void **state) {
  (void)state;
  struct space *space = make_space(
      "{\"parameters\": {\"m\": {\"values\": [\"a\", \"b\"]}, \"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}, \"z\": {\"min\": 0.0, \"max\": 1.0}},"
      "\"conditions\": [{\"if\": {\"m\": \"a\"}, \"then\": [\"x\", \"y\"]}, {\"if\": {\"m\": \"b\"}, \"then\": [\"z\"]}]}");
  assert_int_equal(space_groups(space), 3);
  assert_int_equal(space_param(space, 0)->group, 0);
  assert_int_equal(space_param(space, 1)->group, space_param(space, 2)->group);
  assert_true(space_param(space, 3)->group != space_param(space, 1)->group);
  space_free(space);
}

static void test_allocation_failures(void **state) {
  (void)state;
  AUTO_JSON json_t *json = read_json(everything);
  for (unsigned long n = 1; n < 400; n++) {
    struct space *space = NULL;
    struct err err;
    mem_fail_at(n, n % 2);
    bool ok = space_new(json_object_get(json, "parameters"), json_object_get(json, "conditions"), json_object_get(json, "constraints"),
                        &space, &err);
    mem_fail_at(0, false);
    if (ok)
      space_free(space);
    else if (err.code != ERR_NO_MEMORY)
      fail_msg("allocation %lu: %s", n, err.text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_draws_obey),
      cmocka_unit_test(test_million_points),
      cmocka_unit_test(test_million_values),
      cmocka_unit_test(test_readable_values),
      cmocka_unit_test(test_narrow_ranges_have_many_values),
      cmocka_unit_test(test_distributions_by_kolmogorov),
      cmocka_unit_test(test_ends_of_integers_are_as_likely),
      cmocka_unit_test(test_one_value),
      cmocka_unit_test(test_bounds_hold_for_large_steps),
      cmocka_unit_test(test_probabilities_need_no_sum),
      cmocka_unit_test(test_several_conditions),
      cmocka_unit_test(test_types_of_choices),
      cmocka_unit_test(test_errors_say_where),
      cmocka_unit_test(test_reading_points),
      cmocka_unit_test(alternatives_are_read_exactly),
      cmocka_unit_test(the_alternative_that_lacks_nothing_is_read),
      cmocka_unit_test(the_key_that_was_meant_is_told),
      cmocka_unit_test(the_nearest_name_is_told),
      cmocka_unit_test(the_nearest_name_of_an_alternative_is_told),
      cmocka_unit_test(the_last_of_many_alternatives_is_soon_read),
      cmocka_unit_test(only_some_of_many_choices_are_named),
      cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_groups),
      cmocka_unit_test(test_allocation_failures),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
