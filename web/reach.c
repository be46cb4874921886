#include "web/reach.h"

#include "base/json.h"
#include "base/json_pull.h"
#include "storage/pg/pg.h"
#include "tracker/artifacts/artifact_store.h"
#include "tracker/model_row.h"
#include "web/app.h"
#include "web/http/http_reply.h"
#include "web/idempotency.h"
#include "web/job_token.h"
#include "web/tracking.h"

enum { NAMES_MAX = 512 };

/* What a request names. */
struct reach_op {
  struct http_req *req;
  struct id ids[NAMES_MAX]; /* of runs, logged models, sweeps */
  int64_t experiments[NAMES_MAX];
  size_t id_count, experiment_count;
  struct str experiment_name;
  struct str model, alias; /* of the registry: a version by its number, or by an alias */
  int64_t version;
  int64_t emptied; /* the stage whose other versions are archived; below 0: none are */
  bool is_path;    /* the address names it: what is no id there, nothing has */
  bool is_full, is_anybodys;
};

static enum route_reach reach_of(const struct reach_op *op) {
  return http_req_route(op->req)->reach;
}

static bool is_reading(const struct reach_op *op) {
  return http_req_route(op->req)->policy == POLICY_READ;
}

static const struct access_principal *job_of(const struct reach_op *op) {
  return web_principal(op->req);
}

/* ---- what is named ---- */

/* "<run id>", "m-<id of a logged model>" */
static bool id_of(struct str text, struct id *ret) {
  return id_parse(str_starts(text, STR("m-")) ? str_slice(text, 2, text.n) : text, ret);
}

bool reach_ids_of_path(struct str path, struct id *ids, size_t max, size_t *ret_count) {
  struct str part;
  *ret_count = 0;
  while (str_split(&path, '/', &part)) {
    struct id id;
    if (!id_of(part, &id))
      continue;
    if (*ret_count == max)
      return false;
    ids[(*ret_count)++] = id;
  }
  return true;
}

static void add_id(struct reach_op *op, struct id id) {
  for (size_t i = 0; i < op->id_count; i++)
    if (id_eq(op->ids[i], id))
      return;
  if (op->id_count == NAMES_MAX)
    op->is_full = true;
  else
    op->ids[op->id_count++] = id;
}

static void add_experiment(struct reach_op *op, int64_t id) {
  if (op->experiment_count == NAMES_MAX)
    op->is_full = true;
  else
    op->experiments[op->experiment_count++] = id;
}

/* A number may have as many digits as an id. */
static void add_text(struct reach_op *op, struct str text) {
  struct id id;
  int64_t experiment;
  if (id_of(text, &id))
    add_id(op, id);
  if (str_to_i64(text, &experiment))
    add_experiment(op, experiment);
}

static void add_run(struct reach_op *op, struct str text) {
  struct id id;
  if (id_parse(text, &id))
    add_id(op, id);
}

static void add_path(struct reach_op *op, struct str path) {
  size_t count;
  op->is_full |= !reach_ids_of_path(path, op->ids + op->id_count, NAMES_MAX - op->id_count, &count);
  op->id_count += count;
}

static void add_json(struct reach_op *op, const json_t *value) {
  size_t i;
  json_t *item;
  if (json_is_string(value))
    add_text(op, json_str(value));
  else if (json_is_integer(value))
    add_experiment(op, json_integer_value(value));
  json_array_foreach(value, i, item) {
    if (json_is_array(item))
      op->is_full = true; /* no handler takes that */
    else
      add_json(op, item);
  }
}

/* NULL when it is not JSON: then it is for the handler to say so. What is too much to be made a tree of is not passed on. */
static json_t *read_tree(struct reach_op *op, struct str text) {
  json_t *tree = NULL;
  struct err err;
  if (!json_read_body(text, &tree, &err))
    op->is_full |= err.code != ERR_INVALID;
  return tree;
}

