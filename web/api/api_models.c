/* /api/v1: the model registry. */
#include "web/api/api_models.h"
#include "sweeper/machine/system_series.h"
#include "tracker/artifacts/artifact_store.h"
#include "tracker/names.h"
#include "tracker/packed.h"
#include "web/api/api_files.h"
#include "web/api/api_runs.h"
#include "web/mlflow/mlflow_files.h"
#include "web/registry.h"
#include "web/tables.h"
#include "web/tracking.h"

/* One request under way; texts live as long as the request. */
struct model_op {
  struct http_req *req;
  struct str name, alias, path;
  int64_t version;
  int status;
  size_t read_at; /* in a batch: where the object is read */
  struct version_request make;
};

static struct model_op *new_op(struct http_req *req) {
  struct model_op *op = HTTP_REQ_NEW(req, struct model_op);
  if (op)
    *op = (struct model_op){.req = req, .status = 200, .name = http_req_value(req, "name")};
  return op;
}

static struct pg_pool *pool(const struct model_op *op) {
  return web_app(op->req)->pg;
}

static void fail(struct model_op *op, const struct err *err) {
  http_reply_error(op->req, err);
}

bool api_no_model(struct str name, struct err *err) {
  err_set(err, ERR_NOT_FOUND, "there is no model \"%.*s\"", STR_ARG(str_slice(name, 0, 200)));
  return err_hint(err, "`winnow model ls` lists them");
}

bool api_no_version(struct str model, int64_t version, struct err *err) {
  err_set(err, ERR_NOT_FOUND, "there is no version %lld of the model \"%.*s\"", (long long)version, STR_ARG(str_slice(model, 0, 200)));
  return err_hint(err, "`winnow model show %.*s` lists them", STR_ARG(str_slice(model, 0, 200)));
}

bool api_read_version(const struct http_req *req, int64_t *ret, struct err *err) {
  struct str text = http_req_value(req, "version");
  if (str_to_i64(text, ret) && *ret >= 1 && *ret <= INT32_MAX)
    return true;
  return err_set(err, ERR_NOT_FOUND, "there is no version \"%.*s\" of this model", STR_ARG(str_slice(text, 0, 64)));
}

/* ---- how they look ---- */

static void put_model(struct json_writer *w, const struct model_row *row) {
  struct str alias, version;
  jw_object(w);
  jw_put_str(w, "name", row->name);
  jw_put_str(w, "description", row->description);
  jw_put_i64(w, "created", row->created);
  jw_put_i64(w, "updated", row->updated);
  jw_key(w, "tags");
  jw_raw(w, row->tags);
  api_put_i64(w, "latest_version", row->latest_version ? row->latest_version : INT64_MIN);
  jw_key(w, "aliases");
  jw_object(w);
  for (size_t cursor = 0; row->aliases.p && packed_next(row->aliases, &cursor, &alias, &version);) {
    AUTO_BUF struct buf text = BUF_INIT(4 * KIB);
    packed_unquote(alias, &text);
    jw_key_str(w, buf_str(&text));
    jw_raw(w, version);
  }
  jw_object_end(w);
  jw_object_end(w);
}

/* Where a source lies below its run's artifacts: what follows "/artifacts/", or the run in runs:/; "" is all of them. */
static struct str path_of_source(struct str location) {
  struct str mark = STR("/artifacts/"), path;
  struct id run;
  if (run_uri_parse(location, &run, &path))
    return path;
  size_t at = str_find_str(location, mark);
  if (at == SIZE_MAX)
    return str_ends(location, STR("/artifacts")) ? STR("") : STR_NONE;
  return str_slice(location, at + mark.n, location.n);
}

struct str api_version_path(const struct version_row *row) {
  struct str path = path_of_source(row->source);
  return path.p ? path : path_of_source(row->storage_location);
}

