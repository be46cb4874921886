/* The metric store: points of runs, in Postgres, written durably at rate and read as one series.
 *
 * A write becomes one row of metric_tail (storage/metrics/chunk_code.h) and is answered once it is durable. Writes that come while others
 * are on their way share the next statement, a few statements are on their way at once; nothing is updated and no row is locked, so writers
 * cannot block each other. In the background the points of a run are sealed into chunks. Readers see both as one
 * (storage/metrics/series_view.h).
 *
 * A delivery repeated is stored once: repeats lie in the tail until the run is sealed, readers drop them. Late and out-of-order points
 * are merged into the chunks that they fall into.
 *
 * Last values. A search needs the last value of each metric, exactly, in SQL: run.metrics, {"key": "last value, step, time, min, max,
 * count"} with blanks between, of a single point only the first three. Keeping it with every write would make one row the meeting point of
 * all writers of a run, and would cost an update of a row of some hundred bytes for each call of log-metric. So it follows the writes, by a
 * fraction of a second: the store knows which runs it is behind on, keeps what was added to them in memory, and writes one statement for
 * all of them. Whoever is about to read run.metrics calls metric_settle() first, which answers when every point acknowledged before is in
 * there, at once when nothing is missing. What is added in order is added up; anything else (late points, repeats, a new attempt, a run
 * this process has not seen, a write whose outcome is not known) makes the store derive the run's values again from what is stored. So the
 * values are exact, repeats or not. After a crash the rows past a mark say which runs may be behind; it moves on when what came before is
 * in run.metrics and sealed (storage/metrics/metric_mark.c).
 *
 * All on the loop. Callbacks are called once, never before the starter has returned; their arguments live during the call. */
#ifndef WINNOW_STORAGE_METRIC_STORE_H
#define WINNOW_STORAGE_METRIC_STORE_H

#include "base/id.h"
#include "base/loop.h"
#include "base/work.h"
#include "storage/metrics/chunk_buckets.h"
#include "storage/metrics/metric_rows.h"

struct metric_store;
struct pg_pool;
struct pg_batch;
struct pg_reply;

/* Metrics of one run: keys that are not the same. It is read and written as a whole, so it has to end somewhere. */
enum { METRIC_KEYS_MAX = 50000 };

struct metric_store_conf {
  size_t queue_bytes_max; /* of writes that wait */
  int64_t flush_ms;       /* how far run.metrics may follow behind */
  int64_t seal_idle_ms;   /* a run is sealed after so long without writes, */
  int64_t seal_age_ms;    /* or when its oldest unsealed write is so old, */
  size_t seal_points;     /* or at so many unsealed points */
  size_t seal_rows;       /* or writes */
  size_t live_series_max; /* series whose last values are kept in memory */
  size_t keys_max;        /* of a run */
  int64_t doubt_ms;       /* a write of which nothing was heard has happened after so long, or never will */
};
struct metric_store_conf metric_store_conf_default(void);

/* `work` may be NULL: everything is done on the loop. `pg` and `work` outlive the store. */
MUST_CHECK struct metric_store *metric_store_new(struct loop *loop, struct pg_pool *pg, struct work_pool *work,
                                                 const struct metric_store_conf *conf, struct err *err);
/* Takes nothing new; calls `done` when what was begun is answered and run.metrics is written. Then free. */
void metric_store_stop(struct metric_store *store, loop_fn *done, void *ctx);
/* After stop. When it could not be waited for: after the pool has been freed, before the work pool and the loop are; what is still being
 * computed is then answered with ERR_CANCELLED or what came of it. Accepts NULL. */
void metric_store_free(struct metric_store *store);

struct metric_store_stats {
  uint64_t writes, points, groups; /* acknowledged, and the statements that carried them */
  uint64_t seals, chunks, flushes, derived;
  size_t waiting, waiting_bytes, groups_in_flight, live_runs, live_series, unsealed_points;
};
struct metric_store_stats metric_store_stats(const struct metric_store *store);

/* ---- writing ---- */

/* `err` is NULL: the points are durable. */
typedef void metric_done_fn(void *ctx, const struct err *err);

/* For `attempt`, besides a number: the run's current one, and the same but only if no executor runs it. */
enum { METRIC_CURRENT = 0, METRIC_UNOWNED = -1 };

