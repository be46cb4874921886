#include "base/loop.h"

#include <event2/event.h>
#include <event2/thread.h>

#include "base/mem.h"

enum { HOOKS_MAX = 16 };

struct loop {
  struct event_base *base;
  const struct clock *clock;
  int64_t now_ms;
  bool stopping;
  struct loop_defer *deferred, **deferred_end;
  size_t hook_count;
  struct {
    loop_fn *fn;
    void *ctx;
  } hooks[HOOKS_MAX];
};

struct loop *loop_new(const struct clock *clock, struct err *err) {
  struct loop *loop = mem_zalloc(sizeof *loop);
  if (!loop) {
    err_no_memory(err);
    return NULL;
  }
  evthread_use_pthreads();
  struct event_config *config = event_config_new();
  if (config) {
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    loop->base = event_base_new_with_config(config);
    event_config_free(config);
  }
  if (!loop->base) {
    mem_free(loop);
    err_set(err, ERR_IO, "the event loop could not be made");
    return NULL;
  }
  loop->clock = clock;
  loop->now_ms = clock_mono_ms(clock);
  loop->deferred_end = &loop->deferred;
  return loop;
}

/* Runs what was deferred before this call; what is deferred meanwhile waits for the next round. */
static bool run_deferred(struct loop *loop) {
  struct loop_defer *round = loop->deferred;
  if (!round)
    return false;
  round->link = &round;
  loop->deferred = NULL;
  loop->deferred_end = &loop->deferred;
  /* The end pointer of the round is not kept: cancel only needs link and next. */
  while (round) {
    struct loop_defer *item = round;
    loop_defer_cancel(item);
    item->fn(item->ctx);
  }
  return true;
}

static void end_turn(struct loop *loop) {
  /* Deferred work may defer more (an object's release after its last callback): a few rounds, then the hooks, then the rest next turn. */
  for (int rounds = 0; rounds < 8 && run_deferred(loop); rounds++)
    ;
  for (size_t i = 0; i < loop->hook_count; i++)
    loop->hooks[i].fn(loop->hooks[i].ctx);
}

void loop_free(struct loop *loop) {
  if (!loop)
    return;
  while (run_deferred(loop))
    ;
  event_base_free(loop->base);
  mem_free(loop);
}

void loop_turn(struct loop *loop, bool block) {
  int flags = EVLOOP_ONCE;
  if (!block || loop->deferred)
    flags |= EVLOOP_NONBLOCK;
  if (block && !loop->deferred)
    flags |= EVLOOP_NO_EXIT_ON_EMPTY;
  event_base_loop(loop->base, flags);
  loop->now_ms = clock_mono_ms(loop->clock);
  end_turn(loop);
}

void loop_run(struct loop *loop) {
  loop->stopping = false;
  end_turn(loop); /* what was prepared before the first turn */
  while (!loop->stopping)
    loop_turn(loop, true);
}

void loop_stop(struct loop *loop) {
  loop->stopping = true;
  event_base_loopbreak(loop->base);
}

const struct clock *loop_clock(const struct loop *loop) {
  return loop->clock;
}

struct event_base *loop_base(struct loop *loop) {
  return loop->base;
}

int64_t loop_now_ms(const struct loop *loop) {
  return loop->now_ms;
}

void loop_defer(struct loop *loop, struct loop_defer *item, loop_fn *fn, void *ctx) {
  if (item->link)
    return;
  item->fn = fn;
  item->ctx = ctx;
  item->next = NULL;
  item->link = loop->deferred_end;
  *loop->deferred_end = item;
  loop->deferred_end = &item->next;
  item->end = &loop->deferred_end;
}

void loop_defer_cancel(struct loop_defer *item) {
  if (!item->link)
    return;
  *item->link = item->next;
  if (item->next)
    item->next->link = item->link;
  else if (*item->end == &item->next)
    *item->end = item->link;
  item->next = NULL;
  item->link = NULL;
}

void loop_add_hook(struct loop *loop, loop_fn *fn, void *ctx) {
  if (loop->hook_count == HOOKS_MAX)
    abort(); /* a ceiling set at build time was passed: a mistake of ours */
  loop->hooks[loop->hook_count].fn = fn;
  loop->hooks[loop->hook_count++].ctx = ctx;
}

