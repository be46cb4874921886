/* One search, asked and told by a test. What goes wrong fails the test. */
#ifndef WINNOW_TESTS_STUDY_H
#define WINNOW_TESTS_STUDY_H

#include "tests/support/spaces.h"

enum { STUDY_LEARNERS = 4 };
extern const char study_floats[], study_mixed[]; /* spaces: three numbers; with conditions and a constraint */
extern const enum sampler_type study_learners[STUDY_LEARNERS];

struct study {
  struct space *space;
  struct history *history;
  struct sampler *sampler;
};

struct study study_begin(const char *whole, enum sampler_type type, uint64_t seed, enum goal goal);
void study_end(struct study *study);
/* The point for trial n, which is in the history then. */
struct suggestion study_ask(struct study *study, uint32_t n, double *point);
/* A stopped one was so at step 3. */
void study_tell(struct study *study, uint32_t n, enum trial_state state, double value);
/* A bowl in the unit cube, away from the middle. */
double study_bowl(const struct space *space, const double *point);

#endif
