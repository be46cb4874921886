#include "sweeper/jobs/run_dirs.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"

enum { PATH_SIZE = 4096 };

struct run_dirs {
  const char *data_dir;
  pthread_mutex_t lock; /* of what comes and goes in the directories of runs */
};

static void run_path(const struct run_dirs *dirs, struct id run, struct buf *out) {
  char id[ID_HEX_LEN + 1];
  id_format(run, id);
  buf_printf(out, "%s/jobs/%s", dirs->data_dir, id);
}

void run_dirs_path(const struct run_dirs *dirs, struct id run, int32_t attempt, const char *what, struct buf *out) {
  run_path(dirs, run, out);
  if (strcmp(what, "checkpoint") == 0)
    buf_puts(out, "/checkpoint");
  else
    buf_printf(out, "/%d%s%s", (int)attempt, what[0] ? "/" : "", what);
}

struct run_dirs *run_dirs_new(const char *data_dir, struct err *err) {
  AUTO_BUF struct buf jobs = BUF_INIT(PATH_SIZE);
  buf_printf(&jobs, "%s/jobs", data_dir);
  if (!buf_ok(&jobs, err) || !dir_make(buf_text(&jobs), 0700, err))
    return NULL;
  struct run_dirs *dirs = mem_zalloc(sizeof *dirs);
  if (!dirs) {
    err_no_memory(err);
    return NULL;
  }
  dirs->data_dir = data_dir;
  pthread_mutex_init(&dirs->lock, NULL);
  return dirs;
}

void run_dirs_free(struct run_dirs *dirs) {
  if (!dirs)
    return;
  pthread_mutex_destroy(&dirs->lock);
  mem_free(dirs);
}

/* ---- making ---- */

static bool make_link(const char *work, const struct exec_tree *tree, struct str link, struct err *err) {
  char from[PATH_SIZE], to[PATH_SIZE];
  struct stat st;
  int n = snprintf(from, sizeof from, "%s/%.*s", work, STR_ARG(link)), m = snprintf(to, sizeof to, "%s/%.*s", tree->origin, STR_ARG(link));
  if (n >= (int)sizeof from || m >= (int)sizeof to)
    return err_set(err, ERR_INVALID, "the path of the link %.*s is too long", STR_ARG(str_slice(link, 0, 100)));
  if (stat(to, &st) != 0) {
    err_errno(err, errno, "links: cannot find %s", to);
    return err_hint(err, "jobs get a symbolic link to it, so it must be on the machine where they run");
  }
  char *slash = strrchr(from, '/');
  *slash = 0;
  if (!dir_make(from, 0755, err))
    return false;
  *slash = '/';
  return symlink(to, from) == 0 || err_errno(err, errno, "cannot make the link %s", from);
}

static bool make_work(const char *work, const struct exec_tree *tree, struct err *err) {
  if (!tree->code)
    return dir_make(work, 0700, err);
  if (!tree_copy(tree->code, work, err))
    return false;
  for (size_t i = 0; i < tree->link_count; i++)
    if (!make_link(work, tree, tree->links[i], err))
      return false;
  return true;
}

/* The attempt's first: where it is, the checkpoint stays. */
static bool make_both(struct run_dirs *dirs, const char *attempt, const char *checkpoint, struct err *err) {
  pthread_mutex_lock(&dirs->lock);
  bool ok = dir_make(attempt, 0700, err) && dir_make(checkpoint, 0700, err);
  pthread_mutex_unlock(&dirs->lock);
  return ok;
}

bool run_dirs_make(struct run_dirs *dirs, struct id run, int32_t attempt, const struct exec_tree *tree, struct err *err) {
  AUTO_BUF struct buf own = BUF_INIT(PATH_SIZE), checkpoint = BUF_INIT(PATH_SIZE), work = BUF_INIT(PATH_SIZE);
  run_dirs_path(dirs, run, attempt, "", &own);
  run_dirs_path(dirs, run, attempt, "work", &work);
  run_dirs_path(dirs, run, attempt, "checkpoint", &checkpoint);
  return buf_ok(&own, err) && buf_ok(&work, err) && buf_ok(&checkpoint, err) && tree_remove(buf_text(&own), err) &&
         make_both(dirs, buf_text(&own), buf_text(&checkpoint), err) && (!tree || make_work(buf_text(&work), tree, err));
}

/* ---- removing ---- */

/* One that cannot be read has another, so nothing of it goes. */
static bool has_attempt(const char *run) {
  int64_t number;
  bool has = false;
  DIR *dir = opendir(run);
  if (!dir)
    return errno != ENOENT;
  for (struct dirent *entry; !has && (entry = readdir(dir));)
    has = str_to_i64(str_of(entry->d_name), &number);
  closedir(dir);
  return has;
}

/* A checkpoint that was never used; of what holds something nothing goes. */
static void remove_run(struct run_dirs *dirs, const char *run, const char *checkpoint) {
  pthread_mutex_lock(&dirs->lock);
  if (!has_attempt(run) && (rmdir(checkpoint) == 0 || errno == ENOENT))
    rmdir(run);
  pthread_mutex_unlock(&dirs->lock);
}

bool run_dirs_remove(struct run_dirs *dirs, struct id run, int32_t attempt, struct err *err) {
  AUTO_BUF struct buf whole = BUF_INIT(PATH_SIZE), own = BUF_INIT(PATH_SIZE), checkpoint = BUF_INIT(PATH_SIZE), work = BUF_INIT(PATH_SIZE);
  run_path(dirs, run, &whole);
  run_dirs_path(dirs, run, attempt, "", &own);
  run_dirs_path(dirs, run, attempt, "work", &work);
  run_dirs_path(dirs, run, attempt, "checkpoint", &checkpoint);
  if (!buf_ok(&whole, err) || !buf_ok(&own, err) || !buf_ok(&work, err) || !buf_ok(&checkpoint, err))
    return false;
  /* What takes long goes first: should we die on the way, what is beside it still tells that all of it may go. */
  if (!tree_remove(buf_text(&work), err) || !tree_remove(buf_text(&own), err))
    return false;
  remove_run(dirs, buf_text(&whole), buf_text(&checkpoint));
  return true;
}
