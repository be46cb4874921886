/* The template: a cluster fresh from initdb, kept in the cache and copied for every new data directory, since a copy takes a tenth of the
 * time. One for each version of the programs and user. Without a usable cache, initdb runs in place. */
#ifndef WINNOW_STORAGE_PG_TEMPLATE_H
#define WINNOW_STORAGE_PG_TEMPLATE_H

#include "storage/pg/pg_place.h"

/* Puts a new cluster at `to`, which must not exist, owned by `who`. `ret_secret` (72 bytes) gets its password. */
MUST_CHECK bool pg_template_copy(const struct pg_place_conf *conf, const struct pg_programs *programs, const struct run_as *who,
                                 const char *to, char *ret_secret, struct err *err);
MUST_CHECK bool pg_template_ensure(const struct pg_place_conf *conf, const struct pg_programs *programs, const struct run_as *who,
                                   struct err *err);

#endif
