#include "storage/pg/subproc.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"

enum { STOP_LOOK_MS = 50, STOP_GRACE_MS = 3000 };

bool run_as_find(const char *name, struct run_as *ret, struct err *err) {
  struct run_as found = {.uid = geteuid(), .gid = getegid()};
  static const char *const usual[] = {"winnow", "postgres", "nobody"};
  char room[4096];
  struct passwd entry, *user = NULL;
  if (geteuid() != 0) {
    if (name && (getpwnam_r(name, &entry, room, sizeof room, &user) != 0 || !user || user->pw_uid != geteuid()))
      return err_set(err, ERR_FORBIDDEN, "only root can run the database as another user (%s)", name);
    *ret = found;
    return true;
  }
  for (size_t i = 0; !user && i < (name ? 1 : ARRAY_LEN(usual)); i++)
    if (getpwnam_r(name ? name : usual[i], &entry, room, sizeof room, &user) != 0)
      user = NULL;
  if (!user || user->pw_uid == 0) {
    err_set(err, ERR_NOT_FOUND, name ? "there is no unprivileged user \"%s\"" : "there is no unprivileged user%s", name ? name : "");
    return err_hint(err, "Postgres does not run as root: useradd --system winnow");
  }
  found.drop = true;
  found.uid = user->pw_uid;
  found.gid = user->pw_gid;
  snprintf(found.name, sizeof found.name, "%s", user->pw_name);
  *ret = found;
  return true;
}

/* As the third descriptor, which SUBPROC_DIR names. */
static bool hold_dir(const char *dir) {
  enum { AT = 3 };
  int fd = open(dir, O_PATH | O_DIRECTORY);
  return fd >= 0 && dup2(fd, AT) == AT && close_range(AT + 1, ~0u, 0) == 0;
}

bool run_as_enter(const struct run_as *who) {
  if (who->dir ? !hold_dir(who->dir) : close_range(3, ~0u, 0) != 0)
    return false;
  if (!who->drop)
    return true;
  return setgroups(0, NULL) == 0 && setresgid(who->gid, who->gid, who->gid) == 0 && setresuid(who->uid, who->uid, who->uid) == 0;
}

/* A child with default signals and nothing open but the standard three. `in` -1: nothing to read. */
static pid_t begin_child(const struct run_as *who, int in, int out, int said) {
  pid_t parent = getpid(), pid = fork();
  if (pid != 0)
    return pid;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  for (int signal_number = 1; signal_number < NSIG; signal_number++)
    signal(signal_number, SIG_DFL);
  int null = in < 0 ? open("/dev/null", O_RDWR) : in;
  if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(said, 2) < 0)
    _exit(127);
  umask(077);
  /* It ends with us, also when we are killed: what it makes would be in the way of the next start. After the change of the user, which
   * clears this. */
  if (chdir("/") != 0 || !run_as_enter(who) || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
    _exit(126);
  return 0;
}

static bool reap(pid_t pid, int *ret_status) {
  while (waitpid(pid, ret_status, 0) < 0)
    if (errno != EINTR)
      return false;
  return true;
}

static bool is_asked(const struct subproc_stop *stop) {
  return stop && stop->asked;
}

/* Reads until the other end is closed. What does not fit is read and dropped. False when the time is up, or it is to stop. */
static bool gather(int fd, int64_t until_ms, const struct subproc_stop *stop, struct buf *out) {
  while (!is_asked(stop)) {
    int64_t left = until_ms - clock_mono_ms(&clock_system);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int ready = poll(&wait, 1, (int)MAX_OF(MIN_OF(left, (int64_t)STOP_LOOK_MS), (int64_t)0));
    if ((ready == 0 && left <= 0) || (ready < 0 && errno != EINTR))
      return false;
    if (ready <= 0)
      continue;
    char bytes[4096];
    ssize_t n = read(fd, bytes, sizeof bytes);
    if (n == 0)
      return true;
    if (n < 0 && errno != EINTR)
      return false;
    if (n > 0)
      buf_add(out, bytes, MIN_OF((size_t)n, out->max - MIN_OF(out->n, out->max)));
  }
  return false;
}

/* TERM and a while, so that it can tidy up; then, or without `grace`, KILL. */
static void end_child(pid_t pid, bool grace) {
  siginfo_t info = {.si_pid = 0};
  int64_t until = clock_mono_ms(&clock_system) + STOP_GRACE_MS;
  if (grace)
    kill(pid, SIGTERM);
  while (grace && clock_mono_ms(&clock_system) < until && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && !info.si_pid)
    poll(NULL, 0, STOP_LOOK_MS / 10);
  if (!info.si_pid)
    kill(pid, SIGKILL);
}

