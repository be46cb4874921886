#include "tracker/logs/reparse.h"

#include "base/map.h"
#include "base/mem.h"
#include "storage/metrics/metric_replace.h"
#include "storage/pg/pg.h"
#include "tracker/logs/stream_sources.h"
#include "tracker/run_state.h"

enum { PAGE_BYTES = 8 * 1024 * 1024, STREAMS_MAX = 64, KEYS_MAX = 16384, TIMES_MAX = 16 << 20, TRIES = 3 };

/* A stored stream of one attempt: what it gave at its last reading, and what it gives now. */
struct old_stream {
  int32_t attempt;
  enum log_stream_name name;
  int64_t next;
  struct found_sum noted;         /* of what it gave */
  bool is_known;                  /* which points it gave: `given` */
  struct metric_sources *sources; /* that it was read with, while is_known */
  struct map keys;                /* what is known else: "=key" or "@key" of the points */
  struct found_points given, found;
  struct found_sum sum; /* of what was found */
  struct map now_keys;  /* as `keys`, of what was found */
  size_t series;
  char summary[200];
};

/* Points that come in, at most METRIC_ROWS_MAX. */
struct pack {
  struct metric_rows rows;
  int32_t attempt;
};

/* A piece as it is stored. */
struct old_piece {
  int64_t time;
  size_t at, n, size; /* in the page's bytes; unpacked */
  bool packed;
};

struct reparse {
  struct work work;
  struct log_store *store;
  struct id run;
  struct metric_sources *sources;
  char who[100];
  struct old_stream streams[STREAMS_MAX];
  size_t stream_count, at; /* at: the one being read */
  int64_t *times;          /* of all pieces, sorted at the end */
  size_t time_count, time_cap;
  /* the page */
  struct log_metrics *before, *now; /* readers: as it was read last (NULL: not known), as it is to be */
  struct buf bytes;
  struct old_piece *pieces;
  size_t piece_count;
  int64_t from;
  struct err err;
  struct pack *packs;
  const struct metric_rows **rows; /* of each pack */
  int32_t *attempts;
  size_t pack_count;
  unsigned tries;
  struct reparse_result result;
  reparse_fn *done;
  void *ctx;
};

/* As if nothing had been read. */
static void forget(struct reparse *r) {
  for (size_t i = 0; i < r->pack_count; i++)
    metric_rows_release(&r->packs[i].rows);
  for (size_t i = 0; i < r->stream_count; i++) {
    found_points_release(&r->streams[i].found);
    found_points_release(&r->streams[i].given);
    metric_sources_unref(r->streams[i].sources);
    map_release(&r->streams[i].keys);
    map_release(&r->streams[i].now_keys);
  }
  log_metrics_free(r->before);
  log_metrics_free(r->now);
  mem_free(r->packs);
  mem_free(r->rows);
  mem_free(r->attempts);
  r->before = r->now = NULL;
  r->packs = NULL;
  r->rows = NULL;
  r->attempts = NULL;
  r->stream_count = r->at = r->time_count = r->pack_count = 0;
  r->result = (struct reparse_result){0};
}

static void end(struct reparse *r, const struct err *err) {
  r->done(r->ctx, err ? NULL : &r->result, err);
  forget(r);
  metric_sources_unref(r->sources);
  buf_release(&r->bytes);
  mem_free(r->pieces);
  mem_free(r->times);
  mem_free(r);
}

static const struct log_store_conf *parts(const struct reparse *r) {
  return log_store_parts(r->store);
}

/* ---- replacing ---- */

