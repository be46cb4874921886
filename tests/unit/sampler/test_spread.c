/* Points without a model: chance, quasi-random sequences, grids, shuffles. */
#include <math.h>

#include "tests/support/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "sampler/draw.h"
#include "sampler/lattice.h"
#include "sampler/qmc.h"
#include "tests/support/spaces.h"

static struct history *make_history(const struct space *space) {
  struct history *history;
  struct err err;
  assert_true(history_new(space, GOAL_MINIMIZE, &history, &err));
  return history;
}

/* Every coordinate of the first 2^k points has one in each interval of 2^-k, scrambled or not. */
static void test_sobol_stratifies_every_dimension(void **state) {
  (void)state;
  enum { N = 256 };
  static const unsigned some[] = {0, 1, 2, 7, 20, 63, 64, 65, 200, 511, 900, 1109};
  for (size_t d = 0; d < ARRAY_LEN(some); d++)
    for (int scrambled = 0; scrambled < 2; scrambled++) {
      bool seen[N] = {false};
      for (uint32_t n = 0; n < N; n++) {
        double u = scrambled ? sobol_at(5, n, some[d]) : sobol_bits(n, some[d]) * 0x1p-32;
        assert_true(u >= 0 && u < 1);
        assert_false(seen[(size_t)(u * N)]);
        seen[(size_t)(u * N)] = true;
      }
    }
}

/* Pairs of the first dimensions: the defect t of (t, 8, 2)-nets. Independent random directions would reach 8. */
static void test_sobol_pairs_fill_the_plane(void **state) {
  (void)state;
  enum { M = 8, N = 1 << M };
  unsigned worst = 0, sum = 0, pairs = 0;
  for (unsigned a = 0; a < 40; a++)
    for (unsigned b = 0; b < a; b++) {
      unsigned t = 0;
      for (; t < M; t++) {
        bool net = true;
        for (unsigned k = 0; net && k <= M - t; k++) {
          unsigned counts[N] = {0};
          for (uint32_t n = 0; n < N; n++) {
            uint32_t x = k ? sobol_bits(n, a) >> (32 - k) : 0, y = M - t - k ? sobol_bits(n, b) >> (32 - (M - t - k)) : 0;
            counts[(x << (M - t - k)) | y]++;
          }
          for (unsigned c = 0; net && c < 1u << (M - t); c++)
            net = counts[c] == 1u << t;
        }
        if (net)
          break;
      }
      worst = MAX_OF(worst, t);
      sum += t, pairs++;
    }
  assert_true(worst <= 6);
  assert_true(sum <= 3 * pairs);
}

static void test_sequences_never_touch_the_ends(void **state) {
  (void)state;
  for (unsigned dim = 0; dim < 1200; dim += 13)
    for (uint64_t n = 0; n < 200; n++) {
      double s = sobol_at(1, n, dim), h = halton_at(1, n, dim);
      assert_true(s > 0 && s < 1 && h > 0 && h < 1);
      assert_true(s == sobol_at(1, n, dim) && h == halton_at(1, n, dim));
    }
  assert_true(sobol_at(1, 0, 0) != sobol_at(2, 0, 0));
  assert_true(halton_at(1, 0, 0) != halton_at(2, 0, 0));
}

/* A point lies in the middle of its cell of 2^-32, so that the first, all zeros before it is scrambled, is no end of the range, and the
 * mean over all cells is 1/2 (trap 25). */
static void test_sobol_points_are_middles_of_cells(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 4; seed++)
    for (unsigned dim = 0; dim < QMC_DIMS_MAX; dim += 37)
      for (uint64_t n = 0; n < 64; n++) {
        double cell = ldexp(sobol_at(seed, n, dim), 32);
        assert_true(cell - floor(cell) == 0.5);
      }
}

