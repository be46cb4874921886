/* Everything as one tar archive, streamed: what pg_dump gives, in pieces, then every artifact, then what was sent. The database is one
 * snapshot; artifacts are those there at the end of it, since they are written once: what was replaced or removed while the backup ran is
 * named with the content that is in the archive, and a restore makes the rows follow.
 *
 *   winnow-backup.json     form, version, time
 *   database/000000...     the dump, cut into pieces
 *   artifacts/PATH         those with a row, in order, then those that versions of models keep
 *   files/000000...        JSON lines: path, size, sha256 of what stands before; kept (it has no row); damaged (without a size: missing)
 *   end.json               counts and the dump's SHA-256: without it the archive is not complete */
#include <fcntl.h>
#include <openssl/evp.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/tar.h"
#include "storage/pg/pg_archive.h"
#include "tracker/artifacts/artifact_check.h"
#include "tracker/artifacts/artifact_tree.h"
#include "web/api/api_files.h"
#include "web/app.h"
#include "web/http/stream_pump.h"

enum {
  DUMP_PIECE = 1024 * 1024,
  LINES_MAX = 4 * 1024 * 1024,
  KEPT_MAX = 64 * 1024 * 1024,
  FORM = 1,
  PAGE_MS = 120000,
  LOOKS = 3,
  PAUSE_MS = 300
};

struct backup {
  struct http_req *req;
  struct web_app *app;
  struct stream_pump pump;
  /* the dump */
  struct work dump;
  struct subproc_io io;
  int pipe; /* its reading end */
  struct err dump_err;
  bool dumping, dumped;
  uint64_t dump_bytes;
  unsigned dump_pieces, line_pieces;
  EVP_MD_CTX *hash; /* of the dump, then of each file */
  char dump_sha256[65];
  /* the artifacts */
  struct artifact_check page; /* used for its rows only */
  struct buf after, lines;    /* lines: of the page before, not sent yet */
  int fd;                     /* of the file being sent; -1: none */
  uint64_t file_left;
  uint8_t sent_sha256[ARTIFACT_PROBES_MAX][32];
  bool closing, over, has_kept; /* has_kept: the page is of files that a version keeps */
  struct loop_timer *pause;     /* before rows that did not fit are read again: an upload renames, then notes */
  unsigned looks;
  struct buf kept; /* names of the version's files not yet sent, each ended by NUL */
  size_t kept_at;
  char *kept_path;
  int64_t model, version;
  uint64_t artifacts, artifact_bytes, damaged;
  char *bytes;
};

static void backup_free(struct backup *op) {
  EVP_MD_CTX_free(op->hash);
  artifact_check_reset(&op->page);
  buf_release(&op->after);
  buf_release(&op->lines);
  buf_release(&op->kept);
  mem_free(op->kept_path);
  loop_timer_free(op->pause);
  fd_close(&op->fd);
  fd_close(&op->pipe);
  mem_free(op->bytes);
  mem_free(op);
}

/* The end, once: also when pg_dump still runs. */
static void end(struct backup *op, const struct err *err) {
  struct http_req *req = op->req;
  op->app->admin_busy = false;
  op->over = true;
  pump_release(&op->pump);
  if (err && err->code != ERR_CANCELLED)
    log_error("web", NULL, "a backup broke off: %s", err->text);
  if (op->dumping) { /* it is freed when that has ended */
    fd_close(&op->pipe);
    subproc_end(&op->io);
  } else {
    backup_free(op);
  }
  if (err)
    http_stream_abort(req);
  else
    http_stream_end(req);
}

static void put_head(struct buf *out, struct str name, uint64_t size) {
  tar_put_header(out, &(struct tar_entry){.kind = TAR_FILE, .path = name, .mode = 0644, .size = size});
}

static void put_zeros(struct buf *out, size_t n) {
  static const char zeros[TAR_END_BYTES];
  buf_add(out, zeros, n);
}

static void put_file(struct buf *out, const char *name, struct str content) {
  put_head(out, str_of(name), content.n);
  buf_add_str(out, content);
  put_zeros(out, tar_padding(content.n));
}

static bool hash_begin(struct backup *op, struct err *err) {
  return EVP_DigestInit_ex(op->hash, EVP_sha256(), NULL) == 1 || err_set(err, ERR_INTERNAL, "hashing failed");
}

