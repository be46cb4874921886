#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "sweeper/rules/ranks.h"
#include "sweeper/rules/stop.h"

static struct arena arena;

static int setup(void **state) {
  (void)state;
  arena_init(&arena, 64 * MIB);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  arena_release(&arena);
  return 0;
}

/* Rules as they stand in a sweep file. */
static struct stop_set *rules_for(const char *yaml, const struct stop_goal *goal) {
  struct ynode *root;
  struct err err = {0};
  if (!yaml_read(str_of(yaml), &arena, &root, NULL, &err))
    fail_msg("%s", err.text);
  struct stop_conf confs[8] = {0};
  struct spec_problems *errors = ARENA_NEW(&arena, struct spec_problems), *warnings = ARENA_NEW(&arena, struct spec_problems);
  errors->arena = warnings->arena = &arena;
  struct spec_reader reader = {&arena, errors, warnings};
  size_t count = root->kind == YN_LIST ? root->count : 1;
  for (size_t i = 0; i < count; i++) {
    spec_read(&reader, &stop_conf_table, root->kind == YN_LIST ? root->items[i] : root, "rule", &confs[i]);
    if (!errors->count)
      stop_conf_check(&confs[i], root, "rule", errors);
  }
  if (errors->count)
    fail_msg("%s", errors->items[0].message);
  struct stop_set *set = NULL;
  if (!stop_set_new(confs, count, goal, &set, &err))
    fail_msg("%s", err.text);
  return set;
}

static struct stop_set *rules(const char *yaml, const char *metric, bool maximize) {
  return rules_for(yaml, &(struct stop_goal){.metric = str_of(metric), .maximize = maximize});
}

static struct stop_verdict feed_full(struct stop_set *set, uint32_t trial, const char *key, double value, int64_t step, double epoch) {
  struct stop_point point = {.trial = trial, .key = str_of(key), .value = value, .step = step, .epoch = epoch};
  struct stop_verdict verdict = {0};
  struct err err = {0};
  if (!stop_feed(set, &point, &verdict, &err))
    fail_msg("%s", err.text);
  return verdict;
}

static bool feed(struct stop_set *set, uint32_t trial, double value) {
  return feed_full(set, trial, "y", value, 0, NAN).stop;
}

static void end(struct stop_set *set, uint32_t trial, bool completed) {
  struct err err = {0};
  assert_true(stop_ended(set, trial, completed, &err));
}

/* ---- HyperDrive: the table of the specification; rows are reports, columns trials ---- */

static const double curves[4][4] = {{.60, .70, .80, .85}, {.55, .68, .72, .74}, {.30, .40, .45, .50}, {.62, .61, .60, .59}};

/* `expected`: a bit for every trial that stops after report n, judged once all four have reported n but for the trial itself. */
static void hyperdrive(const char *rule, const unsigned expected[4], bool maximize) {
  for (unsigned n = 0; n < 4; n++)
    for (uint32_t judged = 0; judged < 4; judged++) {
      struct stop_set *set = rules(rule, "y", maximize);
      double sign = maximize ? 1 : -1;
      for (uint32_t r = 0; r < 4; r++)
        for (unsigned i = 0; i <= n; i++)
          if (r != judged)
            feed(set, r, sign * curves[r][i]);
      bool stop = false;
      for (unsigned i = 0; i <= n; i++)
        stop = feed(set, judged, sign * curves[judged][i]);
      if (stop != (bool)(expected[n] >> judged & 1))
        fail_msg("%s: report %u, trial %u: %d", rule, n + 1, judged, stop);
      stop_set_free(set);
    }
}

static void bandit(void **state) {
  (void)state;
  hyperdrive("{type: bandit, slack_factor: 0.1}", (unsigned[]){6, 12, 14, 14}, true);
  hyperdrive("{type: bandit, slack_factor: 0.2}", (unsigned[]){4, 4, 12, 12}, true);
  hyperdrive("{type: bandit, slack_amount: 0.1}", (unsigned[]){4, 4, 12, 14}, true); /* limits .52 .60 .70 .75 */
  /* minimise, values below zero: the mirrored ratio best + f |best| */
  hyperdrive("{type: bandit, slack_factor: 0.1}", (unsigned[]){6, 12, 12, 14}, false);
  /* delay and interval */
  hyperdrive("{type: bandit, slack_factor: 0.2, evaluation_interval: 2}", (unsigned[]){0, 4, 0, 12}, true);
  hyperdrive("{type: bandit, slack_factor: 0.2, delay_evaluation: 3}", (unsigned[]){0, 0, 12, 12}, true);
  hyperdrive("{type: bandit, slack_factor: 0.2, interval: 2, delay: 3}", (unsigned[]){0, 0, 0, 12}, true);
}

