/* Every formula against values that SciPy and mpmath computed from its definition (tests/data/sampler/reference.py). */
#include <math.h>

#include "tests/support/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "sampler/cmaes.h"
#include "sampler/dist.h"
#include "sampler/gp.h"
#include "sampler/gp_kernel.h"
#include "sampler/importance.h"
#include "sampler/minimize.h"
#include "sampler/normal.h"
#include "sampler/parzen.h"
#include "sampler/parzen_kernel.h"
#include "sampler/warp.h"

#include "tests/data/sampler/reference.h"
#include "tests/support/spaces.h"

static void near(const char *what, double got, double want, double tolerance) {
  if (!(fabs(got - want) <= tolerance * fmax(1, fabs(want))))
    fail_msg("%s: %.17g instead of %.17g", what, got, want);
}

static void test_distributions(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(ref_distributions); i++) {
    struct dist_spec spec = {.shape = ref_distributions[i].shape, .min = ref_distributions[i].min, .max = ref_distributions[i].max};
    spec.mu = spec.alpha = ref_distributions[i].p;
    spec.sigma = spec.beta = ref_distributions[i].q;
    struct dist dist;
    struct err err;
    assert_true(dist_init(&spec, &dist, &err));
    double value = dist_value(&dist, ref_distributions[i].u);
    near("value", value, ref_distributions[i].value, 1e-8);
    near("u", dist_u(&dist, ref_distributions[i].value), ref_distributions[i].u, 1e-8);
  }
}

static void test_cells(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(ref_cells); i++) {
    struct dist_spec spec = {.shape = ref_cells[i].shape,
                             .min = ref_cells[i].min,
                             .max = ref_cells[i].max,
                             .step = ref_cells[i].step,
                             .quantum = ref_cells[i].quantum};
    spec.mu = spec.alpha = ref_cells[i].p;
    spec.sigma = spec.beta = ref_cells[i].q;
    struct dist dist;
    struct err err;
    double from, to;
    assert_true(dist_init(&spec, &dist, &err));
    uint64_t cell = dist_cell_of(&dist, ref_cells[i].value);
    near("value", dist_cell_value(&dist, cell), ref_cells[i].value, 1e-15);
    dist_cell_edges(&dist, cell, &from, &to);
    bool open_below = ref_cells[i].from == 0 && cell > 0; /* the table begins further in than the tail does */
    near("from", open_below ? 0 : from, ref_cells[i].from, 1e-9);
    near("to", to, ref_cells[i].to, 1e-9);
    near("u", dist_u(&dist, ref_cells[i].value), (from + to) / 2, 1e-15);
    for (double u = from + 1e-6; u < to - 1e-6; u += (to - from) / 7)
      assert_true(dist_value(&dist, u) == dist_cell_value(&dist, cell));
  }
}

/* Trap 1: what the library cannot invert ends nothing. Trap 23: the last bits of u, which differ between libraries, do not reach the value.
 */
static void test_distributions_at_the_edge(void **state) {
  (void)state;
  static const double shapes[][2] = {{1e-3, 1e-3}, {1e-6, 5}, {1e6, 1e6}, {0.01, 900}, {1, 1}};
  struct dist dist;
  struct err err;
  for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
    struct dist_spec spec = {.shape = DIST_BETA, .max = 1, .alpha = shapes[i][0], .beta = shapes[i][1]};
    assert_true(dist_init(&spec, &dist, &err));
    double last = 0;
    for (int k = 0; k <= 50; k++) {
      double value = dist_value(&dist, k / 50.0);
      assert_true(value >= last - 1e-9 && value <= 1);
      last = value;
    }
  }
  for (size_t i = 0; i < ARRAY_LEN(ref_distributions); i++) {
    struct dist_spec spec = {.shape = ref_distributions[i].shape, .min = ref_distributions[i].min, .max = ref_distributions[i].max};
    spec.mu = spec.alpha = ref_distributions[i].p;
    spec.sigma = spec.beta = ref_distributions[i].q;
    assert_true(dist_init(&spec, &dist, &err));
    double u = ref_distributions[i].u;
    assert_true(dist_value(&dist, u) == dist_value(&dist, nextafter(nextafter(u, 2), 2)));
    assert_true(isfinite(dist_value(&dist, 0)) && isfinite(dist_value(&dist, 1)) && isfinite(dist_value(&dist, NAN)));
  }
}

static struct dist whole_numbers(double min, double max) {
  struct dist dist;
  struct err err;
  if (!dist_init(&(struct dist_spec){.shape = DIST_UNIFORM, .min = min, .max = max, .step = 1, .integer = true}, &dist, &err))
    fail_msg("%s", err.text);
  return dist;
}

/* How evenly the values' last four bits are spread: chi squared, 15 on average. */
static double unevenness_at_the_end(const struct dist *dist, double step_of_u) {
  enum { DRAWS = 1 << 16, ENDS = 16 };
  size_t counts[ENDS] = {0};
  struct rng rng = rng_seeded(5);
  double sum = 0;
  for (int i = 0; i < DRAWS; i++) {
    double u = floor(rng_f64(&rng) / step_of_u) * step_of_u + step_of_u / 2, value = dist_value(dist, u), again;
    assert_true(value >= dist->lo && value <= dist->hi && value == floor(value));
    assert_true(dist_cell_value(dist, dist_cell_of(dist, value)) == value && dist_fit(dist, value, &again) && again == value);
    counts[(uint64_t)(value - dist->lo) % ENDS]++;
  }
  for (int k = 0; k < ENDS; k++)
    sum += ((double)counts[k] - DRAWS / ENDS) * ((double)counts[k] - DRAWS / ENDS) / (DRAWS / ENDS);
  return sum;
}

