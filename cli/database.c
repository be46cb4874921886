#include "cli/database.h"

#include "base/log.h"
#include "base/mem.h"
#include "storage/active.h"
#include "storage/migrate.h"
#include "storage/pg/pg.h"
#include "storage/pg/pg_ahead.h"
#include "storage/pg/pg_private.h"

enum { MIGRATE_RETRY_MS = 1000, HOLDER_WAIT_MS = 15000, DRAIN_MS = 10000 };

/* What happens in which order: the server is found (or started), the schema is brought up to date on a thread, then we become the active
 * service, then statements flow. */
struct database {
  struct loop *loop;
  struct work_pool *work;
  struct database_config config;
  database_fn *fn;
  void *ctx;
  struct pg_private *server; /* NULL with --db */
  char *conninfo;            /* NULL: the server is not there yet */
  struct pg_pool *pool;
  struct active *active;
  struct pg_ahead *ahead; /* of the private server */
  struct work migration;
  struct migrate_brake brake; /* of the migration */
  bool migrating, migrated, ready, up, stopping, closed;
  struct err migrate_err; /* of the last try */
  struct migrate_report report;
  struct loop_timer *retry, *patience; /* patience: with statements in flight at the stop */
  struct loop_defer step;              /* of the stop */
  loop_fn *stopped;
  void *stopped_ctx;
  char kind[128];
};

static void tell(struct database *db, enum database_event event, const struct err *reason) {
  if (!db->stopping)
    db->fn(db->ctx, event, reason);
}

/* ---- stopping ---- */

static void stop_ahead(struct database *db) {
  pg_ahead_free(db->ahead);
  db->ahead = NULL;
}

static void finish_stop(void *ctx) {
  struct database *db = ctx;
  db->stopped(db->stopped_ctx);
}

/* No connection of ours is left when the server is asked to end. */
static void stop_server(void *ctx) {
  struct database *db = ctx;
  if (db->closed)
    return;
  db->closed = true; /* the pool's memory stays: some parts of the service may still ask it */
  loop_timer_stop(db->patience);
  active_free(db->active);
  db->active = NULL;
  pg_pool_close(db->pool);
  if (!db->server || pg_private_state(db->server) == PG_PRIVATE_FAILED || pg_private_state(db->server) == PG_PRIVATE_STOPPED)
    loop_defer(db->loop, &db->step, finish_stop, db);
  else
    pg_private_stop(db->server);
}

static void on_pool_drained(void *ctx) {
  struct database *db = ctx;
  loop_defer(db->loop, &db->step, stop_server, db);
}

/* What waits for a database that is away is not waited for. */
static void stop_pool(struct database *db) {
  stop_ahead(db);
  loop_timer_start(db->patience, db->up ? DRAIN_MS : 0);
  pg_pool_drain(db->pool, on_pool_drained, db);
}

void database_stop(struct database *db, loop_fn *done, void *ctx) {
  db->stopping = true;
  db->stopped = done;
  db->stopped_ctx = ctx;
  loop_timer_stop(db->retry);
  if (db->migrating)
    migrate_brake_pull(&db->brake); /* its end goes on */
  else
    stop_pool(db);
}

/* ---- starting ---- */

/* Without it all goes on, only slower at times. */
static void start_ahead(struct database *db) {
  struct err err;
  if (!db->server || db->stopping)
    return;
  db->ahead = pg_ahead_new(db->loop, db->pool, db->work, pg_private_place(db->server), &err);
  if (!db->ahead)
    log_debug("database", NULL, "%s", err.text);
}

static void on_active(void *ctx, enum active_state state, const struct err *reason) {
  struct database *db = ctx;
  switch (state) {
  case ACTIVE_HELD:
    if (db->ready)
      break;
    db->ready = true;
    start_ahead(db);
    tell(db, DATABASE_READY, reason);
    break;
  case ACTIVE_LOST:
    tell(db, DATABASE_OVER, reason);
    break;
  case ACTIVE_SILENT:
    pg_pool_hang_up(db->pool, reason);
    break;
  case ACTIVE_SEEKING:
  case ACTIVE_UNSURE:
    break;
  }
}

static void on_pool_state(void *ctx, bool up, const struct err *reason) {
  struct database *db = ctx;
  if (up == db->up)
    return;
  db->up = up;
  tell(db, up ? DATABASE_UP : DATABASE_DOWN, reason);
}

static bool start_flow(struct database *db, struct err *err) {
  struct active_conf conf = {
      .conninfo = db->conninfo, .data_dir = db->config.data_dir, .wait_ms = HOLDER_WAIT_MS, .rng = rng_for(rng_u64(&db->config.rng), 1, 0)};
  db->active = active_new(db->loop, &conf, on_active, db, err);
  return db->active && pg_pool_start(db->pool, db->conninfo, err);
}

static void run_migration(struct work *work) {
  struct database *db = CONTAINER_OF(work, struct database, migration);
  db->migrate_err = (struct err){0};
  db->migrated = migrate_with_brake(db->conninfo, &db->brake, db->config.seed, &db->report, &db->migrate_err);
}

