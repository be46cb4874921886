/* Output for reading: lines as a terminal would show them in the end, and of these, when there is a pattern, only those that match. Pure;
 * bytes in pieces of any size. */
#ifndef WINNOW_TRACKER_LOG_LINES_H
#define WINNOW_TRACKER_LOG_LINES_H

#include "base/buf.h"

struct log_lines;

/* `pattern` NULL: every line. */
MUST_CHECK struct log_lines *log_lines_new(const char *pattern, struct err *err);
void log_lines_free(struct log_lines *filter); /* accepts NULL */
/* Adds the lines that end in `bytes`; failure is the buffer's, or ERR_NO_MEMORY. */
MUST_CHECK bool log_lines_feed(struct log_lines *filter, struct str bytes, struct buf *out, struct err *err);
/* A last line without an end. */
MUST_CHECK bool log_lines_end(struct log_lines *filter, struct buf *out, struct err *err);

#endif
