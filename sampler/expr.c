#include "sampler/expr.h"

#include <math.h>
#include <stdarg.h>

#include "base/mem.h"

/* An expression is compiled to postfix code: an operand pushes, an operator takes its operands off the stack and pushes the result. */
enum op {
  OP_NUMBER,
  OP_BOOL,
  OP_STRING,
  OP_VARIABLE,
  OP_OR,
  OP_AND,
  OP_NOT,
  OP_EQ,
  OP_NE,
  OP_LT,
  OP_LE,
  OP_GT,
  OP_GE,
  OP_IN, /* count: items of the list */
  OP_ADD,
  OP_SUB,
  OP_MUL,
  OP_DIV,
  OP_FLOORDIV,
  OP_MOD,
  OP_POW,
  OP_NEG,
  OP_CALL, /* which: row of the functions */
};

struct code {
  enum op op;
  unsigned short which; /* variable, function */
  unsigned short count; /* arguments, items */
  double number;
  struct str text; /* into the expression's own copy */
};

enum { CODE_MAX = 512, DEPTH_MAX = 48, STACK_MAX = 256, VARIABLES_MAX = 64 };

struct expr {
  size_t code_count;
  size_t variable_count;
  unsigned variables[VARIABLES_MAX];
  char *text;
  struct code code[];
};

/* ---- functions ---- */

static double fn_min(const double *x, unsigned n) {
  double m = x[0];
  for (unsigned i = 1; i < n; i++)
    m = x[i] < m ? x[i] : m;
  return m;
}
static double fn_max(const double *x, unsigned n) {
  double m = x[0];
  for (unsigned i = 1; i < n; i++)
    m = x[i] > m ? x[i] : m;
  return m;
}

enum { ARGUMENTS_MAX = 16 };
static const struct {
  const char *name;
  unsigned max_args; /* one at least is needed */
  double (*of_all)(const double *x, unsigned n);
  double (*of_one)(double x);
} functions[] = {
    {"min", ARGUMENTS_MAX, fn_min, NULL},
    {"max", ARGUMENTS_MAX, fn_max, NULL},
    {"abs", 1, NULL, fabs},
    {"log", 1, NULL, log},
    {"log2", 1, NULL, log2},
    {"log10", 1, NULL, log10},
    {"exp", 1, NULL, exp},
    {"sqrt", 1, NULL, sqrt},
    {"floor", 1, NULL, floor},
    {"ceil", 1, NULL, ceil},
    {"round", 1, NULL, rint},
};

/* ---- the parser ---- */

struct parser {
  struct str text;
  size_t at;
  unsigned depth;
  expr_find_fn find;
  void *ctx;
  struct expr *expr;
  size_t stack; /* values on the stack after the code so far */
  struct err *err;
  size_t error_at;
};

static bool fail(struct parser *p, size_t at, const char *format, ...) PRINTF_LIKE(3, 4);
static bool fail(struct parser *p, size_t at, const char *format, ...) {
  char text[200];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  p->error_at = at;
  return err_set(p->err, ERR_INVALID, "column %zu: %s", at + 1, text);
}

static void skip_space(struct parser *p) {
  while (p->at < p->text.n && strchr(" \t\r\n", p->text.p[p->at]) && p->text.p[p->at])
    p->at++;
}

static bool is_name_start(char c) {
  return isalpha((unsigned char)c) || c == '_';
}
static bool is_name(char c) {
  return is_name_start(c) || isdigit((unsigned char)c);
}

static char peek(struct parser *p, size_t ahead) {
  return p->at + ahead < p->text.n ? p->text.p[p->at + ahead] : 0;
}

/* Takes the symbol when it comes next. */
static bool accept(struct parser *p, const char *symbol) {
  skip_space(p);
  struct str rest = str_slice(p->text, p->at, p->text.n), wanted = str_of(symbol);
  if (!str_starts(rest, wanted))
    return false;
  if (is_name_start(symbol[0]) && rest.n > wanted.n && is_name(rest.p[wanted.n]))
    return false; /* a longer word */
  p->at += wanted.n;
  return true;
}

