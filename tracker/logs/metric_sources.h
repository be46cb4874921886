/* Where the metrics of a run are read: patterns for its streams, and files that it writes. Immutable; shared by counting, on the loop. NULL
 * in place of one means the default: both streams, by the built-in recognisers. */
#ifndef WINNOW_TRACKER_METRIC_SOURCES_H
#define WINNOW_TRACKER_METRIC_SOURCES_H

#include "tracker/logs/log_metrics.h"

enum source_format { SOURCE_JSON, SOURCE_CSV, SOURCE_TFEVENTS, SOURCE_TEXT, SOURCE_FORMAT_COUNT };
const char *source_format_name(enum source_format format);

struct metric_source {
  const char *file; /* a path or glob below the attempt's directory; NULL: a pattern for streams */
  enum source_format format;
  bool at_end;         /* of a file: read once, when the attempt ends */
  bool streams[2];     /* of a pattern: which it reads */
  const char *pattern; /* NULL: none */
  const char *key, *prefix;
  bool
      wanted; /* one metric, `key`: only where the recognisers gave none of its name; such ones come last. Its pattern is made of the key */
};

struct metric_sources;

enum { METRIC_SOURCES_MAX = 50 };

/* Texts are copied. */
MUST_CHECK struct metric_sources *metric_sources_new(const struct metric_source *items, size_t count, bool no_builtin, struct err *err);
struct metric_sources *metric_sources_ref(struct metric_sources *sources); /* accepts NULL */
void metric_sources_unref(struct metric_sources *sources);                 /* accepts NULL */

size_t metric_sources_count(const struct metric_sources *sources);
const struct metric_source *metric_sources_at(const struct metric_sources *sources, size_t i);
bool metric_sources_no_builtin(const struct metric_sources *sources);
/* What reads a stream. `specs` is filled and referred to by *ret. */
void metric_sources_of_stream(const struct metric_sources *sources, size_t stream, struct log_pattern_spec specs[METRIC_SOURCES_MAX],
                              struct log_metrics_options *ret);
/* What reads a text file: its own pattern, and the built-in recognisers unless it has one or they are switched off. */
void metric_sources_of_file(const struct metric_sources *sources, size_t i, struct log_pattern_spec *spec, struct log_metrics_options *ret);

#endif
