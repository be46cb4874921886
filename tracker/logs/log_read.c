/* Stored output, read back. */
#include <zstd.h>

#include "base/mem.h"
#include "storage/pg/pg.h"
#include "tracker/logs/log_store.h"

enum { PIECES_MAX = 64 * 1024 * 1024 };

struct log_reading {
  struct log_store *store;
  struct id run;
  int32_t attempt;
  enum log_stream_name stream;
  int64_t from, to, end; /* `to`: of what is asked for at once */
  size_t limit;
  log_read_fn *done;
  void *ctx;
};

bool log_piece_unpack(struct str stored, bool is_packed, size_t size, char **ret_room, struct str *ret, struct err *err) {
  *ret = stored;
  if (is_packed) {
    *ret_room = mem_alloc(size);
    if (!*ret_room)
      return err_no_memory(err);
    *ret = str_n(*ret_room, ZSTD_decompress(*ret_room, size, stored.p, stored.n));
  }
  return ret->n == size || err_set(err, ERR_INTERNAL, "a stored piece of output cannot be read"); /* an error of zstd is beyond any size */
}

/* Adds the part of the row's bytes that was asked for; false at the limit or when the row cannot be read. */
static bool add_row(const struct pg_reply *reply, size_t row, const struct log_reading *reading, struct buf *out, struct log_bytes *bytes,
                    struct err *err) {
  int64_t start = pg_int(reply, row, 0);
  size_t size = (size_t)pg_int(reply, row, 1);
  struct str data;
  AUTO_FREE char *room = NULL;
  if (!log_piece_unpack(pg_bytea(reply, row, 5), pg_bool(reply, row, 4), size, &room, &data, err))
    return false;
  size_t skip = start < reading->from ? (size_t)(reading->from - start) : 0;
  size_t until = start + (int64_t)size > reading->to ? (size_t)(reading->to - start) : size;
  struct str wanted = str_slice(data, skip, until);
  if (out->n == 0)
    bytes->from = start + (int64_t)skip;
  wanted = str_slice(wanted, 0, reading->limit - out->n);
  buf_add_str(out, wanted);
  bytes->next = start + (int64_t)(skip + wanted.n);
  return buf_ok(out, err);
}

static bool ask_pieces(struct log_reading *reading, struct err *err);

static void end_reading(struct log_reading *reading, const struct log_bytes *bytes, const struct err *err) {
  reading->done(reading->ctx, err ? NULL : bytes, err);
  mem_free(reading);
}

static void on_next_piece(void *ctx, const struct pg_reply *reply) {
  struct log_reading *reading = ctx;
  const struct log_bytes none = {.from = reading->from, .next = reading->from, .bytes = STR("")};
  struct err err;
  bool ok = pg_ok(reply, &err);
  if (!ok || !pg_rows(reply) || pg_int(reply, 0, 0) >= reading->end) {
    end_reading(reading, &none, ok ? NULL : &err);
    return;
  }
  reading->from = pg_int(reply, 0, 0);
  if (!ask_pieces(reading, &err))
    end_reading(reading, NULL, &err);
}

/* Nothing is kept of what was asked for: on with what comes after it. */
static bool ask_next_piece(struct log_reading *reading, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_LOG_NEXT_PIECE);
  pg_put_uuid(&args, reading->run);
  pg_put_int(&args, reading->attempt);
  pg_put_int(&args, reading->stream);
  pg_put_int(&args, reading->to);
  return pg_run(log_store_parts(reading->store)->pg, &args, 0, on_next_piece, reading, err);
}

static void on_pieces(void *ctx, const struct pg_reply *reply) {
  struct log_reading *reading = ctx;
  AUTO_BUF struct buf out = BUF_INIT(PIECES_MAX);
  struct log_bytes bytes = {.from = reading->from, .next = reading->from};
  struct err err;
  bool ok = pg_ok(reply, &err);
  for (size_t row = 0; ok && row < pg_rows(reply) && out.n < reading->limit; row++)
    ok = add_row(reply, row, reading, &out, &bytes, &err);
  bytes.bytes = buf_str(&out);
  if (ok && !out.n && reading->limit && reading->to < reading->end) {
    ok = ask_next_piece(reading, &err);
    if (ok)
      return;
  }
  end_reading(reading, &bytes, ok ? NULL : &err);
}

static bool ask_pieces(struct log_reading *reading, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  /* Pieces are small where a run prints little: the span bounds what one answer of the database may hold. */
  reading->to = MIN_OF(reading->end, reading->from + (int64_t)reading->limit);
  pg_args_init(&args, STMT_LOG_PIECES);
  pg_put_uuid(&args, reading->run);
  pg_put_int(&args, reading->attempt);
  pg_put_int(&args, reading->stream);
  pg_put_int(&args, reading->from);
  pg_put_int(&args, reading->to);
  return pg_run(log_store_parts(reading->store)->pg, &args, 0, on_pieces, reading, err);
}

bool log_store_read(struct log_store *store, struct id run, int32_t attempt, enum log_stream_name stream, int64_t from, int64_t to,
                    size_t limit, log_read_fn *done, void *ctx, struct err *err) {
  struct log_reading *reading = mem_alloc(sizeof *reading);
  if (!reading)
    return err_no_memory(err);
  *reading = (struct log_reading){.store = store,
                                  .run = run,
                                  .attempt = attempt,
                                  .stream = stream,
                                  .from = MAX_OF(from, (int64_t)0),
                                  .end = to,
                                  .limit = MIN_OF(limit, (size_t)PIECES_MAX / 2),
                                  .done = done,
                                  .ctx = ctx};
  if (ask_pieces(reading, err))
    return true;
  mem_free(reading);
  return false;
}
