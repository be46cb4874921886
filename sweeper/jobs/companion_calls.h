/* What the companions of jobs say (sweeper/companion/main.c), and what people say of jobs whose sweep rests. */
#ifndef WINNOW_SWEEPER_COMPANION_CALLS_H
#define WINNOW_SWEEPER_COMPANION_CALLS_H

#include "sweeper/live/sweep.h"

enum companion_says companion_alive(struct live_trial *trial, int32_t attempt);
/* Bytes of a stream; `done` gets where it goes on (see tracker/logs/log_store.h). */
struct log_piece;
typedef void companion_output_fn(void *ctx, int64_t next, const struct err *err);
MUST_CHECK bool companion_output(struct live_trial *trial, int32_t attempt, struct str stream, const struct log_piece *piece,
                                 companion_output_fn *done, void *ctx, struct err *err);
/* A piece of a file that metrics_from names; see tracker/logs/file_reader.h. */
struct companion_file {
  size_t source;
  struct str path;
  uint64_t generation;
  int64_t offset, age_ms; /* age_ms: so long ago it was written */
  bool is_snapshot, is_last;
  struct str bytes;
};
MUST_CHECK bool companion_file(struct live_trial *trial, int32_t attempt, const struct companion_file *file, companion_output_fn *done,
                               void *ctx, struct err *err);
/* Answers as soon as there is a verdict, or after wait_ms. One at a time: an earlier one is answered COMPANION_LATER. */
void companion_poll(struct live_trial *trial, int32_t attempt, int64_t wait_ms, companion_fn *done, void *ctx);
/* Forgets the poll: its caller is gone. */
void companion_poll_drop(struct live_trial *trial, const void *ctx);
/* The attempt is over; `text` are lines of `name value`. Answers when that is durable. */
void companion_exited(struct live_trial *trial, int32_t attempt, struct str text, companion_fn *done, void *ctx);

/* Ends what runs of such a sweep, later; its rows stay as they are. */
void sweeps_end_resting(struct sweeps *sweeps, struct id sweep, struct str actor);
/* What runs of this run of theirs; false: nothing does. */
bool sweeps_end_resting_run(struct sweeps *sweeps, struct id run, struct str actor);

#endif
