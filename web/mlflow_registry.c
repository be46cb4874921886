/* MLflow's protocol: the model registry. */
#include "tracker/names.h"
#include "tracker/packed.h"
#include "web/mlflow_files.h"
#include "web/mlflow_search.h"
#include "web/mlflow_tables.h"
#include "web/registry.h"
#include "web/tracking.h"

enum {
  MODELS_DEFAULT = 100,
  MODELS_MAX = 1000,
  VERSIONS_DEFAULT = 200000,
  VERSIONS_MAX = 200000,
  DESCRIPTION_MAX = 5000,
};

/* One request under way; its texts lie in the request's arena. */
struct registry_op {
  struct http_req *req;
  struct str name, new_name, version_text, description, key, value, alias, stage, path;
  bool has_version_number, archive, has_archive, by_alias;
  int64_t version;
  const json_t *list; /* during the handler */
};

static struct registry_op *new_op(struct http_req *req) {
  struct registry_op *op = ARENA_NEW(http_req_arena(req), struct registry_op);
  struct err err;
  if (op) {
    op->req = req;
  } else {
    err_no_memory(&err);
    http_reply_error(req, &err);
  }
  return op;
}

static struct pg_pool *pool(const struct registry_op *op) {
  return web_app(op->req)->pg;
}

static void fail(struct registry_op *op, const struct err *err) {
  http_reply_error(op->req, err);
}

static void reply_no_model(struct registry_op *op) {
  mlflow_reply_error(op->req, 404, "RESOURCE_DOES_NOT_EXIST", "Registered Model with name=%.*s not found", STR_ARG(op->name));
}

static void reply_no_version(struct registry_op *op) {
  mlflow_reply_error(op->req, 404, "RESOURCE_DOES_NOT_EXIST", "Model Version (name=%.*s, version=%lld) not found", STR_ARG(op->name),
                     (long long)op->version);
}

static void reply_exists(struct registry_op *op, struct str name) {
  mlflow_reply_error(op->req, 400, "RESOURCE_ALREADY_EXISTS", "Registered Model (name=%.*s) already exists.", STR_ARG(name));
}

#define FIELD(name_text, type, required, member) \
  { name_text, type, required, offsetof(struct registry_op, member), 0 }

/* Reads the fields of the request, the version among them checked; false when answered. */
static bool read_fields(struct registry_op *op, const struct mlflow_field *fields, size_t count, json_t **tree) {
  struct err err;
  if (!mlflow_args(op->req, fields, count, op, tree))
    return false;
  if (!op->version_text.p)
    return true;
  if (!str_to_i64(op->version_text, &op->version)) {
    err_set(&err, ERR_INVALID, "Parameter 'version' must be an integer, got '%.*s'.", STR_ARG(str_slice(op->version_text, 0, 100)));
    fail(op, &err);
    return false;
  }
  if (op->version < 1 || op->version > INT32_MAX) {
    reply_no_version(op);
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

static void put_version(struct json_writer *w, const struct version_row *row) {
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

/* `latest`: rows of versions in the order of names; those of this model are taken from *at on. */
static void put_model(struct json_writer *w, const struct model_row *row, const struct pg_reply *latest) {
  struct str alias, version;
  jw_object(w);
  jw_put_str(w, "name", row->name);
  jw_put_i64(w, "creation_timestamp", row->created);
  jw_put_i64(w, "last_updated_timestamp", row->updated);
  if (row->description.p)
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
    put_version(w, &newest);
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
    reply_no_model(op);
    return;
  }
  model_row_read(get, 0, &row);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "registered_model");
  put_model(&w, &row, latest);
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
    reply_exists(op, op->new_name);
  else if (!mlflow_pg_ok(op->req, reply))
    return;
  else if (pg_rows(pg_nth(reply, 0)) == 0)
    reply_no_model(op);
  else
    reply_model(op, pg_nth(reply, 1), pg_nth(reply, 2));
}

static void on_created(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(pg_nth(reply, 0)) == 0)
    reply_exists(op, op->name);
  else
    reply_model(op, pg_nth(reply, 1), pg_nth(reply, 2));
}

