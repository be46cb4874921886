/* MLflow's protocol: the history of metrics. */
#include <math.h>

#include "base/mem.h"
#include "storage/metrics/metric_store.h"
#include "tracker/names.h"
#include "web/mlflow/mlflow_search.h"
#include "web/mlflow/mlflow_tables.h"
#include "web/page_token.h"
#include "web/walk_reply.h"

enum { HISTORY_MAX = 25000, BULK_RUNS_MAX = 100, INTERVAL_MAX = 2500, INTERVAL_STEPS_MAX = 1 << 18 /* sorted on the loop */ };

static void put_point(struct json_writer *w, struct str key, struct point point, const struct id *run) {
  jw_object(w);
  jw_put_str(w, "key", key);
  jw_put_f64(w, "value", point.value);
  jw_put_i64(w, "timestamp", point.time);
  jw_put_i64(w, "step", point.step);
  if (run)
    mlflow_put_id(w, "run_id", *run);
  jw_object_end(w);
}

/* ---- one run's history ---- */

struct history_op {
  struct http_req *req;
  struct id run;
  struct str key;
  struct page_question question;
  struct metric_page_ask ask;
  struct walk_reply whole; /* without a limit */
  bool is_walked;
};

static void put_token(struct json_writer *w, const struct history_op *op, struct point last) {
  AUTO_BUF struct buf token = BUF_INIT(4 * KIB);
  char time[24], step[24], bits[24];
  snprintf(time, sizeof time, "%lld", (long long)last.time);
  snprintf(step, sizeof step, "%lld", (long long)last.step);
  snprintf(bits, sizeof bits, "%llu", (unsigned long long)value_bits(last.value));
  struct str values[] = {str_of(time), str_of(step), str_of(bits)};
  page_token_write(&token, &op->question, values, ARRAY_LEN(values));
  jw_put_str(w, "next_page_token", buf_str(&token));
}

static bool read_token(struct history_op *op, struct str token, struct err *err) {
  const struct str *values;
  size_t count;
  uint64_t bits;
  struct point *after = &op->ask.after;
  if (!page_token_read(token, &op->question, http_req_arena(op->req), &values, &count, err))
    return false;
  if (count != 3 || !str_to_i64(values[0], &after->time) || !str_to_i64(values[1], &after->step) || !str_to_u64(values[2], &bits))
    return err_set(err, ERR_INVALID, "Invalid page token");
  memcpy(&after->value, &bits, sizeof bits);
  after->epoch = NAN;
  op->ask.has_after = true;
  return true;
}

static void on_page(void *ctx, const struct points *points, bool more, const struct err *err) {
  const struct history_op *op = ctx;
  if (err) {
    http_reply_error(op->req, err);
    return;
  }
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "metrics");
  jw_array(&w);
  for (size_t i = 0; i < points->n; i++)
    put_point(&w, op->key, points_at(points, i), NULL);
  jw_array_end(&w);
  if (more)
    put_token(&w, op, points_at(points, points->n - 1));
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

/* On a thread. */
static void put_points(const void *ctx, const struct points *points, struct buf *out) {
  const struct history_op *op = ctx;
  for (size_t i = 0; i < points->n; i++) {
    struct json_writer w;
    buf_putc(out, ',');
    jw_init(&w, out);
    put_point(&w, op->key, points_at(points, i), NULL);
  }
}

static bool begin_walk(void *ctx, struct metric_walk **ret, struct err *err) {
  struct history_op *op = ctx;
  if (op->is_walked)
    return true;
  op->is_walked = true;
  *ret = metric_walk_new(web_app(op->req)->metrics, &op->ask, put_points, op, err);
  return *ret != NULL;
}

static void reply_whole(struct history_op *op) {
  op->ask.limit = WALK_REPLY_PAGE;
  op->whole = (struct walk_reply){.req = op->req,
                                  .content_type = "application/json",
                                  .head = "{\"metrics\":[",
                                  .tail = "]}",
                                  .commas = true,
                                  .next = begin_walk,
                                  .ctx = op};
  walk_reply_start(&op->whole);
}

