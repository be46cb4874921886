/* Files that the job writes its metrics into: found by their globs, looked at now and then, sent home piece by piece. Which bytes are to be
 * sent is decided here, from what the service has said it has; see tracker/logs/file_reader.h for the generations. */
#ifndef WINNOW_COMPANION_METRIC_FILES_H
#define WINNOW_COMPANION_METRIC_FILES_H

#include "base/buf.h"
#include "sweeper/machine/job_file.h"

struct metric_files;

/* `job` is borrowed. Files that are older than `begun_ms` (wall clock) are not this attempt's. `generation` is that of all of them, more
 * than any that an earlier companion of the attempt can have told. NULL without memory. */
MUST_CHECK struct metric_files *metric_files_new(const struct job_file *job, int64_t begun_ms, uint64_t generation);
void metric_files_free(struct metric_files *files); /* accepts NULL */

struct metric_files_piece {
  char path[4096]; /* of the request */
  int fd;          /* the receiver's; -1: nothing but the news that it has ended */
  int64_t offset, length;
};
/* Notes what has grown and when, so that it keeps its time however long the service is away. */
void metric_files_look(struct metric_files *files);
/* Looks for something to send; false when there is nothing. `is_final`: the job is over, so everything is told, ends too. One piece is on
 * its way at a time. */
bool metric_files_next(struct metric_files *files, bool is_final, struct metric_files_piece *ret);
/* The last piece was taken, and the file goes on at `next`; METRIC_FILES_ENOUGH: no more of it. What is not answered is sent again. */
enum { METRIC_FILES_ENOUGH = -1 };
void metric_files_answered(struct metric_files *files, int64_t next);
/* Lines of the exit report: the globs that no file of the attempt matched, and those of which some were moved away too fast. */
void metric_files_report(const struct metric_files *files, struct buf *out);

#endif
