/* The samplers as a sweep uses them: determinism, learning, bad results, traps of the trade. */
#include <math.h>
#include <pthread.h>

#include "tests/support/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "sampler/cmaes.h"
#include "sampler/draw.h"
#include "sampler/gp_rows.h"
#include "sampler/gp_search.h"
#include "sampler/tpe.h"
#include "tests/support/spaces.h"

static const char *const floats =
    "{\"parameters\": {\"x\": {\"min\": -1.0, \"max\": 2.0}, \"y\": {\"min\": 1e-4, \"max\": 1.0, \"log\": true}, \"z\": {\"min\": 0.0, \"max\": 1.0}}}";
static const char *const mixed =
    "{\"parameters\": {\"lr\": {\"min\": 1e-5, \"max\": 1.0, \"log\": true}, \"layers\": {\"min\": 1, \"max\": 8}, \"opt\": {\"values\": [\"sgd\", \"adam\", \"lion\"]},"
    "\"mom\": {\"min\": 0.0, \"max\": 0.99}, \"wide\": {\"min\": 1, \"max\": 4096, \"log\": true}}, \"conditions\": [{\"if\": {\"opt\": \"sgd\"}, \"then\": [\"mom\"]}],"
    "\"constraints\": [\"layers * wide <= 8192\"]}";
static const enum sampler_type learners[] = {SAMPLER_AUTO, SAMPLER_TPE, SAMPLER_GP, SAMPLER_CMAES};

struct study {
  struct space *space;
  struct history *history;
  struct sampler *sampler;
};

static struct study begin(const char *whole, enum sampler_type type, uint64_t seed, enum goal goal) {
  struct study s = {.space = make_space(whole)};
  struct err err;
  assert_true(history_new(s.space, goal, &s.history, &err));
  s.sampler = make_sampler(s.history, type, seed);
  return s;
}

static void end(struct study *s) {
  sampler_free(s->sampler), history_free(s->history), space_free(s->space);
}

static struct suggestion ask(struct study *s, uint32_t n, double *point) {
  struct suggestion suggestion;
  struct err err;
  if (!sampler_suggest(s->sampler, n, point, &suggestion, &err))
    fail_msg("%s", err.text);
  assert_int_equal(suggestion.kind, SUGGESTION_POINT);
  assert_true(space_allows(s->space, point));
  if (!space_has_point(s->space, point, &err))
    fail_msg("%s, trial %u: %s", sampler_type_name(suggestion.by), n, err.text);
  assert_true(history_add(s->history, n, point, NULL, &err));
  return suggestion;
}

static void tell(struct study *s, uint32_t n, enum trial_state state, double value) {
  struct err err;
  assert_true(history_tell(s->history, n, &(struct outcome){state, value, 3}, &err));
}

/* A bowl in the unit cube, away from the middle. */
static double bowl(const struct space *space, const double *point) {
  double sum = 0;
  for (size_t i = 0; i < space_count(space); i++)
    if (!isnan(point[i])) {
      double d = space_u(space, i, point[i]) - 0.3 - 0.1 * (double)(i % 4);
      sum += d * d;
    }
  return sum;
}

static double best_after(const char *whole, enum sampler_type type, uint64_t seed, uint32_t trials, enum goal goal) {
  struct study s = begin(whole, type, seed, goal);
  double point[SPACE_PARAMS_MAX], best = INFINITY;
  for (uint32_t n = 0; n < trials; n++) {
    ask(&s, n, point);
    double value = bowl(s.space, point);
    best = fmin(best, value);
    tell(&s, n, TRIAL_FINISHED, goal == GOAL_MAXIMIZE ? -value : value);
  }
  end(&s);
  return best;
}

static double median_best(const char *whole, enum sampler_type type, uint32_t trials, enum goal goal) {
  double a = best_after(whole, type, 1, trials, goal), b = best_after(whole, type, 2, trials, goal),
         c = best_after(whole, type, 3, trials, goal);
  return fmax(fmin(a, b), fmin(fmax(a, b), c));
}

static void test_learners_learn(void **state) {
  (void)state;
  double chance = median_best(floats, SAMPLER_RANDOM, 60, GOAL_MINIMIZE),
         mixed_chance = median_best(mixed, SAMPLER_RANDOM, 60, GOAL_MINIMIZE);
  for (size_t i = 0; i < ARRAY_LEN(learners); i++) {
    assert_true(median_best(floats, learners[i], 60, GOAL_MINIMIZE) < 0.5 * chance);
    assert_true(median_best(floats, learners[i], 60, GOAL_MAXIMIZE) < 0.5 * chance);
    if (learners[i] != SAMPLER_CMAES)
      assert_true(median_best(mixed, learners[i], 60, GOAL_MINIMIZE) < mixed_chance);
  }
  assert_true(median_best(floats, SAMPLER_GP, 40, GOAL_MINIMIZE) < 1e-5);
}

/* The same events in the same order give the same points, however the asks lie between, and on a sampler that joins later. */
static void test_replay(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(learners); i++)
    for (int which = 0; which < 2; which++) {
      struct study a = begin(which ? mixed : floats, learners[i], 77, GOAL_MINIMIZE);
      struct study b = begin(which ? mixed : floats, learners[i], 77, GOAL_MINIMIZE);
      double point[SPACE_PARAMS_MAX], other[SPACE_PARAMS_MAX];
      struct suggestion suggestion;
      struct err err;
      for (uint32_t n = 0; n < 45; n++) {
        ask(&a, n, point);
        if (n % 3 == 0) { /* asked for twice, and for a number out of turn */
          assert_true(sampler_suggest(b.sampler, n + 5, other, &suggestion, &err));
          assert_true(sampler_suggest(b.sampler, n, other, &suggestion, &err));
        }
        if (n == 30) { /* a restart: everything is followed at once */
          sampler_free(b.sampler);
          b.sampler = make_sampler(b.history, learners[i], 77);
        }
        ask(&b, n, other);
        assert_true(space_same(a.space, point, other));
        if (n >= 2) { /* two are under way */
          tell(&a, n - 2, n % 9 ? TRIAL_FINISHED : TRIAL_STOPPED, bowl(a.space, history_point(a.history, n - 2)));
          tell(&b, n - 2, n % 9 ? TRIAL_FINISHED : TRIAL_STOPPED, bowl(b.space, history_point(b.history, n - 2)));
        }
      }
      end(&a), end(&b);
    }
}

