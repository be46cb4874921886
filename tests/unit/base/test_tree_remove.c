/* Two who remove the same tree: the other one is always a step ahead. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test.h"

static bool has_company;

/* In place of the C library's: what it cannot remove, since something is in it, the other one removes. */
int unlinkat(int dir_fd, const char *name, int flags) {
  int rc = (int)syscall(SYS_unlinkat, dir_fd, name, flags);
  if (rc == 0 || errno != ENOTEMPTY || !has_company)
    return rc;
  char inner[200];
  snprintf(inner, sizeof inner, "%s/file", name);
  assert_int_equal(syscall(SYS_unlinkat, dir_fd, inner, 0), 0);
  assert_int_equal(syscall(SYS_unlinkat, dir_fd, name, AT_REMOVEDIR), 0);
  errno = ENOTEMPTY;
  return rc;
}

static void what_another_one_has_removed_is_gone(void **state UNUSED) {
  char path[160], file[200];
  struct temp_dir dir;
  struct err err;
  temp_dir_make(&dir);
  snprintf(path, sizeof path, "%s/tree", dir.path);
  snprintf(file, sizeof file, "%s/file", path);
  assert_true(dir_make(path, 0700, &err) && file_replace(file, STR("1"), 0600, &err));
  has_company = true;
  bool ok = tree_remove(path, &err);
  has_company = false;
  assert_true(ok);
  assert_int_not_equal(access(path, F_OK), 0);
  temp_dir_remove(&dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(what_another_one_has_removed_is_gone)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