static int by_time(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static int by_key(const void *a, const void *b) {
  return str_cmp(((const struct found_point *)a)->key, ((const struct found_point *)b)->key);
}

static int by_point(const void *a, const void *b) {
  const struct found_point *x = a, *y = b;
  uint64_t value = value_bits(value_canonical(x->value)), other = value_bits(value_canonical(y->value));
  int key = by_key(a, b);
  if (key)
    return key;
  if (x->step != y->step)
    return x->step < y->step ? -1 : 1;
  if (x->time != y->time)
    return x->time < y->time ? -1 : 1;
  return (value > other) - (value < other);
}

static bool is_among(const struct found_points *given, const struct found_point *point, int (*order)(const void *, const void *)) {
  return given->count && bsearch(point, given->items, given->count, sizeof *given->items, order);
}

static bool is_time_of_piece(const struct reparse *r, int64_t time) {
  return r->time_count && bsearch(&time, r->times, r->time_count, sizeof *r->times, by_time);
}

static bool has_key(const struct old_stream *stream, char kind, struct str key) {
  char text[SERIES_KEY_MAX + 2];
  int n = snprintf(text, sizeof text, "%c%.*s", kind, STR_ARG(key));
  return map_get(&stream->keys, str_n(text, (size_t)n)) != NULL;
}

static bool touches(const void *ctx, struct str key) {
  const struct reparse *r = ctx;
  bool yes = false;
  for (size_t i = 0; !yes && i < r->stream_count; i++) {
    const struct old_stream *stream = &r->streams[i];
    yes = stream->is_known ? is_among(&stream->given, &(struct found_point){.key = key}, by_key)
                           : has_key(stream, '=', key) || has_key(stream, '@', key);
  }
  return yes;
}

/* Of a stream whose last reading is not known: what has its key, and the time of a piece of output where the logs tell no time. */
static bool may_have_given(const struct reparse *r, const struct old_stream *stream, const struct found_point *point) {
  return has_key(stream, '@', point->key) || (has_key(stream, '=', point->key) && is_time_of_piece(r, point->time));
}

static bool stays(const void *ctx, struct str key, int32_t attempt, struct point point) {
  const struct reparse *r = ctx;
  const struct found_point as_found = {.key = key, .value = point.value, .step = point.step, .time = point.time};
  for (size_t i = 0; i < r->stream_count; i++) {
    const struct old_stream *stream = &r->streams[i];
    if (stream->attempt == attempt &&
        (stream->is_known ? is_among(&stream->given, &as_found, by_point) : may_have_given(r, stream, &as_found)))
      return false;
  }
  return true;
}

/* What the streams now are known by. */
static void put_stream(const struct reparse *r, const struct old_stream *stream, struct pg_batch *batch) {
  AUTO_BUF struct buf sources = BUF_INIT(MIB);
  struct pg_args *args = pg_batch_add(batch, STMT_LOG_STREAM_REREAD);
  struct str key;
  void *ignored;
  pg_put_uuid(args, r->run);
  pg_put_int(args, stream->attempt);
  pg_put_int(args, stream->name);
  pg_put_text(args, str_of(stream->summary));
  pg_put_int(args, (int64_t)stream->series);
  pg_begin_array(args);
  for (size_t cursor = 0; map_next(&stream->now_keys, &cursor, &key, &ignored);)
    pg_put_text(args, key);
  pg_end_array(args);
  stream_sources_put(r->sources, stream->name, &sources);
  pg_put_text(args, buf_ok(&sources, NULL) ? buf_str(&sources) : STR_NONE);
  pg_put_int(args, stream->sum.count);
  pg_put_int(args, (int64_t)stream->sum.mixed);
  pg_put_int(args, stream->next);
  pg_put_int(args, stream->noted.count);
  pg_put_int(args, (int64_t)stream->noted.mixed);
}

static void also(const void *ctx, struct pg_batch *batch) {
  const struct reparse *r = ctx;
  char text[120];
  for (size_t i = 0; i < r->stream_count; i++)
    put_stream(r, &r->streams[i], batch);
  snprintf(text, sizeof text, "%lld points from %lld bytes of output", (long long)r->result.points, (long long)r->result.bytes);
  struct pg_args *args = pg_batch_add(batch, STMT_EVENT_ADD);
  pg_put_int(args, clock_wall_ms(loop_clock(parts(r)->loop)));
  pg_put_text(args, STR("run.reparsed"));
  pg_put_text(args, str_of(r->who));
  pg_put_text(args, STR(""));
  pg_put_uuid(args, r->run);
  pg_put_null(args);
  pg_put_null(args);
  pg_put_text(args, str_of(text));
}

static bool begin(struct reparse *r, struct err *err);

/* What it was derived from has changed meanwhile: it is derived again. */
static void on_replaced(void *ctx, const struct err *err) {
  struct reparse *r = ctx;
  struct err again;
  if (!err || err->code != ERR_PRECONDITION) {
    end(r, err);
    return;
  }
  forget(r);
  bool ok = ++r->tries < TRIES || err_set(&again, ERR_CONFLICT, "the output or its points changed again and again while they were read");
  if (!ok || !begin(r, &again))
    end(r, &again);
}

/* On a thread, as the next two. As is known of each key: does a point of it have the time of a piece of output? */
static bool note_keys(const struct reparse *r, struct old_stream *stream, struct err *err) {
  for (size_t i = 0; i < stream->found.count; i++) {
    const struct found_point *p = &stream->found.items[i];
    char text[SERIES_KEY_MAX + 2];
    int n = snprintf(text, sizeof text, "%c%.*s", is_time_of_piece(r, p->time) ? '=' : '@', STR_ARG(p->key));
    struct str key = str_n(text, (size_t)n);
    if (!map_get(&stream->now_keys, key) && stream->now_keys.count < KEYS_MAX && !map_put(&stream->now_keys, key, stream, NULL))
      return err_no_memory(err);
  }
  return true;
}

static bool make_packs(struct reparse *r, struct err *err) {
  size_t count = 0;
  for (size_t i = 0; i < r->stream_count; i++)
    count += (r->streams[i].found.count + METRIC_ROWS_MAX - 1) / METRIC_ROWS_MAX;
  r->packs = mem_array(count + 1, sizeof *r->packs);
  r->rows = mem_array(count + 1, sizeof(const struct metric_rows *));
  r->attempts = mem_array(count + 1, sizeof *r->attempts);
  if (!r->packs || !r->rows || !r->attempts)
    return err_no_memory(err);
  for (size_t i = 0; i < r->stream_count; i++) {
    const struct found_points *found = &r->streams[i].found;
    for (size_t from = 0; from < found->count; from += METRIC_ROWS_MAX) {
      struct pack *pack = &r->packs[r->pack_count];
      metric_rows_init(&pack->rows);
      r->rows[r->pack_count] = &pack->rows;
      r->attempts[r->pack_count++] = r->streams[i].attempt;
      if (!found_points_rows(found, from, MIN_OF(found->count - from, (size_t)METRIC_ROWS_MAX), &pack->rows, err))
        return false;
    }
  }
  return true;
}

static void run_preparing(struct work *work) {
  struct reparse *r = CONTAINER_OF(work, struct reparse, work);
  bool ok = true;
  if (r->time_count)
    qsort(r->times, r->time_count, sizeof *r->times, by_time);
  for (size_t i = 0; ok && i < r->stream_count; i++) {
    struct old_stream *stream = &r->streams[i];
    stream->sum = found_points_sum(&stream->found);
    r->result.points += stream->sum.count;
    r->result.series += stream->series;
    ok = note_keys(r, stream, &r->err);
  }
  if (ok && make_packs(r, &r->err))
    r->err.code = ERR_NONE;
}

static void on_prepared(struct work *work, bool cancelled) {
  struct reparse *r = CONTAINER_OF(work, struct reparse, work);
  if (cancelled)
    err_set(&r->err, ERR_CANCELLED, "the service is stopping");
  struct metric_replacement what = {.run = r->run,
                                    .touches = touches,
                                    .stays = stays,
                                    .also = also,
                                    .ctx = r,
                                    .rows = r->rows,
                                    .attempts = r->attempts,
                                    .row_count = r->pack_count};
  struct err err;
  if (r->err.code)
    end(r, &r->err);
  else if (!metric_replace(parts(r)->metrics, &what, on_replaced, r, &err))
    end(r, &err);
}

static void replace(struct reparse *r) {
  struct err err;
  r->work = (struct work){.run = run_preparing, .done = on_prepared};
  if (!work_submit(parts(r)->work, &r->work, &err))
    end(r, &err);
}

/* ---- reading, stream after stream, page after page ---- */

static void read_next(struct reparse *r);

/* On a thread of the pool, as all from here to run_page(). */
static bool read_piece(struct reparse *r, const struct old_piece *piece, struct err *err) {
  struct old_stream *stream = &r->streams[r->at];
  struct str data;
  AUTO_FREE char *room = NULL;
  if (!log_piece_unpack(str_n(r->bytes.p + piece->at, piece->n), piece->packed, piece->size, &room, &data, err))
    return false;
  stream->found.time = stream->given.time = piece->time;
  r->result.bytes += (int64_t)data.n;
  return log_metrics_feed(r->now, data, found_points_take, &stream->found, err) &&
         (!r->before || log_metrics_feed(r->before, data, found_points_take, &stream->given, err));
}

/* All that would be replaced is in memory: not more of it is read than can be. */
static bool check_points(const struct reparse *r, struct err *err) {
  size_t points = 0;
  for (size_t i = 0; i < r->stream_count; i++)
    points += r->streams[i].found.count;
  return points <= METRIC_REPLACE_POINTS_MAX ||
         err_set(err, ERR_TOO_LARGE, "its output holds more than %d points", METRIC_REPLACE_POINTS_MAX);
}

static bool is_as_noted(const struct old_stream *stream) {
  struct found_sum sum = found_points_sum(&stream->given);
  return sum.count == stream->noted.count && sum.mixed == stream->noted.mixed;
}

/* Were these the points of the last reading? A stream that was cut short has not been read to an end. */
static bool end_before(struct reparse *r, struct err *err) {
  struct old_stream *stream = &r->streams[r->at];
  if (!r->before)
    return true;
  if (!is_as_noted(stream) && !log_metrics_end(r->before, found_points_take, &stream->given, err))
    return false;
  stream->is_known = is_as_noted(stream);
  if (stream->is_known && stream->given.count)
    qsort(stream->given.items, stream->given.count, sizeof *stream->given.items, by_point);
  return true;
}

static bool end_now(struct reparse *r, struct err *err) {
  struct old_stream *stream = &r->streams[r->at];
  if (!log_metrics_end(r->now, found_points_take, &stream->found, err))
    return false;
  log_metrics_summary(r->now, stream->summary, sizeof stream->summary);
  stream->series = log_metrics_series(r->now);
  return true;
}

static void run_page(struct work *work) {
  struct reparse *r = CONTAINER_OF(work, struct reparse, work);
  bool ok = true;
  for (size_t i = 0; ok && i < r->piece_count; i++)
    ok = read_piece(r, &r->pieces[i], &r->err) && check_points(r, &r->err);
  if (ok && r->from >= r->streams[r->at].next)
    ok = end_before(r, &r->err) && end_now(r, &r->err) && check_points(r, &r->err);
  if (ok)
    r->err.code = ERR_NONE;
}

static void on_page_read(struct work *work, bool cancelled) {
  struct reparse *r = CONTAINER_OF(work, struct reparse, work);
  if (cancelled)
    err_set(&r->err, ERR_CANCELLED, "the service is stopping");
  if (r->err.code) {
    end(r, &r->err);
    return;
  }
  if (r->from >= r->streams[r->at].next) {
    log_metrics_free(r->before);
    log_metrics_free(r->now);
    r->before = r->now = NULL;
    r->at++;
  }
  read_next(r);
}

static bool add_time(struct reparse *r, int64_t time) {
  if (r->time_count == r->time_cap) {
    size_t cap = r->time_cap ? r->time_cap * 2 : 256;
    int64_t *times = cap <= TIMES_MAX ? mem_resize(r->times, cap, sizeof *times) : NULL;
    if (!times)
      return false;
    r->times = times;
    r->time_cap = cap;
  }
  r->times[r->time_count++] = time;
  return true;
}

/* Pieces are copied: the reply is gone when the callback returns. */
static bool take_page(struct reparse *r, const struct pg_reply *reply, struct err *err) {
  r->piece_count = 0;
  buf_reset(&r->bytes);
  mem_free(r->pieces);
  r->pieces = mem_array(MAX_OF(pg_rows(reply), (size_t)1), sizeof *r->pieces);
  if (!r->pieces)
    return err_no_memory(err);
  for (size_t i = 0; i < pg_rows(reply); i++) {
    struct str data = pg_bytea(reply, i, 5);
    if (pg_int(reply, i, 0) < r->from - PAGE_BYTES) /* it begins in the page before, and was read there */
      continue;
    r->pieces[r->piece_count++] = (struct old_piece){
        .time = pg_int(reply, i, 2), .at = r->bytes.n, .n = data.n, .size = (size_t)pg_int(reply, i, 1), .packed = pg_bool(reply, i, 4)};
    buf_add_str(&r->bytes, data);
    if (!add_time(r, pg_int(reply, i, 2)))
      return err_no_memory(err);
  }
  return buf_ok(&r->bytes, err);
}

static void on_page(void *ctx, const struct pg_reply *reply) {
  struct reparse *r = ctx;
  struct err err;
  r->from += PAGE_BYTES;
  r->work = (struct work){.run = run_page, .done = on_page_read};
  if (!pg_ok(reply, &err) || !take_page(r, reply, &err) || !work_submit(parts(r)->work, &r->work, &err))
    end(r, &err);
}

static bool ask_page(struct reparse *r, struct err *err) {
  const struct old_stream *stream = &r->streams[r->at];
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_LOG_PIECES);
  pg_put_uuid(&args, r->run);
  pg_put_int(&args, stream->attempt);
  pg_put_int(&args, stream->name);
  pg_put_int(&args, r->from);
  pg_put_int(&args, r->from + PAGE_BYTES);
  return pg_run(parts(r)->pg, &args, 0, on_page, r, err);
}

