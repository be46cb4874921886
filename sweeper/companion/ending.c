/* The job's end: TERM, a grace time, KILL of everything it has started; and the record of it. */
#include <signal.h>
#include <sys/wait.h>

#include "sweeper/companion/companion.h"

enum {
  LEFTOVER_GRACE_MS = 2000,
  EXIT_SYNC_MS = 50, /* the service has this long to store the end before we do, on the same disk perhaps */
};

/* ---- ending the job ---- */

static void begin_kill(struct companion *c) {
  attempt_enter(c, PHASE_KILL);
  process_signal(&c->process, SIGKILL);
  arm(c->ladder, 100);
}

static void begin_term(struct companion *c, int64_t grace_ms) {
  attempt_enter(c, PHASE_TERM);
  process_signal(&c->process, SIGTERM);
  process_signal(&c->process, SIGCONT); /* a stopped process takes its TERM when it goes on */
  c->frozen = false;
  arm(c->ladder, grace_ms);
}

void ending_start(struct companion *c, const char *reason, int64_t grace_ms) {
  if (c->phase != PHASE_RUNNING)
    return;
  c->end_reason = reason;
  say("ending the job: %s", reason);
  if (grace_ms > 0)
    begin_term(c, grace_ms);
  else
    begin_kill(c);
}

static void on_ladder(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  if (c->phase == PHASE_TERM || (c->phase == PHASE_KILL && process_any_alive()))
    begin_kill(c);
  attempt_advance(c);
}

static void reap(struct companion *c) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid != c->process.pid || c->command_ended)
      continue;
    c->command_ended = true;
    c->wait_status = status;
    c->ended_ms = c->begun_ms + (now_ms() - c->begun_mono_ms); /* the clock on the wall may have jumped */
    say("the command ended: %s %d", WIFEXITED(status) ? "exit code" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
  }
}

static void on_child(evutil_socket_t signal_number UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  reap(c);
  /* What the command left behind has lost its purpose: it gets TERM, a short grace, KILL. */
  if (c->command_ended && c->phase == PHASE_RUNNING && process_any_alive())
    begin_term(c, LEFTOVER_GRACE_MS);
  attempt_advance(c);
}

/* What is noted can wait for another companion; what is not has only us. */
static void leave(struct companion *c) {
  struct err err;
  say("told to go: what is left is for another companion to bring home");
  if (exit_file_sync(c->job.dir, &err))
    attempt_enter(c, PHASE_DONE);
  else
    say("%s", err.text);
}

static void on_term(evutil_socket_t signal_number UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  if (c->phase < PHASE_DRAIN)
    ending_start(c, "signal", c->job.stop_grace_ms);
  else if (c->phase != PHASE_DONE)
    leave(c);
  attempt_advance(c);
}

bool ending_is_over(const struct companion *c) {
  bool ended = c->start_error[0] || c->command_ended;
  return ended && !process_any_alive();
}

/* ---- its record ---- */

static void sync_exit(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  const struct companion *c = ctx;
  struct err err;
  if (!exit_file_sync(c->job.dir, &err))
    say("%s", err.text);
}

void ending_sync_later(struct companion *c) {
  arm(c->sync_exit, EXIT_SYNC_MS);
}

void ending_put(const struct companion *c, struct buf *text) {
  if (c->ended_before.n) {
    buf_add_str(text, buf_str(&c->ended_before));
    return;
  }
  struct exit_story story = {.start_error = c->start_error,
                             .wait_status = c->wait_status,
                             .ended_by = c->end_reason,
                             .oom = c->wait_status ? process_oom(&c->process) : OOM_NONE,
                             .has_memory_limit = c->job.memory_limit > 0,
                             .begun_ms = c->begun_ms,
                             .ended_ms = c->ended_ms,
                             .cpu_ms = c->peak.cpu_ms,
                             .rss_peak = c->peak.rss_bytes,
                             .printed = {spool_size(&c->streams[0]), spool_size(&c->streams[1])}};
  exit_story_put(&story, text);
}

void ending_note(struct companion *c) {
  AUTO_BUF struct buf text = BUF_INIT(8192);
  struct err err;
  if (c->has_note || c->ended_before.n)
    return;
  ending_put(c, &text);
  for (size_t i = 0; i < ARRAY_LEN(c->streams); i++) { /* before the note, which calls for another companion should we die */
    spool_note(&c->streams[i], now_ms());
    if (!spool_keep_times(&c->streams[i], c->job.dir, now_ms(), clock_wall_ms(&clock_system), &err))
      say("%s", err.text);
  }
  if (attempt_has_artifacts(c))
    buf_puts(&text, "artifacts_failed the companion died before all of the files were stored\n");
  c->has_note = exit_file_write(c->job.dir, buf_str(&text), &err);
  if (!c->has_note)
    say("%s", err.text);
}

bool ending_make(struct companion *c, struct err *err) {
  c->on_child = evsignal_new(c->base, SIGCHLD, on_child, c);
  c->on_term = evsignal_new(c->base, SIGTERM, on_term, c);
  c->ladder = evtimer_new(c->base, on_ladder, c);
  c->sync_exit = evtimer_new(c->base, sync_exit, c);
  if (!c->on_child || !c->on_term || !c->ladder || !c->sync_exit)
    return err_no_memory(err);
  event_add(c->on_child, NULL);
  event_add(c->on_term, NULL);
  return true;
}