/* The last lines of what it printed, on one. */
static struct str last_words(struct buf *out) {
  for (size_t i = 0; i < out->n; i++)
    if (out->p[i] == '\n')
      out->p[i] = ' ';
  struct str all = str_trim(buf_str(out));
  return all.n > 300 ? str_slice(all, all.n - 300, all.n) : all;
}

static bool tell_end(int status, const char *program, struct buf *said, struct err *err) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return true;
  struct str words = last_words(said);
  return err_set(err, ERR_IO, "%s failed (%s %d): %.*s", program, WIFSIGNALED(status) ? "signal" : "exit code",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), STR_ARG(words));
}

static void exec_child(const char *const *argv, const char *const *environment) {
  union {
    const char *const *in;
    char *const *out; /* exec does not write to them */
  } args = {.in = argv}, env = {.in = environment};
  execve(argv[0], args.out, env.out);
  _exit(127);
}

bool subproc_run(const struct run_as *who, const char *const *argv, const char *const *environment, int64_t limit_ms,
                 const struct subproc_stop *stop, struct buf *out, struct err *err) {
  int ends[2];
  if (is_asked(stop))
    return err_set(err, ERR_UNAVAILABLE, "%s was not begun: it was told to stop", argv[0]);
  if (pipe2(ends, O_CLOEXEC) != 0)
    return err_errno(err, errno, "cannot run %s", argv[0]);
  pid_t pid = begin_child(who, -1, ends[1], ends[1]);
  if (pid == 0)
    exec_child(argv, environment);
  close(ends[1]);
  bool in_time = pid > 0 && gather(ends[0], clock_mono_ms(&clock_system) + limit_ms, stop, out);
  close(ends[0]);
  if (pid < 0)
    return err_errno(err, errno, "cannot run %s", argv[0]);
  if (!in_time)
    end_child(pid, is_asked(stop));
  int status = 0;
  if (!reap(pid, &status))
    return err_errno(err, errno, "cannot wait for %s", argv[0]);
  if (!in_time && is_asked(stop))
    return err_set(err, ERR_UNAVAILABLE, "%s was told to stop", argv[0]);
  if (!in_time)
    return err_set(err, ERR_TIMEOUT, "%s did not end within %lld s", argv[0], (long long)(limit_ms / 1000));
  return tell_end(status, argv[0], out, err);
}

void subproc_end(struct subproc_io *io) {
  pid_t pid = io->pid;
  if (pid > 0)
    kill(pid, SIGKILL);
}

bool subproc_pipe(const struct run_as *who, const char *const *argv, const char *const *environment, struct subproc_io *io,
                  struct err *err) {
  AUTO_BUF struct buf said = BUF_INIT(16 * KIB);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return err_errno(err, errno, "cannot run %s", argv[0]);
  pid_t pid = begin_child(who, io->in, io->out < 0 ? ends[1] : io->out, ends[1]);
  if (pid == 0)
    exec_child(argv, environment);
  close(ends[1]);
  io->pid = pid;
  bool ok = pid > 0 || err_errno(err, errno, "cannot run %s", argv[0]);
  if (ok)
    (void)!gather(ends[0], INT64_MAX / 2, NULL, &said);
  close(ends[0]);
  siginfo_t info;
  while (ok && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR)
    continue; /* it is over, but keeps its number until this is forgotten */
  io->pid = 0;
  int status = 0;
  if (ok && !reap(pid, &status))
    ok = err_errno(err, errno, "cannot wait for %s", argv[0]);
  return ok && tell_end(status, argv[0], &said, err);
}

bool subproc_call(const struct run_as *who, bool (*fn)(void *arg, struct err *err), void *arg, const struct subproc_stop *stop,
                  struct err *err) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return err_errno(err, errno, "cannot start a child");
  pid_t pid = begin_child(who, -1, ends[1], ends[1]);
  if (pid == 0) {
    struct err told = {.code = ERR_NONE};
    bool ok = fn(arg, &told);
    bool said = ok || write(1, &told, sizeof told) == (ssize_t)sizeof told;
    _exit(ok ? 0 : said ? 1 : 2);
  }
  close(ends[1]);
  AUTO_BUF struct buf answer = BUF_INIT(sizeof(struct err));
  bool read_all = pid > 0 && gather(ends[0], INT64_MAX / 2, stop, &answer);
  close(ends[0]);
  int status = 0;
  if (pid > 0 && !read_all)
    end_child(pid, is_asked(stop));
  if (is_asked(stop) && pid > 0 && reap(pid, &status))
    return err_set(err, ERR_UNAVAILABLE, "a child was told to stop");
  if (pid < 0 || !reap(pid, &status) || !read_all)
    return err_errno(err, errno, "a child failed");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
    return true;
  if (answer.n == sizeof *err && err) {
    memcpy(err, answer.p, sizeof *err);
    return false;
  }
  return err_set(err, ERR_IO, "a child running as %s ended without a word", who->drop ? who->name : "this user");
}
