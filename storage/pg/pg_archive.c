#define WINNOW_ALLOW_BLOCKING_PQ /* takes a connection string apart, connects nowhere */
#include "storage/pg/pq.h"

#include "storage/pg/pg_archive.h"

#include "base/arena.h"
#include "storage/pg/pg_find.h"

enum { ENVIRONMENT_MAX = 64 };

/* Beside the server's programs, or where PATH says. */
static const char *find_program(const char *name, struct arena *arena, struct err *err) {
  struct pg_programs programs;
  struct err ignored;
  struct str rest = str_of(getenv("PATH")), part;
  if (pg_programs_find(NULL, 0, &programs, &ignored)) {
    const char *path = arena_printf(arena, "%s/%s", programs.dir, name);
    if (path && access(path, X_OK) == 0)
      return path;
  }
  while (str_split(&rest, ':', &part)) {
    const char *path = arena_printf(arena, "%.*s/%s", STR_ARG(part), name);
    if (part.n && part.p[0] == '/' && path && access(path, X_OK) == 0)
      return path;
  }
  err_set(err, ERR_NOT_FOUND, "there is no %s on the service's machine", name);
  err_hint(err, "Debian: apt install postgresql-client");
  return NULL;
}

static void options_cleanup(PQconninfoOption **options) {
  PQconninfoFree(*options);
}

/* Every keyword that has a variable becomes one: arguments can be read by everybody. */
static bool make_environment(const char *conninfo, struct arena *arena, const char **environment, struct err *err) {
  char *message = NULL;
  size_t n = 0;
  CLEANUP(options_cleanup) PQconninfoOption *options = PQconninfoParse(conninfo, &message);
  PQfreemem(message);
  if (!options)
    return err_set(err, ERR_INVALID, "the connection string is not understood");
  environment[n++] = "PATH=/usr/bin:/bin";
  environment[n++] = "LC_ALL=C";
  environment[n++] = "TZ=UTC";
  for (const PQconninfoOption *option = options; option->keyword; option++) {
    if (!option->val || !option->envvar || n == ENVIRONMENT_MAX)
      continue;
    environment[n] = arena_printf(arena, "%s=%s", option->envvar, option->val);
    if (!environment[n++])
      return err_no_memory(err);
  }
  environment[n] = NULL;
  return true;
}

static bool run(const char *conninfo, const char **argv, struct subproc_io *io, struct err *err) {
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  const char *environment[ENVIRONMENT_MAX + 1];
  const struct run_as us = {.drop = false};
  argv[0] = find_program(argv[0], &arena, err);
  return argv[0] && make_environment(conninfo, &arena, environment, err) && subproc_pipe(&us, argv, environment, io, err);
}

bool pg_archive_dump(const char *conninfo, struct subproc_io *io, struct err *err) {
  const char *argv[] = {"pg_dump",    "--format=custom", "--compress=1",  "--schema=winnow",
                        "--no-owner", "--no-privileges", "--no-password", "--lock-wait-timeout=60s",
                        NULL};
  return run(conninfo, argv, io, err);
}

bool pg_archive_load(const char *conninfo, struct subproc_io *io, struct err *err) {
  char database[64 + 32] = "";
  char *message = NULL;
  CLEANUP(options_cleanup) PQconninfoOption *options = PQconninfoParse(conninfo, &message);
  PQfreemem(message);
  for (const PQconninfoOption *option = options; option && option->keyword; option++)
    if (strcmp(option->keyword, "dbname") == 0 && option->val)
      snprintf(database, sizeof database, "--dbname=%.80s", option->val);
  const char *argv[] = {"pg_restore",
                        "--single-transaction",
                        "--exit-on-error",
                        "--no-owner",
                        "--no-privileges",
                        "--no-password",
                        database[0] ? database : "--dbname=winnow",
                        NULL};
  return run(conninfo, argv, io, err);
}
