#include "sweeper/rules/heard.h"

#include <math.h>

#include "base/mem.h"

struct heard_item {
  uint64_t hash; /* of key, step and value; 0: free */
  uint32_t source;
};

void heard_release(struct heard *heard) {
  mem_free(heard->items);
  *heard = (struct heard){.items = NULL};
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t n) {
  for (size_t i = 0; i < n; i++)
    hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
  return hash;
}

uint64_t heard_hash(struct str key, int64_t step, double value) {
  uint64_t hash = mix(14695981039346656037u, key.p, key.n);
  value = isnan(value) ? (double)NAN : value;
  hash = mix(hash, &step, sizeof step);
  hash = mix(hash, &value, sizeof value);
  hash ^= hash >> 32;
  return hash ? hash : 1;
}

int heard_by_hash(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* Where it is, or would be; there is always a free place. */
static struct heard_item *place(const struct heard *heard, uint64_t hash) {
  size_t i = hash & (heard->cap - 1);
  while (heard->items[i].hash && heard->items[i].hash != hash)
    i = (i + 1) & (heard->cap - 1);
  return &heard->items[i];
}

/* Room for one more: a bigger table, or, of one that may not grow, an empty one. */
static bool make_room(struct heard *heard) {
  struct heard bigger = {.cap = heard->cap ? heard->cap * 2 : 64};
  if (heard->count * 2 < heard->cap)
    return true;
  if (heard->cap == HEARD_MAX) {
    memset(heard->items, 0, heard->cap * sizeof *heard->items);
    heard->count = 0;
    return true;
  }
  bigger.items = mem_array(bigger.cap, sizeof *bigger.items);
  if (!bigger.items)
    return false;
  for (size_t i = 0; i < heard->cap; i++)
    if (heard->items[i].hash)
      *place(&bigger, heard->items[i].hash) = heard->items[i];
  mem_free(heard->items);
  bigger.count = heard->count;
  *heard = bigger;
  return true;
}

bool heard_before(struct heard *heard, uint32_t source, struct str key, int64_t step, double value) {
  uint64_t hash = heard_hash(key, step, value);
  if (!make_room(heard))
    return false;
  struct heard_item *item = place(heard, hash);
  if (item->hash)
    return item->source != source;
  heard->count++;
  *item = (struct heard_item){hash, source};
  return false;
}
