#include "web/http/http_req.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/tcp_owner.h"
#include "web/http/http_intern.h"

enum { PARAMS_MAX = 16 }; /* that an error names */

/* ---- life ---- */

/* One that served before, or a new one. */
static struct http_req *take_spare(struct http_server *server) {
  struct list_node *node = list_pop_front(&server->spare);
  if (node)
    return LIST_ENTRY(node, struct http_req, node);
  struct http_req *req = mem_zalloc(sizeof *req);
  if (req)
    arena_init(&req->arena, server->limits.arena);
  return req;
}

static void make_id(struct http_server *server, char out[65]) {
  static const char digits[] = "0123456789abcdef";
  uint64_t n = (uint64_t)server->id_salt << 32 | (server->id_next++ & UINT32_MAX);
  for (int i = 15; i >= 0; i--, n >>= 4)
    out[i] = digits[n & 15];
  out[16] = 0;
}

struct http_req *req_new(struct http_server *server, struct http_conn *conn) {
  struct http_req *req = take_spare(server);
  if (!req)
    return NULL;
  struct arena arena = req->arena;
  memset(req, 0, sizeof *req);
  req->arena = arena;
  req->loop = server->loop;
  req->server = server;
  req->service = server->config.service;
  req->conn = conn;
  req->peer = conn->peer;
  req->is_tls = conn->ssl != NULL;
  req->file_fd = -1;
  req->started_us = clock_mono_us(loop_clock(server->loop));
  buf_init(&req->headers, EXTRA_HEADERS_MAX);
  make_id(server, req->id);
  list_push_back(&server->requests, &req->node);
  return req;
}

static void release(struct http_req *req, bool keep) {
  struct http_server *server = req->server;
  list_remove(&req->node);
  loop_defer_cancel(&req->defer);
  ahead_forget(req);
  if (req->file_fd >= 0)
    close(req->file_fd);
  if (req->segment)
    evbuffer_file_segment_free(req->segment);
  buf_release(&req->body);
  buf_release(&req->headers);
  req->answered = true;
  if (keep && server->spare.count < SPARE_REQUESTS) {
    arena_reset(&req->arena);
    list_push_back(&server->spare, &req->node);
    return;
  }
  arena_release(&req->arena);
  mem_free(req);
}

struct number {
  char text[20];
};

static struct str as_text(uint64_t value, struct number *out) {
  return str_n(out->text, str_from_u64(value, out->text));
}

static void write_access_log(const struct http_req *req, int64_t duration_us) {
  struct number status, in, out, ms;
  bool matched = req->place != NULL;
  const struct log_field fields[] = {
      {.key = "method", .value = str_of(http_method_name(req->method))},
      {.key = "route", .value = matched ? str_of(req->place->pattern) : STR_NONE},
      {.key = "path", .value = matched ? STR_NONE : str_slice(req->path, 0, 200)},
      {.key = "status", .value = as_text((uint64_t)req->status, &status), .is_number = true},
      {.key = "in", .value = as_text(req->bytes_in, &in), .is_number = true},
      {.key = "out", .value = as_text(req->bytes_out, &out), .is_number = true},
      {.key = "ms", .value = as_text((uint64_t)duration_us / 1000, &ms), .is_number = true},
      {.key = "peer", .value = str_of(req->peer.text)},
      {.key = "request_id", .value = str_of(req->id)},
  };
  log_fields(LOG_INFO, "web", "request", fields, ARRAY_LEN(fields));
}

static void report(const struct http_req *req, const struct http_server *server) {
  int64_t duration_us = MAX_OF(clock_mono_us(loop_clock(server->loop)) - req->started_us, (int64_t)0);
  if (server->config.access_log)
    write_access_log(req, duration_us);
  if (!server->config.observe)
    return;
  struct http_observation observation = {
      .route = req->route,
      .pattern = http_req_pattern(req),
      .method = req->method,
      .status = req->status,
      .duration_us = duration_us,
      .bytes_in = req->bytes_in,
      .bytes_out = req->bytes_out,
  };
  server->config.observe(server->config.observe_ctx, &observation);
}

void req_finish(struct http_req *req) {
  struct http_server *server = req->server;
  if (req->conn)
    req->conn->req = NULL;
  req->conn = NULL;
  if (!server) {
    release(req, false);
    return;
  }
  if (!req->status)
    req->status = err_info(ERR_CANCELLED)->http_status;
  report(req, server);
  server->request_count++;
  release(req, true);
  server_on_req_finished(server);
}

