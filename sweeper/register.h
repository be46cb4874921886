/* The best trial of a sweep, or each new best one, becomes a model version: its artifact gets a second name in the registry, by link.
 *
 * Works from the database alone, so a sweep that is over and forgotten, or a service that died half-way, makes no difference: what is to be
 * made is known from rows, and making it again makes nothing twice. One at a time, on the loop; what fails is tried again. */
#ifndef WINNOW_SWEEPER_REGISTER_H
#define WINNOW_SWEEPER_REGISTER_H

#include "base/err.h"
#include "base/id.h"

struct sweeps;

MUST_CHECK bool register_new(struct sweeps *sweeps, struct err *err);
void register_free(struct sweeps *sweeps); /* also after it failed */
/* The best trial of the sweep may have changed, or the sweep is over. */
void register_consider(struct sweeps *sweeps, struct id sweep);
/* Now and then; the first time it asks what an earlier service has left undone. */
void register_tick(struct sweeps *sweeps);

#endif
