/* The rules as keys of the sweep file. */
#include <math.h>

#include "sweeper/rules/stop.h"

static const char *const types[] = {"none",      "asha",   "hyperband",       "wandb_hyperband",      "median", "percentile", "patience",
                                    "threshold", "bandit", "median_stopping", "truncation_selection", NULL};

#define ON(type) (1u << (type))
#define LADDERS (ON(STOP_ASHA) | ON(STOP_HYPERBAND) | ON(STOP_WANDB_HYPERBAND))
#define HYPERDRIVE (ON(STOP_BANDIT) | ON(STOP_MEDIAN_STOPPING) | ON(STOP_TRUNCATION))
#define CURVES (ON(STOP_MEDIAN) | ON(STOP_PERCENTILE))
#define ANY (~ON(STOP_NONE))
#define AT(field) .offset = offsetof(struct stop_conf, field)
#define GIVEN(field) .given_at = offsetof(struct stop_conf, field)

static const struct spec_row rows[] = {
    {"type", SPEC_CHOICE, .flags = SPEC_REQUIRED | SPEC_BARE, AT(type), .choices = types,
     .help =
         "the rule: asha, hyperband (brackets of it, or W&B's when only W&B's keys are given), median, percentile, patience, threshold, or "
         "HyperDrive's bandit, median_stopping, truncation_selection"},
    {"metric", SPEC_TEXT, AT(metric), .only = ANY, .help = "the metric it looks at; default: the goal's"},
    {"step_metric", SPEC_TEXT, AT(step_metric), .default_text = "auto", .only = ANY,
     .help =
         "what an iteration is: epoch, step, report, or the name of a metric; auto is the epoch where the metric carries one, else the report"},
    {"min_iter", SPEC_NUMBER, AT(min_iter), .flags = SPEC_ABOVE, .default_text = "1",
     .only = LADDERS | CURVES | ON(STOP_PATIENCE) | ON(STOP_THRESHOLD),
     .help = "no trial is stopped before this iteration; the first rung; `threshold` begins with the first report, unless this is above 1"},
    {"max_iter", SPEC_NUMBER, AT(max_iter), .flags = SPEC_ABOVE, GIVEN(has_max_iter), .only = LADDERS,
     .help = "iterations of a whole trial: no rung stands at or above it"},
    {"eta", SPEC_NUMBER, AT(eta), .flags = SPEC_ABOVE, .min = 1, .default_text = "3", .only = LADDERS,
     .help = "a rung lets one in eta go on, and stands eta times as far as the one before"},
    {"s", SPEC_INT, AT(s), .min = 0, .max = 100, .default_text = "0", .only = ON(STOP_WANDB_HYPERBAND), .schema_too = ON(STOP_HYPERBAND),
     .help = "number of rungs below max_iter"},
    {"strict", SPEC_BOOL, AT(strict), .default_text = "true", .only = ON(STOP_WANDB_HYPERBAND), .schema_too = ON(STOP_HYPERBAND),
     .help = "compare the value at the rung; else the best so far"},
    {"brackets", SPEC_INT, AT(brackets), .min = 1, .max = 20, .default_text = "3", .only = ON(STOP_HYPERBAND),
     .help = "ladders that begin later and later; trials are dealt to them in fixed shares"},
    {"evaluation_interval", SPEC_INT, AT(evaluation_interval), .min = 1, .max = 1e9, .default_text = "1", .only = HYPERDRIVE | CURVES,
     .alias = "interval", .help = "judge at multiples of this"},
    {"delay_evaluation", SPEC_INT, AT(delay_evaluation), .min = 0, .max = 1e9, .default_text = "0", .only = HYPERDRIVE, .alias = "delay",
     .help = "judge at or after this iteration"},
    {"slack_factor", SPEC_NUMBER, AT(slack_factor), .min = 0, .max = 1e6, GIVEN(has_slack_factor), .only = ON(STOP_BANDIT),
     .help = "allowed distance from the best, as a share of it"},
    {"slack_amount", SPEC_NUMBER, AT(slack_amount), .min = 0, .max = 1e300, GIVEN(has_slack_amount), .only = ON(STOP_BANDIT),
     .help = "allowed distance from the best"},
    {"truncation_percentage", SPEC_INT, AT(truncation_percentage), .min = 1, .max = 99, .default_text = "50", .only = ON(STOP_TRUNCATION),
     .help = "share of the trials that is stopped at each evaluation"},
    {"exclude_finished_jobs", SPEC_BOOL, AT(exclude_finished_jobs), .default_text = "false", .only = ON(STOP_TRUNCATION),
     .help = "rank among the trials that still run"},
    {"percentile", SPEC_NUMBER, AT(percentile), .flags = SPEC_ABOVE, .max = 99, .default_text = "50", .only = ON(STOP_PERCENTILE),
     .help = "stop what is worse than this percentile of the trials that got as far"},
    {"min_trials", SPEC_INT, AT(min_trials), .min = 1, .max = 100000, .default_text = "5", .only = CURVES,
     .help = "curves needed for a comparison (median: completed trials)"},
    {"keep_best", SPEC_INT, AT(keep_best), .min = 0, .max = 100000, .default_text = "0", .only = ON(STOP_PERCENTILE),
     .help = "the trials with the best values so far that are never stopped"},
    {"patience", SPEC_INT, AT(patience), .min = 0, .max = 1e9, .default_text = "0", .only = ON(STOP_PATIENCE) | ON(STOP_PERCENTILE),
     .help = "iterations without improvement that are forgiven (percentile: evaluations below it)"},
    {"min_delta", SPEC_NUMBER, AT(min_delta), .min = 0, .max = 1e300, .default_text = "0", .only = ON(STOP_PATIENCE),
     .help = "a smaller change is no improvement"},
    {"min", SPEC_NUMBER, AT(min), GIVEN(has_min), .only = ON(STOP_THRESHOLD), .help = "stop when the value is below this"},
    {"max", SPEC_NUMBER, AT(max), GIVEN(has_max), .only = ON(STOP_THRESHOLD), .help = "stop when the value is above this"},
    {"nan", SPEC_BOOL, AT(nan), .default_text = "true", .only = ON(STOP_THRESHOLD), .help = "stop when the value is NaN or infinite"},
};

