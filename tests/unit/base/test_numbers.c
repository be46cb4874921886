#define WINNOW_ALLOW_NUMBERS /* the C library is the reference */
/* Doubles to text and back, quickly, against the C library: the same digits, and the same bits. */
#include <math.h>

#include "base/rng.h"
#include "base/str.h"
#include "tests/support/test.h"

static double draw(struct rng *rng) {
  union {
    uint64_t bits;
    double value;
  } any = {rng_u64(rng)};
  switch (rng_below(rng, 9)) {
  case 0:
    return any.value;
  case 1:
    return rng_normal(rng);
  case 2:
    return (double)(float)rng_normal(rng);
  case 3:
    return (double)(int64_t)rng_below(rng, 100000000) / pow(10, (double)rng_below(rng, 12));
  case 4: /* next to a power of ten */
    return nextafter(pow(10, (double)rng_below(rng, 40) - 15), rng_below(rng, 2) ? 0 : 1e300);
  case 5: /* the neighbour below is nearer than the one above */
    return ldexp(1, (int)rng_below(rng, 2098) - 1074);
  case 6: /* and next to those */
    return nextafter(ldexp(1, (int)rng_below(rng, 400) - 200), rng_below(rng, 2) ? 0 : 1e300);
  case 7: /* whole */
    return (double)(rng_u64(rng) >> rng_below(rng, 64));
  default: /* sixteen digits and a half */
    return (double)(rng_below(rng, 9007199254740992) * 10 + 5) * pow(10, (double)rng_below(rng, 30) - 25);
  }
}

static void digits_are_the_fewest(void **state UNUSED) {
  struct rng rng = rng_seeded(17);
  for (int i = 0; i < 400000; i++) {
    double value = draw(&rng);
    if (!isfinite(value))
      continue;
    int ignored;
    bool is_power_of_two = frexp(value, &ignored) == 0.5;
    char text[32], expected[32];
    size_t n = str_from_f64(value, text);
    assert_true(n < sizeof text && strtod(text, NULL) == value);
    int digits = 1;
    for (snprintf(expected, sizeof expected, "%.0e", value); strtod(expected, NULL) != value;)
      snprintf(expected, sizeof expected, "%.*e", digits++, value);
    /* As many significant digits, and, where several would do, the same ones. */
    char plain[32];
    size_t count = 0;
    for (const char *c = text; *c && *c != 'e'; c++)
      if (*c >= '0' && *c <= '9' && (count || *c != '0'))
        plain[count++] = *c;
    while (count > 1 && plain[count - 1] == '0')
      count--;
    char wanted[32];
    size_t wanted_count = 0;
    for (const char *c = expected; *c && *c != 'e'; c++)
      if (*c >= '0' && *c <= '9')
        wanted[wanted_count++] = *c;
    while (wanted_count > 1 && wanted[wanted_count - 1] == '0')
      wanted_count--;
    if (value == 0)
      continue;
    /* What is nearest with so many digits may lie beyond the near neighbour of a power of two, and another one not. */
    if (is_power_of_two && count < wanted_count)
      continue;
    assert_int_equal(count, wanted_count);
    assert_memory_equal(plain, wanted, count);
  }
}

static void scaling_is_exact(void **state UNUSED) {
  struct rng rng = rng_seeded(18);
  unsigned sure = 0;
  for (int i = 0; i < 300000; i++) {
    uint64_t digits = rng_u64(&rng) >> rng_below(&rng, 64);
    int exponent = (int)rng_below(&rng, 60) - 30;
    double got;
    if (!str_scale_ten(digits, exponent, &got))
      continue;
    sure++;
    char text[48];
    snprintf(text, sizeof text, "%llue%d", (unsigned long long)digits, exponent);
    assert_true(strtod(text, NULL) == got);
  }
#ifdef __x86_64__
  assert_true(sure > 200000);
#endif
}

static void whole_numbers(void **state UNUSED) {
  char text[21], expected[24];
  uint64_t power = 1;
  for (int digits = 1; digits <= 20; digits++, power *= 10)
    for (uint64_t value = power - 2; value != power + 3; value++) { /* from -1 on, too */
      size_t n = str_from_u64(value, text);
      assert_int_equal(n, snprintf(expected, sizeof expected, "%llu", (unsigned long long)value));
      assert_memory_equal(text, expected, n);
      n = str_from_i64((int64_t)value, text);
      assert_int_equal(n, snprintf(expected, sizeof expected, "%lld", (long long)value));
      assert_memory_equal(text, expected, n);
    }
  struct rng rng = rng_seeded(19);
  for (int i = 0; i < 300000; i++) {
    uint64_t value = rng_u64(&rng) >> rng_below(&rng, 64);
    size_t n = str_from_u64(value, text);
    assert_int_equal(n, snprintf(expected, sizeof expected, "%llu", (unsigned long long)value));
    assert_memory_equal(text, expected, n);
  }
  assert_int_equal(str_from_i64(INT64_MIN, text), 20);
  assert_memory_equal(text, "-9223372036854775808", 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(digits_are_the_fewest),
      cmocka_unit_test(scaling_is_exact),
      cmocka_unit_test(whole_numbers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
