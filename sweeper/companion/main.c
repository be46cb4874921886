/* winnow-exec: runs one attempt of a run. Starts the command, sends its output and heartbeats home, takes the verdict, ends the job with
 * everything it has started, and reports how it ended. It outlives the service and keeps going without it; the spool files hold what has
 * not been sent.
 *
 * What it asks of the service, below /api/v1/companion/<run>/<attempt>, bodies and answers plain text:
 *   POST /output?stream=S&offset=N&skipped=K   bytes         -> the offset from which to go on
 *   POST /file?source=I&path=P&generation=G&offset=N&snapshot=0|1&last=0|1   bytes of a metric file -> the offset from which to go on
 *   POST /heartbeat        `sample ...` lines of usage       -> continue, or stop
 *   GET  /verdict?wait=25                                    -> continue, or stop (as soon as it is known)
 *   PUT  /api/v1/runs/<run>/artifacts/<path>    files that are kept
 *   POST /exited           `name value` lines                -> ok
 * The first verdict is asked for a moment after the start and tells the service that the command runs; a job that is over by then is told
 * as one message, its end.
 * 409 means that the attempt has been superseded: the job is ended and nothing more is said.
 *
 * Once the job is over how it ended is noted before anything else is done. One that is started and finds such a note is there because the
 * one before died on its way: it starts nothing, and brings home what is left. */
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"
#include "sweeper/companion/artifacts.h"
#include "sweeper/companion/exit_file.h"
#include "sweeper/companion/metric_files.h"
#include "sweeper/companion/process.h"
#include "sweeper/companion/samples.h"
#include "sweeper/companion/spool.h"
#include "sweeper/companion/tty.h"
#include "sweeper/companion/uplink.h"

enum {
  RETRY_MIN_MS = 200,
  RETRY_MAX_MS = 5000,
  SAMPLE_LIMIT_MS = 1000, /* how often limits are looked at when there are any */
  LEFTOVER_GRACE_MS = 2000,
  REQUEST_TIMEOUT_S = 30,
  VERDICT_WAIT_S = 25,
  FIRST_VERDICT_MS = 20,
  GROWTH_POLL_MS = 50, /* where the kernel does not tell of writes */
  EXIT_SYNC_MS = 10,   /* the service has this long to store the end before we do */
  VERDICT_RETRY_MAX_MS = 2000,
  FILES_EVERY_MS = 500,            /* how often metric files are looked at */
  ALIVE_EVERY_MS = 5000,           /* after the end of the command */
  ARTIFACT_TRIES = 20,             /* when the service answers, and cannot store it */
  UPLOAD_BYTES_PER_S = 256 * 1024, /* slower is dead */
};

/* Of the job, not of the run: what to do next follows from it. */
enum phase {
  PHASE_RUNNING,
  PHASE_TERM,    /* TERM was sent, the grace runs */
  PHASE_KILL,    /* KILL was sent, again and again until nothing is left */
  PHASE_DRAIN,   /* nothing is left alive; output is sent */
  PHASE_COLLECT, /* what it left behind is sent */
  PHASE_REPORT,
  PHASE_DONE,
};

struct companion {
  struct event_base *base;
  struct arena arena;
  struct job_file job;
  struct process process;
  struct spool streams[2];
  struct tty tty;
  struct event *on_tty;       /* NULL: the command writes into the spool by itself */
  struct metric_files *files; /* NULL: none to watch */
  struct artifacts *artifacts;
  unsigned artifact_tries; /* of the present one */
  bool files_due, file_was_last;
  struct uplink_config uplink_config;
  struct uplink *uplink;  /* output, heartbeats, exit: one after the other */
  struct uplink *verdict; /* the long poll */
  struct event *on_child, *on_term, *on_grow, *poll_growth, *tick, *retry, *retry_verdict, *ladder, *sync_exit, *files_tick;
  int dir_fd;
  enum phase phase;
  bool fenced, heartbeat_due, frozen;
  bool command_ended;
  struct buf ended_before; /* the note of an earlier companion; empty: there was none */
  int wait_status;         /* of the command */
  const char *end_reason;  /* why we ended it: "stop", "time_limit", "memory_limit", "fenced", "signal"; NULL: it ended by itself */
  char start_error[700];   /* the command could not be started */
  int64_t begun_ms, begun_mono_ms, ended_ms, last_heartbeat_ms, retry_ms, verdict_retry_ms;
  struct process_usage peak;
  struct samples samples;
  char path[256];
};

