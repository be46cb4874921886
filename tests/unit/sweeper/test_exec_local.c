/* The local executor with real companions: starting, what a killed one leaves behind, finding them again. */
#include "sweeper/machine/exec_local.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "sweeper/machine/cgroup.h"
#include "sweeper/machine/leftovers.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test.h"

struct scene {
  struct temp_dir dir;
  struct loop *loop;
  struct work_pool *work;
  struct exec_local *executor;
  int gone;
  bool had_exit_text;
  int lock; /* of the job; -1: none */
  bool got_lock;
  struct id run;
};

static void on_gone(void *ctx, struct id run, int32_t attempt, struct str exit_text) {
  struct scene *scene = ctx;
  assert_true(id_eq(run, scene->run));
  assert_int_equal(attempt, 1);
  scene->gone++;
  scene->had_exit_text = exit_text.p != NULL;
  scene->got_lock = scene->lock >= 0 && flock(scene->lock, LOCK_EX | LOCK_NB) == 0;
}

/* Processes and control groups are found by it: two of these tests at once have two. */
static struct id run_of_nobody_else(void) {
  struct id run;
  rng_secret(run.bytes, sizeof run.bytes);
  return run;
}

static void open_scene(struct scene *scene, const char *companion) {
  struct err err;
  *scene = (struct scene){.run = run_of_nobody_else(), .lock = -1};
  temp_dir_make(&scene->dir);
  scene->loop = loop_new(&clock_system, &err);
  scene->work = work_pool_new(scene->loop, 1, 16, &err);
  assert_non_null(scene->work);
  struct exec_local_conf conf = {.data_dir = scene->dir.path, .companion = companion};
  scene->executor = exec_local_new(scene->loop, &conf, on_gone, scene, &err);
  assert_non_null(scene->executor);
}

static void reopen(struct scene *scene) {
  struct err err;
  exec_local_free(scene->executor);
  struct exec_local_conf conf = {.data_dir = scene->dir.path, .companion = WINNOW_EXEC};
  scene->executor = exec_local_new(scene->loop, &conf, on_gone, scene, &err);
  assert_non_null(scene->executor);
}

static void close_scene(struct scene *scene) {
  work_pool_free(scene->work);
  exec_local_free(scene->executor);
  loop_free(scene->loop);
  temp_dir_remove(&scene->dir);
}

static bool start(struct scene *scene, const char *script, struct err *err) {
  char sh[] = "sh", c[] = "-c", mark_run[64], mark_attempt[] = "WINNOW_ATTEMPT=1", path[] = "PATH=/usr/bin:/bin", id[ID_HEX_LEN + 1];
  id_format(scene->run, id);
  snprintf(mark_run, sizeof mark_run, "WINNOW_RUN_ID=%s", id);
  char *argv[] = {sh, c, (char *)(uintptr_t)script, NULL}, *env[] = {mark_run, mark_attempt, path, NULL};
  struct job_file job = {.run_id = scene->run,
                         .attempt = 1,
                         .slots = 3,
                         .token = "t",
                         .cwd = scene->dir.path,
                         .stop_grace_ms = 1000,
                         .spool_max = 1000000,
                         .heartbeat_ms = 1000,
                         .argv = argv,
                         .argc = 3,
                         .env = env,
                         .env_count = 3};
  return exec_local_make(scene->executor, scene->run, 1, NULL, err) && exec_local_start(scene->executor, &job, err);
}

/* The whole content of a file below the attempt's directory once it has some; 0 when it has none. */
static int64_t number_in(const struct scene *scene, const char *name) {
  AUTO_BUF struct buf path = BUF_INIT(4096), text = BUF_INIT(4096);
  struct err err;
  int64_t number = 0;
  exec_local_path(scene->executor, scene->run, 1, name, &path);
  if (!file_read(buf_text(&path), &text, &err) || !str_to_i64(str_trim(buf_str(&text)), &number))
    return 0;
  return number;
}

static void sleep_a_little(void) {
  struct timespec pause = {0, 20 * 1000000};
  nanosleep(&pause, NULL);
}

static int64_t wait_number(const struct scene *scene, const char *name) {
  for (int i = 0; i < 3000; i++, sleep_a_little()) {
    int64_t number = number_in(scene, name);
    if (number)
      return number;
  }
  fail_msg("%s got no number", name);
  return 0;
}

