#include "storage/metrics/chunk_buckets.h"

#include "base/crc32c.h"
#include "base/mem.h"

static void bucket_merge(struct bucket *into, const struct bucket *later) {
  if (later->count == 0)
    return;
  if (into->count == 0) {
    *into = *later;
    return;
  }
  into->count += later->count;
  into->nans += later->nans;
  if (later->first_x < into->first_x) {
    into->first_x = later->first_x;
    into->first = later->first;
  }
  if (later->last_x >= into->last_x) {
    into->last_x = later->last_x;
    into->last = later->last;
  }
  if (isnan(later->min))
    return;
  if (isnan(into->min) || value_less(later->min, into->min))
    into->min = later->min;
  if (isnan(into->max) || value_less(into->max, later->max))
    into->max = later->max;
}

/* ---- cells ---- */

static int64_t cell_start(int64_t index, unsigned shift) {
  return (int64_t)((uint64_t)index << shift);
}

unsigned cells_shift(int64_t low, int64_t high, size_t max) {
  unsigned shift = 0;
  while (shift < 63 && (uint64_t)(high >> shift) - (uint64_t)(low >> shift) >= max)
    shift++;
  return shift;
}

void cells_build(const struct points *points, enum axis axis, size_t max, struct cells *ret) {
  int64_t low = INT64_MAX, high = INT64_MIN;
  for (size_t i = 0; i < points->n; i++) {
    low = MIN_OF(low, axis_x(axis, points, i));
    high = MAX_OF(high, axis_x(axis, points, i));
  }
  unsigned shift = cells_shift(low, high, max);
  int64_t base = low >> shift;
  struct bucket all[CELLS_MAX] = {{0}};
  for (size_t i = 0; i < points->n; i++) {
    int64_t x = axis_x(axis, points, i);
    bucket_add(&all[(x >> shift) - base], x, points->value[i]);
  }
  ret->shift = shift;
  ret->n = 0;
  for (size_t i = 0; i < CELLS_MAX; i++)
    if (all[i].count) {
      ret->index[ret->n] = base + (int64_t)i;
      ret->bucket[ret->n++] = all[i];
    }
}

enum { VERSION = 1 };

/* The columns of the stored form: offset of each field in struct bucket. */
static const size_t whole_fields[] = {offsetof(struct bucket, first_x), offsetof(struct bucket, last_x), offsetof(struct bucket, count),
                                      offsetof(struct bucket, nans)};
static const size_t double_fields[] = {offsetof(struct bucket, first), offsetof(struct bucket, last), offsetof(struct bucket, min),
                                       offsetof(struct bucket, max)};

/* first_x and last_x are stored as offsets in their cell. */
static int64_t field_base(const struct cells *cells, size_t field, size_t cell) {
  return field < 2 ? cell_start(cells->index[cell], cells->shift) : 0;
}

void cells_put(struct column_coder *coder, const struct cells *cells, struct buf *out) {
  size_t from = out->n;
  buf_putc(out, VERSION);
  buf_putc(out, (char)cells->shift);
  column_put_varint(out, cells->n);
  column_put_i64(coder, cells->index, cells->n, out);
  for (size_t f = 0; f < ARRAY_LEN(whole_fields); f++) {
    int64_t column[CELLS_MAX];
    for (size_t i = 0; i < cells->n; i++) {
      memcpy(&column[i], (const char *)&cells->bucket[i] + whole_fields[f], sizeof column[i]);
      column[i] = (int64_t)((uint64_t)column[i] - (uint64_t)field_base(cells, f, i));
    }
    column_put_i64(coder, column, cells->n, out);
  }
  for (size_t f = 0; f < ARRAY_LEN(double_fields); f++) {
    double column[CELLS_MAX];
    for (size_t i = 0; i < cells->n; i++)
      memcpy(&column[i], (const char *)&cells->bucket[i] + double_fields[f], sizeof column[i]);
    column_put_f64(coder, column, cells->n, out);
  }
  if (!out->fail) {
    uint32_t crc = crc32c(0, out->p + from, out->n - from);
    buf_add(out, &crc, sizeof crc);
  }
}

