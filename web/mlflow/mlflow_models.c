/* MLflow's protocol: logged models. */
#include "tracker/model_row.h"
#include "tracker/names.h"
#include "tracker/packed.h"
#include "web/mlflow/mlflow_files.h"
#include "web/mlflow/mlflow_search.h"
#include "web/mlflow/mlflow_tables.h"
#include "web/tracking.h"

enum { MODELS_DEFAULT = 50, MODELS_MAX = 50000 };

struct model_op {
  struct http_req *req;
  struct id id;
  int64_t experiment_id;
  struct str experiment_text, key, path;
  bool download;
};

static struct model_op *new_op(struct http_req *req) {
  struct model_op *op = HTTP_REQ_NEW(req, struct model_op);
  if (op)
    op->req = req;
  return op;
}

static struct pg_pool *pool(const struct model_op *op) {
  return web_app(op->req)->pg;
}

static void fail(struct model_op *op, const struct err *err) {
  http_reply_error(op->req, err);
}

static void reply_none(struct model_op *op) {
  char hex[ID_HEX_LEN + 1];
  id_format(op->id, hex);
  mlflow_reply_error(op->req, 404, "RESOURCE_DOES_NOT_EXIST", "Logged model with ID 'm-%s' not found.", hex);
}

static void put_model_id(struct json_writer *w, struct id id) {
  char text[ID_HEX_LEN + 3] = "m-";
  id_format(id, text + 2);
  jw_put_text(w, "model_id", text);
}

static void put_info(struct json_writer *w, const struct logged_model_row *row) {
  char experiment[24];
  snprintf(experiment, sizeof experiment, "%lld", (long long)row->experiment_id);
  jw_object(w);
  put_model_id(w, row->id);
  jw_put_text(w, "experiment_id", experiment);
  jw_put_str(w, "name", row->name);
  jw_put_i64(w, "creation_timestamp_ms", row->created);
  jw_put_i64(w, "last_updated_timestamp_ms", row->updated);
  jw_put_str(w, "artifact_uri", row->artifact_uri);
  jw_put_text(w, "status", logged_model_status_name(row->status));
  jw_put_str(w, "model_type", row->model_type);
  if (row->source_run.p)
    jw_put_str(w, "source_run_id", row->source_run);
  if (row->status_message.p)
    jw_put_str(w, "status_message", row->status_message);
  mlflow_put_pairs(w, "tags", row->tags);
  if (row->registrations.p) {
    jw_key(w, "registrations");
    jw_raw(w, row->registrations);
  }
  jw_object_end(w);
}

static void put_model(struct json_writer *w, const struct logged_model_row *row) {
  jw_object(w);
  jw_key(w, "info");
  put_info(w, row);
  jw_key(w, "data");
  jw_object(w);
  mlflow_put_pairs(w, "params", row->params);
  if (row->metrics.p) {
    jw_key(w, "metrics");
    jw_raw(w, row->metrics);
  }
  jw_object_end(w);
  jw_object_end(w);
}

static void reply_model(struct http_req *req, const struct logged_model_row *row) {
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "model");
  put_model(&w, row);
  jw_object_end(&w);
  http_reply_json(req, 200, &body);
}

/* Of a write: false when answered. */
static bool written(struct model_op *op, const struct pg_reply *reply) {
  enum tracking_refusal refusal = tracking_refusal(reply);
  struct err err;
  if (refusal == TRACKING_FORBIDDEN)
    err_set(&err, ERR_FORBIDDEN,
            "the logged model is of a run that belongs to its executor: its token, or one with the scope `write`, is needed");
  else if (refusal == TRACKING_FENCED)
    err_set(&err, ERR_FENCED, "another attempt of the run that made it has taken over");
  else
    return mlflow_pg_ok(op->req, reply);
  fail(op, &err);
  return false;
}

