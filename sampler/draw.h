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

/* The draws for a trial from some attempt on, DRAW_TRIES of them, in parts. */
struct draws {
  const struct space *space;
  uint64_t seed, n, attempt, end;
  const double *fixed;
};

struct draws draws_of(const struct space *space, uint64_t seed, uint64_t n, uint64_t first_attempt);
/* The next one, this one included, that the constraints allow. False when there is none, or none among *budget, off which each draw takes
 * one. */
bool draws_next(struct draws *draws, uint64_t *budget, double *ret_point);
bool draws_are_over(const struct draws *draws);

/* One try for a point near those that trials have, of which there is one at least; it must be allowed, and new. Finds some also where
 * constraints allow little, or most of what conditions leave is taken. */
bool draw_near(const struct history *history, struct rng *rng, double *ret_point);
struct rng draw_near_rng(uint64_t seed, uint64_t n);

/* A number or an ordered choice beside this one: `move` is a share of the range, and at least the next cell is reached. */
double draw_beside(const struct space *space, size_t param, double value, double move);
/* Draws what is in use and has no value; drops what is not in use. */
void draw_missing(const struct space *space, struct rng *rng, double *point);

#endif
