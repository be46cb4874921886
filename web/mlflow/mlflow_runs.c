/* MLflow's protocol: runs, from creation to the trash, and the search for them. */
#include "storage/metrics/metric_store.h"
#include "tracker/names.h"
#include "tracker/packed.h"
#include "tracker/run_creator.h"
#include "web/mlflow/mlflow_search.h"
#include "web/mlflow/mlflow_tables.h"
#include "web/tracking.h"

enum { RUNS_DEFAULT = 1000, RUNS_MAX = 50000, EXPERIMENTS_AT_ONCE = 10000 };

/* One request under way; its texts lie in the request's arena. */
struct run_op {
  struct http_req *req;
  struct id id;
  struct run_new made;
  struct str experiment_text;
};

static struct run_op *new_op(struct http_req *req) {
  struct run_op *op = HTTP_REQ_NEW(req, struct run_op);
  if (op)
    op->req = req;
  return op;
}

static void fail(struct run_op *op, const struct err *err) {
  http_reply_error(op->req, err);
}

static void reply_run(struct http_req *req, const struct run_row *row) {
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "run");
  mlflow_put_run(&w, row);
  jw_object_end(&w);
  http_reply_json(req, 200, &body);
}

static void reply_no_run(struct run_op *op) {
  struct err err;
  mlflow_no_run(&err, op->id);
  fail(op, &err);
}

static void reply_run_deleted(struct run_op *op) {
  struct err err;
  mlflow_run_deleted(&err, op->id);
  fail(op, &err);
}

/* ---- create ---- */

struct create_args {
  struct str experiment_id, user_id, run_name;
  int64_t start_time;
  const json_t *tags;
};

static void refuse_create(struct run_op *op, const struct err *reason) {
  struct err err = *reason;
  if (err.code == ERR_NOT_FOUND)
    mlflow_no_experiment(&err, op->experiment_text);
  if (err.code == ERR_WRONG_STATE)
    mlflow_reply_error(op->req, 400, "INVALID_PARAMETER_VALUE",
                       "The experiment %.*s must be in the 'active' state. Current state is deleted.", STR_ARG(op->experiment_text));
  else
    fail(op, &err);
}

static void on_created(void *ctx, struct str artifact_uri, const struct err *refused) {
  struct run_op *op = ctx;
  if (refused) {
    refuse_create(op, refused);
    return;
  }
  struct run_row row = {
      .id = op->made.id,
      .experiment_id = op->made.experiment_id,
      .start_time = op->made.start_time,
      .end_time = INT64_MIN,
      .deleted_at = INT64_MIN,
      .state = RUN_RUNNING,
      .name = op->made.name,
      .user_id = op->made.user_id,
      .artifact_uri = artifact_uri,
      .params = STR("{}"),
      .tags = op->made.tags,
      .metrics = STR("{}"),
  };
  reply_run(op->req, &row);
}

/* Any text is a key here: MLflow's clients never had theirs checked at this place. */
static bool check_run_tag(struct str key, struct str *value, const char *path, struct err *err) {
  char key_path[72];
  snprintf(key_path, sizeof key_path, "%s.key", path);
  *value = text_cut(*value, RUN_TAG_VALUE_MAX);
  return text_fits(key, KEY_MAX, key_path, err);
}

static struct str tag_of(const json_t *tags, const char *key) {
  size_t i;
  json_t *tag;
  struct str found = STR_NONE;
  json_array_foreach(tags, i, tag) {
    if (str_is(json_str(json_object_get(tag, "key")), key))
      found = json_str(json_object_get(tag, "value"));
  }
  return found;
}

/* The name as given, as the tag mlflow.runName, or a new one. */
static bool choose_name(struct run_op *op, const struct create_args *in, struct err *err) {
  struct str tag = tag_of(in->tags, "mlflow.runName"), name = in->run_name;
  if (name.n && tag.n && !str_eq(name, tag))
    return err_set(err, ERR_INVALID,
                   "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values (run_name='%.*s', "
                   "mlflow.runName='%.*s').",
                   STR_ARG(str_slice(name, 0, 100)), STR_ARG(str_slice(tag, 0, 100)));
  char made[48];
  if (!name.n && !tag.n)
    random_name(&web_app(op->req)->rng, made);
  struct str chosen = name.n ? name : tag.n ? tag : str_of(made);
  chosen = text_cut(chosen, RUN_TAG_VALUE_MAX);
  const char *copy = arena_strdup(http_req_arena(op->req), chosen);
  op->made.name = str_n(copy, chosen.n);
  return copy || err_no_memory(err);
}

