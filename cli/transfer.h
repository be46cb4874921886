/* Single files to and from the service; see verbs.h for trees. */
#ifndef WINNOW_CLI_TRANSFER_H
#define WINNOW_CLI_TRANSFER_H

#include "cli/cli.h"

/* One file of the service becomes `name` (may hold slashes; checked) beneath the directory `target`, whole or not at all. `sha256` is
 * what it has to have; "" when that is not known. */
MUST_CHECK bool download_file(struct cli *cli, const char *path, const char *name, const char *sha256, const char *target,
                              int64_t *ret_bytes, struct err *err);
/* PUTs a plain file and compares the digest the service answers. `fd` is at its beginning and stays the caller's. */
MUST_CHECK bool upload_file(struct cli *cli, int fd, const char *name, const char *path, int64_t *ret_bytes, struct err *err);

#endif
