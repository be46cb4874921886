/* Search spaces and histories for tests, from JSON texts. A failure ends the test. */
#ifndef WINNOW_TESTS_SPACES_H
#define WINNOW_TESTS_SPACES_H

#include "base/json.h"
#include "sampler/sampler.h"

json_t *read_json(const char *text);
/* `whole` has the keys parameters, conditions, constraints. */
struct space *make_space(const char *whole);
/* The error's text when it fails, "" when it does not. Static memory. */
const char *space_error(const char *whole);
struct sampler *make_sampler(const struct history *history, enum sampler_type type, uint64_t seed);
/* The params of a point as compact JSON with sorted keys. Static memory. */
const char *point_text(const struct space *space, const double *point);

#endif
