#define WINNOW_ALLOW_NUMBERS /* libpq's header has a macro of a banned name */
/* The store alone, without HTTP and JSON, on a private Postgres with its defaults (fsync on): durable points a second for big and for small
 * writes, beside COPY of the same rows into the same kind of table, which is what the ground allows; then charts and pages of long series.
 *
 *     bench_metric_store [seconds a load] [long runs] */
#include "base/mem.h"
#include "storage/metrics/metric_store.h"
#include "tests/support/pg_cluster.h"

#include <libpq-fe.h>
#include <sys/resource.h>

enum { RUNS = 20, BATCH = 1000, BATCH_KEYS = 10, LONG_POINTS = 1000000, SMALL_SAMPLES = 1 << 20 };

static struct pg_cluster cluster;
static struct pg_pool *pool;
static struct metric_store *store;
static struct rng rng;
static char names[BATCH_KEYS][16];

static void must(bool ok, const struct err *err) {
  if (ok)
    return;
  fprintf(stderr, "failed: %s\n", err ? err->text : "");
  exit(1);
}

static double now_s(void) {
  return (double)clock_mono_us(&clock_system) / 1e6;
}

/* Of this process, all threads: what a busy machine does not blur. */
static double cpu_s(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static struct id make_run(void) {
  struct id id = id_new(&clock_system, &rng);
  char hex[ID_HEX_LEN + 1], sql[200];
  id_format(id, hex);
  snprintf(sql, sizeof sql, "insert into winnow.run (id, experiment_id, created, state, name) values ('%s', 7, 0, 2, 'r')", hex);
  pg_cluster_sql(&cluster, sql);
  return id;
}

/* ---- writers that each wait for their answer ---- */

struct writer {
  struct id run;
  int64_t step;
  double started;
  bool idle;
  struct load *load;
};

struct load {
  size_t points; /* a write */
  double until;
  uint64_t writes;
  size_t busy;
  bool done;
  float *latencies;
  size_t latency_count;
};

static void write_next(struct writer *writer);

static void on_written(void *ctx, const struct err *err) {
  struct writer *writer = ctx;
  struct load *load = writer->load;
  must(!err, err);
  double now = now_s();
  if (load->latency_count < SMALL_SAMPLES)
    load->latencies[load->latency_count++] = (float)(now - writer->started);
  load->writes++;
  if (now < load->until)
    write_next(writer);
  else if (--load->busy == 0)
    load->done = true;
}

static void fill(struct metric_rows *rows, size_t points, int64_t *step) {
  for (size_t i = 0; i < points; i++) {
    size_t key = points == 1 ? 0 : i % BATCH_KEYS;
    int64_t at = *step + (int64_t)(i / BATCH_KEYS);
    double value = exp(-(double)at / 1e5) + 0.05 * rng_normal(&rng);
    must(metric_rows_add(rows, str_of(names[key]), (struct point){at, 1700000000000 + at * 100, value, NAN}), NULL);
  }
  *step += points == 1 ? 1 : (int64_t)(points / BATCH_KEYS);
}

static void write_next(struct writer *writer) {
  AUTO_METRIC_ROWS struct metric_rows rows;
  struct err err;
  metric_rows_init(&rows);
  fill(&rows, writer->load->points, &writer->step);
  writer->started = now_s();
  must(metric_append(store, writer->run, METRIC_CURRENT, &rows, on_written, writer, &err), &err);
}

static int by_value(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static double ingest(const char *what, size_t points, size_t writers, double seconds) {
  struct load load = {.points = points, .until = now_s() + seconds, .busy = writers};
  load.latencies = mem_array(SMALL_SAMPLES, sizeof *load.latencies);
  struct writer *list = mem_array(writers, sizeof *list);
  must(load.latencies && list, NULL);
  struct id runs[RUNS];
  for (size_t i = 0; i < RUNS; i++)
    runs[i] = make_run();
  uint64_t groups = metric_store_stats(store).groups;
  double from = now_s(), cpu = cpu_s();
  load.until = from + seconds;
  for (size_t i = 0; i < writers; i++) {
    list[i] = (struct writer){.run = runs[i % RUNS], .load = &load};
    write_next(&list[i]);
  }
  loop_until(cluster.loop, &load.done, 600000);
  double took = now_s() - from;
  cpu = cpu_s() - cpu;
  qsort(load.latencies, load.latency_count, sizeof *load.latencies, by_value);
  double rate = (double)load.writes * (double)points / took;
  printf("%-28s %10.0f points/s  %8.0f writes/s  p50 %.2f ms  p99 %.2f ms  %.1f writes a statement  %.2f us of CPU a point\n", what, rate,
         (double)load.writes / took, 1e3 * load.latencies[load.latency_count / 2], 1e3 * load.latencies[load.latency_count * 99 / 100],
         (double)load.writes / (double)(metric_store_stats(store).groups - groups), 1e6 * cpu / ((double)load.writes * (double)points));
  mem_free(load.latencies);
  mem_free(list);
  return rate;
}

/* ---- what the ground allows: COPY of the same rows, a commit for each 8 of them ---- */

static void put_be(struct buf *out, uint64_t value, unsigned bytes) {
  while (bytes--)
    buf_putc(out, (char)(value >> (8 * bytes)));
}

static void copy_rows(PGconn *conn, const struct buf *row_data, size_t rows) {
  AUTO_BUF struct buf data = BUF_INIT(64 * MIB);
  PGresult *result = PQexec(conn, "copy winnow.metric_tail_copy from stdin (format binary)");
  PQclear(result);
  buf_add(&data, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
  for (size_t i = 0; i < rows; i++) {
    static int64_t id;
    put_be(&data, 6, 2);
    put_be(&data, 16, 4);
    put_be(&data, rng_u64(&rng), 8);
    put_be(&data, rng_u64(&rng), 8);
    put_be(&data, 8, 4);
    put_be(&data, (uint64_t)++id, 8);
    put_be(&data, 4, 4);
    put_be(&data, 1, 4);
    put_be(&data, 4, 4);
    put_be(&data, BATCH, 4);
    put_be(&data, 1, 4);
    put_be(&data, 1, 1);
    put_be(&data, row_data->n, 4);
    buf_add(&data, row_data->p, row_data->n);
  }
  put_be(&data, 0xFFFF, 2);
  if (PQputCopyData(conn, data.p, (int)data.n) != 1 || PQputCopyEnd(conn, NULL) != 1)
    exit(1);
  while ((result = PQgetResult(conn))) {
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
      fprintf(stderr, "%s", PQresultErrorMessage(result));
    PQclear(result);
  }
}

static double copy_limit(double seconds) {
  pg_cluster_sql(&cluster, "create table winnow.metric_tail_copy (like winnow.metric_tail including all)");
  PGconn *conn = PQconnectdb(cluster.conninfo);
  AUTO_METRIC_ROWS struct metric_rows rows;
  AUTO_BUF struct buf data = BUF_INIT(MIB);
  struct column_coder *coder = column_coder_new();
  int64_t step = 0;
  metric_rows_init(&rows);
  fill(&rows, BATCH, &step);
  metric_rows_put(&rows, 0, BATCH, coder, &data);
  column_coder_free(coder);
  size_t count = 0;
  double from = now_s();
  for (; now_s() < from + seconds; count += 8)
    copy_rows(conn, &data, 8);
  double rate = (double)count * BATCH / (now_s() - from);
  printf("%-28s %10.0f points/s  (%zu bytes a row)\n", "COPY of such rows, 8 a commit", rate, data.n);
  PQfinish(conn);
  return rate;
}

/* ---- reading ---- */

struct waited {
  bool done;
  size_t buckets, points;
  bool more;
  struct point last;
};

static void on_done(void *ctx, const struct err *err) {
  must(!err, err);
  ((struct waited *)ctx)->done = true;
}

static void on_chart(void *ctx, const struct metric_series *series, size_t count, const struct err *err) {
  struct waited *waited = ctx;
  must(!err, err);
  for (size_t i = 0; i < count; i++) {
    waited->buckets += series[i].bucket_count;
    waited->points += (size_t)series[i].points;
  }
  waited->done = true;
}

static void on_page(void *ctx, const struct points *points, bool more, const struct err *err) {
  struct waited *waited = ctx;
  must(!err, err);
  waited->points += points->n;
  waited->more = more;
  if (points->n)
    waited->last = points_at(points, points->n - 1);
  waited->done = true;
}

static void chart(const char *what, const struct id *runs, size_t count, int64_t from, int64_t to, enum metric_x x) {
  struct str key = str_of(names[0]);
  struct metric_series_ask ask = {.runs = runs,
                                  .run_count = count,
                                  .keys = &key,
                                  .key_count = 1,
                                  .x = x,
                                  .has_from = to > 0,
                                  .has_to = to > 0,
                                  .from = from,
                                  .to = to,
                                  .buckets = 1000};
  double best = 1e9, worst = 0, cpu = cpu_s();
  struct waited waited;
  struct err err;
  for (int i = 0; i < 7; i++) {
    waited = (struct waited){.done = false};
    double t = now_s();
    must(metric_series_read(store, &ask, on_chart, &waited, &err), &err);
    loop_until(cluster.loop, &waited.done, 60000);
    t = now_s() - t;
    best = MIN_OF(best, t);
    worst = MAX_OF(worst, t);
  }
  printf("%-36s %7.2f ms best, %7.2f worst of 7, %6.2f ms of CPU; %zu buckets of %zu points\n", what, best * 1e3, worst * 1e3,
         1e3 * (cpu_s() - cpu) / 7, waited.buckets, waited.points);
}

static void pages(struct id run) {
  struct metric_page_ask ask = {
      .run = run, .key = str_of(names[0]), .order = METRIC_BY_TIME, .from = INT64_MIN, .to = INT64_MAX, .limit = 25000};
  size_t points = 0;
  struct err err;
  double from = now_s(), cpu = cpu_s();
  for (bool more = true; more;) {
    struct waited waited = {.done = false};
    must(metric_page(store, &ask, on_page, &waited, &err), &err);
    loop_until(cluster.loop, &waited.done, 60000);
    points += waited.points;
    more = waited.more;
    ask.after = waited.last;
    ask.has_after = true;
  }
  double took = now_s() - from;
  cpu = cpu_s() - cpu;
  printf("%-36s %7.2f M points/s (%zu points), %.2f M points a second of CPU\n", "raw, pages of 25,000 by time",
         (double)points / took / 1e6, points, (double)points / cpu / 1e6);
}

static void write_long(struct id run) {
  int64_t step = 0;
  for (size_t at = 0; at < LONG_POINTS; at += 8000) {
    AUTO_METRIC_ROWS struct metric_rows rows;
    struct err err;
    metric_rows_init(&rows);
    for (size_t i = 0; i < 8000; i++, step++)
      must(metric_rows_add(&rows, str_of(names[0]),
                           (struct point){step, 1700000000000 + step * 100 + (int64_t)rng_below(&rng, 30),
                                          exp(-(double)step / 1e5) + 0.05 * rng_normal(&rng), NAN}),
           NULL);
    struct waited waited = {.done = false};
    must(metric_append(store, run, METRIC_CURRENT, &rows, on_done, &waited, &err), &err);
    loop_until(cluster.loop, &waited.done, 60000);
  }
}

int main(int argc, char **argv) {
  double seconds = 5;
  int64_t long_runs = 10;
  if ((argc > 1 && !str_to_f64(str_of(argv[1]), &seconds)) || (argc > 2 && !str_to_i64(str_of(argv[2]), &long_runs)))
    return 2;
  rng = rng_seeded(1);
  for (size_t i = 0; i < BATCH_KEYS; i++)
    snprintf(names[i], sizeof names[i], "metric_%zu", i);
  pg_cluster_start(&cluster, NULL);
  pg_cluster_sql(&cluster, "insert into winnow.experiment (id, name, artifact_location, created, updated) values (7, 'bench', 'x', 0, 0)");
  struct metric_store_conf conf = metric_store_conf_default();
  struct err err;
  pool = pg_cluster_pool(&cluster, NULL);
  store = metric_store_new(cluster.loop, pool, cluster.work, &conf, &err);
  must(store != NULL, &err);

  double big = ingest("1,000 points x 8 writers", BATCH, 8, seconds);
  ingest("1 point x 20 writers", 1, 20, seconds);
  ingest("1 point x 1 writer", 1, 1, seconds / 2);
  double limit = copy_limit(seconds / 2);
  printf("%-28s %9.0f %% of COPY\n", "big writes are at", 100 * big / limit);

  struct id *runs = mem_array((size_t)long_runs, sizeof *runs);
  must(runs != NULL, NULL);
  for (int64_t i = 0; i < long_runs; i++) {
    runs[i] = make_run();
    write_long(runs[i]);
  }
  struct waited waited = {.done = false};
  must(metric_seal_all(store, on_done, &waited, &err), &err);
  loop_until(cluster.loop, &waited.done, 600000);
  pg_cluster_sql(&cluster, "vacuum analyze winnow.metric_chunk");
  int64_t bytes = pg_cluster_int(&cluster, "select pg_total_relation_size('winnow.metric_chunk')::int8");
  int64_t points = pg_cluster_int(&cluster, "select sum(points)::int8 from winnow.metric_chunk");
  printf("\nsealed: %.2f bytes/point on disk, TOAST and indexes included, %lld points\n", (double)bytes / (double)points,
         (long long)points);
  chart("1 M points by step, whole", runs, 1, 0, 0, METRIC_X_STEP);
  chart("1 M points by relative time, whole", runs, 1, 0, 0, METRIC_X_RELATIVE);
  chart("1 M points by step, a tenth", runs, 1, 300000, 400000, METRIC_X_STEP);
  chart("1 M points by step, a thousandth", runs, 1, 300000, 301000, METRIC_X_STEP);
  char what[64];
  snprintf(what, sizeof what, "%lld runs x 1 M points by step", (long long)long_runs);
  chart(what, runs, (size_t)long_runs, 0, 0, METRIC_X_STEP);
  pages(runs[0]);
  mem_free(runs);
  pg_pool_free(pool);
  loop_for(cluster.loop, 1);
  pg_cluster_stop(&cluster);
  return 0;
}
