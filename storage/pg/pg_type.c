#include "storage/pg/pg_type.h"

static const struct {
  const char *name, *array_name;
  uint32_t oid, array_oid;
} types[PG_TYPE_COUNT] = {
#define X(type, name, oid, array_oid) [type] = {name, name "[]", oid, array_oid},
    PG_TYPES(X)
#undef X
};

uint32_t pg_type_oid(enum pg_type type) {
  return type & PG_ARRAY ? types[type & ~(unsigned)PG_ARRAY].array_oid : types[type].oid;
}

const char *pg_type_name(enum pg_type type) {
  return type & PG_ARRAY ? types[type & ~(unsigned)PG_ARRAY].array_name : types[type].name;
}
