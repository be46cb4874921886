/* Which parameters matter: PED-ANOVA (Watanabe 2023, arXiv 2304.10255). A parameter matters as far as its distribution among the best
 * trials differs from its distribution among all (Pearson's divergence), less what chance alone would make of so few. Stopped trials count:
 * they come after the finished ones, those that went further first (history_before()). */
#ifndef WINNOW_SAMPLER_IMPORTANCE_H
#define WINNOW_SAMPLER_IMPORTANCE_H

#include "sampler/history.h"

struct importance {
  size_t param;
  double share;     /* all shares sum to 1, or are all 0 when nothing shows */
  double low, high; /* 95 % interval of the share, from resampled trials */
  size_t trials;    /* in which the parameter was in use */
};

struct importance_pair {
  size_t a, b;
  double share; /* of the two together beyond each alone; relative to the largest total of single parameters, so it may pass 1 */
};

struct importance_report {
  size_t trials, best; /* how many finished or were stopped, how many of them count as the best */
  bool low_confidence;
  const char *reason; /* for low confidence; "" else */
  size_t count;
  struct importance *params; /* the most important first; constants are left out */
  size_t pair_count;
  struct importance_pair *pairs; /* the strongest first; only those above chance */
};

/* Fills *ret, which the caller releases. `seed` is for resampling. */
MUST_CHECK bool importance_compute(const struct history *history, uint64_t seed, struct importance_report *ret, struct err *err);
void importance_release(struct importance_report *report);

#endif
