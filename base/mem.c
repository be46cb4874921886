#define WINNOW_ALLOW_MALLOC /* this is the wrapper */
#include "base/mem.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/str.h"

enum {
  LARGE_BLOCK = 128 * 1024, /* glibc's own, before it adapts */
  KEPT_FREE = 2 * 1024 * 1024,
  TRIM_FROM = 32 * 1024 * 1024
};

static _Atomic unsigned long fail_at; /* 0: never */
static _Atomic bool fail_sticky;
static _Atomic bool has_failed;
static _Atomic unsigned long allocations;

static bool must_fail(void) {
  unsigned long n = atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed) + 1;
  unsigned long at = atomic_load_explicit(&fail_at, memory_order_relaxed);
  bool fails = at && (n == at || (n > at && atomic_load_explicit(&fail_sticky, memory_order_relaxed)));
  if (fails)
    atomic_store_explicit(&has_failed, true, memory_order_relaxed);
  return fails;
}

bool mem_has_failed(void) {
  return atomic_load(&has_failed);
}

unsigned long mem_fail_at(unsigned long n, bool sticky) {
  unsigned long count = atomic_exchange(&allocations, 0);
  atomic_store(&has_failed, false);
  atomic_store(&fail_sticky, sticky);
  atomic_store(&fail_at, n);
  return count;
}

void *mem_alloc(size_t size) {
  return must_fail() ? NULL : malloc(size ? size : 1);
}

void *mem_zalloc(size_t size) {
  return must_fail() ? NULL : calloc(1, size ? size : 1);
}

void *mem_array(size_t count, size_t size) {
  return must_fail() ? NULL : calloc(count ? count : 1, size ? size : 1);
}

void *mem_resize(void *ptr, size_t count, size_t size) {
  size_t total;
  if (__builtin_mul_overflow(count, size, &total) || must_fail())
    return NULL;
  return realloc(ptr, total ? total : 1);
}

char *mem_strdup(const char *text) {
  return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t n) {
  char *copy = mem_alloc(n + 1);
  if (!copy)
    return NULL;
  if (n)
    memcpy(copy, text, n);
  copy[n] = 0;
  return copy;
}

void mem_free(void *ptr) {
  free(ptr);
}

void mem_give_back(void) {
  mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
  mallopt(M_TRIM_THRESHOLD, KEPT_FREE); /* what an answer of a thousand rows takes is needed again by the next */
}

size_t mem_resident(void) {
  char text[128];
  int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text);
  struct str rest = str_n(text, (size_t)MAX_OF(n, 0)), total, pages;
  uint64_t count = 0;
  if (fd >= 0)
    close(fd);
  return str_split(&rest, ' ', &total) && str_split(&rest, ' ', &pages) && str_to_u64(pages, &count)
             ? (size_t)count * (size_t)sysconf(_SC_PAGESIZE)
             : 0;
}

void mem_trim(void) {
  static size_t least; /* since the last time */
  size_t now = mem_resident();
  least = MIN_OF(least, now);
  if (now - least < TRIM_FROM)
    return;
  malloc_trim(0);
  least = mem_resident();
}

void mem_wipe(void *ptr, size_t size) {
  if (ptr)
    explicit_bzero(ptr, size);
}

void mem_cleanup(void *pointer_to_pointer) {
  void *ptr;
  memcpy(&ptr, pointer_to_pointer, sizeof ptr);
  mem_free(ptr);
}
