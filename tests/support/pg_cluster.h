/* A private Postgres for a test program, and a loop to wait on. The template is shared by all tests of one user. */
#ifndef WINNOW_TESTS_PG_CLUSTER_H
#define WINNOW_TESTS_PG_CLUSTER_H

#include "base/loop.h"
#include "base/work.h"
#include "storage/pg/pg.h"
#include "storage/pg/pg_private.h"
#include "tests/support/temp_dir.h"

struct pg_cluster {
  struct temp_dir dir;
  struct loop *loop;
  struct work_pool *work;
  struct pg_private *server;
  bool up;
  struct err failure;
  char *conninfo; /* once it was up */
};

/* Up, and with the newest schema. Ends the test program when it cannot be. `settings` (may be NULL): lines of postgresql.conf. */
void pg_cluster_start(struct pg_cluster *cluster, const char *settings);
void pg_cluster_stop(struct pg_cluster *cluster);
/* The usual configuration of a server whose directory is `dir`. */
struct pg_private_conf pg_cluster_conf(const char *dir, const char *settings);
/* A pool on it, waiting for nothing. */
struct pg_pool *pg_cluster_pool(struct pg_cluster *cluster, const struct pg_pool_conf *conf);

/* Turns the loop until *flag, or fails the test after `ms`. */
void loop_until(struct loop *loop, const bool *flag, int64_t ms);
/* Turns it for so long. */
void loop_for(struct loop *loop, int64_t ms);
/* Makes tables and the like: statements separated by semicolons, blocking. */
void pg_cluster_sql(struct pg_cluster *cluster, const char *sql);
/* The first column of the first row as a number, blocking. */
int64_t pg_cluster_int(struct pg_cluster *cluster, const char *sql);

/* What a callback saw. */
struct seen {
  bool done;
  int count; /* of calls */
  enum pg_outcome outcome;
  struct err err;
  char sqlstate[6];
  size_t rows;
};
void seen_done(void *ctx, const struct pg_reply *reply); /* pg_done_fn */

#endif
