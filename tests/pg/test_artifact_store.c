/* A file of the store and its row belong together, whoever writes at the same time and whatever dies in between. */
#include <fcntl.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include "tests/support/pg_cluster.h"
#include "tests/support/test.h"
#include "tracker/artifacts/artifact_settle.h"
#include "tracker/artifacts/artifact_store.h"
#include "tracker/artifacts/artifact_tree.h"

#define PATH "1/run/artifacts/x"

static struct pg_cluster cluster;
static struct temp_dir dir;
static struct pg_pool *pool;
static struct work_pool *bulk; /* one thread, two may wait */
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
  bulk = work_pool_new(cluster.loop, 1, 2, &err);
  assert_non_null(bulk);
  const struct artifact_store_conf conf = {
      .directory = dir.path, .loop = cluster.loop, .work = cluster.work, .disk = cluster.work, .bulk = bulk, .pg = pool};
  store = artifact_store_new(&conf, &err);
  assert_non_null(store);
}

/* What is in flight is answered. */
static void close_store(void) {
  work_pool_stop(bulk);
  artifact_store_stop(store);
  pg_pool_free(pool);
  loop_for(cluster.loop, 1);
  artifact_store_free(store);
  work_pool_free(bulk);
}

static int set_up(void **state UNUSED) {
  temp_dir_make(&dir);
  pg_cluster_sql(&cluster, "truncate winnow.artifact, winnow.artifact_coming, winnow.registered_model cascade");
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

static void on_stored(void *ctx, const struct artifact_stored *stored UNUSED, const struct err *err) {
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

static PGconn *lock(const char *sql) {
  PGconn *other = PQconnectdb(cluster.conninfo);
  PGresult *result = PQexec(other, sql);
  assert_true(PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK);
  PQclear(result);
  return other;
}

/* Another session keeps the row. */
static PGconn *lock_row(void) {
  return lock("begin; select from winnow.artifact for update");
}

/* Nobody writes rows. */
static PGconn *lock_table(const char *table) {
  char sql[100];
  snprintf(sql, sizeof sql, "begin; lock table winnow.%s in exclusive mode", table);
  return lock(sql);
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

/* ---- what goes wrong ---- */

static void path_of(const char *path, char out[300]) {
  snprintf(out, 300, "%s/%s", dir.path, path);
}

/* Announced, and then something lies there that it cannot replace: that is known at once, not at the next start. */
static void a_file_that_does_not_get_its_place(void **state UNUSED) {
  struct outcome outcome;
  char path[300];
  put("before");
  PGconn *other = lock_table("artifact_coming");
  begin(PATH, "after", &outcome);
  until_somebody_waits();
  path_of(PATH, path);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(mkdir(path, 0755), 0);
  PQfinish(other);
  wait_for(&outcome);
  assert_false(outcome.ok);
  assert_int_equal(announced(), 0);
  assert_true(row_is_of("before"));
  assert_int_equal(rmdir(path), 0);
  put("later");
  assert_true(row_is_of("later"));
}

/* The database has no place for a new row of a file that is there. */
static void fill_disk(void) {
  pg_cluster_sql(&cluster, "create function public.full_disk() returns trigger language plpgsql as "
                           "$$ begin raise exception 'full' using errcode = '53100'; end $$;"
                           "create trigger full_disk before update on winnow.artifact for each row execute function public.full_disk()");
}

static void empty_disk(void) {
  pg_cluster_sql(&cluster, "drop function public.full_disk() cascade");
}

/* The database takes no row: it is told of the file as soon as it takes one. Who comes to the path meanwhile waits for that. */
static void a_row_that_cannot_be_written_yet(void **state UNUSED) {
  struct outcome first, second;
  put("before");
  fill_disk();
  begin(PATH, "first", &first);
  wait_for(&first);
  assert_false(first.ok);
  assert_string_equal(content(), "first");
  assert_int_equal(announced(), 1);
  begin(PATH, "second", &second);
  loop_for(cluster.loop, 50);
  assert_string_equal(content(), "first");
  empty_disk();
  wait_for(&second);
  assert_true(second.ok);
  assert_true(row_is_of("second"));
  assert_int_equal(announced(), 0);
}

/* The service ends while one is owed: who waits for it is told. */
static void a_row_that_is_never_written(void **state UNUSED) {
  struct outcome first, second;
  put("before");
  fill_disk();
  begin(PATH, "first", &first);
  wait_for(&first);
  begin(PATH, "second", &second);
  close_store();
  wait_for(&second);
  assert_false(second.ok);
  empty_disk();
  open_store();
  settle();
  assert_true(row_is_of(content()));
}

/* ---- removal ---- */

static void rows_go_before_files(void **state UNUSED) {
  struct outcome gone;
  put("content");
  PGconn *other = lock_row();
  begin_removal("1", &gone);
  until_somebody_waits();
  assert_string_equal(content(), "content");
  PQfinish(other);
  wait_for(&gone);
  assert_true(gone.ok);
  assert_string_equal(content(), "");
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.artifact"), 0);
}

static void on_collected(void *ctx, bool removed, const struct err *err) {
  *(struct outcome *)ctx = (struct outcome){true, !err && removed};
}

static bool collect(int64_t changed_ms) {
  struct outcome outcome = {.done = false};
  struct err err;
  assert_true(artifact_collect(store, STR(PATH), changed_ms, false, on_collected, &outcome, &err));
  wait_for(&outcome);
  return outcome.ok;
}

static int64_t changed(void) {
  char path[300];
  struct stat st;
  path_of(PATH, path);
  assert_int_equal(stat(path, &st), 0);
  return tree_changed_ms(&st);
}

/* Nothing named it when gc asked; its row is on its way. */
static void what_has_got_a_row_is_not_collected(void **state UNUSED) {
  struct outcome upload, collected = {.done = false};
  struct err err;
  PGconn *other = lock_table("artifact");
  begin(PATH, "new", &upload);
  until_content("new");
  until_somebody_waits();
  assert_true(artifact_collect(store, STR(PATH), changed(), false, on_collected, &collected, &err));
  loop_for(cluster.loop, 100);
  assert_false(collected.done);
  PQfinish(other);
  wait_for(&collected);
  assert_true(upload.ok && !collected.ok);
  assert_string_equal(content(), "new");
  pg_cluster_sql(&cluster, "truncate winnow.artifact");
  assert_false(collect(changed() - 1));
  assert_true(collect(changed()));
  assert_string_equal(content(), "");
}

/* ---- what is kept ---- */

struct kept {
  bool done, ok;
  struct artifact_tree tree;
};

static void on_kept(void *ctx, const struct artifact_tree *tree, const struct err *err) {
  struct kept *kept = ctx;
  kept->done = true;
  kept->ok = !err;
  if (tree)
    kept->tree = *tree;
}

static void begin_keeping(const char *to, struct kept *kept) {
  struct err err;
  *kept = (struct kept){.done = false};
  assert_true(artifact_keep(store, STR("1/run/artifacts"), str_of(to), on_kept, kept, &err));
}

/* A file of the tree is being replaced: either it waits for the copy, or the copy for it, row and all. */
static void a_tree_is_kept_as_it_is_at_one_moment(void **state UNUSED) {
  struct outcome outcome;
  struct kept kept, again;
  put("before");
  PGconn *other = lock_row();
  begin(PATH, "after", &outcome);
  until_content("after");
  until_somebody_waits();
  begin_keeping("registry/1/1", &kept);
  loop_for(cluster.loop, 100);
  assert_false(kept.done);
  PQfinish(other);
  loop_until(cluster.loop, &kept.done, 30000);
  assert_true(outcome.ok && kept.ok);
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.artifact where path = 'registry/1/1/x' and "
                                            "sha256 = sha256('after') and size = 5"),
                   1);
  put("later");
  begin_keeping("registry/1/1", &again); /* it is there already, and stays as it is */
  loop_until(cluster.loop, &again.done, 30000);
  assert_false(again.ok);
  begin_keeping("registry/1/2", &again);
  loop_until(cluster.loop, &again.done, 30000);
  assert_true(again.ok);
  assert_memory_not_equal(kept.tree.digest, again.tree.digest, sizeof kept.tree.digest);
}

/* Versions from before there were such rows. */
static void what_is_kept_gets_rows_when_it_is_as_registered(void **state UNUSED) {
  static const char count[] = "select count(*) from winnow.artifact where path like 'registry/%'";
  struct kept kept, found;
  struct err err;
  uint8_t other[32] = {0};
  put("content");
  begin_keeping("registry/1/1", &kept);
  loop_until(cluster.loop, &kept.done, 30000);
  pg_cluster_sql(&cluster, "delete from winnow.artifact where path like 'registry/%'");
  const uint8_t *digests[] = {other, kept.tree.digest, kept.tree.digest};
  for (int i = 0; i < 3; i++) {
    if (i == 2) /* now a version keeps it */
      pg_cluster_sql(&cluster, "insert into winnow.registered_model (name, created, updated) values ('m', 1, 1);"
                               "insert into winnow.model_version (model, version, created, updated, source, storage_location, kept_path) "
                               "select id, 1, 1, 1, '', '', 'registry/1/1' from winnow.registered_model");
    found = (struct kept){.done = false};
    assert_true(artifact_digest_kept(store, STR("registry/1/1"), digests[i], on_kept, &found, &err));
    loop_until(cluster.loop, &found.done, 30000);
    assert_true(found.ok);
    assert_memory_equal(found.tree.digest, kept.tree.digest, sizeof kept.tree.digest);
    assert_int_equal(pg_cluster_int(&cluster, count), i == 2);
  }
}

/* ---- what takes long ---- */

static struct gate {
  struct work work;
  sem_t reached, open;
} gate;

static void wait_at_gate(struct work *work UNUSED) {
  sem_post(&gate.reached);
  while (sem_wait(&gate.open) != 0)
    ;
}

static void on_passed(struct work *work UNUSED, bool cancelled UNUSED) {}

/* The thread for what takes long waits until it is opened. */
static void close_gate(void) {
  struct err err;
  gate = (struct gate){.work = {.run = wait_at_gate, .done = on_passed}};
  sem_init(&gate.reached, 0, 0);
  sem_init(&gate.open, 0, 0);
  assert_true(work_submit(bulk, &gate.work, &err));
  while (sem_wait(&gate.reached) != 0)
    ;
}

static void uploads_do_not_wait_for_what_takes_long(void **state UNUSED) {
  struct kept digests[2], late, kept;
  struct outcome removal;
  struct err err;
  put("content");
  close_gate();
  begin_keeping("registry/1/1", &kept); /* linked at once, its digest waits */
  for (size_t i = 0; i < ARRAY_LEN(digests); i++) {
    digests[i] = (struct kept){.done = false};
    assert_true(artifact_digest(store, STR(PATH), on_kept, &digests[i], &err));
  }
  put("other content"); /* after the links were made */
  assert_false(artifact_may_keep(store, &err));
  assert_int_equal(err.code, ERR_OVERLOADED);
  assert_false(artifact_digest(store, STR(PATH), on_kept, &late, &err));
  assert_int_equal(err.code, ERR_OVERLOADED);
  begin_removal("1/run", &removal); /* refused before anything is changed */
  wait_for(&removal);
  assert_false(removal.ok);
  assert_true(row_is_of("other content"));
  begin_removal(PATH, &removal);
  wait_for(&removal);
  assert_true(removal.ok);
  loop_until(cluster.loop, &kept.done, 30000);
  assert_false(kept.ok); /* there was no room for its digest */
  assert_false(artifact_is_there(store, STR("registry/1/1")));
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.artifact"), 0);
  sem_post(&gate.open);
  for (size_t i = 0; i < ARRAY_LEN(digests); i++)
    loop_until(cluster.loop, &digests[i].done, 30000);
}

static bool keep_from(const char *from, const char *to, struct kept *kept) {
  struct err err;
  *kept = (struct kept){.done = false};
  return artifact_keep(store, str_of(from), str_of(to), on_kept, kept, &err);
}

/* Where a version is made from is whatever a client says. */
static void nobody_waits_for_himself_or_in_a_ring(void **state UNUSED) {
  struct kept kept, other;
  assert_false(keep_from("registry", "registry/1/1", &kept));
  assert_false(keep_from("registry/1/1", "registry/1/1", &kept));
  assert_false(keep_from("registry/1/1/below", "registry/1/1", &kept));
  assert_true(keep_from("registry/2/1", "registry/1/1", &kept));
  assert_true(keep_from("registry/1", "registry/2/1", &other));
  loop_until(cluster.loop, &kept.done, 30000);
  loop_until(cluster.loop, &other.done, 30000);
  assert_false(kept.ok); /* there was nothing */
  assert_false(other.ok);
  assert_true(keep_from("registry/3", "registry/1/1", &kept)); /* and nobody is left waiting */
  loop_until(cluster.loop, &kept.done, 30000);
}

/* ---- the end ---- */

static bool anything_below(const char *path) {
  struct tree_list list = {0};
  struct err ignored;
  bool any = tree_list(artifact_store_root(store), str_of(path), true, &list, &ignored) && list.count;
  tree_list_release(&list);
  return any;
}

/* The service is about to stop: what would read gigabytes ends, and leaves nothing. */
static void what_takes_long_is_interrupted(void **state UNUSED) {
  const struct str parts[] = {STR(PATH), STR(PATH)};
  struct kept kept, digest = {.done = false};
  struct outcome joined = {.done = false};
  struct err err;
  put("content");
  artifact_store_interrupt(store);
  begin_keeping("registry/1/1", &kept);
  assert_true(artifact_digest(store, STR(PATH), on_kept, &digest, &err));
  assert_true(artifact_join(store, parts, 2, STR("1/run/artifacts/joined"), on_stored, &joined, &err));
  loop_until(cluster.loop, &kept.done, 30000);
  loop_until(cluster.loop, &digest.done, 30000);
  wait_for(&joined);
  assert_false(kept.ok || digest.ok || joined.ok);
  assert_false(artifact_is_there(store, STR("registry/1/1")));
  assert_false(artifact_is_there(store, STR("1/run/artifacts/joined")));
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.artifact"), 1);
  put("still stored");
}

static void *open_gate_late(void *arg UNUSED) {
  usleep(50000);
  sem_post(&gate.open);
  return NULL;
}

/* The links are made, their digest waits when the threads are stopped. */
static void what_waits_for_a_digest_is_taken_back(void **state UNUSED) {
  struct kept kept;
  pthread_t thread;
  put("content");
  close_gate();
  begin_keeping("registry/1/1", &kept);
  for (int i = 0; i < 3000 && !anything_below("registry/1/1"); i++)
    loop_for(cluster.loop, 10);
  loop_for(cluster.loop, 10); /* what comes after them has been asked for */
  artifact_store_interrupt(store);
  assert_int_equal(pthread_create(&thread, NULL, open_gate_late, NULL), 0);
  work_pool_stop(bulk);
  loop_until(cluster.loop, &kept.done, 30000);
  pthread_join(thread, NULL);
  assert_false(kept.ok);
  assert_false(artifact_is_there(store, STR("registry/1/1")));
  assert_int_equal(pg_cluster_int(&cluster, "select count(*) from winnow.artifact"), 1);
}

/* As at the end of the service: no turn of the loop comes any more. */
static void what_has_just_begun_is_told_when_the_store_stops(void **state UNUSED) {
  struct err err;
  struct outcome removal = {.done = false}, late = {.done = false};
  struct work_pool *disk = work_pool_new(cluster.loop, 1, 2, &err);
  assert_non_null(disk);
  const struct artifact_store_conf conf = {
      .directory = dir.path, .loop = cluster.loop, .work = cluster.work, .disk = disk, .bulk = bulk, .pg = pool};
  struct artifact_store *ending = artifact_store_new(&conf, &err);
  assert_non_null(ending);
  assert_true(artifact_delete(ending, STR(PATH), on_done, &removal, &err));
  assert_false(removal.done);
  work_pool_stop(disk);
  artifact_store_stop(ending);
  assert_true(removal.done);
  assert_false(removal.ok);
  assert_false(artifact_delete(ending, STR(PATH), on_done, &late, &err));
  assert_int_equal(err.code, ERR_UNAVAILABLE);
  artifact_store_free(ending);
  work_pool_free(disk);
  loop_for(cluster.loop, 1);
  assert_false(late.done);
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
      TEST(a_file_that_does_not_get_its_place),
      TEST(a_row_that_cannot_be_written_yet),
      TEST(a_row_that_is_never_written),
      TEST(rows_go_before_files),
      TEST(what_has_got_a_row_is_not_collected),
      TEST(a_tree_is_kept_as_it_is_at_one_moment),
      TEST(what_is_kept_gets_rows_when_it_is_as_registered),
      TEST(uploads_do_not_wait_for_what_takes_long),
      TEST(nobody_waits_for_himself_or_in_a_ring),
      TEST(what_takes_long_is_interrupted),
      TEST(what_waits_for_a_digest_is_taken_back),
      TEST(what_has_just_begun_is_told_when_the_store_stops),
  };
  return cmocka_run_group_tests(tests, start_all, stop_all);
}
