#include "storage/pg/pg_template.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/id.h"
#include "base/rng.h"
#include "storage/pg/pg_processes.h"

enum {
  INITDB_MS = 300000,
  SECRET_BYTES = 32,
  NEW_NAME_BYTES = 10 /* new-XXXXXX */,
  YOUNG_S = 60,
  FORM = 1 /* of the template; raise it when initdb's options change */
};

static bool cache_root(const struct pg_template *template, struct buf *out, struct err *err) {
  const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  if (template->cache_dir)
    buf_puts(out, template->cache_dir);
  else if (geteuid() == 0)
    buf_puts(out, "/var/cache/winnow");
  else if (xdg && xdg[0] == '/')
    buf_printf(out, "%s/winnow", xdg);
  else if (home && home[0] == '/')
    buf_printf(out, "%s/.cache/winnow", home);
  else
    return err_set(err, ERR_NOT_FOUND, "there is no home directory to keep the template in");
  return buf_ok(out, err);
}

/* "15.20 (Debian 15.20-0+deb12u1)" as a file name. */
static bool template_path(const struct pg_template *template, struct buf *out, struct err *err) {
  if (!cache_root(template, out, err))
    return false;
  buf_printf(out, "/pg-%d-", FORM);
  for (const char *p = template->programs->version; *p; p++)
    buf_putc(out, (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || *p == '.' ? *p : '-');
  buf_printf(out, "-%u", (unsigned)template->who->uid);
  return buf_ok(out, err);
}

/* Runs initdb, as the database's user, into `data`, an empty directory of theirs, with the password in `secret` beside it, which is theirs,
 * too. */
static bool run_initdb(const struct pg_template *template, const char *data, bool sync, struct err *err) {
  AUTO_BUF struct buf program = BUF_INIT(KIB), said = BUF_INIT(16 * KIB);
  struct run_as who = *template->who;
  who.dir = data;
  buf_printf(&program, "%s/initdb", template->programs->dir);
  if (!buf_ok(&program, err))
    return false;
  const char *argv[] = {program.p,
                        "--pgdata=" SUBPROC_DIR,
                        "--pwfile=" SUBPROC_DIR "/../secret",
                        "--username=winnow",
                        "--auth=scram-sha-256",
                        "--encoding=UTF8",
                        "--locale=C",
                        "--data-checksums",
                        "--no-instructions",
                        sync ? NULL : "--no-sync",
                        NULL};
  static const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC", NULL};
  return subproc_run(&who, argv, environment, INITDB_MS, template->stop, &said, err);
}

static bool give(const char *path, const struct run_as *who, struct err *err) {
  return !who->drop || lchown(path, who->uid, who->gid) == 0 || err_errno(err, errno, "cannot give away %s", path);
}

/* A new cluster at base/data with its password in base/secret; base is an empty directory of ours. */
static bool make_at(const struct pg_template *template, const char *base, bool sync, struct err *err) {
  AUTO_BUF struct buf data = BUF_INIT(8 * KIB), secret = BUF_INIT(8 * KIB);
  buf_printf(&data, "%s/data", base);
  buf_printf(&secret, "%s/secret", base);
  if (!buf_ok(&data, err) || !buf_ok(&secret, err))
    return false;
  unsigned char bytes[SECRET_BYTES];
  char text[2 * SECRET_BYTES + 1];
  rng_secret(bytes, sizeof bytes);
  hex_encode(bytes, sizeof bytes, text);
  if (mkdir(data.p, 0700) != 0)
    return err_errno(err, errno, "cannot make the directory %s", data.p);
  const struct run_as *who = template->who;
  return give(base, who, err) && give(data.p, who, err) && file_replace(secret.p, str_of(text), 0600, err) && give(secret.p, who, err) &&
         run_initdb(template, data.p, sync, err);
}

static bool read_secret(const char *base, char *ret_secret, struct err *err) {
  AUTO_BUF struct buf path = BUF_INIT(8 * KIB), text = BUF_INIT(KIB);
  buf_printf(&path, "%s/secret", base);
  if (!buf_ok(&path, err) || !file_read(path.p, &text, err))
    return false;
  struct str secret = str_trim(buf_str(&text));
  if (secret.n != 2 * SECRET_BYTES)
    return err_set(err, ERR_IO, "%s does not hold what it should", path.p);
  memcpy(ret_secret, secret.p, secret.n);
  ret_secret[secret.n] = 0;
  return true;
}

/* Ours or the database user's, closed to others, whole: it got its name only when it was. */
static bool is_usable(const char *base, const struct run_as *who) {
  struct stat st;
  return lstat(base, &st) == 0 && S_ISDIR(st.st_mode) && (st.st_uid == who->uid || st.st_uid == geteuid()) && !(st.st_mode & 077);
}

/* What first starts that were killed left behind. One that is still at it keeps its directory locked. */
static void sweep_leftovers(const char *root) {
  DIR *dir = opendir(root);
  struct err ignored;
  for (const struct dirent *entry; dir && (entry = readdir(dir));) {
    struct stat st;
    if (strlen(entry->d_name) != NEW_NAME_BYTES || strncmp(entry->d_name, "new-", 4) != 0)
      continue;
    AUTO_FD int fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_mtime > time(NULL) - YOUNG_S || flock(fd, LOCK_EX | LOCK_NB) != 0)
      continue;
    AUTO_BUF struct buf path = BUF_INIT(8 * KIB);
    buf_printf(&path, "%s/%s", root, entry->d_name);
    (void)!tree_remove(buf_text(&path), &ignored);
  }
  if (dir)
    closedir(dir);
}

