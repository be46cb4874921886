/* A chunk: up to CHUNK_POINTS points of one series and one attempt, in order and without repeats, as bytes with a checksum.
 * A batch: the points of one write, of many series, with their names: what lies in the tail until it is sealed into chunks.
 *
 *   chunk: version 1, flags, n, step column, time column, value column, [epoch column], CRC-32C of all before
 *   batch: version 1, number of series, for each: length and text of the key, then as a chunk from the flags to the columns; CRC-32C
 *
 * Reading checks the checksum first, and is bounded for any bytes whatever. */
#ifndef WINNOW_STORAGE_CHUNK_CODE_H
#define WINNOW_STORAGE_CHUNK_CODE_H

#include "base/err.h"
#include "storage/metrics/chunk_column.h"
#include "storage/metrics/chunk_points.h"

/* What a sealed chunk holds at most; the reader takes up to COLUMN_MAX. */
enum { CHUNK_POINTS = 4096 };
/* Series in one batch, and bytes of a key. */
enum { BATCH_SERIES_MAX = COLUMN_MAX, SERIES_KEY_MAX = 1024 };

/* 1 to COLUMN_MAX points. Failure is the buffer's. */
void chunk_put(struct column_coder *coder, const struct points *points, struct buf *out);
/* Appends to `points`. ERR_IO when the bytes are damaged. */
MUST_CHECK bool chunk_get(struct column_coder *coder, struct str bytes, struct points *points, struct err *err);

/* One series of a batch. */
struct series_points {
  struct str key;
  struct points points;
};

/* Each series has 1 to COLUMN_MAX points, in any order. */
void batch_put(struct column_coder *coder, const struct series_points *series, size_t count, struct buf *out);
/* Calls `add` for each series; key and points live during the call only. False from `add` ends the walk: out of memory. */
typedef bool batch_add_fn(void *ctx, struct str key, const struct points *points);
MUST_CHECK bool batch_get(struct column_coder *coder, struct str bytes, batch_add_fn *add, void *ctx, struct err *err);

#endif
