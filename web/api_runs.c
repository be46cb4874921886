/* /api/v1: runs. */
#include "web/api_runs.h"

#include <math.h>

#include "storage/metric_store.h"
#include "tracker/log_store.h"
#include "tracker/names.h"
#include "tracker/packed.h"
#include "web/idempotency.h"
#include "web/tables.h"
#include "web/tracking.h"

enum { COMPARE_MAX = 100, EVENTS_MAX = 1000 };

/* ---- what is shared ---- */

bool api_no_run(struct err *err, struct id id) {
  char hex[ID_HEX_LEN + 1];
  id_format(id, hex);
  return err_set(err, ERR_NOT_FOUND, "there is no run %s", hex);
}

bool api_run_id(struct http_req *req, struct id *ret, struct err *err) {
  struct str text = http_req_value(req, "id");
  return id_parse(text, ret) || err_set(err, ERR_NOT_FOUND, "there is no run \"%.*s\"", STR_ARG(str_slice(text, 0, 64)));
}

bool api_body(struct http_req *req, json_t **ret, struct err *err) {
  struct str body = http_req_body(req);
  if (str_trim(body).n)
    return json_read(body, ret, err);
  *ret = json_object();
  return *ret || err_no_memory(err);
}

bool api_page(struct http_req *req, int64_t *ret_limit, struct str *ret_cursor, struct err *err) {
  struct str limit = http_req_param(req, "limit");
  *ret_limit = API_LIMIT_DEFAULT;
  *ret_cursor = http_req_param(req, "cursor");
  if (limit.p && (!str_to_i64(limit, ret_limit) || *ret_limit < 1 || *ret_limit > API_LIMIT_MAX))
    return err_set(err, ERR_INVALID, "\"limit\" must be from 1 to %d", API_LIMIT_MAX);
  return true;
}

void api_put_next(const struct mlflow_search *op, struct json_writer *w, const struct pg_reply *reply, size_t key_column) {
  AUTO_BUF struct buf token = BUF_INIT(MIB);
  jw_key(w, "next");
  if (mlflow_search_token(op, reply, key_column, &token))
    jw_str(w, buf_str(&token));
  else
    jw_null(w);
}

bool api_tags(struct http_req *req, const json_t *tags, size_t value_max, struct buf *set, const struct str **ret_removed,
              size_t *ret_count, struct err *err) {
  struct packed_writer w;
  struct str *removed = ARENA_NEW_ARRAY(http_req_arena(req), struct str, json_object_size(tags) + 1);
  size_t count = 0;
  const char *key;
  json_t *value, *walk = (json_t *)(uintptr_t)tags; /* jansson's iterators want a mutable object, but change nothing */
  if (!removed)
    return err_no_memory(err);
  packed_begin(&w, set);
  json_object_foreach(walk, key, value) {
    if (!key_check(str_of(key), "tags", err) || !text_fits(str_of(key), KEY_MAX, "tags", err))
      return false;
    if (json_is_null(value)) {
      const char *copy = arena_strdup(http_req_arena(req), str_of(key));
      removed[count++] = str_of(copy);
      if (!copy)
        return err_no_memory(err);
    } else if (!json_is_string(value)) {
      return err_set(err, ERR_INVALID, "the tag \"%.100s\" must be a text, or null to remove it", key);
    } else {
      if (!text_fits(json_str(value), value_max, key, err))
        return false;
      packed_put(&w, str_of(key), json_str(value));
    }
  }
  packed_end(&w);
  *ret_removed = removed;
  *ret_count = count;
  return buf_ok(set, err);
}

struct run_op {
  struct http_req *req;
  struct id id;
  int status; /* of the answer */
  struct str experiment_name;
  struct str name, params, tags;
  int64_t started, experiment_id;
};

static struct run_op *new_op(struct http_req *req) {
  struct run_op *op = ARENA_NEW(http_req_arena(req), struct run_op);
  struct err err;
  if (op) {
    *op = (struct run_op){.req = req, .status = 200};
  } else {
    err_no_memory(&err);
    http_reply_error(req, &err);
  }
  return op;
}

static struct pg_pool *pool(const struct run_op *op) {
  return web_app(op->req)->pg;
}

static void fail(struct run_op *op, const struct err *err) {
  http_reply_error(op->req, err);
}

/* Answers what the database refused; false when it did not. */
static bool refused(struct run_op *op, const struct pg_reply *reply) {
  struct err err;
  switch (tracking_refusal(reply)) {
  case TRACKING_OK:
    return false;
  case TRACKING_NO_RUN:
    api_no_run(&err, op->id);
    break;
  case TRACKING_DELETED:
    err_set(&err, ERR_WRONG_STATE, "the run is in the trash");
    err_hint(&err, "POST /api/v1/runs/{id}/restore brings it back");
    break;
  case TRACKING_CONFLICT:
    err_set(&err, ERR_CONFLICT, "a param cannot be changed once it is logged");
    break;
  case TRACKING_FORBIDDEN:
    err_set(&err, ERR_FORBIDDEN, "the run belongs to its executor: its token, or one with the scope `write`, is needed");
    break;
  case TRACKING_FENCED:
    err_set(&err, ERR_FENCED, "another attempt of this run has taken over");
    break;
  case TRACKING_ERROR:
    err = *pg_err(reply);
    break;
  }
  fail(op, &err);
  return true;
}

