/* The loop, its timers, deferred work and the thread pool; files. */
#include "base/file.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/work.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct scene {
  struct loop *loop;
  char order[64];
  size_t n;
  struct loop_defer a, b, c;
  struct loop_timer *timer;
  int turns;
};

static void note(struct scene *scene, char c) {
  if (scene->n + 1 < sizeof scene->order)
    scene->order[scene->n++] = c;
}

static void on_a(void *ctx) {
  struct scene *scene = ctx;
  note(scene, 'a');
  loop_defer_cancel(&scene->b); /* of the same round */
  loop_defer(scene->loop, &scene->a, on_a, scene);
  loop_defer_cancel(&scene->a);
}
static void on_b(void *ctx) {
  note(ctx, 'b');
}
static void on_c(void *ctx) {
  note(ctx, 'c');
}
static void on_hook(void *ctx) {
  struct scene *scene = ctx;
  note(scene, 'h');
}
static void on_timer(void *ctx) {
  struct scene *scene = ctx;
  note(scene, 't');
  loop_defer(scene->loop, &scene->c, on_c, scene);
  loop_timer_free(scene->timer); /* in its own callback */
  scene->timer = NULL;
  loop_stop(scene->loop);
}

static void deferred_work_runs_at_the_end_of_the_turn(void **state UNUSED) {
  struct err err;
  struct scene scene = {0};
  scene.loop = loop_new(&clock_system, &err);
  assert_non_null(scene.loop);
  loop_add_hook(scene.loop, on_hook, &scene);
  loop_defer(scene.loop, &scene.a, on_a, &scene);
  loop_defer(scene.loop, &scene.b, on_b, &scene);
  loop_defer(scene.loop, &scene.c, on_c, &scene);
  loop_defer(scene.loop, &scene.c, on_c, &scene); /* already there */
  loop_turn(scene.loop, false);
  assert_string_equal(scene.order, "ach");
  scene.timer = loop_timer_new(scene.loop, on_timer, &scene);
  assert_non_null(scene.timer);
  loop_timer_start(scene.timer, 5);
  assert_true(loop_timer_is_on(scene.timer));
  scene.n = 0;
  memset(scene.order, 0, sizeof scene.order);
  loop_run(scene.loop);
  assert_non_null(strstr(scene.order, "tch"));
  loop_free(scene.loop);
}

static void on_readable(void *ctx, int fd, unsigned ready) {
  struct scene *scene = ctx;
  char c;
  assert_int_equal(ready, LOOP_READ);
  assert_int_equal(read(fd, &c, 1), 1);
  note(scene, c);
}

static void on_usr1(void *ctx, int number) {
  note(ctx, number == SIGUSR1 ? 's' : '?');
}

static void fail_here(void *ctx UNUSED) {
  fail();
}

/* Of the tests themselves: nobody waits for a loop that a failed assertion has jumped out of. */
static void an_assertion_that_fails_in_a_callback_ends_the_program(void **state UNUSED) {
  struct err err;
  struct loop *loop = loop_new(&clock_system, &err);
  struct loop_timer *timer = loop_timer_new(loop, fail_here, NULL);
  assert_non_null(timer);
  pid_t pid = fork();
  if (pid == 0) {
    int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null_fd, STDOUT_FILENO);
    dup2(null_fd, STDERR_FILENO);
    prctl(PR_SET_DUMPABLE, 0);
    loop_timer_start(timer, 1);
    loop_turn(loop, true);
    _exit(0);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  loop_timer_free(timer);
  loop_free(loop);
}

static void descriptors_and_signals(void **state UNUSED) {
  struct err err;
  struct scene scene = {.loop = loop_new(&clock_system, &err)};
  int pipe_fds[2];
  assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
  struct loop_io *io = loop_io_new(scene.loop, pipe_fds[0], 0, on_readable, &scene);
  struct loop_signal *sig = loop_signal_new(scene.loop, SIGUSR1, on_usr1, &scene);
  assert_int_equal(write(pipe_fds[1], "xy", 2), 2);
  loop_turn(scene.loop, false);
  assert_string_equal(scene.order, "");
  loop_io_set(io, LOOP_READ);
  loop_turn(scene.loop, true);
  loop_turn(scene.loop, true);
  assert_string_equal(scene.order, "xy");
  raise(SIGUSR1);
  loop_turn(scene.loop, true);
  assert_string_equal(scene.order, "xys");
  loop_signal_free(sig);
  loop_io_free(io);
  close(pipe_fds[0]);
  close(pipe_fds[1]);
  loop_free(scene.loop);
}

struct job {
  struct work work;
  pthread_mutex_t *gate;
  bool ran, done, cancelled;
};

static void job_run(struct work *work) {
  struct job *job = CONTAINER_OF(work, struct job, work);
  if (job->gate) {
    pthread_mutex_lock(job->gate);
    pthread_mutex_unlock(job->gate);
  }
  job->ran = true;
}

static void job_done(struct work *work, bool cancelled) {
  struct job *job = CONTAINER_OF(work, struct job, work);
  assert_false(job->done); /* once */
  job->done = true;
  job->cancelled = cancelled;
}

