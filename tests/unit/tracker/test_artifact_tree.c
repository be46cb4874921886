/* What lies on the disk, while others change it. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test.h"
#include "tracker/artifacts/artifact_tree.h"

enum { ROUNDS = 50, FILES = 400 };

static struct temp_dir temp;
static int root;
static atomic_int rounds_begun;

static int set_up(void **state UNUSED) {
  temp_dir_make(&temp);
  root = open(temp.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return root < 0;
}

static int tear_down(void **state UNUSED) {
  close(root);
  temp_dir_remove(&temp);
  return 0;
}

static void put(const char *path) {
  int fd = openat(root, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  assert_true(fd >= 0);
  close(fd);
}

/* Once a round, as soon as the removal has begun. */
static void *add_late_files(void *arg UNUSED) {
  for (int round = 1; round <= ROUNDS; round++) {
    while (atomic_load(&rounds_begun) < round)
      sched_yield();
    while (faccessat(root, "d/sub/0", F_OK, 0) == 0 && faccessat(root, "d/sub/1", F_OK, 0) == 0)
      sched_yield();
    int fd = openat(root, "d/sub/late", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0) /* else the directory is gone already */
      close(fd);
  }
  return NULL;
}

static void a_directory_is_removed_although_files_are_added(void **state UNUSED) {
  pthread_t thread;
  char name[64];
  struct err err;
  assert_int_equal(pthread_create(&thread, NULL, add_late_files, NULL), 0);
  for (int round = 1; round <= ROUNDS; round++) {
    assert_true(tree_make(root, STR("d/sub"), &err));
    for (int i = 0; i < FILES; i++) {
      snprintf(name, sizeof name, "d/sub/%d", i);
      put(name);
    }
    atomic_store(&rounds_begun, round);
    if (!tree_delete(root, STR("d"), &err))
      fail_msg("round %d: %s", round, err.text);
    assert_int_not_equal(faccessat(root, "d", F_OK, 0), 0);
  }
  pthread_join(thread, NULL);
}

static void a_file_is_kept_under_its_own_name(void **state UNUSED) {
  static const enum tree_how ways[] = {TREE_LINKS, TREE_COPIES};
  struct err err;
  struct tree_kept kept;
  struct artifact_tree tree, same;
  assert_true(tree_make(root, STR("a/b"), &err));
  put("a/b/c.txt");
  for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
    assert_true(tree_keep(root, STR("a/b/c.txt"), STR("kept/1"), ways[i], NULL, &kept, &err));
    assert_true(kept.is_file && !kept.needs_copies);
    assert_int_equal(faccessat(root, "kept/1/c.txt", F_OK, 0), 0);
    assert_true(tree_keep(root, STR("a"), STR("kept/2"), ways[i], NULL, &kept, &err));
    assert_false(kept.is_file || kept.needs_copies);
    assert_int_equal(faccessat(root, "kept/2/b/c.txt", F_OK, 0), 0);
    assert_true(tree_sync(root, STR("kept/2"), &err));
    assert_true(tree_digest(root, STR("kept/2"), NULL, i ? &same : &tree, NULL, &err));
    assert_int_equal(tree.files, 1);
    assert_false(tree_keep(root, STR("a/none"), STR("kept/3"), ways[i], NULL, &kept, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_true(tree_delete(root, STR("kept"), &err));
  }
  assert_memory_equal(tree.digest, same.digest, sizeof tree.digest);
}

static void what_takes_long_ends_when_it_is_to(void **state UNUSED) {
  atomic_bool stop = true;
  struct artifact_tree tree;
  struct tree_kept kept;
  struct err err;
  assert_true(tree_make(root, STR("long"), &err));
  put("long/file");
  AUTO_FD int fd = openat(root, "long/file", O_WRONLY | O_CLOEXEC);
  assert_true(fd_write_all(fd, "content", 7, &err));
  assert_false(tree_digest(root, STR("long"), &stop, &tree, NULL, &err));
  assert_int_equal(err.code, ERR_UNAVAILABLE);
  assert_false(tree_keep(root, STR("long"), STR("copy"), TREE_COPIES, &stop, &kept, &err));
  assert_int_equal(err.code, ERR_UNAVAILABLE);
  assert_false(kept.needs_copies);
  stop = false;
  assert_true(tree_digest(root, STR("long"), &stop, &tree, NULL, &err));
  assert_true(tree_keep(root, STR("long"), STR("other"), TREE_COPIES, &stop, &kept, &err));
}

static void each_file_has_its_own_digest(void **state UNUSED) {
  struct artifact_tree tree;
  struct tree_sums sums = {.count = 0};
  struct err err;
  assert_true(tree_make(root, STR("s/b"), &err));
  put("s/b/c.txt");
  put("s/empty");
  assert_true(tree_digest(root, STR("s"), NULL, &tree, &sums, &err));
  assert_int_equal(sums.count, 2);
  assert_string_equal(sums.items[0].name, "b/c.txt");
  assert_int_equal(sums.items[1].file.size, 0);
  assert_int_equal(sums.items[1].file.sha256[0], 0xe3); /* of nothing */
  assert_int_equal(sums.items[1].file.sha256[31], 0x55);
  tree_sums_release(&sums);
  assert_true(tree_digest(root, STR("s/empty"), NULL, &tree, &sums, &err));
  assert_string_equal(sums.items[0].name, "");
  tree_sums_release(&sums);
}

/* Only the file that was looked at. */
static void what_has_come_again_stays(void **state UNUSED) {
  struct err err;
  struct stat st;
  bool removed;
  put("old");
  assert_int_equal(fstatat(root, "old", &st, 0), 0);
  assert_true(tree_collect(root, STR("old"), tree_changed_ms(&st) - 1, &removed, &err));
  assert_false(removed);
  assert_true(tree_collect(root, STR("old"), tree_changed_ms(&st), &removed, &err));
  assert_true(removed);
  assert_true(tree_collect(root, STR("old"), tree_changed_ms(&st), &removed, &err));
  assert_false(removed);
  assert_true(tree_collect(root, STR("no/where"), 1, &removed, &err));
  assert_false(removed);
  assert_true(tree_make(root, STR("old/sub"), &err));
  assert_int_equal(fstatat(root, "old", &st, 0), 0);
  assert_true(tree_collect(root, STR("old"), tree_changed_ms(&st), &removed, &err));
  assert_false(removed);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_directory_is_removed_although_files_are_added, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_file_is_kept_under_its_own_name, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_takes_long_ends_when_it_is_to, set_up, tear_down),
      cmocka_unit_test_setup_teardown(each_file_has_its_own_digest, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_has_come_again_stays, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
