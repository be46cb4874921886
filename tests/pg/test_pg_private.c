/* The private server: where it lies, who runs it, how it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/data_lock.h"
#include "storage/pg/pg_find.h"
#include "storage/pg/pg_template.h"
#include "tests/support/pg_cluster.h"

/* A server in a directory of the test's choice. */
struct own {
  struct loop *loop;
  struct work_pool *work;
  struct pg_private *server;
  bool up, down, failed, stopped;
  struct err reason;
  char conninfo[400];
  struct pg_cluster view; /* for the blocking helpers */
};

static void on_change(void *ctx, enum pg_private_state state, const char *conninfo, const struct err *reason) {
  struct own *own = ctx;
  own->up = state == PG_PRIVATE_UP;
  own->down = own->down || state == PG_PRIVATE_DOWN;
  own->failed = state == PG_PRIVATE_FAILED;
  own->stopped = state == PG_PRIVATE_STOPPED;
  own->reason = *reason;
  if (conninfo)
    snprintf(own->conninfo, sizeof own->conninfo, "%s", conninfo);
}

static void make(struct own *own, const char *dir, const struct pg_place_conf *more) {
  struct err err;
  *own = (struct own){.up = false};
  own->loop = loop_new(&clock_system, &err);
  own->work = work_pool_new(own->loop, 1, 4, &err);
  struct pg_private_conf conf = pg_cluster_conf(dir, NULL);
  if (more) {
    conf.place.bin_dir = more->bin_dir;
    conf.place.settings = more->settings;
    if (more->cache_dir)
      conf.place.cache_dir = more->cache_dir;
  }
  own->server = pg_private_new(own->loop, own->work, &conf, on_change, own, &err);
  assert_non_null(own->server);
  own->view.conninfo = own->conninfo;
  pg_private_start(own->server);
}

static void start(struct own *own, const char *dir, const struct pg_place_conf *more) {
  make(own, dir, more);
  loop_until(own->loop, &own->up, 60000);
}

static void finish(struct own *own) {
  pg_private_free(own->server);
  work_pool_free(own->work);
  loop_free(own->loop);
}

static void stop(struct own *own) {
  pg_private_stop(own->server);
  loop_until(own->loop, &own->stopped, 30000);
  assert_int_equal(pg_private_pid(own->server), 0);
}

static bool is_there(const char *path) {
  return access(path, F_OK) == 0;
}

static void open_dir(struct temp_dir *dir, mode_t mode) {
  temp_dir_make(dir);
  assert_int_equal(chmod(dir->path, mode), 0);
}

