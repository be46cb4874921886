/* Files: whole reads with a limit, replacement by rename, directories, and opening beneath a directory. */
#ifndef WINNOW_BASE_FILE_H
#define WINNOW_BASE_FILE_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

void fd_close(int *fd); /* for CLEANUP(); accepts -1; sets it to -1 */
#define AUTO_FD CLEANUP(fd_close)

/* Adds the whole file to `out`; too large a file fails by the buffer's ceiling. */
MUST_CHECK bool file_read(const char *path, struct buf *out, struct err *err);
/* Written beside its name, synced, renamed, the directory synced. */
MUST_CHECK bool file_replace(const char *path, struct str content, mode_t mode, struct err *err);
/* As mkdir -p; directories made get `mode`. */
MUST_CHECK bool dir_make(const char *path, mode_t mode, struct err *err);
/* Writes everything or fails; restarts after EINTR. */
MUST_CHECK bool fd_write_all(int fd, const void *bytes, size_t n, struct err *err);
MUST_CHECK bool fd_sync(int fd, struct err *err);
/* The path that a URI of this machine names: "file:///x", "file:/x", "file://localhost/x", the scheme in any case. Anything else is given
 * back as it is. */
struct str file_uri_path(struct str uri);
/* Opens `path` (relative) beneath `dir_fd`: no step may leave it, no symbolic link is followed. -1 on failure. */
MUST_CHECK int file_open_beneath(int dir_fd, const char *path, int flags, mode_t mode, struct err *err);
/* Removes a tree without following links or leaving the file system entry `path` names. True when it is gone (or was not there). */
MUST_CHECK bool tree_remove(const char *path, struct err *err);
/* The same with what a directory holds; itself it stays. */
MUST_CHECK bool tree_empty(const char *path, struct err *err);
/* Copies a tree of files, directories and symbolic links (as they are): reflink where possible, modes and the dates of files kept.
 * `to` must not exist. */
MUST_CHECK bool tree_copy(const char *from, const char *to, struct err *err);

#endif
