/* An assertion that fails within a callback would jump out of the loop, which nothing can turn again: whoever waits for it waits in
 * vain. So the program ends right there, with what has failed. Linked around loop_turn() (cmake/Tests.cmake). */
#include <stdlib.h>

#include "base/loop.h"

static char when_failed[] = "CMOCKA_TEST_ABORT=0";

void __real_loop_turn(struct loop *loop, bool block);
void __wrap_loop_turn(struct loop *loop, bool block);

__attribute__((constructor)) static void let_cmocka_know(void) {
  putenv(when_failed);
}

void __wrap_loop_turn(struct loop *loop, bool block) {
  char *flag = &when_failed[sizeof when_failed - 2], before = *flag; /* a turn within a turn */
  *flag = '1';
  __real_loop_turn(loop, block);
  *flag = before;
}
