/* CMA-ES over the numbers and ordered choices of a space: active covariance update, a margin that keeps discrete values alive, restarts
 * with twice the population. A generation is complete with the next lambda results, whoever asked for them, so it needs no synchrony.
 * Choices without order are taken from the best trials or drawn. */
#ifndef WINNOW_SAMPLER_CMAES_H
#define WINNOW_SAMPLER_CMAES_H

#include "sampler/history.h"

enum { CMAES_DIMS_MAX = 300 };

struct cmaes;

/* Starts from the best of the first `start_after` results. Borrows the history. ERR_UNSUPPORTED when the space has no or too many
 * dimensions. */
MUST_CHECK bool cmaes_new(const struct history *history, uint64_t seed, size_t start_after, struct cmaes **ret, struct err *err);
void cmaes_free(struct cmaes *cmaes);
MUST_CHECK bool cmaes_follow(struct cmaes *cmaes, struct err *err);
/* ERR_NOT_FOUND: not started yet, or no new allowed point came up. */
MUST_CHECK bool cmaes_suggest(struct cmaes *cmaes, uint64_t n, double *ret_point, struct err *err);

/* The constants of the method for d dimensions and a population, as Hansen's tutorial (arXiv 1604.00772) has them. */
struct cmaes_constants {
  size_t lambda, mu;
  double weights[1024]; /* lambda of them; those after mu are negative */
  double mu_eff, c_sigma, d_sigma, c_c, c_1, c_mu, chi;
};
void cmaes_constants(size_t d, size_t lambda, struct cmaes_constants *ret);
size_t cmaes_default_lambda(size_t d);

/* For tests and people: where the search stands. */
struct cmaes_view {
  size_t dims, generation, restarts, lambda;
  double sigma;
  const double *mean, *covariance; /* column by column */
};
struct cmaes_view cmaes_look(const struct cmaes *cmaes);

#endif