/* Each dimension is scrambled in a way of its own: over seeds a point's coordinates have nothing to do with one another. */
static void test_dimensions_are_scrambled_apart(void **state) {
  (void)state;
  enum { SEEDS = 400 };
  static const unsigned dims[] = {0, 1, 2, 39, 40, 200, 1108};
  for (int k = 0; k < 2; k++)
    for (size_t a = 0; a < ARRAY_LEN(dims); a++)
      for (size_t b = 0; b < a; b++) {
        double sum = 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++)
          sum += ((k ? halton_at(seed, 0, dims[a]) : sobol_at(seed, 0, dims[a])) - 0.5) *
                 ((k ? halton_at(seed, 0, dims[b]) : sobol_at(seed, 0, dims[b])) - 0.5);
        assert_true(fabs(12 * sum / SEEDS) < 0.25); /* five deviations */
      }
}

/* The integral of prod(1/2 + u) is 1. By chance the error would be 0.02; the sequences come nearer, also in high bases. */
static void test_sequences_integrate(void **state) {
  (void)state;
  enum { N = 4096, D = 12, SEEDS = 12 };
  double squares[2] = {0};
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    double sums[2] = {0};
    for (uint64_t n = 0; n < N; n++) {
      double products[2] = {1, 1};
      for (unsigned d = 0; d < D; d++) {
        products[0] *= 0.5 + sobol_at(seed, n, d + 15);
        products[1] *= 0.5 + halton_at(seed, n, d + 15);
      }
      for (int k = 0; k < 2; k++)
        sums[k] += products[k] / N;
    }
    for (int k = 0; k < 2; k++)
      squares[k] += (sums[k] - 1) * (sums[k] - 1) / SEEDS;
  }
  if (!(sqrt(squares[0]) < 0.008 && sqrt(squares[1]) < 0.015))
    fail_msg("errors %g and %g", sqrt(squares[0]), sqrt(squares[1]));
}

static void test_shuffle_is_a_permutation(void **state) {
  (void)state;
  static const uint64_t sizes[] = {1, 2, 3, 7, 64, 1000, 4097};
  for (size_t s = 0; s < ARRAY_LEN(sizes); s++)
    for (uint64_t seed = 0; seed < 3; seed++) {
      bool seen[5000] = {false};
      size_t in_place = 0;
      for (uint64_t i = 0; i < sizes[s]; i++) {
        uint64_t at = shuffle_place(seed, sizes[s], i);
        assert_true(at < sizes[s] && !seen[at]);
        seen[at] = true;
        in_place += at == i;
      }
      assert_true(sizes[s] < 64 || in_place < 10);
    }
  assert_true(shuffle_place(1, (uint64_t)1 << 62, 12345) < (uint64_t)1 << 62);
}

/* Trial n is the same whatever was asked for before it. */
static void test_random_depends_on_number_alone(void **state) {
  (void)state;
  struct space *space = make_space("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"c\": {\"values\": [\"a\", \"b\"]}}}");
  double forward[100][2], point[2];
  for (uint64_t n = 0; n < 100; n++)
    draw_point(space, 42, n, 0, NULL, forward[n]);
  for (uint64_t n = 100; n-- > 0;) {
    draw_point(space, 42, n, 0, NULL, point);
    assert_true(space_same(space, point, forward[n]));
  }
  struct history *history = make_history(space);
  struct sampler *sampler = make_sampler(history, SAMPLER_RANDOM, 42);
  struct suggestion suggestion;
  struct err err;
  for (uint32_t n = 100; n-- > 0;) {
    assert_true(sampler_suggest(sampler, n, point, &suggestion, &err));
    assert_true(space_same(space, point, forward[n]));
    assert_true(history_add(history, n, point, NULL, &err));
  }
  sampler_free(sampler), history_free(history), space_free(space);
}

