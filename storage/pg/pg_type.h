/* The types of parameters and columns: those a statement's header may name. All travel in Postgres' binary format. */
#ifndef WINNOW_STORAGE_PG_TYPE_H
#define WINNOW_STORAGE_PG_TYPE_H

#include "base/str.h"

/* name in headers, OID, OID of its array */
#define PG_TYPES(X)                            \
  X(PG_BOOL, "bool", 16, 1000)                 \
  X(PG_BYTEA, "bytea", 17, 1001)               \
  X(PG_INT8, "int8", 20, 1016)                 \
  X(PG_INT2, "int2", 21, 1005)                 \
  X(PG_INT4, "int4", 23, 1007)                 \
  X(PG_TEXT, "text", 25, 1009)                 \
  X(PG_FLOAT8, "float8", 701, 1022)            \
  X(PG_TIMESTAMPTZ, "timestamptz", 1184, 1185) \
  X(PG_UUID, "uuid", 2950, 2951)               \
  X(PG_JSONB, "jsonb", 3802, 3807)

enum pg_type {
#define X(type, name, oid, array_oid) type,
  PG_TYPES(X)
#undef X
      PG_TYPE_COUNT,
  PG_ARRAY = 64 /* added to one of the above: an array of it */
};

uint32_t pg_type_oid(enum pg_type type);
/* "int8[]"; a text that lives for ever */
const char *pg_type_name(enum pg_type type);

#endif
