/* What the executor writes the companion reads. */
#include "sweeper/machine/job_file.h"
#include "tests/support/test.h"

static void what_is_written_is_read(void **state UNUSED) {
  char a0[] = "python3", a1[] = "a b\nc\\n\r\"'", a2[] = "", e0[] = "X=1\n2", e1[] = "\xc3\xa4=";
  char *argv[] = {a0, a1, a2, NULL}, *env[] = {e0, e1, NULL};
  struct job_file job = {.run_id = {{1, 2}},
                         .sweep_id = {{3}},
                         .slots = 4,
                         .attempt = 3,
                         .endpoint_file = "/d/endpoint",
                         .token = "t",
                         .dir = "/d/x y",
                         .cwd = "/w",
                         .stop_grace_ms = 10000,
                         .spool_max = 1 << 30,
                         .spool_policy = SPOOL_SLOW,
                         .heartbeat_ms = 5000,
                         .tty = 1,
                         .argv = argv,
                         .argc = 3,
                         .env = env,
                         .env_count = 2};
  AUTO_BUF struct buf text = BUF_INIT(10000);
  job_file_write(&job, &text);
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  struct job_file back;
  struct err err;
  if (!job_file_read(buf_str(&text), &arena, &back, &err))
    fail_msg("%s", err.text);
  assert_true(id_eq(back.run_id, job.run_id));
  assert_true(id_eq(back.sweep_id, job.sweep_id));
  assert_int_equal(back.slots, 4);
  assert_int_equal(back.attempt, 3);
  assert_string_equal(back.dir, "/d/x y");
  assert_int_equal(back.spool_policy, SPOOL_SLOW);
  assert_int_equal(back.tty, 1);
  assert_int_equal(back.argc, 3);
  for (size_t i = 0; i < 3; i++)
    assert_string_equal(back.argv[i], argv[i]);
  assert_null(back.argv[3]);
  assert_int_equal(back.env_count, 2);
  assert_string_equal(back.env[0], e0);
  assert_null(back.env[2]);
}

static void mistakes_name_their_line(void **state UNUSED) {
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  struct job_file job;
  struct err err;
  assert_false(job_file_read(STR("run zz\n"), &arena, &job, &err));
  assert_non_null(strstr(err.text, "line 1"));
  assert_false(job_file_read(STR("attempt 1\nattempt 2\n"), &arena, &job, &err));
  assert_non_null(strstr(err.text, "line 2"));
  assert_false(job_file_read(STR("attempt -1\n"), &arena, &job, &err));
  assert_false(job_file_read(STR("argv a\\x\n"), &arena, &job, &err));
  assert_false(job_file_read(STR(""), &arena, &job, &err));
  assert_non_null(strstr(err.text, "has no run"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_written_is_read), cmocka_unit_test(mistakes_name_their_line)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
