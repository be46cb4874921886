/* Rows one by one, with back-pressure, on a session in raw mode. */
#include "storage/pg/pq.h"

#include "storage/pg/pg_inside.h"

#include "base/mem.h"

/* Rows a turn, and bytes of rows, so that one stream does not keep the others waiting. */
enum { ROWS_A_TURN = 512, BYTES_A_TURN = 256 * 1024, STREAM_TIMEOUT_MS = 600000 };

enum stream_phase { STREAM_WAITING, STREAM_SETTING, STREAM_RUNNING, STREAM_OVER };

struct pg_stream {
  struct pg_job job;
  enum stream_phase phase;
  struct pg_args args;
  pg_row_fn *on_row;
  pg_done_fn *done;
  void *ctx;
  bool paused, cancelled, shape_known;
  enum pg_outcome outcome;
  struct pg_failure failure;
  struct loop_defer again, release;
};

static struct pg_stream *stream_of(struct pg_job *job) {
  return CONTAINER_OF(job, struct pg_stream, job);
}

static struct pg_link *link_of(struct pg_stream *stream) {
  return &stream->job.session->link;
}

static void stream_free(void *ctx) {
  struct pg_stream *stream = ctx;
  loop_defer_cancel(&stream->again);
  pg_args_release(&stream->args);
  mem_free(stream);
}

/* The one exit. Freed at the end of the turn. */
static void finish(struct pg_stream *stream, bool reusable) {
  struct pg_pool *pool = stream->job.pool;
  stream->phase = STREAM_OVER;
  pg_job_release_session(&stream->job, reusable);
  pg_tell_failure(pool, stream->done, stream->ctx, stream->outcome, &stream->failure);
  pg_job_forget(&stream->job);
  loop_defer(pool->loop, &stream->release, stream_free, stream);
}

static void note(struct pg_stream *stream, enum pg_outcome outcome, enum err_code code, const char *text) {
  if (stream->outcome != PG_DONE)
    return;
  stream->outcome = outcome;
  err_set(&stream->failure.err, code, "%s", text);
}

static void send_query(struct pg_stream *stream) {
  struct pg_link *link = link_of(stream);
  const struct stmt_info *info = stmt_info(stream->args.stmt);
  struct pg_wire_args wire;
  pg_args_to_wire(&stream->args, &wire);
  stream->phase = STREAM_RUNNING;
  if (!link->pq->send_params(link->pg, info->sql, (int)stream->args.count, wire.types, wire.values, wire.lengths, wire.formats, 1) ||
      !link->pq->single_row(link->pg))
    pg_link_fail(link, ERR_UNAVAILABLE, "a statement could not be sent to the database");
  else
    pg_link_flush(link);
}

static void take_row(struct pg_stream *stream, PGresult *result) {
  const struct stmt_info *info = stmt_info(stream->args.stmt);
  if (!stream->shape_known) {
    struct err err;
    stream->shape_known = true;
    if (!pg_shape_check(info, result, &err))
      note(stream, PG_REJECTED, err.code, err.text);
  }
  if (stream->outcome != PG_DONE)
    return;
  struct pg_reply row = {.outcome = PG_DONE, .rows = result, .shape = info};
  pg_pool_enter(stream->job.pool);
  stream->on_row(stream->ctx, &row);
  pg_pool_leave(stream->job.pool);
}

static void take_result(struct pg_stream *stream, PGresult *result) {
  switch (PQresultStatus(result)) {
  case PGRES_SINGLE_TUPLE:
    take_row(stream, result);
    break;
  case PGRES_TUPLES_OK:
  case PGRES_COMMAND_OK:
    break;
  default:
    if (stream->outcome == PG_DONE)
      stream->outcome = pg_failure_from_result(link_of(stream)->pq, result, &stream->failure);
  }
  PQclear(result);
}

