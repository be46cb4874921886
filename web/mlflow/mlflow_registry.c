/* MLflow's protocol: registered models, and what all of the registry shares. */
#include "tracker/names.h"
#include "tracker/packed.h"
#include "web/mlflow/mlflow_registry_inside.h"
#include "web/mlflow/mlflow_tables.h"
#include "web/registry.h"
#include "web/tracking.h"

#define PROMPT_TAG "mlflow.prompt.is_prompt"
#define PROMPT_TEXT_TAG "mlflow.prompt.text"

struct registry_op *registry_op_new(struct http_req *req) {
  struct registry_op *op = HTTP_REQ_NEW(req, struct registry_op);
  if (op)
    op->req = req;
  return op;
}

struct pg_pool *registry_pool(const struct registry_op *op) {
  return web_app(op->req)->pg;
}

void registry_fail(struct registry_op *op, const struct err *err) {
  http_reply_error(op->req, err);
}

void registry_no_model(struct registry_op *op) {
  mlflow_reply_error(op->req, 404, "RESOURCE_DOES_NOT_EXIST", "Registered Model with name=%.*s not found", STR_ARG(op->name));
}

void registry_no_version(struct registry_op *op) {
  mlflow_reply_error(op->req, 404, "RESOURCE_DOES_NOT_EXIST", "Model Version (name=%.*s, version=%lld) not found", STR_ARG(op->name),
                     (long long)op->version);
}

static void reply_exists(struct registry_op *op, const char *what, struct str name) {
  mlflow_reply_error(op->req, 400, "RESOURCE_ALREADY_EXISTS", "%s (name=%.*s) already exists.", what, STR_ARG(name));
}

/* Prompts and models share their names. `found`: the one that has it, if it is still there. */
static void reply_taken(struct registry_op *op, const struct pg_reply *found) {
  static const char *const names[] = {"registered model", "prompt"}, *const titles[] = {"Registered Model", "Prompt"};
  struct model_row row;
  bool is_prompt = op->makes_prompt;
  if (pg_rows(found)) {
    model_row_read(found, 0, &row);
    is_prompt = str_eq_nocase(packed_get(row.tags, PROMPT_TAG), STR("\"true\""));
  }
  if (is_prompt == op->makes_prompt)
    reply_exists(op, titles[is_prompt], op->name);
  else
    mlflow_reply_error(op->req, 400, "RESOURCE_ALREADY_EXISTS",
                       "Tried to create a %s with name '%.*s', but the name is already taken by a %s. MLflow does not allow creating a "
                       "model and a prompt with the same name.",
                       names[op->makes_prompt], STR_ARG(op->name), names[is_prompt]);
}

bool registry_read_fields(struct registry_op *op, const struct mlflow_field *fields, size_t count, json_t **tree) {
  struct err err;
  if (!mlflow_args(op->req, fields, count, op, tree))
    return false;
  if (!op->version_text.p)
    return true;
  if (!str_to_i64(op->version_text, &op->version)) {
    err_set(&err, ERR_INVALID, "Parameter 'version' must be an integer, got '%.*s'.", STR_ARG(str_slice(op->version_text, 0, 100)));
    registry_fail(op, &err);
    return false;
  }
  if (op->version < 1 || op->version > INT32_MAX) {
    registry_no_version(op);
    return false;
  }
  return true;
}

/* ---- how they look ---- */

static void put_alias(struct json_writer *w, struct str alias, int64_t version) {
  char number[24];
  snprintf(number, sizeof number, "%lld", (long long)version);
  jw_object(w);
  jw_key(w, "alias");
  jw_raw(w, alias);
  jw_put_text(w, "version", number);
  jw_object_end(w);
}

void registry_put_version(struct json_writer *w, const struct version_row *row) {
  char number[24];
  snprintf(number, sizeof number, "%lld", (long long)row->version);
  jw_object(w);
  jw_put_str(w, "name", row->name);
  jw_put_text(w, "version", number);
  jw_put_i64(w, "creation_timestamp", row->created);
  jw_put_i64(w, "last_updated_timestamp", row->updated);
  if (row->user_id.n)
    jw_put_str(w, "user_id", row->user_id);
  jw_put_text(w, "current_stage", model_stage_name(row->stage));
  jw_put_str(w, "description", row->description);
  jw_put_str(w, "source", row->source);
  jw_put_str(w, "run_id", row->run_id);
  jw_put_text(w, "status", model_status_name(row->status));
  if (row->status_message.n)
    jw_put_str(w, "status_message", row->status_message);
  mlflow_put_pairs(w, "tags", row->tags);
  jw_put_str(w, "run_link", row->run_link);
  struct pg_array aliases = row->aliases;
  if (aliases.left) {
    jw_key(w, "aliases");
    jw_array(w);
    while (pg_array_next(&aliases))
      jw_str(w, pg_item_text(&aliases));
    jw_array_end(w);
  }
  if (row->model_id.n)
    jw_put_str(w, "model_id", row->model_id);
  jw_object_end(w);
}

