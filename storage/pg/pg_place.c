#include "storage/pg/pg_place.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/id.h"
#include "base/rng.h"
#include "storage/pg/pg_processes.h"
#include "storage/pg/pg_template.h"

enum { SECRET_BYTES = 32, PATH_BYTES = 4096 };

/* "dir/name", checked for its length. */
static bool join(char *out, size_t room, const char *dir, const char *name, struct err *err) {
  int n = snprintf(out, room, "%s/%s", dir, name);
  return (n > 0 && (size_t)n < room) || err_set(err, ERR_TOO_LARGE, "the path %s/%s is too long", dir, name);
}

static bool read_word(const char *path, char *out, size_t room, bool *ret_there, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(PATH_BYTES);
  *ret_there = false;
  if (access(path, F_OK) != 0 && errno == ENOENT)
    return true;
  if (!file_read(path, &text, err))
    return false;
  struct str word = str_trim(buf_str(&text));
  if (!word.n || word.n >= room)
    return err_set(err, ERR_IO, "%s does not hold what it should", path);
  memcpy(out, word.p, word.n);
  out[word.n] = 0;
  *ret_there = true;
  return true;
}

/* ---- where the cluster lies ---- */

/* In DIR; or where an earlier version has put it, for a user that could not enter DIR. */
static bool locate(struct pg_place *place, struct err *err) {
  char note[PATH_BYTES];
  bool noted;
  struct stat st;
  if (!join(note, sizeof note, place->dir, "pg.location", err) || !read_word(note, place->data, sizeof place->data, &noted, err))
    return false;
  if (!noted)
    return join(place->data, sizeof place->data, place->dir, "pg", err);
  if (stat(place->data, &st) == 0)
    return true;
  if (errno != ENOENT)
    return err_errno(err, errno, "cannot look at %s", place->data);
  err_set(err, ERR_NOT_FOUND, "the database of %s should be in %s, which is not there", place->dir, place->data);
  return err_hint(err, "restore it, or, to begin with an empty one, remove %s", note);
}

/* ---- secrets ---- */

static bool secret_path(const struct pg_place *place, const char *name, char *out, struct err *err) {
  return join(out, PATH_BYTES, place->dir, name, err);
}

static bool load_secrets(struct pg_place *place, struct err *err) {
  char path[PATH_BYTES];
  bool there;
  if (!secret_path(place, "pg.first", path, err) || !read_word(path, place->first_secret, sizeof place->first_secret, &there, err) ||
      !secret_path(place, "pg.secret", path, err) || !read_word(path, place->secret, sizeof place->secret, &there, err))
    return false;
  if (there)
    return true;
  unsigned char bytes[SECRET_BYTES];
  rng_secret(bytes, sizeof bytes);
  hex_encode(bytes, sizeof bytes, place->secret);
  return file_replace(path, str_of(place->secret), 0600, err);
}

bool pg_place_forget_first(const struct pg_place *place, struct err *err) {
  char path[PATH_BYTES];
  if (!secret_path(place, "pg.first", path, err))
    return false;
  return unlink(path) == 0 || errno == ENOENT || err_errno(err, errno, "cannot remove %s", path);
}

/* ---- making it ---- */

static int major_of(const char *data) {
  char path[PATH_BYTES], word[16];
  struct err ignored;
  bool there;
  int64_t major;
  if (!join(path, sizeof path, data, "PG_VERSION", &ignored) || !read_word(path, word, sizeof word, &there, &ignored) || !there ||
      !str_to_i64(str_of(word), &major))
    return 0;
  return (int)major;
}

/* Made beside its name and renamed, so that a cluster is there whole or not at all. */
static bool make_cluster(const struct pg_place_conf *conf, struct pg_place *place, struct err *err) {
  char fresh[PATH_BYTES], first[PATH_BYTES], secret[72];
  int n = snprintf(fresh, sizeof fresh, "%s.new", place->data);
  if (n <= 0 || (size_t)n >= sizeof fresh)
    return err_set(err, ERR_TOO_LARGE, "the path %s is too long", place->data);
  struct pg_template template = {conf->cache_dir, &place->programs, &place->who, conf->stop};
  if (!tree_remove(fresh, err) || !pg_template_copy(&template, fresh, secret, err))
    return false;
  /* The password first: a cluster without its password is lost, a password without its cluster is not. */
  if (!secret_path(place, "pg.first", first, err) || !file_replace(first, str_of(secret), 0600, err))
    return false;
  if (rmdir(place->data) != 0 && errno != ENOENT)
    return err_errno(err, errno, "%s is in the way of the new database", place->data);
  if (rename(fresh, place->data) != 0)
    return err_errno(err, errno, "cannot put the new database at %s", place->data);
  snprintf(place->first_secret, sizeof place->first_secret, "%s", secret);
  place->made_now = true;
  return true;
}

/* ---- configuration ---- */

static uint64_t memory_bytes(void) {
  long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : GIB;
}