static void wait_gone(struct scene *scene) {
  for (int i = 0; i < 3000 && !scene->gone; i++, sleep_a_little())
    loop_turn(scene->loop, false);
  assert_int_equal(scene->gone, 1);
}

static void wait_dead(int64_t pid) {
  for (int i = 0; i < 3000; i++, sleep_a_little())
    if (kill((pid_t)pid, 0) != 0)
      return;
  fail_msg("process %lld lives", (long long)pid);
}

static void a_killed_companion_leaves_nothing_running(void **state UNUSED) {
  struct scene scene;
  struct err err;
  open_scene(&scene, WINNOW_EXEC);
  if (!start(&scene, "setsid sh -c 'echo $$; exec sleep 600' & sleep 600", &err))
    fail_msg("%s", err.text);
  int64_t job = wait_number(&scene, "stdout"), companion = wait_number(&scene, "companion.lock");
  assert_int_equal(exec_local_count(scene.executor), 1);
  kill((pid_t)companion, SIGKILL);
  wait_gone(&scene);
  assert_false(scene.had_exit_text);
  wait_dead(job);
  assert_int_equal(exec_local_count(scene.executor), 0);
  AUTO_BUF struct buf kept = BUF_INIT(4096);
  exec_local_path(scene.executor, scene.run, 1, "checkpoint", &kept);
  buf_puts(&kept, "/model");
  assert_true(file_replace(buf_text(&kept), STR("1"), 0600, &err));
  assert_true(exec_local_tidy(scene.executor, scene.run, 1, &err));
  assert_int_equal(access(buf_text(&kept), F_OK), 0); /* for the next attempt */
  assert_int_equal(unlink(buf_text(&kept)), 0);
  assert_true(exec_local_tidy(scene.executor, scene.run, 1, &err));
  buf_cut(&kept, kept.n - strlen("/checkpoint/model"));
  assert_int_not_equal(access(buf_text(&kept), F_OK), 0); /* nothing is left of the run */
  close_scene(&scene);
}

/* Told gone is dead: the next attempt may take what this one held, a lock as well as a GPU. */
static void what_a_dead_companion_left_holds_nothing_any_more(void **state UNUSED) {
  struct scene scene;
  struct err err;
  char lock[200];
  open_scene(&scene, WINNOW_EXEC);
  if (!start(&scene, "exec 8>lock; flock 8; for i in $(seq 40); do sleep 600 & done; echo $$; wait", &err))
    fail_msg("%s", err.text);
  wait_number(&scene, "stdout");
  snprintf(lock, sizeof lock, "%s/lock", scene.dir.path);
  AUTO_FD int fd = scene.lock = open(lock, O_RDWR | O_CLOEXEC);
  assert_int_not_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
  kill((pid_t)wait_number(&scene, "companion.lock"), SIGKILL);
  wait_gone(&scene);
  assert_true(scene.got_lock);
  close_scene(&scene);
}

static void companions_are_found_again(void **state UNUSED) {
  struct scene scene;
  struct err err;
  open_scene(&scene, WINNOW_EXEC);
  assert_true(start(&scene, "echo $$; exec sleep 600", &err));
  int64_t job = wait_number(&scene, "stdout"), companion = wait_number(&scene, "companion.lock");
  reopen(&scene); /* as after a restart: nobody is told, nothing is disturbed */
  assert_int_equal(scene.gone, 0);
  assert_int_equal(kill((pid_t)job, 0), 0);
  assert_true(exec_local_adopt(scene.executor, scene.run, 1, &err));
  loop_turn(scene.loop, false);
  assert_int_equal(scene.gone, 0);
  exec_local_signal(scene.executor, scene.run, 1, SIGTERM);
  wait_dead(job);
  kill((pid_t)companion, SIGKILL); /* it would wait for a service to report to */
  wait_gone(&scene);
  close_scene(&scene);
}

/* As by a start that was tried again: whatever the first try took, there is one watcher, and one end. */
static void a_companion_is_watched_once(void **state UNUSED) {
  struct scene scene;
  struct err err;
  open_scene(&scene, WINNOW_EXEC);
  assert_true(start(&scene, "echo $$; exec sleep 600", &err));
  int64_t job = wait_number(&scene, "stdout"), companion = wait_number(&scene, "companion.lock");
  reopen(&scene);
  assert_true(exec_local_adopt(scene.executor, scene.run, 1, &err));
  exec_local_forget_all(scene.executor);
  assert_int_equal(exec_local_count(scene.executor), 0);
  assert_true(exec_local_adopt(scene.executor, scene.run, 1, &err));
  assert_true(exec_local_adopt(scene.executor, scene.run, 1, &err));
  assert_int_equal(exec_local_count(scene.executor), 1);
  kill((pid_t)companion, SIGKILL);
  wait_gone(&scene);
  wait_dead(job);
  assert_int_equal(exec_local_count(scene.executor), 0);
  assert_int_equal(scene.gone, 1);
  close_scene(&scene);
}

