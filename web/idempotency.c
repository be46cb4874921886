#include "web/idempotency.h"

#include <openssl/sha.h>

#include "storage/pg/pg.h"
#include "web/app.h"
#include "web/http/http_reply.h"

enum { KEY_MAX = 255, ANSWER_MAX = 256 * 1024 };

/* In the request's arena. */
struct keyed {
  struct http_req *req;
  uint8_t key[32], request[32];
  int64_t now;
  int status; /* of the answer, while it is being kept */
  char content_type[80];
  struct buf answer;
};

static struct pg_pool *pool(const struct keyed *op) {
  return web_app(op->req)->pg;
}

/* Each part by its own digest, so that no two ways to cut a text are the same. */
static void add(struct buf *parts, struct str part) {
  uint8_t digest[32];
  SHA256((const unsigned char *)(part.p ? part.p : ""), part.n, digest);
  buf_add(parts, digest, sizeof digest);
}

/* False without memory. */
static bool digest_of(struct buf *parts, uint8_t out[32]) {
  SHA256((const unsigned char *)buf_text(parts), parts->n, out);
  return buf_ok(parts, NULL);
}

static bool key_of(const struct http_req *req, struct str text, uint8_t out[32]) {
  AUTO_BUF struct buf parts = BUF_INIT(KIB);
  const struct access_principal *who = web_principal(req);
  add(&parts, str_of(who ? who->name : ""));
  add(&parts, who ? str_n((const char *)&who->token_id, sizeof who->token_id) : STR_NONE);
  add(&parts, http_req_path(req));
  add(&parts, text);
  return digest_of(&parts, out);
}

static bool request_of(const struct http_req *req, uint8_t out[32]) {
  AUTO_BUF struct buf parts = BUF_INIT(MIB);
  for (size_t i = 0; i < http_req_param_count(req); i++) {
    add(&parts, http_req_param_at(req, i)->name);
    add(&parts, http_req_param_at(req, i)->value);
  }
  add(&parts, http_req_header(req, "Content-Type"));
  add(&parts, http_req_body(req));
  return digest_of(&parts, out);
}

struct id idempotency_id(struct http_req *req) {
  struct str text = http_req_header(req, "Idempotency-Key");
  struct id id = id_new(web_app(req)->clock, &web_app(req)->rng);
  uint8_t key[32];
  if (text.n && key_of(req, text, key))
    memcpy(id.bytes, key, sizeof id.bytes);
  return id;
}

static void run_handler(struct http_req *req) {
  http_req_route(req)->handler(req);
}

static bool names_itself(const struct http_req *req) {
  return http_req_route(req)->creates == CREATES_NAMED;
}

static bool under_way(const struct http_req *req, struct err *err) {
  if (names_itself(req))
    return err_set(err, ERR_OVERLOADED, "the same request is under way");
  err_set(err, ERR_CONFLICT, "the same request, with this Idempotency-Key, is under way");
  return err_hint(err, "ask again in a moment");
}

/* ---- the answer is kept, then sent ---- */

static void send_answer(struct keyed *op) {
  if (op->content_type[0])
    http_reply_body(op->req, op->status, op->content_type, &op->answer);
  else
    http_reply_empty(op->req, op->status);
}

/* That it could not be kept changes nothing about what was done. */
static void on_kept(void *ctx, const struct pg_reply *reply UNUSED) {
  send_answer(ctx);
}

static void keep(struct keyed *op) {
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  bool has_body = op->content_type[0] && op->answer.n <= ANSWER_MAX && http_req_route(op->req)->creates != CREATES_SECRET;
  pg_args_init(&args, STMT_IDEMPOTENCY_KEEP);
  pg_put_bytea(&args, str_n((const char *)op->key, sizeof op->key));
  pg_put_int(&args, op->status);
  pg_put_text(&args, has_body ? str_of(op->content_type) : STR_NONE);
  pg_put_bytea(&args, has_body ? buf_str(&op->answer) : STR_NONE);
  if (!pg_run(pool(op), &args, 0, on_kept, op, &err))
    send_answer(op);
}

struct refusal {
  struct keyed *op;
  struct err err;
};

static void on_freed(void *ctx, const struct pg_reply *reply UNUSED) {
  struct refusal *refusal = ctx;
  http_reply_error(refusal->op->req, &refusal->err);
}

/* Nothing was made, so the key is free again. Where that is not known, it stays taken. */
static void free_key(struct keyed *op, const struct err *why) {
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  struct refusal *refusal = ARENA_NEW(http_req_arena(op->req), struct refusal);
  if (!refusal || why->code == ERR_UNKNOWN_OUTCOME) {
    http_reply_error(op->req, why);
    return;
  }
  *refusal = (struct refusal){op, *why};
  pg_args_init(&args, STMT_IDEMPOTENCY_FREE);
  pg_put_bytea(&args, str_n((const char *)op->key, sizeof op->key));
  if (!pg_run(pool(op), &args, 0, on_freed, refusal, &err))
    http_reply_error(op->req, why);
}

