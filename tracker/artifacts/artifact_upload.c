#include <fcntl.h>
#include <openssl/evp.h>

#include "base/file.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tracker/artifacts/artifact_inside.h"
#include "tracker/artifacts/artifact_tree.h"
#include "tracker/names.h"

enum { OPEN_TRIES = 1000, TELL_AGAIN_MS = 1000 };

struct artifact_upload {
  struct work work;
  struct artifact_store *store;
  char *path;
  bool makes_nothing;
  struct artifact_condition condition; /* `holds` NULL: none */
  bool by_sha256;                      /* whether that holds is for the rows to say */
  int directory, fd;                   /* where it will lie; the file on its way; -1: not open yet, or not any more */
  char name[256], hidden[64];
  EVP_MD_CTX *hash;
  struct artifact_stored stored;
  struct str last;
  struct err err;
  artifact_stored_fn *done;
  void *ctx;
  char **parts; /* of a join: what it is made of */
  size_t part_count;
  struct path_turn turn;
  bool complete;      /* all of it is in the file with the hidden name, durable */
  bool replaces;      /* another file lies there */
  bool lies_there;    /* under its own name */
  int64_t announced;  /* when; the database knows that this one is about to take its place; 0: it does not */
  enum stmt owed;     /* what the database is still to be told */
  struct err outcome; /* told once the database knows of it */
  struct list_node node;
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
  list_remove(&upload->node);
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
  if (upload->fd < 0 || !work_submit(upload->store->conf.disk, &upload->work, &ignored))
    upload_free(upload);
}

static bool refuse_taken(const struct artifact_upload *upload, struct err *err) {
  err_set(err, ERR_PRECONDITION, "there is a file \"%.200s\" already, which is not to be replaced", upload->path);
  return err_hint(err, "If-Match takes the ETag of its download, or its SHA-256 in quotes");
}

/* `st` NULL: nothing lies there. */
static bool may_take_place(struct artifact_upload *upload, const struct stat *st, struct err *err) {
  const struct artifact_condition *condition = &upload->condition;
  char etag[ARTIFACT_ETAG_MAX] = "";
  if (st)
    artifact_etag(st, etag);
  bool holds = !condition->holds || condition->holds(condition->ctx, str_of(etag));
  upload->by_sha256 = !holds && st && condition->count;
  if (holds || upload->by_sha256)
    return true;
  return st ? refuse_taken(upload, err) : err_set(err, ERR_PRECONDITION, "there is no file \"%.200s\" to replace", upload->path);
}

