#include "tracker/artifacts/tree_walk.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "tracker/artifacts/artifact_tree.h"

void tree_walk_init(struct tree_walk *walk, int root) {
  *walk = (struct tree_walk){.root = root, .path = BUF_INIT(64 * KIB)};
}

void tree_walk_release(struct tree_walk *walk) {
  while (walk->depth)
    closedir(walk->open[--walk->depth]);
  buf_release(&walk->path);
}

static bool descend(struct tree_walk *walk, int parent, const char *name, struct err *err) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
    return true; /* gone meanwhile */
  DIR *dir = fd >= 0 && walk->depth < TREE_WALK_DEPTH_MAX ? fdopendir(fd) : NULL;
  if (!dir) {
    int reason = walk->depth < TREE_WALK_DEPTH_MAX ? errno : ENAMETOOLONG;
    if (fd >= 0)
      close(fd);
    return err_errno(err, reason, "cannot read the directory \"%.200s/%.100s\"", buf_text(&walk->path), name);
  }
  if (walk->depth) {
    if (walk->path.n)
      buf_putc(&walk->path, '/');
    buf_puts(&walk->path, name);
  }
  walk->open[walk->depth] = dir;
  walk->path_n[walk->depth++] = walk->path.n;
  return buf_ok(&walk->path, err);
}

static bool take_file(struct tree_walk *walk, const char *name, const struct stat *st, struct tree_walk_file *ret, struct err *err) {
  size_t room = walk->path.n + strlen(name) + 2;
  ret->path = mem_alloc(room);
  if (!ret->path)
    return err_no_memory(err);
  snprintf(ret->path, room, "%s%s%s", buf_text(&walk->path), walk->path.n ? "/" : "", name);
  ret->size = st->st_size;
  ret->changed_ms = tree_changed_ms(st);
  return true;
}

static void ascend(struct tree_walk *walk) {
  closedir(walk->open[--walk->depth]);
  if (walk->depth)
    buf_cut(&walk->path, walk->path_n[walk->depth - 1]);
}

bool tree_walk_next(struct tree_walk *walk, struct tree_walk_file *files, size_t max, size_t *ret_count, struct err *err) {
  *ret_count = 0;
  if (!walk->begun) {
    walk->begun = true;
    if (!descend(walk, walk->root, ".", err))
      return false;
  }
  while (walk->depth && *ret_count < max) {
    DIR *dir = walk->open[walk->depth - 1];
    const struct dirent *entry = readdir(dir);
    struct stat st;
    if (!entry) {
      ascend(walk);
      continue;
    }
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
        fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    if (S_ISDIR(st.st_mode) ? !descend(walk, dirfd(dir), entry->d_name, err)
                            : S_ISREG(st.st_mode) && !take_file(walk, entry->d_name, &st, &files[(*ret_count)++], err))
      return false;
  }
  return true;
}
