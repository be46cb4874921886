/* Waiting for a sweep, showing where it stands. */
#ifndef WINNOW_CLI_SWEEP_FOLLOW_H
#define WINNOW_CLI_SWEEP_FOLLOW_H

#include "cli/cli.h"

bool sweep_has_ended(const json_t *sweep);
/* False when there is no best yet. */
bool sweep_best(const json_t *sweep, double *ret);

/* Is this what was waited for? */
typedef bool sweep_until(void *ctx, const json_t *sweep);
/* Until `until` says so or the sweep ends, whichever is first. ERR_TIMEOUT when `timeout_ms` (0: for ever) passes, ERR_CANCELLED after
 * Ctrl-C. The caller owns *ret_sweep. */
MUST_CHECK bool sweep_wait(struct cli *cli, const char *id, int64_t timeout_ms, sweep_until *until, void *ctx, json_t **ret_sweep,
                           struct err *err);
/* Adds the curve of best-so-far as block characters; nothing when there is none. */
void sweep_curve(struct cli *cli, const char *id, struct buf *out);

#endif
