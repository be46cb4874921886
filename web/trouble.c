#include "web/trouble.h"

#include "storage/pg/pg.h"

enum { NO_SPACE_TOLD_MS = 60 * 1000 };

static const struct {
  const char *holds, *means, *hint;
} uses[WEB_DISK_COUNT] = {
    [WEB_DISK_DATABASE] = {"the database", "reading goes on, writing is refused",
                           "make room there, or delete for good what is in the trash: winnow admin purge"},
    [WEB_DISK_JOBS] = {"jobs and what they print", "new jobs may fail, and output may be cut", "make room there"},
    [WEB_DISK_ARTIFACTS] = {"artifacts", "uploads may be refused",
                            "make room there; winnow admin purge and winnow admin gc remove what is in the trash and what nothing names"},
};

const char *trouble_disk_holds(enum web_disk_use use) {
  return uses[use].holds;
}

/* One disk may hold all of it: then what matters most is told. */
static bool is_told(const struct web_status *status, enum web_disk_use use) {
  for (enum web_disk_use earlier = 0; earlier < use; earlier++)
    if (status->disks[earlier].full && status->disks[earlier].device == status->disks[use].device)
      return true;
  return false;
}

static bool is_full(const struct web_status *status, enum web_disk_use use) {
  return status->disks[use].full && !is_told(status, use);
}

/* Of a database elsewhere nothing is known but what it answers. */
static bool database_refuses(const struct web_app *app) {
  int64_t refused = app->pg && !app->status.disks[WEB_DISK_DATABASE].path ? pg_pool_stats(app->pg).no_space_ms : 0;
  return refused && clock_mono_ms(app->clock) - refused < NO_SPACE_TOLD_MS;
}

bool trouble_is_there(const struct web_app *app) {
  bool any = database_refuses(app);
  for (enum web_disk_use use = 0; use < WEB_DISK_COUNT; use++)
    any |= is_full(&app->status, use);
  return any;
}

static void put(struct json_writer *w, const char *detail, const char *place, const char *hint) {
  jw_object(w);
  jw_put_text(w, "detail", detail);
  jw_put_text(w, "place", place);
  jw_put_text(w, "hint", hint);
  jw_object_end(w);
}

void trouble_put(const struct web_app *app, bool insider, struct json_writer *w) {
  char text[200];
  jw_array(w);
  for (enum web_disk_use use = 0; use < WEB_DISK_COUNT; use++) {
    const struct web_disk *disk = &app->status.disks[use];
    if (!is_full(&app->status, use))
      continue;
    snprintf(text, sizeof text, "the disk of %s is almost full, %.1f MB are left: %s", uses[use].holds, (double)disk->room / 1e6,
             uses[use].means);
    put(w, text, insider ? disk->path : NULL, uses[use].hint);
  }
  if (database_refuses(app))
    put(w, "the disk of the database is full: writing is refused", insider ? app->status.database : NULL,
        "make room on the database's machine");
  jw_array_end(w);
}
