/* Growable bytes with a ceiling. Failure is sticky: build freely, then ask once with buf_ok().
 * The content is always followed by a NUL that does not count. */
#ifndef WINNOW_BASE_BUF_H
#define WINNOW_BASE_BUF_H

#include <stdarg.h>

#include "base/err.h"
#include "base/str.h"

struct buf {
  char *p; /* NULL until something was added; use buf_str() or buf_text() */
  size_t n;
  size_t cap;
  size_t max;         /* the ceiling, in bytes */
  enum err_code fail; /* ERR_NONE, ERR_TOO_LARGE or ERR_NO_MEMORY */
};

/* Owns nothing yet. Adding beyond `max` fails. */
void buf_init(struct buf *buf, size_t max);
#define BUF_INIT(ceiling) ((struct buf){.max = (ceiling)})
void buf_release(struct buf *buf);
#define AUTO_BUF CLEANUP(buf_release)
/* Empties it, keeps the memory, forgets a failure. */
void buf_reset(struct buf *buf);

/* After a failure these do nothing. */
void buf_add(struct buf *buf, const void *bytes, size_t n);
void buf_add_str(struct buf *buf, struct str s);
void buf_puts(struct buf *buf, const char *text);
void buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *buf, const char *format, va_list args) PRINTF_LIKE(2, 0);
void buf_add_i64(struct buf *buf, int64_t value);
void buf_add_u64(struct buf *buf, uint64_t value);
void buf_add_f64(struct buf *buf, double value); /* as str_from_f64() writes it */
/* Room for `n` more bytes at the end, to be written by the caller and then counted with buf_grew(). NULL on failure. */
MUST_CHECK char *buf_more(struct buf *buf, size_t n);
MUST_CHECK static inline char *buf_room(struct buf *buf, size_t n) {
  bool is_there = buf->fail == ERR_NONE && n < buf->cap - buf->n; /* with the NUL */
  return is_there ? buf->p + buf->n : buf_more(buf, n);
}
static inline void buf_grew(struct buf *buf, size_t n) {
  buf->n += n;
  buf->p[buf->n] = 0;
}
static inline void buf_putc(struct buf *buf, char c) {
  char *at = buf_room(buf, 1);
  if (!at)
    return;
  *at = c;
  buf_grew(buf, 1);
}
/* Takes n bytes off the front. */
void buf_drop(struct buf *buf, size_t n);
/* Shortens to n bytes. */
void buf_cut(struct buf *buf, size_t n);

struct str buf_str(const struct buf *buf);
const char *buf_text(const struct buf *buf); /* "" when empty */
/* True when nothing failed; else fills *err. */
MUST_CHECK bool buf_ok(const struct buf *buf, struct err *err);
/* Gives the bytes (NUL-ended) to the caller, who frees them with mem_free(). NULL on failure. The buffer is empty afterwards. */
MUST_CHECK char *buf_take(struct buf *buf);

#endif
