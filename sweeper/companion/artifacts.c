#include "sweeper/companion/artifacts.h"

#include <fcntl.h>

#include "base/file.h"
#include "base/mem.h"
#include "sweeper/companion/exit_file.h"
#include "sweeper/companion/find.h"

struct artifacts {
  int root;
  char **paths;
  size_t count, cap, at;
  int64_t stored, bytes, asked_bytes;
  size_t failed;
  char why[300];      /* of the first that failed */
  const char *missed; /* a glob that no file matches; NULL: there is none */
};

static void fail(struct artifacts *a, const char *path, const char *why) {
  if (!a->failed++)
    snprintf(a->why, sizeof a->why, "%s: %s", path, why);
  for (char *p = a->why; *p; p++)
    *p = *p == '\n' ? ' ' : *p;
}

static bool on_found(void *ctx, size_t glob UNUSED, const char *path, const struct stat *st UNUSED) {
  struct artifacts *a = ctx;
  if (a->count == ARTIFACT_FILES_MAX) {
    fail(a, path, "there are more files than can be kept");
    return false;
  }
  if (a->count == a->cap) {
    size_t cap = a->cap ? a->cap * 2 : 64;
    char **more = mem_resize(a->paths, cap, sizeof *more);
    if (more) {
      a->paths = more;
      a->cap = cap;
    }
  }
  char *copy = a->count < a->cap ? mem_strdup(path) : NULL;
  if (!copy) {
    fail(a, path, "out of memory");
    return false;
  }
  a->paths[a->count++] = copy;
  return true;
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_matched(const struct artifacts *a, const char *glob) {
  for (size_t i = 0; i < a->count; i++)
    if (find_takes(glob, str_of(a->paths[i]), true))
      return true;
  return false;
}

struct artifacts *artifacts_new(const struct job_file *job) {
  struct artifacts *a = mem_zalloc(sizeof *a);
  if (!a)
    return NULL;
  a->root = open(job->cwd, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (a->root < 0)
    fail(a, job->cwd, "the directory is not there any more");
  else if (!find_files(a->root, (const char *const *)job->artifacts, job->artifact_count, true, on_found, a) && !a->failed)
    fail(a, job->cwd, "there are more files than can be looked at");
  if (a->count)
    qsort(a->paths, a->count, sizeof *a->paths, by_name);
  for (size_t i = 0; i < job->artifact_count && !a->missed && !a->failed; i++)
    if (!is_matched(a, job->artifacts[i]))
      a->missed = job->artifacts[i];
  return a;
}

void artifacts_free(struct artifacts *a) {
  if (!a)
    return;
  for (size_t i = 0; i < a->count; i++)
    mem_free(a->paths[i]);
  mem_free(a->paths);
  fd_close(&a->root);
  mem_free(a);
}

static void put_path(const char *path, char *out, size_t room) {
  size_t n = 0;
  for (const char *p = path; *p && n + 4 < room; p++) {
    bool plain = isalnum((unsigned char)*p) || strchr("-._~/", *p);
    n += (size_t)snprintf(out + n, room - n, plain ? "%c" : "%%%02X", (unsigned char)*p);
  }
  out[n] = 0;
}

bool artifacts_next(struct artifacts *a, struct artifact_piece *ret) {
  struct stat st;
  for (; a->at < a->count; a->at++) {
    ret->fd = find_open(a->root, a->paths[a->at], &st);
    if (ret->fd >= 0) {
      ret->length = a->asked_bytes = (int64_t)st.st_size;
      put_path(a->paths[a->at], ret->path, sizeof ret->path);
      return true;
    }
    fail(a, a->paths[a->at], "it cannot be read");
  }
  return false;
}

void artifacts_done(struct artifacts *a, const char *why) {
  if (why) {
    fail(a, a->paths[a->at], why);
  } else {
    a->stored++;
    a->bytes += a->asked_bytes;
  }
  a->at++;
}

void artifacts_report(const struct artifacts *a, struct buf *out) {
  buf_printf(out, "artifacts %lld\nartifact_bytes %lld\n", (long long)a->stored, (long long)a->bytes);
  if (a->missed)
    exit_line_put(out, "artifacts_missed", a->missed);
  if (a->failed)
    buf_printf(out, "artifacts_failed %zu of the files were not stored; %s\n", a->failed, a->why);
  else if (a->at < a->count)
    buf_printf(out, "artifacts_failed %zu of the files were not stored yet when the companion died\n", a->count - a->at);
}
