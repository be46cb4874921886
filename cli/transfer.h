/* Single files to and from the service; see verbs.h for trees. */
#ifndef WINNOW_CLI_TRANSFER_H
#define WINNOW_CLI_TRANSFER_H

#include "cli/cli.h"

/* One file of the service. `sha256` is what it has; one that was replaced since it was listed is taken as it is now. */
struct file_download {
  const char *path;      /* of the request */
  const char *list_path; /* of the listing it stands in */
  struct str listed;     /* its name there */
  struct str name;       /* beneath the target; may hold slashes; checked */
  char sha256[65];       /* "": not known */
  const char *what;      /* how it is called to people */
  int64_t bytes;         /* that arrived */
};

/* It becomes `name` beneath the directory `target`, whole or not at all. */
MUST_CHECK bool download_file(struct cli *cli, struct file_download *file, const char *target, struct err *err);
MUST_CHECK bool download_to_stdout(struct cli *cli, struct file_download *file, struct err *err);
/* The item of this name; ERR_NOT_FOUND when there is none. A new reference. */
MUST_CHECK bool listing_find(struct cli *cli, const char *list_path, struct str name, json_t **ret_item, struct err *err);
/* PUTs a plain file and compares the digest the service answers; ERR_CONFLICT when somebody wrote to it meanwhile. `fd` is at its beginning
 * and stays the caller's. */
MUST_CHECK bool upload_file(struct cli *cli, int fd, const char *name, const char *path, int64_t *ret_bytes, struct err *err);

#endif
