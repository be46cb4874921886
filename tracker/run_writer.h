/* Writes params and tags to runs, and points that come in the same call. Who comes while a write to the same run is on its way waits, and
 * shares the next statement and its commit with the others who do: so many clients of one run do not stand in line for its row. Each has
 * the outcome it would have had alone, in the order they came. Writes to different runs do not wait for each other. */
#ifndef WINNOW_TRACKER_RUN_WRITER_H
#define WINNOW_TRACKER_RUN_WRITER_H

#include "storage/metrics/metric_store.h"
#include "storage/pg/pg_gather.h"

struct run_writer;

/* `pool` outlives it. */
MUST_CHECK struct run_writer *run_writer_new(struct loop *loop, struct pg_pool *pool, struct err *err);
/* After the pool has been closed, before the store of metrics is freed. What still waits is told off. Accepts NULL. */
void run_writer_free(struct run_writer *writer);

/* `err`: NULL when it is written, all of it; else nothing is. `refusal`: the SQLSTATE by which the statement run_write forbade it, or "".
 */
typedef void run_written_fn(void *ctx, const char *refusal, const struct err *err);

/* To be written: the caller's, with its texts, until `done` has been called. */
struct run_words {
  struct pg_gather_item item; /* private */
  struct run_line *line;      /* private */
  bool is_alone;              /* private */
  struct id run;
  struct str params, tags; /* packed */
  bool removes;            /* tags that are null */
  int pass;                /* what the caller may write, as run_write takes it */
  /* Points, METRIC_BATCH_POINTS at most; NULL: none. Taken when run_writer_add() returns true. */
  struct metric_write *metrics;
  run_written_fn *done;
  void *ctx;
};
MUST_CHECK bool run_writer_add(struct run_writer *writer, struct run_words *words, struct err *err);

#endif
