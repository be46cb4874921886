/* MLflow's protocol: what a run logs. Params, tags and metrics of one call happen together or not at all. */
#include <math.h>

#include "storage/metrics/metric_store.h"
#include "tracker/metric_body.h"
#include "tracker/names.h"
#include "tracker/packed.h"
#include "tracker/run_writer.h"
#include "web/mlflow/mlflow.h"
#include "web/mlflow/mlflow_tables.h"
#include "web/tracking.h"

enum { CONFLICT_TEXT_MAX = 256 * 1024, MODEL_JSON_MAX = 4 * 1024 * 1024 };

/* One write under way. Its texts lie in the request's arena. */
struct log_op {
  struct http_req *req;
  struct id run;
  struct run_words words; /* its params also say later what is in conflict */
  struct str tag;         /* that was to be deleted */
  bool single;            /* one param: the text of an error differs */
  bool has_points;
  struct metric_write *metrics;
  size_t metrics_at; /* in the batch */
  struct tracking_reports reports;
};

static struct log_op *new_op(struct http_req *req) {
  struct log_op *op = HTTP_REQ_NEW(req, struct log_op);
  if (op) {
    op->req = req;
    op->words.params = op->words.tags = STR("{}");
  }
  return op;
}

static struct pg_pool *pool(const struct log_op *op) {
  return web_app(op->req)->pg;
}

static void fail(struct log_op *op, const struct err *err) {
  http_reply_error(op->req, err);
}

/* ---- refusals ---- */

static void put_conflicts(struct buf *out, const struct pg_reply *reply) {
  buf_putc(out, '[');
  for (size_t i = 0; i < pg_rows(reply); i++) {
    buf_puts(out, i ? ", {'key': " : "{'key': ");
    python_repr(out, pg_text(reply, i, 0));
    buf_puts(out, ", 'old_value': ");
    python_repr(out, pg_text(reply, i, 1));
    buf_puts(out, ", 'new_value': ");
    python_repr(out, pg_text(reply, i, 2));
    buf_putc(out, '}');
  }
  buf_putc(out, ']');
}

static void on_conflicts(void *ctx, const struct pg_reply *reply) {
  struct log_op *op = ctx;
  char hex[ID_HEX_LEN + 1];
  if (!mlflow_pg_ok(op->req, reply))
    return;
  id_format(op->run, hex);
  AUTO_BUF struct buf text = BUF_INIT(CONFLICT_TEXT_MAX);
  if (op->single && pg_rows(reply) == 1) {
    struct str key = pg_text(reply, 0, 0), old = pg_text(reply, 0, 1), given = pg_text(reply, 0, 2);
    buf_printf(
        &text,
        "Changing param values is not allowed. Param with key='%.*s' was already logged with value='%.*s' for run ID='%s'. Attempted "
        "logging new value '%.*s'.",
        STR_ARG(key), STR_ARG(old), hex, STR_ARG(given));
  } else {
    buf_puts(&text, "Changing param values is not allowed. Params were already logged='");
    put_conflicts(&text, reply);
    buf_printf(&text, "' for run ID='%s'.", hex);
  }
  mlflow_reply_error(op->req, 400, "INVALID_PARAMETER_VALUE", "%s", buf_text(&text));
}

static void tell_conflicts(struct log_op *op) {
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_RUN_CONFLICTS);
  pg_put_uuid(&args, op->run);
  pg_put_jsonb(&args, op->words.params);
  if (!pg_run(pool(op), &args, 0, on_conflicts, op, &err))
    fail(op, &err);
}

/* Answers what the database refused. */
static void tell_refusal(struct log_op *op, enum tracking_refusal refusal, const struct err *reason) {
  struct err err;
  switch (refusal) {
  case TRACKING_OK:
    mlflow_reply_done(op->req);
    return;
  case TRACKING_CONFLICT:
    tell_conflicts(op);
    return;
  case TRACKING_NO_RUN:
    mlflow_no_run(&err, op->run);
    break;
  case TRACKING_DELETED:
    mlflow_run_deleted(&err, op->run);
    break;
  case TRACKING_FORBIDDEN:
    tracking_not_yours(&err);
    break;
  case TRACKING_FENCED:
    tracking_superseded(&err);
    break;
  case TRACKING_METRICS_FULL:
  case TRACKING_PARAMS_FULL:
  case TRACKING_TAGS_FULL:
    tracking_full(refusal, &err);
    break;
  case TRACKING_ERROR:
    err = *reason;
    break;
  }
  fail(op, &err);
}

static void on_written(void *ctx, const char *refusal, const struct err *err) {
  struct log_op *op = ctx;
  if (op->has_points && !err)
    tracking_reports_hear(op->req, &op->reports);
  tell_refusal(op, err ? tracking_refusal_named(refusal) : TRACKING_OK, err);
}