/* What a number decides is in use on one side of it, and every point is whole: also where a search comes from the other side. */
static void test_conditions_on_numbers(void **state) {
  (void)state;
  static const char *const space =
      "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}, \"z\": {\"min\": 0.0, \"max\": 1.0}},"
      "\"conditions\": [{\"if\": \"x > 0.5\", \"then\": [\"y\"]}, {\"if\": \"y < 0.3\", \"then\": [\"z\"]}]}";
  for (enum sampler_type type = SAMPLER_AUTO; type < SAMPLER_GRID; type++)
    for (uint64_t seed = 0; seed < 10; seed++) {
      struct study s = begin(space, type, seed, GOAL_MINIMIZE);
      double point[3];
      for (uint32_t n = 0; n < 40; n++) {
        ask(&s, n, point);
        tell(&s, n, TRIAL_FINISHED, fabs(point[0] - 0.5) + (isnan(point[1]) ? 0.1 : fabs(point[1] - 0.3)));
      }
      end(&s);
    }
}

/* Traps 6 and 20, and 2.4: NaN, infinities of both signs, failures and stops are learnt from and never break anything. */
static void test_bad_results(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(learners); i++) {
    struct study s = begin(floats, learners[i], 5, GOAL_MINIMIZE);
    double point[3];
    size_t low = 0;
    for (uint32_t n = 0; n < 60; n++) {
      ask(&s, n, point);
      static const double bad[] = {NAN, INFINITY, -INFINITY};
      if (point[0] > 0.5) /* this half fails, in every way there is */
        tell(&s, n, n % 2 ? TRIAL_FAILED : TRIAL_FINISHED, bad[n % 3]);
      else if (n % 5 == 4)
        tell(&s, n, TRIAL_STOPPED, n % 2 ? NAN : 5 + point[0]);
      else
        tell(&s, n, n % 11 == 7 ? TRIAL_GONE : TRIAL_FINISHED, bowl(s.space, point));
      low += n >= 30 && point[0] <= 0.5;
    }
    assert_true(low >= 20); /* of 30: chance would have half */
    end(&s);
  }
  for (size_t i = 0; i < ARRAY_LEN(learners); i++) /* nothing ever works */
    for (int kind = 0; kind < 3; kind++) {
      struct study s = begin(mixed, learners[i], 6, GOAL_MINIMIZE);
      double point[SPACE_PARAMS_MAX];
      for (uint32_t n = 0; n < 30; n++) {
        ask(&s, n, point);
        tell(&s, n, kind == 0 ? TRIAL_FAILED : kind == 1 ? TRIAL_STOPPED : TRIAL_FINISHED, kind == 2 ? 0.1 : NAN);
      }
      end(&s);
    }
}

/* Of those that were trained to the end the best tenth is good, however many were stopped: else all that is left of many would be. */
static void test_stopped_dilute_nothing(void **state) {
  (void)state;
  struct study s =
      begin("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}}", SAMPLER_TPE, 8, GOAL_MINIMIZE);
  struct err err;
  uint32_t n = 0, near_best = 0;
  for (; n < 400; n++) {
    bool finished = n % 10 == 0, good = n % 100 == 0;
    double u = (double)(n * 7 % 400) / 400, v = (double)(n * 11 % 400) / 400;
    double point[] = {good ? 0.2 + 0.02 * u : 0.4 + 0.6 * u, good ? 0.8 + 0.02 * v : 0.7 * v};
    struct outcome outcome = {finished ? TRIAL_FINISHED : TRIAL_STOPPED, finished ? (good ? 0.1 : 0.2 + 0.1 * u) : 0.9, 3};
    assert_true(history_add_told(s.history, n, point, &outcome, &err));
  }
  for (; n < 440; n++) {
    double point[2];
    ask(&s, n, point);
    near_best += point[0] < 0.35 && point[1] > 0.65;
  }
  assert_true(near_best >= 20); /* of 40; chance would have 5 */
  end(&s);
}

/* The good ones are the best tenth, rounded up, at most 25: the choices of others are hardly proposed, and each of theirs is. */
static void test_how_many_are_good(void **state) {
  (void)state;
  static const struct {
    uint32_t results, good, hardly;
  } rows[] = {{60, 6, 15}, {61, 7, 15}, {90, 9, 15}, {91, 10, 15}, {250, 25, 0}, {400, 25, 0}};
  AUTO_BUF struct buf whole = BUF_INIT(16 * KIB);
  buf_puts(&whole, "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"c\": {\"values\": [\"0\"");
  for (int i = 1; i < 60; i++)
    buf_printf(&whole, ", \"%d\"", i);
  buf_puts(&whole, "]}}}");
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct study s = begin(buf_text(&whole), SAMPLER_TPE, 1, GOAL_MINIMIZE);
    struct tpe *tpe;
    struct err err;
    unsigned proposed[60] = {0};
    uint32_t n = 0;
    for (; n < rows[i].results; n++) { /* the worst first, the 50 best with a choice of their own */
      uint32_t rank = rows[i].results - 1 - n;
      double point[2] = {(double)(n * 13 % rows[i].results) / rows[i].results, rank < 50 ? rank : 50 + rank % 10};
      assert_true(history_add_told(s.history, n, point, &(struct outcome){TRIAL_FINISHED, rank, 0}, &err));
    }
    assert_true(tpe_new(s.history, &tpe_defaults, &tpe, &err));
    for (; n < rows[i].results + 1000; n++) {
      double point[2];
      assert_true(tpe_suggest(tpe, 1, n, point, &err));
      proposed[(size_t)point[1]]++;
    }
    for (uint32_t c = 0; c < 60; c++)
      if ((proposed[c] > rows[i].hardly) != (c < rows[i].good))
        fail_msg("of %u results number %u is proposed %u times", (unsigned)rows[i].results, (unsigned)c + 1, proposed[c]);
    tpe_free(tpe);
    end(&s);
  }
}

