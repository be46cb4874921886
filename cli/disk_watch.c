#include "cli/disk_watch.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/log.h"
#include "base/mem.h"
#include "web/trouble.h"

enum { DATABASE_EVERY_MS = 250, FILES_EVERY_MS = 2000, FIRST_ASKED_MS = 5, LOOK_STACK = 64 * 1024 };

/* Its log grows by files of 16 MiB, and a checkpoint needs some; without that Postgres would end itself, and with it the reads. */
static const int64_t room_min[WEB_DISK_COUNT] = {
    [WEB_DISK_DATABASE] = 64 * MIB, [WEB_DISK_JOBS] = 16 * MIB, [WEB_DISK_ARTIFACTS] = 16 * MIB};

/* One look, by a thread of its own, which may never come back: it belongs to both, and goes with the one who leaves last. */
struct look {
  atomic_uint holders;
  atomic_bool done;
  enum web_disk_use use;
  struct web_disk seen;
  char path[];
};

struct place { /* that may lie on a network */
  struct disk_watch *watch;
  enum web_disk_use use;
  struct loop_timer *timer;
  struct look *look; /* NULL: none is under way */
  const char *path;  /* what it was begun for */
  int64_t ask_ms;
};

struct disk_watch {
  struct loop *loop;
  struct web_status *status;
  struct loop_timer *database_timer;
  struct place places[WEB_DISK_COUNT];
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

static void look_leave(struct look *look) {
  if (look && atomic_fetch_sub(&look->holders, 1) == 1)
    mem_free(look);
}

static void *look_main(void *arg) {
  struct look *look = arg;
  look_at(&look->seen, look->use);
  atomic_store(&look->done, true);
  look_leave(look);
  return NULL;
}

static bool begin_thread(struct look *look) {
  pthread_attr_t attr;
  pthread_t thread;
  sigset_t all, before; /* signals belong to the loop's thread */
  if (pthread_attr_init(&attr) != 0)
    return false;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool ok = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0 && pthread_attr_setstacksize(&attr, LOOK_STACK) == 0 &&
            pthread_create(&thread, &attr, look_main, look) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attr);
  return ok;
}

static struct look *look_new(enum web_disk_use use, const char *path) {
  size_t n = strlen(path) + 1;
  struct look *look = mem_zalloc(sizeof *look + n);
  if (!look)
    return NULL;
  memcpy(look->path, path, n);
  look->use = use;
  look->seen.path = look->path;
  atomic_store(&look->holders, 2);
  if (begin_thread(look))
    return look;
  mem_free(look);
  return NULL;
}

/* A look that did not come back is asked for less and less often, and nothing else is begun meanwhile. */
static void on_files_timer(void *ctx) {
  struct place *place = ctx;
  struct web_status *status = place->watch->status;
  int64_t again_ms = FILES_EVERY_MS;
  if (place->look && atomic_load(&place->look->done)) {
    struct web_disk seen = place->look->seen;
    seen.path = place->path;
    take(place->watch, place->use, &seen);
    look_leave(place->look);
    place->look = NULL;
  } else if (place->look) {
    again_ms = place->ask_ms = MIN_OF(place->ask_ms * 2, (int64_t)FILES_EVERY_MS);
  } else if (status->disks[place->use].path) { /* without memory or thread there is a next time */
    place->path = status->disks[place->use].path;
    place->look = look_new(place->use, place->path);
    again_ms = place->ask_ms = place->look ? FIRST_ASKED_MS : FILES_EVERY_MS;
  }
  loop_timer_start(place->timer, again_ms);
}

struct disk_watch *disk_watch_new(struct loop *loop, struct web_status *status, struct err *err) {
  struct disk_watch *watch = mem_zalloc(sizeof *watch);
  bool ok = watch != NULL;
  if (watch) {
    *watch = (struct disk_watch){.loop = loop, .status = status};
    watch->database_timer = loop_timer_new(loop, on_database_timer, watch);
    ok = watch->database_timer != NULL;
  }
  for (enum web_disk_use use = WEB_DISK_JOBS; use < WEB_DISK_COUNT && ok; use++) {
    struct place *place = &watch->places[use];
    *place = (struct place){.watch = watch, .use = use, .timer = loop_timer_new(loop, on_files_timer, place)};
    ok = place->timer != NULL;
  }
  if (ok)
    return watch;
  disk_watch_free(watch);
  err_no_memory(err);
  return NULL;
}

void disk_watch_free(struct disk_watch *watch) {
  if (!watch)
    return;
  loop_timer_free(watch->database_timer);
  for (enum web_disk_use use = WEB_DISK_JOBS; use < WEB_DISK_COUNT; use++) {
    loop_timer_free(watch->places[use].timer);
    look_leave(watch->places[use].look);
  }
  mem_free(watch);
}

void disk_watch_set(struct disk_watch *watch, enum web_disk_use use, const char *path) {
  watch->status->disks[use] = (struct web_disk){.path = path};
  loop_timer_start(use == WEB_DISK_DATABASE ? watch->database_timer : watch->places[use].timer, 0);
}
