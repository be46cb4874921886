/* `winnow serve`: makes every part, runs until told to end, stops them in the reverse order. */
#ifndef WINNOW_CLI_SERVICE_H
#define WINNOW_CLI_SERVICE_H

#include "cli/service_settings.h"

/* Returns the exit code of the program. What went wrong at the start is in *err. `reload` (may be NULL) loads the settings again on SIGHUP.
 */
struct service_source {
  const struct setting_argument *arguments;
  size_t argument_count;
  int early_signals; /* a byte for each signal that came before the loop heard of them, its number; does not block; -1: none */
};
int service_run(const struct service_source *source, struct err *err);

#endif
