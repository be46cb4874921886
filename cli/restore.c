#ifdef WINNOW_WITH_SERVE
#include "cli/restore.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "storage/migrate.h"
#include "storage/pg/pg.h"
#include "storage/pg/pg_archive.h"
#include "storage/pg/pg_private.h"

enum { READ_PIECE = 256 * 1024, STATEMENT_MS = 10 * 60 * 1000 };

struct restore {
  const struct restore_conf *conf;
  struct restore_report *report;
  char fresh[4096], unpacked[4096], artifacts[4096]; /* what becomes the data directory; the backup; where its artifacts end up */
  const char *source;                                /* an unpacked backup: conf->source, or `unpacked` */
  struct loop *loop;
  struct work_pool *work;
  struct pg_private *server;
  const char *conninfo;
  struct err server_err;
  bool server_over;
  struct pg_pool *pool;
};

/* ---- the files ---- */

static bool read_archive(int fd, const char *name, struct backup_reader *reader, struct err *err) {
  AUTO_FREE char *bytes = mem_alloc(READ_PIECE);
  if (!bytes)
    return err_no_memory(err);
  for (;;) {
    ssize_t n = read(fd, bytes, READ_PIECE);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return err_errno(err, errno, "cannot read %s", name);
    if (n == 0)
      return true;
    if (!backup_feed(reader, str_n(bytes, (size_t)n), err))
      return false;
  }
}

static bool unpack(struct restore *op, struct err *err) {
  const char *name = op->conf->source;
  bool from_stdin = strcmp(name, "-") == 0;
  AUTO_FD int fd = from_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return err_errno(err, errno, "cannot open %s", name);
  if (!dir_make(op->unpacked, 0700, err))
    return false;
  struct backup_reader *reader = backup_reader_new(op->unpacked, err);
  bool ok = reader && read_archive(fd, name, reader, err) && backup_finish(reader, &op->report->summary, err);
  backup_reader_free(reader);
  op->source = op->unpacked;
  return ok;
}

static bool place_artifacts(struct restore *op, struct err *err) {
  AUTO_BUF struct buf from = BUF_INIT(8 * KIB);
  buf_printf(&from, "%s/" BACKUP_ARTIFACTS, op->source);
  if (!buf_ok(&from, err))
    return false;
  if (op->source != op->unpacked)
    return tree_copy(buf_text(&from), op->artifacts, err);
  return rename(buf_text(&from), op->artifacts) == 0 || err_errno(err, errno, "cannot place the artifacts");
}

static bool find_files(struct restore *op, struct err *err) {
  struct stat st;
  if (strcmp(op->conf->source, "-") != 0 && stat(op->conf->source, &st) != 0)
    return err_errno(err, errno, "cannot open %s", op->conf->source);
  if (strcmp(op->conf->source, "-") == 0 || !S_ISDIR(st.st_mode))
    return unpack(op, err) && place_artifacts(op, err);
  op->source = op->conf->source;
  return backup_check_directory(op->source, &op->report->summary, err) && place_artifacts(op, err);
}

/* ---- the database ---- */

static void on_server(void *ctx, enum pg_private_state state, const char *conninfo, const struct err *reason) {
  struct restore *op = ctx;
  if (state == PG_PRIVATE_UP)
    op->conninfo = conninfo;
  if (state == PG_PRIVATE_FAILED || state == PG_PRIVATE_STOPPED) {
    op->server_over = true;
    if (reason)
      op->server_err = *reason;
  }
}

static bool start_server(struct restore *op, struct err *err) {
  struct pg_private_conf conf = {.place = {.dir = op->fresh, .user = op->conf->pg_user}, .rng = rng_from_system()};
  op->conninfo = op->conf->db;
  if (op->conninfo)
    return true;
  op->server = pg_private_new(op->loop, op->work, &conf, on_server, op, err);
  if (!op->server)
    return false;
  pg_private_start(op->server);
  while (!op->conninfo && !op->server_over)
    loop_turn(op->loop, true);
  if (op->conninfo)
    return true;
  *err = op->server_err;
  return false;
}

static void stop_server(struct restore *op) {
  pg_pool_free(op->pool);
  op->pool = NULL;
  if (op->server && !op->server_over) {
    pg_private_stop(op->server);
    while (!op->server_over)
      loop_turn(op->loop, true);
  }
  pg_private_free(op->server);
  op->server = NULL;
}

