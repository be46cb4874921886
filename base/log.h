/* Log lines, as text or JSON, one event a line, to one descriptor. Context (fields) is attached once to a log_ctx and inherited.
 * Lines are gathered and written at the end of the loop's turn (log_flush) or at once for warnings and errors. Thread-safe. */
#ifndef WINNOW_BASE_LOG_H
#define WINNOW_BASE_LOG_H

#include "base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_format { LOG_TEXT, LOG_JSON };

/* A chain of fields; the struct and its strings are owned by the caller and outlive the calls that use it. */
struct log_ctx {
  const struct log_ctx *parent;
  const char *key; /* NULL: no field of its own */
  const char *value;
};

/* Before the first line; the defaults are LOG_INFO, LOG_TEXT, standard error. */
void log_setup(enum log_level level, enum log_format format, int fd);
bool log_wants(enum log_level level);

/* `area` is the folder or part ("web", "storage"). `ctx` may be NULL. Control characters of the message are escaped. */
void log_write(enum log_level level, const char *area, const struct log_ctx *ctx, const char *format, ...) PRINTF_LIKE(4, 5);
#define log_debug(area, ctx, ...)                   \
  do {                                              \
    if (log_wants(LOG_DEBUG))                       \
      log_write(LOG_DEBUG, area, ctx, __VA_ARGS__); \
  } while (0)
#define log_info(area, ctx, ...) log_write(LOG_INFO, area, ctx, __VA_ARGS__)
#define log_warn(area, ctx, ...) log_write(LOG_WARN, area, ctx, __VA_ARGS__)
#define log_error(area, ctx, ...) log_write(LOG_ERROR, area, ctx, __VA_ARGS__)

/* For a caller that writes many lines with the same fields (the access log). */
struct log_field {
  const char *key;
  struct str value; /* STR_NONE: the field is left out */
  bool is_number;   /* its digits stand bare in JSON */
};
void log_fields(enum log_level level, const char *area, const char *message, const struct log_field *fields, size_t count);

/* Writes what was gathered. */
void log_flush(void);

#endif
