/* /api/v1: what happened to a run, to a sweep, or to the versions of a model. */
#include "web/api/api_models.h"
#include "web/api/api_runs.h"

#include "sweeper/sweeps.h"
#include "web/api/sweep_op.h"
#include "web/tables.h"
#include "web/tracking.h"

enum { EVENTS_MAX = 1000 };

/* What was noted has a number; what is told from rows lies between two of those. So a place in the list is the last number, and how many of
 * the others came after it. */
struct events_op {
  struct http_req *req;
  struct id id; /* of the run or sweep */
  int64_t after, skip, limit;
  /* of the page that is being put: how many, where it stands, whether another event follows */
  int64_t count, at, since;
  bool has_more;
  struct str stands; /* the run's state by the events put so far; none: they do not say */
};

static void put_event(struct json_writer *w, const char *id, int64_t time, const char *kind, const char *subject, struct str actor,
                      struct str from, struct str to, struct str reason) {
  jw_object(w);
  jw_put_text(w, "id", id);
  jw_put_i64(w, "time", time);
  jw_put_text(w, "kind", kind);
  jw_put_text(w, "subject", subject);
  jw_put_str(w, "actor", actor);
  jw_put_str(w, "from", from);
  jw_put_str(w, "to", to);
  jw_put_str(w, "reason", reason);
  jw_object_end(w);
}

static void put_stored_event(struct json_writer *w, const struct pg_reply *reply, size_t row) {
  char id[24];
  snprintf(id, sizeof id, "%lld", (long long)pg_int(reply, row, 0));
  AUTO_BUF struct buf kind = BUF_INIT(KIB), subject = BUF_INIT(4 * KIB);
  buf_add_str(&kind, pg_text(reply, row, 2));
  buf_add_str(&subject, pg_text(reply, row, 3));
  struct str actor = pg_text(reply, row, 4);
  put_event(w, id, pg_int(reply, row, 1), buf_text(&kind), buf_text(&subject), actor.n ? actor : STR_NONE, pg_text(reply, row, 5),
            pg_text(reply, row, 6), pg_text(reply, row, 7));
}

/* ---- a page ---- */

static void begin_items(struct json_writer *w, struct buf *body) {
  jw_init(w, body);
  jw_object(w);
  jw_key(w, "items");
  jw_array(w);
}

static bool has_room(struct events_op *op) {
  op->has_more |= op->count == op->limit;
  op->count += !op->has_more;
  return !op->has_more;
}

/* Does the next event that is told from a row belong to the page? */
static bool takes(struct events_op *op) {
  if (op->skip) {
    op->skip--;
    return false;
  }
  bool ok = has_room(op);
  op->since += ok;
  return ok;
}

/* The same of one that was noted. */
static bool takes_stored(struct events_op *op, const struct pg_reply *events, size_t row) {
  op->skip = 0;
  if (!has_room(op))
    return false;
  op->at = pg_int(events, row, 0);
  op->since = 0;
  return true;
}

static void put_stored(struct events_op *op, struct json_writer *w, const struct pg_reply *events) {
  for (size_t i = 0; i < pg_rows(events) && takes_stored(op, events, i); i++)
    put_stored_event(w, events, i);
}

static void end_items(const struct events_op *op, struct json_writer *w) {
  char next[80];
  jw_array_end(w);
  snprintf(next, sizeof next, "%lld.%lld.%.*s", (long long)op->at, (long long)op->since, STR_ARG(op->stands));
  jw_put_text(w, "next", op->has_more ? next : NULL);
  jw_object_end(w);
}

static bool read_cursor(struct events_op *op, struct str cursor) {
  struct str at, since;
  enum run_state state;
  bool ok = str_split(&cursor, '.', &at) && str_split(&cursor, '.', &since) && str_to_i64(at, &op->after) && op->after >= 0 &&
            str_to_i64(since, &op->skip) && op->skip >= 0 && (!cursor.n || run_state_parse(cursor, &state));
  op->at = op->after;
  op->since = op->skip;
  op->stands = cursor;
  return ok;
}

static bool read_page(struct events_op *op, struct err *err) {
  struct str cursor;
  if (!api_page(op->req, &op->limit, &cursor, err))
    return false;
  op->limit = MIN_OF(op->limit, (int64_t)EVENTS_MAX);
  return !cursor.n || read_cursor(op, cursor) || err_set(err, ERR_INVALID, "\"cursor\" is none of ours");
}

static void put_page(struct pg_args *args, const struct events_op *op) {
  pg_put_int(args, op->after);
  pg_put_int(args, op->limit + 1);
}

/* Of the run or sweep. */
static void put_noted(struct pg_batch *batch, const struct events_op *op) {
  struct pg_args *args = pg_batch_add(batch, STMT_RUN_EVENTS);
  pg_put_uuid(args, op->id);
  put_page(args, op);
}

static struct events_op *new_op(struct http_req *req) {
  struct events_op *op = HTTP_REQ_NEW(req, struct events_op);
  if (op)
    op->req = req;
  return op;
}

