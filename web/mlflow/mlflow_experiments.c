/* MLflow's protocol: experiments. */
#include "sweeper/live/sweep.h"
#include "tracker/names.h"
#include "web/mlflow/mlflow_search.h"
#include "web/mlflow/mlflow_tables.h"
#include "web/tracking.h"

enum { EXPERIMENTS_DEFAULT = 1000, EXPERIMENTS_MAX = 50000 };

/* One request under way. */
struct experiment_op {
  struct http_req *req;
  int64_t id;
  struct str id_text, name, key;
};

static struct experiment_op *new_op(struct http_req *req) {
  struct experiment_op *op = HTTP_REQ_NEW(req, struct experiment_op);
  if (op)
    op->req = req;
  return op;
}

static struct pg_pool *pool(struct http_req *req) {
  return web_app(req)->pg;
}

/* ---- create ---- */

static bool check_experiment_tag(struct str key, struct str *value, const char *path UNUSED, struct err *err) {
  return key_check(key, "key", err) && text_fits(key, KEY_MAX, "key", err) && text_fits(*value, EXPERIMENT_TAG_VALUE_MAX, "value", err);
}

static void reply_id(struct http_req *req, int64_t id) {
  char text[24];
  snprintf(text, sizeof text, "%lld", (long long)id);
  struct buf body = BUF_INIT(KIB);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_put_text(&w, "experiment_id", text);
  jw_object_end(&w);
  http_reply_json(req, 200, &body);
}

static void on_created(void *ctx, const struct pg_reply *reply) {
  struct experiment_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0)
    mlflow_reply_error(op->req, 400, "RESOURCE_ALREADY_EXISTS", "Experiment(name=%.*s) already exists.", STR_ARG(op->name));
  else
    reply_id(op->req, pg_int(reply, 0, 0));
}

struct create_args {
  struct str name, location;
  const json_t *tags;
};

static bool create(struct experiment_op *op, const struct create_args *in, struct err *err) {
  AUTO_BUF struct buf tags = BUF_INIT(4 * MIB);
  if (!experiment_name_check(in->name, err) || !artifact_location_check(in->location, err) ||
      !mlflow_pack(in->tags, "tags", check_experiment_tag, NULL, &tags, err))
    return false;
  op->name = in->name;
  AUTO_PG_ARGS struct pg_args args;
  return tracking_put_experiment(op->req, in->name, in->location, buf_str(&tags), &args, err) &&
         pg_run(pool(op->req), &args, 0, on_created, op, err);
}

static void create_experiment(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      {"name", MLFLOW_STR, true, offsetof(struct create_args, name), 0},
      {"artifact_location", MLFLOW_STR, false, offsetof(struct create_args, location), 0},
      {"tags", MLFLOW_ARRAY, false, offsetof(struct create_args, tags), 0},
  };
  struct create_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct experiment_op *op = new_op(req);
  if (op && mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree) && !create(op, &in, &err))
    http_reply_error(req, &err);
}

/* ---- get ---- */

static void reply_experiment(struct http_req *req, const struct pg_reply *reply) {
  struct experiment_row row;
  experiment_row_read(reply, 0, &row);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "experiment");
  mlflow_put_experiment(&w, &row);
  jw_object_end(&w);
  http_reply_json(req, 200, &body);
}

static void reply_none(struct experiment_op *op) {
  struct err err;
  mlflow_no_experiment(&err, op->id_text);
  http_reply_error(op->req, &err);
}

static void on_got(void *ctx, const struct pg_reply *reply) {
  struct experiment_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0)
    reply_none(op);
  else
    reply_experiment(op->req, reply);
}

/* Reads experiment_id; false when answered. */
static bool id_args(struct experiment_op *op) {
  static const struct mlflow_field fields[] = {{"experiment_id", MLFLOW_ID, true, offsetof(struct experiment_op, id_text), 0}};
  AUTO_JSON json_t *tree = NULL;
  struct err err;
  if (!mlflow_args(op->req, fields, ARRAY_LEN(fields), op, &tree))
    return false;
  if (mlflow_experiment_id(op->id_text, &op->id, &err))
    return true;
  http_reply_error(op->req, &err);
  return false;
}

static void run_or_fail(struct experiment_op *op, struct pg_args *args, pg_done_fn *done) {
  struct err err;
  if (!pg_run(pool(op->req), args, 0, done, op, &err))
    http_reply_error(op->req, &err);
}

