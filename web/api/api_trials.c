/* /api/v1: trials: lists, the best, the course, rungs; trials as runs. */
#include <math.h>

#include "base/json.h"
#include "base/mem.h"
#include "storage/metrics/metric_store.h"
#include "storage/pg/pg.h"
#include "tracker/names.h"
#include "tracker/search/trial_search.h"
#include "web/api/api_runs.h"
#include "web/api/params_order.h"
#include "web/api/sweep_op.h"
#include "web/http/http_reply.h"
#include "web/page_token.h"
#include "web/tables.h"
#include "web/tracking.h"

enum { BEST_DEFAULT = 5 };

struct shown_value {
  bool has, has_best;
  struct live_value is;
};

/* Of a trial that runs the row has the value of the last change of its state: what was reported since is in memory. */
static struct shown_value value_of_row(const struct sweeps *sweeps, const struct pg_reply *rows, size_t i) {
  struct shown_value shown = {.has = !pg_is_null(rows, i, 6),
                              .has_best = !pg_is_null(rows, i, 8),
                              .is = {.value = pg_float8(rows, i, 6),
                                     .best = pg_float8(rows, i, 8),
                                     .last = pg_float8(rows, i, 21),
                                     .step = pg_is_null(rows, i, 7) ? 0 : pg_int(rows, i, 7),
                                     .last_step = pg_is_null(rows, i, 22) ? 0 : pg_int(rows, i, 22)}};
  const struct live_trial *trial = shown.has && pg_is_null(rows, i, 14) ? sweeps_trial(sweeps, pg_uuid(rows, i, 0)) : NULL;
  if (trial)
    shown.is = live_value(trial);
  shown.has_best = trial ? !isnan(shown.is.best) : shown.has_best;
  return shown;
}

static void put_value(struct json_writer *w, const struct shown_value *shown) {
  jw_key(w, "value");
  shown->has ? jw_f64(w, shown->is.value) : jw_null(w);
  jw_key(w, "value_step");
  shown->has ? jw_i64(w, shown->is.step) : jw_null(w);
  jw_key(w, "best_value");
  shown->has_best ? jw_f64(w, shown->is.best) : jw_null(w);
  jw_key(w, "last");
  if (!shown->has) {
    jw_null(w);
    return;
  }
  jw_object(w);
  jw_put_i64(w, "step", shown->is.last_step);
  jw_put_f64(w, "value", shown->is.last);
  jw_object_end(w);
}

/* A trial in memory knows the order of its parameters; of another one the file says it. */
static void put_params(const struct sweep_op *op, struct json_writer *w, const json_t *declared, const struct pg_reply *rows, size_t i) {
  const struct live_trial *trial = sweeps_trial(web_app(op->req)->sweeps, pg_uuid(rows, i, 0));
  AUTO_JSON json_t *stored = NULL, *params = trial ? live_params(trial) : NULL;
  struct err ignored; /* then it is shown as it is stored */
  if (!params && declared && json_read(pg_jsonb(rows, i, 5), &stored, &ignored))
    params = params_in_order(declared, stored);
  jw_key(w, "params");
  if (params)
    jw_json(w, params);
  else
    jw_raw(w, pg_is_null(rows, i, 5) ? STR("{}") : pg_jsonb(rows, i, 5));
}

