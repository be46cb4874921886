/* /api/v1: searching runs. */
#include "web/api/api_runs.h"

#include "storage/metrics/metric_store.h"
#include "tracker/names.h"
#include "web/tables.h"
#include "web/tracking.h"

struct search_body {
  const json_t *experiments, *order_by, *columns;
  struct str filter, cursor, sweep, state;
  int64_t limit;
  bool deleted;
};

static void put_found(struct mlflow_search *op, struct json_writer *w, const struct pg_reply *reply, size_t i) {
  struct run_row row;
  run_row_read(reply, i, &row);
  api_put_run(w, &row, op->extra);
}

static const struct mlflow_search_shape run_shape = {STMT_RUN_PAGE, STMT_RUN_SEARCH, RUN_ROW_COLUMNS, "items", put_found};

static bool no_such_scope(const struct mlflow_search *op, const struct pg_reply *reply, struct err *err) {
  char sweep[ID_HEX_LEN + 1];
  if (!pg_is_null(reply, 0, 0)) {
    err_set(err, ERR_NOT_FOUND, "there is no experiment %lld", (long long)pg_int(reply, 0, 0));
    return err_hint(err, "GET /api/v1/experiments?filter=name='NAME' tells the id");
  }
  id_format(op->search.sweep, sweep);
  return err_set(err, ERR_NOT_FOUND, "there is no sweep \"%s\"", sweep);
}

static void on_scope(void *ctx, const struct pg_reply *reply) {
  struct mlflow_search *op = ctx;
  struct err err;
  if (pg_ok(reply, &err) && (pg_rows(reply) == 0 || no_such_scope(op, reply, &err)))
    mlflow_search_reply_nothing(op);
  else
    http_reply_error(op->req, &err);
}

/* Where nothing is because the place does not exist, that is said. */
static void check_scope(struct mlflow_search *op) {
  const struct search *search = &op->search;
  struct err err;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUN_SEARCH_SCOPE);
  pg_put_int8s(&args, search->experiments, search->experiment_count);
  if (search->of_sweep)
    pg_put_uuid(&args, search->sweep);
  else
    pg_put_null(&args);
  if (!pg_run(web_app(op->req)->pg, &args, 0, on_scope, op, &err))
    http_reply_error(op->req, &err);
}

static bool experiment_is_no_id(struct err *err, size_t at, struct str text) {
  char path[48];
  snprintf(path, sizeof path, "experiments[%zu]", at);
  err_set(err, ERR_INVALID, "\"%s\" must be the id of an experiment, not \"%.*s\"", path, STR_ARG(str_slice(text, 0, 64)));
  err_at(err, path, 0, 0);
  return err_hint(err, "GET /api/v1/experiments?filter=name='NAME' tells the id");
}

static bool read_scope(struct mlflow_search *op, const struct search_body *in, struct err *err) {
  const struct str *texts;
  size_t count;
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
    if (!str_to_i64(texts[i], &ids[i]))
      return experiment_is_no_id(err, i, texts[i]);
  op->search.experiments = ids;
  op->search.experiment_count = count;
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
  op->found_nothing = check_scope;
  return mlflow_search_answer(op, &run_shape, err);
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
  struct mlflow_search *op = mlflow_search_new(req);
  if (op && (!api_body(req, &tree, &err) || !json_decode(tree, fields, ARRAY_LEN(fields), "", &in, &err) || !search(op, &in, &err)))
    http_reply_error(req, &err);
}

const struct route api_run_search_routes[] = {
    {.method = HTTP_POST,
     .path = "/runs/search",
     .policy = POLICY_READ,
     .reach = REACH_NAMED,
     .body = BODY_BUFFER,
     .max_body = API_ASK_MAX,
     .handler = search_runs,
     .response_schema = "run_list",
     .summary = "Search runs",
     .request_schema = "run_search"},
};
const size_t api_run_search_route_count = ARRAY_LEN(api_run_search_routes);
