/* MLflow's protocol: the searches of the registry. */
#include "web/mlflow/mlflow_registry_inside.h"
#include "web/mlflow/mlflow_search.h"
#include "web/mlflow/mlflow_tables.h"

enum { MODELS_DEFAULT = 100, MODELS_MAX = 1000, VERSIONS_DEFAULT = 200000, VERSIONS_MAX = 200000 };

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
    registry_put_model(&w, &page->rows[i], reply);
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
  if (mlflow_search_token(page->search, reply, &token))
    page->token = buf_str(&token);
  return page->rows && keep_text(arena, &page->token);
}

static void on_models_found(void *ctx, const struct pg_reply *reply) {
  struct mlflow_search *op = ctx;
  struct err err;
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

static void put_version(struct mlflow_search *op UNUSED, struct json_writer *w, const struct pg_reply *reply, size_t i) {
  struct version_row row;
  version_row_read(reply, i, &row);
  registry_put_version(w, &row);
}

static const struct mlflow_search_shape model_shape = {.page = STMT_MODEL_PAGE, .key_column = MODEL_COLUMNS};
static const struct mlflow_search_shape version_shape = {STMT_VERSION_PAGE, STMT_VERSION_SEARCH, VERSION_COLUMNS, "model_versions",
                                                         put_version};

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
  return models ? mlflow_search_run(op, &model_shape, on_models_found, err) : mlflow_search_answer(op, &version_shape, err);
}

static void begin_search(struct http_req *req, enum filter_domain domain, int64_t default_max) {
  struct search_args in = {.common.max_results = default_max};
  struct err err;
  AUTO_JSON json_t *tree = NULL;
  if (!mlflow_args(req, search_fields, ARRAY_LEN(search_fields), &in, &tree))
    return;
  struct mlflow_search *op = mlflow_search_new(req);
  if (op && !search(op, &in, domain, &err))
    http_reply_error(req, &err);
}

static void search_models(struct http_req *req) {
  begin_search(req, FILTER_REGISTERED_MODELS, MODELS_DEFAULT);
}

static void search_versions(struct http_req *req) {
  begin_search(req, FILTER_MODEL_VERSIONS, VERSIONS_DEFAULT);
}

const struct route mlflow_registry_search_routes[] = {
    MLFLOW_GET("/registered-models/search", REACH_ANY, search_models, "Search registered models"),
    MLFLOW_GET("/model-versions/search", REACH_ANY, search_versions, "Search versions"),
};
const size_t mlflow_registry_search_route_count = ARRAY_LEN(mlflow_registry_search_routes);
