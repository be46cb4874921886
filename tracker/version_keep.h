/* The files of a version of the registry are kept for it when they lie in our store: a copy of theirs below registry/, which from then on
 * is what everyone gets. The row is made with a mark that says where they lie (keep_from), which goes when the copy is there, or when there
 * is nothing to copy. What keeps the mark because the service died, or the copy could not be made, is tried again (struct version_settle).
 */
#ifndef WINNOW_TRACKER_VERSION_KEEP_H
#define WINNOW_TRACKER_VERSION_KEEP_H

#include "base/loop.h"
#include "tracker/artifacts/artifact_store.h"

/* The caller's; it and what it names live until `done`, which is called once, on the loop, unless the start fails. `is_copied` and `tree`
 * stay. */
struct version_keep {
  struct pg_pool *pg;
  struct artifact_store *store;
  int64_t model, version; /* model: its key */
  struct str from;        /* where the files lie */
  artifact_done_fn *done; /* no error: also when nothing lies there, not uploaded yet, say: the version stands without a copy */
  void *ctx;
  char to[64];    /* where they are kept; set from model and version */
  bool is_copied; /* the copy was made, and is `tree`, though that may not have been stored */
  struct artifact_tree tree;
};
MUST_CHECK bool version_keep_begin(struct version_keep *keep, struct err *err);
/* The same, of one that was tried before. The copy that lies there stays if this service made it and it is what it was; else, since
 * it may be half of one, it is removed first. */
MUST_CHECK bool version_keep_anew(struct version_keep *keep, struct err *err);

/* Those that have the mark and nobody at work on them are tried here, one after the other, in the background: once all that had it when
 * this was made; every hour, and when asked, those that failed, then or later. Of one that fails the log tells the first time, and the
 * others are not held up. Borrows all of it. */
struct version_settle;
MUST_CHECK struct version_settle *version_settle_new(struct loop *loop, struct pg_pool *pg, struct artifact_store *store, struct err *err);
/* Begins, or tries again at once, since there may be room now; the database is there. */
void version_settle_again(struct version_settle *settle);
/* This one failed, and nobody is at work on it any more; only what it is and how far it came is noted. At most 1,024 of them: those beyond
 * are tried after the next start. */
void version_settle_owe(struct version_settle *settle, const struct version_keep *keep);
/* Begins no further one. Accepts NULL. */
void version_settle_stop(struct version_settle *settle);
/* After the pools have been closed. Accepts NULL. */
void version_settle_free(struct version_settle *settle);

#endif
