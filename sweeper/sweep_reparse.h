/* The stored output of all trials of a sweep that are over, read anew with other patterns, one run after the other; and what their values
 * are then, once the sweep is over. One at a time. */
#ifndef WINNOW_SWEEPER_SWEEP_REPARSE_H
#define WINNOW_SWEEPER_SWEEP_REPARSE_H

#include "base/id.h"
#include "base/json.h"

struct sweeps;

struct sweep_reparse {
  struct id sweep;
  bool begun, running;
  int64_t started, ended;
  size_t runs, done, failed;
  int64_t bytes, points;
  char error[300]; /* the first */
};

typedef void sweep_reparse_fn(void *ctx, const struct err *err);
/* `asked` is for sweep_sources_read(); the sweep's metric is listened for by its names. `done` says whether it has begun (ERR_NOT_FOUND: no
 * such sweep); it goes on after that. ERR_CONFLICT: another one runs. */
MUST_CHECK bool sweep_reparse_start(struct sweeps *sweeps, struct id sweep, struct str asked, struct str who, sweep_reparse_fn *done,
                                    void *ctx, struct err *err);
/* The last one; NULL when it was not of this sweep. */
const struct sweep_reparse *sweep_reparse_last(const struct sweeps *sweeps, struct id sweep);
void sweep_reparse_put(const struct sweep_reparse *reparse, struct json_writer *w);

#endif
