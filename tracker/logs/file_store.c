#include "tracker/logs/file_store.h"

#include "base/mem.h"
#include "storage/metrics/metric_store.h"
#include "storage/pg/pg.h"
#include "tracker/logs/found_write.h"

struct storing {
  struct work work;
  struct log_store *store;
  struct file_store_piece what; /* texts are in `path` and `bytes` */
  char *path, *bytes;
  struct buf before, state; /* of the reader: as stored, and the new one */
  struct found_points found;
  struct found_write points;
  int64_t next, stored_next, came_ms;
  struct err err;
  log_points_fn *on_points;
  void *points_ctx;
  bool has_given;
  file_piece_fn *done;
  void *ctx;
};

static void storing_free(struct storing *s) {
  metric_sources_unref(s->what.sources);
  mem_free(s->path);
  mem_free(s->bytes);
  buf_release(&s->before);
  buf_release(&s->state);
  metric_rows_release(&s->points.rows);
  found_points_release(&s->found);
  mem_free(s);
}

static uint32_t source_id(struct str path) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < path.n; i++)
    hash = (hash ^ (unsigned char)path.p[i]) * 16777619u;
  return hash < LOG_STREAMS ? hash + LOG_STREAMS : hash;
}

static void end(struct storing *s, const struct err *err) {
  if (!err && s->on_points && s->found.count)
    s->on_points(s->points_ctx, source_id(s->what.path), s->found.items, s->found.count);
  s->done(s->ctx, s->next, s->has_given, err);
  storing_free(s);
}

static void on_stored(void *ctx, const struct pg_reply *reply) {
  struct storing *s = ctx;
  struct err err;
  bool ok = found_write_done(&s->points, reply, &err);
  end(s, ok ? NULL : &err);
}

static bool send_rows(struct storing *s, struct err *err) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  if (s->found.count > METRIC_ROWS_MAX)
    return err_set(err, ERR_TOO_LARGE, "a piece of a metric file holds more than %d points", METRIC_ROWS_MAX);
  const struct log_store_conf *parts = log_store_parts(s->store);
  struct pg_args *args = pg_batch_add(&batch, STMT_LOG_FILE_MOVE);
  pg_put_uuid(args, s->what.run);
  pg_put_int(args, s->what.attempt);
  pg_put_int(args, (int64_t)s->what.source);
  pg_put_text(args, s->what.path);
  pg_put_int(args, s->stored_next);
  pg_put_bytea(args, buf_str(&s->state));
  pg_put_bytea(args, s->before.n ? buf_str(&s->before) : STR_NONE);
  if (s->found.count && !found_write_put(s->store, s->what.run, s->what.attempt, &s->found, &s->points, &batch, err))
    return false;
  if (pg_run_batch(parts->pg, &batch, 0, on_stored, s, err))
    return true;
  struct err ignored;
  bool stored UNUSED = found_write_done(&s->points, NULL, &ignored);
  return false;
}

static void on_read(struct work *work, bool cancelled) {
  struct storing *s = CONTAINER_OF(work, struct storing, work);
  struct err err = s->err;
  if (cancelled)
    err_set(&err, ERR_CANCELLED, "the service is stopping");
  if (err.code != ERR_NONE || !send_rows(s, &err))
    end(s, &err);
}

/* On a thread of the pool. */
static void run_piece(struct work *work) {
  struct storing *s = CONTAINER_OF(work, struct storing, work);
  struct file_reader *reader = file_reader_new(s->what.sources, s->what.source, &s->err);
  struct err ignored; /* a state of another version: the file is read from its beginning */
  if (!reader)
    return;
  if (s->before.n && !file_reader_restore(reader, buf_str(&s->before), &ignored)) {
    file_reader_free(reader);
    reader = file_reader_new(s->what.sources, s->what.source, &s->err);
    if (!reader)
      return;
  }
  if (!file_reader_feed(reader, &s->what.piece, found_points_take, &s->found, &s->next, &s->err)) {
    s->next = file_reader_next(reader);
  } else {
    s->err.code = ERR_NONE;
    s->stored_next = file_reader_next(reader);
    s->has_given = file_reader_has_given(reader);
    file_reader_save(reader, &s->state);
    if (s->state.fail)
      err_no_memory(&s->err);
  }
  file_reader_free(reader);
}

static void on_state(void *ctx, const struct pg_reply *reply) {
  struct storing *s = ctx;
  struct err err;
  const struct log_store_conf *parts = log_store_parts(s->store);
  bool ok = pg_ok(reply, &err);
  if (ok && pg_rows(reply)) {
    buf_add_str(&s->before, pg_bytea(reply, 0, 0));
    ok = buf_ok(&s->before, &err);
  }
  s->found.time = s->came_ms - s->what.age_ms;
  s->work = (struct work){.run = run_piece, .done = on_read};
  if (!ok || !work_submit(parts->work, &s->work, &err))
    end(s, &err);
}

bool file_store_piece(struct log_store *store, const struct file_store_piece *piece, log_points_fn *on_points, void *points_ctx,
                      file_piece_fn *done, void *ctx, struct err *err) {
  bool is_file = piece->source < metric_sources_count(piece->sources) && metric_sources_at(piece->sources, piece->source)->file;
  if (!is_file || !piece->path.n || piece->path.n > FILE_PATH_MAX || piece->piece.bytes.n > FILE_PIECE_MAX || piece->piece.offset < 0)
    return err_set(err, ERR_INVALID, "there is no such source of metrics, or its path or piece is too long");
  struct storing *s = mem_zalloc(sizeof *s);
  if (!s)
    return err_no_memory(err);
  *s = (struct storing){.store = store,
                        .what = *piece,
                        .came_ms = clock_wall_ms(loop_clock(log_store_parts(store)->loop)),
                        .before = BUF_INIT(FILE_READER_STATE_MAX),
                        .state = BUF_INIT(FILE_READER_STATE_MAX),
                        .found = FOUND_POINTS_INIT,
                        .on_points = on_points,
                        .points_ctx = points_ctx,
                        .done = done,
                        .ctx = ctx};
  s->what.sources = metric_sources_ref(piece->sources);
  s->path = mem_strndup(piece->path.p, piece->path.n);
  s->bytes = mem_alloc(MAX_OF(piece->piece.bytes.n, (size_t)1));
  bool ok = (s->path && s->bytes) || err_no_memory(err);
  if (ok) {
    if (piece->piece.bytes.n)
      memcpy(s->bytes, piece->piece.bytes.p, piece->piece.bytes.n);
    s->what.path = str_of(s->path);
    s->what.piece.bytes = str_n(s->bytes, piece->piece.bytes.n);
    AUTO_PG_ARGS struct pg_args args;
    pg_args_init(&args, STMT_LOG_FILE_STATE);
    pg_put_uuid(&args, piece->run);
    pg_put_int(&args, piece->attempt);
    pg_put_int(&args, (int64_t)piece->source);
    pg_put_text(&args, piece->path);
    ok = pg_run(log_store_parts(store)->pg, &args, 0, on_state, s, err);
  }
  if (!ok)
    storing_free(s);
  return ok;
}