/* More values than u has bits for: all ends are as likely, also of a sequence of few bits, and what is larger comes of what is larger. */
static void test_very_many_whole_numbers(void **state UNUSED) {
  static const double ranges[][2] = {{0, 0x1p41}, {0, 3e13 + 7}, {-0x1p50, 0x1p50 - 3}, {0, 0x1p52 - 1}, {1, 0x1p53 - 3}, {0, 0x1p53 - 1}};
  static const double steps_of_u[] = {0x1p-53, 0x1p-40, 0x1p-32};
  for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
    struct dist dist = whole_numbers(ranges[i][0], ranges[i][1]);
    for (size_t k = 0; k < ARRAY_LEN(steps_of_u); k++) {
      double unevenness = unevenness_at_the_end(&dist, steps_of_u[k]);
      if (unevenness > 45)
        fail_msg("of %.17g to %.17g by %g: %g", dist.lo, dist.hi, steps_of_u[k], unevenness);
    }
    assert_true(dist_value(&dist, 0) == dist.lo && dist_value(&dist, 1) == dist.hi);
    double last = dist.lo;
    for (double u = 0; u < 1; u += 0x1.8p-12) {
      double value = dist_value(&dist, u), off = fabs((value - dist.lo) / (dist.hi - dist.lo) - u);
      assert_true(value >= last && off < 0x1p-31);
      last = value;
    }
  }
}

/* Up to as many values as u has places they are what they always were. */
static void test_no_more_than_many_whole_numbers(void **state UNUSED) {
  struct dist dist = whole_numbers(0, 0x1p40 - 1), odd = whole_numbers(-77, 0x1p40 - 79);
  struct rng rng = rng_seeded(6);
  assert_true(dist.cells == (uint64_t)1 << 40);
  for (int i = 0; i < 10000; i++) {
    double u = rng_f64(&rng), rounded = rint(u * 0x1p40) * 0x1p-40;
    assert_true(dist_value(&dist, u) == fmin(floor(rounded * 0x1p40), 0x1p40 - 1));
    double at = floor(odd.from + rounded * (odd.to - odd.from) + 77 + 0.5);
    assert_true(dist_value(&odd, u) == fmin(at, (double)odd.cells - 1) - 77);
  }
}

static void test_log_mass(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(ref_log_mass); i++)
    near("log mass", normal_log_mass(ref_log_mass[i].a, ref_log_mass[i].b), ref_log_mass[i].log_mass, 1e-7);
  assert_true(normal_log_mass(2, 2) == -INFINITY);
  assert_true(normal_log_mass(3, 2) == -INFINITY);
  assert_true(normal_log_mass(-INFINITY, INFINITY) == 0);
  assert_true(isnan(normal_log_mass(NAN, 1)));
}

static void test_truncated_normal_stays_inside(void **state) {
  (void)state;
  static const double ranges[][2] = {{-1, 2}, {5, 6}, {30, 31}, {-41, -40}, {-1e3, 1e3}, {0, 1e-9}};
  for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
    double last = ranges[i][0];
    for (int k = 0; k <= 100; k++) {
      double x = normal_truncated(ranges[i][0], ranges[i][1], k / 100.0);
      assert_true(x >= last && x <= ranges[i][1]);
      last = x;
    }
  }
}

static void test_log_ei(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(ref_log_ei); i++) {
    double slope;
    near("log EI", normal_log_ei(ref_log_ei[i].z, &slope), ref_log_ei[i].log_ei, 1e-9);
    near("its slope", slope, ref_log_ei[i].slope, 1e-6);
  }
  for (size_t i = 0; i < ARRAY_LEN(ref_erfcx); i++)
    near("erfcx", normal_erfcx(ref_erfcx[i].x), ref_erfcx[i].value, 1e-10);
}

static void test_matern(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(ref_matern); i++) {
    double value = ref_matern[i].r2, slope;
    kernel_matern(&value, 1, 1, &slope);
    near("matern", value, ref_matern[i].value, 1e-14);
    near("its slope", slope, ref_matern[i].slope, 1e-13);
  }
  double far = 1e300, slope;
  kernel_matern(&far, 1, 1, &slope);
  assert_true(far == 0 && slope == 0);
}

enum { ROWS = ARRAY_LEN(ref_gp_y), PENDING = ARRAY_LEN(ref_gp_pending) / 3, QUERIES = ARRAY_LEN(ref_gp_mean) };

static struct gp *make_gp(bool with_pending) {
  double x[(ROWS + PENDING) * 3];
  struct gp *gp;
  struct err err;
  memcpy(x, ref_gp_x, ROWS * 3 * sizeof *x);
  memcpy(x + ROWS * 3, ref_gp_pending, PENDING * 3 * sizeof *x);
  assert_true(gp_new(&(struct gp_data){.features = 3,
                                       .rows = ROWS,
                                       .pending = with_pending ? PENDING : 0,
                                       .is_choice = (bool[]){false, false, true},
                                       .x = x,
                                       .y = ref_gp_y,
                                       .repeats = ref_gp_repeats},
                     &gp, &err));
  return gp;
}

static void test_gp_objective_and_gradient(void **state) {
  (void)state;
  struct gp *gp = make_gp(false);
  double at[5] = {log(3.1), log(0.7), log(0.4), log(1.3), log(0.02)}, gradient[5];
  const double *const wanted[] = {ref_gp_objective_scaled, ref_gp_objective_plain, ref_gp_objective_mixed};
  for (int prior = 0; prior < 3; prior++) {
    near("objective", gp_objective(gp, (enum gp_prior)prior, at, gradient), wanted[prior][0], 1e-9);
    for (int i = 0; i < 5; i++)
      near("gradient", gradient[i], wanted[prior][1 + i], 1e-6);
  }
  gp_free(gp);
}

static struct gp *use_gp(bool with_pending) {
  struct gp *gp = make_gp(with_pending);
  struct gp_params *params = mem_zalloc(sizeof *params);
  struct err err;
  assert_non_null(params);
  *params = (struct gp_params){.signal = 1.3, .noise = 0.02, .weight = {3.1, 0.7, 0.4}};
  assert_true(gp_use(gp, params, &err));
  mem_free(params);
  return gp;
}

