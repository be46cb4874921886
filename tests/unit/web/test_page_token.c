/* Page tokens: they come back as they were, and only for their question. */
#include "tests/support/test.h"

#include "web/page_token.h"

static void round_trip(void **state) {
  (void)state;
  const struct page_question question = {STR("question"), STR("1 2"), STR("a = 'b'"), STR_NONE};
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  for (size_t count = 0; count < 5; count++) {
    AUTO_BUF struct buf token = BUF_INIT(PAGE_TOKEN_MAX);
    const struct str values[] = {STR("1"), STR_NONE, STR(""), STR("gr\xC3\xB6\"\\"), STR("-0.5")};
    const struct str *got;
    size_t n;
    struct err err;
    page_token_write(&token, &question, values, count);
    assert_true(page_token_read(buf_str(&token), &question, &arena, &got, &n, &err));
    assert_int_equal(n, count);
    for (size_t i = 0; i < n; i++) {
      assert_int_equal(got[i].p == NULL, values[i].p == NULL);
      assert_true(str_eq(got[i], values[i]));
    }
  }
}

/* What is another is named. */
static void of_another_question(void **state) {
  (void)state;
  static const struct {
    struct page_question question;
    const char *error;
  } rows[] = {
      {{STR("x"), STR("1"), STR("f"), STR("o")}, "Invalid page token: it belongs to another question"},
      {{STR("s"), STR("2"), STR("f"), STR("o")},
       "Invalid page token: Experiment IDs in the page token do not match the requested experiment IDs."},
      {{STR("s"), STR("1"), STR_NONE, STR("o")},
       "Invalid page token: Filter string in the page token does not match the requested filter string."},
      {{STR("s"), STR("1"), STR("f"), STR("")}, "Invalid page token: Order by in the page token does not match the requested order by."},
  };
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  AUTO_BUF struct buf token = BUF_INIT(PAGE_TOKEN_MAX);
  page_token_write(&token, &(struct page_question){STR("s"), STR("1"), STR("f"), STR("o")}, NULL, 0);
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    const struct str *got;
    size_t n;
    struct err err;
    assert_false(page_token_read(buf_str(&token), &rows[i].question, &arena, &got, &n, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_string_equal(err.text, rows[i].error);
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
    assert_false(page_token_read(str_of(tokens[i]), &(struct page_question){.scope = STR("q")}, &arena, &got, &n, &err));
    assert_int_equal(err.code, ERR_INVALID);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(of_another_question), cmocka_unit_test(nonsense)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
