#include "sweeper/jobs/leftovers.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/file.h"

/* Of /proc/PID/stat, in the manual's numbering, and of its flags. */
enum { FIELD_STATE = 3, FIELD_FLAGS = 9, FIELD_THREADS = 20, FIELD_ENV_END = 51, FLAG_EXITING = 0x4, FLAG_KERNEL = 0x200000 };

void leftover_marks_make(struct leftover_marks *marks, struct id run, int32_t attempt) {
  char id[ID_HEX_LEN + 1];
  id_format(run, id);
  snprintf(marks->run, sizeof marks->run, "WINNOW_RUN_ID=%s", id);
  snprintf(marks->attempt, sizeof marks->attempt, "WINNOW_ATTEMPT=%d", (int)attempt);
}

static bool is_mine(const char *pid) {
  char path[64];
  struct stat st;
  snprintf(path, sizeof path, "/proc/%.20s", pid);
  return stat(path, &st) == 0 && st.st_uid == geteuid();
}

bool leftovers_is_between(struct str stat, bool readable, bool is_mine) {
  const char *name_end = stat.n ? memrchr(stat.p, ')', stat.n) : NULL;
  if (!name_end)
    return false;
  struct str rest = str_slice(stat, (size_t)(name_end - stat.p) + 2, stat.n), word;
  int64_t value, flags = 0, threads = 0, env_end = 0;
  bool is_dead = false;
  for (int field = FIELD_STATE; field <= FIELD_ENV_END && str_split(&rest, ' ', &word); field++) {
    if (field == FIELD_STATE)
      is_dead = str_is(word, "Z") || str_is(word, "X");
    else if (!str_to_i64(str_trim(word), &value))
      continue;
    else if (field == FIELD_FLAGS)
      flags = value;
    else if (field == FIELD_THREADS)
      threads = value;
    else if (field == FIELD_ENV_END)
      env_end = value;
  }
  if (flags & FLAG_KERNEL || (is_dead && threads <= 1)) /* that holds nothing, and may stay for ever */
    return false;
  return is_dead || flags & FLAG_EXITING ? readable || is_mine : readable && !env_end;
}

static enum leftovers look_at_memory(const char *pid, bool readable) {
  char path[64];
  AUTO_BUF struct buf stat = BUF_INIT(8192);
  struct err err;
  snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
  if (!file_read(path, &stat, &err))
    return err_is_shortage(&err) ? LEFTOVERS_UNSEEN : LEFTOVERS_NONE;
  return leftovers_is_between(buf_str(&stat), readable, is_mine(pid)) ? LEFTOVERS_UNSURE : LEFTOVERS_NONE;
}

static enum leftovers look_at(const char *pid, const struct leftover_marks *marks) {
  char path[64];
  AUTO_BUF struct buf environment = BUF_INIT(4 * MIB);
  struct err err;
  snprintf(path, sizeof path, "/proc/%.20s/environ", pid);
  bool readable = file_read(path, &environment, &err);
  if (!readable && err_is_shortage(&err))
    return LEFTOVERS_UNSEEN;
  if (!environment.n)
    return look_at_memory(pid, readable);
  struct str rest = buf_str(&environment), variable;
  bool run = false, attempt = false;
  while (str_split(&rest, 0, &variable)) {
    run = run || str_is(variable, marks->run);
    attempt = attempt || str_is(variable, marks->attempt);
  }
  return run && attempt ? LEFTOVERS_SOME : LEFTOVERS_NONE;
}

enum leftovers leftovers_kill(const struct leftover_marks *marks) {
  enum leftovers found = LEFTOVERS_NONE;
  DIR *proc = opendir("/proc");
  if (!proc)
    return LEFTOVERS_UNSEEN;
  for (struct dirent *entry; (entry = readdir(proc));) {
    int64_t pid;
    if (!str_to_i64(str_of(entry->d_name), &pid) || pid <= 1 || pid == getpid())
      continue;
    enum leftovers one = look_at(entry->d_name, marks);
    if (one == LEFTOVERS_SOME)
      kill((pid_t)pid, SIGKILL);
    found = MAX_OF(found, one);
  }
  closedir(proc);
  return found;
}
