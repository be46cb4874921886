/* What runs print, on its way into Postgres: each piece is compressed, read for metrics and stored together with its points and the place
 * where the stream goes on. Reading gives the bytes back.
 *
 * A writer belongs to one attempt. It takes one piece a stream at a time; compressing and reading happen on the thread pool, in order per
 * stream. All callbacks on the loop, once, never before the starter has returned. */
#ifndef WINNOW_TRACKER_LOG_STORE_H
#define WINNOW_TRACKER_LOG_STORE_H

#include "base/id.h"
#include "base/list.h"
#include "base/work.h"
#include "tracker/logs/found_points.h"
#include "tracker/logs/metric_sources.h"

struct pg_pool;
struct metric_store;
struct log_store;
struct log_writer;

enum { LOG_STREAMS = 2, LOG_PIECE_MAX = 1024 * 1024 };
enum log_stream_name { LOG_STDOUT, LOG_STDERR };
MUST_CHECK bool log_stream_parse(struct str text, enum log_stream_name *ret);

struct log_store_conf {
  struct loop *loop;
  struct work_pool *work;
  struct pg_pool *pg;
  struct metric_store *metrics;
};
/* Borrows the parts. */
MUST_CHECK struct log_store *log_store_new(const struct log_store_conf *conf, struct err *err);
void log_store_free(struct log_store *store); /* writers are gone by then; accepts NULL */

const struct log_store_conf *log_store_parts(const struct log_store *store);

/* Told whenever output of the run has been stored. Embedded in whoever watches; nothing is allocated. From `fn` nothing of the store may be
 * called, nor may it end the watch. */
struct log_watch {
  struct list_node node;
  struct id run;
  void (*fn)(void *ctx);
  void *ctx;
};
void log_store_watch(struct log_store *store, struct log_watch *watch);
void log_store_unwatch(struct log_watch *watch);

/* Points that were read and are stored; valid during the call, which comes before the write that brought them is answered. `source` tells
 * the streams and files of a run apart; the streams are enum log_stream_name. */
typedef void log_points_fn(void *ctx, uint32_t source, const struct found_point *points, size_t count);
/* `next`: where the stream goes on; err NULL: everything before it is durable. */
typedef void log_write_fn(void *ctx, int64_t next, const struct err *err);

struct log_writer_options {
  struct metric_sources *sources; /* shared */
  int64_t log_max;                /* bytes kept of the attempt; then it is cut with a mark, and read on for metrics. 0: no limit */
};
/* Finds out where the streams of the attempt stand. Writes may begin at once: they wait. `on_points` may be NULL. */
MUST_CHECK struct log_writer *log_writer_new(struct log_store *store, struct id run, int32_t attempt,
                                             const struct log_writer_options *options, log_points_fn *on_points, void *ctx,
                                             struct err *err);
/* What is in flight is answered first. Accepts NULL. */
void log_writer_close(struct log_writer *writer);

struct log_piece {
  int64_t offset, skipped;
  int64_t age_ms; /* so long ago it was printed */
  struct str bytes;
};
/* Bytes of a stream from `offset` on, at most LOG_PIECE_MAX; copied. What was stored already is passed over; a gap is refused with
 * ERR_RANGE and the offset to go on from, unless `skipped` says that these bytes before `offset` were given up. ERR_CONFLICT: a write of
 * this stream is in flight. */
MUST_CHECK bool log_writer_write(struct log_writer *writer, enum log_stream_name stream, const struct log_piece *piece, log_write_fn *done,
                                 void *ctx, struct err *err);
/* The streams are complete: the last lines, which have no end, are read. `done` as above, `next` is 0. ERR_CONFLICT as above, also while an
 * end is being stored. */
MUST_CHECK bool log_writer_finish(struct log_writer *writer, log_write_fn *done, void *ctx, struct err *err);

/* The bytes of a piece as it is stored, `size` of them; *ret_room, NULL before, is to be freed after their use. */
MUST_CHECK bool log_piece_unpack(struct str stored, bool is_packed, size_t size, char **ret_room, struct str *ret, struct err *err);

/* Bytes [from, to) as far as they are stored, at most `limit`. `from` becomes the first byte given (a gap may lie before it), `next` the
 * one after the last. */
struct log_bytes {
  int64_t from, next;
  struct str bytes;
};
typedef void log_read_fn(void *ctx, const struct log_bytes *bytes, const struct err *err);
MUST_CHECK bool log_store_read(struct log_store *store, struct id run, int32_t attempt, enum log_stream_name stream, int64_t from,
                               int64_t to, size_t limit, log_read_fn *done, void *ctx, struct err *err);

#endif
