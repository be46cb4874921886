/* Early termination: rules that watch the reports of a sweep's trials and say when one is not worth going on with.
 *
 * All state is a pure fold over the stored reports in commit order, so it is rebuilt at start by feeding them again. A report costs
 * O(log n) of the trials. Where a rule compares with the curves of other trials (median, percentile, truncation) it looks at the newest
 * STOP_WINDOW that got as far, and its evaluation points thin out: the first STOP_POINTS are all used, then every second, fourth, ... with
 * each doubling, so that memory stays bounded however often a script reports.
 *
 * Several rules combine: the first in the file that fires stops the trial. */
#ifndef WINNOW_SWEEPER_STOP_H
#define WINNOW_SWEEPER_STOP_H

#include "base/json.h"
#include "sweeper/spec/spec_table.h"

enum { STOP_WINDOW = 1000, STOP_POINTS = 512, STOP_RULES_MAX = 16, STOP_TRIALS_MAX = 10000000 };

enum stop_type {
  STOP_NONE,
  STOP_ASHA,
  STOP_HYPERBAND,
  STOP_WANDB_HYPERBAND,
  STOP_MEDIAN,     /* Vizier's: best so far against the completed trials' running averages */
  STOP_PERCENTILE, /* Ax's */
  STOP_PATIENCE,
  STOP_THRESHOLD,
  STOP_BANDIT, /* these three as HyperDrive has them */
  STOP_MEDIAN_STOPPING,
  STOP_TRUNCATION,
  STOP_TYPE_COUNT,
};

/* One rule as it stands in the sweep file. Which fields mean something depends on the type: see stop_conf_table. */
struct stop_conf {
  int type;
  struct str metric;      /* empty: the goal's */
  struct str step_metric; /* what an iteration is: "epoch", "step", "report", another metric's name, or "auto" */
  double min_iter, max_iter, eta;
  int64_t s, brackets;
  bool has_max_iter, strict;
  int64_t evaluation_interval, delay_evaluation;
  double slack_factor, slack_amount;
  bool has_slack_factor, has_slack_amount;
  int64_t truncation_percentage;
  bool exclude_finished_jobs;
  double percentile;
  int64_t min_trials, keep_best;
  int64_t patience;
  double min_delta;
  double min, max;
  bool has_min, has_max, nan;
};

extern const struct spec_table stop_conf_table;
/* What the table cannot say (either slack, some bound, ...): adds to `errors`. */
void stop_conf_check(const struct stop_conf *conf, const struct ynode *at, const char *path, struct spec_problems *errors);
/* The iterations at which a rung of asha, hyperband or W&B's hyperband stands, for people: at most `max`, returns how many. For
 * hyperband those of `bracket`; of other rules none. */
size_t stop_ladder(const struct stop_conf *conf, int64_t bracket, double *ret, size_t max);

struct stop_goal {
  struct str metric;
  struct spec_texts aliases;
  bool maximize;
};

struct stop_point {
  uint32_t trial; /* its number in the sweep */
  struct str key; /* the metric */
  double value;
  int64_t step;
  double epoch;  /* NaN: none */
  double epochs; /* of the whole trial; 0: not known */
};

struct stop_verdict {
  bool stop;
  const char *rule; /* "asha"; a constant */
  const char *unit; /* of the iteration: "epoch", "report", ... borrowed from the set */
  double iteration;
  int64_t step;
  double value, limit; /* what was compared with what */
  char comparison[96]; /* "0.52 < 0.6667" */
  char reason[400];    /* one sentence */
};

struct stop_set;

/* Copies what it needs of the arguments. Rules of type none are left out. */
MUST_CHECK bool stop_set_new(const struct stop_conf *confs, size_t count, const struct stop_goal *goal, struct stop_set **ret,
                             struct err *err);
void stop_set_free(struct stop_set *set);
/* Takes a report in and judges the trial. On failure (memory) the point may be half taken in: the caller drops the set and builds it anew.
 */
MUST_CHECK bool stop_feed(struct stop_set *set, const struct stop_point *point, struct stop_verdict *ret, struct err *err);
/* The trial will report no more. `completed`: it finished by itself. */
MUST_CHECK bool stop_ended(struct stop_set *set, uint32_t trial, bool completed, struct err *err);
/* A new attempt supersedes the trial's points: they leave every comparison, and the caller feeds again those that still hold. The best
 * value a bandit compares with stays, for it was reached. */
void stop_forget(struct stop_set *set, uint32_t trial);
/* What is known so far: for each of `limit` rules its type, what an iteration is, how many it stopped, and its rungs or evaluation points.
 * Returns the rule that comes next; 0: there is none. */
size_t stop_report(const struct stop_set *set, size_t from, size_t limit, struct json_writer *w);

#endif
