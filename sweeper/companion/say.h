/* What the companion writes into companion.log, which is its standard error. */
#ifndef WINNOW_SWEEPER_COMPANION_SAY_H
#define WINNOW_SWEEPER_COMPANION_SAY_H

#include "base/base.h"

/* A line, with the time before it. */
void say(const char *format, ...) PRINTF_LIKE(1, 2);

#endif
