/* What lies on the disk, while others change it. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

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

static void a_file_is_linked_under_its_own_name(void **state UNUSED) {
  struct err err;
  bool is_file = false;
  struct artifact_tree tree;
  assert_true(tree_make(root, STR("a/b"), &err));
  put("a/b/c.txt");
  assert_true(tree_link(root, STR("a/b/c.txt"), STR("kept/1"), &is_file, &err));
  assert_true(is_file);
  assert_int_equal(faccessat(root, "kept/1/c.txt", F_OK, 0), 0);
  assert_true(tree_link(root, STR("a"), STR("kept/2"), &is_file, &err));
  assert_false(is_file);
  assert_int_equal(faccessat(root, "kept/2/b/c.txt", F_OK, 0), 0);
  assert_true(tree_digest(root, STR("kept/2"), &tree, &err));
  assert_int_equal(tree.files, 1);
  assert_false(tree_link(root, STR("a/none"), STR("kept/3"), &is_file, &err));
  assert_int_equal(err.code, ERR_NOT_FOUND);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_directory_is_removed_although_files_are_added, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_file_is_linked_under_its_own_name, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
