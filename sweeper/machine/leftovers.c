#include "sweeper/machine/leftovers.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "sweeper/machine/cgroup.h"

#define RUN_MARK "WINNOW_RUN_ID="
#define ATTEMPT_MARK "WINNOW_ATTEMPT="

/* Of /proc/PID/stat, in the manual's numbering, and of its flags. */
enum {
  FIELD_STATE = 3,
  FIELD_FLAGS = 9,
  FIELD_THREADS = 20,
  FIELD_ENV_START = 50,
  FIELD_ENV_END = 51,
  FLAG_EXITING = 0x4,
  FLAG_KERNEL = 0x200000
};

enum { LOOK_MIN_MS = 5, LOOK_MAX_MS = 500, PATIENCE_MS = 27000 };

/* ---- one look ---- */

void leftover_marks_make(struct leftover_marks *marks, struct id run, int32_t attempt) {
  char id[ID_HEX_LEN + 1];
  id_format(run, id);
  snprintf(marks->run, sizeof marks->run, RUN_MARK "%s", id);
  snprintf(marks->attempt, sizeof marks->attempt, ATTEMPT_MARK "%d", (int)attempt);
}

static int by_attempt(const void *a, const void *b) {
  const struct leftover *x = a, *y = b;
  int order = memcmp(x->run.bytes, y->run.bytes, sizeof x->run.bytes);
  return order ? order : (x->attempt > y->attempt) - (x->attempt < y->attempt);
}

static bool is_mine(const char *pid) {
  char path[64];
  struct stat st;
  snprintf(path, sizeof path, "/proc/%.20s", pid);
  return stat(path, &st) == 0 && st.st_uid == geteuid();
}

bool leftover_is_between(struct str stat, bool readable, bool is_mine) {
  const char *name_end = stat.n ? memrchr(stat.p, ')', stat.n) : NULL;
  if (!name_end)
    return false;
  struct str rest = str_slice(stat, (size_t)(name_end - stat.p) + 2, stat.n), word;
  int64_t value, flags = 0, threads = 0, env_start = 0, env_end = 0;
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
    else if (field == FIELD_ENV_START)
      env_start = value;
    else if (field == FIELD_ENV_END)
      env_end = value;
  }
  if (flags & FLAG_KERNEL || (is_dead && threads <= 1)) /* that holds nothing, and may stay for ever */
    return false;
  return is_dead || flags & FLAG_EXITING ? readable || is_mine : readable && (!env_end || env_end > env_start);
}

static enum leftover_found look_at_memory(const char *pid, bool readable) {
  char path[64];
  AUTO_BUF struct buf stat = BUF_INIT(8192);
  struct err err;
  snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
  if (!file_read(path, &stat, &err))
    return err_is_shortage(&err) ? LEFTOVER_UNSEEN : LEFTOVER_NONE;
  return leftover_is_between(buf_str(&stat), readable, is_mine(pid)) ? LEFTOVER_UNSURE : LEFTOVER_NONE;
}

/* Whose a process is, by its environment; NULL: nobody's of the list. */
static struct leftover *owner_of(struct str environment, struct leftover *list, size_t count) {
  struct leftover key;
  struct str variable, run = STR_NONE, attempt = STR_NONE;
  int64_t number;
  while (str_split(&environment, 0, &variable)) {
    if (!run.p && str_starts(variable, STR(RUN_MARK)))
      run = str_slice(variable, sizeof RUN_MARK - 1, variable.n);
    else if (!attempt.p && str_starts(variable, STR(ATTEMPT_MARK)))
      attempt = str_slice(variable, sizeof ATTEMPT_MARK - 1, variable.n);
  }
  if (!id_parse(run, &key.run) || !str_to_i64(attempt, &number) || number != (int32_t)number)
    return NULL;
  key.attempt = (int32_t)number;
  return bsearch(&key, list, count, sizeof *list, by_attempt);
}

static void found(struct leftover *list, size_t count, enum leftover_found what) {
  for (size_t i = 0; i < count; i++)
    list[i].found = MAX_OF(list[i].found, what);
}

static void look_at(const char *name, pid_t pid, struct leftover *list, size_t count) {
  char path[64];
  AUTO_BUF struct buf environment = BUF_INIT(4 * MIB);
  struct err err;
  snprintf(path, sizeof path, "/proc/%.20s/environ", name);
  bool readable = file_read(path, &environment, &err);
  if (!readable && err_is_shortage(&err)) {
    found(list, count, LEFTOVER_UNSEEN);
    return;
  }
  if (!environment.n) {
    found(list, count, look_at_memory(name, readable));
    return;
  }
  struct leftover *owner = owner_of(buf_str(&environment), list, count);
  if (!owner)
    return;
  kill(pid, SIGKILL);
  owner->found = LEFTOVER_SOME;
}

void leftovers_look(struct leftover *list, size_t count) {
  qsort(list, count, sizeof *list, by_attempt);
  for (size_t i = 0; i < count; i++)
    list[i].found = LEFTOVER_NONE;
  DIR *proc = opendir("/proc");
  if (!proc) {
    found(list, count, LEFTOVER_UNSEEN);
    return;
  }
  for (struct dirent *entry; (entry = readdir(proc));) {
    int64_t pid;
    if (str_to_i64(str_of(entry->d_name), &pid) && pid > 1 && pid != getpid())
      look_at(entry->d_name, (pid_t)pid, list, count);
  }
  closedir(proc);
}

