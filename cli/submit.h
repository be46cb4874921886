/* What a submission takes along: the working directory as a snapshot, and the environment of the one who submits. */
#ifndef WINNOW_CLI_SUBMIT_H
#define WINNOW_CLI_SUBMIT_H

#include "cli/cli.h"

/* PATH and the like, as they are here; a new object. NULL without memory. */
MUST_CHECK json_t *submit_environment(void);

/* Sends a snapshot of the directory, unless the service has it. `links` (may be NULL) is a list of paths that are left out, `max` the most
 * bytes of files. *ret_code is "sha256:…". */
enum { SUBMIT_CODE_SIZE = 80 };
MUST_CHECK bool submit_code(struct cli *cli, const char *directory, const json_t *links, uint64_t max, char ret_code[SUBMIT_CODE_SIZE],
                            struct err *err);

#endif
