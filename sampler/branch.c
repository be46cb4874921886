#include "sampler/branch.h"

#include <math.h>

/* The point that is looked at, and how far each parameter (in their order) has come: it has taken `tried` values since the first one. */
struct visit {
  const struct space *space;
  const size_t *order;
  size_t count;
  const double *fixed;
  struct rng *rng;
  double *point;
  bool has_continuum;
  uint64_t cells[SPACE_PARAMS_MAX], first[SPACE_PARAMS_MAX], tried[SPACE_PARAMS_MAX];
};

/* Gives the parameters from place k on their first values under those before. */
static void descend(struct visit *v, size_t k) {
  for (; k < v->count; k++) {
    size_t i = v->order[k];
    const struct param *param = space_param(v->space, i);
    v->cells[k] = 1, v->tried[k] = 0;
    if (!space_in_use(v->space, v->point, i)) {
      v->point[i] = NAN;
    } else if (!isnan(v->fixed[i])) {
      v->point[i] = v->fixed[i];
    } else if (!param->cells) {
      v->has_continuum = true;
      v->point[i] = space_value(v->space, i, rng_f64(v->rng));
    } else {
      v->cells[k] = param->cells;
      v->first[k] = rng_below(v->rng, param->cells);
      v->point[i] = space_cell_value(v->space, i, v->first[k]);
    }
  }
}

static bool go_on(struct visit *v) {
  for (size_t k = v->count; k-- > 0;) {
    if (++v->tried[k] >= v->cells[k])
      continue;
    size_t i = v->order[k];
    v->point[i] = space_cell_value(v->space, i, (v->first[k] + v->tried[k]) % v->cells[k]);
    descend(v, k + 1);
    return true;
  }
  return false;
}

enum branch_state branch_look(const struct history *history, const double *fixed, struct rng *rng, uint64_t limit, double *ret_point) {
  const struct space *space = history_space(history);
  struct visit v = {
      .space = space, .order = space_order(space), .count = space_count(space), .fixed = fixed, .rng = rng, .point = ret_point};
  descend(&v, 0);
  do {
    if (limit-- == 0)
      return BRANCH_UNKNOWN;
    if (space_allows(space, ret_point) && !history_has(history, ret_point))
      return BRANCH_LEFT;
  } while (go_on(&v));
  return v.has_continuum ? BRANCH_UNKNOWN : BRANCH_USED_UP;
}
