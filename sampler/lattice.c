#include "sampler/lattice.h"

#include <math.h>

#include "base/mem.h"
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

/* ---- walks ---- */

enum { STRETCH_LEAST = 1024, STRETCHES_MAX = 1 << 16 };

/* No cell of it is a point. */
struct stretch {
  uint64_t from, to;
};

void walk_release(struct walk *walk) {
  mem_free(walk->stretches);
}

static bool reserve_stretch(struct walk *walk) {
  if (walk->stretch_count < walk->stretch_cap)
    return true;
  size_t cap = MIN_OF(MAX_OF(2 * walk->stretch_cap, (size_t)16), (size_t)STRETCHES_MAX);
  struct stretch *bigger = cap > walk->stretch_cap ? mem_resize(walk->stretches, cap, sizeof *bigger) : NULL;
  if (!bigger)
    return false;
  walk->stretches = bigger;
  walk->stretch_cap = cap;
  return true;
}

/* Only beyond those that are known: a walk that begins again has looked there. What there is no room for is looked at again. */
static void note_stretch(struct walk *walk, uint64_t from, uint64_t to) {
  struct stretch *last = walk->stretch_count ? &walk->stretches[walk->stretch_count - 1] : NULL;
  if (to < from + STRETCH_LEAST)
    return;
  if (last && from <= last->to) {
    if (from >= last->from)
      last->to = MAX_OF(last->to, to);
  } else if (reserve_stretch(walk)) {
    walk->stretches[walk->stretch_count++] = (struct stretch){from, to};
  }
}

static void skip_stretches(struct walk *walk) {
  for (; walk->stretch_at < walk->stretch_count && walk->stretches[walk->stretch_at].from <= walk->next; walk->stretch_at++)
    walk->next = MAX_OF(walk->next, walk->stretches[walk->stretch_at].to);
}

static bool is_point(const struct lattice *lattice, uint64_t seed, bool shuffled, uint64_t at, double *ret_point) {
  return lattice_point(lattice, shuffled ? shuffle_place(seed, lattice->size, at) : at, ret_point);
}

enum walk_state walk_next(struct walk *walk, const struct history *history, uint64_t *budget, double *ret_point) {
  if (history_gone(history) != walk->gone_seen) {
    walk->gone_seen = history_gone(history);
    walk->next = walk->barren = walk->stretch_at = 0;
  }
  for (;; walk->next++) {
    skip_stretches(walk);
    if (walk->next >= walk->lattice.size)
      return WALK_END;
    if (!*budget)
      return WALK_MORE;
    --*budget;
    if (!is_point(&walk->lattice, walk->seed, walk->shuffled, walk->next, ret_point))
      continue;
    note_stretch(walk, walk->barren, walk->next);
    walk->barren = walk->next + 1;
    if (!history_has(history, ret_point))
      return WALK_FOUND;
  }
}

struct walk_run walk_run_of(const struct walk *walk) {
  return (struct walk_run){.lattice = walk->lattice,
                           .seed = walk->seed,
                           .shuffled = walk->shuffled,
                           .barren = walk->barren,
                           .from = walk->next,
                           .to = walk->next};
}

uint64_t walk_run(struct walk_run *run, uint64_t budget) {
  double ignored[SPACE_PARAMS_MAX];
  uint64_t before = run->to, end = run->lattice.size - run->to > budget ? run->to + budget : run->lattice.size;
  while (run->to < end && !is_point(&run->lattice, run->seed, run->shuffled, run->to, ignored))
    run->to++;
  return run->to - before;
}

void walk_take_in(struct walk *walk, const struct walk_run *run) {
  note_stretch(walk, run->barren, run->to);
  if (walk->next == run->from)
    walk->next = run->to;
}
