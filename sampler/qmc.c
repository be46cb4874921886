#include "sampler/qmc.h"

#include <math.h>
#include <pthread.h>

#include "base/rng.h"
#include "sampler/each_cpu.h"

/* Initial direction numbers of dimensions 1.. as tests/data/sampler/sobol_directions.py found them. Dimension d uses the d-th primitive
 * polynomial over GF(2); beyond the table the numbers are drawn once and for all, which keeps every coordinate stratified. */
enum { SEARCHED = 59, DEGREE_MAX = 13, BITS = 32 };
static const uint16_t searched[SEARCHED][9] = {
    {1},
    {1, 1},
    {1, 3, 3},
    {1, 1, 5},
    {1, 3, 3, 9},
    {1, 3, 5, 13},
    {1, 1, 3, 15, 17},
    {1, 3, 3, 5, 25},
    {1, 3, 7, 7, 21},
    {1, 1, 1, 5, 29},
    {1, 3, 5, 13, 17},
    {1, 3, 1, 5, 1},
    {1, 1, 5, 15, 7, 25},
    {1, 1, 3, 9, 3, 33},
    {1, 1, 1, 3, 1, 51},
    {1, 3, 7, 7, 27, 1},
    {1, 3, 1, 13, 27, 55},
    {1, 3, 3, 3, 29, 15},
    {1, 1, 5, 1, 27, 33, 35},
    {1, 3, 3, 7, 11, 21, 35},
    {1, 1, 5, 11, 19, 29, 87},
    {1, 3, 5, 9, 7, 17, 41},
    {1, 1, 3, 13, 21, 25, 121},
    {1, 1, 7, 11, 21, 63, 37},
    {1, 3, 7, 7, 13, 19, 7},
    {1, 3, 7, 9, 13, 17, 109},
    {1, 1, 5, 5, 17, 9, 45},
    {1, 3, 7, 1, 5, 15, 19},
    {1, 3, 3, 13, 5, 25, 15},
    {1, 3, 1, 3, 3, 43, 65},
    {1, 1, 3, 11, 3, 31, 25},
    {1, 1, 5, 7, 9, 17, 41},
    {1, 3, 5, 3, 3, 33, 115},
    {1, 3, 5, 13, 27, 19, 33},
    {1, 1, 7, 11, 25, 5, 99},
    {1, 3, 3, 15, 7, 21, 65},
    {1, 3, 1, 15, 11, 55, 7, 195},
    {1, 1, 3, 3, 13, 41, 43, 215},
    {1, 3, 7, 9, 17, 63, 51, 3},
    {1, 3, 7, 11, 3, 3, 61, 93},
    {1, 3, 5, 1, 29, 5, 35, 85},
    {1, 1, 1, 3, 31, 39, 17, 127},
    {1, 1, 1, 1, 9, 21, 87, 63},
    {1, 1, 3, 13, 15, 31, 31, 53},
    {1, 3, 1, 3, 25, 61, 35, 127},
    {1, 1, 1, 7, 19, 15, 71, 153},
    {1, 3, 1, 11, 31, 43, 25, 243},
    {1, 1, 7, 1, 19, 35, 71, 165},
    {1, 3, 3, 7, 15, 29, 87, 205},
    {1, 1, 1, 11, 27, 35, 25, 223},
    {1, 3, 7, 5, 19, 7, 3, 215},
    {1, 1, 3, 9, 19, 3, 39, 245},
    {1, 1, 5, 7, 9, 29, 73, 45, 339},
    {1, 3, 5, 15, 15, 47, 65, 109, 255},
    {1, 3, 5, 9, 27, 55, 87, 233, 405},
    {1, 3, 7, 3, 9, 47, 15, 231, 291},
    {1, 3, 3, 1, 9, 43, 19, 15, 361},
    {1, 1, 7, 15, 19, 51, 119, 211, 219},
    {1, 1, 5, 3, 19, 23, 55, 85, 325},
};

static uint32_t directions[QMC_DIMS_MAX][BITS];
static uint16_t primes[QMC_DIMS_MAX];
static pthread_once_t made = PTHREAD_ONCE_INIT;

/* ---- tables ---- */

static uint32_t multiply_mod(uint32_t a, uint32_t b, uint32_t poly, unsigned degree) {
  uint32_t product = 0;
  for (; b; b >>= 1) {
    if (b & 1)
      product ^= a;
    a <<= 1;
    if (a >> degree & 1)
      a ^= poly;
  }
  return product;
}

/* x^e modulo the polynomial */
static uint32_t power_of_x(uint32_t e, uint32_t poly, unsigned degree) {
  uint32_t power = 1, base = degree > 1 ? 2 : 2 ^ poly;
  for (; e; e >>= 1) {
    if (e & 1)
      power = multiply_mod(power, base, poly, degree);
    base = multiply_mod(base, base, poly, degree);
  }
  return power;
}

