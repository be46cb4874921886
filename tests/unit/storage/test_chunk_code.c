/* What is put comes back to the bit, whatever it is; what is damaged is noticed; what is regular costs nothing. */
#include <float.h>

#include "base/mem.h"
#include "base/rng.h"
#include "storage/metrics/chunk_code.h"
#include "tests/support/test.h"

static struct column_coder *coder;

static int setup(void **state UNUSED) {
  coder = column_coder_new();
  return coder ? 0 : -1;
}

static int teardown(void **state UNUSED) {
  column_coder_free(coder);
  return 0;
}

static void must_add(struct points *points, int64_t step, int64_t time, double value, double epoch) {
  assert_true(points_add(points, (struct point){step, time, value, epoch}));
}

static void assert_same_points(const struct points *a, const struct points *b) {
  assert_int_equal(a->n, b->n);
  assert_memory_equal(a->step, b->step, a->n * 8);
  assert_memory_equal(a->time, b->time, a->n * 8);
  assert_memory_equal(a->value, b->value, a->n * 8);
  assert_memory_equal(a->epoch, b->epoch, a->n * 8);
}

static size_t round_trip(const struct points *points) {
  AUTO_BUF struct buf bytes = BUF_INIT(16 * MIB);
  AUTO_POINTS struct points back = {0};
  struct err err;
  chunk_put(coder, points, &bytes);
  assert_true(buf_ok(&bytes, &err));
  assert_true(chunk_get(coder, buf_str(&bytes), &back, &err));
  assert_same_points(points, &back);
  return bytes.n;
}

static const double hard_values[] = {
    0.0,     -0.0,     1.0, NAN,       INFINITY, -INFINITY,          DBL_MIN,   DBL_TRUE_MIN, -DBL_TRUE_MIN,
    DBL_MAX, -DBL_MAX, 0.1, 1.0 / 3.0, 1e300,    4503599627370497.5, 123456.789};
static const int64_t hard_wholes[] = {0, 1, -1, INT64_MAX, INT64_MIN, INT64_MAX - 1, INT64_MIN + 1, 255, 256, -256, 1ll << 32, 1ll << 62};

static void hard_numbers(void **state UNUSED) {
  for (size_t n = 1; n < 300; n = n * 3 / 2 + 1) {
    AUTO_POINTS struct points points = {0};
    for (size_t i = 0; i < n; i++)
      must_add(&points, hard_wholes[i * 7 % ARRAY_LEN(hard_wholes)], hard_wholes[i * 5 % ARRAY_LEN(hard_wholes)],
               hard_values[i * 11 % ARRAY_LEN(hard_values)], hard_values[i * 3 % ARRAY_LEN(hard_values)]);
    round_trip(&points);
  }
}

static double draw_value(struct rng *rng, unsigned kind, double last) {
  switch (kind) {
  case 0:
    return rng_f64(rng);
  case 1:
    return (double)(float)rng_normal(rng);
  case 2:
    return round(rng_f64(rng) * 1e4) / 1e4;
  case 3:
    return last;
  case 4:
    return (double)rng_below(rng, 1000);
  case 5: {
    uint64_t bits = rng_u64(rng);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
  }
  case 6:
    return rng_below(rng, 20) ? round(rng_f64(rng) * 1e3) / 1e3 : hard_values[rng_below(rng, ARRAY_LEN(hard_values))];
  default:
    return hard_values[rng_below(rng, ARRAY_LEN(hard_values))];
  }
}

static int64_t draw_step(struct rng *rng, unsigned kind, int64_t last) {
  switch (kind) {
  case 0:
    return (int64_t)((uint64_t)last + 1);
  case 1:
    return (int64_t)((uint64_t)last + rng_below(rng, 1000));
  case 2:
    return (int64_t)rng_u64(rng);
  case 3:
    return 0;
  default:
    return hard_wholes[rng_below(rng, ARRAY_LEN(hard_wholes))];
  }
}

static void random_series(void **state UNUSED) {
  struct rng rng = rng_seeded(42);
  for (int round = 0; round < 600; round++) {
    size_t n = 1 + (size_t)rng_below(&rng, round % 10 ? 200 : CHUNK_POINTS);
    unsigned values = (unsigned)rng_below(&rng, 8), steps = (unsigned)rng_below(&rng, 5), times = (unsigned)rng_below(&rng, 5);
    bool epochs = rng_below(&rng, 3) == 0;
    AUTO_POINTS struct points points = {0};
    struct point last = {0};
    for (size_t i = 0; i < n; i++) {
      last = (struct point){draw_step(&rng, steps, last.step), draw_step(&rng, times, last.time), draw_value(&rng, values, last.value),
                            epochs ? (double)(i / 10) : NAN};
      must_add(&points, last.step, last.time, last.value, last.epoch);
    }
    round_trip(&points);
  }
}

