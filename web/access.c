#include "web/access.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "base/mem.h"
#include "base/rng.h"

static const char *const scope_names[] = {"none", "read", "write", "submit", "admin"};

const char *access_scope_name(enum access_scope scope) {
  return scope_names[scope];
}

bool access_scope_parse(struct str text, enum access_scope *ret) {
  for (size_t i = SCOPE_READ; i < ARRAY_LEN(scope_names); i++)
    if (str_is(text, scope_names[i])) {
      *ret = (enum access_scope)i;
      return true;
    }
  return false;
}

/* ---- tokens ---- */

#define TOKEN_PREFIX "wnw_"
#define RUN_TOKEN_PREFIX "wnr_"

void token_make(char out[64]) {
  uint8_t secret[32];
  rng_secret(secret, sizeof secret);
  memcpy(out, TOKEN_PREFIX, 4);
  out[4 + base64url_encode(secret, sizeof secret, out + 4)] = 0;
  mem_wipe(secret, sizeof secret);
}

void token_hash(struct str token, uint8_t out[TOKEN_HASH_BYTES]) {
  SHA256((const unsigned char *)token.p, token.n, out);
}

void token_table_init(struct token_table *table) {
  map_init(&table->by_hash, TOKEN_COUNT_MAX);
}

void token_table_release(struct token_table *table) {
  struct str key;
  void *value;
  for (size_t cursor = 0; map_next(&table->by_hash, &cursor, &key, &value);)
    mem_free(value);
  map_release(&table->by_hash);
}

static struct str hash_key(const uint8_t hash[TOKEN_HASH_BYTES]) {
  return str_n((const char *)hash, TOKEN_HASH_BYTES);
}

bool token_table_add(struct token_table *table, const uint8_t hash[TOKEN_HASH_BYTES], const struct token_entry *entry, struct err *err) {
  struct token_entry *copy = mem_alloc(sizeof *copy);
  if (!copy)
    return err_no_memory(err);
  *copy = *entry;
  void *old = NULL;
  if (!map_put(&table->by_hash, hash_key(hash), copy, &old)) {
    mem_free(copy);
    return err_set(err, ERR_LIMIT, "there are %d tokens already", TOKEN_COUNT_MAX);
  }
  mem_free(old);
  return true;
}

/* Removes what `matches`; the map may not change while it is walked, so one walk finds one entry. */
static bool remove_one(struct token_table *table, bool (*matches)(const struct token_entry *, const void *), const void *ctx) {
  struct str key;
  void *value;
  for (size_t cursor = 0; map_next(&table->by_hash, &cursor, &key, &value);)
    if (matches(value, ctx)) {
      map_remove(&table->by_hash, key);
      mem_free(value);
      return true;
    }
  return false;
}

static bool ends_with(const struct token_entry *entry, const void *id) {
  const struct id *gone = id;
  return id_eq(entry->id, *gone) || (!id_is_zero(entry->parent) && id_eq(entry->parent, *gone));
}

static bool is_over(const struct token_entry *entry, const void *now_ms) {
  return entry->expires_ms && entry->expires_ms <= *(const int64_t *)now_ms;
}

bool token_table_remove(struct token_table *table, struct id id) {
  bool any = false;
  while (remove_one(table, ends_with, &id))
    any = true;
  table->removals += any;
  return any;
}

bool token_table_has(const struct token_table *table, struct id id) {
  struct str key;
  void *value;
  for (size_t cursor = 0; map_next(&table->by_hash, &cursor, &key, &value);)
    if (id_eq(((const struct token_entry *)value)->id, id))
      return true;
  return false;
}

size_t token_table_expire(struct token_table *table, int64_t now_ms) {
  size_t count = 0;
  while (remove_one(table, is_over, &now_ms))
    count++;
  return count;
}

/* "wnr_<run id>_<attempt>"; returns its length. */
static size_t run_token_head(struct id run_id, int32_t attempt, char out[TOKEN_TEXT_MAX]) {
  char id[ID_HEX_LEN + 1];
  id_format(run_id, id);
  return (size_t)snprintf(out, TOKEN_TEXT_MAX, RUN_TOKEN_PREFIX "%s_%d", id, attempt);
}

void run_token_make(const uint8_t key[32], struct id run_id, int32_t attempt, char out[TOKEN_TEXT_MAX]) {
  uint8_t mac[32];
  unsigned mac_n = sizeof mac;
  size_t n = run_token_head(run_id, attempt, out);
  HMAC(EVP_sha256(), key, 32, (const unsigned char *)out, n, mac, &mac_n);
  out[n++] = '_';
  out[n + base64url_encode(mac, sizeof mac, out + n)] = 0;
}