static void test_keeps_its_data(void **state) {
  (void)state;
  struct temp_dir dir;
  struct own own;
  open_dir(&dir, 0711);
  start(&own, dir.path, NULL);
  pg_cluster_sql(&own.view, "create table t (n int); insert into t values (7)");
  char socket_dir[108], path[300], first[400];
  snprintf(socket_dir, sizeof socket_dir, "%s", pg_private_place(own.server)->socket_dir);
  snprintf(first, sizeof first, "%s", own.conninfo);
  assert_true(is_there(socket_dir));
  struct stat st;
  assert_int_equal(stat(socket_dir, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0700);
  snprintf(path, sizeof path, "%s/pg.secret", dir.path);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  snprintf(path, sizeof path, "%s/pg.first", dir.path);
  assert_false(is_there(path)); /* the template's password is no more */
  assert_int_equal(pg_cluster_int(&own.view, "select count(*) from pg_settings where name = 'data_checksums' and setting = 'on'"), 1);
  assert_int_equal(pg_cluster_int(&own.view, "select count(*) from pg_settings where name = 'listen_addresses' and setting = ''"), 1);
  assert_int_equal(pg_cluster_int(&own.view, "select count(*) from pg_hba_file_rules where auth_method <> 'scram-sha-256'"), 0);
  if (geteuid() == 0) {
    snprintf(path, sizeof path, "/proc/%ld", (long)pg_private_pid(own.server));
    assert_int_equal(stat(path, &st), 0);
    assert_int_not_equal(st.st_uid, 0);
  }
  stop(&own);
  finish(&own);
  assert_false(is_there(socket_dir));
  start(&own, dir.path, NULL);
  assert_int_equal(pg_cluster_int(&own.view, "select n from t"), 7);
  finish(&own); /* at once, as by a crash */
  start(&own, dir.path, NULL);
  assert_int_equal(pg_cluster_int(&own.view, "select n from t"), 7);
  stop(&own);
  finish(&own);
  temp_dir_remove(&dir);
}

static void test_wrong_password_is_refused(void **state) {
  (void)state;
  struct temp_dir dir;
  struct own own;
  open_dir(&dir, 0711);
  start(&own, dir.path, NULL);
  struct pg_pool_conf conf = pg_pool_conf_default();
  struct err err;
  struct pg_pool *pool = pg_pool_new(own.loop, &conf, &err);
  char conninfo[300];
  snprintf(conninfo, sizeof conninfo, "host=%s user=winnow dbname=postgres password=guess", pg_private_place(own.server)->socket_dir);
  assert_true(pg_pool_start(pool, conninfo, &err));
  struct pg_args args;
  struct seen seen = {.done = false};
  pg_args_init(&args, STMT_SERVICE_PING);
  assert_true(pg_run(pool, &args, 800, seen_done, &seen, &err));
  loop_until(own.loop, &seen.done, 60000);
  assert_int_equal(seen.outcome, PG_CANCELLED);
  assert_int_equal(seen.err.code, ERR_UNAVAILABLE);
  assert_non_null(strstr(seen.err.text, "password"));
  pg_pool_free(pool);
  finish(&own);
  temp_dir_remove(&dir);
}

static void test_long_path(void **state) {
  (void)state;
  struct temp_dir dir;
  struct own own;
  struct err err;
  char deep[400];
  open_dir(&dir, 0711);
  snprintf(deep, sizeof deep, "%s/%0100d/%060d", dir.path, 1, 2);
  assert_true(strlen(deep) > 150);
  assert_true(dir_make(deep, 0755, &err));
  start(&own, deep, NULL);
  assert_int_equal(pg_cluster_int(&own.view, "select 1"), 1);
  finish(&own);
  temp_dir_remove(&dir);
}

/* A directory that the unprivileged user cannot reach: its database lies in it all the same, and nothing lies elsewhere. */
static void test_closed_parent(void **state) {
  (void)state;
  struct temp_dir closed;
  struct own own;
  struct err err;
  char near[300];
  open_dir(&closed, 0700);
  snprintf(near, sizeof near, "%s/pg", closed.path);
  start(&own, closed.path, NULL);
  assert_string_equal(pg_private_place(own.server)->data, near);
  assert_int_equal(pg_private_place(own.server)->is_hidden, geteuid() == 0);
  pg_cluster_sql(&own.view, "create table t (n int); insert into t values (8)");
  pg_cluster_sql(&own.view, "checkpoint");
  stop(&own);
  finish(&own);
  start(&own, closed.path, NULL);
  assert_int_equal(pg_cluster_int(&own.view, "select n from t"), 8);
  stop(&own);
  finish(&own);
  struct pg_private_conf conf = pg_cluster_conf(closed.path, NULL);
  assert_true(pg_place_destroy(&conf.place, &err));
  assert_false(is_there(near));
  temp_dir_remove(&closed);
}

/* Earlier versions made it elsewhere, and noted that. */
static void test_noted_place(void **state) {
  (void)state;
  struct temp_dir dir, elsewhere;
  struct own own;
  struct err err;
  char note[300], near[300], far[300];
  open_dir(&dir, 0700);
  open_dir(&elsewhere, 0755);
  start(&own, dir.path, NULL);
  pg_cluster_sql(&own.view, "create table t (n int); insert into t values (8)");
  stop(&own);
  finish(&own);
  snprintf(note, sizeof note, "%s/pg.location", dir.path);
  snprintf(near, sizeof near, "%s/pg", dir.path);
  snprintf(far, sizeof far, "%s/cluster", elsewhere.path);
  assert_int_equal(rename(near, far), 0);
  assert_true(file_replace(note, str_of(far), 0600, &err));
  start(&own, dir.path, NULL);
  assert_int_equal(pg_cluster_int(&own.view, "select n from t"), 8);
  stop(&own);
  finish(&own);
  assert_false(is_there(near));
  struct pg_private_conf conf = pg_cluster_conf(dir.path, NULL);
  struct pg_place place;
  pid_t old;
  assert_true(tree_remove(far, &err));
  assert_false(pg_place_ready(&conf.place, &place, &old, &err));
  assert_int_equal(err.code, ERR_NOT_FOUND);
  assert_int_equal(unlink(note), 0);
  assert_true(pg_place_destroy(&conf.place, &err));
  temp_dir_remove(&dir);
  temp_dir_remove(&elsewhere);
}

static void test_dies_and_comes_back(void **state) {
  (void)state;
  struct temp_dir dir;
  struct own own;
  open_dir(&dir, 0711);
  start(&own, dir.path, NULL);
  pg_cluster_sql(&own.view, "create table t (n int); insert into t values (9)");
  kill(pg_private_pid(own.server), SIGKILL);
  loop_until(own.loop, &own.down, 60000);
  loop_until(own.loop, &own.up, 30000);
  assert_int_equal(pg_cluster_int(&own.view, "select n from t"), 9);
  finish(&own);
  temp_dir_remove(&dir);
}

/* A service that has made the table t with a 10 in it; its server. */
static pid_t fork_service(const struct temp_dir *dir, pid_t *ret_server) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  pid_t service = fork();
  if (service == 0) {
    struct own own;
    start(&own, dir->path, NULL);
    pg_cluster_sql(&own.view, "create table t (n int); insert into t values (10)");
    pid_t pid = pg_private_pid(own.server);
    if (write(ends[1], &pid, sizeof pid) != sizeof pid)
      _exit(1);
    for (;;)
      pause();
  }
  assert_int_equal(read(ends[0], ret_server, sizeof *ret_server), sizeof *ret_server);
  assert_true(*ret_server > 0);
  close(ends[0]);
  close(ends[1]);
  return service;
}

