/* The metrics of one stream of output: bytes -> lines -> points, by the built-in recognisers and the user's patterns. Pure. The state lies
 * between any two pieces of bytes, so it can be stored with each piece and parsing goes on there after a restart. */
#ifndef WINNOW_TRACKER_LOG_METRICS_H
#define WINNOW_TRACKER_LOG_METRICS_H

#include "tracker/logs/log_parse.h"
#include "tracker/logs/log_pattern.h"

enum { LOG_METRICS_PATTERNS_MAX = 64, LOG_METRICS_STATE_MAX = 512 * 1024 };

struct log_metrics_options {
  bool no_builtin; /* only the patterns */
  struct log_parse_options parse;
  const struct log_pattern_spec *patterns; /* compiled, not kept */
  size_t pattern_count;
  size_t
      wanted_count; /* so many of the last patterns look for one metric each, `key`, on lines where the recognisers gave none of its name */
};

struct log_metrics;

MUST_CHECK struct log_metrics *log_metrics_new(const struct log_metrics_options *options, struct err *err);
void log_metrics_free(struct log_metrics *metrics); /* accepts NULL */

/* Called for each line with points, in order, within log_metrics_feed(); false ends the feeding with *err as the callback set it. The
 * points are valid during the call. */
typedef bool log_metrics_sink(void *ctx, const struct log_point *points, size_t count, struct err *err);

/* The next bytes of the stream. After a failure the state is not good for more. */
MUST_CHECK bool log_metrics_feed(struct log_metrics *metrics, struct str bytes, log_metrics_sink *sink, void *ctx, struct err *err);
/* The stream has ended: a last line without an end, a table without a last rule. */
MUST_CHECK bool log_metrics_end(struct log_metrics *metrics, log_metrics_sink *sink, void *ctx, struct err *err);

void log_metrics_summary(const struct log_metrics *metrics, char *out, size_t room);
/* How many series the built-in recognisers found. */
size_t log_metrics_series(const struct log_metrics *metrics);
/* Characters of overlong lines that were not read. */
uint64_t log_metrics_lost(const struct log_metrics *metrics);

void log_metrics_save(const struct log_metrics *metrics, struct buf *out);
/* The patterns need not be those of the time of saving. */
MUST_CHECK bool log_metrics_restore(struct log_metrics *metrics, struct str state, struct err *err);

#endif
