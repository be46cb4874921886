/* /api/v1: the points of runs. */
#include "base/json.h"
#include "base/mem.h"
#include "storage/metrics/metric_store.h"
#include "storage/pg/pg.h"
#include "tracker/metric_body.h"
#include "tracker/names.h"
#include "web/api/api_runs.h"
#include "web/http/http_reply.h"
#include "web/tables.h"
#include "web/tracking.h"
#include "web/walk_reply.h"

enum {
  BODY_MAX = 32 * 1024 * 1024,
  WRITE_KEYS_MAX = 10000,
  SERIES_RUNS_MAX = 500,
  SERIES_KEYS_MAX = 100,
  SERIES_BUCKETS_MAX = 4000000, /* of all series together */
  BUCKETS_DEFAULT = 1000,
};
static const size_t reply_max = 512 * MIB;

static bool no_such_run(struct str text, struct err *err) {
  return err_set(err, ERR_NOT_FOUND, "there is no run \"%.*s\"", STR_ARG(str_slice(text, 0, 64)));
}

static bool read_run(struct http_req *req, struct id *ret, struct err *err) {
  struct str text = http_req_value(req, "id");
  return id_parse(text, ret) || no_such_run(text, err);
}

static bool store_of(const struct http_req *req, struct metric_store **ret, struct err *err) {
  *ret = web_app(req)->metrics;
  return *ret || err_set(err, ERR_UNAVAILABLE, "metrics cannot be read or written now");
}

/* ---- writing ---- */

struct point_json {
  struct str key;
  double value, epoch;
  int64_t step, time;
};

static const struct json_field point_fields[] = {
    {"key", JSON_F_STR, offsetof(struct point_json, key), .required = true},
    {"value", JSON_F_F64, offsetof(struct point_json, value), .required = true},
    {"step", JSON_F_I64, offsetof(struct point_json, step), .required = true},
    {"time", JSON_F_I64, offsetof(struct point_json, time), .nullable = true, .min = 0, .max = INT64_MAX},
    {"epoch", JSON_F_F64, offsetof(struct point_json, epoch), .nullable = true},
};

/* Of the i-th point. */
static bool check_key(struct str key, size_t i, struct err *err) {
  char path[48];
  snprintf(path, sizeof path, "points[%zu].key", i);
  return (key_check(key, path, err) && text_fits(key, KEY_MAX, path, err)) || err_at(err, path, 0, 0);
}

/* What the quick reader gave up on: read as a tree, which says what is wrong. Keys are borrowed from the tree. */
static bool read_tree(const json_t *tree, int64_t now, struct metric_rows *rows, struct err *err) {
  const json_t *points = NULL;
  static const struct json_field fields[] = {{"points", JSON_F_ARRAY, 0, .required = true}};
  if (!json_decode(tree, fields, ARRAY_LEN(fields), "", &points, err))
    return false;
  for (size_t i = 0; i < json_array_size(points); i++) {
    struct point_json point = {.time = now, .epoch = NAN};
    char path[32];
    snprintf(path, sizeof path, "points[%zu]", i);
    if (!json_decode(json_array_get(points, i), point_fields, ARRAY_LEN(point_fields), path, &point, err))
      return false;
    if (rows->points.n == METRIC_ROWS_MAX)
      return err_set(err, ERR_TOO_LARGE, "a write has at most %d points", METRIC_ROWS_MAX);
    if (point.key.n > SERIES_KEY_MAX)
      return check_key(point.key, i, err);
    if (!metric_rows_add(rows, point.key, (struct point){point.step, point.time, point.value, point.epoch}))
      return err_no_memory(err);
  }
  return true;
}

static bool check_keys(const struct metric_rows *rows, struct err *err) {
  if (rows->key_count > WRITE_KEYS_MAX)
    return err_set(err, ERR_TOO_LARGE, "a write has at most %d keys, and this one %zu", WRITE_KEYS_MAX, rows->key_count);
  size_t checked = 0; /* keys are numbered as they come */
  for (size_t i = 0; i < rows->points.n; i++)
    if (rows->series[i] == checked && !check_key(rows->keys[checked++], i, err))
      return false;
  return rows->points.n > 0 || err_set(err, ERR_INVALID, "\"points\" is empty");
}

struct write_op {
  struct http_req *req;
  int64_t points;
  struct tracking_reports reports;
};

