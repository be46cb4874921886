/* COPY IN, binary, on a session in raw mode. */
#include "storage/pg/pq.h"

#include "storage/pg/pg_inside.h"

#include "base/mem.h"
#include "storage/pg/pg_wire.h"

enum { COPY_TIMEOUT_MS = 600000 };
/* Rows gathered before they are given to libpq, and where the writer is told to wait. One row may go beyond. */
#define CHUNK_BYTES (64 * KIB)
#define FULL_BYTES (256 * KIB)
#define BUFFER_MAX (72 * MIB)

enum copy_phase { COPY_WAITING, COPY_SETTING, COPY_STARTING, COPY_OPEN, COPY_ENDING, COPY_CLOSING, COPY_OVER };

struct pg_copy {
  struct pg_job job;
  enum copy_phase phase;
  const struct stmt_info *info;
  pg_room_fn *on_room;
  pg_done_fn *done;
  void *ctx;
  struct buf out;
  bool full;
  bool released; /* the user has ended it */
  bool aborted;
  enum pg_outcome outcome;
  struct pg_failure failure;
  PGresult *result; /* of the whole */
  struct loop_defer again, release;
};

static struct pg_copy *copy_of(struct pg_job *job) {
  return CONTAINER_OF(job, struct pg_copy, job);
}

static struct pg_link *link_of(struct pg_copy *copy) {
  return &copy->job.session->link;
}

static void copy_free(void *ctx) {
  struct pg_copy *copy = ctx;
  loop_defer_cancel(&copy->again);
  PQclear(copy->result);
  buf_release(&copy->out);
  mem_free(copy);
}

static void finish(struct pg_copy *copy, bool reusable) {
  struct pg_pool *pool = copy->job.pool;
  copy->phase = COPY_OVER;
  pg_job_release_session(&copy->job, reusable);
  struct pg_reply reply = {
      .outcome = copy->outcome, .failure = &copy->failure, .shape = copy->info, .rows = copy->outcome == PG_DONE ? copy->result : NULL};
  pg_pool_count(pool, copy->outcome);
  pg_pool_enter(pool);
  copy->done(copy->ctx, &reply);
  pg_pool_leave(pool);
  pg_job_forget(&copy->job);
  loop_defer(pool->loop, &copy->release, copy_free, copy);
}

static void note(struct pg_copy *copy, enum pg_outcome outcome, const struct err *err) {
  if (copy->outcome != PG_DONE)
    return;
  copy->outcome = outcome;
  copy->failure.err = *err;
}

static void call_room(struct pg_copy *copy) {
  pg_pool_enter(copy->job.pool);
  copy->on_room(copy->ctx, copy);
  pg_pool_leave(copy->job.pool);
}

/* Gives what was gathered to libpq whenever the socket has taken all before it. False when the link failed. */
static bool push(struct pg_copy *copy) {
  struct pg_link *link = link_of(copy);
  if (!copy->out.n || link->out_pending)
    return true;
  if (link->pq->put_copy_data(link->pg, copy->out.p, (int)copy->out.n) != 1) {
    pg_link_fail(link, ERR_UNAVAILABLE, "the connection to the database was lost");
    return false;
  }
  buf_reset(&copy->out);
  pg_link_flush(link);
  return copy->phase != COPY_OVER;
}

static void send_end(struct pg_copy *copy) {
  struct pg_link *link = link_of(copy);
  bool give_up = copy->aborted || copy->outcome != PG_DONE;
  copy->phase = COPY_CLOSING;
  if (link->pq->put_copy_end(link->pg, give_up ? "the writer gave up" : NULL) != 1)
    pg_link_fail(link, ERR_UNAVAILABLE, "the connection to the database was lost");
  else
    pg_link_flush(link);
}

static void go_on_writing(struct pg_copy *copy) {
  if (!push(copy))
    return;
  if (copy->phase == COPY_ENDING && !copy->out.n) {
    send_end(copy);
    return;
  }
  if (copy->full && copy->out.n < CHUNK_BYTES && copy->phase == COPY_OPEN) {
    copy->full = false;
    call_room(copy);
  }
}

static void open_up(struct pg_copy *copy, const PGresult *result) {
  static const char head[] = "PGCOPY\n\377\r\n"; /* its NUL belongs to it */
  char rest[8] = {0};                            /* flags, length of the extension */
  if (PQnfields(result) != copy->info->param_count || !PQbinaryTuples(result)) {
    err_set(&copy->failure.err, ERR_INTERNAL, "%s (%s) declares %u columns, the database takes %d%s", copy->info->name, copy->info->where,
            copy->info->param_count, PQnfields(result), PQbinaryTuples(result) ? "" : ", as text");
    copy->outcome = PG_REJECTED;
  }
  if (copy->outcome != PG_DONE) { /* or it was ended already */
    send_end(copy);
    return;
  }
  buf_add(&copy->out, head, sizeof head);
  buf_add(&copy->out, rest, sizeof rest);
  copy->phase = COPY_OPEN;
  call_room(copy);
}

static void send_copy(struct pg_copy *copy) {
  struct pg_link *link = link_of(copy);
  copy->phase = COPY_STARTING;
  if (!link->pq->send_params(link->pg, copy->info->sql, 0, NULL, NULL, NULL, NULL, 0))
    pg_link_fail(link, ERR_UNAVAILABLE, "a statement could not be sent to the database");
  else
    pg_link_flush(link);
}