static void test_gp_posterior(void **state) {
  (void)state;
  struct err err;
  double mean[QUERIES], variance[QUERIES], slope[3], variance_slope[3], m, v;
  struct gp *gp = use_gp(false);
  assert_true(gp_predict(gp, QUERIES, ref_gp_queries, NULL, NULL, mean, variance, &err));
  for (int i = 0; i < QUERIES; i++) {
    near("mean", mean[i], ref_gp_mean[i], 1e-11);
    near("variance", variance[i], ref_gp_variance[i], 1e-11);
  }
  gp_free(gp);
  gp = use_gp(true);
  assert_true(gp_predict(gp, QUERIES, ref_gp_queries, NULL, NULL, mean, variance, &err));
  for (int i = 0; i < QUERIES; i++) {
    near("mean beside pending", mean[i], ref_gp_mean[i], 1e-11);
    near("variance beside pending", variance[i], ref_gp_variance_pending[i], 1e-11);
    gp_predict_slope(gp, ref_gp_queries + 3 * i, &m, &v, slope, variance_slope);
    near("mean, one row", m, mean[i], 1e-10);
    near("variance, one row", v, variance[i], 1e-9);
    for (int f = 0; f < 2; f++) { /* against differences */
      double moved[3], other[3], up_m, up_v, down_m, down_v;
      memcpy(moved, ref_gp_queries + 3 * i, sizeof moved);
      moved[f] += 1e-6;
      gp_predict_slope(gp, moved, &up_m, &up_v, other, other);
      moved[f] -= 2e-6;
      gp_predict_slope(gp, moved, &down_m, &down_v, other, other);
      near("slope of the mean", slope[f], (up_m - down_m) / 2e-6, 1e-6);
      near("slope of the variance", variance_slope[f], (up_v - down_v) / 2e-6, 1e-6);
    }
    assert_true(slope[2] == 0 && variance_slope[2] == 0);
  }
  gp_free(gp);
}

/* What is expected where something was measured, or will be, is what is predicted there. */
static void test_gp_expects_what_it_predicts(void **state) {
  (void)state;
  struct err err;
  struct gp *gp = use_gp(true);
  double expected[ROWS + PENDING], mean, variance;
  gp_expect(gp, expected);
  for (int i = 0; i < ROWS + PENDING; i++) {
    const double *x = i < ROWS ? ref_gp_x + 3 * i : ref_gp_pending + 3 * (i - ROWS);
    assert_true(gp_predict(gp, 1, x, NULL, NULL, &mean, &variance, &err));
    near("expected", expected[i], mean, 1e-11);
  }
  gp_free(gp);
}

enum { MANY = 300, PLACES = 500 };

static bool is_above(void *ctx, double mean, double most_variance) {
  (void)mean;
  return most_variance > *(const double *)ctx;
}

/* A row that is turned away would have come out below the limit; the others come out as they do without one. */
static void test_gp_turns_rows_away(void **state) {
  (void)state;
  double x[MANY * 2], y[MANY], asked[PLACES * 2], mean[PLACES], variance[PLACES], same_mean[PLACES], limited[PLACES], limit = 0.02;
  struct rng rng = rng_seeded(4);
  struct gp *gp;
  struct err err;
  for (int i = 0; i < 2 * MANY; i++)
    x[i] = rng_f64(&rng);
  for (int i = 0; i < MANY; i++)
    y[i] = x[2 * i] > 0.5 ? 1 : -1;
  for (int i = 0; i < 2 * PLACES; i++)
    asked[i] = 1.3 * rng_f64(&rng);
  assert_true(gp_new(&(struct gp_data){.features = 2, .rows = MANY, .is_choice = (bool[]){false, false}, .x = x, .y = y}, &gp, &err));
  struct gp_params *params = mem_zalloc(sizeof *params);
  assert_non_null(params);
  *params = (struct gp_params){.signal = 1, .noise = 0.01, .weight = {20, 30}};
  assert_true(gp_use(gp, params, &err));
  assert_true(gp_predict(gp, PLACES, asked, NULL, NULL, mean, variance, &err));
  assert_true(gp_predict(gp, PLACES, asked, is_above, &limit, same_mean, limited, &err));
  size_t away = 0;
  for (int i = 0; i < PLACES; i++) {
    near("mean", same_mean[i], mean[i], 0);
    if (!isnan(limited[i]))
      near("variance", limited[i], variance[i], 1e-12);
    else
      assert_true(variance[i] <= limit && ++away);
  }
  assert_true(away > PLACES / 10 && away < PLACES * 9 / 10);
  mem_free(params);
  gp_free(gp);
}

/* Trap 2 and 3: rows that are the same, without noise, have no factor; there must be an answer all the same. */
static void test_gp_survives_equal_rows(void **state) {
  (void)state;
  double x[20], y[20];
  for (int i = 0; i < 20; i++)
    x[i] = i < 10 ? 0.5 : 0.5 + 1e-12 * i, y[i] = i % 2 ? 1 : -1;
  struct gp *gp;
  struct err err;
  struct gp_data data = {.features = 1, .rows = 20, .is_choice = (bool[]){false}, .x = x, .y = y};
  assert_true(gp_new(&data, &gp, &err));
  assert_true(gp_fit(gp, GP_PRIOR_SCALED, 2, 40, &err));
  double mean, variance, at = 0.7;
  assert_true(gp_predict(gp, 1, &at, NULL, NULL, &mean, &variance, &err));
  assert_true(isfinite(mean) && variance > 0);
  gp_free(gp);
  double nothing[20] = {0}; /* trap 4: all values equal */
  data.y = nothing;
  assert_true(gp_new(&data, &gp, &err));
  assert_true(gp_fit(gp, GP_PRIOR_PLAIN, 2, 40, &err));
  gp_free(gp);
}

static void test_warp(void **state) {
  (void)state;
  struct err err;
  double y[ARRAY_LEN(ref_warp_in)];
  memcpy(y, ref_warp_in, sizeof y);
  assert_true(warp_values(y, ARRAY_LEN(y), &err));
  for (size_t i = 0; i < ARRAY_LEN(y); i++)
    near("warped", y[i], ref_warp_out[i], 1e-10);
  double same[] = {0.1, 0.1, 0.1};
  assert_true(warp_values(same, 3, &err));
  assert_true(same[0] == 0 && same[1] == 0 && same[2] == 0);
  double bad[] = {1, NAN, 3, 2, NAN};
  assert_true(warp_values(bad, 5, &err));
  assert_true(bad[0] < bad[3] && bad[3] < bad[2] && bad[2] < bad[1] && bad[1] == bad[4]);
  near("beyond the worst, by a quarter of the range", bad[1] - bad[2], 0.25 * (bad[2] - bad[0]), 1e-12);
  double huge[] = {1e308, -1e308, 0, 1.7e308};
  assert_true(warp_values(huge, 4, &err));
  for (int i = 0; i < 4; i++)
    assert_true(isfinite(huge[i]));
  double zeros[] = {0, 0, NAN};
  assert_true(warp_values(zeros, 3, &err));
  assert_true(zeros[0] == zeros[1] && zeros[1] < zeros[2]);
  double none[] = {NAN, NAN};
  assert_true(warp_values(none, 2, &err) && none[0] == 0 && none[1] == 0);
}