static void go_on(void *ctx) {
  struct pg_stream *stream = ctx;
  size_t bytes = 0;
  for (unsigned rows = 0; stream->phase != STREAM_OVER && !stream->paused && !stream->cancelled; rows++) {
    struct pg_link *link = link_of(stream);
    if (link->pq->is_busy(link->pg))
      return;
    if (rows == ROWS_A_TURN || bytes >= BYTES_A_TURN) {
      loop_defer(stream->job.pool->loop, &stream->again, go_on, stream);
      return;
    }
    PGresult *result = link->pq->get_result(link->pg);
    bytes += result ? PQresultMemorySize(result) : 0;
    if (result)
      take_result(stream, result);
    else if (stream->phase == STREAM_SETTING && stream->outcome == PG_DONE)
      send_query(stream);
    else
      finish(stream, link->state == LINK_UP && link->pq->status(link->pg) == CONNECTION_OK);
  }
}

static void on_start(struct pg_job *job) {
  struct pg_stream *stream = stream_of(job);
  struct pg_link *link = link_of(stream);
  stream->phase = STREAM_SETTING;
  if (!pg_session_begin_raw(job))
    pg_link_fail(link, ERR_UNAVAILABLE, "a statement could not be sent to the database");
  else
    pg_link_flush(link);
}

static void on_fail(struct pg_job *job, enum pg_outcome outcome, const struct err *reason) {
  struct pg_stream *stream = stream_of(job);
  if (stream->phase == STREAM_OVER)
    return;
  if (outcome == PG_UNKNOWN && loop_now_ms(job->pool->loop) >= job->deadline_ms)
    outcome = PG_CANCELLED;
  else if (outcome == PG_UNKNOWN && stmt_info(stream->args.stmt)->repeatable)
    outcome = PG_RETRYABLE;
  note(stream, outcome, reason->code, reason->text);
  finish(stream, false);
}

static void on_raw(struct pg_job *job) {
  go_on(stream_of(job));
}

static const struct pg_job_kind stream_kind = {.start = on_start, .fail = on_fail, .on_raw = on_raw};

struct pg_stream *pg_stream_open(struct pg_pool *pool, struct pg_args *args, int64_t timeout_ms, pg_row_fn *on_row, pg_done_fn *done,
                                 void *ctx, struct err *err) {
  struct pg_stream *stream = NULL;
  if (pg_args_check(args, err)) {
    stream = mem_zalloc(sizeof *stream);
    if (!stream)
      err_no_memory(err);
  }
  if (!stream) {
    pg_args_release(args);
    return NULL;
  }
  stream->args = *args;
  buf_init(&args->bytes, 0); /* moved */
  stream->on_row = on_row;
  stream->done = done;
  stream->ctx = ctx;
  stream->job = (struct pg_job){.kind = &stream_kind,
                                .pool = pool,
                                .deadline_ms = pg_pool_deadline(pool, timeout_ms > 0 ? timeout_ms : STREAM_TIMEOUT_MS),
                                .bytes = sizeof *stream + stream->args.bytes.n};
  if (pg_job_submit(&stream->job, err))
    return stream;
  stream_free(stream);
  return NULL;
}

void pg_stream_pause(struct pg_stream *stream) {
  stream->paused = true;
  if (stream->job.session && stream->phase != STREAM_OVER)
    pg_link_set_reading(link_of(stream), false);
}

void pg_stream_resume(struct pg_stream *stream) {
  if (!stream->paused || stream->phase == STREAM_OVER)
    return;
  stream->paused = false;
  if (!stream->job.session)
    return;
  pg_link_set_reading(link_of(stream), true);
  loop_defer(stream->job.pool->loop, &stream->again, go_on, stream); /* rows may lie in libpq's buffer */
}

static void end_cancelled(void *ctx) {
  struct pg_stream *stream = ctx;
  if (stream->phase != STREAM_OVER)
    finish(stream, false);
}

void pg_stream_cancel(struct pg_stream *stream) {
  if (stream->phase == STREAM_OVER || stream->cancelled)
    return;
  stream->cancelled = true;
  note(stream, PG_CANCELLED, ERR_CANCELLED, "the reader has left");
  loop_defer_cancel(&stream->again);
  loop_defer(stream->job.pool->loop, &stream->again, end_cancelled, stream);
}