struct history_args {
  struct str run_id, run_uuid, key, page_token;
  int64_t max_results;
  bool has_max;
};

static bool history(struct history_op *op, const struct history_args *in, struct err *err) {
  op->key = in->key;
  if (in->has_max && in->max_results < 1)
    return err_set(err, ERR_INVALID, "Invalid value %lld for parameter 'max_results' supplied. It must be a positive integer",
                   (long long)in->max_results);
  if (!mlflow_run_id(in->run_id, in->run_uuid, &op->run, err))
    return false;
  char hex[ID_HEX_LEN + 1];
  id_format(op->run, hex);
  op->question.scope = str_of(arena_printf(http_req_arena(op->req), "history %s %.*s", hex, STR_ARG(in->key)));
  op->ask = (struct metric_page_ask){.run = op->run,
                                     .key = op->key,
                                     .order = METRIC_BY_TIME,
                                     .from = INT64_MIN,
                                     .to = INT64_MAX,
                                     .limit = (size_t)MIN_OF(in->max_results, (int64_t)HISTORY_MAX)};
  if (in->page_token.n && !read_token(op, in->page_token, err))
    return false;
  if (in->has_max)
    return metric_page(web_app(op->req)->metrics, &op->ask, on_page, op, err);
  reply_whole(op);
  return true;
}

static void get_history(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      {"run_id", MLFLOW_STR, false, offsetof(struct history_args, run_id), 0},
      {"run_uuid", MLFLOW_STR, false, offsetof(struct history_args, run_uuid), 0},
      {"metric_key", MLFLOW_STR, true, offsetof(struct history_args, key), 0},
      {"page_token", MLFLOW_STR, false, offsetof(struct history_args, page_token), 0},
      {"max_results", MLFLOW_INT, false, offsetof(struct history_args, max_results), offsetof(struct history_args, has_max)},
  };
  struct history_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct history_op *op = HTTP_REQ_NEW(req, struct history_op);
  if (!op)
    return;
  op->req = req;
  if (!mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree))
    return;
  if (!history(op, &in, &err)) {
    if (err.code == ERR_NOT_FOUND) /* a run that cannot be is a run without points */
      mlflow_reply_done(req);
    else
      http_reply_error(req, &err);
  }
}

/* ---- many runs ---- */

/* Runs are read one after the other, in the order of their ids. */
struct bulk_op {
  struct http_req *req;
  struct id *runs;
  size_t run_count, at; /* the run being read */
  struct str key;
  struct metric_page_ask ask;
  size_t left; /* points that may still be written */
  struct buf body;
  struct json_writer w;
  /* of the interval call: first the steps of all runs, then the points at a sample of them */
  bool interval, sampling;
  int64_t start, end;
  size_t max_results;
  int64_t *steps; /* mem_*: all, then those of the sample */
  size_t step_count, step_cap;
  unsigned thin; /* of the steps one in 2^thin is kept */
  int64_t *ends; /* least and greatest step in the range of each run that has any there */
  size_t end_count;
  bool has_ends; /* those of the run being read are among them */
  /* what this run has at those steps: one row in `stride`, and the last */
  struct points rows;
  size_t row_count, stride;
  struct point last;
};

static void sample_release(struct bulk_op *op) {
  mem_free(op->steps);
  op->steps = NULL;
  points_release(&op->rows);
}

static void bulk_release(struct bulk_op *op) {
  buf_release(&op->body);
  sample_release(op);
}

static void bulk_fail(struct bulk_op *op, const struct err *err) {
  bulk_release(op);
  http_reply_error(op->req, err);
}

static void bulk_end(struct bulk_op *op) {
  jw_array_end(&op->w);
  jw_object_end(&op->w);
  sample_release(op);
  http_reply_json(op->req, 200, &op->body);
}

static void bulk_next(struct bulk_op *op);

static bool keep_step(struct bulk_op *op, int64_t step) {
  if (op->step_count == op->step_cap) {
    size_t cap = op->step_cap ? op->step_cap * 2 : 1024;
    void *more = mem_resize(op->steps, cap, sizeof *op->steps);
    if (!more)
      return false;
    op->steps = more;
    op->step_cap = cap;
  }
  op->steps[op->step_count++] = step;
  return true;
}