/* The op's words, which lie in its arena. */
static bool run_write(struct log_op *op, struct err *err) {
  op->words.run = op->run;
  op->words.pass = tracking_pass(op->req, op->run);
  op->words.done = on_written;
  op->words.ctx = op;
  return run_writer_add(web_app(op->req)->writer, &op->words, err);
}

static bool keep_text(struct log_op *op, struct str text, struct str *ret, struct err *err) {
  const char *copy = arena_strdup(http_req_arena(op->req), text);
  *ret = str_n(copy, text.n);
  return copy || err_no_memory(err);
}

/* ---- one param, one tag ---- */

struct pair_args {
  struct str run_id, run_uuid, key, value;
};

static const struct mlflow_field pair_fields[] = {
    {"run_id", MLFLOW_STR, false, offsetof(struct pair_args, run_id), 0},
    {"run_uuid", MLFLOW_STR, false, offsetof(struct pair_args, run_uuid), 0},
    {"key", MLFLOW_STR, true, offsetof(struct pair_args, key), 0},
    {"value", MLFLOW_STR, false, offsetof(struct pair_args, value), 0},
};

/* NULL when answered. */
static struct log_op *pair_op(struct http_req *req, struct pair_args *in) {
  AUTO_JSON json_t *tree = NULL;
  struct err err;
  struct log_op *op = new_op(req);
  if (!op || !mlflow_args(req, pair_fields, ARRAY_LEN(pair_fields), in, &tree))
    return NULL;
  if (!in->value.p)
    in->value = STR("");
  if (mlflow_run_id(in->run_id, in->run_uuid, &op->run, &err))
    return op;
  fail(op, &err);
  return NULL;
}

static bool log_param(struct log_op *op, const struct pair_args *in, struct err *err) {
  AUTO_BUF struct buf packed = BUF_INIT(MIB);
  if (!key_check(in->key, "key", err) || !text_fits(in->key, KEY_MAX, "Param key", err) ||
      !mlflow_pack_one(in->key, text_cut(in->value, PARAM_VALUE_MAX), &packed, err))
    return false;
  op->single = true;
  return keep_text(op, buf_str(&packed), &op->words.params, err) && run_write(op, err);
}

static void log_parameter(struct http_req *req) {
  struct pair_args in = {0};
  struct err err;
  struct log_op *op = pair_op(req, &in);
  if (op && !log_param(op, &in, &err))
    fail(op, &err);
}

static bool write_tag(struct log_op *op, const struct pair_args *in, struct err *err) {
  AUTO_BUF struct buf packed = BUF_INIT(MIB);
  return key_check(in->key, "key", err) && text_fits(in->key, KEY_MAX, "key", err) &&
         mlflow_pack_one(in->key, text_cut(in->value, RUN_TAG_VALUE_MAX), &packed, err) &&
         keep_text(op, buf_str(&packed), &op->words.tags, err) && run_write(op, err);
}

static void set_tag(struct http_req *req) {
  struct pair_args in = {0};
  struct err err;
  struct log_op *op = pair_op(req, &in);
  if (op && !write_tag(op, &in, &err))
    fail(op, &err);
}

static void on_tag_deleted(void *ctx, const struct pg_reply *reply) {
  struct log_op *op = ctx;
  if (pg_outcome(reply) != PG_DONE) {
    tell_refusal(op, tracking_refusal(reply), pg_err(reply));
    return;
  }
  char hex[ID_HEX_LEN + 1];
  id_format(op->run, hex);
  if (pg_rows(reply) == 0)
    tell_refusal(op, TRACKING_NO_RUN, NULL);
  else if (!pg_bool(reply, 0, 0))
    tell_refusal(op, TRACKING_DELETED, NULL);
  else if (!pg_bool(reply, 0, 1))
    mlflow_reply_error(op->req, 404, "RESOURCE_DOES_NOT_EXIST", "No tag with name: %.*s in run with id %s", STR_ARG(op->tag), hex);
  else
    mlflow_reply_done(op->req);
}

static void delete_tag(struct http_req *req) {
  struct pair_args in = {0};
  struct err err;
  struct log_op *op = pair_op(req, &in);
  if (!op)
    return;
  op->tag = in.key;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUN_DELETE_TAG);
  pg_put_uuid(&args, op->run);
  pg_put_text(&args, in.key);
  pg_put_int(&args, tracking_pass(req, op->run));
  if (!pg_run(pool(op), &args, 0, on_tag_deleted, op, &err))
    fail(op, &err);
}

/* ---- metrics ---- */

