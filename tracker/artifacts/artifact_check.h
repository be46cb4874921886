/* Files of the store compared with what is noted of them, on the work pool, a bounded piece of reading at a time. */
#ifndef WINNOW_TRACKER_ARTIFACT_CHECK_H
#define WINNOW_TRACKER_ARTIFACT_CHECK_H

#include "base/work.h"
#include "storage/pg/pg.h"
#include "tracker/artifacts/artifact_store.h"

enum artifact_verdict { ARTIFACT_FINE, ARTIFACT_MISSING, ARTIFACT_OTHER_SIZE, ARTIFACT_OTHER_CONTENT, ARTIFACT_UNREADABLE };

struct artifact_probe {
  char *path; /* owned */
  int64_t size, created;
  uint8_t sha256[32];
  enum artifact_verdict verdict;
  int64_t found_size;
  bool coming;    /* it is just being replaced: file and row may differ */
  unsigned looks; /* how often it was looked at */
  bool moved;     /* its row has changed since it was looked at first */
};
enum { ARTIFACT_PROBES_MAX = 256 };

/* Zero-initialise, then fill probes and count. */
struct artifact_check {
  struct work work;
  struct artifact_store *store;
  struct work_pool *pool;
  struct artifact_probe probes[ARTIFACT_PROBES_MAX];
  size_t count, at; /* `at`: the next one */
  bool deep;
  int64_t bytes; /* read so far, over all */
  int fd;        /* of the file being read when `hash` is set */
  void *hash;
  /* On the loop, once for each call; `at` == `count` when all have been looked at. */
  void (*done)(struct artifact_check *check, const struct err *err);
};

/* Asks for the rows after the path in `after`; `done` gives them to artifact_check_fill(), which keeps them as probes, and the last path.
 */
MUST_CHECK bool artifact_check_page(struct pg_pool *pg, const struct buf *after, pg_done_fn *done, void *ctx, struct err *err);
MUST_CHECK bool artifact_check_fill(struct artifact_check *check, const struct pg_reply *reply, struct buf *after, struct err *err);
/* Of a row as STMT_ARTIFACT_PAGE has it. */
void artifact_probe_set(struct artifact_probe *probe, const struct pg_reply *reply, size_t row);
/* Looks at what comes next, until it has read about 32 MiB. */
MUST_CHECK bool artifact_check_go(struct artifact_check *check, struct err *err);
/* Empties it for the next batch. */
void artifact_check_reset(struct artifact_check *check);
const char *artifact_verdict_text(enum artifact_verdict verdict);

#endif
