/* Charts: what a stretch of a series looks like, at any zoom, without hiding a spike and without reading every point.
 *
 * A `bucket` describes the points of a stretch of the x axis exactly: how many, the first, the last, the least, the greatest. A `grid` cuts
 * an axis into buckets. Its edges depend on the request alone, and lie at round binary numbers: on a linear axis at the multiples of a
 * power of two, the smallest with which the range fits into the wanted number; on a logarithmic one every octave is cut into the same power
 * of two of equal parts. `cells` are the buckets of one chunk with edges as round as that, stored beside it.
 *
 * So most edges of a grid are edges of cells too, and a bucket is put together from cells. Where an edge falls inside a cell (or inside a
 * chunk without cells), the points of that chunk are read. Either way the result is the same as going over all points; only the cost
 * differs, and the points read are bounded by the number of buckets, not by the length of the series. */
#ifndef WINNOW_STORAGE_CHUNK_BUCKETS_H
#define WINNOW_STORAGE_CHUNK_BUCKETS_H

#include "base/err.h"
#include "storage/metrics/chunk_column.h"
#include "storage/metrics/chunk_points.h"

enum axis { AXIS_STEP, AXIS_TIME };

struct bucket {
  int64_t first_x, last_x; /* of the first and the last point; undefined when count is 0 */
  int64_t count, nans;
  double first, last; /* the values there; of points at one x the first and last in the order of point_cmp() */
  double min, max;    /* of the values that are numbers; NaN when none is */
};

static inline int64_t axis_x(enum axis axis, const struct points *points, size_t i) {
  return axis == AXIS_STEP ? points->step[i] : points->time[i];
}

/* Adding must follow the order of point_cmp(); on the time axis times may go back and forth. */
static inline void bucket_add(struct bucket *bucket, int64_t x, double value) {
  if (bucket->count == 0) {
    *bucket = (struct bucket){x, x, 1, isnan(value), value, value, value, value};
    return;
  }
  bucket->count++;
  if (x < bucket->first_x) {
    bucket->first_x = x;
    bucket->first = value;
  }
  if (x >= bucket->last_x) {
    bucket->last_x = x;
    bucket->last = value;
  }
  if (isnan(value)) {
    bucket->nans++;
    return;
  }
  if (isnan(bucket->min) || value_less(value, bucket->min))
    bucket->min = value;
  if (isnan(bucket->max) || value_less(bucket->max, value))
    bucket->max = value;
}

/* ---- cells ---- */

enum { CELLS_MAX = 64, CELLS_COARSE = 8, CELLS_FROM = 512 /* a chunk of fewer points has none */ };

struct cells {
  unsigned shift; /* a cell is the x of equal x >> shift */
  size_t n;
  int64_t index[CELLS_MAX]; /* x >> shift, ascending */
  struct bucket bucket[CELLS_MAX];
};
/* The smallest cells of which there are at most `max` (to CELLS_MAX). `points` are normal and at least one. */
void cells_build(const struct points *points, enum axis axis, size_t max, struct cells *ret);
/* The shift of the cells that cells_build() makes of points whose x lie in low..high. */
unsigned cells_shift(int64_t low, int64_t high, size_t max);
void cells_put(struct column_coder *coder, const struct cells *cells, struct buf *out);
MUST_CHECK bool cells_get(struct column_coder *coder, struct str bytes, struct cells *ret, struct err *err);

/* ---- grids ---- */

enum scale { SCALE_LINEAR, SCALE_LOG };

enum { GRID_MAX = 10000 };

struct grid {
  enum axis axis;
  size_t n;
  int64_t *start; /* n of them, ascending; a bucket ends where the next begins, the last one at `to` */
  int64_t to;     /* inclusive */
};
/* Cuts from..to (both inclusive) into at most `want` (1 to GRID_MAX) buckets. On a logarithmic axis x - origin is what counts, and points
 * with x <= origin lie outside; the edges are then moved down to multiples of a quarter of their bucket's width. An empty range gives n =
 * 0. */
MUST_CHECK bool grid_make(enum axis axis, enum scale scale, int64_t from, int64_t to, int64_t origin, size_t want, struct grid *ret,
                          struct err *err);
void grid_release(struct grid *grid);
/* The bucket in which x falls, or -1. `hint` is a guess. */
ptrdiff_t grid_find(const struct grid *grid, int64_t x, ptrdiff_t hint);

/* ---- filling ---- */

/* `buckets` has grid->n items, zeroed before the first call. What is added must come in the order of point_cmp(): chunk by chunk. */
void grid_add_points(const struct grid *grid, const struct points *points, size_t from, size_t to, struct bucket *buckets);
/* A whole stretch whose x lie in low..high. False, and nothing is added, when that is not within one bucket (or outside of all). */
MUST_CHECK bool grid_add_bucket(const struct grid *grid, int64_t low, int64_t high, const struct bucket *bucket, struct bucket *buckets);
/* False, and nothing is added, when an edge falls inside a cell. */
MUST_CHECK bool grid_add_cells(const struct grid *grid, const struct cells *cells, struct bucket *buckets);

#endif
