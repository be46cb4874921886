/* One-time links that open the page with a session: made for somebody who has a credential, used once, soon. In memory only. */
#ifndef WINNOW_WEB_LOGIN_LINKS_H
#define WINNOW_WEB_LOGIN_LINKS_H

#include "base/err.h"
#include "base/str.h"
#include "web/access.h"

struct login_links;

enum { LOGIN_LINKS_MAX = 64, LOGIN_LINK_LIFE_MS = 120 * 1000 };

MUST_CHECK struct login_links *login_links_new(struct err *err);
void login_links_free(struct login_links *links); /* accepts NULL */
/* The oldest gives way when there are too many. `out` has room for 64: the code of the link. */
void login_links_add(struct login_links *links, const struct access_principal *who, int64_t now_ms, char out[64]);
/* True once for each code, while it lives. The session may do what its maker may, and ends no later than the maker's credential
 * (*ret_until_ms; 0: that has no end); it hangs on the token *ret_root, if that is not zero. */
MUST_CHECK bool login_links_use(struct login_links *links, struct str code, int64_t now_ms, enum access_scope *ret_scope,
                                int64_t *ret_until_ms, struct id *ret_root);
/* A token was revoked: its links open nothing any more. */
void login_links_forget(struct login_links *links, struct id root);

#endif
