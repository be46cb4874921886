/* Searches that take long take turns: few run at once, so that the statements of others find a connection that is free, and some wait. */
#ifndef WINNOW_WEB_HEAVY_H
#define WINNOW_WEB_HEAVY_H

#include "base/err.h"
#include "base/list.h"
#include "storage/pg/pg.h"
#include "web/http/http_req.h"

enum { SEARCH_TIMEOUT_MS = 30000 };

struct heavy_turn {
  struct http_req *req; /* answered here when it has gone, waits too long, or cannot be started */
  /* What it does in its turn, within so much time; heavy_end() ends the turn. False: it has not begun. */
  bool (*run)(void *ctx, int64_t left_ms, struct err *err);
  void *ctx;
  const char *hint; /* what its reader could ask for that takes less */
  /* private */
  struct list_node node;
  int64_t until_ms;
  bool has_turn;
};

/* Runs it now or later. One that comes again, to go on where it stopped, goes before the others and has only the time that is left.
 * ERR_OVERLOADED: too many wait. */
MUST_CHECK bool heavy_take(struct heavy_turn *turn, struct err *err);
/* For what goes on in its turn; 0, no limit of its own, where it has taken none. */
int64_t heavy_left_ms(const struct heavy_turn *turn);
/* The next ones get it. Does nothing when it has none. */
void heavy_end(struct heavy_turn *turn);
/* Of the outcome of what ran: it took more than it was given. */
bool heavy_was_too_long(const struct heavy_turn *turn, const struct pg_reply *reply);
void heavy_reply_too_long(const struct heavy_turn *turn);

#endif
