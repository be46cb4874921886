#include "sampler/warp.h"

#include <gsl/gsl_cdf.h>
#include <math.h>

#include "base/mem.h"

struct ranked {
  double value;
  size_t at;
};

static int by_value(const void *a, const void *b) {
  const struct ranked *x = a, *y = b;
  if (x->value != y->value)
    return x->value < y->value ? -1 : 1;
  return (x->at > y->at) - (x->at < y->at);
}

/* `sorted` holds the usable values, best first. */
static void warp_worse_half(struct ranked *sorted, size_t n, double *values) {
  double median = n % 2 ? sorted[n / 2].value : (sorted[n / 2 - 1].value + sorted[n / 2].value) / 2;
  double squares = 0;
  size_t good = 0;
  for (; good < n && sorted[good].value <= median; good++)
    squares += (sorted[good].value - median) * (sorted[good].value - median);
  double deviation = good ? sqrt(squares / (double)good) : 0;
  if (!(deviation > 0)) /* half of all are equal: the nearest worse one sets the scale */
    deviation = good < n ? sorted[good].value - median : 0;
  for (size_t i = good; i < n;) {
    size_t end = i + 1;
    while (end < n && sorted[end].value == sorted[i].value)
      end++;
    double rank = 0.5 * ((double)i + (double)end) / (double)n; /* the middle of the equal ones */
    double warped = median + deviation * gsl_cdf_ugaussian_Pinv(fmin(rank, 1 - 0.25 / (double)n));
    for (; i < end; i++)
      values[sorted[i].at] = warped;
  }
}

/* How far the better half reaches; where it is all one value, the step to the next. */
static double reach(const struct ranked *sorted, size_t n) {
  size_t i = n / 2;
  while (i + 1 < n && sorted[i].value == sorted[0].value)
    i++;
  return sorted[i].value - sorted[0].value;
}

/* Brings the better half to where its differences are not lost beside its height, and its squares neither overflow nor vanish; what is far
 * worse is cut off. */
static void tame(struct ranked *sorted, size_t n) {
  double scale = 0, height = fabs(sorted[0].value), differs = reach(sorted, n);
  double off = differs < 1e-8 * height && differs > 1e-14 * height ? sorted[0].value : 0;
  for (size_t i = 0; i < n; i++)
    sorted[i].value -= off;
  for (size_t i = 0; i <= n / 2 && i < n; i++)
    scale = fmax(scale, fabs(sorted[i].value));
  bool odd = scale > 1e100 || (scale > 0 && scale < 1e-100);
  for (size_t i = 0; i < n; i++)
    sorted[i].value = fmin(odd ? sorted[i].value / scale : sorted[i].value, 1e120);
}

static void standardise(double *values, size_t n) {
  double sum = 0, squares = 0;
  for (size_t i = 0; i < n; i++)
    sum += values[i];
  double mean = sum / (double)n;
  for (size_t i = 0; i < n; i++)
    squares += (values[i] - mean) * (values[i] - mean);
  double deviation = sqrt(squares / (double)n);
  for (size_t i = 0; i < n; i++)
    values[i] = deviation > 1e-10 * fabs(mean) && deviation > 0 ? (values[i] - mean) / deviation : 0;
}

bool warp_values(double *values, size_t n, struct err *err) {
  struct ranked *sorted = mem_array(n, sizeof *sorted);
  if (!sorted)
    return err_no_memory(err);
  size_t usable = 0;
  for (size_t i = 0; i < n; i++)
    if (!isnan(values[i]))
      sorted[usable++] = (struct ranked){values[i], i};
  if (usable) {
    qsort(sorted, usable, sizeof *sorted, by_value);
    tame(sorted, usable);
    for (size_t i = 0; i < usable; i++)
      values[sorted[i].at] = sorted[i].value;
    warp_worse_half(sorted, usable, values);
  }
  double best = INFINITY, worst = -INFINITY;
  for (size_t i = 0; i < n; i++)
    if (!isnan(values[i])) {
      best = fmin(best, values[i]);
      worst = fmax(worst, values[i]);
    }
  bool differ = worst - best > 1e-10 * fabs(worst);
  double worse = worst + (differ ? 0.25 * (worst - best) : fmax(fabs(worst), 1));
  for (size_t i = 0; i < n; i++)
    if (isnan(values[i]))
      values[i] = usable ? worse : 0;
  standardise(values, n);
  mem_free(sorted);
  return true;
}
