/* Quasi-random sequences in the unit cube: Sobol with Owen's scrambling, Halton with scrambled digits. Point n depends on the seed and n
 * alone. */
#ifndef WINNOW_SAMPLER_QMC_H
#define WINNOW_SAMPLER_QMC_H

#include "base/base.h"

/* More dimensions than that are filled with independent uniform numbers. */
#define QMC_DIMS_MAX 1110

/* Coordinate `dim` of point n, in (0, 1): never an end, so that any quantile is finite. Sobol: n below 2^32. */
double sobol_at(uint64_t seed, uint64_t n, unsigned dim);
double halton_at(uint64_t seed, uint64_t n, unsigned dim);

/* Unscrambled bits of a Sobol point, for those who scramble by themselves and for tests. dim < QMC_DIMS_MAX. */
uint32_t sobol_bits(uint32_t n, unsigned dim);

#endif
