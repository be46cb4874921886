/* Requests and answers, as a client sees them, against a real server on a loop in this process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <zlib.h>

#include "tests/support/http_fixture.h"

#define H "Host: x\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" H "\r\n"

static struct http_fixture f;

static int setup(void **unused UNUSED) {
  http_fixture_start(&f, NULL);
  return 0;
}

static int teardown(void **unused UNUSED) {
  http_fixture_stop(&f);
  return 0;
}

/* One request on a connection of its own. */
static int ask(const char *request, struct http_answer *ret) {
  struct http_client client;
  http_client_open(&client, f.loop, f.port);
  int status = http_client_ask(&client, request, ret);
  http_client_close(&client);
  return status;
}

static void test_an_answer(void **unused UNUSED) {
  struct http_answer answer;
  assert_int_equal(ask(GET("/hello"), &answer), 200);
  assert_string_equal(buf_text(&answer.body), "{\"hello\":\"world\"}");
  static const char *const headers[][2] = {
      {"Content-Type", "application/json"},
      {"X-Content-Type-Options", "nosniff"},
      {"X-Frame-Options", "DENY"},
      {"Cache-Control", "no-store"},
      {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox"},
      {"Content-Length", "17"},
  };
  for (size_t i = 0; i < ARRAY_LEN(headers); i++)
    if (!str_is(http_answer_header(&answer, headers[i][0]), headers[i][1]))
      fail_msg("%s is %.*s", headers[i][0], STR_ARG(http_answer_header(&answer, headers[i][0])));
  assert_non_null(http_answer_header(&answer, "Date").p);
  assert_int_equal(http_answer_header(&answer, "X-Request-Id").n, 16);
  assert_null(http_answer_header(&answer, "Connection").p);
  assert_int_equal(f.observed, 1);
  assert_int_equal(f.last_status, 200);
  assert_int_equal(f.last_in, strlen(GET("/hello")));
  assert_int_equal(f.last_out, answer.head.n + 4 + 17);
  http_answer_release(&answer);
}

static const struct {
  const char *request;
  int status;
  const char *header, *value; /* one header of the answer; value NULL: absent */
  const char *body;           /* NULL: any */
} exchanges[] = {
    {"HEAD /hello HTTP/1.1\r\n" H "\r\n", 200, "Content-Length", "17", ""},
    {"OPTIONS /hello HTTP/1.1\r\n" H "\r\n", 204, "Allow", "GET, HEAD, DELETE, OPTIONS", ""},
    {"OPTIONS /echo HTTP/1.1\r\n" H "\r\n", 204, "Allow", "POST, OPTIONS", ""},
    {"POST /hello HTTP/1.1\r\n" H "\r\n", 405, "Allow", "GET, HEAD, DELETE, OPTIONS", NULL},
    {"HEAD /echo HTTP/1.1\r\n" H "\r\n", 405, "Allow", "POST, OPTIONS", NULL},
    {GET("/nothing"), 404, "Content-Type", "application/problem+json", NULL},
    {"OPTIONS * HTTP/1.1\r\n" H "\r\n", 404, "Allow", NULL, NULL},
    {GET("/other/nothing"), 404, "Content-Type", "application/json", "{\"error_code\":\"4\"}"},
    {"POST /other/hello HTTP/1.1\r\n" H "\r\n", 405, "Content-Type", "application/json", NULL},
    {"GET /other/hello HTTP/1.1\r\n\r\n", 400, "Content-Type", "application/json", NULL}, /* no Host, but the family is known */
    {GET("/show/a%2Fb?q=1&q=%41+b&r"), 200, "Vary", NULL, "method=GET pattern=/show/{name} name=a/b host=x peer=0 q=1 q=A b tls=0 uid=0"},
    {"GET http://other:99/show/n HTTP/1.1\r\n" H "X-A: 1\r\nx-a:  2 \r\n\r\n", 200, "Connection", NULL,
     "method=GET pattern=/show/{name} name=n host=other peer=0 a=1 a=2 tls=0 uid=0"},
    {GET("/show/.."), 400, "Connection", NULL, NULL},
    {GET("/show/x?q=%zz"), 400, "Connection", NULL, NULL},
    {GET("/show/%00"), 400, "Connection", NULL, NULL},
    {GET("/injection"), 200, "Set-Cookie", NULL, "refused"},
    {GET("/redirect"), 303, "Location", "/hello", ""},
    {GET("/busy"), 503, "Retry-After", "7", NULL},
    {GET("/fail"), 500, "Content-Type", "application/problem+json", NULL},
    {"GET /hello HTTP/1.1\r\n" H "X-Deny: 1\r\n\r\n", 401, "WWW-Authenticate", "Bearer", NULL},
    {"GET /nothing HTTP/1.1\r\n" H "X-Deny: 1\r\n\r\n", 401, "WWW-Authenticate", "Bearer", NULL},
    {"OPTIONS /hello HTTP/1.1\r\n" H "X-Deny: 1\r\n\r\n", 401, "WWW-Authenticate", "Bearer", NULL},
    {"GET /hello HTTP/1.1\r\n" H "X-Request-Id: my-id.1\r\n\r\n", 200, "X-Request-Id", "my-id.1", NULL},
    {"GET /hello HTTP/1.0\r\n\r\n", 200, "Connection", "close", NULL},
    {"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, "Connection", "keep-alive", NULL},
    {"GET /hello HTTP/1.1\r\n" H "Connection: close\r\n\r\n", 200, "Connection", "close", NULL},
    {"POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", 201, "Content-Length", "3", "abc"},
    {"POST /echo HTTP/1.1\r\n" H "\r\n", 201, "Content-Length", "0", ""},
    {"POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\nT: 1\r\n\r\n", 201, "Content-Length", "3",
     "abc"},
    {"PUT /sink HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", 200, "Connection", NULL, "0"},
    {"PUT /sink HTTP/1.1\r\n" H "\r\n", 200, "Connection", NULL, "0"},
    {"PUT /sink HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n0\r\n\r\n", 200, "Connection", NULL, "0"},
    {"POST /echo HTTP/1.1\r\n" H "Content-Length: 1001\r\n\r\n", 413, "Connection", NULL, NULL},
    {"GET /hello HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", 400, "Connection", NULL, NULL}, /* the row takes none */
    {"GET /hello HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, "Connection", NULL, NULL},
    {"GET /hello HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 400, "Connection", "close", NULL},
    {GET("/asset"), 200, "Content-Security-Policy", "default-src 'self'", "<p>plain"},
    {GET("/asset"), 200, "Cache-Control", "no-cache", NULL},
    {"GET /asset HTTP/1.1\r\n" H "Accept-Encoding: gzip\r\n\r\n", 200, "Content-Encoding", "gzip", "GZIPPED"},
    {"GET /asset HTTP/1.1\r\n" H "Accept-Encoding: gzip;q=0\r\n\r\n", 200, "Vary", "Accept-Encoding", "<p>plain"},
    {"GET /asset HTTP/1.1\r\n" H "If-None-Match: \"v0\", W/\"v1\"\r\n\r\n", 304, "ETag", "\"v1\"", ""},
    {"GET /asset HTTP/1.1\r\n" H "If-None-Match: \"v1\"\r\n\r\n", 304, "Content-Length", NULL, ""},
};

static void test_exchanges(void **unused UNUSED) {
  for (size_t i = 0; i < ARRAY_LEN(exchanges); i++) {
    struct http_answer answer;
    int status = ask(exchanges[i].request, &answer);
    if (status != exchanges[i].status)
      fail_msg("row %zu: %d instead of %d: %s", i, status, exchanges[i].status, buf_text(&answer.body));
    struct str value = http_answer_header(&answer, exchanges[i].header);
    if (exchanges[i].value ? !str_is(value, exchanges[i].value) : value.p != NULL)
      fail_msg("row %zu: %s is \"%.*s\"", i, exchanges[i].header, STR_ARG(value));
    if (exchanges[i].body && strcmp(buf_text(&answer.body), exchanges[i].body) != 0)
      fail_msg("row %zu: body %s", i, buf_text(&answer.body));
    http_answer_release(&answer);
  }
  assert_int_equal(f.observed, ARRAY_LEN(exchanges));
  assert_true(f.gate_unrouted >= 6);
}

/* Each is answered and the connection ends, so that nothing behind it is taken for a request. */
static void test_framing_errors_close(void **unused UNUSED) {
  static const struct {
    const char *request;
    int status;
  } bad[] = {
      {"GET / HTTP/1.1\nHost: x\n\n", 400},
      {"GET /hello HTTP/1.1\r\n\r\n", 400},
      {"GET /hello HTTP/1.1\r\n" H H "\r\n", 400},
      {"GET /hello HTTP/1.1\r\n" H "A : b\r\n\r\n", 400},
      {"GET /hello HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
      {"POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\nabc", 400},
      {"POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
      {"POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n", 400},
      {"POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\n" H "Expect: miracles\r\n\r\n", 417},
      {"GET /hello HTTP/2.0\r\n" H "\r\n", 505},
      {"BREW /hello HTTP/1.1\r\n" H "\r\n", 501},
      {"\x16\x03\x01\x02", 400}, /* TLS on a plain port */
  };
  for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
    struct http_client client;
    struct http_answer answer;
    http_client_open(&client, f.loop, f.port);
    http_client_printf(&client, "%s%s", bad[i].request, GET("/show/smuggled"));
    if (!http_client_answer(&client, false, &answer) || answer.status != bad[i].status)
      fail_msg("row %zu: %d instead of %d", i, answer.status, bad[i].status);
    assert_true(str_is(http_answer_header(&answer, "Connection"), "close"));
    shutdown(client.fd, SHUT_WR); /* so that the server need not wait for us */
    assert_true(http_client_wait_eof(&client));
    if (client.in.n)
      fail_msg("row %zu: more after the error: %s", i, buf_text(&client.in));
    http_answer_release(&answer);
    http_client_close(&client);
  }
}

static void test_limits_of_heads(void **unused UNUSED) {
  AUTO_BUF struct buf request = BUF_INIT(1 << 20);
  struct http_answer answer;
  buf_puts(&request, "GET /");
  for (int i = 0; i < 40000; i++)
    buf_putc(&request, 'a');
  buf_puts(&request, " HTTP/1.1\r\n" H "\r\n");
  assert_int_equal(ask(buf_text(&request), &answer), 414);
  http_answer_release(&answer);
  buf_reset(&request);
  buf_puts(&request, "GET /hello HTTP/1.1\r\n" H);
  for (int i = 0; i < 64; i++)
    buf_printf(&request, "A%d: b\r\n", i);
  buf_puts(&request, "\r\n");
  assert_int_equal(ask(buf_text(&request), &answer), 431);
  http_answer_release(&answer);
  buf_reset(&request);
  buf_puts(&request, "GET /hello HTTP/1.1\r\n" H "A: ");
  for (int i = 0; i < 50000; i++)
    buf_putc(&request, 'b');
  assert_int_equal(ask(buf_text(&request), &answer), 431);
  http_answer_release(&answer);
}

static void test_byte_by_byte(void **unused UNUSED) {
  static const char request[] =
      "POST /echo?x=y HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5;e=f\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
  struct http_client client;
  struct http_answer answer;
  http_client_open(&client, f.loop, f.port);
  for (size_t i = 0; i + 1 < sizeof request; i++)
    http_client_send(&client, str_n(request + i, 1));
  assert_true(http_client_answer(&client, false, &answer));
  assert_int_equal(answer.status, 201);
  assert_string_equal(buf_text(&answer.body), "hello world");
  http_answer_release(&answer);
  http_client_close(&client);
}

static void test_pipelining(void **unused UNUSED) {
  struct http_client client;
  http_client_open(&client, f.loop, f.port);
  AUTO_BUF struct buf requests = BUF_INIT(1 << 20);
  enum { COUNT = 500 };
  for (int i = 0; i < COUNT; i++)
    if (i % 3)
      buf_printf(&requests, "GET /show/n%d HTTP/1.1\r\n" H "\r\n", i);
    else
      buf_printf(&requests, "POST /echo HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\n%04d", i);
  http_client_send(&client, buf_str(&requests));
  for (int i = 0; i < COUNT; i++) {
    struct http_answer answer;
    char expected[32];
    snprintf(expected, sizeof expected, i % 3 ? "name=n%d " : "%04d", i);
    assert_true(http_client_answer(&client, false, &answer));
    if (str_find_str(buf_str(&answer.body), str_of(expected)) == SIZE_MAX)
      fail_msg("answer %d is %s", i, buf_text(&answer.body));
    http_answer_release(&answer);
  }
  http_client_close(&client);
}

static bool two_wait(void *unused UNUSED) {
  return f.later_count == 1;
}

/* The second answer waits for the first, whose handler takes its time. */
static void test_answers_in_order(void **unused UNUSED) {
  struct http_client client;
  struct http_answer answer;
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "%s", GET("/later") GET("/hello") GET("/later"));
  http_client_wait(f.loop, two_wait, NULL);
  for (int i = 0; i < 20; i++)
    assert_false(http_client_receive(&client));
  assert_int_equal(f.later_count, 1); /* one request at a time */
  http_fixture_answer_later(&f, "first");
  assert_true(http_client_answer(&client, false, &answer));
  assert_string_equal(buf_text(&answer.body), "first");
  http_answer_release(&answer);
  assert_true(http_client_answer(&client, false, &answer));
  assert_string_equal(buf_text(&answer.body), "{\"hello\":\"world\"}");
  http_answer_release(&answer);
  http_client_wait(f.loop, two_wait, NULL);
  http_fixture_answer_later(&f, "third");
  assert_true(http_client_answer(&client, false, &answer));
  assert_string_equal(buf_text(&answer.body), "third");
  http_answer_release(&answer);
  http_client_close(&client);
}

static void inflate_to(struct str packed, struct buf *out) {
  z_stream z = {0};
  assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
  char *room = buf_room(out, 1 << 20);
  assert_non_null(room);
  z.next_in = (Bytef *)(uintptr_t)packed.p;
  z.avail_in = (uInt)packed.n;
  z.next_out = (Bytef *)room;
  z.avail_out = 1 << 20;
  assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
  buf_grew(out, (1 << 20) - z.avail_out);
  inflateEnd(&z);
}

static void test_compression(void **unused UNUSED) {
  struct http_answer plain, packed;
  assert_int_equal(ask(GET("/big?n=100000"), &plain), 200);
  assert_null(http_answer_header(&plain, "Content-Encoding").p);
  assert_true(str_is(http_answer_header(&plain, "Vary"), "Accept-Encoding"));
  assert_int_equal(plain.body.n, 100000);
  for (int i = 0; i < 2; i++) { /* the second time with the same deflate state */
    assert_int_equal(ask("GET /big?n=100000 HTTP/1.1\r\n" H "Accept-Encoding: br, gzip;q=0.8\r\n\r\n", &packed), 200);
    assert_true(str_is(http_answer_header(&packed, "Content-Encoding"), "gzip"));
    assert_true(packed.body.n < plain.body.n / 2);
    AUTO_BUF struct buf unpacked = BUF_INIT(2 << 20);
    inflate_to(buf_str(&packed.body), &unpacked);
    assert_true(str_eq(buf_str(&unpacked), buf_str(&plain.body)));
    http_answer_release(&packed);
  }
  http_answer_release(&plain);
  assert_int_equal(ask("GET /big?n=1000 HTTP/1.1\r\n" H "Accept-Encoding: gzip\r\n\r\n", &plain), 200);
  assert_null(http_answer_header(&plain, "Content-Encoding").p); /* too small to be worth it */
  http_answer_release(&plain);
}

static void test_ranges_and_conditions(void **unused UNUSED) {
  http_fixture_write_file(&f, 1000);
  struct http_answer answer;
  assert_int_equal(ask(GET("/file"), &answer), 200);
  assert_int_equal(answer.body.n, 1000);
  for (size_t i = 0; i < 1000; i++)
    assert_int_equal(answer.body.p[i], http_fixture_byte(i));
  assert_true(str_is(http_answer_header(&answer, "Accept-Ranges"), "bytes"));
  char modified[64];
  snprintf(modified, sizeof modified, "%.*s", STR_ARG(http_answer_header(&answer, "Last-Modified")));
  http_answer_release(&answer);
  static const struct {
    const char *headers;
    int status;
    const char *content_range; /* "" none */
    size_t length;
  } cases[] = {
      {"Range: bytes=0-9\r\n", 206, "bytes 0-9/1000", 10},
      {"Range: bytes=990-\r\n", 206, "bytes 990-999/1000", 10},
      {"Range: bytes=-5\r\n", 206, "bytes 995-999/1000", 5},
      {"Range: bytes=0-999999\r\n", 206, "bytes 0-999/1000", 1000},
      {"Range: bytes=0-1,5-6\r\n", 200, "", 1000},
      {"Range: lines=0-1\r\n", 200, "", 1000},
      {"Range: bytes=1000-\r\n", 416, "bytes */1000", SIZE_MAX},
      {"Range: bytes=0-9\r\nIf-Range: \"f1\"\r\n", 206, "bytes 0-9/1000", 10},
      {"Range: bytes=0-9\r\nIf-Range: \"f0\"\r\n", 200, "", 1000},
      {"Range: bytes=0-9\r\nIf-Range: W/\"f1\"\r\n", 200, "", 1000},
      {"Range: bytes=0-9\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 200, "", 1000},
      {"If-None-Match: \"f1\"\r\n", 304, "", 0},
      {"If-None-Match: *\r\n", 304, "", 0},
      {"If-None-Match: \"x\"\r\nIf-Modified-Since: Sun, 06 Nov 2050 08:49:37 GMT\r\n", 200, "", 1000},
      {"If-Modified-Since: Sun, 06 Nov 2050 08:49:37 GMT\r\n", 304, "", 0},
      {"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 200, "", 1000},
      {"If-Match: \"f1\"\r\n", 200, "", 1000},
      {"If-Match: \"f2\"\r\n", 412, "", SIZE_MAX},
      {"If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 412, "", SIZE_MAX},
      {"Range: bytes=0-9\r\nIf-None-Match: \"f1\"\r\n", 304, "", 0},
  };
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    char request[512];
    snprintf(request, sizeof request, "GET /file HTTP/1.1\r\n" H "%s\r\n", cases[i].headers);
    int status = ask(request, &answer);
    if (status != cases[i].status)
      fail_msg("row %zu: %d", i, status);
    struct str range = http_answer_header(&answer, "Content-Range");
    if (!str_is(range.p ? range : STR(""), cases[i].content_range))
      fail_msg("row %zu: %.*s", i, STR_ARG(range));
    if (cases[i].length != SIZE_MAX)
      assert_int_equal(answer.body.n, cases[i].length);
    http_answer_release(&answer);
  }
  char request[512];
  snprintf(request, sizeof request, "GET /file HTTP/1.1\r\n" H "If-Modified-Since: %s\r\n\r\n", modified);
  assert_int_equal(ask(request, &answer), 304);
  http_answer_release(&answer);
  snprintf(request, sizeof request, "GET /file HTTP/1.1\r\n" H "Range: bytes=0-0\r\nIf-Range: %s\r\n\r\n", modified);
  assert_int_equal(ask(request, &answer), 200); /* another file may have been there in that second */
  assert_int_equal(answer.body.n, 1000);
  http_answer_release(&answer);
  assert_int_equal(ask("HEAD /file HTTP/1.1\r\n" H "Range: bytes=0-0\r\n\r\n", &answer), 200);
  assert_true(str_is(http_answer_header(&answer, "Content-Length"), "1000"));
  http_answer_release(&answer);
  assert_int_equal(ask(GET("/file?name"), &answer), 200);
  assert_true(str_is(http_answer_header(&answer, "Content-Disposition"),
                     "attachment; filename=\"na_me ____.txt\"; filename*=UTF-8''na%22me%20%C3%A9%0D%0A.txt"));
  http_answer_release(&answer);
}

static void test_odd_files(void **unused UNUSED) {
  struct http_answer answer;
  assert_int_equal(ask(GET("/file"), &answer), 404);
  http_answer_release(&answer);
  http_fixture_write_file(&f, 0);
  assert_int_equal(ask(GET("/file"), &answer), 200);
  assert_int_equal(answer.body.n, 0);
  http_answer_release(&answer);
  assert_int_equal(ask("GET /file HTTP/1.1\r\n" H "Range: bytes=0-\r\n\r\n", &answer), 416);
  http_answer_release(&answer);
  unlink(f.file);
  assert_int_equal(mkdir(f.file, 0700), 0);
  assert_int_equal(ask(GET("/file"), &answer), 500);
  http_answer_release(&answer);
}

/* The client must notice that the file became shorter under our hands. */
static void test_truncated_file(void **unused UNUSED) {
  enum { SIZE = 30000000 };
  http_fixture_write_file(&f, SIZE);
  struct http_client client;
  struct http_answer answer;
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "%s", GET("/file"));
  while (!http_client_receive(&client))
    ;
  assert_int_equal(truncate(f.file, 1000), 0);
  assert_false(http_client_answer(&client, false, &answer));
  assert_int_equal(answer.status, 200);
  assert_true(client.eof && client.in.n < SIZE);
  http_answer_release(&answer);
  http_client_close(&client);
}

static void test_expect_continue(void **unused UNUSED) {
  struct http_client client;
  struct http_answer answer;
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "PUT /sink HTTP/1.1\r\n" H "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  assert_true(http_client_answer(&client, false, &answer));
  assert_int_equal(answer.status, 100);
  http_answer_release(&answer);
  assert_int_equal(http_client_ask(&client, "hello", &answer), 200);
  assert_string_equal(buf_text(&answer.body), "5");
  http_answer_release(&answer);
  /* The gate has the first word: nobody is asked for a body that will not be taken. */
  assert_int_equal(
      http_client_ask(&client, "PUT /sink HTTP/1.1\r\n" H "Content-Length: 5\r\nExpect: 100-continue\r\nX-Deny: 1\r\n\r\n", &answer), 401);
  assert_true(str_is(http_answer_header(&answer, "Connection"), "close"));
  http_answer_release(&answer);
  assert_int_equal(f.sink_begins, 1);
  http_client_close(&client);
  /* So has the sink. */
  f.sink_refuses = true;
  assert_int_equal(ask("PUT /sink HTTP/1.1\r\n" H "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", &answer), 409);
  http_answer_release(&answer);
  assert_int_equal(f.sink_aborts + f.gone, 0);
}

/* A short body that nobody wants is skipped, and the connection goes on; for a long one it ends. */
static void test_unwanted_bodies(void **unused UNUSED) {
  struct http_client client;
  struct http_answer answer;
  http_client_open(&client, f.loop, f.port);
  assert_int_equal(http_client_ask(&client, "POST /nothing HTTP/1.1\r\n" H "Content-Length: 10\r\n\r\n01234", &answer), 404);
  assert_null(http_answer_header(&answer, "Connection").p);
  http_answer_release(&answer);
  assert_int_equal(http_client_ask(&client, "56789" GET("/hello"), &answer), 200);
  http_answer_release(&answer);
  assert_int_equal(http_client_ask(&client, "POST /nothing HTTP/1.1\r\n" H "Content-Length: 10000000\r\n\r\n01234", &answer), 404);
  assert_true(str_is(http_answer_header(&answer, "Connection"), "close"));
  http_answer_release(&answer);
  http_client_close(&client);
  assert_int_equal(ask("POST /nothing HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\n", &answer), 404);
  assert_true(str_is(http_answer_header(&answer, "Connection"), "close"));
  http_answer_release(&answer);
}

/* The client is still sending when it is told no: it must see the answer, not a reset. */
static void test_refusal_arrives(void **unused UNUSED) {
  struct http_client client;
  struct http_answer answer;
  f.sink_refuses = true;
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "PUT /sink HTTP/1.1\r\n" H "Content-Length: 50000000\r\n\r\n");
  static char piece[100000];
  memset(piece, 'x', sizeof piece);
  for (int i = 0; i < 100; i++)
    http_client_send(&client, str_n(piece, sizeof piece));
  assert_false(client.eof);
  assert_true(http_client_answer(&client, false, &answer));
  assert_int_equal(answer.status, 409);
  http_answer_release(&answer);
  http_client_close(&client);
}

static void send_pattern(struct http_client *client, uint64_t from, uint64_t n) {
  static char piece[50000];
  for (uint64_t at = from; at < from + n;) {
    size_t some = (size_t)MIN_OF(from + n - at, (uint64_t)sizeof piece);
    for (size_t i = 0; i < some; i++)
      piece[i] = http_fixture_byte(at + i);
    http_client_send(client, str_n(piece, some));
    at += some;
  }
}

static uint64_t pattern_sum(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; i++)
    sum += (uint8_t)http_fixture_byte(i) * (i + 1);
  return sum;
}

static void test_upload(void **unused UNUSED) {
  enum { SIZE = 3000000 };
  struct http_client client;
  struct http_answer answer;
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "PUT /sink HTTP/1.1\r\n" H "Content-Length: %d\r\n\r\n", (int)SIZE);
  send_pattern(&client, 0, SIZE);
  assert_true(http_client_answer(&client, false, &answer));
  assert_string_equal(buf_text(&answer.body), "3000000");
  assert_int_equal(f.sink_sum, pattern_sum(SIZE));
  http_answer_release(&answer);
  /* chunked, with a request behind it in the same breath */
  http_client_printf(&client, "PUT /sink HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n");
  for (uint64_t at = 0; at < SIZE; at += 100000) {
    http_client_printf(&client, "%x\r\n", 100000);
    send_pattern(&client, at, 100000);
    http_client_printf(&client, "\r\n");
  }
  http_client_printf(&client, "0\r\n\r\n%s", GET("/hello"));
  assert_true(http_client_answer(&client, false, &answer));
  assert_string_equal(buf_text(&answer.body), "3000000");
  assert_int_equal(f.sink_sum, pattern_sum(SIZE));
  http_answer_release(&answer);
  assert_true(http_client_answer(&client, false, &answer));
  assert_int_equal(answer.status, 200);
  http_answer_release(&answer);
  http_client_close(&client);
  assert_int_equal(f.sink_ends, 2);
}

static bool sink_is_paused(void *unused UNUSED) {
  return f.paused != NULL;
}

static void resume_sink(void) {
  struct http_req *req = f.paused;
  f.paused = NULL;
  http_req_resume_body(req);
}

/* A sink that stops stops the client: what it takes meanwhile is bounded. */
static void test_slow_sink(void **unused UNUSED) {
  struct http_client client;
  struct http_answer answer;
  enum { SIZE = 60 << 20 };
  f.sink_pause_every = 1000000;
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "PUT /sink HTTP/1.1\r\n" H "Content-Length: %d\r\n\r\n", (int)SIZE);
  static char piece[1 << 20];
  for (size_t i = 0; i < sizeof piece; i++)
    piece[i] = http_fixture_byte(i);
  uint64_t sent = 0;
  while (!f.paused)
    sent += http_client_try_send(&client, str_n(piece, sizeof piece)) + (loop_turn(f.loop, false), 0u);
  for (int i = 0; i < 2000; i++) {
    sent += http_client_try_send(&client, str_n(piece, sizeof piece));
    loop_turn(f.loop, false);
  }
  uint64_t taken = f.sink_bytes;
  assert_true(taken < 1100000);
  assert_true(sent < 50000000); /* the rest stays with the client: only socket buffers are full */
  /* and then it goes on, a pause at a time */
  while (!f.sink_ends) {
    if (f.paused)
      resume_sink();
    if (sent < SIZE)
      sent += http_client_try_send(&client, str_n(piece, (size_t)MIN_OF((uint64_t)sizeof piece, SIZE - sent)));
    loop_turn(f.loop, false);
  }
  assert_int_equal(f.sink_bytes, SIZE);
  assert_true(http_client_answer(&client, false, &answer));
  assert_int_equal(answer.status, 200);
  http_answer_release(&answer);
  http_client_close(&client);
}

/* `begin` that has to look something up first: no 100 Continue, no data before it has found it. */
static void test_pause_at_begin(void **unused UNUSED) {
  struct http_client client;
  struct http_answer answer;
  f.sink_pauses_at_begin = true;
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "PUT /sink HTTP/1.1\r\n" H "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  http_client_wait(f.loop, sink_is_paused, NULL);
  for (int i = 0; i < 20; i++)
    assert_false(http_client_receive(&client));
  resume_sink();
  assert_true(http_client_answer(&client, false, &answer));
  assert_int_equal(answer.status, 100);
  http_answer_release(&answer);
  assert_int_equal(http_client_ask(&client, "hello" GET("/hello"), &answer), 200);
  assert_string_equal(buf_text(&answer.body), "5");
  http_answer_release(&answer);
  assert_true(http_client_answer(&client, false, &answer));
  http_answer_release(&answer);
  /* or it finds that there is nothing to write to, and answers early */
  http_client_printf(&client, "PUT /sink HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\n");
  http_client_wait(f.loop, sink_is_paused, NULL);
  struct http_req *req = f.paused;
  f.paused = NULL;
  http_reply_text(req, 404, "no such run");
  assert_int_equal(http_client_ask(&client, "hello", &answer), 404);
  http_answer_release(&answer);
  f.sink_pauses_at_begin = false;
  f.sink_answers_at_begin = true;
  assert_int_equal(http_client_ask(&client, "PUT /sink HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello", &answer), 409);
  http_answer_release(&answer);
  assert_int_equal(http_client_ask(&client, GET("/hello"), &answer), 200);
  http_answer_release(&answer);
  http_client_close(&client);
  assert_int_equal(f.sink_aborts + f.gone, 0);
}

static void test_sink_errors(void **unused UNUSED) {
  struct http_answer answer;
  f.sink_fails_at = 10;
  assert_int_equal(ask("PUT /sink HTTP/1.1\r\n" H "Content-Length: 20\r\n\r\n01234567890123456789", &answer), 507);
  assert_true(str_is(http_answer_header(&answer, "Retry-After"), "1"));
  http_answer_release(&answer);
  assert_int_equal(f.sink_aborts, 0); /* it said so itself */
  f.sink_fails_at = 0;
  assert_int_equal(ask("PUT /sink HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcXY", &answer), 400);
  http_answer_release(&answer);
  loop_turn(f.loop, false);
  assert_int_equal(f.sink_aborts, 1);
  assert_int_equal(f.abort_code, ERR_INVALID);
  assert_int_equal(f.last_status, 400);
  char request[200];
  snprintf(request, sizeof request, "PUT /sink HTTP/1.1\r\n" H "Content-Length: %llu\r\n\r\n", FIXTURE_STREAM_MAX + 1ull);
  assert_int_equal(ask(request, &answer), 413);
  http_answer_release(&answer);
  assert_int_equal(f.sink_begins, 2); /* refused by its announced length */
}

static void check_stream(struct http_client *client, uint64_t size) {
  struct http_answer answer;
  assert_true(http_client_answer(client, false, &answer));
  assert_int_equal(answer.body.n, size);
  for (uint64_t i = 0; i < size; i++)
    if (answer.body.p[i] != http_fixture_byte(i))
      fail_msg("byte %llu differs", (unsigned long long)i);
  http_answer_release(&answer);
}

static void test_streams(void **unused UNUSED) {
  struct http_client client;
  struct http_answer answer;
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "%s", GET("/stream?n=5000000"));
  check_stream(&client, 5000000);
  http_client_printf(&client, "%s", GET("/stream?n=0") GET("/stream?n=10"));
  check_stream(&client, 0);
  check_stream(&client, 10);
  assert_int_equal(http_client_ask(&client, "HEAD /stream?n=100 HTTP/1.1\r\n" H "\r\n", &answer), 200);
  http_answer_release(&answer);
  assert_int_equal(http_client_ask(&client, GET("/hello"), &answer), 200); /* the connection went on */
  http_answer_release(&answer);
  http_client_printf(&client, "GET /stream?n=100000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  check_stream(&client, 100000); /* to the end of the connection */
  http_client_close(&client);
}

static void test_slow_reader(void **unused UNUSED) {
  enum { SIZE = 40 << 20 };
  struct http_client client;
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "GET /stream?n=%d HTTP/1.1\r\n" H "\r\n", (int)SIZE);
  for (int i = 0; i < 2000; i++)
    loop_turn(f.loop, false);
  assert_true(f.stream_left > SIZE / 4); /* the writer waits */
  assert_true(f.stream_peak < SIZE / 2);
  check_stream(&client, SIZE);
  http_client_close(&client);
}

