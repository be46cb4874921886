#include "tests/support/http_client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "web/http/http_chunk.h"
#include "web/http/http_head.h"

enum { PATIENCE_MS = 120000, IN_MAX = 256 << 20 };

struct waiting {
  int64_t since_ms;
};

static struct waiting start_waiting(void) {
  return (struct waiting){clock_mono_ms(&clock_system)};
}

/* One turn; sleeps a little so that the other process on this machine may work too. */
static void turn(struct loop *loop, const struct waiting *waiting) {
  loop_turn(loop, false);
  if (clock_mono_ms(&clock_system) - waiting->since_ms > PATIENCE_MS)
    fail_msg("the server did not do in time what was expected");
}

static void pause_briefly(void) {
  struct timespec brief = {0, 200000};
  nanosleep(&brief, NULL);
}

void http_client_wait(struct loop *loop, bool (*done)(void *ctx), void *ctx) {
  struct waiting waiting = start_waiting();
  while (!done(ctx)) {
    turn(loop, &waiting);
    pause_briefly();
  }
}

static void open_socket(struct http_client *client, struct loop *loop, int family, const struct sockaddr *address, socklen_t n) {
  *client = (struct http_client){.loop = loop, .in = BUF_INIT(IN_MAX)};
  client->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (client->fd < 0 || connect(client->fd, address, n) != 0)
    fail_msg("cannot connect: %s", strerror(errno));
}

void http_client_open(struct http_client *client, struct loop *loop, uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  open_socket(client, loop, AF_INET, (struct sockaddr *)&address, sizeof address);
}

void http_client_open_unix(struct http_client *client, struct loop *loop, const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  open_socket(client, loop, AF_UNIX, (struct sockaddr *)&address, sizeof address);
}

