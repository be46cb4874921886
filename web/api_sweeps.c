/* /api/v1: sweeps, their trials, ask and tell, reports. */
#include <math.h>

#include "base/json.h"
#include "storage/metric_store.h"
#include "storage/pg.h"
#include "sweeper/sweeps.h"
#include "tracker/names.h"
#include "web/api_sweeps.h"
#include "web/http_reply.h"
#include "web/tables.h"
#include "web/tracking.h"

enum {
  FILE_MAX = SWEEP_FILE_BYTES_MAX,
  BODY_MAX = 8 * 1024 * 1024,
  REPLY_MAX = 256 * 1024 * 1024,
  LIST_MAX = 1000,
  LIST_DEFAULT = 100,
  TELL_MAX = 10000,
  REPORT_KEYS_MAX = 1000,
  LEASE_MAX_S = 30 * 86400,
};

/* A request under way. */
struct sweep_op {
  struct http_req *req;
  struct id id;
  struct live_sweep *sweep;
  struct live_trial *trial;
  struct live_trial **trials;
  size_t count;
  int64_t limit, offset;
  json_t *json; /* freed when answered */
  bool wait;
};

static void op_end(struct sweep_op *op) {
  json_decref(op->json);
  op->json = NULL;
}

static void fail(struct sweep_op *op, const struct err *err) {
  op_end(op);
  http_reply_error(op->req, err);
}

static struct sweep_op *new_op(struct http_req *req) {
  struct sweep_op *op = ARENA_NEW(http_req_arena(req), struct sweep_op);
  struct err err;
  if (op) {
    op->req = req;
    return op;
  }
  err_no_memory(&err);
  http_reply_error(req, &err);
  return NULL;
}

static void reply(struct sweep_op *op, int status, struct buf *body) {
  op_end(op);
  http_reply_json(op->req, status, body);
}

static bool no_sweep(struct id id, struct err *err) {
  char hex[ID_HEX_LEN + 1];
  id_format(id, hex);
  err_set(err, ERR_NOT_FOUND, "there is no sweep %s", hex);
  return err_hint(err, "`winnow sweep ls` lists them");
}

static bool read_id(struct sweep_op *op, const char *what, struct err *err) {
  struct str text = http_req_value(op->req, "id");
  return (id_parse(text, &op->id) || err_set(err, ERR_NOT_FOUND, "there is no %s \"%.*s\"", what, STR_ARG(str_slice(text, 0, 64)))) &&
         sweeps_ready(web_app(op->req)->sweeps, err);
}

/* Who steers a sweep that runs commands needs to be allowed to start processes. */
static bool may_steer(const struct http_req *req, bool has_command, struct err *err) {
  if (!has_command || access_has(web_principal(req), SCOPE_SUBMIT))
    return true;
  bool nobody = web_principal(req)->kind == ACCESS_NOBODY;
  err_set(err, nobody ? ERR_UNAUTHENTICATED : ERR_FORBIDDEN, "a sweep with a command starts processes: that needs the scope submit");
  return err_hint(err, "use the service's Unix socket, or a token from `winnow token create --scope submit`");
}

/* The answer of the database for a sweep that is not in memory: it is over, or there is none. */
static void on_not_live(void *ctx, const struct pg_reply *row) {
  struct sweep_op *op = ctx;
  struct err err;
  if (pg_ok(row, &err)) {
    if (pg_rows(row))
      err_set(&err, ERR_WRONG_STATE, "the sweep is %s", sweep_state_text((int)pg_int(row, 0, 0)));
    else
      no_sweep(op->id, &err);
  }
  fail(op, &err);
}

static bool ask_database(struct sweep_op *op, enum stmt stmt, pg_done_fn *done, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, stmt);
  pg_put_uuid(&args, op->id);
  return pg_run(web_app(op->req)->pg, &args, 0, done, op, err);
}

/* The sweep of the path, when it lives and the caller may steer it; else the request is answered. */
static struct sweep_op *live_op(struct http_req *req) {
  struct err err;
  struct sweep_op *op = new_op(req);
  if (!op)
    return NULL;
  bool ok = read_id(op, "sweep", &err);
  if (ok) {
    op->sweep = sweeps_find(web_app(req)->sweeps, op->id);
    if (!op->sweep) {
      if (ask_database(op, STMT_SWEEP_GET, on_not_live, &err))
        return NULL;
      ok = false;
    }
  }
  if (ok && may_steer(req, live_has_command(op->sweep), &err))
    return op;
  fail(op, &err);
  return NULL;
}

static bool read_body(struct sweep_op *op, struct err *err) {
  return json_read(http_req_body(op->req), &op->json, err) &&
         (json_is_object(op->json) || err_set(err, ERR_INVALID, "an object was expected"));
}

