/* What a companion that died in disorder leaves running. Every process of a job carries the run's id and the attempt in its environment,
 * and so does its companion, for the moment in which a child of it is not the command yet. */
#ifndef WINNOW_SWEEPER_LEFTOVERS_H
#define WINNOW_SWEEPER_LEFTOVERS_H

#include "base/id.h"

struct leftover_marks {
  char run[80], attempt[64]; /* variables of the environment */
};
void leftover_marks_make(struct leftover_marks *marks, struct id run, int32_t attempt);

enum leftovers {
  LEFTOVERS_NONE,
  LEFTOVERS_UNSURE, /* somebody is on the way out, or into another program, and has no environment: it may be one of them */
  LEFTOVERS_UNSEEN, /* there was no memory, or no descriptor, to look at everybody */
  LEFTOVERS_SOME,
};
/* Sends KILL to all of them, and says who was there: those still hold what they had. Look again in a moment. */
enum leftovers leftovers_kill(const struct leftover_marks *marks);

/* A process gives up its memory, and with it its environment, before its files and locks; from then on only root may ask for it. A new
 * program gets its environment last. Is one without environment, of which /proc/PID/stat says this, in between? Pure. */
bool leftovers_is_between(struct str stat, bool readable, bool is_mine);

#endif