static struct companion self = {.tty = {-1, -1}, .ended_before = {.max = 64 * KIB}};

static void say(const char *format, ...) PRINTF_LIKE(1, 2);

/* Into companion.log, which is standard error here. */
static void say(const char *format, ...) {
  char time[32], text[1024];
  clock_format_iso(clock_wall_ms(&clock_system), time);
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  fprintf(stderr, "%s %s\n", time, text);
}

static int64_t now_ms(void) {
  return clock_mono_ms(&clock_system);
}

static void arm(struct event *timer, int64_t ms) {
  struct timeval delay = {ms / 1000, ms % 1000 * 1000};
  evtimer_add(timer, &delay);
}

static void advance(struct companion *c);

/* ---- ending the job ---- */

static void enter_phase(struct companion *c, enum phase phase) {
  static const char *const names[] = {"running", "term", "kill", "drain", "collect", "report", "done"};
  if (c->phase == phase)
    return;
  say("%s -> %s", names[c->phase], names[phase]);
  c->phase = phase;
}

static void thaw(struct companion *c) {
  if (c->frozen)
    process_signal(&c->process, SIGCONT);
  c->frozen = false;
}

static void begin_kill(struct companion *c) {
  enter_phase(c, PHASE_KILL);
  process_signal(&c->process, SIGKILL);
  arm(c->ladder, 100);
}

static void end_job(struct companion *c, const char *reason, int64_t grace_ms) {
  if (c->phase != PHASE_RUNNING)
    return;
  c->end_reason = reason;
  say("ending the job: %s", reason);
  if (grace_ms <= 0) {
    begin_kill(c);
    return;
  }
  enter_phase(c, PHASE_TERM);
  process_signal(&c->process, SIGTERM);
  process_signal(&c->process, SIGCONT); /* a stopped process takes its TERM when it goes on */
  c->frozen = false;
  arm(c->ladder, grace_ms);
}

static void on_ladder(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  if (c->phase == PHASE_TERM || (c->phase == PHASE_KILL && process_any_alive(&c->process)))
    begin_kill(c);
  advance(c);
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
  if (c->command_ended && c->phase == PHASE_RUNNING && process_any_alive(&c->process)) {
    enter_phase(c, PHASE_TERM);
    process_signal(&c->process, SIGTERM);
    arm(c->ladder, LEFTOVER_GRACE_MS);
  }
  advance(c);
}

static void on_term(evutil_socket_t signal_number UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  end_job(c, "signal", c->job.stop_grace_ms);
  advance(c);
}

/* ---- talking to the service ---- */

static void be_fenced(struct companion *c) {
  c->fenced = true;
  say("superseded: this attempt is no longer the run's");
  end_job(c, "fenced", 0);
}

/* True when the answer is one to go on with; else waits a little, longer each time. */
static bool answered(struct companion *c, int status) {
  if (status == 409) {
    be_fenced(c);
    return false;
  }
  if (status >= 200 && status < 300) {
    c->retry_ms = RETRY_MIN_MS;
    return true;
  }
  arm(c->retry, c->retry_ms);
  c->retry_ms = MIN_OF(c->retry_ms * 2, (int64_t)RETRY_MAX_MS);
  return false;
}

