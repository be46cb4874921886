#include "sampler/space.h"

#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "sampler/space_impl.h"

void space_free(struct space *space) {
  if (!space)
    return;
  for (size_t i = 0; i < space->count; i++) {
    struct space_param *param = &space->params[i];
    for (uint64_t k = 0; param->choices && k < param->public.cells; k++)
      json_decref(param->choices[k]);
  }
  for (size_t i = 0; i < space->rule_count; i++)
    expr_free(space->rules[i].expr);
  for (size_t i = 0; i < space->constraint_count; i++)
    expr_free(space->constraints[i]);
  arena_release(&space->arena);
  mem_free(space);
}

size_t space_count(const struct space *space) {
  return space->count;
}

const struct param *space_param(const struct space *space, size_t i) {
  return &space->params[i].public;
}

size_t space_find(const struct space *space, struct str name) {
  for (size_t i = 0; i < space->count; i++)
    if (str_is(name, space->params[i].public.name))
      return i;
  return SIZE_MAX;
}

unsigned space_groups(const struct space *space) {
  return space->groups;
}

bool space_is_conditional(const struct space *space) {
  return space->groups > 1;
}

bool space_is_constrained(const struct space *space) {
  return space->constraint_count > 0;
}

const size_t *space_order(const struct space *space) {
  return space->order;
}

bool space_is_numeric(const struct space *space) {
  for (size_t i = 0; i < space->count; i++)
    if (space->params[i].public.kind == PARAM_CHOICE && !space->params[i].public.ordered)
      return false;
  return true;
}

uint64_t space_size(const struct space *space) {
  uint64_t size = 1;
  for (size_t i = 0; i < space->count; i++) {
    uint64_t cells = space->params[i].public.cells;
    if (!cells)
      return 0;
    if (size != UINT64_MAX && __builtin_mul_overflow(size, cells, &size))
      size = UINT64_MAX; /* but a continuum may still follow */
  }
  return size;
}

/* ---- one parameter ---- */