/* The body as a tree, or NULL. */
static json_t *read_body(struct reach_op *op) {
  json_t *tree = read_tree(op, http_req_body(op->req));
  if (!json_is_string(tree))
    return tree;
  json_t *inner = read_tree(op, json_str(tree)); /* encoded twice by old clients */
  json_decref(tree);
  return inner;
}

/* Texts with escapes, of a body encoded twice: those of both layers. */
static struct arena arena_for(struct str body) {
  return ARENA_INIT(2 * body.n + MIB);
}

/* The reader of hot bodies came to no end. Where the handler, which may read it as a tree, has no fault to find, nothing is known of what
 * the body names. */
static void stop_short(struct reach_op *op) {
  AUTO_JSON json_t *tree = read_body(op);
  op->is_full |= tree != NULL;
}

/* The run of a body that may be a hot one: clients write it first, and nothing is read behind it. */
static void add_run_of_body(struct reach_op *op, struct str body, bool may_be_text, struct arena *arena) {
  AUTO_JSON_PULL struct json_pull pull;
  struct str uuid = STR_NONE;
  json_pull_init(&pull, body, arena);
  enum json_token token = json_pull_next(&pull);
  if (token == JSON_T_STR && may_be_text) { /* encoded twice by old clients */
    add_run_of_body(op, pull.text, false, arena);
    return;
  }
  while (token != JSON_T_ERROR && (token = json_pull_next(&pull)) == JSON_T_KEY) {
    bool is_id = str_is(pull.text, "run_id"), is_uuid = str_is(pull.text, "run_uuid");
    token = json_pull_next(&pull);
    if (is_id && token == JSON_T_STR && pull.text.n) {
      add_text(op, pull.text);
      return;
    }
    if (is_uuid && token == JSON_T_STR)
      uuid = pull.text;
    else if (!json_pull_skip(&pull, token))
      token = JSON_T_ERROR;
  }
  if (token == JSON_T_ERROR)
    stop_short(op);
  add_text(op, uuid);
}

static bool is_key_of_names(struct str key) {
  static const char *const keys[] = {"run_id", "run_uuid",      "run_ids",        "run",         "runs", "base",
                                     "sweep",  "experiment_id", "experiment_ids", "experiments", "topic"};
  for (size_t i = 0; i < ARRAY_LEN(keys); i++)
    if (str_is(key, keys[i]))
      return true;
  return false;
}

/* "<id>", or topics: "run:<id>,log:<id>:stdout" */
static void add_param(struct reach_op *op, const struct http_param *param) {
  struct str topics = param->value, topic, word;
  if (str_is(param->name, "experiment_name"))
    op->experiment_name = op->experiment_name.p ? op->experiment_name : param->value; /* the first, as the handler takes it */
  else if (is_key_of_names(param->name))
    while (str_split(&topics, ',', &topic)) {
      op->is_anybodys |= str_is(str_trim(topic), "queue");
      while (str_split(&topic, ':', &word))
        add_text(op, str_trim(word));
    }
}

static void name_things(struct reach_op *op) {
  static const char *const names[] = {"id", "run", "model_id"};
  for (size_t i = 0; i < ARRAY_LEN(names); i++) {
    struct str text = http_req_value(op->req, names[i]);
    op->is_path |= text.p != NULL;
    add_text(op, text);
  }
  if (op->is_path)
    return;
  if (!is_reading(op)) {
    struct str body = http_req_body(op->req);
    AUTO_ARENA struct arena arena = arena_for(body);
    add_run_of_body(op, body, true, &arena);
    return;
  }
  if (http_req_route(op->req)->body == BODY_NONE)
    for (size_t i = 0; i < http_req_param_count(op->req); i++)
      add_param(op, http_req_param_at(op->req, i));
  AUTO_JSON json_t *tree = read_body(op);
  const char *key;
  json_t *value;
  json_object_foreach(tree, key, value) {
    if (is_key_of_names(str_of(key)))
      add_json(op, value);
  }
}

