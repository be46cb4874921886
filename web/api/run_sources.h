/* Where the metrics of a run come from, as its own page and `winnow run show` tell it. */
#ifndef WINNOW_WEB_RUN_SOURCES_H
#define WINNOW_WEB_RUN_SOURCES_H

#include "base/json.h"
#include "storage/pg/pg.h"
#include "tracker/run_row.h"

/* Adds what is to be asked for; the replies stand in the batch from where it was. */
void run_sources_ask(struct pg_batch *batch, struct id run);
/* The key `recognised`: what was found in the newest output and in every metric file, and which of the files that the sweep names is not
 * there: {"stdout": "Train Epoch style, 3 metrics", "log.json": "json, 120 bytes"}. `reply` is that of the batch, `first` the place of
 * ours. */
void run_sources_put(const struct run_row *run, const struct pg_reply *reply, size_t first, struct json_writer *w);

#endif
