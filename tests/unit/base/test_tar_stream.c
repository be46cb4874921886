/* Tar in pieces: what is written is read again, whatever the pieces; what is damaged is refused. */
#include "base/mem.h"
#include "base/tar_stream.h"
#include "tests/support/test.h"

struct got {
  struct buf text;
  uint64_t size;
  bool refuse;
};

static bool on_file(void *ctx, struct str name, uint64_t size, struct err *err) {
  struct got *got = ctx;
  buf_printf(&got->text, "[%.*s %llu]", STR_ARG(name), (unsigned long long)size);
  got->size = size;
  return !got->refuse || err_set(err, ERR_INVALID, "refused");
}

static bool on_data(void *ctx, struct str bytes, struct err *err UNUSED) {
  struct got *got = ctx;
  buf_add_str(&got->text, bytes);
  return true;
}

static bool on_end(void *ctx, struct err *err UNUSED) {
  struct got *got = ctx;
  buf_putc(&got->text, ';');
  return true;
}

static const struct tar_events events = {on_file, on_data, on_end};

static bool read_all(struct str in, size_t piece, struct got *got, struct err *err) {
  struct tar_stream reader;
  tar_stream_init(&reader, &events, got);
  bool ok = true;
  buf_reset(&got->text);
  for (size_t at = 0; ok && at < in.n; at += piece)
    ok = tar_stream_feed(&reader, str_slice(in, at, at + piece), err);
  ok = ok && tar_stream_finish(&reader, err);
  tar_stream_release(&reader);
  return ok;
}

static void put_file(struct buf *out, const char *name, uint64_t size) {
  tar_put_header(out, &(struct tar_entry){.kind = TAR_FILE, .path = str_of(name), .mode = 0644, .size = size});
}

static void put_zeros(struct buf *out, size_t n) {
  while (n--)
    buf_putc(out, 0);
}

static void add(struct buf *out, const char *name, const char *content) {
  put_file(out, name, strlen(content));
  buf_puts(out, content);
  put_zeros(out, tar_padding(strlen(content)));
}

static void written_and_read(void **state UNUSED) {
  AUTO_BUF struct buf out = BUF_INIT(MIB), wanted = BUF_INIT(MIB);
  struct got got = {.text = BUF_INIT(MIB)};
  struct err err;
  char name[600] = "", content[1400] = "";
  memset(name, 'n', 500);
  memset(content, 'c', 1300);
  add(&out, "a", "hello");
  add(&out, "größe/ü", "");
  add(&out, name, content);
  add(&out, "last", "x");
  put_zeros(&out, TAR_END_BYTES);
  assert_int_equal(out.n % TAR_BLOCK, 0);
  buf_printf(&wanted, "[a 5]hello;[größe/ü 0];[%s 1300]%s;[last 1]x;", name, content);
  const size_t pieces[] = {1, 7, 511, 512, 513, 1 << 20};
  for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
    assert_true(read_all(buf_str(&out), pieces[i], &got, &err));
    assert_string_equal(buf_text(&got.text), buf_text(&wanted));
  }
  for (size_t n = 0; n < out.n - TAR_END_BYTES; n += 100)
    assert_false(read_all(str_slice(buf_str(&out), 0, n), 512, &got, &err));
  got.refuse = true;
  assert_false(read_all(buf_str(&out), 512, &got, &err));
  assert_int_equal(err.code, ERR_INVALID);
  buf_release(&got.text);
}

static void large_files(void **state UNUSED) {
  AUTO_BUF struct buf out = BUF_INIT(MIB);
  struct got got = {.text = BUF_INIT(MIB)};
  struct err err;
  put_file(&out, "huge", UINT64_C(12345678901234));
  assert_false(read_all(buf_str(&out), 100, &got, &err));
  assert_int_equal(got.size, UINT64_C(12345678901234));
  buf_release(&got.text);
}

static void what_is_damaged(void **state UNUSED) {
  AUTO_BUF struct buf out = BUF_INIT(MIB);
  struct got got = {.text = BUF_INIT(MIB)};
  struct err err;
  add(&out, "a", "hello");
  put_zeros(&out, TAR_END_BYTES);
  for (size_t i = 0; i < 256; i++) { /* every byte of the header is summed up */
    if (i == 155)
      continue; /* behind the sum's own end */
    out.p[i] ^= 1;
    assert_false(read_all(buf_str(&out), 512, &got, &err));
    out.p[i] ^= 1;
  }
  assert_false(read_all(STR("this is no archive at all, but a text of some length"), 512, &got, &err));
  buf_release(&got.text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(written_and_read),
      cmocka_unit_test(large_files),
      cmocka_unit_test(what_is_damaged),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
