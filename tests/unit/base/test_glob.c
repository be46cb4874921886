#include "base/glob.h"
#include "tests/support/test.h"

static void test_match(void **state) {
  (void)state;
  static const struct {
    const char *pattern, *path;
    bool match;
  } rows[] = {
      {"*.npz", "a.npz", true},
      {"*.npz", "d/a.npz", false},
      {"**/*.npz", "a.npz", true},
      {"**/*.npz", "d/e/a.npz", true},
      {"model/**", "model/a", true},
      {"model/**", "model/a/b", true},
      {"model/**", "model", true},
      {"model/**", "models/a", false},
      {"a/**/z", "a/z", true},
      {"a/**/z", "a/b/c/z", true},
      {"a/**/z", "a/b/c", false},
      {"./log", "log", true},
      {"ckpt-[0-9].pt", "ckpt-3.pt", true},
      {"ckpt-[!0-9].pt", "ckpt-3.pt", false},
      {"[]x]", "]", true},
      {"a[b", "a[b", true},
      {"?.txt", "ab.txt", false},
      {"*", ".hidden", false},
      {".*", ".hidden", true},
      {"**", "a/.git/x", false},
      {"**", "a/b", true},
      {"a*b*c", "aXbYbZc", true},
      {"a*b*c", "aXbYbZ", false},
      {"", "a", false},
      {"*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++)
    if (glob_match(str_of(rows[i].pattern), str_of(rows[i].path)) != rows[i].match)
      fail_msg("%s against %s", rows[i].pattern, rows[i].path);
}

static void test_reaches(void **state) {
  (void)state;
  assert_true(glob_reaches(STR("*.npz"), STR("")));
  assert_false(glob_reaches(STR("*.npz"), STR("d")));
  assert_true(glob_reaches(STR("model/**"), STR("model/deep")));
  assert_false(glob_reaches(STR("model/**"), STR("data")));
  assert_true(glob_reaches(STR("**/x"), STR("a/b")));
  assert_false(glob_reaches(STR("**/x"), STR("a/.git")));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_match), cmocka_unit_test(test_reaches)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