/* Trap 25: the middle first, then points spread over every half and quarter; no coordinate at an end. */
static void test_startup(void **state) {
  (void)state;
  struct study s = begin(floats, SAMPLER_AUTO, 12, GOAL_MINIMIZE);
  double point[3];
  unsigned quarters = 0;
  for (uint32_t n = 0; n < 9; n++) {
    struct suggestion suggestion = ask(&s, n, point);
    assert_int_equal(suggestion.by, SAMPLER_SOBOL);
    for (size_t d = 0; d < 3; d++) {
      double u = space_u(s.space, d, point[d]);
      assert_true(n == 0 ? fabs(u - 0.5) < 1e-9 : u > 0 && u < 1);
    }
    quarters |= 1u << (unsigned)(space_u(s.space, 0, point[0]) * 4);
    tell(&s, n, TRIAL_FINISHED, bowl(s.space, point));
  }
  assert_int_equal(quarters, 15);
  end(&s);
}

/* With many workers a model begins at half as many results, once all of the start-up is handed out; one worker waits for all of them. */
static void test_startup_with_workers(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(learners); i++) {
    struct study s = begin(floats, learners[i], 12, GOAL_MINIMIZE);
    double point[3];
    uint32_t n = 0;
    for (; n < 12; n++) /* none has ended */
      assert_int_equal(ask(&s, n, point).by, SAMPLER_SOBOL);
    for (uint32_t told = 0; told < 5; told++, n++) {
      tell(&s, told, TRIAL_FINISHED, bowl(s.space, history_point(s.history, told)));
      enum sampler_type by = ask(&s, n, point).by;
      assert_int_equal(by == SAMPLER_SOBOL, told < 4 || learners[i] == SAMPLER_CMAES);
      assert_int_not_equal(by, SAMPLER_RANDOM);
    }
    end(&s);
    s = begin(floats, learners[i], 12, GOAL_MINIMIZE);
    for (n = 0; n < 11; n++) {
      assert_int_equal(ask(&s, n, point).by == SAMPLER_SOBOL, n < 10);
      tell(&s, n, TRIAL_FINISHED, bowl(s.space, point));
    }
    end(&s);
  }
}

/* Trap 5: one value of 1e30 does not flatten the rest. */
static void test_outlier(void **state) {
  (void)state;
  struct study s = begin(floats, SAMPLER_GP, 8, GOAL_MINIMIZE);
  double point[3], best = INFINITY;
  for (uint32_t n = 0; n < 45; n++) {
    ask(&s, n, point);
    best = fmin(best, bowl(s.space, point));
    tell(&s, n, TRIAL_FINISHED, n == 3 ? 1e30 : n == 5 ? 1e300 : bowl(s.space, point));
  }
  assert_true(best < 1e-4);
  end(&s);
}

/* Pending trials push suggestions apart. */
static void test_pending_points_differ(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(learners); i++) {
    struct study s = begin(floats, learners[i], 4, GOAL_MINIMIZE);
    double point[20][3];
    uint32_t n = 0;
    for (; n < 20; n++) {
      ask(&s, n, point[0]);
      tell(&s, n, TRIAL_FINISHED, bowl(s.space, point[0]));
    }
    for (size_t k = 0; k < 20; k++) {
      ask(&s, n++, point[k]);
      for (size_t j = 0; j < k; j++) {
        double far = 0;
        for (size_t d = 0; d < 3; d++)
          far = fmax(far, fabs(space_u(s.space, d, point[k][d]) - space_u(s.space, d, point[j][d])));
        assert_true(far > 1e-6);
      }
    }
    end(&s);
  }
}

/* Trap 3: what was measured several times at one point counts by its mean, whichever came last. */
static void test_equal_points_count_by_their_mean(void **state) {
  (void)state;
  static const double values[2][3] = {{-2, 1, 1.3}, {1.3, 1, -2}};
  double found[2];
  for (size_t way = 0; way < 2; way++) {
    struct study s = begin("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}}}", SAMPLER_GP, 1, GOAL_MINIMIZE);
    struct gp_search *search;
    struct err err;
    uint32_t n = 0;
    for (; n < 10; n++) {
      double x = n / 10.0;
      assert_true(history_add_told(s.history, n, &x, &(struct outcome){TRIAL_FINISHED, fabs(x - 0.7), 0}, &err));
    }
    for (size_t k = 0; k < 3; k++, n++)
      assert_true(history_add_told(s.history, n, &(double){0.25}, &(struct outcome){TRIAL_FINISHED, values[way][k], 0}, &err));
    assert_true(gp_search_new(s.history, SIZE_MAX, &gp_search_defaults, 1, n, &search, &err) && gp_search_run(search, &err));
    assert_int_equal(gp_search_rows(search), 11);
    found[way] = *gp_search_point(search, 0);
    gp_search_free(search);
    end(&s);
  }
  assert_true(fabs(found[0] - found[1]) < 1e-4);
}