/* The height at which values lie, and their unit, say nothing. */
static void test_warp_sees_differences_alone(void **state) {
  (void)state;
  static const double rows[][7] = {
      {3, 1, 2, 7.5, 5, NAN, 4}, {1, 1, 1, 1, 1.5, 1.25, NAN}, {0, 0, 0, 0, 0, 0, NAN}, {-2, 0.5, 1e15, 1, 3, 4, 2}};
  static const double heights[] = {0x1p20, -0x1p20, 0x1p40, -0x1p40}, units[] = {0x1p-1000, 0x1p-1022, 0x1p30, 0x1p900};
  struct err err;
  for (size_t i = 0; i < ARRAY_LEN(rows); i++)
    for (size_t k = 0; k < ARRAY_LEN(heights) + ARRAY_LEN(units); k++) {
      double plain[7], moved[7];
      memcpy(plain, rows[i], sizeof plain);
      for (size_t j = 0; j < 7; j++)
        moved[j] = k < ARRAY_LEN(heights) ? plain[j] + heights[k] : plain[j] * units[k - ARRAY_LEN(heights)];
      assert_true(warp_values(plain, 7, &err) && warp_values(moved, 7, &err));
      for (size_t j = 0; j < 7; j++)
        near("warped", moved[j], plain[j], 1e-9);
    }
}

/* A number in [0, 1) that reference.py makes too, of the same bits. */
static double spread(size_t i, double by) {
  return fmod((double)(i + 1) * by, 1);
}

/* The data of reference.py's fits: x has two columns where the set has two features. */
static void make_fit_data(size_t set, size_t rows, double *x, double *y, double *repeats) {
  for (size_t i = 0; i < rows; i++) {
    double at = spread(i, 0.618034), noise = sin(37.0 * (double)i), k = (double)i;
    repeats[i] = set == 0 ? 1e4 : 1;
    if (set > 4) {
      x[2 * i] = at, x[2 * i + 1] = spread(i, 0.754878);
      y[i] = sin(6 * at) + 0.2 * noise;
      continue;
    }
    const double xs[] = {1e-3 * k, 20 * k, at, at, 0.001 * at};
    const double ys[] = {i % 2 ? 1 : -1, (k - 14.5) / 8.66, 40 * sin(9 * at), 1e-2 * sin(3 * at), 5 * noise};
    x[i] = xs[set], y[i] = ys[set];
  }
}

/* Trap 22: however far data pull, the logarithms of the hyperparameters stay in their box, where nothing overflows; and what is found there
 * is the best there is. */
static void test_fits_stay_in_the_box(void **state) {
  (void)state;
  enum { FIT_ROWS = 30 };
  double x[2 * FIT_ROWS], y[FIT_ROWS], repeats[FIT_ROWS], gradient[4], found[4];
  for (size_t set = 0; set < ARRAY_LEN(ref_fits); set++) {
    unsigned features = ref_fits[set].features;
    struct gp *gp;
    struct err err;
    make_fit_data(set, FIT_ROWS, x, y, repeats);
    struct gp_data data = {.features = features, .rows = FIT_ROWS, .is_choice = (bool[]){false, false}, .x = x, .y = y, .repeats = repeats};
    assert_true(gp_new(&data, &gp, &err) && gp_fit(gp, ref_fits[set].prior, 3, 200, &err));
    for (unsigned f = 0; f < features; f++)
      found[f] = log(gp_params(gp)->weight[f]);
    found[features] = log(gp_params(gp)->signal), found[features + 1] = log(gp_params(gp)->noise);
    near("least", gp_objective(gp, ref_fits[set].prior, found, gradient), ref_fits[set].objective, 2e-4);
    for (unsigned k = 0; k < features + 2; k++) {
      const double low = k < features    ? -12
                         : k == features ? log(1e-2)
                                         : log(1e-6),
                   high = k < features ? 12 : log(k == features ? 1e2 : 2);
      double wanted = ref_fits[set].log_params[k];
      bool at_side = wanted < low + 1e-6 || wanted > high - 1e-6;
      near(at_side ? "at the box's side" : "inside the box", found[k], wanted, at_side ? 1e-7 : 0.1);
    }
    for (unsigned corner = 0; corner < 1u << features; corner++) {
      for (unsigned f = 0; f < features; f++)
        found[f] = corner >> f & 1 ? 12 : -12;
      found[features + 1] = 0;
      assert_true(isfinite(gp_objective(gp, ref_fits[set].prior, found, gradient)));
      for (unsigned k = 0; k < features + 2; k++)
        assert_true(isfinite(gradient[k]));
    }
    gp_free(gp);
  }
}

static const double five[] = {0, 0.2, 0.4, 0.6, 0.8, 1}, three[] = {0, 1.0 / 3, 2.0 / 3, 1};
static const struct parzen_axis axes[] = {{0, true, NULL}, {0, true, NULL}, {5, true, five}, {3, false, three}};
enum { KERNELS = ARRAY_LEN(ref_parzen_u) / 4 };

static struct parzen *make_parzen(void) {
  struct parzen *parzen;
  struct err err;
  struct parzen_settings settings = {.min_width = 0.01, .full_weight = 4};
  assert_true(parzen_new(axes, 4, &settings, &parzen, &err));
  assert_true(parzen_reserve(parzen, KERNELS + 3, &err));
  return parzen;
}

static void check_density(struct parzen *parzen) {
  size_t n = ARRAY_LEN(ref_parzen_log);
  double got[ARRAY_LEN(ref_parzen_log)];
  void *work = mem_alloc(parzen_work(parzen, n));
  assert_non_null(work);
  parzen_log_density(parzen, ref_parzen_queries, n, got, work);
  for (size_t i = 0; i < n; i++)
    near("log density", got[i], ref_parzen_log[i], 3e-5); /* floats */
  mem_free(work);
}

