/* Every file below a directory, in the order the disk gives them, a batch at a time: blocking, for a thread. No link is followed. */
#ifndef WINNOW_TRACKER_TREE_WALK_H
#define WINNOW_TRACKER_TREE_WALK_H

#include <dirent.h>

#include "base/buf.h"

enum { TREE_WALK_DEPTH_MAX = 128 };

struct tree_walk_file {
  char *path;               /* below the directory */
  int64_t size, changed_ms; /* when its content or its name last changed */
};

struct tree_walk {
  int root;
  DIR *open[TREE_WALK_DEPTH_MAX];
  size_t path_n[TREE_WALK_DEPTH_MAX]; /* of the path at each depth */
  size_t depth;                       /* 0: at the end, or not begun */
  struct buf path;
  bool begun;
};

void tree_walk_init(struct tree_walk *walk, int root);
void tree_walk_release(struct tree_walk *walk);
/* At most `max` files; *ret_count 0: that was all. The paths are the caller's. What disappears meanwhile is left out; a directory that
 * cannot be read is an error. */
MUST_CHECK bool tree_walk_next(struct tree_walk *walk, struct tree_walk_file *files, size_t max, size_t *ret_count, struct err *err);

#endif
