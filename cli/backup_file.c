#include "cli/backup_file.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/tar_stream.h"
#include "tracker/artifacts/artifact_tree.h"
#include "tracker/names.h"

enum { FORM = 1, SMALL_MAX = 8 * 1024 * 1024, FRESH_MAX = 1024, READ_PIECE = 256 * 1024 };

enum part { PART_HEAD, PART_DUMP, PART_ARTIFACT, PART_LINES, PART_END, PART_UNKNOWN };

/* What came since the last list, which has to name it. */
struct fresh {
  char *path;
  uint64_t size;
  uint8_t sha256[32];
};

struct backup_reader {
  struct tar_stream tar;
  int root; /* -1: only checks */
  enum part part;
  int fd; /* of what is being unpacked */
  EVP_MD_CTX *hash, *dump_hash;
  uint64_t size, dump_size;
  struct buf small; /* a part that is read whole */
  struct fresh fresh[FRESH_MAX];
  size_t fresh_count;
  int dump_fd, list_fd;
  struct backup_summary summary;
  int64_t artifacts, artifact_bytes, damaged; /* counted here */
  bool has_head, has_end;
};

static bool broken(struct err *err, const char *what) {
  err_set(err, ERR_IO, "the backup is damaged: %s", what);
  return err_hint(err, "make a new one; nothing can be restored from this");
}

/* ---- lists ---- */

static bool read_line(struct str text, json_t **ret_tree, struct backup_line *ret, struct err *err) {
  if (!json_read(text, ret_tree, err))
    return false;
  struct str sha256 = json_str(json_object_get(*ret_tree, "sha256"));
  *ret = (struct backup_line){.path = json_str(json_object_get(*ret_tree, "path")), .size = -1};
  ret->damaged = json_is_true(json_object_get(*ret_tree, "damaged"));
  ret->kept = json_is_true(json_object_get(*ret_tree, "kept"));
  if (!ret->path.n || (sha256.n && (sha256.n != 64 || !hex_decode(sha256, ret->sha256, 32))))
    return broken(err, "a line of its list of files cannot be read");
  if (sha256.n)
    ret->size = json_integer_value(json_object_get(*ret_tree, "size"));
  return true;
}

static bool each_line(struct str text, backup_line_fn *fn, void *ctx, struct err *err) {
  struct str rest = text, line;
  while (str_split(&rest, '\n', &line)) {
    AUTO_JSON json_t *tree = NULL;
    struct backup_line item;
    if (line.n && (!read_line(line, &tree, &item, err) || !fn(ctx, &item, err)))
      return false;
  }
  return true;
}

/* Drops what is named, and what came before it under the same name. */
static bool check_line(void *ctx, const struct backup_line *line, struct err *err) {
  struct backup_reader *reader = ctx;
  bool found = line->size < 0;
  for (size_t i = reader->fresh_count; i-- > 0;) {
    struct fresh *fresh = &reader->fresh[i];
    if (!str_is(line->path, fresh->path))
      continue;
    if (!found && ((int64_t)fresh->size != line->size || memcmp(fresh->sha256, line->sha256, 32) != 0))
      return broken(err, "an artifact is not what its list says");
    found = true;
    mem_free(fresh->path);
    *fresh = reader->fresh[--reader->fresh_count];
  }
  if (!found)
    return broken(err, "an artifact of its list is missing");
  if (line->size >= 0) {
    reader->artifacts++;
    reader->artifact_bytes += line->size;
  }
  reader->damaged += line->damaged;
  return true;
}

/* Files without a line were removed at the service while they were being sent. */
static void forget_fresh(struct backup_reader *reader) {
  for (size_t i = 0; i < reader->fresh_count; i++) {
    struct err ignored;
    if (reader->root >= 0) {
      AUTO_BUF struct buf path = BUF_INIT(64 * KIB);
      buf_printf(&path, BACKUP_ARTIFACTS "/%s", reader->fresh[i].path);
      (void)!tree_delete(reader->root, buf_str(&path), &ignored);
    }
    mem_free(reader->fresh[i].path);
  }
  reader->fresh_count = 0;
}

