/* The service itself: status, tokens, the page's sessions, shutdown. */
#include "base/json.h"
#include "storage/pg/pg.h"
#include "web/app.h"
#include "web/http/http_reply.h"
#include "web/http/http_server.h"
#include "web/login_links.h"
#include "web/openapi.h"
#include "web/session.h"
#include "web/tables.h"
#include "web/tracking.h"
#include "web/trouble.h"

enum { SESSION_LIFE_S = 12 * 3600, TOKEN_PAGE_MAX = 1000, OPENAPI_MAX = 4 * 1024 * 1024 };

/* ---- status ---- */

static const char *state_word(const struct web_app *app) {
  if (app->status.draining)
    return "draining";
  return app->status.database_up && !trouble_is_there(app) ? "ok" : "degraded";
}

static void get_status(struct http_req *req) {
  const struct web_app *app = web_app(req);
  const struct access_principal *who = web_principal(req);
  bool insider = access_has(who, SCOPE_ADMIN); /* places on the machine are nobody else's business */
  struct http_server_stats http;
  http_server_stats(app->server, &http);
  struct pg_pool_stats pg = {0};
  if (app->pg)
    pg = pg_pool_stats(app->pg);

  struct buf body = BUF_INIT(64 * KIB);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_put_text(&w, "name", "winnow");
  jw_put_text(&w, "version", WINNOW_VERSION);
  jw_put_text(&w, "state", state_word(app));
  jw_put_i64(&w, "started", app->status.started_ms);
  jw_put_i64(&w, "now", clock_wall_ms(app->clock));
  jw_key(&w, "database");
  jw_object(&w);
  jw_put_bool(&w, "up", app->status.database_up);
  jw_put_text(&w, "kind", app->status.database);
  jw_put_text(&w, "reason", app->status.database_reason[0] && insider ? app->status.database_reason : NULL);
  jw_put_i64(&w, "waiting", (int64_t)pg.waiting);
  jw_put_i64(&w, "in_flight", (int64_t)pg.in_flight);
  jw_object_end(&w);
  jw_key(&w, "trouble");
  trouble_put(app, insider, &w);
  jw_put_i64(&w, "slots", app->status.slots);
  jw_put_text(&w, "url", app->status.url);
  jw_put_text(&w, "data_dir", insider ? app->status.data_dir : NULL);
  jw_put_i64(&w, "connections", (int64_t)http.connections);
  jw_key(&w, "you");
  jw_object(&w);
  jw_put_text(&w, "name", who->name);
  jw_put_text(&w, "scope", access_scope_name(who->scope));
  jw_object_end(&w);
  jw_object_end(&w);
  http_reply_json(req, 200, &body);
}

static void put_scopes(struct json_writer *w, struct str scope) {
  jw_key(w, "scopes");
  jw_array(w);
  if (scope.n)
    jw_str(w, scope);
  jw_array_end(w);
}

static void put_time(struct json_writer *w, const char *key, int64_t ms) {
  if (ms == 0 || ms == INT64_MIN)
    jw_put_null(w, key);
  else
    jw_put_i64(w, key, ms);
}

static void get_whoami(struct http_req *req) {
  static const char *const ways[] = {[ACCESS_NOBODY] = "nothing",
                                     [ACCESS_LOCAL_USER] = "socket",
                                     [ACCESS_TOKEN] = "token",
                                     [ACCESS_SESSION] = "session",
                                     [ACCESS_RUN] = "run token"};
  const struct web_app *app = web_app(req);
  const struct access_principal *who = web_principal(req);
  struct buf body = BUF_INIT(16 * KIB);
  struct json_writer w;
  char id[ID_HEX_LEN + 1];
  uid_t owner;
  id_format(who->token_id, id);
  jw_init(&w, &body);
  jw_object(&w);
  jw_put_text(&w, "actor", who->name);
  jw_put_text(&w, "name", who->name);
  jw_put_text(&w, "via", ways[who->kind]);
  put_scopes(&w, who->scope == SCOPE_NONE ? STR("") : str_of(access_scope_name(who->scope)));
  jw_put_text(&w, "token_id", id_is_zero(who->token_id) ? NULL : id);
  put_time(&w, "expires", who->expires_ms);
  /* Its own user finds the place where no credential is asked for; nobody else is told of places. */
  jw_put_text(&w, "data_dir", http_req_tcp_owner(req, &owner) && owner == app->access.owner ? app->status.data_dir : NULL);
  jw_object_end(&w);
  http_reply_json(req, 200, &body);
}

