#include "sweeper/exec_local.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

enum { ATTEMPTS_MAX = 100000, EXIT_FILE_MAX = 64 * 1024, KEY_BYTES = 20 };

struct exec_local {
  struct loop *loop;
  struct exec_local_conf conf;
  exec_gone_fn *on_gone;
  void *ctx;
  struct map attempts; /* by run and attempt */
};

struct attempt {
  struct exec_local *executor;
  struct id run;
  int32_t number;
  pid_t pid;
  bool is_child; /* ours to reap; else an earlier service's */
  int pid_fd;
  struct loop_io *io;
  struct loop_defer gone;
};

static struct str attempt_key(struct id run, int32_t number, char out[KEY_BYTES]) {
  memcpy(out, run.bytes, sizeof run.bytes);
  memcpy(out + sizeof run.bytes, &number, sizeof number);
  return str_n(out, KEY_BYTES);
}

void exec_local_path(const struct exec_local *executor, struct id run, int32_t attempt, const char *what, struct buf *out) {
  char id[ID_HEX_LEN + 1];
  id_format(run, id);
  if (strcmp(what, "checkpoint") == 0)
    buf_printf(out, "%s/jobs/%s/checkpoint", executor->conf.data_dir, id);
  else
    buf_printf(out, "%s/jobs/%s/%d%s%s", executor->conf.data_dir, id, (int)attempt, what[0] ? "/" : "", what);
}

struct exec_local *exec_local_new(struct loop *loop, const struct exec_local_conf *conf, exec_gone_fn *on_gone, void *ctx,
                                  struct err *err) {
  struct exec_local *executor = mem_zalloc(sizeof *executor);
  AUTO_BUF struct buf jobs = BUF_INIT(4096);
  if (!executor) {
    err_no_memory(err);
    return NULL;
  }
  *executor = (struct exec_local){.loop = loop, .conf = *conf, .on_gone = on_gone, .ctx = ctx};
  map_init(&executor->attempts, ATTEMPTS_MAX);
  buf_printf(&jobs, "%s/jobs", conf->data_dir);
  if (!buf_ok(&jobs, err) || !dir_make(buf_text(&jobs), 0700, err)) {
    exec_local_free(executor);
    return NULL;
  }
  return executor;
}

static void attempt_free(struct attempt *attempt) {
  loop_defer_cancel(&attempt->gone);
  loop_io_free(attempt->io);
  fd_close(&attempt->pid_fd);
  mem_free(attempt);
}

void exec_local_free(struct exec_local *executor) {
  if (!executor)
    return;
  struct str key;
  void *value;
  for (size_t cursor = 0; map_next(&executor->attempts, &cursor, &key, &value);)
    attempt_free(value);
  map_release(&executor->attempts);
  mem_free(executor);
}

size_t exec_local_count(const struct exec_local *executor) {
  return executor->attempts.count;
}

/* ---- what a dead companion leaves ---- */

/* Every process of the job carries the run's id and the attempt in its environment. */
static bool belongs(const char *pid, const char *mark_run, const char *mark_attempt) {
  char path[300];
  AUTO_BUF struct buf environment = BUF_INIT(4 * MIB);
  struct err err;
  snprintf(path, sizeof path, "/proc/%s/environ", pid);
  if (!file_read(path, &environment, &err))
    return false;
  struct str rest = buf_str(&environment), variable;
  bool run = false, attempt = false;
  while (str_split(&rest, 0, &variable)) {
    run = run || str_is(variable, mark_run);
    attempt = attempt || str_is(variable, mark_attempt);
  }
  return run && attempt;
}