/* ---- one run ---- */

static void reply_run(struct run_op *op, const struct pg_reply *reply) {
  struct run_row row;
  struct err err;
  if (pg_rows(reply) == 0) {
    api_no_run(&err, op->id);
    fail(op, &err);
    return;
  }
  run_row_read(reply, 0, &row);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  api_put_run(&w, &row, NULL);
  http_reply_json(op->req, op->status, &body);
}

/* What was recognised in the newest output: {"stdout": "Train Epoch style, 3 metrics"}. */
static void put_recognised(struct json_writer *w, const struct pg_reply *streams) {
  jw_key(w, "recognised");
  jw_object(w);
  for (size_t i = 0; i < pg_rows(streams) && pg_int(streams, i, 0) == pg_int(streams, 0, 0); i++) {
    AUTO_BUF struct buf summary = BUF_INIT(4 * KIB);
    buf_add_str(&summary, pg_text(streams, i, 3));
    if (pg_int(streams, i, 4) > 0)
      jw_put_text(w, pg_int(streams, i, 1) == LOG_STDERR ? "stderr" : "stdout", buf_text(&summary));
  }
  jw_object_end(w);
}

static void on_got(void *ctx, const struct pg_reply *reply) {
  struct run_op *op = ctx;
  struct run_row row;
  struct err err;
  if (refused(op, reply))
    return;
  if (pg_rows(pg_nth(reply, 0)) == 0) {
    api_no_run(&err, op->id);
    fail(op, &err);
    return;
  }
  run_row_read(pg_nth(reply, 0), 0, &row);
  if (pg_rows(pg_nth(reply, 2)) && !pg_is_null(pg_nth(reply, 2), 0, 0))
    row.attempts = pg_jsonb(pg_nth(reply, 2), 0, 0);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  api_put_run_keys(&w, &row, NULL);
  put_recognised(&w, pg_nth(reply, 1));
  jw_object_end(&w);
  http_reply_json(op->req, op->status, &body);
}

static void on_settled(void *ctx, const struct err *err) {
  struct run_op *op = ctx;
  struct err why;
  if (err) {
    fail(op, err);
    return;
  }
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  pg_put_uuid(pg_batch_add(&batch, STMT_RUN_GET), op->id);
  struct pg_args *args = pg_batch_add(&batch, STMT_LOG_STREAM_INFO);
  pg_put_uuid(args, op->id);
  pg_put_int(args, 0);
  pg_put_uuid(pg_batch_add(&batch, STMT_RUN_ATTEMPTS), op->id);
  if (!pg_run_batch(pool(op), &batch, 0, on_got, op, &why))
    fail(op, &why);
}

static void get_run(struct http_req *req) {
  struct run_op *op = new_op(req);
  struct err err;
  if (op && !(api_run_id(req, &op->id, &err) && metric_settle(web_app(req)->metrics, &op->id, on_settled, op, &err)))
    fail(op, &err);
}

/* ---- create ---- */

struct create_body {
  struct str experiment, experiment_id, name;
  int64_t started;
  const json_t *params, *tags;
};

static void on_created(void *ctx, const struct pg_reply *reply) {
  struct run_op *op = ctx;
  struct err err;
  if (refused(op, reply))
    return;
  const struct pg_reply *made = pg_nth(reply, 0);
  if (pg_rows(made) == 0)
    err_set(&err, ERR_NOT_FOUND, "there is no experiment %lld", (long long)op->experiment_id);
  else if (pg_bool(made, 0, 1))
    err_set(&err, ERR_WRONG_STATE, "the experiment %lld is in the trash", (long long)op->experiment_id);
  else {
    reply_run(op, pg_nth(reply, 1));
    return;
  }
  fail(op, &err);
}

static bool insert_run(struct run_op *op, struct err *err) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct pg_args *args = pg_batch_add(&batch, STMT_RUN_CREATE);
  pg_put_uuid(args, op->id);
  pg_put_int(args, op->experiment_id);
  pg_put_int(args, op->started);
  pg_put_int(args, tracking_now(op->req));
  pg_put_text(args, op->name);
  pg_put_text(args, STR(""));
  pg_put_jsonb(args, op->tags);
  pg_put_jsonb(args, op->params);
  pg_put_uuid(pg_batch_add(&batch, STMT_RUN_GET), op->id);
  return pg_run_batch(pool(op), &batch, 0, on_created, op, err);
}

static void on_experiment(void *ctx, const struct pg_reply *reply) {
  struct run_op *op = ctx;
  struct err err;
  if (refused(op, reply))
    return;
  op->experiment_id = pg_int(reply, 0, 0);
  if (!insert_run(op, &err))
    fail(op, &err);
}

static bool find_experiment(struct run_op *op, struct err *err) {
  struct str root = str_of(web_app(op->req)->artifact_root);
  while (root.n && root.p[root.n - 1] == '/')
    root.n--;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_EXPERIMENT_ENSURE);
  pg_put_text(&args, op->experiment_name);
  pg_put_text(&args, root);
  pg_put_int(&args, tracking_now(op->req));
  return pg_run(pool(op), &args, 0, on_experiment, op, err);
}