/* kill -9 of the service leaves no server; the next one recovers. */
static void test_dies_with_its_parent(void **state) {
  (void)state;
  struct temp_dir dir;
  pid_t server;
  open_dir(&dir, 0711);
  pid_t service = fork_service(&dir, &server);
  kill(service, SIGKILL);
  waitpid(service, NULL, 0);
  struct own own; /* at once: waits for the old one to go */
  start(&own, dir.path, NULL);
  assert_int_not_equal(pg_private_pid(own.server), server);
  char cwd[64];
  snprintf(cwd, sizeof cwd, "/proc/%ld/cwd", (long)server);
  assert_false(is_there(cwd));
  assert_int_equal(pg_cluster_int(&own.view, "select n from t"), 10);
  stop(&own);
  finish(&own);
  temp_dir_remove(&dir);
}

/* Nobody asks how the old server ended, as where the first process of a container does not: it is over all the same. */
static void test_old_server_is_never_reaped(void **state) {
  (void)state;
  struct temp_dir dir;
  pid_t server;
  open_dir(&dir, 0711);
  assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  pid_t service = fork_service(&dir, &server);
  kill(server, SIGSTOP); /* so that the next start meets it alive */
  kill(service, SIGKILL);
  waitpid(service, NULL, 0);
  struct own own;
  start(&own, dir.path, NULL);
  assert_int_equal(pg_cluster_int(&own.view, "select n from t"), 10);
  stop(&own);
  finish(&own);
  assert_int_equal(waitpid(server, NULL, WNOHANG), server);
  assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
  temp_dir_remove(&dir);
}

