/* What a trial reported, so that the same report from a second source (its output and a file, a file and the MLflow client) counts once for
 * rules. Bounded: of very many reports the older ones are forgotten. */
#ifndef WINNOW_SWEEPER_HEARD_H
#define WINNOW_SWEEPER_HEARD_H

#include "base/str.h"

struct heard {
  struct heard_item *items; /* NULL until there is something */
  size_t count, cap;
};

enum { HEARD_MAX = 16384 };

void heard_release(struct heard *heard);
/* Never 0. */
uint64_t heard_hash(struct str key, int64_t step, double value);
int heard_by_hash(const void *a, const void *b); /* of two hashes, for sorting */
/* True when another source has said the same. Else it is noted; without memory it is not, and counts. */
bool heard_before(struct heard *heard, uint32_t source, struct str key, int64_t step, double value);

#endif
