/* Files to and from the service, checked by SHA-256. Names that a service gives are not trusted. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/transfer.h"
#include "cli/verbs.h"
#include "storage/digest.h"

enum { MAX_DEPTH = 64 /* as the service's addresses */, MAX_NAME = 4096, MAX_FILES = 200000, MAX_LISTINGS = 20000, PIECE = 256 * 1024 };

/* ---- progress ---- */

struct progress {
  struct cli *cli;
  const char *name;
  int64_t begun_us;
};

static bool on_progress(void *ctx, int64_t moved, int64_t total, struct err *err) {
  (void)err;
  struct progress *progress = ctx;
  AUTO_BUF struct buf line = BUF_INIT(8 * KIB);
  double seconds = (double)(clock_mono_us(progress->cli->clock) - progress->begun_us) / 1e6;
  double rate = seconds > 0 ? (double)moved / seconds : 0;
  buf_printf(&line, "%s  ", progress->name);
  encode_size(&line, (double)moved);
  if (total > 0) {
    buf_puts(&line, " of ");
    encode_size(&line, (double)total);
  }
  buf_puts(&line, "  ");
  encode_size(&line, rate);
  buf_puts(&line, "/s");
  if (total > moved && rate > 1) {
    buf_puts(&line, "  ");
    encode_duration(&line, (int64_t)((double)(total - moved) / rate * 1000));
    buf_puts(&line, " left");
  }
  cli_progress(progress->cli, buf_text(&line));
  return true;
}

/* ---- down ---- */

struct download {
  struct progress progress; /* first: the tick gets the same context */
  int fd;
  struct digest *digest;
  int64_t bytes;
};

static bool on_piece(void *ctx, struct str bytes, struct err *err) {
  struct download *download = ctx;
  download->bytes += (int64_t)bytes.n;
  digest_add(download->digest, bytes);
  return fd_write_all(download->fd, bytes.p, bytes.n, err);
}

static bool damaged(const char *name, const char *sha256, struct str said, struct err *err) {
  return err_set(err, ERR_IO, "'%s' arrived damaged: its SHA-256 is %s, not %.*s", name, sha256, STR_ARG(str_slice(said, 0, 64)));
}

static bool download_to(struct cli *cli, const char *path, const char *name, int fd, int64_t *ret_bytes, char ret_sha256[65],
                        struct err *err) {
  AUTO_REPLY struct client_reply reply;
  client_reply_init(&reply);
  struct client *client = cli_client(cli, err);
  struct digest *digest = client ? digest_new() : NULL;
  if (!digest)
    return client && err_no_memory(err);
  struct download download = {.progress = {cli, name, clock_mono_us(cli->clock)}, .fd = fd, .digest = digest};
  struct client_request request = {
      .method = "GET", .path = path, .body_fd = -1, .accept = "*/*", .sink = on_piece, .tick = on_progress, .ctx = &download};
  bool ok = client_call(client, &request, &reply, err);
  digest_end(digest, ret_sha256);
  cli_progress_end(cli);
  *ret_bytes = download.bytes;
  struct str said = str_of(reply.sha256);
  return ok && (!said.n || str_is(said, ret_sha256) || damaged(name, ret_sha256, said, err));
}

/* The directory above says what is in it; a listing of a file is empty, as is one of nothing. */
bool listing_find(struct cli *cli, const char *list_path, struct str name, json_t **ret_item, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(32 * KIB), above = BUF_INIT(16 * KIB);
  AUTO_JSON json_t *items = NULL;
  const char *slash = name.n ? memrchr(name.p, '/', name.n) : NULL;
  buf_puts(&path, list_path);
  buf_add(&above, name.p, slash ? (size_t)(slash - name.p) : 0);
  path_query(&path, "path", above.n ? buf_text(&above) : NULL);
  if (!buf_ok(&above, err) || !buf_ok(&path, err) || !cli_list(cli, buf_text(&path), NULL, 0, &items, NULL, err))
    return false;
  for (size_t i = 0; i < json_array_size(items); i++) {
    json_t *item = json_array_get(items, i);
    if (!str_eq(json_str(json_object_get(item, "path")), name))
      continue;
    *ret_item = json_incref(item);
    return true;
  }
  return err_set(err, ERR_NOT_FOUND, "the file '%.*s' is gone", STR_ARG(str_slice(name, 0, 200)));
}

/* Another file than was listed: replaced meanwhile, if the listing says by now what arrived; it says so a little later than the file is
 * there. `ret_again`: it was replaced once more, so the one that is there now is to be fetched; `sha256` is what it has. */
