/* Heads: what is taken, what is refused and how, and that http-parser agrees about what is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/oracle/http_oracle.h"

#define H "Host: x\r\n"
#define END "\r\n"

/* status 0: accepted */
static const struct {
  const char *bytes;
  int status;
} heads[] = {
    {"GET / HTTP/1.1\r\n" H END, 0},
    {"GET /a?b=c HTTP/1.1\r\n" H END, 0},
    {"GET / HTTP/1.0\r\n" END, 0},
    {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n" END, 0},
    {"GET / HTTP/1.1\r\nhOST:x\r\n" END, 0},
    {"GET / HTTP/1.1\r\nHost:   x  \r\n" END, 0},
    {"GET / HTTP/1.1\r\n" H "A: \t b \t\r\n" END, 0},
    {"GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n" END, 0},
    {"GET http://other/p HTTP/1.1\r\n" H END, 0},
    {"GET http://other HTTP/1.1\r\n" H END, 0},
    {"OPTIONS * HTTP/1.1\r\n" H END, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n" END, 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 00012\r\n" END, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n" END, 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n" END, 0},
    {"GET / HTTP/1.1\r\n" H "X:\r\n" END, 0},
    {"GET / HTTP/1.1\r\n" H "X: caf\xc3\xa9\r\n" END, 0},
    {"GET /{a}|b HTTP/1.1\r\n" H END, 0},
    /* request line */
    {"GET  / HTTP/1.1\r\n" H END, 400},
    {"GET /  HTTP/1.1\r\n" H END, 400},
    {"GET / HTTP/1.1 \r\n" H END, 400},
    {"GET /\tHTTP/1.1\r\n" H END, 400},
    {"GET / HTTP/1.1\r\r\n" H END, 400},
    {"GET /a b HTTP/1.1\r\n" H END, 400},
    {"GET /#f HTTP/1.1\r\n" H END, 400},
    {"GET /\x80 HTTP/1.1\r\n" H END, 400},
    {"GET /\x01 HTTP/1.1\r\n" H END, 400},
    {"GET x HTTP/1.1\r\n" H END, 400},
    {"GET * HTTP/1.1\r\n" H END, 400},
    {"GET ftp://x/ HTTP/1.1\r\n" H END, 400},
    {"GET http:///p HTTP/1.1\r\n" H END, 400},
    {"GET http://u@x/p HTTP/1.1\r\n" H END, 400},
    {"GET /\r\n" END, 400},
    {"GET / HTTP/1\r\n" H END, 400},
    {"GET / http/1.1\r\n" H END, 400},
    {"GET / HTTP/2.0\r\n" H END, 505},
    {"GET / HTTP/1.2\r\n" H END, 505},
    {"GET / HTTP/0.9\r\n" H END, 505},
    {"BREW / HTTP/1.1\r\n" H END, 501},
    {"TRACE / HTTP/1.1\r\n" H END, 501},
    {"CONNECT x:80 HTTP/1.1\r\n" H END, 501},
    {"Get / HTTP/1.1\r\n" H END, 501},
    /* lines */
    {"GET / HTTP/1.1\nHost: x\n\n", 400},
    {"GET / HTTP/1.1\r\nHost: x\nA: b\r\n" END, 400},
    {"\r\nGET / HTTP/1.1\r\n" H END, 400},
    {"GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n" END, 400},
    {"GET / HTTP/1.1\r\n A: b\r\n" H END, 400},
    {"GET / HTTP/1.1\r\n" H "A : b\r\n" END, 400},
    {"GET / HTTP/1.1\r\n" H "A\t: b\r\n" END, 400},
    {"GET / HTTP/1.1\r\n" H ": b\r\n" END, 400},
    {"GET / HTTP/1.1\r\n" H "A b: c\r\n" END, 400},
    {"GET / HTTP/1.1\r\n" H "A\r\n" END, 400},
    {"GET / HTTP/1.1\r\n" H "A(: c\r\n" END, 400},
    {"GET / HTTP/1.1\r\n" H "A\x80: c\r\n" END, 400},
    {"GET / HTTP/1.1\r\n" H "A: b\rc\r\n" END, 400},
    {"GET / HTTP/1.1\r\n" H "A: b\x01\r\n" END, 400},
    {"GET / HTTP/1.1\r\n" H "A: b\x7f\r\n" END, 400},
    /* Host */
    {"GET / HTTP/1.1\r\n" END, 400},
    {"GET / HTTP/1.1\r\n" H H END, 400},
    {"GET / HTTP/1.0\r\n" H H END, 400},
    {"GET / HTTP/1.1\r\nHost:\r\n" END, 400},
    {"GET / HTTP/1.1\r\nHost: a b\r\n" END, 400},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n" END, 400},
    {"GET / HTTP/1.1\r\nHost: u@a\r\n" END, 400},
    {"GET / HTTP/1.1\r\nHost: a:\r\n" END, 400},
    {"GET / HTTP/1.1\r\nHost: a:0\r\n" END, 400},
    {"GET / HTTP/1.1\r\nHost: a:65536\r\n" END, 400},
    {"GET / HTTP/1.1\r\nHost: a:+80\r\n" END, 400},
    {"GET / HTTP/1.1\r\nHost: [::1\r\n" END, 400},
    {"GET / HTTP/1.1\r\nHost: a, b\r\n" END, 400},
    /* framing */
    {"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n" END, 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\ncontent-length: 4\r\n" END, 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n" END, 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: +3\r\n" END, 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: -3\r\n" END, 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 0x3\r\n" END, 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 3 3\r\n" END, 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length:\r\n" END, 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 3\t\r\n" END, 400},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding:\tchunked\r\n" END, 501},
    {"GET / HTTP/1.1\r\nHost:\tx\r\n" END, 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551616\r\n" END, 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" END, 400},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n" END, 400},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END, 400},
    {"POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n" END, 400},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n" END, 501},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n" END, 501},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n" END, 501},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n" END, 501},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n" END, 501},
    {"POST / HTTP/1.1\r\n" H "Expect: 200-ok\r\n" END, 417},
};

