/* The statements of sql/queries, as tables made at build time by sql/embed.cmake. C names a statement, it does not spell one.
 *
 * A statement begins with a header and ends before the next header:
 *
 *     -- name: run_create (uuid, uuid, jsonb) -> (timestamptz)
 *     insert into run (id, experiment_id, params) values ($1, $2, $3) returning created;
 *
 * which makes STMT_RUN_CREATE. `-> ()` gives no rows. A long header goes on over the next lines that begin with `--`.
 * The types are those of storage/pg/pg_type.h, `[]` makes an array. After the shape may stand:
 *
 *     repeatable   done twice it is as if done once, with the same answer: reads, and writes under ids we made. The pool sends it
 *                  again by itself when a connection died and nobody knows whether it happened.
 *
 * Tables are named without a schema: every connection's search_path is `winnow`. */
#ifndef WINNOW_STORAGE_STMT_INFO_H
#define WINNOW_STORAGE_STMT_INFO_H

#include "storage/pg/pg_type.h"
#include "storage/stmt.h" /* enum stmt, STMT_COUNT: generated */

enum { STMT_PARAMS_MAX = 48 };

struct stmt_info {
  const char *name; /* "run_create", also the name it is prepared under */
  const char *sql;
  const char *where;           /* "sql/queries/run.sql:12" */
  const unsigned char *params; /* enum pg_type */
  const unsigned char *results;
  unsigned char param_count, result_count;
  bool repeatable;
};

/* NULL when there is none. */
const struct stmt_info *stmt_info(enum stmt stmt);
extern const struct stmt_info stmt_table[STMT_COUNT]; /* generated */

/* Test seam: further statements, numbered from STMT_COUNT on, in a table that outlives their use. Replaces an earlier one. */
enum { STMT_EXTRA_MAX = 32 };
void stmt_set_extra(const struct stmt_info *table, size_t count);

struct migration {
  const char *name; /* "0001_service" */
  const char *sql;
  const char *sha256; /* of the file, hex */
};

extern const struct migration migrations[];
extern const size_t migration_count;
extern const char schema_snapshot[]; /* sql/schema.sql: what they make, for a test to compare */

#endif
