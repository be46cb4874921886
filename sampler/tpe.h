/* The tree-structured Parzen estimator: multivariate, with pending trials counted among the bad (constant liar) unless they count as a
 * value (history_supposed()), one model for each group of parameters that are in use together. It follows a history's events and keeps its
 * models sorted, so that a suggestion sorts nothing. */
#ifndef WINNOW_SAMPLER_TPE_H
#define WINNOW_SAMPLER_TPE_H

#include "sampler/history.h"

struct tpe_settings {
  unsigned candidates;  /* 0: 24 */
  double good_share;    /* this share of the results ... */
  unsigned good_max;    /* ... but at most so many are the good ones */
  double min_width;     /* of kernels, as a share of the range */
  unsigned full_weight; /* results that weigh fully */
};
extern const struct tpe_settings tpe_defaults;

struct tpe;

/* Borrows the history. */
MUST_CHECK bool tpe_new(const struct history *history, const struct tpe_settings *settings, struct tpe **ret, struct err *err);
void tpe_free(struct tpe *tpe);
/* Takes in what happened since the last call. The cost is that of the new events. */
MUST_CHECK bool tpe_follow(struct tpe *tpe, struct err *err);
/* A point that the constraints allow and no trial has, as far as one was found in some tries: else false with ERR_NOT_FOUND. */
MUST_CHECK bool tpe_suggest(struct tpe *tpe, uint64_t seed, uint64_t n, double *ret_point, struct err *err);

#endif
