#include "sweeper/machine/code_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/tar.h"

/* Names of what is on its way, and of what is on its way out. */
#define CODE_HIDDEN ".winnow-"

enum { PATH_SIZE = 4096, HIDDEN_NAME = 48 };

struct code_store {
  char *directory;
  int root;
  struct work_pool *work;
  const struct clock *clock;
  struct rng rng;
};

/* ---- removing ---- */

struct removal {
  struct work work;
  char path[PATH_SIZE];
};

static void run_removal(struct work *work) {
  struct removal *removal = CONTAINER_OF(work, struct removal, work);
  struct err err;
  if (!tree_remove(removal->path, &err))
    log_warn("code", NULL, "%s was not removed: %s", removal->path, err.text);
}

static void removed(struct work *work, bool cancelled UNUSED) {
  mem_free(CONTAINER_OF(work, struct removal, work)); /* what is left is removed at the next start */
}

static void remove_later(struct code_store *store, const char *name) {
  struct removal *removal = mem_zalloc(sizeof *removal);
  struct err err;
  if (!removal)
    return;
  snprintf(removal->path, sizeof removal->path, "%s/%s", store->directory, name);
  removal->work = (struct work){.run = run_removal, .done = removed};
  if (!work_submit(store->work, &removal->work, &err))
    mem_free(removal);
}

static void make_hidden(struct code_store *store, char ret[HIDDEN_NAME]) {
  char id[ID_HEX_LEN + 1];
  id_format(id_new(store->clock, &store->rng), id);
  snprintf(ret, HIDDEN_NAME, CODE_HIDDEN "%s", id);
}

/* ---- the store ---- */

static void each_name(struct code_store *store, void (*fn)(struct code_store *store, const char *name, void *ctx), void *ctx) {
  DIR *dir = opendir(store->directory);
  if (!dir)
    return;
  for (struct dirent *entry; (entry = readdir(dir));)
    fn(store, entry->d_name, ctx);
  closedir(dir);
}

static void remove_hidden(struct code_store *store, const char *name, void *ctx UNUSED) {
  if (str_starts(str_of(name), STR(CODE_HIDDEN)))
    remove_later(store, name);
}

