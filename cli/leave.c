#include "cli/leave.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

static struct {
  int64_t ms;
  int exit_code, lock_fd;
} leaving;

static void *leave_main(void *arg) {
  struct timespec rest = {.tv_sec = (time_t)(leaving.ms / 1000), .tv_nsec = (long)(leaving.ms % 1000) * 1000000};
  while (nanosleep(&rest, &rest) != 0)
    ;
  log_warn("service", NULL, "something still waits for a file system that does not answer: the end does not wait for it");
  log_flush();
  close(leaving.lock_fd);
  _exit(leaving.exit_code);
  return arg;
}

void leave_after(int64_t ms, int exit_code, int lock_fd) {
  pthread_t thread;
  sigset_t all, before;
  leaving.ms = ms;
  leaving.exit_code = exit_code;
  leaving.lock_fd = lock_fd;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  if (pthread_create(&thread, NULL, leave_main, NULL) == 0)
    pthread_detach(thread);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}