static bool cells_are_sane(const struct cells *cells) {
  for (size_t i = 0; i < cells->n; i++) {
    const struct bucket *bucket = &cells->bucket[i];
    if ((i && cells->index[i] <= cells->index[i - 1]) || bucket->count <= 0 || bucket->nans < 0 || bucket->nans > bucket->count ||
        bucket->first_x > bucket->last_x || bucket->first_x >> cells->shift != cells->index[i] ||
        bucket->last_x >> cells->shift != cells->index[i])
      return false;
  }
  return true;
}

bool cells_get(struct column_coder *coder, struct str bytes, struct cells *ret, struct err *err) {
  uint32_t stored;
  if (bytes.n < sizeof stored + 3)
    return err_set(err, ERR_IO, "a summary of %zu bytes is cut short", bytes.n);
  size_t n = bytes.n - sizeof stored;
  memcpy(&stored, bytes.p + n, sizeof stored);
  const uint8_t *p = (const uint8_t *)bytes.p;
  if (crc32c(0, p, n) != stored)
    return err_set(err, ERR_IO, "a summary is damaged: its checksum does not match");
  struct column_reader r = {p + 2, p + n};
  uint64_t count;
  bool ok = p[0] == VERSION && p[1] < 64 && column_get_varint(&r, &count) && count > 0 && count <= CELLS_MAX;
  if (ok) {
    ret->shift = p[1];
    ret->n = (size_t)count;
    ok = column_get_i64(coder, &r, ret->n, ret->index);
  }
  for (size_t f = 0; ok && f < ARRAY_LEN(whole_fields); f++) {
    int64_t column[CELLS_MAX];
    ok = column_get_i64(coder, &r, ret->n, column);
    for (size_t i = 0; ok && i < ret->n; i++) {
      column[i] = (int64_t)((uint64_t)column[i] + (uint64_t)field_base(ret, f, i));
      memcpy((char *)&ret->bucket[i] + whole_fields[f], &column[i], sizeof column[i]);
    }
  }
  for (size_t f = 0; ok && f < ARRAY_LEN(double_fields); f++) {
    double column[CELLS_MAX];
    ok = column_get_f64(coder, &r, ret->n, column);
    for (size_t i = 0; ok && i < ret->n; i++)
      memcpy((char *)&ret->bucket[i] + double_fields[f], &column[i], sizeof column[i]);
  }
  if (!ok || r.at != r.end || !cells_are_sane(ret))
    return err_set(err, ERR_IO, "a summary cannot be read although its checksum matches");
  return true;
}

/* ---- grids ---- */

/* Logarithmic cells: x >= 1 in octave e = floor(log2 x) belongs to one of 2^parts equal parts of the octave, or, where an octave has fewer
 * numbers than that, to its own. */
static unsigned log_width_bits(uint64_t x, unsigned parts) {
  unsigned octave = 63 - (unsigned)__builtin_clzll(x);
  return octave > parts ? octave - parts : 0;
}

static uint64_t log_next(uint64_t x, unsigned parts) {
  unsigned bits = log_width_bits(x, parts);
  return ((x >> bits) + 1) << bits;
}

static size_t log_count(uint64_t low, uint64_t high, unsigned parts, size_t limit) {
  size_t n = 0;
  for (uint64_t x = low; x <= high && n <= limit; n++) {
    uint64_t next = log_next(x, parts);
    if (next <= x)
      return n + 1;
    x = next;
  }
  return n;
}

static bool grid_alloc(struct grid *grid, size_t n, struct err *err) {
  grid->start = mem_array(n, sizeof *grid->start);
  return grid->start ? true : err_no_memory(err);
}

static bool make_log(struct grid *grid, int64_t from, int64_t to, int64_t origin, size_t want, struct err *err) {
  if (to <= origin)
    return true;
  uint64_t high = (uint64_t)to - (uint64_t)origin;
  uint64_t low = from > origin ? (uint64_t)from - (uint64_t)origin : 1;
  if (high > INT64_MAX) /* beyond the 63 octaves */
    high = INT64_MAX;
  unsigned parts = 16;
  while (parts > 0 && log_count(low, high, parts, want) > want)
    parts--;
  if (!grid_alloc(grid, want, err))
    return false;
  for (uint64_t x = low; x <= high && grid->n < want; x = log_next(x, parts)) {
    int64_t start = (int64_t)((uint64_t)origin + x);
    unsigned bits = log_width_bits(x, parts);
    if (origin && bits > 2)
      start = cell_start(start >> (bits - 2), bits - 2);
    start = MAX_OF(start, (int64_t)((uint64_t)origin + low));
    if (grid->n == 0 || start > grid->start[grid->n - 1])
      grid->start[grid->n++] = start;
  }
  grid->to = to;
  return true;
}