/* Where a metric belongs besides its run. */
struct metric_extra {
  struct str model_id, dataset_name, dataset_digest;
};

static bool check_metric(struct str key, double value, int64_t time, const char *path, struct err *err) {
  const char *dot = path[0] ? "." : "";
  char where[96];
  snprintf(where, sizeof where, "%s%sname", path, dot);
  if (!key_check(key, where, err))
    return false;
  if (time < 0) {
    char shown[32];
    str_from_f64(value, shown);
    return err_set(
        err, ERR_INVALID,
        "Invalid value %lld for parameter '%s%stimestamp' supplied: metric '%.*s' (value=%s). Timestamp must be a nonnegative long "
        "(64-bit integer) ",
        (long long)time, path, dot, STR_ARG(str_slice(key, 0, 100)), shown);
  }
  return text_fits(key, KEY_MAX, "Metric name", err);
}

static bool check_extra(const struct metric_extra *extra, struct err *err) {
  if ((extra->dataset_name.n == 0) != (extra->dataset_digest.n == 0))
    return err_set(err, ERR_INVALID, "dataset_name and dataset_digest must be given together");
  return text_fits(extra->dataset_name, DATASET_NAME_MAX, "dataset_name", err) &&
         text_fits(extra->dataset_digest, DATASET_DIGEST_MAX, "dataset_digest", err);
}

/* A point of a logged model's own list. */
static bool put_model_metric(struct pg_batch *batch, const struct log_op *op, struct str key, struct point point,
                             const struct metric_extra *extra, struct err *err) {
  struct id model;
  if (!str_starts(extra->model_id, STR("m-")) || !id_parse(str_slice(extra->model_id, 2, extra->model_id.n), &model))
    return err_set(err, ERR_NOT_FOUND, "Logged model with ID '%.*s' not found.", STR_ARG(str_slice(extra->model_id, 0, 100)));
  struct pg_args *args = pg_batch_add(batch, STMT_LOGGED_MODEL_ADD_METRIC);
  pg_put_uuid(args, model);
  pg_put_uuid(args, op->run);
  pg_put_int(args, point.step);
  pg_put_int(args, point.time);
  pg_put_float8(args, point.value);
  pg_put_text(args, key);
  pg_put_text(args, extra->dataset_name.n ? extra->dataset_name : STR_NONE);
  pg_put_text(args, extra->dataset_digest.n ? extra->dataset_digest : STR_NONE);
  tracking_put_caller(args, op->req);
  return true;
}

static enum tracking_refusal refusal_of(const struct err *err) {
  switch (err->code) {
  case ERR_NOT_FOUND:
    return TRACKING_NO_RUN;
  case ERR_WRONG_STATE:
    return TRACKING_DELETED;
  case ERR_FENCED:
    return TRACKING_FENCED;
  case ERR_FORBIDDEN:
    return TRACKING_FORBIDDEN;
  default:
    return TRACKING_ERROR;
  }
}

static void on_appended(void *ctx, const struct err *err) {
  struct log_op *op = ctx;
  if (err) {
    tell_refusal(op, refusal_of(err), err);
    return;
  }
  tracking_reports_hear(op->req, &op->reports);
  mlflow_reply_done(op->req);
}

/* The metrics' statement comes last in its batch, so a refusal of an earlier one is that of the reply as a whole. */
static void on_batch(void *ctx, const struct pg_reply *reply) {
  struct log_op *op = ctx;
  struct err err;
  bool done = pg_outcome(reply) == PG_DONE;
  if (strcmp(pg_sqlstate(reply), "23503") == 0) { /* logged_model_metric: its model */
    if (op->metrics && !metric_write_done(op->metrics, reply, &err))
      op->metrics = NULL;
    err_set(&err, ERR_NOT_FOUND, "a logged model that these metrics name was not found");
    fail(op, &err);
    return;
  }
  bool stored = !op->metrics || metric_write_done(op->metrics, done ? pg_nth(reply, op->metrics_at) : reply, &err);
  if (done && stored)
    tracking_reports_hear(op->req, &op->reports);
  if (done && !stored)
    tell_refusal(op, refusal_of(&err), &err);
  else
    tell_refusal(op, tracking_refusal(reply), pg_err(reply));
}

static void put_write(struct log_op *op, struct pg_args *args, int pass) {
  pg_put_uuid(args, op->run);
  pg_put_jsonb(args, op->words.params);
  pg_put_jsonb(args, op->words.tags);
  pg_put_int(args, pass);
}

/* With metrics of logged models: a transaction of its own. */
static bool write_with_models(struct log_op *op, struct pg_batch *batch, struct err *err) {
  put_write(op, pg_batch_add(batch, STMT_RUN_WRITE), tracking_pass(op->req, op->run));
  op->metrics_at = batch->count;
  metric_write_put(op->metrics, batch);
  return pg_run_batch(pool(op), batch, 0, on_batch, op, err);
}

