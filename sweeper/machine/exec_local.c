#include "sweeper/machine/exec_local.h"

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
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "sweeper/machine/leftovers.h"

enum { ATTEMPTS_MAX = 100000, EXIT_FILE_MAX = 64 * 1024, KEY_BYTES = 20, COMING_MS = 20, AGAIN_MS = 100, LOCK_FD = 3, PATH_SIZE = 4096 };

struct exec_local {
  struct loop *loop;
  struct exec_local_conf conf;
  exec_gone_fn *on_gone;
  void *ctx;
  struct map attempts; /* by run and attempt */
  struct leftovers *leftovers;
  struct run_dirs *dirs;
};

struct attempt {
  struct exec_local *executor;
  struct id run;
  int32_t number;
  pid_t pid;
  bool is_child; /* ours to reap; else an earlier service's */
  int pid_fd;
  struct loop_io *io;
  struct loop_timer *coming; /* it holds the lock, and has not said its process id yet */
  struct loop_timer *again;  /* it is gone, and for want of memory or descriptors nobody could look how */
  struct loop_defer gone;
};

static struct str attempt_key(struct id run, int32_t number, char out[KEY_BYTES]) {
  memcpy(out, run.bytes, sizeof run.bytes);
  memcpy(out + sizeof run.bytes, &number, sizeof number);
  return str_n(out, KEY_BYTES);
}

void exec_local_path(const struct exec_local *executor, struct id run, int32_t attempt, const char *what, struct buf *out) {
  run_dirs_path(executor->dirs, run, attempt, what, out);
}

static void on_nothing_left(void *ctx, struct id run, int32_t attempt);

struct exec_local *exec_local_new(struct loop *loop, const struct exec_local_conf *conf, exec_gone_fn *on_gone, void *ctx,
                                  struct err *err) {
  struct exec_local *executor = mem_zalloc(sizeof *executor);
  if (!executor) {
    err_no_memory(err);
    return NULL;
  }
  *executor = (struct exec_local){.loop = loop, .conf = *conf, .on_gone = on_gone, .ctx = ctx};
  map_init(&executor->attempts, ATTEMPTS_MAX);
  executor->leftovers = leftovers_new(loop, conf->work, on_nothing_left, executor, err);
  executor->dirs = executor->leftovers ? run_dirs_new(conf->data_dir, err) : NULL;
  if (!executor->dirs) {
    exec_local_free(executor);
    return NULL;
  }
  return executor;
}

static void attempt_free(struct attempt *attempt) {
  loop_defer_cancel(&attempt->gone);
  loop_io_free(attempt->io);
  loop_timer_free(attempt->coming);
  loop_timer_free(attempt->again);
  fd_close(&attempt->pid_fd);
  mem_free(attempt);
}

void exec_local_forget_all(struct exec_local *executor) {
  struct str key;
  void *value;
  for (size_t cursor = 0; map_next(&executor->attempts, &cursor, &key, &value);)
    attempt_free(value);
  map_release(&executor->attempts);
  map_init(&executor->attempts, ATTEMPTS_MAX);
}

void exec_local_free(struct exec_local *executor) {
  if (!executor)
    return;
  exec_local_forget_all(executor);
  leftovers_free(executor->leftovers);
  run_dirs_free(executor->dirs);
  mem_free(executor);
}

size_t exec_local_count(const struct exec_local *executor) {
  return executor->attempts.count;
}

/* ---- its end ---- */

static void tell(struct attempt *attempt, struct str exit_text) {
  struct exec_local *executor = attempt->executor;
  struct id run = attempt->run;
  int32_t number = attempt->number;
  char key[KEY_BYTES];
  map_remove(&executor->attempts, attempt_key(run, number, key));
  attempt_free(attempt);
  executor->on_gone(executor->ctx, run, number, exit_text);
}

static void on_nothing_left(void *ctx, struct id run, int32_t number) {
  const struct exec_local *executor = ctx;
  char key[KEY_BYTES];
  struct attempt *attempt = map_get(&executor->attempts, attempt_key(run, number, key));
  if (attempt)
    tell(attempt, STR_NONE);
}