static void get_openapi(struct http_req *req) {
  const struct web_app *app = web_app(req);
  struct buf body = BUF_INIT(OPENAPI_MAX);
  openapi_write(app->mounts, app->mount_count, NULL, &body);
  http_reply_json(req, 200, &body);
}

/* ---- tokens ---- */

/* A token, or a page's session, on its way into the database. Lives in the request's arena. */
struct token_create {
  struct http_req *req;
  struct token_entry entry;
  uint8_t hash[TOKEN_HASH_BYTES];
  char secret[64];
};

static void answer_token(struct token_create *op, int64_t created_ms) {
  struct buf body = BUF_INIT(4 * KIB);
  struct json_writer w;
  char id[ID_HEX_LEN + 1];
  id_format(op->entry.id, id);
  jw_init(&w, &body);
  jw_object(&w);
  jw_put_text(&w, "id", id);
  jw_put_text(&w, "name", op->entry.name);
  put_scopes(&w, str_of(access_scope_name(op->entry.scope)));
  jw_put_text(&w, "token", op->secret);
  put_time(&w, "created", created_ms);
  put_time(&w, "expires", op->entry.expires_ms);
  jw_put_null(&w, "revoked");
  jw_put_null(&w, "last_used");
  jw_object_end(&w);
  http_reply_json(op->req, 201, &body);
}

static void answer_session(struct token_create *op) {
  char cookie[256];
  snprintf(cookie, sizeof cookie, SESSION_COOKIE "=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%d%s", op->secret, (int)SESSION_LIFE_S,
           http_req_is_tls(op->req) ? "; Secure" : "");
  http_reply_header(op->req, "Set-Cookie", str_of(cookie));
  http_reply_redirect(op->req, 303, STR("/"));
}

static bool link_is_over(struct err *err) {
  err_set(err, ERR_NOT_FOUND, "this link was used already, or is over");
  return err_hint(err, "`winnow open` makes a new one");
}

/* Has the token that opens this session been revoked while it was being stored? */
static bool is_orphan(const struct token_create *op) {
  return !id_is_zero(op->entry.parent) && !token_table_has(&web_app(op->req)->tokens, op->entry.parent);
}

static void on_token_stored(void *ctx, const struct pg_reply *reply) {
  struct token_create *op = ctx;
  struct web_app *app = web_app(op->req);
  struct err err;
  if (!pg_ok(reply, &err) || (is_orphan(op) && !link_is_over(&err)) || !token_table_add(&app->tokens, op->hash, &op->entry, &err)) {
    http_reply_error(op->req, &err);
    return;
  }
  if (op->entry.session)
    answer_session(op);
  else
    answer_token(op, pg_time(reply, 0, 0));
}

/* Answers the request, now or later. */
static void create_token(struct token_create *op) {
  struct web_app *app = web_app(op->req);
  struct err err;
  op->entry.id = id_new(app->clock, &app->rng);
  token_make(op->secret);
  token_hash(str_of(op->secret), op->hash);
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_TOKEN_CREATE);
  pg_put_uuid(&args, op->entry.id);
  pg_put_text(&args, str_of(op->entry.name));
  pg_put_bytea(&args, str_n((const char *)op->hash, sizeof op->hash));
  pg_begin_array(&args);
  pg_put_text(&args, str_of(access_scope_name(op->entry.scope)));
  if (op->entry.session)
    pg_put_text(&args, STR("session"));
  pg_end_array(&args);
  if (op->entry.expires_ms)
    pg_put_time(&args, op->entry.expires_ms);
  else
    pg_put_null(&args);
  if (id_is_zero(op->entry.parent))
    pg_put_null(&args);
  else
    pg_put_uuid(&args, op->entry.parent);
  if (!pg_run(app->pg, &args, 0, on_token_stored, op, &err))
    http_reply_error(op->req, &err);
}

