/* What companions that died in disorder leave running: ended, and waited for. Every process of a job carries the run's id and the attempt
 * in its environment, and so does its companion, for the moment in which a child of it is not the command yet. */
#ifndef WINNOW_SWEEPER_LEFTOVERS_H
#define WINNOW_SWEEPER_LEFTOVERS_H

#include "base/id.h"
#include "base/loop.h"
#include "base/work.h"

struct leftovers;

/* Nothing of the attempt is left. */
typedef void leftovers_gone_fn(void *ctx, struct id run, int32_t attempt);

/* Looking at all processes takes a while, so it is done on `work`, once for all attempts that wait; NULL: on the loop. */
MUST_CHECK struct leftovers *leftovers_new(struct loop *loop, struct work_pool *work, leftovers_gone_fn *fn, void *ctx, struct err *err);
/* Nobody is told any more. Accepts NULL. */
void leftovers_free(struct leftovers *leftovers);
/* Ends what the attempt has left, then tells, once and later. False: no memory, nothing is done. */
MUST_CHECK bool leftovers_end(struct leftovers *leftovers, struct id run, int32_t attempt, struct err *err);

/* ---- one look ---- */

enum leftover_found {
  LEFTOVER_NONE,
  LEFTOVER_UNSURE, /* somebody is on the way out, or into another program, and has no environment: it may be one of them */
  LEFTOVER_UNSEEN, /* there was no memory, or no descriptor, to look at everybody */
  LEFTOVER_SOME,   /* they have been sent KILL, and still hold what they had */
};

struct leftover {
  struct id run;
  int32_t attempt;
  enum leftover_found found;
};
/* One look at all processes for all these attempts. Sorts the list. */
void leftovers_look(struct leftover *list, size_t count);

/* The variables of the environment that tell whose a process is. */
struct leftover_marks {
  char run[80], attempt[64];
};
void leftover_marks_make(struct leftover_marks *marks, struct id run, int32_t attempt);

/* A process gives up its memory, and with it its environment, before its files and locks; from then on only root may ask for it. A new
 * program gets its environment last, and whoever was about to read the one before finds nothing. Is one whose environment was empty, and of
 * which /proc/PID/stat says this afterwards, in between? Pure. */
bool leftover_is_between(struct str stat, bool readable, bool is_mine);

#endif
