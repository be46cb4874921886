/* The files of the private Postgres: where they lie, how they are made, how they are configured. Blocking: for a thread, or before the
 * loop.
 *
 *   DIR/pg              the cluster, also where the unprivileged user cannot reach DIR; earlier versions then made it elsewhere, and noted
 * that in DIR/pg.location
 *   DIR/pg.secret       the password of its one role, 0600
 *   DIR/pg.first        until it has been changed: the password that the template came with
 *   DIR/pg.socket       the directory of the socket while it runs
 *   DIR/pg.log, pg.log.1  what the server says
 *   DIR/pg.conf         optional: settings of yours, which win
 *   CACHE/pg-<version>  the template: a cluster fresh from initdb, copied for every new directory. Copies share its system identifier,
 * which matters only to physical replication between two of them; its password is replaced at the first start. */
#ifndef WINNOW_STORAGE_PG_PLACE_H
#define WINNOW_STORAGE_PG_PLACE_H

#include "storage/pg/pg_find.h"

struct pg_place_conf {
  const char *dir;                 /* the service's directory; exists */
  const char *bin_dir;             /* NULL: looked for */
  const char *user;                /* when started by root; NULL: winnow, postgres or nobody */
  const char *cache_dir;           /* of the template; NULL: the usual place */
  const char *run_dir;             /* NULL: /run, $XDG_RUNTIME_DIR or /tmp */
  const char *settings;            /* NULL, or further lines of postgresql.conf */
  const struct subproc_stop *stop; /* NULL, or how another thread ends the making of a cluster */
};

struct pg_place {
  struct run_as who;
  struct pg_programs programs;
  char dir[1024];       /* absolute */
  char data[1024];      /* the cluster */
  char socket_dir[108]; /* made anew by pg_place_ready() */
  char secret[72];
  char first_secret[72]; /* "" when it has been replaced */
  bool made_now;
  bool is_hidden; /* its user cannot reach it by its path */
};

/* Finds, and makes what is missing; ends with a configured cluster that may be started. When an old server of this directory still runs
 * (*ret_old_pid not 0) nothing has been touched: wait for it to go and call again. */
MUST_CHECK bool pg_place_ready(const struct pg_place_conf *conf, struct pg_place *ret, pid_t *ret_old_pid, struct err *err);
/* The template's password has been replaced. */
MUST_CHECK bool pg_place_forget_first(const struct pg_place *place, struct err *err);
/* After the server has gone: the socket's directory. */
void pg_place_tidy(const struct pg_place *place);
/* Removes the cluster of `conf->dir`, wherever it lies, and its files. The server must not run. */
MUST_CHECK bool pg_place_destroy(const struct pg_place_conf *conf, struct err *err);

#endif
