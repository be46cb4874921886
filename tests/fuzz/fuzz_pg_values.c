/* Reading what a server sends: arrays and single values of any bytes, and the version line of its program. */
#include "storage/pg/pq.h"

#include "storage/pg/pg_find.h"
#include "storage/pg/pg_op.h"
#include "tests/support/fuzz.h"

static void read_array(const struct pg_reply *reply, size_t column) {
  struct pg_array array = pg_array(reply, 0, column);
  size_t items = 0;
  while (pg_array_next(&array)) {
    if (array.type == PG_INT8)
      (void)pg_item_int(&array);
    else if (array.type == PG_TEXT && pg_item_text(&array).n > (size_t)PQgetlength(reply->rows, 0, (int)column))
      abort();
    if (++items > (size_t)PQgetlength(reply->rows, 0, (int)column))
      abort();
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const unsigned char shape[] = {PG_INT8 + PG_ARRAY, PG_TEXT + PG_ARRAY, PG_INT8, PG_FLOAT8, PG_UUID, PG_JSONB, PG_TIMESTAMPTZ};
  static const struct stmt_info info = {.name = "fuzz", .results = shape, .result_count = sizeof shape};
  if (size > 4096)
    return 0;
  int major;
  struct str version;
  if (pg_version_parse(str_n((const char *)data, size), &major, &version) && version.n > size)
    abort();
  PGresult *rows = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
  PGresAttDesc columns[sizeof shape];
  char name[] = "c";
  AUTO_BUF struct buf bytes = BUF_INIT(8192);
  buf_add(&bytes, data, size);
  if (bytes.n != size) {
    PQclear(rows);
    return 0;
  }
  char *value = bytes.p ? bytes.p : name;
  for (size_t i = 0; i < sizeof shape; i++)
    columns[i] = (PGresAttDesc){.name = name, .format = 1, .typid = pg_type_oid(shape[i])};
  PQsetResultAttrs(rows, sizeof shape, columns);
  for (int i = 0; i < (int)sizeof shape; i++)
    PQsetvalue(rows, 0, i, value, (int)size);
  struct pg_reply reply = {.outcome = PG_DONE, .rows = rows, .shape = &info};
  read_array(&reply, 0);
  read_array(&reply, 1);
  (void)pg_int(&reply, 0, 2);
  (void)pg_float8(&reply, 0, 3);
  (void)pg_uuid(&reply, 0, 4);
  if (pg_jsonb(&reply, 0, 5).n > size)
    abort();
  (void)pg_time(&reply, 0, 6);
  PQclear(rows);
  return 0;
}