struct code_store *code_store_new(const char *data_dir, struct work_pool *work, const struct clock *clock, struct err *err) {
  struct code_store *store = mem_zalloc(sizeof *store);
  AUTO_BUF struct buf path = BUF_INIT(PATH_SIZE);
  if (!store) {
    err_no_memory(err);
    return NULL;
  }
  *store = (struct code_store){.root = -1, .work = work, .clock = clock, .rng = rng_from_system()};
  buf_printf(&path, "%s/code", data_dir);
  bool ok = buf_ok(&path, err) && dir_make(buf_text(&path), 0700, err);
  store->directory = ok ? buf_take(&path) : NULL;
  store->root = store->directory ? open(store->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (store->root < 0) {
    if (ok)
      err_errno(err, errno, "cannot open %s/code", data_dir);
    code_store_free(store);
    return NULL;
  }
  each_name(store, remove_hidden, NULL);
  return store;
}

void code_store_free(struct code_store *store) {
  if (!store)
    return;
  fd_close(&store->root);
  mem_free(store->directory);
  mem_free(store);
}

bool code_digest_read(struct str text, char ret[DIGEST_HEX + 1]) {
  if (str_starts(text, STR("sha256:")))
    text = str_slice(text, 7, text.n);
  if (text.n != DIGEST_HEX)
    return false;
  for (size_t i = 0; i < text.n; i++)
    if (!(text.p[i] >= '0' && text.p[i] <= '9') && !(text.p[i] >= 'a' && text.p[i] <= 'f'))
      return false;
  memcpy(ret, text.p, text.n);
  ret[DIGEST_HEX] = 0;
  return true;
}

void code_path(const struct code_store *store, const char sha256[DIGEST_HEX + 1], struct buf *out) {
  buf_printf(out, "%s/%s", store->directory, sha256);
}

bool code_has(struct code_store *store, const char sha256[DIGEST_HEX + 1]) {
  struct stat st;
  if (fstatat(store->root, sha256, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode))
    return false;
  /* Its own time says when it was last asked for. */
  return utimensat(store->root, sha256, NULL, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- unpacking: on a thread ---- */

static bool bad_entry(const struct tar_entry *entry, const char *why, struct err *err) {
  return err_set(err, ERR_INVALID, "\"%.*s\" in the archive %s", STR_ARG(str_slice(entry->path, 0, 200)), why);
}

/* A directory of the tree, made as far as it is not there. */
static int open_directory(int root, struct str path, struct err *err) {
  int fd = fcntl(root, F_DUPFD_CLOEXEC, 0);
  struct str part;
  while (fd >= 0 && path.n && str_split(&path, '/', &part)) {
    char name[256];
    snprintf(name, sizeof name, "%.*s", STR_ARG(part));
    int made = mkdirat(fd, name, 0755);
    int next = made == 0 || errno == EEXIST ? openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    close(fd);
    fd = next;
  }
  if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
    err_set(err, ERR_INVALID, "a path in the archive leads through what is no directory");
  else if (fd < 0)
    err_errno(err, errno, "a directory of the archive cannot be made");
  return fd;
}

/* The date of every file of a snapshot: long before any attempt that gets a copy, so that a log which lay about when it was taken is not
 * taken for what the attempt writes. */
static const struct timespec snapshot_date[2] = {{.tv_sec = 315532800}, {.tv_sec = 315532800}};

static bool write_file(int dir, const char *name, const struct tar_entry *entry, struct str content, struct err *err) {
  AUTO_FD int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0 && errno == EEXIST)
    return bad_entry(entry, "stands there twice", err);
  if (fd < 0)
    return err_errno(err, errno, "cannot write %s", name);
  return fd_write_all(fd, content.p, content.n, err) &&
         ((fchmod(fd, (entry->mode & 0777) | 0400) == 0 && futimens(fd, snapshot_date) == 0) ||
          err_errno(err, errno, "cannot write %s", name));
}

static bool unpack_entry(int root, const struct tar_entry *entry, struct str content, struct err *err) {
  const char *slash = entry->path.n ? memrchr(entry->path.p, '/', entry->path.n) : NULL;
  size_t holder = slash ? (size_t)(slash - entry->path.p) : 0;
  char name[256], target[PATH_SIZE];
  if (!entry->path.n)
    return entry->kind == TAR_DIRECTORY || bad_entry(entry, "has no name", err);
  if (!snapshot_path_ok(entry->path))
    return bad_entry(entry, "is no path within a directory", err);
  if (entry->kind == TAR_OTHER)
    return bad_entry(entry, "is neither file, directory nor symbolic link", err);
  if (entry->kind == TAR_LINK && !snapshot_link_stays(entry->path, entry->link))
    return bad_entry(entry, "is a link that leads outward", err);
  AUTO_FD int dir = open_directory(root, str_slice(entry->path, 0, holder), err);
  if (dir < 0)
    return false;
  snprintf(name, sizeof name, "%.*s", STR_ARG(str_slice(entry->path, slash ? holder + 1 : 0, entry->path.n)));
  if (entry->kind == TAR_FILE)
    return write_file(dir, name, entry, content, err);
  if (entry->kind == TAR_LINK) {
    snprintf(target, sizeof target, "%.*s", STR_ARG(entry->link));
    return symlinkat(target, dir, name) == 0 || bad_entry(entry, "stands there twice", err);
  }
  AUTO_FD int made = open_directory(dir, str_of(name), err);
  return made >= 0 && (fchmod(made, (entry->mode & 0777) | 0700) == 0 || err_errno(err, errno, "cannot write %s", name));
}

static bool unpack_bytes(int root, struct str archive, struct err *err) {
  AUTO_FREE struct tar_reader *reader = mem_alloc(sizeof *reader);
  struct tar_entry entry;
  struct str content;
  size_t entries = 0;
  if (!reader)
    return err_no_memory(err);
  *reader = TAR_READER(archive);
  while (tar_next(reader, &entry, &content, err)) {
    if (++entries > SNAPSHOT_ENTRIES_MAX)
      return err_set(err, ERR_TOO_LARGE, "the archive has more than %d entries", SNAPSHOT_ENTRIES_MAX);
    if (!unpack_entry(root, &entry, content, err))
      return false;
  }
  return err->code == ERR_NONE;
}

/* Everything below, and the directory itself. Not syncfs(): what others write to the disk is not waited for. */
static bool sync_tree(int parent, const char *name, struct err *err) {
  int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  struct stat st;
  if (fd < 0 && errno == ELOOP)
    return true; /* a symbolic link is part of its directory */
  if (fd < 0 || fstat(fd, &st) != 0 || fsync(fd) != 0) {
    err_errno(err, errno, "cannot sync %s", name);
    fd_close(&fd);
    return false;
  }
  DIR *dir = S_ISDIR(st.st_mode) ? fdopendir(fd) : NULL;
  bool ok = dir || !S_ISDIR(st.st_mode) || err_no_memory(err);
  for (struct dirent *entry; ok && dir && (entry = readdir(dir));)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      ok = sync_tree(dirfd(dir), entry->d_name, err);
  if (dir)
    closedir(dir);
  else
    close(fd);
  return ok;
}

static bool unpack(int root, int archive, struct err *err) {
  struct stat st;
  if (fstat(archive, &st) != 0)
    return err_errno(err, errno, "cannot read the archive");
  if (st.st_size == 0)
    return err_set(err, ERR_INVALID, "the archive is empty");
  void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, archive, 0);
  if (bytes == MAP_FAILED)
    return err_errno(err, errno, "cannot read the archive");
  bool ok = unpack_bytes(root, str_n(bytes, (size_t)st.st_size), err);
  munmap(bytes, (size_t)st.st_size);
  return ok;
}

/* ---- putting one in ---- */

struct code_upload {
  struct work work;
  struct code_store *store;
  char sha256[DIGEST_HEX + 1], archive[HIDDEN_NAME], tree[HIDDEN_NAME];
  int fd; /* of the archive; -1: not open yet, or not any more */
  struct digest *digest;
  struct str last;
  char *directory; /* to take; NULL: the archive was sent */
  struct snapshot_source source;
  struct str *links;
  struct err err;
  code_stored_fn *done;
  void *ctx;
};

/* To free the blocks of a long one takes time. */
static void remove_archive(struct code_upload *upload) {
  if (upload->fd >= 0)
    unlinkat(upload->store->root, upload->archive, 0);
  fd_close(&upload->fd);
}

static void upload_free(struct code_upload *upload) {
  char ignored[DIGEST_HEX + 1];
  remove_archive(upload);
  if (upload->digest)
    digest_end(upload->digest, ignored);
  for (size_t i = 0; upload->links && i < upload->source.link_count; i++)
    mem_free((char *)(uintptr_t)upload->links[i].p);
  mem_free(upload->links);
  mem_free(upload->directory);
  mem_free(upload);
}

static bool upload_make(struct code_store *store, struct code_upload **ret, struct err *err) {
  struct code_upload *upload = mem_zalloc(sizeof *upload);
  if (!upload)
    return err_no_memory(err);
  *upload = (struct code_upload){.store = store, .fd = -1, .digest = digest_new()};
  make_hidden(store, upload->archive);
  make_hidden(store, upload->tree);
  if (!upload->digest) {
    upload_free(upload);
    return err_no_memory(err);
  }
  *ret = upload;
  return true;
}

bool code_upload_new(struct code_store *store, const char sha256[DIGEST_HEX + 1], struct code_upload **ret, struct err *err) {
  if (!upload_make(store, ret, err))
    return false;
  memcpy((*ret)->sha256, sha256, DIGEST_HEX + 1);
  return true;
}

static bool open_archive(struct code_upload *upload, struct err *err) {
  const struct code_store *store = upload->store;
  upload->fd = openat(store->root, upload->archive, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  return upload->fd >= 0 || err_errno(err, errno, "cannot write below %s", store->directory);
}

bool code_upload_write(struct code_upload *upload, struct str bytes, struct err *err) {
  if ((upload->fd < 0 && !open_archive(upload, err)) || !fd_write_all(upload->fd, bytes.p, bytes.n, err))
    return false;
  digest_add(upload->digest, bytes);
  return true;
}

static void run_abort(struct work *work) {
  remove_archive(CONTAINER_OF(work, struct code_upload, work));
}

static void aborted(struct work *work, bool cancelled UNUSED) {
  upload_free(CONTAINER_OF(work, struct code_upload, work));
}

void code_upload_abort(struct code_upload *upload) {
  struct err ignored;
  if (!upload)
    return;
  upload->work = (struct work){.run = run_abort, .done = aborted};
  if (upload->fd < 0 || !work_submit(upload->store->work, &upload->work, &ignored))
    upload_free(upload);
}

static bool check_digest(struct code_upload *upload, struct err *err) {
  char found[DIGEST_HEX + 1];
  digest_end(upload->digest, found);
  upload->digest = NULL;
  return strcmp(found, upload->sha256) == 0 ||
         err_set(err, ERR_INVALID, "the SHA-256 of what was sent is %s, not %s", found, upload->sha256);
}

/* What is whole takes its name; what is there already is the same. */
static bool place(const struct code_upload *upload, struct err *err) {
  int root = upload->store->root;
  struct stat st;
  if (!sync_tree(root, upload->tree, err))
    return false;
  if (renameat(root, upload->tree, root, upload->sha256) != 0 && fstatat(root, upload->sha256, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return err_errno(err, errno, "cannot put the snapshot in its place");
  return fd_sync(root, err);
}

static bool store_upload(struct code_upload *upload, struct err *err) {
  struct snapshot snapshot;
  struct stat st;
  if (!code_upload_write(upload, upload->last, err) /* opens it, too */)
    return false;
  if (upload->directory && !snapshot_write(&upload->source, upload->fd, &snapshot, err))
    return false;
  if (upload->directory)
    memcpy(upload->sha256, snapshot.sha256, sizeof upload->sha256);
  else if (!check_digest(upload, err))
    return false;
  if (fstatat(upload->store->root, upload->sha256, &st, AT_SYMLINK_NOFOLLOW) == 0)
    return utimensat(upload->store->root, upload->sha256, NULL, AT_SYMLINK_NOFOLLOW) == 0 || err_errno(err, errno, "cannot note its use");
  if (mkdirat(upload->store->root, upload->tree, 0700) != 0)
    return err_errno(err, errno, "cannot write below %s", upload->store->directory);
  AUTO_FD int tree = openat(upload->store->root, upload->tree, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return (tree >= 0 || err_errno(err, errno, "cannot write below %s", upload->store->directory)) && unpack(tree, upload->fd, err) &&
         place(upload, err);
}

static void run_upload(struct work *work) {
  struct code_upload *upload = CONTAINER_OF(work, struct code_upload, work);
  struct err ignored;
  char path[PATH_SIZE];
  upload->err.code = ERR_NONE;
  if (!store_upload(upload, &upload->err) && upload->err.code == ERR_NONE)
    err_set(&upload->err, ERR_INTERNAL, "storing failed");
  snprintf(path, sizeof path, "%s/%s", upload->store->directory, upload->tree);
  if (!tree_remove(path, &ignored)) /* what did not take its name */
    log_warn("code", NULL, "%s", ignored.text);
  remove_archive(upload);
}

static void uploaded(struct work *work, bool cancelled) {
  struct code_upload *upload = CONTAINER_OF(work, struct code_upload, work);
  if (cancelled)
    err_set(&upload->err, ERR_UNAVAILABLE, "the service is stopping");
  bool ok = upload->err.code == ERR_NONE;
  upload->done(upload->ctx, ok ? upload->sha256 : NULL, ok ? NULL : &upload->err);
  upload_free(upload);
}

bool code_upload_finish(struct code_upload *upload, struct str last, code_stored_fn *done, void *ctx, struct err *err) {
  upload->last = last;
  upload->done = done;
  upload->ctx = ctx;
  upload->work = (struct work){.run = run_upload, .done = uploaded};
  if (work_submit(upload->store->work, &upload->work, err))
    return true;
  upload_free(upload);
  return false;
}

static bool copy_source(struct code_upload *upload, const struct snapshot_source *source, struct err *err) {
  upload->directory = mem_strdup(source->directory);
  upload->links = mem_array(source->link_count + 1, sizeof *upload->links);
  upload->source = (struct snapshot_source){.directory = upload->directory, .links = upload->links, .max = source->max};
  if (!upload->directory || !upload->links)
    return err_no_memory(err);
  for (size_t i = 0; i < source->link_count; i++) {
    const char *copy = mem_strndup(source->links[i].p, source->links[i].n);
    if (!copy)
      return err_no_memory(err);
    upload->links[upload->source.link_count++] = str_n(copy, source->links[i].n);
  }
  return true;
}

bool code_take(struct code_store *store, const struct snapshot_source *source, code_stored_fn *done, void *ctx, struct err *err) {
  struct code_upload *upload;
  if (!upload_make(store, &upload, err))
    return false;
  if (copy_source(upload, source, err))
    return code_upload_finish(upload, STR(""), done, ctx, err);
  upload_free(upload);
  return false;
}

/* ---- taking it away ---- */

struct collecting {
  const struct code_collect *how;
  int64_t before_ms;
  size_t count;
};

static void collect_one(struct code_store *store, const char *name, void *ctx) {
  struct collecting *collecting = ctx;
  const struct code_collect *how = collecting->how;
  char sha256[DIGEST_HEX + 1], hidden[HIDDEN_NAME];
  struct stat st;
  if (!code_digest_read(str_of(name), sha256) || fstatat(store->root, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return;
  int64_t used_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
  if (used_ms > collecting->before_ms || how->named(how->named_ctx, sha256))
    return;
  make_hidden(store, hidden);
  if (!how->dry_run && renameat(store->root, name, store->root, hidden) != 0)
    return;
  collecting->count++;
  if (how->found)
    how->found(how->found_ctx, sha256);
  if (!how->dry_run)
    remove_later(store, hidden);
}

size_t code_store_collect(struct code_store *store, const struct code_collect *collect) {
  struct collecting collecting = {.how = collect, .before_ms = clock_wall_ms(store->clock) - collect->unused_ms};
  each_name(store, collect_one, &collecting);
  return collecting.count;
}
