/* Inside of sweeps.h: what its files promise each other. */
#ifndef WINNOW_SWEEPER_SWEEPS_INSIDE_H
#define WINNOW_SWEEPER_SWEEPS_INSIDE_H

#include "sweeper/live/live.h"
#include "sweeper/sweeps.h"

/* sweep_load.c */
/* One sweep that is stored, over or not; `done` when it is in the list, or not. */
MUST_CHECK bool sweep_load_one(struct sweeps *s, struct id sweep, sweeps_done_fn *done, void *ctx, struct err *err);

/* importance_job.c */
void importance_cache_free(struct importance_cache *cache); /* accepts NULL */
/* The values of its trials are other ones now. */
void importance_forget(struct sweeps *s, struct id sweep);

#endif