static bool write_with_words(struct log_op *op, struct err *err) {
  op->words.metrics = op->metrics;
  return run_write(op, err);
}

/* Everything of a call, whole or not at all; `batch` has what it says of logged models. */
static bool write_batch(struct log_op *op, const struct metric_rows *rows, struct pg_batch *batch, struct err *err) {
  struct metric_store *store = web_app(op->req)->metrics;
  bool has_words = op->words.params.n > 2 || op->words.tags.n > 2, has_models = batch->count > 0;
  op->has_points = rows->points.n > 0;
  if (!op->has_points)
    return run_write(op, err);
  int32_t attempt = tracking_attempt(op->req, op->run);
  if (!tracking_reports_keep(op->req, op->run, attempt, rows, &op->reports, err))
    return false;
  if (!has_words && !has_models)
    return metric_append(store, op->run, attempt, rows, on_appended, op, err);
  op->metrics = metric_write_new(store, op->run, attempt, rows, err);
  if (!op->metrics)
    return false;
  if (has_models ? write_with_models(op, batch, err) : write_with_words(op, err))
    return true;
  struct err ignored;
  if (!metric_write_done(op->metrics, NULL, &ignored))
    op->metrics = NULL;
  return false;
}

struct metric_args {
  struct str run_id, run_uuid, key;
  double value;
  bool has_value, has_time;
  int64_t time, step;
  struct metric_extra extra;
};

static bool log_one(struct log_op *op, const struct metric_args *in, struct err *err) {
  if (!mlflow_run_id(in->run_id, in->run_uuid, &op->run, err) || !check_metric(in->key, in->value, in->time, "", err) ||
      !check_extra(&in->extra, err))
    return false;
  AUTO_METRIC_ROWS struct metric_rows rows;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct point point = {in->step, in->time, in->value, NAN};
  metric_rows_init(&rows);
  if (!metric_rows_add(&rows, in->key, point))
    return err_no_memory(err);
  if (in->extra.model_id.n && !put_model_metric(&batch, op, in->key, point, &in->extra, err))
    return false;
  return write_batch(op, &rows, &batch, err);
}

static void log_metric(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      {"run_id", MLFLOW_STR, false, offsetof(struct metric_args, run_id), 0},
      {"run_uuid", MLFLOW_STR, false, offsetof(struct metric_args, run_uuid), 0},
      {"key", MLFLOW_STR, true, offsetof(struct metric_args, key), 0},
      {"value", MLFLOW_FLOAT, true, offsetof(struct metric_args, value), 0},
      {"timestamp", MLFLOW_INT, true, offsetof(struct metric_args, time), 0},
      {"step", MLFLOW_INT, false, offsetof(struct metric_args, step), 0},
      {"model_id", MLFLOW_STR, false, offsetof(struct metric_args, extra.model_id), 0},
      {"dataset_name", MLFLOW_STR, false, offsetof(struct metric_args, extra.dataset_name), 0},
      {"dataset_digest", MLFLOW_STR, false, offsetof(struct metric_args, extra.dataset_digest), 0},
  };
  struct metric_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct log_op *op = new_op(req);
  if (op && mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree) && !log_one(op, &in, &err))
    fail(op, &err);
}

/* ---- log-batch ---- */

struct batch_args {
  struct str run_id, run_uuid;
  const json_t *metrics, *params, *tags;
};

static bool check_count(size_t count, size_t max, const char *what, struct err *err) {
  return count <= max ||
         err_set(err, ERR_INVALID,
                 "A batch logging request can contain at most %zu %s. Got %zu %s. Please split up %s across multiple requests "
                 "and try again.",
                 max, what, count, what, what);
}

static bool check_counts(size_t metrics, size_t params, size_t tags, struct err *err) {
  return check_count(metrics, BATCH_METRICS_MAX, "metrics", err) && check_count(params, BATCH_PARAMS_MAX, "params", err) &&
         check_count(tags, BATCH_TAGS_MAX, "tags", err) &&
         check_count(metrics + params + tags, BATCH_ITEMS_MAX, "metrics, params, and tags", err);
}

static bool check_param(struct str key, struct str *value, const char *path, struct err *err) {
  char where[72];
  snprintf(where, sizeof where, "%s.key", path);
  *value = text_cut(*value, PARAM_VALUE_MAX);
  return key_check(key, where, err) && text_fits(key, KEY_MAX, "Param key", err);
}

