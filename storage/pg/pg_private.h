/* The service's own Postgres: a child that is made, started, watched, started again, and stopped. It ends with the service, even when that
 * is killed. Its files: storage/pg/pg_place.h. */
#ifndef WINNOW_STORAGE_PG_PRIVATE_H
#define WINNOW_STORAGE_PG_PRIVATE_H

#include "base/rng.h"
#include "base/work.h"
#include "storage/pg/pg_place.h"

struct pg_private;

enum pg_private_state {
  PG_PRIVATE_IDLE,
  PG_PRIVATE_PREPARING, /* its files are made, on the work pool */
  PG_PRIVATE_WAITING,   /* for an old server of this directory to go */
  PG_PRIVATE_STARTING,  /* the server runs, and recovers */
  PG_PRIVATE_PASSWORD,  /* a new cluster's password is replaced */
  PG_PRIVATE_UP,        /* it accepts connections */
  PG_PRIVATE_DOWN,      /* it died; started again after a while */
  PG_PRIVATE_STOPPING,
  PG_PRIVATE_STOPPED,
  PG_PRIVATE_FAILED, /* final: it cannot be made, or never came up */
};
const char *pg_private_state_name(enum pg_private_state state);

/* On the loop, at every change. `reason` is set for DOWN and FAILED. `conninfo` is for UP; the same every time. */
typedef void pg_private_fn(void *ctx, enum pg_private_state state, const char *conninfo, const struct err *reason);

struct pg_private_conf {
  struct pg_place_conf place; /* texts are copied */
  struct rng rng;             /* jitter */
  int64_t stop_ms;            /* a fast shutdown may take this long before it is forced; 0: 20 s */
};

/* `work` makes the files; it outlives this. From the loop's thread, which must live as long as the server: the kernel ends the server with
 * the thread that started it. */
MUST_CHECK struct pg_private *pg_private_new(struct loop *loop, struct work_pool *work, const struct pg_private_conf *conf,
                                             pg_private_fn *on_change, void *ctx, struct err *err);
/* Once. The answer comes through on_change. */
void pg_private_start(struct pg_private *server);
enum pg_private_state pg_private_state(const struct pg_private *server);
/* 0 when none runs. */
pid_t pg_private_pid(const struct pg_private *server);
/* Valid once its files have been made. */
const struct pg_place *pg_private_place(const struct pg_private *server);
/* Fast shutdown, then forced; STOPPED comes through on_change (also when it does not run). Close the connections before. */
void pg_private_stop(struct pg_private *server);
/* In STOPPED, FAILED or IDLE it is quick; else the server is ended at once, as by a crash, and waited for. While its files are being made
 * the memory goes when that has ended, so free the work pool after it. No callback comes after this. Not from its callback. Accepts NULL.
 */
void pg_private_free(struct pg_private *server);

#endif
