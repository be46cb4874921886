/* A small expression language for constraints: arithmetic, comparison, and / or / not, `in`, a few functions, names of parameters. No side
 * effects, no loops; parsing and evaluation are bounded.
 *
 *   batchsize * epochs <= 4096        1 < layers < 8        optimizer in ['sgd', 'adam'] or lr < 1e-3        max(a.b, `odd-name`) >= 2
 */
#ifndef WINNOW_SAMPLER_EXPR_H
#define WINNOW_SAMPLER_EXPR_H

#include "base/err.h"
#include "base/str.h"

#define EXPR_TEXT_MAX 4096

enum expr_type {
  EXPR_ABSENT, /* a parameter that is not in use at this point; everything made of it is absent too */
  EXPR_NUMBER,
  EXPR_BOOL,
  EXPR_TEXT,
  EXPR_ANY, /* static type only: known when evaluated */
};

struct expr_value {
  enum expr_type type;
  double number;   /* EXPR_NUMBER; EXPR_BOOL as 0 or 1 */
  struct str text; /* EXPR_TEXT, borrowed */
};

/* Finds a name when an expression is parsed: the variable's number and what it will be, or false. */
typedef bool (*expr_find_fn)(void *ctx, struct str name, unsigned *ret_variable, enum expr_type *ret_type);
/* Gives a variable's value when the expression is evaluated. */
typedef struct expr_value (*expr_get_fn)(const void *ctx, unsigned variable);

struct expr;

/* The expression must be a condition: a comparison, a boolean. On failure *ret_column (1-based, in bytes; may be NULL) says where, and so
 * does the text. */
MUST_CHECK bool expr_parse(struct str text, expr_find_fn find, void *ctx, struct expr **ret, size_t *ret_column, struct err *err);
void expr_free(struct expr *expr);

/* EXPR_BOOL, or EXPR_ABSENT when a needed parameter is not in use. `a or b` holds when either does, even where the other is absent.
 * A comparison of values of different types is false (`!=`: true); a number that is not one compares false. */
struct expr_value expr_eval(const struct expr *expr, expr_get_fn get, const void *ctx);

/* The variables used, each once. */
size_t expr_variables(const struct expr *expr, const unsigned **ret_variables);

#endif
