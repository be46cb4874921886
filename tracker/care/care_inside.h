/* What kinds of care share, for tracker/care/care.c, fsck.c, gc.c and purge.c only. */
#ifndef WINNOW_TRACKER_CARE_INSIDE_H
#define WINNOW_TRACKER_CARE_INSIDE_H

#include "base/mem.h"
#include "storage/pg/pg.h"
#include "tracker/artifacts/artifact_store.h"
#include "tracker/care/care.h"

enum { CARE_TIMEOUT_MS = 120000 };

struct care_class {
  /* Begins a step; care_told() ends it. False: it could not begin. */
  bool (*step)(struct care *care, struct err *err);
  void (*put_summary)(struct care *care, struct json_writer *w);
  void (*release)(struct care *care);
};

/* The first member of each kind. */
struct care {
  const struct care_class *class;
  struct care_conf conf;
  care_finding_fn *found;
  void *found_ctx;
  uint64_t damages;
  care_step_fn *done;
  void *ctx;
  struct loop_defer failed;
  struct err err;
  struct loop_timer *pause;
  loop_fn *again; /* what the next step begins with, instead of a step of its class */
  void *again_ctx;
};

/* Zeroed, `size` bytes. NULL without memory. */
MUST_CHECK void *care_new(size_t size, const struct care_class *class, const struct care_conf *conf, care_finding_fn *found, void *ctx,
                          struct err *err);
/* From a callback: the step is over. The last thing done with `care`. */
void care_told(struct care *care, bool more, const struct err *err);
/* The same for what could not be begun. Where the service has too much to do, that is no failure: after a pause the next step begins with
 * `again`, or anew when that is NULL. */
void care_cannot(struct care *care, const struct err *err, loop_fn *again, void *ctx);
void care_found(struct care *care, const char *kind, const char *subject, int64_t size, const char *text);
MUST_CHECK bool care_run(struct care *care, struct pg_args *args, pg_done_fn *done, struct err *err);

/* ---- what a purge leaves to be removed: the table doomed ---- */

struct doomed {
  struct care *care;
  int64_t after; /* goes on after this id */
  bool dry_run;
  struct work work;
  int64_t id;
  char *path, *job; /* of the one being removed */
  bool if_empty;    /* the path goes only where it is an empty directory */
  struct err err;
  uint64_t removed, failed;
  void (*none)(struct care *care);
};
/* `none` goes on when none is left. */
void doomed_init(struct doomed *doomed, struct care *care, bool dry_run, void (*none)(struct care *care));
void doomed_release(struct doomed *doomed);
/* A step of `care`: removes the next one. What cannot be removed is told and left for another time. */
MUST_CHECK bool doomed_step(struct doomed *doomed, struct err *err);

#endif