/* A companion that ended in disorder may have left its job behind: nobody watches it any more. */
static void kill_leftovers(struct id run, int32_t number) {
  char id[ID_HEX_LEN + 1], mark_run[80], mark_attempt[64];
  id_format(run, id);
  snprintf(mark_run, sizeof mark_run, "WINNOW_RUN_ID=%s", id);
  snprintf(mark_attempt, sizeof mark_attempt, "WINNOW_ATTEMPT=%d", (int)number);
  DIR *proc = opendir("/proc");
  if (!proc)
    return;
  for (struct dirent *entry; (entry = readdir(proc));) {
    int64_t pid;
    if (str_to_i64(str_of(entry->d_name), &pid) && pid > 1 && pid != getpid() && belongs(entry->d_name, mark_run, mark_attempt))
      kill((pid_t)pid, SIGKILL);
  }
  closedir(proc);
}

static void tell_gone(void *ctx) {
  struct attempt *attempt = ctx;
  struct exec_local *executor = attempt->executor;
  struct id run = attempt->run;
  int32_t number = attempt->number;
  char key[KEY_BYTES];
  AUTO_BUF struct buf path = BUF_INIT(4096), text = BUF_INIT(EXIT_FILE_MAX);
  struct err err;
  if (attempt->is_child)
    waitpid(attempt->pid, NULL, WNOHANG);
  exec_local_path(executor, run, number, "exit", &path);
  bool known = buf_ok(&path, &err) && file_read(buf_text(&path), &text, &err);
  if (!known)
    kill_leftovers(run, number);
  map_remove(&executor->attempts, attempt_key(run, number, key));
  attempt_free(attempt);
  executor->on_gone(executor->ctx, run, number, known ? buf_str(&text) : STR_NONE);
}

static void on_pid_ready(void *ctx, int fd UNUSED, unsigned ready UNUSED) {
  struct attempt *attempt = ctx;
  loop_io_set(attempt->io, 0);
  loop_defer(attempt->executor->loop, &attempt->gone, tell_gone, attempt);
}

/* ---- watching ---- */

static bool watch(struct exec_local *executor, struct id run, int32_t number, pid_t pid, bool is_child, struct err *err) {
  struct attempt *attempt = mem_zalloc(sizeof *attempt);
  char key[KEY_BYTES];
  if (!attempt)
    return err_no_memory(err);
  *attempt = (struct attempt){.executor = executor, .run = run, .number = number, .pid = pid, .is_child = is_child, .pid_fd = -1};
  if (pid > 0)
    attempt->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (attempt->pid_fd >= 0) {
    fcntl(attempt->pid_fd, F_SETFD, FD_CLOEXEC);
    attempt->io = loop_io_new(executor->loop, attempt->pid_fd, LOOP_READ, on_pid_ready, attempt);
  }
  bool lives = attempt->pid_fd >= 0;
  if ((lives && !attempt->io) || !map_put(&executor->attempts, attempt_key(run, number, key), attempt, NULL)) {
    attempt_free(attempt);
    return err_set(err, ERR_LIMIT, "no room to watch another attempt");
  }
  if (!lives)
    loop_defer(executor->loop, &attempt->gone, tell_gone, attempt);
  return true;
}

/* The process that holds the attempt's lock, or 0. Its id stands in the file; the lock says that it is still the one. */
static pid_t lock_holder(const struct exec_local *executor, struct id run, int32_t number) {
  AUTO_BUF struct buf path = BUF_INIT(4096), text = BUF_INIT(64);
  struct err err;
  int64_t pid;
  exec_local_path(executor, run, number, "companion.lock", &path);
  AUTO_FD int fd = open(buf_text(&path), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0 || !file_read(buf_text(&path), &text, &err))
    return 0;
  return str_to_i64(str_trim(buf_str(&text)), &pid) && pid > 1 ? (pid_t)pid : 0;
}

bool exec_local_adopt(struct exec_local *executor, struct id run, int32_t attempt, struct err *err) {
  return watch(executor, run, attempt, lock_holder(executor, run, attempt), false, err);
}