bool api_pack_params(struct http_req *req, const json_t *params, struct str *ret, struct err *err) {
  AUTO_BUF struct buf packed = BUF_INIT(16 * MIB);
  struct packed_writer w;
  const char *key;
  json_t *value, *walk = (json_t *)(uintptr_t)params; /* jansson's iterators want a mutable object, but change nothing */
  packed_begin(&w, &packed);
  json_object_foreach(walk, key, value) {
    AUTO_BUF struct buf text = BUF_INIT(MIB);
    if (!key_check(str_of(key), "params", err) || !text_fits(str_of(key), KEY_MAX, "params", err))
      return false;
    if (json_is_string(value)) {
      buf_add_str(&text, json_str(value));
    } else {
      struct json_writer raw;
      jw_init(&raw, &text);
      jw_json(&raw, value);
    }
    if (!buf_ok(&text, err) || !text_fits(buf_str(&text), PARAM_VALUE_MAX, key, err))
      return false;
    packed_put(&w, str_of(key), buf_str(&text));
  }
  packed_end(&w);
  const char *copy = buf_ok(&packed, err) ? arena_strdup(http_req_arena(req), buf_str(&packed)) : NULL;
  *ret = str_n(copy, packed.n);
  return copy || err_no_memory(err);
}

static bool create(struct run_op *op, const struct create_body *in, struct err *err) {
  AUTO_BUF struct buf tags = BUF_INIT(16 * MIB);
  const struct str *removed;
  size_t removed_count;
  char made[48];
  if (!api_tags(op->req, in->tags, RUN_TAG_VALUE_MAX, &tags, &removed, &removed_count, err) ||
      !api_pack_params(op->req, in->params, &op->params, err) || !text_fits(in->name, RUN_TAG_VALUE_MAX, "name", err))
    return false;
  random_name(&web_app(op->req)->rng, made);
  struct arena *arena = http_req_arena(op->req);
  struct str name = in->name.n ? in->name : str_of(made);
  op->name = str_of(arena_strdup(arena, name));
  op->tags = str_of(arena_strdup(arena, buf_str(&tags)));
  op->experiment_name = str_of(arena_strdup(arena, in->experiment));
  if (!op->name.p || !op->tags.p || !op->experiment_name.p)
    return err_no_memory(err);
  op->id = idempotency_id(op->req);
  op->status = 201;
  op->started = in->started ? in->started : tracking_now(op->req);
  if (in->experiment_id.n) {
    if (!str_to_i64(in->experiment_id, &op->experiment_id))
      return err_set(err, ERR_NOT_FOUND, "there is no experiment \"%.*s\"", STR_ARG(str_slice(in->experiment_id, 0, 64)));
    return insert_run(op, err);
  }
  if (!in->experiment.n)
    return insert_run(op, err); /* 0: Default */
  return experiment_name_check(in->experiment, err) && find_experiment(op, err);
}

static void create_run(struct http_req *req) {
  static const struct json_field fields[] = {
      {"experiment", JSON_F_STR, offsetof(struct create_body, experiment), .nullable = true},
      {"experiment_id", JSON_F_STR, offsetof(struct create_body, experiment_id), .nullable = true},
      {"name", JSON_F_STR, offsetof(struct create_body, name), .nullable = true},
      {"started", JSON_F_I64, offsetof(struct create_body, started), .nullable = true},
      {"params", JSON_F_OBJECT, offsetof(struct create_body, params), .nullable = true},
      {"tags", JSON_F_OBJECT, offsetof(struct create_body, tags), .nullable = true},
  };
  struct create_body in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct run_op *op = new_op(req);
  if (!op)
    return;
  bool ok = api_body(req, &tree, &err);
  const json_t *command = ok ? json_object_get(tree, "command") : NULL;
  if (command && !json_is_null(command))
    api_launch(req, json_incref(tree));
  else if (!(ok && json_decode(tree, fields, ARRAY_LEN(fields), "", &in, &err) && create(op, &in, &err)))
    fail(op, &err);
}

/* ---- change ---- */

struct patch_body {
  struct str name, state;
  int64_t ended;
  bool has_ended;
  const json_t *tags;
};

/* The last statement reads the run. */
static void on_patched(void *ctx, const struct pg_reply *reply) {
  struct run_op *op = ctx;
  struct err err;
  if (refused(op, reply))
    return;
  const struct pg_reply *update = pg_nth(reply, 1);
  if (pg_rows(update) == 0) {
    api_no_run(&err, op->id);
    fail(op, &err);
    return;
  }
  reply_run(op, pg_nth(reply, (size_t)op->experiment_id)); /* its place in the batch */
}

