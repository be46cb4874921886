/* The end of a process that cannot wait for its threads. */
#ifndef WINNOW_CLI_LEAVE_H
#define WINNOW_CLI_LEAVE_H

#include "base/base.h"

/* Ends the process after `ms` if it has not ended before, whatever its threads, the caller's too, wait for: a file system that does not
 * answer lets go of nobody. `lock_fd` is closed first, since such a thread may keep the descriptors of a process that is over. Without a
 * thread to spare nothing is done. */
void leave_after(int64_t ms, int exit_code, int lock_fd);

#endif
