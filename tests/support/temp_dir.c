#include "tests/support/temp_dir.h"

#include "base/file.h"

void temp_dir_make(struct temp_dir *dir) {
  const char *parent = getenv("TMPDIR");
  snprintf(dir->path, sizeof dir->path, "%.90s/winnow-test-XXXXXX", parent ? parent : "/tmp");
  if (!mkdtemp(dir->path)) {
    perror(dir->path);
    exit(1);
  }
}

void temp_dir_remove(struct temp_dir *dir) {
  struct err err;
  if (!tree_remove(dir->path, &err))
    fprintf(stderr, "%s: %s\n", dir->path, err.text);
}
