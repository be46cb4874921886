/* What the artifact store does on the disk, blocking: below a directory's descriptor, never out of it. */
#ifndef WINNOW_TRACKER_ARTIFACT_TREE_H
#define WINNOW_TRACKER_ARTIFACT_TREE_H

#include <stdatomic.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/str.h"
#include "tracker/artifacts/artifact_store.h"

/* What takes as long as there are bytes looks, between two pieces, whether it is to end: ERR_UNAVAILABLE once *stop is set. NULL: never. */
typedef const atomic_bool tree_stop;

/* Names that begin so are files on their way: never listed, never served. */
#define ARTIFACT_HIDDEN ".winnow-"

/* Opens the directory that holds `path` (made when `make`), and gives the last part of the name. "" has no parent. -1 on failure;
 * ERR_NOT_FOUND when it is not there, or is no directory. */
MUST_CHECK int tree_open_parent(int root, struct str path, bool make, struct str *ret_name, struct err *err);
/* O_RDONLY of a directory or file; -1 as above. */
MUST_CHECK int tree_open(int root, struct str path, int flags, struct err *err);
/* A directory, durable with the first file in it. */
MUST_CHECK bool tree_make(int root, struct str path, struct err *err);
/* Whether something lies there, and whether it is a directory. An error when nothing may be removed from where it lies. */
MUST_CHECK bool tree_may_delete(int root, struct str path, bool *ret_is_there, bool *ret_is_dir, struct err *err);
MUST_CHECK bool tree_delete(int root, struct str path, struct err *err);
/* What is no empty directory stays. */
MUST_CHECK bool tree_delete_empty(int root, struct str path, struct err *err);
/* When content or name last changed, wall clock. */
int64_t tree_changed_ms(const struct stat *st);
/* Removes a file that last changed then. *ret_removed: it was still that one. */
MUST_CHECK bool tree_collect(int root, struct str path, int64_t changed_ms, bool *ret_removed, struct err *err);

struct tree_list {
  struct artifact_entry *entries;
  size_t count, cap;
};
void tree_list_release(struct tree_list *list);
#define AUTO_TREE_LIST CLEANUP(tree_list_release)
/* By name. ERR_NOT_FOUND when it is no directory. */
MUST_CHECK bool tree_list(int root, struct str path, bool deep, struct tree_list *ret, struct err *err);

/* Whether a file lies at `path` or below it. Not for a thread: of more empty directories than EMPTY_DIRECTORIES_MAX it is taken for
 * granted. */
enum { EMPTY_DIRECTORIES_MAX = 1000 };
bool tree_holds_file(int root, struct str path);

/* The files of a tree with the digest of each, by name; of one that is a file, that one, under the name "". */
struct tree_sum {
  char *name;
  struct artifact_file file;
};
struct tree_sums {
  struct tree_sum *items;
  size_t count, cap;
};
void tree_sums_release(struct tree_sums *sums);
/* `sums`: empty, or NULL. */
MUST_CHECK bool tree_digest(int root, struct str path, tree_stop *stop, struct artifact_tree *ret, struct tree_sums *sums, struct err *err);

/* Hard links, or copies; not synced. `to` is a directory that is not there yet, in which a file lies under its own name. */
enum tree_how { TREE_LINKS, TREE_COPIES };
struct tree_kept {
  bool is_file;
  bool needs_copies; /* it failed because links are not possible */
};
/* Of one that fails part may have been made. */
MUST_CHECK bool tree_keep(int root, struct str from, struct str to, enum tree_how how, tree_stop *stop, struct tree_kept *ret,
                          struct err *err);
/* Syncs all directories at and below `path` and those above it. */
MUST_CHECK bool tree_sync(int root, struct str path, struct err *err);
/* What is left to be read of a file, to where another is written; synced. */
MUST_CHECK bool tree_copy_file(int from, int to, tree_stop *stop, struct err *err);
/* Syncs the directory that holds `path`, and those above it: some may be new. */
MUST_CHECK bool tree_sync_parents(int root, struct str path, struct err *err);

#endif