/* Each point and each output may name one. */
static void add_models(struct reach_op *op, struct str body, bool may_be_text, struct arena *arena) {
  AUTO_JSON_PULL struct json_pull pull;
  bool is_model = false;
  json_pull_init(&pull, body, arena);
  enum json_token token = json_pull_next(&pull);
  if (token == JSON_T_STR && may_be_text) /* encoded twice by old clients */
    add_models(op, pull.text, false, arena);
  for (; token != JSON_T_ERROR && token != JSON_T_END; token = json_pull_next(&pull)) {
    if (is_model && token == JSON_T_STR)
      add_text(op, pull.text);
    is_model = token == JSON_T_KEY && str_is(pull.text, "model_id");
  }
  if (token == JSON_T_ERROR)
    stop_short(op);
}

static void name_logged(struct reach_op *op) {
  struct str body = http_req_body(op->req);
  AUTO_ARENA struct arena arena = arena_for(body), of_models = arena_for(body);
  add_run_of_body(op, body, true, &arena);
  add_models(op, body, true, &of_models);
}

/* Of {"key": …, "value": …} and of {key: value}: the last, as the handlers take it. */
static struct str parent_of(const json_t *tags) {
  size_t i;
  json_t *tag;
  struct str parent = json_str(json_object_get(tags, "mlflow.parentRunId"));
  json_array_foreach(tags, i, tag) {
    if (str_is(json_str(json_object_get(tag, "key")), "mlflow.parentRunId"))
      parent = json_str(json_object_get(tag, "value"));
  }
  return parent;
}

static struct str keep(struct reach_op *op, struct str text) {
  const char *copy = text.p ? arena_strdup(http_req_arena(op->req), text) : NULL;
  op->is_full |= text.p && !copy;
  return copy ? str_n(copy, text.n) : STR_NONE;
}

/* models:/name/3, models:/name@alias */
static void add_version_source(struct reach_op *op, struct str rest) {
  size_t slash = str_find(rest, '/'), at = str_find(rest, '@');
  if (slash != SIZE_MAX && str_to_i64(str_slice(rest, slash + 1, rest.n), &op->version))
    op->model = keep(op, str_slice(rest, 0, slash));
  else if (at != SIZE_MAX) {
    op->model = keep(op, str_slice(rest, 0, at));
    op->alias = keep(op, str_slice(rest, at + 1, rest.n));
  }
}

/* Files of our store that are not those of one run or model, but of several, say, are anybody's. */
static void add_source(struct reach_op *op, struct str source) {
  AUTO_BUF struct buf path = BUF_INIT(64 * KIB);
  const struct artifact_store *store = web_app(op->req)->artifacts;
  bool is_ours = source.n && store && artifact_path_of_uri(store, source, &path);
  add_path(op, is_ours ? buf_str(&path) : source);
  op->is_anybodys = is_ours && !op->id_count;
}

static void name_origins(struct reach_op *op, const json_t *body) {
  struct str source = json_str(json_object_get(body, "source"));
  add_source(op, source);
  add_run(op, json_str(json_object_get(body, "run_id")));
  add_text(op, json_str(json_object_get(body, "model_id")));
  if (str_starts(source, STR("models:/"))) {
    source = str_slice(source, strlen("models:/"), source.n);
    while (source.n && source.p[0] == '/')
      source = str_slice(source, 1, source.n);
    add_version_source(op, source);
  }
}

static struct str value_of(struct reach_op *op, const json_t *body, const char *name) {
  struct str text = http_req_value(op->req, name);
  return text.p ? text : keep(op, json_str(json_object_get(body, name)));
}

/* Those that give way to a version in its new stage are changed, too. */
static void name_archived(struct reach_op *op, const json_t *body) {
  const char *const keys[] = {"archive_existing_versions", "archive_existing"};
  for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
    const json_t *archive = json_object_get(body, keys[i]);
    int64_t stage;
    if ((json_is_true(archive) || json_is_string(archive)) && model_stage_parse(json_str(json_object_get(body, "stage")), &stage))
      op->emptied = stage;
  }
}