static bool check_tag(struct str key, struct str *value, const char *path UNUSED, struct err *err) {
  return key_check(key, "key", err) && text_fits(key, KEY_MAX, "key", err) && text_fits(*value, REGISTRY_TAG_VALUE_MAX, "value", err);
}

static bool check_name(struct str name, const char *parameter, struct err *err) {
  for (size_t i = 0; i < name.n; i++)
    if (name.p[i] == 0)
      return invalid_value(err, parameter, name, NULL);
  return text_fits(name, 2000, parameter, err);
}

static bool create(struct registry_op *op, struct err *err) {
  AUTO_BUF struct buf tags = BUF_INIT(64 * MIB);
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  if (!check_name(op->name, "name", err) || !mlflow_pack(op->list, "tags", check_tag, NULL, &tags, err))
    return false;
  struct pg_args *args = pg_batch_add(&batch, STMT_MODEL_CREATE);
  pg_put_text(args, op->name);
  pg_put_int(args, tracking_now(op->req));
  pg_put_text(args, op->description.n ? op->description : STR_NONE);
  pg_put_jsonb(args, buf_str(&tags));
  put_read_model(&batch, op->name);
  return pg_run_batch(pool(op), &batch, 0, on_created, op, err);
}

static void create_model(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      FIELD("name", MLFLOW_STR, true, name),
      FIELD("tags", MLFLOW_ARRAY, false, list),
      FIELD("description", MLFLOW_STR, false, description),
  };
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct registry_op *op = new_op(req);
  if (op && read_fields(op, fields, ARRAY_LEN(fields), &tree) && !create(op, &err))
    fail(op, &err);
}

static void rename_model(struct http_req *req) {
  static const struct mlflow_field fields[] = {FIELD("name", MLFLOW_STR, true, name), FIELD("new_name", MLFLOW_STR, true, new_name)};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct registry_op *op = new_op(req);
  if (!op || !read_fields(op, fields, ARRAY_LEN(fields), &tree))
    return;
  struct pg_args *args = pg_batch_add(&batch, STMT_MODEL_RENAME);
  pg_put_text(args, op->name);
  pg_put_text(args, op->new_name);
  pg_put_int(args, tracking_now(req));
  put_read_model(&batch, op->new_name);
  if (!check_name(op->new_name, "new_name", &err) || !pg_run_batch(pool(op), &batch, 0, on_model_changed, op, &err))
    fail(op, &err);
}

static void update_model(struct http_req *req) {
  static const struct mlflow_field fields[] = {FIELD("name", MLFLOW_STR, true, name), FIELD("description", MLFLOW_STR, false, description)};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct registry_op *op = new_op(req);
  if (!op || !read_fields(op, fields, ARRAY_LEN(fields), &tree))
    return;
  struct pg_args *args = pg_batch_add(&batch, STMT_MODEL_DESCRIBE);
  pg_put_text(args, op->name);
  pg_put_text(args, op->description.p ? op->description : STR(""));
  pg_put_int(args, tracking_now(req));
  put_read_model(&batch, op->name);
  if (!pg_run_batch(pool(op), &batch, 0, on_model_changed, op, &err))
    fail(op, &err);
}

static void on_done_to_model(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0)
    reply_no_model(op);
  else
    mlflow_reply_done(op->req);
}

static void on_done_to_version(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0)
    reply_no_version(op);
  else
    mlflow_reply_done(op->req);
}

static void run_or_fail(struct registry_op *op, struct pg_args *args, pg_done_fn *done) {
  struct err err;
  if (!pg_run(pool(op), args, 0, done, op, &err))
    fail(op, &err);
}

static void delete_model(struct http_req *req) {
  static const struct mlflow_field fields[] = {FIELD("name", MLFLOW_STR, true, name)};
  AUTO_JSON json_t *tree = NULL;
  struct registry_op *op = new_op(req);
  if (!op || !read_fields(op, fields, ARRAY_LEN(fields), &tree))
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_MODEL_DELETE);
  pg_put_text(&args, op->name);
  run_or_fail(op, &args, on_done_to_model);
}