/* Asks until nothing is left; returns how many points, all different and allowed. */
static size_t exhaust(const char *whole, enum sampler_type type, uint64_t seed, size_t enqueue) {
  struct space *space = make_space(whole);
  struct history *history = make_history(space);
  struct sampler *sampler = make_sampler(history, type, seed);
  struct suggestion suggestion;
  struct err err;
  double point[SPACE_PARAMS_MAX];
  uint32_t n = 0;
  for (; n < enqueue; n++) { /* points by hand come first and are stepped over */
    do
      draw_allowed(space, 1000, n + rng_mix(n) % 1000, 0, NULL, point);
    while (history_has(history, point));
    assert_true(history_add(history, n, point, NULL, &err));
  }
  for (;; n++) {
    if (!sampler_suggest(sampler, n, point, &suggestion, &err))
      fail_msg("%s", err.text);
    if (suggestion.kind == SUGGESTION_NONE_LEFT)
      break;
    assert_false(history_has(history, point));
    assert_true(space_allows(space, point));
    assert_true(history_add(history, n, point, NULL, &err));
    assert_true(
        history_tell(history, n, &(struct outcome){n % 7 == 3 ? TRIAL_FAILED : TRIAL_FINISHED, (double)(rng_mix(n) % 100), 0}, &err));
    assert_true(n < 5000);
  }
  if (type == SAMPLER_GRID)
    assert_int_equal(sampler_cells(sampler), n); /* said before the start */
  sampler_free(sampler), history_free(history), space_free(space);
  return n;
}

/* No duplicates on finite spaces, and every point is reached, by every method. */
static void test_finite_spaces_are_exhausted(void **state) {
  (void)state;
  static const char *const plain =
      "{\"parameters\": {\"a\": {\"min\": 1, \"max\": 5}, \"b\": {\"values\": [\"x\", \"y\", \"z\"]}, \"c\": {\"min\": 0.0, \"max\": 1.0, \"step\": 0.25}}}";
  static const char *const limited =
      "{\"parameters\": {\"a\": {\"min\": 1, \"max\": 6}, \"b\": {\"min\": 1, \"max\": 6}}, \"constraints\": [\"a * b <= 12\", \"a != b\"]}";
  static const char *const tree =
      "{\"parameters\": {\"m\": {\"values\": [\"p\", \"q\"]}, \"a\": {\"min\": 1, \"max\": 4}, \"b\": {\"min\": 1, \"max\": 3}, \"c\": {\"values\": [1, 2]}},"
      "\"conditions\": [{\"if\": {\"m\": \"p\"}, \"then\": [\"a\"]}, {\"if\": {\"m\": \"q\"}, \"then\": [\"b\"]}, {\"if\": \"b > 1\", \"then\": [\"c\"]}]}";
  static const char *const weighted =
      "{\"parameters\": {\"w\": {\"values\": [1, 2, 3], \"probabilities\": [0.98, 0.01, 0.01]}, \"k\": {\"min\": 0, \"max\": 3}}}";
  for (enum sampler_type type = SAMPLER_AUTO; type < SAMPLER_TYPES; type++) {
    assert_int_equal(exhaust(plain, type, 1, 0), 75);
    assert_int_equal(exhaust(limited, type, 2, 0), 20);
    if (type != SAMPLER_CMAES)
      assert_int_equal(exhaust(tree, type, 3, 0), 4 + 1 + 2 * 2);
    assert_int_equal(exhaust(weighted, type, 4, 0), 12);
  }
  assert_int_equal(exhaust(plain, SAMPLER_RANDOM, 9, 20), 75);
}

/* Random search over finitely many points goes through a shuffle of them, another one for each seed. */
static void test_finite_random_is_shuffled(void **state) {
  (void)state;
  enum { SIZE = 100, SEEDS = 3 };
  struct space *space = make_space("{\"parameters\": {\"a\": {\"min\": 0, \"max\": 9}, \"b\": {\"min\": 0, \"max\": 9}}}");
  double places[SEEDS][SIZE];
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    struct history *history = make_history(space);
    struct sampler *sampler = make_sampler(history, SAMPLER_RANDOM, seed);
    struct suggestion suggestion;
    struct err err;
    double point[2], in_order = 0;
    for (uint32_t n = 0; n < SIZE; n++) {
      assert_true(sampler_suggest(sampler, n, point, &suggestion, &err) && history_add(history, n, point, NULL, &err));
      places[seed][n] = 10 * point[0] + point[1];
      in_order += n && places[seed][n] > places[seed][n - 1];
    }
    assert_true(in_order > 30 && in_order < 70); /* seven deviations */
    for (uint64_t other = 0; other < seed; other++)
      assert_memory_not_equal(places[seed], places[other], sizeof places[seed]);
    sampler_free(sampler), history_free(history);
  }
  space_free(space);
}

