#include "sampler/qmc.h"

#include <math.h>
#include <pthread.h>

#include "base/rng.h"

/* Initial direction numbers of dimensions 1.. as tests/data/sampler/sobol_directions.py found them. Dimension d uses the d-th primitive
 * polynomial over GF(2); beyond the table the numbers are drawn once and for all, which keeps every coordinate stratified. */
enum { SEARCHED = 63, DEGREE_MAX = 13, BITS = 32 };
static const uint16_t searched[SEARCHED][9] = {
    {1},
    {1, 1},
    {1, 3, 3},
    {1, 1, 7},
    {1, 3, 3, 9},
    {1, 3, 5, 13},
    {1, 1, 3, 15, 17},
    {1, 3, 1, 3, 27},
    {1, 1, 3, 3, 19},
    {1, 3, 7, 5, 3},
    {1, 3, 7, 5, 27},
    {1, 3, 1, 7, 7},
    {1, 3, 5, 3, 19, 19},
    {1, 3, 3, 11, 27, 31},
    {1, 1, 7, 15, 31, 7},
    {1, 1, 7, 3, 29, 23},
    {1, 3, 1, 11, 31, 61},
    {1, 1, 1, 3, 21, 3},
    {1, 1, 7, 9, 7, 7, 37},
    {1, 3, 5, 15, 11, 63, 83},
    {1, 3, 5, 1, 13, 17, 47},
    {1, 3, 5, 15, 1, 1, 111},
    {1, 1, 5, 7, 9, 49, 3},
    {1, 1, 3, 1, 3, 53, 95},
    {1, 1, 1, 1, 17, 17, 73},
    {1, 1, 3, 3, 5, 19, 11},
    {1, 3, 7, 11, 17, 39, 95},
    {1, 3, 1, 7, 27, 13, 47},
    {1, 3, 7, 5, 15, 61, 105},
    {1, 1, 5, 13, 21, 39, 23},
    {1, 3, 1, 15, 13, 35, 93},
    {1, 3, 5, 9, 17, 3, 101},
    {1, 1, 5, 5, 3, 3, 25},
    {1, 1, 1, 11, 23, 61, 53},
    {1, 1, 1, 5, 29, 39, 11},
    {1, 3, 3, 15, 27, 59, 93},
    {1, 3, 5, 3, 13, 31, 121, 15},
    {1, 1, 7, 15, 23, 39, 119, 185},
    {1, 1, 1, 9, 25, 47, 109, 255},
    {1, 3, 3, 11, 29, 9, 37, 193},
    {1, 1, 5, 3, 25, 59, 7, 197},
    {1, 3, 1, 13, 27, 63, 123, 37},
    {1, 1, 1, 13, 7, 25, 69, 253},
    {1, 1, 5, 13, 9, 53, 119, 199},
    {1, 3, 5, 13, 29, 43, 109, 131},
    {1, 3, 5, 9, 23, 21, 117, 77},
    {1, 3, 5, 11, 15, 15, 73, 181},
    {1, 1, 7, 13, 13, 23, 31, 197},
    {1, 3, 3, 1, 5, 3, 107, 67},
    {1, 3, 3, 3, 31, 31, 35, 29},
    {1, 1, 3, 5, 1, 49, 89, 19},
    {1, 1, 3, 5, 21, 27, 59, 33},
    {1, 1, 7, 1, 23, 31, 115, 53, 309},
    {1, 1, 3, 15, 7, 47, 83, 109, 97},
    {1, 3, 3, 5, 23, 47, 105, 225, 225},
    {1, 3, 7, 7, 29, 33, 115, 1, 157},
    {1, 1, 5, 3, 21, 47, 119, 143, 325},
    {1, 1, 1, 15, 5, 3, 9, 29, 259},
    {1, 1, 1, 7, 21, 39, 13, 125, 393},
    {1, 1, 7, 13, 7, 39, 41, 35, 87},
    {1, 1, 1, 7, 27, 45, 119, 165, 455},
    {1, 3, 7, 15, 1, 49, 113, 145, 387},
    {1, 3, 5, 7, 15, 13, 7, 231, 129},
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

/* Owen's nested scrambling: whether a bit is flipped depends on all bits above it. */
static uint32_t owen(uint32_t bits, uint64_t key) {
  uint32_t result = 0;
  for (unsigned k = 0; k < BITS; k++) {
    uint64_t prefix = k ? (uint64_t)(bits >> (BITS - k)) | (uint64_t)1 << k : 1;
    result = result << 1 | ((bits >> (BITS - 1 - k) & 1) ^ (uint32_t)(rng_mix(key ^ (prefix * 0x9e3779b97f4a7c15u)) >> 63));
  }
  return result;
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