/* Who does not wait when told to is cut off, so that memory stays bounded. */
static void test_flood_is_cut(void **unused UNUSED) {
  struct http_client client;
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "%s", GET("/flood"));
  assert_true(http_client_wait_eof(&client));
  assert_int_equal(f.gone, 1);
  http_client_close(&client);
}

static bool stream_is_open(void *unused UNUSED) {
  return f.stream != NULL;
}

static bool somebody_is_gone(void *unused UNUSED) {
  return f.gone > 0;
}

static bool all_released(void *unused UNUSED) {
  struct http_server_stats stats;
  http_server_stats(f.server, &stats);
  return stats.connections == 0;
}

static void test_client_gone(void **unused UNUSED) {
  struct http_client client;
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "%s", GET("/later"));
  http_client_wait(f.loop, two_wait, NULL);
  http_client_close(&client);
  http_client_wait(f.loop, somebody_is_gone, NULL);
  assert_true(http_req_is_gone(f.later[0]));
  http_fixture_answer_later(&f, "to nobody"); /* harmless */
  http_client_wait(f.loop, all_released, NULL);

  f.gone = 0;
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "%s", GET("/stream?n=10&hold"));
  http_client_wait(f.loop, stream_is_open, NULL);
  http_client_close(&client);
  http_client_wait(f.loop, somebody_is_gone, NULL);
  assert_null(f.stream);
  assert_int_equal(f.last_status, 200);

  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "PUT /sink HTTP/1.1\r\n" H "Content-Length: 100\r\n\r\nabc");
  while (f.sink_bytes < 3)
    loop_turn(f.loop, false);
  f.sink_answers_later = true; /* cleans up first */
  http_client_close(&client);
  http_client_wait(f.loop, two_wait, NULL);
  assert_int_equal(f.sink_aborts, 1);
  assert_int_equal(f.abort_code, ERR_CANCELLED);
  http_fixture_answer_later(&f, "to nobody");
  assert_int_equal(f.last_status, 499);
  http_client_wait(f.loop, all_released, NULL);
}