static int by_value(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

static size_t drop_repeats(int64_t *steps, size_t count) {
  size_t n = 0;
  for (size_t i = 0; i < count; i++)
    if (n == 0 || steps[i] != steps[n - 1])
      steps[n++] = steps[i];
  return n;
}

static void sort_steps(struct bulk_op *op) {
  if (op->step_count) {
    qsort(op->steps, op->step_count, sizeof *op->steps, by_value);
    op->step_count = drop_repeats(op->steps, op->step_count);
  }
}

/* Every so many of the distinct steps of all runs in the range, and each run's first and last there. */
static bool choose_sample(struct bulk_op *op) {
  sort_steps(op);
  size_t n = op->step_count, m = op->max_results;
  if (n > m) {
    for (size_t i = 0; i < m; i++)
      op->steps[i] = op->steps[i * n / m];
    op->step_count = m;
  }
  for (size_t i = 0; i < op->end_count; i++)
    if (!keep_step(op, op->ends[i]))
      return false;
  sort_steps(op);
  return true;
}

static bool in_sample(const struct bulk_op *op, int64_t step) {
  return op->step_count && bsearch(&step, op->steps, op->step_count, sizeof *op->steps, by_value) != NULL;
}

/* By the step itself, so that all runs keep the same ones, spread as evenly as they are. */
static bool is_kept(const struct bulk_op *op, int64_t step) {
  return (rng_mix((uint64_t)step) & ((UINT64_C(1) << op->thin) - 1)) == 0;
}

/* A sample of a few thousand needs not all of millions: half of them is as good. */
static void thin_out(struct bulk_op *op) {
  sort_steps(op);
  while (op->step_count > INTERVAL_STEPS_MAX / 2) {
    size_t n = 0;
    op->thin++;
    for (size_t i = 0; i < op->step_count; i++)
      if (is_kept(op, op->steps[i]))
        op->steps[n++] = op->steps[i];
    op->step_count = n;
  }
}

static void note_end(struct bulk_op *op, int64_t step) {
  if (!op->has_ends)
    op->ends[op->end_count++] = step;
  else
    op->end_count--; /* steps come in their order: this one is later */
  op->ends[op->end_count++] = step;
  op->has_ends = true;
}

static bool collect_steps(struct bulk_op *op, const struct points *points, struct err *err) {
  for (size_t i = 0; i < points->n; i++) {
    int64_t step = points->step[i];
    if (step < op->start || step > op->end)
      continue;
    note_end(op, step);
    if (!is_kept(op, step) || (op->step_count && op->steps[op->step_count - 1] == step))
      continue;
    if (op->step_count >= INTERVAL_STEPS_MAX)
      thin_out(op);
    if (is_kept(op, step) && !keep_step(op, step))
      return err_no_memory(err);
  }
  return true;
}

static void drop_every_second(struct points *rows) {
  for (size_t i = 0; 2 * i < rows->n; i++) {
    rows->step[i] = rows->step[2 * i];
    rows->time[i] = rows->time[2 * i];
    rows->value[i] = rows->value[2 * i];
    rows->epoch[i] = rows->epoch[2 * i];
  }
  rows->n = (rows->n + 1) / 2;
}

/* A step of the sample is told with all of its rows, and may have any number of them: when there are twice as many as one run may have,
   half of them go. */
static bool collect_rows(struct bulk_op *op, const struct points *points, struct err *err) {
  for (size_t i = 0; i < points->n; i++) {
    if (!in_sample(op, points->step[i]))
      continue;
    op->last = points_at(points, i);
    if (op->row_count % op->stride == 0 && op->rows.n == 2 * (size_t)INTERVAL_MAX) {
      drop_every_second(&op->rows);
      op->stride *= 2;
    }
    if (op->row_count++ % op->stride == 0 && !points_add(&op->rows, op->last))
      return err_no_memory(err);
  }
  return true;
}

/* Evenly spread, with the first and the last. */
static void write_rows(struct bulk_op *op) {
  size_t n = op->rows.n, told = MIN_OF(n, (size_t)INTERVAL_MAX);
  for (size_t i = 0; i < told; i++)
    put_point(&op->w, op->key, i + 1 < told ? points_at(&op->rows, i * n / told) : op->last, &op->runs[op->at]);
  op->rows.n = op->row_count = 0;
  op->stride = 1;
}

static bool take_page(struct bulk_op *op, const struct points *points, bool more, struct err *err) {
  if (!op->interval) {
    for (size_t i = 0; i < points->n && op->left; i++, op->left--)
      put_point(&op->w, op->key, points_at(points, i), &op->runs[op->at]);
    return true;
  }
  if (!op->sampling)
    return collect_steps(op, points, err);
  if (!collect_rows(op, points, err))
    return false;
  if (!more)
    write_rows(op);
  return true;
}

static void on_bulk_page(void *ctx, const struct points *points, bool more, const struct err *err) {
  struct bulk_op *op = ctx;
  struct err why;
  if (err || !take_page(op, points, more, &why)) {
    bulk_fail(op, err ? err : &why);
    return;
  }
  if (more && (op->interval || op->left)) {
    op->ask.after = points_at(points, points->n - 1);
    op->ask.has_after = true;
  } else {
    op->at++;
    op->ask.has_after = op->has_ends = false;
  }
  bulk_next(op);
}

static void bulk_next(struct bulk_op *op) {
  struct err err;
  if (op->at == op->run_count && op->interval && !op->sampling) {
    op->sampling = true;
    op->at = 0;
    if (!choose_sample(op)) {
      err_no_memory(&err);
      bulk_fail(op, &err);
      return;
    }
  }
  if (op->at == op->run_count || (!op->interval && !op->left)) {
    bulk_end(op);
    return;
  }
  op->ask.run = op->runs[op->at];
  if (!metric_page(web_app(op->req)->metrics, &op->ask, on_bulk_page, op, &err))
    bulk_fail(op, &err);
}

static int by_id(const void *a, const void *b) {
  return memcmp(a, b, sizeof(struct id));
}

/* Ids that cannot be ours have no points. */
static bool read_runs(struct bulk_op *op, const struct str *texts, size_t count, struct err *err) {
  op->runs = ARENA_NEW_ARRAY(http_req_arena(op->req), struct id, count ? count : 1);
  op->ends = ARENA_NEW_ARRAY(http_req_arena(op->req), int64_t, 2 * count + 2);
  if (!op->runs || !op->ends)
    return err_no_memory(err);
  for (size_t i = 0; i < count; i++)
    op->run_count += id_parse(texts[i], &op->runs[op->run_count]);
  qsort(op->runs, op->run_count, sizeof *op->runs, by_id);
  size_t n = 0;
  for (size_t i = 0; i < op->run_count; i++)
    if (n == 0 || !id_eq(op->runs[i], op->runs[n - 1]))
      op->runs[n++] = op->runs[i];
  op->run_count = n;
  return true;
}

static void bulk_begin(struct bulk_op *op, enum metric_order order) {
  op->ask = (struct metric_page_ask){.key = op->key, .order = order, .from = INT64_MIN, .to = INT64_MAX, .limit = HISTORY_MAX};
  op->body = BUF_INIT(MLFLOW_REPLY_MAX);
  jw_init(&op->w, &op->body);
  jw_object(&op->w);
  jw_key(&op->w, "metrics");
  jw_array(&op->w);
  bulk_next(op);
}

struct bulk_args {
  const json_t *runs;
  struct str key;
  int64_t max_results, start, end;
  bool has_max, has_start, has_end;
};

static bool bulk(struct bulk_op *op, const struct bulk_args *in, struct err *err) {
  const struct str *texts;
  size_t count;
  if (!mlflow_strings(op->req, in->runs, "run_id", &texts, &count, err))
    return false;
  if (count == 0)
    return err_set(err, ERR_INVALID, "GetMetricHistoryBulk request must specify at least one run_id.");
  if (count > BULK_RUNS_MAX)
    return err_set(err, ERR_INVALID, "GetMetricHistoryBulk request cannot specify more than %d run_ids. Received %zu run_ids.",
                   BULK_RUNS_MAX, count);
  if (!in->key.n)
    return err_set(err, ERR_INVALID, "GetMetricHistoryBulk request must specify a metric_key.");
  op->key = in->key;
  if (in->has_max && in->max_results < 1)
    return err_set(err, ERR_INVALID, "max_results must be at least 1.");
  op->left = in->has_max ? (size_t)MIN_OF(in->max_results, (int64_t)HISTORY_MAX) : HISTORY_MAX;
  if (!read_runs(op, texts, count, err))
    return false;
  bulk_begin(op, METRIC_BY_TIME);
  return true;
}

static bool interval(struct bulk_op *op, const struct bulk_args *in, struct err *err) {
  const struct str *texts;
  size_t count;
  if (!mlflow_strings(op->req, in->runs, "run_ids", &texts, &count, err))
    return false;
  if (count == 0)
    return mlflow_missing(err, "run_ids");
  if (count > BULK_RUNS_MAX)
    return err_set(err, ERR_INVALID, "GetMetricHistoryBulkInterval request must specify at most %d run_ids. Received %zu run_ids.",
                   BULK_RUNS_MAX, count);
  if (!in->key.n)
    return mlflow_missing(err, "metric_key");
  if (in->has_max && (in->max_results < 1 || in->max_results > INTERVAL_MAX))
    return err_set(err, ERR_INVALID, "max_results must be between 1 and %d.", INTERVAL_MAX);
  if (in->has_start != in->has_end)
    return err_set(err, ERR_INVALID, "If either start step or end step are specified, both must be specified.");
  if (in->has_start && in->start > in->end)
    return err_set(err, ERR_INVALID, "end_step must be greater than start_step. Found start_step=%lld and end_step=%lld.",
                   (long long)in->start, (long long)in->end);
  op->key = in->key;
  op->interval = true;
  op->stride = 1;
  op->start = in->has_start ? in->start : INT64_MIN;
  op->end = in->has_end ? in->end : INT64_MAX;
  op->max_results = in->has_max ? (size_t)in->max_results : INTERVAL_MAX;
  if (!read_runs(op, texts, count, err))
    return false;
  bulk_begin(op, METRIC_BY_STEP);
  return true;
}

static void begin_bulk(struct http_req *req, const char *runs_name,
                       bool (*start)(struct bulk_op *, const struct bulk_args *, struct err *)) {
  const struct mlflow_field fields[] = {
      {runs_name, MLFLOW_ARRAY, false, offsetof(struct bulk_args, runs), 0},
      {"metric_key", MLFLOW_STR, false, offsetof(struct bulk_args, key), 0},
      {"max_results", MLFLOW_INT, false, offsetof(struct bulk_args, max_results), offsetof(struct bulk_args, has_max)},
      {"start_step", MLFLOW_INT, false, offsetof(struct bulk_args, start), offsetof(struct bulk_args, has_start)},
      {"end_step", MLFLOW_INT, false, offsetof(struct bulk_args, end), offsetof(struct bulk_args, has_end)},
  };
  struct bulk_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  if (!mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree))
    return;
  struct bulk_op *op = HTTP_REQ_NEW(req, struct bulk_op);
  if (!op)
    return;
  op->req = req;
  if (!start(op, &in, &err))
    http_reply_error(req, &err);
}

static void get_bulk(struct http_req *req) {
  begin_bulk(req, "run_id", bulk);
}

static void get_interval(struct http_req *req) {
  begin_bulk(req, "run_ids", interval);
}

const struct route mlflow_metric_routes[] = {
    MLFLOW_GET("/metrics/get-history", REACH_NAMED, get_history, "All points of a metric"),
    MLFLOW_GET("/metrics/get-history-bulk", REACH_NAMED, get_bulk, "The points of a metric of many runs"),
    MLFLOW_GET("/metrics/get-history-bulk-interval", REACH_NAMED, get_interval, "A sample of the points of a metric of many runs"),
};
const size_t mlflow_metric_route_count = ARRAY_LEN(mlflow_metric_routes);
