/* A point for a trial by chance: drawn, or one of those that are left of a finite space, or near one that is allowed. Constraints may leave
 * so little that looking takes long, so it goes in steps. Those that see the history look at few points each; the runs between them look
 * at many, on any thread. The point depends on the space, the seed, the trial's number and the history, and not on how steps and runs went.
 */
#ifndef WINNOW_SAMPLER_SEEK_H
#define WINNOW_SAMPLER_SEEK_H

#include "sampler/branch.h"
#include "sampler/draw.h"
#include "sampler/lattice.h"

/* What the seeks of one sampler have in common. */
struct seeker {
  const struct history *history;
  const struct space *space;
  uint64_t seed;
  struct walk walk; /* over a finite space, or the grid's cells */
  bool has_walk;
  bool is_even; /* the points of the walk are equally likely */
  bool is_tree; /* finite, with so many cells, of which conditions make few points, that only those are visited */
};

/* Of a grid the walk is in order, but for `shuffle`. Fails as lattice_init() does, of a grid. */
MUST_CHECK bool seeker_init(struct seeker *seeker, const struct history *history, uint64_t seed, enum lattice_kind kind, bool shuffle,
                            struct err *err);
void seeker_release(struct seeker *seeker);
/* Is every point of the walk taken? False also where it takes long to know. */
bool seeker_is_used_up(struct seeker *seeker);

enum seek_state {
  SEEK_FOUND,
  SEEK_NONE_LEFT, /* every point of a finite space is taken */
  SEEK_MORE,      /* a run, and then the next step */
  SEEK_FAILED,    /* the constraints leave too little. Of a walk: for now; the next seek goes on where this one has come to */
};

enum seek_way { SEEK_DRAWS, SEEK_WALK, SEEK_TREE, SEEK_FIRST, SEEK_NEAR };

/* Looking for one trial's point; zero-initialise where there is none yet. */
struct seek {
  const struct space *space;
  enum seek_way way;
  uint32_t number;
  const char *why; /* what the point is that is found, in a few words */
  uint64_t looked; /* at cells of the walk, in runs */
  unsigned tries;  /* allowed draws that were taken; or points near others */
  struct draws draws;
  struct walk_run run;
  struct branch *branch;
  struct rng rng;
};

/* Begins; `why` is told of a point that is drawn, or of any of the walk. */
void seek_any(struct seek *seek, const struct seeker *seeker, uint32_t number, const char *why);
void seek_next_of_walk(struct seek *seek, const struct seeker *seeker, uint32_t number, const char *why);
enum seek_state seek_step(struct seeker *seeker, struct seek *seek, double *ret_point);
/* Touches nothing but this seek. */
void seek_run(struct seek *seek);
/* What was learned of the walk serves the next. Also of one that has not begun. */
void seek_end(struct seeker *seeker, struct seek *seek);
/* The same where nothing is to be learned. */
void seek_release(struct seek *seek);

#endif
