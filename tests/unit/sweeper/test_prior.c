#include "base/mem.h"
#include "sweeper/prior.h"
#include "tests/support/test.h"

static struct space *space_of(const char *text) {
  AUTO_JSON json_t *json = NULL;
  struct space *space;
  struct err err;
  if (!json_read(str_of(text), &json, &err) ||
      !space_new(json_object_get(json, "parameters"), NULL, json_object_get(json, "constraints"), &space, &err))
    fail_msg("%s", err.text);
  return space;
}

static void points_of_results(void **state) {
  (void)state;
  struct space *space =
      space_of("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"n\": {\"min\": 1, \"max\": 9},"
               "\"opt\": {\"values\": [\"adam\", 1, \"1\", true]}, \"deep\": {\"parameters\": {\"lr\": {\"min\": 0.0, \"max\": 1.0}}}},"
               "\"constraints\": [\"n <= 8\"]}");
  static const struct {
    const char *params;
    enum prior_fit fit;
    double x, opt;
  } rows[] = {
      {"{\"x\": 0.5, \"n\": 3, \"opt\": \"adam\", \"deep\": {\"lr\": 0.25}}", PRIOR_FITS, 0.5, 0},
      {"{\"x\": \"0.5\", \"n\": \"3\", \"opt\": \"adam\", \"deep.lr\": \"0.25\"}", PRIOR_FITS, 0.5, 0}, /* as runs log them */
      {"{\"x\": 0, \"n\": 3, \"opt\": 1, \"deep.lr\": 1, \"other\": [1]}", PRIOR_FITS, 0, 1},
      {"{\"x\": \"1e-1\", \"n\": \"3\", \"opt\": \"1\", \"deep.lr\": 1}", PRIOR_FITS, 0.1,
       2}, /* the text itself comes before what it says */
      {"{\"x\": \".5\", \"n\": \"3\", \"opt\": \"True\", \"deep.lr\": 1}", PRIOR_FITS, 0.5, 3},
      {"{\"x\": 0.5, \"n\": 3, \"opt\": \"adam\"}", PRIOR_MISSING, 0, 0},
      {"{}", PRIOR_MISSING, 0, 0},
      {"[1]", PRIOR_MISSING, 0, 0},
      {"{\"x\": 1.5, \"n\": 3, \"opt\": \"adam\", \"deep.lr\": 0}", PRIOR_OUTSIDE, 0, 0},
      {"{\"x\": \"much\", \"n\": 3, \"opt\": \"adam\", \"deep.lr\": 0}", PRIOR_OUTSIDE, 0, 0},
      {"{\"x\": 0.5, \"n\": 3.5, \"opt\": \"adam\", \"deep.lr\": 0}", PRIOR_OUTSIDE, 0, 0},
      {"{\"x\": 0.5, \"n\": 3, \"opt\": \"sgd\", \"deep.lr\": 0}", PRIOR_OUTSIDE, 0, 0},
      {"{\"x\": 0.5, \"n\": 9, \"opt\": \"adam\", \"deep.lr\": 0}", PRIOR_OUTSIDE, 0, 0}, /* the constraint */
      {"{\"x\": null, \"n\": 3, \"opt\": \"adam\", \"deep.lr\": 0}", PRIOR_OUTSIDE, 0, 0},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_JSON json_t *params = NULL;
    double point[SPACE_PARAMS_MAX];
    struct err err;
    assert_true(json_read(str_of(rows[i].params), &params, &err));
    if (prior_point(space, params, point) != rows[i].fit)
      fail_msg("row %zu: %s", i, rows[i].params);
    if (rows[i].fit == PRIOR_FITS) {
      assert_true(point[space_find(space, STR("x"))] <= rows[i].x && point[space_find(space, STR("x"))] >= rows[i].x);
      assert_int_equal((int)point[space_find(space, STR("opt"))], (int)rows[i].opt);
    }
  }
  space_free(space);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(points_of_results)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
