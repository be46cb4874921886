/* Listeners, accepting, limits, the tick, drain. */
#include "web/http/http_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "web/http/http_intern.h"

enum {
  ACCEPTS_A_TURN = 64,
  BACKLOG = 1024,
  ACCEPT_RETRY_MS = 250,
  PAUSES_APART_MS = 2000,
  EVICTED_AT_ONCE = 16,
  TICK_MAX_MS = 1000,
  TICK_MIN_MS = 5
};

struct listener {
  struct list_node node;
  struct http_server *server;
  struct loop_io *io;
  struct tls *tls;
  int fd;
  bool is_unix;
  dev_t dev; /* of the socket's file, so that only our own is removed */
  ino_t ino;
  int dir_fd; /* the directory of a path too long for an address; -1: none */
  char path[sizeof((struct sockaddr_un *)0)->sun_path];
};

/* ---- limits ---- */

static int64_t or_default(int64_t value, int64_t fallback) {
  return value ? value : fallback;
}

static void fill_limits(struct http_limits *limits, const struct http_limits *given) {
  *limits = (struct http_limits){
      .connections = (size_t)or_default((int64_t)given->connections, 20000),
      .handshake_ms = or_default(given->handshake_ms, 10000),
      .head_ms = or_default(given->head_ms, 10000),
      .idle_ms = or_default(given->idle_ms, 75000),
      .body_idle_ms = or_default(given->body_idle_ms, 30000),
      .body_rate = or_default(given->body_rate, 500),
      .write_stall_ms = or_default(given->write_stall_ms, 30000),
      .linger_ms = or_default(given->linger_ms, 2000),
      .requests = (size_t)or_default((int64_t)given->requests, 100000),
      .arena = (size_t)or_default((int64_t)given->arena, 16 * (int64_t)MIB),
      .stream_buffer = (size_t)or_default((int64_t)given->stream_buffer, 64 * (int64_t)KIB),
      .discard = (size_t)or_default((int64_t)given->discard, 256 * (int64_t)KIB),
  };
}

/* A quarter of the shortest deadline, so that none is missed by more. */
static int64_t tick_for(const struct http_limits *limits) {
  const int64_t deadlines[] = {limits->handshake_ms, limits->head_ms,        limits->idle_ms,
                               limits->body_idle_ms, limits->write_stall_ms, limits->linger_ms};
  int64_t shortest = deadlines[0];
  for (size_t i = 1; i < ARRAY_LEN(deadlines); i++)
    shortest = MIN_OF(shortest, deadlines[i]);
  return MAX_OF((int64_t)TICK_MIN_MS, MIN_OF((int64_t)TICK_MAX_MS, shortest / 4));
}

/* ---- the tick ---- */

static size_t connection_count(const struct http_server *server) {
  return server->idle.count + server->busy.count;
}

static void on_tick(void *ctx) {
  struct http_server *server = ctx;
  int64_t now_ms = clock_mono_ms(loop_clock(server->loop));
  LIST_EACH(&server->busy, node) {
    conn_check_time(LIST_ENTRY(node, struct http_conn, node), now_ms);
  }
  LIST_EACH(&server->idle, idle_node) {
    struct http_conn *conn = LIST_ENTRY(idle_node, struct http_conn, node);
    conn_check_time(conn, now_ms);
    if (conn->state == CONN_IDLE)
      break; /* the others came later */
  }
  if (connection_count(server))
    loop_timer_start(server->tick, server->tick_ms);
}

/* ---- accepting ---- */

static void set_accepting(struct http_server *server, bool on) {
  server->accept_paused = !on;
  LIST_EACH(&server->listeners, node) {
    loop_io_set(LIST_ENTRY(node, struct listener, node)->io, on ? LOOP_READ : 0);
  }
}

/* New clients wait in the kernel's queue until a connection has ended; those who only keep theirs open have to make room. */
static void pause_accepting(struct http_server *server) {
  set_accepting(server, false);
  size_t evicted = 0, most = MIN_OF((size_t)EVICTED_AT_ONCE, 1 + server->idle.count / 8);
  LIST_EACH(&server->idle, node) {
    if (evicted++ == most)
      break;
    conn_end_of_requests(LIST_ENTRY(node, struct http_conn, node));
  }
  loop_timer_start(server->accept_timer, ACCEPT_RETRY_MS);
}

