/* The parts of the metric store, for storage/metrics/metric_*.c only; each calls those above it.
 *   metric_op.c       operations: statements, computations, and when none is left
 *   metric_mark.c     up to where the tail is at rest
 *   metric_pack.c     one write, as it goes into the tail
 *   metric_runs.c     the runs of which something is known
 *   metric_limit.c    how many metrics a run may have
 *   metric_load.c     reading what is stored: chunks, tails, pieces
 *   metric_live.c     last values: what run.metrics is behind on, and settling it
 *   metric_seal.c     from the tail into chunks
 *   metric_write.c    writes, in groups
 *   metric_replace.c  other points in place of those of an attempt
 *   metric_read.c     summaries, charts
 *   metric_page.c     all points of a series, page after page
 *   metric_fsck.c
 *   metric_store.c    its life */
#ifndef WINNOW_STORAGE_METRIC_INSIDE_H
#define WINNOW_STORAGE_METRIC_INSIDE_H

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "storage/metrics/metric_store.h"
#include "storage/metrics/series_view.h"
#include "storage/pg/pg.h"
#include "storage/pg/pg_gather.h"

enum { CODERS_MAX = 8 };

/* Up to which id the rows of the tail are at rest: sealed or as good as sealed, and in run.metrics. The next process looks at those after
 * it. */
struct metric_mark {
  int64_t at;     /* as far as this process knows */
  int64_t seen;   /* the greatest id that was stored */
  int64_t next;   /* what it is to become; 0: nothing yet */
  bool all_known; /* every row up to `next` is known of, since `since_ms`: what came until then is to be at rest first */
  int64_t since_ms;
  bool in_doubt; /* until `doubt_ms` there may come rows that nothing is known of: then they are asked for */
  int64_t doubt_ms;
  unsigned turn;       /* 0 or 1; writes that began before `next` was seen are of the other one */
  size_t under_way[2]; /* writes of each turn */
  bool is_moving;
};

struct metric_store {
  struct loop *loop;
  struct pg_pool *pg; /* NULL once the store has been given up */
  struct work_pool *work;
  struct metric_store_conf conf;
  struct metric_store_stats stats;
  struct column_coder *coders[CODERS_MAX]; /* at rest */
  size_t coder_count;

  struct pg_gather gather; /* of metric_write */
  struct loop_defer flush, seal_now;

  struct map runs;              /* id bytes -> live_run */
  struct list by_use;           /* of live_run, least recently used first */
  struct list bare;             /* of live_run: only known because they have unsealed points */
  struct list dirty;            /* of live_run */
  struct list unsealed;         /* of live_run, those that have waited longest first */
  struct list waiters;          /* for the next flush */
  struct list flushing;         /* waiters of the one that runs */
  bool is_unsure; /* what is unsealed, and maybe not in run.metrics, is not all known: until it is nothing is settled */
  bool is_asking; /* for that */
  bool is_flushing;
  uint64_t cycle; /* of flushing */
  struct loop_timer *flush_timer, *seal_timer;

  unsigned seals; /* running */
  struct list seal_waiters;
  struct metric_mark mark;

  unsigned walks; /* whose turn it is */
  struct list walks_waiting;

  size_t operations; /* begun and not answered */
  bool stopping;
  loop_fn *stopped;
  void *stopped_ctx;
  loop_fn *at_rest; /* called with the store at the end of the turn in which the last operation ends; NULL: nothing waits for that */
  struct loop_defer rest;
};

/* ---- operations ---- */

/* Every operation is counted from its start to its answer; the store stops when none is left. */
void metric_op_begin(struct metric_store *store);
void metric_op_end(struct metric_store *store);
/* As pg_run() and pg_run_batch(). */
MUST_CHECK bool metric_run(struct metric_store *store, struct pg_args *args, int64_t timeout_ms, pg_done_fn *done, void *ctx,
                           struct err *err);
MUST_CHECK bool metric_run_batch(struct metric_store *store, struct pg_batch *batch, int64_t timeout_ms, pg_done_fn *done, void *ctx,
                                 struct err *err);
/* NULL without memory. Given back by the loop's thread. */
struct column_coder *metric_coder_take(struct metric_store *store);
void metric_coder_give(struct metric_store *store, struct column_coder *coder);
/* Runs on the pool, or at the end of the turn when there is none (or it is full). `work` as in work_submit(); its `done` ends with
 * metric_op_end(). */
void metric_compute(struct metric_store *store, struct work *work, struct loop_defer *instead);

/* ---- the mark ---- */