static void get_experiment(struct http_req *req) {
  struct experiment_op *op = new_op(req);
  if (!op || !id_args(op))
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_EXPERIMENT_GET);
  pg_put_int(&args, op->id);
  run_or_fail(op, &args, on_got);
}

static void on_got_by_name(void *ctx, const struct pg_reply *reply) {
  struct experiment_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0)
    mlflow_reply_error(op->req, 404, "RESOURCE_DOES_NOT_EXIST", "Could not find experiment with name '%.*s'", STR_ARG(op->name));
  else
    reply_experiment(op->req, reply);
}

static void get_by_name(struct http_req *req) {
  static const struct mlflow_field fields[] = {{"experiment_name", MLFLOW_STR, true, offsetof(struct experiment_op, name), 0}};
  AUTO_JSON json_t *tree = NULL;
  struct experiment_op *op = new_op(req);
  if (!op || !mlflow_args(req, fields, ARRAY_LEN(fields), op, &tree))
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_EXPERIMENT_GET_BY_NAME);
  pg_put_text(&args, op->name);
  run_or_fail(op, &args, on_got_by_name);
}

/* ---- delete, restore, rename ---- */

static void on_followed(void *ctx, const struct err *failed) {
  const struct experiment_op *op = ctx;
  if (failed)
    http_reply_error(op->req, failed);
  else
    mlflow_reply_done(op->req);
}

/* Answered when its sweeps have followed it into the trash or out of it; also where nobody knows whether it was moved, they look. */
static void on_moved(void *ctx, const struct pg_reply *reply) {
  struct experiment_op *op = ctx;
  struct sweeps *sweeps = web_app(op->req)->sweeps;
  struct err err, ignored;
  if (!pg_ok(reply, &err)) {
    (void)!sweeps_look_into_trash(sweeps, tracking_actor(op->req), NULL, NULL, &ignored);
    http_reply_error(op->req, &err);
  } else if (!pg_rows(reply))
    reply_none(op);
  else if (!sweeps_look_into_trash(sweeps, tracking_actor(op->req), on_followed, op, &err))
    http_reply_error(op->req, &err);
}

static void move_experiment(struct http_req *req, enum stmt stmt) {
  struct experiment_op *op = new_op(req);
  if (!op || !id_args(op))
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, stmt);
  pg_put_int(&args, op->id);
  pg_put_int(&args, tracking_now(req));
  run_or_fail(op, &args, on_moved);
}

static void delete_experiment(struct http_req *req) {
  move_experiment(req, STMT_EXPERIMENT_DELETE);
}

static void restore_experiment(struct http_req *req) {
  move_experiment(req, STMT_EXPERIMENT_RESTORE);
}

static void on_renamed(void *ctx, const struct pg_reply *reply) {
  struct experiment_op *op = ctx;
  if (strcmp(pg_sqlstate(reply), "23505") == 0)
    mlflow_reply_error(op->req, 400, "RESOURCE_ALREADY_EXISTS", "Experiment(name=%.*s) already exists.", STR_ARG(op->name));
  else if (!mlflow_pg_ok(op->req, reply))
    return;
  else if (pg_rows(reply) == 0)
    reply_none(op);
  else if (!pg_bool(reply, 0, 0))
    mlflow_reply_error(op->req, 400, "INVALID_STATE", "Cannot rename a non-active experiment.");
  else
    mlflow_reply_done(op->req);
}

static void update_experiment(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      {"experiment_id", MLFLOW_ID, true, offsetof(struct experiment_op, id_text), 0},
      {"new_name", MLFLOW_STR, true, offsetof(struct experiment_op, name), 0},
  };
  AUTO_JSON json_t *tree = NULL;
  struct err err;
  struct experiment_op *op = new_op(req);
  if (!op || !mlflow_args(req, fields, ARRAY_LEN(fields), op, &tree))
    return;
  if (!mlflow_experiment_id(op->id_text, &op->id, &err) || !experiment_name_check(op->name, &err)) {
    http_reply_error(req, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_EXPERIMENT_RENAME);
  pg_put_int(&args, op->id);
  pg_put_text(&args, op->name);
  pg_put_int(&args, tracking_now(req));
  run_or_fail(op, &args, on_renamed);
}

/* ---- tags ---- */

