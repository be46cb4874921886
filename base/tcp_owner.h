/* Whose socket is at the other end of a TCP connection within this machine: what SO_PEERCRED says of a Unix socket, asked of the kernel by
 * the connection's addresses. */
#ifndef WINNOW_BASE_TCP_OWNER_H
#define WINNOW_BASE_TCP_OWNER_H

#include <sys/types.h>

#include "base/base.h"

/* False when it cannot be told: the other end is not on this machine, has been closed, or the kernel does not answer. */
MUST_CHECK bool tcp_peer_owner(int fd, uid_t *ret);

#endif