static void resume_accepting(void *ctx) {
  struct http_server *server = ctx;
  if (!server->accept_paused || server->draining)
    return;
  if (connection_count(server) >= server->limits.connections) {
    loop_timer_start(server->accept_timer, ACCEPT_RETRY_MS);
    return;
  }
  loop_timer_stop(server->accept_timer);
  if (server->spare_fd < 0)
    server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  set_accepting(server, true);
}

/* Out of descriptors: the one kept for this lets us tell one client, instead of leaving all of them without a word. */
static void shed_one(struct listener *listener) {
  static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
  struct http_server *server = listener->server;
  if (server->spare_fd < 0)
    return;
  close(server->spare_fd);
  int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) {
    if (!listener->tls)
      (void)!send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
    server->shed++;
  }
  server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Said once, however often it is tried again, and once more when it is over. */
static void note_pause(struct http_server *server, int error_number) {
  server->pauses_last_ms = loop_now_ms(server->loop);
  if (server->pauses++ > 0)
    return;
  server->pauses_from_ms = server->pauses_last_ms;
  server->pauses_shed = server->shed;
  log_warn("web", NULL, "accepting pauses: %s", strerror(error_number));
}

static void note_end_of_pauses(struct http_server *server) {
  int64_t now = loop_now_ms(server->loop);
  if (!server->pauses || now - server->pauses_last_ms < PAUSES_APART_MS)
    return;
  log_info("web", NULL, "accepting goes on after %lld s: it paused %llu times, %llu clients were told to come again",
           (long long)((now - server->pauses_from_ms) / 1000), (unsigned long long)server->pauses,
           (unsigned long long)(server->shed - server->pauses_shed));
  server->pauses = 0;
}

static void on_accept_failed(struct listener *listener, int error_number) {
  struct http_server *server = listener->server;
  if (error_number == EAGAIN || error_number == EINTR || error_number == ECONNABORTED)
    return;
  note_pause(server, error_number);
  if (!server->idle.count && (error_number == EMFILE || error_number == ENFILE))
    shed_one(listener);
  pause_accepting(server);
}

static bool is_loopback(const struct sockaddr_storage *address) {
  if (address->ss_family == AF_INET) {
    const struct sockaddr_in *in = (const void *)address;
    return ntohl(in->sin_addr.s_addr) >> 24 == 127;
  }
  const struct in6_addr *in6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(in6) || (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == 127);
}

static void describe_tcp_peer(int fd, const struct sockaddr_storage *address, struct http_peer *peer) {
  char host[INET6_ADDRSTRLEN] = "";
  bool v6 = address->ss_family == AF_INET6;
  const struct sockaddr_in *in = (const void *)address;
  const struct sockaddr_in6 *in6 = (const void *)address;
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  inet_ntop(address->ss_family, v6 ? (const void *)&in6->sin6_addr : (const void *)&in->sin_addr, host, sizeof host);
  peer->kind = PEER_TCP;
  peer->is_loopback = is_loopback(address);
  snprintf(peer->text, sizeof peer->text, v6 ? "[%s]:%u" : "%s:%u", host, (unsigned)ntohs(v6 ? in6->sin6_port : in->sin_port));
}

static bool describe_unix_peer(int fd, struct http_peer *peer) {
  struct ucred cred;
  socklen_t n = sizeof cred;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) != 0)
    return false;
  peer->kind = PEER_UNIX;
  peer->is_loopback = true;
  peer->uid = cred.uid;
  peer->gid = cred.gid;
  peer->pid = cred.pid;
  snprintf(peer->text, sizeof peer->text, "unix:uid=%u", (unsigned)cred.uid);
  return true;
}

static void on_accepted(struct listener *listener, int fd, const struct sockaddr_storage *address) {
  struct http_server *server = listener->server;
  struct http_peer peer = {0};
  if (!listener->is_unix) {
    describe_tcp_peer(fd, address, &peer);
  } else if (!describe_unix_peer(fd, &peer)) {
    close(fd);
    return;
  }
  if (!conn_new(server, fd, listener->tls, &peer)) {
    server->shed++;
    return;
  }
  server->accepted++;
  note_end_of_pauses(server);
  if (!loop_timer_is_on(server->tick))
    loop_timer_start(server->tick, server->tick_ms);
}