static void sizes(void **state UNUSED) {
  struct rng rng = rng_seeded(3);
  AUTO_POINTS struct points regular = {0}, noisy = {0}, from_float = {0}, decimal = {0};
  int64_t time = 1700000000000;
  for (int64_t i = 0; i < CHUNK_POINTS; i++) {
    must_add(&regular, i * 10, 1700000000000 + i * 100, 1.5, NAN);
    time += 95 + (int64_t)rng_below(&rng, 10);
    double loss = exp(-(double)i / 1000) + 0.05 * rng_normal(&rng);
    must_add(&noisy, i, time, loss, NAN);
    must_add(&from_float, i, time, (double)(float)loss, NAN);
    must_add(&decimal, i, time, round(loss * 1e4) / 1e4, NAN);
  }
  assert_in_range(round_trip(&regular), 1, 100);
  assert_in_range(round_trip(&noisy), 1, CHUNK_POINTS * 17 / 2);
  assert_in_range(round_trip(&from_float), 1, CHUNK_POINTS * 5);
  assert_in_range(round_trip(&decimal), 1, CHUNK_POINTS * 3);
}

struct collected {
  struct series_points series[8];
  size_t count;
};

static bool collect(void *ctx, struct str key, const struct points *points) {
  struct collected *all = ctx;
  struct series_points *series = &all->series[all->count++];
  *series = (struct series_points){.key = str_n(mem_strndup(key.p, key.n), key.n)};
  return points_add_range(&series->points, points, 0, points->n);
}

static void batches(void **state UNUSED) {
  struct series_points series[3] = {{.key = STR("loss")}, {.key = STR("größe ü")}, {.key = STR("")}};
  for (size_t s = 0; s < 3; s++)
    for (size_t i = 0; i <= s * 40; i++)
      must_add(&series[s].points, (int64_t)i, 5, (double)i / 7, s == 1 ? 2 : NAN);
  AUTO_BUF struct buf bytes = BUF_INIT(MIB);
  struct err err;
  batch_put(coder, series, 3, &bytes);
  assert_true(buf_ok(&bytes, &err));
  struct collected back = {0};
  assert_true(batch_get(coder, buf_str(&bytes), collect, &back, &err));
  assert_int_equal(back.count, 3);
  for (size_t s = 0; s < 3; s++) {
    assert_true(str_eq(back.series[s].key, series[s].key));
    assert_same_points(&series[s].points, &back.series[s].points);
    mem_free((char *)(uintptr_t)back.series[s].key.p);
    points_release(&back.series[s].points);
    points_release(&series[s].points);
  }
}

static void damage_is_noticed(void **state UNUSED) {
  AUTO_POINTS struct points points = {0};
  for (int64_t i = 0; i < 200; i++)
    must_add(&points, i, i * 3, sqrt((double)i), NAN);
  AUTO_BUF struct buf bytes = BUF_INIT(MIB);
  struct err err;
  chunk_put(coder, &points, &bytes);
  AUTO_POINTS struct points back = {0};
  for (size_t bit = 0; bit < bytes.n * 8; bit++) {
    bytes.p[bit / 8] = (char)(bytes.p[bit / 8] ^ (1 << bit % 8));
    assert_false(chunk_get(coder, buf_str(&bytes), &back, &err));
    assert_int_equal(err.code, ERR_IO);
    bytes.p[bit / 8] = (char)(bytes.p[bit / 8] ^ (1 << bit % 8));
  }
  for (size_t n = 0; n < bytes.n; n++)
    assert_false(chunk_get(coder, str_n(bytes.p, n), &back, &err));
  assert_int_equal(back.n, 0);
  assert_true(chunk_get(coder, buf_str(&bytes), &back, &err));
}

static void order_and_repeats(void **state UNUSED) {
  struct rng rng = rng_seeded(9);
  for (int round = 0; round < 300; round++) {
    AUTO_POINTS struct points points = {0};
    size_t n = 1 + (size_t)rng_below(&rng, 60);
    for (size_t i = 0; i < n; i++)
      must_add(&points, (int64_t)rng_below(&rng, 4) - 2, (int64_t)rng_below(&rng, 3), hard_values[rng_below(&rng, 6)], (double)i);
    AUTO_POINTS struct points sorted = {0};
    assert_true(points_add_range(&sorted, &points, 0, n));
    assert_true(points_normalise(&sorted));
    assert_true(points_are_normal(&sorted));
    for (size_t i = 0; i < n; i++) { /* each is there, as the first of its equals */
      size_t found = 0;
      for (size_t j = 0; j < sorted.n; j++)
        if (sorted.step[j] == points.step[i] && sorted.time[j] == points.time[i] &&
            value_bits(sorted.value[j]) == value_bits(points.value[i])) {
          found++;
          assert_true(sorted.epoch[j] <= points.epoch[i]);
        }
      assert_int_equal(found, 1);
    }
  }
}

static void nan_counts_as_zero(void **state UNUSED) {
  assert_int_equal(value_cmp(NAN, -1), 1);
  assert_int_equal(value_cmp(NAN, 1), -1);
  assert_int_equal(value_cmp(NAN, 0.0), -1);
  assert_int_equal(value_cmp(NAN, -0.0), -1);
  assert_int_equal(value_cmp(-0.0, 0.0), -1);
  assert_int_equal(value_cmp(NAN, NAN), 0);
  assert_int_equal(value_cmp(INFINITY, DBL_MAX), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hard_numbers),
      cmocka_unit_test(random_series),
      cmocka_unit_test(sizes),
      cmocka_unit_test(batches),
      cmocka_unit_test(damage_is_noticed),
      cmocka_unit_test(order_and_repeats),
      cmocka_unit_test(nan_counts_as_zero),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
