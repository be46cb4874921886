/* One active service a database. An advisory lock held on a connection of its own says who it is; each holder has an epoch, larger than all
 * before it, which every write of the engine may check (`(select max(epoch) from service_epoch) = $n`). */
#ifndef WINNOW_STORAGE_ACTIVE_H
#define WINNOW_STORAGE_ACTIVE_H

#include "base/err.h"
#include "base/loop.h"

struct active;

/* The lock may be another's now: stop writing. Called once, on the loop. */
typedef void active_lost_fn(void *ctx, const struct err *reason);

/* Blocking, at start, after migrate(). ERR_CONFLICT when another service holds the database: the text names its host, process, directory
 * and start. `data_dir` is noted for others to read. Waits up to `wait_ms` for a holder that is just going. */
MUST_CHECK bool active_acquire(struct loop *loop, const char *conninfo, const char *data_dir, int64_t wait_ms, active_lost_fn *on_lost,
                               void *ctx, struct active **ret, struct err *err);
int64_t active_epoch(const struct active *active);
/* Gives the lock back; on_lost is not called any more. Accepts NULL. */
void active_release(struct active *active);

#endif
