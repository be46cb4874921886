/* Children that are told to stop while they are waited for. */
#include "storage/pg/subproc.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "base/file.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test.h"

static struct temp_dir dir;
static struct subproc_stop stop;
static struct run_as us;

static int64_t number_in(const char *name) {
  AUTO_BUF struct buf path = BUF_INIT(4096), text = BUF_INIT(100);
  struct err err;
  int64_t number = 0;
  buf_printf(&path, "%s/%s", dir.path, name);
  return access(buf_text(&path), R_OK) == 0 && file_read(buf_text(&path), &text, &err) && str_to_i64(str_trim(buf_str(&text)), &number)
             ? number
             : 0;
}

static void *stop_when_it_runs(void *arg UNUSED) {
  struct timespec pause = {0, 5 * 1000000};
  for (int i = 0; i < 6000 && !number_in("pid"); i++)
    nanosleep(&pause, NULL);
  stop.asked = true;
  return NULL;
}

static bool run(const char *script, struct err *err) {
  AUTO_BUF struct buf said = BUF_INIT(4096), text = BUF_INIT(4096);
  pthread_t thread;
  buf_printf(&text, "cd %s; %s", dir.path, script);
  const char *argv[] = {"/bin/sh", "-c", buf_text(&text), NULL}, *environment[] = {"PATH=/usr/bin:/bin", NULL};
  assert_int_equal(pthread_create(&thread, NULL, stop_when_it_runs, NULL), 0);
  bool ok = subproc_run(&us, argv, environment, 60000, &stop, &said, err);
  pthread_join(thread, NULL);
  return ok;
}

static int begin(void **state UNUSED) {
  temp_dir_make(&dir);
  stop.asked = false;
  us = (struct run_as){.uid = geteuid(), .gid = getegid()};
  return 0;
}

static int end(void **state UNUSED) {
  temp_dir_remove(&dir);
  return 0;
}

static void it_may_tidy_up(void **state UNUSED) {
  struct err err;
  assert_false(run("trap 'echo 1 > tidied; exit 0' TERM; echo $$ > pid; sleep 600 & wait", &err));
  assert_int_equal(err.code, ERR_UNAVAILABLE);
  assert_int_equal(number_in("tidied"), 1);
}

static void who_does_not_listen_is_killed(void **state UNUSED) {
  struct err err;
  assert_false(run("trap '' TERM; echo $$ > pid; exec sleep 600", &err));
  assert_int_equal(err.code, ERR_UNAVAILABLE);
  assert_int_equal(kill((pid_t)number_in("pid"), 0), -1);
}

static bool sleep_long(void *arg, struct err *err UNUSED) {
  AUTO_BUF struct buf path = BUF_INIT(4096), pid = BUF_INIT(100);
  struct err ignored;
  struct timespec pause = {600, 0};
  buf_printf(&path, "%s/pid", dir.path);
  buf_printf(&pid, "%d", (int)getpid());
  (void)!file_replace(buf_text(&path), buf_str(&pid), 0600, &ignored);
  nanosleep(&pause, NULL);
  return arg != NULL;
}

static void a_call_is_ended_too(void **state UNUSED) {
  struct err err;
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, stop_when_it_runs, NULL), 0);
  assert_false(subproc_call(&us, sleep_long, NULL, &stop, &err));
  pthread_join(thread, NULL);
  assert_int_equal(err.code, ERR_UNAVAILABLE);
  assert_int_equal(kill((pid_t)number_in("pid"), 0), -1);
}

static void nothing_is_begun_after_that(void **state UNUSED) {
  AUTO_BUF struct buf said = BUF_INIT(4096);
  struct err err;
  const char *argv[] = {"/bin/echo", "1", NULL}, *environment[] = {NULL};
  stop.asked = true;
  assert_false(subproc_run(&us, argv, environment, 60000, &stop, &said, &err));
  assert_int_equal(err.code, ERR_UNAVAILABLE);
  assert_int_equal(said.n, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(it_may_tidy_up, begin, end),
      cmocka_unit_test_setup_teardown(who_does_not_listen_is_killed, begin, end),
      cmocka_unit_test_setup_teardown(a_call_is_ended_too, begin, end),
      cmocka_unit_test_setup_teardown(nothing_is_begun_after_that, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
