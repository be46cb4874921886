/* One series as its readers see it: sealed chunks and unsealed points as one, stitched over the attempts, each point once.
 *
 * Stitching: an attempt supersedes the earlier ones from its own first step on. So a point of attempt a is visible when its step lies
 * before the first step of every later attempt.
 *
 * The view is a sequence of parts in the order of point_cmp(): a chunk with the unsealed points that fall into its range, or unsealed
 * points alone. The chunks of one attempt never overlap. What can be told of a chunk without its points is told from its summary; the
 * points are needed only where unsealed points fall into it, where a later attempt begins inside it, or where an edge of the question does.
 *
 * Pure: where the bytes of a chunk come from is the caller's affair. */
#ifndef WINNOW_STORAGE_SERIES_VIEW_H
#define WINNOW_STORAGE_SERIES_VIEW_H

#include "storage/metrics/chunk_buckets.h"
#include "storage/metrics/chunk_code.h"
#include "storage/metrics/chunk_fold.h"

/* A sealed chunk without its points. */
struct chunk_info {
  int64_t id;
  int32_t attempt;
  struct fold fold;
  int64_t low_time, high_time;
  struct str by_step, by_time; /* its cells; STR_NONE when it has none or they were not asked for */
};

/* Of normal points, at least one. */
void chunk_info_make(const struct points *points, int32_t attempt, struct chunk_info *ret);

/* Unsealed points of one attempt. */
struct tail_points {
  int32_t attempt;
  struct points points;
};

struct series_part {
  const struct chunk_info *chunk; /* NULL: unsealed points alone */
  const struct points *tail;      /* of its attempt */
  size_t from, to;                /* tail[from .. to) */
  bool is_cut;
  int64_t cut; /* points from this step on are superseded */
  int32_t attempt;
};

struct series_view {
  struct series_part *parts;
  size_t count;
  struct tail_points *tails;
  size_t tail_count;
};

/* Builds the view. `chunks` outlive it, in any order. `tails`, one item an attempt at most, are moved out of, also on failure maybe;
 * release them in any case. `attempt` 0 stitches, EACH_ATTEMPT gives all of them whole, one after the other, else only that attempt is
 * seen, whole. */
enum { EACH_ATTEMPT = -1 };
MUST_CHECK bool series_view_make(const struct chunk_info *chunks, size_t chunk_count, struct tail_points *tails, size_t tail_count,
                                 int32_t attempt, struct series_view *ret, struct err *err);
void series_view_release(struct series_view *view);
#define AUTO_SERIES_VIEW CLEANUP(series_view_release)

/* Are the chunk's points needed to tell its fold? Never for a part without a chunk. */
bool part_is_mixed(const struct series_part *part);
/* Appends the visible points of the part, in order and once. `data` is the stored chunk, unless there is none. */
MUST_CHECK bool part_points(const struct series_part *part, struct column_coder *coder, struct str data, struct points *points,
                            struct err *err);
/* Appends what is known without the chunk's points: all of a part without chunk. The part is not mixed. */
MUST_CHECK bool part_fold(const struct series_part *part, struct fold *fold, struct err *err);

enum part_answer { PART_DONE, PART_NEEDS_POINTS, PART_FAILED };
/* Adds the part to the buckets without the chunk's points where that is exact. Parts are added in order. */
enum part_answer part_buckets(const struct series_part *part, struct column_coder *coder, const struct grid *grid, struct bucket *buckets,
                              struct err *err);
/* May the part have points with low <= x <= high? */
bool part_touches(const struct series_part *part, enum axis axis, int64_t low, int64_t high);
/* The least and the greatest x among its points, those that are superseded included. */
void part_range(const struct series_part *part, enum axis axis, int64_t *ret_low, int64_t *ret_high);

#endif
