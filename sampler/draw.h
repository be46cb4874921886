/* Points by chance. Trial n's point depends on the seed and n alone (and on a constraint, which only rejects). */
#ifndef WINNOW_SAMPLER_DRAW_H
#define WINNOW_SAMPLER_DRAW_H

#include "sampler/history.h"

/* How often a draw is repeated for a point that the constraints allow. */
#define DRAW_TRIES 20000

/* The `attempt`-th draw for trial n, whatever the constraints say; settled. `fixed` (may be NULL): values that are not NaN are kept. */
void draw_point(const struct space *space, uint64_t seed, uint64_t n, uint64_t attempt, const double *fixed, double *ret_point);
/* The first attempt that the constraints allow, from `first_attempt` on. False after DRAW_TRIES. */
bool draw_allowed(const struct space *space, uint64_t seed, uint64_t n, uint64_t first_attempt, const double *fixed, double *ret_point);
/* The same, and not in the history. False when `tries` allowed draws were all taken. */
bool draw_unseen(const struct history *history, uint64_t seed, uint64_t n, unsigned tries, double *ret_point);

#endif