static bool patch(struct run_op *op, const struct patch_body *in, struct err *err) {
  AUTO_BUF struct buf tags = BUF_INIT(16 * MIB);
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  const struct str *removed;
  size_t removed_count;
  enum run_state state = RUN_RUNNING;
  if (in->state.n && !run_state_parse(in->state, &state))
    return err_set(err, ERR_INVALID, "\"state\" must be a state of runs, not \"%.*s\"", STR_ARG(str_slice(in->state, 0, 64)));
  if (!api_tags(op->req, in->tags, RUN_TAG_VALUE_MAX, &tags, &removed, &removed_count, err) ||
      !text_fits(in->name, RUN_TAG_VALUE_MAX, "name", err))
    return false;
  struct pg_args *args = pg_batch_add(&batch, STMT_RUN_WRITE);
  pg_put_uuid(args, op->id);
  pg_put_jsonb(args, STR("{}"));
  pg_put_jsonb(args, buf_str(&tags));
  pg_put_int(args, tracking_pass(op->req, op->id));
  args = pg_batch_add(&batch, STMT_RUN_UPDATE);
  pg_put_uuid(args, op->id);
  if (in->state.n)
    pg_put_int(args, (int64_t)state);
  else
    pg_put_null(args);
  if (in->has_ended || (in->state.n && run_state_is_final((int64_t)state)))
    pg_put_int(args, in->has_ended ? in->ended : tracking_now(op->req));
  else
    pg_put_null(args);
  pg_put_text(args, in->name.n ? in->name : STR_NONE);
  pg_put_int(args, tracking_now(op->req));
  pg_put_text(args, tracking_actor(op->req));
  pg_put_int(args, tracking_pass(op->req, op->id));
  for (size_t i = 0; i < removed_count; i++) {
    args = pg_batch_add(&batch, STMT_RUN_DELETE_TAG);
    pg_put_uuid(args, op->id);
    pg_put_text(args, removed[i]);
    pg_put_int(args, tracking_pass(op->req, op->id));
  }
  op->experiment_id = (int64_t)batch.count;
  pg_put_uuid(pg_batch_add(&batch, STMT_RUN_GET), op->id);
  return pg_run_batch(pool(op), &batch, 0, on_patched, op, err);
}

static void patch_run(struct http_req *req) {
  static const struct json_field fields[] = {
      {"name", JSON_F_STR, offsetof(struct patch_body, name), .nullable = true},
      {"state", JSON_F_STR, offsetof(struct patch_body, state), .nullable = true},
      {"ended", JSON_F_I64, offsetof(struct patch_body, ended), .nullable = true, .present_at = offsetof(struct patch_body, has_ended)},
      {"tags", JSON_F_OBJECT, offsetof(struct patch_body, tags), .nullable = true},
  };
  struct patch_body in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct run_op *op = new_op(req);
  if (op && !(api_run_id(req, &op->id, &err) && api_body(req, &tree, &err) && json_decode(tree, fields, ARRAY_LEN(fields), "", &in, &err) &&
              patch(op, &in, &err)))
    fail(op, &err);
}

/* ---- trash ---- */

static void on_moved(void *ctx, const struct pg_reply *reply) {
  struct run_op *op = ctx;
  struct err err;
  if (refused(op, reply))
    return;
  if (pg_rows(pg_nth(reply, 0)) == 0) {
    api_no_run(&err, op->id);
    fail(op, &err);
  } else if (op->status == 204) {
    http_reply_empty(op->req, 204);
  } else {
    reply_run(op, pg_nth(reply, 1));
  }
}

static void move_run(struct http_req *req, enum stmt stmt, int status) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct run_op *op = new_op(req);
  struct err err;
  if (!op)
    return;
  op->status = status;
  if (!api_run_id(req, &op->id, &err)) {
    fail(op, &err);
    return;
  }
  struct pg_args *args = pg_batch_add(&batch, stmt);
  pg_put_uuid(args, op->id);
  pg_put_int(args, tracking_now(req));
  pg_put_text(args, tracking_actor(req));
  pg_put_int(args, tracking_pass(req, op->id));
  pg_put_uuid(pg_batch_add(&batch, STMT_RUN_GET), op->id);
  if (!pg_run_batch(pool(op), &batch, 0, on_moved, op, &err))
    fail(op, &err);
}

static void delete_run(struct http_req *req) {
  move_run(req, STMT_RUN_DELETE, 204);
}

static void restore_run(struct http_req *req) {
  move_run(req, STMT_RUN_RESTORE, 200);
}

/* ---- search ---- */

struct search_body {
  const json_t *experiments, *order_by, *columns;
  struct str filter, cursor, sweep, state;
  int64_t limit;
  bool deleted;
};

static void put_page(struct mlflow_search *op, const struct pg_reply *reply) {
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "items");
  jw_array(&w);
  for (size_t i = 0; i < mlflow_search_rows(op, reply); i++) {
    struct run_row row;
    run_row_read(reply, i, &row);
    api_put_run(&w, &row, op->extra);
  }
  jw_array_end(&w);
  api_put_next(op, &w, reply, RUN_ROW_COLUMNS);
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

static void put_streamed(struct mlflow_search *op, struct json_writer *w, const struct pg_reply *reply) {
  struct run_row row;
  run_row_read(reply, 0, &row);
  api_put_run(w, &row, op->extra);
}

static void on_found(void *ctx, const struct pg_reply *reply) {
  struct mlflow_search *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    http_reply_error(op->req, &err);
    return;
  }
  if (!op->search.numbers_only || pg_rows(reply) > (size_t)op->max_results) {
    put_page(op, reply);
    return;
  }
  op->search.numbers_only = false; /* not enough of them: those with NaN and without follow */
  if (!mlflow_search_run(op, STMT_RUN_SEARCH, on_found, &err))
    http_reply_error(op->req, &err);
}