static void on_acceptable(void *ctx, int listen_fd, unsigned ready UNUSED) {
  struct listener *listener = ctx;
  struct http_server *server = listener->server;
  if (connection_count(server) >= server->limits.connections) /* and somebody waits */
    pause_accepting(server);
  for (int i = 0; i < ACCEPTS_A_TURN && !server->accept_paused && connection_count(server) < server->limits.connections; i++) {
    struct sockaddr_storage address;
    socklen_t n = sizeof address;
    int fd = accept4(listen_fd, (struct sockaddr *)&address, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      on_accept_failed(listener, errno);
      return;
    }
    on_accepted(listener, fd, &address);
  }
}

/* ---- listeners ---- */

static void listener_free(struct listener *listener) {
  struct stat st;
  loop_io_free(listener->io);
  close(listener->fd);
  if (listener->is_unix && lstat(listener->path, &st) == 0 && st.st_dev == listener->dev && st.st_ino == listener->ino)
    unlink(listener->path);
  if (listener->is_unix)
    fd_close(&listener->dir_fd);
  list_remove(&listener->node);
  mem_free(listener);
}

static void stop_listening(struct http_server *server) {
  LIST_EACH(&server->listeners, node) {
    listener_free(LIST_ENTRY(node, struct listener, node));
  }
}

/* Takes the bound descriptor. */
static struct listener *listener_start(struct http_server *server, int fd, struct tls *tls, struct err *err) {
  struct listener *listener = mem_zalloc(sizeof *listener);
  if (!listener) {
    close(fd);
    err_no_memory(err);
    return NULL;
  }
  *listener = (struct listener){.server = server, .fd = fd, .tls = tls};
  bool listening = listen(fd, BACKLOG) == 0;
  if (!listening)
    err_errno(err, errno, "cannot listen");
  listener->io = listening ? loop_io_new(server->loop, fd, LOOP_READ, on_acceptable, listener) : NULL;
  if (!listener->io) {
    if (listening)
      err_no_memory(err);
    close(fd);
    mem_free(listener);
    return NULL;
  }
  list_push_back(&server->listeners, &listener->node);
  return listener;
}

static int bind_tcp(const struct addrinfo *info, struct err *err) {
  int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int on = 1;
  if (fd < 0) {
    err_errno(err, errno, "cannot make a socket");
    return -1;
  }
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (info->ai_family == AF_INET6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (bind(fd, info->ai_addr, info->ai_addrlen) == 0)
    return fd;
  err_errno(err, errno, "cannot bind");
  close(fd);
  return -1;
}

static uint16_t bound_port(int fd) {
  struct sockaddr_storage address;
  socklen_t n = sizeof address;
  if (getsockname(fd, (struct sockaddr *)&address, &n) != 0)
    return 0;
  return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&address)->sin6_port
                                             : ((struct sockaddr_in *)(void *)&address)->sin_port);
}

static void set_port(struct addrinfo *info, uint16_t port) {
  if (info->ai_family == AF_INET6)
    ((struct sockaddr_in6 *)(void *)info->ai_addr)->sin6_port = htons(port);
  else
    ((struct sockaddr_in *)(void *)info->ai_addr)->sin_port = htons(port);
}

/* A name may stand for several addresses ("localhost" for 127.0.0.1 and ::1). One that works suffices; all get the same port. */
static bool listen_all(struct http_server *server, struct addrinfo *found, uint16_t *port, struct tls *tls, struct err *err) {
  bool any = false;
  for (struct addrinfo *info = found; info; info = info->ai_next) {
    if (info->ai_family != AF_INET && info->ai_family != AF_INET6)
      continue;
    set_port(info, *port);
    int fd = bind_tcp(info, err);
    if (fd < 0 || !listener_start(server, fd, tls, err))
      continue;
    *port = bound_port(fd);
    any = true;
  }
  return any;
}

