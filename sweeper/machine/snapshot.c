#include "sweeper/machine/snapshot.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/ignore.h"
#include "base/mem.h"
#include "base/tar.h"

enum { IGNORE_FILE_MAX = 4 * 1024 * 1024, ABOVE_MAX = 32, LARGEST = 8, PIECE = 64 * 1024, PATH_SIZE = 4096, SIZE_TEXT = 32 };

/* The ignore files of one directory; .winnowignore has the last word. */
struct level {
  const struct level *above;
  struct ignore git, winnow;
  struct str base; /* of this directory, below the one that is walked */
  struct str lead; /* for a directory above the one that is walked: the way down to it, with a slash at the end */
};

struct walk {
  const struct snapshot_source *source;
  struct arena arena;
  struct tar_entry *items;
  size_t count, cap;
  uint64_t bytes;
  struct err *err;
};

/* ---- paths ---- */

bool snapshot_path_ok(struct str path) {
  struct str rest = path, part;
  int depth = 0;
  if (!path.n || path.n >= PATH_SIZE || memchr(path.p, 0, path.n))
    return false;
  while (str_split(&rest, '/', &part))
    if (++depth > SNAPSHOT_DEPTH_MAX || !part.n || part.n > 255 || str_is(part, ".") || str_is(part, ".."))
      return false;
  return true;
}

bool snapshot_link_stays(struct str path, struct str target) {
  struct str rest = path, part;
  int64_t depth = -1; /* of the directory that holds the link */
  if (!target.n || target.n >= PATH_SIZE || target.p[0] == '/' || memchr(target.p, 0, target.n))
    return false;
  while (str_split(&rest, '/', &part))
    depth++;
  for (rest = target; str_split(&rest, '/', &part);) {
    if (str_is(part, ".."))
      depth--;
    else if (part.n && !str_is(part, "."))
      depth++;
    if (depth < 0)
      return false;
  }
  return true;
}

struct str snapshot_path_plain(struct str path) {
  while (str_starts(path, STR("./")))
    path = str_slice(path, 2, path.n);
  while (path.n > 1 && path.p[path.n - 1] == '/')
    path.n--;
  return path;
}

bool snapshot_link_ok(struct str path) {
  return snapshot_path_ok(snapshot_path_plain(path));
}

static bool is_link(const struct walk *w, struct str path) {
  for (size_t i = 0; i < w->source->link_count; i++)
    if (str_eq(snapshot_path_plain(w->source->links[i]), path))
      return true;
  return false;
}

/* ---- what is left out ---- */

static bool read_ignore(struct walk *w, int dir, const char *name, struct ignore *ret) {
  AUTO_FD int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat st;
  *ret = (struct ignore){0};
  if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
    return true; /* none that could be read */
  char *text = st.st_size <= IGNORE_FILE_MAX ? arena_alloc(&w->arena, (size_t)st.st_size + 1) : NULL;
  if (!text)
    return err_set(w->err, ERR_TOO_LARGE, "%s has more than %d bytes", name, IGNORE_FILE_MAX);
  size_t got = 0;
  for (ssize_t n; got < (size_t)st.st_size && (n = read(fd, text + got, (size_t)st.st_size - got)) > 0;)
    got += (size_t)n;
  return ignore_read(str_n(text, got), &w->arena, ret, w->err);
}

static bool read_level(struct walk *w, int dir, struct level *level) {
  return read_ignore(w, dir, ".gitignore", &level->git) && read_ignore(w, dir, ".winnowignore", &level->winnow);
}

static bool is_left_out(const struct level *level, struct str path, bool is_directory) {
  for (; level; level = level->above) {
    char joined[2 * PATH_SIZE];
    struct str own = str_slice(path, level->base.n ? level->base.n + 1 : 0, path.n);
    if (level->lead.n) {
      int n = snprintf(joined, sizeof joined, "%.*s%.*s", STR_ARG(level->lead), STR_ARG(own));
      own = str_n(joined, MIN_OF((size_t)n, sizeof joined - 1));
    }
    enum ignore_says says = ignore_ask(&level->winnow, own, is_directory);
    if (says == IGNORE_SILENT)
      says = ignore_ask(&level->git, own, is_directory);
    if (says != IGNORE_SILENT)
      return says == IGNORE_OUT;
  }
  return false;
}

static bool has(int dir, const char *name, mode_t kind) {
  struct stat st;
  return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & S_IFMT) == kind;
}