static void on_model(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  if (mlflow_pg_ok(op->req, reply))
    reply_model(op, pg_nth(reply, 0), pg_nth(reply, 1));
}

static void get_model(struct http_req *req) {
  static const struct mlflow_field fields[] = {FIELD("name", MLFLOW_STR, true, name)};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct registry_op *op = new_op(req);
  if (!op || !read_fields(op, fields, ARRAY_LEN(fields), &tree))
    return;
  put_read_model(&batch, op->name);
  if (!pg_run_batch(pool(op), &batch, 0, on_model, op, &err))
    fail(op, &err);
}

static void set_model_tag(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      FIELD("name", MLFLOW_STR, true, name),
      FIELD("key", MLFLOW_STR, true, key),
      FIELD("value", MLFLOW_STR, false, value),
  };
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  AUTO_BUF struct buf packed = BUF_INIT(4 * MIB);
  struct registry_op *op = new_op(req);
  if (!op || !read_fields(op, fields, ARRAY_LEN(fields), &tree))
    return;
  if (!check_tag(op->key, &op->value, "", &err) || !mlflow_pack_one(op->key, op->value, &packed, &err)) {
    fail(op, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_MODEL_SET_TAGS);
  pg_put_text(&args, op->name);
  pg_put_jsonb(&args, buf_str(&packed));
  run_or_fail(op, &args, on_done_to_model);
}

static void delete_model_tag(struct http_req *req) {
  static const struct mlflow_field fields[] = {FIELD("name", MLFLOW_STR, true, name), FIELD("key", MLFLOW_STR, true, key)};
  AUTO_JSON json_t *tree = NULL;
  struct registry_op *op = new_op(req);
  if (!op || !read_fields(op, fields, ARRAY_LEN(fields), &tree))
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_MODEL_DELETE_TAG);
  pg_put_text(&args, op->name);
  pg_put_text(&args, op->key);
  run_or_fail(op, &args, on_done_to_model);
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
    reply_no_model(op);
    return;
  }
  const struct pg_reply *latest = pg_nth(reply, 1);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  if (pg_rows(latest)) {
    jw_key(&w, "model_versions");
    jw_array(&w);
    for (size_t i = 0; i < pg_rows(latest); i++) {
      struct version_row row;
      version_row_read(latest, i, &row);
      if (stage_wanted(op, row.stage))
        put_version(&w, &row);
    }
    jw_array_end(&w);
  }
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

static bool bad_stage(struct err *err, struct str stage) {
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
      return bad_stage(err, stages[i]);
    op->has_version_number = true; /* `version` is a set of stages here */
    op->version |= (int64_t)1 << stage;
  }
  return true;
}

static void get_latest_versions(struct http_req *req) {
  static const struct mlflow_field fields[] = {FIELD("name", MLFLOW_STR, true, name), FIELD("stages", MLFLOW_ARRAY, false, list)};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct registry_op *op = new_op(req);
  if (!op || !read_fields(op, fields, ARRAY_LEN(fields), &tree))
    return;
  put_read_model(&batch, op->name);
  if (!read_stages(op, &err) || !pg_run_batch(pool(op), &batch, 0, on_latest, op, &err))
    fail(op, &err);
}

/* ---- versions ---- */

static void reply_version(struct http_req *req, const struct pg_reply *reply) {
  struct version_row row;
  version_row_read(reply, 0, &row);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "model_version");
  put_version(&w, &row);
  jw_object_end(&w);
  http_reply_json(req, 200, &body);
}

static void on_registered(struct http_req *req, const struct pg_reply *reply, const struct err *err) {
  if (err)
    http_reply_error(req, err);
  else
    reply_version(req, reply);
}

struct create_args {
  struct version_request version;
  const json_t *tags;
};

