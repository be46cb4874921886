/* One attempt: what is looked after while the job runs, and what comes next. */
#include <fcntl.h>
#include <signal.h>

#include "base/file.h"
#include "sweeper/companion/companion.h"

enum {
  SAMPLE_LIMIT_MS = 1000, /* how often limits are looked at when there are any */
  GROWTH_POLL_MS = 50,    /* where the kernel does not tell of writes */
  SPOOL_LOOK_MS = 100,    /* how soon after a write the bound is looked at */
};

/* ---- the terminal, for a command that wants one ---- */

static void leave_tty(struct companion *c) {
  if (c->on_tty)
    event_free(c->on_tty);
  c->on_tty = NULL;
  tty_close(&c->tty);
}

/* The command has ended: what the terminal still holds belongs to its output. */
static void drain_tty(struct companion *c) {
  while (c->on_tty && tty_move(&c->tty, c->streams[0].write_fd) == TTY_MORE)
    ;
  leave_tty(c);
}

static void on_tty(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  if (tty_move(&c->tty, c->streams[0].write_fd) == TTY_END)
    leave_tty(c);
  attempt_advance(c);
}

bool attempt_open_output(struct companion *c, int *ret_out, int *ret_err, struct err *err) {
  for (size_t i = 0; i < ARRAY_LEN(c->streams); i++)
    spool_keep_room(&c->streams[i], now_ms());
  *ret_out = c->streams[0].write_fd;
  *ret_err = c->streams[1].write_fd;
  if (!c->job.tty)
    return true;
  if (!tty_open(&c->tty, &c->job, err))
    return false;
  c->on_tty = event_new(c->base, c->tty.master, EV_READ | EV_PERSIST, on_tty, c);
  if (!c->on_tty)
    return err_no_memory(err);
  event_add(c->on_tty, NULL);
  *ret_out = *ret_err = c->tty.slave;
  return true;
}

/* ---- deciding what comes next ---- */

void attempt_enter(struct companion *c, enum phase phase) {
  static const char *const names[] = {"running", "term", "kill", "drain", "collect", "report", "done"};
  if (c->phase == phase)
    return;
  say("%s -> %s", names[c->phase], names[phase]);
  c->phase = phase;
}

static int64_t spools_waiting(const struct companion *c) {
  return spool_waiting(&c->streams[0]) + spool_waiting(&c->streams[1]);
}

bool attempt_has_artifacts(const struct companion *c) {
  return c->job.artifact_count && !c->start_error[0];
}

static void begin_collecting(struct companion *c) {
  if (!attempt_has_artifacts(c))
    return;
  attempt_enter(c, PHASE_COLLECT);
  ending_sync_later(c);
  c->artifacts = artifacts_new(&c->job);
}

static void thaw(struct companion *c) {
  if (c->frozen)
    process_signal(&c->process, SIGCONT);
  c->frozen = false;
}

static void keep_spool_bounded(struct companion *c) {
  int64_t waiting = spools_waiting(c), idle = spool_idle(&c->streams[0]) + spool_idle(&c->streams[1]);
  if (c->job.spool_max <= 0)
    return;
  if (c->job.spool_policy == SPOOL_CUT) {
    for (size_t i = 0; i < ARRAY_LEN(c->streams) && idle > c->job.spool_max; i++)
      spool_cut(&c->streams[i], c->job.spool_max / 2);
  } else if (!c->frozen && waiting > c->job.spool_max && c->phase == PHASE_RUNNING) {
    say("output waits: the job is frozen");
    c->frozen = true;
    process_signal(&c->process, SIGSTOP);
  } else if (c->frozen && waiting < c->job.spool_max / 2) {
    thaw(c);
  }
}

/* Nothing is left that could write. */
static void leave_growth(struct companion *c) {
  fd_close(&c->dir_fd);
  event_del(c->poll_growth);
}

