/* Bodies used on the work pool: all of them, in order, never more in memory than was promised, and one end whatever happens. */
#include "web/http/body_sink.h"

#include <pthread.h>

#include "base/mem.h"
#include "tests/support/http_client.h"
#include "tests/support/test.h"
#include "web/http/http_server.h"

enum { BODY_MAX = 100 << 20, ALWAYS = -1 };

struct scene {
  struct loop *loop;
  struct work_pool *work;
  struct http_server *server;
  uint16_t port;
  struct body_sink sink;
  struct http_req *req; /* of the body */
  /* the thread and the loop */
  pthread_mutex_t lock;
  pthread_cond_t change;
  bool held, in_use; /* pieces are not done before they are let go; one is being used */
  int fails_at;      /* the n-th piece; 0: none */
  int pieces;
  uint64_t bytes, sum;
  /* the loop */
  bool no_memory;
  int overs;
  size_t rest;
  enum err_code code; /* how it ended */
};

static struct scene f;

/* ---- the body's owner ---- */

static void add(struct str bytes) {
  for (size_t i = 0; i < bytes.n; i++)
    f.sum += (uint8_t)bytes.p[i] * (f.bytes + i + 1);
  f.bytes += bytes.n;
}

static bool use(void *ctx, struct str bytes, struct err *err) {
  bool ok = ctx == &f && bytes.n >= SINK_PIECE && bytes.n <= SINK_MAX;
  pthread_mutex_lock(&f.lock);
  ok = ok && !f.in_use; /* one at a time */
  f.in_use = true;
  pthread_cond_broadcast(&f.change);
  while (f.held)
    pthread_cond_wait(&f.change, &f.lock);
  add(bytes);
  f.pieces++;
  f.in_use = false;
  bool fails = f.fails_at == ALWAYS || f.pieces == f.fails_at;
  pthread_mutex_unlock(&f.lock);
  if (!ok)
    return err_set(err, ERR_INTERNAL, "not as promised");
  return !fails || err_set(err, ERR_NO_SPACE, "the disk is full");
}

static void over(void *ctx, struct str rest, const struct err *err) {
  assert_ptr_equal(ctx, &f);
  assert_false(f.in_use);
  f.overs++;
  f.code = err ? err->code : ERR_NONE;
  f.rest = rest.n;
  if (!err)
    add(rest);
  sink_release(&f.sink);
  if (err)
    http_reply_error(f.req, err);
  else
    http_reply_text(f.req, 200, "all");
}

static bool put_begin(struct http_req *req, struct err *err UNUSED) {
  f.req = req;
  f.pieces = f.overs = 0;
  f.bytes = f.sum = 0;
  sink_begin(&f.sink, req, f.work, use, over, &f);
  return true;
}

static bool put_data(struct http_req *req UNUSED, struct str bytes, struct err *err UNUSED) {
  if (f.no_memory)
    mem_fail_at(1, false);
  sink_take(&f.sink, bytes);
  mem_fail_at(0, false);
  return true;
}

static void put_end(struct http_req *req UNUSED) {
  sink_end(&f.sink);
}

static void put_abort(struct http_req *req UNUSED, const struct err *err) {
  sink_abort(&f.sink, err);
}

static void on_hello(struct http_req *req) {
  http_reply_text(req, 200, "hello");
}

static int write_error(const struct http_req *req UNUSED, const char *request_id UNUSED, const struct err *err, struct buf *body,
                       const char **ret_content_type) {
  *ret_content_type = "text/plain";
  buf_puts(body, err->text);
  return err_info(err->code)->http_status;
}

/* ---- the scene ---- */

static void open_scene(size_t queue_max) {
  static const struct route_stream put = {put_begin, put_data, put_end, put_abort};
  static const struct route_family family = {.name = "api", .write_error = write_error};
  static const struct route rows[] = {
      {.method = HTTP_GET, .path = "/hello", .policy = POLICY_PUBLIC, .handler = on_hello},
      {.method = HTTP_PUT, .path = "/put", .policy = POLICY_PUBLIC, .body = BODY_STREAM, .max_body = BODY_MAX, .stream = &put},
  };
  static const struct route_mount mounts[] = {{"", rows, ARRAY_LEN(rows), &family}};
  static const struct http_server_config config = {.mounts = mounts, .mount_count = ARRAY_LEN(mounts)};
  struct err err;
  f = (struct scene){.code = ERR_INTERNAL};
  pthread_mutex_init(&f.lock, NULL);
  pthread_cond_init(&f.change, NULL);
  f.loop = loop_new(&clock_system, &err);
  f.work = work_pool_new(f.loop, 2, queue_max, &err);
  f.server = http_server_new(f.loop, &config, &err);
  assert_true(f.work && f.server && http_server_listen_tcp(f.server, "127.0.0.1", 0, NULL, &f.port, &err));
}