static void put_trial_row(const struct sweep_op *op, struct json_writer *w, const json_t *declared, const struct pg_reply *rows, size_t i) {
  char hex[ID_HEX_LEN + 1];
  int64_t started = pg_int(rows, i, 13);
  struct shown_value shown = value_of_row(web_app(op->req)->sweeps, rows, i);
  const struct live_trial *trial = pg_int(rows, i, 2) == RUN_QUEUED ? sweeps_trial(web_app(op->req)->sweeps, pg_uuid(rows, i, 0)) : NULL;
  AUTO_BUF struct buf waits = BUF_INIT(8 * KIB);
  jw_object(w);
  id_format(pg_uuid(rows, i, 0), hex);
  jw_put_text(w, "run_id", hex);
  jw_put_i64(w, "number", pg_int(rows, i, 1));
  id_format(op->id, hex);
  jw_put_text(w, "sweep_id", hex);
  jw_put_text(w, "state", run_state_name(pg_int(rows, i, 2)));
  jw_put_str(w, "state_reason", trial && live_wait_reason(trial, &waits) ? buf_str(&waits) : pg_text(rows, i, 3));
  jw_put_i64(w, "attempt", pg_int(rows, i, 4));
  put_params(op, w, declared, rows, i);
  put_value(w, &shown);
  jw_key(w, "stop");
  pg_is_null(rows, i, 9) ? jw_null(w) : jw_raw(w, pg_jsonb(rows, i, 9));
  jw_put_str(w, "node", pg_text(rows, i, 10));
  jw_key(w, "slots");
  pg_is_null(rows, i, 11) ? jw_null(w) : jw_i64(w, pg_int(rows, i, 11));
  int64_t made[LIVE_MADE_COUNT];
  for (size_t k = 0; k < LIVE_MADE_COUNT; k++)
    made[k] = pg_is_null(rows, i, 15 + k) ? -1 : pg_int(rows, i, 15 + k);
  live_put_made(w, made);
  jw_put_i64(w, "created", pg_int(rows, i, 12));
  jw_key(w, "started");
  started > 0 ? jw_i64(w, started) : jw_null(w);
  jw_key(w, "ended");
  pg_is_null(rows, i, 14) ? jw_null(w) : jw_i64(w, pg_int(rows, i, 14));
  jw_object_end(w);
}

static void put_items(const struct sweep_op *op, struct json_writer *w, const json_t *declared, const struct pg_reply *rows) {
  size_t count = MIN_OF(pg_rows(rows), (size_t)op->limit);
  jw_key(w, "items");
  jw_array(w);
  for (size_t i = 0; i < count; i++)
    put_trial_row(op, w, declared, rows, i);
  jw_array_end(w);
}

/* First of all the order of the parameters, unless the trials are in memory, which know it. */
static void ask_order(struct sweep_op *op, struct pg_batch *batch) {
  static const struct id none = {{0}};
  op->sweep = sweeps_find(web_app(op->req)->sweeps, op->id);
  pg_put_uuid(pg_batch_add(batch, STMT_PARAMS_ORDER), op->sweep ? none : op->id);
}

/* A sweep that is not in memory has an order, or is none. */
static bool is_there(const struct sweep_op *op, const struct pg_reply *order, struct err *err) {
  return op->sweep || pg_rows(order) || sweep_op_none(op->id, err);
}

static json_t *read_order(const struct pg_reply *order) {
  return pg_rows(order) ? params_declared(pg_text(order, 0, 0)) : NULL;
}

/* ---- all trials of a sweep are looked at ---- */

enum { LIGHT_MAX = 2000 }; /* so many are at once */

/* Of a sweep that is over nobody knows how many they are. */
static bool has_few(const struct sweep_op *op) {
  const struct live_sweep *live = sweeps_find(web_app(op->req)->sweeps, op->id);
  return live && live_trial_count(live) <= LIGHT_MAX;
}

static bool take_turn(struct sweep_op *op, bool is_light, const struct heavy_turn *turn, struct err *err) {
  op->turn = *turn;
  op->turn.req = op->req;
  return is_light ? turn->run(turn->ctx, 0, err) : heavy_take(&op->turn, err);
}

/* False: it has taken too long, and the request is answered. */
static bool end_turn(struct sweep_op *op, const struct pg_reply *reply) {
  heavy_end(&op->turn);
  if (!heavy_was_too_long(&op->turn, reply))
    return true;
  heavy_reply_too_long(&op->turn);
  return false;
}

/* Whether more is better is asked in the turn, too: asked before, it could stand behind somebody's turn that takes long. */
static bool ask_goal(struct sweep_op *op, int64_t timeout_ms, pg_done_fn *done, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_SWEEP_GET);
  pg_put_uuid(&args, op->id);
  return pg_run(web_app(op->req)->pg, &args, timeout_ms, done, op, err);
}

/* What was begun in a turn cannot go on. */
static void fail_in_turn(struct sweep_op *op, const struct err *err) {
  heavy_end(&op->turn);
  sweep_op_fail(op, err);
}

/* ---- the list ---- */

