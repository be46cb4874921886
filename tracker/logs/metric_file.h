/* Files of metrics that a job writes: JSON lines, a JSON list (Chainer's `log`) or object over several lines, CSV, TensorBoard event files.
 * Pure readers.
 *
 * Files that only grow are fed piece by piece (METRIC_JSONL, METRIC_CSV, METRIC_TFEVENTS); the state lies between any two pieces. A JSON
 * list or object is written anew each time, so it comes whole, and what was in it before is not given again. */
#ifndef WINNOW_TRACKER_METRIC_FILE_H
#define WINNOW_TRACKER_METRIC_FILE_H

#include "tracker/logs/log_metrics.h"

enum metric_format { METRIC_JSONL, METRIC_JSON, METRIC_CSV, METRIC_TFEVENTS, METRIC_FORMAT_COUNT };

enum { METRIC_LINE_MAX = 1024 * 1024, METRIC_FILE_STATE_MAX = METRIC_LINE_MAX + LOG_METRICS_STATE_MAX };

struct metric_file;

/* `prefix` is put before every key; NULL: nothing. Keys are those of the file, nested ones joined by '/'. */
MUST_CHECK struct metric_file *metric_file_new(enum metric_format format, const char *prefix, struct err *err);
void metric_file_free(struct metric_file *file); /* accepts NULL */

/* The next bytes of a growing file. `line` of the points is the line or record, from 1. Lines that are no records are counted as bad and
 * passed over; a TensorBoard file whose checksum is wrong fails with ERR_INVALID, and nothing after it can be read. */
MUST_CHECK bool metric_file_feed(struct metric_file *file, struct str bytes, log_metrics_sink *sink, void *ctx, struct err *err);
/* Growing files: a last line without an end is read too. */
MUST_CHECK bool metric_file_end(struct metric_file *file, log_metrics_sink *sink, void *ctx, struct err *err);

/* The whole of a JSON list, or an object, which is a list of one: another one is its next report. Elements that are the same as at the last
 * call are not given again, as long as all before them are the same; `line` of the points is the element, from 1. A list that is cut off,
 * since it is being written, gives its complete elements. */
MUST_CHECK bool metric_file_snapshot(struct metric_file *file, struct str content, log_metrics_sink *sink, void *ctx, struct err *err);

/* Lines and records that could not be read. */
uint64_t metric_file_bad(const struct metric_file *file);

void metric_file_save(const struct metric_file *file, struct buf *out);
MUST_CHECK bool metric_file_restore(struct metric_file *file, struct str state, struct err *err);

#endif