/* ---- of a run ---- */

/* What it waits in for what comes next: that came of it. */
static struct str state_before(const struct events_op *op, struct str usual) {
  static const char *const waits[] = {"QUEUED", "STARTING", "STOPPING", "LOST"};
  for (size_t i = 0; i < ARRAY_LEN(waits); i++)
    if (str_is(op->stands, waits[i]))
      return op->stands;
  return usual;
}

static void put_attempt_event(struct events_op *op, struct json_writer *w, const char *hex, const struct pg_reply *attempts, size_t row) {
  char id[40];
  if (!takes(op))
    return;
  snprintf(id, sizeof id, "attempt-%lld-%.*s", (long long)pg_int(attempts, row, 0), STR_ARG(pg_text(attempts, row, 1)));
  put_event(w, id, pg_int(attempts, row, 2), "run.state", hex, STR_NONE, state_before(op, pg_text(attempts, row, 3)),
            pg_text(attempts, row, 4), pg_text(attempts, row, 5));
  op->stands = pg_text(attempts, row, 4);
}

/* By time. */
static void put_stored_and_attempts(struct events_op *op, struct json_writer *w, const char *hex, const struct pg_reply *events,
                                    const struct pg_reply *attempts) {
  size_t next = 0;
  for (size_t i = 0; i < pg_rows(events); i++) {
    for (; next < pg_rows(attempts) && pg_int(attempts, next, 2) <= pg_int(events, i, 1); next++)
      put_attempt_event(op, w, hex, attempts, next);
    if (!takes_stored(op, events, i))
      return;
    put_stored_event(w, events, i);
    if (str_is(pg_text(events, i, 2), "run.state"))
      op->stands = pg_text(events, i, 6);
  }
  for (; next < pg_rows(attempts); next++)
    put_attempt_event(op, w, hex, attempts, next);
}

/* The end that is on the row: of a process, or of a run that only was tracked, by somebody without a name (else it was noted). */
static void put_end(const struct events_op *op, struct json_writer *w, const char *hex, const struct run_row *row) {
  bool tracked = !row->executor.p && !row->is_trial, ran = tracked || row->attempt > 0;
  put_event(w, "ended", row->end_time == INT64_MIN ? row->created : row->end_time, "run.state", hex, tracked ? STR("anonymous") : STR_NONE,
            state_before(op, ran ? STR("RUNNING") : STR("QUEUED")), str_of(run_state_name(row->state)), row->state_reason);
}

/* Creation is on the row, and mostly the end; attempts have rows of their own; the rest was noted. */
static void on_run_events(void *ctx, const struct pg_reply *reply) {
  struct events_op *op = ctx;
  struct err err;
  struct run_row row;
  char hex[ID_HEX_LEN + 1];
  if (!pg_ok(reply, &err) || (pg_rows(pg_nth(reply, 0)) == 0 && !api_no_run(&err, op->id))) {
    http_reply_error(op->req, &err);
    return;
  }
  run_row_read(pg_nth(reply, 0), 0, &row);
  id_format(op->id, hex);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  begin_items(&w, &body);
  if (op->after == 0 && takes(op))
    put_event(&w, "created", row.created, "run.created", hex, row.user_id.n ? row.user_id : STR_NONE, STR_NONE,
              str_of(row.executor.p ? "QUEUED" : "RUNNING"), STR_NONE);
  put_stored_and_attempts(op, &w, hex, pg_nth(reply, 1), pg_nth(reply, 3));
  if (run_state_is_final(row.state) && !pg_bool(pg_nth(reply, 2), 0, 0) && takes(op))
    put_end(op, &w, hex, &row);
  end_items(op, &w);
  http_reply_json(op->req, 200, &body);
}

static bool read_run_events(struct events_op *op, struct err *err) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  if (!api_run_id(op->req, &op->id, err) || !read_page(op, err))
    return false;
  pg_put_uuid(pg_batch_add(&batch, STMT_RUN_GET), op->id);
  put_noted(&batch, op);
  pg_put_uuid(pg_batch_add(&batch, STMT_RUN_END_TOLD), op->id);
  struct pg_args *args = pg_batch_add(&batch, STMT_RUN_ATTEMPT_EVENTS);
  pg_put_uuid(args, op->id);
  pg_put_int(args, op->after);
  return pg_run_batch(web_app(op->req)->pg, &batch, 0, on_run_events, op, err);
}

static void get_run_events(struct http_req *req) {
  struct events_op *op = new_op(req);
  struct err err;
  if (op && !read_run_events(op, &err))
    http_reply_error(req, &err);
}

/* ---- of a sweep ---- */

static void put_sweep_end(struct json_writer *w, const char *hex, const struct pg_reply *sweep) {
  struct str told = pg_text(sweep, 0, 5);
  put_event(w, "ended", pg_int(sweep, 0, 3), "sweep.state", hex, STR_NONE, told.p ? told : STR("RUNNING"),
            str_of(sweep_state_text((int)pg_int(sweep, 0, 2))), pg_text(sweep, 0, 4));
}

