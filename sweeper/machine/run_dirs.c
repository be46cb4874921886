#include "sweeper/machine/run_dirs.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"

enum { PATH_SIZE = 4096, SPARES_MAX = 64 };

struct run_dirs {
  const char *data_dir;
  pthread_mutex_t lock; /* of what comes and goes in the directories of runs, and of the spares */
  size_t spares;        /* DIR/jobs/spare-0 and so on: directories of runs that are over, with an empty one of a first attempt */
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

struct paths {
  struct buf run, own /* of the attempt */, work, checkpoint;
};

static bool paths_make(struct paths *paths, const struct run_dirs *dirs, struct id run, int32_t attempt, struct err *err) {
  *paths = (struct paths){BUF_INIT(PATH_SIZE), BUF_INIT(PATH_SIZE), BUF_INIT(PATH_SIZE), BUF_INIT(PATH_SIZE)};
  run_path(dirs, run, &paths->run);
  run_dirs_path(dirs, run, attempt, "", &paths->own);
  run_dirs_path(dirs, run, attempt, "work", &paths->work);
  run_dirs_path(dirs, run, attempt, "checkpoint", &paths->checkpoint);
  return buf_ok(&paths->run, err) && buf_ok(&paths->own, err) && buf_ok(&paths->work, err) && buf_ok(&paths->checkpoint, err);
}

static void paths_release(struct paths *paths) {
  buf_release(&paths->run);
  buf_release(&paths->own);
  buf_release(&paths->work);
  buf_release(&paths->checkpoint);
}

static void spare_path(const struct run_dirs *dirs, size_t number, char out[PATH_SIZE]) {
  snprintf(out, PATH_SIZE, "%s/jobs/spare-%zu", dirs->data_dir, number);
}

/* Those that an earlier service left. */
static void find_spares(struct run_dirs *dirs) {
  char path[PATH_SIZE];
  for (; dirs->spares < SPARES_MAX; dirs->spares++) {
    spare_path(dirs, dirs->spares, path);
    if (access(path, F_OK) != 0)
      return;
  }
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
  find_spares(dirs);
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

/* Not where the run has a directory that holds something. True: it is the run's. */
static bool take_spare(struct run_dirs *dirs, const char *run) {
  char spare[PATH_SIZE];
  if (!dirs->spares)
    return false;
  spare_path(dirs, dirs->spares - 1, spare);
  bool ok = rename(spare, run) == 0;
  if (ok || errno == ENOENT)
    dirs->spares--;
  return ok;
}

/* The attempt's first: where it is, the checkpoint stays. */
static bool make_both(struct run_dirs *dirs, const struct paths *paths, int32_t attempt, struct err *err) {
  pthread_mutex_lock(&dirs->lock);
  bool taken = attempt == 1 && take_spare(dirs, buf_text(&paths->run));
  bool ok = (!taken || tree_empty(buf_text(&paths->own), err)) && dir_make(buf_text(&paths->own), 0700, err) &&
            dir_make(buf_text(&paths->checkpoint), 0700, err);
  pthread_mutex_unlock(&dirs->lock);
  return ok;
}

bool run_dirs_make(struct run_dirs *dirs, struct id run, int32_t attempt, const struct exec_tree *tree, struct err *err) {
  struct paths paths;
  bool ok = paths_make(&paths, dirs, run, attempt, err) && tree_remove(buf_text(&paths.own), err) &&
            make_both(dirs, &paths, attempt, err) && (!tree || make_work(buf_text(&paths.work), tree, err));
  paths_release(&paths);
  return ok;
}

/* ---- removing ---- */

/* Than this attempt, and a checkpoint; in one that cannot be read. */
static bool holds_more(const char *run, int32_t attempt) {
  int64_t number;
  bool more = false;
  DIR *dir = opendir(run);
  if (!dir)
    return errno != ENOENT;
  for (struct dirent *entry; !more && (entry = readdir(dir));) {
    struct str name = str_of(entry->d_name);
    more = !str_is(name, ".") && !str_is(name, "..") && !str_is(name, "checkpoint") && !(str_to_i64(name, &number) && number == attempt);
  }
  closedir(dir);
  return more;
}

/* For the first attempt of another run. To make and remove a directory costs a file system as much as several files; that where a job has
 * run is no other job's, but no job has been in these. */
static bool put_spare(struct run_dirs *dirs, const char *run) {
  char spare[PATH_SIZE];
  if (dirs->spares == SPARES_MAX)
    return false;
  spare_path(dirs, dirs->spares, spare);
  bool ok = rename(run, spare) == 0;
  dirs->spares += ok;
  return ok;
}

/* The attempt's is empty. A checkpoint that was never used goes with the last one. */
static bool remove_emptied(struct run_dirs *dirs, const struct paths *paths, int32_t attempt, struct err *err) {
  const char *run = buf_text(&paths->run);
  bool is_last = !holds_more(run, attempt) && (rmdir(buf_text(&paths->checkpoint)) == 0 || errno == ENOENT);
  if (is_last && attempt == 1 && put_spare(dirs, run))
    return true;
  if (!tree_remove(buf_text(&paths->own), err))
    return false;
  if (is_last)
    rmdir(run);
  return true;
}

void run_dirs_remove_empty(struct run_dirs *dirs, struct id run) {
  AUTO_BUF struct buf path = BUF_INIT(PATH_SIZE);
  run_path(dirs, run, &path);
  pthread_mutex_lock(&dirs->lock);
  rmdir(buf_text(&path));
  pthread_mutex_unlock(&dirs->lock);
}

bool run_dirs_remove(struct run_dirs *dirs, struct id run, int32_t attempt, struct err *err) {
  struct paths paths;
  /* What takes long goes first: should we die on the way, what is beside it still tells that all of it may go. */
  bool ok = paths_make(&paths, dirs, run, attempt, err) && tree_remove(buf_text(&paths.work), err) && tree_empty(buf_text(&paths.own), err);
  if (ok) {
    pthread_mutex_lock(&dirs->lock);
    ok = remove_emptied(dirs, &paths, attempt, err);
    pthread_mutex_unlock(&dirs->lock);
  }
  paths_release(&paths);
  return ok;
}
