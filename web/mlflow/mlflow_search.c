#include "web/mlflow/mlflow_search.h"

#include "storage/metrics/metric_store.h"

enum {
  STREAM_FROM = 2000,            /* so many results are written as they come */
  PAGE_WEIGHT = 3 * 1024 * 1024, /* by weight_of() in SQL; as JSON it is some two times that, and takes 30 ms to write */
  STREAM_PIECE = 32 * 1024,
  STREAM_AHEAD = 4 * 1024 * 1024, /* that a slow reader has yet to take, before the database waits for it */
  FOUND_AT_ONCE = 256,            /* rows that are weighed again for the next piece of a page, at most */
  STREAM_TIMEOUT_MS = 300000,
};

/* What was built, in the request's arena. */
static bool keep(struct mlflow_search *op, const struct buf *text, struct str *ret, struct err *err) {
  if (!buf_ok(text, err))
    return false;
  const char *copy = arena_strdup(http_req_arena(op->req), buf_str(text));
  *ret = str_n(copy, copy ? text->n : 0);
  return copy || err_no_memory(err);
}

static bool tell_scope(struct mlflow_search *op, struct str more, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(4 * MIB);
  const struct search *search = &op->search;
  char sweep[ID_HEX_LEN + 1] = "";
  if (search->of_sweep)
    id_format(search->sweep, sweep);
  buf_printf(&text, "%d %d %d %d %s %lld\n", (int)search->domain, (int)search->view, (int)search->hide_parents, (int)search->everywhere,
             sweep, search->of_state ? (long long)search->state : -1LL);
  buf_add_str(&text, more);
  for (size_t i = 0; i < search->dataset_count; i++)
    buf_printf(&text, "\n%.*s %.*s", STR_ARG(search->datasets[i].name), STR_ARG(search->datasets[i].digest));
  return keep(op, &text, &op->question.scope, err);
}

static bool tell_experiments(struct mlflow_search *op, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(4 * MIB);
  for (size_t i = 0; i < op->search.experiment_count; i++)
    buf_printf(&text, "%lld ", (long long)op->search.experiments[i]);
  return keep(op, &text, &op->question.experiments, err);
}

static bool tell_order(struct mlflow_search *op, const json_t *order_by, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(4 * MIB);
  if (json_array_size(order_by) == 0) /* the same as none */
    return true;
  char *order = json_dumps(order_by, JSON_COMPACT);
  if (!order)
    return err_no_memory(err);
  buf_puts(&text, order);
  free(order);
  return keep(op, &text, &op->question.order, err);
}

/* Everything the order of the rows depends on. */
static bool make_question(struct mlflow_search *op, const struct mlflow_search_args *args, struct err *err) {
  op->question.filter = args->filter;
  return tell_scope(op, args->more, err) && tell_experiments(op, err) && tell_order(op, args->order_by, err);
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
  if (!make_question(op, args, err))
    return false;
  op->max_results = args->max_results;
  op->search.limit = args->max_results + 1;
  if (args->page_token.n)
    return page_token_read(args->page_token, &op->question, arena, &op->search.page.values, &op->search.page.count, err);
  return true;
}

static void on_page(void *ctx, const struct pg_reply *reply);

static bool put_search(struct mlflow_search *op, struct pg_args *args, struct err *err) {
  AUTO_SEARCH_SQL struct search_sql sql;
  search_sql_init(&sql, http_req_arena(op->req));
  if (!search_compile(&op->search, &sql, err))
    return false;
  op->key_count = sql.key_count;
  search_sql_put(&sql, args);
  return true;
}

/* A row that is heavy by itself cannot be made lighter. */
static bool may_be_less(const struct mlflow_search *op) {
  return op->shape->put_row || op->max_results > 1;
}

static bool run_page(struct mlflow_search *op, int64_t timeout_ms, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, op->shape->page);
  if (!put_search(op, &args, err))
    return false;
  pg_put_int(&args, may_be_less(op) ? PAGE_WEIGHT : INT64_MAX);
  return pg_run(web_app(op->req)->pg, &args, timeout_ms, on_page, op, err);
}

