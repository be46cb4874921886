/* Who may do what: one pure decision from what a request shows. Nothing here reads a socket, a clock or the database.
 *
 * A route names a policy. On loopback reading and tracking are open, and curating to the service's own user, unless the setting `auth` is
 * `required`; whatever starts or stops a process or administers always needs a credential. A credential never gives less than none would;
 * an invalid one is refused; while the tokens are being loaded one that is not known yet is told to come again. Credentials: the same user
 * (or root) over the Unix socket, a bearer token (also as the password of basic auth), the page's session cookie. */
#ifndef WINNOW_WEB_ACCESS_H
#define WINNOW_WEB_ACCESS_H

#include <sys/types.h>

#include "base/err.h"
#include "base/id.h"
#include "base/map.h"
#include "base/str.h"
#include "web/route.h"

/* What a credential allows; each includes those after it. */
enum access_scope { SCOPE_NONE, SCOPE_READ, SCOPE_WRITE, SCOPE_SUBMIT, SCOPE_ADMIN };

const char *access_scope_name(enum access_scope scope);
/* "read", "write", "submit", "admin" */
MUST_CHECK bool access_scope_parse(struct str text, enum access_scope *ret);

enum access_kind { ACCESS_NOBODY, ACCESS_LOCAL_USER, ACCESS_TOKEN, ACCESS_SESSION, ACCESS_RUN };

/* Who asks. Lives with its request. */
struct access_principal {
  enum access_kind kind;
  enum access_scope scope; /* of the credential; SCOPE_NONE for nobody */
  struct id token_id;      /* of a token or session */
  struct id root;          /* the token that it ends with: its own, or the one that opened the session; zero: none */
  int64_t expires_ms;      /* 0: never */
  struct id run_id;        /* ACCESS_RUN: the run a job's token may write */
  int32_t run_attempt;
  bool is_open;  /* this route needs no credential here: what anybody may is allowed, whatever the credential */
  char name[64]; /* for logs and events: "uid 1000", "token ci", "run 0123…", "anonymous" */
};

/* ---- tokens ---- */

#define TOKEN_HASH_BYTES 32
#define TOKEN_TEXT_MAX 128

/* "wnw_" and 43 characters; `out` has room for 64. The secret exists only here: store its hash. */
void token_make(char out[64]);
void token_hash(struct str token, uint8_t out[TOKEN_HASH_BYTES]);

struct token_entry {
  struct id id;
  struct id parent; /* of a session: the token that opened it; zero: none */
  enum access_scope scope;
  bool session;       /* made for the page, accepted only as its cookie */
  int64_t expires_ms; /* wall clock; 0: never */
  char name[64];
};

/* Every valid token of the service, by its hash: a look-up needs no database. At most TOKEN_COUNT_MAX. */
struct token_table {
  struct map by_hash;
  uint64_t removals; /* how often something was revoked */
};
#define TOKEN_COUNT_MAX 20000

void token_table_init(struct token_table *table);
void token_table_release(struct token_table *table);
/* Copies the entry. */
MUST_CHECK bool token_table_add(struct token_table *table, const uint8_t hash[TOKEN_HASH_BYTES], const struct token_entry *entry,
                                struct err *err);
/* By id: revoked, with the sessions that it opened. False when none of them is there. */
bool token_table_remove(struct token_table *table, struct id id);
/* Is there a token or session of that id? Looks through all of them. */
bool token_table_has(const struct token_table *table, struct id id);
/* Drops what has expired; returns how many. */
size_t token_table_expire(struct token_table *table, int64_t now_ms);

/* A job's token names its run and attempt and is signed, so it needs no row: "wnr_<run id>_<attempt>_<mac>". */
void run_token_make(const uint8_t key[32], struct id run_id, int32_t attempt, char out[TOKEN_TEXT_MAX]);
/* Whether it still is good is asked later: web/job_token.h. */
MUST_CHECK bool run_token_check(const uint8_t key[32], struct str token, struct id *ret_run_id, int32_t *ret_attempt);

/* ---- the decision ---- */

struct access_rules {
  bool auth_required; /* setting `auth = required`, or a listener that is not loopback */
  const struct token_table *tokens;
  bool tokens_missing;     /* not all are in the table yet: one that is not there may still be good */
  const uint8_t *run_key;  /* 32 bytes */
  uid_t owner;             /* the service's user */
  const uid_t *allow_uids; /* further users trusted over the Unix socket */
  size_t allow_uid_count;
  const gid_t *allow_gids;
  size_t allow_gid_count;
  const char *const *host_names; /* besides localhost and addresses: names the service may be called by; NULL-ended, may be NULL */
};

/* What the request shows. Absent texts are STR_NONE. */
struct access_facts {
  enum route_policy policy;
  enum route_reach reach; /* of the row: whether a job's token is let in; for what exactly is judged later (web/reach.h) */
  bool unsafe_method;     /* not GET, HEAD or OPTIONS */
  bool over_unix;
  uid_t peer_uid; /* over_unix */
  gid_t peer_gid;
  bool peer_loopback; /* the client's address, over TCP */
  bool peer_is_owner; /* and its process belongs to the service's user */
  bool over_tls;
  struct str host, origin, sec_fetch_site, authorization, cookie;
  int64_t now_ms;
};

/* True: *ret_principal says who. False: ERR_UNAUTHENTICATED, ERR_FORBIDDEN, ERR_MISDIRECTED or
 * ERR_UNAVAILABLE, with the remedy. */
MUST_CHECK bool access_decide(const struct access_rules *rules, const struct access_facts *facts, struct access_principal *ret_principal,
                              struct err *err);

/* For handlers that decide by the object: may this principal write a run that an executor owns? */
bool access_may_write_run(const struct access_principal *principal, struct id run_id, int32_t attempt);
bool access_has(const struct access_principal *principal, enum access_scope scope);
/* A job where a credential is needed: it may what is its run's, and no more. Accepts NULL. */
bool access_is_bounded(const struct access_principal *principal);

#define SESSION_COOKIE "winnow_session"

#endif
