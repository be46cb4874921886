/* The secrets of a data directory: the first admin token and the key that signs jobs' tokens. Files of mode 0600, made at first start. */
#ifndef WINNOW_CLI_SECRETS_H
#define WINNOW_CLI_SECRETS_H

#include "web/access.h"

/* DIR/admin.token: read, or made. What others can read is refused. */
MUST_CHECK bool secrets_admin_token(const char *data_dir, uint8_t ret_hash[TOKEN_HASH_BYTES], struct err *err);
/* DIR/run.key: the same. */
MUST_CHECK bool secrets_run_key(const char *data_dir, uint8_t ret_key[32], struct err *err);

#endif