/* Directories that are nobody's code. */
static bool is_never_in(int dir, struct str name) {
  return str_is(name, "__pycache__") || has(dir, "pyvenv.cfg", S_IFREG) ||
         (has(dir, "winnow.sock", S_IFSOCK) && has(dir, "admin.token", S_IFREG));
}

/* ---- the walk ---- */

static struct tar_entry *add_item(struct walk *w) {
  if (w->count == SNAPSHOT_ENTRIES_MAX) {
    err_set(w->err, ERR_TOO_LARGE, "%s has more than %d files", w->source->directory, SNAPSHOT_ENTRIES_MAX);
    err_hint(w->err, "put what jobs do not need into .winnowignore, or name data under links:");
    return NULL;
  }
  if (w->count == w->cap) {
    size_t cap = MAX_OF(w->cap * 2, (size_t)256);
    struct tar_entry *bigger = mem_resize(w->items, cap, sizeof *bigger);
    if (!bigger) {
      err_no_memory(w->err);
      return NULL;
    }
    w->items = bigger;
    w->cap = cap;
  }
  return &w->items[w->count++];
}

static bool outward(const struct walk *w, struct str path, const char *target) {
  err_set(w->err, ERR_INVALID, "%.*s is a symbolic link to %.200s, which does not lie within %s", STR_ARG(path), target,
          w->source->directory);
  return err_hint(w->err, "name it under links: so that jobs get a link to the original, or put it into .winnowignore");
}

static bool add_link(struct walk *w, int dir, const char *name, struct tar_entry *item) {
  char target[PATH_SIZE];
  ssize_t n = readlinkat(dir, name, target, sizeof target - 1);
  if (n < 0)
    return err_errno(w->err, errno, "cannot read the link %.*s", STR_ARG(item->path));
  target[n] = 0;
  if (!snapshot_link_stays(item->path, str_n(target, (size_t)n)))
    return outward(w, item->path, target);
  const char *copy = arena_strdup(&w->arena, str_n(target, (size_t)n));
  item->link = str_of(copy);
  return copy || err_no_memory(w->err);
}

static bool walk_directory(struct walk *w, int fd, struct str base, const struct level *above, unsigned depth);

static bool unreadable(const struct walk *w, struct str path, int error_number) {
  err_errno(w->err, error_number, "cannot read %.*s", STR_ARG(path));
  return err_hint(w->err, "put it into .winnowignore if jobs do not need it");
}

static bool enter(struct walk *w, int dir, const char *name, struct str path, const struct level *level, unsigned depth) {
  int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return unreadable(w, path, errno);
  if (is_never_in(fd, str_of(name))) {
    close(fd);
    w->count--; /* nor the directory itself */
    return true;
  }
  if (depth < SNAPSHOT_DEPTH_MAX)
    return walk_directory(w, fd, path, level, depth + 1);
  close(fd);
  return err_set(w->err, ERR_TOO_LARGE, "%.*s: directories are nested more than %d deep", STR_ARG(path), SNAPSHOT_DEPTH_MAX);
}

static bool visit(struct walk *w, int dir, const char *name, struct str base, const struct level *level, unsigned depth) {
  struct stat st;
  char *text = arena_printf(&w->arena, "%.*s%s%s", STR_ARG(base), base.n ? "/" : "", name);
  if (!text)
    return err_no_memory(w->err);
  struct str path = str_of(text);
  if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT || unreadable(w, path, errno);
  bool is_directory = S_ISDIR(st.st_mode);
  bool known = is_directory || S_ISREG(st.st_mode) || S_ISLNK(st.st_mode);
  if (!known || strcmp(name, ".git") == 0 || is_link(w, path) || is_left_out(level, path, is_directory))
    return true;
  if (!snapshot_path_ok(path))
    return err_set(w->err, ERR_INVALID, "the path %.200s is too long, or too deep", text);
  struct tar_entry *item = add_item(w);
  if (!item)
    return false;
  *item = (struct tar_entry){.path = path, .mode = st.st_mode & 0777};
  item->kind = is_directory ? TAR_DIRECTORY : S_ISLNK(st.st_mode) ? TAR_LINK : TAR_FILE;
  if (S_ISLNK(st.st_mode)) {
    item->mode = 0777;
    return add_link(w, dir, name, item);
  }
  if (is_directory)
    return enter(w, dir, name, path, level, depth);
  item->size = (uint64_t)st.st_size;
  w->bytes += item->size;
  return true;
}