bool grid_make(enum axis axis, enum scale scale, int64_t from, int64_t to, int64_t origin, size_t want, struct grid *ret, struct err *err) {
  if (want < 1 || want > GRID_MAX)
    return err_set(err, ERR_INVALID, "the number of buckets must be from 1 to %d", GRID_MAX);
  struct grid grid = {.axis = axis, .to = to};
  if (from > to) {
    *ret = grid;
    return true;
  }
  if (scale == SCALE_LOG) {
    if (!make_log(&grid, from, to, origin, want, err))
      return false;
    *ret = grid;
    return true;
  }
  unsigned shift = 0;
  while (shift < 63 && (uint64_t)(to >> shift) - (uint64_t)(from >> shift) >= want)
    shift++;
  /* A range over both signs always has an edge at 0, so with one bucket wanted no shift is enough. */
  size_t n = (size_t)MIN_OF((uint64_t)(to >> shift) - (uint64_t)(from >> shift) + 1, (uint64_t)want);
  if (!grid_alloc(&grid, n, err))
    return false;
  for (size_t i = 0; i < n; i++)
    grid.start[i] = i ? cell_start((from >> shift) + (int64_t)i, shift) : from;
  grid.n = n;
  *ret = grid;
  return true;
}

void grid_release(struct grid *grid) {
  mem_free(grid->start);
  *grid = (struct grid){0};
}

static bool in_bucket(const struct grid *grid, size_t i, int64_t x) {
  return x >= grid->start[i] && (i + 1 < grid->n ? x < grid->start[i + 1] : x <= grid->to);
}

ptrdiff_t grid_find(const struct grid *grid, int64_t x, ptrdiff_t hint) {
  if (grid->n == 0 || x < grid->start[0] || x > grid->to)
    return -1;
  for (ptrdiff_t i = MAX_OF(hint, (ptrdiff_t)0); i < (ptrdiff_t)grid->n && i < hint + 2; i++)
    if (in_bucket(grid, (size_t)i, x))
      return i;
  size_t low = 0, high = grid->n; /* start[low] <= x < start[high] */
  while (high - low > 1) {
    size_t middle = low + (high - low) / 2;
    if (grid->start[middle] <= x)
      low = middle;
    else
      high = middle;
  }
  return (ptrdiff_t)low;
}

/* ---- filling ---- */

void grid_add_points(const struct grid *grid, const struct points *points, size_t from, size_t to, struct bucket *buckets) {
  ptrdiff_t at = 0;
  for (size_t i = from; i < to; i++) {
    int64_t x = axis_x(grid->axis, points, i);
    ptrdiff_t found = grid_find(grid, x, at);
    if (found < 0)
      continue;
    at = found;
    bucket_add(&buckets[at], x, points->value[i]);
  }
}

/* The bucket that low..high lies in; -1: outside of all; -2: across an edge. */
static ptrdiff_t find_range(const struct grid *grid, int64_t low, int64_t high, ptrdiff_t hint) {
  if (grid->n == 0 || high < grid->start[0] || low > grid->to)
    return -1;
  ptrdiff_t at = grid_find(grid, low, hint);
  return at >= 0 && in_bucket(grid, (size_t)at, high) ? at : -2;
}

bool grid_add_bucket(const struct grid *grid, int64_t low, int64_t high, const struct bucket *bucket, struct bucket *buckets) {
  ptrdiff_t at = find_range(grid, low, high, 0);
  if (at == -2)
    return false;
  if (at >= 0)
    bucket_merge(&buckets[at], bucket);
  return true;
}

bool grid_add_cells(const struct grid *grid, const struct cells *cells, struct bucket *buckets) {
  ptrdiff_t at[CELLS_MAX], hint = 0;
  for (size_t i = 0; i < cells->n; i++) {
    /* first_x and last_x are the least and the greatest x of the cell, and tighter than its edges. */
    at[i] = find_range(grid, cells->bucket[i].first_x, cells->bucket[i].last_x, hint);
    if (at[i] == -2)
      return false;
    hint = at[i];
  }
  for (size_t i = 0; i < cells->n; i++)
    if (at[i] >= 0)
      bucket_merge(&buckets[at[i]], &cells->bucket[i]);
  return true;
}
