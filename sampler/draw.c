#include "sampler/draw.h"

#include <math.h>

#include "base/rng.h"

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