static void name_version(struct reach_op *op, const json_t *body) {
  name_archived(op, body);
  struct str number = value_of(op, body, "version");
  op->model = value_of(op, body, "name");
  op->alias = value_of(op, body, "alias");
  if (http_req_method(op->req) == HTTP_DELETE && op->alias.p)
    return; /* it is the version that it names now, whatever else the body says */
  if (!str_to_i64(number, &op->version))
    op->version = json_integer_value(json_object_get(body, "version"));
}

static void name_files(struct reach_op *op) {
  struct str path = http_req_value(op->req, "path");
  add_path(op, path.p ? path : http_req_param(op->req, "path"));
}

static void read_names(struct reach_op *op) {
  AUTO_JSON json_t *body = NULL;
  switch (reach_of(op)) {
  case REACH_NAMED:
    name_things(op);
    break;
  case REACH_LOGGED:
    name_logged(op);
    break;
  case REACH_CHILD:
    body = read_body(op);
    add_run(op, parent_of(json_object_get(body, "tags")));
    break;
  case REACH_MODEL:
    body = read_body(op);
    add_run(op, json_str(json_object_get(body, "source_run_id")));
    break;
  case REACH_NEW_VERSION:
    body = read_body(op);
    name_origins(op, body);
    break;
  case REACH_VERSION:
    body = read_body(op);
    name_version(op, body);
    break;
  case REACH_FILES:
    name_files(op);
    break;
  case REACH_NOTHING:
  case REACH_ANY:
  case REACH_ATTEMPT:
    break;
  }
}

/* ---- the answer ---- */

static void refuse(struct reach_op *op) {
  static const char *const texts[] = {
      [REACH_NAMED] = "a job's token writes its own run and the runs below it: others need a token with the scope \"write\"",
      [REACH_LOGGED] = "a job's token writes its own run, the runs below it and their logged models: others need a token with the scope "
                       "\"write\"",
      [REACH_CHILD] =
          "a job's token makes runs below its own: make it with `nested=True` or the tag mlflow.parentRunId, or with a token that "
          "has the scope \"write\"",
      [REACH_MODEL] = "a job's token makes models of its own run and the runs below it: name one as source_run_id, or use a token with the "
                      "scope \"write\"",
      [REACH_NEW_VERSION] =
          "a job's token makes versions from its own run and the runs below it: name one, or what it made, or use a token "
          "with the scope \"write\"",
      [REACH_VERSION] =
          "a job's token changes versions that were made from its own run or a run below it: others need a token with the scope "
          "\"write\"",
      [REACH_FILES] = "",
  };
  struct err err;
  const char *text = is_reading(op)
                         ? "a job's token reads the experiment of its run, named by its id or by what belongs to it: others need a "
                           "token with the scope \"read\""
                         : texts[reach_of(op)];
  err_set(&err, op->is_full ? ERR_TOO_LARGE : ERR_FORBIDDEN, "%s", op->is_full ? "the request names too many runs or experiments" : text);
  http_reply_error(op->req, &err);
}

static void go_on(struct reach_op *op) {
  idempotency_handle(web_app(op->req), op->req);
}

/* What is not there is not found by the handler either; only what is made must be made from something. */
static void judge(struct reach_op *op, int64_t found, int64_t within) {
  enum route_reach reach = reach_of(op);
  bool must_be_there = reach == REACH_CHILD || reach == REACH_MODEL || reach == REACH_NEW_VERSION || reach == REACH_FILES;
  if (within < found || (must_be_there && !found))
    refuse(op);
  else
    go_on(op);
}