static bool create(struct run_op *op, const struct create_args *in, struct err *err) {
  AUTO_BUF struct buf tags = BUF_INIT(MLFLOW_TAGS_MAX);
  op->experiment_text = in->experiment_id.n ? in->experiment_id : STR("0");
  if (!mlflow_experiment_id(op->experiment_text, &op->made.experiment_id, err) || !text_fits(in->user_id, USER_ID_MAX, "user_id", err) ||
      !tracking_words_fit(json_array_size(in->tags), "tags", err) ||
      !mlflow_pack(in->tags, "tags", check_run_tag, "mlflow.runName", &tags, err) || !choose_name(op, in, err))
    return false;
  const char *copy = arena_strdup(http_req_arena(op->req), buf_str(&tags));
  const char *user = arena_strdup(http_req_arena(op->req), in->user_id.p ? in->user_id : STR(""));
  if (!copy || !user)
    return err_no_memory(err);
  struct run_new *made = &op->made;
  made->id = id_new(web_app(op->req)->clock, &web_app(op->req)->rng);
  made->tags = str_n(copy, tags.n);
  made->params = STR("{}");
  made->user_id = str_n(user, in->user_id.n);
  made->start_time = in->start_time;
  made->created = tracking_now(op->req);
  made->done = on_created;
  made->ctx = op;
  run_creator_add(web_app(op->req)->creator, made);
  return true;
}

static void create_run(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      {"experiment_id", MLFLOW_ID, false, offsetof(struct create_args, experiment_id), 0},
      {"start_time", MLFLOW_INT, false, offsetof(struct create_args, start_time), 0},
      {"run_name", MLFLOW_STR, false, offsetof(struct create_args, run_name), 0},
      {"user_id", MLFLOW_STR, false, offsetof(struct create_args, user_id), 0},
      {"tags", MLFLOW_ARRAY, false, offsetof(struct create_args, tags), 0},
  };
  struct create_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct run_op *op = new_op(req);
  if (op && mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree) && !create(op, &in, &err))
    fail(op, &err);
}

/* ---- get, update, delete, restore ---- */

struct id_args {
  struct str run_id, run_uuid;
};

static void on_got(void *ctx, const struct pg_reply *reply) {
  struct run_op *op = ctx;
  if (!mlflow_pg_ok(op->req, reply))
    return;
  if (pg_rows(reply) == 0) {
    reply_no_run(op);
    return;
  }
  struct run_row row;
  run_row_read(reply, 0, &row);
  reply_run(op->req, &row);
}

static const struct mlflow_field id_fields[] = {
    {"run_id", MLFLOW_STR, false, offsetof(struct id_args, run_id), 0},
    {"run_uuid", MLFLOW_STR, false, offsetof(struct id_args, run_uuid), 0},
};

/* False when answered. */
static bool read_id(struct run_op *op) {
  struct id_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  if (!mlflow_args(op->req, id_fields, ARRAY_LEN(id_fields), &in, &tree))
    return false;
  if (mlflow_run_id(in.run_id, in.run_uuid, &op->id, &err))
    return true;
  fail(op, &err);
  return false;
}