static void median_stopping(void **state) {
  (void)state;
  hyperdrive("{type: median_stopping}", (unsigned[]){6, 4, 12, 12}, true);
  hyperdrive("{type: median_stopping}", (unsigned[]){6, 4, 12, 12}, false);
}

static void truncation_selection(void **state) {
  (void)state;
  hyperdrive("{type: truncation_selection, truncation_percentage: 50}", (unsigned[]){6, 12, 12, 12}, true);
  hyperdrive("{type: truncation_selection, truncation_percentage: 25}", (unsigned[]){4, 4, 4, 4}, true);
  hyperdrive("{type: truncation_selection, truncation_percentage: 20}", (unsigned[]){0, 0, 0, 0}, true); /* floor(0.8) */
}

static void truncation_with_and_without_finished(void **state) {
  (void)state;
  for (int exclude = 0; exclude < 2; exclude++) {
    struct stop_set *set =
        rules(exclude ? "{type: truncation_selection, exclude_finished_jobs: true}" : "{type: truncation_selection}", "y", true);
    feed(set, 0, 0.9);
    feed(set, 1, 0.8);
    feed(set, 2, 0.1);
    end(set, 0, true);
    end(set, 1, true);
    end(set, 2, true);
    assert_int_equal(feed(set, 3, 0.2), exclude ? 0 : 1); /* the worst but one of four, half are cut; or alone */
    stop_set_free(set);
  }
}

static void truncation_leaves_ties(void **state) {
  (void)state;
  struct stop_set *set = rules("{type: truncation_selection}", "y", true);
  assert_false(feed(set, 0, 0.5));
  assert_false(feed(set, 1, 0.5));
  assert_false(feed(set, 2, 0.5));
  assert_false(feed(set, 3, 0.5));
  assert_true(feed(set, 4, NAN)); /* NaN is worst */
  stop_set_free(set);
}

static void the_documented_bandit_example(void **state) {
  (void)state;
  struct stop_set *set = rules("{type: bandit, slack_factor: 0.2}", "y", true);
  feed(set, 0, 0.8);
  assert_false(feed(set, 1, 0.667));
  struct stop_verdict verdict = feed_full(set, 2, "y", 0.66, 7, NAN);
  assert_true(verdict.stop);
  assert_string_equal(verdict.rule, "bandit");
  assert_string_equal(verdict.comparison, "0.66 < 0.666667");
  assert_string_equal(verdict.reason, "at report 1 its best value 0.66 is worse than 0.666667, the slack allowed from the best, 0.8");
  assert_int_equal(verdict.step, 7);
  stop_set_free(set);
}

/* ---- asha ---- */

static void asha_by_hand(void **state) {
  (void)state;
  struct stop_set *set = rules("{type: asha, min_iter: 1, eta: 3}", "y", false);
  static const struct {
    double value;
    bool stop;
  } arrivals[] = {
      {5, false},              /* 1 of 1 */
      {6, true},               /* 2 of 2, one goes on */
      {4, false},              /* best */
      {4.5, true},             /* 2 of 4, one */
      {4, false},              /* tied with the best */
      {4.2, true},             /* 3 of 6, two go on: 4, 4 */
      {4, false},              /* tied */
      {3, false},  {4, false}, /* n = 9, three go on: 3 4 4 */
      {4.1, true}, {NAN, true},
  };
  for (uint32_t i = 0; i < ARRAY_LEN(arrivals); i++)
    if (feed(set, i, arrivals[i].value) != arrivals[i].stop)
      fail_msg("arrival %u", i);
  stop_set_free(set);
}

