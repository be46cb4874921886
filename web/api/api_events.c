/* GET /api/v1/events: what happens, as server-sent events; and what the sweeps say, made into events. */
#include "web/api/api_events.h"
#include "base/json.h"
#include "sweeper/sweeps.h"
#include "web/app.h"
#include "web/event_hub.h"
#include "web/http/http_reply.h"
#include "web/tables.h"

enum {
  EVENT_MAX = 256 * 1024,
  /* A stream of somebody with a credential ends after a while and is opened again, so that one revoked or expired does not go on reading.
   */
  STREAM_LIFE_MS = 10 * 60 * 1000,
};

struct events_op {
  struct http_req *req;
  struct event_listener *listener;
  int64_t until;     /* 0: as long as the client wants */
  uint64_t removals; /* of tokens, when it was last looked whether ours is still there */
};

/* ---- listening ---- */

static void on_drained(void *ctx) {
  struct events_op *op = ctx;
  if (op->listener)
    event_listener_ready(op->listener);
}

static void end_stream(struct events_op *op) {
  event_listener_free(op->listener);
  op->listener = NULL;
  http_stream_end(op->req);
}

/* Nothing is told any more to whom a revoked token let in. */
static bool is_revoked(struct events_op *op) {
  const struct access_principal *who = web_principal(op->req);
  const struct token_table *tokens = &web_app(op->req)->tokens;
  if (op->removals == tokens->removals)
    return false;
  op->removals = tokens->removals;
  return who && !id_is_zero(who->token_id) && !token_table_has(tokens, who->token_id);
}

static bool take(void *ctx, struct str bytes) {
  struct events_op *op = ctx;
  if (!bytes.p || is_revoked(op) || (op->until && loop_now_ms(web_app(op->req)->loop) >= op->until)) {
    end_stream(op);
    return false;
  }
  return http_stream_write(op->req, bytes) == STREAM_GO;
}

static void on_gone(void *ctx) {
  struct events_op *op = ctx;
  event_listener_free(op->listener);
  http_reply_drop(op->req);
}

static bool read_topics(struct http_req *req, struct topic topics[EVENT_TOPICS_MAX], size_t *count, struct err *err) {
  struct str list, item;
  *count = 0;
  for (size_t i = 0; http_req_param_next(req, "topic", &i, &list);)
    while (str_split(&list, ',', &item)) {
      if (*count == EVENT_TOPICS_MAX)
        return err_set(err, ERR_LIMIT, "at most %d topics in one stream", EVENT_TOPICS_MAX);
      if (!topic_parse(str_trim(item), &topics[(*count)++], err))
        return false;
    }
  if (*count)
    return true;
  err_set(err, ERR_INVALID, "\"topic\" is missing");
  return err_hint(err, "for instance ?topic=sweep:<id>; it may be given several times");
}

static bool is_for_good(const struct access_principal *who) {
  return !who || who->kind == ACCESS_NOBODY || who->kind == ACCESS_LOCAL_USER;
}

static bool listen_to(struct events_op *op, struct err *err) {
  struct web_app *app = web_app(op->req);
  struct topic topics[EVENT_TOPICS_MAX];
  size_t count;
  if (!app->events)
    return err_set(err, ERR_UNAVAILABLE, "events cannot be told now");
  if (!read_topics(op->req, topics, &count, err))
    return false;
  struct str last = http_req_header(op->req, "Last-Event-ID");
  if (!last.n)
    last = http_req_param(op->req, "last_event_id");
  op->listener = event_listen(app->events, topics, count, last, take, op, err);
  if (op->listener && !is_for_good(web_principal(op->req)))
    op->until = loop_now_ms(app->loop) + STREAM_LIFE_MS;
  return op->listener != NULL;
}

static void get_events(struct http_req *req) {
  struct err err;
  char place[48], hello[96];
  struct events_op *op = HTTP_REQ_NEW(req, struct events_op);
  if (!op)
    return;
  *op = (struct events_op){.req = req, .removals = web_app(req)->tokens.removals};
  if (!listen_to(op, &err)) {
    http_reply_error(req, &err);
    return;
  }
  http_req_on_gone(req, on_gone, op);
  http_reply_header(req, "X-Accel-Buffering", STR("no"));
  http_stream_begin(req, 200, "text/event-stream", on_drained, op);
  /* The id of now, without an event: a client that is cut off before the first one still knows where it was. */
  event_hub_place(web_app(req)->events, place);
  bool resumes = http_req_header(req, "Last-Event-ID").n || http_req_param(req, "last_event_id").n;
  snprintf(hello, sizeof hello, resumes ? "retry: 2000\n\n" : "retry: 2000\nid: %s\n\n", place);
  if (http_stream_write(req, str_of(hello)) == STREAM_WAIT)
    return; /* not with so few bytes */
}

/* ---- telling ---- */

static void put_id(struct json_writer *w, const char *key, struct id id) {
  char hex[ID_HEX_LEN + 1];
  id_format(id, hex);
  jw_put_text(w, key, hex);
}

static void begin_event(struct json_writer *w, struct buf *out, const struct web_app *app, const char *kind, struct id subject) {
  jw_init(w, out);
  jw_object(w);
  jw_put_i64(w, "time", clock_wall_ms(app->clock));
  jw_put_text(w, "kind", kind);
  put_id(w, "subject", subject);
}

