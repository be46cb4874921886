/* What a job uses of its machine, as series of its run: the lines that companions send, read into points. Pure.
 *
 * A line is `sample N TIME CPU% MEMORY READ WRITTEN PROCESSES`: its number in the attempt, which is the points' step, wall clock in ms,
 * then the values of the series below, in their order. Lines that begin otherwise are passed over. */
#ifndef WINNOW_SWEEPER_SYSTEM_SERIES_H
#define WINNOW_SWEEPER_SYSTEM_SERIES_H

#include "base/err.h"
#include "storage/metrics/metric_rows.h"

/* "system/": series under it are no goal metrics, and no rule looks at them. MLflow's clients use it for the same. */
#define SYSTEM_SERIES_PREFIX "system/"
enum { SYSTEM_SERIES_COUNT = 5, SYSTEM_SAMPLES_MAX = 1000 };
extern const char *const system_series_names[SYSTEM_SERIES_COUNT];

/* Adds the points of all samples; the keys are literals. A line that is not understood is an error, and so are too many. */
MUST_CHECK bool system_series_read(struct str text, struct metric_rows *rows, struct err *err);

#endif