static struct log_metrics *new_reader(const struct metric_sources *sources, const struct old_stream *stream, struct err *err) {
  struct log_pattern_spec specs[METRIC_SOURCES_MAX];
  struct log_metrics_options options;
  metric_sources_of_stream(sources, stream->name, specs, &options);
  return log_metrics_new(&options, err);
}

/* What it was read with may be a pattern that is none any more. */
static bool begin_stream(struct reparse *r, struct err *err) {
  struct old_stream *stream = &r->streams[r->at];
  r->from = 0;
  r->now = new_reader(r->sources, stream, err);
  if (!r->now)
    return false;
  if (stream->is_known && !(r->before = new_reader(stream->sources, stream, err)) && err->code == ERR_NO_MEMORY)
    return false;
  stream->is_known = r->before != NULL;
  return true;
}

static void read_next(struct reparse *r) {
  struct err err;
  if (r->at == r->stream_count)
    replace(r);
  else if ((!r->now && !begin_stream(r, &err)) || !ask_page(r, &err))
    end(r, &err);
}

/* ---- what there is ---- */

static bool take_stream(struct old_stream *stream, const struct pg_reply *reply, size_t row, struct err *err) {
  struct str sources = pg_text(reply, row, 4);
  *stream = (struct old_stream){.attempt = (int32_t)pg_int(reply, row, 0),
                                .name = pg_int(reply, row, 1) ? LOG_STDERR : LOG_STDOUT,
                                .next = pg_int(reply, row, 2),
                                .noted = {pg_int(reply, row, 5), (uint64_t)pg_int(reply, row, 6)},
                                .given = FOUND_POINTS_INIT,
                                .found = FOUND_POINTS_INIT};
  map_init(&stream->keys, KEYS_MAX);
  map_init(&stream->now_keys, KEYS_MAX);
  struct pg_array keys = pg_array(reply, row, 3);
  while (pg_array_next(&keys))
    if (!map_put(&stream->keys, pg_item_text(&keys), stream, NULL))
      return err_no_memory(err);
  stream->is_known = sources.p && stream_sources_read(sources, &stream->sources, err);
  return stream->is_known || !sources.p || err->code != ERR_NO_MEMORY;
}