bool http_server_listen_tcp(struct http_server *server, const char *host, uint16_t port, struct tls *tls, uint16_t *ret_port,
                            struct err *err) {
  bool is_any = strcmp(host, "*") == 0, is_local = strcasecmp(host, "localhost") == 0;
  /* No host stands for all addresses when passive, for the loopback ones when not. Names would be looked up, which blocks. */
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_NUMERICHOST | (is_local ? 0 : AI_PASSIVE)};
  struct addrinfo *found = NULL;
  int failed = getaddrinfo(is_any || is_local ? NULL : host, "0", &hints, &found);
  if (failed) {
    err_set(err, ERR_INVALID, "cannot listen on \"%s\": %s", host, gai_strerror(failed));
    return err_hint(err, "give an address such as 127.0.0.1 or ::1, or localhost, or * for all");
  }
  bool ok = listen_all(server, found, &port, tls, err);
  freeaddrinfo(found);
  if (!ok)
    return err_prefix(err, "%s port %u", host, (unsigned)port);
  if (ret_port)
    *ret_port = port;
  return true;
}

/* Is somebody there? A socket's file outlives its process. */
static bool is_alive(const struct sockaddr_un *address) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return true; /* not known: leave it alone */
  bool refused = connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED;
  close(fd);
  return !refused;
}

static bool remove_dead_socket(const struct sockaddr_un *address, const char *path, struct err *err) {
  struct stat st;
  if (lstat(address->sun_path, &st) != 0)
    return errno == ENOENT || err_errno(err, errno, "%s", path);
  if (!S_ISSOCK(st.st_mode))
    return err_set(err, ERR_EXISTS, "%s is there and is no socket", path);
  if (is_alive(address))
    return err_set(err, ERR_EXISTS, "%s is in use", path);
  return unlink(address->sun_path) == 0 || errno == ENOENT || err_errno(err, errno, "cannot remove %s", path);
}