/* {"acc": "last ..."} as {"acc": last}. How much memory its job took is nothing about a model. */
static void put_metrics(struct json_writer *w, struct str packed) {
  struct str key, value, items[METRIC_ITEMS];
  jw_key(w, "metrics");
  jw_object(w);
  for (size_t cursor = 0; packed_next(packed, &cursor, &key, &value);) {
    AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
    if (!packed_metric(value, items))
      continue;
    packed_unquote(key, &text);
    if (str_starts(buf_str(&text), STR(SYSTEM_SERIES_PREFIX)))
      continue;
    jw_key_str(w, buf_str(&text));
    jw_raw(w, items[METRIC_LAST]);
  }
  jw_object_end(w);
}

static void put_version(struct json_writer *w, const struct version_row *row) {
  struct pg_array aliases = row->aliases;
  char digest[65];
  jw_object(w);
  jw_put_str(w, "name", row->name);
  jw_put_i64(w, "version", row->version);
  jw_put_text(w, "stage", model_stage_name(row->stage));
  jw_key(w, "aliases");
  jw_array(w);
  while (pg_array_next(&aliases))
    jw_str(w, pg_item_text(&aliases));
  jw_array_end(w);
  jw_key(w, "tags");
  jw_raw(w, row->tags);
  jw_put_str(w, "run_id", row->run_id.n ? row->run_id : STR_NONE);
  api_put_id(w, "sweep_id", row->sweep_id, !id_is_zero(row->sweep_id));
  jw_put_str(w, "model_id", row->model_id.n ? row->model_id : STR_NONE);
  jw_put_str(w, "source", row->source);
  jw_put_str(w, "path", api_version_path(row));
  if (row->digest.n == 32)
    hex_encode(row->digest.p, 32, digest);
  jw_put_text(w, "digest", row->digest.n == 32 ? digest : NULL);
  api_put_i64(w, "size", row->size < 0 ? INT64_MIN : row->size);
  put_metrics(w, row->metrics);
  jw_put_str(w, "description", row->description);
  jw_put_text(w, "state", model_status_name(row->status));
  jw_put_i64(w, "created", row->created);
  jw_put_i64(w, "updated", row->updated);
  jw_object_end(w);
}

/* ---- models ---- */

static void reply_model(struct model_op *op, const struct pg_reply *reply) {
  struct model_row row;
  struct err err;
  if (pg_rows(reply) == 0) {
    api_no_model(op->name, &err);
    fail(op, &err);
    return;
  }
  model_row_read(reply, 0, &row);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  put_model(&w, &row);
  http_reply_json(op->req, op->status, &body);
}

static void on_model(void *ctx, const struct pg_reply *reply) {
  struct model_op *op = ctx;
  struct err err;
  if (pg_ok(reply, &err))
    reply_model(op, reply);
  else
    fail(op, &err);
}

/* The model that the address names. */
static bool ask_model(struct http_req *req, pg_done_fn *done, void *ctx, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_MODEL_GET);
  pg_put_text(&args, http_req_value(req, "name"));
  return pg_run(web_app(req)->pg, &args, 0, done, ctx, err);
}

static void get_model(struct http_req *req) {
  struct model_op *op = new_op(req);
  struct err err;
  if (op && !ask_model(req, on_model, op, &err))
    fail(op, &err);
}

/* A batch whose last statement reads the model; the first says whether it is there. */
static void on_model_changed(void *ctx, const struct pg_reply *reply) {
  struct model_op *op = ctx;
  struct err err;
  if (strcmp(pg_sqlstate(reply), "23505") == 0)
    err_set(&err, ERR_EXISTS, "there is a model of that name already");
  else if (pg_ok(reply, &err)) {
    if (pg_rows(pg_nth(reply, 0))) {
      reply_model(op, pg_nth(reply, op->read_at));
      return;
    }
    if (op->status == 201)
      err_set(&err, ERR_EXISTS, "there is a model \"%.*s\" already", STR_ARG(str_slice(op->name, 0, 200)));
    else
      api_no_model(http_req_value(op->req, "name"), &err);
  }
  fail(op, &err);
}