void exec_local_signal(struct exec_local *executor, struct id run, int32_t number, int signal_number) {
  char key[KEY_BYTES];
  const struct attempt *attempt = map_get(&executor->attempts, attempt_key(run, number, key));
  if (attempt && attempt->pid_fd >= 0)
    syscall(SYS_pidfd_send_signal, attempt->pid_fd, signal_number, NULL, 0);
}

/* ---- starting ---- */

static bool prepare_directory(const struct exec_local *executor, const struct job_file *job, struct buf *dir, struct err *err) {
  AUTO_BUF struct buf checkpoint = BUF_INIT(4096), work = BUF_INIT(4096);
  int32_t number = (int32_t)job->attempt;
  exec_local_path(executor, job->run_id, number, "", dir);
  exec_local_path(executor, job->run_id, number, "work", &work);
  exec_local_path(executor, job->run_id, number, "checkpoint", &checkpoint);
  return buf_ok(dir, err) && buf_ok(&work, err) && buf_ok(&checkpoint, err) && tree_remove(buf_text(dir), err) &&
         dir_make(buf_text(&work), 0700, err) && dir_make(buf_text(&checkpoint), 0700, err);
}

/* Not synced: with the machine goes the job that it describes. */
static bool write_job(struct job_file *job, const char *path, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(JOB_FILE_MAX);
  job_file_write(job, &text);
  AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  bool ok = buf_ok(&text, err) && (fd >= 0 || err_errno(err, errno, "cannot write %s", path)) && fd_write_all(fd, text.p, text.n, err);
  mem_wipe(text.p, text.n);
  return ok;
}

static bool spawn(const struct exec_local *executor, const char *job_path, pid_t *ret_pid, struct err *err) {
  posix_spawnattr_t attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  char name[] = "winnow-exec";
  char *argv[] = {name, (char *)(uintptr_t)job_path, NULL};
  char *environment[] = {NULL}; /* what the job gets stands in its file */
  int failed = posix_spawn(ret_pid, executor->conf.companion, NULL, &attributes, argv, environment);
  posix_spawnattr_destroy(&attributes);
  return !failed || err_errno(err, failed, "cannot start %s", executor->conf.companion);
}

bool exec_local_start(struct exec_local *executor, struct job_file *job, struct err *err) {
  AUTO_BUF struct buf dir = BUF_INIT(4096), job_path = BUF_INIT(4096), endpoint = BUF_INIT(4096);
  pid_t pid;
  if (!prepare_directory(executor, job, &dir, err))
    return false;
  buf_printf(&job_path, "%s/job", buf_text(&dir));
  buf_printf(&endpoint, "%s/endpoint", executor->conf.data_dir);
  if (!buf_ok(&job_path, err) || !buf_ok(&endpoint, err))
    return false;
  job->dir = buf_text(&dir);
  job->endpoint_file = buf_text(&endpoint);
  bool ok = write_job(job, buf_text(&job_path), err) && spawn(executor, buf_text(&job_path), &pid, err);
  job->dir = job->endpoint_file = NULL;
  if (!ok)
    return false;
  if (watch(executor, job->run_id, (int32_t)job->attempt, pid, true, err))
    return true;
  kill(pid, SIGTERM);
  return false;
}

bool exec_local_tidy(struct exec_local *executor, struct id run, int32_t attempt, struct err *err) {
  AUTO_BUF struct buf dir = BUF_INIT(4096), checkpoint = BUF_INIT(4096);
  exec_local_path(executor, run, attempt, "", &dir);
  exec_local_path(executor, run, attempt, "checkpoint", &checkpoint);
  if (!buf_ok(&dir, err) || !buf_ok(&checkpoint, err) || !tree_remove(buf_text(&dir), err))
    return false;
  /* A checkpoint directory that was never used goes, and the run's with it; what holds something stays. */
  if (rmdir(buf_text(&checkpoint)) == 0) {
    buf_cut(&checkpoint, checkpoint.n - strlen("/checkpoint"));
    rmdir(buf_text(&checkpoint));
  }
  return true;
}
