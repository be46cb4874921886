/* What is left of a branch: of the points that have some values in common. Values that decide which others are in use make a tree of a
 * space; its points are visited one by one, so this is for branches of few points, or whose points are mostly free. */
#ifndef WINNOW_SAMPLER_BRANCH_H
#define WINNOW_SAMPLER_BRANCH_H

#include "base/rng.h"
#include "sampler/history.h"

enum branch_state {
  BRANCH_LEFT,    /* there is a point that is allowed and that no trial has */
  BRANCH_USED_UP, /* there is none */
  BRANCH_UNKNOWN, /* none was found among as many as were looked at, or it has a continuum */
};

/* `fixed`: the values in common, those after the ones that decide about their use; NaN: any. Looks at `limit` points at most, beginning
 * somewhere by chance. BRANCH_LEFT: *ret_point is one of those left. */
enum branch_state branch_look(const struct history *history, const double *fixed, struct rng *rng, uint64_t limit, double *ret_point);

/* The points of a whole space in parts, from one by chance on; without a look at any history. NULL without memory. */
struct branch;
struct branch *branch_new(const struct space *space, const struct rng *rng);
void branch_free(struct branch *branch);
/* The next point, this one included, that the constraints allow. False when there is none among the first `limit`, or among *budget, off
 * which each takes one. */
bool branch_find(struct branch *branch, uint64_t limit, uint64_t *budget);
const double *branch_point(const struct branch *branch);
void branch_pass(struct branch *branch);
/* BRANCH_LEFT: there are points to look at, no more than `limit` in all. */
enum branch_state branch_outcome(const struct branch *branch, uint64_t limit);

#endif