static bool run_model_batch(struct model_op *op, struct pg_batch *batch, struct err *err) {
  op->read_at = batch->count;
  pg_put_text(pg_batch_add(batch, STMT_MODEL_GET), op->name);
  return pg_run_batch(pool(op), batch, 0, on_model_changed, op, err);
}

struct model_body {
  struct str name, description;
  bool has_description;
  const json_t *tags;
};

bool api_keep(struct http_req *req, struct str text, struct str *ret, struct err *err) {
  const char *copy = arena_strdup(http_req_arena(req), text);
  *ret = str_n(copy, text.n);
  return copy || err_no_memory(err);
}

static bool create(struct model_op *op, const struct model_body *in, struct err *err) {
  AUTO_BUF struct buf tags = BUF_INIT(64 * MIB);
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  const struct str *removed;
  size_t removed_count;
  if (!api_name_check(in->name.p ? in->name : STR(""), err) || !model_name_check(in->name, "name", err) ||
      !text_fits(in->description, DESCRIPTION_MAX, "description", err) ||
      !api_tags(op->req, in->tags, REGISTRY_TAG_VALUE_MAX, &tags, &removed, &removed_count, err) ||
      !api_keep(op->req, in->name, &op->name, err))
    return false;
  op->status = 201;
  struct pg_args *args = pg_batch_add(&batch, STMT_MODEL_CREATE);
  pg_put_text(args, op->name);
  pg_put_int(args, tracking_now(op->req));
  pg_put_text(args, in->description);
  pg_put_jsonb(args, buf_str(&tags));
  return run_model_batch(op, &batch, err);
}

static const struct json_field model_fields[] = {
    {"name", JSON_F_STR, offsetof(struct model_body, name), .nullable = true},
    {"description", JSON_F_STR, offsetof(struct model_body, description), .nullable = true,
     .present_at = offsetof(struct model_body, has_description)},
    {"tags", JSON_F_OBJECT, offsetof(struct model_body, tags), .nullable = true},
};

static bool read_model_body(struct http_req *req, struct model_body *ret, json_t **tree, struct err *err) {
  return api_body(req, tree, err) && json_decode(*tree, model_fields, ARRAY_LEN(model_fields), "", ret, err);
}

static void create_model(struct http_req *req) {
  struct model_body in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct model_op *op = new_op(req);
  if (op && !(read_model_body(req, &in, &tree, &err) && create(op, &in, &err)))
    fail(op, &err);
}

static bool patch(struct model_op *op, const struct model_body *in, struct err *err) {
  AUTO_BUF struct buf tags = BUF_INIT(64 * MIB);
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  const struct str *removed;
  size_t removed_count;
  if (!api_tags(op->req, in->tags, REGISTRY_TAG_VALUE_MAX, &tags, &removed, &removed_count, err) || !api_name_check(in->name, err) ||
      (in->name.p && !model_name_check(in->name, "name", err)) || !text_fits(in->description, DESCRIPTION_MAX, "description", err))
    return false;
  struct pg_args *args = pg_batch_add(&batch, STMT_MODEL_SET_TAGS);
  pg_put_text(args, op->name);
  pg_put_jsonb(args, buf_str(&tags));
  for (size_t i = 0; i < removed_count; i++) {
    args = pg_batch_add(&batch, STMT_MODEL_DELETE_TAG);
    pg_put_text(args, op->name);
    pg_put_text(args, removed[i]);
  }
  if (in->has_description) {
    args = pg_batch_add(&batch, STMT_MODEL_DESCRIBE);
    pg_put_text(args, op->name);
    pg_put_text(args, in->description);
    pg_put_int(args, tracking_now(op->req));
  }
  if (in->name.n && !str_eq(in->name, op->name)) {
    args = pg_batch_add(&batch, STMT_MODEL_RENAME);
    pg_put_text(args, op->name);
    pg_put_text(args, in->name);
    pg_put_int(args, tracking_now(op->req));
    pg_put_text(args, tracking_actor(op->req));
    if (!api_keep(op->req, in->name, &op->name, err))
      return false;
  }
  return run_model_batch(op, &batch, err);
}

