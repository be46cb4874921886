#include "sweeper/companion/uplink.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/file.h"
#include "base/mem.h"

enum { HEAD_MAX = 16 * 1024, BODY_MAX = 64 * 1024 };

struct uplink {
  struct event_base *base;
  const struct uplink_config *config;
  struct bufferevent *bev; /* NULL: not connected */
  struct event *timer;     /* deadline of the request; also tells what failed before a connection was there */
  bool busy;
  uplink_done_fn *done;
  void *ctx;
};

static struct str header_value(struct str line, struct str name) {
  if (line.n <= name.n || line.p[name.n] != ':' || !str_eq_nocase(str_slice(line, 0, name.n), name))
    return STR_NONE;
  return str_trim(str_slice(line, name.n + 1, line.n));
}

int uplink_parse_head(struct str bytes, int *ret_status, size_t *ret_length, bool *ret_close) {
  size_t end = str_find_str(str_slice(bytes, 0, HEAD_MAX), STR("\r\n\r\n"));
  if (end == SIZE_MAX)
    return bytes.n >= HEAD_MAX ? -1 : 0;
  struct str rest = str_slice(bytes, 0, end), line;
  uint64_t status, length = 0;
  if (!str_split(&rest, '\n', &line) || !str_starts(line, STR("HTTP/1.")) || line.n < 12 || !str_to_u64(str_slice(line, 9, 12), &status) ||
      status < 200 || status > 599)
    return -1;
  *ret_close = false;
  while (str_split(&rest, '\n', &line)) {
    struct str value = header_value(line, STR("Content-Length"));
    if (value.p && (!str_to_u64(value, &length) || length > BODY_MAX))
      return -1;
    if (header_value(line, STR("Transfer-Encoding")).p)
      return -1; /* our service answers a companion with a length */
    if (str_eq_nocase(header_value(line, STR("Connection")), STR("close")))
      *ret_close = true;
  }
  *ret_status = (int)status;
  *ret_length = (size_t)length;
  return (int)end + 4;
}

static void disconnect(struct uplink *uplink) {
  if (uplink->bev)
    bufferevent_free(uplink->bev);
  uplink->bev = NULL;
}

static void finish(struct uplink *uplink, int status, struct str body) {
  event_del(uplink->timer);
  uplink->busy = false;
  uplink->done(uplink->ctx, status, body);
}

static void fail(struct uplink *uplink) {
  disconnect(uplink);
  finish(uplink, 0, STR(""));
}

static void on_read(struct bufferevent *bev, void *ctx) {
  struct uplink *uplink = ctx;
  struct evbuffer *in = bufferevent_get_input(bev);
  size_t n = evbuffer_get_length(in);
  struct str bytes = str_n((const char *)evbuffer_pullup(in, (ev_ssize_t)n), n);
  int status;
  size_t length;
  bool close;
  int head = uplink->busy && bytes.p ? uplink_parse_head(bytes, &status, &length, &close) : -1;
  if (head < 0) {
    if (uplink->busy)
      fail(uplink);
    else
      disconnect(uplink);
    return;
  }
  if (head == 0 || n < (size_t)head + length)
    return;
  char body[BODY_MAX + 1];
  memcpy(body, bytes.p + head, length);
  body[length] = 0;
  evbuffer_drain(in, (size_t)head + length);
  if (close || evbuffer_get_length(bufferevent_get_output(bev))) /* answered before all of the body was sent */
    disconnect(uplink);
  finish(uplink, status, str_n(body, length));
}

static void on_event(struct bufferevent *bev UNUSED, short what, void *ctx) {
  struct uplink *uplink = ctx;
  if (what & BEV_EVENT_CONNECTED)
    return;
  if (uplink->busy)
    fail(uplink);
  else
    disconnect(uplink); /* the service closed an idle connection */
}

static void on_deadline(evutil_socket_t fd UNUSED, short what UNUSED, void *ctx) {
  fail(ctx);
}

struct uplink *uplink_new(struct event_base *base, const struct uplink_config *config) {
  struct uplink *uplink = mem_zalloc(sizeof *uplink);
  if (!uplink)
    return NULL;
  uplink->base = base;
  uplink->config = config;
  uplink->timer = evtimer_new(base, on_deadline, uplink);
  if (!uplink->timer) {
    mem_free(uplink);
    return NULL;
  }
  return uplink;
}

void uplink_free(struct uplink *uplink) {
  if (!uplink)
    return;
  disconnect(uplink);
  event_free(uplink->timer);
  mem_free(uplink);
}