static bool emit(struct parser *p, struct code code, size_t takes) {
  if (p->expr->code_count == CODE_MAX)
    return fail(p, p->at, "the expression has more than %d parts", (int)CODE_MAX);
  p->stack = p->stack - takes + 1;
  if (p->stack > STACK_MAX)
    return fail(p, p->at, "the expression is too deep");
  p->expr->code[p->expr->code_count++] = code;
  return true;
}

static bool parse_or(struct parser *p, enum expr_type *ret_type);

static bool enter(struct parser *p) {
  if (++p->depth > DEPTH_MAX)
    return fail(p, p->at, "more than %d levels of nesting", (int)DEPTH_MAX);
  return true;
}

static bool want(struct parser *p, enum expr_type got, enum expr_type wanted, size_t at) {
  if (got == wanted || got == EXPR_ANY)
    return true;
  return fail(p, at, "%s is needed here", wanted == EXPR_NUMBER ? "a number" : "a condition");
}

static bool parse_number(struct parser *p) {
  size_t start = p->at;
  while (isdigit((unsigned char)peek(p, 0)) || peek(p, 0) == '.')
    p->at++;
  if ((peek(p, 0) | 32) == 'e') {
    size_t sign = peek(p, 1) == '+' || peek(p, 1) == '-';
    if (isdigit((unsigned char)peek(p, 1 + sign))) {
      p->at += 1 + sign;
      while (isdigit((unsigned char)peek(p, 0)))
        p->at++;
    }
  }
  double value;
  if (!str_to_f64(str_slice(p->text, start, p->at), &value) || is_name(peek(p, 0)))
    return fail(p, start, "this is no number");
  return emit(p, (struct code){.op = OP_NUMBER, .number = value}, 0);
}

static bool parse_string(struct parser *p) {
  size_t start = p->at;
  char quote = peek(p, 0);
  size_t end = start + 1;
  while (end < p->text.n && p->text.p[end] != quote)
    end++;
  if (end == p->text.n)
    return fail(p, start, "the quote is not closed");
  p->at = end + 1;
  return emit(p, (struct code){.op = OP_STRING, .text = str_slice(p->text, start + 1, end)}, 0);
}

static bool parse_call(struct parser *p, struct str name, size_t at) {
  size_t row = 0;
  while (row < ARRAY_LEN(functions) && !str_is(name, functions[row].name))
    row++;
  if (row == ARRAY_LEN(functions))
    return fail(p, at, "there is no function \"%.*s\"", STR_ARG(str_slice(name, 0, 40)));
  unsigned count = 0;
  if (!accept(p, ")")) {
    do {
      enum expr_type type;
      skip_space(p);
      size_t arg_at = p->at;
      if (!parse_or(p, &type) || !want(p, type, EXPR_NUMBER, arg_at))
        return false;
      if (++count > functions[row].max_args)
        return fail(p, arg_at, "\"%s\" takes fewer arguments", functions[row].name);
    } while (accept(p, ","));
    if (!accept(p, ")"))
      return fail(p, p->at, "\")\" is missing");
  }
  if (!count)
    return fail(p, at, "\"%s\" needs an argument", functions[row].name);
  return emit(p, (struct code){.op = OP_CALL, .which = (unsigned short)row, .count = (unsigned short)count}, count);
}

static bool emit_variable(struct parser *p, struct str name, size_t at, enum expr_type *ret_type) {
  unsigned variable;
  if (!p->find(p->ctx, name, &variable, ret_type))
    return fail(p, at, "there is no parameter \"%.*s\"", STR_ARG(str_slice(name, 0, 80)));
  struct expr *expr = p->expr;
  size_t i = 0;
  while (i < expr->variable_count && expr->variables[i] != variable)
    i++;
  if (i == expr->variable_count) {
    if (i == VARIABLES_MAX)
      return fail(p, at, "more than %d parameters", (int)VARIABLES_MAX);
    expr->variables[expr->variable_count++] = variable;
  }
  return emit(p, (struct code){.op = OP_VARIABLE, .which = (unsigned short)i}, 0);
}