/* ---- the client leaves ---- */

static void notify_gone(void *ctx) {
  struct http_req *req = ctx;
  static const struct err left = {.code = ERR_CANCELLED, .text = "the client has left"};
  if (req->sink_open) {
    req->sink_open = false;
    req->gone = NULL;
    req->route->stream->abort(req, req->abort_err ? req->abort_err : &left);
  } else if (req->gone) {
    http_gone_fn *gone = req->gone;
    req->gone = NULL;
    gone(req->gone_ctx);
  }
}

void req_tell_gone(struct http_req *req) {
  req->is_gone = true;
  if (req->with_handler)
    loop_defer(req->loop, &req->defer, notify_gone, req);
}

void req_detach(struct http_req *req, const struct err *why) {
  if (req->conn)
    req->conn->req = NULL;
  req->conn = NULL;
  if (!req->with_handler) {
    req_finish(req);
    return;
  }
  struct err *kept = why ? arena_alloc(&req->arena, sizeof *kept) : NULL;
  if (kept) {
    *kept = *why;
    req->abort_err = kept;
  }
  req_tell_gone(req);
}

void http_req_on_gone(struct http_req *req, http_gone_fn *fn, void *ctx) {
  req->gone = fn;
  req->gone_ctx = ctx;
  if (fn && req->is_gone)
    req_tell_gone(req);
}

bool http_req_is_gone(const struct http_req *req) {
  return req->is_gone;
}

/* ---- query ---- */

static bool decode_param(struct http_req *req, struct str raw, struct str *ret, struct err *err) {
  *ret = raw;
  if (!memchr(raw.p, '%', raw.n) && !memchr(raw.p, '+', raw.n))
    return true;
  char *out = arena_alloc(&req->arena, raw.n);
  if (!out)
    return err_no_memory(err);
  ret->p = out;
  return http_url_decode(raw, true, out, &ret->n) || err_set(err, ERR_INVALID, "the query has a malformed escape");
}

static bool knows_param(const struct route *route, struct str wanted) {
  struct str rest = str_of(route->query), name, type;
  while (route_query_next(&rest, &name, &type))
    if (str_eq(name, wanted))
      return true;
  return false;
}

/* The row's parameters as a list of names. */
static bool list_params(struct http_req *req, const char *ret[PARAMS_MAX], size_t *ret_count, struct buf *text) {
  struct str rest = str_of(req->route->query), name, type;
  for (*ret_count = 0; *ret_count < PARAMS_MAX && route_query_next(&rest, &name, &type); (*ret_count)++) {
    buf_printf(text, "%s%.*s", *ret_count ? ", " : "", STR_ARG(name));
    if (!(ret[*ret_count] = arena_strdup(&req->arena, name)))
      return false;
  }
  return true;
}

static bool unknown_param(struct http_req *req, struct str name, struct err *err) {
  const char *known[PARAMS_MAX];
  size_t count;
  AUTO_BUF struct buf text = BUF_INIT(4 * KIB);
  if (!list_params(req, known, &count, &text))
    return err_no_memory(err);
  err_set(err, ERR_INVALID, "unknown query parameter \"%.*s\"", STR_ARG(str_slice(name, 0, 64)));
  const char *near = str_nearest_of(name, known, count);
  if (near)
    return err_hint(err, "did you mean \"%s\"?", near);
  return count ? err_hint(err, "known are: %s", buf_text(&text)) : err_hint(err, "this address takes none");
}

static bool check_params(struct http_req *req, struct err *err) {
  for (size_t i = 0; i < req->param_count; i++)
    if (!knows_param(req->route, req->params[i].name))
      return unknown_param(req, req->params[i].name, err);
  return true;
}

bool req_parse_params(struct http_req *req, struct err *err) {
  struct str rest = req->query, name, value;
  size_t count = 0;
  while (http_query_next(&rest, &name, &value))
    count++;
  if (!count)
    return true;
  req->params = ARENA_NEW_ARRAY(&req->arena, struct http_param, count);
  if (!req->params)
    return err_no_memory(err);
  for (rest = req->query; http_query_next(&rest, &name, &value); req->param_count++) {
    struct http_param *param = &req->params[req->param_count];
    if (!decode_param(req, name, &param->name, err) || !decode_param(req, value, &param->value, err))
      return false;
  }
  return !req->place->family->is_described || check_params(req, err);
}

