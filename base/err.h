/* Errors are values. A function that can fail returns bool and fills `struct err`; it does not log.
 * Texts are lower-case and end without a full stop; the remedy goes into the hint. */
#ifndef WINNOW_BASE_ERR_H
#define WINNOW_BASE_ERR_H

#include "base/str.h"

/* The closed list of error codes of the public API: code, name in JSON, HTTP status, title.
 * `retryable` says whether the same request may succeed later without a change. */
#define ERR_CODES(X)                                                                            \
  X(ERR_NONE, "none", 200, false, "No error")                                                   \
  X(ERR_INVALID, "invalid", 400, false, "The request is not valid")                             \
  X(ERR_UNAUTHENTICATED, "unauthenticated", 401, false, "A credential is needed")               \
  X(ERR_FORBIDDEN, "forbidden", 403, false, "The credential does not allow this")               \
  X(ERR_NOT_FOUND, "not_found", 404, false, "There is no such thing")                           \
  X(ERR_METHOD, "method_not_allowed", 405, false, "The method is not allowed here")             \
  X(ERR_NOT_ACCEPTABLE, "not_acceptable", 406, false, "No acceptable form of the answer")       \
  X(ERR_TIMEOUT, "timeout", 408, true, "The client was too slow")                               \
  X(ERR_CONFLICT, "conflict", 409, false, "It conflicts with what is there")                    \
  X(ERR_EXISTS, "already_exists", 409, false, "It exists already")                              \
  X(ERR_WRONG_STATE, "wrong_state", 409, false, "Its state does not allow this")                \
  X(ERR_FENCED, "fenced", 409, false, "The attempt has been superseded")                        \
  X(ERR_LENGTH_REQUIRED, "length_required", 411, false, "The body needs a length")              \
  X(ERR_PRECONDITION, "precondition_failed", 412, false, "A precondition does not hold")        \
  X(ERR_TOO_LARGE, "too_large", 413, false, "It is too large")                                  \
  X(ERR_URI_TOO_LONG, "uri_too_long", 414, false, "The address is too long")                    \
  X(ERR_MEDIA_TYPE, "unsupported_media_type", 415, false, "The body's type is not understood")  \
  X(ERR_RANGE, "range_not_satisfiable", 416, false, "The range cannot be answered")             \
  X(ERR_EXPECT, "expectation_failed", 417, false, "The expectation cannot be met")              \
  X(ERR_MISDIRECTED, "misdirected", 421, false, "This host is not served here")                 \
  X(ERR_LIMIT, "too_many_requests", 429, true, "A limit was reached")                           \
  X(ERR_HEAD_TOO_LARGE, "header_too_large", 431, false, "The header is too large")              \
  X(ERR_INTERNAL, "internal", 500, false, "Something went wrong in the service")                \
  X(ERR_NO_MEMORY, "out_of_memory", 503, true, "The service is out of memory")                  \
  X(ERR_UNSUPPORTED, "not_supported", 501, false, "This is not supported")                      \
  X(ERR_UNAVAILABLE, "unavailable", 503, true, "A part of the service is away")                 \
  X(ERR_OVERLOADED, "overloaded", 503, true, "The service has too much to do")                  \
  X(ERR_UNKNOWN_OUTCOME, "unknown_outcome", 503, true, "It is not known whether this was done") \
  X(ERR_DEADLINE, "deadline", 504, true, "It took too long")                                    \
  X(ERR_VERSION, "http_version", 505, false, "The HTTP version is not supported")               \
  X(ERR_NO_SPACE, "no_space", 507, true, "There is no space left")                              \
  X(ERR_IO, "io", 500, false, "A file or socket failed")                                        \
  X(ERR_CANCELLED, "cancelled", 499, false, "It was cancelled")

enum err_code {
#define X(code, name, status, retryable, title) code,
  ERR_CODES(X)
#undef X
      ERR_CODE_COUNT
};

struct err {
  enum err_code code;
  char text[512];
  char hint[256]; /* what to do about it; empty when there is nothing to say */
  /* Where, in what was sent: */
  char path[96];         /* of a key or parameter, "parameters.lr.min"; "" with a line: the whole text */
  unsigned line, column; /* from 1; 0: not known */
};

struct err_info {
  const char *name;
  int http_status;
  bool retryable;
  const char *title;
};

const struct err_info *err_info(enum err_code code);

/* Fills *err and returns false, so that `return err_set(err, ...)` reads well. A NULL err is accepted.
 * Too long a text is cut at a character boundary. Hint and place are cleared. */
bool err_set(struct err *err, enum err_code code, const char *format, ...) PRINTF_LIKE(3, 4);
/* Adds the remedy to an error already set; returns false. */
bool err_hint(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);
/* Adds the place to an error already set; returns false. */
bool err_at(struct err *err, const char *path, unsigned line, unsigned column);
/* The place of a byte of `text`, which came under the name `path`. */
bool err_at_byte(struct err *err, const char *path, struct str text, size_t at);
/* Puts a sentence before the text: "what: text". Returns false. */
bool err_prefix(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);
/* From errno: ENOSPC, EDQUOT and EFBIG become ERR_NO_SPACE, ENOMEM ERR_NO_MEMORY, EMFILE and ENFILE ERR_OVERLOADED, ENOENT ERR_NOT_FOUND,
 * others ERR_IO. Returns false. */
bool err_errno(struct err *err, int error_number, const char *format, ...) PRINTF_LIKE(3, 4);
bool err_no_memory(struct err *err);
/* For want of memory, descriptors or room: a moment later the same may succeed. */
bool err_is_shortage(const struct err *err);
/* ERR_INTERNAL, ERR_IO: its text may name paths, statements or errno, so it is for the log, and no answer. */
bool err_is_inside(const struct err *err);

#endif