/* A client that has only ended its sending still gets its answer. */
static void test_half_close(void **unused UNUSED) {
  struct http_client client;
  struct http_answer answer;
  http_client_open(&client, f.loop, f.port);
  http_client_printf(&client, "%s", GET("/later") GET("/hello"));
  shutdown(client.fd, SHUT_WR);
  http_client_wait(f.loop, somebody_is_gone, NULL);
  http_fixture_answer_later(&f, "still");
  assert_true(http_client_answer(&client, false, &answer));
  assert_string_equal(buf_text(&answer.body), "still");
  http_answer_release(&answer);
  assert_true(http_client_answer(&client, false, &answer));
  assert_string_equal(buf_text(&answer.body), "{\"hello\":\"world\"}");
  http_answer_release(&answer);
  assert_true(http_client_wait_eof(&client));
  http_client_close(&client);
}

/* Sends without reading until the server has as much to send as it lets wait; returns how many requests that took. */
static int requests_until_full(const char *request) {
  struct http_client client;
  http_client_open(&client, f.loop, f.port);
  int sent = 0, before = f.observed;
  while (f.observed - before == sent) {
    http_client_send(&client, str_of(request));
    sent++;
    for (int turns = 0; turns < 1000 && f.observed - before < sent; turns++) {
      struct timespec brief = {0, 200000};
      loop_turn(f.loop, false);
      nanosleep(&brief, NULL);
    }
  }
  http_client_close(&client);
  http_client_wait(f.loop, all_released, NULL);
  return sent;
}