/* Takes fd. */
static bool walk_directory(struct walk *w, int fd, struct str base, const struct level *above, unsigned depth) {
  struct level level = {.above = above, .base = base};
  DIR *dir = fdopendir(fd);
  if (!dir) {
    close(fd);
    return unreadable(w, base, errno);
  }
  bool ok = read_level(w, fd, &level);
  for (struct dirent *entry; ok && (entry = readdir(dir));)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      ok = visit(w, fd, entry->d_name, base, &level, depth);
  closedir(dir);
  return ok;
}

/* The ignore files above hold too, up to the root of the repository; without one they are none of our business. */
static bool read_above(struct walk *w, struct level levels[ABOVE_MAX], const struct level **ret_lowest) {
  AUTO_FREE char *whole = realpath(w->source->directory, NULL);
  const struct level *above = NULL;
  size_t at[ABOVE_MAX], count = 0;
  bool found = whole && has(AT_FDCWD, w->source->directory, S_IFDIR);
  *ret_lowest = NULL;
  if (!found)
    return whole || err_errno(w->err, errno, "cannot find %s", w->source->directory);
  for (size_t end = strlen(whole); count < ABOVE_MAX; count++) {
    char git[PATH_SIZE + 8];
    snprintf(git, sizeof git, "%.*s/.git", (int)end, whole);
    at[count] = end;
    if (access(git, F_OK) == 0)
      break;
    while (end > 0 && whole[end - 1] != '/')
      end--;
    if (end <= 1)
      return true;
    end--;
  }
  if (count == ABOVE_MAX)
    return true;
  for (size_t i = count; i > 0; i--) { /* from the root of the repository down; at[0] is the directory itself */
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%.*s/", (int)at[i], whole);
    AUTO_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *lead = arena_printf(&w->arena, "%s/", whole + at[i] + 1);
    levels[i] = (struct level){.above = above, .lead = str_of(lead)};
    if (!lead || (fd >= 0 && !read_level(w, fd, &levels[i])))
      return lead ? false : err_no_memory(w->err);
    above = *ret_lowest = &levels[i];
  }
  return true;
}

static int by_path(const void *a, const void *b) {
  return str_cmp(((const struct tar_entry *)a)->path, ((const struct tar_entry *)b)->path);
}

/* ---- too much ---- */

struct share {
  struct str name;
  uint64_t bytes;
};

/* The largest first; items are ordered, so what lies in one directory stands together. */
static size_t largest_shares(const struct walk *w, struct share shares[LARGEST]) {
  size_t kept = 0;
  for (size_t i = 0; i < w->count;) {
    struct str path = w->items[i].path;
    struct share share = {.name = str_slice(path, 0, str_find(path, '/'))};
    for (; i < w->count && str_eq(str_slice(w->items[i].path, 0, str_find(w->items[i].path, '/')), share.name); i++)
      share.bytes += w->items[i].size;
    size_t place = kept;
    while (place > 0 && shares[place - 1].bytes < share.bytes)
      place--;
    if (place == LARGEST)
      continue;
    kept = MIN_OF(kept + 1, (size_t)LARGEST);
    memmove(&shares[place + 1], &shares[place], (kept - 1 - place) * sizeof *shares);
    shares[place] = share;
  }
  return kept;
}

static const char *size_text(uint64_t bytes, char out[SIZE_TEXT]) {
  if (bytes < 100000)
    snprintf(out, SIZE_TEXT, "%llu bytes", (unsigned long long)bytes);
  else
    snprintf(out, SIZE_TEXT, "%.1f MB", (double)bytes / 1e6);
  return out;
}

static bool too_large(struct walk *w) {
  char size[SIZE_TEXT], limit[SIZE_TEXT];
  struct share shares[LARGEST];
  AUTO_BUF struct buf text = BUF_INIT(4 * KIB);
  size_t count = largest_shares(w, shares);
  for (size_t i = 0; i < count && shares[i].bytes; i++)
    buf_printf(&text, "%s%.*s %s", i ? ", " : "", STR_ARG(str_slice(shares[i].name, 0, 60)), size_text(shares[i].bytes, size));
  err_set(w->err, ERR_TOO_LARGE, "%s has %s of files, and %s are copied at most. The largest: %s", w->source->directory,
          size_text(w->bytes, size), size_text(w->source->max, limit), buf_text(&text));
  return err_hint(w->err, "put what jobs do not need into .winnowignore, name data under links:, raise workdir_max, or say "
                          "workdir_mode: inplace");
}

/* ---- writing ---- */

struct sink {
  int fd;
  struct digest *digest;
  uint64_t written;
  struct err *err;
};

