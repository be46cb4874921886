#include "sampler/lattice.h"

#include <math.h>

#include "base/rng.h"

static uint64_t radix_of(const struct lattice *lattice, size_t param) {
  const struct param *p = space_param(lattice->space, param);
  return lattice->kind == LATTICE_GRID ? p->grid : p->cells;
}

bool lattice_init(struct lattice *lattice, const struct space *space, enum lattice_kind kind, struct err *err) {
  struct lattice made = {.space = space, .kind = kind, .size = 1};
  for (size_t i = 0; i < space_count(space); i++) {
    const struct param *param = space_param(space, i);
    uint64_t radix = radix_of(&made, i);
    if (!radix) {
      err_set(err, ERR_INVALID, "\"parameters.%s\" has no finite number of values", param->name);
      return err_hint(err, "grid search needs \"values\", \"step\" or \"count\" there");
    }
    if (made.size > ((uint64_t)1 << 62) / radix)
      return err_set(err, ERR_TOO_LARGE, "the space has too many points to number");
    made.size *= radix;
  }
  *lattice = made;
  return true;
}

/* The k-th of n values spread evenly over the parameter's scale, both ends included where they are finite. */
static double spread_value(const struct space *space, size_t i, uint64_t k, uint64_t n) {
  const struct dist *dist = &space_param(space, i)->dist;
  bool bounded = dist->shape == DIST_UNIFORM || dist->shape == DIST_LOG_UNIFORM;
  if (!bounded)
    return dist_value(dist, ((double)k + 0.5) / (double)n);
  if (k == 0 || k == n - 1)
    return k == 0 ? dist->lo : dist->hi;
  double low = dist->shape == DIST_UNIFORM ? dist->lo : log(dist->lo), high = dist->shape == DIST_UNIFORM ? dist->hi : log(dist->hi);
  double at = low + (high - low) * (double)k / (double)(n - 1);
  double value = dist->shape == DIST_UNIFORM ? at : exp(at);
  if (dist->cells)
    return dist_cell_value(dist, dist_cell_of(dist, value));
  double scale = dist->shape == DIST_UNIFORM ? dist->hi - dist->lo : value;
  value = dist_round_decimals(value, 11 - (int)floor(log10(scale))); /* 12 digits: 0.001 and not 0.0009999999999999998 */
  return fmin(fmax(value, dist->lo), dist->hi);
}

static double value_at(const struct lattice *lattice, size_t i, uint64_t k) {
  const struct param *param = space_param(lattice->space, i);
  uint64_t radix = radix_of(lattice, i);
  return radix == param->cells ? space_cell_value(lattice->space, i, k) : spread_value(lattice->space, i, k, radix);
}

bool lattice_point(const struct lattice *lattice, uint64_t cell, double *ret_point) {
  const struct space *space = lattice->space;
  bool conditional = space_is_conditional(space), is_point = true;
  for (size_t i = space_count(space); i-- > 0;) {
    uint64_t radix = radix_of(lattice, i), k = cell % radix;
    cell /= radix;
    ret_point[i] = value_at(lattice, i, k);
    if (k && radix != space_param(space, i)->cells && ret_point[i] == value_at(lattice, i, k - 1))
      is_point = false; /* two of the spread values fall on one */
  }
  if (!is_point)
    return false;
  const size_t *order = space_order(space);
  for (size_t k = 0; conditional && k < space_count(space); k++) {
    size_t i = order[k];
    if (space_in_use(space, ret_point, i))
      continue;
    if (ret_point[i] != value_at(lattice, i, 0))
      return false; /* only the first value stands for "not in use" */
    ret_point[i] = NAN;
  }
  return space_allows(space, ret_point);
}

uint64_t lattice_count(const struct lattice *lattice) {
  if (lattice->size > LATTICE_COUNT_MAX)
    return lattice->size;
  if (!space_is_conditional(lattice->space) && !space_is_constrained(lattice->space) && lattice->kind == LATTICE_ALL)
    return lattice->size;
  uint64_t count = 0;
  double point[SPACE_PARAMS_MAX];
  for (uint64_t cell = 0; cell < lattice->size; cell++)
    count += lattice_point(lattice, cell, point);
  return count;
}

/* Six rounds of a Feistel network over the next even number of bits; what falls outside goes round again. */
uint64_t shuffle_place(uint64_t seed, uint64_t size, uint64_t i) {
  unsigned half = 1;
  while (half < 32 && ((uint64_t)1 << (2 * half)) < size)
    half++;
  uint64_t mask = ((uint64_t)1 << half) - 1;
  do {
    uint64_t left = i >> half, right = i & mask;
    for (uint64_t round = 0; round < 6; round++) {
      uint64_t mixed = left ^ (rng_mix(right ^ rng_mix(seed + round * 0x9e3779b97f4a7c15u)) & mask);
      left = right;
      right = mixed;
    }
    i = (left << half) | right;
  } while (i >= size);
  return i;
}

bool walk_next(struct walk *walk, const struct history *history, uint64_t limit, double *ret_point, bool *ret_gave_up) {
  *ret_gave_up = false;
  if (history_gone(history) != walk->gone_seen) {
    walk->gone_seen = history_gone(history);
    walk->next = 0;
  }
  for (; walk->next < walk->lattice.size; walk->next++) {
    uint64_t cell = walk->shuffled ? shuffle_place(walk->seed, walk->lattice.size, walk->next) : walk->next;
    if (lattice_point(&walk->lattice, cell, ret_point) && !history_has(history, ret_point))
      return true;
    if (limit-- == 0) {
      *ret_gave_up = true;
      return false;
    }
  }
  return false;
}
