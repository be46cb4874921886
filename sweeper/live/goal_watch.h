/* The goal metric that does not come: the names that came instead, and a warning that says so with the nearest of them. Names are never
 * guessed: they are suggested. */
#ifndef WINNOW_SWEEPER_GOAL_WATCH_H
#define WINNOW_SWEEPER_GOAL_WATCH_H

#include "base/buf.h"
#include "base/str.h"

enum { GOAL_NAMES_MAX = 64 };

struct goal_watch {
  char *names[GOAL_NAMES_MAX]; /* seen in place of the goal, in the order of their coming */
  size_t count;
  bool seen;     /* the goal has come */
  char *warning; /* given, and not withdrawn; NULL: none */
};

void goal_watch_release(struct goal_watch *watch);
/* Without memory, and beyond GOAL_NAMES_MAX, a name is not noted. */
void goal_watch_name(struct goal_watch *watch, struct str name);
/* The name that is most like the goal; NULL: none is. */
const char *goal_watch_nearest(const struct goal_watch *watch, struct str goal);
/* `; the nearest name seen is "x"`, or which names were seen, or that there were none. */
void goal_watch_explain(const struct goal_watch *watch, struct str goal, struct buf *out);

#endif
