#include "tracker/logs/log_store.h"

#include <math.h>
#include <zstd.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/mem.h"
#include "storage/metrics/metric_store.h"
#include "storage/pg/pg.h"
#include "tracker/logs/found_write.h"
#include "tracker/logs/log_metrics.h"
#include "tracker/logs/stream_sources.h"

enum {
  STATE_EVERY = 64 * 1024, /* bytes of a stream between two notes of the reader's state */
  PACK_FROM = 200,         /* shorter pieces are not worth compressing */
  PACK_LEVEL = 3,
  KEYS_MAX = 8192, /* of a stream */
  SOURCES_ROOM = 256 * 1024,
  CLOCK_STEP_MS = 60000, /* so far back the clock has been set */
};

struct log_store {
  struct log_store_conf conf;
  struct list watches;
};

enum stream_state {
  STREAM_BROKEN, /* its reader could not follow, or has not begun: its state is read before the next write */
  STREAM_READY,
  STREAM_BUSY, /* a piece is on the thread pool or on its way into the database */
};

struct stream {
  struct log_writer *writer;
  enum log_stream_name name;
  enum stream_state state;
  struct log_metrics *reader;
  struct map keys;  /* of the points that were read; the values mean nothing */
  int64_t next;     /* stored up to here */
  int64_t lost;     /* so much of that was given up before it came */
  int64_t state_at; /* the reader's state is stored as of here */
  bool is_there;    /* it has a row, and so what it is read with is noted, if ever */

  /* The write in flight. */
  struct work work;
  char *bytes; /* owned */
  size_t n;
  int64_t start, skipped;
  int64_t given_up; /* of the skipped bytes, those in whose place nothing is stored */
  int64_t time;     /* when its bytes came; without any, the last ones before */
  int64_t before;   /* bytes of both streams before this piece, but for those that were given up */
  bool is_end;      /* the last line is read too */
  bool is_kept;     /* the piece is stored; else it is only read */
  struct buf packed, reader_state;
  bool is_packed, has_state;
  struct found_points found;
  struct found_sum sum;
  bool failed; /* the reader ran out of memory */
  struct found_write points;
  char summary[200];
  log_write_fn *done;
  void *done_ctx;
  /* A write that came before the stream's place was known. */
  bool waiting;
  int64_t asked_offset, asked_time;
};

struct log_writer {
  struct log_store *store;
  struct id run;
  int32_t attempt;
  struct metric_sources *sources;
  int64_t log_max; /* 0: none */
  log_points_fn *on_points;
  void *ctx;
  struct stream streams[LOG_STREAMS];
  bool closed;
  bool asking;        /* where the streams stand; until that is known no write begins */
  unsigned in_flight; /* callbacks that will still come to this writer */
  struct loop_defer release;
  log_write_fn *finished;
  void *finished_ctx;
  unsigned finishing; /* streams whose end is not read yet */
  struct err finish_err;
  size_t replaying; /* which stream's pieces are being read */
};

bool log_stream_parse(struct str text, enum log_stream_name *ret) {
  if (str_is(text, "stdout"))
    *ret = LOG_STDOUT;
  else if (str_is(text, "stderr"))
    *ret = LOG_STDERR;
  else
    return false;
  return true;
}

struct log_store *log_store_new(const struct log_store_conf *conf, struct err *err) {
  struct log_store *store = mem_zalloc(sizeof *store);
  if (!store) {
    err_no_memory(err);
    return NULL;
  }
  store->conf = *conf;
  return store;
}

void log_store_free(struct log_store *store) {
  mem_free(store);
}

const struct log_store_conf *log_store_parts(const struct log_store *store) {
  return &store->conf;
}

void log_store_watch(struct log_store *store, struct log_watch *watch) {
  list_push_back(&store->watches, &watch->node);
}

void log_store_unwatch(struct log_watch *watch) {
  list_remove(&watch->node);
}

static void tell_watches(const struct log_writer *writer) {
  LIST_EACH(&writer->store->watches, node) {
    const struct log_watch *watch = LIST_ENTRY(node, struct log_watch, node);
    if (id_eq(watch->run, writer->run))
      watch->fn(watch->ctx);
  }
}

