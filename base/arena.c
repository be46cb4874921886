#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>

#include "base/mem.h"

struct arena_block {
  struct arena_block *older;
  size_t size; /* of data */
  size_t used;
  alignas(max_align_t) char data[];
};

enum { FIRST_BLOCK = 2000, LARGEST_BLOCK = 64 * 1024 };

void arena_init(struct arena *arena, size_t max) {
  *arena = ARENA_INIT(max);
}

void arena_release(struct arena *arena) {
  for (struct arena_block *block = arena->blocks; block;) {
    struct arena_block *older = block->older;
    mem_free(block);
    block = older;
  }
  arena->blocks = NULL;
  arena->used = 0;
}

void arena_reset(struct arena *arena) {
  struct arena_block *keep = NULL;
  for (struct arena_block *block = arena->blocks; block;) {
    struct arena_block *older = block->older;
    if (!keep && block->size <= (size_t)FIRST_BLOCK * 2)
      keep = block;
    else
      mem_free(block);
    block = older;
  }
  if (keep) {
    keep->older = NULL;
    keep->used = 0;
  }
  arena->blocks = keep;
  arena->used = 0;
}

static struct arena_block *new_block(struct arena *arena, size_t at_least) {
  size_t size = arena->blocks ? MIN_OF(arena->blocks->size * 2, (size_t)LARGEST_BLOCK) : (size_t)FIRST_BLOCK;
  size = MAX_OF(size, at_least);
  struct arena_block *block = mem_alloc(sizeof *block + size);
  if (!block)
    return NULL;
  block->size = size;
  block->used = 0;
  /* A large block of its own goes behind the current one, whose rest stays of use. */
  if (arena->blocks && at_least > (size_t)LARGEST_BLOCK / 4) {
    block->older = arena->blocks->older;
    arena->blocks->older = block;
  } else {
    block->older = arena->blocks;
    arena->blocks = block;
  }
  return block;
}

void *arena_alloc(struct arena *arena, size_t size) {
  if (size > SIZE_MAX / 4)
    return NULL;
  size_t rounded = (MAX_OF(size, (size_t)1) + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
  if (rounded > arena->max - MIN_OF(arena->used, arena->max))
    return NULL;
  struct arena_block *block = arena->blocks;
  if (!block || block->size - block->used < rounded) {
    block = new_block(arena, rounded);
    if (!block)
      return NULL;
  }
  void *ptr = block->data + block->used;
  block->used += rounded;
  arena->used += rounded;
  return ptr;
}

void *arena_zalloc(struct arena *arena, size_t size) {
  void *ptr = arena_alloc(arena, size);
  if (ptr)
    memset(ptr, 0, size);
  return ptr;
}

void *arena_array(struct arena *arena, size_t count, size_t size) {
  size_t total;
  if (__builtin_mul_overflow(count, size, &total))
    return NULL;
  return arena_zalloc(arena, total);
}

char *arena_strdup(struct arena *arena, struct str s) {
  char *copy = arena_alloc(arena, s.n + 1);
  if (!copy)
    return NULL;
  if (s.n)
    memcpy(copy, s.p, s.n);
  copy[s.n] = 0;
  return copy;
}

char *arena_printf(struct arena *arena, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, format, args);
  char *text = n < 0 ? NULL : arena_alloc(arena, (size_t)n + 1);
  if (text)
    vsnprintf(text, (size_t)n + 1, format, again);
  va_end(again);
  va_end(args);
  return text;
}
