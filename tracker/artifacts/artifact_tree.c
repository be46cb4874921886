#include "tracker/artifacts/artifact_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>

#include "base/file.h"
#include "base/mem.h"

enum { NAME_ROOM = 256, COPY_ROOM = 1 << 16, DIRECTORY_MODE = 0755, REMOVE_TRIES = 1000 };

static bool is_hidden(const char *name) {
  return strncmp(name, ARTIFACT_HIDDEN, strlen(ARTIFACT_HIDDEN)) == 0;
}

static bool missing(struct err *err, int number, struct str path) {
  if (number == ENOENT || number == ENOTDIR || number == ELOOP)
    return err_set(err, ERR_NOT_FOUND, "there is no artifact \"%.*s\"", STR_ARG(str_slice(path, 0, 200)));
  return err_errno(err, number, "artifact \"%.*s\"", STR_ARG(str_slice(path, 0, 200)));
}

/* One step down. -1 on failure, errno says why. */
static int step(int directory, struct str name, bool make) {
  char text[NAME_ROOM];
  if (name.n >= sizeof text) {
    errno = ENAMETOOLONG;
    return -1;
  }
  snprintf(text, sizeof text, "%.*s", STR_ARG(name));
  int fd = openat(directory, text, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd >= 0 || errno != ENOENT || !make)
    return fd;
  if (mkdirat(directory, text, DIRECTORY_MODE) != 0 && errno != EEXIST)
    return -1;
  return openat(directory, text, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int tree_open_parent(int root, struct str path, bool make, struct str *ret_name, struct err *err) {
  int at = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct str rest = path, part;
  if (at < 0) {
    err_errno(err, errno, "the directory of artifacts");
    return -1;
  }
  while (str_split(&rest, '/', &part)) {
    if (!rest.p) {
      *ret_name = part;
      return at;
    }
    int next = step(at, part, make);
    int why = errno;
    close(at);
    if (next < 0) {
      if (make && (why == ENOTDIR || why == ELOOP))
        err_set(err, ERR_INVALID, "a part of \"%.*s\" is a file", STR_ARG(str_slice(path, 0, 200)));
      else
        missing(err, why, path);
      return -1;
    }
    at = next;
  }
  *ret_name = STR_NONE;
  return at;
}

int tree_open(int root, struct str path, int flags, struct err *err) {
  struct str name;
  AUTO_FD int parent = tree_open_parent(root, path, false, &name, err);
  if (parent < 0)
    return -1;
  char text[NAME_ROOM];
  if (name.n >= sizeof text) {
    missing(err, ENOENT, path);
    return -1;
  }
  if (!name.n)
    name = STR(".");
  snprintf(text, sizeof text, "%.*s", STR_ARG(name));
  int fd = is_hidden(text) ? -1 : openat(parent, text, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    missing(err, is_hidden(text) ? ENOENT : errno, path);
  return fd;
}

bool tree_sync_parents(int root, struct str path, struct err *err) {
  struct str prefix = path, name;
  for (;;) {
    AUTO_FD int parent = tree_open_parent(root, prefix, false, &name, err);
    if (parent < 0 || !fd_sync(parent, err))
      return false;
    if (name.n >= prefix.n)
      return true;
    prefix.n -= name.n + 1;
  }
}

bool tree_make(int root, struct str path, struct err *err) {
  struct str name;
  AUTO_FD int parent = tree_open_parent(root, path, true, &name, err);
  if (parent < 0)
    return false;
  AUTO_FD int made = step(parent, name, true);
  return made >= 0 || missing(err, errno, path);
}

/* ---- removal ---- */

static bool delete_at(int directory, const char *name, unsigned depth, struct err *err);

static bool delete_below(int directory, const char *name, unsigned depth, struct err *err) {
  int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
  if (!dir) {
    fd_close(&fd);
    return err_errno(err, errno, "cannot remove \"%s\"", name);
  }
  bool ok = true;
  for (struct dirent *entry; ok && (entry = readdir(dir)) != NULL;)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      ok = delete_at(dirfd(dir), entry->d_name, depth + 1, err);
  closedir(dir);
  return ok;
}

/* Uploads may begin in a directory that is being emptied. */
static bool delete_at(int directory, const char *name, unsigned depth, struct err *err) {
  if (unlinkat(directory, name, 0) == 0 || errno == ENOENT)
    return true;
  if (errno != EISDIR && errno != EPERM)
    return err_errno(err, errno, "cannot remove \"%s\"", name);
  if (depth > 4 * ARTIFACT_DEPTH_MAX)
    return err_set(err, ERR_INVALID, "the directories are nested too deeply");
  for (unsigned tries = 0; tries < REMOVE_TRIES; tries++) {
    if (!delete_below(directory, name, depth, err))
      return false;
    if (unlinkat(directory, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
      return true;
    if (errno != ENOTEMPTY && errno != EEXIST)
      break;
  }
  return err_errno(err, errno, "cannot remove \"%s\"", name);
}

bool tree_delete(int root, struct str path, struct err *err) {
  struct str name;
  struct err why;
  AUTO_FD int parent = tree_open_parent(root, path, false, &name, &why);
  if (parent < 0) {
    *err = why;
    return why.code == ERR_NOT_FOUND;
  }
  if (!name.n)
    return err_set(err, ERR_INVALID, "the whole store cannot be removed");
  char text[NAME_ROOM];
  snprintf(text, sizeof text, "%.*s", STR_ARG(name));
  return delete_at(parent, text, 0, err) && fd_sync(parent, err);
}

/* ---- lists ---- */

void tree_list_release(struct tree_list *list) {
  for (size_t i = 0; i < list->count; i++)
    mem_free((char *)(uintptr_t)list->entries[i].name);
  mem_free(list->entries);
  *list = (struct tree_list){0};
}

static bool add_entry(struct tree_list *list, const char *prefix, const char *name, bool is_dir, int64_t size, struct err *err) {
  if (list->count == ARTIFACT_LIST_MAX)
    return err_set(err, ERR_TOO_LARGE, "more than %d artifacts in one directory", ARTIFACT_LIST_MAX);
  if (list->count == list->cap) {
    size_t cap = list->cap ? list->cap * 2 : 64;
    void *more = mem_resize(list->entries, cap, sizeof *list->entries);
    if (!more)
      return err_no_memory(err);
    list->entries = more;
    list->cap = cap;
  }
  size_t room = strlen(prefix) + strlen(name) + 2;
  char *full = mem_alloc(room);
  if (!full)
    return err_no_memory(err);
  snprintf(full, room, "%s%s%s", prefix, prefix[0] ? "/" : "", name);
  list->entries[list->count++] = (struct artifact_entry){full, is_dir, size};
  return true;
}

static bool list_at(int fd_taken, const char *prefix, bool deep, unsigned depth, struct tree_list *list, struct err *err);

static bool list_entry(int directory, const char *prefix, const char *name, bool deep, unsigned depth, struct tree_list *list,
                       struct err *err) {
  struct stat st;
  if (is_hidden(name) || fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return true; /* gone meanwhile */
  if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
    return true;
  if (!add_entry(list, prefix, name, S_ISDIR(st.st_mode), S_ISREG(st.st_mode) ? st.st_size : 0, err))
    return false;
  if (!deep || !S_ISDIR(st.st_mode))
    return true;
  if (depth >= ARTIFACT_DEPTH_MAX)
    return err_set(err, ERR_TOO_LARGE, "the directories are nested too deeply");
  int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return true;
  char *below = mem_strdup(list->entries[list->count - 1].name);
  bool ok = below ? list_at(fd, below, deep, depth + 1, list, err) : err_no_memory(err);
  if (!below)
    close(fd);
  mem_free(below);
  return ok;
}

static bool list_at(int fd_taken, const char *prefix, bool deep, unsigned depth, struct tree_list *list, struct err *err) {
  DIR *dir = fdopendir(fd_taken);
  if (!dir) {
    close(fd_taken);
    return err_errno(err, errno, "a directory of artifacts");
  }
  bool ok = true;
  for (struct dirent *entry; ok && (entry = readdir(dir)) != NULL;)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      ok = list_entry(dirfd(dir), prefix, entry->d_name, deep, depth, list, err);
  closedir(dir);
  return ok;
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const struct artifact_entry *)a)->name, ((const struct artifact_entry *)b)->name);
}

bool tree_list(int root, struct str path, bool deep, struct tree_list *ret, struct err *err) {
  AUTO_TREE_LIST struct tree_list list = {0};
  int fd = tree_open(root, path, O_RDONLY | O_DIRECTORY, err);
  if (fd < 0 || !list_at(fd, "", deep, 0, &list, err))
    return false;
  if (list.count)
    qsort(list.entries, list.count, sizeof *list.entries, by_name);
  *ret = list;
  list = (struct tree_list){0};
  return true;
}

/* ---- digests ---- */

/* Takes the descriptor. */
static bool hash_file(int fd_taken, EVP_MD_CTX *hash, int64_t *ret_size, struct err *err) {
  AUTO_FD int fd = fd_taken;
  AUTO_FREE char *bytes = mem_alloc(COPY_ROOM);
  if (!bytes)
    return err_no_memory(err);
  *ret_size = 0;
  for (;;) {
    ssize_t n = read(fd, bytes, COPY_ROOM);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return err_errno(err, errno, "cannot read an artifact");
    if (n == 0)
      return true;
    *ret_size += n;
    if (EVP_DigestUpdate(hash, bytes, (size_t)n) != 1)
      return err_set(err, ERR_INTERNAL, "hashing failed");
  }
}

/* Adds one file: its name and size, then its content. */
static bool digest_file(int root, struct str path, const char *name, EVP_MD_CTX *hash, struct artifact_tree *tree, struct err *err) {
  AUTO_BUF struct buf full = BUF_INIT(64 * KIB);
  struct stat st;
  buf_printf(&full, "%.*s%s%s", STR_ARG(path), path.n && name[0] ? "/" : "", name);
  int fd = buf_ok(&full, err) ? tree_open(root, buf_str(&full), O_RDONLY, err) : -1;
  if (fd < 0)
    return false;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    close(fd);
    return missing(err, ENOENT, buf_str(&full));
  }
  char head[64];
  int n = snprintf(head, sizeof head, "%zu %lld ", strlen(name), (long long)st.st_size);
  int64_t size = 0;
  if (EVP_DigestUpdate(hash, head, (size_t)n) != 1 || EVP_DigestUpdate(hash, name, strlen(name)) != 1) {
    close(fd);
    return err_set(err, ERR_INTERNAL, "hashing failed");
  }
  if (!hash_file(fd, hash, &size, err))
    return false;
  tree->files++;
  tree->size += size;
  return true;
}

static bool is_directory(int root, struct str path) {
  struct err ignored;
  AUTO_FD int fd = tree_open(root, path, O_RDONLY | O_DIRECTORY, &ignored);
  return fd >= 0;
}

bool tree_digest(int root, struct str path, struct artifact_tree *ret, struct err *err) {
  AUTO_TREE_LIST struct tree_list list = {0};
  struct artifact_tree tree = {0};
  EVP_MD_CTX *hash = EVP_MD_CTX_new();
  if (!hash || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1) {
    EVP_MD_CTX_free(hash);
    return err_no_memory(err);
  }
  bool ok;
  if (!is_directory(root, path)) {
    ok = digest_file(root, path, "", hash, &tree, err);
  } else {
    ok = tree_list(root, path, true, &list, err);
    for (size_t i = 0; ok && i < list.count; i++)
      if (!list.entries[i].is_dir)
        ok = digest_file(root, path, list.entries[i].name, hash, &tree, err);
  }
  unsigned n = sizeof tree.digest;
  if (ok && EVP_DigestFinal_ex(hash, tree.digest, &n) != 1)
    ok = err_set(err, ERR_INTERNAL, "hashing failed");
  EVP_MD_CTX_free(hash);
  if (ok)
    *ret = tree;
  return ok;
}

/* ---- second names ---- */

bool tree_copy_file(int from, int to, struct err *err) {
  for (;;) {
    ssize_t n = copy_file_range(from, NULL, to, NULL, (size_t)1 << 30, 0);
    if (n == 0)
      return fd_sync(to, err);
    if (n < 0 && errno != EINTR)
      break;
  }
  AUTO_FREE char *bytes = mem_alloc(COPY_ROOM);
  if (!bytes)
    return err_no_memory(err);
  for (;;) {
    ssize_t n = read(from, bytes, COPY_ROOM);
    if (n == 0)
      return fd_sync(to, err);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return err_errno(err, errno, "cannot read an artifact");
    if (!fd_write_all(to, bytes, (size_t)n, err))
      return false;
  }
}

static bool link_file(int root, struct str from, struct str to, struct err *err) {
  struct str from_name, to_name;
  char from_text[NAME_ROOM], to_text[NAME_ROOM];
  AUTO_FD int from_dir = tree_open_parent(root, from, false, &from_name, err);
  AUTO_FD int to_dir = from_dir >= 0 ? tree_open_parent(root, to, true, &to_name, err) : -1;
  if (from_dir < 0 || to_dir < 0)
    return false;
  snprintf(from_text, sizeof from_text, "%.*s", STR_ARG(from_name));
  snprintf(to_text, sizeof to_text, "%.*s", STR_ARG(to_name));
  if (linkat(from_dir, from_text, to_dir, to_text, 0) == 0)
    return tree_sync_parents(root, to, err);
  if (errno != EXDEV && errno != EMLINK && errno != EPERM && errno != EOPNOTSUPP)
    return missing(err, errno, from);
  AUTO_FD int in = tree_open(root, from, O_RDONLY, err);
  if (in < 0)
    return false;
  AUTO_FD int out = openat(to_dir, to_text, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (out < 0)
    return err_errno(err, errno, "cannot make \"%.*s\"", STR_ARG(str_slice(to, 0, 200)));
  return tree_copy_file(in, out, err) && tree_sync_parents(root, to, err);
}

static bool link_into(int root, struct str from, struct str to, struct err *err) {
  struct str name = str_last(from, '/');
  AUTO_BUF struct buf below = BUF_INIT(64 * KIB);
  buf_printf(&below, "%.*s/%.*s", STR_ARG(to), STR_ARG(name));
  return buf_ok(&below, err) && link_file(root, from, buf_str(&below), err);
}

bool tree_link(int root, struct str from, struct str to, bool *ret_is_file, struct err *err) {
  AUTO_TREE_LIST struct tree_list list = {0};
  *ret_is_file = !is_directory(root, from);
  if (*ret_is_file)
    return link_into(root, from, to, err);
  if (!tree_list(root, from, true, &list, err))
    return false;
  for (size_t i = 0; i < list.count; i++) {
    if (list.entries[i].is_dir)
      continue;
    AUTO_BUF struct buf a = BUF_INIT(64 * KIB), b = BUF_INIT(64 * KIB);
    buf_printf(&a, "%.*s/%s", STR_ARG(from), list.entries[i].name);
    buf_printf(&b, "%.*s/%s", STR_ARG(to), list.entries[i].name);
    if (!buf_ok(&a, err) || !buf_ok(&b, err) || !link_file(root, buf_str(&a), buf_str(&b), err))
      return false;
  }
  return true;
}
