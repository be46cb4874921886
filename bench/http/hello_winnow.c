/* The smallest service on web/: what run.py measures against hello_evhttp.c.
 *   hello_winnow PORT [FILE [CERT KEY]]: GET /hello, PUT /sink (body counted and thrown away), GET /file. Access log on standard error. */
#include <fcntl.h>

#include "base/log.h"
#include "web/http/http_reply.h"
#include "web/http/http_server.h"
#include "web/http/tls.h"

static const char *file_name;

static void on_hello(struct http_req *req) {
  struct buf body = BUF_INIT(4096);
  buf_puts(&body, "{\"version\":\"0.1.0\",\"database\":\"ok\",\"executor\":\"local\",\"slots\":{\"total\":8,\"used\":3}}");
  http_reply_json(req, 200, &body);
}

static void on_file(struct http_req *req) {
  struct http_file file = {.fd = open(file_name, O_RDONLY | O_CLOEXEC), .content_type = "application/octet-stream"};
  if (file.fd < 0)
    http_reply_empty(req, 404);
  else
    http_reply_file(req, &file);
}

static bool sink_begin(struct http_req *req UNUSED, struct err *err UNUSED) {
  return true;
}

static bool sink_data(struct http_req *req UNUSED, struct str bytes UNUSED, struct err *err UNUSED) {
  return true;
}

static void sink_end(struct http_req *req) {
  struct buf body = BUF_INIT(4096);
  buf_printf(&body, "{\"received\":%llu}", (unsigned long long)http_req_body_received(req));
  http_reply_json(req, 200, &body);
}

static void sink_abort(struct http_req *req, const struct err *err UNUSED) {
  http_reply_drop(req);
}

static int write_error(const struct http_req *req UNUSED, const char *request_id UNUSED, const struct err *err, struct buf *body,
                       const char **ret_content_type) {
  *ret_content_type = "text/plain";
  buf_puts(body, err->text);
  return err_info(err->code)->http_status;
}

static const struct route_stream sink = {sink_begin, sink_data, sink_end, sink_abort};
static const struct route_family family = {.name = "bench", .write_error = write_error};
static const struct route routes[] = {
    {.method = HTTP_GET, .path = "/hello", .policy = POLICY_PUBLIC, .handler = on_hello},
    {.method = HTTP_GET, .path = "/file", .policy = POLICY_PUBLIC, .handler = on_file},
    {.method = HTTP_PUT, .path = "/sink", .policy = POLICY_PUBLIC, .body = BODY_STREAM, .max_body = UINT64_MAX, .stream = &sink},
};
static const struct route_mount mounts[] = {{"", routes, ARRAY_LEN(routes), &family}};

int main(int argc, char **argv) {
  struct err err;
  uint64_t port;
  if (argc < 2 || !str_to_u64(str_of(argv[1]), &port) || port > UINT16_MAX) {
    fprintf(stderr, "usage: hello_winnow PORT [FILE [CERT KEY]]\n");
    return 2;
  }
  file_name = argc > 2 ? argv[2] : argv[0];
  log_setup(LOG_INFO, LOG_TEXT, 2);
  struct http_server_config config = {.mounts = mounts, .mount_count = 1, .access_log = true};
  struct loop *loop = loop_new(&clock_system, &err);
  struct http_server *server = loop ? http_server_new(loop, &config, &err) : NULL;
  struct tls *tls = argc > 4 && server ? tls_new(argv[3], argv[4], &err) : NULL;
  if (!server || (argc > 4 && !tls) || !http_server_listen_tcp(server, "127.0.0.1", (uint16_t)port, tls, NULL, &err)) {
    fprintf(stderr, "%s\n", err.text);
    return 1;
  }
  loop_add_hook(loop, http_server_flush_log_hook, NULL);
  loop_run(loop);
}