/* Stores the points of one run. ERR_NOT_FOUND: no such run; ERR_WRONG_STATE: it is deleted; ERR_FENCED: another attempt has taken over;
 * ERR_FORBIDDEN: an executor runs it; ERR_TOO_LARGE: some are of new metrics, and with those it would have more than METRIC_KEYS_MAX (what
 * is on its way at the same moment is not counted); ERR_UNKNOWN_OUTCOME: repeat it. Of a failed write nothing is stored. The rows are read
 * before this returns. */
MUST_CHECK bool metric_append(struct metric_store *store, struct id run, int32_t attempt, const struct metric_rows *rows,
                              metric_done_fn *done, void *ctx, struct err *err);

/* For what is read from jobs, whom nobody can tell of an error: of each key of the rows whether the run may have it, as far as that is known
 * at the moment. How many it may not; without these the rows may say `fits`, and are stored without asking that again. */
size_t metric_fit(const struct metric_store *store, struct id run, const struct metric_rows *rows, bool *stays);

/* The same as part of a transaction of the caller's: make, put into a batch, run the batch, then tell what came of it. */
struct metric_write;
MUST_CHECK struct metric_write *metric_write_new(struct metric_store *store, struct id run, int32_t attempt, const struct metric_rows *rows,
                                                 struct err *err);
void metric_write_put(struct metric_write *write, struct pg_batch *batch);
/* `reply` is that of the one statement put (pg_nth()), or the reply of a batch that failed, or NULL when it was never run. Frees the write
 * in any case. False: not stored, *err says why. */
MUST_CHECK bool metric_write_done(struct metric_write *write, const struct pg_reply *reply, struct err *err);

/* The same where a statement adds the write to metric_tail beside other things: what it is to add, of a write of no more than
 * METRIC_BATCH_POINTS points, and then the reply whose row begins with the columns of metric_tail_add. `data` lives as long as the write.
 */
struct metric_batch {
  int32_t attempt, points;
  struct str data;
  struct str keys;  /* as metric_tail_add takes them; STR_NONE: they need not be looked at */
  int64_t keys_max; /* of the run */
};
struct metric_batch metric_write_batch(const struct metric_write *write);
MUST_CHECK bool metric_write_done_at(struct metric_write *write, const struct pg_reply *reply, size_t row, struct err *err);

/* ---- reading ---- */

enum { METRIC_PATIENCE_MS = 10000 };

/* Calls `done` when run.metrics holds every point acknowledged before this call. `run` NULL: of all runs; one is written before others. */
MUST_CHECK bool metric_settle(struct metric_store *store, const struct id *run, metric_done_fn *done, void *ctx, struct err *err);
/* The same for who is about to write that the run is over, and calls this first when it is behind: so whoever reads the end, however, reads
 * every point that was acknowledged before it. ERR_DEADLINE after METRIC_PATIENCE_MS: then the end is written all the same. */
MUST_CHECK bool metric_settle_end(struct metric_store *store, struct id run, metric_done_fn *done, void *ctx, struct err *err);

/* Whether points of the run may be missing in run.metrics. */
bool metric_is_behind(const struct metric_store *store, struct id run);

struct metric_summary {
  struct id run;
  struct str key;
  int32_t attempt;  /* the newest that reported it */
  struct fold fold; /* of the stitched view */
};
/* `summaries` by run and key. */
typedef void metric_summaries_fn(void *ctx, const struct metric_summary *summaries, size_t count, const struct err *err);
MUST_CHECK bool metric_summaries(struct metric_store *store, const struct id *runs, size_t run_count, metric_summaries_fn *done, void *ctx,
                                 struct err *err);

