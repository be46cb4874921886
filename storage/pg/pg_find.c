#include "storage/pg/pg_find.h"

#include <glob.h>
#include <limits.h>

/* Besides PATH. Newer versions come later in a sorted glob or not: the highest version wins in any case. */
static const char *const usual_places[] = {
    "/usr/lib/postgresql/*/bin",      "/usr/pgsql-*/bin",
    "/usr/lib/postgresql*/bin",       "/usr/local/pgsql/bin",
    "/usr/local/lib/postgresql/bin",  "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin", "/opt/postgresql*/bin",
};

bool pg_version_parse(struct str line, int *ret_major, struct str *ret_version) {
  static const struct str head = {"postgres (PostgreSQL) ", 22};
  line = str_trim(line);
  if (!str_starts(line, head))
    return false;
  struct str version = str_slice(line, head.n, line.n);
  size_t digits = 0;
  while (digits < version.n && digits < 4 && version.p[digits] >= '0' && version.p[digits] <= '9')
    digits++;
  int64_t major;
  if (!str_to_i64(str_slice(version, 0, digits), &major))
    return false;
  *ret_major = (int)major;
  *ret_version = version;
  return true;
}

/* The place that a link in `dir` leads to, where the other programs are; `dir` itself when initdb is not there. */
static void note_dir(const char *postgres, struct str dir, char out[512]) {
  char real[PATH_MAX], initdb[PATH_MAX + 16];
  snprintf(out, 512, "%.*s", STR_ARG(dir));
  if (!realpath(postgres, real))
    return;
  *strrchr(real, '/') = 0;
  snprintf(initdb, sizeof initdb, "%s/initdb", real);
  if (strlen(real) < 512 && access(initdb, X_OK) == 0)
    snprintf(out, 512, "%s", real);
}

/* Is there a usable pair of programs in `dir`? */
static bool look_into(struct str dir, struct pg_programs *ret) {
  static const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
  struct pg_programs found;
  struct err ignored;
  AUTO_BUF struct buf postgres = BUF_INIT(KIB), initdb = BUF_INIT(KIB), said = BUF_INIT(KIB);
  buf_printf(&postgres, "%.*s/postgres", STR_ARG(dir));
  buf_printf(&initdb, "%.*s/initdb", STR_ARG(dir));
  if (!dir.n || dir.p[0] != '/' || dir.n >= sizeof found.dir || !buf_ok(&postgres, NULL) || !buf_ok(&initdb, NULL) ||
      access(postgres.p, X_OK) != 0 || access(initdb.p, X_OK) != 0)
    return false;
  const char *argv[] = {postgres.p, "--version", NULL};
  struct run_as us = {.drop = false};
  struct str version;
  if (!subproc_run(&us, argv, environment, 10000, NULL, &said, &ignored) || !pg_version_parse(buf_str(&said), &found.major, &version))
    return false;
  note_dir(postgres.p, dir, found.dir);
  snprintf(found.version, sizeof found.version, "%.*s", STR_ARG(version));
  *ret = found;
  return true;
}

struct search {
  int want;  /* 0: the newest */
  int other; /* a version that was seen and is not wanted */
  bool any;
  struct pg_programs best;
};

static void consider(struct search *search, struct str dir) {
  struct pg_programs found;
  if (!look_into(dir, &found))
    return;
  bool fits = search->want ? found.major == search->want : found.major >= PG_OLDEST_MAJOR;
  if (!fits)
    search->other = MAX_OF(search->other, found.major);
  else if (!search->any || found.major > search->best.major) {
    search->best = found;
    search->any = true;
  }
}

static bool not_found(const struct search *search, const char *only_dir, struct err *err) {
  if (search->want) {
    err_set(err, ERR_UNSUPPORTED, "the database in the data directory was made by PostgreSQL %d, which is not installed%s", search->want,
            search->other ? "; another version is" : "");
    return err_hint(err, "apt install postgresql-%d (or your system's package of it); to move on to a newer one, use its pg_upgrade",
                    search->want);
  }
  if (only_dir)
    err_set(err, ERR_NOT_FOUND, "there is no PostgreSQL %d or later in %s", PG_OLDEST_MAJOR, only_dir);
  else if (search->other)
    err_set(err, ERR_UNSUPPORTED, "only PostgreSQL %d was found; winnow needs %d or later", search->other, PG_OLDEST_MAJOR);
  else
    err_set(err, ERR_NOT_FOUND, "the programs of PostgreSQL (postgres, initdb) were not found in PATH or the usual places");
  return err_hint(err, "apt install postgresql (13 or later), or give the address of a server with --db");
}

bool pg_programs_find(const char *only_dir, int major, struct pg_programs *ret, struct err *err) {
  struct search search = {.want = major};
  if (only_dir) {
    consider(&search, str_of(only_dir));
  } else {
    struct str rest = str_of(getenv("PATH")), dir;
    while (str_split(&rest, ':', &dir))
      consider(&search, dir);
    for (size_t i = 0; i < ARRAY_LEN(usual_places); i++) {
      glob_t found;
      if (glob(usual_places[i], 0, NULL, &found) == 0)
        for (size_t k = 0; k < found.gl_pathc; k++)
          consider(&search, str_of(found.gl_pathv[k]));
      globfree(&found);
    }
  }
  if (!search.any)
    return not_found(&search, only_dir, err);
  *ret = search.best;
  return true;
}
