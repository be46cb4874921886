/* Typed reading of what came back. */
#include "storage/pg/pq.h"

#include "storage/pg/pg_op.h"

#include <math.h>

#include "base/log.h"
#include "storage/pg/pg_wire.h"

enum pg_outcome pg_outcome(const struct pg_reply *reply) {
  return reply->outcome;
}

const struct err *pg_err(const struct pg_reply *reply) {
  static const struct err none;
  return reply->outcome == PG_DONE ? &none : &reply->failure->err;
}

bool pg_ok(const struct pg_reply *reply, struct err *err) {
  if (reply->outcome == PG_DONE)
    return true;
  if (err)
    *err = reply->failure->err;
  return false;
}

const char *pg_sqlstate(const struct pg_reply *reply) {
  return reply->outcome == PG_DONE ? "" : reply->failure->sqlstate;
}

size_t pg_rows(const struct pg_reply *reply) {
  return reply->rows ? (size_t)PQntuples(reply->rows) : 0;
}

const struct pg_reply *pg_nth(const struct pg_reply *reply, size_t i) {
  if (i >= reply->part_count) {
    log_error("storage", NULL, "part %zu of a reply that has %zu was read", i, reply->part_count);
    log_flush();
    abort(); /* a mistake of ours */
  }
  return &reply->parts[i];
}

bool pg_shape_check(const struct stmt_info *shape, const PGresult *rows, struct err *err) {
  int columns = PQnfields(rows);
  if (PQresultStatus(rows) == PGRES_COMMAND_OK)
    columns = 0;
  if (columns != shape->result_count)
    return err_set(err, ERR_INTERNAL, "%s (%s) declares %u columns, the database gives %d", shape->name, shape->where, shape->result_count,
                   columns);
  for (int i = 0; i < columns; i++)
    if (PQftype(rows, i) != pg_type_oid(shape->results[i]) || PQfformat(rows, i) != 1)
      return err_set(err, ERR_INTERNAL, "column %d of %s (%s) is declared %s, the database gives type %u", i + 1, shape->name, shape->where,
                     pg_type_name(shape->results[i]), PQftype(rows, i));
  return true;
}

/* ---- one value ---- */

struct value {
  const char *p; /* NULL: null */
  size_t n;
};

static NORETURN void misread(const struct pg_reply *reply, size_t row, size_t column, const char *as) {
  log_error("storage", NULL, "row %zu, column %zu of %s (%zu rows) was read as %s", row, column, reply->shape ? reply->shape->name : "?",
            pg_rows(reply), as);
  log_flush();
  abort(); /* a mistake of ours, which no input can cause */
}

static enum pg_type type_at(const struct pg_reply *reply, size_t row, size_t column, const char *as) {
  if (row >= pg_rows(reply) || column >= reply->shape->result_count)
    misread(reply, row, column, as);
  return reply->shape->results[column];
}

static struct value raw(const struct pg_reply *reply, size_t row, size_t column) {
  int r = (int)row, c = (int)column;
  if (PQgetisnull(reply->rows, r, c))
    return (struct value){NULL, 0};
  return (struct value){PQgetvalue(reply->rows, r, c), (size_t)PQgetlength(reply->rows, r, c)};
}

static struct value value_at(const struct pg_reply *reply, size_t row, size_t column, enum pg_type type) {
  if (type_at(reply, row, column, pg_type_name(type)) != type)
    misread(reply, row, column, pg_type_name(type));
  return raw(reply, row, column);
}

/* The server keeps its word on sizes; a value that does not have its type's reads as null. */
static int64_t to_int(struct value v) {
  if (!v.p)
    return 0;
  switch (v.n) {
  case 2:
    return (int16_t)wire_u16(v.p);
  case 4:
    return (int32_t)wire_u32(v.p);
  case 8:
    return (int64_t)wire_u64(v.p);
  default:
    return 0;
  }
}