static bool check_tag(struct str key, struct str *value, const char *path, struct err *err) {
  char where[72];
  snprintf(where, sizeof where, "%s.key", path);
  *value = text_cut(*value, RUN_TAG_VALUE_MAX);
  return key_check(key, where, err) && text_fits(key, KEY_MAX, where, err);
}

static bool is_missing(const json_t *value) {
  return !value || json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0);
}

/* A text of the i-th item of a list; absent is STR_NONE. */
static bool item_text(const json_t *item, const char *list, size_t i, const char *name, struct str *ret, struct err *err) {
  const json_t *value = json_object_get(item, name);
  char path[64];
  snprintf(path, sizeof path, "%s[%zu].%s", list, i, name);
  if (value && !json_is_null(value) && !json_is_string(value))
    return mlflow_bad_type(err, path, value);
  *ret = json_str(value);
  return true;
}

static bool item_whole(const json_t *value, const char *list, size_t i, const char *name, int64_t *ret, struct err *err) {
  char path[64];
  snprintf(path, sizeof path, "%s[%zu].%s", list, i, name);
  return is_missing(value) || mlflow_whole(value, ret) || mlflow_bad_type(err, path, value);
}

/* One field of a metric; false is an error with its path. */
static bool metric_field(const json_t *item, size_t i, const char *name, bool required, const json_t **ret, struct err *err) {
  char path[64];
  snprintf(path, sizeof path, "metrics[%zu].%s", i, name);
  *ret = json_object_get(item, name);
  if (!is_missing(*ret))
    return true;
  *ret = NULL;
  return !required || mlflow_missing(err, path);
}

static bool read_metric(struct log_op *op, const json_t *metrics, size_t i, struct metric_rows *rows, struct pg_batch *batch,
                        struct err *err) {
  const json_t *item = json_array_get(metrics, i), *key, *value, *time, *step;
  char path[64];
  snprintf(path, sizeof path, "metrics[%zu]", i);
  if (!json_is_object(item))
    return mlflow_bad_type(err, "metrics", metrics);
  if (!metric_field(item, i, "key", true, &key, err) || !metric_field(item, i, "value", true, &value, err) ||
      !metric_field(item, i, "timestamp", true, &time, err) || !metric_field(item, i, "step", false, &step, err))
    return false;
  struct point point = {.epoch = NAN};
  if (!json_is_string(key))
    return mlflow_bad_type(err, "metrics", metrics);
  if (json_is_number(value))
    point.value = json_number_value(value);
  else if (json_is_boolean(value))
    point.value = json_is_true(value) ? 1 : 0;
  else if (!json_is_string(value) || !str_to_f64(json_str(value), &point.value)) {
    snprintf(path, sizeof path, "metrics[%zu].value", i);
    return mlflow_bad_type(err, path, value);
  }
  if (!item_whole(time, "metrics", i, "timestamp", &point.time, err) || !item_whole(step, "metrics", i, "step", &point.step, err) ||
      !check_metric(json_str(key), point.value, point.time, path, err))
    return false;
  struct metric_extra extra = {0};
  if (!item_text(item, "metrics", i, "model_id", &extra.model_id, err) ||
      !item_text(item, "metrics", i, "dataset_name", &extra.dataset_name, err) ||
      !item_text(item, "metrics", i, "dataset_digest", &extra.dataset_digest, err) || !check_extra(&extra, err))
    return false;
  if (extra.model_id.n && !put_model_metric(batch, op, json_str(key), point, &extra, err))
    return false;
  return metric_rows_add(rows, json_str(key), point) || err_no_memory(err);
}

/* A key given twice in the params of one call. */
static bool check_unique(const json_t *params, struct err *err) {
  AUTO_JSON json_t *seen = json_object();
  AUTO_BUF struct buf twice = BUF_INIT(16 * KIB);
  if (!seen)
    return err_no_memory(err);
  size_t i;
  json_t *param;
  json_array_foreach(params, i, param) {
    const char *key = json_string_value(json_object_get(param, "key"));
    if (!key)
      continue;
    if (json_object_get(seen, key)) {
      buf_puts(&twice, twice.n ? ", " : "");
      python_repr(&twice, str_of(key));
    }
    if (json_object_set_new(seen, key, json_true()) != 0)
      return err_no_memory(err);
  }
  return twice.n == 0 ||
         err_set(err, ERR_INVALID,
                 "Duplicate parameter keys have been submitted: [%s]. Please ensure the request contains only one param value "
                 "per param key.",
                 buf_text(&twice));
}

static bool keep_words(struct log_op *op, const struct buf *params, const struct buf *tags, struct err *err) {
  return keep_text(op, buf_str(params), &op->words.params, err) && keep_text(op, buf_str(tags), &op->words.tags, err);
}

