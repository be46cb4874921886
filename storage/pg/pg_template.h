/* The template: a cluster fresh from initdb, kept in the cache and copied for every new data directory, since a copy takes a tenth of the
 * time. One for each version of the programs and user. Without a usable cache, initdb runs in place. */
#ifndef WINNOW_STORAGE_PG_TEMPLATE_H
#define WINNOW_STORAGE_PG_TEMPLATE_H

#include "storage/pg/pg_find.h"

struct pg_template {
  const char *cache_dir; /* NULL: /var/cache/winnow for root, else $XDG_CACHE_HOME/winnow */
  const struct pg_programs *programs;
  const struct run_as *who;
  const struct subproc_stop *stop; /* NULL, or how another thread ends the making of a cluster */
};

/* Puts a new cluster at `to`, which must not exist, owned by `who`. `ret_secret` (72 bytes) gets its password. */
MUST_CHECK bool pg_template_copy(const struct pg_template *template, const char *to, char *ret_secret, struct err *err);
/* Makes it in the cache, where it is missing. */
MUST_CHECK bool pg_template_ensure(const struct pg_template *template, struct err *err);

#endif
