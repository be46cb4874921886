#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "base/json.h"
#include "base/mem.h"
#include "sweeper/spec/yaml.h"

static struct arena arena;

static int setup(void **state) {
  (void)state;
  arena_init(&arena, 64 * MIB);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  arena_release(&arena);
  return 0;
}

static struct ynode *read_text(const char *text) {
  struct ynode *root = NULL;
  struct yaml_place place;
  struct err err = {0};
  if (!yaml_read(str_of(text), &arena, &root, &place, &err))
    fail_msg("%s at %u:%u", err.text, place.line, place.column);
  return root;
}

static void scalars_follow_the_core_schema(void **state) {
  (void)state;
  static const struct {
    const char *text;
    enum ynode_kind kind;
    double number;
  } rows[] = {
      {"1", YN_INT, 1},         {"-7", YN_INT, -7},         {"+7", YN_INT, 7},
      {"0o17", YN_INT, 15},     {"0x1F", YN_INT, 31},       {"010", YN_INT, 10},
      {"1e-4", YN_FLOAT, 1e-4}, {"1.0e-4", YN_FLOAT, 1e-4}, {"1.", YN_FLOAT, 1},
      {".5", YN_FLOAT, .5},     {"1e3", YN_FLOAT, 1000},    {"yes", YN_TEXT, 0},
      {"no", YN_TEXT, 0},       {"on", YN_TEXT, 0},         {"Off", YN_TEXT, 0},
      {"true", YN_BOOL, 0},     {"False", YN_BOOL, 0},      {"tRue", YN_TEXT, 0},
      {"~", YN_NULL, 0},        {"null", YN_NULL, 0},       {"nULL", YN_TEXT, 0},
      {"1_000", YN_TEXT, 0},    {"1:30", YN_TEXT, 0},       {"0b11", YN_TEXT, 0},
      {"1e", YN_TEXT, 0},       {"0o8", YN_TEXT, 0},        {"'1'", YN_TEXT, 0},
      {"\"true\"", YN_TEXT, 0}, {"nan", YN_TEXT, 0},        {"inf", YN_TEXT, 0},
      {"!!str 12", YN_TEXT, 0}, {"!!float 3", YN_FLOAT, 3}, {"18446744073709551616", YN_FLOAT, 18446744073709551616.0},
      {".", YN_TEXT, 0},        {"2001-12-14", YN_TEXT, 0}, {"0x", YN_TEXT, 0},
      {"! 12", YN_TEXT, 0},     {"30m", YN_TEXT, 0},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct ynode *node = read_text(rows[i].text);
    if (node->kind != rows[i].kind)
      fail_msg("%s is %s", rows[i].text, ynode_kind_word(node));
    if (rows[i].kind == YN_INT || rows[i].kind == YN_FLOAT)
      assert_true(node->number == rows[i].number);
  }
  assert_true(isinf(read_text("-.inf")->number) && read_text("-.inf")->number < 0);
  assert_true(isnan(read_text(".nan")->number));
  assert_string_equal(read_text("1.0e-4")->text.p, "1.0e-4");
}

static void numbers_are_found_in_quotes_too(void **state) {
  (void)state;
  double number;
  int64_t whole;
  assert_true(ynode_number(read_text("'0.03'"), &number) && number == 0.03);
  assert_true(ynode_integer(read_text("\"12\""), &whole) && whole == 12);
  assert_true(ynode_integer(read_text("1e3"), &whole) && whole == 1000);
  assert_false(ynode_integer(read_text("1.5"), &whole));
  assert_false(ynode_integer(read_text("1e300"), &whole));
  assert_false(ynode_number(read_text("'yes'"), &number));
  assert_false(ynode_number(read_text("[1]"), &number));
}

static void places_are_kept(void **state) {
  (void)state;
  struct ynode *root = read_text("a: 1\nparameters:\n  lr:\n    values: [0.1,\n             x]\n  a.b: {min: 3}\n  a: {b: {min: 4}}\n");
  const struct ynode *node = ynode_at(root, STR("parameters.lr.values[1]"));
  assert_int_equal(node->line, 5);
  assert_int_equal(node->column, 14);
  assert_int_equal(ynode_at(root, STR("parameters.a.b.min"))->integer, 3);
  assert_int_equal(ynode_at(root, STR("parameters.lr.nothing"))->line, 4);
  assert_int_equal(ynode_at(root, STR("parameters.lr.values[9]"))->line, 4);
  assert_ptr_equal(ynode_at(root, STR("")), root);
  assert_null(ynode_peek(root, STR("b")));
  assert_false(root->pairs[0].key->seen);
  assert_int_equal(ynode_get(root, "a")->integer, 1);
  assert_true(root->pairs[0].key->seen);
}

static void json_is_yaml(void **state) {
  (void)state;
  struct ynode *root = read_text("{\"a\": [1, 2.5, \"x\\ty\\u00e9\", null, true], \"b\": {\"c\": 1e-5}}");
  AUTO_JSON json_t *json = NULL;
  struct err err;
  assert_true(ynode_to_json(root, &json, &err));
  AUTO_BUF struct buf out = BUF_INIT(KIB);
  struct json_writer w;
  jw_init(&w, &out);
  jw_json(&w, json);
  assert_string_equal(buf_text(&out), "{\"a\":[1,2.5,\"x\\ty\xc3\xa9\",null,true],\"b\":{\"c\":1e-05}}");
}

