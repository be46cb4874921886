#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "web/http/http_range.h"

static void test_ranges(void **unused UNUSED) {
  static const struct {
    const char *value;
    uint64_t size;
    enum http_range_result result;
    uint64_t from, to;
  } cases[] = {
      {"bytes=0-0", 10, HTTP_RANGE_PART, 0, 0},
      {"bytes=2-5", 10, HTTP_RANGE_PART, 2, 5},
      {"Bytes=2-5", 10, HTTP_RANGE_PART, 2, 5},
      {"bytes=2-", 10, HTTP_RANGE_PART, 2, 9},
      {"bytes=-3", 10, HTTP_RANGE_PART, 7, 9},
      {"bytes=-30", 10, HTTP_RANGE_PART, 0, 9},
      {"bytes=5-100", 10, HTTP_RANGE_PART, 5, 9},
      {"bytes=10-", 10, HTTP_RANGE_NONE, 0, 0},
      {"bytes=10-20", 10, HTTP_RANGE_NONE, 0, 0},
      {"bytes=-0", 10, HTTP_RANGE_NONE, 0, 0},
      {"bytes=0-", 0, HTTP_RANGE_NONE, 0, 0},
      {"bytes=-1", 0, HTTP_RANGE_NONE, 0, 0},
      {"bytes=5-2", 10, HTTP_RANGE_WHOLE, 0, 0},
      {"bytes=0-1,3-4", 10, HTTP_RANGE_WHOLE, 0, 0},
      {"bytes=a-b", 10, HTTP_RANGE_WHOLE, 0, 0},
      {"bytes=+1-2", 10, HTTP_RANGE_WHOLE, 0, 0},
      {"bytes=--1", 10, HTTP_RANGE_WHOLE, 0, 0},
      {"bytes=", 10, HTTP_RANGE_WHOLE, 0, 0},
      {"bytes=-", 10, HTTP_RANGE_WHOLE, 0, 0},
      {"items=0-1", 10, HTTP_RANGE_WHOLE, 0, 0},
      {"bytes=18446744073709551616-", 10, HTTP_RANGE_WHOLE, 0, 0},
      {NULL, 10, HTTP_RANGE_WHOLE, 0, 0},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    struct http_range range = {0, 0};
    enum http_range_result result = http_range_parse(str_of(cases[i].value), cases[i].size, &range);
    if (result != cases[i].result || range.from != cases[i].from || range.to != cases[i].to)
      fail_msg("row %zu: %s", i, cases[i].value);
  }
}

static void test_etags(void **unused UNUSED) {
  static const struct {
    const char *list, *etag;
    bool strong, weak;
  } cases[] = {
      {"\"a\"", "\"a\"", true, true},     {"\"b\", \"a\"", "\"a\"", true, true},
      {"W/\"a\"", "\"a\"", false, true},  {"\"a\"", "W/\"a\"", false, true},
      {"*", "\"a\"", true, true},         {"\"a,b\"", "\"a,b\"", true, true},
      {"\"a,b\"", "\"b\"", false, false}, {"a", "\"a\"", false, false},
      {"\"a", "\"a\"", false, false},     {"w/\"a\"", "\"a\"", false, false},
      {"", "\"a\"", false, false},        {"\"b\" junk \"a\"", "\"a\"", false, false},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    struct str list = str_of(cases[i].list), etag = str_of(cases[i].etag);
    if (http_etag_in(list, etag, false) != cases[i].strong || http_etag_in(list, etag, true) != cases[i].weak)
      fail_msg("row %zu: %s", i, cases[i].list);
  }
}

static void test_dates(void **unused UNUSED) {
  char text[32];
  http_date_format(784111777, text);
  assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT");
  int64_t seconds = 0;
  assert_true(http_date_parse(str_of(text), &seconds));
  assert_int_equal(seconds, 784111777);
  static const char *const bad[] = {"Sun, 06 Nov 1994 08:49:37 UTC",
                                    "Mon, 06 Nov 1994 08:49:37 GMT",
                                    "Sun, 31 Feb 1994 08:49:37 GMT",
                                    "Sunday, 06-Nov-94 08:49:37 GMT",
                                    "Sun, 6 Nov 1994 08:49:37 GMT",
                                    "Sun, 06 Nov 1994 24:49:37 GMT",
                                    "",
                                    "Sun, 06 Nov 1994 08:49:37 GMT "};
  for (size_t i = 0; i < ARRAY_LEN(bad); i++)
    if (http_date_parse(str_of(bad[i]), &seconds))
      fail_msg("%s", bad[i]);
}

static void test_gzip_accepted(void **unused UNUSED) {
  static const struct {
    const char *value;
    bool accepted;
  } cases[] = {
      {"gzip", true},
      {"deflate, gzip", true},
      {"GZIP;q=1", true},
      {"x-gzip", true},
      {"*", true},
      {"gzip;q=0", false},
      {"gzip; q=0.000", false},
      {"gzip;q=0.001", true},
      {"br", false},
      {"identity", false},
      {"*;q=0", false},
      {"gzip;q=0, *", false},
      {"*;q=0, gzip", true},
      {"", false},
      {NULL, false},
      {"br;q=1.0, gzip;q=0.5", true},
      {"gzipx", false},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++)
    if (http_accepts_gzip(str_of(cases[i].value)) != cases[i].accepted)
      fail_msg("row %zu: %s", i, cases[i].value);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_ranges),
      cmocka_unit_test(test_etags),
      cmocka_unit_test(test_dates),
      cmocka_unit_test(test_gzip_accepted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