static bool hash_end(struct backup *op, uint8_t out[32], struct err *err) {
  unsigned n = 32;
  return EVP_DigestFinal_ex(op->hash, out, &n) == 1 || err_set(err, ERR_INTERNAL, "hashing failed");
}

/* ---- the artifacts ---- */

static void ask_page(struct backup *op);
static void next_kept(struct backup *op);

/* Parts of uploads under way: they have rows, but are nobody's artifacts yet. */
static bool is_part(const struct artifact_probe *probe) {
  return strncmp(probe->path, ARTIFACT_HIDDEN, strlen(ARTIFACT_HIDDEN)) == 0;
}

/* Opens what comes next; what is not there is noted by a size of -1. */
static bool open_next(struct backup *op, struct buf *out, struct err *err) {
  struct artifact_probe *probe = &op->page.probes[op->page.at];
  AUTO_BUF struct buf name = BUF_INIT(TAR_NAME_MAX);
  struct stat st;
  struct err why;
  probe->found_size = -1;
  op->fd = is_part(probe) ? -1 : artifact_open(op->page.store, str_of(probe->path), &st, &why);
  if (op->fd < 0) {
    op->page.at++;
    return true;
  }
  probe->found_size = st.st_size;
  op->file_left = (uint64_t)st.st_size;
  buf_printf(&name, "artifacts/%s", probe->path);
  put_head(out, buf_str(&name), op->file_left);
  return buf_ok(&name, err) && hash_begin(op, err);
}

static bool close_file(struct backup *op, struct buf *out, struct err *err) {
  const struct artifact_probe *probe = &op->page.probes[op->page.at];
  fd_close(&op->fd);
  put_zeros(out, tar_padding((uint64_t)probe->found_size));
  return hash_end(op, op->sent_sha256[op->page.at++], err);
}

/* The header has said how long the file is: what is missing in the end is made up with zeros, and shows in the digest. */
static bool send_piece(struct backup *op, struct buf *out, struct err *err) {
  size_t room = (size_t)MIN_OF(op->file_left, (uint64_t)PUMP_PIECE);
  ssize_t n = read(op->fd, op->bytes, room);
  if (n < 0 && errno == EINTR)
    return true;
  if (n <= 0) {
    memset(op->bytes, 0, room);
    n = (ssize_t)room;
  }
  op->file_left -= (uint64_t)n;
  buf_add(out, op->bytes, (size_t)n);
  return EVP_DigestUpdate(op->hash, op->bytes, (size_t)n) == 1 || err_set(err, ERR_INTERNAL, "hashing failed");
}

static bool fill_files(void *ctx, struct buf *out, bool *ret_more, struct err *err) {
  struct backup *op = ctx;
  while (out->n < PUMP_PIECE) {
    if (op->fd >= 0 && !op->file_left) {
      if (!close_file(op, out, err))
        return false;
    } else if (op->fd >= 0) {
      if (!send_piece(op, out, err))
        return false;
    } else if (op->page.at == op->page.count) {
      *ret_more = false;
      return buf_ok(out, err);
    } else if (!open_next(op, out, err)) {
      return false;
    }
  }
  return buf_ok(out, err);
}

static bool is_as_noted(const struct backup *op, size_t i) {
  const struct artifact_probe *probe = &op->page.probes[i];
  return probe->found_size == probe->size && memcmp(probe->sha256, op->sent_sha256[i], 32) == 0;
}

static void put_line(struct backup *op, size_t i) {
  const struct artifact_probe *probe = &op->page.probes[i];
  struct json_writer w;
  char sha256[65];
  bool damaged = !op->has_kept && !is_as_noted(op, i) && !probe->moved;
  jw_init(&w, &op->lines);
  jw_object(&w);
  jw_put_text(&w, "path", probe->path);
  if (probe->found_size >= 0) {
    hex_encode(op->sent_sha256[i], 32, sha256);
    jw_put_i64(&w, "size", probe->found_size);
    jw_put_text(&w, "sha256", sha256);
    op->artifacts++;
    op->artifact_bytes += (uint64_t)probe->found_size;
  }
  if (damaged)
    jw_put_bool(&w, "damaged", true);
  if (op->has_kept)
    jw_put_bool(&w, "kept", true);
  jw_object_end(&w);
  buf_putc(&op->lines, '\n');
  op->damaged += damaged;
}

/* What was sent stays in the list if something stands for it: a row that fits, a row that has moved on since (the content was right when it
 * was read), a row that has not: damage. Rows that are gone are not missed, nor what was gone before it could be sent. */
