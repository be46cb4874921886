/* Page tokens: they come back as they were, and only for their question. */
#include "tests/support/test.h"

#include "web/page_token.h"

static void round_trip(void **state) {
  (void)state;
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  for (size_t count = 0; count < 5; count++) {
    AUTO_BUF struct buf token = BUF_INIT(PAGE_TOKEN_MAX);
    const struct str values[] = {STR("1"), STR_NONE, STR(""), STR("gr\xC3\xB6\"\\"), STR("-0.5")};
    const struct str *got;
    size_t n;
    struct err err;
    page_token_write(&token, STR("question"), values, count);
    assert_true(page_token_read(buf_str(&token), STR("question"), &arena, &got, &n, &err));
    assert_int_equal(n, count);
    for (size_t i = 0; i < n; i++) {
      assert_int_equal(got[i].p == NULL, values[i].p == NULL);
      assert_true(str_eq(got[i], values[i]));
    }
    assert_false(page_token_read(buf_str(&token), STR("another"), &arena, &got, &n, &err));
    assert_int_equal(err.code, ERR_INVALID);
  }
}

static void nonsense(void **state) {
  (void)state;
  static const char *const tokens[] = {"", "@@", "a", "AAAA", "W10", "e30", "WzFd", "eyJvZmZzZXQiOiAxfQ==", "\xFF\xFF"};
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
    const struct str *got;
    size_t n;
    struct err err;
    assert_false(page_token_read(str_of(tokens[i]), STR("q"), &arena, &got, &n, &err));
    assert_int_equal(err.code, ERR_INVALID);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(nonsense)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
