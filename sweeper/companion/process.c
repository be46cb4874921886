#include "sweeper/companion/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "sweeper/companion/tty.h"

enum { FAMILY_MAX = 4096, DEPTH_MAX = 64 };

void process_become_subreaper(void) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
}

/* ---- the start ---- */

static void reset_signals(void) {
  for (int number = 1; number < NSIG; number++)
    signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What the child says before it gives up: its memory is ours. */
struct refusal {
  bool of_directory;
  int error;
};

/* In the child: does not return. Its standard input is ours, which is empty; its environment as well, which is the job's by now. */
static NORETURN void become_command(const struct process *process, const struct job_file *job, int stdout_fd, int stderr_fd,
                                    volatile struct refusal *refusal) {
  cgroup_join(&process->group);
  setsid();
  if (job->tty)
    tty_become(stdout_fd);
  reset_signals();
  if (dup2(stdout_fd, 1) == 1 && dup2(stderr_fd, 2) == 2) {
    refusal->of_directory = chdir(job->cwd) != 0;
    if (!refusal->of_directory)
      execvp(job->argv[0], job->argv);
  }
  refusal->error = errno;
  _exit(127);
}

/* In our memory, of which a copy would cost more than all else it does; we stand still until it has become the command. No signal may come
 * between: our handlers would answer it in the child. */
static pid_t spawn(const struct process *process, const struct job_file *job, int stdout_fd, int stderr_fd,
                   volatile struct refusal *refusal) {
  sigset_t all, ours;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &ours);
  pid_t pid = vfork();
  if (pid == 0)
    become_command(process, job, stdout_fd, stderr_fd, refusal);
  int error = errno;
  sigprocmask(SIG_SETMASK, &ours, NULL);
  errno = error;
  return pid;
}

bool process_start(struct process *process, const struct job_file *job, int stdout_fd, int stderr_fd, struct err *err) {
  volatile struct refusal refusal = {false, 0};
  char **ours = environ;
  cgroup_make(&process->group, job);
  environ = job->env; /* where the command is looked for */
  if (job->tty && !getenv("TERM"))
    setenv("TERM", "xterm-256color", 1);
  pid_t pid = spawn(process, job, stdout_fd, stderr_fd, &refusal);
  environ = ours;
  if (pid < 0)
    return err_errno(err, errno, "cannot start a process");
  process->pid = pid;
  if (!refusal.error)
    return true;
  waitpid(pid, NULL, 0);
  process->pid = 0;
  bool unknown = refusal.error == ENOENT || refusal.error == ENOTDIR;
  char reason[128];
  err_set(err, unknown ? ERR_NOT_FOUND : ERR_IO, "%s %s: %s", refusal.of_directory ? "cannot enter the directory" : "cannot run",
          refusal.of_directory ? job->cwd : job->argv[0], strerror_r(refusal.error, reason, sizeof reason));
  if (!refusal.of_directory && unknown)
    err_hint(err, "is it installed, and in the PATH the job gets?");
  return false;
}

/* ---- who belongs to the job ---- */

struct family {
  pid_t pids[FAMILY_MAX];
  size_t count;
};

static void add_children(struct family *family, pid_t parent, int depth);

/* A thread's own children. */
static void add_children_of_thread(struct family *family, const char *path, int depth) {
  AUTO_BUF struct buf text = BUF_INIT(256 * KIB);
  struct err err;
  if (!file_read(path, &text, &err))
    return;
  struct str rest = buf_str(&text), word;
  while (str_split(&rest, ' ', &word)) {
    int64_t pid;
    if (!str_to_i64(str_trim(word), &pid) || pid <= 1 || family->count == FAMILY_MAX)
      continue;
    family->pids[family->count++] = (pid_t)pid;
    add_children(family, (pid_t)pid, depth + 1);
  }
}

static void add_children(struct family *family, pid_t parent, int depth) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task", (int)parent);
  DIR *tasks = depth <= DEPTH_MAX ? opendir(path) : NULL;
  if (!tasks)
    return;
  for (struct dirent *task; (task = readdir(tasks));) {
    char file[400];
    snprintf(file, sizeof file, "%s/%s/children", path, task->d_name);
    if (task->d_name[0] != '.')
      add_children_of_thread(family, file, depth);
  }
  closedir(tasks);
}

/* We are the subreaper, so all that the job has started are below us, and nothing else is. */
static void find_family(struct family *family) {
  family->count = 0;
  add_children(family, getpid(), 0);
}

