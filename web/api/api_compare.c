/* /api/v1: runs side by side. */
#include "web/api/api_runs.h"

#include <math.h>

#include "base/map.h"
#include "storage/metrics/metric_store.h"
#include "tracker/packed.h"
#include "web/http/stream_pump.h"
#include "web/tables.h"
#include "web/tracking.h"

/* COMPARE_CELLS_MAX bounds the answer: keys times runs. One of COMPARE_WHOLE bytes and more is streamed. */
enum { COMPARE_MAX = 100, COMPARE_CELLS_MAX = 500000, COMPARE_LINES_MAX = 64 * MIB, COMPARE_WHOLE = MIB };

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

/* A key that any of the runs has, quoted, with what each has of it; runs without it have no cell. */
struct cell {
  struct cell *next;
  struct str value;
  size_t run;
};

struct line {
  struct line *next;
  struct str key;
  struct cell *cells;
};

/* In the order in which keys are met. */
struct lines {
  struct arena arena;
  struct map by_key;
  struct line *first, **end;
};

static void lines_release(struct lines *lines) {
  map_release(&lines->by_key);
  arena_release(&lines->arena);
}

static struct line *line_of(struct lines *lines, struct str key) {
  struct line *line = map_get(&lines->by_key, key);
  if (line)
    return line;
  line = ARENA_NEW(&lines->arena, struct line);
  if (!line || !map_put(&lines->by_key, key, line, NULL))
    return NULL;
  line->key = key;
  *lines->end = line;
  lines->end = &line->next;
  return line;
}

static bool add_cell(struct lines *lines, struct str key, struct str value, size_t run) {
  struct line *line = line_of(lines, key);
  struct cell *cell = line ? ARENA_NEW(&lines->arena, struct cell) : NULL;
  if (!cell)
    return false;
  *cell = (struct cell){.next = line->cells, .value = value, .run = run};
  line->cells = cell;
  return true;
}

static struct str data_of(const struct run_row *row, bool metrics) {
  return metrics ? row->metrics : row->params;
}

static bool read_lines(struct lines *lines, const struct side *side, size_t count, bool metrics, struct err *err) {
  struct str key, value;
  *lines = (struct lines){.arena = ARENA_INIT(COMPARE_LINES_MAX)};
  lines->end = &lines->first;
  map_init(&lines->by_key, COMPARE_CELLS_MAX / count);
  for (size_t i = 0; i < count; i++)
    for (size_t cursor = 0; packed_next(data_of(&side->rows[i], metrics), &cursor, &key, &value);)
      if (!add_cell(lines, key, value, i)) {
        err_set(err, ERR_TOO_LARGE, "the runs have more than %d %s together", COMPARE_CELLS_MAX / (int)count,
                metrics ? "metrics" : "params");
        err_hint(err, "compare fewer runs at a time");
        return false;
      }
  return true;
}

static bool last_of(struct str packed, double *ret) {
  return packed_number(packed, METRIC_LAST, ret);
}

static enum goal goal_of(const struct side *side, size_t run, const struct buf *key) {
  return str_eq(side->goal_metric[run], buf_str(key)) ? side->goals[run] : GOAL_NONE;
}

