/* When the bytes of a file that are not sent yet were seen. With many marks there are fewer, further apart: so few tell of hours. */
#ifndef WINNOW_COMPANION_MARKS_H
#define WINNOW_COMPANION_MARKS_H

#include "base/buf.h"

/* The bytes before `end`, and after the mark before it. */
struct mark {
  int64_t end, seen_ms;
};

/* Oldest first. `items` is the owner's room for `cap` of them, an even number. */
struct marks {
  struct mark *items;
  size_t cap, count;
  int64_t apart_ms;
};

/* Everything before `sent` was sent. */
void marks_forget(struct marks *marks, int64_t sent);
/* What is there up to `size`, and was not before, was seen now. */
void marks_note(struct marks *marks, int64_t sent, int64_t size, int64_t now_ms);
/* How many bytes from `sent` on were seen at one time, and when; 0 when there are none. */
int64_t marks_next(const struct marks *marks, int64_t sent, int64_t *ret_seen_ms);

/* As lines, for whoever comes after us: `shift_ms` is what the clock of the marks lacks to that of the text. Reading takes those that can
 * be marks, and of a text that is cut off its whole lines. */
void marks_put(const struct marks *marks, int64_t shift_ms, struct buf *out);
void marks_read(struct marks *marks, struct str text, int64_t shift_ms, int64_t now_ms);

#endif
