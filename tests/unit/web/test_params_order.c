/* Parameters in the order of a sweep's file, whatever forms its declarations have. */
#include "tests/support/test.h"
#include "web/api/params_order.h"

static void assert_order(const char *order, const char *params, bool flat, const char *right) {
  AUTO_JSON json_t *declared = params_declared(str_of(order)), *given = NULL, *ordered = NULL;
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  struct err err;
  struct json_writer w;
  assert_true(json_read(str_of(params), &given, &err));
  ordered = flat ? params_in_order_flat(declared, given) : params_in_order(declared, given);
  assert_non_null(ordered);
  jw_init(&w, &text);
  jw_json(&w, ordered);
  assert_string_equal(buf_text(&text), right);
}

#define SPEC                                                                                                                            \
  "{\"z\": null, \"net\": {\"parameters\": {\"wide\": {}, \"a\": {}}}, \"model\": {\"choices\": "                                       \
  "[{\"value\": 1}, {\"parameters\": {\"deep\": {}, \"b\": {}}}]}, \"pair\": {\"values\": [{\"y\": 1, \"x\": 2}]}, \"c\": {\"value\": " \
  "{\"q\": 1, \"p\": 2}}}"

static void nested_ones(void **state UNUSED) {
  assert_order(SPEC, "{\"net\": {\"a\": 1, \"wide\": 2}, \"z\": 3}", false, "{\"z\":3,\"net\":{\"wide\":2,\"a\":1}}");
  assert_order(SPEC, "{\"model\": {\"b\": 1, \"deep\": 2}, \"z\": 3}", false, "{\"z\":3,\"model\":{\"deep\":2,\"b\":1}}");
  assert_order(SPEC, "{\"c\": {\"p\": 2, \"q\": 1}, \"pair\": {\"x\": 2, \"y\": 1}, \"model\": 1}", false,
               "{\"model\":1,\"pair\":{\"y\":1,\"x\":2},\"c\":{\"q\":1,\"p\":2}}");
}

static void flat_ones(void **state UNUSED) {
  assert_order(
      SPEC,
      "{\"c.p\": \"2\", \"c.q\": \"1\", \"lr\": \"own\", \"pair.x\": \"2\", \"pair.y\": \"1\", \"model.b\": \"1\", \"model.deep\": \"2\", "
      "\"net.a\": \"1\", \"net.wide\": \"2\", \"z\": \"3\"}",
      true,
      "{\"z\":\"3\",\"net.wide\":\"2\",\"net.a\":\"1\",\"model.deep\":\"2\",\"model.b\":\"1\",\"pair.y\":\"1\",\"pair.x\":\"2\",\"c.q\":\"1\","
      "\"c.p\":\"2\",\"lr\":\"own\"}");
}

/* Nothing is lost, whatever stands in the file. */
static void what_is_not_declared(void **state UNUSED) {
  static const char *const specs[] = {"", "{", "[]", "{}", "3", "{\"b\": null, \"a\": 7}"};
  for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
    assert_order(specs[i], "{\"c\": {\"d\": 1}}", false, "{\"c\":{\"d\":1}}");
    assert_order(specs[i], "{\"c.d\": \"1\"}", true, "{\"c.d\":\"1\"}");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nested_ones),
      cmocka_unit_test(flat_ones),
      cmocka_unit_test(what_is_not_declared),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
