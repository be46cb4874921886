/* Who changes what lies at a path waits for those who came before to the same path, to one above it or to one below it. */
#ifndef WINNOW_TRACKER_PATH_TURNS_H
#define WINNOW_TRACKER_PATH_TURNS_H

#include "base/err.h"
#include "base/list.h"
#include "base/str.h"

enum { PATH_TURNS_MAX = 4096 }; /* who comes when so many are there is refused */

/* Zero-initialise. */
struct path_turns {
  struct list all;   /* in the order they came */
  struct list ready; /* those whose turn has come, and who have not been told yet */
  bool telling;
};

/* Embedded in whoever waits; zero-initialise. */
struct path_turn {
  struct list_node node, ready;
  struct path_turns *turns; /* NULL: not taken */
  struct str path;          /* borrowed until the turn is over */
  size_t before;            /* how many it still waits for */
  void (*fn)(void *ctx);    /* it is this one's turn now */
  void *ctx;
};

/* Is one at, above or below the other? Who takes both waits for himself. */
bool path_turn_excludes(struct str a, struct str b);

enum path_turn_when { PATH_TURN_REFUSED, PATH_TURN_NOW, PATH_TURN_LATER };

/* Now: `fn` is not called; later: it is called by the end of another's. Refused: there are too many, *err says so. `turn` has path, fn and
 * ctx. */
MUST_CHECK enum path_turn_when path_turn_take(struct path_turns *turns, struct path_turn *turn, struct err *err);
/* Those who waited for this one alone are called from here, one after the other, also when they end theirs at once. Does nothing for one
 * that was not taken. */
void path_turn_end(struct path_turn *turn);

#endif
