#include "sweeper/machine/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/file.h"

int64_t cgroup_value(struct str text, const char *key) {
  struct str line, name;
  int64_t value;
  while (str_split(&text, '\n', &line))
    if (str_split(&line, ' ', &name) && str_is(name, key) && str_to_i64(line, &value))
      return value;
  return -1;
}

int64_t cgroup_io(struct str text, const char *key) {
  struct str word;
  int64_t sum = -1, value;
  size_t n = strlen(key);
  for (size_t i = 0; i < text.n; i++) {
    bool begins = i == 0 || text.p[i - 1] == ' ' || text.p[i - 1] == '\n';
    if (!begins || !str_starts(str_slice(text, i, text.n), str_n(key, n)) || i + n >= text.n || text.p[i + n] != '=')
      continue;
    size_t end = i + n + 1;
    while (end < text.n && text.p[end] != ' ' && text.p[end] != '\n')
      end++;
    word = str_slice(text, i + n + 1, end);
    if (str_to_i64(word, &value) && value >= 0)
      sum = MAX_OF(sum, (int64_t)0) + value;
  }
  return sum;
}

/* Version 2 by itself, or beside version 1, which then has the controllers: there it holds and ends processes, and limits nothing. */
static const char *find_root(void) {
  static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
  struct statfs fs;
  for (size_t i = 0; i < ARRAY_LEN(roots); i++)
    if (statfs(roots[i], &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
      return roots[i];
  return NULL;
}

static bool write_file(const struct cgroup *group, const char *file, const char *text) {
  char path[600];
  snprintf(path, sizeof path, "%s/%s", group->path, file);
  AUTO_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
  return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static void limit_memory(const struct cgroup *group, int64_t bytes) {
  char text[32];
  if (bytes <= 0)
    return;
  snprintf(text, sizeof text, "%lld", (long long)bytes);
  if (write_file(group, "memory.max", text))
    write_file(group, "memory.swap.max", "0");
}

void cgroup_find(struct cgroup *group, struct id run, int64_t attempt) {
  AUTO_BUF struct buf text = BUF_INIT(4096);
  struct err err;
  char id[ID_HEX_LEN + 1];
  const char *root = find_root();
  group->path[0] = 0;
  if (!root || !file_read("/proc/self/cgroup", &text, &err))
    return;
  struct str rest = buf_str(&text), line;
  id_format(run, id);
  while (str_split(&rest, '\n', &line)) {
    if (!str_starts(line, STR("0::/")))
      continue;
    struct str own = str_slice(line, 3, line.n);
    int n = snprintf(group->path, sizeof group->path, "%s%.*s/winnow-%s-%lld", root, STR_ARG(str_is(own, "/") ? STR("") : own), id,
                     (long long)attempt);
    if (n < 0 || (size_t)n >= sizeof group->path)
      group->path[0] = 0;
    break;
  }
}

void cgroup_make(struct cgroup *group, const struct job_file *job) {
  cgroup_find(group, job->run_id, job->attempt);
  if (group->path[0] && mkdir(group->path, 0755) != 0 && errno != EEXIST)
    group->path[0] = 0;
  if (group->path[0])
    limit_memory(group, job->memory_limit);
}

void cgroup_join(const struct cgroup *group) {
  if (group->path[0])
    write_file(group, "cgroup.procs", "0");
}

bool cgroup_kill(const struct cgroup *group) {
  return group->path[0] && write_file(group, "cgroup.kill", "1");
}

static bool read_file(const struct cgroup *group, const char *file, struct buf *out) {
  char path[600];
  struct err err;
  buf_reset(out);
  snprintf(path, sizeof path, "%s/%s", group->path, file);
  return file_read(path, out, &err);
}

bool cgroup_remove(struct cgroup *group) {
  AUTO_BUF struct buf text = BUF_INIT(4096);
  if (group->path[0] && rmdir(group->path) != 0 && read_file(group, "cgroup.events", &text) &&
      cgroup_value(buf_str(&text), "populated") == 1)
    return false;
  group->path[0] = 0;
  return true;
}

void cgroup_usage(const struct cgroup *group, struct cgroup_usage *ret) {
  AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
  *ret = (struct cgroup_usage){-1, -1, -1, -1, -1};
  if (!group->path[0])
    return;
  if (read_file(group, "cpu.stat", &text)) {
    int64_t us = cgroup_value(buf_str(&text), "usage_usec");
    ret->cpu_ms = us < 0 ? -1 : us / 1000;
  }
  if (read_file(group, "memory.stat", &text))
    ret->anon_bytes = cgroup_value(buf_str(&text), "anon");
  if (read_file(group, "memory.events", &text))
    ret->oom_kills = cgroup_value(buf_str(&text), "oom_kill");
  if (read_file(group, "io.stat", &text)) {
    ret->read_bytes = cgroup_io(buf_str(&text), "rbytes");
    ret->written_bytes = cgroup_io(buf_str(&text), "wbytes");
  }
}