struct found {
  size_t count, living;
  struct exec_attempt last;
};

static void on_found(void *ctx, const struct exec_attempt *attempt) {
  struct found *found = ctx;
  found->count++;
  found->living += attempt->holder == EXEC_LIVES;
  found->last = *attempt;
}

static struct found look(const struct scene *scene) {
  struct found found = {.count = 0};
  struct err err;
  assert_true(exec_local_each(scene->executor, on_found, &found, &err));
  return found;
}

/* What can be known of a job by what lies here alone; and a companion whose job is over can be told to go. */
static void an_attempt_is_known_by_its_files(void **state UNUSED) {
  struct scene scene;
  struct job_file job;
  struct err err;
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  open_scene(&scene, WINNOW_EXEC);
  assert_int_equal(look(&scene).count, 0);
  assert_false(exec_local_job(scene.executor, scene.run, 1, &arena, &job, &err));
  assert_true(start(&scene, "echo $$; exec sleep 600", &err));
  wait_number(&scene, "companion.lock");
  wait_number(&scene, "stdout");
  reopen(&scene);
  struct found found = look(&scene);
  assert_true(found.count == 1 && found.living == 1 && found.last.number == 1 && id_eq(found.last.run, scene.run));
  assert_true(exec_local_job(scene.executor, scene.run, 1, &arena, &job, &err));
  assert_int_equal(job.stop_grace_ms, 1000);
  assert_int_equal(job.slots, 3);
  assert_false(exec_local_job_is_over(scene.executor, scene.run, 1));
  assert_false(exec_local_watches(scene.executor, scene.run, 1));
  assert_true(exec_local_adopt(scene.executor, scene.run, 1, &err));
  assert_true(exec_local_watches(scene.executor, scene.run, 1));
  exec_local_signal(scene.executor, scene.run, 1, SIGTERM);
  for (int i = 0; i < 3000 && !exec_local_job_is_over(scene.executor, scene.run, 1); i++, sleep_a_little())
    loop_turn(scene.loop, false);
  assert_true(exec_local_job_is_over(scene.executor, scene.run, 1));
  assert_int_equal(look(&scene).living, 1); /* nobody has taken what it has */
  assert_int_equal(scene.gone, 0);
  exec_local_signal(scene.executor, scene.run, 1, SIGTERM);
  wait_gone(&scene);
  assert_true(scene.had_exit_text);
  assert_false(exec_local_is_told(scene.executor, scene.run, 1));
  assert_int_equal(look(&scene).last.holder, EXEC_DEAD);
  close_scene(&scene);
}

