/* The files that had one name after another, as a writer moves its file away and begins the next one: the oldest first, each held open
 * until it was read to its end, wherever it is by then. */
#ifndef WINNOW_COMPANION_LINEAGE_H
#define WINNOW_COMPANION_LINEAGE_H

#include <sys/stat.h>

#include "base/str.h"

enum { LINEAGE_MAX = 8 };

struct lineage_file {
  int fd;
  ino_t inode;
  int64_t absent_ms; /* when it was not there yet, by the clock that does not jump */
};

struct lineage {
  struct lineage_file files[LINEAGE_MAX];
  size_t count;
  struct timespec looked; /* the name was looked at: who is born later is not known yet */
  int64_t looked_ms;
  unsigned lost; /* files that were given up for others */
};

/* Of a name that was not looked at before: files that have left it already are looked for if they were born after `since_ms` (wall clock).
 */
void lineage_init(struct lineage *lineage, int64_t since_ms);
void lineage_release(struct lineage *lineage);

/* Looks at `path` below `root`. Who comes to the name joins, and before him, or if nobody has the name now, those who had it since the last
 * look and have the name of what was moved away from it: `x.1`, `x-20261122`, `x.old`, or `y.1.z` of `y.z`. Files that `globs` name are
 * left out, they have a place of their own. Each file but the first takes one of *spare; where there is none, the oldest is given up. */
void lineage_look(struct lineage *lineage, int root, const char *path, const char *const *globs, size_t glob_count, size_t *spare);
/* The first one is done with. */
void lineage_leave(struct lineage *lineage);

/* Pure: is that a name which a file called `name` is moved to? */
bool lineage_is_rotated(struct str name, struct str other);

#endif
