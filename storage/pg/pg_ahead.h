/* Keeps the next files of the private server's write-ahead log ready. When Postgres comes to the end of one and has none to reuse, it
 * writes 16 MiB of zeros and syncs them, and every commit waits: 60 to 200 ms, in a young cluster after each 16 MiB. Here that is done
 * before, on a thread, in small pieces; the server then finds the file, as it finds one that a checkpoint left for reuse.
 *
 * How far ahead follows the load: half a file while little is written, two seconds' worth, at most four files, while much is. An idle
 * server gets none. Nothing depends on it: a file that could not be made is made by the server. */
#ifndef WINNOW_STORAGE_PG_AHEAD_H
#define WINNOW_STORAGE_PG_AHEAD_H

#include "base/work.h"
#include "storage/pg/pg_place.h"

struct pg_ahead;
struct pg_pool;

/* `pool` leads to the server of `place`, which is copied. `pool` and `work` outlive it. */
MUST_CHECK struct pg_ahead *pg_ahead_new(struct loop *loop, struct pg_pool *pool, struct work_pool *work, const struct pg_place *place,
                                         struct err *err);
/* The files of all positions before this one are there; 0: not known yet. */
int64_t pg_ahead_until(const struct pg_ahead *ahead);
/* What is under way is ended. Accepts NULL. */
void pg_ahead_free(struct pg_ahead *ahead);

#endif