static void reply_row(struct model_op *op, const struct pg_reply *reply) {
  struct logged_model_row row;
  if (pg_rows(reply) == 0) {
    reply_none(op);
    return;
  }
  logged_model_row_read(reply, 0, &row);
  reply_model(op->req, &row);
}

/* "m-" and an id, of the route; false when answered. */
static bool read_id(struct model_op *op) {
  struct str text = http_req_value(op->req, "model_id");
  if (str_starts(text, STR("m-")) && text.n == ID_HEX_LEN + 2 && id_parse(str_slice(text, 2, text.n), &op->id))
    return true;
  mlflow_reply_error(op->req, 404, "RESOURCE_DOES_NOT_EXIST", "Logged model with ID '%.*s' not found.", STR_ARG(str_slice(text, 0, 200)));
  return false;
}

/* ---- create ---- */

struct create_args {
  struct str experiment_id, name, model_type, source_run_id;
  const json_t *params, *tags;
};

/* Any text is a key here. */
static bool check_pair(struct str key, struct str *value UNUSED, const char *path, struct err *err) {
  char where[72];
  snprintf(where, sizeof where, "%s.key", path);
  return key.n ? text_fits(key, 255, where, err) : mlflow_missing(err, where);
}

static void on_created(void *ctx, const struct pg_reply *reply) {
  struct model_op *op = ctx;
  struct err err;
  if (!written(op, reply))
    return;
  const struct pg_reply *made = pg_nth(reply, 0);
  if (pg_rows(made) == 0) {
    mlflow_no_experiment(&err, op->experiment_text);
    fail(op, &err);
  } else if (pg_bool(made, 0, 1)) {
    mlflow_reply_error(op->req, 400, "INVALID_PARAMETER_VALUE",
                       "The experiment %.*s must be in the 'active' state. Current state is deleted.", STR_ARG(op->experiment_text));
  } else {
    reply_row(op, pg_nth(reply, 1));
  }
}

static bool create(struct model_op *op, const struct create_args *in, struct err *err) {
  AUTO_BUF struct buf params = BUF_INIT(16 * MIB), tags = BUF_INIT(16 * MIB);
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  char made[48];
  op->experiment_text = in->experiment_id;
  if (!mlflow_experiment_id(in->experiment_id, &op->experiment_id, err) || (in->name.p && !logged_model_name_check(in->name, err)) ||
      !mlflow_pack(in->params, "params", check_pair, NULL, &params, err) || !mlflow_pack(in->tags, "tags", check_pair, NULL, &tags, err) ||
      !text_fits(in->source_run_id, 255, "source_run_id", err) || !text_fits(in->model_type, MODEL_TYPE_MAX, "model_type", err))
    return false;
  random_name(&web_app(op->req)->rng, made);
  op->id = id_new(web_app(op->req)->clock, &web_app(op->req)->rng);
  struct pg_args *args = pg_batch_add(&batch, STMT_LOGGED_MODEL_CREATE);
  pg_put_uuid(args, op->id);
  pg_put_int(args, op->experiment_id);
  pg_put_int(args, tracking_now(op->req));
  pg_put_text(args, in->name.p ? in->name : str_of(made));
  pg_put_text(args, in->model_type.p ? in->model_type : STR(""));
  pg_put_text(args, in->source_run_id.n ? in->source_run_id : STR_NONE);
  pg_put_jsonb(args, buf_str(&params));
  pg_put_jsonb(args, buf_str(&tags));
  tracking_put_caller(args, op->req);
  pg_put_uuid(pg_batch_add(&batch, STMT_LOGGED_MODEL_GET), op->id);
  return pg_run_batch(pool(op), &batch, 0, on_created, op, err);
}