static void reply_deleted(struct experiment_op *op) {
  mlflow_reply_error(op->req, 400, "INVALID_PARAMETER_VALUE",
                     "The experiment %.*s must be in the 'active' state. Current state is deleted.", STR_ARG(op->id_text));
}

static void on_tag_set(void *ctx, const struct pg_reply *reply) {
  struct experiment_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0)
    reply_none(op);
  else if (!pg_bool(reply, 0, 0))
    reply_deleted(op);
  else
    mlflow_reply_done(op->req);
}

struct tag_args {
  struct str id, key, value;
};

static bool set_tag(struct experiment_op *op, struct tag_args *in, struct err *err) {
  if (!mlflow_experiment_id(in->id, &op->id, err) || !check_experiment_tag(in->key, &in->value, NULL, err))
    return false;
  op->id_text = in->id;
  AUTO_BUF struct buf json = BUF_INIT(MIB);
  struct json_writer w;
  jw_init(&w, &json);
  jw_object(&w);
  jw_key_str(&w, in->key);
  jw_str(&w, in->value.p ? in->value : STR(""));
  jw_object_end(&w);
  if (!buf_ok(&json, err))
    return false;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_EXPERIMENT_SET_TAGS);
  pg_put_int(&args, op->id);
  pg_put_jsonb(&args, buf_str(&json));
  return pg_run(pool(op->req), &args, 0, on_tag_set, op, err);
}

static const struct mlflow_field tag_fields[] = {
    {"experiment_id", MLFLOW_ID, true, offsetof(struct tag_args, id), 0},
    {"key", MLFLOW_STR, true, offsetof(struct tag_args, key), 0},
    {"value", MLFLOW_STR, false, offsetof(struct tag_args, value), 0},
};

static void set_experiment_tag(struct http_req *req) {
  struct tag_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct experiment_op *op = new_op(req);
  if (op && mlflow_args(req, tag_fields, ARRAY_LEN(tag_fields), &in, &tree) && !set_tag(op, &in, &err))
    http_reply_error(req, &err);
}

static void on_tag_deleted(void *ctx, const struct pg_reply *reply) {
  struct experiment_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0)
    reply_none(op);
  else if (!pg_bool(reply, 0, 0))
    reply_deleted(op);
  else if (!pg_bool(reply, 0, 1))
    mlflow_reply_error(op->req, 404, "RESOURCE_DOES_NOT_EXIST", "No tag with name: %.*s in experiment with id %.*s", STR_ARG(op->key),
                       STR_ARG(op->id_text));
  else
    mlflow_reply_done(op->req);
}

static void delete_experiment_tag(struct http_req *req) {
  struct tag_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct experiment_op *op = new_op(req);
  if (!op || !mlflow_args(req, tag_fields, 2, &in, &tree))
    return;
  op->id_text = in.id;
  op->key = in.key;
  if (!mlflow_experiment_id(in.id, &op->id, &err)) {
    http_reply_error(req, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_EXPERIMENT_DELETE_TAG);
  pg_put_int(&args, op->id);
  pg_put_text(&args, op->key);
  run_or_fail(op, &args, on_tag_deleted);
}

/* ---- search ---- */

static void put_found(struct mlflow_search *op UNUSED, struct json_writer *w, const struct pg_reply *reply, size_t i) {
  struct experiment_row row;
  experiment_row_read(reply, i, &row);
  mlflow_put_experiment(w, &row);
}

static const struct mlflow_search_shape experiment_shape = {STMT_EXPERIMENT_PAGE, STMT_EXPERIMENT_SEARCH, EXPERIMENT_ROW_COLUMNS,
                                                            "experiments", put_found};

struct search_args {
  struct mlflow_search_args common;
  struct str view;
};

static bool search(struct mlflow_search *op, struct search_args *in, struct err *err) {
  unsigned view;
  if (!mlflow_check_max_results(in->common.max_results, EXPERIMENTS_MAX, err) || !mlflow_view(in->view, "view_type", &view, err))
    return false;
  op->search.domain = FILTER_EXPERIMENTS;
  op->search.view = (enum search_view)view;
  return mlflow_search_parse(op, &in->common, err) && mlflow_search_answer(op, &experiment_shape, err);
}

static void search_experiments(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      {"view_type", MLFLOW_ID, false, offsetof(struct search_args, view), 0},
      {"max_results", MLFLOW_INT, false, offsetof(struct search_args, common.max_results), 0},
      {"order_by", MLFLOW_ARRAY, false, offsetof(struct search_args, common.order_by), 0},
      {"filter", MLFLOW_STR, false, offsetof(struct search_args, common.filter), 0},
      {"page_token", MLFLOW_STR, false, offsetof(struct search_args, common.page_token), 0},
  };
  struct search_args in = {.common.max_results = EXPERIMENTS_DEFAULT};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  if (!mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree))
    return;
  struct mlflow_search *op = mlflow_search_new(req);
  if (op && !search(op, &in, &err))
    http_reply_error(req, &err);
}

