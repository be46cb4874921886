/* Arguments in Postgres' binary format. */
#include "base/mem.h"
#include "storage/pg/pg.h"
#include "storage/pg/pg_wire.h"

/* Of one statement; a larger value belongs into an artifact, or into several statements. */
#define ARGS_BYTES_MAX (64 * MIB)
/* dimensions, has null, element type, length, lower bound */
enum { ARRAY_HEAD = 20 };

void pg_args_init(struct pg_args *args, enum stmt stmt) {
  args->stmt = stmt;
  args->fail = stmt_info(stmt) ? ERR_NONE : ERR_INTERNAL;
  args->count = 0;
  args->items = args->items_at = 0;
  args->in_array = args->array_has_null = false;
  buf_init(&args->bytes, ARGS_BYTES_MAX);
}

void pg_args_release(struct pg_args *args) {
  buf_release(&args->bytes);
  args->count = 0;
}

static void fail(struct pg_args *args, enum err_code code) {
  if (args->fail == ERR_NONE)
    args->fail = code;
}

/* The declared type of what is put next; PG_TYPE_COUNT when nothing may be. */
static enum pg_type wanted(struct pg_args *args) {
  const struct stmt_info *info = stmt_info(args->stmt);
  if (args->fail != ERR_NONE || args->count >= info->param_count) {
    fail(args, ERR_INTERNAL);
    return PG_TYPE_COUNT;
  }
  enum pg_type type = info->params[args->count];
  bool is_array = type & PG_ARRAY;
  if (is_array != args->in_array) {
    fail(args, ERR_INTERNAL);
    return PG_TYPE_COUNT;
  }
  return type & ~(unsigned)PG_ARRAY;
}

/* Room for the next value's bytes, its length noted. NULL after a failure. */
static char *place(struct pg_args *args, size_t size) {
  size_t prefix = args->in_array ? 4 : 0;
  char *room = buf_room(&args->bytes, prefix + size);
  if (!room) {
    fail(args, args->bytes.fail);
    return NULL;
  }
  if (args->in_array) {
    wire_put_u32(room, (uint32_t)size);
    args->items++;
  } else {
    args->params[args->count].at = (uint32_t)args->bytes.n;
    args->params[args->count].size = (int32_t)size;
    args->count++;
  }
  buf_grew(&args->bytes, prefix + size);
  return room + prefix;
}

static bool accepts(struct pg_args *args, enum pg_type type) {
  enum pg_type want = wanted(args);
  if (want == type)
    return true;
  fail(args, ERR_INTERNAL);
  return false;
}

void pg_put_null(struct pg_args *args) {
  const struct stmt_info *info = stmt_info(args->stmt);
  if (args->fail != ERR_NONE || args->count >= info->param_count) {
    fail(args, ERR_INTERNAL);
    return;
  }
  if (!args->in_array) {
    args->params[args->count].at = 0;
    args->params[args->count].size = -1;
    args->count++;
    return;
  }
  char *room = buf_room(&args->bytes, 4);
  if (!room) {
    fail(args, args->bytes.fail);
    return;
  }
  wire_put_u32(room, UINT32_MAX);
  buf_grew(&args->bytes, 4);
  args->items++;
  args->array_has_null = true;
}

void pg_put_bool(struct pg_args *args, bool value) {
  char *room = accepts(args, PG_BOOL) ? place(args, 1) : NULL;
  if (room)
    *room = value;
}

void pg_put_int(struct pg_args *args, int64_t value) {
  static const struct {
    int64_t min, max;
    size_t size;
  } ints[PG_TYPE_COUNT] = {
      [PG_INT2] = {INT16_MIN, INT16_MAX, 2},
      [PG_INT4] = {INT32_MIN, INT32_MAX, 4},
      [PG_INT8] = {INT64_MIN, INT64_MAX, 8},
  };
  enum pg_type type = wanted(args);
  if (type == PG_TYPE_COUNT || !ints[type].size || value < ints[type].min || value > ints[type].max) {
    fail(args, ERR_INTERNAL);
    return;
  }
  char *room = place(args, ints[type].size);
  if (!room)
    return;
  if (type == PG_INT2)
    wire_put_u16(room, (uint16_t)value);
  else if (type == PG_INT4)
    wire_put_u32(room, (uint32_t)value);
  else
    wire_put_u64(room, (uint64_t)value);
}

static void put_u64(char *room, const void *eight_bytes) {
  uint64_t bits;
  memcpy(&bits, eight_bytes, sizeof bits);
  wire_put_u64(room, bits);
}

void pg_put_float8(struct pg_args *args, double value) {
  char *room = accepts(args, PG_FLOAT8) ? place(args, 8) : NULL;
  if (room)
    put_u64(room, &value);
}

void pg_put_int_if(struct pg_args *args, bool has, int64_t value) {
  if (has)
    pg_put_int(args, value);
  else
    pg_put_null(args);
}

void pg_put_float8_if(struct pg_args *args, bool has, double value) {
  if (has)
    pg_put_float8(args, value);
  else
    pg_put_null(args);
}

static void put_bytes(struct pg_args *args, struct str value) {
  char *room = place(args, value.n);
  if (room && value.n)
    memcpy(room, value.p, value.n);
}

void pg_put_text(struct pg_args *args, struct str value) {
  if (!value.p) {
    pg_put_null(args);
    return;
  }
  if (!accepts(args, PG_TEXT))
    return;
  if (str_find(value, 0) != SIZE_MAX || !str_is_utf8(value))
    fail(args, ERR_INVALID);
  else
    put_bytes(args, value);
}

