/* Page tokens: where a list goes on, as opaque text. A token holds the values behind which the next page begins and a fingerprint of the
 * question, so that it is good for that question alone; whatever else it says is checked again and only ever used as a value. */
#ifndef WINNOW_WEB_PAGE_TOKEN_H
#define WINNOW_WEB_PAGE_TOKEN_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum { PAGE_TOKEN_MAX = 64 * 1024, PAGE_VALUES_MAX = 80 };

/* What was asked, in any words. What is told apart is named when it is another. */
struct page_question {
  struct str scope, experiments, filter, order;
};

/* `values`: p NULL is null. */
void page_token_write(struct buf *out, const struct page_question *question, const struct str *values, size_t count);
/* ERR_INVALID when it is no token of that question. The values lie in the arena. */
MUST_CHECK bool page_token_read(struct str token, const struct page_question *question, struct arena *arena, const struct str **ret,
                                size_t *ret_count, struct err *err);

#endif
