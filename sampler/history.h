/* What a search knows: every trial's point and how it ended, in the order the results arrived. Adding and telling cost the same however
 * many trials there are. Values are kept so that less is better, whatever the goal. */
#ifndef WINNOW_SAMPLER_HISTORY_H
#define WINNOW_SAMPLER_HISTORY_H

#include "sampler/curve.h"
#include "sampler/space.h"

/* The most trials of one sweep. */
#define HISTORY_MAX ((size_t)16 << 20)
/* A trial of another sweep, which has no number here. */
#define HISTORY_NO_NUMBER UINT32_MAX

enum goal { GOAL_MINIMIZE, GOAL_MAXIMIZE };

enum trial_state {
  TRIAL_PENDING,  /* handed out, no result yet */
  TRIAL_FINISHED, /* has a value, which may be NaN or infinite */
  TRIAL_STOPPED,  /* ended early by a rule; its last value, at `step`, or NaN when it reported none */
  TRIAL_FAILED,   /* no value, and the point is to blame for it as far as one knows */
  TRIAL_GONE,     /* killed, lost, deleted: says nothing about its point, which may be suggested again */
};

/* What a trial without a result counts as: a model that sees a value takes it for the trial's result. */
enum supposed {
  SUPPOSE_NOTHING, /* a model makes of it what it does */
  SUPPOSE_WORST,   /* the worst value of those that finished */
  SUPPOSE_BEST,    /* the best of them */
  SUPPOSE_LATEST,  /* its own value so far, where it has one */
};

struct outcome {
  enum trial_state state; /* not TRIAL_PENDING */
  double value;           /* as measured, not turned round */
  double step;            /* TRIAL_STOPPED: where the value was reported */
};

struct history;

/* Borrows the space. */
MUST_CHECK bool history_new(const struct space *space, enum goal goal, struct history **ret, struct err *err);
void history_free(struct history *history);
const struct space *history_space(const struct history *history);
enum goal history_goal(const struct history *history);

void history_suppose(struct history *history, enum supposed supposed);
enum supposed history_supposes(const struct history *history);

/* A trial that is handed out now. Numbers are below HISTORY_MAX, each used once. *ret_index (may be NULL) is its place, from 0 on. */
MUST_CHECK bool history_add(struct history *history, uint32_t number, const double *point, size_t *ret_index, struct err *err);
/* What it reported on its way, before its result; borrowed as long as the history lives, and not changed any more. ERR_NOT_FOUND,
 * ERR_WRONG_STATE as below. */
MUST_CHECK bool history_add_curve(struct history *history, uint32_t number, const struct curve *curve, struct err *err);
/* Its value so far, as measured; NaN: none. What has a result, or is not there, is passed over. */
void history_hear(struct history *history, uint32_t number, double value);
/* Its result; ERR_NOT_FOUND for an unknown number, ERR_WRONG_STATE when it has one already. */
MUST_CHECK bool history_tell(struct history *history, uint32_t number, const struct outcome *outcome, struct err *err);
/* A trial with its result at once: told by a user, or from an earlier sweep (HISTORY_NO_NUMBER). */
MUST_CHECK bool history_add_told(struct history *history, uint32_t number, const double *point, const struct outcome *outcome,
                                 struct err *err);

/* Trials by place. */
size_t history_count(const struct history *history);
const double *history_point(const struct history *history, size_t index);
enum trial_state history_state(const struct history *history, size_t index);
/* Less is better; NaN when there is no usable (finite) value. */
double history_value(const struct history *history, size_t index);
/* What a trial without a result counts as; NaN: nothing, or it has one. Less is better. */
double history_supposed(const struct history *history, size_t index);
/* What it reported on its way, as measured; NULL: not known. */
const struct curve *history_curve(const struct history *history, size_t index);
/* SIZE_MAX when there is no such trial. */
size_t history_find(const struct history *history, uint32_t number);

/* How many results arrived. */
size_t history_tells(const struct history *history);
/* Everything that happened, in order: a trial was added, a trial (its place) got its result. A model that follows these events one by one
 * is the same whenever it follows them. */
size_t history_events(const struct history *history);
size_t history_event(const struct history *history, size_t k, bool *ret_told);
/* Can a model learn from it? It has a finite value, or was stopped. */
bool history_is_learnable(const struct history *history, size_t index);
/* How many can be learned from. */
size_t history_learnable(const struct history *history);
/* Places of the trials without a result, oldest first. */
size_t history_pending(const struct history *history);
size_t history_pending_at(const struct history *history, size_t k);
/* How often a trial became TRIAL_GONE. */
size_t history_gone(const struct history *history);

/* Is there a trial at this very point (that is not TRIAL_GONE)? */
bool history_has(const struct history *history, const double *point);
/* The finished trial with the best finite value; SIZE_MAX when there is none. */
size_t history_best(const struct history *history);
/* The finished trial with a finite value whose result came last; SIZE_MAX when there is none. */
size_t history_latest(const struct history *history);
/* Is trial a better than b? Finished by value; then stopped ones: those that came further first, then by value, those that never reported
 * last; then failed ones and values that are no numbers. Equal ones by place. A total order over all that are told and not gone. */
bool history_before(const struct history *history, size_t a, size_t b);
/* Is neither better, but for its place? */
bool history_equal(const struct history *history, size_t a, size_t b);

#endif