/* Where the best result is at an end of the range, and nothing else matters, what is near it promises the most, and is taken. */
static void test_gp_goes_on_at_an_end(void **state) {
  (void)state;
  static const char *const spaces[] = {
      "{\"parameters\": {\"x\": {\"min\": 0, \"max\": 9007199254740991}, \"unused\": {\"min\": 0.0, \"max\": 1.0}}}",
      "{\"parameters\": {\"x\": {\"min\": 1, \"max\": 1000000000000000, \"log\": true}}}",
      "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0, \"step\": 0.25}, \"y\": {\"min\": 0.0, \"max\": 1.0, \"step\": 0.25}, \"unused\": {\"min\": 1, "
      "\"max\": 3}}}",
  };
  for (size_t i = 0; i < ARRAY_LEN(spaces); i++) {
    struct study s = begin(spaces[i], SAMPLER_GP, 3, GOAL_MINIMIZE);
    double point[3];
    for (uint32_t n = 0; n < 40; n++) {
      struct suggestion suggestion = ask(&s, n, point);
      assert_int_equal(suggestion.by, n < 10 ? SAMPLER_SOBOL : SAMPLER_GP);
      tell(&s, n, TRIAL_FINISHED, space_u(s.space, 0, point[0]));
    }
    assert_true(space_u(s.space, 0, history_point(s.history, history_best(s.history))[0]) < 0.11);
    end(&s);
  }
}

/* Trap 20: a model that can score nothing (its hyperparameters are no numbers, or there is no memory) proposes nothing, and another method
 * is asked, which the suggestion says. */
static void test_a_model_that_cannot_score(void **state) {
  (void)state;
  static struct gp_params broken[2];
  struct study s = begin(mixed, SAMPLER_GP, 3, GOAL_MINIMIZE);
  double point[SPACE_PARAMS_MAX];
  struct err err;
  uint32_t n = 0;
  for (; n < 20; n++) {
    ask(&s, n, point);
    tell(&s, n, TRIAL_FINISHED, bowl(s.space, point));
  }
  broken[0].signal = NAN, broken[1].signal = 1;
  for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
    struct gp_search *search;
    broken[i].noise = 1e-3;
    for (size_t f = 0; f < GP_FEATURES_MAX; f++)
      broken[i].weight[f] = i ? NAN : 1;
    assert_true(gp_search_new(s.history, GP_ROWS_NOW, &gp_search_defaults, 3, n, &search, &err));
    gp_search_reuse(search, &broken[i]);
    assert_true(!gp_search_run(search, &err) || gp_search_found(search) == 0);
    gp_search_free(search);
  }
  struct sampler_job *job;
  struct suggestion suggestion;
  assert_true(sampler_start(s.sampler, n, &job, &err));
  mem_fail_at(1, true);
  sampler_job_run(job);
  mem_fail_at(0, false);
  assert_true(sampler_finish(s.sampler, job, point, &suggestion, &err));
  assert_int_equal(suggestion.by, SAMPLER_TPE);
  assert_string_equal(suggestion.why, "the Gaussian process found no new point");
  assert_true(space_allows(s.space, point) && !history_has(s.history, point));
  end(&s);
}

static void test_fixed_first(void **state) {
  (void)state;
  struct study s = begin(mixed, SAMPLER_AUTO, 1, GOAL_MINIMIZE);
  AUTO_JSON json_t *fixed = read_json("[{\"lr\": 0.01, \"layers\": 3, \"opt\": \"adam\", \"wide\": 64}, {\"lr\": 0.5}]");
  AUTO_JSON json_t *wrong = read_json("[{\"lr\": 7}]"), *forbidden = read_json("[{\"layers\": 8, \"wide\": 4096}]");
  struct err err;
  double point[SPACE_PARAMS_MAX];
  assert_false(sampler_fix_first(s.sampler, wrong, &err));
  assert_string_equal(err.text, "fixed_first[0]: \"params.lr\" must be from 1e-05 to 1.0");
  assert_false(sampler_fix_first(s.sampler, forbidden, &err));
  assert_true(sampler_fix_first(s.sampler, fixed, &err));
  ask(&s, 0, point);
  assert_string_equal(point_text(s.space, point), "{\"layers\":3,\"lr\":0.01,\"opt\":\"adam\",\"wide\":64}");
  ask(&s, 1, point);
  assert_true(point[space_find(s.space, STR("lr"))] == 0.5);
  ask(&s, 2, point);
  end(&s);
}

/* Points that somebody else made trials of, in between or before, take no fixed point's turn; one that had a trial is passed over, and one
 * whose trial was killed is not tried again. */
static void test_fixed_points_lose_no_turn(void **state) {
  (void)state;
  static const char *const line = "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}}}";
  AUTO_JSON json_t *fixed = read_json("[{\"x\": 0.1}, {\"x\": 0.2}, {\"x\": 0.3}, {\"x\": 0.4}]");
  for (size_t i = 0; i < ARRAY_LEN(learners); i++) {
    struct study s = begin(line, learners[i], 1, GOAL_MINIMIZE);
    struct err err;
    double point, told = 0.9, second = 0.2;
    assert_true(sampler_fix_first(s.sampler, fixed, &err));
    assert_true(history_add_told(s.history, 0, &told, &(struct outcome){TRIAL_FINISHED, 1, 0}, &err));
    assert_false(sampler_sees_beyond(s.sampler, 1));
    ask(&s, 1, &point);
    assert_true(point == 0.1);
    tell(&s, 1, TRIAL_GONE, NAN);
    assert_true(history_add(s.history, 2, &second, NULL, &err));
    sampler_free(s.sampler); /* a restart */
    s.sampler = make_sampler(s.history, learners[i], 1);
    assert_true(sampler_fix_first(s.sampler, fixed, &err));
    ask(&s, 3, &point);
    assert_true(point == 0.3);
    ask(&s, 4, &point);
    assert_true(point == 0.4);
    assert_string_not_equal(ask(&s, 5, &point).why, "fixed by the user");
    end(&s);
  }
}

