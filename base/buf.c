#include "base/buf.h"

#include "base/mem.h"

void buf_init(struct buf *buf, size_t max) {
  *buf = BUF_INIT(max);
}

void buf_release(struct buf *buf) {
  mem_free(buf->p);
  buf->p = NULL;
  buf->n = buf->cap = 0;
}

void buf_reset(struct buf *buf) {
  buf->n = 0;
  buf->fail = ERR_NONE;
  if (buf->p)
    buf->p[0] = 0;
}

/* Makes room for n more bytes and the NUL. */
static bool grow(struct buf *buf, size_t n) {
  if (buf->fail != ERR_NONE)
    return false;
  if (n > buf->max - MIN_OF(buf->n, buf->max)) {
    buf->fail = ERR_TOO_LARGE;
    return false;
  }
  size_t need = buf->n + n + 1;
  if (need <= buf->cap)
    return true;
  size_t cap = MAX_OF(need, MIN_OF(buf->cap * 2, buf->max + 1));
  cap = MAX_OF(cap, MIN_OF((size_t)64, buf->max + 1));
  char *p = mem_resize(buf->p, cap, 1);
  if (!p) {
    buf->fail = ERR_NO_MEMORY;
    return false;
  }
  buf->p = p;
  buf->cap = cap;
  return true;
}

void buf_add(struct buf *buf, const void *bytes, size_t n) {
  char *at = buf_room(buf, n);
  if (!at)
    return;
  if (n)
    memcpy(at, bytes, n);
  buf_grew(buf, n);
}

void buf_add_str(struct buf *buf, struct str s) {
  buf_add(buf, s.p, s.n);
}

void buf_puts(struct buf *buf, const char *text) {
  buf_add(buf, text, strlen(text));
}

void buf_vprintf(struct buf *buf, const char *format, va_list args) {
  va_list again;
  va_copy(again, args);
  size_t room = buf->cap > buf->n ? buf->cap - buf->n : 0;
  int n = vsnprintf(room ? buf->p + buf->n : NULL, room, format, args);
  if (n < 0) {
    buf->fail = ERR_INVALID;
  } else if (grow(buf, (size_t)n)) {
    if ((size_t)n >= room)
      vsnprintf(buf->p + buf->n, (size_t)n + 1, format, again);
    buf->n += (size_t)n;
  } else if (room) {
    buf->p[buf->n] = 0;
  }
  va_end(again);
}

void buf_printf(struct buf *buf, const char *format, ...) {
  va_list args;
  va_start(args, format);
  buf_vprintf(buf, format, args);
  va_end(args);
}

void buf_add_u64(struct buf *buf, uint64_t value) {
  char digits[20];
  buf_add(buf, digits, str_from_u64(value, digits));
}

void buf_add_i64(struct buf *buf, int64_t value) {
  char digits[21];
  buf_add(buf, digits, str_from_i64(value, digits));
}

void buf_add_f64(struct buf *buf, double value) {
  char text[32];
  buf_add(buf, text, str_from_f64(value, text));
}

char *buf_more(struct buf *buf, size_t n) {
  return grow(buf, n) ? buf->p + buf->n : NULL;
}

void buf_drop(struct buf *buf, size_t n) {
  n = MIN_OF(n, buf->n);
  if (!n)
    return;
  memmove(buf->p, buf->p + n, buf->n - n);
  buf->n -= n;
  buf->p[buf->n] = 0;
}

void buf_cut(struct buf *buf, size_t n) {
  if (n >= buf->n)
    return;
  buf->n = n;
  buf->p[n] = 0;
}

struct str buf_str(const struct buf *buf) {
  return (struct str){buf_text(buf), buf->n};
}

const char *buf_text(const struct buf *buf) {
  return buf->p ? buf->p : "";
}

bool buf_ok(const struct buf *buf, struct err *err) {
  switch (buf->fail) {
  case ERR_NONE:
    return true;
  case ERR_NO_MEMORY:
    return err_no_memory(err);
  case ERR_TOO_LARGE:
    return err_set(err, ERR_TOO_LARGE, "more than %zu bytes", buf->max);
  default:
    return err_set(err, ERR_INTERNAL, "text could not be formatted");
  }
}

char *buf_take(struct buf *buf) {
  if (buf->fail != ERR_NONE)
    return NULL;
  if (!buf->p)
    buf_add(buf, "", 0);
  char *p = buf->p;
  buf->p = NULL;
  buf->n = buf->cap = 0;
  return p;
}
