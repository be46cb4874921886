#include "sampler/trust.h"

#include <math.h>

#include "sampler/draw.h"
#include "sampler/gp_rows.h"
#include "sampler/qmc.h"

enum { STARTUP = 10, GAINS = 3 };
#define SHARE_FIRST 0.8
#define SHARE_MOST 1.6
#define SHARE_LEAST 0x1p-7
#define GAIN_LEAST 1e-3 /* of the best value */

struct trust trust_of(const struct history *history, size_t features) {
  double share = SHARE_FIRST, best = INFINITY;
  size_t gains = 0, failures = 0, seen = 0;
  if (features <= TRUST_FEATURES)
    return (struct trust){.share = 0, .moving = 1};
  for (size_t k = 0; k < history_events(history); k++) {
    bool told;
    size_t trial = history_event(history, k, &told);
    if (!told || !gp_rows_wanted(history, trial))
      continue;
    double value = history_state(history, trial) == TRIAL_FINISHED ? history_value(history, trial) : NAN;
    bool gain = value < (isinf(best) ? best : best - GAIN_LEAST * fabs(best));
    best = fmin(best, value);
    if (++seen <= STARTUP)
      continue;
    gains = gain ? gains + 1 : 0;
    failures = gain ? 0 : failures + 1;
    if (gains == GAINS)
      share = fmin(share * 2, SHARE_MOST), gains = 0;
    if (failures == features)
      share /= 2, failures = 0;
    if (share < SHARE_LEAST)
      share = SHARE_FIRST;
  }
  return (struct trust){.share = share, .moving = TRUST_FEATURES / (double)features};
}

void trust_point(const struct space *space, const struct trust *trust, const double *center, uint64_t key, uint64_t index, struct rng *rng,
                 double *ret_point) {
  for (size_t i = 0; i < space_count(space); i++) {
    const struct param *param = space_param(space, i);
    double u = sobol_at(key, index, (unsigned)i);
    if (trust->share > 0 && !isnan(center[i])) {
      double at = space_along(space, i, center[i]);
      bool is_choice = param->kind == PARAM_CHOICE && !param->ordered;
      if (rng_f64(rng) >= trust->moving)
        u = space_u(space, i, center[i]);
      else if (!is_choice)
        u = space_u_along(space, i, at + trust->share * (u - 0.5));
    }
    ret_point[i] = space_value(space, i, u);
  }
  draw_missing(space, rng, ret_point);
}
