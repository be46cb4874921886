#define WINNOW_ALLOW_BLOCKING_PQ /* runs at start, before the loop, or on a thread */
#include "storage/pg/pq.h"

#include "storage/migrate.h"

#include <sys/socket.h>

#include "base/buf.h"
#include "storage/pg/pg_target.h"

enum { OLDEST_SERVER = 130000 };

static void connection_cleanup(PGconn **pg) {
  PQfinish(*pg);
}

static void result_cleanup(PGresult **result) {
  PQclear(*result);
}

#define AUTO_RESULT CLEANUP(result_cleanup)

static bool tell(PGconn *pg, const PGresult *result, const char *what, struct err *err) {
  const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
  const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
  struct str why, rest = str_trim(str_of(message ? message : PQerrorMessage(pg)));
  if (!str_split(&rest, '\n', &why))
    why = STR("no reason was given");
  enum err_code code = ERR_INTERNAL;
  if (!sqlstate || PQstatus(pg) == CONNECTION_BAD)
    code = ERR_UNAVAILABLE;
  else if (strcmp(sqlstate, "53100") == 0)
    code = ERR_NO_SPACE;
  else if (strcmp(sqlstate, "55P03") == 0)
    code = ERR_CONFLICT; /* the lock was not given in time */
  else if (strcmp(sqlstate, "42501") == 0)
    code = ERR_FORBIDDEN;
  err_set(err, code, "%s: %.*s", what, STR_ARG(why));
  if (code == ERR_FORBIDDEN)
    err_hint(err, "the database's user needs the right to create a schema: grant create on database ... to ...");
  return false;
}

static bool run_text(PGconn *pg, const char *sql, const char *what, struct err *err) {
  AUTO_RESULT PGresult *result = PQexec(pg, sql);
  ExecStatusType status = PQresultStatus(result);
  return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || tell(pg, result, what, err);
}

static bool run(PGconn *pg, enum stmt stmt, const char *what, struct err *err) {
  return run_text(pg, stmt_info(stmt)->sql, what, err);
}

/* Line of the migration that an error points at; 0 when it does not say. */
static size_t line_of(const char *sql, const PGresult *result) {
  const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
  int64_t at = 0;
  if (!position || !str_to_i64(str_of(position), &at))
    return 0;
  size_t line = 1;
  for (int64_t i = 1; i < at && sql[i - 1]; i++)
    line += sql[i - 1] == '\n';
  return line;
}

static bool apply(PGconn *pg, const struct migration *migration, struct err *err) {
  if (!run(pg, STMT_TX_BEGIN, "cannot begin a migration", err))
    return false;
  AUTO_RESULT PGresult *result = PQexec(pg, migration->sql);
  ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    size_t line = line_of(migration->sql, result);
    tell(pg, result, "the database refused it", err);
    err_prefix(err, "migration %s, line %zu", migration->name, line);
    struct err ignored;
    (void)!run(pg, STMT_TX_ROLLBACK, "", &ignored);
    return err_hint(err, "nothing of this migration was done; those before it stay. Once the cause is gone, start again");
  }
  const char *values[] = {migration->name, migration->sha256, WINNOW_VERSION};
  AUTO_RESULT PGresult *noted = PQexecParams(pg, stmt_info(STMT_MIGRATE_NOTE)->sql, 3, NULL, values, NULL, NULL, 0);
  if (PQresultStatus(noted) != PGRES_COMMAND_OK)
    return tell(pg, noted, "cannot note a migration", err);
  return run(pg, STMT_TX_COMMIT, "cannot commit a migration", err);
}

/* Those applied must be the first of the list, unchanged. */
static bool compare(const PGresult *applied, const struct migration *list, size_t count, struct err *err) {
  for (int i = 0; i < PQntuples(applied); i++) {
    const char *name = PQgetvalue(applied, i, 0);
    size_t known = 0;
    while (known < count && strcmp(list[known].name, name) != 0)
      known++;
    if (known == count) {
      err_set(err, ERR_CONFLICT, "the database was made by a newer winnow: migration %s is not known here", name);
      return err_hint(err, "use winnow %s or later; this is %s", PQgetvalue(applied, i, 2), WINNOW_VERSION);
    }
    if (known != (size_t)i) {
      err_set(err, ERR_CONFLICT, "migration %s was applied out of order: %s before it is missing", name, list[i].name);
      return err_hint(err, "restore the database from a backup, or use the winnow that made it");
    }
    if (strcmp(list[known].sha256, PQgetvalue(applied, i, 1)) != 0) {
      err_set(err, ERR_CONFLICT, "migration %s is not the one that was applied to this database: its text has changed", name);
      return err_hint(err, "it was applied by winnow %s; use that version or a later release", PQgetvalue(applied, i, 2));
    }
  }
  return true;
}

