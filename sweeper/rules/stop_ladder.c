/* Rungs: ASHA's stopping variant, Hyperband as brackets of it, and W&B's hyperband. */
#include <math.h>

#include "base/mem.h"
#include "sweeper/rules/stop_rule.h"

enum { RUNGS_MAX = 64, BRACKETS_MAX = 20 };

struct rung {
  double at;
  struct ranks losses; /* of every trial that got here */
  double *own;         /* by trial */
  bool *there;         /* by trial */
  size_t cap;
  uint64_t stopped;
};

struct bracket {
  struct rung rungs[RUNGS_MAX];
  size_t count;
  uint64_t share; /* of the trials, relative to the others */
};

struct ladder {
  struct stop_rule rule;
  struct bracket *brackets;
  size_t count;
  uint64_t shares; /* of all together */
};

static struct ladder *of(struct stop_rule *rule) {
  return CONTAINER_OF(rule, struct ladder, rule);
}

/* Hyperband's shares: bracket i of b begins i rungs later, and gets ceil(b * eta^(b-1-i) / (b-i)) of the trials. */
static void share_out(struct ladder *ladder, double eta) {
  double b = (double)ladder->count;
  for (size_t i = 0; i < ladder->count; i++) {
    double share = ceil(b * pow(eta, b - 1 - (double)i) / (b - (double)i));
    ladder->brackets[i].share = share < 1e9 ? (uint64_t)share : 1000000000u;
    ladder->shares += ladder->brackets[i].share;
  }
}

/* Trials are dealt in order, so that the first bracket, which stops earliest, begins. */
static struct bracket *bracket_of(struct ladder *ladder, uint32_t trial) {
  uint64_t at = trial % ladder->shares;
  for (size_t i = 0; i < ladder->count; i++) {
    if (at < ladder->brackets[i].share)
      return &ladder->brackets[i];
    at -= ladder->brackets[i].share;
  }
  return &ladder->brackets[0];
}

static bool enter(struct rung *rung, uint32_t trial, double loss, struct err *err) {
  if (trial >= rung->cap) {
    size_t cap = MAX_OF(rung->cap * 2, MAX_OF((size_t)trial + 1, (size_t)64));
    double *own = mem_resize(rung->own, cap, sizeof *own);
    if (!own)
      return err_no_memory(err);
    rung->own = own;
    bool *there = mem_resize(rung->there, cap, sizeof *there);
    if (!there)
      return err_no_memory(err);
    rung->there = there;
    memset(there + rung->cap, 0, (cap - rung->cap) * sizeof *there);
    rung->cap = cap;
  }
  if (!ranks_add(&rung->losses, loss, trial))
    return err_no_memory(err);
  rung->own[trial] = loss;
  rung->there[trial] = true;
  return true;
}

static bool is_there(const struct rung *rung, uint32_t trial) {
  return trial < rung->cap && rung->there[trial];
}

static const char *goal_word(const struct stop_rule *rule) {
  return rule->maximize ? "highest" : "lowest";
}

/* One in eta goes on, one at least, and whoever ties with the last of them. */
static void judge_asha(struct ladder *ladder, struct rung *rung, const struct stop_seen *seen, struct stop_verdict *ret) {
  uint32_t n = ranks_count(&rung->losses);
  uint32_t keep = (uint32_t)MAX_OF(1.0, floor((double)n / ladder->rule.conf.eta));
  double limit = ranks_at(&rung->losses, keep - 1);
  if (ranks_compare(seen->loss, limit) <= 0)
    return;
  char value[32], bound[32];
  stop_say(&ladder->rule, seen, ret, seen->loss, limit,
           "at %s %.6g its value %s is number %u of the %u that reached rung %.6g, and only the %s %u go on (%s or better)",
           ladder->rule.unit, seen->iteration, stop_number(seen->value, value), ranks_below(&rung->losses, seen->loss) + 1, n, rung->at,
           goal_word(&ladder->rule), keep, stop_number(stop_sign(&ladder->rule, limit), bound));
  rung->stopped += !seen->state->stopped;
}

/* A trial in its last epoch is as good as over: it is compared with, but not stopped before it has stored what it trained. */
static bool asha_point(struct stop_rule *rule, const struct stop_seen *seen, struct stop_verdict *ret, struct err *err) {
  struct ladder *ladder = of(rule);
  struct bracket *bracket = bracket_of(ladder, seen->trial);
  for (size_t i = 0; i < bracket->count && bracket->rungs[i].at <= seen->iteration; i++) {
    struct rung *rung = &bracket->rungs[i];
    if (is_there(rung, seen->trial))
      continue;
    if (!enter(rung, seen->trial, seen->loss, err))
      return false;
    if (!ret->stop && !seen->is_last)
      judge_asha(ladder, rung, seen, ret);
  }
  return true;
}

