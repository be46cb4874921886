#include "cli/notify.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "base/file.h"

void notify_systemd(const char *state) {
  const char *path = getenv("NOTIFY_SOCKET");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof address.sun_path)
    return;
  size_t n = strlen(path);
  memcpy(address.sun_path, path, n);
  if (path[0] == '@')
    address.sun_path[0] = 0;
  AUTO_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return;
  struct iovec text = {.iov_base = (void *)(uintptr_t)state, .iov_len = strlen(state)};
  struct msghdr message = {
      .msg_name = &address, .msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n), .msg_iov = &text, .msg_iovlen = 1};
  ssize_t ignored UNUSED = sendmsg(fd, &message, MSG_NOSIGNAL);
}
