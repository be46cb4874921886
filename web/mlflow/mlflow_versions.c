/* MLflow's protocol: versions of models, their aliases and files. */
#include "base/file.h"
#include "tracker/names.h"
#include "tracker/packed.h"
#include "web/mlflow/mlflow_files.h"
#include "web/mlflow/mlflow_registry_inside.h"
#include "web/mlflow/mlflow_tables.h"
#include "web/registry.h"
#include "web/tracking.h"

/* ---- versions ---- */

static void reply_version(struct http_req *req, const struct pg_reply *reply) {
  struct version_row row;
  version_row_read(reply, 0, &row);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "model_version");
  registry_put_version(&w, &row);
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

/* "file://host/..." of another machine. */
static bool is_far_file(struct str source) {
  return str_starts_nocase(source, STR("file://")) && source.n > 7 && source.p[7] != '/' && file_uri_path(source).n == source.n;
}

static bool create_checked(struct http_req *req, struct create_args *in, struct err *err) {
  AUTO_BUF struct buf tags = BUF_INIT(MLFLOW_TAGS_MAX);
  if (in->version.model_id.n && !(str_starts(in->version.model_id, STR("m-")) && in->version.model_id.n == ID_HEX_LEN + 2))
    return err_set(err, ERR_NOT_FOUND, "Logged model with ID '%.*s' not found.", STR_ARG(str_slice(in->version.model_id, 0, 100)));
  if (!mlflow_pack(in->tags, "tags", registry_check_tag, NULL, &tags, err))
    return false;
  const char *copy = arena_strdup(http_req_arena(req), buf_str(&tags));
  if (!copy)
    return err_no_memory(err);
  in->version.tags = str_n(copy, tags.n);
  in->version.is_prompt = registry_tags_make_prompt(in->tags);
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
  if (!mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree))
    return;
  if (is_far_file(in.version.source)) /* as MLflow answers it, and tests */
    mlflow_reply_error(req, 500, "INTERNAL_ERROR", "'%.*s' is not a valid remote uri: file: names paths of this machine",
                       STR_ARG(str_slice(in.version.source, 0, 200)));
  else if (!create_checked(req, &in, &err))
    http_reply_error(req, &err);
}

static const struct mlflow_field version_fields[] = {
    REGISTRY_FIELD("name", MLFLOW_STR, true, name),
    REGISTRY_FIELD("version", MLFLOW_ID, true, version_text),
    REGISTRY_FIELD("description", MLFLOW_STR, false, description),
    REGISTRY_FIELD("key", MLFLOW_STR, false, key),
    REGISTRY_FIELD("value", MLFLOW_STR, false, value),
};

/* `name`, `version` and the first `more` of description, key, value; NULL when answered. */
static struct registry_op *version_op(struct http_req *req) {
  AUTO_JSON json_t *tree = NULL;
  struct registry_op *op = registry_op_new(req);
  return op && registry_read_fields(op, version_fields, ARRAY_LEN(version_fields), &tree) ? op : NULL;
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
    registry_no_version(op);
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
  registry_run(op, &args, on_version);
}

/* A batch of a change (no row: no such version), and the reading of the version. */
static void on_version_changed(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(pg_nth(reply, 0)) == 0 || pg_rows(pg_nth(reply, 1)) == 0)
    registry_no_version(op);
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
  if (!text_fits(op->description, DESCRIPTION_MAX, "description", &err) ||
      !pg_run_batch(registry_pool(op), &batch, 0, on_version_changed, op, &err))
    registry_fail(op, &err);
}

static bool transition(struct registry_op *op, struct err *err) {
  int64_t stage;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  if (!model_stage_parse(op->stage, &stage))
    return registry_bad_stage(err, op->stage);
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
  return pg_run_batch(registry_pool(op), &batch, 0, on_version_changed, op, err);
}