bool run_token_check(const uint8_t key[32], struct str token, struct id *ret_run_id, int32_t *ret_attempt) {
  struct id run_id;
  int64_t attempt;
  if (token.n >= TOKEN_TEXT_MAX || !str_starts(token, STR(RUN_TOKEN_PREFIX)))
    return false;
  struct str rest = str_slice(token, 4, token.n), id_text, attempt_text;
  if (!str_split(&rest, '_', &id_text) || !str_split(&rest, '_', &attempt_text))
    return false;
  if (!id_parse(id_text, &run_id) || !str_to_i64(attempt_text, &attempt) || attempt < 0 || attempt > INT32_MAX)
    return false;
  char expected[TOKEN_TEXT_MAX];
  run_token_make(key, run_id, (int32_t)attempt, expected);
  if (strlen(expected) != token.n || CRYPTO_memcmp(expected, token.p, token.n) != 0)
    return false;
  *ret_run_id = run_id;
  *ret_attempt = (int32_t)attempt;
  return true;
}

/* ---- host and origin ---- */

/* "name", "name:port", "[v6]", "[v6]:port" -> the name without port and brackets; STR_NONE when it is none of these. */
static struct str host_name(struct str host) {
  if (!host.n)
    return STR_NONE;
  if (host.p[0] == '[') {
    size_t end = str_find(host, ']');
    if (end == SIZE_MAX || (end + 1 < host.n && host.p[end + 1] != ':'))
      return STR_NONE;
    return str_slice(host, 1, end);
  }
  size_t colon = str_find(host, ':');
  return colon == SIZE_MAX ? host : str_slice(host, 0, colon);
}

/* A page elsewhere can make a browser send any name here that its owner points at this address; an address or localhost it cannot fake. */
static bool is_address(struct str name) {
  bool digits_only = name.n > 0, hex_colon = false;
  for (size_t i = 0; i < name.n; i++) {
    char c = name.p[i];
    digits_only = digits_only && ((c >= '0' && c <= '9') || c == '.');
    hex_colon = hex_colon || c == ':';
  }
  return digits_only || hex_colon;
}

static bool host_is_ours(const struct access_rules *rules, struct str host) {
  struct str name = host_name(host);
  if (!name.n)
    return false;
  if (str_eq_nocase(name, STR("localhost")) || is_address(name))
    return true;
  for (const char *const *own = rules->host_names; own && *own; own++)
    if (str_eq_nocase(name, str_of(*own)))
      return true;
  return false;
}

/* An origin is ours when it is this scheme and the very host and port the request was sent to. */
static bool origin_is_ours(const struct access_facts *facts) {
  struct str origin = facts->origin;
  struct str scheme = facts->over_tls ? STR("https://") : STR("http://");
  return str_starts(origin, scheme) && str_eq_nocase(str_slice(origin, scheme.n, origin.n), facts->host);
}

static bool check_site(const struct access_rules *rules, const struct access_facts *facts, struct err *err) {
  if (!facts->over_unix && !host_is_ours(rules, facts->host)) {
    err_set(err, ERR_MISDIRECTED, "the name \"%.*s\" is not served here", STR_ARG(str_slice(facts->host, 0, 100)));
    return err_hint(err, "use the address, localhost, or add the name to the setting host-names");
  }
  if (facts->origin.p && !origin_is_ours(facts))
    return err_set(err, ERR_FORBIDDEN, "requests from other sites are refused");
  if (facts->unsafe_method && facts->sec_fetch_site.p && !str_is(facts->sec_fetch_site, "same-origin") &&
      !str_is(facts->sec_fetch_site, "none"))
    return err_set(err, ERR_FORBIDDEN, "requests from other sites are refused");
  return true;
}

/* ---- credentials ---- */

/* The value of the cookie, or STR_NONE. */
static struct str cookie_value(struct str cookies, struct str name) {
  struct str part;
  while (str_split(&cookies, ';', &part)) {
    part = str_trim(part);
    if (part.n > name.n && str_starts(part, name) && part.p[name.n] == '=')
      return str_slice(part, name.n + 1, part.n);
  }
  return STR_NONE;
}

