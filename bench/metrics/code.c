/* How small and how fast chunks are, on series like those that training prints; how fast bodies are read, beside a jansson tree. */
#include "base/clock.h"
#include "base/json.h"
#include "base/rng.h"
#include "storage/metrics/chunk_buckets.h"
#include "tracker/metric_body.h"

enum { CHUNKS = 64, BODY_POINTS = 1000, BODY_KEYS = 10 };

static double now_s(void) {
  return (double)clock_mono_us(&clock_system) / 1e6;
}

static void must(bool ok, const char *what) {
  if (ok)
    return;
  fprintf(stderr, "%s failed\n", what);
  exit(1);
}

typedef double value_fn(struct rng *rng, int64_t i);

static double noisy(struct rng *rng, int64_t i) {
  return exp(-(double)i / 100000) + 0.05 * rng_normal(rng);
}
static double noisy_float(struct rng *rng, int64_t i) {
  return (double)(float)noisy(rng, i);
}
static double four_decimals(struct rng *rng, int64_t i) {
  return round(noisy(rng, i) * 1e4) / 1e4;
}
static double accuracy(struct rng *rng, int64_t i) {
  return (double)(rng_below(rng, 65) + (uint64_t)(i % 2)) / 64;
}
static double learning_rate(struct rng *rng UNUSED, int64_t i) {
  return 0.1 * 0.5 * (1 + cos((double)i / 100000));
}
static double constant(struct rng *rng UNUSED, int64_t i UNUSED) {
  return 0.001;
}

static void code(const char *name, value_fn *value, struct column_coder *coder) {
  struct rng rng = rng_seeded(1);
  static struct points chunks[CHUNKS];
  int64_t time = 1700000000000;
  for (int64_t c = 0; c < CHUNKS; c++) {
    chunks[c].n = 0;
    for (int64_t i = c * CHUNK_POINTS; i < (c + 1) * CHUNK_POINTS; i++) {
      time += 90 + (int64_t)rng_below(&rng, 20);
      must(points_add(&chunks[c], (struct point){i, time, value(&rng, i), NAN}), "points_add");
    }
  }
  struct buf out = BUF_INIT(64 * MIB), cells_out = BUF_INIT(64 * MIB);
  size_t ends[CHUNKS];
  double t0 = now_s();
  for (size_t c = 0; c < CHUNKS; c++) {
    chunk_put(coder, &chunks[c], &out);
    ends[c] = out.n;
  }
  double t1 = now_s();
  struct points back = {0};
  struct err err;
  for (size_t c = 0; c < CHUNKS; c++) {
    back.n = 0;
    size_t from = c ? ends[c - 1] : 0;
    must(chunk_get(coder, str_n(out.p + from, ends[c] - from), &back, &err), "chunk_get");
  }
  double t2 = now_s();
  for (size_t c = 0; c < CHUNKS; c++)
    for (int axis = AXIS_STEP; axis <= AXIS_TIME; axis++) {
      struct cells cells;
      cells_build(&chunks[c], (enum axis)axis, CELLS_MAX, &cells);
      cells_put(coder, &cells, &cells_out);
    }
  double t3 = now_s();
  double n = (double)CHUNKS * CHUNK_POINTS;
  printf("%-15s %6.2f + %4.2f bytes/point   encode %5.1f M/s   decode %6.1f M/s   summaries %5.1f M/s\n", name, (double)out.n / n,
         (double)cells_out.n / n, n / (t1 - t0) / 1e6, n / (t2 - t1) / 1e6, n / (t3 - t2) / 1e6);
  points_release(&back);
  buf_release(&out);
  buf_release(&cells_out);
}

static void bodies(struct column_coder *coder) {
  struct rng rng = rng_seeded(2);
  struct buf body = BUF_INIT(MIB);
  buf_puts(&body, "{\"run_id\": \"0123456789abcdef0123456789abcdef\", \"metrics\": [");
  for (int i = 0; i < BODY_POINTS; i++) {
    char value[32];
    str_from_f64(noisy(&rng, i), value);
    buf_printf(&body, "%s{\"key\": \"metric_%d\", \"value\": %s, \"timestamp\": %lld, \"step\": %d}", i ? ", " : "", i % BODY_KEYS, value,
               1700000000000ll + i, i / BODY_KEYS);
  }
  buf_puts(&body, "]}");
  enum { ROUNDS = 300 };
  double t0 = now_s();
  for (int i = 0; i < ROUNDS; i++) {
    struct arena arena = ARENA_INIT(MIB);
    struct log_batch_body read;
    must(log_batch_read(buf_str(&body), &arena, &read) && read.rows.points.n == BODY_POINTS, "log_batch_read");
    metric_rows_release(&read.rows);
    arena_release(&arena);
  }
  double t1 = now_s();
  for (int i = 0; i < ROUNDS / 10; i++) {
    json_t *tree;
    struct err err;
    must(json_read(buf_str(&body), &tree, &err), "json_read");
    json_decref(tree);
  }
  double t2 = now_s();
  struct arena arena = ARENA_INIT(MIB);
  struct log_batch_body read;
  must(log_batch_read(buf_str(&body), &arena, &read), "log_batch_read");
  struct buf out = BUF_INIT(MIB);
  double t3 = now_s();
  for (int i = 0; i < ROUNDS; i++) {
    buf_reset(&out);
    metric_rows_put(&read.rows, 0, BODY_POINTS, coder, &out);
  }
  double t4 = now_s();
  double pull = (t1 - t0) / ROUNDS, tree = (t2 - t1) / (ROUNDS / 10), put = (t4 - t3) / ROUNDS, n = BODY_POINTS;
  printf("\nlog-batch of %d points, %zu bytes: pull reader %.0f MB/s (%.2f M points/s), tree alone %.0f MB/s (%.2f M points/s)\n",
         BODY_POINTS, body.n, (double)body.n / pull / 1e6, n / pull / 1e6, (double)body.n / tree / 1e6, n / tree / 1e6);
  printf("its batch: %.1f bytes/point, %.1f M points/s\n", (double)out.n / n, n / put / 1e6);
  metric_rows_release(&read.rows);
  arena_release(&arena);
  buf_release(&body);
  buf_release(&out);
}

int main(void) {
  struct column_coder *coder = column_coder_new();
  must(coder != NULL, "column_coder_new");
  code("float64 noise", noisy, coder);
  code("float32 noise", noisy_float, coder);
  code("4 decimals", four_decimals, coder);
  code("accuracy k/64", accuracy, coder);
  code("learning rate", learning_rate, coder);
  code("constant", constant, coder);
  bodies(coder);
  column_coder_free(coder);
  return 0;
}