/* A companion that ended in disorder may have left its job behind: nobody watches it any more, and it holds its files and locks. */
static void gone(void *ctx) {
  struct attempt *attempt = ctx;
  AUTO_BUF struct buf path = BUF_INIT(4096), text = BUF_INIT(EXIT_FILE_MAX);
  struct err err;
  if (attempt->is_child)
    waitpid(attempt->pid, NULL, WNOHANG);
  attempt->is_child = false;
  exec_local_path(attempt->executor, attempt->run, attempt->number, "exit", &path);
  bool is_read = buf_ok(&path, &err) && file_read(buf_text(&path), &text, &err);
  if (is_read && text.n) /* it is empty where the machine went down just after it was written */
    tell(attempt, buf_str(&text));
  else if ((!is_read && err_is_shortage(&err)) || !leftovers_end(attempt->executor->leftovers, attempt->run, attempt->number, &err))
    loop_timer_start(attempt->again, AGAIN_MS);
}

static void on_pid_ready(void *ctx, int fd UNUSED, unsigned ready UNUSED) {
  struct attempt *attempt = ctx;
  loop_io_set(attempt->io, 0);
  loop_defer(attempt->executor->loop, &attempt->gone, gone, attempt);
}

/* ---- watching ---- */

bool exec_local_job_is_over(const struct exec_local *executor, struct id run, int32_t number) {
  AUTO_BUF struct buf path = BUF_INIT(PATH_SIZE);
  exec_local_path(executor, run, number, "exit", &path);
  return !path.fail && access(buf_text(&path), F_OK) == 0;
}

bool exec_local_is_told(const struct exec_local *executor, struct id run, int32_t number) {
  AUTO_BUF struct buf path = BUF_INIT(PATH_SIZE), lock = BUF_INIT(KIB);
  struct err none;
  exec_local_path(executor, run, number, "companion.lock", &path);
  return !path.fail && file_read(buf_text(&path), &lock, &none) && str_ends(buf_str(&lock), STR("\n" COMPANION_TOLD));
}

static enum exec_holder look_at_lock(const struct exec_local *executor, struct id run, int32_t number, pid_t *ret_pid) {
  AUTO_BUF struct buf path = BUF_INIT(PATH_SIZE);
  char text[32];
  int64_t pid;
  *ret_pid = 0;
  exec_local_path(executor, run, number, "companion.lock", &path);
  if (path.fail)
    return EXEC_COMING;
  AUTO_FD int fd = open(buf_text(&path), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0)
    return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? EXEC_COMING : EXEC_NEVER;
  bool free = flock(fd, LOCK_EX | LOCK_NB) == 0; /* before its id is read: one that is dead cannot write it any more */
  ssize_t n = pread(fd, text, sizeof text, 0);
  struct str said_so = str_n(text, (size_t)MAX_OF(n, (ssize_t)0)), id = STR_NONE;
  bool said = str_split(&said_so, '\n', &id) && str_to_i64(id, &pid) && pid > 1;
  if (said)
    *ret_pid = (pid_t)pid;
  if (free && !said && exec_local_job_is_over(executor, run, number)) /* of one that was to bring home what was left */
    return EXEC_DEAD;
  return free ? said ? EXEC_DEAD : EXEC_NEVER : said ? EXEC_LIVES : EXEC_COMING;
}

bool exec_local_has_directory(const struct exec_local *executor, struct id run, int32_t attempt) {
  AUTO_BUF struct buf path = BUF_INIT(PATH_SIZE);
  exec_local_path(executor, run, attempt, "", &path);
  return path.fail || access(buf_text(&path), F_OK) == 0 || errno != ENOENT;
}

bool exec_local_was_started(const struct exec_local *executor, struct id run, int32_t attempt) {
  pid_t pid;
  return look_at_lock(executor, run, attempt, &pid) != EXEC_NEVER;
}

static bool watch_pid(struct attempt *attempt, pid_t pid, struct err *err) {
  attempt->pid = pid;
  fd_close(&attempt->pid_fd);
  attempt->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (attempt->pid_fd < 0 && errno != ESRCH)
    return err_errno(err, errno, "cannot watch process %d", (int)pid);
  pid_t ignored;
  if (!attempt->is_child && look_at_lock(attempt->executor, attempt->run, attempt->number, &ignored) == EXEC_DEAD)
    fd_close(&attempt->pid_fd); /* it died before it was opened: by now the id may be somebody else's */
  if (attempt->pid_fd < 0) {
    loop_defer(attempt->executor->loop, &attempt->gone, gone, attempt);
    return true;
  }
  attempt->io = loop_io_new(attempt->executor->loop, attempt->pid_fd, LOOP_READ, on_pid_ready, attempt);
  return attempt->io || err_no_memory(err);
}