/* Decodes the credentials of basic auth and returns the password, which lies in `out`. */
static struct str basic_password(struct str encoded, char *out, size_t room) {
  if (encoded.n == 0 || encoded.n % 4 != 0 || encoded.n / 4 * 3 >= room)
    return STR_NONE;
  int n = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)encoded.p, (int)encoded.n);
  if (n < 0)
    return STR_NONE;
  size_t padding = encoded.p[encoded.n - 1] != '=' ? 0 : encoded.p[encoded.n - 2] != '=' ? 1 : 2;
  struct str pair = str_n(out, (size_t)n - padding);
  size_t colon = str_find(pair, ':');
  return colon == SIZE_MAX ? STR_NONE : str_slice(pair, colon + 1, pair.n);
}

static const struct token_entry *find_token(const struct access_rules *rules, struct str token, int64_t now_ms) {
  if (!token.n || token.n >= TOKEN_TEXT_MAX)
    return NULL;
  uint8_t hash[TOKEN_HASH_BYTES];
  token_hash(token, hash);
  const struct token_entry *entry = map_get(&rules->tokens->by_hash, hash_key(hash));
  return entry && !(entry->expires_ms && entry->expires_ms <= now_ms) ? entry : NULL;
}

static void be_token(struct access_principal *who, const struct token_entry *entry) {
  who->kind = entry->session ? ACCESS_SESSION : ACCESS_TOKEN;
  who->scope = entry->scope;
  who->token_id = entry->id;
  who->root = id_is_zero(entry->parent) ? entry->id : entry->parent;
  who->expires_ms = entry->expires_ms;
  snprintf(who->name, sizeof who->name, "%s %.50s", entry->session ? "session" : "token", entry->name);
}

/* Nothing is said about it before all tokens are known; what is public is for nobody in particular. */
static bool judge_later(const struct access_facts *facts, struct err *err) {
  if (facts->policy == POLICY_PUBLIC)
    return true;
  err_set(err, ERR_UNAVAILABLE, "the tokens are not loaded yet");
  return err_hint(err, "the service waits for its database; try again");
}

static bool from_token(const struct access_rules *rules, struct str token, const struct access_facts *facts, struct access_principal *who,
                       struct err *err) {
  if (str_starts(token, STR(RUN_TOKEN_PREFIX)) && run_token_check(rules->run_key, token, &who->run_id, &who->run_attempt)) {
    char id[ID_HEX_LEN + 1];
    id_format(who->run_id, id);
    who->kind = ACCESS_RUN;
    who->scope = SCOPE_READ;
    snprintf(who->name, sizeof who->name, "run %s", id);
    return true;
  }
  const struct token_entry *entry = find_token(rules, token, facts->now_ms);
  if (!entry && rules->tokens_missing)
    return judge_later(facts, err);
  if (!entry || entry->session) {
    err_set(err, ERR_UNAUTHENTICATED, "the token is not valid: unknown, revoked or expired");
    return err_hint(err, "`winnow token create` makes one; the first stands in admin.token in the data directory");
  }
  be_token(who, entry);
  return true;
}

static bool local_user(const struct access_rules *rules, const struct access_facts *facts) {
  if (!facts->over_unix)
    return false;
  if (facts->peer_uid == rules->owner || facts->peer_uid == 0)
    return true;
  for (size_t i = 0; i < rules->allow_uid_count; i++)
    if (facts->peer_uid == rules->allow_uids[i])
      return true;
  for (size_t i = 0; i < rules->allow_gid_count; i++)
    if (facts->peer_gid == rules->allow_gids[i])
      return true;
  return false;
}

/* Who asks. A credential that is shown must be valid, else the request is refused, whatever it asks for. */
static bool identify(const struct access_rules *rules, const struct access_facts *facts, struct access_principal *who, struct err *err) {
  *who = (struct access_principal){.kind = ACCESS_NOBODY, .name = "anonymous"};
  struct str authorization = facts->authorization;
  size_t space = str_find(authorization, ' ');
  if (authorization.p) {
    struct str scheme = str_slice(authorization, 0, space);
    struct str value = space == SIZE_MAX ? STR_NONE : str_trim(str_slice(authorization, space + 1, authorization.n));
    char decoded[2 * TOKEN_TEXT_MAX + 400];
    if (str_eq_nocase(scheme, STR("bearer")))
      return from_token(rules, value, facts, who, err);
    if (str_eq_nocase(scheme, STR("basic"))) {
      bool ok = from_token(rules, basic_password(value, decoded, sizeof decoded), facts, who, err);
      mem_wipe(decoded, sizeof decoded);
      return ok;
    }
    err_set(err, ERR_UNAUTHENTICATED, "the authorization scheme is not known");
    return err_hint(err, "use `Authorization: Bearer TOKEN`, or basic auth with the token as password");
  }
  if (local_user(rules, facts)) {
    who->kind = ACCESS_LOCAL_USER;
    who->scope = SCOPE_ADMIN;
    snprintf(who->name, sizeof who->name, "uid %u", (unsigned)facts->peer_uid);
    return true;
  }
  /* A session that is over is no mistake of the caller's: the page then is what anybody sees. */
  struct str cookie = cookie_value(facts->cookie, STR(SESSION_COOKIE));
  const struct token_entry *session = find_token(rules, cookie, facts->now_ms);
  if (cookie.n && !session && rules->tokens_missing)
    return judge_later(facts, err);
  if (session && session->session)
    be_token(who, session);
  return true;
}