static bool tags_make_prompt(const json_t *tags) {
  size_t i;
  json_t *tag;
  json_array_foreach(tags, i, tag) {
    if (str_is(json_str(json_object_get(tag, "key")), "mlflow.prompt.is_prompt") &&
        str_eq_nocase(json_str(json_object_get(tag, "value")), STR("true")))
      return true;
  }
  return false;
}

static bool create_checked(struct http_req *req, struct create_args *in, struct err *err) {
  AUTO_BUF struct buf tags = BUF_INIT(64 * MIB);
  if (in->version.model_id.n && !(str_starts(in->version.model_id, STR("m-")) && in->version.model_id.n == ID_HEX_LEN + 2))
    return err_set(err, ERR_NOT_FOUND, "Logged model with ID '%.*s' not found.", STR_ARG(str_slice(in->version.model_id, 0, 100)));
  if (!mlflow_pack(in->tags, "tags", check_tag, NULL, &tags, err) || !text_fits(in->version.source, 20000, "source", err))
    return false;
  const char *copy = arena_strdup(http_req_arena(req), buf_str(&tags));
  if (!copy)
    return err_no_memory(err);
  in->version.tags = str_n(copy, tags.n);
  in->version.is_prompt = tags_make_prompt(in->tags);
  return version_register(req, &in->version, on_registered, err);
}

static void create_version(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      {"name", MLFLOW_STR, true, offsetof(struct create_args, version.name), 0},
      {"source", MLFLOW_STR, true, offsetof(struct create_args, version.source), 0},
      {"run_id", MLFLOW_STR, false, offsetof(struct create_args, version.run_id), 0},
      {"tags", MLFLOW_ARRAY, false, offsetof(struct create_args, tags), 0},
      {"run_link", MLFLOW_STR, false, offsetof(struct create_args, version.run_link), 0},
      {"description", MLFLOW_STR, false, offsetof(struct create_args, version.description), 0},
      {"model_id", MLFLOW_STR, false, offsetof(struct create_args, version.model_id), 0},
  };
  struct create_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  if (mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree) && !create_checked(req, &in, &err))
    http_reply_error(req, &err);
}

static const struct mlflow_field version_fields[] = {
    FIELD("name", MLFLOW_STR, true, name),
    FIELD("version", MLFLOW_ID, true, version_text),
    FIELD("description", MLFLOW_STR, false, description),
    FIELD("key", MLFLOW_STR, false, key),
    FIELD("value", MLFLOW_STR, false, value),
};

/* `name`, `version` and the first `more` of description, key, value; NULL when answered. */
static struct registry_op *version_op(struct http_req *req) {
  AUTO_JSON json_t *tree = NULL;
  struct registry_op *op = new_op(req);
  return op && read_fields(op, version_fields, ARRAY_LEN(version_fields), &tree) ? op : NULL;
}

static void put_version_key(struct pg_args *args, const struct registry_op *op) {
  pg_put_text(args, op->name);
  pg_put_int(args, op->version);
}

static void on_version(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0)
    reply_no_version(op);
  else
    reply_version(op->req, reply);
}

static void get_version(struct http_req *req) {
  struct registry_op *op = version_op(req);
  if (!op)
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_GET);
  put_version_key(&args, op);
  run_or_fail(op, &args, on_version);
}

/* A batch of a change (no row: no such version), and the reading of the version. */
static void on_version_changed(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(pg_nth(reply, 0)) == 0 || pg_rows(pg_nth(reply, 1)) == 0)
    reply_no_version(op);
  else
    reply_version(op->req, pg_nth(reply, 1));
}

static void update_version(struct http_req *req) {
  struct err err;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct registry_op *op = version_op(req);
  if (!op)
    return;
  struct pg_args *args = pg_batch_add(&batch, STMT_VERSION_DESCRIBE);
  put_version_key(args, op);
  pg_put_text(args, op->description.p ? op->description : STR(""));
  pg_put_int(args, tracking_now(req));
  put_version_key(pg_batch_add(&batch, STMT_VERSION_GET), op);
  if (!pg_run_batch(pool(op), &batch, 0, on_version_changed, op, &err))
    fail(op, &err);
}