static void patch_model(struct http_req *req) {
  struct model_body in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct model_op *op = new_op(req);
  if (op && !(read_model_body(req, &in, &tree, &err) && patch(op, &in, &err)))
    fail(op, &err);
}

static void on_copy_gone(void *ctx, const struct err *err UNUSED) {
  struct model_op *op = ctx;
  http_reply_empty(op->req, 204); /* the model, or the version, is deleted; a copy left behind is found by gc */
}

static void on_model_deleted(void *ctx, const struct pg_reply *reply) {
  struct model_op *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err) || (pg_rows(reply) == 0 && !api_no_model(op->name, &err)))
    fail(op, &err);
  else if (!model_files_remove(op->req, pg_int(reply, 0, 0), on_copy_gone, op))
    http_reply_empty(op->req, 204);
}

static void delete_model(struct http_req *req) {
  struct model_op *op = new_op(req);
  struct err err;
  if (!op)
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_MODEL_DELETE);
  pg_put_text(&args, op->name);
  pg_put_int(&args, tracking_now(op->req));
  pg_put_text(&args, tracking_actor(op->req));
  if (!pg_run(pool(op), &args, 0, on_model_deleted, op, &err))
    fail(op, &err);
}

/* ---- lists ---- */

static void put_found_model(struct mlflow_search *op UNUSED, struct json_writer *w, const struct pg_reply *reply, size_t i) {
  struct model_row row;
  model_row_read(reply, i, &row);
  put_model(w, &row);
}

static void put_found_version(struct mlflow_search *op UNUSED, struct json_writer *w, const struct pg_reply *reply, size_t i) {
  struct version_row row;
  version_row_read(reply, i, &row);
  put_version(w, &row);
}

static const struct mlflow_search_shape model_shape = {STMT_MODEL_PAGE, STMT_MODEL_SEARCH, MODEL_COLUMNS, "items", put_found_model};
static const struct mlflow_search_shape version_shape = {STMT_VERSION_PAGE, STMT_VERSION_SEARCH, VERSION_COLUMNS, "items",
                                                         put_found_version};

/* The versions of a model are found by its name, whatever it contains. */
static bool only_of(struct mlflow_search *op, struct str name, struct err *err) {
  struct filter_clause *clauses = ARENA_NEW_ARRAY(http_req_arena(op->req), struct filter_clause, op->search.filter.count + 1);
  if (!clauses)
    return err_no_memory(err);
  if (op->search.filter.count)
    memcpy(clauses, op->search.filter.clauses, op->search.filter.count * sizeof *clauses);
  clauses[op->search.filter.count] =
      (struct filter_clause){.key = {.entity = FILTER_ATTRIBUTE, .field = FIELD_NAME}, .op = FILTER_EQ, .text = name};
  op->search.filter.clauses = clauses;
  op->search.filter.count++;
  return true;
}

static bool list(struct mlflow_search *op, enum filter_domain domain, struct err *err) {
  static const struct filter_order newest = {.key = {.entity = FILTER_ATTRIBUTE, .field = FIELD_VERSION}, .descending = true};
  struct mlflow_search_args common = {.filter = http_req_param(op->req, "filter"), .more = http_req_value(op->req, "name")};
  bool versions = domain == FILTER_MODEL_VERSIONS;
  if (!api_page(op->req, &common.max_results, &common.page_token, err))
    return false;
  if (!common.filter.p)
    common.filter = STR("");
  op->search.domain = domain;
  if (versions) {
    op->search.order = &newest;
    op->search.order_count = 1;
  }
  op->is_api = true;
  if (!mlflow_search_parse(op, &common, err) || (versions && !only_of(op, http_req_value(op->req, "name"), err)))
    return false;
  return mlflow_search_answer(op, versions ? &version_shape : &model_shape, err);
}

