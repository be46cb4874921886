/* The inside of a space, for the files that build it and read it. */
#ifndef WINNOW_SAMPLER_SPACE_IMPL_H
#define WINNOW_SAMPLER_SPACE_IMPL_H

#include "base/arena.h"
#include "sampler/expr.h"
#include "sampler/space.h"

/* What the user wrote, as a tree: a map of named children, or a parameter, some of whose choices may be maps themselves. */
struct space_node {
  const char *key;
  struct space_node *next; /* sibling */
  size_t param;            /* SIZE_MAX: a map */
  struct space_node *child;
  struct space_node **alternatives; /* by choice; NULL: plain values only; an entry is NULL for a plain value */
};

/* parent is one of values */
struct space_test {
  size_t parent;
  size_t count;
  double *values;
};

struct space_rule {
  struct space_test *tests; /* all must hold */
  size_t test_count;
  struct expr *expr; /* instead of tests */
};

struct space_param {
  struct param public;
  json_t **choices; /* one for each cell; a constant has one; owned references */
  size_t gate;      /* the choice whose alternative this is in; SIZE_MAX: none */
  double gate_value;
  unsigned *rules; /* any must hold, unless there are none */
  size_t rule_count;
};

/* A name in an expression: a parameter, or a member of one whose choices are objects. */
struct space_variable {
  size_t param;
  const char *member; /* dotted path inside the choice; NULL: the choice itself */
};

struct space {
  struct arena arena; /* everything below but expressions and JSON references */
  struct space_node *root;
  struct space_param *params;
  size_t count;
  size_t *order;
  unsigned groups;
  struct space_rule *rules;
  size_t rule_count;
  struct expr **constraints;
  size_t constraint_count;
  struct space_variable *variables;
  size_t variable_count, variable_cap;
};

/* Resolves a name in an expression, for expr_parse(); ctx is the space, whose parameters are all there. */
bool space_find_variable(void *ctx, struct str name, unsigned *ret_variable, enum expr_type *ret_type);

/* Reads one value of a parameter; what is wrong is told without its name ("must be from 0 to 1"). */
bool space_value_from_json(const struct space *space, size_t param, const json_t *value, double *ret_value, struct err *err);

#endif