static void aliases_and_merges(void **state) {
  (void)state;
  struct ynode *root = read_text("base: &b {lr: 1, wd: 2}\none: *b\ntwo:\n  <<: *b\n  wd: 3\nthree: {<<: [{x: 1}, *b], lr: 9}\n");
  assert_int_equal(ynode_at(root, STR("one.lr"))->integer, 1);
  assert_int_equal(ynode_at(root, STR("two.lr"))->integer, 1);
  assert_int_equal(ynode_at(root, STR("two.wd"))->integer, 3);
  assert_int_equal(ynode_at(root, STR("three.lr"))->integer, 9);
  assert_int_equal(ynode_at(root, STR("three.x"))->integer, 1);
  assert_int_equal(ynode_at(root, STR("three.wd"))->integer, 2);
}

static void mistakes_point(void **state) {
  (void)state;
  static const struct {
    const char *text;
    unsigned line, column;
    const char *says;
  } rows[] = {
      {"a: 1\nb: 2\na: 3\n", 3, 1, "the key \"a\" stands here twice (first in line 1)"},
      {"a:\n\t- 1\n", 2, 1, "a tab cannot be used"},
      {"a: [1, 2\nb: 3\n", 2, 2, "\",\" or \"]\" is missing"},
      {"a: b: c\n", 1, 5, "a \":\" does not belong here"},
      {"a: 'x\n", 2, 1, "inside a quoted string"},
      {"? [1]\n: 2\n", 1, 3, "a key must be a plain word"},
      {"a: 1\n---\nb: 2\n", 2, 1, "second document"},
      {"a: *x\n", 1, 4, "has no anchor"},
      {"a: &x [*x]\n", 1, 8, "inside its own anchor"},
      {"a: !!python/object 1\n", 1, 4, "is not understood"},
      {"a: !!int x\n", 1, 4, "does not fit"},
      {"a: \xff\n", 1, 4, "UTF-8"},
      {"a: \x01\n", 1, 4, "control character"},
      {"a: \"\\0\"\n", 1, 4, "NUL"},
      {"a: {<<: 3}\n", 1, 5, "takes a map"},
      {"a: @x\n", 1, 4, "cannot begin with this character"},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct ynode *root = NULL;
    struct yaml_place place;
    struct err err = {0};
    assert_false(yaml_read(str_of(rows[i].text), &arena, &root, &place, &err));
    if (!strstr(err.text, rows[i].says) || place.line != rows[i].line || place.column != rows[i].column)
      fail_msg("row %zu: \"%s\" at %u:%u", i, err.text, place.line, place.column);
  }
}

static bool reads(struct str text, struct err *err) {
  struct ynode *root;
  return yaml_read(text, &arena, &root, NULL, err);
}

static void limits_hold(void **state) {
  (void)state;
  struct err err = {0};
  AUTO_BUF struct buf deep = BUF_INIT(MIB);
  for (int i = 0; i < YAML_DEPTH_MAX; i++)
    buf_putc(&deep, '[');
  for (int i = 0; i < YAML_DEPTH_MAX; i++)
    buf_putc(&deep, ']');
  assert_true(reads(buf_str(&deep), &err));
  buf_reset(&deep);
  for (int i = 0; i < 100000; i++)
    buf_putc(&deep, '[');
  assert_false(reads(buf_str(&deep), &err));
  assert_non_null(strstr(err.text, "nested deeper"));

  AUTO_BUF struct buf bomb = BUF_INIT(MIB);
  buf_puts(&bomb, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
  for (int i = 1; i < 12; i++) {
    buf_printf(&bomb, "a%d: &a%d [", i, i);
    for (int j = 0; j < 10; j++)
      buf_printf(&bomb, "*a%d,", i - 1);
    buf_puts(&bomb, "]\n");
  }
  assert_false(reads(buf_str(&bomb), &err));
  assert_non_null(strstr(err.text, "more than"));

  AUTO_BUF struct buf many = BUF_INIT(4 * MIB);
  for (int i = 0; i < 50000; i++)
    buf_printf(&many, "k%d: 1\n", i);
  assert_true(reads(buf_str(&many), &err)); /* and quickly: duplicates are looked up by hash */
  buf_puts(&many, "k77: 2\n");
  assert_false(reads(buf_str(&many), &err));
}

static void memory_failures_are_reported(void **state) {
  (void)state;
  const char *text = "a: &x [1, 2, {b: c}]\nd: *x\ne: {<<: {f: 1}}\n";
  for (unsigned long n = 1; n < 200; n++) {
    struct arena own;
    arena_init(&own, MIB);
    struct ynode *root = NULL;
    struct err err = {0};
    mem_fail_at(n, true);
    bool ok = yaml_read(str_of(text), &own, &root, NULL, &err);
    mem_fail_at(0, false);
    arena_release(&own);
    if (ok)
      return;
    assert_int_equal(err.code, ERR_NO_MEMORY);
  }
  fail_msg("never succeeded");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(scalars_follow_the_core_schema),
      cmocka_unit_test(numbers_are_found_in_quotes_too),
      cmocka_unit_test(places_are_kept),
      cmocka_unit_test(json_is_yaml),
      cmocka_unit_test(aliases_and_merges),
      cmocka_unit_test(mistakes_point),
      cmocka_unit_test(limits_hold),
      cmocka_unit_test(memory_failures_are_reported),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
