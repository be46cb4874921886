/* The peer: the same answer from libevent's own HTTP server, without an access log.
 *   hello_evhttp PORT [FILE] */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>

#include "base/str.h"

static const char *file_name;

static void on_hello(struct evhttp_request *req, void *unused UNUSED) {
  struct evbuffer *body = evbuffer_new();
  evbuffer_add_printf(body, "{\"version\":\"0.1.0\",\"database\":\"ok\",\"executor\":\"local\",\"slots\":{\"total\":8,\"used\":3}}");
  evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", "application/json");
  evhttp_send_reply(req, 200, "OK", body);
  evbuffer_free(body);
}

static void on_sink(struct evhttp_request *req, void *unused UNUSED) {
  struct evbuffer *body = evbuffer_new();
  evbuffer_add_printf(body, "{\"received\":%zu}", evbuffer_get_length(evhttp_request_get_input_buffer(req)));
  evhttp_send_reply(req, 200, "OK", body);
  evbuffer_free(body);
}

static void on_file(struct evhttp_request *req, void *unused UNUSED) {
  struct stat st;
  int fd = open(file_name, O_RDONLY | O_CLOEXEC);
  struct evbuffer *body = evbuffer_new();
  if (fd < 0 || fstat(fd, &st) != 0)
    evhttp_send_error(req, 404, NULL);
  else if (evbuffer_add_file(body, fd, 0, st.st_size) == 0)
    evhttp_send_reply(req, 200, "OK", body);
  evbuffer_free(body);
}

int main(int argc, char **argv) {
  uint64_t port;
  if (argc < 2 || !str_to_u64(str_of(argv[1]), &port) || port > UINT16_MAX) {
    fprintf(stderr, "usage: hello_evhttp PORT [FILE]\n");
    return 2;
  }
  file_name = argc > 2 ? argv[2] : argv[0];
  signal(SIGPIPE, SIG_IGN);
  struct event_base *base = event_base_new();
  struct evhttp *http = evhttp_new(base);
  evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_PUT);
  evhttp_set_cb(http, "/hello", on_hello, NULL);
  evhttp_set_cb(http, "/sink", on_sink, NULL);
  evhttp_set_cb(http, "/file", on_file, NULL);
  if (evhttp_bind_socket(http, "127.0.0.1", (uint16_t)port) != 0) {
    perror("bind");
    return 1;
  }
  event_base_dispatch(base);
}
