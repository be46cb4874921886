#include "tracker/artifacts/artifact_store.h"

#include <fcntl.h>
#include <openssl/evp.h>

#include "base/file.h"
#include "base/id.h"
#include "base/mem.h"
#include "storage/pg/pg.h"
#include "tracker/artifacts/artifact_tree.h"
#include "tracker/artifacts/path_turns.h"

struct artifact_store {
  char *directory;
  struct str uri; /* empty: none */
  bool shared;
  int root;
  struct work_pool *work, *disk;
  struct pg_pool *pg;
  const struct clock *clock;
  struct list turns; /* of those that change files: a file and its row are changed together */
};

struct artifact_store *artifact_store_new(const struct artifact_store_conf *conf, struct work_pool *work, struct work_pool *disk,
                                          struct pg_pool *pg, const struct clock *clock, struct err *err) {
  const char *directory = conf->directory;
  if (!dir_make(directory, 0755, err))
    return NULL;
  struct artifact_store *store = mem_zalloc(sizeof *store);
  if (!store) {
    err_no_memory(err);
    return NULL;
  }
  store->work = work;
  store->disk = disk;
  store->pg = pg;
  store->clock = clock;
  store->uri = conf->uri ? file_uri_path(str_of(conf->uri)) : STR("");
  store->shared = conf->shared;
  store->directory = mem_strdup(directory);
  store->root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (store->root >= 0 && store->directory)
    return store;
  if (store->root < 0)
    err_errno(err, errno, "cannot open %s", directory);
  else
    err_no_memory(err);
  artifact_store_free(store);
  return NULL;
}

void artifact_store_free(struct artifact_store *store) {
  if (!store)
    return;
  fd_close(&store->root);
  mem_free(store->directory);
  mem_free(store);
}

const char *artifact_store_directory(const struct artifact_store *store) {
  return store->directory;
}

int artifact_store_root(const struct artifact_store *store) {
  return store->root;
}

bool artifact_store_is_shared(const struct artifact_store *store) {
  return store->shared;
}

static bool after_own_uri(const struct artifact_store *store, struct str uri, struct str *ret_rest) {
  uri = file_uri_path(uri);
  if (!store->uri.n || !str_starts(uri, store->uri) || (uri.n > store->uri.n && uri.p[store->uri.n] != '/'))
    return false;
  *ret_rest = str_slice(uri, store->uri.n, uri.n);
  return true;
}

bool artifact_path_of_uri(const struct artifact_store *store, struct str uri, struct buf *out) {
  struct str rest;
  if (!after_own_uri(store, uri, &rest)) {
    if (!str_starts(uri, STR("mlflow-artifacts:")))
      return false;
    rest = str_slice(uri, strlen("mlflow-artifacts:"), uri.n);
    if (str_starts(rest, STR("//"))) { /* an authority: only the path counts */
      size_t slash = str_find(str_slice(rest, 2, rest.n), '/');
      rest = slash == SIZE_MAX ? STR("") : str_slice(rest, 2 + slash, rest.n);
    }
  }
  while (rest.n && rest.p[0] == '/')
    rest = str_slice(rest, 1, rest.n);
  buf_add_str(out, rest);
  return buf_ok(out, NULL);
}

/* ---- uploads ---- */

enum { OPEN_TRIES = 1000 };

struct artifact_upload {
  struct work work;
  struct artifact_store *store;
  char *path;
  bool makes_nothing, replaces_nothing;
  int directory, fd; /* where it will lie; the file on its way; -1: not open yet, or not any more */
  char name[256], hidden[64];
  EVP_MD_CTX *hash;
  struct artifact_file file;
  struct str last;
  struct err err;
  artifact_stored_fn *done;
  void *ctx;
  char **parts; /* of a join: what it is made of */
  size_t part_count;
  struct path_turn turn;
  bool replaces, is_announced; /* another file; the database knows that this one is about to take its place */
};