static void obey(struct companion *c, struct str verdict) {
  if (str_starts(verdict, STR("stop")))
    end_job(c, "stop", c->job.stop_grace_ms);
}

static void on_heartbeat_told(void *ctx, int status, struct str body) {
  struct companion *c = ctx;
  if (answered(c, status)) {
    samples_taken(&c->samples);
    c->heartbeat_due = c->samples.count >= SAMPLES_AT_ONCE; /* after a time without a service */
    obey(c, body);
  } else if (status == 400 || status == 413) {
    samples_taken(&c->samples); /* not understood, and never will be */
  }
  advance(c);
}

/* While a piece is on its way it is of no use to hear of every write: one signal waits, and says that there was some. */
static void hear_growth(bool hear) {
  sigset_t growth;
  sigemptyset(&growth);
  sigaddset(&growth, SIGIO);
  sigprocmask(hear ? SIG_UNBLOCK : SIG_BLOCK, &growth, NULL);
}

static void on_output_taken(void *ctx, int status, struct str body) {
  struct companion *c = ctx;
  hear_growth(true);
  int64_t next;
  /* The stream it was stands in the path. */
  struct spool *spool = strstr(c->path, "stream=stderr") ? &c->streams[1] : &c->streams[0];
  if (answered(c, status) && str_to_i64(str_trim(body), &next)) {
    if (next > spool->sent)
      spool_taken(spool, next);
    else if (next < spool->sent && !spool->skipped)
      spool->sent = next; /* the service knows less than we believed: send again what is still there */
  }
  advance(c);
}

static void on_exit_told(void *ctx, int status, struct str body UNUSED) {
  struct companion *c = ctx;
  if (answered(c, status))
    enter_phase(c, PHASE_DONE);
  advance(c);
}

static void sync_exit(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  const struct companion *c = ctx;
  struct err err;
  if (!exit_file_sync(c->job.dir, &err))
    say("%s", err.text);
}