static void asha_skipped_rungs_all_count(void **state) {
  (void)state;
  struct stop_set *set = rules("{type: asha, min_iter: 1, eta: 3, step_metric: epoch, max_iter: 30}", "y", true);
  assert_false(feed_full(set, 0, "y", 0.5, 1, 10).stop); /* rungs 1, 3, 9 at once */
  assert_false(feed_full(set, 1, "y", 0.6, 1, 2).stop);  /* rung 1 */
  struct stop_verdict verdict = feed_full(set, 1, "y", 0.4, 2, 3);
  assert_true(verdict.stop); /* rung 3: 2 of 2 */
  assert_string_equal(verdict.unit, "epoch");
  assert_string_equal(verdict.reason,
                      "at epoch 3 its value 0.4 is number 2 of the 2 that reached rung 3, and only the highest 1 go on (0.5 or better)");
  assert_false(feed_full(set, 2, "y", 0.7, 1, 2.5).stop);
  assert_false(feed_full(set, 2, "y", 0.1, 1, 2.9).stop); /* a rung's value is the first report at it */
  AUTO_BUF struct buf out = BUF_INIT(8 * KIB);
  struct json_writer w;
  jw_init(&w, &out);
  assert_int_equal(stop_report(set, 0, 100, &w), 0);
  assert_string_equal(buf_text(&out), "[{\"rule\":\"asha\",\"metric\":\"y\",\"step_metric\":\"epoch\",\"stopped\":1,\"brackets\":[["
                                      "{\"at\":1.0,\"trials\":3,\"stopped\":0,\"best\":0.7,\"limit\":0.7},"
                                      "{\"at\":3.0,\"trials\":2,\"stopped\":1,\"best\":0.5,\"limit\":0.5},"
                                      "{\"at\":9.0,\"trials\":1,\"stopped\":0,\"best\":0.5,\"limit\":0.5}]]}]");
  stop_set_free(set);
}

static bool feed_of(struct stop_set *set, uint32_t trial, double value, double epoch, double epochs) {
  struct stop_point point = {.trial = trial, .key = STR("y"), .value = value, .epoch = epoch, .epochs = epochs};
  struct stop_verdict verdict = {0};
  struct err err = {0};
  assert_true(stop_feed(set, &point, &verdict, &err));
  return verdict.stop;
}

/* It is as good as over, and is compared with all the same. */
static void asha_lets_the_last_epoch_be(void **state) {
  (void)state;
  struct stop_set *set = rules("{type: asha, min_iter: 3, eta: 3}", "y", false);
  assert_false(feed_of(set, 0, 1, 3, 3));
  assert_false(feed_of(set, 1, 2, 3, 3));   /* its last */
  assert_true(feed_of(set, 2, 2, 3, 4));    /* not its last */
  assert_true(feed_of(set, 3, 2, 3, 0));    /* nobody knows */
  assert_false(feed_of(set, 4, 2, 5.5, 5)); /* its last, in the rung below */
  assert_false(feed_of(set, 5, 0.5, 3, 9)); /* the best of six: all of them are there */
  assert_true(feed_of(set, 6, 1, 3, 9) == false && feed_of(set, 7, 1.5, 3, 9));
  stop_set_free(set);
  set = rules("{type: asha, min_iter: 1, eta: 3}", "y", false);
  assert_true(!feed_of(set, 0, 1, 1, 1) && !feed_of(set, 1, 2, 1, 1));
  assert_true(!feed_of(set, 0, 1, 3, 1) && feed_of(set, 1, 2, 3, 1)); /* these are no epochs of the whole */
  stop_set_free(set);
  set = rules("{type: asha, min_iter: 3, eta: 3, step_metric: report}", "y", false);
  for (uint32_t trial = 0; trial < 2; trial++)
    for (unsigned n = 1; n <= 3; n++)
      assert_int_equal(feed_of(set, trial, trial, 3, 3), trial == 1 && n == 3); /* it counts no epochs */
  stop_set_free(set);
}

static void asha_forgets_a_superseded_attempt(void **state) {
  (void)state;
  struct stop_set *set = rules("{type: asha, min_iter: 1, eta: 3}", "y", false);
  feed(set, 0, 1);
  assert_true(feed(set, 1, 2));
  stop_forget(set, 0);
  assert_false(feed(set, 2, 1.5)); /* best of 1.5 and 2 */
  assert_true(feed(set, 0, 3));    /* its new attempt reports anew */
  stop_set_free(set);
}

static void hyperband_deals_brackets(void **state) {
  (void)state;
  /* two brackets, eta 3: shares ceil(2*3/2) = 3 and ceil(2*1/1) = 2; trials 0, 1, 2 begin at 1, trials 3, 4 at 3 */
  struct stop_set *set = rules("{type: hyperband, min_iter: 1, max_iter: 9, eta: 3, brackets: 2}", "y", false);
  assert_false(feed(set, 0, 1));
  assert_true(feed(set, 1, 2));
  assert_true(feed(set, 2, 2));
  assert_false(feed(set, 3, 9)); /* no rung at 1 */
  assert_false(feed(set, 4, 8));
  assert_false(feed(set, 3, 9));
  assert_false(feed(set, 3, 9)); /* first at rung 3 */
  assert_false(feed(set, 4, 8));
  assert_false(feed(set, 4, 8)); /* better */
  assert_true(feed(set, 5, 5));  /* dealt to the first bracket again */
  stop_set_free(set);
}

