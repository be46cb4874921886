/* The packed columns of a run as Postgres writes them: flat JSON objects. Their pieces are handed out as they stand, JSON already, so that
 * an answer is put together without decoding and encoding again. Pure. */
#ifndef WINNOW_TRACKER_PACKED_H
#define WINNOW_TRACKER_PACKED_H

#include "base/buf.h"
#include "base/str.h"

/* The next pair. *cursor begins at 0. `key` is the quoted text; `value` any JSON value as written. False at the end, or where the text is
 * not an object. */
bool packed_next(struct str object, size_t *cursor, struct str *ret_key, struct str *ret_value);
/* The items of an array value, one after the other; the same way. */
bool packed_item(struct str array, size_t *cursor, struct str *ret_item);
/* A metric as run.metrics has it, "last step time min max count" (or, written by an earlier version, an array of them), as six texts of
 * JSON. Of a single point the last three are not stored: they are what the first say. False when it has no value at all. */
enum packed_metric { METRIC_LAST, METRIC_STEP, METRIC_TIME, METRIC_MIN, METRIC_MAX, METRIC_COUNT, METRIC_ITEMS };
bool packed_metric(struct str packed, struct str ret_items[METRIC_ITEMS]);
/* One of them as a number. */
bool packed_number(struct str packed, enum packed_metric item, double *ret);
/* The value of a key that needs no escapes; STR_NONE when it is not there. */
struct str packed_get(struct str object, const char *key);
/* Adds a quoted text without its quotes and escapes. */
void packed_unquote(struct str quoted, struct buf *out);
bool packed_is_empty(struct str object);

/* For making one: "{" first, then pairs, then "}". */
struct packed_writer {
  struct buf *out;
  bool any;
};
void packed_begin(struct packed_writer *w, struct buf *out);
void packed_put(struct packed_writer *w, struct str key, struct str value);
void packed_end(struct packed_writer *w);

#endif
