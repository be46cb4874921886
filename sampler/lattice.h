/* The points of a finite space (or the cells of a grid) by number, and orders to walk them in. The last parameter runs fastest. */
#ifndef WINNOW_SAMPLER_LATTICE_H
#define WINNOW_SAMPLER_LATTICE_H

#include "sampler/history.h"

enum lattice_kind {
  LATTICE_ALL,  /* every value of every parameter */
  LATTICE_GRID, /* the values grid search takes */
};

struct lattice {
  const struct space *space;
  enum lattice_kind kind;
  uint64_t size; /* cells, some of which may not be points: see lattice_point() */
};

/* ERR_INVALID, with the parameter's name, when one has no finite number of values; ERR_TOO_LARGE when there are 2^62 cells or more. */
MUST_CHECK bool lattice_init(struct lattice *lattice, const struct space *space, enum lattice_kind kind, struct err *err);
/* The point of a cell. False when the cell is none: the same point as another because a parameter is not in use there, or against a
 * constraint. */
bool lattice_point(const struct lattice *lattice, uint64_t cell, double *ret_point);
#define LATTICE_COUNT_MAX ((uint64_t)10 * 1000 * 1000)
/* How many cells are points. Visits them all; beyond LATTICE_COUNT_MAX cells it takes them all for points instead. */
uint64_t lattice_count(const struct lattice *lattice);

/* A walk over the points that are in no trial yet: in order, or shuffled by a seed. Where constraints leave few points among many cells it
 * remembers the stretches without one. */
struct walk {
  struct lattice lattice;
  uint64_t seed;
  bool shuffled;
  uint64_t next;                                 /* all before were taken or are none */
  uint64_t barren;                               /* from here to `next` there is no point, taken or not */
  size_t gone_seen;                              /* trials that gave their point back: then it begins again */
  struct stretch *stretches;                     /* in order */
  size_t stretch_count, stretch_cap, stretch_at; /* stretch_at: all before it are behind `next` */
};

void walk_release(struct walk *walk);

enum walk_state {
  WALK_FOUND,
  WALK_END,  /* no more is left */
  WALK_MORE, /* nothing was found with this budget; the next call goes on from there */
};

/* The walk's next point, which stays the next one until the history has it. Each cell that is looked at takes one off *budget. */
enum walk_state walk_next(struct walk *walk, const struct history *history, uint64_t *budget, double *ret_point);

/* Looks on for the next cell that is a point, taken or not, from where the walk is; touches neither walk nor history. */
struct walk_run {
  struct lattice lattice;
  uint64_t seed;
  bool shuffled;
  uint64_t barren, from, to; /* there is no point from `barren` to `to` */
};

struct walk_run walk_run_of(const struct walk *walk);
/* At `budget` cells at most; returns at how many it looked. */
uint64_t walk_run(struct walk_run *run, uint64_t budget);
/* The walk goes over what a run has found to be without a point. */
void walk_take_in(struct walk *walk, const struct walk_run *run);

/* Where `i` of [0, size) goes in a shuffle of all of them that is given by the seed. */
uint64_t shuffle_place(uint64_t seed, uint64_t size, uint64_t i);

#endif
