/* /api/v1: runs. */
#include "web/api/api_runs.h"

#include "storage/metrics/metric_store.h"
#include "sweeper/sweeps.h"
#include "tracker/logs/log_store.h"
#include "tracker/names.h"
#include "tracker/packed.h"
#include "tracker/run_writer.h"
#include "web/api/params_order.h"
#include "web/api/run_sources.h"
#include "web/idempotency.h"
#include "web/tables.h"
#include "web/tracking.h"

/* ---- what is shared ---- */

bool api_no_run(struct err *err, struct id id) {
  char hex[ID_HEX_LEN + 1];
  id_format(id, hex);
  return err_set(err, ERR_NOT_FOUND, "there is no run %s", hex);
}

bool api_run_in_trash(struct err *err) {
  err_set(err, ERR_WRONG_STATE, "the run is in the trash");
  return err_hint(err, "POST /api/v1/runs/{id}/restore brings it back");
}

bool api_run_id(struct http_req *req, struct id *ret, struct err *err) {
  struct str text = http_req_value(req, "id");
  return id_parse(text, ret) || err_set(err, ERR_NOT_FOUND, "there is no run \"%.*s\"", STR_ARG(str_slice(text, 0, 64)));
}

static bool read_body(struct http_req *req, bool (*read)(struct str, json_t **, struct err *), json_t **ret, struct err *err) {
  struct str body = http_req_body(req);
  if (str_trim(body).n)
    return read(body, ret, err);
  *ret = json_object();
  return *ret || err_no_memory(err);
}

bool api_body(struct http_req *req, json_t **ret, struct err *err) {
  return read_body(req, json_read_body, ret, err);
}

bool api_page(struct http_req *req, int64_t *ret_limit, struct str *ret_cursor, struct err *err) {
  struct str limit = http_req_param(req, "limit");
  *ret_limit = API_LIMIT_DEFAULT;
  *ret_cursor = http_req_param(req, "cursor");
  if (limit.p && (!str_to_i64(limit, ret_limit) || *ret_limit < 1 || *ret_limit > API_LIMIT_MAX))
    return err_set(err, ERR_INVALID, "\"limit\" must be from 1 to %d", API_LIMIT_MAX);
  return true;
}

bool api_span(struct http_req *req, size_t *ret_from, size_t *ret_limit, struct err *err) {
  struct str limit = http_req_param(req, "limit"), cursor = http_req_param(req, "cursor");
  uint64_t from = 0, count = UINT32_MAX;
  if (limit.p && (!str_to_u64(limit, &count) || count < 1 || count > API_LIMIT_MAX))
    return err_set(err, ERR_INVALID, "\"limit\" must be from 1 to %d", API_LIMIT_MAX);
  if (cursor.p && (!str_to_u64(cursor, &from) || from > UINT32_MAX))
    return err_set(err, ERR_INVALID, "\"cursor\" is none that was given out here");
  *ret_from = (size_t)from;
  *ret_limit = (size_t)count;
  return true;
}

bool api_name_check(struct str name, struct err *err) {
  if (!name.p || name.n)
    return true;
  err_set(err, ERR_INVALID, "\"name\" must not be empty");
  return err_at(err, "name", 0, 0);
}

void api_put_span_next(struct json_writer *w, size_t next) {
  char text[24];
  snprintf(text, sizeof text, "%zu", next);
  jw_put_text(w, "next", next ? text : NULL);
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
  struct run_words words; /* of a change of tags alone */
};

static struct run_op *new_op(struct http_req *req) {
  struct run_op *op = HTTP_REQ_NEW(req, struct run_op);
  if (op)
    *op = (struct run_op){.req = req, .status = 200};
  return op;
}

static struct pg_pool *pool(const struct run_op *op) {
  return web_app(op->req)->pg;
}

static void fail(struct run_op *op, const struct err *err) {
  http_reply_error(op->req, err);
}

