/* Where the programs of Postgres are. */
#ifndef WINNOW_STORAGE_PG_FIND_H
#define WINNOW_STORAGE_PG_FIND_H

#include "storage/pg/subproc.h"

enum { PG_OLDEST_MAJOR = 13 };

struct pg_programs {
  char dir[512]; /* holds postgres and initdb */
  int major;
  char version[64]; /* "15.20 (Debian 15.20-0+deb12u1)" */
};

/* The newest of those found in PATH and the usual places, at least 13; with `major` not 0, one of that version. `only_dir` (may be NULL) is
 * the one place to look in. Runs `postgres --version`. Blocking. */
MUST_CHECK bool pg_programs_find(const char *only_dir, int major, struct pg_programs *ret, struct err *err);
/* "postgres (PostgreSQL) 15.20 (Debian ...)": pure. */
MUST_CHECK bool pg_version_parse(struct str line, int *ret_major, struct str *ret_version);

#endif
