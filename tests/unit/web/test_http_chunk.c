#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "web/http/http_chunk.h"

/* status 0: complete, with `left` bytes after its end; -1: needs more */
static const struct {
  const char *coded;
  int status;
  const char *body;
  size_t left;
} cases[] = {
    {"0\r\n\r\n", 0, "", 0},
    {"5\r\nhello\r\n0\r\n\r\n", 0, "hello", 0},
    {"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /", 0, "hello world", 5},
    {"a\r\n0123456789\r\nA\r\n0123456789\r\n000\r\n\r\n", 0, "01234567890123456789", 0},
    {"0005\r\nhello\r\n0\r\n\r\n", 0, "hello", 0},
    {"5;x\r\nhello\r\n0;y=\"z\"\r\n\r\n", 0, "hello", 0},
    {"0\r\nX-Sum: 1\r\nY: \r\n\r\n", 0, "", 0},
    {"5\r\nhel", -1, "hel", 0},
    {"5\r\nhello\r\n0\r\n", -1, "hello", 0},
    {"5\nhello\n0\n\n", 400, "", 0},
    {"5\r\nhello0\r\n\r\n", 400, "hello", 0},
    {"5\r\nhello\n0\r\n\r\n", 400, "hello", 0},
    {"4\r\nhello\r\n0\r\n\r\n", 400, "hell", 0},
    {"+5\r\nhello\r\n0\r\n\r\n", 400, "", 0},
    {"-5\r\nhello\r\n0\r\n\r\n", 400, "", 0},
    {" 5\r\nhello\r\n0\r\n\r\n", 400, "", 0},
    {"5 \r\nhello\r\n0\r\n\r\n", 400, "", 0},
    {"0x5\r\nhello\r\n0\r\n\r\n", 400, "", 0},
    {"\r\nhello\r\n0\r\n\r\n", 400, "", 0},
    {";x\r\nhello\r\n0\r\n\r\n", 400, "", 0},
    {"5;\x01\r\nhello\r\n0\r\n\r\n", 400, "", 0},
    {"5;x\nhello\r\n0\r\n\r\n", 400, "", 0},
    {"fffffffffffffffff\r\n", 413, "", 0},
    {"0\r\n X: folded\r\n\r\n", 400, "", 0},
    {"0\r\nX : y\r\n\r\n", 400, "", 0},
    {"0\r\nno colon\r\n\r\n", 400, "", 0},
    {"0\r\nX: y\n\r\n", 400, "", 0},
    {"0\r\n\rX", 400, "", 0},
};

static int decode(struct str bytes, size_t piece, struct buf *body, size_t *ret_left) {
  struct http_chunk chunk = {0};
  size_t at = 0;
  while (at < bytes.n) {
    struct str out = STR_NONE;
    struct err err;
    size_t used = 0;
    switch (http_chunk_decode(&chunk, str_slice(bytes, at, at + piece), &used, &out, &err)) {
    case HTTP_CHUNK_BAD:
      return err_info(err.code)->http_status;
    case HTTP_CHUNK_DATA:
      buf_add_str(body, out);
      break;
    case HTTP_CHUNK_DONE:
      *ret_left = bytes.n - at - used;
      return 0;
    default:
      break;
    }
    at += used;
  }
  return -1;
}

static void test_table(void **unused UNUSED) {
  for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
    struct str bytes = str_of(cases[i].coded);
    for (size_t piece = 1; piece <= bytes.n; piece++) {
      AUTO_BUF struct buf body = BUF_INIT(4096);
      size_t left = 0;
      int status = decode(bytes, piece, &body, &left);
      if (status != cases[i].status || left != cases[i].left || strcmp(buf_text(&body), cases[i].body) != 0)
        fail_msg("row %zu in pieces of %zu: status %d, body \"%s\", %zu left", i, piece, status, buf_text(&body), left);
    }
  }
}

static void test_limits(void **unused UNUSED) {
  AUTO_BUF struct buf coded = BUF_INIT(1 << 20), body = BUF_INIT(1 << 20);
  size_t left;
  buf_puts(&coded, "1;");
  for (int i = 0; i < HTTP_CHUNK_LINE_MAX; i++)
    buf_putc(&coded, 'x');
  buf_puts(&coded, "\r\na\r\n0\r\n\r\n");
  assert_int_equal(decode(buf_str(&coded), coded.n, &body, &left), 400); /* one long extension */
  buf_reset(&coded);
  for (int i = 0; i < 200; i++)
    buf_printf(&coded, "1;%0100d\r\na\r\n", i);
  buf_puts(&coded, "0\r\n\r\n");
  assert_int_equal(decode(buf_str(&coded), coded.n, &body, &left), 400); /* many short ones */
  buf_reset(&coded);
  buf_puts(&coded, "0\r\n");
  for (int i = 0; i < 100; i++)
    buf_printf(&coded, "X: %0100d\r\n", i);
  buf_puts(&coded, "\r\n");
  assert_int_equal(decode(buf_str(&coded), coded.n, &body, &left), 431); /* trailers */
  buf_reset(&coded);
  for (int i = 0; i < 300; i++)
    buf_putc(&coded, '0');
  assert_int_equal(decode(buf_str(&coded), coded.n, &body, &left), 400); /* zeros without end */
}

static void test_chunk_head(void **unused UNUSED) {
  static const struct {
    size_t size;
    const char *text;
  } sizes[] = {{1, "1\r\n"}, {15, "f\r\n"}, {16, "10\r\n"}, {65536, "10000\r\n"}, {SIZE_MAX, "ffffffffffffffff\r\n"}};
  for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
    char out[20];
    size_t n = http_chunk_head(sizes[i].size, out);
    assert_true(str_is(str_n(out, n), sizes[i].text));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_table),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_chunk_head),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
