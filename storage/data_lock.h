/* One service a data directory. */
#ifndef WINNOW_STORAGE_DATA_LOCK_H
#define WINNOW_STORAGE_DATA_LOCK_H

#include "base/err.h"

/* Locks `dir`/lock for as long as the descriptor is open (it is close-on-exec) and writes our process id into it. ERR_CONFLICT names the
 * process that has it; what one that was killed left on its way is waited for, some seconds at most. Blocking. */
MUST_CHECK bool data_lock_take(const char *dir, int *ret_fd, struct err *err);
/* Whether the process that locked `dir` last still lives: it serves, begins or is about to end. */
bool data_lock_holder_lives(const char *dir);

#endif