static void transition_stage(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      REGISTRY_FIELD("name", MLFLOW_STR, true, name),
      REGISTRY_FIELD("version", MLFLOW_ID, true, version_text),
      REGISTRY_FIELD("stage", MLFLOW_STR, true, stage),
      {"archive_existing_versions", MLFLOW_BOOL, false, offsetof(struct registry_op, archive), offsetof(struct registry_op, has_archive)},
  };
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct registry_op *op = registry_op_new(req);
  if (op && registry_read_fields(op, fields, ARRAY_LEN(fields), &tree) && !transition(op, &err))
    registry_fail(op, &err);
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
    registry_no_version(op);
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
  registry_run(op, &args, on_version_deleted);
}

static void on_download_uri(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  struct version_row row;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0) {
    registry_no_version(op);
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
  registry_run(op, &args, on_download_uri);
}

static void set_version_tag(struct http_req *req) {
  struct err err;
  AUTO_BUF struct buf packed = BUF_INIT(4 * MIB);
  struct registry_op *op = version_op(req);
  if (!op)
    return;
  if (!op->key.n ? !mlflow_missing(&err, "key")
                 : !registry_check_tag(op->key, &op->value, "", &err) || !mlflow_pack_one(op->key, op->value, &packed, &err)) {
    registry_fail(op, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_SET_TAGS);
  put_version_key(&args, op);
  pg_put_jsonb(&args, buf_str(&packed));
  registry_run(op, &args, registry_on_done_to_version);
}

static void delete_version_tag(struct http_req *req) {
  struct err err;
  struct registry_op *op = version_op(req);
  if (!op)
    return;
  if (!op->key.n ? !mlflow_missing(&err, "key") : !key_check(op->key, "key", &err)) {
    registry_fail(op, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_DELETE_TAG);
  put_version_key(&args, op);
  pg_put_text(&args, op->key);
  registry_run(op, &args, registry_on_done_to_version);
}

/* ---- aliases ---- */

static const struct mlflow_field alias_fields[] = {
    REGISTRY_FIELD("name", MLFLOW_STR, true, name),
    REGISTRY_FIELD("alias", MLFLOW_STR, true, alias),
    REGISTRY_FIELD("version", MLFLOW_ID, true, version_text),
};

static void set_alias(struct http_req *req) {
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct registry_op *op = registry_op_new(req);
  if (!op || !registry_read_fields(op, alias_fields, ARRAY_LEN(alias_fields), &tree))
    return;
  if (!alias_check(op->alias, &err)) {
    registry_fail(op, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_ALIAS_SET);
  pg_put_text(&args, op->name);
  pg_put_text(&args, op->alias);
  pg_put_int(&args, op->version);
  pg_put_int(&args, tracking_now(req));
  pg_put_text(&args, tracking_actor(req));
  registry_run(op, &args, registry_on_done_to_version);
}

static void delete_alias(struct http_req *req) {
  AUTO_JSON json_t *tree = NULL;
  struct registry_op *op = registry_op_new(req);
  struct err err;
  if (!op || !registry_read_fields(op, alias_fields, 2, &tree))
    return;
  if (!alias_form_check(op->alias, &err)) {
    registry_fail(op, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_ALIAS_DELETE);
  pg_put_text(&args, op->name);
  pg_put_text(&args, op->alias);
  pg_put_int(&args, tracking_now(req));
  pg_put_text(&args, tracking_actor(req));
  registry_run(op, &args, registry_on_done_to_model);
}

static void on_alias(void *ctx, const struct pg_reply *reply) {
  struct registry_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  const struct pg_reply *model = pg_nth(reply, 0), *version = pg_nth(reply, 1);
  if (pg_rows(model) == 0)
    registry_no_model(op);
  else if (pg_rows(version) == 0 && str_eq_nocase(op->alias, STR("latest")))
    mlflow_reply_error(op->req, 404, "RESOURCE_DOES_NOT_EXIST", "Latest version not found for model %.*s.", STR_ARG(op->name));
  else if (pg_rows(version) == 0)
    mlflow_reply_error(op->req, 400, "INVALID_PARAMETER_VALUE", "Registered model alias %.*s not found.", STR_ARG(op->alias));
  else
    reply_version(op->req, version);
}

static void get_alias(struct http_req *req) {
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct registry_op *op = registry_op_new(req);
  if (!op || !registry_read_fields(op, alias_fields, 2, &tree))
    return;
  if (!alias_form_check(op->alias, &err)) {
    registry_fail(op, &err);
    return;
  }
  pg_put_text(pg_batch_add(&batch, STMT_MODEL_GET), op->name);
  if (str_eq_nocase(op->alias, STR("latest"))) {
    pg_put_text(pg_batch_add(&batch, STMT_VERSION_NEWEST), op->name);
  } else {
    struct pg_args *args = pg_batch_add(&batch, STMT_VERSION_BY_ALIAS);
    pg_put_text(args, op->name);
    pg_put_text(args, op->alias);
  }
  if (!pg_run_batch(registry_pool(op), &batch, 0, on_alias, op, &err))
    registry_fail(op, &err);
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
    registry_no_version(op);
    return;
  }
  version_row_read(reply, 0, &row);
  struct artifact_store *store = web_app(op->req)->artifacts;
  if (!store || !artifact_path_of_uri(store, row.storage_location, &base) || !artifact_path_check(buf_str(&base), &root, &err)) {
    err_set(&err, ERR_INVALID, "the files of this version are not stored here");
    registry_fail(op, &err);
    return;
  }
  const char *kept = arena_strdup(http_req_arena(op->req), root);
  struct str path = kept ? files_join(op->req, str_of(kept), op->path) : STR_NONE;
  if (path.p)
    files_reply(op->req, path);
  else
    registry_fail(op, (err_no_memory(&err), &err));
}

static void get_version_artifact(struct http_req *req) {
  struct err err;
  struct str path = http_req_param(req, "path");
  struct registry_op *op = version_op(req);
  if (!op)
    return;
  if (!path.n) {
    mlflow_missing(&err, "path");
    registry_fail(op, &err);
    return;
  }
  if (!artifact_path_check(path, &op->path, &err)) {
    registry_fail(op, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_GET);
  put_version_key(&args, op);
  registry_run(op, &args, on_version_place);
}

const struct route mlflow_version_routes[] = {
    MLFLOW_CURATE(HTTP_POST, "/registered-models/alias", REACH_VERSION, set_alias, "Let an alias name a version"),
    MLFLOW_CURATE(HTTP_DELETE, "/registered-models/alias", REACH_VERSION, delete_alias, "Remove an alias"),
    MLFLOW_GET("/registered-models/alias", REACH_ANY, get_alias, "The version that an alias names"),
    MLFLOW_WRITE("/model-versions/create", REACH_NEW_VERSION, create_version, "Register a version"),
    MLFLOW_CURATE(HTTP_PATCH, "/model-versions/update", REACH_VERSION, update_version, "Describe a version"),
    MLFLOW_CURATE(HTTP_POST, "/model-versions/transition-stage", REACH_VERSION, transition_stage, "Move a version to another stage"),
    MLFLOW_CURATE(HTTP_DELETE, "/model-versions/delete", REACH_VERSION, delete_version, "Remove a version"),
    MLFLOW_GET("/model-versions/get", REACH_ANY, get_version, "One version"),
    MLFLOW_GET("/model-versions/get-download-uri", REACH_ANY, get_download_uri, "Where the files of a version are"),
    MLFLOW_CURATE(HTTP_POST, "/model-versions/set-tag", REACH_VERSION, set_version_tag, "Set a tag of a version"),
    MLFLOW_CURATE(HTTP_DELETE, "/model-versions/delete-tag", REACH_VERSION, delete_version_tag, "Remove a tag of a version"),
};
const size_t mlflow_version_route_count = ARRAY_LEN(mlflow_version_routes);

const struct route mlflow_version_file_routes[] = {
    MLFLOW_GET("/model-versions/get-artifact", REACH_ANY, get_version_artifact, "A file of a version"),
};
const size_t mlflow_version_file_route_count = ARRAY_LEN(mlflow_version_file_routes);