static bool open_hidden(struct artifact_upload *upload, struct err *err) {
  struct rng rng = rng_from_system();
  struct id id = id_new(loop_clock(upload->store->conf.loop), &rng);
  char hex[ID_HEX_LEN + 1];
  struct stat st;
  id_format(id, hex);
  bool is_there = fstatat(upload->directory, upload->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
  if (is_there && S_ISDIR(st.st_mode))
    return err_set(err, ERR_INVALID, "\"%.200s\" is a directory", upload->path);
  if (!may_take_place(upload, is_there ? &st : NULL, err))
    return false;
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
  if (path.n > ARTIFACT_STORED_MAX)
    return err_set(err, ERR_INVALID, "Invalid path: with the place of its run it has more than %d bytes", ARTIFACT_STORED_MAX);
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

void artifact_upload_only_if(struct artifact_upload *upload, const struct artifact_condition *condition) {
  upload->condition = *condition;
}

bool artifact_upload_write(struct artifact_upload *upload, struct str bytes, struct err *err) {
  bool ok = (upload->fd >= 0 || open_file(upload, err)) && fd_write_all(upload->fd, bytes.p, bytes.n, err);
  if (!artifact_explain(upload->store, upload->path, ok, err))
    return false;
  if (EVP_DigestUpdate(upload->hash, bytes.p, bytes.n) != 1)
    return err_set(err, ERR_INTERNAL, "hashing failed");
  upload->stored.file.size += (int64_t)bytes.n;
  return true;
}

/* Tells it once, lets go of it. */
static void tell(struct artifact_upload *upload, const struct err *err) {
  artifact_stored_fn *done = upload->done;
  upload->done = NULL;
  if (done)
    done(upload->ctx, err ? NULL : &upload->stored, err);
}

static void upload_end(struct artifact_upload *upload, const struct err *err) {
  tell(upload, err);
  artifact_upload_abort(upload);
}

/* ---- what the database is told ---- */

/* Of those it may replace; none: whatever is there. */
static void put_sha256s(const struct artifact_upload *upload, struct pg_args *args) {
  pg_begin_array(args);
  for (size_t i = 0; upload->by_sha256 && i < upload->condition.count; i++)
    pg_put_bytea(args, str_n((const char *)upload->condition.sha256[i], sizeof upload->condition.sha256[i]));
  pg_end_array(args);
}

static bool run_statement(struct artifact_upload *upload, enum stmt stmt, pg_done_fn *done, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  int64_t now = clock_wall_ms(loop_clock(upload->store->conf.loop));
  bool is_whole = stmt == STMT_ARTIFACT_ANNOUNCE || stmt == STMT_ARTIFACT_PUT;
  pg_args_init(&args, stmt);
  pg_put_text(&args, str_of(upload->path));
  if (is_whole)
    pg_put_int(&args, upload->stored.file.size);
  pg_put_bytea(&args, str_n((const char *)upload->stored.file.sha256, sizeof upload->stored.file.sha256));
  if (stmt == STMT_ARTIFACT_ANNOUNCE)
    upload->announced = now;
  pg_put_int(&args, stmt == STMT_ARTIFACT_PUT ? now : upload->announced);
  if (stmt == STMT_ARTIFACT_ANNOUNCE)
    put_sha256s(upload, &args);
  return pg_run(upload->store->conf.pg, &args, 0, done, upload, err);
}

/* The database will never take it. */
static bool is_hopeless(const struct err *why) {
  return why->code == ERR_INVALID || why->code == ERR_TOO_LARGE;
}

/* It keeps its turn: who comes next to the path finds file and row as they belong together. */
static void tell_later(struct artifact_upload *upload, const struct err *why) {
  struct artifact_store *store = upload->store;
  if (upload->done)
    log_warn("tracker", NULL, "artifact %s: the database does not know yet what lies there: %s", upload->path, why->text);
  tell(upload, upload->outcome.code == ERR_NONE ? why : &upload->outcome);
  if (store->stopping || is_hopeless(why)) {
    artifact_upload_abort(upload);
    return;
  }
  list_push_back(&store->owing, &upload->node);
  if (!loop_timer_is_on(store->again))
    loop_timer_start(store->again, TELL_AGAIN_MS);
}

static void on_owed(void *ctx, const struct pg_reply *reply) {
  struct artifact_upload *upload = ctx;
  if (pg_outcome(reply) == PG_DONE)
    upload_end(upload, upload->outcome.code == ERR_NONE ? NULL : &upload->outcome);
  else
    tell_later(upload, pg_err(reply));
}

static void tell_database(struct artifact_upload *upload) {
  struct err err;
  if (!run_statement(upload, upload->owed, on_owed, &err))
    tell_later(upload, &err);
}

void artifact_upload_tell_owed(struct artifact_store *store) {
  for (size_t n = store->owing.count; n; n--)
    tell_database(LIST_ENTRY(list_pop_front(&store->owing), struct artifact_upload, node));
}

void artifact_upload_drop_owed(struct artifact_store *store) {
  for (struct list_node *node; (node = list_pop_front(&store->owing));)
    upload_free(LIST_ENTRY(node, struct artifact_upload, node));
}

/* How it ended on the disk is known; `outcome` is told once the database knows it, too. */
static void settle(struct artifact_upload *upload, enum stmt stmt, const struct err *outcome) {
  upload->owed = stmt;
  upload->outcome.code = ERR_NONE;
  if (outcome)
    upload->outcome = *outcome;
  tell_database(upload);
}

/* ---- from the hidden name to its own ---- */

static void start_placing(void *ctx) {
  struct artifact_upload *upload = ctx;
  struct err err;
  bool ok = !upload->store->stopping || err_set(&err, ERR_UNAVAILABLE, "the service is stopping");
  if (!ok || !work_submit(upload->store->conf.disk, &upload->work, &err))
    upload_end(upload, &err);
}

/* It may have come to be known although we were not told. */
static void on_announced(void *ctx, const struct pg_reply *reply) {
  struct artifact_upload *upload = ctx;
  struct err err;
  if (pg_outcome(reply) == PG_UNKNOWN)
    settle(upload, STMT_ARTIFACT_CAME_NOT, pg_err(reply));
  else if (!pg_ok(reply, &err) || (pg_rows(reply) == 0 && !refuse_taken(upload, &err)))
    upload_end(upload, &err);
  else if (!work_submit(upload->store->conf.disk, &upload->work, &err))
    settle(upload, STMT_ARTIFACT_CAME_NOT, &err);
}

/* On a thread, as all from here to run_place(). */
static bool add_part(struct artifact_upload *upload, const char *part, struct err *err) {
  AUTO_FREE char *bytes = mem_alloc(1 << 16);
  AUTO_FD int fd = tree_open(upload->store->root, str_of(part), O_RDONLY, err);
  if (fd < 0 || !bytes)
    return fd < 0 ? false : err_no_memory(err);
  while (!atomic_load_explicit(&upload->store->interrupted, memory_order_relaxed)) {
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
  return err_set(err, ERR_UNAVAILABLE, "the service is stopping");
}

static bool is_lost(const struct artifact_upload *upload) {
  struct stat st;
  return fstat(upload->fd, &st) == 0 && st.st_nlink == 0;
}

static bool complete(struct artifact_upload *upload, struct err *err) {
  unsigned n = sizeof upload->stored.file.sha256;
  if (!artifact_upload_write(upload, upload->last, err))
    return false;
  for (size_t i = 0; i < upload->part_count; i++)
    if (!add_part(upload, upload->parts[i], err))
      return false;
  if (EVP_DigestFinal_ex(upload->hash, upload->stored.file.sha256, &n) != 1)
    return err_set(err, ERR_INTERNAL, "hashing failed");
  upload->complete = is_lost(upload) || fd_sync(upload->fd, err);
  return upload->complete;
}

/* Who removes a directory removes what is on its way in it. This upload ends after the removal, so its file comes to lie there. */
static bool write_anew(struct artifact_upload *upload, struct err *err) {
  AUTO_FD int lost = upload->fd;
  upload->fd = -1;
  close_file(upload);
  if (lseek(lost, 0, SEEK_SET) != 0)
    return err_errno(err, errno, "cannot read what was uploaded");
  return open_file(upload, err) && tree_copy_file(lost, upload->fd, &upload->store->interrupted, err);
}

static bool place(struct artifact_upload *upload, struct err *err) {
  struct stat st;
  if (fstat(upload->fd, &st) != 0)
    return err_errno(err, errno, "cannot look at what was uploaded");
  artifact_etag(&st, upload->stored.etag);
  if (renameat(upload->directory, upload->hidden, upload->directory, upload->name) != 0)
    return err_errno(err, errno, "cannot put \"%.200s\" in its place", upload->path);
  upload->hidden[0] = 0;
  upload->lies_there = true;
  if (tree_sync_parents(upload->store->root, str_of(upload->path), err))
    return true;
  if (!upload->replaces && unlinkat(upload->directory, upload->name, 0) == 0)
    upload->lies_there = false;
  return false;
}

/* A file that replaces another is announced in between: who dies after it has its place and before its row is written has left enough to
 * tell which of the two lies there (tracker/artifacts/artifact_settle.h). */
static void run_place(struct work *work) {
  struct artifact_upload *upload = CONTAINER_OF(work, struct artifact_upload, work);
  upload->err.code = ERR_NONE;
  bool ok = upload->complete || complete(upload, &upload->err);
  struct stat st;
  ok = ok && (!is_lost(upload) || write_anew(upload, &upload->err));
  upload->replaces = ok && fstatat(upload->directory, upload->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
  ok = ok && may_take_place(upload, upload->replaces ? &st : NULL, &upload->err);
  if (ok && upload->replaces && !upload->announced)
    return;
  if (!(ok && place(upload, &upload->err)) && upload->err.code == ERR_NONE)
    err_set(&upload->err, ERR_INTERNAL, "storing failed");
  artifact_explain(upload->store, upload->path, upload->err.code == ERR_NONE, &upload->err);
  close_file(upload);
}

/* One that has replaced another and then failed lies there all the same. */
static void placed(struct work *work, bool cancelled) {
  struct artifact_upload *upload = CONTAINER_OF(work, struct artifact_upload, work);
  struct err err;
  if (cancelled)
    err_set(&upload->err, ERR_UNAVAILABLE, "the service is stopping");
  if (upload->err.code != ERR_NONE && upload->announced)
    settle(upload, upload->lies_there ? STMT_ARTIFACT_CAME : STMT_ARTIFACT_CAME_NOT, &upload->err);
  else if (upload->err.code != ERR_NONE)
    upload_end(upload, &upload->err);
  else if (upload->lies_there)
    settle(upload, STMT_ARTIFACT_PUT, NULL);
  else if (!run_statement(upload, STMT_ARTIFACT_ANNOUNCE, on_announced, &err))
    upload_end(upload, &err);
}

/* False: nothing was begun. */
static bool take_turn(struct artifact_upload *upload, struct err *err) {
  upload->work = (struct work){.run = run_place, .done = placed};
  upload->turn = (struct path_turn){.path = str_of(upload->path), .fn = start_placing, .ctx = upload};
  switch (path_turn_take(&upload->store->turns, &upload->turn, err)) {
  case PATH_TURN_REFUSED:
    return false;
  case PATH_TURN_LATER:
    return true;
  case PATH_TURN_NOW:
    break;
  }
  return work_submit(upload->store->conf.disk, &upload->work, err);
}

bool artifact_upload_finish(struct artifact_upload *upload, struct str last, artifact_stored_fn *done, void *ctx, struct err *err) {
  upload->last = last;
  upload->done = done;
  upload->ctx = ctx;
  if (take_turn(upload, err))
    return true;
  upload->done = NULL;
  artifact_upload_abort(upload);
  return false;
}

/* ---- one made of parts ---- */

/* As long as there are parts to read, and before its turn: nobody waits for it. */
static void run_join(struct work *work) {
  struct artifact_upload *upload = CONTAINER_OF(work, struct artifact_upload, work);
  upload->err.code = ERR_NONE;
  if (!complete(upload, &upload->err) && upload->err.code == ERR_NONE)
    err_set(&upload->err, ERR_INTERNAL, "storing failed");
  artifact_explain(upload->store, upload->path, upload->err.code == ERR_NONE, &upload->err);
}

static void joined(struct work *work, bool cancelled) {
  struct artifact_upload *upload = CONTAINER_OF(work, struct artifact_upload, work);
  if (cancelled)
    err_set(&upload->err, ERR_UNAVAILABLE, "the service is stopping");
  if (upload->err.code != ERR_NONE || !take_turn(upload, &upload->err))
    upload_end(upload, &upload->err);
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
  upload->last = STR("");
  upload->done = done;
  upload->ctx = ctx;
  upload->work = (struct work){.run = run_join, .done = joined};
  ok = ok ? work_submit(store->conf.bulk, &upload->work, err) : err_no_memory(err);
  if (!ok)
    upload_free(upload);
  return ok;
}