static bool log_tree(struct log_op *op, const struct batch_args *in, struct err *err) {
  AUTO_BUF struct buf params = BUF_INIT(16 * MIB), tags = BUF_INIT(16 * MIB);
  AUTO_METRIC_ROWS struct metric_rows rows;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  metric_rows_init(&rows);
  if (!mlflow_run_id(in->run_id, in->run_uuid, &op->run, err) ||
      !check_counts(json_array_size(in->metrics), json_array_size(in->params), json_array_size(in->tags), err))
    return false;
  for (size_t i = 0; i < json_array_size(in->metrics); i++)
    if (!read_metric(op, in->metrics, i, &rows, &batch, err))
      return false;
  return mlflow_pack(in->params, "params", check_param, NULL, &params, err) && mlflow_pack(in->tags, "tags", check_tag, NULL, &tags, err) &&
         check_unique(in->params, err) && keep_words(op, &params, &tags, err) && write_batch(op, &rows, &batch, err);
}

static bool pack_pairs(const struct text_pair *pairs, size_t count, const char *name, mlflow_check_fn *check, struct buf *out,
                       struct err *err) {
  struct packed_writer w;
  packed_begin(&w, out);
  for (size_t i = 0; i < count; i++) {
    struct str value = pairs[i].value;
    char path[64];
    snprintf(path, sizeof path, "%s[%zu]", name, i);
    if (!check(pairs[i].key, &value, path, err))
      return false;
    packed_put(&w, pairs[i].key, value); /* jsonb keeps the last of equal keys */
  }
  packed_end(&w);
  return buf_ok(out, err);
}

static bool has_repeats(const struct text_pair *pairs, size_t count) {
  for (size_t i = 0; i < count; i++)
    for (size_t j = 0; j < i; j++)
      if (str_eq(pairs[i].key, pairs[j].key))
        return true;
  return false;
}

static bool log_hot(struct log_op *op, const struct log_batch_body *body, struct err *err) {
  AUTO_BUF struct buf params = BUF_INIT(16 * MIB), tags = BUF_INIT(16 * MIB);
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  if (!mlflow_run_id(body->run_id, STR_NONE, &op->run, err) || !check_counts(body->rows.points.n, body->param_count, body->tag_count, err))
    return false;
  for (size_t i = 0; i < body->rows.points.n; i++) {
    uint32_t series = body->rows.series[i];
    char path[64];
    if (i && series == body->rows.series[i - 1])
      continue; /* times were checked while reading */
    snprintf(path, sizeof path, "metrics[%zu]", i);
    if (!check_metric(body->rows.keys[series], body->rows.points.value[i], 0, path, err))
      return false;
  }
  return pack_pairs(body->params, body->param_count, "params", check_param, &params, err) &&
         pack_pairs(body->tags, body->tag_count, "tags", check_tag, &tags, err) && keep_words(op, &params, &tags, err) &&
         write_batch(op, &body->rows, &batch, err);
}

static void log_batch(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      {"run_id", MLFLOW_STR, false, offsetof(struct batch_args, run_id), 0},
      {"run_uuid", MLFLOW_STR, false, offsetof(struct batch_args, run_uuid), 0},
      {"metrics", MLFLOW_ARRAY, false, offsetof(struct batch_args, metrics), 0},
      {"params", MLFLOW_ARRAY, false, offsetof(struct batch_args, params), 0},
      {"tags", MLFLOW_ARRAY, false, offsetof(struct batch_args, tags), 0},
  };
  struct err err;
  struct log_op *op = new_op(req);
  if (!op)
    return;
  struct log_batch_body body = {0};
  if (str_is(http_req_header(req, "Content-Type"), "application/json") && log_batch_read(http_req_body(req), http_req_arena(req), &body) &&
      body.run_id.n && !has_repeats(body.params, body.param_count)) {
    if (!log_hot(op, &body, &err))
      fail(op, &err);
    metric_rows_release(&body.rows);
    return;
  }
  metric_rows_release(&body.rows);
  struct batch_args in = {0};
  AUTO_JSON json_t *tree = NULL;
  if (mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree) && !log_tree(op, &in, &err))
    fail(op, &err);
}

/* ---- log-model (2.x) ---- */

static void on_active(void *ctx, const struct pg_reply *reply) {
  struct log_op *op = ctx;
  if (pg_outcome(reply) != PG_DONE)
    tell_refusal(op, tracking_refusal(reply), pg_err(reply));
  else
    tell_refusal(op, pg_rows(reply) == 0 ? TRACKING_NO_RUN : pg_bool(reply, 0, 0) ? TRACKING_OK : TRACKING_DELETED, NULL);
}