/* Earlier trials count from the start. */
static void test_warm_start(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(learners); i++) {
    struct study s = begin(floats, learners[i], 1, GOAL_MINIMIZE);
    struct rng rng = rng_seeded(2);
    struct err err;
    double point[3];
    for (int n = 0; n < 60; n++) {
      for (size_t d = 0; d < 3; d++)
        point[d] = space_value(s.space, d, rng_f64(&rng));
      struct outcome outcome = {TRIAL_FINISHED, bowl(s.space, point), 0};
      assert_true(history_add_told(s.history, HISTORY_NO_NUMBER, point, &outcome, &err));
    }
    double sum = 0;
    for (uint32_t n = 0; n < 10; n++) {
      struct suggestion suggestion = ask(&s, n, point);
      assert_true(suggestion.by != SAMPLER_SOBOL && suggestion.by != SAMPLER_RANDOM);
      sum += bowl(s.space, point) / 10;
      tell(&s, n, TRIAL_FINISHED, bowl(s.space, point));
    }
    assert_true(sum < 0.25); /* chance: about 0.4 */
    end(&s);
  }
}

static void test_auto_says_why(void **state) {
  (void)state;
  static const struct {
    const char *space;
    uint32_t results;
    enum sampler_type want;
  } rows[] = {
      {"{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}}", 5, SAMPLER_SOBOL},
      {"{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}}", 50, SAMPLER_GP},
      {"{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}}", 300, SAMPLER_CMAES},
      {"{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"values\": [\"a\", \"b\"]}}}", 300, SAMPLER_TPE},
      {"{\"parameters\": {\"m\": {\"values\": [\"a\", \"b\"]}, \"x\": {\"min\": 0.0, \"max\": 1.0}}, \"conditions\": [{\"if\": {\"m\": \"a\"}, \"then\": [\"x\"]}]}",
       50, SAMPLER_GP},
      {"{\"parameters\": {\"m\": {\"values\": [\"a\", \"b\"]}, \"x\": {\"min\": 0.0, \"max\": 1.0}}, \"conditions\": [{\"if\": {\"m\": \"a\"}, \"then\": [\"x\"]}]}",
       300, SAMPLER_TPE},
      {"{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}}", 250, SAMPLER_GP},
      {"{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}}", 251, SAMPLER_CMAES},
      {"{\"parameters\": {\"m\": {\"min\": 0, \"max\": 3}, \"x\": {\"min\": 0.0, \"max\": 1.0}}, \"conditions\": [{\"if\": \"m > 1\", \"then\": [\"x\"]}]}",
       300, SAMPLER_TPE},
      {"{\"parameters\": {\"m\": {\"values\": [\"a\", \"b\"]}, \"n\": {\"values\": [\"u\", \"v\", \"w\"]}, \"k\": {\"values\": [\"u\", \"v\", \"w\"]}}}",
       12, SAMPLER_GP},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct study s = begin(rows[i].space, SAMPLER_AUTO, 1, GOAL_MINIMIZE);
    struct rng rng = rng_seeded(i);
    struct err err;
    double point[3];
    for (uint32_t n = 0; n < rows[i].results; n++) {
      for (size_t d = 0; d < space_count(s.space); d++)
        point[d] = space_value(s.space, d, rng_f64(&rng));
      space_settle(s.space, point);
      assert_true(history_add_told(s.history, n, point, &(struct outcome){TRIAL_FINISHED, rng_f64(&rng), 0}, &err));
    }
    AUTO_BUF struct buf why = BUF_INIT(KIB);
    assert_int_equal(sampler_chosen(s.sampler, &why), rows[i].want);
    assert_true(why.n > 10);
    end(&s);
  }
}

/* Thinking on the side: results arrive meanwhile, jobs overlap, points that were taken are passed over. */
static void test_jobs(void **state) {
  (void)state;
  struct study s = begin(floats, SAMPLER_GP, 3, GOAL_MINIMIZE);
  double point[3], other[3];
  struct err err;
  struct suggestion suggestion;
  for (uint32_t n = 0; n < 40; n++) {
    ask(&s, n, point);
    if (n < 38)
      tell(&s, n, TRIAL_FINISHED, bowl(s.space, point));
  }
  struct sampler_job *a, *b, *dropped;
  assert_true(sampler_start(s.sampler, 40, &a, &err) && sampler_start(s.sampler, 40, &b, &err) &&
              sampler_start(s.sampler, 41, &dropped, &err));
  assert_true(sampler_job_is_slow(a));
  sampler_job_run(a);
  tell(&s, 38, TRIAL_FINISHED, 0.2);
  assert_true(sampler_finish(s.sampler, a, point, &suggestion, &err));
  assert_true(history_add(s.history, 40, point, NULL, &err));
  assert_true(sampler_finish(s.sampler, b, other, &suggestion, &err)); /* never run: runs now */
  assert_false(space_same(s.space, point, other));
  sampler_job_drop(dropped);
  end(&s);
}

/* Beyond ten thousand kernels the model is thinned out, at the same event whoever follows it. */
static void test_tpe_with_many_results(void **state) {
  (void)state;
  struct study s = begin(floats, SAMPLER_TPE, 1, GOAL_MINIMIZE);
  struct rng rng = rng_seeded(1);
  struct err err;
  double point[3], other[3];
  struct tpe *late;
  for (uint32_t n = 0; n < 23000; n++) {
    for (size_t d = 0; d < 3; d++)
      point[d] = space_value(s.space, d, rng_f64(&rng));
    assert_true(
        history_add_told(s.history, n, point, &(struct outcome){n % 50 ? TRIAL_FINISHED : TRIAL_FAILED, bowl(s.space, point), 0}, &err));
    struct suggestion suggestion;
    if (n % 997 == 0)
      assert_true(sampler_suggest(s.sampler, n + 1, point, &suggestion, &err));
  }
  struct suggestion suggestion;
  assert_true(sampler_suggest(s.sampler, 23000, point, &suggestion, &err));
  assert_int_equal(suggestion.by, SAMPLER_TPE);
  struct tpe_settings settings = tpe_defaults;
  assert_true(tpe_new(s.history, &settings, &late, &err));
  assert_true(tpe_suggest(late, 1, 23000, other, &err));
  assert_true(space_same(s.space, point, other));
  assert_true(bowl(s.space, point) < 0.1);
  tpe_free(late);
  end(&s);
}

