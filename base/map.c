#include "base/map.h"

#include "base/mem.h"
#include "base/rng.h"

/* Open addressing, linear probing, removal by shifting back. */
struct map_slot {
  char *key; /* NULL: free */
  size_t key_n;
  uint64_t hash;
  void *value;
};

static uint64_t hash_of(struct str key) {
  static uint64_t seed;
  if (!seed) {
    rng_secret(&seed, sizeof seed);
    seed |= 1;
  }
  uint64_t h = seed ^ (key.n * 0x9e3779b97f4a7c15u);
  size_t i = 0;
  for (; i + 8 <= key.n; i += 8) {
    uint64_t word;
    memcpy(&word, key.p + i, 8);
    h = rng_mix(h ^ word) + seed;
  }
  uint64_t tail = 0;
  if (i < key.n)
    memcpy(&tail, key.p + i, key.n - i);
  return rng_mix(h ^ tail);
}

void map_init(struct map *map, size_t max) {
  *map = (struct map){.max = max};
}

void map_release(struct map *map) {
  for (size_t i = 0; i < map->cap; i++)
    mem_free(map->slots[i].key);
  mem_free(map->slots);
  map->slots = NULL;
  map->count = map->cap = 0;
}

/* The slot of the key, or the free one where it would go. The table has a free slot. */
static size_t find(const struct map *map, struct str key, uint64_t hash) {
  size_t mask = map->cap - 1;
  size_t i = (size_t)hash & mask;
  while (map->slots[i].key) {
    const struct map_slot *slot = &map->slots[i];
    if (slot->hash == hash && str_eq(str_n(slot->key, slot->key_n), key))
      break;
    i = (i + 1) & mask;
  }
  return i;
}

void *map_get(const struct map *map, struct str key) {
  if (!map->cap)
    return NULL;
  const struct map_slot *slot = &map->slots[find(map, key, hash_of(key))];
  return slot->key ? slot->value : NULL;
}

static bool grow(struct map *map) {
  struct map bigger = *map;
  bigger.cap = map->cap ? map->cap * 2 : 16;
  bigger.slots = mem_array(bigger.cap, sizeof *bigger.slots);
  if (!bigger.slots)
    return false;
  for (size_t i = 0; i < map->cap; i++)
    if (map->slots[i].key)
      bigger.slots[find(&bigger, str_n(map->slots[i].key, map->slots[i].key_n), map->slots[i].hash)] = map->slots[i];
  mem_free(map->slots);
  *map = bigger;
  return true;
}

bool map_put(struct map *map, struct str key, void *value, void **ret_old) {
  if ((map->count + 1) * 4 > map->cap * 3 && !grow(map))
    return false;
  uint64_t hash = hash_of(key);
  struct map_slot *slot = &map->slots[find(map, key, hash)];
  void *old = NULL;
  if (slot->key) {
    old = slot->value;
    slot->value = value;
  } else {
    if (map->count >= map->max)
      return false;
    char *copy = mem_strndup(key.p, key.n);
    if (!copy)
      return false;
    *slot = (struct map_slot){copy, key.n, hash, value};
    map->count++;
  }
  if (ret_old)
    *ret_old = old;
  return true;
}

void *map_remove(struct map *map, struct str key) {
  if (!map->cap)
    return NULL;
  size_t mask = map->cap - 1;
  size_t i = find(map, key, hash_of(key));
  if (!map->slots[i].key)
    return NULL;
  void *value = map->slots[i].value;
  mem_free(map->slots[i].key);
  /* Move back what follows, unless it already stands at or after its home. */
  for (size_t j = (i + 1) & mask; map->slots[j].key; j = (j + 1) & mask) {
    size_t home = (size_t)map->slots[j].hash & mask;
    if (((j - home) & mask) >= ((j - i) & mask)) {
      map->slots[i] = map->slots[j];
      i = j;
    }
  }
  map->slots[i] = (struct map_slot){0};
  map->count--;
  return value;
}

bool map_next(const struct map *map, size_t *cursor, struct str *ret_key, void **ret_value) {
  for (; *cursor < map->cap; ++*cursor) {
    const struct map_slot *slot = &map->slots[*cursor];
    if (slot->key) {
      *ret_key = str_n(slot->key, slot->key_n);
      *ret_value = slot->value;
      ++*cursor;
      return true;
    }
  }
  return false;
}