/* Each parameter has a dimension of its own, far beyond the forty that GSL has. */
static void test_sobol_has_many_dimensions(void **state) {
  (void)state;
  enum { DIMS = 300 };
  AUTO_BUF struct buf whole = BUF_INIT(64 * KIB);
  for (int i = 0; i < DIMS; i++)
    buf_printf(&whole, "%s\"p%d\": {\"min\": 0.0, \"max\": 1.0}", i ? ", " : "{\"parameters\": {", i);
  buf_puts(&whole, "}}");
  struct space *space = make_space(buf_text(&whole));
  struct history *history = make_history(space);
  for (enum sampler_type type = SAMPLER_SOBOL; type <= SAMPLER_HALTON; type++) {
    struct sampler *sampler = make_sampler(history, type, 3);
    struct suggestion suggestion;
    struct err err;
    double point[DIMS];
    assert_true(sampler_suggest(sampler, 5, point, &suggestion, &err));
    for (size_t a = 0; a < DIMS; a++)
      for (size_t b = 0; b < a; b++)
        assert_true(point[a] != point[b]);
    sampler_free(sampler);
  }
  history_free(history), space_free(space);
}

/* The smallest move reaches the next value, where there is one. */
static void test_moves_reach_the_next_value(void **state) {
  (void)state;
  struct space *space =
      make_space("{\"parameters\": {\"a\": {\"min\": 0, \"max\": 9}, \"b\": {\"min\": 1, \"max\": 1000, \"log\": true}}}");
  for (double value = 1; value < 9; value++)
    for (size_t i = 0; i < 2; i++) {
      assert_true(i == 0 ? draw_beside(space, i, value, 1e-9) == value + 1 : draw_beside(space, i, value, 1e-9) > value);
      assert_true(draw_beside(space, i, value + 1, -1e-9) == value);
    }
  assert_true(draw_beside(space, 0, 0, -1e-9) == 0 && draw_beside(space, 0, 9, 1e-9) == 9);
  space_free(space);
}

static void test_grid_runs_in_declared_order(void **state) {
  (void)state;
  struct space *space = make_space(
      "{\"parameters\": {\"a\": {\"values\": [\"p\", \"q\"]}, \"x\": {\"min\": 1e-4, \"max\": 0.1, \"log\": true, \"count\": 4}, \"n\": {\"min\": 1, \"max\": 9, \"count\": 3}}}");
  struct history *history = make_history(space);
  struct sampler *sampler = make_sampler(history, SAMPLER_GRID, 0);
  static const char *const wanted[] = {"{\"a\":\"p\",\"n\":1,\"x\":0.0001}", "{\"a\":\"p\",\"n\":5,\"x\":0.0001}",
                                       "{\"a\":\"p\",\"n\":9,\"x\":0.0001}", "{\"a\":\"p\",\"n\":1,\"x\":0.001}"};
  struct suggestion suggestion;
  struct err err;
  double point[3];
  assert_int_equal(sampler_cells(sampler), 24);
  for (uint32_t n = 0; n < 4; n++) {
    assert_true(sampler_suggest(sampler, n, point, &suggestion, &err));
    assert_string_equal(point_text(space, point), wanted[n]);
    assert_true(history_add(history, n, point, NULL, &err));
  }
  /* A trial that was killed gives its cell back; one that failed does not. */
  assert_true(history_tell(history, 0, &(struct outcome){TRIAL_FAILED, 0, 0}, &err));
  assert_true(history_tell(history, 2, &(struct outcome){TRIAL_GONE, 0, 0}, &err));
  assert_true(sampler_suggest(sampler, 4, point, &suggestion, &err));
  assert_string_equal(point_text(space, point), wanted[2]);
  sampler_free(sampler), history_free(history), space_free(space);
}

static void test_grid_needs_finite_parameters(void **state) {
  (void)state;
  struct space *space = make_space("{\"parameters\": {\"lr\": {\"min\": 0.0, \"max\": 1.0}}}");
  struct history *history = make_history(space);
  struct sampler_settings settings = {.type = SAMPLER_GRID};
  struct sampler *sampler;
  struct err err;
  assert_false(sampler_new(history, &settings, &sampler, &err));
  assert_string_equal(err.text, "\"parameters.lr\" has no finite number of values");
  assert_true(err.hint[0] != 0);
  history_free(history), space_free(space);
}

