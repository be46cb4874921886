/* What happens, told to who listens at /api/v1/events. All of these cost a look-up when nobody does. */
#ifndef WINNOW_WEB_API_EVENTS_H
#define WINNOW_WEB_API_EVENTS_H

#include "base/id.h"
#include "base/str.h"

struct web_app;
struct sweeps_change;

/* A sweeps_change_fn; `ctx` is the struct web_app. */
void events_on_sweeps(void *ctx, const struct sweeps_change *change);
/* Points of the run were stored. */
void events_tell_points(struct web_app *app, struct id run);
/* The stream is stored up to `next`. */
void events_tell_output(struct web_app *app, struct id run, int32_t attempt, struct str stream, int64_t next);

#endif
