/* Results of other sweeps and runs that a sweep starts from: gathered once, when it is made, and kept with it, so that its points can be
 * made again whatever becomes of the others. */
#ifndef WINNOW_SWEEPER_PRIOR_H
#define WINNOW_SWEEPER_PRIOR_H

#include "sampler/history.h"
#include "sweeper/sweeps.h"

enum { PRIOR_ITEMS_MAX = 100, PRIOR_RESULTS_MAX = 10000 };

/* What became of the results that were looked at. */
struct prior_counts {
  size_t taken;
  size_t missing; /* without a parameter of this space */
  size_t outside; /* out of range, of another type, against a constraint */
  size_t no_value;
  size_t too_many;
};

/* The point of a result's params, typed (of a trial) or as text (as a run logs them). What the space does not know is passed over. */
enum prior_fit { PRIOR_FITS, PRIOR_MISSING, PRIOR_OUTSIDE };
enum prior_fit prior_point(const struct space *space, const json_t *params, double *ret_point);

/* Is `prior` of the file a list of sweep ids and filters of runs? */
MUST_CHECK bool prior_check(const struct sweep_spec *spec, struct err *err);
/* Is there any, and does the sampler learn from results? Random points, grids and spread ones do not. */
bool prior_is_used(const struct sweep_spec *spec);
/* Gathers them for a sweep that is being made: into its history, its warnings, and as they are stored. */
MUST_CHECK bool prior_gather(struct live_sweep *live, sweeps_done_fn *done, void *ctx, struct err *err);
/* As they were stored: for each its value and its point, in doubles. */
MUST_CHECK bool prior_take(struct live_sweep *live, struct str stored, struct err *err);

#endif