static bool transition(struct registry_op *op, struct err *err) {
  int64_t stage;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  if (!model_stage_parse(op->stage, &stage))
    return bad_stage(err, op->stage);
  if (op->archive && stage != 1 && stage != 2)
    return err_set(
        err, ERR_INVALID,
        "Model version transition cannot archive existing model versions because '%s' is not an Active stage. Valid stages are Staging, "
        "Production",
        model_stage_name(stage));
  struct pg_args *args = pg_batch_add(&batch, STMT_VERSION_STAGE);
  put_version_key(args, op);
  pg_put_int(args, stage);
  pg_put_bool(args, op->archive);
  pg_put_int(args, tracking_now(op->req));
  pg_put_text(args, tracking_actor(op->req));
  put_version_key(pg_batch_add(&batch, STMT_VERSION_GET), op);
  return pg_run_batch(pool(op), &batch, 0, on_version_changed, op, err);
}

static void transition_stage(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      FIELD("name", MLFLOW_STR, true, name),
      FIELD("version", MLFLOW_ID, true, version_text),
      FIELD("stage", MLFLOW_STR, true, stage),
      {"archive_existing_versions", MLFLOW_BOOL, false, offsetof(struct registry_op, archive), offsetof(struct registry_op, has_archive)},
  };
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct registry_op *op = new_op(req);
  if (op && read_fields(op, fields, ARRAY_LEN(fields), &tree) && !transition(op, &err))
    fail(op, &err);
}

static void on_copy_gone(void *ctx, const struct err *err UNUSED) {
  struct registry_op *op = ctx;
  mlflow_reply_done(op->req); /* the version is deleted; a copy left behind is found by gc */
}

static void on_version_deleted(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  struct err err;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0) {
    reply_no_version(op);
    return;
  }
  struct artifact_store *store = web_app(op->req)->artifacts;
  if (pg_is_null(reply, 0, 1) || !store || !artifact_delete(store, pg_text(reply, 0, 1), on_copy_gone, op, &err))
    mlflow_reply_done(op->req);
}

static void delete_version(struct http_req *req) {
  struct registry_op *op = version_op(req);
  if (!op)
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_DELETE);
  put_version_key(&args, op);
  pg_put_int(&args, tracking_now(req));
  pg_put_text(&args, tracking_actor(req));
  run_or_fail(op, &args, on_version_deleted);
}

static void on_download_uri(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  struct version_row row;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0) {
    reply_no_version(op);
    return;
  }
  version_row_read(reply, 0, &row);
  struct buf body = BUF_INIT(MIB);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_put_str(&w, "artifact_uri", row.storage_location.n ? row.storage_location : row.source);
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

static void get_download_uri(struct http_req *req) {
  struct registry_op *op = version_op(req);
  if (!op)
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_GET);
  put_version_key(&args, op);
  run_or_fail(op, &args, on_download_uri);
}

