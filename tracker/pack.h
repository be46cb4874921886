/* Small integers, doubles and text in bytes, for states that are stored: LEB128, little-endian, length and bytes. */
#ifndef WINNOW_TRACKER_PACK_H
#define WINNOW_TRACKER_PACK_H

#include "base/buf.h"

void pack_u64(struct buf *out, uint64_t value);
void pack_i64(struct buf *out, int64_t value);
void pack_f64(struct buf *out, double value);
void pack_str(struct buf *out, struct str text);

/* Readers take from the front of *rest; the first that fails sets *bad, and all after it give nothing. */
uint64_t unpack_u64(struct str *rest, bool *bad);
int64_t unpack_i64(struct str *rest, bool *bad);
double unpack_f64(struct str *rest, bool *bad);
struct str unpack_str(struct str *rest, size_t max, bool *bad); /* borrowed */
/* At most `max`, else bad. */
uint64_t unpack_below(struct str *rest, uint64_t max, bool *bad);

#endif