static bool put(struct sink *sink, struct str bytes) {
  digest_add(sink->digest, bytes);
  sink->written += bytes.n;
  return fd_write_all(sink->fd, bytes.p, bytes.n, sink->err);
}

static bool put_zeros(struct sink *sink, size_t n) {
  static const char zeros[TAR_END_BYTES];
  return !n || put(sink, str_n(zeros, n));
}

static bool changed(const struct sink *sink, struct str path) {
  return err_set(sink->err, ERR_CONFLICT, "%.*s changed while it was copied: submit again", STR_ARG(path));
}

static bool put_file(struct sink *sink, int root, const struct tar_entry *entry, char *piece) {
  char path[PATH_SIZE];
  struct stat st;
  snprintf(path, sizeof path, "%.*s", STR_ARG(entry->path));
  AUTO_FD int fd = file_open_beneath(root, path, O_RDONLY | O_NONBLOCK, 0, sink->err);
  if (fd < 0)
    return err_hint(sink->err, "put it into .winnowignore if jobs do not need it");
  /* One that has grown, as logs do, is copied as it was. */
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size < entry->size)
    return changed(sink, entry->path);
  for (uint64_t left = entry->size; left;) {
    ssize_t n = read(fd, piece, (size_t)MIN_OF(left, (uint64_t)PIECE));
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return err_errno(sink->err, errno, "cannot read %s", path);
    if (n == 0)
      return changed(sink, entry->path);
    left -= (uint64_t)n;
    if (!put(sink, str_n(piece, (size_t)n)))
      return false;
  }
  return put_zeros(sink, tar_padding(entry->size));
}

static bool put_all(struct sink *sink, const struct walk *w) {
  AUTO_BUF struct buf header = BUF_INIT(256 * KIB);
  AUTO_FREE char *piece = mem_alloc(PIECE);
  AUTO_FD int root = open(w->source->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0 || !piece)
    return root < 0 ? err_errno(sink->err, errno, "cannot open %s", w->source->directory) : err_no_memory(sink->err);
  for (size_t i = 0; i < w->count; i++) {
    const struct tar_entry *entry = &w->items[i];
    buf_reset(&header);
    tar_put_header(&header, entry);
    if (!buf_ok(&header, sink->err) || !put(sink, buf_str(&header)) || (entry->kind == TAR_FILE && !put_file(sink, root, entry, piece)))
      return false;
  }
  return put_zeros(sink, TAR_END_BYTES);
}

static bool look(struct walk *w) {
  struct level levels[ABOVE_MAX + 1];
  const struct level *above;
  if (!read_above(w, levels, &above))
    return false;
  int fd = open(w->source->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return err_errno(w->err, errno, "cannot open %s", w->source->directory);
  if (!walk_directory(w, fd, STR(""), above, 1))
    return false;
  if (w->count)
    qsort(w->items, w->count, sizeof *w->items, by_path);
  return w->bytes <= w->source->max || too_large(w);
}

bool snapshot_check(const struct snapshot_source *source, struct err *err) {
  char path[2 * PATH_SIZE], key[32];
  struct stat st;
  if (stat(source->directory, &st) != 0 || !S_ISDIR(st.st_mode)) {
    err_set(err, ERR_INVALID, "workdir: there is no directory %s", source->directory);
    return err_at(err, "workdir", 0, 0);
  }
  for (size_t i = 0; i < source->link_count; i++) {
    int n = snprintf(path, sizeof path, "%s/%.*s", source->directory, STR_ARG(source->links[i]));
    if (n < (int)sizeof path && stat(path, &st) == 0)
      continue;
    snprintf(key, sizeof key, "links[%zu]", i);
    err_set(err, ERR_INVALID, "links: cannot find %s", path);
    return err_at(err, key, 0, 0);
  }
  return true;
}

bool snapshot_write(const struct snapshot_source *source, int fd, struct snapshot *ret, struct err *err) {
  struct walk w = {.source = source, .arena = ARENA_INIT(512 * MIB), .err = err};
  struct sink sink = {.fd = fd, .digest = digest_new(), .err = err};
  *ret = (struct snapshot){0};
  bool ok = sink.digest ? look(&w) && put_all(&sink, &w) : err_no_memory(err);
  if (sink.digest)
    digest_end(sink.digest, ret->sha256);
  ret->archive_bytes = sink.written;
  ret->file_bytes = w.bytes;
  for (size_t i = 0; i < w.count; i++)
    ret->files += w.items[i].kind == TAR_FILE;
  mem_free(w.items);
  arena_release(&w.arena);
  return ok;
}
