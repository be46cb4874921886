/* One active service a database. An advisory lock held on a connection of its own says who it is; each service has an epoch, larger than
 * all before it, which every write of the engine may check (`$n = (select max(epoch) from service_epoch)`).
 *
 * The same connection is the pulse of the server: who holds the lock asks a small question every second, and an answer that does not come
 * within ACTIVE_ANSWER_MS tells of a server that is stopped, or cut off, long before the deadlines of statements do. */
#ifndef WINNOW_STORAGE_ACTIVE_H
#define WINNOW_STORAGE_ACTIVE_H

#include "base/err.h"
#include "base/loop.h"
#include "base/rng.h"

struct active;
struct pq_api;

enum { ACTIVE_ANSWER_MS = 4000 };

enum active_state {
  ACTIVE_SEEKING, /* not yet: the database is away, or an earlier holder is just going */
  ACTIVE_HELD,    /* this service is the one; also after a reconnect that found nobody had come in between */
  ACTIVE_UNSURE,  /* the connection is gone; trying to get the lock back under the same epoch */
  ACTIVE_SILENT,  /* the same, and gone because the server gave no answer: what else waits for it waits in vain */
  ACTIVE_LOST,    /* final: another service has the database; the reason names its host, process, directory and start */
};

/* On the loop, at every change; the reason's code is ERR_NONE when HELD. */
typedef void active_fn(void *ctx, enum active_state state, const struct err *reason);

struct active_conf {
  const char *conninfo;
  const char *data_dir;    /* noted for the others to read */
  int64_t wait_ms;         /* how long a holder met at the start may take to go, before LOST */
  struct rng rng;          /* jitter */
  const struct pq_api *pq; /* NULL: libpq itself */
};

/* After migrate(). Texts are copied. */
MUST_CHECK struct active *active_new(struct loop *loop, const struct active_conf *conf, active_fn *on_change, void *ctx, struct err *err);
enum active_state active_state(const struct active *active);
/* 0 before the first HELD. */
int64_t active_epoch(const struct active *active);
/* Gives the lock back; no callback comes after this. Not from its own callback. Accepts NULL. */
void active_free(struct active *active);

#endif
