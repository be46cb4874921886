/* Artifacts: a plain tree of files below one directory, that people may browse, and in Postgres the size and SHA-256 of each. A file is
 * written beside its name while it is hashed, synced, renamed, and never changed in place. Who changes what lies at a path changes file and
 * row before the next one does; a file that replaces another is announced first (artifact_settle.h). Paths are relative to the directory
 * and have passed artifact_path_check(); nothing is followed out of it, symbolic links not at all. What may block runs on threads: lists on
 * `work`, what moves bytes on `disk`, so that those who wait for the disk keep no thread from others, and on `bulk` what takes as long as
 * there are files, so that no upload waits for it. Each of them, and the turns at paths, refuse what is too much (ERR_OVERLOADED).
 *
 * Callbacks are called once, on the loop, never before the starter has returned; what they are given lives during the call. */
#ifndef WINNOW_TRACKER_ARTIFACT_STORE_H
#define WINNOW_TRACKER_ARTIFACT_STORE_H

#include <sys/stat.h>

#include "base/buf.h"
#include "base/loop.h"
#include "base/rng.h"
#include "base/work.h"

struct artifact_store;
struct pg_pool;

/* `directory` is made if it is not there. `uri`: what names it beside mlflow-artifacts:, NULL: nothing does. `shared`: clients put files
 * there past us, so what we do not know is theirs. All of it outlives the store. */
struct artifact_store_conf {
  const char *directory, *uri;
  bool shared;
  struct loop *loop;
  struct work_pool *work, *disk, *bulk;
  struct pg_pool *pg;
};
MUST_CHECK struct artifact_store *artifact_store_new(const struct artifact_store_conf *conf, struct err *err);
/* What has yet to read or copy whole files ends with ERR_UNAVAILABLE, also what is in the middle of it, and leaves nothing behind: the
 * service is about to stop, and waits for no gigabytes. */
void artifact_store_interrupt(struct artifact_store *store);
/* Once the pools of threads have been stopped, before the database's is: what the database could not be told is left to the next start.
 * Accepts NULL. */
void artifact_store_stop(struct artifact_store *store);
/* Stops it first. Uploads and other work must have ended. Accepts NULL. */
void artifact_store_free(struct artifact_store *store);
const char *artifact_store_directory(const struct artifact_store *store);
/* Its directory's descriptor, for those who care for the store. */
int artifact_store_root(const struct artifact_store *store);
bool artifact_store_is_shared(const struct artifact_store *store);

/* The path that a URI of ours names: "mlflow-artifacts:/1/abc", "mlflow-artifacts://host/1/abc" and the store's URI with "/1/abc" behind it
 * are "1/abc". False: it is not ours to serve. */
MUST_CHECK bool artifact_path_of_uri(const struct artifact_store *store, struct str uri, struct buf *out);

/* ---- writing ---- */

struct artifact_file {
  int64_t size;
  uint8_t sha256[32];
};

/* Of a file of the store, with its quotes: it is never changed in place, so that its inode and time say which one it is. */
enum { ARTIFACT_ETAG_MAX = 64 };

struct artifact_stored {
  struct artifact_file file;
  char etag[ARTIFACT_ETAG_MAX];
};
struct artifact_upload;
/* `stored` lives during the call; NULL with an error. */
typedef void artifact_stored_fn(void *ctx, const struct artifact_stored *stored, const struct err *err);
/* Touches no disk yet. */
MUST_CHECK bool artifact_upload_new(struct artifact_store *store, struct str path, struct artifact_upload **ret, struct err *err);
/* Before the first write: its directory must be there already, else ERR_NOT_FOUND. */
void artifact_upload_makes_nothing(struct artifact_upload *upload);
/* What must hold of what lies there when it takes that place. `holds` looks at its ETag (artifact_etag()), "" of nothing, on a thread;
 * where it does not hold of a file, that may still be one with one of these SHA-256. All of it lives until the upload's end. */
struct artifact_condition {
  bool (*holds)(void *ctx, struct str etag);
  void *ctx;
  const uint8_t (*sha256)[32];
  size_t count;
};
/* Before the first write. ERR_PRECONDITION, at once where that can be told, else in the upload's turn at the path. */
void artifact_upload_only_if(struct artifact_upload *upload, const struct artifact_condition *condition);
/* On a thread, one at a time. The first makes the directories on the way. */
MUST_CHECK bool artifact_upload_write(struct artifact_upload *upload, struct str bytes, struct err *err);
/* Writes the `last` bytes, which live until `done`, and ends it, also when it fails: the file is in its place, durable and known to the
 * database when `done` is called without an error. No write may be going on. */