/* A name, dotted or in backquotes; `true`, `false`; a call. */
static bool parse_name(struct parser *p, enum expr_type *ret_type) {
  size_t start = p->at;
  if (peek(p, 0) == '`') {
    size_t end = start + 1;
    while (end < p->text.n && p->text.p[end] != '`')
      end++;
    if (end == p->text.n)
      return fail(p, start, "the backquote is not closed");
    p->at = end + 1;
    return emit_variable(p, str_slice(p->text, start + 1, end), start, ret_type);
  }
  while (is_name(peek(p, 0)) || (peek(p, 0) == '.' && is_name_start(peek(p, 1))))
    p->at++;
  struct str name = str_slice(p->text, start, p->at);
  static const char *const words[] = {"false", "true", "False", "True"};
  for (size_t i = 0; i < ARRAY_LEN(words); i++)
    if (str_is(name, words[i])) {
      *ret_type = EXPR_BOOL;
      return emit(p, (struct code){.op = OP_BOOL, .number = (double)(i & 1)}, 0);
    }
  static const char *const reserved[] = {"and", "or", "not", "in"};
  for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
    if (str_is(name, reserved[i]))
      return fail(p, start, "a value is needed before \"%s\"", reserved[i]);
  if (accept(p, "(")) {
    *ret_type = EXPR_NUMBER;
    return parse_call(p, name, start);
  }
  return emit_variable(p, name, start, ret_type);
}

static bool parse_primary(struct parser *p, enum expr_type *ret_type) {
  skip_space(p);
  size_t start = p->at;
  char c = peek(p, 0);
  if (accept(p, "(")) {
    if (!enter(p) || !parse_or(p, ret_type))
      return false;
    p->depth--;
    return accept(p, ")") || fail(p, start, "the parenthesis is not closed");
  }
  if (isdigit((unsigned char)c) || (c == '.' && isdigit((unsigned char)peek(p, 1)))) {
    *ret_type = EXPR_NUMBER;
    return parse_number(p);
  }
  if (c == '\'' || c == '"') {
    *ret_type = EXPR_TEXT;
    return parse_string(p);
  }
  if (is_name_start(c) || c == '`')
    return enter(p) && parse_name(p, ret_type) && (p->depth--, true);
  return fail(p, start, p->at < p->text.n ? "a value is needed here" : "the expression ends too early");
}

static bool parse_unary(struct parser *p, enum expr_type *ret_type);

static bool parse_power(struct parser *p, enum expr_type *ret_type) {
  skip_space(p);
  size_t start = p->at;
  if (!parse_primary(p, ret_type))
    return false;
  if (!accept(p, "**"))
    return true;
  enum expr_type right;
  if (!want(p, *ret_type, EXPR_NUMBER, start))
    return false;
  skip_space(p);
  size_t right_at = p->at;
  if (!enter(p) || !parse_unary(p, &right) || !want(p, right, EXPR_NUMBER, right_at))
    return false;
  p->depth--;
  *ret_type = EXPR_NUMBER;
  return emit(p, (struct code){.op = OP_POW}, 2);
}

static bool parse_unary(struct parser *p, enum expr_type *ret_type) {
  skip_space(p);
  bool minus = peek(p, 0) == '-';
  if (!minus && peek(p, 0) != '+')
    return parse_power(p, ret_type);
  p->at++;
  skip_space(p);
  size_t start = p->at;
  if (!enter(p) || !parse_unary(p, ret_type) || !want(p, *ret_type, EXPR_NUMBER, start))
    return false;
  p->depth--;
  *ret_type = EXPR_NUMBER;
  return !minus || emit(p, (struct code){.op = OP_NEG}, 1);
}

struct operator_row {
  const char *symbol;
  enum op op;
};

static const struct operator_row *accept_any(struct parser *p, const struct operator_row *rows, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (accept(p, rows[i].symbol))
      return &rows[i];
  return NULL;
}

/* One operand, or several with these operators between them, from the left. */
static bool parse_chain(struct parser *p, const struct operator_row *rows, size_t count,
                        bool (*parse_operand)(struct parser *p, enum expr_type *ret_type), enum expr_type *ret_type) {
  skip_space(p);
  size_t start = p->at;
  if (!parse_operand(p, ret_type))
    return false;
  for (const struct operator_row *row; (row = accept_any(p, rows, count));) {
    enum expr_type right;
    if (!want(p, *ret_type, EXPR_NUMBER, start))
      return false;
    skip_space(p);
    size_t right_at = p->at;
    if (!parse_operand(p, &right) || !want(p, right, EXPR_NUMBER, right_at) || !emit(p, (struct code){.op = row->op}, 2))
      return false;
    *ret_type = EXPR_NUMBER;
  }
  return true;
}

