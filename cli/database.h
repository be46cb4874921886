/* The database of a service: the private cluster or --db, brought to our schema, held as the only active service, and its pool. */
#ifndef WINNOW_CLI_DATABASE_H
#define WINNOW_CLI_DATABASE_H

#include "base/loop.h"
#include "base/rng.h"
#include "base/work.h"

struct database;
struct migrate_seed;
struct pg_pool;

enum database_event {
  DATABASE_READY, /* once: the schema is there and we are the active service */
  DATABASE_UP,    /* it answers (again) */
  DATABASE_DOWN,  /* it does not; it is being waited for */
  DATABASE_OVER,  /* it will not be ours: refused at the start, or another service has it; the reason says it */
};

typedef void database_fn(void *ctx, enum database_event event, const struct err *reason);

struct database_config {
  const char *data_dir;
  const char *url;     /* NULL: the private Postgres in data_dir */
  const char *pg_user; /* NULL: chosen */
  unsigned connections;
  const struct migrate_seed *seed; /* what it begins with; outlives the database */
  struct rng rng;
};

/* Texts are borrowed. Begins at once; statements given to the pool wait until it is up. */
MUST_CHECK struct database *database_new(struct loop *loop, struct work_pool *work, const struct database_config *config, database_fn *fn,
                                         void *ctx, struct err *err);
struct pg_pool *database_pool(struct database *database);
/* 0 before DATABASE_READY. */
int64_t database_epoch(const struct database *database);
/* NULL before the server is there. With its secret. */
const char *database_conninfo(const struct database *database);
/* "private Postgres 15.18", "Postgres at host": for people, without secrets. */
const char *database_kind(const struct database *database);
/* Where the private server keeps its files; NULL: that is not known yet, or it is --db's. */
const char *database_directory(const struct database *database);
/* Ends everything in order; `done` comes once, later. */
void database_stop(struct database *database, loop_fn *done, void *ctx);
void database_free(struct database *database); /* after `done`, or when new failed halfway; accepts NULL */

#endif