bool uplink_is_busy(const struct uplink *uplink) {
  return uplink->busy;
}

/* "unix:/path" or "http://127.0.0.1:7070" (an address, no name: a companion on this machine needs no more). */
static socklen_t parse_address(struct str text, struct sockaddr_storage *out) {
  memset(out, 0, sizeof *out);
  if (str_starts(text, STR("unix:"))) {
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)out;
    struct str path = str_slice(text, 5, text.n);
    if (path.n == 0 || path.n >= sizeof un->sun_path)
      return 0;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path.p, path.n);
    return (socklen_t)sizeof *un;
  }
  if (!str_starts(text, STR("http://")))
    return 0;
  char address[128];
  int size = (int)sizeof *out;
  snprintf(address, sizeof address, "%.*s", STR_ARG(str_slice(text, 7, text.n)));
  return evutil_parse_sockaddr_port(address, (struct sockaddr *)(void *)out, &size) == 0 ? (socklen_t)size : 0;
}

/* The first line of the endpoint file that can be connected to. Both kinds are local, so connecting answers at once. */
static bool connect_somewhere(struct uplink *uplink) {
  AUTO_BUF struct buf text = BUF_INIT(4096);
  struct err err;
  if (!file_read(uplink->config->endpoint_file, &text, &err))
    return false;
  struct str rest = buf_str(&text), line;
  while (str_split(&rest, '\n', &line)) {
    struct sockaddr_storage address;
    socklen_t size = parse_address(str_trim(line), &address);
    if (!size)
      continue;
    AUTO_FD int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || (connect(fd, (struct sockaddr *)(void *)&address, size) != 0 && errno != EINPROGRESS))
      continue;
    uplink->bev = bufferevent_socket_new(uplink->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!uplink->bev)
      return false;
    fd = -1; /* the bufferevent's now */
    bufferevent_setcb(uplink->bev, on_read, NULL, on_event, uplink);
    bufferevent_enable(uplink->bev, EV_READ);
    return true;
  }
  return false;
}

/* The head of a request; NULL when there is nobody to send it to, which is told later. */
static struct evbuffer *begin(struct uplink *uplink, const char *method, const char *prefix, const char *path, int64_t length,
                              int timeout_s, uplink_done_fn *done, void *ctx) {
  struct timeval deadline = {timeout_s, 0}, at_once = {0, 0};
  uplink->busy = true;
  uplink->done = done;
  uplink->ctx = ctx;
  if (!uplink->bev && !connect_somewhere(uplink)) {
    evtimer_add(uplink->timer, &at_once);
    return NULL;
  }
  struct evbuffer *out = bufferevent_get_output(uplink->bev);
  evbuffer_add_printf(
      out,
      "%s %s%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %lld\r\n\r\n",
      method, prefix ? prefix : uplink->config->prefix, path, uplink->config->token, (long long)length);
  evtimer_add(uplink->timer, &deadline);
  return out;
}

void uplink_send(struct uplink *uplink, const char *method, const char *path, struct str body, int timeout_s, uplink_done_fn *done,
                 void *ctx) {
  struct evbuffer *out = begin(uplink, method, NULL, path, (int64_t)body.n, timeout_s, done, ctx);
  if (out)
    evbuffer_add(out, body.p, body.n);
}

/* Half a request was put into the buffer: the connection is of no use any more. */
static void give_up(struct uplink *uplink) {
  struct timeval at_once = {0, 0};
  disconnect(uplink);
  evtimer_add(uplink->timer, &at_once);
}

void uplink_send_file(struct uplink *uplink, const struct uplink_file *file, uplink_done_fn *done, void *ctx) {
  int fd = file->fd;
  int64_t length = fd >= 0 ? file->length : 0;
  struct evbuffer *out = begin(uplink, file->method, file->prefix, file->path, length, file->timeout_s, done, ctx);
  struct evbuffer_file_segment *segment = NULL;
  if (out && length > 0) {
    /* Sent by the kernel: no copy of it is ever in our memory. */
    segment = evbuffer_file_segment_new(fd, (ev_off_t)file->offset, (ev_off_t)length, file->keep_fd ? 0 : EVBUF_FS_CLOSE_ON_FREE);
    if (!segment || evbuffer_add_file_segment(out, segment, 0, (ev_off_t)length) != 0)
      give_up(uplink);
  }
  if (segment)
    evbuffer_file_segment_free(segment); /* the buffer has its own reference */
  else if (!file->keep_fd)
    fd_close(&fd);
}
