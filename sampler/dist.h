/* One numeric distribution: cumulative function, quantile, grid of values, readable rounding. A value is a double on its own scale
 * ("native"); u in [0, 1] is its cumulative probability, the coordinate every search method works in. */
#ifndef WINNOW_SAMPLER_DIST_H
#define WINNOW_SAMPLER_DIST_H

#include "base/err.h"

enum dist_shape { DIST_UNIFORM, DIST_LOG_UNIFORM, DIST_NORMAL, DIST_LOG_NORMAL, DIST_BETA };

/* What a caller states. Bounds that are not given are infinite (normal families) or 0 and 1 (beta). */
struct dist_spec {
  enum dist_shape shape;
  double min, max;    /* values, not logarithms */
  double rounded;     /* by what share of them: of bounds that were written as rounded logarithms */
  double mu, sigma;   /* normal families; of the logarithm for DIST_LOG_NORMAL */
  double alpha, beta; /* DIST_BETA */
  double step;        /* > 0: values min + k * step, all equally likely under DIST_UNIFORM (the ends get a whole cell) */
  double quantum;     /* > 0: round(value / quantum) * quantum, as q-distributions do, but never outside the bounds */
  bool integer;       /* values are whole numbers: step or quantum is whole */
};

struct dist {
  enum dist_shape shape;
  bool integer;
  double lo, hi;     /* the bounds, both attainable (as far as the type of grid allows) */
  double from, to;   /* the support of the underlying continuum; wider than the bounds by half a step */
  double mu, sigma;  /* or alpha and beta */
  double mass_from;  /* probability of the untruncated normal or beta below `from`, ... */
  double mass_width; /* ... and between `from` and `to` */
  bool upper_tail;   /* those are counted from above: `from` is right of the centre */
  double tenth;      /* normal families and beta: the value (its logarithm) at u = 0.1, ... */
  double tenth_to;   /* ... and how far it is from there to that at u = 0.9 */
  uint64_t cells;    /* 0: a continuum; else the number of values */
  double origin, step;
  int64_t first;        /* the value of cell 0 is origin + first * step */
  int decimals;         /* of origin and step as written; -1: not exact in 53 bits */
  int64_t origin_units; /* in units of 10^-decimals */
  int64_t step_units;
};

/* The largest number of values a grid may have, and the largest whole number. */
#define DIST_CELLS_MAX ((uint64_t)1 << 53)

/* Checks the statement. Errors name the key ("\"min\" must be below \"max\""). */
MUST_CHECK bool dist_init(const struct dist_spec *spec, struct dist *ret, struct err *err);

/* The cumulative probability of a value; in [0, 1] also for values outside the bounds. On a grid: the middle of the value's cell. */
double dist_u(const struct dist *dist, double value);
/* The value at u: on the grid, inside the bounds, and with no more digits than mean something. */
double dist_value(const struct dist *dist, double u);
/* The value nearest to a stated one that the distribution can give; false when it lies outside or is off the grid by more than rounding. */
bool dist_fit(const struct dist *dist, double stated, double *ret_value);

/* Another coordinate, for what takes near values for alike: it grows with the value (its logarithm), also in tails, where u hardly grows,
 * and is u at a tenth and nine tenths; for uniform shapes it is u. Values beyond the reach are so unlikely that no model need look there.
 */
double dist_along(const struct dist *dist, double value);
void dist_reach(const struct dist *dist, double *ret_low, double *ret_high);
/* Its u; nothing beyond the reach. */
double dist_u_along(const struct dist *dist, double along);

/* Grids only (cells > 0). */
double dist_cell_value(const struct dist *dist, uint64_t cell);
uint64_t dist_cell_of(const struct dist *dist, double value);
/* The share of [0, 1] that gives the cell. */
void dist_cell_edges(const struct dist *dist, uint64_t cell, double *ret_from, double *ret_to);
/* Do all cells have the same probability? */
bool dist_cells_even(const struct dist *dist);

/* The double nearest to `value` rounded to so many decimals (may be negative). */
double dist_round_decimals(double value, int decimals);

#endif
