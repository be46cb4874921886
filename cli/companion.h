/* Where the companion is, the program that runs one attempt of a job. */
#ifndef WINNOW_CLI_COMPANION_H
#define WINNOW_CLI_COMPANION_H

#include "base/buf.h"

/* Beside this program, or where it is installed. Empty when this program does not know where it is itself. */
void companion_find(struct buf *out);

#endif