/* The last metrics are in the row. */
static void on_settled(void *ctx, const struct err *err) {
  struct run_op *op = ctx;
  struct err why;
  if (err) {
    fail(op, err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUN_GET);
  pg_put_uuid(&args, op->id);
  if (!pg_run(web_app(op->req)->pg, &args, 0, on_got, op, &why))
    fail(op, &why);
}

static void get_run(struct http_req *req) {
  struct run_op *op = new_op(req);
  struct err err;
  if (op && read_id(op) && !metric_settle(web_app(req)->metrics, &op->id, on_settled, op, &err))
    fail(op, &err);
}

struct update_args {
  struct id_args id;
  const json_t *status;
  int64_t end_time;
  bool has_end_time;
  struct str run_name;
};

/* False when answered: a run of an executor, or the database. */
static bool may_and_did(struct run_op *op, const struct pg_reply *reply) {
  struct err err;
  switch (tracking_refusal(reply)) {
  case TRACKING_OK:
    return true;
  case TRACKING_FORBIDDEN:
    tracking_not_yours(&err);
    break;
  case TRACKING_FENCED:
    tracking_superseded(&err);
    break;
  default:
    err = *pg_err(reply);
  }
  fail(op, &err);
  return false;
}

static void on_updated(void *ctx, const struct pg_reply *reply) {
  struct run_op *op = ctx;
  if (!may_and_did(op, reply))
    return;
  const struct pg_reply *update = pg_nth(reply, 1), *read = pg_nth(reply, 2);
  if (pg_rows(update) == 0 || pg_rows(read) == 0) {
    reply_no_run(op);
    return;
  }
  if (!pg_bool(update, 0, 0)) {
    reply_run_deleted(op);
    return;
  }
  struct run_row row;
  run_row_read(read, 0, &row);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "run_info");
  mlflow_put_run_info(&w, &row);
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

static bool read_status(const json_t *status, enum run_state *ret, struct err *err) {
  bool known = json_is_string(status)    ? run_state_of_status(json_str(status), ret)
               : json_is_integer(status) ? run_state_of_number(json_integer_value(status), ret)
                                         : false;
  return known || mlflow_bad_type(err, "status", status);
}

static bool update(struct run_op *op, const struct update_args *in, struct err *err) {
  enum run_state state = RUN_RUNNING;
  bool has_status = in->status && !(json_is_string(in->status) && json_string_length(in->status) == 0);
  if (!mlflow_run_id(in->id.run_id, in->id.run_uuid, &op->id, err) || (has_status && !read_status(in->status, &state, err)))
    return false;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  pg_put_uuid(pg_batch_add(&batch, STMT_RUN_LOCK), op->id);
  struct pg_args *args = pg_batch_add(&batch, STMT_RUN_UPDATE);
  pg_put_uuid(args, op->id);
  if (has_status)
    pg_put_int(args, (int64_t)state);
  else
    pg_put_null(args);
  if (in->has_end_time)
    pg_put_int(args, in->end_time);
  else
    pg_put_null(args);
  pg_put_text(args, in->run_name.n ? text_cut(in->run_name, RUN_TAG_VALUE_MAX) : STR_NONE);
  pg_put_int(args, tracking_now(op->req));
  pg_put_text(args, tracking_actor(op->req));
  pg_put_int(args, tracking_pass(op->req, op->id));
  args = pg_batch_add(&batch, STMT_RUN_GET);
  pg_put_uuid(args, op->id);
  if (has_status && run_state_is_final((int64_t)state))
    return tracking_run_end(op->req, op->id, &batch, on_updated, op, err);
  return pg_run_batch(web_app(op->req)->pg, &batch, 0, on_updated, op, err);
}

static void update_run(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      {"run_id", MLFLOW_STR, false, offsetof(struct update_args, id.run_id), 0},
      {"run_uuid", MLFLOW_STR, false, offsetof(struct update_args, id.run_uuid), 0},
      {"end_time", MLFLOW_INT, false, offsetof(struct update_args, end_time), offsetof(struct update_args, has_end_time)},
      {"status", MLFLOW_ANY, false, offsetof(struct update_args, status), 0},
      {"run_name", MLFLOW_STR, false, offsetof(struct update_args, run_name), 0},
  };
  struct update_args in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct run_op *op = new_op(req);
  if (op && mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree) && !update(op, &in, &err))
    fail(op, &err);
}

static void on_moved(void *ctx, const struct pg_reply *reply) {
  struct run_op *op = ctx;
  if (!may_and_did(op, reply))
    return;
  if (pg_rows(reply) == 0)
    reply_no_run(op);
  else
    mlflow_reply_done(op->req);
}

static void on_deleted(void *ctx, const struct pg_reply *reply) {
  const struct run_op *op = ctx;
  tracking_deleted(op->req, op->id, reply);
  on_moved(ctx, reply);
}