static void other_rules_have_no_rungs(void **state) {
  (void)state;
  double rungs[8];
  for (int type = 0; type < STOP_TYPE_COUNT; type++) {
    struct stop_conf conf = {.type = type, .min_iter = 1, .eta = 3};
    bool has = type == STOP_ASHA || type == STOP_HYPERBAND || type == STOP_WANDB_HYPERBAND;
    assert_int_equal(stop_ladder(&conf, 0, rungs, 8), has ? 8 : 0);
  }
}

/* ---- W&B ---- */

static void wandb_bands(void **state) {
  (void)state;
  double bands[8];
  struct stop_conf down = {.type = STOP_WANDB_HYPERBAND, .max_iter = 27, .has_max_iter = true, .s = 2, .eta = 3};
  assert_int_equal(stop_ladder(&down, 0, bands, 8), 2);
  assert_true(bands[0] == 3 && bands[1] == 9);
  struct stop_conf up = {.type = STOP_WANDB_HYPERBAND, .min_iter = 3, .eta = 3};
  assert_int_equal(stop_ladder(&up, 0, bands, 4), 4);
  assert_true(bands[0] == 3 && bands[1] == 9 && bands[2] == 27 && bands[3] == 81);
}

static void wandb_strict_and_not(void **state) {
  (void)state;
  for (int strict = 0; strict < 2; strict++) {
    struct stop_set *set =
        rules(strict ? "{type: wandb_hyperband, min_iter: 2, eta: 2}" : "{type: wandb_hyperband, min_iter: 2, eta: 2, strict: false}", "y",
              false);
    /* band 2: strict values 5, 4, 9; best so far 5, 3, 1 */
    assert_false(feed(set, 0, 6));
    assert_false(feed(set, 0, 5)); /* alone: its own value is the limit */
    assert_false(feed(set, 1, 3));
    assert_false(feed(set, 1, NAN)); /* NaN rows do not count */
    assert_false(feed(set, 1, 4));   /* n = 2: the second best is the limit */
    assert_false(feed(set, 2, 1));
    /* n = 3, floor(3/2) = 1: limits are 5 (strict: 4 5 9) and 3 (else: 1 3 5) */
    assert_int_equal(feed(set, 2, 9), strict);
    /* the first trial, judged again at its next report: strict 5 > 5 no; best 5 > 3 yes */
    assert_int_equal(feed(set, 0, 7), !strict);
    stop_set_free(set);
  }
}

/* ---- Vizier's median, percentile ---- */

static void median_by_hand(void **state) {
  (void)state;
  struct stop_set *set = rules("{type: median, min_trials: 3}", "y", false);
  /* running averages at reports 1, 2, 3: (4 3 2) (5 5 5) (6 7 8) */
  static const double done[3][3] = {{4, 2, 0}, {5, 5, 5}, {6, 8, 10}};
  for (uint32_t t = 0; t < 3; t++) {
    for (int i = 0; i < 3; i++)
      assert_false(feed(set, t, done[t][i]));
    assert_false(feed(set, 10 + t, 100)); /* too few completed */
    end(set, t, true);
  }
  assert_false(feed(set, 20, 5));      /* equal to the median 5 */
  assert_true(feed(set, 21, 5.1));     /* worse */
  assert_false(feed(set, 21, 4));      /* best so far 4 against 5 */
  for (uint32_t t = 30; t < 33; t++) { /* failed trials are no yardstick */
    feed(set, t, 0);
    end(set, t, false);
  }
  assert_false(feed(set, 22, 5));
  stop_set_free(set);
}

static void median_interpolates(void **state) {
  (void)state;
  struct stop_set *set = rules("{type: median, min_trials: 1, step_metric: epoch}", "y", false);
  feed_full(set, 0, "y", 0, 0, 1);
  feed_full(set, 0, "y", 8, 0, 5); /* averages 0 at 1, 4 at 5: 1, 2, 3 between */
  end(set, 0, true);
  assert_false(feed_full(set, 1, "y", 2, 0, 3).stop);
  assert_true(feed_full(set, 2, "y", 2.1, 0, 3).stop);
  assert_false(feed_full(set, 3, "y", 99, 0, 6).stop); /* nobody got there */
  stop_set_free(set);
}