enum { PAGE_KEY_COLUMN = 23 };

struct trial_list {
  struct sweep_op *op;
  struct trial_search search;
  struct page_question question;
};

/* A page goes on behind the last row by what that was compared by; and with the time of the first page, so that what runs keeps its place.
 */
static void put_next(const struct trial_list *list, struct json_writer *w, const struct pg_reply *rows) {
  AUTO_BUF struct buf token = BUF_INIT(2 * PAGE_TOKEN_MAX);
  struct str values[SEARCH_KEYS_MAX + 1];
  char now[24];
  size_t count = 0, limit = (size_t)list->op->limit;
  if (pg_rows(rows) <= limit) {
    jw_put_null(w, "next");
    return;
  }
  struct pg_array keys = pg_array(rows, limit - 1, PAGE_KEY_COLUMN);
  while (count < SEARCH_KEYS_MAX && pg_array_next(&keys))
    values[count++] = pg_item_is_null(&keys) ? STR_NONE : pg_item_text(&keys);
  snprintf(now, sizeof now, "%lld", (long long)list->search.now);
  values[count++] = str_of(now);
  page_token_write(&token, &list->question, values, count);
  if (token.fail)
    w->out->fail = token.fail;
  jw_put_str(w, "next", buf_str(&token));
}

static const char *param_at(const void *ctx, size_t i) {
  void *at = json_object_iter((json_t *)(uintptr_t)ctx);
  while (at && i-- > 0)
    at = json_object_iter_next((json_t *)(uintptr_t)ctx, at);
  return at ? json_object_iter_key(at) : NULL;
}

/* A parameter that the sweep has, or one in a group of it; of a sweep that cannot be read nobody knows. */
static bool check_param(const struct trial_list *list, const json_t *declared, struct err *err) {
  struct str key = list->search.sort.key, group = str_slice(key, 0, MIN_OF(str_find(key, '.'), key.n));
  if (!trial_sort_is_param(&list->search.sort) || !declared || json_object_getn(declared, key.p, key.n) ||
      json_is_object(json_object_getn(declared, group.p, group.n)))
    return true;
  const char *nearest = str_nearest(key, json_object_size(declared), param_at, declared);
  err_set(err, ERR_INVALID, "\"sort\": the sweep has no parameter \"%.*s\"", STR_ARG(str_slice(key, 0, 100)));
  return nearest ? err_hint(err, "did you mean params.%s?", nearest) : false;
}