static void list_models(struct http_req *req) {
  struct err err;
  struct mlflow_search *op = mlflow_search_new(req);
  if (op && !list(op, FILTER_REGISTERED_MODELS, &err))
    http_reply_error(req, &err);
}

static void on_model_of_list(void *ctx, const struct pg_reply *reply) {
  struct mlflow_search *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err) || (pg_rows(reply) == 0 && !api_no_model(http_req_value(op->req, "name"), &err)) ||
      !list(op, FILTER_MODEL_VERSIONS, &err))
    http_reply_error(op->req, &err);
}

static void list_versions(struct http_req *req) {
  struct mlflow_search *op = mlflow_search_new(req);
  struct err err;
  if (op && !ask_model(op->req, on_model_of_list, op, &err))
    http_reply_error(req, &err);
}

/* ---- versions ---- */

static void reply_version(struct model_op *op, const struct pg_reply *reply) {
  struct version_row row;
  version_row_read(reply, 0, &row);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  put_version(&w, &row);
  http_reply_json(op->req, op->status, &body);
}

static void on_version(void *ctx, const struct pg_reply *reply) {
  struct model_op *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    fail(op, &err);
    return;
  }
  const struct pg_reply *version = pg_nth(reply, op->read_at);
  if (pg_rows(version) == 0) {
    api_no_version(op->name, op->version, &err);
    fail(op, &err);
    return;
  }
  reply_version(op, version);
}

static void put_key(struct pg_args *args, const struct model_op *op) {
  pg_put_text(args, op->name);
  pg_put_int(args, op->version);
}

static bool read_object(struct model_op *op, struct pg_batch *batch, struct err *err) {
  op->read_at = batch->count;
  put_key(pg_batch_add(batch, STMT_VERSION_GET), op);
  return pg_run_batch(pool(op), batch, 0, on_version, op, err);
}

static void get_version(struct http_req *req) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct model_op *op = new_op(req);
  struct err err;
  if (op && !(api_read_version(op->req, &op->version, &err) && read_object(op, &batch, &err)))
    fail(op, &err);
}

struct version_body {
  struct str run_id, path, source, model_id, description, stage;
  bool has_description, archive;
  const json_t *tags;
};

static void on_registered(struct http_req *req, const struct pg_reply *reply, const struct err *err) {
  struct model_op *op = http_req_state(req);
  op->status = 201;
  if (err)
    fail(op, err);
  else
    reply_version(op, reply);
}

static bool register_now(struct model_op *op, struct err *err) {
  http_req_set_state(op->req, op);
  return version_register(op->req, &op->make, on_registered, err);
}

/* Whether a path was named that nothing lies at, as far as we can see. */
static bool is_missing(struct model_op *op, struct str run_uri) {
  struct str place;
  struct err ignored;
  return op->path.n && api_place(op->req, run_uri, op->path, &place, &ignored) && !artifact_is_there(web_app(op->req)->artifacts, place);
}

/* From a run and a path of its artifacts. */
static void on_run(void *ctx, const struct pg_reply *reply) {
  struct model_op *op = ctx;
  struct run_row row;
  struct err err;
  if (!pg_ok(reply, &err)) {
    fail(op, &err);
    return;
  }
  if (pg_rows(reply) == 0) {
    err_set(&err, ERR_NOT_FOUND, "there is no run %.*s", STR_ARG(op->make.run_id));
    fail(op, &err);
    return;
  }
  run_row_read(reply, 0, &row);
  if (is_missing(op, row.artifact_uri)) {
    err_set(&err, ERR_NOT_FOUND, "the run has no artifact \"%.*s\"", STR_ARG(str_slice(op->path, 0, 200)));
    fail(op, &err);
    return;
  }
  op->make.source =
      str_of(arena_printf(http_req_arena(op->req), "%.*s%s%.*s", STR_ARG(row.artifact_uri), op->path.n ? "/" : "", STR_ARG(op->path)));
  if (!op->make.source.p ? !err_no_memory(&err) : !register_now(op, &err))
    fail(op, &err);
}