/* Is the order of x the largest there can be? */
static bool is_primitive(uint32_t poly, unsigned degree) {
  uint32_t order = ((uint32_t)1 << degree) - 1, rest = order;
  if (power_of_x(order, poly, degree) != 1)
    return false;
  for (uint32_t p = 2; p <= rest; p++) {
    if (rest % p)
      continue;
    if (order / p > 0 && p != order && power_of_x(order / p, poly, degree) == 1)
      return false;
    while (rest % p == 0)
      rest /= p;
  }
  return order == 1 || power_of_x(1, poly, degree) != 1;
}

static void fill_directions(uint32_t *v, unsigned dim, uint32_t poly, unsigned degree) {
  uint32_t m[BITS];
  struct rng rng = rng_for(0x50b01, dim, 0);
  for (unsigned k = 0; k < degree; k++)
    m[k] = dim <= SEARCHED ? searched[dim - 1][k] : (uint32_t)rng_below(&rng, (uint64_t)1 << k) * 2 + 1;
  for (unsigned k = degree; k < BITS; k++) {
    m[k] = m[k - degree] ^ (m[k - degree] << degree);
    for (unsigned j = 1; j < degree; j++)
      if (poly >> (degree - j) & 1)
        m[k] ^= m[k - j] << j;
  }
  for (unsigned k = 0; k < BITS; k++)
    v[k] = m[k] << (BITS - 1 - k);
}

static void make_tables(void) {
  for (unsigned k = 0; k < BITS; k++)
    directions[0][k] = (uint32_t)1 << (BITS - 1 - k);
  unsigned dim = 1;
  for (unsigned degree = 1; degree <= DEGREE_MAX && dim < QMC_DIMS_MAX; degree++)
    for (uint32_t middle = 0; middle < (uint32_t)1 << (degree - 1) && dim < QMC_DIMS_MAX; middle++) {
      uint32_t poly = (uint32_t)1 << degree | middle << 1 | 1;
      if (is_primitive(poly, degree)) {
        fill_directions(directions[dim], dim, poly, degree);
        dim++;
      }
    }
  unsigned found = 0;
  for (uint16_t candidate = 2; found < QMC_DIMS_MAX; candidate++) {
    bool prime = true;
    for (unsigned i = 0; prime && i < found && primes[i] * primes[i] <= candidate; i++)
      prime = candidate % primes[i] != 0;
    if (prime)
      primes[found++] = candidate;
  }
}

/* ---- sequences ---- */

uint32_t sobol_bits(uint32_t n, unsigned dim) {
  pthread_once(&made, make_tables);
  uint32_t bits = 0;
  for (unsigned k = 0; n; n >>= 1, k++)
    if (n & 1)
      bits ^= directions[dim][k];
  return bits;
}

/* Owen's nested scrambling: whether a bit is flipped depends on all bits above it, with a one before them that says how many they are. */
FOR_EACH_CPU static uint32_t owen(uint32_t bits, uint64_t key) {
  uint64_t led = (uint64_t)1 << BITS | bits, flips = 0;
  for (uint64_t k = 0; k < BITS; k++)
    flips |= rng_mix(key ^ ((led >> (BITS - k)) * 0x9e3779b97f4a7c15u)) >> 63 << (BITS - 1 - k);
  return bits ^ (uint32_t)flips;
}

static double beyond(uint64_t seed, uint64_t n, unsigned dim) {
  struct rng rng = rng_for(seed, dim, n);
  return fmax(rng_f64(&rng), 0x1p-33);
}

double sobol_at(uint64_t seed, uint64_t n, unsigned dim) {
  if (dim >= QMC_DIMS_MAX || n > UINT32_MAX)
    return beyond(seed, n, dim);
  uint64_t key = rng_mix(seed ^ rng_mix(0x50b0150b01 + (uint64_t)dim));
  return ((double)owen(sobol_bits((uint32_t)n, dim), key) + 0.5) * 0x1p-32;
}

double halton_at(uint64_t seed, uint64_t n, unsigned dim) {
  if (dim >= QMC_DIMS_MAX)
    return beyond(seed, n, dim);
  pthread_once(&made, make_tables);
  uint64_t base = primes[dim];
  double scale = 1 / (double)base, sum = 0;
  /* Digits go on after the index has run out, since a scrambled 0 is no 0. Each is turned and shifted by numbers of its own place. */
  for (uint64_t place = 0; scale > 0x1p-48; place++, scale /= (double)base) {
    uint64_t h = rng_mix(seed ^ rng_mix((uint64_t)dim << 32 | place));
    uint64_t digit = (n % base * (1 + (h >> 32) % (base - 1)) + (uint32_t)h % base) % base;
    sum += (double)digit * scale;
    n /= base;
  }
  return fmin(fmax(sum, 0x1p-40), 1 - 0x1p-40);
}
