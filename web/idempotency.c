#include "web/idempotency.h"

#include <openssl/sha.h>

#include "base/map.h"
#include "base/mem.h"
#include "storage/pg/pg.h"
#include "web/app.h"
#include "web/http/http_reply.h"

enum { KEY_MAX = 255, ANSWER_MAX = 256 * 1024, UNDER_WAY_MAX = 65536, OWED_MAX = 256 };

/* What is known here of a key: its request is under way, or the database could not be told how it ended. */
struct entry {
  uint8_t request[32];
  enum { UNDER_WAY, OWES_FREEDOM, OWES_ANSWER } state;
  int64_t taken; /* when the database was asked for the key */
  int64_t first; /* when it was asked for by the first try, maybe of an earlier life */
  int status;
  char content_type[80];
  struct buf answer;
  idempotency_kept_fn *then; /* of the request that is under way: not one that only is owed */
  void *then_ctx;
  struct str doomed;
};

struct idempotency {
  struct map entries;
  size_t owed; /* how many are not under way */
};

/* In the request's arena. */
struct keyed {
  struct http_req *req;
  struct entry *entry; /* under way */
  bool was_freed;      /* the database was not told that an earlier try made nothing */
  bool was_answered;   /* or what it made: status, content_type, answer */
  uint8_t key[32], request[32];
  int64_t now;
  int status; /* of the answer, while it is being kept */
  char content_type[80];
  struct buf answer;
};

static struct pg_pool *pool(const struct keyed *op) {
  return web_app(op->req)->pg;
}

/* ---- what is known here ---- */

struct idempotency *idempotency_new(struct err *err) {
  struct idempotency *keys = mem_zalloc(sizeof *keys);
  if (!keys)
    err_no_memory(err);
  else
    map_init(&keys->entries, UNDER_WAY_MAX);
  return keys;
}

static void entry_free(struct entry *entry) {
  buf_release(&entry->answer);
  mem_free(entry);
}

void idempotency_free(struct idempotency *keys) {
  struct str key;
  void *value;
  if (!keys)
    return;
  for (size_t cursor = 0; map_next(&keys->entries, &cursor, &key, &value);)
    entry_free(value);
  map_release(&keys->entries);
  mem_free(keys);
}

static struct idempotency *keys_of(const struct keyed *op) {
  return web_app(op->req)->idempotency;
}

static struct str key_text(const uint8_t key[32]) {
  return str_n((const char *)key, 32);
}

/* The request is not under way any more, and all that is known stands in the database. */
static void let_go(struct keyed *op) {
  if (!op->entry)
    return;
  map_remove(&keys_of(op)->entries, key_text(op->key));
  entry_free(op->entry);
  op->entry = NULL;
}

/* Or not: the next one who asks is told. Beyond the ceiling it is forgotten, as after a crash. */
static void owe(struct keyed *op, int state) {
  struct idempotency *keys = keys_of(op);
  if (keys->owed >= OWED_MAX) {
    let_go(op);
    return;
  }
  keys->owed++;
  op->entry->state = state;
  op->entry->taken = op->now;
  op->entry->then = NULL;
  op->entry->doomed = STR_NONE;
  op->entry = NULL;
}

/* Takes the answer's bytes along. */
static void owe_answer(struct keyed *op) {
  struct entry *entry = op->entry;
  entry->status = op->status;
  snprintf(entry->content_type, sizeof entry->content_type, "%s", op->content_type);
  buf_reset(&entry->answer);
  buf_add_str(&entry->answer, buf_str(&op->answer));
  if (buf_ok(&entry->answer, NULL))
    owe(op, OWES_ANSWER);
  else
    let_go(op);
}