/* The server's programs may have been built without. lz4 takes a fifth of pglz's time, and what is written to large tables soon after a
 * checkpoint is mostly images of pages. */
static bool knows_lz4(const struct pg_place_conf *conf, const struct pg_place *place) {
  static const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
  AUTO_BUF struct buf program = BUF_INIT(KIB), said = BUF_INIT(KIB);
  struct err ignored;
  buf_printf(&program, "%s/postgres", place->programs.dir);
  const char *argv[] = {program.p, "-C", "wal_compression", "-c", "wal_compression=lz4", "-D", SUBPROC_DIR, NULL};
  struct run_as who = place->who;
  who.dir = place->data;
  return place->programs.major >= 15 && buf_ok(&program, NULL) &&
         subproc_run(&who, argv, environment, 10000, conf->stop, &said, &ignored);
}

static void write_settings(const struct pg_place_conf *conf, const struct pg_place *place, struct buf *out) {
  uint64_t memory_mib = memory_bytes() / MIB;
  uint64_t shared = MIN_OF(MAX_OF(memory_mib / 16, (uint64_t)64), (uint64_t)2048); /* the machine is there to train */
  static const char *const fixed[] = {
      "listen_addresses = ''",
      "unix_socket_permissions = 0700",
      "password_encryption = 'scram-sha-256'",
      "max_connections = 100",
      "superuser_reserved_connections = 3",
      "wal_buffers = 16MB",
      "min_wal_size = 128MB",
      "max_wal_size = 4GB",
      "checkpoint_timeout = 15min",
      "checkpoint_completion_target = 0.9",
      "random_page_cost = 1.1",
      "jit = off",
      "autovacuum_naptime = 20s",
      "restart_after_crash = on",
      "logging_collector = off",
      "log_destination = 'stderr'",
      "log_min_messages = warning",
      "log_min_error_statement = panic", /* statements carry what users wrote */
      "log_line_prefix = '%m [%p] '",
      "log_timezone = 'UTC'",
      "timezone = 'UTC'",
      "lc_messages = 'C'",
  };
  buf_puts(out, "# Written by winnow at every start. Settings of your own belong into pg.conf in the data directory.\n");
  buf_printf(out, "unix_socket_directories = '%s'\n", place->socket_dir);
  buf_printf(out, "shared_buffers = %lluMB\n", (unsigned long long)shared);
  buf_printf(out, "effective_cache_size = %lluMB\n", (unsigned long long)MAX_OF(memory_mib / 2, (uint64_t)128));
  buf_printf(out, "maintenance_work_mem = %lluMB\n", (unsigned long long)MIN_OF(MAX_OF(memory_mib / 64, (uint64_t)16), (uint64_t)512));
  buf_printf(out, "work_mem = %lluMB\n", (unsigned long long)MIN_OF(MAX_OF(memory_mib / 512, (uint64_t)4), (uint64_t)32));
  for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
    buf_printf(out, "%s\n", fixed[i]);
  buf_printf(out, "wal_compression = %s\n", knows_lz4(conf, place) ? "lz4" : "on");
  if (place->programs.major >= 14) {
    buf_puts(out, "recovery_init_sync_method = syncfs\n");    /* a recovery need not sync a thousand files one by one */
    buf_puts(out, "client_connection_check_interval = 2s\n"); /* nothing is computed for who has left */
  }
  if (conf->settings)
    buf_printf(out, "%s\n", conf->settings);
}

/* The user's own lines are copied, for Postgres may not be able to read DIR. */
static bool add_users_settings(const struct pg_place *place, struct buf *out, struct err *err) {
  char path[PATH_BYTES];
  if (!join(path, sizeof path, place->dir, "pg.conf", err))
    return false;
  if (access(path, F_OK) != 0)
    return true;
  buf_printf(out, "# from %s\n", path);
  return file_read(path, out, err);
}

static bool put_file(const struct pg_place *place, const char *name, struct str text, struct err *err) {
  char path[PATH_BYTES];
  if (!join(path, sizeof path, place->data, name, err) || !file_replace(path, text, 0600, err))
    return false;
  return !place->who.drop || lchown(path, place->who.uid, place->who.gid) == 0 || err_errno(err, errno, "cannot give away %s", path);
}

static bool configure(const struct pg_place_conf *conf, const struct pg_place *place, struct err *err) {
  AUTO_BUF struct buf text = BUF_INIT(256 * KIB);
  write_settings(conf, place, &text);
  return add_users_settings(place, &text, err) && buf_ok(&text, err) && put_file(place, "postgresql.conf", buf_str(&text), err) &&
         put_file(place, "pg_hba.conf", STR("local all all scram-sha-256\nlocal replication all scram-sha-256\n"), err);
}

/* ---- the socket ---- */

