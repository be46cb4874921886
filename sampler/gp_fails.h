/* Where trials fail: a Gaussian process of its own over 1 for trials that ended without a value and 0 for those that have one. It says how
 * likely a value is at a point. So a failure teaches the model of values nothing; where trials fail at random, that is nearly as likely
 * everywhere, and no good place is given up for one that failed there. */
#ifndef WINNOW_SAMPLER_GP_FAILS_H
#define WINNOW_SAMPLER_GP_FAILS_H

#include "sampler/gp.h"

struct gp_fails;

/* `valued`: as for the model of values (of y and what is pending nothing is read). Behind its rows and pending ones, x goes on with so many
 * that failed, at least one. Copies what it needs. */
MUST_CHECK bool gp_fails_new(const struct gp_data *valued, size_t failed, struct gp_fails **ret, struct err *err);
void gp_fails_free(struct gp_fails *fails);
/* One of the two, before what follows; as for gp.h. */
MUST_CHECK bool gp_fails_fit(struct gp_fails *fails, enum gp_prior prior, unsigned starts, unsigned iterations, struct err *err);
MUST_CHECK bool gp_fails_use(struct gp_fails *fails, const struct gp_params *params, struct err *err);
const struct gp_params *gp_fails_params(const struct gp_fails *fails);

/* Lowers the scores, which are logarithms, of these rows by what there is to fear; NaN stays. */
MUST_CHECK bool gp_fails_weigh(struct gp_fails *fails, size_t rows, const double *x, double *scores, struct err *err);
/* The same for one row: what is to be added, with its gradient (0 for choices). `scratch` has room for as many values. */
double gp_fails_slope(struct gp_fails *fails, const double *x, double *ret_slope, double *scratch);

#endif
