/* Who changes what lies at a path waits for those who came before to the same path, to one above it or to one below it. */
#ifndef WINNOW_TRACKER_PATH_TURNS_H
#define WINNOW_TRACKER_PATH_TURNS_H

#include "base/list.h"
#include "base/str.h"

/* Embedded in whoever waits; zero-initialise. */
struct path_turn {
  struct list_node node;
  struct str path; /* borrowed until the turn is over */
  bool is_on;
  void (*fn)(void *ctx); /* it is this one's turn now */
  void *ctx;
};

/* True: its turn has come at once, and `fn` is not called; else `fn` is called by the end of another's. `turn` has path, fn and ctx. */
MUST_CHECK bool path_turn_take(struct list *turns, struct path_turn *turn);
/* Whoever waited for this one may be called from here. Does nothing for one that was not taken. */
void path_turn_end(struct path_turn *turn);

#endif
