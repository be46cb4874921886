#include "tracker/logs/parse_file.h"

#include <fcntl.h>
#include <math.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "tracker/logs/log_metrics.h"

enum { READ_SIZE = 64 * 1024, OUT_MAX = 1024 * 1024, FLUSH_AT = 128 * 1024 };

struct parse_job {
  const struct parse_options *options;
  struct buf out;
  const char *file;
  bool unreadable; /* the file: others may be read all the same */
};

static bool cannot(struct parse_job *job, const char *what, const char *name, struct err *err) {
  job->unreadable = true;
  return err_errno(err, errno, "cannot %s %s", what, name);
}

static bool flush(struct parse_job *job, struct err *err) {
  if (!buf_ok(&job->out, err) || !fd_write_all(job->options->out_fd, job->out.p, job->out.n, err))
    return false;
  buf_reset(&job->out);
  return true;
}

static void put_place(struct json_writer *w, const char *key, double value) {
  if (isnan(value))
    jw_put_null(w, key);
  else if (value == floor(value) && fabs(value) < 1e15)
    jw_put_i64(w, key, (int64_t)value);
  else
    jw_put_f64(w, key, value);
}

static void put_json(struct parse_job *job, const struct log_point *point) {
  struct json_writer w;
  jw_init(&w, &job->out);
  jw_object(&w);
  jw_put_text(&w, "file", job->file);
  jw_put_i64(&w, "line", (int64_t)point->line);
  jw_put_str(&w, "key", point->key);
  jw_put_f64(&w, "value", point->value);
  put_place(&w, "step", point->step);
  put_place(&w, "epoch", point->epoch);
  jw_object_end(&w);
  buf_putc(&job->out, '\n');
}

static void place_text(double value, char out[32]) {
  if (isnan(value))
    snprintf(out, 32, "-");
  else
    snprintf(out, 32, "%.10g", value);
}

static void put_row(struct parse_job *job, const struct log_point *point) {
  char value[32], step[32], epoch[32];
  str_from_f64(point->value, value);
  place_text(point->step, step);
  place_text(point->epoch, epoch);
  buf_printf(&job->out, "%8llu %10s %8s  %-32.*s %s\n", (unsigned long long)point->line, step, epoch, STR_ARG(point->key), value);
}

static bool put_points(struct parse_job *job, const struct log_point *points, size_t n, struct err *err) {
  for (size_t i = 0; i < n; i++) {
    if (job->options->output == PARSE_JSONL)
      put_json(job, &points[i]);
    else
      put_row(job, &points[i]);
    if (job->out.n >= FLUSH_AT && !flush(job, err))
      return false;
  }
  return true;
}

static bool take_points(void *ctx, const struct log_point *points, size_t n, struct err *err) {
  struct parse_job *job = ctx;
  return put_points(job, points, n, err);
}

static bool take_file(struct parse_job *job, struct log_metrics *metrics, int fd, struct err *err) {
  AUTO_FREE char *bytes = mem_alloc(READ_SIZE);
  if (!bytes)
    return err_no_memory(err);
  for (;;) {
    ssize_t n = read(fd, bytes, READ_SIZE);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return cannot(job, "read", job->file, err);
    if (n == 0)
      return log_metrics_end(metrics, take_points, job, err);
    if (!log_metrics_feed(metrics, str_n(bytes, (size_t)n), take_points, job, err))
      return false;
  }
}

static bool parse_with(struct parse_job *job, struct log_metrics *metrics, int fd, struct err *err) {
  bool table = job->options->output == PARSE_TABLE;
  if (table)
    buf_printf(&job->out, "%s\n%8s %10s %8s  %-32s %s\n", job->file, "LINE", "STEP", "EPOCH", "KEY", "VALUE");
  if (!take_file(job, metrics, fd, err))
    return false;
  if (table) {
    char summary[160];
    log_metrics_summary(metrics, summary, sizeof summary);
    buf_printf(&job->out, "%s: %s\n", job->file, summary);
    if (log_metrics_lost(metrics))
      buf_printf(&job->out, "%s: %llu characters of overlong lines were not read\n", job->file,
                 (unsigned long long)log_metrics_lost(metrics));
  }
  return flush(job, err);
}

static struct log_metrics *metrics_new(const struct parse_options *options, struct err *err) {
  struct log_pattern_spec specs[LOG_METRICS_PATTERNS_MAX];
  size_t n = MIN_OF(options->pattern_count, (size_t)LOG_METRICS_PATTERNS_MAX);
  for (size_t i = 0; i < n; i++)
    specs[i] = (struct log_pattern_spec){.pattern = options->patterns[i], .key = "value"};
  struct log_metrics_options metrics = {.no_builtin = options->no_builtin, .patterns = specs, .pattern_count = options->pattern_count};
  if (n < options->pattern_count) {
    err_set(err, ERR_INVALID, "there are %zu patterns; at most %d are allowed", options->pattern_count, LOG_METRICS_PATTERNS_MAX);
    return NULL;
  }
  return log_metrics_new(&metrics, err);
}

static bool parse_file(struct parse_job *job, const char *name, struct err *err) {
  bool standard = strcmp(name, "-") == 0;
  AUTO_FD int opened = standard ? -1 : open(name, O_RDONLY | O_CLOEXEC);
  if (!standard && opened < 0)
    return cannot(job, "open", name, err);
  job->file = name;
  struct log_metrics *metrics = metrics_new(job->options, err);
  bool ok = metrics && parse_with(job, metrics, standard ? STDIN_FILENO : opened, err);
  log_metrics_free(metrics);
  return ok;
}

bool parse_run(const struct parse_options *options, struct err *err) {
  static const char *const standard[] = {"-"};
  const char *const *files = options->file_count ? options->files : standard;
  size_t count = MAX_OF(options->file_count, (size_t)1), unreadable = 0;
  struct parse_job job = {.options = options, .out = BUF_INIT(OUT_MAX)};
  struct err why, last = {0};
  bool ok = true;
  for (size_t i = 0; ok && i < count; i++) {
    job.unreadable = false;
    if (parse_file(&job, files[i], &why))
      continue;
    ok = job.unreadable && count > 1 && options->on_unreadable && flush(&job, &why); /* what was read of it comes first */
    if (ok)
      options->on_unreadable(options->ctx, &why);
    unreadable += ok;
    last = why;
  }
  buf_release(&job.out);
  if (ok && unreadable)
    return err_set(err, last.code, "%zu of %zu files could not be read", unreadable, count);
  if (!ok)
    *err = last;
  return ok;
}
