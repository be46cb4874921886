#include "base/shelf.h"

#include "base/mem.h"

void shelf_release(struct shelf *shelf) {
  for (size_t b = 0; b < SHELF_BLOCKS; b++) {
    mem_free(shelf->blocks[b]);
    shelf->blocks[b] = NULL;
  }
  shelf->cap = 0;
}

bool shelf_reserve(struct shelf *shelf, size_t count) {
  for (size_t b = 0; shelf->cap < count; b++) {
    size_t room = (size_t)SHELF_FIRST << b;
    if (b == SHELF_BLOCKS)
      return false;
    if (shelf->blocks[b])
      continue;
    shelf->blocks[b] = mem_array(room, shelf->size);
    if (!shelf->blocks[b])
      return false;
    shelf->cap += room;
  }
  return true;
}
