/* Rules that look at one trial alone: thresholds and patience. */
#include <math.h>

#include "base/mem.h"
#include "sweeper/rules/stop_rule.h"

static bool threshold_point(struct stop_rule *rule, const struct stop_seen *seen, struct stop_verdict *ret, struct err *err) {
  (void)err;
  const struct stop_conf *c = &rule->conf;
  char value[32], bound[32];
  bool low = c->has_min && seen->value < c->min, high = c->has_max && seen->value > c->max;
  bool bad = c->nan && !isfinite(seen->value);
  bool is_early = c->min_iter > 1 && seen->iteration < c->min_iter; /* epoch 0, or a tenth of an epoch, is none that 1 would wait for */
  if (is_early || (!low && !high && !bad))
    return true;
  double limit = low ? c->min : high ? c->max : NAN;
  stop_number(seen->value, value);
  if (low || high)
    stop_say(rule, seen, ret, seen->loss, stop_sign(rule, limit), "at %s %.6g its value %s is %s %s", rule->unit, seen->iteration,
             stop_number(seen->value, value), low ? "below" : "above", stop_number(limit, bound));
  else
    stop_say(rule, seen, ret, seen->loss, NAN, "at %s %.6g its value is %s", rule->unit, seen->iteration, stop_number(seen->value, value));
  /* whichever way the goal points */
  snprintf(ret->comparison, sizeof ret->comparison, low || high ? "%s %s %s" : "%s%s%s", stop_number(seen->value, value),
           low    ? "<"
           : high ? ">"
                  : "",
           low || high ? stop_number(limit, bound) : "");
  return true;
}

static bool patience_point(struct stop_rule *rule, const struct stop_seen *seen, struct stop_verdict *ret, struct err *err) {
  (void)err;
  double waited = seen->iteration - seen->state->best_iteration;
  if (seen->iteration < rule->conf.min_iter || !(waited > (double)rule->conf.patience))
    return true;
  char best[32], delta[32];
  stop_say(rule, seen, ret, seen->loss, seen->state->anchor,
           "at %s %.6g it has not improved on %s by more than %s for %.6g %ss, and %lld are allowed", rule->unit, seen->iteration,
           stop_number(stop_sign(rule, seen->state->anchor), best), stop_number(rule->conf.min_delta, delta), waited, rule->unit,
           (long long)rule->conf.patience);
  return true;
}

static void limit_free(struct stop_rule *rule) {
  mem_free(rule);
}

static const struct stop_ops threshold_ops = {threshold_point, NULL, NULL, NULL, limit_free};
static const struct stop_ops patience_ops = {patience_point, NULL, NULL, NULL, limit_free};

struct stop_rule *stop_limit_new(const struct stop_conf *conf, struct err *err) {
  struct stop_rule *rule = mem_zalloc(sizeof *rule);
  if (!rule) {
    err_no_memory(err);
    return NULL;
  }
  rule->ops = conf->type == STOP_THRESHOLD ? &threshold_ops : &patience_ops;
  rule->takes_all = conf->type == STOP_THRESHOLD;
  return rule;
}