static void on_read(void *ctx, const struct pg_reply *reply) {
  struct reach_op *op = ctx;
  struct err err;
  if (pg_ok(reply, &err))
    judge(op, pg_int(reply, 0, 0), pg_int(reply, 0, 1));
  else
    http_reply_error(op->req, &err);
}

static void on_write(void *ctx, const struct pg_reply *reply) {
  struct reach_op *op = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err);
  if (ok && pg_bool(reply, 0, 2))
    ok = tracking_superseded(&err);
  if (ok)
    judge(op, pg_int(reply, 0, 0), pg_int(reply, 0, 1));
  else
    http_reply_error(op->req, &err);
}

static void put_ids(struct pg_args *args, const struct reach_op *op) {
  pg_begin_array(args);
  for (size_t i = 0; i < op->id_count; i++)
    pg_put_uuid(args, op->ids[i]);
  pg_end_array(args);
}

static bool ask_read(struct reach_op *op, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUN_MAY_READ);
  pg_put_uuid(&args, job_of(op)->run_id);
  put_ids(&args, op);
  pg_put_int8s(&args, op->experiments, op->experiment_count);
  pg_put_text(&args, op->experiment_name);
  return pg_run(web_app(op->req)->pg, &args, 0, on_read, op, err);
}

static bool ask_write(struct reach_op *op, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUN_MAY_WRITE);
  pg_put_uuid(&args, job_of(op)->run_id);
  pg_put_int(&args, job_of(op)->run_attempt);
  put_ids(&args, op);
  pg_put_text(&args, op->model);
  if (op->version > 0 && op->version <= INT32_MAX)
    pg_put_int(&args, op->version);
  else
    pg_put_null(&args);
  pg_put_text(&args, op->alias);
  if (op->emptied >= 0)
    pg_put_int(&args, op->emptied);
  else
    pg_put_null(&args);
  return pg_run(web_app(op->req)->pg, &args, 0, on_write, op, err);
}

static bool is_own_run(const struct reach_op *op) {
  return (reach_of(op) == REACH_NAMED || reach_of(op) == REACH_LOGGED) && op->id_count == 1 && !op->experiment_count &&
         !op->experiment_name.p && id_eq(op->ids[0], job_of(op)->run_id);
}

/* Reading without a name would be reading everything; what writes without one is refused by its handler. */
static bool names_nothing(const struct reach_op *op) {
  return is_reading(op) && !op->is_path && !op->id_count && !op->experiment_count && !op->experiment_name.p;
}

/* What versions of the registry keep is there to be used. */
static bool is_kept(const struct reach_op *op) {
  struct str path = http_req_value(op->req, "path");
  return reach_of(op) == REACH_FILES && str_is_at_or_below(path.p ? path : http_req_param(op->req, "path"), STR("registry"));
}

static bool is_bounded(const struct http_req *req) {
  enum route_reach reach = http_req_route(req)->reach;
  return access_is_bounded(web_principal(req)) && reach != REACH_NOTHING && reach != REACH_ANY && reach != REACH_ATTEMPT;
}

static void handle_bounded(struct http_req *req) {
  struct err err;
  struct reach_op *op = HTTP_REQ_NEW(req, struct reach_op);
  if (!op)
    return;
  op->req = req;
  op->emptied = -1;
  read_names(op);
  if (op->is_full || op->is_anybodys)
    refuse(op);
  else if (is_own_run(op) || is_kept(op))
    go_on(op);
  else if (names_nothing(op))
    refuse(op);
  else if (!(is_reading(op) ? ask_read(op, &err) : ask_write(op, &err)))
    http_reply_error(req, &err);
}

static void on_token_checked(void *ctx, const struct err *refused) {
  struct http_req *req = ctx;
  if (refused)
    http_reply_error(req, refused);
  else if (is_bounded(req))
    handle_bounded(req);
  else
    idempotency_handle(web_app(req), req);
}

void reach_handle(void *ctx UNUSED, struct http_req *req) {
  job_token_check(req, on_token_checked, req);
}