struct token_body {
  struct str name;
  const json_t *scopes;
  int64_t expires;
};

static const struct json_field token_fields[] = {
    {.name = "name", .type = JSON_F_STR, .offset = offsetof(struct token_body, name), .required = true, .min = 1, .max = 50},
    {.name = "scopes", .type = JSON_F_ARRAY, .offset = offsetof(struct token_body, scopes), .min = 1, .max = 8},
    {.name = "expires", .type = JSON_F_I64, .offset = offsetof(struct token_body, expires), .nullable = true, .min = 1, .max = INT64_MAX},
};

/* Each scope includes those below it, so the highest is what counts. */
static bool read_scopes(const json_t *scopes, enum access_scope *ret, struct err *err) {
  size_t i;
  json_t *item;
  json_array_foreach(scopes, i, item) {
    enum access_scope scope;
    if (!access_scope_parse(json_str(item), &scope))
      return err_set(err, ERR_INVALID, "\"scopes\" may hold read, write, submit and admin");
    *ret = MAX_OF(*ret, scope);
  }
  return true;
}

static bool read_token_body(struct token_create *op, struct err *err) {
  struct token_body body = {.scopes = NULL};
  AUTO_JSON json_t *json = NULL;
  int64_t now = clock_wall_ms(web_app(op->req)->clock);
  op->entry.scope = SCOPE_READ;
  if (!json_read_body(http_req_body(op->req), &json, err) || !json_decode(json, token_fields, ARRAY_LEN(token_fields), "", &body, err) ||
      (body.scopes && !read_scopes(body.scopes, &op->entry.scope, err)))
    return false;
  if (body.expires && body.expires <= now)
    return err_set(err, ERR_INVALID, "\"expires\" lies in the past: it is in milliseconds since 1970");
  snprintf(op->entry.name, sizeof op->entry.name, "%.*s", STR_ARG(body.name));
  op->entry.expires_ms = body.expires;
  return true;
}

static void post_token(struct http_req *req) {
  struct err err;
  struct token_create *op = HTTP_REQ_NEW(req, struct token_create);
  if (!op)
    return;
  op->req = req;
  if (read_token_body(op, &err))
    create_token(op);
  else
    http_reply_error(req, &err);
}

static void put_token_row(struct json_writer *w, const struct pg_reply *reply, size_t row) {
  char id[ID_HEX_LEN + 1];
  id_format(pg_uuid(reply, row, 0), id);
  jw_object(w);
  jw_put_text(w, "id", id);
  jw_put_str(w, "name", pg_text(reply, row, 1));
  struct pg_array scopes = pg_array(reply, row, 2);
  put_scopes(w, pg_array_next(&scopes) ? pg_item_text(&scopes) : STR(""));
  put_time(w, "created", pg_time(reply, row, 3));
  put_time(w, "expires", pg_time(reply, row, 4));
  put_time(w, "revoked", pg_time(reply, row, 5));
  put_time(w, "last_used", pg_time(reply, row, 6));
  jw_object_end(w);
}

static void on_tokens(void *ctx, const struct pg_reply *reply) {
  struct http_req *req = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    http_reply_error(req, &err);
    return;
  }
  int64_t limit = (int64_t)(uintptr_t)http_req_state(req);
  struct buf body = BUF_INIT(4 * MIB);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  jw_key(&w, "items");
  jw_array(&w);
  for (size_t row = 0; row < pg_rows(reply); row++)
    put_token_row(&w, reply, row);
  jw_array_end(&w);
  if ((int64_t)pg_rows(reply) == limit) {
    char last[ID_HEX_LEN + 1];
    id_format(pg_uuid(reply, pg_rows(reply) - 1, 0), last);
    jw_put_text(&w, "next", last);
  } else {
    jw_put_null(&w, "next");
  }
  jw_object_end(&w);
  http_reply_json(req, 200, &body);
}

