/* The stored output of a run that is over, read anew with other patterns: its points that came from output are replaced, all else stays.
 * One transaction a run. Which did is found by reading the output once more as it was read last, which the stream keeps (a point that a
 * client logged too, the same to the bit in key, step, time and value, is one with it). Where that does not give as many points and the
 * same (what it was read with was not kept yet, the recognisers have changed, log_max cut it) it is told by their key and by their time,
 * which is that of a piece of output: a point of the same key that a client logged in the very millisecond in which a piece came cannot be
 * told from them, and goes too, as does all of a key that a pattern with a time of its own gave. */
#ifndef WINNOW_TRACKER_REPARSE_H
#define WINNOW_TRACKER_REPARSE_H

#include "tracker/logs/log_store.h"

struct reparse_result {
  int64_t bytes, points; /* read */
  size_t series;
};
typedef void reparse_fn(void *ctx, const struct reparse_result *result, const struct err *err);
/* ERR_WRONG_STATE while the run goes on, ERR_NOT_FOUND when it is not there, ERR_TOO_LARGE when it has more points than can be replaced at
 * once (METRIC_REPLACE_POINTS_MAX). Where its output or points change meanwhile (by another such reading, say) it begins again;
 * ERR_CONFLICT when that happens again and again. `sources` is shared. `who` asked is noted with the
 * event. `done` on the loop, once, never before this has returned. */
MUST_CHECK bool reparse_run(struct log_store *store, struct id run, struct metric_sources *sources, struct str who, reparse_fn *done,
                            void *ctx, struct err *err);

#endif
