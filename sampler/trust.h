/* Where to look in many dimensions: near the best point, in a region that gains widen and failures narrow (TuRBO, Eriksson 2019). */
#ifndef WINNOW_SAMPLER_TRUST_H
#define WINNOW_SAMPLER_TRUST_H

#include "base/rng.h"
#include "sampler/history.h"

/* Up to so many features the region is everything. */
#define TRUST_FEATURES 20

struct trust {
  double share;  /* of each range, with the best point in its middle; 0: everything */
  double moving; /* how likely it is that a coordinate is not the best point's */
};

/* Begins at 0.8 with the results after the tenth; twice as wide after three gains in a row, at most 1.6; half as wide after as many
 * failures in a row as there are features; when that comes below 1/128, it begins again. A gain is a result better than the best by a
 * thousandth. */
struct trust trust_of(const struct history *history, size_t features);
/* A quasi-random point of the region about `center`: number `index` of the sequence that `key` gives. Choices without an order go anywhere.
 * Nothing is said of constraints. */
void trust_point(const struct space *space, const struct trust *trust, const double *center, uint64_t key, uint64_t index, struct rng *rng,
                 double *ret_point);

#endif
