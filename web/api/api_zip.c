/* A directory of artifacts as a zip archive, streamed. */
#include <fcntl.h>

#include "base/file.h"
#include "base/mem.h"
#include "tracker/artifacts/artifact_store.h"
#include "tracker/names.h"
#include "web/api/api_files.h"
#include "web/api/zip.h"
#include "web/app.h"
#include "web/http/stream_pump.h"

enum { CENTRAL_MAX = 64 * 1024 * 1024, READ_PIECE = 128 * 1024 };

struct zip_op {
  struct http_req *req;
  struct artifact_store *store;
  struct str directory, name; /* in the request's arena */
  struct stream_pump pump;
  struct zip *zip;
  struct buf names; /* of the files, each ended by NUL */
  size_t at;        /* the next one */
  int fd;           /* of the one being read; -1: none */
  char *bytes;
};

static void zip_op_free(struct zip_op *op) {
  zip_free(op->zip);
  buf_release(&op->names);
  pump_release(&op->pump);
  fd_close(&op->fd);
  mem_free(op->bytes);
  mem_free(op);
}

/* ---- on a thread ---- */

/* Text shrinks; models and pictures are compressed already, or do not. */
static bool is_worth_packing(struct str name) {
  const char *type = artifact_content_type(name);
  return strncmp(type, "text/", 5) == 0 || strcmp(type, "image/svg+xml") == 0;
}

/* No file is open then if it is gone since the directory was listed: the archive holds what is there when its turn comes. */
static bool open_next(struct zip_op *op, struct buf *out, struct err *err) {
  struct str name = str_of(op->names.p + op->at);
  AUTO_BUF struct buf path = BUF_INIT(64 * KIB);
  struct stat st;
  struct err why;
  buf_printf(&path, "%.*s/%.*s", STR_ARG(op->directory), STR_ARG(name));
  if (!buf_ok(&path, err))
    return false;
  op->fd = artifact_open(op->store, op->directory.n ? buf_str(&path) : name, &st, &why);
  op->at += name.n + 1;
  if (op->fd < 0 && why.code == ERR_NOT_FOUND)
    return true;
  if (op->fd < 0) {
    *err = why;
    return false;
  }
  return zip_begin_file(op->zip, name, (uint64_t)st.st_size, st.st_mtime, is_worth_packing(name), out, err);
}

static bool fill(void *ctx, struct buf *out, bool *ret_more, struct err *err) {
  struct zip_op *op = ctx;
  *ret_more = true;
  while (out->n < PUMP_PIECE) {
    if (op->fd < 0 && op->at == op->names.n) {
      *ret_more = false;
      return zip_end(op->zip, out, err);
    }
    if (op->fd < 0 && !open_next(op, out, err))
      return false;
    if (op->fd < 0)
      continue;
    ssize_t n = read(op->fd, op->bytes, READ_PIECE);
    if (n < 0 && errno != EINTR)
      return err_errno(err, errno, "cannot read an artifact");
    if (n > 0 && !zip_add(op->zip, str_n(op->bytes, (size_t)n), out, err))
      return false;
    if (n == 0) {
      fd_close(&op->fd);
      if (!zip_end_file(op->zip, out, err))
        return false;
    }
  }
  return true;
}

/* ---- on the loop ---- */

static void over(void *ctx, const struct err *err) {
  struct zip_op *op = ctx;
  struct http_req *req = op->req;
  zip_op_free(op);
  if (err) /* the client sees that it is not complete */
    http_stream_abort(req);
  else
    http_stream_end(req);
}

static bool keep_names(struct zip_op *op, const struct artifact_entry *entries, size_t count, struct err *err) {
  size_t files = 0;
  for (size_t i = 0; i < count; i++) {
    if (entries[i].is_dir)
      continue;
    buf_add(&op->names, entries[i].name, strlen(entries[i].name) + 1);
    files++;
  }
  if (!files)
    return err_set(err, ERR_NOT_FOUND, "there are no artifacts in \"%.*s\"", STR_ARG(str_slice(op->directory, 0, 200)));
  return buf_ok(&op->names, err);
}

static void on_listed(void *ctx, const struct artifact_entry *entries, size_t count, const struct err *err) {
  struct zip_op *op = ctx;
  struct http_req *req = op->req;
  struct err why;
  if (err || !keep_names(op, entries, count, &why)) {
    zip_op_free(op);
    http_reply_error(req, err ? err : &why);
    return;
  }
  http_reply_download_name(req, op->name.p);
  pump_begin(&op->pump, req, web_app(req)->work, "application/zip", op);
  if (http_req_method(req) == HTTP_HEAD)
    over(op, NULL);
  else if (!pump_go(&op->pump, fill, over, &why))
    over(op, &why);
}

void api_reply_zip(struct http_req *req, struct str directory, struct str name) {
  struct zip_op *op = mem_zalloc(sizeof *op);
  struct err err;
  if (!op) {
    err_no_memory(&err);
    http_reply_error(req, &err);
    return;
  }
  *op = (struct zip_op){.req = req, .store = web_app(req)->artifacts, .directory = directory, .fd = -1};
  op->names = BUF_INIT(CENTRAL_MAX);
  op->zip = zip_new(CENTRAL_MAX);
  op->bytes = mem_alloc(READ_PIECE);
  op->name = str_of(arena_printf(http_req_arena(req), "%.*s.zip", STR_ARG(name)));
  if ((!op->zip || !op->bytes || !op->name.p) ? err_no_memory(&err) : artifact_list(op->store, directory, true, on_listed, op, &err))
    return;
  zip_op_free(op);
  http_reply_error(req, &err);
}

bool api_zip_asked(struct http_req *req, struct str full, struct str path, struct str *ret_directory, struct str *ret_name) {
  struct stat st;
  struct err ignored;
  if (!str_ends(path, STR(".zip")))
    return false;
  int fd = artifact_open(web_app(req)->artifacts, full, &st, &ignored);
  if (fd >= 0) { /* a file of that name */
    close(fd);
    return false;
  }
  /* Without its ending it is another path, which has to pass again: "...zip". */
  struct str part, directory;
  if (!artifact_below_check(str_slice(path, 0, path.n - 4), &directory, &ignored) || !directory.n || directory.n != path.n - 4)
    return false;
  *ret_directory = str_slice(full, 0, full.n - 4);
  for (struct str rest = directory; str_split(&rest, '/', &part);)
    *ret_name = part;
  return true;
}
