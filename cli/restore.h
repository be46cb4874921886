/* A data directory, and a database, from a backup. No service runs there. Blocking. */
#ifndef WINNOW_CLI_RESTORE_H
#define WINNOW_CLI_RESTORE_H

#include "cli/backup_file.h"

struct restore_conf {
  const char *source;   /* a file, "-", or a directory that was unpacked */
  const char *data_dir; /* not there, or empty */
  const char *db;       /* NULL: a private Postgres in data_dir */
  const char *pg_user;  /* NULL: chosen */
};

struct restore_report {
  struct backup_summary summary;
  int64_t followed; /* artifacts whose row was made to follow the file */
  int64_t paused;   /* sweeps */
};

/* The directory appears whole or not at all. A database given by `db` is filled in one transaction, before the last steps. */
MUST_CHECK bool restore(const struct restore_conf *conf, struct restore_report *ret, struct err *err);

#endif