static void on_migration(struct work *work, bool cancelled) {
  struct database *db = CONTAINER_OF(work, struct database, migration);
  struct err err;
  db->migrating = false;
  if (db->stopping || cancelled) {
    if (db->stopping && db->stopped)
      stop_pool(db);
    return;
  }
  if (!db->migrated && err_info(db->migrate_err.code)->retryable) {
    tell(db, DATABASE_DOWN, &db->migrate_err);
    loop_timer_start(db->retry, MIGRATE_RETRY_MS);
    return;
  }
  if (!db->migrated) {
    tell(db, DATABASE_OVER, &db->migrate_err);
    return;
  }
  if (db->report.applied)
    log_info("database", NULL, "%zu migrations applied, the newest is %s", db->report.applied, db->report.last);
  if (!start_flow(db, &err))
    tell(db, DATABASE_OVER, &err);
}

static void begin_migration(void *ctx) {
  struct database *db = ctx;
  struct err err;
  db->migration = (struct work){.run = run_migration, .done = on_migration};
  db->migrating = work_submit(db->work, &db->migration, &err);
  if (!db->migrating)
    loop_timer_start(db->retry, MIGRATE_RETRY_MS);
}

/* ---- the private server ---- */

static bool note_conninfo(struct database *db, const char *conninfo, struct err *err) {
  db->conninfo = mem_strdup(conninfo);
  return db->conninfo || err_no_memory(err);
}

/* Who removes the data directory would never find it. */
static void tell_place(const struct pg_place *place) {
  if (!str_starts(str_of(place->data), str_of(place->dir)))
    log_info("database", NULL, "the database lies in %s, for the user it runs as cannot reach %s", place->data, place->dir);
}

static void on_server(void *ctx, enum pg_private_state state, const char *conninfo, const struct err *reason) {
  struct database *db = ctx;
  struct err err;
  switch (state) {
  case PG_PRIVATE_UP:
    if (db->conninfo || db->stopping)
      break; /* it came back: the pool finds it by itself */
    snprintf(db->kind, sizeof db->kind, "private Postgres %.60s", pg_private_place(db->server)->programs.version);
    tell_place(pg_private_place(db->server));
    if (note_conninfo(db, conninfo, &err))
      begin_migration(db);
    else
      tell(db, DATABASE_OVER, &err);
    break;
  case PG_PRIVATE_DOWN:
    log_warn("database", NULL, "the private Postgres died: %s", reason->text);
    break;
  case PG_PRIVATE_FAILED:
    tell(db, DATABASE_OVER, reason);
    if (db->stopped)
      loop_defer(db->loop, &db->step, finish_stop, db);
    break;
  case PG_PRIVATE_STOPPED:
    if (db->stopped)
      loop_defer(db->loop, &db->step, finish_stop, db);
    break;
  case PG_PRIVATE_IDLE:
  case PG_PRIVATE_PREPARING:
  case PG_PRIVATE_WAITING:
  case PG_PRIVATE_STARTING:
  case PG_PRIVATE_PASSWORD:
  case PG_PRIVATE_STOPPING:
    break;
  }
}

static bool find_server(struct database *db, struct err *err) {
  if (db->config.url) {
    snprintf(db->kind, sizeof db->kind, "Postgres given by --db");
    loop_timer_start(db->retry, 0);
    return note_conninfo(db, db->config.url, err);
  }
  struct pg_private_conf conf = {.place = {.dir = db->config.data_dir, .user = db->config.pg_user},
                                 .rng = rng_for(rng_u64(&db->config.rng), 2, 0)};
  db->server = pg_private_new(db->loop, db->work, &conf, on_server, db, err);
  if (!db->server)
    return false;
  pg_private_start(db->server);
  return true;
}

struct database *database_new(struct loop *loop, struct work_pool *work, const struct database_config *config, database_fn *fn, void *ctx,
                              struct err *err) {
  struct database *db = mem_zalloc(sizeof *db);
  if (!db) {
    err_no_memory(err);
    return NULL;
  }
  *db = (struct database){.loop = loop, .work = work, .config = *config, .fn = fn, .ctx = ctx, .brake = MIGRATE_BRAKE_INIT};
  struct pg_pool_conf conf = pg_pool_conf_default();
  conf.connections = config->connections;
  conf.first_ms = config->url ? conf.away_ms : conf.timeout_ms; /* one that is being made will be there, be the machine ever so busy */
  conf.rng = rng_for(rng_u64(&db->config.rng), 0, 0);
  db->retry = loop_timer_new(loop, begin_migration, db);
  db->patience = loop_timer_new(loop, stop_server, db);
  db->pool = db->retry && db->patience ? pg_pool_new(loop, &conf, err) : NULL;
  if (!db->retry || !db->patience)
    err_no_memory(err);
  if (!db->pool || !find_server(db, err)) {
    database_free(db);
    return NULL;
  }
  pg_pool_on_state(db->pool, on_pool_state, db);
  return db;
}

struct pg_pool *database_pool(struct database *db) {
  return db->pool;
}

int64_t database_epoch(const struct database *db) {
  return db->active ? active_epoch(db->active) : 0;
}

const char *database_conninfo(const struct database *db) {
  return db->conninfo;
}

const char *database_kind(const struct database *db) {
  return db->kind;
}

const char *database_directory(const struct database *db) {
  return db->server && db->conninfo ? pg_private_place(db->server)->data : NULL;
}

void database_free(struct database *db) {
  if (!db)
    return;
  db->stopping = true;
  loop_defer_cancel(&db->step);
  active_free(db->active);
  stop_ahead(db);
  pg_pool_free(db->pool);
  pg_private_free(db->server);
  loop_timer_free(db->patience);
  loop_timer_free(db->retry);
  if (db->conninfo)
    mem_wipe(db->conninfo, strlen(db->conninfo));
  mem_free(db->conninfo);
  mem_free(db);
}