static void percentile_by_hand(void **state) {
  (void)state;
  struct stop_set *set = rules("{type: percentile, percentile: 25, min_trials: 4, keep_best: 1, patience: 1}", "y", true);
  for (uint32_t t = 0; t < 4; t++)
    assert_false(feed(set, t, t + 1)); /* 1 2 3 4 */
  assert_false(feed(set, 4, 1.5));     /* percentile 25 of 1 1.5 2 3 4 is 1.5 */
  assert_false(feed(set, 5, 1.2));     /* of 1 1.2 1.5 2 3 4 it is 1.275: below, but once is forgiven */
  for (uint32_t t = 1; t < 4; t++)
    assert_false(feed(set, t, t + 1));
  assert_false(feed(set, 4, 1.5)); /* 1.5 2 3 4: 1.875, once */
  struct stop_verdict verdict = feed_full(set, 5, "y", 1.1, 0, NAN);
  assert_true(verdict.stop); /* 1.1 1.5 2 3 4: 1.5, the second time */
  assert_string_equal(verdict.comparison, "1.1 < 1.5");
  assert_false(feed(set, 3, 9)); /* the best so far ... */
  assert_false(feed(set, 3, 0));
  assert_false(feed(set, 3, 0)); /* ... is never stopped; nor where nobody else got */
  stop_set_free(set);
}

/* ---- alone ---- */

static void threshold(void **state) {
  (void)state;
  struct stop_set *set = rules("{type: threshold, metric: loss, max: 20, min: -1, min_iter: 2}", "y", true);
  assert_false(feed_full(set, 0, "loss", 30, 0, NAN).stop); /* before min_iter */
  assert_false(feed_full(set, 0, "loss", 20, 0, NAN).stop);
  assert_false(feed_full(set, 0, "y", 30, 0, NAN).stop);
  struct stop_verdict verdict = feed_full(set, 0, "loss", 20.5, 3, NAN);
  assert_true(verdict.stop);
  assert_string_equal(verdict.comparison, "20.5 > 20");
  assert_string_equal(verdict.reason, "at report 3 its value 20.5 is above 20");
  assert_true(feed_full(set, 0, "loss", NAN, 0, NAN).stop);
  assert_true(feed_full(set, 0, "loss", -INFINITY, 0, NAN).stop);
  assert_true(feed_full(set, 0, "loss", -2, 0, NAN).stop);
  stop_set_free(set);
}

/* Epochs that count from 0, in tenths, or that are not said. */
static void threshold_from_the_first_report(void **state) {
  (void)state;
  struct stop_set *set = rules("{type: threshold}", "y", false);
  assert_false(feed_full(set, 0, "y", 1, 0, 0).stop);
  assert_string_equal(feed_full(set, 1, "y", NAN, 0, 0).reason, "at epoch 0 its value is NaN");
  assert_string_equal(feed_full(set, 2, "y", NAN, 9, 0.25).reason, "at epoch 0.25 its value is NaN");
  assert_false(feed_full(set, 3, "y", 1, 0, 2).stop);
  assert_string_equal(feed_full(set, 3, "y", NAN, 0, NAN).reason, "at epoch 2 its value is NaN");
  struct stop_set *later = rules("{type: threshold, min_iter: 1.5}", "y", false);
  assert_false(feed_full(later, 0, "y", NAN, 0, 0).stop);
  assert_false(feed_full(later, 0, "y", NAN, 0, 1).stop);
  assert_true(feed_full(later, 0, "y", NAN, 0, 2).stop);
  stop_set_free(set);
  stop_set_free(later);
}

static void the_goal_under_all_its_names(void **state) {
  (void)state;
  struct str alias = STR("accuracy");
  struct stop_goal goal = {.metric = STR("acc"), .aliases = {&alias, 1}, .maximize = true};
  const char *const texts[] = {"{type: patience, patience: 1}", "{type: patience, patience: 1, metric: acc}",
                               "{type: patience, patience: 1, metric: accuracy}"};
  for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
    struct stop_set *set = rules_for(texts[i], &goal);
    assert_false(feed_full(set, 0, "acc", 1, 0, NAN).stop);
    assert_false(feed_full(set, 0, "accuracy", 2, 0, NAN).stop);
    assert_false(feed_full(set, 0, "acc", 3, 0, NAN).stop);
    assert_false(feed_full(set, 0, "accuracy", 2, 0, NAN).stop);
    assert_true(feed_full(set, 0, "acc", 2, 0, NAN).stop);
    stop_set_free(set);
  }
}

