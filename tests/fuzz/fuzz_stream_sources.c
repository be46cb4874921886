/* What a stream was read with: any text is refused or read, and what was read is written so that it is read the same again. */
#include "tracker/logs/stream_sources.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_again(struct str text, bool stream, struct buf *out) {
  struct metric_sources *sources;
  struct err err;
  if (!stream_sources_read(text, &sources, &err)) {
    if (err.code != ERR_NO_MEMORY)
      __builtin_trap();
    return false;
  }
  stream_sources_put(sources, stream, out);
  metric_sources_unref(sources);
  return out->fail == ERR_NONE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  AUTO_BUF struct buf once = BUF_INIT(4 * MIB), twice = BUF_INIT(4 * MIB);
  struct metric_sources *sources;
  struct err err;
  if (!stream_sources_read(str_n((const char *)data, size), &sources, &err))
    return 0;
  stream_sources_put(sources, size & 1, &once);
  metric_sources_unref(sources);
  if (once.fail == ERR_NONE && read_again(buf_str(&once), !(size & 1), &twice) && !str_eq(buf_str(&once), buf_str(&twice)))
    __builtin_trap();
  return 0;
}
