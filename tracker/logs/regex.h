/* Regular expressions of users: PCRE2, compiled to machine code where that works, and bounded. The length of a pattern, the steps of a
 * match and its memory have limits; a match that goes beyond them is given up, does not match, and is counted. */
#ifndef WINNOW_TRACKER_REGEX_H
#define WINNOW_TRACKER_REGEX_H

#include "base/err.h"
#include "base/str.h"

enum { REGEX_GROUPS_MAX = 32, REGEX_PATTERN_MAX = 4096 };
#define REGEX_UNSET SIZE_MAX

struct regex;

/* The error says what is wrong, and at which character. */
MUST_CHECK struct regex *regex_new(const char *pattern, struct err *err);
void regex_free(struct regex *regex); /* accepts NULL */

unsigned regex_groups(const struct regex *regex);
/* The i-th named group, and its number; NULL behind the last. */
const char *regex_name(const struct regex *regex, unsigned i, unsigned *ret_number);

/* 0: no match from `from` on. Else how many groups are set, the whole match included: (*ret_at)[2 * i] to (*ret_at)[2 * i + 1], valid until
 * the next call, REGEX_UNSET for one that took no part. */
int regex_find(struct regex *regex, struct str text, size_t from, const size_t **ret_at);
uint64_t regex_given_up(const struct regex *regex);

#endif
