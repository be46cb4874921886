#include "sampler/branch.h"

#include <math.h>

#include "base/mem.h"

/* The point that is looked at, and how far each parameter (in their order) has come: it has taken `tried` values since the first one. */
struct branch {
  const struct space *space;
  const size_t *order;
  size_t count;
  const double *fixed; /* NULL: nothing is */
  struct rng rng;
  bool has_continuum, is_over;
  uint64_t passed;
  double point[SPACE_PARAMS_MAX];
  uint64_t cells[SPACE_PARAMS_MAX], first[SPACE_PARAMS_MAX], tried[SPACE_PARAMS_MAX];
};

/* Gives the parameters from place k on their first values under those before. */
static void descend(struct branch *b, size_t k) {
  for (; k < b->count; k++) {
    size_t i = b->order[k];
    const struct param *param = space_param(b->space, i);
    b->cells[k] = 1, b->tried[k] = 0;
    if (!space_in_use(b->space, b->point, i)) {
      b->point[i] = NAN;
    } else if (b->fixed && !isnan(b->fixed[i])) {
      b->point[i] = b->fixed[i];
    } else if (!param->cells) {
      b->has_continuum = true;
      b->point[i] = space_value(b->space, i, rng_f64(&b->rng));
    } else {
      b->cells[k] = param->cells;
      b->first[k] = rng_below(&b->rng, param->cells);
      b->point[i] = space_cell_value(b->space, i, b->first[k]);
    }
  }
}

static bool go_on(struct branch *b) {
  for (size_t k = b->count; k-- > 0;) {
    if (++b->tried[k] >= b->cells[k])
      continue;
    size_t i = b->order[k];
    b->point[i] = space_cell_value(b->space, i, (b->first[k] + b->tried[k]) % b->cells[k]);
    descend(b, k + 1);
    return true;
  }
  return false;
}

static void begin(struct branch *b, const struct space *space, const double *fixed, const struct rng *rng) {
  b->space = space;
  b->order = space_order(space);
  b->count = space_count(space);
  b->fixed = fixed;
  b->rng = *rng;
  b->has_continuum = b->is_over = false;
  b->passed = 0;
  descend(b, 0);
}

struct branch *branch_new(const struct space *space, const struct rng *rng) {
  struct branch *branch = mem_alloc(sizeof *branch);
  if (branch)
    begin(branch, space, NULL, rng);
  return branch;
}

void branch_free(struct branch *branch) {
  mem_free(branch);
}

const double *branch_point(const struct branch *branch) {
  return branch->point;
}

void branch_pass(struct branch *branch) {
  branch->is_over = !go_on(branch);
  branch->passed++;
}

bool branch_find(struct branch *branch, uint64_t limit, uint64_t *budget) {
  for (; !branch->is_over && branch->passed < limit && *budget; branch_pass(branch)) {
    --*budget;
    if (space_allows(branch->space, branch->point))
      return true;
  }
  return false;
}

enum branch_state branch_outcome(const struct branch *branch, uint64_t limit) {
  if (branch->is_over)
    return branch->has_continuum ? BRANCH_UNKNOWN : BRANCH_USED_UP;
  return branch->passed < limit ? BRANCH_LEFT : BRANCH_UNKNOWN;
}

enum branch_state branch_look(const struct history *history, const double *fixed, struct rng *rng, uint64_t limit, double *ret_point) {
  struct branch branch;
  uint64_t budget = UINT64_MAX;
  begin(&branch, history_space(history), fixed, rng);
  while (branch_find(&branch, limit, &budget) && history_has(history, branch.point))
    branch_pass(&branch);
  *rng = branch.rng;
  enum branch_state state = branch_outcome(&branch, limit);
  if (state == BRANCH_LEFT)
    memcpy(ret_point, branch.point, branch.count * sizeof *ret_point);
  return state;
}