static void put_exit(const struct companion *c, struct buf *text) {
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

static bool has_artifacts(const struct companion *c) {
  return c->job.artifact_count && !c->start_error[0];
}

/* Whoever dies on the way is not the only one who knows. */
static void note_exit(struct companion *c) {
  AUTO_BUF struct buf text = BUF_INIT(8192);
  struct err err;
  put_exit(c, &text);
  if (has_artifacts(c))
    buf_puts(&text, "artifacts_failed the companion died before all of the files were stored\n");
  if (!exit_file_write(c->job.dir, buf_str(&text), &err))
    say("%s", err.text);
}

static void tell_exit(struct companion *c) {
  AUTO_BUF struct buf text = BUF_INIT(8192);
  put_exit(c, &text);
  if (c->artifacts)
    artifacts_report(c->artifacts, &text);
  arm(c->sync_exit, EXIT_SYNC_MS);
  uplink_send(c->uplink, "POST", "/exited", buf_str(&text), REQUEST_TIMEOUT_S, on_exit_told, c);
}

static void tell_heartbeat(struct companion *c) {
  AUTO_BUF struct buf text = BUF_INIT(16 * KIB);
  buf_printf(&text, "unsent_bytes %lld\n", (long long)(spool_waiting(&c->streams[0]) + spool_waiting(&c->streams[1])));
  samples_put(&c->samples, &text);
  c->last_heartbeat_ms = now_ms();
  uplink_send(c->uplink, "POST", "/heartbeat", buf_str(&text), REQUEST_TIMEOUT_S, on_heartbeat_told, c);
}

/* Sends one piece of the stream that has one; false when both are empty. */
static bool send_output(struct companion *c) {
  for (size_t i = 0; i < ARRAY_LEN(c->streams); i++) {
    struct spool *spool = &c->streams[i];
    size_t n = spool_piece(spool);
    if (!n && !spool->skipped)
      continue;
    snprintf(c->path, sizeof c->path, "/output?stream=%s&offset=%lld&skipped=%lld", spool->name, (long long)spool->sent,
             (long long)spool->skipped);
    struct uplink_file piece = {.method = "POST",
                                .path = c->path,
                                .fd = spool->read_fd,
                                .keep_fd = true,
                                .offset = spool->sent,
                                .length = (int64_t)n,
                                .timeout_s = REQUEST_TIMEOUT_S};
    hear_growth(false);
    uplink_send_file(c->uplink, &piece, on_output_taken, c);
    return true;
  }
  return false;
}

static void on_file_taken(void *ctx, int status, struct str body) {
  struct companion *c = ctx;
  int64_t next;
  if (answered(c, status) && str_to_i64(str_trim(body), &next))
    metric_files_answered(c->files, next);
  advance(c);
}

/* A piece of a metric file; false when there is none. */
static bool send_file(struct companion *c) {
  struct metric_files_piece piece;
  if (!c->files || !metric_files_next(c->files, c->phase >= PHASE_DRAIN, &piece))
    return false;
  struct uplink_file file = {
      .method = "POST", .path = piece.path, .fd = piece.fd, .offset = piece.offset, .length = piece.length, .timeout_s = REQUEST_TIMEOUT_S};
  uplink_send_file(c->uplink, &file, on_file_taken, c);
  return true;
}

/* Output and files take turns. */
static bool send_something(struct companion *c) {
  bool due = c->files_due || c->phase >= PHASE_DRAIN;
  if (!c->file_was_last && due && send_file(c))
    return c->file_was_last = true;
  c->file_was_last = false;
  if (send_output(c))
    return true;
  c->files_due = due && send_file(c);
  return c->files_due;
}

/* ---- what it leaves behind ---- */

static void on_artifact_taken(void *ctx, int status, struct str body) {
  struct companion *c = ctx;
  char why[200];
  bool is_over = (status >= 400 && status < 500 && status != 409 && status != 408 && status != 429) ||
                 (status >= 500 && status != 503 && ++c->artifact_tries >= ARTIFACT_TRIES);
  if (is_over) {
    snprintf(why, sizeof why, "the service answers %d %.*s", status, STR_ARG(str_slice(body, 0, 160)));
    say("%s", why);
    artifacts_done(c->artifacts, why);
    c->artifact_tries = 0;
  } else if (answered(c, status)) {
    artifacts_done(c->artifacts, NULL);
    c->artifact_tries = 0;
  }
  advance(c);
}

static void begin_collecting(struct companion *c) {
  enter_phase(c, PHASE_COLLECT);
  if (!has_artifacts(c))
    return;
  arm(c->sync_exit, EXIT_SYNC_MS);
  c->artifacts = artifacts_new(&c->job);
}

static bool send_artifact(struct companion *c) {
  struct artifact_piece piece;
  char prefix[100], id[ID_HEX_LEN + 1];
  if (!c->artifacts || !artifacts_next(c->artifacts, &piece))
    return false;
  id_format(c->job.run_id, id);
  snprintf(prefix, sizeof prefix, "/api/v1/runs/%s/artifacts/", id);
  struct uplink_file file = {.method = "PUT",
                             .prefix = prefix,
                             .path = piece.path,
                             .fd = piece.fd,
                             .length = piece.length,
                             .timeout_s = (int)MIN_OF(REQUEST_TIMEOUT_S + piece.length / UPLOAD_BYTES_PER_S, (int64_t)86400)};
  uplink_send_file(c->uplink, &file, on_artifact_taken, c);
  return true;
}

static void on_files_tick(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  c->files_due = true;
  arm(c->files_tick, FILES_EVERY_MS);
  advance(c);
}

static void on_verdict(void *ctx, int status, struct str body) {
  struct companion *c = ctx;
  if (status == 409)
    be_fenced(c);
  else if (status == 200)
    obey(c, body);
  c->verdict_retry_ms = status == 200 ? 0 : MIN_OF(MAX_OF(c->verdict_retry_ms * 2, (int64_t)RETRY_MIN_MS), (int64_t)VERDICT_RETRY_MAX_MS);
  if (c->phase < PHASE_REPORT && !c->fenced)
    arm(c->retry_verdict, c->phase >= PHASE_DRAIN ? ALIVE_EVERY_MS : c->verdict_retry_ms);
  advance(c);
}

static void ask_verdict(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  char path[64];
  snprintf(path, sizeof path, "/verdict?wait=%d", VERDICT_WAIT_S);
  if (!uplink_is_busy(c->verdict) && (c->phase < PHASE_DRAIN || c->phase == PHASE_COLLECT)) /* then it says that we live */
    uplink_send(c->verdict, "GET", path, STR(""), VERDICT_WAIT_S + 10, on_verdict, c);
}

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
  advance(c);
}

