/* Constraints that next to nothing fulfils: the steps that see the history look at few points each, the runs between them at the rest, and
 * the points are the same however the two go. What is counted is how often the constraints are asked. */
#include <math.h>

#include "tests/support/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "sampler/lattice.h"
#include "tests/support/spaces.h"

bool __real_space_allows(const struct space *space, const double *point); // NOLINT: --wrap names them so
bool __wrap_space_allows(const struct space *space, const double *point); // NOLINT

static size_t asked;

bool __wrap_space_allows(const struct space *space, const double *point) { // NOLINT
  asked++;
  return __real_space_allows(space, point);
}

enum {
  STEP_MOST = 10000, /* of few parameters */
  BETA_STEP_MOST = 500,
};

static const char cells[] = "{\"parameters\": {\"a\": {\"min\": 0, \"max\": 999}, \"b\": {\"min\": 0, \"max\": 999}},"
                            " \"constraints\": [\"a + b < 4\"]}"; /* ten points */

struct side {
  struct space *space;
  struct history *history;
  struct sampler *sampler;
  uint32_t n;
};

static struct side begin(const char *whole, enum sampler_type type) {
  struct side s = {.space = make_space(whole)};
  struct err err;
  assert_true(history_new(s.space, GOAL_MINIMIZE, &s.history, &err));
  s.sampler = make_sampler(s.history, type, 3);
  return s;
}

static void end(struct side *s) {
  sampler_free(s->sampler), history_free(s->history), space_free(s->space);
}

static void add(struct side *s, const double *point) {
  struct err err;
  assert_true(history_add(s->history, s->n++, point, NULL, &err));
}

/* Step by step, each counted, and left after so many runs. False: no point was found, for now. */
static bool ask_in_steps(struct side *s, size_t runs, double *point, struct suggestion *ret, size_t *ret_most) {
  struct sampler_job *job;
  struct err err;
  bool settled;
  asked = 0;
  if (!sampler_start(s->sampler, s->n, &job, &err))
    return false;
  for (*ret_most = asked;; sampler_job_run(job)) {
    asked = 0;
    settled = sampler_job_settle(s->sampler, job);
    *ret_most = MAX_OF(*ret_most, asked);
    if (settled)
      break;
    if (!runs--) {
      sampler_job_leave(s->sampler, job);
      return false;
    }
    assert_true(sampler_job_is_slow(job));
  }
  asked = 0;
  bool ok = sampler_finish(s->sampler, job, point, ret, &err);
  assert_int_equal(asked, 0);
  assert_true(ok || err.code == ERR_LIMIT);
  return ok;
}

static void test_steps_are_short(void **state UNUSED) {
  static const char *const spaces[] = {
      cells,
      "{\"parameters\": {\"a\": {\"min\": 0, \"max\": 999999}, \"b\": {\"min\": 0, \"max\": 999999}}, \"constraints\": [\"a + b < 4\"]}",
      "{\"parameters\": {\"a\": {\"min\": 1, \"max\": 3000, \"log\": true}, \"b\": {\"min\": 1, \"max\": 3000}}, \"constraints\": [\"a + b > 5997\"]}",
      "{\"parameters\": {\"k\": {\"values\": [0, 1]}, \"a\": {\"min\": 0, \"max\": 99999}, \"b\": {\"min\": 0, \"max\": 99999}},"
      " \"conditions\": [{\"if\": {\"k\": 1}, \"then\": [\"b\"]}], \"constraints\": [\"a < 2\", \"b < 2\"]}",
      "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"y\": {\"min\": 0.0, \"max\": 1.0}}, \"constraints\": [\"x + y < 0.001\"]}",
  };
  static const enum sampler_type types[] = {SAMPLER_AUTO,   SAMPLER_TPE,    SAMPLER_CMAES, SAMPLER_SOBOL,
                                            SAMPLER_HALTON, SAMPLER_RANDOM, SAMPLER_GRID};
  for (size_t i = 0; i < ARRAY_LEN(spaces); i++)
    for (size_t t = 0; t < ARRAY_LEN(types); t++) {
      if (types[t] == SAMPLER_GRID && i == ARRAY_LEN(spaces) - 1)
        continue; /* a continuum has none */
      struct side s = begin(spaces[i], types[t]);
      for (int k = 0; k < 3; k++) {
        double point[3];
        struct suggestion suggestion;
        size_t most;
        if (ask_in_steps(&s, 4, point, &suggestion, &most) && suggestion.kind == SUGGESTION_POINT)
          add(&s, point);
        if (most > STEP_MOST)
          fail_msg("%s looks at %zu points of %s in one step", sampler_type_name(types[t]), most, spaces[i]);
      }
      end(&s);
    }
}