static void move_run(struct http_req *req, enum stmt stmt, pg_done_fn *done) {
  struct run_op *op = new_op(req);
  struct err err;
  if (!op || !read_id(op))
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, stmt);
  tracking_put_move(&args, req, stmt, op->id);
  if (!pg_run(web_app(req)->pg, &args, 0, done, op, &err))
    fail(op, &err);
}

static void delete_run(struct http_req *req) {
  move_run(req, STMT_RUN_DELETE, on_deleted);
}

static void restore_run(struct http_req *req) {
  move_run(req, STMT_RUN_RESTORE, on_moved);
}

/* ---- search ---- */

static void put_found(struct mlflow_search *op UNUSED, struct json_writer *w, const struct pg_reply *reply, size_t i) {
  struct run_row row;
  run_row_read(reply, i, &row);
  mlflow_put_run(w, &row);
}

static const struct mlflow_search_shape run_shape = {STMT_RUN_PAGE, STMT_RUN_SEARCH, RUN_ROW_COLUMNS, "runs", put_found};

struct search_args {
  struct mlflow_search_args common;
  const json_t *experiments;
  struct str view;
};

static bool read_experiments(struct mlflow_search *op, const json_t *array, struct err *err) {
  const struct str *texts;
  size_t count, known = 0;
  if (!mlflow_strings(op->req, array, "experiment_ids", &texts, &count, err))
    return false;
  if (count > EXPERIMENTS_AT_ONCE)
    return err_set(err, ERR_INVALID, "experiment_ids may name at most %d experiments", EXPERIMENTS_AT_ONCE);
  int64_t *ids = ARENA_NEW_ARRAY(http_req_arena(op->req), int64_t, count ? count : 1);
  if (!ids)
    return err_no_memory(err);
  for (size_t i = 0; i < count; i++)
    known += str_to_i64(texts[i], &ids[known]);
  op->search.experiments = ids;
  op->search.experiment_count = known;
  return true;
}

static bool search(struct mlflow_search *op, const struct search_args *in, struct err *err) {
  unsigned view;
  if (!mlflow_check_max_results(in->common.max_results, RUNS_MAX, err) || !mlflow_view(in->view, "run_view_type", &view, err) ||
      !read_experiments(op, in->experiments, err))
    return false;
  op->search.domain = FILTER_RUNS;
  op->search.view = (enum search_view)view;
  return mlflow_search_parse(op, &in->common, err) && mlflow_search_answer(op, &run_shape, err);
}

static void search_runs(struct http_req *req) {
  static const struct mlflow_field fields[] = {
      {"experiment_ids", MLFLOW_ARRAY, false, offsetof(struct search_args, experiments), 0},
      {"filter", MLFLOW_STR, false, offsetof(struct search_args, common.filter), 0},
      {"max_results", MLFLOW_INT, false, offsetof(struct search_args, common.max_results), 0},
      {"order_by", MLFLOW_ARRAY, false, offsetof(struct search_args, common.order_by), 0},
      {"run_view_type", MLFLOW_ID, false, offsetof(struct search_args, view), 0},
      {"page_token", MLFLOW_STR, false, offsetof(struct search_args, common.page_token), 0},
  };
  struct search_args in = {.common.max_results = RUNS_DEFAULT};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  if (!mlflow_args(req, fields, ARRAY_LEN(fields), &in, &tree))
    return;
  struct mlflow_search *op = mlflow_search_new(req);
  if (op && !search(op, &in, &err))
    http_reply_error(req, &err);
}

/* ---- routes ---- */

const struct route mlflow_run_routes[] = {
    MLFLOW_WRITE("/runs/create", REACH_CHILD, create_run, "Make a run"),
    MLFLOW_WRITE("/runs/update", REACH_NAMED, update_run, "Change status, end time or name"),
    MLFLOW_GET("/runs/get", REACH_NAMED, get_run, "One run with its params, tags and last metrics"),
    MLFLOW_ASK("/runs/search", REACH_NAMED, search_runs, "Search runs"),
    MLFLOW_WRITE("/runs/delete", REACH_NAMED, delete_run, "Put a run into the trash"),
    MLFLOW_WRITE("/runs/restore", REACH_NAMED, restore_run, "Take a run out of the trash"),
};
const size_t mlflow_run_route_count = ARRAY_LEN(mlflow_run_routes);