static void tell_refusal(struct run_op *op, enum tracking_refusal refusal, const struct err *reason) {
  struct err err;
  switch (refusal) {
  case TRACKING_OK:
    return;
  case TRACKING_NO_RUN:
    api_no_run(&err, op->id);
    break;
  case TRACKING_DELETED:
    api_run_in_trash(&err);
    break;
  case TRACKING_CONFLICT:
    err_set(&err, ERR_CONFLICT, "a param cannot be changed once it is logged");
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

/* Answers what the database refused; false when it did not. */
static bool refused(struct run_op *op, const struct pg_reply *reply) {
  enum tracking_refusal refusal = tracking_refusal(reply);
  if (refusal == TRACKING_OK)
    return false;
  tell_refusal(op, refusal, pg_err(reply));
  return true;
}

/* ---- one run ---- */

bool api_write_run(const struct pg_reply *reply, struct id id, struct buf *body, struct err *err) {
  struct run_row row;
  struct json_writer w;
  if (!pg_ok(reply, err) || (pg_rows(reply) == 0 && !api_no_run(err, id)))
    return false;
  run_row_read(reply, 0, &row);
  jw_init(&w, body);
  api_put_run(&w, &row, NULL);
  return true;
}

static void reply_run(struct run_op *op, const struct pg_reply *reply) {
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct err err;
  if (api_write_run(reply, op->id, &body, &err))
    http_reply_json(op->req, op->status, &body);
  else
    fail(op, &err);
}

/* Of a trial those of its sweep's file come first, in its order. `text` holds them. */
static void order_params(struct run_row *row, struct str order, struct buf *text) {
  AUTO_JSON json_t *declared = params_declared(order), *stored = NULL, *params = NULL;
  struct err ignored; /* then it is shown as it is stored */
  struct json_writer w;
  if (!declared || !json_read(row->params, &stored, &ignored) || !(params = params_in_order_flat(declared, stored)))
    return;
  jw_init(&w, text);
  jw_json(&w, params);
  if (!text->fail)
    row->params = buf_str(text);
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
  const char *rests = web_app(op->req)->sweeps ? sweeps_rest_reason(web_app(op->req)->sweeps, op->id) : NULL;
  const struct live_trial *trial =
      row.state == RUN_QUEUED && web_app(op->req)->sweeps ? sweeps_trial(web_app(op->req)->sweeps, op->id) : NULL;
  AUTO_BUF struct buf waits = BUF_INIT(8 * KIB);
  if (rests && !run_state_is_final(row.state))
    row.state_reason = str_of(rests);
  else if (trial && live_wait_reason(trial, &waits))
    row.state_reason = buf_str(&waits);
  if (pg_rows(pg_nth(reply, 1)) && !pg_is_null(pg_nth(reply, 1), 0, 0))
    row.attempts = pg_jsonb(pg_nth(reply, 1), 0, 0);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  AUTO_BUF struct buf params = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  if (pg_rows(pg_nth(reply, 2)))
    order_params(&row, pg_text(pg_nth(reply, 2), 0, 0), &params);
  jw_init(&w, &body);
  jw_object(&w);
  api_put_run_keys(&w, &row, NULL);
  api_put_run_links(&w, &row);
  run_sources_put(&row, reply, 3, &w);
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
  pg_put_uuid(pg_batch_add(&batch, STMT_RUN_ATTEMPTS), op->id);
  pg_put_uuid(pg_batch_add(&batch, STMT_PARAMS_ORDER_OF_TRIAL), op->id);
  run_sources_ask(&batch, op->id);
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

static bool makes_no_experiment(struct err *err) {
  err_set(err, ERR_FORBIDDEN, "there is no experiment of this name, and a job's token makes none");
  return err_hint(err, "name one that is there, or leave it to a token with the scope \"write\" to make it first");
}

static void on_experiment(void *ctx, const struct pg_reply *reply) {
  struct run_op *op = ctx;
  struct err err;
  if (refused(op, reply))
    return;
  if (pg_rows(reply))
    op->experiment_id = pg_int(reply, 0, 0);
  if (!(pg_rows(reply) ? insert_run(op, &err) : makes_no_experiment(&err)))
    fail(op, &err);
}

static bool find_experiment(struct run_op *op, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_EXPERIMENT_GET_BY_NAME);
  pg_put_text(&args, op->experiment_name);
  return pg_run(pool(op), &args, 0, on_experiment, op, err);
}

static bool make_experiment(struct run_op *op, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_EXPERIMENT_ENSURE);
  pg_put_text(&args, op->experiment_name);
  pg_put_text(&args, str_of(web_app(op->req)->artifact_root));
  pg_put_int(&args, tracking_now(op->req));
  return pg_run(pool(op), &args, 0, on_experiment, op, err);
}

bool api_pack_params(struct http_req *req, const json_t *params, struct str *ret, struct err *err) {
  AUTO_BUF struct buf packed = BUF_INIT(16 * MIB);
  struct packed_writer w;
  const char *key;
  json_t *value, *walk = (json_t *)(uintptr_t)params; /* jansson's iterators want a mutable object, but change nothing */
  if (!tracking_words_fit(json_object_size(params), "params", err))
    return false;
  packed_begin(&w, &packed);
  json_object_foreach(walk, key, value) {
    AUTO_BUF struct buf text = BUF_INIT(MIB);
    char path[80];
    snprintf(path, sizeof path, "params.%.*s", STR_ARG(text_cut(str_of(key), 16)));
    if (!key_check(str_of(key), "params", err) || !text_fits(str_of(key), KEY_MAX, path, err))
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
  if (!tracking_words_fit(json_object_size(in->tags), "tags", err) ||
      !api_tags(op->req, in->tags, RUN_TAG_VALUE_MAX, &tags, &removed, &removed_count, err) ||
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
  bool may_make = !access_is_bounded(web_principal(op->req));
  return experiment_name_check(in->experiment, err) && (may_make ? make_experiment(op, err) : find_experiment(op, err));
}

/* A run's name and its tag mlflow.runName are one thing, kept as the name. */
static bool take_name_from_tags(json_t *body, struct err *err) {
  json_t *tags = json_object_get(body, "tags"), *tag = json_object_get(tags, "mlflow.runName"), *said = json_object_get(body, "name");
  struct str name = json_str(said);
  if (!json_is_string(tag))
    return true;
  if (said && !json_is_string(said) && !json_is_null(said))
    return err_set(err, ERR_INVALID, "\"name\" must be a text");
  if (json_string_length(tag) && name.n && !str_eq(json_str(tag), name))
    return err_set(err, ERR_INVALID, "\"name\" and the tag \"mlflow.runName\" are two names for one run");
  if (!name.n && json_object_set(body, "name", tag) != 0)
    return err_no_memory(err);
  json_object_del(tags, "mlflow.runName");
  return true;
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
  bool ok = read_body(req, json_read_body_exactly, &tree, &err) && take_name_from_tags(tree, &err);
  const json_t *command = ok ? json_object_get(tree, "command") : NULL;
  if (json_is_null(command)) {
    json_object_del(tree, "command");
    command = NULL;
  }
  if (command)
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

static void on_read(void *ctx, const struct pg_reply *reply) {
  struct run_op *op = ctx;
  reply_run(op, reply);
}

static void on_tagged(void *ctx, const char *refusal, const struct err *err) {
  struct run_op *op = ctx;
  struct err why;
  if (err) {
    tell_refusal(op, tracking_refusal_named(refusal), err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUN_GET);
  pg_put_uuid(&args, op->id);
  if (!pg_run(pool(op), &args, 0, on_read, op, &why))
    fail(op, &why);
}

/* Tags alone, which have been checked: written with those of others who change the run. */
static bool patch_tags(struct run_op *op, const json_t *tags, bool removes, struct err *err) {
  AUTO_BUF struct buf packed = BUF_INIT(16 * MIB);
  struct json_writer w;
  jw_init(&w, &packed);
  jw_json(&w, tags);
  if (!buf_ok(&packed, err))
    return false;
  const char *kept = arena_strdup(http_req_arena(op->req), buf_str(&packed));
  op->words = (struct run_words){.run = op->id,
                                 .params = STR("{}"),
                                 .tags = str_n(kept, packed.n),
                                 .removes = removes,
                                 .pass = tracking_pass(op->req, op->id),
                                 .done = on_tagged,
                                 .ctx = op};
  return kept ? run_writer_add(web_app(op->req)->writer, &op->words, err) : err_no_memory(err);
}

static bool patch(struct run_op *op, const struct patch_body *in, struct err *err) {
  AUTO_BUF struct buf tags = BUF_INIT(16 * MIB);
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  const struct str *removed;
  size_t removed_count;
  enum run_state state = RUN_RUNNING;
  if (in->state.n && !run_state_parse(in->state, &state))
    return err_set(err, ERR_INVALID, "\"state\" must be a state of runs, not \"%.*s\"", STR_ARG(str_slice(in->state, 0, 64)));
  if (!api_tags(op->req, in->tags, RUN_TAG_VALUE_MAX, &tags, &removed, &removed_count, err) || !api_name_check(in->name, err) ||
      !text_fits(in->name, RUN_TAG_VALUE_MAX, "name", err))
    return false;
  if (!in->state.n && !in->has_ended && !in->name.n && json_object_size(in->tags))
    return patch_tags(op, in->tags, removed_count > 0, err);
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
  if (in->state.n && run_state_is_final((int64_t)state))
    return tracking_run_end(op->req, op->id, &batch, on_patched, op, err);
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

static void on_deleted(void *ctx, const struct pg_reply *reply) {
  const struct run_op *op = ctx;
  if (pg_outcome(reply) == PG_DONE)
    tracking_deleted(op->req, op->id, pg_nth(reply, 0));
  on_moved(ctx, reply);
}

static void move_run(struct http_req *req, enum stmt stmt, pg_done_fn *done, int status) {
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
  tracking_put_move(pg_batch_add(&batch, stmt), req, stmt, op->id);
  pg_put_uuid(pg_batch_add(&batch, STMT_RUN_GET), op->id);
  if (!pg_run_batch(pool(op), &batch, 0, done, op, &err))
    fail(op, &err);
}

static void delete_run(struct http_req *req) {
  move_run(req, STMT_RUN_DELETE, on_deleted, 204);
}

static void restore_run(struct http_req *req) {
  move_run(req, STMT_RUN_RESTORE, on_moved, 200);
}

#define ROW(method_word, path_text, policy_word, reach_word, handler_fn, text, request)                                                  \
  {                                                                                                                                      \
    .method = method_word, .path = path_text, .policy = policy_word, .reach = reach_word, .body = BODY_BUFFER, .max_body = API_BODY_MAX, \
    .handler = handler_fn, .summary = text, .request_schema = request, .response_schema = "run"                                          \
  }

const struct route api_run_routes[] = {
    {.method = HTTP_POST,
     .path = "/runs",
     .policy = POLICY_TRACK,
     .reach = REACH_CHILD,
     .body = BODY_BUFFER,
     .max_body = API_BODY_MAX,
     .handler = create_run,
     .creates = CREATES_BY_KEY,
     .response_schema = "run",
     .summary = "Make a run that somebody else executes, or launch one",
     .request_schema = "run_new",
     .doc =
         "Without `command` the run is only tracked: `experiment` or `experiment_id`, `name`, `started`, `params`, `tags`. With `command` "
         "(a list, one item an argument; needs the scope `submit`) it waits in the queue and runs as a trial would: also `resources`, "
         "`env`, `workdir`, `workdir_mode`, `workdir_max`, `links`, `retries`, `priority`, `stop_grace`, `artifacts`, `metrics_from`, "
         "`inherit_env`, `tty`, `log_max`, `log_spool_max`, `log_policy` as in a sweep file, and what the command line adds: "
         "`directory`, `code`, `environment`."},
    {.method = HTTP_GET,
     .path = "/runs/{id}",
     .policy = POLICY_READ,
     .reach = REACH_NAMED,
     .handler = get_run,
     .response_schema = "run",
     .summary = "One run"},
    ROW(HTTP_PATCH, "/runs/{id}", POLICY_TRACK, REACH_NAMED, patch_run, "Change name, state or tags", "run_edit"),
    {.method = HTTP_DELETE,
     .path = "/runs/{id}",
     .policy = POLICY_TRACK,
     .reach = REACH_NAMED,
     .handler = delete_run,
     .summary = "Put a run into the trash"},
    ROW(HTTP_POST, "/runs/{id}/restore", POLICY_TRACK, REACH_NAMED, restore_run, "Take a run out of the trash", NULL),
};
const size_t api_run_route_count = ARRAY_LEN(api_run_routes);
