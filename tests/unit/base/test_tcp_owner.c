/* Whose connection is it. */
#include "base/tcp_owner.h"
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct ends {
  int listener, client, server;
};

static void listen_on(struct ends *ends, int family, struct sockaddr_storage *address, socklen_t *n) {
  int off = 0;
  *address = (struct sockaddr_storage){.ss_family = (sa_family_t)family};
  if (family == AF_INET)
    ((struct sockaddr_in *)(void *)address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  *n = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
  ends->listener = socket(family, SOCK_STREAM, 0);
  if (family == AF_INET6)
    assert_int_equal(setsockopt(ends->listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off), 0);
  assert_int_equal(bind(ends->listener, (struct sockaddr *)address, *n), 0);
  assert_int_equal(listen(ends->listener, 5), 0);
  assert_int_equal(getsockname(ends->listener, (struct sockaddr *)address, n), 0);
}

static void join(struct ends *ends, int family, const struct sockaddr *address, socklen_t n) {
  ends->client = socket(family, SOCK_STREAM, 0);
  assert_int_equal(connect(ends->client, address, n), 0);
  ends->server = accept(ends->listener, NULL, NULL);
  assert_true(ends->server >= 0);
}

static void release(struct ends *ends) {
  close(ends->listener);
  close(ends->server);
}

static void our_own_is_ours_until_it_is_closed(void **state UNUSED) {
  struct ends ends;
  struct sockaddr_storage address;
  socklen_t n;
  uid_t uid = 12345;
  listen_on(&ends, AF_INET, &address, &n);
  join(&ends, AF_INET, (struct sockaddr *)&address, n);
  assert_true(tcp_peer_owner(ends.server, &uid));
  assert_int_equal(uid, getuid());
  close(ends.client);
  struct pollfd until = {.fd = ends.server, .events = POLLIN};
  assert_int_equal(poll(&until, 1, 5000), 1);
  assert_false(tcp_peer_owner(ends.server, &uid)); /* nobody's: least of all root's */
  release(&ends);
}

static void an_address_of_either_family_will_do(void **state UNUSED) {
  struct ends ends;
  struct sockaddr_storage address;
  socklen_t n;
  uid_t uid = 12345;
  int probe = socket(AF_INET6, SOCK_STREAM, 0);
  if (probe < 0)
    skip();
  close(probe);
  listen_on(&ends, AF_INET6, &address, &n); /* [::], which takes IPv4 too */
  struct sockaddr_in in = {
      .sin_family = AF_INET, .sin_port = ((struct sockaddr_in6 *)(void *)&address)->sin6_port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  join(&ends, AF_INET, (struct sockaddr *)&in, sizeof in);
  assert_true(tcp_peer_owner(ends.server, &uid));
  assert_int_equal(uid, getuid());
  close(ends.client);
  release(&ends);
}

static void anothers_is_anothers(void **state UNUSED) {
  enum { STRANGER = 65534 };
  struct ends ends;
  struct sockaddr_storage address;
  socklen_t n;
  uid_t uid = 12345;
  if (getuid() != 0)
    skip(); /* only root can be somebody else */
  listen_on(&ends, AF_INET, &address, &n);
  pid_t child = fork();
  if (child == 0) {
    char c;
    if (setresuid(STRANGER, STRANGER, STRANGER) != 0)
      _exit(1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    _exit(connect(fd, (struct sockaddr *)&address, n) == 0 && read(fd, &c, 1) == 1 ? 0 : 2);
  }
  ends.server = accept(ends.listener, NULL, NULL);
  assert_true(tcp_peer_owner(ends.server, &uid));
  assert_int_equal(uid, STRANGER);
  assert_int_equal(write(ends.server, "x", 1), 1);
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  release(&ends);
}

static void what_is_no_connection_has_no_owner(void **state UNUSED) {
  uid_t uid;
  int pair[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  assert_false(tcp_peer_owner(pair[0], &uid));
  assert_false(tcp_peer_owner(-1, &uid));
  close(pair[0]);
  close(pair[1]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(our_own_is_ours_until_it_is_closed),
      cmocka_unit_test(an_address_of_either_family_will_do),
      cmocka_unit_test(anothers_is_anothers),
      cmocka_unit_test(what_is_no_connection_has_no_owner),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