void attempt_advance(struct companion *c) {
  if (c->phase < PHASE_DRAIN && ending_is_over(c)) {
    leave_growth(c);
    event_del(c->ladder);
    drain_tty(c);
    attempt_enter(c, c->fenced ? PHASE_DONE : PHASE_DRAIN);
    if (c->phase == PHASE_DRAIN)
      ending_note(c);
  }
  for (size_t i = 0; i < ARRAY_LEN(c->streams); i++) { /* after the end was seen: nothing is printed that is not noted */
    spool_note(&c->streams[i], now_ms());
    if (c->phase < PHASE_DRAIN)
      spool_keep_room(&c->streams[i], now_ms());
  }
  if (!evtimer_pending(c->spool_look, NULL) && spools_waiting(c) > 0)
    arm(c->spool_look, SPOOL_LOOK_MS);
  if (c->phase == PHASE_DONE) {
    event_base_loopbreak(c->base);
    return;
  }
  if (!talk_is_free(c))
    return;
  keep_spool_bounded(c); /* one piece follows another where more is printed than is taken: there is no better moment */
  if (c->fenced) {
    if (c->phase >= PHASE_DRAIN) {
      attempt_enter(c, PHASE_DONE);
      event_base_loopbreak(c->base);
    }
    return;
  }
  bool over = c->phase >= PHASE_DRAIN;
  if (over ? c->samples.count > 0 : c->heartbeat_due) {
    talk_heartbeat(c);
  } else if (!talk_output(c) && c->phase >= PHASE_DRAIN) {
    if (c->phase == PHASE_DRAIN)
      begin_collecting(c);
    if (talk_artifact(c))
      return;
    attempt_enter(c, PHASE_REPORT);
    talk_exit(c);
  }
}

static void on_grow(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  attempt_advance(ctx);
}

static void on_poll_growth(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  arm(c->poll_growth, GROWTH_POLL_MS);
  attempt_advance(c);
}

/* By a signal for each write into our directory, so it begins after our own first notes, and ends before the last ones. Not inotify: a user
 * has 128 instances of it, and there may be a thousand of us. */
static void watch_growth(struct companion *c) {
  c->dir_fd = open(c->job.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  event_add(c->on_grow, NULL);
  if (c->dir_fd < 0 || fcntl(c->dir_fd, F_NOTIFY, DN_MODIFY | DN_MULTISHOT) != 0)
    arm(c->poll_growth, GROWTH_POLL_MS);
}

/* While a piece is on its way nothing is heard of growth. */
static void on_spool_look(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  keep_spool_bounded(c);
  if (uplink_is_busy(c->uplink) || c->frozen)
    arm(c->spool_look, SPOOL_LOOK_MS);
}

static void keep_limits(struct companion *c) {
  struct process_usage usage;
  if (c->ended_before.n)
    return;
  process_usage(&c->process, &usage);
  c->peak.cpu_ms = MAX_OF(c->peak.cpu_ms, usage.cpu_ms);
  c->peak.rss_bytes = MAX_OF(c->peak.rss_bytes, usage.rss_bytes);
  if (!c->command_ended && (!c->samples.next_n || now_ms() - c->samples.last_mono_ms >= c->job.heartbeat_ms))
    samples_add(&c->samples, &usage, clock_wall_ms(&clock_system), now_ms());
  if (c->job.time_limit_ms && now_ms() - c->begun_mono_ms > c->job.time_limit_ms)
    ending_start(c, "time_limit", c->job.stop_grace_ms);
  if (c->job.memory_limit && usage.rss_bytes > c->job.memory_limit)
    ending_start(c, "memory_limit", 0);
}

static void on_tick(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  bool limits = c->job.time_limit_ms || c->job.memory_limit;
  keep_limits(c);
  if (now_ms() - c->last_heartbeat_ms >= c->job.heartbeat_ms)
    c->heartbeat_due = true;
  arm(c->tick, limits ? SAMPLE_LIMIT_MS : MIN_OF(c->job.heartbeat_ms, (int64_t)5000));
  attempt_advance(c);
}

bool attempt_make(struct companion *c, struct err *err) {
  c->on_grow = evsignal_new(c->base, SIGIO, on_grow, c);
  c->poll_growth = evtimer_new(c->base, on_poll_growth, c);
  c->tick = evtimer_new(c->base, on_tick, c);
  c->spool_look = evtimer_new(c->base, on_spool_look, c);
  if (!c->on_grow || !c->poll_growth || !c->tick || !c->spool_look)
    return err_no_memory(err);
  for (size_t i = 0; i < ARRAY_LEN(c->streams); i++) {
    const char *name = i ? "stderr" : "stdout";
    if (!spool_open(&c->streams[i], c->job.dir, name, err))
      return false;
  }
  return true;
}

void attempt_begin(struct companion *c) {
  watch_growth(c);
  arm(c->tick, SAMPLE_LIMIT_MS);
}
