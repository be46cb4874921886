/* Inside of log_pairs.c: a line as it is read from left to right for names with numbers, and what log_groups.c does for it. */
#ifndef WINNOW_TRACKER_LOG_SCAN_H
#define WINNOW_TRACKER_LOG_SCAN_H

#include "tracker/logs/log_state.h"

struct log_scan {
  struct log_parse *p;
  size_t at;      /* the token being looked at */
  size_t segment; /* where the words of the possible name start */
  bool summary;   /* the line starts with '*' */
};

/* log_pairs.c */
/* The words since the segment began are left, which may tell the section; the next one begins there. */
void log_next_segment(struct log_scan *s, size_t segment);
/* NULL: it is no name, or there is no room. */
struct raw *log_add_pair(struct log_scan *s, struct str name, double value, bool percent);
/* Adds what was read under the name. */
void log_take_reading(struct log_scan *s, struct str name, const struct log_reading *r);

/* log_groups.c */
/* At an opening parenthesis or bracket: enters it, skips it, or lets it be part of the name. */
void log_enter_group(struct log_scan *s);
/* A bracket full of separators that is the end of a name, "@[ IoU=0.50:0.95 | area=   all ] = 0.362": where it closes; SIZE_MAX: it is
 * none. */
size_t log_bracket_in_name(const struct log_parse *p, size_t at);

#endif
