/* Runs a fuzz target without libFuzzer: every file of the corpus, also with each of its allocations failing, then some thousand mutations
 * of them from a fixed seed. So a plain or sanitizer build replays what was found before and looks a little around it. What a target claims
 * of its parser it may claim only while there is memory. With WINNOW_TEST_LONG=1 every allocation fails once, else the first few. */
#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/rng.h"
#include "tests/support/fuzz.h"

enum { MAX_SEEDS = 4096, INPUT_MAX_BYTES = 1 << 20, MUTATIONS = 4000, FAILURES = 40 };

static struct {
  uint8_t *p;
  size_t n;
} seeds[MAX_SEEDS];
static size_t seed_count;

static void add_file(const char *path) {
  struct stat st;
  if (seed_count == MAX_SEEDS || stat(path, &st) != 0 || !S_ISREG(st.st_mode))
    return;
  AUTO_BUF struct buf content = BUF_INIT(INPUT_MAX_BYTES);
  struct err err;
  if (!file_read(path, &content, &err)) {
    fprintf(stderr, "%s: %s\n", path, err.text);
    exit(1);
  }
  /* A copy of the exact size, so that the sanitizer sees a read past the end. */
  seeds[seed_count].n = content.n;
  seeds[seed_count].p = mem_alloc(content.n);
  if (!seeds[seed_count].p)
    exit(1);
  if (content.n)
    memcpy(seeds[seed_count].p, content.p, content.n);
  seed_count++;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_directory(const char *path) {
  struct dirent **entries;
  int n = scandir(path, &entries, NULL, by_name);
  for (int i = 0; i < n; i++) {
    AUTO_BUF struct buf file = BUF_INIT(4096);
    buf_printf(&file, "%s/%s", path, entries[i]->d_name);
    add_file(buf_text(&file));
    free(entries[i]);
  }
  if (n >= 0)
    free(entries);
}

/* One allocation fails, or all from there on; until the input is done before it comes to that. */
static unsigned long run_without_memory(const uint8_t *p, size_t n, unsigned long most) {
  unsigned long failures = 0;
  for (int sticky = 0; sticky < 2; sticky++)
    for (unsigned long at = 1; at <= most; at++, failures++) {
      mem_fail_at(at, sticky);
      LLVMFuzzerTestOneInput(p, n);
      if (mem_fail_at(0, false) < at)
        break;
    }
  return failures;
}

static void run_mutation(struct rng *rng) {
  static const char *const tokens[] = {"\r\n", "\n", "\r", " ",    "\"",    "{",   "}", "[",  "]",    ":",
                                       ",",    "=",  "-1", "0x10", "1e999", "NaN", "%", "\\", "\xff", "\xe2\x82"};
  size_t pick = (size_t)rng_below(rng, seed_count);
  size_t room = seeds[pick].n + 64;
  uint8_t *work = mem_alloc(room);
  if (!work)
    exit(1);
  size_t n = seeds[pick].n;
  if (n)
    memcpy(work, seeds[pick].p, n);
  for (uint64_t edits = 1 + rng_below(rng, 4); edits; edits--) {
    size_t at = n ? (size_t)rng_below(rng, n) : 0;
    switch (rng_below(rng, 5)) {
    case 0: /* flip */
      if (n)
        work[at] ^= (uint8_t)(1u << rng_below(rng, 8));
      break;
    case 1: /* cut */
      n = at;
      break;
    case 2: /* remove one */
      if (n) {
        memmove(work + at, work + at + 1, n - at - 1);
        n--;
      }
      break;
    case 3: { /* insert a token */
      const char *token = tokens[rng_below(rng, ARRAY_LEN(tokens))];
      size_t len = strlen(token);
      if (n + len <= room) {
        memmove(work + at + len, work + at, n - at);
        memcpy(work + at, token, len);
        n += len;
      }
      break;
    }
    default: /* any byte */
      if (n)
        work[at] = (uint8_t)rng_below(rng, 256);
    }
  }
  uint8_t *exact = mem_alloc(n);
  if (!exact)
    exit(1);
  if (n)
    memcpy(exact, work, n);
  LLVMFuzzerTestOneInput(exact, n);
  mem_free(exact);
  mem_free(work);
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    struct stat st;
    if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
      add_directory(argv[i]);
    else
      add_file(argv[i]);
  }
  if (!seed_count) {
    fprintf(stderr, "no seeds: give the corpus directory\n");
    return 1;
  }
  unsigned long failures = 0, most = getenv("WINNOW_TEST_LONG") ? ULONG_MAX : (unsigned long)FAILURES;
  for (size_t i = 0; i < seed_count; i++) {
    LLVMFuzzerTestOneInput(seeds[i].p, seeds[i].n);
    failures += run_without_memory(seeds[i].p, seeds[i].n, most);
  }
  struct rng rng = rng_seeded(20260101);
  for (int i = 0; i < MUTATIONS; i++)
    run_mutation(&rng);
  printf("%zu seeds, %lu failed allocations and %d mutations\n", seed_count, failures, (int)MUTATIONS);
  for (size_t i = 0; i < seed_count; i++)
    mem_free(seeds[i].p);
  return 0;
}
