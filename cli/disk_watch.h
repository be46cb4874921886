/* The file systems that the service writes to: is there room? What is found stands in web_status, for /api/v1/status and the gate. The
 * database's is looked at often, since it must never become full; the others on threads of their own, for which nobody waits: they may lie
 * on a network that never answers. */
#ifndef WINNOW_CLI_DISK_WATCH_H
#define WINNOW_CLI_DISK_WATCH_H

#include "web/app.h"

struct disk_watch;

/* Paths are borrowed. NULL: as err says. */
struct disk_watch *disk_watch_new(struct loop *loop, struct web_status *status, struct err *err);
/* Accepts NULL. */
void disk_watch_free(struct disk_watch *watch);
/* From now on, and at once; again when the path is another. NULL: there is nothing to watch. */
void disk_watch_set(struct disk_watch *watch, enum web_disk_use use, const char *path);

#endif
