/* A working directory as one archive, the same bytes for the same files: what .gitignore and .winnowignore leave, in order of name, without
 * times and owners; plain files, directories (empty ones too), modes, and symbolic links that stay within. Never in it: .git, __pycache__,
 * Python's virtual environments, the data directory of a service, what is neither file, directory nor link.
 *
 * Blocking, and without shared state: for a program of its own or a thread of the pool. */
#ifndef WINNOW_SWEEPER_SNAPSHOT_H
#define WINNOW_SWEEPER_SNAPSHOT_H

#include "base/err.h"
#include "base/str.h"
#include "storage/digest.h"

enum { SNAPSHOT_ENTRIES_MAX = 200000, SNAPSHOT_DEPTH_MAX = 64 };

struct snapshot_source {
  const char *directory;
  const struct str *links; /* paths that are left out: jobs get symbolic links to them */
  size_t link_count;
  uint64_t max; /* bytes of files */
};

struct snapshot {
  char sha256[DIGEST_HEX + 1];
  uint64_t archive_bytes, file_bytes;
  size_t files;
};

/* Writes to `fd`, from where it stands. ERR_TOO_LARGE lists the largest entries; ERR_INVALID names a link that leads outward; ERR_CONFLICT
 * a file that changed meanwhile. */
MUST_CHECK bool snapshot_write(const struct snapshot_source *source, int fd, struct snapshot *ret, struct err *err);
/* Are they there, the directory, and in it what `links` name? ERR_INVALID names what is not, with the sweep file's key as its path. */
MUST_CHECK bool snapshot_check(const struct snapshot_source *source, struct err *err);
/* Relative, no ".." and no empty part in it, at most SNAPSHOT_DEPTH_MAX deep. */
bool snapshot_path_ok(struct str path);
/* May it stand under `links`? As snapshot_path_ok(), but for dots and slashes around it. */
bool snapshot_link_ok(struct str path);
/* Without "./" before and "/" after it. */
struct str snapshot_path_plain(struct str path);
/* Does a link at `path` that says `target` stay within the tree? By its words alone. */
bool snapshot_link_stays(struct str path, struct str target);

#endif
