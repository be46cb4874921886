#include "sampler/draw.h"

#include <math.h>

#define PURPOSE_NEAR 0x6ea7u

void draw_point(const struct space *space, uint64_t seed, uint64_t n, uint64_t attempt, const double *fixed, double *ret_point) {
  uint64_t key = attempt ? rng_mix(seed ^ rng_mix(attempt)) : seed;
  for (size_t i = 0; i < space_count(space); i++) {
    if (fixed && !isnan(fixed[i])) {
      ret_point[i] = fixed[i];
      continue;
    }
    struct rng rng = rng_for(key, i, n);
    ret_point[i] = space_value(space, i, rng_f64(&rng));
  }
  space_settle(space, ret_point);
}

struct draws draws_of(const struct space *space, uint64_t seed, uint64_t n, uint64_t first_attempt) {
  return (struct draws){.space = space, .seed = seed, .n = n, .attempt = first_attempt, .end = first_attempt + DRAW_TRIES};
}

bool draws_next(struct draws *draws, uint64_t *budget, double *ret_point) {
  for (; draws->attempt < draws->end && *budget; draws->attempt++) {
    --*budget;
    draw_point(draws->space, draws->seed, draws->n, draws->attempt, draws->fixed, ret_point);
    if (space_allows(draws->space, ret_point))
      return true;
  }
  return false;
}

bool draws_are_over(const struct draws *draws) {
  return draws->attempt == draws->end;
}

bool draw_allowed(const struct space *space, uint64_t seed, uint64_t n, uint64_t first_attempt, const double *fixed, double *ret_point) {
  uint64_t budget = DRAW_TRIES;
  struct draws draws = draws_of(space, seed, n, first_attempt);
  draws.fixed = fixed;
  return draws_next(&draws, &budget, ret_point);
}

double draw_beside(const struct space *space, size_t param, double value, double move) {
  double from, to;
  space_edges(space, param, value, &from, &to);
  double least = to - from, middle = (from + to) / 2, u = space_u_along(space, param, space_along(space, param, value) + move);
  if (fabs(u - middle) < least)
    u = middle + copysign(least, move);
  return space_value(space, param, u);
}

void draw_missing(const struct space *space, struct rng *rng, double *point) {
  const size_t *order = space_order(space);
  for (size_t k = 0; k < space_count(space); k++) {
    size_t i = order[k];
    if (!space_in_use(space, point, i))
      point[i] = NAN;
    else if (isnan(point[i]))
      point[i] = space_value(space, i, rng_f64(rng));
  }
}

/* Few or many of the coordinates move, a little or a lot. */
static void move_away(const struct space *space, struct rng *rng, double *point) {
  double share = pow((double)space_count(space), -rng_f64(rng)), scale = pow(10, -4 * rng_f64(rng));
  for (size_t i = 0; i < space_count(space); i++) {
    const struct param *param = space_param(space, i);
    if (param->kind == PARAM_CONSTANT || isnan(point[i]) || rng_f64(rng) >= share)
      continue;
    bool is_alike = param->kind == PARAM_NUMBER || param->ordered;
    point[i] = is_alike ? draw_beside(space, i, point[i], scale * rng_normal(rng)) : space_value(space, i, rng_f64(rng));
  }
  draw_missing(space, rng, point);
}

struct rng draw_near_rng(uint64_t seed, uint64_t n) {
  return rng_for(seed, PURPOSE_NEAR, n);
}

bool draw_near(const struct history *history, struct rng *rng, double *ret_point) {
  const struct space *space = history_space(history);
  memcpy(ret_point, history_point(history, (size_t)rng_below(rng, history_count(history))), space_count(space) * sizeof *ret_point);
  move_away(space, rng, ret_point);
  return space_allows(space, ret_point) && !history_has(history, ret_point);
}