bool http_client_start_tls(struct http_client *client) {
  SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
  client->ssl = SSL_new(ctx);
  SSL_CTX_free(ctx);
  SSL_set_fd(client->ssl, client->fd);
  int flags = fcntl(client->fd, F_GETFL);
  fcntl(client->fd, F_SETFL, flags | O_NONBLOCK);
  struct waiting waiting = start_waiting();
  for (;;) {
    int result = SSL_connect(client->ssl);
    if (result == 1)
      return true;
    int error = SSL_get_error(client->ssl, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
      return false;
    turn(client->loop, &waiting);
    pause_briefly();
  }
}

void http_client_close(struct http_client *client) {
  SSL_free(client->ssl);
  client->ssl = NULL;
  if (client->fd >= 0)
    close(client->fd);
  client->fd = -1;
  buf_release(&client->in);
}

size_t http_client_try_send(struct http_client *client, struct str bytes) {
  if (client->ssl) {
    int n = SSL_write(client->ssl, bytes.p, (int)MIN_OF(bytes.n, (size_t)INT32_MAX));
    ERR_clear_error();
    return n > 0 ? (size_t)n : 0;
  }
  ssize_t n = send(client->fd, bytes.p, bytes.n, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN)
    client->eof = true;
  return n > 0 ? (size_t)n : 0;
}

void http_client_send(struct http_client *client, struct str bytes) {
  struct waiting waiting = start_waiting();
  while (bytes.n && !client->eof) {
    size_t n = http_client_try_send(client, bytes);
    bytes = str_slice(bytes, n, bytes.n);
    turn(client->loop, &waiting);
  }
}

void http_client_printf(struct http_client *client, const char *format, ...) {
  AUTO_BUF struct buf out = BUF_INIT(1 << 20);
  va_list args;
  va_start(args, format);
  buf_vprintf(&out, format, args);
  va_end(args);
  http_client_send(client, buf_str(&out));
}

bool http_client_receive(struct http_client *client) {
  loop_turn(client->loop, false);
  char *room = buf_room(&client->in, 64 * KIB);
  assert_non_null(room);
  ssize_t n;
  if (client->ssl) {
    n = SSL_read(client->ssl, room, 64 * 1024);
    int error = n <= 0 ? SSL_get_error(client->ssl, (int)n) : SSL_ERROR_NONE;
    client->eof = n <= 0 && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
    ERR_clear_error();
  } else {
    n = recv(client->fd, room, 64 * KIB, MSG_DONTWAIT);
    client->eof = n == 0 || (n < 0 && errno != EAGAIN);
  }
  if (n > 0)
    buf_grew(&client->in, (size_t)n);
  return n > 0;
}

/* Returns false when the connection has ended. */
static bool need_more(struct http_client *client, struct waiting *waiting) {
  if (http_client_receive(client)) {
    *waiting = start_waiting();
    return true;
  }
  if (client->eof)
    return false;
  turn(client->loop, waiting);
  pause_briefly();
  return true;
}

struct str http_answer_header(const struct http_answer *answer, const char *name) {
  struct str rest = buf_str(&answer->head), line;
  while (str_split(&rest, '\n', &line)) {
    size_t colon = str_find(line, ':');
    if (colon != SIZE_MAX && str_eq_nocase(str_slice(line, 0, colon), str_of(name)))
      return str_trim(str_slice(line, colon + 1, line.n));
  }
  return STR_NONE;
}

static bool read_sized(struct http_client *client, uint64_t size, struct http_answer *ret, struct waiting *waiting) {
  while (client->in.n < size)
    if (!need_more(client, waiting))
      return false;
  buf_add(&ret->body, client->in.p, (size_t)size);
  buf_drop(&client->in, (size_t)size);
  return true;
}

static bool read_chunked(struct http_client *client, struct http_answer *ret, struct waiting *waiting) {
  struct http_chunk chunk = {0};
  for (;;) {
    size_t used = 0;
    struct str data = STR_NONE;
    struct err err;
    enum http_chunk_result result = http_chunk_decode(&chunk, buf_str(&client->in), &used, &data, &err);
    if (result == HTTP_CHUNK_DATA)
      buf_add_str(&ret->body, data);
    buf_drop(&client->in, used);
    if (result == HTTP_CHUNK_DONE)
      return true;
    if (result == HTTP_CHUNK_BAD)
      fail_msg("the answer's chunks: %s", err.text);
    if (result == HTTP_CHUNK_MORE && !need_more(client, waiting))
      return false;
  }
}

static bool read_to_end(struct http_client *client, struct http_answer *ret, struct waiting *waiting) {
  while (need_more(client, waiting))
    ;
  buf_add_str(&ret->body, buf_str(&client->in));
  buf_reset(&client->in);
  return true;
}

static bool read_body(struct http_client *client, struct http_answer *ret, struct waiting *waiting) {
  uint64_t length;
  if (str_is(http_answer_header(ret, "Transfer-Encoding"), "chunked"))
    return read_chunked(client, ret, waiting);
  if (str_to_u64(http_answer_header(ret, "Content-Length"), &length))
    return read_sized(client, length, ret, waiting);
  return read_to_end(client, ret, waiting);
}

bool http_client_answer(struct http_client *client, bool to_head, struct http_answer *ret) {
  *ret = (struct http_answer){.head = BUF_INIT(1 << 20), .body = BUF_INIT(IN_MAX)};
  struct waiting waiting = start_waiting();
  size_t end;
  while ((end = str_find_str(buf_str(&client->in), STR("\r\n\r\n"))) == SIZE_MAX)
    if (!need_more(client, &waiting))
      return false;
  buf_add(&ret->head, client->in.p, end);
  buf_drop(&client->in, end + 4);
  uint64_t status;
  struct str head = buf_str(&ret->head);
  if (!str_starts(head, STR("HTTP/1.1 ")) || !str_to_u64(str_slice(head, 9, 12), &status))
    fail_msg("this is no answer: %s", buf_text(&ret->head));
  ret->status = (int)status;
  ret->complete = to_head || status == 100 || status == 204 || status == 304 || read_body(client, ret, &waiting);
  return ret->complete;
}

void http_answer_release(struct http_answer *answer) {
  buf_release(&answer->head);
  buf_release(&answer->body);
}

int http_client_ask(struct http_client *client, const char *request, struct http_answer *ret) {
  http_client_send(client, str_of(request));
  http_client_answer(client, strncmp(request, "HEAD ", 5) == 0, ret);
  return ret->complete ? ret->status : 0;
}

bool http_client_wait_eof(struct http_client *client) {
  struct waiting waiting = start_waiting();
  while (need_more(client, &waiting))
    ;
  return client->eof;
}