static void set_version_tag(struct http_req *req) {
  struct err err;
  AUTO_BUF struct buf packed = BUF_INIT(4 * MIB);
  struct registry_op *op = version_op(req);
  if (!op)
    return;
  if (!op->key.n ? !mlflow_missing(&err, "key")
                 : !check_tag(op->key, &op->value, "", &err) || !mlflow_pack_one(op->key, op->value, &packed, &err)) {
    fail(op, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_SET_TAGS);
  put_version_key(&args, op);
  pg_put_jsonb(&args, buf_str(&packed));
  run_or_fail(op, &args, on_done_to_version);
}

static void delete_version_tag(struct http_req *req) {
  struct err err;
  struct registry_op *op = version_op(req);
  if (!op)
    return;
  if (!op->key.n) {
    mlflow_missing(&err, "key");
    fail(op, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_DELETE_TAG);
  put_version_key(&args, op);
  pg_put_text(&args, op->key);
  run_or_fail(op, &args, on_done_to_version);
}

/* ---- aliases ---- */

static const struct mlflow_field alias_fields[] = {
    FIELD("name", MLFLOW_STR, true, name),
    FIELD("alias", MLFLOW_STR, true, alias),
    FIELD("version", MLFLOW_ID, true, version_text),
};

static void set_alias(struct http_req *req) {
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct registry_op *op = new_op(req);
  if (!op || !read_fields(op, alias_fields, ARRAY_LEN(alias_fields), &tree))
    return;
  if (!alias_check(op->alias, &err)) {
    fail(op, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_ALIAS_SET);
  pg_put_text(&args, op->name);
  pg_put_text(&args, op->alias);
  pg_put_int(&args, op->version);
  pg_put_int(&args, tracking_now(req));
  pg_put_text(&args, tracking_actor(req));
  run_or_fail(op, &args, on_done_to_version);
}

static void delete_alias(struct http_req *req) {
  AUTO_JSON json_t *tree = NULL;
  struct registry_op *op = new_op(req);
  if (!op || !read_fields(op, alias_fields, 2, &tree))
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_ALIAS_DELETE);
  pg_put_text(&args, op->name);
  pg_put_text(&args, op->alias);
  pg_put_int(&args, tracking_now(req));
  pg_put_text(&args, tracking_actor(req));
  run_or_fail(op, &args, on_done_to_model);
}

static void on_alias(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  const struct pg_reply *model = pg_nth(reply, 0), *version = pg_nth(reply, 1);
  if (pg_rows(model) == 0)
    reply_no_model(op);
  else if (pg_rows(version) == 0)
    mlflow_reply_error(op->req, 400, "INVALID_PARAMETER_VALUE", "Registered model alias %.*s not found.", STR_ARG(op->alias));
  else
    reply_version(op->req, version);
}

static void get_alias(struct http_req *req) {
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct registry_op *op = new_op(req);
  if (!op || !read_fields(op, alias_fields, 2, &tree))
    return;
  pg_put_text(pg_batch_add(&batch, STMT_MODEL_GET), op->name);
  if (str_eq_nocase(op->alias, STR("latest"))) {
    pg_put_text(pg_batch_add(&batch, STMT_VERSION_NEWEST), op->name);
  } else {
    struct pg_args *args = pg_batch_add(&batch, STMT_VERSION_BY_ALIAS);
    pg_put_text(args, op->name);
    pg_put_text(args, op->alias);
  }
  if (!pg_run_batch(pool(op), &batch, 0, on_alias, op, &err))
    fail(op, &err);
}

/* ---- searches ---- */

struct search_args {
  struct mlflow_search_args common;
};

static const struct mlflow_field search_fields[] = {
    {"filter", MLFLOW_STR, false, offsetof(struct search_args, common.filter), 0},
    {"max_results", MLFLOW_INT, false, offsetof(struct search_args, common.max_results), 0},
    {"order_by", MLFLOW_ARRAY, false, offsetof(struct search_args, common.order_by), 0},
    {"page_token", MLFLOW_STR, false, offsetof(struct search_args, common.page_token), 0},
};

/* A page of models, kept while their newest versions are read. */
struct model_page {
  struct mlflow_search *search;
  struct model_row *rows;
  size_t count;
  struct str token; /* p NULL: the last page */
};

static void on_newest(void *ctx, const struct pg_reply *reply) {
  struct model_page *page = ctx;
  struct http_req *req = page->search->req;
  if (!mlflow_pg_ok(req, reply))
    return;
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "registered_models");
  jw_array(&w);
  for (size_t i = 0; i < page->count; i++)
    put_model(&w, &page->rows[i], reply);
  jw_array_end(&w);
  if (page->token.p)
    jw_put_str(&w, "next_page_token", page->token);
  jw_object_end(&w);
  http_reply_json(req, 200, &body);
}

static bool keep_text(struct arena *arena, struct str *text) {
  if (!text->p)
    return true;
  text->p = arena_strdup(arena, *text);
  return text->p != NULL;
}

static bool keep_page(struct model_page *page, const struct pg_reply *reply) {
  struct arena *arena = http_req_arena(page->search->req);
  AUTO_BUF struct buf token = BUF_INIT(MIB);
  page->count = mlflow_search_rows(page->search, reply);
  page->rows = ARENA_NEW_ARRAY(arena, struct model_row, page->count);
  for (size_t i = 0; page->rows && i < page->count; i++) {
    struct model_row *row = &page->rows[i];
    model_row_read(reply, i, row);
    if (!keep_text(arena, &row->name) || !keep_text(arena, &row->description) || !keep_text(arena, &row->tags) ||
        !keep_text(arena, &row->aliases))
      return false;
  }
  if (mlflow_search_token(page->search, reply, MODEL_COLUMNS, &token))
    page->token = buf_str(&token);
  return page->rows && keep_text(arena, &page->token);
}

static void on_models_found(void *ctx, const struct pg_reply *reply) {
  struct mlflow_search *op = ctx;
  struct err err;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0) {
    mlflow_reply_done(op->req);
    return;
  }
  struct model_page *page = ARENA_NEW(http_req_arena(op->req), struct model_page);
  if (page)
    page->search = op;
  if (!page || !keep_page(page, reply)) {
    err_no_memory(&err);
    http_reply_error(op->req, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_MODEL_LATEST);
  pg_begin_array(&args);
  for (size_t i = 0; i < page->count; i++)
    pg_put_text(&args, page->rows[i].name);
  pg_end_array(&args);
  if (!pg_run(web_app(op->req)->pg, &args, 0, on_newest, page, &err))
    http_reply_error(op->req, &err);
}

static void put_found_version(struct json_writer *w, const struct pg_reply *reply, size_t i) {
  struct version_row row;
  version_row_read(reply, i, &row);
  put_version(w, &row);
}

static void on_versions_found(void *ctx, const struct pg_reply *reply) {
  struct mlflow_search *op = ctx;
  if (mlflow_pg_ok(op->req, reply))
    mlflow_search_reply(op, reply, "model_versions", VERSION_COLUMNS, put_found_version);
}

static void put_streamed(struct mlflow_search *op UNUSED, struct json_writer *w, const struct pg_reply *reply) {
  put_found_version(w, reply, 0);
}

static bool search(struct mlflow_search *op, const struct search_args *in, enum filter_domain domain, struct err *err) {
  bool models = domain == FILTER_REGISTERED_MODELS;
  long long wanted = in->common.max_results, most = models ? MODELS_MAX : VERSIONS_MAX;
  if (wanted < 1 || wanted > most)
    return err_set(err, ERR_INVALID,
                   "Invalid value \"%lld\" for parameter 'max_results' supplied. It must be a positive integer, at most %lld", wanted,
                   most);
  op->search.domain = domain;
  if (!mlflow_search_parse(op, &in->common, err))
    return false;
  if (!models && op->max_results >= SEARCH_STREAM_FROM)
    return mlflow_search_stream(op, STMT_VERSION_SEARCH, "model_versions", "next_page_token", VERSION_COLUMNS, put_streamed, err);
  return mlflow_search_run(op, models ? STMT_MODEL_SEARCH : STMT_VERSION_SEARCH, models ? on_models_found : on_versions_found, err);
}

static void begin_search(struct http_req *req, enum filter_domain domain, int64_t default_max) {
  struct search_args in = {.common.max_results = default_max};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  if (!mlflow_args(req, search_fields, ARRAY_LEN(search_fields), &in, &tree))
    return;
  struct mlflow_search *op = ARENA_NEW(http_req_arena(req), struct mlflow_search);
  if (op)
    op->req = req;
  if (op ? !search(op, &in, domain, &err) : !err_no_memory(&err))
    http_reply_error(req, &err);
}

static void search_models(struct http_req *req) {
  begin_search(req, FILTER_REGISTERED_MODELS, MODELS_DEFAULT);
}

static void search_versions(struct http_req *req) {
  begin_search(req, FILTER_MODEL_VERSIONS, VERSIONS_DEFAULT);
}

/* ---- files of a version ---- */

static void on_version_place(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  struct version_row row;
  AUTO_BUF struct buf base = BUF_INIT(64 * KIB);
  struct err err;
  struct str root;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0) {
    reply_no_version(op);
    return;
  }
  version_row_read(reply, 0, &row);
  struct artifact_store *store = web_app(op->req)->artifacts;
  if (!store || !artifact_path_of_uri(store, row.storage_location, &base) || !artifact_path_check(buf_str(&base), &root, &err)) {
    err_set(&err, ERR_INVALID, "the files of this version are not stored here");
    fail(op, &err);
    return;
  }
  const char *kept = arena_strdup(http_req_arena(op->req), root);
  struct str path = kept ? files_join(op->req, str_of(kept), op->path) : STR_NONE;
  if (path.p)
    files_reply(op->req, path);
  else
    fail(op, (err_no_memory(&err), &err));
}