static bool build(const struct pg_template *template, const char *root, const char *base, struct err *err) {
  AUTO_BUF struct buf fresh = BUF_INIT(8 * KIB);
  if (!dir_make(root, 0755, err))
    return false;
  buf_printf(&fresh, "%s/new-XXXXXX", root);
  if (!buf_ok(&fresh, err))
    return false;
  sweep_leftovers(root);
  if (!mkdtemp(fresh.p))
    return err_errno(err, errno, "cannot make a directory in %s", root);
  AUTO_FD int lock = open(fresh.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  (void)!flock(lock, LOCK_EX | LOCK_NB); /* nobody has it yet */
  struct err ignored;
  if (!make_at(template, fresh.p, false, err)) {
    (void)!tree_remove(fresh.p, &ignored);
    return false;
  }
  if (rename(fresh.p, base) == 0)
    return true;
  int reason = errno;
  (void)!tree_remove(fresh.p, &ignored);
  return is_usable(base, template->who) || err_errno(err, reason, "cannot keep the template at %s", base); /* another was faster */
}

bool pg_template_ensure(const struct pg_template *template, struct err *err) {
  AUTO_BUF struct buf root = BUF_INIT(4 * KIB), base = BUF_INIT(4 * KIB);
  if (!cache_root(template, &root, err) || !template_path(template, &base, err))
    return false;
  return is_usable(base.p, template->who) || build(template, root.p, base.p, err);
}

struct copy {
  const char *from, *to;
};

/* Runs as the database's user, so that what is made is theirs. */
static bool copy_tree(void *arg, struct err *err) {
  const struct copy *copy = arg;
  if (!tree_copy(copy->from, copy->to, err))
    return false;
  AUTO_FD int fd = open(copy->to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return (fd >= 0 && syncfs(fd) == 0) || err_errno(err, errno, "cannot sync %s", copy->to);
}

static bool clear_one(const char *outer) {
  AUTO_BUF struct buf inner = BUF_INIT(8 * KIB);
  struct err ignored;
  buf_printf(&inner, "%s/data", outer);
  return pg_processes_signal(buf_text(&inner), SIGKILL) == 0 && tree_remove(outer, &ignored);
}

/* True when nothing is left of earlier tries: `to`.copy-XXXXXX, `to`.init-XXXXXX. */
static bool clear_tries(const char *to) {
  const char *name = strrchr(to, '/') + 1;
  struct str parent = str_n(to, (size_t)(name - to));
  size_t n = strlen(name);
  bool clear = true;
  AUTO_BUF struct buf path = BUF_INIT(8 * KIB);
  buf_add_str(&path, parent);
  DIR *dir = opendir(buf_text(&path));
  for (const struct dirent *entry; dir && (entry = readdir(dir));) {
    bool is_of_us = strncmp(entry->d_name, name, n) == 0;
    if (!is_of_us || (strncmp(entry->d_name + n, ".copy", 5) != 0 && strncmp(entry->d_name + n, ".init", 5) != 0))
      continue;
    buf_reset(&path);
    buf_printf(&path, "%.*s%s", STR_ARG(parent), entry->d_name);
    clear = clear_one(buf_text(&path)) && clear;
  }
  if (dir)
    closedir(dir);
  return clear;
}

/* A directory of its own, whose path is not that of any other try: of a start that was killed the server that initdb ran, or is about to
 * run, or the copier, may write on for a moment, and must not find its path again. What they left is removed, if need be once they are
 * gone; what resists is in nobody's way. */
static bool begin_try(const char *to, const char *how, struct buf *ret, struct err *err) {
  enum { STEP_MS = 50, ROUNDS = 100 };
  for (int i = 0; i < ROUNDS && !clear_tries(to); i++)
    usleep(STEP_MS * 1000);
  buf_printf(ret, "%s.%s-XXXXXX", to, how);
  return buf_ok(ret, err) && (mkdtemp(ret->p) || err_errno(err, errno, "cannot make the directory %s", ret->p));
}

/* A directory that `who` may fill, in a parent of which we are the owner: it is made by us, filled as data in it, and moved up. */
static bool copy_from(const struct pg_template *template, const char *base, const char *to, struct err *err) {
  AUTO_BUF struct buf from = BUF_INIT(8 * KIB), inner = BUF_INIT(8 * KIB), outer = BUF_INIT(8 * KIB);
  if (!begin_try(to, "copy", &outer, err))
    return false;
  buf_printf(&from, "%s/data", base);
  buf_printf(&inner, "%s/data", outer.p);
  struct copy copy = {buf_text(&from), SUBPROC_DIR "/data"};
  struct run_as who = *template->who;
  who.dir = outer.p;
  bool ok = buf_ok(&from, err) && buf_ok(&inner, err) && give(outer.p, &who, err) && subproc_call(&who, copy_tree, &copy, template->stop, err);
  if (ok && rename(inner.p, to) != 0)
    ok = err_errno(err, errno, "cannot make %s", to);
  struct err ignored;
  (void)!tree_remove(outer.p, &ignored);
  return ok;
}

static bool make_in_place(const struct pg_template *template, const char *to, char *ret_secret, struct err *err) {
  AUTO_BUF struct buf base = BUF_INIT(8 * KIB), data = BUF_INIT(8 * KIB);
  if (!begin_try(to, "init", &base, err))
    return false;
  buf_printf(&data, "%s/data", base.p);
  bool ok = buf_ok(&data, err) && make_at(template, base.p, true, err) && read_secret(base.p, ret_secret, err);
  if (ok && rename(data.p, to) != 0)
    ok = err_errno(err, errno, "cannot make %s", to);
  struct err ignored;
  (void)!tree_remove(base.p, &ignored);
  return ok;
}

/* Runs as the database's user: the cache may lie where they cannot go. */
static bool reach(void *arg, struct err *err) {
  const char *base = arg;
  return access(base, R_OK | X_OK) == 0 || err_errno(err, errno, "cannot reach %s", base);
}

bool pg_template_copy(const struct pg_template *template, const char *to, char *ret_secret, struct err *err) {
  AUTO_BUF struct buf base = BUF_INIT(4 * KIB);
  struct err cache;
  if (!pg_template_ensure(template, &cache) || !template_path(template, &base, &cache) || !read_secret(base.p, ret_secret, &cache) ||
      !subproc_call(template->who, reach, base.p, template->stop, &cache))
    return make_in_place(template, to, ret_secret, err);
  return copy_from(template, base.p, to, err);
}