static void test_parzen_density(void **state) {
  (void)state;
  struct parzen *parzen = make_parzen();
  for (size_t k = 0; k < KERNELS; k++) {
    parzen_add(parzen, ref_parzen_u + 4 * k);
    parzen_switch(parzen, k, true);
  }
  check_density(parzen);
  parzen_free(parzen);
  parzen = make_parzen();
  parzen_loosen(parzen);
  for (size_t k = 0; k < KERNELS; k++) {
    parzen_add(parzen, ref_parzen_u + 4 * k);
    parzen_switch(parzen, k, true);
  }
  parzen_tighten(parzen);
  check_density(parzen);
  parzen_free(parzen);
}

/* Kernels at one place are as narrow as their number allows, the prior counted as one of them, and no narrower than the settings say. */
static void test_parzen_narrowest(void **state) {
  (void)state;
  static const struct {
    size_t kernels;
    double least, width;
  } rows[] = {{2, 1e-4, 1 / 16.0}, {3, 1e-4, 1 / 25.0}, {8, 1e-4, 0.01}, {8, 0.03, 0.03}, {60, 1e-4, 1 / 3844.0}};
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct parzen *parzen;
    struct err err;
    struct parzen_settings settings = {.min_width = rows[i].least, .full_weight = 100};
    assert_true(parzen_new(axes, 1, &settings, &parzen, &err) && parzen_reserve(parzen, rows[i].kernels, &err));
    for (size_t k = 0; k < rows[i].kernels; k++)
      parzen_add(parzen, (double[]){0.5}), parzen_switch(parzen, k, true);
    double n = (double)rows[i].kernels, at = 0.5, got, work[64];
    assert_true(parzen_work(parzen, 1) <= sizeof work);
    parzen_log_density(parzen, &at, 1, &got, work);
    double peak = 0.39894228040143268, whole = 0.38292492254802624,
           own = erf(0.5 / rows[i].width / M_SQRT2); /* at the middle of a normal */
    near("log density", got, log((peak / whole + n * peak / rows[i].width / own) / (n + 1)), 3e-5);
    parzen_free(parzen);
  }
}

/* The state kept up to date, with kernels that came and went, is that of one made afresh. */
static void test_parzen_is_incremental(void **state) {
  (void)state;
  struct parzen *parzen = make_parzen();
  static const double visitor[4] = {0.41, 0.13, 0.9, 0.1};
  size_t at = 0;
  parzen_add(parzen, visitor), parzen_switch(parzen, at++, true);
  for (size_t k = 0; k < KERNELS; k++) {
    parzen_add(parzen, ref_parzen_u + 4 * k);
    parzen_switch(parzen, at, true);
    if (k % 2)
      parzen_switch(parzen, at, false), parzen_switch(parzen, at, true);
    at++;
    if (k == 3)
      parzen_add(parzen, visitor), parzen_switch(parzen, at++, true);
  }
  parzen_switch(parzen, 0, false);
  parzen_switch(parzen, 5, false);
  check_density(parzen);
  parzen_free(parzen);
}

/* Whether orders and widths are kept all the time or made at the end, and kernels taken out in between: the same bit for bit. */
static void test_parzen_loose_is_the_same(void **state) {
  (void)state;
  enum { COUNT = 600, ASKED = 20 };
  struct parzen *both[2];
  struct err err;
  double u[4 * ASKED], got[2][ASKED];
  static double work[64 * ASKED];
  struct parzen_settings settings = {.min_width = 1e-4, .full_weight = 25};
  for (int loose = 0; loose < 2; loose++) {
    struct rng rng = rng_seeded(5);
    assert_true(parzen_new(axes, 4, &settings, &both[loose], &err) && parzen_reserve(both[loose], COUNT, &err));
    if (loose)
      parzen_loosen(both[loose]);
    for (size_t k = 0; k < COUNT; k++) {
      double at[4];
      for (int i = 0; i < 4; i++)
        at[i] = floor(rng_f64(&rng) * 1000) / 1000; /* some are the same */
      parzen_add(both[loose], at);
      parzen_switch(both[loose], parzen_count(both[loose]) - 1, true);
      parzen_switch(both[loose], (size_t)rng_below(&rng, parzen_count(both[loose])), rng_below(&rng, 3) > 0);
      bool wanted[COUNT];
      for (size_t i = 0; i < parzen_count(both[loose]); i++)
        wanted[i] = k % 200 != 150 || rng_below(&rng, 2);
      if (k % 200 == 150)
        assert_true(parzen_keep(both[loose], wanted, &err));
    }
    parzen_tighten(both[loose]);
    for (int i = 0; i < ASKED; i++)
      parzen_draw(both[loose], &rng, u + (ptrdiff_t)4 * i);
    assert_true(parzen_work(both[loose], ASKED) <= sizeof work);
    parzen_log_density(both[loose], u, ASKED, got[loose], work);
  }
  assert_int_equal(parzen_count(both[0]), parzen_count(both[1]));
  assert_int_equal(parzen_on(both[0]), parzen_on(both[1]));
  assert_memory_equal(got[0], got[1], sizeof got[0]);
  parzen_free(both[0]), parzen_free(both[1]);
}

static bool is_no_multiple(void *ctx, size_t point) {
  return point % *(size_t *)ctx != 0;
}