static bool read_scope(struct mlflow_search *op, const struct search_body *in, struct err *err) {
  const struct str *texts;
  size_t count, known = 0;
  enum run_state state;
  op->search.domain = FILTER_RUNS;
  op->search.hide_parents = true;
  op->search.view = in->deleted ? VIEW_DELETED : VIEW_ACTIVE;
  op->search.everywhere = !in->experiments;
  if (!mlflow_strings(op->req, in->experiments, "experiments", &texts, &count, err))
    return false;
  int64_t *ids = ARENA_NEW_ARRAY(http_req_arena(op->req), int64_t, count ? count : 1);
  if (!ids)
    return err_no_memory(err);
  for (size_t i = 0; i < count; i++)
    known += str_to_i64(texts[i], &ids[known]);
  op->search.experiments = ids;
  op->search.experiment_count = known;
  op->search.of_sweep = in->sweep.n > 0;
  if (in->sweep.n && !id_parse(in->sweep, &op->search.sweep))
    return err_set(err, ERR_NOT_FOUND, "there is no sweep \"%.*s\"", STR_ARG(str_slice(in->sweep, 0, 64)));
  op->search.of_state = in->state.n > 0;
  if (in->state.n && !run_state_parse(in->state, &state))
    return err_set(err, ERR_INVALID, "\"state\" must be a state of runs, not \"%.*s\"", STR_ARG(str_slice(in->state, 0, 64)));
  op->search.state = in->state.n ? (int64_t)state : 0;
  return true;
}

static bool search(struct mlflow_search *op, const struct search_body *in, struct err *err) {
  struct api_columns *columns;
  /* the tree is gone when the answer is made */
  struct arena *arena = http_req_arena(op->req);
  struct mlflow_search_args common = {.order_by = in->order_by, .max_results = in->limit};
  common.filter = str_of(arena_strdup(arena, in->filter));
  common.page_token = in->cursor;
  if (!common.filter.p)
    return err_no_memory(err);
  if (!read_scope(op, in, err) || !api_read_columns(op->req, in->columns, &columns, err) || !mlflow_search_parse(op, &common, err))
    return false;
  op->extra = columns;
  op->is_api = true;
  if (op->max_results >= SEARCH_STREAM_FROM)
    return mlflow_search_stream(op, STMT_RUN_SEARCH, "items", "next", RUN_ROW_COLUMNS, put_streamed, err);
  op->search.numbers_only = search_orders_by_metric(&op->search) && (op->search.page.count == 0 || str_is(op->search.page.values[0], "0"));
  return mlflow_search_run(op, STMT_RUN_SEARCH, on_found, err);
}

static void search_runs(struct http_req *req) {
  static const struct json_field fields[] = {
      {"experiments", JSON_F_ARRAY, offsetof(struct search_body, experiments), .nullable = true, .min = 0, .max = 10000},
      {"filter", JSON_F_STR, offsetof(struct search_body, filter), .nullable = true},
      {"order_by", JSON_F_ARRAY, offsetof(struct search_body, order_by), .nullable = true},
      {"columns", JSON_F_ARRAY, offsetof(struct search_body, columns), .nullable = true},
      {"limit", JSON_F_I64, offsetof(struct search_body, limit), .nullable = true, .min = 1, .max = API_LIMIT_MAX},
      {"cursor", JSON_F_STR, offsetof(struct search_body, cursor), .nullable = true},
      {"sweep", JSON_F_STR, offsetof(struct search_body, sweep), .nullable = true},
      {"state", JSON_F_STR, offsetof(struct search_body, state), .nullable = true},
      {"deleted", JSON_F_BOOL, offsetof(struct search_body, deleted), .nullable = true},
  };
  struct search_body in = {.limit = API_LIMIT_DEFAULT};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct mlflow_search *op = ARENA_NEW(http_req_arena(req), struct mlflow_search);
  if (op)
    op->req = req;
  else
    err_no_memory(&err);
  if (!op || !api_body(req, &tree, &err) || !json_decode(tree, fields, ARRAY_LEN(fields), "", &in, &err) || !search(op, &in, &err))
    http_reply_error(req, &err);
}

/* ---- compare ---- */

/* Runs side by side; ids as asked for. */
struct compare_op {
  struct http_req *req;
  struct id runs[COMPARE_MAX];
  size_t count, base;
};

/* What the sweep of a run wants of a metric. */
enum goal { GOAL_NONE, GOAL_MINIMIZE, GOAL_MAXIMIZE };

/* Row of the reply of each run asked for, and its sweep's goal. */
struct side {
  struct run_row rows[COMPARE_MAX];
  struct str goal_metric[COMPARE_MAX]; /* p NULL: none */
  enum goal goals[COMPARE_MAX];
};

static struct str data_of(const struct run_row *row, bool metrics) {
  return metrics ? row->metrics : row->params;
}

static struct str value_of(struct str packed, struct str quoted_key) {
  struct str key, value;
  for (size_t cursor = 0; packed_next(packed, &cursor, &key, &value);)
    if (str_eq(key, quoted_key))
      return value;
  return STR_NONE;
}

static bool number_of(struct str packed, enum packed_metric n, double *ret) {
  struct str items[METRIC_ITEMS];
  if (!packed_metric(packed, items))
    return false;
  AUTO_BUF struct buf text = BUF_INIT(KIB);
  packed_unquote(items[n], &text);
  return str_to_f64(buf_str(&text), ret);
}

