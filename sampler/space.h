/* The search space: every distribution in one internal form, with conditions (which parameters are in use where) and constraints.
 *
 * A point is an array of doubles, one for each parameter: the value of a number, the index of a choice, 0 of a constant, NaN where the
 * parameter is not in use. A space does not change after it is made and may be read from several threads. */
#ifndef WINNOW_SAMPLER_SPACE_H
#define WINNOW_SAMPLER_SPACE_H

#include <jansson.h>

#include "base/str.h"
#include "sampler/dist.h"

#define SPACE_PARAMS_MAX 1000
#define SPACE_CHOICES_MAX 100000
#define SPACE_NAME_MAX 250
#define SPACE_NESTING_MAX 16
#define SPACE_CONDITIONS_MAX 1000
#define SPACE_CONSTRAINTS_MAX 200

struct space;

enum param_kind { PARAM_CONSTANT, PARAM_NUMBER, PARAM_CHOICE };

struct param {
  const char *name; /* dotted: "opt.lr"; "model[1].depth" inside the second alternative of "model" */
  enum param_kind kind;
  bool ordered;       /* PARAM_CHOICE: neighbours in the list are alike */
  bool even;          /* all cells are equally likely */
  uint64_t cells;     /* how many values; 0: a continuum */
  uint64_t grid;      /* how many values grid search takes; 0: it needs "step" or "count" */
  bool stops_short;   /* no step from "min" meets "max": dist.hi is the last one before it */
  unsigned group;     /* parameters of one group are always in use together; group 0 always is */
  struct dist dist;   /* PARAM_NUMBER */
  const double *upto; /* PARAM_CHOICE with probabilities: sums of them up to and with each choice; NULL when even */
};

/* Builds a space from W&B's grammar of `parameters` (an object) and ours: `conditions`, `constraints` (arrays, or NULL for none). Borrows
 * nothing. An error's text begins with the quoted path of what is wrong ("\"parameters.lr.min\" must be ..."). Beyond W&B's forms:
 *
 *   {"min": 1, "max": 512, "log": true}           log scale; whole numbers when both bounds are
 *   {"min": 0, "max": 1, "step": 0.1}             0, 0.1, ... 1, equally likely
 *   {"min": 1e-4, "max": 0.1, "log": true, "count": 4}    four values for grid search
 *   {"values": [..], "ordered": true}             by default only ascending or descending numbers count as ordered
 *   {"distribution": "normal", "mu", "sigma", "min", "max"}   truncated; log_normal and the q_ forms too
 *   {"choices": [{"value": 1}, {"parameters": {..}}]}          alternatives, each with parameters of its own
 *
 * A condition is {"if": {"optimizer": "sgd"}, "then": ["momentum"]}: the parameters (or everything below a nested name) are in use only
 * where one of the conditions that name them holds. Values may be lists; `if` may be an expression. A constraint is an expression (expr.h);
 * one that needs a parameter not in use does not apply. Members of a choice that is an object can be named in expressions ("pair.batch").
 */
MUST_CHECK bool space_new(const json_t *parameters, const json_t *conditions, const json_t *constraints, struct space **ret,
                          struct err *err);
void space_free(struct space *space);
/* Calls `fn` with each mistake for which space_new() refuses, or with the first one that leaves nothing to look at behind it. Conditions
 * and constraints are looked at when the parameters are as they should be. */
typedef bool space_mistake_fn(void *ctx, const struct err *mistake); /* false: that is enough */
void space_mistakes(const json_t *parameters, const json_t *conditions, const json_t *constraints, space_mistake_fn *fn, void *ctx);

size_t space_count(const struct space *space);
const struct param *space_param(const struct space *space, size_t i);
/* By name; SIZE_MAX when there is none. */
size_t space_find(const struct space *space, struct str name);
unsigned space_groups(const struct space *space);
bool space_is_conditional(const struct space *space);
bool space_is_constrained(const struct space *space);
/* The parameters, each after those that decide whether it is in use. */
const size_t *space_order(const struct space *space);
/* Constants aside, is every parameter a number or an ordered choice? */
bool space_is_numeric(const struct space *space);
/* How many points there are at most: 0 infinitely many, UINT64_MAX too many to count. Conditions and constraints make them fewer. */
uint64_t space_size(const struct space *space);

/* One parameter's value from its cumulative probability, and back (the middle of the cell for discrete ones). NaN gives NaN. */
double space_value(const struct space *space, size_t param, double u);
double space_u(const struct space *space, size_t param, double value);
/* The range of u that gives this value; a point for a continuum. */
void space_edges(const struct space *space, size_t param, double value, double *ret_from, double *ret_to);
/* The coordinate for what takes near values for alike (dist_along()), the u of such a coordinate, and the range that models look in. */
double space_along(const struct space *space, size_t param, double value);
double space_u_along(const struct space *space, size_t param, double along);
void space_reach(const struct space *space, size_t param, double *ret_low, double *ret_high);
/* Discrete parameters: the value of a cell, the cell of a value. */
double space_cell_value(const struct space *space, size_t param, uint64_t cell);
uint64_t space_cell(const struct space *space, size_t param, double value);

/* Is the parameter in use, given the values of those before it in space_order()? */
bool space_in_use(const struct space *space, const double *point, size_t param);
/* Sets what is not in use to NaN. */
void space_settle(const struct space *space, double *point);
/* Do all constraints hold (of a settled point)? */
bool space_allows(const struct space *space, const double *point);

/* Can a trial be at this point: has every parameter that is in use there, and no other, a value of its kind? What is wrong is told with its
 * name. */
MUST_CHECK bool space_has_point(const struct space *space, const double *point, struct err *err);

bool space_same(const struct space *space, const double *a, const double *b);
uint64_t space_hash(const struct space *space, const double *point);

/* The parameters as a job receives them: nested as declared, typed, without those not in use. NULL without memory. The caller owns it. */
MUST_CHECK json_t *space_point_to_json(const struct space *space, const double *point);
/* Reads them back; nested or with dotted names. Constraints are not looked at. */
enum space_extent {
  SPACE_SOME,    /* missing ones become NaN */
  SPACE_ALL,     /* all that are in use; values of those that are not are dropped */
  SPACE_EXACTLY, /* all that are in use, and no others */
};
MUST_CHECK bool space_point_from_json(const struct space *space, const json_t *params, enum space_extent extent, double *ret_point,
                                      struct err *err);

#endif