/* The run with the least or greatest value of all, and what its sweep says is better. */
static void put_best(struct json_writer *w, const struct compare_op *op, const struct side *side, const struct str *values,
                     const struct buf *key) {
  size_t best[] = {SIZE_MAX, SIZE_MAX};
  double found[2] = {INFINITY, -INFINITY}, value;
  enum goal goal = GOAL_NONE;
  for (size_t i = 0; i < op->count; i++) {
    goal = goal == GOAL_NONE ? goal_of(side, i, key) : goal;
    if (packed_number(values[i], METRIC_MIN, &value) && !isnan(value) && (value < found[0] || best[0] == SIZE_MAX)) {
      found[0] = value;
      best[0] = i;
    }
    if (packed_number(values[i], METRIC_MAX, &value) && !isnan(value) && (value > found[1] || best[1] == SIZE_MAX)) {
      found[1] = value;
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
  if (goal != GOAL_NONE && packed_number(packed, goal == GOAL_MAXIMIZE ? METRIC_MAX : METRIC_MIN, &value))
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

static void put_line(struct json_writer *w, const struct compare_op *op, const struct side *side, const struct line *line, bool metrics) {
  AUTO_BUF struct buf name = BUF_INIT(64 * KIB);
  struct str values[COMPARE_MAX] = {0};
  bool differs = false;
  for (const struct cell *cell = line->cells; cell; cell = cell->next)
    values[cell->run] = cell->value;
  packed_unquote(line->key, &name);
  jw_object(w);
  jw_put_str(w, "key", buf_str(&name));
  jw_key(w, "values");
  jw_object(w);
  for (size_t i = 0; i < op->count; i++) {
    char hex[ID_HEX_LEN + 1];
    id_format(op->runs[i], hex);
    differs |= differ(values[i], values[op->base], metrics);
    jw_key(w, hex);
    if (!values[i].p)
      jw_null(w);
    else if (metrics)
      put_metric_side(w, values[i], values[op->base], goal_of(side, i, &name));
    else
      jw_raw(w, values[i]);
  }
  jw_object_end(w);
  if (metrics)
    put_best(w, op, side, values, &name);
  jw_put_bool(w, "differs", differs);
  jw_object_end(w);
}

static void read_goals(struct side *side, const struct compare_op *op, const struct pg_reply *goals) {
  for (size_t i = 0; i < op->count; i++)
    for (size_t row = 0; row < pg_rows(goals); row++)
      if (id_eq(pg_uuid(goals, row, 0), op->runs[i])) {
        side->goal_metric[i] = pg_text(goals, row, 1);
        side->goals[i] = str_is(pg_text(goals, row, 2), "maximize") ? GOAL_MAXIMIZE : GOAL_MINIMIZE;
      }
}

/* What of the answer comes next. */
enum part { PART_RUNS, PART_PARAMS, PART_METRICS, PART_END };

/* The answer, made on a thread, and a piece at a time where it is long: of runs with ten thousands of metrics it takes seconds, and is ten
 * times what the runs are. Lies in the request's arena. */
struct comparison {
  struct work work;
  struct stream_pump pump;
  const struct compare_op *op;
  struct side side;
  struct arena texts; /* what `side` holds */
  struct lines params, metrics;
  enum part part;
  size_t run;              /* the next of PART_RUNS */
  const struct line *line; /* the next of PART_PARAMS and PART_METRICS */
  struct json_writer w;
  struct buf body;
  size_t sent; /* of `body` */
  struct err err;
  bool ok;
};

static void begin_lines(struct comparison *it, enum part part, const char *key, const struct lines *lines) {
  it->part = part;
  it->line = lines->first;
  jw_key(&it->w, key);
  jw_array(&it->w);
}

static void put_run(struct comparison *it) {
  if (it->run < it->op->count) {
    api_put_run(&it->w, &it->side.rows[it->run++], NULL);
    return;
  }
  jw_array_end(&it->w);
  mlflow_put_id(&it->w, "base", it->op->runs[it->op->base]);
  begin_lines(it, PART_PARAMS, "params", &it->params);
}

static void put_next_line(struct comparison *it) {
  if (it->line) {
    put_line(&it->w, it->op, &it->side, it->line, it->part == PART_METRICS);
    it->line = it->line->next;
    return;
  }
  jw_array_end(&it->w);
  if (it->part == PART_PARAMS) {
    begin_lines(it, PART_METRICS, "metrics", &it->metrics);
    return;
  }
  jw_object_end(&it->w);
  it->part = PART_END;
}

/* Until `body` has so many bytes, or all there is. */
static bool put_more(struct comparison *it, size_t enough, struct err *err) {
  while (it->part != PART_END && it->body.n < enough && !it->body.fail)
    if (it->part == PART_RUNS)
      put_run(it);
    else
      put_next_line(it);
  return buf_ok(&it->body, err);
}

static void begin_comparison(struct work *work) {
  struct comparison *it = CONTAINER_OF(work, struct comparison, work);
  it->ok = read_lines(&it->params, &it->side, it->op->count, false, &it->err) &&
           read_lines(&it->metrics, &it->side, it->op->count, true, &it->err);
  if (!it->ok)
    return;
  jw_init(&it->w, &it->body);
  jw_object(&it->w);
  jw_key(&it->w, "runs");
  jw_array(&it->w);
  it->ok = put_more(it, COMPARE_WHOLE, &it->err);
}

/* One run may be long: what is made goes out in pieces all the same. */
static bool fill(void *ctx, struct buf *out, bool *ret_more, struct err *err) {
  struct comparison *it = ctx;
  if (it->sent == it->body.n) {
    buf_reset(&it->body);
    it->sent = 0;
    if (!put_more(it, PUMP_PIECE, err))
      return false;
  }
  struct str piece = str_slice(buf_str(&it->body), it->sent, MIN_OF(it->sent + PUMP_PIECE, it->body.n));
  buf_add_str(out, piece);
  it->sent += piece.n;
  *ret_more = it->sent < it->body.n || it->part != PART_END;
  return buf_ok(out, err);
}

static void comparison_release(struct comparison *it) {
  pump_release(&it->pump);
  lines_release(&it->params);
  lines_release(&it->metrics);
  arena_release(&it->texts);
  buf_release(&it->body);
}

static void on_sent(void *ctx, const struct err *err) {
  struct comparison *it = ctx;
  struct http_req *req = it->op->req;
  comparison_release(it);
  if (err) /* the client sees that it is not complete */
    http_stream_abort(req);
  else
    http_stream_end(req);
}

static void on_begun(struct work *work, bool cancelled) {
  struct comparison *it = CONTAINER_OF(work, struct comparison, work);
  struct http_req *req = it->op->req;
  struct err err = it->err;
  if (cancelled)
    err_set(&err, ERR_UNAVAILABLE, "the service is stopping");
  if (cancelled || !it->ok) {
    comparison_release(it);
    http_reply_error(req, &err);
  } else if (it->part == PART_END) {
    struct buf body = it->body;
    it->body = BUF_INIT(0);
    comparison_release(it);
    http_reply_json(req, 200, &body);
  } else {
    pump_begin(&it->pump, req, web_app(req)->work, "application/json", it);
    if (!pump_go(&it->pump, fill, on_sent, &err))
      on_sent(it, &err);
  }
}

static bool keep_text(struct arena *arena, struct str *text, struct err *err) {
  if (!text->p)
    return true;
  text->p = arena_strdup(arena, *text);
  return text->p || err_no_memory(err);
}

/* The texts of the reply are gone when its callback is over. */
static bool keep_row(struct arena *arena, struct run_row *row, struct err *err) {
  struct str *const texts[] = {&row->name,           &row->user_id,      &row->artifact_uri, &row->executor, &row->node,
                               &row->state_reason,   &row->command,      &row->params,       &row->tags,     &row->metrics,
                               &row->dataset_inputs, &row->model_inputs, &row->model_outputs};
  for (size_t i = 0; i < ARRAY_LEN(texts); i++)
    if (!keep_text(arena, texts[i], err))
      return false;
  return true;
}

static bool keep_all(struct comparison *it, const struct pg_reply *reply, const struct pg_reply *goals, struct err *err) {
  const struct compare_op *op = it->op;
  read_goals(&it->side, op, goals);
  for (size_t i = 0; i < op->count; i++) {
    size_t row = 0;
    while (row < pg_rows(reply) && !id_eq(pg_uuid(reply, row, 0), op->runs[i]))
      row++;
    if (row == pg_rows(reply))
      return api_no_run(err, op->runs[i]);
    run_row_read(reply, row, &it->side.rows[i]);
    if (!keep_row(&it->texts, &it->side.rows[i], err) || !keep_text(&it->texts, &it->side.goal_metric[i], err))
      return false;
  }
  return true;
}

static void on_compared(void *ctx, const struct pg_reply *both) {
  const struct compare_op *op = ctx;
  struct err err;
  struct comparison *it = ARENA_NEW(http_req_arena(op->req), struct comparison);
  if (!pg_ok(both, &err) || (!it && !err_no_memory(&err))) {
    http_reply_error(op->req, &err);
    return;
  }
  it->op = op;
  it->work = (struct work){.run = begin_comparison, .done = on_begun};
  it->texts = ARENA_INIT(MLFLOW_REPLY_MAX);
  it->body = BUF_INIT(MLFLOW_REPLY_MAX);
  if (keep_all(it, pg_nth(both, 0), pg_nth(both, 1), &err) && work_submit(web_app(op->req)->work, &it->work, &err))
    return;
  comparison_release(it);
  http_reply_error(op->req, &err);
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

static bool is_no_id(struct err *err, size_t at) {
  char path[32];
  snprintf(path, sizeof path, "runs[%zu]", at);
  err_set(err, ERR_INVALID, "\"%s\" must be the id of a run, a text", path);
  return err_at(err, path, 0, 0);
}

static bool compare(struct compare_op *op, const struct compare_body *in, struct err *err) {
  struct id base;
  bool found = !in->base.n;
  for (size_t i = 0; i < json_array_size(in->runs); i++) {
    const json_t *item = json_array_get(in->runs, i);
    struct str text = json_str(item);
    size_t same = 0;
    if (!json_is_string(item))
      return is_no_id(err, i);
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
  struct compare_op *op = HTTP_REQ_NEW(req, struct compare_op);
  if (!op)
    return;
  op->req = req;
  if (!api_body(req, &tree, &err) || !json_decode(tree, fields, ARRAY_LEN(fields), "", &in, &err) || !compare(op, &in, &err))
    http_reply_error(req, &err);
}

const struct route api_compare_routes[] = {
    {.method = HTTP_POST,
     .path = "/runs/compare",
     .policy = POLICY_READ,
     .reach = REACH_NAMED,
     .body = BODY_BUFFER,
     .max_body = API_ASK_MAX,
     .handler = compare_runs,
     .response_schema = "run_comparison",
     .summary = "Params and metrics of some runs side by side",
     .request_schema = "run_compare"},
};
const size_t api_compare_route_count = ARRAY_LEN(api_compare_routes);
