/* /api/v1: what happened to a run. */
#include "web/api/api_runs.h"

#include "web/tables.h"
#include "web/tracking.h"

enum { EVENTS_MAX = 1000 };

struct events_op {
  struct http_req *req;
  struct id run;
  int64_t after, limit;
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

static void put_stored_events(struct json_writer *w, const struct pg_reply *reply, size_t rows) {
  for (size_t i = 0; i < rows; i++) {
    char id[24];
    snprintf(id, sizeof id, "%lld", (long long)pg_int(reply, i, 0));
    AUTO_BUF struct buf kind = BUF_INIT(KIB), subject = BUF_INIT(4 * KIB);
    buf_add_str(&kind, pg_text(reply, i, 2));
    buf_add_str(&subject, pg_text(reply, i, 3));
    put_event(w, id, pg_int(reply, i, 1), buf_text(&kind), buf_text(&subject), pg_text(reply, i, 4), pg_text(reply, i, 5),
              pg_text(reply, i, 6), pg_text(reply, i, 7));
  }
}

/* Creation and end are on the row; what lies between was noted. */
static void on_events(void *ctx, const struct pg_reply *reply) {
  struct events_op *op = ctx;
  struct err err;
  struct run_row row;
  char hex[ID_HEX_LEN + 1];
  if (!pg_ok(reply, &err) || (pg_rows(pg_nth(reply, 0)) == 0 && !api_no_run(&err, op->run))) {
    http_reply_error(op->req, &err);
    return;
  }
  const struct pg_reply *events = pg_nth(reply, 1);
  size_t rows = MIN_OF(pg_rows(events), (size_t)op->limit);
  bool more = pg_rows(events) > rows;
  run_row_read(pg_nth(reply, 0), 0, &row);
  id_format(op->run, hex);
  struct buf body = BUF_INIT(MLFLOW_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "items");
  jw_array(&w);
  if (op->after == 0)
    put_event(&w, "created", row.created, "run.created", hex, row.user_id.n ? row.user_id : STR_NONE, STR_NONE,
              str_of(row.executor.p ? "QUEUED" : "RUNNING"), STR_NONE);
  put_stored_events(&w, events, rows);
  if (!more && run_state_is_final(row.state))
    put_event(&w, "ended", row.end_time == INT64_MIN ? row.created : row.end_time, "run.state", hex, STR_NONE, STR("RUNNING"),
              str_of(run_state_name(row.state)), row.state_reason);
  jw_array_end(&w);
  jw_key(&w, "next");
  if (more) {
    char next[24];
    snprintf(next, sizeof next, "%lld", (long long)pg_int(events, rows - 1, 0));
    jw_text(&w, next);
  } else {
    jw_null(&w);
  }
  jw_object_end(&w);
  http_reply_json(op->req, 200, &body);
}

static bool read_events(struct events_op *op, struct err *err) {
  struct str cursor;
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  if (!api_run_id(op->req, &op->run, err) || !api_page(op->req, &op->limit, &cursor, err))
    return false;
  if (cursor.n && (!str_to_i64(cursor, &op->after) || op->after < 1))
    return err_set(err, ERR_INVALID, "\"cursor\" is none of ours");
  op->limit = MIN_OF(op->limit, (int64_t)EVENTS_MAX);
  pg_put_uuid(pg_batch_add(&batch, STMT_RUN_GET), op->run);
  struct pg_args *args = pg_batch_add(&batch, STMT_RUN_EVENTS);
  pg_put_uuid(args, op->run);
  pg_put_int(args, op->after);
  pg_put_int(args, op->limit + 1);
  return pg_run_batch(web_app(op->req)->pg, &batch, 0, on_events, op, err);
}

static void get_events(struct http_req *req) {
  struct err err;
  struct events_op *op = HTTP_REQ_NEW(req, struct events_op);
  if (!op)
    return;
  op->req = req;
  if (!read_events(op, &err))
    http_reply_error(req, &err);
}

const struct route api_run_event_routes[] = {
    {.method = HTTP_GET,
     .path = "/runs/{id}/events",
     .policy = POLICY_READ,
     .handler = get_events,
     .summary = "What happened to a run",
     .query = "limit:integer,cursor:string"},
};
const size_t api_run_event_route_count = ARRAY_LEN(api_run_event_routes);