/* An answer that is written as its rows come: from a stream, or, of a page that was found and is heavy, piece by piece, which keeps no
 * session of the database while its reader is slow. */
struct streamed {
  struct mlflow_search *op;
  struct pg_stream *rows;                      /* NULL: all have come, or it is read in pieces */
  const struct search_found *found;            /* what is read in pieces; NULL: it is a stream */
  size_t found_count, found_at, asked, fitted; /* fitted: of those that were asked for last */
  bool is_asking, is_alone;                    /* the next one is a piece by itself */
  int64_t count;
  bool begun, gone, has_more, is_over;
  bool waiting;           /* for the reader */
  bool paused;            /* and so the database waits too */
  struct buf front, back; /* what is being sent, of it `sent`, and what comes after it */
  size_t sent;
  struct loop_timer *late; /* of one that looks up many metrics: its first row has not come in time */
  struct buf token;        /* behind the page's last row */
};

static bool open_stream(struct streamed *s, struct err *err);
static bool stream_heavy(struct streamed *s, int64_t first_row_ms, struct err *err);
static bool reply_in_pieces(struct mlflow_search *op, const struct pg_reply *reply, struct err *err);

/* ---- heavy ones take turns ---- */

static bool was_too_long(const struct mlflow_search *op, const struct pg_reply *reply) {
  return op->given_up || heavy_was_too_long(&op->turn, reply);
}

static bool run_heavy(void *ctx, int64_t left_ms, struct err *err) {
  struct mlflow_search *op = ctx;
  return op->streamed ? stream_heavy(op->streamed, left_ms, err) : run_page(op, left_ms, err);
}