static void close_scene(void) {
  http_server_free(f.server);
  work_pool_free(f.work);
  loop_free(f.loop);
  pthread_cond_destroy(&f.change);
  pthread_mutex_destroy(&f.lock);
}

static void hold(bool held) {
  pthread_mutex_lock(&f.lock);
  f.held = held;
  pthread_cond_broadcast(&f.change);
  pthread_mutex_unlock(&f.lock);
}

static bool is_in_use(void *unused UNUSED) {
  pthread_mutex_lock(&f.lock);
  bool in_use = f.in_use;
  pthread_mutex_unlock(&f.lock);
  return in_use;
}

static bool is_over(void *unused UNUSED) {
  return f.overs > 0;
}

static char byte_at(uint64_t at) {
  return (char)(at * 2654435761u >> 13);
}

static uint64_t sum_of(uint64_t size) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < size; i++)
    sum += (uint8_t)byte_at(i) * (i + 1);
  return sum;
}

/* Sends what of the body the server takes in `turns` turns of the loop, from *sent on. */
static void send_some(struct http_client *client, uint64_t size, uint64_t *sent, int turns) {
  static char bytes[1 << 18];
  for (int i = 0; i < turns && *sent < size; i++) {
    size_t n = (size_t)MIN_OF((uint64_t)sizeof bytes, size - *sent);
    for (size_t k = 0; k < n; k++)
      bytes[k] = byte_at(*sent + k);
    *sent += http_client_try_send(client, str_n(bytes, n));
    loop_turn(f.loop, false);
  }
}

static void begin_put(struct http_client *client, uint64_t size, uint64_t *sent) {
  *sent = 0;
  http_client_open(client, f.loop, f.port);
  http_client_printf(client, "PUT /put HTTP/1.1\r\nHost: x\r\nContent-Length: %llu\r\n\r\n", (unsigned long long)size);
}

/* A body that is sent whole, or as far as somebody takes it; the status of the answer. */
static int put(uint64_t size) {
  struct http_client client;
  struct http_answer answer;
  uint64_t sent;
  f.overs = 0;
  begin_put(&client, size, &sent);
  while (sent < size && !f.overs)
    send_some(&client, size, &sent, 1);
  assert_true(http_client_answer(&client, false, &answer));
  int status = answer.status;
  http_answer_release(&answer);
  http_client_close(&client);
  return status;
}

/* ---- tests ---- */

static void short_bodies_are_left_to_the_end(void **state UNUSED) {
  static const uint64_t sizes[] = {0, 1, 10000, SINK_PIECE - 1};
  open_scene(4);
  for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
    assert_int_equal(put(sizes[i]), 200);
    assert_int_equal(f.overs, 1);
    assert_int_equal(f.pieces, 0);
    assert_int_equal(f.rest, sizes[i]);
    assert_int_equal(f.sum, sum_of(sizes[i]));
  }
  close_scene();
}

static void long_bodies_are_used_in_order(void **state UNUSED) {
  static const uint64_t sizes[] = {SINK_PIECE, SINK_MAX, SINK_MAX + 1, 3 << 20, (7 << 20) + 12345};
  open_scene(4);
  for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
    assert_int_equal(put(sizes[i]), 200);
    assert_int_equal(f.overs, 1);
    assert_true(f.pieces > 0 && f.rest < SINK_MAX);
    assert_int_equal(f.bytes, sizes[i]);
    assert_int_equal(f.sum, sum_of(sizes[i]));
  }
  close_scene();
}

static void chunks_of_any_size(void **state UNUSED) {
  struct http_client client;
  struct http_answer answer;
  AUTO_BUF struct buf all = BUF_INIT(BODY_MAX);
  uint64_t at = 0;
  buf_puts(&all, "PUT /put HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (size_t n = 1; at < 2 << 20; n = n * 7 % 99991) {
    buf_printf(&all, "%zx\r\n", n);
    for (size_t i = 0; i < n; i++)
      buf_putc(&all, byte_at(at++));
    buf_puts(&all, "\r\n");
  }
  buf_puts(&all, "0\r\n\r\n");
  open_scene(4);
  http_client_open(&client, f.loop, f.port);
  http_client_send(&client, buf_str(&all));
  assert_true(http_client_answer(&client, false, &answer));
  assert_int_equal(answer.status, 200);
  assert_int_equal(f.bytes, at);
  assert_int_equal(f.sum, sum_of(at));
  http_answer_release(&answer);
  http_client_close(&client);
  close_scene();
}

