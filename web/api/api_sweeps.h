/* What the handlers of sweeps and of launched runs share. */
#ifndef WINNOW_WEB_API_SWEEPS_H
#define WINNOW_WEB_API_SWEEPS_H

#include "base/json.h"
#include "sweeper/file/sweep_file.h"

/* What the sender knows and the file does not say: its snapshot ("sha256:…"; p NULL: none) and environment (NULL: none). */
MUST_CHECK bool api_add_submission(struct sweep_file *file, struct str code, const json_t *environment, struct err *err);

#endif