const struct spec_table stop_conf_table = {"stop rule", rows, ARRAY_LEN(rows), sizeof(struct stop_conf)};

void stop_conf_check(const struct stop_conf *conf, const struct ynode *at, const char *path, struct spec_problems *errors) {
  switch (conf->type) {
  case STOP_BANDIT:
    if (conf->has_slack_factor == conf->has_slack_amount)
      spec_problem_add(errors, at, path, NULL, "bandit takes slack_factor or slack_amount, and exactly one of them");
    break;
  case STOP_THRESHOLD:
    if (!conf->has_min && !conf->has_max && !conf->nan)
      spec_problem_add(errors, at, path, NULL, "threshold needs min, max, or nan: true");
    if (conf->has_min && conf->has_max && conf->min > conf->max)
      spec_problem_add(errors, at, path, NULL, "min is above max: every value would be outside");
    break;
  case STOP_WANDB_HYPERBAND:
    if (conf->has_max_iter != (conf->s > 0))
      spec_problem_add(errors, at, path, NULL, "max_iter needs s, the number of rungs below it, and s needs max_iter");
    break;
  default:
    if (conf->has_max_iter && conf->max_iter <= conf->min_iter)
      spec_problem_add(errors, at, path, NULL, "max_iter must be above min_iter, else there is no rung");
  }
}

static size_t wandb_ladder_down(const struct stop_conf *conf, double *ret, size_t max) {
  size_t n = 0;
  double band = conf->max_iter;
  for (int64_t i = 0; i < conf->s && n < max; i++) {
    band /= conf->eta;
    if (floor(band) < 1 || (n && floor(band) == ret[n - 1]))
      break;
    ret[n++] = floor(band);
  }
  for (size_t i = 0; i < n / 2; i++) {
    double swap = ret[i];
    ret[i] = ret[n - 1 - i];
    ret[n - 1 - i] = swap;
  }
  return n;
}

size_t stop_ladder(const struct stop_conf *conf, int64_t bracket, double *ret, size_t max) {
  bool wandb = conf->type == STOP_WANDB_HYPERBAND;
  if (!(ON(conf->type) & LADDERS))
    return 0;
  if (wandb && conf->has_max_iter)
    return wandb_ladder_down(conf, ret, max);
  size_t n = 0;
  for (int64_t k = conf->type == STOP_HYPERBAND ? bracket : 0; n < max; k++) {
    double rung = conf->min_iter * pow(conf->eta, (double)k);
    if (!(rung < 9e15) || (conf->has_max_iter && rung >= conf->max_iter))
      break;
    ret[n++] = wandb ? floor(rung) : rung;
  }
  return n;
}
