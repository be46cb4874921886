#include "sweeper/companion/metric_files.h"

#include <fcntl.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "sweeper/companion/exit_file.h"
#include "sweeper/companion/find.h"
#include "sweeper/companion/lineage.h"
#include "sweeper/companion/marks.h"

enum {
  WATCHED_MAX = 256,
  SPARE_MAX = 256, /* files held open beside those that have the names */
  MARKS = 64,      /* of a file */
  PIECE_MAX = 256 * 1024,
  PRINT_PART = 4096,
  SNAPSHOT_MAX = 8 * 1024 * 1024,
  SEARCH_EVERY_MS = 2000,
  SEARCH_SHARE = 50,
  MTIME_SLACK_MS = 2000
};

enum format { FORMAT_JSON, FORMAT_CSV, FORMAT_TFEVENTS, FORMAT_TEXT };

struct watch { /* a source */
  size_t source;
  enum format format;
  bool at_end;
  const char *glob;
};

/* What the first `size` bytes of a file begin and end with. */
struct print {
  int64_t size; /* 0: not known */
  uint64_t hash;
};

struct watched { /* a file */
  const struct watch *watch;
  char *path;
  struct lineage line;     /* what is moved away, or removed, is sent to its end all the same: the first one is on its way */
  ino_t inode;             /* of what `sent` is about */
  struct timespec changed; /* of what was taken whole */
  int64_t sent, size;
  struct print print;       /* of the bytes that were sent */
  struct timespec compared; /* the change of the file at which they were there still */
  uint64_t generation;
  bool is_whole, is_over; /* is_over: all of it, and its end, were told; or nobody wants more */
  ino_t noted_inode;
  struct timespec noted_change;
  int64_t looked_ms;  /* 0: not yet */
  struct marks marks; /* of what is sent whole: the last change alone */
  struct mark mark_room[MARKS];
};

struct metric_files {
  const struct job_file *job;
  int root;
  int64_t begun_ms, known_from_ms, search_again_ms;
  uint64_t generation;
  bool was_final;
  struct watch *watches;
  const char **globs;
  size_t watch_count;
  struct watched files[WATCHED_MAX];
  size_t count, turn, spare;
  struct watched *asked; /* what the piece on its way belongs to */
  struct stat asked_stat;
  struct print asked_print; /* of all bytes up to the piece's end */
  bool asked_last;
};

static bool read_watch(const char *line, struct watch *ret) {
  static const char *const formats[] = {"json", "csv", "tfevents", "text"};
  struct str rest = str_of(line), source, format, when;
  uint64_t number;
  if (!str_split(&rest, ' ', &source) || !str_split(&rest, ' ', &format) || !str_split(&rest, ' ', &when) || !rest.n ||
      !str_to_u64(source, &number))
    return false;
  *ret = (struct watch){.source = (size_t)number, .at_end = str_is(when, "end"), .glob = rest.p};
  for (unsigned i = 0; i < ARRAY_LEN(formats); i++)
    if (str_is(format, formats[i]))
      return ret->format = (enum format)i, true;
  return false;
}