static void on_stored(void *ctx, const struct err *err) {
  struct write_op *op = ctx;
  if (err) {
    http_reply_error(op->req, err);
    return;
  }
  tracking_reports_hear(op->req, &op->reports);
  struct buf body = BUF_INIT(128);
  buf_printf(&body, "{\"points\":%lld}", (long long)op->points);
  http_reply_json(op->req, 200, &body);
}

static bool store_rows(struct http_req *req, const struct metric_rows *rows, struct err *err) {
  struct id run;
  struct metric_store *store;
  if (!read_run(req, &run, err) || !store_of(req, &store, err) || !check_keys(rows, err))
    return false;
  struct write_op *op = ARENA_NEW(http_req_arena(req), struct write_op);
  if (!op)
    return err_no_memory(err);
  *op = (struct write_op){.req = req, .points = (int64_t)rows->points.n};
  int32_t attempt = tracking_attempt(req, run);
  return tracking_reports_keep(req, run, attempt, rows, &op->reports, err) && metric_append(store, run, attempt, rows, on_stored, op, err);
}

/* A long write that has a mistake, or something unusual, which only a short one may have. */
static void points_error(struct str body, size_t read, struct points_stop stop, struct err *err) {
  char path[32];
  snprintf(path, sizeof path, "points[%zu]", read);
  if (stop.is_beside) {
    err_set(err, ERR_INVALID, "the body cannot be read: it is an object with \"points\", and nothing stands beside them");
    err_at_byte(err, "", body, stop.at);
  } else if (read == METRIC_ROWS_MAX) {
    err_set(err, ERR_TOO_LARGE, "a write has at most %d points", METRIC_ROWS_MAX);
  } else {
    err_set(err, ERR_INVALID, "\"%s\" cannot be read: a point is an object with key, value and step, and maybe time and epoch", path);
    err_hint(err, "a write of fewer points is told in which field the mistake is");
    err_at_byte(err, path, body, stop.at);
  }
}

static void post_points(struct http_req *req) {
  struct str body = http_req_body(req);
  int64_t now = tracking_now(req);
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  AUTO_METRIC_ROWS struct metric_rows rows;
  struct points_stop stop;
  bool ok = points_body_read(body, http_req_arena(req), now, &rows, &stop);
  if (!ok) {
    size_t read = rows.points.n;
    metric_rows_release(&rows);
    metric_rows_init(&rows);
    ok = json_read_body(body, &tree, &err) && read_tree(tree, now, &rows, &err);
    if (!tree && err.code == ERR_TOO_LARGE)
      points_error(body, read, stop, &err);
  }
  if (!ok || !store_rows(req, &rows, &err))
    http_reply_error(req, &err);
}

/* ---- what is known of each key ---- */

struct summary_op {
  struct http_req *req;
  struct id run;
  size_t from, limit;
};

static void put_place(struct json_writer *w, const char *name, const struct point *point) {
  jw_key(w, name);
  jw_object(w);
  jw_put_f64(w, "value", point->value);
  jw_put_i64(w, "step", point->step);
  jw_put_i64(w, "time", point->time);
  jw_object_end(w);
}

static void put_extreme(struct json_writer *w, const char *name, double value, int64_t step) {
  jw_key(w, name);
  if (isnan(value)) { /* no value was a number */
    jw_null(w);
    return;
  }
  jw_object(w);
  jw_put_f64(w, "value", value);
  jw_put_i64(w, "step", step);
  jw_object_end(w);
}

static void put_summary(struct json_writer *w, const struct metric_summary *summary) {
  const struct fold *fold = &summary->fold;
  jw_object(w);
  jw_put_str(w, "key", summary->key);
  jw_put_i64(w, "count", fold->count);
  jw_put_i64(w, "nans", fold->nans);
  put_place(w, "first", &fold->first);
  put_place(w, "last", &fold->last);
  put_extreme(w, "min", fold->min, fold->min_step);
  put_extreme(w, "max", fold->max, fold->max_step);
  jw_put_i64(w, "attempt", summary->attempt);
  jw_object_end(w);
}

static void on_summaries(void *ctx, const struct metric_summary *summaries, size_t count, const struct err *err) {
  struct summary_op *op = ctx;
  if (err) {
    http_reply_error(op->req, err);
    return;
  }
  struct buf body = BUF_INIT(reply_max);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "items");
  jw_array(&w);
  size_t end = MIN_OF(count, op->from + op->limit);
  for (size_t i = op->from; i < end; i++)
    put_summary(&w, &summaries[i]);
  jw_array_end(&w);
  api_put_span_next(&w, end < count ? end : 0);
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

