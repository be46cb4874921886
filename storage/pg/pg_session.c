/* Sessions: dedicated connections, opened when a job needs one, up to a ceiling, and lent to one job at a time. */
#include "storage/pg/pq.h"

#include "storage/pg/pg_inside.h"

#include "base/mem.h"

/* A job whose session does not answer is given up this long after its deadline: the server's own timeout comes first. */
#define JOB_GRACE_MS 2000

static const struct link_events session_events;

static void session_free(void *ctx) {
  struct pg_session *session = ctx;
  pg_link_release(&session->link);
  mem_free(session);
}

/* Closed now, freed at the end of the turn: its own code may be on the stack. */
static void session_drop(struct pg_session *session) {
  struct pg_pool *pool = session->pool;
  if (!session->node.list)
    return;
  pg_link_close(&session->link);
  list_remove(&session->node);
  loop_defer(pool->loop, &session->release, session_free, session);
}

static struct pg_session *session_open(struct pg_pool *pool) {
  struct err err;
  struct pg_session *session = mem_zalloc(sizeof *session);
  if (!session)
    return NULL;
  session->pool = pool;
  if (pg_link_init(&session->link, pool->loop, pool->conf.pq, &session_events, session, &err) &&
      pg_link_connect(&session->link, &pool->session_target, 0, &err)) {
    list_push_back(&pool->sessions, &session->node);
    return session;
  }
  pg_link_release(&session->link);
  mem_free(session);
  return NULL;
}

static struct pg_session *find_idle(struct pg_pool *pool) {
  LIST_EACH(&pool->sessions, node) {
    struct pg_session *session = LIST_ENTRY(node, struct pg_session, node);
    if (!session->job && session->link.state == LINK_UP)
      return session;
  }
  return NULL;
}

static void lend(struct pg_pool *pool, struct pg_session *session) {
  struct pg_job *job = LIST_ENTRY(list_pop_front(&pool->jobs_waiting), struct pg_job, node);
  pool->stats.waiting_bytes -= job->bytes;
  list_push_back(&pool->jobs_running, &job->node);
  job->session = session;
  session->job = job;
  job->kind->start(job);
}

void pg_sessions_pump(struct pg_pool *pool) {
  if (pool->stopped)
    return;
  for (struct pg_session *session; pool->jobs_waiting.first && (session = find_idle(pool));)
    lend(pool, session);
  size_t connecting = 0;
  LIST_EACH(&pool->sessions, node)
  connecting += LIST_ENTRY(node, struct pg_session, node)->link.state == LINK_CONNECTING;
  while (pool->stats.connections_up && connecting < pool->jobs_waiting.count && pool->sessions.count < pool->conf.sessions &&
         session_open(pool))
    connecting++;
}

static void pump_later(void *ctx) {
  pg_sessions_pump(ctx);
}

void pg_sessions_pump_later(struct pg_pool *pool) {
  if (!pool->stopped)
    loop_defer(pool->loop, &pool->pump, pump_later, pool);
}

bool pg_job_submit(struct pg_job *job, struct err *err) {
  struct pg_pool *pool = job->pool;
  if (!pg_pool_admits(pool, job->bytes, err))
    return false;
  pool->stats.waiting_bytes += job->bytes;
  job->since_ms = loop_now_ms(pool->loop);
  list_push_back(&pool->jobs_waiting, &job->node);
  pg_sessions_pump_later(pool);
  pg_pool_tick_on(pool);
  return true;
}

bool pg_session_begin_raw(struct pg_job *job) {
  struct pg_link *link = &job->session->link;
  int64_t left = MAX_OF(job->deadline_ms - loop_now_ms(job->pool->loop), (int64_t)1);
  char text[32];
  snprintf(text, sizeof text, "%lldms", (long long)MIN_OF(left, (int64_t)INT32_MAX));
  const char *value = text;
  return pg_link_set_raw(link, true) &&
         link->pq->send_params(link->pg, stmt_info(STMT_SET_SESSION_TIMEOUT)->sql, 1, NULL, &value, NULL, NULL, 0);
}