/* Lets go of the file; what has not got its name is removed. To free the blocks of a long one takes time. */
static void close_file(struct artifact_upload *upload) {
  if (upload->hidden[0])
    unlinkat(upload->directory, upload->hidden, 0);
  upload->hidden[0] = 0;
  fd_close(&upload->fd);
  fd_close(&upload->directory);
}

static void upload_free(struct artifact_upload *upload) {
  close_file(upload);
  path_turn_end(&upload->turn);
  EVP_MD_CTX_free(upload->hash);
  for (size_t i = 0; i < upload->part_count; i++)
    mem_free(upload->parts[i]);
  mem_free(upload->parts);
  mem_free(upload->path);
  mem_free(upload);
}

static void run_abort(struct work *work) {
  close_file(CONTAINER_OF(work, struct artifact_upload, work));
}

static void aborted(struct work *work, bool cancelled UNUSED) {
  upload_free(CONTAINER_OF(work, struct artifact_upload, work));
}

void artifact_upload_abort(struct artifact_upload *upload) {
  struct err ignored;
  if (!upload)
    return;
  upload->work = (struct work){.run = run_abort, .done = aborted};
  if (upload->fd < 0 || !work_submit(upload->store->disk, &upload->work, &ignored))
    upload_free(upload);
}

static bool refuse_taken(const struct artifact_upload *upload, struct err *err) {
  return err_set(err, ERR_PRECONDITION, "there is a file \"%.200s\" already", upload->path);
}

