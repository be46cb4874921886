#include <math.h>

#include "tests/support/test.h"

#include "base/buf.h"
#include "base/mem.h"
#include "sampler/expr.h"

/* Variables by their number: a number, another, a text, a flag, one not in use. */
static const char *const names[] = {"x", "opt.lr", "kind", "flag", "gone", "odd-name"};
static const struct expr_value values[] = {{EXPR_NUMBER, 3, STR_NONE}, {EXPR_NUMBER, 0.1, STR_NONE}, {EXPR_TEXT, 0, {"sgd", 3}},
                                           {EXPR_BOOL, 1, STR_NONE},   {EXPR_ABSENT, 0, STR_NONE},   {EXPR_NUMBER, -2, STR_NONE}};

static bool find(void *ctx, struct str name, unsigned *ret_variable, enum expr_type *ret_type) {
  (void)ctx;
  for (unsigned i = 0; i < ARRAY_LEN(names); i++)
    if (str_is(name, names[i])) {
      *ret_variable = i;
      *ret_type = i == 2 ? EXPR_TEXT : i == 3 ? EXPR_BOOL : i == 4 ? EXPR_ANY : EXPR_NUMBER;
      return true;
    }
  return false;
}

static struct expr_value get(const void *ctx, unsigned variable) {
  (void)ctx;
  return values[variable];
}

/* 1 true, 0 false, 2 absent, -column when it does not parse */
static int eval(const char *text) {
  struct expr *expr;
  struct err err;
  size_t column;
  if (!expr_parse(str_of(text), find, NULL, &expr, &column, &err)) {
    char start[32];
    snprintf(start, sizeof start, "column %zu: ", column);
    assert_memory_equal(err.text, start, strlen(start)); /* the text and the number agree */
    return -(int)column;
  }
  struct expr_value value = expr_eval(expr, get, NULL);
  expr_free(expr);
  return value.type == EXPR_ABSENT ? 2 : value.number != 0;
}

static void test_truth(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int want;
  } rows[] = {
      {"x == 3", 1},
      {"x * 2 + 1 <= 7", 1},
      {"x - 1 - 1 == 1", 1},
      {"2 ** 3 ** 2 == 512", 1},
      {"-2 ** 2 == -4", 1},
      {"(-2) ** 2 == 4", 1},
      {"7 // 2 == 3 and -7 // 2 == -4", 1},
      {"-7 % 3 == 2 and 7 % -3 == -2", 1},
      {"1 < x < 4", 1},
      {"1 < x < 3", 0},
      {"1 < x <= 3 < 10 > 9", 1},
      {"x > 5 or opt.lr < 0.2", 1},
      {"not x > 5", 1},
      {"!(x > 5) && flag", 1},
      {"x > 5 || false", 0},
      {"kind == 'sgd'", 1},
      {"kind == \"adam\"", 0},
      {"kind in ['adam', 'sgd']", 1},
      {"kind not in ('adam', 'lion')", 1},
      {"x in {1, 2, 3}", 1},
      {"kind != 3", 1},
      {"x == 'x'", 0},
      {"kind < 'sgh'", 1},
      {"min(x, 5, 1) == 1 and max(x, 5) == 5", 1},
      {"abs(`odd-name`) == 2", 1},
      {"floor(2.7) == 2 and ceil(2.1) == 3 and round(2.5) == 2", 1},
      {"exp(log(x)) > 2.99 and sqrt(x * x) == x and log2(8) == 3 and log10(1000) == 3", 1},
      {"1e3 == 1000 and .5 == 0.5 and 1.5e-3 < 0.0016", 1},
      {"true and not False", 1},
      {"flag == true", 1},
      {"1 / 0 > 1", 0},
      {"1 / 0 < 1", 0},
      {"0 / 0 == 0 / 0", 0},
      {"gone > 1", 2},
      {"gone + x > 1", 2},
      {"not gone", 2},
      {"gone > 1 or x == 3", 1},
      {"gone > 1 or x == 4", 2},
      {"gone > 1 and x == 4", 0},
      {"gone in [1]", 2},
      {"max(gone, 1) > 0", 2},
      {"x in [gone, 3]", 1},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++)
    if (eval(rows[i].text) != rows[i].want)
      fail_msg("%s: %d", rows[i].text, eval(rows[i].text));
}

static void test_columns_of_errors(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int column;
  } rows[] = {
      {"", 1},       {"x", 1},        {"x +", 4},          {"x + y > 1", 5},     {"x > 1 x", 7},       {"(x > 1", 1},
      {"x = 3", 3},  {"f(x) > 1", 1}, {"min() > 1", 1},    {"abs(x, x) > 1", 8}, {"kind + 1 > 2", 1},  {"x < kind", 5},
      {"x > 'a", 5}, {"x in 3", 6},   {"x in [3", 8},      {"and x", 1},         {"x > 1 and", 10},    {"1.2.3 > x", 1},
      {"x > 3y", 5}, {"`x > 3", 1},   {"(x) and flag", 1}, {"x > 1; drop", 6},   {"x ** kind > 1", 6}, {"__import__('os')", 1},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++)
    if (eval(rows[i].text) != -rows[i].column)
      fail_msg("%s: %d", rows[i].text, eval(rows[i].text));
}

static void test_limits(void **state) {
  (void)state;
  AUTO_BUF struct buf deep = BUF_INIT(MIB);
  for (int i = 0; i < 2000; i++)
    buf_putc(&deep, '(');
  assert_true(eval(buf_text(&deep)) < 0);
  buf_reset(&deep);
  for (int i = 0; i < 2000; i++)
    buf_puts(&deep, "-");
  buf_puts(&deep, "x > 1");
  assert_true(eval(buf_text(&deep)) < 0);
  buf_reset(&deep);
  for (int i = 0; i < 600; i++)
    buf_puts(&deep, "x+");
  buf_puts(&deep, "x > 1");
  assert_true(eval(buf_text(&deep)) < 0);
  buf_reset(&deep);
  for (int i = 0; i < 5000; i++)
    buf_putc(&deep, ' ');
  buf_puts(&deep, "x > 1");
  assert_int_equal(eval(buf_text(&deep)), -1);
}

static void test_allocation_failures(void **state) {
  (void)state;
  for (unsigned long n = 1; n < 10; n++) {
    struct expr *expr = NULL;
    struct err err;
    mem_fail_at(n, false);
    bool ok = expr_parse(STR("x > 1 and opt.lr in [1, 2]"), find, NULL, &expr, NULL, &err);
    mem_fail_at(0, false);
    if (ok)
      expr_free(expr);
    else
      assert_int_equal(err.code, ERR_NO_MEMORY);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_truth),
      cmocka_unit_test(test_columns_of_errors),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_allocation_failures),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
