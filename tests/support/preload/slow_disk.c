/* A disk that hangs, for tests: preloaded, it lets writes and syncs of files on their way (".winnow-...") wait for as long as the file that
 * SLOW_DISK names is there. And a thread that asks how much room a file system has waits for as long as the file that DEAD_DISK names is
 * there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static void wait_for_disk(int fd) {
  char link[64], path[4096];
  const char *gate = getenv("SLOW_DISK");
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (!gate || n <= 0)
    return;
  path[n] = 0;
  while (strstr(path, "/.winnow-") && access(gate, F_OK) == 0)
    usleep(10000);
}

ssize_t write(int fd, const void *bytes, size_t n) {
  typedef ssize_t write_fn(int, const void *, size_t);
  wait_for_disk(fd);
  return ((write_fn *)dlsym(RTLD_NEXT, "write"))(fd, bytes, n);
}

int fsync(int fd) {
  typedef int fsync_fn(int);
  wait_for_disk(fd);
  return ((fsync_fn *)dlsym(RTLD_NEXT, "fsync"))(fd);
}

int statvfs(const char *restrict path, struct statvfs *restrict ret) {
  typedef int statvfs_fn(const char *, struct statvfs *);
  const char *gate = getenv("DEAD_DISK");
  while (gate && getpid() != gettid() && access(gate, F_OK) == 0)
    usleep(10000);
  return ((statvfs_fn *)dlsym(RTLD_NEXT, "statvfs"))(path, ret);
}
