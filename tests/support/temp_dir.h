/* A directory of a test's own, removed at its end. */
#ifndef WINNOW_TESTS_TEMP_DIR_H
#define WINNOW_TESTS_TEMP_DIR_H

struct temp_dir {
  char path[128];
};

/* Ends the test program when it cannot be made. */
void temp_dir_make(struct temp_dir *dir);
void temp_dir_remove(struct temp_dir *dir);

#endif