static void patience(void **state) {
  (void)state;
  struct stop_set *set = rules("{type: patience, patience: 2, min_delta: 0.1}", "y", true);
  assert_false(feed(set, 0, 0.5));
  assert_false(feed(set, 0, 0.55)); /* too little */
  assert_false(feed(set, 0, 0.65)); /* improves */
  assert_false(feed(set, 0, 0.7));
  assert_false(feed(set, 0, 0.6));
  struct stop_verdict verdict = feed_full(set, 0, "y", 0.7, 0, NAN);
  assert_true(verdict.stop);
  assert_string_equal(verdict.reason, "at report 6 it has not improved on 0.65 by more than 0.1 for 3 reports, and 2 are allowed");
  stop_set_free(set);
}

/* ---- what an iteration is ---- */

static void iterations(void **state) {
  (void)state;
  struct stop_set *set = rules("[{type: patience, patience: 1}, {type: patience, patience: 1, step_metric: n}]", "y", false);
  /* the first rule: epochs, for the metric carries one */
  assert_false(feed_full(set, 0, "y", 1, 0, 1).stop);
  assert_false(feed_full(set, 0, "y", 2, 0, 1).stop);
  assert_false(feed_full(set, 0, "y", 2, 0, 2).stop);
  assert_false(feed_full(set, 0, "y", 2, 0, NAN).stop); /* no epoch, not seen */
  assert_true(feed_full(set, 0, "y", 2, 0, 3).stop);
  /* the second counts by the metric n */
  struct stop_set *other = rules("{type: patience, patience: 1, step_metric: n}", "y", false);
  assert_false(feed_full(other, 0, "y", 1, 0, 1).stop); /* n is unknown */
  feed_full(other, 0, "n", 10, 0, NAN);
  assert_false(feed_full(other, 0, "y", 1, 0, 1).stop);
  feed_full(other, 0, "n", 12, 0, NAN);
  struct stop_verdict verdict = feed_full(other, 0, "y", 1, 0, 1);
  assert_true(verdict.stop);
  assert_string_equal(verdict.unit, "n");
  stop_set_free(set);
  stop_set_free(other);
}

/* A value before the training has no epoch; those after it have. */
static void what_was_measured_before_the_training_is_no_iteration(void **state) {
  (void)state;
  struct stop_set *set = rules("{type: asha, min_iter: 1, eta: 2}", "y", false);
  assert_false(feed_full(set, 0, "y", 5, 0, NAN).stop);
  assert_false(feed_full(set, 1, "y", 4, 0, NAN).stop);
  assert_false(feed_full(set, 1, "y", 3, 1, 1).stop);
  assert_false(feed_full(set, 0, "y", 2, 1, 1).stop);
  assert_false(feed_full(set, 2, "y", 9, 0, NAN).stop); /* of a later one too */
  struct stop_verdict verdict = feed_full(set, 2, "y", 2.5, 1, 1);
  assert_string_equal(verdict.reason,
                      "at epoch 1 its value 2.5 is number 2 of the 3 that reached rung 1, and only the lowest 1 go on (2 or better)");
  stop_set_free(set);
  /* where trials report without epochs, one that says some changes nothing */
  set = rules("{type: patience, patience: 1}", "y", false);
  for (int i = 0; i < 2; i++)
    assert_false(feed(set, 0, 1));
  assert_true(feed_full(set, 0, "y", 1, 0, 1).stop);
  stop_set_free(set);
}

static void any_rule_is_enough(void **state) {
  (void)state;
  struct stop_set *set = rules("[{type: none}, {type: asha}, {type: threshold, metric: loss, max: 3}]", "y", false);
  assert_false(feed(set, 0, 1));
  struct stop_verdict verdict = feed_full(set, 0, "loss", 4, 0, NAN);
  assert_true(verdict.stop);
  assert_string_equal(verdict.rule, "threshold");
  assert_string_equal(feed_full(set, 1, "y", 2, 0, NAN).rule, "asha");
  stop_set_free(set);
}

/* ---- properties ---- */