static void on_list(void *ctx, const struct pg_reply *reply) {
  struct trial_list *list = ctx;
  struct err err;
  if (!end_turn(list->op, reply))
    return;
  bool ok = pg_ok(reply, &err) && is_there(list->op, pg_nth(reply, 0), &err);
  AUTO_JSON json_t *declared = ok ? read_order(pg_nth(reply, 0)) : NULL;
  if (!ok || !check_param(list, declared, &err)) {
    sweep_op_fail(list->op, &err);
    return;
  }
  struct buf body = BUF_INIT(SWEEP_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  put_items(list->op, &w, declared, pg_nth(reply, 1));
  put_next(list, &w, pg_nth(reply, 1));
  jw_object_end(&w);
  sweep_op_reply(list->op, 200, &body);
}

/* ---- what runs has reported since its row was written ---- */

struct heard_values {
  enum trial_reported what;
  struct id *runs;
  double *values;
  size_t count, room;
  bool fail;
};

static double reported_of(enum trial_reported what, const struct live_value *value) {
  switch (what) {
  case REPORTED_VALUE_STEP:
    return (double)value->step;
  case REPORTED_BEST:
    return value->best;
  case REPORTED_LAST:
    return value->last;
  case REPORTED_LAST_STEP:
    return (double)value->last_step;
  default:
    return value->value;
  }
}

static void add_heard(void *ctx, struct id run, const struct live_value *value) {
  struct heard_values *heard = ctx;
  if (heard->count == heard->room) {
    size_t room = MAX_OF(2 * heard->room, (size_t)64);
    struct id *runs = mem_resize(heard->runs, room, sizeof *runs);
    heard->runs = runs ? runs : heard->runs;
    double *values = runs ? mem_resize(heard->values, room, sizeof *values) : NULL;
    heard->values = values ? values : heard->values;
    heard->fail |= !values;
    if (heard->fail)
      return;
    heard->room = room;
  }
  heard->runs[heard->count] = run;
  heard->values[heard->count++] = reported_of(heard->what, value);
}

static void heard_values_release(struct heard_values *heard) {
  mem_free(heard->runs);
  mem_free(heard->values);
}

static bool send_list(void *ctx, int64_t timeout_ms, struct err *err) {
  struct trial_list *list = ctx;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  AUTO_SEARCH_SQL struct search_sql sql;
  CLEANUP(heard_values_release) struct heard_values heard = {.what = trial_sort_reported(&list->search.sort)};
  struct sweep_op *op = list->op;
  const struct live_sweep *live = sweeps_find(web_app(op->req)->sweeps, op->id);
  if (live && heard.what)
    live_each_value(live, add_heard, &heard);
  if (heard.fail)
    return err_no_memory(err);
  list->search.runs = heard.runs;
  list->search.reported = heard.values;
  list->search.reported_count = heard.count;
  search_sql_init(&sql, http_req_arena(op->req));
  if (!trial_search_compile(&list->search, &sql, err))
    return false;
  if (trial_sort_is_param(&list->search.sort))
    pg_put_uuid(pg_batch_add(&batch, STMT_PARAMS_ORDER), op->id);
  else
    ask_order(op, &batch);
  search_sql_put(&sql, pg_batch_add(&batch, STMT_TRIALS_LIST));
  return pg_run_batch(web_app(op->req)->pg, &batch, timeout_ms, on_list, list, err);
}

static bool put_in_order(struct trial_list *list, struct err *err) {
  bool is_light = trial_sort_is_kept(&list->search.sort) || list->search.of_number || has_few(list->op);
  const struct heavy_turn turn = {
      .run = send_list, .ctx = list, .hint = "ask for them by number, which takes no time, or for fewer: by state"};
  return take_turn(list->op, is_light, &turn, err);
}

static void on_settled(void *ctx, const struct err *failed) {
  struct trial_list *list = ctx;
  struct err err;
  if (failed)
    sweep_op_fail(list->op, failed);
  else if (!put_in_order(list, &err))
    sweep_op_fail(list->op, &err);
}

/* ---- what is asked for ---- */

static bool read_page(struct trial_list *list, struct err *err) {
  const struct http_req *req = list->op->req;
  struct str cursor = http_req_param(req, "cursor"), sort = http_req_param(req, "sort");
  struct trial_search *search = &list->search;
  char hex[ID_HEX_LEN + 1];
  id_format(search->sweep, hex);
  const char *question =
      arena_printf(http_req_arena(list->op->req), "trials %s %lld %lld %.*s", hex, search->of_state ? (long long)search->state : -1LL,
                   search->of_number ? (long long)search->number : -1LL, STR_ARG(sort));
  if (!question)
    return err_no_memory(err);
  list->question.scope = str_of(question);
  search->now = clock_wall_ms(web_app(req)->clock);
  if (!cursor.p)
    return true;
  size_t count;
  if (!page_token_read(cursor, &list->question, http_req_arena(list->op->req), &search->page.values, &count, err))
    return false;
  search->page.count = count ? count - 1 : 0;
  return (search->page.count && str_to_i64(search->page.values[count - 1], &search->now)) ||
         err_set(err, ERR_INVALID, "\"cursor\" is none that was given out here");
}

static bool read_search(struct trial_list *list, struct err *err) {
  const struct http_req *req = list->op->req;
  struct str state = http_req_param(req, "state"), number = http_req_param(req, "number");
  struct trial_search *search = &list->search;
  enum run_state wanted = RUN_QUEUED;
  *search = (struct trial_search){.sweep = list->op->id, .of_state = state.p, .of_number = number.p, .limit = list->op->limit + 1};
  if (!trial_sort_parse(http_req_param(req, "sort"), &search->sort, err))
    return false;
  if (state.p && !run_state_parse(state, &wanted))
    return err_set(err, ERR_INVALID, "there is no state \"%.*s\"", STR_ARG(str_slice(state, 0, 40)));
  search->state = wanted;
  if (number.p && (!str_to_i64(number, &search->number) || search->number < 0 || search->number > INT32_MAX))
    return err_set(err, ERR_INVALID, "\"number\" must be the number of a trial");
  return read_page(list, err);
}

static bool list_trials(struct sweep_op *op, struct err *err) {
  struct trial_list *list = ARENA_NEW(http_req_arena(op->req), struct trial_list);
  if (!list)
    return err_no_memory(err);
  list->op = op;
  if (!sweep_op_read_id(op, "sweep", err) || !sweep_op_read_limit(op, err) || !read_search(list, err))
    return false;
  return trial_sort_is_metric(&list->search.sort) ? metric_settle(web_app(op->req)->metrics, NULL, on_settled, list, err)
                                                  : put_in_order(list, err);
}

static void get_trials(struct http_req *req) {
  struct err err;
  struct sweep_op *op = sweep_op_new(req);
  if (op && !list_trials(op, &err))
    sweep_op_fail(op, &err);
}

/* Whether more is better stands in the sweep itself, in memory or in its summary. */
static bool read_goal(struct sweep_op *op, const struct pg_reply *row, bool *ret_maximize, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(SWEEP_REPLY_MAX);
  AUTO_JSON json_t *sweep = NULL;
  const struct live_sweep *live = sweeps_find(web_app(op->req)->sweeps, op->id);
  const struct damaged_sweep *damaged = sweeps_damaged(web_app(op->req)->sweeps, op->id);
  struct json_writer w;
  if (!pg_ok(row, err) || (!pg_rows(row) && !sweep_op_none(op->id, err)))
    return false;
  jw_init(&w, &text);
  if (live)
    live_put_sweep(live, &w);
  else if (damaged)
    damaged_put(damaged, &w);
  else
    buf_add_str(&text, pg_is_null(row, 0, 1) ? STR("{}") : pg_jsonb(row, 0, 1));
  if (!buf_ok(&text, err) || !json_read(buf_str(&text), &sweep, err))
    return false;
  *ret_maximize = str_is(json_str(json_object_get(json_object_get(sweep, "metric"), "goal")), "maximize");
  return true;
}

/* False: the request is answered. */
static bool took_goal(struct sweep_op *op, const struct pg_reply *row) {
  struct err err;
  if (heavy_was_too_long(&op->turn, row))
    return end_turn(op, row);
  if (read_goal(op, row, &op->maximize, &err))
    return true;
  fail_in_turn(op, &err);
  return false;
}

static void reply_best(void *ctx, const struct pg_reply *reply) {
  struct sweep_op *op = ctx;
  struct err err;
  if (!end_turn(op, reply))
    return;
  if (!pg_ok(reply, &err) || !is_there(op, pg_nth(reply, 0), &err)) {
    sweep_op_fail(op, &err);
    return;
  }
  AUTO_JSON json_t *declared = read_order(pg_nth(reply, 0));
  struct buf body = BUF_INIT(SWEEP_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  put_items(op, &w, declared, pg_nth(reply, 1));
  jw_put_null(&w, "next");
  jw_object_end(&w);
  sweep_op_reply(op, 200, &body);
}

static bool send_best(struct sweep_op *op, struct err *err) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  ask_order(op, &batch);
  struct pg_args *args = pg_batch_add(&batch, STMT_TRIALS_BEST);
  pg_put_uuid(args, op->id);
  pg_put_bool(args, op->maximize);
  pg_put_int(args, op->limit);
  return pg_run_batch(web_app(op->req)->pg, &batch, heavy_left_ms(&op->turn), reply_best, op, err);
}

static void on_best_goal(void *ctx, const struct pg_reply *row) {
  struct sweep_op *op = ctx;
  struct err err;
  if (took_goal(op, row) && !send_best(op, &err))
    fail_in_turn(op, &err);
}

static bool begin_best(void *ctx, int64_t timeout_ms, struct err *err) {
  return ask_goal(ctx, timeout_ms, on_best_goal, err);
}

static bool read_count(const struct http_req *req, const char *name, int64_t *ret, struct err *err) {
  struct str text = http_req_param(req, name);
  return !text.p || (str_to_i64(text, ret) && *ret >= 1 && *ret <= SWEEP_LIST_MAX) ||
         err_set(err, ERR_INVALID, "\"%s\" must be from 1 to %d", name, SWEEP_LIST_MAX);
}

/* `k` and `limit`, which every list has, mean the same. */
static void get_best(struct http_req *req) {
  struct err err;
  struct sweep_op *op = sweep_op_new(req);
  if (!op)
    return;
  int64_t k = http_req_param(req, "limit").p ? SWEEP_LIST_MAX : BEST_DEFAULT, limit = SWEEP_LIST_MAX;
  bool ok = sweep_op_read_id(op, "sweep", &err) && read_count(req, "k", &k, &err) && read_count(req, "limit", &limit, &err);
  op->limit = MIN_OF(k, limit);
  const struct heavy_turn turn = {.run = begin_best, .ctx = op, .hint = "the sweep itself tells its best one, which takes no time"};
  if (!ok || !take_turn(op, has_few(op), &turn, &err))
    sweep_op_fail(op, &err);
}

static void on_progress(void *ctx, const struct pg_reply *rows) {
  struct sweep_op *op = ctx;
  struct err err;
  double best = NAN;
  size_t from, limit;
  if (!end_turn(op, rows))
    return;
  if (!pg_ok(rows, &err) || !api_span(op->req, &from, &limit, &err)) {
    sweep_op_fail(op, &err);
    return;
  }
  struct buf body = BUF_INIT(SWEEP_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "items");
  jw_array(&w);
  size_t end = MIN_OF(pg_rows(rows), from + limit);
  for (size_t i = 0; i < end; i++) {
    double value = pg_float8(rows, i, 2);
    bool better = isnan(best) || (op->maximize ? value > best : value < best);
    best = better ? value : best;
    if (i < from)
      continue;
    jw_object(&w);
    jw_put_i64(&w, "number", pg_int(rows, i, 0));
    jw_put_i64(&w, "time", pg_int(rows, i, 1));
    jw_put_f64(&w, "value", value);
    jw_put_f64(&w, "best", best);
    jw_object_end(&w);
  }
  jw_array_end(&w);
  api_put_span_next(&w, end < pg_rows(rows) ? end : 0);
  jw_object_end(&w);
  sweep_op_reply(op, 200, &body);
}

static bool send_progress(struct sweep_op *op, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_TRIALS_PROGRESS);
  pg_put_uuid(&args, op->id);
  pg_put_bool(&args, op->maximize);
  return pg_run(web_app(op->req)->pg, &args, heavy_left_ms(&op->turn), on_progress, op, err);
}

