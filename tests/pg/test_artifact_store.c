/* A file of the store and its row belong together, whoever writes at the same time and whatever dies in between. */
#include <libpq-fe.h>
#include <unistd.h>

#include "tests/support/pg_cluster.h"
#include "tests/support/test.h"
#include "tracker/artifacts/artifact_settle.h"
#include "tracker/artifacts/artifact_store.h"

#define PATH "1/run/artifacts/x"

static struct pg_cluster cluster;
static struct temp_dir dir;
static struct pg_pool *pool;
static struct artifact_store *store;

static int start_all(void **state UNUSED) {
  pg_cluster_start(&cluster, NULL);
  return 0;
}

static int stop_all(void **state UNUSED) {
  pg_cluster_stop(&cluster);
  return 0;
}

static void open_store(void) {
  struct err err;
  pool = pg_cluster_pool(&cluster, NULL);
  const struct artifact_store_conf conf = {.directory = dir.path};
  store = artifact_store_new(&conf, cluster.work, cluster.work, pool, &clock_system, &err);
  assert_non_null(store);
}

/* What is in flight is answered. */
static void close_store(void) {
  pg_pool_free(pool);
  loop_for(cluster.loop, 1);
  artifact_store_free(store);
}

static int set_up(void **state UNUSED) {
  temp_dir_make(&dir);
  pg_cluster_sql(&cluster, "truncate winnow.artifact, winnow.artifact_coming");
  open_store();
  return 0;
}

static int tear_down(void **state UNUSED) {
  close_store();
  temp_dir_remove(&dir);
  return 0;
}

/* ---- writing ---- */

struct outcome {
  bool done, ok;
};

static void on_stored(void *ctx, const struct artifact_file *file UNUSED, const struct err *err) {
  *(struct outcome *)ctx = (struct outcome){true, !err};
}

static void on_done(void *ctx, const struct err *err) {
  *(struct outcome *)ctx = (struct outcome){true, !err};
}

static void begin(const char *path, const char *bytes, struct outcome *outcome) {
  struct artifact_upload *upload;
  struct err err;
  *outcome = (struct outcome){.done = false};
  assert_true(artifact_upload_new(store, str_of(path), &upload, &err));
  assert_true(artifact_upload_finish(upload, str_of(bytes), on_stored, outcome, &err));
  assert_false(outcome->done);
}

static void begin_removal(const char *path, struct outcome *outcome) {
  struct err err;
  *outcome = (struct outcome){.done = false};
  assert_true(artifact_delete(store, str_of(path), on_done, outcome, &err));
}

static void wait_for(const struct outcome *outcome) {
  loop_until(cluster.loop, &outcome->done, 30000);
}

static void put(const char *bytes) {
  struct outcome outcome;
  begin(PATH, bytes, &outcome);
  wait_for(&outcome);
  assert_true(outcome.ok);
}

/* ---- what is there ---- */

/* "" when there is none. */
static const char *content(void) {
  static char bytes[100];
  struct stat st;
  struct err err;
  int fd = artifact_open(store, STR(PATH), &st, &err);
  ssize_t n = fd >= 0 ? read(fd, bytes, sizeof bytes - 1) : 0;
  assert_true(n >= 0);
  bytes[n] = 0;
  if (fd >= 0)
    close(fd);
  return bytes;
}

/* Has the file a row, and is it that of these bytes? */
static bool row_is_of(const char *bytes) {
  char sql[200];
  snprintf(sql, sizeof sql, "select count(*) from winnow.artifact where path = '%s' and size = %zu and sha256 = sha256('%s')", PATH,
           strlen(bytes), bytes);
  return pg_cluster_int(&cluster, sql) == 1;
}

static int64_t announced(void) {
  return pg_cluster_int(&cluster, "select count(*) from winnow.artifact_coming");
}

/* Another session keeps the row. */
static PGconn *lock_row(void) {
  PGconn *other = PQconnectdb(cluster.conninfo);
  PGresult *result = PQexec(other, "begin; select from winnow.artifact for update");
  assert_int_equal(PQntuples(result), 1);
  PQclear(result);
  return other;
}

static void until_content(const char *bytes) {
  for (int i = 0; i < 3000 && strcmp(content(), bytes) != 0; i++)
    loop_for(cluster.loop, 10);
  assert_string_equal(content(), bytes);
}

static void until_somebody_waits(void) {
  static const char sql[] = "select count(*) from pg_locks where not granted";
  for (int i = 0; i < 3000 && !pg_cluster_int(&cluster, sql); i++)
    loop_for(cluster.loop, 10);
  assert_true(pg_cluster_int(&cluster, sql) > 0);
}