/* Creation and end are on the row; the rest was noted. */
static void on_sweep_events(void *ctx, const struct pg_reply *reply) {
  struct events_op *op = ctx;
  struct err err;
  char hex[ID_HEX_LEN + 1];
  if (!pg_ok(reply, &err) || (pg_rows(pg_nth(reply, 0)) == 0 && !sweep_op_none(op->id, &err))) {
    http_reply_error(op->req, &err);
    return;
  }
  const struct pg_reply *sweep = pg_nth(reply, 0);
  id_format(op->id, hex);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  begin_items(&w, &body);
  struct str by = pg_text(sweep, 0, 1);
  if (op->after == 0 && takes(op))
    put_event(&w, "created", pg_int(sweep, 0, 0), "sweep.created", hex, by.n ? by : STR_NONE, STR_NONE, STR("RUNNING"), STR_NONE);
  put_stored(op, &w, pg_nth(reply, 1));
  if (!pg_is_null(sweep, 0, 3) && takes(op))
    put_sweep_end(&w, hex, sweep);
  end_items(op, &w);
  http_reply_json(op->req, 200, &body);
}

static bool read_sweep_events(struct events_op *op, struct err *err) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct str text = http_req_value(op->req, "id");
  if (!id_parse(text, &op->id)) {
    err_set(err, ERR_NOT_FOUND, "there is no sweep \"%.*s\"", STR_ARG(str_slice(text, 0, 64)));
    return err_hint(err, "`winnow sweep ls` lists them");
  }
  if (!read_page(op, err))
    return false;
  pg_put_uuid(pg_batch_add(&batch, STMT_SWEEP_COURSE), op->id);
  put_noted(&batch, op);
  return pg_run_batch(web_app(op->req)->pg, &batch, 0, on_sweep_events, op, err);
}

static void get_sweep_events(struct http_req *req) {
  struct events_op *op = new_op(req);
  struct err err;
  if (op && !read_sweep_events(op, &err))
    http_reply_error(req, &err);
}

/* ---- of a model ---- */

static void on_model_events(void *ctx, const struct pg_reply *reply) {
  struct events_op *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err) || (!pg_bool(pg_nth(reply, 0), 0, 0) && !api_no_model(http_req_value(op->req, "name"), &err))) {
    http_reply_error(op->req, &err);
    return;
  }
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  begin_items(&w, &body);
  put_stored(op, &w, pg_nth(reply, 1));
  end_items(op, &w);
  http_reply_json(op->req, 200, &body);
}

static bool read_model_events(struct events_op *op, struct err *err) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct str name = http_req_value(op->req, "name"), version = http_req_param(op->req, "version");
  int64_t number;
  bool only_deleted = false;
  if (!read_page(op, err) || !http_req_flag(op->req, "deleted", &only_deleted, err))
    return false;
  if (version.p && (!str_to_i64(version, &number) || number < 1 || number > INT32_MAX))
    return err_set(err, ERR_INVALID, "\"version\" must be the number of a version");
  struct pg_args *args = pg_batch_add(&batch, STMT_MODEL_WAS);
  pg_put_text(args, name);
  pg_put_bool(args, only_deleted);
  args = pg_batch_add(&batch, STMT_MODEL_EVENTS);
  pg_put_text(args, name);
  if (version.p)
    pg_put_int(args, number);
  else
    pg_put_null(args);
  pg_put_bool(args, only_deleted);
  put_page(args, op);
  return pg_run_batch(web_app(op->req)->pg, &batch, 0, on_model_events, op, err);
}

static void get_model_events(struct http_req *req) {
  struct events_op *op = new_op(req);
  struct err err;
  if (op && !read_model_events(op, &err))
    http_reply_error(req, &err);
}

const struct route api_past_event_routes[] = {
    {.method = HTTP_GET,
     .path = "/runs/{id}/events",
     .policy = POLICY_READ,
     .reach = REACH_NAMED,
     .handler = get_run_events,
     .response_schema = "event_list",
     .summary = "What happened to a run, and who did it",
     .query = "limit:integer,cursor:string"},
    {.method = HTTP_GET,
     .path = "/sweeps/{id}/events",
     .policy = POLICY_READ,
     .reach = REACH_NAMED,
     .handler = get_sweep_events,
     .response_schema = "event_list",
     .summary = "What happened to a sweep, and who did it: submitted, paused, resumed, drained, stopped, edited",
     .query = "limit:integer,cursor:string"},
    {.method = HTTP_GET,
     .path = "/models/{name}/events",
     .policy = POLICY_READ,
     .reach = REACH_ANY,
     .handler = get_model_events,
     .response_schema = "event_list",
     .summary = "Who moved what: stages, aliases, names, and what was removed, of a model and its versions",
     .query = "version:integer,deleted:boolean,limit:integer,cursor:string",
     .doc =
         "Where there is no model of that name any more, of all that had it and were deleted; with `deleted=true` of these also where there is "
         "another one now."},
};
const size_t api_past_event_route_count = ARRAY_LEN(api_past_event_routes);
