#include "base/tcp_owner.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* An end of a connection as the kernel keeps it: an IPv4 address in an IPv6 socket is an IPv4 address. */
struct end {
  uint8_t family;
  uint16_t port; /* network order, as the address */
  uint32_t address[4];
};

static bool read_end(const struct sockaddr_storage *from, struct end *ret) {
  *ret = (struct end){.family = AF_INET};
  if (from->ss_family == AF_INET) {
    const struct sockaddr_in *in = (const void *)from;
    ret->port = in->sin_port;
    ret->address[0] = in->sin_addr.s_addr;
    return true;
  }
  if (from->ss_family != AF_INET6)
    return false;
  const struct sockaddr_in6 *in6 = (const void *)from;
  ret->port = in6->sin6_port;
  if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
    memcpy(ret->address, &in6->sin6_addr.s6_addr[12], 4);
    return true;
  }
  ret->family = AF_INET6;
  memcpy(ret->address, &in6->sin6_addr, sizeof ret->address);
  return true;
}

struct question {
  struct nlmsghdr head;
  struct inet_diag_req_v2 body;
};

static struct question ask_about(const struct end *theirs, const struct end *ours) {
  struct question q = {
      .head = {.nlmsg_len = sizeof q, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
      .body = {.sdiag_family = theirs->family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = 1u << TCP_ESTABLISHED},
  };
  q.body.id.idiag_sport = theirs->port;
  q.body.id.idiag_dport = ours->port;
  memcpy(q.body.id.idiag_src, theirs->address, sizeof theirs->address);
  memcpy(q.body.id.idiag_dst, ours->address, sizeof ours->address);
  q.body.id.idiag_cookie[0] = q.body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return q;
}

/* The kernel also answers with a listener of that port, and says root of a socket that was closed: neither is who speaks. */
static bool is_the_speaker(const struct inet_diag_msg *found, const struct end *theirs, const struct end *ours) {
  size_t n = theirs->family == AF_INET ? 4 : 16;
  return found->idiag_state == TCP_ESTABLISHED && found->idiag_inode != 0 && found->id.idiag_sport == theirs->port &&
         found->id.idiag_dport == ours->port && memcmp(found->id.idiag_src, theirs->address, n) == 0 &&
         memcmp(found->id.idiag_dst, ours->address, n) == 0;
}

static bool exchange(int netlink, const struct question *question, const struct end *theirs, const struct end *ours, uid_t *ret) {
  struct {
    struct nlmsghdr head;
    struct inet_diag_msg body;
    char rest[2048];
  } answer;
  if (send(netlink, question, sizeof *question, 0) != (ssize_t)sizeof *question)
    return false;
  ssize_t n = recv(netlink, &answer, sizeof answer, 0);
  if (n < (ssize_t)(sizeof answer.head + sizeof answer.body) || answer.head.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
      !is_the_speaker(&answer.body, theirs, ours))
    return false;
  *ret = answer.body.idiag_uid;
  return true;
}

bool tcp_peer_owner(int fd, uid_t *ret) {
  struct sockaddr_storage name;
  struct end theirs, ours;
  socklen_t n = sizeof name;
  if (getpeername(fd, (struct sockaddr *)&name, &n) != 0 || !read_end(&name, &theirs))
    return false;
  n = sizeof name;
  if (getsockname(fd, (struct sockaddr *)&name, &n) != 0 || !read_end(&name, &ours))
    return false;
  int netlink = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (netlink < 0)
    return false;
  /* The kernel answers within the call that asks; the limit is for one that does not. */
  struct timeval limit = {.tv_usec = 100000};
  setsockopt(netlink, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  struct question question = ask_about(&theirs, &ours);
  bool ok = exchange(netlink, &question, &theirs, &ours, ret);
  close(netlink);
  return ok;
}
