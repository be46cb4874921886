/* A tar archive in pieces gives what it gives in one. */
#include "base/mem.h"
#include "base/tar_stream.h"
#include "tests/support/fuzz.h"

static bool on_file(void *ctx, struct str name, uint64_t size UNUSED, struct err *err UNUSED) {
  buf_add_str(ctx, name);
  buf_putc(ctx, '\n');
  return true;
}

static bool on_data(void *ctx, struct str bytes, struct err *err UNUSED) {
  buf_add_str(ctx, bytes);
  return true;
}

static bool on_end(void *ctx, struct err *err UNUSED) {
  buf_puts(ctx, "<end>");
  return true;
}

static bool read_all(struct str in, size_t piece, struct buf *out) {
  static const struct tar_events events = {on_file, on_data, on_end};
  struct tar_stream reader;
  struct err err;
  tar_stream_init(&reader, &events, out);
  bool ok = true;
  for (size_t at = 0; ok && at < in.n; at += piece)
    ok = tar_stream_feed(&reader, str_slice(in, at, at + piece), &err);
  ok = ok && tar_stream_finish(&reader, &err);
  tar_stream_release(&reader);
  return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  AUTO_BUF struct buf whole = BUF_INIT(16 * MIB), pieces = BUF_INIT(16 * MIB);
  struct str in = str_n((const char *)data, size);
  bool a = read_all(in, size ? size : 1, &whole), b = read_all(in, 7, &pieces);
  claim(a == b && str_eq(buf_str(&whole), buf_str(&pieces)));
  return 0;
}
