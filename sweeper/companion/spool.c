#include "sweeper/companion/spool.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"

enum { BLOCK = 4096, PUNCH_STEP = 4 * 1024 * 1024, APART_MIN_MS = 100 };

bool spool_open(struct spool *spool, const char *dir, const char *name, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(4096);
  *spool = (struct spool){.name = name, .write_fd = -1, .read_fd = -1};
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

int64_t spool_waiting(const struct spool *spool) {
  return MAX_OF(spool_size(spool) - spool->sent, (int64_t)0);
}

static void forget_sent(struct spool *spool) {
  size_t sent = 0;
  while (sent < spool->mark_count && spool->marks[sent].end <= spool->sent)
    sent++;
  spool->mark_count -= sent;
  memmove(spool->marks, spool->marks + sent, spool->mark_count * sizeof *spool->marks);
}

/* Two become one: what came between them counts as seen with the first. */
static void thin_marks(struct spool *spool) {
  for (size_t i = 0; i < SPOOL_MARKS / 2; i++)
    spool->marks[i] = (struct spool_mark){spool->marks[2 * i + 1].end, spool->marks[2 * i].seen_ms};
  spool->mark_count = SPOOL_MARKS / 2;
  spool->mark_apart_ms *= 2;
}

void spool_note(struct spool *spool, int64_t now_ms) {
  int64_t size = spool_size(spool);
  forget_sent(spool);
  struct spool_mark *last = spool->mark_count ? &spool->marks[spool->mark_count - 1] : NULL;
  if (!last)
    spool->mark_apart_ms = APART_MIN_MS;
  if (size <= (last ? last->end : spool->sent))
    return;
  if (last && now_ms - last->seen_ms < spool->mark_apart_ms) {
    last->end = size;
    return;
  }
  if (spool->mark_count == SPOOL_MARKS)
    thin_marks(spool);
  spool->marks[spool->mark_count++] = (struct spool_mark){size, now_ms};
}

size_t spool_piece(const struct spool *spool, int64_t *ret_seen_ms) {
  for (size_t i = 0; i < spool->mark_count; i++) {
    *ret_seen_ms = spool->marks[i].seen_ms;
    if (spool->marks[i].end > spool->sent)
      return (size_t)MIN_OF(spool->marks[i].end - spool->sent, (int64_t)SPOOL_PIECE_MAX);
  }
  *ret_seen_ms = 0;
  return 0;
}

/* Punching small holes for every piece would cost more than it frees. */
static void punch(const struct spool *spool, int64_t before, int64_t after) {
  if (after / PUNCH_STEP > before / PUNCH_STEP)
    fallocate(spool->read_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, after / BLOCK * BLOCK);
}

void spool_resume(struct spool *spool) {
  off_t data = lseek(spool->read_fd, 0, SEEK_DATA);
  if (data > 0)
    spool->sent = spool->skipped = data;
}

void spool_taken(struct spool *spool, int64_t offset) {
  if (offset <= spool->sent || offset > spool_size(spool))
    return;
  punch(spool, spool->sent, offset);
  spool->sent = offset;
  spool->skipped = 0;
}

void spool_cut(struct spool *spool, int64_t keep) {
  int64_t drop = spool_waiting(spool) - keep;
  if (drop <= 0)
    return;
  punch(spool, spool->sent, spool->sent + drop);
  spool->sent += drop;
  spool->skipped += drop;
}