static double to_float8(struct value v) {
  if (!v.p || v.n != 8)
    return NAN;
  uint64_t bits = wire_u64(v.p);
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static struct id to_uuid(struct value v) {
  struct id id = {{0}};
  if (v.p && v.n == sizeof id.bytes)
    memcpy(id.bytes, v.p, sizeof id.bytes);
  return id;
}

static int64_t to_time(struct value v) {
  if (!v.p || v.n != 8)
    return INT64_MIN;
  int64_t us = (int64_t)wire_u64(v.p);
  if (us == INT64_MAX || us == INT64_MIN)
    return us;
  int64_t ms = us / 1000 - (us % 1000 < 0); /* towards the past, before 2000 as well */
  return ms + PG_EPOCH_MS;
}

static struct str to_jsonb(struct value v) {
  return v.p && v.n ? str_n(v.p + 1, v.n - 1) : STR_NONE;
}

bool pg_is_null(const struct pg_reply *reply, size_t row, size_t column) {
  type_at(reply, row, column, "null");
  return PQgetisnull(reply->rows, (int)row, (int)column);
}

bool pg_bool(const struct pg_reply *reply, size_t row, size_t column) {
  struct value v = value_at(reply, row, column, PG_BOOL);
  return v.p && *v.p;
}

static bool is_int(enum pg_type type) {
  return type == PG_INT2 || type == PG_INT4 || type == PG_INT8;
}

int64_t pg_int(const struct pg_reply *reply, size_t row, size_t column) {
  if (!is_int(type_at(reply, row, column, "an integer")))
    misread(reply, row, column, "an integer");
  return to_int(raw(reply, row, column));
}

double pg_float8(const struct pg_reply *reply, size_t row, size_t column) {
  return to_float8(value_at(reply, row, column, PG_FLOAT8));
}

struct str pg_text(const struct pg_reply *reply, size_t row, size_t column) {
  struct value v = value_at(reply, row, column, PG_TEXT);
  return str_n(v.p, v.n);
}

struct str pg_bytea(const struct pg_reply *reply, size_t row, size_t column) {
  struct value v = value_at(reply, row, column, PG_BYTEA);
  return str_n(v.p, v.n);
}

struct str pg_jsonb(const struct pg_reply *reply, size_t row, size_t column) {
  return to_jsonb(value_at(reply, row, column, PG_JSONB));
}

struct id pg_uuid(const struct pg_reply *reply, size_t row, size_t column) {
  return to_uuid(value_at(reply, row, column, PG_UUID));
}

int64_t pg_time(const struct pg_reply *reply, size_t row, size_t column) {
  return to_time(value_at(reply, row, column, PG_TIMESTAMPTZ));
}

/* ---- arrays ---- */

struct pg_array pg_array(const struct pg_reply *reply, size_t row, size_t column) {
  enum pg_type type = type_at(reply, row, column, "an array");
  if (!(type & PG_ARRAY))
    misread(reply, row, column, "an array");
  struct pg_array array = {.type = type & ~(unsigned)PG_ARRAY};
  struct value v = raw(reply, row, column);
  /* dimensions, has null, element type, then (length, lower bound) a dimension */
  if (!v.p || v.n < 12 || wire_u32(v.p) == 0)
    return array;
  size_t dimensions = wire_u32(v.p), head = 12;
  size_t count = 1;
  for (size_t d = 0; d < dimensions; d++, head += 8) {
    if (v.n - head < 8)
      return array;
    count *= wire_u32(v.p + head);
  }
  array.left = count;
  array.p = v.p + head;
  array.end = v.p + v.n;
  return array;
}

bool pg_array_next(struct pg_array *array) {
  if (!array->left || array->end - array->p < 4)
    return false;
  array->left--;
  int32_t size = (int32_t)wire_u32(array->p);
  array->p += 4;
  array->item = NULL;
  array->item_size = 0;
  if (size < 0)
    return true;
  if (array->end - array->p < size) {
    array->left = 0;
    return false;
  }
  array->item = array->p;
  array->item_size = (size_t)size;
  array->p += size;
  return true;
}

static struct value item(const struct pg_array *array, bool fits, const char *as) {
  if (!fits) {
    log_error("storage", NULL, "an item of %s[] was read as %s", pg_type_name(array->type), as);
    log_flush();
    abort(); /* a mistake of ours */
  }
  return (struct value){array->item, array->item_size};
}

bool pg_item_is_null(const struct pg_array *array) {
  return !array->item;
}

int64_t pg_item_int(const struct pg_array *array) {
  return to_int(item(array, is_int(array->type), "an integer"));
}

double pg_item_float8(const struct pg_array *array) {
  return to_float8(item(array, array->type == PG_FLOAT8, "float8"));
}

struct str pg_item_text(const struct pg_array *array) {
  bool fits = array->type == PG_TEXT || array->type == PG_BYTEA || array->type == PG_JSONB;
  struct value v = item(array, fits, "text");
  return array->type == PG_JSONB ? to_jsonb(v) : str_n(v.p, v.n);
}

struct id pg_item_uuid(const struct pg_array *array) {
  return to_uuid(item(array, array->type == PG_UUID, "uuid"));
}
