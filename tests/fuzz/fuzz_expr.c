/* Any text as an expression: it parses or says where not; what parses can be evaluated. */
#include <math.h>

#include "sampler/expr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool find(void *ctx, struct str name, unsigned *ret_variable, enum expr_type *ret_type) {
  (void)ctx;
  *ret_variable = name.n ? (unsigned)(name.p[0] & 3) : 0;
  *ret_type = *ret_variable == 0 ? EXPR_ANY : *ret_variable == 1 ? EXPR_NUMBER : *ret_variable == 2 ? EXPR_BOOL : EXPR_TEXT;
  return name.n < 20;
}

static struct expr_value get(const void *ctx, unsigned variable) {
  (void)ctx;
  static const struct expr_value values[] = {
      {EXPR_ABSENT, 0, STR_NONE}, {EXPR_NUMBER, 0.5, STR_NONE}, {EXPR_BOOL, 1, STR_NONE}, {EXPR_TEXT, 0, {"sgd", 3}}};
  return values[variable];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct expr *expr;
  struct err err;
  size_t column;
  struct str text = str_n((const char *)data, size);
  if (!expr_parse(text, find, NULL, &expr, &column, &err)) {
    if (column < 1 || column > size + 1 || !err.text[0])
      abort();
    return 0;
  }
  struct expr_value value = expr_eval(expr, get, NULL);
  if (value.type != EXPR_BOOL && value.type != EXPR_ABSENT)
    abort();
  expr_free(expr);
  return 0;
}