static uint64_t choice_at(const struct param *param, double u) {
  if (!param->upto) {
    double k = floor(u * (double)param->cells);
    return !(k > 0) ? 0 : k >= (double)param->cells ? param->cells - 1 : (uint64_t)k;
  }
  uint64_t low = 0, high = param->cells - 1; /* the first whose sum passes u */
  while (low < high) {
    uint64_t middle = (low + high) / 2;
    if (param->upto[middle] > u)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

double space_value(const struct space *space, size_t i, double u) {
  const struct param *param = &space->params[i].public;
  if (isnan(u))
    return NAN;
  if (param->kind == PARAM_NUMBER)
    return dist_value(&param->dist, u);
  return param->kind == PARAM_CONSTANT ? 0 : (double)choice_at(param, u);
}

void space_edges(const struct space *space, size_t i, double value, double *ret_from, double *ret_to) {
  const struct param *param = &space->params[i].public;
  if (param->kind == PARAM_NUMBER && !param->cells) {
    *ret_from = *ret_to = dist_u(&param->dist, value);
    return;
  }
  uint64_t cell = space_cell(space, i, value);
  if (param->kind == PARAM_NUMBER) {
    dist_cell_edges(&param->dist, cell, ret_from, ret_to);
  } else if (param->upto) {
    *ret_from = cell ? param->upto[cell - 1] : 0;
    *ret_to = param->upto[cell];
  } else {
    *ret_from = (double)cell / (double)param->cells;
    *ret_to = (double)(cell + 1) / (double)param->cells;
  }
}

double space_u(const struct space *space, size_t i, double value) {
  if (isnan(value))
    return NAN;
  double from, to;
  space_edges(space, i, value, &from, &to);
  return (from + to) / 2;
}

double space_along(const struct space *space, size_t i, double value) {
  const struct param *param = &space->params[i].public;
  return param->kind == PARAM_NUMBER && !isnan(value) ? dist_along(&param->dist, value) : space_u(space, i, value);
}

double space_u_along(const struct space *space, size_t i, double along) {
  const struct param *param = &space->params[i].public;
  return param->kind == PARAM_NUMBER ? dist_u_along(&param->dist, along) : fmin(fmax(along, 0), 1);
}

void space_reach(const struct space *space, size_t i, double *ret_low, double *ret_high) {
  const struct param *param = &space->params[i].public;
  *ret_low = 0, *ret_high = 1;
  if (param->kind == PARAM_NUMBER)
    dist_reach(&param->dist, ret_low, ret_high);
}

double space_cell_value(const struct space *space, size_t i, uint64_t cell) {
  const struct param *param = &space->params[i].public;
  return param->kind == PARAM_NUMBER ? dist_cell_value(&param->dist, cell) : (double)cell;
}

uint64_t space_cell(const struct space *space, size_t i, double value) {
  const struct param *param = &space->params[i].public;
  if (param->kind == PARAM_NUMBER)
    return dist_cell_of(&param->dist, value);
  return !(value > 0) ? 0 : value >= (double)param->cells ? param->cells - 1 : (uint64_t)value;
}

/* ---- points ---- */

struct point_view {
  const struct space *space;
  const double *point;
};

static struct expr_value of_json(const json_t *value) {
  if (json_is_number(value))
    return (struct expr_value){.type = EXPR_NUMBER, .number = json_number_value(value)};
  if (json_is_boolean(value))
    return (struct expr_value){.type = EXPR_BOOL, .number = json_is_true(value)};
  if (json_is_string(value))
    return (struct expr_value){.type = EXPR_TEXT, .text = str_n(json_string_value(value), json_string_length(value))};
  return (struct expr_value){.type = EXPR_ABSENT};
}

static const json_t *member_of(const json_t *value, const char *path) {
  struct str rest = str_of(path), part;
  while (value && str_split(&rest, '.', &part)) {
    char key[SPACE_NAME_MAX + 1];
    snprintf(key, sizeof key, "%.*s", STR_ARG(part));
    value = json_object_get(value, key);
  }
  return value;
}

static struct expr_value get_variable(const void *ctx, unsigned number) {
  const struct point_view *view = ctx;
  const struct space_variable *variable = &view->space->variables[number];
  const struct space_param *param = &view->space->params[variable->param];
  double value = view->point[variable->param];
  if (isnan(value))
    return (struct expr_value){.type = EXPR_ABSENT};
  if (param->public.kind == PARAM_NUMBER)
    return (struct expr_value){.type = EXPR_NUMBER, .number = value};
  const json_t *choice = param->choices[space_cell(view->space, variable->param, value)];
  return of_json(variable->member ? member_of(choice, variable->member) : choice);
}

static bool test_holds(const struct space_test *test, const double *point) {
  for (size_t i = 0; i < test->count; i++)
    if (point[test->parent] == test->values[i])
      return true;
  return false;
}

static bool rule_holds(const struct space *space, const struct space_rule *rule, const double *point) {
  if (rule->expr) {
    struct point_view view = {space, point};
    struct expr_value value = expr_eval(rule->expr, get_variable, &view);
    return value.type == EXPR_BOOL && value.number != 0;
  }
  for (size_t i = 0; i < rule->test_count; i++)
    if (!test_holds(&rule->tests[i], point))
      return false;
  return true;
}

bool space_in_use(const struct space *space, const double *point, size_t i) {
  const struct space_param *param = &space->params[i];
  if (param->gate != SIZE_MAX && point[param->gate] != param->gate_value)
    return false;
  for (size_t k = 0; k < param->rule_count; k++)
    if (rule_holds(space, &space->rules[param->rules[k]], point))
      return true;
  return param->rule_count == 0;
}

void space_settle(const struct space *space, double *point) {
  if (!space_is_conditional(space))
    return;
  for (size_t k = 0; k < space->count; k++) {
    size_t i = space->order[k];
    if (space->params[i].public.group && !space_in_use(space, point, i))
      point[i] = NAN;
  }
}

bool space_allows(const struct space *space, const double *point) {
  struct point_view view = {space, point};
  for (size_t i = 0; i < space->constraint_count; i++) {
    struct expr_value value = expr_eval(space->constraints[i], get_variable, &view);
    if (value.type == EXPR_BOOL && value.number == 0)
      return false;
  }
  return true;
}

bool space_same(const struct space *space, const double *a, const double *b) {
  for (size_t i = 0; i < space->count; i++)
    if (!(a[i] == b[i] || (isnan(a[i]) && isnan(b[i]))))
      return false;
  return true;
}

uint64_t space_hash(const struct space *space, const double *point) {
  uint64_t hash = 0x9e3779b97f4a7c15u;
  for (size_t i = 0; i < space->count; i++) {
    double value = isnan(point[i]) ? NAN : point[i] + 0.0; /* one NaN, one zero */
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (isnan(value))
      bits = 0x7ff8000000000000u;
    hash = rng_mix(hash ^ bits) + i;
  }
  return rng_mix(hash);
}

/* ---- names in expressions ---- */

static enum expr_type common_type(const struct space_param *param, const char *member) {
  enum expr_type type = EXPR_ABSENT;
  for (uint64_t k = 0; k < param->public.cells; k++) {
    enum expr_type one = of_json(member ? member_of(param->choices[k], member) : param->choices[k]).type;
    if (k && one != type)
      return EXPR_ANY;
    type = one;
  }
  return type == EXPR_ABSENT ? EXPR_ANY : type;
}

static bool has_member(const struct space_param *param, const char *member) {
  for (uint64_t k = 0; param->choices && k < param->public.cells; k++)
    if (member_of(param->choices[k], member))
      return true;
  return false;
}

static bool add_variable(struct space *space, size_t param, struct str member, unsigned *ret_variable) {
  if (space->variable_count == space->variable_cap) {
    size_t cap = space->variable_cap ? space->variable_cap * 2 : 16;
    struct space_variable *more = ARENA_NEW_ARRAY(&space->arena, struct space_variable, cap);
    if (!more)
      return false;
    if (space->variable_count)
      memcpy(more, space->variables, space->variable_count * sizeof *more);
    space->variables = more;
    space->variable_cap = cap;
  }
  const char *copy = member.p ? arena_strdup(&space->arena, member) : NULL;
  if (member.p && !copy)
    return false;
  *ret_variable = (unsigned)space->variable_count;
  space->variables[space->variable_count++] = (struct space_variable){param, copy};
  return true;
}

bool space_find_variable(void *ctx, struct str name, unsigned *ret_variable, enum expr_type *ret_type) {
  struct space *space = ctx;
  struct str member = STR_NONE;
  size_t param = space_find(space, name);
  if (name.n > SPACE_NAME_MAX)
    return false;
  for (size_t cut = name.n; param == SIZE_MAX && cut-- > 0;) {
    if (name.p[cut] != '.')
      continue;
    size_t owner = space_find(space, str_slice(name, 0, cut));
    char path[SPACE_NAME_MAX + 1];
    snprintf(path, sizeof path, "%.*s", STR_ARG(str_slice(name, cut + 1, name.n)));
    if (owner != SIZE_MAX && has_member(&space->params[owner], path))
      param = owner, member = str_slice(name, cut + 1, name.n);
  }
  if (param == SIZE_MAX)
    return false;
  for (size_t i = 0; i < space->variable_count; i++)
    if (space->variables[i].param == param && (space->variables[i].member ? str_is(member, space->variables[i].member) : !member.p)) {
      *ret_variable = (unsigned)i;
      goto found;
    }
  if (!add_variable(space, param, member, ret_variable))
    return false;
found:
  if (space->params[param].public.kind == PARAM_NUMBER)
    *ret_type = EXPR_NUMBER;
  else
    *ret_type = common_type(&space->params[param], space->variables[*ret_variable].member);
  return true;
}