/* Sorted values at the band, at floor(n / eta): worse than that is stopped, at every report, at the last band passed. */
static bool wandb_point(struct stop_rule *rule, const struct stop_seen *seen, struct stop_verdict *ret, struct err *err) {
  struct ladder *ladder = of(rule);
  struct bracket *bands = &ladder->brackets[0];
  struct rung *last = NULL;
  for (size_t i = 0; i < bands->count && bands->rungs[i].at <= seen->iteration; i++) {
    last = &bands->rungs[i];
    if (!is_there(last, seen->trial) && !enter(last, seen->trial, rule->conf.strict ? seen->loss : seen->state->best, err))
      return false;
  }
  if (!last)
    return true;
  uint32_t n = ranks_count(&last->losses);
  double limit = ranks_at(&last->losses, MIN_OF((uint32_t)floor((double)n / rule->conf.eta), n - 1));
  double loss = rule->conf.strict ? last->own[seen->trial] : seen->state->best;
  if (ranks_compare(loss, limit) <= 0)
    return true;
  char value[32], bound[32];
  stop_say(rule, seen, ret, loss, limit, "at %s %.6g its %s %s is worse than %s, the limit among the %u that reached band %.6g", rule->unit,
           seen->iteration, rule->conf.strict ? "value at the band" : "best value", stop_number(stop_sign(rule, loss), value),
           stop_number(stop_sign(rule, limit), bound), n, last->at);
  last->stopped += !seen->state->stopped;
  return true;
}

static void ladder_forget(struct stop_rule *rule, uint32_t trial) {
  struct ladder *ladder = of(rule);
  struct bracket *bracket = bracket_of(ladder, trial);
  for (size_t i = 0; i < bracket->count; i++) {
    struct rung *rung = &bracket->rungs[i];
    if (!is_there(rung, trial))
      continue;
    ranks_remove(&rung->losses, rung->own[trial], trial);
    rung->there[trial] = false;
  }
}

static void report_rung(const struct ladder *ladder, const struct rung *rung, struct json_writer *w) {
  uint32_t n = ranks_count(&rung->losses);
  jw_object(w);
  jw_put_f64(w, "at", rung->at);
  jw_put_i64(w, "trials", n);
  jw_put_i64(w, "stopped", (int64_t)rung->stopped);
  jw_put_f64(w, "best", stop_sign(&ladder->rule, ranks_at(&rung->losses, 0)));
  double share = floor((double)n / ladder->rule.conf.eta);
  uint32_t index = ladder->rule.conf.type == STOP_WANDB_HYPERBAND ? MIN_OF((uint32_t)share, n - 1) : (uint32_t)MAX_OF(1.0, share) - 1;
  jw_put_f64(w, "limit", stop_sign(&ladder->rule, ranks_at(&rung->losses, index)));
  jw_object_end(w);
}

static void ladder_report(const struct stop_rule *rule, struct json_writer *w) {
  const struct ladder *ladder = of((struct stop_rule *)(uintptr_t)rule);
  jw_key(w, "brackets");
  jw_array(w);
  for (size_t b = 0; b < ladder->count; b++) {
    jw_array(w);
    for (size_t i = 0; i < ladder->brackets[b].count && ranks_count(&ladder->brackets[b].rungs[i].losses); i++)
      report_rung(ladder, &ladder->brackets[b].rungs[i], w);
    jw_array_end(w);
  }
  jw_array_end(w);
}

static void ladder_free(struct stop_rule *rule) {
  struct ladder *ladder = of(rule);
  for (size_t b = 0; b < ladder->count; b++)
    for (size_t i = 0; i < ladder->brackets[b].count; i++) {
      ranks_release(&ladder->brackets[b].rungs[i].losses);
      mem_free(ladder->brackets[b].rungs[i].own);
      mem_free(ladder->brackets[b].rungs[i].there);
    }
  mem_free(ladder->brackets);
  mem_free(ladder);
}

static const struct stop_ops asha_ops = {asha_point, NULL, ladder_forget, ladder_report, ladder_free};
static const struct stop_ops wandb_ops = {wandb_point, NULL, ladder_forget, ladder_report, ladder_free};

struct stop_rule *stop_ladder_new(const struct stop_conf *conf, struct err *err) {
  struct ladder *ladder = mem_zalloc(sizeof *ladder);
  size_t count = conf->type == STOP_HYPERBAND ? (size_t)MIN_OF(MAX_OF(conf->brackets, 1), BRACKETS_MAX) : 1;
  struct bracket *brackets = mem_array(count, sizeof *brackets);
  if (!ladder || !brackets) {
    mem_free(ladder);
    mem_free(brackets);
    err_no_memory(err);
    return NULL;
  }
  ladder->brackets = brackets;
  ladder->count = count;
  for (size_t b = 0; b < count; b++) {
    double at[RUNGS_MAX];
    brackets[b].count = stop_ladder(conf, (int64_t)b, at, RUNGS_MAX);
    for (size_t i = 0; i < brackets[b].count; i++) {
      brackets[b].rungs[i].at = at[i];
      ranks_init(&brackets[b].rungs[i].losses, STOP_TRIALS_MAX);
    }
  }
  share_out(ladder, conf->eta);
  ladder->rule.skip_nan = conf->type == STOP_WANDB_HYPERBAND;
  ladder->rule.ops = conf->type == STOP_WANDB_HYPERBAND ? &wandb_ops : &asha_ops;
  return &ladder->rule;
}