/* Where a value takes long to draw, a step draws fewer. */
static void test_steps_are_short_where_draws_are_long(void **state UNUSED) {
  static const enum sampler_type types[] = {SAMPLER_AUTO, SAMPLER_TPE, SAMPLER_CMAES, SAMPLER_HALTON, SAMPLER_RANDOM};
  for (size_t t = 0; t < ARRAY_LEN(types); t++) {
    struct side s = begin("{\"parameters\": {\"a\": {\"distribution\": \"beta\", \"a\": 0.5, \"b\": 0.5},"
                          " \"x\": {\"min\": 0.0, \"max\": 1.0}},"
                          " \"constraints\": [\"x < 0.0001\"]}",
                          types[t]);
    for (int k = 0; k < 3; k++) {
      double point[2];
      struct suggestion suggestion;
      size_t most;
      if (ask_in_steps(&s, SIZE_MAX, point, &suggestion, &most))
        add(&s, point);
      assert_true(most <= BETA_STEP_MOST);
    }
    assert_int_equal(s.n, 3);
    end(&s);
  }
}

/* The points of the space as the shuffle has them. */
static size_t list_points(const struct space *space, double (*ret)[2], size_t room) {
  struct lattice lattice;
  struct err err;
  size_t count = 0;
  assert_true(lattice_init(&lattice, space, LATTICE_ALL, &err));
  for (uint64_t i = 0; i < lattice.size; i++) {
    double point[2];
    if (!lattice_point(&lattice, shuffle_place(rng_mix(3 ^ 0x57a1c), lattice.size, i), point))
      continue;
    assert_true(count < room);
    memcpy(ret[count++], point, sizeof point);
  }
  return count;
}

static void expect(struct side *s, const double *want) {
  double point[2];
  struct suggestion suggestion;
  size_t most;
  while (!ask_in_steps(s, SIZE_MAX, point, &suggestion, &most))
    assert_true(most <= STEP_MOST); /* not yet: it goes on from there */
  assert_int_equal(suggestion.kind, want ? SUGGESTION_POINT : SUGGESTION_NONE_LEFT);
  if (!want)
    return;
  assert_memory_equal(point, want, sizeof point);
  add(s, point);
}

static void test_all_points_come_in_their_order(void **state UNUSED) {
  struct side s = begin(cells, SAMPLER_RANDOM);
  double points[16][2];
  struct err err;
  size_t count = list_points(s.space, points, ARRAY_LEN(points));
  assert_int_equal(count, 10);
  for (size_t i = 0; i < count; i++)
    expect(&s, points[i]);
  expect(&s, NULL);
  /* A point that is free again comes again, and is found where it was, without a look at what lies between. */
  assert_true(history_tell(s.history, 7, &(struct outcome){TRIAL_GONE, 0, 0}, &err));
  struct suggestion suggestion;
  double point[2];
  asked = 0;
  assert_true(sampler_suggest(s.sampler, s.n, point, &suggestion, &err));
  assert_true(asked < STEP_MOST);
  assert_memory_equal(point, points[7], sizeof point);
  add(&s, point);
  expect(&s, NULL);
  end(&s);
}

