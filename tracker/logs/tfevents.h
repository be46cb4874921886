/* Scalars of TensorBoard event files: TFRecord frames with checksums, and as much of protobuf's wire format as events need. Pure. */
#ifndef WINNOW_TRACKER_TFEVENTS_H
#define WINNOW_TRACKER_TFEVENTS_H

#include "base/err.h"
#include "base/str.h"

enum { TFEVENTS_RECORD_MAX = 512 * 1024, TFEVENTS_TAG_MAX = 250 };

struct tfevents_scalar {
  struct str tag; /* within the record's bytes */
  double value;
  int64_t step;
  double wall_time; /* seconds since 1970 */
};

enum tfevents_answer {
  TFEVENTS_MORE,   /* not yet a whole record */
  TFEVENTS_RECORD, /* *ret_record is its content */
  TFEVENTS_LARGE,  /* a record beyond TFEVENTS_RECORD_MAX (a graph, an image): *ret_size bytes are to be passed over */
  TFEVENTS_BAD,    /* a checksum is wrong */
};

/* The frame at the front of `bytes`. *ret_size is how many bytes it takes. */
enum tfevents_answer tfevents_frame(struct str bytes, struct str *ret_record, uint64_t *ret_size);

/* The scalars of one record, at most `max`; what is no scalar is left out. False when the record is no event. */
bool tfevents_scalars(struct str record, struct tfevents_scalar *scalars, size_t max, size_t *ret_count);

/* CRC-32C as TFRecord masks it. */
uint32_t tfevents_masked_crc(struct str bytes);

#endif