static const char *const every_rule[] = {
    "{type: asha}",
    "{type: hyperband, brackets: 3}",
    "{type: wandb_hyperband, min_iter: 2, strict: false}",
    "{type: wandb_hyperband, max_iter: 30, s: 3}",
    "{type: median, min_trials: 3}",
    "{type: percentile, keep_best: 2, patience: 1}",
    "{type: patience, patience: 3}",
    "{type: threshold, max: 2}",
    "{type: bandit, slack_factor: 0.1}",
    "{type: median_stopping, delay: 2}",
    "{type: truncation_selection, exclude_finished_jobs: true, interval: 2}",
};

static uint64_t run_random(const char *rule, uint64_t seed, uint32_t trials, unsigned steps) {
  struct stop_set *set = rules(rule, "y", seed & 1);
  struct rng rng = rng_seeded(seed);
  uint64_t digest = 0;
  for (unsigned i = 0; i < steps; i++) {
    uint32_t trial = (uint32_t)rng_below(&rng, trials);
    double value = rng_below(&rng, 50) == 0 ? NAN : floor(rng_normal(&rng) * 20) / 20;
    struct stop_verdict verdict = feed_full(set, trial, "y", value, i, NAN);
    digest = rng_mix(digest ^ (verdict.stop ? i + 1 : 0));
    uint64_t chance = rng_below(&rng, 200);
    if (chance == 0)
      end(set, trial, rng_below(&rng, 2));
    else if (chance == 1)
      stop_forget(set, trial);
  }
  AUTO_BUF struct buf out = BUF_INIT(4 * MIB);
  struct json_writer w;
  jw_init(&w, &out);
  assert_int_equal(stop_report(set, 0, 100, &w), 0);
  for (size_t i = 0; i < out.n; i++)
    digest = rng_mix(digest ^ (unsigned char)out.p[i]);
  stop_set_free(set);
  return digest;
}

static void folding_is_deterministic(void **state) {
  (void)state;
  for (size_t r = 0; r < ARRAY_LEN(every_rule); r++)
    for (uint64_t seed = 0; seed < 4; seed++)
      assert_int_equal(run_random(every_rule[r], seed, 40, 3000), run_random(every_rule[r], seed, 40, 3000));
}

/* The state after forgetting a trial and feeding the rest is that of never having seen it, for every rule whose state is a set. */
static void forgetting_leaves_no_trace(void **state) {
  (void)state;
  for (size_t r = 0; r < ARRAY_LEN(every_rule); r++) {
    if (strstr(every_rule[r], "bandit"))
      continue; /* its best stays, as the header says */
    struct stop_set *with = rules(every_rule[r], "y", false), *without = rules(every_rule[r], "y", false);
    for (uint32_t t = 0; t < 5; t++)
      for (int i = 0; i < 5; i++)
        feed(with, t, t * 0.1 + i);
    stop_forget(with, 4);
    for (uint32_t t = 0; t < 4; t++)
      for (int i = 0; i < 5; i++)
        feed(without, t, t * 0.1 + i);
    for (uint32_t t = 10; t < 20; t++)
      for (int i = 0; i < 8; i++)
        assert_int_equal(feed(with, t, (t % 7) * 0.1 + i), feed(without, t, (t % 7) * 0.1 + i));
    stop_set_free(with);
    stop_set_free(without);
  }
}

/* Very many reports, trials that end, memory that stays bounded. */
static void long_sweeps(void **state) {
  (void)state;
  for (size_t r = 0; r < ARRAY_LEN(every_rule); r++) {
    struct stop_set *set = rules(every_rule[r], "y", false);
    for (uint32_t t = 0; t < 3000; t++) {
      for (int i = 0; i < 4; i++)
        feed(set, t, (double)(rng_mix(t * 8u + (uint32_t)i) % 1000));
      end(set, t, true);
    }
    for (int i = 0; i < 20000; i++)
      feed(set, 3000, 1.0 / (i + 1));
    stop_set_free(set);
  }
}

static int64_t cpu_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* WINNOW_TEST_LONG: a hundred thousand trials of ten reports each, per rule. */
static void a_report_is_quick(void **state) {
  (void)state;
  uint32_t trials = getenv("WINNOW_TEST_LONG") ? 100000 : 2000;
  for (size_t r = 0; r < ARRAY_LEN(every_rule); r++) {
    struct stop_set *set = rules(every_rule[r], "y", false);
    int64_t start = cpu_us();
    for (uint32_t t = 0; t < trials; t++) {
      for (uint32_t i = 0; i < 10; i++)
        feed(set, t, (double)(rng_mix(t * 16u + i) % 100000));
      end(set, t, true);
    }
    print_message("%.2f us a report: %s\n", (double)(cpu_us() - start) / trials / 10, every_rule[r]);
    stop_set_free(set);
  }
}

