#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/mem.h"

void fd_close(int *fd) {
  if (*fd >= 0)
    close(*fd); /* Linux releases the descriptor even on EINTR */
  *fd = -1;
}

bool file_read(const char *path, struct buf *out, struct err *err) {
  AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return err_errno(err, errno, "cannot read %s", path);
  for (;;) {
    size_t step = MIN_OF((size_t)64 * KIB, out->max - MIN_OF(out->n, out->max));
    char probe;
    char *room = step ? buf_room(out, step) : &probe;
    if (!room)
      return buf_ok(out, err) || err_no_memory(err);
    ssize_t n = read(fd, room, step ? step : 1);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return err_errno(err, errno, "cannot read %s", path);
    if (n == 0)
      return true;
    if (!step)
      return err_set(err, ERR_TOO_LARGE, "%s is larger than %zu bytes", path, out->max);
    buf_grew(out, (size_t)n);
  }
}

bool fd_write_all(int fd, const void *bytes, size_t n, struct err *err) {
  const char *p = bytes;
  while (n) {
    ssize_t wrote = write(fd, p, n);
    if (wrote < 0) {
      if (errno == EINTR)
        continue;
      return err_errno(err, errno, "cannot write");
    }
    p += wrote;
    n -= (size_t)wrote;
  }
  return true;
}

bool fd_sync(int fd, struct err *err) {
  if (fsync(fd) != 0)
    return err_errno(err, errno, "cannot sync");
  return true;
}

static bool sync_directory_of(const char *path, struct err *err) {
  AUTO_FREE char *copy = mem_strdup(path);
  if (!copy)
    return err_no_memory(err);
  char *slash = strrchr(copy, '/');
  if (slash)
    slash[slash == copy ? 1 : 0] = 0;
  AUTO_FD int fd = open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return err_errno(err, errno, "cannot open the directory of %s", path);
  return fd_sync(fd, err);
}

bool file_replace(const char *path, struct str content, mode_t mode, struct err *err) {
  AUTO_BUF struct buf beside = BUF_INIT(8192);
  buf_printf(&beside, "%s.XXXXXX", path);
  if (!buf_ok(&beside, err))
    return false;
  AUTO_FD int fd = mkostemp(beside.p, O_CLOEXEC);
  if (fd < 0)
    return err_errno(err, errno, "cannot write %s", path);
  bool ok = fchmod(fd, mode) == 0 || err_errno(err, errno, "cannot write %s", path);
  ok = ok && fd_write_all(fd, content.p, content.n, err) && fd_sync(fd, err);
  if (ok && rename(buf_text(&beside), path) != 0)
    ok = err_errno(err, errno, "cannot write %s", path);
  if (!ok) {
    unlink(buf_text(&beside));
    return false;
  }
  return sync_directory_of(path, err);
}

/* From its end on: what is above it is there, as a rule. Fails with errno. */
static bool make_down_to(char *path, mode_t mode) {
  if (mkdir(path, mode) == 0 || errno == EEXIST)
    return true;
  char *slash = errno == ENOENT ? strrchr(path, '/') : NULL;
  if (!slash || slash == path)
    return false;
  *slash = 0;
  bool above = make_down_to(path, mode);
  *slash = '/';
  return above && (mkdir(path, mode) == 0 || errno == EEXIST);
}

bool dir_make(const char *path, mode_t mode, struct err *err) {
  AUTO_FREE char *copy = mem_strdup(path);
  struct stat st;
  if (!copy)
    return err_no_memory(err);
  if (!make_down_to(copy, mode) || stat(path, &st) != 0)
    return err_errno(err, errno, "cannot make the directory %s", path);
  return S_ISDIR(st.st_mode) || err_set(err, ERR_IO, "%s is not a directory", path);
}

int file_open_beneath(int dir_fd, const char *path, int flags, mode_t mode, struct err *err) {
  struct open_how how = {
      .flags = (uint64_t)(flags | O_CLOEXEC),
      .mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0,
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
  };
  long fd;
  do
    fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof how);
  while (fd < 0 && (errno == EINTR || errno == EAGAIN));
  if (fd < 0) {
    if (errno == EXDEV || errno == ELOOP)
      err_set(err, ERR_FORBIDDEN, "\"%s\" leads out of its directory", path);
    else
      err_errno(err, errno, "cannot open \"%s\"", path);
    return -1;
  }
  return (int)fd;
}

static bool remove_in(int dir_fd, const char *name, struct err *err);

static bool remove_children(int fd, struct err *err) {
  DIR *dir = fdopendir(fd); /* takes fd */
  if (!dir) {
    close(fd);
    return err_errno(err, errno, "cannot list a directory");
  }
  bool ok = true;
  for (struct dirent *entry; ok && (entry = readdir(dir));)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      ok = remove_in(dirfd(dir), entry->d_name, err);
  closedir(dir);
  return ok;
}

