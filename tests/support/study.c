#include "tests/support/study.h"

#include <math.h>

#include "tests/support/test.h"

const char study_floats[] =
    "{\"parameters\": {\"x\": {\"min\": -1.0, \"max\": 2.0}, \"y\": {\"min\": 1e-4, \"max\": 1.0, \"log\": true}, \"z\": {\"min\": 0.0, \"max\": 1.0}}}";
const char study_mixed[] =
    "{\"parameters\": {\"lr\": {\"min\": 1e-5, \"max\": 1.0, \"log\": true}, \"layers\": {\"min\": 1, \"max\": 8}, \"opt\": {\"values\": [\"sgd\", \"adam\", \"lion\"]},"
    "\"mom\": {\"min\": 0.0, \"max\": 0.99}, \"wide\": {\"min\": 1, \"max\": 4096, \"log\": true}}, \"conditions\": [{\"if\": {\"opt\": \"sgd\"}, \"then\": [\"mom\"]}],"
    "\"constraints\": [\"layers * wide <= 8192\"]}";
const enum sampler_type study_learners[STUDY_LEARNERS] = {SAMPLER_AUTO, SAMPLER_TPE, SAMPLER_GP, SAMPLER_CMAES};

struct study study_begin(const char *whole, enum sampler_type type, uint64_t seed, enum goal goal) {
  struct study s = {.space = make_space(whole)};
  struct err err;
  assert_true(history_new(s.space, goal, &s.history, &err));
  s.sampler = make_sampler(s.history, type, seed);
  return s;
}

void study_end(struct study *s) {
  sampler_free(s->sampler), history_free(s->history), space_free(s->space);
}

struct suggestion study_ask(struct study *s, uint32_t n, double *point) {
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

void study_tell(struct study *s, uint32_t n, enum trial_state state, double value) {
  struct err err;
  assert_true(history_tell(s->history, n, &(struct outcome){state, value, 3}, &err));
}

double study_bowl(const struct space *space, const double *point) {
  double sum = 0;
  for (size_t i = 0; i < space_count(space); i++)
    if (!isnan(point[i])) {
      double d = space_u(space, i, point[i]) - 0.3 - 0.1 * (double)(i % 4);
      sum += d * d;
    }
  return sum;
}