static void test_two_services_one_directory(void **state) {
  (void)state;
  struct temp_dir dir;
  struct err err;
  int first = -1, second = -1;
  open_dir(&dir, 0711);
  assert_true(data_lock_take(dir.path, &first, &err));
  assert_false(data_lock_take(dir.path, &second, &err));
  char who[64];
  snprintf(who, sizeof who, "(process %ld)", (long)getpid());
  assert_int_equal(err.code, ERR_CONFLICT);
  assert_non_null(strstr(err.text, who));
  assert_true(data_lock_holder_lives(dir.path));
  fd_close(&first);
  assert_false(data_lock_holder_lives(dir.path)); /* though a process of that number lives: it has not got the lock */
  assert_true(data_lock_take(dir.path, &second, &err));
  fd_close(&second);
  /* One that died while a child of it was not yet another program. */
  pid_t killed = fork();
  if (killed == 0) {
    bool taken = data_lock_take(dir.path, &first, &err);
    if (taken && fork() == 0)
      usleep(300000);
    _exit(taken ? 0 : 1);
  }
  int status;
  assert_int_equal(waitpid(killed, &status, 0), killed);
  assert_int_equal(status, 0);
  assert_true(data_lock_take(dir.path, &second, &err));
  fd_close(&second);
  temp_dir_remove(&dir);
}

static void test_other_major_version(void **state) {
  (void)state;
  struct temp_dir dir;
  struct own own;
  struct err err;
  char path[300];
  open_dir(&dir, 0711);
  snprintf(path, sizeof path, "%s/pg", dir.path);
  assert_int_equal(mkdir(path, 0700), 0);
  snprintf(path, sizeof path, "%s/pg/PG_VERSION", dir.path);
  assert_true(file_replace(path, STR("12\n"), 0600, &err));
  make(&own, dir.path, NULL);
  loop_until(own.loop, &own.failed, 60000);
  assert_int_equal(own.reason.code, ERR_UNSUPPORTED);
  assert_non_null(strstr(own.reason.text, "PostgreSQL 12"));
  assert_non_null(strstr(own.reason.hint, "postgresql-12"));
  finish(&own);
  temp_dir_remove(&dir);
}

static void test_no_programs(void **state) {
  (void)state;
  struct temp_dir dir;
  struct own own;
  open_dir(&dir, 0711);
  make(&own, dir.path, &(struct pg_place_conf){.bin_dir = "/nowhere"});
  loop_until(own.loop, &own.failed, 60000);
  assert_non_null(strstr(own.reason.hint, "apt install postgresql"));
  finish(&own);
  temp_dir_remove(&dir);
}

static void test_settings_that_do_not_work(void **state) {
  (void)state;
  struct temp_dir dir;
  struct own own;
  open_dir(&dir, 0711);
  make(&own, dir.path, &(struct pg_place_conf){.settings = "shared_buffers = 'a lot'"});
  loop_until(own.loop, &own.failed, 60000);
  assert_non_null(strstr(own.reason.hint, "pg.log"));
  finish(&own);
  temp_dir_remove(&dir);
}

static void test_without_a_template(void **state) {
  (void)state;
  struct temp_dir dir;
  struct own own;
  open_dir(&dir, 0711);
  int64_t before = clock_mono_ms(&clock_system);
  start(&own, dir.path, &(struct pg_place_conf){.cache_dir = "/proc/nothing/here"});
  print_message("without a template: %lld ms\n", (long long)(clock_mono_ms(&clock_system) - before));
  assert_int_equal(pg_cluster_int(&own.view, "select 1"), 1);
  finish(&own);
  temp_dir_remove(&dir);
  open_dir(&dir, 0711);
  before = clock_mono_ms(&clock_system);
  start(&own, dir.path, NULL);
  print_message("with the template: %lld ms\n", (long long)(clock_mono_ms(&clock_system) - before));
  finish(&own);
  temp_dir_remove(&dir);
}

