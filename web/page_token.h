/* Page tokens: where a list goes on, as opaque text. A token holds the values behind which the next page begins and a fingerprint of the
 * question, so that it is good for that question alone; whatever else it says is checked again and only ever used as a value. */
#ifndef WINNOW_WEB_PAGE_TOKEN_H
#define WINNOW_WEB_PAGE_TOKEN_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum { PAGE_TOKEN_MAX = 64 * 1024, PAGE_VALUES_MAX = 80 };

/* `values`: p NULL is null. `question` is any text that says what was asked. */
void page_token_write(struct buf *out, struct str question, const struct str *values, size_t count);
/* ERR_INVALID when it is no token of that question. The values lie in the arena. */
MUST_CHECK bool page_token_read(struct str token, struct str question, struct arena *arena, const struct str **ret, size_t *ret_count,
                                struct err *err);

#endif
