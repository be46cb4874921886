#include "cli/disk_watch.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/log.h"
#include "base/mem.h"
#include "web/trouble.h"

enum { DATABASE_EVERY_MS = 250, FILES_EVERY_MS = 2000 };

/* Its log grows by files of 16 MiB, and a checkpoint needs some; without that Postgres would end itself, and with it the reads. */
static const int64_t room_min[WEB_DISK_COUNT] = {
    [WEB_DISK_DATABASE] = 64 * MIB, [WEB_DISK_JOBS] = 16 * MIB, [WEB_DISK_ARTIFACTS] = 16 * MIB};

struct disk_watch {
  struct loop *loop;
  struct work_pool *work;
  struct web_status *status;
  struct loop_timer *database_timer, *files_timer;
  struct work look;
  bool looking;
  struct web_disk seen[WEB_DISK_COUNT]; /* the thread's */
};

/* A disk that does not tell is believed to have room. */
static void look_at(struct web_disk *disk, enum web_disk_use use) {
  struct statvfs fs;
  struct stat st;
  disk->full = false;
  if (!disk->path || statvfs(disk->path, &fs) != 0 || stat(disk->path, &st) != 0)
    return;
  disk->room = (int64_t)MIN_OF((uint64_t)fs.f_bavail * fs.f_frsize, (uint64_t)INT64_MAX);
  disk->device = st.st_dev;
  disk->full = disk->room < room_min[use];
}

static void take(struct disk_watch *watch, enum web_disk_use use, const struct web_disk *seen) {
  struct web_disk *disk = &watch->status->disks[use];
  if (seen->path != disk->path) /* it is another now */
    return;
  if (seen->full && !disk->full)
    log_warn("service", NULL, "the disk of %s is almost full, at %s", trouble_disk_holds(use), seen->path);
  else if (disk->full && !seen->full)
    log_warn("service", NULL, "the disk of %s has room again", trouble_disk_holds(use));
  *disk = *seen;
}

static void on_database_timer(void *ctx) {
  struct disk_watch *watch = ctx;
  struct web_disk seen = watch->status->disks[WEB_DISK_DATABASE];
  look_at(&seen, WEB_DISK_DATABASE);
  take(watch, WEB_DISK_DATABASE, &seen);
  loop_timer_start(watch->database_timer, DATABASE_EVERY_MS);
}

static void look(struct work *work) {
  struct disk_watch *watch = CONTAINER_OF(work, struct disk_watch, look);
  for (enum web_disk_use use = WEB_DISK_JOBS; use < WEB_DISK_COUNT; use++)
    look_at(&watch->seen[use], use);
}

static void on_looked(struct work *work, bool cancelled) {
  struct disk_watch *watch = CONTAINER_OF(work, struct disk_watch, look);
  watch->looking = false;
  for (enum web_disk_use use = WEB_DISK_JOBS; use < WEB_DISK_COUNT && !cancelled; use++)
    take(watch, use, &watch->seen[use]);
}

static void on_files_timer(void *ctx) {
  struct disk_watch *watch = ctx;
  struct err busy; /* there is a next time */
  loop_timer_start(watch->files_timer, FILES_EVERY_MS);
  if (watch->looking)
    return;
  memcpy(watch->seen, watch->status->disks, sizeof watch->seen);
  watch->looking = work_submit(watch->work, &watch->look, &busy);
}

struct disk_watch *disk_watch_new(struct loop *loop, struct work_pool *work, struct web_status *status, struct err *err) {
  struct disk_watch *watch = mem_zalloc(sizeof *watch);
  if (watch) {
    *watch = (struct disk_watch){.loop = loop, .work = work, .status = status, .look = {.run = look, .done = on_looked}};
    watch->database_timer = loop_timer_new(loop, on_database_timer, watch);
    watch->files_timer = loop_timer_new(loop, on_files_timer, watch);
  }
  if (watch && watch->database_timer && watch->files_timer)
    return watch;
  disk_watch_free(watch);
  err_no_memory(err);
  return NULL;
}

void disk_watch_free(struct disk_watch *watch) {
  if (!watch)
    return;
  loop_timer_free(watch->database_timer);
  loop_timer_free(watch->files_timer);
  mem_free(watch);
}

void disk_watch_set(struct disk_watch *watch, enum web_disk_use use, const char *path) {
  watch->status->disks[use] = (struct web_disk){.path = path};
  loop_timer_start(use == WEB_DISK_DATABASE ? watch->database_timer : watch->files_timer, 0);
}
