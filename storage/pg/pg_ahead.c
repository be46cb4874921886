#include "storage/pg/pq.h"

#include "storage/pg/pg_ahead.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/pg/pg.h"

enum {
  TICK_MS = 200,
  RETRY_MS = 10000,
  TICKS_AHEAD = 10, /* as much as was written in the last tick, so many times */
  FILES_MAX = 4,
  PIECE = MIB, /* synced one by one: commits go on in between */
  TIMELINE_DIGITS = 8,
  ROOM_FILES = 16, /* free space of so many files is left alone */
};

/* What the thread is to make sure of: the files that hold positions `from` to `to`. */
struct span {
  char dir[1100];
  char timeline[TIMELINE_DIGITS + 1];
  int64_t file_bytes, from, to;
};

struct pg_ahead {
  struct loop *loop;
  struct pg_pool *pool;
  struct work_pool *work_pool;
  struct run_as who;
  struct loop_timer *timer;
  struct work work;
  struct subproc_stop stop;
  struct span span;
  bool asking, working, freed;
  uint64_t done_seen; /* statements answered when the position was told last */
  int64_t last_at;    /* the position then; 0: not known */
  int64_t until;      /* files of positions before are there */
  int64_t retry_ms;
  bool made;
  struct err err;
};

/* ---- in a child that runs as the server's user ---- */

