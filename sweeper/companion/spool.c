#include "sweeper/companion/spool.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/buf.h"
#include "base/file.h"

enum {
  BLOCK = 4096,
  ROOM = 64 * 1024,
  LITTLE_LEFT = 1024 * 1024 * 1024,
  PUNCH_STEP = 4 * 1024 * 1024,
  TIMES_BYTES_MAX = SPOOL_MARKS * 48,
  PATH_SIZE = 4200,
  YOUNG_MS = 1000,
  ROOM_LOOK_MS = 100
};

bool spool_open(struct spool *spool, const char *dir, const char *name, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(4096);
  *spool = (struct spool){.name = name, .write_fd = -1, .read_fd = -1};
  spool->marks = (struct marks){.items = spool->mark_room, .cap = SPOOL_MARKS};
  buf_printf(&path, "%s/%s", dir, name);
  if (!buf_ok(&path, err))
    return false;
  spool->write_fd = open(buf_text(&path), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (spool->write_fd >= 0)
    spool->read_fd = open(buf_text(&path), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (spool->read_fd < 0)
    return err_errno(err, errno, "cannot open %s", buf_text(&path));
  return true;
}

void spool_close(struct spool *spool) {
  fd_close(&spool->write_fd);
  fd_close(&spool->read_fd);
}

int64_t spool_size(const struct spool *spool) {
  struct stat st;
  return fstat(spool->read_fd, &st) == 0 ? (int64_t)st.st_size : spool->sent;
}

void spool_keep_room(struct spool *spool, int64_t now_ms) {
  struct statvfs disk;
  if (now_ms < spool->room_due_ms) /* the question goes a long way where the disk is another machine's */
    return;
  spool->room_due_ms = now_ms + ROOM_LOOK_MS;
  int64_t size = spool_size(spool);
  if (spool->room_to - size >= ROOM / 2 || fstatvfs(spool->read_fd, &disk) != 0 || (uint64_t)disk.f_bavail * disk.f_frsize >= LITTLE_LEFT)
    return;
  if (fallocate(spool->write_fd, FALLOC_FL_KEEP_SIZE, size, ROOM) == 0) /* not every file system can */
    spool->room_to = size + ROOM;
}

int64_t spool_written_ms(const struct spool *spool) {
  struct stat st;
  return fstat(spool->read_fd, &st) == 0 ? (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 : INT64_MAX;
}

int64_t spool_waiting(const struct spool *spool) {
  return MAX_OF(spool_size(spool) - spool->sent - spool->gap, (int64_t)0);
}

int64_t spool_idle(const struct spool *spool) {
  return MAX_OF(spool_waiting(spool) - spool->kept, (int64_t)0);
}

void spool_note(struct spool *spool, int64_t now_ms) {
  marks_note(&spool->marks, spool->sent, spool_size(spool), now_ms);
}

size_t spool_piece(const struct spool *spool, int64_t *ret_seen_ms) {
  int64_t n = MIN_OF(marks_next(&spool->marks, spool->sent, ret_seen_ms), (int64_t)SPOOL_PIECE_MAX);
  return (size_t)(spool->gap ? MIN_OF(n, spool->kept) : n);
}

static void times_path(const struct spool *spool, const char *dir, char out[PATH_SIZE]) {
  snprintf(out, PATH_SIZE, "%s/%s.seen", dir, spool->name);
}

bool spool_keep_times(const struct spool *spool, const char *dir, int64_t now_ms, int64_t wall_ms, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(TIMES_BYTES_MAX);
  char path[PATH_SIZE];
  if (!spool->marks.count || now_ms - spool->marks.items[0].seen_ms < YOUNG_MS) /* the time of the end says as much */
    return true;
  marks_put(&spool->marks, wall_ms - now_ms, &text);
  times_path(spool, dir, path);
  if (!buf_ok(&text, err))
    return false;
  /* In place and not synced: it is read only where there is an exit file, which comes after it, and of what a machine that went down has
   * left of it the whole lines hold. */
  AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  return fd >= 0 ? fd_write_all(fd, text.p, text.n, err) : err_errno(err, errno, "cannot write %s", path);
}

static void punch(const struct spool *spool, int64_t from, int64_t to) {
  from = (from + BLOCK - 1) / BLOCK * BLOCK;
  to = to / BLOCK * BLOCK;
  if (from < to)
    fallocate(spool->read_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, to - from);
}

/* Punching small holes for every piece would cost more than it frees. */
static void punch_in_steps(const struct spool *spool, int64_t before, int64_t after) {
  if (after / PUNCH_STEP > before / PUNCH_STEP)
    punch(spool, 0, after);
}

/* What was given up behind the first bytes that were not. */
static void find_gap(struct spool *spool) {
  int64_t size = spool_size(spool), hole = lseek(spool->read_fd, spool->sent, SEEK_HOLE);
  if (hole <= spool->sent || hole >= size)
    return;
  int64_t data = lseek(spool->read_fd, hole, SEEK_DATA);
  spool->kept = hole - spool->sent;
  spool->gap = (data > hole ? data : size) - hole;
}

void spool_resume(struct spool *spool, const char *dir, int64_t now_ms, int64_t wall_ms) {
  AUTO_BUF struct buf text = BUF_INIT(TIMES_BYTES_MAX);
  char path[PATH_SIZE];
  struct err none;
  off_t data = lseek(spool->read_fd, 0, SEEK_DATA);
  if (data > 0)
    spool->sent = spool->skipped = data;
  find_gap(spool);
  times_path(spool, dir, path);
  if (file_read(path, &text, &none))
    marks_read(&spool->marks, buf_str(&text), wall_ms - now_ms, now_ms);
}

void spool_sending(struct spool *spool, size_t n) {
  spool->kept = MAX_OF(spool->kept, (int64_t)n);
}

/* What was on its way is there: the gap comes next, and is told. Of one that goes nothing may stay before it, or whoever comes after us
 * would take what is left for the first bytes that were not taken. */
static void close_gap(struct spool *spool) {
  spool->sent += spool->gap;
  spool->skipped += spool->gap;
  spool->gap = 0;
  punch(spool, 0, spool->sent);
}

void spool_taken(struct spool *spool, int64_t offset) {
  int64_t end = spool->gap ? spool->sent + spool->kept : spool_size(spool), before = spool->sent;
  offset = MIN_OF(offset, end);
  if (offset < before && spool->skipped)
    return;
  if (offset != before)
    spool->kept = MAX_OF(spool->kept - (offset - before), (int64_t)0);
  spool->sent = offset;
  if (offset > before) {
    punch_in_steps(spool, before, offset);
    spool->skipped = 0;
  }
  if (spool->gap && !spool->kept)
    close_gap(spool);
}

/* Punched anew as a whole: where two cuts meet within a block, that block would stand between two holes, and whoever comes after us would
 * find the first only, and send the second. */
void spool_cut(struct spool *spool, int64_t keep) {
  int64_t from = spool->sent + spool->kept, drop = spool_idle(spool) - keep;
  if (drop <= 0)
    return;
  spool->gap += drop;
  punch(spool, from, from + spool->gap);
  if (!spool->kept)
    close_gap(spool);
}