/* ---- timers ---- */

struct loop_timer {
  struct event *event;
  loop_fn *fn;
  void *ctx;
};

static void on_timer(evutil_socket_t fd UNUSED, short what UNUSED, void *arg) {
  struct loop_timer *timer = arg;
  timer->fn(timer->ctx);
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_fn *fn, void *ctx) {
  struct loop_timer *timer = mem_zalloc(sizeof *timer);
  if (!timer)
    return NULL;
  timer->fn = fn;
  timer->ctx = ctx;
  timer->event = event_new(loop->base, -1, 0, on_timer, timer);
  if (!timer->event) {
    mem_free(timer);
    return NULL;
  }
  return timer;
}

void loop_timer_start(struct loop_timer *timer, int64_t delay_ms) {
  delay_ms = MAX_OF(delay_ms, (int64_t)0);
  struct timeval delay = {delay_ms / 1000, (delay_ms % 1000) * 1000};
  event_add(timer->event, &delay);
}

void loop_timer_stop(struct loop_timer *timer) {
  event_del(timer->event);
}

bool loop_timer_is_on(const struct loop_timer *timer) {
  return event_pending(timer->event, EV_TIMEOUT, NULL);
}

void loop_timer_free(struct loop_timer *timer) {
  if (!timer)
    return;
  event_free(timer->event);
  mem_free(timer);
}

/* ---- descriptors ---- */

struct loop_io {
  struct event *event;
  struct loop *loop;
  int fd;
  unsigned what;
  loop_io_fn *fn;
  void *ctx;
};

static void on_io(evutil_socket_t fd, short what, void *arg) {
  struct loop_io *io = arg;
  io->fn(io->ctx, fd, (what & EV_READ ? LOOP_READ : 0u) | (what & EV_WRITE ? LOOP_WRITE : 0u));
}

struct loop_io *loop_io_new(struct loop *loop, int fd, unsigned what, loop_io_fn *fn, void *ctx) {
  struct loop_io *io = mem_zalloc(sizeof *io);
  if (!io)
    return NULL;
  *io = (struct loop_io){.loop = loop, .fd = fd, .fn = fn, .ctx = ctx};
  io->event = event_new(loop->base, fd, EV_PERSIST, on_io, io);
  if (!io->event) {
    mem_free(io);
    return NULL;
  }
  loop_io_set(io, what);
  return io;
}

void loop_io_set(struct loop_io *io, unsigned what) {
  if (what == io->what)
    return;
  event_del(io->event);
  io->what = what;
  if (!what)
    return;
  short events = EV_PERSIST;
  if (what & LOOP_READ)
    events |= EV_READ;
  if (what & LOOP_WRITE)
    events |= EV_WRITE;
  event_assign(io->event, io->loop->base, io->fd, events, on_io, io);
  event_add(io->event, NULL);
}

void loop_io_free(struct loop_io *io) {
  if (!io)
    return;
  event_free(io->event);
  mem_free(io);
}

/* ---- signals ---- */

struct loop_signal {
  struct event *event;
  loop_signal_fn *fn;
  void *ctx;
};

static void on_signal(evutil_socket_t number, short what UNUSED, void *arg) {
  struct loop_signal *signal = arg;
  signal->fn(signal->ctx, number);
}

struct loop_signal *loop_signal_new(struct loop *loop, int signal_number, loop_signal_fn *fn, void *ctx) {
  struct loop_signal *signal = mem_zalloc(sizeof *signal);
  if (!signal)
    return NULL;
  signal->fn = fn;
  signal->ctx = ctx;
  signal->event = evsignal_new(loop->base, signal_number, on_signal, signal);
  if (!signal->event || event_add(signal->event, NULL) != 0) {
    loop_signal_free(signal);
    return NULL;
  }
  return signal;
}

void loop_signal_free(struct loop_signal *signal) {
  if (!signal)
    return;
  if (signal->event)
    event_free(signal->event);
  mem_free(signal);
}