static void reply_sweep(struct sweep_op *op, int status, const struct live_sweep *sweep) {
  struct buf body = BUF_INIT(REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  live_put_sweep(sweep, &w);
  reply(op, status, &body);
}

static void on_changed(void *ctx, const struct err *err) {
  struct sweep_op *op = ctx;
  if (err)
    fail(op, err);
  else
    reply_sweep(op, 200, op->sweep);
}

/* ---- submit ---- */

static void on_made(void *ctx, struct live_sweep *sweep, const struct err *err) {
  struct sweep_op *op = ctx;
  if (err)
    fail(op, err);
  else
    reply_sweep(op, 201, sweep);
}

static bool preview(struct sweep_op *op, const struct sweep_file *file, struct err *err) {
  struct buf body = BUF_INIT(REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  if (!sweeps_preview(web_app(op->req)->sweeps, file, &w, err)) {
    buf_release(&body);
    return false;
  }
  reply(op, 200, &body);
  return true;
}

static bool submit(struct sweep_op *op, struct str text, struct str name, struct str directory, struct err *err) {
  struct sweeps *sweeps = web_app(op->req)->sweeps;
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct spec_problems errors;
  struct sweep_file *file;
  bool dry_run = false;
  struct str dry = http_req_param(op->req, "dry_run");
  if (dry.p && !str_to_bool(dry, &dry_run))
    return err_set(err, ERR_INVALID, "\"dry_run\" must be true or false");
  if (directory.n && (directory.p[0] != '/' || directory.n > 4000))
    return err_set(err, ERR_INVALID, "\"directory\" must be an absolute path");
  const char *file_name = arena_strdup(&arena, str_slice(name, 0, SWEEP_NAME_MAX));
  if (!file_name)
    return err_no_memory(err);
  if (!sweep_file_read(text, file_name, &arena, &file, &errors, err))
    return false;
  bool ok = may_steer(op->req, file->spec.has_command, err) && sweeps_check(sweeps, file, directory, err) &&
            (dry_run ? preview(op, file, err) : sweeps_create(sweeps, file, text, directory, on_made, op, err));
  if (!ok || dry_run)
    sweep_file_free(file);
  return ok;
}

static void post_sweep(struct http_req *req) {
  struct err err;
  struct sweep_op *op = new_op(req);
  if (!op)
    return;
  if (!sweeps_ready(web_app(req)->sweeps, &err) ||
      !submit(op, http_req_body(req), http_req_param(req, "file"), http_req_param(req, "directory"), &err))
    fail(op, &err);
}

/* ---- clone ---- */

static bool clone_text(struct sweep_op *op, struct str source, struct str name, struct err *err) {
  const json_t *new_name = json_object_get(op->json, "name"), *seed = json_object_get(op->json, "seed");
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct spec_problems errors;
  struct sweep_file *file;
  AUTO_BUF struct buf normal = BUF_INIT(FILE_MAX), text = BUF_INIT(FILE_MAX);
  AUTO_JSON json_t *spec = NULL;
  if (!sweep_file_read(source, "", &arena, &file, &errors, err))
    return false;
  bool ok = sweep_file_normal_form(file, &normal, err) && json_read(buf_str(&normal), &spec, err);
  sweep_file_free(file);
  if (!ok)
    return false;
  json_object_set_new(spec, "name", json_is_string(new_name) ? json_copy((json_t *)(uintptr_t)new_name) : json_stringn(name.p, name.n));
  if (json_is_integer(seed)) {
    json_t *sampler = json_object_get(spec, "sampler");
    if (!sampler)
      json_object_set_new(spec, "sampler", sampler = json_object());
    json_object_set_new(sampler, "seed", json_integer(json_integer_value(seed)));
  }
  struct json_writer w;
  jw_init(&w, &text);
  jw_json(&w, spec);
  const char *kept = buf_ok(&text, err) ? arena_strdup(http_req_arena(op->req), buf_str(&text)) : NULL;
  http_req_set_state(op->req, (void *)(uintptr_t)kept);
  return kept || err_no_memory(err);
}

static void on_source(void *ctx, const struct pg_reply *row) {
  struct sweep_op *op = ctx;
  struct err err;
  bool ok = pg_ok(row, &err) && (pg_rows(row) || no_sweep(op->id, &err)) && clone_text(op, pg_text(row, 0, 2), pg_text(row, 0, 0), &err) &&
            sweeps_ready(web_app(op->req)->sweeps, &err) && submit(op, str_of(http_req_state(op->req)), STR(""), pg_text(row, 0, 1), &err);
  if (!ok)
    fail(op, &err);
}

static void post_clone(struct http_req *req) {
  struct err err;
  struct sweep_op *op = new_op(req);
  if (!op)
    return;
  bool ok =
      read_id(op, "sweep", &err) && (!http_req_body(req).n || read_body(op, &err)) && ask_database(op, STMT_SWEEP_SOURCE, on_source, &err);
  if (!ok)
    fail(op, &err);
}

/* ---- look ---- */

static void on_sweep(void *ctx, const struct pg_reply *row) {
  struct sweep_op *op = ctx;
  struct err err;
  if (!pg_ok(row, &err) || (!pg_rows(row) && !no_sweep(op->id, &err))) {
    fail(op, &err);
    return;
  }
  struct str summary = pg_jsonb(row, 0, 1);
  if (!summary.p) {
    err_set(&err, ERR_UNAVAILABLE, "the sweep is %s, but could not be taken up when the service started",
            sweep_state_text((int)pg_int(row, 0, 0)));
    err_hint(&err, "the service's log says why");
    fail(op, &err);
    return;
  }
  struct buf body = BUF_INIT(REPLY_MAX);
  buf_add_str(&body, summary);
  reply(op, 200, &body);
}

static void get_sweep(struct http_req *req) {
  struct err err;
  struct sweep_op *op = new_op(req);
  if (!op)
    return;
  bool ok = read_id(op, "sweep", &err);
  op->sweep = ok ? sweeps_find(web_app(req)->sweeps, op->id) : NULL;
  if (op->sweep)
    reply_sweep(op, 200, op->sweep);
  else if (!ok || !ask_database(op, STMT_SWEEP_GET, on_sweep, &err))
    fail(op, &err);
}

static bool read_limit(struct sweep_op *op, struct err *err) {
  struct str limit = http_req_param(op->req, "limit");
  op->limit = LIST_DEFAULT;
  return !limit.p || (str_to_i64(limit, &op->limit) && op->limit >= 1 && op->limit <= LIST_MAX) ||
         err_set(err, ERR_INVALID, "\"limit\" must be from 1 to %d", LIST_MAX);
}

static void on_sweep_list(void *ctx, const struct pg_reply *rows) {
  struct sweep_op *op = ctx;
  struct err err;
  char hex[ID_HEX_LEN + 1], next[80];
  if (!pg_ok(rows, &err)) {
    fail(op, &err);
    return;
  }
  struct buf body = BUF_INIT(REPLY_MAX);
  struct json_writer w;
  size_t count = MIN_OF(pg_rows(rows), (size_t)op->limit);
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "items");
  jw_array(&w);
  for (size_t i = 0; i < count; i++) {
    const struct live_sweep *live = sweeps_find(web_app(op->req)->sweeps, pg_uuid(rows, i, 0));
    if (live)
      live_put_sweep(live, &w);
    else if (!pg_is_null(rows, i, 3))
      jw_raw(&w, pg_jsonb(rows, i, 3));
  }
  jw_array_end(&w);
  if (pg_rows(rows) > count) {
    id_format(pg_uuid(rows, count - 1, 0), hex);
    snprintf(next, sizeof next, "%lld_%s", (long long)pg_int(rows, count - 1, 1), hex);
    jw_put_text(&w, "next", next);
  } else {
    jw_put_null(&w, "next");
  }
  jw_object_end(&w);
  reply(op, 200, &body);
}

static bool list_sweeps(struct sweep_op *op, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  struct str state = http_req_param(op->req, "state"), cursor = http_req_param(op->req, "cursor"), time = STR_NONE;
  struct id after = {{0}};
  int64_t created = 0;
  pg_args_init(&args, STMT_SWEEP_LIST);
  if (!sweeps_ready(web_app(op->req)->sweeps, err) || !read_limit(op, err))
    return false;
  if (state.p && sweep_state_of(state) < 0)
    return err_set(err, ERR_INVALID, "\"state\" is RUNNING, PAUSED, DRAINING, FINISHED, STOPPED or FAILED");
  if (cursor.p && !(str_split(&cursor, '_', &time) && str_to_i64(time, &created) && id_parse(cursor, &after)))
    return err_set(err, ERR_INVALID, "\"cursor\" is none that was given out here");
  if (state.p)
    pg_put_int(&args, sweep_state_of(state));
  else
    pg_put_null(&args);
  if (time.p) {
    pg_put_int(&args, created);
    pg_put_uuid(&args, after);
  } else {
    pg_put_null(&args);
    pg_put_null(&args);
  }
  pg_put_int(&args, op->limit + 1);
  return pg_run(web_app(op->req)->pg, &args, 0, on_sweep_list, op, err);
}

static void get_sweeps(struct http_req *req) {
  struct err err;
  struct sweep_op *op = new_op(req);
  if (op && !list_sweeps(op, &err))
    fail(op, &err);
}

static void put_trial_row(struct json_writer *w, const struct pg_reply *rows, size_t i, struct id sweep) {
  char hex[ID_HEX_LEN + 1];
  int64_t started = pg_int(rows, i, 13);
  jw_object(w);
  id_format(pg_uuid(rows, i, 0), hex);
  jw_put_text(w, "run_id", hex);
  jw_put_i64(w, "number", pg_int(rows, i, 1));
  id_format(sweep, hex);
  jw_put_text(w, "sweep_id", hex);
  jw_put_text(w, "state", run_state_name(pg_int(rows, i, 2)));
  jw_put_str(w, "state_reason", pg_text(rows, i, 3));
  jw_put_i64(w, "attempt", pg_int(rows, i, 4));
  jw_key(w, "params");
  jw_raw(w, pg_is_null(rows, i, 5) ? STR("{}") : pg_jsonb(rows, i, 5));
  bool has = !pg_is_null(rows, i, 6);
  jw_key(w, "value");
  has ? jw_f64(w, pg_float8(rows, i, 6)) : jw_null(w);
  jw_key(w, "best_value");
  pg_is_null(rows, i, 8) ? jw_null(w) : jw_f64(w, pg_float8(rows, i, 8));
  jw_key(w, "last");
  if (has) {
    jw_object(w);
    jw_put_i64(w, "step", pg_int(rows, i, 7));
    jw_put_f64(w, "value", pg_float8(rows, i, 6));
    jw_object_end(w);
  } else {
    jw_null(w);
  }
  jw_key(w, "stop");
  pg_is_null(rows, i, 9) ? jw_null(w) : jw_raw(w, pg_jsonb(rows, i, 9));
  jw_put_str(w, "node", pg_text(rows, i, 10));
  jw_put_null(w, "slots"); /* which ones: only while it runs on a machine with numbered devices */
  jw_put_i64(w, "created", pg_int(rows, i, 12));
  jw_key(w, "started");
  started > 0 ? jw_i64(w, started) : jw_null(w);
  jw_key(w, "ended");
  pg_is_null(rows, i, 14) ? jw_null(w) : jw_i64(w, pg_int(rows, i, 14));
  jw_object_end(w);
}

static void on_trials(void *ctx, const struct pg_reply *rows) {
  struct sweep_op *op = ctx;
  struct err err;
  if (!pg_ok(rows, &err)) {
    fail(op, &err);
    return;
  }
  struct buf body = BUF_INIT(REPLY_MAX);
  struct json_writer w;
  size_t count = MIN_OF(pg_rows(rows), (size_t)op->limit);
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "items");
  jw_array(&w);
  for (size_t i = 0; i < count; i++)
    put_trial_row(&w, rows, i, op->id);
  jw_array_end(&w);
  if (pg_rows(rows) > count) {
    char next[24];
    snprintf(next, sizeof next, "%lld", (long long)(op->offset + op->limit));
    jw_put_text(&w, "next", next);
  } else {
    jw_put_null(&w, "next");
  }
  jw_object_end(&w);
  reply(op, 200, &body);
}