static void on_progress_goal(void *ctx, const struct pg_reply *row) {
  struct sweep_op *op = ctx;
  struct err err;
  if (took_goal(op, row) && !send_progress(op, &err))
    fail_in_turn(op, &err);
}

static bool begin_progress(void *ctx, int64_t timeout_ms, struct err *err) {
  return ask_goal(ctx, timeout_ms, on_progress_goal, err);
}

static void get_progress(struct http_req *req) {
  struct err err;
  struct sweep_op *op = sweep_op_new(req);
  if (!op)
    return;
  const struct heavy_turn turn = {.run = begin_progress, .ctx = op, .hint = "the sweep itself tells its best trial, which takes no time"};
  if (!sweep_op_read_id(op, "sweep", &err) || !take_turn(op, has_few(op), &turn, &err))
    sweep_op_fail(op, &err);
}

static void get_rungs(struct http_req *req) {
  struct err err;
  struct sweep_op *op = sweep_op_new(req);
  if (!op)
    return;
  size_t from, limit;
  bool ok = sweep_op_read_id(op, "sweep", &err) && api_span(req, &from, &limit, &err);
  op->sweep = ok ? sweeps_find(web_app(req)->sweeps, op->id) : NULL;
  if (!op->sweep) {
    if (!ok || !sweep_op_query(op, STMT_SWEEP_GET, sweep_op_not_live, &err))
      sweep_op_fail(op, &err);
    return;
  }
  struct buf body = BUF_INIT(SWEEP_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "items");
  api_put_span_next(&w, live_put_rungs(op->sweep, from, limit, &w));
  jw_object_end(&w);
  sweep_op_reply(op, 200, &body);
}