/* Watches the holder of the lock, whoever that is by now. */
static bool watch_holder(struct attempt *attempt, struct err *err) {
  pid_t pid;
  switch (look_at_lock(attempt->executor, attempt->run, attempt->number, &pid)) {
  case EXEC_LIVES:
    return watch_pid(attempt, pid, err);
  case EXEC_COMING:
    loop_timer_start(attempt->coming, COMING_MS);
    return true;
  case EXEC_DEAD:
  case EXEC_NEVER:
    break;
  }
  loop_defer(attempt->executor->loop, &attempt->gone, gone, attempt);
  return true;
}

static void on_coming(void *ctx) {
  struct attempt *attempt = ctx;
  struct err err;
  if (!watch_holder(attempt, &err))
    loop_timer_start(attempt->coming, COMING_MS);
}

static bool attempt_add(struct exec_local *executor, struct id run, int32_t number, struct attempt **ret, struct err *err) {
  struct attempt *attempt = mem_zalloc(sizeof *attempt);
  char key[KEY_BYTES];
  if (!attempt)
    return err_no_memory(err);
  *attempt = (struct attempt){.executor = executor, .run = run, .number = number, .pid_fd = -1};
  attempt->coming = loop_timer_new(executor->loop, on_coming, attempt);
  attempt->again = loop_timer_new(executor->loop, gone, attempt);
  if (attempt->coming && attempt->again && map_put(&executor->attempts, attempt_key(run, number, key), attempt, NULL)) {
    *ret = attempt;
    return true;
  }
  attempt_free(attempt);
  return err_set(err, ERR_LIMIT, "no room to watch another attempt");
}

static void attempt_drop(struct attempt *attempt) {
  char key[KEY_BYTES];
  map_remove(&attempt->executor->attempts, attempt_key(attempt->run, attempt->number, key));
  attempt_free(attempt);
}

/* ---- what lies here ---- */

/* A directory that is not there has nothing in it. */
static bool open_dir(const char *path, DIR **ret, struct err *err) {
  *ret = opendir(path);
  return *ret || errno == ENOENT || errno == ENOTDIR || err_errno(err, errno, "cannot read %s", path);
}

static bool each_of_run(const struct exec_local *executor, const char *dir_path, struct id run, exec_found_fn *fn, void *ctx,
                        struct err *err) {
  bool any = false;
  DIR *dir;
  int64_t number;
  pid_t pid;
  if (!open_dir(dir_path, &dir, err)) {
    if (err_is_shortage(err))
      return false;
    log_warn("sweep", NULL, "what may lie of a run is not looked at: %s", err->text); /* it would keep all others waiting for ever */
  }
  for (struct dirent *entry; dir && (entry = readdir(dir));) {
    if (!str_to_i64(str_of(entry->d_name), &number) || number <= 0 || number > INT32_MAX)
      continue;
    const struct exec_attempt found = {run, (int32_t)number, look_at_lock(executor, run, (int32_t)number, &pid)};
    any = true;
    fn(ctx, &found);
  }
  if (dir)
    closedir(dir);
  if (!any)
    run_dirs_remove_empty(executor->dirs, run);
  return true;
}

bool exec_local_each(const struct exec_local *executor, exec_found_fn *fn, void *ctx, struct err *err) {
  char jobs[PATH_SIZE], run_path[PATH_SIZE + 256];
  struct id run;
  DIR *dir;
  bool ok = true;
  snprintf(jobs, sizeof jobs, "%s/jobs", executor->conf.data_dir);
  if (!open_dir(jobs, &dir, err))
    return false;
  for (struct dirent *entry; ok && dir && (entry = readdir(dir));) {
    snprintf(run_path, sizeof run_path, "%s/%s", jobs, entry->d_name);
    ok = !id_parse(str_of(entry->d_name), &run) || each_of_run(executor, run_path, run, fn, ctx, err);
  }
  if (dir)
    closedir(dir);
  return ok;
}

bool exec_local_job(const struct exec_local *executor, struct id run, int32_t attempt, struct arena *arena, struct job_file *ret,
                    struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(PATH_SIZE), text = BUF_INIT(JOB_FILE_MAX);
  exec_local_path(executor, run, attempt, "job", &path);
  bool ok = buf_ok(&path, err) && file_read(buf_text(&path), &text, err) && job_file_read(buf_str(&text), arena, ret, err);
  mem_wipe(text.p, text.n);
  return ok;
}