static bool list_trials(struct sweep_op *op, struct err *err) {
  static const char *const sorts[] = {"number", "-number", "value", "-value", "started", "-started"};
  AUTO_PG_ARGS struct pg_args args;
  struct str state = http_req_param(op->req, "state"), sort = http_req_param(op->req, "sort"), cursor = http_req_param(op->req, "cursor");
  enum run_state wanted = RUN_QUEUED;
  bool known = !sort.p;
  pg_args_init(&args, STMT_TRIALS_LIST);
  if (!read_id(op, "sweep", err) || !read_limit(op, err))
    return false;
  for (size_t i = 0; i < ARRAY_LEN(sorts); i++)
    known |= str_is(sort, sorts[i]);
  if (!known)
    return err_set(err, ERR_INVALID, "\"sort\" is number, value or started, with - before it for the other way round");
  if (state.p && !run_state_parse(state, &wanted))
    return err_set(err, ERR_INVALID, "there is no state \"%.*s\"", STR_ARG(str_slice(state, 0, 40)));
  if (cursor.p && (!str_to_i64(cursor, &op->offset) || op->offset < 0))
    return err_set(err, ERR_INVALID, "\"cursor\" is none that was given out here");
  pg_put_uuid(&args, op->id);
  if (state.p)
    pg_put_int(&args, wanted);
  else
    pg_put_null(&args);
  pg_put_text(&args, sort.p ? sort : STR("number"));
  pg_put_int(&args, op->offset);
  pg_put_int(&args, op->limit + 1);
  return pg_run(web_app(op->req)->pg, &args, 0, on_trials, op, err);
}