/* The end of the requests is not the end of the answers: what waits to be sent still goes out. */
static void test_end_with_unsent_answers(void **unused UNUSED) {
  static const char request[] = GET("/big?n=12000");
  int full = requests_until_full(request);
  for (int count = full - 4; count <= full; count++) {
    struct http_client client;
    http_client_open(&client, f.loop, f.port);
    for (int i = 0; i < count; i++)
      http_client_send(&client, str_of(request));
    shutdown(client.fd, SHUT_WR);
    for (int turns = 0; turns < 50; turns++)
      loop_turn(f.loop, false);
    for (int i = 0; i < count; i++) {
      struct http_answer answer;
      if (!http_client_answer(&client, false, &answer))
        fail_msg("answer %d of %d is missing", i, count);
      http_answer_release(&answer);
    }
    assert_true(http_client_wait_eof(&client));
    http_client_close(&client);
  }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_an_answer),        TEST(test_exchanges),       TEST(test_framing_errors_close),
      TEST(test_limits_of_heads),  TEST(test_byte_by_byte),    TEST(test_pipelining),
      TEST(test_answers_in_order), TEST(test_compression),     TEST(test_ranges_and_conditions),
      TEST(test_odd_files),        TEST(test_truncated_file),  TEST(test_expect_continue),
      TEST(test_unwanted_bodies),  TEST(test_refusal_arrives), TEST(test_upload),
      TEST(test_slow_sink),        TEST(test_pause_at_begin),  TEST(test_sink_errors),
      TEST(test_streams),          TEST(test_slow_reader),     TEST(test_flood_is_cut),
      TEST(test_client_gone),      TEST(test_half_close),      TEST(test_end_with_unsent_answers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
