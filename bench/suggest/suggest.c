/* How much processor time asking and telling take, without any service around them.
 *
 *   bench_suggest [quick]
 *   bench_suggest METHOD FINISHED ASKS
 *
 * For each method and size: a history of that many finished trials of ten floats, then some hundred asks and tells, one after the other;
 * the median and the 99th of a hundred. GP is timed in whole, thinking included, and split into start + finish and thinking. */
#define WINNOW_ALLOW_NUMBERS /* arguments of a person who measures */
#include <malloc.h>
#include <math.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "sampler/sampler.h"

enum { PARAMS = 10, ASKS_MAX = 10000 };

struct times {
  double us[ASKS_MAX];
  size_t n;
};

static void stop(const struct err *err) {
  fprintf(stderr, "%s\n", err->text);
  exit(1);
}

/* Of processor time. */
static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* so that other load on the machine does not count */
  return t.tv_sec * 1000000000 + t.tv_nsec;
}

static void add_time(struct times *times, int64_t since) {
  if (times->n < ASKS_MAX)
    times->us[times->n++] = (double)(now_ns() - since) / 1e3;
}

static int by_number(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void print_times(const char *what, struct times *times) {
  if (!times->n)
    return;
  qsort(times->us, times->n, sizeof *times->us, by_number);
  printf("  %s p50 %8.1f us  p99 %8.1f us", what, times->us[times->n / 2], times->us[times->n * 99 / 100]);
}

static struct space *make_space(void) {
  json_t *parameters = json_object();
  for (int i = 0; i < PARAMS; i++) {
    char name[8];
    snprintf(name, sizeof name, "x%d", i);
    json_object_set_new(parameters, name, json_pack("{s:f, s:f}", "min", 0.0, "max", 1.0));
  }
  struct space *space;
  struct err err;
  if (!space_new(parameters, NULL, NULL, &space, &err))
    stop(&err);
  json_decref(parameters);
  return space;
}

static double value_of(const double *point, struct rng *rng) {
  double sum = 0;
  for (int i = 0; i < PARAMS; i++)
    sum += (point[i] - 0.3) * (point[i] - 0.3);
  return sum + 0.01 * rng_f64(rng);
}

static void fill(struct history *history, size_t trials, struct rng *rng) {
  double point[PARAMS];
  struct err err;
  for (uint32_t n = 0; n < trials; n++) {
    for (int i = 0; i < PARAMS; i++)
      point[i] = space_value(history_space(history), (size_t)i, rng_f64(rng));
    if (!history_add_told(history, n, point, &(struct outcome){TRIAL_FINISHED, value_of(point, rng), 0}, &err))
      stop(&err);
  }
}

static void measure(enum sampler_type type, size_t trials, size_t asks) {
  struct space *space = make_space();
  struct history *history;
  struct sampler *sampler;
  struct err err;
  struct rng rng = rng_seeded(1);
  struct sampler_settings settings = {.type = type, .seed = 1};
  size_t before = mallinfo2().uordblks;
  if (!history_new(space, GOAL_MINIMIZE, &history, &err) || !sampler_new(history, &settings, &sampler, &err))
    stop(&err);
  fill(history, trials, &rng);
  double point[PARAMS];
  struct suggestion suggestion;
  int64_t start = now_ns();
  if (!sampler_suggest(sampler, (uint32_t)trials, point, &suggestion, &err))
    stop(&err);
  double first = (double)(now_ns() - start) / 1e6;
  static struct times ask, think, tell;
  ask.n = think.n = tell.n = 0;
  for (size_t k = 0; k < asks; k++) {
    struct sampler_job *job;
    start = now_ns();
    if (!sampler_start(sampler, (uint32_t)(trials + k), &job, &err))
      stop(&err);
    int64_t thinking = now_ns();
    sampler_job_run(job);
    int64_t thought = now_ns() - thinking;
    if (thought > 1000)
      add_time(&think, now_ns() - thought);
    if (!sampler_finish(sampler, job, point, &suggestion, &err))
      stop(&err);
    add_time(&ask, start + thought);
    start = now_ns();
    if (!history_add(history, (uint32_t)(trials + k), point, NULL, &err) ||
        !history_tell(history, (uint32_t)(trials + k), &(struct outcome){TRIAL_FINISHED, value_of(point, &rng), 0}, &err))
      stop(&err);
    add_time(&tell, start);
  }
  printf("%-7s %8zu finished:", sampler_type_name(type), trials);
  print_times("ask", &ask);
  print_times("thinking", &think);
  print_times("add and tell", &tell);
  printf("  first ask %.1f ms, %.0f MiB\n", first, (double)(mallinfo2().uordblks - before) / (double)MIB);
  fflush(stdout);
  sampler_free(sampler), history_free(history), space_free(space);
}

int main(int argc, char **argv) {
  enum sampler_type one;
  if (argc == 4 && sampler_type_of(str_of(argv[1]), &one)) {
    measure(one, strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
    return 0;
  }
  bool quick = argc > 1 && strcmp(argv[1], "quick") == 0;
  static const size_t sizes[] = {100, 1000, 10000};
  for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
    measure(SAMPLER_TPE, sizes[i], quick ? 100 : 400);
  static const size_t fits[] = {100, 250, 500, 1000};
  for (size_t i = 0; i < ARRAY_LEN(fits) - quick; i++)
    measure(SAMPLER_GP, fits[i], fits[i] > 250 ? 8 : 30);
  measure(SAMPLER_CMAES, 1000, 400);
  static const enum sampler_type large[] = {SAMPLER_RANDOM, SAMPLER_SOBOL, SAMPLER_TPE};
  for (size_t i = 0; i < ARRAY_LEN(large); i++)
    measure(large[i], 1000000, 200);
  return 0;
}
