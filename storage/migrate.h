/* Brings a database to this program's schema. Blocking: at start, or on a thread. */
#ifndef WINNOW_STORAGE_MIGRATE_H
#define WINNOW_STORAGE_MIGRATE_H

#include <pthread.h>

#include "base/err.h"
#include "storage/pg/stmt_info.h"

struct migrate_report {
  size_t applied; /* now */
  size_t known;
  char last[64]; /* name of the newest */
};

/* Under an advisory lock; each migration in a transaction of its own together with its row in winnow.migration, so an interrupted run
 * is simply run again. Refuses a server older than 13, a migration it does not know (a newer winnow's), and one whose text has changed. */
MUST_CHECK bool migrate(const char *conninfo, struct migrate_report *ret, struct err *err);
/* Ends, from another thread, a migration that runs (it may be waiting for a lock, or for a server that hangs) and all later ones, with
 * ERR_CANCELLED or ERR_UNAVAILABLE. Outlives them. */
struct migrate_brake {
  pthread_mutex_t lock;
  int fd; /* the connection's; -1: none */
  bool pulled;
};
#define MIGRATE_BRAKE_INIT ((struct migrate_brake){.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1})
void migrate_brake_pull(struct migrate_brake *brake);
/* A statement that is run each time once the schema is there, before anybody else sees it: what a fresh database is to hold. */
struct migrate_seed {
  enum stmt stmt;
  size_t count;
  const char *values[4]; /* its arguments, as text */
};
MUST_CHECK bool migrate_with_brake(const char *conninfo, struct migrate_brake *brake, const struct migrate_seed *seed,
                                   struct migrate_report *ret, struct err *err);
/* The same with another list. */
MUST_CHECK bool migrate_with(const char *conninfo, const struct migration *list, size_t count, struct migrate_report *ret, struct err *err);

#endif