static void put_change(struct json_writer *w, const struct sweeps_change *change) {
  jw_put_text(w, "actor", change->actor ? change->actor : "service");
  jw_put_text(w, "from", change->from);
  jw_put_text(w, "to", change->to);
  jw_put_text(w, "reason", change->reason);
}

static void tell_trial(struct web_app *app, const struct sweeps_change *change) {
  const struct topic topics[] = {{TOPIC_RUN, change->run}, {TOPIC_SWEEP, change->sweep}};
  AUTO_BUF struct buf text = BUF_INIT(EVENT_MAX);
  struct json_writer w;
  if (!event_hub_wants(app->events, topics[0]) && !event_hub_wants(app->events, topics[1]))
    return;
  begin_event(&w, &text, app, "run.state", change->run);
  put_change(&w, change);
  jw_key(&w, "trial");
  live_put_trial(change->trial, &w);
  jw_object_end(&w);
  for (size_t i = 0; i < ARRAY_LEN(topics) && !text.fail; i++)
    event_hub_publish(app->events, topics[i], "run.state", buf_str(&text));
}

static void tell_sweep(struct web_app *app, const struct sweeps_change *change) {
  const struct topic topic = {TOPIC_SWEEP, change->sweep};
  AUTO_BUF struct buf text = BUF_INIT(EVENT_MAX);
  struct json_writer w;
  if (!event_hub_wants(app->events, topic))
    return;
  begin_event(&w, &text, app, "sweep.state", change->sweep);
  put_change(&w, change);
  jw_object_end(&w);
  if (!text.fail)
    event_hub_publish(app->events, topic, "sweep.state", buf_str(&text));
}

static void tell_queue(struct web_app *app) {
  const struct topic topic = {.kind = TOPIC_QUEUE};
  AUTO_BUF struct buf text = BUF_INIT(EVENT_MAX);
  struct json_writer w;
  if (!event_hub_wants(app->events, topic))
    return;
  struct sweeps_load_figures figures = sweeps_figures(app->sweeps);
  jw_init(&w, &text);
  jw_object(&w);
  jw_put_i64(&w, "time", clock_wall_ms(app->clock));
  jw_put_text(&w, "kind", "queue.changed");
  jw_put_i64(&w, "waiting", (int64_t)figures.waiting);
  jw_put_i64(&w, "running", (int64_t)figures.running);
  jw_object_end(&w);
  if (!text.fail)
    event_hub_hint(app->events, topic, "queue.changed", buf_str(&text));
}

void events_on_sweeps(void *ctx, const struct sweeps_change *change) {
  struct web_app *app = ctx;
  switch (change->kind) {
  case SWEEPS_TRIAL:
    tell_trial(app, change);
    break;
  case SWEEPS_SWEEP:
    tell_sweep(app, change);
    break;
  case SWEEPS_POINTS:
    events_tell_points(app, change->run);
    break;
  case SWEEPS_QUEUE:
    tell_queue(app);
    break;
  }
}

void events_tell_points(struct web_app *app, struct id run) {
  const struct topic topic = {TOPIC_RUN, run};
  AUTO_BUF struct buf text = BUF_INIT(EVENT_MAX);
  struct json_writer w;
  if (!event_hub_wants(app->events, topic))
    return;
  begin_event(&w, &text, app, "run.metrics", run);
  jw_object_end(&w);
  if (!text.fail)
    event_hub_hint(app->events, topic, "run.metrics", buf_str(&text));
}

void events_tell_output(struct web_app *app, struct id run, int32_t attempt, struct str stream, int64_t next) {
  const struct topic topic = {str_is(stream, "stderr") ? TOPIC_STDERR : TOPIC_STDOUT, run};
  AUTO_BUF struct buf text = BUF_INIT(EVENT_MAX);
  struct json_writer w;
  if (!event_hub_wants(app->events, topic))
    return;
  begin_event(&w, &text, app, "log.grown", run);
  jw_put_str(&w, "stream", stream);
  jw_put_i64(&w, "attempt", attempt);
  jw_put_i64(&w, "next", next);
  jw_object_end(&w);
  if (!text.fail)
    event_hub_hint(app->events, topic, "log.grown", buf_str(&text));
}

const struct route event_routes[] = {
    {.method = HTTP_GET,
     .path = "/events",
     .policy = POLICY_READ,
     .reach = REACH_NAMED,
     .handler = get_events,
     .response_type = "text/event-stream",
     .summary = "What happens, as server-sent events",
     .doc =
         "Topics: `sweep:<id>` (`run.state` of its trials, `sweep.state`), `run:<id>` (`run.state`, `run.metrics`: there are new points), "
         "`log:<id>:<stream>` (`log.grown`: read on at `/runs/{id}/logs/{stream}`), `queue` (`queue.changed`). Data is JSON. With "
         "`Last-Event-ID` (or `last_event_id`) the stream goes on where it was cut off; `reset` says that events were missed and what is "
         "shown must be read again. A stream opened with a token ends after ten minutes: open it again.",
     .query = "topic:string[],last_event_id:string"},
};
const size_t event_route_count = ARRAY_LEN(event_routes);
