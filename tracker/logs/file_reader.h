/* A metric file of a run on its way in: bytes with their place -> points, whatever the format. Pure; the state lies between any two pieces.
 *
 * A file that only grows comes in pieces, each with its offset. When it is another file now, has become shorter, or was written anew in its
 * place, it comes again from its beginning under the next generation: as long as its bytes, or at least its points, are those that were
 * read already, nothing is given twice. JSON that is written anew each time (a list, an object of several lines) comes whole. */
#ifndef WINNOW_TRACKER_FILE_READER_H
#define WINNOW_TRACKER_FILE_READER_H

#include "tracker/logs/metric_file.h"
#include "tracker/logs/metric_sources.h"

enum { FILE_READER_STATE_MAX = 2 * METRIC_FILE_STATE_MAX };

struct file_reader;

/* Of the source with that number, which has a file. `sources` outlives it. */
MUST_CHECK struct file_reader *file_reader_new(const struct metric_sources *sources, size_t source, struct err *err);
void file_reader_free(struct file_reader *reader); /* accepts NULL */

struct file_piece {
  uint64_t generation;
  int64_t offset;
  bool is_snapshot; /* the whole file: a JSON list, an object of several lines */
  bool is_last;     /* nothing follows: a last line without an end is read too */
  struct str bytes;
};

enum { FILE_READER_ENOUGH = -1 }; /* the file cannot be read: nothing more of it is wanted */

/* *ret_next: where to go on. Less than the piece's end: from there, again (what is there is not what was there). */
MUST_CHECK bool file_reader_feed(struct file_reader *reader, const struct file_piece *piece, log_metrics_sink *sink, void *ctx,
                                 int64_t *ret_next, struct err *err);
/* How many lines or records of the present file are none. */
uint64_t file_reader_bad(const struct file_reader *reader);
/* It has given points, or one that had its name before. */
bool file_reader_has_given(const struct file_reader *reader);
/* How many bytes of the present file have been read. */
int64_t file_reader_next(const struct file_reader *reader);

void file_reader_save(const struct file_reader *reader, struct buf *out);
MUST_CHECK bool file_reader_restore(struct file_reader *reader, struct str state, struct err *err);

#endif