static bool run(struct mlflow_search *op, struct err *err) {
  op->turn.req = op->req;
  op->turn.run = run_heavy;
  op->turn.ctx = op;
  op->turn.hint = "ask for fewer metrics in one filter, or for fewer runs: by experiment, param or tag";
  if (search_is_heavy(&op->search))
    return heavy_take(&op->turn, err);
  return op->streamed ? open_stream(op->streamed, err) : run_page(op, SEARCH_TIMEOUT_MS, err);
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

/* ---- in one piece ---- */

/* Does its page weigh no more than may be sent in one piece? */
static bool fits(const struct mlflow_search *op, const struct pg_reply *reply) {
  size_t rows = mlflow_search_rows(op, reply);
  return rows == 0 || pg_bool(reply, rows - 1, op->shape->key_column + 1);
}

static bool run_shorter(struct mlflow_search *op, struct err *err) {
  op->max_results /= 2;
  op->search.limit = op->max_results + 1;
  return run(op, err);
}

static void on_page(void *ctx, const struct pg_reply *reply) {
  struct mlflow_search *op = ctx;
  struct err err;
  bool goes_on = true;
  heavy_end(&op->turn);
  if (was_too_long(op, reply)) {
    heavy_reply_too_long(&op->turn);
  } else if (!pg_ok(reply, &err)) {
    goes_on = false;
  } else if (op->search.numbers_only && pg_rows(reply) <= (size_t)op->max_results) {
    op->search.numbers_only = false; /* not enough of them: those with NaN and without follow */
    goes_on = run(op, &err);
  } else if (!fits(op, reply)) {
    goes_on = op->shape->put_row ? reply_in_pieces(op, reply, &err) : run_shorter(op, &err);
  } else {
    op->done(op, reply);
  }
  if (!goes_on)
    http_reply_error(op->req, &err);
}

/* A first page, or one that begins among the numbers (their rank is "0"). */
static bool begins_with_numbers(const struct search *search) {
  return search_orders_by_metric(search) && (search->page.count == 0 || str_is(search->page.values[0], "0"));
}

bool mlflow_search_run(struct mlflow_search *op, const struct mlflow_search_shape *shape, pg_done_fn *done, struct err *err) {
  op->shape = shape;
  op->done = done;
  op->search.numbers_only = begins_with_numbers(&op->search);
  return settle_and_run(op, err);
}

size_t mlflow_search_rows(const struct mlflow_search *op, const struct pg_reply *reply) {
  return MIN_OF(pg_rows(reply), (size_t)op->max_results);
}

static void add_token(const struct mlflow_search *op, const struct pg_reply *reply, size_t row, struct buf *out) {
  struct str values[SEARCH_KEYS_MAX];
  size_t count = 0;
  struct pg_array keys = pg_array(reply, row, op->shape->key_column);
  while (count < ARRAY_LEN(values) && pg_array_next(&keys))
    values[count++] = pg_item_is_null(&keys) ? STR_NONE : pg_item_text(&keys);
  page_token_write(out, &op->question, values, count);
}

bool mlflow_search_token(const struct mlflow_search *op, const struct pg_reply *reply, struct buf *out) {
  size_t rows = mlflow_search_rows(op, reply);
  if (pg_rows(reply) <= rows || rows == 0)
    return false;
  add_token(op, reply, rows - 1, out);
  return true;
}

/* `token` of the next page; empty: there is none. */
static void put_end(const struct mlflow_search *op, struct buf *out, const struct buf *token) {
  buf_putc(out, ']');
  if (token->fail)
    out->fail = token->fail;
  if (token->n)
    buf_printf(out, ",\"%s\":\"%s\"", op->is_api ? "next" : "next_page_token", buf_text(token));
  else if (op->is_api)
    buf_puts(out, ",\"next\":null");
  buf_putc(out, '}');
}

static void put_begin(const struct mlflow_search *op, struct buf *out) {
  buf_printf(out, "{\"%s\":[", op->is_api ? "items" : op->shape->name);
}

void mlflow_search_reply_nothing(struct mlflow_search *op) {
  struct buf body = BUF_INIT(KIB);
  buf_puts(&body, op->is_api ? "{\"items\":[],\"next\":null}" : "{}");
  http_reply_json(op->req, 200, &body);
}

static void found_nothing(struct mlflow_search *op) {
  if (op->found_nothing)
    op->found_nothing(op);
  else
    mlflow_search_reply_nothing(op);
}

static void put_row(struct mlflow_search *op, struct buf *out, const struct pg_reply *reply, size_t i) {
  struct json_writer w;
  jw_init(&w, out);
  op->shape->put_row(op, &w, reply, i);
}

static void reply_page(void *ctx, const struct pg_reply *reply) {
  struct mlflow_search *op = ctx;
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  AUTO_BUF struct buf token = BUF_INIT(2 * PAGE_TOKEN_MAX);
  if (pg_rows(reply) == 0) {
    found_nothing(op);
    return;
  }
  put_begin(op, &body);
  for (size_t i = 0; i < mlflow_search_rows(op, reply); i++) {
    if (i)
      buf_putc(&body, ',');
    put_row(op, &body, reply, i);
  }
  mlflow_search_token(op, reply, &token);
  put_end(op, &body, &token);
  http_reply_json(op->req, 200, &body);
}

/* ---- as the rows come ---- */

static void streamed_end(struct streamed *s, bool complete) {
  http_req_on_gone(s->op->req, NULL, NULL);
  buf_release(&s->token);
  buf_release(&s->front);
  buf_release(&s->back);
  if (complete)
    http_stream_end(s->op->req);
  else
    http_stream_abort(s->op->req);
}

static size_t left_to_send(const struct streamed *s) {
  return s->front.n - s->sent + s->back.n;
}

/* Sends what is there, but for a small rest of which more is to come. */
static void send(struct streamed *s) {
  while (!s->waiting && left_to_send(s) > (s->is_over ? 0 : STREAM_PIECE)) {
    if (s->sent == s->front.n) {
      struct buf sent = s->front;
      s->front = s->back;
      s->back = sent;
      s->sent = 0;
      buf_reset(&s->back);
    }
    struct str piece = str_slice(buf_str(&s->front), s->sent, s->sent + STREAM_PIECE);
    s->sent += piece.n;
    enum http_stream_state state = http_stream_write(s->op->req, piece);
    s->waiting = state != STREAM_GO; /* who has left is told of, soon */
  }
}

/* True: all of it is sent. */
static bool send_and_end(struct streamed *s) {
  send(s);
  bool is_sent = s->is_over && left_to_send(s) == 0 && !s->waiting;
  if (is_sent)
    streamed_end(s, true);
  return is_sent;
}

static void on_drained(void *ctx) {
  struct streamed *s = ctx;
  s->waiting = false;
  if (send_and_end(s))
    return;
  if (s->paused && left_to_send(s) < STREAM_AHEAD / 2) {
    s->paused = false;
    pg_stream_resume(s->rows);
  }
}

static void on_reader_gone(void *ctx) {
  struct streamed *s = ctx;
  s->gone = true;
  if (s->rows)
    pg_stream_cancel(s->rows);
  else if (!s->is_asking)
    streamed_end(s, false);
}

/* From the first row on its work is done, and how fast the rest goes is its reader's affair. */
static void on_first_row(struct streamed *s) {
  loop_timer_free(s->late);
  s->late = NULL;
  heavy_end(&s->op->turn);
}

static void begin_answer(struct streamed *s, void (*drained)(void *ctx)) {
  s->begun = true;
  http_stream_begin(s->op->req, 200, "application/json", drained, s);
  put_begin(s->op, &s->back);
}

static void on_stream_row(void *ctx, const struct pg_reply *row) {
  struct streamed *s = ctx;
  if (s->gone)
    return;
  if (!s->begun) {
    on_first_row(s);
    begin_answer(s, on_drained);
  }
  if (s->count == s->op->max_results) {
    s->has_more = true;
    return;
  }
  if (s->count++)
    buf_putc(&s->back, ',');
  put_row(s->op, &s->back, row, 0);
  if (s->back.fail) {
    s->gone = true;
    pg_stream_cancel(s->rows);
    return;
  }
  if (s->count == s->op->max_results)
    add_token(s->op, row, 0, &s->token);
  send(s);
  if (left_to_send(s) > STREAM_AHEAD && !s->paused) {
    s->paused = true;
    pg_stream_pause(s->rows);
  }
}

static void on_stream_failed(struct streamed *s, const struct pg_reply *reply) {
  struct mlflow_search *op = s->op;
  if (s->begun) {
    streamed_end(s, false);
    return;
  }
  buf_release(&s->token);
  http_req_on_gone(op->req, NULL, NULL);
  if (s->gone)
    http_reply_drop(op->req);
  else if (was_too_long(op, reply))
    heavy_reply_too_long(&op->turn);
  else
    http_reply_error(op->req, pg_err(reply));
}

/* Nothing comes behind what was put. */
static void put_last(struct streamed *s) {
  s->is_over = true;
  if (!s->has_more)
    buf_reset(&s->token);
  put_end(s->op, &s->back, &s->token);
}

static void on_stream_done(void *ctx, const struct pg_reply *reply) {
  struct streamed *s = ctx;
  s->rows = NULL;
  on_first_row(s);
  if (s->gone || pg_outcome(reply) != PG_DONE) {
    on_stream_failed(s, reply);
    return;
  }
  if (!s->begun) {
    http_req_on_gone(s->op->req, NULL, NULL);
    buf_release(&s->token);
    found_nothing(s->op);
    return;
  }
  put_last(s);
  if (s->back.fail)
    streamed_end(s, false);
  else
    send_and_end(s);
}

static struct streamed *streamed_new(struct mlflow_search *op, struct err *err) {
  struct streamed *s = ARENA_NEW(http_req_arena(op->req), struct streamed);
  if (s)
    *s = (struct streamed){.op = op, .token = BUF_INIT(MIB), .front = BUF_INIT(MLFLOW_REPLY_MAX), .back = BUF_INIT(MLFLOW_REPLY_MAX)};
  else
    err_no_memory(err);
  return s;
}

static bool open_stream(struct streamed *s, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, s->op->shape->rows);
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

/* ---- what was found, and is too heavy for one piece ---- */

static bool is_of(const struct streamed *s, const struct search_found *found, const struct pg_reply *reply, size_t row) {
  size_t column = s->op->shape->key_column + 2;
  return id_eq(found->id, pg_uuid(reply, row, column)) && found->n == pg_int(reply, row, column + 1) &&
         found->v == pg_int(reply, row, column + 2);
}

/* The rows that fit are of the next `asked`, but for those that are gone. */
static void put_piece(struct streamed *s, const struct pg_reply *reply, size_t rows) {
  size_t i = 0, end = s->found_at + s->asked;
  for (; i < rows && pg_bool(reply, i, s->op->shape->key_column + 1); i++) {
    if (s->count++)
      buf_putc(&s->back, ',');
    put_row(s->op, &s->back, reply, i);
  }
  while (s->found_at < end && (i == rows || !is_of(s, &s->found[s->found_at], reply, i)))
    s->found_at++;
  s->fitted = i;
  s->is_alone = i == 0 && rows > 0;
}

static void on_piece(void *ctx, const struct pg_reply *reply);

static bool ask_piece(struct streamed *s, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  AUTO_SEARCH_SQL struct search_sql sql;
  AUTO_ARENA struct arena arena;
  arena_init(&arena, MIB);
  s->asked = s->is_alone ? 1 : MIN_OF(s->found_count - s->found_at, MIN_OF(2 * s->fitted + 1, (size_t)FOUND_AT_ONCE));
  search_sql_init(&sql, &arena);
  pg_args_init(&args, s->op->shape->page);
  if (!search_compile_found(s->found + s->found_at, s->asked, &sql, err))
    return false;
  search_sql_put(&sql, &args);
  pg_put_int(&args, s->is_alone ? INT64_MAX : PAGE_WEIGHT);
  s->is_asking = pg_run(web_app(s->op->req)->pg, &args, SEARCH_TIMEOUT_MS, on_piece, s, err);
  return s->is_asking;
}

/* Sends what is there, and asks for more once its reader has taken most of it. */
static void go_on(struct streamed *s) {
  struct err err;
  if (s->found_at == s->found_count && !s->is_over)
    put_last(s);
  if (s->back.fail) {
    streamed_end(s, false);
    return;
  }
  if (send_and_end(s) || s->is_over || s->is_asking || left_to_send(s) > STREAM_AHEAD / 2)
    return;
  if (!ask_piece(s, &err))
    streamed_end(s, false);
}

static void on_piece(void *ctx, const struct pg_reply *reply) {
  struct streamed *s = ctx;
  s->is_asking = false;
  if (s->gone || pg_outcome(reply) != PG_DONE) {
    streamed_end(s, false);
    return;
  }
  put_piece(s, reply, pg_rows(reply));
  go_on(s);
}

static void on_piece_drained(void *ctx) {
  struct streamed *s = ctx;
  s->waiting = false;
  go_on(s);
}

/* Finding its rows may have taken long, and the page stays the one that was found: the others are read by what names them. */
static bool reply_in_pieces(struct mlflow_search *op, const struct pg_reply *reply, struct err *err) {
  struct streamed *s = streamed_new(op, err);
  size_t rows = mlflow_search_rows(op, reply), column = op->shape->key_column + 2;
  struct search_found *found = s ? ARENA_NEW_ARRAY(http_req_arena(op->req), struct search_found, rows) : NULL;
  if (!found)
    return err_no_memory(err);
  for (size_t i = 0; i < rows; i++)
    found[i] = (struct search_found){pg_uuid(reply, i, column), pg_int(reply, i, column + 1), pg_int(reply, i, column + 2)};
  s->found = found;
  s->found_count = s->asked = rows;
  s->has_more = mlflow_search_token(op, reply, &s->token);
  http_req_on_gone(op->req, on_reader_gone, s);
  begin_answer(s, on_piece_drained);
  put_piece(s, reply, rows);
  go_on(s);
  return true;
}

bool mlflow_search_answer(struct mlflow_search *op, const struct mlflow_search_shape *shape, struct err *err) {
  if (op->max_results < STREAM_FROM)
    return mlflow_search_run(op, shape, reply_page, err);
  op->shape = shape;
  op->streamed = streamed_new(op, err);
  return op->streamed && settle_and_run(op, err);
}
