#include "tracker/artifacts/artifact_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>

#include "base/file.h"
#include "base/mem.h"

enum { NAME_ROOM = 256, COPY_ROOM = 1 << 16, COPY_PIECE = 16 << 20, DIRECTORY_MODE = 0755, REMOVE_TRIES = 1000 };

static bool may_go_on(tree_stop *stop, struct err *err) {
  return !stop || !atomic_load_explicit(stop, memory_order_relaxed) || err_set(err, ERR_UNAVAILABLE, "the service is stopping");
}

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

bool tree_may_delete(int root, struct str path, bool *ret_is_there, bool *ret_is_dir, struct err *err) {
  struct str name;
  struct stat st;
  AUTO_FD int parent = tree_open_parent(root, path, false, &name, err);
  *ret_is_there = *ret_is_dir = false;
  if (parent < 0)
    return err->code == ERR_NOT_FOUND;
  if (!name.n)
    return err_set(err, ERR_INVALID, "the whole store cannot be removed");
  char text[NAME_ROOM];
  snprintf(text, sizeof text, "%.*s", STR_ARG(name));
  if (fstatat(parent, text, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT || err_errno(err, errno, "cannot remove \"%s\"", text);
  if (faccessat(parent, ".", W_OK | X_OK, AT_EACCESS) != 0)
    return err_errno(err, errno, "cannot remove \"%s\"", text);
  *ret_is_there = true;
  *ret_is_dir = S_ISDIR(st.st_mode);
  return true;
}

int64_t tree_changed_ms(const struct stat *st) {
  int64_t written = st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000,
          changed = st->st_ctim.tv_sec * 1000 + st->st_ctim.tv_nsec / 1000000;
  return MAX_OF(written, changed);
}

bool tree_collect(int root, struct str path, int64_t changed_ms, bool *ret_removed, struct err *err) {
  struct str name;
  struct stat st;
  AUTO_FD int parent = tree_open_parent(root, path, false, &name, err);
  char text[NAME_ROOM];
  *ret_removed = false;
  if (parent < 0)
    return err->code == ERR_NOT_FOUND;
  snprintf(text, sizeof text, "%.*s", STR_ARG(name));
  if (fstatat(parent, text, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode) || tree_changed_ms(&st) != changed_ms)
    return true;
  if (unlinkat(parent, text, 0) != 0 && errno != ENOENT)
    return err_errno(err, errno, "cannot remove \"%s\"", text);
  *ret_removed = true;
  return true;
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

bool tree_delete_empty(int root, struct str path, struct err *err) {
  struct str name;
  AUTO_FD int parent = tree_open_parent(root, path, false, &name, err);
  if (parent < 0 || !name.n)
    return parent < 0 ? err->code == ERR_NOT_FOUND : err_set(err, ERR_INVALID, "the whole store cannot be removed");
  char text[NAME_ROOM];
  snprintf(text, sizeof text, "%.*s", STR_ARG(name));
  if (unlinkat(parent, text, AT_REMOVEDIR) == 0)
    return fd_sync(parent, err);
  return errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR ||
         err_errno(err, errno, "cannot remove \"%s\"", text);
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

/* ---- is there a file? ---- */

static bool file_below(int fd_taken, unsigned depth, unsigned *left);

static bool is_or_holds_file(int directory, const char *name, unsigned depth, unsigned *left) {
  struct stat st;
  if (is_hidden(name) || fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return false;
  if (!S_ISDIR(st.st_mode))
    return S_ISREG(st.st_mode);
  if (depth >= ARTIFACT_DEPTH_MAX || *left == 0)
    return true;
  (*left)--;
  int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return fd >= 0 && file_below(fd, depth + 1, left);
}

static bool file_below(int fd_taken, unsigned depth, unsigned *left) {
  DIR *dir = fdopendir(fd_taken);
  bool found = false;
  if (!dir) {
    close(fd_taken);
    return false;
  }
  for (struct dirent *entry; !found && (entry = readdir(dir)) != NULL;)
    found = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && is_or_holds_file(dirfd(dir), entry->d_name, depth, left);
  closedir(dir);
  return found;
}

bool tree_holds_file(int root, struct str path) {
  struct err ignored;
  struct stat st;
  unsigned left = EMPTY_DIRECTORIES_MAX;
  AUTO_FD int fd = tree_open(root, path, O_PATH, &ignored);
  if (fd < 0 || fstat(fd, &st) != 0)
    return false;
  if (!S_ISDIR(st.st_mode))
    return S_ISREG(st.st_mode);
  int directory = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return directory >= 0 && file_below(directory, 0, &left);
}

/* ---- digests ---- */

void tree_sums_release(struct tree_sums *sums) {
  for (size_t i = 0; i < sums->count; i++)
    mem_free(sums->items[i].name);
  mem_free(sums->items);
  *sums = (struct tree_sums){0};
}

static bool add_sum(struct tree_sums *sums, const char *name, const struct artifact_file *file, struct err *err) {
  if (sums->count == sums->cap) {
    size_t cap = sums->cap ? sums->cap * 2 : 64;
    void *more = mem_resize(sums->items, cap, sizeof *sums->items);
    if (!more)
      return err_no_memory(err);
    sums->items = more;
    sums->cap = cap;
  }
  char *copy = mem_strdup(name);
  if (!copy)
    return err_no_memory(err);
  sums->items[sums->count++] = (struct tree_sum){copy, *file};
  return true;
}

/* Of a whole tree, and of the file that is being read. */
struct digester {
  EVP_MD_CTX *tree, *file;
  char *bytes;
  tree_stop *stop;
  struct artifact_tree sum;
  struct tree_sums *sums; /* NULL: nobody asks */
};

static void digester_release(struct digester *d) {
  EVP_MD_CTX_free(d->tree);
  EVP_MD_CTX_free(d->file);
  mem_free(d->bytes);
}
#define AUTO_DIGESTER CLEANUP(digester_release)

static bool digester_init(struct digester *d, tree_stop *stop, struct tree_sums *sums, struct err *err) {
  *d = (struct digester){.tree = EVP_MD_CTX_new(), .file = EVP_MD_CTX_new(), .bytes = mem_alloc(COPY_ROOM), .stop = stop, .sums = sums};
  return (d->tree && d->file && d->bytes && EVP_DigestInit_ex(d->tree, EVP_sha256(), NULL) == 1) || err_no_memory(err);
}

static bool hash_bytes(struct digester *d, const void *bytes, size_t n, struct err *err) {
  bool ok = EVP_DigestUpdate(d->tree, bytes, n) == 1 && (!d->sums || EVP_DigestUpdate(d->file, bytes, n) == 1);
  return ok || err_set(err, ERR_INTERNAL, "hashing failed");
}

static bool hash_file(struct digester *d, int fd, int64_t *ret_size, struct err *err) {
  *ret_size = 0;
  while (may_go_on(d->stop, err)) {
    ssize_t n = read(fd, d->bytes, COPY_ROOM);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return err_errno(err, errno, "cannot read an artifact");
    if (n == 0)
      return true;
    *ret_size += n;
    if (!hash_bytes(d, d->bytes, (size_t)n, err))
      return false;
  }
  return false;
}

static bool finish_file(struct digester *d, const char *name, int64_t size, struct err *err) {
  struct artifact_file file = {.size = size};
  unsigned n = sizeof file.sha256;
  d->sum.files++;
  d->sum.size += size;
  if (!d->sums)
    return true;
  if (EVP_DigestFinal_ex(d->file, file.sha256, &n) != 1)
    return err_set(err, ERR_INTERNAL, "hashing failed");
  return add_sum(d->sums, name, &file, err);
}

/* Adds one file: its name and size, then its content. */
static bool digest_file(struct digester *d, int root, struct str path, const char *name, struct err *err) {
  AUTO_BUF struct buf full = BUF_INIT(64 * KIB);
  struct stat st;
  buf_printf(&full, "%.*s%s%s", STR_ARG(path), path.n && name[0] ? "/" : "", name);
  AUTO_FD int fd = buf_ok(&full, err) ? tree_open(root, buf_str(&full), O_RDONLY, err) : -1;
  if (fd < 0)
    return false;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
    return missing(err, ENOENT, buf_str(&full));
  char head[64];
  int n = snprintf(head, sizeof head, "%zu %lld ", strlen(name), (long long)st.st_size);
  int64_t size;
  if (EVP_DigestUpdate(d->tree, head, (size_t)n) != 1 || EVP_DigestUpdate(d->tree, name, strlen(name)) != 1 ||
      EVP_DigestInit_ex(d->file, EVP_sha256(), NULL) != 1)
    return err_set(err, ERR_INTERNAL, "hashing failed");
  return hash_file(d, fd, &size, err) && finish_file(d, name, size, err);
}

static bool is_directory(int root, struct str path) {
  struct err ignored;
  AUTO_FD int fd = tree_open(root, path, O_RDONLY | O_DIRECTORY, &ignored);
  return fd >= 0;
}

bool tree_digest(int root, struct str path, tree_stop *stop, struct artifact_tree *ret, struct tree_sums *sums, struct err *err) {
  AUTO_TREE_LIST struct tree_list list = {0};
  AUTO_DIGESTER struct digester d;
  bool ok = digester_init(&d, stop, sums, err);
  if (ok && !is_directory(root, path)) {
    ok = digest_file(&d, root, path, "", err);
  } else if (ok) {
    ok = tree_list(root, path, true, &list, err);
    for (size_t i = 0; ok && i < list.count; i++)
      if (!list.entries[i].is_dir)
        ok = digest_file(&d, root, path, list.entries[i].name, err);
  }
  unsigned n = sizeof d.sum.digest;
  if (ok && EVP_DigestFinal_ex(d.tree, d.sum.digest, &n) != 1)
    ok = err_set(err, ERR_INTERNAL, "hashing failed");
  if (ok)
    *ret = d.sum;
  return ok;
}

/* ---- second names ---- */

bool tree_copy_file(int from, int to, tree_stop *stop, struct err *err) {
  for (;;) {
    ssize_t n = copy_file_range(from, NULL, to, NULL, COPY_PIECE, 0);
    if (n == 0)
      return fd_sync(to, err);
    if (n < 0 && errno != EINTR)
      break;
    if (!may_go_on(stop, err))
      return false;
  }
  AUTO_FREE char *bytes = mem_alloc(COPY_ROOM);
  if (!bytes)
    return err_no_memory(err);
  while (may_go_on(stop, err)) {
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
  return false;
}

struct keeping {
  int root;
  enum tree_how how;
  tree_stop *stop;
  bool needs_copies;
};

/* It was whole when it was opened, and is never changed in place. */
static bool copy_file(int from_dir, const char *from, int to_dir, const char *to, tree_stop *stop, struct err *err) {
  AUTO_FD int in = openat(from_dir, from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (in < 0)
    return missing(err, errno, str_of(from));
  AUTO_FD int out = openat(to_dir, to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (out < 0)
    return err_errno(err, errno, "cannot make \"%s\"", to);
  return tree_copy_file(in, out, stop, err);
}

static bool keep_file(struct keeping *keeping, struct str from, struct str to, struct err *err) {
  struct str from_name, to_name;
  char from_text[NAME_ROOM], to_text[NAME_ROOM];
  AUTO_FD int from_dir = tree_open_parent(keeping->root, from, false, &from_name, err);
  AUTO_FD int to_dir = from_dir >= 0 ? tree_open_parent(keeping->root, to, true, &to_name, err) : -1;
  if (from_dir < 0 || to_dir < 0)
    return false;
  snprintf(from_text, sizeof from_text, "%.*s", STR_ARG(from_name));
  snprintf(to_text, sizeof to_text, "%.*s", STR_ARG(to_name));
  if (keeping->how == TREE_COPIES)
    return copy_file(from_dir, from_text, to_dir, to_text, keeping->stop, err);
  if (linkat(from_dir, from_text, to_dir, to_text, 0) == 0)
    return true;
  keeping->needs_copies = errno == EXDEV || errno == EMLINK || errno == EPERM || errno == EOPNOTSUPP;
  return missing(err, errno, from);
}

static bool keep_one(struct keeping *keeping, struct str from, struct str to, struct err *err) {
  AUTO_BUF struct buf below = BUF_INIT(64 * KIB);
  buf_printf(&below, "%.*s/%.*s", STR_ARG(to), STR_ARG(str_last(from, '/')));
  return buf_ok(&below, err) && keep_file(keeping, from, buf_str(&below), err);
}

static bool keep_all(struct keeping *keeping, struct str from, struct str to, struct err *err) {
  AUTO_TREE_LIST struct tree_list list = {0};
  if (!tree_list(keeping->root, from, true, &list, err))
    return false;
  for (size_t i = 0; i < list.count; i++) {
    if (list.entries[i].is_dir)
      continue;
    AUTO_BUF struct buf a = BUF_INIT(64 * KIB), b = BUF_INIT(64 * KIB);
    buf_printf(&a, "%.*s/%s", STR_ARG(from), list.entries[i].name);
    buf_printf(&b, "%.*s/%s", STR_ARG(to), list.entries[i].name);
    if (!buf_ok(&a, err) || !buf_ok(&b, err) || !keep_file(keeping, buf_str(&a), buf_str(&b), err))
      return false;
  }
  return true;
}

bool tree_keep(int root, struct str from, struct str to, enum tree_how how, tree_stop *stop, struct tree_kept *ret, struct err *err) {
  struct keeping keeping = {.root = root, .how = how, .stop = stop};
  *ret = (struct tree_kept){.is_file = !is_directory(root, from)};
  bool ok = ret->is_file ? keep_one(&keeping, from, to, err) : keep_all(&keeping, from, to, err);
  ret->needs_copies = keeping.needs_copies;
  return ok;
}

static bool sync_directory(int root, struct str path, struct err *err) {
  AUTO_FD int fd = tree_open(root, path, O_RDONLY | O_DIRECTORY, err);
  return fd >= 0 && fd_sync(fd, err);
}

bool tree_sync(int root, struct str path, struct err *err) {
  AUTO_TREE_LIST struct tree_list list = {0};
  if (!is_directory(root, path))
    return tree_sync_parents(root, path, err);
  bool ok = tree_list(root, path, true, &list, err) && sync_directory(root, path, err);
  for (size_t i = 0; ok && i < list.count; i++) {
    AUTO_BUF struct buf below = BUF_INIT(64 * KIB);
    if (!list.entries[i].is_dir)
      continue;
    buf_printf(&below, "%.*s/%s", STR_ARG(path), list.entries[i].name);
    ok = buf_ok(&below, err) && sync_directory(root, buf_str(&below), err);
  }
  return ok && tree_sync_parents(root, path, err);
}