static bool parse_product(struct parser *p, enum expr_type *ret_type) {
  static const struct operator_row rows[] = {{"*", OP_MUL}, {"//", OP_FLOORDIV}, {"/", OP_DIV}, {"%", OP_MOD}};
  return parse_chain(p, rows, ARRAY_LEN(rows), parse_unary, ret_type);
}

static bool parse_sum(struct parser *p, enum expr_type *ret_type) {
  static const struct operator_row rows[] = {{"+", OP_ADD}, {"-", OP_SUB}};
  return parse_chain(p, rows, ARRAY_LEN(rows), parse_product, ret_type);
}

/* `in [a, b]` after its left operand. */
static bool parse_list(struct parser *p, bool negate) {
  const char *close = accept(p, "[") ? "]" : accept(p, "(") ? ")" : accept(p, "{") ? "}" : NULL;
  if (!close)
    return fail(p, p->at, "a list is needed after \"in\"");
  unsigned count = 0;
  do {
    enum expr_type type;
    if (!parse_sum(p, &type))
      return false;
    count++;
  } while (accept(p, ","));
  if (!accept(p, close))
    return fail(p, p->at, "\"%s\" is missing", close);
  if (!emit(p, (struct code){.op = OP_IN, .count = (unsigned short)count}, count + 1))
    return false;
  return !negate || emit(p, (struct code){.op = OP_NOT}, 1);
}

static bool accept_in(struct parser *p, bool *ret_negate) {
  size_t before = p->at;
  *ret_negate = accept(p, "not");
  if (accept(p, "in"))
    return true;
  p->at = before;
  return false;
}

/* The code from..to once more: the middle of `a < b < c`. */
static bool emit_again(struct parser *p, size_t from, size_t to) {
  for (size_t i = from; i < to; i++) {
    struct code code = p->expr->code[i];
    size_t takes = code.op <= OP_VARIABLE                   ? 0
                   : code.op == OP_NOT || code.op == OP_NEG ? 1
                   : code.op == OP_CALL                     ? code.count
                   : code.op == OP_IN                       ? code.count + 1u
                                                            : 2;
    if (!emit(p, code, takes))
      return false;
  }
  return true;
}

static bool comparable(struct parser *p, enum op op, enum expr_type a, enum expr_type b, size_t at) {
  if (op == OP_EQ || op == OP_NE || a == EXPR_ANY || b == EXPR_ANY)
    return true;
  if (a != b)
    return fail(p, at, "a text and a number cannot be ordered");
  return true;
}

static bool parse_comparison(struct parser *p, enum expr_type *ret_type) {
  static const struct operator_row rows[] = {{"<=", OP_LE}, {">=", OP_GE}, {"==", OP_EQ}, {"!=", OP_NE}, {"<", OP_LT}, {">", OP_GT}};
  if (!parse_sum(p, ret_type))
    return false;
  bool negate;
  if (accept_in(p, &negate)) {
    *ret_type = EXPR_BOOL;
    return parse_list(p, negate);
  }
  enum expr_type left = *ret_type;
  const struct operator_row *row;
  for (unsigned links = 0; (row = accept_any(p, rows, ARRAY_LEN(rows))); links++) {
    skip_space(p);
    size_t at = p->at, from = p->expr->code_count;
    enum expr_type right;
    if (!parse_sum(p, &right) || !comparable(p, row->op, left, right, at))
      return false;
    size_t to = p->expr->code_count;
    if (!emit(p, (struct code){.op = row->op}, 2) || (links && !emit(p, (struct code){.op = OP_AND}, 2)))
      return false;
    *ret_type = EXPR_BOOL;
    left = right;
    size_t before = p->at;
    bool more = accept_any(p, rows, ARRAY_LEN(rows)) != NULL;
    p->at = before;
    if (more && !emit_again(p, from, to))
      return false;
  }
  if (accept(p, "="))
    return fail(p, p->at - 1, "equality is written ==");
  return true;
}

