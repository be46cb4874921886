#include "sampler/dist.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_errno.h>
#include <gsl/gsl_randist.h>
#include <math.h>

#include "base/rng.h"
#include "base/str.h"

/* u is kept this far from 0 and 1 where the quantile would be infinite. */
#define TAIL 0x1p-40
/* Continuous values are rounded to this many digits of the range (of the value itself on a logarithmic scale). */
enum { READABLE_DIGITS = 10 };
/* How far beyond u = 0 and 1 the other coordinate goes at most: 3.7 deviations from the centre of a normal distribution. */
#define REACH 0.65
/* Of u that count: fewer than the mathematics library's functions differ in from one build to another. */
enum { U_BITS = 40 };
#define U_PLACES ((uint64_t)1 << U_BITS)

double dist_round_decimals(double value, int decimals) {
  static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  if (!isfinite(value) || value == 0)
    return value;
  int n = abs(decimals);
  if (n < (int)ARRAY_LEN(powers)) {
    /* Both the whole number and the power are exact, so that the quotient is the double nearest to the decimal fraction. */
    double whole = rint(decimals >= 0 ? value * powers[n] : value / powers[n]);
    if (fabs(whole) < 0x1p53) {
      double rounded = decimals >= 0 ? whole / powers[n] : whole * powers[n];
      return rounded == 0 ? 0 : rounded; /* no -0 */
    }
  }
  int digits = (int)floor(log10(fabs(value))) + decimals;
  if (digits >= 16)
    return value;
  if (digits < 0)
    return 0;
  char text[64];
  snprintf(text, sizeof text, "%.*e", digits, value);
  double rounded;
  return str_to_f64(str_of(text), &rounded) ? rounded : value;
}

/* ---- the underlying continuum ---- */

static bool is_log(enum dist_shape shape) {
  return shape == DIST_LOG_UNIFORM || shape == DIST_LOG_NORMAL;
}

static double standard(const struct dist *dist, double value) {
  if (dist->shape == DIST_LOG_NORMAL)
    value = value > 0 ? log(value) : -INFINITY;
  return (value - dist->mu) / dist->sigma;
}

/* Probability below (or above, when counted from above) a value, not truncated. */
static double raw_mass(const struct dist *dist, double value) {
  if (dist->shape == DIST_BETA)
    return value <= 0 ? 0 : value >= 1 ? 1 : gsl_cdf_beta_P(value, dist->mu, dist->sigma);
  double z = standard(dist, value);
  return dist->upper_tail ? gsl_cdf_ugaussian_Q(z) : gsl_cdf_ugaussian_P(z);
}

static double cdf(const struct dist *dist, double value) {
  if (!(value > dist->from))
    return 0;
  if (!(value < dist->to))
    return 1;
  double u;
  switch (dist->shape) {
  case DIST_UNIFORM:
    u = (value - dist->from) / (dist->to - dist->from);
    break;
  case DIST_LOG_UNIFORM:
    u = (log(value) - log(dist->from)) / (log(dist->to) - log(dist->from));
    break;
  default:
    u = (raw_mass(dist, value) - dist->mass_from) / dist->mass_width;
  }
  return u < 0 ? 0 : u > 1 ? 1 : u;
}

/* Newton's steps inside a shrinking bracket. (The library's own inverse does not come back for some shapes.) */
static double beta_quantile(const struct dist *dist, double mass) {
  double low = 0, high = 1, x = dist->mu / (dist->mu + dist->sigma);
  for (int i = 0; i < 100 && high - low > 1e-16; i++) {
    double miss = gsl_cdf_beta_P(x, dist->mu, dist->sigma) - mass;
    if (miss == 0)
      return x;
    if (miss < 0)
      low = x;
    else
      high = x;
    double next = x - miss / gsl_ran_beta_pdf(x, dist->mu, dist->sigma);
    if (!(next > low && next < high))
      next = (low + high) / 2;
    if (fabs(next - x) <= 1e-15 * x)
      return next;
    x = next;
  }
  return x;
}

