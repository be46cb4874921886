/* Suggestions: history in, point out. No input or output, no clock; chance comes from a seed and the trial's number. The same space, seed,
 * number and sequence of history events give the same point, whenever and however often it is asked for. */
#ifndef WINNOW_SAMPLER_SAMPLER_H
#define WINNOW_SAMPLER_SAMPLER_H

#include "base/buf.h"
#include "sampler/history.h"

enum sampler_type {
  SAMPLER_AUTO,
  SAMPLER_TPE,
  SAMPLER_GP,
  SAMPLER_CMAES,
  SAMPLER_SOBOL,
  SAMPLER_HALTON,
  SAMPLER_RANDOM,
  SAMPLER_GRID,
  SAMPLER_TYPES,
};

struct sampler_settings {
  enum sampler_type type;
  uint64_t seed;
  unsigned startup;    /* results before a model is used, of which half may be pending, and all but three failures; 0: 10 */
  unsigned candidates; /* TPE; 0: by the number of parameters */
  bool shuffle;        /* grid: not in order */
};

/* How a point came about. */
enum suggestion_kind {
  SUGGESTION_POINT,
  SUGGESTION_NONE_LEFT, /* every point of a finite space is in the history */
};

struct suggestion {
  enum suggestion_kind kind;
  enum sampler_type by; /* the method that made it; also where another one was asked for */
  const char *why;      /* in a few words, for people; never freed */
};

struct sampler;
struct sampler_job;

const char *sampler_type_name(enum sampler_type type);
/* False for an unknown name. */
bool sampler_type_of(struct str name, enum sampler_type *ret);

/* Borrows the history. Fails when the method does not fit the space (a grid over a continuum). */
MUST_CHECK bool sampler_new(const struct history *history, const struct sampler_settings *settings, struct sampler **ret, struct err *err);
void sampler_free(struct sampler *sampler);

/* Points that are tried before all others, an array of objects; parameters left out are drawn. They go to the next trials in their order;
 * one that had a trial already is passed over. */
MUST_CHECK bool sampler_fix_first(struct sampler *sampler, const json_t *points, struct err *err);

/* May it matter what trial `number` reports on its way? */
bool sampler_sees_curve(const struct sampler *sampler, uint32_t number);

/* The point for trial `number`. It is not in the history until the caller adds it. ERR_LIMIT: the constraints leave too little to find a
 * point. */
MUST_CHECK bool sampler_suggest(struct sampler *sampler, uint32_t number, double *ret_point, struct suggestion *ret, struct err *err);

/* The same in steps, for what takes long: a model that thinks, or constraints that leave so little that a point is hard to find. Starting,
 * settling and finishing what is settled touch the history and take a few milliseconds at most; runs may be on any thread while results go
 * on arriving. Jobs of one sampler may overlap. */
MUST_CHECK bool sampler_start(struct sampler *sampler, uint32_t number, struct sampler_job **ret, struct err *err);
/* The same for a trial that comes after `count` others which are not in the history yet, at these points: it gets the point that it would
 * get if they were pending. Only where sampler_sees_beyond() says so, for the number. */
bool sampler_sees_beyond(struct sampler *sampler, uint32_t number);
MUST_CHECK bool sampler_start_beyond(struct sampler *sampler, uint32_t number, const double *points, size_t count, struct sampler_job **ret,
                                     struct err *err);
/* Would the next run take long? If not, it is not worth a thread. */
bool sampler_job_is_slow(const struct sampler_job *job);
void sampler_job_run(struct sampler_job *job);
/* False: it is to be run, and then settled again. What became taken meanwhile is passed over. */
bool sampler_job_settle(struct sampler *sampler, struct sampler_job *job);
/* Frees the job, also when it is not settled (then it runs now). */
MUST_CHECK bool sampler_finish(struct sampler *sampler, struct sampler_job *job, double *ret_point, struct suggestion *ret,
                               struct err *err);
/* Frees a job whose point is not wanted any more; what it learned of the model or the space may serve the next. */
void sampler_job_leave(struct sampler *sampler, struct sampler_job *job);
/* Frees a job that nobody wants any more; not while it runs. */
void sampler_job_drop(struct sampler_job *job);

/* Takes in what the history has learned since, so that the next suggestion need not: after many results at once that takes long. It changes
 * no suggestion; what fails for want of memory is done by the next one. */
void sampler_follow(struct sampler *sampler);
/* Do its jobs take long now, as a rule? */
bool sampler_is_slow(const struct sampler *sampler);

/* Which method is at work now, and why, in a sentence for people. */
enum sampler_type sampler_chosen(const struct sampler *sampler, struct buf *ret_why);

/* Do the constraints leave a point? Of a small space every point is looked at, of a larger one many; when it is not known, one is assumed,
 * but not of a continuum in which no draw was allowed. */
bool sampler_may_have_point(const struct space *space, enum sampler_type type);

/* Grid: how many points there are. Visits all cells (10 million take a second or more); beyond those conditions and constraints are not
 * looked at. Zero for other methods. */
uint64_t sampler_cells(const struct sampler *sampler);

#endif
