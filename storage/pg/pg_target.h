/* Where to connect to and how: a connection string taken apart, host names looked up, our session settings added. */
#ifndef WINNOW_STORAGE_PG_TARGET_H
#define WINNOW_STORAGE_PG_TARGET_H

#include "base/arena.h"
#include "base/err.h"

enum { PG_TARGET_MAX = 48 };

/* NULL-ended, for PQconnectStartParams(). */
struct pg_target {
  struct arena arena;
  const char *keywords[PG_TARGET_MAX + 1];
  const char *values[PG_TARGET_MAX + 1];
};

/* Looks host names up, blocking. statement_timeout_ms 0: none. */
MUST_CHECK bool pg_target_init(struct pg_target *target, const char *conninfo, int64_t statement_timeout_ms, struct err *err);
void pg_target_release(struct pg_target *target);

#endif