/* Around whatever adds writes to the tail, until its runs are known to be behind. */
unsigned metric_mark_begin(struct metric_store *store);
void metric_mark_end(struct metric_store *store, unsigned turn);
void metric_mark_saw(struct metric_store *store, int64_t id);
/* Something may have been written, or may yet be, that is not known of: some time later the store is unsure. */
void metric_mark_doubt(struct metric_store *store);
/* Now and then. It may leave the store unsure: then what is unsealed is to be asked for. */
void metric_mark_tick(struct metric_store *store);

/* ---- one write ---- */

struct metric_delta {
  struct str key;
  struct fold fold;
  bool in_order; /* each point greater than the one before */
};

struct metric_part {
  size_t at, n; /* bytes */
  int32_t points;
  int64_t id; /* once stored */
};

struct metric_write {
  unsigned turn;              /* of the mark */
  struct pg_gather_item item; /* its node also serves lists of those that are stored */
  struct metric_store *store;
  struct id run;
  int32_t attempt;
  struct metric_part *parts;
  size_t part_count;
  struct buf bytes;
  struct buf keys; /* {"key": null}, where the database is to count those of the run; else empty */
  struct metric_delta *deltas;
  size_t delta_count;
  char *key_text;
  int64_t points;
  metric_done_fn *done;
  void *ctx;
};
/* Takes the keys, on failure too. NULL without memory. */
MUST_CHECK struct metric_write *metric_pack(struct metric_store *store, struct id run, int32_t attempt, const struct metric_rows *rows,
                                 struct buf keys, struct err *err);
void metric_write_free(struct metric_write *write);

/* ---- runs ---- */

struct live_series {
  struct fold fold;
  int32_t attempt;
  bool changed; /* since it was written to run.metrics */
};

struct live_run {
  struct list_node node; /* by_use or bare */
  struct list_node dirty_node, unsealed_node;
  struct id id;
  struct map series; /* key -> live_series */
  bool is_known;     /* `series` holds what is stored, all of it */
  bool is_dirty;     /* run.metrics does not hold what is stored */
  bool is_writing;   /* run.metrics is being written */
  bool is_loading;   /* being derived */
  bool is_spoiled;   /* while loading: what is stored has changed in a way that is not known */
  bool is_derived;   /* in this cycle: `series` holds what was stored when the cycle began, at least */
  bool is_replaced;  /* points were taken away: what was read before may have been written after, so the next derived values are all */
  uint64_t cycle;    /* in which it was last looked at */
  bool is_sealing;
  bool is_mixed;       /* besides what is unsealed there is more, so it has to be sealed with that */
  bool is_damaged;     /* what is unsealed cannot be read, so nothing waits for its seal */
  struct list arrived; /* while loading: metric_write */
  size_t fresh_rows, fresh_points;
  int64_t first_fresh_ms, last_write_ms, retry_ms, queued_ms;
  int64_t dirty_ms, written_ms; /* since when run.metrics is behind, and will be once it has been written */
};

/* NULL when nothing is known of it. */
struct live_run *live_run_find(const struct metric_store *store, struct id id);
/* Of now the latest use; made when it is new. NULL without memory. */
struct live_run *live_run_get(struct metric_store *store, struct id id);
/* NULL without memory. */
struct live_series *live_series_get(struct metric_store *store, struct live_run *run, struct str key);
void live_run_set_dirty(struct metric_store *store, struct live_run *run, bool is_dirty);
/* Holds run.metrics what is stored? */
bool live_run_is_written(const struct live_run *run);
/* Forgets its values. */
void live_run_drop_series(struct metric_store *store, struct live_run *run);
/* The run has just been written; if it has points that are not sealed, it waits for its turn. */
void live_run_queue(struct metric_store *store, struct live_run *run);
/* Of a run that is of no further use: forgets it. */
void live_run_rested(struct metric_store *store, struct live_run *run);
/* Forgets what was not used for longest, as far as there is too much and it may be forgotten. */
void live_runs_make_room(struct metric_store *store);
void live_runs_release(struct metric_store *store);

/* ---- how many metrics a run may have ---- */

/* May these be written? ERR_TOO_LARGE: no. When that is not known here, `keys` is what the database is to look at; it stays
 * the caller's. */
MUST_CHECK bool metric_takes(const struct metric_store *store, struct id run, const struct metric_rows *rows, struct buf *keys,
                             struct err *err);
/* The error of a run that would have more metrics than it may; false. */
bool metric_too_many(const struct metric_store *store, struct id run, struct err *err);

/* ---- reading what is stored ---- */

/* One series as it is stored; the view is made by the loader. */
struct stored_series {
  struct id run;
  struct str key;
  int32_t key_id; /* of its chunks */
  struct chunk_info *chunks;
  size_t chunk_count, chunk_cap;
  struct tail_points *tails;
  size_t tail_count;
  struct series_view view;
};

