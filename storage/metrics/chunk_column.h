/* Columns of numbers as few bytes: what the chunks and summaries of the metric store are made of.
 *
 * Whole numbers are stored as themselves or as differences, whichever spans less, minus their smallest, split into byte planes (the
 * lowest bytes of all, then the next, ...). Doubles that are short decimals (what a log line prints) become whole numbers of 10^-k, with
 * the few that are not kept aside; others are split into planes of their bits. A plane of one value costs two bytes, one that
 * entropy coding shortens goes through zstd, the rest stays as it is. Regular steps and times cost nothing, noise costs what it must.
 *
 * Reading is bounded: any bytes give false or a column, never more than `n` numbers, never a read beyond the end. */
#ifndef WINNOW_STORAGE_CHUNK_COLUMN_H
#define WINNOW_STORAGE_CHUNK_COLUMN_H

#include "base/buf.h"

/* The longest column. */
enum { COLUMN_MAX = 1 << 16 };

/* Contexts of zstd and scratch memory; one for each thread that codes. */
struct column_coder;
MUST_CHECK struct column_coder *column_coder_new(void); /* NULL without memory */
void column_coder_free(struct column_coder *coder);     /* accepts NULL */

/* n <= COLUMN_MAX. Failure is the buffer's. */
void column_put_i64(struct column_coder *coder, const int64_t *x, size_t n, struct buf *out);
/* Every bit is kept. */
void column_put_f64(struct column_coder *coder, const double *x, size_t n, struct buf *out);
void column_put_varint(struct buf *out, uint64_t value);

struct column_reader {
  const uint8_t *at, *end;
};
/* False when the bytes are not a column of n numbers (or memory ran out); the reader and `ret` are then of no further use. */
MUST_CHECK bool column_get_i64(struct column_coder *coder, struct column_reader *r, size_t n, int64_t *ret);
MUST_CHECK bool column_get_f64(struct column_coder *coder, struct column_reader *r, size_t n, double *ret);
MUST_CHECK bool column_get_varint(struct column_reader *r, uint64_t *ret);
/* The next n bytes in place; NULL when there are fewer. */
MUST_CHECK const uint8_t *column_get_bytes(struct column_reader *r, size_t n);

#endif