static bool open_hidden(struct artifact_upload *upload, struct err *err) {
  struct rng rng = rng_from_system();
  struct id id = id_new(upload->store->clock, &rng);
  char hex[ID_HEX_LEN + 1];
  struct stat st;
  id_format(id, hex);
  bool is_there = fstatat(upload->directory, upload->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
  if (is_there && S_ISDIR(st.st_mode))
    return err_set(err, ERR_INVALID, "\"%.200s\" is a directory", upload->path);
  if (is_there && upload->replaces_nothing)
    return refuse_taken(upload, err);
  snprintf(upload->hidden, sizeof upload->hidden, ARTIFACT_HIDDEN "%s", hex);
  upload->fd = openat(upload->directory, upload->hidden, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (upload->fd >= 0)
    return true;
  err_errno(err, errno, "cannot write \"%.200s\"", upload->path);
  upload->hidden[0] = 0;
  return false;
}

static bool open_in_place(struct artifact_upload *upload, struct err *err) {
  struct str name = STR_NONE;
  upload->directory = tree_open_parent(upload->store->root, str_of(upload->path), !upload->makes_nothing, &name, err);
  if (upload->directory < 0 && upload->makes_nothing && err->code == ERR_NOT_FOUND)
    return err_set(err, ERR_NOT_FOUND, "there is no such upload");
  if (upload->directory < 0)
    return false;
  if (name.n == 0 || name.n >= sizeof upload->name)
    return err_set(err, ERR_INVALID, "Invalid path");
  snprintf(upload->name, sizeof upload->name, "%.*s", STR_ARG(name));
  return open_hidden(upload, err);
}

/* A directory on the way may be removed just when it has been made or opened. */
static bool open_file(struct artifact_upload *upload, struct err *err) {
  for (unsigned tries = 0; tries < OPEN_TRIES; tries++) {
    if (open_in_place(upload, err))
      return true;
    fd_close(&upload->directory);
    if (err->code != ERR_NOT_FOUND || upload->makes_nothing)
      return false;
  }
  return false;
}

bool artifact_upload_new(struct artifact_store *store, struct str path, struct artifact_upload **ret, struct err *err) {
  struct artifact_upload *upload = mem_zalloc(sizeof *upload);
  if (!upload)
    return err_no_memory(err);
  *upload = (struct artifact_upload){.store = store, .directory = -1, .fd = -1};
  upload->path = mem_strndup(path.p ? path.p : "", path.n);
  upload->hash = EVP_MD_CTX_new();
  if (!upload->path || !upload->hash || EVP_DigestInit_ex(upload->hash, EVP_sha256(), NULL) != 1) {
    upload_free(upload);
    return err_no_memory(err);
  }
  *ret = upload;
  return true;
}

void artifact_upload_makes_nothing(struct artifact_upload *upload) {
  upload->makes_nothing = true;
}

void artifact_upload_replaces_nothing(struct artifact_upload *upload) {
  upload->replaces_nothing = true;
}

bool artifact_upload_write(struct artifact_upload *upload, struct str bytes, struct err *err) {
  if ((upload->fd < 0 && !open_file(upload, err)) || !fd_write_all(upload->fd, bytes.p, bytes.n, err))
    return false;
  if (EVP_DigestUpdate(upload->hash, bytes.p, bytes.n) != 1)
    return err_set(err, ERR_INTERNAL, "hashing failed");
  upload->file.size += (int64_t)bytes.n;
  return true;
}

static void upload_end(struct artifact_upload *upload, const struct err *err) {
  upload->done(upload->ctx, err ? NULL : &upload->file, err);
  artifact_upload_abort(upload);
}

static void start_placing(void *ctx) {
  struct artifact_upload *upload = ctx;
  struct err err;
  if (!work_submit(upload->store->disk, &upload->work, &err))
    upload_end(upload, &err);
}

static void run_statement(struct artifact_upload *upload, enum stmt stmt, pg_done_fn *done) {
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, stmt);
  pg_put_text(&args, str_of(upload->path));
  pg_put_int(&args, upload->file.size);
  pg_put_bytea(&args, str_n((const char *)upload->file.sha256, sizeof upload->file.sha256));
  pg_put_int(&args, clock_wall_ms(upload->store->clock));
  if (!pg_run(upload->store->pg, &args, 0, done, upload, &err))
    upload_end(upload, &err);
}

static void on_upload_noted(void *ctx, const struct pg_reply *reply) {
  struct artifact_upload *upload = ctx;
  upload_end(upload, pg_outcome(reply) == PG_DONE ? NULL : pg_err(reply));
}

static void on_announced(void *ctx, const struct pg_reply *reply) {
  struct artifact_upload *upload = ctx;
  upload->is_announced = pg_outcome(reply) == PG_DONE;
  if (upload->is_announced)
    start_placing(upload);
  else
    upload_end(upload, pg_err(reply));
}

/* On a thread, as all from here to run_place(). */
static bool add_part(struct artifact_upload *upload, const char *part, struct err *err) {
  AUTO_FREE char *bytes = mem_alloc(1 << 16);
  AUTO_FD int fd = tree_open(upload->store->root, str_of(part), O_RDONLY, err);
  if (fd < 0 || !bytes)
    return fd < 0 ? false : err_no_memory(err);
  for (;;) {
    ssize_t n = read(fd, bytes, 1 << 16);
    if (n == 0)
      return true;
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return err_errno(err, errno, "cannot read a part");
    if (!artifact_upload_write(upload, str_n(bytes, (size_t)n), err))
      return false;
  }
}

/* Who removes a directory removes what is on its way in it. This upload ends after the removal, so its file comes to lie there. */
static bool write_anew(struct artifact_upload *upload, struct err *err) {
  AUTO_FD int lost = upload->fd;
  upload->fd = -1;
  close_file(upload);
  if (lseek(lost, 0, SEEK_SET) != 0)
    return err_errno(err, errno, "cannot read what was uploaded");
  return open_file(upload, err) && tree_copy_file(lost, upload->fd, err);
}

static bool is_lost(const struct artifact_upload *upload) {
  struct stat st;
  return fstat(upload->fd, &st) == 0 && st.st_nlink == 0;
}

/* All of it is in the file with the hidden name, durable. */
static bool complete(struct artifact_upload *upload, struct err *err) {
  unsigned n = sizeof upload->file.sha256;
  if (!artifact_upload_write(upload, upload->last, err))
    return false;
  for (size_t i = 0; i < upload->part_count; i++)
    if (!add_part(upload, upload->parts[i], err))
      return false;
  if (EVP_DigestFinal_ex(upload->hash, upload->file.sha256, &n) != 1)
    return err_set(err, ERR_INTERNAL, "hashing failed");
  return is_lost(upload) ? write_anew(upload, err) : fd_sync(upload->fd, err);
}

static bool has_predecessor(const struct artifact_upload *upload) {
  struct stat st;
  return fstatat(upload->directory, upload->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool place(struct artifact_upload *upload, struct err *err) {
  if (renameat(upload->directory, upload->hidden, upload->directory, upload->name) != 0)
    return err_errno(err, errno, "cannot put \"%.200s\" in its place", upload->path);
  upload->hidden[0] = 0;
  return tree_sync_parents(upload->store->root, str_of(upload->path), err);
}

/* A file that replaces another is announced in between: who dies after it has its place and before its row is written has left enough to
 * tell which of the two lies there (tracker/artifacts/artifact_settle.h). */
static void run_place(struct work *work) {
  struct artifact_upload *upload = CONTAINER_OF(work, struct artifact_upload, work);
  upload->err.code = ERR_NONE;
  bool ok = upload->is_announced || complete(upload, &upload->err);
  upload->replaces = ok && has_predecessor(upload);
  if (upload->replaces && upload->replaces_nothing)
    ok = refuse_taken(upload, &upload->err);
  else if (upload->replaces && !upload->is_announced)
    return;
  if (!(ok && place(upload, &upload->err)) && upload->err.code == ERR_NONE)
    err_set(&upload->err, ERR_INTERNAL, "storing failed");
  close_file(upload);
}

static void placed(struct work *work, bool cancelled) {
  struct artifact_upload *upload = CONTAINER_OF(work, struct artifact_upload, work);
  if (cancelled)
    err_set(&upload->err, ERR_UNAVAILABLE, "the service is stopping");
  if (upload->err.code != ERR_NONE)
    upload_end(upload, &upload->err);
  else if (upload->replaces && !upload->is_announced)
    run_statement(upload, STMT_ARTIFACT_ANNOUNCE, on_announced);
  else
    run_statement(upload, STMT_ARTIFACT_PUT, on_upload_noted);
}

bool artifact_upload_finish(struct artifact_upload *upload, struct str last, artifact_stored_fn *done, void *ctx, struct err *err) {
  upload->last = last;
  upload->done = done;
  upload->ctx = ctx;
  upload->work = (struct work){.run = run_place, .done = placed};
  upload->turn = (struct path_turn){.path = str_of(upload->path), .fn = start_placing, .ctx = upload};
  if (!path_turn_take(&upload->store->turns, &upload->turn) || work_submit(upload->store->disk, &upload->work, err))
    return true;
  upload_free(upload);
  return false;
}

bool artifact_join(struct artifact_store *store, const struct str *parts, size_t count, struct str path, artifact_stored_fn *done,
                   void *ctx, struct err *err) {
  struct artifact_upload *upload;
  if (!artifact_upload_new(store, path, &upload, err))
    return false;
  upload->parts = mem_array(count ? count : 1, sizeof *upload->parts);
  bool ok = upload->parts != NULL;
  for (size_t i = 0; ok && i < count; i++) {
    upload->parts[i] = mem_strndup(parts[i].p, parts[i].n);
    upload->part_count = i + 1;
    ok = upload->parts[i] != NULL;
  }
  if (ok)
    return artifact_upload_finish(upload, STR(""), done, ctx, err);
  upload_free(upload);
  return err_no_memory(err);
}

/* ---- other work on the pool ---- */

enum task_kind { TASK_DELETE, TASK_MAKE, TASK_LIST, TASK_KEEP, TASK_DIGEST };

struct task {
  struct work work;
  struct artifact_store *store;
  enum task_kind kind;
  bool deep;
  char *path, *to;
  struct tree_list list;
  struct artifact_tree tree;
  struct path_turn turn; /* of a removal */
  struct err err;        /* ERR_NONE: done */
  union {
    artifact_done_fn *done;
    artifact_list_fn *listed;
    artifact_tree_fn *kept;
  } tell;
  void *ctx;
};

static void task_free(struct task *task) {
  path_turn_end(&task->turn);
  tree_list_release(&task->list);
  mem_free(task->path);
  mem_free(task->to);
  mem_free(task);
}

static void task_end(struct task *task, const struct err *err) {
  switch (task->kind) {
  case TASK_DELETE:
  case TASK_MAKE:
    task->tell.done(task->ctx, err);
    break;
  case TASK_LIST:
    task->tell.listed(task->ctx, err ? NULL : task->list.entries, err ? 0 : task->list.count, err);
    break;
  case TASK_KEEP:
  case TASK_DIGEST:
    task->tell.kept(task->ctx, err ? NULL : &task->tree, err);
    break;
  }
  task_free(task);
}

static bool keep_tree(struct task *task) {
  int root = task->store->root;
  bool is_file;
  if (!tree_link(root, str_of(task->path), str_of(task->to), &is_file, &task->err) ||
      !tree_digest(root, str_of(task->to), &task->tree, &task->err))
    return false;
  task->tree.is_file = is_file;
  return true;
}

static void run_task(struct work *work) {
  struct task *task = CONTAINER_OF(work, struct task, work);
  int root = task->store->root;
  bool ok = false;
  task->err.code = ERR_NONE;
  switch (task->kind) {
  case TASK_DELETE:
    ok = tree_delete(root, str_of(task->path), &task->err);
    break;
  case TASK_MAKE:
    ok = tree_make(root, str_of(task->path), &task->err);
    break;
  case TASK_LIST:
    ok = tree_list(root, str_of(task->path), task->deep, &task->list, &task->err);
    if (!ok && task->err.code == ERR_NOT_FOUND)
      ok = true;
    break;
  case TASK_KEEP:
    ok = keep_tree(task);
    break;
  case TASK_DIGEST:
    ok = tree_digest(root, str_of(task->path), &task->tree, &task->err);
    break;
  }
  if (ok)
    task->err.code = ERR_NONE;
}

static void on_removed(void *ctx, const struct pg_reply *reply) {
  struct task *task = ctx;
  task_end(task, pg_outcome(reply) == PG_DONE ? NULL : pg_err(reply));
}

static void task_done(struct work *work, bool cancelled) {
  struct task *task = CONTAINER_OF(work, struct task, work);
  if (cancelled)
    err_set(&task->err, ERR_UNAVAILABLE, "the service is stopping");
  if (task->err.code != ERR_NONE || task->kind != TASK_DELETE) {
    task_end(task, task->err.code == ERR_NONE ? NULL : &task->err);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_ARTIFACT_REMOVE);
  pg_put_text(&args, str_of(task->path));
  if (!pg_run(task->store->pg, &args, 0, on_removed, task, &err))
    task_end(task, &err);
}

static struct task *task_new(struct artifact_store *store, enum task_kind kind, struct str path, struct str to, void *ctx,
                             struct err *err) {
  struct task *task = mem_zalloc(sizeof *task);
  if (!task) {
    err_no_memory(err);
    return NULL;
  }
  *task = (struct task){.store = store, .kind = kind, .ctx = ctx, .work = {.run = run_task, .done = task_done}};
  task->path = mem_strndup(path.p ? path.p : "", path.n);
  task->to = mem_strndup(to.p ? to.p : "", to.n);
  if (task->path && task->to)
    return task;
  task_free(task);
  err_no_memory(err);
  return NULL;
}

static bool task_submit(struct task *task, struct err *err) {
  if (work_submit(task->kind == TASK_LIST ? task->store->work : task->store->disk, &task->work, err))
    return true;
  task_free(task);
  return false;
}

static void start_removal(void *ctx) {
  struct task *task = ctx;
  struct err err;
  if (!work_submit(task->store->disk, &task->work, &err))
    task_end(task, &err);
}

bool artifact_delete(struct artifact_store *store, struct str path, artifact_done_fn *done, void *ctx, struct err *err) {
  struct task *task = task_new(store, TASK_DELETE, path, STR_NONE, ctx, err);
  if (!task)
    return false;
  task->tell.done = done;
  task->turn = (struct path_turn){.path = str_of(task->path), .fn = start_removal, .ctx = task};
  return !path_turn_take(&store->turns, &task->turn) || task_submit(task, err);
}

bool artifact_make_directory(struct artifact_store *store, struct str path, artifact_done_fn *done, void *ctx, struct err *err) {
  struct task *task = task_new(store, TASK_MAKE, path, STR_NONE, ctx, err);
  if (!task)
    return false;
  task->tell.done = done;
  return task_submit(task, err);
}

bool artifact_list(struct artifact_store *store, struct str path, bool deep, artifact_list_fn *done, void *ctx, struct err *err) {
  struct task *task = task_new(store, TASK_LIST, path, STR_NONE, ctx, err);
  if (!task)
    return false;
  task->deep = deep;
  task->tell.listed = done;
  return task_submit(task, err);
}

bool artifact_keep(struct artifact_store *store, struct str from, struct str to, artifact_tree_fn *done, void *ctx, struct err *err) {
  struct task *task = task_new(store, TASK_KEEP, from, to, ctx, err);
  if (!task)
    return false;
  task->tell.kept = done;
  return task_submit(task, err);
}

bool artifact_digest(struct artifact_store *store, struct str path, artifact_tree_fn *done, void *ctx, struct err *err) {
  struct task *task = task_new(store, TASK_DIGEST, path, STR_NONE, ctx, err);
  if (!task)
    return false;
  task->tell.kept = done;
  return task_submit(task, err);
}

/* ---- reading ---- */

int artifact_open(struct artifact_store *store, struct str path, struct stat *ret_stat, struct err *err) {
  int fd = tree_open(store->root, path, O_RDONLY, err);
  if (fd < 0)
    return -1;
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    close(fd);
    err_set(err, ERR_NOT_FOUND, "there is no artifact \"%.*s\"", STR_ARG(str_slice(path, 0, 200)));
    return -1;
  }
  *ret_stat = st;
  return fd;
}

bool artifact_is_there(struct artifact_store *store, struct str path) {
  struct err ignored;
  AUTO_FD int fd = tree_open(store->root, path, O_PATH, &ignored);
  return fd >= 0;
}

/* ---- types ---- */

static const char *const text_endings[] = {
    "txt",  "log", "err", "cfg",  "conf", "cnf", "cf",  "ini", "properties", "prop", "hocon", "toml",
    "yaml", "yml", "xml", "json", "js",   "py",  "py3", "csv", "tsv",        "md",   "rst",
};
static const struct {
  const char *ending, *type;
} types[] = {
    {"html", "text/html"},        {"htm", "text/html"},       {"css", "text/css"},        {"png", "image/png"},
    {"jpg", "image/jpeg"},        {"jpeg", "image/jpeg"},     {"gif", "image/gif"},       {"svg", "image/svg+xml"},
    {"webp", "image/webp"},       {"pdf", "application/pdf"}, {"zip", "application/zip"}, {"gz", "application/gzip"},
    {"tar", "application/x-tar"}, {"mp4", "video/mp4"},       {"wav", "audio/x-wav"},     {"mp3", "audio/mpeg"},
};

const char *artifact_content_type(struct str path) {
  struct str name = str_last(path, '/'), part;
  if (str_eq_nocase(name, STR("MLmodel")) || str_eq_nocase(name, STR("MLproject")))
    return "text/plain";
  struct str ending = STR_NONE;
  size_t dot = str_find(name, '.');
  for (struct str rest = name; dot != SIZE_MAX && str_split(&rest, '.', &part);)
    ending = part;
  for (size_t i = 0; i < ARRAY_LEN(text_endings); i++)
    if (str_eq_nocase(ending, str_of(text_endings[i])))
      return "text/plain";
  for (size_t i = 0; i < ARRAY_LEN(types); i++)
    if (str_eq_nocase(ending, str_of(types[i].ending)))
      return types[i].type;
  return "application/octet-stream";
}