static bool last_of(struct str packed, double *ret) {
  return number_of(packed, METRIC_LAST, ret);
}

static enum goal goal_of(const struct side *side, size_t run, const struct buf *key) {
  return str_eq(side->goal_metric[run], buf_str(key)) ? side->goals[run] : GOAL_NONE;
}

/* The run with the least or greatest value of all, and what its sweep says is better. */
static void put_best(struct json_writer *w, const struct compare_op *op, const struct side *side, struct str quoted_key,
                     const struct buf *key) {
  size_t best[] = {SIZE_MAX, SIZE_MAX};
  double values[2] = {INFINITY, -INFINITY}, value;
  enum goal goal = GOAL_NONE;
  for (size_t i = 0; i < op->count; i++) {
    struct str packed = value_of(side->rows[i].metrics, quoted_key);
    goal = goal == GOAL_NONE ? goal_of(side, i, key) : goal;
    if (number_of(packed, METRIC_MIN, &value) && !isnan(value) && (value < values[0] || best[0] == SIZE_MAX)) {
      values[0] = value;
      best[0] = i;
    }
    if (number_of(packed, METRIC_MAX, &value) && !isnan(value) && (value > values[1] || best[1] == SIZE_MAX)) {
      values[1] = value;
      best[1] = i;
    }
  }
  const char *const names[] = {"min", "max"};
  jw_key(w, "best");
  jw_object(w);
  jw_put_text(w, "goal", goal == GOAL_NONE ? NULL : goal == GOAL_MINIMIZE ? "minimize" : "maximize");
  size_t wanted = goal == GOAL_NONE ? SIZE_MAX : best[goal == GOAL_MAXIMIZE];
  api_put_id(w, "run", wanted == SIZE_MAX ? (struct id){{0}} : op->runs[wanted], wanted != SIZE_MAX);
  for (size_t i = 0; i < 2; i++)
    api_put_id(w, names[i], best[i] == SIZE_MAX ? (struct id){{0}} : op->runs[best[i]], best[i] != SIZE_MAX);
  jw_object_end(w);
}

static void put_metric_side(struct json_writer *w, struct str packed, struct str base, enum goal goal) {
  double value, reference;
  jw_object(w);
  api_put_metric_items(w, packed);
  jw_key(w, "best");
  if (goal != GOAL_NONE && number_of(packed, goal == GOAL_MAXIMIZE ? METRIC_MAX : METRIC_MIN, &value))
    jw_f64(w, value);
  else
    jw_null(w);
  jw_key(w, "delta");
  if (last_of(packed, &value) && last_of(base, &reference))
    jw_f64(w, value - reference);
  else
    jw_null(w);
  jw_object_end(w);
}

static bool differ(struct str a, struct str b, bool metrics) {
  double x, y;
  if (!a.p || !b.p)
    return a.p != b.p;
  if (metrics && last_of(a, &x) && last_of(b, &y))
    return x != y && !(isnan(x) && isnan(y));
  return !str_eq(a, b);
}

static void put_compared(struct json_writer *w, const struct compare_op *op, const struct side *side, struct str key, bool metrics) {
  AUTO_BUF struct buf name = BUF_INIT(64 * KIB);
  struct str base = value_of(data_of(&side->rows[op->base], metrics), key);
  bool differs = false;
  packed_unquote(key, &name);
  jw_object(w);
  jw_put_str(w, "key", buf_str(&name));
  jw_key(w, "values");
  jw_object(w);
  for (size_t i = 0; i < op->count; i++) {
    char hex[ID_HEX_LEN + 1];
    struct str value = value_of(data_of(&side->rows[i], metrics), key);
    id_format(op->runs[i], hex);
    differs |= differ(value, base, metrics);
    jw_key(w, hex);
    if (!value.p)
      jw_null(w);
    else if (metrics)
      put_metric_side(w, value, base, goal_of(side, i, &name));
    else
      jw_raw(w, value);
  }
  jw_object_end(w);
  if (metrics)
    put_best(w, op, side, key, &name);
  jw_put_bool(w, "differs", differs);
  jw_object_end(w);
}

/* Every key of any of the runs, once, in the order in which they are met. */
static void put_all_compared(struct json_writer *w, const struct compare_op *op, const struct side *side, bool metrics) {
  struct str key, value;
  jw_array(w);
  for (size_t i = 0; i < op->count; i++)
    for (size_t cursor = 0; packed_next(data_of(&side->rows[i], metrics), &cursor, &key, &value);) {
      bool seen = false;
      for (size_t j = 0; j < i && !seen; j++)
        seen = value_of(data_of(&side->rows[j], metrics), key).p != NULL;
      if (!seen)
        put_compared(w, op, side, key, metrics);
    }
  jw_array_end(w);
}

static void read_goals(struct side *side, const struct compare_op *op, const struct pg_reply *goals) {
  for (size_t i = 0; i < op->count; i++)
    for (size_t row = 0; row < pg_rows(goals); row++)
      if (id_eq(pg_uuid(goals, row, 0), op->runs[i])) {
        side->goal_metric[i] = pg_text(goals, row, 1);
        side->goals[i] = str_is(pg_text(goals, row, 2), "maximize") ? GOAL_MAXIMIZE : GOAL_MINIMIZE;
      }
}

