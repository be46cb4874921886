/* What http-parser, an unrelated and lenient parser, says of a head. Whatever ours accepts it must accept, with the same framing. */
#ifndef WINNOW_TESTS_HTTP_ORACLE_H
#define WINNOW_TESTS_HTTP_ORACLE_H

#include "web/http/http_head.h"

/* NULL when both agree about a head that ours accepts, else what differs. */
const char *http_oracle_check(struct str bytes, const struct http_head *head);

#endif
