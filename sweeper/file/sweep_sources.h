/* metrics_from of a sweep file: its items judged, and handed to the readers. */
#ifndef WINNOW_SWEEPER_SWEEP_SOURCES_H
#define WINNOW_SWEEPER_SWEEP_SOURCES_H

#include "sweeper/file/sweep_spec.h"
#include "tracker/logs/metric_sources.h"

extern const struct spec_table sweep_source_table; /* of struct sweep_metrics_source */

/* Says what is wrong with the item, where it stands; fills in the format of a file that says none. `node` may be NULL. */
void sweep_source_check(struct sweep_metrics_source *source, const struct ynode *node, const char *path, struct spec_problems *errors);

/* Whether a path or glob names something that does not lie below the attempt's directory. */
bool sweep_source_leads_out(struct str file);

/* The names of the goal, of what rules look at, and of what they count iterations by. Texts are those of `spec`, the list is the arena's.
 */
MUST_CHECK bool sweep_sources_wanted(const struct sweep_spec *spec, struct arena *arena, struct spec_texts *ret, struct err *err);

/* `wanted` (NULL: none) is listened for by its names also where the built-in recognisers take no notice. NULL in *ret when there is nothing
 * but the default. The caller owns one share. */
MUST_CHECK bool sweep_sources_make(const struct spec_objects *sources, const struct spec_texts *wanted, struct metric_sources **ret,
                                   struct err *err);

/* A list as it stands in a sweep file, `{"metrics_from": […]}` in YAML or JSON, for what is stored: files are not. Mistakes are told with
 * their line and column. `wanted` as above, where the list is empty: who gives patterns says what is the goal. */
MUST_CHECK bool sweep_sources_read(struct str text, const struct spec_texts *wanted, struct metric_sources **ret, struct err *err);

/* The same with the files. */
MUST_CHECK bool sweep_sources_read_all(struct str text, struct metric_sources **ret, struct err *err);

#endif
