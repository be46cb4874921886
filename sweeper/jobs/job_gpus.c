/* The GPUs of a job, where slots are GPUs: told to it, and noted beside it so that a restart gives it the same ones. */
#include <fcntl.h>

#include "base/file.h"
#include "sweeper/jobs/jobs.h"
#include "sweeper/live/live.h"
#include "sweeper/machine/exec_local.h"
#include "sweeper/machine/gpus.h"

enum { NOTE_MAX = GPUS_MAX * GPU_UUID_MAX, PATH_SIZE = 4096 };

static bool has_gpus(const struct sweeps *s) {
  return s->conf.gpus && gpus_count(s->conf.gpus) > 0;
}

static size_t gpus_of(const struct live_trial *trial, size_t which[SCHEDULE_SLOTS_MAX]) {
  const struct sweeps *s = trial->sweep->all;
  uint16_t slots[SCHEDULE_SLOTS_MAX];
  unsigned count = trial->course->in_schedule ? schedule_job_slots(s->schedule, trial->course->job, slots) : 0;
  for (unsigned i = 0; i < count; i++)
    which[i] = slots[i];
  return count;
}

bool job_gpus_variables(const struct live_trial *trial, struct arena *arena, struct spec_pairs *ret, struct err *err) {
  const struct sweeps *s = trial->sweep->all;
  struct gpu_variable variables[GPUS_VARIABLES];
  size_t which[SCHEDULE_SLOTS_MAX];
  bool ok = true;
  *ret = (struct spec_pairs){0};
  if (!has_gpus(s))
    return true;
  ret->items = ARENA_NEW_ARRAY(arena, struct spec_pair, GPUS_VARIABLES);
  gpus_variables(s->conf.gpus, which, gpus_of(trial, which), variables);
  for (size_t i = 0; i < GPUS_VARIABLES; i++) {
    const char *copy = arena_strdup(arena, str_of(buf_text(&variables[i].value)));
    ok = ok && ret->items && copy && !variables[i].value.fail;
    if (ok)
      ret->items[ret->count++] = (struct spec_pair){str_of(variables[i].name), str_of(copy)};
    buf_release(&variables[i].value);
  }
  return ok || err_no_memory(err);
}

static void note_path(const struct sweeps *s, struct id run, int32_t attempt, struct buf *path) {
  exec_local_path(s->executor, run, attempt, "gpus", path);
}

/* Not synced: after a crash of the machine there is no job to give them to. */
bool job_gpus_note(const struct live_trial *trial, int32_t attempt, struct err *err) {
  const struct sweeps *s = trial->sweep->all;
  AUTO_BUF struct buf path = BUF_INIT(PATH_SIZE), text = BUF_INIT(NOTE_MAX);
  size_t which[SCHEDULE_SLOTS_MAX];
  if (!has_gpus(s))
    return true;
  size_t count = gpus_of(trial, which);
  for (size_t i = 0; i < count; i++)
    buf_printf(&text, "%s\n", gpus_at(s->conf.gpus, which[i])->uuid);
  note_path(s, trial->run, attempt, &path);
  if (!buf_ok(&path, err) || !buf_ok(&text, err))
    return false;
  AUTO_FD int fd = open(buf_text(&path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  return fd >= 0 ? fd_write_all(fd, buf_text(&text), text.n, err) : err_errno(err, errno, "cannot write %s", buf_text(&path));
}

unsigned job_gpus_noted(const struct sweeps *s, struct id run, int32_t attempt, uint16_t slots[SCHEDULE_SLOTS_MAX]) {
  AUTO_BUF struct buf path = BUF_INIT(PATH_SIZE), text = BUF_INIT(NOTE_MAX);
  struct err err;
  unsigned count = 0;
  uint32_t job;
  note_path(s, run, attempt, &path);
  if (!has_gpus(s) || path.fail || !file_read(buf_text(&path), &text, &err))
    return 0;
  struct str rest = buf_str(&text), uuid;
  while (str_split(&rest, '\n', &uuid)) {
    size_t gpu = uuid.n ? gpus_find(s->conf.gpus, uuid) : SIZE_MAX;
    if (gpu < s->conf.slots && count < SCHEDULE_SLOTS_MAX && !schedule_slot_job(s->schedule, s->node, (unsigned)gpu, &job))
      slots[count++] = (uint16_t)gpu;
  }
  return count;
}
