/* The whole database as one stream, by pg_dump, and back, by pg_restore. Blocking: for a thread. What is dumped is one snapshot; writers
 * are not held up. */
#ifndef WINNOW_STORAGE_PG_ARCHIVE_H
#define WINNOW_STORAGE_PG_ARCHIVE_H

#include "storage/pg/subproc.h"

/* Writes to io->out; a reader that goes away ends it. `conninfo` is libpq's; its password is not shown to other users of the machine. */
MUST_CHECK bool pg_archive_dump(const char *conninfo, struct subproc_io *io, struct err *err);
/* Reads from io->in into a database without our schema: all of it or nothing. */
MUST_CHECK bool pg_archive_load(const char *conninfo, struct subproc_io *io, struct err *err);

#endif
