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

/* A walk over the points that are in no trial yet: in order, or shuffled by a seed. */
struct walk {
  struct lattice lattice;
  uint64_t seed;
  bool shuffled;
  uint64_t next;    /* all before were taken or are none */
  size_t gone_seen; /* trials that gave their point back */
};

/* The walk's next point, which stays the next one until the history has it. False when no more is left, or after `limit` cells without one
 * (*ret_gave_up): then the walk goes on from there at the next call. */
bool walk_next(struct walk *walk, const struct history *history, uint64_t limit, double *ret_point, bool *ret_gave_up);

/* Where `i` of [0, size) goes in a shuffle of all of them that is given by the seed. */
uint64_t shuffle_place(uint64_t seed, uint64_t size, uint64_t i);

#endif
