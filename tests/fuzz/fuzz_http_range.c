/* Range, entity tags, dates, Accept-Encoding. The first byte chooses a size for the ranges. */
#include "web/http/http_range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!size)
    return 0;
  uint64_t length = data[0] < 200 ? data[0] : UINT64_MAX - data[0];
  struct str text = str_n((const char *)data + 1, size - 1);
  struct http_range range = {1, 0};
  if (http_range_parse(text, length, &range) == HTTP_RANGE_PART && (range.from > range.to || range.to >= length))
    abort();
  int64_t seconds;
  if (http_date_parse(text, &seconds)) {
    char again[32];
    http_date_format(seconds, again);
    if (!str_is(text, again))
      abort();
  }
  if (http_etag_in(text, STR("\"x\""), false) && !http_etag_in(text, STR("\"x\""), true))
    abort(); /* what matches strongly matches weakly */
  http_accepts_gzip(text);
  return 0;
}