static bool load_database(struct restore *op, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(8 * KIB);
  struct migrate_report migrated;
  buf_printf(&path, "%s/" BACKUP_DUMP, op->source);
  AUTO_FD int fd = open(buf_text(&path), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return err_errno(err, errno, "cannot open %s", buf_text(&path));
  struct subproc_io io = {.in = fd, .out = -1};
  if (!pg_archive_load(op->conninfo, &io, err)) {
    err_prefix(err, "the database could not be filled");
    return op->conf->db ? err_hint(err, "nothing was changed in it; it must not have a schema \"winnow\"") : false;
  }
  return migrate(op->conninfo, &migrated, err);
}

/* ---- rows follow the files: both are in the order of the paths ---- */

struct change {
  char *path;
  int64_t size; /* -1: the row goes */
  uint8_t sha256[32];
};

struct follow {
  struct restore *op;
  struct row {
    char *path;
    int64_t size;
    uint8_t sha256[32];
  } * rows;
  size_t row_count, row_cap, at;
  struct change *changes;
  size_t change_count, change_cap;
  bool done, failed;
  struct err err;
};

static bool note_row(struct follow *f, const struct pg_reply *reply) {
  if (f->row_count == f->row_cap) {
    size_t cap = f->row_cap ? f->row_cap * 2 : 1024;
    struct row *rows = mem_resize(f->rows, cap, sizeof *rows);
    if (!rows)
      return false;
    f->rows = rows;
    f->row_cap = cap;
  }
  struct row *row = &f->rows[f->row_count];
  struct str sha256 = pg_bytea(reply, 0, 2);
  row->path = mem_strdup(pg_text(reply, 0, 0).p);
  row->size = pg_int(reply, 0, 1);
  memcpy(row->sha256, sha256.p, MIN_OF(sha256.n, sizeof row->sha256));
  f->row_count += row->path != NULL;
  return row->path;
}

static void on_row(void *ctx, const struct pg_reply *reply) {
  struct follow *f = ctx;
  if (!f->failed && !note_row(f, reply))
    f->failed = !err_no_memory(&f->err);
}

static void on_rows(void *ctx, const struct pg_reply *reply) {
  struct follow *f = ctx;
  f->done = true;
  if (!f->failed)
    f->failed = !pg_ok(reply, &f->err);
}

static bool change(struct follow *f, const char *path, int64_t size, const uint8_t sha256[32], struct err *err) {
  if (f->change_count == f->change_cap) {
    size_t cap = f->change_cap ? f->change_cap * 2 : 64;
    struct change *changes = mem_resize(f->changes, cap, sizeof *changes);
    if (!changes)
      return err_no_memory(err);
    f->changes = changes;
    f->change_cap = cap;
  }
  struct change *item = &f->changes[f->change_count];
  *item = (struct change){.path = mem_strdup(path), .size = size};
  if (!item->path)
    return err_no_memory(err);
  if (sha256)
    memcpy(item->sha256, sha256, sizeof item->sha256);
  f->change_count++;
  return true;
}

/* Rows before `path` have no file any more. */
static bool pass_rows(struct follow *f, struct str path, struct err *err) {
  for (; f->at < f->row_count && (!path.p || str_cmp(str_of(f->rows[f->at].path), path) < 0); f->at++)
    if (!change(f, f->rows[f->at].path, -1, NULL, err))
      return false;
  return true;
}

/* What was damaged already keeps its row: fsck goes on naming it. */
static bool on_line(void *ctx, const struct backup_line *line, struct err *err) {
  struct follow *f = ctx;
  if (line->kept)
    return true;
  if (!pass_rows(f, line->path, err))
    return false;
  const struct row *row = f->at < f->row_count && str_is(line->path, f->rows[f->at].path) ? &f->rows[f->at] : NULL;
  f->at += row != NULL;
  if (line->damaged || (row && row->size == line->size && memcmp(row->sha256, line->sha256, 32) == 0))
    return true;
  AUTO_FREE char *path = mem_strndup(line->path.p, line->path.n);
  return path ? change(f, path, line->size, line->sha256, err) : err_no_memory(err);
}

static void on_statement(void *ctx, const struct pg_reply *reply) {
  struct follow *f = ctx;
  f->done = true;
  f->failed = !pg_ok(reply, &f->err);
  if (!f->failed && pg_rows(reply) == 1)
    f->op->report->paused = pg_int(reply, 0, 0);
}

static bool run_and_wait(struct follow *f, struct pg_args *args, struct err *err) {
  f->done = false;
  if (!pg_run(f->op->pool, args, STATEMENT_MS, on_statement, f, err))
    return false;
  while (!f->done)
    loop_turn(f->op->loop, true);
  if (f->failed)
    *err = f->err;
  return !f->failed;
}

static bool apply(struct follow *f, const struct change *item, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, item->size < 0 ? STMT_ARTIFACT_DROP : STMT_ARTIFACT_PUT);
  pg_put_text(&args, str_of(item->path));
  if (item->size >= 0) {
    pg_put_int(&args, item->size);
    pg_put_bytea(&args, str_n((const char *)item->sha256, sizeof item->sha256));
    pg_put_int(&args, clock_wall_ms(&clock_system));
  }
  return run_and_wait(f, &args, err);
}