/* A chart. */
enum metric_x { METRIC_X_STEP, METRIC_X_TIME, METRIC_X_RELATIVE /* ms since the run's first point among the keys asked for */ };
struct metric_series_ask {
  const struct id *runs;
  size_t run_count;
  const struct str *keys;
  size_t key_count;
  enum metric_x x;
  enum scale scale;
  bool has_from, has_to;
  int64_t from, to; /* inclusive; without them: from the first, to the last point of all series */
  size_t buckets;
  int32_t attempt; /* 0: stitched */
};
struct metric_series {
  struct id run;
  struct str key;
  int64_t origin;               /* what 0 is on the axis; x in the buckets are absolute */
  int64_t points;               /* in the range asked for */
  const struct bucket *buckets; /* those with points, in order */
  size_t bucket_count;
  size_t damaged;                   /* chunks in the range that could not be read; their points are missing */
  int64_t damaged_from, damaged_to; /* steps they span */
};
/* Series without any point are left out. By run and key. */
typedef void metric_series_fn(void *ctx, const struct metric_series *series, size_t count, const struct err *err);
MUST_CHECK bool metric_series_read(struct metric_store *store, const struct metric_series_ask *ask, metric_series_fn *done, void *ctx,
                                   struct err *err);

/* All points of one series, page after page. */
enum metric_order { METRIC_BY_TIME /* MLflow's: time, step, value */, METRIC_BY_STEP /* step, time, value */ };
struct metric_page_ask {
  struct id run;
  struct str key;
  enum metric_order order;
  int32_t attempt; /* 0: stitched */
  bool has_after;
  struct point after; /* the last point of the page before, in that order */
  int64_t from, to;   /* steps, inclusive */
  size_t limit;       /* 1 to METRIC_PAGE_MAX */
};
enum { METRIC_PAGE_MAX = 1 << 18 };
/* `more`: there are points after these. */
typedef void metric_page_fn(void *ctx, const struct points *points, bool more, const struct err *err);
MUST_CHECK bool metric_page(struct metric_store *store, const struct metric_page_ask *ask, metric_page_fn *done, void *ctx,
                            struct err *err);

/* The same, page after page, as text: what was read for one page serves the next. `render` runs on a thread: it touches nothing but its
 * arguments. */
struct metric_walk;
typedef void metric_render_fn(const void *ctx, const struct points *points, struct buf *out);
typedef void metric_walk_fn(void *ctx, struct str text, bool more, const struct err *err);
/* The run and key of `ask` are copied. */
MUST_CHECK struct metric_walk *metric_walk_new(struct metric_store *store, const struct metric_page_ask *ask, metric_render_fn *render,
                                               const void *render_ctx, struct err *err);
/* `text` is valid during the call of `done`, which asks for the next page, rests, or frees the walk: what walks keep at hand is bounded by
 * how many have their turn at once. After an error there is no next page. */
MUST_CHECK bool metric_walk_next(struct metric_walk *walk, metric_walk_fn *done, void *ctx, struct err *err);
/* Between pages. Nothing is asked for, for a while: what it keeps at hand is given back, and is read again at the next page. */
void metric_walk_rest(struct metric_walk *walk);
/* Between pages, also when the store is gone. Accepts NULL. */
void metric_walk_free(struct metric_walk *walk);

/* ---- care ---- */

/* Seals what can be sealed of the runs written to, now. For tests, backups and shutdown at leisure. */
MUST_CHECK bool metric_seal_all(struct metric_store *store, metric_done_fn *done, void *ctx, struct err *err);

struct metric_damage {
  struct id run;
  struct str key; /* STR_NONE: unsealed points of any key */
  int64_t id;     /* of the chunk or row */
  int64_t first_step, last_step;
  const char *text;
};
struct metric_fsck_report {
  uint64_t chunks, rows, points, damaged;
};
typedef void metric_damage_fn(void *ctx, const struct metric_damage *damage);
/* `more`: there are further steps. */
typedef void metric_fsck_fn(void *ctx, const struct metric_fsck_report *report, bool more, const struct err *err);
/* Reads everything and compares: checksums, order, that summaries agree with points, that chunks do not overlap. A step at a time, so that
 * whoever drives it may pause or end it; the store is written to meanwhile. `on_damage` is called during steps, with their context. */
struct metric_fsck;
MUST_CHECK struct metric_fsck *metric_fsck_new(struct metric_store *store, metric_damage_fn *on_damage, struct err *err);
MUST_CHECK bool metric_fsck_step(struct metric_fsck *fsck, metric_fsck_fn *done, void *ctx, struct err *err);
/* Between steps, also when the store is gone. Accepts NULL. */
void metric_fsck_free(struct metric_fsck *fsck);

#endif