static void put_lines(struct backup *op, const struct pg_reply *again) {
  for (size_t i = 0; i < op->page.count; i++) {
    struct artifact_probe *probe = &op->page.probes[i];
    bool there = op->has_kept ? probe->found_size >= 0 : is_as_noted(op, i);
    for (size_t row = 0; again && !there && row < pg_rows(again); row++)
      if (str_is(pg_text(again, row, 0), probe->path)) {
        there = !probe->moved || probe->found_size >= 0;
        break;
      }
    if (there && !is_part(probe))
      put_line(op, i);
  }
}

static void page_over(struct backup *op, const struct pg_reply *again) {
  struct err err;
  put_lines(op, again);
  if (!buf_ok(&op->lines, &err))
    end(op, &err);
  else if (op->has_kept)
    next_kept(op);
  else
    ask_page(op);
}

/* Which rows have changed since; whether some have not, and do not fit. */
static bool compare_again(struct backup *op, const struct pg_reply *reply) {
  bool doubtful = false;
  for (size_t row = 0; row < pg_rows(reply); row++)
    for (size_t i = 0; i < op->page.count; i++) {
      struct artifact_probe *probe = &op->page.probes[i];
      if (!str_is(pg_text(reply, row, 0), probe->path))
        continue;
      int64_t size = probe->size, created = probe->created;
      artifact_probe_set(probe, reply, row);
      probe->moved |= probe->coming || probe->size != size || probe->created != created;
      doubtful |= !probe->moved && !is_as_noted(op, i);
    }
  return doubtful;
}

static void on_again(void *ctx, const struct pg_reply *reply) {
  struct backup *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err))
    end(op, &err);
  else if (compare_again(op, reply) && ++op->looks < LOOKS)
    loop_timer_start(op->pause, PAUSE_MS);
  else
    page_over(op, reply);
}

static void look_again(void *ctx) {
  struct backup *op = ctx;
  struct err err;
  size_t doubtful = 0;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_ARTIFACT_ROWS);
  pg_begin_array(&args);
  for (size_t i = 0; i < op->page.count; i++)
    if (!op->has_kept && !is_as_noted(op, i) && !is_part(&op->page.probes[i])) {
      pg_put_text(&args, str_of(op->page.probes[i].path));
      doubtful++;
    }
  pg_end_array(&args);
  if (!doubtful)
    page_over(op, NULL);
  else if (!pg_run(op->app->pg, &args, PAGE_MS, on_again, op, &err))
    end(op, &err);
}

static void on_files_sent(void *ctx, const struct err *err) {
  struct backup *op = ctx;
  op->looks = 0;
  if (err)
    end(op, err);
  else
    look_again(op);
}

/* ---- the end of it ---- */

static void put_end(struct backup *op, struct buf *out) {
  AUTO_BUF struct buf text = BUF_INIT(4 * KIB);
  struct json_writer w;
  jw_init(&w, &text);
  jw_object(&w);
  jw_put_i64(&w, "database_bytes", (int64_t)op->dump_bytes);
  jw_put_text(&w, "database_sha256", op->dump_sha256);
  jw_put_i64(&w, "artifacts", (int64_t)op->artifacts);
  jw_put_i64(&w, "artifact_bytes", (int64_t)op->artifact_bytes);
  jw_put_i64(&w, "damaged", (int64_t)op->damaged);
  jw_object_end(&w);
  put_file(out, "end.json", buf_str(&text));
  put_zeros(out, TAR_END_BYTES);
}

/* The lines of the page before, and after the last page the end. */
static bool fill_lines(void *ctx, struct buf *out, bool *ret_more, struct err *err) {
  struct backup *op = ctx;
  char name[32];
  *ret_more = false;
  if (op->lines.n) {
    snprintf(name, sizeof name, "files/%06u", op->line_pieces++);
    put_file(out, name, buf_str(&op->lines));
    buf_reset(&op->lines);
  }
  if (op->closing)
    put_end(op, out);
  return buf_ok(out, err);
}

static void on_lines_sent(void *ctx, const struct err *err) {
  struct backup *op = ctx;
  struct err why;
  if (err || op->closing)
    end(op, err);
  else if (!pump_go(&op->pump, fill_files, on_files_sent, &why))
    end(op, &why);
}

static void send_page(struct backup *op) {
  struct err err;
  if (!pump_go(&op->pump, fill_lines, on_lines_sent, &err))
    end(op, &err);
}

