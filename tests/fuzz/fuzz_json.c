/* What json_read() accepts, the writer writes so that it reads back equal. */
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct err err;
  AUTO_JSON json_t *json = NULL, *back = NULL;
  struct str text = str_n((const char *)data, size);
  if (json_read(text, &json, &err)) {
    AUTO_BUF struct buf out = BUF_INIT(16 * MIB);
    struct json_writer w;
    jw_init(&w, &out);
    jw_json(&w, json);
    if (buf_ok(&out, &err) && (!json_read(buf_str(&out), &back, &err) || !json_equal(json, back)))
      abort();
  }
  AUTO_BUF struct buf quoted = BUF_INIT(16 * MIB);
  json_quote(&quoted, text);
  if (!str_is_utf8(buf_str(&quoted)))
    abort();
  return 0;
}
