/* The access decision: every policy by every credential, hosts and origins, tokens. */
#include "base/mem.h"
#include "tests/support/test.h"
#include "web/access.h"

static const uint8_t run_key[32] = {7};
static struct token_table tokens;
static char admin[64], reader[64], writer[64], submitter[64], expired[64], session[64];
static const int64_t now = 1000000;

static void add(char out[64], enum access_scope scope, int64_t expires, bool is_session) {
  struct err err;
  uint8_t hash[TOKEN_HASH_BYTES];
  static uint8_t next_id;
  struct token_entry entry = {.id.bytes = {++next_id}, .scope = scope, .expires_ms = expires, .session = is_session, .name = "t"};
  token_make(out);
  token_hash(str_of(out), hash);
  assert_true(token_table_add(&tokens, hash, &entry, &err));
}

static int set_up(void **state UNUSED) {
  token_table_init(&tokens);
  add(admin, SCOPE_ADMIN, 0, false);
  add(reader, SCOPE_READ, now + 1, false);
  add(writer, SCOPE_WRITE, 0, false);
  add(submitter, SCOPE_SUBMIT, 0, false);
  add(expired, SCOPE_ADMIN, now, false);
  add(session, SCOPE_ADMIN, now + 1000, true);
  return 0;
}

static int tear_down(void **state UNUSED) {
  token_table_release(&tokens);
  return 0;
}

static struct access_rules rules(bool auth_required) {
  return (struct access_rules){.auth_required = auth_required, .tokens = &tokens, .run_key = run_key, .owner = 1000};
}

enum who { NOBODY, BAD, EXPIRED, READER, WRITER, SUBMITTER, ADMIN, SESSION, RUN, RUN_BEYOND, OWNER, ROOT, STRANGER, WHO_COUNT };
static const char *const who_names[] = {"nobody",    "bad",   "expired", "reader", "writer",
                                        "submitter", "admin", "session", "run",    "run, out of its reach",
                                        "owner",     "root",  "stranger"};

/* The status of a request of `who` for `policy`; 200 when it may. */
static int status(enum who who, enum route_policy policy, bool auth_required) {
  struct access_rules r = rules(auth_required);
  struct access_facts facts = {
      .policy = policy, .unsafe_method = policy > POLICY_READ, .peer_loopback = true, .host = STR("localhost:7070"), .now_ms = now};
  char text[300], run[TOKEN_TEXT_MAX];
  const char *token = NULL;
  switch (who) {
  case BAD:
    token = "wnw_nonsense";
    break;
  case EXPIRED:
    token = expired;
    break;
  case READER:
    token = reader;
    break;
  case WRITER:
    token = writer;
    break;
  case SUBMITTER:
    token = submitter;
    break;
  case ADMIN:
    token = admin;
    break;
  case RUN:
    facts.reach = REACH_NAMED;
    FALLTHROUGH;
  case RUN_BEYOND:
    run_token_make(run_key, (struct id){{9}}, 2, run);
    token = run;
    break;
  case SESSION:
    snprintf(text, sizeof text, "a=b; " SESSION_COOKIE "=%s", session);
    facts.cookie = str_of(text);
    break;
  case OWNER:
  case ROOT:
  case STRANGER:
    facts.over_unix = true;
    facts.peer_loopback = false;
    facts.peer_uid = who == OWNER ? 1000 : who == ROOT ? 0 : 1001;
    break;
  case NOBODY:
  case WHO_COUNT:
    break;
  }
  if (token) {
    snprintf(text, sizeof text, "Bearer %s", token);
    facts.authorization = str_of(text);
  }
  struct access_principal principal;
  struct err err;
  if (access_decide(&r, &facts, &principal, &err))
    return 200;
  assert_true(err.text[0]);
  return err_info(err.code)->http_status;
}