/* ---- datasets ---- */

static void on_datasets(void *ctx, const struct pg_reply *reply) {
  struct experiment_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  if (pg_rows(reply)) {
    jw_key(&w, "dataset_summaries");
    jw_array(&w);
    for (size_t i = 0; i < MIN_OF(pg_rows(reply), (size_t)1000); i++) {
      char id[24];
      snprintf(id, sizeof id, "%lld", (long long)pg_int(reply, i, 0));
      jw_object(&w);
      jw_put_text(&w, "experiment_id", id);
      jw_put_str(&w, "name", pg_text(reply, i, 1));
      jw_put_str(&w, "digest", pg_text(reply, i, 2));
      if (!pg_is_null(reply, i, 3))
        jw_put_str(&w, "context", pg_text(reply, i, 3));
      jw_object_end(&w);
    }
    jw_array_end(&w);
  }
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

static bool search_in(struct experiment_op *op, const json_t *experiments, struct err *err) {
  enum { AT_MOST = 20 };
  const struct str *texts;
  size_t count, known = 0;
  int64_t ids[AT_MOST];
  if (!mlflow_strings(op->req, experiments, "experiment_ids", &texts, &count, err))
    return false;
  if (count == 0)
    return err_set(err, ERR_INVALID, "SearchDatasets request must specify at least one experiment_id.");
  if (count > AT_MOST)
    return err_set(err, ERR_INVALID, "SearchDatasets request cannot specify more than %d experiment_ids. Received %zu experiment_ids.",
                   AT_MOST, count);
  for (size_t i = 0; i < count; i++)
    known += str_to_i64(texts[i], &ids[known]);
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_EXPERIMENT_DATASETS);
  pg_put_int8s(&args, ids, known);
  return pg_run(pool(op->req), &args, 0, on_datasets, op, err);
}

static void search_datasets(struct http_req *req) {
  struct {
    const json_t *experiments;
  } in = {0};
  const struct mlflow_field fields[] = {{"experiment_ids", MLFLOW_ARRAY, false, 0, 0}};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct experiment_op *op = new_op(req);
  if (op && mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree) && !search_in(op, in.experiments, &err))
    http_reply_error(req, &err);
}

/* ---- routes ---- */

const struct route mlflow_experiment_routes[] = {
    MLFLOW_WRITE("/experiments/create", REACH_NOTHING, create_experiment, "Make an experiment"),
    MLFLOW_ASK("/experiments/search", REACH_NOTHING, search_experiments, "Search experiments"),
    MLFLOW_GET("/experiments/search", REACH_NOTHING, search_experiments, "Search experiments"),
    MLFLOW_GET("/experiments/get", REACH_NAMED, get_experiment, "One experiment by id"),
    MLFLOW_GET("/experiments/get-by-name", REACH_NAMED, get_by_name, "One experiment by name"),
    MLFLOW_WRITE("/experiments/delete", REACH_NOTHING, delete_experiment, "Put an experiment and its runs into the trash"),
    MLFLOW_WRITE("/experiments/restore", REACH_NOTHING, restore_experiment, "Take an experiment and its runs out of the trash"),
    MLFLOW_WRITE("/experiments/update", REACH_NOTHING, update_experiment, "Rename an experiment"),
    MLFLOW_WRITE("/experiments/set-experiment-tag", REACH_NOTHING, set_experiment_tag, "Set a tag"),
    MLFLOW_WRITE("/experiments/delete-experiment-tag", REACH_NOTHING, delete_experiment_tag, "Remove a tag"),
    MLFLOW_ASK("/experiments/search-datasets", REACH_NAMED, search_datasets, "Datasets that runs of some experiments read"),
};
const size_t mlflow_experiment_route_count = ARRAY_LEN(mlflow_experiment_routes);
