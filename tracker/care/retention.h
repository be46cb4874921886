/* What has lain in the trash for so long is deleted for good, and what a purge did not get to is removed: a round at the start, then every
 * few minutes. */
#ifndef WINNOW_TRACKER_RETENTION_H
#define WINNOW_TRACKER_RETENTION_H

#include "tracker/care/care.h"

struct retention;

/* `keep_ms` 0: trash is kept for ever. */
MUST_CHECK struct retention *retention_new(const struct care_conf *conf, int64_t keep_ms, struct err *err);
/* The first round; the database is there. Again: does nothing. */
void retention_start(struct retention *retention);
/* Begins no further step. */
void retention_stop(struct retention *retention);
/* After the pool has been closed. Accepts NULL. */
void retention_free(struct retention *retention);

#endif
