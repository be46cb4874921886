/* Whom a companion's signals reach. */
#include "sweeper/companion/process.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/file.h"
#include "tests/support/test.h"

enum { SIGNAL = SIGUSR1 /* 10 */ };

/* A process in a group of its own that keeps our signal waiting, and the child of ours that has left it behind. `in_group`: that child
 * leads the group. */
static pid_t leave_behind(bool in_group, pid_t *ret_parent) {
  int ends[2];
  pid_t left = 0;
  assert_int_equal(pipe(ends), 0);
  pid_t parent = fork();
  if (parent == 0) {
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGNAL);
    sigprocmask(SIG_BLOCK, &ours, NULL);
    if (in_group)
      setsid();
    if (fork() != 0)
      _exit(0);
    if (!in_group)
      setsid();
    pid_t self = getpid();
    if (write(ends[1], &self, sizeof self) != sizeof self)
      _exit(1);
    for (;;)
      pause();
  }
  assert_int_equal(waitpid(parent, NULL, 0), parent);
  assert_int_equal(read(ends[0], &left, sizeof left), sizeof left);
  close(ends[0]);
  close(ends[1]);
  *ret_parent = parent;
  return left;
}

static bool has_signal(pid_t pid) {
  AUTO_BUF struct buf text = BUF_INIT(8192);
  char path[64];
  struct err err;
  snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
  assert_true(file_read(path, &text, &err));
  return strstr(buf_text(&text), "ShdPnd:\t0000000000000200") != NULL; /* the ninth bit */
}

/* The command has been reaped, none of its group is left, and its number is somebody else's by now. */
static void a_stranger_with_the_commands_number_hears_nothing(void **state UNUSED) {
  pid_t parent, stranger = leave_behind(false, &parent);
  const struct process process = {.pid = stranger};
  size_t found = process_signal(&process, SIGNAL);
  bool heard = has_signal(stranger);
  kill(stranger, SIGKILL);
  assert_int_equal(found, 0);
  assert_false(heard);
}

static void what_the_command_left_in_its_group_hears_all(void **state UNUSED) {
  pid_t command;
  process_become_subreaper();
  pid_t left = leave_behind(true, &command);
  const struct process process = {.pid = command};
  size_t found = process_signal(&process, SIGNAL);
  bool heard = has_signal(left);
  kill(left, SIGKILL);
  assert_int_equal(waitpid(left, NULL, 0), left);
  assert_int_equal(found, 1);
  assert_true(heard);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_stranger_with_the_commands_number_hears_nothing),
      cmocka_unit_test(what_the_command_left_in_its_group_hears_all),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