/* ---- reading lines: on a thread of the pool, or on the loop ---- */

static void read_bytes(struct stream *stream, struct str bytes, bool is_end) {
  struct err err;
  stream->found.time = stream->time;
  if (!log_metrics_feed(stream->reader, bytes, found_points_take, &stream->found, &err) ||
      (is_end && !log_metrics_end(stream->reader, found_points_take, &stream->found, &err)))
    stream->failed = true;
}

static void pack(struct stream *stream) {
  stream->is_packed = false;
  if (stream->n < PACK_FROM)
    return;
  size_t room = ZSTD_compressBound(stream->n);
  char *out = buf_room(&stream->packed, room);
  size_t n = out ? ZSTD_compress(out, room, stream->bytes, stream->n, PACK_LEVEL) : 0;
  if (!out || ZSTD_isError(n) || n >= stream->n) {
    stream->packed.fail = ERR_NONE;
    return; /* stored as it is */
  }
  buf_grew(&stream->packed, n);
  stream->is_packed = true;
}

/* Beyond log_max nothing is kept. The piece that goes beyond ends with a mark, which takes the place of as many bytes. */
static void cut(struct stream *stream) {
  const struct log_writer *writer = stream->writer;
  int64_t before = stream->before, over = before + (int64_t)stream->n - writer->log_max;
  stream->is_kept = true;
  if (!writer->log_max || over <= 0)
    return;
  stream->is_kept = before < writer->log_max;
  if (!stream->is_kept)
    return;
  char mark[120];
  size_t n =
      (size_t)snprintf(mark, sizeof mark, "\n[winnow: output beyond log_max, %lld bytes, is not kept]\n", (long long)writer->log_max);
  n = MIN_OF(n, stream->n);
  memcpy(stream->bytes + stream->n - n, mark, n);
}

static void run_piece(struct work *work) {
  struct stream *stream = CONTAINER_OF(work, struct stream, work);
  read_bytes(stream, str_n(stream->bytes, stream->n), stream->is_end);
  stream->sum = found_points_sum(&stream->found);
  cut(stream);
  if (stream->is_kept)
    pack(stream);
  int64_t end = stream->start + (int64_t)stream->n;
  if (stream->is_end || !stream->is_kept || end - stream->state_at >= STATE_EVERY) {
    log_metrics_save(stream->reader, &stream->reader_state);
    stream->has_state = stream->reader_state.fail == ERR_NONE;
  }
  log_metrics_summary(stream->reader, stream->summary, sizeof stream->summary);
}

/* ---- a write, from start to answer ---- */

static void free_piece(struct stream *stream) {
  mem_free(stream->bytes);
  stream->bytes = NULL;
  buf_release(&stream->packed);
  buf_release(&stream->reader_state);
  stream->packed = BUF_INIT(2 * LOG_PIECE_MAX);
  stream->reader_state = BUF_INIT(2 * LOG_METRICS_STATE_MAX + KIB);
  stream->has_state = stream->is_packed = false;
  metric_rows_release(&stream->points.rows);
  found_points_release(&stream->found);
  stream->failed = false;
}

static void release_writer(void *ctx) {
  struct log_writer *writer = ctx;
  for (size_t i = 0; i < LOG_STREAMS; i++) {
    free_piece(&writer->streams[i]);
    map_release(&writer->streams[i].keys);
    log_metrics_free(writer->streams[i].reader);
  }
  metric_sources_unref(writer->sources);
  mem_free(writer);
}

static void one_less(struct log_writer *writer) {
  if (--writer->in_flight == 0 && writer->closed)
    loop_defer(writer->store->conf.loop, &writer->release, release_writer, writer);
}

static void end_write(struct stream *stream, const struct err *err) {
  struct log_writer *writer = stream->writer;
  log_write_fn *done = stream->done;
  if (!err) {
    stream->is_there = true;
    stream->next = stream->start + (int64_t)stream->n;
    stream->lost += stream->given_up;
    if (stream->has_state)
      stream->state_at = stream->next;
    tell_watches(writer);
    if (writer->on_points && stream->found.count)
      writer->on_points(writer->ctx, stream->name, stream->found.items, stream->found.count);
  }
  stream->state = err ? STREAM_BROKEN : STREAM_READY;
  free_piece(stream);
  stream->done = NULL;
  done(stream->done_ctx, stream->next, err);
  one_less(writer);
}