static bool parse_not(struct parser *p, enum expr_type *ret_type) {
  skip_space(p);
  bool bang = peek(p, 0) == '!' && peek(p, 1) != '=';
  if (bang)
    p->at++;
  if (!bang && !accept(p, "not"))
    return parse_comparison(p, ret_type);
  skip_space(p);
  size_t at = p->at;
  if (!enter(p) || !parse_not(p, ret_type) || !want(p, *ret_type, EXPR_BOOL, at))
    return false;
  p->depth--;
  *ret_type = EXPR_BOOL;
  return emit(p, (struct code){.op = OP_NOT}, 1);
}

static bool parse_and(struct parser *p, enum expr_type *ret_type) {
  skip_space(p);
  size_t start = p->at;
  if (!parse_not(p, ret_type))
    return false;
  while (accept(p, "and") || accept(p, "&&")) {
    enum expr_type right;
    if (!want(p, *ret_type, EXPR_BOOL, start))
      return false;
    skip_space(p);
    size_t at = p->at;
    if (!parse_not(p, &right) || !want(p, right, EXPR_BOOL, at) || !emit(p, (struct code){.op = OP_AND}, 2))
      return false;
    *ret_type = EXPR_BOOL;
  }
  return true;
}

static bool parse_or(struct parser *p, enum expr_type *ret_type) {
  skip_space(p);
  size_t start = p->at;
  if (!enter(p) || !parse_and(p, ret_type))
    return false;
  while (accept(p, "or") || accept(p, "||")) {
    enum expr_type right;
    if (!want(p, *ret_type, EXPR_BOOL, start))
      return false;
    skip_space(p);
    size_t at = p->at;
    if (!parse_and(p, &right) || !want(p, right, EXPR_BOOL, at) || !emit(p, (struct code){.op = OP_OR}, 2))
      return false;
    *ret_type = EXPR_BOOL;
  }
  p->depth--;
  return true;
}

static bool parse_whole(struct parser *p) {
  enum expr_type type;
  if (!parse_or(p, &type) || !want(p, type, EXPR_BOOL, 0))
    return false;
  skip_space(p);
  return p->at == p->text.n || fail(p, p->at, "nothing more is expected here");
}

bool expr_parse(struct str text, expr_find_fn find, void *ctx, struct expr **ret, size_t *ret_column, struct err *err) {
  if (ret_column)
    *ret_column = 1;
  if (text.n > EXPR_TEXT_MAX)
    return err_set(err, ERR_INVALID, "column 1: an expression has at most %d bytes", EXPR_TEXT_MAX);
  struct expr *expr = mem_zalloc(sizeof *expr + CODE_MAX * sizeof expr->code[0]);
  if (!expr)
    return err_no_memory(err);
  expr->text = mem_strndup(text.p, text.n);
  if (!expr->text) {
    mem_free(expr);
    return err_no_memory(err);
  }
  struct parser p = {.text = {expr->text, text.n}, .find = find, .ctx = ctx, .expr = expr, .err = err};
  if (!parse_whole(&p)) {
    if (ret_column)
      *ret_column = p.error_at + 1;
    expr_free(expr);
    return false;
  }
  struct expr *tight = mem_resize(expr, 1, sizeof *expr + expr->code_count * sizeof expr->code[0]);
  *ret = tight ? tight : expr;
  return true;
}

void expr_free(struct expr *expr) {
  if (!expr)
    return;
  mem_free(expr->text);
  mem_free(expr);
}

size_t expr_variables(const struct expr *expr, const unsigned **ret_variables) {
  *ret_variables = expr->variables;
  return expr->variable_count;
}

/* ---- evaluation ---- */

static const struct expr_value absent = {.type = EXPR_ABSENT};

static struct expr_value of_bool(bool value) {
  return (struct expr_value){.type = EXPR_BOOL, .number = value};
}

static struct expr_value of_number(double value) {
  return (struct expr_value){.type = EXPR_NUMBER, .number = value};
}

/* A truth value where a number is needed counts as 0 or 1, any text as no number. */
static double number_of(struct expr_value v) {
  return v.type == EXPR_TEXT ? NAN : v.number;
}

static bool truth_of(struct expr_value v) {
  return v.type == EXPR_TEXT ? v.text.n > 0 : v.number != 0 && !isnan(v.number);
}