/* A row of the tail that was seen. */
struct stored_row {
  struct id run;
  int64_t id;
  int32_t attempt, points;
  bool fresh;
};

/* Pieces of chunks: the points, or cells. */
enum piece_kind { PIECE_POINTS, PIECE_STEP_COARSE, PIECE_TIME_COARSE, PIECE_STEP_FINE, PIECE_TIME_FINE };
struct piece {
  const struct stored_series *series;
  int64_t chunk;
  enum piece_kind kind;
  char *bytes; /* NULL until fetched, and when it is gone */
  size_t n;
};

struct metric_load;
typedef void metric_loaded_fn(void *ctx, struct metric_load *load, const struct err *err);
struct metric_load {
  struct metric_store *store;
  struct id *runs;
  size_t run_count;
  struct str *keys; /* NULL: all */
  size_t key_count;
  int32_t attempt;      /* as for series_view_make() */
  bool is_strict;       /* a damaged row of the tail is an error; else it is left out, and fsck tells */
  size_t points_max;    /* of the tail; 0: no limit. Whole rows, the oldest first */
  enum piece_kind with; /* coarse cells that come with the chunks of `keys`, in chunk_info; PIECE_POINTS: none */

  bool is_cut;                  /* there was more than points_max */
  struct stored_series *series; /* by run and key */
  size_t series_count, series_cap;
  struct stored_row *rows;
  size_t row_count, row_cap;
  struct piece *pieces; /* those that were fetched, by chunk and kind; then those wanted next */
  size_t piece_count, piece_cap, pieces_fetched;

  /* private */
  struct map index;
  struct column_coder *coder;
  struct arena arena;
  size_t tail_points;
  struct loop_defer nothing;
  metric_loaded_fn *done;
  void *ctx;
};
/* Texts and ids are copied. NULL without memory. */
struct metric_load *metric_load_new(struct metric_store *store, const struct id *runs, size_t run_count, const struct str *keys,
                                    size_t key_count, int32_t attempt);
void metric_load_free(struct metric_load *load);
/* Pieces that were fetched are kept until they are dropped, or run again. */
void metric_load_drop_pieces(struct metric_load *load);
/* Reads rows and chunks and makes the views. */
MUST_CHECK bool metric_load_run(struct metric_load *load, metric_loaded_fn *done, void *ctx, struct err *err);
/* The same for one run and what is unsealed of it: only series with unsealed points, and of their chunks only those that the points may
 * fall into or come before, and the one that they may follow. */
MUST_CHECK bool metric_load_tail(struct metric_load *load, metric_loaded_fn *done, void *ctx, struct err *err);
MUST_CHECK bool metric_load_want(struct metric_load *load, const struct stored_series *series, const struct chunk_info *chunk,
                                 enum piece_kind kind);
/* Fetches what is wanted and not there yet; `done` is called also when nothing is. A chunk that has been replaced meanwhile is
 * ERR_CONFLICT: begin again. */
MUST_CHECK bool metric_load_fetch(struct metric_load *load, metric_loaded_fn *done, void *ctx, struct err *err);
/* Wants the points of all mixed parts, and folds a part once they are there. */
MUST_CHECK bool metric_load_want_mixed(struct metric_load *load, struct err *err);
MUST_CHECK bool metric_load_fold(const struct metric_load *load, const struct series_part *part, struct fold *fold, struct err *err);
/* STR_NONE when it was not wanted, or is null. */
struct str metric_load_piece(const struct metric_load *load, const struct chunk_info *chunk, enum piece_kind kind);

/* Reads the columns of metric_stored and its sisters into *ret. */
void metric_chunk_row(const struct pg_reply *reply, size_t row, struct chunk_info *ret);

/* ---- last values ---- */

/* Takes the write, which is durable. Returns its run, which may be due now: metric_seal_consider(). NULL: without memory nothing is known of
 * it. */
struct live_run *metric_live_stored(struct metric_store *store, struct metric_write *write);
/* Something was written that is not known. */
void metric_live_behind(struct metric_store *store, struct id run);
/* Something may have been written, or may yet be. */
void metric_live_unknown(struct metric_store *store, struct id run);
void metric_live_flush(struct metric_store *store);
void metric_live_fail_waiters(struct metric_store *store, const struct err *err);

/* ---- sealing ---- */

void metric_seal_tick(struct metric_store *store);
/* Begins to seal the run if it is time to. */
void metric_seal_consider(struct metric_store *store, struct live_run *run);
/* Begins what is due, and answers who waits for the end of all of it. */
void metric_seal_progress(struct metric_store *store, const struct err *err);

/* ---- writes ---- */

/* Of metric_append(): what waits is sent together. */
MUST_CHECK bool metric_writes_init(struct metric_store *store, struct err *err);

#endif