static void on_compared(void *ctx, const struct pg_reply *both) {
  struct compare_op *op = ctx;
  struct err err;
  struct side *side = ARENA_NEW(http_req_arena(op->req), struct side);
  if (!pg_ok(both, &err) || (!side && !err_no_memory(&err))) {
    http_reply_error(op->req, &err);
    return;
  }
  const struct pg_reply *reply = pg_nth(both, 0);
  read_goals(side, op, pg_nth(both, 1));
  for (size_t i = 0; i < op->count; i++) {
    size_t row = 0;
    while (row < pg_rows(reply) && !id_eq(pg_uuid(reply, row, 0), op->runs[i]))
      row++;
    if (row == pg_rows(reply)) {
      api_no_run(&err, op->runs[i]);
      http_reply_error(op->req, &err);
      return;
    }
    run_row_read(reply, row, &side->rows[i]);
  }
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "runs");
  jw_array(&w);
  for (size_t i = 0; i < op->count; i++)
    api_put_run(&w, &side->rows[i], NULL);
  jw_array_end(&w);
  mlflow_put_id(&w, "base", op->runs[op->base]);
  jw_key(&w, "params");
  put_all_compared(&w, op, side, false);
  jw_key(&w, "metrics");
  put_all_compared(&w, op, side, true);
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

static void on_compare_settled(void *ctx, const struct err *err) {
  struct compare_op *op = ctx;
  struct err why;
  if (err) {
    http_reply_error(op->req, err);
    return;
  }
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  const enum stmt stmts[] = {STMT_RUN_GET_MANY, STMT_RUN_GOALS};
  for (size_t s = 0; s < ARRAY_LEN(stmts); s++) {
    struct pg_args *args = pg_batch_add(&batch, stmts[s]);
    pg_begin_array(args);
    for (size_t i = 0; i < op->count; i++)
      pg_put_uuid(args, op->runs[i]);
    pg_end_array(args);
  }
  if (!pg_run_batch(web_app(op->req)->pg, &batch, 0, on_compared, op, &why))
    http_reply_error(op->req, &why);
}

struct compare_body {
  const json_t *runs;
  struct str base;
};

static bool compare(struct compare_op *op, const struct compare_body *in, struct err *err) {
  struct id base;
  bool found = !in->base.n;
  for (size_t i = 0; i < json_array_size(in->runs); i++) {
    struct str text = json_str(json_array_get(in->runs, i));
    size_t same = 0;
    if (!id_parse(text, &op->runs[op->count]))
      return err_set(err, ERR_NOT_FOUND, "there is no run \"%.*s\"", STR_ARG(str_slice(text, 0, 64)));
    while (!id_eq(op->runs[same], op->runs[op->count]))
      same++;
    op->count += same == op->count; /* each once */
  }
  if (in->base.n && !id_parse(in->base, &base))
    return err_set(err, ERR_NOT_FOUND, "there is no run \"%.*s\"", STR_ARG(str_slice(in->base, 0, 64)));
  for (size_t i = 0; in->base.n && i < op->count; i++)
    if (id_eq(op->runs[i], base)) {
      op->base = i;
      found = true;
    }
  if (!found)
    return err_set(err, ERR_INVALID, "\"base\" must be one of \"runs\"");
  return metric_settle(web_app(op->req)->metrics, NULL, on_compare_settled, op, err);
}

static void compare_runs(struct http_req *req) {
  static const struct json_field fields[] = {
      {"runs", JSON_F_ARRAY, offsetof(struct compare_body, runs), .required = true, .min = 1, .max = COMPARE_MAX},
      {"base", JSON_F_STR, offsetof(struct compare_body, base), .nullable = true},
  };
  struct compare_body in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct compare_op *op = ARENA_NEW(http_req_arena(req), struct compare_op);
  if (op)
    op->req = req;
  else
    err_no_memory(&err);
  if (!op || !api_body(req, &tree, &err) || !json_decode(tree, fields, ARRAY_LEN(fields), "", &in, &err) || !compare(op, &in, &err))
    http_reply_error(req, &err);
}

/* ---- events ---- */

struct events_op {
  struct http_req *req;
  struct id run;
  int64_t after, limit;
};

static void put_event(struct json_writer *w, const char *id, int64_t time, const char *kind, const char *subject, struct str actor,
                      struct str from, struct str to, struct str reason) {
  jw_object(w);
  jw_put_text(w, "id", id);
  jw_put_i64(w, "time", time);
  jw_put_text(w, "kind", kind);
  jw_put_text(w, "subject", subject);
  jw_put_str(w, "actor", actor);
  jw_put_str(w, "from", from);
  jw_put_str(w, "to", to);
  jw_put_str(w, "reason", reason);
  jw_object_end(w);
}

static void put_stored_events(struct json_writer *w, const struct pg_reply *reply, size_t rows) {
  for (size_t i = 0; i < rows; i++) {
    char id[24];
    snprintf(id, sizeof id, "%lld", (long long)pg_int(reply, i, 0));
    AUTO_BUF struct buf kind = BUF_INIT(KIB), subject = BUF_INIT(4 * KIB);
    buf_add_str(&kind, pg_text(reply, i, 2));
    buf_add_str(&subject, pg_text(reply, i, 3));
    put_event(w, id, pg_int(reply, i, 1), buf_text(&kind), buf_text(&subject), pg_text(reply, i, 4), pg_text(reply, i, 5),
              pg_text(reply, i, 6), pg_text(reply, i, 7));
  }
}

