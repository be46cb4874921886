/* Finds things by the id they hold. The map keeps pointers to the ids and nothing else, so an entry costs 16 to 32 bytes, and an id
 * must stay where it is while it is in. The hash is seeded. */
#ifndef WINNOW_BASE_ID_MAP_H
#define WINNOW_BASE_ID_MAP_H

#include "base/id.h"

struct id_map {
  struct id **slots;
  size_t count;
  size_t cap;
  size_t max; /* ceiling on entries */
};

void id_map_init(struct id_map *map, size_t max);
void id_map_release(struct id_map *map);

/* The id that was put in, for CONTAINER_OF(); NULL when absent. */
struct id *id_map_get(const struct id_map *map, struct id id);
/* Replaces an equal id. False at the ceiling or without memory, and nothing is changed. */
MUST_CHECK bool id_map_put(struct id_map *map, struct id *id);
/* Does nothing when it is absent. */
void id_map_remove(struct id_map *map, struct id id);

#endif
