/* What the files of the pool share: the pool itself, and sessions, dedicated connections lent to jobs (streams).
 * Needs storage/pg/pq.h before it. */
#ifndef WINNOW_STORAGE_PG_INSIDE_H
#define WINNOW_STORAGE_PG_INSIDE_H

#include "storage/pg/pg_link.h"

struct pg_session;
struct pg_job;

/* Something that needs a session. Embedded first in its kind's struct. */
struct pg_job_kind {
  void (*start)(struct pg_job *job); /* job->session is up and idle */
  /* No session in time, its time has passed, or the connection is gone; the job has no session any more. Last call. */
  void (*fail)(struct pg_job *job, enum pg_outcome outcome, const struct err *reason);
  void (*on_raw)(struct pg_job *job); /* as link_events.on_raw */
};

struct pg_job {
  struct list_node node; /* of those that wait, or of those that run */
  const struct pg_job_kind *kind;
  struct pg_pool *pool;
  struct pg_session *session; /* NULL while it waits */
  int64_t since_ms, deadline_ms;
  size_t bytes;
};

struct pg_session {
  struct list_node node;
  struct pg_pool *pool;
  struct pg_link link;
  struct pg_job *job; /* NULL: idle or connecting */
  struct loop_defer release;
};

struct pg_slot {
  struct pg_link link;
  struct pg_pool *pool;
  struct loop_timer *retry;
  unsigned failures; /* since it was last up */
};

struct pg_pool {
  int64_t crash_ms; /* when the first connection of the last crash died; 0: none has */
  struct loop *loop;
  struct pg_pool_conf conf;
  struct pg_target target, session_target;
  struct pg_slot *slots;
  bool started, draining, stopped;
  bool rests;         /* nothing is dealt before the next turn */
  unsigned callbacks; /* depth: while in one, a draining pool takes what it issues */
  bool told, told_up;
  bool was_up;           /* once at least */
  int64_t grow_after_ms; /* no further connection before */
  struct err away;       /* why the database was last lost */
  int64_t away_since_ms; /* while no connection is up */
  struct list queue, finished;
  struct loop_defer deal, deliver, drained, pump;
  struct loop_timer *tick;
  struct list sessions, jobs_waiting, jobs_running;
  pg_state_fn *on_state;
  void *on_state_ctx;
  loop_fn *on_drained;
  void *on_drained_ctx;
  struct pg_pool_stats stats;
};

/* Is there room for one more? Fills *err when not. */
MUST_CHECK bool pg_pool_admits(struct pg_pool *pool, size_t bytes, struct err *err);
int64_t pg_pool_deadline(const struct pg_pool *pool, int64_t timeout_ms);
/* Has what waits since then and until then waited long enough? */
bool pg_pool_is_late(const struct pg_pool *pool, int64_t since_ms, int64_t deadline_ms);
/* Makes sure that deadlines are looked at. */
void pg_pool_tick_on(struct pg_pool *pool);
/* Calls back later in this turn. */
void pg_pool_finish_op(struct pg_pool *pool, struct pg_op *op);
void pg_pool_count(struct pg_pool *pool, enum pg_outcome outcome);
void pg_pool_check_drained(struct pg_pool *pool);
/* Around every call of a user's function. */
void pg_pool_enter(struct pg_pool *pool);
void pg_pool_leave(struct pg_pool *pool);
/* Calls `done` with a reply that holds only this. */
void pg_tell_failure(struct pg_pool *pool, pg_done_fn *done, void *ctx, enum pg_outcome outcome, const struct pg_failure *failure);

/* Kind, pool and deadline are set before. The job is started or failed later, never in here. */
MUST_CHECK bool pg_job_submit(struct pg_job *job, struct err *err);
/* In `start`: leaves pipeline mode and sends the session's statement_timeout for this job; its result and a NULL come in on_raw. */
MUST_CHECK bool pg_session_begin_raw(struct pg_job *job);
/* The job is done with its session: it goes back to the idle ones when `reusable` and in pipeline mode, else it is closed. */
void pg_job_release_session(struct pg_job *job, bool reusable);
/* Out of every list; before it is freed. */
void pg_job_forget(struct pg_job *job);
/* Lends sessions to those that wait. */
void pg_sessions_pump(struct pg_pool *pool);
/* At the end of this turn. */
void pg_sessions_pump_later(struct pg_pool *pool);
void pg_sessions_tick(struct pg_pool *pool);
void pg_sessions_hang_up(struct pg_pool *pool, const struct err *reason);
void pg_sessions_stop(struct pg_pool *pool);

#endif