/* Creation and end are on the row; what lies between was noted. */
static void on_events(void *ctx, const struct pg_reply *reply) {
  struct events_op *op = ctx;
  struct err err;
  struct run_row row;
  char hex[ID_HEX_LEN + 1];
  if (!pg_ok(reply, &err) || (pg_rows(pg_nth(reply, 0)) == 0 && !api_no_run(&err, op->run))) {
    http_reply_error(op->req, &err);
    return;
  }
  const struct pg_reply *events = pg_nth(reply, 1);
  size_t rows = MIN_OF(pg_rows(events), (size_t)op->limit);
  bool more = pg_rows(events) > rows;
  run_row_read(pg_nth(reply, 0), 0, &row);
  id_format(op->run, hex);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "items");
  jw_array(&w);
  if (op->after == 0)
    put_event(&w, "created", row.created, "run.created", hex, row.user_id.n ? row.user_id : STR_NONE, STR_NONE,
              str_of(row.executor.p ? "QUEUED" : "RUNNING"), STR_NONE);
  put_stored_events(&w, events, rows);
  if (!more && run_state_is_final(row.state))
    put_event(&w, "ended", row.end_time == INT64_MIN ? row.created : row.end_time, "run.state", hex, STR_NONE, STR("RUNNING"),
              str_of(run_state_name(row.state)), row.state_reason);
  jw_array_end(&w);
  jw_key(&w, "next");
  if (more) {
    char next[24];
    snprintf(next, sizeof next, "%lld", (long long)pg_int(events, rows - 1, 0));
    jw_text(&w, next);
  } else {
    jw_null(&w);
  }
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

static bool read_events(struct events_op *op, struct err *err) {
  struct str cursor;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  if (!api_run_id(op->req, &op->run, err) || !api_page(op->req, &op->limit, &cursor, err))
    return false;
  if (cursor.n && (!str_to_i64(cursor, &op->after) || op->after < 1))
    return err_set(err, ERR_INVALID, "\"cursor\" is none of ours");
  op->limit = MIN_OF(op->limit, (int64_t)EVENTS_MAX);
  pg_put_uuid(pg_batch_add(&batch, STMT_RUN_GET), op->run);
  struct pg_args *args = pg_batch_add(&batch, STMT_RUN_EVENTS);
  pg_put_uuid(args, op->run);
  pg_put_int(args, op->after);
  pg_put_int(args, op->limit + 1);
  return pg_run_batch(web_app(op->req)->pg, &batch, 0, on_events, op, err);
}

static void get_events(struct http_req *req) {
  struct err err;
  struct events_op *op = ARENA_NEW(http_req_arena(req), struct events_op);
  if (op)
    op->req = req;
  if (op ? !read_events(op, &err) : !err_no_memory(&err))
    http_reply_error(req, &err);
}

#define ROW(method_word, path_text, policy_word, handler_fn, text)                                                                         \
  {                                                                                                                                        \
    .method = method_word, .path = path_text, .policy = policy_word, .body = BODY_BUFFER, .max_body = API_BODY_MAX, .handler = handler_fn, \
    .summary = text                                                                                                                        \
  }

const struct route api_run_routes[] = {
    {.method = HTTP_POST,
     .path = "/runs",
     .policy = POLICY_TRACK,
     .body = BODY_BUFFER,
     .max_body = API_BODY_MAX,
     .handler = create_run,
     .creates = CREATES_BY_KEY,
     .summary = "Make a run that somebody else executes, or launch one",
     .doc =
         "Without `command` the run is only tracked: `experiment` or `experiment_id`, `name`, `started`, `params`, `tags`. With `command` "
         "(a list, one item an argument; needs the scope `submit`) it waits in the queue and runs as a trial would: also `resources`, "
         "`env`, `workdir`, `workdir_mode`, `workdir_max`, `links`, `retries`, `priority`, `stop_grace`, `artifacts`, `metrics_from`, "
         "`inherit_env`, `tty`, `log_max`, `log_spool_max`, `log_policy` as in a sweep file, and what the command line adds: "
         "`directory`, `code`, `environment`."},
    ROW(HTTP_POST, "/runs/search", POLICY_READ, search_runs, "Search runs"),
    ROW(HTTP_POST, "/runs/compare", POLICY_READ, compare_runs, "Params and metrics of some runs side by side"),
    {.method = HTTP_GET, .path = "/runs/{id}", .policy = POLICY_READ, .handler = get_run, .summary = "One run"},
    ROW(HTTP_PATCH, "/runs/{id}", POLICY_TRACK, patch_run, "Change name, state or tags"),
    {.method = HTTP_DELETE, .path = "/runs/{id}", .policy = POLICY_TRACK, .handler = delete_run, .summary = "Put a run into the trash"},
    ROW(HTTP_POST, "/runs/{id}/restore", POLICY_TRACK, restore_run, "Take a run out of the trash"),
    {.method = HTTP_GET,
     .path = "/runs/{id}/events",
     .policy = POLICY_READ,
     .handler = get_events,
     .summary = "What happened to a run",
     .query = "limit:integer,cursor:string"},
};
const size_t api_run_route_count = ARRAY_LEN(api_run_routes);