static bool was_replaced(struct cli *cli, struct file_download *file, const char *arrived, bool *ret_again, struct err *err) {
  enum { LOOKS = 5, WAIT_MS = 100 };
  char was[65];
  snprintf(was, sizeof was, "%s", file->sha256);
  *ret_again = false;
  for (int64_t look = 0; look < LOOKS; look++) {
    AUTO_JSON json_t *item = NULL;
    struct client *client = cli_client(cli, err);
    if (!client || (look && !client_sleep(client, look * WAIT_MS, err)) || !listing_find(cli, file->list_path, file->listed, &item, err))
      return false;
    snprintf(file->sha256, sizeof file->sha256, "%.*s", STR_ARG(json_str(json_object_get(item, "sha256"))));
    if (!file->sha256[0] || strcmp(file->sha256, arrived) == 0)
      return true;
  }
  *ret_again = strcmp(file->sha256, was) != 0;
  return damaged(file->what, arrived, str_of(was), err);
}

static bool fetch_once(struct cli *cli, struct file_download *file, int fd, bool *ret_again, struct err *err) {
  char arrived[65];
  *ret_again = false;
  return download_to(cli, file->path, file->what, fd, &file->bytes, arrived, err) &&
         (!file->sha256[0] || strcmp(arrived, file->sha256) == 0 || was_replaced(cli, file, arrived, ret_again, err));
}

bool download_to_stdout(struct cli *cli, struct file_download *file, struct err *err) {
  bool ignored;
  return fetch_once(cli, file, STDOUT_FILENO, &ignored, err);
}

/* ---- names ---- */

bool artifact_name_is_safe(struct str name) {
  if (!name.n || name.n >= MAX_NAME || name.p[0] == '/' || !str_is_utf8(name) || memchr(name.p, 0, name.n) || memchr(name.p, '\\', name.n))
    return false;
  struct str rest = name, part;
  size_t depth = 0;
  while (str_split(&rest, '/', &part)) {
    if (!part.n || part.n > 255 || str_is(part, ".") || str_is(part, "..") || ++depth > MAX_DEPTH)
      return false;
    for (size_t i = 0; i < part.n; i++)
      if ((unsigned char)part.p[i] < 0x20 || part.p[i] == 0x7F)
        return false;
  }
  return true;
}

static bool unsafe(struct str name, struct err *err) {
  err_set(err, ERR_INVALID, "the service gives a name that is not taken: '%.*s'", STR_ARG(str_slice(name, 0, 120)));
  return err_hint(err, "it would leave the target directory, or cannot be a file's name");
}