/* ---- deciding what comes next ---- */

static bool job_is_over(const struct companion *c) {
  bool ended = c->start_error[0] || c->command_ended;
  return ended && !process_any_alive(&c->process);
}

/* Looks at everything and starts what can be started. Called after every event. */
static void advance(struct companion *c) {
  if (c->phase < PHASE_DRAIN && job_is_over(c)) {
    event_del(c->ladder);
    drain_tty(c);
    enter_phase(c, c->fenced ? PHASE_DONE : PHASE_DRAIN);
    if (c->phase == PHASE_DRAIN && !c->ended_before.n)
      note_exit(c);
  }
  if (c->phase == PHASE_DONE) {
    event_base_loopbreak(c->base);
    return;
  }
  if (uplink_is_busy(c->uplink) || evtimer_pending(c->retry, NULL))
    return;
  if (c->fenced) {
    if (c->phase >= PHASE_DRAIN) {
      enter_phase(c, PHASE_DONE);
      event_base_loopbreak(c->base);
    }
    return;
  }
  bool over = c->phase >= PHASE_DRAIN;
  if (over ? c->samples.count > 0 : c->heartbeat_due) {
    tell_heartbeat(c);
  } else if (!send_something(c) && c->phase >= PHASE_DRAIN) {
    if (c->phase == PHASE_DRAIN)
      begin_collecting(c);
    if (send_artifact(c))
      return;
    enter_phase(c, PHASE_REPORT);
    tell_exit(c);
  }
}

/* The job is over and its whole attempt was removed: nobody will ever want to know. */
static bool is_forgotten(const struct companion *c) {
  return c->phase >= PHASE_DRAIN && access(c->job.dir, F_OK) != 0 && errno == ENOENT;
}

static void on_retry(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  if (is_forgotten(c))
    enter_phase(c, PHASE_DONE);
  advance(c);
}

static void on_grow(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  advance(ctx);
}

static void on_poll_growth(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  arm(c->poll_growth, GROWTH_POLL_MS);
  advance(c);
}