/* Where the unprivileged user cannot reach the cache, its template is of no use. */
static void test_closed_cache(void **state) {
  (void)state;
  struct temp_dir dir, cache;
  struct own own;
  char inside[300];
  open_dir(&dir, 0711);
  open_dir(&cache, 0700);
  snprintf(inside, sizeof inside, "%s/cache", cache.path);
  start(&own, dir.path, &(struct pg_place_conf){.cache_dir = inside});
  assert_int_equal(pg_cluster_int(&own.view, "select 1"), 1);
  finish(&own);
  temp_dir_remove(&dir);
  temp_dir_remove(&cache);
}

/* What a first start that was killed left in the cache goes with the next template; one that is still being made stays. */
static void test_leftovers_of_templates(void **state) {
  (void)state;
  struct temp_dir dir;
  struct err err;
  char path[4][600];
  const char *const names[] = {"new-killed", "new-lockes", "new-youngx", "new-is-not-one-of-ours"};
  open_dir(&dir, 0755);
  for (size_t i = 0; i < ARRAY_LEN(names); i++) {
    snprintf(path[i], sizeof path[i], "%s/%s", dir.path, names[i]);
    assert_int_equal(mkdir(path[i], 0700), 0);
    if (i != 2) {
      struct timespec old[2] = {{.tv_sec = time(NULL) - 3600}, {.tv_sec = time(NULL) - 3600}};
      assert_int_equal(utimensat(AT_FDCWD, path[i], old, 0), 0);
    }
  }
  AUTO_FD int lock = open(path[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0);
  struct pg_programs programs;
  struct run_as who;
  assert_true(run_as_find(NULL, &who, &err) && pg_programs_find(NULL, 0, &programs, &err));
  struct pg_template template = {.cache_dir = dir.path, .programs = &programs, .who = &who};
  assert_true(pg_template_ensure(&template, &err));
  assert_false(is_there(path[0]));
  for (size_t i = 1; i < ARRAY_LEN(names); i++)
    assert_true(is_there(path[i]));
  temp_dir_remove(&dir);
}

static void test_version_texts(void **state) {
  (void)state;
  int major;
  struct str version;
  assert_true(pg_version_parse(STR("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n"), &major, &version));
  assert_int_equal(major, 15);
  assert_true(str_is(version, "15.20 (Debian 15.20-0+deb12u1)"));
  assert_true(pg_version_parse(STR("postgres (PostgreSQL) 17beta2"), &major, &version));
  assert_int_equal(major, 17);
  assert_false(pg_version_parse(STR("postgres (EnterpriseDB) 15"), &major, &version));
  assert_false(pg_version_parse(STR("postgres (PostgreSQL) x"), &major, &version));
  assert_false(pg_version_parse(STR(""), &major, &version));
}

int main(void) {
  log_setup(getenv("WINNOW_TEST_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_TEXT, 2);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_version_texts),
      cmocka_unit_test(test_keeps_its_data),
      cmocka_unit_test(test_wrong_password_is_refused),
      cmocka_unit_test(test_long_path),
      cmocka_unit_test(test_closed_parent),
      cmocka_unit_test(test_noted_place),
      cmocka_unit_test(test_dies_and_comes_back),
      cmocka_unit_test(test_dies_with_its_parent),
      cmocka_unit_test(test_old_server_is_never_reaped),
      cmocka_unit_test(test_two_services_one_directory),
      cmocka_unit_test(test_other_major_version),
      cmocka_unit_test(test_no_programs),
      cmocka_unit_test(test_settings_that_do_not_work),
      cmocka_unit_test(test_without_a_template),
      cmocka_unit_test(test_closed_cache),
      cmocka_unit_test(test_leftovers_of_templates),
  };
  cmocka_set_test_filter(getenv("WINNOW_TEST_ONLY"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