/* The race of the points ends as if each density had been summed up to the end. */
static void test_parzen_choice_is_exact(void **state) {
  (void)state;
  enum { GOOD = 25, BAD = 3000, ASKED = 48 };
  static double work[256 * ASKED];
  struct parzen_settings settings = {.min_width = 0.03, .full_weight = 25};
  struct rng rng = rng_seeded(7);
  for (size_t trial = 0; trial < 60; trial++) {
    struct parzen *models[2];
    struct err err;
    size_t counts[2] = {1 + (size_t)rng_below(&rng, GOOD), (size_t)rng_below(&rng, trial % 2 ? BAD : 600)};
    for (size_t m = 0; m < 2; m++) {
      assert_true(parzen_new(axes, 4, &settings, &models[m], &err) && parzen_reserve(models[m], BAD, &err));
      parzen_loosen(models[m]);
      for (size_t k = 0; k < counts[m]; k++) {
        double at[4];
        for (int i = 0; i < 4; i++)
          at[i] = m == 0 ? 0.3 + 0.3 * rng_f64(&rng) : rng_f64(&rng);
        parzen_add(models[m], at);
        parzen_switch(models[m], k, rng_below(&rng, 20) > 0);
      }
      parzen_tighten(models[m]);
    }
    double u[4 * ASKED], good[ASKED], bad[ASKED];
    for (size_t i = 0; i < ASKED; i++)
      parzen_draw(models[0], &rng, u + 4 * i);
    memcpy(u + 4 * 11, u + 4 * 10, 4 * sizeof *u); /* equal ones: the first is chosen */
    parzen_log_density(models[0], u, ASKED, good, work);
    parzen_log_density(models[1], u, ASKED, bad, work);
    size_t passed_over = 1 + trial % 4, best = SIZE_MAX;
    for (size_t i = 0; i < ASKED; i++)
      if (i % passed_over && (best == SIZE_MAX || good[i] - bad[i] > good[best] - bad[best]))
        best = i;
    assert_true(parzen_choose_work(models[0], models[1], ASKED) <= sizeof work);
    assert_int_equal(parzen_choose(models[0], models[1], u, ASKED, is_no_multiple, &passed_over, work), best);
    parzen_free(models[0]), parzen_free(models[1]);
  }
}

static bool fits_always(void *ctx UNUSED, size_t point UNUSED) {
  return true;
}

/* Trap 20: a point whose ratio is no number is never the best, and when all are so there is none. */
static void test_parzen_chooses_no_nan(void **state) {
  (void)state;
  enum { ASKED = 12 };
  static double work[256 * ASKED];
  struct parzen *good = make_parzen(), *bad = make_parzen();
  double u[4 * ASKED];
  for (size_t k = 0; k < KERNELS; k++)
    for (int m = 0; m < 2; m++) {
      parzen_add(m ? bad : good, ref_parzen_u + 4 * k);
      parzen_switch(m ? bad : good, k, k % 2 == (size_t)m);
    }
  for (size_t numbers = 0; numbers < 3; numbers++) {
    for (size_t i = 0; i < ASKED; i++) {
      memcpy(u + 4 * i, ref_parzen_queries, 4 * sizeof *u);
      if (i < ASKED - numbers)
        u[4 * i + i % 2] = NAN;
    }
    assert_true(parzen_choose_work(good, bad, ASKED) <= sizeof work);
    assert_true(parzen_choose(good, bad, u, ASKED, fits_always, NULL, work) == (numbers ? ASKED - numbers : SIZE_MAX));
  }
  parzen_free(good), parzen_free(bad);
}

/* Draws follow the density: the mean of 1/density over draws is the volume they can fall into. */
static void test_parzen_draws_follow_density(void **state) {
  (void)state;
  struct parzen *parzen = make_parzen();
  for (size_t k = 0; k < KERNELS; k++) {
    parzen_add(parzen, ref_parzen_u + 4 * k);
    parzen_switch(parzen, k, true);
  }
  enum { N = 100000, BATCH = 100 };
  struct rng rng = rng_seeded(11);
  double u[4 * BATCH], log_density[BATCH], sum = 0;
  void *work = mem_alloc(parzen_work(parzen, BATCH));
  assert_non_null(work);
  for (int n = 0; n < N / BATCH; n++) {
    for (int i = 0; i < BATCH; i++)
      parzen_draw(parzen, &rng, u + 4 * i);
    parzen_log_density(parzen, u, BATCH, log_density, work);
    for (int i = 0; i < BATCH; i++)
      sum += exp(-log_density[i]) / N;
  }
  near("volume", sum, 15, 0.1); /* 5 cells x 3 choices */
  mem_free(work);
  parzen_free(parzen);
}

/* Trap 9: no candidate is near any kernel; trap 10: nothing is divided by nothing. */
static void test_parzen_far_away(void **state) {
  (void)state;
  struct parzen *parzen;
  struct err err;
  struct parzen_settings settings = {.min_width = 1e-4, .full_weight = 25};
  assert_true(parzen_new(axes, 2, &settings, &parzen, &err));
  assert_true(parzen_reserve(parzen, 2000, &err));
  for (size_t k = 0; k < 2000; k++) {
    parzen_add(parzen, (double[]){0.1 + 1e-7 * (double)k, 0.1});
    parzen_switch(parzen, k, true);
  }
  double far[2] = {0.99, 0.99}, log_density, work[64];
  parzen_log_density(parzen, far, 1, &log_density, work);
  near("the prior alone", log_density, 2 * (normal_log_pdf(0.49) - log(normal_cdf(0.5) - normal_cdf(-0.5))) - log(1001.0), 0.7);
  parzen_free(parzen);
}

static void test_fast_exponential(void **state) {
  (void)state;
  for (float x = 0; x > -86; x -= 0.037f) {
    float weight = 1, got = kernel_sum_exp(&x, &weight, 0, 1);
    assert_true(fabs((double)got / exp((double)x) - 1) < 3e-7);
  }
  float low = -200, weight = 1;
  assert_true(kernel_sum_exp(&low, &weight, 0, 1) == 0);
}

static void test_cmaes_constants(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(ref_cmaes); i++) {
    struct cmaes_constants k;
    cmaes_constants(ref_cmaes[i].d, ref_cmaes[i].lambda, &k);
    near("first weight", k.weights[0], ref_cmaes[i].first, 1e-13);
    near("last good weight", k.weights[k.mu - 1], ref_cmaes[i].last_good, 1e-13);
    near("last weight", k.weights[k.lambda - 1], ref_cmaes[i].last, 1e-13);
    near("mu_eff", k.mu_eff, ref_cmaes[i].mu_eff, 1e-13);
    near("c_sigma", k.c_sigma, ref_cmaes[i].c_sigma, 1e-13);
    near("d_sigma", k.d_sigma, ref_cmaes[i].d_sigma, 1e-13);
    near("c_c", k.c_c, ref_cmaes[i].c_c, 1e-13);
    near("c_1", k.c_1, ref_cmaes[i].c_1, 1e-13);
    near("c_mu", k.c_mu, ref_cmaes[i].c_mu, 1e-13);
    near("chi", k.chi, ref_cmaes[i].chi, 1e-13);
  }
}

