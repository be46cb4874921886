#include "web/mlflow/mlflow_search.h"

#include "storage/metrics/metric_store.h"
#include "web/page_token.h"

enum { STREAM_TIMEOUT_MS = 300000 };

/* Everything the order of the rows depends on. */
static bool make_question(struct mlflow_search *op, const struct mlflow_search_args *args, const struct str *order, size_t order_count,
                          struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(4 * MIB);
  const struct search *search = &op->search;
  char sweep[ID_HEX_LEN + 1] = "";
  if (search->of_sweep)
    id_format(search->sweep, sweep);
  buf_printf(&text, "%d %d %d %d %s %lld", (int)search->domain, (int)search->view, (int)search->hide_parents, (int)search->everywhere,
             sweep, search->of_state ? (long long)search->state : -1LL);
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

bool mlflow_check_max_results(int64_t wanted, int most, struct err *err) {
  if (wanted < 1)
    return err_set(err, ERR_INVALID, "Invalid value %lld for parameter 'max_results' supplied. It must be a positive integer",
                   (long long)wanted);
  return wanted <= most ||
         err_set(err, ERR_INVALID, "Invalid value %lld for parameter 'max_results' supplied. It must be at most %d, but got value %lld",
                 (long long)wanted, most, (long long)wanted);
}

struct mlflow_search *mlflow_search_new(struct http_req *req) {
  struct mlflow_search *op = HTTP_REQ_NEW(req, struct mlflow_search);
  if (op)
    op->req = req;
  return op;
}

bool mlflow_search_parse(struct mlflow_search *op, const struct mlflow_search_args *args, struct err *err) {
  struct arena *arena = http_req_arena(op->req);
  const struct str *order = NULL;
  size_t order_count = op->search.order_count;
  size_t at = 0;
  if (!filter_parse(op->search.domain, args->filter, arena, &op->search.filter, &at, err))
    return err->code == ERR_INVALID ? err_at_byte(err, "filter", args->filter, at) : false;
  if (!op->search.order) {
    if (!mlflow_strings(op->req, args->order_by, "order_by", &order, &order_count, err) ||
        !filter_parse_order(op->search.domain, order, order_count, arena, &op->search.order, err))
      return err_at(err, "order_by", 0, 0);
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

static bool put_search(struct mlflow_search *op, struct pg_args *args, struct err *err) {
  AUTO_SEARCH_SQL struct search_sql sql;
  search_sql_init(&sql, http_req_arena(op->req));
  if (!search_compile(&op->search, &sql, err))
    return false;
  op->key_count = sql.key_count;
  search_sql_put(&sql, args);
  return true;
}

static bool run_now(struct mlflow_search *op, int64_t timeout_ms, pg_done_fn *done, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, op->stmt);
  return put_search(op, &args, err) && pg_run(web_app(op->req)->pg, &args, timeout_ms, done, op, err);
}

/* An answer that is written as its rows come. One row is held back: whether it is the page's last says the row after it. */
struct streamed {
  struct mlflow_search *op;
  struct pg_stream *rows;
  const char *name, *token_name;
  size_t key_column;
  mlflow_row_fn *put_row;
  int64_t count;
  bool begun, gone, waiting;
  struct loop_timer *late; /* of a heavy one: its first row has not come in time */
  struct buf token;        /* of the last row written */
};

static bool open_stream(struct streamed *s, struct err *err);
static bool stream_heavy(struct streamed *s, int64_t first_row_ms, struct err *err);

/* ---- heavy ones take turns ---- */

static bool was_too_long(const struct mlflow_search *op, const struct pg_reply *reply) {
  return op->given_up || heavy_was_too_long(&op->turn, reply);
}

static void on_heavy_done(void *ctx, const struct pg_reply *reply) {
  struct mlflow_search *op = ctx;
  heavy_end(&op->turn);
  if (was_too_long(op, reply))
    heavy_reply_too_long(&op->turn);
  else
    op->done(op, reply);
}

static bool run_heavy(void *ctx, int64_t left_ms, struct err *err) {
  struct mlflow_search *op = ctx;
  return op->streamed ? stream_heavy(op->streamed, left_ms, err) : run_now(op, left_ms, on_heavy_done, err);
}

static bool run(struct mlflow_search *op, struct err *err) {
  op->turn.req = op->req;
  op->turn.run = run_heavy;
  op->turn.ctx = op;
  op->turn.hint = "ask for fewer metrics in one filter, or for fewer runs: by experiment, param or tag";
  if (search_is_heavy(&op->search))
    return heavy_take(&op->turn, err);
  return op->streamed ? open_stream(op->streamed, err) : run_now(op, SEARCH_TIMEOUT_MS, op->done, err);
}

static void on_settled(void *ctx, const struct err *err) {
  struct mlflow_search *op = ctx;
  struct err why;
  if (err)
    http_reply_error(op->req, err);
  else if (!run(op, &why))
    http_reply_error(op->req, &why);
}

/* Searches of runs look at their last metrics. */
static bool settle_and_run(struct mlflow_search *op, struct err *err) {
  return op->search.domain == FILTER_RUNS ? metric_settle(web_app(op->req)->metrics, NULL, on_settled, op, err) : run(op, err);
}

bool mlflow_search_run(struct mlflow_search *op, enum stmt stmt, pg_done_fn *done, struct err *err) {
  op->stmt = stmt;
  op->done = done;
  return settle_and_run(op, err);
}

/* ---- large answers ---- */

static void write_out(struct streamed *s, struct buf *text) {
  enum http_stream_state state = http_stream_write(s->op->req, buf_str(text));
  if (state == STREAM_WAIT && s->rows) {
    s->waiting = true;
    pg_stream_pause(s->rows);
  }
}

static void on_drained(void *ctx) {
  struct streamed *s = ctx;
  if (s->waiting && s->rows) {
    s->waiting = false;
    pg_stream_resume(s->rows);
  }
}

static void on_reader_gone(void *ctx) {
  struct streamed *s = ctx;
  s->gone = true;
  if (s->rows)
    pg_stream_cancel(s->rows);
}

/* From the first row on its work is done, and how fast the rest goes is its reader's affair. */
static void on_first_row(struct streamed *s) {
  loop_timer_free(s->late);
  s->late = NULL;
  heavy_end(&s->op->turn);
}

static void begin_answer(struct streamed *s, struct buf *text) {
  s->begun = true;
  http_stream_begin(s->op->req, 200, "application/json", on_drained, s);
  buf_printf(text, "{\"%s\":[", s->name);
}

static void keep_token(struct streamed *s, const struct pg_reply *row) {
  struct str values[SEARCH_KEYS_MAX];
  size_t count = 0;
  struct pg_array keys = pg_array(row, 0, s->key_column);
  while (count < ARRAY_LEN(values) && pg_array_next(&keys))
    values[count++] = pg_item_is_null(&keys) ? STR_NONE : pg_item_text(&keys);
  buf_reset(&s->token);
  page_token_write(&s->token, s->op->question, values, count);
}

static void on_stream_row(void *ctx, const struct pg_reply *row) {
  struct streamed *s = ctx;
  AUTO_BUF struct buf text = BUF_INIT(256 * MIB);
  struct json_writer w;
  if (s->gone)
    return;
  if (!s->begun) {
    on_first_row(s);
    begin_answer(s, &text);
  }
  if (s->count++ == s->op->max_results)
    return; /* the row that says that there is another page */
  if (s->count > 1)
    buf_putc(&text, ',');
  jw_init(&w, &text);
  s->put_row(s->op, &w, row);
  if (s->count == s->op->max_results)
    keep_token(s, row);
  write_out(s, &text);
}

static void on_stream_done(void *ctx, const struct pg_reply *reply) {
  struct streamed *s = ctx;
  struct http_req *req = s->op->req;
  AUTO_BUF struct buf text = BUF_INIT(MIB);
  s->rows = NULL;
  on_first_row(s);
  http_req_on_gone(req, NULL, NULL);
  if (s->gone || (s->begun && pg_outcome(reply) != PG_DONE)) {
    buf_release(&s->token);
    if (s->begun)
      http_stream_abort(req);
    else
      http_reply_drop(req);
    return;
  }
  if (pg_outcome(reply) != PG_DONE) {
    buf_release(&s->token);
    if (was_too_long(s->op, reply))
      heavy_reply_too_long(&s->op->turn);
    else
      http_reply_error(req, pg_err(reply));
    return;
  }
  if (!s->begun && !s->op->is_api) {
    struct buf empty = BUF_INIT(KIB);
    buf_release(&s->token);
    buf_puts(&empty, "{}");
    http_reply_json(req, 200, &empty);
    return;
  }
  if (!s->begun)
    begin_answer(s, &text);
  buf_putc(&text, ']');
  if (s->count > s->op->max_results)
    buf_printf(&text, ",\"%s\":\"%s\"", s->token_name, buf_text(&s->token));
  else if (s->op->is_api)
    buf_printf(&text, ",\"%s\":null", s->token_name);
  buf_putc(&text, '}');
  buf_release(&s->token);
  if (http_stream_write(req, buf_str(&text)) == STREAM_GONE)
    http_stream_abort(req);
  else
    http_stream_end(req);
}

static bool open_stream(struct streamed *s, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, s->op->stmt);
  if (put_search(s->op, &args, err))
    s->rows = pg_stream_open(web_app(s->op->req)->pg, &args, STREAM_TIMEOUT_MS, on_stream_row, on_stream_done, s, err);
  if (s->rows)
    http_req_on_gone(s->op->req, on_reader_gone, s);
  return s->rows != NULL;
}

static void on_late(void *ctx) {
  struct streamed *s = ctx;
  s->op->given_up = true;
  pg_stream_cancel(s->rows);
}

static bool stream_heavy(struct streamed *s, int64_t first_row_ms, struct err *err) {
  s->late = loop_timer_new(web_app(s->op->req)->loop, on_late, s);
  if (!s->late)
    return err_no_memory(err);
  loop_timer_start(s->late, first_row_ms);
  if (open_stream(s, err))
    return true;
  loop_timer_free(s->late);
  s->late = NULL;
  return false;
}

bool mlflow_search_stream(struct mlflow_search *op, enum stmt stmt, const char *name, const char *token_name, size_t key_column,
                          mlflow_row_fn *put_row, struct err *err) {
  struct streamed *s = ARENA_NEW(http_req_arena(op->req), struct streamed);
  if (!s)
    return err_no_memory(err);
  *s = (struct streamed){
      .op = op, .name = name, .token_name = token_name, .key_column = key_column, .put_row = put_row, .token = BUF_INIT(MIB)};
  op->stmt = stmt;
  op->streamed = s;
  return settle_and_run(op, err);
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

void mlflow_search_reply(const struct mlflow_search *op, const struct pg_reply *reply, const char *name, size_t key_column,
                         mlflow_item_fn *put) {
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  size_t rows = mlflow_search_rows(op, reply);
  jw_init(&w, &body);
  jw_object(&w);
  if (rows) {
    jw_key(&w, name);
    jw_array(&w);
    for (size_t i = 0; i < rows; i++)
      put(&w, reply, i);
    jw_array_end(&w);
  }
  mlflow_search_put_token(op, &w, reply, key_column);
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}
