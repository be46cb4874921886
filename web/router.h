/* From the mounts to a tree of segments, and from a path to its row. */
#ifndef WINNOW_WEB_ROUTER_H
#define WINNOW_WEB_ROUTER_H

#include "base/arena.h"
#include "web/route.h"

enum { ROUTER_VALUES_MAX = 8, ROUTER_SEGMENTS_MAX = 64 };

/* A path pattern and all rows that it has. */
struct route_place {
  const char *pattern; /* with the mount's prefix */
  const char *allow;   /* "GET, HEAD, OPTIONS" */
  const struct route_family *family;
  const char *names[ROUTER_VALUES_MAX];
  size_t name_count;
  const struct route *rows[HTTP_METHOD_COUNT]; /* HEAD is the row of GET; OPTIONS is NULL unless a row says otherwise */
};

struct route_match {
  const struct route_place *place;
  struct str values[ROUTER_VALUES_MAX]; /* as in place->names */
};

struct router;

/* Fails on a table that makes no sense. The mounts are borrowed. */
MUST_CHECK struct router *router_new(const struct route_mount *mounts, size_t count, struct err *err);
void router_free(struct router *router); /* accepts NULL */

/* The family of a path, whether it is known or not. `path` without p gives the family of the prefix "". */
const struct route_family *router_family(const struct router *router, struct str path);

/* Finds the place of a raw path. Each segment is percent-decoded once; values are borrowed from `path` or taken from the arena.
 * ERR_NOT_FOUND when nothing matches; ERR_INVALID for a bad escape, NUL, "." and "..". */
MUST_CHECK bool router_find(const struct router *router, struct str path, struct arena *arena, struct route_match *ret, struct err *err);

#endif