static void refuse(struct keyed *op, const struct err *err) {
  let_go(op);
  buf_release(&op->answer);
  http_reply_error(op->req, err);
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
  uint8_t key[32];
  if (!text.n || !key_of(req, text, key))
    return id_new(web_app(req)->clock, &web_app(req)->rng);
  const struct entry *entry = map_get(&web_app(req)->idempotency->entries, key_text(key));
  return id_at(entry ? entry->first : 0, key);
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

static bool is_another(const uint8_t *request, size_t n, const struct keyed *op, struct err *err) {
  if (n == sizeof op->request && memcmp(request, op->request, n) == 0)
    return false;
  err_set(err, ERR_CONFLICT, "this Idempotency-Key was used for another request to this path");
  err_hint(err, "use a new key for each thing to be made");
  return true;
}

/* An earlier try is over, and the database could not be told. */
static bool take_owed(struct keyed *op, struct entry *entry, struct err *err) {
  op->was_freed = entry->state == OWES_FREEDOM;
  op->was_answered = entry->state == OWES_ANSWER;
  op->now = entry->taken; /* so a row that the earlier try may have made is told from that of an earlier life */
  op->status = entry->status;
  snprintf(op->content_type, sizeof op->content_type, "%s", entry->content_type);
  buf_add_str(&op->answer, buf_str(&entry->answer));
  if (!buf_ok(&op->answer, err))
    return false;
  keys_of(op)->owed--;
  entry->state = UNDER_WAY;
  op->entry = entry;
  return true;
}

/* From here on nobody else does it. */
static bool enter(struct keyed *op, struct err *err) {
  struct map *entries = &keys_of(op)->entries;
  struct entry *entry = map_get(entries, key_text(op->key));
  if (entry)
    return !is_another(entry->request, sizeof entry->request, op, err) &&
           (entry->state == UNDER_WAY ? under_way(op->req, err) : take_owed(op, entry, err));
  entry = mem_zalloc(sizeof *entry);
  if (!entry)
    return err_no_memory(err);
  memcpy(entry->request, op->request, sizeof entry->request);
  entry->answer = BUF_INIT(ANSWER_MAX);
  if (!map_put(entries, key_text(op->key), entry, NULL)) {
    entry_free(entry);
    return err_set(err, ERR_OVERLOADED, "too many requests with an Idempotency-Key are under way");
  }
  op->entry = entry;
  return true;
}

/* ---- the answer is kept, then sent ---- */

static void send_answer(struct keyed *op) {
  let_go(op);
  if (op->content_type[0])
    http_reply_body(op->req, op->status, op->content_type, &op->answer);
  else
    http_reply_empty(op->req, op->status);
}

static bool is_secret(const struct keyed *op) {
  return http_req_route(op->req)->creates == CREATES_SECRET;
}

/* That it could not be kept changes nothing about what was done. */
static void not_kept(struct keyed *op) {
  if (is_secret(op) || op->answer.n > ANSWER_MAX)
    let_go(op);
  else
    owe_answer(op);
  send_answer(op);
}

static void send_kept(void *op) {
  send_answer(op);
}

static void on_kept(void *ctx, const struct pg_reply *reply) {
  struct keyed *op = ctx;
  if (pg_outcome(reply) != PG_DONE) {
    not_kept(op);
    return;
  }
  idempotency_kept_fn *then = op->entry->then;
  if (then)
    then(op->entry->then_ctx, send_kept, op);
  else
    send_answer(op);
}

static void keep(struct keyed *op) {
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  bool has_type = op->content_type[0] && !is_secret(op), has_body = has_type && op->answer.n <= ANSWER_MAX;
  pg_args_init(&args, STMT_IDEMPOTENCY_KEEP);
  pg_put_bytea(&args, key_text(op->key));
  pg_put_int(&args, op->status);
  pg_put_text(&args, has_type ? str_of(op->content_type) : STR_NONE);
  pg_put_bytea(&args, has_body ? buf_str(&op->answer) : STR_NONE);
  pg_put_text(&args, op->entry->doomed);
  if (!pg_run(pool(op), &args, 0, on_kept, op, &err))
    not_kept(op);
}

struct refusal {
  struct keyed *op;
  struct err err;
};

static void on_freed(void *ctx, const struct pg_reply *reply) {
  struct refusal *refusal = ctx;
  if (pg_outcome(reply) != PG_DONE)
    owe(refusal->op, OWES_FREEDOM);
  refuse(refusal->op, &refusal->err);
}

/* Nothing was made, so the key is free again. Where that is not known, it stays taken, and is nobody's. */
static void free_key(struct keyed *op, const struct err *why) {
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  struct refusal *refusal = ARENA_NEW(http_req_arena(op->req), struct refusal);
  if (why->code == ERR_UNKNOWN_OUTCOME) {
    refuse(op, why);
    return;
  }
  pg_args_init(&args, STMT_IDEMPOTENCY_FREE);
  pg_put_bytea(&args, key_text(op->key));
  if (refusal)
    *refusal = (struct refusal){op, *why};
  if (refusal && pg_run(pool(op), &args, 0, on_freed, refusal, &err))
    return;
  owe(op, OWES_FREEDOM);
  refuse(op, why);
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
    buf_release(&op->answer);
    op->answer = *body;
    *body = BUF_INIT(0);
  }
  keep(op);
}

/* ---- what is known of the key ---- */

static void begin(struct keyed *op, int64_t first) {
  op->entry->first = first;
  http_reply_tap(op->req, on_answer, op);
  run_handler(op->req);
}

static void on_taken(void *ctx, const struct pg_reply *reply) {
  struct keyed *op = ctx;
  struct err err;
  if (pg_ok(reply, &err) && pg_rows(reply)) {
    begin(op, op->now);
    return;
  }
  if (pg_outcome(reply) == PG_DONE)
    under_way(op->req, &err);
  refuse(op, &err);
}

