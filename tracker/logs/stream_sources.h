/* What a stream of output was last read with, as it is kept with the stream: {"builtin": false, "patterns": [{"pattern": …, "key": …,
 * "prefix": …}], "wanted": ["loss"]}; {} are the built-in recognisers alone. Pure. */
#ifndef WINNOW_TRACKER_STREAM_SOURCES_H
#define WINNOW_TRACKER_STREAM_SOURCES_H

#include "tracker/logs/metric_sources.h"

/* Failure is the buffer's. */
void stream_sources_put(const struct metric_sources *sources, size_t stream, struct buf *out);
/* *ret reads any stream so; NULL in it means the default. The caller owns one share. */
MUST_CHECK bool stream_sources_read(struct str text, struct metric_sources **ret, struct err *err);

#endif