static void on_run(void *ctx, const struct pg_reply *reply) {
  struct summary_op *op = ctx;
  struct metric_store *store;
  struct err err;
  char hex[ID_HEX_LEN + 1];
  id_format(op->run, hex);
  bool ok = pg_ok(reply, &err) && (pg_rows(reply) || err_set(&err, ERR_NOT_FOUND, "there is no run %s", hex));
  if (!ok || !store_of(op->req, &store, &err) || !metric_summaries(store, &op->run, 1, on_summaries, op, &err))
    http_reply_error(op->req, &err);
}

static bool start_summaries(struct summary_op *op, struct err *err) {
  if (!read_run(op->req, &op->run, err) || !api_span(op->req, &op->from, &op->limit, err))
    return false;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUN_IS_ACTIVE);
  pg_put_uuid(&args, op->run);
  return pg_run(web_app(op->req)->pg, &args, 0, on_run, op, err);
}

static void get_summaries(struct http_req *req) {
  struct err err;
  struct summary_op *op = HTTP_REQ_NEW(req, struct summary_op);
  if (!op)
    return;
  op->req = req;
  if (!start_summaries(op, &err))
    http_reply_error(req, &err);
}

/* ---- charts and raw series ---- */

struct series_op {
  struct http_req *req;
  struct metric_store *store;
  struct metric_series_ask ask;
  struct id *runs;
  struct str *keys;
  const char *x_name, *scale_name;
  struct id *missing; /* of the runs */
  size_t missing_count;
  /* raw: series after series */
  struct walk_reply walk;
  bool raw, as_json;
  size_t at; /* run * keys + key */
  struct metric_page_ask page;
  struct buf prefix; /* what each of its lines begins with */
};

static bool read_word(struct http_req *req, const char *name, const char *const *words, size_t count, size_t *ret, struct err *err) {
  struct str text = http_req_param(req, name);
  *ret = 0;
  if (!text.p)
    return true;
  for (size_t i = 0; i < count; i++)
    if (str_is(text, words[i]))
      return *ret = i, true;
  char known[80] = "";
  for (size_t i = 0; i < count; i++)
    snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i == 0 ? "" : i + 1 < count ? ", " : " or ", words[i]);
  return err_set(err, ERR_INVALID, "\"%s\" must be %s, not \"%.*s\"", name, known, STR_ARG(str_slice(text, 0, 64)));
}

static bool read_whole(struct http_req *req, const char *name, int64_t *ret, bool *ret_given, struct err *err) {
  struct str text = http_req_param(req, name);
  *ret_given = text.p != NULL;
  return !text.p || str_to_i64(text, ret) || err_set(err, ERR_INVALID, "\"%s\" must be a whole number", name);
}

static size_t count_params(struct http_req *req, const char *name) {
  struct str value;
  size_t n = 0;
  for (size_t i = 0; http_req_param_next(req, name, &i, &value);)
    n++;
  return n;
}

static bool read_names(struct series_op *op, struct err *err) {
  struct http_req *req = op->req;
  size_t runs = count_params(req, "run"), keys = count_params(req, "key"), n = 0;
  if (!runs || !keys)
    return err_set(err, ERR_INVALID, "\"%s\" is missing", runs ? "key" : "run");
  if (runs > SERIES_RUNS_MAX || keys > SERIES_KEYS_MAX)
    return err_set(err, ERR_INVALID, "at most %d runs and %d keys can be asked for at once", SERIES_RUNS_MAX, SERIES_KEYS_MAX);
  op->runs = ARENA_NEW_ARRAY(http_req_arena(req), struct id, runs);
  op->keys = ARENA_NEW_ARRAY(http_req_arena(req), struct str, keys);
  if (!op->runs || !op->keys)
    return err_no_memory(err);
  struct str value;
  for (size_t i = 0; http_req_param_next(req, "run", &i, &value);)
    if (!id_parse(value, &op->runs[n++]))
      return no_such_run(value, err);
  n = 0;
  for (size_t i = 0; http_req_param_next(req, "key", &i, &value);)
    op->keys[n++] = value;
  op->ask.runs = op->runs;
  op->ask.run_count = runs;
  op->ask.keys = op->keys;
  op->ask.key_count = keys;
  return true;
}