static bool same(struct expr_value a, struct expr_value b) {
  return a.type == b.type && (a.type == EXPR_TEXT ? str_eq(a.text, b.text) : a.number == b.number);
}

static struct expr_value compare(enum op op, struct expr_value a, struct expr_value b) {
  if (op == OP_EQ || op == OP_NE)
    return of_bool(same(a, b) == (op == OP_EQ));
  if ((a.type == EXPR_TEXT) != (b.type == EXPR_TEXT))
    return of_bool(false);
  double x = a.number, y = b.number;
  if (a.type == EXPR_TEXT)
    x = str_cmp(a.text, b.text), y = 0;
  return of_bool(op == OP_LT ? x < y : op == OP_LE ? x <= y : op == OP_GT ? x > y : x >= y);
}

/* As Python has them: the result of // and % goes with the sign of the divisor. */
static double arithmetic(enum op op, double a, double b) {
  switch (op) {
  case OP_ADD:
    return a + b;
  case OP_SUB:
    return a - b;
  case OP_MUL:
    return a * b;
  case OP_DIV:
    return b == 0 ? NAN : a / b;
  case OP_FLOORDIV:
    return b == 0 ? NAN : floor(a / b);
  case OP_MOD: {
    double rest = fmod(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
  }
  default:
    return pow(a, b);
  }
}

static struct expr_value call(const struct code *code, const struct expr_value *args) {
  double x[ARGUMENTS_MAX];
  for (unsigned i = 0; i < code->count; i++) {
    if (args[i].type == EXPR_ABSENT)
      return absent;
    x[i] = number_of(args[i]);
  }
  double (*of_one)(double) = functions[code->which].of_one;
  return of_number(of_one ? of_one(x[0]) : functions[code->which].of_all(x, code->count));
}

static struct expr_value is_in(const struct code *code, const struct expr_value *args) {
  if (args[0].type == EXPR_ABSENT)
    return absent;
  for (unsigned i = 1; i <= code->count; i++)
    if (args[i].type != EXPR_ABSENT && same(args[0], args[i]))
      return of_bool(true);
  return of_bool(false);
}

static struct expr_value binary(enum op op, struct expr_value a, struct expr_value b) {
  bool a_absent = a.type == EXPR_ABSENT, b_absent = b.type == EXPR_ABSENT;
  if (op == OP_OR || op == OP_AND) {
    bool settles = op == OP_OR; /* the value that decides alone */
    if ((!a_absent && truth_of(a) == settles) || (!b_absent && truth_of(b) == settles))
      return of_bool(settles);
    return a_absent || b_absent ? absent : of_bool(!settles);
  }
  if (a_absent || b_absent)
    return absent;
  return op <= OP_GE ? compare(op, a, b) : of_number(arithmetic(op, number_of(a), number_of(b)));
}

struct expr_value expr_eval(const struct expr *expr, expr_get_fn get, const void *ctx) {
  struct expr_value stack[STACK_MAX + 1];
  size_t top = 0;
  for (size_t i = 0; i < expr->code_count; i++) {
    const struct code *code = &expr->code[i];
    switch (code->op) {
    case OP_NUMBER:
      stack[top++] = of_number(code->number);
      break;
    case OP_BOOL:
      stack[top++] = of_bool(code->number != 0);
      break;
    case OP_STRING:
      stack[top++] = (struct expr_value){.type = EXPR_TEXT, .text = code->text};
      break;
    case OP_VARIABLE:
      stack[top++] = get(ctx, expr->variables[code->which]);
      break;
    case OP_NOT:
      if (stack[top - 1].type != EXPR_ABSENT)
        stack[top - 1] = of_bool(!truth_of(stack[top - 1]));
      break;
    case OP_NEG:
      if (stack[top - 1].type != EXPR_ABSENT)
        stack[top - 1] = of_number(-number_of(stack[top - 1]));
      break;
    case OP_IN:
      top -= code->count;
      stack[top - 1] = is_in(code, stack + top - 1);
      break;
    case OP_CALL:
      top -= code->count;
      stack[top] = call(code, stack + top);
      top++;
      break;
    default:
      top--;
      stack[top - 1] = binary(code->op, stack[top - 1], stack[top]);
    }
  }
  return stack[0].type == EXPR_ABSENT ? absent : of_bool(truth_of(stack[0]));
}
