#include "storage/data_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>

#include "base/buf.h"
#include "base/file.h"

enum { REMAINS_MS = 5000, STEP_MS = 10 };

/* A child that a killed service was about to start holds its descriptors until it is another program: that takes a moment. */
static bool lock(int fd, const char *dir) {
  int waited_ms = 0;
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK)
      return false;
    bool is_held = waited_ms >= REMAINS_MS || data_lock_holder_lives(dir);
    if (is_held) {
      errno = EWOULDBLOCK;
      return false;
    }
    usleep(STEP_MS * 1000);
    waited_ms += STEP_MS;
  }
  return true;
}

bool data_lock_take(const char *dir, int *ret_fd, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(8 * KIB);
  buf_printf(&path, "%s/lock", dir);
  if (!buf_ok(&path, err))
    return false;
  AUTO_FD int fd = open(path.p, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return err_errno(err, errno, "cannot open %s", path.p);
  char holder[32] = "";
  if (!lock(fd, dir)) {
    if (errno != EWOULDBLOCK)
      return err_errno(err, errno, "cannot lock %s", path.p);
    ssize_t n = pread(fd, holder, sizeof holder - 1, 0);
    struct str pid = str_trim(str_n(holder, n > 0 ? (size_t)n : 0));
    err_set(err, ERR_CONFLICT, "another winnow (process %.*s) uses the directory %s", STR_ARG(pid), dir);
    return err_hint(err, "stop it with `winnow down`, or choose another directory with --data");
  }
  int n = snprintf(holder, sizeof holder, "%ld\n", (long)getpid());
  if (ftruncate(fd, 0) != 0 || pwrite(fd, holder, (size_t)n, 0) != n)
    return err_errno(err, errno, "cannot write %s", path.p);
  *ret_fd = fd;
  fd = -1;
  return true;
}

/* Ended, and not yet fetched by its parent: it holds nothing any more. */
static bool is_zombie(pid_t pid) {
  AUTO_BUF struct buf text = BUF_INIT(8 * KIB);
  char path[64];
  struct err ignored;
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  const char *name_end = file_read(path, &text, &ignored) && text.n ? memrchr(text.p, ')', text.n) : NULL;
  return name_end && str_starts(str_of(name_end), STR(") Z"));
}

/* The number of a process that has ended may be another's by now; that one does not hold the lock. */
bool data_lock_holder_lives(const char *dir) {
  AUTO_BUF struct buf path = BUF_INIT(8 * KIB), text = BUF_INIT(64);
  struct err ignored; /* nobody has ever locked it */
  int64_t pid;
  buf_printf(&path, "%s/lock", dir);
  if (!buf_ok(&path, &ignored) || !file_read(path.p, &text, &ignored) || !str_to_i64(str_trim(buf_str(&text)), &pid) || pid <= 1 ||
      pid > INT32_MAX)
    return false;
  AUTO_FD int fd = open(path.p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) == 0)
    return false;
  return (kill((pid_t)pid, 0) == 0 || errno == EPERM) && !is_zombie((pid_t)pid);
}
