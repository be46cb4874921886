/* The same lines come out however the bytes are cut, and across saving and restoring. The first byte says how to cut. */
#include "tests/support/fuzz.h"
#include "tracker/logs/line.h"

enum { CELLS = 64 };

static void read_all(struct str bytes, size_t piece, bool again, struct buf *out) {
  struct err err;
  struct line_reader *reader = line_reader_new(CELLS, &err);
  struct line line;
  for (size_t at = 0; at < bytes.n && reader; at += piece) {
    struct str part = str_slice(bytes, at, at + piece);
    while (line_next(reader, &part, &line) == LINE_READY)
      buf_printf(out, "%llu %llu %.*s\n", (unsigned long long)line.number, (unsigned long long)line.lost, STR_ARG(line.text));
    if (!again)
      continue;
    AUTO_BUF struct buf state = BUF_INIT(MIB);
    line_save(reader, &state);
    struct line_reader *next = line_reader_new(CELLS, &err);
    line_reader_free(reader);
    reader = next;
    if (!claim(next && line_restore(next, buf_str(&state), &err)))
      break;
  }
  if (reader && line_last(reader, &line))
    buf_printf(out, "%llu %llu %.*s\n", (unsigned long long)line.number, (unsigned long long)line.lost, STR_ARG(line.text));
  line_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2 || size > 4096)
    return 0;
  struct str bytes = str_n((const char *)data + 1, size - 1);
  AUTO_BUF struct buf whole = BUF_INIT(4 * MIB), cut = BUF_INIT(4 * MIB);
  read_all(bytes, bytes.n, false, &whole);
  read_all(bytes, 1 + data[0] % 32, true, &cut);
  claim(str_eq(buf_str(&whole), buf_str(&cut)));
  struct err err;
  struct line_reader *reader = line_reader_new(CELLS, &err);
  if (reader && line_restore(reader, bytes, &err)) { /* a state from nowhere is usable, or refused */
    struct line line;
    struct str more = STR("abc\r\x1b[20Cx\n");
    while (line_next(reader, &more, &line) == LINE_READY)
      ;
  }
  line_reader_free(reader);
  return 0;
}