static bool read_page(const struct http_req *req, int64_t *ret_limit, struct id *ret_after, bool *ret_from_start, struct err *err) {
  struct str limit = http_req_param(req, "limit"), cursor = http_req_param(req, "cursor");
  *ret_limit = 100;
  *ret_from_start = !cursor.p;
  if (limit.p && (!str_to_i64(limit, ret_limit) || *ret_limit < 1 || *ret_limit > TOKEN_PAGE_MAX))
    return err_set(err, ERR_INVALID, "\"limit\" must be from 1 to %d", TOKEN_PAGE_MAX);
  if (cursor.p && !id_parse(cursor, ret_after))
    return err_set(err, ERR_INVALID, "\"cursor\" is none that was given out here");
  return true;
}

static void get_tokens(struct http_req *req) {
  struct err err;
  int64_t limit;
  struct id after = {{0}};
  bool from_start;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_TOKEN_LIST);
  bool ok = read_page(req, &limit, &after, &from_start, &err);
  if (ok) {
    if (from_start)
      pg_put_null(&args);
    else
      pg_put_uuid(&args, after);
    pg_put_int(&args, limit);
    http_req_set_state(req, (void *)(uintptr_t)limit);
    ok = pg_run(web_app(req)->pg, &args, 0, on_tokens, req, &err);
  }
  if (!ok)
    http_reply_error(req, &err);
}

static void on_revoked(void *ctx, const struct pg_reply *reply) {
  struct http_req *req = ctx;
  struct err err;
  struct id id;
  if (!pg_ok(reply, &err)) {
    http_reply_error(req, &err);
    return;
  }
  if (id_parse(http_req_value(req, "id"), &id)) {
    token_table_remove(&web_app(req)->tokens, id);
    login_links_forget(web_app(req)->links, id);
  }
  if (pg_rows(reply) == 0) {
    err_set(&err, ERR_NOT_FOUND, "there is no token with this id");
    err_hint(&err, "`winnow token ls` lists them");
    http_reply_error(req, &err);
    return;
  }
  http_reply_empty(req, 204);
}

static void delete_token(struct http_req *req) {
  struct err err;
  struct id id;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_TOKEN_REVOKE);
  bool ok = id_parse(http_req_value(req, "id"), &id) || err_set(&err, ERR_NOT_FOUND, "a token's id has 32 hex digits");
  if (ok) {
    pg_put_uuid(&args, id);
    ok = pg_run(web_app(req)->pg, &args, 0, on_revoked, req, &err);
  }
  if (!ok)
    http_reply_error(req, &err);
}

/* ---- the page's session ---- */

static void post_login_link(struct http_req *req) {
  struct web_app *app = web_app(req);
  const struct access_principal *who = web_principal(req);
  if (!access_has(who, SCOPE_READ) || who->kind == ACCESS_RUN) {
    struct err err;
    err_set(&err, ERR_UNAUTHENTICATED, "a link is made for somebody who has a credential");
    err_hint(&err, "`winnow open` uses the Unix socket of the service");
    http_reply_error(req, &err);
    return;
  }
  char code[64];
  int64_t now = clock_wall_ms(app->clock);
  login_links_add(app->links, who, now, code);
  struct buf body = BUF_INIT(KIB);
  struct json_writer w;
  jw_init(&w, &body);
  jw_object(&w);
  char path[128];
  snprintf(path, sizeof path, "/login?code=%s", code);
  jw_put_text(&w, "path", path);
  jw_put_i64(&w, "expires", now + LOGIN_LINK_LIFE_MS);
  jw_object_end(&w);
  http_reply_json(req, 201, &body);
}