static void test_impossible_constraints_end(void **state) {
  (void)state;
  struct space *space = make_space("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}}, \"constraints\": [\"x > 2\"]}");
  struct history *history = make_history(space);
  struct suggestion suggestion;
  struct err err;
  double point;
  for (enum sampler_type type = SAMPLER_AUTO; type < SAMPLER_GRID; type++) {
    struct sampler *sampler = make_sampler(history, type, 1);
    assert_false(sampler_suggest(sampler, 0, &point, &suggestion, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    sampler_free(sampler);
  }
  history_free(history), space_free(space);
}

/* Where chance finds next to nothing, what is known leads on: a few in a hundred thousand points allowed, one free one in a thousand left
 * by conditions, a number that must have one of its ten thousand values. */
static void test_narrow_spaces_go_on(void **state) {
  (void)state;
  AUTO_BUF struct buf deep = BUF_INIT(16 * KIB);
  buf_puts(&deep, "{\"parameters\": {\"k0\": {\"values\": [\"a\", \"b\"]}");
  for (int i = 1; i <= 10; i++)
    buf_printf(&deep, ", \"k%d\": {\"values\": [\"a\", \"b\"]}", i);
  buf_puts(&deep, ", \"leaf\": {\"min\": 0.0, \"max\": 1.0}}, \"conditions\": [{\"if\": {\"k10\": \"a\"}, \"then\": [\"leaf\"]}");
  for (int i = 1; i <= 10; i++)
    buf_printf(&deep, ", {\"if\": {\"k%d\": \"a\"}, \"then\": [\"k%d\"]}", i - 1, i);
  buf_puts(&deep, "]}");
  const char *const spaces[] = {
      buf_text(&deep),
      "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}, \"constraints\": [\"x + y < 0.01\"]}",
      "{\"parameters\": {\"n\": {\"min\": 0, \"max\": 9999}, \"y\": {\"min\": 0.0, \"max\": 1.0}}, \"constraints\": [\"n == 17\"]}"};
  for (size_t i = 0; i < ARRAY_LEN(spaces); i++)
    for (enum sampler_type type = SAMPLER_AUTO; type < SAMPLER_GRID; type++) {
      struct space *space = make_space(spaces[i]);
      struct history *history = make_history(space);
      struct sampler *sampler = make_sampler(history, type, 3);
      struct suggestion suggestion;
      struct err err;
      double point[SPACE_PARAMS_MAX];
      for (uint32_t n = 0; n < 40; n++) {
        if (!sampler_suggest(sampler, n, point, &suggestion, &err))
          fail_msg("%s, space %zu, point %u: %s", sampler_type_name(type), i, (unsigned)n, err.text);
        assert_true(space_allows(space, point) && !history_has(history, point));
        assert_true(history_add_told(history, n, point, &(struct outcome){TRIAL_FINISHED, (double)(rng_mix(n) % 100), 0}, &err));
      }
      sampler_free(sampler), history_free(history), space_free(space);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sobol_stratifies_every_dimension), cmocka_unit_test(test_sobol_pairs_fill_the_plane),
      cmocka_unit_test(test_sequences_never_touch_the_ends),   cmocka_unit_test(test_sobol_points_are_middles_of_cells),
      cmocka_unit_test(test_dimensions_are_scrambled_apart),   cmocka_unit_test(test_sequences_integrate),
      cmocka_unit_test(test_shuffle_is_a_permutation),         cmocka_unit_test(test_random_depends_on_number_alone),
      cmocka_unit_test(test_finite_spaces_are_exhausted),      cmocka_unit_test(test_finite_random_is_shuffled),
      cmocka_unit_test(test_sobol_has_many_dimensions),        cmocka_unit_test(test_moves_reach_the_next_value),
      cmocka_unit_test(test_grid_runs_in_declared_order),      cmocka_unit_test(test_grid_needs_finite_parameters),
      cmocka_unit_test(test_impossible_constraints_end),       cmocka_unit_test(test_narrow_spaces_go_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
