/* The best trial of a sweep, or each new best one, becomes a model version: its artifact gets a second name in the registry, by link.
 *
 * Works from the database alone, so a sweep that is over and forgotten, or a service that died half-way, makes no difference: what is to be
 * made is known from rows, and making it again makes nothing twice. One at a time, on the loop; what fails is tried again. */
#ifndef WINNOW_SWEEPER_REGISTER_H
#define WINNOW_SWEEPER_REGISTER_H

#include "base/id.h"
#include "base/list.h"
#include "tracker/version_keep.h"

struct sweeps;

struct registrar {
  struct list waiting; /* of sweeps to look at */
  struct registering *now;
  struct version_keep tried; /* how far the last one came: nothing else of it is looked at */
  int64_t retry_ms;
  bool begun;
};

enum { REGISTRAR_WAITING_MAX = 10000 };

/* The best trial of the sweep may have changed, or the sweep is over. */
void register_consider(struct sweeps *sweeps, struct id sweep);
/* Now and then; the first time it asks what an earlier service has left undone. */
void register_tick(struct sweeps *sweeps);
void register_release(struct registrar *registrar);

#endif
