/* /api/v1: experiments. */
#include <inttypes.h>

#include "sweeper/live/sweep.h"
#include "tracker/names.h"
#include "tracker/packed.h"
#include "web/api/api_runs.h"
#include "web/tables.h"
#include "web/tracking.h"

struct experiment_op {
  struct http_req *req;
  int64_t id;
  int status;
  struct str name;
  /* of a list: what was found, while runs are counted */
  struct mlflow_search search;
  struct experiment_row *rows;
  size_t count;
  struct str next;
};

static struct experiment_op *new_op(struct http_req *req) {
  struct experiment_op *op = HTTP_REQ_NEW(req, struct experiment_op);
  if (op) {
    op->req = req;
    op->status = 200;
  }
  return op;
}

static struct pg_pool *pool(const struct experiment_op *op) {
  return web_app(op->req)->pg;
}

static void fail(struct experiment_op *op, const struct err *err) {
  http_reply_error(op->req, err);
}

static bool no_experiment(struct err *err, int64_t id) {
  return err_set(err, ERR_NOT_FOUND, "there is no experiment %lld", (long long)id);
}

static bool read_id(struct experiment_op *op, struct err *err) {
  struct str text = http_req_value(op->req, "id");
  return str_to_i64(text, &op->id) || err_set(err, ERR_NOT_FOUND, "there is no experiment \"%.*s\"", STR_ARG(str_slice(text, 0, 64)));
}

/* `counts`: (experiment, runs), may be NULL. */
static void put_experiment(struct json_writer *w, const struct experiment_row *row, const struct pg_reply *counts) {
  char id[24];
  snprintf(id, sizeof id, "%lld", (long long)row->id);
  jw_object(w);
  jw_put_text(w, "id", id);
  jw_put_str(w, "name", row->name);
  jw_put_str(w, "artifact_location", row->artifact_location);
  jw_put_i64(w, "created", row->created);
  jw_put_i64(w, "updated", row->updated);
  api_put_i64(w, "deleted", row->deleted_at);
  jw_key(w, "tags");
  jw_raw(w, row->tags);
  int64_t runs = INT64_MIN;
  for (size_t i = 0; counts && i < pg_rows(counts); i++)
    if (pg_int(counts, i, 0) == row->id)
      runs = pg_int(counts, i, 1);
  api_put_i64(w, "run_count", runs);
  jw_object_end(w);
}

/* ---- one ---- */

static void put_reading(struct pg_batch *batch, int64_t id) {
  pg_put_int(pg_batch_add(batch, STMT_EXPERIMENT_GET), id);
  pg_put_int8s(pg_batch_add(batch, STMT_EXPERIMENT_RUN_COUNT), &id, 1);
}

static void reply_one(struct experiment_op *op, const struct pg_reply *get, const struct pg_reply *counts) {
  struct experiment_row row;
  struct err err;
  if (pg_rows(get) == 0) {
    no_experiment(&err, op->id);
    fail(op, &err);
    return;
  }
  experiment_row_read(get, 0, &row);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  put_experiment(&w, &row, counts);
  http_reply_json(op->req, op->status, &body);
}

static void on_read(void *ctx, const struct pg_reply *reply) {
  struct experiment_op *op = ctx;
  struct err err;
  if (pg_ok(reply, &err))
    reply_one(op, pg_nth(reply, 0), pg_nth(reply, 1));
  else
    fail(op, &err);
}

static bool read_one(struct experiment_op *op, struct err *err) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  put_reading(&batch, op->id);
  return pg_run_batch(pool(op), &batch, 0, on_read, op, err);
}

static void get_experiment(struct http_req *req) {
  struct experiment_op *op = new_op(req);
  struct err err;
  if (op && !(read_id(op, &err) && read_one(op, &err)))
    fail(op, &err);
}

/* ---- create ---- */

struct create_body {
  struct str name, location;
  const json_t *tags;
};

/* The one that has the name; it may be gone again by now. */
static void on_holder(void *ctx, const struct pg_reply *reply) {
  struct experiment_op *op = ctx;
  struct err err;
  if (pg_ok(reply, &err)) {
    bool in_trash = pg_rows(reply) > 0 && !pg_is_null(reply, 0, 5);
    err_set(&err, ERR_EXISTS, "there is an experiment \"%.*s\" already%s", STR_ARG(str_slice(op->name, 0, 200)),
            in_trash ? ", in the trash" : "");
    if (in_trash)
      err_hint(&err, "`winnow experiment restore %" PRId64 "`, or PATCH with {\"deleted\": false}, brings it back", pg_int(reply, 0, 0));
  }
  fail(op, &err);
}