static bool read_series(struct series_op *op, struct err *err) {
  static const char *const xs[] = {"step", "time", "relative"}, *const scales[] = {"linear", "log"}, *const formats[] = {"csv", "jsonl"};
  struct http_req *req = op->req;
  size_t x, scale, format;
  int64_t buckets = BUCKETS_DEFAULT, attempt = 0;
  bool given;
  if (!read_names(op, err) || !read_word(req, "x", xs, ARRAY_LEN(xs), &x, err) ||
      !read_word(req, "scale", scales, ARRAY_LEN(scales), &scale, err) ||
      !read_word(req, "format", formats, ARRAY_LEN(formats), &format, err) ||
      !read_whole(req, "from", &op->ask.from, &op->ask.has_from, err) || !read_whole(req, "to", &op->ask.to, &op->ask.has_to, err) ||
      !read_whole(req, "buckets", &buckets, &given, err) || !read_whole(req, "attempt", &attempt, &given, err))
    return false;
  if (op->ask.has_from && op->ask.has_to && op->ask.from > op->ask.to)
    return err_set(err, ERR_INVALID, "\"from\" must not be greater than \"to\"");
  if (!http_req_flag(req, "raw", &op->raw, err))
    return false;
  if (buckets < 1 || buckets > GRID_MAX)
    return err_set(err, ERR_INVALID, "\"buckets\" must be from 1 to %d", GRID_MAX);
  if (attempt < 0 || attempt > INT32_MAX)
    return err_set(err, ERR_INVALID, "\"attempt\" must be 1 or more");
  if ((uint64_t)buckets * op->ask.run_count * op->ask.key_count > SERIES_BUCKETS_MAX) {
    err_set(err, ERR_INVALID, "that would be more than %d buckets", SERIES_BUCKETS_MAX);
    return err_hint(err, "ask for fewer buckets, runs or keys");
  }
  if (op->raw && x != METRIC_X_STEP && (op->ask.has_from || op->ask.has_to))
    return err_set(err, ERR_INVALID, "with \"raw\" a range is one of steps");
  op->ask.x = (enum metric_x)x;
  op->ask.scale = (enum scale)scale;
  op->ask.buckets = (size_t)buckets;
  op->ask.attempt = (int32_t)attempt;
  op->x_name = xs[x];
  op->scale_name = scales[scale];
  op->as_json = format == 1;
  return true;
}

/* One column of the buckets. */
static void put_xs(struct json_writer *w, const char *name, const struct metric_series *series, bool last) {
  jw_key(w, name);
  jw_array(w);
  for (size_t i = 0; i < series->bucket_count; i++)
    jw_i64(w, (int64_t)((uint64_t)(last ? series->buckets[i].last_x : series->buckets[i].first_x) - (uint64_t)series->origin));
  jw_array_end(w);
}

static void put_values(struct json_writer *w, const char *name, const struct metric_series *series, size_t offset) {
  jw_key(w, name);
  jw_array(w);
  for (size_t i = 0; i < series->bucket_count; i++) {
    double value;
    memcpy(&value, (const char *)&series->buckets[i] + offset, sizeof value);
    jw_f64(w, value);
  }
  jw_array_end(w);
}

static void put_series(struct json_writer *w, const struct metric_series *series) {
  char hex[ID_HEX_LEN + 1];
  id_format(series->run, hex);
  jw_object(w);
  jw_put_text(w, "run", hex);
  jw_put_str(w, "key", series->key);
  jw_put_i64(w, "points", series->points);
  jw_put_i64(w, "origin", series->origin);
  put_xs(w, "x", series, false);
  put_xs(w, "x_last", series, true);
  jw_key(w, "n");
  jw_array(w);
  for (size_t i = 0; i < series->bucket_count; i++)
    jw_i64(w, series->buckets[i].count);
  jw_array_end(w);
  put_values(w, "min", series, offsetof(struct bucket, min));
  put_values(w, "max", series, offsetof(struct bucket, max));
  put_values(w, "first", series, offsetof(struct bucket, first));
  put_values(w, "last", series, offsetof(struct bucket, last));
  jw_key(w, "damaged");
  if (series->damaged) {
    jw_object(w);
    jw_put_i64(w, "chunks", (int64_t)series->damaged);
    jw_put_i64(w, "from_step", series->damaged_from);
    jw_put_i64(w, "to_step", series->damaged_to);
    jw_object_end(w);
  } else {
    jw_null(w);
  }
  jw_object_end(w);
}

