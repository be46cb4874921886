#include "storage/pg/pg_processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/file.h"

enum { PATH_BYTES = 4096 };

/* A process id in the file may have become another's since: a server's working directory is its cluster. */
pid_t pg_processes_server(const char *data) {
  char link[64], cwd[PATH_BYTES];
  struct err ignored;
  AUTO_BUF struct buf path = BUF_INIT(PATH_BYTES), text = BUF_INIT(PATH_BYTES);
  buf_printf(&path, "%s/postmaster.pid", data);
  if (access(buf_text(&path), F_OK) != 0 || !file_read(buf_text(&path), &text, &ignored))
    return 0;
  struct str rest = buf_str(&text), line;
  int64_t pid;
  if (!str_split(&rest, '\n', &line) || !str_to_i64(str_trim(line), &pid) || pid <= 1 || pid > INT32_MAX)
    return 0;
  snprintf(link, sizeof link, "/proc/%lld/cwd", (long long)pid);
  ssize_t n = readlink(link, cwd, sizeof cwd - 1);
  if (n < 0)
    return errno == ENOENT ? 0 : kill((pid_t)pid, 0) == 0 ? (pid_t)pid : 0;
  cwd[n] = 0;
  struct stat a, b;
  bool same = stat(cwd, &a) == 0 && stat(data, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
  return same ? (pid_t)pid : 0;
}

/* A server process by its place and name. */
static bool is_process_of(const char *data, const char *pid) {
  char path[64], name[16] = "";
  struct stat theirs, ours;
  snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
  AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || read(fd, name, sizeof name - 1) <= 0 || !str_starts(str_of(name), STR("postgres")))
    return false;
  snprintf(path, sizeof path, "/proc/%.20s/cwd", pid);
  return stat(path, &theirs) == 0 && stat(data, &ours) == 0 && theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
}

size_t pg_processes_signal(const char *data, int signal_number) {
  DIR *list = opendir("/proc");
  size_t count = 0;
  for (struct dirent *entry; list && (entry = readdir(list));) {
    int64_t pid;
    if (!str_to_i64(str_of(entry->d_name), &pid) || pid <= 1 || !is_process_of(data, entry->d_name))
      continue;
    kill((pid_t)pid, signal_number);
    kill((pid_t)pid, SIGCONT);
    count++;
  }
  if (list)
    closedir(list);
  return count;
}

/* A server that was killed may leave processes that are busy, or stopped, and keep the memory that the next one needs; and the file with
 * its number, which may be another's by now, or nobody has asked how it ended: then it is in the way of the next, too. */
bool pg_processes_clear(const char *data, struct err *err) {
  enum { STEP_MS = 50, GENTLE = 40, ROUNDS = 100 };
  AUTO_BUF struct buf path = BUF_INIT(PATH_BYTES);
  size_t left = 1;
  for (int i = 0; i < ROUNDS && (left = pg_processes_signal(data, i < GENTLE ? SIGQUIT : SIGKILL)) > 0; i++)
    usleep(STEP_MS * 1000);
  if (left)
    return err_set(err, ERR_UNAVAILABLE, "processes of the database's old server do not end");
  buf_printf(&path, "%s/postmaster.pid", data);
  return buf_ok(&path, err) && (unlink(path.p) == 0 || errno == ENOENT || err_errno(err, errno, "cannot remove %s", path.p));
}