static bool is_our_child(pid_t pid) {
  siginfo_t ignored;
  return waitid(P_PID, (id_t)pid, &ignored, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static bool is_of_group(const struct process *process, pid_t pid) {
  return process->pid > 0 && getpgid(pid) == process->pid;
}

/* The group's number may be somebody else's once the command is reaped and none of the group is left. The group first: its leader looks
 * after what has sessions of its own. */
size_t process_signal(const struct process *process, int signal_number) {
  static struct family family;
  bool has_group = process->pid > 0 && is_our_child(process->pid);
  if (signal_number == SIGKILL)
    cgroup_kill(&process->group);
  find_family(&family);
  for (size_t i = 0; i < family.count && !has_group; i++)
    has_group = is_of_group(process, family.pids[i]);
  if (has_group)
    kill(-process->pid, signal_number);
  for (size_t i = 0; i < family.count; i++)
    if (!is_of_group(process, family.pids[i]))
      kill(family.pids[i], signal_number);
  return family.count;
}

/* As above, and so without any child of our own nothing is left. */
bool process_any_alive(void) {
  siginfo_t ignored;
  return waitid(P_ALL, 0, &ignored, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void process_take_over(struct process *process, const struct job_file *job) {
  cgroup_find(&process->group, job->run_id, job->attempt);
}

void process_release(struct process *process) {
  cgroup_remove(&process->group);
}

/* ---- what it uses ---- */

static void add_usage(pid_t pid, struct process_usage *usage, int64_t tick_ms, int64_t page) {
  char path[64];
  struct err err;
  AUTO_BUF struct buf text = BUF_INIT(8192);
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  if (!file_read(path, &text, &err))
    return;
  /* After the name in parentheses, which may hold anything: state is field 3, utime 14, stime 15, cutime 16, cstime 17, rss 24. */
  struct str all = buf_str(&text);
  const char *close = all.n ? memrchr(all.p, ')', all.n) : NULL;
  if (!close)
    return;
  struct str rest = str_slice(all, (size_t)(close - all.p) + 2, all.n), word;
  for (int field = 3; field <= 24 && str_split(&rest, ' ', &word); field++) {
    int64_t value;
    if (!str_to_i64(word, &value))
      continue;
    if (field >= 14 && field <= 17)
      usage->cpu_ms += value * tick_ms;
    if (field == 24)
      usage->rss_bytes += value * page;
  }
  usage->count++;
  buf_reset(&text);
  snprintf(path, sizeof path, "/proc/%d/io", (int)pid);
  if (!file_read(path, &text, &err))
    return;
  rest = buf_str(&text);
  while (str_split(&rest, '\n', &word)) {
    int64_t value;
    size_t colon = str_find(word, ':');
    if (colon == SIZE_MAX || !str_to_i64(str_trim(str_slice(word, colon + 1, word.n)), &value))
      continue;
    if (str_starts(word, STR("read_bytes")))
      usage->read_bytes += value;
    else if (str_starts(word, STR("write_bytes")))
      usage->written_bytes += value;
  }
}

void process_usage(const struct process *process, struct process_usage *ret) {
  static struct family family;
  struct rusage ended;
  *ret = (struct process_usage){0};
  find_family(&family);
  int64_t tick_ms = 1000 / MAX_OF(sysconf(_SC_CLK_TCK), 1L), page = sysconf(_SC_PAGESIZE);
  for (size_t i = 0; i < family.count; i++)
    add_usage(family.pids[i], ret, tick_ms, page);
  getrusage(RUSAGE_CHILDREN, &ended);
  ret->cpu_ms += (int64_t)(ended.ru_utime.tv_sec + ended.ru_stime.tv_sec) * 1000 + (ended.ru_utime.tv_usec + ended.ru_stime.tv_usec) / 1000;
  struct cgroup_usage group;
  cgroup_usage(&process->group, &group); /* knows better, where it knows */
  if (group.cpu_ms > 0)
    ret->cpu_ms = group.cpu_ms;
  if (group.anon_bytes > 0)
    ret->rss_bytes = group.anon_bytes;
  if (group.read_bytes >= 0)
    ret->read_bytes = group.read_bytes;
  if (group.written_bytes >= 0)
    ret->written_bytes = group.written_bytes;
}

/* Of the whole machine, since it was started; -1: the kernel does not tell. */
static int64_t machine_oom_kills(void) {
  AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
  struct err err;
  return file_read("/proc/vmstat", &text, &err) ? cgroup_value(buf_str(&text), "oom_kill") : -1;
}

void process_note_oom(struct process *process) {
  process->oom_before = machine_oom_kills();
}

enum process_oom process_oom(const struct process *process) {
  struct cgroup_usage group;
  cgroup_usage(&process->group, &group);
  if (group.oom_kills >= 0)
    return group.oom_kills > 0 ? OOM_JOB : OOM_NONE;
  return process->oom_before >= 0 && machine_oom_kills() > process->oom_before ? OOM_MACHINE : OOM_NONE;
}
