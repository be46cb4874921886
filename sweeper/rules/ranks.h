/* Values in order, with ranks: a treap in an array. Equal values keep a fixed order (by id), so the shape and every answer depend only on
 * what is in it. NaN comes last. */
#ifndef WINNOW_SWEEPER_RANKS_H
#define WINNOW_SWEEPER_RANKS_H

#include "base/base.h"

struct ranks_node {
  double value;
  uint32_t id;
  uint32_t size; /* of the subtree */
  uint32_t child[2];
};

struct ranks {
  struct ranks_node *nodes; /* [0] is the empty tree */
  uint32_t root, used, cap, free;
  uint32_t max; /* ceiling on entries */
};

void ranks_init(struct ranks *ranks, uint32_t max);
void ranks_release(struct ranks *ranks);
static inline uint32_t ranks_count(const struct ranks *ranks) {
  return ranks->nodes ? ranks->nodes[ranks->root].size : 0;
}
/* False at the ceiling or without memory. The same (value, id) twice is kept twice. */
MUST_CHECK bool ranks_add(struct ranks *ranks, double value, uint32_t id);
/* False when it is not there. */
bool ranks_remove(struct ranks *ranks, double value, uint32_t id);
/* How many are strictly below in the order (all NaN are equal, and above everything). */
uint32_t ranks_below(const struct ranks *ranks, double value);
/* How many stand before (value, id). */
uint32_t ranks_before(const struct ranks *ranks, double value, uint32_t id);
/* The entry at position `index` from the smallest; index < count. */
double ranks_at(const struct ranks *ranks, uint32_t index);
uint32_t ranks_id_at(const struct ranks *ranks, uint32_t index);

/* -1, 0, 1 with NaN last. */
int ranks_compare(double a, double b);

#endif