static void on_stored(void *ctx, const struct pg_reply *reply) {
  struct stream *stream = ctx;
  struct err err;
  bool ok = found_write_done(&stream->points, reply, &err);
  end_write(stream, ok ? NULL : &err);
}

/* Keys that are new to the stream, as log_stream.keys has them. */
static void put_new_keys(struct stream *stream, struct pg_args *args) {
  pg_begin_array(args);
  for (size_t i = 0; i < stream->found.count; i++) {
    const struct found_point *p = &stream->found.items[i];
    char text[SERIES_KEY_MAX + 2];
    struct str key = str_n(text, (size_t)snprintf(text, sizeof text, "%c%.*s", p->time == stream->time ? '=' : '@', STR_ARG(p->key)));
    if (!map_get(&stream->keys, key) && map_put(&stream->keys, key, stream, NULL))
      pg_put_text(args, key);
  }
  pg_end_array(args);
}

/* By what the points can be told that the logs gave, should they be read anew. */
static void put_sources(struct stream *stream, struct pg_args *args) {
  AUTO_BUF struct buf text = BUF_INIT(SOURCES_ROOM);
  if (!stream->is_there)
    stream_sources_put(stream->writer->sources, stream->name, &text);
  pg_put_text(args, text.n && buf_ok(&text, NULL) ? buf_str(&text) : STR_NONE);
  pg_put_int(args, stream->sum.count);
  pg_put_int(args, (int64_t)stream->sum.mixed);
}

static void put_piece(struct stream *stream, struct pg_batch *batch) {
  struct log_writer *writer = stream->writer;
  if (stream->is_kept && (stream->n || stream->skipped)) {
    struct pg_args *args = pg_batch_add(batch, STMT_LOG_PIECE_ADD);
    pg_put_uuid(args, writer->run);
    pg_put_int(args, writer->attempt);
    pg_put_int(args, stream->name);
    pg_put_int(args, stream->start);
    pg_put_int(args, (int64_t)stream->n);
    pg_put_int(args, stream->time);
    pg_put_int(args, stream->skipped);
    pg_put_bool(args, stream->is_packed);
    pg_put_bytea(args, stream->is_packed ? buf_str(&stream->packed) : str_n(stream->bytes, stream->n));
  }
  struct pg_args *args = pg_batch_add(batch, STMT_LOG_STREAM_MOVE);
  pg_put_uuid(args, writer->run);
  pg_put_int(args, writer->attempt);
  pg_put_int(args, stream->name);
  pg_put_int(args, stream->start + (int64_t)stream->n);
  pg_put_int(args, stream->start + (int64_t)stream->n);
  pg_put_bytea(args, stream->has_state ? buf_str(&stream->reader_state) : STR_NONE);
  pg_put_text(args, str_of(stream->summary));
  pg_put_int(args, (int64_t)log_metrics_series(stream->reader));
  put_new_keys(stream, args);
  put_sources(stream, args);
  pg_put_int(args, stream->lost + stream->given_up);
}

static bool put_points(struct stream *stream, struct pg_batch *batch, struct err *err) {
  struct log_writer *writer = stream->writer;
  if (stream->failed)
    return err_no_memory(err);
  if (!stream->found.count)
    return true;
  return found_write_put(writer->store, writer->run, writer->attempt, &stream->found, &stream->points, batch, err);
}

static void on_piece(struct work *work, bool cancelled) {
  struct stream *stream = CONTAINER_OF(work, struct stream, work);
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  struct err err;
  bool ok = !cancelled || err_set(&err, ERR_CANCELLED, "the service is stopping");
  if (ok)
    put_piece(stream, &batch);
  ok = ok && put_points(stream, &batch, &err) && pg_run_batch(stream->writer->store->conf.pg, &batch, 0, on_stored, stream, &err);
  if (ok)
    return;
  struct err ignored;
  bool stored UNUSED = found_write_done(&stream->points, NULL, &ignored);
  end_write(stream, &err);
}