/* `latest`: rows of versions, of this model among others; NULL: none. */
void registry_put_model(struct json_writer *w, const struct model_row *row, const struct pg_reply *latest) {
  struct str alias, version;
  jw_object(w);
  jw_put_str(w, "name", row->name);
  jw_put_i64(w, "creation_timestamp", row->created);
  jw_put_i64(w, "last_updated_timestamp", row->updated);
  if (row->description.n)
    jw_put_str(w, "description", row->description);
  bool any = false;
  for (size_t i = 0; latest && i < pg_rows(latest); i++) {
    struct version_row newest;
    if (!str_eq(pg_text(latest, i, 0), row->name))
      continue;
    if (!any) {
      jw_key(w, "latest_versions");
      jw_array(w);
    }
    any = true;
    version_row_read(latest, i, &newest);
    registry_put_version(w, &newest);
  }
  if (any)
    jw_array_end(w);
  mlflow_put_pairs(w, "tags", row->tags);
  if (row->aliases.p) {
    jw_key(w, "aliases");
    jw_array(w);
    for (size_t cursor = 0; packed_next(row->aliases, &cursor, &alias, &version);) {
      int64_t number = 0;
      if (str_to_i64(version, &number))
        put_alias(w, alias, number);
    }
    jw_array_end(w);
  }
  jw_object_end(w);
}

/* ---- one registered model ---- */

static void reply_model(struct registry_op *op, const struct pg_reply *get, const struct pg_reply *latest) {
  struct model_row row;
  if (pg_rows(get) == 0) {
    registry_no_model(op);
    return;
  }
  model_row_read(get, 0, &row);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "registered_model");
  registry_put_model(&w, &row, latest);
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

static void put_read_model(struct pg_batch *batch, struct str name) {
  pg_put_text(pg_batch_add(batch, STMT_MODEL_GET), name);
  struct pg_args *args = pg_batch_add(batch, STMT_MODEL_LATEST);
  pg_begin_array(args);
  pg_put_text(args, name);
  pg_end_array(args);
}

/* A batch of a change (no row: no such model), and the reading of the model. */
static void on_model_changed(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  if (strcmp(pg_sqlstate(reply), "23505") == 0)
    reply_exists(op, "Registered Model", op->new_name);
  else if (!mlflow_pg_ok(op->req, reply))
    return;
  else if (pg_rows(pg_nth(reply, 0)) == 0)
    registry_no_model(op);
  else
    reply_model(op, pg_nth(reply, 1), pg_nth(reply, 2));
}

static void on_created(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(pg_nth(reply, 0)) == 0)
    reply_taken(op, pg_nth(reply, 1));
  else
    reply_model(op, pg_nth(reply, 1), pg_nth(reply, 2));
}

bool registry_tags_make_prompt(const json_t *tags) {
  size_t i;
  json_t *tag;
  json_array_foreach(tags, i, tag) {
    if (str_is(json_str(json_object_get(tag, "key")), PROMPT_TAG) && str_eq_nocase(json_str(json_object_get(tag, "value")), STR("true")))
      return true;
  }
  return false;
}

bool registry_check_tag(struct str key, struct str *value, const char *path UNUSED, struct err *err) {
  if (!key_check(key, "key", err) || !text_fits(key, KEY_MAX, "key", err))
    return false;
  if (str_is(key, PROMPT_TEXT_TAG) && text_length(*value) > REGISTRY_TAG_VALUE_MAX)
    return err_set(err, ERR_INVALID, "Prompt text exceeds max length of %d characters.", REGISTRY_TAG_VALUE_MAX);
  return text_fits(*value, REGISTRY_TAG_VALUE_MAX, "value", err);
}

static bool create(struct registry_op *op, struct err *err) {
  AUTO_BUF struct buf tags = BUF_INIT(64 * MIB);
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  if (!model_name_check(op->name, "name", err) || !text_fits(op->description, DESCRIPTION_MAX, "description", err) ||
      !mlflow_pack(op->list, "tags", registry_check_tag, NULL, &tags, err))
    return false;
  op->makes_prompt = registry_tags_make_prompt(op->list);
  struct pg_args *args = pg_batch_add(&batch, STMT_MODEL_CREATE);
  pg_put_text(args, op->name);
  pg_put_int(args, tracking_now(op->req));
  pg_put_text(args, op->description.n ? op->description : STR_NONE);
  pg_put_jsonb(args, buf_str(&tags));
  put_read_model(&batch, op->name);
  return pg_run_batch(registry_pool(op), &batch, 0, on_created, op, err);
}