static bool create_version_now(struct model_op *op, const struct version_body *in, struct err *err) {
  AUTO_BUF struct buf tags = BUF_INIT(64 * MIB);
  const struct str *removed;
  size_t removed_count;
  struct id run;
  char hex[ID_HEX_LEN + 1];
  struct str path = STR_NONE;
  if (!api_tags(op->req, in->tags, REGISTRY_TAG_VALUE_MAX, &tags, &removed, &removed_count, err) ||
      !artifact_below_check(path_from_here(in->path.p ? in->path : STR("")), &path, err))
    return false;
  if (!in->source.n && !in->run_id.n)
    return err_set(err, ERR_INVALID, "\"run_id\" (with \"path\") or \"source\" is missing");
  op->make.name = op->name;
  op->make.must_hold = in->source.n > 0;
  if (!api_keep(op->req, buf_str(&tags), &op->make.tags, err) || !api_keep(op->req, in->description, &op->make.description, err) ||
      !api_keep(op->req, in->source, &op->make.source, err) || !api_keep(op->req, in->model_id, &op->make.model_id, err) ||
      !api_keep(op->req, path, &op->path, err))
    return false;
  if (in->run_id.n) {
    if (!id_parse(in->run_id, &run))
      return err_set(err, ERR_NOT_FOUND, "there is no run \"%.*s\"", STR_ARG(str_slice(in->run_id, 0, 64)));
    id_format(run, hex);
    if (!api_keep(op->req, str_of(hex), &op->make.run_id, err))
      return false;
  }
  if (in->source.n)
    return register_now(op, err);
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUN_GET);
  pg_put_uuid(&args, run);
  return pg_run(pool(op), &args, 0, on_run, op, err);
}

static const struct json_field version_fields[] = {
    {"run_id", JSON_F_STR, offsetof(struct version_body, run_id), .nullable = true},
    {"path", JSON_F_STR, offsetof(struct version_body, path), .nullable = true},
    {"source", JSON_F_STR, offsetof(struct version_body, source), .nullable = true},
    {"model_id", JSON_F_STR, offsetof(struct version_body, model_id), .nullable = true},
    {"description", JSON_F_STR, offsetof(struct version_body, description), .nullable = true,
     .present_at = offsetof(struct version_body, has_description)},
    {"tags", JSON_F_OBJECT, offsetof(struct version_body, tags), .nullable = true},
};

static void create_version(struct http_req *req) {
  struct version_body in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct model_op *op = new_op(req);
  if (op && !(api_body(req, &tree, &err) && json_decode(tree, version_fields, ARRAY_LEN(version_fields), "", &in, &err) &&
              create_version_now(op, &in, &err)))
    fail(op, &err);
}

static const struct json_field version_patch_fields[] = {
    {"stage", JSON_F_STR, offsetof(struct version_body, stage), .nullable = true},
    {"archive_existing", JSON_F_BOOL, offsetof(struct version_body, archive), .nullable = true},
    {"description", JSON_F_STR, offsetof(struct version_body, description), .nullable = true,
     .present_at = offsetof(struct version_body, has_description)},
    {"tags", JSON_F_OBJECT, offsetof(struct version_body, tags), .nullable = true},
};