static double quantile(const struct dist *dist, double u) {
  switch (dist->shape) {
  case DIST_UNIFORM:
    return dist->from + u * (dist->to - dist->from);
  case DIST_LOG_UNIFORM:
    return exp(log(dist->from) + u * (log(dist->to) - log(dist->from)));
  default:
    break;
  }
  u = fmin(fmax(u, TAIL), 1 - TAIL);
  double mass = dist->mass_from + u * dist->mass_width;
  if (dist->shape == DIST_BETA)
    return beta_quantile(dist, mass);
  double z = dist->upper_tail ? gsl_cdf_ugaussian_Qinv(mass) : gsl_cdf_ugaussian_Pinv(mass);
  double x = dist->mu + dist->sigma * z;
  return dist->shape == DIST_LOG_NORMAL ? exp(x) : x;
}

/* ---- along values ---- */

static bool is_uniform(const struct dist *dist) {
  return dist->shape == DIST_UNIFORM || dist->shape == DIST_LOG_UNIFORM;
}

static double level(const struct dist *dist, double value) {
  return dist->shape == DIST_LOG_NORMAL ? log(value) : value;
}

static double level_at(const struct dist *dist, double u) {
  return level(dist, quantile(dist, u));
}

static void init_along(struct dist *dist) {
  dist->tenth = level_at(dist, 0.1);
  dist->tenth_to = level_at(dist, 0.9) - dist->tenth;
}

/* Of no use where rounding leaves no difference. */
static bool has_along(const struct dist *dist) {
  return !is_uniform(dist) && isfinite(dist->tenth) && isfinite(dist->tenth_to) && dist->tenth_to > 0;
}

static double along_of_level(const struct dist *dist, double level) {
  return 0.1 + 0.8 * (level - dist->tenth) / dist->tenth_to;
}

double dist_along(const struct dist *dist, double value) {
  if (!has_along(dist))
    return dist_u(dist, value);
  double inside = value > dist->from && value < dist->to && !dist->cells ? level(dist, value) : level_at(dist, dist_u(dist, value));
  return along_of_level(dist, inside);
}

void dist_reach(const struct dist *dist, double *ret_low, double *ret_high) {
  *ret_low = 0, *ret_high = 1;
  if (!has_along(dist))
    return;
  *ret_low = fmax(along_of_level(dist, level_at(dist, 0)), -REACH);
  *ret_high = fmin(along_of_level(dist, level_at(dist, 1)), 1 + REACH);
}

double dist_u_along(const struct dist *dist, double along) {
  double low, high;
  dist_reach(dist, &low, &high);
  along = fmin(fmax(along, low), high);
  if (!has_along(dist))
    return along;
  double inside = dist->tenth + (along - 0.1) / 0.8 * dist->tenth_to;
  return cdf(dist, dist->shape == DIST_LOG_NORMAL ? exp(inside) : inside);
}

/* ---- making one ---- */

static bool too_many_whole(struct err *err) {
  return err_set(err, ERR_INVALID, "whole numbers, and how many there are, must be below 2^53"),
         err_hint(err, "a number with a fraction may be larger: write 0.0 for 0, or distribution: uniform");
}

