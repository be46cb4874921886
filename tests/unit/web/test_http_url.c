#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "web/http/http_url.h"

static void test_decode(void **unused UNUSED) {
  static const struct {
    const char *in;
    bool plus;
    const char *out; /* NULL: refused */
  } cases[] = {
      {"", false, ""},       {"abc", false, "abc"},      {"a%20b", false, "a b"},       {"a+b", false, "a+b"},
      {"a+b", true, "a b"},  {"%41%4a%6A", true, "AJj"}, {"%252e", false, "%2e"},       {"%2F", false, "/"},
      {"%", false, NULL},    {"%4", false, NULL},        {"%4g", false, NULL},          {"a%zz", false, NULL},
      {"%00", false, NULL},  {"x%00y", true, NULL},      {"%c3%a9", false, "\xc3\xa9"}, {"%%41", false, NULL},
      {"% 41", false, NULL}, {"%+1", true, NULL},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    char out[64];
    size_t n = 0;
    bool ok = http_url_decode(str_of(cases[i].in), cases[i].plus, out, &n);
    if (ok != (cases[i].out != NULL) || (ok && !str_is(str_n(out, n), cases[i].out)))
      fail_msg("row %zu: %s", i, cases[i].in);
  }
}

static void test_encode(void **unused UNUSED) {
  AUTO_BUF struct buf out = BUF_INIT(256);
  http_url_encode(&out, STR("a b/\xc3\xa9\"%~"), false);
  assert_string_equal(buf_text(&out), "a%20b%2F%C3%A9%22%25~");
  buf_reset(&out);
  http_url_encode(&out, STR("a/b"), true);
  assert_string_equal(buf_text(&out), "a/b");
}

static void test_query(void **unused UNUSED) {
  struct str rest = STR("a=1&b&&=c&d=e=f&"), name, value;
  static const char *const pairs[][2] = {{"a", "1"}, {"b", ""}, {"", "c"}, {"d", "e=f"}};
  for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
    assert_true(http_query_next(&rest, &name, &value));
    assert_true(str_is(name, pairs[i][0]) && str_is(value, pairs[i][1]));
  }
  assert_false(http_query_next(&rest, &name, &value));
}

static void test_authority(void **unused UNUSED) {
  static const struct {
    const char *text;
    const char *host; /* NULL: refused */
    unsigned port;
  } cases[] = {
      {"localhost", "localhost", 0},
      {"LOCALHOST:5000", "LOCALHOST", 5000},
      {"127.0.0.1:80", "127.0.0.1", 80},
      {"127.255.0.9", "127.255.0.9", 0},
      {"127.0.0.1.evil.example", "127.0.0.1.evil.example", 0},
      {"127.0.0.256", "127.0.0.256", 0},
      {"127.1", "127.1", 0},
      {"[::1]:5000", "::1", 5000},
      {"[::2]", "::2", 0},
      {"evil.example", "evil.example", 0},
      {"localhost.", "localhost.", 0},
      {"a:", NULL, 0},
      {"a:99999", NULL, 0},
      {"a:b", NULL, 0},
      {"", NULL, 0},
      {":80", NULL, 0},
      {"[]", NULL, 0},
      {"[::1]x", NULL, 0},
      {"[::g]", NULL, 0},
      {"a/b", NULL, 0},
      {"a\\b", NULL, 0},
      {"u@h", NULL, 0},
      {"a#b", NULL, 0},
      {"a%20b", NULL, 0},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    struct http_authority a;
    bool ok = http_authority_parse(str_of(cases[i].text), &a);
    if (ok != (cases[i].host != NULL) || (ok && (!str_is(a.host, cases[i].host) || a.port != cases[i].port)))
      fail_msg("row %zu: %s", i, cases[i].text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_decode),
      cmocka_unit_test(test_encode),
      cmocka_unit_test(test_query),
      cmocka_unit_test(test_authority),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