/* Opens the directory that `name` lies in, beneath `root`, making what is missing. No step follows a link. The caller closes it. */
static int open_parent(int root, struct str name, struct str *ret_base, struct err *err) {
  int at = fcntl(root, F_DUPFD_CLOEXEC, 3);
  struct str rest = name, part;
  while (at >= 0 && str_split(&rest, '/', &part) && rest.p) {
    char step[256];
    snprintf(step, sizeof step, "%.*s", STR_ARG(part));
    if (mkdirat(at, step, 0777) != 0 && errno != EEXIST)
      break;
    int next = openat(at, step, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    fd_close(&at);
    at = next;
  }
  if (at < 0 || rest.p) {
    int failed = errno;
    fd_close(&at);
    err_errno(err, failed, "cannot use the directory of '%.*s'", STR_ARG(str_slice(name, 0, 200)));
    if (failed == ELOOP || failed == ENOTDIR)
      err_hint(err, "a link or a file stands where a directory should be; nothing is written through it");
    return -1;
  }
  *ret_base = part;
  return at;
}

static bool refuse_link(int parent, const char *base, struct err *err) {
  struct stat st;
  if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT || err_errno(err, errno, "cannot examine '%s'", base);
  if (S_ISREG(st.st_mode))
    return true;
  err_set(err, ERR_EXISTS, "'%s' is there already and is no plain file", base);
  return err_hint(err, "nothing is written through links; move it away first");
}

static bool write_beside(struct cli *cli, struct file_download *file, int parent, const char *base, bool *ret_again, struct err *err) {
  char temporary[64];
  snprintf(temporary, sizeof temporary, ".winnow-%016llx", (unsigned long long)rng_u64(&cli->rng));
  *ret_again = false;
  AUTO_FD int fd = openat(parent, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (fd < 0)
    return err_errno(err, errno, "cannot write beside '%s'", base);
  file->what = base;
  bool ok = fetch_once(cli, file, fd, ret_again, err) && fd_sync(fd, err);
  if (ok && renameat(parent, temporary, parent, base) != 0)
    ok = err_errno(err, errno, "cannot name '%s'", base);
  if (!ok)
    unlinkat(parent, temporary, 0);
  return ok;
}

static bool fetch_file(struct cli *cli, struct file_download *file, int root, struct err *err) {
  enum { TRIES = 4 };
  struct str base;
  if (!artifact_name_is_safe(file->name))
    return unsafe(file->name, err);
  AUTO_FD int parent = open_parent(root, file->name, &base, err);
  if (parent < 0)
    return false;
  char base_text[256];
  snprintf(base_text, sizeof base_text, "%.*s", STR_ARG(base));
  bool ok = refuse_link(parent, base_text, err), again = ok;
  for (int i = 0; i < TRIES && again; i++)
    ok = write_beside(cli, file, parent, base_text, &again, err);
  return ok;
}

/* ---- trees ---- */

struct tree_walk {
  struct cli *cli;
  const struct tree_download *tree;
  int root;
  size_t files, gone, listings;
  int64_t bytes;
};

static struct str stripped(const struct tree_download *tree, struct str name) {
  struct str strip = str_of(tree->strip);
  if (strip.n && str_starts(name, strip) && name.n > strip.n && name.p[strip.n] == '/')
    return str_slice(name, strip.n + 1, name.n);
  return name;
}

/* What was removed since it was listed keeps the rest from nobody. */
static bool is_gone(struct tree_walk *walk, struct str name, const struct err *err) {
  if (err->code != ERR_NOT_FOUND)
    return false;
  output_say(&walk->cli->output, "%.*s was removed meanwhile and is left out", STR_ARG(name));
  walk->gone++;
  return true;
}

static bool fetch_item(struct tree_walk *walk, const json_t *item, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(32 * KIB);
  struct str name = json_str(json_object_get(item, "path"));
  if (!artifact_name_is_safe(name)) /* before it goes into a request, too */
    return unsafe(name, err);
  buf_puts(&path, walk->tree->file_path);
  path_escape(&path, name, true);
  struct file_download file = {
      .path = buf_text(&path), .list_path = walk->tree->list_path, .listed = name, .name = stripped(walk->tree, name)};
  snprintf(file.sha256, sizeof file.sha256, "%.*s", STR_ARG(json_str(json_object_get(item, "sha256"))));
  if (!buf_ok(&path, err))
    return false;
  if (!fetch_file(walk->cli, &file, walk->root, err))
    return is_gone(walk, name, err);
  if (++walk->files > MAX_FILES)
    return err_set(err, ERR_TOO_LARGE, "more than %d files", MAX_FILES);
  walk->bytes += file.bytes;
  return true;
}

/* A listing may hold the whole tree or one level: what lies in a directory is asked for only when it is not there already. */
static bool is_listed(const json_t *items, struct str directory) {
  for (size_t i = 0; i < json_array_size(items); i++) {
    struct str path = json_str(json_object_get(json_array_get(items, i), "path"));
    if (path.n > directory.n && str_starts(path, directory) && path.p[directory.n] == '/')
      return true;
  }
  return false;
}

static bool walk_tree(struct tree_walk *walk, const char *directory, int depth, struct err *err) {
  AUTO_JSON json_t *items = NULL;
  AUTO_BUF struct buf path = BUF_INIT(32 * KIB);
  buf_puts(&path, walk->tree->list_path);
  path_query(&path, "path", directory);
  if (depth > MAX_DEPTH)
    return err_set(err, ERR_TOO_LARGE, "the tree is deeper than %d directories", MAX_DEPTH);
  if (++walk->listings > MAX_LISTINGS)
    return err_set(err, ERR_TOO_LARGE, "the tree has more than %d directories", MAX_LISTINGS);
  if (!buf_ok(&path, err) || !cli_list(walk->cli, buf_text(&path), NULL, 0, &items, NULL, err))
    return false;
  for (size_t i = 0; i < json_array_size(items); i++) {
    const json_t *item = json_array_get(items, i);
    struct str name = json_str(json_object_get(item, "path"));
    bool is_directory = json_is_true(json_object_get(item, "is_dir"));
    if (!is_directory && !fetch_item(walk, item, err))
      return false;
    if (!is_directory || is_listed(items, name))
      continue;
    bool deeper = !directory || (name.n > strlen(directory) && str_starts(name, str_of(directory)));
    if (!artifact_name_is_safe(name) || !deeper)
      return unsafe(name, err);
    if (!walk_tree(walk, json_string_value(json_object_get(item, "path")), depth + 1, err))
      return false;
  }
  return true;
}

bool download_tree(struct cli *cli, const struct tree_download *tree, struct tree_got *ret, struct err *err) {
  if (!dir_make(tree->target, 0777, err))
    return false;
  AUTO_FD int root = open(tree->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0)
    return err_errno(err, errno, "cannot open %s", tree->target);
  struct tree_walk walk = {.cli = cli, .tree = tree, .root = root};
  if (!walk_tree(&walk, tree->strip, 0, err))
    return false;
  *ret = (struct tree_got){walk.files, walk.gone, walk.bytes};
  return true;
}

bool download_file(struct cli *cli, struct file_download *file, const char *target, struct err *err) {
  if (!dir_make(target, 0777, err))
    return false;
  AUTO_FD int root = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0)
    return err_errno(err, errno, "cannot open %s", target);
  return fetch_file(cli, file, root, err);
}

/* ---- up ---- */

/* Of the first `size` bytes: a log that grows is stored as it is now. */
static bool hash_file(int fd, const char *name, int64_t size, char ret[65], struct err *err) {
  struct digest *digest = digest_new();
  AUTO_FREE char *piece = mem_alloc(PIECE);
  bool ok = (digest && piece) || err_no_memory(err);
  for (ssize_t n = 1; ok && n != 0 && size > 0; size -= MAX_OF(n, 0)) {
    n = read(fd, piece, (size_t)MIN_OF((int64_t)PIECE, size));
    if (n > 0)
      digest_add(digest, str_n(piece, (size_t)n));
    ok = n >= 0 || errno == EINTR || err_errno(err, errno, "cannot read %s", name);
  }
  if (digest)
    digest_end(digest, ret);
  return ok && (lseek(fd, 0, SEEK_SET) == 0 || err_errno(err, errno, "cannot read %s again", name));
}

static bool is_changed(int fd, const struct stat *was) {
  struct stat now;
  return fstat(fd, &now) == 0 &&
         (now.st_size != was->st_size || now.st_mtim.tv_sec != was->st_mtim.tv_sec || now.st_mtim.tv_nsec != was->st_mtim.tv_nsec);
}

static bool has_changed(const char *name, struct err *err) {
  err_set(err, ERR_CONFLICT, "%s was changed while it was stored", name);
  return err_hint(err, "store it again when nobody writes to it");
}

static bool check_stored(const struct client_reply *reply, const char *name, const char *sha256, bool changed, struct err *err) {
  AUTO_JSON json_t *stored = NULL;
  struct err ignored; /* an answer without a digest proves nothing either way */
  const char *said = reply->sha256;
  if (json_read(buf_str(&reply->body), &stored, &ignored) && json_object_get(stored, "sha256"))
    said = json_string_value(json_object_get(stored, "sha256"));
  if (!said || !said[0] || strcmp(said, sha256) == 0)
    return true;
  if (changed)
    return has_changed(name, err);
  return err_set(err, ERR_IO, "%s arrived damaged at the service: its SHA-256 is %.64s, not %s", name, said, sha256);
}

/* Those of the kernel say that they are empty. */
static bool tells_its_size(int fd, const char *name, const struct stat *st, struct err *err) {
  char byte;
  return st->st_size > 0 || read(fd, &byte, 1) <= 0 || is_changed(fd, st) ||
         err_set(err, ERR_INVALID, "%s holds more than it says: store a copy of it", name);
}

bool upload_file(struct cli *cli, int fd, const char *name, const char *path, int64_t *ret_bytes, struct err *err) {
  struct stat st;
  char sha256[65];
  AUTO_REPLY struct client_reply reply;
  client_reply_init(&reply);
  struct client *client = cli_client(cli, err);
  if (!client)
    return false;
  if (fstat(fd, &st) != 0)
    return err_errno(err, errno, "cannot examine %s", name);
  if (!S_ISREG(st.st_mode))
    return err_set(err, ERR_INVALID, "%s is no plain file", name);
  if (!hash_file(fd, name, st.st_size, sha256, err) || !tells_its_size(fd, name, &st, err))
    return false;
  struct progress progress = {cli, name, clock_mono_us(cli->clock)};
  struct client_request request = {.method = "PUT",
                                   .path = path,
                                   .content_type = "application/octet-stream",
                                   .body_fd = fd,
                                   .body_size = st.st_size,
                                   .tick = on_progress,
                                   .ctx = &progress};
  bool ok = client_call(client, &request, &reply, err);
  if (!ok && err->code == ERR_CONFLICT && is_changed(fd, &st)) /* it ended before all of it was sent */
    has_changed(name, err);
  ok = ok && check_stored(&reply, name, sha256, is_changed(fd, &st), err);
  cli_progress_end(cli);
  if (ok)
    *ret_bytes = st.st_size;
  return ok;
}