static void create_model(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      {"experiment_id", MLFLOW_ID, true, offsetof(struct create_args, experiment_id), 0},
      {"name", MLFLOW_STR, false, offsetof(struct create_args, name), 0},
      {"model_type", MLFLOW_STR, false, offsetof(struct create_args, model_type), 0},
      {"source_run_id", MLFLOW_STR, false, offsetof(struct create_args, source_run_id), 0},
      {"params", MLFLOW_ARRAY, false, offsetof(struct create_args, params), 0},
      {"tags", MLFLOW_ARRAY, false, offsetof(struct create_args, tags), 0},
  };
  struct create_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct model_op *op = new_op(req);
  if (op && mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree) && !create(op, &in, &err))
    fail(op, &err);
}

/* ---- get, finish, delete ---- */

static void on_got(void *ctx, const struct pg_reply *reply) {
  struct model_op *op = ctx;
  if (mlflow_pg_ok(op->req, reply))
    reply_row(op, reply);
}

static void get_model(struct http_req *req) {
  struct model_op *op = new_op(req);
  struct err err;
  if (!op || !read_id(op))
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_LOGGED_MODEL_GET);
  pg_put_uuid(&args, op->id);
  if (!pg_run(pool(op), &args, 0, on_got, op, &err))
    fail(op, &err);
}

/* A batch whose second statement reads the model. */
static void on_changed_row(void *ctx, const struct pg_reply *reply) {
  struct model_op *op = ctx;
  if (written(op, reply))
    reply_row(op, pg_nth(reply, 1));
}

static void on_changed(void *ctx, const struct pg_reply *reply) {
  struct model_op *op = ctx;
  if (!written(op, reply))
    return;
  if (pg_rows(reply) == 0)
    reply_none(op);
  else
    mlflow_reply_done(op->req);
}

static bool finish(struct model_op *op, const json_t *value, struct err *err) {
  int64_t status = json_integer_value(value);
  if (!(json_is_string(value) && logged_model_status_parse(json_str(value), &status)) &&
      !(json_is_integer(value) && status >= 1 && status <= 3))
    return mlflow_bad_type(err, "status", value);
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct pg_args *args = pg_batch_add(&batch, STMT_LOGGED_MODEL_FINISH);
  pg_put_uuid(args, op->id);
  pg_put_int(args, status);
  pg_put_int(args, tracking_now(op->req));
  tracking_put_caller(args, op->req);
  pg_put_uuid(pg_batch_add(&batch, STMT_LOGGED_MODEL_GET), op->id);
  return pg_run_batch(pool(op), &batch, 0, on_changed_row, op, err);
}

static void finish_model(struct http_req *req) {
  struct {
    const json_t *status;
  } in = {0};
  const struct mlflow_field fields[] = {{"status", MLFLOW_ANY, true, 0, 0}};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct model_op *op = new_op(req);
  if (op && read_id(op) && mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree) && !finish(op, in.status, &err))
    fail(op, &err);
}

static void delete_model(struct http_req *req) {
  struct model_op *op = new_op(req);
  struct err err;
  if (!op || !read_id(op))
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_LOGGED_MODEL_DELETE);
  pg_put_uuid(&args, op->id);
  pg_put_int(&args, tracking_now(req));
  tracking_put_caller(&args, req);
  if (!pg_run(pool(op), &args, 0, on_changed, op, &err))
    fail(op, &err);
}

/* ---- tags and params ---- */

struct pairs_args {
  const json_t *tags, *params;
};

static const struct mlflow_field pairs_fields[] = {
    {"tags", MLFLOW_ARRAY, false, offsetof(struct pairs_args, tags), 0},
    {"params", MLFLOW_ARRAY, false, offsetof(struct pairs_args, params), 0},
};

static bool write_tags(struct model_op *op, const json_t *tags, struct err *err) {
  AUTO_BUF struct buf packed = BUF_INIT(16 * MIB);
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  if (!mlflow_pack(tags, "tags", check_pair, NULL, &packed, err))
    return false;
  struct pg_args *args = pg_batch_add(&batch, STMT_LOGGED_MODEL_SET_TAGS);
  pg_put_uuid(args, op->id);
  pg_put_jsonb(args, buf_str(&packed));
  pg_put_int(args, tracking_now(op->req));
  tracking_put_caller(args, op->req);
  pg_put_uuid(pg_batch_add(&batch, STMT_LOGGED_MODEL_GET), op->id);
  return pg_run_batch(pool(op), &batch, 0, on_changed_row, op, err);
}

