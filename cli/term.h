/* Text on a terminal: how wide it is, what must not reach it, colours. Pure, but for the questions about the real terminal. */
#ifndef WINNOW_CLI_TERM_H
#define WINNOW_CLI_TERM_H

#include "base/buf.h"

/* Columns that UTF-8 text takes: wide East Asian and emoji 2, combining marks 0, bytes that are no UTF-8 1 each. */
size_t text_width(struct str text);
/* The longest beginning that takes at most `columns`, at a character's end. */
struct str text_fit(struct str text, size_t columns);

/* Is the first character of `text`, which is not empty, one that must not reach a terminal: a control character (C0, DEL, C1), a
 * bidirectional override, a byte that is no UTF-8? *ret_char is that byte then; *ret_length what it takes, in any case. */
bool text_is_hostile(struct str text, uint32_t *ret_char, size_t *ret_length);
/* Such characters become \n, \x1b, \u202e: what a server says can neither move the cursor nor hide text. */
void text_escape(struct buf *out, struct str text);

/* For a stream of bytes shown on a terminal: newline and tab pass, carriage return when `returns`, SGR sequences when `colours`; other
 * control characters are shown escaped. Keeps what is needed to treat a sequence that is cut by the end of `bytes`. Zero-initialise. */
enum { HELD_MAX = 32 };
struct log_filter {
  bool colours, returns;
  char held[HELD_MAX]; /* an unfinished escape sequence or character */
  size_t held_count;
};
void log_filter_feed(struct log_filter *filter, struct str bytes, struct buf *out);
/* What was held back. */
void log_filter_end(struct log_filter *filter, struct buf *out);

enum term_style { STYLE_NONE, STYLE_HEAD, STYLE_GOOD, STYLE_BAD, STYLE_BUSY, STYLE_DIM, STYLE_WARN, STYLE_BOLD };
void style_begin(struct buf *out, enum term_style style);
void style_end(struct buf *out, enum term_style style);
/* The style of a run's, trial's, sweep's or node's state. */
enum term_style style_of_state(struct str state);

enum color_choice { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };
/* `is_tty` says whether the stream is a terminal; NO_COLOR and TERM=dumb hold unless the choice is explicit. */
bool color_wanted(enum color_choice choice, bool is_tty, const char *no_color, const char *term);

/* Columns of the terminal behind `fd`; 0 when it is none (no limit). COLUMNS stands in when the terminal does not say. */
size_t term_columns(int fd);

/* Eight levels of block per value, NaN as a blank; at most `columns` (values are merged by their last). */
void sparkline(struct buf *out, const double *values, size_t count, size_t columns);

#endif