static void get_trials(struct http_req *req) {
  struct err err;
  struct sweep_op *op = new_op(req);
  if (op && !list_trials(op, &err))
    fail(op, &err);
}

/* Whether more is better stands in the sweep itself, in memory or in its summary. */
static bool read_goal(struct sweep_op *op, const struct pg_reply *row, bool *ret_maximize, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(REPLY_MAX);
  AUTO_JSON json_t *sweep = NULL;
  const struct live_sweep *live = sweeps_find(web_app(op->req)->sweeps, op->id);
  struct json_writer w;
  if (!pg_ok(row, err) || (!pg_rows(row) && !no_sweep(op->id, err)))
    return false;
  jw_init(&w, &text);
  if (live)
    live_put_sweep(live, &w);
  else
    buf_add_str(&text, pg_is_null(row, 0, 1) ? STR("{}") : pg_jsonb(row, 0, 1));
  if (!buf_ok(&text, err) || !json_read(buf_str(&text), &sweep, err))
    return false;
  *ret_maximize = str_is(json_str(json_object_get(json_object_get(sweep, "metric"), "goal")), "maximize");
  return true;
}

static void on_best_goal(void *ctx, const struct pg_reply *row) {
  struct sweep_op *op = ctx;
  struct err err;
  bool maximize;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_TRIALS_BEST);
  pg_put_uuid(&args, op->id);
  bool ok = read_goal(op, row, &maximize, &err);
  if (ok) {
    pg_put_bool(&args, maximize);
    pg_put_int(&args, op->limit);
    ok = pg_run(web_app(op->req)->pg, &args, 0, on_trials, op, &err);
  }
  if (!ok)
    fail(op, &err);
}

static void get_best(struct http_req *req) {
  struct err err;
  struct sweep_op *op = new_op(req);
  if (!op)
    return;
  struct str k = http_req_param(req, "k");
  op->limit = 5;
  bool ok = read_id(op, "sweep", &err) && (!k.p || (str_to_i64(k, &op->limit) && op->limit >= 1 && op->limit <= LIST_MAX) ||
                                           err_set(&err, ERR_INVALID, "\"k\" must be from 1 to %d", LIST_MAX));
  if (!ok || !ask_database(op, STMT_SWEEP_GET, on_best_goal, &err))
    fail(op, &err);
}

static void on_progress(void *ctx, const struct pg_reply *rows) {
  struct sweep_op *op = ctx;
  struct err err;
  double best = NAN;
  if (!pg_ok(rows, &err)) {
    fail(op, &err);
    return;
  }
  struct buf body = BUF_INIT(REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "items");
  jw_array(&w);
  for (size_t i = 0; i < pg_rows(rows); i++) {
    double value = pg_float8(rows, i, 2);
    bool better = isnan(best) || (op->wait ? value > best : value < best);
    best = better ? value : best;
    jw_object(&w);
    jw_put_i64(&w, "number", pg_int(rows, i, 0));
    jw_put_i64(&w, "time", pg_int(rows, i, 1));
    jw_put_f64(&w, "value", value);
    jw_put_f64(&w, "best", best);
    jw_object_end(&w);
  }
  jw_array_end(&w);
  jw_put_null(&w, "next");
  jw_object_end(&w);
  reply(op, 200, &body);
}

