/* Spaces of finitely many points, with conditions: every method proposes each point at most once, also with many trials under way, and says
 * so when all have been tried. */
#include <math.h>

#include "tests/support/test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "sampler/branch.h"
#include "tests/support/spaces.h"

enum { WORKERS = 8, PARAMS_MOST = 6, POINTS_MOST = 40 };

static const enum sampler_type methods[] = {SAMPLER_RANDOM, SAMPLER_SOBOL, SAMPLER_HALTON, SAMPLER_TPE,
                                            SAMPLER_GP,     SAMPLER_CMAES, SAMPLER_AUTO,   SAMPLER_GRID};

/* ---- spaces ---- */

static void put_param(struct buf *out, struct rng *rng, size_t i, bool is_number) {
  unsigned cells = 2 + (unsigned)rng_below(rng, 3);
  buf_printf(out, "%s\"p%zu\": ", i ? ", " : "", i);
  switch (is_number ? 0 : rng_below(rng, 5)) {
  case 0:
    buf_printf(out, "{\"min\": 0, \"max\": %u}", cells - 1);
    break;
  case 1:
    buf_printf(out, "{\"min\": 0.0, \"max\": %g, \"step\": 0.25}", 0.25 * (cells - 1));
    break;
  case 2:
    buf_puts(out, "{\"values\": [0, 1, 2], \"probabilities\": [0.9, 0.08, 0.02]}");
    break;
  case 3:
    buf_puts(out, "{\"value\": 0}");
    break;
  default:
    buf_puts(out, "{\"values\": [0, 1");
    for (unsigned k = 2; k < cells; k++)
      buf_printf(out, ", %u", k);
    buf_puts(out, "]}");
  }
}

/* A few parameters; most of the later ones are in use only where an earlier one has one of its values, and sometimes there is a constraint.
 */
static void make_random_space(struct buf *out, uint64_t seed, bool numbers_alone) {
  struct rng rng = rng_seeded(seed);
  size_t count = 2 + (size_t)rng_below(&rng, PARAMS_MOST - 1);
  AUTO_BUF struct buf conditions = BUF_INIT(4 * KIB);
  buf_puts(out, "{\"parameters\": {");
  for (size_t i = 0; i < count; i++) {
    put_param(out, &rng, i, numbers_alone);
    if (numbers_alone || !i || rng_below(&rng, 4) == 0)
      continue;
    size_t parent = (size_t)rng_below(&rng, i);
    buf_printf(&conditions, "%s{\"if\": \"p%zu %s\", \"then\": [\"p%zu\"]}", conditions.n ? ", " : "", parent,
               rng_below(&rng, 2) ? "< 0.3" : "> 0.3", i);
  }
  buf_printf(out, "}, \"conditions\": [%s]", conditions.n ? buf_text(&conditions) : "");
  if (rng_below(&rng, 3) == 0)
    buf_printf(out, ", \"constraints\": [\"p0 + p%zu != 1\"]", count - 1);
  buf_puts(out, "}");
}

/* How many points it has: all cells, settled, each once. */
static size_t count_points(const struct space *space) {
  struct history *seen;
  struct err err;
  assert_true(history_new(space, GOAL_MINIMIZE, &seen, &err));
  for (uint64_t cell = 0; cell < space_size(space); cell++) {
    double point[SPACE_PARAMS_MAX];
    uint64_t rest = cell;
    for (size_t i = 0; i < space_count(space); i++) {
      point[i] = space_cell_value(space, i, rest % space_param(space, i)->cells);
      rest /= space_param(space, i)->cells;
    }
    space_settle(space, point);
    if (space_allows(space, point) && !history_has(seen, point))
      assert_true(history_add(seen, (uint32_t)history_count(seen), point, NULL, &err));
  }
  size_t count = history_count(seen);
  history_free(seen);
  return count;
}

/* ---- sweeps ---- */

struct sweep {
  struct space *space;
  struct history *history;
  struct sampler *sampler;
  struct rng rng;
  uint32_t asked;
  size_t gone, by_chance; /* trials that gave their point back; points that came from no model */
};

static struct sweep begin(const char *whole, enum sampler_type type, uint64_t seed) {
  struct sweep s = {.space = make_space(whole), .rng = rng_seeded(seed)};
  struct err err;
  assert_true(history_new(s.space, GOAL_MINIMIZE, &s.history, &err));
  s.sampler = make_sampler(s.history, type, seed);
  return s;
}

static void end(struct sweep *s) {
  sampler_free(s->sampler), history_free(s->history), space_free(s->space);
}