/* A start from earlier results, then generations of which one is drawn in from afar and one goes so far that it holds a path. */
static void test_cmaes_updates(void **state) {
  (void)state;
  enum { D = 3, START = 60, LAMBDA = 7, GENERATIONS = ARRAY_LEN(ref_cmaes_sigmas) };
  struct space *space = make_space(
      "{\"parameters\": {\"a\": {\"min\": 0.0, \"max\": 1.0}, \"b\": {\"min\": 0.0, \"max\": 1.0}, \"c\": {\"min\": 0.0, \"max\": 1.0}}}");
  struct history *history;
  struct cmaes *cmaes;
  struct err err;
  uint32_t n = 0;
  assert_true(history_new(space, GOAL_MINIMIZE, &history, &err) && cmaes_new(history, 1, START, &cmaes, &err));
  for (size_t g = 0; g < GENERATIONS; g++) {
    for (size_t k = 0; k < (g ? LAMBDA : START); k++, n++) {
      struct outcome outcome = {TRIAL_FINISHED, ref_cmaes_values[n], 0};
      assert_true(history_add_told(history, n, ref_cmaes_trials + (size_t)n * D, &outcome, &err));
    }
    assert_true(cmaes_follow(cmaes, &err));
    struct cmaes_view view = cmaes_look(cmaes);
    assert_int_equal(view.generation, g);
    assert_int_equal(view.lambda, LAMBDA);
    near("sigma", view.sigma, ref_cmaes_sigmas[g], 1e-9);
    for (size_t i = 0; i < D; i++)
      near("mean", view.mean[i], ref_cmaes_means[g * D + i], 1e-9);
    for (size_t i = 0; i < (size_t)D * D; i++)
      near("covariance", view.covariance[i], ref_cmaes_covariances[g * D * D + i], 1e-9);
  }
  cmaes_free(cmaes), history_free(history), space_free(space);
}

/* The functions of reference.py. */
static double sum_of(const double *x, double k) {
  return x[0] + 0.6 * x[1] + 0 * k;
}
static double bowls(const double *x, double k) {
  return pow(x[0] - 0.3, 2) + 0.3 * pow(x[1] - 0.7, 2) + 0.05 * (k != 1);
}
static double of_choice(const double *x, double k) {
  return 0.5 * x[0] + 0.5 * k;
}
static double of_both(const double *x, double k) {
  return fabs(x[0] - x[1]) + 0.2 * k;
}

/* What counting on a fine lattice comes to. What is unused has no share. */
static void test_shares_are_those_of_the_densities(void **state) {
  (void)state;
  static double (*const functions[])(const double *, double) = {sum_of, bowls, of_choice, of_both};
  for (size_t f = 0; f < ARRAY_LEN(functions); f++) {
    struct space *space = make_space(
        "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}, \"k\": {\"values\": [\"a\", "
        "\"b\", \"c\"]}, \"unused\": {\"min\": 0.0, \"max\": 1.0}}}");
    struct history *history;
    struct importance_report report;
    struct err err;
    struct rng rng = rng_seeded(f);
    assert_true(history_new(space, GOAL_MINIMIZE, &history, &err));
    for (uint32_t n = 0; n < 9000; n++) {
      double point[4] = {rng_f64(&rng), rng_f64(&rng), (double)rng_below(&rng, 3), rng_f64(&rng)};
      struct outcome outcome = {TRIAL_FINISHED, functions[f](point, point[2]), 0};
      assert_true(history_add_told(history, n, point, &outcome, &err));
    }
    assert_true(importance_compute(history, 1, &report, &err));
    for (size_t i = 0; i < report.count; i++) {
      const struct importance *one = &report.params[i];
      double wanted = one->param < 3 ? ref_importance[3 * f + one->param] : 0;
      if (!(fabs(one->share - wanted) < 0.03 && one->low - 0.03 <= wanted && wanted <= one->high + 0.03))
        fail_msg("function %zu, parameter %zu: %g (%g to %g) instead of %g", f, one->param, one->share, one->low, one->high, wanted);
    }
    importance_release(&report);
    history_free(history), space_free(space);
  }
}

/* What few trials show by chance alone is taken off: a choice of thirty values that does nothing would look as if it mattered most. */
static void test_importance_is_beyond_chance(void **state) {
  (void)state;
  AUTO_BUF struct buf whole = BUF_INIT(4 * KIB);
  buf_puts(&whole,
           "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}, \"k\": {\"values\": [\"0\"");
  for (int k = 1; k < 30; k++)
    buf_printf(&whole, ", \"%d\"", k);
  buf_puts(&whole, "]}}}");
  struct space *space = make_space(buf_text(&whole));
  struct history *history;
  struct importance_report report;
  struct err err;
  assert_true(history_new(space, GOAL_MINIMIZE, &history, &err));
  for (uint32_t n = 0; n < 200; n++) {
    double point[3] = {spread(n, 0.618034), spread(n, 0.754878), floor(30 * spread(n, 0.569840))};
    double value = -(point[0] - 0.35) * (point[1] - 0.5) + 0.05 * (fmod(point[2], 3) == 0) + 0.2 * spread(n, 0.414214);
    assert_true(history_add_told(history, n, point, &(struct outcome){TRIAL_FINISHED, value, 0}, &err));
  }
  assert_true(importance_compute(history, 1, &report, &err));
  assert_int_equal(report.best, 20);
  for (size_t i = 0; i < report.count; i++) {
    const struct importance *one = &report.params[i];
    near("share", one->share, ref_chance_shares[one->param].share, 4 * ref_chance_shares[one->param].deviation);
    near("low", one->low, ref_chance_intervals[one->param].low, 4 * ref_chance_intervals[one->param].low_deviation);
    near("high", one->high, ref_chance_intervals[one->param].high, 4 * ref_chance_intervals[one->param].high_deviation);
  }
  for (size_t i = 0; i < ARRAY_LEN(ref_chance_pairs); i++) {
    double share = 0; /* pairs that show nothing beyond chance are left out */
    for (size_t k = 0; k < report.pair_count; k++)
      if (report.pairs[k].a == ref_chance_pairs[i].a && report.pairs[k].b == ref_chance_pairs[i].b)
        share = report.pairs[k].share;
    if (!(fabs(share - ref_chance_pairs[i].share) <= 2 * ref_chance_pairs[i].deviation))
      fail_msg("pair %zu: %g instead of %g", i, share, ref_chance_pairs[i].share);
  }
  importance_release(&report);
  history_free(history), space_free(space);
}

