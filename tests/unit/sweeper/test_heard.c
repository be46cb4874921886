#include <math.h>

#include "base/mem.h"
#include "sweeper/rules/heard.h"
#include "tests/support/test.h"

static void test_a_second_source(void **state) {
  (void)state;
  struct heard heard = {.items = NULL};
  assert_false(heard_before(&heard, 0, STR("loss"), 1, 0.5));
  assert_false(heard_before(&heard, 0, STR("loss"), 1, 0.5)); /* the same source may repeat itself */
  assert_true(heard_before(&heard, 9, STR("loss"), 1, 0.5));
  assert_false(heard_before(&heard, 9, STR("loss"), 2, 0.5));
  assert_false(heard_before(&heard, 9, STR("loss"), 1, 0.6));
  assert_false(heard_before(&heard, 9, STR("acc"), 1, 0.5));
  assert_false(heard_before(&heard, 0, STR("loss"), 3, (double)NAN));
  assert_true(heard_before(&heard, 9, STR("loss"), 3, (double)NAN));
  heard_release(&heard);
  assert_false(heard_before(&heard, 9, STR("loss"), 1, 0.5));
  heard_release(&heard);
}

static void test_it_is_bounded(void **state) {
  (void)state;
  struct heard heard = {.items = NULL};
  for (int64_t i = 0; i < 5000; i++)
    assert_false(heard_before(&heard, 0, STR("loss"), i, 1));
  for (int64_t i = 0; i < 5000; i++)
    assert_true(heard_before(&heard, 1, STR("loss"), i, 1));
  for (int64_t i = 0; i < 10 * HEARD_MAX; i++)
    heard_before(&heard, 0, STR("loss"), i, 2);
  assert_true(heard.cap <= HEARD_MAX);
  heard_release(&heard);
}

static void test_without_memory_it_counts(void **state) {
  (void)state;
  struct heard heard = {.items = NULL};
  mem_fail_at(1, true);
  assert_false(heard_before(&heard, 0, STR("loss"), 1, 1));
  assert_false(heard_before(&heard, 1, STR("loss"), 1, 1));
  mem_fail_at(0, false);
  heard_release(&heard);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_second_source),
      cmocka_unit_test(test_it_is_bounded),
      cmocka_unit_test(test_without_memory_it_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