/* False: nothing is left. */
static bool ask(struct sweep *s, struct sampler_job *job) {
  double point[SPACE_PARAMS_MAX];
  struct suggestion suggestion;
  struct err err;
  if (!(job ? sampler_finish(s->sampler, job, point, &suggestion, &err) : sampler_suggest(s->sampler, s->asked, point, &suggestion, &err)))
    fail_msg("after %u points: %s", (unsigned)s->asked, err.text);
  if (suggestion.kind == SUGGESTION_NONE_LEFT)
    return false;
  assert_false(history_has(s->history, point));
  assert_true(space_has_point(s->space, point, &err) && space_allows(s->space, point));
  assert_true(history_add(s->history, s->asked++, point, NULL, &err));
  s->by_chance += suggestion.by == SAMPLER_RANDOM;
  return true;
}

static void tell_any(struct sweep *s) {
  struct err err;
  size_t trial = history_pending_at(s->history, (size_t)rng_below(&s->rng, history_pending(s->history)));
  uint64_t kind = rng_below(&s->rng, 12);
  enum trial_state state = kind == 0 ? TRIAL_FAILED : kind == 1 ? TRIAL_STOPPED : kind == 2 ? TRIAL_GONE : TRIAL_FINISHED;
  s->gone += state == TRIAL_GONE;
  assert_true(history_tell(s->history, (uint32_t)trial, &(struct outcome){state, (double)rng_below(&s->rng, 20), 1}, &err));
}

/* Several are under way, some of them thought of at the same time; results come in any order. Returns how many points had a trial that was
 * not taken back. */
static size_t run_dry(struct sweep *s, size_t workers) {
  for (bool any_left = true; any_left || history_pending(s->history);) {
    struct sampler_job *jobs[2];
    struct err err;
    if (history_pending(s->history) == workers || !any_left)
      tell_any(s), any_left = true;
    else if (history_pending(s->history) + 2 > workers || rng_below(&s->rng, 3))
      any_left = ask(s, NULL);
    else {
      for (uint32_t k = 0; k < 2; k++)
        assert_true(sampler_start(s->sampler, s->asked + k, &jobs[k], &err));
      any_left = ask(s, jobs[0]);
      if (any_left)
        any_left = ask(s, jobs[1]);
      else
        sampler_job_drop(jobs[1]);
    }
  }
  return s->asked - s->gone;
}

static void test_random_spaces_are_used_up_once(void **state UNUSED) {
  size_t conditional = 0;
  for (uint64_t seed = 0; seed < 60; seed++)
    for (size_t m = 0; m < ARRAY_LEN(methods); m++) {
      AUTO_BUF struct buf whole = BUF_INIT(16 * KIB);
      make_random_space(&whole, seed, methods[m] == SAMPLER_CMAES);
      struct sweep s = begin(buf_text(&whole), methods[m], seed);
      size_t points = count_points(s.space), found = points > POINTS_MOST ? points : run_dry(&s, seed % 2 ? WORKERS : 1);
      if (found != points)
        fail_msg("%s proposed %zu of %zu points of %s", sampler_type_name(methods[m]), found, points, buf_text(&whole));
      conditional += points <= POINTS_MOST && space_is_conditional(s.space);
      end(&s);
    }
  assert_true(conditional > 150);
}

/* `levels` choices below one another, of which each leaves the tree by all values but one: 8^levels cells, 7 levels + 1 points. */
static void make_comb(struct buf *out, int levels) {
  buf_puts(out, "{\"parameters\": {");
  for (int i = 0; i < levels; i++)
    buf_printf(out, "%s\"k%d\": {\"values\": [\"on\", 1, 2, 3, 4, 5, 6, 7]}", i ? ", " : "", i);
  buf_puts(out, "}, \"conditions\": [");
  for (int i = 1; i < levels; i++)
    buf_printf(out, "%s{\"if\": {\"k%d\": \"on\"}, \"then\": [\"k%d\"]}", i > 1 ? ", " : "", i - 1, i);
  buf_puts(out, "]}");
}

/* Most points are so deep that chance hardly ever finds them; and there are more cells than can be numbered. */
static void test_deep_trees_are_used_up_once(void **state UNUSED) {
  static const int depths[] = {3, 9, 21};
  for (size_t d = 0; d < ARRAY_LEN(depths); d++)
    for (size_t m = 0; m < ARRAY_LEN(methods); m++) {
      AUTO_BUF struct buf whole = BUF_INIT(16 * KIB);
      if (methods[m] == SAMPLER_CMAES || methods[m] == SAMPLER_GRID)
        continue; /* the one knows no conditions, the other numbers its cells */
      if (depths[d] > 20 && (methods[m] == SAMPLER_GP || methods[m] == SAMPLER_AUTO))
        continue; /* thinks long of so many parameters, and of nothing new */
      make_comb(&whole, depths[d]);
      struct sweep s = begin(buf_text(&whole), methods[m], d);
      assert_int_equal(run_dry(&s, WORKERS), 7 * depths[d] + 1);
      end(&s);
    }
}