static void on_importance(void *ctx, struct str json, const struct err *err) {
  struct sweep_op *op = ctx;
  struct err none;
  if (err && err->code == ERR_NOT_FOUND) {
    sweep_op_none(op->id, &none);
    err = &none;
  }
  if (err) {
    sweep_op_fail(op, err);
    return;
  }
  struct buf body = BUF_INIT(SWEEP_REPLY_MAX);
  buf_add_str(&body, json);
  sweep_op_reply(op, 200, &body);
}

static void get_importance(struct http_req *req) {
  struct err err;
  struct sweep_op *op = sweep_op_new(req);
  if (op && (!sweep_op_read_id(op, "sweep", &err) || !sweeps_importance(web_app(req)->sweeps, op->id, on_importance, op, &err)))
    sweep_op_fail(op, &err);
}

static void post_trial(struct http_req *req) {
  struct err err;
  struct sweep_op *op = sweep_op_live(req);
  const json_t *params = NULL;
  static const struct json_field fields[] = {{"params", JSON_F_OBJECT, 0, .required = true}};
  if (op && (!sweep_op_read_body(op, &err) || !json_decode(op->json, fields, ARRAY_LEN(fields), "", &params, &err) ||
             !live_enqueue(op->sweep, params, tracking_actor(req), &op->trial, &err) ||
             !sweeps_wait(op->sweep, op->trial, sweep_op_trial_made, op, &err)))
    sweep_op_fail(op, &err);
}

