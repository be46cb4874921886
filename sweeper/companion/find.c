#include "sweeper/companion/find.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include "base/file.h"
#include "base/glob.h"

struct search {
  int root;
  const char *const *globs;
  size_t glob_count;
  bool whole_directories;
  find_fn *fn;
  void *ctx;
  size_t entries;
  char path[FIND_PATH_MAX + 1];
};

int find_open(int root, const char *path, struct stat *ret_stat) {
  struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
  int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
  if (fd >= 0 && (fstat(fd, ret_stat) != 0 || !S_ISREG(ret_stat->st_mode)))
    fd_close(&fd);
  return fd;
}

bool find_takes(const char *glob, struct str path, bool whole_directories) {
  if (glob_match(str_of(glob), path))
    return true;
  for (size_t k = path.n; whole_directories && k-- > 0;)
    if (path.p[k] == '/' && glob_match(str_of(glob), str_slice(path, 0, k)))
      return true;
  return false;
}

/* The first glob that takes the path; SIZE_MAX: none. */
static size_t taken_by(const struct search *s, size_t n) {
  for (size_t i = 0; i < s->glob_count; i++)
    if (find_takes(s->globs[i], str_n(s->path, n), s->whole_directories))
      return i;
  return SIZE_MAX;
}

static bool worth_entering(const struct search *s, size_t n) {
  for (size_t i = 0; i < s->glob_count; i++)
    if (glob_reaches(str_of(s->globs[i]), str_n(s->path, n)))
      return true;
  return s->whole_directories && taken_by(s, n) != SIZE_MAX;
}

static bool look_at(struct search *s, size_t n) {
  struct stat st;
  size_t glob = taken_by(s, n);
  if (glob == SIZE_MAX || !str_is_utf8(str_n(s->path, n)))
    return true;
  AUTO_FD int fd = find_open(s->root, s->path, &st);
  return fd < 0 || s->fn(s->ctx, glob, s->path, &st);
}

/* Takes the descriptor. */
static bool search_in(struct search *s, int dir_fd, size_t at, unsigned depth) {
  DIR *dir = fdopendir(dir_fd);
  bool ok = true;
  if (!dir) {
    fd_close(&dir_fd);
    return true;
  }
  for (struct dirent *entry; ok && (entry = readdir(dir));) {
    size_t n = strlen(entry->d_name);
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || at + n + 1 > FIND_PATH_MAX)
      continue;
    ok = ++s->entries <= FIND_ENTRIES_MAX;
    memcpy(s->path + at, entry->d_name, n + 1);
    struct stat st;
    if (!ok || fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    if (!S_ISDIR(st.st_mode)) {
      ok = !(S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)) || look_at(s, at + n);
    } else if (depth < FIND_DEPTH_MAX && worth_entering(s, at + n)) {
      int below = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      s->path[at + n] = '/';
      ok = below < 0 || search_in(s, below, at + n + 1, depth + 1);
    }
  }
  closedir(dir);
  return ok;
}

bool find_files(int root, const char *const *globs, size_t glob_count, bool whole_directories, find_fn *fn, void *ctx) {
  struct search s = {.root = root, .globs = globs, .glob_count = glob_count, .whole_directories = whole_directories, .fn = fn, .ctx = ctx};
  int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return fd < 0 || search_in(&s, fd, 0, 0);
}