static void set_tags(struct http_req *req) {
  struct pairs_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct model_op *op = new_op(req);
  if (op && read_id(op) && mlflow_args(req, pairs_fields, ARRAY_LEN(pairs_fields), &in, &tree) && !write_tags(op, in.tags, &err))
    fail(op, &err);
}

static void on_tag_deleted(void *ctx, const struct pg_reply *reply) {
  struct model_op *op = ctx;
  if (!written(op, reply))
    return;
  if (pg_rows(reply) == 0)
    reply_none(op);
  else if (!pg_bool(reply, 0, 0))
    mlflow_reply_error(op->req, 404, "RESOURCE_DOES_NOT_EXIST", "No tag with key '%.*s' found for this logged model.", STR_ARG(op->key));
  else
    mlflow_reply_done(op->req);
}

static void delete_tag(struct http_req *req) {
  struct model_op *op = new_op(req);
  struct err err;
  if (!op || !read_id(op))
    return;
  op->key = http_req_value(req, "key");
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_LOGGED_MODEL_DELETE_TAG);
  pg_put_uuid(&args, op->id);
  pg_put_text(&args, op->key);
  tracking_put_caller(&args, req);
  if (!pg_run(pool(op), &args, 0, on_tag_deleted, op, &err))
    fail(op, &err);
}

static void on_params_added(void *ctx, const struct pg_reply *reply) {
  struct model_op *op = ctx;
  if (!written(op, reply))
    return;
  if (pg_rows(reply) == 0)
    reply_none(op);
  else if (!pg_bool(reply, 0, 0))
    mlflow_reply_error(op->req, 400, "INVALID_PARAMETER_VALUE",
                       "Changing param values is not allowed: a param of this logged model has another value");
  else
    mlflow_reply_done(op->req);
}

static bool write_params(struct model_op *op, const json_t *params, struct err *err) {
  AUTO_BUF struct buf packed = BUF_INIT(16 * MIB);
  if (!mlflow_pack(params, "params", check_pair, NULL, &packed, err))
    return false;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_LOGGED_MODEL_ADD_PARAMS);
  pg_put_uuid(&args, op->id);
  pg_put_jsonb(&args, buf_str(&packed));
  tracking_put_caller(&args, op->req);
  return pg_run(pool(op), &args, 0, on_params_added, op, err);
}

static void add_params(struct http_req *req) {
  struct pairs_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct model_op *op = new_op(req);
  if (op && read_id(op) && mlflow_args(req, pairs_fields, ARRAY_LEN(pairs_fields), &in, &tree) && !write_params(op, in.params, &err))
    fail(op, &err);
}

/* ---- files ---- */

static void on_place(void *ctx, const struct pg_reply *reply) {
  struct model_op *op = ctx;
  AUTO_BUF struct buf base = BUF_INIT(64 * KIB);
  struct logged_model_row row;
  struct err err;
  struct str root;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0) {
    reply_none(op);
    return;
  }
  logged_model_row_read(reply, 0, &row);
  const char *uri = arena_strdup(http_req_arena(op->req), row.artifact_uri);
  if (!web_app(op->req)->artifacts || !uri || !artifact_path_of_uri(web_app(op->req)->artifacts, row.artifact_uri, &base) ||
      !artifact_path_check(buf_str(&base), &root, &err)) {
    err_set(&err, ERR_INVALID, "the artifacts of this model are not stored here");
    fail(op, &err);
    return;
  }
  const char *kept = arena_strdup(http_req_arena(op->req), root);
  struct str path = kept ? files_join(op->req, str_of(kept), op->path) : STR_NONE;
  if (!path.p) {
    err_no_memory(&err);
    fail(op, &err);
  } else if (op->download) {
    files_reply(op->req, path);
  } else {
    files_reply_list(op->req, path, op->path, str_of(uri));
  }
}