/* While a piece takes its time the body waits, and others do not. */
static void what_waits_is_bounded(void **state UNUSED) {
  struct http_client client, other;
  struct http_answer answer;
  enum { SIZE = 60 << 20 };
  uint64_t sent;
  open_scene(4);
  hold(true);
  begin_put(&client, SIZE, &sent);
  while (!is_in_use(NULL))
    send_some(&client, SIZE, &sent, 1);
  http_client_open(&other, f.loop, f.port);
  for (int i = 0; i < 50; i++) {
    send_some(&client, SIZE, &sent, 20);
    assert_int_equal(http_client_ask(&other, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", &answer), 200);
    http_answer_release(&answer);
  }
  assert_true(http_req_body_received(f.req) <= 2 * SINK_MAX);
  assert_true(sent < SIZE); /* the rest stays with the client: only socket buffers are full */
  assert_int_equal(f.pieces, 0);
  hold(false);
  while (sent < SIZE)
    send_some(&client, SIZE, &sent, 1);
  assert_true(http_client_answer(&client, false, &answer));
  assert_int_equal(answer.status, 200);
  assert_int_equal(f.sum, sum_of(SIZE));
  http_answer_release(&answer);
  http_client_close(&client);
  http_client_close(&other);
  close_scene();
}

static void a_piece_that_fails_is_the_answer(void **state UNUSED) {
  open_scene(4);
  for (int nth = 1; nth <= 4; nth++) {
    f.fails_at = nth;
    assert_int_equal(put(20 << 20), 507); /* while the client still sends */
    assert_true(f.overs == 1 && f.code == ERR_NO_SPACE && f.pieces == nth);
  }
  f.fails_at = 1;
  assert_int_equal(put(SINK_MAX), 507); /* with nothing behind it, or little */
  assert_int_equal(put(SINK_MAX + 1000), 507);
  f.fails_at = 0;
  assert_int_equal(put(20 << 20), 200);
  close_scene();
}

static void clients_leave(void **state UNUSED) {
  static const uint64_t sent_before[] = {0, 1000, SINK_MAX, SINK_MAX + 1000, 4 << 20};
  struct http_client client;
  for (size_t i = 0; i < ARRAY_LEN(sent_before); i++) {
    uint64_t sent;
    open_scene(4);
    bool in_use = sent_before[i] >= SINK_MAX;
    hold(in_use);
    begin_put(&client, 50 << 20, &sent);
    send_some(&client, sent_before[i], &sent, 100);
    if (in_use)
      http_client_wait(f.loop, is_in_use, NULL);
    http_client_close(&client);
    for (int k = 0; in_use && k < 100; k++) {
      loop_turn(f.loop, false);
      assert_int_equal(f.overs, 0); /* what is being used stays */
    }
    hold(false);
    if (sent_before[i])
      http_client_wait(f.loop, is_over, NULL);
    close_scene();
    assert_true(sent_before[i] == 0 || (f.overs == 1 && f.code != ERR_NONE));
  }
}

/* All ends that do not come from the client. */
static void the_service_stops(void **state UNUSED) {
  for (int what = 0; what < 4; what++) {
    struct http_client client;
    uint64_t sent;
    open_scene(4);
    hold(true);
    begin_put(&client, 50 << 20, &sent);
    while (!is_in_use(NULL))
      send_some(&client, 50 << 20, &sent, 1);
    if (what & 1)
      send_some(&client, 50 << 20, &sent, 200); /* the body waits */
    if (what & 2) {                             /* it is aborted while a piece is used */
      http_server_free(f.server);
      f.server = NULL;
      loop_turn(f.loop, false);
    }
    hold(false);
    work_pool_stop(f.work);
    if (f.overs == 0) /* its piece was done, and nobody has asked for more */
      assert_true(what == 0);
    else
      assert_true(f.overs == 1 && f.code != ERR_NONE);
    http_client_close(&client);
    while (f.overs == 0)
      loop_turn(f.loop, false);
    close_scene();
    assert_int_equal(f.overs, 1);
  }
}

static void without_room_or_memory(void **state UNUSED) {
  open_scene(0);
  assert_int_equal(put(1000), 200);
  assert_int_equal(put(20 << 20), 503);
  assert_true(f.overs == 1 && f.code == ERR_OVERLOADED && f.pieces == 0);
  close_scene();
  open_scene(4);
  f.no_memory = true;
  assert_int_equal(put(1000), 503);
  assert_int_equal(put(20 << 20), 503);
  assert_true(f.overs == 1 && f.code == ERR_NO_MEMORY);
  close_scene();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(short_bodies_are_left_to_the_end),
      cmocka_unit_test(long_bodies_are_used_in_order),
      cmocka_unit_test(chunks_of_any_size),
      cmocka_unit_test(what_waits_is_bounded),
      cmocka_unit_test(a_piece_that_fails_is_the_answer),
      cmocka_unit_test(clients_leave),
      cmocka_unit_test(the_service_stops),
      cmocka_unit_test(without_room_or_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