bool exec_local_watches(const struct exec_local *executor, struct id run, int32_t number) {
  char key[KEY_BYTES];
  return map_get(&executor->attempts, attempt_key(run, number, key)) != NULL;
}

bool exec_local_adopt(struct exec_local *executor, struct id run, int32_t number, struct err *err) {
  struct attempt *attempt;
  if (exec_local_watches(executor, run, number))
    return true;
  if (!attempt_add(executor, run, number, &attempt, err))
    return false;
  on_coming(attempt);
  return true;
}

static bool send_signal(const struct attempt *attempt, int signal_number) {
  return attempt->pid_fd >= 0 && syscall(SYS_pidfd_send_signal, attempt->pid_fd, signal_number, NULL, 0) == 0;
}

void exec_local_signal(struct exec_local *executor, struct id run, int32_t number, int signal_number) {
  char key[KEY_BYTES];
  const struct attempt *attempt = map_get(&executor->attempts, attempt_key(run, number, key));
  if (attempt)
    send_signal(attempt, signal_number);
}

size_t exec_local_signal_running(struct exec_local *executor, int signal_number) {
  size_t cursor = 0, count = 0;
  struct str key;
  void *value;
  while (map_next(&executor->attempts, &cursor, &key, &value)) {
    const struct attempt *attempt = value;
    if (!exec_local_job_is_over(executor, attempt->run, attempt->number) && send_signal(attempt, signal_number))
      count++;
  }
  return count;
}

/* ---- the directory ---- */

bool exec_local_make(const struct exec_local *executor, struct id run, int32_t attempt, const struct exec_tree *tree, struct err *err) {
  return run_dirs_make(executor->dirs, run, attempt, tree, err);
}

struct tidying {
  struct work work;
  struct run_dirs *dirs;
  struct id run;
  int32_t attempt;
};

static void run_tidying(struct work *work) {
  struct err err;
  const struct tidying *tidying = CONTAINER_OF(work, struct tidying, work);
  if (!run_dirs_remove(tidying->dirs, tidying->run, tidying->attempt, &err))
    log_warn("exec", NULL, "the directory of an attempt was not removed: %s", err.text);
}

static void tidied(struct work *work, bool cancelled UNUSED) {
  mem_free(CONTAINER_OF(work, struct tidying, work));
}

bool exec_local_tidy(struct exec_local *executor, struct id run, int32_t attempt, struct err *err) {
  struct err ignored; /* then it is done here */
  struct tidying *tidying = executor->conf.work ? mem_zalloc(sizeof *tidying) : NULL;
  if (tidying) {
    *tidying = (struct tidying){{.run = run_tidying, .done = tidied}, executor->dirs, run, attempt};
    if (work_submit(executor->conf.work, &tidying->work, &ignored))
      return true;
    mem_free(tidying);
  }
  return run_dirs_remove(executor->dirs, run, attempt, err);
}

/* ---- starting ---- */

static bool write_new(const char *path, struct str text, struct err *err) {
  AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  return (fd >= 0 || err_errno(err, errno, "cannot write %s", path)) && fd_write_all(fd, text.p, text.n, err);
}

bool exec_local_put(const struct exec_local *executor, struct id run, int32_t attempt, const char *name, struct str text, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(PATH_SIZE);
  exec_local_path(executor, run, attempt, name, &path);
  return buf_ok(&path, err) && write_new(buf_text(&path), text, err);
}

static bool write_job(struct job_file *job, const char *path, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(JOB_FILE_MAX);
  job_file_write(job, &text);
  bool ok = buf_ok(&text, err) && write_new(path, buf_str(&text), err);
  mem_wipe(text.p, text.n);
  return ok;
}

static bool write_job_there(struct job_file *job, struct buf *dir, struct buf *endpoint, const char *path, struct err *err) {
  job->dir = buf_text(dir);
  job->endpoint_file = buf_text(endpoint);
  bool ok = write_job(job, path, err);
  job->dir = job->endpoint_file = NULL;
  return ok;
}

/* The companion has the lock from its first moment on, under the same open file as we. `how`: O_EXCL for the first one of the attempt; a
 * later one takes the place of one that is dead, whose id goes. */