/* Scans the way a connection does, then parses. Returns the status, or 0. */
static int judge(struct str bytes, size_t piece, struct http_head *head) {
  struct err err;
  size_t cursor = 0;
  enum http_head_result result = HTTP_HEAD_MORE;
  for (size_t n = piece; result == HTTP_HEAD_MORE; n += piece) {
    result = http_head_scan(str_slice(bytes, 0, n), &cursor, &err);
    if (n >= bytes.n && result == HTTP_HEAD_MORE)
      return -1;
  }
  if (result == HTTP_HEAD_DONE && http_head_parse(str_slice(bytes, 0, cursor), head, &err))
    return 0;
  return err_info(err.code)->http_status;
}

static void test_table(void **unused UNUSED) {
  for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
    struct http_head head;
    struct str bytes = str_of(heads[i].bytes);
    for (size_t piece = 1; piece <= bytes.n; piece = piece == 1 ? bytes.n : piece + 1) {
      int status = judge(bytes, piece, &head);
      if (status != heads[i].status)
        fail_msg("row %zu (%s): %d instead of %d", i, heads[i].bytes, status, heads[i].status);
    }
    const char *difference = heads[i].status ? NULL : http_oracle_check(bytes, &head);
    if (difference)
      fail_msg("row %zu (%s): http-parser: %s", i, heads[i].bytes, difference);
  }
}

static void test_nul_is_refused(void **unused UNUSED) {
  static const char in_target[] = "GET /a\0b HTTP/1.1\r\n" H END, in_value[] = "GET / HTTP/1.1\r\n" H "A: \0\r\n" END;
  struct http_head head;
  assert_int_equal(judge(str_n(in_target, sizeof in_target - 1), 1, &head), 400);
  assert_int_equal(judge(str_n(in_value, sizeof in_value - 1), 1, &head), 400);
}

static void test_what_is_read(void **unused UNUSED) {
  struct str bytes = STR("POST http://h.example:81/a/b?c=d&e HTTP/1.1\r\nHost: x\r\nContent-Length: 42\r\nConnection: foo, Close\r\n"
                         "Expect: 100-Continue\r\nA:  b c \r\n\r\n");
  struct http_head head;
  assert_int_equal(judge(bytes, bytes.n, &head), 0);
  assert_int_equal(head.method, HTTP_POST);
  assert_true(str_is(head.path, "/a/b"));
  assert_true(str_is(head.query, "c=d&e"));
  assert_true(str_is(head.host.host, "h.example"));
  assert_int_equal(head.host.port, 81);
  assert_int_equal(head.length, 42);
  assert_false(head.is_chunked);
  assert_false(head.keep_alive);
  assert_true(head.expects_continue);
  assert_int_equal(head.field_count, 5);
  assert_true(str_is(head.fields[4].value, "b c"));
}

static void test_limits(void **unused UNUSED) {
  struct http_head head;
  AUTO_BUF struct buf long_target = BUF_INIT(1 << 20), many = BUF_INIT(1 << 20), large = BUF_INIT(1 << 20);
  buf_puts(&long_target, "GET /");
  for (int i = 0; i < HTTP_TARGET_MAX; i++)
    buf_putc(&long_target, 'a');
  buf_puts(&long_target, " HTTP/1.1\r\n" H END);
  assert_int_equal(judge(buf_str(&long_target), 100, &head), 414);
  buf_reset(&long_target);
  buf_puts(&long_target, "GET /");
  for (int i = 0; i < HTTP_HEAD_MAX; i++)
    buf_putc(&long_target, 'a');
  assert_int_equal(judge(buf_str(&long_target), 100, &head), 414);
  for (int count = HTTP_FIELDS_MAX - 1; count <= HTTP_FIELDS_MAX; count++) {
    buf_reset(&many);
    buf_puts(&many, "GET / HTTP/1.1\r\n" H);
    for (int i = 0; i < count; i++)
      buf_printf(&many, "A%d: b\r\n", i);
    buf_puts(&many, END);
    assert_int_equal(judge(buf_str(&many), many.n, &head), count == HTTP_FIELDS_MAX ? 431 : 0);
  }
  buf_puts(&large, "GET / HTTP/1.1\r\n" H "A: ");
  while (large.n < HTTP_HEAD_MAX - 4)
    buf_putc(&large, 'b');
  buf_puts(&large, "\r\n" END);
  assert_int_equal(judge(buf_str(&large), large.n, &head), 0); /* to the byte */
  buf_cut(&large, large.n - 4);
  buf_puts(&large, "b\r\n" END);
  assert_int_equal(judge(buf_str(&large), large.n, &head), 431);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_table),
      cmocka_unit_test(test_nul_is_refused),
      cmocka_unit_test(test_what_is_read),
      cmocka_unit_test(test_limits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
