/* Server-sent events: bytes in, events out. Pure. */
#ifndef WINNOW_CLI_SSE_H
#define WINNOW_CLI_SSE_H

#include "base/buf.h"

struct sse_event {
  struct str type; /* "message" when none was named */
  struct str data;
  struct str id; /* the last id seen, also when this event has none */
};

/* The event's texts are valid during the call. False stops the parser. */
typedef bool sse_fn(void *ctx, const struct sse_event *event);

struct sse_parser {
  struct buf line, data, type, id, new_id;
  int64_t retry_ms; /* what the server asked for; -1: nothing yet */
  bool has_data;
  bool after_cr; /* a LF that follows belongs to the line's end */
  bool begun;    /* a byte order mark is not looked for any more */
  bool stopped;
};

enum { SSE_MAX_EVENT = 8 * 1024 * 1024 };

void sse_init(struct sse_parser *parser);
void sse_release(struct sse_parser *parser);
/* Forgets a half event but not the last id: for a new connection. */
void sse_reconnect(struct sse_parser *parser);
/* False when an event passes the ceiling (ERR_TOO_LARGE) or there is no memory, or `fn` asked to stop (err code ERR_CANCELLED). */
MUST_CHECK bool sse_feed(struct sse_parser *parser, struct str bytes, sse_fn *fn, void *ctx, struct err *err);
struct str sse_last_id(const struct sse_parser *parser);

#endif