static bool log_model_json(struct log_op *op, struct str text, struct err *err) {
  static const char *const wanted[] = {"artifact_path", "flavors", "utc_time_created", "run_id"};
  AUTO_JSON json_t *model = NULL;
  AUTO_BUF struct buf missing = BUF_INIT(KIB), packed = BUF_INIT(MODEL_JSON_MAX);
  struct err bad;
  bool read = json_read_body(text, &model, &bad);
  if (!read && bad.code == ERR_TOO_LARGE)
    return err_set(err, ERR_TOO_LARGE, "Malformed model info: %s", bad.text);
  if (!read)
    return err_set(err, ERR_INVALID, "Malformed model info. \n %.*s \n is not a valid JSON.", STR_ARG(str_slice(text, 0, 200)));
  if (!json_is_object(model))
    return err_set(err, ERR_INVALID, "Malformed model info. \n %.*s \n is not a JSON object.", STR_ARG(str_slice(text, 0, 200)));
  for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
    if (!json_object_get(model, wanted[i]))
      buf_printf(&missing, "%s'%s'", missing.n ? ", " : "", wanted[i]);
  if (missing.n)
    return err_set(err, ERR_INVALID, "Model json is missing mandatory fields: {%s}", buf_text(&missing));
  struct json_writer w;
  jw_init(&w, &packed);
  jw_json(&w, model);
  if (!buf_ok(&packed, err))
    return false;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUN_LOG_MODEL);
  pg_put_uuid(&args, op->run);
  pg_put_jsonb(&args, buf_str(&packed));
  pg_put_int(&args, tracking_pass(op->req, op->run));
  return pg_run(pool(op), &args, 0, on_active, op, err);
}

static void log_model(struct http_req *req) {
  struct model_args {
    struct str run_id, json;
  } in = {0};
  static const struct mlflow_field fields[] = {
      {"run_id", MLFLOW_STR, true, offsetof(struct model_args, run_id), 0},
      {"model_json", MLFLOW_STR, true, offsetof(struct model_args, json), 0},
  };
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct log_op *op = new_op(req);
  if (op && mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree) &&
      !(mlflow_run_id(in.run_id, STR_NONE, &op->run, &err) && log_model_json(op, in.json, &err)))
    fail(op, &err);
}

/* ---- inputs and outputs ---- */

static bool required_text(const json_t *dataset, const char *key, size_t max, struct str *ret, struct err *err) {
  const json_t *value = json_object_get(dataset, key);
  if (!json_is_string(value) || json_string_length(value) == 0)
    return err_set(err, ERR_INVALID, "Dataset %s cannot be None", key);
  *ret = json_str(value);
  return text_fits(*ret, max, key, err);
}

static bool optional_text(const json_t *dataset, const char *key, size_t max, struct str *ret, struct err *err) {
  const json_t *value = json_object_get(dataset, key);
  *ret = STR_NONE;
  if (!value || json_is_null(value))
    return true;
  if (!json_is_string(value))
    return mlflow_bad_type(err, key, value);
  *ret = json_str(value);
  return text_fits(*ret, max, key, err);
}

static bool check_input_tag(struct str key, struct str *value, const char *path UNUSED, struct err *err) {
  return text_fits(key, INPUT_TAG_KEY_MAX, "key", err) && text_fits(*value, INPUT_TAG_VALUE_MAX, "value", err);
}

static bool put_dataset(struct log_op *op, const json_t *input, struct pg_batch *batch, struct err *err) {
  const json_t *dataset = json_object_get(input, "dataset");
  struct str name, digest, type, source, schema, profile;
  AUTO_BUF struct buf tags = BUF_INIT(MIB);
  if (!json_is_object(dataset))
    return err_set(err, ERR_INVALID, "Missing value for required parameter 'dataset'");
  if (!required_text(dataset, "name", DATASET_NAME_MAX, &name, err) ||
      !required_text(dataset, "digest", DATASET_DIGEST_MAX, &digest, err) ||
      !required_text(dataset, "source_type", DATASET_NAME_MAX, &type, err) ||
      !required_text(dataset, "source", DATASET_SOURCE_MAX, &source, err) ||
      !optional_text(dataset, "schema", DATASET_SCHEMA_MAX, &schema, err) ||
      !optional_text(dataset, "profile", DATASET_PROFILE_MAX, &profile, err) ||
      !mlflow_pack(json_object_get(input, "tags"), "tags", check_input_tag, NULL, &tags, err))
    return false;
  struct pg_args *args = pg_batch_add(batch, STMT_RUN_ADD_DATASET);
  pg_put_uuid(args, op->run);
  pg_put_text(args, name);
  pg_put_text(args, digest);
  pg_put_text(args, type);
  pg_put_text(args, source);
  pg_put_text(args, schema);
  pg_put_text(args, profile);
  pg_put_jsonb(args, buf_str(&tags));
  return true;
}