/* A server that died by SIGKILL leaves its socket. Only what looks like ours is removed. */
static void remove_socket_dir(const char *dir, uid_t owner) {
  struct stat st;
  if (lstat(dir, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != owner || (st.st_mode & 077))
    return;
  DIR *list = opendir(dir);
  if (!list)
    return;
  for (struct dirent *entry; (entry = readdir(list));)
    if (str_starts(str_of(entry->d_name), STR(".s.PGSQL.")))
      unlinkat(dirfd(list), entry->d_name, 0);
  closedir(list);
  rmdir(dir);
}

static const char *run_dir(const struct pg_place_conf *conf) {
  const char *xdg = getenv("XDG_RUNTIME_DIR");
  if (conf->run_dir)
    return conf->run_dir;
  if (geteuid() == 0 && access("/run", W_OK) == 0)
    return "/run";
  return xdg && xdg[0] == '/' && strlen(xdg) < 60 && access(xdg, W_OK) == 0 ? xdg : "/tmp";
}

/* A name that nobody could foresee, so that nobody can have taken it; mkdtemp() makes it 0700 and ours. */
static bool make_socket_dir(const struct pg_place_conf *conf, struct pg_place *place, struct err *err) {
  char note[PATH_BYTES], old[sizeof place->socket_dir];
  bool there;
  if (!join(note, sizeof note, place->dir, "pg.socket", err))
    return false;
  struct err ignored;
  if (read_word(note, old, sizeof old, &there, &ignored) && there)
    remove_socket_dir(old, place->who.uid);
  int n = snprintf(place->socket_dir, sizeof place->socket_dir, "%s/winnow-XXXXXX", run_dir(conf));
  if (n <= 0 || n > 80 || strpbrk(place->socket_dir, "',\"\\\n ")) /* 107 bytes with the socket's own name; it goes into settings */
    return err_set(err, ERR_INVALID, "the directory for sockets, %s, has too long a path, or odd characters", run_dir(conf));
  if (!mkdtemp(place->socket_dir))
    return err_errno(err, errno, "cannot make a directory in %s", run_dir(conf));
  if (place->who.drop && lchown(place->socket_dir, place->who.uid, place->who.gid) != 0)
    return err_errno(err, errno, "cannot give away %s", place->socket_dir);
  return file_replace(note, str_of(place->socket_dir), 0600, err);
}

void pg_place_tidy(const struct pg_place *place) {
  char note[PATH_BYTES];
  struct err ignored;
  if (!place->socket_dir[0])
    return;
  remove_socket_dir(place->socket_dir, place->who.uid);
  if (join(note, sizeof note, place->dir, "pg.socket", &ignored))
    unlink(note);
}

/* ---- all together ---- */

static bool try_directory(void *arg, struct err *err) {
  const char *dir = arg;
  return access(dir, X_OK) == 0 || err_errno(err, errno, "cannot reach %s", dir);
}

static bool is_hidden(struct pg_place *place) {
  struct err ignored;
  return place->who.drop && !subproc_call(&place->who, try_directory, place->data, NULL, &ignored);
}

static bool begin(const struct pg_place_conf *conf, struct pg_place *place, struct err *err) {
  char real[PATH_BYTES];
  *place = (struct pg_place){.made_now = false};
  if (!realpath(conf->dir, real))
    return err_errno(err, errno, "cannot use the directory %s", conf->dir);
  if (strlen(real) >= sizeof place->dir)
    return err_set(err, ERR_TOO_LARGE, "the path %s is too long", real);
  memcpy(place->dir, real, strlen(real) + 1);
  return run_as_find(conf->user, &place->who, err) && locate(place, err);
}

bool pg_place_ready(const struct pg_place_conf *conf, struct pg_place *ret, pid_t *ret_old_pid, struct err *err) {
  struct pg_place place;
  if (!begin(conf, &place, err))
    return false;
  pid_t old = pg_processes_server(place.data);
  if (old) {
    *ret = place;
    *ret_old_pid = old;
    return true;
  }
  int major = major_of(place.data);
  if (!pg_processes_clear(place.data, err) || !pg_programs_find(conf->bin_dir, major, &place.programs, err) || !load_secrets(&place, err))
    return false;
  if (!major && !make_cluster(conf, &place, err))
    return err_prefix(err, "cannot make the private database");
  if (!make_socket_dir(conf, &place, err) || !configure(conf, &place, err))
    return false;
  place.is_hidden = is_hidden(&place);
  *ret = place;
  *ret_old_pid = 0;
  return true;
}

bool pg_place_destroy(const struct pg_place_conf *conf, struct err *err) {
  static const char *const files[] = {"pg.location", "pg.secret", "pg.first", "pg.socket", "pg.log", "pg.log.1"};
  struct pg_place place;
  if (!begin(conf, &place, err))
    return false;
  if (pg_processes_server(place.data))
    return err_set(err, ERR_WRONG_STATE, "the database in %s is running", place.data);
  if (!tree_remove(place.data, err))
    return false;
  for (size_t i = 0; i < ARRAY_LEN(files); i++) {
    char path[PATH_BYTES];
    if (!join(path, sizeof path, place.dir, files[i], err))
      return false;
    if (unlink(path) != 0 && errno != ENOENT)
      return err_errno(err, errno, "cannot remove %s", path);
  }
  return true;
}
