/* What the job leaves behind and is to be kept: the files that globs name, found once when it is over, sent home one after the other. */
#ifndef WINNOW_COMPANION_ARTIFACTS_H
#define WINNOW_COMPANION_ARTIFACTS_H

#include "base/buf.h"
#include "sweeper/machine/job_file.h"

enum { ARTIFACT_FILES_MAX = 10000 };

struct artifacts;

/* Looks for them. `job` is borrowed. NULL without memory. */
MUST_CHECK struct artifacts *artifacts_new(const struct job_file *job);
void artifacts_free(struct artifacts *artifacts); /* accepts NULL */

struct artifact_piece {
  char path[4096]; /* below the run's artifacts, as it goes into a request */
  int fd;          /* the receiver's */
  int64_t length;
};
/* The next one that can be read; false when all are done. The same again until artifacts_done(). */
bool artifacts_next(struct artifacts *artifacts, struct artifact_piece *ret);
/* The one given out is stored, or `why` not. */
void artifacts_done(struct artifacts *artifacts, const char *why);

/* Lines of the exit report. */
void artifacts_report(const struct artifacts *artifacts, struct buf *out);

#endif
