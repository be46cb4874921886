#include "base/crc32c.h"
#include "base/rng.h"
#include "tests/support/test.h"

static void known_values(void **state UNUSED) {
  assert_int_equal(crc32c(0, "", 0), 0);
  assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283u); /* the check value of the polynomial */
  uint8_t zeros[32] = {0};
  assert_int_equal(crc32c(0, zeros, sizeof zeros), 0x8A9136AAu); /* RFC 3720, B.4 */
}

static void instruction_and_table_agree(void **state UNUSED) {
  struct rng rng = rng_seeded(1);
  uint8_t bytes[300];
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (uint8_t)rng_u64(&rng);
  for (size_t n = 0; n < sizeof bytes; n++) {
    size_t from = n % 9 < n ? n % 9 : 0;
    assert_int_equal(crc32c(7, bytes + from, n - from), crc32c_portable(7, bytes + from, n - from));
    assert_int_equal(crc32c(crc32c(0, bytes, n / 3), bytes + n / 3, n - n / 3), crc32c(0, bytes, n));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_values),
      cmocka_unit_test(instruction_and_table_agree),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