#define ROUTE_GET(path_, handler_, response_, summary_, query_)                                                               \
  {                                                                                                                           \
    .method = HTTP_GET, .path = path_, .policy = POLICY_READ, .reach = REACH_NAMED, .handler = handler_, .summary = summary_, \
    .query = query_, .response_schema = response_                                                                             \
  }

const struct route trial_routes[] = {
    {.method = HTTP_GET,
     .path = "/sweeps/{id}/trials",
     .policy = POLICY_READ,
     .reach = REACH_NAMED,
     .handler = get_trials,
     .summary = "Its trials",
     .doc =
         "`sort` is a column of trials (`number`, `state`, `value`, `best_value`, `last.value`, `stop.rule`, `node`, `started`, ...), "
         "`duration` (of what runs, until now), `params.NAME` or `metrics.NAME` (the last value); `-` before it is the other way round. "
         "Either way numbers come first, then NaN, true and false, texts, and last what has none; equals by number. States go from "
         "QUEUED to LOST; why one waits is told, but is no reason to sort it by. While trials change, pages show each trial once whose place stays the same.",
     .query = "state:string,number:integer,sort:string,limit:integer,cursor:string",
     .response_schema = "trial_list"},
    {.method = HTTP_POST,
     .path = "/sweeps/{id}/trials",
     .policy = POLICY_TRACK,
     .body = BODY_BUFFER,
     .max_body = SWEEP_BODY_MAX,
     .handler = post_trial,
     .creates = CREATES,
     .summary = "Enqueue a hand-picked point",
     .request_schema = "trial_new",
     .response_schema = "trial"},
    ROUTE_GET("/sweeps/{id}/best", get_best, "trial_list", "The best finished trials", "k:integer,limit:integer"),
    ROUTE_GET("/sweeps/{id}/progress", get_progress, "sweep_progress", "The best value so far, trial by trial",
              "limit:integer,cursor:string"),
    ROUTE_GET("/sweeps/{id}/rungs", get_rungs, "rung_list", "What the rules of early termination know", "limit:integer,cursor:string"),
    {.method = HTTP_GET,
     .path = "/sweeps/{id}/importance",
     .policy = POLICY_READ,
     .reach = REACH_NAMED,
     .handler = get_importance,
     .summary = "Which parameters matter",
     .doc =
         "PED-ANOVA: how far the best tenth of the finished trials is distributed otherwise than all of them, parameter by parameter, as "
         "shares of one with a 95 % interval; and pairs that matter together beyond each alone. `low_confidence` says when there are too "
         "few trials to trust it, `reason` why.",
     .response_schema = "importance"},
};
const size_t trial_route_count = ARRAY_LEN(trial_routes);
