/* Chunked bodies: fed whole and in pieces they give the same body, the same end or the same refusal. */
#include "base/buf.h"
#include "tests/support/fuzz.h"
#include "web/http/http_chunk.h"

/* Returns the last result; *ret_used counts the bytes of the coding. */
static enum http_chunk_result decode(struct str bytes, size_t piece, struct buf *body, size_t *ret_used) {
  struct http_chunk chunk = {0};
  enum http_chunk_result result = HTTP_CHUNK_MORE;
  *ret_used = 0;
  for (size_t at = 0; at < bytes.n && (result == HTTP_CHUNK_MORE || result == HTTP_CHUNK_DATA);) {
    struct str part = str_slice(bytes, at, at + piece), out = STR_NONE;
    size_t used = 0;
    struct err err;
    result = http_chunk_decode(&chunk, part, &used, &out, &err);
    if (used > part.n || (result == HTTP_CHUNK_MORE && used != part.n) || (result == HTTP_CHUNK_DATA && (!out.n || out.n > used)))
      abort();
    if (result == HTTP_CHUNK_DATA)
      buf_add_str(body, out);
    at += used;
    *ret_used = at;
  }
  return result == HTTP_CHUNK_DATA ? HTTP_CHUNK_MORE : result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct str bytes = str_n((const char *)data, size);
  AUTO_BUF struct buf whole = BUF_INIT(1 << 20), slow = BUF_INIT(1 << 20);
  size_t whole_used, slow_used;
  enum http_chunk_result a = decode(bytes, size, &whole, &whole_used), b = decode(bytes, 1, &slow, &slow_used);
  claim(a == b && whole_used == slow_used && str_eq(buf_str(&whole), buf_str(&slow)));
  /* Encoded again it decodes to itself. */
  if (a == HTTP_CHUNK_DONE && whole.n) {
    AUTO_BUF struct buf coded = BUF_INIT(1 << 20), again = BUF_INIT(1 << 20);
    char head[20];
    buf_add(&coded, head, http_chunk_head(whole.n, head));
    buf_add_str(&coded, buf_str(&whole));
    buf_puts(&coded, "\r\n0\r\n\r\n");
    size_t used;
    claim(decode(buf_str(&coded), coded.n, &again, &used) == HTTP_CHUNK_DONE && str_eq(buf_str(&again), buf_str(&whole)));
  }
  return 0;
}