static void on_series(void *ctx, const struct metric_series *series, size_t count, const struct err *err) {
  struct series_op *op = ctx;
  if (err) {
    http_reply_error(op->req, err);
    return;
  }
  struct buf body = BUF_INIT(reply_max);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_put_text(&w, "x", op->x_name);
  jw_put_text(&w, "scale", op->scale_name);
  jw_key(&w, "series");
  jw_array(&w);
  for (size_t i = 0; i < count; i++)
    put_series(&w, &series[i]);
  jw_array_end(&w);
  jw_key(&w, "missing");
  jw_array(&w);
  for (size_t i = 0; i < op->missing_count; i++) {
    char hex[ID_HEX_LEN + 1];
    id_format(op->missing[i], hex);
    jw_text(&w, hex);
  }
  jw_array_end(&w);
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

/* ---- raw ---- */

static void put_csv_text(struct buf *out, struct str text) {
  buf_putc(out, '"');
  for (size_t i = 0; i < text.n; i++) {
    if (text.p[i] == '"')
      buf_putc(out, '"');
    buf_putc(out, text.p[i]);
  }
  buf_putc(out, '"');
}

/* A line is written where it lies: a long series has many. */
static void put_csv(const void *ctx, const struct points *points, struct buf *out) {
  enum { NUMBERS = 2 * 21 + 2 * 32 + 4 };
  const struct series_op *op = ctx;
  for (size_t i = 0; i < points->n; i++) {
    char *line = buf_room(out, op->prefix.n + NUMBERS), *at = line;
    if (!line)
      return;
    memcpy(at, op->prefix.p, op->prefix.n);
    at += op->prefix.n;
    at += str_from_i64(points->step[i], at);
    *at++ = ',';
    if (!isnan(points->epoch[i]))
      at += str_from_f64(points->epoch[i], at);
    *at++ = ',';
    at += str_from_i64(points->time[i], at);
    *at++ = ',';
    at += str_from_f64(points->value[i], at);
    *at++ = '\n';
    buf_grew(out, (size_t)(at - line));
  }
}

static void put_jsonl(const void *ctx, const struct points *points, struct buf *out) {
  const struct series_op *op = ctx;
  struct json_writer w;
  for (size_t i = 0; i < points->n; i++) {
    buf_add_str(out, buf_str(&op->prefix));
    jw_init(&w, out);
    jw_f64(&w, points->value[i]);
    buf_puts(out, ",\"step\":");
    buf_add_i64(out, points->step[i]);
    buf_puts(out, ",\"epoch\":");
    jw_init(&w, out);
    if (isnan(points->epoch[i]))
      jw_null(&w);
    else
      jw_f64(&w, points->epoch[i]);
    buf_puts(out, ",\"time\":");
    buf_add_i64(out, points->time[i]);
    buf_puts(out, "}\n");
  }
}

static void put_prefix(struct series_op *op) {
  char run[ID_HEX_LEN + 1];
  id_format(op->page.run, run);
  buf_reset(&op->prefix);
  if (op->as_json) {
    buf_printf(&op->prefix, "{\"run\":\"%s\",\"key\":", run);
    json_quote(&op->prefix, op->page.key);
    buf_puts(&op->prefix, ",\"value\":");
  } else {
    buf_printf(&op->prefix, "%s,", run);
    put_csv_text(&op->prefix, op->page.key);
    buf_putc(&op->prefix, ',');
  }
}

static bool next_series(void *ctx, struct metric_walk **ret, struct err *err) {
  struct series_op *op = ctx;
  if (op->at == op->ask.run_count * op->ask.key_count)
    return true;
  op->page.run = op->runs[op->at / op->ask.key_count];
  op->page.key = op->keys[op->at % op->ask.key_count];
  op->at++;
  put_prefix(op);
  *ret = buf_ok(&op->prefix, err) ? metric_walk_new(op->store, &op->page, op->as_json ? put_jsonl : put_csv, op, err) : NULL;
  return *ret != NULL;
}

static void raw_ended(void *ctx) {
  struct series_op *op = ctx;
  buf_release(&op->prefix);
}

static void start_raw(struct series_op *op) {
  op->prefix = BUF_INIT(16 * KIB);
  op->page = (struct metric_page_ask){.order = METRIC_BY_STEP,
                                      .attempt = op->ask.attempt,
                                      .from = op->ask.has_from ? op->ask.from : INT64_MIN,
                                      .to = op->ask.has_to ? op->ask.to : INT64_MAX,
                                      .limit = WALK_REPLY_PAGE};
  op->walk = (struct walk_reply){.req = op->req,
                                 .content_type = op->as_json ? "application/x-ndjson" : "text/csv; charset=utf-8",
                                 .head = op->as_json ? "" : "run,key,step,epoch,time,value\n",
                                 .tail = "",
                                 .next = next_series,
                                 .ended = raw_ended,
                                 .ctx = op};
  walk_reply_start(&op->walk);
}

static bool is_missing(const struct series_op *op, struct id run) {
  for (size_t i = 0; i < op->missing_count; i++)
    if (id_eq(op->missing[i], run))
      return true;
  return false;
}

/* A chart is drawn of the runs that are there, and names the others. Raw points have no place for that, and without any run there is no
 * chart. */
static bool note_missing(struct series_op *op, const struct pg_reply *reply, struct err *err) {
  bool any = false;
  op->missing = ARENA_NEW_ARRAY(http_req_arena(op->req), struct id, pg_rows(reply) + 1);
  if (!op->missing)
    return err_no_memory(err);
  for (; op->missing_count < pg_rows(reply); op->missing_count++)
    op->missing[op->missing_count] = pg_uuid(reply, op->missing_count, 0);
  for (size_t i = 0; i < op->ask.run_count && !any; i++)
    any = !is_missing(op, op->runs[i]);
  return (any && (!op->raw || !op->missing_count)) || api_no_run(err, op->missing[0]);
}

static bool read_points(struct series_op *op, struct err *err) {
  if (!op->raw)
    return metric_series_read(op->store, &op->ask, on_series, op, err);
  start_raw(op);
  return true;
}

static void on_missing(void *ctx, const struct pg_reply *reply) {
  struct series_op *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err) || !note_missing(op, reply, &err) || !read_points(op, &err))
    http_reply_error(op->req, &err);
}

