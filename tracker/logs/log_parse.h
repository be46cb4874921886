/* Lines of a training log -> points of its metrics, for any framework. Pure: a line in, points out; what earlier lines said (the epoch, a
 * table's columns, the section) is carried in the parser, which can be written down after any line and restored.
 *
 * Names are kept as printed. Where two series would share one, words that the log itself gives keep them apart: the section before or on
 * the line ("Test Loss"), the running average in parentheses ("Loss avg"), the level of a line ("loss (epoch)" beside "loss" per step). */
#ifndef WINNOW_TRACKER_LOG_PARSE_H
#define WINNOW_TRACKER_LOG_PARSE_H

#include "base/buf.h"
#include "base/err.h"

enum { LOG_POINTS_MAX = 1024, LOG_NAME_MAX = 160 };

struct log_point {
  struct str key;  /* the series; valid until the next call */
  struct str name; /* the name alone, as printed, without section and level */
  double value;
  double step, epoch; /* as printed or carried from an earlier line; NAN: the log does not say */
  int64_t at;         /* the step to store: never goes back within a series */
  uint64_t line;      /* physical line of the value */
  int64_t time_ms;    /* since 1970, when a user's pattern reads it; else 0 */
  bool percent;
  bool aux; /* a time, speed or size; only with want_aux */
};

struct log_parse_options {
  bool want_aux; /* times, speeds and sizes that stand beside metrics are points too */
};

struct log_parse;

MUST_CHECK struct log_parse *log_parse_new(const struct log_parse_options *options, struct err *err); /* NULL: the defaults */
void log_parse_free(struct log_parse *parse);                                                         /* accepts NULL */

/* The next line, as a line_reader shows it. Returns how many points it gave; *ret is valid until the next call. Points of something that
 * goes over several lines (a dict, a boxed table) come with its last line. */
size_t log_parse_line(struct log_parse *parse, struct str text, uint64_t number, const struct log_point **ret);
/* At the end of the log: what was still being collected. */
size_t log_parse_end(struct log_parse *parse, const struct log_point **ret);

/* A dict in JSON or Python notation that is a record of a metric file: every number in it is a point, under its own name. */
size_t log_parse_record(struct log_parse *parse, struct str text, uint64_t number, const struct log_point **ret);
/* A point found by other means (key, value, step, epoch are set): counts it into its series and sets `at`. When neither
 * step nor epoch is said, they are those of the line last read. False when there are too many series. */
bool log_parse_count(struct log_parse *parse, struct log_point *point);

/* What was recognised: `Train Epoch style, 3 metrics`; "nothing yet" at the start. */
void log_parse_summary(const struct log_parse *parse, char *out, size_t room);
/* How many series there are. */
size_t log_parse_series(const struct log_parse *parse);

/* The state between two lines, and back. A parser is large (half a megabyte), its state small: one parser may serve many streams in turn. A
 * state that cannot be right fails with ERR_INVALID and leaves the parser as it was. */
void log_parse_save(const struct log_parse *parse, struct buf *out);
MUST_CHECK bool log_parse_restore(struct log_parse *parse, struct str state, struct err *err);

#endif