static bool patch_version_now(struct model_op *op, const struct version_body *in, struct err *err) {
  AUTO_BUF struct buf tags = BUF_INIT(64 * MIB);
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  const struct str *removed;
  size_t removed_count;
  int64_t stage;
  if (!api_tags(op->req, in->tags, REGISTRY_TAG_VALUE_MAX, &tags, &removed, &removed_count, err) ||
      !text_fits(in->description, DESCRIPTION_MAX, "description", err))
    return false;
  struct pg_args *args = pg_batch_add(&batch, STMT_VERSION_SET_TAGS);
  put_key(args, op);
  pg_put_jsonb(args, buf_str(&tags));
  for (size_t i = 0; i < removed_count; i++) {
    args = pg_batch_add(&batch, STMT_VERSION_DELETE_TAG);
    put_key(args, op);
    pg_put_text(args, removed[i]);
  }
  if (in->has_description) {
    args = pg_batch_add(&batch, STMT_VERSION_DESCRIBE);
    put_key(args, op);
    pg_put_text(args, in->description);
    pg_put_int(args, tracking_now(op->req));
  }
  if (in->stage.n) {
    if (!model_stage_parse(in->stage, &stage))
      return err_set(err, ERR_INVALID, "\"stage\" must be None, Staging, Production or Archived, not \"%.*s\"",
                     STR_ARG(str_slice(in->stage, 0, 64)));
    args = pg_batch_add(&batch, STMT_VERSION_STAGE);
    put_key(args, op);
    pg_put_int(args, stage);
    pg_put_bool(args, in->archive);
    pg_put_int(args, tracking_now(op->req));
    pg_put_text(args, tracking_actor(op->req));
  }
  return read_object(op, &batch, err);
}

static void patch_version(struct http_req *req) {
  struct version_body in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct model_op *op = new_op(req);
  if (op && !(api_read_version(op->req, &op->version, &err) && api_body(req, &tree, &err) &&
              json_decode(tree, version_patch_fields, ARRAY_LEN(version_patch_fields), "", &in, &err) && patch_version_now(op, &in, &err)))
    fail(op, &err);
}

static void on_version_deleted(void *ctx, const struct pg_reply *reply) {
  struct model_op *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err) || (pg_rows(reply) == 0 && !api_no_version(op->name, op->version, &err))) {
    fail(op, &err);
    return;
  }
  struct artifact_store *store = web_app(op->req)->artifacts;
  if (pg_is_null(reply, 0, 1) || !store || !artifact_delete(store, pg_text(reply, 0, 1), on_copy_gone, op, &err))
    http_reply_empty(op->req, 204);
}

static void delete_version(struct http_req *req) {
  struct model_op *op = new_op(req);
  struct err err;
  if (!op)
    return;
  if (!api_read_version(op->req, &op->version, &err)) {
    fail(op, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_DELETE);
  put_key(&args, op);
  pg_put_int(&args, tracking_now(req));
  pg_put_text(&args, tracking_actor(req));
  if (!pg_run(pool(op), &args, 0, on_version_deleted, op, &err))
    fail(op, &err);
}

/* ---- aliases ---- */

static bool set_alias_now(struct model_op *op, const json_t *version, struct err *err) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  op->alias = http_req_value(op->req, "alias");
  bool ok = json_is_integer(version) || json_is_string(version);
  if (json_is_integer(version))
    op->version = json_integer_value(version);
  else if (ok)
    ok = str_to_i64(json_str(version), &op->version);
  if (!ok || op->version < 1 || op->version > INT32_MAX)
    return err_set(err, ERR_INVALID, "\"version\" must be the number of a version");
  if (!alias_check(op->alias, err))
    return false;
  struct pg_args *args = pg_batch_add(&batch, STMT_ALIAS_SET);
  pg_put_text(args, op->name);
  pg_put_text(args, op->alias);
  pg_put_int(args, op->version);
  pg_put_int(args, tracking_now(op->req));
  pg_put_text(args, tracking_actor(op->req));
  return read_object(op, &batch, err);
}

static void put_alias(struct http_req *req) {
  const json_t *version = NULL;
  static const struct json_field fields[] = {{"version", JSON_F_ANY, 0, .required = true}};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct model_op *op = new_op(req);
  if (op &&
      !(api_body(req, &tree, &err) && json_decode(tree, fields, ARRAY_LEN(fields), "", &version, &err) && set_alias_now(op, version, &err)))
    fail(op, &err);
}