static void on_page(void *ctx, const struct pg_reply *reply) {
  struct backup *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err) || !artifact_check_fill(&op->page, reply, &op->after, &err)) {
    end(op, &err);
    return;
  }
  op->has_kept = op->page.count == 0;
  if (op->has_kept)
    next_kept(op);
  else
    send_page(op);
}

static void ask_page(struct backup *op) {
  struct err err;
  if (!artifact_check_page(op->app->pg, &op->after, on_page, op, &err))
    end(op, &err);
}

/* ---- what versions of models keep without rows of its own: a digest of all of it lies with the version ---- */

static bool take_kept(struct backup *op, struct err *err) {
  artifact_check_reset(&op->page);
  while (op->page.count < ARTIFACT_PROBES_MAX && op->kept_at < op->kept.n) {
    const char *name = op->kept.p + op->kept_at;
    AUTO_BUF struct buf path = BUF_INIT(TAR_NAME_MAX);
    buf_printf(&path, "%s%s%s", op->kept_path, name[0] ? "/" : "", name);
    op->kept_at += strlen(name) + 1;
    char *copy = buf_take(&path);
    if (!copy)
      return err_set(err, ERR_TOO_LARGE, "the name of a file is too long");
    op->page.probes[op->page.count++] = (struct artifact_probe){.path = copy, .size = -1};
  }
  return true;
}

static void on_kept_listed(void *ctx, const struct artifact_entry *entries, size_t count, const struct err *err) {
  struct backup *op = ctx;
  struct err why;
  buf_reset(&op->kept);
  op->kept_at = 0;
  for (size_t i = 0; i < count; i++)
    if (!entries[i].is_dir)
      buf_add(&op->kept, entries[i].name, strlen(entries[i].name) + 1);
  if (!err && !count)
    buf_putc(&op->kept, 0); /* its files are missing: the path itself is told as damaged */
  if (err || !buf_ok(&op->kept, &why))
    end(op, err ? err : &why);
  else
    next_kept(op);
}

static void on_version(void *ctx, const struct pg_reply *reply) {
  struct backup *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    end(op, &err);
    return;
  }
  op->closing = pg_rows(reply) == 0;
  if (op->closing) {
    artifact_check_reset(&op->page);
    send_page(op);
    return;
  }
  op->model = pg_int(reply, 0, 0);
  op->version = pg_int(reply, 0, 1);
  if (pg_bool(reply, 0, 6)) { /* they have come with the others */
    next_kept(op);
    return;
  }
  mem_free(op->kept_path);
  op->kept_path = mem_strdup(pg_text(reply, 0, 3).p);
  if (op->kept_path ? !artifact_list(op->app->artifacts, str_of(op->kept_path), true, on_kept_listed, op, &err) : !err_no_memory(&err))
    end(op, &err);
}

static bool ask_version(struct backup *op, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_KEPT_PAGE);
  pg_put_int(&args, op->model);
  pg_put_int(&args, op->version);
  pg_put_int(&args, 1);
  return pg_run(op->app->pg, &args, PAGE_MS, on_version, op, err);
}

/* The rest of the version's files, or the next version. */
static void next_kept(struct backup *op) {
  struct err err;
  bool rest = op->kept_at < op->kept.n;
  if (rest ? !take_kept(op, &err) : !ask_version(op, &err))
    end(op, &err);
  else if (rest)
    send_page(op);
}

/* ---- the database ---- */

static void run_dump(struct work *work) {
  struct backup *op = CONTAINER_OF(work, struct backup, dump);
  op->dump_err.code = ERR_NONE;
  if (!pg_archive_dump(op->app->conninfo, &op->io, &op->dump_err) && op->dump_err.code == ERR_NONE)
    err_set(&op->dump_err, ERR_INTERNAL, "pg_dump failed");
  fd_close(&op->io.out); /* who reads sees the end only now */
}

static void dump_done(struct work *work, bool cancelled) {
  struct backup *op = CONTAINER_OF(work, struct backup, dump);
  if (cancelled)
    fd_close(&op->io.out);
  op->dumping = false;
  if (op->over)
    backup_free(op);
}