static bool start_series(struct series_op *op, struct err *err) {
  if (!read_series(op, err) || !store_of(op->req, &op->store, err))
    return false;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUNS_MISSING);
  pg_begin_array(&args);
  for (size_t i = 0; i < op->ask.run_count; i++)
    pg_put_uuid(&args, op->runs[i]);
  pg_end_array(&args);
  return pg_run(web_app(op->req)->pg, &args, 0, on_missing, op, err);
}

static void get_series(struct http_req *req) {
  struct err err;
  struct series_op *op = HTTP_REQ_NEW(req, struct series_op);
  if (!op)
    return;
  op->req = req;
  if (!start_series(op, &err))
    http_reply_error(req, &err);
}

const struct route metric_routes[] = {
    {.method = HTTP_POST,
     .path = "/runs/{id}/metrics",
     .policy = POLICY_TRACK,
     .reach = REACH_NAMED,
     .body = BODY_BUFFER,
     .max_body = BODY_MAX,
     .handler = post_points,
     .summary = "Store points of a run's metrics",
     .doc = "Answers once they are durable. The same delivery repeated is stored once. `time` is now when it is absent; `value` may be "
            "\"NaN\", \"Infinity\" or \"-Infinity\".",
     .request_schema = "points_new",
     .response_schema = "points_stored"},
    {.method = HTTP_GET,
     .path = "/runs/{id}/metrics",
     .policy = POLICY_READ,
     .reach = REACH_NAMED,
     .handler = get_summaries,
     .summary = "What is known of each metric of a run: count, first, last, least, greatest",
     .query = "limit:integer,cursor:string",
     .response_schema = "metric_list"},
    {.method = HTTP_GET,
     .path = "/series",
     .policy = POLICY_READ,
     .reach = REACH_NAMED,
     .handler = get_series,
     .response_type = "application/json,text/csv,application/x-ndjson",
     .summary = "A whole chart: the series of many runs and metrics in buckets, or all their points",
     .doc =
         "The x axis is cut into at most `buckets` buckets, whose edges lie at round binary numbers. For each bucket with points: "
         "where its first and last point lie (`x`, `x_last`), how many there are, the least, greatest, first and last value; nothing "
         "is sampled, so no spike is lost. `relative` counts milliseconds from the run's first point among the keys asked for. On a "
         "logarithmic axis points at 0 and below are left out. A run without points of a key has no series; runs that there are not are named by "
         "`missing`, unless there is none of those asked for: that is 404. `raw=true` streams every point, as `format` csv or jsonl; then each run must be there.",
     .query = "run:string[],key:string[],x:step|time|relative,from:integer,to:integer,scale:linear|log,buckets:integer,attempt:integer,"
              "raw:boolean,format:csv|jsonl",
     .response_schema = "series"},
};
const size_t metric_route_count = ARRAY_LEN(metric_routes);
