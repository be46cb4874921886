#include "tracker/artifacts/artifact_check.h"

#include <fcntl.h>
#include <openssl/evp.h>

#include "base/file.h"
#include "base/mem.h"
#include "tracker/artifacts/artifact_tree.h"

enum { PIECE = 1 << 18, A_TURN = 32 << 20, PAGE_MS = 120000 };

const char *artifact_verdict_text(enum artifact_verdict verdict) {
  static const char *const texts[] = {"it is as noted", "its file is missing", "its file has another size than noted",
                                      "its content is not what was stored: the SHA-256 differs", "its file cannot be read"};
  return texts[verdict];
}

static void close_file(struct artifact_check *check) {
  if (!check->hash)
    return;
  EVP_MD_CTX_free(check->hash);
  check->hash = NULL;
  fd_close(&check->fd);
}

void artifact_check_reset(struct artifact_check *check) {
  close_file(check);
  for (size_t i = 0; i < check->count; i++)
    mem_free(check->probes[i].path);
  check->count = check->at = 0;
}

/* ---- rows ---- */

bool artifact_check_page(struct pg_pool *pg, const struct buf *after, pg_done_fn *done, void *ctx, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_ARTIFACT_PAGE);
  pg_put_text(&args, str_n(buf_text(after), after->n));
  pg_put_int(&args, ARTIFACT_PROBES_MAX);
  return pg_run(pg, &args, PAGE_MS, done, ctx, err);
}

void artifact_probe_set(struct artifact_probe *probe, const struct pg_reply *reply, size_t row) {
  struct str sha256 = pg_bytea(reply, row, 2);
  probe->size = pg_int(reply, row, 1);
  probe->created = pg_int(reply, row, 3);
  probe->coming = pg_bool(reply, row, 4);
  memcpy(probe->sha256, sha256.p, MIN_OF(sha256.n, sizeof probe->sha256));
}

bool artifact_check_fill(struct artifact_check *check, const struct pg_reply *reply, struct buf *after, struct err *err) {
  size_t rows = MIN_OF(pg_rows(reply), (size_t)ARTIFACT_PROBES_MAX);
  artifact_check_reset(check);
  for (size_t i = 0; i < rows; i++) {
    struct artifact_probe *probe = &check->probes[i];
    *probe = (struct artifact_probe){.path = mem_strdup(pg_text(reply, i, 0).p)};
    if (!probe->path)
      return err_no_memory(err);
    check->count = i + 1;
    artifact_probe_set(probe, reply, i);
  }
  if (!rows)
    return true;
  buf_reset(after);
  buf_add_str(after, pg_text(reply, rows - 1, 0));
  return buf_ok(after, err);
}

/* ---- files ---- */

/* Leaves the file open when its content is to be read. */
static void look(struct artifact_check *check, struct artifact_probe *probe) {
  struct stat st;
  struct err err = {.code = ERR_NONE};
  probe->verdict = ARTIFACT_FINE;
  probe->found_size = -1;
  probe->looks++;
  int fd = artifact_open(check->store, str_of(probe->path), &st, &err);
  if (fd < 0) {
    probe->verdict = err.code == ERR_NOT_FOUND ? ARTIFACT_MISSING : ARTIFACT_UNREADABLE;
    return;
  }
  probe->found_size = st.st_size;
  if (st.st_size != probe->size)
    probe->verdict = ARTIFACT_OTHER_SIZE;
  EVP_MD_CTX *hash = probe->verdict == ARTIFACT_FINE && check->deep ? EVP_MD_CTX_new() : NULL;
  if (hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1) {
    check->hash = hash;
    check->fd = fd;
    return;
  }
  if (check->deep && probe->verdict == ARTIFACT_FINE)
    probe->verdict = ARTIFACT_UNREADABLE;
  EVP_MD_CTX_free(hash);
  fd_close(&fd);
}

static void finish_file(struct artifact_check *check, struct artifact_probe *probe) {
  uint8_t digest[32];
  unsigned n = sizeof digest;
  if (EVP_DigestFinal_ex(check->hash, digest, &n) != 1)
    probe->verdict = ARTIFACT_UNREADABLE;
  else if (memcmp(digest, probe->sha256, sizeof digest) != 0)
    probe->verdict = ARTIFACT_OTHER_CONTENT;
  close_file(check);
}

/* Reads on; false when there is more to read than this turn may. */
static bool read_on(struct artifact_check *check, struct artifact_probe *probe, char *bytes, int64_t *budget) {
  while (*budget > 0) {
    ssize_t n = read(check->fd, bytes, PIECE);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 || (n > 0 && EVP_DigestUpdate(check->hash, bytes, (size_t)n) != 1)) {
      probe->verdict = ARTIFACT_UNREADABLE;
      close_file(check);
      return true;
    }
    if (n == 0) {
      finish_file(check, probe);
      return true;
    }
    check->bytes += n;
    *budget -= n;
  }
  return false;
}

static void run(struct work *work) {
  struct artifact_check *check = CONTAINER_OF(work, struct artifact_check, work);
  int64_t budget = A_TURN;
  AUTO_FREE char *bytes = mem_alloc(PIECE);
  while (bytes && budget > 0 && check->at < check->count) {
    struct artifact_probe *probe = &check->probes[check->at];
    if (!check->hash)
      look(check, probe);
    if (check->hash && !read_on(check, probe, bytes, &budget))
      return;
    check->at++;
  }
}

static void done(struct work *work, bool cancelled) {
  struct artifact_check *check = CONTAINER_OF(work, struct artifact_check, work);
  struct err err;
  if (cancelled)
    err_set(&err, ERR_UNAVAILABLE, "the service is stopping");
  check->done(check, cancelled ? &err : NULL);
}

bool artifact_check_go(struct artifact_check *check, struct err *err) {
  check->work = (struct work){.run = run, .done = done};
  return work_submit(check->pool, &check->work, err);
}
