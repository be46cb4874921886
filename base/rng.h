/* Chance is passed in. A generator is a value: copying it copies its future. xoshiro256++, seeded by SplitMix64. */
#ifndef WINNOW_BASE_RNG_H
#define WINNOW_BASE_RNG_H

#include "base/base.h"

struct rng {
  uint64_t s[4];
};

struct rng rng_seeded(uint64_t seed);
/* A stream of its own for every (seed, purpose, n): the same three give the same numbers, whatever was drawn elsewhere. */
struct rng rng_for(uint64_t seed, uint64_t purpose, uint64_t n);
/* From the kernel. For ids and seeds; secrets use rng_secret(). */
struct rng rng_from_system(void);
/* Fills with bytes fit for secrets; never returns without them. */
void rng_secret(void *bytes, size_t n);

uint64_t rng_u64(struct rng *rng);
/* In [0, 1), 53 bits. */
double rng_f64(struct rng *rng);
/* In [0, n), unbiased; n > 0. */
uint64_t rng_below(struct rng *rng, uint64_t n);
/* Standard normal, by inversion, one draw each. */
double rng_normal(struct rng *rng);

/* SplitMix64's finaliser: mixes the bits of x. */
static inline uint64_t rng_mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

#endif