static bool read_file_path(struct model_op *op, struct err *err) {
  struct str path = http_req_param(op->req, "artifact_file_path");
  return artifact_path_check(path.p ? path : STR(""), &op->path, err);
}

static void use_files(struct http_req *req, bool download) {
  struct model_op *op = new_op(req);
  struct err err;
  if (!op || !read_id(op))
    return;
  op->download = download;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_LOGGED_MODEL_GET);
  pg_put_uuid(&args, op->id);
  bool ok = download ? read_file_path(op, &err) : files_listed(req, "artifact_directory_path", &op->path, &err);
  if (!ok || !pg_run(pool(op), &args, 0, on_place, op, &err))
    fail(op, &err);
}

static void list_files(struct http_req *req) {
  use_files(req, false);
}

static void get_file(struct http_req *req) {
  use_files(req, true);
}

/* ---- search ---- */

static void put_found(struct mlflow_search *op UNUSED, struct json_writer *w, const struct pg_reply *reply, size_t i) {
  struct logged_model_row row;
  logged_model_row_read(reply, i, &row);
  put_model(w, &row);
}

static const struct mlflow_search_shape model_shape = {STMT_LOGGED_MODEL_PAGE, STMT_LOGGED_MODEL_SEARCH, LOGGED_MODEL_COLUMNS, "models",
                                                       put_found};

struct search_args {
  struct mlflow_search_args common;
  const json_t *experiments, *datasets;
};

static struct str kept(struct http_req *req, const json_t *value) {
  struct str text = json_str(value);
  return text.n ? str_n(arena_strdup(http_req_arena(req), text), text.n) : STR_NONE;
}

static bool read_datasets(struct mlflow_search *op, const json_t *array, struct err *err) {
  size_t count = json_array_size(array);
  struct search_dataset *datasets = ARENA_NEW_ARRAY(http_req_arena(op->req), struct search_dataset, count ? count : 1);
  if (count > 100)
    return err_set(err, ERR_INVALID, "at most 100 datasets can be named");
  if (!datasets)
    return err_no_memory(err);
  for (size_t i = 0; i < count; i++) {
    const json_t *item = json_array_get(array, i);
    datasets[i].name = kept(op->req, json_object_get(item, "dataset_name"));
    datasets[i].digest = kept(op->req, json_object_get(item, "dataset_digest"));
    if (!datasets[i].name.p)
      return err_set(err, ERR_INVALID, "`dataset_name` in the `datasets` clause must be specified.");
  }
  op->search.datasets = datasets;
  op->search.dataset_count = count;
  return true;
}

static bool read_order(struct mlflow_search *op, const json_t *array, struct err *err) {
  size_t count = json_array_size(array);
  struct filter_order *order = ARENA_NEW_ARRAY(http_req_arena(op->req), struct filter_order, count ? count : 1);
  if (count > FILTER_ORDER_MAX)
    return err_set(err, ERR_INVALID, "order_by may have at most %d keys", FILTER_ORDER_MAX);
  if (!order)
    return err_no_memory(err);
  for (size_t i = 0; i < count; i++) {
    const json_t *item = json_array_get(array, i);
    struct str name = kept(op->req, json_object_get(item, "field_name"));
    struct err why;
    if (!name.p)
      return err_set(err, ERR_INVALID, "`field_name` in the `order_by` clause must be specified.");
    if (!filter_parse_key(FILTER_LOGGED_MODELS, name, &order[i].key, &why))
      return err_set(err, ERR_INVALID, "Invalid order by field name: %.*s", STR_ARG(str_slice(name, 0, 200)));
    if (order[i].key.entity == FILTER_PARAM || order[i].key.entity == FILTER_TAG)
      return err_set(err, ERR_INVALID, "Invalid order by field name: %.*s. Only metrics are supported.", STR_ARG(str_slice(name, 0, 200)));
    const json_t *ascending = json_object_get(item, "ascending");
    if (ascending && !json_is_null(ascending) && !json_is_boolean(ascending))
      return mlflow_bad_type(err, "order_by.ascending", ascending);
    order[i].descending = json_is_false(ascending);
    order[i].dataset_name = kept(op->req, json_object_get(item, "dataset_name"));
    order[i].dataset_digest = kept(op->req, json_object_get(item, "dataset_digest"));
  }
  op->search.order = order;
  op->search.order_count = count;
  return true;
}