/* ---- until nothing is left ---- */

struct waiting {
  struct id run;
  int32_t attempt;
  unsigned looks;
  int64_t since_ms;
};

/* A look that is out; it owns itself. */
struct search {
  struct work work;
  struct leftovers *asker; /* NULL: it has been freed */
  size_t count;
  struct leftover list[];
};

struct leftovers {
  struct loop *loop;
  struct work_pool *work;
  leftovers_gone_fn *fn;
  void *ctx;
  struct loop_timer *timer;
  struct search *search; /* the one that is out */
  struct waiting *waiting;
  size_t count, cap;
};

static void run_search(struct work *work) {
  struct search *search = CONTAINER_OF(work, struct search, work);
  struct cgroup group;
  for (size_t i = 0; i < search->count; i++) {
    cgroup_find(&group, search->list[i].run, search->list[i].attempt);
    cgroup_kill(&group); /* also those that have changed their environment */
  }
  leftovers_look(search->list, search->count);
  for (size_t i = 0; i < search->count; i++) {
    cgroup_find(&group, search->list[i].run, search->list[i].attempt);
    if (!cgroup_remove(&group))
      search->list[i].found = LEFTOVER_SOME;
  }
}

/* Then it waits no more. */
static bool is_over(struct leftovers *leftovers, const struct leftover *one) {
  for (size_t i = 0; i < leftovers->count; i++) {
    struct waiting *waiting = &leftovers->waiting[i];
    if (waiting->attempt != one->attempt || !id_eq(waiting->run, one->run))
      continue;
    waiting->looks++;
    if (one->found > LEFTOVER_UNSURE || (one->found == LEFTOVER_UNSURE && loop_now_ms(leftovers->loop) - waiting->since_ms < PATIENCE_MS))
      return false;
    *waiting = leftovers->waiting[--leftovers->count];
    return true;
  }
  return false;
}

static void look_again(struct leftovers *leftovers) {
  unsigned least = UINT32_MAX;
  for (size_t i = 0; i < leftovers->count; i++)
    least = MIN_OF(least, leftovers->waiting[i].looks);
  if (leftovers->count)
    loop_timer_start(leftovers->timer, least ? MIN_OF(LOOK_MIN_MS << MIN_OF(least - 1, 10U), LOOK_MAX_MS) : 0);
}

static void searched(struct work *work, bool cancelled) {
  struct search *search = CONTAINER_OF(work, struct search, work);
  for (size_t i = 0; i < search->count && search->asker && !cancelled; i++)
    if (is_over(search->asker, &search->list[i]))
      search->asker->fn(search->asker->ctx, search->list[i].run, search->list[i].attempt);
  if (search->asker) {
    search->asker->search = NULL;
    if (!cancelled)
      look_again(search->asker);
  }
  mem_free(search);
}

static void on_timer(void *ctx) {
  struct leftovers *leftovers = ctx;
  struct err err;
  if (leftovers->search)
    return;
  struct search *search = mem_zalloc(sizeof *search + leftovers->count * sizeof search->list[0]);
  if (!search) {
    loop_timer_start(leftovers->timer, LOOK_MAX_MS);
    return;
  }
  search->work = (struct work){.run = run_search, .done = searched};
  search->asker = leftovers;
  search->count = leftovers->count;
  for (size_t i = 0; i < leftovers->count; i++)
    search->list[i] = (struct leftover){.run = leftovers->waiting[i].run, .attempt = leftovers->waiting[i].attempt};
  leftovers->search = search;
  if (leftovers->work && work_submit(leftovers->work, &search->work, &err))
    return;
  run_search(&search->work);
  searched(&search->work, false);
}

struct leftovers *leftovers_new(struct loop *loop, struct work_pool *work, leftovers_gone_fn *fn, void *ctx, struct err *err) {
  struct leftovers *leftovers = mem_zalloc(sizeof *leftovers);
  if (leftovers) {
    *leftovers = (struct leftovers){.loop = loop, .work = work, .fn = fn, .ctx = ctx};
    leftovers->timer = loop_timer_new(loop, on_timer, leftovers);
  }
  if (leftovers && leftovers->timer)
    return leftovers;
  mem_free(leftovers);
  err_no_memory(err);
  return NULL;
}

void leftovers_free(struct leftovers *leftovers) {
  if (!leftovers)
    return;
  if (leftovers->search)
    leftovers->search->asker = NULL;
  loop_timer_free(leftovers->timer);
  mem_free(leftovers->waiting);
  mem_free(leftovers);
}

bool leftovers_end(struct leftovers *leftovers, struct id run, int32_t attempt, struct err *err) {
  if (leftovers->count == leftovers->cap) {
    size_t cap = MAX_OF(leftovers->cap * 2, (size_t)8);
    struct waiting *waiting = mem_resize(leftovers->waiting, cap, sizeof *waiting);
    if (!waiting)
      return err_no_memory(err);
    leftovers->waiting = waiting;
    leftovers->cap = cap;
  }
  leftovers->waiting[leftovers->count++] = (struct waiting){.run = run, .attempt = attempt, .since_ms = loop_now_ms(leftovers->loop)};
  loop_timer_start(leftovers->timer, 0);
  return true;
}
