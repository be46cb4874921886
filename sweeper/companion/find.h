/* Files below a directory that globs name. Nothing outside of it is opened: directories behind symbolic links are not entered, a link to a
 * file counts when the file lies below too. */
#ifndef WINNOW_COMPANION_FIND_H
#define WINNOW_COMPANION_FIND_H

#include <sys/stat.h>

#include "base/str.h"

enum { FIND_PATH_MAX = 1000, FIND_DEPTH_MAX = 32, FIND_ENTRIES_MAX = 200000 };

/* `glob` is which of them took it. False ends the search. */
typedef bool find_fn(void *ctx, size_t glob, const char *path, const struct stat *st);

/* With `whole_directories` a glob that names a directory means everything below it. Returns false when the search was cut short: by `fn`,
 * or because there is too much to look at. */
bool find_files(int root, const char *const *globs, size_t glob_count, bool whole_directories, find_fn *fn, void *ctx);

/* Does the glob mean this path? As find_files() takes it. */
bool find_takes(const char *glob, struct str path, bool whole_directories);

/* A regular file, for reading; -1 when it is none or is not there. */
int find_open(int root, const char *path, struct stat *ret_stat);

#endif