static bool search(struct mlflow_search *op, struct search_args *in, struct err *err) {
  const struct str *texts;
  size_t count, known = 0;
  if (!mlflow_check_max_results(in->common.max_results, MODELS_MAX, err))
    return false;
  if (!mlflow_strings(op->req, in->experiments, "experiment_ids", &texts, &count, err))
    return false;
  int64_t *ids = ARENA_NEW_ARRAY(http_req_arena(op->req), int64_t, count ? count : 1);
  if (!ids)
    return err_no_memory(err);
  for (size_t i = 0; i < count; i++)
    known += str_to_i64(texts[i], &ids[known]);
  op->search.domain = FILTER_LOGGED_MODELS;
  op->search.experiments = ids;
  op->search.experiment_count = known;
  return read_datasets(op, in->datasets, err) && read_order(op, in->common.order_by, err) && mlflow_search_parse(op, &in->common, err) &&
         mlflow_search_answer(op, &model_shape, err);
}

static void search_models(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      {"experiment_ids", MLFLOW_ARRAY, true, offsetof(struct search_args, experiments), 0},
      {"filter", MLFLOW_STR, false, offsetof(struct search_args, common.filter), 0},
      {"datasets", MLFLOW_ARRAY, false, offsetof(struct search_args, datasets), 0},
      {"max_results", MLFLOW_INT, false, offsetof(struct search_args, common.max_results), 0},
      {"order_by", MLFLOW_ARRAY, false, offsetof(struct search_args, common.order_by), 0},
      {"page_token", MLFLOW_STR, false, offsetof(struct search_args, common.page_token), 0},
  };
  struct search_args in = {.common.max_results = MODELS_DEFAULT};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  if (!mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree))
    return;
  struct mlflow_search *op = mlflow_search_new(req);
  if (op && !search(op, &in, &err))
    http_reply_error(req, &err);
}

const struct route mlflow_model_routes[] = {
    MLFLOW_WRITE("/logged-models", REACH_MODEL, create_model, "Make a logged model"),
    MLFLOW_ASK("/logged-models/search", REACH_NAMED, search_models, "Search logged models"),
    MLFLOW_GET("/logged-models/{model_id}", REACH_NAMED, get_model, "One logged model"),
    MLFLOW_PATCH("/logged-models/{model_id}", REACH_NAMED, finish_model, "Say that a logged model is ready, or failed"),
    MLFLOW_DELETE("/logged-models/{model_id}", REACH_NAMED, delete_model, "Put a logged model into the trash"),
    MLFLOW_PATCH("/logged-models/{model_id}/tags", REACH_NAMED, set_tags, "Set tags"),
    MLFLOW_DELETE("/logged-models/{model_id}/tags/{key*}", REACH_NAMED, delete_tag, "Remove a tag"),
    MLFLOW_WRITE("/logged-models/{model_id}/params", REACH_NAMED, add_params, "Add params"),
    MLFLOW_GET("/logged-models/{model_id}/artifacts/directories", REACH_NAMED, list_files, "List the files of a logged model"),
    MLFLOW_GET("/logged-models/{model_id}/artifacts/files", REACH_NAMED, get_file, "A file of a logged model"),
};
const size_t mlflow_model_route_count = ARRAY_LEN(mlflow_model_routes);
