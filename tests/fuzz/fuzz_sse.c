/* The same bytes in one piece and in two give the same events. */
#include "cli/sse.h"
#include "tests/support/fuzz.h"

static bool hear(void *ctx, const struct sse_event *event) {
  struct buf *out = ctx;
  buf_printf(out, "%zu:%zu:%zu ", event->type.n, event->data.n, event->id.n);
  buf_add_str(out, event->type);
  buf_add_str(out, event->data);
  buf_add_str(out, event->id);
  if (event->id.n && memchr(event->id.p, '\n', event->id.n))
    abort(); /* it goes into a header */
  return true;
}

static bool feed(struct str bytes, size_t cut, struct buf *out) {
  struct sse_parser parser;
  struct err err;
  sse_init(&parser);
  bool ok =
      sse_feed(&parser, str_slice(bytes, 0, cut), hear, out, &err) && sse_feed(&parser, str_slice(bytes, cut, bytes.n), hear, out, &err);
  sse_reconnect(&parser);
  sse_release(&parser);
  return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str bytes = str_n((const char *)data, size);
  AUTO_BUF struct buf whole = BUF_INIT(16 * MIB), parts = BUF_INIT(16 * MIB);
  bool ok = feed(bytes, size, &whole);
  claim(feed(bytes, size ? data[0] % size : 0, &parts) == ok && str_eq(buf_str(&whole), buf_str(&parts)));
  return 0;
}