static void on_progress_goal(void *ctx, const struct pg_reply *row) {
  struct sweep_op *op = ctx;
  struct err err;
  if (!read_goal(op, row, &op->wait, &err) || !ask_database(op, STMT_TRIALS_PROGRESS, on_progress, &err))
    fail(op, &err);
}

static void get_progress(struct http_req *req) {
  struct err err;
  struct sweep_op *op = new_op(req);
  if (op && (!read_id(op, "sweep", &err) || !ask_database(op, STMT_SWEEP_GET, on_progress_goal, &err)))
    fail(op, &err);
}

static void get_rungs(struct http_req *req) {
  struct err err;
  struct sweep_op *op = new_op(req);
  if (!op)
    return;
  bool ok = read_id(op, "sweep", &err);
  op->sweep = ok ? sweeps_find(web_app(req)->sweeps, op->id) : NULL;
  if (!op->sweep) {
    if (!ok || !ask_database(op, STMT_SWEEP_GET, on_not_live, &err))
      fail(op, &err);
    return;
  }
  struct buf body = BUF_INIT(REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  live_put_rungs(op->sweep, &w);
  reply(op, 200, &body);
}

/* ---- steer ---- */

static const enum live_action act_pause = LIVE_PAUSE, act_resume = LIVE_RESUME, act_stop = LIVE_STOP, act_drain = LIVE_DRAIN;

static void post_action(struct http_req *req) {
  struct err err;
  const enum live_action *action = http_req_route(req)->arg;
  struct sweep_op *op = live_op(req);
  if (op && (!live_act(op->sweep, *action, &err) || !sweeps_wait(op->sweep, NULL, on_changed, op, &err)))
    fail(op, &err);
}

static void patch_sweep(struct http_req *req) {
  struct err err;
  struct sweep_op *op = live_op(req);
  if (op && (!read_body(op, &err) || !sweeps_edits_check(op->json, &err) || !live_edit(op->sweep, op->json, on_changed, op, &err)))
    fail(op, &err);
}

static void on_deleted(void *ctx, const struct pg_reply *rows) {
  struct sweep_op *op = ctx;
  struct err err;
  if (pg_ok(rows, &err) && !pg_rows(rows))
    no_sweep(op->id, &err);
  else if (pg_rows(rows)) {
    http_reply_empty(op->req, 204);
    return;
  }
  fail(op, &err);
}

static bool delete_one(struct sweep_op *op, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_SWEEP_DELETE);
  if (!read_id(op, "sweep", err))
    return false;
  const struct live_sweep *live = sweeps_find(web_app(op->req)->sweeps, op->id);
  if (live && !live_is_over(live)) {
    err_set(err, ERR_WRONG_STATE, "the sweep is not over");
    return err_hint(err, "stop it first: winnow sweep stop");
  }
  pg_put_uuid(&args, op->id);
  pg_put_int(&args, tracking_now(op->req));
  return pg_run(web_app(op->req)->pg, &args, 0, on_deleted, op, err);
}

static void delete_sweep(struct http_req *req) {
  struct err err;
  struct sweep_op *op = new_op(req);
  if (op && !delete_one(op, &err))
    fail(op, &err);
}

