/* A log that is filtered or followed, as a stream: read page by page, lines made and matched on the thread pool, sent no faster than the
 * client takes it. */
#ifndef WINNOW_WEB_LOG_READER_H
#define WINNOW_WEB_LOG_READER_H

#include "storage/pg/pg.h"
#include "tracker/logs/log_store.h"
#include "web/http/http_req.h"

enum { LOG_REPLY_MAX = 8 * 1024 * 1024 };

/* What is asked for, and where it stands. Lives in the request's arena. */
struct log_ask {
  struct http_req *req;
  struct id run;
  enum log_stream_name stream;
  int32_t wanted_attempt;     /* 0: the newest that printed something */
  int32_t attempt;            /* 0: none has yet */
  int64_t from, limit, tail;  /* tail -1: none */
  int64_t first, tail_window; /* while the last lines are looked for ... */
  int64_t tail_end;           /* ... before here */
  int64_t end;                /* stored up to here */
  const char *grep;           /* NULL: every line */
  bool follow, plain;
};

/* The run's state (one row, or none) and its streams, as two results. */
MUST_CHECK bool log_ask_streams(struct log_ask *ask, pg_done_fn *done, void *ctx, struct err *err);
/* Takes attempt and end from the streams. */
void log_ask_take(struct log_ask *ask, const struct pg_reply *streams);

/* Answers, from ask->from on; headers may have been set. On failure nothing has been answered. */
MUST_CHECK bool log_reader_start(struct log_ask *ask, struct err *err);

#endif