static bool check_server(PGconn *pg, struct err *err) {
  int version = PQserverVersion(pg);
  if (version < OLDEST_SERVER) {
    err_set(err, ERR_UNSUPPORTED, "the database server is PostgreSQL %d; winnow needs 13 or later", version / 10000);
    return err_hint(err, "upgrade the server, or start without --db to let winnow run its own");
  }
  const char *encoding = PQparameterStatus(pg, "server_encoding");
  if (encoding && strcmp(encoding, "UTF8") != 0) {
    err_set(err, ERR_UNSUPPORTED, "the database's encoding is %s; winnow needs UTF8", encoding);
    return err_hint(err, "create database winnow encoding 'UTF8' template template0");
  }
  return true;
}

static bool prepare_ground(PGconn *pg, struct err *err) {
  const char *what = "cannot prepare the database";
  if (!check_server(pg, err) || !run(pg, STMT_MIGRATE_LOCK_TIMEOUT, what, err) ||
      !run(pg, STMT_MIGRATE_LOCK, "another winnow is changing this database", err))
    return false;
  /* Looked up first: whoever may use the schema need not have the right to make one. */
  AUTO_RESULT PGresult *there = PQexec(pg, stmt_info(STMT_MIGRATE_LIST)->sql);
  return PQresultStatus(there) == PGRES_TUPLES_OK || (run(pg, STMT_MIGRATE_SCHEMA, what, err) && run(pg, STMT_MIGRATE_TABLE, what, err));
}

static bool migrate_on(PGconn *pg, const struct migration *list, size_t count, struct migrate_report *ret, struct err *err) {
  if (!prepare_ground(pg, err))
    return false;
  AUTO_RESULT PGresult *applied = PQexec(pg, stmt_info(STMT_MIGRATE_LIST)->sql);
  if (PQresultStatus(applied) != PGRES_TUPLES_OK)
    return tell(pg, applied, "cannot read the list of migrations", err);
  if (!compare(applied, list, count, err))
    return false;
  struct migrate_report report = {.known = count};
  for (size_t i = (size_t)PQntuples(applied); i < count; i++, report.applied++)
    if (!apply(pg, &list[i], err))
      return false;
  snprintf(report.last, sizeof report.last, "%s", count ? list[count - 1].name : "");
  *ret = report;
  return true;
}

static bool sow(PGconn *pg, const struct migrate_seed *seed, struct err *err) {
  if (!seed)
    return true;
  AUTO_RESULT PGresult *result = PQexecParams(pg, stmt_info(seed->stmt)->sql, (int)seed->count, NULL, seed->values, NULL, NULL, 0);
  ExecStatusType status = PQresultStatus(result);
  return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || tell(pg, result, "cannot write what a database begins with", err);
}

/* ---- the brake ---- */

/* False when it has been pulled. */
static bool brake_watch(struct migrate_brake *brake, int fd) {
  pthread_mutex_lock(&brake->lock);
  brake->fd = fd;
  bool pulled = brake->pulled;
  pthread_mutex_unlock(&brake->lock);
  return !pulled;
}

/* Under the lock, so that the descriptor still is the connection's. What waits for the server then sees the connection end. */
void migrate_brake_pull(struct migrate_brake *brake) {
  pthread_mutex_lock(&brake->lock);
  brake->pulled = true;
  if (brake->fd >= 0)
    shutdown(brake->fd, SHUT_RDWR);
  pthread_mutex_unlock(&brake->lock);
}

/* ---- all together ---- */

static bool run_list(const char *conninfo, struct migrate_brake *brake, const struct migration *list, size_t count,
                     const struct migrate_seed *seed, struct migrate_report *ret, struct err *err) {
  struct pg_target target;
  if (!pg_target_init(&target, conninfo, 0, err))
    return false;
  CLEANUP(connection_cleanup) PGconn *pg = PQconnectdbParams(target.keywords, target.values, 0);
  pg_target_release(&target);
  if (!pg)
    return err_no_memory(err);
  if (PQstatus(pg) != CONNECTION_OK)
    return tell(pg, NULL, "cannot connect to the database", err);
  bool ok = brake_watch(brake, PQsocket(pg)) ? migrate_on(pg, list, count, ret, err) && sow(pg, seed, err)
                                             : err_set(err, ERR_CANCELLED, "the migration was stopped");
  (void)!brake_watch(brake, -1);
  return ok;
}

bool migrate_with(const char *conninfo, const struct migration *list, size_t count, struct migrate_report *ret, struct err *err) {
  struct migrate_brake none = MIGRATE_BRAKE_INIT;
  return run_list(conninfo, &none, list, count, NULL, ret, err);
}

bool migrate_with_brake(const char *conninfo, struct migrate_brake *brake, const struct migrate_seed *seed, struct migrate_report *ret,
                        struct err *err) {
  return run_list(conninfo, brake, migrations, migration_count, seed, ret, err);
}

bool migrate(const char *conninfo, struct migrate_report *ret, struct err *err) {
  return migrate_with(conninfo, migrations, migration_count, ret, err);
}
