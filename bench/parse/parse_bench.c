/* parse_bench FILE...: how fast logs are read, on one core. Each file is fed again and again, in pieces of 64 KiB, for half a second. */
#include "base/buf.h"
#include "base/file.h"
#include "tracker/logs/log_metrics.h"

enum { PIECE = 64 * 1024, MIN_US = 500000 };

static bool count(void *ctx, const struct log_point *points, size_t n, struct err *err) {
  (void)points;
  (void)err;
  *(size_t *)ctx += n;
  return true;
}

/* Processor time, so that neighbours on the machine do not count. */
static int64_t cpu_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Megabytes (10^6) a second. */
static double measure(struct str content, const struct log_metrics_options *options, size_t *ret_points) {
  struct err err = {0};
  int64_t start = cpu_us(), now;
  uint64_t bytes = 0;
  do {
    struct log_metrics *metrics = log_metrics_new(options, &err);
    *ret_points = 0;
    bool ok = metrics != NULL;
    /* One parser reads the file several times, as it would a long log. */
    for (unsigned round = 0; ok && round < 1 + 2 * MIB / (content.n + 1); round++) {
      for (size_t at = 0; ok && at < content.n; at += PIECE)
        ok = log_metrics_feed(metrics, str_slice(content, at, at + PIECE), count, ret_points, &err);
      bytes += content.n;
    }
    log_metrics_free(metrics);
    if (!ok) {
      fprintf(stderr, "parse_bench: %s\n", err.text);
      exit(1);
    }
    now = cpu_us();
  } while (now - start < MIN_US);
  return (double)bytes / (double)(now - start);
}

int main(int argc, char **argv) {
  const struct log_pattern_spec literal = {.pattern = "WINNOW_METRIC (?P<name>\\w+)=(?P<value>\\S+)"};
  const struct log_metrics_options builtin = {.no_builtin = false};
  const struct log_metrics_options pattern = {.no_builtin = true, .patterns = &literal, .pattern_count = 1};
  printf("%-44s %10s %12s %14s\n", "file", "bytes", "built-in MB/s", "pattern MB/s");
  for (int i = 1; i < argc; i++) {
    struct err err = {0};
    AUTO_BUF struct buf content = BUF_INIT(GIB);
    if (!file_read(argv[i], &content, &err)) {
      fprintf(stderr, "parse_bench: %s\n", err.text);
      return 1;
    }
    size_t points;
    double generic = measure(buf_str(&content), &builtin, &points);
    double literal_led = measure(buf_str(&content), &pattern, &points);
    const char *slash = strrchr(argv[i], '/');
    printf("%-44s %10zu %12.0f %14.0f\n", slash ? slash + 1 : argv[i], content.n, generic, literal_led);
  }
  return 0;
}
