/* Users' patterns for metrics in logs (PCRE2). Named groups: `name value step epoch time` are reserved, every other group is a key of its
 * own; `key` names what a single `value` group (or, without named groups, the first group) gives. A pattern that takes too long on a line
 * does not match there, and that is counted. */
#ifndef WINNOW_TRACKER_LOG_PATTERN_H
#define WINNOW_TRACKER_LOG_PATTERN_H

#include "base/err.h"
#include "base/str.h"

struct log_pattern_spec {
  const char *pattern;
  const char *key;    /* NULL: the pattern's own names */
  const char *prefix; /* put before every key; NULL: nothing */
  const char *when;   /* a second pattern that must also match somewhere on the line; NULL: always */
};

struct log_pattern;

/* Compiles; the error says where the pattern is wrong. The spec's strings are copied. */
MUST_CHECK struct log_pattern *log_pattern_new(const struct log_pattern_spec *spec, struct err *err);
void log_pattern_free(struct log_pattern *pattern); /* accepts NULL */

enum { LOG_PATTERN_HITS_MAX = 64 };

struct log_pattern_hit {
  struct str key; /* with its prefix; valid until the next call */
  double value;
  double step, epoch; /* NAN: not said */
  int64_t time_ms;    /* 0: not said */
};

/* Every match on the line. Returns the number of hits, at most LOG_PATTERN_HITS_MAX. */
size_t log_pattern_match(struct log_pattern *pattern, struct str line, const struct log_pattern_hit **ret);

/* The text that every match contains, found in the pattern; empty when there is none. A block of lines without it need not be split. */
struct str log_pattern_literal(const struct log_pattern *pattern);
/* Lines on which the match was given up. */
uint64_t log_pattern_given_up(const struct log_pattern *pattern);

#endif