/* The last of the bytes that were given up are a mark, which is read and stored like them. */
static bool mark_gap(struct stream *stream, struct err *err) {
  char mark[120];
  size_t n = (size_t)snprintf(mark, sizeof mark, "\n[winnow: output was not taken in time, %lld bytes of it are left out here]\n",
                              (long long)stream->skipped);
  n = MIN_OF(n, (size_t)stream->skipped);
  stream->given_up = stream->skipped - (int64_t)n;
  char *bytes = n ? mem_alloc(n + stream->n) : NULL;
  if (!n)
    return true;
  if (!bytes)
    return err_no_memory(err);
  memcpy(bytes, mark, n);
  memcpy(bytes + n, stream->bytes, stream->n);
  mem_free(stream->bytes);
  stream->bytes = bytes;
  stream->n += n;
  stream->start -= (int64_t)n;
  return true;
}

/* Bytes that came. */
static int64_t taken(const struct stream *stream) {
  return stream->next - stream->lost;
}

/* The place of the stream is known, and the write's too: drops what is stored already, and goes. */
static bool begin_piece(struct stream *stream, struct err *err) {
  int64_t offset = stream->asked_offset, end = offset + (int64_t)stream->n;
  stream->waiting = false;
  if (offset > stream->next && stream->skipped < offset - stream->next)
    return err_set(err, ERR_RANGE, "bytes from %lld on are missing", (long long)stream->next);
  stream->skipped = MIN_OF(stream->skipped, MAX_OF(offset - stream->next, (int64_t)0));
  if (offset <= stream->next) {
    size_t known = (size_t)MIN_OF(stream->next - offset, (int64_t)stream->n);
    memmove(stream->bytes, stream->bytes + known, stream->n - known);
    stream->n -= known;
    offset += (int64_t)known;
  }
  stream->start = end < stream->next ? stream->next : offset;
  if (!mark_gap(stream, err))
    return false;
  stream->before = taken(stream) + taken(&stream->writer->streams[!stream->name]);
  if (stream->n || !stream->time)
    stream->time = stream->asked_time;
  stream->work = (struct work){.run = run_piece, .done = on_piece};
  stream->state = STREAM_BUSY;
  return work_submit(stream->writer->store->conf.work, &stream->work, err);
}

static void fail_piece(struct stream *stream, const struct err *err) {
  enum stream_state state = stream->state == STREAM_BUSY ? STREAM_READY : stream->state;
  struct log_writer *writer = stream->writer;
  log_write_fn *done = stream->done;
  stream->waiting = false;
  free_piece(stream);
  stream->done = NULL;
  stream->state = state;
  done(stream->done_ctx, stream->next, err);
  one_less(writer);
}

/* ---- where the streams stand ---- */

static bool fresh_reader(struct stream *stream, struct err *err) {
  struct log_pattern_spec specs[METRIC_SOURCES_MAX];
  struct log_metrics_options options;
  metric_sources_of_stream(stream->writer->sources, stream->name, specs, &options);
  log_metrics_free(stream->reader);
  stream->reader = log_metrics_new(&options, err);
  return stream->reader;
}

static void place_known(struct log_writer *writer, const struct err *err) {
  writer->asking = false;
  for (size_t i = 0; i < LOG_STREAMS; i++)
    writer->streams[i].state = err ? STREAM_BROKEN : STREAM_READY;
  for (size_t i = 0; i < LOG_STREAMS; i++) {
    struct stream *stream = &writer->streams[i];
    struct err piece_err;
    if (stream->waiting && err)
      fail_piece(stream, err);
    else if (stream->waiting && !begin_piece(stream, &piece_err))
      fail_piece(stream, &piece_err);
  }
}

static void replay_next(struct log_writer *writer);