static void test_gp_with_many_results(void **state) {
  (void)state;
  struct study s = begin(floats, SAMPLER_GP, 1, GOAL_MINIMIZE);
  struct rng rng = rng_seeded(1);
  struct err err;
  double point[3];
  for (uint32_t n = 0; n < 1200; n++) {
    for (size_t d = 0; d < 3; d++)
      point[d] = space_value(s.space, d, rng_f64(&rng));
    assert_true(history_add_told(s.history, n, point, &(struct outcome){TRIAL_FINISHED, bowl(s.space, point), 0}, &err));
  }
  struct gp_search *search;
  struct gp_search_settings settings = gp_search_defaults;
  assert_true(gp_search_new(s.history, SIZE_MAX, &settings, 1, 1200, &search, &err));
  assert_true(gp_search_rows(search) <= GP_ROWS_MAX && gp_search_rows(search) > 700);
  gp_search_free(search);
  end(&s);
}

static void test_many_dimensions(void **state) {
  (void)state;
  AUTO_BUF struct buf whole = BUF_INIT(MIB);
  buf_puts(&whole, "{\"parameters\": {\"p0\": {\"min\": 0.0, \"max\": 1.0}");
  for (int i = 1; i < 60; i++)
    buf_printf(&whole, ", \"p%d\": {\"min\": 0.0, \"max\": 1.0}", i);
  buf_puts(&whole, "}}");
  double chance = best_after(buf_text(&whole), SAMPLER_RANDOM, 1, 50, GOAL_MINIMIZE);
  for (size_t i = 0; i < ARRAY_LEN(learners); i++)
    assert_true(best_after(buf_text(&whole), learners[i], 1, 50, GOAL_MINIMIZE) < chance);
}

/* CMA-ES on an ill-conditioned bowl comes down by orders of magnitude, and starts again once it has converged. */
static void test_cmaes_converges_and_restarts(void **state) {
  (void)state;
  struct space *space = make_space(
      "{\"parameters\": {\"a\": {\"min\": -1.0, \"max\": 1.0}, \"b\": {\"min\": -1.0, \"max\": 1.0}, \"c\": {\"min\": -1.0, \"max\": 1.0}, \"k\": {\"min\": 0, \"max\": 9}}}");
  struct history *history;
  struct cmaes *cmaes;
  struct err err;
  assert_true(history_new(space, GOAL_MINIMIZE, &history, &err));
  assert_true(cmaes_new(history, 1, 5, &cmaes, &err));
  struct rng rng = rng_seeded(3);
  double point[4];
  uint32_t n = 0;
  for (; n < 6000 && cmaes_look(cmaes).restarts < 1; n++) {
    if (n < 5)
      for (size_t d = 0; d < 4; d++)
        point[d] = space_value(space, d, rng_f64(&rng));
    else if (!cmaes_suggest(cmaes, n, point, &err))
      fail_msg("%s", err.text);
    double value = pow(point[0] - 0.3, 2) + 100 * pow(point[1] + 0.2 - point[0], 2) + 1e4 * pow(point[2], 2) + pow(point[3] - 7, 2);
    assert_true(history_add_told(history, n, point, &(struct outcome){TRIAL_FINISHED, value, 0}, &err));
  }
  const double *best = history_point(history, history_best(history));
  assert_true(best[3] == 7);
  assert_true(history_value(history, history_best(history)) < 1e-10);
  assert_int_equal(cmaes_look(cmaes).restarts, 1);
  assert_int_equal(cmaes_look(cmaes).lambda, 2 * cmaes_default_lambda(4));
  cmaes_free(cmaes), history_free(history), space_free(space);
}

/* The unit of values says nothing, also where they have come so near to the best that the search begins anew. */
static void test_cmaes_knows_no_unit(void **state) {
  (void)state;
  static const double units[] = {1, 0x1p-60, 0x1p-900, 0x1p60, 0x1p900};
  static double points[ARRAY_LEN(units)][1500][3];
  for (size_t i = 0; i < ARRAY_LEN(units); i++) {
    struct study s = begin(floats, SAMPLER_RANDOM, 1, GOAL_MINIMIZE);
    struct cmaes *cmaes;
    struct err err;
    assert_true(cmaes_new(s.history, 1, 20, &cmaes, &err));
    for (uint32_t n = 0; n < 1500; n++) {
      double *point = points[i][n];
      if (n < 20)
        draw_point(s.space, 1, n, 0, NULL, point);
      else
        assert_true(cmaes_suggest(cmaes, n, point, &err));
      assert_true(history_add_told(s.history, n, point, &(struct outcome){TRIAL_FINISHED, units[i] * bowl(s.space, point), 0}, &err));
    }
    assert_true(cmaes_look(cmaes).restarts > 0);
    assert_memory_equal(points[i], points[0], sizeof points[0]);
    cmaes_free(cmaes);
    end(&s);
  }
}

