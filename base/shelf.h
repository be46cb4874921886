/* An array that grows without moving: its blocks are each twice as large as the one before. So pointers to elements stay good, growing
 * copies nothing, and the part of the last block that nobody has touched yet costs no memory. */
#ifndef WINNOW_BASE_SHELF_H
#define WINNOW_BASE_SHELF_H

#include "base/base.h"

enum { SHELF_FIRST = 16, SHELF_BLOCKS = 28 }; /* 2^32 elements */

struct shelf {
  void *blocks[SHELF_BLOCKS];
  size_t size; /* of an element */
  size_t cap;
};

#define SHELF_INIT(type) \
  { .size = sizeof(type) }

/* Frees the elements. */
void shelf_release(struct shelf *shelf);
/* Room for so many; elements are zeroed. False without memory, and nothing is changed. */
MUST_CHECK bool shelf_reserve(struct shelf *shelf, size_t count);

/* `index` is below `cap`. */
static inline void *shelf_at(const struct shelf *shelf, size_t index) {
  unsigned block = 63 - (unsigned)__builtin_clzll(index / SHELF_FIRST + 1);
  size_t first = SHELF_FIRST * (((size_t)1 << block) - 1);
  return (char *)shelf->blocks[block] + (index - first) * shelf->size;
}

#endif