/* By a signal for each write into our directory. Not inotify: a user has 128 instances of it, and there may be a thousand of us. */
static void watch_growth(struct companion *c) {
  c->dir_fd = open(c->job.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  event_add(c->on_grow, NULL);
  if (c->dir_fd < 0 || fcntl(c->dir_fd, F_NOTIFY, DN_MODIFY | DN_MULTISHOT) != 0)
    arm(c->poll_growth, GROWTH_POLL_MS);
}

static void keep_spool_bounded(struct companion *c) {
  int64_t waiting = spool_waiting(&c->streams[0]) + spool_waiting(&c->streams[1]);
  if (c->job.spool_max <= 0)
    return;
  if (c->job.spool_policy == SPOOL_CUT) {
    for (size_t i = 0; i < ARRAY_LEN(c->streams) && waiting > c->job.spool_max; i++)
      if (!uplink_is_busy(c->uplink))
        spool_cut(&c->streams[i], c->job.spool_max / 2);
  } else if (!c->frozen && waiting > c->job.spool_max && c->phase == PHASE_RUNNING) {
    say("output waits: the job is frozen");
    c->frozen = true;
    process_signal(&c->process, SIGSTOP);
  } else if (c->frozen && waiting < c->job.spool_max / 2) {
    thaw(c);
  }
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
    end_job(c, "time_limit", c->job.stop_grace_ms);
  if (c->job.memory_limit && usage.rss_bytes > c->job.memory_limit)
    end_job(c, "memory_limit", 0);
}

static void on_tick(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  struct companion *c = ctx;
  bool limits = c->job.time_limit_ms || c->job.memory_limit;
  keep_limits(c);
  keep_spool_bounded(c);
  if (now_ms() - c->last_heartbeat_ms >= c->job.heartbeat_ms)
    c->heartbeat_due = true;
  arm(c->tick, limits ? SAMPLE_LIMIT_MS : MIN_OF(c->job.heartbeat_ms, (int64_t)5000));
  advance(c);
}

/* ---- the beginning ---- */

static bool read_job(struct companion *c, const char *path, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(JOB_FILE_MAX);
  arena_init(&c->arena, (size_t)JOB_FILE_MAX * 4);
  return file_read(path, &text, err) && job_file_read(buf_str(&text), &c->arena, &c->job, err);
}

/* The lock that says we live: the service's, which it handed to us, or one of our own. Its descriptor stays open for ever. */
static bool hold_lock(const struct companion *c, int lock_fd, struct err *err) {
  char path[4200];
  snprintf(path, sizeof path, "%s/companion.lock", c->job.dir);
  if (lock_fd < 0)
    lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock_fd < 0 || flock(lock_fd, LOCK_EX | LOCK_NB) != 0 || fcntl(lock_fd, F_SETFD, FD_CLOEXEC) != 0)
    return err_errno(err, errno, "another companion has this attempt: cannot lock %s", path);
  char pid[32];
  int n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
  if (ftruncate(lock_fd, 0) != 0 || pwrite(lock_fd, pid, (size_t)n, 0) != n)
    return err_errno(err, errno, "cannot write %s", path);
  return true;
}

/* A session of our own, our own log, and the lock. */
static bool settle(const struct companion *c, int lock_fd, struct err *err) {
  char path[4200];
  setsid();
  snprintf(path, sizeof path, "%s/companion.log", c->job.dir);
  int log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (log_fd < 0 || null_fd < 0)
    return err_errno(err, errno, "cannot open %s", path);
  if (!hold_lock(c, lock_fd, err))
    return false;
  dup2(null_fd, 0);
  dup2(null_fd, 1);
  dup2(log_fd, 2);
  close(log_fd);
  close(null_fd);
  return true;
}

static bool make_parts(struct companion *c, struct err *err) {
  static char prefix[128];
  char id[ID_HEX_LEN + 1];
  id_format(c->job.run_id, id);
  snprintf(prefix, sizeof prefix, "/api/v1/companion/%s/%lld", id, (long long)c->job.attempt);
  c->uplink_config = (struct uplink_config){c->job.endpoint_file, c->job.token, prefix};
  c->base = event_base_new();
  if (!c->base)
    return err_no_memory(err);
  c->uplink = uplink_new(c->base, &c->uplink_config);
  c->verdict = uplink_new(c->base, &c->uplink_config);
  c->on_child = evsignal_new(c->base, SIGCHLD, on_child, c);
  c->on_term = evsignal_new(c->base, SIGTERM, on_term, c);
  c->on_grow = evsignal_new(c->base, SIGIO, on_grow, c);
  c->poll_growth = evtimer_new(c->base, on_poll_growth, c);
  c->tick = evtimer_new(c->base, on_tick, c);
  c->retry = evtimer_new(c->base, on_retry, c);
  c->retry_verdict = evtimer_new(c->base, ask_verdict, c);
  c->ladder = evtimer_new(c->base, on_ladder, c);
  c->sync_exit = evtimer_new(c->base, sync_exit, c);
  c->files_tick = evtimer_new(c->base, on_files_tick, c);
  if (!c->uplink || !c->verdict || !c->on_child || !c->on_term || !c->on_grow || !c->poll_growth || !c->tick || !c->retry ||
      !c->retry_verdict || !c->ladder || !c->sync_exit || !c->files_tick)
    return err_no_memory(err);
  for (size_t i = 0; i < ARRAY_LEN(c->streams); i++) {
    const char *name = i ? "stderr" : "stdout";
    if (!spool_open(&c->streams[i], c->job.dir, name, err))
      return false;
  }
  event_add(c->on_child, NULL);
  event_add(c->on_term, NULL);
  watch_growth(c);
  return true;
}