/* ---- the small parts ---- */

static bool take_head(struct backup_reader *reader, struct err *err) {
  AUTO_JSON json_t *head = NULL;
  if (!json_read(buf_str(&reader->small), &head, err))
    return broken(err, "its head cannot be read");
  if (json_integer_value(json_object_get(head, "form")) != FORM) {
    err_set(err, ERR_UNSUPPORTED, "the backup has a form that is not known here");
    return err_hint(err, "it was made by winnow %.40s; this is %s", json_string_value(json_object_get(head, "winnow")), WINNOW_VERSION);
  }
  reader->has_head = true;
  return true;
}

static bool read_summary(struct str text, struct backup_summary *ret, struct err *err) {
  AUTO_JSON json_t *end = NULL;
  if (!json_read(text, &end, err))
    return broken(err, "its end cannot be read");
  ret->database_bytes = json_integer_value(json_object_get(end, "database_bytes"));
  ret->artifacts = json_integer_value(json_object_get(end, "artifacts"));
  ret->artifact_bytes = json_integer_value(json_object_get(end, "artifact_bytes"));
  ret->damaged = json_integer_value(json_object_get(end, "damaged"));
  snprintf(ret->database_sha256, sizeof ret->database_sha256, "%.*s", STR_ARG(json_str(json_object_get(end, "database_sha256"))));
  return true;
}

static bool take_end(struct backup_reader *reader, struct err *err) {
  uint8_t digest[32];
  char hex[65];
  unsigned n = sizeof digest;
  if (!read_summary(buf_str(&reader->small), &reader->summary, err))
    return false;
  if (EVP_DigestFinal_ex(reader->dump_hash, digest, &n) != 1)
    return err_set(err, ERR_INTERNAL, "hashing failed");
  hex_encode(digest, sizeof digest, hex);
  if (strcmp(hex, reader->summary.database_sha256) != 0 || (int64_t)reader->dump_size != reader->summary.database_bytes)
    return broken(err, "the dump of the database is not what it was");
  if (reader->artifacts != reader->summary.artifacts || reader->artifact_bytes != reader->summary.artifact_bytes)
    return broken(err, "there are not as many artifacts as there were");
  reader->has_end = true;
  return true;
}

/* ---- files ---- */