/* Pieces after the noted state: read again, their points are stored. */
static void on_replay(void *ctx, const struct pg_reply *reply) {
  struct log_writer *writer = ctx;
  struct stream *stream = &writer->streams[writer->replaying];
  struct err err;
  if (!pg_ok(reply, &err)) {
    place_known(writer, &err);
    one_less(writer);
    return;
  }
  for (size_t row = 0; row < pg_rows(reply); row++) {
    AUTO_FREE char *room = NULL;
    struct str bytes;
    if (!log_piece_unpack(pg_bytea(reply, row, 5), pg_bool(reply, row, 4), (size_t)pg_int(reply, row, 1), &room, &bytes, &err)) {
      place_known(writer, &err);
      one_less(writer);
      return;
    }
    read_bytes(stream, bytes, false);
  }
  found_points_release(&stream->found);
  stream->failed = false;
  writer->replaying++;
  replay_next(writer);
  one_less(writer);
}

static void replay_next(struct log_writer *writer) {
  struct err err;
  for (; writer->replaying < LOG_STREAMS; writer->replaying++) {
    struct stream *stream = &writer->streams[writer->replaying];
    if (stream->state_at == stream->next)
      continue;
    AUTO_PG_ARGS struct pg_args args;
    pg_args_init(&args, STMT_LOG_PIECES);
    pg_put_uuid(&args, writer->run);
    pg_put_int(&args, writer->attempt);
    pg_put_int(&args, stream->name);
    pg_put_int(&args, stream->state_at);
    pg_put_int(&args, stream->next);
    if (!pg_run(writer->store->conf.pg, &args, 0, on_replay, writer, &err))
      place_known(writer, &err);
    else
      writer->in_flight++;
    return;
  }
  place_known(writer, NULL);
}

static void on_streams(void *ctx, const struct pg_reply *reply) {
  struct log_writer *writer = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err);
  for (size_t i = 0; ok && i < LOG_STREAMS; i++) {
    ok = fresh_reader(&writer->streams[i], &err);
    writer->streams[i].next = writer->streams[i].lost = writer->streams[i].state_at = writer->streams[i].time = 0;
    writer->streams[i].is_there = false;
    map_release(&writer->streams[i].keys);
    map_init(&writer->streams[i].keys, KEYS_MAX);
  }
  for (size_t row = 0; ok && row < pg_rows(reply); row++) {
    struct stream *stream = &writer->streams[pg_int(reply, row, 0) ? LOG_STDERR : LOG_STDOUT];
    stream->next = pg_int(reply, row, 1);
    stream->state_at = pg_int(reply, row, 2);
    stream->time = pg_int(reply, row, 5);
    stream->lost = pg_int(reply, row, 6);
    stream->is_there = true;
    struct pg_array keys = pg_array(reply, row, 4);
    while (ok && pg_array_next(&keys))
      ok = map_put(&stream->keys, pg_item_text(&keys), stream, NULL) || err_no_memory(&err);
    if (!pg_is_null(reply, row, 3))
      ok = log_metrics_restore(stream->reader, pg_bytea(reply, row, 3), &err);
  }
  writer->replaying = 0;
  if (ok)
    replay_next(writer);
  else
    place_known(writer, &err);
  one_less(writer);
}

static bool ask_place(struct log_writer *writer, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_LOG_STREAMS);
  pg_put_uuid(&args, writer->run);
  pg_put_int(&args, writer->attempt);
  if (!pg_run(writer->store->conf.pg, &args, 0, on_streams, writer, err))
    return false;
  writer->asking = true;
  writer->in_flight++;
  return true;
}

struct log_writer *log_writer_new(struct log_store *store, struct id run, int32_t attempt, const struct log_writer_options *options,
                                  log_points_fn *on_points, void *ctx, struct err *err) {
  struct log_writer *writer = mem_zalloc(sizeof *writer);
  if (!writer) {
    err_no_memory(err);
    return NULL;
  }
  *writer = (struct log_writer){.store = store, .run = run, .attempt = attempt, .on_points = on_points, .ctx = ctx};
  writer->sources = metric_sources_ref(options->sources);
  writer->log_max = options->log_max;
  for (size_t i = 0; i < LOG_STREAMS; i++) {
    writer->streams[i].writer = writer;
    writer->streams[i].name = (enum log_stream_name)i;
    map_init(&writer->streams[i].keys, KEYS_MAX);
    free_piece(&writer->streams[i]);
  }
  if (!ask_place(writer, err)) {
    release_writer(writer);
    return NULL;
  }
  return writer;
}