static bool put_model(struct log_op *op, const json_t *item, size_t i, bool made, struct pg_batch *batch, struct err *err) {
  struct str text;
  struct id model;
  int64_t step = 0;
  if (!item_text(item, "models", i, "model_id", &text, err) || !item_whole(json_object_get(item, "step"), "models", i, "step", &step, err))
    return false;
  if (!text.n)
    return err_set(err, ERR_INVALID, "Missing value for required parameter 'model_id'");
  if (!str_starts(text, STR("m-")) || !id_parse(str_slice(text, 2, text.n), &model))
    return err_set(err, ERR_NOT_FOUND, "Logged model with ID '%.*s' not found.", STR_ARG(str_slice(text, 0, 100)));
  struct pg_args *args = pg_batch_add(batch, STMT_RUN_ADD_MODEL);
  pg_put_uuid(args, op->run);
  pg_put_uuid(args, model);
  pg_put_bool(args, made);
  pg_put_int(args, step);
  return true;
}

static void on_linked(void *ctx, const struct pg_reply *reply) {
  struct log_op *op = ctx;
  if (pg_outcome(reply) != PG_DONE) {
    tell_refusal(op, tracking_refusal(reply), pg_err(reply));
    return;
  }
  on_active(ctx, pg_nth(reply, 0));
}

struct link_args {
  struct str run_id;
  const json_t *datasets, *models;
};

_Static_assert(2 * BATCH_DATASETS_MAX < PG_BATCH_MAX, "datasets and models of a request are one batch");

static bool link_all(struct log_op *op, const struct link_args *in, bool made, struct err *err) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  if (!mlflow_run_id(in->run_id, STR_NONE, &op->run, err))
    return false;
  if (json_array_size(in->datasets) > BATCH_DATASETS_MAX || json_array_size(in->models) > BATCH_DATASETS_MAX)
    return err_set(err, ERR_INVALID, "at most %d inputs or outputs can be logged at once", BATCH_DATASETS_MAX);
  struct pg_args *args = pg_batch_add(&batch, STMT_RUN_IS_WRITABLE);
  pg_put_uuid(args, op->run);
  pg_put_int(args, tracking_pass(op->req, op->run));
  for (size_t i = 0; i < json_array_size(in->datasets); i++)
    if (!put_dataset(op, json_array_get(in->datasets, i), &batch, err))
      return false;
  for (size_t i = 0; i < json_array_size(in->models); i++)
    if (!put_model(op, json_array_get(in->models, i), i, made, &batch, err))
      return false;
  return pg_run_batch(pool(op), &batch, 0, on_linked, op, err);
}

static void link_inputs(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      {"run_id", MLFLOW_STR, true, offsetof(struct link_args, run_id), 0},
      {"datasets", MLFLOW_ARRAY, false, offsetof(struct link_args, datasets), 0},
      {"models", MLFLOW_ARRAY, false, offsetof(struct link_args, models), 0},
  };
  struct link_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct log_op *op = new_op(req);
  if (op && mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree) && !link_all(op, &in, false, &err))
    fail(op, &err);
}

static void link_outputs(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      {"run_id", MLFLOW_STR, true, offsetof(struct link_args, run_id), 0},
      {"models", MLFLOW_ARRAY, true, offsetof(struct link_args, models), 0},
  };
  struct link_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct log_op *op = new_op(req);
  if (op && mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree) && !link_all(op, &in, true, &err))
    fail(op, &err);
}

const struct route mlflow_log_routes[] = {
    MLFLOW_WRITE("/runs/log-metric", REACH_LOGGED, log_metric, "Log a metric"),
    MLFLOW_WRITE("/runs/log-parameter", REACH_NAMED, log_parameter, "Log a param"),
    MLFLOW_WRITE("/runs/set-tag", REACH_NAMED, set_tag, "Set a tag"),
    MLFLOW_WRITE("/runs/delete-tag", REACH_NAMED, delete_tag, "Remove a tag"),
    MLFLOW_WRITE("/runs/log-batch", REACH_LOGGED, log_batch, "Log metrics, params and tags, all or nothing"),
    MLFLOW_WRITE("/runs/log-model", REACH_NAMED, log_model, "Note a model of the 2.x clients"),
    MLFLOW_WRITE("/runs/log-inputs", REACH_NAMED, link_inputs, "Note what a run read"),
    MLFLOW_WRITE("/runs/outputs", REACH_LOGGED, link_outputs, "Note what a run made"),
};
const size_t mlflow_log_route_count = ARRAY_LEN(mlflow_log_routes);