static bool has_room(const struct span *span) {
  struct statvfs fs;
  return statvfs(SUBPROC_DIR, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize > (uint64_t)span->file_bytes * ROOM_FILES;
}

static bool write_zeros(int fd, int64_t bytes) {
  static const char zeros[64 * KIB];
  for (int64_t at = 0; at < bytes; at += (int64_t)sizeof zeros) {
    ssize_t n = pwrite(fd, zeros, sizeof zeros, at);
    if (n != (ssize_t)sizeof zeros || ((at + (int64_t)sizeof zeros) % PIECE == 0 && fdatasync(fd) != 0))
      return false;
  }
  return fsync(fd) == 0;
}

/* Whole, or not at all, and never in place of one that is there. */
static bool make_file(int dir, const char *name, int64_t bytes, struct err *err) {
  static const char *const fresh = "xlogtemp.winnow"; /* the server removes what is left of that name when it recovers */
  AUTO_FD int fd = openat(dir, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return err_errno(err, errno, "cannot make %s", fresh);
  bool ok = write_zeros(fd, bytes) || err_errno(err, errno, "cannot write %s", fresh);
  if (ok && linkat(dir, fresh, dir, name, 0) != 0 && errno != EEXIST)
    ok = err_errno(err, errno, "cannot make %s", name);
  if (unlinkat(dir, fresh, 0) != 0 && ok)
    ok = err_errno(err, errno, "cannot remove %s", fresh);
  return (ok && fsync(dir) == 0) || (ok && err_errno(err, errno, "cannot sync a directory"));
}

static bool make_span(void *arg, struct err *err) {
  const struct span *span = arg;
  AUTO_FD int dir = open(SUBPROC_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0)
    return err_errno(err, errno, "cannot open %s", span->dir);
  int64_t in_one_id = (INT64_C(1) << 32) / span->file_bytes;
  for (int64_t number = span->from / span->file_bytes; number <= span->to / span->file_bytes; number++) {
    char name[64];
    struct stat st;
    snprintf(name, sizeof name, "%s%08llX%08llX", span->timeline, (unsigned long long)(number / in_one_id),
             (unsigned long long)(number % in_one_id));
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
      continue;
    if (!has_room(span))
      return err_set(err, ERR_NO_SPACE, "there is too little room");
    if (!make_file(dir, name, span->file_bytes, err))
      return false;
  }
  return true;
}

/* ---- on the thread, and back ---- */

static void release(struct pg_ahead *ahead) {
  if (!ahead->freed || ahead->asking || ahead->working)
    return;
  loop_timer_free(ahead->timer);
  mem_free(ahead);
}

static void run_make(struct work *work) {
  struct pg_ahead *ahead = CONTAINER_OF(work, struct pg_ahead, work);
  ahead->err = (struct err){0};
  ahead->made = subproc_call(&ahead->who, make_span, &ahead->span, &ahead->stop, &ahead->err);
}

static void on_made(struct work *work, bool cancelled) {
  struct pg_ahead *ahead = CONTAINER_OF(work, struct pg_ahead, work);
  ahead->working = false;
  if (!cancelled && ahead->made) {
    ahead->until = (ahead->span.to / ahead->span.file_bytes + 1) * ahead->span.file_bytes;
  } else if (!cancelled) {
    log_debug("storage", NULL, "the database's log is not prepared ahead: %s", ahead->err.text);
    ahead->retry_ms = loop_now_ms(ahead->loop) + RETRY_MS;
  }
  release(ahead);
}

static void ensure(struct pg_ahead *ahead, int64_t at, struct str timeline, int64_t file_bytes) {
  int64_t moved = ahead->last_at ? MAX_OF(at - ahead->last_at, (int64_t)0) : 0;
  ahead->last_at = at;
  int64_t margin = MIN_OF(MAX_OF(moved * TICKS_AHEAD, file_bytes / 2), file_bytes * FILES_MAX);
  int64_t next = (at / file_bytes + 1) * file_bytes; /* the one written to is there */
  int64_t from = MAX_OF(next, ahead->until), to = at + margin;
  struct err err;
  if (ahead->working || loop_now_ms(ahead->loop) < ahead->retry_ms || to < from || file_bytes < PIECE || timeline.n != TIMELINE_DIGITS)
    return;
  ahead->span.from = from;
  ahead->span.to = to;
  ahead->span.file_bytes = file_bytes;
  memcpy(ahead->span.timeline, timeline.p, TIMELINE_DIGITS);
  ahead->work = (struct work){.run = run_make, .done = on_made};
  ahead->working = work_submit(ahead->work_pool, &ahead->work, &err);
}

static void on_place(void *ctx, const struct pg_reply *reply) {
  struct pg_ahead *ahead = ctx;
  struct err err;
  ahead->asking = false;
  if (ahead->freed) {
    release(ahead);
    return;
  }
  if (pg_ok(reply, &err) && pg_rows(reply))
    ensure(ahead, pg_int(reply, 0, 0), pg_text(reply, 0, 1), pg_int(reply, 0, 2));
  ahead->done_seen = pg_pool_stats(ahead->pool).done; /* this one is counted before it is answered */
}

/* Nothing is asked while nothing is done. */
static void on_tick(void *ctx) {
  struct pg_ahead *ahead = ctx;
  struct err err;
  loop_timer_start(ahead->timer, TICK_MS);
  if (ahead->asking || pg_pool_stats(ahead->pool).done <= ahead->done_seen)
    return;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_LOG_PLACE);
  ahead->asking = pg_run(ahead->pool, &args, 0, on_place, ahead, &err);
}

struct pg_ahead *pg_ahead_new(struct loop *loop, struct pg_pool *pool, struct work_pool *work, const struct pg_place *place,
                              struct err *err) {
  struct pg_ahead *ahead = mem_zalloc(sizeof *ahead);
  if (!ahead) {
    err_no_memory(err);
    return NULL;
  }
  ahead->loop = loop;
  ahead->pool = pool;
  ahead->work_pool = work;
  ahead->who = place->who;
  snprintf(ahead->span.dir, sizeof ahead->span.dir, "%s/pg_wal", place->data);
  ahead->who.dir = ahead->span.dir;
  ahead->timer = loop_timer_new(loop, on_tick, ahead);
  if (!ahead->timer) {
    mem_free(ahead);
    err_no_memory(err);
    return NULL;
  }
  loop_timer_start(ahead->timer, TICK_MS);
  return ahead;
}

int64_t pg_ahead_until(const struct pg_ahead *ahead) {
  return ahead->until;
}

void pg_ahead_free(struct pg_ahead *ahead) {
  if (!ahead)
    return;
  ahead->freed = ahead->stop.asked = true;
  loop_timer_stop(ahead->timer);
  release(ahead);
}