size_t http_req_param_count(const struct http_req *req) {
  return req->param_count;
}

const struct http_param *http_req_param_at(const struct http_req *req, size_t i) {
  return i < req->param_count ? &req->params[i] : NULL;
}

bool http_req_param_next(const struct http_req *req, const char *name, size_t *cursor, struct str *ret_value) {
  while (*cursor < req->param_count) {
    const struct http_param *param = &req->params[(*cursor)++];
    if (str_is(param->name, name)) {
      *ret_value = param->value;
      return true;
    }
  }
  return false;
}

struct str http_req_param(const struct http_req *req, const char *name) {
  size_t cursor = 0;
  struct str value;
  return http_req_param_next(req, name, &cursor, &value) ? value : STR_NONE;
}

bool http_req_flag(const struct http_req *req, const char *name, bool *ret, struct err *err) {
  struct str text = http_req_param(req, name);
  return !text.p || str_to_bool(text, ret) || err_set(err, ERR_INVALID, "\"%s\" must be true or false", name);
}

/* ---- what else a handler sees ---- */

enum http_method http_req_method(const struct http_req *req) {
  return req->method;
}

const struct route *http_req_route(const struct http_req *req) {
  return req->route;
}

const char *http_req_pattern(const struct http_req *req) {
  return req->place ? req->place->pattern : "";
}

void *http_req_service(const struct http_req *req) {
  return req->service;
}

const struct http_peer *http_req_peer(const struct http_req *req) {
  return &req->peer;
}

bool http_req_tcp_owner(const struct http_req *req, uid_t *ret) {
  return req->conn && req->peer.kind == PEER_TCP && req->peer.is_loopback && tcp_peer_owner(req->conn->fd, ret);
}

bool http_req_is_tls(const struct http_req *req) {
  return req->is_tls;
}

struct arena *http_req_arena(struct http_req *req) {
  return &req->arena;
}

struct str http_req_path(const struct http_req *req) {
  return req->path;
}

struct str http_req_value(const struct http_req *req, const char *name) {
  if (req->place)
    for (size_t i = 0; i < req->place->name_count; i++)
      if (strcmp(req->place->names[i], name) == 0)
        return req->values[i];
  return STR_NONE;
}

bool http_req_header_next(const struct http_req *req, const char *name, size_t *cursor, struct str *ret_value) {
  struct str wanted = str_of(name);
  while (*cursor < req->field_count) {
    const struct http_field *field = &req->fields[(*cursor)++];
    if (field->name.n == wanted.n && str_eq_nocase(field->name, wanted)) {
      *ret_value = field->value;
      return true;
    }
  }
  return false;
}

struct str http_req_header(const struct http_req *req, const char *name) {
  size_t cursor = 0;
  struct str value;
  return http_req_header_next(req, name, &cursor, &value) ? value : STR_NONE;
}

const struct http_authority *http_req_host(const struct http_req *req) {
  return &req->host;
}

struct str http_req_body(const struct http_req *req) {
  return str_n(buf_text(&req->body), req->body.n);
}

uint64_t http_req_body_received(const struct http_req *req) {
  return req->received;
}

uint64_t http_req_body_length(const struct http_req *req) {
  return req->is_chunked ? UINT64_MAX : req->length;
}

void http_req_pause_body(struct http_req *req) {
  req->is_paused = true;
}

void http_req_resume_body(struct http_req *req) {
  if (!req->is_paused)
    return;
  req->is_paused = false;
  if (req->conn && req->conn->state == CONN_BODY) {
    int64_t now_ms = conn_now_ms(req->conn); /* the pause was not the client's time */
    req->conn->since_ms += now_ms - req->conn->progress_ms;
    req->conn->progress_ms = now_ms;
    conn_advance_later(req->conn);
  }
}

void *http_req_problems(const struct http_req *req) {
  return req->problems;
}

void http_req_set_problems(struct http_req *req, void *problems) {
  req->problems = problems;
}

void *http_req_principal(const struct http_req *req) {
  return req->principal;
}

void http_req_set_principal(struct http_req *req, void *principal) {
  req->principal = principal;
}

void *http_req_state(const struct http_req *req) {
  return req->state;
}

void http_req_set_state(struct http_req *req, void *state) {
  req->state = state;
}