static bool ask_holder(struct experiment_op *op, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_EXPERIMENT_GET_BY_NAME);
  pg_put_text(&args, op->name);
  return pg_run(web_app(op->req)->pg, &args, 0, on_holder, op, err);
}

static void on_created(void *ctx, const struct pg_reply *reply) {
  struct experiment_op *op = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err);
  if (ok && pg_rows(reply) == 0) {
    ok = ask_holder(op, &err);
  } else if (ok) {
    op->id = pg_int(reply, 0, 0);
    op->status = 201;
    ok = read_one(op, &err);
  }
  if (!ok)
    fail(op, &err);
}

static bool create(struct experiment_op *op, const struct create_body *in, struct err *err) {
  AUTO_BUF struct buf tags = BUF_INIT(16 * MIB);
  const struct str *removed;
  size_t removed_count;
  if (!experiment_name_check(in->name, err) || !artifact_location_check(in->location, err) ||
      !api_tags(op->req, in->tags, EXPERIMENT_TAG_VALUE_MAX, &tags, &removed, &removed_count, err))
    return false;
  op->name = str_of(arena_strdup(http_req_arena(op->req), in->name));
  AUTO_PG_ARGS struct pg_args args;
  return tracking_put_experiment(op->req, in->name, in->location, buf_str(&tags), &args, err) &&
         pg_run(pool(op), &args, 0, on_created, op, err);
}

static void create_experiment(struct http_req *req) {
  static const struct json_field fields[] = {
      {"name", JSON_F_STR, offsetof(struct create_body, name), .required = true},
      {"artifact_location", JSON_F_STR, offsetof(struct create_body, location), .nullable = true},
      {"tags", JSON_F_OBJECT, offsetof(struct create_body, tags), .nullable = true},
  };
  struct create_body in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct experiment_op *op = new_op(req);
  if (op && !(api_body(req, &tree, &err) && json_decode(tree, fields, ARRAY_LEN(fields), "", &in, &err) && create(op, &in, &err)))
    fail(op, &err);
}

/* ---- change ---- */

struct patch_body {
  struct str name;
  const json_t *tags;
  bool deleted, has_deleted;
};

static void on_followed(void *ctx, const struct err *failed) {
  struct experiment_op *op = ctx;
  struct err err;
  if (failed)
    fail(op, failed);
  else if (op->status == 204)
    http_reply_empty(op->req, 204);
  else if (!read_one(op, &err))
    fail(op, &err);
}

/* It went into the trash or came out of it: the request is answered when its sweeps have followed. */
static void have_sweeps_follow(struct experiment_op *op) {
  struct err err;
  if (!sweeps_look_into_trash(web_app(op->req)->sweeps, tracking_actor(op->req), on_followed, op, &err))
    fail(op, &err);
}

/* It may have been moved: nobody knows. */
static void fail_to_move(struct experiment_op *op, const struct err *why) {
  struct err ignored;
  (void)!sweeps_look_into_trash(web_app(op->req)->sweeps, tracking_actor(op->req), NULL, NULL, &ignored);
  fail(op, why);
}

static bool may_delete(const struct experiment_op *op, struct err *err) {
  const struct sweeps *sweeps = web_app(op->req)->sweeps;
  return sweeps_ready(sweeps, err) && sweeps_let_go(sweeps, op->id, err);
}

/* [move], patch, [get, count] */
static void on_patched(void *ctx, const struct pg_reply *reply) {
  struct experiment_op *op = ctx;
  struct err err;
  if (strcmp(pg_sqlstate(reply), "23505") == 0) {
    err_set(&err, ERR_EXISTS, "there is an experiment of that name already");
    fail(op, &err);
    return;
  }
  bool moves = op->count == 1;
  if (!pg_ok(reply, &err)) {
    (moves ? fail_to_move : fail)(op, &err);
    return;
  }
  const struct pg_reply *patched = pg_nth(reply, op->count);
  if (pg_rows(patched) == 0)
    no_experiment(&err, op->id);
  else if (!pg_bool(patched, 0, 0) && !moves)
    err_set(&err, ERR_WRONG_STATE, "the experiment is in the trash");
  else if (moves) {
    have_sweeps_follow(op);
    return;
  } else {
    reply_one(op, pg_nth(reply, 1), pg_nth(reply, 2));
    return;
  }
  fail(op, &err);
}

