/* A Parzen estimator over the unit cube that is kept up to date one trial at a time: a mixture with one product kernel for each trial and a
 * prior. Continuous coordinates have truncated Gaussians whose width follows the neighbours; discrete ones have the mass of the cell;
 * choices without order a share at the observed one. */
#ifndef WINNOW_SAMPLER_PARZEN_H
#define WINNOW_SAMPLER_PARZEN_H

#include "base/err.h"
#include "base/rng.h"

/* The most cells of an ordered axis, and of one without order. What has more is given as continuous. */
#define PARZEN_CELLS_MAX 64
#define PARZEN_CHOICES_MAX 256
/* The most axes. */
#define PARZEN_AXES_MAX 1000

struct parzen_axis {
  unsigned cells;      /* 0: continuous */
  bool ordered;        /* of cells: neighbours are alike */
  const double *edges; /* cells + 1 of them, in [0, 1], rising; borrowed */
};

struct parzen_settings {
  double min_width;     /* kernels are never narrower than this share of the range, nor than 1 / (kernels + 1)^2, the prior being one */
  unsigned full_weight; /* the newest so many weigh 1, older ones less, down to 1/n */
};

struct parzen;

/* Axes are copied, their edges are not. */
MUST_CHECK bool parzen_new(const struct parzen_axis *axes, size_t axis_count, const struct parzen_settings *settings, struct parzen **ret,
                           struct err *err);
void parzen_free(struct parzen *parzen);

/* Room for so many kernels, so that parzen_add() cannot fail. */
MUST_CHECK bool parzen_reserve(struct parzen *parzen, size_t kernels, struct err *err);
/* A new kernel at u, the youngest; coordinates with cells take the cell that u is in. Its place is the count before; it does not count
 * until it is switched on. */
void parzen_add(struct parzen *parzen, const double *u);
size_t parzen_count(const struct parzen *parzen);
/* Kernels that are off take no part. */
void parzen_switch(struct parzen *parzen, size_t kernel, bool on);
/* Between these two, switching costs next to nothing, and the estimator is not to be asked for a density or a point. What comes of it is
 * the same as without them. */
void parzen_loosen(struct parzen *parzen);
void parzen_tighten(struct parzen *parzen);
/* Takes out the kernels that are not wanted; those that stay keep their order, and get new places. On failure nothing is changed. */
MUST_CHECK bool parzen_keep(struct parzen *parzen, const bool *wanted, struct err *err);
size_t parzen_on(const struct parzen *parzen);

/* ln of the density (mass on axes with cells) at `count` points; `u` has axis_count coordinates a point, cells by number. `work` is scratch
 * memory of parzen_work(...) bytes. */
size_t parzen_work(const struct parzen *parzen, size_t count);
void parzen_log_density(struct parzen *parzen, const double *u, size_t count, double *ret_log, void *work);
/* Of `count` points the one where `good` is largest beside `bad`, among those that `fits` lets pass; the first of equals. SIZE_MAX when
 * there is none. Points that cannot win any more are left behind: what the newest kernels of `bad` alone come to is too much for them.
 * `fits` is asked about few. `work` is parzen_choose_work(...) bytes. */
typedef bool parzen_fits_fn(void *ctx, size_t point);
size_t parzen_choose_work(const struct parzen *good, const struct parzen *bad, size_t count);
size_t parzen_choose(struct parzen *good, struct parzen *bad, const double *u, size_t count, parzen_fits_fn *fits, void *ctx, void *work);
/* Draws a point, in the form that parzen_log_density() takes. */
void parzen_draw(struct parzen *parzen, struct rng *rng, double *ret_u);

#endif
