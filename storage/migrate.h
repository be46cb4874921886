/* Brings a database to this program's schema. Blocking: at start, or on a thread. */
#ifndef WINNOW_STORAGE_MIGRATE_H
#define WINNOW_STORAGE_MIGRATE_H

#include "base/err.h"
#include "storage/stmt_info.h"

struct migrate_report {
  size_t applied; /* now */
  size_t known;
  char last[64]; /* name of the newest */
};

/* Under an advisory lock; each migration in a transaction of its own together with its row in winnow.migration, so an interrupted run
 * is simply run again. Refuses a server older than 13, a migration it does not know (a newer winnow's), and one whose text has changed. */
MUST_CHECK bool migrate(const char *conninfo, struct migrate_report *ret, struct err *err);
/* The same with another list. */
MUST_CHECK bool migrate_with(const char *conninfo, const struct migration *list, size_t count, struct migrate_report *ret, struct err *err);

#endif