static bool patch(struct experiment_op *op, const struct patch_body *in, struct err *err) {
  AUTO_BUF struct buf tags = BUF_INIT(16 * MIB);
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  const struct str *removed;
  size_t removed_count;
  if ((in->name.p && !experiment_name_check(in->name, err)) ||
      !api_tags(op->req, in->tags, EXPERIMENT_TAG_VALUE_MAX, &tags, &removed, &removed_count, err))
    return false;
  if (in->deleted && (in->name.n || json_object_size(in->tags)))
    return err_set(err, ERR_INVALID, "nothing is changed of what is in the trash: \"deleted\": true goes without \"name\" and \"tags\"");
  if (in->deleted && !may_delete(op, err))
    return false;
  struct pg_args *args;
  if (in->has_deleted) {
    args = pg_batch_add(&batch, in->deleted ? STMT_EXPERIMENT_DELETE : STMT_EXPERIMENT_RESTORE);
    pg_put_int(args, op->id);
    pg_put_int(args, tracking_now(op->req));
    op->count = 1;
  }
  args = pg_batch_add(&batch, STMT_EXPERIMENT_PATCH);
  pg_put_int(args, op->id);
  pg_put_text(args, in->name.n ? in->name : STR_NONE);
  pg_put_jsonb(args, buf_str(&tags));
  pg_begin_array(args);
  for (size_t i = 0; i < removed_count; i++)
    pg_put_text(args, removed[i]);
  pg_end_array(args);
  pg_put_int(args, tracking_now(op->req));
  if (!in->has_deleted)
    put_reading(&batch, op->id);
  return pg_run_batch(pool(op), &batch, 0, on_patched, op, err);
}

static void patch_experiment(struct http_req *req) {
  static const struct json_field fields[] = {
      {"name", JSON_F_STR, offsetof(struct patch_body, name), .nullable = true},
      {"tags", JSON_F_OBJECT, offsetof(struct patch_body, tags), .nullable = true},
      {"deleted", JSON_F_BOOL, offsetof(struct patch_body, deleted), .nullable = true,
       .present_at = offsetof(struct patch_body, has_deleted)},
  };
  struct patch_body in = {0};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  struct experiment_op *op = new_op(req);
  if (op && !(read_id(op, &err) && api_body(req, &tree, &err) && json_decode(tree, fields, ARRAY_LEN(fields), "", &in, &err) &&
              patch(op, &in, &err)))
    fail(op, &err);
}

static void on_deleted(void *ctx, const struct pg_reply *reply) {
  struct experiment_op *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err))
    fail_to_move(op, &err);
  else if (pg_rows(pg_nth(reply, 1)))
    have_sweeps_follow(op);
  else if (!no_experiment(&err, op->id))
    fail(op, &err);
}

/* Deleting what is deleted changes nothing. */
static void delete_experiment(struct http_req *req) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct experiment_op *op = new_op(req);
  struct err err;
  if (!op)
    return;
  op->status = 204;
  if (!read_id(op, &err) || !may_delete(op, &err)) {
    fail(op, &err);
    return;
  }
  struct pg_args *args = pg_batch_add(&batch, STMT_EXPERIMENT_DELETE);
  pg_put_int(args, op->id);
  pg_put_int(args, tracking_now(req));
  pg_put_int(pg_batch_add(&batch, STMT_EXPERIMENT_GET), op->id);
  if (!pg_run_batch(pool(op), &batch, 0, on_deleted, op, &err))
    fail(op, &err);
}

/* ---- list ---- */

static void on_counted(void *ctx, const struct pg_reply *reply) {
  struct experiment_op *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    fail(op, &err);
    return;
  }
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "items");
  jw_array(&w);
  for (size_t i = 0; i < op->count; i++)
    put_experiment(&w, &op->rows[i], reply);
  jw_array_end(&w);
  jw_put_str(&w, "next", op->next);
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

static bool keep_text(struct arena *arena, struct str *text) {
  text->p = arena_strdup(arena, *text);
  return text->p != NULL;
}

