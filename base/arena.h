/* Bump allocation with one lifetime. Not thread-safe. */
#ifndef WINNOW_BASE_ARENA_H
#define WINNOW_BASE_ARENA_H

#include "base/str.h"

struct arena_block;

struct arena {
  struct arena_block *blocks; /* newest first */
  size_t used;                /* bytes handed out since the last reset */
  size_t max;                 /* the ceiling */
};

void arena_init(struct arena *arena, size_t max);
#define ARENA_INIT(ceiling) ((struct arena){.max = (ceiling)})
void arena_release(struct arena *arena);
#define AUTO_ARENA CLEANUP(arena_release)
/* Frees all but one small block, which is reused. Everything handed out is gone. */
void arena_reset(struct arena *arena);

/* Aligned for any type; NULL at the ceiling or without memory. */
MUST_CHECK void *arena_alloc(struct arena *arena, size_t size);
MUST_CHECK void *arena_zalloc(struct arena *arena, size_t size);
/* Zeroed; NULL also when count * size does not fit. */
MUST_CHECK void *arena_array(struct arena *arena, size_t count, size_t size);
#define ARENA_NEW(arena, type) ((type *)arena_zalloc((arena), sizeof(type)))
#define ARENA_NEW_ARRAY(arena, type, count) ((type *)arena_array((arena), (count), sizeof(type)))
/* NUL-ended copies. */
MUST_CHECK char *arena_strdup(struct arena *arena, struct str s);
MUST_CHECK char *arena_printf(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