static bool check_spec(const struct dist_spec *s, struct err *err) {
  bool normal = s->shape == DIST_NORMAL || s->shape == DIST_LOG_NORMAL;
  if (isnan(s->min) || isnan(s->max) || isnan(s->step) || isnan(s->quantum))
    return err_set(err, ERR_INVALID, "\"min\", \"max\" and \"q\" must be numbers");
  if (s->integer && s->step > 0 && (fabs(s->min) >= 0x1p53 || fabs(s->max) >= 0x1p53))
    return too_many_whole(err); /* first: two of them may be the same number here */
  if (!normal && !(isfinite(s->min) && isfinite(s->max)))
    return err_set(err, ERR_INVALID, "\"min\" and \"max\" must be finite");
  if (!(s->min < s->max) && !(s->min == s->max && s->quantum > 0)) /* which may leave one value */
    return err_set(err, ERR_INVALID, "\"min\" must be below \"max\"");
  if (!normal && !isfinite(s->max - s->min))
    return err_set(err, ERR_INVALID, "\"max\" is too far above \"min\"");
  if (s->shape == DIST_LOG_UNIFORM && !(s->min > 0))
    return err_set(err, ERR_INVALID, "\"min\" must be above 0 on a logarithmic scale"),
           err_hint(err, "log_uniform takes exponents, log_uniform_values takes values");
  if (normal && (!isfinite(s->mu) || !(s->sigma > 0) || !isfinite(s->sigma)))
    return err_set(err, ERR_INVALID, "\"sigma\" must be above 0, and \"mu\" finite");
  if (s->shape == DIST_BETA && !(s->alpha > 0 && s->beta > 0 && s->alpha <= 1e6 && s->beta <= 1e6))
    return err_set(err, ERR_INVALID, "\"a\" and \"b\" must be above 0 and at most 1e6");
  if (s->step < 0 || s->quantum < 0 || isinf(s->step) || isinf(s->quantum))
    return err_set(err, ERR_INVALID, "\"%s\" must be above 0", s->step != 0 ? "step" : "q");
  return true;
}

/* The decimals of a number as written, at most 15; -1 when it needs more digits than a double surely holds. */
static int decimals_of(double value, int64_t *ret_units, int decimals_at_least) {
  for (int n = decimals_at_least; n <= 15; n++) {
    double scaled = value * pow(10, n);
    if (fabs(scaled) >= 0x1p53)
      return -1;
    if (dist_round_decimals(value, n) == value) {
      *ret_units = (int64_t)rint(scaled);
      return n;
    }
  }
  return -1;
}

static void find_decimals(struct dist *dist) {
  int n = decimals_of(dist->step, &dist->step_units, 0);
  if (n >= 0)
    n = decimals_of(dist->origin, &dist->origin_units, n);
  if (n >= 0)
    n = decimals_of(dist->step, &dist->step_units, n);
  dist->decimals = n;
}

double dist_cell_value(const struct dist *dist, uint64_t cell) {
  int64_t k = dist->first + (int64_t)cell;
  if (dist->decimals >= 0) {
    __int128 units = (__int128)dist->origin_units + (__int128)k * dist->step_units;
    if (units < (__int128)1 << 53 && units > -((__int128)1 << 53))
      return (double)(int64_t)units / pow(10, dist->decimals);
  }
  return dist->origin + (double)k * dist->step;
}

static bool set_cells(struct dist *dist, double first, double last, const char *key, struct err *err) {
  if (last < first)
    return err_set(err, ERR_INVALID, "no multiple of \"%s\" lies between \"min\" and \"max\"", key);
  if (fabs(first) >= 0x1p53 || fabs(last) >= 0x1p53 || last - first + 1 > (double)DIST_CELLS_MAX)
    return err_set(err, ERR_INVALID, "\"%s\" is too small for this range", key);
  dist->first = (int64_t)first;
  dist->cells = (uint64_t)(last - first) + 1;
  find_decimals(dist);
  return true;
}

/* A bound that is off the grid by no more than rounding is on it. */
static double rounding_of(const struct dist_spec *spec, double low, double high, double step) {
  double bound = fmax(fabs(low), fabs(high));
  return fmax(fmin(1e-9, 1e-12 * bound / step), fmin(1e-3, spec->rounded * bound / step));
}

static double last_step(const struct dist_spec *spec) {
  double width = spec->max - spec->min;
  if (!spec->integer)
    return floor(width / spec->step + rounding_of(spec, spec->min, spec->max, spec->step));
  return spec->step > width ? 0 : (double)(((int64_t)spec->max - (int64_t)spec->min) / (int64_t)spec->step);
}