static void take_result(struct pg_copy *copy, PGresult *result) {
  ExecStatusType status = PQresultStatus(result);
  if (status == PGRES_COPY_IN) {
    open_up(copy, result);
  } else if (status == PGRES_COMMAND_OK) {
    PQclear(copy->result);
    copy->result = result;
    return;
  } else if (status != PGRES_TUPLES_OK && copy->outcome == PG_DONE) {
    copy->outcome = pg_failure_from_result(link_of(copy)->pq, result, &copy->failure);
    if (copy->aborted) {
      copy->outcome = PG_CANCELLED;
      err_set(&copy->failure.err, ERR_CANCELLED, "the writer gave up");
    }
  }
  PQclear(result);
}

static void go_on(void *ctx) {
  struct pg_copy *copy = ctx;
  while (copy->phase != COPY_OVER) {
    if (copy->phase == COPY_OPEN || copy->phase == COPY_ENDING) {
      go_on_writing(copy);
      return;
    }
    struct pg_link *link = link_of(copy);
    if (link->pq->is_busy(link->pg))
      return;
    PGresult *result = link->pq->get_result(link->pg);
    if (result)
      take_result(copy, result);
    else if (copy->phase == COPY_SETTING && copy->outcome == PG_DONE)
      send_copy(copy);
    else
      finish(copy, link->pq->status(link->pg) == CONNECTION_OK);
  }
}

static void on_start(struct pg_job *job) {
  struct pg_copy *copy = copy_of(job);
  copy->phase = COPY_SETTING;
  if (!pg_session_begin_raw(job))
    pg_link_fail(link_of(copy), ERR_UNAVAILABLE, "a statement could not be sent to the database");
  else
    pg_link_flush(link_of(copy));
}

/* Before its end was sent it cannot have happened. */
static void on_fail(struct pg_job *job, enum pg_outcome outcome, const struct err *reason) {
  struct pg_copy *copy = copy_of(job);
  if (copy->phase == COPY_OVER)
    return;
  if (outcome == PG_UNKNOWN && copy->phase != COPY_CLOSING)
    outcome = loop_now_ms(job->pool->loop) >= job->deadline_ms ? PG_CANCELLED : PG_RETRYABLE;
  note(copy, outcome, reason);
  finish(copy, false);
}

static void on_raw(struct pg_job *job) {
  go_on(copy_of(job));
}

static const struct pg_job_kind copy_kind = {.start = on_start, .fail = on_fail, .on_raw = on_raw};

struct pg_copy *pg_copy_open(struct pg_pool *pool, enum stmt copy_stmt, int64_t timeout_ms, pg_room_fn *on_room, pg_done_fn *done,
                             void *ctx, struct err *err) {
  const struct stmt_info *info = stmt_info(copy_stmt);
  if (!info || !info->is_copy) {
    err_set(err, ERR_INTERNAL, "%s is no copy", info ? info->name : "?");
    return NULL;
  }
  struct pg_copy *copy = mem_zalloc(sizeof *copy);
  if (!copy) {
    err_no_memory(err);
    return NULL;
  }
  copy->info = info;
  copy->on_room = on_room;
  copy->done = done;
  copy->ctx = ctx;
  buf_init(&copy->out, BUFFER_MAX);
  copy->job = (struct pg_job){.kind = &copy_kind,
                              .pool = pool,
                              .deadline_ms = pg_pool_deadline(pool, timeout_ms > 0 ? timeout_ms : COPY_TIMEOUT_MS),
                              .bytes = sizeof *copy};
  if (pg_job_submit(&copy->job, err))
    return copy;
  copy_free(copy);
  return NULL;
}

static void add_row(struct buf *out, const struct pg_args *row) {
  char size[4];
  wire_put_u16(size, (uint16_t)row->count);
  buf_add(out, size, 2);
  for (unsigned i = 0; i < row->count; i++) {
    int32_t n = row->params[i].size;
    wire_put_u32(size, (uint32_t)n);
    buf_add(out, size, 4);
    if (n > 0)
      buf_add(out, row->bytes.p + row->params[i].at, (size_t)n);
  }
}

bool pg_copy_row(struct pg_copy *copy, struct pg_args *row) {
  struct err err;
  if (copy->phase == COPY_OPEN && copy->outcome == PG_DONE) {
    bool right = stmt_info(row->stmt) == copy->info || err_set(&err, ERR_INTERNAL, "a row of another copy than %s", copy->info->name);
    if (!right || !pg_args_check(row, &err))
      note(copy, PG_REJECTED, &err);
    else
      add_row(&copy->out, row);
    if (!buf_ok(&copy->out, &err))
      note(copy, PG_REJECTED, &err);
  }
  pg_args_release(row);
  if (copy->phase == COPY_OPEN && copy->outcome == PG_DONE && copy->out.n >= CHUNK_BYTES)
    loop_defer(copy->job.pool->loop, &copy->again, go_on, copy);
  copy->full = copy->out.n >= FULL_BYTES;
  return !copy->full;
}

static void end_copy(struct pg_copy *copy, bool abort_it) {
  if (copy->phase == COPY_OVER || copy->released)
    return;
  copy->released = true;
  copy->aborted = abort_it;
  if (copy->phase != COPY_OPEN) {
    struct err err;
    err_set(&err, ERR_CANCELLED, "the copy was ended before it had begun");
    note(copy, PG_CANCELLED, &err);
  }
  if (abort_it || copy->outcome != PG_DONE) {
    buf_reset(&copy->out);
  } else {
    char trailer[2];
    wire_put_u16(trailer, UINT16_MAX);
    buf_add(&copy->out, trailer, sizeof trailer);
  }
  if (copy->phase == COPY_OPEN) {
    copy->phase = COPY_ENDING;
    loop_defer(copy->job.pool->loop, &copy->again, go_on, copy);
  }
}

void pg_copy_end(struct pg_copy *copy) {
  end_copy(copy, false);
}

void pg_copy_abort(struct pg_copy *copy) {
  end_copy(copy, true);
}