static bool dump_over(struct backup *op, struct err *err) {
  uint8_t sha256[32];
  op->dumped = true;
  if (op->dump_err.code != ERR_NONE) {
    *err = op->dump_err;
    return false;
  }
  if (!op->dump_bytes)
    return err_set(err, ERR_UNAVAILABLE, "the service is stopping");
  if (!hash_end(op, sha256, err))
    return false;
  hex_encode(sha256, sizeof sha256, op->dump_sha256);
  return true;
}

static bool fill_dump(void *ctx, struct buf *out, bool *ret_more, struct err *err) {
  struct backup *op = ctx;
  size_t n = 0;
  char name[32];
  while (n < DUMP_PIECE) {
    ssize_t got = read(op->pipe, op->bytes + n, DUMP_PIECE - n);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return err_errno(err, errno, "cannot read the dump");
    if (got == 0) {
      *ret_more = false;
      break;
    }
    n += (size_t)got;
  }
  op->dump_bytes += n;
  if (n) {
    snprintf(name, sizeof name, "database/%06u", op->dump_pieces++);
    put_file(out, name, str_n(op->bytes, n));
    if (EVP_DigestUpdate(op->hash, op->bytes, n) != 1)
      return err_set(err, ERR_INTERNAL, "hashing failed");
  }
  return (*ret_more || dump_over(op, err)) && buf_ok(out, err);
}

static void on_dump_sent(void *ctx, const struct err *err) {
  if (err)
    end(ctx, err);
  else
    ask_page(ctx);
}

static bool fill_head(void *ctx, struct buf *out, bool *ret_more, struct err *err) {
  struct backup *op = ctx;
  AUTO_BUF struct buf text = BUF_INIT(4 * KIB);
  struct json_writer w;
  *ret_more = false;
  jw_init(&w, &text);
  jw_object(&w);
  jw_put_i64(&w, "form", FORM);
  jw_put_text(&w, "winnow", WINNOW_VERSION);
  jw_put_i64(&w, "created", clock_wall_ms(op->app->clock));
  jw_object_end(&w);
  put_file(out, "winnow-backup.json", buf_str(&text));
  return buf_ok(out, err);
}

static void on_head_sent(void *ctx, const struct err *err) {
  struct backup *op = ctx;
  struct err why;
  int ends[2];
  if (err) {
    end(op, err);
    return;
  }
  bool ok = hash_begin(op, &why) && (pipe2(ends, O_CLOEXEC) == 0 || err_errno(&why, errno, "cannot make a pipe"));
  if (ok) {
    op->pipe = ends[0];
    op->io = (struct subproc_io){.in = -1, .out = ends[1]};
    op->dump = (struct work){.run = run_dump, .done = dump_done};
    op->dumping = work_submit(op->app->admin_work, &op->dump, &why);
    if (!op->dumping)
      fd_close(&op->io.out);
    ok = op->dumping && pump_go(&op->pump, fill_dump, on_dump_sent, &why);
  }
  if (!ok)
    end(op, &why);
}

static struct backup *backup_new(struct http_req *req, struct err *err) {
  struct web_app *app = web_app(req);
  if (app->admin_busy) {
    err_set(err, ERR_WRONG_STATE, "a check, a cleaning, a purge or a backup is under way already");
    err_hint(err, "wait for its end, or interrupt it");
    return NULL;
  }
  struct backup *op = mem_zalloc(sizeof *op);
  if (op) {
    *op = (struct backup){.req = req, .app = app, .pipe = -1, .fd = -1, .after = BUF_INIT(64 * KIB), .lines = BUF_INIT(LINES_MAX)};
    op->page.store = app->artifacts;
    op->io.in = op->io.out = -1;
    op->kept = BUF_INIT(KEPT_MAX);
    op->hash = EVP_MD_CTX_new();
    op->bytes = mem_alloc(DUMP_PIECE);
    op->pause = loop_timer_new(app->loop, look_again, op);
    if (op->hash && op->bytes && op->pause)
      return op;
    backup_free(op);
  }
  err_no_memory(err);
  return NULL;
}

void api_reply_backup(struct http_req *req) {
  struct err err;
  struct backup *op = backup_new(req, &err);
  if (!op) {
    http_reply_error(req, &err);
    return;
  }
  op->app->admin_busy = true;
  http_reply_download_name(req, "winnow-backup.tar");
  pump_begin(&op->pump, req, op->app->admin_work, "application/x-tar", op);
  if (http_req_method(req) == HTTP_HEAD)
    end(op, NULL);
  else if (!pump_go(&op->pump, fill_head, on_head_sent, &err))
    end(op, &err);
}
