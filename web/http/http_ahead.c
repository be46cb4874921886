/* Files that are being sent: what is not in memory is read on a thread before the kernel is asked to send it, for then the loop would wait
 * for the disk, and everybody with it. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "base/file.h"
#include "base/mem.h"
#include "web/http/http_intern.h"

enum { PROBE = 512 * 1024, READ_AT_ONCE = 2 * MIB, SCRATCH = 64 * 1024, SMALLEST_PAGE = 4096, READ_PIECE = 8 * 1024 };

struct file_ahead {
  struct work work;
  struct http_req *req; /* NULL once it is gone */
  int fd;               /* its own */
  uint64_t at, n;
};

/* Of a file system that cannot be asked otherwise. The kernel says so of all files that we may not write, in memory or not. */
static bool is_mapped_in_memory(int fd, uint64_t at, size_t n) {
  unsigned char pages[PROBE / SMALLEST_PAGE + 2];
  size_t page = (size_t)sysconf(_SC_PAGESIZE), skip = (size_t)(at % page), count = (skip + n + page - 1) / page;
  void *map = mmap(NULL, skip + n, PROT_READ, MAP_SHARED, fd, (off_t)(at - skip));
  if (map == MAP_FAILED)
    return true;
  bool all = true;
  if (mincore(map, skip + n, pages) == 0)
    for (size_t i = 0; all && i < count; i++)
      all = pages[i] & 1;
  munmap(map, skip + n);
  return all;
}

/* Reads it as far as that needs no disk, all into the same few bytes. */
static bool is_in_memory(int fd, uint64_t at, size_t n) {
  char bytes[READ_PIECE];
  struct iovec pieces[PROBE / READ_PIECE];
  size_t count = 0;
  for (size_t done = 0; done < n; done += pieces[count++].iov_len)
    pieces[count] = (struct iovec){bytes, MIN_OF(n - done, sizeof bytes)};
  ssize_t got = preadv2(fd, pieces, (int)count, (off_t)at, RWF_NOWAIT);
  if (got < 0 && errno != EAGAIN && errno != EINTR)
    return is_mapped_in_memory(fd, at, n);
  return got == 0 || got == (ssize_t)n; /* 0: it has become shorter, which sending it says */
}

static void run(struct work *work) {
  struct file_ahead *ahead = CONTAINER_OF(work, struct file_ahead, work);
  AUTO_FREE char *scratch = mem_alloc(SCRATCH);
  for (uint64_t done = 0; scratch && done < ahead->n;) {
    ssize_t n = pread(ahead->fd, scratch, (size_t)MIN_OF(ahead->n - done, (uint64_t)SCRATCH), (off_t)(ahead->at + done));
    if (n <= 0)
      return; /* sending it says why */
    done += (uint64_t)n;
  }
}

static void on_read(struct work *work, bool cancelled UNUSED) {
  struct file_ahead *ahead = CONTAINER_OF(work, struct file_ahead, work);
  struct http_req *req = ahead->req;
  if (req) {
    req->ahead = NULL;
    req->file_known = ahead->at + ahead->n;
    file_pump(req->conn);
  }
  fd_close(&ahead->fd);
  mem_free(ahead);
}

static bool begin(struct http_req *req, int fd) {
  struct err ignored;
  struct file_ahead *ahead = mem_zalloc(sizeof *ahead);
  if (!ahead)
    return false;
  *ahead = (struct file_ahead){.work = {.run = run, .done = on_read},
                               .req = req,
                               .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0),
                               .at = req->file_at,
                               .n = MIN_OF(req->file_left, (uint64_t)READ_AT_ONCE)};
  req->ahead = ahead;
  if (ahead->fd >= 0 && work_submit(req->server->config.disk, &ahead->work, &ignored))
    return true;
  fd_close(&ahead->fd);
  mem_free(ahead);
  req->ahead = NULL;
  return false;
}

bool ahead_is_ready(struct http_req *req, int fd) {
  if (req->ahead)
    return false;
  if (!req->server->config.disk || !req->file_left || req->file_at < req->file_known)
    return true;
  size_t n = (size_t)MIN_OF(req->file_left, (uint64_t)PROBE);
  if (!is_in_memory(fd, req->file_at, n) && begin(req, fd))
    return false;
  req->file_known = req->file_at + n;
  return true;
}

void ahead_forget(struct http_req *req) {
  if (req->ahead)
    req->ahead->req = NULL;
  req->ahead = NULL;
}