static void settle(void) {
  struct err err;
  loop_for(cluster.loop, 2); /* what was announced is older than the start */
  struct artifact_settle *settling = artifact_settle_new(&clock_system, pool, cluster.work, store, &err);
  assert_non_null(settling);
  artifact_settle_start(settling);
  for (int i = 0; i < 3000 && announced(); i++)
    loop_for(cluster.loop, 10);
  assert_int_equal(announced(), 0);
  artifact_settle_stop(settling);
  close_store();
  artifact_settle_free(settling);
  open_store();
}

/* ---- tests ---- */

/* As long as the row of one is on its way, the next one does not take its place. */
static void the_second_waits_for_the_first(void **state UNUSED) {
  struct outcome first, second, third;
  put("nothing");
  PGconn *other = lock_row();
  begin(PATH, "first", &first);
  begin(PATH, "the second", &second);
  begin("1/run/artifacts/y", "another", &third);
  until_content("first");
  until_somebody_waits();
  wait_for(&third);
  loop_for(cluster.loop, 100);
  assert_string_equal(content(), "first");
  assert_false(first.done || second.done);
  PQfinish(other);
  wait_for(&first);
  assert_true(first.ok);
  wait_for(&second);
  assert_true(second.ok);
  assert_string_equal(content(), "the second");
  assert_true(row_is_of("the second"));
  assert_int_equal(announced(), 0);
}

static void a_removal_takes_its_turn(void **state UNUSED) {
  struct outcome first, gone, second;
  put("nothing");
  PGconn *other = lock_row();
  begin(PATH, "first", &first);
  begin_removal("1/run", &gone);
  begin(PATH, "second", &second);
  until_content("first");
  PQfinish(other);
  wait_for(&second);
  assert_true(first.ok && gone.ok && second.ok);
  assert_string_equal(content(), "second");
  assert_true(row_is_of("second"));
  begin_removal("1/run", &gone);
  wait_for(&gone);
  assert_string_equal(content(), "");
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.artifact"), 0);
}

static void many_at_once(void **state UNUSED) {
  enum { ROUNDS = 20, AT_ONCE = 8 };
  struct outcome outcomes[AT_ONCE];
  char bytes[AT_ONCE][20];
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < AT_ONCE; i++) {
      snprintf(bytes[i], sizeof bytes[i], "%d of %d", i, round);
      begin(PATH, bytes[i], &outcomes[i]);
    }
    for (int i = 0; i < AT_ONCE; i++) {
      wait_for(&outcomes[i]);
      assert_true(outcomes[i].ok);
    }
    assert_true(row_is_of(content()));
  }
}

/* Killed between the file and its row. */
static void the_row_is_lost(void **state UNUSED) {
  struct outcome outcome;
  put("before");
  PGconn *other = lock_row();
  begin(PATH, "after", &outcome);
  until_content("after");
  until_somebody_waits();
  assert_int_equal(announced(), 1);
  close_store();
  assert_true(outcome.done && !outcome.ok);
  pg_cluster_sql(&cluster, "select pg_terminate_backend(pid, 30000) from pg_locks where not granted");
  PQfinish(other);
  assert_true(row_is_of("before"));
  open_store();
  settle();
  assert_true(row_is_of("after"));
}

/* Killed before. */
static void the_file_never_came(void **state UNUSED) {
  put("before");
  pg_cluster_sql(&cluster, "insert into winnow.artifact_coming select path, 5, sha256('after'), 1 from winnow.artifact");
  settle();
  assert_string_equal(content(), "before");
  assert_true(row_is_of("before"));
  pg_cluster_sql(&cluster, "insert into winnow.artifact_coming values ('1/run/gone', 5, sha256('after'), 1)");
  settle();
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.artifact"), 1);
}

static void more_than_a_page_of_them(void **state UNUSED) {
  put("before");
  pg_cluster_sql(&cluster, "insert into winnow.artifact_coming select '0/' || i, 5, sha256('after'), 1 from generate_series(1, 600) i");
  pg_cluster_sql(&cluster, "insert into winnow.artifact_coming select path, size, sha256, 77 from winnow.artifact");
  settle();
  assert_int_equal(pg_cluster_int(&cluster, "select created from winnow.artifact"), 77);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(the_second_waits_for_the_first),
      TEST(a_removal_takes_its_turn),
      TEST(many_at_once),
      TEST(the_row_is_lost),
      TEST(the_file_never_came),
      TEST(more_than_a_page_of_them),
  };
  return cmocka_run_group_tests(tests, start_all, stop_all);
}