static bool keep_rows(struct experiment_op *op, const struct pg_reply *reply, int64_t *ids, struct err *err) {
  struct arena *arena = http_req_arena(op->req);
  for (size_t i = 0; i < op->count; i++) {
    struct experiment_row *row = &op->rows[i];
    experiment_row_read(reply, i, row);
    ids[i] = row->id;
    if (!keep_text(arena, &row->name) || !keep_text(arena, &row->artifact_location) || !keep_text(arena, &row->tags))
      return err_no_memory(err);
  }
  AUTO_BUF struct buf token = BUF_INIT(MIB);
  if (mlflow_search_token(&op->search, reply, &token)) {
    op->next = buf_str(&token);
    return keep_text(arena, &op->next) || err_no_memory(err);
  }
  return true;
}

static void on_found(void *ctx, const struct pg_reply *reply) {
  struct experiment_op *op = CONTAINER_OF((struct mlflow_search *)ctx, struct experiment_op, search);
  struct err err;
  op->count = mlflow_search_rows(&op->search, reply);
  op->rows = ARENA_NEW_ARRAY(http_req_arena(op->req), struct experiment_row, op->count ? op->count : 1);
  int64_t *ids = ARENA_NEW_ARRAY(http_req_arena(op->req), int64_t, op->count ? op->count : 1);
  if (!op->rows || !ids ? !err_no_memory(&err) : !keep_rows(op, reply, ids, &err)) {
    fail(op, &err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_EXPERIMENT_RUN_COUNT);
  pg_put_int8s(&args, ids, op->count);
  if (!pg_run(pool(op), &args, 0, on_counted, op, &err))
    fail(op, &err);
}

static const struct mlflow_search_shape experiment_shape = {.page = STMT_EXPERIMENT_PAGE, .key_column = EXPERIMENT_ROW_COLUMNS};

static bool list(struct experiment_op *op, struct err *err) {
  struct mlflow_search_args common = {.filter = http_req_param(op->req, "filter")};
  bool in_trash = false;
  if (!http_req_flag(op->req, "deleted", &in_trash, err) || !api_page(op->req, &common.max_results, &common.page_token, err))
    return false;
  if (!common.filter.p)
    common.filter = STR("");
  op->search.req = op->req;
  op->search.search.domain = FILTER_EXPERIMENTS;
  op->search.search.view = in_trash ? VIEW_DELETED : VIEW_ACTIVE;
  return mlflow_search_parse(&op->search, &common, err) && mlflow_search_run(&op->search, &experiment_shape, on_found, err);
}

static void list_experiments(struct http_req *req) {
  struct experiment_op *op = new_op(req);
  struct err err;
  if (op && !list(op, &err))
    fail(op, &err);
}

const struct route api_experiment_routes[] = {
    {.method = HTTP_GET,
     .path = "/experiments",
     .policy = POLICY_READ,
     .handler = list_experiments,
     .response_schema = "experiment_list",
     .summary = "List experiments",
     .query = "filter:string,deleted:boolean,limit:integer,cursor:string"},
    {.method = HTTP_POST,
     .path = "/experiments",
     .policy = POLICY_TRACK,
     .body = BODY_BUFFER,
     .max_body = API_BODY_MAX,
     .handler = create_experiment,
     .creates = CREATES,
     .response_schema = "experiment",
     .summary = "Make an experiment",
     .request_schema = "experiment_new"},
    {.method = HTTP_GET,
     .path = "/experiments/{id}",
     .policy = POLICY_READ,
     .reach = REACH_NAMED,
     .handler = get_experiment,
     .response_schema = "experiment",
     .summary = "One experiment"},
    {.method = HTTP_PATCH,
     .path = "/experiments/{id}",
     .policy = POLICY_TRACK,
     .body = BODY_BUFFER,
     .max_body = API_BODY_MAX,
     .handler = patch_experiment,
     .response_schema = "experiment",
     .summary = "Change name or tags, or take it out of the trash",
     .request_schema = "experiment_edit"},
    {.method = HTTP_DELETE,
     .path = "/experiments/{id}",
     .policy = POLICY_TRACK,
     .handler = delete_experiment,
     .summary = "Put an experiment and its runs into the trash",
     .doc = "Refused (409, naming them) while sweeps of it are not over: stop or drain those first. What MLflow's protocol, which refuses "
            "nothing, deletes all the same has its sweeps paused; they can be resumed when the experiment is restored."},
};
const size_t api_experiment_route_count = ARRAY_LEN(api_experiment_routes);