static void every_policy_by_every_credential(void **state UNUSED) {
  static const enum route_policy policies[] = {POLICY_PUBLIC, POLICY_READ,   POLICY_TRACK, POLICY_CURATE,
                                               POLICY_WRITE,  POLICY_SUBMIT, POLICY_ADMIN, POLICY_UNSET};
  static const int expected[2][WHO_COUNT][8] = {
      {
          /*              public read track curate write submit admin unset */
          [NOBODY] = {200, 200, 200, 401, 401, 401, 401, 401},
          [BAD] = {401, 401, 401, 401, 401, 401, 401, 401},
          [EXPIRED] = {401, 401, 401, 401, 401, 401, 401, 401},
          [READER] = {200, 200, 200, 403, 403, 403, 403, 403},
          [WRITER] = {200, 200, 200, 200, 200, 403, 403, 403},
          [SUBMITTER] = {200, 200, 200, 200, 200, 200, 403, 403},
          [ADMIN] = {200, 200, 200, 200, 200, 200, 200, 200},
          [SESSION] = {200, 200, 200, 200, 200, 200, 200, 200},
          [RUN] = {200, 200, 200, 200, 403, 403, 403, 403},
          [RUN_BEYOND] = {200, 200, 200, 403, 403, 403, 403, 403},
          [OWNER] = {200, 200, 200, 200, 200, 200, 200, 200},
          [ROOT] = {200, 200, 200, 200, 200, 200, 200, 200},
          [STRANGER] = {200, 200, 200, 401, 401, 401, 401, 401},
      },
      {
          [NOBODY] = {200, 401, 401, 401, 401, 401, 401, 401},
          [BAD] = {401, 401, 401, 401, 401, 401, 401, 401},
          [EXPIRED] = {401, 401, 401, 401, 401, 401, 401, 401},
          [READER] = {200, 200, 403, 403, 403, 403, 403, 403},
          [WRITER] = {200, 200, 200, 200, 200, 403, 403, 403},
          [SUBMITTER] = {200, 200, 200, 200, 200, 200, 403, 403},
          [ADMIN] = {200, 200, 200, 200, 200, 200, 200, 200},
          [SESSION] = {200, 200, 200, 200, 200, 200, 200, 200},
          [RUN] = {200, 200, 200, 200, 403, 403, 403, 403},
          [RUN_BEYOND] = {200, 403, 403, 403, 403, 403, 403, 403},
          [OWNER] = {200, 200, 200, 200, 200, 200, 200, 200},
          [ROOT] = {200, 200, 200, 200, 200, 200, 200, 200},
          [STRANGER] = {200, 401, 401, 401, 401, 401, 401, 401},
      },
  };
  for (int required = 0; required < 2; required++)
    for (int who = 0; who < WHO_COUNT; who++)
      for (size_t p = 0; p < ARRAY_LEN(policies); p++) {
        int got = status((enum who)who, policies[p], required);
        if (got != expected[required][who][p])
          fail_msg("auth_required=%d %s policy %zu: %d, expected %d", required, who_names[who], p, got, expected[required][who][p]);
      }
}

static void a_token_never_gives_less_than_none(void **state UNUSED) {
  struct access_rules r = rules(true);
  struct access_facts facts = {.policy = POLICY_TRACK, .over_unix = true, .peer_uid = 1000, .host = STR("localhost"), .now_ms = now};
  struct access_principal principal;
  struct err err;
  char token[TOKEN_TEXT_MAX], text[TOKEN_TEXT_MAX + 10];
  run_token_make(run_key, (struct id){{9}}, 2, token);
  snprintf(text, sizeof text, "Bearer %s", token);
  facts.authorization = str_of(text);
  assert_true(access_decide(&r, &facts, &principal, &err));
  assert_true(principal.is_open);
  facts.peer_uid = 1001;
  assert_false(access_decide(&r, &facts, &principal, &err));
  facts.reach = REACH_NAMED;
  assert_true(access_decide(&r, &facts, &principal, &err));
  assert_false(principal.is_open);
}

static int site(bool unsafe, bool tls, const char *host, const char *origin, const char *fetch) {
  struct access_rules r = rules(false);
  static const char *const names[] = {"sweeps.example", NULL};
  r.host_names = names;
  struct access_facts facts = {.policy = POLICY_READ,
                               .unsafe_method = unsafe,
                               .peer_loopback = true,
                               .over_tls = tls,
                               .host = str_of(host),
                               .origin = str_of(origin),
                               .sec_fetch_site = str_of(fetch),
                               .now_ms = now};
  struct access_principal principal;
  struct err err;
  return access_decide(&r, &facts, &principal, &err) ? 200 : err_info(err.code)->http_status;
}

static void foreign_hosts_and_origins_are_refused(void **state UNUSED) {
  assert_int_equal(site(true, false, "localhost:7070", NULL, NULL), 200);
  assert_int_equal(site(true, false, "127.0.0.1", NULL, NULL), 200);
  assert_int_equal(site(true, false, "[::1]:7070", NULL, NULL), 200);
  assert_int_equal(site(true, false, "Sweeps.Example:7070", NULL, NULL), 200);
  assert_int_equal(site(false, false, "evil.example", NULL, NULL), 421);
  assert_int_equal(site(false, false, "localhost.evil.example", NULL, NULL), 421);
  assert_int_equal(site(false, false, "127.0.0.1.evil.example", NULL, NULL), 421);
  assert_int_equal(site(false, false, "[::1].evil.example", NULL, NULL), 421);
  assert_int_equal(site(false, false, "", NULL, NULL), 421);
  assert_int_equal(site(false, false, NULL, NULL, NULL), 421);
  assert_int_equal(site(true, false, "localhost:7070", "http://localhost:7070", "same-origin"), 200);
  assert_int_equal(site(true, true, "localhost:7070", "https://localhost:7070", NULL), 200);
  assert_int_equal(site(true, true, "localhost:7070", "http://localhost:7070", NULL), 403);
  assert_int_equal(site(true, false, "localhost:7070", "http://localhost:8080", NULL), 403);
  assert_int_equal(site(false, false, "localhost:7070", "http://evil.example", NULL), 403);
  assert_int_equal(site(false, false, "localhost:7070", "null", NULL), 403);
  assert_int_equal(site(true, false, "localhost:7070", NULL, "cross-site"), 403);
  assert_int_equal(site(true, false, "localhost:7070", NULL, "same-site"), 403);
  assert_int_equal(site(false, false, "localhost:7070", NULL, "cross-site"), 200); /* a link from elsewhere */
}

