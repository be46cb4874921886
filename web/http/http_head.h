/* The head of a request: strict, pure, in place. What is ambiguous anywhere is refused here: bare LF, folded lines, space before a colon,
 * two lengths, a length beside chunked, any other coding, more or less than one Host. */
#ifndef WINNOW_WEB_HTTP_HEAD_H
#define WINNOW_WEB_HTTP_HEAD_H

#include "base/err.h"
#include "web/http/http_method.h"
#include "web/http/http_url.h"

enum { HTTP_HEAD_MAX = 48 * 1024, HTTP_TARGET_MAX = 32 * 1024, HTTP_FIELDS_MAX = 64 };

struct http_field {
  struct str name;  /* a token, as sent */
  struct str value; /* without spaces around */
};

struct http_head {
  enum http_method method;
  struct str path;  /* begins with '/'; or "*" with OPTIONS */
  struct str query; /* without '?'; STR_NONE when there is none */
  struct http_authority host;
  uint64_t length; /* of the body; 0 when none is announced */
  uint32_t field_count;
  uint8_t minor; /* HTTP/1.minor */
  bool is_chunked;
  bool keep_alive;
  bool expects_continue;
  struct http_field fields[HTTP_FIELDS_MAX]; /* only the first field_count are set */
};

enum http_head_result { HTTP_HEAD_MORE, HTTP_HEAD_DONE, HTTP_HEAD_BAD };

/* Is the head complete? `bytes` is all that was received, *cursor is 0 at first and is kept between calls, so that feeding byte by byte
 * costs no more than feeding at once. DONE: *cursor is the length of the head. BAD: it can never become a head; *err says why. */
enum http_head_result http_head_scan(struct str bytes, size_t *cursor, struct err *err);

/* `bytes` is a whole head as found by http_head_scan(). All text in *ret is borrowed from it. On failure *err has the answer to give, and
 * path is set when the request line was readable, else STR_NONE. */
MUST_CHECK bool http_head_parse(struct str bytes, struct http_head *ret, struct err *err);

bool http_is_token(struct str text);
/* Visible ASCII, space, tab and bytes from 0x80 up. */
bool http_is_field_value(struct str text);
/* Takes the next element off a comma-separated list, trimmed; empty ones are skipped. False at the end. */
bool http_list_next(struct str *rest, struct str *ret_element);

#endif
