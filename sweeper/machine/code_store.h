/* Snapshots of working directories, each once, by the SHA-256 of its archive: DIR/code/<sha256> is the tree as jobs get it. What is there
 * is whole and was checked: an archive is unpacked beside, synced and renamed. Nothing in it leads out of its tree.
 *
 * On the loop; what blocks runs on the pool. Callbacks come once, never before their starter has returned. */
#ifndef WINNOW_SWEEPER_CODE_STORE_H
#define WINNOW_SWEEPER_CODE_STORE_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/work.h"
#include "storage/digest.h"
#include "sweeper/machine/snapshot.h"

struct code_store;

/* DIR/code is made; what an earlier service left half done is removed. */
MUST_CHECK struct code_store *code_store_new(const char *data_dir, struct work_pool *work, const struct clock *clock, struct err *err);
/* After the pool. Accepts NULL. */
void code_store_free(struct code_store *store);

/* "sha256:<hex>" or the hex alone, in small letters. False: it is no digest. */
bool code_digest_read(struct str text, char ret[DIGEST_HEX + 1]);
/* Is it there? Then it is kept for CODE_GRACE_MS from now on. */
bool code_has(struct code_store *store, const char sha256[DIGEST_HEX + 1]);
/* Of the tree, for those who copy it. */
void code_path(const struct code_store *store, const char sha256[DIGEST_HEX + 1], struct buf *out);

/* ---- putting one in ---- */

typedef void code_stored_fn(void *ctx, const char *sha256, const struct err *err);

struct code_upload;
/* Touches no disk yet. */
MUST_CHECK bool code_upload_new(struct code_store *store, const char sha256[DIGEST_HEX + 1], struct code_upload **ret, struct err *err);
/* On a thread, one at a time. */
MUST_CHECK bool code_upload_write(struct code_upload *upload, struct str bytes, struct err *err);
/* Writes the `last` bytes, which live until `done`, and ends it, also on failure. ERR_INVALID: the bytes are not those of the digest, or no
 * archive that may be unpacked. No write may be going on. */
MUST_CHECK bool code_upload_finish(struct code_upload *upload, struct str last, code_stored_fn *done, void *ctx, struct err *err);
/* Ends it without a trace, in the background. No write may be going on. Accepts NULL. */
void code_upload_abort(struct code_upload *upload);

/* A directory of this machine, as snapshot_write() takes it. Copies what it is given. */
MUST_CHECK bool code_take(struct code_store *store, const struct snapshot_source *source, code_stored_fn *done, void *ctx, struct err *err);

/* ---- taking it away ---- */

enum { CODE_GRACE_MS = 3600 * 1000, CODE_KEPT_MS = 24 * 3600 * 1000 };
struct code_collect {
  bool (*named)(void *ctx, const char *sha256);
  void (*found)(void *ctx, const char *sha256); /* is, or would be, removed; NULL: nobody asks */
  void *named_ctx, *found_ctx;
  int64_t unused_ms;
  bool dry_run;
};
/* Removes what `named` does not know and nobody has asked for in the last `unused_ms`, in the background. How many. */
size_t code_store_collect(struct code_store *store, const struct code_collect *collect);

#endif