MUST_CHECK bool artifact_upload_finish(struct artifact_upload *upload, struct str last, artifact_stored_fn *done, void *ctx,
                                       struct err *err);
/* Ends it without a trace, in the background. No write may be going on. Accepts NULL. */
void artifact_upload_abort(struct artifact_upload *upload);

typedef void artifact_done_fn(void *ctx, const struct err *err);
/* A file or a tree; first its rows, so that none is left of a file that is gone. What is not there is no error. */
MUST_CHECK bool artifact_delete(struct artifact_store *store, struct str path, artifact_done_fn *done, void *ctx, struct err *err);
/* A directory with nothing in it; one that holds something stays, and that is no error. */
MUST_CHECK bool artifact_delete_empty(struct artifact_store *store, struct str path, artifact_done_fn *done, void *ctx, struct err *err);
/* An empty one, and those on the way; one that is there is no error. */
MUST_CHECK bool artifact_make_directory(struct artifact_store *store, struct str path, artifact_done_fn *done, void *ctx, struct err *err);
/* A file of its own made of others, in this order, which stay. */
MUST_CHECK bool artifact_join(struct artifact_store *store, const struct str *parts, size_t count, struct str path,
                              artifact_stored_fn *done, void *ctx, struct err *err);

/* Called with whether it was removed. */
typedef void artifact_collected_fn(void *ctx, bool removed, const struct err *err);
/* Removes a file that nothing names, if it still is the one whose content and name last changed then (tree_changed_ms()), and, unless
 * `even_if_known`, nothing has come to name it. What is no file stays. */
MUST_CHECK bool artifact_collect(struct artifact_store *store, struct str path, int64_t changed_ms, bool even_if_known,
                                 artifact_collected_fn *done, void *ctx, struct err *err);

/* What is kept for a version, and so long has rows, is no version's if none says so. */
enum { ARTIFACT_KEPT_SOON_MS = 600000 };

/* A second name for a tree as it is at one moment: by hard links, or copies where links are not possible. `to` must not be there; a file
 * lies in it under its own name. The digest is that of all names, sizes and contents; each of its files has a row. Of what fails nothing
 * is left. */
struct artifact_tree {
  bool is_file; /* what was kept is one */
  int64_t files, size;
  uint8_t digest[32];
};
typedef void artifact_tree_fn(void *ctx, const struct artifact_tree *tree, const struct err *err);
MUST_CHECK bool artifact_keep(struct artifact_store *store, struct str from, struct str to, artifact_tree_fn *done, void *ctx,
                              struct err *err);
/* Is there room for one more? Else ERR_OVERLOADED, for who must know before it does what a copy is to be kept of. */
MUST_CHECK bool artifact_may_keep(struct artifact_store *store, struct err *err);
/* The digest of what lies there now. */
MUST_CHECK bool artifact_digest(struct artifact_store *store, struct str path, artifact_tree_fn *done, void *ctx, struct err *err);
/* The same of what a version of the registry keeps; when it is `digest` (copied), its files get rows if they have none. */
MUST_CHECK bool artifact_digest_kept(struct artifact_store *store, struct str path, const uint8_t digest[32], artifact_tree_fn *done,
                                     void *ctx, struct err *err);

/* ---- reading ---- */

/* A descriptor of the regular file at `path`, the caller's; -1 on failure, ERR_NOT_FOUND when there is none. */
MUST_CHECK int artifact_open(struct artifact_store *store, struct str path, struct stat *ret_stat, struct err *err);

void artifact_etag(const struct stat *st, char out[ARTIFACT_ETAG_MAX]);

/* A file, or a directory with one in it. */
bool artifact_is_there(struct artifact_store *store, struct str path);

struct artifact_entry {
  const char *name; /* below the listed directory; "a/b" when listed deeply */
  bool is_dir;
  int64_t size;
};
/* By name. What is no directory gives nothing. */
typedef void artifact_list_fn(void *ctx, const struct artifact_entry *entries, size_t count, const struct err *err);
MUST_CHECK bool artifact_list(struct artifact_store *store, struct str path, bool deep, artifact_list_fn *done, void *ctx, struct err *err);

enum { ARTIFACT_LIST_MAX = 200000, ARTIFACT_DEPTH_MAX = 64 };

/* text/plain for what people read, else by the ending of the name. */
const char *artifact_content_type(struct str path);

#endif