/* The command's two descriptors. */
static bool open_output(struct companion *c, int *ret_out, int *ret_err, struct err *err) {
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

static void start_command(struct companion *c) {
  struct err err;
  int out, error;
  c->begun_ms = clock_wall_ms(&clock_system);
  c->begun_mono_ms = now_ms();
  samples_begin(&c->samples, c->begun_mono_ms);
  process_note_oom(&c->process);
  bool started = open_output(c, &out, &error, &err) && process_start(&c->process, &c->job, out, error, &err);
  tty_started(&c->tty);
  if (started) {
    say("started process %d", (int)c->process.pid);
    return;
  }
  snprintf(c->start_error, sizeof c->start_error, "%s%s%s", err.text, err.hint[0] ? "; " : "", err.hint);
  for (char *p = c->start_error; *p; p++)
    if (*p == '\n')
      *p = ' ';
  c->ended_ms = c->begun_ms;
  say("%s", c->start_error);
}

/* The job is over: an earlier companion has seen its end, and died before all was told. */
static void take_over(struct companion *c) {
  say("what an earlier companion left is brought home");
  c->command_ended = true;
  for (size_t i = 0; i < ARRAY_LEN(c->streams); i++)
    spool_resume(&c->streams[i]);
}

int main(int argc, char **argv) {
  struct companion *c = &self;
  struct err err;
  int64_t lock_fd = -1;
  if (argc < 2 || argc > 3 || (argc == 3 && (!str_to_i64(str_of(argv[2]), &lock_fd) || lock_fd < 3 || lock_fd > 1000))) {
    fprintf(stderr, "usage: winnow-exec JOB-FILE [LOCK-DESCRIPTOR] (started by `winnow serve`, for one attempt of a run)\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  if (!read_job(c, argv[1], &err) || !settle(c, (int)lock_fd, &err) || !make_parts(c, &err)) {
    say("%s", err.text);
    return 1;
  }
  c->retry_ms = RETRY_MIN_MS;
  c->last_heartbeat_ms = now_ms();
  process_become_subreaper();
  uint64_t generation = 0; /* of metric files: one that comes later has to be greater */
  if (exit_file_read(c->job.dir, &c->ended_before, &c->begun_ms)) {
    take_over(c);
    generation = (uint64_t)clock_wall_ms(&clock_system);
  } else {
    start_command(c);
  }
  arm(c->tick, SAMPLE_LIMIT_MS);
  arm(c->retry_verdict, FIRST_VERDICT_MS);
  c->files = c->job.file_count && !c->start_error[0] ? metric_files_new(&c->job, c->begun_ms, generation) : NULL;
  if (c->files)
    arm(c->files_tick, FILES_EVERY_MS);
  advance(c);
  if (c->phase != PHASE_DONE)
    event_base_dispatch(c->base);
  process_release(&c->process);
  metric_files_free(c->files);
  artifacts_free(c->artifacts);
  for (size_t i = 0; i < ARRAY_LEN(c->streams); i++)
    spool_close(&c->streams[i]);
  say("done");
  return 0;
}
