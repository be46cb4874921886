/* What the parts of the artifact store share, for artifact_store.c, artifact_upload.c and artifact_task.c only. */
#ifndef WINNOW_TRACKER_ARTIFACT_INSIDE_H
#define WINNOW_TRACKER_ARTIFACT_INSIDE_H

#include <stdatomic.h>

#include "storage/pg/pg.h"
#include "tracker/artifacts/artifact_store.h"
#include "tracker/artifacts/path_turns.h"

struct artifact_store {
  struct artifact_store_conf conf;
  char *directory;
  struct str uri; /* empty: none */
  int root;
  struct path_turns turns; /* of those that change files: a file and its row are changed together */
  struct list owing;       /* uploads of whose end the database does not know yet; they keep their turn */
  struct list begun;       /* tasks whose turn came at once; told by the end of the loop's turn */
  struct loop_defer tell_begun;
  struct loop_timer *again;
  bool stopping;
  atomic_bool interrupted; /* looked at by threads: nothing long is gone on with */
};

/* On a thread: to an error for want of room it adds whose it is, and what to do. Returns `ok`. */
bool artifact_explain(const struct artifact_store *store, const char *path, bool ok, struct err *err);
/* Tells the database again. */
void artifact_upload_tell_owed(struct artifact_store *store);
/* Lets them go; the next start looks at what lies there. */
void artifact_upload_drop_owed(struct artifact_store *store);
/* Tells all in `begun`. */
void artifact_task_begin_all(struct artifact_store *store);

#endif