static void on_alias_deleted(void *ctx, const struct pg_reply *reply) {
  struct model_op *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err) || (pg_rows(reply) == 0 && !api_no_model(op->name, &err)))
    fail(op, &err);
  else
    http_reply_empty(op->req, 204);
}

static void delete_alias(struct http_req *req) {
  struct model_op *op = new_op(req);
  struct err err;
  if (!op)
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_ALIAS_DELETE);
  pg_put_text(&args, op->name);
  pg_put_text(&args, http_req_value(req, "alias"));
  pg_put_int(&args, tracking_now(req));
  pg_put_text(&args, tracking_actor(req));
  if (!pg_run(pool(op), &args, 0, on_alias_deleted, op, &err))
    fail(op, &err);
}

#define ROW(method_word, path_text, policy_word, reach_word, handler_fn, text, request, response)                                        \
  {                                                                                                                                      \
    .method = method_word, .path = path_text, .policy = policy_word, .reach = reach_word, .body = BODY_BUFFER, .max_body = API_BODY_MAX, \
    .handler = handler_fn, .summary = text, .request_schema = request, .response_schema = response                                       \
  }
#define GET_ROW(path_text, handler_fn, text, response, query_text)                                                            \
  {                                                                                                                           \
    .method = HTTP_GET, .path = path_text, .policy = POLICY_READ, .reach = REACH_ANY, .handler = handler_fn, .summary = text, \
    .response_schema = response, .query = query_text                                                                          \
  }

const struct route api_model_routes[] = {
    GET_ROW("/models", list_models, "List registered models", "model_list", "filter:string,limit:integer,cursor:string"),
    {.method = HTTP_POST,
     .path = "/models",
     .policy = POLICY_TRACK,
     .reach = REACH_ANY,
     .body = BODY_BUFFER,
     .max_body = API_BODY_MAX,
     .handler = create_model,
     .creates = CREATES,
     .summary = "Make a registered model",
     .request_schema = "model_new",
     .response_schema = "model"},
    GET_ROW("/models/{name}", get_model, "One registered model", "model", NULL),
    ROW(HTTP_PATCH, "/models/{name}", POLICY_CURATE, REACH_NOTHING, patch_model, "Change name, description or tags", "model_edit", "model"),
    ROW(HTTP_DELETE, "/models/{name}", POLICY_CURATE, REACH_NOTHING, delete_model, "Remove a registered model and its versions", NULL,
        NULL),
    GET_ROW("/models/{name}/versions", list_versions, "List the versions of a model, newest first", "version_list",
            "filter:string,limit:integer,cursor:string"),
    {.method = HTTP_POST,
     .path = "/models/{name}/versions",
     .policy = POLICY_TRACK,
     .reach = REACH_NEW_VERSION,
     .body = BODY_BUFFER,
     .max_body = API_BODY_MAX,
     .handler = create_version,
     .creates = CREATES,
     .summary = "Register a version",
     .request_schema = "version_new",
     .response_schema = "version"},
    GET_ROW("/models/{name}/versions/{version}", get_version, "One version", "version", NULL),
    ROW(HTTP_PATCH, "/models/{name}/versions/{version}", POLICY_CURATE, REACH_VERSION, patch_version, "Change stage, description or tags",
        "version_edit", "version"),
    ROW(HTTP_DELETE, "/models/{name}/versions/{version}", POLICY_CURATE, REACH_VERSION, delete_version,
        "Remove a version; its number stays taken", NULL, NULL),
    ROW(HTTP_PUT, "/models/{name}/aliases/{alias}", POLICY_CURATE, REACH_VERSION, put_alias, "Let an alias name a version", "alias_new",
        "version"),
    ROW(HTTP_DELETE, "/models/{name}/aliases/{alias}", POLICY_CURATE, REACH_VERSION, delete_alias, "Remove an alias", NULL, NULL),
};
const size_t api_model_route_count = ARRAY_LEN(api_model_routes);
