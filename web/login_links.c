#include "web/login_links.h"

#include <openssl/crypto.h>

#include "base/mem.h"

struct login_links {
  size_t next; /* the oldest */
  struct {
    uint8_t hash[TOKEN_HASH_BYTES];
    enum access_scope scope; /* SCOPE_NONE: free */
    int64_t until_ms;
    int64_t session_until_ms;
    struct id root;
  } links[LOGIN_LINKS_MAX];
};

struct login_links *login_links_new(struct err *err) {
  struct login_links *links = mem_zalloc(sizeof *links);
  if (!links)
    err_no_memory(err);
  return links;
}

void login_links_free(struct login_links *links) {
  mem_free(links);
}

void login_links_add(struct login_links *links, const struct access_principal *who, int64_t now_ms, char out[64]) {
  token_make(out);
  size_t i = links->next;
  links->next = (i + 1) % LOGIN_LINKS_MAX;
  token_hash(str_of(out), links->links[i].hash);
  links->links[i].scope = who->scope;
  links->links[i].session_until_ms = who->expires_ms;
  links->links[i].root = who->root;
  links->links[i].until_ms = now_ms + LOGIN_LINK_LIFE_MS;
}

void login_links_forget(struct login_links *links, struct id root) {
  for (size_t i = 0; i < LOGIN_LINKS_MAX && !id_is_zero(root); i++)
    if (id_eq(links->links[i].root, root))
      links->links[i].scope = SCOPE_NONE;
}

bool login_links_use(struct login_links *links, struct str code, int64_t now_ms, enum access_scope *ret_scope, int64_t *ret_until_ms,
                     struct id *ret_root) {
  uint8_t hash[TOKEN_HASH_BYTES];
  token_hash(code, hash);
  for (size_t i = 0; i < LOGIN_LINKS_MAX; i++) {
    if (links->links[i].scope == SCOPE_NONE || CRYPTO_memcmp(links->links[i].hash, hash, sizeof hash) != 0)
      continue;
    enum access_scope scope = links->links[i].scope;
    links->links[i].scope = SCOPE_NONE;
    if (links->links[i].until_ms <= now_ms)
      return false;
    *ret_scope = scope;
    *ret_until_ms = links->links[i].session_until_ms;
    *ret_root = links->links[i].root;
    return true;
  }
  return false;
}