static void ranks_against_brute_force(void **state) {
  (void)state;
  struct ranks ranks;
  ranks_init(&ranks, 1000);
  double values[1000];
  bool there[1000] = {0};
  struct rng rng = rng_seeded(5);
  for (int i = 0; i < 20000; i++) {
    uint32_t id = (uint32_t)rng_below(&rng, 1000);
    if (there[id])
      assert_true(ranks_remove(&ranks, values[id], id));
    else
      assert_true(ranks_add(&ranks, values[id] = rng_below(&rng, 30) == 0 ? NAN : (double)rng_below(&rng, 50), id));
    there[id] = !there[id];
    double probe = rng_below(&rng, 20) == 0 ? NAN : (double)rng_below(&rng, 52) - 1;
    uint32_t below = 0, equal = 0, count = 0;
    for (uint32_t j = 0; j < 1000 && i % 50 == 0; j++) {
      count += there[j];
      below += there[j] && ranks_compare(values[j], probe) < 0;
      equal += there[j] && ranks_compare(values[j], probe) == 0;
    }
    if (i % 50)
      continue;
    assert_int_equal(ranks_count(&ranks), count);
    assert_int_equal(ranks_below(&ranks, probe), below);
    if (equal)
      assert_int_equal(ranks_compare(ranks_at(&ranks, below), probe), 0);
  }
  assert_false(ranks_remove(&ranks, 1e9, 3));
  ranks_release(&ranks);
}

static void memory_failures_are_reported(void **state) {
  (void)state;
  struct stop_conf confs[] = {{.type = STOP_ASHA, .min_iter = 1, .eta = 3},
                              {.type = STOP_MEDIAN, .min_iter = 1, .evaluation_interval = 1, .min_trials = 1},
                              {.type = STOP_BANDIT, .evaluation_interval = 1, .has_slack_amount = true}};
  struct stop_goal goal = {.metric = STR("y")};
  for (unsigned long n = 1; n < 200; n++) {
    struct stop_set *set = NULL;
    struct err err = {0};
    struct stop_verdict verdict;
    struct stop_point point = {.key = STR("y"), .value = 1, .epoch = NAN};
    mem_fail_at(n, true);
    bool ok = stop_set_new(confs, ARRAY_LEN(confs), &goal, &set, &err);
    ok = ok && stop_feed(set, &point, &verdict, &err) && stop_ended(set, 0, true, &err);
    mem_fail_at(0, false);
    stop_set_free(set);
    if (ok)
      return;
    assert_int_equal(err.code, ERR_NO_MEMORY);
  }
  fail_msg("never succeeded");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bandit),
      cmocka_unit_test(median_stopping),
      cmocka_unit_test(truncation_selection),
      cmocka_unit_test(truncation_with_and_without_finished),
      cmocka_unit_test(truncation_leaves_ties),
      cmocka_unit_test(the_documented_bandit_example),
      cmocka_unit_test(asha_by_hand),
      cmocka_unit_test(asha_skipped_rungs_all_count),
      cmocka_unit_test(asha_lets_the_last_epoch_be),
      cmocka_unit_test(asha_forgets_a_superseded_attempt),
      cmocka_unit_test(hyperband_deals_brackets),
      cmocka_unit_test(other_rules_have_no_rungs),
      cmocka_unit_test(wandb_bands),
      cmocka_unit_test(wandb_strict_and_not),
      cmocka_unit_test(median_by_hand),
      cmocka_unit_test(median_interpolates),
      cmocka_unit_test(percentile_by_hand),
      cmocka_unit_test(threshold),
      cmocka_unit_test(threshold_from_the_first_report),
      cmocka_unit_test(the_goal_under_all_its_names),
      cmocka_unit_test(patience),
      cmocka_unit_test(iterations),
      cmocka_unit_test(what_was_measured_before_the_training_is_no_iteration),
      cmocka_unit_test(any_rule_is_enough),
      cmocka_unit_test(folding_is_deterministic),
      cmocka_unit_test(forgetting_leaves_no_trace),
      cmocka_unit_test(long_sweeps),
      cmocka_unit_test(a_report_is_quick),
      cmocka_unit_test(ranks_against_brute_force),
      cmocka_unit_test(memory_failures_are_reported),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