static void work_is_done_on_the_loop_exactly_once(void **state UNUSED) {
  struct err err;
  struct loop *loop = loop_new(&clock_system, &err);
  struct work_pool *pool = work_pool_new(loop, 2, 4, &err);
  assert_non_null(pool);
  enum { JOBS = 20 };
  struct job jobs[JOBS] = {0};
  size_t submitted = 0;
  while (submitted < JOBS) {
    jobs[submitted].work = (struct work){.run = job_run, .done = job_done};
    if (work_submit(pool, &jobs[submitted].work, &err)) {
      submitted++;
    } else {
      assert_int_equal(err.code, ERR_OVERLOADED);
      loop_turn(loop, true);
    }
  }
  for (size_t i = 0; i < JOBS; i++)
    while (!jobs[i].done)
      loop_turn(loop, true);
  for (size_t i = 0; i < JOBS; i++)
    assert_true(jobs[i].ran && !jobs[i].cancelled);

  /* Stopping: what runs is finished, what waits is cancelled, every one is told. */
  pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&gate);
  struct job rest[4] = {0};
  for (size_t i = 0; i < 4; i++) {
    rest[i].gate = &gate;
    rest[i].work = (struct work){.run = job_run, .done = job_done};
    assert_true(work_submit(pool, &rest[i].work, &err));
  }
  pthread_mutex_unlock(&gate);
  work_pool_stop(pool);
  for (size_t i = 0; i < 4; i++)
    assert_true(rest[i].done && rest[i].ran != rest[i].cancelled);
  struct job late = {.work = {.run = job_run, .done = job_done}};
  assert_false(work_submit(pool, &late.work, &err));
  assert_int_equal(err.code, ERR_UNAVAILABLE);
  work_pool_free(pool);
  assert_false(late.done);
  loop_free(loop);
}

static void paths_of_file_uris(void **state UNUSED) {
  const struct {
    const char *uri, *path;
  } cases[] = {
      {"file:///a/b", "/a/b"},
      {"file:/a/b", "/a/b"},
      {"FILE:///a", "/a"},
      {"File://LocalHost/a", "/a"},
      {"file:////a", "//a"},
      {"file://h/a", "file://h/a"},
      {"file:a", "file:a"},
      {"file:", "file:"},
      {"/a/file:/b", "/a/file:/b"},
      {"s3://b/x", "s3://b/x"},
      {"file:http://h", "file:http://h"},
      {"", ""},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++)
    if (!str_is(file_uri_path(str_of(cases[i].uri)), cases[i].path))
      fail_msg("%s", cases[i].uri);
}

static void files(void **state UNUSED) {
  struct err err;
  struct temp_dir dir;
  temp_dir_make(&dir);
  char path[300], copy[300];
  snprintf(path, sizeof path, "%s/a//b/c", dir.path);
  assert_true(dir_make(path, 0700, &err));
  assert_true(dir_make(path, 0700, &err)); /* again */
  snprintf(path, sizeof path, "%s/a/b/c/file", dir.path);
  assert_true(file_replace(path, STR("one"), 0640, &err));
  assert_true(file_replace(path, STR("two"), 0600, &err));
  AUTO_BUF struct buf content = BUF_INIT(3);
  assert_true(file_read(path, &content, &err));
  assert_string_equal(buf_text(&content), "two");
  AUTO_BUF struct buf small = BUF_INIT(2);
  assert_false(file_read(path, &small, &err));
  assert_int_equal(err.code, ERR_TOO_LARGE);
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 07777, 0600);
  assert_false(dir_make(path, 0700, &err)); /* a file is in the way */

  snprintf(path, sizeof path, "%s/a/b/out", dir.path);
  assert_int_equal(symlink("/etc", path), 0);
  snprintf(path, sizeof path, "%s/a", dir.path);
  AUTO_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  static const char *const refused[] = {"../secret", "/etc/passwd", "b/out/passwd", "b/out", "b/../../x"};
  for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
    assert_int_equal(file_open_beneath(fd, refused[i], O_RDONLY, 0, &err), -1);
    assert_int_equal(err.code, ERR_FORBIDDEN);
  }
  AUTO_FD int inside = file_open_beneath(fd, "b/c/file", O_RDONLY, 0, &err);
  assert_true(inside >= 0);
  assert_int_equal(file_open_beneath(fd, "b/none", O_RDONLY, 0, &err), -1);
  assert_int_equal(err.code, ERR_NOT_FOUND);

  snprintf(copy, sizeof copy, "%s/copy", dir.path);
  assert_int_equal(futimens(inside, (struct timespec[]){{.tv_sec = 1000000}, {.tv_sec = 2000000}}), 0);
  assert_true(tree_copy(path, copy, &err));
  snprintf(copy, sizeof copy, "%s/copy/b/c/file", dir.path);
  buf_reset(&content);
  assert_true(file_read(copy, &content, &err));
  assert_string_equal(buf_text(&content), "two");
  assert_int_equal(stat(copy, &st), 0);
  assert_int_equal(st.st_mtim.tv_sec, 2000000);
  assert_true(tree_remove(path, &err));
  assert_true(tree_remove(path, &err)); /* gone is fine */
  assert_int_equal(access("/etc/passwd", F_OK), 0);
  temp_dir_remove(&dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(deferred_work_runs_at_the_end_of_the_turn),
      cmocka_unit_test(descriptors_and_signals),
      cmocka_unit_test(an_assertion_that_fails_in_a_callback_ends_the_program),
      cmocka_unit_test(work_is_done_on_the_loop_exactly_once),
      cmocka_unit_test(files),
      cmocka_unit_test(paths_of_file_uris),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