static void on_trial_made(void *ctx, const struct err *err) {
  struct sweep_op *op = ctx;
  if (err) {
    fail(op, err);
    return;
  }
  struct buf body = BUF_INIT(REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  live_put_trial(op->trial, &w);
  reply(op, 201, &body);
}

static void post_trial(struct http_req *req) {
  struct err err;
  struct sweep_op *op = live_op(req);
  const json_t *params = NULL;
  static const struct json_field fields[] = {{"params", JSON_F_OBJECT, 0, .required = true}};
  if (op && (!read_body(op, &err) || !json_decode(op->json, fields, ARRAY_LEN(fields), "", &params, &err) ||
             !live_enqueue(op->sweep, params, &op->trial, &err) || !sweeps_wait(op->sweep, op->trial, on_trial_made, op, &err)))
    fail(op, &err);
}

/* ---- ask, tell ---- */

static void on_asked(void *ctx, const struct live_answer *answer, const struct err *err) {
  struct sweep_op *op = ctx;
  if (err) {
    fail(op, err);
    return;
  }
  struct buf body = BUF_INIT(REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "trials");
  jw_array(&w);
  for (size_t i = 0; i < answer->count; i++)
    live_put_trial(answer->trials[i], &w);
  jw_array_end(&w);
  jw_put_bool(&w, "finished", answer->finished);
  jw_object_end(&w);
  reply(op, 200, &body);
}

static void on_late_ask(void *ctx, const struct pg_reply *row) {
  struct sweep_op *op = ctx;
  struct err err;
  const struct live_answer none = {.finished = true};
  if (!pg_ok(row, &err) || (!pg_rows(row) && !no_sweep(op->id, &err)))
    fail(op, &err);
  else
    on_asked(op, &none, NULL);
}

struct ask_body {
  int64_t count;
  struct str worker;
  int64_t lease;
};

static bool ask(struct sweep_op *op, struct err *err) {
  struct ask_body body = {.count = 1, .lease = 86400};
  static const struct json_field fields[] = {
      {"count", JSON_F_I64, offsetof(struct ask_body, count), .min = 1, .max = LIVE_ASK_MAX},
      {"worker", JSON_F_STR, offsetof(struct ask_body, worker), .nullable = true, .min = 0, .max = LIVE_WORKER_MAX},
      {"lease", JSON_F_I64, offsetof(struct ask_body, lease), .nullable = true, .min = 1, .max = LEASE_MAX_S},
  };
  if (http_req_body(op->req).n && (!read_body(op, err) || !json_decode(op->json, fields, ARRAY_LEN(fields), "", &body, err)))
    return false;
  if (!op->sweep)
    return ask_database(op, STMT_SWEEP_GET, on_late_ask, err);
  return may_steer(op->req, live_has_command(op->sweep), err) &&
         live_ask(op->sweep, (size_t)body.count, body.worker, body.lease * 1000, on_asked, op, err);
}

static void post_ask(struct http_req *req) {
  struct err err;
  struct sweep_op *op = new_op(req);
  if (!op)
    return;
  bool ok = read_id(op, "sweep", &err);
  op->sweep = ok ? sweeps_find(web_app(req)->sweeps, op->id) : NULL;
  if (!ok || !ask(op, &err))
    fail(op, &err);
}

struct tell_body {
  struct str run_id, state;
  const json_t *params;
  double value;
  bool has_value;
};

static bool tell_one(struct sweep_op *op, const json_t *item, size_t index, struct err *err) {
  struct tell_body body = {.state = STR("FINISHED")};
  static const struct json_field fields[] = {
      {"run_id", JSON_F_STR, offsetof(struct tell_body, run_id), .nullable = true, .min = 32, .max = 36},
      {"state", JSON_F_STR, offsetof(struct tell_body, state), .nullable = true, .min = 1, .max = 20},
      {"params", JSON_F_OBJECT, offsetof(struct tell_body, params), .nullable = true},
      {"value", JSON_F_F64, offsetof(struct tell_body, value), .nullable = true, .present_at = offsetof(struct tell_body, has_value)},
  };
  char path[32];
  struct id run;
  struct live_tell tell = {.state = RUN_FINISHED};
  snprintf(path, sizeof path, "trials[%zu]", index);
  if (!json_decode(item, fields, ARRAY_LEN(fields), path, &body, err))
    return false;
  if (!run_state_parse(body.state, &tell.state) || (tell.state != RUN_FINISHED && tell.state != RUN_FAILED && tell.state != RUN_STOPPED))
    return err_set(err, ERR_INVALID, "\"%s.state\" must be FINISHED, FAILED or STOPPED", path);
  tell.has_value = body.has_value && !json_is_null(json_object_get(item, "value"));
  tell.value = body.value;
  if (!body.run_id.p == !body.params)
    return err_set(err, ERR_INVALID, "\"%s\" needs either a \"run_id\" or \"params\"", path);
  if (body.params)
    return live_add(op->sweep, body.params, &tell, &op->trials[index], err);
  if (!id_parse(body.run_id, &run))
    return err_set(err, ERR_INVALID, "\"%s.run_id\" must have 32 hex digits", path);
  op->trials[index] = sweeps_trial(web_app(op->req)->sweeps, run);
  if (!op->trials[index] || live_trial_sweep(op->trials[index]) != op->sweep)
    return err_set(err, ERR_NOT_FOUND, "\"%s\": there is no such trial in this sweep", path);
  return live_tell(op->trials[index], &tell, err);
}

static void wait_for_next(struct sweep_op *op);

static void on_told(void *ctx, const struct err *err) {
  struct sweep_op *op = ctx;
  if (err)
    fail(op, err);
  else
    wait_for_next(op);
}

/* Until each of them is durable: as a rule the first wait is the only one that waits. */
static void wait_for_next(struct sweep_op *op) {
  struct err err;
  if (op->offset < (int64_t)op->count) {
    struct live_trial *trial = op->trials[op->offset++];
    if (!sweeps_wait(op->sweep, trial, on_told, op, &err))
      fail(op, &err);
    return;
  }
  struct live_answer answer = {.trials = op->trials, .count = op->count, .finished = live_is_over(op->sweep)};
  on_asked(op, &answer, NULL);
}

static bool tell_all(struct sweep_op *op, struct err *err) {
  const json_t *trials = NULL;
  static const struct json_field fields[] = {{"trials", JSON_F_ARRAY, 0, .required = true, .min = 1, .max = TELL_MAX}};
  if (!read_body(op, err) || !json_decode(op->json, fields, ARRAY_LEN(fields), "", &trials, err))
    return false;
  op->count = json_array_size(trials);
  op->trials = ARENA_NEW_ARRAY(http_req_arena(op->req), struct live_trial *, op->count);
  if (!op->trials)
    return err_no_memory(err);
  for (size_t i = 0; i < op->count; i++)
    if (!tell_one(op, json_array_get(trials, i), i, err))
      return false;
  return true;
}

static void post_tell(struct http_req *req) {
  struct err err;
  struct sweep_op *op = live_op(req);
  if (!op)
    return;
  if (tell_all(op, &err))
    wait_for_next(op);
  else
    fail(op, &err);
}

/* ---- reports ---- */

static void reply_verdict(struct sweep_op *op) {
  struct buf body = BUF_INIT(64 * KIB);
  struct json_writer w;
  jw_init(&w, &body);
  if (op->trial) {
    live_put_verdict(op->trial, &w);
  } else {
    jw_object(&w);
    jw_put_text(&w, "verdict", "continue");
    jw_object_end(&w);
  }
  reply(op, 200, &body);
}

static void on_report_durable(void *ctx, const struct err *err) {
  struct sweep_op *op = ctx;
  if (err)
    fail(op, err);
  else
    reply_verdict(op);
}

static void on_points_stored(void *ctx, const struct err *err) {
  struct sweep_op *op = ctx;
  struct err failed;
  if (err)
    fail(op, err);
  else if (!op->trial)
    reply_verdict(op);
  else if (!sweeps_wait(op->sweep, op->trial, on_report_durable, op, &failed))
    fail(op, &failed);
}

struct report_body {
  int64_t step;
  double epoch;
  const json_t *metrics;
};

static bool read_report(struct sweep_op *op, struct report_body *body, struct metric_rows *rows, struct live_report *reports, size_t *count,
                        struct err *err) {
  const char *key;
  json_t *value;
  int64_t now = tracking_now(op->req);
  json_object_foreach((json_t *)(uintptr_t)body->metrics, key, value) {
    static const char *const specials[] = {"NaN", "Infinity", "-Infinity"};
    double number = json_is_number(value) ? json_number_value(value) : NAN;
    bool ok = json_is_number(value);
    for (size_t i = 0; i < ARRAY_LEN(specials) && !ok; i++)
      if (str_is(json_str(value), specials[i])) {
        number = i == 0 ? NAN : i == 1 ? INFINITY : -INFINITY;
        ok = true;
      }
    if (!ok)
      return err_set(err, ERR_INVALID, "\"metrics.%.100s\" must be a number", key);
    if (*count == REPORT_KEYS_MAX)
      return err_set(err, ERR_TOO_LARGE, "a report has at most %d metrics", REPORT_KEYS_MAX);
    if (!key_check(str_of(key), "metrics", err) || !text_fits(str_of(key), KEY_MAX, "metrics", err))
      return false;
    if (!metric_rows_add(rows, str_of(key), (struct point){body->step, now, number, body->epoch}))
      return err_no_memory(err);
    reports[(*count)++] = (struct live_report){.key = str_of(key), .value = number, .epoch = body->epoch, .step = body->step};
  }
  return *count > 0 || err_set(err, ERR_INVALID, "\"metrics\" is empty");
}

/* Only its job, or somebody who may write everything, speaks for a run that an executor runs. */
static int32_t attempt_of(const struct sweep_op *op) {
  int pass = tracking_pass(op->req, op->id);
  return pass < 0 ? METRIC_CURRENT : pass == 0 ? METRIC_UNOWNED : pass;
}

static bool report(struct sweep_op *op, struct err *err) {
  struct report_body body = {.epoch = NAN};
  static const struct json_field fields[] = {
      {"step", JSON_F_I64, offsetof(struct report_body, step), .required = true},
      {"epoch", JSON_F_F64, offsetof(struct report_body, epoch), .nullable = true},
      {"metrics", JSON_F_OBJECT, offsetof(struct report_body, metrics), .required = true},
  };
  struct metric_store *store = web_app(op->req)->metrics;
  size_t count = 0;
  if (!read_id(op, "run", err) || !read_body(op, err) || !json_decode(op->json, fields, ARRAY_LEN(fields), "", &body, err))
    return false;
  struct live_report *reports = ARENA_NEW_ARRAY(http_req_arena(op->req), struct live_report, REPORT_KEYS_MAX);
  if (!reports)
    return err_no_memory(err);
  AUTO_METRIC_ROWS struct metric_rows rows;
  metric_rows_init(&rows);
  if (!read_report(op, &body, &rows, reports, &count, err))
    return false;
  int32_t attempt = attempt_of(op);
  op->trial = sweeps_trial(web_app(op->req)->sweeps, op->id);
  op->sweep = op->trial ? live_trial_sweep(op->trial) : NULL;
  if (op->sweep && live_has_command(op->sweep) && attempt == METRIC_UNOWNED)
    return err_set(err, ERR_FORBIDDEN, "the run belongs to its executor");
  if (op->trial && !live_hear(op->trial, MAX_OF(attempt, 0), reports, count, err))
    return false;
  return metric_append(store, op->id, attempt, &rows, on_points_stored, op, err);
}

static void post_report(struct http_req *req) {
  struct err err;
  struct sweep_op *op = new_op(req);
  if (op && !report(op, &err))
    fail(op, &err);
}

static void on_run_there(void *ctx, const struct pg_reply *row) {
  struct sweep_op *op = ctx;
  struct err err;
  if (pg_ok(row, &err) && pg_rows(row)) {
    reply_verdict(op);
    return;
  }
  if (pg_outcome(row) == PG_DONE)
    err_set(&err, ERR_NOT_FOUND, "there is no such run");
  fail(op, &err);
}

static void post_heartbeat(struct http_req *req) {
  struct err err;
  struct sweep_op *op = new_op(req);
  if (!op)
    return;
  bool ok = read_id(op, "run", &err);
  op->trial = ok ? sweeps_trial(web_app(req)->sweeps, op->id) : NULL;
  if (ok && op->trial) {
    if (live_has_command(live_trial_sweep(op->trial)) && attempt_of(op) == METRIC_UNOWNED)
      ok = err_set(&err, ERR_FORBIDDEN, "the run belongs to its executor");
    else
      ok = live_hear(op->trial, MAX_OF(attempt_of(op), 0), NULL, 0, &err);
    if (ok)
      reply_verdict(op);
  } else if (ok) {
    ok = ask_database(op, STMT_RUN_ATTEMPT, on_run_there, &err);
  }
  if (!ok)
    fail(op, &err);
}

/* ---- trials as runs ---- */

bool api_trial_steer(struct http_req *req, bool retry) {
  struct err err;
  struct id run;
  if (!id_parse(http_req_value(req, "id"), &run) || !sweeps_ready(web_app(req)->sweeps, &err))
    return false;
  struct live_trial *trial = sweeps_trial(web_app(req)->sweeps, run);
  if (!trial)
    return false;
  struct sweep_op *op = new_op(req);
  if (!op)
    return true;
  op->trial = trial;
  op->sweep = live_trial_sweep(trial);
  bool ok = may_steer(req, live_has_command(op->sweep), &err) && (retry ? live_retry(trial, &err) : live_kill(trial, &err)) &&
            sweeps_wait(op->sweep, trial, on_trial_made, op, &err);
  if (!ok)
    fail(op, &err);
  return true;
}

static void steer_run(struct http_req *req, bool retry) {
  struct err err;
  if (api_trial_steer(req, retry))
    return;
  err_set(&err, ERR_WRONG_STATE, "the run is no trial of a sweep that goes on");
  http_reply_error(req, &err);
}

static void post_stop_run(struct http_req *req) {
  steer_run(req, false);
}

static void post_retry_run(struct http_req *req) {
  steer_run(req, true);
}

#define ROUTE_POST(path_, handler_, policy_, max_, summary_) \
  { .method = HTTP_POST, .path = path_, .policy = policy_, .body = BODY_BUFFER, .max_body = max_, .handler = handler_, .summary = summary_ }
#define ROUTE_GET(path_, handler_, summary_, query_) \
  { .method = HTTP_GET, .path = path_, .policy = POLICY_READ, .handler = handler_, .summary = summary_, .query = query_ }
#define ROUTE_ACT(path_, arg_, summary_)                                                                                       \
  {                                                                                                                            \
    .method = HTTP_POST, .path = path_, .policy = POLICY_TRACK, .body = BODY_BUFFER, .max_body = 4096, .handler = post_action, \
    .arg = arg_, .summary = summary_                                                                                           \
  }

const struct route sweep_routes[] = {
    {.method = HTTP_POST,
     .path = "/sweeps",
     .policy = POLICY_TRACK,
     .body = BODY_BUFFER,
     .max_body = FILE_MAX,
     .handler = post_sweep,
     .summary = "Submit a sweep",
     .doc = "The body is a sweep file, YAML or JSON. With a command it needs the scope `submit`; without one it is for those who ask and "
            "tell. `file` is its name for messages, `directory` what relative paths in it are beneath.",
     .query = "dry_run:boolean,file:string,directory:string"},
    ROUTE_GET("/sweeps", get_sweeps, "List sweeps, newest first", "state:string,limit:integer,cursor:string"),
    ROUTE_GET("/sweeps/{id}", get_sweep, "One sweep: state, progress, best", NULL),
    {.method = HTTP_PATCH,
     .path = "/sweeps/{id}",
     .policy = POLICY_TRACK,
     .body = BODY_BUFFER,
     .max_body = 256 * 1024,
     .handler = patch_sweep,
     .summary = "Change run_cap, max_parallel, priority, max_time, notes while it runs"},
    {.method = HTTP_DELETE,
     .path = "/sweeps/{id}",
     .policy = POLICY_WRITE,
     .handler = delete_sweep,
     .summary = "Delete a sweep that is over, with its runs"},
    ROUTE_ACT("/sweeps/{id}/pause", &act_pause, "Start no new trials"),
    ROUTE_ACT("/sweeps/{id}/resume", &act_resume, "Go on"),
    ROUTE_ACT("/sweeps/{id}/stop", &act_stop, "End it, and its running trials"),
    ROUTE_ACT("/sweeps/{id}/drain", &act_drain, "End it when the running trials have ended"),
    ROUTE_POST("/sweeps/{id}/clone", post_clone, POLICY_TRACK, 64 * 1024, "Submit it again"),
    ROUTE_GET("/sweeps/{id}/trials", get_trials, "Its trials", "state:string,sort:string,limit:integer,cursor:string"),
    ROUTE_POST("/sweeps/{id}/trials", post_trial, POLICY_TRACK, BODY_MAX, "Enqueue a hand-picked point"),
    ROUTE_GET("/sweeps/{id}/best", get_best, "The best finished trials", "k:integer"),
    ROUTE_GET("/sweeps/{id}/progress", get_progress, "The best value so far, trial by trial", NULL),
    ROUTE_GET("/sweeps/{id}/rungs", get_rungs, "What the rules of early termination know", NULL),
    ROUTE_POST("/sweeps/{id}/ask", post_ask, POLICY_TRACK, 64 * 1024, "Take trials to run them yourself"),
    ROUTE_POST("/sweeps/{id}/tell", post_tell, POLICY_TRACK, BODY_MAX, "Say how trials ended, or add finished ones"),
    ROUTE_POST("/runs/{id}/report", post_report, POLICY_TRACK, BODY_MAX, "Report intermediate values, and learn the verdict"),
    ROUTE_POST("/runs/{id}/heartbeat", post_heartbeat, POLICY_TRACK, 64 * 1024, "Say that it goes on, and learn the verdict"),
    ROUTE_POST("/runs/{id}/stop", post_stop_run, POLICY_TRACK, 4096, "Stop a trial"),
    ROUTE_POST("/runs/{id}/retry", post_retry_run, POLICY_TRACK, 4096, "Give a trial another attempt"),
};
const size_t sweep_route_count = ARRAY_LEN(sweep_routes);