void pg_put_bytea(struct pg_args *args, struct str value) {
  if (!value.p)
    pg_put_null(args);
  else if (accepts(args, PG_BYTEA))
    put_bytes(args, value);
}

void pg_put_uuid(struct pg_args *args, struct id value) {
  char *room = accepts(args, PG_UUID) ? place(args, sizeof value.bytes) : NULL;
  if (room)
    memcpy(room, value.bytes, sizeof value.bytes);
}

void pg_put_jsonb(struct pg_args *args, struct str json) {
  if (!json.p) {
    pg_put_null(args);
    return;
  }
  char *room = accepts(args, PG_JSONB) ? place(args, json.n + 1) : NULL;
  if (!room)
    return;
  *room = 1; /* version of the format */
  memcpy(room + 1, json.p, json.n);
}

void pg_put_time(struct pg_args *args, int64_t wall_ms) {
  char *room = accepts(args, PG_TIMESTAMPTZ) ? place(args, 8) : NULL;
  if (!room)
    return;
  int64_t us = wall_ms;
  if (wall_ms != INT64_MAX && wall_ms != INT64_MIN &&
      (__builtin_sub_overflow(wall_ms, PG_EPOCH_MS, &us) || __builtin_mul_overflow(us, 1000, &us)))
    fail(args, ERR_INVALID);
  wire_put_u64(room, (uint64_t)us);
}

void pg_begin_array(struct pg_args *args) {
  const struct stmt_info *info = stmt_info(args->stmt);
  if (args->fail != ERR_NONE || args->in_array || args->count >= info->param_count || !(info->params[args->count] & PG_ARRAY)) {
    fail(args, ERR_INTERNAL);
    return;
  }
  char *room = buf_room(&args->bytes, ARRAY_HEAD);
  if (!room) {
    fail(args, args->bytes.fail);
    return;
  }
  args->in_array = true;
  args->array_has_null = false;
  args->items = 0;
  args->items_at = (uint32_t)args->bytes.n;
  buf_grew(&args->bytes, ARRAY_HEAD);
}

void pg_end_array(struct pg_args *args) {
  if (args->fail != ERR_NONE || !args->in_array) {
    fail(args, ERR_INTERNAL);
    return;
  }
  enum pg_type item = stmt_info(args->stmt)->params[args->count] & ~(unsigned)PG_ARRAY;
  char *head = args->bytes.p + args->items_at;
  wire_put_u32(head, args->items > 0); /* dimensions: an empty array has none, and its head ends after the type */
  wire_put_u32(head + 4, args->array_has_null);
  wire_put_u32(head + 8, pg_type_oid(item));
  wire_put_u32(head + 12, args->items);
  wire_put_u32(head + 16, 1);
  if (!args->items)
    buf_cut(&args->bytes, args->items_at + 12);
  args->params[args->count].at = args->items_at;
  args->params[args->count].size = (int32_t)(args->bytes.n - args->items_at);
  args->count++;
  args->in_array = false;
}

static void put_eights(struct pg_args *args, enum pg_type type, const void *values, size_t count) {
  pg_begin_array(args);
  if (!accepts(args, type))
    return;
  if (count > ARGS_BYTES_MAX / 12) {
    fail(args, ERR_TOO_LARGE);
    return;
  }
  char *room = count ? buf_room(&args->bytes, count * 12) : NULL;
  if (count && !room) {
    fail(args, args->bytes.fail);
    return;
  }
  for (size_t i = 0; i < count; i++) {
    wire_put_u32(room + i * 12, 8);
    put_u64(room + i * 12 + 4, (const char *)values + i * 8);
  }
  if (count)
    buf_grew(&args->bytes, count * 12);
  args->items = (uint32_t)count;
  pg_end_array(args);
}

void pg_put_int8s(struct pg_args *args, const int64_t *values, size_t count) {
  put_eights(args, PG_INT8, values, count);
}

void pg_put_float8s(struct pg_args *args, const double *values, size_t count) {
  put_eights(args, PG_FLOAT8, values, count);
}

/* ---- batches ---- */

void pg_batch_release(struct pg_batch *batch) {
  for (size_t i = 0; i < batch->count; i++)
    pg_args_release(&batch->items[i]);
  mem_free(batch->items);
  pg_args_release(&batch->spare);
  *batch = PG_BATCH_INIT;
}

static bool batch_grow(struct pg_batch *batch) {
  if (batch->count < batch->cap)
    return true;
  size_t cap = MIN_OF(MAX_OF(batch->cap * 2, (size_t)4), (size_t)PG_BATCH_MAX);
  if (cap == batch->count) {
    batch->fail = ERR_TOO_LARGE;
    return false;
  }
  struct pg_args *items = mem_resize(batch->items, cap, sizeof *items);
  if (!items) {
    batch->fail = ERR_NO_MEMORY;
    return false;
  }
  batch->items = items;
  batch->cap = cap;
  return true;
}

struct pg_args *pg_batch_add(struct pg_batch *batch, enum stmt stmt) {
  struct pg_args *args = &batch->spare;
  if (batch->fail == ERR_NONE && batch_grow(batch))
    args = &batch->items[batch->count++];
  else
    pg_args_release(&batch->spare);
  pg_args_init(args, stmt);
  return args;
}