static int take_lock(const char *dir, int how, struct err *err) {
  char path[PATH_SIZE + 32];
  snprintf(path, sizeof path, "%s/companion.lock", dir);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | how, 0600);
  if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && ftruncate(fd, 0) == 0)
    return fd;
  err_errno(err, errno, "cannot lock %s", path);
  fd_close(&fd);
  return -1;
}

static bool spawn(const struct attempt *attempt, const char *job_path, int lock, pid_t *ret_pid, struct err *err) {
  struct leftover_marks marks;
  leftover_marks_make(&marks, attempt->run, attempt->number);
  const char *companion = attempt->executor->conf.companion;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, lock, LOCK_FD);
  char name[] = "winnow-exec", lock_text[] = "3";
  char *argv[] = {name, (char *)(uintptr_t)job_path, lock_text, NULL};
  char *environment[] = {marks.run, marks.attempt, NULL}; /* what the job gets stands in its file */
  int failed = posix_spawn(ret_pid, companion, &actions, &attributes, argv, environment);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return !failed || err_errno(err, failed, "cannot start %s", companion);
}

/* `job` is written; NULL: it is there. */
static bool launch(struct attempt *attempt, struct job_file *job, struct err *err) {
  const struct exec_local *executor = attempt->executor;
  AUTO_BUF struct buf dir = BUF_INIT(PATH_SIZE), job_path = BUF_INIT(PATH_SIZE), endpoint = BUF_INIT(PATH_SIZE);
  pid_t pid;
  exec_local_path(executor, attempt->run, attempt->number, "", &dir);
  buf_printf(&job_path, "%s/job", buf_text(&dir));
  buf_printf(&endpoint, "%s/endpoint", executor->conf.data_dir);
  if (!buf_ok(&dir, err) || !buf_ok(&job_path, err) || !buf_ok(&endpoint, err))
    return false;
  bool ok = !job || write_job_there(job, &dir, &endpoint, buf_text(&job_path), err);
  AUTO_FD int lock = ok ? take_lock(buf_text(&dir), job ? O_EXCL : 0, err) : -1;
  ok = lock >= 0 && spawn(attempt, buf_text(&job_path), lock, &pid, err);
  if (!ok)
    return false;
  attempt->is_child = true;
  struct err ignored; /* it runs: it is found by its lock, which it holds */
  if (!watch_pid(attempt, pid, &ignored))
    loop_timer_start(attempt->coming, COMING_MS);
  return true;
}

static bool start(struct exec_local *executor, struct id run, int32_t number, struct job_file *job, struct err *err) {
  struct attempt *attempt;
  if (!attempt_add(executor, run, number, &attempt, err))
    return false;
  if (launch(attempt, job, err))
    return true;
  attempt_drop(attempt);
  return false;
}

bool exec_local_start(struct exec_local *executor, struct job_file *job, struct err *err) {
  return start(executor, job->run_id, (int32_t)job->attempt, job, err);
}

bool exec_local_finish(struct exec_local *executor, struct id run, int32_t attempt, struct err *err) {
  return start(executor, run, attempt, NULL, err);
}

/* The job file was written just before the start. */
static bool put_lost_note(const char *job_path, struct buf *out, struct err *err) {
  struct stat st;
  if (stat(job_path, &st) != 0)
    return err_errno(err, errno, "cannot find %s", job_path);
  buf_printf(out, "lost 1\nbegun_ms %lld\nended_ms %lld\n", (long long)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000,
             (long long)clock_wall_ms(&clock_system));
  return buf_ok(out, err);
}

bool exec_local_note_lost(const struct exec_local *executor, struct id run, int32_t attempt, struct buf *ret_text, struct err *err) {
  AUTO_BUF struct buf job = BUF_INIT(PATH_SIZE), note = BUF_INIT(PATH_SIZE), beside = BUF_INIT(PATH_SIZE);
  exec_local_path(executor, run, attempt, "job", &job);
  exec_local_path(executor, run, attempt, "exit", &note);
  exec_local_path(executor, run, attempt, "exit.new", &beside);
  if (!buf_ok(&job, err) || !buf_ok(&note, err) || !buf_ok(&beside, err) || !put_lost_note(buf_text(&job), ret_text, err))
    return false;
  unlink(buf_text(&beside)); /* of a companion that died while it wrote */
  return write_new(buf_text(&beside), buf_str(ret_text), err) &&
         (rename(buf_text(&beside), buf_text(&note)) == 0 || err_errno(err, errno, "cannot write %s", buf_text(&note)));
}