/* A grid from `min` on; the support is wider by half a step, so that the two ends get as much as the rest. */
static bool init_step(struct dist *dist, const struct dist_spec *spec, struct err *err) {
  dist->origin = spec->min;
  dist->step = spec->step;
  double last = last_step(spec);
  if (dist->integer && last >= (double)DIST_CELLS_MAX)
    return too_many_whole(err);
  if (!set_cells(dist, 0, last, "step", err))
    return false;
  dist->hi = dist_cell_value(dist, dist->cells - 1);
  if (spec->shape == DIST_UNIFORM || spec->shape == DIST_LOG_UNIFORM) {
    dist->from = dist->lo - spec->step / 2;
    dist->to = dist->hi + spec->step / 2;
    if (is_log(spec->shape) && !(dist->from > 0))
      dist->from = dist->lo / 2;
  }
  return true;
}

/* The multiples of a quantum inside the bounds. The support stays, so that values are as likely as rounding makes them. */
static bool init_quantum(struct dist *dist, const struct dist_spec *spec, struct err *err) {
  dist->origin = 0;
  dist->step = spec->quantum;
  double low = isfinite(spec->min) && !(is_log(spec->shape) && spec->min <= 0) ? spec->min : quantile(dist, 0);
  double high = isfinite(spec->max) ? spec->max : quantile(dist, 1);
  double slack = rounding_of(spec, low, high, spec->quantum);
  double first = ceil(low / spec->quantum - slack), last = floor(high / spec->quantum + slack);
  if (spec->shape == DIST_LOG_NORMAL && !(spec->min > 0))
    first = 0; /* exp(x) may round to nothing */
  if (!isfinite(spec->min) && spec->shape == DIST_NORMAL)
    first = rint(low / spec->quantum);
  if (!isfinite(spec->max))
    last = fmax(first, rint(high / spec->quantum));
  if (!set_cells(dist, first, last, "q", err))
    return false;
  dist->lo = dist_cell_value(dist, 0);
  dist->hi = dist_cell_value(dist, dist->cells - 1);
  return true;
}

static bool init_masses(struct dist *dist, struct err *err) {
  double below = raw_mass(dist, dist->from), above = raw_mass(dist, dist->to);
  if (dist->shape != DIST_BETA && standard(dist, dist->from) > 0) {
    dist->upper_tail = true;
    below = raw_mass(dist, dist->from), above = raw_mass(dist, dist->to);
  }
  dist->mass_from = below;
  dist->mass_width = above - below;
  if (!(fabs(dist->mass_width) > 1e-290))
    return err_set(err, ERR_INVALID, "\"min\" and \"max\" lie where this distribution has no probability");
  return true;
}

bool dist_init(const struct dist_spec *spec, struct dist *ret, struct err *err) {
  gsl_set_error_handler_off(); /* the library would end the program where a quantile does not converge */
  if (!check_spec(spec, err))
    return false;
  struct dist dist = {.shape = spec->shape, .integer = spec->integer, .lo = spec->min, .hi = spec->max, .decimals = -1};
  dist.mu = spec->shape == DIST_BETA ? spec->alpha : spec->mu;
  dist.sigma = spec->shape == DIST_BETA ? spec->beta : spec->sigma;
  dist.from = spec->min, dist.to = spec->max;
  if (spec->shape == DIST_LOG_NORMAL)
    dist.from = fmax(dist.from, 0), dist.lo = fmax(dist.lo, 0);
  if (!is_uniform(&dist)) {
    if (!init_masses(&dist, err))
      return false;
    init_along(&dist);
  }
  if (spec->step > 0 && !init_step(&dist, spec, err))
    return false;
  if (spec->quantum > 0 && !init_quantum(&dist, spec, err))
    return false;
  if (!dist.cells && !(isfinite(quantile(&dist, 0)) && isfinite(quantile(&dist, 1))))
    return err_set(err, ERR_INVALID, "the values would be too large for a number");
  if (!dist.cells && !(quantile(&dist, 0) < quantile(&dist, 1)))
    return err_set(err, ERR_INVALID, "all values would be the same number");
  if (fabs(dist.lo) >= 0x1p53 || fabs(dist.hi) >= 0x1p53)
    dist.integer = false; /* not every whole number is there any more */
  *ret = dist;
  return true;
}