static double rosenbrock(void *ctx, const double *x, double *g) {
  unsigned *calls = ctx;
  (*calls)++;
  double a = 1 - x[0], b = x[1] - x[0] * x[0];
  g[0] = -2 * a - 400 * x[0] * b;
  g[1] = 200 * b;
  return a * a + 100 * b * b;
}

static void test_minimize(void **state) {
  (void)state;
  double x[2] = {-1.2, 1}, work[64], low[2] = {-5, -5}, high[2] = {5, 5};
  struct minimize_limits limits = {.iterations = 200, .gradient = 1e-8, .progress = 0};
  unsigned calls = 0;
  assert_true(minimize_work(2) <= ARRAY_LEN(work));
  assert_true(minimize(rosenbrock, &calls, 2, low, high, &limits, x, work) < 1e-12);
  assert_true(calls < 200);
  near("x", x[0], 1, 1e-5);
  double bounded[2] = {-1.2, 1}, tight[2] = {0.5, 5}; /* the minimum on the box's side is at (0.5, 0.25) */
  minimize(rosenbrock, &calls, 2, low, tight, &limits, bounded, work);
  near("at the bound", bounded[0], 0.5, 1e-9);
  near("along the bound", bounded[1], 0.25, 1e-5);
}

/* A bowl that is even only up to a millionth, as everything that is computed is at some scale. */
static double rough_bowl(void *ctx, const double *x, double *g) {
  unsigned *calls = ctx;
  double sum = 0;
  for (int i = 0; i < 2; i++)
    g[i] = 2 * (x[i] - 0.3), sum += (x[i] - 0.3) * (x[i] - 0.3);
  return sum + 1e-6 * sin(1e9 * ++*calls);
}

static double uphill(void *ctx, const double *x, double *g) {
  double value = rosenbrock(ctx, x, g);
  g[0] = -g[0], g[1] = -g[1];
  return value;
}

/* Trap 21: it stops where the slope or the gain is as small as was asked for, and where nothing is left to gain whatever was asked for. */
static void test_minimize_stops(void **state) {
  (void)state;
  static const double low[2] = {-5, -5}, high[2] = {5, 5};
  double work[64], g[2], last_slope = 1e9;
  unsigned last_calls = 0;
  for (double limit = 10; limit > 1e-7; limit /= 100) {
    double x[2] = {-1.2, 1};
    unsigned calls = 0, unused = 0;
    minimize(rosenbrock, &calls, 2, low, high, &(struct minimize_limits){.iterations = 500, .gradient = limit}, x, work);
    rosenbrock(&unused, x, g);
    double slope = fmax(fabs(g[0]), fabs(g[1]));
    assert_true(slope <= limit && slope <= last_slope && calls >= last_calls && (limit < 10 || calls < 10));
    last_slope = slope, last_calls = calls;
  }
  assert_true(last_calls > 40);
  double x[2] = {-1.2, 1};
  unsigned gaining = 0, rough = 0;
  assert_true(minimize(rosenbrock, &gaining, 2, low, high, &(struct minimize_limits){.iterations = 500, .progress = 1e-3}, x, work) < 5);
  assert_true(gaining < last_calls);
  x[0] = -4, x[1] = 3;
  assert_true(minimize(rough_bowl, &rough, 2, low, high, &(struct minimize_limits){.iterations = 100000}, x, work) < 1e-5);
  assert_true(rough < 1000);
  x[0] = -1.2, x[1] = 1; /* slopes that lie */
  unsigned calls = 0;
  assert_true(minimize(uphill, &calls, 2, low, high, &(struct minimize_limits){.iterations = 500}, x, work) > 24);
  assert_true(calls < 60);
  unsigned few = 0;
  x[0] = -1.2, x[1] = 1;
  minimize(rosenbrock, &few, 2, low, high, &(struct minimize_limits){.iterations = 3}, x, work);
  rosenbrock(&calls, x, g);
  assert_true(few < 15 && fabs(g[0]) > 0.1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_distributions),
      cmocka_unit_test(test_cells),
      cmocka_unit_test(test_distributions_at_the_edge),
      cmocka_unit_test(test_very_many_whole_numbers),
      cmocka_unit_test(test_no_more_than_many_whole_numbers),
      cmocka_unit_test(test_log_mass),
      cmocka_unit_test(test_truncated_normal_stays_inside),
      cmocka_unit_test(test_log_ei),
      cmocka_unit_test(test_matern),
      cmocka_unit_test(test_gp_objective_and_gradient),
      cmocka_unit_test(test_gp_posterior),
      cmocka_unit_test(test_gp_expects_what_it_predicts),
      cmocka_unit_test(test_gp_turns_rows_away),
      cmocka_unit_test(test_gp_survives_equal_rows),
      cmocka_unit_test(test_fits_stay_in_the_box),
      cmocka_unit_test(test_warp),
      cmocka_unit_test(test_warp_sees_differences_alone),
      cmocka_unit_test(test_parzen_density),
      cmocka_unit_test(test_parzen_narrowest),
      cmocka_unit_test(test_parzen_is_incremental),
      cmocka_unit_test(test_parzen_loose_is_the_same),
      cmocka_unit_test(test_parzen_choice_is_exact),
      cmocka_unit_test(test_parzen_chooses_no_nan),
      cmocka_unit_test(test_parzen_draws_follow_density),
      cmocka_unit_test(test_parzen_far_away),
      cmocka_unit_test(test_fast_exponential),
      cmocka_unit_test(test_cmaes_constants),
      cmocka_unit_test(test_cmaes_updates),
      cmocka_unit_test(test_shares_are_those_of_the_densities),
      cmocka_unit_test(test_importance_is_beyond_chance),
      cmocka_unit_test(test_minimize),
      cmocka_unit_test(test_minimize_stops),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
