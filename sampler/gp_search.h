/* A suggestion by a Gaussian process: takes a copy of what it needs from the history, fits, and searches for the points of largest expected
 * improvement. The copy makes the long part independent of the history, so that it may run on another thread. */
#ifndef WINNOW_SAMPLER_GP_SEARCH_H
#define WINNOW_SAMPLER_GP_SEARCH_H

#include "sampler/gp.h"
#include "sampler/gp_rows.h"

struct gp_search;

struct gp_search_settings {
  enum gp_prior prior;
  unsigned candidates;
};
extern const struct gp_search_settings gp_search_defaults;

/* Looks at the first `results` results only; GP_ROWS_NOW: at all that gp_rows.h has for it. Needs at least two with values (ERR_NOT_FOUND).
 * Borrows the space, not the history. */
MUST_CHECK bool gp_search_new(const struct history *history, size_t results, const struct gp_search_settings *settings, uint64_t seed,
                              uint64_t n, struct gp_search **ret, struct err *err);
void gp_search_free(struct gp_search *search);
size_t gp_search_rows(const struct gp_search *search);
/* Further pending trials, which the history does not have yet. */
MUST_CHECK bool gp_search_add_pending(struct gp_search *search, const double *points, size_t count, struct err *err);
/* Hyperparameters of an earlier search: they need not be fitted. */
void gp_search_reuse(struct gp_search *search, const struct gp_params *params);
/* Those of the model of where trials fail; without them it fits its own, where any failed. */
void gp_search_reuse_fails(struct gp_search *search, const struct gp_params *params);
/* Finds the hyperparameters, and no points. ERR_INVALID when no factorisation was possible; so says the next one. One of the two, once. */
MUST_CHECK bool gp_search_fit(struct gp_search *search, struct err *err);
MUST_CHECK bool gp_search_run(struct gp_search *search, struct err *err);
/* The points found, best first; settled, allowed, and none of them among the trials that were copied. */
size_t gp_search_found(const struct gp_search *search);
const double *gp_search_point(const struct gp_search *search, size_t k);
const struct gp_params *gp_search_params(const struct gp_search *search);
/* NULL: there are none. */
const struct gp_params *gp_search_fails_params(const struct gp_search *search);

#endif
