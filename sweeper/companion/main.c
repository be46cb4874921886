/* winnow-exec: runs one attempt of a run. Starts the command, sends its output and heartbeats home, takes the verdict, ends the job with
 * everything it has started, and reports how it ended. It outlives the service and keeps going without it; the spool files hold what has
 * not been sent.
 *
 * What it asks of the service, below /api/v1/companion/<run>/<attempt>, bodies and answers plain text:
 *   POST /output?stream=S&offset=N&skipped=K&age=MS   bytes, seen so long ago   -> the offset from which to go on
 *   POST /file?source=I&path=P&generation=G&offset=N&snapshot=0|1&last=0|1&age=MS   bytes of a metric file, seen so long ago -> the same
 *   POST /heartbeat        `sample ...` lines of usage       -> continue, or stop
 *   GET  /verdict?wait=25                                    -> continue, or stop (as soon as it is known)
 *   PUT  /api/v1/runs/<run>/artifacts/<path>    files that are kept
 *   POST /exited           `name value` lines                -> ok
 * The first verdict is asked for a moment after the start and tells the service that the command runs; a job that is over by then is told
 * as one message, its end.
 * 409, but to a file that is kept, means that the attempt has been superseded: the job is ended and nothing more is said.
 *
 * Once the job is over how it ended is noted before anything else is done. One that is started and finds such a note is there because the
 * one before died on its way: it starts nothing, and brings home what is left. */
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>

#include "base/file.h"
#include "sweeper/companion/companion.h"

static struct companion self = {.tty = {-1, -1}, .ended_before = {.max = 64 * KIB}};

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
  c->base = event_base_new();
  if (!c->base)
    return err_no_memory(err);
  return talk_make(c, err) && ending_make(c, err) && attempt_make(c, err);
}

static void start_command(struct companion *c) {
  struct err err;
  int out, error;
  c->begun_ms = clock_wall_ms(&clock_system);
  c->begun_mono_ms = now_ms();
  samples_begin(&c->samples, c->begun_mono_ms);
  process_note_oom(&c->process);
  bool started = attempt_open_output(c, &out, &error, &err) && process_start(&c->process, &c->job, out, error, &err);
  tty_started(&c->tty);
  if (started) {
    say("started process %d", (int)c->process.pid);
    return;
  }
  snprintf(c->start_error, sizeof c->start_error, "%s%s%s", err.text, err.hint[0] ? "; " : "", err.hint);
  c->ended_ms = c->begun_ms;
  say("%s", c->start_error);
}

/* The job is over: an earlier companion has seen its end, and died before all was told. */
static void take_over(struct companion *c) {
  say("what an earlier companion left is brought home");
  c->command_ended = true;
  process_take_over(&c->process, &c->job);
  int64_t now = now_ms(), wall = clock_wall_ms(&clock_system);
  for (size_t i = 0; i < ARRAY_LEN(c->streams); i++) {
    spool_resume(&c->streams[i], c->job.dir, now, wall);
    int64_t printed = MIN_OF(c->ended_ms, spool_written_ms(&c->streams[i])); /* nothing is newer than the end, nor than its last write */
    spool_note(&c->streams[i], now - MAX_OF(wall - printed, (int64_t)0));
  }
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
  signal(SIGXFSZ, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  if (!read_job(c, argv[1], &err) || !settle(c, (int)lock_fd, &err) || !make_parts(c, &err)) {
    say("%s", err.text);
    return 1;
  }
  process_become_subreaper();
  uint64_t generation = 0;
  if (exit_file_is_there(c->job.dir)) { /* whatever it says: nothing is run a second time */
    if (!exit_file_read(c->job.dir, &c->ended_before, &c->begun_ms, &c->ended_ms, &err)) {
      say("%s", err.text);
      return 1;
    }
    take_over(c);
    generation = (uint64_t)clock_wall_ms(&clock_system);
  } else {
    start_command(c);
  }
  attempt_begin(c);
  talk_begin(c, generation);
  attempt_advance(c);
  if (c->phase != PHASE_DONE)
    event_base_dispatch(c->base);
  process_release(&c->process);
  metric_files_free(c->files);
  artifacts_free(c->artifacts);
  for (size_t i = 0; i < ARRAY_LEN(c->streams); i++)
    spool_close(&c->streams[i]);
  return 0;
}