static bool read_rows(struct follow *f, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_ARTIFACT_ALL);
  if (!pg_stream_open(f->op->pool, &args, STATEMENT_MS, on_row, on_rows, f, err))
    return false;
  while (!f->done)
    loop_turn(f->op->loop, true);
  if (f->failed)
    *err = f->err;
  return !f->failed;
}

static bool pause_sweeps(struct follow *f, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_SWEEP_PAUSE_ALL);
  return run_and_wait(f, &args, err);
}

static void follow_release(struct follow *f) {
  for (size_t i = 0; i < f->row_count; i++)
    mem_free(f->rows[i].path);
  for (size_t i = 0; i < f->change_count; i++)
    mem_free(f->changes[i].path);
  mem_free(f->rows);
  mem_free(f->changes);
}

static bool follow_files(struct restore *op, struct err *err) {
  struct follow f = {.op = op};
  struct pg_pool_conf conf = pg_pool_conf_default();
  conf.rng = rng_from_system();
  op->pool = pg_pool_new(op->loop, &conf, err);
  bool ok = op->pool && pg_pool_start(op->pool, op->conninfo, err) && read_rows(&f, err) && backup_lines(op->source, on_line, &f, err) &&
            pass_rows(&f, STR_NONE, err);
  for (size_t i = 0; ok && i < f.change_count; i++)
    ok = apply(&f, &f.changes[i], err);
  ok = ok && pause_sweeps(&f, err);
  op->report->followed = (int64_t)f.change_count;
  follow_release(&f);
  return ok;
}

/* ---- all together ---- */

static bool begin(struct restore *op, struct err *err) {
  const char *target = op->conf->data_dir;
  struct rng rng = rng_from_system();
  size_t n = strlen(target);
  while (n > 1 && target[n - 1] == '/')
    n--;
  if (n > 3000)
    return err_set(err, ERR_TOO_LARGE, "the path of --data is too long");
  if (rmdir(target) != 0 && errno != ENOENT) {
    err_set(err, ERR_EXISTS, "%s is there already, and not empty", target);
    return err_hint(err, "a restore makes a new directory; nothing is overwritten");
  }
  snprintf(op->fresh, sizeof op->fresh, "%.*s.restore-%016llx", (int)n, target, (unsigned long long)rng_u64(&rng));
  snprintf(op->unpacked, sizeof op->unpacked, "%s/backup", op->fresh);
  snprintf(op->artifacts, sizeof op->artifacts, "%s/artifacts", op->fresh);
  op->loop = loop_new(&clock_system, err);
  op->work = op->loop ? work_pool_new(op->loop, 1, 16, err) : NULL;
  return op->work && dir_make(op->fresh, geteuid() == 0 ? 0711 : 0700, err);
}

static bool put_in_place(struct restore *op, struct err *err) {
  if (!tree_remove(op->unpacked, err))
    return false;
  return rename(op->fresh, op->conf->data_dir) == 0 || err_errno(err, errno, "cannot name %s", op->conf->data_dir);
}

/* Where the private cluster lies may be far from the directory. */
static void clean_up(struct restore *op) {
  struct pg_place_conf place = {.dir = op->fresh, .user = op->conf->pg_user};
  struct err ignored;
  if (!op->conf->db)
    (void)!pg_place_destroy(&place, &ignored);
  (void)!tree_remove(op->fresh, &ignored);
}

bool restore(const struct restore_conf *conf, struct restore_report *ret, struct err *err) {
  struct restore op = {.conf = conf, .report = ret};
  *ret = (struct restore_report){.followed = 0};
  bool ok = begin(&op, err) && find_files(&op, err) && start_server(&op, err) && load_database(&op, err) && follow_files(&op, err);
  stop_server(&op);
  ok = ok && put_in_place(&op, err);
  if (!ok && op.fresh[0])
    clean_up(&op);
  work_pool_free(op.work);
  loop_free(op.loop);
  return ok;
}
#else
typedef int winnow_restore_is_not_part_of_this_build;
#endif
