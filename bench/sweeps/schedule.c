/* What a scheduling decision costs in processor time: 1,250 nodes of 8 slots, all busy, and a queue of 10^3 to 10^6 jobs of 1 to 4 slots in
 * 1,000 groups. A job ends, and decisions are taken until there is none: what that costs is divided by their number; the last, negative one
 * counts as one. Prints a line of JSON for each size.
 *
 *   bench_schedule [jobs]… */
#define WINNOW_ALLOW_NUMBERS /* arguments */
#include "sweeper/machine/schedule.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"

enum { NODES = 1250, SLOTS = 8, GROUPS = 1000, ROUNDS = 20000, DRAWS_MAX = NODES * SLOTS };

static void must(bool ok, const struct err *err) {
  if (ok)
    return;
  fprintf(stderr, "%s\n", err->text);
  exit(1);
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* so that other load on the machine does not count */
  return t.tv_sec * 1000000000 + t.tv_nsec;
}

struct bench {
  struct schedule *schedule;
  struct rng rng;
  uint32_t groups[GROUPS], running[DRAWS_MAX];
  size_t running_count;
  int64_t clock;
};

static void add(struct bench *b) {
  struct err err = {0};
  uint32_t job;
  struct schedule_want want = {.group = b->groups[rng_below(&b->rng, GROUPS)],
                               .slots = 1 + (unsigned)rng_below(&b->rng, 4),
                               .priority = (int64_t)rng_below(&b->rng, 5),
                               .since = b->clock++};
  must(schedule_job_add(b->schedule, &want, b, &job, &err), &err);
}

/* Returns the number of decisions. */
static size_t place(struct bench *b) {
  struct schedule_placement placement;
  size_t n = 1;
  for (; schedule_next(b->schedule, &placement); n++)
    b->running[b->running_count++] = placement.job;
  return n;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void measure(size_t jobs) {
  static double us[ROUNDS];
  struct bench *b = mem_zalloc(sizeof *b);
  struct err err = {0};
  uint32_t node;
  double sum = 0;
  err_set(&err, ERR_NO_MEMORY, "no memory");
  must(b != NULL, &err);
  b->rng = rng_seeded(1);
  must(schedule_new(&b->schedule, &err), &err);
  for (int i = 0; i < NODES; i++)
    must(schedule_node_add(b->schedule, SLOTS, &node, &err), &err);
  for (int i = 0; i < GROUPS; i++)
    must(schedule_group_add(b->schedule, &b->groups[i], &err), &err);
  while (schedule_waiting(b->schedule) < jobs) {
    add(b);
    if (schedule_waiting(b->schedule) % 4096 == 0)
      place(b);
  }
  place(b);
  for (int i = 0; i < ROUNDS; i++) {
    size_t gone = rng_below(&b->rng, b->running_count);
    uint32_t job = b->running[gone];
    b->running[gone] = b->running[--b->running_count];
    int64_t since = now_ns();
    schedule_job_remove(b->schedule, job);
    size_t decisions = place(b);
    us[i] = (double)(now_ns() - since) / 1e3 / (double)decisions;
    sum += us[i];
    while (schedule_waiting(b->schedule) < jobs)
      add(b);
  }
  qsort(us, ROUNDS, sizeof *us, by_size);
  printf("{\"jobs\": %zu, \"slots\": %d, \"mean_us\": %.2f, \"p50_us\": %.2f, \"p99_us\": %.2f, \"max_us\": %.2f}\n", jobs, NODES * SLOTS,
         sum / ROUNDS, us[ROUNDS / 2], us[ROUNDS * 99 / 100], us[ROUNDS - 1]);
  fflush(stdout);
  schedule_free(b->schedule);
  mem_free(b);
}

int main(int argc, char **argv) {
  static const size_t sizes[] = {1000, 10000, 100000, 1000000};
  for (int i = 1; i < argc; i++)
    measure(strtoul(argv[i], NULL, 10));
  for (size_t i = 0; argc == 1 && i < ARRAY_LEN(sizes); i++)
    measure(sizes[i]);
  return 0;
}
