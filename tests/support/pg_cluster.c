#define WINNOW_ALLOW_BLOCKING_PQ /* a test prepares its ground */
#include "storage/pg/pq.h"

#include "tests/support/pg_cluster.h"

#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"
#include "storage/migrate.h"

static NORETURN void give_up(const char *what, const struct err *err) {
  fprintf(stderr, "%s: %s%s%s\n", what, err->text, err->hint[0] ? "\n  " : "", err->hint);
  exit(1);
}

struct pg_private_conf pg_cluster_conf(const char *dir, const char *settings) {
  static char cache[128];
  const char *tmp = getenv("TMPDIR");
  snprintf(cache, sizeof cache, "%.80s/winnow-test-cache-%u", tmp ? tmp : "/tmp", (unsigned)geteuid());
  return (struct pg_private_conf){
      .place = {.dir = dir, .cache_dir = cache, .run_dir = "/tmp", .settings = settings}, .rng = rng_seeded(1), .stop_ms = 10000};
}

static void on_change(void *ctx, enum pg_private_state state, const char *conninfo, const struct err *reason) {
  struct pg_cluster *cluster = ctx;
  cluster->up = state == PG_PRIVATE_UP;
  if (state == PG_PRIVATE_FAILED)
    give_up("the test's database", reason);
  if (conninfo && !cluster->conninfo)
    cluster->conninfo = mem_strdup(conninfo);
}

void pg_cluster_start(struct pg_cluster *cluster, const char *settings) {
  struct err err;
  *cluster = (struct pg_cluster){.up = false};
  log_setup(getenv("WINNOW_TEST_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_TEXT, 2);
  temp_dir_make(&cluster->dir);
  if (chmod(cluster->dir.path, 0711) != 0) /* the database's user passes through */
    perror(cluster->dir.path);
  cluster->loop = loop_new(&clock_system, &err);
  cluster->work = cluster->loop ? work_pool_new(cluster->loop, 1, 16, &err) : NULL;
  struct pg_private_conf conf = pg_cluster_conf(cluster->dir.path, settings);
  cluster->server = cluster->work ? pg_private_new(cluster->loop, cluster->work, &conf, on_change, cluster, &err) : NULL;
  if (!cluster->server)
    give_up("the test's database", &err);
  pg_private_start(cluster->server);
  loop_until(cluster->loop, &cluster->up, 60000);
  struct migrate_report report;
  if (!migrate(cluster->conninfo, &report, &err))
    give_up("the schema of the test's database", &err);
}

void pg_cluster_stop(struct pg_cluster *cluster) {
  pg_private_free(cluster->server);
  work_pool_free(cluster->work);
  loop_free(cluster->loop);
  mem_free(cluster->conninfo);
  temp_dir_remove(&cluster->dir);
}

struct pg_pool *pg_cluster_pool(struct pg_cluster *cluster, const struct pg_pool_conf *conf) {
  struct err err;
  struct pg_pool_conf usual = pg_pool_conf_default();
  struct pg_pool *pool = pg_pool_new(cluster->loop, conf ? conf : &usual, &err);
  if (!pool || !pg_pool_start(pool, cluster->conninfo, &err))
    give_up("the test's pool", &err);
  return pool;
}

/* So that a blocking turn ends. */
static void wake(void *ctx) {
  loop_timer_start(*(struct loop_timer **)ctx, 10);
}

static void turn_until(struct loop *loop, const bool *flag, int64_t ms, bool must) {
  struct loop_timer *timer = loop_timer_new(loop, wake, &timer);
  if (!timer)
    exit(1);
  loop_timer_start(timer, 1);
  int64_t end = clock_mono_ms(&clock_system) + ms;
  while (!(flag && *flag) && clock_mono_ms(&clock_system) < end)
    loop_turn(loop, true);
  loop_timer_free(timer);
  log_flush();
  if (must && !*flag) {
    fprintf(stderr, "nothing happened within %lld ms\n", (long long)ms);
    abort();
  }
}

void loop_until(struct loop *loop, const bool *flag, int64_t ms) {
  turn_until(loop, flag, ms, true);
}

void loop_for(struct loop *loop, int64_t ms) {
  turn_until(loop, NULL, ms, false);
}

static PGconn *connect_now(struct pg_cluster *cluster) {
  PGconn *pg = PQconnectdb(cluster->conninfo);
  if (PQstatus(pg) != CONNECTION_OK) {
    fprintf(stderr, "%s\n", PQerrorMessage(pg));
    exit(1);
  }
  PQclear(PQexec(pg, "set client_min_messages = error; set search_path = winnow, public"));
  return pg;
}

static PGresult *exec_now(PGconn *pg, const char *sql) {
  PGresult *result = PQexec(pg, sql);
  if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
    fprintf(stderr, "%s: %s\n", sql, PQerrorMessage(pg));
    exit(1);
  }
  return result;
}

void pg_cluster_sql(struct pg_cluster *cluster, const char *sql) {
  PGconn *pg = connect_now(cluster);
  PQclear(exec_now(pg, sql));
  PQfinish(pg);
}

int64_t pg_cluster_int(struct pg_cluster *cluster, const char *sql) {
  PGconn *pg = connect_now(cluster);
  PGresult *result = exec_now(pg, sql);
  int64_t value = 0;
  if (PQntuples(result) != 1 || !str_to_i64(str_of(PQgetvalue(result, 0, 0)), &value)) {
    fprintf(stderr, "%s: no number\n", sql);
    exit(1);
  }
  PQclear(result);
  PQfinish(pg);
  return value;
}

void seen_done(void *ctx, const struct pg_reply *reply) {
  struct seen *seen = ctx;
  seen->done = true;
  seen->count++;
  seen->outcome = pg_outcome(reply);
  seen->err = *pg_err(reply);
  snprintf(seen->sqlstate, sizeof seen->sqlstate, "%s", pg_sqlstate(reply));
  seen->rows = pg_rows(reply);
}