static void create_model(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      REGISTRY_FIELD("name", MLFLOW_STR, true, name),
      REGISTRY_FIELD("tags", MLFLOW_ARRAY, false, list),
      REGISTRY_FIELD("description", MLFLOW_STR, false, description),
  };
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct registry_op *op = registry_op_new(req);
  if (op && registry_read_fields(op, fields, ARRAY_LEN(fields), &tree) && !create(op, &err))
    registry_fail(op, &err);
}

static void rename_model(struct http_req *req) {
  static const struct mlflow_field fields[] = {REGISTRY_FIELD("name", MLFLOW_STR, true, name),
                                               REGISTRY_FIELD("new_name", MLFLOW_STR, true, new_name)};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct registry_op *op = registry_op_new(req);
  if (!op || !registry_read_fields(op, fields, ARRAY_LEN(fields), &tree))
    return;
  struct pg_args *args = pg_batch_add(&batch, STMT_MODEL_RENAME);
  pg_put_text(args, op->name);
  pg_put_text(args, op->new_name);
  pg_put_int(args, tracking_now(req));
  pg_put_text(args, tracking_actor(req));
  put_read_model(&batch, op->new_name);
  if (!model_name_check(op->new_name, "new_name", &err) || !pg_run_batch(registry_pool(op), &batch, 0, on_model_changed, op, &err))
    registry_fail(op, &err);
}

static void update_model(struct http_req *req) {
  static const struct mlflow_field fields[] = {REGISTRY_FIELD("name", MLFLOW_STR, true, name),
                                               REGISTRY_FIELD("description", MLFLOW_STR, false, description)};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct registry_op *op = registry_op_new(req);
  if (!op || !registry_read_fields(op, fields, ARRAY_LEN(fields), &tree))
    return;
  struct pg_args *args = pg_batch_add(&batch, STMT_MODEL_DESCRIBE);
  pg_put_text(args, op->name);
  pg_put_text(args, op->description.p ? op->description : STR(""));
  pg_put_int(args, tracking_now(req));
  put_read_model(&batch, op->name);
  if (!text_fits(op->description, DESCRIPTION_MAX, "description", &err) ||
      !pg_run_batch(registry_pool(op), &batch, 0, on_model_changed, op, &err))
    registry_fail(op, &err);
}

void registry_on_done_to_model(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0)
    registry_no_model(op);
  else
    mlflow_reply_done(op->req);
}

void registry_on_done_to_version(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0)
    registry_no_version(op);
  else
    mlflow_reply_done(op->req);
}

void registry_run(struct registry_op *op, struct pg_args *args, pg_done_fn *done) {
  struct err err;
  if (!pg_run(registry_pool(op), args, 0, done, op, &err))
    registry_fail(op, &err);
}

static void on_files_gone(void *ctx, const struct err *err UNUSED) {
  struct registry_op *op = ctx;
  mlflow_reply_done(op->req);
}

static void on_model_deleted(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0)
    registry_no_model(op);
  else if (!model_files_remove(op->req, pg_int(reply, 0, 0), on_files_gone, op))
    mlflow_reply_done(op->req);
}

static void delete_model(struct http_req *req) {
  static const struct mlflow_field fields[] = {REGISTRY_FIELD("name", MLFLOW_STR, true, name)};
  AUTO_JSON json_t *tree = NULL;
  struct registry_op *op = registry_op_new(req);
  if (!op || !registry_read_fields(op, fields, ARRAY_LEN(fields), &tree))
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_MODEL_DELETE);
  pg_put_text(&args, op->name);
  pg_put_int(&args, tracking_now(op->req));
  pg_put_text(&args, tracking_actor(op->req));
  registry_run(op, &args, on_model_deleted);
}

static void on_model(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  if (mlflow_pg_ok(op->req, reply))
    reply_model(op, pg_nth(reply, 0), pg_nth(reply, 1));
}

static void get_model(struct http_req *req) {
  static const struct mlflow_field fields[] = {REGISTRY_FIELD("name", MLFLOW_STR, true, name)};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct registry_op *op = registry_op_new(req);
  if (!op || !registry_read_fields(op, fields, ARRAY_LEN(fields), &tree))
    return;
  put_read_model(&batch, op->name);
  if (!pg_run_batch(registry_pool(op), &batch, 0, on_model, op, &err))
    registry_fail(op, &err);
}

