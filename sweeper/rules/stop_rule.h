/* What the rules' files share. Users include sweeper/rules/stop.h.
 *
 * Inside, lower is better: a `loss` is the value with its sign turned when the goal is to maximise, and NaN is worse than anything. */
#ifndef WINNOW_SWEEPER_STOP_RULE_H
#define WINNOW_SWEEPER_STOP_RULE_H

#include "sweeper/rules/ranks.h"
#include "sweeper/rules/stop.h"

/* What a rule remembers of a trial. */
struct stop_trial {
  double iteration;      /* of the last report; 0: none yet */
  double key_iteration;  /* last value of the metric that counts iterations, where one does */
  double best;           /* loss; NaN while only NaN was seen */
  double sum;            /* of losses */
  double best_iteration; /* of the last improvement beyond min_delta */
  double anchor;         /* patience: the loss to improve on */
  double ranked;         /* percentile: the loss it stands with among the best */
  uint32_t reports;
  uint32_t below; /* evaluations in a row below the percentile */
  bool ended, stopped;
};

/* One report as the rule sees it; the trial's state is already up to date. */
struct stop_seen {
  uint32_t trial;
  const struct stop_trial *state;
  double previous;      /* iteration before this one; 0: none */
  double previous_mean; /* running average before */
  double iteration;
  double value; /* as reported */
  double loss;
  int64_t step;
  bool is_last; /* the trial is in its last epoch */
};

struct stop_rule;

struct stop_ops {
  MUST_CHECK bool (*point)(struct stop_rule *rule, const struct stop_seen *seen, struct stop_verdict *ret, struct err *err);
  MUST_CHECK bool (*ended)(struct stop_rule *rule, uint32_t trial, bool completed, struct err *err); /* may be NULL */
  void (*forget)(struct stop_rule *rule, uint32_t trial);                                            /* may be NULL */
  void (*report)(const struct stop_rule *rule, struct json_writer *w);                               /* adds keys; may be NULL */
  void (*free)(struct stop_rule *rule);                                                              /* what the rule holds, and itself */
};

struct stop_rule {
  const struct stop_ops *ops;
  struct stop_conf conf; /* its texts live in the set's arena */
  bool maximize;
  bool skip_nan;    /* NaN is as if it had not been reported */
  bool takes_all;   /* reports without an iteration too, or with none above 0: they stand where the one before stood */
  const char *unit; /* "epoch", ...; NULL until an "auto" rule has seen its first report */
  bool is_guess;    /* "report", since no report has carried an epoch so far */
  uint32_t longest; /* the most reports of a trial */
  struct stop_trial *trials;
  size_t trial_count, trial_cap;
  uint64_t stopped;
};

MUST_CHECK struct stop_rule *stop_ladder_new(const struct stop_conf *conf, struct err *err); /* asha, hyperband, wandb_hyperband */
MUST_CHECK struct stop_rule *stop_curve_new(const struct stop_conf *conf, struct err *err);  /* median, percentile, HyperDrive's */
MUST_CHECK struct stop_rule *stop_limit_new(const struct stop_conf *conf, struct err *err);  /* threshold, patience */

static inline double stop_sign(const struct stop_rule *rule, double loss) {
  return rule->maximize ? -loss : loss;
}

/* Fills the verdict: the comparison "value < limit" (or ">"), and the sentence from the rest. Losses in, values out. */
void stop_say(const struct stop_rule *rule, const struct stop_seen *seen, struct stop_verdict *ret, double loss, double limit,
              const char *format, ...) PRINTF_LIKE(6, 7);
/* "0.6667": six digits, for people; buf of 32. */
const char *stop_number(double value, char buf[32]);

#endif
