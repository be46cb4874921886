#include "web/mlflow_search.h"

#include "storage/metric_store.h"
#include "web/page_token.h"

enum { SEARCH_TIMEOUT_MS = 30000 };

/* Everything the order of the rows depends on. */
static bool make_question(struct mlflow_search *op, const struct mlflow_search_args *args, const struct str *order, size_t order_count,
                          struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(4 * MIB);
  const struct search *search = &op->search;
  char sweep[ID_HEX_LEN + 1] = "";
  if (search->of_sweep)
    id_format(search->sweep, sweep);
  buf_printf(&text, "%d %d %d %d %s %lld", (int)search->domain, (int)search->view, (int)search->hide_parents, (int)search->everywhere, sweep,
             search->of_state ? (long long)search->state : -1LL);
  for (size_t i = 0; i < op->search.experiment_count; i++)
    buf_printf(&text, " %lld", (long long)op->search.experiments[i]);
  buf_putc(&text, '\n');
  buf_add_str(&text, args->filter);
  buf_putc(&text, '\n');
  buf_add_str(&text, args->more);
  for (size_t i = 0; i < order_count; i++) {
    buf_putc(&text, '\n');
    buf_add_str(&text, order[i]);
  }
  for (size_t i = 0; i < op->search.dataset_count; i++)
    buf_printf(&text, "\n%.*s %.*s", STR_ARG(op->search.datasets[i].name), STR_ARG(op->search.datasets[i].digest));
  if (!buf_ok(&text, err))
    return false;
  const char *copy = arena_strdup(http_req_arena(op->req), buf_str(&text));
  if (!copy)
    return err_no_memory(err);
  op->question = str_n(copy, text.n);
  return true;
}

bool mlflow_search_parse(struct mlflow_search *op, const struct mlflow_search_args *args, struct err *err) {
  struct arena *arena = http_req_arena(op->req);
  const struct str *order = NULL;
  size_t order_count = op->search.order_count;
  if (!filter_parse(op->search.domain, args->filter, arena, &op->search.filter, NULL, err))
    return false;
  if (!op->search.order) {
    if (!mlflow_strings(op->req, args->order_by, "order_by", &order, &order_count, err) ||
        !filter_parse_order(op->search.domain, order, order_count, arena, &op->search.order, err))
      return false;
    op->search.order_count = order_count;
  }
  if (!make_question(op, args, order, order ? order_count : 0, err))
    return false;
  op->max_results = args->max_results;
  op->search.limit = args->max_results + 1;
  if (args->page_token.n)
    return page_token_read(args->page_token, op->question, arena, &op->search.page.values, &op->search.page.count, err);
  return true;
}

static void put_texts(struct pg_args *args, const struct search_sql *sql) {
  pg_begin_array(args);
  for (size_t i = 0; i < sql->text_count; i++)
    pg_put_text(args, sql->texts[i].p ? sql->texts[i] : STR(""));
  pg_end_array(args);
}

static void put_ids(struct pg_args *args, const struct search_sql *sql) {
  pg_begin_array(args);
  for (size_t i = 0; i < sql->id_count; i++)
    pg_put_uuid(args, sql->ids[i]);
  pg_end_array(args);
}

static bool run_now(struct mlflow_search *op, struct err *err) {
  AUTO_SEARCH_SQL struct search_sql sql;
  search_sql_init(&sql, http_req_arena(op->req));
  if (!search_compile(&op->search, &sql, err))
    return false;
  op->key_count = sql.key_count;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, op->stmt);
  pg_put_text(&args, buf_str(&sql.text));
  put_texts(&args, &sql);
  pg_put_int8s(&args, sql.ints, sql.int_count);
  pg_put_float8s(&args, sql.numbers, sql.number_count);
  put_ids(&args, &sql);
  return pg_run(web_app(op->req)->pg, &args, SEARCH_TIMEOUT_MS, op->done, op, err);
}

static void on_settled(void *ctx, const struct err *err) {
  struct mlflow_search *op = ctx;
  struct err why;
  if (err)
    http_reply_error(op->req, err);
  else if (!run_now(op, &why))
    http_reply_error(op->req, &why);
}

bool mlflow_search_run(struct mlflow_search *op, enum stmt stmt, pg_done_fn *done, struct err *err) {
  op->stmt = stmt;
  op->done = done;
  if (op->search.domain != FILTER_RUNS)
    return run_now(op, err);
  return metric_settle(web_app(op->req)->metrics, NULL, on_settled, op, err);
}

size_t mlflow_search_rows(const struct mlflow_search *op, const struct pg_reply *reply) {
  return MIN_OF(pg_rows(reply), (size_t)op->max_results);
}

bool mlflow_search_token(const struct mlflow_search *op, const struct pg_reply *reply, size_t key_column, struct buf *out) {
  size_t rows = mlflow_search_rows(op, reply);
  if (pg_rows(reply) <= rows || rows == 0)
    return false;
  struct str values[SEARCH_KEYS_MAX];
  size_t count = 0;
  struct pg_array keys = pg_array(reply, rows - 1, key_column);
  while (count < ARRAY_LEN(values) && pg_array_next(&keys))
    values[count++] = pg_item_is_null(&keys) ? STR_NONE : pg_item_text(&keys);
  page_token_write(out, op->question, values, count);
  return true;
}

void mlflow_search_put_token(const struct mlflow_search *op, struct json_writer *w, const struct pg_reply *reply, size_t key_column) {
  AUTO_BUF struct buf token = BUF_INIT(2 * PAGE_TOKEN_MAX);
  if (!mlflow_search_token(op, reply, key_column, &token))
    return;
  if (token.fail)
    w->out->fail = token.fail;
  jw_put_str(w, "next_page_token", buf_str(&token));
}
