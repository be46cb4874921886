#include "sweeper/companion/exit_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/file.h"

enum { PATH_SIZE = 4200 };

/* Why it was ended by somebody else than itself: by us, or by the kernel. */
static void put_why(const struct exit_story *story, struct buf *out) {
  int status = story->wait_status;
  bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  bool killed = WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 128 + SIGKILL; /* as a shell says it */
  if (story->ended_by)
    buf_printf(out, "ended_by %s\n", story->ended_by);
  else if (story->start_error[0] || well)
    return;
  else if (story->oom == OOM_JOB)
    buf_puts(out, story->has_memory_limit ? "ended_by memory_limit\n" : "oom job\n");
  else if (story->oom == OOM_MACHINE && killed)
    buf_puts(out, "oom machine\n");
}

void exit_line_put(struct buf *out, const char *name, const char *value) {
  buf_printf(out, "%s ", name);
  for (; *value; value++)
    buf_putc(out, *value == '\n' || *value == '\r' ? ' ' : *value);
  buf_putc(out, '\n');
}

void exit_story_put(const struct exit_story *story, struct buf *out) {
  if (story->start_error[0])
    exit_line_put(out, "start_error", story->start_error);
  else if (WIFEXITED(story->wait_status))
    buf_printf(out, "exit_code %d\n", WEXITSTATUS(story->wait_status));
  else
    buf_printf(out, "signal %d\n", WTERMSIG(story->wait_status));
  put_why(story, out);
  buf_printf(out, "begun_ms %lld\nended_ms %lld\ncpu_ms %lld\nrss_peak %lld\nstdout %lld\nstderr %lld\n", (long long)story->begun_ms,
             (long long)story->ended_ms, (long long)story->cpu_ms, (long long)story->rss_peak, (long long)story->printed[0],
             (long long)story->printed[1]);
}

bool exit_file_is_there(const char *dir) {
  char path[PATH_SIZE];
  snprintf(path, sizeof path, "%s/exit", dir);
  return access(path, F_OK) == 0 || errno != ENOENT;
}

bool exit_file_read(const char *dir, struct buf *out, int64_t *ret_begun_ms, int64_t *ret_ended_ms, struct err *err) {
  char path[PATH_SIZE];
  AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
  struct str rest, line;
  snprintf(path, sizeof path, "%s/exit", dir);
  if (!file_read(path, &text, err))
    return false;
  bool ok = text.n > 0;
  rest = buf_str(&text);
  while (str_split(&rest, '\n', &line)) {
    if (str_starts(line, STR("begun_ms ")))
      ok = ok && str_to_i64(str_slice(line, 9, line.n), ret_begun_ms);
    if (str_starts(line, STR("ended_ms ")))
      ok = ok && str_to_i64(str_slice(line, 9, line.n), ret_ended_ms);
    if (line.n && !str_starts(line, STR("artifact")))
      buf_printf(out, "%.*s\n", STR_ARG(line));
  }
  return ok || err_set(err, ERR_INVALID, "%s does not say how the job ended", path);
}

bool exit_file_write(const char *dir, struct str text, struct err *err) {
  char path[PATH_SIZE], beside[PATH_SIZE + 8];
  snprintf(path, sizeof path, "%s/exit", dir);
  snprintf(beside, sizeof beside, "%s.new", path);
  AUTO_FD int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return err_errno(err, errno, "cannot write %s", path);
  return fd_write_all(fd, text.p, text.n, err) && (rename(beside, path) == 0 || err_errno(err, errno, "cannot write %s", path));
}

bool exit_file_sync(const char *dir, struct err *err) {
  char path[PATH_SIZE];
  snprintf(path, sizeof path, "%s/exit", dir);
  for (int i = 0; i < 2; i++) {
    AUTO_FD int fd = open(i ? dir : path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
      return err_errno(err, errno, "cannot sync %s", i ? dir : path);
  }
  return true;
}

bool exit_file_told(const char *dir, struct err *err) {
  char path[PATH_SIZE];
  snprintf(path, sizeof path, "%s/companion.lock", dir);
  AUTO_FD int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
  return fd >= 0 ? fd_write_all(fd, COMPANION_TOLD, strlen(COMPANION_TOLD), err) : err_errno(err, errno, "cannot write %s", path);
}