static void on_answer(void *ctx, int status, const char *content_type, struct buf *body, const struct err *err) {
  struct keyed *op = ctx;
  struct err why;
  if (err || (body && !buf_ok(body, &why))) {
    free_key(op, err ? err : &why);
    return;
  }
  op->status = status;
  snprintf(op->content_type, sizeof op->content_type, "%s", content_type ? content_type : "");
  if (body) {
    op->answer = *body;
    *body = BUF_INIT(0);
  }
  keep(op);
}

/* ---- what is known of the key ---- */

static void begin(struct keyed *op) {
  http_reply_tap(op->req, on_answer, op);
  run_handler(op->req);
}

static void on_taken(void *ctx, const struct pg_reply *reply) {
  struct keyed *op = ctx;
  struct err err;
  if (pg_ok(reply, &err) && pg_rows(reply)) {
    begin(op);
    return;
  }
  if (pg_outcome(reply) == PG_DONE)
    under_way(op->req, &err);
  http_reply_error(op->req, &err);
}

/* An earlier life of the service did not get to the end of it. */
static bool take_over(struct keyed *op, int64_t created, struct err *err) {
  if (http_req_route(op->req)->creates != CREATES_BY_KEY && !names_itself(op->req)) {
    err_set(err, ERR_UNKNOWN_OUTCOME, "the service ended while this request was under way: it is not known whether it was done");
    return err_hint(err, "look whether it is there; if not, use another Idempotency-Key");
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_IDEMPOTENCY_TAKE);
  pg_put_bytea(&args, str_n((const char *)op->key, sizeof op->key));
  pg_put_int(&args, created);
  pg_put_int(&args, op->now);
  return pg_run(pool(op), &args, 0, on_taken, op, err);
}

static bool give_again(struct keyed *op, const struct pg_reply *reply, struct err *err) {
  if (pg_is_null(reply, 0, 4) && http_req_route(op->req)->creates == CREATES_SECRET) {
    err_set(err, ERR_EXISTS, "this request was done already, and its secret is shown only once");
    return err_hint(err, "revoke what it made, and make another with a new Idempotency-Key");
  }
  op->status = (int)pg_int(reply, 0, 3);
  snprintf(op->content_type, sizeof op->content_type, "%.*s", STR_ARG(pg_text(reply, 0, 4)));
  buf_add_str(&op->answer, pg_bytea(reply, 0, 5));
  http_reply_header(op->req, "Idempotent-Replayed", STR("true"));
  send_answer(op);
  return true;
}

static bool compare(struct keyed *op, const struct pg_reply *reply, struct err *err) {
  struct str request = pg_bytea(reply, 0, 1);
  if (request.n != sizeof op->request || memcmp(request.p, op->request, sizeof op->request) != 0) {
    err_set(err, ERR_CONFLICT, "this Idempotency-Key was used for another request to this path");
    return err_hint(err, "use a new key for each thing to be made");
  }
  if (!pg_is_null(reply, 0, 3))
    return give_again(op, reply, err);
  if (pg_int(reply, 0, 2) < web_app(op->req)->status.started_ms)
    return take_over(op, pg_int(reply, 0, 2), err);
  return under_way(op->req, err);
}

static void on_begun(void *ctx, const struct pg_reply *reply) {
  struct keyed *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    http_reply_error(op->req, &err);
    return;
  }
  if (pg_rows(reply) && pg_bool(reply, 0, 0)) {
    begin(op);
    return;
  }
  bool ok = pg_rows(reply) ? compare(op, reply, &err) : under_way(op->req, &err);
  if (!ok)
    http_reply_error(op->req, &err);
}

static bool look_up(struct http_req *req, struct str text, struct err *err) {
  struct keyed *op = ARENA_NEW(http_req_arena(req), struct keyed);
  if (!op)
    return err_no_memory(err);
  if (!names_itself(req) && text.n > KEY_MAX)
    return err_set(err, ERR_INVALID, "an Idempotency-Key has at most %d characters", KEY_MAX);
  *op = (struct keyed){.req = req, .now = clock_wall_ms(web_app(req)->clock), .answer = BUF_INIT(ANSWER_MAX)};
  if (!key_of(req, text, op->key) || !request_of(req, op->request))
    return err_no_memory(err);
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_IDEMPOTENCY_BEGIN);
  pg_put_bytea(&args, str_n((const char *)op->key, sizeof op->key));
  pg_put_bytea(&args, str_n((const char *)op->request, sizeof op->request));
  pg_put_int(&args, op->now);
  return pg_run(pool(op), &args, 0, on_begun, op, err);
}

void idempotency_handle(void *ctx UNUSED, struct http_req *req) {
  struct str text = names_itself(req) ? http_req_body(req) : http_req_header(req, "Idempotency-Key");
  struct err err;
  if (!text.n || http_req_route(req)->creates == CREATES_NOTHING)
    run_handler(req);
  else if (!look_up(req, text, &err))
    http_reply_error(req, &err);
}