static void set_model_tag(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      REGISTRY_FIELD("name", MLFLOW_STR, true, name),
      REGISTRY_FIELD("key", MLFLOW_STR, true, key),
      REGISTRY_FIELD("value", MLFLOW_STR, false, value),
  };
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  AUTO_BUF struct buf packed = BUF_INIT(4 * MIB);
  struct registry_op *op = registry_op_new(req);
  if (!op || !registry_read_fields(op, fields, ARRAY_LEN(fields), &tree))
    return;
  if (!registry_check_tag(op->key, &op->value, "", &err) || !mlflow_pack_one(op->key, op->value, &packed, &err)) {
    registry_fail(op, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_MODEL_SET_TAGS);
  pg_put_text(&args, op->name);
  pg_put_jsonb(&args, buf_str(&packed));
  registry_run(op, &args, registry_on_done_to_model);
}

static void delete_model_tag(struct http_req *req) {
  static const struct mlflow_field fields[] = {REGISTRY_FIELD("name", MLFLOW_STR, true, name),
                                               REGISTRY_FIELD("key", MLFLOW_STR, true, key)};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct registry_op *op = registry_op_new(req);
  if (!op || !registry_read_fields(op, fields, ARRAY_LEN(fields), &tree))
    return;
  if (!key_check(op->key, "key", &err)) {
    registry_fail(op, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_MODEL_DELETE_TAG);
  pg_put_text(&args, op->name);
  pg_put_text(&args, op->key);
  registry_run(op, &args, registry_on_done_to_model);
}

/* ---- latest versions ---- */

static bool stage_wanted(const struct registry_op *op, int64_t stage) {
  return !op->has_version_number || (op->version & (int64_t)1 << stage);
}

static void on_latest(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(pg_nth(reply, 0)) == 0) {
    registry_no_model(op);
    return;
  }
  const struct pg_reply *latest = pg_nth(reply, 1);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  bool any = false;
  for (size_t i = 0; i < pg_rows(latest); i++) {
    struct version_row row;
    version_row_read(latest, i, &row);
    if (!stage_wanted(op, row.stage))
      continue;
    if (!any) {
      jw_key(&w, "model_versions");
      jw_array(&w);
    }
    any = true;
    registry_put_version(&w, &row);
  }
  if (any)
    jw_array_end(&w);
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

bool registry_bad_stage(struct err *err, struct str stage) {
  return err_set(err, ERR_INVALID, "Invalid Model Version stage: %.*s. Value must be one of None, Staging, Production, Archived.",
                 STR_ARG(str_slice(stage, 0, 100)));
}

static bool read_stages(struct registry_op *op, struct err *err) {
  const struct str *stages;
  size_t count;
  if (!mlflow_strings(op->req, op->list, "stages", &stages, &count, err))
    return false;
  for (size_t i = 0; i < count; i++) {
    int64_t stage;
    if (!model_stage_parse(stages[i], &stage))
      return registry_bad_stage(err, stages[i]);
    op->has_version_number = true; /* `version` is a set of stages here */
    op->version |= (int64_t)1 << stage;
  }
  return true;
}

static void get_latest_versions(struct http_req *req) {
  static const struct mlflow_field fields[] = {REGISTRY_FIELD("name", MLFLOW_STR, true, name),
                                               REGISTRY_FIELD("stages", MLFLOW_ARRAY, false, list)};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct registry_op *op = registry_op_new(req);
  if (!op || !registry_read_fields(op, fields, ARRAY_LEN(fields), &tree))
    return;
  put_read_model(&batch, op->name);
  if (!read_stages(op, &err) || !pg_run_batch(registry_pool(op), &batch, 0, on_latest, op, &err))
    registry_fail(op, &err);
}

const struct route mlflow_registry_routes[] = {
    MLFLOW_WRITE("/registered-models/create", REACH_ANY, create_model, "Make a registered model"),
    MLFLOW_CURATE(HTTP_POST, "/registered-models/rename", REACH_NOTHING, rename_model, "Rename a registered model"),
    MLFLOW_PATCH("/registered-models/update", REACH_NOTHING, update_model, "Describe a registered model"),
    MLFLOW_CURATE(HTTP_DELETE, "/registered-models/delete", REACH_NOTHING, delete_model, "Remove a registered model and its versions"),
    MLFLOW_GET("/registered-models/get", REACH_ANY, get_model, "One registered model"),
    MLFLOW_ASK("/registered-models/get-latest-versions", REACH_ANY, get_latest_versions, "The newest version of each stage"),
    MLFLOW_GET("/registered-models/get-latest-versions", REACH_ANY, get_latest_versions, "The newest version of each stage"),
    MLFLOW_WRITE("/registered-models/set-tag", REACH_NOTHING, set_model_tag, "Set a tag"),
    MLFLOW_DELETE("/registered-models/delete-tag", REACH_NOTHING, delete_model_tag, "Remove a tag"),
};
const size_t mlflow_registry_route_count = ARRAY_LEN(mlflow_registry_routes);