static void get_version_artifact(struct http_req *req) {
  struct err err;
  struct str path = http_req_param(req, "path");
  struct registry_op *op = version_op(req);
  if (!op)
    return;
  if (!path.n) {
    mlflow_missing(&err, "path");
    fail(op, &err);
    return;
  }
  if (!artifact_path_check(path, &op->path, &err)) {
    fail(op, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_GET);
  put_version_key(&args, op);
  run_or_fail(op, &args, on_version_place);
}

const struct route mlflow_registry_routes[] = {
    MLFLOW_WRITE("/registered-models/create", create_model, "Make a registered model"),
    MLFLOW_CURATE(HTTP_POST, "/registered-models/rename", rename_model, "Rename a registered model"),
    MLFLOW_PATCH("/registered-models/update", update_model, "Describe a registered model"),
    MLFLOW_CURATE(HTTP_DELETE, "/registered-models/delete", delete_model, "Remove a registered model and its versions"),
    MLFLOW_GET("/registered-models/get", get_model, "One registered model"),
    MLFLOW_GET("/registered-models/search", search_models, "Search registered models"),
    MLFLOW_ASK("/registered-models/get-latest-versions", get_latest_versions, "The newest version of each stage"),
    MLFLOW_GET("/registered-models/get-latest-versions", get_latest_versions, "The newest version of each stage"),
    MLFLOW_WRITE("/registered-models/set-tag", set_model_tag, "Set a tag"),
    MLFLOW_DELETE("/registered-models/delete-tag", delete_model_tag, "Remove a tag"),
    MLFLOW_CURATE(HTTP_POST, "/registered-models/alias", set_alias, "Let an alias name a version"),
    MLFLOW_CURATE(HTTP_DELETE, "/registered-models/alias", delete_alias, "Remove an alias"),
    MLFLOW_GET("/registered-models/alias", get_alias, "The version that an alias names"),
    MLFLOW_WRITE("/model-versions/create", create_version, "Register a version"),
    MLFLOW_CURATE(HTTP_PATCH, "/model-versions/update", update_version, "Describe a version"),
    MLFLOW_CURATE(HTTP_POST, "/model-versions/transition-stage", transition_stage, "Move a version to another stage"),
    MLFLOW_CURATE(HTTP_DELETE, "/model-versions/delete", delete_version, "Remove a version"),
    MLFLOW_GET("/model-versions/get", get_version, "One version"),
    MLFLOW_GET("/model-versions/search", search_versions, "Search versions"),
    MLFLOW_GET("/model-versions/get-download-uri", get_download_uri, "Where the files of a version are"),
    MLFLOW_CURATE(HTTP_POST, "/model-versions/set-tag", set_version_tag, "Set a tag of a version"),
    MLFLOW_CURATE(HTTP_DELETE, "/model-versions/delete-tag", delete_version_tag, "Remove a tag of a version"),
};
const size_t mlflow_registry_route_count = ARRAY_LEN(mlflow_registry_routes);

const struct route mlflow_version_file_routes[] = {
    MLFLOW_GET("/model-versions/get-artifact", get_version_artifact, "A file of a version"),
};
const size_t mlflow_version_file_route_count = ARRAY_LEN(mlflow_version_file_routes);
