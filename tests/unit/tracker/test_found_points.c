/* Points on their way from output into the store: what they take, and in which portions they go. */
#include "tests/support/test.h"
#include "tracker/logs/found_points.h"

/* A name as long as they may be, millions of times, is one name. */
static void a_name_is_kept_once(void **state UNUSED) {
  enum { POINTS = 2500000, BATCH = 1000 };
  static char names[2][SERIES_KEY_MAX];
  static struct log_point batch[BATCH];
  struct found_points found = FOUND_POINTS_INIT;
  struct err err;
  for (size_t k = 0; k < 2; k++)
    memset(names[k], 'a' + (int)k, sizeof names[k]);
  for (size_t i = 0; i < BATCH; i++)
    batch[i] = (struct log_point){.key = str_n(names[i % 2], sizeof names[i % 2]), .value = 1, .epoch = NAN, .at = (int64_t)i};
  for (size_t i = 0; i < POINTS; i += BATCH)
    if (!found_points_take(&found, batch, BATCH, &err))
      fail_msg("after %zu points: %s", found.count, err.text);
  assert_int_equal(found.count, POINTS);
  assert_ptr_equal(found.items[1].key.p, found.items[POINTS - 1].key.p);
  assert_ptr_not_equal(found.items[0].key.p, names[0]);
  found_points_release(&found);
}

static void there_is_a_limit(void **state UNUSED) {
  enum { BATCH = 4096 };
  static struct log_point batch[BATCH];
  struct found_points found = FOUND_POINTS_INIT;
  struct err err;
  for (size_t i = 0; i < BATCH; i++)
    batch[i] = (struct log_point){.key = STR("a"), .value = 1, .epoch = NAN};
  while (found.count < FOUND_POINTS_MAX)
    assert_true(found_points_take(&found, batch, BATCH, &err));
  assert_false(found_points_take(&found, batch, 1, &err));
  assert_int_equal(err.code, ERR_TOO_LARGE);
  found_points_release(&found);
}

static void they_go_in_portions(void **state UNUSED) {
  const struct log_point points[] = {
      {.key = STR("a"), .value = 1, .at = 1}, {.key = STR("b"), .value = 2, .at = 2}, {.key = STR("a"), .value = 3, .at = 3}};
  struct found_points found = FOUND_POINTS_INIT;
  AUTO_METRIC_ROWS struct metric_rows rows;
  struct err err;
  metric_rows_init(&rows);
  assert_true(found_points_take(&found, points, ARRAY_LEN(points), &err));
  assert_true(found_points_rows(&found, 1, 2, &rows, &err));
  assert_int_equal(rows.points.n, 2);
  assert_int_equal(points_at(&rows.points, 0).step, 2);
  assert_int_equal(points_at(&rows.points, 1).step, 3);
  metric_rows_release(&rows);
  metric_rows_init(&rows);
  found_points_release(&found);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_name_is_kept_once),
      cmocka_unit_test(there_is_a_limit),
      cmocka_unit_test(they_go_in_portions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
