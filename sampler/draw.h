/* Points by chance. Trial n's point depends on the seed and n alone (and on a constraint, which only rejects). */
#ifndef WINNOW_SAMPLER_DRAW_H
#define WINNOW_SAMPLER_DRAW_H

#include "base/rng.h"
#include "sampler/history.h"

/* How often a draw is repeated for a point that the constraints allow. */
#define DRAW_TRIES 20000

/* The `attempt`-th draw for trial n, whatever the constraints say; settled. `fixed` (may be NULL): values that are not NaN are kept. */
void draw_point(const struct space *space, uint64_t seed, uint64_t n, uint64_t attempt, const double *fixed, double *ret_point);
/* The first attempt that the constraints allow, from `first_attempt` on. False after DRAW_TRIES. */
bool draw_allowed(const struct space *space, uint64_t seed, uint64_t n, uint64_t first_attempt, const double *fixed, double *ret_point);
/* The same, and not in the history. False when `tries` allowed draws were all taken. */
bool draw_unseen(const struct history *history, uint64_t seed, uint64_t n, unsigned tries, double *ret_point);
/* The same, near points that trials have: finds one also where constraints allow little, or most of what conditions leave is taken. The
 * first is the draw that sampler_may_have_point() goes by. */
bool draw_near(const struct history *history, uint64_t seed, uint64_t n, unsigned tries, double *ret_point);

/* A number or an ordered choice beside this one: `move` is a share of the range, and at least the next cell is reached. */
double draw_beside(const struct space *space, size_t param, double value, double move);
/* Draws what is in use and has no value; drops what is not in use. */
void draw_missing(const struct space *space, struct rng *rng, double *point);

#endif
