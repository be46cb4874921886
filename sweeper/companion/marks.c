#include "sweeper/companion/marks.h"

enum { APART_MIN_MS = 100 };

void marks_forget(struct marks *marks, int64_t sent) {
  size_t gone = 0;
  while (gone < marks->count && marks->items[gone].end <= sent)
    gone++;
  marks->count -= gone;
  memmove(marks->items, marks->items + gone, marks->count * sizeof *marks->items);
}

/* Two become one: what came between them counts as seen with the first. */
static void thin(struct marks *marks) {
  for (size_t i = 0; i < marks->cap / 2; i++)
    marks->items[i] = (struct mark){marks->items[2 * i + 1].end, marks->items[2 * i].seen_ms};
  marks->count = marks->cap / 2;
  marks->apart_ms *= 2;
}

void marks_note(struct marks *marks, int64_t sent, int64_t size, int64_t now_ms) {
  marks_forget(marks, sent);
  struct mark *last = marks->count ? &marks->items[marks->count - 1] : NULL;
  if (!last)
    marks->apart_ms = APART_MIN_MS;
  if (size <= (last ? last->end : sent))
    return;
  if (last && now_ms - last->seen_ms < marks->apart_ms) {
    last->end = size;
    return;
  }
  if (marks->count == marks->cap)
    thin(marks);
  marks->items[marks->count++] = (struct mark){size, now_ms};
}

int64_t marks_next(const struct marks *marks, int64_t sent, int64_t *ret_seen_ms) {
  for (size_t i = 0; i < marks->count; i++) {
    *ret_seen_ms = marks->items[i].seen_ms;
    if (marks->items[i].end > sent)
      return marks->items[i].end - sent;
  }
  *ret_seen_ms = 0;
  return 0;
}

void marks_put(const struct marks *marks, int64_t shift_ms, struct buf *out) {
  for (size_t i = 0; i < marks->count; i++)
    buf_printf(out, "%lld %lld\n", (long long)marks->items[i].end, (long long)(marks->items[i].seen_ms + shift_ms));
}

void marks_read(struct marks *marks, struct str text, int64_t shift_ms, int64_t now_ms) {
  struct str line, end_text;
  struct mark mark, before = {0, INT64_MIN};
  marks->count = 0;
  marks->apart_ms = APART_MIN_MS;
  while (marks->count < marks->cap && str_split(&text, '\n', &line)) {
    bool is_whole = text.p != NULL; /* a line end came after it */
    if (!is_whole || !str_split(&line, ' ', &end_text) || !str_to_i64(end_text, &mark.end) || !str_to_i64(line, &mark.seen_ms) ||
        mark.end <= before.end || mark.seen_ms < 0)
      return;
    mark.seen_ms = MIN_OF(MAX_OF(mark.seen_ms - shift_ms, before.seen_ms), now_ms); /* the clock may have jumped */
    marks->items[marks->count++] = before = mark;
  }
}
