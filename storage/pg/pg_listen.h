/* LISTEN on a connection of its own. After a reconnect subscribers are told that they may have missed something. */
#ifndef WINNOW_STORAGE_PG_LISTEN_H
#define WINNOW_STORAGE_PG_LISTEN_H

#include "base/err.h"
#include "base/loop.h"
#include "base/rng.h"
#include "base/str.h"

struct pq_api;
struct pg_listener;

/* A notification; text valid during the call. */
typedef void pg_notify_fn(void *ctx, struct str channel, struct str payload);
/* Called when listening begins and again after every reconnect: whatever happened before may have gone unseen, so read the truth now. */
typedef void pg_missed_fn(void *ctx);

enum { PG_CHANNELS_MAX = 16 };

/* `channels` is NULL-ended, lower-case words [a-z0-9_]; copied. `pq` NULL is libpq. Connects for as long as it lives.
 * Send with a statement `select pg_notify($1, $2)`. */
MUST_CHECK struct pg_listener *pg_listener_new(struct loop *loop, const char *conninfo, const char *const *channels, struct rng rng,
                                               const struct pq_api *pq, pg_notify_fn *on_notify, pg_missed_fn *on_missed, void *ctx,
                                               struct err *err);
bool pg_listener_is_up(const struct pg_listener *listener);
/* No callback comes after this; also from its own callbacks. Accepts NULL. */
void pg_listener_free(struct pg_listener *listener);

#endif