/* ---- values and coordinates ---- */

uint64_t dist_cell_of(const struct dist *dist, double value) {
  double steps = (value - dist->origin) / dist->step;
  double k = (fabs(steps) < 0x1p52 ? floor(steps + 0.5) : steps) - (double)dist->first; /* beyond, all numbers are whole */
  return !(k > 0) ? 0 : k >= (double)dist->cells ? dist->cells - 1 : (uint64_t)k;
}

void dist_cell_edges(const struct dist *dist, uint64_t cell, double *ret_from, double *ret_to) {
  double value = dist_cell_value(dist, cell), half = dist->step / 2;
  *ret_from = cell == 0 ? 0 : cdf(dist, value - half);
  *ret_to = cell + 1 == dist->cells ? 1 : cdf(dist, value + half);
}

bool dist_cells_even(const struct dist *dist) {
  if (dist->shape != DIST_UNIFORM)
    return false;
  double a, b, width = 1 / (double)dist->cells;
  dist_cell_edges(dist, 0, &a, &b);
  bool even = fabs(b - a - width) < 1e-6 * width;
  dist_cell_edges(dist, dist->cells - 1, &a, &b);
  return even && fabs(b - a - width) < 1e-6 * width;
}

double dist_u(const struct dist *dist, double value) {
  if (!dist->cells)
    return cdf(dist, value);
  double from, to;
  dist_cell_edges(dist, dist_cell_of(dist, value), &from, &to);
  return (from + to) / 2;
}

static double readable(const struct dist *dist, double value) {
  double scale;
  switch (dist->shape) {
  case DIST_UNIFORM:
    scale = dist->hi - dist->lo;
    break;
  case DIST_NORMAL:
    scale = dist->sigma;
    break;
  case DIST_BETA:
    scale = 1;
    break;
  default:
    scale = fabs(value);
  }
  double width = dist->hi - dist->lo;
  if (width < 1e-3 * scale) /* so few digits would leave few values, or one */
    scale = width;
  if (!(scale > 0))
    return value;
  return dist_round_decimals(value, READABLE_DIGITS - 1 - (int)floor(log10(scale)));
}

/* Among more values than u has bits for, those below the first 32, which is what a quasi-random sequence has, come from all that it has,
 * mixed: else the values' last bits would follow a pattern. */
static uint64_t wide_cell(const struct dist *dist, double u) {
  if (u <= 0 || u >= 1)
    return u <= 0 ? 0 : dist->cells - 1;
  uint64_t known = (uint64_t)(u * (double)U_PLACES), first = known >> (U_BITS - 32), place = first << 32 | rng_mix(known ^ 0x571de) >> 32;
  return (uint64_t)(((unsigned __int128)place * dist->cells) >> 64);
}

double dist_value(const struct dist *dist, double u) {
  u = isnan(u) ? 0.5 : fmin(fmax(u, 0), 1);
  if (dist->shape == DIST_UNIFORM && dist->cells > U_PLACES)
    return dist_cell_value(dist, wide_cell(dist, u));
  u = rint(u * (double)U_PLACES) / (double)U_PLACES;
  double value = quantile(dist, u);
  if (dist->cells)
    return dist_cell_value(dist, dist_cell_of(dist, value));
  value = readable(dist, value);
  return fmin(fmax(value, dist->lo), dist->hi);
}

bool dist_fit(const struct dist *dist, double stated, double *ret_value) {
  if (!isfinite(stated))
    return false;
  if (dist->cells) {
    double value = dist_cell_value(dist, dist_cell_of(dist, stated));
    if (fabs(value - stated) > 1e-6 * (dist->integer ? 1 : dist->step))
      return false;
    *ret_value = value;
    return true;
  }
  double slack = 1e-12 * fmax(fabs(dist->lo), fabs(dist->hi));
  if (!isfinite(slack))
    slack = 0;
  if (stated < dist->lo - slack || stated > dist->hi + slack)
    return false;
  *ret_value = fmin(fmax(stated, dist->lo), dist->hi);
  return true;
}