static bool take_streams(struct reparse *r, const struct pg_reply *reply, struct err *err) {
  if (pg_rows(reply) > STREAMS_MAX)
    return err_set(err, ERR_TOO_LARGE, "the run has too many attempts for this");
  for (size_t i = 0; i < pg_rows(reply); i++)
    if (!take_stream(&r->streams[r->stream_count++], reply, i, err))
      return false;
  return true;
}

static void on_streams(void *ctx, const struct pg_reply *reply) {
  struct reparse *r = ctx;
  struct err err;
  bool ok = pg_ok(reply, &err);
  const struct pg_reply *run = ok ? pg_nth(reply, 0) : NULL;
  if (ok && !pg_rows(run))
    ok = err_set(&err, ERR_NOT_FOUND, "there is no such run");
  if (ok && !run_state_is_final(pg_int(run, 0, 0)))
    ok = err_set(&err, ERR_WRONG_STATE, "the run goes on: its output is read as it comes");
  if (!ok || !take_streams(r, pg_nth(reply, 1), &err))
    end(r, &err);
  else
    read_next(r);
}

static bool begin(struct reparse *r, struct err *err) {
  AUTO_PG_BATCH struct pg_batch batch = PG_BATCH_INIT;
  pg_put_uuid(pg_batch_add(&batch, STMT_RUN_STATE), r->run);
  pg_put_uuid(pg_batch_add(&batch, STMT_LOG_STREAMS_ALL), r->run);
  return pg_run_batch(parts(r)->pg, &batch, 0, on_streams, r, err);
}

bool reparse_run(struct log_store *store, struct id run, struct metric_sources *sources, struct str who, reparse_fn *done, void *ctx,
                 struct err *err) {
  struct reparse *r = mem_zalloc(sizeof *r);
  if (!r)
    return err_no_memory(err);
  *r = (struct reparse){.store = store, .run = run, .bytes = BUF_INIT(4 * PAGE_BYTES), .done = done, .ctx = ctx};
  r->sources = metric_sources_ref(sources);
  snprintf(r->who, sizeof r->who, "%.*s", STR_ARG(who));
  if (begin(r, err))
    return true;
  metric_sources_unref(r->sources);
  mem_free(r);
  return false;
}