static bool remove_in(int dir_fd, const char *name, struct err *err) {
  if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
    return true;
  if (errno != EISDIR && errno != EPERM)
    return err_errno(err, errno, "cannot remove %s", name);
  if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0) /* there was nothing in it */
    return true;
  int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return errno == ENOENT || err_errno(err, errno, "cannot remove %s", name);
  if (!remove_children(fd, err))
    return false;
  if (unlinkat(dir_fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
    return err_errno(err, errno, "cannot remove %s", name);
  return true;
}

bool tree_remove(const char *path, struct err *err) {
  return remove_in(AT_FDCWD, path, err);
}

bool tree_empty(const char *path, struct err *err) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return errno == ENOENT || err_errno(err, errno, "cannot empty %s", path);
  return remove_children(fd, err);
}

/* Not every pair of file systems lets the kernel copy between them. */
static bool copy_through(int in, int out, const char *from, struct err *err) {
  char bytes[64 * KIB];
  for (;;) {
    ssize_t n = read(in, bytes, sizeof bytes);
    if (n == 0)
      return true;
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return err_errno(err, errno, "cannot copy %s", from);
    for (ssize_t done = 0; done < n;) {
      ssize_t written = write(out, bytes + done, (size_t)(n - done));
      if (written < 0 && errno != EINTR)
        return err_errno(err, errno, "cannot copy %s", from);
      done += MAX_OF(written, (ssize_t)0);
    }
  }
}

static bool copy_content(int in, int out, const char *from, off_t size, struct err *err) {
  if (ioctl(out, FICLONE, in) == 0)
    return true;
  for (off_t left = size; left > 0;) {
    ssize_t n = copy_file_range(in, NULL, out, NULL, (size_t)left, 0);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP))
      return copy_through(in, out, from, err);
    if (n < 0)
      return err_errno(err, errno, "cannot copy %s", from);
    if (n == 0)
      break;
    left -= n;
  }
  return true;
}

static bool copy_file(int from_dir, int to_dir, const char *from, const char *to, struct err *err) {
  AUTO_FD int in = openat(from_dir, from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  struct stat st;
  if (in < 0 || fstat(in, &st) != 0)
    return err_errno(err, errno, "cannot read %s", from);
  AUTO_FD int out = openat(to_dir, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (out < 0)
    return err_errno(err, errno, "cannot write %s", to);
  if (fchmod(out, st.st_mode & 07777) != 0)
    return err_errno(err, errno, "cannot write %s", to);
  return copy_content(in, out, from, st.st_size, err) &&
         (futimens(out, (struct timespec[]){st.st_atim, st.st_mtim}) == 0 || err_errno(err, errno, "cannot write %s", to));
}

static bool copy_link(int from_dir, int to_dir, const char *from, const char *to, struct err *err) {
  char target[4096];
  ssize_t n = readlinkat(from_dir, from, target, sizeof target - 1);
  if (n < 0)
    return err_errno(err, errno, "cannot read %s", from);
  target[n] = 0;
  return symlinkat(target, to_dir, to) == 0 || err_errno(err, errno, "cannot write %s", to);
}

static bool copy_in(int from_dir, int to_dir, const char *from, const char *to, struct err *err) {
  struct stat st;
  if (fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return err_errno(err, errno, "cannot read %s", from);
  if (S_ISREG(st.st_mode))
    return copy_file(from_dir, to_dir, from, to, err);
  if (S_ISLNK(st.st_mode))
    return copy_link(from_dir, to_dir, from, to, err);
  if (!S_ISDIR(st.st_mode))
    return true; /* sockets and the like */
  if (mkdirat(to_dir, to, 0700) != 0)
    return err_errno(err, errno, "cannot make the directory %s", to);
  AUTO_FD int in = openat(from_dir, from, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  AUTO_FD int out = openat(to_dir, to, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  int again = in >= 0 ? dup(in) : -1;
  DIR *dir = again >= 0 && out >= 0 ? fdopendir(again) : NULL;
  if (!dir) {
    fd_close(&again);
    return err_errno(err, errno, "cannot copy %s", from);
  }
  bool ok = true;
  for (struct dirent *entry; ok && (entry = readdir(dir));)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      ok = copy_in(in, out, entry->d_name, entry->d_name, err);
  closedir(dir);
  if (ok && fchmod(out, st.st_mode & 07777) != 0)
    return err_errno(err, errno, "cannot write %s", to);
  return ok;
}

bool tree_copy(const char *from, const char *to, struct err *err) {
  return copy_in(AT_FDCWD, AT_FDCWD, from, to, err);
}

struct str file_uri_path(struct str uri) {
  struct str host = STR("//localhost/");
  if (!str_starts_nocase(uri, STR("file:")))
    return uri;
  struct str path = str_slice(uri, strlen("file:"), uri.n);
  if (str_starts_nocase(path, host))
    return str_slice(path, host.n - 1, path.n);
  if (str_starts(path, STR("///")))
    return str_slice(path, 2, path.n);
  return str_starts(path, STR("/")) && !str_starts(path, STR("//")) ? path : uri;
}
