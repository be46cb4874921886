#include "base/err.h"

#include <stdarg.h>

static const struct err_info infos[ERR_CODE_COUNT] = {
#define X(code, name, status, retryable, title) [code] = {name, status, retryable, title},
    ERR_CODES(X)
#undef X
};

const struct err_info *err_info(enum err_code code) {
  return &infos[(unsigned)code < ERR_CODE_COUNT ? code : ERR_INTERNAL];
}

/* Takes an incomplete UTF-8 character off the end of a text that was cut. */
static void mend_end(char *text, size_t room) {
  size_t n = strlen(text);
  if (n + 1 < room)
    return;
  size_t at = n;
  while (at > 0 && n - at < 3 && ((unsigned char)text[at - 1] & 0xC0) == 0x80)
    at--;
  if (at == 0)
    return;
  unsigned char lead = (unsigned char)text[at - 1];
  size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
  if (n - (at - 1) < want)
    text[at - 1] = 0;
}

static void format_into(char *text, size_t room, const char *format, va_list args) {
  int n = vsnprintf(text, room, format, args);
  if (n < 0)
    text[0] = 0;
  mend_end(text, room);
}

bool err_set(struct err *err, enum err_code code, const char *format, ...) {
  if (!err)
    return false;
  char text[sizeof err->text]; /* an argument may be the old text */
  va_list args;
  va_start(args, format);
  format_into(text, sizeof text, format, args);
  va_end(args);
  err->code = code;
  err->hint[0] = err->path[0] = 0;
  err->line = err->column = 0;
  memcpy(err->text, text, sizeof text);
  return false;
}

bool err_hint(struct err *err, const char *format, ...) {
  if (!err)
    return false;
  va_list args;
  va_start(args, format);
  format_into(err->hint, sizeof err->hint, format, args);
  va_end(args);
  return false;
}

bool err_at(struct err *err, const char *path, unsigned line, unsigned column) {
  if (!err)
    return false;
  snprintf(err->path, sizeof err->path, "%s", path);
  mend_end(err->path, sizeof err->path);
  err->line = line;
  err->column = column;
  return false;
}

/* Columns are characters, not bytes. */
bool err_at_byte(struct err *err, const char *path, struct str text, size_t at) {
  unsigned line = 1, column = 1;
  for (size_t i = 0; i < MIN_OF(at, text.n); i++) {
    bool ends_line = text.p[i] == '\n';
    line += ends_line;
    column = ends_line ? 1 : column + (((unsigned char)text.p[i] & 0xC0) != 0x80);
  }
  return err_at(err, path, line, column);
}

bool err_prefix(struct err *err, const char *format, ...) {
  if (!err)
    return false;
  char old[sizeof err->text];
  memcpy(old, err->text, sizeof old);
  va_list args;
  va_start(args, format);
  format_into(err->text, sizeof err->text, format, args);
  va_end(args);
  size_t n = strlen(err->text);
  snprintf(err->text + n, sizeof err->text - n, ": %s", old);
  mend_end(err->text, sizeof err->text);
  return false;
}

bool err_errno(struct err *err, int error_number, const char *format, ...) {
  if (!err)
    return false;
  char text[sizeof err->text];
  va_list args;
  va_start(args, format);
  format_into(text, sizeof text, format, args);
  va_end(args);
  enum err_code code = ERR_IO;
  switch (error_number) {
  case ENOSPC:
  case EDQUOT:
  case EFBIG: /* ulimit -f */
    code = ERR_NO_SPACE;
    break;
  case ENOMEM:
    code = ERR_NO_MEMORY;
    break;
  case EMFILE:
  case ENFILE:
    code = ERR_OVERLOADED;
    break;
  case ENOENT:
    code = ERR_NOT_FOUND;
    break;
  default:
    break;
  }
  char reason[128];
  return err_set(err, code, "%s: %s", text, strerror_r(error_number, reason, sizeof reason));
}

bool err_is_shortage(const struct err *err) {
  return err->code == ERR_NO_MEMORY || err->code == ERR_OVERLOADED;
}

bool err_is_inside(const struct err *err) {
  return err->code == ERR_INTERNAL || err->code == ERR_IO;
}

bool err_no_memory(struct err *err) {
  return err_set(err, ERR_NO_MEMORY, "out of memory");
}
