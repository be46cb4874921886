/* The event loop: one thread, one libevent base. Callbacks run one after the other; what is deferred runs at the end of the same
 * turn, and the end-of-turn hooks after that, in the order they were added. Objects are freed by deferring their release, so nothing
 * dies on its own stack. Only web's connection code looks through to libevent. */
#ifndef WINNOW_BASE_LOOP_H
#define WINNOW_BASE_LOOP_H

#include "base/clock.h"
#include "base/err.h"

struct loop;
struct event_base;

typedef void loop_fn(void *ctx);

MUST_CHECK struct loop *loop_new(const struct clock *clock, struct err *err);
/* Runs what is still deferred, then frees. Timers and watches must be gone. Accepts NULL. */
void loop_free(struct loop *loop);
/* Returns after loop_stop(). */
void loop_run(struct loop *loop);
/* One turn: waits for events unless `block` is false or something is deferred, then end of turn. For tests. */
void loop_turn(struct loop *loop, bool block);
void loop_stop(struct loop *loop);
const struct clock *loop_clock(const struct loop *loop);
struct event_base *loop_base(struct loop *loop);
/* Monotonic milliseconds, read once a turn. */
int64_t loop_now_ms(const struct loop *loop);

/* Runs once, at the end of this turn (or of the next when called from a hook). The item is owned by the caller, who may cancel it.
 * Zero-initialise. */
struct loop_defer {
  loop_fn *fn;
  void *ctx;
  struct loop_defer *next, **link, ***end; /* private */
};
/* Deferring what is deferred already changes nothing. */
void loop_defer(struct loop *loop, struct loop_defer *item, loop_fn *fn, void *ctx);
void loop_defer_cancel(struct loop_defer *item);

/* Runs at the end of every turn, for as long as the loop lives. At most 16. */
void loop_add_hook(struct loop *loop, loop_fn *fn, void *ctx);

/* Timers: one shot, unless started again. */
struct loop_timer;
MUST_CHECK struct loop_timer *loop_timer_new(struct loop *loop, loop_fn *fn, void *ctx);
void loop_timer_start(struct loop_timer *timer, int64_t delay_ms); /* restarts */
void loop_timer_stop(struct loop_timer *timer);
bool loop_timer_is_on(const struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer); /* accepts NULL; safe in its own callback, as the last thing done with it */

/* Descriptors. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_io;
typedef void loop_io_fn(void *ctx, int fd, unsigned ready);
/* Persistent. `what` may be 0: nothing is watched yet. The descriptor stays the caller's. */
MUST_CHECK struct loop_io *loop_io_new(struct loop *loop, int fd, unsigned what, loop_io_fn *fn, void *ctx);
void loop_io_set(struct loop_io *io, unsigned what);
void loop_io_free(struct loop_io *io); /* accepts NULL; before the descriptor is closed */

/* Signals, delivered on the loop. */
struct loop_signal;
typedef void loop_signal_fn(void *ctx, int signal_number);
MUST_CHECK struct loop_signal *loop_signal_new(struct loop *loop, int signal_number, loop_signal_fn *fn, void *ctx);
void loop_signal_free(struct loop_signal *signal);

#endif