static enum access_scope scope_wanted(enum route_policy policy) {
  switch (policy) {
  case POLICY_PUBLIC:
    return SCOPE_NONE;
  case POLICY_READ:
    return SCOPE_READ;
  case POLICY_TRACK:
  case POLICY_CURATE:
  case POLICY_WRITE:
    return SCOPE_WRITE;
  case POLICY_SUBMIT:
    return SCOPE_SUBMIT;
  case POLICY_UNSET:
  case POLICY_ADMIN:
    break;
  }
  return SCOPE_ADMIN;
}

bool access_has(const struct access_principal *principal, enum access_scope scope) {
  return principal->scope >= scope;
}

bool access_is_bounded(const struct access_principal *principal) {
  return principal && principal->kind == ACCESS_RUN && !principal->is_open;
}

bool access_may_write_run(const struct access_principal *principal, struct id run_id, int32_t attempt) {
  if (principal->kind == ACCESS_RUN)
    return id_eq(principal->run_id, run_id) && principal->run_attempt == attempt;
  return access_has(principal, SCOPE_WRITE);
}

/* What needs no credential that is shown. */
static bool is_open(const struct access_rules *rules, const struct access_facts *facts) {
  bool is_tracking = facts->policy == POLICY_READ || facts->policy == POLICY_TRACK;
  if (local_user(rules, facts))
    return is_tracking || facts->policy == POLICY_CURATE;
  if (rules->auth_required || !(facts->over_unix || facts->peer_loopback))
    return false;
  return is_tracking || (facts->policy == POLICY_CURATE && facts->peer_is_owner);
}

/* What it is that the request names is looked at later: see web/reach.h. */
static bool run_reaches(const struct access_facts *facts) {
  return facts->reach != REACH_NOTHING && (facts->policy == POLICY_READ || facts->policy == POLICY_TRACK || facts->policy == POLICY_CURATE);
}

static bool refuse(const struct access_principal *who, const char *scope, struct err *err) {
  if (who->kind == ACCESS_NOBODY) {
    err_set(err, ERR_UNAUTHENTICATED, "this needs a credential with the scope \"%s\"", scope);
    return err_hint(err,
                    "over the Unix socket the service's own user needs none; else send `Authorization: Bearer TOKEN` (see `winnow token`)");
  }
  if (who->kind == ACCESS_RUN)
    err_set(err, ERR_FORBIDDEN, "a job's token is for its run: this needs a token with the scope \"%s\"", scope);
  else
    err_set(err, ERR_FORBIDDEN, "this needs the scope \"%s\"; %s has \"%s\"", scope, who->name, access_scope_name(who->scope));
  return err_hint(err, "`winnow token create --scope %s` makes a token that has it", scope);
}

bool access_decide(const struct access_rules *rules, const struct access_facts *facts, struct access_principal *ret_principal,
                   struct err *err) {
  struct access_principal who;
  if (!check_site(rules, facts, err) || !identify(rules, facts, &who, err))
    return false;
  who.is_open = is_open(rules, facts);
  if (who.kind == ACCESS_NOBODY && who.is_open && facts->policy == POLICY_CURATE) /* for what is kept of who did it */
    snprintf(who.name, sizeof who.name, "uid %u", (unsigned)rules->owner);
  bool may = facts->policy == POLICY_PUBLIC || who.is_open ||
             (who.kind == ACCESS_RUN ? run_reaches(facts) : access_has(&who, scope_wanted(facts->policy)));
  if (!may)
    return refuse(&who, access_scope_name(scope_wanted(facts->policy)), err);
  *ret_principal = who;
  return true;
}