void log_writer_close(struct log_writer *writer) {
  if (!writer)
    return;
  writer->closed = true;
  writer->on_points = NULL;
  if (writer->in_flight == 0)
    loop_defer(writer->store->conf.loop, &writer->release, release_writer, writer);
}

static bool start_write(struct stream *stream, const struct log_piece *piece, bool is_end, log_write_fn *done, void *ctx, struct err *err) {
  struct log_writer *writer = stream->writer;
  struct str bytes = piece->bytes;
  if (stream->done)
    return err_set(err, ERR_CONFLICT, "a write of this stream is under way");
  bool is_place = piece->offset >= 0 && piece->offset <= INT64_MAX - LOG_PIECE_MAX;
  if (bytes.n > LOG_PIECE_MAX || !is_place || piece->skipped < 0 || piece->skipped > piece->offset)
    return err_set(err, ERR_INVALID, "at most %d bytes at once, and an offset at which they may stand", LOG_PIECE_MAX);
  /* A reader that could not follow begins again from what is stored, and the other one with it. */
  if (stream->state == STREAM_BROKEN && !writer->asking) {
    if (writer->streams[!stream->name].state == STREAM_BUSY)
      return err_set(err, ERR_CONFLICT, "the other stream is still being stored");
    if (!ask_place(writer, err))
      return false;
  }
  stream->bytes = mem_alloc(bytes.n);
  if (!stream->bytes)
    return err_no_memory(err);
  if (bytes.n)
    memcpy(stream->bytes, bytes.p, bytes.n);
  stream->n = bytes.n;
  stream->asked_offset = piece->offset;
  int64_t at = clock_wall_ms(loop_clock(writer->store->conf.loop)) - piece->age_ms;
  bool is_back = at < stream->asked_time && stream->asked_time - at < CLOCK_STEP_MS; /* ages are rounded: what comes later is not older */
  stream->asked_time = is_back ? stream->asked_time : at;
  stream->skipped = piece->skipped;
  stream->is_end = is_end;
  stream->done = done;
  stream->done_ctx = ctx;
  stream->waiting = true;
  if (!writer->asking && !begin_piece(stream, err)) {
    stream->done = NULL;
    stream->state = STREAM_READY;
    free_piece(stream);
    return false;
  }
  writer->in_flight++;
  return true;
}

bool log_writer_write(struct log_writer *writer, enum log_stream_name stream, const struct log_piece *piece, log_write_fn *done, void *ctx,
                      struct err *err) {
  return start_write(&writer->streams[stream], piece, false, done, ctx, err);
}

static void on_stream_end(void *ctx, int64_t next UNUSED, const struct err *err) {
  struct log_writer *writer = ctx;
  if (err && writer->finish_err.code == ERR_NONE)
    writer->finish_err = *err;
  if (--writer->finishing)
    return;
  const struct err *failed = writer->finish_err.code == ERR_NONE ? NULL : &writer->finish_err;
  writer->finished(writer->finished_ctx, 0, failed);
}

bool log_writer_finish(struct log_writer *writer, log_write_fn *done, void *ctx, struct err *err) {
  if (writer->finishing)
    return err_set(err, ERR_CONFLICT, "the end of the output is being stored");
  writer->finish_err = (struct err){.code = ERR_NONE};
  writer->finished = done;
  writer->finished_ctx = ctx;
  for (size_t i = 0; i < LOG_STREAMS; i++) {
    /* From wherever it stands: an offset before that is passed over, and here nothing follows it. */
    if (!start_write(&writer->streams[i], &(struct log_piece){.bytes = STR("")}, true, on_stream_end, writer, err)) {
      if (!writer->finishing)
        return false;
      writer->finish_err = *err; /* the other one is on its way and will tell */
      return true;
    }
    writer->finishing++;
  }
  return true;
}
