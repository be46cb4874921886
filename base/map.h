/* Hash map from bytes to a pointer. Keys are copied. The hash is seeded, so that nobody can choose colliding keys. */
#ifndef WINNOW_BASE_MAP_H
#define WINNOW_BASE_MAP_H

#include "base/str.h"

struct map_slot;

struct map {
  struct map_slot *slots;
  size_t count;
  size_t cap;
  size_t max; /* ceiling on entries */
};

void map_init(struct map *map, size_t max);
/* Does not free the values. */
void map_release(struct map *map);

/* NULL when absent. */
void *map_get(const struct map *map, struct str key);
/* Replaces; *ret_old (may be NULL) gets what was there before. False at the ceiling or without memory, and nothing is changed. `value` is
 * not NULL. */
MUST_CHECK bool map_put(struct map *map, struct str key, void *value, void **ret_old);
/* Returns what was there, or NULL. */
void *map_remove(struct map *map, struct str key);

/* for (size_t i = 0; map_next(&map, &i, &key, &value);) ... ; the map must not change in between. */
bool map_next(const struct map *map, size_t *cursor, struct str *ret_key, void **ret_value);

#endif