/* However many there are: directories of runs, each with the lock of an attempt, half of them held. */
static void all_that_lies_here_is_found(void **state UNUSED) {
  enum { RUNS = 1500 };
  static int locks[RUNS];
  struct scene scene;
  struct err err;
  struct rlimit files;
  open_scene(&scene, WINNOW_EXEC);
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
  files.rlim_cur = files.rlim_max;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
  if (files.rlim_cur < RUNS + 100)
    skip();
  for (int i = 0; i < RUNS; i++) {
    AUTO_BUF struct buf path = BUF_INIT(4096);
    struct id run = {{(uint8_t)(i >> 8), (uint8_t)i, 1}};
    exec_local_path(scene.executor, run, 1, "", &path);
    assert_true(dir_make(buf_text(&path), 0700, &err));
    buf_puts(&path, "/companion.lock");
    locks[i] = open(buf_text(&path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(locks[i] >= 0 && fd_write_all(locks[i], "2\n", 2, &err));
    if (i % 2)
      assert_int_equal(flock(locks[i], LOCK_EX), 0);
  }
  struct found found = look(&scene);
  for (int i = 0; i < RUNS; i++)
    close(locks[i]);
  assert_true(found.count == RUNS && found.living == RUNS / 2);
  close_scene(&scene);
}

/* Damage of one directory is not that of the others. */
static void a_run_that_cannot_be_read_hides_no_other(void **state UNUSED) {
  struct scene scene;
  struct err err;
  open_scene(&scene, WINNOW_EXEC);
  const struct id runs[] = {{{1}}, {{2}}};
  char name[ID_HEX_LEN + 1];
  for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
    AUTO_BUF struct buf path = BUF_INIT(4096), loop = BUF_INIT(4096);
    exec_local_path(scene.executor, runs[i], 1, "", &path);
    assert_true(buf_ok(&path, &err) && dir_make(buf_text(&path), 0700, &err));
    id_format((struct id){{3, (uint8_t)i}}, name);
    buf_printf(&loop, "%s/jobs/%s", scene.dir.path, name);
    assert_true(buf_ok(&loop, &err) && symlink(name, buf_text(&loop)) == 0);
  }
  assert_int_equal(look(&scene).count, ARRAY_LEN(runs));
  close_scene(&scene);
}

/* Nothing is left of an adoption for which there was no memory: it may be tried again. */
static void an_adoption_without_memory_can_be_repeated(void **state UNUSED) {
  struct scene scene;
  struct err err;
  open_scene(&scene, WINNOW_EXEC);
  assert_true(start(&scene, "echo $$; exec sleep 600", &err));
  int64_t job = wait_number(&scene, "stdout"), companion = wait_number(&scene, "companion.lock");
  reopen(&scene);
  bool adopted = false;
  for (unsigned long n = 1; !adopted; n++) {
    mem_fail_at(n, true);
    adopted = exec_local_adopt(scene.executor, scene.run, 1, &err);
    mem_fail_at(0, false);
    assert_int_equal(exec_local_watches(scene.executor, scene.run, 1), adopted);
  }
  for (int i = 0; i < 10; i++, sleep_a_little()) /* the last of it may have had none either, and is done by now */
    loop_turn(scene.loop, false);
  assert_int_equal(scene.gone, 0);
  kill((pid_t)companion, SIGKILL);
  wait_gone(&scene);
  wait_dead(job);
  close_scene(&scene);
}

/* Who cannot look does not know, and kills nobody. */
static void without_descriptors_a_companion_is_not_lost(void **state UNUSED) {
  struct scene scene;
  struct err err;
  struct rlimit old, none;
  open_scene(&scene, WINNOW_EXEC);
  assert_true(start(&scene, "echo $$; exec sleep 600", &err));
  int64_t job = wait_number(&scene, "stdout"), companion = wait_number(&scene, "companion.lock");
  reopen(&scene);
  getrlimit(RLIMIT_NOFILE, &old);
  none = (struct rlimit){.rlim_cur = 0, .rlim_max = old.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  struct leftover another = {.run = scene.run, .attempt = 2};
  leftovers_look(&another, 1);
  assert_int_equal(another.found, LEFTOVER_UNSEEN);
  assert_true(exec_local_was_started(scene.executor, scene.run, 1));
  assert_true(exec_local_adopt(scene.executor, scene.run, 1, &err));
  for (int i = 0; i < 10; i++, sleep_a_little())
    loop_turn(scene.loop, false);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
  assert_int_equal(scene.gone, 0);
  assert_int_equal(kill((pid_t)job, 0), 0);
  for (int i = 0; i < 10; i++, sleep_a_little()) /* found by now */
    loop_turn(scene.loop, false);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  kill((pid_t)companion, SIGKILL);
  for (int i = 0; i < 10; i++, sleep_a_little())
    loop_turn(scene.loop, false);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
  assert_int_equal(scene.gone, 0); /* what it left may be alive */
  wait_gone(&scene);
  wait_dead(job);
  close_scene(&scene);
}

/* ---- many at once ---- */

enum { MANY = 300, ALIVE = 8 };

struct told {
  int count[MANY + 1];
  int all;
};

static void on_nothing_left(void *ctx, struct id run UNUSED, int32_t attempt) {
  struct told *told = ctx;
  told->count[attempt]++;
  told->all++;
}

static pid_t leave(struct id run, int32_t attempt) {
  struct leftover_marks marks;
  leftover_marks_make(&marks, run, attempt);
  char sleep[] = "sleep", seconds[] = "600", *argv[] = {sleep, seconds, NULL}, *env[] = {marks.run, marks.attempt, NULL};
  pid_t pid;
  assert_int_equal(posix_spawnp(&pid, "sleep", NULL, NULL, argv, env), 0);
  return pid;
}

static void wait_told(struct scene *scene, const struct told *told, int count) {
  for (int i = 0; i < 3000 && told->all < count; i++, sleep_a_little())
    loop_turn(scene->loop, false);
  assert_int_equal(told->all, count);
}

static void what_many_left_is_ended_together(void **state UNUSED) {
  struct scene scene;
  struct err err;
  struct told told = {.all = 0};
  pid_t left[ALIVE];
  int status;
  open_scene(&scene, WINNOW_EXEC);
  struct id stranger_run = run_of_nobody_else();
  pid_t stranger = leave(stranger_run, 1), later = leave(scene.run, MANY + 1);
  for (int i = 0; i < ALIVE; i++)
    left[i] = leave(scene.run, 1 + i * 30);
  struct leftovers *leftovers = leftovers_new(scene.loop, scene.work, on_nothing_left, &told, &err);
  assert_non_null(leftovers);
  for (int32_t attempt = MANY; attempt > 1; attempt--)
    assert_true(leftovers_end(leftovers, scene.run, attempt, &err));
  assert_int_equal(told.all, 0);
  loop_turn(scene.loop, false);                              /* a look is out */
  assert_true(leftovers_end(leftovers, scene.run, 1, &err)); /* joins the next */
  wait_told(&scene, &told, MANY);
  for (int attempt = 1; attempt <= MANY; attempt++)
    assert_int_equal(told.count[attempt], 1);
  for (int i = 0; i < ALIVE; i++)
    assert_int_equal(waitpid(left[i], &status, 0), left[i]);
  assert_int_equal(waitpid(stranger, &status, WNOHANG), 0);
  assert_int_equal(waitpid(later, &status, WNOHANG), 0);
  assert_true(leftovers_end(leftovers, stranger_run, 1, &err));
  loop_turn(scene.loop, false);
  leftovers_free(leftovers); /* while a look is out */
  assert_int_equal(waitpid(stranger, &status, 0), stranger);
  kill(later, SIGKILL);
  waitpid(later, &status, 0);
  close_scene(&scene);
  assert_int_equal(told.all, MANY);
}

#define STAT(state, flags, threads, environment)                              \
  STR("7 (a) b) " state " 1 7 7 0 -1 " flags " 1 0 0 0 0 0 0 0 20 0 " threads \
      " 0 9 0 0 18446744073709551615 0 0 0 0 0 0 0 0 2 1 0 0 17 0 "           \
      "0 0 0 0 0 0 0 0 0 0 " environment " 0\n")

static void who_has_no_environment_may_be_on_its_way(void **state UNUSED) {
  assert_true(leftover_is_between(STAT("R", "4194304", "1", "0 0"), true, true)); /* into a new program */
  assert_false(leftover_is_between(STAT("R", "4194304", "1", "0 0"), false, true));
  assert_false(leftover_is_between(STAT("S", "4194304", "1", "140720 140720"), true, true));  /* it has none */
  assert_true(leftover_is_between(STAT("S", "4194304", "1", "140720 140900"), true, true));   /* it was on its way when it was read */
  assert_false(leftover_is_between(STAT("S", "4194304", "1", "140720 140900"), false, true)); /* others' */
  assert_true(leftover_is_between(STAT("R", "4194308", "1", "0 0"), false, true));            /* out */
  assert_false(leftover_is_between(STAT("R", "4194308", "1", "0 0"), false, false));
  assert_true(leftover_is_between(STAT("Z", "4194308", "2", "0 0"), false, true)); /* out, but for a thread */
  assert_false(leftover_is_between(STAT("Z", "4194308", "1", "0 0"), true, true)); /* a zombie stays as long as its parent likes */
  assert_false(leftover_is_between(STAT("S", "2097220", "1", "0 0"), true, true)); /* the kernel's own */
  assert_false(leftover_is_between(STR("7 (a"), true, true));
  assert_false(leftover_is_between(STR(""), true, true));
}

static void an_attempt_without_companion_is_gone_at_once(void **state UNUSED) {
  struct scene scene;
  struct err err;
  open_scene(&scene, WINNOW_EXEC);
  assert_true(exec_local_adopt(scene.executor, scene.run, 1, &err));
  assert_int_equal(scene.gone, 0); /* never before the starter has returned */
  wait_gone(&scene);
  assert_false(scene.had_exit_text);
  /* One that has said how it ended. */
  AUTO_BUF struct buf path = BUF_INIT(4096);
  exec_local_path(scene.executor, scene.run, 1, "", &path);
  assert_true(dir_make(buf_text(&path), 0700, &err));
  buf_puts(&path, "/exit");
  assert_true(file_replace(buf_text(&path), STR("exit_code 0\n"), 0600, &err));
  scene.gone = 0;
  assert_true(exec_local_adopt(scene.executor, scene.run, 1, &err));
  wait_gone(&scene);
  assert_true(scene.had_exit_text);
  /* One whose words the machine has lost. */
  assert_true(file_replace(buf_text(&path), STR(""), 0600, &err));
  scene.gone = 0;
  assert_true(exec_local_adopt(scene.executor, scene.run, 1, &err));
  wait_gone(&scene);
  assert_false(scene.had_exit_text);
  close_scene(&scene);
}

static void write_script(const struct scene *scene, char path[200], const char *body) {
  AUTO_BUF struct buf text = BUF_INIT(4096);
  struct err err;
  snprintf(path, 200, "%s/slow-exec", scene->dir.path);
  buf_printf(&text, "#!/bin/sh\n%s\n", body);
  assert_true(file_replace(path, buf_str(&text), 0755, &err));
}

/* The service dies between starting a companion and its first word: the lock is held, but by nobody known. */
static void a_companion_that_is_coming_up_is_waited_for(void **state UNUSED) {
  struct scene scene;
  struct err err;
  char script[200], come[200], body[600];
  open_scene(&scene, NULL);
  snprintf(come, sizeof come, "%s/come", scene.dir.path);
  snprintf(body, sizeof body, "until [ -e %s ]; do sleep 0.02; done; exec " WINNOW_EXEC " \"$@\"", come);
  write_script(&scene, script, body);
  exec_local_free(scene.executor);
  struct exec_local_conf conf = {.data_dir = scene.dir.path, .companion = script};
  scene.executor = exec_local_new(scene.loop, &conf, on_gone, &scene, &err);
  assert_false(exec_local_was_started(scene.executor, scene.run, 1));
  assert_true(start(&scene, "echo $$; exec sleep 600", &err));
  reopen(&scene);
  assert_int_equal(number_in(&scene, "companion.lock"), 0);
  assert_true(exec_local_was_started(scene.executor, scene.run, 1)); /* so nobody starts it again */
  assert_true(exec_local_adopt(scene.executor, scene.run, 1, &err));
  assert_true(file_replace(come, STR(""), 0600, &err));
  int64_t companion = 0, job = 0;
  for (int i = 0; i < 3000 && !job; i++, sleep_a_little()) {
    loop_turn(scene.loop, false);
    companion = number_in(&scene, "companion.lock");
    job = companion ? number_in(&scene, "stdout") : 0;
  }
  assert_true(job > 0);
  assert_int_equal(scene.gone, 0);
  kill((pid_t)companion, SIGKILL);
  wait_gone(&scene);
  wait_dead(job);
  close_scene(&scene);
}

/* It died before it said who it was, so it has started nothing: the attempt may begin anew. */
static void a_companion_that_never_spoke_has_started_nothing(void **state UNUSED) {
  struct scene scene;
  struct err err;
  char script[200];
  open_scene(&scene, NULL);
  write_script(&scene, script, "exit 1");
  exec_local_free(scene.executor);
  struct exec_local_conf conf = {.data_dir = scene.dir.path, .companion = script};
  scene.executor = exec_local_new(scene.loop, &conf, on_gone, &scene, &err);
  assert_true(start(&scene, "true", &err));
  wait_gone(&scene);
  assert_false(exec_local_was_started(scene.executor, scene.run, 1));
  close_scene(&scene);
}

static void the_directory_begins_with_the_code_and_its_links(void **state UNUSED) {
  struct scene scene;
  struct err err;
  char code[200], origin[200];
  AUTO_BUF struct buf path = BUF_INIT(4096), text = BUF_INIT(4096);
  open_scene(&scene, WINNOW_EXEC);
  snprintf(code, sizeof code, "%s/tree/sub", scene.dir.path);
  snprintf(origin, sizeof origin, "%s/origin/deep/data", scene.dir.path);
  assert_true(dir_make(code, 0755, &err) && dir_make(origin, 0755, &err));
  snprintf(code, sizeof code, "%s/tree/sub/a", scene.dir.path);
  assert_true(file_replace(code, STR("a"), 0750, &err));
  snprintf(origin, sizeof origin, "%s/origin/deep/data/b", scene.dir.path);
  assert_true(file_replace(origin, STR("b"), 0644, &err));
  snprintf(code, sizeof code, "%s/tree", scene.dir.path);
  snprintf(origin, sizeof origin, "%s/origin", scene.dir.path);
  struct str links[] = {STR("deep/data"), STR("nowhere")};
  struct exec_tree tree = {.code = code, .origin = origin, .links = links, .link_count = 1};
  for (int i = 0; i < 2; i++) /* what is left over from a start that came to nothing is replaced */
    assert_true(exec_local_make(scene.executor, scene.run, 1, &tree, &err));
  exec_local_path(scene.executor, scene.run, 1, "work/sub/a", &path);
  struct stat st;
  assert_true(stat(buf_text(&path), &st) == 0 && (st.st_mode & 0777) == 0750);
  buf_reset(&path);
  exec_local_path(scene.executor, scene.run, 1, "work/deep/data/b", &path);
  assert_true(file_read(buf_text(&path), &text, &err));
  assert_true(exec_local_tidy(scene.executor, scene.run, 1, &err));
  assert_int_equal(stat(origin, &st), 0); /* what a link leads to stays */
  tree.link_count = 2;
  assert_false(exec_local_make(scene.executor, scene.run, 1, &tree, &err));
  assert_non_null(strstr(err.text, "nowhere"));
  close_scene(&scene);
}

static bool lies_there(const struct scene *scene, int32_t attempt, const char *what) {
  AUTO_BUF struct buf path = BUF_INIT(4096);
  exec_local_path(scene->executor, scene->run, attempt, what, &path);
  return access(buf_text(&path), F_OK) == 0;
}

/* A retry begins as soon as its end is stored, before what the first attempt left is tidied. */
static void a_checkpoint_directory_stays_for_the_next_attempt(void **state UNUSED) {
  struct scene scene;
  struct err err;
  const struct exec_tree empty = {.code = NULL};
  open_scene(&scene, WINNOW_EXEC);
  assert_true(exec_local_make(scene.executor, scene.run, 1, &empty, &err));
  assert_true(exec_local_make(scene.executor, scene.run, 2, &empty, &err));
  assert_true(exec_local_tidy(scene.executor, scene.run, 1, &err));
  assert_false(lies_there(&scene, 1, ""));
  assert_true(lies_there(&scene, 2, "work") && lies_there(&scene, 2, "checkpoint"));
  assert_true(exec_local_tidy(scene.executor, scene.run, 2, &err));
  assert_false(lies_there(&scene, 2, "checkpoint"));
  assert_true(exec_local_make(scene.executor, scene.run, 3, NULL, &err)); /* of a command that runs elsewhere */
  assert_true(lies_there(&scene, 3, "checkpoint"));
  assert_false(lies_there(&scene, 3, "work"));
  close_scene(&scene);
}

static ino_t inode_of(const struct scene *scene, const char *what) {
  AUTO_BUF struct buf path = BUF_INIT(4096);
  struct stat st;
  exec_local_path(scene->executor, scene->run, 1, what, &path);
  assert_int_equal(stat(buf_text(&path), &st), 0);
  return st.st_ino;
}

static void put(const struct scene *scene, const char *name) {
  struct err err;
  assert_true(exec_local_put(scene->executor, scene->run, 1, name, STR("1"), &err));
}

/* The next run's, also of the next service; but nothing of what was in it, and not where the job was. */
static void a_directory_is_used_again(void **state UNUSED) {
  struct scene scene;
  struct err err;
  const struct exec_tree empty = {.code = NULL};
  open_scene(&scene, WINNOW_EXEC);
  assert_true(exec_local_make(scene.executor, scene.run, 1, &empty, &err));
  ino_t own = inode_of(&scene, "");
  put(&scene, "exit");
  put(&scene, "work/left");
  assert_true(exec_local_tidy(scene.executor, scene.run, 1, &err));
  assert_false(lies_there(&scene, 1, ""));
  reopen(&scene);
  assert_int_equal(look(&scene).count, 0); /* it is nobody's */
  AUTO_BUF struct buf late = BUF_INIT(4096);
  buf_printf(&late, "%s/jobs/spare-0/1/job", scene.dir.path);
  assert_true(file_replace(buf_text(&late), STR("put there by nobody knows whom"), 0600, &err));
  scene.run.bytes[5]++;
  assert_true(exec_local_make(scene.executor, scene.run, 1, &empty, &err));
  assert_int_equal(inode_of(&scene, ""), own);
  assert_true(lies_there(&scene, 1, "checkpoint") && lies_there(&scene, 1, "work"));
  assert_false(lies_there(&scene, 1, "exit") || lies_there(&scene, 1, "work/left") || lies_there(&scene, 1, "job"));
  close_scene(&scene);
}

/* Not what still holds something: it would come to another run. */
static void a_used_checkpoint_goes_to_no_other_run(void **state UNUSED) {
  struct scene scene;
  struct err err;
  AUTO_BUF struct buf kept = BUF_INIT(4096);
  open_scene(&scene, WINNOW_EXEC);
  assert_true(exec_local_make(scene.executor, scene.run, 1, NULL, &err));
  exec_local_path(scene.executor, scene.run, 1, "checkpoint", &kept);
  buf_puts(&kept, "/model");
  assert_true(file_replace(buf_text(&kept), STR("1"), 0600, &err));
  assert_true(exec_local_tidy(scene.executor, scene.run, 1, &err));
  assert_false(lies_there(&scene, 1, ""));
  scene.run.bytes[5]++;
  assert_true(exec_local_make(scene.executor, scene.run, 1, NULL, &err));
  assert_int_equal(access(buf_text(&kept), F_OK), 0);
  close_scene(&scene);
}

static void a_companion_that_is_not_there_is_an_error(void **state UNUSED) {
  struct scene scene;
  struct err err;
  open_scene(&scene, "/nonexistent/winnow-exec");
  assert_false(start(&scene, "true", &err));
  assert_non_null(strstr(err.text, "/nonexistent/winnow-exec"));
  assert_int_equal(exec_local_count(scene.executor), 0);
  close_scene(&scene);
}

static bool is_version_2(const char *path) {
  struct statfs fs;
  return statfs(path, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* Also where version 2 is mounted beside version 1. */
static bool see_groups(void) {
  return is_version_2("/sys/fs/cgroup") || is_version_2("/sys/fs/cgroup/unified");
}

/* Nor does it leave whoever has thrown its environment away, or the group that they were all in. */
static void a_killed_companion_leaves_no_group(void **state UNUSED) {
  struct scene scene;
  struct err err;
  struct cgroup group;
  if (!see_groups())
    skip();
  open_scene(&scene, WINNOW_EXEC);
  assert_true(start(&scene, "env -i sleep 600 & echo $!; wait", &err));
  int64_t job = wait_number(&scene, "stdout"), companion = wait_number(&scene, "companion.lock");
  cgroup_find(&group, scene.run, 1);
  assert_int_not_equal(group.path[0], 0);
  bool has_group = access(group.path, F_OK) == 0;
  if (!has_group)
    kill((pid_t)job, SIGKILL);
  kill((pid_t)companion, SIGKILL);
  wait_gone(&scene);
  wait_dead(job);
  close_scene(&scene);
  if (!has_group) /* not ours to make */
    skip();
  assert_int_not_equal(access(group.path, F_OK), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_killed_companion_leaves_nothing_running),
      cmocka_unit_test(what_a_dead_companion_left_holds_nothing_any_more),
      cmocka_unit_test(companions_are_found_again),
      cmocka_unit_test(a_companion_is_watched_once),
      cmocka_unit_test(an_attempt_is_known_by_its_files),
      cmocka_unit_test(all_that_lies_here_is_found),
      cmocka_unit_test(a_run_that_cannot_be_read_hides_no_other),
      cmocka_unit_test(an_adoption_without_memory_can_be_repeated),
      cmocka_unit_test(without_descriptors_a_companion_is_not_lost),
      cmocka_unit_test(what_many_left_is_ended_together),
      cmocka_unit_test(who_has_no_environment_may_be_on_its_way),
      cmocka_unit_test(an_attempt_without_companion_is_gone_at_once),
      cmocka_unit_test(a_companion_that_is_coming_up_is_waited_for),
      cmocka_unit_test(a_companion_that_never_spoke_has_started_nothing),
      cmocka_unit_test(the_directory_begins_with_the_code_and_its_links),
      cmocka_unit_test(a_checkpoint_directory_stays_for_the_next_attempt),
      cmocka_unit_test(a_directory_is_used_again),
      cmocka_unit_test(a_used_checkpoint_goes_to_no_other_run),
      cmocka_unit_test(a_companion_that_is_not_there_is_an_error),
      cmocka_unit_test(a_killed_companion_leaves_no_group),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