struct metric_files *metric_files_new(const struct job_file *job, int64_t begun_ms, uint64_t generation) {
  struct metric_files *m = mem_zalloc(sizeof *m);
  if (!m)
    return NULL;
  *m = (struct metric_files){.job = job, .begun_ms = begun_ms, .generation = generation, .root = -1};
  m->known_from_ms = generation ? clock_wall_ms(&clock_system) : begun_ms; /* an earlier companion may have sent what came before */
  m->watches = mem_array(job->file_count + 1, sizeof *m->watches);
  m->globs = mem_array(job->file_count + 1, sizeof *m->globs);
  if (!m->watches || !m->globs) {
    metric_files_free(m);
    return NULL;
  }
  for (size_t i = 0; i < job->file_count; i++)
    if (read_watch(job->files[i], &m->watches[m->watch_count])) {
      m->globs[m->watch_count] = m->watches[m->watch_count].glob;
      m->watch_count++;
    }
  m->root = open(job->cwd, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return m;
}

void metric_files_free(struct metric_files *m) {
  if (!m)
    return;
  for (size_t i = 0; i < m->count; i++) {
    lineage_release(&m->files[i].line);
    mem_free(m->files[i].path);
  }
  fd_close(&m->root);
  mem_free(m->watches);
  mem_free(m->globs);
  mem_free(m);
}

static int64_t ms_of(struct timespec time) {
  return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static bool on_found(void *ctx, size_t glob, const char *path, const struct stat *st) {
  struct metric_files *m = ctx;
  for (size_t i = 0; i < m->count; i++)
    if (strcmp(m->files[i].path, path) == 0)
      return true;
  if (ms_of(st->st_mtim) < m->begun_ms - MTIME_SLACK_MS)
    return true;
  char *copy = m->count < WATCHED_MAX ? mem_strdup(path) : NULL;
  if (!copy)
    return false;
  struct watched *f = &m->files[m->count++];
  *f = (struct watched){.watch = &m->watches[glob], .path = copy, .inode = st->st_ino, .generation = m->generation};
  lineage_init(&f->line, f->watch->at_end ? clock_wall_ms(&clock_system) : m->known_from_ms);
  return true;
}

/* When it was changed, by the clock that does not jump: not before it was last looked at, for then it was as it had been. */
static int64_t changed_at(const struct watched *f, const struct stat *st, int64_t now) {
  return MAX_OF(now - MAX_OF(clock_wall_ms(&clock_system) - ms_of(st->st_mtim), (int64_t)0), f->looked_ms);
}

static bool same_time(struct timespec a, struct timespec b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static void note_grown(struct watched *f, const struct stat *st, int64_t now) {
  struct marks *marks = &f->marks;
  int64_t size = (int64_t)st->st_size, sent = f->inode == st->st_ino && size >= f->sent ? f->sent : 0;
  if (f->noted_inode != st->st_ino || (marks->count && size < marks->items[marks->count - 1].end))
    marks->count = 0; /* it is sent from its beginning */
  marks_note(marks, sent, size, changed_at(f, st, now));
}

/* What is as it was when it was looked at keeps the time that it had. */
static void note_whole(struct watched *f, const struct stat *st, int64_t now) {
  struct marks *marks = &f->marks;
  bool same = marks->count && f->noted_inode == st->st_ino && same_time(f->noted_change, st->st_mtim) &&
              marks->items[marks->count - 1].end == (int64_t)st->st_size;
  int64_t seen = same ? marks->items[marks->count - 1].seen_ms : changed_at(f, st, now);
  marks->count = 0;
  marks_note(marks, 0, (int64_t)st->st_size, seen);
}

static void note(struct watched *f, const struct stat *st) {
  int64_t now = clock_mono_ms(&clock_system);
  f->marks.items = f->mark_room;
  f->marks.cap = MARKS;
  if (f->is_whole)
    note_whole(f, st, now);
  else
    note_grown(f, st, now);
  f->noted_inode = st->st_ino;
  f->noted_change = st->st_mtim;
  f->looked_ms = now;
}

/* The next one begins. */
static void leave(struct watched *f) {
  lineage_leave(&f->line);
  f->looked_ms = f->line.count ? f->line.files[0].absent_ms : 0;
}

/* A tree that takes long to look through is looked through less often. */
static void search(struct metric_files *m, bool is_final) {
  int64_t now = clock_mono_ms(&clock_system);
  if (now < m->search_again_ms && (!is_final || m->was_final))
    return;
  m->was_final = is_final;
  find_files(m->root, m->globs, m->watch_count, false, on_found, m);
  int64_t took = clock_mono_ms(&clock_system) - now;
  m->search_again_ms = now + MAX_OF((int64_t)SEARCH_EVERY_MS, took * SEARCH_SHARE);
}

/* What has the file's name now, and what has had it since it was last looked at. */
static void follow(struct metric_files *m, struct watched *f) {
  lineage_look(&f->line, m->root, f->path, m->globs, m->watch_count, &m->spare);
  while (f->is_whole && f->line.count > 1) /* it is told whole each time */
    leave(f);
}

static void count_spare(struct metric_files *m) {
  m->spare = SPARE_MAX;
  for (size_t i = 0; i < m->count; i++)
    m->spare -= MIN_OF(m->spare, m->files[i].line.count ? m->files[i].line.count - 1 : 0);
}

static void put_path(const struct watched *f, bool is_last, int64_t age_ms, char *out, size_t room) {
  int n = snprintf(out, room, "/file?source=%zu&generation=%llu&offset=%lld&snapshot=%d&last=%d&age=%lld&path=", f->watch->source,
                   (unsigned long long)f->generation, (long long)(f->is_whole ? 0 : f->sent), f->is_whole, is_last, (long long)age_ms);
  for (const char *p = f->path; *p; p++) {
    bool plain = isalnum((unsigned char)*p) || strchr("-._~/", *p);
    n += snprintf(out + n, room - (size_t)n, plain ? "%c" : "%%%02X", (unsigned char)*p);
  }
}

/* A list begins with a bracket, an object of several lines with a brace that ends its line. False while there is nothing to tell it by. */
static bool tell_whole(int fd, bool *ret) {
  char text[64];
  ssize_t n = pread(fd, text, sizeof text, 0), i = 0;
  while (i < n && isspace((unsigned char)text[i]))
    i++;
  if (i < n && text[i] == '{') {
    i++;
    while (i < n && (text[i] == ' ' || text[i] == '\r'))
      i++;
  }
  *ret = i < n && (text[i] == '[' || text[i] == '\n');
  return i < n;
}

static struct print print_of(int fd, int64_t size) {
  char bytes[PRINT_PART];
  struct print print = {size, 14695981039346656037u};
  size_t n = (size_t)MIN_OF(size, (int64_t)sizeof bytes);
  for (int part = 0; part < 2; part++) {
    if (pread(fd, bytes, n, part ? (off_t)(size - (int64_t)n) : 0) != (ssize_t)n)
      return (struct print){0};
    for (size_t i = 0; i < n; i++)
      print.hash = (print.hash ^ (unsigned char)bytes[i]) * 1099511628211u;
  }
  return print;
}

/* Whether it was written anew in its own place, without having become shorter: other bytes stand where those were that were sent. */
static bool is_written_anew(struct watched *f, int fd, const struct stat *st, bool is_final) {
  bool is_same = f->inode == st->st_ino && (int64_t)st->st_size >= f->sent;
  if (!is_same || !f->sent || f->print.size != f->sent || (!is_final && same_time(f->compared, st->st_mtim)))
    return false;
  f->compared = st->st_mtim;
  struct print now = print_of(fd, f->sent);
  return now.size && now.hash != f->print.hash;
}

static void send_anew(struct watched *f, ino_t inode) {
  f->generation++;
  f->sent = 0;
  f->inode = inode;
}

/* What is to be sent of the open file, and when that was seen; false: nothing. */
static bool choose(struct watched *f, int fd, const struct stat *st, bool is_final, struct metric_files_piece *ret, bool *ret_last,
                   int64_t *ret_seen_ms) {
  *ret_last = false;
  if (f->watch->format == FORMAT_JSON && !tell_whole(fd, &f->is_whole))
    return false;
  if (!f->is_whole && is_written_anew(f, fd, st, is_final)) {
    send_anew(f, st->st_ino);
    f->marks.count = 0;
  }
  note(f, st);
  if (f->is_whole) {
    bool taken = f->inode == st->st_ino && f->size == (int64_t)st->st_size && same_time(f->changed, st->st_mtim);
    ret->offset = 0;
    ret->length = (int64_t)st->st_size;
    marks_next(&f->marks, 0, ret_seen_ms);
    return !taken && ret->length <= SNAPSHOT_MAX;
  }
  if (f->inode != st->st_ino || (int64_t)st->st_size < f->sent)
    send_anew(f, st->st_ino);
  ret->offset = f->sent;
  ret->length = MIN_OF(marks_next(&f->marks, f->sent, ret_seen_ms), (int64_t)PIECE_MAX);
  bool is_moved = f->line.count > 1 && st->st_nlink > 0; /* not one that another was written in place of */
  *ret_last = ret->length == 0 && (is_final || is_moved);
  return ret->length > 0 || *ret_last;
}

/* As choose() says it of the oldest that has anything to send; *ret_stat is that one's. */
static bool choose_file(struct watched *f, bool is_final, struct metric_files_piece *ret, struct stat *ret_stat, bool *ret_last,
                        int64_t *ret_seen_ms) {
  while (f->line.count) {
    int fd = f->line.files[0].fd;
    if (fstat(fd, ret_stat) == 0 && choose(f, fd, ret_stat, is_final, ret, ret_last, ret_seen_ms))
      return true;
    if (f->line.count == 1)
      return false;
    leave(f);
  }
  return false;
}

void metric_files_look(struct metric_files *m) {
  struct stat st;
  if (m->root < 0)
    return;
  search(m, false);
  count_spare(m);
  for (size_t i = 0; i < m->count; i++) {
    struct watched *f = &m->files[i];
    if (f->is_over || f->watch->at_end)
      continue;
    follow(m, f);
    if (f->line.count && fstat(f->line.files[0].fd, &st) == 0)
      note(f, &st);
  }
}

bool metric_files_next(struct metric_files *m, bool is_final, struct metric_files_piece *ret) {
  struct stat st;
  int64_t seen_ms = 0;
  if (m->root < 0)
    return false;
  search(m, is_final);
  count_spare(m);
  for (size_t i = 0; i < m->count; i++) {
    struct watched *f = &m->files[m->turn++ % m->count];
    bool is_last;
    if (f->is_over || (f->watch->at_end && !is_final))
      continue;
    follow(m, f);
    if (!choose_file(f, is_final, ret, &st, &is_last, &seen_ms))
      continue;
    ret->fd = ret->length ? fcntl(f->line.files[0].fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (ret->length && ret->fd < 0)
      continue;
    m->asked = f;
    m->asked_stat = st;
    m->asked_last = is_last;
    m->asked_print = ret->length && !f->is_whole ? print_of(ret->fd, ret->offset + ret->length) : f->print;
    put_path(f, is_last, seen_ms ? MAX_OF(clock_mono_ms(&clock_system) - seen_ms, (int64_t)0) : 0, ret->path, sizeof ret->path);
    return true;
  }
  return false;
}

void metric_files_answered(struct metric_files *m, int64_t next) {
  struct watched *f = m->asked;
  m->asked = NULL;
  if (!f)
    return;
  bool all = next == f->sent, is_first = f->line.count && f->line.files[0].inode == m->asked_stat.st_ino; /* else it was given up */
  if (f->is_whole) {
    f->inode = m->asked_stat.st_ino;
    f->size = (int64_t)m->asked_stat.st_size;
    f->changed = m->asked_stat.st_mtim;
  }
  if (next < 0 || (m->asked_last && all && is_first && f->line.count == 1)) {
    f->is_over = true;
    lineage_release(&f->line);
  } else if (m->asked_last && all) {
    if (is_first)
      leave(f);
  } else {
    f->sent = next;
    f->print = m->asked_print;
  }
}

void metric_files_report(const struct metric_files *m, struct buf *out) {
  for (size_t i = 0; i < m->watch_count; i++) {
    bool found = false, lost = false;
    for (size_t k = 0; k < m->count; k++) {
      found |= find_takes(m->watches[i].glob, str_of(m->files[k].path), false);
      lost |= m->files[k].watch == &m->watches[i] && m->files[k].line.lost;
    }
    if (!found)
      exit_line_put(out, "files_missed", m->watches[i].glob);
    if (lost)
      exit_line_put(out, "files_lost", m->watches[i].glob);
  }
}