/* A path that is too long for an address is reached through its directory's descriptor, which *ret_dir_fd then keeps. */
static bool unix_address(const char *path, struct sockaddr_un *ret, int *ret_dir_fd, struct err *err) {
  *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
  if (strlen(path) < sizeof ret->sun_path) {
    memcpy(ret->sun_path, path, strlen(path));
    return true;
  }
  const char *slash = strrchr(path, '/');
  AUTO_FREE char *dir = slash ? mem_strndup(path, (size_t)(slash - path)) : NULL;
  if (!slash)
    return err_set(err, ERR_INVALID, "the socket's name is too long: %s", path);
  if (!dir)
    return err_no_memory(err);
  *ret_dir_fd = open(dir[0] ? dir : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (*ret_dir_fd < 0)
    return err_errno(err, errno, "cannot open %s", dir);
  int n = snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/%s", *ret_dir_fd, slash + 1);
  return (n > 0 && (size_t)n < sizeof ret->sun_path) || err_set(err, ERR_INVALID, "the socket's name is too long: %s", path);
}

bool http_server_listen_unix(struct http_server *server, const char *path, struct err *err) {
  struct sockaddr_un address;
  AUTO_FD int dir_fd = -1;
  if (!unix_address(path, &address, &dir_fd, err) || !remove_dead_socket(&address, path, err))
    return false;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return err_errno(err, errno, "cannot make a socket");
  /* The mode of the socket is that of the file from its first moment; the umask, which belongs to all threads, is left alone. */
  struct stat st;
  if (fchmod(fd, 0600) != 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || lstat(address.sun_path, &st) != 0) {
    err_errno(err, errno, "cannot bind %s", path);
    close(fd);
    return false;
  }
  struct listener *listener = listener_start(server, fd, NULL, err);
  if (!listener) {
    unlink(address.sun_path);
    return err_prefix(err, "%s", path);
  }
  listener->is_unix = true;
  listener->dir_fd = dir_fd;
  dir_fd = -1;
  listener->dev = st.st_dev;
  listener->ino = st.st_ino;
  memcpy(listener->path, address.sun_path, sizeof listener->path);
  return true;
}

/* ---- drain ---- */

static void tell_drained(void *ctx) {
  struct http_server *server = ctx;
  loop_fn *drained = server->drained;
  server->drained = NULL;
  if (drained)
    drained(server->drained_ctx);
}

static void check_drained(struct http_server *server) {
  if (server->draining && server->drained && !connection_count(server)) {
    loop_timer_stop(server->drain_timer);
    loop_defer(server->loop, &server->drained_defer, tell_drained, server);
  }
}

static void close_all(struct http_server *server) {
  LIST_EACH(&server->idle, idle_node) {
    conn_close(LIST_ENTRY(idle_node, struct http_conn, node));
  }
  LIST_EACH(&server->busy, busy_node) {
    conn_close(LIST_ENTRY(busy_node, struct http_conn, node));
  }
}

static void on_drain_deadline(void *ctx) {
  struct http_server *server = ctx;
  close_all(server);
  check_drained(server);
}

/* Connections without a request in progress have nothing to wait for. */
static void close_unused(struct http_server *server) {
  LIST_EACH(&server->idle, idle_node) {
    conn_end_of_requests(LIST_ENTRY(idle_node, struct http_conn, node));
  }
  LIST_EACH(&server->busy, busy_node) {
    struct http_conn *conn = LIST_ENTRY(busy_node, struct http_conn, node);
    if (conn->state == CONN_HANDSHAKE || (conn->state == CONN_HEAD && !evbuffer_get_length(bufferevent_get_input(conn->bev))))
      conn_close(conn);
  }
}

void http_server_drain(struct http_server *server, int64_t deadline_ms, loop_fn *done, void *ctx) {
  server->draining = true;
  server->drained = done;
  server->drained_ctx = ctx;
  stop_listening(server);
  loop_timer_stop(server->accept_timer);
  close_unused(server);
  loop_timer_start(server->drain_timer, deadline_ms);
  check_drained(server);
}

void server_on_conn_released(struct http_server *server) {
  resume_accepting(server);
  check_drained(server);
}

void server_on_req_finished(struct http_server *server) {
  check_drained(server);
}

/* ---- life ---- */

static bool make_parts(struct http_server *server, struct err *err) {
  server->router = router_new(server->config.mounts, server->config.mount_count, err);
  if (!server->router)
    return false;
  server->tick = loop_timer_new(server->loop, on_tick, server);
  server->accept_timer = loop_timer_new(server->loop, resume_accepting, server);
  server->drain_timer = loop_timer_new(server->loop, on_drain_deadline, server);
  server->piece = mem_alloc(PIECE_MAX);
  return (server->tick && server->accept_timer && server->drain_timer && server->piece) || err_no_memory(err);
}

struct http_server *http_server_new(struct loop *loop, const struct http_server_config *config, struct err *err) {
  struct http_server *server = mem_zalloc(sizeof *server);
  if (!server) {
    err_no_memory(err);
    return NULL;
  }
  server->loop = loop;
  server->config = *config;
  fill_limits(&server->limits, &config->limits);
  server->tick_ms = tick_for(&server->limits);
  server->date_s = INT64_MIN;
  signal(SIGPIPE, SIG_IGN); /* a client that leaves is told by the result of writing */
  struct rng rng = rng_from_system();
  server->id_salt = (uint32_t)rng_u64(&rng);
  buf_init(&server->head, REPLY_HEAD_MAX);
  server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (!make_parts(server, err)) {
    http_server_free(server);
    return NULL;
  }
  return server;
}

static void free_spare_requests(struct http_server *server) {
  LIST_EACH(&server->spare, node) {
    struct http_req *req = LIST_ENTRY(node, struct http_req, node);
    list_remove(node);
    arena_release(&req->arena);
    mem_free(req);
  }
}

void http_server_free(struct http_server *server) {
  if (!server)
    return;
  server->draining = true;
  server->drained = NULL;
  stop_listening(server);
  close_all(server);
  LIST_EACH(&server->busy, node) {
    conn_release(LIST_ENTRY(node, struct http_conn, node));
  }
  LIST_EACH(&server->requests, req_node) {
    LIST_ENTRY(req_node, struct http_req, node)->server = NULL;
    list_remove(req_node);
  }
  free_spare_requests(server);
  loop_defer_cancel(&server->drained_defer);
  loop_timer_free(server->tick);
  loop_timer_free(server->accept_timer);
  loop_timer_free(server->drain_timer);
  if (server->spare_fd >= 0)
    close(server->spare_fd);
  http_gzip_free(server->gzip);
  buf_release(&server->head);
  mem_free(server->piece);
  router_free(server->router);
  mem_free(server);
}

void http_server_stats(const struct http_server *server, struct http_server_stats *ret) {
  *ret = (struct http_server_stats){
      .connections = connection_count(server),
      .idle = server->idle.count,
      .requests_in_flight = server->requests.count,
      .accepted = server->accepted,
      .shed = server->shed,
      .requests = server->request_count,
      .accepting = server->listeners.count && !server->accept_paused,
  };
}

void http_server_flush_log_hook(void *unused UNUSED) {
  log_flush();
}
