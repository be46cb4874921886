#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/pg_cluster.h"

static void test_starts(void **state) {
  (void)state;
  struct pg_cluster cluster;
  int64_t before = clock_mono_ms(&clock_system);
  pg_cluster_start(&cluster, NULL);
  print_message("first start: %lld ms\n", (long long)(clock_mono_ms(&clock_system) - before));
  assert_int_equal(pg_cluster_int(&cluster, "select 1"), 1);
  pg_cluster_stop(&cluster);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_starts), cmocka_unit_test(test_starts)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