/* Who leaves has looked for the next; and two that look at the same time do not disturb one another. */
static void test_jobs_that_are_left(void **state UNUSED) {
  struct side s = begin(cells, SAMPLER_RANDOM);
  double points[16][2], point[2];
  struct suggestion suggestion;
  struct sampler_job *one, *other;
  struct err err;
  (void)!list_points(s.space, points, ARRAY_LEN(points));
  asked = 0;
  assert_true(sampler_suggest(s.sampler, 0, point, &suggestion, &err));
  size_t first = asked; /* lies far enough in the walk for several runs */
  assert_memory_equal(point, points[0], sizeof point);
  add(&s, point);
  assert_true(first > STEP_MOST);
  for (size_t i = 1; i < 10; i++) {
    assert_true(sampler_start(s.sampler, s.n, &one, &err));
    assert_true(sampler_start(s.sampler, s.n, &other, &err));
    sampler_job_run(one), sampler_job_run(other), sampler_job_run(other);
    sampler_job_leave(s.sampler, other);
    if (i % 2)
      (void)!sampler_job_settle(s.sampler, one);
    if (i % 3 == 0) {
      sampler_job_leave(s.sampler, one);
      expect(&s, points[i]);
      continue;
    }
    assert_true(sampler_finish(s.sampler, one, point, &suggestion, &err));
    assert_memory_equal(point, points[i], sizeof point);
    add(&s, point);
  }
  expect(&s, NULL);
  end(&s);
}

/* Few points: those that chance draws, then all that are left, some of which were given back; with and without a break at each step. */
static void test_steps_change_no_point(void **state UNUSED) {
  static const char *const spaces[] = {
      "{\"parameters\": {\"a\": {\"min\": 0, \"max\": 399}, \"b\": {\"min\": 0, \"max\": 399}}, \"constraints\": [\"a + b < 12\"]}",
      "{\"parameters\": {\"a\": {\"min\": 1, \"max\": 400, \"log\": true}, \"b\": {\"min\": 1, \"max\": 400}}, \"constraints\": [\"a + b > 790\"]}",
      "{\"parameters\": {\"x\": {\"min\": 0.0, \"max\": 1.0}, \"b\": {\"min\": 1, \"max\": 4000}}, \"constraints\": [\"b < 3\"]}",
      "{\"parameters\": {\"k\": {\"values\": [0, 1]}, \"a\": {\"min\": 0, \"max\": 999}, \"b\": {\"min\": 0, \"max\": 2999}},"
      " \"conditions\": [{\"if\": {\"k\": 1}, \"then\": [\"b\"]}], \"constraints\": [\"a < 9\", \"b < 9\"]}",
  };
  static const enum sampler_type types[] = {SAMPLER_TPE, SAMPLER_CMAES, SAMPLER_SOBOL, SAMPLER_RANDOM};
  for (size_t i = 0; i < ARRAY_LEN(spaces); i++)
    for (size_t t = 0; t < ARRAY_LEN(types); t++) {
      struct side a = begin(spaces[i], types[t]), b = begin(spaces[i], types[t]);
      for (uint32_t n = 0; n < 24; n++) {
        double p[3], q[3];
        struct suggestion x = {0}, y = {0};
        struct err err;
        size_t most;
        struct outcome outcome = {n % 9 ? TRIAL_FINISHED : TRIAL_GONE, n, 0};
        bool found = ask_in_steps(&a, SIZE_MAX, p, &x, &most);
        assert_int_equal(sampler_suggest(b.sampler, b.n, q, &y, &err), found);
        assert_int_equal(x.kind, y.kind);
        if (!found || x.kind == SUGGESTION_NONE_LEFT)
          break;
        assert_memory_equal(p, q, space_count(a.space) * sizeof *p);
        assert_string_equal(x.why, y.why);
        add(&a, p), add(&b, q);
        assert_true(history_tell(a.history, n, &outcome, &err) && history_tell(b.history, n, &outcome, &err));
      }
      end(&a), end(&b);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_steps_are_short),
      cmocka_unit_test(test_steps_are_short_where_draws_are_long),
      cmocka_unit_test(test_all_points_come_in_their_order),
      cmocka_unit_test(test_jobs_that_are_left),
      cmocka_unit_test(test_steps_change_no_point),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
