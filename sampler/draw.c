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

bool draw_allowed(const struct space *space, uint64_t seed, uint64_t n, uint64_t first_attempt, const double *fixed, double *ret_point) {
  for (uint64_t attempt = first_attempt; attempt < first_attempt + DRAW_TRIES; attempt++) {
    draw_point(space, seed, n, attempt, fixed, ret_point);
    if (space_allows(space, ret_point))
      return true;
  }
  return false;
}

bool draw_unseen(const struct history *history, uint64_t seed, uint64_t n, unsigned tries, double *ret_point) {
  const struct space *space = history_space(history);
  for (uint64_t attempt = 0; attempt < tries; attempt++) {
    /* Attempts lie far apart, so that the search for an allowed point never meets the next attempt's. */
    if (!draw_allowed(space, seed, n, attempt * DRAW_TRIES, NULL, ret_point))
      return false;
    if (!history_has(history, ret_point))
      return true;
  }
  return false;
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

bool draw_near(const struct history *history, uint64_t seed, uint64_t n, unsigned tries, double *ret_point) {
  const struct space *space = history_space(history);
  struct rng rng = rng_for(seed, PURPOSE_NEAR, n);
  size_t count = history_count(history);
  if (!count)
    return draw_allowed(space, 0, 0, 0, NULL, ret_point);
  for (unsigned attempt = 0; attempt < tries; attempt++) {
    memcpy(ret_point, history_point(history, (size_t)rng_below(&rng, count)), space_count(space) * sizeof *ret_point);
    move_away(space, &rng, ret_point);
    if (space_allows(space, ret_point) && !history_has(history, ret_point))
      return true;
  }
  return false;
}
