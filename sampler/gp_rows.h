/* What a Gaussian process is told of a history: a row for each result. A trial that was stopped early has a value from the middle of its
 * training. Where it is known what trials reported on their way, such a value becomes what those that went on made of theirs from there, on
 * the whole, and its row says at which stage it was measured; rows of the others at those stages show the model how much a stage tells of
 * the end. Else it counts as no better than half of those that were trained to the end. */
#ifndef WINNOW_SAMPLER_GP_ROWS_H
#define WINNOW_SAMPLER_GP_ROWS_H

#include "sampler/history.h"

/* More results than that are thinned out: the best, the newest, and a spread of the others stay. As many of the pending trials may come on
 * top. */
#define GP_ROWS_MAX 1000

struct gp_rows {
  size_t count, pending;
  double *points; /* of the rows, then of the pending trials */
  double *values; /* of the rows; less is better; NaN: none */
  double *stages; /* of the rows: 1 at the end of the training, 0 where the earliest was stopped; NULL: all are of the end */
};

/* The first `results` results, and what is pending now. GP_ROWS_NOW: all, and pending trials that count as a value (history_supposed())
 * have a row as if that were their result. */
#define GP_ROWS_NOW SIZE_MAX
MUST_CHECK bool gp_rows_take(const struct history *history, size_t results, struct gp_rows *ret, struct err *err);
void gp_rows_release(struct gp_rows *rows);
/* Can a Gaussian process learn something from how this trial ended, if only that it failed? */
bool gp_rows_wanted(const struct history *history, size_t trial);

#endif