static void basic_auth_carries_a_token_as_password(void **state UNUSED) {
  struct access_rules r = rules(true);
  struct access_facts facts = {.policy = POLICY_READ, .peer_loopback = true, .host = STR("localhost"), .now_ms = now};
  struct access_principal principal;
  struct err err;
  facts.authorization = STR("Basic dXNlcjpwYXNz"); /* user:pass */
  assert_false(access_decide(&r, &facts, &principal, &err));
  facts.authorization = STR("Basic !!!!");
  assert_false(access_decide(&r, &facts, &principal, &err));
  facts.authorization = STR("Digest x");
  assert_false(access_decide(&r, &facts, &principal, &err));
  facts.authorization = STR("Bearer");
  assert_false(access_decide(&r, &facts, &principal, &err));
  /* A session's secret is no token. */
  char text[200];
  snprintf(text, sizeof text, "Bearer %s", session);
  facts.authorization = str_of(text);
  assert_false(access_decide(&r, &facts, &principal, &err));
  assert_int_equal(err.code, ERR_UNAUTHENTICATED);
}

static void a_token_that_is_not_loaded_yet_is_not_called_wrong(void **state UNUSED) {
  struct access_rules r = rules(false);
  r.tokens_missing = true;
  struct access_facts facts = {.policy = POLICY_READ, .peer_loopback = true, .host = STR("localhost"), .now_ms = now};
  struct access_principal principal;
  struct err err;
  char text[200];
  facts.authorization = STR("Bearer wnw_perhaps");
  assert_false(access_decide(&r, &facts, &principal, &err));
  assert_int_equal(err.code, ERR_UNAVAILABLE);
  facts.authorization = STR_NONE;
  facts.cookie = STR("a=b; " SESSION_COOKIE "=wnw_perhaps");
  assert_false(access_decide(&r, &facts, &principal, &err));
  assert_int_equal(err.code, ERR_UNAVAILABLE);
  facts.policy = POLICY_PUBLIC;
  assert_true(access_decide(&r, &facts, &principal, &err));
  assert_int_equal(principal.kind, ACCESS_NOBODY);
  facts.policy = POLICY_ADMIN;
  facts.cookie = STR_NONE;
  snprintf(text, sizeof text, "Bearer %s", admin); /* this one is known */
  facts.authorization = str_of(text);
  assert_true(access_decide(&r, &facts, &principal, &err));
  facts.authorization = STR("Bearer wnr_nonsense");
  assert_false(access_decide(&r, &facts, &principal, &err));
}

static void revoked_and_expired_tokens_go(void **state UNUSED) {
  char token[64];
  add(token, SCOPE_ADMIN, 5000, false);
  size_t count = tokens.by_hash.count;
  assert_true(token_table_expire(&tokens, 5000) >= 1);
  assert_true(tokens.by_hash.count < count);
  uint8_t hash[TOKEN_HASH_BYTES];
  struct err err;
  struct token_entry entry = {.id.bytes = {200}, .scope = SCOPE_READ};
  token_hash(STR("x"), hash);
  assert_true(token_table_add(&tokens, hash, &entry, &err));
  assert_true(token_table_remove(&tokens, entry.id));
  assert_false(token_table_remove(&tokens, entry.id));
}

static void run_tokens_are_signed(void **state UNUSED) {
  static const uint8_t other_key[32] = {8};
  char text[TOKEN_TEXT_MAX];
  struct id run = {{1, 2, 3}}, back;
  int32_t attempt;
  run_token_make(run_key, run, 41, text);
  assert_true(run_token_check(run_key, str_of(text), &back, &attempt));
  assert_true(id_eq(run, back) && attempt == 41);
  assert_false(run_token_check(other_key, str_of(text), &back, &attempt));
  for (size_t i = 0; text[i]; i++) { /* any change spoils it */
    char changed[TOKEN_TEXT_MAX];
    memcpy(changed, text, sizeof changed);
    changed[i] = changed[i] == '0' ? '1' : '0';
    assert_false(run_token_check(run_key, str_of(changed), &back, &attempt));
    assert_false(run_token_check(run_key, str_n(text, i), &back, &attempt));
  }
  struct access_principal principal = {.kind = ACCESS_RUN, .scope = SCOPE_READ, .run_id = run, .run_attempt = 41};
  assert_true(access_may_write_run(&principal, run, 41));
  assert_false(access_may_write_run(&principal, run, 42));
  assert_false(access_may_write_run(&principal, (struct id){{9}}, 41));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_policy_by_every_credential),       cmocka_unit_test(foreign_hosts_and_origins_are_refused),
      cmocka_unit_test(basic_auth_carries_a_token_as_password), cmocka_unit_test(a_token_that_is_not_loaded_yet_is_not_called_wrong),
      cmocka_unit_test(revoked_and_expired_tokens_go),          cmocka_unit_test(run_tokens_are_signed),
      cmocka_unit_test(a_token_never_gives_less_than_none),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
