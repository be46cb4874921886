/* /api/v1: what waits for a slot, and the nodes it waits for. */
#include "web/api/api_runs.h"
#include "web/api/sweep_op.h"
#include "web/http/http_reply.h"
#include "web/tables.h"
#include "web/tracking.h"

enum { REASON_MAX = 500, PRIORITY_MAX = 1000000 };

/* ---- the queue ---- */

static void get_queue(struct http_req *req) {
  struct err err;
  uint64_t from = 0;
  struct sweep_op *op = sweep_op_new(req);
  if (!op)
    return;
  struct str cursor = http_req_param(req, "cursor");
  bool ok = sweeps_ready(web_app(req)->sweeps, &err) && sweep_op_read_limit(op, &err) &&
            (!cursor.p || str_to_u64(cursor, &from) || err_set(&err, ERR_INVALID, "\"cursor\" is none that was given out here"));
  if (!ok) {
    sweep_op_fail(op, &err);
    return;
  }
  struct buf body = BUF_INIT(SWEEP_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "items");
  api_put_span_next(&w, sweeps_put_queue(web_app(req)->sweeps, (size_t)from, (size_t)op->limit, &w));
  jw_object_end(&w);
  sweep_op_reply(op, 200, &body);
}

static void reply_entry(void *ctx, const struct err *err) {
  struct sweep_op *op = ctx;
  if (err) {
    sweep_op_fail(op, err);
    return;
  }
  struct buf body = BUF_INIT(64 * KIB);
  struct json_writer w;
  jw_init(&w, &body);
  queue_put_entry(op->trial, &w);
  sweep_op_reply(op, 200, &body);
}

static bool read_change(struct sweep_op *op, struct queue_change *ret, struct err *err) {
  static const struct json_field fields[] = {
      {"hold", JSON_F_BOOL, offsetof(struct queue_change, hold), .present_at = offsetof(struct queue_change, has_hold)},
      {"priority", JSON_F_I64, offsetof(struct queue_change, priority), .min = -PRIORITY_MAX, .max = PRIORITY_MAX,
       .present_at = offsetof(struct queue_change, has_priority)},
      {"position", JSON_F_I64, offsetof(struct queue_change, position), .min = 1, .max = INT32_MAX,
       .present_at = offsetof(struct queue_change, has_position)},
  };
  *ret = (struct queue_change){0};
  return sweep_op_read_body(op, err) && json_decode(op->json, fields, ARRAY_LEN(fields), "", ret, err) &&
         (ret->has_hold || ret->has_priority || ret->has_position ||
          err_set(err, ERR_INVALID, "say what is to change: \"hold\", \"priority\" or \"position\""));
}

static void patch_queue(struct http_req *req) {
  struct err err;
  struct queue_change change;
  struct sweep_op *op = sweep_op_new(req);
  if (!op)
    return;
  bool ok = sweep_op_read_id(op, "run", &err) && read_change(op, &change, &err);
  op->trial = ok ? sweeps_trial(web_app(req)->sweeps, op->id) : NULL;
  if (ok && !op->trial)
    ok = err_set(&err, ERR_NOT_FOUND, "nothing of that id waits in the queue") || err_hint(&err, "`winnow queue` lists what does");
  if (!ok || !sweeps_queue_change(op->trial, &change, tracking_actor(req), reply_entry, op, &err))
    sweep_op_fail(op, &err);
}

/* ---- nodes ---- */

static void get_nodes(struct http_req *req) {
  struct err err;
  size_t from, limit;
  if (!sweeps_ready(web_app(req)->sweeps, &err) || !api_span(req, &from, &limit, &err)) {
    http_reply_error(req, &err);
    return;
  }
  struct buf body = BUF_INIT(MIB);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "items");
  jw_array(&w);
  if (from == 0)
    sweeps_put_node(web_app(req)->sweeps, &w);
  jw_array_end(&w);
  jw_put_null(&w, "next");
  jw_object_end(&w);
  http_reply_json(req, 200, &body);
}

static void reply_node(void *ctx, const struct err *err) {
  struct sweep_op *op = ctx;
  if (err) {
    sweep_op_fail(op, err);
    return;
  }
  struct buf body = BUF_INIT(MIB);
  struct json_writer w;
  jw_init(&w, &body);
  sweeps_put_node(web_app(op->req)->sweeps, &w);
  sweep_op_reply(op, 200, &body);
}

struct node_body {
  struct str reason;
  bool drain;
};

static void patch_node(struct http_req *req) {
  static const struct json_field fields[] = {
      {"drain", JSON_F_BOOL, offsetof(struct node_body, drain), .required = true},
      {"reason", JSON_F_STR, offsetof(struct node_body, reason), .nullable = true, .min = 0, .max = REASON_MAX},
  };
  struct err err;
  struct node_body in = {.drain = false};
  struct sweep_op *op = sweep_op_new(req);
  if (!op)
    return;
  struct sweeps *sweeps = web_app(req)->sweeps;
  struct str name = http_req_value(req, "name");
  bool ok = sweeps_ready(sweeps, &err) && sweep_op_read_body(op, &err) && json_decode(op->json, fields, ARRAY_LEN(fields), "", &in, &err) &&
            (str_is(name, sweeps_node_name(sweeps)) ||
             err_set(&err, ERR_NOT_FOUND, "there is no node \"%.*s\"", STR_ARG(str_slice(name, 0, 100))));
  if (!ok || !sweeps_drain_node(sweeps, in.drain, in.reason, tracking_actor(req), reply_node, op, &err))
    sweep_op_fail(op, &err);
}

const struct route queue_routes[] = {
    {.method = HTTP_GET,
     .path = "/queue",
     .policy = POLICY_READ,
     .handler = get_queue,
     .summary = "What waits for a slot, in the order it will start, and why",
     .query = "limit:integer,cursor:string",
     .response_schema = "queue"},
    {.method = HTTP_PATCH,
     .path = "/queue/{id}",
     .policy = POLICY_SUBMIT,
     .body = BODY_BUFFER,
     .max_body = 4096,
     .handler = patch_queue,
     .summary = "Hold a waiting run back, let it go, move it",
     .doc = "`priority` outweighs an hour of waiting a point; `position` counts from 1, and is kept as others come and go.",
     .request_schema = "queue_change",
     .response_schema = "queue_entry"},
    {.method = HTTP_GET,
     .path = "/nodes",
     .policy = POLICY_READ,
     .handler = get_nodes,
     .summary = "Machines and their slots",
     .query = "limit:integer,cursor:string",
     .response_schema = "nodes"},
    {.method = HTTP_PATCH,
     .path = "/nodes/{name}",
     .policy = POLICY_SUBMIT,
     .body = BODY_BUFFER,
     .max_body = 4096,
     .handler = patch_node,
     .summary = "Give a node no more jobs, or jobs again",
     .doc = "Jobs that run there go on. It stays so until it is changed, also through a restart.",
     .request_schema = "node_change",
     .response_schema = "node"},
};
const size_t queue_route_count = ARRAY_LEN(queue_routes);
