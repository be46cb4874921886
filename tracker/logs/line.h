/* Bytes -> lines, in pieces of any size. A line is what lies between two '\n', as a terminal would show it in the end: carriage return,
 * backspace and the escape sequences that move or erase within the line are applied, all others are dropped (going to another row is
 * ignored). Text that is no UTF-8 becomes U+FFFD. The reader stops in the middle of anything and can be written down there. */
#ifndef WINNOW_TRACKER_LINE_H
#define WINNOW_TRACKER_LINE_H

#include "base/buf.h"
#include "base/err.h"

#define LINE_CELLS_MAX ((size_t)64 * KIB)

struct line {
  struct str text; /* without the line end; valid until the next call, and as long as the bytes given to it */
  uint64_t number; /* physical line, from 1 */
  uint64_t lost;   /* characters beyond the ceiling */
};

struct line_reader;

/* `cells_max` is the ceiling on the visible characters of a line (at most LINE_CELLS_MAX); what is beyond is cut and counted. */
MUST_CHECK struct line_reader *line_reader_new(size_t cells_max, struct err *err);
void line_reader_free(struct line_reader *reader); /* accepts NULL */

enum line_answer { LINE_MORE, LINE_READY, LINE_NO_MEMORY };

/* Takes bytes off the front of *bytes, up to the end of the line. LINE_MORE: all were taken and the line goes on. */
enum line_answer line_next(struct line_reader *reader, struct str *bytes, struct line *ret);
/* Passes over whole lines at the front of *bytes, at most the first n of them, without showing them: only their number is counted. Takes
 * none where a line is begun, and stops before one that might lose characters. */
void line_skip(struct line_reader *reader, struct str *bytes, size_t n);
/* At the end of the stream: the last line when it has no end. False when there is none. */
bool line_last(struct line_reader *reader, struct line *ret);

/* Characters cut since the start. */
uint64_t line_lost(const struct line_reader *reader);

/* The state between two calls, and back. A state that cannot be right fails with ERR_INVALID and leaves the reader as it was. */
void line_save(const struct line_reader *reader, struct buf *out);
MUST_CHECK bool line_restore(struct line_reader *reader, struct str state, struct err *err);

#endif
