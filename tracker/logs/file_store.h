/* Metric files of runs on their way into Postgres: where a file stands, the state of its reader and the points read from a piece are stored
 * in one transaction. Nothing of a file is kept in memory between two pieces. Its bytes are not stored. */
#ifndef WINNOW_TRACKER_FILE_STORE_H
#define WINNOW_TRACKER_FILE_STORE_H

#include "tracker/logs/file_reader.h"
#include "tracker/logs/log_store.h"

enum { FILE_PATH_MAX = 1000, FILE_PIECE_MAX = 8 * 1024 * 1024 };

struct file_store_piece {
  struct id run;
  int32_t attempt;
  struct metric_sources *sources;
  size_t source;   /* which of them the file belongs to */
  struct str path; /* as the job names it; never opened here */
  int64_t age_ms;  /* so long ago it was written: the time of points that say none */
  struct file_piece piece;
};

/* That of a write of output (`next` as file_reader_feed() says; err NULL: everything before it is durable); and whether the file has given
 * points so far. */
typedef void file_piece_fn(void *ctx, int64_t next, bool has_given, const struct err *err);
/* Stores one piece; everything is copied. One at a time for a file. `on_points` may be NULL. Callbacks on the loop, once, never before
 * this has returned. */
MUST_CHECK bool file_store_piece(struct log_store *store, const struct file_store_piece *piece, log_points_fn *on_points, void *points_ctx,
                                 file_piece_fn *done, void *ctx, struct err *err);

#endif
