#include "base/id_map.h"

#include "base/mem.h"

enum { LOOK_AHEAD = 8 };

/* Open addressing, linear probing, removal by shifting back. */

static size_t home_of(const struct id_map *map, const struct id *id) {
  static uint64_t seed;
  if (!seed) {
    rng_secret(&seed, sizeof seed);
    seed |= 1;
  }
  uint64_t words[2];
  memcpy(words, id->bytes, sizeof words);
  return (size_t)rng_mix(rng_mix(words[0] ^ seed) ^ words[1]) & (map->cap - 1);
}

void id_map_init(struct id_map *map, size_t max) {
  *map = (struct id_map){.max = max};
}

void id_map_release(struct id_map *map) {
  mem_free(map->slots);
  map->slots = NULL;
  map->count = map->cap = 0;
}

/* Where the id is, or the free place where it would go. There is one. */
static size_t find(const struct id_map *map, const struct id *id) {
  size_t i = home_of(map, id);
  while (map->slots[i] && !id_eq(*map->slots[i], *id))
    i = (i + 1) & (map->cap - 1);
  return i;
}

struct id *id_map_get(const struct id_map *map, struct id id) {
  return map->cap ? map->slots[find(map, &id)] : NULL;
}

/* Where an id goes that is not in it. */
static size_t vacancy(const struct id_map *map, const struct id *id) {
  size_t i = home_of(map, id);
  while (map->slots[i])
    i = (i + 1) & (map->cap - 1);
  return i;
}

static bool grow(struct id_map *map) {
  struct id_map bigger = *map;
  bigger.cap = map->cap ? map->cap * 2 : 16;
  bigger.slots = mem_array(bigger.cap, sizeof *bigger.slots);
  if (!bigger.slots)
    return false;
  for (size_t i = 0; i < map->cap; i++) {
    __builtin_prefetch(map->slots[(i + LOOK_AHEAD) & (map->cap - 1)]); /* ids lie anywhere */
    if (map->slots[i])
      bigger.slots[vacancy(&bigger, map->slots[i])] = map->slots[i];
  }
  mem_free(map->slots);
  *map = bigger;
  return true;
}

bool id_map_put(struct id_map *map, struct id *id) {
  /* Half of it stays free: each id that is passed over is looked up where it lies, which is slow in a large map. */
  if ((map->count + 1) * 2 > map->cap && !grow(map))
    return false;
  size_t at = find(map, id);
  if (!map->slots[at] && map->count >= map->max)
    return false;
  map->count += !map->slots[at];
  map->slots[at] = id;
  return true;
}

void id_map_remove(struct id_map *map, struct id id) {
  size_t i = map->cap ? find(map, &id) : 0, mask = map->cap - 1;
  if (!map->cap || !map->slots[i])
    return;
  /* Move back what follows, unless it already stands at or after its home. */
  for (size_t j = (i + 1) & mask; map->slots[j]; j = (j + 1) & mask) {
    if (((j - home_of(map, map->slots[j])) & mask) >= ((j - i) & mask)) {
      map->slots[i] = map->slots[j];
      i = j;
    }
  }
  map->slots[i] = NULL;
  map->count--;
}
