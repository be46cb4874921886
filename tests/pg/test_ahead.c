/* The files of the server's log that are made before it needs them: they are there in time, are what the server would have made, and are
 * used by it; a crash in the middle of it loses nothing. */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/file.h"
#include "storage/pg/pg_ahead.h"
#include "tests/support/pg_cluster.h"
#include "tests/support/test.h"

enum { FILE_BYTES = 16 * MIB };

static struct pg_cluster cluster;
static struct pg_pool *pool;
static struct pg_ahead *ahead;

static int start_all(void **state UNUSED) {
  pg_cluster_start(&cluster, NULL);
  pg_cluster_sql(&cluster, "create table filler (n int, text text)");
  return 0;
}

static int stop_all(void **state UNUSED) {
  pg_cluster_stop(&cluster);
  return 0;
}

static void open_ahead(void) {
  struct err err;
  pool = pg_cluster_pool(&cluster, NULL);
  ahead = pg_ahead_new(cluster.loop, pool, cluster.work, pg_private_place(cluster.server), &err);
  assert_non_null(ahead);
}

static void close_ahead(void) {
  pg_ahead_free(ahead);
  pg_pool_free(pool);
  loop_for(cluster.loop, 300); /* a thread may still be at it */
}

/* What cannot be compressed: some MiB of log. */
static void fill(int mib) {
  char sql[300];
  snprintf(sql, sizeof sql,
           "insert into filler select n, (select string_agg(md5(random()::text || g), '') from generate_series(1, 30) g) from "
           "generate_series(1, %d) n",
           mib * 1000);
  pg_cluster_sql(&cluster, sql);
}

static int64_t position(void) {
  return pg_cluster_int(&cluster, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8");
}

/* Something for the pool to do, so that the position is asked for. */
static void knock(void) {
  struct seen seen = {.done = false};
  struct err err;
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_SERVICE_PING);
  assert_true(pg_run(pool, &args, 0, seen_done, &seen, &err));
  loop_until(cluster.loop, &seen.done, 30000);
}

static void path_of(int64_t at, char *out, size_t room) {
  snprintf(out, room, "%s/pg_wal/00000001%08llX%08llX", pg_private_place(cluster.server)->data, (unsigned long long)(at / FILE_BYTES / 256),
           (unsigned long long)(at / FILE_BYTES % 256));
}

/* Writes until the file after the one written to has been made, and returns its place. */
static int64_t write_until_ahead(void) {
  for (int i = 0; i < 60; i++) {
    int64_t last = pg_ahead_until(ahead) - FILE_BYTES;
    if (last > position())
      return last;
    fill(1);
    knock();
    loop_for(cluster.loop, 300);
  }
  fail_msg("no file was made ahead");
  return 0;
}

static void test_the_next_file_is_there(void **state UNUSED) {
  open_ahead();
  int64_t next = write_until_ahead();
  char path[1200];
  struct stat st, own;
  path_of(next, path, sizeof path);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_size, FILE_BYTES);
  assert_int_equal(st.st_mode & 07777, 0600);
  assert_int_equal(stat(pg_private_place(cluster.server)->data, &own), 0);
  assert_int_equal(st.st_uid, own.st_uid);
  ino_t made = st.st_ino;
  while (position() <= next)
    fill(4);
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_ino, made); /* the server writes to it, and made none of its own */
  AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
  unsigned char magic[2] = {0};
  assert_int_equal(read(fd, magic, sizeof magic), 2);
  assert_true(magic[0] || magic[1]);
  close_ahead();
}

static void test_a_crash_meanwhile(void **state UNUSED) {
  open_ahead();
  int64_t before = pg_cluster_int(&cluster, "select count(*) from filler");
  for (int round = 0; round < 3; round++) {
    fill(12);
    before += 12000;
    knock();
    loop_for(cluster.loop, 220 + 30 * round); /* while files are being made */
    cluster.up = false;
    kill(pg_private_pid(cluster.server), SIGKILL);
    loop_until(cluster.loop, &cluster.up, 60000);
    assert_int_equal(pg_cluster_int(&cluster, "select count(*) from filler"), before);
  }
  for (int i = 0; i < 600 && !pg_pool_is_up(pool); i++)
    loop_for(cluster.loop, 50);
  fill(40); /* past whatever was made */
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from filler"), before + 40000);
  close_ahead();
}

static void test_freed_at_once(void **state UNUSED) {
  for (int i = 0; i < 20; i++) {
    open_ahead();
    knock();
    loop_for(cluster.loop, 15 * i);
    pg_ahead_free(ahead);
    pg_pool_free(pool);
  }
  loop_for(cluster.loop, 300);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_the_next_file_is_there),
      cmocka_unit_test(test_a_crash_meanwhile),
      cmocka_unit_test(test_freed_at_once),
  };
  return cmocka_run_group_tests(tests, start_all, stop_all);
}