/* However narrow the search has become, the whole numbers beside the mean's keep a share of 1/(d lambda) each (Hamano 2022). */
static void test_cmaes_keeps_a_margin(void **state) {
  (void)state;
  enum { ASKED = 1200 };
  struct study s =
      begin("{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"i\": {\"min\": 0, \"max\": 9}}}", SAMPLER_RANDOM, 1, GOAL_MINIMIZE);
  struct rng rng = rng_seeded(2);
  struct cmaes *cmaes;
  struct err err;
  double point[2];
  uint32_t n = 0, counts[10] = {0};
  assert_true(cmaes_new(s.history, 1, 60, &cmaes, &err));
  for (; n < 60 + 15 * cmaes_default_lambda(2); n++) {
    double x = 0.3 + (n < 60 ? 0.5 : 0.001) * (rng_f64(&rng) - 0.5);
    struct outcome outcome = {TRIAL_FINISHED, fabs(x - 0.3), 0};
    assert_true(history_add_told(s.history, n, (double[]){x, 4}, &outcome, &err));
  }
  assert_true(cmaes_follow(cmaes, &err));
  struct cmaes_view view = cmaes_look(cmaes);
  assert_int_equal(view.restarts, 0);
  assert_true(view.sigma * sqrt(view.covariance[3]) < 0.02); /* of cells 0.1 wide: by itself it would hardly ever leave the mean's */
  for (uint32_t k = 0; k < ASKED; k++) {
    assert_true(cmaes_suggest(cmaes, n + k, point, &err));
    counts[(size_t)point[1]]++;
  }
  double share = 1.0 / (2 * (double)view.lambda), low = 0.7 * share * ASKED, high = 1.3 * share * ASKED;
  if (!(counts[3] > low && counts[3] < high && counts[5] > low && counts[5] < high && counts[3] + counts[4] + counts[5] == ASKED))
    fail_msg("%u %u %u of %d", counts[3], counts[4], counts[5], ASKED);
  cmaes_free(cmaes);
  end(&s);
}

/* Every allocation fails once: either the call fails and may be repeated, or it did without. */
static void test_allocation_failures(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_LEN(learners); i++)
    for (int which = 0; which < 2; which++) {
      struct study s = begin(which ? mixed : floats, learners[i], 9, GOAL_MINIMIZE);
      double point[SPACE_PARAMS_MAX];
      for (uint32_t n = 0; n < 14; n++) {
        ask(&s, n, point);
        tell(&s, n, TRIAL_FINISHED, bowl(s.space, point));
      }
      struct sampler_settings settings = {.type = learners[i], .seed = 9};
      bool done = false;
      for (unsigned long n = 1; n < 400 && !done; n++) {
        struct sampler *sampler = NULL;
        struct suggestion suggestion;
        struct err err = {0};
        mem_fail_at(n, false);
        bool made = sampler_new(s.history, &settings, &sampler, &err);
        bool ok = made && sampler_suggest(sampler, 14, point, &suggestion, &err);
        done = mem_fail_at(0, false) < n;
        if (!ok)
          assert_int_equal(err.code, ERR_NO_MEMORY);
        if (made) /* still in order */
          assert_true(sampler_suggest(sampler, 14, point, &suggestion, &err));
        sampler_free(sampler);
      }
      assert_true(done);
      end(&s);
    }
}

/* A history as it is read after a restart: trials by number, each result before the first trial that was added when it was known. */
struct past {
  double points[120][SPACE_PARAMS_MAX];
  uint32_t known[120], told[120]; /* results there were when it was added; trials in the order of their results */
  uint32_t added, tells;
};

static void replay(const struct past *past, struct study *s) {
  uint32_t told = 0;
  struct err err;
  for (uint32_t n = 0; n < past->added; n++) {
    for (; told < past->known[n]; told++)
      tell(s, past->told[told], TRIAL_FINISHED, bowl(s->space, past->points[past->told[told]]));
    assert_true(history_add(s->history, n, past->points[n], NULL, &err));
  }
  for (; told < past->tells; told++)
    tell(s, past->told[told], TRIAL_FINISHED, bowl(s->space, past->points[past->told[told]]));
}

/* With points thought of at one time and added at a later one, and memory that lies elsewhere. */
static void test_a_restart_changes_no_point(void **state) {
  (void)state;
  static struct past past;
  struct rng rng = rng_seeded(11);
  struct err err;
  struct suggestion suggestion;
  struct study s = begin(mixed, SAMPLER_GP, 5, GOAL_MINIMIZE);
  uint32_t pending[8], count = 0;
  for (uint32_t n = 0; n < 100; n++) {
    double other[SPACE_PARAMS_MAX];
    void *elsewhere = mem_alloc(1 + rng_below(&rng, 5000));
    assert_true(sampler_suggest(s.sampler, n, past.points[n], &suggestion, &err));
    struct study again = begin(mixed, SAMPLER_GP, 5, GOAL_MINIMIZE);
    replay(&past, &again);
    assert_true(sampler_suggest(again.sampler, n, other, &suggestion, &err));
    for (size_t i = 0; i < space_count(s.space); i++)
      if (memcmp(&past.points[n][i], &other[i], sizeof other[i]) != 0 && !(isnan(past.points[n][i]) && isnan(other[i])))
        fail_msg("point %u, parameter %zu: %.17g, after a restart %.17g", n, i, past.points[n][i], other[i]);
    end(&again);
    mem_free(elsewhere);
    for (uint32_t k = count > 4 ? 2 : 0; k > 0 && count; k -= rng_below(&rng, 2) ? 1 : 0) { /* results while it was thought of */
      uint32_t at = (uint32_t)rng_below(&rng, count), which = pending[at];
      memmove(pending + at, pending + at + 1, (--count - at) * sizeof *pending);
      past.told[past.tells++] = which;
      tell(&s, which, TRIAL_FINISHED, bowl(s.space, past.points[which]));
    }
    past.known[n] = past.tells;
    past.added = n + 1;
    assert_true(history_add(s.history, n, past.points[n], NULL, &err));
    pending[count++] = n;
  }
  end(&s);
}

static void *think_alone(void *ret) {
  double(*points)[SPACE_PARAMS_MAX] = ret;
  struct study s = begin(mixed, SAMPLER_GP, 5, GOAL_MINIMIZE);
  for (uint32_t n = 0; n < 60; n++) {
    ask(&s, n, points[n]);
    tell(&s, n, TRIAL_FINISHED, bowl(s.space, points[n]));
  }
  end(&s);
  return NULL;
}