/* A choice of models, the first the best, each with a depth of its own: of `few` values, but the last one of `last`. */
static struct sweep begin_models(int models, int few, int last) {
  AUTO_BUF struct buf whole = BUF_INIT(128 * KIB);
  buf_puts(&whole, "{\"parameters\": {\"model\": {\"values\": [\"m0\"");
  for (int i = 1; i < models; i++)
    buf_printf(&whole, ", \"m%d\"", i);
  buf_puts(&whole, "]}");
  for (int i = 0; i < models; i++)
    buf_printf(&whole, ", \"depth%d\": {\"min\": 1, \"max\": %d}", i, i == models - 1 ? last : few);
  buf_puts(&whole, "}, \"conditions\": [");
  for (int i = 0; i < models; i++)
    buf_printf(&whole, "%s{\"if\": {\"model\": \"m%d\"}, \"then\": [\"depth%d\"]}", i ? ", " : "", i, i);
  buf_puts(&whole, "]}");
  return begin(buf_text(&whole), SAMPLER_TPE, 1);
}

/* TPE goes on where the good branches, which have a few points each, are used up: in what it thinks of the others, and not by chance. */
static void test_tpe_goes_on_in_other_branches(void **state UNUSED) {
  static const struct { int models, few, last, asked; } rows[] = {{12, 3, 1000000, 150}, {400, 2, 2, 800}};
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    struct sweep s = begin_models(rows[i].models, rows[i].few, rows[i].last);
    size_t of_few = 0;
    for (int n = 0; n < rows[i].asked; n++) {
      struct err err;
      assert_true(ask(&s, NULL));
      double model = history_point(s.history, (size_t)n)[space_find(s.space, STR("model"))];
      assert_true(history_tell(s.history, (uint32_t)n, &(struct outcome){TRIAL_FINISHED, model, 0}, &err));
      of_few += model < rows[i].models - 1;
    }
    assert_int_equal(of_few, (rows[i].models - 1) * rows[i].few); /* all there are */
    assert_int_equal(s.by_chance, 0);
    end(&s);
  }
}

/* ---- branches ---- */

static void test_branches(void **state UNUSED) {
  struct space *space = make_space(
      "{\"parameters\": {\"a\": {\"values\": [\"x\", \"y\"]}, \"b\": {\"min\": 1, \"max\": 3}, \"c\": {\"min\": 1, \"max\": 2}, \"r\": {\"min\": 0.0, \"max\": 1.0}},"
      "\"conditions\": [{\"if\": {\"a\": \"x\"}, \"then\": [\"b\", \"c\"]}, {\"if\": {\"a\": \"y\"}, \"then\": [\"r\"]}], \"constraints\": [\"b + c < 5\"]}");
  struct history *history;
  struct rng rng = rng_seeded(1);
  struct err err;
  assert_true(history_new(space, GOAL_MINIMIZE, &history, &err));
  double finite[4] = {0, NAN, NAN, NAN}, deeper[4] = {0, 2, NAN, NAN}, endless[4] = {1, NAN, NAN, NAN}, open[4] = {NAN, NAN, NAN, NAN};
  double point[4];
  for (uint32_t n = 0; n < 5; n++) { /* 3 times 2 less one */
    assert_int_equal(branch_look(history, finite, &rng, 100, point), BRANCH_LEFT);
    assert_true(point[0] == 0 && isnan(point[3]) && !history_has(history, point) && space_allows(space, point));
    assert_true(history_add(history, n, point, NULL, &err));
  }
  assert_int_equal(branch_look(history, finite, &rng, 100, point), BRANCH_USED_UP);
  assert_int_equal(branch_look(history, finite, &rng, 6, point), BRANCH_USED_UP);
  assert_int_equal(branch_look(history, finite, &rng, 5, point), BRANCH_UNKNOWN);
  assert_int_equal(branch_look(history, deeper, &rng, 100, point), BRANCH_USED_UP);
  for (uint32_t n = 5; n < 50; n++) {
    assert_int_equal(branch_look(history, n % 2 ? endless : open, &rng, 100, point), BRANCH_LEFT);
    assert_true(point[0] == 1 && isnan(point[1]) && isnan(point[2]));
    assert_true(history_add(history, n, point, NULL, &err));
  }
  assert_true(history_tell(history, 3, &(struct outcome){TRIAL_GONE, 0, 0}, &err));
  assert_int_equal(branch_look(history, finite, &rng, 100, point), BRANCH_LEFT);
  assert_true(space_same(space, point, history_point(history, 3)));
  history_free(history), space_free(space);
  space = make_space("{\"parameters\": {\"r\": {\"min\": 0.0, \"max\": 1.0}}, \"constraints\": [\"r > 2\"]}");
  assert_true(history_new(space, GOAL_MINIMIZE, &history, &err));
  assert_int_equal(branch_look(history, open, &rng, 100, point), BRANCH_UNKNOWN); /* others of the continuum were not looked at */
  history_free(history), space_free(space);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_branches),
      cmocka_unit_test(test_random_spaces_are_used_up_once),
      cmocka_unit_test(test_deep_trees_are_used_up_once),
      cmocka_unit_test(test_tpe_goes_on_in_other_branches),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