void pg_job_release_session(struct pg_job *job, bool reusable) {
  struct pg_session *session = job->session;
  if (!session)
    return;
  job->session = NULL;
  session->job = NULL;
  struct pg_link *link = &session->link;
  if (link->state == LINK_UP && !link->reading)
    pg_link_set_reading(link, true);
  if (!reusable || link->state != LINK_UP || !pg_link_set_raw(link, false))
    session_drop(session);
  pg_sessions_pump_later(job->pool);
}

void pg_job_forget(struct pg_job *job) {
  pg_job_release_session(job, false);
  if (job->node.list == &job->pool->jobs_waiting)
    job->pool->stats.waiting_bytes -= job->bytes;
  list_remove(&job->node);
  pg_pool_check_drained(job->pool);
}

/* Takes the session away, then calls fail. */
static void job_fail(struct pg_job *job, enum pg_outcome outcome, const struct err *reason) {
  struct err kept = *reason;
  pg_job_forget(job);
  job->kind->fail(job, outcome, &kept);
}

/* ---- what the connections say ---- */

static void on_session_up(void *ctx, struct pg_link *link UNUSED) {
  pg_sessions_pump(((struct pg_session *)ctx)->pool);
}

static void on_session_down(void *ctx, struct pg_link *link UNUSED, const struct err *reason) {
  struct pg_session *session = ctx;
  struct pg_job *job = session->job;
  if (job)
    job_fail(job, PG_UNKNOWN, reason);
  session_drop(session); /* those that wait get another at the next tick */
}

static void on_session_raw(void *ctx, struct pg_link *link UNUSED) {
  struct pg_session *session = ctx;
  if (session->job)
    session->job->kind->on_raw(session->job);
}

static const struct link_events session_events = {
    .on_up = on_session_up,
    .on_down = on_session_down,
    .on_raw = on_session_raw,
};

/* ---- time and the end ---- */

static void expire_waiting(struct pg_job *job) {
  struct pg_pool *pool = job->pool;
  struct err err;
  if (pool->stats.connections_up)
    err_set(&err, ERR_DEADLINE, "no database session became free in time");
  else
    err_set(&err, ERR_UNAVAILABLE, "the database is away: %s", pool->away.text[0] ? pool->away.text : "it is being started");
  job_fail(job, PG_CANCELLED, &err);
}

static bool has_waited_enough(const struct pg_job *job) {
  return pg_pool_is_late(job->pool, job->since_ms, job->deadline_ms);
}

static bool has_run_out(const struct pg_job *job) {
  return job->deadline_ms <= loop_now_ms(job->pool->loop) - JOB_GRACE_MS;
}

/* A callback may end any other job: after each one the search begins anew. */
static struct pg_job *next_late(const struct list *jobs, bool (*is_late)(const struct pg_job *job)) {
  LIST_EACH(jobs, node) {
    struct pg_job *job = LIST_ENTRY(node, struct pg_job, node);
    if (is_late(job))
      return job;
  }
  return NULL;
}

void pg_sessions_tick(struct pg_pool *pool) {
  struct err err;
  err_set(&err, ERR_DEADLINE, "it was not finished in time");
  for (struct pg_job *job; (job = next_late(&pool->jobs_waiting, has_waited_enough));)
    expire_waiting(job);
  for (struct pg_job *job; (job = next_late(&pool->jobs_running, has_run_out));)
    job_fail(job, PG_UNKNOWN, &err);
  if (pool->jobs_waiting.first)
    pg_sessions_pump(pool);
}

/* Each call drops the session from the list. */
void pg_sessions_hang_up(struct pg_pool *pool, const struct err *reason) {
  while (pool->sessions.first)
    pg_link_fail(&LIST_ENTRY(pool->sessions.first, struct pg_session, node)->link, reason->code, reason->text);
}

void pg_sessions_stop(struct pg_pool *pool) {
  struct err err;
  err_set(&err, ERR_UNAVAILABLE, "the service is stopping");
  while (pool->jobs_waiting.first)
    job_fail(LIST_ENTRY(pool->jobs_waiting.first, struct pg_job, node), PG_CANCELLED, &err);
  while (pool->jobs_running.first)
    job_fail(LIST_ENTRY(pool->jobs_running.first, struct pg_job, node), PG_UNKNOWN, &err);
  while (pool->sessions.first)
    session_drop(LIST_ENTRY(pool->sessions.first, struct pg_session, node));
  loop_defer_cancel(&pool->pump);
}