/* An earlier life of the service did not get to the end of it, or in this one it was not to be known how it ended. */
static bool take_over(struct keyed *op, int64_t created, struct err *err) {
  if (http_req_route(op->req)->creates == CREATES_BY_KEY) {
    begin(op, created);
    return true;
  }
  if (!names_itself(op->req)) {
    err_set(err, ERR_UNKNOWN_OUTCOME,
            "the service or its database ended while this request was under way: it is not known whether it was done");
    return err_hint(err, "look whether it is there; if not, use another Idempotency-Key");
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_IDEMPOTENCY_TAKE);
  pg_put_bytea(&args, key_text(op->key));
  pg_put_int(&args, created);
  pg_put_int(&args, op->now);
  return pg_run(pool(op), &args, 0, on_taken, op, err);
}

static bool give_again(struct keyed *op, const struct pg_reply *reply, struct err *err) {
  if (pg_is_null(reply, 0, 4) && is_secret(op)) {
    err_set(err, ERR_EXISTS, "this request was done already, and its secret is shown only once");
    return err_hint(err, "revoke what it made, and make another with a new Idempotency-Key");
  }
  if (!pg_is_null(reply, 0, 4) && pg_is_null(reply, 0, 5)) {
    err_set(err, ERR_EXISTS, "this request was done already, and its answer was too large to be kept");
    return err_hint(err, "list what it made");
  }
  op->status = (int)pg_int(reply, 0, 3);
  snprintf(op->content_type, sizeof op->content_type, "%.*s", STR_ARG(pg_text(reply, 0, 4)));
  buf_reset(&op->answer);
  buf_add_str(&op->answer, pg_bytea(reply, 0, 5));
  http_reply_header(op->req, "Idempotent-Replayed", STR("true"));
  send_answer(op);
  return true;
}

/* What an earlier try got, which the database does not know yet. */
static void give_owed(struct keyed *op) {
  http_reply_header(op->req, "Idempotent-Replayed", STR("true"));
  keep(op);
}

static bool compare(struct keyed *op, const struct pg_reply *reply, struct err *err) {
  struct str request = pg_bytea(reply, 0, 1);
  if (is_another((const uint8_t *)request.p, request.n, op, err))
    return false;
  if (!pg_is_null(reply, 0, 3))
    return give_again(op, reply, err);
  if (op->was_answered) {
    give_owed(op);
    return true;
  }
  if (op->was_freed && pg_int(reply, 0, 2) == op->now) {
    begin(op, op->now);
    return true;
  }
  return take_over(op, pg_int(reply, 0, 2), err);
}

static void on_begun(void *ctx, const struct pg_reply *reply) {
  struct keyed *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    if (op->was_answered)
      owe_answer(op);
    else if (op->was_freed || pg_outcome(reply) == PG_UNKNOWN)
      owe(op, OWES_FREEDOM);
    refuse(op, &err);
    return;
  }
  if (pg_rows(reply) && pg_bool(reply, 0, 0)) { /* with an answer: the row was cleaned away meanwhile */
    op->was_answered ? give_owed(op) : begin(op, op->now);
    return;
  }
  bool ok = pg_rows(reply) ? compare(op, reply, &err) : under_way(op->req, &err);
  if (!ok)
    refuse(op, &err);
}

static void ask(struct keyed *op) {
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_IDEMPOTENCY_BEGIN);
  pg_put_bytea(&args, key_text(op->key));
  pg_put_bytea(&args, str_n((const char *)op->request, sizeof op->request));
  pg_put_int(&args, op->now);
  if (pg_run(pool(op), &args, 0, on_begun, op, &err))
    return;
  if (op->was_answered)
    owe_answer(op);
  else if (op->was_freed)
    owe(op, OWES_FREEDOM);
  refuse(op, &err);
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
  if (!enter(op, err))
    return false;
  ask(op);
  return true;
}

static bool creates(const struct http_req *req) {
  enum route_creates what = http_req_route(req)->creates;
  return what == CREATES_PARAMS ? str_find_str(http_req_body(req), STR("\"params\"")) != SIZE_MAX : what != CREATES_NOTHING;
}

static struct str text_of_key(const struct http_req *req) {
  if (!creates(req))
    return STR_NONE;
  return names_itself(req) ? http_req_body(req) : http_req_header(req, "Idempotency-Key");
}

void idempotency_handle(void *ctx UNUSED, struct http_req *req) {
  struct str text = text_of_key(req);
  struct err err;
  if (!text.n)
    run_handler(req);
  else if (!look_up(req, text, &err))
    http_reply_error(req, &err);
}

/* Such a request has a body, which is its key: it is under way. Without memory for the key nothing is removed; gc finds it. */
void idempotency_then(struct http_req *req, struct str doomed, idempotency_kept_fn *fn, void *ctx) {
  uint8_t key[32];
  struct entry *entry = key_of(req, text_of_key(req), key) ? map_get(&web_app(req)->idempotency->entries, key_text(key)) : NULL;
  if (!entry)
    return;
  entry->then = fn;
  entry->then_ctx = ctx;
  entry->doomed = doomed;
}
