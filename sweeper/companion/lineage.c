#include "sweeper/companion/lineage.h"

#include <dirent.h>
#include <fcntl.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "sweeper/companion/find.h"

enum { ENTRIES_MAX = 20000 };

void lineage_init(struct lineage *l, int64_t since_ms) {
  *l = (struct lineage){.looked = {since_ms / 1000, since_ms % 1000 * 1000000}, .looked_ms = clock_mono_ms(&clock_system)};
}

void lineage_release(struct lineage *l) {
  while (l->count)
    lineage_leave(l);
}

void lineage_leave(struct lineage *l) {
  fd_close(&l->files[0].fd);
  l->count--;
  memmove(l->files, l->files + 1, l->count * sizeof *l->files);
}

/* ---- names ---- */

static bool is_count_or_date(struct str text) {
  static const char allowed[] = "0123456789.-_:~T";
  for (size_t i = 0; i < text.n; i++)
    if (!memchr(allowed, text.p[i], sizeof allowed - 1))
      return false;
  return text.n > 0;
}

bool lineage_is_rotated(struct str name, struct str other) {
  size_t dot = name.n;
  while (dot > 0 && name.p[dot - 1] != '.')
    dot--;
  struct str stem = str_slice(name, 0, dot), ending = str_slice(name, dot, name.n);
  if (str_starts(other, name)) {
    struct str rest = str_slice(other, name.n, other.n);
    return is_count_or_date(rest) || str_is(rest, ".old") || str_is(rest, ".bak") || str_is(rest, ".prev");
  }
  return stem.n > 1 && other.n > name.n && str_starts(other, stem) && str_ends(other, str_slice(name, dot - 1, name.n)) &&
         is_count_or_date(str_slice(other, stem.n, other.n - ending.n - 1));
}

/* ---- files ---- */

static bool is_before(struct timespec a, struct timespec b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

static bool holds(const struct lineage *l, ino_t inode) {
  for (size_t i = 0; i < l->count; i++)
    if (l->files[i].inode == inode)
      return true;
  return false;
}

/* Takes the descriptor. */
static void join(struct lineage *l, int fd, ino_t inode, size_t *spare) {
  if (l->count == LINEAGE_MAX || (l->count && !*spare)) {
    lineage_leave(l);
    l->lost++;
  } else if (l->count) {
    --*spare;
  }
  l->files[l->count++] = (struct lineage_file){fd, inode, l->looked_ms};
}

/* Where the file system does not tell when a file was born: when it was last written. */
static struct timespec born_at(int fd, const struct stat *st) {
  struct statx more;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &more) != 0 || !(more.stx_mask & STATX_BTIME))
    return st->st_mtim;
  return (struct timespec){more.stx_btime.tv_sec, more.stx_btime.tv_nsec};
}

struct moved { /* had the name between two looks */
  int fd;
  ino_t inode;
  struct timespec born;
  char name[NAME_MAX + 1];
};

struct moved_list {
  struct moved items[LINEAGE_MAX];
  size_t count;
};

/* Those born at the same tick of the clock: `x.2` is older than `x.1`. */
static bool is_older(const struct moved *a, const struct moved *b) {
  return is_before(a->born, b->born) || (!is_before(b->born, a->born) && strcmp(a->name, b->name) > 0);
}

/* Takes the descriptor. The oldest go when there are too many. */
static void note_moved(struct moved_list *list, const struct moved *file, unsigned *lost) {
  size_t at = list->count;
  while (at > 0 && is_older(file, &list->items[at - 1]))
    at--;
  if (list->count == LINEAGE_MAX) {
    ++*lost;
    int gone = at == 0 ? file->fd : list->items[0].fd;
    fd_close(&gone);
    if (at == 0)
      return;
    memmove(list->items, list->items + 1, --at * sizeof *list->items);
  } else {
    memmove(list->items + at + 1, list->items + at, (list->count++ - at) * sizeof *list->items);
  }
  list->items[at] = *file;
}

static bool is_watched(const char *path, const char *const *globs, size_t glob_count) {
  for (size_t i = 0; i < glob_count; i++)
    if (find_takes(globs[i], str_of(path), false))
      return true;
  return false;
}

/* Whoever comes to a directory, or gets another name there, changes its time. */
static bool has_changed(int dir_fd, struct timespec since) {
  struct stat st;
  return fstat(dir_fd, &st) != 0 || !is_before(st.st_mtim, since);
}

/* Does it begin as the one read last does? "cp m.csv m.csv.old; rm m.csv" leaves the same rows under another name. */
static bool is_copy(const struct lineage *l, int fd) {
  char a[4096], b[sizeof a];
  if (!l->count)
    return false;
  ssize_t n = pread(fd, a, sizeof a, 0);
  return n > 0 && pread(l->files[l->count - 1].fd, b, (size_t)n, 0) == n && memcmp(a, b, (size_t)n) == 0;
}

/* Those who have left the name since the last look. False: the directory cannot be read now. */
static bool find_moved(struct lineage *l, int root, const char *path, ino_t inode, const char *const *globs, size_t glob_count,
                       struct moved_list *ret) {
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  char other[FIND_PATH_MAX + NAME_MAX + 2] = ".";
  size_t at = (size_t)(name - path);
  if (at > FIND_PATH_MAX)
    return false;
  if (at)
    snprintf(other, sizeof other, "%.*s", (int)at, path);
  AUTO_FD int fd = openat(root, other, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd >= 0 && !has_changed(fd, l->looked))
    return true;
  DIR *dir = fd < 0 ? NULL : fdopendir(fd);
  struct dirent *entry;
  if (!dir)
    return false;
  fd = -1; /* it is the directory's */
  for (size_t n = 0; n < ENTRIES_MAX && (entry = readdir(dir)); n++) {
    if (!lineage_is_rotated(str_of(name), str_of(entry->d_name)))
      continue;
    struct stat st;
    snprintf(other, sizeof other, "%.*s%s", (int)at, path, entry->d_name);
    struct moved file = {.fd = is_watched(other, globs, glob_count) ? -1 : find_open(root, other, &st)};
    if (file.fd < 0)
      continue;
    file.inode = st.st_ino;
    file.born = born_at(file.fd, &st);
    snprintf(file.name, sizeof file.name, "%s", entry->d_name);
    if (is_before(file.born, l->looked) || file.inode == inode || holds(l, file.inode) || (!inode && is_copy(l, file.fd)))
      fd_close(&file.fd);
    else
      note_moved(ret, &file, &l->lost);
  }
  closedir(dir);
  return true;
}

void lineage_look(struct lineage *l, int root, const char *path, const char *const *globs, size_t glob_count, size_t *spare) {
  struct timespec now;
  struct stat st;
  int64_t now_ms = clock_mono_ms(&clock_system);
  clock_gettime(CLOCK_REALTIME_COARSE, &now); /* the kernel writes no earlier time on files from now on */
  AUTO_FD int fd = find_open(root, path, &st);
  ino_t inode = fd < 0 ? 0 : st.st_ino;
  if (fd < 0 || !l->count || l->files[l->count - 1].inode != inode) {
    struct moved_list moved = {.count = 0};
    bool seen = find_moved(l, root, path, inode, globs, glob_count, &moved);
    for (size_t i = 0; i < moved.count; i++)
      join(l, moved.items[i].fd, moved.items[i].inode, spare);
    if (fd >= 0)
      join(l, fd, inode, spare);
    fd = -1;
    if (!seen)
      return;
  }
  l->looked = now;
  l->looked_ms = now_ms;
}