/* Sweeps think on several threads at once: none may see another's numbers. */
static void test_threads_do_not_meet(void **state) {
  (void)state;
  enum { THREADS = 4 };
  static double points[THREADS][60][SPACE_PARAMS_MAX];
  pthread_t threads[THREADS];
  for (size_t t = 0; t < THREADS; t++)
    assert_int_equal(pthread_create(&threads[t], NULL, think_alone, points[t]), 0);
  for (size_t t = 0; t < THREADS; t++)
    assert_int_equal(pthread_join(threads[t], NULL), 0);
  static double alone[60][SPACE_PARAMS_MAX];
  think_alone(alone);
  for (size_t t = 0; t < THREADS; t++)
    assert_memory_equal(points[t], alone, sizeof alone);
}

/* Every `stride`-th job from the first on. */
struct share_of_jobs {
  struct sampler_job **jobs;
  size_t count, stride;
  pthread_barrier_t *begin;
};

static void *run_share(void *ctx) {
  const struct share_of_jobs *share = ctx;
  pthread_barrier_wait(share->begin);
  for (size_t k = 0; k < share->count; k += share->stride)
    sampler_job_run(share->jobs[k]);
  return NULL;
}

/* The jobs of one sweep, too, come to the same on any number of threads. */
static void test_any_number_of_threads_comes_to_the_same(void **state) {
  (void)state;
  enum { JOBS = 36, THREADS_MOST = 6, BEFORE = 60 };
  static double points[2][JOBS][SPACE_PARAMS_MAX];
  static const size_t threads[] = {1, 2, 3, THREADS_MOST};
  for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
    struct study s = begin(mixed, SAMPLER_GP, 5, GOAL_MINIMIZE);
    struct sampler_job *jobs[JOBS];
    struct share_of_jobs shares[THREADS_MOST];
    pthread_t ids[THREADS_MOST];
    pthread_barrier_t begin_all;
    struct suggestion suggestion;
    struct err err;
    double point[SPACE_PARAMS_MAX];
    for (uint32_t n = 0; n < BEFORE; n++) {
      draw_allowed(s.space, 1, n, 0, NULL, point);
      assert_true(history_add(s.history, n, point, NULL, &err));
      if (n % 8)
        tell(&s, n, TRIAL_FINISHED, bowl(s.space, point));
    }
    for (uint32_t k = 0; k < JOBS; k++)
      assert_true(sampler_start(s.sampler, BEFORE + k, &jobs[k], &err));
    assert_int_equal(pthread_barrier_init(&begin_all, NULL, (unsigned)threads[i]), 0);
    for (size_t t = 0; t < threads[i]; t++) {
      shares[t] = (struct share_of_jobs){jobs + t, JOBS - t, threads[i], &begin_all};
      assert_int_equal(pthread_create(&ids[t], NULL, run_share, &shares[t]), 0);
    }
    for (size_t t = 0; t < threads[i]; t++)
      assert_int_equal(pthread_join(ids[t], NULL), 0);
    pthread_barrier_destroy(&begin_all);
    for (size_t k = 0; k < JOBS; k++) {
      assert_true(sampler_finish(s.sampler, jobs[k], points[i > 0][k], &suggestion, &err));
      assert_int_equal(suggestion.by, SAMPLER_GP);
    }
    assert_memory_equal(points[i > 0], points[0], sizeof points[0]);
    end(&s);
  }
}

/* A Gaussian process looks at the newest trials, whatever their numbers; the others look at no curve. */
static void test_curves_that_are_looked_at(void **state UNUSED) {
  for (enum sampler_type type = SAMPLER_AUTO; type < SAMPLER_GRID; type++) {
    struct study s = begin(floats, type, 1, GOAL_MINIMIZE);
    assert_int_equal(sampler_sees_curve(s.sampler, 0), type == SAMPLER_AUTO || type == SAMPLER_GP);
    assert_int_equal(sampler_sees_curve(s.sampler, 1000000), type == SAMPLER_GP);
    end(&s);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_learners_learn),
      cmocka_unit_test(test_replay),
      cmocka_unit_test(test_curves_that_are_looked_at),
      cmocka_unit_test(test_conditions_on_numbers),
      cmocka_unit_test(test_bad_results),
      cmocka_unit_test(test_stopped_dilute_nothing),
      cmocka_unit_test(test_how_many_are_good),
      cmocka_unit_test(test_startup),
      cmocka_unit_test(test_startup_with_workers),
      cmocka_unit_test(test_outlier),
      cmocka_unit_test(test_pending_points_differ),
      cmocka_unit_test(test_equal_points_count_by_their_mean),
      cmocka_unit_test(test_gp_goes_on_at_an_end),
      cmocka_unit_test(test_a_model_that_cannot_score),
      cmocka_unit_test(test_fixed_first),
      cmocka_unit_test(test_fixed_points_lose_no_turn),
      cmocka_unit_test(test_warm_start),
      cmocka_unit_test(test_auto_says_why),
      cmocka_unit_test(test_jobs),
      cmocka_unit_test(test_tpe_with_many_results),
      cmocka_unit_test(test_gp_with_many_results),
      cmocka_unit_test(test_many_dimensions),
      cmocka_unit_test(test_cmaes_converges_and_restarts),
      cmocka_unit_test(test_cmaes_knows_no_unit),
      cmocka_unit_test(test_cmaes_keeps_a_margin),
      cmocka_unit_test(test_allocation_failures),
      cmocka_unit_test(test_a_restart_changes_no_point),
      cmocka_unit_test(test_threads_do_not_meet),
      cmocka_unit_test(test_any_number_of_threads_comes_to_the_same),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
