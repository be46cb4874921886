/* The keys of the sweep file: a row each, from which reading, the normal form, the JSON Schema and the documentation follow. The keys of
 * stop rules and of metrics_from have tables of their own (sweeper/rules/stop_conf.c, sweeper/file/sweep_sources.c). */
#ifndef WINNOW_SWEEPER_SWEEP_TABLE_H
#define WINNOW_SWEEPER_SWEEP_TABLE_H

#include "sweeper/file/sweep_spec.h"

extern const struct spec_table sweep_table; /* of struct sweep_spec */

extern const char *const sweep_methods[]; /* by enum sweep_method */

#endif