void web_get_login(struct http_req *req) {
  struct web_app *app = web_app(req);
  struct err err;
  if (http_req_method(req) == HTTP_HEAD) { /* who only looks at the link does not use it up */
    http_reply_empty(req, 200);
    return;
  }
  struct token_create *op = HTTP_REQ_NEW(req, struct token_create);
  if (!op)
    return;
  op->req = req;
  struct str code = http_req_param(req, "code");
  int64_t now = clock_wall_ms(app->clock), until = 0;
  if (!code.n || code.n > 64 || !login_links_use(app->links, code, now, &op->entry.scope, &until, &op->entry.parent)) {
    link_is_over(&err);
    http_reply_error(req, &err);
    return;
  }
  op->entry.session = true;
  op->entry.expires_ms = now + (int64_t)SESSION_LIFE_S * 1000;
  if (until)
    op->entry.expires_ms = MIN_OF(op->entry.expires_ms, until);
  snprintf(op->entry.name, sizeof op->entry.name, "page");
  create_token(op);
}

/* ---- the end ---- */

static void post_shutdown(struct http_req *req) {
  struct web_app *app = web_app(req);
  bool now = false;
  struct err err;
  if (!http_req_flag(req, "now", &now, &err)) {
    http_reply_error(req, &err);
    return;
  }
  struct buf body = BUF_INIT(KIB);
  buf_puts(&body, "{\"state\":\"draining\"}");
  http_reply_json(req, 202, &body);
  app->shut_down(app->shut_down_ctx, now, tracking_actor(req));
}

const struct route service_routes[] = {
    {.method = HTTP_GET,
     .path = "/status",
     .policy = POLICY_READ,
     .reach = REACH_ANY,
     .handler = get_status,
     .summary = "How the service stands",
     .doc = "Version, database, slots, and who you are to it.",
     .response_schema = "status"},
    {.method = HTTP_GET,
     .path = "/whoami",
     .policy = POLICY_READ,
     .reach = REACH_ANY,
     .handler = get_whoami,
     .summary = "Who you are to the service",
     .response_schema = "whoami"},
    {.method = HTTP_GET,
     .path = "/openapi.json",
     .policy = POLICY_READ,
     .reach = REACH_ANY,
     .handler = get_openapi,
     .response_schema = "any",
     .summary = "This API, as OpenAPI 3.1"},
    {.method = HTTP_POST,
     .path = "/tokens",
     .policy = POLICY_ADMIN,
     .body = BODY_BUFFER,
     .max_body = 64 * 1024,
     .handler = post_token,
     .creates = CREATES_SECRET,
     .summary = "Make a token",
     .doc = "The secret is shown in this answer and never again: only its hash is stored.",
     .request_schema = "token_new",
     .response_schema = "token"},
    {.method = HTTP_GET,
     .path = "/tokens",
     .policy = POLICY_ADMIN,
     .handler = get_tokens,
     .summary = "List tokens, without their secrets",
     .response_schema = "token_list",
     .query = "limit:integer,cursor:string"},
    {.method = HTTP_DELETE, .path = "/tokens/{id}", .policy = POLICY_ADMIN, .handler = delete_token, .summary = "Revoke a token, at once"},
    {.method = HTTP_POST,
     .path = "/login-links",
     .policy = POLICY_READ,
     .handler = post_login_link,
     .summary = "Make a one-time link that opens the page",
     .doc = "The session it opens may do what you may.",
     .response_schema = "login_link"},
    {.method = HTTP_POST,
     .path = "/shutdown",
     .policy = POLICY_ADMIN,
     .handler = post_shutdown,
     .response_schema = "shutdown",
     .summary = "Stop the service, in order",
     .doc = "Jobs go on unless `now` is true.",
     .query = "now:boolean"},
};
const size_t service_route_count = ARRAY_LEN(service_routes);