static int make_file(struct backup_reader *reader, const char *name, struct err *err) {
  struct str base;
  char text[256];
  AUTO_FD int parent = tree_open_parent(reader->root, str_of(name), true, &base, err);
  if (parent < 0)
    return -1;
  snprintf(text, sizeof text, "%.*s", STR_ARG(base));
  int fd = openat(parent, text, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (fd < 0)
    err_errno(err, errno, "cannot write %.200s", name);
  return fd;
}

static bool begin_artifact(struct backup_reader *reader, struct str name, struct err *err) {
  struct str path;
  AUTO_BUF struct buf full = BUF_INIT(TAR_NAME_MAX + 64);
  if (!artifact_path_check(name, &path, err) || !path.n || path.n != name.n) {
    err_set(err, ERR_INVALID, "the backup has a name that is not taken: \"%.*s\"", STR_ARG(str_slice(name, 0, 120)));
    return err_hint(err, "it would leave the directory, or cannot be a file's name");
  }
  if (reader->fresh_count == FRESH_MAX)
    return broken(err, "its list of files is missing");
  if (EVP_DigestInit_ex(reader->hash, EVP_sha256(), NULL) != 1)
    return err_set(err, ERR_INTERNAL, "hashing failed");
  struct fresh *fresh = &reader->fresh[reader->fresh_count];
  fresh->path = mem_strndup(path.p, path.n);
  if (!fresh->path)
    return err_no_memory(err);
  reader->fresh_count++;
  if (reader->root < 0)
    return true;
  buf_printf(&full, BACKUP_ARTIFACTS "/%.*s", STR_ARG(path));
  reader->fd = buf_ok(&full, err) ? make_file(reader, buf_text(&full), err) : -1;
  return reader->fd >= 0;
}

static bool end_artifact(struct backup_reader *reader, struct err *err) {
  struct fresh *fresh = &reader->fresh[reader->fresh_count - 1];
  unsigned n = sizeof fresh->sha256;
  fresh->size = reader->size;
  fd_close(&reader->fd);
  return EVP_DigestFinal_ex(reader->hash, fresh->sha256, &n) == 1 || err_set(err, ERR_INTERNAL, "hashing failed");
}

/* ---- the archive's events ---- */

static enum part part_of(struct str name) {
  static const struct {
    const char *name;
    enum part part;
    bool is_prefix;
  } parts[] = {{"winnow-backup.json", PART_HEAD, false},
               {"database/", PART_DUMP, true},
               {"artifacts/", PART_ARTIFACT, true},
               {"files/", PART_LINES, true},
               {"end.json", PART_END, false}};
  for (size_t i = 0; i < ARRAY_LEN(parts); i++)
    if (parts[i].is_prefix ? str_starts(name, str_of(parts[i].name)) : str_is(name, parts[i].name))
      return parts[i].part;
  return PART_UNKNOWN;
}

static bool on_file(void *ctx, struct str name, uint64_t size, struct err *err) {
  struct backup_reader *reader = ctx;
  reader->part = part_of(name);
  reader->size = 0;
  buf_reset(&reader->small);
  if (!reader->has_head && reader->part != PART_HEAD) {
    err_set(err, ERR_INVALID, "this is no backup of winnow");
    return err_hint(err, "winnow admin backup makes one");
  }
  if (reader->part == PART_ARTIFACT)
    return begin_artifact(reader, str_slice(name, strlen("artifacts/"), name.n), err);
  return reader->part == PART_DUMP || reader->part == PART_UNKNOWN || size <= SMALL_MAX || broken(err, "a part of it is too large");
}

static bool on_data(void *ctx, struct str bytes, struct err *err) {
  struct backup_reader *reader = ctx;
  reader->size += bytes.n;
  switch (reader->part) {
  case PART_DUMP:
    reader->dump_size += bytes.n;
    if (EVP_DigestUpdate(reader->dump_hash, bytes.p, bytes.n) != 1)
      return err_set(err, ERR_INTERNAL, "hashing failed");
    return reader->root < 0 || fd_write_all(reader->dump_fd, bytes.p, bytes.n, err);
  case PART_ARTIFACT:
    if (EVP_DigestUpdate(reader->hash, bytes.p, bytes.n) != 1)
      return err_set(err, ERR_INTERNAL, "hashing failed");
    return reader->root < 0 || fd_write_all(reader->fd, bytes.p, bytes.n, err);
  case PART_HEAD:
  case PART_LINES:
  case PART_END:
    buf_add_str(&reader->small, bytes);
    return buf_ok(&reader->small, err);
  case PART_UNKNOWN:
    break;
  }
  return true;
}

static bool keep_small(struct backup_reader *reader, const char *name, struct err *err) {
  if (reader->root < 0)
    return true;
  AUTO_FD int fd = make_file(reader, name, err);
  return fd >= 0 && fd_write_all(fd, reader->small.p, reader->small.n, err) && fd_sync(fd, err);
}

static bool on_end(void *ctx, struct err *err) {
  struct backup_reader *reader = ctx;
  switch (reader->part) {
  case PART_HEAD:
    return take_head(reader, err) && keep_small(reader, "winnow-backup.json", err);
  case PART_ARTIFACT:
    return end_artifact(reader, err);
  case PART_LINES:
    if (!each_line(buf_str(&reader->small), check_line, reader, err))
      return false;
    forget_fresh(reader);
    return reader->root < 0 || fd_write_all(reader->list_fd, reader->small.p, reader->small.n, err);
  case PART_END:
    return take_end(reader, err) && keep_small(reader, BACKUP_END, err);
  case PART_DUMP:
  case PART_UNKNOWN:
    break;
  }
  return true;
}

/* ---- life ---- */

struct backup_reader *backup_reader_new(const char *directory, struct err *err) {
  static const struct tar_events events = {on_file, on_data, on_end};
  struct backup_reader *reader = mem_zalloc(sizeof *reader);
  if (!reader) {
    err_no_memory(err);
    return NULL;
  }
  tar_stream_init(&reader->tar, &events, reader);
  reader->root = reader->fd = reader->dump_fd = reader->list_fd = -1;
  reader->small = BUF_INIT(SMALL_MAX);
  reader->hash = EVP_MD_CTX_new();
  reader->dump_hash = EVP_MD_CTX_new();
  bool ok = (reader->hash && reader->dump_hash && EVP_DigestInit_ex(reader->dump_hash, EVP_sha256(), NULL) == 1) || err_no_memory(err);
  if (ok && directory) {
    reader->root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ok = reader->root >= 0 || err_errno(err, errno, "cannot open %s", directory);
    reader->dump_fd = ok ? make_file(reader, BACKUP_DUMP, err) : -1;
    reader->list_fd = reader->dump_fd >= 0 ? make_file(reader, BACKUP_LIST, err) : -1;
    ok = reader->list_fd >= 0 &&
         (mkdirat(reader->root, BACKUP_ARTIFACTS, 0755) == 0 || err_errno(err, errno, "cannot write into %s", directory));
  }
  if (ok)
    return reader;
  backup_reader_free(reader);
  return NULL;
}

void backup_reader_free(struct backup_reader *reader) {
  if (!reader)
    return;
  for (size_t i = 0; i < reader->fresh_count; i++)
    mem_free(reader->fresh[i].path);
  tar_stream_release(&reader->tar);
  EVP_MD_CTX_free(reader->hash);
  EVP_MD_CTX_free(reader->dump_hash);
  buf_release(&reader->small);
  fd_close(&reader->fd);
  fd_close(&reader->dump_fd);
  fd_close(&reader->list_fd);
  fd_close(&reader->root);
  mem_free(reader);
}

bool backup_feed(struct backup_reader *reader, struct str bytes, struct err *err) {
  return tar_stream_feed(&reader->tar, bytes, err);
}

bool backup_finish(struct backup_reader *reader, struct backup_summary *ret, struct err *err) {
  if (!tar_stream_finish(&reader->tar, err))
    return false;
  if (!reader->has_end)
    return broken(err, "its end is missing");
  forget_fresh(reader);
  *ret = reader->summary;
  if (reader->root < 0)
    return true;
  return fd_sync(reader->dump_fd, err) && fd_sync(reader->list_fd, err) &&
         (syncfs(reader->root) == 0 || err_errno(err, errno, "cannot sync what was unpacked"));
}

/* ---- an unpacked one ---- */

bool backup_lines(const char *directory, backup_line_fn *fn, void *ctx, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(8 * KIB), held = BUF_INIT(MIB);
  buf_printf(&path, "%s/" BACKUP_LIST, directory);
  AUTO_FD int fd = open(buf_text(&path), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return err_errno(err, errno, "cannot open %s", buf_text(&path));
  for (;;) {
    char *room = buf_room(&held, READ_PIECE);
    ssize_t n = room ? read(fd, room, READ_PIECE) : -1;
    if (!room)
      return buf_ok(&held, err);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return err_errno(err, errno, "cannot read %s", buf_text(&path));
    if (n == 0)
      return held.n == 0 || broken(err, "its list of files ends in the middle of a line");
    buf_grew(&held, (size_t)n);
    const char *last = memrchr(held.p, '\n', held.n);
    size_t whole = last ? (size_t)(last - held.p) + 1 : 0;
    if (!each_line(str_n(held.p, whole), fn, ctx, err))
      return false;
    buf_drop(&held, whole);
  }
}

struct directory_check {
  int root;
  EVP_MD_CTX *hash;
  char *bytes;
  struct backup_summary counted;
};

static bool hash_at(struct directory_check *check, struct str path, uint8_t out[32], int64_t *ret_size, struct err *err) {
  AUTO_FD int fd = tree_open(check->root, path, O_RDONLY, err);
  unsigned size = 32;
  *ret_size = 0;
  if (fd < 0)
    return false;
  if (EVP_DigestInit_ex(check->hash, EVP_sha256(), NULL) != 1)
    return err_set(err, ERR_INTERNAL, "hashing failed");
  for (;;) {
    ssize_t n = read(fd, check->bytes, READ_PIECE);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 || (n > 0 && EVP_DigestUpdate(check->hash, check->bytes, (size_t)n) != 1))
      return err_errno(err, errno, "cannot read %.*s", STR_ARG(str_slice(path, 0, 200)));
    if (n == 0)
      return EVP_DigestFinal_ex(check->hash, out, &size) == 1 || err_set(err, ERR_INTERNAL, "hashing failed");
    *ret_size += n;
  }
}

static bool check_listed(void *ctx, const struct backup_line *line, struct err *err) {
  struct directory_check *check = ctx;
  AUTO_BUF struct buf path = BUF_INIT(64 * KIB);
  struct str plain;
  uint8_t sha256[32];
  int64_t size;
  if (line->size < 0)
    return true;
  if (!artifact_path_check(line->path, &plain, err))
    return false;
  buf_printf(&path, BACKUP_ARTIFACTS "/%.*s", STR_ARG(plain));
  if (!buf_ok(&path, err) || !hash_at(check, buf_str(&path), sha256, &size, err))
    return false;
  if (size != line->size || memcmp(sha256, line->sha256, 32) != 0)
    return broken(err, "an artifact is not what its list says");
  check->counted.artifacts++;
  check->counted.artifact_bytes += size;
  return true;
}

static bool check_parts(struct directory_check *check, const char *directory, struct backup_summary *ret, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(8 * KIB), end = BUF_INIT(MIB);
  uint8_t sha256[32];
  char hex[65];
  int64_t size;
  buf_printf(&path, "%s/" BACKUP_END, directory);
  if (!file_read(buf_text(&path), &end, err)) {
    err_set(err, ERR_INVALID, "%.200s is no backup of winnow, or not a whole one: it has no " BACKUP_END, directory);
    return false;
  }
  if (!read_summary(buf_str(&end), ret, err) || !hash_at(check, STR(BACKUP_DUMP), sha256, &size, err))
    return false;
  hex_encode(sha256, sizeof sha256, hex);
  if (strcmp(hex, ret->database_sha256) != 0)
    return broken(err, "the dump of the database is not what it was");
  if (!backup_lines(directory, check_listed, check, err))
    return false;
  return (check->counted.artifacts == ret->artifacts && check->counted.artifact_bytes == ret->artifact_bytes) ||
         broken(err, "there are not as many artifacts as there were");
}

bool backup_check_directory(const char *directory, struct backup_summary *ret, struct err *err) {
  AUTO_FREE char *bytes = mem_alloc(READ_PIECE);
  AUTO_FD int root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct directory_check check = {.root = root, .hash = EVP_MD_CTX_new(), .bytes = bytes};
  bool ok = root >= 0 ? (bytes && check.hash) || err_no_memory(err) : err_errno(err, errno, "cannot open %s", directory);
  ok = ok && check_parts(&check, directory, ret, err);
  EVP_MD_CTX_free(check.hash);
  return ok;
}
